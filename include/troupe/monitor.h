/* SPDX-License-Identifier: Apache-2.0 */
/* Monitors and links: to be told of another actor's end, or to share its fate.
 * Made by a running actor (or, troupe_runtime_wait, by a thread outside); owned by its incarnation: with it they are
 * gone, and nobody is told anything. A monitor or link on an actor survives that actor's restarts: its address does not
 * change.
 * A monitor watches and does not act: supervision is between parents and children only. */
#ifndef TROUPE_MONITOR_H
#define TROUPE_MONITOR_H

#include <troupe/crash.h>
#include <troupe/supervision.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Names a monitor or link; zeroed it names none. Stale once it has told of the end, was taken back, or its incarnation
 * ended. */
typedef struct troupe_monitor_ref {
    void *ref;
    uint64_t generation;
} troupe_monitor_ref;

/* What a monitor tells: the payload of its message. */
typedef struct troupe_down {
    troupe_addr actor;          /* which */
    troupe_monitor_ref monitor; /* by which monitor: as troupe_monitor gave it */
    bool restarted;       /* it goes on as another incarnation, which begins now, after its rest if it had one; so does
                                 * the monitor. Else it has ended: */
    troupe_reason reason; /* why; NO_ACTOR: the address was stale. Of a restart: CRASHED, or how it came down */
    unsigned incarnation; /* the one that ended; 0 when the address was stale */
} troupe_down;

enum { TROUPE_MONITOR_RESTARTS = 1 /* tell of restarts too */ };

/* troupe_monitor - have a message of kind, with a troupe_down as payload, sent to the running actor when actor ends.
 *   actor  any address; of a stale one the news comes at once
 *   kind   index into the caller's own handler table
 *   flags  0 or TROUPE_MONITOR_RESTARTS
 *   out    may be NULL
 * Exactly one news of an end, unless the monitor is taken back or this incarnation ends before. Its sender is actor,
 * and it comes behind all messages that actor had sent before it ended. Memory for it is reserved now; news of a
 * restart for which there is no memory are left out. An actor may be monitored by many, also twice by one, also by
 * itself (which is told nothing).
 * Returns 0; -ENOMEM: there is no monitor. */
TROUPE_API int troupe_monitor(troupe_ctx *ctx, troupe_addr actor, unsigned kind, unsigned flags,
                              troupe_monitor_ref *out);
/* Takes a monitor or link back: true, and no news of it will be handled from here on, even if it was on its way. False:
 * stale. */
TROUPE_API bool troupe_demonitor(troupe_ctx *ctx, troupe_monitor_ref ref);

/* troupe_link - share the fate of another actor: when an incarnation of either crashes, or either is killed or ends by
 * escalation, the other crashes too (cause link), ahead of all messages; its own supervision then decides what follows.
 * An orderly end of either dissolves the link. Each crash uses the link up: link again in `started`; where two are
 * linked to each other, each crashes once. Of a stale address: the running actor crashes when this handler has
 * returned. out may be NULL.
 * Each crash of the other counts in this actor's own window: give it one at least as wide. An address kept in the
 * arguments stays the same when its actor has ended for good, and linking to it crashes every incarnation until the
 * parent is asked: make such an actor temporary, or have it ask its parent whom to link to.
 * Returns 0 or -ENOMEM. */
TROUPE_API int troupe_link(troupe_ctx *ctx, troupe_addr actor, troupe_monitor_ref *out);

/* troupe_runtime_wait - block a thread that is not a worker until an actor has ended.
 *   timeout_ns  0: only look; TROUPE_FOREVER: no limit
 *   reason      may be NULL; written with status 0: NO_ACTOR when the address was stale already
 * Returns 0; -ETIMEDOUT: it still lives; -ENOMEM; -EDEADLK on a worker
 * of rt, which must not block: actors use troupe_monitor. Any thread, at any time: of a runtime that has stopped every
 * actor has ended. */
TROUPE_API int troupe_runtime_wait(troupe_runtime *rt, troupe_addr actor, uint64_t timeout_ns, troupe_reason *reason);

#ifdef __cplusplus
}
#endif

#endif
