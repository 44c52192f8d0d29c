/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the message that the running actor handles out of its hands, to be handed on (forward.c) or set aside (stash.c)
 * before its handler has returned. Called by those verbs.
 * It is not troupe_keep: a kept message stays the handler's. */
#ifndef TR_RUNTIME_TAKE_H
#define TR_RUNTIME_TAKE_H

#include <errno.h>

#include "runtime/context.h"
#include "runtime/expiry.h"

/* What is left in its place, ctx->stub, says what a crash report of the handler needs, and that there is nothing to be
 * given again: it is marked as kept. NULL: msg is not what the actor handles, was kept, or is no message of a
 * mailbox. */
static inline troupe_msg *tr_take(troupe_ctx *ctx, const troupe_msg *msg)
{
    troupe_msg *own = ctx->msg;
    if (msg != own || own == &ctx->stub.msg || own->flags & (TR_MSG_KEPT | TR_MSG_REPLY))
        return NULL;
    ctx->stub.msg = (troupe_msg){.sender = own->sender, .kind = own->kind, .flags = TR_MSG_KEPT};
    if (own->flags & TR_MSG_EXPIRES)
        tr_expiry_copy(&ctx->stub.msg, own); /* what the rest of the handler asks is still on its behalf */
    ctx->msg = &ctx->stub.msg;
    ctx->given = ctx->untidy = true;
    return own;
}

#endif
