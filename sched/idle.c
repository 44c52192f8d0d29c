/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/idle.h"

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/pool.h"

/* Idle protocol. One word:
 *   bits  0..55  sleepers: worker i announced that it sleeps and nobody claimed it
 *   bits 56..61  how many workers search
 *   bits 62..63  how many sleepers stand guard, that is, sleep with a time-out
 * A worker is awake, searching or asleep. It is never both in the mask and in the count, so the count stays below 64.
 *   B  worker    CAS count + 1                        awake -> searching   tr_idle_search_begin
 *   E  worker    CAS count - 1                        searching -> awake   tr_idle_search_end
 *   S  worker    CAS own bit on, count - 1 if it      -> asleep            tr_idle_sleep     release; then a full fence
 *                searched, guards + 1 if needed
 *   C  any       CAS a bit off, count + 1             asleep -> searching  tr_idle_claim     release
 *   R  worker    CAS own bit off (if still on),       asleep -> awake or   tr_idle_rise      acquire
 *                guards - 1 if it stood guard             searching
 * Tokens: each C is followed by exactly one token: hooks->wake, then tokens + 1 (sched/worker.c). The sleeper learns in
 *   R that it was claimed, and counts it. Wakes are sticky and a woken worker looks at everything, so a token that
 *   arrives late costs one empty turn and can never be missed: it comes after C, and C after the S that it answers.
 *   Before a worker detaches it waits until tokens equal claims; thereafter nobody calls its wake.
 * No wake-up is lost, for work in the common queue and for the stop flag. Their writer pushes, passes a full fence and
 *   then looks at the word; the parker does S, passes a full fence and then looks at them. That is Dekker's: either the
 *   writer sees the bit of S and does C, or the parker sees the push. If the writer saw a searcher instead and did
 *   nothing, that searcher leaves by E, after which it looks again if it was the last, or by S, after which it always
 *   looks again.
 * Work in a run queue is pushed WITHOUT a fence (it costs four times the push): the owner's look at the word may be too
 *   early and miss an S. It then looks again after its next activations; and should one of those take long, a guard,
 *   asleep with a time-out while anybody is awake, finds what waits behind it. Thus the rule for a local push: if there
 *   are sleepers, no searcher and no guard, wake one, whatever the amount of work; it will search and then stand guard.
   The push may also rely on a searcher or a guard that then gets work of its own, and be stuck in it. So whoever leaves
   searching (E) or sleep (R) with work to run looks at the word again (tr_idle_unguarded): if nobody searches or guards,
   some sleep, and another worker is awake, it wakes one. Of several who leave at once, the one whose step comes last in
   the word's order sees what all have left. Alone awake it need not: its own pushes follow the rule above.
 * No guard is needed while all sleep: then all run queues are empty (S asserts it) and only a wake or a completion
 *   changes that. tr_idle_sleep decides it inside the CAS, so the last one to lie down sees the full mask. A worker
 *   that gets up does R first, so its later looks at the word are not older than the mask that let the others sleep
 *   unguarded.
 * Checked by: tests/sched/test_idle.c, tests/sched/test_pool.c, tests/stress/stress_sched.c. */

#define SLEEPERS (((uint64_t)1 << TR_WORKERS_MAX) - 1)
#define SEARCHER ((uint64_t)1 << 56)
#define SEARCHERS_MASK ((uint64_t)63 << 56)
#define GUARD ((uint64_t)1 << 62)

_Static_assert(TR_WORKERS_MAX <= 56, "a bit per worker, beside the two counts");
_Static_assert(TR_GUARDS_MAX <= 3, "two bits count the guards");

void tr_idle_init(struct tr_idle *idle, unsigned workers)
{
    TR_ASSERT(workers > 0 && workers <= TR_WORKERS_MAX);
    idle->word = 0;
    idle->workers = workers;
}

static void check_word(const struct tr_idle *idle, uint64_t word)
{
    unsigned asleep = (unsigned)__builtin_popcountll(tr_idle_sleepers(word));
    TR_ASSERT((tr_idle_sleepers(word) >> idle->workers) == 0);
    TR_ASSERT(asleep + tr_idle_searching(word) <= idle->workers);
    TR_ASSERT(tr_idle_guards(word) <= TR_GUARDS_MAX);
}

void tr_idle_check(const struct tr_idle *idle)
{
    check_word(idle, tr_idle_read(idle));
}

