/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/spare.h"

#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/count.h"
#include "sched/pool_state.h"

/* Protocol of pool->spares. `called` says how many spares take part: spare k does if k < called.
 *   I  any    under lock, if the pool does not stop: called + 1, then wakes spare `called` was    tr_pool_spare_start
 *   O  any    under lock: called - 1, then wakes spare `called` is                                tr_pool_spare_stop
 *   Q  any    under lock: stop 0 -> 1, then wakes all spares                                      tr_spares_stop
 *   T  spare  before each turn loads called: in, or out                                           tr_spare_loop
 *   D  spare  takes the lock and lets it go, before it detaches
 * It is a level, not an edge: a spare that is called, sent out and called again before it looked just goes on. Wakes
 *   are sticky, so one that comes before the wait ends it, and T after it sees what was stored before it.
 * Nobody wakes a spare that has detached: a spare leaves only when it sees stop, which is set under the lock (Q); who
 *   wakes it holds the lock and saw that stop was 0, or is Q; and D waits for both.
 * A spare that sits out is no member of the idle protocol (sched/idle.c): nobody claims it, nobody waits for it, it
 *   runs nothing. It sleeps in its own wait, and what its completions make runnable it hands to the common queue as a
 *   foreign thread does: push, full fence, look for a sleeper. So no work waits for it, and none is kept by it.
 * Leaving, it ends its search as any searcher does, and hands over its queue.
 * Checked by: tests/sched/test_spare.c, tests/stress/stress_sched.c. */

void tr_spares_init(struct tr_spares *spares)
{
    pthread_mutex_init(&spares->lock, NULL);
    spares->called = 0;
}

void tr_spares_fini(struct tr_spares *spares)
{
    pthread_mutex_destroy(&spares->lock);
}

/* --- who calls ---------------------------------------------------------------------------------------------------- */

static struct tr_worker *spare(struct tr_pool *pool, unsigned k)
{
    TR_ASSERT(k < pool->options.spares);
    return &pool->workers[pool->options.workers + k];
}

static void wake(struct tr_worker *worker)
{
    worker->pool->hooks.wake(worker->io);
}

bool tr_pool_spare_start(struct tr_pool *pool)
{
    struct tr_spares *spares = &pool->spares;
    pthread_mutex_lock(&spares->lock);
    unsigned called = spares->called;
    bool start = ck_pr_load_uint(&pool->stop) == 0 && called < pool->options.spares;
    if (start) {
        ck_pr_store_uint(&spares->called, called + 1); /* I */
        wake(spare(pool, called));
    }
    pthread_mutex_unlock(&spares->lock);
    return start;
}

void tr_pool_spare_stop(struct tr_pool *pool)
{
    struct tr_spares *spares = &pool->spares;
    pthread_mutex_lock(&spares->lock);
    TR_ASSERT(spares->called > 0);
    ck_pr_store_uint(&spares->called, spares->called - 1); /* O */
    if (ck_pr_load_uint(&pool->stop) == 0)
        wake(spare(pool, spares->called));
    pthread_mutex_unlock(&spares->lock);
}

void tr_spares_stop(struct tr_pool *pool)
{
    pthread_mutex_lock(&pool->spares.lock);
    bool first = ck_pr_load_uint(&pool->stop) == 0;
    ck_pr_store_uint(&pool->stop, 1); /* Q */
    for (unsigned k = 0; first && pool->started && k < pool->options.spares; k++)
        wake(spare(pool, k));
    pthread_mutex_unlock(&pool->spares.lock);
}

/* --- a spare's life ----------------------------------------------------------------------------------------------- */

static bool is_called(const struct tr_worker *worker)
{
    return worker->index - worker->pool->options.workers < ck_pr_load_uint(&worker->pool->spares.called);
}

/* Moves what waits in this worker's queues to the common one, as a foreign thread would. */
static void hand_over(struct tr_worker *worker)
{
    struct tr_pool *pool = worker->pool;
    struct tr_runnable *r;
    while ((r = tr_runq_pop(&worker->runq)) != NULL)
        tr_inject_push(&pool->inject, r);
    if ((r = tr_runq_take_lifo(&worker->runq)) != NULL)
        tr_inject_push(&pool->inject, r);
    ck_pr_fence_memory(); /* the pushes before the look at the sleepers: see the idle protocol */
    if (tr_inject_pending(&pool->inject))
        tr_worker_wake_one(pool);
}

static void sit_out(struct tr_worker *worker)
{
    tr_count(&worker->stats.parks, 1);
    worker->delivering = true;
    worker->pool->hooks.wait(worker->io, TR_WAIT_FOREVER);
    worker->delivering = false;
    if (!is_called(worker))
        hand_over(worker);
}

static void take_part(struct tr_worker *worker)
{
    tr_idle_join(&worker->pool->idle, worker->index);
    while (is_called(worker) && ck_pr_load_uint(&worker->pool->stop) == 0)
        tr_worker_take_turn(worker);
    tr_worker_retire(worker);
    hand_over(worker);
    if (tr_idle_unguarded(&worker->pool->idle, worker->index))
        tr_worker_wake_one(worker->pool);
    tr_idle_leave(&worker->pool->idle, worker->index);
}

void tr_spare_loop(struct tr_worker *worker)
{
    while (ck_pr_load_uint(&worker->pool->stop) == 0) {
        if (is_called(worker))
            take_part(worker);
        else
            sit_out(worker);
    }
    tr_worker_finish(worker);
    pthread_mutex_lock(&worker->pool->spares.lock); /* D */
    pthread_mutex_unlock(&worker->pool->spares.lock);
}
