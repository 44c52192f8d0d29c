/* SPDX-License-Identifier: Apache-2.0 */
/* Orders overtake messages: with a million of them in a mailbox a stop, a kill and a suspend are obeyed after at most
 * the one that is being handled, and burying the others does not hold the worker. */
#include "script.h"

enum { LETTERS = SANITIZED ? 100000 : 1000000, BEFORE = 1000 };
enum { SUBJECT, OFFICER, TICKER };                              /* world.addr */
enum { FREE, ORDERED, HANDLED, AFTER, GAP, TURNS, LAST, DONE }; /* world.word */

enum order { STOP, KILL, SUSPEND };
static enum order order;

/* A while after the order was asked for a message takes some microseconds, so that the order comes in the middle of a
 * batch. */
static void take_time(void)
{
    uint64_t now = mono_ns();
    while (mono_ns() - now < TROUPE_US(5))
        ck_pr_stall();
}

static void count_one(troupe_ctx *ctx)
{
    if (word(ORDERED))
        bump(AFTER);
    uint64_t handled = bump(HANDLED);
    if (handled > BEFORE && handled < 4 * BEFORE)
        take_time();
    if (handled == BEFORE && !troupe_addr_is_nobody(world.addr[OFFICER]))
        troupe_tell(ctx, world.addr[OFFICER], NOTE, NULL, 0);
}

HANDLER(count)
{
    count_one(ctx);
}

/* --- an order by another actor ------------------------------------------------------------------------------------ */

static const troupe_behavior subject = {.name = "subject", .handlers = {[NOTE] = ON(count, 0)}};

STEP(fill)
{
    for (unsigned i = 0; i < LETTERS; i++)
        troupe_tell(ctx, world.addr[SUBJECT], NOTE, NULL, 0);
    troupe_resume(ctx, world.addr[SUBJECT]);
}

/* Suspended: looked at for a while, then it goes on to the end. */
STEP(look_at_suspended)
{
    if (bump(TURNS) < 2000) {
        go_on(ctx, look_at_suspended);
        return;
    }
    cr_expect_leq(word(AFTER), 1);
    cr_expect_leq(word(HANDLED), BEFORE + 64 * 1000);
    cr_expect_lt(word(HANDLED), LETTERS);
    ck_pr_store_64(&world.word[ORDERED], 0);
    troupe_resume(ctx, world.addr[SUBJECT]);
    ck_pr_store_64(&world.word[DONE], 1);
}

HANDLER(give_order)
{
    int status = order == STOP   ? troupe_stop(ctx, world.addr[SUBJECT])
                 : order == KILL ? troupe_kill(ctx, world.addr[SUBJECT])
                                 : troupe_suspend(ctx, world.addr[SUBJECT]);
    ck_pr_store_64(&world.word[ORDERED], 1);
    cr_expect_eq(status, 0);
    if (order == SUSPEND)
        look_at_suspended(ctx);
}

static const troupe_behavior officer = {.name = "officer", .handlers = {DOES, [NOTE] = ON(give_order, 0)}};

STEP(wait_for_all)
{
    if (word(DONE) && word(HANDLED) == LETTERS)
        end_step(ctx);
    else
        go_on(ctx, wait_for_all);
}

STARTED(start_three)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    troupe_suspend(ctx, world.addr[SUBJECT]);
    world.addr[OFFICER] = troupe_spawn(ctx, &officer, NULL, NULL);
    fill(ctx);
    if (order == SUSPEND)
        go_on(ctx, wait_for_all);
    return 0;
}

static const troupe_behavior three = {
    .name = "three", .started = start_three, .child_stopped = say_last_child, .handlers = {DOES}};

static void overtake(enum order what, const char *expected)
{
    static const unsigned workers[] = {1, 2, 4};
    for (unsigned i = 0; i < 3; i++) {
        order = what;
        world_begin(workers[i]);
        cr_assert_eq(run(&three, NULL), 0);
        cr_assert_str_eq(world.trace, expected);
        cr_assert_leq(word(AFTER), workers[i] > 1, "%u workers: %lu", workers[i], (unsigned long)word(AFTER));
        if (what == SUSPEND)
            cr_assert_eq(word(HANDLED), LETTERS);
        else
            cr_assert_lt(word(HANDLED), LETTERS);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED] + word(HANDLED), LETTERS);
        cr_assert_eq(dead_total(), world.dead[TROUPE_DEAD_STOPPED]);
    }
}

Test(overtake, stop_comes_before_a_million_messages)
{
    overtake(STOP, "child:stopped");
}

Test(overtake, kill_comes_before_a_million_messages)
{
    overtake(KILL, "child:killed");
}

