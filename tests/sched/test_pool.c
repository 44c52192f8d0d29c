/* SPDX-License-Identifier: Apache-2.0 */
/* The pool as its users see it, with real threads and a fake world: exactly once, wake and sleep, start and stop. */
#define _GNU_SOURCE 1 /* pthread_getname_np */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include <ck_pr.h>
#include <criterion/criterion.h>

#include "sched/cpus.h"
#include "sched/pool.h"
#include "sched/pool_state.h"
#include "tests/sched/fake_hooks.h"

#define SPIN_NS 20000
#define SEED 20240607 /* of victim choice; each test prints it once */
#define BOUND_NS                                                                                                       \
    100000000 /* for what takes little more than TR_GUARD_NS, at best: the machine has other things to do */

enum { JOBS = 4000 };

/* A runnable with a body. `queued` is 1 while the pool owns it, which proves that it is not run twice or
 * unscheduled. */
struct job {
    struct tr_runnable runnable;
    void (*body)(struct job *job, struct tr_worker *worker);
    unsigned queued;
    unsigned again; /* runs left after this one */
};

static struct fake_world world;
static struct tr_pool *pool;
static struct job jobs[JOBS];
static unsigned runs;
static unsigned faults; /* broken rules seen in workers; tests assert it is 0 */

static void run_job(void *arg, struct tr_worker *worker, struct tr_runnable *r)
{
    struct job *job = TR_CONTAINER_OF(r, struct job, runnable);
    (void)arg;
    if (ck_pr_fas_uint(&job->queued, 0) != 1 || tr_worker_self() != worker)
        ck_pr_inc_uint(&faults);
    job->body(job, worker);
}

static void give(struct tr_pool *to, struct job *job)
{
    if (ck_pr_fas_uint(&job->queued, 1) != 0)
        ck_pr_inc_uint(&faults);
    tr_pool_schedule(to, &job->runnable);
}

static void requeue(struct tr_worker *worker, struct job *job)
{
    if (ck_pr_fas_uint(&job->queued, 1) != 0)
        ck_pr_inc_uint(&faults);
    tr_worker_requeue(worker, &job->runnable);
}

static struct tr_pool *create(struct fake_world *in, unsigned workers, uint64_t spin_ns)
{
    struct tr_pool_options options = {.workers = workers, .spin_ns = spin_ns, .name = "test", .run = run_job};
    struct tr_pool *created;
    static bool printed;
    if (!printed)
        printf("seed %d\n", SEED);
    printed = true;
    fake_world_init(in, SEED);
    struct tr_hooks hooks = fake_hooks(in);
    cr_assert_eq(tr_pool_create(&created, &options, &hooks), 0);
    return created;
}

static void start(unsigned workers, uint64_t spin_ns)
{
    pool = create(&world, workers, spin_ns);
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    cr_assert_eq(world.attached, workers);
}

static void finish(void)
{
    tr_pool_stop(pool);
    tr_pool_join(pool);
    cr_assert_eq(world.detached, world.attached);
    cr_assert_eq(faults, 0);
    tr_pool_destroy(pool);
}

static void *give_one(void *arg)
{
    give(pool, arg);
    return NULL;
}

static void await(const unsigned *word, unsigned value)
{
    while (ck_pr_load_uint(word) != value)
        sched_yield();
    ck_pr_fence_acquire();
}

/* Every worker is inside wait, with or without a time-out. */
static void await_asleep(unsigned workers)
{
    for (unsigned i = 0; i < workers; i++)
        while (ck_pr_load_32(&world.loops[i].asleep) == FAKE_AWAKE)
            sched_yield();
}

/* Every worker is inside wait without a time-out: nothing but a wake can end that. */
static void await_rest(unsigned workers)
{
    while (!fake_rests(&world, workers))
        sched_yield();
}

static uint64_t sum_of_wakes(unsigned workers)
{
    uint64_t wakes = 0;
    struct tr_worker_stats stats;
    for (unsigned i = 0; i < workers; i++) {
        tr_pool_stats(pool, i, &stats);
        wakes += stats.wakes;
    }
    return wakes;
}

