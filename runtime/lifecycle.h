/* SPDX-License-Identifier: Apache-2.0 */
/* The supervision state machine: states, the events that move it, what each move does. Pure: a table and a function.
 * runtime/supervise.c asks it and carries the actions out; tests walk it completely.
 * It is not the policy: whether a crash is one too many is asked of runtime/window.h and arrives here as an event. */
#ifndef TR_RUNTIME_LIFECYCLE_H
#define TR_RUNTIME_LIFECYCLE_H

enum tr_life {
    TR_LIFE_STARTING,   /* the next activation builds the incarnation: restarted, started */
    TR_LIFE_RUNNING,    /* handles messages */
    TR_LIFE_RESTARTING, /* crashed: children stop, resources are released, then the policy decides */
    TR_LIFE_ESCALATING, /* crashed once too often: all is released, waits for the parent's verdict */
    TR_LIFE_STOPPING,   /* told to stop: children stop, `stopped`, resources are released */
    TR_LIFE_STOPPED,    /* over: the mailbox is closed, the parent is told */
    TR_LIFE_COUNT
};

enum tr_event {
    TR_EVENT_STARTED,         /* `started` returned 0 */
    TR_EVENT_CRASHED,         /* a panic in a handler or callback, or `started` failed */
    TR_EVENT_STOP,            /* somebody told it to stop, or it stopped itself */
    TR_EVENT_QUIET,           /* stopping: children gone, `stopped` returned, resources released */
    TR_EVENT_RESTART_ALLOWED, /* restarting and quiet: the window has room */
    TR_EVENT_WINDOW_EXCEEDED, /* restarting and quiet: one crash too many */
    TR_EVENT_RESTART_REFUSED, /* restarting and quiet: its restart policy is temporary */
    TR_EVENT_VERDICT_RESTART, /* escalating: the parent wants it restarted with a fresh window */
    TR_EVENT_COUNT
};

/* What a move does, in the order of the bits. */
enum {
    TR_DO_STOP_CHILDREN = 1, /* tell every child to stop */
    TR_DO_FORGET_WINDOW = 2, /* the restart window starts afresh */
    TR_DO_REINCARNATE = 4,   /* fresh zeroed state, incarnation + 1 */
    TR_DO_ESCALATE = 8,      /* tell the parent */
    TR_DO_FINISH = 16,       /* close the mailbox, free everything, tell the parent */
};

struct tr_move {
    enum tr_life next;
    unsigned actions;
    unsigned defined; /* 0: the event cannot happen in this state; that it did is a bug of ours */
};

struct tr_move tr_lifecycle_move(enum tr_life from, enum tr_event event);
const char *tr_life_name(enum tr_life life);
const char *tr_event_name(enum tr_event event);

#endif
