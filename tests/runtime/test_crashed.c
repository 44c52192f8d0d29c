/* SPDX-License-Identifier: Apache-2.0 */
/* `crashed`, the callback that saves what must not be lost, and troupe_hold, by which an incarnation that loads keeps
 * its mailbox waiting. */
#include "tests/runtime/world.h"

enum { GO, ASK, PANIC, LATER };

/* --- a keeper: keeps asks, panics on demand, and answers what it kept from `crashed` ------------------------------ */

struct keeper {
    troupe_msg *kept[3];
    unsigned count;
    bool bad; /* panics in `crashed` as well */
};

static int keeper_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct keeper *keeper = self;
    keeper->bad = *(const bool *)args && troupe_incarnation(ctx) == 1;
    say("started%u", troupe_incarnation(ctx));
    return 0;
}

HANDLER(keeper_ask)
{
    struct keeper *keeper = self;
    keeper->kept[keeper->count++] = troupe_keep(ctx, msg);
}

HANDLER(keeper_panic)
{
    say("panic");
    troupe_panic(ctx, "on demand");
}

static void keeper_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct keeper *keeper = self;
    say("crashed:%s", crash->handler);
    for (unsigned i = 0; i < keeper->count; i++) {
        int value = (int)i;
        troupe_reply(ctx, keeper->kept[i], &value, sizeof value);
        if (keeper->bad)
            troupe_panic(ctx, "in crashed");
    }
}

static const troupe_behavior keeper = {
    .name = "keeper",
    .state_size = sizeof(struct keeper),
    .args_size = sizeof(bool),
    .started = keeper_started,
    .crashed = keeper_crashed,
    .handlers = {[ASK] = ON(keeper_ask, 0), [PANIC] = ON(keeper_panic, 0)},
};

ANSWER(on_answer)
{
    say("answer%d", answer->status ? answer->status : *(const int *)answer->payload);
    if (bump(0) == 2)
        troupe_stop_runtime(ctx, 0);
}

static int asker_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self;
    troupe_addr to = troupe_spawn(ctx, &keeper, args, NULL);
    for (int i = 0; i < 2; i++)
        troupe_ask(ctx, to, ASK, NULL, 0, TROUPE_FOREVER, on_answer, NULL);
    return troupe_tell(ctx, to, PANIC, NULL, 0);
}

static const troupe_behavior asker = {.name = "asker", .args_size = sizeof(bool), .started = asker_started};

Test(crashed, it_can_answer_what_the_incarnation_kept)
{
    bool bad = false;
    world_begin(1);
    cr_assert_eq(run(&asker, &bad), 0);
    cr_assert_str_eq(world.trace, "started1 panic crashed:keeper_panic started2 answer0 answer1");
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1, "only the message that crashed");
}

Test(crashed, a_panic_in_it_costs_the_rest_and_the_restart_goes_on)
{
    bool bad = true;
    char expected[160];
    world_begin(1);
    cr_assert_eq(run(&asker, &bad), 0);
    snprintf(expected, sizeof expected, "started1 panic crashed:keeper_panic started2 answer0 answer%d", -ECONNRESET);
    cr_assert_str_eq(world.trace, expected);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 2);
}

/* --- not for an incarnation that never ran ------------------------------------------------------------------------ */

static int weak_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    if (troupe_incarnation(ctx) == 1)
        return -EIO;
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static void weak_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self, (void)crash;
    say("crashed");
}

Test(crashed, it_is_not_called_when_started_failed)
{
    static const troupe_behavior weak = {.name = "weak", .started = weak_started, .crashed = weak_crashed};
    world_begin(1);
    cr_assert_eq(run(&weak, NULL), 0);
    cr_assert_str_eq(world.trace, "");
}

/* --- holding ------------------------------------------------------------------------------------------------------ */

struct loader {
    troupe_file file;
};

static int loader_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct loader *loader = self;
    (void)args;
    troupe_hold(ctx);
    say("loading");
    int status = troupe_file_open(ctx, "/dev/zero", 0, 0, LATER, &loader->file);
    return status < 0 ? status : troupe_file_read(ctx, loader->file, 0, 64, 0);
}

/* The first incarnation crashes while it loads: what waits in the mailbox must still be there for the second. */
static void loader_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    if (troupe_incarnation(ctx) == 1)
        troupe_panic(ctx, "while loading");
    say("loaded");
    troupe_unhold(ctx);
}

HANDLER(loader_go)
{
    say("go%d", *(const int *)troupe_payload(msg));
    if (*(const int *)troupe_payload(msg) == 3)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior loader = {
    .name = "loader",
    .state_size = sizeof(struct loader),
    .started = loader_started,
    .handlers = {[GO] = ON(loader_go, sizeof(int)), [LATER] = ON(loader_done, sizeof(troupe_file_done))},
};

static int teller_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    troupe_addr to = troupe_spawn(ctx, &loader, NULL, NULL);
    for (int i = 1; i <= 3; i++)
        troupe_tell(ctx, to, GO, &i, sizeof i);
    return 0;
}

Test(hold, messages_wait_in_order_also_over_a_crash_while_io_goes_on)
{
    static const troupe_behavior teller = {.name = "teller", .started = teller_started};
    for (unsigned workers = 1; workers <= 4; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&teller, NULL), 0);
        cr_assert_str_eq(world.trace, "loading loading loaded go1 go2 go3");
    }
}