/* --- exactly once ------------------------------------------------------------------------------------------------- */

static void run_again(struct job *job, struct tr_worker *worker)
{
    unsigned left = job->again;
    if (left > 0) {
        job->again = left - 1;
        if (left % 2)
            requeue(worker, job);
        else
            give(tr_worker_pool(worker), job);
    }
    ck_pr_inc_uint(&runs); /* last: the test may end when the sum is complete */
}

static void *give_half(void *arg)
{
    for (unsigned i = *(unsigned *)arg; i < JOBS; i += 2)
        give(pool, &jobs[i]);
    return NULL;
}

static void exactly_once(unsigned workers, uint64_t spin_ns)
{
    pthread_t threads[2];
    unsigned first[2] = {0, 1};
    runs = 0;
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (struct job){.body = run_again, .again = 4};
    start(workers, spin_ns);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, give_half, &first[i]);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    await(&runs, JOBS * 5);
    await_asleep(workers);
    cr_assert_eq(runs, JOBS * 5);
    finish();
}

Test(pool, runs_each_runnable_exactly_once_with_1_to_8_workers, .timeout = 120)
{
    for (unsigned workers = 1; workers <= 8; workers++)
        exactly_once(workers, SPIN_NS);
}

Test(pool, runs_each_runnable_exactly_once_without_spinning, .timeout = 120)
{
    for (unsigned workers = 1; workers <= 8; workers++)
        exactly_once(workers, 0);
}

Test(pool, runs_every_completion, .timeout = 120)
{
    enum { WORKERS = 4 };
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (struct job){.body = run_again, .queued = 1};
    start(WORKERS, SPIN_NS);
    for (unsigned i = 0; i < JOBS; i++)
        fake_complete(&world.loops[i % WORKERS], &jobs[i].runnable);
    await(&runs, JOBS);
    finish();
}

/* Schedules many at once, so that its run queue overflows. */
static void flood(struct job *job, struct tr_worker *worker)
{
    for (struct job *each = job + 1; each < jobs + JOBS; each++)
        give(tr_worker_pool(worker), each);
    ck_pr_inc_uint(&runs);
}

Test(pool, overflow_goes_to_the_common_queue_and_is_run, .timeout = 120)
{
    struct tr_worker_stats stats;
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (struct job){.body = i == 0 ? flood : run_again};
    start(1, SPIN_NS);
    give(pool, &jobs[0]);
    await(&runs, JOBS);
    tr_pool_stats(pool, 0, &stats);
    cr_assert_gt(stats.overflows, 0);
    cr_assert_geq(stats.injected, stats.overflows * (TR_RUNQ_SIZE / 2));
    finish();
}

/* --- fairness ----------------------------------------------------------------------------------------------------- */

static unsigned endless_runs, other_ran_after;

static void talk_to_itself(struct job *job, struct tr_worker *worker)
{
    endless_runs++;
    if (job->again)
        give(tr_worker_pool(worker), job);
    else
        ck_pr_inc_uint(&runs);
}

static void end_the_talk(struct job *job, struct tr_worker *worker)
{
    (void)worker;
    other_ran_after = endless_runs;
    job[-1].again = 0;
    ck_pr_inc_uint(&runs);
}

static void begin_the_talk(struct job *job, struct tr_worker *worker)
{
    requeue(worker, &job[2]);
    give(tr_worker_pool(worker), &job[1]);
}

Test(pool, lifo_slot_does_not_starve_the_run_queue, .timeout = 120)
{
    jobs[0].body = begin_the_talk;
    jobs[1] = (struct job){.body = talk_to_itself, .again = 1};
    jobs[2].body = end_the_talk;
    start(1, 0);
    give(pool, &jobs[0]);
    await(&runs, 2);
    cr_assert_leq(other_ran_after, TR_TURN_RUNS - 1);
    finish();
}

static unsigned all_given;

static void begin_the_talk_when_all_wait(struct job *job, struct tr_worker *worker)
{
    while (!ck_pr_load_uint(&all_given))
        ck_pr_stall();
    begin_the_talk(job, worker);
}

