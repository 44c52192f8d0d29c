/* SPDX-License-Identifier: Apache-2.0 */
/* Back-off as an actor lives it: how long it rests, what waits meanwhile, what ends a rest. The formula itself is pure,
 * and tested with the policy. */
#include "script.h"

enum { SUBJECT, OTHER, DIRECTOR };                       /* world.addr */
enum { STARTS, CRASHES, RESTING, TOOK, CPU, TURNS, AT }; /* world.word; from AT on: when the n-th start was */

#define LONG TROUPE_SEC(100)
#define SLACK TROUPE_SEC(3) /* for a machine that has other things to do */

static troupe_supervision supervision;
static uint64_t began_ns;

STARTED(note_the_time)
{
    world.word[AT + bump(STARTS)] = mono_ns();
    say("S%u", troupe_incarnation(ctx));
    return 0;
}

static const troupe_behavior subject = {.name = "subject",
                                        .started = note_the_time,
                                        .restarted = say_restarted,
                                        .crashed = say_crashed,
                                        .stopped = say_stopped,
                                        .handlers = {DOES, NOTES}};

STARTED(start_director)
{
    began_ns = mono_ns();
    world.addr[DIRECTOR] = troupe_self(ctx);
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, &(troupe_spawn_options){.supervision = &supervision});
    go_on(ctx, *(step_fn *const *)args);
    return 0;
}

static const troupe_behavior director = {.name = "director",
                                         .args_size = sizeof(step_fn *),
                                         .started = start_director,
                                         .child_stopped = say_last_child,
                                         .child_escalated = say_escalated,
                                         .stopped = keep_stats,
                                         .handlers = {DOES}};

static void run_director(unsigned workers, step_fn *first)
{
    world_begin(workers);
    cr_assert_eq(run(&director, &first), 0);
}

static void cr_assert_rest(unsigned nr, uint64_t rest_ns)
{
    uint64_t took = word(AT + nr + 1) - word(AT + nr);
    cr_assert_geq(took, rest_ns, "rest %u: %lu us", nr, (unsigned long)took / 1000);
    cr_assert_lt(took, rest_ns + SLACK, "rest %u: %lu us", nr, (unsigned long)took / 1000);
}

/* --- how long ----------------------------------------------------------------------------------------------------- */

STEP(crash_five_times)
{
    for (unsigned i = 0; i < 5; i++)
        go(ctx, world.addr[SUBJECT], panic_step);
    note(ctx, world.addr[SUBJECT], 7);
    go(ctx, world.addr[SUBJECT], end_step);
}

Test(backoff, has_an_actor_rest_as_long_as_the_formula_says_and_its_mailbox_wait)
{
    supervision = (troupe_supervision){
        .restarts = 10,
        .backoff = {.initial_ns = TROUPE_MS(10), .max_ns = TROUPE_MS(50), .factor = 2, .no_jitter = true}};
    run_director(2, crash_five_times);
    static const unsigned rests[] = {10, 20, 40, 50, 50};
    for (unsigned i = 0; i < 5; i++)
        cr_assert_rest(i + 1, TROUPE_MS(rests[i]));
    cr_assert(strstr(world.trace, "S6 n7 E:stopped"), "%s", world.trace);
}

STEP(crash_later)
{
    go_after(ctx, TROUPE_MS(600), panic_step); /* healthy by then */
}

STEP(crash_twice_then_live_then_crash)
{
    go(ctx, world.addr[SUBJECT], panic_step);
    go(ctx, world.addr[SUBJECT], panic_step);
    go(ctx, world.addr[SUBJECT], crash_later);
}

