/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of the runtime layer. One set per worker, written by that worker alone with plain increments; readers
 * see values that may be a little old. Threads that are no workers share one atomic set.
 * It is not the scheduler's or the loop's counters: troupe_stats_read adds the three up. */
#ifndef TR_RUNTIME_STATS_H
#define TR_RUNTIME_STATS_H

#include <troupe/types.h>

#include "sched/base/count.h"

struct tr_stats {
    uint64_t spawns, stops;
    uint64_t messages_handled;
    uint64_t crashes, restarts, escalations, kills;
    uint64_t cleanup_panics;
    uint64_t faults_recovered;
    uint64_t mailbox_high_water;
    uint64_t dead_letters[TROUPE_DEAD_COUNT];
};

struct troupe_runtime;
struct troupe_stats;

struct tr_foreign_stats {
    uint64_t dead_letters[TROUPE_DEAD_COUNT];
};

/* troupe_stats_read behind the gate. */
void tr_stats_sum(const struct troupe_runtime *rt, struct troupe_stats *out);

#endif
