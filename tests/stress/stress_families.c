/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of families with far more workers than cores: seeded random trees whose supervisors have every strategy,
 * window and auto_shutdown, and whose members have every policy, back-off and shutdown time, crash, stop, kill and
 * suspend each other, spawn, run long, panic in their callbacks and give any verdict. At the end all must have ended,
 * in time; each message must have been handled or be a dead letter, exactly once; and on the way declared children may
 * start only in their order. A child writes into its parent's state, so that a child that outlives its parent's
 * incarnation is a use after free.
 * Arguments: [seed [rounds]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"

enum { WORKERS = 10, STEPS = 12000, POPULATION = 800, ADDRESSES = 256, STUCK_AFTER_S = 100, TOPS = 6 };
enum { STEP, NOTE, POISON, TICK };
enum { STRATEGIES = 3, VARIANTS = STRATEGIES * 3 * 2, LEVELS = 3, SUPERVISIONS = 24, LIST = 4 };

static struct {
    uint64_t sent;            /* tells */
    uint64_t steps;           /* handled so far */
    uint64_t ticks;           /* of the root: handled, and sent by no tell */
    uint64_t dead;            /* dead letters shown */
    uint64_t begun, released; /* incarnations whose `started` began, and whose deferred call was made */
    uint64_t out_of_order;
    uint64_t told, replaced, asked; /* callbacks, to show that they happen */
    uint64_t seed;
} totals;

static uint64_t addresses[ADDRESSES];
static uint64_t salt; /* makes each generator another one */

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "seed %lu: %s\n", totals.seed, what);
    _exit(1);
}

/* --- who is what -------------------------------------------------------------------------------------------------- */

/* What a declared child does to its parent's state: which places are up, and which were at any time. */
struct board {
    uint64_t up, ever;
    bool all; /* a restart is everybody's, from there on */
};

struct node_args {
    struct board *board; /* NULL for a dynamic one */
    unsigned place;
};

struct node {
    struct board board; /* its own children's */
    struct tr_rng rng;
    const struct node_args *args;
};

static troupe_supervision supervisions[SUPERVISIONS];
static troupe_behavior behaviors[LEVELS][VARIANTS];
static troupe_child lists[LEVELS][VARIANTS][LIST + 1];

static unsigned below(struct tr_rng *rng, unsigned limit)
{
    return (unsigned)tr_rng_below(rng, limit);
}

static troupe_addr somebody(struct tr_rng *rng)
{
    return (troupe_addr){ck_pr_load_64(&addresses[below(rng, ADDRESSES)])};
}

static void enroll(troupe_ctx *ctx, struct tr_rng *rng)
{
    ck_pr_store_64(&addresses[below(rng, ADDRESSES)], troupe_self(ctx).bits);
}

static uint64_t population(void)
{
    return ck_pr_load_64(&totals.begun) - ck_pr_load_64(&totals.released);
}

/* --- a node's life ------------------------------------------------------------------------------------------------ */

static void maybe_panic(troupe_ctx *ctx, struct tr_rng *rng, unsigned one_in)
{
    if (below(rng, one_in) == 0)
        troupe_panic(ctx, "at random");
}

/* However the incarnation ends. */
static void release(void *arg)
{
    struct node *node = arg;
    const struct node_args *args = node->args;
    if (args->board)
        ck_pr_and_64(&args->board->up, ~(UINT64_C(1) << args->place));
    count(&totals.released);
}

/* The first start of a declared child comes before that of any behind it; with a strategy for groups a restart finds
 * those behind it down. A replacement has the place of another one that had started. */
static void take_place(troupe_ctx *ctx, const struct node_args *args)
{
    struct board *board = args->board;
    uint64_t bit = UINT64_C(1) << args->place, behind = ~(bit | (bit - 1));
    uint64_t ever = ck_pr_load_64(&board->ever), up = ck_pr_load_64(&board->up);
    bool together = args->place >= 1 && args->place <= 2; /* see make_lists */
    if (together)
        behind &= ~UINT64_C(6);
    if (troupe_incarnation(ctx) == 1 && !(ever & bit) && ever & behind)
        count(&totals.out_of_order);
    if (troupe_incarnation(ctx) > 1 && board->all && up & behind && !together)
        count(&totals.out_of_order);
    ck_pr_or_64(&board->ever, bit);
    ck_pr_or_64(&board->up, bit);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    tr_rng_init(&node->rng, totals.seed * 1000003 + ck_pr_faa_64(&salt, 1));
    node->args = args;
    if (troupe_defer(ctx, release, node) != 0)
        fail("no memory for a deferred call");
    count(&totals.begun);
    if (node->args->board)
        take_place(ctx, node->args);
    enroll(ctx, &node->rng);
    maybe_panic(ctx, &node->rng, 60);
    if (below(&node->rng, 100) == 0)
        troupe_stop_self(ctx);
    return below(&node->rng, 60) == 0 ? -EIO : 0;
}

