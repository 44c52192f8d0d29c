/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox of a cell: a user lane and a control lane, and the wake protocol that schedules an actor exactly once.
 * Pushes may come from any thread; fetch, idle and close are the owner's: the worker that runs the cell.
 * It has no bounds itself (see bound.h) and never blocks; what a message means is none of its business. */
#ifndef TR_RUNTIME_MAILBOX_H
#define TR_RUNTIME_MAILBOX_H

#include "runtime/cell.h"
#include "runtime/message.h"
#include "runtime/signal.h"
#include "sched/base/assert.h"

/* USER LANE. One word, cell->head: a tagged stack with lazy detach (the push is Treiber's, the retained mark is ours).
 * Its states:
 *   IDLE     not scheduled, nothing pushed. Whoever moves the word away from IDLE schedules the cell: exactly once.
 *   NULL     scheduled or running, nothing pushed since it was woken
 *   pointer  scheduled or running; the newest node, which may be one already fetched (the mark)
 *   CLOSED   the actor has ended; pushes are refused
 * Who moves it:
 *   S  sender  CAS any -> node          release: the node's contents and what the sender wrote before
 *   W  waker   CAS IDLE -> NULL         after a push to the control lane or a set control bit
 *   F  owner   load                     acquire, meets S: walks node..mark and sees all nodes
 *   I  owner   CAS mark -> IDLE         release: the owner's private state; meets the S or W that removes IDLE, whose
 *                                       scheduling carries it to the next worker
 *   U  owner   CAS mark -> NULL         the mark is to be sent on; if that fails F gives the cell another mark
 *   C  owner   exchange -> CLOSED       acquire, meets S: the rest is drained
 *   O  spawn   store NULL               before the address is published
 * ABA: nodes leave only by F, which unlinks nothing: the word keeps naming the newest node, so that node (the mark) is
 *   not freed or reused while the word may name it. Hence I can only succeed if nothing was pushed since the last F. A
 *   sender's CAS on an older value fails because a word once moved on never returns to a node before that node was
 *   freed, pushed again and fetched again, in which case linking to it is right. After U the same holds of NULL: who
 *   links to nothing there does so while there is nothing but what was fetched.
 * The mark may be handled but not freed, re-sent or turned into a reply before the word moves on: tr_msg_finish keeps
 *   to that by TR_MSG_HANDLED, and what is to be sent on must be unmarked before.
 *
 * CONTROL LANE. cell->control: a stack of signals, taken whole (exchange NULL), and control_bits: {generation, bits}.
 *   S' signaller  CAS push / CAS bits   release, then reads head and does W if it is IDLE
 *   T  owner      exchange              acquire, meets S'
 *   A  signaller  store alarm = 1       release: after the write of S'; before its load of head
 *   Q  owner      exchange alarm -> 0   full fence, before it looks whether there is something for T
 * No wake-up is lost: S' writes control then reads head; I writes head then reads control (and bits). All four are
 *   read-modify-writes or separated from the following load by a fence, so at least one of them sees the other's write
 *   (Dekker): either S' sees IDLE and wakes, or the owner sees the signal and takes IDLE back by CAS IDLE -> NULL. If
 *   that CAS fails somebody else has woken the cell, and the owner must not touch it any more.
 * cell->alarm spares the owner two loads before each message; the second look of I does not go by it. It may be set with
 *   nothing in the lane, never the other way round for long: after a Q that overwrites an A the owner looks into the lane,
 *   and sees the S' before that A. Who signals first and sends a message then is heard in that order: A comes before
 *   S, so that the owner that sees the node sees the alarm.
 * Checked by: tests/runtime/test_mailbox.c, tests/stress/stress_mailbox.c (ThreadSanitizer). */

#define TR_HEAD_IDLE ((void *)1)
#define TR_HEAD_CLOSED ((void *)2)
#define TR_CONTROL_CLOSED ((struct tr_signal *)2)

enum tr_push {
    TR_PUSH_QUEUED, /* the receiver is scheduled already */
    TR_PUSH_WAKE,   /* the caller must schedule the receiver, now */
    TR_PUSH_CLOSED, /* refused: the node is still the caller's */
};

void tr_mailbox_init_closed(struct tr_cell *cell);
/* O: opens it in the state "scheduled, empty": the caller schedules the cell. */
void tr_mailbox_open(struct tr_cell *cell);

static inline enum tr_push tr_mailbox_push(struct tr_cell *cell, troupe_msg *msg)
{
    void *old = ck_pr_load_ptr(&cell->head);
    do {
        if (old == TR_HEAD_CLOSED)
            return TR_PUSH_CLOSED;
        msg->next = (void *)((uintptr_t)old & ~(uintptr_t)TR_HEAD_IDLE); /* IDLE: none */
        ck_pr_fence_release();                                           /* S: also of msg->next, hence in the loop */
    } while (!ck_pr_cas_ptr_value(&cell->head, old, msg, &old));
    if (old != TR_HEAD_IDLE)
        return TR_PUSH_QUEUED;
    ck_pr_fence_acquire(); /* meets I: what the last owner left goes on with the scheduling */
    return TR_PUSH_WAKE;
}

/* Never TR_PUSH_CLOSED for signals that the cell waits for (children, ops): it does not close before they came. */
enum tr_push tr_mailbox_signal(struct tr_cell *cell, struct tr_signal *signal);
/* Sets and clears control bits if the slot still is of that generation. TR_PUSH_CLOSED: it is not. */
enum tr_push tr_mailbox_control(struct tr_cell *cell, uint32_t generation, uint64_t set, uint64_t clear);

/* --- the owner's --- */

