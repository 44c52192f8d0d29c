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

#include "sched/base/cacheline.h"
#include "sched/pool.h"

#define TR_RUNQ_SIZE 256 /* runnables in the ring; a power of two */
#define TR_STEAL_MAX 32  /* runnables per theft: enough to amortise two cache misses */

struct tr_runq {
    struct tr_runnable *lifo TR_ALIGNED_LINE;
    uint32_t head TR_ALIGNED_LINE; /* taken so far, modulo 2^32 */
    uint32_t tail TR_ALIGNED_LINE; /* pushed so far, modulo 2^32 */
    struct tr_runnable *cells[TR_RUNQ_SIZE] TR_ALIGNED_LINE;
};

void tr_runq_init(struct tr_runq *queue);
/* Asserts what holds at any moment. Owner. */
void tr_runq_check(const struct tr_runq *queue);

/* Owner: puts r into the LIFO slot and returns what it displaces, or NULL. */
static inline struct tr_runnable *tr_runq_swap_lifo(struct tr_runq *queue, struct tr_runnable *r)
{
    ck_pr_fence_release(); /* P */
    return ck_pr_fas_ptr(&queue->lifo, r);
}

/* Anyone: empties the LIFO slot; NULL if it was empty. */
static inline struct tr_runnable *tr_runq_take_lifo(struct tr_runq *queue)
{
    if (ck_pr_load_ptr(&queue->lifo) == NULL)
        return NULL;
    struct tr_runnable *r = ck_pr_fas_ptr(&queue->lifo, NULL);
    ck_pr_fence_acquire(); /* T */
    return r;
}

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
/* Is anything in the LIFO slot? A glance: no ordering. Anyone. */
bool tr_runq_has_lifo(const struct tr_runq *queue);

#endif
