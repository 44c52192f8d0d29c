/* SPDX-License-Identifier: Apache-2.0 */
/* A message from a thread outside to an actor whose worker sleeps, on an idle machine: from just before the send to the
 * handler. Beside it the floor: a thread that sleeps in a futex, from just before the store and the wake to its return.
 * Measured in turns, one of each, so that both meet the same machine. A pause before each lets everything fall
 * asleep. Who wakes has a CPU of its own, and all who sleep share the others: left alone, the kernel may put one sleeper
 * beside the waker and the other one opposite, and the figures would tell of that. With one CPU all are there. */
#include <ck_pr.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf/support/bench.h"

enum { KNOCK };

static const struct timespec nap = {.tv_nsec = 300000};

/* One sleeper of either sort. It writes a sample and then counts it; who wakes it reads the count and waits for it, so
 * only one of them runs. */
struct bed {
    uint32_t *samples; /* ns */
    unsigned woken;
} __attribute__((aligned(128)));

static void note(struct bed *bed, uint64_t sent_ns)
{
    bed->samples[bed->woken] = (uint32_t)(tr_bench_clock() - sent_ns);
    ck_pr_fence_store();
    ck_pr_store_uint(&bed->woken, bed->woken + 1);
}

/* False: it does not wake up. */
static bool wait_for(const struct bed *bed, unsigned count)
{
    for (unsigned naps = 0; ck_pr_load_uint(&bed->woken) < count; naps++) {
        if (naps == 10000)
            return false;
        nanosleep(&nap, NULL);
    }
    ck_pr_fence_load();
    return true;
}

/* --- the actor --- */

static int sleeper_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)ctx;
    *(struct bed **)self = *(struct bed *const *)args;
    return 0;
}

static void on_knock(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx;
    note(*(struct bed **)self, tr_bench_number(msg));
}

static const troupe_behavior sleeper = {
    .name = "sleeper",
    .state_size = sizeof(struct bed *),
    .args_size = sizeof(struct bed *),
    .started = sleeper_started,
    .handlers = {[KNOCK] = {.name = "knock", .fn = on_knock, .size = sizeof(uint64_t)}},
};

/* --- the thread --- */

struct thread {
    struct bed bed;
    uint64_t sent_ns;
    unsigned knocks, wanted;
};

static void *sleep_in_futex(void *arg)
{
    struct thread *thread = arg;
    for (unsigned seen = 0; seen < thread->wanted; seen++) {
        while (ck_pr_load_uint(&thread->knocks) == seen)
            syscall(SYS_futex, &thread->knocks, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        ck_pr_fence_load();
        note(&thread->bed, thread->sent_ns);
    }
    return NULL;
}

static void knock_thread(struct thread *thread)
{
    thread->sent_ns = tr_bench_clock();
    ck_pr_fence_store();
    ck_pr_store_uint(&thread->knocks, thread->knocks + 1);
    syscall(SYS_futex, &thread->knocks, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* --- in turns --- */

static bool take_turns(troupe_runtime *runtime, troupe_addr actor, struct bed *bed, struct thread *thread,
                       unsigned turns)
{
    for (unsigned i = 1; i <= turns; i++) {
        nanosleep(&nap, NULL);
        uint64_t sent_ns = tr_bench_clock();
        if (troupe_runtime_tell(runtime, actor, KNOCK, &sent_ns, sizeof sent_ns) != 0 || !wait_for(bed, i))
            return false;
        nanosleep(&nap, NULL);
        knock_thread(thread);
        if (!wait_for(&thread->bed, i))
            return false;
    }
    return true;
}

/* --- who is where --- */

struct places {
    cpu_set_t all, waker, sleepers;
};

static void stay_on(const cpu_set_t *cpus)
{
    pthread_setaffinity_np(pthread_self(), sizeof *cpus, cpus); /* if refused: less comparable, still a measurement */
}

static struct places find_places(void)
{
    struct places places;
    CPU_ZERO(&places.all);
    pthread_getaffinity_np(pthread_self(), sizeof places.all, &places.all);
    places.waker = places.sleepers = places.all;
    if (CPU_COUNT(&places.all) < 2)
        return places;
    CPU_ZERO(&places.waker);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&places.waker) == 0; cpu++)
        if (CPU_ISSET(cpu, &places.all))
            CPU_SET(cpu, &places.waker);
    CPU_XOR(&places.sleepers, &places.all, &places.waker);
    return places;
}

static void print(const struct tr_bench *bench, struct bed *bed, struct bed *floor)
{
    tr_bench_result(bench->name, tr_bench_quantile(bed->samples, bed->woken, 0.5) / 1e3, "us");
    tr_bench_result("wake_p99", tr_bench_quantile(bed->samples, bed->woken, 0.99) / 1e3, "us");
    tr_bench_result("wake_futex", tr_bench_quantile(floor->samples, floor->woken, 0.5) / 1e3, "us");
    tr_bench_result("wake_futex_p99", tr_bench_quantile(floor->samples, floor->woken, 0.99) / 1e3, "us");
}

static int measure(const struct tr_bench *bench, struct bed *bed, struct thread *thread)
{
    const troupe_options options = tr_bench_options(bench);
    troupe_runtime *runtime;
    troupe_addr actor;
    pthread_t id;
    const struct places places = find_places();
    stay_on(&places.sleepers); /* for the threads started now: they inherit it */
    int status = troupe_runtime_start(&runtime, &sleeper, &bed, &options, &actor);
    if (status != 0 || pthread_create(&id, NULL, sleep_in_futex, thread) != 0)
        return tr_bench_failed(bench, "cannot start: %s", troupe_strerror(status));
    stay_on(&places.waker);
    bool all = take_turns(runtime, actor, bed, thread, (unsigned)bench->size);
    troupe_stats stats;
    troupe_stats_read(runtime, &stats);
    if (!all)
        return tr_bench_failed(bench, "%u and %u were woken", bed->woken, thread->bed.woken);
    pthread_join(id, NULL);
    troupe_runtime_request_stop(runtime);
    if (troupe_runtime_join(runtime) != 0 || stats.messages_handled != bench->size)
        return tr_bench_failed(bench, "%llu messages handled", (unsigned long long)stats.messages_handled);
    /* Not for each: on a busy machine a message may come before the worker sleeps again. */
    if (stats.parks < bench->size / 2)
        return tr_bench_failed(bench, "workers slept %llu times only: too busy a machine",
                               (unsigned long long)stats.parks);
    print(bench, bed, &thread->bed);
    return 0;
}

static int run(const struct tr_bench *bench)
{
    struct bed bed = {.samples = calloc(bench->size, sizeof(uint32_t))};
    struct thread thread = {.bed = {.samples = calloc(bench->size, sizeof(uint32_t))}, .wanted = (unsigned)bench->size};
    if (!bed.samples || !thread.bed.samples)
        return tr_bench_failed(bench, "out of memory");
    int status = measure(bench, &bed, &thread);
    if (status == 0)
        free(bed.samples), free(thread.bed.samples);
    return status; /* else threads may still use them, and the process ends */
}

const struct tr_case tr_case_wake = {.name = "wake", .run = run, .behaviors = {&sleeper}};
