/* SPDX-License-Identifier: Apache-2.0 */
/* Delayed messages: what of timers is particular to a block that is timer and message, and to homes and owners that are
 * different workers. test_timer.c has what every timer does. */
#include "world.h"

#include "tests/support/sanitizer.h"

enum { TICK, MOVE, END, PANIC, TELL };

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void busy(unsigned rounds)
{
    for (volatile unsigned i = 0; i < rounds; i++)
        ;
}

STOPPED(count_timers)
{
    world.stats = stats_now(ctx);
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

static const unsigned sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 64, 1000, 5000, 100000};
#define SIZES (sizeof sizes / sizeof sizes[0])
static unsigned char bytes[100000];

HANDLER(check_bytes)
{
    unsigned n = (unsigned)bump(0);
    if (n > SIZES || troupe_size(msg) != sizes[n - 1])
        say("size %zu", troupe_size(msg));
    else if (memcmp(troupe_payload(msg), bytes, troupe_size(msg)) != 0)
        say("bytes of %zu", troupe_size(msg));
    if ((uintptr_t)troupe_payload(msg) % 16 != 0)
        say("alignment");
    if (!troupe_addr_same(troupe_sender(msg), troupe_self(ctx)) || troupe_is_ask(msg))
        say("envelope");
    if (n % 2)
        troupe_keep(ctx, msg); /* freed with the incarnation */
    if (n == SIZES)
        troupe_stop_runtime(ctx, 0);
}

STARTED(arm_sizes)
{
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    for (unsigned i = 0; i < SIZES; i++)
        troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), TICK, bytes, sizes[i], NULL);
    troupe_timer gone;
    for (unsigned i = 0; i < SIZES; i++) {
        troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), TICK, bytes, sizes[i], &gone);
        if (!troupe_timer_cancel(ctx, gone))
            say("cancel");
    }
    if (troupe_send_after(ctx, 1, troupe_self(ctx), TICK, bytes, TROUPE_PAYLOAD_MAX + 1, NULL) != -EMSGSIZE)
        say("too large");
    return 0;
}

static const troupe_behavior courier = {.name = "courier",
                                        .started = arm_sizes,
                                        .stopped = count_timers,
                                        .handlers = {[TICK] = ON(check_bytes, TROUPE_ANY_SIZE)}};

Test(delay, brings_payloads_of_all_sizes_in_the_order_armed)
{
    world_begin(1);
    cr_assert_eq(run(&courier, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(0), SIZES);
    cr_assert_eq(world.stats.timers_armed, 0);
}

/* --- equal delays ------------------------------------------------------------------------------------------------- */

enum { CROWD = 20000 };

HANDLER(in_order)
{
    uint64_t n = *(const uint64_t *)troupe_payload(msg);
    if (n != bump(0))
        say("%u", (unsigned)n);
    if (n == CROWD)
        troupe_stop_runtime(ctx, 0);
}

STARTED(arm_a_crowd)
{
    for (uint64_t i = 1; i <= CROWD; i++) {
        troupe_timer other;
        troupe_send_after(ctx, TROUPE_MS(40), troupe_self(ctx), TICK, &i, sizeof i, NULL);
        troupe_send_after(ctx, TROUPE_MS(40), troupe_self(ctx), END, NULL, 0, &other);
        troupe_timer_cancel(ctx, other);
    }
    return 0;
}

static const troupe_behavior crowd = {
    .name = "crowd", .started = arm_a_crowd, .handlers = {[TICK] = ON(in_order, sizeof(uint64_t))}};

Test(delay, equal_delays_fire_in_the_order_armed)
{
    world_begin(1);
    cr_assert_eq(run(&crowd, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(0), CROWD);
}

/* --- never early -------------------------------------------------------------------------------------------------- */

HANDLER(punctual)
{
    uint64_t due = *(const uint64_t *)troupe_payload(msg);
    if (clock_ns() < due)
        say("early");
    if (bump(0) == 2000)
        troupe_stop_runtime(ctx, 0);
}

HANDLER(arm_more)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t delay = i * TROUPE_US(37), due = clock_ns() + delay;
        troupe_send_after(ctx, delay, troupe_self(ctx), TICK, &due, sizeof due, NULL);
        busy(50);
    }
    if (bump(1) < 100)
        troupe_tell(ctx, troupe_self(ctx), MOVE, NULL, 0);
}

STARTED(begin_arming)
{
    return troupe_tell(ctx, troupe_self(ctx), MOVE, NULL, 0);
}

static const troupe_behavior punctuals = {
    .name = "punctual",
    .started = begin_arming,
    .handlers = {[TICK] = ON(punctual, sizeof(uint64_t)), [MOVE] = ON(arm_more, 0)}};

