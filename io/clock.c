/* SPDX-License-Identifier: Apache-2.0 */
/* Why a deadline made here is never early: the base's counter is read before its clock, so base_ns is not before the
 * moment of base_ticks; the rate is measured from a span of the clock that encloses the span of the counter, and a
 * thousandth is added, which is more than the kernel bends its clock by (500 ppm). Why it is at most a microsecond
 * late: the window is a quarter of a millisecond.
 * The counter is not believed blindly: it is used only while two measurements in a row agree, so that one which was
 * stopped, moved or scaled (a virtual machine that migrates) costs the real clock again, not wrong deadlines.
 * Checked by: tests/io/test_clock.c. */
#include "io/clock.h"

#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define WINDOW_NS UINT64_C(262144)
#define MEASURE_NS UINT64_C(8000000)       /* the least span that a rate is measured over */
#define MEASURE_MAX_NS (UINT64_C(1) << 32) /* and the longest: afterwards it begins anew */
#define AGREE_SHIFT 8                      /* two rates agree up to this part */
#define MARGIN_SHIFT 10                    /* what is added to the rate */

#define CLEAN_TICKS 600u /* a look that takes longer was interrupted; about a quarter of a microsecond */

static uint64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static bool counter_is_steady(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1); /* "invariant TSC" */
#else
    return false;
#endif
}

void tr_clock_init(struct tr_clock *clock)
{
    memset(clock, 0, sizeof *clock);
    clock->steady = counter_is_steady();
}

static bool agree(uint64_t a, uint64_t b)
{
    uint64_t differ = a > b ? a - b : b - a;
    return differ <= b >> AGREE_SHIFT;
}

static void measured(struct tr_clock *clock, uint64_t rate)
{
    bool believed = clock->measured && agree(clock->measured, rate);
    clock->measured = rate;
    clock->rate = rate + (rate >> MARGIN_SHIFT) + 1;
    clock->window = believed ? (WINDOW_NS << TR_CLOCK_RATE_BITS) / clock->rate : 0;
}

static void measure(struct tr_clock *clock, uint64_t before, uint64_t after)
{
    uint64_t span_ns = clock->base_ns - clock->anchor_ns, span = before - clock->anchor_ticks;
    if (span_ns < MEASURE_NS)
        return;
    if (clock->anchor_ns && span_ns < MEASURE_MAX_NS)
        measured(clock, (span_ns << TR_CLOCK_RATE_BITS) / span);
    else
        clock->window = clock->measured = 0; /* too long ago: who knows what happened meanwhile */
    clock->anchor_ns = clock->base_ns;
    clock->anchor_ticks = after;
}

uint64_t tr_clock_rebase(struct tr_clock *clock)
{
    if (!clock->steady)
        return clock_now();
    uint64_t before = tr_clock_ticks();
    clock->base_ns = clock_now();
    uint64_t after = tr_clock_ticks();
    if (after - before > CLEAN_TICKS) { /* interrupted in between: good enough for this once */
        clock->base_ticks = before - clock->window;
        return clock->base_ns;
    }
    clock->base_ticks = before;
    measure(clock, before, after);
    return clock->base_ns;
}
