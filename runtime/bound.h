/* SPDX-License-Identifier: Apache-2.0 */
/* What bounds a mailbox: how many messages wait in it, how many may, and what becomes of the rest. Made with an actor
 * whose behavior has a `mailbox`, freed at its end; restarts keep it. Counted are the messages of the user lane but for
 * replies and the news of monitors, which are never denied, and neither is control.
 * It is not the mailbox, which takes whatever is pushed: senders ask here before. Nor is it who waits for room: room.h. */
#ifndef TR_RUNTIME_BOUND_H
#define TR_RUNTIME_BOUND_H

#include "runtime/cell.h"
#include "runtime/mailbox.h"
#include "runtime/message.h"

struct tr_room;

/* THE WORD: serial in the high half, in the low half how many counted messages wait.
 *   M  spawn   {serial, 0}            before the address is published
 *   A  sender  CAS {s, n} -> {s, n+1} before its push, if n is below the limit; if not it writes nothing
 *   B  sender  CAS {s, n} -> {s, n-1} after a push that found the mailbox closed
 *   K  owner   n - 1                  when it takes a counted message out of the FIFO, to handle, drop or bury it
 *   R  owner   n + 1                  when it puts one back
 *   E  owner   serial + 1             at the end, when all that was counted was buried
 * A sender loads cell->bound and the word, then looks at cell->name once more: if that is still the address it sends to
 *   the record was this actor's when the word was loaded, for the name moves on (tr_mailbox_close) before E. Records are
 *   type-stable, so a late load is harmless, and A and B fail if E came between: a count never reaches the wrong actor.
 * K comes after the A of the same message: that is before the push, whose release meets the owner's F (mailbox.h). So
 *   the count is never below 0, and n is at least what is in the mailbox. A message that passed A when its actor lived
 *   and was pushed to the next one in the slot is stale there, and not counted: its generation is not that of `born`.

 * THE PROBE: serial in the high half, in the low half when the message that is the probe was sent, 0: none is.
 *   M  spawn   {serial, 0}
 *   P  sender  CAS {s, 0} -> {s, now} between A and its push: its message, marked by msg->prev, is the probe
 *   K  owner   {s, 0}                 when it takes that message
 *   E  owner   {serial + 1, 0}
 * While the probe waits the oldest message is at least as old as it. Between K and the next P nobody knows, so that an
 *   old mailbox is found to be so after as long as one message waits, at the latest. P fails after E, like A.
 * Checked by: tests/runtime/test_bound.c, also under ThreadSanitizer. */
struct tr_bound {
    struct tr_room *first, *last; /* who waits for room, the owner's; the slab's words when free */
    uint64_t word, probe;
    /* Constant for the actor's life. */
    uint32_t limit; /* messages; UINT32_MAX: none, it only counts */
    uint32_t top;   /* a sender is denied at this many */
    uint32_t overflow;
    uint32_t max_age; /* of the probe, in ticks (bound.c); 0: any */
} TR_ALIGNED_LINE;

/* Why a push was denied. */
enum tr_deny {
    TR_DENY_GONE, /* the receiver has ended */
    TR_DENY_FULL, /* the sender is refused */
    TR_DENY_DROP, /* the message is dropped */
};

static inline bool tr_bound_wanted(const troupe_behavior *behavior)
{
    return behavior->mailbox.limit != 0 || behavior->mailbox.max_age_ns != 0;
}

/* NULL: out of memory. */
struct tr_bound *tr_bound_new(troupe_ctx *ctx, const troupe_behavior *behavior);
/* E. */
void tr_bound_free(troupe_ctx *ctx, struct tr_bound *bound);

/* As tr_mailbox_push, to the actor `to` whose cell has a bound. sure: never denied for want of room. TR_PUSH_CLOSED: *why
 * says why, and msg is still the caller's. Any thread. */
enum tr_push tr_bound_push(struct tr_cell *cell, troupe_addr to, troupe_msg *msg, bool sure, enum tr_deny *why);

/* --- the owner's --- */

/* Is msg, in cell's mailbox, one of those that count? */
static inline bool tr_bound_counts(const struct tr_cell *cell, const troupe_msg *msg)
{
    return cell->bound && msg->generation == cell->born && !(msg->flags & (TR_MSG_REPLY | TR_MSG_NEWS));
}

/* K: msg was popped for good. Tells those who wait when there is room again. False: too many wait, and the policy wants
 * this one, the oldest, dropped. */
bool tr_bound_take(troupe_ctx *ctx, troupe_msg *msg);
/* R: msg, which was taken, goes back. */
void tr_bound_return(struct tr_cell *cell, const troupe_msg *msg);

/* At most half of the limit waits, and none that is known to wait too long. */
bool tr_bound_has_room(const struct tr_bound *bound);

#endif