static void come_by(struct job *job, struct tr_worker *worker)
{
    (void)job, (void)worker;
    ck_pr_inc_uint(&runs);
}

/* The LIFO slot is never empty, and the common queue so long that it is always due. Some 1,000 ticks are the run queue's
 * part; 8,000 pass until the common queue is done. */
Test(pool, a_long_common_queue_does_not_starve_the_run_queue, .timeout = 120)
{
    enum { GUESTS = 3000 };
    jobs[0].body = begin_the_talk_when_all_wait;
    jobs[1] = (struct job){.body = talk_to_itself, .again = 1};
    jobs[2].body = end_the_talk;
    start(1, 0);
    give(pool, &jobs[0]);
    for (unsigned i = 3; i < 3 + GUESTS; i++) {
        jobs[i].body = come_by;
        give(pool, &jobs[i]);
    }
    ck_pr_store_uint(&all_given, 1);
    await(&runs, GUESTS + 2);
    cr_assert_leq(other_ran_after, 2500);
    finish();
}

Test(pool, endless_local_work_does_not_starve_the_common_queue, .timeout = 120)
{
    pthread_t foreigner;
    jobs[1] = (struct job){.body = talk_to_itself, .again = 1};
    jobs[2].body = end_the_talk;
    start(1, 0);
    give(pool, &jobs[1]);
    pthread_create(&foreigner, NULL, give_one, &jobs[2]);
    pthread_join(foreigner, NULL);
    await(&runs, 2);
    cr_assert_eq(runs, 2);
    finish();
}

Test(pool, endless_local_work_does_not_starve_completions, .timeout = 120)
{
    jobs[1] = (struct job){.body = talk_to_itself, .again = 1};
    jobs[2] = (struct job){.body = end_the_talk, .queued = 1};
    start(1, 0);
    give(pool, &jobs[1]);
    fake_complete(&world.loops[0], &jobs[2].runnable);
    await(&runs, 2);
    cr_assert_eq(runs, 2);
    finish();
}

/* --- wake and sleep ----------------------------------------------------------------------------------------------- */

Test(pool, an_idle_pool_makes_no_wake_ups, .timeout = 120)
{
    enum { WORKERS = 4 };
    start(WORKERS, SPIN_NS);
    for (unsigned i = 0; i < 100; i++) {
        jobs[i] = (struct job){.body = run_again};
        give(pool, &jobs[i]);
    }
    await(&runs, 100);
    await_rest(WORKERS);
    uint64_t before = fake_waits(&world), until = fake_now(NULL) + 10 * (uint64_t)TR_GUARD_NS;
    while (fake_now(NULL) < until)
        sched_yield();
    cr_assert_eq(fake_waits(&world), before);
    cr_assert_eq(tr_idle_guards(tr_idle_read(&pool->idle)), 0);
    cr_assert_leq(before, 100 * 2 + WORKERS * (TR_GUARD_ROUNDS + 3), "it came to rest in bounded turns");
    finish();
}

Test(pool, a_pool_at_rest_wakes_for_a_foreign_thread, .timeout = 120)
{
    enum { WORKERS = 3 };
    start(WORKERS, 0);
    for (unsigned i = 0; i < 50; i++) {
        await_asleep(WORKERS);
        jobs[0] = (struct job){.body = run_again};
        give(pool, &jobs[0]);
        await(&runs, i + 1);
    }
    await_rest(WORKERS);
    jobs[0] = (struct job){.body = run_again};
    give(pool, &jobs[0]);
    await(&runs, 51);
    cr_assert_eq(runs, 51);
    finish();
}

static uint64_t stranded_ns;
static unsigned stranded_ran;

static void note_that_it_ran(struct job *job, struct tr_worker *worker)
{
    (void)job, (void)worker;
    ck_pr_fence_release();
    ck_pr_store_uint(&stranded_ran, 1);
}

