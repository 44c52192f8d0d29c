/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/policy.h"

#define DEFAULT_RESTARTS 3
#define DEFAULT_WINDOW TROUPE_SEC(5)
#define DEFAULT_SHUTDOWN TROUPE_SEC(5)
#define DEFAULT_BACKOFF_MAX TROUPE_SEC(30)
#define DEFAULT_BACKOFF_FACTOR 2.0

unsigned tr_policy_restarts(const troupe_supervision *s)
{
    return s->restarts == 0 ? DEFAULT_RESTARTS : s->restarts == TROUPE_RESTARTS_NONE ? 0 : s->restarts;
}

uint64_t tr_policy_window_ns(const troupe_supervision *s)
{
    return s->window_ns ? s->window_ns : DEFAULT_WINDOW;
}

uint64_t tr_policy_shutdown_ns(const troupe_supervision *s, const troupe_behavior *behavior)
{
    if (s->shutdown_ns)
        return s->shutdown_ns;
    return behavior->children.declared ? TROUPE_FOREVER : DEFAULT_SHUTDOWN;
}

uint64_t tr_policy_children_window_ns(const troupe_children *c)
{
    return c->window_ns ? c->window_ns : DEFAULT_WINDOW;
}

const char *tr_policy_fault(const troupe_supervision *s)
{
    if (s->restarts > TROUPE_RESTARTS_MAX && s->restarts != TROUPE_RESTARTS_NONE)
        return "supervision.restarts is above TROUPE_RESTARTS_MAX";
    if ((unsigned)s->restart > TROUPE_RESTART_TEMPORARY)
        return "supervision.restart is no restart policy";
    if (s->significant && s->restart == TROUPE_RESTART_PERMANENT)
        return "a permanent child never ends for good, so it cannot be significant";
    return NULL;
}

const char *tr_policy_children_fault(const troupe_children *c)
{
    if ((unsigned)c->strategy > TROUPE_REST_FOR_ONE)
        return "children.strategy is no strategy";
    if ((unsigned)c->auto_shutdown > TROUPE_SHUTDOWN_ALL)
        return "children.auto_shutdown is none";
    if (c->restarts > TROUPE_RESTARTS_MAX)
        return "children.restarts is above TROUPE_RESTARTS_MAX";
    return NULL;
}

enum tr_event tr_policy_decide(const struct tr_question *q)
{
    if (q->crashed && q->restart == TROUPE_RESTART_TEMPORARY)
        return TR_EVENT_RESTART_REFUSED;
    if (!q->crashed && q->regroup)
        return TR_EVENT_RESTART_ASKED; /* not its own doing: its window is not touched */
    if (!q->window_allows)
        return TR_EVENT_WINDOW_EXCEEDED;
    if (q->regroup || q->parent_is_asked)
        return TR_EVENT_RESTART_ASKED;
    return q->delay_ns ? TR_EVENT_RESTART_LATER : TR_EVENT_RESTART_NOW;
}

static uint64_t backoff_max(const troupe_backoff *b)
{
    return b->max_ns ? b->max_ns : DEFAULT_BACKOFF_MAX;
}

uint64_t tr_backoff_healthy_ns(const troupe_backoff *b)
{
    return b->healthy_ns ? b->healthy_ns : backoff_max(b);
}

uint64_t tr_backoff_delay(const troupe_backoff *b, unsigned n, uint64_t random)
{
    if (b->initial_ns == 0)
        return 0;
    double factor = b->factor == 0 ? DEFAULT_BACKOFF_FACTOR : b->factor < 1 ? 1 : b->factor;
    double max = (double)backoff_max(b), delay = (double)b->initial_ns;
    for (; n > 0 && delay < max && factor > 1; n >>= 1, factor *= factor)
        delay *= n & 1 ? factor : 1;
    if (!(delay < max))
        delay = max;
    if (!b->no_jitter)
        delay *= (double)(random >> 11) * 0x1p-53;
    return delay < 0x1p63 ? (uint64_t)delay : UINT64_C(1) << 63;
}
