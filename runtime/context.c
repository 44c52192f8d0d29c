/* SPDX-License-Identifier: Apache-2.0 */
/* What a callback can ask about itself. */
#include "runtime/context.h"

troupe_addr troupe_self(const troupe_ctx *ctx)
{
    return tr_cell_addr(ctx->cell);
}

troupe_addr troupe_parent(const troupe_ctx *ctx)
{
    return ctx->cell->parent ? tr_cell_addr(ctx->cell->parent) : (troupe_addr){0};
}

unsigned troupe_incarnation(const troupe_ctx *ctx)
{
    return ctx->cell->incarnation_nr;
}

uint64_t troupe_now(const troupe_ctx *ctx)
{
    return ctx->now_ns;
}

troupe_runtime *troupe_ctx_runtime(const troupe_ctx *ctx)
{
    return ctx->rt;
}
