/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_forward: hands a message on to another actor as it is: sender, ask and what else is in its envelope. Called by
 * the running actor.
 * It copies nothing: the block itself goes on, also if it was the mailbox's mark. */
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/send.h"
#include "runtime/take.h"

/* The message, if it is the running actor's to give away, and on none of its lists any more. */
static troupe_msg *let_loose(troupe_ctx *ctx, const troupe_msg *msg)
{
    if (!(msg->flags & TR_MSG_KEPT))
        return tr_take(ctx, msg);
    troupe_msg *kept = (troupe_msg *)(uintptr_t)msg;
    tr_send_unkeep(ctx->cell->incarnation, kept);
    return kept == ctx->msg ? tr_take(ctx, msg) : kept;
}

int troupe_forward(troupe_ctx *ctx, const troupe_msg *msg, troupe_addr to)
{
    troupe_msg *own = let_loose(ctx, msg);
    if (!own)
        return -EINVAL;
    if (own == ctx->cell->mark)
        tr_mailbox_unmark(ctx->cell);
    own->flags &= (uint8_t)~TR_MSG_RETRIED;
    return tr_post(ctx->rt, ctx, to, own);
}
