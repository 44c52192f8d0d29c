/* SPDX-License-Identifier: Apache-2.0 */
/* Restart policies: what each of them makes of every way in which an incarnation can end. */
#include "script.h"

enum { PARENT, SUBJECT, OTHER }; /* world.addr */

/* --- the table -------------------------------------------------------------------------------------------------------
 * The subject may restart once. Whoever does the deed sends it a note first, so that one message waits when it happens.
 * The incarnation that handles the note has the deed done once more. */

struct deed {
    const char *name;
    step_fn *step;
    int by; /* whose step it is; -1: `started` fails by itself */
    const char *expected[3];
    unsigned notes_lost[3];
};

static const struct deed *deed;

STEP(do_deed)
{
    unsigned one = 1;
    say("|");
    troupe_tell(ctx, world.addr[SUBJECT], NOTE, &one, sizeof one);
    deed->step(ctx);
}

STEP(stop_subject)
{
    cr_assert_eq(troupe_stop(ctx, world.addr[SUBJECT]), 0);
}

STEP(kill_subject)
{
    cr_assert_eq(troupe_kill(ctx, world.addr[SUBJECT]), 0);
}

HANDLER(note_then_again)
{
    say("n");
    if (deed->by >= 0)
        go(ctx, world.addr[deed->by], do_deed);
    else
        troupe_stop(ctx, troupe_self(ctx));
}

STARTED(start_subject)
{
    say("S%u", troupe_incarnation(ctx));
    if (deed->by < 0)
        return troupe_incarnation(ctx) == 1 ? -EIO : 0;
    if (troupe_incarnation(ctx) == 1)
        go(ctx, world.addr[deed->by], do_deed);
    return 0;
}

static const troupe_behavior subject = {.name = "subject",
                                        .started = start_subject,
                                        .restarted = say_restarted,
                                        .crashed = say_crashed,
                                        .stopped = say_stopped,
                                        .handlers = {DOES, [NOTE] = ON(note_then_again, sizeof(unsigned))}};
static const troupe_behavior other = {.name = "other", .handlers = {DOES}};

static troupe_restart policy;

STARTED(start_family)
{
    troupe_supervision supervision = {.restart = policy, .restarts = 1, .window_ns = TROUPE_SEC(100)};
    world.addr[PARENT] = troupe_self(ctx);
    world.addr[OTHER] = troupe_spawn(ctx, &other, NULL, NULL);
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, &(troupe_spawn_options){.supervision = &supervision});
    if (deed->by < 0)
        note(ctx, world.addr[SUBJECT], 1);
    return 0;
}

static const troupe_behavior family = {.name = "family",
                                       .started = start_family,
                                       .child_stopped = say_last_child,
                                       .child_escalated = say_escalated,
                                       .stopped = keep_stats,
                                       .handlers = {DOES}};

#define LASTS "S1 | E:stopped child:stopped"
static const struct deed deeds[] = {
    /* name, step, by, {transient, permanent, temporary}, notes lost by each */
    {"panic",
     panic_step,
     SUBJECT,
     {"S1 | X:boom R1:panic S2 n | X:boom esc:panic child:escalated",
      "S1 | X:boom R1:panic S2 n | X:boom esc:panic child:escalated", "S1 | X:boom child:crashed"},
     {1, 1, 1}},
    {"failing start",
     NULL,
     -1,
     {"S1 R1:start S2 n E:stopped child:stopped", "S1 R1:start S2 n E:stopped esc:ended child:escalated",
      "S1 child:crashed"},
     {0, 0, 1}},
    {"stop_self",
     stop_step,
     SUBJECT,
     {"S1 | E:normal child:normal", "S1 | E:normal R1:ended S2 n | E:normal esc:ended child:escalated",
      "S1 | E:normal child:normal"},
     {1, 1, 1}},
    {"stop by itself",
     stop_subject,
     SUBJECT,
     {LASTS, "S1 | E:stopped R1:ended S2 n | E:stopped esc:ended child:escalated", LASTS},
     {1, 1, 1}},
    {"stop by another",
     stop_subject,
     OTHER,
     {LASTS, "S1 | E:stopped R1:ended S2 n | E:stopped esc:ended child:escalated", LASTS},
     {1, 1, 1}},
    {"stop by its parent", stop_subject, PARENT, {LASTS, LASTS, LASTS}, {1, 1, 1}},
    {"stop by the runtime", end_step, PARENT, {"S1 | E:stopped", "S1 | E:stopped", "S1 | E:stopped"}, {1, 1, 1}},
    {"kill by itself",
     kill_subject,
     SUBJECT,
     {"S1 | child:killed", "S1 | R1:ended S2 n | esc:ended child:escalated", "S1 | child:killed"},
     {1, 1, 1}},
    {"kill by another",
     kill_subject,
     OTHER,
     {"S1 | child:killed", "S1 | R1:ended S2 n | esc:ended child:escalated", "S1 | child:killed"},
     {1, 1, 1}},
    {"kill by its parent",
     kill_subject,
     PARENT,
     {"S1 | child:killed", "S1 | child:killed", "S1 | child:killed"},
     {1, 1, 1}},
};

