/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lifecycle.h"

#include "sched/base/assert.h"

#define MOVE(to, what)                                                                                                 \
    {                                                                                                                  \
        TR_LIFE_##to, (what), 1                                                                                        \
    }

/* docs/ARCHITECTURE.md shows this table; a test holds the two together. Empty cells cannot happen. */
static const struct tr_move moves[TR_LIFE_COUNT][TR_EVENT_COUNT] = {
    [TR_LIFE_STARTING] =
        {
            [TR_EVENT_STARTED] = MOVE(RUNNING, 0),
            [TR_EVENT_CRASHED] = MOVE(RESTARTING, TR_DO_STOP_CHILDREN),
            [TR_EVENT_STOP] = MOVE(STOPPING, TR_DO_STOP_CHILDREN),
        },
    [TR_LIFE_RUNNING] =
        {
            [TR_EVENT_CRASHED] = MOVE(RESTARTING, TR_DO_STOP_CHILDREN),
            [TR_EVENT_STOP] = MOVE(STOPPING, TR_DO_STOP_CHILDREN),
        },
    [TR_LIFE_RESTARTING] =
        {
            [TR_EVENT_CRASHED] = MOVE(RESTARTING, 0), /* `crashed` panicked: logged, and the restart goes on */
            [TR_EVENT_STOP] = MOVE(STOPPING, 0),
            [TR_EVENT_RESTART_ALLOWED] = MOVE(STARTING, TR_DO_REINCARNATE),
            [TR_EVENT_WINDOW_EXCEEDED] = MOVE(ESCALATING, TR_DO_ESCALATE),
            [TR_EVENT_RESTART_REFUSED] = MOVE(STOPPED, TR_DO_FINISH),
        },
    [TR_LIFE_ESCALATING] =
        {
            [TR_EVENT_STOP] = MOVE(STOPPING, 0),
            [TR_EVENT_VERDICT_RESTART] = MOVE(STARTING, TR_DO_FORGET_WINDOW | TR_DO_REINCARNATE),
        },
    [TR_LIFE_STOPPING] =
        {
            [TR_EVENT_CRASHED] = MOVE(STOPPING, 0), /* `stopped` panicked: reported, and the stop goes on */
            [TR_EVENT_STOP] = MOVE(STOPPING, 0),
            [TR_EVENT_QUIET] = MOVE(STOPPED, TR_DO_FINISH),
        },
    [TR_LIFE_STOPPED] = {{TR_LIFE_STOPPED, 0, 0}},
};

struct tr_move tr_lifecycle_move(enum tr_life from, enum tr_event event)
{
    TR_ASSERT(from < TR_LIFE_COUNT && event < TR_EVENT_COUNT);
    return moves[from][event];
}

const char *tr_life_name(enum tr_life life)
{
    switch (life) {
    case TR_LIFE_STARTING:
        return "starting";
    case TR_LIFE_RUNNING:
        return "running";
    case TR_LIFE_RESTARTING:
        return "restarting";
    case TR_LIFE_ESCALATING:
        return "escalating";
    case TR_LIFE_STOPPING:
        return "stopping";
    case TR_LIFE_STOPPED:
        return "stopped";
    case TR_LIFE_COUNT:
        break;
    }
    return "?";
}

const char *tr_event_name(enum tr_event event)
{
    switch (event) {
    case TR_EVENT_STARTED:
        return "started";
    case TR_EVENT_CRASHED:
        return "crashed";
    case TR_EVENT_STOP:
        return "stop";
    case TR_EVENT_QUIET:
        return "quiet";
    case TR_EVENT_RESTART_ALLOWED:
        return "restart_allowed";
    case TR_EVENT_WINDOW_EXCEEDED:
        return "window_exceeded";
    case TR_EVENT_RESTART_REFUSED:
        return "restart_refused";
    case TR_EVENT_VERDICT_RESTART:
        return "verdict_restart";
    case TR_EVENT_COUNT:
        break;
    }
    return "?";
}