Test(delay, is_never_early_although_many_share_a_look_at_the_clock)
{
    world_begin(2);
    cr_assert_eq(run(&punctuals, NULL), 0);
    cr_assert_str_eq(world.trace, "");
}

/* --- many of one actor --------------------------------------------------------------------------------------------- */

/* Their account has pages: filled, thinned out, filled again, emptied, and one of everything left over by a crash. */
enum { MANY = 1000 };

struct many {
    troupe_timer timers[MANY];
    unsigned char came[MANY];
};

static bool is_kept(unsigned i)
{
    return i % 3 == 0 || (i >= 300 && i < 420);
}

HANDLER(count_one)
{
    struct many *many = self;
    uint64_t i = *(const uint64_t *)troupe_payload(msg);
    if (i >= MANY || !is_kept((unsigned)i) || many->came[i]++)
        say("%u", (unsigned)i);
    bump(0);
}

static void arm_many(troupe_ctx *ctx, struct many *many, uint64_t delay_ns)
{
    for (uint64_t i = 0; i < MANY; i++)
        if (!many->timers[i].ref)
            troupe_send_after(ctx, delay_ns, troupe_self(ctx), TICK, &i, sizeof i, &many->timers[i]);
}

/* In an order of its own; 7 and MANY have no common factor. */
static void cancel_many(troupe_ctx *ctx, struct many *many, bool all)
{
    for (unsigned k = 0; k < MANY; k++) {
        unsigned i = k * 7 % MANY;
        if (!all && is_kept(i))
            continue;
        if (!troupe_timer_cancel(ctx, many->timers[i]))
            say("cancel %u", i);
        many->timers[i] = (troupe_timer){0};
    }
}

HANDLER(crash_with_many)
{
    arm_many(ctx, self, TROUPE_SEC(50));
    troupe_panic(ctx, "with timers on many pages");
}

HANDLER(look_what_is_left)
{
    world.stats = stats_now(ctx);
    troupe_stop_runtime(ctx, 0);
}

STARTED(arm_and_cancel_many)
{
    struct many *many = self;
    if (troupe_incarnation(ctx) > 1)
        return troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), END, NULL, 0, NULL);
    arm_many(ctx, many, TROUPE_SEC(100));
    cancel_many(ctx, many, true);
    arm_many(ctx, many, TROUPE_SEC(100));
    cancel_many(ctx, many, false);
    arm_many(ctx, many, TROUPE_SEC(100));
    cancel_many(ctx, many, true);
    arm_many(ctx, many, TROUPE_MS(10));
    cancel_many(ctx, many, false);
    return troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), PANIC, NULL, 0, NULL);
}

static const troupe_behavior holder = {
    .name = "holder",
    .state_size = sizeof(struct many),
    .started = arm_and_cancel_many,
    .handlers = {
        [TICK] = ON(count_one, sizeof(uint64_t)), [PANIC] = ON(crash_with_many, 0), [END] = ON(look_what_is_left, 0)}};

