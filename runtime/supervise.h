/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision: carries out what the state machine of lifecycle.h decides for the running actor, and speaks with its parent
 * and children. All on the worker that runs the actor.
 * It holds no policy (window.h) and no table (lifecycle.h). */
#ifndef TR_RUNTIME_SUPERVISE_H
#define TR_RUNTIME_SUPERVISE_H

#include <troupe/actor.h>

#include <stdbool.h>

enum tr_step {
    TR_STEP_ON,    /* something moved: look again */
    TR_STEP_WAIT,  /* for children, ports or a verdict: a control signal will come */
    TR_STEP_ENDED, /* the actor is over and the cell no longer ours */
};

/* Carries out the control bits, then the oldest signal. False: there was no signal. */
bool tr_supervise_control(troupe_ctx *ctx);
/* One step of an actor that is not RUNNING. */
enum tr_step tr_supervise_step(troupe_ctx *ctx);
/* User code of the running actor panicked: ctx->panic says how. */
void tr_supervise_crash(troupe_ctx *ctx);

#endif
