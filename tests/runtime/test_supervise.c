/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision: restarts, windows, verdicts, the order of stopping, panics in every callback. */
#include "world.h"

#include <stdlib.h>

enum { GO, PANIC, END, CHILD_PANIC, NOTE };

HANDLER(panic_now)
{
    troupe_panic(ctx, "on request");
}

HANDLER(end_runtime)
{
    troupe_stop_runtime(ctx, 0);
}

/* --- the order of callbacks and the state ------------------------------------------------------------------------- */

struct state {
    unsigned touched;
    char tail[100];
};

STARTED(note_start)
{
    struct state *state = self;
    for (size_t i = 0; i < sizeof *state; i++)
        if (((const char *)self)[i])
            say("dirty");
    say("started%u:%d", troupe_incarnation(ctx), *(const int *)args);
    memset(self, 7, sizeof *state);
    return 0;
}

RESTARTED(note_restart)
{
    for (size_t i = 0; i < sizeof(struct state); i++)
        if (((const char *)self)[i])
            say("dirty");
    say("restarted:%u:%s:%s:%u:%u", count, crash->handler, crash->text, crash->incarnation, crash->restarts);
    if (strcmp(crash->behavior, "subject") != 0 || !strstr(crash->file, "test_supervise.c") || crash->line == 0 ||
        !troupe_addr_same(crash->actor, troupe_self(ctx)))
        say("wrong");
}

STOPPED(note_stop)
{
    say("stopped:%s", troupe_reason_name(reason));
}

CHILD_STOPPED(note_child)
{
    say("child:%s", troupe_reason_name(reason));
    if (++world.word[9] == world.word[8])
        troupe_stop_runtime(ctx, 0);
}

HANDLER(note)
{
    say("note%u", *(const unsigned *)troupe_payload(msg));
}

HANDLER(stop_me)
{
    troupe_stop_self(ctx);
}

static const troupe_behavior subject = {
    .name = "subject",
    .state_size = sizeof(struct state),
    .args_size = sizeof(int),
    .started = note_start,
    .restarted = note_restart,
    .stopped = note_stop,
    .handlers = {[PANIC] = ON(panic_now, 0), [NOTE] = ON(note, sizeof(unsigned)), [END] = ON(stop_me, 0)}};

static void tell_note(troupe_ctx *ctx, troupe_addr to, unsigned n)
{
    troupe_tell(ctx, to, NOTE, &n, sizeof n);
}

STARTED(drive_subject)
{
    int arg = 5;
    world.word[8] = 1;
    troupe_addr to = troupe_spawn(ctx, &subject, &arg, NULL);
    arg = 6; /* the copy counts */
    tell_note(ctx, to, 1);
    troupe_tell(ctx, to, PANIC, NULL, 0);
    tell_note(ctx, to, 2);
    troupe_tell(ctx, to, PANIC, NULL, 0);
    tell_note(ctx, to, 3);
    troupe_tell(ctx, to, END, NULL, 0);
    tell_note(ctx, to, 4);
    return 0;
}

static const troupe_behavior driver = {.name = "driver", .started = drive_subject, .child_stopped = note_child};

Test(restart, goes_on_behind_the_same_address_with_zeroed_state)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&driver, NULL), 0);
        cr_assert_str_eq(world.trace,
                         "started1:5 note1 restarted:1:panic_now:on request:1:0 started2:5 note2 "
                         "restarted:2:panic_now:on request:2:1 started3:5 note3 stopped:normal child:normal");
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
    }
}

/* --- window and escalation ---------------------------------------------------------------------------------------- */

struct plan {
    const troupe_behavior *child;
    const troupe_supervision *supervision;
    unsigned panics;
    unsigned verdict; /* of the parent */
};

static struct plan plan;

