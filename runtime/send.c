/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/send.h"

#include <errno.h>
#include <string.h>

#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/foreign.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/room.h"
#include "sched/base/assert.h"
#include "sched/schedule.h"

#define NOINLINE __attribute__((noinline))
#define WORD sizeof(uint64_t)

/* Lists of composed and of kept messages: first in a pointer, linked by next and prev. */
static void list_add(troupe_msg **first, troupe_msg *msg)
{
    msg->prev = NULL;
    msg->next = *first;
    if (msg->next)
        msg->next->prev = msg;
    *first = msg;
}

static void list_remove(troupe_msg **first, troupe_msg *msg)
{
    if (msg->prev)
        msg->prev->next = msg->next;
    else
        *first = msg->next;
    if (msg->next)
        msg->next->prev = msg->prev;
    msg->next = msg->prev = NULL;
}

int tr_send_build(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size, troupe_msg **out)
{
    troupe_msg *msg = tr_ctx_take_msg(ctx, kind, size);
    if (TR_UNLIKELY(!msg))
        return size > TROUPE_PAYLOAD_MAX ? -EMSGSIZE : -ENOMEM;
    if (size)
        memcpy(msg->payload, payload, size);
    *out = msg;
    return 0;
}

/* The end of a message that was not taken. Its asker, if there is one, is told status. */
static void die(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, troupe_dead_reason reason,
                int status)
{
    tr_dead_letter(rt, ctx, to, msg, reason);
    if (msg->flags & TR_MSG_ASK)
        msg->outcome = status;
    tr_msg_let_go(rt, ctx, msg);
}

/* The receiver is gone. */
static __attribute__((noinline, cold)) int refuse(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to,
                                                  troupe_msg *msg)
{
    if (msg->flags & TR_MSG_REPLY && troupe_addr_is_nobody(to))
        return tr_foreign_answer(rt, ctx, msg);
    die(rt, ctx, to, msg, msg->flags & TR_MSG_REPLY ? TROUPE_DEAD_LATE_REPLY : TROUPE_DEAD_NO_ACTOR, -ESRCH);
    return -ESRCH;
}

void tr_send_dropped(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    die(rt, ctx, to, msg, TROUPE_DEAD_MAILBOX_FULL, -EAGAIN);
}

/* What a full mailbox means to the sender. */
enum manner {
    OFFER, /* refused: nothing was sent */
    POST,  /* refused: a dead letter */
    SURE,  /* it is never full */
};

static __attribute__((noinline, cold)) int turn_away(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to,
                                                     troupe_msg *msg)
{
    int status = ctx && tr_room_want(ctx, to) < 0 ? -ENOMEM : -EAGAIN;
    tr_msg_free(&rt->slab, ctx ? &ctx->cache : NULL, msg);
    return status;
}

static __attribute__((noinline, cold)) int denied(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to,
                                                  troupe_msg *msg, enum tr_deny why, enum manner manner)
{
    if (why == TR_DENY_GONE)
        return refuse(rt, ctx, to, msg);
    if (why == TR_DENY_FULL && manner == OFFER)
        return turn_away(rt, ctx, to, msg);
    tr_send_dropped(rt, ctx, to, msg);
    return why == TR_DENY_DROP ? 0 : -EAGAIN;
}

/* Into the mailbox; TR_PUSH_CLOSED: *why says why not. */
static inline enum tr_push push(const struct tr_cell_table *cells, troupe_addr to, troupe_msg *msg, bool sure,
                                struct tr_cell **receiver, enum tr_deny *why)
{
    struct tr_cell *cell = *receiver = tr_cell_at(cells, to);
    *why = TR_DENY_GONE;
    if (TR_UNLIKELY(!cell || ck_pr_load_64(&cell->name) != to.bits))
        return TR_PUSH_CLOSED;
    msg->generation = tr_addr_generation(to);
    if (TR_UNLIKELY(ck_pr_load_ptr(&cell->bound) != NULL))
        return tr_bound_push(cell, to, msg, sure, why);
    return tr_mailbox_push(cell, msg);
}

/* The caller's thread is the worker of ctx. */
static inline int post_here(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, enum manner manner)
{
    struct tr_cell *receiver;
    enum tr_deny why;
    ctx->grain--;
    enum tr_push pushed = push(&ctx->rt->cells, to, msg, manner == SURE, &receiver, &why);
    if (pushed == TR_PUSH_WAKE)
        tr_schedule_here(ctx->rt->pool, ctx->worker, &receiver->runnable);
    return TR_LIKELY(pushed != TR_PUSH_CLOSED) ? 0 : denied(ctx->rt, ctx, to, msg, why, manner);
}

