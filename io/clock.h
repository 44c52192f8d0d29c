/* SPDX-License-Identifier: Apache-2.0 */
/* A cheap look at the clock for deadlines: never before the present, and at most a microsecond after it. Between two
 * looks at the real clock it counts the processor's own ticks, which costs less than half as much (decision 029).
 * Owned by a loop, its thread only. It is not for measuring: two values may be out of order by that microsecond. */
#ifndef TR_IO_CLOCK_H
#define TR_IO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define TR_CLOCK_RATE_BITS 24
#define TR_CLOCK_SLOP_NS 128 /* the processor may read its counter a little before the instructions in front of it */

struct tr_clock {
    uint64_t base_ns, base_ticks;     /* a look at the clock, and the counter just before */
    uint64_t window;                  /* so many ticks from the base on the counter may be trusted; 0: not at all */
    uint64_t rate;                    /* ns per tick, a thousandth too many, with TR_CLOCK_RATE_BITS binary places */
    uint64_t anchor_ns, anchor_ticks; /* an older look, and the counter just after; 0: none */
    uint64_t measured;                /* the last rate found, to compare the next with */
    bool steady;                      /* the counter runs at one rate on all processors, as far as they say */
};

void tr_clock_init(struct tr_clock *clock);
/* Looks at the real clock. */
uint64_t tr_clock_rebase(struct tr_clock *clock);

static inline uint64_t tr_clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

static inline uint64_t tr_clock_soon(struct tr_clock *clock)
{
    uint64_t ticks = tr_clock_ticks() - clock->base_ticks;
    if (__builtin_expect(ticks < clock->window, 1))
        return clock->base_ns + (ticks * clock->rate >> TR_CLOCK_RATE_BITS) + TR_CLOCK_SLOP_NS;
    return tr_clock_rebase(clock);
}

#endif
