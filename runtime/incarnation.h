/* SPDX-License-Identifier: Apache-2.0 */
/* What one incarnation owns beyond its state: timers, asks, kept messages, ports, deferred calls. Made when first needed,
 * released as a whole when the incarnation ends, in two steps: what the kernel may still use goes last. Touched only by the
 * worker that runs the actor.
 * It is not the cell: address, mailbox, children and restart window outlive it. */
#ifndef TR_RUNTIME_INCARNATION_H
#define TR_RUNTIME_INCARNATION_H

#include <troupe/message.h>

#include "sched/base/list.h"

struct tr_alarm;
struct tr_deferred;

struct tr_incarnation {
    struct tr_list timers;
    struct tr_list asks;         /* by deadline */
    struct tr_list asks_forever; /* without one */
    struct tr_alarm *ask_alarm;  /* rings at or before the first deadline; NULL: none armed */
    uint64_t ask_alarm_due_ns;
    bool asks_due;                /* it rang: expired asks may be at the head */
    troupe_msg *kept;             /* list, by next and prev */
    struct tr_list ports;         /* open ones */
    struct tr_list closing;       /* ports with operations in flight, or output that is drained */
    struct tr_alarm *drain_alarm; /* rings when draining has had its time; NULL: none armed */
    struct tr_deferred *deferred; /* the last one first */
};

/* The running actor's, made if there is none yet; NULL: out of memory, or the incarnation is closed already. */
struct tr_incarnation *tr_incarnation_of(troupe_ctx *ctx);
/* The first step: forgets timers and asks, closes all ports. cell->ports counts those that still wait for operations in
 * flight. What an orderly end had closed with drain may still be sent, for a while; after a crash it is dropped. */
void tr_incarnation_close(troupe_ctx *ctx, bool crashed);
/* The alarm of the while. */
void tr_incarnation_drain_alarm(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The second step, once cell->ports is 0 and so nothing of this is in the kernel's hands: kept messages, deferred calls,
 * state. kept_status: what askers of kept messages are told. */
void tr_incarnation_release(troupe_ctx *ctx, int kept_status);

#endif
