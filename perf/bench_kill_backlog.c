/* SPDX-License-Identifier: Apache-2.0 */
/* An actor with a long backlog is killed: how many messages it handles after that. The backlog gathers while it is
 * suspended; then it works, says so after a while, and is killed while it goes on working, if there is a worker for
 * it. */
#include <ck_pr.h>

#include "perf/support/bench.h"

enum { SEND, WORKING }; /* to the killer */
enum { WORK };          /* to the victim */

#define PORTION 1000u
#define HEAD_START 100u /* messages handled before it says that it works */

struct deed {
    uint64_t messages;
    uint64_t handled; /* by the victim; written by it only, read by the killer */
    uint64_t handled_before, killed_ns, ended_ns;
};

struct victim {
    struct deed *deed;
    uint64_t handled;
};

static int victim_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)ctx;
    ((struct victim *)self)->deed = *(struct deed *const *)args;
    return 0;
}

static void on_work(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct victim *victim = self;
    victim->handled++;
    TROUPE_CHECK(ctx, tr_bench_number(msg) == victim->handled);
    ck_pr_store_64(&victim->deed->handled, victim->handled);
    if (victim->handled == HEAD_START)
        troupe_tell(ctx, troupe_parent(ctx), WORKING, NULL, 0);
}

static const troupe_behavior victim_behavior = {
    .name = "victim",
    .state_size = sizeof(struct victim),
    .args_size = sizeof(struct deed *),
    .started = victim_started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers = {[WORK] = {.name = "work", .fn = on_work, .size = sizeof(uint64_t)}},
};

struct killer {
    struct deed *deed;
    troupe_addr victim;
    uint64_t sent;
};

static int killer_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct killer *killer = self;
    killer->deed = *(struct deed *const *)args;
    killer->victim = troupe_spawn(ctx, &victim_behavior, args, NULL);
    int status = troupe_suspend(ctx, killer->victim);
    return status < 0 ? status : troupe_tell(ctx, troupe_self(ctx), SEND, NULL, 0);
}

static void on_send(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct killer *killer = self;
    uint64_t left = killer->deed->messages - killer->sent;
    (void)msg;
    for (uint64_t n = left < PORTION ? left : PORTION; n > 0; n--) {
        killer->sent++;
        int status = troupe_tell(ctx, killer->victim, WORK, &killer->sent, sizeof killer->sent);
        TROUPE_CHECK(ctx, status == 0);
    }
    if (killer->sent < killer->deed->messages)
        troupe_tell(ctx, troupe_self(ctx), SEND, NULL, 0);
    else
        troupe_resume(ctx, killer->victim);
}

static void on_working(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct killer *killer = self;
    (void)msg;
    troupe_kill(ctx, killer->victim);
    killer->deed->handled_before = ck_pr_load_64(&killer->deed->handled);
    killer->deed->killed_ns = tr_bench_clock();
}

static void killer_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct deed *deed = ((struct killer *)self)->deed;
    (void)child;
    deed->ended_ns = tr_bench_clock();
    troupe_stop_runtime(ctx, reason == TROUPE_REASON_KILLED ? 0 : 1);
}

static const troupe_behavior killer_behavior = {
    .name = "killer",
    .state_size = sizeof(struct killer),
    .args_size = sizeof(struct deed *),
    .started = killer_started,
    .child_stopped = killer_child_stopped,
    .supervision = {.restarts = TROUPE_RESTARTS_NONE},
    .handlers = {[SEND] = {.name = "send", .fn = on_send}, [WORKING] = {.name = "working", .fn = on_working}},
};

static void count_letter(void *arg, const troupe_dead_letter *letter)
{
    if (letter->reason == TROUPE_DEAD_STOPPED && letter->kind == WORK)
        ck_pr_inc_64(arg);
}

static int run(const struct tr_bench *bench)
{
    struct deed deed = {.messages = bench->size}, *args = &deed;
    uint64_t letters = 0;
    troupe_options options = tr_bench_options(bench);
    options.dead_letter = count_letter;
    options.dead_letter_arg = &letters;
    int status = troupe_run(&killer_behavior, &args, &options);
    if (status != 0 || deed.messages < 2 * HEAD_START)
        return tr_bench_failed(bench, "status %d, or the size is below %u", status, 2 * HEAD_START);
    if (deed.handled + letters != deed.messages)
        return tr_bench_failed(bench, "%llu handled and %llu dead letters", (unsigned long long)deed.handled,
                               (unsigned long long)letters);
    tr_bench_result(bench->name, (double)(deed.handled - deed.handled_before), "messages");
    tr_bench_result("kill_backlog_buried", (double)(deed.ended_ns - deed.killed_ns) / 1e6, "ms");
    return 0;
}

const struct tr_case tr_case_kill_backlog = {
    .name = "kill_backlog", .run = run, .limit = 1, .behaviors = {&killer_behavior, &victim_behavior}};
