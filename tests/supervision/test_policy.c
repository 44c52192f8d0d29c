/* SPDX-License-Identifier: Apache-2.0 */
/* The restart policy as pure functions: decisions over all combinations, defaults, back-off, faults; and the health
 * that starts a back-off afresh, in a running actor. */
#include "kin.h"

#include <limits.h>
#include <math.h>
#include <signal.h>

#include "runtime/policy.h"
#include "sched/base/rng.h"

/* --- decisions ---------------------------------------------------------------------------------------------------- */

/* What each combination must come to, by rows of crashed, regroup, window_allows, parent_is_asked; `delay` says whether
 * there is a back-off. Written from supervision.h: T is the answer for a temporary actor, O for the two others. */
enum { NOW, LATER, ASKED, EXCEEDED, REFUSED };

static const enum tr_event events[] = {
    [NOW] = TR_EVENT_RESTART_NOW,          [LATER] = TR_EVENT_RESTART_LATER,     [ASKED] = TR_EVENT_RESTART_ASKED,
    [EXCEEDED] = TR_EVENT_WINDOW_EXCEEDED, [REFUSED] = TR_EVENT_RESTART_REFUSED,
};

static const struct {
    unsigned char crashed, regroup, allows, asked, at_once, delayed, temporary;
} table[16] = {
    /* It came down in order, by its own doing: only a permanent one does and goes on, so its window counts. */
    {0, 0, 0, 0, EXCEEDED, EXCEEDED, EXCEEDED},
    {0, 0, 0, 1, EXCEEDED, EXCEEDED, EXCEEDED},
    {0, 0, 1, 0, NOW, LATER, NOW},
    {0, 0, 1, 1, ASKED, ASKED, ASKED},
    /* Its group has it come down: not its doing, so whatever the window says it waits for the others. */
    {0, 1, 0, 0, ASKED, ASKED, ASKED},
    {0, 1, 0, 1, ASKED, ASKED, ASKED},
    {0, 1, 1, 0, ASKED, ASKED, ASKED},
    {0, 1, 1, 1, ASKED, ASKED, ASKED},
    /* A crash. */
    {1, 0, 0, 0, EXCEEDED, EXCEEDED, REFUSED},
    {1, 0, 0, 1, EXCEEDED, EXCEEDED, REFUSED},
    {1, 0, 1, 0, NOW, LATER, REFUSED},
    {1, 0, 1, 1, ASKED, ASKED, REFUSED},
    /* A crash while its group came down: it counts, and it waits all the same. */
    {1, 1, 0, 0, EXCEEDED, EXCEEDED, REFUSED},
    {1, 1, 0, 1, EXCEEDED, EXCEEDED, REFUSED},
    {1, 1, 1, 0, ASKED, ASKED, REFUSED},
    {1, 1, 1, 1, ASKED, ASKED, REFUSED},
};

static void check(struct tr_question q, unsigned row, unsigned expected)
{
    cr_assert_eq(tr_policy_decide(&q), events[expected], "row %u, policy %d, delay %lu: %s", row, (int)q.restart,
                 q.delay_ns, tr_event_name(tr_policy_decide(&q)));
}

Test(policy, decides_every_combination_as_the_table_says)
{
    for (unsigned row = 0; row < 16; row++) {
        struct tr_question q = {.crashed = table[row].crashed,
                                .regroup = table[row].regroup,
                                .window_allows = table[row].allows,
                                .parent_is_asked = table[row].asked};
        cr_assert_eq(row, q.crashed * 8u + q.regroup * 4u + q.window_allows * 2u + q.parent_is_asked);
        q.restart = TROUPE_RESTART_TEMPORARY;
        check(q, row, table[row].temporary);
        for (unsigned permanent = 0; permanent < 2; permanent++) {
            q.restart = permanent ? TROUPE_RESTART_PERMANENT : TROUPE_RESTART_TRANSIENT;
            q.delay_ns = 0;
            check(q, row, table[row].at_once);
            q.delay_ns = 1;
            check(q, row, table[row].delayed);
        }
    }
}

