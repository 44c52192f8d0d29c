/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"

#include "sched/base/assert.h"

void tr_mailbox_init_closed(struct tr_cell *cell)
{
    cell->head = TR_HEAD_CLOSED;
    cell->control = TR_CONTROL_CLOSED;
    cell->control_bits = (uint64_t)cell->generation << 32;
}

void tr_mailbox_open(struct tr_cell *cell)
{
    TR_ASSERT(ck_pr_load_ptr(&cell->head) == TR_HEAD_CLOSED && !cell->mark && !cell->fifo_head);
    ck_pr_store_64(&cell->control_bits, (uint64_t)cell->generation << 32);
    ck_pr_store_ptr(&cell->control, NULL);
    ck_pr_fence_store();
    ck_pr_store_ptr(&cell->head, NULL);
}

/* W. The caller has just written control or control_bits by a read-modify-write. */
static enum tr_push wake(struct tr_cell *cell)
{
    ck_pr_fence_atomic_store();
    ck_pr_store_32(&cell->alarm, 1); /* A */
    ck_pr_fence_atomic_load();
    if (ck_pr_load_ptr(&cell->head) != TR_HEAD_IDLE || !ck_pr_cas_ptr(&cell->head, TR_HEAD_IDLE, NULL))
        return TR_PUSH_QUEUED;
    ck_pr_fence_acquire(); /* meets I */
    return TR_PUSH_WAKE;
}

enum tr_push tr_mailbox_signal(struct tr_cell *cell, struct tr_signal *signal)
{
    struct tr_signal *old = ck_pr_load_ptr(&cell->control);
    do {
        if (old == TR_CONTROL_CLOSED)
            return TR_PUSH_CLOSED;
        signal->next = old;
        ck_pr_fence_release(); /* S': also of signal->next */
    } while (!ck_pr_cas_ptr_value(&cell->control, old, signal, &old));
    return wake(cell);
}

enum tr_push tr_mailbox_control(struct tr_cell *cell, uint32_t generation, uint64_t set, uint64_t clear)
{
    uint64_t old = ck_pr_load_64(&cell->control_bits);
    ck_pr_fence_release();
    do {
        if ((uint32_t)(old >> 32) != generation)
            return TR_PUSH_CLOSED;
    } while (!ck_pr_cas_64_value(&cell->control_bits, old, (old & ~clear) | set, &old));
    return wake(cell);
}

static struct tr_signal *signals_reverse(struct tr_signal *newest)
{
    struct tr_signal *oldest = NULL;
    while (newest) {
        struct tr_signal *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

struct tr_signal *tr_mailbox_take_signals(struct tr_cell *cell)
{
    if (!ck_pr_load_ptr(&cell->control))
        return NULL;
    struct tr_signal *newest = ck_pr_fas_ptr(&cell->control, NULL);
    ck_pr_fence_acquire();
    return signals_reverse(newest);
}

uint64_t tr_mailbox_take_bits(struct tr_cell *cell)
{
    if ((uint32_t)ck_pr_load_64(&cell->control_bits) == 0)
        return 0;
    uint64_t old = ck_pr_fas_64(&cell->control_bits, (uint64_t)cell->generation << 32);
    ck_pr_fence_acquire();
    return (uint32_t)old;
}

/* Walks top..mark, appends it to the FIFO in the order sent. Returns how many. */
static unsigned append_until_mark(struct tr_cell *cell, troupe_msg *top)
{
    unsigned count = 0;
    troupe_msg *list = NULL, *tail = top;
    for (troupe_msg *msg = top; msg != cell->mark;) {
        troupe_msg *next = msg->next;
        msg->next = list;
        list = msg;
        msg = next;
        count++;
    }
    if (cell->fifo_head)
        cell->fifo_tail->next = list;
    else
        cell->fifo_head = list;
    cell->fifo_tail = tail;
    return count;
}

unsigned tr_mailbox_fetch(struct tr_cell *cell, troupe_msg **old_mark)
{
    *old_mark = NULL;
    troupe_msg *top = ck_pr_load_ptr(&cell->head);
    if (top == cell->mark)
        return 0;
    ck_pr_fence_acquire();
    unsigned count = append_until_mark(cell, top);
    *old_mark = tr_mailbox_mark_let_go(cell->mark);
    cell->mark = top;
    return count;
}

void tr_mailbox_unmark(struct tr_cell *cell)
{
    troupe_msg *old_mark;
    TR_ASSERT(cell->mark && !(cell->mark->flags & TR_MSG_HANDLED));
    if (ck_pr_cas_ptr(&cell->head, cell->mark, NULL))
        cell->mark = NULL;
    else
        tr_mailbox_fetch(cell, &old_mark); /* something was pushed on top of it */
}

struct tr_signal *tr_mailbox_close(struct tr_cell *cell, troupe_msg **old_mark)
{
    uint32_t next_generation = cell->generation + 1;
    ck_pr_store_32(&cell->generation, next_generation); /* the half of the name that changes: others read the index */
    ck_pr_fence_store_atomic();
    ck_pr_fas_64(&cell->control_bits, (uint64_t)next_generation << 32);
    struct tr_signal *newest = ck_pr_fas_ptr(&cell->control, TR_CONTROL_CLOSED);
    troupe_msg *top = ck_pr_fas_ptr(&cell->head, TR_HEAD_CLOSED);
    ck_pr_fence_acquire();
    TR_ASSERT(top != TR_HEAD_IDLE && top != TR_HEAD_CLOSED);
    if (top != cell->mark)
        append_until_mark(cell, top);
    *old_mark = tr_mailbox_mark_let_go(cell->mark);
    cell->mark = NULL;
    return signals_reverse(newest);
}
