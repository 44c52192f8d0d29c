/* SPDX-License-Identifier: Apache-2.0 */
/* Restart windows of running actors: an actor's own at its edges, its parent's over all children, and what becomes of
 * an escalation that nobody holds up. Time passes by the clock here, so bounds that a slow machine could miss are
 * wide. */
#include "kin.h"

static const troupe_supervision twice = {.restarts = 2, .window_ns = TROUPE_SEC(1000)};
static const troupe_supervision sliding = {.restarts = 2, .window_ns = TROUPE_SEC(2)};
static const troupe_supervision once = {.restarts = 1};
static const troupe_supervision most = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = TROUPE_SEC(1000)};
static const troupe_supervision none = {.restarts = TROUPE_RESTARTS_NONE};

/* P is the actor of interest, and R its parent, which ignores escalations: so each ends it. */
static void begin(const troupe_supervision *supervision)
{
    kin_prepare(2);
    troupe_options options = world_options();
    kin_begin_with(&kin_member, supervision, &options);
    await("+P");
}

static void crash_until(const char *text)
{
    tell_panic(P);
    await(text);
}

/* --- an actor's own ----------------------------------------------------------------------------------------------- */

Test(own, allows_exactly_as_many_as_it_says)
{
    static const struct {
        const troupe_supervision *supervision;
        unsigned allowed;
    } cases[] = {{NULL, 3}, {&twice, 2}, {&once, 1}, {&none, 0}, {&most, TROUPE_RESTARTS_MAX}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].supervision);
        for (unsigned n = 0; n < cases[i].allowed; n++) {
            char text[12];
            snprintf(text, sizeof text, "+P%u", n + 2);
            crash_until(text);
        }
        crash_until("R.gone(P,escalated)");
        kin_end();
        cr_assert_eq(kin_stats.restarts, cases[i].allowed);
        cr_assert_eq(kin_stats.crashes, cases[i].allowed + 1);
        cr_assert_eq(kin_stats.escalations, 1);
    }
}

/* Two in 2 s: the third crash within them escalates, and one that comes when the first two are past does not. */
Test(own, slides)
{
    begin(&sliding);
    crash_until("+P2");
    crash_until("+P3");
    usleep(2050 * 1000); /* what has to pass is time */
    crash_until("+P4");
    crash_until("+P5");
    crash_until("R.gone(P,escalated)");
    kin_end();
}

/* A crash record says how many there were before it, inside of the window. */
Test(own, is_told_by_the_crash_record)
{
    static troupe_crash crashes[8];
    begin(&sliding);
    crash_until("+P2");
    crash_until("+P3");
    usleep(2050 * 1000);
    crash_until("+P4");
    cr_assert_eq(troupe_crashes_read(kin_rt, 0, crashes, 8), 3);
    cr_assert_eq(crashes[0].restarts, 0);
    cr_assert_eq(crashes[1].restarts, 1);
    cr_assert_eq(crashes[2].restarts, 0);
    cr_assert_eq(crashes[2].incarnation, 3);
    kin_end();
}

/* An orderly end of a permanent actor is a restart like any other, and too many of them escalate. */
Test(own, counts_the_orderly_ends_of_a_permanent_actor)
{
    static const troupe_supervision stubborn = {.restart = TROUPE_RESTART_PERMANENT, .restarts = 2};
    begin(&stubborn);
    tell(P, END, NULL, 0);
    await("+P2");
    tell_order(P, STOP, P); /* not its parent's order, so it comes back too */
    await("+P3");
    crash_until("R.asked(P)");
    await("R.gone(P,escalated)");
    kin_end();
    ASSERT_TRACE("+P -P:normal ~P:ended +P2 -P ~P:ended +P3 !P R.asked(P) R.gone(P,escalated)");
}

/* Restarts that a group makes are not the member's own. */
static const troupe_child pair[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &most},
                                    {.behavior = &kin_member, .args = KIN(B), .supervision = &once},
                                    {0}};
