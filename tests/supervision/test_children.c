/* SPDX-License-Identifier: Apache-2.0 */
/* Declared children: the order in which they start and stop, their arguments, what their parent sees of them, and
 * whatever may come between while they are being started. */
#include "kin.h"

#include <limits.h>

enum { WORKERS = 4 };

/* --- order -------------------------------------------------------------------------------------------------------- */

static const troupe_child of_a[] = {
    {.behavior = &kin_member, .args = KIN(X)}, {.behavior = &kin_member, .args = KIN(Y)}, {0}};
static const troupe_behavior nested = {.name = "nested", KIN_CALLBACKS, .children = {.declared = of_a}};

/* Bs are told apart by the number at the end of their names. */
static void number_it(troupe_ctx *ctx, UNUSED void *self, unsigned number, void *args)
{
    struct kin *kin = args;
    for (size_t i = 0; i < sizeof *kin; i++)
        if (((const char *)args)[i])
            troupe_panic(ctx, "arguments are not zeroed");
    snprintf(kin->name, sizeof kin->name, "B%u", number);
    kin->slot = B + number;
}

static const troupe_child of_p[] = {
    {.behavior = &nested, .args = KIN(A)},
    {.behavior = &kin_member, .make_args = number_it, .count = 3},
    {.behavior = &kin_member, .args = KIN(F)},
    {0},
};
static const troupe_behavior parent = {.name = "parent", KIN_CALLBACKS, .children = {.declared = of_p}};

Test(order, is_that_of_the_list_and_reversed_at_the_stop)
{
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        kin_prepare(workers);
        kin_begin(&parent);
        await("+F");
        cr_assert_eq(kin_end(), 0);
        ASSERT_TRACE("+P +A +X +Y +B0 +B1 +B2 +F -F -B2 -B1 -B0 -Y -X -A -P");
    }
}

/* Each one's `started` keeps the next one from starting, however deep; kin blocks in it until told. */
Test(order, each_waits_until_the_one_before_and_its_children_have_started)
{
    static const unsigned blocked[] = {A, X, Y, B, C, D, F};
    for (unsigned i = 0; i < sizeof blocked / sizeof *blocked; i++) {
        char name[12], expected[200];
        kin_prepare(WORKERS);
        kin_plan[blocked[i]].blocks_started = 1;
        kin_begin(&parent);
        await("+P");
        while (troupe_addr_is_nobody(kin_at(blocked[i])))
            usleep(100);
        kin_name(kin_at(blocked[i]), name);
        tell_order(R, SUSPEND, P); /* keeps others busy for a moment: those who must not start may do it now */
        tell_order(R, RESUME, P);
        usleep(2000);
        kin_open(blocked[i]);
        await("+F");
        kin_end();
        char *plain = strstr(world.trace, ")");
        snprintf(expected, sizeof expected, "+%s %s)", name, name);
        cr_assert(plain && strstr(world.trace, expected), "%s: somebody began before: %s", name, world.trace);
    }
}

/* Dynamic children stop first and all together; each declared one is told when those behind it are gone. */
Test(order, of_a_stop_is_dynamic_ones_then_each_declared_one_by_itself)
{
    static const unsigned blocked[] = {Z, F, C, A, X};
    static const char *const before[] = {"-Z", "-Z -F", "-Z -F -B2 -B1", "-Z -F -B2 -B1 -B0 -Y -X -A",
                                         "-Z -F -B2 -B1 -B0 -Y -X"};
    for (unsigned i = 0; i < sizeof blocked / sizeof *blocked; i++) {
        kin_prepare(WORKERS);
        kin_plan[blocked[i]].blocks_stopped = 1;
        kin_begin(&parent);
        await("+F");
        tell_spawn(P, &kin_member, NULL, KIN(Z));
        await("+Z");
        tell_order(R, STOP, P);
        char last[12];
        snprintf(last, sizeof last, "%s", strrchr(before[i], '-'));
        await(last);
        usleep(2000); /* those who must not stop yet may do it now */
        char *trace = strstr(world.trace, "-Z");
        cr_assert_str_eq(trace, before[i], "%s", world.trace);
        kin_open(blocked[i]);
        await("R.gone(P,stopped)");
        kin_end();
        ASSERT_TRACE("+P +A +X +Y +B0 +B1 +B2 +F +Z -Z -F -B2 -B1 -B0 -Y -X -A -P R.gone(P,stopped)");
    }
}