STARTED(spawn_and_panic)
{
    int arg = 1;
    say("parent%u", troupe_incarnation(ctx));
    troupe_spawn_options options = {.supervision = plan.supervision};
    world.addr[0] = troupe_spawn(ctx, plan.child, &arg, &options);
    for (unsigned i = 0; i < plan.panics; i++)
        troupe_tell(ctx, world.addr[0], PANIC, NULL, 0);
    if (troupe_incarnation(ctx) > 1 || plan.verdict == TROUPE_VERDICT_RESTART_CHILD)
        troupe_send_after(ctx, TROUPE_MS(500), troupe_self(ctx), END, NULL, 0, NULL);
    if (troupe_incarnation(ctx) > 1)
        plan.panics = 0;
    return 0;
}

VERDICT(give_verdict)
{
    say("escalated:%s", crash->text);
    return (troupe_verdict)plan.verdict;
}

CHILD_STOPPED(child_gone)
{
    say("child:%s", troupe_reason_name(reason));
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior silent = {
    .name = "silent", .args_size = sizeof(int), .handlers = {[PANIC] = ON(panic_now, 0)}};

static const troupe_behavior parent = {.name = "parent",
                                       .started = spawn_and_panic,
                                       .stopped = note_stop,
                                       .child_stopped = child_gone,
                                       .child_escalated = give_verdict,
                                       .supervision = {.restarts = 2},
                                       .handlers = {[END] = ON(end_runtime, 0)}};

static const troupe_supervision none = {.restarts = TROUPE_RESTARTS_NONE};
static const troupe_supervision temporary = {.restart = TROUPE_RESTART_TEMPORARY};

static int run_plan(const troupe_behavior *root, const troupe_supervision *supervision, unsigned panics,
                    unsigned verdict)
{
    world_begin(2);
    plan = (struct plan){&silent, supervision, panics, verdict};
    return run(root, NULL);
}

Test(escalate, three_restarts_are_allowed_by_default_and_the_fourth_crash_escalates)
{
    cr_assert_eq(run_plan(&parent, NULL, 4, TROUPE_VERDICT_IGNORE), 0);
    cr_assert_str_eq(world.trace, "parent1 escalated:on request child:escalated stopped:stopped");
}

Test(escalate, without_restarts_the_first_crash_escalates)
{
    cr_assert_eq(run_plan(&parent, &none, 1, TROUPE_VERDICT_IGNORE), 0);
    cr_assert_str_eq(world.trace, "parent1 escalated:on request child:escalated stopped:stopped");
}

Test(escalate, verdict_stop_self_stops_the_parent_in_order)
{
    cr_assert_eq(run_plan(&parent, &none, 1, TROUPE_VERDICT_STOP_SELF), 0);
    cr_assert_str_eq(world.trace, "parent1 escalated:on request stopped:normal");
}

Test(escalate, verdict_restart_child_gives_it_a_fresh_window)
{
    cr_assert_eq(run_plan(&parent, NULL, 7, TROUPE_VERDICT_RESTART_CHILD), 0);
    cr_assert_str_eq(world.trace, "parent1 escalated:on request stopped:stopped");
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 7);
}

Test(escalate, verdict_restart_self_is_the_default_and_counts_in_the_own_window)
{
    static troupe_behavior no_verdict;
    no_verdict = parent;
    no_verdict.child_escalated = NULL;
    cr_assert_eq(run_plan(&no_verdict, &none, 1, 0), 0);
    cr_assert_str_eq(world.trace, "parent1 parent2 parent3 stopped:stopped", "%s", world.trace);
}

Test(escalate, past_the_root_ends_the_runtime_with_status_one)
{
    static troupe_behavior fragile;
    fragile = parent;
    fragile.child_escalated = NULL;
    fragile.supervision = none;
    cr_assert_eq(run_plan(&fragile, &none, 1, 0), 1);
    cr_assert_str_eq(world.trace, "parent1");
    cr_assert(strstr(world.last_log, "child silent crashed too often: on request"), "%s", world.last_log);
}

