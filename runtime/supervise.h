/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision: carries out what the state machine of lifecycle.h decides for the running actor, and speaks with its
 * parent and children. All on the worker that runs the actor.
 * It holds no policy (policy.h), no table (lifecycle.h) and no children (family.h). */
#ifndef TR_RUNTIME_SUPERVISE_H
#define TR_RUNTIME_SUPERVISE_H

#include <troupe/actor.h>

#include <stdbool.h>

enum tr_step {
    TR_STEP_ON,    /* something moved: look again */
    TR_STEP_WAIT,  /* for children, ports, a back-off or the parent: a control signal will come */
    TR_STEP_YIELD, /* there is more to do, after others had their turn */
    TR_STEP_ENDED, /* the actor is over and the cell no longer ours */
};

/* Carries out the control bits, then the oldest signal. False: there was no signal. */
bool tr_supervise_control(troupe_ctx *ctx);
/* One step of an actor that is not RUNNING. */
enum tr_step tr_supervise_step(troupe_ctx *ctx);
/* User code of the running actor panicked: ctx->panic says how. */
void tr_supervise_crash(troupe_ctx *ctx);
/* The running actor stops itself: at once if it is RUNNING, else as soon as it has started. */
void tr_supervise_stop_self(troupe_ctx *ctx);
/* The running actor no longer holds its mailbox: why is the TR_HELD_ bit that ends. */
void tr_supervise_unhold(troupe_ctx *ctx, unsigned why);

#endif
