/* SPDX-License-Identifier: Apache-2.0 */
/* One activation of an actor: run -> guard -> loop. Called by the pool on a worker; owns the cell until it goes idle, is
 * requeued or ends. What a crash or a stop means is supervise.c's. */
#ifndef TR_RUNTIME_ACTOR_H
#define TR_RUNTIME_ACTOR_H

#include <troupe/actor.h>

struct tr_worker;
struct tr_runnable;

/* tr_pool_options.run */
void tr_actor_run(void *rt, struct tr_worker *worker, struct tr_runnable *runnable);

/* Around every call of an actor's callback: `handler` names it in crash reports. Between the two, and only there, a panic is
 * a crash of the actor. */
void tr_actor_enter(troupe_ctx *ctx, const char *handler);
void tr_actor_leave(troupe_ctx *ctx);
/* Frees messages that were composed and not sent. */
void tr_actor_drop_composed(troupe_ctx *ctx);
/* An I/O event: hands payload to the actor's handler for kind, as a message that lives during the call only. Nothing
 * happens when the actor is not RUNNING: an incarnation that crashed or stops is told nothing more. */
void tr_actor_event(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size);

#endif
