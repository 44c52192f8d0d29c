/* SPDX-License-Identifier: Apache-2.0 */
/* Offloaded jobs: results, order, limits, time-outs, tokens, crashes and stops, threads that come and go. */
#include <sched.h>

#include "runtime/memory.h"
#include "tests/support/sanitizer.h"
#include "world.h"

#define ANSWER_TO(name)                                                                                                \
    static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_offload_result *result)
#define JOB(name) static int name(UNUSED troupe_job *job, UNUSED void *work)

/* Words of the world. */
enum { BEGAN, GATE, RAN, DONE, DROPPED, DROPPED_UNRUN, TOLD, PEAK, NOW, STEP, DROP_RESULT, DROPPED_THERE };
enum { CALL, TOLD_BY_JOB };

static void await_word(unsigned i, uint64_t at_least)
{
    while (word(i) < at_least)
        sched_yield();
}

/* --- an actor that does what each test says ----------------------------------------------------------------------- */

typedef void step_fn(troupe_ctx *ctx);

static step_fn *script; /* what the first incarnation begins with */
static step_fn *restarted_script;

HANDLER(call)
{
    step_fn *step;
    memcpy(&step, troupe_payload(msg), sizeof step);
    step(ctx);
}

static void call_later(troupe_ctx *ctx, step_fn *step)
{
    troupe_tell(ctx, troupe_self(ctx), CALL, &step, sizeof step);
}

HANDLER(told_by_job)
{
    say("told %d", *(const int *)troupe_payload(msg));
    troupe_stop_runtime(ctx, 0);
}

STARTED(begin)
{
    if (troupe_incarnation(ctx) == 1)
        script(ctx);
    else if (restarted_script)
        restarted_script(ctx);
    return 0;
}

static const troupe_behavior actor = {
    .name = "actor",
    .started = begin,
    .stopped = keep_stats,
    .handlers = {[CALL] = ON(call, sizeof(step_fn *)), [TOLD_BY_JOB] = ON(told_by_job, sizeof(int))}};

static int play(step_fn *steps, troupe_options options)
{
    script = steps;
    return troupe_run(&actor, NULL, &options);
}

static troupe_options with(unsigned threads, unsigned queue)
{
    troupe_options options = world_options();
    options.offload_threads = threads;
    options.offload_queue = queue;
    return options;
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static void drop(void *work, size_t size, bool ran, int result)
{
    char name[16] = "";
    (void)work, (void)size;
    pthread_getname_np(pthread_self(), name, sizeof name);
    if (strncmp(name, "troupe/b", 8) == 0)
        bump(DROPPED_THERE);
    bump(ran ? DROPPED : DROPPED_UNRUN);
    ck_pr_store_64(&world.word[DROP_RESULT], (uint64_t)result);
}

/* Runs until the gate opens, whatever it is told. */
JOB(behind_gate)
{
    bump(BEGAN);
    await_word(GATE, 1);
    bump(RAN);
    return 7;
}

JOB(until_cancelled)
{
    bump(BEGAN);
    if (troupe_job_wait(job, TROUPE_SEC(100)) && troupe_job_cancelled(job))
        bump(TOLD);
    bump(RAN);
    return 8;
}

JOB(at_once)
{
    bump(RAN);
    return 9;
}

ANSWER_TO(say_status)
{
    say("%s%d", (const char *)result->arg, result->status);
    bump(DONE);
}

static int offload(troupe_ctx *ctx, troupe_job_fn *fn, uint64_t timeout_ns, const char *name)
{
    troupe_offload_options options = {.name = name, .timeout_ns = timeout_ns, .drop = drop};
    return troupe_offload(ctx, fn, &options, sizeof options, &options, say_status, (void *)(uintptr_t)name);
}

/* --- results ------------------------------------------------------------------------------------------------------ */

struct sum {
    int a, b, sum;
    char thread[16];
};

JOB(add)
{
    struct sum *sum = work;
    sum->sum = sum->a + sum->b;
    pthread_getname_np(pthread_self(), sum->thread, sizeof sum->thread);
    return 42;
}

ANSWER_TO(check_sum)
{
    const struct sum *sum = result->work;
    cr_assert_eq((uintptr_t)sum % 16, 0);
    cr_assert(result->status == 0 && result->size == sizeof *sum && result->arg == &world);
    say("%d %d %s", result->result, sum->sum, sum->thread);
    troupe_unhold(ctx);
    troupe_stop_runtime(ctx, 0);
}

static void add_two(troupe_ctx *ctx)
{
    struct sum sum = {.a = 2, .b = 3};
    troupe_offload_options options = {.drop = drop};
    troupe_hold(ctx); /* results come all the same */
    cr_assert_eq(troupe_offload(ctx, add, &sum, sizeof sum, &options, check_sum, &world), 0);
    sum.a = 100;
}

Test(offload, a_result_comes_back_with_the_copy_that_the_job_worked_on)
{
    world_begin(2);
    cr_assert_eq(play(add_two, world_options()), 0);
    cr_assert_str_eq(world.trace, "42 5 troupe/b0");
    cr_assert_eq(word(DROPPED) + word(DROPPED_UNRUN), 0, "it is done's");
    cr_assert_eq(world.stats.jobs, 1);
}

ANSWER_TO(check_pointer)
{
    say("%s", result->work == &world.word[5] && result->size == 0 && word(5) == 77 ? "same" : "other");
    troupe_stop_runtime(ctx, 0);
}

JOB(write_77)
{
    ck_pr_store_64((uint64_t *)work, 77);
    return 0;
}

static void lend_a_pointer(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_offload(ctx, write_77, &world.word[5], 0, NULL, check_pointer, NULL), 0);
}

