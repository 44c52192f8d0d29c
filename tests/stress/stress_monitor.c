/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of monitors, links and waiting threads, with far more workers than cores: nodes that watch each other, take it
 * back, link, crash, stop and are spawned again in reused slots, by seeded dice; keepers that only watch; threads that
 * wait for nodes with time-outs. Each monitor is told exactly once, or was taken back, or went with its incarnation;
 * when all nodes have ended no keeper waits for news; the slab does not grow with the steps; a watchdog fails when it
 * hangs.
 * Arguments: [seed [rounds]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ck_pr.h>

#include "runtime/instance.h"
#include "sched/base/rng.h"

enum { WORKERS = 12, NODES = 48, KEEPERS = 8, STEPS = 600, PENDING = 24, THREADS = 3, STUCK_AFTER_S = 150 };
enum { STEP, DOWN, END, END_AGAIN };

static struct {
    uint64_t made, told, taken_back, forgotten; /* monitors */
    uint64_t stale;                             /* of those told: of an address that was stale */
    uint64_t restarts_told;
    uint64_t links, link_crashes;
    uint64_t waits_ended, waits_timed_out;
    uint64_t spawned, ended, dead_news;
} totals;

static troupe_addr nodes[NODES]; /* by atomic access of bits */
static uint64_t ending;          /* the threads shall end */
static uint64_t threads_left;
static troupe_addr root_addr;
static uint64_t chunks_half, chunks_end;

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static void fail(const char *what)
{
    fprintf(stderr, "stress_monitor: %s\n", what);
    abort();
}

static troupe_addr somebody(struct tr_rng *rng)
{
    return (troupe_addr){ck_pr_load_64(&nodes[tr_rng_below(rng, NODES)].bits)};
}

/* --- watching: what nodes and keepers share ----------------------------------------------------------------------- */

struct watched {
    troupe_monitor_ref ref;
    troupe_addr actor;
    bool restarts;
};

struct watcher {
    struct tr_rng rng;
    unsigned pending;
    struct watched watched[PENDING];
    troupe_monitor_ref link;
};

struct watcher_args {
    uint64_t seed;
};

static void forget(void *arg)
{
    const struct watcher *w = arg;
    ck_pr_add_64(&totals.forgotten, w->pending);
}

static int watcher_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct watcher *w = self;
    tr_rng_init(&w->rng, ((const struct watcher_args *)args)->seed + troupe_incarnation(ctx));
    return troupe_defer(ctx, forget, w); /* runs before the state is freed */
}

static void watch_somebody(troupe_ctx *ctx, struct watcher *w)
{
    if (w->pending == PENDING)
        return;
    struct watched *watched = &w->watched[w->pending];
    watched->actor = somebody(&w->rng);
    watched->restarts = tr_rng_below(&w->rng, 2);
    if (troupe_monitor(ctx, watched->actor, DOWN, watched->restarts ? TROUPE_MONITOR_RESTARTS : 0, &watched->ref) != 0)
        fail("out of memory");
    w->pending++;
    count(&totals.made);
}

static void take_back(troupe_ctx *ctx, struct watcher *w)
{
    if (w->pending == 0)
        return;
    unsigned i = tr_rng_below(&w->rng, w->pending);
    if (!troupe_demonitor(ctx, w->watched[i].ref))
        fail("a monitor that has not told is stale");
    if (troupe_demonitor(ctx, w->watched[i].ref))
        fail("a monitor was taken back twice");
    w->watched[i] = w->watched[--w->pending];
    count(&totals.taken_back);
}

