/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens that go with an actor: those it makes, the stop token of its incarnation, its stopped token. The
 * incarnation's stop token is also the scope that lists the made ones; both are made when first needed. The actor's
 * worker only. It is not the tree of tokens: what a scope frees may hang below anybody's token. */
#ifndef TR_RUNTIME_SCOPE_H
#define TR_RUNTIME_SCOPE_H

#include <troupe/token.h>

struct troupe_ctx;

/* The incarnation begins to end: cancels its stop token. Idempotent. */
void tr_token_stopping(struct troupe_ctx *ctx);
/* The incarnation is being closed: frees its stop token and the tokens it made. */
void tr_token_close(struct troupe_ctx *ctx);
/* The actor has ended for good: cancels and frees its stopped token. */
void tr_token_stopped(struct troupe_ctx *ctx);

#endif
