/* SPDX-License-Identifier: Apache-2.0 */
/* Timers by the million, due 2 to 3 s ahead, all armed before the first is due; each sends a message that says when it
 * was to come. Prints the CPU time of the process from the first one armed to the last one handled, per timer, and how
 * late they were handled (99 % were no later). */
#include <stdlib.h>

#include "perf/support/bench.h"

enum { ARM, DUE };

#define AHEAD_NS TROUPE_SEC(2)
#define SPAN_NS TROUPE_SEC(1)
#define PORTION 1000u /* armed by one message */

struct race {
    uint64_t timers;
    uint32_t *late_us; /* of each */
    uint64_t began_ns, armed_ns, cpu_ns, handled, early;
};

struct clock {
    struct race *race;
    uint64_t random, armed, handled, early;
};

static void on_arm(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct clock *clock = self;
    struct race *race = clock->race;
    uint64_t left = race->timers - clock->armed;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        uint64_t due_ns = race->began_ns + AHEAD_NS + tr_bench_random(&clock->random) % SPAN_NS;
        int status =
            troupe_send_after(ctx, due_ns - tr_bench_clock(), troupe_self(ctx), DUE, &due_ns, sizeof due_ns, NULL);
        TROUPE_CHECK(ctx, status == 0);
        clock->armed++;
    }
    if (clock->armed < race->timers)
        troupe_tell(ctx, troupe_self(ctx), ARM, NULL, 0);
    else
        race->armed_ns = tr_bench_clock();
}

static void on_due(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct clock *clock = self;
    uint64_t now_ns = tr_bench_clock(), due_ns = tr_bench_number(msg);
    clock->early += now_ns < due_ns;
    clock->race->late_us[clock->handled++] = now_ns < due_ns ? 0 : (uint32_t)((now_ns - due_ns) / 1000);
    if (clock->handled < clock->race->timers)
        return;
    clock->race->cpu_ns = tr_bench_cpu() - clock->race->cpu_ns;
    clock->race->handled = clock->handled;
    clock->race->early = clock->early;
    troupe_stop_runtime(ctx, 0);
}

static int clock_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct clock *clock = self;
    clock->race = *(struct race *const *)args;
    clock->random = UINT64_C(0x9e3779b97f4a7c15);
    clock->race->cpu_ns = tr_bench_cpu();
    clock->race->began_ns = tr_bench_clock();
    return troupe_tell(ctx, troupe_self(ctx), ARM, NULL, 0);
}

static const troupe_behavior clock_behavior = {
    .name = "clock",
    .state_size = sizeof(struct clock),
    .args_size = sizeof(struct race *),
    .started = clock_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers =
        {[ARM] = {.name = "arm", .fn = on_arm}, [DUE] = {.name = "due", .fn = on_due, .size = sizeof(uint64_t)}},
};

static int judge(const struct tr_bench *bench, const struct race *race)
{
    if (race->handled != race->timers || race->early > 0)
        return tr_bench_failed(bench, "%llu handled, %llu of them early", (unsigned long long)race->handled,
                               (unsigned long long)race->early);
    if (race->armed_ns - race->began_ns >= AHEAD_NS)
        return tr_bench_failed(bench, "the first was due before all were armed: too busy a machine, or a smaller size");
    tr_bench_result(bench->name, (double)race->cpu_ns / (double)race->timers, "CPU ns/timer");
    tr_bench_result("timers_late_p99", tr_bench_quantile(race->late_us, race->timers, 0.99) / 1e3, "ms");
    return 0;
}

static int run(const struct tr_bench *bench)
{
    struct race race = {.timers = bench->size, .late_us = malloc(bench->size * sizeof(uint32_t))};
    if (!race.late_us)
        return tr_bench_failed(bench, "out of memory");
    for (uint64_t i = 0; i < race.timers; i++)
        race.late_us[i] = UINT32_MAX; /* its pages are there before the clock starts */
    int status = tr_bench_run(bench, &clock_behavior, &race);
    if (status == 0)
        status = judge(bench, &race);
    free(race.late_us);
    return status;
}

const struct tr_case tr_case_timers = {.name = "timers", .run = run, .behaviors = {&clock_behavior}};
