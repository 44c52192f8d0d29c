/* SPDX-License-Identifier: Apache-2.0 */
/* A crowd of idle actors for five seconds: how often any thread of the process but this one, which waits, woke up, and
 * how much CPU the process used. A wake-up is a voluntary context switch: each ends with one. */
#include <ctype.h>
#include <dirent.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "perf/support/crowd.h"

/* Settling: the watchdog looks four times a second, and once more when all has come to rest. */
static const struct timespec settling = {.tv_nsec = 500000000}, watching = {.tv_sec = 5};

static void ready(troupe_ctx *ctx, void *arg)
{
    (void)ctx;
    sem_post(arg);
}

/* Voluntary switches of one thread so far; 0 if it has ended. */
static unsigned long switches_of(const char *thread)
{
    char path[300], line[200];
    unsigned long switches = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %lu", &switches) == 1)
            break;
    fclose(file);
    return switches;
}

/* Of all threads but the one that asks. */
static unsigned long switches_so_far(void)
{
    unsigned long sum = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    if (!tasks)
        abort();
    while ((task = readdir(tasks)))
        if (isdigit((unsigned char)task->d_name[0]) && atol(task->d_name) != gettid())
            sum += switches_of(task->d_name);
    closedir(tasks);
    return sum;
}

static void watch(const struct tr_bench *bench)
{
    nanosleep(&settling, NULL);
    unsigned long switches = switches_so_far();
    uint64_t cpu_ns = tr_bench_cpu();
    nanosleep(&watching, NULL);
    cpu_ns = tr_bench_cpu() - cpu_ns;
    switches = switches_so_far() - switches;
    tr_bench_result(bench->name, (double)switches, "wake-ups");
    tr_bench_result("idle_cpu", (double)cpu_ns / 1e6, "ms");
}

static int run(const struct tr_bench *bench)
{
    sem_t all_idle;
    sem_init(&all_idle, 0, 0);
    struct tr_crowd crowd = {.actors = bench->size, .ready = ready, .arg = &all_idle}, *args = &crowd;
    const troupe_options options = tr_crowd_options(bench);
    troupe_runtime *runtime;
    int status = troupe_runtime_start(&runtime, &tr_crowd_root, &args, &options, NULL);
    if (status != 0)
        return tr_bench_failed(bench, "the runtime did not start: %s", troupe_strerror(status));
    sem_wait(&all_idle);
    watch(bench);
    troupe_stats stats;
    troupe_stats_read(runtime, &stats);
    troupe_runtime_request_stop(runtime);
    status = troupe_runtime_join(runtime);
    if (status != 0 || stats.actors != bench->size + 1)
        return tr_bench_failed(bench, "status %d, %llu actors", status, (unsigned long long)stats.actors);
    return 0;
}

/* The limit: not one wake-up. */
const struct tr_case tr_case_idle = {
    .name = "idle", .run = run, .limit = 0.5, .behaviors = {&tr_crowd_root, &tr_crowd_idler}};
