/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/runq.h"

#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"

/* Protocol of queue->lifo: NULL or one runnable. The owner goes there twice for a message between two actors of its own,
 * a thief once in a blue moon: so the thief pays for the fence between them (sched/base/asymmetric.h, as the biased
 * locks of Dice, Moir and Scherer, "Quickly reacquirable locks", 2003).
 *   P  owner  load; NULL: store(r) release; otherwise exchange(r)           tr_runq_swap_lifo
 *   A  owner  store taking = 1, light fence, load robbed                    tr_runq_take_lifo
 *   T  owner  robbed was 0: load, store(NULL), then store taking = 0 release
 *   X  owner  robbed was not 0: store taking = 0, exchange(NULL)
 *   B  thief  CAS robbed 0 -> 1 acquire, heavy fence, load taking           tr_runq_rob_lifo
 *   R  thief  taking was 0: exchange(NULL)
 *   E  thief  store robbed = 0 release
 * Only the owner makes it non-NULL, so its own load of NULL is final, and the store in P overwrites nothing. Exchanges
 *   of the two sides never get the same runnable. There remains T against R, the only plain step: of A's store before
 *   its load and B's store before its load, each with its half of the fence between, at least one is seen by the other
 *   (Dekker). If the thief sees taking, it gives up; if the owner sees robbed, it does X. If a later A loads the 0 that E
 *   stored, R came before.
 * Edges  P->R, P->T  what the owner wrote before it scheduled r is visible to whoever runs it. E->A  R before T.
 * Nobody waits for anybody: a thief that is held up between B and E makes the owner pay an exchange each time.
 * Without a heavy fence (no membarrier in this kernel or sandbox) robbed is TR_ROBBED_ALWAYS for good: both sides
 *   exchange. If it is refused only later, robbed is TR_ROBBED_UNFENCED until the owner's next X, which makes it ALWAYS:
 *   so no thief exchanges before the owner knows, and an owner that is stuck in an activation just then is not robbed of
 *   what its slot holds until that is over.
 *
 * Protocol of the ring: single producer, many consumers. head and tail count for ever, modulo 2^32; the ring holds
 * tail - head runnables, the oldest in cells[head % size].
 *   W  owner           store a cell         only if tail - head < size
 *   E  owner           store tail + 1       release (after W)                tr_runq_push
 *   L  owner or thief  load head, then tail, then n cells, in that order
 *   D  owner or thief  CAS head -> head + n release (after L's cells)        take
 * Edges  E->L  by tail: the cell is written, and what the owner wrote before it scheduled is visible to the taker.
 *        D->W  by head: a cell is overwritten only after its taker has read it. W's own load of head needs no fence: a
 *              store does not pass the branch that it hangs on.
 * Exactly once: D claims [head, head + n) in one step. While head stands, W leaves these cells alone, so a D that
 *   succeeds proves that L read what E published; one that fails throws its copy away.
 * ABA needs 2^32 takes from one ring while one taker stands between L and D.
 * Between E and the owner's later look at the idle word stands no fence: see sched/idle.c on why that is enough.
 * Not ck_ring: docs/decisions/005-run-queue.md.
 * Checked by: tests/sched/test_runq.c, tests/stress/stress_sched.c, tests/stress/stress_lifo.c, ThreadSanitizer. */

_Static_assert((TR_RUNQ_SIZE & (TR_RUNQ_SIZE - 1)) == 0, "cells are found by a mask");
_Static_assert(TR_STEAL_MAX <= TR_RUNQ_SIZE / 2, "loot fits an empty run queue");

void tr_runq_init(struct tr_runq *queue, bool asymmetric)
{
    queue->lifo = NULL;
    queue->taking = 0;
    queue->robbed = asymmetric ? 0 : TR_ROBBED_ALWAYS;
    queue->head = queue->tail = 0;
    tr_runq_check(queue);
}

void tr_runq_check(const struct tr_runq *queue)
{
    TR_ASSERT(((uintptr_t)queue & (TR_CACHELINE - 1)) == 0);
    TR_ASSERT(ck_pr_load_32(&queue->tail) - ck_pr_load_32(&queue->head) <= TR_RUNQ_SIZE);
}

static struct tr_runnable **cell(struct tr_runq *queue, uint32_t position)
{
    return &queue->cells[position % TR_RUNQ_SIZE];
}

