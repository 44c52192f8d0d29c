/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/expiry.h"

#include <errno.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/burial.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/hook.h"
#include "runtime/send.h"

_Static_assert(7 + sizeof(uint64_t) + sizeof(troupe_token) <= TR_MSG_TAIL, "an expiry fits the tail");

static const struct tr_expiry none = {.deadline_ns = TR_EXPIRY_NEVER};

struct tr_expiry tr_expiry_of(const troupe_msg *msg)
{
    struct tr_expiry expiry = none;
    if (!(msg->flags & TR_MSG_EXPIRES))
        return expiry;
    const uint64_t *word = tr_expiry_word(msg);
    expiry.deadline_ns = *word & ~TR_EXPIRY_HAS_TOKEN;
    if (*word & TR_EXPIRY_HAS_TOKEN)
        expiry.token = *(const troupe_token *)(word + 1);
    return expiry;
}

void tr_expiry_copy(troupe_msg *to, const troupe_msg *from)
{
    struct tr_expiry expiry = tr_expiry_of(from);
    tr_expiry_set(to, expiry.deadline_ns, expiry.token);
}

/* --- room ---------------------------------------------------------------------------------------------------------- */

static troupe_msg *alloc(troupe_ctx *ctx, unsigned kind, size_t size, bool with_token)
{
    size_t tail = tr_expiry_tail(size, with_token);
    if (TR_LIKELY(size <= TR_MSG_SMALL_MAX && size + tail <= TR_MSG_SMALL_MAX)) {
        void *block = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_64);
        return TR_LIKELY(block != NULL) ? tr_msg_init_small(block, size, kind) : NULL;
    }
    troupe_msg *msg = tr_msg_alloc_with_tail(&ctx->rt->slab, &ctx->cache, size, tail);
    if (msg)
        msg->kind = tr_msg_kind(kind);
    return msg;
}

int tr_expiry_build(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size, bool with_token, troupe_msg **out)
{
    troupe_msg *msg = alloc(ctx, kind, size, with_token);
    if (TR_UNLIKELY(!msg))
        return size > TROUPE_PAYLOAD_MAX ? -EMSGSIZE : -ENOMEM;
    if (size)
        memcpy(msg->payload, payload, size);
    *out = msg;
    return 0;
}

/* --- at the dequeue ------------------------------------------------------------------------------------------------ */

static inline bool is_over(troupe_ctx *ctx, const troupe_msg *msg)
{
    const uint64_t *word = tr_expiry_word(msg);
    uint64_t deadline_ns = *word & ~TR_EXPIRY_HAS_TOKEN;
    if (TR_UNLIKELY(deadline_ns <= tr_loop_deadline_here(ctx->loop, 0)))
        return true;
    return TR_UNLIKELY(*word & TR_EXPIRY_HAS_TOKEN) && troupe_token_cancelled(*(const troupe_token *)(word + 1));
}

bool tr_expiry_is_over(troupe_ctx *ctx, const troupe_msg *msg)
{
    return is_over(ctx, msg);
}

bool tr_expiry_is_all(troupe_ctx *ctx, const troupe_msg *msg)
{
    uint32_t rest = msg->signature & ~((uint32_t)(TR_MSG_ASK | TR_MSG_EXPIRES) << 16);
    return msg->flags & TR_MSG_EXPIRES && rest < TROUPE_KINDS_MAX && msg->generation == ctx->cell->generation &&
           !is_over(ctx, msg);
}

/* A panic in drop is skipped, and nothing is called afterwards: so what will free msg is in place before. */
void tr_expiry_bury(troupe_ctx *ctx, troupe_msg *msg)
{
    bool cancelled = troupe_token_cancelled(tr_expiry_of(msg).token);
    tr_dead_letter(ctx->rt, ctx, tr_cell_addressed(ctx->cell, msg), msg,
                   cancelled ? TROUPE_DEAD_CANCELLED : TROUPE_DEAD_EXPIRED);
    msg->flags &= (uint8_t)~TR_MSG_ASK;
    if (msg == ctx->cell->mark) {
        msg->flags |= TR_MSG_HANDLED; /* freed when the head moves on */
    } else {
        TR_ASSERT(!ctx->composed);
        msg->next = msg->prev = NULL;
        ctx->composed = msg; /* freed as what a callback has composed and left */
        ctx->untidy = true;
    }
    tr_burial_drop(ctx, msg);
    tr_actor_leave(ctx);
}

/* --- on behalf ----------------------------------------------------------------------------------------------------- */

struct tr_expiry tr_expiry_ambient(const troupe_ctx *ctx)
{
    if (ctx->behalf_set)
        return ctx->behalf;
    return ctx->msg ? tr_expiry_of(ctx->msg) : none;
}

void troupe_on_behalf(troupe_ctx *ctx, const troupe_msg *msg)
{
    ctx->behalf = msg ? tr_expiry_of(msg) : none;
    ctx->behalf_set = ctx->untidy = true;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

uint64_t troupe_deadline(const troupe_msg *msg)
{
    uint64_t deadline_ns = tr_expiry_of(msg).deadline_ns;
    return deadline_ns == TR_EXPIRY_NEVER ? TROUPE_FOREVER : deadline_ns;
}

uint64_t troupe_time_left(const troupe_msg *msg)
{
    uint64_t deadline_ns = troupe_deadline(msg);
    if (deadline_ns == TROUPE_FOREVER)
        return TROUPE_FOREVER;
    uint64_t now_ns = tr_loop_clock();
    return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

troupe_token troupe_msg_token(const troupe_msg *msg)
{
    return tr_expiry_of(msg).token;
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

static int offer(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns)
{
    uint64_t deadline_ns = timeout_ns == TROUPE_FOREVER ? TROUPE_FOREVER : tr_loop_deadline_here(ctx->loop, timeout_ns);
    tr_expiry_set(msg, deadline_ns, ctx->under);
    msg->sender = tr_cell_addr(ctx->cell);
    return tr_offer(ctx->rt, ctx, to, msg);
}

int troupe_tell_within(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size,
                       uint64_t timeout_ns)
{
    troupe_msg *msg;
    if (tr_hook_forbidden(ctx))
        return -ECANCELED;
    int status = tr_expiry_build(ctx, kind, payload, size, ctx->under.ref != NULL, &msg);
    return status < 0 ? status : offer(ctx, to, msg, timeout_ns);
}

int troupe_send_within(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns)
{
    tr_send_uncompose(ctx, msg);
    if (tr_hook_forbidden(ctx)) {
        tr_msg_free(&ctx->rt->slab, &ctx->cache, msg);
        return -ECANCELED;
    }
    return offer(ctx, to, msg, timeout_ns);
}