/* --- arguments ---------------------------------------------------------------------------------------------------- */

struct tally {
    unsigned made;
};

static uint64_t generation; /* of the arguments, over all incarnations of the parent */

STARTED(tally_started)
{
    ((struct tally *)self)->made = 100;
    ck_pr_inc_64(&generation);
    return kin_started(ctx, self, args);
}

static void make_tallied(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    struct tally *tally = self;
    struct kin *kin = args;
    *kin = *KIN(A);
    snprintf(kin->name, sizeof kin->name, "A%lu%u.%u", generation, number, tally->made++);
    if (kin_take(&kin_plan[Z].panics_started))
        troupe_panic(ctx, "no arguments");
    if (kin_take(&kin_plan[Z].stops_started))
        troupe_stop_self(ctx);
}

static const troupe_child of_tally[] = {{.behavior = &kin_member, .make_args = make_tallied, .count = 2},
                                        {.behavior = &kin_member, .args = KIN(B), .count = 2},
                                        {.behavior = &kin_member, .make_args = make_tallied},
                                        {0}};
static const troupe_behavior tallied = {
    .name = "tallied", KIN_CALLBACKS, .state_size = sizeof(struct tally), .children = {.declared = of_tally}};

static troupe_behavior with_tally(void)
{
    troupe_behavior behavior = tallied;
    behavior.started = tally_started;
    return behavior;
}

Test(args, are_made_from_the_parents_state_and_anew_for_each_of_its_incarnations)
{
    static troupe_behavior top;
    for (unsigned workers = 1; workers <= 2; workers++) {
        generation = 0;
        top = with_tally();
        kin_prepare(workers);
        kin_begin(&top);
        await("+A10.102");
        tell_panic(P);
        await("+A20.102");
        kin_end();
        ASSERT_TRACE("+P +A10.100 +A11.101 +B +B +A10.102 -A10.102 -B -B -A11.101 -A10.100 !P ~P:panic +P2 "
                     "+A20.100 +A21.101 +B +B +A20.102 -A20.102 -B -B -A21.101 -A20.100 -P");
    }
}

/* A child's restart keeps the arguments that were made once. */
Test(args, stay_the_same_when_the_child_restarts)
{
    static troupe_behavior top;
    generation = 0;
    top = with_tally();
    kin_prepare(2);
    kin_begin(&top);
    await("+A10.102");
    tell_panic(A);
    await("+A10.1022");
    kin_end();
    ASSERT_TRACE("+P +A10.100 +A11.101 +B +B +A10.102 !A10.102 ~A10.102:panic +A10.1022 -A10.102 -B -B -A11.101 "
                 "-A10.100 -P");
}

Test(args, a_panic_in_making_them_is_the_parents)
{
    static troupe_behavior top;
    for (unsigned workers = 1; workers <= 2; workers++) {
        generation = 0;
        top = with_tally();
        kin_prepare(workers);
        kin_plan[Z].panics_started = 1;
        kin_begin(&top);
        await("+A20.102");
        static troupe_crash crash;
        cr_assert_eq(troupe_crashes_read(kin_rt, 0, &crash, 1), 1);
        cr_assert_str_eq(crash.behavior, "tallied");
        cr_assert_str_eq(crash.handler, "make_args");
        cr_assert_str_eq(crash.text, "no arguments");
        cr_assert_eq(crash.cause, TROUPE_CAUSE_PANIC);
        kin_end();
        ASSERT_TRACE("+P !P ~P:panic +P2 +A20.100 +A21.101 +B +B +A20.102 -A20.102 -B -B -A21.101 -A20.100 -P");
    }
}

/* The parent stops while it makes them: no child comes after. */
Test(args, a_parent_that_stops_itself_while_it_makes_them_starts_no_more)
{
    static troupe_behavior top;
    for (unsigned workers = 1; workers <= 2; workers++) {
        generation = 0;
        top = with_tally();
        kin_prepare(workers);
        kin_plan[Z].stops_started = 1;
        kin_begin(&top);
        await("R.gone(P,normal)");
        kin_end();
        ASSERT_TRACE("+P -P:normal R.gone(P,normal)");
    }
}