static void on_down(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct watcher *w = self;
    const troupe_down *down = troupe_payload(msg);
    unsigned i = 0;
    while (i < w->pending &&
           (w->watched[i].ref.ref != down->monitor.ref || w->watched[i].ref.generation != down->monitor.generation))
        i++;
    if (i == w->pending)
        fail("told of what is not watched, or twice");
    if (!troupe_addr_same(w->watched[i].actor, down->actor))
        fail("told of another actor");
    if (down->restarted) {
        if (!w->watched[i].restarts || down->incarnation == 0)
            fail("told of a restart");
        count(&totals.restarts_told);
        return;
    }
    if ((down->reason == TROUPE_REASON_NO_ACTOR) != (down->incarnation == 0))
        fail("reason and incarnation");
    if (troupe_demonitor(ctx, down->monitor))
        fail("a monitor is not stale after its news");
    w->watched[i] = w->watched[--w->pending];
    count(&totals.told);
    if (down->reason == TROUPE_REASON_NO_ACTOR)
        count(&totals.stale);
}

static void watch_step(troupe_ctx *ctx, struct watcher *w)
{
    for (unsigned i = tr_rng_below(&w->rng, 6); i-- > 0;)
        watch_somebody(ctx, w);
    for (unsigned i = tr_rng_below(&w->rng, 4); i-- > 0;)
        take_back(ctx, w);
}

/* --- keepers: never crash; at the end they have been told of all -------------------------------------------------- */

static void keeper_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    watch_step(ctx, self);
}

/* All nodes have ended and told; news of addresses that were stale may still be in the mailbox: once round. */
static void keeper_end(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_tell(ctx, troupe_self(ctx), END_AGAIN, NULL, 0);
}

static void keeper_end_again(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct watcher *w = self;
    (void)msg;
    if (w->pending)
        fail("an actor has ended, and a keeper was not told");
    troupe_stop_self(ctx);
}

static const troupe_behavior keeper = {
    .name = "keeper",
    .state_size = sizeof(struct watcher),
    .args_size = sizeof(struct watcher_args),
    .started = watcher_started,
    .handlers = {[STEP] = {.name = "step", .fn = keeper_step},
                 [DOWN] = {.name = "down", .fn = on_down, .size = sizeof(troupe_down)},
                 [END] = {.name = "end", .fn = keeper_end},
                 [END_AGAIN] = {.name = "end_again", .fn = keeper_end_again}}};

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static void link_somebody(troupe_ctx *ctx, struct watcher *w)
{
    if (troupe_link(ctx, somebody(&w->rng), &w->link) != 0)
        fail("out of memory");
    count(&totals.links);
}

static void node_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct watcher *w = self;
    (void)msg;
    watch_step(ctx, w);
    if (tr_rng_below(&w->rng, 6) == 0)
        link_somebody(ctx, w);
    if (tr_rng_below(&w->rng, 12) == 0)
        troupe_demonitor(ctx, w->link);
    if (tr_rng_below(&w->rng, 30) == 0)
        troupe_stop(ctx, somebody(&w->rng));
    if (tr_rng_below(&w->rng, 30) == 0)
        troupe_stop_self(ctx);
    if (tr_rng_below(&w->rng, 30) == 0)
        troupe_panic(ctx, "by dice");
}

static void node_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned number)
{
    (void)ctx, (void)self, (void)number;
    if (crash->cause == TROUPE_CAUSE_LINK)
        count(&totals.link_crashes);
}

static const troupe_behavior node = {
    .name = "node",
    .state_size = sizeof(struct watcher),
    .args_size = sizeof(struct watcher_args),
    .started = watcher_started,
    .restarted = node_restarted,
    .supervision = {.restarts = 5, .window_ns = TROUPE_MS(1)},
    .handlers = {[STEP] = {.name = "step", .fn = node_step},
                 [DOWN] = {.name = "down", .fn = on_down, .size = sizeof(troupe_down)}}};

/* --- the root: keeps NODES nodes alive, gives each its steps, and ends when all is calm --------------------------- */

struct root {
    struct tr_rng rng;
    unsigned steps, alive, keepers;
    bool ending;
    troupe_addr keeper[KEEPERS];
};

