/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of offloaded jobs: actors that offload with and without time-outs and tokens, cancel, crash, stop and are
 * killed, while threads of the crew come and go, all by seeded dice. Every job's work is freed exactly once, by done or
 * by drop; every job of an incarnation that lives on ends exactly once; nothing reaches another incarnation; the end of
 * the runtime waits for all. Arguments: [seed [steps]]. Exit status 0, or 1 with a reason. */
#include <troupe/troupe.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/rng.h"
#include "tests/support/sanitizer.h"

enum { WORKERS = 4, NODES = 24, STUCK_AFTER_S = 150 };
enum { STEP };

/* All by atomic access. */
static struct {
    uint64_t accepted, refused, done, good, late, cancelled, forgotten;
    uint64_t dropped_ran, dropped_unrun, ran, crashes, ends;
    uint64_t blocks; /* alive */
} n;
static uint64_t steps_left;
static uint64_t seed;
static uint64_t incarnations;

static void count(uint64_t *counter)
{
    ck_pr_inc_64(counter);
}

static void broken(const char *what)
{
    fprintf(stderr, "stress_offload: %s\n", what);
    abort();
}

/* What a job owns: a block that must be freed once. */
struct load {
    uint64_t *block;
    uint64_t incarnation;
    unsigned us;
    bool waits;
};

struct node {
    struct tr_rng rng;
    uint64_t incarnation;
    uint64_t pending;
    troupe_token token;
    char room[64]; /* done writes here: state of this incarnation */
};

static void unload(struct load *load)
{
    if (*load->block != load->incarnation)
        broken("a block is not its job's");
    *load->block = 0;
    free(load->block);
    load->block = NULL;
    ck_pr_dec_64(&n.blocks);
}

static int job(troupe_job *job, void *work)
{
    struct load *load = work;
    count(&n.ran);
    if (*load->block != load->incarnation)
        broken("it runs without its block");
    if (load->waits)
        (void)troupe_job_wait(job, load->us * UINT64_C(1000));
    else if (load->us > 100)
        usleep(load->us);
    return (int)load->us;
}

static void drop(void *work, size_t size, bool ran, int result)
{
    struct load *load = work;
    if (size != sizeof *load || (ran && result != (int)load->us))
        broken("drop is given something else");
    count(ran ? &n.dropped_ran : &n.dropped_unrun);
    unload(load);
}

static void done(troupe_ctx *ctx, void *self, const troupe_offload_result *result)
{
    struct node *node = self;
    count(&n.done);
    if (node->pending-- == 0)
        broken("done without a job");
    if ((uint64_t)(uintptr_t)result->arg != node->incarnation)
        broken("a result reached another incarnation");
    memset(node->room, 1, sizeof node->room);
    count(result->status == 0 ? &n.good : result->status == -ETIMEDOUT ? &n.late : &n.cancelled);
    if (result->status != 0)
        return;
    struct load *load = result->work;
    if (load->incarnation != node->incarnation || result->result != (int)load->us)
        broken("done is given another's work");
    unload(load);
    if (tr_rng_below(&node->rng, 200) == 0) {
        ck_pr_add_64(&n.forgotten, node->pending);
        count(&n.crashes);
        troupe_panic(ctx, "planned, in done");
    }
}

static void offload(troupe_ctx *ctx, struct node *node)
{
    struct load load = {malloc(sizeof(uint64_t)), node->incarnation, tr_rng_below(&node->rng, 800),
                        tr_rng_below(&node->rng, 3) == 0};
    troupe_offload_options options = {.drop = drop};
    if (tr_rng_below(&node->rng, 3) == 0)
        options.timeout_ns = 1 + tr_rng_below(&node->rng, 3000000);
    if (tr_rng_below(&node->rng, 3) == 0)
        troupe_under(ctx, node->token);
    *load.block = load.incarnation;
    count(&n.blocks);
    int status = troupe_offload(ctx, job, &load, sizeof load, &options, done, (void *)(uintptr_t)node->incarnation);
    troupe_under(ctx, troupe_no_token());
    if (status == 0) {
        count(&n.accepted);
        node->pending++;
        return;
    }
    if (status != -EAGAIN && status != -ECANCELED)
        broken("an error that cannot be");
    count(&n.refused);
    unload(&load);
}