static inline int post_from_outside(struct troupe_runtime *rt, troupe_addr to, troupe_msg *msg, enum manner manner)
{
    struct tr_cell *receiver;
    enum tr_deny why;
    enum tr_push pushed = push(&rt->cells, to, msg, false, &receiver, &why);
    if (pushed == TR_PUSH_WAKE)
        tr_ctx_wake(rt, receiver);
    return pushed != TR_PUSH_CLOSED ? 0 : denied(rt, NULL, to, msg, why, manner);
}

int tr_post(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    return ctx ? post_here(ctx, to, msg, POST) : post_from_outside(rt, to, msg, POST);
}

int tr_offer(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    return ctx ? post_here(ctx, to, msg, OFFER) : post_from_outside(rt, to, msg, OFFER);
}

int tr_send(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    msg->sender = tr_cell_addr(ctx->cell);
    return post_here(ctx, to, msg, POST);
}

int tr_send_sure(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    msg->sender = tr_cell_addr(ctx->cell);
    return post_here(ctx, to, msg, SURE);
}

static NOINLINE int tell(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size)
{
    troupe_msg *msg = tr_ctx_take_msg(ctx, kind, size);
    if (TR_UNLIKELY(!msg))
        return size > TROUPE_PAYLOAD_MAX ? -EMSGSIZE : -ENOMEM;
    if (size)
        memcpy(msg->payload, payload, size);
    msg->sender = tr_cell_addr(ctx->cell);
    return post_here(ctx, to, msg, OFFER);
}

static NOINLINE int offer_built(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    return post_here(ctx, to, msg, OFFER);
}

/* Not to's cell any more, or with a bound: by one branch. */
static inline bool is_special(const struct tr_cell *cell, troupe_addr to)
{
    uint64_t other = ck_pr_load_64(&cell->name) ^ to.bits;
    return (other | (uintptr_t)ck_pr_load_ptr(&cell->bound)) != 0;
}

/* size is at most two words. From one word on two of them may overlap. */
static inline void copy_small(unsigned char *to, const unsigned char *from, size_t size)
{
    if (TR_LIKELY(size >= WORD)) {
        uint64_t first, last;
        memcpy(&first, from, WORD);
        memcpy(&last, from + size - WORD, WORD);
        memcpy(to, &first, WORD);
        memcpy(to + size - WORD, &last, WORD);
        return;
    }
    for (size_t i = 0; i < size; i++)
        to[i] = from[i];
}

/* The same as tell, for a small message to an actor that lives and has no bound, while there is a block at hand: then
 * nothing is called from here that is not called last, and the message is built before anything else, so that no register
 * needs to be saved. prev stays as it is: who puts a message on a list sets it, and so does tr_bound_push. */
int troupe_tell(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size)
{
    if (TR_UNLIKELY(size > TR_MSG_SMALL_MAX || kind > UINT16_MAX || !tr_slab_has(&ctx->cache, TR_CLASS_64)))
        return tell(ctx, to, kind, payload, size);
    troupe_msg *msg = tr_slab_pop(&ctx->cache, TR_CLASS_64);
    msg->size = (uint32_t)size;
    msg->signature = kind;
    copy_small(msg->payload, payload, size);
    msg->sender = tr_cell_addr(ctx->cell);
    msg->generation = tr_addr_generation(to);
    struct troupe_runtime *rt = ctx->rt;
    struct tr_cell *cell = tr_cell_at(&rt->cells, to);
    if (TR_UNLIKELY(!cell) || TR_UNLIKELY(is_special(cell, to)))
        return offer_built(ctx, to, msg);
    ctx->grain--;
    enum tr_push pushed = tr_mailbox_push(cell, msg);
    if (TR_LIKELY(pushed == TR_PUSH_QUEUED))
        return 0;
    if (TR_UNLIKELY(pushed == TR_PUSH_CLOSED))
        return refuse(rt, ctx, to, msg);
    return tr_schedule_here(rt->pool, ctx->worker, &cell->runnable);
}

