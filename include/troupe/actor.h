/* SPDX-License-Identifier: Apache-2.0 */
/* Actors: how one is described (a behavior), started, supervised, stopped and crashed.
 * The verbs are for the actor that runs at the moment; an actor is run by one worker at a time, so a behavior needs no
 * locks for its state. Threads outside of the runtime use runtime.h. */
#ifndef TROUPE_ACTOR_H
#define TROUPE_ACTOR_H

#include <troupe/message.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_KINDS_MAX 32
#define TROUPE_ANY_SIZE SIZE_MAX

typedef void troupe_handler_fn(troupe_ctx *ctx, void *self, const troupe_msg *msg);

/* What an actor does with one kind of message. The runtime checks kind and size before it calls fn. */
typedef struct troupe_handler {
    const char *name;      /* for logs and profiles */
    troupe_handler_fn *fn; /* NULL: the kind is not handled */
    size_t size;           /* payload bytes, exactly; TROUPE_ANY_SIZE: any */
    /* Optional: frees what the payload owns when the receiver stops before it was given the message. On the worker that
     * runs the receiver, after the hook dead_letter (runtime.h). Not called once fn was given it (what a handler did before
     * it panicked is unknown), nor when the send answered -ESRCH, nor for any other dead letter: that hook sees them all. */
    void (*drop)(const void *payload, size_t size);
} troupe_handler;

/* Whether an actor that crashed comes back. */
typedef enum troupe_restart {
    TROUPE_RESTART_TRANSIENT = 0, /* after a crash, not after an orderly stop */
    TROUPE_RESTART_TEMPORARY      /* never: a crash ends it, reason crashed; nothing is escalated */
} troupe_restart;

/* How often an actor may crash: `restarts` restarts (at most TROUPE_RESTARTS_MAX) within any `window_ns`; one crash more
 * escalates to its parent. A restart follows at once: there is no back-off yet. */
typedef struct troupe_supervision {
    troupe_restart restart;
    unsigned restarts;  /* 0: the default, 3. TROUPE_RESTARTS_NONE: the first crash escalates */
    uint64_t window_ns; /* 0: the default, 5 s */
} troupe_supervision;

#define TROUPE_RESTARTS_NONE UINT32_MAX
#define TROUPE_RESTARTS_MAX 64

/* One crash, as it was caught. Strings are valid until the callback returns. If there was no memory for the record, text
 * says so and actor is nobody. */
typedef struct troupe_crash {
    troupe_addr actor;
    const char *behavior; /* the actor's */
    const char *text;     /* what the panic said */
    const char *file;     /* where, or "" */
    unsigned line;
    int status;           /* what `started` returned, if that was the crash; else 0 */
    const char *handler;  /* which handler or callback ran */
    unsigned incarnation; /* the one that crashed, from 1 */
    unsigned restarts;    /* restarts inside the window, this one not counted */
} troupe_crash;

/* What a parent decides about a child that crashed too often. */
typedef enum troupe_verdict {
    TROUPE_VERDICT_RESTART_SELF = 0, /* the default: I restart, and it counts in my own window */
    TROUPE_VERDICT_STOP_SELF,        /* I stop, with all my children */
    TROUPE_VERDICT_RESTART_CHILD,    /* the child restarts with a fresh window */
    TROUPE_VERDICT_STOP_CHILD        /* the child ends, reason escalated; child_stopped follows */
} troupe_verdict;

/* A behavior: constant data that says what an actor of this type is. It must outlive the runtime.
 * Callbacks run like handlers: one at a time, and a panic in any of them is a crash of the actor. */
typedef struct troupe_behavior {
    const char *name;  /* required; for logs, profiles and crash reports */
    size_t state_size; /* bytes of state; zeroed before every incarnation */
    size_t args_size;  /* bytes copied from troupe_spawn's args and kept for all incarnations */
    /* Optional, as all that follow. Builds the state of every incarnation. args is the kept copy (NULL when args_size is
     * 0). A status below 0 is a crash. Until it has returned no message, answer or I/O event is handled. */
    int (*started)(troupe_ctx *ctx, void *self, const void *args);
    /* After a crash, before `started` of the next incarnation, on zeroed state, which that one finds as this leaves it.
     * count: the restarts over the actor's whole life, this one included. */
    void (*restarted)(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count);
    /* After a crash of an incarnation whose `started` had returned: children and ports are gone (operations that were in
     * flight are over, their results unknown), the rest is as the crash left it and about to be released. For what must
     * not be lost, such as replies to kept messages. It should be short and trust little of its state. A panic in it is
     * logged, and the restart goes on. */
    void (*crashed)(troupe_ctx *ctx, void *self, const troupe_crash *crash);
    /* Orderly end only, and only of an incarnation whose `started` has returned: children are gone, ports and timers still
     * there. Messages can be sent; answers and I/O events come no more. */
    void (*stopped)(troupe_ctx *ctx, void *self, troupe_reason reason);
    /* A child ended for good; its address is stale by now. Not called for children that end because this actor stops or
     * restarts. */
    void (*child_stopped)(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason);
    /* A child crashed too often and waits, its own children and resources gone, for this verdict. NULL: RESTART_SELF. */
    troupe_verdict (*child_escalated)(troupe_ctx *ctx, void *self, const troupe_crash *crash);
    troupe_supervision supervision; /* the default for actors of this behavior */
    troupe_handler handlers[TROUPE_KINDS_MAX];
} troupe_behavior;