static const troupe_child four[] = {{.behavior = &kin_member, .args = KIN(A)},
                                    {.behavior = &kin_member, .args = KIN(B)},
                                    {.behavior = &kin_member, .args = KIN(C)},
                                    {.behavior = &kin_member, .args = KIN(D)},
                                    {0}};
static const troupe_behavior of_four = {.name = "four", KIN_CALLBACKS, .children = {.declared = four}};

/* Told to stop in `started`, by itself or by anybody: no child is started in vain. */
static void stop_me(troupe_ctx *ctx)
{
    troupe_stop(ctx, troupe_self(ctx));
}

Test(staffing, does_not_begin_for_a_parent_that_was_told_to_stop_in_started)
{
    for (unsigned i = 0; i < 4; i++) {
        kin_prepare(1 + i / 2);
        kin_plan[P].stops_started = i % 2;
        kin_plan[P].in_started = i % 2 ? NULL : stop_me;
        kin_begin(&of_four);
        await(i % 2 ? "R.gone(P,normal)" : "R.gone(P,stopped)");
        kin_end();
        ASSERT_TRACE(i % 2 ? "+P -P:normal R.gone(P,normal)" : "+P -P R.gone(P,stopped)");
        cr_assert_eq(kin_stats.spawns, 2);
    }
}

/* --- how many ----------------------------------------------------------------------------------------------------- */

static unsigned count_from_state(troupe_ctx *ctx, void *self)
{
    if (kin_take(&kin_plan[Z].panics_started))
        troupe_panic(ctx, "no count");
    if (kin_take(&kin_plan[Z].stops_started))
        troupe_stop_self(ctx);
    return (((struct tally *)self)->made - 100) * 2; /* none, and two after the first two */
}

static const troupe_child counted[] = {{.behavior = &kin_member, .args = KIN(X), .make_count = count_from_state},
                                       {.behavior = &kin_member, .make_args = make_tallied, .count = 1},
                                       {.behavior = &kin_member, .args = KIN(B), .make_count = count_from_state},
                                       {.behavior = &kin_member, .args = KIN(C)},
                                       {.behavior = &kin_member, .args = KIN(X), .make_count = count_from_state},
                                       {0}};

static troupe_behavior with_counts(unsigned from)
{
    troupe_behavior behavior = with_tally();
    behavior.children.declared = counted + from;
    return behavior;
}

Test(count, may_be_the_parents_to_say_just_before_the_first_of_them)
{
    static troupe_behavior top;
    for (unsigned workers = 1; workers <= 2; workers++) {
        generation = 0;
        top = with_counts(0);
        kin_prepare(workers);
        kin_begin(&top);
        await("+X +X");
        kin_end();
        ASSERT_TRACE("+P +A10.100 +B +B +C +X +X -X -X -C -B -B -A10.100 -P");
    }
}

Test(count, a_panic_in_it_is_the_parents_and_a_stop_starts_no_more)
{
    static troupe_behavior top;
    for (unsigned from = 0; from < 2; from++) { /* the first of them, or one behind another child */
        generation = 0;
        top = with_counts(from);
        kin_prepare(2);
        kin_plan[Z].panics_started = from == 0;
        kin_begin(&top);
        await("+X +X");
        if (from == 0) {
            static troupe_crash crash;
            cr_assert_eq(troupe_crashes_read(kin_rt, 0, &crash, 1), 1);
            cr_assert_str_eq(crash.handler, "make_count");
        }
        kin_end();
        ASSERT_TRACE(from == 0 ? "+P !P ~P:panic +P2 +A20.100 +B +B +C +X +X -X -X -C -B -B -A20.100 -P"
                               : "+P +A10.100 +B +B +C +X +X -X -X -C -B -B -A10.100 -P");
        generation = 0;
        top = with_counts(from * 2);
        kin_prepare(2);
        kin_plan[Z].stops_started = 1;
        kin_begin(&top);
        await("R.gone(P,normal)");
        kin_end();
        ASSERT_TRACE("+P -P:normal R.gone(P,normal)");
    }
}

/* --- together, and held ------------------------------------------------------------------------------------------- */

