/* SPDX-License-Identifier: Apache-2.0 */
/* Actors: how one is described (a behavior), started, supervised, stopped and crashed.
 * The verbs are for the actor that runs at the moment; an actor is run by one worker at a time, so a behavior needs no
 * locks for its state. Threads outside of the runtime use runtime.h. */
#ifndef TROUPE_ACTOR_H
#define TROUPE_ACTOR_H

#include <troupe/crash.h>
#include <troupe/message.h>
#include <troupe/supervision.h>
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
    /* Optional: frees what the payload owns when the receiver stops before it was given the message, or when the
     * message is over before (dead letters stopped, expired and cancelled). On the worker that runs the receiver, after
     * the hook dead_letter (runtime.h). Not called once fn was given it (what a handler did before it panicked is
     * unknown), nor when the send answered -ESRCH, nor for any other dead letter: that hook sees them all. Of a kind
     * with retries a payload stays the message's until fn has returned: one that crashed fn and was to be given to it
     * again is dropped like the others, and so is one in quarantine. */
    void (*drop)(const void *payload, size_t size);
    /* How often a message whose handler crashed is given to it again, at the head of the mailbox, after the restart.
     * Then it goes to quarantine (quarantine.h). 0: it becomes a dead letter (crashed) at once. Only for kinds that may
     * be handled twice: what the handler had sent before it crashed was sent. A message that it had kept is not
     * retried. */
    unsigned retries;
} troupe_handler;

/* What becomes of a message for a full mailbox. */
typedef enum troupe_overflow {
    TROUPE_OVERFLOW_REFUSE = 0,  /* it is not sent: its sender gets -EAGAIN, and is told when there is room (`room`) */
    TROUPE_OVERFLOW_DROP_NEWEST, /* it becomes a dead letter (mailbox_full); of an ask the asker gets -EAGAIN */
    TROUPE_OVERFLOW_DROP_OLDEST, /* the same for the oldest that waits: see troupe_mailbox */
    TROUPE_OVERFLOW_COUNT
} troupe_overflow;

#define TROUPE_MAILBOX_COUNTED UINT32_MAX

/* How many messages may wait for an actor. Counted are those that were sent and that its handlers have not been given
 * yet: asks and timers' messages too, but no replies, no news of monitors and of tokens, no I/O events. Those, stops,
 * kills and all else that supervision needs pass a full mailbox, so that no limit can hold an ask's answer up. Nothing
 * ever blocks: actors that send to each other cannot lock each other up. A restart keeps what waits. A bounded actor
 * costs 64 bytes more; a limit costs nobody else. */
typedef struct troupe_mailbox {
    /* 0: no limit, and, without max_age_ns, nothing is counted. TROUPE_MAILBOX_COUNTED: no limit, but troupe_depth
     * knows. */
    uint32_t limit;
    /* REFUSE and DROP_NEWEST: never more than limit wait, but for what a crashed handler is to be given again
     * (troupe_handler, retries). DROP_OLDEST: the actor drops, when it takes one out, the oldest as long as more than
     * limit wait; until it comes to that up to 2 * limit wait, beyond that the newest is dropped. The handlers' `drop`
     * is not called for what is dropped: the hook dead_letter (runtime.h) sees it. Timers' messages that are refused
     * become dead letters (mailbox_full). */
    troupe_overflow overflow;
    /* 0: any. Else a message is also refused, or dropped as the newest (both DROP policies), while one that was sent
     * longer ago is known to wait: how old the oldest is the senders find out by looking at one message at a time, so
     * it may be noticed late, by as much again as that message waits, but never early. In steps of 16 µs; beyond 9
     * hours as 9 hours. */
    uint64_t max_age_ns;
} troupe_mailbox;

/* A behavior: constant data that says what an actor of this type is. It must outlive the runtime. A mistake in it (no
 * name, a number above its limit, a value that is none) is the program's: its first spawn ends the process and says so.
 * Callbacks run like handlers: one at a time, and a panic in any of them is a crash of the actor. */
