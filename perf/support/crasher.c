/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/crasher.h"

#include <stdio.h>
#include <stdlib.h>

#include "perf/support/bench.h"

enum { CRASH, NEXT };
enum { DONE };

/* One actor's measurements; it outlives all its incarnations. A line of its own: actors on different workers write at
 * once. */
struct lane {
    uint32_t *samples;
    size_t wanted, count;
    uint64_t crashed_ns;
} __attribute__((aligned(128)));

struct field {
    struct lane *lanes;
    unsigned actors;
    const troupe_supervision *supervision;
};

/* The next crash, and the message that will wait behind it. */
static void once_more(troupe_ctx *ctx)
{
    troupe_tell(ctx, troupe_self(ctx), CRASH, NULL, 0);
    troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
}

static int crasher_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct lane *lane = *(struct lane *const *)args;
    *(struct lane **)self = lane;
    if (troupe_incarnation(ctx) == 1)
        once_more(ctx);
    return 0;
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    (*(struct lane **)self)->crashed_ns = tr_bench_clock();
    troupe_panic(ctx, "once more");
}

static void on_next(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    uint64_t now_ns = tr_bench_clock();
    struct lane *lane = *(struct lane **)self;
    (void)msg;
    lane->samples[lane->count++] = (uint32_t)(now_ns - lane->crashed_ns);
    if (lane->count < lane->wanted)
        once_more(ctx);
    else
        troupe_tell(ctx, troupe_parent(ctx), DONE, NULL, 0);
}

const troupe_behavior tr_crasher = {
    .name = "crasher",
    .state_size = 64,
    .args_size = sizeof(struct lane *),
    .started = crasher_started,
    .handlers = {[CRASH] = {.name = "crash", .fn = on_crash}, [NEXT] = {.name = "next", .fn = on_next}},
};

struct root {
    unsigned missing;
    bool escalates;
    uint64_t crashes;
};

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    const struct field *field = args;
    const troupe_spawn_options options = {.supervision = field->supervision};
    struct root *root = self;
    root->missing = field->actors;
    root->escalates = field->supervision->restarts == TROUPE_RESTARTS_NONE;
    root->crashes = (uint64_t)field->actors * field->lanes[0].wanted;
    for (unsigned i = 0; i < field->actors; i++) {
        struct lane *lane = &field->lanes[i];
        if (troupe_addr_is_nobody(troupe_spawn(ctx, &tr_crasher, &lane, &options)))
            return -1;
    }
    return 0;
}

/* Ends the run when all are done: status 0 if what was measured is what was to be. */
static void on_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    if (--root->missing > 0)
        return;
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    bool measured = stats.crashes == root->crashes && stats.restarts == root->crashes &&
                    stats.escalations == (root->escalates ? root->crashes : 0);
    if (!measured)
        fprintf(stderr, "crasher: %llu crashes, %llu restarts, %llu escalations of %llu crashes\n",
                (unsigned long long)stats.crashes, (unsigned long long)stats.restarts,
                (unsigned long long)stats.escalations, (unsigned long long)root->crashes);
    troupe_stop_runtime(ctx, measured ? 0 : 1);
}

static troupe_verdict root_child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self, (void)crash;
    return TROUPE_VERDICT_RESTART_CHILD;
}

const troupe_behavior tr_crasher_root = {
    .name = "root",
    .state_size = sizeof(struct root),
    .args_size = sizeof(struct field),
    .started = root_started,
    .child_escalated = root_child_escalated,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[DONE] = {.name = "done", .fn = on_done}},
};

bool tr_crasher_latency(unsigned workers, unsigned actors, size_t crashes, const troupe_supervision *supervision,
                        double *median_ns)
{
    struct lane lanes[TR_CRASHERS_MAX] = {{0}};
    if (actors > TR_CRASHERS_MAX)
        actors = TR_CRASHERS_MAX;
    uint32_t *samples = calloc(actors * crashes, sizeof *samples);
    if (!samples)
        abort();
    for (unsigned i = 0; i < actors; i++)
        lanes[i] = (struct lane){.samples = samples + i * crashes, .wanted = crashes};
    const struct field field = {lanes, actors, supervision};
    const troupe_options options = {.workers = workers, .log_level = TROUPE_LOG_NONE};
    int status = troupe_run(&tr_crasher_root, &field, &options);
    size_t measured = 0;
    for (unsigned i = 0; i < actors; i++)
        measured += lanes[i].count;
    bool all = status == 0 && measured == actors * crashes;
    if (all)
        *median_ns = tr_bench_quantile(samples, measured, 0.5);
    else
        fprintf(stderr, "crasher: the runtime ended with status %d, %zu of %zu crashes measured\n", status, measured,
                actors * crashes);
    free(samples);
    return all;
}
