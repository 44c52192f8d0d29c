/* SPDX-License-Identifier: Apache-2.0 */
/* Strategies: who comes down with whom and in which order, who starts again, what it is told, and everything that may
 * happen while that is under way. Traces are compared exactly wherever the order is given. */
#include "kin.h"

enum { WORKERS = 4 };

static const troupe_supervision temporary = {.restart = TROUPE_RESTART_TEMPORARY};
static const troupe_supervision permanent = {.restart = TROUPE_RESTART_PERMANENT};
static const troupe_supervision no_restarts = {.restarts = TROUPE_RESTARTS_NONE};
static const troupe_supervision backing_off = {.backoff = {.initial_ns = TROUPE_MS(2), .no_jitter = true}};
static const troupe_supervision patient = {.restarts = 64};

static const troupe_child four[] = {{.behavior = &kin_member, .args = KIN(A)},
                                    {.behavior = &kin_member, .args = KIN(B)},
                                    {.behavior = &kin_member, .args = KIN(C)},
                                    {.behavior = &kin_member, .args = KIN(D)},
                                    {0}};

#define FAMILY(strategy_, declared_)                                                                                   \
    {                                                                                                                  \
        .name = "parent", KIN_CALLBACKS, .children = {.strategy = strategy_, .declared = declared_ }                   \
    }

static const troupe_behavior one_for_one = FAMILY(TROUPE_ONE_FOR_ONE, four);
static const troupe_behavior one_for_all = FAMILY(TROUPE_ONE_FOR_ALL, four);
static const troupe_behavior rest_for_one = FAMILY(TROUPE_REST_FOR_ONE, four);

#define UP "+P +A +B +C +D "
#define DOWN "-D -C -B -A -P"

static void begin(const troupe_behavior *top, unsigned workers)
{
    kin_prepare(workers);
    kin_begin(top);
    await("+D");
}

/* --- the order ---------------------------------------------------------------------------------------------------- */

static void check_crash(const troupe_behavior *top, unsigned slot, const char *last, const char *expected)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(top, workers);
        tell_panic(slot);
        await(last);
        kin_end();
        ASSERT_TRACE(expected);
    }
}

Test(one_for_one, restarts_that_one)
{
    check_crash(&one_for_one, B, "+B2", UP "!B ~B:panic +B2 " DOWN);
}

Test(one_for_all, restarts_all_of_them_in_reverse_and_in_order)
{
    check_crash(&one_for_all, A, "+D2",
                UP "!A -D -C -B ~A:panic +A2 ~B:sibling +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    check_crash(&one_for_all, B, "+D2",
                UP "!B -D -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    check_crash(&one_for_all, D, "+D2",
                UP "!D -C -B -A ~A:sibling +A2 ~B:sibling +B2 ~C:sibling +C2 ~D:panic +D2 " DOWN);
}

Test(rest_for_one, restarts_that_one_and_those_behind_it)
{
    check_crash(&rest_for_one, A, "+D2",
                UP "!A -D -C -B ~A:panic +A2 ~B:sibling +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    check_crash(&rest_for_one, B, "+D2", UP "!B -D -C ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    check_crash(&rest_for_one, D, "+D2", UP "!D ~D:panic +D2 " DOWN);
}

static const troupe_child often[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &patient},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &patient},
                                     {0}};
static const troupe_behavior of_often = FAMILY(TROUPE_ONE_FOR_ALL, often);

/* Again and again: the places and the order stay. */
Test(one_for_all, does_it_every_time)
{
    char expected[2000] = "+P +A +B";
    kin_prepare(3);
    kin_begin(&of_often);
    await("+B");
    for (unsigned n = 2; n < 30; n++) {
        unsigned which = n % 2 ? A : B;
        char last[12];
        snprintf(last, sizeof last, "+B%u", n);
        tell_panic(which);
        await(last);
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                 which == A ? " !A -B ~A:panic +A%u ~B:sibling +B%u" : " !B -A ~A:sibling +A%u ~B:panic +B%u", n, n);
    }
    kin_end();
    strcat(expected, " -B -A -P");
    ASSERT_TRACE(expected);
}

/* Dynamic children are behind the declared ones. They come down first and together, and start in the order of their
 * spawns. */