/* Each answer can be carried out where the question is put. */
Test(policy, answers_only_what_the_state_machine_can_do)
{
    for (unsigned bits = 0; bits < 1u << 7; bits++) {
        if ((bits & 3) == 3)
            continue;
        struct tr_question q = {.restart = (troupe_restart)(bits & 3),
                                .crashed = bits >> 2 & 1,
                                .regroup = bits >> 3 & 1,
                                .window_allows = bits >> 4 & 1,
                                .parent_is_asked = bits >> 5 & 1,
                                .delay_ns = bits >> 6 & 1};
        cr_assert_eq(tr_lifecycle_move(TR_LIFE_RESTARTING, tr_policy_decide(&q)).answer, TR_ANSWER_MOVE, "%u", bits);
    }
}

/* --- defaults ----------------------------------------------------------------------------------------------------- */

static const troupe_child one_child[] = {{.behavior = &kin_member, .args = KIN(A)}, {0}};
static const troupe_behavior with_children = {.name = "p", .children = {.declared = one_child}};

Test(policy, fills_in_the_defaults)
{
    troupe_supervision none = {0}, all = {.restarts = 7, .window_ns = 8, .shutdown_ns = 9};
    troupe_children no_window = {0}, window = {.restarts = 1, .window_ns = 6},
                    strategy = {.strategy = TROUPE_REST_FOR_ONE};
    cr_assert_eq(tr_policy_restarts(&none), 3);
    cr_assert_eq(tr_policy_restarts(&all), 7);
    cr_assert_eq(tr_policy_restarts(&(troupe_supervision){.restarts = TROUPE_RESTARTS_NONE}), 0);
    cr_assert_eq(tr_policy_window_ns(&none), TROUPE_SEC(5));
    cr_assert_eq(tr_policy_window_ns(&all), 8);
    cr_assert_eq(tr_policy_shutdown_ns(&none, &kin_member), TROUPE_SEC(5));
    cr_assert_eq(tr_policy_shutdown_ns(&none, &with_children), TROUPE_FOREVER);
    cr_assert_eq(tr_policy_shutdown_ns(&all, &with_children), 9);
    cr_assert_eq(tr_policy_shutdown_ns(&(troupe_supervision){.shutdown_ns = TROUPE_SHUTDOWN_KILL}, &kin_member),
                 TROUPE_SHUTDOWN_KILL);
    cr_assert_eq(tr_policy_children_window_ns(&no_window), TROUPE_SEC(5));
    cr_assert_eq(tr_policy_children_window_ns(&window), 6);
    cr_assert_not(tr_policy_parent_is_asked(&no_window));
    cr_assert(tr_policy_parent_is_asked(&window));
    cr_assert(tr_policy_parent_is_asked(&strategy));
}

/* --- back-off ----------------------------------------------------------------------------------------------------- */

static uint64_t exact(uint64_t initial, uint64_t max, double factor, unsigned n)
{
    troupe_backoff b = {.initial_ns = initial, .max_ns = max, .factor = factor, .no_jitter = true};
    return tr_backoff_delay(&b, n, UINT64_MAX);
}

Test(backoff, without_jitter_is_what_the_formula_says)
{
    cr_assert_eq(exact(0, 100, 2, 9), 0, "none is wanted");
    for (unsigned n = 0; n < 10; n++) {
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 0, n), 1000u << n, "the default factor is 2");
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 2, n), 1000u << n);
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 1, n), 1000);
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 0.25, n), 1000, "a factor below 1 counts as 1");
        cr_assert_eq(exact(1000, TROUPE_SEC(1), -3, n), 1000);
    }
    cr_assert_eq(exact(1000, TROUPE_SEC(1), 1.5, 3), 3375);
    cr_assert_eq(exact(3, TROUPE_SEC(1), 10, 5), 300000);
}

