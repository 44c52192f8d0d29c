/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of the whole runtime with far more workers than cores: actors that tell, ask, set timers, keep, crash, stop
 * and are spawned again in reused slots, driven by seeded dice. Every message that was sent must have been handled or
 * be a dead letter; every ask of an incarnation that lived on must have been answered exactly once; a watchdog fails
 * when it hangs.
 * Arguments: [seed [rounds]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"

enum { WORKERS = 12, NODES = 60, STEPS = 400, STUCK_AFTER_S = 150 };
enum { STEP, NOTE, ASK, TIMED };

struct note {
    uint64_t dice;
    char filler[40];
};

struct totals {
    uint64_t sent;          /* tells and asks */
    uint64_t handled;       /* of these: the handler returned */
    uint64_t dead_requests; /* of these: shown as dead letters */
    uint64_t dead;          /* all that were shown */
    uint64_t asked, answered, forgotten;
    uint64_t replies_crashed; /* dead letters too, and told from requests by this count only */
    uint64_t timed;
    uint64_t spawned, ended;
};

static struct totals totals;
static troupe_addr nodes[NODES]; /* by atomic access of bits */

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

/* --- a node ------------------------------------------------------------------------------------------------------- */

struct node {
    struct tr_rng rng;
    unsigned pending; /* asks of this incarnation that wait */
    troupe_msg *kept;
};

struct node_args {
    unsigned index;
    uint64_t seed;
};

static troupe_addr somebody(struct tr_rng *rng)
{
    return (troupe_addr){ck_pr_load_64(&nodes[tr_rng_below(rng, NODES)].bits)};
}

static void forget_asks(void *arg)
{
    struct node *node = arg;
    ck_pr_add_64(&totals.forgotten, node->pending);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    const struct node_args *a = args;
    tr_rng_init(&node->rng, a->seed * 1000 + a->index * 100 + troupe_incarnation(ctx));
    if (tr_rng_below(&node->rng, 50) == 0)
        return -EIO;
    return troupe_defer(ctx, forget_asks, node); /* runs before the state is freed */
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct node *node = self;
    count(&totals.answered);
    if (node->pending-- == 0 || answer->arg != self)
        abort();
    if (tr_rng_below(&node->rng, 100) == 0) {
        if (answer->status != -ETIMEDOUT)
            count(&totals.replies_crashed);
        troupe_panic(ctx, "over an answer");
    }
}

static void tell_note(troupe_ctx *ctx, struct node *node)
{
    struct note note = {.dice = tr_rng_next(&node->rng)};
    count(&totals.sent);
    troupe_tell(ctx, somebody(&node->rng), NOTE, &note, sizeof note);
}

static void ask_somebody(troupe_ctx *ctx, struct node *node)
{
    static const uint64_t times[] = {0, TROUPE_US(100), TROUPE_MS(3), TROUPE_SEC(100), TROUPE_FOREVER};
    struct note note = {.dice = tr_rng_next(&node->rng)};
    count(&totals.sent);
    count(&totals.asked);
    node->pending++;
    if (troupe_ask(ctx, somebody(&node->rng), ASK, &note, sizeof note, times[tr_rng_below(&node->rng, 5)], on_answer,
                   node) != 0)
        abort();
}

static void set_timers(troupe_ctx *ctx, struct node *node)
{
    troupe_timer timer;
    troupe_send_after(ctx, TROUPE_SEC(500), troupe_self(ctx), TIMED, NULL, 0, &timer);
    troupe_send_after(ctx, TROUPE_US(tr_rng_below(&node->rng, 3000)), troupe_self(ctx), TIMED, NULL, 0, NULL);
    if (tr_rng_below(&node->rng, 2) && !troupe_timer_cancel(ctx, timer))
        abort();
}

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    for (unsigned i = tr_rng_below(&node->rng, 4); i-- > 0;)
        tell_note(ctx, node);
    if (tr_rng_below(&node->rng, 3) == 0)
        ask_somebody(ctx, node);
    if (tr_rng_below(&node->rng, 10) == 0)
        set_timers(ctx, node);
    if (tr_rng_below(&node->rng, 40) == 0)
        troupe_stop(ctx, somebody(&node->rng));
    if (tr_rng_below(&node->rng, 40) == 0)
        troupe_stop_self(ctx);
    if (tr_rng_below(&node->rng, 30) == 0)
        troupe_panic(ctx, "by dice");
    count(&totals.handled);
}

static void on_note(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct note *note = troupe_payload(msg);
    (void)self;
    if (note->dice % 97 == 0)
        troupe_panic(ctx, "by note");
    count(&totals.handled);
}

static void on_ask(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    const struct note *note = troupe_payload(msg);
    uint64_t dice = note->dice % 16;
    if (dice == 0)
        troupe_panic(ctx, "by ask");
    if (dice < 8) {
        troupe_reply(ctx, msg, note, sizeof *note);
    } else if (dice < 12) {
        troupe_msg *kept = troupe_keep(ctx, msg);
        if (node->kept) {
            troupe_reply(ctx, node->kept, NULL, 0);
            count(&totals.handled);
        }
        node->kept = kept;
    } else if (dice == 12) {
        troupe_release(ctx, troupe_keep(ctx, msg));
    }
    if (node->kept != msg) /* else it is handled when it is answered, or a dead letter with its keeper */
        count(&totals.handled);
}

static void on_timed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
    count(&totals.timed);
}

