/* SPDX-License-Identifier: Apache-2.0 */
/* One producer sends numbers to one counter as fast as it can, then asks it for their sum. The clock runs from the
 * first send to the answer. */
#include "perf/support/bench.h"

enum { ADD, SUM };
enum { PRODUCE };

/* Numbers sent by one message of the producer: it gives way often enough that a counter on the same worker finds them
 * in the cache, and that it can be stopped. */
#define PORTION 64u

struct count {
    uint64_t numbers;
    uint64_t began_ns, ended_ns, sum;
};

struct producer {
    struct count *count;
    troupe_addr counter;
    uint64_t sent;
};

static void on_add(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx;
    *(uint64_t *)self += tr_bench_number(msg);
}

static void on_sum(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    troupe_reply(ctx, msg, self, sizeof(uint64_t));
}

static const troupe_behavior counter = {
    .name = "counter",
    .state_size = sizeof(uint64_t),
    .handlers =
        {[ADD] = {.name = "add", .fn = on_add, .size = sizeof(uint64_t)}, [SUM] = {.name = "sum", .fn = on_sum}},
};

static void on_total(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct count *count = ((struct producer *)self)->count;
    TROUPE_CHECK(ctx, answer->status == 0);
    count->ended_ns = tr_bench_end();
    count->sum = *(const uint64_t *)answer->payload;
    troupe_stop_runtime(ctx, 0);
}

static void on_produce(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct producer *producer = self;
    uint64_t left = producer->count->numbers - producer->sent;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        producer->sent++;
        troupe_tell(ctx, producer->counter, ADD, &producer->sent, sizeof producer->sent);
    }
    if (producer->sent < producer->count->numbers)
        troupe_tell(ctx, troupe_self(ctx), PRODUCE, NULL, 0);
    else
        troupe_ask(ctx, producer->counter, SUM, NULL, 0, TROUPE_FOREVER, on_total, NULL);
}

static int producer_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct producer *producer = self;
    producer->count = *(struct count *const *)args;
    producer->counter = troupe_spawn(ctx, &counter, NULL, NULL);
    producer->count->began_ns = tr_bench_begin();
    return troupe_tell(ctx, troupe_self(ctx), PRODUCE, NULL, 0);
}

static const troupe_behavior producer_behavior = {
    .name = "producer",
    .state_size = sizeof(struct producer),
    .args_size = sizeof(struct count *),
    .started = producer_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[PRODUCE] = {.name = "produce", .fn = on_produce}},
};

static int run(const struct tr_bench *bench)
{
    struct count count = {.numbers = bench->size};
    if (tr_bench_run(bench, &producer_behavior, &count) != 0)
        return 1;
    if (count.sum != count.numbers * (count.numbers + 1) / 2)
        return tr_bench_failed(bench, "the sum is %llu", (unsigned long long)count.sum);
    tr_bench_result(bench->name, (double)count.numbers * 1e9 / (double)(count.ended_ns - count.began_ns), "messages/s");
    return 0;
}

const struct tr_case tr_case_counting = {.name = "counting",
                                         .run = run,
                                         .behaviors = {&producer_behavior, &counter},
                                         .frames = {{"producer.total", (void *)on_total}}};