/* Leaves the next job behind itself, in the LIFO slot or the run queue, and does not return until that has run. */
static void strand(struct job *job, struct tr_worker *worker)
{
    uint64_t began = fake_now(NULL);
    if (job->again)
        requeue(worker, &job[1]);
    else
        give(tr_worker_pool(worker), &job[1]);
    await(&stranded_ran, 1);
    stranded_ns = fake_now(NULL) - began;
    ck_pr_inc_uint(&runs);
}

/* Both: from a pool at rest (a guard must be called first) and from one in use (a guard sleeps already). */
static void rescue(bool by_run_queue, bool at_rest)
{
    enum { WORKERS = 3, TRIES = 100 };
    stranded_ns = BOUND_NS;
    for (unsigned try = 0; stranded_ns >= BOUND_NS && try < TRIES; try++) {
        runs = stranded_ran = 0;
        jobs[0] = (struct job){.body = strand, .again = by_run_queue, .queued = 1};
        jobs[1] = (struct job){.body = note_that_it_ran};
        start(WORKERS, SPIN_NS);
        if (at_rest)
            await_rest(WORKERS);
        else
            await_asleep(WORKERS);
        fake_complete(&world.loops[1], &jobs[0].runnable);
        await(&runs, 1);
        printf("rescued after %lu us\n", stranded_ns / 1000);
        finish();
    }
    cr_assert_lt(stranded_ns, BOUND_NS);
}

Test(pool, rescues_the_lifo_slot_behind_a_long_activation, .timeout = 120)
{
    rescue(false, false);
}

Test(pool, rescues_the_run_queue_behind_a_long_activation, .timeout = 120)
{
    rescue(true, false);
}

Test(pool, rescues_the_lifo_slot_when_the_pool_was_at_rest, .timeout = 120)
{
    rescue(false, true);
}

Test(pool, rescues_the_run_queue_when_the_pool_was_at_rest, .timeout = 120)
{
    rescue(true, true);
}

static void wait_for_the_other(struct job *job, struct tr_worker *worker)
{
    (void)job, (void)worker;
    await(&stranded_ran, 1);
    ck_pr_inc_uint(&runs);
}

/* Leaves two jobs behind itself, of which the first blocks too: whoever comes to help gets stuck in it. */
static void strand_two(struct job *job, struct tr_worker *worker)
{
    uint64_t began = fake_now(NULL);
    requeue(worker, &job[1]);
    requeue(worker, &job[2]);
    await(&stranded_ran, 1);
    stranded_ns = fake_now(NULL) - began;
    ck_pr_inc_uint(&runs);
}

Test(pool, rescues_what_waits_behind_a_long_activation_when_the_first_helper_gets_stuck_too, .timeout = 120)
{
    enum { WORKERS = 4, ROUNDS = 20 };
    uint64_t least_ns = UINT64_MAX;
    for (unsigned round = 0; round < ROUNDS; round++) {
        runs = stranded_ran = 0;
        jobs[0] = (struct job){.body = strand_two, .queued = 1};
        jobs[1] = (struct job){.body = wait_for_the_other};
        jobs[2] = (struct job){.body = note_that_it_ran};
        start(WORKERS, SPIN_NS);
        await_rest(WORKERS);
        fake_complete(&world.loops[0], &jobs[0].runnable);
        await(&runs, 2);
        least_ns = stranded_ns < least_ns ? stranded_ns : least_ns;
        finish();
    }
    cr_assert_lt(least_ns, BOUND_NS);
}

/* In worker 0, between its look at the common queue and its find of a completion: a foreign push arrives, which wakes
 * nobody because worker 0 searches. */
static void push_and_complete(struct fake_loop *loop)
{
    tr_inject_push(&pool->inject, &jobs[1].runnable);
    ck_stack_push_upmc(&loop->completions, &jobs[0].runnable.link);
}

Test(pool, the_last_searcher_sees_what_its_search_kept_from_waking_others, .timeout = 120)
{
    jobs[0] = (struct job){.body = wait_for_the_other, .queued = 1};
    jobs[1] = (struct job){.body = note_that_it_ran, .queued = 1};
    start(2, 0);
    await_rest(2);
    world.loops[0].on_pending = push_and_complete;
    fake_signal(&world.loops[0]);
    await(&runs, 1);
    cr_assert_eq(stranded_ran, 1);
    finish();
}

