/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "io/wheel.h"

#define TICK TR_WHEEL_TICK_NS
#define TIMERS 300

static uint64_t state;

static uint64_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* A timer and what a naive list knows of it. */
struct probe {
    struct tr_timer timer;
    uint64_t fired_at;
    int fired;
    bool expected;
};

static uint64_t now;
static unsigned order;
static unsigned orders[TIMERS];
static struct probe probes[TIMERS];
static struct tr_wheel wheel;

static void note(struct tr_timer *timer)
{
    struct probe *probe = TR_CONTAINER_OF(timer, struct probe, timer);
    cr_assert(!timer->armed);
    probe->fired++;
    probe->fired_at = now;
    orders[order++ % TIMERS] = (unsigned)(probe - probes);
}

static void start(uint64_t at)
{
    now = at;
    order = 0;
    tr_wheel_fini(&wheel); /* of what was started before */
    cr_assert_eq(tr_wheel_init(&wheel, now), 0);
    for (unsigned i = 0; i < TIMERS; i++)
        probes[i] = (struct probe){.timer.fire = note};
}

static void arm(unsigned i, uint64_t due)
{
    tr_wheel_arm(&wheel, &probes[i].timer, due);
    probes[i].expected = true;
    probes[i].fired = 0;
}

Test(wheel, is_empty_and_never_due_at_first)
{
    start(12345);
    cr_assert_eq(tr_wheel_count(&wheel), 0u);
    cr_assert_eq(tr_wheel_next(&wheel), UINT64_MAX);
    cr_assert_eq(tr_wheel_advance(&wheel, UINT64_MAX / 2, 10), 0u);
    tr_wheel_check(&wheel);
}

Test(wheel, never_fires_early_and_at_most_one_tick_late)
{
    start(1000 * TICK + 77);
    uint64_t due = now + 5 * TICK + 3;
    arm(0, due);
    now = due - 1;
    cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 0u);
    cr_assert_geq(tr_wheel_next(&wheel), due);
    cr_assert_lt(tr_wheel_next(&wheel), due + TICK);
    now = tr_wheel_next(&wheel);
    cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 1u);
    cr_assert_eq(probes[0].fired, 1);
}

Test(wheel, a_due_time_in_the_past_fires_at_the_next_advance)
{
    start(1000 * TICK + 500);
    arm(0, 3);
    arm(1, 1000 * TICK);
    cr_assert_eq(tr_wheel_next(&wheel), 0u);
    cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 2u);
}

static void arm_again_in_the_past(struct tr_timer *timer)
{
    struct probe *probe = TR_CONTAINER_OF(timer, struct probe, timer);
    probe->fired++;
    tr_wheel_arm(&wheel, timer, 0);
}

Test(wheel, a_timer_that_arms_itself_in_the_past_fires_once_per_advance)
{
    start(50 * TICK);
    probes[0].timer.fire = arm_again_in_the_past;
    arm(0, 0);
    cr_assert_eq(tr_wheel_advance(&wheel, now, 1000), 1u);
    cr_assert_eq(tr_wheel_advance(&wheel, now, 1000), 1u);
    cr_assert_eq(probes[0].fired, 2);
    tr_wheel_disarm(&wheel, &probes[0].timer);
    cr_assert_eq(tr_wheel_next(&wheel), UINT64_MAX);
}

Test(wheel, what_exceeds_the_budget_fires_in_the_next_call_in_order)
{
    start(50 * TICK);
    for (unsigned i = 0; i < 100; i++)
        arm(i, now + (100 - i) * TICK);
    now += 1000 * TICK;
    cr_assert_eq(tr_wheel_advance(&wheel, now, 30), 30u);
    cr_assert_eq(tr_wheel_next(&wheel), 0u);
    tr_wheel_check(&wheel);
    cr_assert_eq(tr_wheel_advance(&wheel, now, 100), 70u);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(orders[i], 99 - i);
}

static void disarm_the_next(struct tr_timer *timer)
{
    struct probe *probe = TR_CONTAINER_OF(timer, struct probe, timer);
    probe->fired++;
    tr_wheel_disarm(&wheel, &probe[1].timer);
}

Test(wheel, a_callback_may_disarm_a_timer_that_is_due_in_the_same_advance)
{
    start(0);
    probes[0].timer.fire = disarm_the_next;
    arm(0, TICK);
    arm(1, TICK);
    cr_assert_eq(tr_wheel_advance(&wheel, 2 * TICK, 10), 1u);
    cr_assert_eq(probes[1].fired, 0);
    cr_assert_eq(tr_wheel_count(&wheel), 0u);
    tr_wheel_disarm(&wheel, &probes[1].timer); /* harmless */
    tr_wheel_check(&wheel);
}

