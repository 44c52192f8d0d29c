/* SPDX-License-Identifier: Apache-2.0 */
/* Spare workers, with real threads and a fake world: they sit out, take part, sit out again, and never keep work. */
#include <sched.h>
#include <stdio.h>

#include <ck_pr.h>
#include <criterion/criterion.h>

#include "sched/pool.h"
#include "sched/pool_state.h"
#include "tests/sched/fake_hooks.h"

#define SPIN_NS 20000

enum { JOBS = 512 };

struct job {
    struct tr_runnable runnable;
    void (*body)(struct job *job, struct tr_worker *worker);
};

static struct fake_world world;
static struct tr_pool *pool;
static struct job jobs[JOBS];
static unsigned runs, release_stuck;
static unsigned ran_on[TR_WORKERS_MAX];

static void run_job(void *arg, struct tr_worker *worker, struct tr_runnable *r)
{
    struct job *job = TR_CONTAINER_OF(r, struct job, runnable);
    (void)arg;
    job->body(job, worker);
}

static void start(unsigned workers, unsigned spares)
{
    struct tr_pool_options options = {
        .workers = workers, .spares = spares, .spin_ns = SPIN_NS, .name = "test", .run = run_job};
    fake_world_init(&world, 1);
    struct tr_hooks hooks = fake_hooks(&world);
    cr_assert_eq(tr_pool_create(&pool, &options, &hooks), 0);
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    cr_assert_eq(world.attached, workers + spares);
}

static void finish(void)
{
    tr_pool_stop(pool);
    tr_pool_join(pool);
    cr_assert_eq(world.detached, world.attached);
    tr_pool_destroy(pool);
}

static void await(const unsigned *word, unsigned value)
{
    while (ck_pr_load_uint(word) != value)
        sched_yield();
    ck_pr_fence_acquire();
}

static void await_rest(unsigned threads)
{
    while (!fake_rests(&world, threads))
        sched_yield();
}

static bool takes_part(unsigned index)
{
    return (ck_pr_load_64(&pool->idle.members) >> index & 1) != 0;
}

static void await_part(unsigned index, bool part)
{
    while (takes_part(index) != part)
        sched_yield();
}

static void count_it(struct job *job, struct tr_worker *worker)
{
    (void)job;
    ck_pr_inc_uint(&ran_on[tr_worker_index(worker)]);
    ck_pr_inc_uint(&runs);
}

static void get_stuck(struct job *job, struct tr_worker *worker)
{
    (void)job, (void)worker;
    ck_pr_inc_uint(&runs);
    await(&release_stuck, 1);
}

/* A handler that blocks for ever in the eyes of the pool, with all the others queued behind it. */
static void get_stuck_with_a_backlog(struct job *job, struct tr_worker *worker)
{
    for (unsigned i = 1; i < 100; i++)
        tr_worker_requeue(worker, &jobs[i].runnable);
    get_stuck(job, worker);
}

static void prepare(void (*first)(struct job *, struct tr_worker *))
{
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i].body = i == 0 ? first : count_it;
}

Test(spare, sits_out_while_it_is_not_called, .timeout = 120)
{
    start(1, 2);
    prepare(count_it);
    await_rest(3);
    uint64_t before = ck_pr_load_64(&world.loops[1].waits) + ck_pr_load_64(&world.loops[2].waits);
    for (unsigned i = 0; i < JOBS; i++)
        tr_pool_schedule(pool, &jobs[i].runnable);
    await(&runs, JOBS);
    await_rest(3);
    cr_assert_eq(ran_on[0], JOBS);
    cr_assert_eq(ck_pr_load_64(&world.loops[1].waits) + ck_pr_load_64(&world.loops[2].waits), before);
    finish();
}

/* The only worker is stuck: the spare runs what waits behind it and what comes from outside. */
Test(spare, stands_in_for_a_stuck_worker_and_goes_when_that_is_back, .timeout = 120)
{
    start(1, 1);
    prepare(get_stuck_with_a_backlog);
    tr_pool_schedule(pool, &jobs[0].runnable);
    await(&runs, 1);
    cr_assert_eq(tr_pool_tick(pool, 0), 1);
    cr_assert(tr_pool_spare_start(pool));
    await(&runs, 100);
    cr_assert_eq(ran_on[1], 99);
    tr_pool_schedule(pool, &jobs[100].runnable);
    await(&runs, 101);
    cr_assert_eq(ran_on[1], 100);
    tr_pool_spare_stop(pool);
    await_part(1, false);
    ck_pr_store_uint(&release_stuck, 1);
    tr_pool_schedule(pool, &jobs[101].runnable);
    await(&runs, 102);
    cr_assert_eq(ran_on[0], 1, "the spare has gone");
    finish();
}

