/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/order.h"

#include <errno.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/mailbox.h"
#include "runtime/supervise.h"
#include "runtime/timer.h"

void tr_order_instead(troupe_ctx *ctx, struct tr_cell *cell, uint64_t bits, uint64_t clear)
{
    if (tr_mailbox_control(cell, ck_pr_load_32(&cell->generation), bits, clear) == TR_PUSH_WAKE)
        tr_ctx_wake(ctx->rt, cell);
}

void tr_order(troupe_ctx *ctx, struct tr_cell *cell, uint64_t bits)
{
    tr_order_instead(ctx, cell, bits, 0);
}

static int send_order(troupe_ctx *ctx, troupe_addr actor, uint64_t set, uint64_t clear)
{
    struct tr_cell *cell = tr_cell_find(&ctx->rt->cells, actor);
    enum tr_push push = cell ? tr_mailbox_control(cell, tr_addr_generation(actor), set, clear) : TR_PUSH_CLOSED;
    if (push == TR_PUSH_CLOSED)
        return -ESRCH;
    if (push == TR_PUSH_WAKE)
        tr_ctx_wake(ctx->rt, cell);
    return 0;
}

/* Of the two forms of an order the one that fits the sender: a parent's is final. The parent of a slot that was reused
 * does not matter: the order then finds another generation. */
static uint64_t by_rank(troupe_ctx *ctx, troupe_addr actor, uint64_t parents, uint64_t others)
{
    struct tr_cell *cell = tr_cell_find(&ctx->rt->cells, actor);
    return cell && ck_pr_load_ptr(&cell->parent) == ctx->cell ? parents : others;
}

int troupe_stop(troupe_ctx *ctx, troupe_addr actor)
{
    return send_order(ctx, actor, by_rank(ctx, actor, TR_CONTROL_STOP, TR_CONTROL_STOP_ASKED), 0);
}

int troupe_kill(troupe_ctx *ctx, troupe_addr actor)
{
    return send_order(ctx, actor, by_rank(ctx, actor, TR_CONTROL_KILL, TR_CONTROL_KILL_ASKED), 0);
}

/* The alarm rings in the actor that is to stop (see supervise.c): it does its work whatever becomes of the running
 * actor. */
int troupe_stop_within(troupe_ctx *ctx, troupe_addr actor, uint64_t timeout_ns)
{
    if (timeout_ns == TROUPE_FOREVER)
        return troupe_stop(ctx, actor);
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return -ENOMEM;
    int status = troupe_stop(ctx, actor);
    if (status < 0) {
        tr_alarm_free(ctx, &record->alarm);
        return status;
    }
    record->to = actor;
    tr_alarm_arm_for(ctx, tr_cell_find(&ctx->rt->cells, actor), &record->alarm, TR_SIGNAL_KILL,
                     tr_loop_deadline(timeout_ns));
    return 0;
}

int troupe_suspend(troupe_ctx *ctx, troupe_addr actor)
{
    return send_order(ctx, actor, TR_CONTROL_SUSPEND, TR_CONTROL_RESUME);
}

int troupe_resume(troupe_ctx *ctx, troupe_addr actor)
{
    return send_order(ctx, actor, TR_CONTROL_RESUME, TR_CONTROL_SUSPEND);
}

void troupe_stop_self(troupe_ctx *ctx)
{
    tr_supervise_stop_self(ctx);
}

void troupe_hold(troupe_ctx *ctx)
{
    ctx->cell->held |= TR_HELD_BY_ITSELF;
}

void troupe_unhold(troupe_ctx *ctx)
{
    tr_supervise_unhold(ctx, TR_HELD_BY_ITSELF);
}