static void begin_with_dynamic(const troupe_behavior *top, unsigned workers)
{
    begin(top, workers);
    tell_spawn(P, &kin_member, NULL, KIN(X));
    await("+X");
    tell_spawn(P, &kin_member, NULL, KIN(Y));
    await("+Y");
}

/* What was written behind "+Y", without the final stops, with X and Y in this order where they stop together. */
static const char *behind_y(void)
{
    static char text[4096];
    snprintf(text, sizeof text, "%s", strstr(world.trace, "+Y ") + 3);
    char *end = text;
    for (char *swapped; (swapped = strstr(end, "-Y -X")); end = swapped + 5)
        memcpy(swapped, "-X -Y", 5);
    char *stops = NULL;
    for (end = text; (end = strstr(end, " -X -Y -D")); end++)
        stops = end;
    cr_assert(stops, "%s", world.trace);
    *stops = '\0';
    return text;
}

static void check_dynamic(const troupe_behavior *top, unsigned slot, const char *last, const char *expected)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin_with_dynamic(top, workers);
        tell_panic(slot);
        await(last);
        kin_end();
        cr_assert_str_eq(behind_y(), expected, "%s", world.trace);
    }
}

Test(dynamic, children_come_down_before_the_declared_ones_and_start_behind_them)
{
    check_dynamic(&one_for_all, C, "+Y2",
                  "!C -X -Y -D -B -A ~A:sibling +A2 ~B:sibling +B2 ~C:panic +C2 ~D:sibling +D2 ~X:sibling +X2 "
                  "~Y:sibling +Y2");
    check_dynamic(&one_for_all, Y, "+Y2",
                  "!Y -X -D -C -B -A ~A:sibling +A2 ~B:sibling +B2 ~C:sibling +C2 ~D:sibling +D2 ~X:sibling +X2 "
                  "~Y:panic +Y2");
    check_dynamic(&rest_for_one, C, "+Y2", "!C -X -Y -D ~C:panic +C2 ~D:sibling +D2 ~X:sibling +X2 ~Y:sibling +Y2");
    check_dynamic(&rest_for_one, X, "+Y2", "!X -Y ~X:panic +X2 ~Y:sibling +Y2");
    check_dynamic(&rest_for_one, Y, "+Y2", "!Y ~Y:panic +Y2");
    check_dynamic(&one_for_one, X, "+X2", "!X ~X:panic +X2");
}

/* A member's own children go with it, and the next one waits for them. */
static const troupe_child two[] = {
    {.behavior = &kin_member, .args = KIN(E)}, {.behavior = &kin_member, .args = KIN(F)}, {0}};
static const troupe_behavior with_two = {.name = "two", KIN_CALLBACKS, .children = {.declared = two}};
static const troupe_child nested[] = {
    {.behavior = &with_two, .args = KIN(A)}, {.behavior = &with_two, .args = KIN(B)}, {0}};
static const troupe_behavior of_nested = FAMILY(TROUPE_ONE_FOR_ALL, nested);

Test(nested, families_come_down_and_start_as_wholes)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_begin(&of_nested);
        await("+F");
        await("+F");
        tell_panic(A);
        await("+F");
        await("+F");
        kin_end();
        ASSERT_TRACE("+P +A +E +F +B +E +F -F -E !A -F -E -B ~A:panic +A2 +E +F ~B:sibling +B2 +E +F "
                     "-F -E -B -F -E -A -P");
    }
}

/* Members that restart for other reasons than a crash, and with a rest. */
static const troupe_child mixed[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &backing_off},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &permanent},
                                     {.behavior = &kin_member, .args = KIN(C), .supervision = &backing_off},
                                     {.behavior = &kin_member, .args = KIN(D)},
                                     {0}};
static const troupe_behavior of_mixed = FAMILY(TROUPE_ONE_FOR_ALL, mixed);

Test(one_for_all, restarts_all_when_a_permanent_one_has_stopped_itself)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        begin(&of_mixed, workers);
        tell(B, END, NULL, 0);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "-B:normal -D -C -A ~A:sibling +A2 ~B:ended +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    }
}

Test(one_for_all, waits_for_a_member_that_rests_first)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        begin(&of_mixed, workers);
        tell_panic(A);
        await("+D2");
        tell_panic(C);
        await("+D3");
        kin_end();
        ASSERT_TRACE(UP "!A -D -C -B ~A:panic +A2 ~B:sibling +B2 ~C:sibling +C2 ~D:sibling +D2 "
                        "!C -D -B -A ~A:sibling +A3 ~B:sibling +B3 ~C:panic +C3 ~D:sibling +D3 " DOWN);
    }
}

