/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lifecycle.h"

#define MOVE(to, what)                                                                                                 \
    {                                                                                                                  \
        TR_ANSWER_MOVE, TR_LIFE_##to, (what)                                                                           \
    }
#define IGNORE                                                                                                         \
    {                                                                                                                  \
        TR_ANSWER_IGNORE, TR_LIFE_COUNT, 0                                                                             \
    }

/* An incarnation ends: in order, or by force. */
#define BY_ORDER (TR_DO_CANCEL | TR_DO_STOP_CHILDREN)
#define BY_FORCE (TR_DO_CANCEL | TR_DO_KILL_CHILDREN)

/* docs/ARCHITECTURE.md shows this table; a test holds the two together. What is not written down is impossible. */
const struct tr_move tr_lifecycle_moves[TR_LIFE_COUNT][TR_EVENT_COUNT] =
    {
        [TR_LIFE_STARTING] =
            {
                [TR_EVENT_STARTED] = MOVE(RUNNING, 0),
                [TR_EVENT_CRASHED] = MOVE(RESTARTING, BY_ORDER),
                [TR_EVENT_RENEW] = MOVE(RESTARTING, BY_ORDER),
                [TR_EVENT_STOP] = MOVE(STOPPING, BY_ORDER),
                [TR_EVENT_KILL] = MOVE(KILLING, BY_FORCE),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_RUNNING] =
            {
                [TR_EVENT_CRASHED] = MOVE(RESTARTING, BY_ORDER),
                [TR_EVENT_RENEW] = MOVE(RESTARTING, BY_ORDER),
                [TR_EVENT_STOP] = MOVE(STOPPING, BY_ORDER),
                [TR_EVENT_KILL] = MOVE(KILLING, BY_FORCE),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_RESTARTING] =
            {
                [TR_EVENT_CRASHED] = IGNORE, /* `stopped` or `crashed` panicked: logged, and the restart goes on */
                [TR_EVENT_RENEW] = IGNORE,
                [TR_EVENT_STOP] = MOVE(STOPPING, 0),
                [TR_EVENT_KILL] = MOVE(KILLING, TR_DO_KILL_CHILDREN | TR_DO_DROP_OUTPUT),
                [TR_EVENT_RESTART_NOW] = MOVE(STARTING, TR_DO_REINCARNATE),
                [TR_EVENT_RESTART_LATER] = MOVE(RESTING, TR_DO_REST),
                [TR_EVENT_RESTART_ASKED] = MOVE(WAITING, TR_DO_ASK_PARENT),
                [TR_EVENT_RESTART_REFUSED] = MOVE(STOPPED, TR_DO_FINISH),
                [TR_EVENT_WINDOW_EXCEEDED] = MOVE(ESCALATING, TR_DO_ESCALATE),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_RESTING] =
            {
                [TR_EVENT_RENEW] = MOVE(WAITING, TR_DO_WAKE | TR_DO_ASK_PARENT),
                [TR_EVENT_STOP] = MOVE(STOPPING, TR_DO_WAKE),
                [TR_EVENT_KILL] = MOVE(KILLING, TR_DO_WAKE),
                [TR_EVENT_RESTED] = MOVE(STARTING, TR_DO_WAKE | TR_DO_REINCARNATE),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_WAITING] =
            {
                [TR_EVENT_RENEW] = IGNORE, /* it is down already, and the parent has been told */
                [TR_EVENT_STOP] = MOVE(STOPPING, 0),
                [TR_EVENT_KILL] = MOVE(KILLING, 0),
                [TR_EVENT_RESTART_NOW] = MOVE(STARTING, TR_DO_REINCARNATE),
                [TR_EVENT_RESTART_LATER] = MOVE(RESTING, TR_DO_REST),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_ESCALATING] =
            {
                [TR_EVENT_RENEW] = IGNORE, /* it is down already; the verdict says what becomes of it */
                [TR_EVENT_STOP] = MOVE(STOPPING, 0),
                [TR_EVENT_KILL] = MOVE(KILLING, 0),
                [TR_EVENT_VERDICT_RESTART] = MOVE(STARTING, TR_DO_FORGET_WINDOW | TR_DO_REINCARNATE),
                [TR_EVENT_VERDICT_WAIT] = MOVE(WAITING, TR_DO_FORGET_WINDOW),
            },
        [TR_LIFE_STOPPING] =
            {
                [TR_EVENT_CRASHED] = IGNORE, /* `stopped` panicked: logged, and the stop goes on */
                [TR_EVENT_RENEW] = IGNORE,
                [TR_EVENT_STOP] = IGNORE,
                [TR_EVENT_KILL] = MOVE(KILLING, TR_DO_KILL_CHILDREN | TR_DO_DROP_OUTPUT),
                [TR_EVENT_QUIET] = MOVE(STOPPED, TR_DO_FINISH),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_KILLING] =
            {
                [TR_EVENT_RENEW] = IGNORE,
                [TR_EVENT_STOP] = IGNORE,
                [TR_EVENT_KILL] = IGNORE,
                [TR_EVENT_QUIET] = MOVE(STOPPED, TR_DO_FINISH),
                [TR_EVENT_VERDICT_RESTART] = IGNORE,
                [TR_EVENT_VERDICT_WAIT] = IGNORE,
            },
        [TR_LIFE_STOPPED] = {{TR_ANSWER_IMPOSSIBLE, TR_LIFE_STOPPED, 0}}, /* deaf: its control lane is closed */
};

