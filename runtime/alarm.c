/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/alarm.h"

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/mailbox.h"
#include "runtime/timer.h"

static void fire(struct tr_timer *timer)
{
    struct tr_alarm *alarm = TR_CONTAINER_OF(timer, struct tr_alarm, timer);
    troupe_ctx *ctx = alarm->home;
    if (!ck_pr_cas_32(&alarm->state, TR_ALARM_ARMED, TR_ALARM_FIRED))
        return; /* cancelled: tr_alarm_reap frees it */
    struct tr_cell *cell = alarm->cell;
    switch (tr_mailbox_signal(cell, &alarm->signal)) {
    case TR_PUSH_WAKE:
        tr_worker_requeue(ctx->worker, &cell->runnable);
        break;
    case TR_PUSH_QUEUED:
        break;
    case TR_PUSH_CLOSED:
        tr_alarm_free(ctx, alarm);
        break;
    }
}

void tr_alarm_arm(troupe_ctx *ctx, struct tr_alarm *alarm, enum tr_signal_kind kind, uint64_t due_ns)
{
    tr_alarm_arm_for(ctx, ctx->cell, alarm, kind, due_ns);
}

void tr_alarm_arm_for(troupe_ctx *ctx, struct tr_cell *cell, struct tr_alarm *alarm, enum tr_signal_kind kind,
                      uint64_t due_ns)
{
    alarm->home = ctx;
    ck_pr_store_ptr(&alarm->cell, cell);
    alarm->signal = (struct tr_signal){.kind = kind};
    alarm->timer.fire = fire;
    ck_pr_store_32(&alarm->state, TR_ALARM_ARMED);
    tr_wheel_arm(tr_loop_wheel(ctx->loop), &alarm->timer, due_ns);
}

bool tr_alarm_cancel(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    if (!ck_pr_cas_32(&alarm->state, TR_ALARM_ARMED, TR_ALARM_CANCELLED))
        return false;
    if (alarm->home == ctx) {
        tr_wheel_disarm(tr_loop_wheel(ctx->loop), &alarm->timer);
        tr_alarm_free(ctx, alarm);
    } else {
        ck_pr_fence_release(); /* ck_stack itself orders stores only */
        ck_stack_push_upmc(&alarm->home->alarm_returns, &alarm->return_link);
    }
    return true;
}

void tr_alarm_reap(troupe_ctx *ctx)
{
    if (!ck_pr_load_ptr(&ctx->alarm_returns.head))
        return;
    ck_stack_entry_t *entry = ck_stack_batch_pop_upmc(&ctx->alarm_returns);
    ck_pr_fence_acquire();
    while (entry) {
        ck_stack_entry_t *next = CK_STACK_NEXT(entry);
        struct tr_alarm *alarm = TR_CONTAINER_OF(entry, struct tr_alarm, return_link);
        tr_wheel_disarm(tr_loop_wheel(ctx->loop), &alarm->timer);
        tr_alarm_free(ctx, alarm);
        entry = next;
    }
}

void tr_alarm_free(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_timer_record *record = TR_CONTAINER_OF(alarm, struct tr_timer_record, alarm);
    if (record->message)
        tr_msg_free(&ctx->rt->slab, &ctx->cache, record->message);
    record->message = NULL;
    ck_pr_store_64(&alarm->serial, alarm->serial + 1);
    tr_ctx_free(ctx, TR_CLASS_TIMER, record);
}
