/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stash.h"

#include <troupe/stash.h>

#include "runtime/bound.h"
#include "runtime/incarnation.h"
#include "runtime/take.h"

unsigned tr_stash_empty(struct tr_cell *cell, struct tr_stash *stash)
{
    unsigned count = stash->count;
    if (count == 0)
        return 0;
    if (!cell->fifo_head)
        cell->fifo_tail = stash->newest;
    stash->newest->next = NULL;
    for (const troupe_msg *msg = stash->oldest; msg; msg = msg->next)
        tr_bound_return(cell, msg);
    stash->newest->next = cell->fifo_head;
    cell->fifo_head = stash->oldest;
    *stash = (struct tr_stash){0};
    return count;
}

static unsigned limit(const troupe_behavior *behavior)
{
    return behavior->stash_max ? behavior->stash_max : TROUPE_STASH_DEFAULT;
}

int troupe_stash(troupe_ctx *ctx, const troupe_msg *msg)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (!inc)
        return -ENOMEM;
    struct tr_stash *stash = &inc->stash;
    if (stash->count >= limit(ctx->cell->behavior))
        return -EAGAIN;
    troupe_msg *own = tr_take(ctx, msg);
    if (!own)
        return -EINVAL;
    own->next = NULL;
    if (stash->count++ == 0)
        stash->oldest = own;
    else
        stash->newest->next = own;
    stash->newest = own;
    return 0;
}

unsigned troupe_unstash_all(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    unsigned count = inc ? tr_stash_empty(ctx->cell, &inc->stash) : 0;
    ctx->untidy = ctx->untidy || count > 0; /* the FIFO is not empty: the activation goes on */
    return count;
}

unsigned troupe_stashed(const troupe_ctx *ctx)
{
    const struct tr_incarnation *inc = ctx->cell->incarnation;
    return inc ? inc->stash.count : 0;
}
