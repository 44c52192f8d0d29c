/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/idle.h"

#include "sched/base/assert.h"
#include "sched/pool.h"

/* Idle protocol. Three words, on one cache line with a fourth:
 *   sleepers  bit i: worker i announced that it sleeps, and nobody claimed it
 *   counts    lower half: how many search; upper half: how many sleepers stand guard, that is, sleep with a time-out:
 *             16 bits for the restless, 16 for the calm
 *   members   bit i: worker i takes part. Constant, but for spares (sched/spare.c)
 *   dear      a hint, which nothing relies on: whom C2 takes last. A thread that sleeps with a time-out, or in the ring,
 *             takes longer to wake (io/park.h; docs/decisions/037-how-a-worker-parks.md)
 * A worker is awake, searching or asleep. Its steps, each on one word at a time, in the order given:
 *   B  worker  counts: searching + 1                    awake -> searching   tr_idle_search_begin
 *   E  worker  counts: searching - 1                    searching -> awake   tr_idle_search_end
 *   S  worker  1 counts: searching - 1 if it searched,
 *                guards + 1 if one is needed            searching or awake
 *              2 sleepers: own bit on                   -> asleep            tr_idle_sleep     release
 *              3 counts: guards + 1, if one is needed by
 *                what 2 saw and 1 did not do it                              then a full fence
 *   C  any     1 counts: searching 0 -> 1
 *              2 sleepers: one bit off                  asleep -> searching  tr_idle_claim     release
 *              3 counts: searching - 1, only if 2 found
 *                no bit; and C starts anew
 *   R  worker  1 sleepers: own bit off, if still on     asleep -> awake or   tr_idle_rise      acquire
 *              2 counts: guards - 1 if it stood guard,    searching
 *                searching + 1 if it rises to search and was not claimed
 *   J, L  spare  members: own bit on, off               out <-> awake        tr_idle_join, tr_idle_leave
 * Between C1 and C2 searching counts a claimant instead of a worker. Whoever relies on a searcher then relies on that
 *   claimant: it either passes its place on to the sleeper that it claims, or leaves by C3 and does what a searcher
 *   that leaves must do: it looks again, and claims if now somebody sleeps and nobody searches.
 *   So searching is 0 only if no worker searches and no claim is underway, and a count never falls below 0.
 * Tokens: each C2 that took a bit is followed by exactly one token: hooks->wake, then tokens + 1 (sched/worker.c). The
 *   sleeper learns in R1 that it was claimed, and counts it. Wakes are sticky and a woken worker looks at everything,
 *   so a token that arrives late costs one empty turn and can never be missed: it comes after C2, and C2 after the S2
 *   that it answers. Before a worker detaches it waits until tokens equal claims; thereafter nobody calls its wake.
 * No wake-up is lost, for work in the common queue and for the stop flag. Their writer pushes, passes a full fence and
 *   then looks at both words; the parker does S, passes a full fence and then looks at them. That is Dekker's, on each
 *   word by itself, so it does not matter in which order the writer reads the two:
 *     sleepers: either the writer sees the bit of S2 and goes on to C, or the parker sees the push;
 *     counts: a writer that sees a searcher does nothing; that searcher's next step in counts comes later. It leaves by
 *     E, after which it looks again if it was the last, or by S1, after which it always looks again, or was a claimant
 *     (C3). If it was not the last, one of those that it leaves behind is, and its step comes later still.
 * Work in a run queue is pushed WITHOUT a fence (it costs four times the push): the owner's look at the words may be
 *   too early and miss an S. It then looks again after its next activations; and should one of those take long, a
 *   guard, asleep with a time-out while anybody is awake, finds what waits behind it. Thus the rule for a local push:
 *   if there are sleepers, no searcher and no guard, wake one, whatever the amount of work; it will search and then
 *   stand guard. The push may also rely on a searcher or a guard that then gets work of its own, and be stuck in it. So
 *   whoever leaves searching (E) or sleep (R) with work to run looks at the words again (tr_idle_unguarded): if nobody
 *   searches or guards, some sleep, and another worker is awake, it wakes one. Alone awake it need not: its own pushes
 *   follow the rule above. Of several who leave at once, the one whose step comes last in counts sees what all have
 *   left. Whoever falls asleep after its look at sleepers sees in S2 that not all sleep, and guards; if in S3 there are
 *   guards enough, these leave later, and will see its bit. That is what S3 is for: in S1 it may have counted on a
 *   guard that has gone since.
 * Which sleepers guard does not matter to safety, only that there is one wherever S looks for one and finds none. It is
 *   a matter of wakes that are saved: a restless guard gets up for what it expects, and leaves its sleepers unguarded
 *   meanwhile; so there may be two of them, unless a calm one guards. And of two calm workers one sleeps without a
 *   time-out, and is claimed first.
 * No guard is needed while all sleep: then all run queues are empty (S asserts it) and only a wake or a completion
 *   changes that. Whether all sleep is what S2 itself saw, so the last one to lie down sees all bits. One that gets up
 *   does R1 first: it is later in sleepers than that S2, so its later looks see both the sleeper's bit and, by the edge
 *   S2 -> R1, that its S1 left no searcher behind. This is why S leaves counts BEFORE it turns its bit on: the other
 *   way round, one that got up in between could rely on the searcher that S1 is about to withdraw, with nobody on
 *   guard. Should S1 wrongly think that others are awake, there is one guard too many, until its next turn.
 *   A spare that joins (J, a full fence) while another one lies down (S2, a full fence, members): either S2's sleeper
 *   sees the member and guards, or the spare's later looks see the sleeper.
 * Checked by: an exhaustive exploration of these steps (docs/decisions/021-two-idle-words.md) and one of this file
 *   (tests/sched/test_idle_model.c), tests/sched/test_idle.c, tests/sched/test_idle_steps.c, tests/sched/test_pool.c,
 *   tests/stress/stress_sched.c. */

