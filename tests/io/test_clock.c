/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <criterion/criterion.h>

#include "io/clock.h"
#include "tests/support/sanitizer.h"

static uint64_t real(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Looks at it for so long that it has measured the rate. */
static void settle(struct tr_clock *clock)
{
    tr_clock_init(clock);
    uint64_t until = real() + 60000000u;
    while (real() < until)
        tr_clock_soon(clock);
}

Test(clock, is_never_before_the_present)
{
    struct tr_clock clock;
    settle(&clock);
    for (unsigned i = 0; i < 3000000; i++) {
        uint64_t before = real();
        cr_assert_geq(tr_clock_soon(&clock), before);
    }
}

Test(clock, is_hardly_ahead_of_the_present)
{
    struct tr_clock clock;
    unsigned far = 0, looks = 300000;
    settle(&clock);
    for (unsigned i = 0; i < looks; i++) {
        uint64_t soon = tr_clock_soon(&clock);
        far += soon > real() + 1000;
    }
    cr_assert_eq(far, 0u, "%u of %u looks", far, looks);
}

static unsigned real_looks_of(struct tr_clock *clock, unsigned looks)
{
    uint64_t base = clock->base_ns;
    unsigned real_looks = 0;
    for (unsigned i = 0; i < looks; i++) {
        tr_clock_soon(clock);
        real_looks += clock->base_ns != base;
        base = clock->base_ns;
    }
    return real_looks;
}

/* A look that takes too long does not count as a measurement, and on a busy machine under a sanitizer all of them may,
 * for a while. */
Test(clock, counts_ticks_where_the_processor_lets_it)
{
    struct tr_clock clock;
    unsigned tries = 0;
    do
        settle(&clock);
    while (clock.steady && real_looks_of(&clock, 100000) >= 50000u && ++tries < 300);
    if (!clock.steady)
        fprintf(stderr, "clock: no steady counter here\n");
    cr_assert_lt(tries, 300u);
}

Test(clock, does_not_believe_a_counter_whose_rate_changes)
{
    struct tr_clock clock;
    settle(&clock);
    if (!clock.steady)
        return;
    clock.anchor_ns -= 50000000; /* as if the counter had stood still for that long */
    clock.anchor_ticks -= 1;
    clock.base_ticks = 0; /* the next look is at the real clock */
    uint64_t before = real();
    uint64_t soon = tr_clock_soon(&clock);
    cr_assert(soon >= before && soon <= real());
    for (unsigned i = 0; i < 10000000 && clock.window; i++) {
        clock.base_ticks = 0;
        tr_clock_soon(&clock);
    }
    cr_assert_eq(clock.window, 0u);
}
