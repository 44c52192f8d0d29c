/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/timer.h"

#include <errno.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/delay.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/send.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_timer_record, alarm) == 0, "a free record's first words are the slab's");
_Static_assert(offsetof(struct tr_alarm, serial) >= sizeof(struct tr_block), "the serial survives the free list");

struct tr_timer_record *tr_timer_record_get(troupe_ctx *ctx)
{
    struct tr_timer_record *record = tr_ctx_alloc(ctx, TR_CLASS_TIMER);
    if (!record)
        return NULL;
    record->message = NULL;
    record->hook = NULL;
    record->alarm.timer.armed = false;
    tr_list_init(&record->link);
    return record;
}

/* A handle's reference to a record, which it tells from one to a delay by the lowest bit. */
static void *tagged(struct tr_timer_record *record)
{
    return (char *)record + 1;
}

static struct tr_timer_record *untagged(troupe_timer timer)
{
    return (uintptr_t)timer.ref & 1 ? (void *)((char *)timer.ref - 1) : NULL;
}

static __attribute__((noinline)) int start_under(troupe_ctx *ctx, uint64_t delay_ns, uint64_t period_ns, troupe_addr to,
                                                 unsigned kind, const void *payload, size_t size, troupe_timer *timer)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (!inc)
        return -ENOMEM;
    troupe_msg *message;
    int status = tr_send_build(ctx, kind, payload, size, &message);
    if (status < 0)
        return status;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record) {
        tr_msg_free(&ctx->rt->slab, &ctx->cache, message);
        return -ENOMEM;
    }
    record->message = message;
    if (TR_UNLIKELY((status = tr_hook_under(ctx, TR_HOOK_TIMER, record, &record->hook)) < 0)) {
        tr_alarm_free(ctx, &record->alarm);
        return status;
    }
    record->to = to;
    record->period_ns = period_ns;
    record->due_ns = tr_loop_deadline_here(ctx->loop, delay_ns);
    tr_list_push_back(&inc->timers, &record->link);
    if (timer)
        *timer = (troupe_timer){tagged(record), record->alarm.serial};
    tr_alarm_arm(ctx, &record->alarm, TR_SIGNAL_TIMER, record->due_ns);
    return 0;
}

static inline int start(troupe_ctx *ctx, uint64_t delay_ns, uint64_t period_ns, troupe_addr to, unsigned kind,
                        const void *payload, size_t size, troupe_timer *timer)
{
    if (TR_UNLIKELY(ctx->under.ref != NULL))
        return start_under(ctx, delay_ns, period_ns, to, kind, payload, size, timer);
    return tr_delay_arm(ctx, delay_ns, period_ns, to, kind, payload, size, timer);
}

int troupe_send_after(troupe_ctx *ctx, uint64_t delay_ns, troupe_addr to, unsigned kind, const void *payload,
                      size_t size, troupe_timer *timer)
{
    return start(ctx, delay_ns, 0, to, kind, payload, size, timer);
}

int troupe_send_every(troupe_ctx *ctx, uint64_t period_ns, troupe_addr to, unsigned kind, const void *payload,
                      size_t size, troupe_timer *timer)
{
    if (period_ns == 0)
        return -EINVAL;
    return start(ctx, period_ns, period_ns, to, kind, payload, size, timer);
}

/* The actor knows it no more. */
static void let_go(troupe_ctx *ctx, struct tr_timer_record *record)
{
    tr_list_remove(&record->link);
    if (TR_UNLIKELY(record->hook != NULL))
        tr_hook_drop(ctx, &record->hook);
}

static bool cancel_under(troupe_ctx *ctx, struct tr_timer_record *record, uint64_t serial)
{
    if (ck_pr_load_64(&record->alarm.serial) != serial)
        return false;
    if (ck_pr_load_ptr(&record->alarm.cell) != ctx->cell)
        return false; /* a stale handle: the record may be somebody else's at this moment */
    if (tr_list_empty(&record->link))
        return false; /* cancelled while its signal was on the way */
    let_go(ctx, record);
    tr_alarm_cancel(ctx, &record->alarm); /* if it has fired, tr_timer_dispatch finds it unlinked and sends nothing */
    return true;
}

bool troupe_timer_cancel(troupe_ctx *ctx, troupe_timer timer)
{
    struct tr_timer_record *record = untagged(timer);
    if (TR_UNLIKELY(record != NULL))
        return cancel_under(ctx, record, timer.generation);
    return timer.ref && tr_delay_cancel(ctx, timer);
}

void tr_timer_cancelled(troupe_ctx *ctx, struct tr_timer_record *record)
{
    record->hook = NULL;
    tr_list_remove(&record->link);
    tr_alarm_cancel(ctx, &record->alarm); /* as above */
}

void tr_timer_cancel_all(troupe_ctx *ctx, struct tr_list *timers)
{
    struct tr_list *link;
    while ((link = tr_list_first(timers))) {
        struct tr_timer_record *record = TR_CONTAINER_OF(link, struct tr_timer_record, link);
        let_go(ctx, record);
        tr_alarm_cancel(ctx, &record->alarm);
    }
}

/* Sends a copy, so that the original remains for the next period. Out of memory skips one period. */
static void send_copy(troupe_ctx *ctx, const struct tr_timer_record *record)
{
    troupe_msg *copy;
    const troupe_msg *message = record->message;
    if (tr_send_build(ctx, message->kind, message->payload, message->size, &copy) == 0)
        tr_send(ctx, record->to, copy);
}

void tr_timer_dispatch(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_timer_record *record = TR_CONTAINER_OF(alarm, struct tr_timer_record, alarm);
    bool cancelled = TR_UNLIKELY(record->hook != NULL) && tr_hook_cancelled(record->hook);
    if (tr_list_empty(&record->link) || ctx->cell->crashed || ctx->cell->forced || cancelled) {
        let_go(ctx, record); /* cancelled, or gone with the incarnation that crashed or was killed */
        tr_alarm_free(ctx, alarm);
        return;
    }
    if (record->period_ns == 0) {
        troupe_msg *message = record->message;
        record->message = NULL;
        let_go(ctx, record);
        troupe_addr to = record->to;
        tr_alarm_free(ctx, alarm);
        tr_send(ctx, to, message);
        return;
    }
    send_copy(ctx, record);
    uint64_t now = tr_loop_clock(), missed = now > record->due_ns ? (now - record->due_ns) / record->period_ns : 0;
    record->due_ns += (missed + 1) * record->period_ns;
    tr_alarm_arm(ctx, alarm, TR_SIGNAL_TIMER, record->due_ns);
}