Test(restart, a_temporary_actor_ends_with_its_first_crash)
{
    cr_assert_eq(run_plan(&parent, &temporary, 1, TROUPE_VERDICT_RESTART_CHILD), 0);
    cr_assert_str_eq(world.trace, "parent1 child:crashed stopped:stopped");
}

/* A child that waits for the verdict is stopped by somebody else; its crash is read by the parent all the same. */
VERDICT(stop_it_meanwhile)
{
    troupe_stop(ctx, world.addr[0]); /* on another worker it ends while this goes on */
    for (unsigned i = 0; i < 200000; i++)
        if (strcmp(crash->text, "on request") != 0)
            say("changed");
    return TROUPE_VERDICT_RESTART_CHILD;
}

static const troupe_behavior meddler = {
    .name = "meddler", .started = spawn_and_panic, .child_stopped = child_gone, .child_escalated = stop_it_meanwhile};

Test(escalate, a_child_that_is_stopped_while_it_waits_keeps_its_crash_record)
{
    for (unsigned round = 0; round < 10; round++) {
        cr_assert_eq(run_plan(&meddler, &none, 1, 0), 0);
        cr_assert_str_eq(world.trace, "parent1 child:escalated");
    }
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

STARTED(spawn_tree)
{
    unsigned depth = *(const unsigned *)args;
    extern const troupe_behavior tree;
    if (depth > 0)
        for (unsigned i = 0; i < 2; i++) {
            unsigned below = depth - 1;
            if (troupe_addr_is_nobody(troupe_spawn(ctx, &tree, &below, NULL)))
                say("no child");
        }
    *(unsigned *)self = depth;
    if (bump(0) == 15)
        troupe_stop_runtime(ctx, 3);
    return 0;
}

STOPPED(children_first)
{
    enum { ENDED = 10 }; /* by depth */
    unsigned depth = *(const unsigned *)self;
    if (reason != TROUPE_REASON_STOPPED)
        say("reason");
    bump(ENDED + depth);
    if (depth == 3) {
        world.stats = stats_now(ctx);
        say("%lu %lu %lu %lu", word(ENDED), word(ENDED + 1), word(ENDED + 2), word(ENDED + 3));
    }
}

CHILD_STOPPED(never_told)
{
    say("told");
}

extern const troupe_behavior tree;
const troupe_behavior tree = {.name = "tree",
                              .state_size = sizeof(unsigned),
                              .args_size = sizeof(unsigned),
                              .started = spawn_tree,
                              .stopped = children_first,
                              .child_stopped = never_told};

Test(stop, children_end_before_their_parents)
{
    for (unsigned workers = 1; workers <= 4; workers++) {
        unsigned depth = 3;
        world_begin(workers);
        cr_assert_eq(run(&tree, &depth), 3);
        cr_assert_str_eq(world.trace, "8 4 2 1");
        cr_assert_eq(world.stats.spawns, 15);
        cr_assert_eq(world.stats.stops, 14);
        cr_assert_eq(world.stats.actors, 1);
    }
}

/* stop_self in `started`: it starts, then it stops, and the reason is its own. */
STARTED(stop_in_started)
{
    say("started");
    troupe_stop_self(ctx);
    return 0;
}

static const troupe_behavior brief = {.name = "brief", .started = stop_in_started, .stopped = note_stop};

STARTED(spawn_brief)
{
    world.word[8] = 1;
    troupe_addr to = troupe_spawn(ctx, &brief, NULL, NULL);
    return troupe_addr_is_nobody(to) ? -ENOMEM : 0;
}

static const troupe_behavior brief_root = {.name = "root", .started = spawn_brief, .child_stopped = note_child};

Test(stop, from_started_takes_effect_once_it_has_started)
{
    world_begin(2);
    cr_assert_eq(run(&brief_root, NULL), 0);
    cr_assert_str_eq(world.trace, "started stopped:normal child:normal");
}

/* A stop that comes before the actor has started. */
STARTED(spawn_and_stop)
{
    int arg = 1;
    world.word[8] = 1;
    troupe_addr to = troupe_spawn(ctx, &subject, &arg, NULL);
    cr_assert_eq(troupe_stop(ctx, to), 0);
    cr_assert_eq(troupe_stop(ctx, to), 0);
    return 0;
}

static const troupe_behavior early_stopper = {.name = "early", .started = spawn_and_stop, .child_stopped = note_child};

Test(stop, before_the_start_calls_neither_started_nor_stopped)
{
    world_begin(1);
    cr_assert_eq(run(&early_stopper, NULL), 0);
    cr_assert_str_eq(world.trace, "child:stopped");
}

/* An actor that crashed and waits for its children is told to stop. */
HANDLER(stop_grandparent_and_panic)
{
    troupe_stop(ctx, troupe_self(ctx));
    troupe_panic(ctx, "stopped and crashed at once");
}

static const troupe_behavior both = {.name = "both",
                                     .args_size = sizeof(int),
                                     .stopped = note_stop,
                                     .handlers = {[PANIC] = ON(stop_grandparent_and_panic, 0)}};

Test(stop, of_an_actor_that_crashed_meanwhile_calls_no_stopped)
{
    world_begin(2);
    plan = (struct plan){&both, NULL, 1, 0};
    cr_assert_eq(run(&parent, NULL), 0);
    cr_assert_str_eq(world.trace, "parent1 child:stopped stopped:stopped");
    cr_assert(strstr(world.last_log, "told to stop before it could restart"), "%s", world.last_log);
}

/* No child for one that stops. */
STOPPED(spawn_too_late)
{
    if (troupe_addr_is_nobody(troupe_spawn(ctx, &silent, &(int){1}, NULL)))
        say("nobody");
}

STARTED(stop_at_once)
{
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior late_spawner = {.name = "late", .started = stop_at_once, .stopped = spawn_too_late};

Test(spawn, of_an_actor_that_stops_is_refused)
{
    world_begin(1);
    cr_assert_eq(run(&late_spawner, NULL), 0);
    cr_assert_str_eq(world.trace, "nobody");
}

/* --- panics in each callback -------------------------------------------------------------------------------------- */

enum where { IN_STARTED, IN_RESTARTED, IN_STOPPED, IN_CHILD_STOPPED, IN_CHILD_ESCALATED, AS_STATUS, WHERES };

static enum where where;

static void panic_in(troupe_ctx *ctx, enum where here)
{
    if (where == here && bump(20 + here) == 1)
        troupe_panic(ctx, "here");
}

STARTED(panic_started)
{
    if (troupe_incarnation(ctx) == 1) {
        panic_in(ctx, IN_STARTED);
        if (where == AS_STATUS)
            return -ENODEV;
        if (where == IN_RESTARTED)
            troupe_panic(ctx, "first");
        if (where == IN_CHILD_STOPPED || where == IN_CHILD_ESCALATED) {
            troupe_supervision s = where == IN_CHILD_STOPPED ? temporary : none;
            troupe_spawn_options options = {.supervision = &s};
            troupe_tell(ctx, troupe_spawn(ctx, &silent, &(int){1}, &options), PANIC, NULL, 0);
            return 0;
        }
    }
    say("started%u", troupe_incarnation(ctx));
    troupe_stop_runtime(ctx, 0);
    return 0;
}

RESTARTED(panic_restarted)
{
    panic_in(ctx, IN_RESTARTED);
    say("restarted:%s:%d", crash->handler, crash->status);
}

STOPPED(panic_stopped)
{
    say("stopped");
    panic_in(ctx, IN_STOPPED);
}

CHILD_STOPPED(panic_child_stopped)
{
    panic_in(ctx, IN_CHILD_STOPPED);
}

VERDICT(panic_child_escalated)
{
    panic_in(ctx, IN_CHILD_ESCALATED);
    return TROUPE_VERDICT_IGNORE;
}

static const troupe_behavior panicker = {.name = "panicker",
                                         .started = panic_started,
                                         .restarted = panic_restarted,
                                         .stopped = panic_stopped,
                                         .child_stopped = panic_child_stopped,
                                         .child_escalated = panic_child_escalated};

Test(panic, in_each_callback_is_a_crash_of_the_actor)
{
    static const char *const traces[WHERES] = {
        [IN_STARTED] = "restarted:started:0 started2 stopped",
        [IN_RESTARTED] = "restarted:restarted:0 started3 stopped",
        [IN_STOPPED] = "started1 stopped",
        [IN_CHILD_STOPPED] = "restarted:child_stopped:0 started2 stopped",
        [IN_CHILD_ESCALATED] = "restarted:child_escalated:0 started2 stopped",
        [AS_STATUS] = "restarted:started:-19 started2 stopped",
    };
    for (unsigned i = 0; i < WHERES; i++) {
        world_begin(2);
        where = (enum where)i;
        cr_assert_eq(run(&panicker, NULL), 0, "in callback %u", i);
        cr_assert_str_eq(world.trace, traces[i], "callback %u: %s", i, world.trace);
    }
}

/* --- what the last callback of a crashed incarnation may do ------------------------------------------------------- */

struct last_words {
    troupe_msg *kept;
};

HANDLER(keep_it)
{
    ((struct last_words *)self)->kept = troupe_keep(ctx, msg);
    troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
}

ANSWER(note_answer)
{
    say("answer:%d", answer->status);
    troupe_stop_runtime(ctx, 0);
}

static void reply_and_try_everything(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    troupe_timer timer;
    troupe_listener listener;
    troupe_listen_options listen = {.accepted = NOTE};
    struct last_words *last = self;
    int refused = 0;
    refused += troupe_send_after(ctx, TROUPE_MS(1), troupe_self(ctx), NOTE, NULL, 0, &timer) < 0;
    refused += troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), NOTE, NULL, 0, NULL) < 0;
    refused += troupe_ask(ctx, troupe_self(ctx), NOTE, NULL, 0, TROUPE_MS(1), note_answer, NULL) < 0;
    refused += troupe_listen(ctx, &listen, &listener) < 0;
    refused += troupe_defer(ctx, free, NULL) < 0;
    refused += troupe_addr_is_nobody(troupe_spawn(ctx, &silent, &(int){1}, NULL));
    say("crashed:%s:%d", crash->text, refused);
    troupe_reply(ctx, last->kept, NULL, 0);
    if (word(3))
        troupe_panic(ctx, "once more");
}

