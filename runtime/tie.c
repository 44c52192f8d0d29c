/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tie.h"

#include <errno.h>

#include "runtime/context.h"
#include "runtime/members.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"

#define NO_ROOM 1 /* of bind_locked: not yet, see work->class */

/* One change: what was reserved for it, and what is left to do once the lock is released. */
struct work {
    struct troupe_runtime *rt;
    troupe_ctx *ctx;
    struct tr_shard *shard;
    const struct tr_key *key;
    troupe_addr actor;
    unsigned kind;
    struct tr_name *name;    /* reserved, or dropped: for the slab */
    struct tr_name *dropped; /* while `name` was not needed */
    struct tr_tie *tie;      /* reserved; NULL once it is bound */
    struct tr_tie *cut;      /* by us: its monitor's cancel is still to be sent */
    struct tr_cell *wake;
    unsigned class; /* of the member list that is needed */
};

static struct tr_slab_cache *cache_of(troupe_ctx *ctx)
{
    return ctx ? &ctx->cache : NULL;
}

static struct work work_on(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key)
{
    return (struct work){.rt = rt, .ctx = ctx, .key = key, .shard = tr_shard_of(&rt->names, key)};
}

static void tie_free(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_tie *tie)
{
    if (tie->news)
        tr_msg_free(&rt->slab, cache_of(ctx), tie->news);
    tr_slab_free(&rt->slab, cache_of(ctx), TR_CLASS_TIE, tie);
}

static struct tr_tie *tie_new(struct work *work, troupe_msg *news)
{
    struct tr_tie *tie = tr_slab_alloc(&work->rt->slab, cache_of(work->ctx), TR_CLASS_TIE);
    if (!tie)
        return NULL;
    tie->shard = work->shard;
    tie->name = NULL;
    tie->actor = work->actor;
    tie->news = news;
    tie->monitor = tr_watch_tie(work->rt, work->ctx, work->actor, tie, &tie->monitor_serial);
    if (tie->monitor)
        return tie;
    tr_slab_free(&work->rt->slab, cache_of(work->ctx), TR_CLASS_TIE, tie);
    return NULL;
}

static int reserve(struct work *work, troupe_msg *news)
{
    work->name = tr_slab_alloc(&work->rt->slab, cache_of(work->ctx), TR_CLASS_NAME);
    work->tie = work->name ? tie_new(work, news) : NULL;
    return work->tie ? 0 : -ENOMEM;
}

/* Without the lock: sends and frees what the change has left over. */
static void finish(struct work *work)
{
    if (work->wake)
        tr_ctx_wake(work->rt, work->wake);
    if (work->cut) {
        tr_watch_tie_cancelled(work->rt, work->ctx, work->cut->monitor, work->cut->monitor_serial);
        tie_free(work->rt, work->ctx, work->cut);
    }
    if (work->tie) {
        tr_watch_tie_free(work->rt, work->ctx, work->tie->monitor);
        tie_free(work->rt, work->ctx, work->tie);
    }
    if (work->name)
        tr_slab_free(&work->rt->slab, cache_of(work->ctx), TR_CLASS_NAME, work->name);
    if (work->dropped)
        tr_slab_free(&work->rt->slab, cache_of(work->ctx), TR_CLASS_NAME, work->dropped);
}

/* --- under the lock --- */

static void set_holder(struct tr_shard *shard, struct tr_name *name, struct tr_tie *tie)
{
    tr_shard_change(shard);
    ck_pr_store_64(&name->holder, tie ? tie->actor.bits : 0);
    tr_shard_changed(shard);
    name->tie = tie;
    name->live = tie ? 1 : 0;
}

static void take_off(struct tr_shard *shard, struct tr_tie *tie)
{
    struct tr_name *name = tie->name;
    if (name->space == TR_SPACE_REGISTRY)
        set_holder(shard, name, NULL);
    else
        tr_members_remove(shard, name, tr_members_find(name, tie->actor));
    tie->name = NULL;
}

/* The name may be left without members: tr_names_drop it, if nothing takes their place. */
static void cut(struct work *work, struct tr_tie *tie)
{
    take_off(work->shard, tie);
    if (tr_watch_tie_cancel(tie->monitor, tie->monitor_serial))
        work->cut = tie;
}

static struct tr_tie *bound(struct tr_name *name, troupe_addr actor)
{
    if (name->space == TR_SPACE_REGISTRY)
        return name->holder == actor.bits ? name->tie : NULL;
    const struct tr_member *member = tr_members_find(name, actor);
    return member ? member->tie : NULL;
}

