/* SPDX-License-Identifier: Apache-2.0 */
/* 503 actors in a ring pass one token of 8 bytes on; it holds the hops that are left. */
#include "perf/support/bench.h"

enum { NEXT, TOKEN };

#define NODES 503u

struct ring {
    uint64_t hops;
    uint64_t began_ns, ended_ns;
    uint64_t last; /* the place of the node that had the token last */
};

struct node_args {
    struct ring *ring;
    uint64_t place;
};

struct node {
    troupe_addr next;
    struct node_args args;
};

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)ctx;
    ((struct node *)self)->args = *(const struct node_args *)args;
    return 0;
}

static void on_next(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx;
    ((struct node *)self)->next = *(const troupe_addr *)troupe_payload(msg);
}

static void on_token(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    uint64_t left = tr_bench_number(msg) - 1;
    if (left > 0) {
        troupe_tell(ctx, node->next, TOKEN, &left, sizeof left);
        return;
    }
    node->args.ring->ended_ns = tr_bench_clock();
    node->args.ring->last = node->args.place;
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(struct node_args),
    .started = node_started,
    .handlers = {[NEXT] = {.name = "next", .fn = on_next, .size = sizeof(troupe_addr)},
                 [TOKEN] = {.name = "token", .fn = on_token, .size = sizeof(uint64_t)}},
};

/* Each node is told its neighbour before the token reaches it: that message is sent first. */
static int jeweller_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct ring *ring = *(struct ring *const *)args;
    troupe_addr nodes[NODES];
    (void)self;
    for (unsigned i = 0; i < NODES; i++) {
        const struct node_args node = {ring, i};
        nodes[i] = troupe_spawn(ctx, &node_behavior, &node, NULL);
    }
    for (unsigned i = 0; i < NODES; i++) {
        int status = troupe_tell(ctx, nodes[i], NEXT, &nodes[(i + 1) % NODES], sizeof nodes[0]);
        if (status < 0)
            return status;
    }
    ring->began_ns = tr_bench_clock();
    return troupe_tell(ctx, nodes[0], TOKEN, &ring->hops, sizeof ring->hops);
}

static const troupe_behavior jeweller = {
    .name = "jeweller", .args_size = sizeof(struct ring *), .started = jeweller_started};

static int run(const struct tr_bench *bench)
{
    struct ring ring = {.hops = bench->size};
    if (tr_bench_run(bench, &jeweller, &ring) != 0)
        return 1;
    if (ring.last != (ring.hops - 1) % NODES)
        return tr_bench_failed(bench, "the token ended at node %llu", (unsigned long long)ring.last);
    tr_bench_result(bench->name, (double)(ring.ended_ns - ring.began_ns) / (double)ring.hops, "ns/hop");
    return 0;
}

const struct tr_case tr_case_thread_ring = {
    .name = "thread_ring", .run = run, .serial = true, .behaviors = {&jeweller, &node_behavior}};
