/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/recovery.h"

#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/crashlog.h"
#include "runtime/fault.h"
#include "runtime/message.h"
#include "runtime/policy.h"
#include "sched/base/assert.h"

/* The running actor's, made if there is none yet; NULL: out of memory. */
static struct tr_recovery *recovery_of(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->recovery)
        cell->recovery = calloc(1, sizeof *cell->recovery);
    return cell->recovery;
}

void tr_recovery_free(struct tr_cell *cell)
{
    struct tr_recovery *recovery = cell->recovery;
    if (!recovery)
        return;
    TR_ASSERT(!recovery->rest);
    tr_window_fini(&recovery->window);
    free(recovery);
    cell->recovery = NULL;
}

const troupe_crash *tr_recovery_crash(const struct tr_cell *cell)
{
    static const troupe_crash lost = {
        .behavior = "(an actor)", .file = "", .handler = "", .text = "(out of memory for the crash record)"};
    const struct tr_recovery *recovery = cell->recovery; /* made later, for the window, it has no crash yet */
    return recovery && recovery->crash.behavior ? &recovery->crash : &lost;
}

/* All but the text and the frames, which are written once, in place. */
static void fill(troupe_ctx *ctx, troupe_crash *crash, troupe_cause cause)
{
    const struct tr_cell *cell = ctx->cell;
    memset(crash, 0, offsetof(troupe_crash, frames));
    crash->time_ns = tr_loop_wall_clock();
    crash->actor = tr_cell_addr(cell);
    crash->parent = cell->parent ? tr_cell_addr(cell->parent) : (troupe_addr){0};
    crash->behavior = cell->behavior->name;
    crash->handler = ctx->named ? tr_ctx_handler(ctx) : "";
    crash->cause = cause;
    crash->incarnation = cell->incarnation_nr;
    crash->restarts = tr_window_count(&cell->recovery->window, tr_policy_restarts(cell->policy),
                                      tr_policy_window_ns(cell->policy), ctx->now_ns);
    crash->worker = tr_worker_index(ctx->worker);
    crash->tainted = tr_fault_tainted();
    crash->file = "";
}

static void fill_message(troupe_ctx *ctx, troupe_crash *crash)
{
    const troupe_msg *msg = ctx->msg;
    if (!msg)
        return;
    crash->has_message = true;
    crash->kind = msg->kind;
    crash->sender = msg->sender;
    crash->attempt = tr_recovery_attempt(ctx->cell, msg);
}

void tr_recovery_record(troupe_ctx *ctx)
{
    const struct tr_panic *panic = &ctx->panic;
    struct tr_recovery *recovery = recovery_of(ctx);
    if (!recovery)
        return;
    troupe_crash *crash = &recovery->crash;
    ctx->now_ns = tr_loop_clock();
    fill(ctx, crash, panic->cause);
    fill_message(ctx, crash);
    crash->status = panic->status;
    crash->file = panic->file ? panic->file : "";
    crash->line = panic->line;
    crash->frames_count = panic->frames_count;
    memcpy(crash->frames, panic->frames, panic->frames_count * sizeof *panic->frames);
    memcpy(crash->text, panic->text, strlen(panic->text) + 1);
    if (panic->cause == TROUPE_CAUSE_FAULT) {
        crash->signal = ctx->fault.signal;
        crash->code = ctx->fault.code;
        crash->address = ctx->fault.address;
        crash->pc = ctx->fault.pc;
    }
    tr_crashlog_add(&ctx->rt->crashlog, crash);
}

void tr_recovery_record_renewal(troupe_ctx *ctx, troupe_cause cause, const char *text)
{
    struct tr_recovery *recovery = recovery_of(ctx);
    if (!recovery)
        return;
    ctx->now_ns = tr_loop_clock();
    fill(ctx, &recovery->crash, cause);
    strncpy(recovery->crash.text, text, sizeof recovery->crash.text - 1);
    recovery->crash.text[sizeof recovery->crash.text - 1] = '\0';
}

bool tr_recovery_allows(troupe_ctx *ctx)
{
    const troupe_supervision *policy = ctx->cell->policy;
    struct tr_recovery *recovery = recovery_of(ctx);
    return recovery &&
           tr_window_allow(&recovery->window, tr_policy_restarts(policy), tr_policy_window_ns(policy), tr_loop_clock());
}

uint64_t tr_recovery_backoff(troupe_ctx *ctx)
{
    const troupe_backoff *backoff = &ctx->cell->policy->backoff;
    struct tr_recovery *recovery = ctx->cell->recovery;
    if (!recovery || backoff->initial_ns == 0)
        return 0;
    if (recovery->started_ns && tr_loop_clock() - recovery->started_ns >= tr_backoff_healthy_ns(backoff))
        recovery->backoffs = 0;
    recovery->delay_ns = tr_backoff_delay(backoff, recovery->backoffs++, ctx->rt->hooks.random(ctx->loop));
    return recovery->delay_ns;
}

unsigned tr_recovery_attempt(const struct tr_cell *cell, const troupe_msg *msg)
{
    const struct tr_recovery *recovery = cell->recovery;
    bool again = recovery && recovery->retried == msg && msg->flags & TR_MSG_RETRIED;
    return again ? recovery->attempts + 1 : 1;
}
