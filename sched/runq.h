/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's run queue: a LIFO slot for what was made runnable last, and a FIFO ring for the rest. Owns no runnable,
 * only pointers to them. The owner pushes and pops, any worker steals.
 * It is not unbounded: a full ring refuses, and the owner sheds half of it to sched/inject.h. */
#ifndef TR_SCHED_RUNQ_H
#define TR_SCHED_RUNQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/asymmetric.h"
#include "sched/base/cacheline.h"
#include "sched/pool.h"

#define TR_RUNQ_SIZE 256 /* runnables in the ring; a power of two */
#define TR_STEAL_MAX 32  /* runnables per theft: enough to amortise two cache misses */

/* queue->robbed beside 0 and 1: see runq.c. */
#define TR_ROBBED_ALWAYS 2u
#define TR_ROBBED_UNFENCED 3u

struct tr_runq {
    struct tr_runnable *lifo TR_ALIGNED_LINE;
    uint32_t taking;               /* the owner is about to empty the LIFO slot without an atomic exchange */
    uint32_t robbed;               /* a thief is at the LIFO slot; TR_ROBBED_ALWAYS: there may be one at any moment */
    uint32_t head TR_ALIGNED_LINE; /* taken so far, modulo 2^32 */
    uint32_t tail TR_ALIGNED_LINE; /* pushed so far, modulo 2^32 */
    struct tr_runnable *cells[TR_RUNQ_SIZE] TR_ALIGNED_LINE;
};

/* asymmetric: tr_fence_heavy_prepare was successful. */
void tr_runq_init(struct tr_runq *queue, bool asymmetric);
/* Asserts what holds at any moment. Owner. */
void tr_runq_check(const struct tr_runq *queue);

/* Owner: puts r into the LIFO slot and returns what it displaces, or NULL. */
static inline struct tr_runnable *tr_runq_swap_lifo(struct tr_runq *queue, struct tr_runnable *r)
{
    ck_pr_fence_release(); /* P */
    if (TR_UNLIKELY(ck_pr_load_ptr(&queue->lifo) != NULL))
        return ck_pr_fas_ptr(&queue->lifo, r);
    ck_pr_store_ptr(&queue->lifo, r);
    return NULL;
}

/* The rest of tr_runq_take_lifo, when a thief may be at it. */
struct tr_runnable *tr_runq_take_lifo_slowly(struct tr_runq *queue);

/* Owner: empties the LIFO slot; NULL if it was empty. */
static inline struct tr_runnable *tr_runq_take_lifo(struct tr_runq *queue)
{
    ck_pr_store_32(&queue->taking, 1); /* A */
    tr_fence_light();
    if (TR_UNLIKELY(ck_pr_load_32(&queue->robbed) != 0))
        return tr_runq_take_lifo_slowly(queue);
    ck_pr_fence_load();
    struct tr_runnable *r = ck_pr_load_ptr(&queue->lifo); /* T */
    ck_pr_store_ptr(&queue->lifo, NULL);
    ck_pr_fence_release();
    ck_pr_store_32(&queue->taking, 0);
    return r;
}

/* Thief: empties the LIFO slot; NULL if it was empty, or if the owner or another thief is at it. Dear: it interrupts the
 * owner's CPU. */
struct tr_runnable *tr_runq_rob_lifo(struct tr_runq *queue);

/* Owner: appends r to the ring; false when it is full. */
bool tr_runq_push(struct tr_runq *queue, struct tr_runnable *r);
/* Owner: the oldest in the ring, or NULL. */
struct tr_runnable *tr_runq_pop(struct tr_runq *queue);
/* Owner: takes half of the ring's size, the oldest first, into out (room for TR_RUNQ_SIZE / 2); all if it holds less.
 * Returns how many. */
unsigned tr_runq_shed(struct tr_runq *queue, struct tr_runnable **out);
/* Thief: takes half of what is there (rounded up, at most TR_STEAL_MAX), the oldest first, into out. Returns how many;
 * 0 also when it lost the race, because then somebody else is at this victim. */
unsigned tr_runq_steal(struct tr_runq *queue, struct tr_runnable **out);

/* How many are in the ring, the LIFO slot not counted. Anyone; for the owner never too few by its own pushes. */
unsigned tr_runq_len(const struct tr_runq *queue);
/* Owner: is anything in the ring? Perhaps no more. */
static inline bool tr_runq_has_ring(const struct tr_runq *queue)
{
    return queue->tail != ck_pr_load_32(&queue->head);
}
/* Is anything in the LIFO slot? A glance: no ordering. Anyone. */
bool tr_runq_has_lifo(const struct tr_runq *queue);

#endif