Test(pool, short_batches_wake_nobody, .timeout = 120)
{
    enum { WORKERS = 2, BATCHES = 400, BATCH = 8 };
    start(WORKERS, 0);
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        await_asleep(WORKERS);
        for (unsigned i = 0; i < BATCH; i++) {
            jobs[i] = (struct job){.body = run_again, .queued = 1};
            ck_stack_push_upmc(&world.loops[0].completions, &jobs[i].runnable.link);
        }
        fake_signal(&world.loops[0]);
        await(&runs, (batch + 1) * BATCH);
    }
    uint64_t wakes = sum_of_wakes(WORKERS);
    printf("%lu wakes for %d batches\n", wakes, BATCHES);
    cr_assert_lt(wakes, BATCHES / 2);
    finish();
}

static unsigned ran_on[TR_WORKERS_MAX];

/* The batch takes a worker that is alone 64 ms of the processor: enough for the other to come, however little of it
 * the two are given. */
static uint64_t thread_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_a_millisecond(struct job *job, struct tr_worker *worker)
{
    uint64_t until = thread_time() + 1000000;
    (void)job;
    ran_on[tr_worker_index(worker)] = 1; /* its own element */
    while (thread_time() < until)
        ck_pr_stall();
    ck_pr_inc_uint(&runs);
}

Test(pool, a_batch_of_long_activations_is_shared, .timeout = 120)
{
    enum { WORKERS = 2, BATCH = 64 };
    for (unsigned i = 0; i < BATCH; i++)
        jobs[i] = (struct job){.body = take_a_millisecond, .queued = 1};
    start(WORKERS, SPIN_NS);
    for (unsigned i = 0; i < BATCH; i++)
        fake_complete(&world.loops[0], &jobs[i].runnable);
    await(&runs, BATCH);
    cr_assert(ran_on[0] && ran_on[1]);
    finish();
}

/* --- many workers, few CPUs --------------------------------------------------------------------------------------- */

static struct tr_pool *create_crowd(void)
{
    struct tr_pool_options options = {
        .workers = TR_WORKERS_MAX, .cpus = 2, .spin_ns = SPIN_NS, .name = "test", .run = run_job};
    struct tr_pool *created;
    fake_world_init(&world, SEED);
    struct tr_hooks hooks = fake_hooks(&world);
    cr_assert_eq(tr_pool_create(&created, &options, &hooks), 0);
    return created;
}

Test(pool, runs_each_once_with_64_workers, .timeout = 120)
{
    exactly_once(TR_WORKERS_MAX, SPIN_NS);
}

Test(pool, no_more_search_than_the_cpus_bear)
{
    pool = create_crowd();
    cr_assert_eq(pool->idle.searchers_max, 1);
    tr_pool_destroy(pool);
    pool = create(&world, 5, 0);
    cr_assert_eq(pool->idle.searchers_max, 3, "without knowledge of the CPUs: half of the workers, rounded up");
    tr_pool_destroy(pool);
}

static unsigned spin_ends;

static void run_until_told(struct job *job, struct tr_worker *worker)
{
    if (ck_pr_load_uint(&spin_ends))
        ck_pr_inc_uint(&runs);
    else
        give(tr_worker_pool(worker), job);
}

/* Workers that are at rest stay there while others work: only the two guards have turns, one each TR_GUARD_NS. */
Test(pool, of_64_workers_those_without_work_sleep_on, .timeout = 120)
{
    pool = create_crowd();
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    await_rest(TR_WORKERS_MAX);
    uint64_t before = fake_waits(&world), began = fake_now(NULL), until = began + 50 * (uint64_t)TR_GUARD_NS;
    jobs[0] = (struct job){.body = run_until_told};
    give(pool, &jobs[0]);
    while (fake_now(NULL) < until)
        sched_yield();
    ck_pr_store_uint(&spin_ends, 1);
    await(&runs, 1);
    uint64_t waits = fake_waits(&world) - before, turns = (fake_now(NULL) - began) / TR_GUARD_NS + 1;
    printf("%lu waits in the time of %lu guard turns\n", waits, turns);
    cr_assert_leq(waits, TR_GUARDS_MAX * turns + 20);
    finish();
}

