/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols: static functions with file and line by libdw, inlined ones, libraries that came later; what is left without
 * it: exported names, then module and offset as addr2line understands them; and crashes as they are printed. */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "runtime/crashtext.h"
#include "runtime/dwarf.h"
#include "runtime/symbol.h"

#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

static volatile int sink;
static uintptr_t here;
static unsigned line_outer, line_inner;

static NOINLINE uintptr_t return_address(void)
{
    return (uintptr_t)__builtin_return_address(0);
}

static NOINLINE void static_function(void)
{
    here = return_address(), line_outer = __LINE__;
    sink = 1;
}

INLINE void inner(void)
{
    here = return_address(), line_inner = __LINE__;
    sink = 2;
}

INLINE void middle(void)
{
    inner();
    sink = 3;
}

static NOINLINE void around_inlined(void)
{
    middle(), line_outer = __LINE__;
    sink = 4;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static void need_libdw(void)
{
#ifndef TR_HAVE_LIBDW
    cr_skip("built without libdw");
#endif
}

Test(symbol, a_static_function_is_named_with_file_and_line)
{
    struct tr_symbol symbols[4];
    need_libdw();
    static_function();
    cr_assert_eq(tr_symbol_find(here - 1, TR_SYMBOL_DEBUG, symbols, 4), 1);
    cr_assert_str_eq(symbols[0].function, "static_function");
    cr_assert(ends_with(symbols[0].file, "tests/runtime/test_symbol.c"), "%s", symbols[0].file);
    cr_assert_eq(symbols[0].line, line_outer);
    cr_assert(ends_with(symbols[0].module, "/test_symbol"), "%s", symbols[0].module);
    cr_assert(!symbols[0].inlined);
}

Test(symbol, inlined_functions_come_before_the_one_that_holds_them)
{
    struct tr_symbol symbols[4];
    need_libdw();
    around_inlined();
    cr_assert_eq(tr_symbol_find(here - 1, TR_SYMBOL_DEBUG, symbols, 4), 3);
    cr_assert_str_eq(symbols[0].function, "inner");
    cr_assert_eq(symbols[0].line, line_inner);
    cr_assert_str_eq(symbols[1].function, "middle");
    cr_assert_str_eq(symbols[2].function, "around_inlined");
    cr_assert_eq(symbols[2].line, line_outer);
    cr_assert(symbols[0].inlined && symbols[1].inlined && !symbols[2].inlined);
    cr_assert_eq(tr_symbol_find(here - 1, TR_SYMBOL_DEBUG, symbols, 2), 2, "no more than there is room for");
}

Test(symbol, forgetting_and_asking_again_gives_the_same)
{
    struct tr_symbol symbol;
    need_libdw();
    static_function();
    for (unsigned i = 0; i < 3; i++) {
        tr_symbol_find(here - 1, TR_SYMBOL_DEBUG, &symbol, 1);
        cr_assert_str_eq(symbol.function, "static_function");
        tr_symbol_forget();
    }
}

/* Part of the C library's package, and nothing here is linked with it. */
static uintptr_t late_function(void)
{
    void *library = dlopen("libBrokenLocale.so.1", RTLD_NOW);
    if (!library)
        cr_skip("no libBrokenLocale here");
    return (uintptr_t)dlsym(library, "__ctype_get_mb_cur_max");
}

Test(symbol, a_library_that_is_loaded_later_is_known)
{
    struct tr_symbol symbol = {.line = 0};
    need_libdw();
    static_function();
    cr_assert_eq(tr_dwarf_find(here - 1, &symbol, 1), 1);
    cr_assert_eq(tr_dwarf_find(late_function(), &symbol, 1), 1);
    cr_assert_str_eq(symbol.function, "__ctype_get_mb_cur_max");
}

/* --- without debug information ------------------------------------------------------------------------------------ */

Test(symbol, the_loader_knows_exported_functions)
{
    struct tr_symbol symbol;
    cr_assert_eq(tr_symbol_find((uintptr_t)dlsym(RTLD_DEFAULT, "getopt_long"), TR_SYMBOL_LOADER, &symbol, 1), 1);
    cr_assert_str_eq(symbol.function, "getopt_long");
    cr_assert(strstr(symbol.module, "libc"), "%s", symbol.module);
    cr_assert_str_empty(symbol.file);
}

Test(symbol, what_has_no_name_has_a_module_and_an_offset_for_addr2line)
{
    struct tr_symbol symbol;
    char command[512], name[128] = "";
    static_function();
    cr_assert_eq(tr_symbol_find(here - 1, TR_SYMBOL_LOADER, &symbol, 1), 1);
    cr_assert_str_empty(symbol.function, "a static function is not exported");
    snprintf(command, sizeof command, "addr2line -f -e %s %#zx 2>/dev/null", symbol.module, (size_t)symbol.offset);
    FILE *tool = popen(command, "r"); // NOLINT: our own words
    cr_assert_not_null(tool);
    bool told = fgets(name, sizeof name, tool);
    if (pclose(tool) != 0 || !told)
        cr_skip("no addr2line here");
    cr_assert_str_eq(name, "static_function\n");
}

Test(symbol, nothing_is_known_of_nowhere)
{
    static const uintptr_t nowhere[] = {0, 1, UINTPTR_MAX};
    for (unsigned i = 0; i < 3; i++)
        for (int best = TR_SYMBOL_MODULE; best <= TR_SYMBOL_DEBUG; best++) {
            struct tr_symbol symbol;
            cr_assert_eq(tr_symbol_find(nowhere[i], (enum tr_symbol_source)best, &symbol, 1), 1);
            cr_assert_str_empty(symbol.function);
            cr_assert_str_empty(symbol.module);
            cr_assert_eq(symbol.offset, nowhere[i]);
        }
}

/* --- printed ------------------------------------------------------------------------------------------------------ */

static troupe_crash sample(void)
{
    troupe_crash crash = {
        .actor = {3},
        .parent = {1},
        .behavior = "worker",
        .handler = "work",
        .incarnation = 2,
        .has_message = true,
        .kind = 4,
        .attempt = 1,
        .sender = {1},
        .file = "pool.c",
        .line = 42,
        .text = "check\nfailed",
        .frames_count = 1,
    };
    around_inlined();
    crash.frames[0] = here;
    return crash;
}

Test(print, tells_a_person_what_happened_where_and_to_whom)
{
    char out[2048], expected[512];
    need_libdw();
    troupe_crash crash = sample();
    size_t length = troupe_crash_print(&crash, out, sizeof out);
    cr_assert_eq(length, strlen(out));
    static const char head[] = "worker#3 (incarnation 2) crashed in handler \"work\": check\\nfailed at pool.c:42\n"
                               "  message kind 4 from its parent #1, attempt 1\n"
                               "    0 inner at ";
    cr_assert_eq(strncmp(out, head, strlen(head)), 0, "%s", out);
    snprintf(expected, sizeof expected, "tests/runtime/test_symbol.c:%u, inlined\n    1 middle at ", line_inner);
    cr_assert(strstr(out, expected), "%s", out);
    snprintf(expected, sizeof expected, "tests/runtime/test_symbol.c:%u\n", line_outer);
    cr_assert(strstr(out, "    2 around_inlined at ") && ends_with(out, expected), "%s", out);
}

Test(print, counts_what_does_not_fit)
{
    char out[2048], part[40];
    troupe_crash crash = sample();
    size_t length = troupe_crash_print(&crash, out, sizeof out);
    memset(part, 'x', sizeof part);
    cr_assert_eq(troupe_crash_print(&crash, part, 30), length);
    cr_assert_eq(strlen(part), 29);
    cr_assert_eq(memcmp(part, out, 29), 0);
    cr_assert_eq(troupe_crash_print(&crash, NULL, 0), length);
}

static const char *details(const troupe_crash *crash)
{
    static char out[4096];
    struct tr_text text;
    tr_text_init(&text, out, sizeof out);
    tr_crash_details(&text, crash, TR_SYMBOL_LOADER);
    return out;
}

Test(print, without_debug_information_says_where_to_look)
{
    char expected[600];
    struct tr_symbol symbol;
    troupe_crash crash = sample();
    tr_symbol_find(here - 1, TR_SYMBOL_MODULE, &symbol, 1);
    snprintf(expected, sizeof expected, "\n    0 %s+%#zx\n", symbol.module, (size_t)symbol.offset);
    cr_assert(strstr(details(&crash), expected), "%s", details(&crash));
}

Test(print, names_the_sender)
{
    troupe_crash crash = {
        .actor = {3}, .parent = {1}, .behavior = "b", .has_message = true, .attempt = 2, .sender = {3}};
    cr_assert_str_eq(details(&crash), "  message kind 0 from itself, attempt 2\n");
    crash.sender.bits = 0;
    cr_assert_str_eq(details(&crash), "  message kind 0 from outside, attempt 2\n");
    crash.sender.bits = 9;
    cr_assert_str_eq(details(&crash), "  message kind 0 from actor #9, attempt 2\n");
    crash.has_message = false;
    cr_assert_str_eq(details(&crash), "");
}

Test(print, a_fault_begins_with_its_instruction)
{
    troupe_crash crash = {.behavior = "b", .cause = TROUPE_CAUSE_FAULT, .signal = 11, .code = 1, .address = 16};
    uintptr_t exported = (uintptr_t)dlsym(RTLD_DEFAULT, "getopt_long");
    crash.pc = exported;
    cr_assert(strstr(details(&crash), "  signal 11 (Segmentation fault), code 1, address 0x10\n    0 getopt_long ("));
    crash.frames[0] = exported; /* the same, also as the first frame: it is no return address */
    crash.frames_count = 1;
    cr_assert(strstr(details(&crash), "    0 getopt_long (") && !strstr(details(&crash), "    1 "), "%s",
              details(&crash));
}
