/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/redeliver.h"

#include <errno.h>

#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/mailbox.h"
#include "runtime/quarantine.h"
#include "runtime/recovery.h"
#include "runtime/send.h"

static unsigned retries_of(const struct tr_cell *cell, const troupe_msg *msg)
{
    bool given_by_kind = !(msg->flags & (TR_MSG_REPLY | TR_MSG_NEWS)) && msg->kind < TROUPE_KINDS_MAX;
    return given_by_kind ? cell->behavior->handlers[msg->kind].retries : 0;
}

static void end(troupe_ctx *ctx, troupe_msg *msg, troupe_dead_reason reason)
{
    tr_dead_letter(ctx->rt, ctx, tr_cell_addr(ctx->cell), msg, reason);
    tr_msg_finish(ctx, msg, -ECONNRESET);
}

/* Without memory for the copy it is a dead letter like any other. */
static void quarantine(troupe_ctx *ctx, troupe_msg *msg, unsigned attempts)
{
    struct tr_cell *cell = ctx->cell;
    bool kept = tr_quarantine_add(ctx->rt, tr_cell_addr(cell), cell->behavior, msg, attempts, ctx->panic.text);
    end(ctx, msg, kept ? TROUPE_DEAD_POISON : TROUPE_DEAD_CRASHED);
}

static void put_back(struct tr_cell *cell, troupe_msg *msg)
{
    tr_bound_return(cell, msg);
    tr_mailbox_put_back(cell, msg);
}

void tr_redeliver_after_crash(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    troupe_msg *msg = ctx->msg;
    ctx->msg = NULL;
    if (!msg || msg->flags & TR_MSG_KEPT)
        return;
    unsigned retries = retries_of(cell, msg), attempt = tr_recovery_attempt(cell, msg);
    if (retries == 0) {
        end(ctx, msg, TROUPE_DEAD_CRASHED);
    } else if (cell->life == TR_LIFE_STOPPING) {
        put_back(cell, msg); /* there is no next time: it is buried with the others */
    } else if (attempt > retries || !cell->recovery || cell->policy->restart == TROUPE_RESTART_TEMPORARY) {
        quarantine(ctx, msg, attempt);
    } else {
        cell->recovery->retried = msg;
        cell->recovery->attempts = attempt;
        msg->flags |= TR_MSG_RETRIED;
        put_back(cell, msg);
    }
}
