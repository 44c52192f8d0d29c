/* SPDX-License-Identifier: Apache-2.0 */
/* The common queue alone: order, shares, and pushers against takers. */
#include <pthread.h>
#include <stddef.h>

#include <ck_pr.h>
#include <criterion/criterion.h>

#include "sched/base/list.h"
#include "sched/inject.h"

enum { PUSHERS = 3, BEARER = PUSHERS - 1, TAKERS = 2, EACH = 30000 };

struct item {
    struct tr_runnable runnable;
    unsigned pusher, number;
    unsigned taken;
};

static struct tr_inject inject;
static struct item items[PUSHERS][EACH];

static struct item *item_of(struct tr_runnable *r)
{
    return TR_CONTAINER_OF(r, struct item, runnable);
}

static void push_numbered(unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        items[0][i].number = i;
        tr_inject_push(&inject, &items[0][i].runnable);
    }
}

static void push_born(unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        items[0][i].number = i;
        tr_inject_push_born(&inject, &items[0][i].runnable);
    }
}

/* Takes one at a time for one worker, and asserts that the numbers are these. */
static void expect_one_by_one(const unsigned *numbers, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned taken;
        struct tr_runnable *r = tr_inject_take(&inject, 1, 1, 0, &taken);
        cr_assert_not_null(r);
        cr_assert_eq(taken, 1);
        cr_assert_null(tr_inject_next(r));
        cr_assert_eq(item_of(r)->number, numbers[i], "take %u", i);
        tr_inject_check(&inject);
    }
}

/* Takes and asserts that exactly `expected` come, numbered from `first` on. */
static void expect_take(unsigned workers, unsigned max, unsigned expected, unsigned first)
{
    unsigned taken, seen = 0;
    for (struct tr_runnable *r = tr_inject_take(&inject, workers, max, 0, &taken); r; r = tr_inject_next(r))
        cr_assert_eq(item_of(r)->number, first + seen++);
    cr_assert_eq(seen, expected);
    cr_assert_eq(taken, expected);
    tr_inject_check(&inject);
}

Test(inject, empty_gives_nothing)
{
    tr_inject_init(&inject);
    cr_assert_not(tr_inject_pending(&inject));
    expect_take(4, 127, 0, 0);
}

Test(inject, gives_in_the_order_pushed_across_refills)
{
    tr_inject_init(&inject);
    push_numbered(0, 5);
    expect_take(1000, 127, 1, 0);
    push_numbered(5, 5);
    expect_take(1, 3, 3, 1);
    expect_take(1, 127, 6, 4);
    cr_assert_not(tr_inject_pending(&inject));
    push_numbered(10, 1);
    cr_assert(tr_inject_pending(&inject));
    expect_take(1, 127, 1, 10);
}

Test(inject, gives_a_share_per_worker_and_at_most_max)
{
    tr_inject_init(&inject);
    push_numbered(0, 100);
    expect_take(4, 127, 26, 0);
    expect_take(1, 10, 10, 26);
    expect_take(1, 0, 0, 36);
    cr_assert(tr_inject_pending(&inject));
    expect_take(1, 127, 64, 36);
    cr_assert_not(tr_inject_pending(&inject));
}

Test(inject, gives_nothing_while_another_takes_but_stays_pending)
{
    tr_inject_init(&inject);
    push_numbered(0, 1);
    cr_assert(ck_spinlock_fas_trylock(&inject.taker));
    expect_take(1, 127, 0, 0);
    cr_assert(tr_inject_pending(&inject));
    ck_spinlock_fas_unlock(&inject.taker);
    expect_take(1, 127, 1, 0);
}

Test(inject, of_those_that_were_born_the_newest_come_first)
{
    tr_inject_init(&inject);
    push_born(0, 5);
    cr_assert(tr_inject_pending(&inject));
    expect_one_by_one((const unsigned[]){4}, 1);
    push_born(5, 3);
    expect_one_by_one((const unsigned[]){7, 6, 5, 3, 2}, 5);
    push_born(8, 1);
    expect_one_by_one((const unsigned[]){8, 1, 0}, 3);
    cr_assert_not(tr_inject_pending(&inject));
    expect_take(1, 127, 0, 0);
}

