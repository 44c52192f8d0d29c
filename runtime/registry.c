/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of registry.h: a name with one holder, and those who wait for it. */
#include <troupe/registry.h>

#include <errno.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/fanout.h"
#include "runtime/send.h"
#include "runtime/tie.h"

/* The holder as it was at some moment of the call, alive; nobody. */
static troupe_addr look_up(const struct troupe_runtime *rt, const struct tr_key *key)
{
    struct tr_look look = {.shard = tr_shard_of(&rt->names, key)};
    troupe_addr holder;
    do {
        tr_look_begin(&look);
        const struct tr_name *name = tr_look_find(&look, key);
        holder.bits = name ? ck_pr_load_64(&name->holder) : 0;
    } while (!tr_look_end(&look));
    return tr_tie_lives(rt, holder) ? holder : (troupe_addr){0};
}

/* Those who wait for the name of that text are told that actor has it. Who cuts a tie sends its news, so each is told
 * once, whoever calls this and when. */
static void tell_waiting(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *name, troupe_addr actor)
{
    struct tr_key key = tr_key_in(name, TR_SPACE_AWAITED);
    struct tr_saying saying = {.rt = rt, .ctx = ctx, .sure = true};
    troupe_msg *news;
    troupe_addr to;
    while ((news = tr_tie_pop(rt, ctx, &key, &to))) {
        ((troupe_registered *)troupe_msg_body(news))->actor = actor;
        news->sender = actor;
        if (tr_deliver(&saying, to, news) < 0) /* it has ended: nobody is waiting any more */
            tr_msg_free(&rt->slab, ctx ? &ctx->cache : NULL, news);
    }
}

static int bind(struct troupe_runtime *rt, troupe_ctx *ctx, const char *name, troupe_addr actor)
{
    struct tr_key key;
    int status = tr_key_make(&key, TR_SPACE_REGISTRY, name);
    if (status == 0)
        status = tr_tie_bind(rt, ctx, &key, actor, 0, NULL);
    if (status == 0)
        tell_waiting(rt, ctx, &key, actor);
    return status;
}

static int unbind(struct troupe_runtime *rt, troupe_ctx *ctx, const char *name, troupe_addr actor)
{
    struct tr_key key;
    int status = tr_key_make(&key, TR_SPACE_REGISTRY, name);
    return status < 0 ? status : tr_tie_unbind(rt, ctx, &key, actor);
}

/* One that ends between the look and the push may have a successor by now: so it looks again. */
static int say_to(const struct tr_saying *saying, const char *name)
{
    struct tr_key key;
    troupe_msg *msg = NULL;
    int status = tr_key_make(&key, TR_SPACE_REGISTRY, name);
    if (status == 0)
        status = tr_saying_message(saying, &msg);
    if (status < 0)
        return status;
    for (;;) {
        troupe_addr to = look_up(saying->rt, &key);
        if (troupe_addr_is_nobody(to))
            return tr_deliver_to_nobody(saying, msg);
        status = tr_deliver(saying, to, msg);
        if (status != -ESRCH)
            break;
    }
    if (status < 0)
        tr_msg_free(&saying->rt->slab, saying->ctx ? &saying->ctx->cache : NULL, msg);
    return status;
}

int troupe_register(troupe_ctx *ctx, const char *name, troupe_addr actor)
{
    return bind(ctx->rt, ctx, name, actor);
}

int troupe_unregister(troupe_ctx *ctx, const char *name, troupe_addr actor)
{
    return unbind(ctx->rt, ctx, name, actor);
}

static troupe_addr look_up_text(const troupe_runtime *rt, const char *name)
{
    struct tr_key key;
    return tr_key_make(&key, TR_SPACE_REGISTRY, name) == 0 ? look_up(rt, &key) : (troupe_addr){0};
}

troupe_addr troupe_lookup(const troupe_ctx *ctx, const char *name)
{
    return look_up_text(ctx->rt, name);
}

int troupe_tell_name(troupe_ctx *ctx, const char *name, unsigned kind, const void *payload, size_t size)
{
    struct tr_saying saying = {.rt = ctx->rt, .ctx = ctx, .kind = kind, .payload = payload, .size = size};
    return say_to(&saying, name);
}

int troupe_await_name(troupe_ctx *ctx, const char *name, unsigned kind)
{
    struct tr_key key;
    troupe_registered registered = {{0}, {0}};
    troupe_msg *news;
    int status = tr_key_make(&key, TR_SPACE_AWAITED, name);
    if (status < 0)
        return status;
    memcpy(registered.name, name, strlen(name));
    status = tr_send_build(ctx, kind, &registered, sizeof registered, &news);
    if (status < 0)
        return status;
    status = tr_tie_bind(ctx->rt, ctx, &key, tr_cell_addr(ctx->cell), kind, news);
    if (status < 0) {
        tr_msg_free(&ctx->rt->slab, &ctx->cache, news);
        return status;
    }
    /* Bound first and looked up then: who registers looks for those who wait afterwards, both in the same shard, so one
     * of the two finds the other. */
    struct tr_key registry = tr_key_in(&key, TR_SPACE_REGISTRY);
    troupe_addr holder = look_up(ctx->rt, &registry);
    if (!troupe_addr_is_nobody(holder))
        tell_waiting(ctx->rt, ctx, &registry, holder);
    return 0;
}

int troupe_runtime_register(troupe_runtime *rt, const char *name, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = bind(rt, tr_ctx_here(rt), name, actor);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_runtime_unregister(troupe_runtime *rt, const char *name, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = unbind(rt, tr_ctx_here(rt), name, actor);
    tr_gate_leave(&rt->gate);
    return status;
}

troupe_addr troupe_runtime_lookup(const troupe_runtime *rt, const char *name)
{
    struct tr_gate *gate = tr_gate_of(rt);
    if (!tr_gate_enter(gate))
        return (troupe_addr){0};
    troupe_addr holder = look_up_text(rt, name);
    tr_gate_leave(gate);
    return holder;
}

int troupe_runtime_tell_name(troupe_runtime *rt, const char *name, unsigned kind, const void *payload, size_t size)
{
    struct tr_saying saying = {.rt = rt, .kind = kind, .payload = payload, .size = size};
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = say_to(&saying, name);
    tr_gate_leave(&rt->gate);
    return status;
}