Test(pool, an_idle_pool_of_64_makes_no_wake_ups, .timeout = 120)
{
    pool = create_crowd();
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){.body = run_again, .again = 1};
        give(pool, &jobs[i]);
    }
    await(&runs, 2 * JOBS);
    await_rest(TR_WORKERS_MAX);
    uint64_t before = fake_waits(&world), until = fake_now(NULL) + 10 * (uint64_t)TR_GUARD_NS;
    while (fake_now(NULL) < until)
        sched_yield();
    cr_assert_eq(fake_waits(&world), before);
    cr_assert_eq(tr_idle_guards(tr_idle_read(&pool->idle)), 0);
    cr_assert_eq(tr_idle_searching(tr_idle_read(&pool->idle)), 0);
    finish();
}

Test(pool, of_64_workers_stops_at_any_moment, .timeout = 120)
{
    for (unsigned i = 0; i < 20; i++) {
        pool = create_crowd();
        cr_assert_eq(tr_pool_start(pool, NULL), 0);
        for (unsigned spin = 0; spin < i * 1000; spin++)
            ck_pr_stall();
        finish();
    }
}

/* --- start and stop ----------------------------------------------------------------------------------------------- */

Test(pool, refuses_bad_options)
{
    struct tr_pool *none;
    struct tr_hooks hooks = fake_hooks(&world), no_hooks = {0};
    struct tr_pool_options options = {.workers = 0, .run = run_job};
    cr_assert_eq(tr_pool_create(&none, &options, &hooks), -EINVAL);
    options.workers = TR_WORKERS_MAX + 1;
    cr_assert_eq(tr_pool_create(&none, &options, &hooks), -EINVAL);
    options.workers = TR_WORKERS_MAX;
    options.spares = 1;
    cr_assert_eq(tr_pool_create(&none, &options, &hooks), -EINVAL);
    options.spares = 0;
    options.workers = 1;
    cr_assert_eq(tr_pool_create(&none, &options, &no_hooks), -EINVAL);
    options.run = NULL;
    cr_assert_eq(tr_pool_create(&none, &options, &hooks), -EINVAL);
}

Test(pool, may_be_destroyed_unstarted)
{
    pool = create(&world, 4, 0);
    tr_pool_join(pool);
    tr_pool_destroy(pool);
    cr_assert_eq(world.attached, 0);
}

Test(pool, a_failed_attach_is_reported_and_all_others_detach, .timeout = 120)
{
    enum { WORKERS = 5 };
    unsigned failed = 99;
    for (unsigned at = 0; at < WORKERS; at++) {
        pool = create(&world, WORKERS, 0);
        world.fails_at = at;
        world.fails_with = -ENOMEM;
        cr_assert_eq(tr_pool_start(pool, &failed), -ENOMEM);
        cr_assert_eq(failed, at);
        cr_assert_eq(world.attached, WORKERS - 1);
        cr_assert_eq(world.detached, WORKERS - 1);
        tr_pool_destroy(pool);
    }
}

Test(pool, may_start_again_after_a_failed_attach, .timeout = 120)
{
    pool = create(&world, 3, 0);
    world.fails_at = 1;
    world.fails_with = -EMFILE;
    cr_assert_eq(tr_pool_start(pool, NULL), -EMFILE);
    world.fails_with = 0;
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    jobs[0] = (struct job){.body = run_again};
    give(pool, &jobs[0]);
    await(&runs, 1);
    finish();
}

Test(pool, stops_while_all_sleep, .timeout = 120)
{
    start(8, 0);
    await_rest(8);
    finish();
    cr_assert_eq(world.detached, 8);
}

