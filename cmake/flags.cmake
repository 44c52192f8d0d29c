# SPDX-License-Identifier: Apache-2.0
#
# Warnings and sanitizers, as the one interface target `troupe_flags` that everything in the tree links privately.
# Assertions do not depend on NDEBUG; no configuration here defines it.

add_library(troupe_flags INTERFACE)
target_compile_options(troupe_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wswitch-enum
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
    $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
    # clang counts assert(!"why this cannot be") among the conversions
    $<$<C_COMPILER_ID:Clang>:-Wno-string-conversion>
    $<$<BOOL:${TROUPE_WERROR}>:-Werror>)
target_compile_definitions(troupe_flags INTERFACE _GNU_SOURCE)

if(TROUPE_SANITIZE STREQUAL "address")
    # No recovery from undefined behaviour: a report that lets the test pass is a report nobody reads.
    set(troupe_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
elseif(TROUPE_SANITIZE STREQUAL "thread")
    # TSan does not model stand-alone fences, and gcc says so at each one; the shim's ck_pr.h does not rely on them.
    # -mcx16 keeps double-word compare-and-swap inline, where the sanitizer sees it.
    set(troupe_sanitizers -fsanitize=thread -mcx16 $<$<C_COMPILER_ID:GNU>:-Wno-tsan>)
elseif(TROUPE_SANITIZE)
    message(FATAL_ERROR "TROUPE_SANITIZE is '${TROUPE_SANITIZE}'; it can be empty, address or thread.")
endif()
if(TROUPE_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "The fuzz targets need clang.\n"
            "  Install it: apt-get install clang libclang-rt-14-dev\n"
            "  Then configure with -DCMAKE_C_COMPILER=clang, or use ./dev fuzz.")
    endif()
    list(APPEND troupe_sanitizers -fsanitize=fuzzer-no-link)
endif()
target_compile_options(troupe_flags INTERFACE ${troupe_sanitizers})
target_link_options(troupe_flags INTERFACE ${troupe_sanitizers})
