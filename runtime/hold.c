/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hold.h"

#include "runtime/ask.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/supervise.h"
#include "sched/base/assert.h"

void tr_hold_begin(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    struct tr_incarnation *inc = cell->incarnation;
    if (inc->holding++ > 0)
        return;
    inc->hold_seen = cell->fifo_head ? cell->fifo_tail : NULL;
    cell->held |= TR_HELD_ASKING;
}

void tr_hold_end(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    TR_ASSERT(inc->holding > 0);
    if (--inc->holding > 0)
        return;
    inc->hold_seen = NULL;
    ctx->cell->asks_due = true; /* others may have come due meanwhile */
    tr_supervise_unhold(ctx, TR_HELD_ASKING);
}

/* The serial first: a record that is somebody else's by now must not be looked into. */
static bool answers_hold(const struct tr_cell *cell, const troupe_msg *msg)
{
    const struct tr_ask *ask = msg->ask;
    return msg->flags & TR_MSG_REPLY && ck_pr_load_32(&ask->serial) == msg->ask_generation && ask->cell == cell &&
           ask->holds;
}

/* prev: before msg in the FIFO; NULL: msg is its head. */
static void move_to_front(struct tr_cell *cell, troupe_msg *prev, troupe_msg *msg)
{
    if (!prev)
        return;
    prev->next = msg->next;
    if (cell->fifo_tail == msg)
        cell->fifo_tail = prev;
    msg->next = cell->fifo_head;
    cell->fifo_head = msg;
}

troupe_msg *tr_hold_next(struct tr_cell *cell)
{
    if (cell->held != TR_HELD_ASKING)
        return NULL;
    struct tr_incarnation *inc = cell->incarnation;
    for (;;) {
        troupe_msg *prev = inc->hold_seen, *msg = prev ? prev->next : cell->fifo_head;
        if (!msg)
            return NULL;
        if (answers_hold(cell, msg)) {
            move_to_front(cell, prev, msg);
            return msg;
        }
        inc->hold_seen = msg;
    }
}
