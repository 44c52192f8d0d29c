# SPDX-License-Identifier: Apache-2.0
#
# The programs that tests/faults/test_*.c ruin, all made of tests/faults/victim.c:
#   faults/victim         with libtroupe.a, as most programs are
#   faults/victim_shared  with libtroupe.so
#   faults/victim_bare    with the objects of libtroupe.a before they got their own section: nothing may be recovered
#   faults/victim_malloc  with an allocator of its own: nothing may be recovered
#   faults/victim_static  with a static libc, where there is one: nothing may be recovered
# Their faults are the machine's, so they are built without UndefinedBehaviorSanitizer, which would be there first.

set(troupe_victims)

function(troupe_add_victim name)
    add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/faults/victim.c)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/faults)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE troupe_flags ${ARGN} Threads::Threads)
    target_compile_options(${name} PRIVATE -Wno-infinite-recursion
        $<$<STREQUAL:${TROUPE_SANITIZE},address>:-fno-sanitize=undefined>)
    set(troupe_victims ${troupe_victims} ${name} PARENT_SCOPE)
endfunction()

troupe_add_victim(victim troupe_static troupe_dependencies)
target_compile_definitions(victim PRIVATE VICTIM_INTERNALS)
if(TARGET troupe)
    troupe_add_victim(victim_shared troupe)
endif()
if(NOT TROUPE_SANITIZE)
    add_library(troupe_bare STATIC ${troupe_sources})
    target_include_directories(troupe_bare PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
    target_link_libraries(troupe_bare PRIVATE troupe_flags PUBLIC troupe_dependencies)
    troupe_add_victim(victim_bare troupe_bare)

    troupe_add_victim(victim_malloc troupe_static troupe_dependencies)
    target_compile_definitions(victim_malloc PRIVATE VICTIM_MALLOC)
    target_compile_options(victim_malloc PRIVATE -fno-builtin-malloc -fno-builtin-calloc)

    include(CheckCSourceCompiles)
    set(CMAKE_REQUIRED_LINK_OPTIONS -static)
    set(CMAKE_REQUIRED_LIBRARIES uring ck)
    check_c_source_compiles("int main(void) { return 0; }" TROUPE_STATIC_LIBC)
    unset(CMAKE_REQUIRED_LINK_OPTIONS)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(TROUPE_STATIC_LIBC)
        troupe_add_victim(victim_static $<TARGET_FILE:troupe_static> uring ck)
        add_dependencies(victim_static troupe_static)
        target_link_options(victim_static PRIVATE -static)
        target_include_directories(victim_static PRIVATE ${PROJECT_SOURCE_DIR}/include)
    endif()
endif()

file(GLOB fault_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/faults/test_*.c)
foreach(file IN LISTS fault_files)
    troupe_add_test(${file} faults 240 troupe_criterion)
    cmake_path(GET file STEM stem)
    string(REGEX REPLACE "^test_" "" name ${stem})
    add_dependencies(test_faults_${name} ${troupe_victims})
endforeach()
