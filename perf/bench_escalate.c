/* SPDX-License-Identifier: Apache-2.0 */
/* An escalation, there and back.
 *   escalate          a child crashes beyond its window: two restarts are allowed, the third crash escalates. Its
 *                     parent crashes too, restarts and makes a child anew, which is asked for an answer. The clock runs
 *                     from the first of the three messages that crash it to that answer.
 *   escalate_verdict  a child that may not restart by itself crashes, its parent's child_escalated answers
 *                     RESTART_CHILD, and the child's next incarnation handles the message that waited behind. */
#include <stdlib.h>

#include "perf/support/bench.h"
#include "perf/support/crasher.h"

enum { CRASH, PING }; /* to a child */
enum { HELLO, PONG }; /* to the root, from a child */

#define CRASHES 3u

struct trial {
    uint64_t cycles;
    uint32_t *took_ns; /* of each */
    troupe_addr root;
    uint64_t done;
};

/* --- the child: a new one after each escalation --- */

struct child {
    troupe_addr root;
};

static int child_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct child *child = self;
    child->root = *(const troupe_addr *)args;
    return troupe_incarnation(ctx) == 1 ? troupe_tell(ctx, child->root, HELLO, NULL, 0) : 0;
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "once more");
}

static void on_ping(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    uint64_t number = tr_bench_number(msg);
    (void)self;
    troupe_tell(ctx, troupe_sender(msg), PONG, &number, sizeof number);
}

static const troupe_behavior child_behavior = {
    .name = "child",
    .state_size = sizeof(struct child),
    .args_size = sizeof(troupe_addr),
    .started = child_started,
    .supervision = {.restarts = CRASHES - 1, .window_ns = TROUPE_SEC(60)},
    .handlers = {[CRASH] = {.name = "crash", .fn = on_crash},
                 [PING] = {.name = "ping", .fn = on_ping, .size = sizeof(uint64_t)}},
};

/* --- its parent: crashes with it --- */

static int parent_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self;
    return troupe_addr_is_nobody(troupe_spawn(ctx, &child_behavior, args, NULL)) ? -1 : 0;
}

static const troupe_behavior parent_behavior = {
    .name = "parent",
    .args_size = sizeof(troupe_addr),
    .started = parent_started,
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1},
};

/* --- the root: drives --- */

struct root {
    struct trial *trial;
    uint64_t began_ns;
    bool crashed; /* the child that says hello is the new one of this cycle */
};

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    const troupe_addr me = troupe_self(ctx);
    ((struct root *)self)->trial = *(struct trial *const *)args;
    return troupe_addr_is_nobody(troupe_spawn(ctx, &parent_behavior, &me, NULL)) ? -1 : 0;
}

static void crash(troupe_ctx *ctx, struct root *root, troupe_addr child)
{
    root->crashed = true;
    root->began_ns = tr_bench_clock();
    for (unsigned i = 0; i < CRASHES; i++)
        troupe_tell(ctx, child, CRASH, NULL, 0);
}

static void on_hello(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    if (root->crashed)
        troupe_tell(ctx, troupe_sender(msg), PING, &root->trial->done, sizeof root->trial->done);
    else
        crash(ctx, root, troupe_sender(msg));
}

static void on_pong(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    struct trial *trial = root->trial;
    TROUPE_CHECK(ctx, tr_bench_number(msg) == trial->done);
    trial->took_ns[trial->done++] = (uint32_t)(tr_bench_clock() - root->began_ns);
    if (trial->done < trial->cycles) {
        crash(ctx, root, troupe_sender(msg));
        return;
    }
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    troupe_stop_runtime(ctx, stats.escalations == trial->cycles && stats.restarts == CRASHES * trial->cycles ? 0 : 1);
}

static const troupe_behavior root_behavior = {
    .name = "root",
    .state_size = sizeof(struct root),
    .args_size = sizeof(struct trial *),
    .started = root_started,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[HELLO] = {.name = "hello", .fn = on_hello},
                 [PONG] = {.name = "pong", .fn = on_pong, .size = sizeof(uint64_t)}},
};

static int run(const struct tr_bench *bench)
{
    troupe_options options = tr_bench_options(bench);
    struct trial trial = {.cycles = bench->size, .took_ns = calloc(bench->size, sizeof(uint32_t))}, *args = &trial;
    if (!trial.took_ns)
        return tr_bench_failed(bench, "out of memory");
    options.log_level = TROUPE_LOG_NONE;
    int status = troupe_run(&root_behavior, &args, &options);
    if (status != 0)
        status = tr_bench_failed(bench, "status %d after %llu cycles", status, (unsigned long long)trial.done);
    else
        tr_bench_result(bench->name, tr_bench_quantile(trial.took_ns, trial.done, 0.5) / 1e3, "us/cycle");
    free(trial.took_ns);
    return status;
}

const struct tr_case tr_case_escalate = {
    .name = "escalate", .run = run, .behaviors = {&root_behavior, &parent_behavior, &child_behavior}};

static int run_verdict(const struct tr_bench *bench)
{
    const troupe_supervision supervision = {.restarts = TROUPE_RESTARTS_NONE};
    double median_ns;
    if (!tr_crasher_latency(bench->workers, 1, bench->size, &supervision, &median_ns))
        return 1;
    tr_bench_result(bench->name, median_ns / 1e3, "us/cycle");
    return 0;
}

const struct tr_case tr_case_escalate_verdict = {
    .name = "escalate_verdict",
    .run = run_verdict,
    .serial = true,
    .limit = 3.0,
    .behaviors = {&tr_crasher_root, &tr_crasher},
    .unit = "us/cycle",
    .text = "a child that may not restart crashes, its parent's verdict restarts it, it handles the next message",
    .size = 100000,
};
