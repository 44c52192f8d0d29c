/* SPDX-License-Identifier: Apache-2.0 */
/* The run queue alone: order, wrap, overflow, theft, and the races between owner and thieves. */
#include <pthread.h>
#include <stddef.h>

#include <ck_pr.h>
#include <criterion/criterion.h>

#include "sched/runq.h"

enum { ITEMS = 100000, THIEVES = 3 };

static struct tr_runq queue;
static struct tr_runnable items[ITEMS];
static uint8_t taken[ITEMS]; /* how often each was taken: one writer per item, if all is well */

static void fill(unsigned from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert(tr_runq_push(&queue, &items[from + i]));
}

static size_t index_of(const struct tr_runnable *r)
{
    return (size_t)(r - items);
}

Test(runq, is_first_in_first_out)
{
    tr_runq_init(&queue, false);
    fill(0, 10);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(index_of(tr_runq_pop(&queue)), i);
    cr_assert_null(tr_runq_pop(&queue));
}

Test(runq, refuses_when_full_and_wraps)
{
    tr_runq_init(&queue, false);
    for (unsigned lap = 0; lap < 1000; lap++) {
        fill(0, TR_RUNQ_SIZE);
        cr_assert_not(tr_runq_push(&queue, &items[TR_RUNQ_SIZE]));
        cr_assert_eq(tr_runq_len(&queue), TR_RUNQ_SIZE);
        tr_runq_check(&queue);
        for (size_t i = 0; i < TR_RUNQ_SIZE; i++)
            cr_assert_eq(index_of(tr_runq_pop(&queue)), i);
        cr_assert_eq(tr_runq_len(&queue), 0);
    }
}

Test(runq, counters_wrap_at_two_to_the_32)
{
    tr_runq_init(&queue, false);
    queue.head = queue.tail = UINT32_MAX - 100;
    fill(0, TR_RUNQ_SIZE);
    cr_assert_not(tr_runq_push(&queue, &items[TR_RUNQ_SIZE]));
    tr_runq_check(&queue);
    struct tr_runnable *loot[TR_STEAL_MAX];
    cr_assert_eq(tr_runq_steal(&queue, loot), TR_STEAL_MAX);
    for (size_t i = 0; i < TR_STEAL_MAX; i++)
        cr_assert_eq(index_of(loot[i]), i);
    for (size_t i = TR_STEAL_MAX; i < TR_RUNQ_SIZE; i++)
        cr_assert_eq(index_of(tr_runq_pop(&queue)), i);
    cr_assert_eq(tr_runq_len(&queue), 0);
}

Test(runq, sheds_its_older_half_in_order)
{
    struct tr_runnable *shed[TR_RUNQ_SIZE / 2];
    tr_runq_init(&queue, false);
    fill(0, TR_RUNQ_SIZE);
    cr_assert_eq(tr_runq_shed(&queue, shed), TR_RUNQ_SIZE / 2);
    for (size_t i = 0; i < TR_RUNQ_SIZE / 2; i++)
        cr_assert_eq(index_of(shed[i]), i);
    cr_assert_eq(index_of(tr_runq_pop(&queue)), TR_RUNQ_SIZE / 2);
}

Test(runq, sheds_what_is_there_if_less_than_half)
{
    struct tr_runnable *shed[TR_RUNQ_SIZE / 2];
    tr_runq_init(&queue, false);
    cr_assert_eq(tr_runq_shed(&queue, shed), 0);
    fill(0, 3);
    cr_assert_eq(tr_runq_shed(&queue, shed), 3);
    cr_assert_eq(tr_runq_len(&queue), 0);
}

Test(runq, theft_takes_half_rounded_up)
{
    struct tr_runnable *loot[TR_STEAL_MAX];
    static const struct {
        unsigned there, stolen;
    } cases[] = {{0, 0}, {1, 1}, {2, 1}, {3, 2}, {10, 5}, {63, 32}, {64, 32}, {200, TR_STEAL_MAX}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        tr_runq_init(&queue, false);
        fill(0, cases[c].there);
        cr_assert_eq(tr_runq_steal(&queue, loot), cases[c].stolen, "of %u", cases[c].there);
        for (size_t i = 0; i < cases[c].stolen; i++)
            cr_assert_eq(index_of(loot[i]), i);
        cr_assert_eq(tr_runq_len(&queue), cases[c].there - cases[c].stolen);
    }
}

Test(runq, lifo_slot_holds_the_newest_and_returns_the_older)
{
    tr_runq_init(&queue, false);
    cr_assert_not(tr_runq_has_lifo(&queue));
    cr_assert_null(tr_runq_swap_lifo(&queue, &items[0]));
    cr_assert_eq(tr_runq_swap_lifo(&queue, &items[1]), &items[0]);
    cr_assert(tr_runq_has_lifo(&queue));
    cr_assert_eq(tr_runq_take_lifo(&queue), &items[1]);
    cr_assert_null(tr_runq_take_lifo(&queue));
}

static unsigned owner_done;

static void take(const struct tr_runnable *r)
{
    taken[index_of(r)]++;
}

/* Steals by ring and by slot until the owner is done and nothing is left. */
static void *thieve(void *arg)
{
    struct tr_runnable *loot[TR_STEAL_MAX];
    size_t *stolen = arg;
    for (;;) {
        bool last = ck_pr_load_uint(&owner_done) != 0;
        unsigned n = tr_runq_steal(&queue, loot);
        struct tr_runnable *slot = tr_runq_take_lifo(&queue);
        for (unsigned i = 0; i < n; i++)
            take(loot[i]);
        if (slot)
            take(slot);
        *stolen += n + (slot != NULL);
        if (last && n == 0 && !slot && tr_runq_len(&queue) == 0)
            return NULL;
    }
}

/* The owner pushes every item once, every third by way of the LIFO slot, and keeps the queue short by popping, so that
 * it meets the thieves at the last item again and again. */
static size_t own_all_items(unsigned keep)
{
    size_t popped = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        struct tr_runnable *r = i % 3 == 0 ? tr_runq_swap_lifo(&queue, &items[i]) : &items[i];
        while (r && !tr_runq_push(&queue, r)) {
            struct tr_runnable *shed[TR_RUNQ_SIZE / 2];
            unsigned n = tr_runq_shed(&queue, shed);
            for (unsigned s = 0; s < n; s++, popped++)
                take(shed[s]);
        }
        if (tr_runq_len(&queue) > keep && (r = tr_runq_pop(&queue)) != NULL) {
            take(r);
            popped++;
        }
    }
    return popped;
}

static void race(unsigned keep)
{
    pthread_t threads[THIEVES];
    size_t stolen[THIEVES] = {0}, total;
    tr_runq_init(&queue, false);
    for (int i = 0; i < THIEVES; i++)
        pthread_create(&threads[i], NULL, thieve, &stolen[i]);
    total = own_all_items(keep);
    ck_pr_fence_release();
    ck_pr_store_uint(&owner_done, 1);
    for (int i = 0; i < THIEVES; i++) {
        pthread_join(threads[i], NULL);
        total += stolen[i];
    }
    tr_runq_check(&queue);
    cr_assert_eq(total, ITEMS);
    for (size_t i = 0; i < ITEMS; i++)
        cr_assert_eq(taken[i], 1, "item %zu was taken %d times", i, taken[i]);
}

Test(runq, thief_and_owner_race_for_the_last_item, .timeout = 120)
{
    race(0);
}

Test(runq, thieves_race_an_overflowing_owner, .timeout = 120)
{
    race(TR_RUNQ_SIZE);
}
