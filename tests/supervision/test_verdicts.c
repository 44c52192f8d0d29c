/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts on a child that crashed too often, most of all its replacement, and callbacks of the parent that panic or
 * stop everything. What verdicts mean for a group is in test_strategies.c. */
#include "kin.h"

enum { WORKERS = 3 };

static const troupe_supervision none = {.restarts = TROUPE_RESTARTS_NONE};
static const troupe_supervision stubborn = {.restarts = TROUPE_RESTARTS_NONE, .restart = TROUPE_RESTART_PERMANENT};

static const troupe_child three[] = {{.behavior = &kin_member, .args = KIN(A)},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &none},
                                     {.behavior = &kin_member, .args = KIN(C)},
                                     {0}};
static const troupe_behavior parent = {.name = "parent", KIN_CALLBACKS, .children = {.declared = three}};

static void begin(const troupe_behavior *top, unsigned workers, troupe_verdict verdict)
{
    kin_prepare(workers);
    kin_plan[P].verdict = verdict;
    kin_begin(top);
    await("+C");
}

/* --- each of them, on a declared child and on a dynamic one ------------------------------------------------------- */

static const struct {
    troupe_verdict verdict;
    const char *last, *declared, *dynamic;
} verdicts[] = {
    {TROUPE_VERDICT_IGNORE, "P.gone", "P.gone(B,escalated) -C -A -P", "P.gone(X,escalated) -C -B -A -P"},
    {TROUPE_VERDICT_RESTART_CHILD, "2", "~B:panic +B2 -C -B -A -P", "~X:panic +X2 -X -C -B -A -P"},
    {TROUPE_VERDICT_STOP_SELF, "R.gone", "-C -A -P:normal R.gone(P,normal)", "-C -B -A -P:normal R.gone(P,normal)"},
    {TROUPE_VERDICT_RESTART_SELF, "+C", "-C -A !P ~P:child +P2 +A +B +C -C -B -A -P",
     "-C -B -A !P ~P:child +P2 +A +B +C -C -B -A -P"},
    {(troupe_verdict)77, "+C", "-C -A !P ~P:child +P2 +A +B +C -C -B -A -P", /* none of them: the default */
     "-C -B -A !P ~P:child +P2 +A +B +C -C -B -A -P"},
};

