/* SPDX-License-Identifier: Apache-2.0 */
/* Eight producers send numbers to one consumer. The clock runs from the word to start to the last number handled. */
#include "perf/support/bench.h"

enum { NUMBER };
enum { PRODUCE };

#define PRODUCERS 8u
#define PORTION 512u /* see bench_counting.c */

struct flow {
    uint64_t each; /* numbers of each producer */
    uint64_t began_ns, ended_ns, sum;
};

struct consumer {
    struct flow *flow;
    uint64_t left, sum;
};

static void on_number(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct consumer *consumer = self;
    consumer->sum += tr_bench_number(msg);
    if (--consumer->left > 0)
        return;
    consumer->flow->ended_ns = tr_bench_clock();
    consumer->flow->sum = consumer->sum;
    troupe_stop_runtime(ctx, 0);
}

struct producer {
    troupe_addr consumer;
    uint64_t each, sent;
};

struct producer_args {
    troupe_addr consumer;
    uint64_t each;
};

static int producer_started(troupe_ctx *ctx, void *self, const void *args)
{
    const struct producer_args *given = args;
    (void)ctx;
    *(struct producer *)self = (struct producer){.consumer = given->consumer, .each = given->each};
    return 0;
}

static void on_produce(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct producer *producer = self;
    uint64_t left = producer->each - producer->sent;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        producer->sent++;
        troupe_tell(ctx, producer->consumer, NUMBER, &producer->sent, sizeof producer->sent);
    }
    if (producer->sent < producer->each)
        troupe_tell(ctx, troupe_self(ctx), PRODUCE, NULL, 0);
}

static const troupe_behavior producer_behavior = {
    .name = "producer",
    .state_size = sizeof(struct producer),
    .args_size = sizeof(struct producer_args),
    .started = producer_started,
    .handlers = {[PRODUCE] = {.name = "produce", .fn = on_produce}},
};

static int consumer_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct flow *flow = *(struct flow *const *)args;
    const struct producer_args given = {troupe_self(ctx), flow->each};
    troupe_addr producers[PRODUCERS];
    *(struct consumer *)self = (struct consumer){.flow = flow, .left = PRODUCERS * flow->each};
    for (unsigned i = 0; i < PRODUCERS; i++)
        producers[i] = troupe_spawn(ctx, &producer_behavior, &given, NULL);
    flow->began_ns = tr_bench_clock();
    for (unsigned i = 0; i < PRODUCERS; i++) {
        int status = troupe_tell(ctx, producers[i], PRODUCE, NULL, 0);
        if (status < 0)
            return status;
    }
    return 0;
}

static const troupe_behavior consumer_behavior = {
    .name = "consumer",
    .state_size = sizeof(struct consumer),
    .args_size = sizeof(struct flow *),
    .started = consumer_started,
    .handlers = {[NUMBER] = {.name = "number", .fn = on_number, .size = sizeof(uint64_t)}},
};

static int run(const struct tr_bench *bench)
{
    struct flow flow = {.each = bench->size / PRODUCERS ? bench->size / PRODUCERS : 1};
    if (tr_bench_run(bench, &consumer_behavior, &flow) != 0)
        return 1;
    if (flow.sum != PRODUCERS * flow.each * (flow.each + 1) / 2)
        return tr_bench_failed(bench, "the sum is %llu", (unsigned long long)flow.sum);
    tr_bench_result(bench->name, (double)(PRODUCERS * flow.each) * 1e9 / (double)(flow.ended_ns - flow.began_ns),
                    "messages/s");
    return 0;
}

const struct tr_case tr_case_fan_in = {
    .name = "fan_in", .run = run, .behaviors = {&consumer_behavior, &producer_behavior}};
