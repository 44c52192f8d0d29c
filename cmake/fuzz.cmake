# SPDX-License-Identifier: Apache-2.0
#
# tests/fuzz/fuzz_NAME.c becomes <build>/fuzz/fuzz_NAME, a libFuzzer program with the seeds in tests/fuzz/corpus/NAME/.

file(GLOB fuzz_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(file IN LISTS fuzz_files)
    cmake_path(GET file STEM name)
    add_executable(${name} ${file})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/examples/kv)
    # libFuzzer declares its entry point nowhere.
    set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS -Wno-missing-prototypes)
    target_link_libraries(${name} PRIVATE troupe_flags troupe_static troupe_dependencies)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    if(TARGET troupe_kv_objects)
        target_link_libraries(${name} PRIVATE troupe_kv_objects)
    endif()
endforeach()