/* --- mailboxes ---------------------------------------------------------------------------------------------------- */

/* Notes sent while members are coming down and down: the next incarnations handle all of them, in order. */
Test(mailboxes, survive_and_nothing_is_lost)
{
    for (unsigned round = 0; round < 5; round++) {
        begin_with_dynamic(&one_for_all, WORKERS);
        ck_pr_store_64(&kin_plan[C].blocks_stopped, 1);
        tell(D, BLOCK, NULL, 0);
        await("D(");
        static const unsigned all[] = {A, B, C, D, X, Y};
        for (unsigned i = 0; i < 6; i++)
            tell_note(all[i], 1);
        for (unsigned i = 0; i < 3; i++) /* some of them had theirs before they came down */
            while (!said((const char *[]){"A:1", "B:1", "C:1"}[i]))
                usleep(100);
        tell_panic(B);
        await("!B");
        for (unsigned i = 0; i < 6; i++)
            tell_note(all[i], 2);
        kin_open(D);
        await("-C");
        for (unsigned i = 0; i < 6; i++)
            tell_note(all[i], 3);
        kin_open(C);
        await("+Y2");
        static const char *const notes[] = {"A:3", "B:3", "C:3", "D:3", "X:3", "Y:3"};
        for (unsigned i = 0; i < 6; i++)
            while (!said(notes[i]))
                usleep(100);
        kin_end();
        for (unsigned i = 0; i < 6; i++) {
            char text[3][8];
            for (unsigned n = 0; n < 3; n++) {
                snprintf(text[n], sizeof text[n], "%s", notes[i]);
                text[n][2] = (char)('1' + n);
            }
            char *one = strstr(world.trace, text[0]), *second = strstr(world.trace, text[1]);
            cr_assert(one && one < second && second < strstr(world.trace, text[2]), "%s", world.trace);
        }
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
        cr_assert_eq(dead_total(), 1);
    }
}

/* --- members that end --------------------------------------------------------------------------------------------- */

static const troupe_child with_temporary[] = {{.behavior = &kin_member, .args = KIN(A)},
                                              {.behavior = &kin_member, .args = KIN(B), .supervision = &temporary},
                                              {.behavior = &kin_member, .args = KIN(C)},
                                              {.behavior = &kin_member, .args = KIN(D), .supervision = &temporary},
                                              {0}};
static const troupe_behavior of_temporary = FAMILY(TROUPE_ONE_FOR_ALL, with_temporary);

Test(temporary, members_end_with_the_group_and_nobody_is_told)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        begin(&of_temporary, workers);
        tell_spawn(P, &kin_member, &temporary, KIN(X));
        await("+X");
        tell_panic(C);
        await("+C2");
        kin_end();
        ASSERT_TRACE(UP "+X !C -X -D -B -A ~A:sibling +A2 ~C:panic +C2 -C -A -P");
    }
}

/* A temporary one that crashes is no reason for the others to restart. */
Test(temporary, members_crash_alone)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        begin(&of_temporary, workers);
        tell_panic(B);
        await("P.gone(B,crashed)");
        kin_end();
        ASSERT_TRACE(UP "!B P.gone(B,crashed) -D -C -A -P");
    }
}

/* It ends by itself while the group would have it end: then its parent is told as ever. So it is when an ordinary
 * member stops itself. */
Test(exits, of_members_by_their_own_doing_are_told)
{
    static const unsigned ends[] = {D, B, A};
    static const char *const told[] = {"P.gone(D,normal)", "P.gone(B,normal)", "P.gone(A,normal)"};
    for (unsigned i = 0; i < 3; i++) {
        unsigned slot = ends[i];
        begin(&of_temporary, WORKERS);
        kin_plan[slot].stops_blocked = 1;
        tell(slot, BLOCK, NULL, 0);
        await("(");
        tell_panic(C);
        await("!C");
        if (slot != D)
            await("-D");
        if (slot == A)
            await("-B");
        usleep(500); /* it is told to come down about now; either order is right */
        kin_open(slot);
        await("+C2");
        kin_end();
        cr_assert(strstr(world.trace, told[i]), "%s", world.trace);
        char *first = strstr(world.trace, "P.gone");
        cr_assert_null(strstr(first + 1, "P.gone"), "%s", world.trace);
    }
}

