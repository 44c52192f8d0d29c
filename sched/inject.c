/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/inject.h"

#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/list.h"

/* Protocol: a stack that many push to and one at a time empties whole, in front of a FIFO.
 *   P  any thread  CAS pushed: head -> r      release  ck_stack_push_upmc
 *   L  worker      taker: 0 -> 1 (try)        acquire
 *   B  lock holder exchange pushed: -> NULL   acquire  only if the FIFO is too short; reversed and appended
 *   F  lock holder store oldest               release  what pending() of others reads; refill or cut
 *   U  lock holder taker: 1 -> 0              release
 * Edges  P->B  the run of r sees what its scheduler wrote. U->L  the FIFO goes from taker to taker.
 * No ABA: nothing is ever popped singly, B takes the whole stack by an exchange.
 * Exactly once: a runnable is in the stack until B, then in the FIFO of the one lock holder.
 * No wake-up is lost although L only tries: a worker that fails goes on, and before it sleeps it asks pending(). That
 *   looks at pushed, then taker, then oldest: whoever reads pushed after B and finds the lock free reads oldest after
 *   F. So "nothing" is only said when there is nothing, or when a P comes later, and that P's thread looks for a
 *   sleeper.
 * Checked by: tests/sched/test_inject.c, tests/stress/stress_sched.c, ThreadSanitizer. */

static struct tr_runnable *runnable_of(ck_stack_entry_t *link)
{
    return link ? TR_CONTAINER_OF(link, struct tr_runnable, link) : NULL;
}

void tr_inject_init(struct tr_inject *inject)
{
    ck_stack_init(&inject->pushed);
    ck_spinlock_fas_init(&inject->taker);
    inject->oldest = inject->newest = NULL;
    inject->len = 0;
}

void tr_inject_check(const struct tr_inject *inject)
{
    unsigned len = 0;
    const ck_stack_entry_t *last = NULL;
    for (const ck_stack_entry_t *link = inject->oldest; link; link = link->next) {
        last = link;
        len++;
    }
    TR_ASSERT(len == inject->len);
    TR_ASSERT(len == 0 || last == inject->newest);
}

void tr_inject_push(struct tr_inject *inject, struct tr_runnable *r)
{
    ck_pr_fence_release(); /* P: ck_stack itself orders stores only */
    ck_stack_push_upmc(&inject->pushed, &r->link);
}

/* Moves what was pushed behind the FIFO, turned round so that the oldest comes first. Lock holder only. */
static void refill(struct tr_inject *inject)
{
    if (ck_pr_load_ptr(&inject->pushed.head) == NULL)
        return;
    ck_stack_entry_t *newest = ck_stack_batch_pop_upmc(&inject->pushed); /* B */
    ck_pr_fence_acquire();
    ck_stack_entry_t *oldest = NULL;
    unsigned pushed = 0;
    for (ck_stack_entry_t *link = newest, *next; link; link = next) {
        next = link->next;
        link->next = oldest;
        oldest = link;
        pushed++;
    }
    ck_pr_store_uint(&inject->len, inject->len + pushed);
    if (inject->oldest)
        inject->newest->next = oldest;
    else
        ck_pr_store_ptr(&inject->oldest, oldest); /* F */
    inject->newest = newest;
}

/* Cuts the first n off the FIFO; n > 0 and at most its length. Lock holder only. */
static ck_stack_entry_t *cut(struct tr_inject *inject, unsigned n)
{
    ck_stack_entry_t *first = inject->oldest;
    ck_stack_entry_t *last = first;
    for (unsigned i = 1; i < n; i++)
        last = last->next;
    ck_pr_fence_release();
    ck_pr_store_ptr(&inject->oldest, last->next); /* F */
    last->next = NULL;
    ck_pr_store_uint(&inject->len, inject->len - n);
    return first;
}

struct tr_runnable *tr_inject_take(struct tr_inject *inject, unsigned workers, unsigned max, unsigned *taken)
{
    *taken = 0;
    if (max == 0 || !tr_inject_pending(inject) || !ck_spinlock_fas_trylock(&inject->taker)) /* L */
        return NULL;
    refill(inject);
    unsigned share = inject->len / workers + 1;
    unsigned n = share < max ? share : max;
    if (n > inject->len)
        n = inject->len;
    ck_stack_entry_t *first = n > 0 ? cut(inject, n) : NULL;
    ck_spinlock_fas_unlock(&inject->taker); /* U */
    *taken = n;
    return runnable_of(first);
}

bool tr_inject_pending(const struct tr_inject *inject)
{
    if (ck_pr_load_ptr(&inject->pushed.head) != NULL)
        return true;
    ck_pr_fence_load();
    if (ck_spinlock_fas_locked((ck_spinlock_fas_t *)(uintptr_t)&inject->taker)) /* CK reads only, but takes no const */
        return true;
    ck_pr_fence_load();
    return ck_pr_load_ptr(&inject->oldest) != NULL;
}

unsigned tr_inject_backlog(const struct tr_inject *inject)
{
    return ck_pr_load_uint(&inject->len);
}

struct tr_runnable *tr_inject_next(const struct tr_runnable *r)
{
    return runnable_of(r->link.next);
}