Test(policy_of, every_deed_has_the_end_or_the_restart_that_the_policy_says)
{
    for (unsigned i = 0; i < sizeof deeds / sizeof *deeds; i++)
        for (unsigned p = 0; p < 3; p++) {
            deed = &deeds[i];
            policy = (troupe_restart)p;
            world_begin(1);
            cr_assert_eq(run(&family, NULL), 0);
            cr_assert_str_eq(world.trace, deed->expected[p], "%s, policy %u: %s", deed->name, p, world.trace);
            cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], deed->notes_lost[p], "%s, policy %u: %u letters", deed->name,
                         p, world.dead[TROUPE_DEAD_STOPPED]);
            unsigned kills = deed->step == kill_subject ? strstr(deed->expected[p], "R1") ? 2 : 1 : 0;
            cr_assert_eq(world.stats.kills, kills, "%s, policy %u: %lu kills", deed->name, p,
                         (unsigned long)world.stats.kills);
        }
}

/* --- orders that meet --------------------------------------------------------------------------------------------- */

static const troupe_behavior permanent = {
    .name = "permanent", TRACED, .supervision = {.restart = TROUPE_RESTART_PERMANENT}, .handlers = {DOES, NOTES}};

STEP(kill_it_while_it_stops)
{
    when(ctx, world.addr[SUBJECT], TR_LIFE_STOPPING, kill_subject);
}

STEP(stop_and_have_it_killed)
{
    troupe_stop(ctx, world.addr[SUBJECT]);
    go(ctx, world.addr[OTHER], kill_it_while_it_stops);
}

STEP(is_slow)
{
    go(ctx, world.addr[PARENT], stop_and_have_it_killed);
}

STEP(slow_and_stopped)
{
    with_slow_child(ctx, is_slow);
}

STARTED(start_pair)
{
    world.addr[PARENT] = troupe_self(ctx);
    world.addr[OTHER] = troupe_spawn(ctx, &other, NULL, NULL);
    world.addr[SUBJECT] = troupe_spawn(ctx, &permanent, NULL, NULL);
    go(ctx, world.addr[SUBJECT], *(step_fn *const *)args);
    return 0;
}

static const troupe_behavior pair = {.name = "pair",
                                     .args_size = sizeof(step_fn *),
                                     .started = start_pair,
                                     .child_stopped = say_last_child,
                                     .stopped = keep_stats,
                                     .handlers = {DOES}};

static void run_pair(step_fn *first)
{
    world_begin(1);
    cr_assert_eq(run(&pair, &first), 0);
    unstuff();
}

Test(policy_of, anybodys_kill_is_final_once_the_parent_has_said_stop)
{
    run_pair(slow_and_stopped);
    cr_assert_str_eq(world.trace, "S1 child:killed");
    cr_assert_eq(world.stats.kills, 2); /* of the stuffed child, too: it was not waited for */
}

STEP(kill_and_let_go)
{
    kill_subject(ctx);
    ck_pr_store_64(&world.word[0], 1);
}

STEP(stop_behind_a_kill)
{
    go(ctx, world.addr[OTHER], kill_and_let_go);
    spin_until(0);
    stop_subject(ctx);
    ck_pr_store_64(&world.word[1], 1);
}

STEP(busy_until_both_have_spoken)
{
    go(ctx, world.addr[PARENT], stop_behind_a_kill);
    spin_until(1);
}

Test(policy_of, a_kill_and_a_parents_stop_that_are_seen_together_are_a_final_kill)
{
    step_fn *first = busy_until_both_have_spoken;
    world_begin(3);
    cr_assert_eq(run(&pair, &first), 0);
    cr_assert_str_eq(world.trace, "S1 child:killed");
    cr_assert_eq(world.stats.kills, 1);
}

/* --- a permanent actor's renewal ---------------------------------------------------------------------------------- */

STEP(wait_for_renewal)
{
    when(ctx, world.addr[SUBJECT], TR_LIFE_RESTARTING, stop_subject);
}

STEP(stop_itself_slowly)
{
    troupe_stop_self(ctx);
    cr_assert(troupe_addr_is_nobody(troupe_spawn(ctx, &other, NULL, NULL)));
    go(ctx, world.addr[PARENT], wait_for_renewal);
}

STEP(grow_slow_and_stop_itself)
{
    with_slow_child(ctx, stop_itself_slowly);
}

Test(renewal, ends_when_the_parent_stops_it_on_the_way)
{
    run_pair(grow_slow_and_stop_itself);
    cr_assert_str_eq(world.trace, "S1 E:stopped child:stopped");
}

