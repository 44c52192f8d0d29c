/* SPDX-License-Identifier: Apache-2.0 */
/* A world without I/O for a pool under test: sleeping is a futex, completions are runnables that a test posts to a
 * loop. Owns the loops of one pool; tests and stress programs of sched/ include it.
 * It is not a simulator: threads and clock are real. */
#ifndef TR_TESTS_SCHED_FAKE_HOOKS_H
#define TR_TESTS_SCHED_FAKE_HOOKS_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>
#include <ck_stack.h>

#include "sched/base/assert.h"
#include "sched/base/cacheline.h"
#include "sched/base/list.h"
#include "sched/base/rng.h"
#include "sched/hooks.h"
#include "sched/pool.h"

/* signalled: 0 awake or asleep without a wake, 1 a wake is due. wake stores 1 (RMW), wait takes it by exchange; the
 * futex sleeps only while it reads 0, so a wake before or during the wait ends it. */
struct fake_loop {
    uint32_t signalled TR_ALIGNED_LINE;
    ck_stack_t completions;
    uint64_t wakes; /* how often it was woken, or told to wake */
    struct tr_worker *worker TR_ALIGNED_LINE;
    struct tr_rng rng;
    unsigned *detached;                         /* counts in the world */
    void (*on_pending)(struct fake_loop *loop); /* if set: called once, when the owner asks pending */
    unsigned *wake_gate;                        /* if set: wake does nothing before this reads 1 */
    bool attached;
    bool calm;       /* what it tells of itself: that it expects nothing */
    uint64_t waits;  /* calls of wait: one writer, read by tests */
    uint64_t naps;   /* among these with a time-out */
    uint32_t asleep; /* in wait: FAKE_AWAKE, FAKE_NAPS (with a time-out) or FAKE_SLEEPS (without) */
};

enum { FAKE_AWAKE, FAKE_NAPS, FAKE_SLEEPS };

struct fake_world {
    struct fake_loop loops[TR_WORKERS_MAX];
    unsigned attached, detached;
    unsigned fails_at; /* index of the worker whose attach fails with fails_with */
    int fails_with;
    uint64_t seed;
};

static inline uint64_t fake_now(void *arg)
{
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int fake_attach(void *arg, struct tr_worker *worker, void **io_out)
{
    struct fake_world *world = arg;
    unsigned index = tr_worker_index(worker);
    struct fake_loop *loop = &world->loops[index];
    if (world->fails_with && index == world->fails_at)
        return world->fails_with;
    loop->worker = worker;
    loop->attached = true;
    loop->detached = &world->detached;
    tr_rng_init(&loop->rng, world->seed + index);
    ck_pr_inc_uint(&world->attached);
    *io_out = loop;
    return 0;
}

static inline void fake_detach(void *io)
{
    struct fake_loop *loop = io;
    TR_ASSERT(loop->attached && tr_worker_self() == loop->worker);
    loop->attached = false;
    ck_pr_inc_uint(loop->detached);
    ck_stack_init(&loop->completions); /* what was posted too late is dropped */
}

static inline unsigned fake_poll(void *io)
{
    struct fake_loop *loop = io;
    unsigned delivered = 0;
    TR_ASSERT(loop->attached && tr_worker_self() == loop->worker);
    if (ck_pr_load_ptr(&loop->completions.head) == NULL)
        return 0;
    ck_stack_entry_t *link = ck_stack_batch_pop_upmc(&loop->completions), *next;
    for (; link; link = next, delivered++) {
        next = link->next;
        tr_worker_requeue(loop->worker, TR_CONTAINER_OF(link, struct tr_runnable, link));
    }
    return delivered;
}

static inline bool fake_pending(void *io)
{
    struct fake_loop *loop = io;
    void (*on_pending)(struct fake_loop *) = ck_pr_load_ptr(&loop->on_pending);
    ck_pr_store_ptr(&loop->on_pending, NULL);
    if (on_pending)
        on_pending(loop);
    return ck_pr_load_ptr(&loop->completions.head) != NULL;
}

static inline bool fake_expects(void *io)
{
    const struct fake_loop *loop = io;
    return !loop->calm;
}

static inline unsigned fake_wait(void *io, uint64_t timeout_ns)
{
    struct fake_loop *loop = io;
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};
    bool forever = timeout_ns == TR_WAIT_FOREVER;
    ck_pr_store_64(&loop->waits, loop->waits + 1);
    if (!forever)
        ck_pr_store_64(&loop->naps, loop->naps + 1);
    ck_pr_store_32(&loop->asleep, forever ? FAKE_SLEEPS : FAKE_NAPS);
    while (ck_pr_fas_32(&loop->signalled, 0) == 0) {
        long woken = syscall(SYS_futex, &loop->signalled, FUTEX_WAIT_PRIVATE, 0, forever ? NULL : &timeout, NULL, 0);
        if (woken < 0 && errno == ETIMEDOUT)
            break;
    }
    ck_pr_store_32(&loop->asleep, FAKE_AWAKE);
    return fake_poll(io);
}

/* Ends the owner's current or next wait, as a wake does and as a completion does. Any thread. */
static inline void fake_signal(struct fake_loop *loop)
{
    if (ck_pr_fas_32(&loop->signalled, 1) == 0)
        syscall(SYS_futex, &loop->signalled, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void fake_wake(void *io)
{
    struct fake_loop *loop = io;
    while (loop->wake_gate && ck_pr_load_uint(loop->wake_gate) == 0)
        sched_yield();
    TR_ASSERT(loop->attached);
    ck_pr_inc_64(&loop->wakes);
    fake_signal(loop);
}

/* A completion for this loop's owner, which may sleep in wait: as the kernel would post it. Any thread. */
static inline void fake_complete(struct fake_loop *loop, struct tr_runnable *r)
{
    ck_stack_push_upmc(&loop->completions, &r->link);
    fake_signal(loop);
}

static inline uint64_t fake_random(void *io)
{
    struct fake_loop *loop = io;
    return tr_rng_next(&loop->rng);
}

static inline struct tr_hooks fake_hooks(struct fake_world *world)
{
    return (struct tr_hooks){
        .attach = fake_attach,
        .detach = fake_detach,
        .poll = fake_poll,
        .pending = fake_pending,
        .expects = fake_expects,
        .wait = fake_wait,
        .wake = fake_wake,
        .now = fake_now,
        .random = fake_random,
        .arg = world,
    };
}

static inline void fake_world_init(struct fake_world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->seed = seed;
}

/* Sleeping calls of all loops together, so far. */
static inline uint64_t fake_waits(const struct fake_world *world)
{
    uint64_t waits = 0;
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++)
        waits += ck_pr_load_64(&world->loops[i].waits);
    return waits;
}

/* Do all of them sleep without a time-out, with no wake under way? Only then nobody is left who could wake another. */
static inline bool fake_rests(const struct fake_world *world, unsigned workers)
{
    uint64_t waits = fake_waits(world);
    for (unsigned i = 0; i < workers; i++) {
        const struct fake_loop *loop = &world->loops[i];
        if (ck_pr_load_32(&loop->asleep) != FAKE_SLEEPS || ck_pr_load_32(&loop->signalled))
            return false;
    }
    return fake_waits(world) == waits;
}

#endif
