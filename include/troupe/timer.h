/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: messages that are sent later. They belong to the incarnation that made them and are gone with it.
 * The verbs are for the actor that runs at the moment.
 * They are not a real-time facility: a timer is never early, and late by up to about a third of a millisecond, plus
 * what the worker that made it is busy with (the rest of the handler that armed it included: time runs from then),
 * plus the mailbox of the receiver. What one actor arms in order, for the same delay, is sent in that order. */
#ifndef TROUPE_TIMER_H
#define TROUPE_TIMER_H

#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle by value; using one whose timer is gone is harmless. */
typedef struct troupe_timer {
    void *ref;
    uint64_t generation;
} troupe_timer;

/* Sends a copy of payload to `to` once, delay_ns from now, as troupe_tell from this actor would. timer may be NULL.
 * TROUPE_FOREVER: never. Returns 0, -ENOMEM, -EMSGSIZE or -ECANCELED (token.h). */
TROUPE_API int troupe_send_after(troupe_ctx *ctx, uint64_t delay_ns, troupe_addr to, unsigned kind, const void *payload,
                                 size_t size, troupe_timer *timer);
/* The same every period_ns, first one period from now, without drift; a period that was missed is not made up for, and
 * one for which there is no memory is left out. Also -EINVAL: period_ns is 0. */
TROUPE_API int troupe_send_every(troupe_ctx *ctx, uint64_t period_ns, troupe_addr to, unsigned kind,
                                 const void *payload, size_t size, troupe_timer *timer);
/* After it returns true the timer sends nothing more; false: it was gone already (fired, cancelled) or is another
 * actor's. What it had sent before stays in the mailbox. */
TROUPE_API bool troupe_timer_cancel(troupe_ctx *ctx, troupe_timer timer);

#ifdef __cplusplus
}
#endif

#endif
