/* SPDX-License-Identifier: Apache-2.0 */
/* A small seeded random generator (the splitmix64 step: an odd increment, then two multiply-xorshift rounds). Owns only
 * its state word. One thread at a time may draw from one generator.
 * It is not unpredictable and not for secrets: it spreads victims, jitter and test inputs. */
#ifndef TR_SCHED_BASE_RNG_H
#define TR_SCHED_BASE_RNG_H

#include <stdint.h>

struct tr_rng {
    uint64_t state;
};

static inline void tr_rng_init(struct tr_rng *rng, uint64_t seed)
{
    rng->state = seed;
}

static inline uint64_t tr_rng_next(struct tr_rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio: every seed walks the full period */
    uint64_t mixed = rng->state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* A number in 0 .. bound - 1; bound > 0. Scales the upper half instead of dividing; the bias is below bound / 2^32. */
static inline uint32_t tr_rng_below(struct tr_rng *rng, uint32_t bound)
{
    return (uint32_t)(((tr_rng_next(rng) >> 32) * bound) >> 32);
}

#endif
