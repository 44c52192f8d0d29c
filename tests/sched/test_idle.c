/* SPDX-License-Identifier: Apache-2.0 */
/* The idle words alone, step by step: who sleeps, searches, guards, and who may be claimed. */
#include <pthread.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include "sched/idle.h"
#include "sched/pool.h"
#include "tests/support/sanitizer.h"

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
    cr_assert_not(tr_idle_sleep(&idle, 0, true, false, false));
    expect(1, 0, 0);
    cr_assert_eq(tr_idle_claim(&idle), 0);
    cr_assert(tr_idle_rise(&idle, 0, false, false));
    expect(0, 1, 0);
}

Test(idle, a_claimed_sleeper_searches_on_the_claimants_account)
{
    tr_idle_init(&idle, 4, 2);
    enum tr_guard guard = tr_idle_sleep(&idle, 2, false, false, false);
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
    enum tr_guard guard = tr_idle_sleep(&idle, 1, false, false, false);
    cr_assert_not(tr_idle_rise(&idle, 1, guard, false));
    expect(0, 0, 0);
    guard = tr_idle_sleep(&idle, 1, false, false, false);
    cr_assert_not(tr_idle_rise(&idle, 1, guard, true));
    expect(0, 1, 0);
}

Test(idle, nobody_is_claimed_while_another_searches)
{
    tr_idle_init(&idle, 4, 2);
    tr_idle_sleep(&idle, 0, false, false, false);
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert_eq(tr_idle_claim(&idle), -1);
    cr_assert(tr_idle_search_end(&idle));
    cr_assert_eq(tr_idle_claim(&idle), 0);
}

Test(idle, two_sleepers_stand_guard_and_the_rest_do_not)
{
    tr_idle_init(&idle, 4, 2);
    cr_assert(tr_idle_sleep(&idle, 0, false, false, false));
    cr_assert(tr_idle_sleep(&idle, 1, false, false, false));
    cr_assert_not(tr_idle_sleep(&idle, 2, false, false, false));
    expect(7, 0, 2);
    tr_idle_rise(&idle, 0, true, false);
    expect(6, 0, 1);
    cr_assert(tr_idle_sleep(&idle, 0, false, false, false));
    expect(7, 0, 2);
}

/* It stays asleep, so that one is enough; a restless one gets up for its own sake, and should leave another. */
Test(idle, a_calm_sleeper_guards_alone)
{
    tr_idle_init(&idle, 4, 2);
    cr_assert_eq(tr_idle_sleep(&idle, 0, false, false, true), TR_GUARD_CALM);
    cr_assert_eq(tr_idle_sleep(&idle, 1, false, false, true), TR_GUARD_NONE);
    cr_assert_eq(tr_idle_sleep(&idle, 2, false, false, false), TR_GUARD_NONE);
    expect(7, 0, 1);
    tr_idle_rise(&idle, 0, TR_GUARD_CALM, false);
    tr_idle_rise(&idle, 2, TR_GUARD_NONE, false);
    expect(2, 0, 0);
    cr_assert_eq(tr_idle_sleep(&idle, 2, false, false, false), TR_GUARD_RESTLESS);
    cr_assert_eq(tr_idle_sleep(&idle, 0, false, false, true), TR_GUARD_CALM, "a restless guard may leave at any time");
    expect(7, 0, 2);
    tr_idle_rise(&idle, 2, TR_GUARD_RESTLESS, false);
    cr_assert_eq(tr_idle_sleep(&idle, 2, false, false, false), TR_GUARD_NONE);
    expect(7, 0, 1);
}

Test(idle, a_sleeper_whose_wake_is_cheap_is_claimed_first)
{
    tr_idle_init(&idle, 4, 2);
    tr_idle_sleep(&idle, 0, false, false, true);  /* with a guard's time-out */
    tr_idle_sleep(&idle, 1, false, false, false); /* in its ring */
    tr_idle_sleep(&idle, 2, false, false, true);
    cr_assert_eq(tr_idle_claim(&idle), 2);
    tr_idle_search_end(&idle);
    cr_assert_eq(tr_idle_claim(&idle), 0, "then the lowest");
    tr_idle_search_end(&idle);
    cr_assert(tr_idle_rise(&idle, 0, TR_GUARD_CALM, false));
    cr_assert(tr_idle_rise(&idle, 2, TR_GUARD_NONE, false));
    cr_assert_not(tr_idle_rise(&idle, 1, TR_GUARD_NONE, false));
    cr_assert_eq(tr_idle_sleep(&idle, 0, false, false, true), TR_GUARD_CALM);
    cr_assert_eq(tr_idle_sleep(&idle, 1, false, false, true), TR_GUARD_NONE);
    cr_assert_eq(tr_idle_claim(&idle), 1, "what was dear once is not so for ever");
}

