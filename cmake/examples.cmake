# SPDX-License-Identifier: Apache-2.0
#
# examples/NAME.c and examples/NAME/*.c become the program NAME under <build>/examples/. They see the public headers and
# their own folder only, as any user of the library does. The folder kv is the program troupe-kv; all of it but main.c is
# also the object library troupe_kv_objects, which its tests and fuzz targets link.

function(troupe_add_example name)
    add_executable(${name} ${ARGN})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
    target_link_libraries(${name} PRIVATE troupe_flags troupe_static)
    set_property(GLOBAL APPEND PROPERTY troupe_example_targets ${name})
endfunction()

file(GLOB example_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
foreach(file IN LISTS example_files)
    cmake_path(GET file STEM name)
    troupe_add_example(${name} ${file})
endforeach()

file(GLOB example_folder_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*/*.c)
set(example_folders)
foreach(file IN LISTS example_folder_files)
    cmake_path(GET file PARENT_PATH folder)
    list(APPEND example_folders ${folder})
endforeach()
list(REMOVE_DUPLICATES example_folders)

foreach(folder IN LISTS example_folders)
    cmake_path(GET folder FILENAME name)
    set(files ${example_folder_files})
    list(FILTER files INCLUDE REGEX "/examples/${name}/[^/]*\\.c$")
    if(NOT name STREQUAL "kv")
        troupe_add_example(${name} ${files})
        target_include_directories(${name} PRIVATE ${folder})
        continue()
    endif()

    set(main ${files})
    list(FILTER main INCLUDE REGEX "/main\\.c$")
    list(FILTER files EXCLUDE REGEX "/main\\.c$")
    if(files)
        add_library(troupe_kv_objects OBJECT ${files})
        target_include_directories(troupe_kv_objects PUBLIC ${folder})
        target_link_libraries(troupe_kv_objects PRIVATE troupe_flags PUBLIC troupe_static)
    endif()
    if(main)
        troupe_add_example(troupe-kv ${main})
        target_include_directories(troupe-kv PRIVATE ${folder})
        if(files)
            target_link_libraries(troupe-kv PRIVATE troupe_kv_objects)
        endif()
    endif()
endforeach()