struct troupe_behavior {
    const char *name;  /* required; for logs, profiles and crash reports */
    size_t state_size; /* bytes of state; zeroed before every incarnation, aligned to 16 */
    size_t args_size;  /* bytes copied from troupe_spawn's args and kept for all incarnations */
    /* Optional, as all that follow. Builds the state of every incarnation. args is the kept copy (NULL when args_size
     * is 0). A status below 0 is a crash. Until it has returned no message, answer or I/O event is handled. */
    int (*started)(troupe_ctx *ctx, void *self, const void *args);
    /* Before `started` of every incarnation but the first, on zeroed state, which that one finds as this leaves it.
     * crash says why: its cause may be none of the actor's own. count: the restarts over the actor's whole life, this
     * one included. */
    void (*restarted)(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count);
    /* After a crash of an incarnation whose `started` had returned: children and ports are gone (operations that were
     * in flight are over, their results unknown), the rest is as the crash left it and about to be released. For what
     * must not be lost, such as replies to kept messages. It should be short and trust little of its state. A panic in
     * it is logged, and the restart goes on. */
    void (*crashed)(troupe_ctx *ctx, void *self, const troupe_crash *crash);
    /* Orderly end only, and only of an incarnation whose `started` has returned: children are gone, ports and timers
     * still there. Messages can be sent; answers and I/O events come no more. */
    void (*stopped)(troupe_ctx *ctx, void *self, troupe_reason reason);
    /* A child ended for good; its address is stale by now. Not called for children that end because this actor stops,
     * restarts or restarts a group of them. */
    void (*child_stopped)(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason);
    /* A child crashed too often and waits, its own children and resources gone, for this verdict. NULL:
     * RESTART_SELF. */
    troupe_verdict (*child_escalated)(troupe_ctx *ctx, void *self, const troupe_crash *crash);
    /* After a verdict REPLACE_CHILD: fresh is in the place of old, which has ended. */
    void (*child_replaced)(troupe_ctx *ctx, void *self, troupe_addr old, troupe_addr fresh);
    /* A mailbox that refused this incarnation (-EAGAIN: see troupe_mailbox) has room again: at most half of its limit
     * waits and none for too long, or its actor has ended. Once for all that it was refused by that actor since the
     * last call; it may be refused again. Not called if it was refused in `stopped` or `crashed`, or by way of a group,
     * a router or a name. */
    void (*room)(troupe_ctx *ctx, void *self, troupe_addr where);
    troupe_mailbox mailbox;         /* how many messages may wait for an actor of this behavior */
    troupe_supervision supervision; /* how actors of this behavior are supervised, unless their spawn says otherwise */
    troupe_children children;       /* how they look after their children */
    bool recover_faults;            /* with troupe_options.recover_faults: a hardware fault in its code is a crash */
    unsigned stash_max;             /* messages in its stash (stash.h); 0: TROUPE_STASH_DEFAULT */
    troupe_handler handlers[TROUPE_KINDS_MAX];
};

typedef struct troupe_spawn_options {
    const troupe_supervision *supervision; /* NULL: the behavior's; else copied */
    /* With has_fd: an open file descriptor that becomes the child's. It takes it with troupe_take_fd (net.h), once for
     * all its incarnations; what is not taken when the child ends is closed. If troupe_spawn fails it stays the
     * caller's. */
    int fd;
    bool has_fd;
} troupe_spawn_options;

/* troupe_spawn - start a child of the running actor.
 *   behavior  constant data, see above
 *   args      behavior->args_size bytes, copied; every incarnation is built from them. May be NULL when that is 0
 *   options   NULL: defaults
 * Returns the child's address at once (it may be sent to; `started` runs before its first message), or nobody when
 * memory or the runtime's actors_max is exhausted, or when the running actor is stopping. The child ends before its
 * parent does, and when its parent restarts. */
TROUPE_API troupe_addr troupe_spawn(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args,
                                    const troupe_spawn_options *options);

/* The declared child at that place (supervision.h): 0 for the first, counts added up. Nobody: it is not started yet,
 * has ended for good, or there is none. A restart does not change it, a replacement does. */
TROUPE_API troupe_addr troupe_child_at(const troupe_ctx *ctx, unsigned place);