Test(pool, stops_at_any_moment, .timeout = 120)
{
    for (unsigned i = 0; i < 300; i++) {
        start(1 + i % 6, i % 2 ? SPIN_NS : 0);
        for (unsigned spin = 0; spin < i * 20; spin++)
            ck_pr_stall();
        finish();
    }
    cr_assert_eq(faults, 0);
}

static void stop_from_inside(struct job *job, struct tr_worker *worker)
{
    (void)job;
    tr_pool_stop(tr_worker_pool(worker));
    tr_pool_stop(tr_worker_pool(worker));
}

Test(pool, stops_from_a_worker_and_twice, .timeout = 120)
{
    start(4, 0);
    await_asleep(4);
    jobs[0] = (struct job){.body = stop_from_inside};
    give(pool, &jobs[0]);
    tr_pool_join(pool);
    cr_assert_eq(world.detached, 4);
    finish();
}

static unsigned floods_end;

static void *flood_from_outside(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < JOBS; i++)
        give(pool, &jobs[i]);
    ck_pr_fence_release();
    ck_pr_store_uint(&floods_end, 1);
    return NULL;
}

Test(pool, stops_while_foreign_threads_schedule, .timeout = 120)
{
    pthread_t foreigner;
    for (unsigned round = 0; round < 30; round++) {
        floods_end = 0;
        for (unsigned i = 0; i < JOBS; i++)
            jobs[i] = (struct job){.body = run_again};
        start(4, 0);
        pthread_create(&foreigner, NULL, flood_from_outside, NULL);
        for (unsigned spin = 0; spin < round * 100; spin++)
            ck_pr_stall();
        tr_pool_stop(pool);
        tr_pool_join(pool);
        cr_assert_eq(world.detached, 4, "nobody is woken after it detached: the fake loop asserts that");
        pthread_join(foreigner, NULL);
        tr_pool_destroy(pool);
    }
}

/* The waker has claimed the sleeper and stands before the gate; a completion wakes the worker, which runs the pushed
 * job, and that stops the pool. */