#define SEARCHER ((uint64_t)1)
#define RESTLESS_GUARD ((uint64_t)1 << 32)
#define CALM_GUARD ((uint64_t)1 << 48)

_Static_assert(TR_WORKERS_MAX <= 64, "a bit per worker");

static uint64_t bit(unsigned index)
{
    return (uint64_t)1 << index;
}

void tr_idle_init(struct tr_idle *idle, unsigned workers, unsigned searchers_max)
{
    TR_ASSERT(workers > 0 && workers <= TR_WORKERS_MAX && searchers_max > 0);
    idle->sleepers = idle->counts = idle->dear = 0;
    idle->members = ~(uint64_t)0 >> (64 - workers);
    idle->searchers_max = searchers_max;
}

static unsigned calm_guards(struct tr_idle_view view)
{
    return (unsigned)(view.counts >> 48);
}

static uint64_t weight(enum tr_guard guard)
{
    return guard == TR_GUARD_CALM ? CALM_GUARD : guard == TR_GUARD_RESTLESS ? RESTLESS_GUARD : 0;
}

void tr_idle_check(const struct tr_idle *idle)
{
    struct tr_idle_view view = tr_idle_read(idle);
    TR_ASSERT(calm_guards(view) <= 1 && tr_idle_guards(view) <= TR_GUARDS_MAX + 1);
    TR_ASSERT(tr_idle_searching(view) < UINT32_MAX / 2); /* below 0 it would be more */
}

/* --- the places that move a word ---------------------------------------------------------------------------------- */

static bool move_counts(struct tr_idle *idle, struct tr_idle_view *view, uint64_t counts)
{
    return ck_pr_cas_64_value(&idle->counts, view->counts, counts, &view->counts);
}

/* Adds to counts, or takes away, what needs no decision. Returns the view before. */
static struct tr_idle_view add_counts(struct tr_idle *idle, uint64_t change)
{
    struct tr_idle_view before = {.sleepers = 0, .counts = ck_pr_faa_64(&idle->counts, change)};
    ck_pr_fence_atomic_load();
    return before;
}

/* Turns off those of `bits` that are on, and returns them. */
static uint64_t take_sleepers(struct tr_idle *idle, uint64_t bits)
{
    uint64_t sleepers = ck_pr_load_64(&idle->sleepers);
    while ((sleepers & bits) != 0 &&
           !ck_pr_cas_64_value(&idle->sleepers, sleepers, sleepers & ~bits, &sleepers)) /* C2, R1 */
        ;
    return sleepers & bits;
}

/* The lowest of those whose wake is cheap, or the lowest: the others sleep on, and what little work there is stays in
 * the same caches. */
static uint64_t best_of(const struct tr_idle *idle, uint64_t sleepers)
{
    uint64_t cheap = sleepers & ~ck_pr_load_64(&idle->dear);
    return cheap != 0 ? cheap & -cheap : sleepers & -sleepers;
}

/* Turns one bit off and returns it. 0: there was none. */
static uint64_t take_best(struct tr_idle *idle)
{
    uint64_t sleepers = ck_pr_load_64(&idle->sleepers), best;
    do
        best = best_of(idle, sleepers);
    while (sleepers != 0 && !ck_pr_cas_64_value(&idle->sleepers, sleepers, sleepers & ~best, &sleepers)); /* C2 */
    return best;
}

/* Turns the own bit on and returns what the word was. */
static uint64_t lie_down(struct tr_idle *idle, uint64_t own)
{
    uint64_t sleepers = ck_pr_load_64(&idle->sleepers);
    do
        TR_ASSERT((sleepers & own) == 0);
    while (!ck_pr_cas_64_value(&idle->sleepers, sleepers, sleepers | own, &sleepers)); /* S2 */
    ck_pr_fence_atomic_load();
    return sleepers;
}

/* --- a worker's own steps ----------------------------------------------------------------------------------------- */

bool tr_idle_search_begin(struct tr_idle *idle)
{
    struct tr_idle_view view = tr_idle_read(idle);
    do {
        if (tr_idle_searching(view) >= idle->searchers_max)
            return false;
    } while (!move_counts(idle, &view, view.counts + SEARCHER)); /* B */
    ck_pr_fence_atomic_load();
    return true;
}

