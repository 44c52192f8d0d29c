/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/steal.h"

#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/pool_state.h"

static void count_steals(struct tr_worker *thief, unsigned stolen)
{
    ck_pr_store_64(&thief->stats.steals, thief->stats.steals + stolen);
}

/* Where this round of victims begins. */
static unsigned random_start(struct tr_worker *thief)
{
    return (unsigned)(thief->pool->hooks.random(thief->io) % thief->pool->threads);
}

/* Has the victim been inside the same activation since TR_LIFO_STALE_NS ago, as far as this thief saw? */
static bool is_stuck(struct tr_victim *noted, const struct tr_worker *victim, uint64_t now_ns)
{
    uint64_t tick = ck_pr_load_64(&victim->tick);
    if (noted->tick != tick)
        *noted = (struct tr_victim){.tick = tick, .since_ns = now_ns};
    return now_ns - noted->since_ns >= TR_LIFO_STALE_NS;
}

bool tr_steal_worth(struct tr_worker *thief, struct tr_worker *victim, uint64_t now_ns)
{
    unsigned waiting = tr_runq_len(&victim->runq);
    if (waiting == 0)
        return false;
    bool stuck = is_stuck(&thief->victims[victim->index], victim, now_ns);
    return stuck || waiting * tr_pace_cost(&victim->pace) >= TR_STEAL_WORTH_NS;
}

static struct tr_runnable *rob_ring(struct tr_worker *thief, struct tr_worker *victim)
{
    struct tr_runnable *loot[TR_STEAL_MAX];
    unsigned stolen = tr_runq_steal(&victim->runq, loot);
    if (stolen == 0)
        return NULL;
    for (unsigned i = 1; i < stolen; i++) {
        bool pushed = tr_runq_push(&thief->runq, loot[i]);
        TR_ASSERT(pushed); /* a thief's own run queue is empty */
    }
    count_steals(thief, stolen);
    return loot[0];
}

struct tr_runnable *tr_steal_from_rings(struct tr_worker *thief, uint64_t now_ns)
{
    struct tr_pool *pool = thief->pool;
    const unsigned workers = pool->threads;
    for (unsigned i = 0, at = random_start(thief); i < workers; i++, at = at + 1 < workers ? at + 1 : 0) {
        if (at == thief->index)
            continue;
        if (!tr_steal_worth(thief, &pool->workers[at], now_ns))
            continue;
        struct tr_runnable *r = rob_ring(thief, &pool->workers[at]);
        if (r)
            return r;
    }
    return NULL;
}

struct tr_runnable *tr_steal_from_slots(struct tr_worker *thief, uint64_t now_ns, bool *fresh)
{
    struct tr_pool *pool = thief->pool;
    const unsigned workers = pool->threads;
    *fresh = false;
    for (unsigned i = 0, at = random_start(thief); i < workers; i++, at = at + 1 < workers ? at + 1 : 0) {
        struct tr_worker *victim = &pool->workers[at];
        if (at == thief->index || !tr_runq_has_lifo(&victim->runq))
            continue;
        if (!is_stuck(&thief->victims[at], victim, now_ns)) {
            *fresh = true;
            continue;
        }
        struct tr_runnable *r = tr_runq_rob_lifo(&victim->runq);
        if (r) {
            count_steals(thief, 1);
            return r;
        }
    }
    return NULL;
}
