/* SPDX-License-Identifier: Apache-2.0 */
/* auto_shutdown: whose ends count, how often, and what the end of the parent looks like from above. */
#include "kin.h"

enum { WORKERS = 3 };

static const troupe_supervision significant = {.significant = true};
static const troupe_supervision plain = {.significant = false};
static const troupe_supervision brief = {.significant = true, .restart = TROUPE_RESTART_TEMPORARY};
static const troupe_supervision frail = {.significant = true, .restarts = TROUPE_RESTARTS_NONE};
static const troupe_supervision stubborn = {.restart = TROUPE_RESTART_PERMANENT};

static const troupe_child four[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &significant},
                                    {.behavior = &kin_member, .args = KIN(B), .supervision = &brief},
                                    {.behavior = &kin_member, .args = KIN(C), .supervision = &frail},
                                    {.behavior = &kin_member, .args = KIN(D), .supervision = &plain},
                                    {0}};

#define FAMILY(when_, ...)                                                                                             \
    {                                                                                                                  \
        .name = "parent", KIN_CALLBACKS, .children = {.auto_shutdown = when_, .declared = four, __VA_ARGS__ }          \
    }

static const troupe_behavior never = FAMILY(TROUPE_SHUTDOWN_NEVER);
static const troupe_behavior any = FAMILY(TROUPE_SHUTDOWN_ANY);
static const troupe_behavior all = FAMILY(TROUPE_SHUTDOWN_ALL);
static const troupe_behavior any_group = FAMILY(TROUPE_SHUTDOWN_ANY, .strategy = TROUPE_ONE_FOR_ALL);

static void begin(const troupe_behavior *top, unsigned workers)
{
    kin_prepare(workers);
    kin_plan[P].verdict = TROUPE_VERDICT_IGNORE;
    kin_begin(top);
    await("+D");
}

/* Whether the parent shut down; a note to it tells if not. */
static bool shut_down(const char *after)
{
    await(after);
    tell_note(P, 9);
    while (!said("P:9") && !said("R.gone"))
        usleep(100);
    bool ended = said("R.gone(P,shutdown)");
    kin_end();
    cr_assert_eq(ended, said("-P:shutdown"), "%s", world.trace);
    return ended;
}

#define UP "+P +A +B +C +D "

/* --- any ---------------------------------------------------------------------------------------------------------- */

Test(any, orderly_end_of_a_significant_child_ends_the_parent)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&any, workers);
        tell(A, END, NULL, 0);
        cr_assert(shut_down("P.gone(A,normal)"));
        ASSERT_TRACE(UP "-A:normal P.gone(A,normal) -D -C -B -P:shutdown R.gone(P,shutdown)");
    }
}

Test(any, end_by_somebody_elses_order_counts)
{
    begin(&any, 2);
    tell_order(R, STOP, A);
    cr_assert(shut_down("P.gone(A,stopped)"));
    begin(&any, 2);
    tell_order(R, KILL, A);
    cr_assert(shut_down("P.gone(A,killed)"));
}

Test(any, crash_of_a_temporary_one_counts)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&any, workers);
        tell_panic(B);
        cr_assert(shut_down("P.gone(B,crashed)"));
        ASSERT_TRACE(UP "!B P.gone(B,crashed) -D -C -A -P:shutdown R.gone(P,shutdown)");
    }
}

Test(any, one_that_escalated_and_was_ignored_counts)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&any, workers);
        tell_panic(C);
        cr_assert(shut_down("P.gone(C,escalated)"));
        ASSERT_TRACE(UP "!C P.asked(C) P.gone(C,escalated) -D -B -A -P:shutdown R.gone(P,shutdown)");
    }
}

Test(any, dynamic_one_counts_as_well)
{
    begin(&any, 2);
    tell_spawn(P, &kin_member, &significant, KIN(X));
    await("+X");
    tell(X, END, NULL, 0);
    cr_assert(shut_down("P.gone(X,normal)"));
}

/* --- what does not count ------------------------------------------------------------------------------------------ */

Test(none, of_these_ends_counts)
{
    begin(&any, 2);
    tell(D, END, NULL, 0); /* it is not significant */
    cr_assert_not(shut_down("P.gone(D,normal)"));
    begin(&any, 2);
    tell_order(P, STOP, A); /* its parent's own doing */
    cr_assert_not(shut_down("P.gone(A,stopped)"));
    begin(&any, 2);
    tell_order(P, KILL, A);
    cr_assert_not(shut_down("P.gone(A,killed)"));
    begin(&any, 2);
    tell_panic(A); /* a restart is no end */
    cr_assert_not(shut_down("+A2"));
    begin(&never, 2);
    tell(A, END, NULL, 0);
    cr_assert_not(shut_down("P.gone(A,normal)"));
}

