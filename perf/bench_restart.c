/* SPDX-License-Identifier: Apache-2.0 */
/* How fast an actor that always crashes comes back, and that a million crashes keep no memory. Prints
 *   restart             restarts/s of one actor on one worker, which sends itself the message that crashes it
 *   restart_latency_w1  ns from the crash to the next message handled, which waited behind; the median of all crashes
 *   restart_latency_w2  the same of two actors at once on two workers
 * Resident memory may grow by at most 1 MiB between 10 % and 100 % of a round's crashes; exit status 1 when it did.
 * Arguments: see support/bench.h; COUNT is crashes per round of `restart`, and a tenth of that for the latencies. */
#include <troupe/troupe.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "perf/support/bench.h"
#include "perf/support/crasher.h"

enum { CRASH };

#define GROWTH_MAX (1024l * 1024)
#define LATENCY_LIMIT_NS 500

static const troupe_supervision any_number = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1};

struct round {
    unsigned long crashes, done;
    long resident_early;
    uint64_t began_ns;
    double per_second;
};

static long resident_bytes(void)
{
    long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        abort();
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void finish(troupe_ctx *ctx, struct round *round)
{
    round->per_second = (double)round->crashes * 1e9 / (double)(tr_bench_clock() - round->began_ns);
    long growth = resident_bytes() - round->resident_early;
    if (growth > GROWTH_MAX)
        fprintf(stderr, "bench_restart: resident memory grew by %ld bytes over the last 90 %% of %lu crashes\n", growth,
                round->crashes);
    troupe_stop_runtime(ctx, growth > GROWTH_MAX);
}

static int crasher_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct round *round = *(struct round *const *)args;
    (void)self;
    if (round->done == 0)
        round->began_ns = tr_bench_clock();
    if (round->done == round->crashes / 10)
        round->resident_early = resident_bytes();
    if (round->done++ == round->crashes) {
        finish(ctx, round);
        return 0;
    }
    return troupe_tell(ctx, troupe_self(ctx), CRASH, NULL, 0);
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "once more");
}

static const troupe_behavior crasher = {
    .name = "crasher",
    .state_size = 256,
    .args_size = sizeof(struct round *),
    .started = crasher_started,
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1}, /* as any_number */
    .handlers = {[CRASH] = {.name = "crash", .fn = on_crash}},
};

/* False: the runtime failed, or kept memory. */
static bool measure_rate(const struct tr_bench_options *bench)
{
    struct tr_series series = {.name = "restart", .unit = "restarts/s"};
    const troupe_options options = {.workers = 1, .log_level = TROUPE_LOG_NONE};
    for (unsigned i = 0; i < bench->rounds; i++) {
        struct round round = {.crashes = bench->count}, *args = &round;
        if (troupe_run(&crasher, &args, &options) != 0)
            return false;
        tr_series_add(&series, round.per_second);
    }
    return tr_series_print(&series);
}

/* False: the runtime failed; else *met. */
static bool measure_latency(const struct tr_bench_options *bench, unsigned workers, bool *met)
{
    struct tr_series series = {
        .name = workers == 1 ? "restart_latency_w1" : "restart_latency_w2", .unit = "ns", .limit = LATENCY_LIMIT_NS};
    size_t crashes = bench->count / 10 ? bench->count / 10 : 1;
    for (unsigned i = 0; i < bench->rounds; i++) {
        double median_ns;
        if (!tr_crasher_latency(workers, workers, crashes, &any_number, &median_ns))
            return false;
        tr_series_add(&series, median_ns);
    }
    *met = tr_series_print(&series) && *met;
    return true;
}

int main(int argc, char **argv)
{
    const struct tr_bench_options options =
        tr_bench_parse(argc, argv, (struct tr_bench_options){.rounds = 5, .count = 1000000});
    bool met = true;
    if (!measure_rate(&options) || !measure_latency(&options, 1, &met) || !measure_latency(&options, 2, &met))
        return 1;
    return tr_bench_status(&options, met);
}
