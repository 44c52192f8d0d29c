/* SPDX-License-Identifier: Apache-2.0 */
/* Cancel tokens: one word that says "stop working on this", for everything that was begun under it.
 * Hierarchical: cancelling a token cancels its descendants, at once and idempotently, from any thread. A token is a
 * value, freely copied and sent, within the runtime that made it; a stale one, of a token that was freed, is harmless.
 * A token cancels work, not actors: see troupe_stop and troupe_kill (actor.h), though an actor's end cancels its
 * own. */
#ifndef TROUPE_TOKEN_H
#define TROUPE_TOKEN_H

#include <troupe/crash.h>
#include <troupe/message.h>
#include <troupe/supervision.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed: no token; it is never cancelled. */
typedef struct troupe_token {
    void *ref;
    uint64_t generation;
} troupe_token;

/* No token: as a parent, or to end troupe_under. */
static inline troupe_token troupe_no_token(void)
{
    troupe_token none = {0, 0};
    return none;
}

/* troupe_token_new - a token of the running actor: cancelled and freed when this incarnation ends, if not before (where
 * there are a great many, piece by piece).
 *   parent  it is cancelled when parent is; zeroed: none. Of a stale or cancelled parent the token is born cancelled
 * Returns 0 or -ENOMEM. */
TROUPE_API int troupe_token_new(troupe_ctx *ctx, troupe_token parent, troupe_token *out);
/* The same for a thread outside: it lives until troupe_token_free, or the runtime's end. -ESHUTDOWN: all actors have
 * ended; *out is a stale token, which counts as cancelled. Its value may be used as long as the runtime may: see
 * runtime.h, retain. */
TROUPE_API int troupe_runtime_token_new(troupe_runtime *rt, troupe_token parent, troupe_token *out);

/* Cancels it and its descendants. troupe_token_cancelled is true of all of them when the call returns; what was begun
 * under them ends soon after, piece by piece, so that a million of them do not hold up a worker. Any thread. True: this
 * call did it; false: it was cancelled, or stale. */
TROUPE_API bool troupe_token_cancel(troupe_token token);
/* Any thread; costs a step per ancestor. A stale token counts as cancelled, no token does not. */
TROUPE_API bool troupe_token_cancelled(troupe_token token);
/* Cancels and frees it: the value is stale from here on, its descendants are cancelled. Any thread; a stale one is left
 * alone. */
TROUPE_API void troupe_token_free(troupe_token token);

/* The running actor's own tokens, parents for what should end with it. `stop` is cancelled when it begins to stop,
 * crash or restart: it is that of the incarnation. `stopped` is cancelled when the actor has ended for good; it can be
 * given to others. Both end with what they stand for: troupe_token_free cancels them and no more. Returns no token when
 * memory is short. */
TROUPE_API troupe_token troupe_stop_token(troupe_ctx *ctx);
TROUPE_API troupe_token troupe_stopped_token(troupe_ctx *ctx);

/* Has all asks, timers, ports, file operations and offloaded jobs that the running actor begins from here on, until
 * this handler or callback returns or the next call, begun under token (zeroed: none again). When it is cancelled: an
 * ask ends with -ECANCELED, and so does an offloaded job; a timer is cancelled; a listener or stream is closed, the
 * stream's closed event says -ECANCELED; a file operation ends with -ECANCELED, unless it has begun to write or to
 * sync: then with its result. The file itself stays open. From the cancel on no timer sends and no ask is answered,
 * even if the end comes later: a reply in the mailbox becomes a dead letter. A cancelled token lets nothing begin: an
 * ask sends nothing and ends at once with that status, the other verbs return it (troupe_send_after and _every,
 * troupe_listen, troupe_stream_adopt, troupe_file_open, _read, _write and _sync, troupe_offload). */
TROUPE_API void troupe_under(troupe_ctx *ctx, troupe_token token);

/* The token that msg carries (message.h, "Deadlines"); no token if it carries none. To begin more than asks on its
 * behalf under it: troupe_under(ctx, troupe_msg_token(msg)). */
TROUPE_API troupe_token troupe_msg_token(const troupe_msg *msg);

/* Has a message of kind, with the troupe_token as payload, sent to the running actor when token is cancelled; at once
 * if it is already. Once; gone with the incarnation. Of no token: never. 0 or -ENOMEM. */
TROUPE_API int troupe_token_notify(troupe_ctx *ctx, troupe_token token, unsigned kind);
/* Blocks a thread that is no worker until token is cancelled: 0, or -ETIMEDOUT. -EINVAL: no token. A thread that still
 * waits when the runtime is joined is let go, with 0, and so is one that comes later. */
TROUPE_API int troupe_token_wait(troupe_token token, uint64_t timeout_ns);

#ifdef __cplusplus
}
#endif

#endif
