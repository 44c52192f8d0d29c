/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of cancel tokens: actors that ask, set timers and want to be told under tokens of a common board, crash and
 * stop, while other actors and threads outside cancel, free, replace and wait for the same tokens, all by seeded dice.
 * A cancelled token stays cancelled and so do its descendants, at once; every ask of an incarnation that lived on ends
 * exactly once, with -ECANCELED only if its token was cancelled; no thread waits for ever, also not over the runtime's
 * end. Arguments: [seed [rounds]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"

enum { WORKERS = 8, THREADS = 4, NODES = 40, BOARD = 24, STEPS = 300, DEPTH_MAX = 6, STUCK_AFTER_S = 150 };
enum { STEP, ASK, TOLD, TICK };

struct totals {
    uint64_t asked, answered, cancelled, forgotten;
    uint64_t told, wanted;
    uint64_t made, waits, timeouts;
};

static struct totals totals;
static troupe_addr nodes[NODES]; /* by atomic access of bits */
static unsigned quit;            /* the threads outside */
static troupe_token ended;       /* the root's stopped token; written before `begun` */
static unsigned begun;

/* A token is two words: the board has a lock. */
static pthread_mutex_t board_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    troupe_token token;
    unsigned depth;
} board[BOARD];

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static void broken(const char *what)
{
    fprintf(stderr, "stress_token: %s\n", what);
    abort();
}

static troupe_token look(struct tr_rng *rng, unsigned *depth)
{
    unsigned i = tr_rng_below(rng, BOARD);
    pthread_mutex_lock(&board_lock);
    troupe_token token = board[i].token;
    *depth = board[i].depth;
    pthread_mutex_unlock(&board_lock);
    return token;
}

/* Puts a token on the board; returns the one that it replaces. */
static troupe_token put(struct tr_rng *rng, troupe_token token, unsigned depth)
{
    unsigned i = tr_rng_below(rng, BOARD);
    pthread_mutex_lock(&board_lock);
    troupe_token old = board[i].token;
    board[i].token = token;
    board[i].depth = depth;
    pthread_mutex_unlock(&board_lock);
    return old;
}

static void must_stay_cancelled(troupe_token token)
{
    if (troupe_token_cancelled(token) && !troupe_token_cancelled(token))
        broken("a cancelled token is not");
    if (troupe_token_cancelled(token) && troupe_token_cancel(token))
        broken("cancelled twice");
}

/* --- a node ----------------------------------------------------------------------------------------------------- */

struct node {
    struct tr_rng rng;
    unsigned pending;
};

struct asked {
    struct node *node;
    troupe_token token;
};

static void forget_asks(void *arg)
{
    struct node *node = arg;
    ck_pr_add_64(&totals.forgotten, node->pending);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    tr_rng_init(&node->rng, *(const uint64_t *)args * 100 + troupe_incarnation(ctx));
    return troupe_defer(ctx, forget_asks, node);
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct node *node = self;
    const struct asked *asked = answer->arg;
    count(&totals.answered);
    if (node->pending-- == 0 || asked->node != node)
        broken("an ask ended that was not pending");
    if (answer->status == -ECANCELED) {
        count(&totals.cancelled);
        if (!troupe_token_cancelled(asked->token))
            broken("an ask was cancelled and its token is not");
    }
    if (tr_rng_below(&node->rng, 150) == 0)
        troupe_panic(ctx, "over an answer");
}

static troupe_token some_token(troupe_ctx *ctx, struct node *node)
{
    unsigned depth;
    troupe_token parent = look(&node->rng, &depth), token;
    switch (tr_rng_below(&node->rng, 6)) {
    case 0:
        return troupe_stop_token(ctx);
    case 1:
        return troupe_stopped_token(ctx);
    case 2:
        if (troupe_token_new(ctx, depth < DEPTH_MAX ? parent : (troupe_token){0}, &token) != 0)
            broken("out of memory");
        count(&totals.made);
        troupe_token_free(put(&node->rng, token, depth < DEPTH_MAX ? depth + 1 : 0));
        return token;
    default:
        return parent;
    }
}

static void ask_under(troupe_ctx *ctx, struct node *node, troupe_token token)
{
    static const uint64_t times[] = {0, TROUPE_US(500), TROUPE_SEC(100), TROUPE_FOREVER};
    struct asked *asked = troupe_alloc(ctx, sizeof *asked);
    troupe_addr to = {ck_pr_load_64(&nodes[tr_rng_below(&node->rng, NODES)].bits)};
    *asked = (struct asked){node, token};
    node->pending++;
    count(&totals.asked);
    troupe_under(ctx, token);
    if (troupe_ask(ctx, to, ASK, NULL, 0, times[tr_rng_below(&node->rng, 4)], on_answer, asked) != 0)
        broken("an ask was refused");
    troupe_under(ctx, (troupe_token){0});
}

