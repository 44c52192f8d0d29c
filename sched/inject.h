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

struct tr_inject {
    ck_stack_t pushed TR_ALIGNED_LINE;       /* newest first; written by all */
    ck_spinlock_fas_t taker TR_ALIGNED_LINE; /* guards what follows; only ever tried, never waited for */
    ck_stack_entry_t *oldest, *newest;       /* a FIFO linked from oldest to newest; newest is void when it is empty */
    unsigned len;                            /* of the FIFO */
};

void tr_inject_init(struct tr_inject *inject);
/* Walks the FIFO. Only while no one takes. */
void tr_inject_check(const struct tr_inject *inject);

/* Appends r. Order: first in, first out per pusher; release. Any thread. */
void tr_inject_push(struct tr_inject *inject, struct tr_runnable *r);
/* Takes this worker's share, the oldest first: min(queued / workers + 1, max) runnables, linked by link.next and ended
 * by NULL; *taken says how many. Returns NULL when there is nothing or when another worker is taking. */
struct tr_runnable *tr_inject_take(struct tr_inject *inject, unsigned workers, unsigned max, unsigned *taken);
/* Is anything queued? True also while another worker is taking. False is final until the next push. Any thread. */
bool tr_inject_pending(const struct tr_inject *inject);

/* About how many wait there behind the last take; what was pushed since does not count. Any thread. */
unsigned tr_inject_backlog(const struct tr_inject *inject);

/* The runnable after r in what tr_inject_take returned. */
struct tr_runnable *tr_inject_next(const struct tr_runnable *r);

#endif
