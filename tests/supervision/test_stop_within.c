/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_stop_within: an order to stop that becomes a kill when its time is up. */
#include "script.h"

#include "io/loop.h"
#include "runtime/context.h"

enum { SUBJECT, OTHER, PARENT }; /* world.addr */

static uint64_t ordered_ns;

/* On one worker: what its wheel holds, now. */
static uint64_t timers_armed(const troupe_ctx *ctx)
{
    return tr_loop_wheel(ctx->loop)->count;
}

static const troupe_behavior other = {.name = "other", .handlers = {DOES}};
static const troupe_behavior subject = {.name = "subject", TRACED, .handlers = {DOES, NOTES}};
static const troupe_behavior permanent = {
    .name = "permanent", TRACED, .supervision = {.restart = TROUPE_RESTART_PERMANENT}, .handlers = {DOES, NOTES}};

static const troupe_behavior *subject_behavior;

STARTED(start_parent)
{
    world.addr[PARENT] = troupe_self(ctx);
    world.addr[OTHER] = troupe_spawn(ctx, &other, NULL, NULL);
    world.addr[SUBJECT] = troupe_spawn(ctx, subject_behavior, NULL, NULL);
    go(ctx, world.addr[SUBJECT], *(step_fn *const *)args);
    return 0;
}

