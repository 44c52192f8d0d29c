/* SPDX-License-Identifier: Apache-2.0 */
/* The stash: messages that an actor has set aside, oldest first, in its incarnation. Touched only by the worker that
 * runs the actor. The verbs are in <troupe/stash.h>.
 * It is not the list of kept messages: those are the handlers', what is in the stash is the mailbox's. */
#ifndef TR_RUNTIME_STASH_H
#define TR_RUNTIME_STASH_H

#include <troupe/message.h>

struct tr_cell;
struct tr_incarnation;

/* Linked by next. A message in it may be the mailbox's mark: it is neither freed nor sent, so that does no harm. */
struct tr_stash {
    troupe_msg *oldest, *newest; /* NULL, and void: there is none */
    unsigned count;
};

/* All go back to the front of the mailbox, in their order. Returns how many. */
unsigned tr_stash_empty(struct tr_cell *cell, struct tr_stash *stash);

#endif
