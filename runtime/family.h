/* SPDX-License-Identifier: Apache-2.0 */
/* An actor's children, as their parent sees them: the list in the order of their starts, the declared ones by place,
 * who was told to stop and by when, and the group that restarts together. Made with the first child, freed with the
 * actor. Owned by the worker that runs the parent; of a child's cell it touches only the parent's fields and the
 * control lane. It is not the state machine of either (lifecycle.h), and not the policy (policy.h).
 *
 * NEWS. A child tells its parent by setting bits in child->news and, if none were set, pushing child->news_signal to
 *   the parent's control lane; the parent takes the bits by exchange when it dispatches the signal. So one node is
 *   enough for all news, and it is in the lane at most once: it is pushed only when the bits leave 0, and they return
 *   to 0 only after the parent has taken the node off its list.
 *     child   load news: 0, store bits, push     acquire: the parent is done with the node; the push releases what it
 *                                                may read (crash record, reason)
 *             CAS news: x -> x | bits            release; the node is on its way already
 *     parent  exchange news -> 0                 release: it is done with the node; acquire
 *             load news: EXITED among them       acquire; nothing else comes
 *   The store needs no CAS: while news are 0 the node is not in the lane, so the parent will not touch them, and nobody
 *   but the child makes them other than 0. A CAS fails only against the parent's exchange; then they are 0.
 *   EXITED is the last: with the CAS or the push that carries it the cell is the parent's. The order of the others is
 *   given: a child that is DOWN or ESCALATED goes on only by its parent's word.
 *   Checked by: tests/stress/stress_families.c, tests/supervision/, under ThreadSanitizer, too.
 *
 * GROUPS (one-for-all, rest-for-one). A child that asks (DOWN | ASKS) makes a group of itself and its siblings by the
 *   strategy:
 *     GATHERING  members come down, dynamic ones together, then declared ones from the last to the first
 *     STARTING   members start from the first to the last, each when the one before is UP
 *   A member that fails again on the way makes a new group of what the strategy says, together with what is left of the
 *   old. The successor of a member that is replaced meanwhile is WAITING from its spawn on (cell->unborn) and starts
 *   in its turn. */
#ifndef TR_RUNTIME_FAMILY_H
#define TR_RUNTIME_FAMILY_H

#include <troupe/actor.h>

#include "runtime/cell.h"

/* Bits of child->news. */
#define TR_NEWS_UP 1u        /* it has started, and its declared children have */
#define TR_NEWS_DOWN 2u      /* it is WAITING for its parent's word */
#define TR_NEWS_ASKS 4u      /* with DOWN: by its own doing, not by the group's */
#define TR_NEWS_ESCALATED 8u /* it waits for the verdict */
#define TR_NEWS_EXITED 16u

/* child->seat: what the parent knows of it. */
enum tr_seat {
    TR_SEAT_UP,   /* it runs, or restarts without asking */
    TR_SEAT_TOLD, /* it was told to come down or to stop */
    TR_SEAT_DOWN, /* it is WAITING */
};

#define TR_PLACE_DYNAMIC UINT16_MAX

/* What a parent is to do when news were dispatched: bits. */
#define TR_WISH_STAFFED 1u  /* nothing is under way: all declared children have started, perhaps long ago */
#define TR_WISH_STOP 2u     /* stop, reason normal */
#define TR_WISH_SHUTDOWN 4u /* stop, reason shutdown */

struct tr_alarm;
struct tr_family;
struct tr_signal;

/* Puts a new child of the running actor in its place; false: out of memory. */
bool tr_family_adopt(troupe_ctx *ctx, struct tr_cell *child);
/* Has the running actor any children left? */
bool tr_family_is_empty(const struct tr_cell *cell);

/* `started` has returned: starts the declared children, one after the other; wishes as below. A failure is a panic. */
unsigned tr_family_staff(troupe_ctx *ctx);
/* A signal of kind TR_SIGNAL_CHILD: may call the actor's callbacks, and panic for it. Returns TR_WISH_ bits. */
unsigned tr_family_news(troupe_ctx *ctx, struct tr_signal *signal);
/* Children end from here on: dynamic ones are told at once, declared ones in reverse order as they go. The telling is
 * done by tr_family_tell_some. */
void tr_family_stop(troupe_ctx *ctx);
/* All of them are killed. */
void tr_family_kill(troupe_ctx *ctx);
/* Tells a number of those that are to be told. True: there are more, in the parent's next activation. */
bool tr_family_tell_some(troupe_ctx *ctx);
/* The alarm of their shutdown time-outs. */
void tr_family_alarm(troupe_ctx *ctx, struct tr_alarm *alarm);
/* Another incarnation begins, with no children. */
void tr_family_reset(troupe_ctx *ctx);
void tr_family_free(troupe_ctx *ctx, struct tr_cell *cell);

/* The running actor, a child, tells its parent. Nothing of the cell may be touched after TR_NEWS_EXITED. */
void tr_family_tell_parent(troupe_ctx *ctx, struct tr_cell *child, uint32_t news);

#endif
