/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an actor: its mailbox is closed and buried letter by letter, everything the cell owned is freed, its
 * parent is told. On the worker that runs the actor; the last step hands the cell over to the parent's worker.
 * It decides nothing: supervise.c calls it once the actor is STOPPED. */
#ifndef TR_RUNTIME_BURIAL_H
#define TR_RUNTIME_BURIAL_H

#include <troupe/actor.h>

#include <stdbool.h>

struct tr_cell;

/* One letter, or the rest. False: there is more to do. True: the cell is no longer ours. A handler's drop may panic:
 * then the next call goes on with the next letter. */
bool tr_burial_step(troupe_ctx *ctx);
/* The parent (or, for the root, its own worker) has read what it wanted: the slot is free for another actor. */
void tr_burial_give_back(troupe_ctx *ctx, struct tr_cell *cell);

/* Calls the drop of msg's handler, if it has one. A panic in it is skipped. */
void tr_burial_drop(troupe_ctx *ctx, const troupe_msg *msg);

#endif
