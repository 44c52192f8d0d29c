/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of actors: an alarm and the message it stands for. Owned by the incarnation that made them, from which they
 * are unlinked before they are freed. The incarnation's worker only.
 * They are not the wheel (io/wheel.h): that one knows neither actors nor messages. */
#ifndef TR_RUNTIME_TIMER_H
#define TR_RUNTIME_TIMER_H

#include <troupe/timer.h>

#include "runtime/alarm.h"
#include "runtime/message.h"
#include "sched/base/list.h"

struct tr_token_hook;

/* One record type for all alarms: users' timers, and those of the runtime (message NULL): the deadline of asks, a
 * port's next try, the end of draining. */
struct tr_timer_record {
    struct tr_alarm alarm; /* first: see struct tr_alarm */
    struct tr_list link;   /* in incarnation->timers: users' timers and ports' tries */
    troupe_addr to;
    uint64_t due_ns, period_ns; /* period 0: once */
    troupe_msg *message;        /* what is sent; a periodic one sends copies */
    struct tr_port *port;       /* TR_SIGNAL_RETRY: who tries again */
    struct tr_token_hook *hook; /* NULL: it was not made under a token */
};

/* A record for ctx's worker, or NULL. */
struct tr_timer_record *tr_timer_record_get(troupe_ctx *ctx);
/* The alarm's signal arrived at its owner: sends, and re-arms or frees. */
void tr_timer_dispatch(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The token it was made under is cancelled. */
void tr_timer_cancelled(troupe_ctx *ctx, struct tr_timer_record *record);
/* Cancels all timers of a dying incarnation. */
void tr_timer_cancel_all(troupe_ctx *ctx, struct tr_list *timers);

#endif
