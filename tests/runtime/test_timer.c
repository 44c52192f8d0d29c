/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of actors. */
#include "world.h"

enum { TICK, MOVE, END, PANIC, AGAIN };

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

HANDLER(end_runtime)
{
    troupe_stop_runtime(ctx, 0);
}

/* --- after and every ---------------------------------------------------------------------------------------------- */

/* So far apart that what holds up the arming of one does not bring it behind another. */
#define STEP_NS TROUPE_MS(100)

HANDLER(note_tick)
{
    unsigned n = *(const unsigned *)troupe_payload(msg);
    if (clock_ns() < world.word[30] + n * STEP_NS)
        say("early");
    if (!troupe_addr_same(troupe_sender(msg), troupe_self(ctx)))
        say("sender");
    say("%u", n);
    if (n == 4)
        troupe_stop_runtime(ctx, 0);
}

STARTED(arm_out_of_order)
{
    static const unsigned order[] = {3, 1, 4, 2};
    world.word[30] = clock_ns();
    for (unsigned i = 0; i < 4; i++)
        troupe_send_after(ctx, order[i] * STEP_NS, troupe_self(ctx), TICK, &order[i], sizeof order[i], NULL);
    unsigned never = 9;
    troupe_send_after(ctx, TROUPE_FOREVER, troupe_self(ctx), TICK, &never, sizeof never, NULL);
    if (troupe_send_every(ctx, 0, troupe_self(ctx), TICK, NULL, 0, NULL) != -EINVAL)
        say("period 0");
    return 0;
}

static const troupe_behavior alarm_clock = {
    .name = "clock", .started = arm_out_of_order, .handlers = {[TICK] = ON(note_tick, sizeof(unsigned))}};

Test(timer, fires_in_the_order_of_time_and_never_early)
{
    world_begin(2);
    cr_assert_eq(run(&alarm_clock, NULL), 0);
    cr_assert_str_eq(world.trace, "1 2 3 4");
}

struct periodic {
    troupe_timer timer;
    unsigned ticks;
};

HANDLER(count_tick)
{
    struct periodic *p = self;
    static const char expected[] = "a payload that is copied each time";
    if (troupe_size(msg) != sizeof expected || memcmp(troupe_payload(msg), expected, sizeof expected) != 0)
        say("payload");
    if (++p->ticks < 5)
        return;
    if (p->ticks > 5)
        say("after cancel");
    if (!troupe_timer_cancel(ctx, p->timer) || troupe_timer_cancel(ctx, p->timer))
        say("cancel");
    troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), END, NULL, 0, NULL);
}

STARTED(arm_periodic)
{
    static const char payload[] = "a payload that is copied each time";
    struct periodic *p = self;
    return troupe_send_every(ctx, TROUPE_MS(3), troupe_self(ctx), TICK, payload, sizeof payload, &p->timer);
}

STOPPED(timers_are_gone)
{
    world.stats = stats_now(ctx);
}

static const troupe_behavior periodic = {
    .name = "periodic",
    .state_size = sizeof(struct periodic),
    .started = arm_periodic,
    .stopped = timers_are_gone,
    .handlers = {[TICK] = ON(count_tick, TROUPE_ANY_SIZE), [END] = ON(end_runtime, 0)}};