troupe_msg *troupe_compose(troupe_ctx *ctx, unsigned kind, size_t size)
{
    /* It must never move, as its payload may point into itself: so it has room for whatever it may have to carry. */
    troupe_msg *msg = tr_msg_alloc_with_tail(&ctx->rt->slab, &ctx->cache, size, TR_MSG_TAIL);
    if (!msg)
        return NULL;
    msg->kind = tr_msg_kind(kind);
    list_add(&ctx->composed, msg);
    ctx->untidy = true;
    return msg;
}

void tr_send_uncompose(troupe_ctx *ctx, troupe_msg *msg)
{
    /* Only what troupe_compose gave. */
    TR_ASSERT(!(msg->flags & TR_MSG_KEPT) && msg->class != TR_MSG_CLASS_LOCAL && msg != ctx->msg);
    if (ctx->composed == msg || msg->prev)
        list_remove(&ctx->composed, msg);
}

int troupe_send(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg)
{
    tr_send_uncompose(ctx, msg);
    msg->sender = tr_cell_addr(ctx->cell);
    return post_here(ctx, to, msg, OFFER);
}

void troupe_discard(troupe_ctx *ctx, troupe_msg *msg)
{
    tr_send_uncompose(ctx, msg);
    tr_msg_free(&ctx->rt->slab, &ctx->cache, msg);
}

void tr_msg_let_go(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_msg *msg)
{
    if (!(msg->flags & TR_MSG_ASK)) {
        if (TR_LIKELY(ctx != NULL))
            tr_msg_put(&rt->slab, &ctx->cache, msg);
        else
            tr_msg_free(&rt->slab, NULL, msg);
        return;
    }
    msg->flags = TR_MSG_REPLY | TR_MSG_STATUS;
    tr_post(rt, ctx, msg->sender, msg);
}

/* msg's asker gets `reply`; msg stays the caller's, but is an ask no more. */
static void answer_with(troupe_ctx *ctx, troupe_msg *msg, troupe_msg *reply)
{
    reply->flags |= TR_MSG_REPLY;
    reply->ask = msg->ask;
    reply->ask_generation = msg->ask_generation;
    reply->kind = msg->kind;
    msg->flags &=
        (uint8_t) ~(TR_MSG_ASK | TR_MSG_EXPIRES); /* what follows is beyond the request, and inherits nothing */
    tr_send(ctx, msg->sender, reply);
}

void tr_send_unkeep(struct tr_incarnation *inc, troupe_msg *msg)
{
    list_remove(&inc->kept, msg);
    msg->flags &= (uint8_t)~TR_MSG_KEPT;
}

/* A kept message that was answered or released is finished here, unless its handler still runs: then there. */
static void finish_kept(troupe_ctx *ctx, troupe_msg *msg, int status)
{
    if (!(msg->flags & TR_MSG_KEPT))
        return;
    tr_send_unkeep(ctx->cell->incarnation, msg);
    if (msg != ctx->msg)
        tr_msg_finish(ctx, msg, status);
}

int troupe_reply_send(troupe_ctx *ctx, const troupe_msg *msg, troupe_msg *reply)
{
    if (!(msg->flags & TR_MSG_ASK)) {
        troupe_discard(ctx, reply);
        return -ENOTCONN;
    }
    tr_send_uncompose(ctx, reply);
    answer_with(ctx, (troupe_msg *)(uintptr_t)msg, reply);
    finish_kept(ctx, (troupe_msg *)(uintptr_t)msg, 0);
    return 0;
}

int troupe_reply(troupe_ctx *ctx, const troupe_msg *msg, const void *payload, size_t size)
{
    if (!(msg->flags & TR_MSG_ASK))
        return -ENOTCONN;
    troupe_msg *reply;
    int status = tr_send_build(ctx, msg->kind, payload, size, &reply);
    return status < 0 ? status : troupe_reply_send(ctx, msg, reply);
}

troupe_msg *troupe_keep(troupe_ctx *ctx, const troupe_msg *msg)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (!inc || msg != ctx->msg || msg->flags & (TR_MSG_KEPT | TR_MSG_REPLY))
        return NULL;
    list_add(&inc->kept, ctx->msg);
    ctx->msg->flags |= TR_MSG_KEPT;
    return ctx->msg;
}

void troupe_release(troupe_ctx *ctx, troupe_msg *msg)
{
    if (!(msg->flags & TR_MSG_KEPT))
        troupe_panic_at(ctx, "", 0,
                        "troupe_release: this message is not kept; a reply that returned 0 ends it as well");
    finish_kept(ctx, msg, -ENODATA);
}
