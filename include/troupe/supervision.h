/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision: the words in which an actor says how it is to be restarted and stopped, and how it looks after its
 * children. All of them are constant data inside of behaviors (actor.h); nothing here runs. docs/SUPERVISION.md is the
 * guide. The words are OTP's where OTP has one; back-off and jitter are Akka's. */
#ifndef TROUPE_SUPERVISION_H
#define TROUPE_SUPERVISION_H

#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct troupe_behavior troupe_behavior;
typedef struct troupe_ctx troupe_ctx; /* the running actor, as its callbacks see it; valid until they return */

/* Whether an actor comes back. Its parent's orders, and its parent's end, are final under every policy. */
typedef enum troupe_restart {
    TROUPE_RESTART_TRANSIENT = 0, /* after a crash, not after an orderly end */
    TROUPE_RESTART_PERMANENT,     /* always: also when it stopped itself, or was stopped or killed by somebody else */
    TROUPE_RESTART_TEMPORARY      /* never: a crash ends it, reason crashed; nothing is escalated */
} troupe_restart;

/* How long an actor rests before a restart: min(max_ns, initial_ns * factor^n), n being the restarts since it was last
 * healthy; of that, with jitter, a random part between nothing and all ("full jitter": Brooker, "Exponential Backoff
 * And Jitter", 2015), so that actors which crashed together do not come back together. Its mailbox waits meanwhile. */
typedef struct troupe_backoff {
    uint64_t initial_ns; /* 0: no back-off, it restarts at once */
    uint64_t max_ns;     /* 0: the default, 30 s */
    double factor;       /* 0: the default, 2; below 1 counts as 1 */
    bool no_jitter;      /* exactly as long as the formula says */
    uint64_t healthy_ns; /* an incarnation that lived this long starts the series anew; 0: max_ns */
} troupe_backoff;

#define TROUPE_RESTARTS_NONE UINT32_MAX
#define TROUPE_RESTARTS_MAX 64
#define TROUPE_SHUTDOWN_KILL (UINT64_MAX - 1)

/* How an actor is supervised. Zero means the default everywhere. */
typedef struct troupe_supervision {
    troupe_restart restart;
    /* The restart window: `restarts` restarts (at most TROUPE_RESTARTS_MAX) within any `window_ns`, sliding; one crash
     * more escalates to the parent. */
    unsigned restarts;  /* 0: the default, 3. TROUPE_RESTARTS_NONE: the first crash escalates */
    uint64_t window_ns; /* 0: the default, 5 s */
    troupe_backoff backoff;
    /* What it is given to stop in when its parent stops, restarts or restarts its group; then it is killed. 0: the
     * default, 5 s, or, for a behavior that declares children, TROUPE_FOREVER: they have times of their own.
     * TROUPE_SHUTDOWN_KILL: it is killed at once. */
    uint64_t shutdown_ns;
    bool significant; /* its end counts for the parent's auto_shutdown. Not for a permanent one, which has none */
} troupe_supervision;

/* Which children restart when one does. The order is that of their starts, declared ones before the others. The group
 * comes down in reverse order and starts again in order; temporary children in it end. */
typedef enum troupe_strategy {
    TROUPE_ONE_FOR_ONE = 0, /* that one */
    TROUPE_ONE_FOR_ALL,     /* all of them */
    TROUPE_REST_FOR_ONE     /* that one and those that were started after it */
} troupe_strategy;

/* Whether a parent stops (reason shutdown) because children did that are marked significant. Their ends for good count,
 * but for those that the parent ordered; their restarts do not. */
typedef enum troupe_auto_shutdown {
    TROUPE_SHUTDOWN_NEVER = 0,
    TROUPE_SHUTDOWN_ANY, /* when one of them has ended */
    TROUPE_SHUTDOWN_ALL  /* when the last of them has ended */
} troupe_auto_shutdown;

/* A declared child: started by the runtime after its parent's `started`, in the order of the list, each when the one
 * before has started; stopped in reverse. The parent handles no message before all have. An actor has started when its
 * `started` has returned, its own declared children have started, and it does not hold its mailbox (troupe_hold): one
 * that has to load something first holds it meanwhile, and those behind it wait. */
typedef struct troupe_child {
    const troupe_behavior *behavior;
    const void *args; /* behavior->args_size bytes; NULL only when that is 0; or */
    /* fills in args, which are zeroed, just before this child is first started: from the parent's state, and number, 0
     * to count - 1. A panic in it is the parent's. */
    void (*make_args)(troupe_ctx *ctx, void *self, unsigned number, void *args);
    unsigned count; /* so many of them; 0: one; or */
    /* says how many, from the parent's state, just before the first of them; 0: none. A panic in it is the parent's. */
    unsigned (*make_count)(troupe_ctx *ctx, void *self);
    bool together;                         /* all of its count start at once, and are waited for together */
    const troupe_supervision *supervision; /* NULL: the behavior's */
} troupe_child;

#define TROUPE_CHILDREN_MAX 65535 /* declared ones, counts added up */

/* How an actor looks after its children. Zero means the default everywhere. */
typedef struct troupe_children {
    troupe_strategy strategy;
    /* A second window, over all children together: one restart more than `restarts` within window_ns and the parent
     * itself crashes (cause child). 0: there is none. At most TROUPE_RESTARTS_MAX. */
    unsigned restarts;
    uint64_t window_ns; /* 0: the default, 5 s */
    troupe_auto_shutdown auto_shutdown;
    const troupe_child *declared; /* a list that ends with a zeroed element; NULL: none */
} troupe_children;

/* What a parent decides about a child that crashed too often. */
typedef enum troupe_verdict {
    TROUPE_VERDICT_RESTART_SELF = 0, /* the default: I crash too (cause child), and it counts in my own window */
    TROUPE_VERDICT_STOP_SELF,        /* I stop, with all my children */
    TROUPE_VERDICT_RESTART_CHILD,    /* the child restarts with a fresh window: same address, same mailbox */
    TROUPE_VERDICT_REPLACE_CHILD,    /* the child ends, reason escalated, and a new actor with the same behavior and
                                      * arguments takes its place: new address, empty mailbox. child_replaced says so;
                                      * if there is no memory for it child_stopped does */
    TROUPE_VERDICT_IGNORE            /* the child ends, reason escalated; child_stopped follows, I go on */
} troupe_verdict;

#ifdef __cplusplus
}
#endif

#endif