static const troupe_child jointly[] = {
    {.behavior = &kin_member, .args = KIN(A)},
    {.behavior = &kin_member, .make_args = number_it, .count = 3, .together = true},
    {.behavior = &kin_member, .args = KIN(F)},
    {0},
};
static const troupe_behavior of_jointly = {.name = "jointly", KIN_CALLBACKS, .children = {.declared = jointly}};

/* All of them are on their way at once, and each one is waited for. */
Test(together, they_start_at_once_and_are_waited_for_together)
{
    for (unsigned last = B; last <= D; last++) {
        kin_prepare(5);
        for (unsigned slot = B; slot <= D; slot++)
            kin_plan[slot].blocks_started = 1;
        kin_begin(&of_jointly);
        for (unsigned slot = B; slot <= D; slot++)
            while (troupe_addr_is_nobody(kin_at(slot)))
                usleep(100);
        for (unsigned slot = B; slot <= D; slot++)
            if (slot != last)
                kin_open(slot);
        char text[12];
        for (unsigned slot = B; slot <= D; slot++) {
            snprintf(text, sizeof text, "B%u)", slot - B);
            while (slot != last && !said(text))
                usleep(100);
        }
        usleep(1000); /* F may begin now, if it does not wait */
        cr_assert_not(said("+F"), "%s", world.trace);
        kin_open(last);
        await("+F");
        kin_end();
        cr_assert(strstr(world.trace, "-F -B2 -B1 -B0 -A -P"), "%s", world.trace);
    }
}

/* One of them never gets up, each way. */
Test(together, one_that_ends_or_escalates_does_not_keep_the_others)
{
    static const troupe_verdict verdicts[] = {TROUPE_VERDICT_IGNORE, TROUPE_VERDICT_RESTART_CHILD,
                                              TROUPE_VERDICT_REPLACE_CHILD};
    for (unsigned i = 0; i < 4; i++) {
        kin_prepare(WORKERS);
        kin_plan[P].verdict = i < 3 ? (uint64_t)verdicts[i] : 0;
        kin_plan[C].panics_started = i < 3 ? 4 : 0;
        kin_plan[C].stops_started = i == 3;
        kin_begin(&of_jointly);
        await("+F");
        kin_end();
        char *after = strstr(world.trace, "+F");
        cr_assert(strstr(after, i % 3 ? "-F -B2 -B1 -B0 -A -P" : "-F -B2 -B0 -A -P"), "%u: %s", i, world.trace);
        cr_assert(i == 3 ? said("P.gone(B1,normal)") : said("P.asked(B1)"), "%u: %s", i, world.trace);
    }
}

static void hold_at_first(troupe_ctx *ctx)
{
    if (bump(kin_of(ctx)->slot) == 1)
        troupe_hold(ctx);
}

static void hold_and_load(troupe_ctx *ctx)
{
    troupe_hold(ctx);
    struct kin_spawn spawn = {&kin_member, NULL, *KIN(X)};
    kin_spawn_now(ctx, &spawn);
}

static void load(troupe_ctx *ctx)
{
    say("loaded");
    troupe_unhold(ctx);
}

/* B holds its mailbox until its own X has ended: it has not started before. */
Test(held, a_child_has_started_when_it_no_longer_holds_its_mailbox)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        kin_prepare(workers);
        kin_plan[B].in_started = hold_and_load;
        kin_plan[B].in_told = load;
        kin_begin(&of_jointly);
        await("+X");
        while (!said("+B1") || !said("+B2"))
            usleep(100);
        usleep(1000); /* F may begin now, if it does not wait */
        cr_assert_not(said("+F"), "%s", world.trace);
        tell(X, END, NULL, 0);
        await("loaded");
        await("+F");
        kin_end();
    }
}

static void hold_and_spawn_e(troupe_ctx *ctx)
{
    troupe_hold(ctx);
    struct kin_spawn spawn = {&kin_member, NULL, *KIN(E)};
    kin_spawn_now(ctx, &spawn);
}

