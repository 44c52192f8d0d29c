/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a wide tree: a parent with 100,000 children, each with 64 bytes of state and one message handled. Prints,
 * for one and for two workers,
 *   stop_tree_w1   ms from the grandparent's troupe_stop until its child_stopped: by then all slots are free again
 *   spawn_tree_w1  ms from the parent's first spawn until the last child has handled its message, for information
 * All rounds run in one runtime, so the slots are used over and over. Exit status 1 when actors are left over.
 * Arguments: see support/bench.h; COUNT is children. */
#include <troupe/troupe.h>

#include <stdio.h>

#include "perf/support/bench.h"

enum { HELLO };       /* to a child */
enum { READY };       /* to the parent, from each child */
enum { TREE, BEGIN }; /* to the grandparent, from the parent and from itself */

#define LIMIT_MS 25.0

struct trial {
    unsigned children, rounds;
    struct tr_series *stop, *spawn;
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
    tr_series_add(grandparent->trial->spawn, (double)took_ns / 1e6);
    grandparent->stopped_ns = tr_bench_clock();
    troupe_stop(ctx, troupe_sender(msg));
}

static void grandparent_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct grandparent *grandparent = self;
    struct trial *trial = grandparent->trial;
    tr_series_add(trial->stop, (double)(tr_bench_clock() - grandparent->stopped_ns) / 1e6);
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    if (reason != TROUPE_REASON_STOPPED || stats.actors != 1) {
        fprintf(stderr, "bench_stop_tree: %s, with %llu actors still there\n", troupe_reason_name(reason),
                (unsigned long long)stats.actors - 1);
        troupe_stop_runtime(ctx, 1);
    } else if (trial->stop->count == trial->rounds) {
        troupe_stop_runtime(ctx, 0);
    } else {
        troupe_tell(ctx, troupe_self(ctx), BEGIN, NULL, 0);
    }
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

/* --- rounds --- */

/* 0; 1: the limit was missed; 2: the runtime failed. */
static int measure(const struct tr_bench_options *bench, unsigned workers)
{
    struct tr_series stop = {.name = workers == 1 ? "stop_tree_w1" : "stop_tree_w2", .unit = "ms", .limit = LIMIT_MS};
    struct tr_series spawn = {.name = workers == 1 ? "spawn_tree_w1" : "spawn_tree_w2", .unit = "ms"};
    struct trial trial = {(unsigned)bench->count, bench->rounds, &stop, &spawn}, *args = &trial;
    const troupe_options options = {.workers = workers, .log_level = TROUPE_LOG_NONE};
    if (troupe_run(&grandparent_behavior, &args, &options) != 0 || stop.count != bench->rounds)
        return 2;
    tr_series_print(&spawn);
    return tr_series_print(&stop) ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct tr_bench_options options =
        tr_bench_parse(argc, argv, (struct tr_bench_options){.rounds = 7, .count = 100000});
    int one = measure(&options, 1), two = measure(&options, 2);
    if (one == 2 || two == 2)
        return 1;
    return tr_bench_status(&options, one == 0 && two == 0);
}
