/* SPDX-License-Identifier: Apache-2.0 */
/* What the workers of a pool share. Owns the common queue, the idle word, the stop flag and the workers themselves.
 * For sched/ only: others hold a struct tr_pool * and use sched/pool.h.
 * It is not global: each pool has its own, and two pools in a process do not meet. */
#ifndef TR_SCHED_POOL_STATE_H
#define TR_SCHED_POOL_STATE_H

#include <pthread.h>

#include "sched/base/cacheline.h"
#include "sched/hooks.h"
#include "sched/idle.h"
#include "sched/inject.h"
#include "sched/pool.h"
#include "sched/spare.h"
#include "sched/worker.h"

/* How a start goes; guarded by launch.lock. */
enum tr_launch_verdict { TR_LAUNCH_PENDING, TR_LAUNCH_GO, TR_LAUNCH_GIVE_UP };

struct tr_launch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned reported; /* workers that attached or failed to */
    enum tr_launch_verdict verdict;
};

struct tr_pool {
    /* Constant once created. */
    struct tr_hooks hooks;
    struct tr_pool_options options; /* its name is void after creation */
    char name[8];
    unsigned threads; /* workers and spares */
    bool asymmetric;  /* sched/base/asymmetric.h is to be had */
    bool started;
    struct tr_launch launch;

    /* 0, then 1 for good: tr_pool_stop. Its store is followed by a full fence and a look at the idle word; a worker
     * looks at it before each activation and after it announced its sleep. Edges: see the idle protocol. */
    unsigned stop TR_ALIGNED_LINE;
    struct tr_idle idle;
    struct tr_inject inject;
    struct tr_spares spares;
    struct tr_worker workers[]; /* `threads` of them: first the workers, then the spares */
};

#endif
