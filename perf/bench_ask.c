/* SPDX-License-Identifier: Apache-2.0 */
/* One actor asks another, 8 bytes there and 8 bytes back, with a deadline of 5 s armed, and asks again when it has the
 * answer. */
#include "perf/support/bench.h"

enum { NEXT };

struct talk {
    uint64_t trips;
    uint64_t began_ns, ended_ns, sum;
};

struct asker {
    struct talk *talk;
    troupe_addr answerer;
    uint64_t asked, sum;
};

static void on_next(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    uint64_t next = tr_bench_number(msg) + 1;
    (void)self;
    troupe_reply(ctx, msg, &next, sizeof next);
}

static const troupe_behavior answerer = {
    .name = "answerer",
    .handlers = {[NEXT] = {.name = "next", .fn = on_next, .size = sizeof(uint64_t)}},
};

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer);

static int ask(troupe_ctx *ctx, struct asker *asker)
{
    asker->asked++;
    return troupe_ask(ctx, asker->answerer, NEXT, &asker->asked, sizeof asker->asked, TROUPE_SEC(5), on_answer, NULL);
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct asker *asker = self;
    TROUPE_CHECK(ctx, answer->status == 0);
    asker->sum += *(const uint64_t *)answer->payload;
    if (asker->asked < asker->talk->trips) {
        ask(ctx, asker);
        return;
    }
    asker->talk->ended_ns = tr_bench_clock();
    asker->talk->sum = asker->sum;
    troupe_stop_runtime(ctx, 0);
}

static int asker_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct asker *asker = self;
    asker->talk = *(struct talk *const *)args;
    asker->answerer = troupe_spawn(ctx, &answerer, NULL, NULL);
    asker->talk->began_ns = tr_bench_clock();
    return ask(ctx, asker);
}

static const troupe_behavior asker_behavior = {
    .name = "asker",
    .state_size = sizeof(struct asker),
    .args_size = sizeof(struct talk *),
    .started = asker_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
};

static int run(const struct tr_bench *bench)
{
    struct talk talk = {.trips = bench->size};
    if (tr_bench_run(bench, &asker_behavior, &talk) != 0)
        return 1;
    if (talk.sum != talk.trips * (talk.trips + 3) / 2)
        return tr_bench_failed(bench, "the answers add up to %llu", (unsigned long long)talk.sum);
    tr_bench_result(bench->name, (double)(talk.ended_ns - talk.began_ns) / (double)talk.trips, "ns/round trip");
    return 0;
}

const struct tr_case tr_case_ask = {.name = "ask",
                                    .run = run,
                                    .serial = true,
                                    .behaviors = {&asker_behavior, &answerer},
                                    .frames = {{"asker.answer", (void *)on_answer}}};
