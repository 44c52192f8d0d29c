/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/worker.h"

#include <sched.h>
#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/count.h"
#include "sched/pool_state.h"
#include "sched/schedule.h"
#include "sched/steal.h"

/* The life of a worker:
 *
 *   next        LIFO slot, run queue, common queue, own I/O            -> run, and what comes into the LIFO slot, again
 *     nothing   search: others' run queues, common queue, own I/O,
 *               for the spin budget; last their stale LIFO slots       -> run
 *     nothing   park: announce it, look at everything once more, sleep -> again
 *
 * Whom to wake, and when. A wake is dear (sched/pace.h), so nobody is woken per runnable:
 *   - A local push or a delivered batch wakes a sleeper only if nobody searches and either the backlog in the run queue
 *     is worth it (tr_pace_worth) or the pool has no guard, so that nothing ever waits behind a long activation for
 *     longer than TR_GUARD_NS. The LIFO slot does not count as backlog: its owner runs it next.
 *   - The backlog is judged at each push to the run queue, after each batch from poll or wait, and at each pace sample.
 *   - What a foreign thread pushes wakes a sleeper whenever nobody searches: it cannot know that any worker is awake.
 *   - Who gets work after a search or a sleep, and leaves neither a searcher nor a guard while others are awake, wakes
 *     one: what waits behind those others' activations must not depend on how long this one takes.
 *   - Who takes from the common queue and leaves something there wakes one more; so does the last searcher that finds
 *     work while the common queue is not empty.
 * The words that make this safe are in sched/idle.c and sched/inject.c.
 *
 * worker->tick and worker->stats: one writer, the owner, by plain stores; readers take what they get, no order implied.
 *
 * worker->tokens: others add 1 after the wake they owed (release), the owner reads it once, before it detaches
 *   (acquire). Edge: what a waker did with this worker's I/O state happens before detach frees it. */

_Static_assert(offsetof(struct tr_worker, user) == 0, "tr_worker_user finds it there");
_Static_assert((TR_TURN_RUNS & (TR_TURN_RUNS - 1)) == 0, "ticks are counted by a mask");
_Static_assert((TR_CHAIN_RUNS & (TR_CHAIN_RUNS - 1)) == 0 && TR_CHAIN_RUNS % TR_TURN_RUNS == 0, "so are chains");

static _Thread_local struct tr_worker *self __attribute__((tls_model("initial-exec")));

void tr_worker_enter(struct tr_worker *worker)
{
    self = worker;
}

struct tr_worker *tr_worker_self(void)
{
    return self;
}

void tr_worker_init(struct tr_worker *worker, struct tr_pool *pool, unsigned index)
{
    worker->pool = pool;
    worker->index = index;
    worker->outside_after = TR_OUTSIDE_EVERY;
    tr_pace_init(&worker->pace);
    tr_spin_init(&worker->spin, pool->options.spin_ns);
    tr_runq_init(&worker->runq, pool->asymmetric);
}

void tr_worker_check(const struct tr_worker *worker)
{
    TR_ASSERT(worker->pool->workers + worker->index == worker);
    TR_ASSERT(!worker->delivering);
    TR_ASSERT(worker->outside_tick <= worker->tick && worker->sampled_tick <= worker->tick);
    TR_ASSERT(!worker->searching || worker->dry);
    tr_runq_check(&worker->runq);
}

static uint64_t now(const struct tr_worker *worker)
{
    return worker->pool->hooks.now(worker->pool->hooks.arg);
}

static bool stopping(const struct tr_pool *pool)
{
    return ck_pr_load_uint(&pool->stop) != 0;
}

/* --- waking others ------------------------------------------------------------------------------------------------ */

static void pay_token(struct tr_worker *sleeper)
{
    sleeper->pool->hooks.wake(sleeper->io);
    ck_pr_fence_release();
    ck_pr_inc_64(&sleeper->tokens); /* the last touch: the sleeper may detach now */
}

bool tr_worker_wake_one(struct tr_pool *pool)
{
    int index = tr_idle_claim(&pool->idle);
    if (index < 0)
        return false;
    struct tr_worker *waker = self;
    if (waker)
        tr_count(&waker->stats.wakes, 1);
    pay_token(&pool->workers[index]);
    return true;
}

void tr_worker_wake_all(struct tr_pool *pool)
{
    uint64_t sleepers = tr_idle_claim_all(&pool->idle);
    for (; sleepers; sleepers &= sleepers - 1)
        pay_token(&pool->workers[__builtin_ctzll(sleepers)]);
}

