/* SPDX-License-Identifier: Apache-2.0 */
/* What one incarnation owns beyond its state: timers, asks, kept messages, ports, and by the verbs of own.h (owner.h).
 * Made when first needed, released as a whole when the incarnation ends, in two steps: what the kernel may still use
 * goes last. Its memory and that of a small state stay for the actor's next incarnation, as if new. Touched only by the
 * worker that runs the actor.
 * It is not the cell: address, mailbox, children and restart window outlive it. */
#ifndef TR_RUNTIME_INCARNATION_H
#define TR_RUNTIME_INCARNATION_H

#include <troupe/message.h>

#include "runtime/owner.h"
#include "runtime/stash.h"
#include "sched/base/list.h"

struct tr_alarm;
struct tr_delay_account;
struct tr_token;

struct tr_incarnation {
    struct tr_list timers;           /* those under a token, and ports' tries */
    struct tr_delay_account *delays; /* the others: see delay.h */
    struct tr_list asks;             /* by deadline */
    struct tr_list asks_forever;     /* without one */
    struct tr_list asks_cancelled;   /* with their tokens: `done` is still owed */
    struct tr_alarm *ask_alarm;      /* rings at or before the first deadline; NULL: none armed */
    uint64_t ask_alarm_due_ns;
    unsigned holding;             /* asks that hold the mailbox: see hold.h */
    troupe_msg *hold_seen;        /* in the FIFO */
    troupe_msg *kept;             /* list, by next and prev */
    struct tr_stash stash;        /* messages set aside */
    struct tr_list ports;         /* open ones */
    struct tr_list watches;       /* monitors and links that it made */
    struct tr_list rooms;         /* wishes for room that are under way: see room.h */
    struct tr_list notices;       /* hooks of troupe_token_notify */
    struct tr_token *scope;       /* its stop token, which lists the tokens that it made; NULL until needed */
    struct tr_list closing;       /* ports with operations in flight, or output that is drained */
    struct tr_alarm *drain_alarm; /* rings when draining has had its time; NULL: none armed */
    int taken_fd;                 /* by troupe_take_fd, and not yet anybody else's; -1 */
    /* Offloaded jobs: by deadline, without one; the alarm as above. */
    struct tr_list jobs, jobs_forever;
    struct tr_alarm *job_alarm;
    uint64_t job_alarm_due_ns;
    struct tr_owner owner;
};

/* The running actor's, made if there is none yet; NULL: out of memory, or the incarnation is closed already. */
struct tr_incarnation *tr_incarnation_of(troupe_ctx *ctx);
/* The same also when it is closed: for memory, which may be had until the very end. */
struct tr_incarnation *tr_incarnation_even_closed(troupe_ctx *ctx);
/* Has cell->state be what a new incarnation finds: zeroed. Again in the same incarnation it does nothing. False: out of
 * memory. */
bool tr_incarnation_state(troupe_ctx *ctx);
/* fd is a stream's now, or a child's, or the caller's: if troupe_take_fd gave it out, it is no longer the
 * incarnation's. False: it was not. */
bool tr_incarnation_fd_gone(troupe_ctx *ctx, int fd);
/* The first step: forgets timers and asks, closes all ports. cell->ports counts those that still wait for operations in
 * flight. What an orderly end had closed with drain may still be sent, for a while; after a crash it is dropped. */
void tr_incarnation_close(troupe_ctx *ctx, bool crashed);
/* Drops what closing streams still want to send. */
void tr_incarnation_drop_output(troupe_ctx *ctx);
/* The alarm of the while. */
void tr_incarnation_drain_alarm(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The second step, once cell->ports is 0 and so nothing of this is in the kernel's hands: kept messages, resources and
 * deferred calls, memory, state. kept_status: what askers of kept messages are told. User code runs in it: a panic in
 * that leaves for the boundary in actor.c, tr_supervise_crash has it counted, and the next call goes on where this one
 * stopped. */
void tr_incarnation_release(troupe_ctx *ctx, int kept_status);
/* The actor's end, after that: frees what was kept for another incarnation. cell->incarnation and cell->state are NULL
 * then. */
void tr_incarnation_free(troupe_ctx *ctx);

#endif
