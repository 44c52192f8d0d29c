/* SPDX-License-Identifier: Apache-2.0 */
/* The context: one per worker, everything the running actor's callbacks reach through troupe_ctx. Owned by its worker's
 * thread. It is not the actor: `cell` changes with every activation. */
#ifndef TR_RUNTIME_CONTEXT_H
#define TR_RUNTIME_CONTEXT_H

#include <ck_stack.h>

#include "runtime/arena.h"
#include "runtime/backtrace.h"
#include "runtime/cell.h"
#include "runtime/fault.h"
#include "runtime/instance.h"
#include "runtime/jump.h"
#include "runtime/send.h"
#include "runtime/slab.h"
#include "runtime/stats.h"

#define TR_DELAYS_FIRED 16u /* delayed messages that are sent together: see delay.h */

struct tr_delay;
struct tr_loop;
struct tr_port;

/* What troupe_panic_at leaves for the catcher. */
struct tr_panic {
    char text[TROUPE_CRASH_TEXT];
    const char *file;
    unsigned line;
    int status;
    troupe_cause cause;
    unsigned frames_count; /* 0: not taken */
    uintptr_t frames[TROUPE_CRASH_FRAMES];
};

struct troupe_ctx {
    struct troupe_runtime *rt;
    struct tr_worker *worker;
    struct tr_loop *loop;
    struct tr_cell *cell; /* the running actor; NULL between activations */
    /* Where the name of the callback of it that runs is found, for crash reports; NULL outside of user code. While this
     * or `cleaning` is set, and only then, the actor may panic. */
    const char *const *named;
    const char *callback;                  /* what `named` leads to in callbacks that are no handlers */
    troupe_msg *msg;                       /* the message or answer it handles; NULL in other callbacks */
    troupe_msg *composed;                  /* built and not yet sent */
    struct tr_port *dirty;                 /* ports with output to flush before the activation ends */
    struct tr_op *event_op;                /* whose completion is being handled: put afterwards, also after a panic */
    struct tr_file_request *event_request; /* the same for a file's result */
    struct troupe_job *event_job;          /* the same for an offloaded job */
    int accepted_fd;                       /* of the accepted event being handled; -1: taken, or none */
    /* Of this activation: units until the next look at the clock, of how many, and those used before. What it sends counts
     * as what it handles, so that a sender gives way to its receiver; that may overdraw grain. See budget_take in actor.c. */
    int64_t grain, granted, used;
    int64_t first_grain;     /* with which each activation begins; constant */
    uint64_t batch_until_ns; /* set by its first look at the clock */
    /* The callback left something to tidy up when it returns: under, composed, scratch, dirty or given may be set. */
    bool untidy;
    bool given;           /* its handler has given away what it was given: see take.h. Untidy, too */
    troupe_token under;   /* what it begins is begun under this: troupe_under; ref NULL: no token */
    bool behalf_set;      /* on whose behalf it asks was said: `behalf`, instead of msg's. Untidy, too */
    bool scratch_used;    /* scratch is rewound when the callback returns */
    const char *cleaning; /* what is being released or dropped: a panic in that is no crash. NULL: nothing is */
    struct tr_expiry behalf;
    struct tr_arena scratch;
    uint64_t owned;  /* how many resources were ever owned by way of this context: see holdings.h */
    uint64_t now_ns; /* the clock when it was last read: by the loop, or by an activation that lasts */
    tr_jump jump;
    void *boundary; /* the frame of tr_actor_turn, to which jump leads; NULL: there is none yet */
    struct tr_fault fault;
    struct tr_fault_site fault_site;
    struct tr_panic panic;
    struct tr_backtrace_ration backtraces;
    struct tr_stats stats;
    struct tr_slab_cache cache;
    struct tr_slot_cache slots;
    ck_stack_t alarm_returns; /* cancelled alarms whose wheel is this worker's */
    struct tr_list fresh;     /* delayed messages that wait for the activation's end: see delay.h */
    unsigned fresh_count;
    unsigned fired_count;
    struct tr_delay *fired[TR_DELAYS_FIRED];
    ck_stack_t delay_returns; /* the same of delayed messages */
    ck_stack_t delay_ends;    /* accounts of them whose incarnation has ended on another worker */
    union {
        troupe_msg msg;
        unsigned char room[sizeof(troupe_msg) + TR_MSG_TAIL];
    } stub; /* in the place of `msg` once the handler has given that away: see take.h. Last, for its open end */
};

/* Does a callback of the actor run, or a release? Then it may panic. */
static inline bool tr_ctx_guarded(const troupe_ctx *ctx)
{
    return ctx->named || ctx->cleaning;
}

/* The name of the callback that runs, perhaps ""; NULL: none does. */
static inline const char *tr_ctx_handler(const troupe_ctx *ctx)
{
    return !ctx->named ? NULL : *ctx->named ? *ctx->named : "";
}

/* The context of the calling thread, if it is one of rt's workers; else NULL. */
static inline troupe_ctx *tr_ctx_here(const struct troupe_runtime *rt)
{
    struct tr_worker *worker = tr_worker_self();
    troupe_ctx *ctx = worker ? tr_worker_user(worker) : NULL;
    return ctx && ctx->rt == rt ? ctx : NULL;
}

static inline void *tr_ctx_alloc(troupe_ctx *ctx, enum tr_class class)
{
    return tr_slab_alloc(&ctx->rt->slab, &ctx->cache, class);
}

static inline void tr_ctx_free(troupe_ctx *ctx, enum tr_class class, void *block)
{
    tr_slab_free(&ctx->rt->slab, &ctx->cache, class, block);
}

/* Makes cell runnable as the result of a push that returned TR_PUSH_WAKE. Any thread. */
static inline void tr_ctx_wake(struct troupe_runtime *rt, struct tr_cell *cell)
{
    tr_pool_schedule(rt->pool, &cell->runnable);
}

/* As tr_msg_let_go on ctx's worker. */
static inline void tr_msg_end(troupe_ctx *ctx, troupe_msg *msg)
{
    if (TR_LIKELY(!(msg->flags & TR_MSG_ASK)))
        tr_msg_put(&ctx->rt->slab, &ctx->cache, msg);
    else
        tr_msg_let_go(ctx->rt, ctx, msg);
}

/* The running actor is done with msg. If it is an ask that nobody answered, its asker is told status; its block becomes
 * that answer, so this needs no memory. If it is the mailbox's mark, all this waits until it is no longer. */
static inline void tr_msg_finish(troupe_ctx *ctx, troupe_msg *msg, int status)
{
    if (TR_UNLIKELY(msg->flags & TR_MSG_ASK))
        msg->outcome = status;
    if (msg == ctx->cell->mark)
        msg->flags |= TR_MSG_HANDLED;
    else
        tr_msg_end(ctx, msg);
}

/* A message block for the worker of ctx, with kind and size; see tr_msg_init_small on what is not initialised. */
static inline troupe_msg *tr_ctx_take_msg(troupe_ctx *ctx, unsigned kind, size_t size)
{
    if (TR_LIKELY(size <= TR_MSG_SMALL_MAX)) {
        void *block = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_64);
        return TR_LIKELY(block != NULL) ? tr_msg_init_small(block, size, kind) : NULL;
    }
    troupe_msg *msg = tr_msg_alloc(&ctx->rt->slab, &ctx->cache, size);
    if (msg)
        msg->kind = tr_msg_kind(kind);
    return msg;
}

#endif