static const troupe_behavior last_words = {.name = "last",
                                           .state_size = sizeof(struct last_words),
                                           .started = NULL,
                                           .crashed = reply_and_try_everything,
                                           .handlers = {[GO] = ON(keep_it, 0), [PANIC] = ON(panic_now, 0)}};

STARTED(ask_last_words)
{
    return troupe_ask(ctx, troupe_spawn(ctx, &last_words, NULL, NULL), GO, NULL, 0, TROUPE_FOREVER, note_answer, NULL);
}

static const troupe_behavior last_root = {.name = "root", .started = ask_last_words};

Test(crashed, may_reply_but_can_make_nothing_that_would_outlive_it)
{
    for (unsigned panics = 0; panics < 2; panics++) {
        world_begin(1);
        world.word[3] = panics;
        cr_assert_eq(run(&last_root, NULL), 0);
        cr_assert_str_eq(world.trace, "crashed:on request:6 answer:0");
    }
}

/* --- deferred calls ----------------------------------------------------------------------------------------------- */

static void note_deferred(void *arg)
{
    say("%s", (const char *)arg);
}

STARTED(defer_three)
{
    char text[] = "abc";
    for (unsigned i = 0; i < 3; i++) {
        static char names[3][2];
        names[i][0] = text[i];
        if (troupe_defer(ctx, note_deferred, names[i]) != 0)
            say("failed");
    }
    if (troupe_incarnation(ctx) == 1)
        troupe_panic(ctx, "now");
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior deferrer = {.name = "deferrer", .started = defer_three, .stopped = note_stop};

Test(defer, runs_the_last_one_first_after_crash_and_after_stopped)
{
    world_begin(1);
    cr_assert_eq(run(&deferrer, NULL), 0);
    cr_assert_str_eq(world.trace, "c b a stopped:stopped c b a");
}

/* --- an actor that cannot start lets others run ------------------------------------------------------------------- */

STARTED(never_starts)
{
    return -EIO;
}

static const troupe_behavior hopeless = {
    .name = "hopeless", .started = never_starts, .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1}};