Test(offload, without_a_size_the_pointer_itself_is_passed)
{
    world_begin(1);
    cr_assert_eq(play(lend_a_pointer, world_options()), 0);
    cr_assert_str_eq(world.trace, "same");
}

static troupe_addr me;

JOB(tell_from_job)
{
    cr_assert(!troupe_job_wait(job, 0), "nobody has cancelled it");
    troupe_runtime_tell(troupe_job_runtime(job), me, TOLD_BY_JOB, &(int){5}, sizeof(int));
    return 0;
}

ANSWER_TO(nothing) {}

static void have_a_job_tell(troupe_ctx *ctx)
{
    me = troupe_self(ctx);
    cr_assert_eq(troupe_offload(ctx, tell_from_job, NULL, 0, NULL, nothing, NULL), 0);
}

Test(offload, a_job_tells_by_the_verbs_for_threads_outside)
{
    world_begin(1);
    cr_assert_eq(play(have_a_job_tell, world_options()), 0);
    cr_assert_str_eq(world.trace, "told 5");
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

enum { MANY = 12 };

static uint64_t last_begun;

JOB(in_order)
{
    uint64_t number = *(const uint64_t *)work, now = bump(NOW);
    pthread_mutex_lock(&world.lock);
    if (now > word(PEAK))
        ck_pr_store_64(&world.word[PEAK], now);
    pthread_mutex_unlock(&world.lock);
    if (word(STEP) == 1 && number < ck_pr_load_64(&last_begun))
        say("%u began late", (unsigned)number);
    ck_pr_store_64(&last_begun, number);
    if (number < 2)
        while (word(PEAK) < 2) /* two at a time can be had */
            sched_yield();
    ck_pr_faa_64(&world.word[NOW], UINT64_MAX);
    return 0;
}

ANSWER_TO(count_to_many)
{
    if (bump(DONE) == MANY)
        troupe_stop_runtime(ctx, 0);
}

static void offload_many(troupe_ctx *ctx)
{
    for (uint64_t i = 0; i < MANY; i++)
        cr_assert_eq(troupe_offload(ctx, in_order, &i, sizeof i, NULL, count_to_many, NULL), 0);
}

static void offload_one_at_a_time(troupe_ctx *ctx)
{
    ck_pr_store_64(&world.word[STEP], 1);
    for (uint64_t i = 2; i < 2 + MANY; i++)
        cr_assert_eq(troupe_offload(ctx, in_order, &i, sizeof i, NULL, count_to_many, NULL), 0);
}

Test(offload, no_more_jobs_run_at_once_than_there_may_be_threads)
{
    world_begin(1);
    last_begun = 0;
    cr_assert_eq(play(offload_many, with(2, MANY)), 0);
    cr_assert_eq(word(PEAK), 2);
    cr_assert_eq(word(DONE), MANY);
    cr_assert_eq(world.stats.job_threads, 2);
}

Test(offload, jobs_begin_in_the_order_offloaded)
{
    world_begin(1);
    last_begun = 0;
    cr_assert_eq(play(offload_one_at_a_time, with(1, MANY)), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(PEAK), 1);
}

static void fill_the_queue(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, behind_gate, 0, "a"), 0);
    await_word(BEGAN, 1);
    cr_assert_eq(offload(ctx, at_once, 0, "b"), 0);
    cr_assert_eq(offload(ctx, at_once, 0, "c"), 0);
    cr_assert_eq(offload(ctx, at_once, 0, "d"), -EAGAIN);
    troupe_stats stats = stats_now(ctx);
    cr_assert(stats.jobs == 3 && stats.jobs_refused == 1 && stats.jobs_queued == 2 && stats.jobs_running == 1);
    cr_assert_eq(stats.job_threads, 1);
    bump(GATE);
    ck_pr_store_64(&world.word[STEP], 3);
}

