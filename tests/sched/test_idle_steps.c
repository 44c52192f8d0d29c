/* SPDX-License-Identifier: Apache-2.0 */
/* The idle protocol's steps with another thread's steps right in between, at every place where that can be: the real
 * source, in which each step that moves a word first lets the test do something. One thread, so it is exact. */
#include <criterion/criterion.h>

#include "sched/idle.h"

static void before_step(void);

static inline bool cas_step(uint64_t *word, uint64_t from, uint64_t to, uint64_t *seen)
{
    before_step();
    return ck_pr_cas_64_value(word, from, to, seen);
}

static inline uint64_t faa_step(uint64_t *word, uint64_t change)
{
    before_step();
    return ck_pr_faa_64(word, change);
}

#define ck_pr_cas_64_value cas_step
#define ck_pr_faa_64 faa_step
#include "sched/idle.c"

static struct tr_idle idle;
static unsigned step, at; /* steps so far; before which one the other comes */
static void (*other)(void);

static void before_step(void)
{
    void (*now)(void) = other;
    if (!now || ++step != at)
        return;
    other = NULL; /* its own steps are not interrupted */
    now();
}

/* The next call is interrupted before its nth step. */
static void interrupt(unsigned nth, void (*by)(void))
{
    step = 0;
    at = nth;
    other = by;
}

static void expect(uint64_t sleepers, unsigned searching, unsigned guards)
{
    struct tr_idle_view view = tr_idle_read(&idle);
    cr_assert_null(other, "the other had its turn");
    cr_assert_eq(view.sleepers, sleepers);
    cr_assert_eq(tr_idle_searching(view), searching);
    cr_assert_eq(tr_idle_guards(view), guards);
}

static void worker_0_rises(void)
{
    tr_idle_rise(&idle, 0, true, false);
}

static void worker_0_rises_unguarding(void)
{
    tr_idle_rise(&idle, 0, false, false);
}

static void worker_1_sleeps(void)
{
    tr_idle_sleep(&idle, 1, false, false, false);
}

static void worker_1_sleeps_after_0_rose(void)
{
    worker_0_rises();
    tr_idle_sleep(&idle, 1, false, false, false);
}

Test(idle_steps, a_claim_whose_only_sleeper_got_up_leaves_no_searcher_behind)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        tr_idle_init(&idle, 3, 1);
        cr_assert(tr_idle_sleep(&idle, 0, false, false, false));
        interrupt(nth, worker_0_rises);
        cr_assert_eq(tr_idle_claim(&idle), -1);
        expect(0, 0, 0);
    }
}

Test(idle_steps, a_claim_that_lost_its_sleeper_takes_one_that_came_since)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        tr_idle_init(&idle, 3, 1);
        tr_idle_sleep(&idle, 0, false, false, false);
        interrupt(nth, worker_1_sleeps_after_0_rose);
        cr_assert_eq(tr_idle_claim(&idle), 1);
        expect(0, 1, 1);
    }
}

static void worker_0_rises_and_1_sleeps_a_step_later(void)
{
    worker_0_rises_unguarding();
    interrupt(1, worker_1_sleeps);
}

/* Somebody pushed, saw the claimant as a searcher, and did nothing; worker 1 lay down before the push. The claimant, on
 * leaving without a sleeper, must see to that. */
Test(idle_steps, a_claimant_that_leaves_looks_again)
{
    tr_idle_init(&idle, 3, 1);
    idle.sleepers = 1;
    interrupt(1, worker_0_rises_and_1_sleeps_a_step_later);
    cr_assert_eq(tr_idle_claim(&idle), 1);
    expect(0, 1, 1);
}

Test(idle_steps, claim_all_counts_only_whom_it_got)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        tr_idle_init(&idle, 4, 2);
        tr_idle_sleep(&idle, 0, false, false, false);
        tr_idle_sleep(&idle, 1, false, false, false);
        interrupt(nth, worker_0_rises);
        cr_assert_eq(tr_idle_claim_all(&idle), 2);
        expect(0, 1, 1);
    }
}

/* All sleep and rest; the last one to lie down need not guard, unless one of the others gets up just now. */
Test(idle_steps, who_lies_down_last_guards_if_another_got_up_meanwhile)
{
    tr_idle_init(&idle, 2, 1);
    idle.sleepers = 1;
    interrupt(1, worker_0_rises_unguarding);
    cr_assert(tr_idle_sleep(&idle, 1, false, true, false));
    expect(2, 0, 1);
    for (unsigned nth = 1; nth <= 2; nth++) {
        tr_idle_init(&idle, 2, 1);
        cr_assert(tr_idle_search_begin(&idle));
        idle.sleepers = 1;
        interrupt(nth, worker_0_rises_unguarding);
        cr_assert(tr_idle_sleep(&idle, 1, true, true, false));
        expect(2, 0, 1);
    }
}

/* It found guards enough and relied on them; one of them leaves before the sleeper's bit is on, and did not see it. */
Test(idle_steps, who_relied_on_a_guard_that_left_meanwhile_guards_itself)
{
    for (unsigned searched = 0; searched <= 1; searched++) {
        tr_idle_init(&idle, 4, 2);
        cr_assert(tr_idle_sleep(&idle, 0, false, false, false));
        cr_assert(tr_idle_sleep(&idle, 1, false, false, false));
        if (searched)
            tr_idle_search_begin(&idle);
        interrupt(1 + searched, worker_0_rises);
        cr_assert(tr_idle_sleep(&idle, 2, searched, false, false));
        expect(6, 0, 2);
    }
}

/* The bit is turned on last, after counts says that it does not search: who gets up thereafter relies on nobody. */
Test(idle_steps, a_searcher_is_off_the_count_before_it_sleeps)
{
    tr_idle_init(&idle, 3, 1);
    tr_idle_search_begin(&idle);
    interrupt(2, worker_1_sleeps);
    tr_idle_sleep(&idle, 0, true, false, false);
    expect(3, 0, 2);
}

static int claimed_by_other;

static void claim_by_other(void)
{
    claimed_by_other = tr_idle_claim(&idle);
}

Test(idle_steps, of_a_rise_and_a_claim_exactly_one_has_the_sleeper)
{
    tr_idle_init(&idle, 3, 1);
    tr_idle_sleep(&idle, 0, false, false, false);
    interrupt(1, claim_by_other);
    cr_assert(tr_idle_rise(&idle, 0, true, true));
    cr_assert_eq(claimed_by_other, 0);
    expect(0, 1, 0);
    tr_idle_init(&idle, 3, 1);
    tr_idle_sleep(&idle, 0, false, false, false);
    interrupt(2, claim_by_other);
    cr_assert_not(tr_idle_rise(&idle, 0, true, true));
    cr_assert_eq(claimed_by_other, -1);
    expect(0, 1, 0);
}