static void timers_under(troupe_ctx *ctx, struct node *node, troupe_token token)
{
    troupe_timer timer;
    troupe_under(ctx, token);
    if (troupe_send_every(ctx, TROUPE_MS(2), troupe_self(ctx), TICK, NULL, 0, NULL) == 0 &&
        troupe_send_after(ctx, TROUPE_SEC(500), troupe_self(ctx), TICK, NULL, 0, &timer) == 0 &&
        tr_rng_below(&node->rng, 2) && !troupe_timer_cancel(ctx, timer) && !troupe_token_cancelled(token))
        broken("a timer is gone and its token is not cancelled");
    troupe_under(ctx, (troupe_token){0});
}

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    troupe_token token = some_token(ctx, node);
    for (unsigned i = tr_rng_below(&node->rng, 3); i-- > 0;)
        ask_under(ctx, node, token);
    if (tr_rng_below(&node->rng, 4) == 0)
        timers_under(ctx, node, token);
    if (tr_rng_below(&node->rng, 4) == 0 && token.ref && troupe_token_notify(ctx, token, TOLD) == 0)
        count(&totals.wanted);
    if (tr_rng_below(&node->rng, 10) == 0)
        troupe_token_cancel(token);
    if (tr_rng_below(&node->rng, 20) == 0)
        troupe_token_free(token);
    must_stay_cancelled(token);
    if (tr_rng_below(&node->rng, 40) == 0)
        troupe_stop_self(ctx);
    if (tr_rng_below(&node->rng, 40) == 0)
        troupe_panic(ctx, "by dice");
}

static void on_ask(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    if (tr_rng_below(&node->rng, 3) == 0)
        troupe_keep(ctx, msg); /* until the incarnation ends */
    else
        troupe_reply(ctx, msg, NULL, 0);
}

static void on_told(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self;
    count(&totals.told);
    if (!troupe_token_cancelled(*(const troupe_token *)troupe_payload(msg)))
        broken("told of a token that is not cancelled");
}

static void on_tick(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)ctx, (void)self, (void)msg;
}

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .args_size = sizeof(uint64_t),
    .started = node_started,
    .supervision = {.restarts = 3, .window_ns = TROUPE_MS(1)},
    .handlers = {[STEP] = {.name = "step", .fn = on_step},
                 [ASK] = {.name = "ask", .fn = on_ask},
                 [TOLD] = {.name = "told", .fn = on_told, .size = sizeof(troupe_token)},
                 [TICK] = {.name = "tick", .fn = on_tick}}};

/* --- the root: keeps NODES nodes alive and gives each its steps ------------------------------------------------- */

struct root {
    struct tr_rng rng;
    unsigned steps;
};

static void spawn_node(troupe_ctx *ctx, struct root *root, unsigned index)
{
    uint64_t seed = tr_rng_next(&root->rng) >> 16;
    troupe_addr addr = troupe_spawn(ctx, &node_behavior, &seed, NULL);
    ck_pr_store_64(&nodes[index].bits, addr.bits);
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    tr_rng_init(&root->rng, *(const uint64_t *)args);
    for (unsigned i = 0; i < NODES; i++)
        spawn_node(ctx, root, i);
    ended = troupe_stopped_token(ctx);
    ck_pr_fence_release();
    ck_pr_store_uint(&begun, 1);
    return troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), STEP, NULL, 0, NULL);
}

static void root_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    for (unsigned i = 0; i < NODES; i++)
        troupe_tell(ctx, (troupe_addr){ck_pr_load_64(&nodes[i].bits)}, STEP, NULL, 0);
    if (++root->steps >= STEPS)
        troupe_stop_self(ctx);
}

static void root_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)reason;
    for (unsigned i = 0; i < NODES; i++)
        if (ck_pr_load_64(&nodes[i].bits) == child.bits)
            spawn_node(ctx, self, i);
}

static troupe_verdict root_child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct root *root = self;
    (void)ctx, (void)crash;
    return tr_rng_below(&root->rng, 2) ? TROUPE_VERDICT_RESTART_CHILD : TROUPE_VERDICT_IGNORE;
}

