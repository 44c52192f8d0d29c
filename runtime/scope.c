/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/scope.h"

#include <errno.h>

#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/token.h"

/* The running incarnation's scope, made if there is none yet. One that ends is cancelled from birth. */
static struct tr_token *scope_of(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (!inc || inc->scope)
        return inc ? inc->scope : NULL;
    inc->scope = tr_token_make_kept(ctx->rt);
    enum tr_life life = ctx->cell->life;
    if (inc->scope && life != TR_LIFE_STARTING && life != TR_LIFE_RUNNING)
        troupe_token_cancel(tr_token_handle(inc->scope));
    return inc->scope;
}

int troupe_token_new(troupe_ctx *ctx, troupe_token parent, troupe_token *out)
{
    if (ctx->cell->closed) {
        *out = tr_token_stale(&ctx->rt->tokens); /* `crashed` runs: what goes with the incarnation is gone */
        return 0;
    }
    struct tr_token *scope = scope_of(ctx);
    return scope ? tr_token_make(ctx->rt, parent, scope, out) : -ENOMEM;
}

troupe_token troupe_stop_token(troupe_ctx *ctx)
{
    if (ctx->cell->closed)
        return tr_token_stale(&ctx->rt->tokens);
    struct tr_token *scope = scope_of(ctx);
    return scope ? tr_token_handle(scope) : (troupe_token){0};
}

troupe_token troupe_stopped_token(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->stopped_token)
        cell->stopped_token = tr_token_make_kept(ctx->rt);
    return cell->stopped_token ? tr_token_handle(cell->stopped_token) : (troupe_token){0};
}

void tr_token_stopping(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (inc && inc->scope)
        troupe_token_cancel(tr_token_handle(inc->scope));
}

void tr_token_close(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (inc->scope)
        tr_token_free_kept(inc->scope);
    inc->scope = NULL;
}

void tr_token_stopped(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->stopped_token)
        tr_token_free_kept(cell->stopped_token);
    cell->stopped_token = NULL;
}