static const troupe_behavior of_pair = {
    .name = "pair", KIN_CALLBACKS, .children = {.strategy = TROUPE_ONE_FOR_ALL, .declared = pair}};

Test(own, is_not_touched_by_what_siblings_do)
{
    kin_prepare(2);
    kin_begin(&of_pair);
    await("+B");
    for (unsigned n = 2; n < 12; n++) {
        char text[12];
        snprintf(text, sizeof text, "+B%u", n);
        tell_panic(A);
        await(text);
    }
    tell_panic(B); /* its first */
    await("+B12");
    cr_assert_not(said("asked"), "%s", world.trace);
    tell_panic(B);
    await("P.asked(B)"); /* its second */
    kin_end();
}

/* --- the parent's, over all children ------------------------------------------------------------------------------ */

static const troupe_child three[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &most},
                                     {.behavior = &kin_member, .args = KIN(B), .supervision = &most},
                                     {.behavior = &kin_member, .args = KIN(C), .supervision = &most},
                                     {0}};
static const troupe_behavior strict = {
    .name = "strict", KIN_CALLBACKS, .children = {.restarts = 2, .window_ns = TROUPE_SEC(1000), .declared = three}};
static const troupe_behavior lenient = {
    .name = "lenient", KIN_CALLBACKS, .children = {.restarts = 2, .window_ns = TROUPE_SEC(2), .declared = three}};

Test(parents, one_restart_too_many_is_a_crash_of_the_parent)
{
    static troupe_crash crashes[8];
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_begin(&strict);
        await("+C");
        tell_panic(A);
        await("+A2");
        tell_panic(B);
        await("+B2");
        tell_panic(C);
        await("+C");
        /* A new incarnation, and none of that counts any more. */
        tell_panic(A);
        await("+A2");
        tell_panic(A);
        await("+A3");
        tell_panic(B);
        await("+C");
        cr_assert_eq(troupe_crashes_read(kin_rt, 0, crashes, 8), 8);
        const troupe_crash *crash = &crashes[3];
        cr_assert_eq(crash->cause, TROUPE_CAUSE_CHILD);
        cr_assert_str_eq(crash->behavior, "strict");
        cr_assert_str_eq(crash->text, "its children restarted more than 2 times in 1e+03 s, last member: on request");
        kin_end();
        ASSERT_TRACE("+P +A +B +C !A ~A:panic +A2 !B ~B:panic +B2 !C -B -A !P ~P:child +P2 +A +B +C "
                     "!A ~A:panic +A2 !A ~A:panic +A3 !B -C -A !P ~P:child +P3 +A +B +C -C -B -A -P");
    }
}

Test(parents, slides_too)
{
    kin_prepare(2);
    kin_begin(&lenient);
    await("+C");
    tell_panic(A);
    await("+A2");
    tell_panic(B);
    await("+B2");
    usleep(2050 * 1000);
    tell_panic(C);
    await("+C2");
    tell_panic(A);
    await("+A3");
    cr_assert_not(said("!P"), "%s", world.trace);
    tell_panic(A);
    await("+C");
    kin_end();
    cr_assert(said("!A -C -B !P ~P:child +P2"), "%s", world.trace);
}

/* A group's restart counts once, however many come with it; and a child that ends is none. */
static const troupe_behavior strict_all = {
    .name = "strict",
    KIN_CALLBACKS,
    .children = {.strategy = TROUPE_ONE_FOR_ALL, .restarts = 2, .window_ns = TROUPE_SEC(1000), .declared = three}};