static void node_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned restarts)
{
    (void)self;
    if (restarts == 0 || crash->incarnation + 1 != troupe_incarnation(ctx))
        fail("a restart that has the number of another one");
}

static void node_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)crash;
    maybe_panic(ctx, &((struct node *)self)->rng, 30);
}

static void node_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)reason;
    maybe_panic(ctx, &((struct node *)self)->rng, 30);
}

static void node_told(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)child, (void)reason;
    struct node *node = self;
    count(&totals.told);
    maybe_panic(ctx, &node->rng, 40);
    if (below(&node->rng, 40) == 0)
        troupe_stop_self(ctx);
}

static troupe_verdict node_asked(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct node *node = self;
    count(&totals.asked);
    if (!troupe_addr_same(crash->parent, troupe_self(ctx)))
        fail("asked about somebody else's child");
    maybe_panic(ctx, &node->rng, 30);
    if (below(&node->rng, 3) == 0)
        troupe_kill(ctx, crash->actor); /* it may end before the verdict, or after */
    return (troupe_verdict)below(&node->rng, 5);
}

static void node_replaced(troupe_ctx *ctx, void *self, troupe_addr old, troupe_addr fresh)
{
    count(&totals.replaced);
    if (troupe_addr_same(old, fresh) || troupe_addr_is_nobody(fresh))
        fail("replaced by itself or nobody");
    maybe_panic(ctx, &((struct node *)self)->rng, 30);
}

/* --- what it does ------------------------------------------------------------------------------------------------- */

static void tell(troupe_ctx *ctx, troupe_addr to, unsigned kind)
{
    if (troupe_addr_is_nobody(to))
        return;
    count(&totals.sent);
    if (troupe_tell(ctx, to, kind, NULL, 0) == -ENOMEM)
        fail("no memory for a message");
}

static void spawn(troupe_ctx *ctx, struct tr_rng *rng, unsigned level)
{
    struct node_args args = {.board = NULL};
    troupe_spawn_options options = {.supervision = &supervisions[below(rng, SUPERVISIONS)]};
    if (population() < POPULATION)
        troupe_spawn(ctx, &behaviors[level][below(rng, VARIANTS)], &args, &options);
}

static void spin(struct tr_rng *rng)
{
    for (unsigned i = 0, until = below(rng, 200000); i < until; i++)
        ck_pr_stall();
}

static void order(troupe_ctx *ctx, struct tr_rng *rng)
{
    troupe_addr who = somebody(rng);
    switch (below(rng, 8)) {
    case 0:
    case 1:
        troupe_stop(ctx, who);
        break;
    case 2:
        troupe_kill(ctx, who);
        break;
    case 3:
        troupe_stop_within(ctx, who, TROUPE_US(below(rng, 2000)));
        break;
    case 4:
        troupe_suspend(ctx, who);
        break;
    default:
        troupe_resume(ctx, who);
    }
}

static void act(troupe_ctx *ctx, struct node *node)
{
    struct tr_rng *rng = &node->rng;
    unsigned dice = below(rng, 100);
    if (dice < 45)
        tell(ctx, somebody(rng), NOTE);
    else if (dice < 50)
        tell(ctx, somebody(rng), POISON);
    else if (dice < 62)
        troupe_panic(ctx, "at random");
    else if (dice < 66)
        troupe_stop_self(ctx);
    else if (dice < 80)
        order(ctx, rng);
    else if (dice < 94)
        spawn(ctx, rng, below(rng, 3) ? 0 : 1);
    else
        spin(rng);
}

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    struct node *node = self;
    enroll(ctx, &node->rng);
    if (ck_pr_faa_64(&totals.steps, 1) < STEPS) {
        troupe_addr child = troupe_child_at(ctx, below(&node->rng, 5));
        tell(ctx, troupe_addr_is_nobody(child) ? somebody(&node->rng) : child, STEP);
    }
    act(ctx, node);
}

static void on_note(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    maybe_panic(ctx, &((struct node *)self)->rng, 20);
}

/* Retried, and perhaps put into quarantine. */
static void on_poison(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    maybe_panic(ctx, &((struct node *)self)->rng, 2);
}

/* --- the tables --------------------------------------------------------------------------------------------------- */

static void make_child(troupe_ctx *ctx, void *self, unsigned number, void *args, unsigned first)
{
    struct node *node = self;
    struct node_args *made = args;
    maybe_panic(ctx, &node->rng, 100);
    if (below(&node->rng, 150) == 0)
        troupe_stop_self(ctx);
    *made = (struct node_args){&node->board, first + number};
}

