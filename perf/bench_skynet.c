/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of actors, each with ten children, down to a given number of leaves. Each leaf tells its parent its number,
 * each node its parent the sum, and ends; the clock runs until the root has the sum of all. */
#include "perf/support/bench.h"

enum { SUM };

#define CHILDREN 10u

struct tree {
    uint64_t leaves;
    uint64_t began_ns, ended_ns, sum;
};

/* A part of the tree: its leaves and the number of the first. */
struct part {
    uint64_t first, leaves;
    struct tree *tree; /* of the root only */
};

struct node {
    uint64_t sum;
    unsigned missing;
    struct tree *tree;
};

static int node_started(troupe_ctx *ctx, void *self, const void *args);
static void on_sum(troupe_ctx *ctx, void *self, const troupe_msg *msg);

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(struct part),
    .started = node_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[SUM] = {.name = "sum", .fn = on_sum, .size = sizeof(uint64_t)}},
};

static void report(troupe_ctx *ctx, const struct node *node)
{
    if (node->tree) {
        node->tree->ended_ns = tr_bench_clock();
        node->tree->sum = node->sum;
        troupe_stop_runtime(ctx, 0);
    } else {
        troupe_tell(ctx, troupe_parent(ctx), SUM, &node->sum, sizeof node->sum);
        troupe_stop_self(ctx);
    }
}

/* Shares the leaves among ten children, as evenly as they divide. */
static void grow(troupe_ctx *ctx, struct node *node, const struct part *part)
{
    uint64_t first = part->first;
    for (unsigned i = 0; i < CHILDREN; i++) {
        const struct part child = {first, part->leaves / CHILDREN + (i < part->leaves % CHILDREN), NULL};
        if (child.leaves == 0)
            break;
        TROUPE_CHECK(ctx, !troupe_addr_is_nobody(troupe_spawn(ctx, &node_behavior, &child, NULL)));
        first += child.leaves;
        node->missing++;
    }
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    const struct part *part = args;
    struct node *node = self;
    node->tree = part->tree;
    if (node->tree)
        node->tree->began_ns = tr_bench_clock();
    if (part->leaves > 1) {
        grow(ctx, node, part);
    } else {
        node->sum = part->first;
        report(ctx, node);
    }
    return 0;
}

static void on_sum(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    node->sum += tr_bench_number(msg);
    if (--node->missing == 0)
        report(ctx, node);
}

static int run(const struct tr_bench *bench)
{
    struct tree tree = {.leaves = bench->size};
    const struct part whole = {.leaves = bench->size, .tree = &tree};
    troupe_options options = tr_bench_options(bench);
    options.actors_max = (unsigned)(2 * bench->size + 1024); /* more than the tree has nodes */
    int status = troupe_run(&node_behavior, &whole, &options);
    if (status != 0)
        return tr_bench_failed(bench, "the runtime ended with status %d: %s", status, troupe_strerror(status));
    if (tree.sum != tree.leaves * (tree.leaves - 1) / 2)
        return tr_bench_failed(bench, "the sum is %llu", (unsigned long long)tree.sum);
    tr_bench_result(bench->name, (double)(tree.ended_ns - tree.began_ns) / 1e6, "ms");
    return 0;
}

const struct tr_case tr_case_skynet = {.name = "skynet", .run = run, .behaviors = {&node_behavior}};
