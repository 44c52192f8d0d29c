/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include "worker.h"

#define JOB_TIMEOUT TROUPE_SEC(10)

/* One worker, as the pool sees it. */
struct desk {
    unsigned number; /* its place among the declared children */
    troupe_msg *job; /* the kept ask that it works on; NULL: idle */
};

struct pool {
    unsigned workers;
    struct desk desks[POOL_WORKERS_MAX];
    troupe_msg *line[POOL_LINE_MAX]; /* ring of kept asks, oldest first */
    unsigned first, waiting;
};

static void give(troupe_ctx *ctx, struct desk *desk, troupe_msg *job);

static void reply(troupe_ctx *ctx, const troupe_msg *job, enum job_status status)
{
    struct job_result result = {.status = status};
    troupe_reply(ctx, job, &result, sizeof result);
}

/* The worker has replied, or crashed, or took too long: its client is told, and it gets the next job. */
static void on_result(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct pool *pool = self;
    struct desk *desk = answer->arg;
    troupe_msg *job = desk->job;
    desk->job = NULL;
    if (answer->status == 0)
        troupe_reply(ctx, job, answer->payload, answer->size);
    else
        reply(ctx, job, JOB_FAILED);
    if (pool->waiting == 0)
        return;
    troupe_msg *next = pool->line[pool->first];
    pool->first = (pool->first + 1) % POOL_LINE_MAX;
    pool->waiting--;
    give(ctx, desk, next);
}

static void give(troupe_ctx *ctx, struct desk *desk, troupe_msg *job)
{
    desk->job = job;
    int status = troupe_ask(ctx, troupe_child_at(ctx, desk->number), JOB, troupe_payload(job), troupe_size(job),
                            JOB_TIMEOUT, on_result, desk);
    if (status == 0)
        return;
    desk->job = NULL;
    reply(ctx, job, JOB_FAILED);
}

static struct desk *idle_desk(struct pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        if (!pool->desks[i].job)
            return &pool->desks[i];
    return NULL;
}

static void on_job(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct pool *pool = self;
    struct desk *desk = idle_desk(pool);
    troupe_msg *job = desk || pool->waiting < POOL_LINE_MAX ? troupe_keep(ctx, msg) : NULL;
    if (!job)
        reply(ctx, msg, JOB_REFUSED);
    else if (desk)
        give(ctx, desk, job);
    else
        pool->line[(pool->first + pool->waiting++) % POOL_LINE_MAX] = job;
}

/* --- the incarnation --- */

static int started(troupe_ctx *ctx, void *self, const void *args)
{
    struct pool *pool = self;
    (void)ctx;
    pool->workers = ((const struct pool_args *)args)->workers;
    for (unsigned i = 0; i < pool->workers; i++)
        pool->desks[i] = (struct desk){.number = i};
    return 0;
}

static unsigned workers_count(troupe_ctx *ctx, void *self)
{
    (void)ctx;
    return ((const struct pool *)self)->workers;
}

static const troupe_child children[] = {
    {.behavior = &worker_behavior, .make_count = workers_count, .together = true},
    {0},
};

const troupe_behavior pool_behavior = {
    .name = "pool",
    .state_size = sizeof(struct pool),
    .args_size = sizeof(struct pool_args),
    .started = started,
    .children = {.declared = children},
    .handlers = {[JOB] = {.name = "job", .fn = on_job, .size = sizeof(struct job)}},
};