bool tr_idle_search_end(struct tr_idle *idle)
{
    struct tr_idle_view before = add_counts(idle, -SEARCHER); /* E */
    TR_ASSERT(tr_idle_searching(before) > 0);
    return tr_idle_searching(before) == 1;
}

static bool all_others_sleep(const struct tr_idle *idle, uint64_t sleepers, uint64_t own)
{
    return (ck_pr_load_64(&idle->members) & ~(sleepers | own)) == 0;
}

/* A single worker has nobody to watch. */
static bool guard_needed(const struct tr_idle *idle, uint64_t sleepers, uint64_t own, bool rested)
{
    return ck_pr_load_64(&idle->members) != own && !(rested && all_others_sleep(idle, sleepers, own));
}

/* Would one more guard be of use? */
static bool guards_wanting(struct tr_idle_view view, bool calm)
{
    return calm_guards(view) == 0 && (calm || tr_idle_guards(view) < TR_GUARDS_MAX);
}

/* Moves counts by `change`, and joins the guards if `wanted` and if there are not enough. */
static enum tr_guard join_guards(struct tr_idle *idle, uint64_t change, bool wanted, bool calm)
{
    struct tr_idle_view view = tr_idle_read(idle);
    enum tr_guard guard;
    do {
        TR_ASSERT(change == 0 || tr_idle_searching(view) > 0);
        guard = !wanted || !guards_wanting(view, calm) ? TR_GUARD_NONE : calm ? TR_GUARD_CALM : TR_GUARD_RESTLESS;
    } while ((guard || change) && !move_counts(idle, &view, view.counts + change + weight(guard)));
    return guard;
}

enum tr_guard tr_idle_sleep(struct tr_idle *idle, unsigned index, bool searching, bool rested, bool calm)
{
    const uint64_t own = bit(index);
    bool wanted = guard_needed(idle, ck_pr_load_64(&idle->sleepers), own, rested);
    ck_pr_fence_release();
    enum tr_guard guard = join_guards(idle, searching ? -SEARCHER : 0, wanted, calm); /* S1 */
    ck_pr_fence_atomic();
    if (guard || !calm)
        ck_pr_or_64(&idle->dear, own);
    uint64_t others = lie_down(idle, own);
    if (!guard && guard_needed(idle, others, own, rested)) {
        guard = join_guards(idle, 0, true, calm); /* S3 */
        ck_pr_fence_atomic_load();
    }
    return guard;
}

bool tr_idle_rise(struct tr_idle *idle, unsigned index, enum tr_guard guard, bool search)
{
    bool claimed = take_sleepers(idle, bit(index)) == 0; /* R1 */
    ck_pr_fence_atomic_load();
    ck_pr_fence_acquire();
    if (ck_pr_load_64(&idle->dear) & bit(index))
        ck_pr_and_64(&idle->dear, ~bit(index));
    uint64_t change = (search && !claimed ? SEARCHER : 0) - weight(guard);
    if (change != 0) {
        struct tr_idle_view before = add_counts(idle, change); /* R2 */
        TR_ASSERT(!guard || tr_idle_guards(before) > 0);
    }
    return claimed;
}

void tr_idle_join(struct tr_idle *idle, unsigned index)
{
    TR_ASSERT((ck_pr_load_64(&idle->members) & bit(index)) == 0);
    ck_pr_or_64(&idle->members, bit(index)); /* J */
    ck_pr_fence_memory();
}

void tr_idle_leave(struct tr_idle *idle, unsigned index)
{
    TR_ASSERT((ck_pr_load_64(&idle->members) & bit(index)) != 0);
    ck_pr_and_64(&idle->members, ~bit(index)); /* L */
}

bool tr_idle_unguarded(const struct tr_idle *idle, unsigned index)
{
    struct tr_idle_view view = tr_idle_read(idle);
    return tr_idle_claimable(view) && tr_idle_guards(view) == 0 && !all_others_sleep(idle, view.sleepers, bit(index));
}

/* --- claims ------------------------------------------------------------------------------------------------------- */

int tr_idle_claim(struct tr_idle *idle)
{
    ck_pr_fence_release(); /* the caller's push travels with C to R */
    struct tr_idle_view view = tr_idle_read(idle);
    for (; tr_idle_claimable(view); view = tr_idle_read(idle)) {
        if (!move_counts(idle, &view, view.counts + SEARCHER)) /* C1 */
            continue;
        ck_pr_fence_atomic();
        uint64_t claimed = take_best(idle);
        if (claimed != 0)
            return __builtin_ctzll(claimed);
        add_counts(idle, -SEARCHER); /* C3 */
    }
    return -1;
}

uint64_t tr_idle_claim_all(struct tr_idle *idle)
{
    ck_pr_fence_release();
    uint64_t seen = ck_pr_load_64(&idle->sleepers);
    if (seen == 0)
        return 0;
    add_counts(idle, (uint64_t)__builtin_popcountll(seen) * SEARCHER); /* C1, for each */
    uint64_t claimed = take_sleepers(idle, seen);
    uint64_t missed = (uint64_t)__builtin_popcountll(seen & ~claimed);
    if (missed > 0)
        add_counts(idle, -missed * SEARCHER); /* C3: those are awake, and see what the caller wrote */
    return claimed;
}