/* It lets go while its own children still start: then these are waited for. */
Test(held, a_child_that_lets_go_early_has_started_when_its_children_have)
{
    kin_prepare(WORKERS);
    kin_plan[A].in_started = hold_and_spawn_e;
    kin_plan[A].in_told = load;
    kin_plan[X].blocks_started = 1;
    kin_begin(&parent);
    await("+X");
    while (troupe_addr_is_nobody(kin_at(E)))
        usleep(100);
    tell(E, END, NULL, 0);
    while (!said("loaded"))
        usleep(100);
    usleep(1000); /* B may begin now, if it does not wait */
    cr_assert_not(said("+B"), "%s", world.trace);
    kin_open(X);
    await("+F");
    kin_end();
}

/* It crashes while it holds; the next incarnation does not. */
Test(held, a_child_that_crashes_meanwhile_is_waited_for_still)
{
    kin_prepare(2);
    kin_plan[A].in_started = hold_at_first;
    kin_plan[A].panics_started = 1;
    kin_begin(&of_four);
    await("+D");
    kin_end();
    ASSERT_TRACE("+P +A ~A:panic +A2 +B +C +D -D -C -B -A -P");
}

/* --- what the parent sees ----------------------------------------------------------------------------------------- */

/* "A.B" for a parent whose places are A, empty, B. */
static void say_places(troupe_ctx *ctx)
{
    char text[64] = "=", name[12];
    for (unsigned place = 0; place < 4; place++) {
        troupe_addr child = troupe_child_at(ctx, place);
        kin_name(child, name);
        strcat(text, troupe_addr_is_nobody(child) ? "." : name);
    }
    if (!troupe_addr_is_nobody(troupe_child_at(ctx, 4)) || !troupe_addr_is_nobody(troupe_child_at(ctx, UINT_MAX)))
        strcat(text, "beyond!");
    say("%s", text);
}

Test(place, names_the_children_in_every_phase)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        kin_prepare(workers);
        kin_plan[P].in_started = kin_plan[P].in_stopped = kin_plan[P].in_told = kin_plan[P].in_restart = say_places;
        kin_begin(&of_four);
        await("+D");
        tell(B, END, NULL, 0);
        await("=A.CD");
        tell_panic(C); /* a restart changes nothing */
        await("+C2");
        tell(D, END, NULL, 0);
        await("=A.C.");
        tell_panic(P);
        await("+D");
        kin_end();
        ASSERT_TRACE("+P =.... +A +B +C +D -B:normal P.gone(B,normal) =A.CD !C ~C:panic +C2 -D:normal P.gone(D,normal) "
                     "=A.C. -C -A !P ~P:panic =.... +P2 =.... +A +B +C +D -D -C -B -A -P =....");
    }
}

/* While they start: those that have been spawned are there. Asked when a child of the parent's `started` ends
 * meanwhile. */
static void spawn_x(troupe_ctx *ctx)
{
    struct kin_spawn spawn = {&kin_member, NULL, *KIN(X)};
    kin_spawn_now(ctx, &spawn);
}

Test(place, shows_who_has_been_started_so_far)
{
    kin_prepare(WORKERS);
    kin_plan[P].in_started = spawn_x;
    kin_plan[P].in_told = say_places;
    kin_plan[B].blocks_started = 1;
    kin_begin(&of_four);
    await("+B");
    tell(X, END, NULL, 0);
    await("=AB..");
    kin_open(B);
    await("+D");
    kin_end();
}

/* Messages wait until all have started, in their order; ends of children do not. */
Test(hold, of_the_parents_messages_lasts_until_all_have_started)
{
    for (unsigned round = 0; round < 10; round++) {
        kin_prepare(WORKERS);
        kin_plan[P].in_started = spawn_x;
        kin_plan[C].blocks_started = 1;
        kin_begin(&of_four);
        await("+C");
        for (unsigned n = 1; n <= 3; n++)
            tell_note(P, n);
        tell(X, END, NULL, 0);
        await("P.gone(X,normal)"); /* it has looked at its mailbox since, or does now */
        usleep(round * 300);
        cr_assert_not(said("P:1"), "%s", world.trace);
        kin_open(C);
        await("P:3");
        kin_end();
        cr_assert(strstr(world.trace, "C) +D P:1 P:2 P:3"), "%s", world.trace);
    }
}

/* --- a child that does not get up at once ------------------------------------------------------------------------- */

