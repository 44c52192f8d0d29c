/* SPDX-License-Identifier: Apache-2.0 */
/* How long this worker searches before it sleeps: between an eighth of the pool's spin_ns and all of it. Owns the
 * budget. Used by one worker for itself; pure arithmetic.
 * It is not the search: that is sched/worker.c. */
#ifndef TR_SCHED_SPIN_H
#define TR_SCHED_SPIN_H

#include <stdint.h>

struct tr_spin {
    uint64_t budget_ns, max_ns;
};

static inline void tr_spin_init(struct tr_spin *spin, uint64_t max_ns)
{
    spin->budget_ns = spin->max_ns = max_ns;
}

/* Work came gap_ns after the last was done. Where it comes soon, a full spin would have met it (or nearly: the gap of a
 * worker that slept includes its wake), so spin longer; where it does not, spinning only burns a core that somebody
 * else, often the client on the same machine, could use. */
static inline void tr_spin_learn(struct tr_spin *spin, uint64_t gap_ns)
{
    if (gap_ns <= 2 * spin->max_ns)
        spin->budget_ns = 2 * spin->budget_ns < spin->max_ns ? 2 * spin->budget_ns : spin->max_ns;
    else if (spin->budget_ns / 2 >= spin->max_ns / 8)
        spin->budget_ns /= 2;
}

#endif