uint64_t tr_idle_read(const struct tr_idle *idle)
{
    return ck_pr_load_64(&idle->word);
}

uint64_t tr_idle_sleepers(uint64_t word)
{
    return word & SLEEPERS;
}

unsigned tr_idle_searching(uint64_t word)
{
    return (unsigned)((word & SEARCHERS_MASK) / SEARCHER);
}

unsigned tr_idle_guards(uint64_t word)
{
    return (unsigned)(word / GUARD);
}

bool tr_idle_claimable(uint64_t word)
{
    return tr_idle_sleepers(word) != 0 && (word & SEARCHERS_MASK) == 0;
}

bool tr_idle_unguarded(const struct tr_idle *idle, uint64_t word, unsigned index)
{
    const uint64_t everybody = ((uint64_t)1 << idle->workers) - 1;
    return tr_idle_claimable(word) && tr_idle_guards(word) == 0 &&
           (tr_idle_sleepers(word) | (uint64_t)1 << index) != everybody;
}

/* The one place that moves the word. */
static bool move(struct tr_idle *idle, uint64_t *word, uint64_t to)
{
    check_word(idle, to);
    return ck_pr_cas_64_value(&idle->word, *word, to, word);
}

bool tr_idle_search_begin(struct tr_idle *idle)
{
    uint64_t word = tr_idle_read(idle);
    do {
        if (2 * tr_idle_searching(word) >= idle->workers)
            return false;
    } while (!move(idle, &word, word + SEARCHER)); /* B */
    ck_pr_fence_atomic_load();
    return true;
}

bool tr_idle_search_end(struct tr_idle *idle)
{
    uint64_t word = tr_idle_read(idle);
    do
        TR_ASSERT(tr_idle_searching(word) > 0);
    while (!move(idle, &word, word - SEARCHER)); /* E */
    ck_pr_fence_atomic_load();
    return tr_idle_searching(word) == 1;
}

static bool all_others_sleep(const struct tr_idle *idle, uint64_t word, uint64_t own)
{
    return (tr_idle_sleepers(word) | own) == (((uint64_t)1 << idle->workers) - 1);
}

bool tr_idle_sleep(struct tr_idle *idle, unsigned index, bool searching, bool rested)
{
    const uint64_t own = (uint64_t)1 << index;
    uint64_t word = tr_idle_read(idle), to;
    bool guard;
    ck_pr_fence_release();
    do {
        TR_ASSERT((word & own) == 0);
        guard =
            idle->workers > 1 && tr_idle_guards(word) < TR_GUARDS_MAX && !(rested && all_others_sleep(idle, word, own));
        to = (word | own) - (searching ? SEARCHER : 0) + (guard ? GUARD : 0);
    } while (!move(idle, &word, to)); /* S */
    ck_pr_fence_atomic_load();
    return guard;
}

bool tr_idle_rise(struct tr_idle *idle, unsigned index, bool guard, bool search)
{
    const uint64_t own = (uint64_t)1 << index;
    uint64_t word = tr_idle_read(idle), to;
    bool claimed;
    do {
        claimed = (word & own) == 0;
        to = (word & ~own) - (guard ? GUARD : 0) + (search && !claimed ? SEARCHER : 0);
    } while (!move(idle, &word, to)); /* R */
    ck_pr_fence_atomic_load();
    ck_pr_fence_acquire();
    return claimed;
}

int tr_idle_claim(struct tr_idle *idle)
{
    ck_pr_fence_release(); /* the caller's push travels with C to R */
    uint64_t word = tr_idle_read(idle), lowest;
    do {
        if (!tr_idle_claimable(word))
            return -1;
        /* The lowest index: the others sleep on, and what little work there is stays in the same caches. */
        lowest = word & -word;
    } while (!move(idle, &word, (word & ~lowest) + SEARCHER)); /* C */
    return __builtin_ctzll(lowest);
}

uint64_t tr_idle_claim_all(struct tr_idle *idle)
{
    ck_pr_fence_release();
    uint64_t word = tr_idle_read(idle), sleepers;
    do {
        sleepers = tr_idle_sleepers(word);
        if (sleepers == 0)
            return 0;
    } while (!move(idle, &word, (word & ~sleepers) + (uint64_t)__builtin_popcountll(sleepers) * SEARCHER)); /* C */
    return sleepers;
}
