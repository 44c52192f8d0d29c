/* SPDX-License-Identifier: Apache-2.0 */
/* "Let it crash": a child that panics is restarted behind its address; the fourth panic within five seconds is its
 * parent's problem, which restarts, and its new child is well behaved. */
#include <stdio.h>
#include <troupe/troupe.h>

enum { WORK };

static int child_started(troupe_ctx *ctx, void *self, const void *args)
{
    const bool *faulty = args;
    (void)self;
    puts("child started");
    return *faulty ? troupe_tell(ctx, troupe_self(ctx), WORK, NULL, 0)
                   : troupe_tell(ctx, troupe_parent(ctx), WORK, NULL, 0);
}

static void child_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self, (void)crash;
    printf("child restarted %u\n", count);
}

static void on_work(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    puts("child panicked");
    troupe_panic(ctx, "this work is too hard");
}

static const troupe_behavior child = {
    .name = "child",
    .args_size = sizeof(bool),
    .started = child_started,
    .restarted = child_restarted,
    .supervision = {.restarts = 3, .window_ns = TROUPE_SEC(5)},
    .handlers = {[WORK] = {.name = "work", .fn = on_work}},
};

static int parent_started(troupe_ctx *ctx, void *self, const void *args)
{
    bool faulty = troupe_incarnation(ctx) == 1;
    (void)self, (void)args;
    return troupe_addr_is_nobody(troupe_spawn(ctx, &child, &faulty, NULL)) ? -1 : 0;
}

static void parent_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self, (void)crash;
    printf("parent restarted %u\n", count);
}

static troupe_verdict child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self, (void)crash;
    puts("child escalated");
    return TROUPE_VERDICT_RESTART_SELF;
}

/* The well-behaved child is at work: enough was shown. */
static void on_child_works(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_stop_runtime(ctx, 0);
}

static void parent_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    (void)ctx, (void)self, (void)reason;
    puts("stopped");
}

static const troupe_behavior parent = {
    .name = "parent",
    .started = parent_started,
    .restarted = parent_restarted,
    .stopped = parent_stopped,
    .child_escalated = child_escalated,
    .handlers = {[WORK] = {.name = "child works", .fn = on_child_works}},
};

int main(void)
{
    troupe_options options = {.log_level = TROUPE_LOG_NONE}; /* the transcript tells it all */
    return troupe_run(&parent, NULL, &options);
}
