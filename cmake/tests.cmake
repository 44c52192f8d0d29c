# SPDX-License-Identifier: Apache-2.0
#
# Every test program is one file and one ctest entry, named FOLDER/NAME and labelled FOLDER:
#   tests/{sched,io,runtime,supervision,kv,integration}/test_NAME.c   Criterion
#   tests/cxx/test_NAME.cpp                               the same in C++, see cmake/cxx.cmake
#   tests/faults/test_NAME.c                              Criterion, with programs to ruin, see cmake/faults.cmake
#   tests/stress/{stress,soak}_NAME.c                     a plain main(), built with every sanitizer
#   tests/examples/NAME.expected                          what the example NAME prints, exactly, before it exits 0
#   tests/gates/*.c                                       planted faults, label `gate`, run only by `./dev check gates`
# They link the static library and may include internal headers. Helpers in tests/support/*.c are linked to all of them.
#
# Criterion cannot start under ThreadSanitizer. In that build tests/support/tsan/ is first in the include path: its
# criterion/criterion.h maps Test() and cr_*() to plain functions, and its ck_pr.h lets the sanitizer see CK's atomics.

set(troupe_tsan_dir ${PROJECT_SOURCE_DIR}/tests/support/tsan)

# The test framework of this build.
add_library(troupe_criterion INTERFACE)
if(TROUPE_SANITIZE STREQUAL "thread")
    add_library(troupe_tsan_main STATIC ${troupe_tsan_dir}/criterion.c)
    target_include_directories(troupe_tsan_main PUBLIC ${troupe_tsan_dir})
    target_link_libraries(troupe_tsan_main PRIVATE troupe_flags)
    target_link_libraries(troupe_criterion INTERFACE troupe_tsan_main)
else()
    target_link_libraries(troupe_criterion INTERFACE PkgConfig::CRITERION)
endif()

# What every test links.
add_library(troupe_testing INTERFACE)
target_include_directories(troupe_testing INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(troupe_testing INTERFACE
    TROUPE_BUILD_DIR="${PROJECT_BINARY_DIR}" TROUPE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(troupe_testing INTERFACE troupe_static troupe_dependencies Threads::Threads m)
file(GLOB support_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.c)
if(support_files)
    add_library(troupe_test_support STATIC ${support_files})
    target_link_libraries(troupe_test_support PRIVATE troupe_flags troupe_criterion troupe_testing)
endif()

# Sanitizer options that belong to the tree, not to the caller, are added by a small launcher.
set(troupe_launcher)
if(TROUPE_SANITIZE)
    set(troupe_launcher ${PROJECT_SOURCE_DIR}/tests/support/sanitized)
endif()

# troupe_test_properties(TEST LABEL TIMEOUT): sanitizers make everything slower.
function(troupe_test_properties test label timeout)
    if(TROUPE_SANITIZE)
        math(EXPR timeout "${timeout} * 3")
    endif()
    set_tests_properties(${test} PROPERTIES
        LABELS ${label} TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "TROUPE_BUILD_DIR=${PROJECT_BINARY_DIR};TROUPE_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
endfunction()

# troupe_add_test(FILE LABEL TIMEOUT [LIBRARY...]): the program of one file, and its ctest entry.
function(troupe_add_test file label timeout)
    cmake_path(GET file STEM stem)
    string(REGEX REPLACE "^(test|stress)_" "" name ${stem})
    cmake_path(GET file PARENT_PATH folder)
    cmake_path(GET folder FILENAME folder)
    set(target test_${folder}_${name})
    add_executable(${target} ${file})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${stem} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/${folder})
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/${folder})
    if(support_files)
        target_link_libraries(${target} PRIVATE troupe_test_support)
    endif()
    target_link_libraries(${target} PRIVATE troupe_flags troupe_testing ${ARGN})
    add_test(NAME ${folder}/${name} COMMAND ${troupe_launcher} $<TARGET_FILE:${target}>)
    troupe_test_properties(${folder}/${name} ${label} ${timeout})
endfunction()

# --- unit tests ------------------------------------------------------------------------------------------------------

foreach(folder IN ITEMS sched io runtime supervision kv)
    file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/test_*.c)
    set(libraries troupe_criterion)
    if(folder STREQUAL "kv")
        if(NOT TARGET troupe_kv_objects)
            continue()
        endif()
        list(APPEND libraries troupe_kv_objects)
    endif()
    foreach(file IN LISTS files)
        troupe_add_test(${file} ${folder} 120 ${libraries})
    endforeach()