static const troupe_behavior root_behavior = {.name = "root",
                                              .state_size = sizeof(struct root),
                                              .args_size = sizeof(uint64_t),
                                              .started = root_started,
                                              .child_stopped = root_child_stopped,
                                              .child_escalated = root_child_escalated,
                                              .handlers = {[STEP] = {.name = "step", .fn = root_step}}};

/* --- threads outside -------------------------------------------------------------------------------------------- */

struct outside {
    troupe_runtime *rt;
    struct tr_rng rng;
    pthread_t thread;
};

static troupe_token new_token(struct outside *o, troupe_token parent)
{
    troupe_token token;
    int status = troupe_runtime_token_new(o->rt, parent, &token);
    if (status != 0 && status != -ESHUTDOWN) /* it has ended: the token is stale */
        broken("out of memory");
    count(&totals.made);
    return token;
}

/* A short branch of one's own, below whatever the others do with its parent meanwhile. */
static void grow_and_cut(struct outside *o, troupe_token parent)
{
    troupe_token middle = new_token(o, parent), leaf = new_token(o, new_token(o, middle));
    if (tr_rng_below(&o->rng, 2))
        troupe_token_cancel(middle);
    else
        troupe_token_free(middle);
    if (!troupe_token_cancelled(leaf))
        broken("a descendant is not cancelled at once");
    troupe_token_free(leaf);
    troupe_token_free(middle);
}

static void act(struct outside *o)
{
    unsigned depth;
    troupe_token token = look(&o->rng, &depth);
    must_stay_cancelled(token);
    switch (tr_rng_below(&o->rng, 6)) {
    case 0:
        troupe_token_cancel(token);
        break;
    case 1:
        troupe_token_free(token);
        break;
    case 2:
        grow_and_cut(o, token);
        break;
    case 3:
        count(&totals.waits);
        if (token.ref && troupe_token_wait(token, TROUPE_US(tr_rng_below(&o->rng, 400))) == -ETIMEDOUT)
            count(&totals.timeouts);
        break;
    default:
        if (depth >= DEPTH_MAX)
            token = (troupe_token){0};
        troupe_token_free(put(&o->rng, new_token(o, token), token.ref ? depth + 1 : 0));
        break;
    }
}

static void *outside(void *arg)
{
    struct outside *o = arg;
    while (!ck_pr_load_uint(&quit)) {
        act(o);
        usleep(tr_rng_below(&o->rng, 100)); /* one step in a while: the actors are what is tested */
    }
    return NULL;
}

static void *wait_for_end(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)troupe_token_wait(ended, TROUPE_FOREVER);
}

static int round_of(uint64_t seed, const troupe_options *options)
{
    struct outside threads[THREADS];
    pthread_t waiter;
    void *waited;
    troupe_runtime *rt;
    if (troupe_runtime_start(&rt, &root_behavior, &seed, options, NULL) != 0)
        return 1;
    while (!ck_pr_load_uint(&begun))
        usleep(100);
    ck_pr_fence_acquire();
    pthread_create(&waiter, NULL, wait_for_end, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i].rt = rt;
        tr_rng_init(&threads[i].rng, seed * 10 + i);
        pthread_create(&threads[i].thread, NULL, outside, &threads[i]);
    }
    pthread_join(waiter, &waited);
    usleep(2000); /* what they do meanwhile, they do to a runtime that has ended */
    ck_pr_store_uint(&quit, 1);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i].thread, NULL);
    return (waited != NULL) | troupe_runtime_join(rt);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 3;
    printf("stress_token: seed %lu, %u rounds\n", seed, rounds);
    for (unsigned round = 0; round < rounds; round++, seed++) {
        troupe_options options = {
            .workers = round % 3 == 1 ? 1 : WORKERS, .log_level = TROUPE_LOG_NONE, .batch = round % 3 == 2 ? 1 : 0};
        totals = (struct totals){0};
        quit = begun = 0;
        for (unsigned i = 0; i < BOARD; i++)
            board[i].token = (troupe_token){0};
        alarm(STUCK_AFTER_S);
        if (round_of(seed, &options) != 0)
            broken("the runtime did not end as it should");
        printf("seed %lu: %lu tokens, %lu asks, %lu cancelled, %lu told of %lu, %lu waits, %lu in vain\n", seed,
               totals.made, totals.asked, totals.cancelled, totals.told, totals.wanted, totals.waits, totals.timeouts);
        if (totals.answered + totals.forgotten != totals.asked)
            broken("asks were neither answered nor forgotten");
        if (totals.told > totals.wanted || totals.cancelled == 0 || totals.told == 0)
            broken("told of more than was wanted, or of nothing");
    }
    return 0;
}