STARTED(end_at_the_fourth)
{
    note_the_time(ctx, self, args);
    if (troupe_incarnation(ctx) == 4)
        troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior subject_of_four = {
    .name = "subject", .started = end_at_the_fourth, .handlers = {DOES, NOTES}};

STARTED(start_four)
{
    world.addr[SUBJECT] =
        troupe_spawn(ctx, &subject_of_four, NULL, &(troupe_spawn_options){.supervision = &supervision});
    crash_twice_then_live_then_crash(ctx);
    return 0;
}

Test(backoff, starts_anew_after_an_incarnation_that_was_healthy)
{
    static const troupe_behavior four = {.name = "four", .started = start_four};
    supervision = (troupe_supervision){.restarts = 10,
                                       .backoff = {.initial_ns = TROUPE_MS(10),
                                                   .max_ns = TROUPE_SEC(10),
                                                   .factor = 20,
                                                   .no_jitter = true,
                                                   .healthy_ns = TROUPE_MS(500)}};
    world_begin(2);
    cr_assert_eq(run(&four, NULL), 0);
    cr_assert_rest(1, TROUPE_MS(10));
    cr_assert_rest(2, TROUPE_MS(200));
    cr_assert_rest(3, TROUPE_MS(600 + 10)); /* its life, and the first rest of a new series: not 4 s more */
}

/* --- jitter ------------------------------------------------------------------------------------------------------- */

enum { CROWD = 400, REST_MS = 2400 }; /* long, so that nothing which holds up all for a moment moves a quarter */

static uint64_t crashed_at[CROWD];
static uint32_t rests_ms[CROWD + 1];

STARTED(start_one_of_the_crowd)
{
    unsigned nr = *(const unsigned *)args;
    if (troupe_incarnation(ctx) == 1) {
        crashed_at[nr] = mono_ns();
        go_on(ctx, panic_step);
        return 0;
    }
    rests_ms[nr] = (uint32_t)((mono_ns() - crashed_at[nr]) / TROUPE_MS(1));
    if (bump(STARTS) == CROWD)
        troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior one_of_the_crowd = {
    .name = "one",
    .args_size = sizeof(unsigned),
    .started = start_one_of_the_crowd,
    .supervision = {.backoff = {.initial_ns = TROUPE_MS(REST_MS), .max_ns = TROUPE_MS(REST_MS)}},
    .handlers = {DOES}};

STARTED(start_crowd)
{
    for (unsigned i = 0; i < CROWD; i++)
        troupe_spawn(ctx, &one_of_the_crowd, &i, NULL);
    return 0;
}

Test(backoff, with_jitter_spreads_the_restarts_over_the_whole_time)
{
    static const troupe_behavior crowd = {.name = "crowd", .started = start_crowd};
    unsigned quarter[4] = {0};
    world_begin(2);
    cr_assert_eq(run(&crowd, NULL), 0);
    for (unsigned i = 0; i < CROWD; i++)
        quarter[rests_ms[i] < REST_MS ? rests_ms[i] * 4 / REST_MS : 3]++;
    for (unsigned i = 0; i < 4; i++) /* 100 are expected; 8 standard deviations are 70 */
        cr_assert(quarter[i] > 30 && quarter[i] < 170, "%u %u %u %u", quarter[0], quarter[1], quarter[2], quarter[3]);
}

/* --- what ends a rest --------------------------------------------------------------------------------------------- */

STEP(stop_subject)
{
    note(ctx, world.addr[SUBJECT], 1);
    cr_assert_eq(troupe_stop(ctx, world.addr[SUBJECT]), 0);
}

STEP(kill_subject)
{
    note(ctx, world.addr[SUBJECT], 1);
    cr_assert_eq(troupe_kill(ctx, world.addr[SUBJECT]), 0);
}

STEP(end_of_parent)
{
    note(ctx, world.addr[SUBJECT], 1);
    end_step(ctx);
}

static step_fn *while_resting;

STEP(crash_and_wait)
{
    go(ctx, world.addr[SUBJECT], panic_step);
    when(ctx, world.addr[SUBJECT], TR_LIFE_RESTING, while_resting);
}

static const troupe_supervision long_rest = {.backoff = {.initial_ns = LONG, .max_ns = LONG, .no_jitter = true}};

Test(rest, ends_at_once_by_a_stop_a_kill_and_the_parents_end)
{
    step_fn *const ends[] = {stop_subject, kill_subject, end_of_parent};
    static const char *const expected[] = {"S1 X:boom child:stopped", "S1 X:boom child:killed", "S1 X:boom"};
    supervision = long_rest;
    for (unsigned i = 0; i < 3; i++) {
        while_resting = ends[i];
        run_director(2, crash_and_wait);
        cr_assert_str_eq(world.trace, expected[i]);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 1);
        cr_assert_lt(mono_ns() - began_ns, TROUPE_SEC(20));
    }
}

static const troupe_behavior stranger = {.name = "stranger", .handlers = {DOES}};

STEP(still_resting)
{
    cr_expect_eq(life_now(ctx, world.addr[SUBJECT]), TR_LIFE_RESTING);
    end_step(ctx);
}

STEP(order_in_vain)
{
    cr_assert_eq(troupe_stop(ctx, world.addr[SUBJECT]), 0);
    note(ctx, world.addr[SUBJECT], 1); /* one more reason to look */
    cr_assert_eq(troupe_kill(ctx, world.addr[SUBJECT]), 0);
    later(ctx, still_resting);
}

STEP(have_a_stranger_order)
{
    go(ctx, troupe_spawn(ctx, &stranger, NULL, NULL), order_in_vain);
}

Test(rest, of_a_permanent_actor_is_not_ended_by_strangers)
{
    supervision = long_rest;
    supervision.restart = TROUPE_RESTART_PERMANENT;
    while_resting = have_a_stranger_order;
    run_director(1, crash_and_wait);
    cr_assert_str_eq(world.trace, "S1 X:boom");
    cr_assert_eq(world.stats.kills, 0);
}

/* --- together with other things ----------------------------------------------------------------------------------- */

STEP(resume_subject)
{
    say("resume");
    troupe_resume(ctx, world.addr[SUBJECT]);
}

STEP(look_at_it_started)
{
    go_after(ctx, TROUPE_MS(20), resume_subject);
}

STEP(suspend_it)
{
    troupe_suspend(ctx, world.addr[SUBJECT]);
    note(ctx, world.addr[SUBJECT], 1);
    go(ctx, world.addr[SUBJECT], end_step);
    when(ctx, world.addr[SUBJECT], TR_LIFE_RUNNING, look_at_it_started);
}

Test(rest, and_suspend_each_take_their_time)
{
    supervision = (troupe_supervision){.backoff = {.initial_ns = TROUPE_MS(100), .no_jitter = true}};
    while_resting = suspend_it;
    run_director(2, crash_and_wait);
    cr_assert_str_eq(world.trace, "S1 X:boom R1:panic S2 resume n1 E:stopped", "%s", world.trace);
    cr_assert_rest(1, TROUPE_MS(100));
}

Test(backoff, does_not_keep_the_window_from_escalating)
{
    supervision = (troupe_supervision){.restarts = 2, .backoff = {.initial_ns = TROUPE_MS(20), .no_jitter = true}};
    run_director(2, crash_five_times);
    cr_assert_str_eq(world.trace, "S1 X:boom R1:panic S2 X:boom R2:panic S3 X:boom esc:panic child:escalated");
    cr_assert_rest(1, TROUPE_MS(20));
    cr_assert_rest(2, TROUPE_MS(40));
}

/* --- in a group --------------------------------------------------------------------------------------------------- */

STARTED(start_member)
{
    unsigned nr = *(const unsigned *)args;
    world.word[AT + 4 * troupe_incarnation(ctx) + nr] = mono_ns();
    say("%u.%u", nr, troupe_incarnation(ctx));
    if (nr == 1 && troupe_incarnation(ctx) == 1)
        go_after(ctx, TROUPE_MS(20), panic_step); /* when all are up */
    if (nr == 2 && troupe_incarnation(ctx) == 2)
        troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior member = {.name = "member",
                                       .args_size = sizeof(unsigned),
                                       .started = start_member,
                                       .supervision = {.backoff = {.initial_ns = TROUPE_MS(60), .no_jitter = true}},
                                       .handlers = {DOES}};

static void member_args(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    (void)ctx, (void)self;
    *(unsigned *)args = number;
}

static const troupe_child members[] = {{.behavior = &member, .make_args = member_args, .count = 3}, {0}};

Test(backoff, of_one_of_a_group_has_those_behind_it_wait_for_it)
{
    static const troupe_behavior group = {.name = "group",
                                          .children = {.strategy = TROUPE_ONE_FOR_ALL, .declared = members}};
    world_begin(2);
    cr_assert_eq(run(&group, NULL), 0);
    cr_assert_str_eq(world.trace, "0.1 1.1 2.1 0.2 1.2 2.2");
    const uint64_t *first = &world.word[AT + 4], *second = &world.word[AT + 8];
    cr_assert_geq(second[1] - first[1], TROUPE_MS(20 + 60));
    cr_assert_geq(second[1] - second[0], TROUPE_MS(50)); /* the one before it did not wait, the rest began then */
    cr_assert_geq(second[2], second[1]);
}

/* --- many --------------------------------------------------------------------------------------------------------- */

enum { MANY = SANITIZED ? 1000 : 10000 };

STARTED(fail_to_start)
{
    return -EIO;
}

static const troupe_behavior tired = {
    .name = "tired",
    .started = fail_to_start,
    .supervision = {.backoff = {.initial_ns = LONG, .max_ns = LONG, .no_jitter = true}}};

STEP(look_after_the_rest)
{
    troupe_stats stats = stats_now(ctx);
    world.word[CPU] = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - world.word[CPU];
    world.word[TURNS] = stats.activations - world.word[TURNS];
    world.word[TOOK] = mono_ns();
    end_step(ctx);
}

/* Nor may anybody be busy with the last crashes any more. */
STEP(look_at_the_sleepers)
{
    uint64_t before = world.word[CPU];
    world.word[CPU] = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (stats_now(ctx).crashes < MANY || world.word[CPU] - before > TROUPE_MS(2)) {
        go_after(ctx, TROUPE_MS(20), look_at_the_sleepers);
        return;
    }
    world.word[TURNS] = stats_now(ctx).activations;
    go_after(ctx, TROUPE_MS(500), look_after_the_rest);
}

STARTED(start_many)
{
    for (unsigned i = 0; i < MANY; i++)
        cr_assert(!troupe_addr_is_nobody(troupe_spawn(ctx, &tired, NULL, NULL)));
    go_after(ctx, TROUPE_MS(1), look_at_the_sleepers);
    return 0;
}

Test(rest, of_ten_thousand_costs_nothing_and_ends_with_the_runtime)
{
    static const troupe_behavior many = {
        .name = "many", .started = start_many, .stopped = keep_stats, .handlers = {DOES}};
    world_begin(2);
    cr_assert_eq(run(&many, NULL), 0);
    cr_assert_leq(word(TURNS), 10, "%lu activations", (unsigned long)word(TURNS));
    cr_assert_lt(word(CPU), TROUPE_MS(SANITIZED ? 100 : 25), "%lu us of CPU time", (unsigned long)word(CPU) / 1000);
    cr_assert_eq(world.stats.stops, MANY);
    cr_assert_eq(world.stats.restarts, 0);
    cr_assert_lt(mono_ns() - word(TOOK), TROUPE_SEC(10));
}
