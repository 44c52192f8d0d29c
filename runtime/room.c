/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/room.h"

#include <errno.h>

#include "runtime/actor.h"
#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"

static struct tr_room *room_of(struct tr_signal *signal)
{
    return TR_CONTAINER_OF(signal, struct tr_room, signal);
}

/* False: to has ended, and the record is still the caller's. */
static bool push_to(troupe_ctx *ctx, troupe_addr to, struct tr_room *room, enum tr_signal_kind kind)
{
    struct tr_cell *cell = tr_cell_find(&ctx->rt->cells, to);
    enum tr_push pushed = TR_PUSH_CLOSED;
    room->signal.kind = kind;
    if (cell && ck_pr_load_64(&cell->name) == to.bits)
        pushed = tr_mailbox_signal(cell, &room->signal);
    if (pushed == TR_PUSH_WAKE)
        tr_worker_requeue(ctx->worker, &cell->runnable);
    return pushed != TR_PUSH_CLOSED;
}

/* There is room, or the receiver has ended. */
static void answer(troupe_ctx *ctx, struct tr_room *room)
{
    if (push_to(ctx, room->who, room, TR_SIGNAL_ROOM))
        return;
    ck_pr_fence_acquire(); /* the sender has unlinked it before it closed its mailbox */
    tr_ctx_free(ctx, TR_CLASS_ROOM, room);
}

static bool is_wanted(const struct tr_incarnation *inc, troupe_addr where)
{
    for (const struct tr_list *link = inc->rooms.next; link != &inc->rooms; link = link->next)
        if (troupe_addr_same(TR_CONTAINER_OF(link, const struct tr_room, link)->where, where))
            return true;
    return false;
}

int tr_room_want(troupe_ctx *ctx, troupe_addr where)
{
    const struct tr_cell *cell = ctx->cell;
    if (!cell->behavior->room || (cell->life != TR_LIFE_RUNNING && cell->life != TR_LIFE_STARTING))
        return 0; /* nobody would be called */
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (inc && is_wanted(inc, where))
        return 0;
    struct tr_room *room = inc ? tr_ctx_alloc(ctx, TR_CLASS_ROOM) : NULL;
    if (!room)
        return -ENOMEM;
    room->where = where;
    room->who = tr_cell_addr(cell);
    tr_list_push_back(&inc->rooms, &room->link);
    if (!push_to(ctx, where, room, TR_SIGNAL_ROOM_WANTED))
        answer(ctx, room);
    return 0;
}

void tr_room_wanted(troupe_ctx *ctx, struct tr_signal *signal)
{
    struct tr_cell *cell = ctx->cell;
    struct tr_room *room = room_of(signal);
    struct tr_bound *bound = cell->bound;
    bool mine = tr_addr_generation(room->where) == cell->born && bound && !cell->buried;
    if (!mine || tr_bound_has_room(bound)) {
        answer(ctx, room);
        return;
    }
    signal->next = NULL;
    if (bound->first)
        bound->last->signal.next = signal;
    else
        bound->first = room;
    bound->last = room;
}

void tr_room_tell(troupe_ctx *ctx, struct tr_bound *bound)
{
    struct tr_room *room = bound->first;
    struct tr_signal *next;
    bound->first = bound->last = NULL;
    for (; room; room = next ? room_of(next) : NULL) {
        next = room->signal.next;
        answer(ctx, room);
    }
}

void tr_room_dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    const struct tr_cell *cell = ctx->cell;
    struct tr_room *room = room_of(signal);
    troupe_addr where = room->where;
    bool wanted = !tr_list_empty(&room->link);
    tr_room_bury(ctx, signal);
    if (!wanted || cell->life != TR_LIFE_RUNNING)
        return;
    tr_actor_enter(ctx, "room");
    cell->behavior->room(ctx, cell->state, where);
    tr_actor_leave(ctx);
}

void tr_room_bury(troupe_ctx *ctx, struct tr_signal *signal)
{
    struct tr_room *room = room_of(signal);
    tr_list_remove(&room->link);
    tr_ctx_free(ctx, TR_CLASS_ROOM, room);
}

void tr_room_forget_all(struct tr_incarnation *inc)
{
    while (tr_list_pop_front(&inc->rooms))
        ;
}