typedef struct troupe_spawn_options {
    const troupe_supervision *supervision; /* NULL: the behavior's */
    /* With has_fd: an open file descriptor that becomes the child's. It takes it with troupe_take_fd (net.h), once for all
     * its incarnations; what is not taken when the child ends is closed. If troupe_spawn fails it stays the caller's. */
    int fd;
    bool has_fd;
} troupe_spawn_options;

/* troupe_spawn - start a child of the running actor.
 *   behavior  constant data, see above
 *   args      behavior->args_size bytes, copied; every incarnation is built from them. May be NULL when that is 0
 *   options   NULL: defaults
 * Returns the child's address at once (it may be sent to; `started` runs before its first message), or nobody when memory
 * or the runtime's actors_max is exhausted, or when the running actor is stopping. The child ends before its parent does,
 * and when its parent restarts. */
TROUPE_API troupe_addr troupe_spawn(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args,
                                    const troupe_spawn_options *options);

TROUPE_API troupe_addr troupe_self(const troupe_ctx *ctx);
TROUPE_API troupe_addr troupe_parent(const troupe_ctx *ctx);   /* nobody for the root */
TROUPE_API unsigned troupe_incarnation(const troupe_ctx *ctx); /* 1 for the first */
/* Monotonic nanoseconds, as the worker last read the clock: free, and at most about eight activations old. */
TROUPE_API uint64_t troupe_now(const troupe_ctx *ctx);

/* Tells an actor to stop, in order: its children, then its `stopped`, then what it owned. It overtakes all messages; what
 * is left in the mailbox becomes dead letters. A handler that runs is not interrupted. Any actor may stop any other.
 * Returns 0, also when it stops already; -ESRCH when it has ended. */
TROUPE_API int troupe_stop(troupe_ctx *ctx, troupe_addr actor);
/* Stops the running actor once this handler has returned, ahead of all messages; its reason is normal. Children are told at
 * once, and from here on troupe_spawn returns nobody. In `started` or `restarted`: it stops once it has started. */
TROUPE_API void troupe_stop_self(troupe_ctx *ctx);
/* Stops the whole runtime: the root is told to stop, and with it everything. status is what troupe_run returns; the first
 * one counts. */
TROUPE_API void troupe_stop_runtime(troupe_ctx *ctx, int status);

/* Holds the mailbox: until troupe_resume no message and no answer is handled, they wait in order. I/O events, ends of
 * children and stops are handled as ever. For an actor that has to load something first: what comes meanwhile is neither
 * kept by hand nor lost if it crashes while it loads. A new incarnation begins without a hold. */
TROUPE_API void troupe_hold(troupe_ctx *ctx);
TROUPE_API void troupe_resume(troupe_ctx *ctx);

/* Has fn(arg) called once when this incarnation ends, by crash or stop; the last deferred runs first. For what the runtime
 * cannot know of: memory from malloc, a lock file, a library's object. It runs after `stopped`, on the actor's worker; ports
 * are closed and kept messages gone by then, the state is still there. It must not panic.
 * Reserve first, acquire then: 0, or -ENOMEM, which means that fn will not be called. */
TROUPE_API int troupe_defer(troupe_ctx *ctx, void (*fn)(void *arg), void *arg);

/* Ends this incarnation: the handler does not return, its children are stopped, what the incarnation owned is released, and
 * the actor restarts behind the same address, or its crash escalates, or (restart temporary) it ends. The text is cut at 255
 * bytes; file must stay valid, as a literal does. C stack frames are left without unwinding: memory that the handler got
 * from malloc stays allocated unless it was deferred (troupe_defer), and a mutex that it holds stays locked. Only in
 * handlers and callbacks that are given ctx: a panic anywhere else ends the process. */
TROUPE_API void troupe_panic_at(troupe_ctx *ctx, const char *file, unsigned line, const char *format, ...)
    TROUPE_NORETURN TROUPE_PRINTF(4, 5);
#define troupe_panic(ctx, ...) troupe_panic_at((ctx), __FILE__, __LINE__, __VA_ARGS__)
/* As assert, but it ends one incarnation instead of the process, and is never compiled out. */
#define TROUPE_CHECK(ctx, cond)                                                                                        \
    ((cond) ? (void)0 : troupe_panic_at((ctx), __FILE__, __LINE__, "check failed: %s", #cond))

#ifdef __cplusplus
}
#endif

#endif