/* --- a member that fails again ------------------------------------------------------------------------------------ */

Test(again, one_that_crashes_in_stopped_goes_on)
{
    begin(&one_for_all, 3);
    kin_plan[C].panics_stopped = 1;
    tell_panic(B);
    await("+D2");
    kin_end();
    ASSERT_TRACE(UP "!B -D -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
}

/* One crashes that has not been told yet, while another is coming down. */
Test(again, one_that_crashes_while_the_others_come_down_is_down_already)
{
    for (unsigned round = 0; round < 5; round++) {
        begin(&one_for_all, WORKERS);
        kin_plan[D].blocks_stopped = 1;
        tell_panic(B);
        await("-D");
        tell_panic(A);
        await("!A");
        kin_open(D);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "!B -D !A -C ~A:panic +A2 ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 " DOWN);
    }
}

/* An earlier one crashes while those behind come down: the group grows. In even rounds the news of that may also come
 * after the smaller group has started: then a second one follows. */
Test(again, one_before_the_group_makes_it_grow)
{
    for (unsigned round = 0; round < 5; round++) {
        begin(&rest_for_one, WORKERS);
        kin_plan[D].blocks_stopped = 1;
        tell_panic(C);
        await("-D");
        tell_panic(A);
        await("!A");
        if (round % 2)
            await_life(A, TR_LIFE_WAITING);
        kin_open(D);
        await("~B:sibling +B2");
        await("~D:sibling +D"); /* its second life or, after the smaller group, its third */
        kin_end();
        const char *grown = UP "!C -D !A -B ~A:panic +A2 ~B:sibling +B2 ~C:panic +C2 ~D:sibling +D2 " DOWN;
        if (round % 2)
            ASSERT_TRACE(grown);
        cr_assert(said("~A:panic +A2 ~B:sibling +B2"), "%s", world.trace);
    }
}

/* One told to come down crashes instead: that counts for itself, and it waits for the others. */
Test(again, one_that_crashes_instead_of_coming_down_waits_too)
{
    for (unsigned round = 0; round < 5; round++) {
        begin(&one_for_all, WORKERS);
        kin_plan[C].panics_blocked = 1;
        tell(C, BLOCK, NULL, 0);
        await("C(");
        tell_panic(B);
        await("-D");
        usleep(500 * round);
        kin_open(C);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "C( !B -D C) !C -A ~A:sibling +A2 ~B:panic +B2 ~C:panic +C2 ~D:sibling +D2 " DOWN);
    }
}

Test(again, one_that_crashes_as_the_group_starts_makes_a_new_group)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        begin(&one_for_all, workers);
        kin_plan[C].panics_started = 1;
        tell_panic(B);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "!B -D -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 "
                        "-B -A ~A:sibling +A3 ~B:sibling +B3 ~C:panic +C3 ~D:sibling +D2 " DOWN);
        begin(&rest_for_one, workers);
        kin_plan[C].panics_started = 1;
        tell_panic(B);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "!B -D -C ~B:panic +B2 ~C:sibling +C2 ~C:panic +C3 ~D:sibling +D2 " DOWN);
    }
}

/* One that has started again crashes while the next one is starting. */
Test(again, one_that_has_started_crashes_while_the_others_start)
{
    for (unsigned round = 0; round < 5; round++) {
        begin(&one_for_all, WORKERS);
        kin_plan[C].blocks_started = 1;
        tell_panic(D);
        await("+C2");
        tell_panic(A);
        await("!A");
        await_life(A, TR_LIFE_WAITING);
        kin_open(C);
        await("+D2");
        kin_end();
        ASSERT_TRACE(UP "!D -C -B -A ~A:sibling +A2 ~B:sibling +B2 ~C:sibling +C2 !A C) -C -B "
                        "~A:panic +A3 ~B:sibling +B3 ~C:sibling +C3 ~D:panic +D2 " DOWN);
    }
}