CHILD_STOPPED(end_with_subject)
{
    if (!troupe_addr_same(child, world.addr[SUBJECT]))
        return;
    say("child:%s", troupe_reason_name(reason));
    world.word[0] = (mono_ns() - ordered_ns) / TROUPE_MS(1);
    world.word[1] = timers_armed(ctx);
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior parent = {.name = "parent",
                                       .args_size = sizeof(step_fn *),
                                       .started = start_parent,
                                       .child_stopped = end_with_subject,
                                       .stopped = keep_stats,
                                       .handlers = {DOES}};

static void run_with(const troupe_behavior *behavior, step_fn *first)
{
    subject_behavior = behavior;
    world_begin(1);
    cr_assert_eq(run(&parent, &first), 0);
    unstuff();
}

static void order(troupe_ctx *ctx, uint64_t timeout_ns)
{
    ordered_ns = mono_ns();
    cr_assert_eq(troupe_stop_within(ctx, world.addr[SUBJECT], timeout_ns), 0);
}

STEP(ten_seconds)
{
    order(ctx, TROUPE_SEC(10));
}

STEP(fifty_ms)
{
    order(ctx, TROUPE_MS(50));
}

/* For who ends at once and must not be late, on a machine that has other things to do. */
STEP(half_a_second)
{
    order(ctx, TROUPE_MS(500));
}

STEP(no_time)
{
    order(ctx, 0);
}

STEP(no_limit)
{
    order(ctx, TROUPE_FOREVER);
}

/* The subject's first step: who gives which order. */
static step_fn *the_order;
static unsigned giver;

STEP(have_it_ordered)
{
    go(ctx, world.addr[giver], the_order);
}

STEP(grow_slow_and_have_it_ordered)
{
    with_slow_child(ctx, have_it_ordered);
}

Test(stop_within, is_an_ordinary_stop_for_who_ends_in_time)
{
    for (giver = SUBJECT; giver <= PARENT; giver++) {
        the_order = ten_seconds;
        run_with(&subject, have_it_ordered);
        cr_assert_str_eq(world.trace, "S1 E:stopped child:stopped", "%u: %s", giver, world.trace);
        cr_assert_eq(world.stats.kills, 0);
    }
}

Test(stop_within, kills_who_has_not_ended_in_time)
{
    for (giver = SUBJECT; giver <= PARENT; giver++) {
        the_order = fifty_ms;
        run_with(&subject, grow_slow_and_have_it_ordered);
        cr_assert_str_eq(world.trace, "S1 child:killed", "%u: %s", giver, world.trace);
        cr_assert_geq(word(0), 49);
        cr_assert_eq(world.stats.kills, 2); /* of the slow child, too: it was not waited for */
    }
}

Test(stop_within, without_a_limit_is_a_stop_and_leaves_no_timer)
{
    giver = PARENT;
    the_order = no_limit;
    run_with(&subject, grow_slow_and_have_it_ordered);
    cr_assert_str_eq(world.trace, "S1 E:stopped child:stopped");
    cr_assert_eq(world.stats.kills, 0);
    cr_assert_eq(word(1), 0, "%lu", (unsigned long)word(1));
    the_order = no_time;
    run_with(&subject, grow_slow_and_have_it_ordered);
    cr_assert_str_eq(world.trace, "S1 child:killed");
}

/* --- whoever gave the order need not be there any more ------------------------------------------------------------ */

STEP(order_and_end)
{
    fifty_ms(ctx);
    troupe_stop_self(ctx);
}

STEP(order_and_crash)
{
    fifty_ms(ctx);
    panic_step(ctx);
}

Test(stop_within, holds_when_who_gave_the_order_ends_or_crashes)
{
    step_fn *const orders[] = {order_and_end, order_and_crash};
    giver = OTHER;
    for (unsigned i = 0; i < 2; i++) {
        the_order = orders[i];
        run_with(&subject, grow_slow_and_have_it_ordered);
        cr_assert_str_eq(world.trace, "S1 child:killed", "%u: %s", i, world.trace);
        cr_assert_eq(world.stats.kills, 2);
    }
}

/* --- whom it must not hit ----------------------------------------------------------------------------------------- */

STEP(note_and_end)
{
    note(ctx, world.addr[SUBJECT], 1);
    go(ctx, world.addr[SUBJECT], end_step);
}

/* The slot's next actor lives when the time of the order is up. */
CHILD_STOPPED(reuse_slot)
{
    say("child:%s", troupe_reason_name(reason));
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    cr_assert_eq((uint32_t)world.addr[SUBJECT].bits, (uint32_t)child.bits);
    go_after(ctx, TROUPE_MS(600), note_and_end);
}

Test(stop_within, does_not_hit_the_next_actor_in_the_slot)
{
    static const troupe_behavior reuse = {.name = "reuse",
                                          .args_size = sizeof(step_fn *),
                                          .started = start_parent,
                                          .child_stopped = reuse_slot,
                                          .stopped = keep_stats,
                                          .handlers = {DOES}};
    step_fn *first = have_it_ordered;
    giver = PARENT;
    the_order = half_a_second;
    subject_behavior = &subject;
    world_begin(1);
    cr_assert_eq(run(&reuse, &first), 0);
    cr_assert_str_eq(world.trace, "S1 E:stopped child:stopped S1 n1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.stats.kills, 0);
}

STEP(fifty_ms_then_wait)
{
    fifty_ms(ctx);
    go_after(ctx, TROUPE_MS(150), note_and_end);
}

STEP(half_a_second_then_wait)
{
    half_a_second(ctx);
    go_after(ctx, TROUPE_MS(600), note_and_end);
}

Test(stop_within, of_a_permanent_actor_by_a_stranger_is_over_with_the_incarnation)
{
    giver = OTHER;
    the_order = half_a_second_then_wait;
    run_with(&permanent, have_it_ordered);
    cr_assert_str_eq(world.trace, "S1 E:stopped R1:ended S2 n1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.stats.kills, 0);
    the_order = fifty_ms_then_wait;
    run_with(&permanent, grow_slow_and_have_it_ordered);
    cr_assert_str_eq(world.trace, "S1 R1:ended S2 n1 E:stopped", "%s", world.trace);
    cr_assert_eq(world.stats.kills, 2);
}

Test(stop_within, of_a_permanent_actor_by_its_parent_is_final)
{
    giver = PARENT;
    the_order = fifty_ms;
    run_with(&permanent, grow_slow_and_have_it_ordered);
    cr_assert_str_eq(world.trace, "S1 child:killed", "%s", world.trace);
}

STEP(order_the_stale)
{
    cr_assert_eq(troupe_stop_within(ctx, (troupe_addr){0}, 1), -ESRCH);
    cr_assert_eq(timers_armed(ctx), 0);
    end_step(ctx);
}

Test(stop_within, says_so_when_the_actor_has_ended)
{
    run_with(&subject, order_the_stale);
}
