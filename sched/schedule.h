/* SPDX-License-Identifier: Apache-2.0 */
/* tr_worker_schedule and the run of what it schedules, inline for the one caller that needs it so: a message between two
 * actors of one worker. Owner. It decides nothing that sched/worker.c does not: what is unusual goes there. */
#ifndef TR_SCHED_SCHEDULE_H
#define TR_SCHED_SCHEDULE_H

#include "sched/base/count.h"
#include "sched/pool_state.h"

/* The rest of it: r displaced another runnable, or a sleeper may be needed. Returns 0, for its caller's caller. */
int tr_worker_scheduled(struct tr_worker *worker, struct tr_runnable *displaced);

/* A runnable that only fills the LIFO slot is no backlog: its owner runs it next. So nobody is woken for it while
 * somebody searches or stands guard (counts is not 0), or nobody sleeps: see seek_help. */
static inline int tr_schedule_here(const struct tr_pool *pool, struct tr_worker *worker, struct tr_runnable *r)
{
    struct tr_runnable *displaced = tr_runq_swap_lifo(&worker->runq, r);
    if (TR_UNLIKELY(displaced != NULL) ||
        TR_UNLIKELY(ck_pr_load_64(&pool->idle.sleepers) != 0 && ck_pr_load_64(&pool->idle.counts) == 0))
        return tr_worker_scheduled(worker, displaced);
    return 0;
}

/* For `run` when an activation is over, instead of coming back: counted, the runnable to go on with. What the LIFO slot
 * holds is run at once, without a look at anything else, so that a message between two actors of one worker costs as
 * little as it can; each TR_TURN_RUNS ticks the run queue has its turn, and each TR_CHAIN_RUNS everything else. NULL: come
 * back. */
static inline struct tr_runnable *tr_schedule_next(struct tr_worker *worker)
{
    if (TR_UNLIKELY(worker->tick % TR_TURN_RUNS == 0) &&
        (worker->tick % TR_CHAIN_RUNS == 0 || tr_runq_has_ring(&worker->runq) || tr_worker_outside_due(worker)))
        return NULL;
    struct tr_runnable *r = tr_runq_take_lifo(&worker->runq);
    if (TR_LIKELY(r != NULL))
        tr_count(&worker->tick, 1);
    return r;
}

#endif