static uint64_t chunks(troupe_ctx *ctx)
{
    struct tr_slab *slab = &troupe_ctx_runtime(ctx)->slab;
    uint64_t sum = 0;
    ck_spinlock_lock(&slab->chunks_lock);
    for (const struct tr_chunk_header *chunk = slab->chunks; chunk; chunk = chunk->next)
        sum++;
    ck_spinlock_unlock(&slab->chunks_lock);
    return sum;
}

static troupe_addr spawn_watcher(troupe_ctx *ctx, struct root *root, const troupe_behavior *behavior)
{
    struct watcher_args args = {tr_rng_next(&root->rng) >> 8};
    troupe_addr addr = troupe_spawn(ctx, behavior, &args, NULL);
    if (troupe_addr_is_nobody(addr))
        fail("out of actors");
    return addr;
}

static void spawn_node(troupe_ctx *ctx, struct root *root, unsigned index)
{
    ck_pr_store_64(&nodes[index].bits, spawn_watcher(ctx, root, &node).bits);
    root->alive++;
    count(&totals.spawned);
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    tr_rng_init(&root->rng, *(const uint64_t *)args);
    for (unsigned i = 0; i < NODES; i++)
        spawn_node(ctx, root, i);
    for (unsigned i = 0; i < KEEPERS; i++)
        root->keeper[i] = spawn_watcher(ctx, root, &keeper);
    root->keepers = KEEPERS;
    return troupe_send_every(ctx, TROUPE_US(1500), troupe_self(ctx), STEP, NULL, 0, NULL);
}

static void root_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    if (root->ending) {
        if (root->keepers == 0 && ck_pr_load_64(&threads_left) == 0)
            troupe_stop_self(ctx);
        return;
    }
    for (unsigned i = 0; i < NODES; i++)
        troupe_tell(ctx, (troupe_addr){ck_pr_load_64(&nodes[i].bits)}, STEP, NULL, 0);
    for (unsigned i = 0; i < KEEPERS; i++)
        troupe_tell(ctx, root->keeper[i], STEP, NULL, 0);
    if (++root->steps == STEPS / 2)
        chunks_half = chunks(ctx);
    if (root->steps < STEPS)
        return;
    root->ending = true;
    for (unsigned i = 0; i < NODES; i++)
        troupe_stop(ctx, (troupe_addr){ck_pr_load_64(&nodes[i].bits)});
}

static void root_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct root *root = self;
    (void)reason;
    for (unsigned i = 0; i < KEEPERS; i++)
        if (troupe_addr_same(root->keeper[i], child)) {
            root->keepers--;
            return;
        }
    count(&totals.ended);
    root->alive--;
    for (unsigned i = 0; !root->ending && i < NODES; i++)
        if (ck_pr_load_64(&nodes[i].bits) == child.bits)
            spawn_node(ctx, root, i);
    if (!root->ending || root->alive > 0)
        return;
    ck_pr_store_64(&ending, 1);
    for (unsigned i = 0; i < KEEPERS; i++)
        troupe_tell(ctx, root->keeper[i], END, NULL, 0);
}

static troupe_verdict root_child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct root *root = self;
    (void)ctx, (void)crash;
    return tr_rng_below(&root->rng, 2) ? TROUPE_VERDICT_RESTART_CHILD : TROUPE_VERDICT_IGNORE;
}

static void root_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)self, (void)reason;
    chunks_end = chunks(ctx);
}

static const troupe_behavior root_behavior = {.name = "root",
                                              .state_size = sizeof(struct root),
                                              .args_size = sizeof(uint64_t),
                                              .started = root_started,
                                              .stopped = root_stopped,
                                              .child_stopped = root_child_stopped,
                                              .child_escalated = root_child_escalated,
                                              .handlers = {[STEP] = {.name = "step", .fn = root_step}}};

/* --- threads that wait -------------------------------------------------------------------------------------------- */