static bool spend_step(void)
{
    uint64_t left = ck_pr_load_64(&steps_left);
    while (left > 0)
        if (ck_pr_cas_64_value(&steps_left, left, left - 1, &left))
            return true;
    return false;
}

static void new_token(troupe_ctx *ctx, struct node *node)
{
    if (troupe_token_new(ctx, troupe_no_token(), &node->token) < 0)
        broken("no memory for a token");
}

static void on_step(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct node *node = self;
    (void)msg;
    if (!spend_step()) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    unsigned dice = tr_rng_below(&node->rng, 200);
    for (unsigned i = tr_rng_below(&node->rng, 6); i > 0; i--)
        offload(ctx, node);
    if (dice < 20) {
        troupe_token_free(node->token);
        new_token(ctx, node);
    } else if (dice < 24) {
        ck_pr_add_64(&n.forgotten, node->pending);
        count(&n.crashes);
        troupe_panic(ctx, "planned");
    } else if (dice < 26) {
        troupe_stop_self(ctx);
    } else if (dice < 28) {
        troupe_kill(ctx, troupe_self(ctx));
    }
    troupe_send_after(ctx, tr_rng_below(&node->rng, 300000), troupe_self(ctx), STEP, NULL, 0, NULL);
}

static int node_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct node *node = self;
    (void)args;
    node->incarnation = ck_pr_faa_64(&incarnations, 1) + 1;
    tr_rng_init(&node->rng, seed * 1000003 + node->incarnation);
    new_token(ctx, node);
    offload(ctx, node);
    return troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0);
}

static const troupe_behavior node_behavior = {
    .name = "node",
    .state_size = sizeof(struct node),
    .started = node_started,
    .supervision = {.restarts = 64, .window_ns = 1},
    .handlers = {[STEP] = {.name = "step", .fn = on_step, .size = 0}},
};

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    for (unsigned i = 0; i < NODES; i++)
        troupe_spawn(ctx, &node_behavior, NULL, NULL);
    return 0;
}

static void child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)self, (void)child, (void)reason;
    count(&n.ends);
    troupe_spawn(ctx, &node_behavior, NULL, NULL);
}

static const troupe_behavior root = {.name = "root", .started = root_started, .child_stopped = child_stopped};

static void check(void)
{
    if (n.blocks != 0)
        broken("work was not freed");
    if (n.good + n.dropped_ran + n.dropped_unrun != n.accepted)
        broken("done and drop do not add up");
    if (n.ran != n.good + n.dropped_ran)
        broken("a job ran twice, or its result was lost");
    if (n.done + n.forgotten > n.accepted)
        broken("done was called too often");
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    ck_pr_store_64(&steps_left, argc > 2 ? strtoull(argv[2], NULL, 10) : SANITIZED ? 4000 : 40000);
    alarm(STUCK_AFTER_S);
    troupe_options options = {.workers = WORKERS,
                              .offload_threads = 6,
                              .offload_queue = 40,
                              .offload_idle_ns = TROUPE_US(300),
                              .backtraces = TROUPE_NO_BACKTRACES,
                              .log_level = TROUPE_LOG_NONE};
    int status = troupe_run(&root, NULL, &options);
    if (status != 0)
        broken("the run failed");
    check();
    printf("seed %llu: %llu jobs, %llu refused; %llu done, %llu late, %llu cancelled; dropped %llu run and %llu not; "
           "%llu crashes, %llu ends\n",
           (unsigned long long)seed, (unsigned long long)n.accepted, (unsigned long long)n.refused,
           (unsigned long long)n.good, (unsigned long long)n.late, (unsigned long long)n.cancelled,
           (unsigned long long)n.dropped_ran, (unsigned long long)n.dropped_unrun, (unsigned long long)n.crashes,
           (unsigned long long)n.ends);
    return 0;
}
