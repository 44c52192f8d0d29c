/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/inject.h"

#include <stddef.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/list.h"

/* Protocol: two stacks that many push to and one at a time empties whole, in front of three lines.
 *   P  any thread  CAS pushed, born: head -> r  release  ck_stack_push_upmc
 *   L  worker      taker: 0 -> 1 (try)          acquire
 *   B  lock holder exchange pushed, born: -> NULL  acquire  reversed and appended, or put before the young
 *   F  lock holder store len                    release  what pending() of others reads; refill or take
 *   U  lock holder taker: 1 -> 0              release
 * Edges  P->B  the run of r sees what its scheduler wrote. U->L  the lines go from taker to taker.
 * No ABA: nothing is ever popped singly, B takes the whole stack by an exchange.
 * Exactly once: a runnable is in the stack until B, then in a line of the one lock holder.
 * No wake-up is lost although L only tries: a worker that fails goes on, and before it sleeps it asks pending(). That
 *   looks at both stacks, then taker, then len: whoever reads a stack after B and finds the lock free reads len after
 *   F, and len is 0 only when all lines are empty. So "nothing" is only said when there is nothing, or when a P comes
 *   later, and that P's thread looks for a sleeper.
 * Checked by: tests/sched/test_inject.c, tests/stress/stress_sched.c, ThreadSanitizer. */

static struct tr_runnable *runnable_of(ck_stack_entry_t *link)
{
    return link ? TR_CONTAINER_OF(link, struct tr_runnable, link) : NULL;
}

void tr_inject_init(struct tr_inject *inject)
{
    ck_stack_init(&inject->pushed);
    ck_stack_init(&inject->born);
    ck_spinlock_fas_init(&inject->taker);
    inject->fifo = inject->young = inject->old = (struct tr_inject_line){NULL, NULL};
    inject->young_since_ns = 0;
    inject->takes = 0;
    inject->len = 0;
}

static unsigned walk(const struct tr_inject_line *line)
{
    unsigned len = 0;
    const ck_stack_entry_t *last = NULL;
    for (const ck_stack_entry_t *link = line->first; link; link = link->next) {
        last = link;
        len++;
    }
    TR_ASSERT(len == 0 || last == line->last);
    return len;
}

void tr_inject_check(const struct tr_inject *inject)
{
    TR_ASSERT(walk(&inject->fifo) + walk(&inject->young) + walk(&inject->old) == inject->len);
}

void tr_inject_push(struct tr_inject *inject, struct tr_runnable *r)
{
    ck_pr_fence_release(); /* P: ck_stack itself orders stores only */
    ck_stack_push_upmc(&inject->pushed, &r->link);
}

void tr_inject_push_born(struct tr_inject *inject, struct tr_runnable *r)
{
    ck_pr_fence_release(); /* P */
    ck_stack_push_upmc(&inject->born, &r->link);
}

/* B: what is in the stack, the newest first. Lock holder only. */
static ck_stack_entry_t *empty(ck_stack_t *stack)
{
    if (ck_pr_load_ptr(&stack->head) == NULL)
        return NULL;
    ck_stack_entry_t *newest = ck_stack_batch_pop_upmc(stack);
    ck_pr_fence_acquire();
    return newest;
}

static void append(struct tr_inject_line *line, ck_stack_entry_t *first, ck_stack_entry_t *last)
{
    if (line->first)
        line->last->next = first;
    else
        line->first = first;
    line->last = last;
}

/* Moves what was pushed behind the FIFO, turned round so that the oldest comes first. How many. Lock holder only. */
static unsigned refill_fifo(struct tr_inject *inject)
{
    unsigned pushed = 0;
    ck_stack_entry_t *newest = empty(&inject->pushed), *oldest = NULL;
    for (ck_stack_entry_t *link = newest, *next; link; link = next) {
        next = link->next;
        link->next = oldest;
        oldest = link;
        pushed++;
    }
    if (newest)
        append(&inject->fifo, oldest, newest);
    return pushed;
}

/* Puts what was born before the young. How many. Lock holder only. */
static unsigned refill_young(struct tr_inject *inject, uint64_t now_ns)
{
    struct tr_inject_line *young = &inject->young;
    ck_stack_entry_t *newest = empty(&inject->born), *last = newest;
    if (!newest)
        return 0;
    unsigned born = 1;
    for (; last->next; last = last->next)
        born++;
    if (!young->first) {
        young->last = last;
        inject->young_since_ns = now_ns;
    }
    last->next = young->first;
    young->first = newest;
    return born;
}

/* The young have waited for long. Lock holder only. */
static void grow_old(struct tr_inject *inject)
{
    append(&inject->old, inject->young.first, inject->young.last);
    inject->young.first = NULL;
}

/* Whose turn is it? */
static struct tr_inject_line *choose(struct tr_inject *inject)
{
    unsigned turn = inject->takes++;
    bool born = inject->young.first || inject->old.first;
    if (inject->fifo.first && (!born || turn % 2 != 0))
        return &inject->fifo;
    bool olds = inject->old.first && (!inject->young.first || turn % TR_INJECT_OLD_EVERY == 0);
    return olds ? &inject->old : &inject->young;
}

/* Cuts up to max off the line. Lock holder only. */
static ck_stack_entry_t *cut(struct tr_inject_line *line, unsigned max, unsigned *taken)
{
    ck_stack_entry_t *first = line->first, *last = first;
    if (!first)
        return NULL;
    for (*taken = 1; *taken < max && last->next; ++*taken)
        last = last->next;
    line->first = last->next;
    last->next = NULL;
    return first;
}

struct tr_runnable *tr_inject_take(struct tr_inject *inject, unsigned workers, unsigned max, uint64_t now_ns,
                                   unsigned *taken)
{
    *taken = 0;
    if (max == 0 || !tr_inject_pending(inject) || !ck_spinlock_fas_trylock(&inject->taker)) /* L */
        return NULL;
    unsigned len = inject->len + refill_fifo(inject) + refill_young(inject, now_ns);
    if (inject->young.first && (int64_t)(now_ns - inject->young_since_ns) >= TR_INJECT_OLD_NS)
        grow_old(inject); /* the clock was read before the lock was had: it may be behind another taker's */
    unsigned share = len / workers + 1;
    ck_stack_entry_t *first = cut(choose(inject), share < max ? share : max, taken);
    ck_pr_fence_release();
    ck_pr_store_uint(&inject->len, len - *taken); /* F */
    ck_spinlock_fas_unlock(&inject->taker);       /* U */
    return runnable_of(first);
}

bool tr_inject_pending(const struct tr_inject *inject)
{
    if (ck_pr_load_ptr(&inject->pushed.head) != NULL || ck_pr_load_ptr(&inject->born.head) != NULL)
        return true;
    ck_pr_fence_load();
    if (ck_spinlock_fas_locked((ck_spinlock_fas_t *)(uintptr_t)&inject->taker)) /* CK reads only, but takes no const */
        return true;
    ck_pr_fence_load();
    return ck_pr_load_uint(&inject->len) != 0;
}

unsigned tr_inject_backlog(const struct tr_inject *inject)
{
    return ck_pr_load_uint(&inject->len);
}

struct tr_runnable *tr_inject_next(const struct tr_runnable *r)
{
    return runnable_of(r->link.next);
}