Test(timer, every_repeats_until_it_is_cancelled)
{
    world_begin(1);
    cr_assert_eq(run(&periodic, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.stats.timers_armed, 0);
}

/* --- handles ------------------------------------------------------------------------------------------------------ */

HANDLER(fired)
{
    troupe_timer *timer = self;
    say("fired");
    if (troupe_timer_cancel(ctx, *timer))
        say("cancelled a fired one");
    if (troupe_timer_cancel(ctx, (troupe_timer){0}))
        say("cancelled none");
    troupe_stop_runtime(ctx, 0);
}

HANDLER(never)
{
    say("never");
}

STARTED(arm_and_cancel)
{
    troupe_timer gone, *timer = self;
    troupe_send_after(ctx, TROUPE_MS(1), troupe_self(ctx), END, NULL, 0, &gone);
    if (!troupe_timer_cancel(ctx, gone) || troupe_timer_cancel(ctx, gone))
        say("cancel");
    troupe_send_after(ctx, TROUPE_MS(10), troupe_self(ctx), TICK, NULL, 0, timer); /* perhaps the same record */
    if (troupe_timer_cancel(ctx, gone))
        say("a stale handle cancelled the next timer");
    return 0;
}

static const troupe_behavior canceller = {.name = "canceller",
                                          .state_size = sizeof(troupe_timer),
                                          .started = arm_and_cancel,
                                          .handlers = {[TICK] = ON(fired, 0), [END] = ON(never, 0)}};

Test(timer, a_stale_handle_is_harmless)
{
    world_begin(1);
    cr_assert_eq(run(&canceller, NULL), 0);
    cr_assert_str_eq(world.trace, "fired");
}

/* --- from other workers ------------------------------------------------------------------------------------------- */

enum { NOMADS = 40, MOVES = 200 };

struct nomad {
    troupe_timer timer;
    unsigned moves, early;
};

HANDLER(move_on)
{
    struct nomad *n = self;
    /* The actor was stolen now and then, so its timer often is in another worker's wheel. */
    if (n->moves % 4 == 3) {
        if (troupe_timer_cancel(ctx, n->timer))
            bump(0);
        else
            bump(1);
        troupe_send_after(ctx, n->moves % 8 == 3 ? TROUPE_SEC(100) : TROUPE_US(500), troupe_self(ctx), TICK, NULL, 0,
                          &n->timer);
    }
    if (++n->moves < MOVES)
        troupe_tell(ctx, troupe_self(ctx), MOVE, NULL, 0);
    else if (bump(2) == NOMADS)
        troupe_stop_runtime(ctx, 0);
    for (volatile unsigned i = 0; i < 2000; i++)
        ;
}

HANDLER(nomad_tick)
{
    bump(3);
}

STARTED(nomad_started)
{
    struct nomad *n = self;
    troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, &n->timer);
    troupe_tell(ctx, troupe_self(ctx), MOVE, NULL, 0);
    return 0;
}

static const troupe_behavior nomad = {.name = "nomad",
                                      .state_size = sizeof(struct nomad),
                                      .started = nomad_started,
                                      .handlers = {[MOVE] = ON(move_on, 0), [TICK] = ON(nomad_tick, 0)}};

STARTED(spawn_nomads)
{
    for (unsigned i = 0; i < NOMADS; i++)
        troupe_spawn(ctx, &nomad, NULL, NULL);
    return 0;
}

static const troupe_behavior tribe = {.name = "tribe", .started = spawn_nomads, .stopped = timers_are_gone};

Test(timer, a_migrated_actor_cancels_its_timers_on_other_workers)
{
    world_begin(4);
    cr_assert_eq(run(&tribe, NULL), 0);
    cr_assert_eq(word(0) + word(1), NOMADS * MOVES / 4);
    cr_assert_gt(word(0), NOMADS);
    cr_assert_leq(word(3), word(1) + NOMADS, "each that could not be cancelled has fired; the last ones may");
}

/* --- gone with the incarnation ------------------------------------------------------------------------------------ */

HANDLER(panic_now)
{
    troupe_panic(ctx, "with timers");
}

STARTED(arm_and_panic)
{
    if (troupe_incarnation(ctx) == 1) {
        troupe_send_after(ctx, TROUPE_MS(200), troupe_self(ctx), TICK, NULL, 0, NULL);
        troupe_send_every(ctx, TROUPE_MS(150), troupe_self(ctx), TICK, NULL, 0, NULL);
        troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
    } else {
        troupe_send_after(ctx, TROUPE_MS(350), troupe_self(ctx), END, NULL, 0, NULL);
    }
    return 0;
}

static const troupe_behavior mortal = {
    .name = "mortal",
    .started = arm_and_panic,
    .stopped = timers_are_gone,
    .handlers = {[TICK] = ON(never, 0), [PANIC] = ON(panic_now, 0), [END] = ON(end_runtime, 0)}};

Test(timer, is_gone_with_the_incarnation_that_made_it)
{
    world_begin(1);
    cr_assert_eq(run(&mortal, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.stats.timers_armed, 0);
}
