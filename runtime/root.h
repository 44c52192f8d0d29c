/* SPDX-License-Identifier: Apache-2.0 */
/* What the root actor's end means for the runtime. Called by supervise.c and burial.c on the worker that runs the root;
 * lives in runtime.c. It is not an actor of its own. */
#ifndef TR_RUNTIME_ROOT_H
#define TR_RUNTIME_ROOT_H

#include <troupe/actor.h>

/* A crash escalated past the root: reports it and makes the runtime's status 1. */
void tr_root_escalated(troupe_ctx *ctx, const troupe_crash *crash);
/* The root has ended, and with it all actors: the pool stops and join returns. */
void tr_root_ended(troupe_ctx *ctx);

#endif
