# SPDX-License-Identifier: Apache-2.0
#
# perf/bench_CASE.c becomes <build>/perf/bench_CASE and prints lines of `CASE VALUE UNIT`. Helpers shared by several
# cases live in perf/support/.

file(GLOB perf_support CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/perf/support/*.c)
if(perf_support)
    add_library(troupe_perf_support STATIC ${perf_support})
    target_include_directories(troupe_perf_support PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(troupe_perf_support PRIVATE troupe_flags PUBLIC troupe_static troupe_dependencies)
endif()

file(GLOB perf_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/perf/bench_*.c)
foreach(file IN LISTS perf_files)
    cmake_path(GET file STEM name)
    add_executable(${name} ${file})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/perf)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(${name} PRIVATE TROUPE_BUILD_DIR="${PROJECT_BINARY_DIR}")
    target_link_libraries(${name} PRIVATE troupe_flags troupe_static troupe_dependencies m)
    if(perf_support)
        target_link_libraries(${name} PRIVATE troupe_perf_support)
    endif()
endforeach()
