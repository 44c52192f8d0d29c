/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

static uint64_t collatz_steps(uint64_t n)
{
    uint64_t steps = 0;
    for (; n != 1; steps++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    return steps;
}

static void on_job(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct job *job = troupe_payload(msg);
    (void)self;
    TROUPE_CHECK(ctx, job->n > 0);
    struct job_result result = {.status = JOB_DONE, .steps = collatz_steps(job->n)};
    troupe_reply(ctx, msg, &result, sizeof result);
}

/* A bad job says nothing about the worker, so it may crash often before that is the pool's problem. */
const troupe_behavior worker_behavior = {
    .name = "worker",
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = TROUPE_MS(10)},
    .handlers = {[JOB] = {.name = "job", .fn = on_job, .size = sizeof(struct job)}},
};