Test(delay, of_many_those_come_that_are_not_cancelled_and_none_outlives_a_crash)
{
    unsigned expected = 0;
    for (unsigned i = 0; i < MANY; i++)
        expected += is_kept(i);
    world_begin(1);
    cr_assert_eq(run(&holder, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(0), expected);
    cr_assert_eq(world.stats.timers_armed, 0);
}

/* --- homes and owners --------------------------------------------------------------------------------------------- */

/* Actors that are stolen all the time arm, cancel, crash and end; a message of an incarnation that ended long before
 * would be counted as lost. */
enum { NOMADS = 60, MOVES = 300, HELD = 6 };

struct nomad {
    unsigned moves, next;
    troupe_timer timers[HELD], metronome;
};

static void arm_one(troupe_ctx *ctx, struct nomad *n)
{
    static const unsigned char large[200];
    unsigned i = n->next++ % HELD;
    if (n->timers[i].ref) {
        if (troupe_timer_cancel(ctx, n->timers[i]))
            bump(0);
        else
            bump(1);
        if (troupe_timer_cancel(ctx, n->timers[i]))
            say("cancelled twice");
    }
    uint64_t delay = n->next % 3 == 0 ? TROUPE_SEC(100) : TROUPE_US(100) * (n->next % 7);
    if (troupe_send_after(ctx, delay, troupe_self(ctx), TICK, large, n->next % 2 ? 8 : sizeof large, &n->timers[i]))
        say("arm");
    bump(2);
}

HANDLER(roam)
{
    struct nomad *n = self;
    arm_one(ctx, n);
    busy(1500);
    n->moves++;
    if (n->moves == MOVES && bump(4) == NOMADS)
        troupe_stop_runtime(ctx, 0);
    if (n->moves % 5 == 0 && n->metronome.ref) {
        troupe_timer_cancel(ctx, n->metronome);
        n->metronome = (troupe_timer){0};
    } else if (n->moves % 5 == 1) {
        troupe_send_every(ctx, TROUPE_US(200), troupe_self(ctx), END, NULL, 0, &n->metronome);
    }
    if (n->moves < MOVES)
        troupe_tell(ctx, troupe_self(ctx), MOVE, NULL, 0);
    if (n->moves == MOVES / 2 && troupe_incarnation(ctx) == 1)
        troupe_panic(ctx, "with timers on several workers");
}

HANDLER(arrived)
{
    bump(3);
}

HANDLER(beat)
{
    bump(5);
}

static const troupe_behavior roamer = {
    .name = "roamer",
    .state_size = sizeof(struct nomad),
    .started = begin_arming,
    .handlers = {[MOVE] = ON(roam, 0), [TICK] = ON(arrived, TROUPE_ANY_SIZE), [END] = ON(beat, 0)}};

STARTED(spawn_roamers)
{
    for (unsigned i = 0; i < NOMADS; i++)
        troupe_spawn(ctx, &roamer, NULL, NULL);
    return 0;
}

static const troupe_behavior horde = {.name = "horde", .started = spawn_roamers};

Test(delay, survives_theft_cancel_and_crash_on_any_worker)
{
    for (unsigned round = 0; round < (UNDER_TSAN ? 2 : 5); round++) {
        world_begin(4);
        cr_assert_eq(run(&horde, NULL), 0);
        cr_assert_str_eq(world.trace, "");
        cr_assert_gt(word(0), NOMADS);
        cr_assert_gt(word(5), 0);
        cr_assert_leq(word(0) + word(3), word(2), "each is cancelled or arrives, at most");
    }
}

/* --- gone with the incarnation ------------------------------------------------------------------------------------ */

/* The child is busy on another worker and stops late; meanwhile the crashed parent's timers become due, and its worker
 * has nothing else to do. */
HANDLER(be_busy)
{
    uint64_t until = clock_ns() + TROUPE_MS(40);
    bump(1);
    while (clock_ns() < until)
        ;
}

static const troupe_behavior slow_child = {.name = "slow", .handlers = {[MOVE] = ON(be_busy, 0)}};

HANDLER(panic_now)
{
    while (!word(1))
        ;
    troupe_send_after(ctx, TROUPE_MS(10), troupe_self(ctx), TICK, NULL, 0, NULL);
    troupe_send_every(ctx, TROUPE_MS(3), troupe_self(ctx), TICK, NULL, 0, NULL);
    troupe_panic(ctx, "with a slow child");
}

HANDLER(never)
{
    say("never");
}

HANDLER(end_runtime)
{
    troupe_stop_runtime(ctx, 0);
}

STARTED(spawn_and_panic)
{
    if (troupe_incarnation(ctx) > 1)
        return troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), END, NULL, 0, NULL);
    troupe_tell(ctx, troupe_spawn(ctx, &slow_child, NULL, NULL), MOVE, NULL, 0);
    return troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
}

static const troupe_behavior parent = {
    .name = "parent",
    .started = spawn_and_panic,
    .stopped = count_timers,
    .handlers = {[TICK] = ON(never, 0), [PANIC] = ON(panic_now, 0), [END] = ON(end_runtime, 0)}};

Test(delay, of_a_crashed_actor_is_not_sent_while_its_children_stop)
{
    world_begin(2);
    cr_assert_eq(run(&parent, NULL), 0);
    cr_assert_str_eq(world.trace, "");
}

/* --- to others ---------------------------------------------------------------------------------------------------- */

HANDLER(told)
{
    if (!troupe_addr_same(troupe_sender(msg), world.addr[0]))
        say("sender");
    say("told");
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior listener = {.name = "listener", .handlers = {[TELL] = ON(told, 3)}};
static const troupe_behavior nobody = {.name = "nobody", .started = NULL};

STARTED(tell_others)
{
    world.addr[0] = troupe_self(ctx);
    troupe_addr gone = troupe_spawn(ctx, &nobody, NULL, NULL);
    troupe_kill(ctx, gone);
    troupe_send_after(ctx, TROUPE_MS(10), gone, TELL, "abc", 3, NULL);
    return troupe_send_after(ctx, TROUPE_MS(20), troupe_spawn(ctx, &listener, NULL, NULL), TELL, "abc", 3, NULL);
}

static const troupe_behavior teller = {.name = "teller", .started = tell_others};

Test(delay, to_another_actor_comes_from_its_maker_and_to_none_is_a_dead_letter)
{
    world_begin(1);
    cr_assert_eq(run(&teller, NULL), 0);
    cr_assert_str_eq(world.trace, "told");
    cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 1u);
}
