/* SPDX-License-Identifier: Apache-2.0 */
/* The time that children are given to stop in: when their parent ends, when it restarts, when it restarts a group of
 * them; and those that are given none, or all of it. Who is late is held by a handler that does not return until the
 * test says so. */
#include "kin.h"

/* SHORT is for who is late in any case; AMPLE for who must not be, on a machine that has other things to do. */
enum { WORKERS = 4, SHORT_MS = 30, AMPLE_MS = 1000 };

static const troupe_supervision shortly = {.shutdown_ns = TROUPE_MS(SHORT_MS)};
static const troupe_supervision amply = {.shutdown_ns = TROUPE_MS(AMPLE_MS)};
static const troupe_supervision forever = {.shutdown_ns = TROUPE_FOREVER};
static const troupe_supervision beyond = {.shutdown_ns = TROUPE_SHUTDOWN_KILL - 1};
static const troupe_supervision at_once = {.shutdown_ns = TROUPE_SHUTDOWN_KILL};
static const troupe_supervision brief = {.restart = TROUPE_RESTART_TEMPORARY, .shutdown_ns = TROUPE_SHUTDOWN_KILL};

#define FAMILY(strategy_, declared_)                                                                                   \
    {                                                                                                                  \
        .name = "parent", KIN_CALLBACKS, .children = {.strategy = strategy_, .declared = declared_ }                   \
    }

static const troupe_child one[] = {{.behavior = &kin_member, .args = KIN(E)}, {0}};
static const troupe_behavior with_one = {.name = "with_one", KIN_CALLBACKS, .children = {.declared = one}};

/* --- what is logged ----------------------------------------------------------------------------------------------- */

static char logged[1 << 14];

static void keep_log(void *arg, const troupe_log_record *record)
{
    (void)arg;
    pthread_mutex_lock(&world.lock);
    size_t at = strlen(logged);
    snprintf(logged + at, sizeof logged - at, "%s\n", record->text);
    pthread_mutex_unlock(&world.lock);
}

/* How many were killed because they were late. */
static unsigned late(void)
{
    unsigned count = 0;
    pthread_mutex_lock(&world.lock);
    for (const char *at = logged; (at = strstr(at, " and is killed")); at++)
        count++;
    pthread_mutex_unlock(&world.lock);
    return count;
}

static void await_late(unsigned count)
{
    for (unsigned i = 0; late() < count && i < 200000; i++)
        usleep(100);
    cr_assert_geq(late(), count, "%s: %s", world.trace, logged); /* the next may be by now */
}

static void begin(const troupe_behavior *top, const char *last)
{
    kin_prepare(WORKERS);
    logged[0] = '\0';
    troupe_options options = world_options();
    options.log = keep_log;
    kin_begin_with(top, NULL, &options);
    await(last);
}

/* It runs until the test opens the gate. */
static void block(unsigned slot)
{
    char text[4] = {(char)('A' + slot - A), '('};
    tell(slot, BLOCK, NULL, 0);
    await(slot == E ? "E(" : slot == X ? "X(" : slot == Y ? "Y(" : text);
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TROUPE_SEC(1) + (uint64_t)now.tv_nsec;
}

/* --- the end of the parent ---------------------------------------------------------------------------------------- */

static const troupe_child hasty[] = {{.behavior = &with_one, .args = KIN(A), .supervision = &shortly}, {0}};
static const troupe_child calm[] = {{.behavior = &with_one, .args = KIN(A)}, {0}};
static const troupe_child endless[] = {{.behavior = &with_one, .args = KIN(A), .supervision = &beyond}, {0}};
static const troupe_child brutal[] = {{.behavior = &with_one, .args = KIN(A), .supervision = &at_once}, {0}};
static const troupe_behavior hasty_parent = FAMILY(TROUPE_ONE_FOR_ONE, hasty);
static const troupe_behavior calm_parent = FAMILY(TROUPE_ONE_FOR_ONE, calm);
static const troupe_behavior endless_parent = FAMILY(TROUPE_ONE_FOR_ONE, endless);
static const troupe_behavior brutal_parent = FAMILY(TROUPE_ONE_FOR_ONE, brutal);