Test(wheel, times_at_the_ends_of_64_bits_have_a_slot)
{
    start(UINT64_MAX - 3 * TICK);
    arm(0, UINT64_MAX);
    arm(1, UINT64_MAX - 2 * TICK);
    tr_wheel_check(&wheel);
    cr_assert_eq(tr_wheel_advance(&wheel, UINT64_MAX - TICK, 10), 1u);
    cr_assert_eq(probes[1].fired, 1);
    start(0);
    arm(0, UINT64_MAX);
    cr_assert_eq(tr_wheel_advance(&wheel, UINT64_MAX / 2, 10), 0u);
    tr_wheel_check(&wheel);
}

/* The far end of what random timers may be due at: from nanoseconds to a year. */
static uint64_t random_delay(void)
{
    return random_bits() >> (8 + random_bits() % 56);
}

/* The naive model: everything due by `now` must have fired, nothing else may have. */
static void compare(uint64_t previous)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        struct probe *probe = &probes[i];
        if (!probe->expected) {
            cr_assert_eq(probe->fired, 0);
            continue;
        }
        uint64_t due = probe->timer.due_ns;
        uint64_t tick_end = (due / TICK + (due % TICK != 0)) * TICK;
        if (probe->fired) {
            cr_assert_eq(probe->fired, 1);
            cr_assert_geq(probe->fired_at, due, "fired early");
            cr_assert(previous < tick_end || probe->fired_at == now, "fired late");
            probe->expected = false;
            probe->fired = 0;
        } else {
            cr_assert_gt(tick_end, now, "timer %u due %llu did not fire by %llu", i, (unsigned long long)due,
                         (unsigned long long)now);
            cr_assert_leq(tr_wheel_next(&wheel), tick_end, "the wheel would oversleep");
        }
    }
}

static void random_step(void)
{
    unsigned i = (unsigned)(random_bits() % TIMERS);
    if (!probes[i].expected) {
        arm(i, now + random_delay());
    } else if (random_bits() % 2) {
        tr_wheel_disarm(&wheel, &probes[i].timer);
        probes[i].expected = false;
    }
}

Test(wheel, agrees_with_a_naive_list_under_random_operations)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        state = seed * UINT64_C(0x9e3779b97f4a7c15);
        start(random_bits() >> 8);
        for (unsigned round = 0; round < 400; round++) {
            for (unsigned k = 0; k < 8; k++)
                random_step();
            uint64_t previous = now;
            now = random_bits() % 3 && tr_wheel_next(&wheel) < UINT64_MAX && tr_wheel_next(&wheel) > now
                      ? tr_wheel_next(&wheel)
                      : now + random_delay() % (UINT64_C(1) << 40);
            tr_wheel_advance(&wheel, now, UINT32_MAX);
            compare(previous);
            tr_wheel_check(&wheel);
        }
    }
}

Test(wheel, fires_in_the_order_of_ticks)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        state = seed;
        start(seed * 1000 * TICK);
        for (unsigned i = 0; i < TIMERS; i++)
            arm(i, now + random_bits() % (100000 * TICK));
        now += 100001 * TICK;
        cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), TIMERS);
        for (unsigned i = 1; i < TIMERS; i++)
            cr_assert_leq(probes[orders[i - 1]].timer.due_ns / TICK, probes[orders[i]].timer.due_ns / TICK + 1);
    }
}

/* Armed at different times for the same tick, so that they start at different levels, and more than one piece. */
Test(wheel, fires_those_of_one_tick_in_the_order_armed)
{
    const uint64_t due = 40000 * TICK; /* armed from beyond the reach of the lowest level on */
    unsigned armed = 0;
    start(3 * TICK);
    for (; armed < 270; armed++)
        arm(armed, due);
    while (now < due - 2 * TICK) {
        now += 901 * TICK < due - TICK - now ? 901 * TICK : TICK;
        cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), 0u);
        if (armed < TIMERS)
            arm(armed++, due);
        if (now < due - 130 * TICK)
            tr_wheel_disarm(&wheel, &probes[armed / 2].timer); /* one by one, a scout among them */
        tr_wheel_check(&wheel);
    }
    unsigned left = (unsigned)tr_wheel_count(&wheel);
    cr_assert_lt(left, armed);
    now = due;
    cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), left);
    for (unsigned i = 1; i < left; i++)
        cr_assert_lt(orders[i - 1], orders[i]);
}

