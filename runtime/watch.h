/* SPDX-License-Identifier: Apache-2.0 */
/* Monitors, links and waiting threads: who is to be told of an actor's end. Two records: the watch is the watcher's,
 * owned by its incarnation and touched by its worker only (`serial` and `cell` are also read through stale handles);
 * the monitor is made by the watcher and from then on in the hands of the watched actor, the target.
 * It is not supervision: nothing here restarts or stops anybody; a link's crash is an ordinary crash of the actor it
 * hits. */
#ifndef TR_RUNTIME_WATCH_H
#define TR_RUNTIME_WATCH_H

#include <troupe/monitor.h>

#include "runtime/message.h"
#include "runtime/signal.h"
#include "sched/base/list.h"

struct tr_cell;
struct tr_incarnation;
struct tr_tie;
struct tr_waiter;

/* MAKING. The watcher reserves all that the news of an end will need (watch, monitor, message), then pushes the
 *   monitor's `signal` (WATCH_ADD) to the target's control lane; whoever takes it from there puts the monitor into its
 *   cell's `watchers`. A stale address, and a push that is refused, are answered at once by the watcher. The lane does
 *   not compare generations, so the slot's next actor may find an add that was not for it: it answers NO_ACTOR.
 * STATE. One word, monitor->state: the record's serial, which grows with each life, and one of
 *   FREE       on the free list
 *   LIVE       the news is still to be told
 *   TOLD       the target's: it tells, and frees the record (a link's is freed by who gets its signal)
 *   CANCELLED  the watcher wants no news. Its `cancel` signal is in the target's lane, or about to be pushed
 *   RELEASED   cancelled, and the ended target will not touch the record again but by the cancel signal
 *   REFUSED    cancelled, and the lane refused the cancel signal: the watcher will not touch the record again
 * Who moves it, each by one CAS that names serial and state:
 *   A  watcher  FREE -> LIVE            a store: the record is its own. Its contents meet the target by the add's push
 *   T  target   LIVE -> TOLD            at its end; a link also at its crash; a stranger's add
 *   C  watcher  LIVE -> CANCELLED       demonitor, the end of its incarnation, a waiting thread's time-out
 *   L  target   CANCELLED -> RELEASED   if T failed, but for a crash; release, meets the acquire of a failed R
 *   R  watcher  CANCELLED -> REFUSED    if the lane is closed; release, meets the acquire of a failed L
 *   F  who frees: a store of FREE with the next serial
 * WHO FREES. After T: the target, or for a link whoever finds its `signal` (LINK): the watcher's slot at dispatch or
 *   when it closes its lane, the target if that lane refuses it. After C: who finds the cancel signal, at dispatch or
 *   in a lane that is closed; if it was refused, the second of L and R, which its failed CAS tells. The watcher cannot
 *   just free what the lane refused: the ending target may still have the record in `watchers`, or its add among the
 *   signals that it buries.
 * STALE POINTERS. A watcher that has not yet handled the news names a monitor that may be freed and somebody else's by
 *   now: hence the serial in C's CAS, and records that stay records (type-stable, see slab.h). News and LINK name a
 *   watch that may be gone: they carry its serial, and a watch dies with its incarnation, so equal serials prove that
 *   watch, actor and incarnation are the ones it was made by.
 * ORDER. Add and cancel are one sender's signals in one lane: a cancel never overtakes its add, in no slot. If they are
 *   split by the target's end, the add is met first there, by the target. A later actor in the slot may get the cancel:
 *   then the record is in no list, and is freed. News go through the user lane, from the target, after all that it
 *   sent.
 * NOTHING IS LOST. The target closes its lane before it tells: an add is refused, or buried and told with the others.
 * CRASHES OF LINKS. To the watcher: LINK. To the target: the cancel signal with a fate in it; it hits only the actor
 *   that has the record in its list. A crash of the target that comes first (T fails: cancelled) marks the record
 *   `spent`, so that the signal does not hit the next incarnation: both have crashed already. For the same reason
 *   who is hit cancels, before it crashes, its own links to where that came from: no echo hits the incarnation there.
 * WAITING THREADS. A monitor without a watch; its waiter is on the thread's stack. T gives the target the waiter until
 *   it sets waiter->told (release, meets the thread's acquire); C takes the waiter back, and the thread may return.
 * TIES. A monitor without a watch, made for a name by any thread; T gives the target the tie, C whoever cuts it: tie.h.
 * Checked by: tests/runtime/test_monitor.c, tests/stress/stress_monitor.c (ThreadSanitizer). */
