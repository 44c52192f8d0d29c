/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/sweep.h"

#include "runtime/context.h"

/* A sweep walks depth first, without recursion and without memory: the token it is at names the one above (parent), so
 * that one token stands for the whole sweep in tokens->jobs. Sweeps take turns, so that a small one does not wait for a
 * large one.
 * tokens->scheduled: set under the lock by who finds jobs and nobody to do them, and then schedules the runnable;
 * cleared under the lock by the step that finds no job. So the runnable is in the pool's hands at most once, and no job
 * is forgotten.
 * tokens->ended: set under the lock by tr_sweep_end, which then does all jobs it finds. Who has a sweep in hand at that
 * moment, a worker's step or a foreign thread, sees `ended` when it wants to put it back, and finishes it itself. */
#define INLINE_NODES 32u /* done by who cancels: most tokens have no more */
#define TURN_NODES 16u   /* of one sweep, before the next has its turn */
#define STEP_NODES 64u   /* of an activation: some ten microseconds */

/* Returns the token to go on with; NULL when the sweep is done. */
static struct tr_token *sweep_some(struct tr_token *token, unsigned nodes)
{
    while (token && nodes-- > 0)
        token = tr_token_sweep_one(token);
    return token;
}

static void sweep_all(struct tr_token *token)
{
    while (token)
        token = tr_token_sweep_one(token);
}

/* False: the runtime has ended, and the sweep stays the caller's. */
static bool put_job(struct tr_tokens *tokens, struct tr_token *token, bool *start)
{
    tr_lock_take(&tokens->lock);
    bool taken = !tokens->ended;
    if (taken)
        tr_list_push_back(&tokens->jobs, &token->siblings);
    *start = taken && !tokens->scheduled;
    tokens->scheduled = tokens->scheduled || taken;
    tr_lock_release(&tokens->lock);
    return taken;
}

static struct tr_token *take_job(struct tr_tokens *tokens)
{
    tr_lock_take(&tokens->lock);
    struct tr_list *link = tr_list_pop_front(&tokens->jobs);
    if (!link)
        tokens->scheduled = false;
    tr_lock_release(&tokens->lock);
    return link ? TR_CONTAINER_OF(link, struct tr_token, siblings) : NULL;
}

static void schedule(struct troupe_runtime *rt)
{
    troupe_ctx *ctx = tr_ctx_here(rt);
    if (ctx)
        tr_worker_requeue(ctx->worker, &rt->tokens.sweeper.runnable); /* behind what waits there already */
    else
        tr_pool_schedule(rt->pool, &rt->tokens.sweeper.runnable);
}

void tr_sweep(struct troupe_runtime *rt, struct tr_token *token)
{
    bool start;
    token = sweep_some(token, INLINE_NODES);
    if (!token)
        return;
    if (!put_job(&rt->tokens, token, &start))
        sweep_all(token);
    else if (start)
        schedule(rt);
}

void tr_sweep_step(troupe_ctx *ctx)
{
    struct tr_tokens *tokens = &ctx->rt->tokens;
    for (unsigned i = 0; i < STEP_NODES / TURN_NODES; i++) {
        struct tr_token *token = take_job(tokens);
        if (!token)
            return;
        token = sweep_some(token, TURN_NODES);
        bool start;
        if (token && !put_job(tokens, token, &start)) {
            sweep_all(token);
            return;
        }
    }
    tr_worker_requeue(ctx->worker, &tokens->sweeper.runnable);
}

void tr_sweep_end(struct troupe_runtime *rt)
{
    tr_lock_take(&rt->tokens.lock);
    rt->tokens.ended = true;
    tr_lock_release(&rt->tokens.lock);
    struct tr_token *token;
    while ((token = take_job(&rt->tokens)))
        sweep_all(token);
}