/* Is there room for another one, or one to replace? */
static int may_bind(struct work *work, struct tr_name *name)
{
    if (name->space != TR_SPACE_REGISTRY)
        return tr_members_room(work->shard, name, &work->class) ? 0 : NO_ROOM;
    if (name->holder != 0 && tr_tie_lives(work->rt, (troupe_addr){name->holder}))
        return -EEXIST;
    if (name->tie)
        cut(work, name->tie); /* of an actor that has ended, and has not yet come to tell us */
    return 0;
}

static int bind_new(struct work *work, struct tr_name *name)
{
    int status = may_bind(work, name);
    if (status != 0)
        return status;
    if (!tr_watch_tie_add(work->rt, work->tie->monitor, &work->wake))
        return -ESRCH;
    work->tie->name = name;
    if (name->space == TR_SPACE_REGISTRY)
        set_holder(work->shard, name, work->tie);
    else
        tr_members_add(work->shard, name, work->actor, work->kind, work->tie);
    work->tie = NULL;
    return 0;
}

/* The bind has failed. What was put into the table for it is the next try's; what was there before, and is empty since
 * its holder's end was found, is not. */
static void drop_empty(struct work *work, struct tr_name *name)
{
    struct tr_name **where = work->name ? &work->dropped : &work->name;
    *where = tr_names_drop(work->shard, name);
}

static int bind_locked(struct work *work)
{
    struct tr_name *name = tr_names_find(work->shard, work->key);
    if (!name) {
        name = work->name;
        work->name = NULL;
        tr_names_add(work->shard, name, work->key);
    }
    if (!bound(name, work->actor)) {
        int status = bind_new(work, name);
        if (status != 0 && name->live == 0)
            drop_empty(work, name);
        return status;
    }
    if (name->space != TR_SPACE_REGISTRY)
        tr_members_set_kind(work->shard, tr_members_find(name, work->actor), work->kind);
    return 0;
}

/* --- binding --- */

static int bind_with_room(struct work *work)
{
    for (;;) {
        tr_shard_take(work->shard);
        int status = bind_locked(work);
        tr_lock_release(&work->shard->lock);
        if (status != NO_ROOM)
            return status;
        if (tr_members_supply(work->shard, work->class) < 0)
            return -ENOMEM;
    }
}

int tr_tie_bind(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr actor, unsigned kind,
                troupe_msg *news)
{
    struct work work = work_on(rt, ctx, key);
    work.actor = actor;
    work.kind = kind;
    if (!tr_tie_lives(rt, actor))
        return -ESRCH;
    int status = reserve(&work, news);
    if (status == 0)
        status = bind_with_room(&work);
    if (status != 0 && work.tie)
        work.tie->news = NULL; /* stay the caller's */
    finish(&work);
    return status;
}

/* --- unbinding --- */

int tr_tie_unbind(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr actor)
{
    struct work work = work_on(rt, ctx, key);
    tr_lock_take(&work.shard->lock);
    struct tr_name *name = tr_names_find(work.shard, key);
    struct tr_tie *tie = name ? bound(name, actor) : NULL;
    if (tie) {
        cut(&work, tie);
        work.name = tr_names_drop(work.shard, name);
    }
    tr_lock_release(&work.shard->lock);
    finish(&work);
    return tie ? 0 : -ENOENT;
}

troupe_msg *tr_tie_pop(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr *actor)
{
    struct work work = work_on(rt, ctx, key);
    troupe_msg *news = NULL;
    tr_lock_take(&work.shard->lock);
    struct tr_name *name = tr_names_find(work.shard, key);
    if (name) {
        const struct tr_member *member = tr_members_first(name);
        struct tr_tie *tie = member->tie;
        news = tie->news;
        tie->news = NULL;
        news->kind = tr_msg_kind((unsigned)member->kind);
        *actor = tie->actor;
        cut(&work, tie);
        work.name = tr_names_drop(work.shard, name);
    }
    tr_lock_release(&work.shard->lock);
    finish(&work);
    return news;
}

void tr_tie_ended(troupe_ctx *ctx, struct tr_tie *tie)
{
    struct tr_shard *shard = tie->shard;
    struct tr_name *dropped = NULL;
    tr_lock_take(&shard->lock);
    if (tie->name) {
        struct tr_name *name = tie->name;
        take_off(shard, tie);
        dropped = tr_names_drop(shard, name);
    }
    tr_lock_release(&shard->lock);
    if (dropped)
        tr_slab_free(&ctx->rt->slab, &ctx->cache, TR_CLASS_NAME, dropped);
    tie_free(ctx->rt, ctx, tie);
}
