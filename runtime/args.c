/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/args.h"

static bool has_own_policy(const struct tr_cell *cell)
{
    return cell->policy != &cell->behavior->supervision;
}

bool tr_args_make_block(troupe_ctx *ctx, struct tr_args *out, const troupe_behavior *behavior, const void *args,
                        const troupe_supervision *supervision)
{
    out->block = tr_kept_alloc(ctx, out->size);
    if (!out->block)
        return false;
    if (args && behavior->args_size)
        memcpy(out->block, args, behavior->args_size);
    if (supervision)
        memcpy((char *)out->block + tr_args_supervision_offset(behavior), supervision, sizeof *supervision);
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

void tr_args_take(struct tr_args *out, struct tr_cell *cell)
{
    *out = (struct tr_args){.size = tr_args_block_size(cell->behavior, has_own_policy(cell))};
    if (out->size > 0)
        out->block = cell->args;
    else
        memcpy(out->room, cell->args_room, sizeof out->room);
    cell->args = NULL;
}

void tr_args_free_block(troupe_ctx *ctx, struct tr_cell *cell)
{
    tr_kept_free(ctx, cell->args, tr_args_block_size(cell->behavior, has_own_policy(cell)));
}