endforeach()

include(cmake/cxx.cmake)
include(cmake/faults.cmake)

# --- integration tests: the real programs, driven from outside; alone, because they measure and saturate ---------------

file(GLOB integration_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/integration/test_*.c)
if(NOT TROUPE_SANITIZE STREQUAL "thread")
    get_property(example_targets GLOBAL PROPERTY troupe_example_targets)
    foreach(file IN LISTS integration_files)
        troupe_add_test(${file} integration 300 troupe_criterion)
        cmake_path(GET file STEM stem)
        string(REGEX REPLACE "^test_" "" name ${stem})
        set_tests_properties(integration/${name} PROPERTIES RUN_SERIAL ON)
        if(example_targets)
            add_dependencies(test_integration_${name} ${example_targets})
        endif()
    endforeach()
endif()

# --- stress: plain programs ------------------------------------------------------------------------------------------

file(GLOB stress_files CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/tests/stress/stress_*.c ${PROJECT_SOURCE_DIR}/tests/stress/soak_*.c)
foreach(file IN LISTS stress_files)
    troupe_add_test(${file} stress 200)
endforeach()

# --- examples print what they promise --------------------------------------------------------------------------------

file(GLOB expected_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/examples/*.expected)
foreach(file IN LISTS expected_files)
    cmake_path(GET file STEM name)
    if(TARGET ${name})
        add_test(NAME examples/${name} COMMAND
            ${PROJECT_SOURCE_DIR}/tests/support/prints ${file} ${troupe_launcher} $<TARGET_FILE:${name}>)
        troupe_test_properties(examples/${name} examples 30)
    endif()
endforeach()

# --- what holds for the tree as a whole ------------------------------------------------------------------------------

if(NOT TROUPE_SANITIZE)
    foreach(check IN ITEMS layers headers)
        add_test(NAME tree/${check} COMMAND ${PROJECT_SOURCE_DIR}/.ci/check_${check} ${PROJECT_SOURCE_DIR})
        troupe_test_properties(tree/${check} tree 60)
    endforeach()
    add_test(NAME tree/readme COMMAND ${PROJECT_SOURCE_DIR}/.ci/check_readme
        ${CMAKE_C_COMPILER} $<TARGET_FILE:troupe_static>)
    troupe_test_properties(tree/readme tree 60)
    # Needs python3, which ./dev installs; a machine without it does not test what it cannot run.
    find_program(TROUPE_PYTHON python3)
    if(TROUPE_PYTHON)
        add_test(NAME tree/peers COMMAND ${TROUPE_PYTHON} ${PROJECT_SOURCE_DIR}/perf/peers/test_run.py)
        troupe_test_properties(tree/peers tree 120)
    endif()
    if(TARGET troupe)
        add_test(NAME tree/symbols COMMAND ${PROJECT_SOURCE_DIR}/.ci/check_symbols
            $<TARGET_FILE:troupe> $<TARGET_FILE:troupe_static>)
        troupe_test_properties(tree/symbols tree 60)
    endif()
endif()

# --- planted faults: `./dev check gates` shows that each one is reported ----------------------------------------------

set(gates ${PROJECT_SOURCE_DIR}/tests/gates)
if(TROUPE_SANITIZE STREQUAL "address")
    troupe_add_test(${gates}/test_leak.c gate 60 troupe_criterion)
    troupe_add_test(${gates}/test_overflow.c gate 60 troupe_criterion)
elseif(TROUPE_SANITIZE STREQUAL "thread")
    troupe_add_test(${gates}/test_race.c gate 60)
    troupe_add_test(${gates}/test_ring_is_silent.c stress 60)
elseif(NOT TROUPE_SANITIZE AND TARGET troupe)
    add_library(gate_symbol SHARED ${gates}/symbol.c)
    target_link_libraries(gate_symbol PRIVATE troupe_flags)
    set_target_properties(gate_symbol PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/gates)
endif()