enum tr_monitor_state {
    TR_MONITOR_FREE = 0, /* as new memory is */
    TR_MONITOR_LIVE,
    TR_MONITOR_TOLD,
    TR_MONITOR_CANCELLED,
    TR_MONITOR_RELEASED,
    TR_MONITOR_REFUSED,
};

/* What a link brings to the other side. */
enum tr_fate_kind {
    TR_FATE_DISSOLVED = 0, /* an orderly end, or no link at all: no harm */
    TR_FATE_CRASHED,
    TR_FATE_KILLED,
    TR_FATE_ESCALATED,
    TR_FATE_STALE, /* the address was stale when the link was made */
};

struct tr_fate {
    enum tr_fate_kind kind;
    uint32_t index;
    uint32_t incarnation;
    const char *name; /* the behavior's, which outlives every actor; NULL when stale */
};

struct tr_watch {
    struct tr_watch *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint64_t serial;      /* changes with each life of the record; handles carry it */
    struct tr_cell *cell; /* the watcher */
    troupe_addr target;
    struct tr_list link; /* in incarnation->watches */
    struct tr_monitor *monitor;
    uint64_t monitor_serial;
    bool is_link;
};

struct tr_monitor {
    struct tr_monitor *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint64_t state; /* serial and enum tr_monitor_state */
    /* Written by A, constant until F. */
    troupe_addr target, watcher;
    struct tr_watch *watch; /* NULL for a waiting thread, and for a tie */
    uint64_t watch_serial;
    struct tr_waiter *waiter; /* NULL for an actor's */
    struct tr_tie *tie;       /* NULL but for a name's: see tie.h */
    bool is_link, tells_restarts;
    /* The target's. */
    troupe_msg *news;                 /* of the end; NULL for links and waiting threads */
    struct tr_monitor *next, **where; /* in the target's list; where names what names it, NULL: it is in none */
    bool spent;
    /* Of who moved the state last, until the signal is pushed. */
    struct tr_fate fate;
    struct tr_signal signal; /* WATCH_ADD to the target, then perhaps LINK to the watcher */
    struct tr_signal cancel; /* WATCH_CANCEL to the target */
};

/* A signal of this file was taken from the running actor's control lane. May panic, unless the actor is STOPPED: what
 * it found when it closed its lane for good hits nobody. */
void tr_watch_dispatch(troupe_ctx *ctx, struct tr_signal *signal);
/* The running actor took a message with TR_MSG_NEWS, of its own generation, from its mailbox. True: it is an ordinary
 * message from here on. False: nobody wants it any more, and it is to be finished in silence. */
bool tr_watch_news(troupe_ctx *ctx, troupe_msg *msg);

/* What becomes of the running actor, for those who watch it and those it is linked to:
 * its incarnation crashed, or was killed: links fire, both ways. Before the incarnation is closed. */
void tr_watch_crashed(troupe_ctx *ctx);
void tr_watch_killed(troupe_ctx *ctx);
/* It goes on as another incarnation; incarnation: the number of the one that ended. */
void tr_watch_restarted(troupe_ctx *ctx, troupe_reason reason, unsigned incarnation);
/* It has ended: everybody is told. After its mailbox was closed and the signals in it were buried. */
void tr_watch_ended(troupe_ctx *ctx, troupe_reason reason, unsigned incarnation);
/* Its incarnation ends, and with it what it watches. */
void tr_watch_forget_all(troupe_ctx *ctx, struct tr_incarnation *inc);

/* --- for tie.c: any thread; ctx is NULL on one outside --- */

struct troupe_runtime;

/* A monitor of actor that tells tie, which nobody else knows yet; *serial is its own. NULL: out of memory. */
struct tr_monitor *tr_watch_tie(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr actor, struct tr_tie *tie,
                                uint64_t *serial);
/* Hands it over to the actor; from here on tr_tie_ended may be called. False: the actor has ended, and the monitor is
 * still the caller's. *wake: the cell to be woken with tr_ctx_wake, outside of all locks; or NULL. */
bool tr_watch_tie_add(struct troupe_runtime *rt, struct tr_monitor *monitor, struct tr_cell **wake);
/* Frees one that was never handed over. */
void tr_watch_tie_free(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor);
/* C. True: tr_tie_ended will not be called; the caller must call tr_watch_tie_cancelled, outside of all locks. False:
 * the actor has ended, and it was or will be. */
bool tr_watch_tie_cancel(struct tr_monitor *monitor, uint64_t serial);
void tr_watch_tie_cancelled(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor, uint64_t serial);

#endif
