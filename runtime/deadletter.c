/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/deadletter.h"

#include "runtime/context.h"

void tr_dead_letter(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, const troupe_msg *msg,
                    troupe_dead_reason reason)
{
    if (msg->flags & TR_MSG_NEWS)
        return; /* a monitor's news: it was for an incarnation that is gone */
    if (ctx)
        tr_count(&ctx->stats.dead_letters[reason], 1);
    else
        ck_pr_inc_64(&rt->foreign.dead_letters[reason]);
    if (!rt->options.dead_letter)
        return;
    troupe_dead_letter letter = {
        .reason = reason,
        .to = to,
        .from = msg->sender,
        .kind = msg->kind,
        .reply = msg->flags & TR_MSG_REPLY,
        .payload = msg->payload,
        .size = msg->flags & (TR_MSG_STATUS | TR_MSG_HANDLED) ? 0 : msg->size,
    };
    rt->options.dead_letter(rt->options.dead_letter_arg, &letter);
}
