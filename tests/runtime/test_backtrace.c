/* SPDX-License-Identifier: Apache-2.0 */
/* Backtraces: the right frames in the right order, no more than asked for, and rationed. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "runtime/backtrace.h"
#include "runtime/symbol.h"

#define NOINLINE __attribute__((noinline))
#if defined(__clang__)
#define NO_FRAME_POINTER
#else
#define NO_FRAME_POINTER __attribute__((optimize("omit-frame-pointer")))
#endif

static uintptr_t frames[24];
static unsigned count;
static volatile int after; /* written after each call, so that none is a tail call */

/* Stands for troupe_panic_at: its own frame and those above it are left out. */
static NOINLINE void panics(void)
{
    count = tr_backtrace(__builtin_return_address(0), frames, 24);
    after = 1;
}

static NOINLINE NO_FRAME_POINTER void third(void)
{
    panics();
    after = 2;
}

static NOINLINE NO_FRAME_POINTER void second(void)
{
    third();
    after = 3;
}

static NOINLINE void first(void)
{
    second();
    after = 4;
}

static bool is_in(uintptr_t frame, void (*function)(void))
{
    return frame > (uintptr_t)function && frame < (uintptr_t)function + 4096;
}

Test(backtrace, begins_with_the_caller_of_the_panic_and_goes_outwards)
{
    first();
    cr_assert_geq(count, 4);
    cr_assert(is_in(frames[0], third) && is_in(frames[1], second) && is_in(frames[2], first));
#ifdef TR_HAVE_LIBDW
    static const char *const names[] = {"third", "second", "first"};
    for (unsigned i = 0; i < 3; i++) {
        struct tr_symbol symbol;
        tr_symbol_find(frames[i] - 1, TR_SYMBOL_DEBUG, &symbol, 1);
        cr_assert_str_eq(symbol.function, names[i]);
    }
#endif
}

Test(backtrace, writes_no_more_than_there_is_room_for)
{
    uintptr_t few[3] = {0, 0, 7};
    cr_assert_eq(tr_backtrace(__builtin_return_address(0), few, 2), 2);
    cr_assert_eq(few[2], 7);
    cr_assert_eq(few[0], (uintptr_t)__builtin_return_address(0));
}

Test(backtrace, without_a_known_beginning_is_better_than_none)
{
    cr_assert_geq(tr_backtrace(NULL, frames, 24), 2);
}

static NOINLINE void recurse(unsigned depth)
{
    if (depth > 0)
        recurse(depth - 1);
    else
        panics();
    after = 5;
}

Test(backtrace, of_a_deep_stack_keeps_the_innermost)
{
    recurse(1000);
    cr_assert_eq(count, 24);
    for (unsigned i = 2; i < 24; i++)
        cr_assert_eq(frames[i], frames[1]);
}

Test(backtrace, is_rationed_per_second)
{
    struct tr_backtrace_ration ration = {0};
    uint64_t now = UINT64_C(5000000000);
    unsigned allowed = 0;
    for (unsigned i = 0; i < 1000; i++)
        allowed += tr_backtrace_allowed(&ration, 10, now + i);
    cr_assert_eq(allowed, 10);
    cr_assert(!tr_backtrace_allowed(&ration, 10, now + UINT64_C(999999999)));
    cr_assert(tr_backtrace_allowed(&ration, 10, now + UINT64_C(1000000000)));
    for (unsigned i = 0; i < 1000; i++)
        allowed += tr_backtrace_allowed(&ration, 10, now + UINT64_C(1000000001) + i);
    cr_assert_eq(allowed, 19);
}

Test(backtrace, none_are_taken_when_none_are_wanted)
{
    struct tr_backtrace_ration ration = {0};
    for (uint64_t now = 0; now < UINT64_C(10000000000); now += 500000000)
        cr_assert(!tr_backtrace_allowed(&ration, 0, now));
}
