/* SPDX-License-Identifier: Apache-2.0 */
/* The supervision state machine: states, the events that move it, what each move does. Pure: a table and a function.
 * runtime/supervise.c asks it and carries the actions out; tests walk it completely.
 * It is not the policy: whether, when and with whom an actor restarts is asked of runtime/policy.h and arrives here as
 * an event. */
#ifndef TR_RUNTIME_LIFECYCLE_H
#define TR_RUNTIME_LIFECYCLE_H

#include "sched/base/assert.h"

enum tr_life {
    TR_LIFE_STARTING,   /* the next activation builds the incarnation: restarted, started */
    TR_LIFE_RUNNING,    /* handles messages, unless they are held */
    TR_LIFE_RESTARTING, /* the incarnation ends, another may follow: children stop, resources go, the policy decides */
    TR_LIFE_RESTING,    /* quiet: backs off before the next incarnation */
    TR_LIFE_WAITING,    /* quiet: its parent says when the next incarnation begins */
    TR_LIFE_ESCALATING, /* quiet: crashed once too often, waits for the parent's verdict */
    TR_LIFE_STOPPING,   /* ends in order: children stop, `stopped`, resources go */
    TR_LIFE_KILLING,    /* ends without its consent: children are killed, resources go */
    TR_LIFE_STOPPED,    /* over: the mailbox is closed and buried, the parent is told */
    TR_LIFE_COUNT
};

enum tr_event {
    TR_EVENT_STARTED,     /* `started` returned 0 */
    TR_EVENT_CRASHED,     /* a panic in a handler or callback, or `started` failed */
    TR_EVENT_RENEW,       /* it shall restart without a crash: its group does, or it is permanent and ended in order */
    TR_EVENT_STOP,        /* somebody told it to stop, or it stopped itself */
    TR_EVENT_KILL,        /* somebody killed it, or its shutdown time was up */
    TR_EVENT_QUIET,       /* stopping or killing: children and resources are gone */
    TR_EVENT_RESTART_NOW, /* quiet: the policy has no objection, or the parent gave the word */
    TR_EVENT_RESTART_LATER,   /* the same, after a back-off */
    TR_EVENT_RESTART_ASKED,   /* quiet: the parent has a word in it (group strategy, window of its own) */
    TR_EVENT_RESTART_REFUSED, /* quiet: its restart policy is temporary */
    TR_EVENT_WINDOW_EXCEEDED, /* quiet: one crash too many */
    TR_EVENT_RESTED,          /* the back-off is over */
    TR_EVENT_VERDICT_RESTART, /* the parent wants it restarted with a fresh window */
    TR_EVENT_VERDICT_WAIT,    /* the same, but its group has to come down first */
    TR_EVENT_COUNT
};

/* What a move does, in the order of the bits. */
enum {
    TR_DO_CANCEL = 1,         /* the incarnation's stop token */
    TR_DO_STOP_CHILDREN = 2,  /* dynamic ones at once, then declared ones in reverse order */
    TR_DO_KILL_CHILDREN = 4,  /* all of them at once */
    TR_DO_DROP_OUTPUT = 8,    /* what closing streams still wanted to send */
    TR_DO_WAKE = 16,          /* forget the back-off's alarm */
    TR_DO_FORGET_WINDOW = 32, /* the restart window and the back-off start afresh */
    TR_DO_REST = 64,          /* set the back-off's alarm */
    TR_DO_REINCARNATE = 128,  /* fresh zeroed state, incarnation + 1 */
    TR_DO_ASK_PARENT = 256,   /* tell the parent that it waits for its word */
    TR_DO_ESCALATE = 512,     /* tell the parent that it waits for its verdict */
    TR_DO_FINISH = 1024,      /* close the mailbox, free everything, tell the parent: step by step, see burial.h */
    TR_DO_END = 2048,         /* the first bit that is none */
};

/* Every state has an answer to every event. */
enum tr_answer {
    TR_ANSWER_IMPOSSIBLE = 0, /* the event cannot happen in this state; that it did is a bug of ours */
    TR_ANSWER_IGNORE,         /* it can, and changes nothing */
    TR_ANSWER_MOVE
};

struct tr_move {
    enum tr_answer answer;
    enum tr_life next; /* the state itself, unless it moves */
    unsigned actions;
};

/* The table; tr_lifecycle_move reads it. */
extern const struct tr_move tr_lifecycle_moves[TR_LIFE_COUNT][TR_EVENT_COUNT];

/* Total over both enumerations. */
static inline struct tr_move tr_lifecycle_move(enum tr_life from, enum tr_event event)
{
    TR_ASSERT(from < TR_LIFE_COUNT && event < TR_EVENT_COUNT);
    struct tr_move move = tr_lifecycle_moves[from][event];
    if (move.answer != TR_ANSWER_MOVE)
        move.next = from;
    return move;
}

const char *tr_life_name(enum tr_life life);
const char *tr_event_name(enum tr_event event);
/* Of one bit: "stop children". */
const char *tr_action_name(unsigned action);

#endif