static void make_first(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    make_child(ctx, self, number, args, 0);
}

static void make_together(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    make_child(ctx, self, number, args, 1);
}

static void make_last(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    make_child(ctx, self, number, args, 3);
}

static unsigned two(troupe_ctx *ctx, void *self)
{
    maybe_panic(ctx, &((struct node *)self)->rng, 100);
    return 2;
}

static void make_supervisions(struct tr_rng *rng)
{
    static const unsigned restarts[] = {0, 1, TROUPE_RESTARTS_NONE, TROUPE_RESTARTS_MAX, 5};
    static const uint64_t shutdowns[] = {0, TROUPE_SHUTDOWN_KILL, TROUPE_US(300), TROUPE_MS(2), TROUPE_FOREVER};
    for (unsigned i = 0; i < SUPERVISIONS; i++) {
        troupe_supervision *s = &supervisions[i];
        s->restart = (troupe_restart)(i % 3);
        s->restarts = restarts[below(rng, 5)];
        s->window_ns = below(rng, 2) ? TROUPE_MS(1) : TROUPE_MS(200);
        s->shutdown_ns = shutdowns[below(rng, 5)];
        s->significant = s->restart != TROUPE_RESTART_PERMANENT && below(rng, 3) == 0;
        if (below(rng, 3) == 0)
            s->backoff = (troupe_backoff){.initial_ns = TROUPE_US(100), .max_ns = TROUPE_MS(2)};
    }
}

/* Places: 0; 1 and 2 together; 3 and, as the parent says, 4. */
static void make_lists(struct tr_rng *rng)
{
    for (unsigned level = 1; level < LEVELS; level++)
        for (unsigned v = 0; v < VARIANTS; v++) {
            troupe_child *list = lists[level][v];
            list[0] = (troupe_child){.make_args = make_first};
            list[1] = (troupe_child){.make_args = make_together, .count = 2, .together = true};
            list[2] = (troupe_child){.make_args = make_last, .make_count = two};
            for (unsigned i = 0; i < 3; i++) {
                list[i].behavior = &behaviors[level - 1][below(rng, VARIANTS)];
                list[i].supervision = &supervisions[below(rng, SUPERVISIONS)];
            }
        }
}

static int group_started(troupe_ctx *ctx, void *self, const void *args)
{
    ((struct node *)self)->board.all = true;
    return node_started(ctx, self, args);
}

static void make_behaviors(void)
{
    static const char *const names[LEVELS] = {"leaf", "middle", "top"};
    for (unsigned level = 0; level < LEVELS; level++)
        for (unsigned v = 0; v < VARIANTS; v++) {
            troupe_behavior *b = &behaviors[level][v];
            *b = (troupe_behavior){.name = names[level],
                                   .state_size = sizeof(struct node),
                                   .args_size = sizeof(struct node_args),
                                   .started = v % STRATEGIES == 0 ? node_started : group_started,
                                   .restarted = node_restarted,
                                   .crashed = node_crashed,
                                   .stopped = node_stopped,
                                   .child_stopped = node_told,
                                   .child_escalated = node_asked,
                                   .child_replaced = node_replaced};
            b->handlers[STEP] = (troupe_handler){.name = "step", .fn = on_step};
            b->handlers[NOTE] = (troupe_handler){.name = "note", .fn = on_note};
            b->handlers[POISON] = (troupe_handler){.name = "poison", .fn = on_poison, .retries = 2};
            b->children.strategy = (troupe_strategy)(v % STRATEGIES);
            b->children.auto_shutdown = (troupe_auto_shutdown)(v / STRATEGIES % 3);
            b->children.restarts = v / (STRATEGIES * 3) ? 4 : 0;
            b->children.window_ns = TROUPE_MS(20);
            b->children.declared = level ? lists[level][v] : NULL;
        }
}

/* --- the root ----------------------------------------------------------------------------------------------------- */

struct root {
    struct tr_rng rng;
    troupe_addr tops[TOPS]; /* nobody: it has ended */
};

static void spawn_tops(troupe_ctx *ctx, struct root *root)
{
    struct node_args args = {.board = NULL};
    for (unsigned i = 0; i < TOPS; i++) {
        troupe_spawn_options options = {.supervision = &supervisions[below(&root->rng, SUPERVISIONS)]};
        if (troupe_addr_is_nobody(root->tops[i]))
            root->tops[i] = troupe_spawn(ctx, &behaviors[2][below(&root->rng, VARIANTS)], &args, &options);
    }
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)args;
    struct root *root = self;
    tr_rng_init(&root->rng, totals.seed);
    return troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), TICK, NULL, 0, NULL);
}