static void stop_when_done(troupe_ctx *ctx)
{
    if (word(STEP) > 0 && word(DONE) >= word(STEP))
        troupe_stop_runtime(ctx, 0);
    else
        call_later(ctx, stop_when_done);
}

static void fill_and_stop(troupe_ctx *ctx)
{
    fill_the_queue(ctx);
    call_later(ctx, stop_when_done);
}

Test(offload, a_full_queue_refuses_and_touches_nothing)
{
    world_begin(1);
    cr_assert_eq(play(fill_and_stop, with(1, 2)), 0);
    cr_assert_str_eq(world.trace, "a0 b0 c0");
    cr_assert_eq(word(RAN), 3);
    cr_assert_eq(word(DROPPED) + word(DROPPED_UNRUN), 0, "what was refused is the caller's");
}

static void without_memory(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_send_after(ctx, TROUPE_FOREVER, troupe_self(ctx), CALL, NULL, 0, NULL), 0); /* owner's memory */
    tr_memory_fail_after(0);
    cr_assert_eq(offload(ctx, at_once, 0, "x"), -ENOMEM);
    cr_assert(tr_memory_failed());
    tr_memory_fail_after(TR_MEMORY_NEVER);
    cr_assert_eq(troupe_offload(ctx, at_once, NULL, SIZE_MAX, NULL, say_status, NULL), -ENOMEM);
    troupe_stop_runtime(ctx, 0);
}

Test(offload, without_memory_nothing_begins)
{
    world_begin(1);
    cr_assert_eq(play(without_memory, world_options()), 0);
    cr_assert_eq(word(RAN) + word(DROPPED) + word(DROPPED_UNRUN), 0);
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static troupe_token token;

static void cancel_it(troupe_ctx *ctx)
{
    await_word(BEGAN, 1);
    cr_assert(troupe_token_cancel(token));
    ck_pr_store_64(&world.word[STEP], 2);
    call_later(ctx, stop_when_done);
}

static void begin_under_a_token(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &token), 0);
    troupe_under(ctx, token);
    cr_assert_eq(offload(ctx, until_cancelled, 0, "a"), 0);
    cr_assert_eq(offload(ctx, at_once, 0, "b"), 0);
    call_later(ctx, cancel_it);
}

Test(offload, a_cancelled_token_ends_what_runs_and_what_waits)
{
    world_begin(2);
    cr_assert_eq(play(begin_under_a_token, with(1, 10)), 0);
    cr_assert(!strcmp(world.trace, "a-125 b-125") || !strcmp(world.trace, "b-125 a-125"), "%s", world.trace);
    cr_assert_eq(word(TOLD), 1);
    cr_assert_eq(word(RAN), 1, "b never ran");
    cr_assert(word(DROPPED) == 1 && word(DROPPED_UNRUN) == 1);
}

