/* SPDX-License-Identifier: Apache-2.0 */
/* One actor arms a timer 5 s ahead and cancels it, over and over: what a time-out costs that is not needed. */
#include "perf/support/bench.h"

enum { AGAIN, DUE };

#define PORTION 1000u /* pairs of one message */

struct work {
    uint64_t pairs;
    uint64_t began_ns, ended_ns;
};

struct canceller {
    struct work *work;
    uint64_t done;
};

static void on_again(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct canceller *canceller = self;
    uint64_t left = canceller->work->pairs - canceller->done;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        troupe_timer timer;
        int status = troupe_send_after(ctx, TROUPE_SEC(5), troupe_self(ctx), DUE, &canceller->done,
                                       sizeof canceller->done, &timer);
        TROUPE_CHECK(ctx, status == 0 && troupe_timer_cancel(ctx, timer));
        canceller->done++;
    }
    if (canceller->done < canceller->work->pairs) {
        troupe_tell(ctx, troupe_self(ctx), AGAIN, NULL, 0);
        return;
    }
    canceller->work->ended_ns = tr_bench_clock();
    troupe_stop_runtime(ctx, 0);
}

static void on_due(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "a cancelled timer sent its message");
}

static int canceller_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct canceller *canceller = self;
    canceller->work = *(struct work *const *)args;
    canceller->work->began_ns = tr_bench_clock();
    return troupe_tell(ctx, troupe_self(ctx), AGAIN, NULL, 0);
}

static const troupe_behavior canceller_behavior = {
    .name = "canceller",
    .state_size = sizeof(struct canceller),
    .args_size = sizeof(struct work *),
    .started = canceller_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers =
        {[AGAIN] = {.name = "again", .fn = on_again}, [DUE] = {.name = "due", .fn = on_due, .size = sizeof(uint64_t)}},
};

static int run(const struct tr_bench *bench)
{
    struct work work = {.pairs = bench->size};
    if (tr_bench_run(bench, &canceller_behavior, &work) != 0)
        return 1;
    tr_bench_result(bench->name, (double)work.pairs * 1e9 / (double)(work.ended_ns - work.began_ns), "pairs/s");
    return 0;
}

const struct tr_case tr_case_timer_cancel = {.name = "timer_cancel", .run = run, .behaviors = {&canceller_behavior}};