TROUPE_API troupe_addr troupe_self(const troupe_ctx *ctx);
TROUPE_API troupe_addr troupe_parent(const troupe_ctx *ctx);   /* nobody for the root */
TROUPE_API unsigned troupe_incarnation(const troupe_ctx *ctx); /* 1 for the first */
/* How many counted messages wait for an actor whose behavior has a mailbox.limit or max_age_ns, at this moment: one
 * look, however many they are. -ESRCH: it has ended; -EOPNOTSUPP: they are not counted. */
TROUPE_API int64_t troupe_depth(const troupe_ctx *ctx, troupe_addr actor);
/* Monotonic nanoseconds, as the worker last read the clock: free, and seldom more than some 60 short activations
 * old. */
TROUPE_API uint64_t troupe_now(const troupe_ctx *ctx);

/* Tells an actor to stop, in order: its children, then its `stopped`, then what it owned. It overtakes all messages;
 * what is left in the mailbox becomes dead letters. A handler that runs is not interrupted. Any actor may stop any
 * other; one that is permanent restarts, unless it is its parent that stops it.
 * Returns 0, also when it stops already; -ESRCH when it has ended. */
TROUPE_API int troupe_stop(troupe_ctx *ctx, troupe_addr actor);
/* The same, and kills it when it has not ended after timeout_ns, also if the running actor has ended meanwhile. A
 * permanent actor that somebody else than its parent stops has ended when its incarnation has. -ENOMEM: nothing was
 * done. */
TROUPE_API int troupe_stop_within(troupe_ctx *ctx, troupe_addr actor, uint64_t timeout_ns);
/* Ends an actor without its consent: no `stopped`, no `crashed`, output is dropped, its children are killed too; reason
 * killed. What it owned is released as ever. Overtakes messages and a stop under way; a handler that runs is not
 * interrupted. May be used on oneself: it takes effect when the handler returns. Policy and returns as troupe_stop. */
TROUPE_API int troupe_kill(troupe_ctx *ctx, troupe_addr actor);
/* Suspends an actor: from its next look at its mailbox on, which comes before the next message, it handles no messages
 * and no answers until troupe_resume. They wait in order. I/O events, ends of children, stops and kills are handled as
 * ever. A restart does not end it. Deadlines of its asks go on: those that passed are told when it is resumed, unless a
 * reply that waited is handled before. Idempotent; the last of the two counts. Returns 0, or -ESRCH when it has
 * ended. */
TROUPE_API int troupe_suspend(troupe_ctx *ctx, troupe_addr actor);
TROUPE_API int troupe_resume(troupe_ctx *ctx, troupe_addr actor);
/* Stops the running actor once this handler has returned, ahead of all messages; its reason is normal. Children are
 * told at once, and from here on troupe_spawn returns nobody. In `started` or `restarted`: it stops once `started` has
 * returned, before its declared children start. */
TROUPE_API void troupe_stop_self(troupe_ctx *ctx);
/* Stops the whole runtime: the root is told to stop, and with it everything. status is what troupe_run returns; the
 * first one counts. */
TROUPE_API void troupe_stop_runtime(troupe_ctx *ctx, int status);

/* Holds the actor's own mailbox: until troupe_unhold no message and no answer is handled, they wait in order. I/O
 * events, ends of children and stops are handled as ever. For an actor that has to load something first: what comes
 * meanwhile is neither kept by hand nor lost if it crashes while it loads. A new incarnation begins without a hold. A
 * parent that waits for this actor's start waits for the end of the hold too (supervision.h, troupe_child). */
TROUPE_API void troupe_hold(troupe_ctx *ctx);
TROUPE_API void troupe_unhold(troupe_ctx *ctx);

/* Ends this incarnation: the handler does not return, its children are stopped, what the incarnation owned is released,
 * and the actor restarts behind the same address, or its crash escalates, or (restart temporary) it ends. The text is
 * cut at TROUPE_CRASH_TEXT; file must stay valid, as a literal does. C stack frames are left without unwinding: memory
 * that the handler got from malloc stays allocated unless it was deferred (troupe_defer), and a mutex that it holds
 * stays locked. Only in handlers and callbacks that are given ctx: a panic anywhere else ends the process. */
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