/* It comes at all, so the worker is not kept; and the other goes on meanwhile, however slow the machine. */
HANDLER(end_after_a_hundred)
{
    if (stats_now(ctx).restarts > 100)
        troupe_stop_runtime(ctx, 0);
    else
        troupe_send_after(ctx, TROUPE_MS(30), troupe_self(ctx), END, NULL, 0, NULL);
}

STARTED(spawn_hopeless)
{
    troupe_send_after(ctx, TROUPE_MS(30), troupe_self(ctx), END, NULL, 0, NULL);
    troupe_spawn(ctx, &hopeless, NULL, NULL);
    return 0;
}

static const troupe_behavior hopeful = {.name = "hopeful",
                                        .started = spawn_hopeless,
                                        .stopped = keep_stats,
                                        .handlers = {[END] = ON(end_after_a_hundred, 0)}};

Test(restart, one_that_never_gets_beyond_started_does_not_keep_the_worker)
{
    world_begin(1);
    cr_assert_eq(run(&hopeful, NULL), 0); /* or the watchdog */
    cr_assert_gt(world.stats.restarts, 100);
}

/* A parent whose children end as fast as it makes them does not keep its worker either. */
HANDLER(ignore) {}

CHILD_STOPPED(one_more)
{
    bump(0);
    troupe_spawn(ctx, &brief, NULL, NULL);
}