Test(parents, counts_a_group_once_and_ends_not_at_all)
{
    static const troupe_supervision temporary = {.restart = TROUPE_RESTART_TEMPORARY};
    kin_prepare(3);
    kin_begin(&strict_all);
    await("+C");
    for (unsigned i = 0; i < 4; i++) {
        tell_spawn(P, &kin_member, &temporary, KIN(X));
        await("+X");
        tell_panic(X);
        await("P.gone(X,crashed)");
    }
    tell_panic(A);
    await("+C2");
    tell_panic(B);
    await("+C3");
    cr_assert_not(said("!P"), "%s", world.trace);
    tell_panic(C);
    await("!P");
    await("+C");
    kin_end();
}

/* --- escalation --------------------------------------------------------------------------------------------------- */

/* Three levels: C in B in A in P. Nobody has a verdict, so each crashes by its child's crash, as often as its window
 * says. */
static const troupe_child of_b[] = {{.behavior = &kin_member, .args = KIN(C), .supervision = &none}, {0}};
static const troupe_behavior level_b = {
    .name = "b", KIN_CALLBACKS, .supervision = {.restarts = TROUPE_RESTARTS_NONE}, .children = {.declared = of_b}};
static const troupe_child of_a[] = {{.behavior = &level_b, .args = KIN(B)}, {0}};
static const troupe_behavior level_a = {
    .name = "a", KIN_CALLBACKS, .supervision = {.restarts = 1}, .children = {.declared = of_a}};
static const troupe_child of_p[] = {{.behavior = &level_a, .args = KIN(A)}, {0}};
static const troupe_behavior level_p = {
    .name = "p", KIN_CALLBACKS, .supervision = {.restarts = TROUPE_RESTARTS_NONE}, .children = {.declared = of_p}};

Test(chain, goes_up_until_somebody_may_restart)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        kin_begin(&level_p);
        await("+C");
        tell_panic(C);
        await("+C"); /* A was allowed one restart */
        tell_panic(C);
        await("R.gone(P,escalated)");
        cr_assert_eq(kin_end(), 0);
        ASSERT_TRACE("+P +A +B +C !C B.asked(C) !B A.asked(B) !A ~A:child +A2 +B +C "
                     "!C B.asked(C) !B A.asked(B) !A P.asked(A) !P R.asked(P) R.gone(P,escalated)");
        cr_assert_eq(kin_stats.escalations, 6);
    }
}

/* And past the root: status 1, and a report that names what began it. */
static const troupe_behavior root = {
    .name = "top", KIN_CALLBACKS, .supervision = {.restarts = TROUPE_RESTARTS_NONE}, .children = {.declared = of_p}};

static char errors[4096];

static void keep_errors(void *arg, const troupe_log_record *record)
{
    (void)arg;
    pthread_mutex_lock(&world.lock);
    if (record->level == TROUPE_LOG_ERROR)
        snprintf(errors + strlen(errors), sizeof errors - strlen(errors), "%s\n", record->text);
    pthread_mutex_unlock(&world.lock);
}

static bool is_reported(void)
{
    pthread_mutex_lock(&world.lock);
    bool is = strstr(errors, "the runtime stops") != NULL;
    pthread_mutex_unlock(&world.lock);
    return is;
}

Test(chain, past_the_root_ends_the_runtime_with_status_one_and_a_report)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        kin_prepare(workers);
        errors[0] = '\0';
        troupe_options options = world_options();
        options.log = keep_errors;
        kin_plan[X].verdict = TROUPE_VERDICT_RESTART_SELF;
        cr_assert_eq(troupe_runtime_start(&kin_rt, &root, KIN(X), &options, NULL), 0);
        await("+C");
        tell_panic(C);
        await("+C");
        tell_panic(C);
        await("X.asked(A)");
        while (!is_reported()) /* a stop by the test would come before it */
            usleep(100);
        cr_assert_eq(kin_end(), 1);
        cr_assert(strstr(world.trace, "A.asked(B) !A X.asked(A) !X"), "%s", world.trace);
        cr_assert(strstr(errors, "child a crashed too often: child b crashed too often: "
                                 "child member crashed too often: on request"),
                  "%s", errors);
    }
}
