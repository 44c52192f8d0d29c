/* SPDX-License-Identifier: Apache-2.0 */
/* The context: one per worker, everything the running actor's callbacks reach through troupe_ctx. Owned by its worker's
 * thread. It is not the actor: `cell` changes with every activation. */
#ifndef TR_RUNTIME_CONTEXT_H
#define TR_RUNTIME_CONTEXT_H

#include <setjmp.h>

#include <ck_stack.h>

#include "runtime/cell.h"
#include "runtime/instance.h"
#include "runtime/slab.h"
#include "runtime/stats.h"

struct tr_loop;
struct tr_port;

#define TR_PANIC_TEXT 256 /* bytes, the terminator included */

/* What troupe_panic_at leaves for the catcher. */
struct tr_panic {
    char text[TR_PANIC_TEXT];
    const char *file;
    unsigned line;
    int status;
};

struct troupe_ctx {
    struct troupe_runtime *rt;
    struct tr_worker *worker;
    struct tr_loop *loop;
    struct tr_cell *cell;   /* the running actor; NULL between activations */
    const char *handler;    /* which of its callbacks runs, for crash reports; NULL outside of user code */
    troupe_msg *msg;        /* the message or answer it handles; NULL in other callbacks */
    troupe_msg *composed;   /* built and not yet sent */
    struct tr_port *dirty;  /* ports with output to flush before the activation ends */
    struct tr_op *event_op; /* whose completion is being handled: put afterwards, also after a panic */
    struct tr_file_request *event_request; /* the same for a file's result */
    int accepted_fd;                       /* of the accepted event being handled; -1: taken, or none */
    unsigned budget;                       /* units left in this activation: see budget_take in actor.c */
    unsigned activations;
    uint64_t batch_until_ns;
    bool guarded; /* a callback of the actor runs: it may panic */
    uint64_t now_ns;
    jmp_buf jump;
    struct tr_panic panic;
    struct tr_stats stats;
    struct tr_slab_cache cache;
    struct tr_slot_cache slots;
    ck_stack_t alarm_returns; /* cancelled alarms whose wheel is this worker's */
};

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

#endif
