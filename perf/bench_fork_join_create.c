/* SPDX-License-Identifier: Apache-2.0 */
/* One actor creates many, sends each one message of 8 bytes, and each ends after it. The clock runs from the first
 * creation until the creator has been told of the last end, which is after the last message was handled. */
#include "perf/support/bench.h"

enum { CREATE };
enum { WORK };

/* Created by one message of the creator: it gives way often enough that it hears of ends, so that their memory is used
 * again while it is in the cache. */
#define PORTION 64u

struct job {
    uint64_t actors;
    uint64_t began_ns, ended_ns, failed;
};

struct creator {
    struct job *job;
    uint64_t created, ended, failed;
};

static int worker_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)ctx;
    *(uint64_t *)self = *(const uint64_t *)args;
    return 0;
}

/* Proof of the right message: else it crashes, which its creator sees. */
static void on_work(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    TROUPE_CHECK(ctx, tr_bench_number(msg) == *(const uint64_t *)self);
    troupe_stop_self(ctx);
}

static const troupe_behavior worker = {
    .name = "worker",
    .state_size = sizeof(uint64_t),
    .args_size = sizeof(uint64_t),
    .started = worker_started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers = {[WORK] = {.name = "work", .fn = on_work, .size = sizeof(uint64_t)}},
};

static void on_create(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct creator *creator = self;
    uint64_t left = creator->job->actors - creator->created;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        creator->created++;
        troupe_addr child = troupe_spawn(ctx, &worker, &creator->created, NULL);
        int status = troupe_tell(ctx, child, WORK, &creator->created, sizeof creator->created);
        TROUPE_CHECK(ctx, status == 0);
    }
    if (creator->created < creator->job->actors)
        troupe_tell(ctx, troupe_self(ctx), CREATE, NULL, 0);
}

static void creator_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct creator *creator = self;
    (void)child;
    creator->failed += reason != TROUPE_REASON_NORMAL;
    if (++creator->ended < creator->job->actors)
        return;
    creator->job->ended_ns = tr_bench_end();
    creator->job->failed = creator->failed;
    troupe_stop_runtime(ctx, 0);
}

static int creator_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct creator *creator = self;
    creator->job = *(struct job *const *)args;
    creator->job->began_ns = tr_bench_begin();
    return troupe_tell(ctx, troupe_self(ctx), CREATE, NULL, 0);
}

static const troupe_behavior creator_behavior = {
    .name = "creator",
    .state_size = sizeof(struct creator),
    .args_size = sizeof(struct job *),
    .started = creator_started,
    .child_stopped = creator_child_stopped,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[CREATE] = {.name = "create", .fn = on_create}},
};

static int run(const struct tr_bench *bench)
{
    struct job job = {.actors = bench->size};
    if (tr_bench_run(bench, &creator_behavior, &job) != 0)
        return 1;
    if (job.failed > 0)
        return tr_bench_failed(bench, "%llu actors did not end by themselves", (unsigned long long)job.failed);
    tr_bench_result(bench->name, (double)job.actors * 1e9 / (double)(job.ended_ns - job.began_ns), "actors/s");
    return 0;
}

const struct tr_case tr_case_fork_join_create = {
    .name = "fork_join_create", .run = run, .behaviors = {&creator_behavior, &worker}};
