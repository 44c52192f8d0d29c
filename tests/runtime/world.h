/* SPDX-License-Identifier: Apache-2.0 */
/* What the black-box tests of the runtime share: a trace that actors write and tests compare, counted dead letters, and
 * a run with a watchdog. Owned by the running test; any thread may write to it.
 * It is not a mock: the runtime below is the real one. */
#ifndef TR_TESTS_RUNTIME_WORLD_H
#define TR_TESTS_RUNTIME_WORLD_H

#include <criterion/criterion.h>
#include <troupe/troupe.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>

#define UNUSED __attribute__((unused))
#define HANDLER(name) static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_msg *msg)
#define STARTED(name) static int name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const void *args)
#define RESTARTED(name)                                                                                                \
    static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_crash *crash, UNUSED unsigned count)
#define STOPPED(name) static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED troupe_reason reason)
#define CHILD_STOPPED(name)                                                                                            \
    static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED troupe_addr child, UNUSED troupe_reason reason)
#define VERDICT(name)                                                                                                  \
    static troupe_verdict name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_crash *crash)
#define ANSWER(name) static void name(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_answer *answer)

/* Designated, so that trailing members need no mention. */
#define ON(fn_, size_)                                                                                                 \
    {                                                                                                                  \
        .name = #fn_, .fn = fn_, .size = size_                                                                         \
    }

enum { WORDS = 32 };

struct world {
    pthread_mutex_t lock;
    char trace[1 << 15];
    unsigned dead[TROUPE_DEAD_COUNT], dead_replies;
    troupe_dead_letter last_dead;
    char last_log[512];
    uint64_t word[WORDS]; /* the test's own, by atomic access */
    troupe_addr addr[WORDS];
    troupe_stats stats, stats_before;
    unsigned workers;
};

static struct world world;

static UNUSED void say(const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&world.lock);
    size_t at = strlen(world.trace);
    if (at > 0 && at < sizeof world.trace - 1)
        world.trace[at++] = ' ';
    va_start(args, format);
    vsnprintf(world.trace + at, sizeof world.trace - at, format, args);
    va_end(args);
    pthread_mutex_unlock(&world.lock);
}

static UNUSED uint64_t word(unsigned i)
{
    return ck_pr_load_64(&world.word[i]);
}

static UNUSED uint64_t bump(unsigned i)
{
    return ck_pr_faa_64(&world.word[i], 1) + 1;
}

static UNUSED void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    pthread_mutex_lock(&world.lock);
    world.dead[letter->reason]++;
    world.dead_replies += letter->reply;
    world.last_dead = *letter;
    world.last_dead.payload = NULL;
    pthread_mutex_unlock(&world.lock);
}

static UNUSED unsigned dead_total(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        sum += world.dead[i];
    return sum;
}

static UNUSED void log_line(void *arg, const troupe_log_record *record)
{
    (void)arg;
    snprintf(world.last_log, sizeof world.last_log, "%s", record->text); /* records come one at a time */
}

/* A fresh world; the watchdog kills a test that hangs. */
static UNUSED void world_begin(unsigned workers)
{
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.lock, NULL);
    world.workers = workers;
    alarm(120);
}

static UNUSED troupe_options world_options(void)
{
    return (troupe_options){
        .workers = world.workers, .log = log_line, .log_level = TROUPE_LOG_WARN, .dead_letter = dead_letter};
}

static UNUSED int run(const troupe_behavior *root, const void *args)
{
    troupe_options options = world_options();
    return troupe_run(root, args, &options);
}

/* The running runtime's counters. */
static UNUSED troupe_stats stats_now(troupe_ctx *ctx)
{
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    return stats;
}

/* `stopped` of a root that keeps the last counters, so that a test can read them after the run. */
static UNUSED void keep_stats(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)self, (void)reason;
    world.stats = stats_now(ctx);
}

static UNUSED unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

#endif
