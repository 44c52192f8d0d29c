/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate behind waking, and the spin budget: pure arithmetic on a hand-moved clock. */
#include <criterion/criterion.h>

#include "sched/pace.h"
#include "sched/spin.h"

/* Runs n activations of cost_ns each. */
static uint64_t run_some(struct tr_pace *pace, uint64_t now_ns, unsigned n, uint64_t cost_ns)
{
    static uint64_t runs;
    for (unsigned i = 0; i < n; i++) {
        now_ns += cost_ns;
        if (!tr_pace_due(pace, ++runs))
            continue;
        tr_pace_sample(pace, now_ns, runs);
        runs = 0;
    }
    return now_ns;
}

Test(pace, many_short_activations_are_not_worth_a_wake)
{
    struct tr_pace pace;
    tr_pace_init(&pace);
    tr_pace_resume(&pace, 1000);
    run_some(&pace, 1000, 1000, 50);
    cr_assert_not(tr_pace_worth(&pace, 255));
    cr_assert(tr_pace_worth(&pace, 1200));
}

Test(pace, one_long_activation_is_worth_a_wake)
{
    struct tr_pace pace;
    tr_pace_init(&pace);
    tr_pace_resume(&pace, 1000);
    run_some(&pace, 1000, 20, 200000);
    cr_assert(tr_pace_worth(&pace, 1));
    cr_assert_not(tr_pace_worth(&pace, 0));
}

Test(pace, notices_a_change_within_sixteen_activations)
{
    struct tr_pace pace;
    tr_pace_init(&pace);
    tr_pace_resume(&pace, 1000);
    uint64_t now_ns = run_some(&pace, 1000, 1000, 50);
    run_some(&pace, now_ns, 16, 1000000);
    cr_assert(tr_pace_worth(&pace, 1));
}

Test(pace, idle_time_is_not_counted)
{
    struct tr_pace pace;
    uint64_t now_ns = 1000;
    tr_pace_init(&pace);
    for (int i = 0; i < 1000; i++) {
        tr_pace_resume(&pace, now_ns);
        now_ns = run_some(&pace, now_ns, 1, 100);
        tr_pace_pause(&pace, now_ns);
        now_ns += 1000000;
    }
    cr_assert_lt(pace.cost_ns, 200);
}

Test(pace, a_clock_that_steps_back_counts_as_no_time)
{
    struct tr_pace pace;
    tr_pace_init(&pace);
    tr_pace_resume(&pace, 1000000);
    run_some(&pace, 10, 100, 100);
    cr_assert_leq(pace.cost_ns, 1001);
}

Test(spin, stays_long_while_work_comes_soon)
{
    struct tr_spin spin;
    tr_spin_init(&spin, 20000);
    for (int i = 0; i < 10; i++)
        tr_spin_learn(&spin, 1000000);
    cr_assert_eq(spin.budget_ns, 2500, "an eighth is the floor");
    for (int i = 0; i < 10; i++)
        tr_spin_learn(&spin, 30000);
    cr_assert_eq(spin.budget_ns, 20000);
}

Test(spin, zero_stays_zero)
{
    struct tr_spin spin;
    tr_spin_init(&spin, 0);
    tr_spin_learn(&spin, 0);
    tr_spin_learn(&spin, 1000);
    cr_assert_eq(spin.budget_ns, 0);
}
