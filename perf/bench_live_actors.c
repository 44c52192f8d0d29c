/* SPDX-License-Identifier: Apache-2.0 */
/* What an idle actor keeps in memory: the growth of resident memory from before the first is made until each of them
 * has handled a message, shared among them. */
#include "perf/support/crowd.h"

struct growth {
    uint64_t before, after;
};

static void begun(void *arg)
{
    ((struct growth *)arg)->before = tr_bench_resident_bytes();
}

static void ready(troupe_ctx *ctx, void *arg)
{
    ((struct growth *)arg)->after = tr_bench_resident_bytes();
    troupe_stop_runtime(ctx, 0);
}

static int run(const struct tr_bench *bench)
{
    struct growth growth = {0, 0};
    struct tr_crowd crowd = {.actors = bench->size, .begun = begun, .ready = ready, .arg = &growth}, *args = &crowd;
    const troupe_options options = tr_crowd_options(bench);
    int status = troupe_run(&tr_crowd_root, &args, &options);
    if (status != 0)
        return tr_bench_failed(bench, "the runtime ended with status %d: %s", status, troupe_strerror(status));
    if (growth.after <= growth.before)
        return tr_bench_failed(bench, "resident memory did not grow");
    tr_bench_result(bench->name, (double)(growth.after - growth.before) / (double)bench->size, "B/actor");
    return 0;
}

const struct tr_case tr_case_live_actors = {
    .name = "live_actors", .run = run, .behaviors = {&tr_crowd_root, &tr_crowd_idler}};