/* One of the tops is somebody else now. */
static void root_replaced(troupe_ctx *ctx, void *self, troupe_addr old, troupe_addr fresh)
{
    (void)ctx;
    struct root *root = self;
    for (unsigned i = 0; i < TOPS; i++)
        if (troupe_addr_same(root->tops[i], old)) {
            root->tops[i] = fresh;
            return;
        }
    fail("an unknown child of the root has ended");
}

static void root_told(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)reason;
    root_replaced(ctx, self, child, (troupe_addr){0});
}

static troupe_verdict root_asked(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)crash;
    static const troupe_verdict verdicts[] = {TROUPE_VERDICT_RESTART_CHILD, TROUPE_VERDICT_REPLACE_CHILD,
                                              TROUPE_VERDICT_IGNORE};
    return verdicts[below(&((struct root *)self)->rng, 3)];
}

/* Keeps the trees growing and the steps going, whatever ended; and wakes those who were suspended. */
static void on_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    struct root *root = self;
    count(&totals.ticks);
    if (ck_pr_load_64(&totals.steps) >= STEPS) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    spawn_tops(ctx, root);
    for (unsigned i = 0; i < TOPS; i++) {
        tell(ctx, root->tops[i], STEP);
        troupe_resume(ctx, root->tops[i]);
        tell(ctx, somebody(&root->rng), STEP);
        troupe_resume(ctx, somebody(&root->rng));
    }
}

static const troupe_behavior root_behavior = {.name = "root",
                                              .state_size = sizeof(struct root),
                                              .started = root_started,
                                              .child_stopped = root_told,
                                              .child_escalated = root_asked,
                                              .child_replaced = root_replaced,
                                              .handlers = {[TICK] = {.name = "tick", .fn = on_tick}}};

/* --- a round ------------------------------------------------------------------------------------------------------ */

static void note_dead(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->kind != TICK)
        count(&totals.dead);
}

static void no_log(void *arg, const troupe_log_record *record)
{
    (void)arg, (void)record;
}

/* Who is left, and what holds it. */
static _Noreturn void fail_with_report(troupe_runtime *rt, const char *what)
{
    static char report[1 << 14];
    troupe_runtime_survivors(rt, report, sizeof report);
    fprintf(stderr, "%lu steps, %lu ticks\n%s\n", ck_pr_load_64(&totals.steps), ck_pr_load_64(&totals.ticks), report);
    fail(what);
}

static void check(const troupe_stats *stats)
{
    uint64_t handled = stats->messages_handled - totals.ticks;
    if (totals.sent != handled + totals.dead)
        fprintf(stderr, "%lu sent, %lu handled, %lu dead\n", totals.sent, handled, totals.dead);
    if (totals.sent != handled + totals.dead)
        fail("messages were lost, or counted twice");
    if (stats->actors != 0 || stats->spawns != stats->stops)
        fail("actors are left");
    if (totals.begun != totals.released)
        fail("incarnations were not released");
    if (totals.out_of_order)
        fail("children started out of order");
}

static void run_round(uint64_t seed)
{
    struct tr_rng rng;
    troupe_runtime *rt;
    troupe_stats stats;
    memset(&totals, 0, sizeof totals);
    memset(addresses, 0, sizeof addresses);
    totals.seed = seed;
    salt = 0;
    tr_rng_init(&rng, seed);
    make_supervisions(&rng);
    make_lists(&rng);
    make_behaviors();
    troupe_options options = {
        .workers = WORKERS, .actors_max = 4 * POPULATION, .log = no_log, .dead_letter = note_dead, .backtraces = 1};
    if (troupe_runtime_start(&rt, &root_behavior, NULL, &options, NULL) != 0)
        fail("cannot start");
    for (unsigned ms = 0; ck_pr_load_64(&totals.steps) < STEPS; ms++) {
        if (ms > STUCK_AFTER_S * 1000)
            fail_with_report(rt, "nobody does anything any more");
        usleep(1000);
    }
    if (troupe_runtime_stop(rt, TROUPE_SEC(60)) != 0)
        fail_with_report(rt, "it does not stop");
    troupe_stats_read(rt, &stats);
    if (troupe_runtime_join(rt) != 0)
        fail("a status that nobody gave");
    check(&stats);
    printf(
        "seed %lu: %lu spawns, %lu crashes, %lu restarts, %lu escalations, %lu kills, %lu told, %lu replaced, %lu sent, "
        "%lu dead\n",
        seed, stats.spawns, stats.crashes, stats.restarts, stats.escalations, stats.kills, totals.told, totals.replaced,
        totals.sent, totals.dead);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 5;
    for (unsigned i = 0; i < rounds; i++) {
        alarm(STUCK_AFTER_S + 80); /* if not even a report can be made */
        run_round(seed + i);
    }
    return 0;
}
