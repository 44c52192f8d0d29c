# SPDX-License-Identifier: Apache-2.0
#
# cmake -DLIBRARY=libtroupe.a -DOBJCOPY=... -DOBJDUMP=... -P section.cmake: moves all code in the static
# library from .text* to the section troupe_text. The linker then names where that begins and ends in a program
# (__start_troupe_text, __stop_troupe_text), and the fault handler can tell the runtime's code from the program's:
# runtime/classify.c. Code left behind in another section fails the build.

function(troupe_code_sections out)
    execute_process(COMMAND ${OBJDUMP} --section-headers ${LIBRARY}
        OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
    # GNU's: number, name, ..., and the flags in a second line. LLVM's: number, name, ..., TEXT.
    string(REGEX MATCHALL "[0-9]+ [^ \n]+ [^\n]*(\n[^\n]*CODE| TEXT)" found "${headers}")
    list(TRANSFORM found REPLACE "^[0-9]+ ([^ \n]+) .*" "\\1")
    list(REMOVE_DUPLICATES found)
    set(${out} ${found} PARENT_SCOPE)
endfunction()

troupe_code_sections(sections)
list(REMOVE_ITEM sections troupe_text)
set(renames)
foreach(section IN LISTS sections)
    list(APPEND renames --rename-section ${section}=troupe_text)
endforeach()
if(renames)
    execute_process(COMMAND ${OBJCOPY} ${renames} ${LIBRARY} COMMAND_ERROR_IS_FATAL ANY)
endif()
troupe_code_sections(sections)
if(NOT sections STREQUAL "troupe_text")
    message(FATAL_ERROR "${LIBRARY} should have its code in troupe_text, and has it in: ${sections}")
endif()