Test(verdict, is_carried_out)
{
    for (unsigned i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
        for (unsigned workers = 1; workers <= WORKERS; workers++) {
            char expected[200];
            begin(&parent, workers, verdicts[i].verdict);
            tell_panic(B);
            await(verdicts[i].last);
            kin_end();
            snprintf(expected, sizeof expected, "+P +A +B +C !B P.asked(B) %s", verdicts[i].declared);
            ASSERT_TRACE(expected);

            begin(&parent, workers, verdicts[i].verdict);
            tell_spawn(P, &kin_member, &none, KIN(X));
            await("+X");
            tell_panic(X);
            await(verdicts[i].last);
            kin_end();
            snprintf(expected, sizeof expected, "+P +A +B +C +X !X P.asked(X) %s", verdicts[i].dynamic);
            ASSERT_TRACE(expected);
        }
}

/* Without the callback the parent crashes too. */
Test(verdict, is_restart_self_if_nobody_gives_one)
{
    static troupe_behavior mute;
    mute = parent;
    mute.child_escalated = NULL;
    begin(&mute, 2, TROUPE_VERDICT_IGNORE);
    tell_panic(B);
    await("+C");
    kin_end();
    ASSERT_TRACE("+P +A +B +C !B -C -A !P ~P:child +P2 +A +B +C -C -B -A -P");
}

/* A child that is to go on has as many restarts as at first. */
static const troupe_supervision twice = {.restarts = 2, .window_ns = TROUPE_SEC(1000)};

Test(verdict, to_restart_the_child_gives_it_a_fresh_window)
{
    begin(&parent, 2, TROUPE_VERDICT_RESTART_CHILD);
    tell_spawn(P, &kin_member, &twice, KIN(X));
    await("+X");
    for (unsigned n = 2; n < 12; n++) {
        char text[12];
        snprintf(text, sizeof text, "+X%u", n);
        tell_panic(X);
        await(text);
    }
    kin_end();
    cr_assert_eq(kin_stats.escalations, 3, "%s", world.trace); /* each third crash */
    cr_assert(strstr(world.trace, "+X3 !X P.asked(X) ~X:panic +X4 !X ~X"), "%s", world.trace);
}

/* --- a replacement ------------------------------------------------------------------------------------------------ */

/* The one that was replaced, and what its successor found. */
static void say_place(troupe_ctx *ctx)
{
    troupe_addr at = troupe_child_at(ctx, 1);
    say(troupe_addr_same(at, kin_at(Y)) ? "old" : troupe_addr_is_nobody(at) ? "nobody" : "fresh");
}

static void replace_b(unsigned workers)
{
    kin_prepare(workers);
    kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
    kin_plan[P].in_verdict = kin_plan[P].in_replaced = say_place;
    kin_begin(&parent);
    await("+C");
    ck_pr_store_64(&kin_addr[Y], kin_at(B).bits);
    tell(B, BLOCK, NULL, 0);
    await("B(");
    tell_panic(B);
    tell_note(B, 1); /* in the mailbox of the old one when it ends */
    tell_note(B, 2);
    kin_open(B);
    await("P.new(B)");
    await("fresh");
    while (troupe_addr_same(kin_at(B), kin_at(Y))) /* it begins when it likes */
        usleep(100);
}

Test(replacement, is_a_new_actor_in_the_old_place)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        replace_b(workers);
        cr_assert_neq(kin_at(B).bits, kin_at(Y).bits);
        tell_note(Y, 3); /* the old address is stale */
        tell_note(B, 4);
        await("B:4");
        tell_panic(B); /* its window is fresh, and as strict */
        await("P.asked(B)");
        await("P.new(B)");
        kin_end();
        cr_assert_not(said("B:1") || said("B:2") || said("B:3") || said("~B") || said("P.gone"), "%s", world.trace);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 2);
        cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 1);
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 2);
        cr_assert(strstr(world.trace, "-C -B -A -P"), "%s", world.trace);
        cr_assert(strstr(world.trace, "!B P.asked(B) old "), "%s", world.trace);
        cr_assert_eq(kin_stats.spawns, 2 + 3 + 2);
    }
}

/* The arguments and the supervision are the old one's: also those that were made for it. */
static uint64_t made;

static void make_b(UNUSED troupe_ctx *ctx, UNUSED void *self, UNUSED unsigned number, void *args)
{
    struct kin *kin = args;
    *kin = *KIN(B);
    snprintf(kin->name, sizeof kin->name, "B%lu", ck_pr_faa_64(&made, 1));
}

static const troupe_child with_made[] = {{.behavior = &kin_member, .make_args = make_b, .supervision = &none},
                                         {.behavior = &kin_member, .args = KIN(C)},
                                         {0}};
static const troupe_behavior of_made = {.name = "made", KIN_CALLBACKS, .children = {.declared = with_made}};

Test(replacement, takes_over_the_arguments)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        made = 0;
        kin_prepare(workers);
        kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
        kin_begin(&of_made);
        await("+C");
        for (unsigned i = 0; i < 5; i++) {
            uint64_t old = kin_at(B).bits;
            tell_panic(B);
            while (kin_at(B).bits == old)
                usleep(100);
        }
        kin_end();
        cr_assert_eq(made, 1);
        cr_assert_not(said("B1"), "%s", world.trace);
        cr_assert_eq(kin_stats.spawns, 2 + 2 + 5);
    }
}

Test(replacement, of_a_dynamic_child_keeps_its_place_among_them)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        static troupe_behavior rest;
        rest = parent;
        rest.children.strategy = TROUPE_REST_FOR_ONE;
        begin(&rest, workers, TROUPE_VERDICT_REPLACE_CHILD);
        tell_spawn(P, &kin_member, &none, KIN(X));
        await("+X");
        tell_spawn(P, &kin_member, NULL, KIN(Y));
        await("+Y");
        uint64_t old = kin_at(X).bits;
        tell_panic(X);
        await("P.new(X)");
        while (kin_at(X).bits == old)
            usleep(100);
        tell_panic(Y); /* X is before it, and so not concerned */
        await("~Y:panic +Y2");
        kin_end();
        cr_assert_not(said("~X"), "%s", world.trace);
        cr_assert_not(said("-X P") || said("-X +Y"), "%s", world.trace);
    }
}