/* Something waits in this worker's queues: is another worker worth waking? No fence: see the idle protocol. */
static void seek_help(struct tr_worker *worker)
{
    struct tr_idle_view view = tr_idle_read(&worker->pool->idle);
    if (!tr_idle_claimable(view) || worker->delivering)
        return;
    if (tr_idle_guards(view) > 0 && !tr_pace_worth(&worker->pace, tr_runq_len(&worker->runq)))
        return;
    tr_worker_wake_one(worker->pool);
}

/* --- pushing ------------------------------------------------------------------------------------------------------ */

/* The run queue is full: its older half goes to the common queue, then r, so that all keep their order. */
static void overflow(struct tr_worker *worker, struct tr_runnable *r)
{
    struct tr_runnable *shed[TR_RUNQ_SIZE / 2];
    unsigned n = tr_runq_shed(&worker->runq, shed);
    for (unsigned i = 0; i < n; i++)
        tr_inject_push(&worker->pool->inject, shed[i]);
    tr_count(&worker->stats.overflows, 1);
    bool pushed = tr_runq_push(&worker->runq, r);
    TR_ASSERT(pushed);
}

static void push(struct tr_worker *worker, struct tr_runnable *r)
{
    if (TR_UNLIKELY(!tr_runq_push(&worker->runq, r)))
        overflow(worker, r);
}

void tr_worker_requeue(struct tr_worker *worker, struct tr_runnable *r)
{
    push(worker, r);
    seek_help(worker);
}

int tr_worker_scheduled(struct tr_worker *worker, struct tr_runnable *displaced)
{
    if (displaced)
        push(worker, displaced);
    seek_help(worker);
    return 0;
}

void tr_worker_schedule(struct tr_worker *worker, struct tr_runnable *r)
{
    tr_schedule_here(worker->pool, worker, r);
}

void tr_worker_schedule_born(struct tr_worker *worker, struct tr_runnable *r)
{
    if (TR_LIKELY(tr_runq_len(&worker->runq) < TR_BORN_ROOM)) {
        tr_worker_schedule(worker, r);
        return;
    }
    tr_inject_push_born(&worker->pool->inject, r);
    seek_help(worker);
}

/* --- finding work ------------------------------------------------------------------------------------------------- */

static struct tr_runnable *pop_local(struct tr_worker *worker)
{
    struct tr_runnable *r;
    if (worker->tick % TR_TURN_RUNS != 0 && (r = tr_runq_take_lifo(&worker->runq)) != NULL)
        return r;
    r = tr_runq_pop(&worker->runq);
    return r ? r : tr_runq_take_lifo(&worker->runq);
}

/* Takes up to max from the common queue: the first is returned, the rest goes into the run queue. */
static struct tr_runnable *take_injected(struct tr_worker *worker, unsigned max)
{
    struct tr_pool *pool = worker->pool;
    unsigned taken;
    if (!tr_inject_pending(&pool->inject))
        return NULL;
    struct tr_runnable *first = tr_inject_take(&pool->inject, pool->options.workers, max, now(worker), &taken);
    if (!first)
        return NULL;
    for (struct tr_runnable *r = tr_inject_next(first), *next; r; r = next) {
        next = tr_inject_next(r); /* before the push: a thief may run r at once */
        push(worker, r);
    }
    tr_count(&worker->stats.injected, taken);
    if (tr_inject_pending(&pool->inject) && tr_idle_claimable(tr_idle_read(&pool->idle)))
        tr_worker_wake_one(pool);
    return first;
}

static void poll(struct tr_worker *worker)
{
    worker->delivering = true;
    unsigned delivered = worker->pool->hooks.poll(worker->io);
    worker->delivering = false;
    if (delivered > 0 && tr_runq_len(&worker->runq) > 1)
        seek_help(worker); /* the first of the batch is run here and now, the others wait */
}

/* How many ticks the common queue can wait. Its share of the ticks is that of its runnables among all that wait, as far
 * as this worker's part goes: else, after an overflow, those that were moved there would wait far longer than those
 * that stayed. */
static unsigned ticks_until_outside(const struct tr_worker *worker)
{
    const struct tr_pool *pool = worker->pool;
    unsigned theirs = tr_inject_backlog(&pool->inject) / pool->options.workers;
    if (theirs == 0)
        return TR_OUTSIDE_EVERY;
    unsigned ticks = 1 + tr_runq_len(&worker->runq) / theirs;
    return ticks < TR_INJECT_EVERY ? TR_INJECT_EVERY : ticks > TR_OUTSIDE_EVERY ? TR_OUTSIDE_EVERY : ticks;
}

