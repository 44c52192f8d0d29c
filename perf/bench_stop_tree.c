/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a wide tree: a parent with very many children, each with 64 bytes of state and one message handled.
 *   stop_tree   from the grandparent's troupe_stop until its child_stopped: by then all slots are free again
 *   spawn_tree  from the parent's first spawn until it has heard of the last child that it handled its message
 * The tree is made and stopped a few times in one runtime, so the slots are used over and over; the medians count. */
#include "perf/support/bench.h"

enum { HELLO };       /* to a child */
enum { READY };       /* to the parent, from each child */
enum { TREE, BEGIN }; /* to the grandparent, from the parent and from itself */

#define LIMIT_MS 25.0
#define TREES 3u

struct trial {
    unsigned children, trees;
    uint32_t stop_us[TREES], spawn_us[TREES];
    uint64_t left_over;
};

/* --- a child --- */

struct child {
    unsigned char state[64];
};

static void on_hello(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct child *child = self;
    (void)msg;
    child->state[0]++;
    troupe_tell(ctx, troupe_parent(ctx), READY, NULL, 0);
}

static const troupe_behavior child_behavior = {
    .name = "child",
    .state_size = sizeof(struct child),
    .handlers = {[HELLO] = {.name = "hello", .fn = on_hello}},
};

/* --- the parent --- */

struct parent {
    unsigned missing;
    uint64_t began_ns;
};

static int parent_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct parent *parent = self;
    parent->missing = *(const unsigned *)args;
    parent->began_ns = tr_bench_clock();
    for (unsigned i = 0; i < *(const unsigned *)args; i++) {
        troupe_addr child = troupe_spawn(ctx, &child_behavior, NULL, NULL);
        int status = troupe_tell(ctx, child, HELLO, NULL, 0);
        if (status < 0)
            return status;
    }
    return 0;
}

static void on_ready(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct parent *parent = self;
    (void)msg;
    if (--parent->missing > 0)
        return;
    uint64_t took_ns = tr_bench_clock() - parent->began_ns;
    troupe_tell(ctx, troupe_parent(ctx), TREE, &took_ns, sizeof took_ns);
}

static const troupe_behavior parent_behavior = {
    .name = "parent",
    .state_size = sizeof(struct parent),
    .args_size = sizeof(unsigned),
    .started = parent_started,
    .supervision = {.shutdown_ns = TROUPE_FOREVER},
    .handlers = {[READY] = {.name = "ready", .fn = on_ready}},
};

/* --- the grandparent --- */

struct grandparent {
    struct trial *trial;
    uint64_t stopped_ns;
};

static int grandparent_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct grandparent *grandparent = self;
    grandparent->trial = *(struct trial *const *)args;
    return troupe_tell(ctx, troupe_self(ctx), BEGIN, NULL, 0);
}

static void on_begin(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct grandparent *grandparent = self;
    (void)msg;
    troupe_addr parent = troupe_spawn(ctx, &parent_behavior, &grandparent->trial->children, NULL);
    TROUPE_CHECK(ctx, !troupe_addr_is_nobody(parent));
}

static void on_tree(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct grandparent *grandparent = self;
    uint64_t took_ns = *(const uint64_t *)troupe_payload(msg);
    grandparent->trial->spawn_us[grandparent->trial->trees] = (uint32_t)(took_ns / 1000);
    grandparent->stopped_ns = tr_bench_clock();
    troupe_stop(ctx, troupe_sender(msg));
}

static void grandparent_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct grandparent *grandparent = self;
    struct trial *trial = grandparent->trial;
    trial->stop_us[trial->trees++] = (uint32_t)((tr_bench_clock() - grandparent->stopped_ns) / 1000);
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    trial->left_over += stats.actors - 1;
    if (reason != TROUPE_REASON_STOPPED)
        troupe_stop_runtime(ctx, 1);
    else if (trial->trees == TREES)
        troupe_stop_runtime(ctx, 0);
    else
        troupe_tell(ctx, troupe_self(ctx), BEGIN, NULL, 0);
    (void)child;
}

static const troupe_behavior grandparent_behavior = {
    .name = "grandparent",
    .state_size = sizeof(struct grandparent),
    .args_size = sizeof(struct trial *),
    .started = grandparent_started,
    .child_stopped = grandparent_child_stopped,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[TREE] = {.name = "tree", .fn = on_tree, .size = sizeof(uint64_t)},
                 [BEGIN] = {.name = "begin", .fn = on_begin}},
};

static int run(const struct tr_bench *bench)
{
    struct trial trial = {.children = (unsigned)bench->size};
    if (tr_bench_run(bench, &grandparent_behavior, &trial) != 0)
        return 1;
    if (trial.left_over > 0)
        return tr_bench_failed(bench, "%llu actors were still there", (unsigned long long)trial.left_over);
    tr_bench_result(bench->name, tr_bench_quantile(trial.stop_us, TREES, 0.5) / 1e3, "ms");
    tr_bench_result("spawn_tree", tr_bench_quantile(trial.spawn_us, TREES, 0.5) / 1e3, "ms");
    return 0;
}

const struct tr_case tr_case_stop_tree = {.name = "stop_tree",
                                          .run = run,
                                          .limit = LIMIT_MS,
                                          .behaviors = {&grandparent_behavior, &parent_behavior, &child_behavior}};