bool tr_runq_push(struct tr_runq *queue, struct tr_runnable *r)
{
    uint32_t tail = queue->tail;
    if (TR_UNLIKELY(tail - ck_pr_load_32(&queue->head) >= TR_RUNQ_SIZE))
        return false;
    ck_pr_store_ptr(cell(queue, tail), r); /* W */
    ck_pr_fence_release();
    ck_pr_store_32(&queue->tail, tail + 1); /* E */
    return true;
}

/* D: claims the n oldest, of which the caller has copies. */
static bool claim(struct tr_runq *queue, uint32_t *head, uint32_t n)
{
    ck_pr_fence_load_atomic(); /* the copies before the claim */
    bool claimed = ck_pr_cas_32_value(&queue->head, *head, *head + n, head);
    ck_pr_fence_acquire();
    return claimed;
}

struct tr_runnable *tr_runq_pop(struct tr_runq *queue)
{
    uint32_t head = ck_pr_load_32(&queue->head);
    struct tr_runnable *r;
    do {
        if (head == queue->tail)
            return NULL;
        r = ck_pr_load_ptr(cell(queue, head)); /* L: the owner's own stores, so no fence */
    } while (!claim(queue, &head, 1));
    return r;
}

/* L: copies the n oldest. */
static void copy(struct tr_runq *queue, uint32_t head, uint32_t n, struct tr_runnable **out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = ck_pr_load_ptr(cell(queue, head + i));
}

unsigned tr_runq_shed(struct tr_runq *queue, struct tr_runnable **out)
{
    uint32_t head = ck_pr_load_32(&queue->head), n;
    do {
        uint32_t len = queue->tail - head;
        n = len < TR_RUNQ_SIZE / 2 ? len : TR_RUNQ_SIZE / 2;
        copy(queue, head, n, out);
    } while (!claim(queue, &head, n));
    return n;
}

unsigned tr_runq_steal(struct tr_runq *queue, struct tr_runnable **out)
{
    uint32_t head = ck_pr_load_32(&queue->head);
    ck_pr_fence_load();
    uint32_t len = ck_pr_load_32(&queue->tail) - head;
    ck_pr_fence_load();
    uint32_t half = (len + 1) / 2;
    uint32_t n = half < TR_STEAL_MAX ? half : TR_STEAL_MAX;
    if (n == 0)
        return 0;
    copy(queue, head, n, out);
    return claim(queue, &head, n) ? n : 0;
}

unsigned tr_runq_len(const struct tr_runq *queue)
{
    uint32_t head = ck_pr_load_32(&queue->head);
    ck_pr_fence_load();
    uint32_t len = ck_pr_load_32(&queue->tail) - head; /* both may move between the two loads */
    return len < TR_RUNQ_SIZE ? len : TR_RUNQ_SIZE;
}

static struct tr_runnable *exchange_lifo(struct tr_runq *queue)
{
    struct tr_runnable *r = ck_pr_fas_ptr(&queue->lifo, NULL);
    ck_pr_fence_acquire();
    return r;
}

struct tr_runnable *tr_runq_take_lifo_slowly(struct tr_runq *queue)
{
    ck_pr_store_32(&queue->taking, 0);
    if (ck_pr_load_32(&queue->robbed) == TR_ROBBED_UNFENCED)
        ck_pr_store_32(&queue->robbed, TR_ROBBED_ALWAYS);
    return exchange_lifo(queue); /* X */
}

struct tr_runnable *tr_runq_rob_lifo(struct tr_runq *queue)
{
    if (!tr_runq_has_lifo(queue))
        return NULL;
    if (ck_pr_load_32(&queue->robbed) == TR_ROBBED_ALWAYS)
        return exchange_lifo(queue);
    if (!ck_pr_cas_32(&queue->robbed, 0, 1)) /* B; somebody else is at it */
        return NULL;
    ck_pr_fence_acquire();
    if (!tr_fence_heavy()) {
        ck_pr_store_32(&queue->robbed, TR_ROBBED_UNFENCED);
        return NULL;
    }
    struct tr_runnable *r = ck_pr_load_32(&queue->taking) ? NULL : exchange_lifo(queue); /* R */
    ck_pr_fence_release();
    ck_pr_store_32(&queue->robbed, 0); /* E */
    return r;
}

bool tr_runq_has_lifo(const struct tr_runq *queue)
{
    return ck_pr_load_ptr(&queue->lifo) != NULL;
}
