/* SPDX-License-Identifier: Apache-2.0 */
/* A control signal: a node embedded in the thing it speaks of (a child's cell, an alarm, an I/O op), so that sending
 * one needs no memory and cannot fail. Owned by that thing; in the receiver's control lane between push and dispatch.
 * Only alarms, monitors, hooks, jobs and wishes for room may outlive their receiver; those find nothing of theirs in the
 * cell's next actor and are freed. It is not a message: users never see it. */
#ifndef TR_RUNTIME_SIGNAL_H
#define TR_RUNTIME_SIGNAL_H

#include <stdint.h>

enum tr_signal_kind {
    TR_SIGNAL_CHILD,        /* embedded in a child's cell, which says what its news are: see family.h */
    TR_SIGNAL_ALARM,        /* embedded in an alarm: the deadline of asks */
    TR_SIGNAL_TIMER,        /* embedded in an alarm: a user's timer */
    TR_SIGNAL_RETRY,        /* embedded in an alarm: a port tries again what it had no op or descriptor for */
    TR_SIGNAL_DRAIN,        /* embedded in an alarm: an ending actor's last output has had its time */
    TR_SIGNAL_REST,         /* embedded in an alarm: a back-off is over */
    TR_SIGNAL_SHUTDOWN,     /* embedded in an alarm: the first of the children's shutdown times is up */
    TR_SIGNAL_KILL,         /* embedded in an alarm: the time of troupe_stop_within is up */
    TR_SIGNAL_CANCEL,       /* embedded in a hook: a token was cancelled */
    TR_SIGNAL_JOB_TIME,     /* embedded in an alarm: the first of the offloaded jobs' times is up */
    TR_SIGNAL_JOB,          /* embedded in an offloaded job: it is over */
    TR_SIGNAL_OP,           /* embedded in an op of one of the actor's ports: it is done */
    TR_SIGNAL_WATCH_ADD,    /* embedded in a monitor: somebody wants to know of this actor's end */
    TR_SIGNAL_WATCH_CANCEL, /* embedded in a monitor: no longer, or a linked watcher crashed */
    TR_SIGNAL_LINK,         /* embedded in a monitor: an actor that this one is linked to has crashed or ended */
    TR_SIGNAL_ROOM_WANTED,  /* embedded in a wish for room (room.h): this actor's mailbox refused somebody */
    TR_SIGNAL_ROOM,         /* the same on its way back: there is room now */
};

struct tr_signal {
    struct tr_signal *next;
    enum tr_signal_kind kind;
};

#endif