Test(idle, no_guard_is_kept_when_all_rest)
{
    tr_idle_init(&idle, 2, 1);
    cr_assert(tr_idle_sleep(&idle, 0, false, true, false), "worker 1 is awake: rested or not, somebody must watch it");
    cr_assert_not(tr_idle_sleep(&idle, 1, false, true, false));
    cr_assert_not(tr_idle_rise(&idle, 0, true, false));
    cr_assert_not(tr_idle_sleep(&idle, 0, false, true, false));
    expect(3, 0, 0);
}

Test(idle, claim_all_takes_every_sleeper_even_beside_a_searcher)
{
    tr_idle_init(&idle, TR_WORKERS_MAX, TR_WORKERS_MAX / 2);
    cr_assert(tr_idle_search_begin(&idle));
    enum tr_guard guards[TR_WORKERS_MAX];
    for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
        guards[i] = tr_idle_sleep(&idle, i, false, false, false);
    uint64_t claimed = tr_idle_claim_all(&idle);
    cr_assert_eq(claimed, ~(uint64_t)1);
    expect(0, TR_WORKERS_MAX, 2);
    for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
        cr_assert(tr_idle_rise(&idle, i, guards[i], false));
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++)
        tr_idle_search_end(&idle);
    expect(0, 0, 0);
}

Test(idle, every_worker_has_a_bit)
{
    tr_idle_init(&idle, TR_WORKERS_MAX, 1);
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++)
        tr_idle_sleep(&idle, i, false, false, false);
    expect(~(uint64_t)0, 0, TR_GUARDS_MAX);
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++) {
        cr_assert_eq(tr_idle_claim(&idle), (int)i, "the lowest first");
        cr_assert(tr_idle_rise(&idle, i, i < TR_GUARDS_MAX, false));
        cr_assert(tr_idle_search_end(&idle));
    }
    expect(0, 0, 0);
}

Test(idle, guards_are_never_more_than_two_however_many_lie_down)
{
    enum tr_guard guard[TR_WORKERS_MAX];
    tr_idle_init(&idle, TR_WORKERS_MAX, 1);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned guards = 0;
        for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
            guards += guard[i] = tr_idle_sleep(&idle, i, false, round % 2, false);
        cr_assert_eq(guards, TR_GUARDS_MAX, "worker 0 is awake");
        expect(~(uint64_t)1, 0, TR_GUARDS_MAX);
        for (unsigned i = 1; i < TR_WORKERS_MAX; i++)
            tr_idle_rise(&idle, i, guard[i], false);
        expect(0, 0, 0);
    }
}

Test(idle, all_of_64_may_rest_unguarded)
{
    enum tr_guard guard[TR_WORKERS_MAX];
    tr_idle_init(&idle, TR_WORKERS_MAX, 1);
    for (unsigned i = 0; i < TR_WORKERS_MAX; i++)
        guard[i] = tr_idle_sleep(&idle, i, false, true, false);
    cr_assert(guard[0] && guard[1] && !guard[TR_WORKERS_MAX - 1]);
    for (unsigned i = 0; i < TR_GUARDS_MAX; i++) { /* a guard's next turn */
        tr_idle_rise(&idle, i, true, false);
        cr_assert_not(tr_idle_sleep(&idle, i, false, true, false));
    }
    expect(~(uint64_t)0, 0, 0);
}

Test(idle, work_is_unguarded_if_another_is_awake_and_none_watches_it)
{
    tr_idle_init(&idle, 3, 1);
    tr_idle_sleep(&idle, 0, false, false, false);
    cr_assert_not(tr_idle_unguarded(&idle, 1), "worker 0 stands guard");
    tr_idle_rise(&idle, 0, true, false);
    cr_assert_not(tr_idle_unguarded(&idle, 1), "nobody sleeps");
    tr_idle_init(&idle, 3, 1);
    idle.sleepers = 1;
    cr_assert(tr_idle_unguarded(&idle, 1), "worker 2 is awake");
    cr_assert(tr_idle_search_begin(&idle));
    cr_assert_not(tr_idle_unguarded(&idle, 1), "somebody searches");
    tr_idle_search_end(&idle);
    idle.sleepers = 5;
    cr_assert_not(tr_idle_unguarded(&idle, 1), "alone awake");
}