static troupe_runtime *runtime;

static void *wait_for_nodes(void *arg)
{
    static const uint64_t times[] = {0, 1, TROUPE_US(20), TROUPE_US(500), TROUPE_MS(3), TROUPE_FOREVER};
    struct tr_rng rng;
    tr_rng_init(&rng, (uintptr_t)arg);
    while (!ck_pr_load_64(&ending)) {
        troupe_addr actor = somebody(&rng);
        uint64_t timeout = times[tr_rng_below(&rng, 6)];
        troupe_reason reason = TROUPE_REASON_COUNT;
        int status = troupe_runtime_wait(runtime, actor, timeout, &reason);
        if (status == 0 && (unsigned)reason < TROUPE_REASON_COUNT)
            count(&totals.waits_ended);
        else if (status == -ETIMEDOUT && reason == TROUPE_REASON_COUNT && timeout != TROUPE_FOREVER)
            count(&totals.waits_timed_out);
        else
            fail("a wait");
    }
    ck_pr_dec_64(&threads_left);
    /* Joined before the runtime is, so it may still be in here when the root has ended. */
    if (troupe_runtime_wait(runtime, root_addr, TROUPE_FOREVER, NULL) != 0)
        fail("the wait for the root");
    return NULL;
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->kind == DOWN)
        count(&totals.dead_news);
}

static int complain(const char *what, uint64_t is, uint64_t expected)
{
    fprintf(stderr, "stress_monitor: %s: %lu, expected %lu\n", what, is, expected);
    return 1;
}

static int check(void)
{
    if (totals.told + totals.taken_back + totals.forgotten != totals.made)
        return complain("monitors told, taken back or forgotten", totals.told + totals.taken_back + totals.forgotten,
                        totals.made);
    if (totals.dead_news != 0)
        return complain("news among the dead letters", totals.dead_news, 0);
    if (totals.ended != totals.spawned)
        return complain("nodes ended", totals.ended, totals.spawned);
    if (chunks_end > chunks_half + 24)
        return complain("chunks", chunks_end, chunks_half);
    if (!totals.link_crashes || !totals.restarts_told || !totals.stale || !totals.waits_timed_out ||
        !totals.waits_ended)
        return complain("things that never happened", 1, 0);
    return 0;
}

static int play(uint64_t seed, unsigned round)
{
    pthread_t threads[THREADS];
    troupe_options options = {.workers = WORKERS,
                              .log_level = TROUPE_LOG_NONE,
                              .dead_letter = dead_letter,
                              .batch = round % 3 == 2 ? 1 : 0,
                              .spin_ns = round % 2 ? 1 : 0};
    memset(&totals, 0, sizeof totals);
    memset(nodes, 0, sizeof nodes); /* addresses of the last runtime */
    ending = 0;
    threads_left = THREADS;
    alarm(STUCK_AFTER_S);
    if (troupe_runtime_start(&runtime, &root_behavior, &seed, &options, &root_addr) != 0)
        return complain("start", 1, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, wait_for_nodes, (void *)(seed * THREADS + i));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (troupe_runtime_join(runtime) != 0)
        return complain("status", 1, 0);
    printf(
        "seed %lu: %lu monitors: %lu told (%lu stale), %lu taken back, %lu forgotten; %lu restarts told; %lu links, %lu "
        "crashes by them; %lu waits ended, %lu timed out; %lu lives; %lu chunks\n",
        seed, totals.made, totals.told, totals.stale, totals.taken_back, totals.forgotten, totals.restarts_told,
        totals.links, totals.link_crashes, totals.waits_ended, totals.waits_timed_out, totals.spawned, chunks_end);
    return check();
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 3;
    printf("stress_monitor: seed %lu, %u rounds\n", seed, rounds);
    for (unsigned round = 0; round < rounds; round++, seed++)
        if (play(seed, round) != 0)
            return 1;
    return 0;
}
