/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: what a running actor began under a token, and how it is told that the token was cancelled. Made and dropped by
 * the actor's worker on behalf of an ask, a timer, a port, a file request or a notification, its owner.
 * It is not the token: that one only lists hooks (token.h) and hands them out when it is swept (sweep.h). */
#ifndef TR_RUNTIME_HOOK_H
#define TR_RUNTIME_HOOK_H

#include "runtime/context.h"
#include "runtime/signal.h"
#include "sched/base/assert.h"

struct tr_incarnation;

enum tr_hook_kind {
    TR_HOOK_ASK,     /* owner: struct tr_ask */
    TR_HOOK_TIMER,   /* struct tr_timer_record */
    TR_HOOK_PORT,    /* struct tr_port, a listener or a stream */
    TR_HOOK_REQUEST, /* struct tr_file_request */
    TR_HOOK_JOB,     /* troupe_job */
    TR_HOOK_NOTICE,  /* troupe_msg: of troupe_token_notify */
    TR_HOOK_THREAD,  /* none: a thread waits */
};

/* Where a hook is: on its token's list (link is linked), or out: taken off by the sweeper, who pushes its signal, or
 * made by an actor who pushed it at once. Only the token's lock decides between the two, and each way out is taken
 * once:
 *   drop      owner's end, on the actor's worker. Linked: it is taken off and freed. Out: its signal is on the way or
 *             about to be pushed; the hook stays, without owner
 *   dispatch  the signal arrived. The hook is freed, then its owner, if it has one, hears of it
 *   refused   the actor's lane is closed: whoever pushed frees the hook
 *   buried    the signal was in the lane when it closed: freed there
 * All owners end with their incarnation, so a hook that is out when its actor has ended has no owner, and the slot's
 * next actor, if it gets the signal, frees it and does nothing. The edge for `owner` is then that of the slot's reuse.
 * The hook's token may be recycled while the hook is out: its lock and serial still may be looked at. */
struct tr_token_hook {
    struct tr_token_hook *free_next; /* struct tr_block while free */
    void *free_magazine;
    struct tr_list link; /* in token->hooks, under its lock */
    troupe_token token;
    struct tr_cell *cell; /* whose actor is told; NULL: a waiting thread */
    struct tr_signal signal;
    void *owner; /* NULL: gone. The actor's worker only, as what follows */
    enum tr_hook_kind kind;
    struct tr_list mine; /* of notifications: in incarnation->notices */
};

/* For tr_hook_under, once there is a token. */
int tr_hook_make(troupe_ctx *ctx, enum tr_hook_kind kind, void *owner, struct tr_token_hook **out);

/* Begins something under the ambient token, if there is one. 0: *out is its hook, or NULL without a token; -ECANCELED,
 * -ENOMEM: it must not begin. */
static inline int tr_hook_under(troupe_ctx *ctx, enum tr_hook_kind kind, void *owner, struct tr_token_hook **out)
{
    *out = NULL;
    return TR_LIKELY(!ctx->under.ref) ? 0 : tr_hook_make(ctx, kind, owner, out);
}

/* A hook that is out from the start: its owner is told of the cancellation, as of any other. NULL: out of memory. */
struct tr_token_hook *tr_hook_make_out(troupe_ctx *ctx, enum tr_hook_kind kind, void *owner);
/* Is there an ambient token that lets nothing begin? */
bool tr_hook_forbidden(const troupe_ctx *ctx);
/* Its token is cancelled; that may be known here before the signal has come. */
bool tr_hook_cancelled(const struct tr_token_hook *hook);
/* The owner ends otherwise. *hook becomes NULL; NULL is allowed. */
void tr_hook_drop(troupe_ctx *ctx, struct tr_token_hook **hook);
/* Drops the notifications of a dying incarnation. */
void tr_hook_drop_notices(troupe_ctx *ctx, struct tr_incarnation *inc);

/* The sweeper has taken it off. Any thread. */
void tr_hook_tell(struct troupe_runtime *rt, struct tr_token_hook *hook);
/* A signal of kind TR_SIGNAL_CANCEL arrived at the actor. */
void tr_token_dispatch(troupe_ctx *ctx, struct tr_signal *signal);
/* The lane of an actor that has ended held this signal. */
void tr_token_bury(troupe_ctx *ctx, struct tr_signal *signal);

#endif
