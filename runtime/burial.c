/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/burial.h"

#include <errno.h>
#include <unistd.h>

#include "runtime/actor.h"
#include "runtime/alarm.h"
#include "runtime/args.h"
#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/family.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/offload.h"
#include "runtime/recovery.h"
#include "runtime/room.h"
#include "runtime/root.h"
#include "runtime/scope.h"
#include "runtime/send.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"

/* A signal that came too late for its actor. */
static void bury_signal(troupe_ctx *ctx, struct tr_signal *signal)
{
    switch (signal->kind) {
    case TR_SIGNAL_ALARM:
    case TR_SIGNAL_TIMER:
    case TR_SIGNAL_RETRY:
    case TR_SIGNAL_DRAIN:
    case TR_SIGNAL_REST:
    case TR_SIGNAL_SHUTDOWN:
    case TR_SIGNAL_KILL:
    case TR_SIGNAL_JOB_TIME:
        tr_alarm_free(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_WATCH_ADD:
    case TR_SIGNAL_WATCH_CANCEL:
    case TR_SIGNAL_LINK:
        tr_watch_dispatch(ctx, signal);
        return;
    case TR_SIGNAL_CANCEL:
        tr_token_bury(ctx, signal);
        return;
    case TR_SIGNAL_JOB:
        tr_offload_bury(signal);
        return;
    case TR_SIGNAL_ROOM_WANTED:
        tr_room_wanted(ctx, signal);
        return;
    case TR_SIGNAL_ROOM:
        tr_room_bury(ctx, signal);
        return;
    case TR_SIGNAL_CHILD:
    case TR_SIGNAL_OP:
        break;
    }
    TR_ASSERT(!"children and operations end before their actor");
}

static void close_mailbox(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    troupe_msg *old_mark;
    if (cell->family)
        tr_family_free(ctx, cell); /* before: an alarm that finds the lane closed, or is found in it, is freed */
    struct tr_signal *signal = tr_mailbox_close(cell, &old_mark), *next;
    cell->buried = true;
    if (old_mark)
        tr_msg_end(ctx, old_mark);
    for (; signal; signal = next) {
        next = signal->next;
        bury_signal(ctx, signal);
    }
    if (cell->bound)
        tr_room_tell(ctx, cell->bound); /* who waited for room is told by the next send that there is nobody */
}

void tr_burial_drop(troupe_ctx *ctx, const troupe_msg *msg)
{
    const troupe_behavior *behavior = ctx->cell->behavior;
    const troupe_handler *handler = msg->kind < TROUPE_KINDS_MAX ? &behavior->handlers[msg->kind] : NULL;
    if (!handler || !handler->drop || (handler->size != msg->size && handler->size != TROUPE_ANY_SIZE))
        return;
    tr_actor_clean_enter(ctx, "drop");
    handler->drop(msg->payload, msg->size);
    tr_actor_clean_leave(ctx);
}

/* Not before its drop was called: what the asker is told is written where the size was. */
static void let_go(troupe_ctx *ctx, troupe_msg *msg)
{
    if (msg->flags & TR_MSG_ASK)
        msg->outcome = -ESRCH;
    tr_msg_let_go(ctx->rt, ctx, msg);
}

/* A message that its receiver's end found in the mailbox. */
static void bury(troupe_ctx *ctx, troupe_msg *msg)
{
    struct tr_cell *cell = ctx->cell;
    bool stale = msg->generation != cell->born;
    bool reply = msg->flags & TR_MSG_REPLY;
    tr_bound_take(ctx, msg);
    if (!(msg->flags & TR_MSG_NEWS))
        tr_dead_letter(ctx->rt, ctx, tr_cell_addressed(cell, msg), msg,
                       reply   ? TROUPE_DEAD_LATE_REPLY
                       : stale ? TROUPE_DEAD_NO_ACTOR
                               : TROUPE_DEAD_STOPPED);
    cell->mark = msg; /* if its drop panics the next step frees it */
    if (!stale && !reply && !(msg->flags & TR_MSG_NEWS))
        tr_burial_drop(ctx, msg);
    cell->mark = NULL;
    let_go(ctx, msg);
}

void tr_burial_give_back(troupe_ctx *ctx, struct tr_cell *cell)
{
    tr_args_free(ctx, cell);
    if (cell->recovery)
        tr_recovery_free(cell);
    tr_cell_put(&ctx->rt->cells, &ctx->slots, cell);
}

static void end(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->watchers)
        tr_watch_ended(ctx, (troupe_reason)cell->reason, cell->incarnation_nr); /* behind all that was buried */
    TR_ASSERT(tr_family_is_empty(cell) && cell->ports == 0 && !cell->signals && !cell->watchers);
    if (cell->bound) {
        tr_bound_free(ctx, cell->bound);
        ck_pr_store_ptr(&cell->bound, NULL);
    }
    if (cell->stopped_token)
        tr_token_stopped(ctx);
    tr_incarnation_free(ctx);
    if (cell->gift_fd >= 0)
        close(cell->gift_fd);
    tr_count(&ctx->stats.stops, 1);
    ctx->cell = NULL;
    if (cell->parent) {
        tr_family_tell_parent(ctx, cell, TR_NEWS_EXITED); /* with it the cell is the parent's */
        return;
    }
    tr_burial_give_back(ctx, cell);
    tr_root_ended(ctx);
}

bool tr_burial_step(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->buried)
        close_mailbox(ctx);
    troupe_msg *dropped = cell->mark, *msg = tr_mailbox_pop(cell);
    cell->mark = NULL;
    if (dropped)
        let_go(ctx, dropped);
    if (msg)
        bury(ctx, msg);
    if (cell->fifo_head)
        return false;
    end(ctx);
    return true;
}