Test(idle, a_spare_counts_only_while_it_takes_part)
{
    tr_idle_init(&idle, 2, 1);
    tr_idle_join(&idle, 2);
    cr_assert(tr_idle_sleep(&idle, 0, false, true, false));
    cr_assert(tr_idle_sleep(&idle, 1, false, true, false), "the spare is awake");
    cr_assert_not(tr_idle_sleep(&idle, 2, false, true, false));
    expect(7, 0, 2);
    tr_idle_rise(&idle, 2, false, false);
    tr_idle_leave(&idle, 2);
    tr_idle_rise(&idle, 1, true, false);
    cr_assert_not(tr_idle_sleep(&idle, 1, false, true, false), "all who take part sleep");
    expect(3, 0, 1);
}

Test(idle, a_single_worker_with_a_spare_guards)
{
    tr_idle_init(&idle, 1, 1);
    tr_idle_join(&idle, 1);
    cr_assert(tr_idle_sleep(&idle, 0, false, false, false));
    tr_idle_rise(&idle, 0, true, false);
    tr_idle_leave(&idle, 1);
    cr_assert_not(tr_idle_sleep(&idle, 0, false, false, false));
}

/* --- the words, moved by many threads at once: no claim is lost or made twice, and no count goes astray --- */

enum { STEPS = SANITIZED ? 20000 : 500000 };

static uint64_t owed[8], met; /* tokens paid to each; claims met */
static unsigned claimants_end;

static void *sleep_and_rise(void *arg)
{
    unsigned index = *(unsigned *)arg;
    for (unsigned step = 0; step < STEPS; step++) {
        bool searching = step % 16 == 0 && tr_idle_search_begin(&idle);
        enum tr_guard guard = tr_idle_sleep(&idle, index, searching, step % 2, false);
        if (tr_idle_rise(&idle, index, guard, step % 16 == 1)) {
            ck_pr_inc_64(&met);
            tr_idle_search_end(&idle);
        } else if (step % 16 == 1) {
            tr_idle_search_end(&idle);
        }
        tr_idle_check(&idle);
    }
    return NULL;
}

static void *claim(void *arg)
{
    (void)arg;
    for (unsigned turn = 0; ck_pr_load_uint(&claimants_end) == 0; turn++) {
        int index = tr_idle_claim(&idle);
        if (index >= 0)
            ck_pr_inc_64(&owed[index]);
        uint64_t all = turn % 8 == 0 ? tr_idle_claim_all(&idle) : 0;
        for (; all; all &= all - 1)
            ck_pr_inc_64(&owed[__builtin_ctzll(all)]);
    }
    return NULL;
}

enum { RACERS_MAX = 4 };

static void race(unsigned sleepers, unsigned claimants)
{
    pthread_t sleeper[RACERS_MAX], claimant[RACERS_MAX];
    unsigned index[RACERS_MAX];
    uint64_t sum = 0;
    tr_idle_init(&idle, RACERS_MAX, 2);
    for (unsigned i = 0; i < claimants; i++)
        pthread_create(&claimant[i], NULL, claim, NULL);
    for (unsigned i = 0; i < sleepers; i++) {
        index[i] = i;
        pthread_create(&sleeper[i], NULL, sleep_and_rise, &index[i]);
    }
    for (unsigned i = 0; i < sleepers; i++)
        pthread_join(sleeper[i], NULL);
    ck_pr_store_uint(&claimants_end, 1);
    for (unsigned i = 0; i < claimants; i++)
        pthread_join(claimant[i], NULL);
    for (unsigned i = 0; i < sleepers; i++)
        sum += owed[i];
    printf("%lu claims\n", sum);
    cr_assert_eq(sum, met);
    expect(0, 0, 0);
}

/* Here a claimant often finds that the only sleeper got up by itself in between. */
Test(idle, claims_of_one_sleeper_by_one_thread_are_met_exactly_once, .timeout = 120)
{
    race(1, 1);
}

Test(idle, claims_of_many_by_many_are_met_exactly_once, .timeout = 120)
{
    race(4, 2);
}
