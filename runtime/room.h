/* SPDX-License-Identifier: Apache-2.0 */
/* "Space available": the wish of a sender that a full mailbox refused, and the word that there is room again. One record
 * per sender and receiver. Called by send.c for the sender, by bound.c, supervise.c and burial.c for the owner of either
 * cell.
 * It reserves nothing: who is told may be refused again. */
#ifndef TR_RUNTIME_ROOM_H
#define TR_RUNTIME_ROOM_H

#include <troupe/message.h>

#include "runtime/signal.h"
#include "sched/base/list.h"

struct tr_bound;
struct tr_incarnation;

/* The record's way, by one signal that is in one place at a time:
 *   the sender's worker   makes it, in the incarnation's list of rooms, and pushes it to the receiver's control lane
 *   the receiver's worker answers at once if there is room, else it waits in the bound's list: until at most half of the
 *                         limit waits, or the receiver's end. Then it is pushed to the sender's control lane
 *   the sender's worker   takes it from the list, frees it, calls `room`
 * A lane that is closed is not waited for: the receiver's counts as room (the next send says -ESRCH), the sender's frees.
 * `link` is the sender's alone, `signal`, `where` and `who` that of whom the signal is with. An incarnation that ends
 * unlinks its records: one that comes back unlinked is nobody's, and is freed. That holds also if it comes to the next
 * actor in the sender's slot. The release in the push meets the acquire in tr_mailbox_take_signals. */
struct tr_room {
    struct tr_list link; /* the slab's words when free */
    struct tr_signal signal;
    troupe_addr where, who;
};

/* The running actor was refused by `where`. 0, or -ENOMEM: it would not be told. */
int tr_room_want(troupe_ctx *ctx, troupe_addr where);
/* A signal TR_SIGNAL_ROOM_WANTED, at the receiver; also when it has closed its mailbox. */
void tr_room_wanted(troupe_ctx *ctx, struct tr_signal *signal);
/* Tells all who wait. */
void tr_room_tell(troupe_ctx *ctx, struct tr_bound *bound);
/* A signal TR_SIGNAL_ROOM, at the sender, and when that has closed its mailbox. */
void tr_room_dispatch(troupe_ctx *ctx, struct tr_signal *signal);
void tr_room_bury(troupe_ctx *ctx, struct tr_signal *signal);
/* The running actor's incarnation ends. */
void tr_room_forget_all(struct tr_incarnation *inc);

#endif