/* A waits for its own child, which has all the time; A has not. */
Test(late, child_that_waits_for_its_own_child_is_killed_with_it)
{
    begin(&hasty_parent, "+E");
    block(E);
    uint64_t from = clock_ns();
    tell_order(R, STOP, P);
    await_kill_of(E);
    cr_assert_geq(clock_ns() - from, TROUPE_MS(SHORT_MS));
    kin_open(E);
    await("R.gone(P,stopped)");
    kin_end();
    ASSERT_TRACE("+P +A +E E( E) -P R.gone(P,stopped)");
    cr_assert(strstr(logged, "did not stop in 0.03 s and is killed"), "%s", logged);
    cr_assert_eq(late(), 1, "%s", logged);
}

/* In its own handler it cannot be interrupted; but nothing more is called then. */
Test(late, child_in_a_handler_ends_as_soon_as_that_returns)
{
    begin(&hasty_parent, "+E");
    block(A);
    tell_order(R, STOP, P);
    await_late(1);
    kin_open(A);
    await("R.gone(P,stopped)");
    kin_end();
    ASSERT_TRACE("+P +A +E A( A) -P R.gone(P,stopped)");
}

/* A behavior that declares children has all the time by default, and so has who says so. */
static void check_patience(const troupe_behavior *top)
{
    begin(top, "+E");
    block(E);
    tell_order(R, STOP, P);
    await_life(A, TR_LIFE_STOPPING);
    troupe_stats before, after;
    troupe_stats_read(kin_rt, &before);
    usleep(4 * SHORT_MS * 1000); /* what must not happen has time to */
    troupe_stats_read(kin_rt, &after);
    cr_assert_lt(after.activations - before.activations, 100, "it does not sleep: %lu activations",
                 after.activations - before.activations);
    await_life(A, TR_LIFE_STOPPING);
    kin_open(E);
    await("R.gone(P,stopped)");
    kin_end();
    ASSERT_TRACE("+P +A +E E( E) -E -A -P R.gone(P,stopped)");
    cr_assert_eq(late(), 0, "%s", logged);
}

Test(patient, parents_wait_for_supervisors_by_default)
{
    check_patience(&calm_parent);
}

Test(patient, time_that_ends_behind_the_clocks_end_is_forever)
{
    check_patience(&endless_parent);
}

/* Anybody else has five seconds. */
static const troupe_child plain[] = {{.behavior = &kin_member, .args = KIN(A)}, {0}};
static const troupe_behavior plain_parent = FAMILY(TROUPE_ONE_FOR_ONE, plain);

Test(late, is_who_has_not_stopped_in_five_seconds_by_default)
{
    begin(&plain_parent, "+A");
    block(A);
    uint64_t from = clock_ns();
    tell_order(R, STOP, P);
    await_late(1);
    cr_assert_geq(clock_ns() - from, TROUPE_SEC(5));
    cr_assert(strstr(logged, "did not stop in 5 s"), "%s", logged);
    kin_open(A);
    kin_end();
}

/* Killed at once, with all below it: no `stopped`. */
Test(at_once, is_how_some_are_killed)
{
    begin(&brutal_parent, "+E");
    tell_order(R, STOP, P);
    await("R.gone(P,stopped)");
    kin_end();
    ASSERT_TRACE("+P +A +E -P R.gone(P,stopped)");
    cr_assert_eq(kin_stats.kills, 2);
    cr_assert_eq(late(), 0, "%s", logged);
    begin(&brutal_parent, "+E");
    tell_panic(P);
    await("+P2");
    await("+E");
    kin_end();
    ASSERT_TRACE("+P +A +E !P ~P:panic +P2 +A +E -P");
}

/* --- each has its own time ---------------------------------------------------------------------------------------- */

static const troupe_child hasty_three[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &shortly},
                                           {.behavior = &kin_member, .args = KIN(B), .supervision = &shortly},
                                           {.behavior = &kin_member, .args = KIN(C), .supervision = &shortly},
                                           {0}};
static const troupe_behavior hasty_family = FAMILY(TROUPE_ONE_FOR_ONE, hasty_three);