STEP(stop_and_panic)
{
    note(ctx, troupe_self(ctx), 1);
    go_on(ctx, stop_subject);
    go_on(ctx, end_step);
    troupe_stop_self(ctx);
    troupe_panic(ctx, "boom");
}

Test(renewal, goes_on_when_the_handler_panics_after_it_had_stopped_itself)
{
    run_pair(stop_and_panic);
    cr_assert_str_eq(world.trace, "S1 E:normal R1:ended S2 n1 E:stopped R2:ended S3 E:stopped", "%s", world.trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
}

static void say_deferred(void *arg)
{
    say("d%s", (const char *)arg);
}

static const troupe_behavior leaf = {.name = "leaf", .stopped = say_stopped, .handlers = {DOES}};

STEP(kill_then_end)
{
    kill_subject(ctx);
    kill_subject(ctx);
    go(ctx, world.addr[SUBJECT], end_step);
}

STEP(leaf_is_ready)
{
    troupe_defer(ctx, say_deferred, "leaf");
    go(ctx, world.addr[OTHER], kill_then_end);
}

STEP(grow_a_leaf)
{
    troupe_defer(ctx, say_deferred, "subject");
    go(ctx, troupe_spawn(ctx, &leaf, NULL, NULL), leaf_is_ready);
}

Test(renewal, by_a_kill_takes_the_children_along_without_a_word)
{
    run_pair(grow_a_leaf);
    cr_assert_str_eq(world.trace, "S1 dleaf dsubject R1:ended S2 E:stopped", "%s", world.trace);
    cr_assert_eq(world.stats.kills, 2);
    cr_assert_eq(world.stats.restarts, 1);
}

/* Somebody who shares its fate: told of it as of any other kill. */
STARTED(end_when_restarted)
{
    if (troupe_incarnation(ctx) == 2)
        troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior friend = {.name = "friend",
                                       .started = end_when_restarted,
                                       .restarted = say_restarted,
                                       .crashed = say_crashed,
                                       .handlers = {DOES}};

STEP(the_link_is_there)
{
    go(ctx, world.addr[OTHER], kill_subject);
}

STEP(befriend)
{
    world.addr[OTHER] = troupe_self(ctx);
    cr_assert_eq(troupe_link(ctx, world.addr[SUBJECT], NULL), 0);
    go(ctx, world.addr[SUBJECT], the_link_is_there); /* a kill overtakes the making of a link, a message does not */
}

STARTED(start_friends)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &permanent, NULL, NULL);
    go(ctx, troupe_spawn(ctx, &friend, NULL, NULL), befriend);
    return 0;
}

Test(renewal, by_a_kill_is_a_kill_for_those_who_are_linked)
{
    static const troupe_behavior friends = {.name = "friends", .started = start_friends};
    world_begin(1);
    cr_assert_eq(run(&friends, NULL), 0);
    cr_assert(strstr(world.trace, "was killed (incarnation 1) R1:link"), "%s", world.trace);
}

/* --- roots and starts --------------------------------------------------------------------------------------------- */

STARTED(start_root)
{
    say_started(ctx, self, args);
    go_on(ctx, troupe_incarnation(ctx) == 1 ? stop_step : end_step);
    return 0;
}

Test(root, that_is_permanent_outlives_itself_and_not_the_runtime)
{
    static const troupe_behavior root = {.name = "root",
                                         .started = start_root,
                                         .restarted = say_restarted,
                                         .stopped = say_stopped,
                                         .supervision = {.restart = TROUPE_RESTART_PERMANENT},
                                         .handlers = {DOES}};
    world_begin(1);
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_str_eq(world.trace, "S1 E:normal R1:ended S2 E:stopped");
}

STARTED(stop_while_starting)
{
    say("S%u", troupe_incarnation(ctx));
    troupe_stop_self(ctx);
    if (word(0))
        troupe_panic(ctx, "boom");
    return 0;
}

STARTED(start_one)
{
    troupe_spawn(ctx, *(const troupe_behavior *const *)args, NULL, NULL);
    return 0;
}

static const troupe_behavior one = {
    .name = "one", .args_size = sizeof(void *), .started = start_one, .child_stopped = say_last_child};

Test(stop_self, in_started_stops_once_it_has_started_or_when_it_cannot)
{
    static const troupe_behavior brief = {.name = "brief", .started = stop_while_starting, .stopped = say_stopped};
    const troupe_behavior *child = &brief;
    for (unsigned panics = 0; panics < 2; panics++) {
        world_begin(1);
        world.word[0] = panics;
        cr_assert_eq(run(&one, &child), 0);
        cr_assert_str_eq(world.trace, panics ? "S1 child:normal" : "S1 E:normal child:normal");
    }
}