/* Every member is down before any starts, and starts are in order: what must hold whatever happens. */
static void check_order(void)
{
    unsigned up = 0;
    for (char *at = world.trace; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        unsigned place = at[0] ? (unsigned)(at[1] - 'A') : 99;
        if (place > 3)
            continue;
        if (*at == '+') {
            cr_assert_eq(up & ~((1u << place) - 1), 0, "%c starts with one behind it up, at %s in %s", at[1], at,
                         world.trace);
            up |= 1u << place;
        } else if (*at == '-') {
            cr_assert_lt(up, 2u << place, "%c stops before one behind it, at %s in %s", at[1], at, world.trace);
            up &= ~(1u << place);
        } else if (*at == '!') {
            up &= ~(1u << place);
        }
    }
}

static const troupe_child patient_four[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &patient},
                                            {.behavior = &kin_member, .args = KIN(B), .supervision = &patient},
                                            {.behavior = &kin_member, .args = KIN(C), .supervision = &patient},
                                            {.behavior = &kin_member, .args = KIN(D), .supervision = &patient},
                                            {0}};
static const troupe_behavior patient_all = FAMILY(TROUPE_ONE_FOR_ALL, patient_four);
static const troupe_behavior patient_rest = FAMILY(TROUPE_REST_FOR_ONE, patient_four);

/* Several crash at the same time, over and over. */
Test(again, crashes_at_the_same_time_leave_the_family_whole)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(workers % 2 ? &patient_all : &patient_rest, workers);
        for (unsigned round = 0; round < 12; round++) {
            for (unsigned slot = A; slot <= D; slot++)
                if ((round + 1) >> (slot - A) & 1)
                    tell_panic(slot);
            for (unsigned slot = A; slot <= D; slot++)
                tell_note(slot, 100 + round);
            for (unsigned slot = A; slot <= D; slot++) {
                char text[16];
                snprintf(text, sizeof text, "%c:%u", 'A' + slot - A, 100 + round);
                while (!said(text))
                    usleep(100);
            }
        }
        kin_end();
        check_order();
        cr_assert(strstr(world.trace, "-D") && strstr(world.trace, "-P"), "%s", world.trace);
        cr_assert_eq(dead_total(), kin_stats.crashes, "%u dead, %lu crashes: %s", dead_total(), kin_stats.crashes,
                     world.trace);
    }
}

/* --- escalation in a group ---------------------------------------------------------------------------------------- */

static const troupe_child frail[] = {{.behavior = &kin_member, .args = KIN(A)},
                                     {.behavior = &kin_member, .args = KIN(B)},
                                     {.behavior = &kin_member, .args = KIN(C), .supervision = &no_restarts},
                                     {.behavior = &kin_member, .args = KIN(D)},
                                     {0}};
static const troupe_behavior frail_all = FAMILY(TROUPE_ONE_FOR_ALL, frail);
static const troupe_behavior frail_rest = FAMILY(TROUPE_REST_FOR_ONE, frail);

/* By itself: a verdict to restart it restarts the group, the others are about itself only. */
Test(escalation, of_a_member_and_each_verdict)
{
    static const struct {
        const troupe_behavior *top;
        troupe_verdict verdict;
        const char *last, *expected;
    } cases[] = {
        {&frail_all, TROUPE_VERDICT_RESTART_CHILD, "+D2",
         UP "!C P.asked(C) -D -B -A ~A:sibling +A2 ~B:sibling +B2 ~C:panic +C2 ~D:sibling +D2 " DOWN},
        {&frail_rest, TROUPE_VERDICT_RESTART_CHILD, "+D2", UP "!C P.asked(C) -D ~C:panic +C2 ~D:sibling +D2 " DOWN},
        {&frail_all, TROUPE_VERDICT_IGNORE, "P.gone(C,escalated)", UP "!C P.asked(C) P.gone(C,escalated) -D -B -A -P"},
        {&frail_all, TROUPE_VERDICT_STOP_SELF, "R.gone", UP "!C P.asked(C) -D -B -A -P:normal R.gone(P,normal)"},
        {&frail_rest, TROUPE_VERDICT_RESTART_SELF, "+D", UP "!C P.asked(C) -D -B -A !P ~P:child +P2 +A +B +C +D " DOWN},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned workers = 1; workers <= 3; workers++) {
            kin_prepare(workers);
            kin_plan[P].verdict = cases[i].verdict;
            kin_begin(cases[i].top);
            await("+D");
            tell_panic(C);
            await(cases[i].last);
            kin_end();
            ASSERT_TRACE(cases[i].expected);
        }
}

