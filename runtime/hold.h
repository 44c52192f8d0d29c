/* SPDX-License-Identifier: Apache-2.0 */
/* Asks with hold: how an actor waits for one answer while its other messages wait. Called by ask.c, and by actor.c for
 * an actor that is held. Touched only by the worker that runs the actor.
 * It is not troupe_hold (order.c): that lets no answer through, and ends by a verb. */
#ifndef TR_RUNTIME_HOLD_H
#define TR_RUNTIME_HOLD_H

#include "runtime/cell.h"

/* While inc->holding asks wait, cell->held has TR_HELD_ASKING, and the FIFO is fetched to but not handled, except for
 * their answers. If other bits are set too, those wait as well.
 * An answer stands behind whatever was sent to the actor before it, so it has to be looked for. inc->hold_seen is the
 * last message of the FIFO that was looked at: no answer to an ask that holds is at it or before it. When the first
 * such ask begins that is the tail: what was fetched before cannot answer it. So each message is looked at once,
 * however many asks there are, and that only in an actor that is held.
 * What is found goes to the front, where it is popped and handled at once, like any message. While the actor is held
 * nothing else leaves the FIFO, so hold_seen stays in it. */

/* One more ask of the running actor holds it. */
void tr_hold_begin(troupe_ctx *ctx);
/* One less. */
void tr_hold_end(troupe_ctx *ctx);
/* Of an actor that is held: the answer for which the hold makes way, now at the front of the FIFO; NULL: none. The
 * caller pops it. */
troupe_msg *tr_hold_next(struct tr_cell *cell);

#endif