static const char *const life_names[TR_LIFE_COUNT] = {
    [TR_LIFE_STARTING] = "starting", [TR_LIFE_RUNNING] = "running", [TR_LIFE_RESTARTING] = "restarting",
    [TR_LIFE_RESTING] = "resting",   [TR_LIFE_WAITING] = "waiting", [TR_LIFE_ESCALATING] = "escalating",
    [TR_LIFE_STOPPING] = "stopping", [TR_LIFE_KILLING] = "killing", [TR_LIFE_STOPPED] = "stopped",
};

static const char *const event_names[TR_EVENT_COUNT] = {
    [TR_EVENT_STARTED] = "started",
    [TR_EVENT_CRASHED] = "crashed",
    [TR_EVENT_RENEW] = "renew",
    [TR_EVENT_STOP] = "stop",
    [TR_EVENT_KILL] = "kill",
    [TR_EVENT_QUIET] = "quiet",
    [TR_EVENT_RESTART_NOW] = "restart_now",
    [TR_EVENT_RESTART_LATER] = "restart_later",
    [TR_EVENT_RESTART_ASKED] = "restart_asked",
    [TR_EVENT_RESTART_REFUSED] = "restart_refused",
    [TR_EVENT_WINDOW_EXCEEDED] = "window_exceeded",
    [TR_EVENT_RESTED] = "rested",
    [TR_EVENT_VERDICT_RESTART] = "verdict_restart",
    [TR_EVENT_VERDICT_WAIT] = "verdict_wait",
};

const char *tr_life_name(enum tr_life life)
{
    return life < TR_LIFE_COUNT ? life_names[life] : "?";
}

const char *tr_event_name(enum tr_event event)
{
    return event < TR_EVENT_COUNT ? event_names[event] : "?";
}

const char *tr_action_name(unsigned action)
{
    switch (action) {
    case TR_DO_CANCEL:
        return "cancel";
    case TR_DO_STOP_CHILDREN:
        return "stop children";
    case TR_DO_KILL_CHILDREN:
        return "kill children";
    case TR_DO_DROP_OUTPUT:
        return "drop output";
    case TR_DO_WAKE:
        return "wake";
    case TR_DO_FORGET_WINDOW:
        return "forget window";
    case TR_DO_REST:
        return "rest";
    case TR_DO_REINCARNATE:
        return "reincarnate";
    case TR_DO_ASK_PARENT:
        return "ask the parent";
    case TR_DO_ESCALATE:
        return "escalate";
    case TR_DO_FINISH:
        return "finish";
    default:
        return "?";
    }
}