Test(inject, what_was_born_and_what_was_pushed_take_turns)
{
    tr_inject_init(&inject);
    push_born(0, 3);
    push_numbered(10, 4);
    expect_one_by_one((const unsigned[]){2, 10, 1, 11, 0, 12, 13}, 7);
    cr_assert_not(tr_inject_pending(&inject));
}

/* Two are born for each two that are taken, so that without its age the first one would wait for ever. */
Test(inject, who_was_born_first_comes_in_time_though_others_are_born)
{
    const uint64_t step_ns = 1000000;
    const unsigned most = (unsigned)(TR_INJECT_OLD_NS / (int64_t)step_ns) + TR_INJECT_OLD_EVERY + 1;
    bool seen = false;
    unsigned steps = 0, taken;
    tr_inject_init(&inject);
    push_born(0, 1);
    for (; !seen && steps < 1000; steps++) {
        push_born(1 + 2 * steps, 2);
        struct tr_runnable *r = tr_inject_take(&inject, 1, 2, steps * step_ns, &taken);
        for (; r; r = tr_inject_next(r))
            seen = seen || item_of(r)->number == 0;
        tr_inject_check(&inject);
    }
    cr_assert(seen);
    cr_assert_leq(steps, most);
    cr_assert_gt(steps, (unsigned)(TR_INJECT_OLD_NS / (int64_t)step_ns), "until then the newest come first");
}

Test(inject, a_clock_that_is_behind_makes_nobody_old)
{
    unsigned taken;
    tr_inject_init(&inject);
    push_born(0, 2);
    cr_assert_eq(item_of(tr_inject_take(&inject, 1, 1, 1000, &taken))->number, 1);
    push_born(2, 1);
    cr_assert_eq(item_of(tr_inject_take(&inject, 1, 1, 999, &taken))->number, 2);
    cr_assert_null(inject.old.first);
}

static unsigned pushers_left = PUSHERS;
static unsigned misordered;

static void *push_all(void *arg)
{
    struct item *mine = arg;
    for (unsigned i = 0; i < EACH; i++)
        if (mine->pusher == BEARER)
            tr_inject_push_born(&inject, &mine[i].runnable);
        else
            tr_inject_push(&inject, &mine[i].runnable);
    ck_pr_fence_release();
    ck_pr_dec_uint(&pushers_left);
    return NULL;
}

/* Within one batch the numbers of each pusher must rise; batches of two takers overlap, so more cannot be said. */
static void *take_all(void *arg)
{
    size_t *count = arg;
    for (;;) {
        bool last = ck_pr_load_uint(&pushers_left) == 0;
        unsigned taken, newest[PUSHERS] = {0};
        for (struct tr_runnable *r = tr_inject_take(&inject, TAKERS, 127, *count * 1000, &taken); r;
             r = tr_inject_next(r)) {
            struct item *item = item_of(r);
            item->taken++;
            if (item->pusher != BEARER && item->number > 0 && item->number <= newest[item->pusher])
                ck_pr_inc_uint(&misordered); /* asserted by the test's own thread: Criterion knows no other */
            newest[item->pusher] = item->number;
        }
        *count += taken;
        if (last && !tr_inject_pending(&inject))
            return NULL;
    }
}

Test(inject, each_is_taken_once_and_in_order_per_pusher, .timeout = 120)
{
    pthread_t threads[PUSHERS + TAKERS];
    size_t counts[TAKERS] = {0}, total = 0;
    tr_inject_init(&inject);
    for (unsigned p = 0; p < PUSHERS; p++)
        for (unsigned i = 0; i < EACH; i++)
            items[p][i] = (struct item){.pusher = p, .number = i};
    for (unsigned t = 0; t < TAKERS; t++)
        pthread_create(&threads[PUSHERS + t], NULL, take_all, &counts[t]);
    for (unsigned p = 0; p < PUSHERS; p++)
        pthread_create(&threads[p], NULL, push_all, items[p]);
    for (unsigned t = 0; t < PUSHERS + TAKERS; t++)
        pthread_join(threads[t], NULL);
    for (unsigned t = 0; t < TAKERS; t++)
        total += counts[t];
    cr_assert_eq(misordered, 0);
    cr_assert_eq(total, (size_t)PUSHERS * EACH);
    for (unsigned p = 0; p < PUSHERS; p++)
        for (unsigned i = 0; i < EACH; i++)
            cr_assert_eq(items[p][i].taken, 1);
}