static inline bool tr_mailbox_has_bits(const struct tr_cell *cell)
{
    return (uint32_t)ck_pr_load_64(&cell->control_bits) != 0;
}

/* Is there anything in the control lane? Two loads. */
static inline bool tr_mailbox_has_control(const struct tr_cell *cell)
{
    return ck_pr_load_ptr(&cell->control) != NULL || tr_mailbox_has_bits(cell);
}

/* Was something signalled? For who has seen a message: what its sender signalled before. */
static inline bool tr_mailbox_alarmed(const struct tr_cell *cell)
{
    ck_pr_fence_load();
    return ck_pr_load_32(&cell->alarm) != 0;
}

/* Q: before a look into the control lane. */
static inline void tr_mailbox_hush(struct tr_cell *cell)
{
    if (ck_pr_load_32(&cell->alarm) != 0) {
        ck_pr_fas_32(&cell->alarm, 0);
        ck_pr_fence_atomic_load();
    }
}

/* Takes all signals, oldest first; NULL if none. */
struct tr_signal *tr_mailbox_take_signals(struct tr_cell *cell);
/* Takes and clears the control bits. */
uint64_t tr_mailbox_take_bits(struct tr_cell *cell);

/* Moves what was pushed to the FIFO. Returns how many; *old_mark is the former mark if it is handled and no longer
 * named by the head: the caller finishes it. */
unsigned tr_mailbox_fetch(struct tr_cell *cell, troupe_msg **old_mark);

/* The oldest that was fetched, or NULL. fifo_tail means nothing while the FIFO is empty. */
static inline troupe_msg *tr_mailbox_pop(struct tr_cell *cell)
{
    troupe_msg *msg = cell->fifo_head;
    if (msg)
        cell->fifo_head = msg->next;
    return msg;
}

/* A mark that the head no longer names goes back to its finisher if it is handled; otherwise it is still in the FIFO or
 * kept, and is finished there, being no mark any more. */
static inline troupe_msg *tr_mailbox_mark_let_go(troupe_msg *mark)
{
    return mark && (mark->flags & TR_MSG_HANDLED) ? mark : NULL;
}

/* The next message to handle, popped, or NULL: as tr_mailbox_fetch and tr_mailbox_pop for an empty FIFO. A single new
 * message does not travel through the FIFO. *fetched: how many were pushed. */
static inline troupe_msg *tr_mailbox_next(struct tr_cell *cell, troupe_msg **old_mark, unsigned *fetched)
{
    *old_mark = NULL;
    troupe_msg *top = ck_pr_load_ptr(&cell->head), *mark = cell->mark;
    if (top == mark)
        return NULL;
    ck_pr_fence_acquire(); /* F */
    if (TR_UNLIKELY(top->next != mark)) {
        *fetched = tr_mailbox_fetch(cell, old_mark);
        return tr_mailbox_pop(cell);
    }
    *fetched = 1;
    *old_mark = tr_mailbox_mark_let_go(mark);
    cell->mark = top;
    return top;
}

/* U: the mark, which is not handled yet, becomes a message like others. It may fetch. */
void tr_mailbox_unmark(struct tr_cell *cell);

enum tr_idling {
    TR_IDLE_BUSY, /* something came: the caller still owns the cell and goes on */
    TR_IDLE_GONE, /* the cell is idle, or woken by somebody else: the caller must not touch it any more */
};
/* I: lets the cell go; false: something was pushed, and mark is the mark as before. If true, and only then,
 * tr_mailbox_gone is to be called next. */
static inline bool tr_mailbox_let_go(struct tr_cell *cell, troupe_msg *mark)
{
    cell->mark = NULL;
    ck_pr_fence_release();
    if (TR_LIKELY(ck_pr_cas_ptr(&cell->head, mark, TR_HEAD_IDLE)))
        return true;
    cell->mark = mark;
    return false;
}

/* The second look at control. False: there is some, and the cell is the caller's again. */
static inline bool tr_mailbox_gone(struct tr_cell *cell)
{
    ck_pr_fence_atomic_load();
    uint64_t control = (uintptr_t)ck_pr_load_ptr(&cell->control) | (uint32_t)ck_pr_load_64(&cell->control_bits);
    if (TR_LIKELY(control == 0) || !ck_pr_cas_ptr(&cell->head, TR_HEAD_IDLE, NULL))
        return true;
    ck_pr_fence_acquire();
    return false;
}

/* Tries to go idle. *old_mark as in fetch, valid in both cases. */
static inline enum tr_idling tr_mailbox_idle(struct tr_cell *cell, troupe_msg **old_mark)
{
    troupe_msg *mark = cell->mark;
    troupe_msg *handled = tr_mailbox_mark_let_go(mark); /* now: after the step another worker may handle and free it */
    bool idle = tr_mailbox_let_go(cell, mark);
    *old_mark = idle ? handled : NULL;
    return idle && tr_mailbox_gone(cell) ? TR_IDLE_GONE : TR_IDLE_BUSY;
}

/* A message that was popped last goes back to the front. */
static inline void tr_mailbox_put_back(struct tr_cell *cell, troupe_msg *msg)
{
    if (!cell->fifo_head)
        cell->fifo_tail = msg;
    msg->next = cell->fifo_head;
    cell->fifo_head = msg;
}

/* Closes both lanes and starts the slot's next generation. The user messages that were never handled stay in the FIFO,
 * to be popped; *old_mark is the handled mark, if any. The signals that came too late are returned, oldest first. */
struct tr_signal *tr_mailbox_close(struct tr_cell *cell, troupe_msg **old_mark);

#endif
