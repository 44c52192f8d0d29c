/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: the thread that takes runnables from its run queue, the common queue, its I/O and other workers, and
 * sleeps when there are none. Owns its run queue and counters. The functions here are for sched/pool.c; others use
 * sched/pool.h. It does not start or join its thread, and knows nothing of what a runnable does. */
#ifndef TR_SCHED_WORKER_H
#define TR_SCHED_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include <pthread.h>

#include "sched/base/cacheline.h"
#include "sched/pace.h"
#include "sched/pool.h"
#include "sched/runq.h"
#include "sched/spin.h"

#define TR_TURN_RUNS 4      /* one run in so many looks into the run queue before the LIFO slot: a power of two */
#define TR_CHAIN_RUNS 32    /* with an empty run queue one in so many looks further: a multiple of it, and one, too */
#define TR_OUTSIDE_EVERY 61 /* each so many ticks the common queue and I/O come first; prime, to fall out of step */
#define TR_INJECT_EVERY 4   /* the common queue, where it is long, as often as this: it must not be much slower */
#define TR_INJECT_TAKE_MAX 127 /* most that one worker takes from the common queue at once */
#define TR_LIFO_STALE_NS 10000 /* a victim whose tick stood still for so long is not about to run its LIFO slot */
#define TR_GUARD_NS 4000000    /* how long a guard sleeps: the bound on how long work waits behind a long activation */
#define TR_GUARD_ROUNDS 5      /* so many guard turns without any activation in the pool, and it sleeps unguarded */

/* A run queue as long as this takes none that was never run: it would have to shed others for it. Half of it was dearer:
 * a creator got ahead of what it made. */
#define TR_BORN_ROOM (TR_RUNQ_SIZE - 1)

/* What a thief remembers of a victim: its tick, and since when it reads so. */
struct tr_victim {
    uint64_t tick, since_ns;
};

struct tr_worker {
    /* Constant while the thread runs, but for user. */
    void *user; /* the first: see tr_worker_user */
    struct tr_pool *pool;
    unsigned index;
    void *io;
    pthread_t thread;
    int attach_error; /* 0 or -errno, valid once the thread has reported */

    /* The owner's own. */
    uint64_t outside_tick;  /* when the common queue came first the last time */
    uint64_t polled_tick;   /* when I/O came first the last time */
    uint64_t sampled_tick;  /* when the pace was sampled the last time */
    unsigned outside_after; /* ticks from outside_tick until the common queue comes first again */
    bool outside_was_first; /* at the last look: then not at the next one, or the run queue had no turn */
    bool searching;         /* counted in the idle protocol's searchers */
    bool delivering;        /* inside hooks->poll or wait: whom to wake is decided after the batch */
    bool dry;               /* nothing found since dry_since_ns */
    uint64_t dry_since_ns;
    uint64_t claims;       /* times it was claimed as a sleeper: tokens it is owed, ever */
    uint64_t activity;     /* sum of all ticks when it last lay down */
    unsigned quiet_rounds; /* times it lay down since that changed */
    struct tr_pace pace;
    struct tr_spin spin;
    struct tr_victim victims[TR_WORKERS_MAX];

    /* The owner writes, others read. */
    uint64_t tick TR_ALIGNED_LINE; /* activations begun; a thief tells by it whether the owner is stuck in one */
    struct tr_worker_stats stats;
    struct tr_runq runq;

    /* Others write: tokens paid, ever. See the protocol in sched/idle.c. */
    uint64_t tokens TR_ALIGNED_LINE;
};

/* Is it the common queue's turn? Owner. */
static inline bool tr_worker_outside_due(const struct tr_worker *worker)
{
    return worker->tick - worker->outside_tick >= worker->outside_after;
}

void tr_worker_init(struct tr_worker *worker, struct tr_pool *pool, unsigned index);
/* Asserts what holds between two activations. Owner. */
void tr_worker_check(const struct tr_worker *worker);
/* Makes the calling thread this worker, or (NULL) a foreign thread again. */
void tr_worker_enter(struct tr_worker *worker);
/* Runs until the pool stops. Returns when no thread can call this worker's wake any more. Owner. */
void tr_worker_loop(struct tr_worker *worker);
/* One turn of that loop, by way of options.turn. Owner. */
void tr_worker_take_turn(struct tr_worker *worker);
/* Between two turns: searches no more. The caller must look at the common queue once more, and at whether it leaves a
 * guard. Owner. */
void tr_worker_retire(struct tr_worker *worker);
/* The end of the loop, after the last turn. Owner. */
void tr_worker_finish(struct tr_worker *worker);
/* Claims a sleeper and pays its token; false if none was to be had. Any thread. */
bool tr_worker_wake_one(struct tr_pool *pool);
/* Claims and wakes all sleepers. Any thread. */
void tr_worker_wake_all(struct tr_pool *pool);

#endif