Test(pool, a_worker_outlives_the_wake_that_it_is_owed, .timeout = 120)
{
    pthread_t waker;
    unsigned gate = 0;
    jobs[0] = (struct job){.body = stop_from_inside};
    start(1, 0);
    await_rest(1);
    world.loops[0].wake_gate = &gate;
    pthread_create(&waker, NULL, give_one, &jobs[0]);
    while (tr_idle_searching(tr_idle_read(&pool->idle)) == 0)
        sched_yield();
    fake_signal(&world.loops[0]);
    await(&pool->stop, 1);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    cr_assert_eq(ck_pr_load_uint(&world.detached), 0);
    ck_pr_store_uint(&gate, 1);
    pthread_join(waker, NULL);
    finish();
    cr_assert_eq(world.detached, 1);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static char thread_name[16];
static sigset_t thread_mask;

static void look_at_the_thread(struct job *job, struct tr_worker *worker)
{
    (void)job, (void)worker;
    pthread_getname_np(pthread_self(), thread_name, sizeof thread_name);
    pthread_sigmask(SIG_BLOCK, NULL, &thread_mask);
    ck_pr_fence_release();
    ck_pr_inc_uint(&runs);
}

Test(pool, threads_are_named_and_take_no_signals_but_faults, .timeout = 120)
{
    sigset_t mine;
    jobs[0] = (struct job){.body = look_at_the_thread};
    start(1, 0);
    give(pool, &jobs[0]);
    await(&runs, 1);
    cr_assert_str_eq(thread_name, "test/w0");
    cr_assert(sigismember(&thread_mask, SIGTERM) && sigismember(&thread_mask, SIGINT));
    cr_assert(sigismember(&thread_mask, SIGUSR1) && sigismember(&thread_mask, SIGCHLD));
    cr_assert_not(sigismember(&thread_mask, SIGSEGV) || sigismember(&thread_mask, SIGFPE));
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    cr_assert_not(sigismember(&mine, SIGTERM), "the starter's own mask is as before");
    finish();
}

static cpu_set_t cpus_of[TR_WORKERS_MAX];

static void look_at_the_cpus(struct job *job, struct tr_worker *worker)
{
    (void)job;
    sched_getaffinity(0, sizeof(cpu_set_t), &cpus_of[tr_worker_index(worker)]);
    ck_pr_fence_release();
    ck_pr_inc_uint(&runs);
}

/* Each of 3 workers looks at its own CPUs. */
static void look_with(bool pin)
{
    enum { WORKERS = 3 };
    struct tr_pool_options options = {.workers = WORKERS, .pin = pin, .name = "test", .run = run_job};
    fake_world_init(&world, SEED);
    struct tr_hooks hooks = fake_hooks(&world);
    for (unsigned i = 0; i < WORKERS; i++)
        jobs[i] = (struct job){.body = look_at_the_cpus, .queued = 1};
    cr_assert_eq(tr_pool_create(&pool, &options, &hooks), 0);
    cr_assert_eq(tr_pool_start(pool, NULL), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        await_asleep(WORKERS); /* the completion is worked off where it arrives */
        fake_complete(&world.loops[i], &jobs[i].runnable);
        await(&runs, i + 1);
    }
    finish();
}

Test(pool, pinned_workers_have_a_cpu_each_round_and_round, .timeout = 120)
{
    cpu_set_t mine, one, after;
    cr_assert_eq(tr_cpus_allowed(&mine), 0);
    look_with(true);
    for (unsigned i = 0; i < 3; i++) {
        one = tr_cpus_nth(&mine, i);
        cr_assert_eq(CPU_COUNT(&cpus_of[i]), 1);
        cr_assert(CPU_EQUAL(&cpus_of[i], &one));
    }
    cr_assert_eq(tr_cpus_allowed(&after), 0);
    cr_assert(CPU_EQUAL(&mine, &after), "the starter's own set is as before");
}

Test(pool, workers_that_are_not_pinned_may_use_all_cpus, .timeout = 120)
{
    cpu_set_t mine;
    cr_assert_eq(tr_cpus_allowed(&mine), 0);
    look_with(false);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(CPU_EQUAL(&cpus_of[i], &mine));
}

Test(pool, a_foreign_thread_is_no_worker, .timeout = 120)
{
    start(2, 0);
    cr_assert_null(tr_worker_self());
    cr_assert_eq(tr_pool_workers(pool), 2);
    for (unsigned i = 0; i < 2; i++) {
        struct tr_worker *worker = tr_pool_worker(pool, i);
        cr_assert_eq(tr_worker_index(worker), i);
        cr_assert_eq(tr_worker_pool(worker), pool);
        cr_assert_eq(tr_worker_io(worker), &world.loops[i]);
        tr_worker_set_user(worker, &jobs[i]);
        cr_assert_eq(tr_worker_user(worker), &jobs[i]);
    }
    finish();
}

static struct fake_world other_world;
static struct tr_pool *other_pool;

/* Goes to the other pool and back, `again` times. */
static void commute(struct job *job, struct tr_worker *worker)
{
    if (job->again-- > 0)
        give(tr_worker_pool(worker) == pool ? other_pool : pool, job);
    else
        ck_pr_inc_uint(&runs);
}

Test(pool, two_pools_live_side_by_side, .timeout = 120)
{
    enum { COMMUTERS = 20, TRIPS = 500 };
    start(2, 0);
    other_pool = create(&other_world, 3, SPIN_NS);
    cr_assert_eq(tr_pool_start(other_pool, NULL), 0);
    for (unsigned i = 0; i < COMMUTERS; i++) {
        jobs[i] = (struct job){.body = commute, .again = TRIPS};
        give(i % 2 ? pool : other_pool, &jobs[i]);
    }
    await(&runs, COMMUTERS);
    tr_pool_stop(other_pool);
    tr_pool_join(other_pool);
    cr_assert_eq(other_world.detached, 3);
    cr_assert_eq(world.detached, 0, "the other pool's stop is not ours");
    finish();
    tr_pool_destroy(other_pool); /* last: our workers may have been in the tail of a schedule on it */
}
