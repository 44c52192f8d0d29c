/* SPDX-License-Identifier: Apache-2.0 */
/* An alarm: a point in time at which an actor gets a control signal, wherever the actor runs by then. Made by the actor
 * on the worker it runs on, whose wheel holds it; the actor may be stolen meanwhile.
 * It is not yet a timer or a deadline: struct tr_timer_record (timer.h) embeds it, the kind of its signal says what
 * for. */
#ifndef TR_RUNTIME_ALARM_H
#define TR_RUNTIME_ALARM_H

#include <ck_stack.h>

#include "io/wheel.h"
#include "runtime/signal.h"

struct troupe_ctx;
struct tr_cell;

/* States of `state`, the only word that two threads move:
 *   ARMED      in home's wheel
 *   FIRED      home moved it (CAS ARMED -> FIRED) and pushes the signal; the actor's from the dispatch on
 *   CANCELLED  the actor moved it (CAS ARMED -> CANCELLED); home unlinks it from its wheel and frees it
 * Exactly one of the two CASes succeeds. The actor on home's own worker cancels without the detour: there the wheel's
 * callback cannot run in between. Edges: the cancel's push on home->alarm_returns (release) meets home's batch pop
 * (acquire). A cancelled alarm on a sleeping home stays in the wheel at most until it is due; nobody is woken for
 * it. */
enum tr_alarm_state { TR_ALARM_ARMED = 1, TR_ALARM_FIRED, TR_ALARM_CANCELLED };

struct tr_alarm {
    struct tr_alarm *free_next; /* struct tr_block while free: must stay first, with the next field */
    void *free_magazine;
    uint64_t serial; /* changes with every life of the record; handles carry it */
    struct tr_timer timer;
    struct troupe_ctx *home;
    struct tr_cell *cell;
    struct tr_signal signal;
    uint32_t state;
    ck_stack_entry_t return_link;
};

/* Arms on ctx's worker for ctx's actor. kind: one of those embedded in an alarm, see signal.h. */
void tr_alarm_arm(struct troupe_ctx *ctx, struct tr_alarm *alarm, enum tr_signal_kind kind, uint64_t due_ns);
/* The same for the actor in another cell, which frees it; it cannot be cancelled. */
void tr_alarm_arm_for(struct troupe_ctx *ctx, struct tr_cell *cell, struct tr_alarm *alarm, enum tr_signal_kind kind,
                      uint64_t due_ns);
/* True: the alarm is no longer the caller's, its record will be freed. False: it has fired, its signal is on its way to
 * the actor or lost with its mailbox, and frees it there. */
bool tr_alarm_cancel(struct troupe_ctx *ctx, struct tr_alarm *alarm);
/* Frees what was cancelled from other workers. On the home worker, from its poll and wait. */
void tr_alarm_reap(struct troupe_ctx *ctx);
/* Frees the record that embeds an alarm which no wheel and no mailbox holds. On ctx's worker. */
void tr_alarm_free(struct troupe_ctx *ctx, struct tr_alarm *alarm);

#endif