/* No room for one more: the old one's place is free by then. */
Test(replacement, needs_no_room_of_its_own)
{
    kin_prepare(1);
    kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
    troupe_options options = world_options();
    options.actors_max = 5;
    kin_begin_with(&parent, NULL, &options);
    await("+C");
    do
        tell_spawn(P, &kin_member, NULL, KIN(X));
    while (usleep(100), word(P) == 0); /* counts the spawns that failed */
    for (unsigned i = 0; i < 3; i++) {
        tell_panic(B);
        await("P.new(B)");
        await("+B");
    }
    kin_end();
}

/* Somebody else ends the old one at the same time, before, during and after the verdict: there is a replacement if and
 * only if the verdict was given, and child_replaced or child_stopped is called, never both, never none. */
static void let_others_stop_it(UNUSED troupe_ctx *ctx)
{
    say("judging");
    kin_wait_gate(P);
}

Test(replacement, comes_whoever_ends_the_old_one_meanwhile)
{
    for (unsigned verb = STOP; verb <= KILL; verb++)
        for (unsigned round = 0; round < 10; round++) {
            begin(&parent, WORKERS, TROUPE_VERDICT_REPLACE_CHILD);
            kin_plan[P].in_verdict = let_others_stop_it;
            uint64_t old = kin_at(B).bits;
            tell_panic(B);
            await("judging");
            tell_order(R, verb, B);
            await_obeyed();
            if (round % 2)
                usleep(100 * round); /* it ends about now, or later */
            kin_open(P);
            await("P.new(B)");
            while (kin_at(B).bits == old)
                usleep(100);
            tell_note(B, 1);
            await("B:1");
            kin_end();
            cr_assert_not(said("P.gone"), "%s", world.trace);
            cr_assert_null(strstr(strstr(world.trace, "P.new") + 1, "P.new"), "%s", world.trace);
        }
}

Test(replacement, or_none_if_it_had_ended_before_the_verdict)
{
    for (unsigned round = 0; round < 10; round++) {
        begin(&parent, WORKERS, TROUPE_VERDICT_REPLACE_CHILD);
        tell(P, BLOCK, NULL, 0);
        await("P(");
        tell_panic(B);
        await("!B");
        await_life(B, TR_LIFE_ESCALATING);
        tell_order(R, STOP, B);
        await_obeyed();
        if (round % 2)
            usleep(100 * round);
        kin_open(P);
        await("P)");
        tell_note(P, 1);
        await("P:1");
        kin_end();
        bool judged = said("P.asked(B)"), replaced = said("P.new(B)"), told = said("P.gone(B,escalated)");
        cr_assert_eq(judged, replaced, "%s", world.trace);
        cr_assert_eq(told, !replaced, "%s", world.trace);
    }
}

/* A permanent one may be replaced as well, and others' orders are nothing to it. */
static const troupe_child with_stubborn[] = {{.behavior = &kin_member, .args = KIN(B), .supervision = &stubborn},
                                             {.behavior = &kin_member, .args = KIN(C)},
                                             {0}};
static const troupe_behavior of_stubborn = {.name = "stubborn", KIN_CALLBACKS, .children = {.declared = with_stubborn}};

Test(replacement, of_a_permanent_child_that_ended_in_order_too_often)
{
    kin_prepare(2);
    kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
    kin_begin(&of_stubborn);
    await("+C");
    uint64_t old = kin_at(B).bits;
    tell(B, END, NULL, 0);
    await("P.new(B)");
    while (kin_at(B).bits == old)
        usleep(100);
    kin_end();
    cr_assert(strstr(world.trace, "-B:normal P.asked(B)"), "%s", world.trace);
    cr_assert_not(said("P.gone"), "%s", world.trace);
}

/* The parent ends or crashes before the old one has: there is no replacement. */
static void stop_in_verdict(troupe_ctx *ctx)
{
    troupe_stop_self(ctx);
}

