/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog: a thread that looks, now and then, whether a worker has been in one handler for too long, and says so
 * when that begins and when it has ended. Started and stopped by runtime.c; workers only tell it when they lie down and
 * get up (tr_watchdog_asleep, _awake), which costs nothing per message. It ends nobody: see troupe_kill.
 *
 * WHAT IS LOOKED AT. Of each worker a print: its tick, how far its budget is used, the cell, the name of the handler.
 * One that stays the same from look to look is one call of one handler. Those are plain words of the worker's, read
 * while it writes them, each valid by itself; ThreadSanitizer is told not to look (as in survivors.c).
 *
 * WHEN. Every quarter of the limit while a worker is awake, more often while one is stuck, never while all sleep: the
 * thread waits on a timer fd, which has no time set then, and a worker that gets up sets it. That costs the first one
 * up after a rest a system call and wakes nobody.
 *   watched->asleep   the worker: 1 before it waits, 0 after it has
 *   resting           0 -> 1 by the watchdog, when it has seen all asleep; it then looks again before it believes it
 *                     1 -> 0 by compare and swap: by a worker that gets up, which sets the timer; or by the watchdog,
 *                     whose second look found one awake, and goes on
 * No worker is overlooked: the worker writes asleep, then reads resting; the watchdog writes resting, then reads
 * asleep, both with a full fence between. So a worker that got up is seen by the second look, or it sees that the
 * watchdog rests.
 * Checked by: tests/runtime/test_watchdog.c. */
#ifndef TR_RUNTIME_WATCHDOG_H
#define TR_RUNTIME_WATCHDOG_H

#include <troupe/runtime.h>

#include <ck_pr.h>

#include "runtime/stackshot.h"
#include "sched/base/assert.h"
#include "sched/base/cacheline.h"

struct tr_cell;

struct tr_print {
    uint64_t tick;
    uint64_t units; /* how far the budget is used */
    const struct tr_cell *cell;
    const char *handler; /* NULL: no user code runs */
};

/* One worker. */
struct tr_watched {
    uint32_t asleep TR_ALIGNED_LINE; /* the worker's */
    struct tr_stackshot shot TR_ALIGNED_LINE;
    /* The watchdog's. */
    struct tr_print last;
    uint64_t since_ns;  /* at least so long: the look that saw it first */
    uint64_t before_ns; /* at most so long: what is known of the time before */
    uint64_t cpu_ns;    /* of its thread, at since_ns or soon after; 0: not looked at */
    bool reported, has_spare;
    const troupe_behavior *behavior; /* reported: who it was */
    uint32_t index;
    troupe_addr actor;
};

struct tr_watchdog {
    uint32_t resting TR_ALIGNED_LINE;           /* every worker reads it when it gets up; written when all lie down */
    struct tr_watched *workers TR_ALIGNED_LINE; /* rt->threads of them; NULL: there is no watchdog */
    struct troupe_runtime *rt;
    uint64_t limit_ns;
    uint64_t looked_ns;   /* when it last did */
    uint64_t expected_ns; /* when it wants to look next; 0: it rests */
    uint64_t reports;     /* handlers said to be stuck; one writer, anybody reads */
    int signal;           /* for backtraces; 0: none, or not installed */
    int timer_fd;
    uint32_t ending;
    bool running;
    pthread_t thread;
};

/* By rt->options; makes no thread yet. 0 or -errno, which is logged. */
int tr_watchdog_init(struct tr_watchdog *dog, struct troupe_runtime *rt);
void tr_watchdog_fini(struct tr_watchdog *dog);
/* When all workers have attached. Without a thread to be had there is no watchdog, and the log says so. */
void tr_watchdog_start(struct tr_watchdog *dog);
/* Before the workers are joined. */
void tr_watchdog_stop(struct tr_watchdog *dog);
/* On worker `index`, before its first activation. */
void tr_watchdog_attach(struct tr_watchdog *dog, unsigned index);

/* For tr_watchdog_awake. */
void tr_watchdog_wake(struct tr_watchdog *dog);

/* Worker `index` is about to sleep, or to leave. */
static inline void tr_watchdog_asleep(struct tr_watchdog *dog, unsigned index)
{
    if (dog->workers)
        ck_pr_store_32(&dog->workers[index].asleep, 1);
}

/* It sleeps no more. */
static inline void tr_watchdog_awake(struct tr_watchdog *dog, unsigned index)
{
    if (!dog->workers)
        return;
    ck_pr_fas_32(&dog->workers[index].asleep, 0); /* not a store and a full fence: it is in the way of each wake */
    ck_pr_fence_atomic_load();
    if (TR_UNLIKELY(ck_pr_load_32(&dog->resting)))
        tr_watchdog_wake(dog);
}

#endif