/* From the cancel on, though the worker has not heard of it yet. */
static void land_and_cancel(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &token), 0);
    troupe_under(ctx, token);
    cr_assert_eq(offload(ctx, at_once, 0, "a"), 0);
    while (stats_now(ctx).jobs_running > 0 || word(RAN) == 0)
        sched_yield(); /* its result is in the lane */
    cr_assert(troupe_token_cancel(token));
    cr_assert_eq(offload(ctx, at_once, 0, "b"), -ECANCELED, "a cancelled token lets nothing begin");
    ck_pr_store_64(&world.word[STEP], 1);
    call_later(ctx, stop_when_done);
}

Test(offload, what_was_cancelled_is_told_so_though_its_result_was_there)
{
    world_begin(1);
    cr_assert_eq(play(land_and_cancel, world_options()), 0);
    cr_assert_str_eq(world.trace, "a-125");
    cr_assert(word(DROPPED) == 1 && word(DROP_RESULT) == 9 && word(RAN) == 1);
}

/* While the actor is busy and so has not heard of it: the thread looks for itself. */
static void be_busy_meanwhile(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &token), 0);
    cr_assert_eq(offload(ctx, behind_gate, 0, "a"), 0);
    await_word(BEGAN, 1);
    cr_assert_eq(offload(ctx, at_once, TROUPE_US(1), "b"), 0);
    troupe_under(ctx, token);
    cr_assert_eq(offload(ctx, at_once, 0, "c"), 0);
    cr_assert(troupe_token_cancel(token));
    bump(GATE);
    while (stats_now(ctx).jobs_running + stats_now(ctx).jobs_queued > 0)
        sched_yield();
    cr_assert_eq(word(RAN), 1, "neither b nor c");
    ck_pr_store_64(&world.word[STEP], 3);
    call_later(ctx, stop_when_done);
}

Test(offload, what_is_late_or_cancelled_does_not_begin_though_its_actor_is_busy)
{
    world_begin(1);
    cr_assert_eq(play(be_busy_meanwhile, with(1, 10)), 0);
    cr_assert(strstr(world.trace, "a0") && strstr(world.trace, "b-110") && strstr(world.trace, "c-125"), "%s",
              world.trace);
    cr_assert_eq(word(DROPPED_UNRUN), 2);
}

/* --- time-outs ---------------------------------------------------------------------------------------------------- */

static void be_late(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, behind_gate, TROUPE_MS(500), "a"), 0); /* time enough to begin */
    await_word(BEGAN, 1);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(offload(ctx, at_once, TROUPE_MS(1), "a"), 0);
    cr_assert_eq(offload(ctx, at_once, TROUPE_SEC(50), "c"), 0); /* runs when the gate opens */
    cr_assert_eq(offload(ctx, at_once, TROUPE_FOREVER, "d"), 0);
}

static void open_when_four_were_late(troupe_ctx *ctx)
{
    if (word(DONE) == 4) {
        cr_assert_eq(word(RAN), 0, "done comes while the job still runs");
        bump(GATE);
        ck_pr_store_64(&world.word[STEP], 6);
        stop_when_done(ctx);
    } else {
        call_later(ctx, open_when_four_were_late);
    }
}

static void be_late_then_open(troupe_ctx *ctx)
{
    be_late(ctx);
    call_later(ctx, open_when_four_were_late);
}

Test(offload, a_late_job_is_told_and_its_result_dropped)
{
    world_begin(2);
    cr_assert_eq(play(be_late_then_open, with(1, 10)), 0);
    cr_assert_str_eq(world.trace, "a-110 a-110 a-110 a-110 c0 d0");
    cr_assert_eq(word(RAN), 3);
    cr_assert(word(DROPPED) == 1 && word(DROP_RESULT) == 7 && word(DROPPED_UNRUN) == 3);
    cr_assert_eq(word(DROPPED_THERE), 1, "not on a worker: the actor has no more to do with it");
}

/* --- ends of incarnations ----------------------------------------------------------------------------------------- */

static void crash_with_jobs(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, behind_gate, TROUPE_SEC(90), "runs"), 0);
    await_word(BEGAN, 1);
    cr_assert_eq(offload(ctx, at_once, 0, "waits"), 0);
    troupe_panic(ctx, "planned");
}

