/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a worker without work steals from, and what. Owns nothing; keeps notes on the victims in struct tr_worker.
 * For sched/worker.c, in the thief's own thread.
 * It is not the race itself: that is sched/runq.c. */
#ifndef TR_SCHED_STEAL_H
#define TR_SCHED_STEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/worker.h"

/* Is victim's backlog worth a theft? Moving an activation to another core costs it its cache, so a short queue that is
 * being worked off is left alone: worth it is a backlog of TR_STEAL_WORTH_NS, or any that waits behind an activation
 * that has run for TR_LIFO_STALE_NS as far as this thief saw. now_ns: the pool's clock. */
bool tr_steal_worth(struct tr_worker *thief, struct tr_worker *victim, uint64_t now_ns);
/* Takes half of another worker's run queue where it is worth it, victims in turn from a random one. Returns the oldest
 * of the loot; the rest is in the thief's run queue. NULL: nothing found. */
struct tr_runnable *tr_steal_from_rings(struct tr_worker *thief, uint64_t now_ns);
/* The last resort: takes the LIFO slot of a worker that has been inside one activation for TR_LIFO_STALE_NS. A fresher
 * slot is left, as its owner runs it next with its data in cache, but *fresh is set: the thief should ask again when
 * that time is over. now_ns: the pool's clock. */
struct tr_runnable *tr_steal_from_slots(struct tr_worker *thief, uint64_t now_ns, bool *fresh);

#endif
