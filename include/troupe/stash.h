/* SPDX-License-Identifier: Apache-2.0 */
/* The stash: messages that the running actor cannot handle in the state it is in, set aside until it can. A handler
 * stashes what it was given; when the state has changed the actor takes all back, ahead of its mailbox, in order.
 * To have nothing handled at all meanwhile use troupe_hold (actor.h) or an ask with hold (message.h); to answer one
 * message later troupe_keep. */
#ifndef TROUPE_STASH_H
#define TROUPE_STASH_H

#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_STASH_DEFAULT 1024u /* messages, where troupe_behavior.stash_max is 0 */

/* troupe_stash - set aside msg, which the actor is handling. It is the handler's no more: its payload must not be
 * looked at once this has returned 0. An ask stays one, and its asker waits; the time it was given goes on,
 * and if that has passed when it comes back it is not handled (message.h, "Deadlines").
 * What is in the stash when the incarnation ends goes back to the mailbox: the next incarnation is given it, in order,
 * ahead of all else; of an actor that ends for good it becomes dead letters (stopped), its handler's drop sees it, and
 * askers are told (-ESRCH). A message that was stashed and came back is handled like a new one, by the same handler.
 * Returns 0. -EAGAIN: behavior->stash_max are in the stash; -ENOMEM, also in `crashed`; -EINVAL: msg is not a message
 *   that the handler was given from the mailbox (an I/O event, an answer), or was kept, stashed or forwarded before.
 *   Below 0 msg is still the handler's. */
TROUPE_API int troupe_stash(troupe_ctx *ctx, const troupe_msg *msg);
/* Puts all of the stash in front of the mailbox, in the order in which they were stashed: they are handled next, after
 * this handler has returned. Returns how many. */
TROUPE_API unsigned troupe_unstash_all(troupe_ctx *ctx);
/* How many are in the stash. */
TROUPE_API unsigned troupe_stashed(const troupe_ctx *ctx);

#ifdef __cplusplus
}
#endif

#endif