/* Once in TR_OUTSIDE_EVERY ticks the world outside comes first, or a worker with endless local work would starve it. */
static struct tr_runnable *look_outside_first(struct tr_worker *worker)
{
    if (worker->tick - worker->polled_tick >= TR_OUTSIDE_EVERY) {
        worker->polled_tick = worker->tick;
        poll(worker);
    }
    struct tr_runnable *r = take_injected(worker, 1);
    worker->outside_tick = worker->tick;
    worker->outside_after = ticks_until_outside(worker);
    return r;
}

static struct tr_runnable *next(struct tr_worker *worker)
{
    struct tr_runnable *r;
    worker->outside_was_first = !worker->outside_was_first && tr_worker_outside_due(worker);
    if (worker->outside_was_first && (r = look_outside_first(worker)) != NULL)
        return r;
    if ((r = pop_local(worker)) != NULL)
        return r;
    if ((r = take_injected(worker, TR_INJECT_TAKE_MAX)) != NULL)
        return r;
    poll(worker);
    return pop_local(worker);
}

/* --- searching ---------------------------------------------------------------------------------------------------- */

static struct tr_runnable *look_around(struct tr_worker *worker, uint64_t now_ns)
{
    struct tr_runnable *r = tr_steal_from_rings(worker, now_ns);
    if (r)
        return r;
    if ((r = take_injected(worker, TR_INJECT_TAKE_MAX)) != NULL)
        return r;
    if (!worker->pool->hooks.pending(worker->io))
        return NULL;
    poll(worker);
    return pop_local(worker);
}

/* About a microsecond between two looks, so that a searcher does not take the lines it looks at from their owners. */
static void pause_between_looks(void)
{
    for (int i = 0; i < 32; i++)
        ck_pr_stall();
}

static void run_dry(struct tr_worker *worker, uint64_t now_ns)
{
    if (worker->dry)
        return;
    worker->dry = true;
    worker->dry_since_ns = now_ns;
    tr_pace_pause(&worker->pace, now_ns);
}

/* Looks around again and again until until_ns, at least once; *now_ns follows the clock. */
static struct tr_runnable *look_until(struct tr_worker *worker, uint64_t until_ns, uint64_t *now_ns)
{
    for (;;) {
        struct tr_runnable *r = look_around(worker, *now_ns);
        if (r || *now_ns >= until_ns || stopping(worker->pool))
            return r;
        pause_between_looks();
        *now_ns = now(worker);
    }
}

static struct tr_runnable *search(struct tr_worker *worker)
{
    uint64_t now_ns = now(worker);
    bool fresh = false;
    run_dry(worker, now_ns);
    if (!worker->searching && !tr_idle_search_begin(&worker->pool->idle))
        return NULL;
    worker->searching = true;
    struct tr_runnable *r = look_until(worker, now_ns + worker->spin.budget_ns, &now_ns);
    if (!r)
        r = tr_steal_from_slots(worker, now_ns, &fresh);
    if (r || !fresh)
        return r;
    /* Something waits in a LIFO slot. Its owner may be about to run it, or be stuck: a little patience tells. */
    r = look_until(worker, now_ns + TR_LIFO_STALE_NS, &now_ns);
    return r ? r : tr_steal_from_slots(worker, now_ns, &fresh);
}

/* Work was found after a dry time: it is time to search no more, and to see whether more workers are needed. */
static void end_dryness(struct tr_worker *worker)
{
    struct tr_pool *pool = worker->pool;
    uint64_t now_ns = now(worker);
    tr_spin_learn(&worker->spin, now_ns - worker->dry_since_ns);
    tr_pace_resume(&worker->pace, now_ns);
    worker->dry = false;
    bool was_last = worker->searching && tr_idle_search_end(&pool->idle);
    worker->searching = false;
    if ((was_last && tr_inject_pending(&pool->inject)) || tr_idle_unguarded(&pool->idle, worker->index))
        tr_worker_wake_one(pool);
    else if (tr_runq_len(&worker->runq) > 0)
        seek_help(worker);
}

/* --- sleeping ----------------------------------------------------------------------------------------------------- */

/* Has the pool done nothing for TR_GUARD_ROUNDS turns of this worker? */
static bool pool_rests(struct tr_worker *worker)
{
    const struct tr_pool *pool = worker->pool;
    uint64_t activity = 0;
    for (unsigned i = 0; i < pool->threads; i++)
        activity += ck_pr_load_64(&pool->workers[i].tick);
    if (activity != worker->activity) {
        worker->activity = activity;
        worker->quiet_rounds = 0;
        return false;
    }
    return ++worker->quiet_rounds > TR_GUARD_ROUNDS;
}

