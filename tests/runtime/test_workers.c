/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the runtime that concern its workers: how many, on which CPUs, by which names, with how many spare. */
#include <sched.h>
#include <stdlib.h>

#include "sched/cpus.h"
#include "tests/runtime/world.h"

enum { GO, PASS };
enum { HOPS, READY };

static troupe_runtime *rt;

STARTED(just_ready)
{
    bump(READY);
    return 0;
}

static const troupe_behavior quiet = {.name = "quiet", .started = just_ready};

static void start(const troupe_options *options)
{
    cr_assert_eq(troupe_runtime_start(&rt, &quiet, NULL, options, NULL), 0);
    while (word(READY) == 0)
        sched_yield();
}

static void finish(void)
{
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

static troupe_stats stats(void)
{
    troupe_stats s;
    troupe_stats_read(rt, &s);
    return s;
}

/* Is it prefix and a number? The watchdog's thread begins with a w, too. */
static bool is_worker(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0)
        return false;
    size_t digits = strspn(name + length, "0123456789");
    return digits > 0 && name[length + digits] == '\n';
}

/* Calls look for each thread of this process whose name is prefix and a number. Returns how many there are. */
static unsigned each_thread(const char *prefix, void (*look)(const char *name, int tid))
{
    char path[64], name[32];
    unsigned found = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file)
            continue;
        if (fgets(name, sizeof name, file) && is_worker(name, prefix)) {
            found++;
            if (look)
                look(name, atoi(entry->d_name));
        }
        fclose(file);
    }
    closedir(dir);
    return found;
}

Test(workers, by_default_there_are_as_many_as_usable_cpus)
{
    world_begin(0);
    troupe_options options = world_options();
    start(&options);
    cr_assert_eq(stats().workers, tr_cpus_usable(""));
    finish();
}

Test(workers, by_default_they_follow_the_cpus_that_the_process_may_use)
{
    cpu_set_t all, one;
    cr_assert_eq(tr_cpus_allowed(&all), 0);
    one = tr_cpus_nth(&all, 0);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    world_begin(0);
    troupe_options options = world_options();
    start(&options);
    cr_assert_eq(stats().workers, 1);
    finish();
    sched_setaffinity(0, sizeof all, &all);
}

Test(workers, threads_carry_the_name_of_the_runtime_and_their_number)
{
    world_begin(3);
    troupe_options options = world_options();
    start(&options);
    cr_assert_eq(each_thread("troupe/w", NULL), 3);
    finish();
    options.name = "ledger-and-more";
    start(&options);
    cr_assert_eq(each_thread("ledger-/w", NULL), 3);
    finish();
}

static void must_have_one_cpu(const char *name, int tid)
{
    cpu_set_t cpus, all, wanted;
    unsigned index = (unsigned)atoi(name + strlen("troupe/w"));
    cr_assert_eq(tr_cpus_allowed(&all), 0);
    wanted = tr_cpus_nth(&all, index);
    cr_assert_eq(sched_getaffinity(tid, sizeof cpus, &cpus), 0);
    cr_assert(CPU_EQUAL(&cpus, &wanted));
}

Test(workers, pinned_ones_have_a_cpu_each)
{
    world_begin(3);
    troupe_options options = world_options();
    options.pin = true;
    start(&options);
    cr_assert_eq(each_thread("troupe/w", must_have_one_cpu), 3);
    finish();
}

Test(workers, too_many_are_refused_with_a_reason)
{
    world_begin(TROUPE_WORKERS_MAX + 1);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &quiet, NULL, &options, NULL), -EINVAL);
    cr_assert_not_null(strstr(world.last_log, "65 workers and 0 spare ones are more than 64"));
    options.workers = TROUPE_WORKERS_MAX;
    options.spare_workers = 1;
    cr_assert_eq(troupe_runtime_start(&rt, &quiet, NULL, &options, NULL), -EINVAL);
    options.spare_workers = UINT32_MAX;
    cr_assert_eq(troupe_runtime_start(&rt, &quiet, NULL, &options, NULL), -EINVAL);
}

Test(workers, spare_ones_sit_out)
{
    world_begin(1);
    troupe_options options = world_options();
    options.spare_workers = 2;
    start(&options);
    cr_assert_eq(stats().workers, 1);
    cr_assert_eq(each_thread("troupe/w", NULL), 3);
    finish();
}

/* --- 64 workers on the CPUs of this machine --- */

enum { ACTORS = 2000, HOPS_EACH = 50 };

static troupe_addr ring[ACTORS];

/* Passes the token on to where chance has it, until its hops are spent. */
HANDLER(on_pass)
{
    uint64_t left;
    uint64_t *seed = self;
    memcpy(&left, troupe_payload(msg), sizeof left);
    *seed = *seed * 6364136223846793005u + 1442695040888963407u + (uintptr_t)self;
    if (bump(HOPS) == (uint64_t)ACTORS * HOPS_EACH)
        troupe_stop_runtime(ctx, 0);
    else if (--left > 0)
        troupe_tell(ctx, ring[(*seed >> 33) % ACTORS], PASS, &left, sizeof left);
}

static const troupe_behavior passer = {
    .name = "passer", .state_size = sizeof(uint64_t), .handlers = {[PASS] = ON(on_pass, sizeof(uint64_t))}};

STARTED(ring_started)
{
    uint64_t hops = HOPS_EACH;
    for (unsigned i = 0; i < ACTORS; i++)
        ring[i] = troupe_spawn(ctx, &passer, NULL, NULL);
    for (unsigned i = 0; i < ACTORS; i++)
        troupe_tell(ctx, ring[i], PASS, &hops, sizeof hops);
    return 0;
}

static const troupe_behavior ring_root = {.name = "ring", .started = ring_started};

static void pass_tokens(unsigned workers)
{
    world_begin(workers);
    cr_assert_eq(run(&ring_root, NULL), 0);
    cr_assert_eq(word(HOPS), (uint64_t)ACTORS * HOPS_EACH);
    cr_assert_eq(dead_total(), 0);
}

Test(workers, a_single_one_handles_all)
{
    pass_tokens(1);
}

Test(workers, sixty_four_handle_all)
{
    pass_tokens(TROUPE_WORKERS_MAX);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Once the guards have gone to rest, nothing happens any more: no turn of any worker and no system call in 100 ms. */
Test(workers, sixty_four_idle_ones_make_no_wake_ups)
{
    world_begin(TROUPE_WORKERS_MAX);
    troupe_options options = world_options();
    start(&options);
    troupe_stats before = stats(), after;
    for (uint64_t since = now_ns(); now_ns() - since < 100000000; sched_yield()) {
        after = stats();
        if (after.parks == before.parks && after.io_system_calls == before.io_system_calls)
            continue;
        before = after;
        since = now_ns();
    }
    cr_assert_leq(before.parks, TROUPE_WORKERS_MAX + 40, "it came to rest in bounded turns");
    finish();
}