Test(backoff, never_exceeds_its_cap)
{
    cr_assert_eq(exact(1000, 1500, 2, 0), 1000);
    cr_assert_eq(exact(1000, 1500, 2, 1), 1500);
    cr_assert_eq(exact(1000, 1500, 2, UINT_MAX), 1500);
    cr_assert_eq(exact(1000, 500, 2, 0), 500, "also the first one");
    cr_assert_eq(exact(1, 0, 2, UINT_MAX), TROUPE_SEC(30), "the default cap is 30 s");
    cr_assert_eq(exact(1, TROUPE_SEC(1), 1e300, UINT_MAX), TROUPE_SEC(1));
    cr_assert_eq(exact(1, TROUPE_SEC(1), HUGE_VAL, 1), TROUPE_SEC(1));
    cr_assert_eq(exact(5, TROUPE_SEC(1), (double)NAN, 3), 5, "no number is no growth");
    cr_assert_leq(exact(UINT64_MAX, UINT64_MAX, 2, UINT_MAX), UINT64_MAX);
    cr_assert_geq(exact(UINT64_MAX, UINT64_MAX, 2, UINT_MAX), UINT64_C(1) << 63);
}

/* However slowly it grows and however often it has: the worker that asks must not be held up. */
Test(backoff, of_a_huge_count_is_found_at_once)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 1 + 1e-15, UINT_MAX), 1000);
        cr_assert_eq(exact(1000, TROUPE_SEC(1), 1, UINT_MAX), 1000);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    cr_assert_lt(to.tv_sec - from.tv_sec, 5);
}

Test(backoff, grows_with_each_restart_up_to_the_cap)
{
    for (double factor = 1.02; factor < 20; factor *= 1.3) {
        uint64_t last = 0;
        for (unsigned n = 0; n < 2000; n++) {
            uint64_t delay = exact(1000, TROUPE_SEC(3600), factor, n);
            double formula = fmin(1000 * pow(factor, n), (double)TROUPE_SEC(3600));
            cr_assert_geq(delay, last);
            cr_assert_lt(fabs((double)delay - formula), 1 + formula * 1e-9, "%g^%u: %lu", factor, n, delay);
            last = delay;
        }
        cr_assert_eq(last, TROUPE_SEC(3600));
    }
}

/* Full jitter: uniform between nothing and all. Ten buckets of a seeded generator, each with its share. */
Test(backoff, with_jitter_is_uniform_between_nothing_and_all)
{
    enum { SAMPLES = 100000, BUCKETS = 10 };
    troupe_backoff b = {.initial_ns = TROUPE_MS(1), .max_ns = TROUPE_SEC(1)};
    for (unsigned n = 0; n < 12; n++) {
        struct tr_rng rng;
        tr_rng_init(&rng, 7 + n);
        unsigned buckets[BUCKETS] = {0};
        uint64_t all = exact(b.initial_ns, b.max_ns, 0, n);
        for (unsigned i = 0; i < SAMPLES; i++) {
            uint64_t delay = tr_backoff_delay(&b, n, tr_rng_next(&rng));
            cr_assert_lt(delay, all);
            buckets[delay * BUCKETS / all]++;
        }
        for (unsigned i = 0; i < BUCKETS; i++)
            cr_assert(buckets[i] > SAMPLES / BUCKETS * 95 / 100 && buckets[i] < SAMPLES / BUCKETS * 105 / 100,
                      "%u of %u in bucket %u", buckets[i], SAMPLES, i);
    }
    cr_assert_eq(tr_backoff_delay(&b, 3, 0), 0);
    cr_assert_geq(tr_backoff_delay(&b, 3, UINT64_MAX), TROUPE_MS(8) - 2);
}

Test(backoff, is_healthy_after_the_time_given_or_else_the_cap)
{
    cr_assert_eq(tr_backoff_healthy_ns(&(troupe_backoff){.max_ns = 9, .healthy_ns = 5}), 5);
    cr_assert_eq(tr_backoff_healthy_ns(&(troupe_backoff){.max_ns = 9}), 9);
    cr_assert_eq(tr_backoff_healthy_ns(&(troupe_backoff){0}), TROUPE_SEC(30));
}

/* --- health, in a running actor ----------------------------------------------------------------------------------- */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TROUPE_SEC(1) + (uint64_t)now.tv_nsec;
}

static unsigned count_crashes(const char *text)
{
    static troupe_crash crashes[64];
    unsigned found = 0;
    size_t count = troupe_crashes_read(kin_rt, 0, crashes, 64);
    for (size_t i = 0; i < count; i++)
        found += strcmp(crashes[i].text, text) == 0;
    return found;
}