/* It begins when it is told, which is when the one behind it is gone. */
Test(time, of_a_declared_child_begins_when_its_turn_comes)
{
    begin(&hasty_family, "+C");
    for (unsigned slot = A; slot <= C; slot++)
        block(slot);
    tell_order(R, STOP, P);
    for (unsigned slot = C; slot >= A; slot--) {
        await_late(C - slot + 1);
        usleep(2 * SHORT_MS * 1000); /* the next one has not been told yet, however long this one takes */
        cr_assert_eq(late(), C - slot + 1, "%s", logged);
        uint64_t from = clock_ns();
        kin_open(slot);
        if (slot == A)
            break;
        await_late(C - slot + 2);
        cr_assert_geq(clock_ns() - from, TROUPE_MS(SHORT_MS));
    }
    await("R.gone(P,stopped)");
    kin_end();
    cr_assert(strstr(world.trace, "C) B) A) -P"), "%s", world.trace);
}

/* Dynamic ones are told together, and each is killed when its own time is up. */
Test(time, of_dynamic_children_runs_for_each_of_them)
{
    begin(&hasty_family, "+C");
    tell_spawn(P, &kin_member, &forever, KIN(F));
    await("+F");
    tell_spawn(P, &kin_member, &amply, KIN(Y));
    await("+Y");
    tell_spawn(P, &kin_member, &shortly, KIN(X));
    await("+X");
    block(X);
    block(Y);
    tell(F, BLOCK, NULL, 0);
    await("F(");
    uint64_t from = clock_ns();
    tell_order(R, STOP, P);
    await_late(1);
    cr_assert_geq(clock_ns() - from, TROUPE_MS(SHORT_MS));
    await_late(2);
    cr_assert_geq(clock_ns() - from, TROUPE_MS(AMPLE_MS));
    usleep(3 * SHORT_MS * 1000);
    cr_assert_eq(late(), 2, "%s", logged);
    cr_assert(strstr(logged, " 0.03 s") < strstr(logged, " 1 s"), "%s", logged);
    kin_open(X);
    kin_open(Y);
    kin_open(F);
    await("R.gone");
    kin_end();
    cr_assert(said("-F") && !said("-X") && !said("-Y"), "%s", world.trace);
}

/* --- a group ------------------------------------------------------------------------------------------------------ */

static const troupe_child grouped[] = {{.behavior = &kin_member, .args = KIN(A)},
                                       {.behavior = &kin_member, .args = KIN(B)},
                                       {.behavior = &with_one, .args = KIN(C), .supervision = &amply},
                                       {0}};
static const troupe_behavior group = FAMILY(TROUPE_ONE_FOR_ALL, grouped);

/* Who does not come down in time is brought down, with its children, and restarts with the others all the same. */
Test(group, member_that_does_not_come_down_in_time_is_forced)
{
    static const unsigned blocked[] = {E, C};
    for (unsigned i = 0; i < 2; i++) {
        begin(&group, "+E");
        block(blocked[i]);
        tell_note(C, 1); /* behind what blocks it: it waits for the next incarnation, or was handled by now */
        tell_panic(B);
        await_late(1);
        if (i == 0)
            cr_assert_not(said("-A"), "%s", world.trace);
        kin_open(blocked[i]);
        await("+E");
        tell_note(C, 2);
        await("C:2");
        kin_end();
        cr_assert_not(strstr(strstr(world.trace, "+B"), "-C -A ~A"), "%s", world.trace);
        cr_assert(said("~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2"), "%s", world.trace);
        cr_assert(said("C:1"), "%s", world.trace);
        cr_assert(strstr(world.trace, "-E -C -B -A -P"), "%s", world.trace);
        cr_assert_eq(dead_total(), 1);
    }
}

/* Those who are killed at once are so in a group too, and restart; temporary ones end. */
static const troupe_child brutal_group[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &at_once},
                                            {.behavior = &kin_member, .args = KIN(B)},
                                            {.behavior = &with_one, .args = KIN(C), .supervision = &at_once},
                                            {.behavior = &kin_member, .args = KIN(D), .supervision = &brief},
                                            {0}};
static const troupe_behavior of_brutal_group = FAMILY(TROUPE_ONE_FOR_ALL, brutal_group);

Test(group, members_that_are_killed_at_once_restart)
{
    begin(&of_brutal_group, "+D");
    tell_spawn(P, &kin_member, &at_once, KIN(X));
    await("+X");
    tell_panic(B);
    await("+X2");
    kin_end();
    ASSERT_TRACE("+P +A +B +C +E +D +X !B ~A:sibling +A2 ~B:panic +B2 ~C:sibling +C2 +E ~X:sibling +X2 -B -P");
    cr_assert_eq(late(), 0, "%s", logged);
}