Test(staffing, goes_on_when_a_child_that_crashes_in_started_is_up_at_last)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_plan[B].panics_started = 1;
        kin_plan[B].fails_started = 1;
        kin_plan[B].panics_restarted = 1;
        kin_begin(&of_four);
        await("+D");
        kin_end();
        ASSERT_TRACE("+P +A +B ~B:panic ~B:panic +B3 ~B:start +B4 +C +D -D -C -B -A -P");
    }
}

static const troupe_supervision temporary = {.restart = TROUPE_RESTART_TEMPORARY};
static const troupe_supervision no_restarts = {.restarts = TROUPE_RESTARTS_NONE};
static const troupe_child frail[] = {{.behavior = &kin_member, .args = KIN(A)},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &no_restarts},
                                     {.behavior = &kin_member, .args = KIN(C)},
                                     {0}};
static const troupe_child fleeting[] = {{.behavior = &kin_member, .args = KIN(A)},
                                        {.behavior = &kin_member, .args = KIN(B), .supervision = &temporary},
                                        {.behavior = &kin_member, .args = KIN(C)},
                                        {0}};
static const troupe_behavior of_frail = {.name = "frail", KIN_CALLBACKS, .children = {.declared = frail}};
static const troupe_behavior of_fleeting = {.name = "fleeting", KIN_CALLBACKS, .children = {.declared = fleeting}};

Test(staffing, goes_on_without_a_temporary_child_that_crashes_in_started)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_plan[P].in_told = say_places;
        kin_plan[B].panics_started = 1;
        kin_begin(&of_fleeting);
        await("+C");
        kin_end();
        ASSERT_TRACE("+P +A +B P.gone(B,crashed) =A... +C -C -A -P");
    }
}

Test(staffing, goes_on_without_a_child_that_stops_itself_in_started)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_plan[B].stops_started = 1;
        kin_begin(&of_four);
        await("+D");
        kin_end();
        ASSERT_TRACE("+P +A +B -B:normal P.gone(B,normal) +C +D -D -C -A -P");
    }
}

/* It is told before the next one starts, and may stop everything. */
Test(staffing, ends_when_the_parent_stops_over_a_child_that_did_not_start)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_plan[P].stops_told = 1;
        kin_plan[B].panics_started = 1;
        kin_begin(&of_fleeting);
        await("R.gone(P,normal)");
        kin_end();
        ASSERT_TRACE("+P +A +B P.gone(B,crashed) -A -P:normal R.gone(P,normal)");
    }
}

static void run_verdict(unsigned workers, troupe_verdict verdict, unsigned panics, const char *until)
{
    kin_prepare(workers);
    kin_plan[P].verdict = verdict;
    kin_plan[B].panics_started = panics;
    kin_begin(&of_frail);
    await(until);
    kin_end();
}

Test(staffing, obeys_each_verdict_on_a_child_that_never_got_up)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        run_verdict(workers, TROUPE_VERDICT_IGNORE, 1, "+C");
        ASSERT_TRACE("+P +A +B P.asked(B) P.gone(B,escalated) +C -C -A -P");
        run_verdict(workers, TROUPE_VERDICT_RESTART_CHILD, 2, "+C");
        ASSERT_TRACE("+P +A +B P.asked(B) ~B:panic +B2 P.asked(B) ~B:panic +B3 +C -C -B -A -P");
        run_verdict(workers, TROUPE_VERDICT_STOP_SELF, 1, "R.gone(P,normal)");
        ASSERT_TRACE("+P +A +B P.asked(B) -A -P:normal R.gone(P,normal)");
        run_verdict(workers, TROUPE_VERDICT_RESTART_SELF, 1, "+C");
        ASSERT_TRACE("+P +A +B P.asked(B) -A !P ~P:child +P2 +A +B +C -C -B -A -P");
    }
}

static void block_the_fresh_one(troupe_ctx *ctx)
{
    if (troupe_incarnation(ctx) == 1 && bump(B) == 2) {
        kin_wait_gate(B);
        say("B)");
    }
}

