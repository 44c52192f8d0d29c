/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of names, with far more workers than cores: nodes that register, join, subscribe, take it back, crash, stop
 * and are killed, by seeded dice, and are spawned again in reused slots; threads and nodes that look up, publish, tell
 * groups and route meanwhile. A name is one actor's at a time; whoever is found was alive; a member is told once per
 * telling; each message that a verb says it sent is handled or becomes a dead letter; when all nodes have ended no name
 * is left (tr_names_fini asserts that) and the member lists have not grown with the steps.
 * Arguments: [seed [steps]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ck_pr.h>

#include "runtime/instance.h"
#include "runtime/members.h"
#include "sched/base/rng.h"
#include "tests/support/sanitizer.h"

enum { WORKERS = 12, NODES = 32, NAMES = 12, GROUPS = 3, THREADS = 3, STUCK_AFTER_S = 200 };
enum { STEP, NOTE, HERE, DOWN, DONE };
enum { STEPS_DEFAULT = SANITIZED ? 400 : 4000 };

static struct {
    uint64_t sent, handled, dead; /* NOTE messages */
    uint64_t registered, refused, found, missed, awaited, ended, thread_rounds;
    uint64_t none; /* routed to nobody: a dead letter that was never sent */
} totals;

static uint64_t holders[NAMES]; /* how many hold that name, by their own account: 0 or 1 */
static uint64_t ending;
static unsigned steps = STEPS_DEFAULT;
static uint64_t seed = 1;

static const char *const names[NAMES] = {"a",         "b", "c", "ab", "12345678",
                                         "123456789", "x", "y", "zz", "the quick brown fox jumps over the lazy dog",
                                         "k",         "l"};
static const char *const groups[GROUPS] = {"red", "green", "blue"};

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static void fail(const char *what)
{
    fprintf(stderr, "stress_names: seed %llu: %s\n", (unsigned long long)seed, what);
    abort();
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

struct node {
    struct tr_rng rng;
    bool holds[NAMES];
    unsigned steps;
    troupe_router router;
};

struct node_args {
    uint64_t seed;
};

/* Before the incarnation's end is over, and so before the name is free: this node is temporary. */
static void let_go(void *arg)
{
    struct node *node = arg;
    for (unsigned i = 0; i < NAMES; i++)
        if (node->holds[i])
            ck_pr_dec_64(&holders[i]);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    tr_rng_init(&node->rng, ((const struct node_args *)args)->seed);
    node->router =
        troupe_router_over_group((troupe_route)tr_rng_below(&node->rng, 4), groups[tr_rng_below(&node->rng, GROUPS)]);
    troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0);
    return troupe_defer(ctx, let_go, node);
}

static void take_or_leave_name(troupe_ctx *ctx, struct node *node)
{
    unsigned i = tr_rng_below(&node->rng, NAMES);
    if (node->holds[i]) {
        ck_pr_dec_64(&holders[i]);
        node->holds[i] = false;
        if (troupe_unregister(ctx, names[i], troupe_self(ctx)) != 0)
            fail("its own name was not there");
        return;
    }
    int status = troupe_register(ctx, names[i], troupe_self(ctx));
    if (status == -EEXIST) {
        count(&totals.refused);
        return;
    }
    if (status != 0)
        fail("register");
    if (ck_pr_faa_64(&holders[i], 1) != 0)
        fail("two have one name");
    node->holds[i] = true;
    count(&totals.registered);
    if (!troupe_addr_same(troupe_lookup(ctx, names[i]), troupe_self(ctx)))
        fail("it does not find itself");
}

static void sent(const troupe_fanout *out)
{
    ck_pr_add_64(&totals.sent, out->told);
}

static void join_or_leave(troupe_ctx *ctx, struct node *node)
{
    const char *group = groups[tr_rng_below(&node->rng, GROUPS)];
    troupe_addr me = troupe_self(ctx);
    if (tr_rng_below(&node->rng, 2)) {
        if (troupe_group_join(ctx, group, me) != 0 || troupe_subscribe(ctx, group, me, NOTE) != 0)
            fail("join");
    } else if (tr_rng_below(&node->rng, 2)) {
        int left = troupe_group_leave(ctx, group, me);
        if (left != 0 && left != -ENOENT)
            fail("leave");
        troupe_unsubscribe(ctx, group, me);
    }
}

static void say_something(troupe_ctx *ctx, struct node *node)
{
    troupe_fanout out;
    unsigned dice = tr_rng_below(&node->rng, 4);
    if (dice == 0) {
        troupe_group_tell(ctx, groups[tr_rng_below(&node->rng, GROUPS)], NOTE, NULL, 0, &out);
        sent(&out);
    } else if (dice == 1) {
        troupe_publish(ctx, groups[tr_rng_below(&node->rng, GROUPS)], NULL, 0, &out);
        sent(&out);
    } else {
        int status = dice == 2 ? troupe_router_tell(ctx, &node->router, tr_rng_next(&node->rng), NOTE, NULL, 0)
                               : troupe_tell_name(ctx, names[tr_rng_below(&node->rng, NAMES)], NOTE, NULL, 0);
        count(status == 0 ? &totals.sent : &totals.none);
        if (status != 0 && status != -ESRCH)
            fail("route");
    }
}

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    for (unsigned i = 0; i < 4; i++) {
        take_or_leave_name(ctx, node);
        join_or_leave(ctx, node);
        say_something(ctx, node);
    }
    if (tr_rng_below(&node->rng, 8) == 0 && troupe_await_name(ctx, names[tr_rng_below(&node->rng, NAMES)], HERE) != 0)
        fail("await");
    unsigned dice = tr_rng_below(&node->rng, 30);
    if (dice == 0)
        troupe_panic(ctx, "by the dice");
    else if (dice == 1)
        troupe_stop_self(ctx);
    else if (dice == 2)
        troupe_kill(ctx, troupe_self(ctx));
    troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0);
}

