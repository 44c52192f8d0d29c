/* SPDX-License-Identifier: Apache-2.0 */
/* How fast an actor that crashes comes back.
 *   restart           from the crash to the next message handled, which waited behind; the median of all crashes
 *   restart_together  the same of as many actors at once as there are workers
 *   restart_rate      an actor sends itself the message that crashes it, over and over: restarts a second, and resident
 *                     memory may grow by at most 1 MiB between 10 % and 100 % of the crashes */
#include "perf/support/bench.h"
#include "perf/support/crasher.h"

enum { CRASH };

#define GROWTH_MAX (1024 * 1024)
#define LIMIT_US 0.5

static int measure(const struct tr_bench *bench, unsigned actors)
{
    static const troupe_supervision any_number = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1};
    double median_ns;
    if (!tr_crasher_latency(bench->workers, actors, bench->size, &any_number, &median_ns))
        return 1;
    tr_bench_result(bench->name, median_ns / 1e3, "us");
    return 0;
}

static int run_one(const struct tr_bench *bench)
{
    return measure(bench, 1);
}

static int run_together(const struct tr_bench *bench)
{
    return measure(bench, bench->workers);
}

/* --- the rate --- */

struct spree {
    uint64_t crashes, done;
    uint64_t resident_early, growth;
    uint64_t began_ns, ended_ns;
};

static void finish(troupe_ctx *ctx, struct spree *spree)
{
    spree->ended_ns = tr_bench_clock();
    uint64_t resident = tr_bench_resident_bytes();
    spree->growth = resident > spree->resident_early ? resident - spree->resident_early : 0;
    troupe_stop_runtime(ctx, 0);
}

static int addict_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct spree *spree = *(struct spree *const *)args;
    (void)self;
    if (spree->done == 0)
        spree->began_ns = tr_bench_clock();
    if (spree->done == spree->crashes / 10)
        spree->resident_early = tr_bench_resident_bytes();
    if (spree->done++ == spree->crashes) {
        finish(ctx, spree);
        return 0;
    }
    return troupe_tell(ctx, troupe_self(ctx), CRASH, NULL, 0);
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "once more");
}

static const troupe_behavior addict = {
    .name = "addict",
    .state_size = 256,
    .args_size = sizeof(struct spree *),
    .started = addict_started,
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1},
    .handlers = {[CRASH] = {.name = "crash", .fn = on_crash}},
};

static int run_rate(const struct tr_bench *bench)
{
    struct spree spree = {.crashes = bench->size}, *args = &spree;
    troupe_options options = tr_bench_options(bench);
    options.log_level = TROUPE_LOG_NONE;
    int status = troupe_run(&addict, &args, &options);
    if (status != 0 || spree.done != spree.crashes + 1)
        return tr_bench_failed(bench, "status %d after %llu crashes", status, (unsigned long long)spree.done);
    if (spree.growth > GROWTH_MAX)
        return tr_bench_failed(bench, "resident memory grew by %llu bytes over the last 90 %% of the crashes",
                               (unsigned long long)spree.growth);
    tr_bench_result(bench->name, (double)spree.crashes * 1e9 / (double)(spree.ended_ns - spree.began_ns), "restarts/s");
    return 0;
}

const struct tr_case tr_case_restart = {
    .name = "restart", .run = run_one, .serial = true, .limit = LIMIT_US, .behaviors = {&tr_crasher_root, &tr_crasher}};

const struct tr_case tr_case_restart_together = {
    .name = "restart_together",
    .run = run_together,
    .limit = LIMIT_US,
    .behaviors = {&tr_crasher_root, &tr_crasher},
    .unit = "us",
    .text = "restart, of as many actors at once as there are workers",
    .size = 100000,
};

const struct tr_case tr_case_restart_rate = {
    .name = "restart_rate",
    .run = run_rate,
    .behaviors = {&addict},
    .unit = "restarts/s",
    .text = "an actor crashes over and over; fails if resident memory grows by more than 1 MiB meanwhile",
    .size = 1000000,
};