/* The next one waits for the replacement as it would have for the child. */
Test(staffing, waits_for_a_replacement_too)
{
    kin_prepare(WORKERS);
    kin_plan[P].verdict = TROUPE_VERDICT_REPLACE_CHILD;
    kin_plan[B].panics_started = 1;
    kin_plan[B].in_started = block_the_fresh_one;
    kin_begin(&of_frail);
    await("P.new(B)");
    usleep(2000); /* C may begin now, if it does not wait */
    cr_assert_not(said("+C"), "%s", world.trace);
    kin_open(B);
    await("B)");
    await("+C");
    kin_end();
}

/* --- something comes between -------------------------------------------------------------------------------------- */

/* X, dynamic, which writes its end only. */
STARTED(begin_unseen)
{
    kin_register(ctx);
    return 0;
}

static troupe_behavior unseen(void)
{
    troupe_behavior behavior = kin_member;
    behavior.started = begin_unseen;
    return behavior;
}

static troupe_behavior unseen_member;

static void spawn_unseen(troupe_ctx *ctx)
{
    struct kin_spawn spawn = {&unseen_member, NULL, *KIN(X)};
    if (troupe_incarnation(ctx) == 1)
        kin_spawn_now(ctx, &spawn);
}

enum interruption { BY_STOP, BY_THE_END, BY_KILL, BY_CRASH, BY_ITSELF, INTERRUPTIONS };

/* B blocks in `started`, and the parent has seen the interruption before it goes on. */
static const char *const interrupted[INTERRUPTIONS] = {
    [BY_STOP] = "+P +A +B -X B) -B -A -P R.gone(P,stopped)",
    [BY_THE_END] = "+P +A +B -X B) -B -A -P",
    [BY_KILL] = "+P +A +B B) R.gone(P,killed)",
    [BY_CRASH] = "+P +A +B -X:normal P.gone(X,normal) B) -B -A !P ~P:panic +P2 +A +B +C +D -D -C -B -A -P",
    [BY_ITSELF] = "+P +A +B -X:normal P.gone(X,normal) B) -B -A -P:normal R.gone(P,normal)",
};

static void await_kills(uint64_t kills)
{
    troupe_stats stats;
    do {
        usleep(100);
        troupe_stats_read(kin_rt, &stats);
    } while (stats.kills < kills);
}

static void interrupt(enum interruption how)
{
    if (how == BY_KILL) {
        tell_order(R, KILL, P);
        await_kills(3); /* P, X and A, which obey at once */
        return;
    }
    if (how == BY_STOP)
        tell_order(R, STOP, P);
    else if (how == BY_THE_END)
        troupe_runtime_request_stop(kin_rt);
    else
        tell(X, END, NULL, 0);
    await(how == BY_STOP || how == BY_THE_END ? "-X" : "P.gone(X,normal)");
}

Test(staffing, ends_in_order_whatever_interrupts_it)
{
    unseen_member = unseen();
    for (unsigned how = 0; how < INTERRUPTIONS; how++) {
        kin_prepare(WORKERS);
        kin_plan[P].in_started = spawn_unseen;
        kin_plan[P].panics_told = how == BY_CRASH;
        kin_plan[P].stops_told = how == BY_ITSELF;
        kin_plan[B].blocks_started = 1;
        kin_begin(&of_four);
        await("+B");
        while (troupe_addr_is_nobody(kin_at(X)))
            usleep(100);
        interrupt((enum interruption)how);
        kin_open(B);
        if (how == BY_CRASH)
            await("+D");
        else if (how != BY_THE_END)
            await("R.gone");
        kin_end();
        ASSERT_TRACE(interrupted[how]);
    }
}

static unsigned occurrences(const char *text)
{
    unsigned count = 0;
    for (const char *at = world.trace; (at = strstr(at, text)); at++)
        count++;
    return count;
}

/* At any time, from below and above: what has started is stopped, and the parent last. */
Test(staffing, of_a_tree_ends_in_order_when_it_is_interrupted_below)
{
    for (unsigned round = 0; round < 20; round++) {
        kin_prepare(WORKERS);
        kin_plan[X].blocks_started = 1;
        kin_begin(&parent);
        await("+X");
        tell_order(R, STOP, round % 2 ? A : P);
        kin_open(X);
        tell_order(R, STOP, round % 2 ? P : A);
        await("-P R.gone(P,stopped)");
        kin_end();
        cr_assert_eq(occurrences("+"), occurrences("-"), "%s", world.trace);
        cr_assert(strstr(world.trace, "-X") < strstr(world.trace, "-A"), "%s", world.trace);
    }
}

