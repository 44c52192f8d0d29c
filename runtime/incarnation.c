/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/incarnation.h"

#include <errno.h>
#include <stdlib.h>

#include "io/loop.h"
#include "runtime/ask.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/port.h"
#include "runtime/send.h"
#include "runtime/timer.h"

#define DRAIN_NS TROUPE_MS(500) /* how long an orderly end waits for peers that do not read */

struct tr_deferred {
    struct tr_deferred *next;
    void (*fn)(void *arg);
    void *arg;
};

struct tr_incarnation *tr_incarnation_of(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (ctx->cell->closed)
        return NULL; /* `crashed` runs: timers, asks and ports made now would outlive what owns them */
    if (inc)
        return inc;
    inc = calloc(1, sizeof *inc);
    if (!inc)
        return NULL;
    tr_list_init(&inc->timers);
    tr_list_init(&inc->asks);
    tr_list_init(&inc->asks_forever);
    tr_list_init(&inc->ports);
    tr_list_init(&inc->closing);
    ctx->cell->incarnation = inc;
    return inc;
}

int troupe_defer(troupe_ctx *ctx, void (*fn)(void *arg), void *arg)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    struct tr_deferred *deferred = inc ? malloc(sizeof *deferred) : NULL;
    if (!deferred)
        return -ENOMEM;
    *deferred = (struct tr_deferred){inc->deferred, fn, arg};
    inc->deferred = deferred;
    return 0;
}

static void run_deferred(struct tr_incarnation *inc)
{
    struct tr_deferred *deferred;
    while ((deferred = inc->deferred)) {
        inc->deferred = deferred->next;
        deferred->fn(deferred->arg);
        free(deferred);
    }
}

static void drop_kept(troupe_ctx *ctx, struct tr_incarnation *inc, int status)
{
    troupe_msg *msg;
    while ((msg = inc->kept)) {
        tr_send_unkeep(inc, msg);
        tr_dead_letter(ctx->rt, ctx, tr_cell_addr(ctx->cell), msg,
                       status == -ECONNRESET ? TROUPE_DEAD_CRASHED : TROUPE_DEAD_STOPPED);
        tr_msg_finish(ctx, msg, status);
    }
}

static bool arm_drain_alarm(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return false;
    inc->drain_alarm = &record->alarm;
    tr_alarm_arm(ctx, inc->drain_alarm, TR_SIGNAL_DRAIN, tr_loop_clock() + DRAIN_NS);
    return true;
}

/* Ports before timers: a port that waits to try again has a timer among them. */
void tr_incarnation_close(troupe_ctx *ctx, bool crashed)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (!inc)
        return;
    tr_port_close_all(ctx, &inc->ports);
    if (tr_port_draining(&inc->closing) && (crashed || !arm_drain_alarm(ctx, inc)))
        tr_port_abort_all(ctx, &inc->closing);
    tr_timer_cancel_all(ctx, &inc->timers);
    tr_ask_forget_all(ctx, inc);
}

void tr_incarnation_drain_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    bool current = inc && inc->drain_alarm == alarm;
    tr_alarm_free(ctx, alarm);
    if (!current)
        return;
    inc->drain_alarm = NULL;
    tr_port_abort_all(ctx, &inc->closing);
}

void tr_incarnation_release(troupe_ctx *ctx, int kept_status)
{
    struct tr_cell *cell = ctx->cell;
    struct tr_incarnation *inc = cell->incarnation;
    if (inc) {
        if (inc->drain_alarm)
            tr_alarm_cancel(ctx, inc->drain_alarm);
        drop_kept(ctx, inc, kept_status);
        run_deferred(inc);
        free(inc);
        cell->incarnation = NULL;
    }
    free(cell->state);
    cell->state = NULL;
}
