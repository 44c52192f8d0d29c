/* SPDX-License-Identifier: Apache-2.0 */
/* Who sleeps, who searches, who stands guard: three words for the whole pool. Owns these words and nothing else.
 * Workers move themselves through them; any thread may claim a sleeper.
 * It is not the means of sleeping or waking: that is hooks->wait and hooks->wake. */
#ifndef TR_SCHED_IDLE_H
#define TR_SCHED_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#include <ck_pr.h>

#include "sched/base/cacheline.h"

/* How many sleepers may stand guard at once. One would do for safety; the second keeps a guard asleep while the other
 * one is up for its own completions, so that a worker that pushes finds one and need not send a wake for it. A calm
 * one, that expects nothing of its own, is guard enough: it stays asleep. */
#define TR_GUARDS_MAX 2

enum tr_guard { TR_GUARD_NONE, TR_GUARD_RESTLESS, TR_GUARD_CALM };

struct tr_idle {
    uint64_t sleepers TR_ALIGNED_LINE; /* bit i: worker i sleeps and is unclaimed */
    uint64_t counts;                   /* lower half: how many search; upper half: how many stand guard, of each sort */
    uint64_t members;                  /* bit i: worker i takes part; a spare that sits out does not */
    uint64_t dear;                     /* bit i: worker i sleeps so that its wake costs more: a hint for claims */
    unsigned searchers_max;
};

/* Two of the words, one after the other: not one instant, and the protocol does not need one. */
struct tr_idle_view {
    uint64_t sleepers, counts;
};

/* Workers 0..workers - 1 take part from the start. searchers_max: at least 1. */
void tr_idle_init(struct tr_idle *idle, unsigned workers, unsigned searchers_max);
/* Asserts what holds at every moment. Any thread. */
void tr_idle_check(const struct tr_idle *idle);

static inline struct tr_idle_view tr_idle_read(const struct tr_idle *idle)
{
    return (struct tr_idle_view){.sleepers = ck_pr_load_64(&idle->sleepers), .counts = ck_pr_load_64(&idle->counts)};
}

static inline unsigned tr_idle_searching(struct tr_idle_view view)
{
    return (uint32_t)view.counts;
}

static inline unsigned tr_idle_guards(struct tr_idle_view view)
{
    return (unsigned)(view.counts >> 48) + (unsigned)(view.counts >> 32 & 0xffff);
}

/* Would a claim find a sleeper, and does nobody search already? */
static inline bool tr_idle_claimable(struct tr_idle_view view)
{
    return view.sleepers != 0 && tr_idle_searching(view) == 0;
}

/* Could work behind a long activation of another worker wait for ever, unless worker `index`, which is awake, wakes a
 * sleeper? That is: some sleep, none searches, none stands guard, and others are awake. */
bool tr_idle_unguarded(const struct tr_idle *idle, unsigned index);

/* A worker without work joins the searchers; false if there are as many as may be. Worker. */
bool tr_idle_search_begin(struct tr_idle *idle);
/* The searcher found something. True if it was the last one: then it must look at the common queue once more.
 * Worker. */
bool tr_idle_search_end(struct tr_idle *idle);

/* Publishes that worker index sleeps, and that it no longer searches if it did. The caller must look at every source of
 * work after this and before it sleeps. `rested`: the pool has done nothing for a while, so that no guard is needed if
 * all others sleep too. `calm`: the sleep will not end by itself, for an operation or a timer of the worker's own.
 * Returns whether the caller stands guard (not TR_GUARD_NONE): then it must sleep with a time-out. Worker. */
enum tr_guard tr_idle_sleep(struct tr_idle *idle, unsigned index, bool searching, bool rested, bool calm);
/* Takes the announcement back. `guard` is what tr_idle_sleep returned; with `search` the caller searches from now on.
 * Returns true if the caller had been claimed meanwhile: then it searches, and a token is or will be underway.
 * Worker. */
bool tr_idle_rise(struct tr_idle *idle, unsigned index, enum tr_guard guard, bool search);

/* A spare takes part from now on, awake; it no longer does. It may leave only while it neither searches nor sleeps.
 * That spare. */
void tr_idle_join(struct tr_idle *idle, unsigned index);
void tr_idle_leave(struct tr_idle *idle, unsigned index);

/* Claims one sleeper, unless somebody searches. Returns its index, and the caller owes it exactly one token; or -1. For
 * work that only a wake can bring to notice, a full fence stands between its push and this call. Any thread. */
int tr_idle_claim(struct tr_idle *idle);
/* Claims every sleeper, whoever searches, and returns their mask: one token is owed to each. Any thread. */
uint64_t tr_idle_claim_all(struct tr_idle *idle);

#endif