static void begin_anew(troupe_ctx *ctx)
{
    cr_assert_eq(word(RAN), 0, "nobody waited for the old incarnation's job");
    cr_assert_eq(word(DROPPED_UNRUN), 1);
    cr_assert_eq(offload(ctx, at_once, 0, "new"), 0);
    bump(GATE);
    ck_pr_store_64(&world.word[STEP], 1);
    call_later(ctx, stop_when_done);
}

Test(offload, a_crash_cancels_the_jobs_and_no_result_reaches_the_next_incarnation)
{
    world_begin(2);
    restarted_script = begin_anew;
    cr_assert_eq(play(crash_with_jobs, with(1, 10)), 0);
    cr_assert_str_eq(world.trace, "new0");
    cr_assert(word(DROPPED) == 1 && word(DROPPED_UNRUN) == 1 && word(DROP_RESULT) == 7);
}

static void crash_with_a_result_in_the_lane(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, at_once, 0, "old"), 0);
    while (stats_now(ctx).jobs_running > 0 || word(RAN) == 0)
        sched_yield();
    troupe_panic(ctx, "planned");
}

static void wait_for_the_drop(troupe_ctx *ctx)
{
    if (word(DROPPED) == 1)
        troupe_stop_runtime(ctx, 0);
    else
        call_later(ctx, wait_for_the_drop);
}

Test(offload, a_result_that_was_on_its_way_when_the_incarnation_crashed_is_dropped)
{
    world_begin(1);
    restarted_script = wait_for_the_drop;
    cr_assert_eq(play(crash_with_a_result_in_the_lane, world_options()), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(DROP_RESULT), 9);
}

ANSWER_TO(panic_over_result)
{
    troupe_panic(ctx, "planned");
}

static void panic_in_done(troupe_ctx *ctx)
{
    troupe_offload_options options = {.drop = drop};
    cr_assert_eq(troupe_offload(ctx, at_once, &options, sizeof options, &options, panic_over_result, NULL), 0);
}

static void stop_now(troupe_ctx *ctx)
{
    troupe_stop_runtime(ctx, 0);
}

Test(offload, a_panic_in_done_frees_the_copy_and_does_not_drop)
{
    world_begin(1);
    restarted_script = stop_now;
    cr_assert_eq(play(panic_in_done, world_options()), 0);
    cr_assert_eq(word(DROPPED) + word(DROPPED_UNRUN), 0);
    cr_assert_eq(world.stats.crashes, 1);
}

static void stop_self_with_jobs(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, until_cancelled, 0, "a"), 0);
    await_word(BEGAN, 1);
    troupe_stop_self(ctx);
    await_word(TOLD, 1); /* already now */
    cr_assert_eq(offload(ctx, at_once, 0, "b"), -ECANCELED);
}

static void stop_self_later(troupe_ctx *ctx)
{
    call_later(ctx, stop_self_with_jobs);
}

Test(offload, an_actor_that_stops_tells_its_jobs_and_begins_no_more)
{
    world_begin(1);
    cr_assert_eq(play(stop_self_later, world_options()), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert(word(DROPPED) == 1 && word(RAN) == 1);
}

/* --- the end of the runtime --------------------------------------------------------------------------------------- */

static char report[4096];

static void collect(void *arg, const troupe_log_record *record)
{
    (void)arg;
    size_t at = strlen(report);
    snprintf(report + at, sizeof report - at, "%s: %s\n", record->event, record->text);
}

/* Returns when no actor is left that a job could come back to. */
static void stop_all_actors(troupe_runtime *rt)
{
    troupe_runtime_request_stop(rt);
    for (troupe_stats stats = {.actors = 1}; stats.actors > 0; usleep(100))
        troupe_stats_read(rt, &stats);
}

static void one_behind_gate(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, behind_gate, 0, "slow"), 0);
    cr_assert_eq(offload(ctx, at_once, 0, "waits"), 0);
}