Test(replacement, is_none_when_the_parent_stops_itself_over_it)
{
    static const troupe_verdict all[] = {TROUPE_VERDICT_RESTART_SELF, TROUPE_VERDICT_STOP_SELF,
                                         TROUPE_VERDICT_RESTART_CHILD, TROUPE_VERDICT_REPLACE_CHILD,
                                         TROUPE_VERDICT_IGNORE};
    for (unsigned i = 0; i < 5; i++)
        for (unsigned all_for_one = 0; all_for_one < 2; all_for_one++) {
            static troupe_behavior top;
            top = parent;
            top.children.strategy = all_for_one ? TROUPE_ONE_FOR_ALL : TROUPE_ONE_FOR_ONE;
            begin(&top, WORKERS, all[i]);
            kin_plan[P].in_verdict = stop_in_verdict;
            tell_panic(B);
            await("R.gone");
            kin_end();
            ASSERT_TRACE("+P +A +B +C !B P.asked(B) -C -A -P:normal R.gone(P,normal)");
            cr_assert_eq(kin_stats.crashes, 1, "%lu", kin_stats.crashes);
        }
}

/* --- callbacks that panic ----------------------------------------------------------------------------------------- */

static const char *handler_of_second_crash(void)
{
    static troupe_crash crashes[4];
    cr_assert_eq(troupe_crashes_read(kin_rt, 0, crashes, 4), 2);
    cr_assert_str_eq(crashes[1].behavior, "parent");
    cr_assert_eq(crashes[1].cause, TROUPE_CAUSE_PANIC);
    return crashes[1].handler;
}

Test(panic, in_child_escalated_is_the_parents_and_the_child_ends_with_it)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&parent, workers, TROUPE_VERDICT_IGNORE);
        kin_plan[P].panics_asked = 1;
        tell_panic(B);
        await("+C");
        cr_assert_str_eq(handler_of_second_crash(), "child_escalated");
        kin_end();
        ASSERT_TRACE("+P +A +B +C !B P.asked(B) -C -A !P ~P:panic +P2 +A +B +C -C -B -A -P");
    }
}

Test(panic, in_child_stopped_is_the_parents)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&parent, workers, TROUPE_VERDICT_IGNORE);
        kin_plan[P].panics_told = 1;
        tell_panic(B);
        await("+C");
        cr_assert_str_eq(handler_of_second_crash(), "child_stopped");
        kin_end();
        ASSERT_TRACE("+P +A +B +C !B P.asked(B) P.gone(B,escalated) -C -A !P ~P:panic +P2 +A +B +C -C -B -A -P");
    }
}

/* The fresh one is a child already, and stops with the others. */
Test(panic, in_child_replaced_is_the_parents)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&parent, workers, TROUPE_VERDICT_REPLACE_CHILD);
        kin_plan[P].panics_new = 1;
        tell_panic(B);
        await("+P2");
        await("+C");
        cr_assert_str_eq(handler_of_second_crash(), "child_replaced");
        kin_end();
        cr_assert(strstr(world.trace, "-A !P ~P:panic +P2 +A +B +C -C -B -A -P"), "%s", world.trace);
        cr_assert_eq(kin_stats.spawns, 2 + 3 + 1 + 3);
    }
}

/* Several children escalate at once: each has its own verdict. */
static const troupe_child frail[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &none},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &none},
                                     {.behavior = &kin_member, .args = KIN(C), .supervision = &none},
                                     {0}};
static const troupe_behavior of_frail = {.name = "parent", KIN_CALLBACKS, .children = {.declared = frail}};

Test(verdict, is_asked_for_each_of_several_at_once)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&of_frail, workers, TROUPE_VERDICT_IGNORE);
        tell_panic(A);
        tell_panic(B);
        tell_panic(C);
        for (unsigned i = 0; i < 3; i++)
            await(",escalated)");
        kin_end();
        cr_assert(said("P.asked(A)") && said("P.asked(B)") && said("P.asked(C)"), "%s", world.trace);
        cr_assert(said("P.gone(A,") && said("P.gone(B,") && said("P.gone(C,"), "%s", world.trace);
    }
}
