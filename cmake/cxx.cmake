# SPDX-License-Identifier: Apache-2.0
#
# tests/cxx/test_*.cpp: the tests of <troupe/cxx.hpp>. The project is C; C++ is enabled here only, and only when the
# sibling of the C compiler works: objects of gcc and clang do not mix under a sanitizer. Without one these tests are left
# out.

if(NOT CMAKE_CXX_COMPILER)
    string(REGEX REPLACE "(gcc|clang)((-[0-9.]+)?)$" "\\1++\\2" troupe_cxx_name "${CMAKE_C_COMPILER}")
    string(REPLACE "gcc++" "g++" troupe_cxx_name "${troupe_cxx_name}")
    string(REGEX REPLACE "(^|/)cc$" "\\1c++" troupe_cxx_name "${troupe_cxx_name}")
    set(troupe_cxx_probe ${PROJECT_BINARY_DIR}/CMakeFiles/troupe_probe.cpp)
    file(WRITE ${troupe_cxx_probe} "#include <string>\nint main() { return std::string().empty() ? 0 : 1; }\n")
    # clang++ is often there without a C++ library.
    execute_process(COMMAND ${troupe_cxx_name} -std=c++17 ${troupe_cxx_probe} -o ${troupe_cxx_probe}.out
        RESULT_VARIABLE troupe_cxx_status OUTPUT_QUIET ERROR_QUIET)
    if(NOT troupe_cxx_status EQUAL 0 OR troupe_cxx_name STREQUAL CMAKE_C_COMPILER)
        message(STATUS "No C++ compiler beside ${CMAKE_C_COMPILER}: the tests in tests/cxx are left out")
        return()
    endif()
    set(CMAKE_CXX_COMPILER ${troupe_cxx_name})
endif()
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON)
string(TOUPPER "${CMAKE_BUILD_TYPE}" troupe_cxx_config)
set(CMAKE_CXX_FLAGS_${troupe_cxx_config} "${CMAKE_C_FLAGS_${troupe_cxx_config}}") # as the C code, so without NDEBUG

file(GLOB cxx_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cxx/test_*.cpp)
foreach(file IN LISTS cxx_files)
    troupe_add_test(${file} cxx 120 troupe_criterion)
endforeach()
