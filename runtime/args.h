/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of an actor: the copy that every incarnation is built from, and behind it that of a supervision of its
 * own, if it has one. Small ones lie in the cell, larger ones in a block. Made and freed by the parent, on its worker;
 * constant in between.
 * It does not know what they mean, nor when an actor is made: see spawn.h. */
#ifndef TR_RUNTIME_ARGS_H
#define TR_RUNTIME_ARGS_H

#include <troupe/actor.h>

#include <string.h>

#include "runtime/cell.h"
#include "runtime/kept.h"

/* Arguments without an actor: before it is made, or on their way to the next one. {0}: none. */
struct tr_args {
    void *block; /* NULL: they are in room, or there are none */
    size_t size; /* of the block */
    union {
        unsigned char room[TR_CELL_ARGS_ROOM];
        uint64_t aligned;
    };
};

/* Where a supervision lies behind the arguments. */
static inline size_t tr_args_supervision_offset(const troupe_behavior *behavior)
{
    return (behavior->args_size + 15) & ~(size_t)15;
}

/* Of the block; 0: there is none. */
static inline size_t tr_args_block_size(const troupe_behavior *behavior, bool has_supervision)
{
    if (TR_UNLIKELY(has_supervision))
        return tr_args_supervision_offset(behavior) + sizeof(troupe_supervision);
    return TR_KEPT_SMALL && behavior->args_size <= TR_CELL_ARGS_ROOM ? 0 : behavior->args_size;
}

/* For tr_args_make: those that need a block. */
bool tr_args_make_block(troupe_ctx *ctx, struct tr_args *out, const troupe_behavior *behavior, const void *args,
                        const troupe_supervision *supervision);

/* behavior->args_size bytes, copied from args (zeroed if that is NULL), and a copy of supervision if there is one.
 * False: out of memory. */
static inline bool tr_args_make(troupe_ctx *ctx, struct tr_args *out, const troupe_behavior *behavior, const void *args,
                                const troupe_supervision *supervision)
{
    *out = (struct tr_args){.size = tr_args_block_size(behavior, supervision != NULL)};
    if (TR_UNLIKELY(out->size > 0))
        return tr_args_make_block(ctx, out, behavior, args, supervision);
    if (args && behavior->args_size)
        memcpy(out->room, args, behavior->args_size);
    return true;
}

/* Where the arguments are; NULL: there are none. */
void *tr_args_of(struct tr_args *args, const troupe_behavior *behavior);
/* Nobody wants them. Again, it does nothing. */
void tr_args_drop(troupe_ctx *ctx, struct tr_args *args);
/* An ended actor's, for another one. */
void tr_args_take(struct tr_args *out, struct tr_cell *cell);
/* For tr_args_free. */
void tr_args_free_block(troupe_ctx *ctx, struct tr_cell *cell);
/* An ended actor's, for nobody. */
static inline void tr_args_free(troupe_ctx *ctx, struct tr_cell *cell)
{
    if (cell->args && cell->args != cell->args_room)
        tr_args_free_block(ctx, cell);
    cell->args = NULL;
}

/* The supervision behind arguments that have one, or the behavior's. */
static inline const troupe_supervision *tr_args_policy(const struct tr_args *args, const troupe_behavior *behavior,
                                                       bool has_supervision)
{
    if (TR_LIKELY(!has_supervision))
        return &behavior->supervision;
    return (const void *)((const char *)args->block + tr_args_supervision_offset(behavior));
}

/* cell has them from here on, and its policy: they are no longer the caller's. cell->behavior is set already. */
static inline void tr_args_give(struct tr_args *args, struct tr_cell *cell, bool has_supervision)
{
    const troupe_behavior *behavior = cell->behavior;
    cell->policy = tr_args_policy(args, behavior, has_supervision);
    memcpy(cell->args_room, args->room, sizeof cell->args_room);
    cell->args = args->block || behavior->args_size == 0 ? args->block : cell->args_room;
    args->block = NULL;
}

#endif