Test(overtake, suspend_comes_before_a_million_messages_and_loses_none)
{
    overtake(SUSPEND, "");
}

/* --- an order by the runtime -------------------------------------------------------------------------------------- */

/* The root's first message lets the others come; the last of them must not be reached. */
HANDLER(count_or_wait)
{
    if (word(HANDLED) == 0)
        spin_until(FREE);
    count_one(ctx);
}

static const troupe_behavior alone = {.name = "alone", .handlers = {[NOTE] = ON(count_or_wait, 0)}};

static void stop_from_outside(unsigned workers)
{
    world_begin(workers);
    troupe_options options = world_options();
    troupe_runtime *rt;
    troupe_addr root;
    cr_assert_eq(troupe_runtime_start(&rt, &alone, NULL, &options, &root), 0);
    for (unsigned i = 0; i < LETTERS; i++)
        cr_assert_eq(troupe_runtime_tell(rt, root, NOTE, NULL, 0), 0);
    ck_pr_store_64(&world.word[FREE], 1);
    spin_until(HANDLED);
    troupe_runtime_request_stop(rt);
    ck_pr_store_64(&world.word[ORDERED], 1);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_leq(word(AFTER), 1);
    cr_assert_lt(word(HANDLED), LETTERS);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED] + word(HANDLED), LETTERS);
}

Test(overtake, the_runtimes_stop_comes_before_a_million_messages)
{
    stop_from_outside(1);
    stop_from_outside(2);
    stop_from_outside(4);
}

/* --- burying ------------------------------------------------------------------------------------------------------ */

/* On one worker all run in one thread, so its CPU time is the clock: what else the machine does is not the worker's
 * fault. */
HANDLER(tick)
{
    uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID), gap = now - word(LAST);
    if (word(LAST) && gap > word(GAP))
        ck_pr_store_64(&world.word[GAP], gap);
    ck_pr_store_64(&world.word[LAST], now);
    bump(TURNS);
    troupe_tell(ctx, troupe_self(ctx), NOTE, NULL, 0);
}

static const troupe_behavior ticker = {.name = "ticker", .handlers = {[NOTE] = ON(tick, 0)}};

/* From here on the gaps count: `close` walks a million letters, `bury` buries them. */
STEP(end_subject)
{
    ck_pr_store_64(&world.word[GAP], 0);
    ck_pr_store_64(&world.word[TURNS], 0);
    ck_pr_store_64(&world.word[LAST], clock_ns(CLOCK_THREAD_CPUTIME_ID));
    cr_assert_eq(troupe_stop(ctx, world.addr[SUBJECT]), 0);
}

/* It has looked at its mailbox, and has them in order. */
STEP(end_when_looked)
{
    if (stats_now(ctx).mailbox_high_water < LETTERS)
        go_on(ctx, end_when_looked);
    else
        end_subject(ctx);
}

STARTED(start_burial)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    troupe_suspend(ctx, world.addr[SUBJECT]);
    world.addr[TICKER] = troupe_spawn(ctx, &ticker, NULL, NULL);
    troupe_tell(ctx, world.addr[TICKER], NOTE, NULL, 0);
    for (unsigned i = 0; i < LETTERS; i++)
        troupe_tell(ctx, world.addr[SUBJECT], NOTE, NULL, 0);
    if (*(const bool *)args)
        end_when_looked(ctx);
    else
        end_subject(ctx); /* it has not: they are one chain, newest first */
    return 0;
}

static const troupe_behavior burial = {.name = "burial",
                                       .args_size = sizeof(bool),
                                       .started = start_burial,
                                       .child_stopped = say_last_child,
                                       .handlers = {DOES}};

static void measure_burial(bool fetched)
{
    world_begin(1);
    cr_assert_eq(run(&burial, &fetched), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], LETTERS + 1); /* and the ticker's last */
    cr_log_info("%s: largest gap %.3f ms of CPU time, %lu turns", fetched ? "fetched" : "not fetched",
                (double)word(GAP) / 1e6, (unsigned long)word(TURNS));
    cr_assert_geq(word(TURNS), LETTERS / 64 / 2);
}

Test(burial, of_a_million_letters_lets_others_run)
{
    measure_burial(true);
    cr_assert_lt(word(GAP), SANITIZED ? TROUPE_MS(20) : TROUPE_MS(10));
}

Test(burial, of_a_million_letters_that_were_never_looked_at_lets_others_run)
{
    measure_burial(false);
    cr_assert_lt(word(GAP), SANITIZED ? TROUPE_MS(60) : TROUPE_MS(20));
}
