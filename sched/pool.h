/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool: a fixed set of threads that run runnables, steal them from each other and sleep when there are none.
 * Owns its threads and queues; runtime/ creates one per runtime. tr_pool_schedule may be called from any thread.
 * It is not an actor system: a runnable is an opaque node that must be scheduled at most once until it is run. */
#ifndef TR_SCHED_POOL_H
#define TR_SCHED_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <ck_stack.h>

#include "sched/hooks.h"

#define TR_WORKERS_MAX 64 /* a word holds a bit for each: sched/idle.c */

/* Embedded in what is to be run. While scheduled it belongs to the pool; from the call of run on to the caller. */
struct tr_runnable {
    ck_stack_entry_t link;
};

struct tr_pool;

/* Single-writer counters of one worker: the worker increments, anyone may read a slightly old value. */
struct tr_worker_stats {
    uint64_t runs;      /* activations run */
    uint64_t steals;    /* runnables taken from another worker */
    uint64_t parks;     /* times it went to sleep in wait */
    uint64_t wakes;     /* wakes it sent to others */
    uint64_t injected;  /* runnables it took from the common queue */
    uint64_t overflows; /* times its run queue was full and half of it moved to the common queue */
};

struct tr_pool_options {
    unsigned workers; /* at least 1; with the spares at most TR_WORKERS_MAX */
    unsigned spares;  /* workers that sit out until tr_pool_spare_start; their indices follow the others' */
    unsigned cpus;    /* how many of them can run at once, so that no more spin than these bear; 0: all */
    bool pin;         /* worker i runs on the i-th CPU that the starting thread may use, round and round */
    uint64_t spin_ns; /* how long an idle worker searches at most before it sleeps; 0: it looks once. It adapts:
                       * an eighth of this where work comes seldom */
    const char *name; /* thread name prefix: "troupe" gives troupe/w0 */
    /* Runs r on this worker, and may go on with what tr_schedule_next gives (sched/schedule.h). It must come back; it may
     * schedule anything, r included. */
    void (*run)(void *arg, struct tr_worker *worker, struct tr_runnable *r);
    /* Calls tr_worker_turn and returns; it may come back from inside of `run` by a jump to its own frame. NULL: not
     * needed. */
    void (*turn)(void *arg, struct tr_worker *worker);
    void *arg;
};

/* Creates the pool without starting threads. Returns 0, -EINVAL or -ENOMEM. options and hooks are copied. */
int tr_pool_create(struct tr_pool **out, const struct tr_pool_options *options, const struct tr_hooks *hooks);
/* Starts the threads; returns when every worker has attached. On -errno no thread is left running; *failed_worker (may
 * be NULL) names the first worker whose attach failed. It may be tried again. Not thread-safe. */
int tr_pool_start(struct tr_pool *pool, unsigned *failed_worker);
/* Asks the workers to leave: each returns after its current activation. Runnables still queued are not run. Any thread,
 * also a worker; idempotent. A foreign caller keeps the pool from being destroyed until it returns. */
void tr_pool_stop(struct tr_pool *pool);
/* Waits for the threads. Not from a worker. */
void tr_pool_join(struct tr_pool *pool);
/* Frees the pool. After tr_pool_join, or if it was never started. */
void tr_pool_destroy(struct tr_pool *pool);

/* Makes r runnable. From a worker of this pool: into its LIFO slot (what was there moves to its run queue), stealable;
 * from any other thread: into the common queue, and a sleeper is woken. r must not be scheduled already.
 * Order: release; the run of r sees all that the caller wrote before. Any thread; a foreign one keeps the pool from
 * being destroyed until the call returns, which may be after r has run. */
void tr_pool_schedule(struct tr_pool *pool, struct tr_runnable *r);
/* One turn of a worker's loop: a chain of activations, at most TR_CHAIN_RUNS (sched/worker.h), or a sleep. For
 * options.turn. */
void tr_worker_turn(struct tr_worker *worker);

/* The same for a caller that knows the worker it is. */
void tr_worker_schedule(struct tr_worker *worker, struct tr_runnable *r);
/* The same for one that was never run: where much is waiting already, the last such comes before the earlier ones, and
 * those that were run are not held up by them. */
void tr_worker_schedule_born(struct tr_worker *worker, struct tr_runnable *r);
/* As schedule, but to the tail of the worker's run queue: for a runnable that used up its budget, and for completions
 * (they come in batches and none deserves to run first). Worker thread of this pool only. */
void tr_worker_requeue(struct tr_worker *worker, struct tr_runnable *r);

/* Hints, for the time that a thread takes to wake another: that worker is getting up from its sleep, that a thread from
 * outside is about to schedule. What they will need, others wrote last, each on a line of its own; so the lines come
 * together, instead of one after the other. The first: worker thread of this pool only. */
void tr_worker_getting_up(const struct tr_worker *worker);
void tr_pool_about_to_schedule(const struct tr_pool *pool);

/* A spare is a worker, attached and with I/O of its own from the start, that takes no work until it is called: for the
 * time that another one is stuck in an activation. Idle it makes no wake-ups. */
/* Calls one spare in: from now on it searches, steals and is woken as any worker. False: none is left, or the pool is
 * stopping. Does not allocate, costs a wake. Any thread, after tr_pool_start has returned, that keeps the pool from
 * being destroyed. */
bool tr_pool_spare_start(struct tr_pool *pool);
/* Sends the one called in last out again, once for each start that was true: after its current activation it hands what
 * waits in its queues to the others and sits out. What was begun in its own I/O still completes there: it passes what
 * that makes runnable on to the others. Returns at once. Any thread, as above. */
void tr_pool_spare_stop(struct tr_pool *pool);

/* The worker that the calling thread is, or NULL on a foreign thread. */
struct tr_worker *tr_worker_self(void);
struct tr_pool *tr_worker_pool(const struct tr_worker *worker);
unsigned tr_worker_index(const struct tr_worker *worker);
/* The I/O state that attach returned. */
void *tr_worker_io(const struct tr_worker *worker);
/* One pointer per worker for the layer above (its slabs, counters). Set in attach or before start. */
void tr_worker_set_user(struct tr_worker *worker, void *user);
static inline void *tr_worker_user(const struct tr_worker *worker)
{
    return *(void *const *)worker; /* its first member */
}

unsigned tr_pool_workers(const struct tr_pool *pool);
/* Workers and spares: indices below it are valid for what follows. */
unsigned tr_pool_threads(const struct tr_pool *pool);
struct tr_worker *tr_pool_worker(const struct tr_pool *pool, unsigned index);
/* Activations that worker index has begun, ever: one that stands still while the worker is not asleep is a long one.
 * Any thread. */
uint64_t tr_pool_tick(const struct tr_pool *pool, unsigned index);
/* Copies the counters of worker index; any thread. */
void tr_pool_stats(const struct tr_pool *pool, unsigned index, struct tr_worker_stats *out);

#endif
