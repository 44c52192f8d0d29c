/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hook.h"

#include <errno.h>
#include <string.h>

#include "runtime/ask.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/offload.h"
#include "runtime/port.h"
#include "runtime/send.h"
#include "runtime/timer.h"

void troupe_under(troupe_ctx *ctx, troupe_token token)
{
    ctx->under = token;
    ctx->untidy = true;
}

/* --- making and dropping ---------------------------------------------------------------------------------------- */

static struct tr_token_hook *hook_new(troupe_ctx *ctx, enum tr_hook_kind kind, troupe_token token, void *owner)
{
    struct tr_token_hook *hook = tr_ctx_alloc(ctx, TR_CLASS_HOOK);
    if (!hook)
        return NULL;
    hook->token = token;
    hook->cell = ctx->cell;
    hook->signal = (struct tr_signal){.kind = TR_SIGNAL_CANCEL};
    hook->owner = owner;
    hook->kind = kind;
    tr_list_init(&hook->link);
    tr_list_init(&hook->mine);
    return hook;
}

static void hook_free(struct troupe_runtime *rt, struct tr_token_hook *hook)
{
    troupe_ctx *ctx = tr_ctx_here(rt);
    tr_slab_free(&rt->slab, ctx ? &ctx->cache : NULL, TR_CLASS_HOOK, hook);
}

/* The bit is looked at again when the hook is linked. In between an ancestor may be cancelled: then the sweep, which
 * has not reached this token yet, will find the hook. */
static int make(troupe_ctx *ctx, enum tr_hook_kind kind, troupe_token token, void *owner, struct tr_token_hook **out)
{
    if (troupe_token_cancelled(token))
        return -ECANCELED;
    struct tr_token_hook *hook = hook_new(ctx, kind, token, owner);
    if (!hook)
        return -ENOMEM;
    if (!tr_token_link(ctx->rt, hook)) {
        hook_free(ctx->rt, hook);
        return -ECANCELED;
    }
    *out = hook;
    return 0;
}

int tr_hook_make(troupe_ctx *ctx, enum tr_hook_kind kind, void *owner, struct tr_token_hook **out)
{
    return make(ctx, kind, ctx->under, owner, out);
}

struct tr_token_hook *tr_hook_make_out(troupe_ctx *ctx, enum tr_hook_kind kind, void *owner)
{
    struct tr_token_hook *hook = hook_new(ctx, kind, ctx->under, owner);
    if (hook)
        tr_hook_tell(ctx->rt, hook);
    return hook;
}

bool tr_hook_forbidden(const troupe_ctx *ctx)
{
    return TR_UNLIKELY(ctx->under.ref != NULL) && troupe_token_cancelled(ctx->under);
}

bool tr_hook_cancelled(const struct tr_token_hook *hook)
{
    return troupe_token_cancelled(hook->token);
}

void tr_hook_drop(troupe_ctx *ctx, struct tr_token_hook **hook)
{
    struct tr_token_hook *old = *hook;
    *hook = NULL;
    if (!old)
        return;
    if (tr_token_unlink(old))
        hook_free(ctx->rt, old);
    else
        old->owner = NULL; /* its signal frees it */
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

void tr_hook_tell(struct troupe_runtime *rt, struct tr_token_hook *hook)
{
    struct tr_cell *cell = hook->cell;
    if (!cell) {
        tr_token_wake(rt, hook);
        return;
    }
    switch (tr_mailbox_signal(cell, &hook->signal)) {
    case TR_PUSH_QUEUED:
        break;
    case TR_PUSH_WAKE: {
        troupe_ctx *ctx = tr_ctx_here(rt);
        if (ctx)
            tr_worker_requeue(ctx->worker, &cell->runnable); /* one of many, perhaps: none deserves to run first */
        else
            tr_ctx_wake(rt, cell);
        break;
    }
    case TR_PUSH_CLOSED:
        hook_free(rt, hook);
        break;
    }
}

/* A notice's message goes to the actor itself; after a crash nobody is told any more. */
static void send_notice(troupe_ctx *ctx, troupe_msg *message)
{
    if (ctx->cell->crashed)
        tr_msg_free(&ctx->rt->slab, &ctx->cache, message);
    else
        tr_send_sure(ctx, tr_cell_addr(ctx->cell), message);
}

void tr_token_dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    struct tr_token_hook *hook = TR_CONTAINER_OF(signal, struct tr_token_hook, signal);
    enum tr_hook_kind kind = hook->kind;
    void *owner = hook->owner;
    tr_list_remove(&hook->mine);
    hook_free(ctx->rt, hook);
    if (!owner)
        return;
    switch (kind) {
    case TR_HOOK_ASK:
        tr_ask_cancelled(ctx, owner);
        return;
    case TR_HOOK_TIMER:
        tr_timer_cancelled(ctx, owner);
        return;
    case TR_HOOK_PORT:
        tr_port_cancelled(ctx, owner);
        return;
    case TR_HOOK_REQUEST:
        tr_file_cancelled(owner);
        return;
    case TR_HOOK_JOB:
        tr_offload_cancelled(ctx, owner);
        return;
    case TR_HOOK_NOTICE:
        send_notice(ctx, owner);
        return;
    case TR_HOOK_THREAD:
        break;
    }
    TR_ASSERT(!"a thread has no mailbox");
}

void tr_token_bury(troupe_ctx *ctx, struct tr_signal *signal)
{
    hook_free(ctx->rt, TR_CONTAINER_OF(signal, struct tr_token_hook, signal));
}

/* --- notifications ---------------------------------------------------------------------------------------------- */

int troupe_token_notify(troupe_ctx *ctx, troupe_token token, unsigned kind)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    troupe_msg *message;
    if (!token.ref)
        return 0; /* it is never cancelled */
    if (!inc || tr_send_build(ctx, kind, &token, sizeof token, &message) < 0)
        return -ENOMEM;
    struct tr_token_hook *hook;
    int status = make(ctx, TR_HOOK_NOTICE, token, message, &hook);
    if (status == -ECANCELED) {
        tr_send_sure(ctx, tr_cell_addr(ctx->cell), message);
        return 0;
    }
    if (status < 0) {
        tr_msg_free(&ctx->rt->slab, &ctx->cache, message);
        return status;
    }
    tr_list_push_back(&inc->notices, &hook->mine);
    return 0;
}

void tr_hook_drop_notices(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_list *link;
    while ((link = tr_list_pop_front(&inc->notices))) {
        struct tr_token_hook *hook = TR_CONTAINER_OF(link, struct tr_token_hook, mine);
        tr_msg_free(&ctx->rt->slab, &ctx->cache, hook->owner);
        tr_hook_drop(ctx, &hook);
    }
}
