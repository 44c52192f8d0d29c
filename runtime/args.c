/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/args.h"

#include <string.h>

#include "runtime/kept.h"

static size_t supervision_offset(const troupe_behavior *behavior)
{
    return (behavior->args_size + 15) & ~(size_t)15;
}

/* Of the block; 0: there is none. */
static size_t block_size(const troupe_behavior *behavior, bool has_supervision)
{
    if (has_supervision)
        return supervision_offset(behavior) + sizeof(troupe_supervision);
    return TR_KEPT_SMALL && behavior->args_size <= TR_CELL_ARGS_ROOM ? 0 : behavior->args_size;
}

static bool has_own_policy(const struct tr_cell *cell)
{
    return cell->policy != &cell->behavior->supervision;
}

bool tr_args_make(troupe_ctx *ctx, struct tr_args *out, const troupe_behavior *behavior, const void *args,
                  const troupe_supervision *supervision)
{
    *out = (struct tr_args){.size = block_size(behavior, supervision != NULL)};
    if (out->size > 0 && !(out->block = tr_kept_alloc(ctx, out->size)))
        return false;
    if (args && behavior->args_size)
        memcpy(out->block ? out->block : out->room, args, behavior->args_size);
    if (supervision)
        memcpy((char *)out->block + supervision_offset(behavior), supervision, sizeof *supervision);
    return true;
}

void *tr_args_of(struct tr_args *args, const troupe_behavior *behavior)
{
    if (behavior->args_size == 0)
        return NULL;
    return args->block ? args->block : args->room;
}

void tr_args_drop(troupe_ctx *ctx, struct tr_args *args)
{
    if (args->block)
        tr_kept_free(ctx, args->block, args->size);
    args->block = NULL;
}

const troupe_supervision *tr_args_policy(const struct tr_args *args, const troupe_behavior *behavior,
                                         bool has_supervision)
{
    if (!has_supervision)
        return &behavior->supervision;
    return (const void *)((const char *)args->block + supervision_offset(behavior));
}

void tr_args_give(struct tr_args *args, struct tr_cell *cell, bool has_supervision)
{
    const troupe_behavior *behavior = cell->behavior;
    cell->policy = tr_args_policy(args, behavior, has_supervision);
    cell->args = args->block;
    if (!args->block && behavior->args_size) {
        memcpy(cell->args_room, args->room, sizeof cell->args_room);
        cell->args = cell->args_room;
    }
    args->block = NULL;
}

void tr_args_take(struct tr_args *out, struct tr_cell *cell)
{
    *out = (struct tr_args){.size = block_size(cell->behavior, has_own_policy(cell))};
    if (out->size > 0)
        out->block = cell->args;
    else
        memcpy(out->room, cell->args_room, sizeof out->room);
    cell->args = NULL;
}

void tr_args_free(troupe_ctx *ctx, struct tr_cell *cell)
{
    size_t size = block_size(cell->behavior, has_own_policy(cell));
    if (size > 0)
        tr_kept_free(ctx, cell->args, size);
    cell->args = NULL;
}