Test(spare, there_are_no_more_than_there_are, .timeout = 120)
{
    start(2, 2);
    cr_assert(tr_pool_spare_start(pool));
    cr_assert(tr_pool_spare_start(pool));
    cr_assert_not(tr_pool_spare_start(pool));
    await_part(2, true);
    await_part(3, true);
    tr_pool_spare_stop(pool);
    await_part(3, false);
    cr_assert(takes_part(2), "the one called in last goes first");
    tr_pool_stop(pool);
    cr_assert_not(tr_pool_spare_start(pool));
    tr_pool_spare_stop(pool);
    finish();
}

Test(spare, comes_to_rest_like_all_the_others, .timeout = 120)
{
    start(1, 1);
    cr_assert(tr_pool_spare_start(pool));
    await_part(1, true);
    await_rest(2);
    tr_pool_spare_stop(pool);
    await_part(1, false);
    await_rest(2);
    uint64_t before = fake_waits(&world), until = fake_now(NULL) + 10 * (uint64_t)TR_GUARD_NS;
    while (fake_now(NULL) < until)
        sched_yield();
    cr_assert_eq(fake_waits(&world), before);
    finish();
}

static void leave_a_backlog(struct job *job, struct tr_worker *worker)
{
    (void)job;
    cr_assert_eq(tr_worker_index(worker), 1);
    for (unsigned i = 2; i < 200; i++)
        tr_worker_requeue(worker, &jobs[i].runnable);
    tr_pool_schedule(pool, &jobs[200].runnable); /* into the LIFO slot */
    tr_pool_spare_stop(pool);
    ck_pr_store_uint(&release_stuck, 1);
}

/* The spare is sent out in the middle of an activation that leaves much behind: others find all of it. */
Test(spare, hands_its_queue_over, .timeout = 120)
{
    start(1, 1);
    prepare(get_stuck);
    jobs[1].body = leave_a_backlog;
    tr_pool_schedule(pool, &jobs[0].runnable);
    await(&runs, 1);
    cr_assert(tr_pool_spare_start(pool));
    tr_pool_schedule(pool, &jobs[1].runnable);
    await(&runs, 1 + 199);
    cr_assert_leq(ran_on[1], TR_TURN_RUNS, "what it may still run before it looks");
    cr_assert_eq(ran_on[0] + ran_on[1], 199);
    await_part(1, false);
    finish();
}

/* Its own I/O completes while it sits out: the workers run what that wakes. */
Test(spare, passes_its_completions_on, .timeout = 120)
{
    start(1, 1);
    prepare(count_it);
    for (unsigned i = 0; i < 100; i++) {
        await_rest(2);
        fake_complete(&world.loops[1], &jobs[i].runnable);
        await(&runs, i + 1);
    }
    cr_assert_eq(ran_on[0], 100);
    finish();
}

Test(spare, stops_at_any_moment, .timeout = 120)
{
    for (unsigned i = 0; i < 300; i++) {
        start(1 + i % 3, 2);
        bool in = tr_pool_spare_start(pool);
        for (unsigned spin = 0; spin < i * 20; spin++)
            ck_pr_stall();
        if (in && i % 2)
            tr_pool_spare_stop(pool);
        finish();
    }
}

/* In and out while the pool is busy: every runnable is run. */
Test(spare, comes_and_goes_under_load, .timeout = 120)
{
    enum { ROUNDS = 200 };
    start(2, 2);
    prepare(count_it);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool in = tr_pool_spare_start(pool);
        for (unsigned i = 0; i < JOBS / 2; i++)
            tr_pool_schedule(pool, &jobs[i].runnable);
        for (unsigned i = JOBS / 2; i < JOBS; i++)
            fake_complete(&world.loops[i % 4], &jobs[i].runnable);
        if (in)
            tr_pool_spare_stop(pool);
        await(&runs, (round + 1) * JOBS);
    }
    await_rest(4);
    cr_assert_eq(ck_pr_load_64(&pool->idle.members), 3);
    finish();
}