Test(wheel, fires_in_order_what_is_armed_while_its_slot_is_being_emptied)
{
    enum { CROWD = 290 };
    const uint64_t slot = TICK << TR_WHEEL_NEAR_STEP,
                   due = 8 * slot + 300 * TICK; /* of the second level: it is opened */
    start(0);
    for (unsigned i = 0; i < CROWD; i++)
        arm(i, due);
    cr_assert_eq(tr_wheel_next(&wheel), slot);
    now = slot; /* seven slots ahead */
    cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), 0u);
    cr_assert(wheel.emptying);
    arm(CROWD, due);
    tr_wheel_check(&wheel);
    cr_assert_leq(tr_wheel_next(&wheel), now, "the rest may be moved at once");
    cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), 0u);
    cr_assert(!wheel.emptying);
    arm(CROWD + 1, due);
    cr_assert_eq(tr_wheel_next(&wheel), due);
    tr_wheel_check(&wheel);
    now = due;
    cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), CROWD + 2u);
    for (unsigned i = 0; i < CROWD + 2; i++)
        cr_assert_eq(orders[i], i);
}

static struct tr_timer crowd[100000];

static void nothing(struct tr_timer *timer)
{
    (void)timer;
}

/* How many one call may move is what bounds the lateness of others: seen by how far `next` lets it sleep. */
Test(wheel, empties_a_crowded_slot_ahead_of_its_time_piece_by_piece)
{
    enum { CROWD = sizeof crowd / sizeof crowd[0] };
    const uint64_t due = 100000 * TICK;
    unsigned calls = 0;
    start(0);
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i].fire = nothing;
        tr_wheel_arm(&wheel, &crowd[i], due);
    }
    while (tr_wheel_next(&wheel) < due) {
        uint64_t next = tr_wheel_next(&wheel);
        now = next > now ? next : now;
        cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), 0u);
        cr_assert_lt(++calls, 10u * CROWD / 256);
    }
    cr_assert_lt(now, due - 64 * TICK, "all of them lie in the lowest level by now");
    cr_assert_gt(calls, CROWD / 256);
    tr_wheel_check(&wheel);
    now = due;
    cr_assert_eq(tr_wheel_advance(&wheel, now, CROWD), (unsigned)CROWD);
}

/* A loop that looks too late finds all of them, in order, however many levels lie between. */
Test(wheel, catches_up_after_a_long_sleep)
{
    start(777 * TICK);
    for (unsigned i = 0; i < TIMERS; i++)
        arm(i, now + (uint64_t)(i + 1) * (i + 1) * (i + 1) * TICK);
    now += (uint64_t)TIMERS * TIMERS * TIMERS * TICK;
    cr_assert_eq(tr_wheel_advance(&wheel, now, TIMERS), TIMERS);
    for (unsigned i = 0; i < TIMERS; i++)
        cr_assert_eq(orders[i], i);
    arm(0, now + 5 * TICK);
    tr_wheel_check(&wheel);
    cr_assert_eq(tr_wheel_next(&wheel), now + 5 * TICK);
}

static void arm_the_next(struct tr_timer *timer)
{
    struct probe *probe = TR_CONTAINER_OF(timer, struct probe, timer);
    probe->fired++;
    tr_wheel_arm(&wheel, &probe[1].timer, now + 10 * TICK);
}

Test(wheel, a_callback_after_a_long_sleep_arms_for_soon)
{
    start(0);
    probes[0].timer.fire = arm_the_next;
    arm(0, 3 * TICK);
    arm(2, 100000 * TICK);
    now = 5000 * TICK;
    cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 1u);
    tr_wheel_check(&wheel);
    cr_assert_eq(tr_wheel_next(&wheel), now + 10 * TICK);
    now += 10 * TICK;
    cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 1u);
    cr_assert_eq(probes[1].fired, 1);
    tr_wheel_check(&wheel);
}

/* Wherever in a slot of the level above the present is: what lies in the lowest level is not moved before its time, so
 * the loop may sleep until then. */
Test(wheel, what_is_due_within_four_seconds_is_looked_at_once)
{
    const uint64_t slot = TICK << TR_WHEEL_NEAR_STEP;
    for (uint64_t at = 0; at < 3 * slot; at += slot / 3) {
        start(1000 * slot + at);
        arm(0, now + 7 * slot - at % slot + 5 * TICK);
        cr_assert_eq(tr_wheel_next(&wheel), probes[0].timer.due_ns);
        arm(1, now + 9 * slot);
        cr_assert_lt(tr_wheel_next(&wheel), now + 3 * slot, "the other lies above");
        tr_wheel_check(&wheel);
    }
}

Test(wheel, goes_round_its_ring_many_times)
{
    start(12 * TICK);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t due = now + (i % 7 + 1) * 3001 * TICK;
        arm(i, due);
        cr_assert_geq(tr_wheel_next(&wheel), now);
        while (tr_wheel_next(&wheel) < due) {
            now = tr_wheel_next(&wheel);
            cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 0u);
        }
        now = due;
        cr_assert_eq(tr_wheel_advance(&wheel, now, 10), 1u);
        tr_wheel_check(&wheel);
    }
}