static const troupe_behavior node = {.name = "node",
                                     .state_size = sizeof(struct node),
                                     .args_size = sizeof(struct node_args),
                                     .started = node_started,
                                     .supervision = {.restarts = 3, .window_ns = TROUPE_MS(1)},
                                     .handlers = {[STEP] = {.name = "step", .fn = on_step},
                                                  [NOTE] = {.name = "note", .fn = on_note, .size = sizeof(struct note)},
                                                  [ASK] = {.name = "ask", .fn = on_ask, .size = sizeof(struct note)},
                                                  [TIMED] = {.name = "timed", .fn = on_timed}}};

/* --- the root: keeps NODES nodes alive, gives each its steps, and ends when all is calm --------------------------- */

struct root {
    unsigned steps, alive;
    bool ending;
    struct tr_rng rng;
    uint64_t seed;
};

static void spawn_node(troupe_ctx *ctx, struct root *root, unsigned index)
{
    struct node_args args = {index, tr_rng_next(&root->rng) >> 16};
    troupe_addr addr = troupe_spawn(ctx, &node, &args, NULL);
    if (troupe_addr_is_nobody(addr))
        abort();
    ck_pr_store_64(&nodes[index].bits, addr.bits);
    root->alive++;
    count(&totals.spawned);
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    root->seed = *(const uint64_t *)args;
    tr_rng_init(&root->rng, root->seed);
    for (unsigned i = 0; i < NODES; i++)
        spawn_node(ctx, root, i);
    return troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), TIMED, NULL, 0, NULL);
}

static void root_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    if (root->ending)
        return;
    for (unsigned i = 0; i < NODES; i++) {
        count(&totals.sent);
        troupe_tell(ctx, (troupe_addr){ck_pr_load_64(&nodes[i].bits)}, STEP, NULL, 0);
    }
    if (++root->steps < STEPS)
        return;
    root->ending = true;
    for (unsigned i = 0; i < NODES; i++)
        troupe_stop(ctx, (troupe_addr){ck_pr_load_64(&nodes[i].bits)});
    if (root->alive == 0)
        troupe_stop_self(ctx);
}

static void root_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct root *root = self;
    (void)reason;
    count(&totals.ended);
    root->alive--;
    if (root->ending) {
        if (root->alive == 0)
            troupe_stop_self(ctx);
        return;
    }
    for (unsigned i = 0; i < NODES; i++)
        if (ck_pr_load_64(&nodes[i].bits) == child.bits) {
            spawn_node(ctx, root, i);
            return;
        }
    abort();
}

static troupe_verdict root_child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct root *root = self;
    (void)ctx;
    if (!crash->behavior || !crash->text[0])
        abort();
    return tr_rng_below(&root->rng, 2) ? TROUPE_VERDICT_RESTART_CHILD : TROUPE_VERDICT_IGNORE;
}

static troupe_stats last_stats;
static uint64_t last_dead; /* of the same moment: the root's own timer may still send */

static void root_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)self, (void)reason;
    troupe_stats_read(troupe_ctx_runtime(ctx), &last_stats);
    last_dead = ck_pr_load_64(&totals.dead);
}

static const troupe_behavior root_behavior = {.name = "root",
                                              .state_size = sizeof(struct root),
                                              .args_size = sizeof(uint64_t),
                                              .started = root_started,
                                              .stopped = root_stopped,
                                              .child_stopped = root_child_stopped,
                                              .child_escalated = root_child_escalated,
                                              .handlers = {[TIMED] = {.name = "step", .fn = root_step}}};

/* --- counting ----------------------------------------------------------------------------------------------------- */

static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    count(&totals.dead);
    if (letter->kind != TIMED && letter->reason != TROUPE_DEAD_LATE_REPLY)
        count(&totals.dead_requests);
}

static int complain(const char *what, uint64_t is, uint64_t expected)
{
    fprintf(stderr, "stress_actors: %s: %lu, expected %lu\n", what, is, expected);
    return 1;
}

/* What the runtime counted must be what the actors did. */
static int check(void)
{
    uint64_t dead = 0;
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        dead += last_stats.dead_letters[i];
    if (dead != last_dead)
        return complain("dead letters shown", last_dead, dead);
    uint64_t ended = totals.handled + totals.dead_requests - totals.replies_crashed;
    if (ended != totals.sent)
        return complain("messages handled or dead", ended, totals.sent);
    if (totals.answered + totals.forgotten != totals.asked)
        return complain("asks answered or forgotten with their incarnation", totals.answered + totals.forgotten,
                        totals.asked);
    if (last_stats.actors != 1 || totals.ended != totals.spawned)
        return complain("actors left", last_stats.actors, 1);
    if (last_stats.io_in_use != 0)
        return complain("operations left", last_stats.io_in_use, 0);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 3;
    printf("stress_actors: seed %lu, %u rounds\n", seed, rounds);
    for (unsigned round = 0; round < rounds; round++, seed++) {
        troupe_options options = {.workers = WORKERS,
                                  .log_level = TROUPE_LOG_NONE,
                                  .dead_letter = dead_letter,
                                  .batch = round % 3 == 2 ? 1 : 0,
                                  .spin_ns = round % 2 ? 1 : 0};
        totals = (struct totals){0};
        alarm(STUCK_AFTER_S);
        if (troupe_run(&root_behavior, &seed, &options) != 0)
            return complain("status", 1, 0);
        printf("seed %lu: %lu sent, %lu handled, %lu dead, %lu asks, %lu crashes, %lu restarts, %lu lives\n", seed,
               totals.sent, last_stats.messages_handled, totals.dead, totals.asked, last_stats.crashes,
               last_stats.restarts, totals.spawned);
        if (check() != 0)
            return 1;
    }
    return 0;
}