/* The second look, after the announcement. Own I/O is not asked: wait returns at once if something is there. */
static bool must_get_up(struct tr_worker *worker)
{
    struct tr_pool *pool = worker->pool;
    if (stopping(pool) || tr_inject_pending(&pool->inject))
        return true;
    uint64_t now_ns = now(worker);
    for (unsigned i = 0; i < pool->threads; i++)
        if (i != worker->index && tr_steal_worth(worker, &pool->workers[i], now_ns))
            return true;
    return false;
}

static void sleep_until_something_happens(struct tr_worker *worker, bool guard)
{
    tr_count(&worker->stats.parks, 1);
    worker->delivering = true;
    worker->pool->hooks.wait(worker->io, guard ? TR_GUARD_NS : TR_WAIT_FOREVER);
    worker->delivering = false;
}

static void park(struct tr_worker *worker)
{
    struct tr_idle *idle = &worker->pool->idle;
    TR_ASSERT(tr_runq_len(&worker->runq) == 0 && !tr_runq_has_lifo(&worker->runq));
    bool calm = !worker->pool->hooks.expects(worker->io);
    enum tr_guard guard = tr_idle_sleep(idle, worker->index, worker->searching, pool_rests(worker), calm);
    bool get_up = must_get_up(worker);
    if (!get_up)
        sleep_until_something_happens(worker, guard != TR_GUARD_NONE);
    bool claimed = tr_idle_rise(idle, worker->index, guard, get_up);
    worker->claims += claimed;
    worker->searching = claimed || get_up;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* Is it time to see how long activations take? */
static void sample(struct tr_worker *worker)
{
    uint64_t runs = worker->tick - worker->sampled_tick;
    if (!tr_pace_due(&worker->pace, runs))
        return;
    worker->sampled_tick = worker->tick;
    tr_pace_sample(&worker->pace, now(worker), runs);
    if (tr_runq_len(&worker->runq) > 1)
        seek_help(worker);
}

/* Nobody claims this worker any more, but a claimant may still be on its way with the token. */
static void collect_tokens(struct tr_worker *worker)
{
    while (ck_pr_load_64(&worker->tokens) != worker->claims)
        sched_yield();
    ck_pr_fence_acquire();
}

void tr_worker_turn(struct tr_worker *worker)
{
    struct tr_runnable *r = next(worker);
    if (!r)
        r = search(worker);
    if (!r) {
        park(worker);
        return;
    }
    if (worker->dry)
        end_dryness(worker);
    tr_count(&worker->tick, 1);
    do
        worker->pool->options.run(worker->pool->options.arg, worker, r);
    while ((r = tr_schedule_next(worker)) != NULL);
    sample(worker);
}

void tr_worker_take_turn(struct tr_worker *worker)
{
    const struct tr_pool_options *options = &worker->pool->options;
    if (options->turn)
        options->turn(options->arg, worker);
    else
        tr_worker_turn(worker);
}

static void end_search(struct tr_worker *worker)
{
    if (worker->searching)
        tr_idle_search_end(&worker->pool->idle);
    worker->searching = false;
}

void tr_worker_retire(struct tr_worker *worker)
{
    run_dry(worker, now(worker));
    end_search(worker);
}

void tr_worker_finish(struct tr_worker *worker)
{
    end_search(worker);
    tr_worker_check(worker);
    collect_tokens(worker);
}

void tr_worker_loop(struct tr_worker *worker)
{
    while (!stopping(worker->pool))
        tr_worker_take_turn(worker);
    tr_worker_finish(worker);
}

void tr_worker_getting_up(const struct tr_worker *worker)
{
    const struct tr_pool *pool = worker->pool;
    __builtin_prefetch(&pool->idle, 1);
    __builtin_prefetch(&pool->inject.pushed, 1);
    __builtin_prefetch(&pool->inject.taker, 1);
    __builtin_prefetch(&worker->tick, 1);
    __builtin_prefetch(&worker->runq);
}

/* --- what others may ask ------------------------------------------------------------------------------------------ */

struct tr_pool *tr_worker_pool(const struct tr_worker *worker)
{
    return worker->pool;
}

unsigned tr_worker_index(const struct tr_worker *worker)
{
    return worker->index;
}

void *tr_worker_io(const struct tr_worker *worker)
{
    return worker->io;
}

void tr_worker_set_user(struct tr_worker *worker, void *user)
{
    worker->user = user;
}
