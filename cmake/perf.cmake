# SPDX-License-Identifier: Apache-2.0
#
# perf/troupe_bench.c, the cases in perf/bench_CASE.c and what they share in perf/support/ become
# <build>/perf/troupe_bench, which runs any of them. Each case is a test too, of a small size: that it runs to its end and
# finds its result right. What it measures then means nothing.

file(GLOB perf_files CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/perf/troupe_bench.c ${PROJECT_SOURCE_DIR}/perf/bench_*.c ${PROJECT_SOURCE_DIR}/perf/support/*.c)
add_executable(troupe_bench ${perf_files})
set_target_properties(troupe_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/perf)
target_include_directories(troupe_bench PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(troupe_bench PRIVATE TROUPE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
# A handler that ends with a tell must stay on the stack, or a profile cannot say whose time it is.
target_compile_options(troupe_bench PRIVATE -fno-optimize-sibling-calls)
target_link_libraries(troupe_bench PRIVATE troupe_flags troupe_static troupe_dependencies Threads::Threads m)

add_library(troupe_steady_clock SHARED ${PROJECT_SOURCE_DIR}/perf/steady_clock.c)
set_target_properties(troupe_steady_clock PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/perf)
target_link_libraries(troupe_steady_clock PRIVATE troupe_flags troupe_dependencies)
add_dependencies(troupe_bench troupe_steady_clock)

if(TROUPE_TESTS)
    file(GLOB perf_cases CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/perf/bench_*.c)
    foreach(file IN LISTS perf_cases)
        cmake_path(GET file STEM name)
        string(REGEX REPLACE "^bench_" "" name ${name})
        add_test(NAME perf/${name} COMMAND troupe_bench ${name} --workers 2 --size 3000)
        troupe_test_properties(perf/${name} perf 60)
    endforeach()
endif()