/* How long the restart after a crash on request took. */
static uint64_t rest_of(const char *then)
{
    uint64_t from = clock_ns();
    tell_panic(P);
    await(then);
    return clock_ns() - from;
}

/* The back-off grows with each restart; an incarnation that lived for healthy_ns has it begin anew. */
Test(backoff, begins_anew_after_a_healthy_incarnation)
{
    static const troupe_supervision slow = {
        .restarts = 64,
        .window_ns = TROUPE_SEC(1000),
        .backoff = {.initial_ns = TROUPE_MS(20), .factor = 100, .no_jitter = true, .healthy_ns = TROUPE_MS(1500)}};
    for (unsigned lives_long = 0; lives_long < 2; lives_long++) {
        kin_prepare(2);
        troupe_options options = world_options();
        kin_begin_with(&kin_member, &slow, &options);
        await("+P");
        cr_assert_geq(rest_of("+P2"), TROUPE_MS(20));
        if (lives_long)
            usleep(1550 * 1000); /* its life is what is measured */
        uint64_t rest = rest_of("+P3");
        if (lives_long)
            cr_assert_lt(rest, TROUPE_SEC(2), "%lu", rest); /* 20 ms */
        else
            cr_assert_geq(rest, TROUPE_SEC(2), "%lu", rest); /* 100 times that */
        cr_assert_eq(count_crashes("on request"), 2);
        kin_end();
    }
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

Test(policy, finds_what_is_wrong_with_a_supervision)
{
    static const troupe_supervision good[] = {
        {0},
        {.restarts = TROUPE_RESTARTS_MAX},
        {.restarts = TROUPE_RESTARTS_NONE},
        {.restart = TROUPE_RESTART_TEMPORARY, .significant = true},
        {.restart = TROUPE_RESTART_TRANSIENT, .significant = true},
        {.restart = TROUPE_RESTART_PERMANENT},
        {.shutdown_ns = TROUPE_FOREVER},
        {.shutdown_ns = TROUPE_SHUTDOWN_KILL},
    };
    static const struct {
        troupe_supervision supervision;
        const char *says;
    } bad[] = {
        {{.restarts = TROUPE_RESTARTS_MAX + 1}, "TROUPE_RESTARTS_MAX"},
        {{.restarts = TROUPE_RESTARTS_NONE - 1}, "TROUPE_RESTARTS_MAX"},
        {{.restart = (troupe_restart)3}, "restart policy"},
        {{.restart = TROUPE_RESTART_PERMANENT, .significant = true}, "significant"},
    };
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_null(tr_policy_fault(&good[i]), "%u", i);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(tr_policy_fault(&bad[i].supervision) && strstr(tr_policy_fault(&bad[i].supervision), bad[i].says),
                  "%u", i);
}

Test(policy, finds_what_is_wrong_with_children)
{
    static const troupe_children good[] = {
        {0},
        {.strategy = TROUPE_REST_FOR_ONE, .auto_shutdown = TROUPE_SHUTDOWN_ALL, .restarts = TROUPE_RESTARTS_MAX},
        {.declared = one_child},
    };
    static const struct {
        troupe_children children;
        const char *says;
    } bad[] = {
        {{.strategy = (troupe_strategy)3}, "strategy"},
        {{.auto_shutdown = (troupe_auto_shutdown)3}, "auto_shutdown"},
        {{.restarts = TROUPE_RESTARTS_MAX + 1}, "TROUPE_RESTARTS_MAX"},
        {{.restarts = TROUPE_RESTARTS_NONE}, "TROUPE_RESTARTS_MAX"},
    };
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_null(tr_policy_children_fault(&good[i]), "%u", i);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(tr_policy_children_fault(&bad[i].children) &&
                      strstr(tr_policy_children_fault(&bad[i].children), bad[i].says),
                  "%u", i);
}

/* And a spawn says it, at once. */
static const troupe_behavior faulty = {.name = "faulty", KIN_CALLBACKS, .children = {.strategy = (troupe_strategy)7}};

Test(policy, a_behavior_with_a_fault_is_refused_at_its_first_spawn, .signal = SIGABRT)
{
    kin_prepare(1);
    kin_begin(&faulty);
    await("(no such text)");
}