/* A replacement goes on where the old one ended. */
Test(none, of_it_when_the_child_is_replaced)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&any, workers);
        kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
        tell_panic(C);
        cr_assert_not(shut_down("P.new(C)"));
    }
    begin(&any, 2);
    kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
    tell_panic(C);
    await("P.new(C)");
    while (!said("P.new(C) +C") && !said("+C P.new(C)"))
        usleep(100);
    tell(C, END, NULL, 0); /* but it is as significant */
    cr_assert(shut_down("P.gone(C,normal)"));
}

/* Temporary members that end with their group do not. */
Test(none, of_the_ends_that_a_group_makes)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        begin(&any_group, workers);
        tell_panic(A);
        cr_assert_not(shut_down("+D2"));
        ASSERT_TRACE(UP "!A -D -C -B ~A:panic +A2 ~C:sibling +C2 ~D:sibling +D2 P:9 -D -C -A -P");
    }
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

Test(all, of_the_significant_ones_have_to_end_in_any_order)
{
    static const unsigned orders[][3] = {{A, B, C}, {C, B, A}, {B, A, C}};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned last = 0; last < 3; last++) {
            begin(&all, 1 + i);
            char text[16];
            for (unsigned n = 0; n < last; n++) {
                tell(orders[i][n], END, NULL, 0);
                snprintf(text, sizeof text, "P.gone(%c", 'A' + orders[i][n] - A);
                await(text);
            }
            tell(orders[i][last], END, NULL, 0);
            snprintf(text, sizeof text, "P.gone(%c", 'A' + orders[i][last] - A);
            cr_assert_eq(shut_down(text), last == 2, "%s", world.trace);
        }
}

/* A dynamic one that came later has to end too; one that the parent ended is not waited for. */
Test(all, includes_those_that_came_later_and_not_those_that_the_parent_ended)
{
    begin(&all, 2);
    tell_spawn(P, &kin_member, &significant, KIN(X));
    await("+X");
    tell_order(P, STOP, A);
    await("P.gone(A");
    tell_panic(B);
    await("P.gone(B");
    tell_panic(C);
    await("P.gone(C");
    tell(X, END, NULL, 0);
    cr_assert(shut_down("P.gone(X,normal)"));

    begin(&all, 2);
    tell(A, END, NULL, 0);
    await("P.gone(A");
    tell_panic(B);
    await("P.gone(B");
    tell_order(P, STOP, C); /* the last one, but not by itself */
    cr_assert_not(shut_down("P.gone(C,stopped)"));
}

/* --- from above --------------------------------------------------------------------------------------------------- */

/* A permanent parent comes back, with all its children, and its `stopped` knows why it ended. */
Test(parent, that_is_permanent_restarts)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        kin_prepare(workers);
        troupe_options options = world_options();
        kin_begin_with(&any, &stubborn, &options);
        await("+D");
        tell(A, END, NULL, 0);
        await("+P2");
        await("+D");
        tell(B, END, NULL, 0);
        await("+P3");
        await("+D");
        kin_end();
        ASSERT_TRACE(UP "-A:normal P.gone(A,normal) -D -C -B -P:shutdown ~P:ended +P2 +A +B +C +D "
                        "-B:normal P.gone(B,normal) -D -C -A -P:shutdown ~P:ended +P3 +A +B +C +D -D -C -B -A -P");
    }
}

/* One that ends while the others still start: nothing more is started. */
Test(parent, shuts_down_in_the_middle_of_the_start)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        kin_prepare(workers);
        kin_plan[B].panics_started = 1;
        kin_begin(&any);
        await("R.gone");
        kin_end();
        ASSERT_TRACE("+P +A +B P.gone(B,crashed) -A -P:shutdown R.gone(P,shutdown)");
        cr_assert_eq(kin_stats.spawns, 4);
    }
}

/* It goes up: a significant supervisor that shut down ends its own parent. */
static const troupe_child significant_any[] = {{.behavior = &any, .args = KIN(E), .supervision = &significant}, {0}};
static const troupe_behavior above = {
    .name = "above",
    KIN_CALLBACKS,
    .children = {.auto_shutdown = TROUPE_SHUTDOWN_ANY, .declared = significant_any},
};

Test(parent, shutdown_goes_up_when_it_is_significant_itself)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        kin_prepare(workers);
        kin_begin(&above);
        await("+D");
        tell(A, END, NULL, 0);
        await("R.gone");
        kin_end();
        ASSERT_TRACE("+P +E +A +B +C +D -A:normal E.gone(A,normal) -D -C -B -E:shutdown P.gone(E,shutdown) "
                     "-P:shutdown R.gone(P,shutdown)");
    }
}
