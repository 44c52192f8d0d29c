/* SPDX-License-Identifier: Apache-2.0 */
/* The idle word alone, step by step: who sleeps, searches, guards, and who may be claimed. */
#include <criterion/criterion.h>

#include "sched/idle.h"
#include "sched/pool.h"

static struct tr_idle idle;

static void expect(uint64_t sleepers, unsigned searching, unsigned guards)
{
    struct tr_idle_view view = tr_idle_read(&idle);
    cr_assert_eq(view.sleepers, sleepers);
    cr_assert_eq(tr_idle_searching(view), searching);
    cr_assert_eq(tr_idle_guards(view), guards);
    cr_assert_eq(tr_idle_claimable(view), sleepers != 0 && searching == 0);
    tr_idle_check(&idle);
}

Test(idle, nobody_is_claimed_while_all_are_awake)
{
    tr_idle_init(&idle, 4, 2);
    cr_assert_eq(tr_idle_claim(&idle), -1);
    cr_assert_eq(tr_idle_claim_all(&idle), 0);
    expect(0, 0, 0);
}

Test(idle, half_of_the_workers_may_search)
{
    tr_idle_init(&idle, 4, 2);
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert_not(tr_idle_search_begin(&idle));
    cr_assert_not(tr_idle_search_end(&idle));
    cr_assert(tr_idle_search_end(&idle), "the last searcher is told so");
    expect(0, 0, 0);
}

Test(idle, a_single_worker_may_search_and_never_guards)
{
    tr_idle_init(&idle, 1, 1);
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert_not(tr_idle_sleep(&idle, 0, true, false));
    expect(1, 0, 0);
    cr_assert_eq(tr_idle_claim(&idle), 0);
    cr_assert(tr_idle_rise(&idle, 0, false, false));
    expect(0, 1, 0);
}

Test(idle, a_claimed_sleeper_searches_on_the_claimants_account)
{
    tr_idle_init(&idle, 4, 2);
    bool guard = tr_idle_sleep(&idle, 2, false, false);
    cr_assert_eq(tr_idle_claim(&idle), 2);
    expect(0, 1, guard);
    cr_assert_eq(tr_idle_claim(&idle), -1, "one claim, one token");
    cr_assert(tr_idle_rise(&idle, 2, guard, false));
    expect(0, 1, 0);
    cr_assert(tr_idle_search_end(&idle));
}

Test(idle, an_unclaimed_sleeper_rises_awake_or_searching)
{
    tr_idle_init(&idle, 4, 2);
    bool guard = tr_idle_sleep(&idle, 1, false, false);
    cr_assert_not(tr_idle_rise(&idle, 1, guard, false));
    expect(0, 0, 0);
    guard = tr_idle_sleep(&idle, 1, false, false);
    cr_assert_not(tr_idle_rise(&idle, 1, guard, true));
    expect(0, 1, 0);
}

Test(idle, nobody_is_claimed_while_another_searches)
{
    tr_idle_init(&idle, 4, 2);
    tr_idle_sleep(&idle, 0, false, false);
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert_eq(tr_idle_claim(&idle), -1);
    cr_assert(tr_idle_search_end(&idle));
    cr_assert_eq(tr_idle_claim(&idle), 0);
}

Test(idle, two_sleepers_stand_guard_and_the_rest_do_not)
{
    tr_idle_init(&idle, 4, 2);
    cr_assert(tr_idle_sleep(&idle, 0, false, false));
    cr_assert(tr_idle_sleep(&idle, 1, false, false));
    cr_assert_not(tr_idle_sleep(&idle, 2, false, false));
    expect(7, 0, 2);
    tr_idle_rise(&idle, 0, true, false);
    expect(6, 0, 1);
    cr_assert(tr_idle_sleep(&idle, 0, false, false));
    expect(7, 0, 2);
}

Test(idle, no_guard_is_kept_when_all_rest)
{
    tr_idle_init(&idle, 2, 1);
    cr_assert(tr_idle_sleep(&idle, 0, false, true), "worker 1 is awake: rested or not, somebody must watch it");
    cr_assert_not(tr_idle_sleep(&idle, 1, false, true));
    cr_assert_not(tr_idle_rise(&idle, 0, true, false));
    cr_assert_not(tr_idle_sleep(&idle, 0, false, true));
    expect(3, 0, 0);
}

Test(idle, claim_all_takes_every_sleeper_even_beside_a_searcher)
{
    tr_idle_init(&idle, TR_WORKERS_MAX, TR_WORKERS_MAX / 2);
    cr_assert(tr_idle_search_begin(&idle));
    bool guards[TR_WORKERS_MAX];
    for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
        guards[i] = tr_idle_sleep(&idle, i, false, false);
    uint64_t claimed = tr_idle_claim_all(&idle);
    cr_assert_eq(claimed, ~(uint64_t)1);
    expect(0, TR_WORKERS_MAX, 2);
    for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
        cr_assert(tr_idle_rise(&idle, i, guards[i], false));
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++)
        tr_idle_search_end(&idle);
    expect(0, 0, 0);
}