Test(offload, a_stop_names_the_jobs_that_run_and_waits_for_them)
{
    troupe_runtime *rt;
    world_begin(2);
    report[0] = '\0';
    script = one_behind_gate;
    troupe_options options = with(1, 10);
    options.log = collect;
    cr_assert_eq(troupe_runtime_start(&rt, &actor, NULL, &options, NULL), 0);
    await_word(BEGAN, 1);
    stop_all_actors(rt);
    await_word(DROPPED_UNRUN, 1);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_MS(20)), -ETIMEDOUT);
    cr_assert(strstr(report, "survivor: job \"slow\" of actor#"), "%s", report);
    cr_assert(strstr(report, "runs on thread b0 for "), "%s", report);
    cr_assert(strstr(report, "though it was cancelled"), "%s", report);
    cr_assert(!strstr(report, "child") && !strstr(report, "running"), "no actor lives: %s", report);
    cr_assert_eq(word(DROPPED_UNRUN), 1, "what was queued is gone");
    bump(GATE);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    cr_assert_eq(word(DROPPED), 1);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

static void *join(void *rt)
{
    return troupe_runtime_join(rt) == 0 ? rt : NULL;
}

Test(offload, join_waits_for_jobs_that_run)
{
    troupe_runtime *rt;
    pthread_t thread;
    world_begin(2);
    script = one_behind_gate;
    troupe_options options = with(1, 10);
    cr_assert_eq(troupe_runtime_start(&rt, &actor, NULL, &options, NULL), 0);
    await_word(BEGAN, 1);
    stop_all_actors(rt);
    cr_assert_eq(pthread_create(&thread, NULL, join, rt), 0);
    cr_assert_eq(word(RAN), 0);
    bump(GATE);
    pthread_join(thread, NULL);
    cr_assert(word(RAN) == 1 && word(DROPPED) == 1);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static unsigned crew_threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(name, sizeof name, file))
            count += !strncmp(name, "troupe/b", 8);
        if (file)
            fclose(file);
    }
    closedir(dir);
    return count;
}

static void one_more(troupe_ctx *ctx)
{
    cr_assert_eq(offload(ctx, at_once, 0, "b"), 0);
    ck_pr_store_64(&world.word[STEP], 4);
    call_later(ctx, stop_when_done);
}

static void wait_until_they_have_left(troupe_ctx *ctx)
{
    troupe_stats stats = stats_now(ctx);
    if (word(DONE) == 3 && stats.job_threads == 0 && crew_threads() <= 1) /* one may be about to leave */
        one_more(ctx);
    else
        call_later(ctx, wait_until_they_have_left);
}

static void three_at_once(troupe_ctx *ctx)
{
    cr_assert(stats_now(ctx).job_threads == 0 && crew_threads() == 0, "none before the first job");
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(offload(ctx, behind_gate, 0, "a"), 0);
    await_word(BEGAN, 3);
    cr_assert(stats_now(ctx).job_threads == 3 && crew_threads() == 3);
    bump(GATE);
    call_later(ctx, wait_until_they_have_left);
}

Test(offload, threads_come_with_jobs_and_leave_when_idle)
{
    world_begin(1);
    troupe_options options = with(5, 10);
    options.offload_idle_ns = TROUPE_MS(20);
    cr_assert_eq(play(three_at_once, options), 0);
    cr_assert_str_eq(world.trace, "a0 a0 a0 b0");
    while (crew_threads() > 0) /* the kernel lists a thread for a moment after it was joined */
        usleep(100);
}

/* Under a light load the one that was busy last is called again, so the others grow old. Of three at least one: two may
 * take turns, where a job comes before the thread of the last one has lain down. */
static void light_load(troupe_ctx *ctx)
{
    if (word(DONE) >= 3 && stats_now(ctx).job_threads <= 2) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    if (word(DONE) >= 3 && stats_now(ctx).jobs_running + stats_now(ctx).jobs_queued == 0)
        cr_assert_eq(offload(ctx, at_once, 0, ""), 0);
    call_later(ctx, light_load);
}

static void three_then_light_load(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(offload(ctx, behind_gate, 0, "a"), 0);
    await_word(BEGAN, 3);
    bump(GATE);
    call_later(ctx, light_load);
}

Test(offload, under_a_light_load_the_superfluous_threads_leave)
{
    world_begin(1);
    troupe_options options = with(5, 10);
    options.offload_idle_ns = TROUPE_MS(200);
    cr_assert_eq(play(three_then_light_load, options), 0);
}