/* --- no room ------------------------------------------------------------------------------------------------------ */

enum { ACTORS_MAX = 10, TOO_MANY = 2000 };

static void make_silent(UNUSED troupe_ctx *ctx, UNUSED void *self, unsigned number, void *args)
{
    struct kin *kin = args;
    snprintf(kin->name, sizeof kin->name, "%u", number);
    kin->slot = A;
}

static const troupe_child crowd[] = {{.behavior = &unseen_member, .make_args = make_silent, .count = TOO_MANY}, {0}};
static const troupe_behavior crowded = {
    .name = "crowded", KIN_CALLBACKS, .supervision = {.restarts = 2}, .children = {.declared = crowd}};

Test(room, without_it_the_parent_crashes_and_says_so)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        unseen_member = unseen();
        unseen_member.stopped = NULL;
        kin_prepare(workers);
        troupe_options options = world_options();
        options.actors_max = ACTORS_MAX;
        kin_begin_with(&crowded, NULL, &options);
        await("R.gone(P,escalated)");
        static troupe_crash crash[4];
        cr_assert_eq(troupe_crashes_read(kin_rt, 0, crash, 4), 3);
        for (unsigned i = 0; i < 3; i++) {
            cr_assert_eq(crash[i].cause, TROUPE_CAUSE_START);
            cr_assert_eq(crash[i].status, -ENOMEM);
            cr_assert_str_eq(crash[i].text, "out of memory or actors for the declared child member");
            cr_assert_str_eq(crash[i].behavior, "crowded");
        }
        kin_end();
        ASSERT_TRACE("+P !P ~P:start +P2 !P ~P:start +P3 !P R.asked(P) R.gone(P,escalated)");
    }
}

/* More than can be. The second list would wrap round if the counts were just added up. */
static const troupe_child one_too_many[] = {
    {.behavior = &kin_member, .args = KIN(A), .count = 1},
    {.behavior = &unseen_member, .make_args = make_silent, .count = TROUPE_CHILDREN_MAX},
    {0}};
static const troupe_child wrapping[] = {{.behavior = &kin_member, .args = KIN(A), .count = 1},
                                        {.behavior = &unseen_member, .make_args = make_silent, .count = UINT_MAX},
                                        {0}};
static const troupe_behavior of_too_many[] = {
    {.name = "many", KIN_CALLBACKS, .supervision = {.restarts = 1}, .children = {.declared = one_too_many}},
    {.name = "many", KIN_CALLBACKS, .supervision = {.restarts = 1}, .children = {.declared = wrapping}}};

Test(room, more_children_than_can_be_counted_are_a_crash_of_the_parent)
{
    for (unsigned i = 0; i < 2; i++) {
        unseen_member = unseen();
        kin_prepare(2);
        kin_begin(&of_too_many[i]);
        await("R.gone(P,escalated)");
        static troupe_crash crash[4];
        cr_assert_eq(troupe_crashes_read(kin_rt, 0, crash, 4), 2);
        cr_assert_eq(crash[1].cause, TROUPE_CAUSE_START);
        cr_assert_eq(crash[1].status, -EINVAL);
        cr_assert_str_eq(crash[1].text, "more than 65535 declared children, at member");
        kin_end();
        ASSERT_TRACE("+P +A -A !P ~P:start +P2 +A -A !P R.asked(P) R.gone(P,escalated)");
    }
}

/* As many as are promised. */
static const troupe_child most[] = {
    {.behavior = &unseen_member, .make_args = make_silent, .count = TROUPE_CHILDREN_MAX}, {0}};
static const troupe_behavior of_most = {.name = "most", KIN_CALLBACKS, .children = {.declared = most}};

Test(room, is_there_for_as_many_children_as_are_promised)
{
    unseen_member = unseen();
    unseen_member.stopped = NULL;
    kin_prepare(2);
    kin_begin(&of_most);
    await("+P");
    tell_note(P, 1); /* it waits for the last of them */
    await("P:1");
    kin_end();
    cr_assert_eq(kin_stats.spawns, TROUPE_CHILDREN_MAX + 2);
}