static void on_note(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
    count(&totals.handled);
}

static void on_here(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const troupe_registered *registered = troupe_payload(msg);
    (void)ctx, (void)self;
    if (!troupe_addr_same(registered->actor, troupe_sender(msg)) || !registered->name[0])
        fail("what is said of an awaited name");
    count(&totals.awaited);
}

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(struct node_args),
    .started = node_started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers = {[STEP] = {.name = "step", .fn = on_step},
                 [NOTE] = {.name = "note", .fn = on_note},
                 [HERE] = {.name = "here", .fn = on_here, .size = sizeof(troupe_registered)}},
};

/* --- the root: a new node for each that ends ---------------------------------------------------------------------- */

/* Member lists of all groups and topics, those in use and those to be used again. */
static unsigned lists(troupe_ctx *ctx)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < TR_SHARDS; i++) {
        struct tr_shard *shard = &troupe_ctx_runtime(ctx)->names.shards[i];
        tr_lock_take(&shard->lock);
        for (const struct tr_members *list = shard->all; list; list = list->all)
            sum++;
        tr_lock_release(&shard->lock);
    }
    return sum;
}

static void spawn_node(troupe_ctx *ctx)
{
    static uint64_t spawned;
    struct node_args args = {seed * 1000003 + spawned++};
    if (troupe_addr_is_nobody(troupe_spawn(ctx, &node_behavior, &args, NULL)))
        fail("spawn");
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    for (unsigned i = 0; i < NODES; i++)
        spawn_node(ctx);
    return 0;
}

static void node_ended(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)self, (void)reason;
    for (unsigned i = 0; i < NAMES; i++)
        if (troupe_addr_same(troupe_lookup(ctx, names[i]), child))
            fail("a dead actor was found");
    uint64_t ended = ck_pr_faa_64(&totals.ended, 1) + 1;
    if (ended < steps) {
        spawn_node(ctx);
    } else if (ended == steps) {
        if (lists(ctx) > (2 * GROUPS + NAMES) * 8) /* a few sizes for each name */
            fail("memory grows with the steps");
        ck_pr_store_64(&ending, 1);
        troupe_stop_runtime(ctx, 0);
    }
}

static const troupe_behavior root_behavior = {
    .name = "root", .started = root_started, .child_stopped = node_ended, .handlers = {{0}}};

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void *outsider(void *arg)
{
    troupe_runtime *rt = arg;
    struct tr_rng rng;
    troupe_fanout out;
    troupe_addr members[NODES];
    tr_rng_init(&rng, seed + 77);
    troupe_router router = troupe_router_over_group(TROUPE_ROUTE_RANDOM, groups[0]);
    while (!ck_pr_load_64(&ending)) {
        troupe_addr found = troupe_runtime_lookup(rt, names[tr_rng_below(&rng, NAMES)]);
        count(troupe_addr_is_nobody(found) ? &totals.missed : &totals.found);
        if (!troupe_addr_is_nobody(found)) /* it may be bound by others, and be gone before it is */
            troupe_runtime_group_join(rt, groups[tr_rng_below(&rng, GROUPS)], found);
        size_t there = troupe_runtime_group_members(rt, groups[1], members, NODES);
        for (size_t i = 0; i < there && i < NODES; i++)
            for (size_t j = 0; j < i; j++)
                if (troupe_addr_same(members[i], members[j]))
                    fail("listed twice");
        troupe_runtime_publish(rt, groups[tr_rng_below(&rng, GROUPS)], NULL, 0, &out);
        sent(&out);
        count(troupe_runtime_router_tell(rt, &router, 0, NOTE, NULL, 0) == 0 ? &totals.sent : &totals.none);
        count(&totals.thread_rounds);
        usleep(100);
    }
    return NULL;
}

static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->kind == NOTE)
        count(&totals.dead);
}

static void quiet(void *arg, const troupe_log_record *record)
{
    (void)arg, (void)record;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        steps = (unsigned)strtoul(argv[2], NULL, 10);
    alarm(STUCK_AFTER_S);
    troupe_options options = {
        .workers = WORKERS, .log = quiet, .dead_letter = dead_letter, .backtraces = TROUPE_NO_BACKTRACES};
    troupe_runtime *rt;
    pthread_t threads[THREADS];
    if (troupe_runtime_start(&rt, &root_behavior, NULL, &options, NULL) != 0)
        fail("start");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, outsider, rt);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (troupe_runtime_join(rt) != 0)
        fail("join");
    printf(
        "seed %llu: %llu nodes ended, %llu registered, %llu refused, %llu found, %llu awaited, %llu sent, %llu dead, "
        "%llu rounds outside\n",
        (unsigned long long)seed, (unsigned long long)totals.ended, (unsigned long long)totals.registered,
        (unsigned long long)totals.refused, (unsigned long long)totals.found, (unsigned long long)totals.awaited,
        (unsigned long long)totals.sent, (unsigned long long)totals.dead, (unsigned long long)totals.thread_rounds);
    if (totals.sent + totals.none != totals.handled + totals.dead)
        fail("messages were lost, or handled twice");
    if (totals.awaited == 0 || totals.refused == 0 || totals.found == 0)
        fail("it did not do what it is for");
    return 0;
}
