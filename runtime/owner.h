/* SPDX-License-Identifier: Apache-2.0 */
/* What an incarnation owns by the verbs of own.h: an arena, tracked blocks, resources and deferred calls. Part of
 * struct tr_incarnation; touched only by the worker that runs the actor, so there is nothing atomic in it.
 * It does not know timers, asks, ports or messages: those are the incarnation's (incarnation.h), which says when what
 * goes. */
#ifndef TR_RUNTIME_OWNER_H
#define TR_RUNTIME_OWNER_H

#include <troupe/own.h>

#include "runtime/arena.h"
#include "runtime/blocks.h"
#include "runtime/holdings.h"

/* Zeroed: owns nothing. */
struct tr_owner {
    struct tr_arena arena;
    struct tr_blocks blocks;
    struct tr_holdings holdings;
};

/* Releases resources and deferred calls, last in first out. A panic in one leaves from here (tr_actor_clean_enter);
 * called again it goes on with the next. */
void tr_owner_release(troupe_ctx *ctx, struct tr_owner *owner);
/* Then: frees all memory but some, which stays for the next incarnation. */
void tr_owner_reset(troupe_ctx *ctx, struct tr_owner *owner);
/* Then, at the actor's end: frees that too. */
void tr_owner_fini(struct tr_owner *owner);

/* The end of a handler or callback, when ctx->scratch_used: what it had from troupe_scratch is gone. */
void tr_owner_rewind_scratch(troupe_ctx *ctx);

#endif