/* Held in a handler, such a one keeps the group waiting only that long. */
Test(group, member_that_is_killed_at_once_waits_for_nothing_below_it)
{
    begin(&of_brutal_group, "+D");
    kin_plan[E].blocks_stopped = 1; /* would hold C for ever, were it called */
    tell_panic(B);
    await("+C2");
    await("+E");
    kin_end();
}

/* Who came down in time is not killed when that is up. */
static const troupe_child punctual[] = {{.behavior = &kin_member, .args = KIN(A), .supervision = &amply},
                                        {.behavior = &kin_member, .args = KIN(B), .supervision = &amply},
                                        {0}};
static const troupe_behavior of_punctual = FAMILY(TROUPE_ONE_FOR_ALL, punctual);

Test(group, member_that_comes_down_in_time_is_left_alone)
{
    begin(&of_punctual, "+B");
    tell_spawn(P, &kin_member, &amply, KIN(X));
    await("+X");
    for (unsigned n = 2; n < 5; n++) {
        char text[8];
        snprintf(text, sizeof text, "+X%u", n);
        tell_panic(n % 2 ? A : B);
        await(text);
    }
    usleep(AMPLE_MS * 5 / 4 * 1000); /* the time-outs of all of them are over now */
    tell_note(A, 1);
    await("A:1");
    kin_end();
    cr_assert_eq(late(), 0, "%s", logged);
}

/* A member is told to come down; then its parent ends. It is told to stop only when its turn comes, and has its time
 * from then. */
Test(group, member_has_its_time_anew_when_the_parent_ends)
{
    begin(&of_punctual, "+B");
    kin_plan[B].blocks_stopped = 1;
    tell_panic(A);
    await("-B");
    tell_spawn(P, &kin_member, &forever, KIN(X)); /* no member, and it has to be gone before B is told */
    await("+X");
    block(X);
    tell_order(R, STOP, P);
    await_life(P, TR_LIFE_STOPPING);
    kin_open(B);
    await_life(B, TR_LIFE_WAITING);
    usleep(AMPLE_MS * 5 / 4 * 1000);
    cr_assert_eq(late(), 0, "%s", logged);
    kin_open(X);
    await("R.gone(P,stopped)");
    kin_end();
    cr_assert(strstr(world.trace, "X) -X -P R.gone(P,stopped)"), "%s", world.trace);
    cr_assert_eq(kin_stats.kills, 0);
}

/* Late for its group, and then its parent ends: it is late once more, and killed now. */
Test(group, member_that_was_forced_may_be_late_again_when_the_parent_ends)
{
    begin(&group, "+E");
    block(E);
    block(C);
    tell_panic(B);
    await_late(1);
    tell_order(R, STOP, P);
    await_late(2);
    kin_open(C);
    await_kill_of(E);
    kin_open(E);
    await("R.gone(P,stopped)");
    kin_end();
    ASSERT_TRACE("+P +A +B +C +E E( C( !B C) E) -A -P R.gone(P,stopped)");
}

/* --- kills go down ------------------------------------------------------------------------------------------------ */

Test(kill, of_the_parent_takes_nobodys_time)
{
    begin(&calm_parent, "+E");
    tell_spawn(P, &kin_member, &forever, KIN(X));
    await("+X");
    tell_order(R, KILL, P);
    await("R.gone(P,killed)");
    kin_end();
    ASSERT_TRACE("+P +A +E +X R.gone(P,killed)");
    cr_assert_eq(kin_stats.kills, 4);
}

/* And overtakes a stop under way, level by level. */
Test(kill, overtakes_a_stop_that_takes_its_time)
{
    begin(&calm_parent, "+E");
    block(E);
    tell_order(R, STOP, P);
    await_life(E, TR_LIFE_RUNNING);
    await_life(A, TR_LIFE_STOPPING);
    tell_order(R, KILL, P);
    await_kill_of(E);
    kin_open(E);
    await("R.gone(P,killed)");
    kin_end();
    ASSERT_TRACE("+P +A +E E( E) R.gone(P,killed)");
}
