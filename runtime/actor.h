/* SPDX-License-Identifier: Apache-2.0 */
/* One activation of an actor: turn -> run -> loop. Called by the pool on a worker; owns the cell until it goes idle,
 * is requeued or ends. What a crash or a stop means is supervise.c's. */
#ifndef TR_RUNTIME_ACTOR_H
#define TR_RUNTIME_ACTOR_H

#include <troupe/actor.h>

#define TR_CLOCK_EVERY 16  /* units of an activation's budget between two looks at the clock */
#define TR_CLOCK_SELDOM 64 /* the same where the last units took next to no time */

struct tr_worker;
struct tr_runnable;

/* What a pool's options call `run`; arg is the runtime. runnable: a cell's, or the runtime's own, taken by worker,
 * whose thread calls. */
void tr_actor_run(void *arg, struct tr_worker *worker, struct tr_runnable *runnable);
/* What they call `turn`: the boundary of panics, in which all of the turn's activations run. */
void tr_actor_turn(void *arg, struct tr_worker *worker);

/* Around every call of an actor's callback, which has this name in crash reports. Between the two, and only there, a
 * panic is a crash of the actor. */
void tr_actor_enter(troupe_ctx *ctx, const char *callback);
void tr_actor_leave(troupe_ctx *ctx);
/* The same around a function that releases or drops something the actor had: `what` names that. A panic in it is no
 * crash: tr_supervise_crash leaves it to tr_actor_clean_failed, which counts and logs it, and then the activation goes
 * on where lifecycle and lists stand. So take off its list what is to be released before this. */
void tr_actor_clean_enter(troupe_ctx *ctx, const char *what);
void tr_actor_clean_leave(troupe_ctx *ctx);
void tr_actor_clean_failed(troupe_ctx *ctx);
/* A panic of the running actor for another cause than troupe_panic's own. status: of a START that failed, else 0. */
TROUPE_NORETURN void tr_actor_panic(troupe_ctx *ctx, troupe_cause cause, int status, const char *format, ...)
    TROUPE_PRINTF(4, 5);
/* Frees messages that were composed and not sent. */
void tr_actor_drop_composed(troupe_ctx *ctx);
/* An I/O event: hands payload to the actor's handler for kind, as a message that lives during the call only. Nothing
 * happens when the actor is not RUNNING: an incarnation that crashed or stops is told nothing more. */
void tr_actor_event(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size);

#endif