/* While the group comes down, and C has been told to; B's crash is the cause of all. */
Test(escalation, of_a_member_that_was_told_to_come_down_and_each_verdict)
{
    static const struct {
        troupe_verdict verdict;
        const char *last, *expected;
    } cases[] = {
        {TROUPE_VERDICT_RESTART_CHILD, "+D2",
         "P.asked(C) -A ~A:sibling +A2 ~B:panic +B2 ~C:panic +C2 ~D:sibling +D2 " DOWN},
        {TROUPE_VERDICT_IGNORE, "+D2",
         "P.asked(C) P.gone(C,escalated) -A ~A:sibling +A2 ~B:panic +B2 ~D:sibling +D2 -D -B -A -P"},
        {TROUPE_VERDICT_REPLACE_CHILD, "+D2",
         "P.asked(C) P.new(C) -A ~A:sibling +A2 ~B:panic +B2 +C ~D:sibling +D2 " DOWN},
        {TROUPE_VERDICT_STOP_SELF, "R.gone", "P.asked(C) -A -P:normal R.gone(P,normal)"},
        {TROUPE_VERDICT_RESTART_SELF, "+D", "P.asked(C) -A !P ~P:child +P2 +A +B +C +D " DOWN},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned round = 0; round < 4; round++) {
            kin_prepare(WORKERS);
            kin_plan[P].verdict = cases[i].verdict;
            kin_plan[C].panics_blocked = 1;
            kin_begin(&frail_all);
            await("+D");
            tell(C, BLOCK, NULL, 0);
            await("C(");
            tell_panic(B);
            await("-D");
            usleep(300 * round); /* it is told about now */
            kin_open(C);
            await(cases[i].last);
            kin_end();
            char expected[400];
            snprintf(expected, sizeof expected, UP "C( !B -D C) !C %s", cases[i].expected);
            ASSERT_TRACE(expected);
        }
}

/* A dynamic member, while the others come down. The fresh one starts in the old one's place: before Y. */
Test(escalation, of_a_dynamic_member_that_was_told_to_come_down)
{
    static const struct {
        troupe_verdict verdict;
        const char *expected;
    } cases[] = {
        {TROUPE_VERDICT_RESTART_CHILD, "~D:sibling +D2 ~X:panic +X2 ~Y:sibling +Y2"},
        {TROUPE_VERDICT_IGNORE, "~D:sibling +D2 ~Y:sibling +Y2"},
        {TROUPE_VERDICT_REPLACE_CHILD, "~D:sibling +D2 +X ~Y:sibling +Y2"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&one_for_all, WORKERS);
        kin_plan[P].verdict = cases[i].verdict;
        kin_plan[X].panics_blocked = 1;
        tell_spawn(P, &kin_member, &no_restarts, KIN(X));
        await("+X");
        tell_spawn(P, &kin_member, NULL, KIN(Y));
        await("+Y");
        tell(X, BLOCK, NULL, 0);
        await("X(");
        tell_panic(A);
        await("-Y");
        kin_open(X);
        await("+Y2");
        kin_end();
        cr_assert(strstr(world.trace, cases[i].expected), "%s", world.trace);
        cr_assert_eq(said("P.gone(X,escalated)"), i == 1, "%s", world.trace);
        cr_assert_eq(said("P.new(X)"), i == 2, "%s", world.trace);
    }
}

/* While the group starts: the one that is waited for never gets up. */
Test(escalation, of_a_member_as_the_group_starts)
{
    static const struct {
        troupe_verdict verdict;
        const char *expected;
    } cases[] = {
        {TROUPE_VERDICT_RESTART_CHILD,
         "+C2 P.asked(C) -B -A ~A:sibling +A3 ~B:sibling +B3 ~C:panic +C3 ~D:sibling +D2"},
        {TROUPE_VERDICT_IGNORE, "+C2 P.asked(C) P.gone(C,escalated) ~D:sibling +D2"},
        {TROUPE_VERDICT_REPLACE_CHILD, "+C2 P.asked(C) "},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned workers = 1; workers <= 3; workers++) {
            begin(&frail_all, workers);
            kin_plan[P].verdict = cases[i].verdict;
            kin_plan[C].panics_started = 1;
            tell_panic(B);
            await("+D2");
            kin_end();
            cr_assert(strstr(world.trace, cases[i].expected), "%u: %s", i, world.trace);
            char *fresh = strstr(world.trace, "+C "); /* the first one's */
            fresh = fresh ? strstr(fresh + 1, "+C ") : NULL;
            cr_assert_eq(fresh && fresh < strstr(world.trace, "+D2"), i == 2, "%u: %s", i, world.trace);
        }
}

