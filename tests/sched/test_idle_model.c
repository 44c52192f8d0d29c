/* SPDX-License-Identifier: Apache-2.0 */
/* The idle protocol in every interleaving, up to a number of preemptions: the real sched/idle.c, with workers that search,
 * sleep and steal as sched/worker.c does, and threads that push from outside. In the end, when nobody can go on, no
 * work may wait that nobody will come for. Times are not modelled: a guard's time-out is a promise that it will look. */
#include <limits.h>

#include <criterion/criterion.h>

#include <ck_pr.h>

#include "tests/support/explore.h"
#include "tests/support/sanitizer.h"

static inline bool cas_step(uint64_t *word, uint64_t from, uint64_t to, uint64_t *seen)
{
    explore_step();
    return ck_pr_cas_64_value(word, from, to, seen);
}

static inline uint64_t faa_step(uint64_t *word, uint64_t change)
{
    explore_step();
    return ck_pr_faa_64(word, change);
}

static bool judging; /* no thread runs */

static inline uint64_t load_step(const uint64_t *word)
{
    if (!judging)
        explore_step();
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

#undef ck_pr_load_64
#define ck_pr_cas_64_value cas_step
#define ck_pr_faa_64 faa_step
#define ck_pr_load_64 load_step
#include "sched/idle.c"

/* --- the world --- */

enum { WORKERS_MAX = 3 };

static struct tr_idle idle;
static unsigned workers;
static unsigned calm;               /* bit i: worker i is */
static unsigned hogs;               /* among what is pushed: so many that, run, push one of their own and never end */
static unsigned queue, hogs_queued; /* the common queue */
static unsigned local[WORKERS_MAX]; /* run queues */
static bool woken[WORKERS_MAX];     /* tokens that nobody has met */
static enum tr_guard guarding[WORKERS_MAX];
static bool asleep[WORKERS_MAX];
static bool searching[WORKERS_MAX];
static unsigned claims, paid;

static void begin(void)
{
    tr_idle_init(&idle, workers, 1);
    queue = claims = paid = 0;
    hogs_queued = hogs;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        local[i] = 0;
        woken[i] = asleep[i] = searching[i] = false;
        guarding[i] = TR_GUARD_NONE;
    }
}

static void wake_one(void)
{
    int index = tr_idle_claim(&idle);
    if (index < 0)
        return;
    claims++;
    explore_step();
    woken[index] = true;
    paid++;
    explore_wake(&woken[index]);
}

/* --- a worker, as in sched/worker.c --- */

static void stop_searching(unsigned self)
{
    bool was_last = searching[self] && tr_idle_search_end(&idle);
    searching[self] = false;
    explore_step();
    if ((was_last && queue > 0) || tr_idle_unguarded(&idle, self))
        wake_one();
}

/* An activation that pushes to its own queue and lasts for ever. There is no fence, so the push may be seen by others only
 * after the pusher's look at the words, unless that leads to a read-modify-write. */
static void run_hog(unsigned self)
{
    bool late = explore_choose(2);
    explore_step();
    if (!late)
        local[self]++;
    struct tr_idle_view view = tr_idle_read(&idle);
    explore_step();
    if (late)
        local[self]++;
    if (tr_idle_claimable(view) && tr_idle_guards(view) == 0)
        wake_one();
}

enum found { NOTHING, WORK, HOG };

static enum found take(unsigned self)
{
    explore_step();
    for (unsigned i = 0; i < workers; i++) {
        if (i != self && local[i] > 0) {
            local[i]--;
            return WORK;
        }
    }
    if (queue == 0)
        return NOTHING;
    queue--;
    if (hogs_queued == 0)
        return WORK;
    hogs_queued--;
    return HOG;
}

static bool something_waits(unsigned self)
{
    explore_step();
    for (unsigned i = 0; i < workers; i++)
        if (i != self && local[i] > 0)
            return true;
    return queue > 0;
}

static void park(unsigned self)
{
    guarding[self] = tr_idle_sleep(&idle, self, searching[self], true, calm >> self & 1);
    bool get_up = something_waits(self);
    if (!get_up) {
        explore_step();
        asleep[self] = true;
        if (!woken[self])
            explore_sleep(&woken[self]);
        asleep[self] = woken[self] = false;
    }
    bool claimed = tr_idle_rise(&idle, self, guarding[self], get_up);
    guarding[self] = TR_GUARD_NONE;
    searching[self] = claimed || get_up;
}

static void worker(unsigned self)
{
    for (;;) {
        enum found found = take(self);
        if (found == NOTHING && !searching[self] && (searching[self] = tr_idle_search_begin(&idle)))
            found = take(self);
        if (found == NOTHING) {
            park(self);
            continue;
        }
        stop_searching(self);
        if (found == HOG) {
            run_hog(self);
            return;
        }
    }
}

/* A thread from outside. */
static void pusher(unsigned index)
{
    (void)index;
    explore_step();
    queue++;
    if (tr_idle_claimable(tr_idle_read(&idle)))
        wake_one();
}

/* --- what must hold when nobody can go on --- */

static bool nothing_is_forgotten(void)
{
    unsigned waiting = 0, stuck = 0, guards = 0;
    for (unsigned i = 0; i < workers; i++) {
        waiting += local[i];
        stuck += explore_ended(i);
        guards += asleep[i] && guarding[i] != TR_GUARD_NONE;
    }
    judging = true;
    struct tr_idle_view view = tr_idle_read(&idle);
    judging = false;
    if (claims != paid || tr_idle_searching(view) != 0)
        return false;
    return stuck == workers || guards > 0 || (waiting == 0 && queue == 0);
}

static unsigned long explored(void (*const bodies[])(unsigned), unsigned count, unsigned preemptions)
{
    unsigned long runs = explore(bodies, count, preemptions, begin, nothing_is_forgotten);
    printf("%u workers, calm %u, %u hogs: %lu runs\n", workers, calm, hogs, runs);
    return runs;
}

Test(idle_model, what_two_threads_push_from_outside_is_run, .disabled = SANITIZED, .timeout = 120)
{
    workers = 2;
    cr_assert_gt(explored((void (*const[])(unsigned)){worker, worker, pusher, pusher}, 4, 2), 1000ul);
}

Test(idle_model, what_waits_behind_an_endless_activation_is_found, .disabled = SANITIZED, .timeout = 120)
{
    workers = 2;
    hogs = 1;
    for (calm = 0; calm < 4; calm++)
        cr_assert_gt(explored((void (*const[])(unsigned)){worker, worker, pusher}, 3, 2), 1000ul);
}

Test(idle_model, three_workers_of_either_sort_keep_a_guard, .disabled = SANITIZED, .timeout = 120)
{
    workers = 3;
    hogs = 1;
    for (calm = 0; calm < 8; calm++)
        cr_assert_gt(explored((void (*const[])(unsigned)){worker, worker, worker, pusher}, 4, 1), 500ul);
}
