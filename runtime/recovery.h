/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of an actor's crashes, across incarnations: the last one's record, the restart window, the
 * back-off, the message that is being retried. Made at the first crash, so that an actor that never crashes does not
 * pay for it; freed with the actor's slot, since its parent reads the record until then. The worker that runs the
 * actor, and the parent while the actor waits for its verdict.
 * It decides nothing: see policy.h. */
#ifndef TR_RUNTIME_RECOVERY_H
#define TR_RUNTIME_RECOVERY_H

#include <troupe/actor.h>

#include "runtime/window.h"

struct tr_cell;
struct tr_alarm;

struct tr_recovery {
    troupe_crash crash; /* why the last incarnation ended */
    struct tr_window window;
    unsigned backoffs;         /* restarts since it was last healthy */
    uint64_t started_ns;       /* when this incarnation's `started` returned; 0: it has not */
    uint64_t delay_ns;         /* the back-off that the next restart owes */
    struct tr_alarm *rest;     /* rings when it is over; NULL: none armed */
    const troupe_msg *retried; /* the message that crashed its handler and was put back; see tr_recovery_attempt */
    unsigned attempts;         /* how often it was handled */
};

/* The last crash of cell's actor, or what stands for it when there was no memory for the record. */
const troupe_crash *tr_recovery_crash(const struct tr_cell *cell);
/* Fills the record from ctx->panic. Out of memory loses the record, not the crash. */
void tr_recovery_record(troupe_ctx *ctx);
/* Fills it for an incarnation that ends without a crash (cause SIBLING or ENDED). */
void tr_recovery_record_renewal(troupe_ctx *ctx, troupe_cause cause, const char *text);
/* An incarnation may be followed by another: asks and moves the window; false: it would be one too many. */
bool tr_recovery_allows(troupe_ctx *ctx);
/* The back-off that the next restart owes, also kept in delay_ns. */
uint64_t tr_recovery_backoff(troupe_ctx *ctx);
/* How many times msg, which the actor is being given, will have been handled then: from 1. */
unsigned tr_recovery_attempt(const struct tr_cell *cell, const troupe_msg *msg);
/* Frees cell's; its alarm must be gone. */
void tr_recovery_free(struct tr_cell *cell);

#endif
