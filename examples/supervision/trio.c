/* SPDX-License-Identifier: Apache-2.0 */
#include "trio.h"

#include <stdio.h>

enum { CRASH };

/* --- a child --- */

struct child_args {
    const char *name;
};

struct child_state {
    const char *name;
};

static int child_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct child_state *state = self;
    state->name = ((const struct child_args *)args)->name;
    printf("%s starts\n", state->name);
    return troupe_incarnation(ctx) > 1 ? troupe_tell(ctx, troupe_parent(ctx), TRIO_BACK, NULL, 0) : 0;
}

static void child_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    const struct child_state *state = self;
    (void)ctx, (void)reason;
    printf("%s stops\n", state->name);
}

static void child_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    const struct child_state *state = self;
    (void)ctx;
    printf("%s crashes: %s\n", state->name, crash->text);
}

static void child_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self, (void)count;
    printf("restart, cause %s\n", troupe_cause_name(crash->cause));
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "as I was told");
}

static const troupe_behavior child = {
    .name = "child",
    .state_size = sizeof(struct child_state),
    .args_size = sizeof(struct child_args),
    .started = child_started,
    .stopped = child_stopped,
    .crashed = child_crashed,
    .restarted = child_restarted,
    .handlers = {[CRASH] = {.name = "crash", .fn = on_crash}},
};

const troupe_child trio_children[] = {
    {.behavior = &child, .args = &(const struct child_args){"first"}},
    {.behavior = &child, .args = &(const struct child_args){"second"}},
    {.behavior = &child, .args = &(const struct child_args){"third"}},
    {0},
};

/* --- the supervisor --- */

int trio_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct trio_state *state = self;
    state->awaited = ((const struct trio_args *)args)->restarting;
    return troupe_tell(ctx, troupe_self(ctx), TRIO_CRASH_ONE, NULL, 0);
}

void trio_on_crash_one(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    puts("-- all have started, the second is told to crash");
    troupe_tell(ctx, troupe_child_at(ctx, 1), CRASH, NULL, 0);
}

void trio_on_back(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct trio_state *state = self;
    (void)msg;
    if (--state->awaited > 0)
        return;
    puts("-- all are back, the supervisor stops");
    troupe_stop_self(ctx);
}

int trio_run(const troupe_behavior *supervisor, unsigned restarting)
{
    struct trio_args args = {.restarting = restarting};
    troupe_options options = {.log_level = TROUPE_LOG_NONE}; /* the transcript tells it all */
    return troupe_run(supervisor, &args, &options);
}
