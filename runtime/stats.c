/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stats.h"

#include <troupe/runtime.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/instance.h"

static void add_context(troupe_stats *out, const troupe_ctx *ctx)
{
    const struct tr_stats *s = &ctx->stats;
    out->spawns += ck_pr_load_64(&s->spawns);
    out->stops += ck_pr_load_64(&s->stops);
    out->messages_handled += ck_pr_load_64(&s->messages_handled);
    out->crashes += ck_pr_load_64(&s->crashes);
    out->restarts += ck_pr_load_64(&s->restarts);
    out->kills += ck_pr_load_64(&s->kills);
    out->escalations += ck_pr_load_64(&s->escalations);
    out->faults_recovered += ck_pr_load_64(&s->faults_recovered);
    out->cleanup_panics += ck_pr_load_64(&s->cleanup_panics);
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        out->dead_letters[i] += ck_pr_load_64(&s->dead_letters[i]);
    uint64_t high = ck_pr_load_64(&s->mailbox_high_water);
    if (high > out->mailbox_high_water)
        out->mailbox_high_water = high;
}

static void add_pool(troupe_stats *out, const struct tr_pool *pool, unsigned worker)
{
    struct tr_worker_stats s;
    tr_pool_stats(pool, worker, &s);
    out->activations += s.runs;
    out->steals += s.steals;
    out->parks += s.parks;
    out->wakes += s.wakes;
}

static void add_loop(troupe_stats *out, const struct tr_loop *loop)
{
    struct tr_loop_stats s;
    tr_loop_stats(loop, &s);
    out->io_submitted += s.submitted;
    out->io_completed += s.completed;
    out->io_system_calls += s.enters;
    out->io_in_flight += s.ops_in_flight;
    out->io_in_use += s.ops_in_use;
    out->io_buffers_lent += s.buffers_lent;
    out->timers_armed += s.timers_armed;
}

void tr_stats_sum(const struct troupe_runtime *rt, troupe_stats *out)
{
    *out = (troupe_stats){.workers = rt->options.workers};
    for (unsigned i = 0; i < rt->threads; i++) {
        const troupe_ctx *ctx = rt->contexts[i];
        add_context(out, ctx);
        add_pool(out, rt->pool, i);
        const struct tr_loop *loop = ck_pr_load_ptr(&ctx->loop);
        if (loop)
            add_loop(out, loop);
    }
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        out->dead_letters[i] += ck_pr_load_64(&rt->foreign.dead_letters[i]);
    out->actors = out->spawns > out->stops ? out->spawns - out->stops : 0; /* read at different moments */
    out->handlers_stuck = ck_pr_load_64(&rt->watchdog.reports);
    out->jobs = ck_pr_load_64(&rt->crew.accepted);
    out->jobs_refused = ck_pr_load_64(&rt->crew.refused);
    out->jobs_queued = ck_pr_load_64(&rt->crew.queued);
    out->jobs_running = ck_pr_load_64(&rt->crew.running);
    out->job_threads = ck_pr_load_64(&rt->crew.alive);
    out->log_suppressed = tr_log_suppressed(&rt->log);
}

void troupe_stats_read(const troupe_runtime *rt, troupe_stats *out)
{
    struct tr_gate *gate = tr_gate_of(rt);
    if (tr_gate_look(gate)) {
        tr_stats_sum(rt, out);
        tr_gate_leave(gate);
        return;
    }
    *out = rt->last_stats;
}