/* --- the parent, meanwhile ---------------------------------------------------------------------------------------- */

enum interruption { BY_STOP, BY_THE_END, BY_KILL, BY_CRASH, BY_ITSELF, INTERRUPTIONS };

static void interrupt(enum interruption how)
{
    static const enum tr_life lives[INTERRUPTIONS] = {TR_LIFE_STOPPING, TR_LIFE_STOPPING, TR_LIFE_KILLING,
                                                      TR_LIFE_RESTARTING, TR_LIFE_STOPPING};
    if (how == BY_THE_END)
        troupe_runtime_request_stop(kin_rt);
    else if (how == BY_CRASH)
        tell_panic(P);
    else if (how == BY_ITSELF)
        tell(P, END, NULL, 0);
    else
        tell_order(R, how == BY_STOP ? STOP : KILL, P);
    await_life(P, lives[how]);
}

static const char *const ends[INTERRUPTIONS] = {
    [BY_STOP] = "-P R.gone(P,stopped)",
    [BY_THE_END] = "-P",
    [BY_KILL] = "R.gone(P,killed)",
    [BY_CRASH] = "!P ~P:panic +P2 +A +B +C +D -D -C -B -A -P",
    [BY_ITSELF] = "-P:normal R.gone(P,normal)",
};

static void finish(enum interruption how, const char *so_far, const char *then)
{
    char expected[400];
    if (how == BY_CRASH)
        await("+D");
    else if (how != BY_THE_END)
        await("R.gone");
    kin_end();
    snprintf(expected, sizeof expected, "%s%s%s", so_far, how == BY_KILL ? "" : then, ends[how]);
    ASSERT_TRACE(expected);
}

Test(parent, that_ends_or_crashes_while_the_group_comes_down)
{
    for (unsigned how = 0; how < INTERRUPTIONS; how++) {
        begin(&one_for_all, WORKERS);
        kin_plan[D].blocks_stopped = 1;
        tell_panic(B);
        await("-D");
        interrupt((enum interruption)how);
        kin_open(D);
        finish((enum interruption)how, UP "!B -D ", "-C -A ");
    }
}

Test(parent, that_ends_or_crashes_while_the_group_starts)
{
    for (unsigned how = 0; how < INTERRUPTIONS; how++) {
        begin(&one_for_all, WORKERS);
        kin_plan[C].blocks_started = 1;
        tell_panic(B);
        await("+C2");
        interrupt((enum interruption)how);
        kin_open(C);
        finish((enum interruption)how, UP "!B -D -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 C) ", "-C -B -A ");
    }
}

/* --- others, meanwhile -------------------------------------------------------------------------------------------- */

/* A member is stopped by a stranger while the group comes down, or while it waits for the others, or has been told. */
Test(stranger, may_stop_a_member_in_any_phase)
{
    static const char *const expected[] = {
        UP "!B -D -A P.gone(A,stopped) -C ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 -D -C -B -P",
        UP "!B -D P.gone(B,stopped) -C -A ~A:sibling +A2 ~C:sibling +C2 ~D:sibling +D2 -D -C -A -P",
        UP "!B -D -C P.gone(C,stopped) -A ~A:sibling +A2 ~B:panic +B2 ~D:sibling +D2 -D -B -A -P",
        UP "!B -D P.gone(D,stopped) -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 -C -B -A -P"};
    for (unsigned slot = A; slot <= D; slot++) {
        begin(&one_for_all, WORKERS);
        kin_plan[D].blocks_stopped = 1;
        tell_panic(B);
        await("-D");
        if (slot == B)
            await_life(B, TR_LIFE_WAITING);
        tell_order(R, STOP, slot);
        await_obeyed();
        if (slot != D)
            await("P.gone");
        kin_open(D);
        await(slot == D ? "+C2" : "+D2");
        kin_end();
        ASSERT_TRACE(expected[slot - A]);
    }
}

