/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's common queue: what foreign threads schedule and what overflows from a worker's run queue. Owns no
 * runnable, only the links inside them. Any thread pushes; workers take in batches, one taker at a time.
 * It is not the way between workers in normal operation: that is the run queue and stealing. */
#ifndef TR_SCHED_INJECT_H
#define TR_SCHED_INJECT_H

#include <stdbool.h>

#include <ck_spinlock.h>
#include <ck_stack.h>

#include "sched/base/cacheline.h"
#include "sched/pool.h"

/* Those that were never run wait so long for those that came later; then they are among the old. */
#define TR_INJECT_OLD_NS INT64_C(4000000)
/* Every so many takes are of the old, if there are any. */
#define TR_INJECT_OLD_EVERY 16u

/* Linked from first to last; last is void when it is empty. */
struct tr_inject_line {
    ck_stack_entry_t *first, *last;
};

struct tr_inject {
    ck_stack_t pushed TR_ALIGNED_LINE;       /* newest first; written by all */
    ck_stack_t born;                         /* the same, of those that were never run */
    ck_spinlock_fas_t taker TR_ALIGNED_LINE; /* guards what follows; only ever tried, never waited for */
    struct tr_inject_line fifo;              /* what was pushed, the oldest first */
    struct tr_inject_line young, old;        /* what was born: the newest first; and what has waited for long */
    uint64_t young_since_ns;                 /* when young was last empty */
    unsigned takes;
    unsigned len; /* of all three */
};

void tr_inject_init(struct tr_inject *inject);
/* Walks the lines. Only while no one takes. */
void tr_inject_check(const struct tr_inject *inject);

/* Appends r. Order: first in, first out per pusher; release. Any thread. */
void tr_inject_push(struct tr_inject *inject, struct tr_runnable *r);
/* The same for a runnable that was never run. Order: the last comes first, within bounds: see tr_inject_take. */
void tr_inject_push_born(struct tr_inject *inject, struct tr_runnable *r);
/* Takes this worker's share: up to min(queued / workers + 1, max) runnables, linked by link.next and ended by NULL;
 * *taken says how many. Returns NULL when there is nothing or when another worker is taking. Where there are both, takes
 * are in turns of what was pushed and of what was born. Of the latter the newest come first, so that a tree of actors
 * grows in depth and not in breadth (docs/decisions/036-what-an-actor-costs.md); but who has waited for
 * TR_INJECT_OLD_NS comes in every TR_INJECT_OLD_EVERYth take at least. */
struct tr_runnable *tr_inject_take(struct tr_inject *inject, unsigned workers, unsigned max, uint64_t now_ns,
                                   unsigned *taken);
/* Is anything queued? True also while another worker is taking. False is final until the next push. Any thread. */
bool tr_inject_pending(const struct tr_inject *inject);

/* About how many wait there behind the last take; what was pushed since does not count. Any thread. */
unsigned tr_inject_backlog(const struct tr_inject *inject);

/* The runnable after r in what tr_inject_take returned. */
struct tr_runnable *tr_inject_next(const struct tr_runnable *r);

#endif