HANDLER(end_after_one)
{
    if (word(0) > 0)
        troupe_stop_runtime(ctx, 0);
    else
        troupe_send_after(ctx, TROUPE_MS(30), troupe_self(ctx), END, NULL, 0, NULL);
}

STARTED(spawn_some_brief)
{
    troupe_send_after(ctx, TROUPE_MS(30), troupe_self(ctx), END, NULL, 0, NULL);
    for (unsigned i = 0; i < 500; i++)
        troupe_spawn(ctx, &brief, NULL, NULL);
    return 0;
}

static const troupe_behavior fertile = {.name = "fertile",
                                        .started = spawn_some_brief,
                                        .child_stopped = one_more,
                                        .handlers = {[END] = ON(end_after_one, 0), [GO] = ON(ignore, 0)}};

Test(control, a_flood_of_signals_leaves_the_worker_to_others)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&fertile, NULL), 0); /* or the watchdog */
        cr_assert_gt(word(0), 0);
    }
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static const troupe_behavior idle = {.name = "idle"};

STARTED(spawn_all)
{
    unsigned count = 0;
    while (!troupe_addr_is_nobody(troupe_spawn(ctx, &idle, NULL, NULL)))
        count++;
    ck_pr_store_64(&world.word[0], count);
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior spawner = {.name = "spawner", .started = spawn_all};

Test(spawn, reaches_actors_max_whatever_other_workers_hold_free)
{
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        for (unsigned max = 1; max <= 1000; max *= 10) {
            world_begin(workers);
            troupe_options options = world_options();
            options.actors_max = max;
            cr_assert_eq(troupe_run(&spawner, NULL, &options), 0);
            cr_assert_geq(word(0) + 1, max);
            cr_assert_leq(word(0) + 1, max + 64 * workers);
        }
    }
}