/* A new child during the restart of a group is none of it. */
Test(newcomer, is_no_member_of_a_group_under_way)
{
    for (unsigned phase = 0; phase < 2; phase++) {
        begin(&one_for_all, WORKERS);
        if (phase == 0)
            kin_plan[D].blocks_stopped = 1;
        else
            kin_plan[C].blocks_started = 1;
        tell_panic(B);
        await(phase == 0 ? "-D" : "+C2");
        tell_spawn(P, &kin_member, NULL, KIN(X));
        await("+X");
        kin_open(phase == 0 ? D : C);
        await("+D2");
        kin_end();
        cr_assert(strstr(world.trace, "~D:sibling +D2 -X -D -C -B -A -P"), "%s", world.trace);
    }
}

/* A suspended member restarts with the others, who do not wait for its messages; it stays suspended. */
Test(suspended, member_restarts_and_stays_suspended)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        begin(&one_for_all, workers);
        tell_order(R, SUSPEND, C);
        await_obeyed();
        tell_note(C, 1);
        tell_panic(B);
        await("+D2");
        tell_note(C, 2);
        tell_note(D, 3);
        await("D:3");
        cr_assert_not(said("C:1"), "%s", world.trace);
        tell_order(R, RESUME, C);
        await("C:2");
        kin_end();
        ASSERT_TRACE(UP "!B -D -C -A ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 ~D:sibling +D2 D:3 C:1 C:2 " DOWN);
    }
}

/* --- many --------------------------------------------------------------------------------------------------------- */

enum { MANY = 4000, FEW = 500 };

STARTED(count_start)
{
    if (bump(0) == 1)
        kin_register(ctx);
    return 0;
}

static const troupe_behavior one_of_many = {
    .name = "many", .args_size = sizeof(struct kin), .started = count_start, .handlers = {[PANIC] = ON(kin_panic, 0)}};

static unsigned many;
static troupe_addr everybody[MANY];

static void spawn_many(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < many; i++)
        everybody[i] = troupe_spawn(ctx, &one_of_many, KIN(X), NULL);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * TROUPE_SEC(1) + (uint64_t)now.tv_nsec;
}

static void await_starts(uint64_t starts)
{
    while (word(0) < starts)
        usleep(50);
}

/* The parent is kept busy until all of them are down. */
static void crash_all(void)
{
    troupe_stats stats;
    tell(P, BLOCK, NULL, 0);
    await("P(");
    for (unsigned i = 0; i < many; i++) {
        kin_sent++;
        troupe_runtime_tell(kin_rt, everybody[i], PANIC, NULL, 0);
    }
    do {
        usleep(100);
        troupe_stats_read(kin_rt, &stats);
    } while (stats.crashes < many);
}

/* The processor time of a group restart of so many, when one or all of them crash. */
static uint64_t restart_many(unsigned count, bool all_crash)
{
    static troupe_behavior top;
    many = count;
    top = one_for_all;
    top.children.declared = NULL;
    kin_prepare(all_crash ? 2 : 1);
    kin_plan[P].in_started = spawn_many;
    kin_begin(&top);
    await_starts(count);
    if (all_crash)
        crash_all();
    uint64_t from = cpu_ns();
    if (all_crash) {
        kin_open(P);
    } else {
        kin_sent++;
        troupe_runtime_tell(kin_rt, everybody[count / 2], PANIC, NULL, 0);
    }
    await_starts(2 * (uint64_t)count);
    usleep(
        2000); /* a thread's time is added up when it lies down: of a worker that is still awake a tick may be missing */
    uint64_t took = cpu_ns() - from;
    kin_end();
    cr_assert_eq(word(0), 2 * (uint64_t)count);
    return took;
}

/* Eight times as many take eight times as long, and somewhat more for the caches; not sixty-four times. The least of
 * some rounds: others use the machine too. */
static void check_growth(bool all_crash)
{
    uint64_t few = UINT64_MAX, lots = UINT64_MAX;
    for (unsigned round = 0; round < 7; round++) {
        uint64_t took = restart_many(FEW, all_crash);
        few = took < few ? took : few;
        took = restart_many(MANY, all_crash);
        lots = took < lots ? took : lots;
    }
    cr_log_info("%u: %lu us, %u: %lu us\n", FEW, few / 1000, MANY, lots / 1000);
    cr_assert_lt(lots, 28 * few, "%lu us for %u, %lu us for %u", few / 1000, FEW, lots / 1000, MANY);
}

Test(many, dynamic_members_restart_in_linear_time)
{
    check_growth(false);
}

Test(many, dynamic_members_that_crash_at_once_do_too)
{
    check_growth(true);
}
