/* SPDX-License-Identifier: Apache-2.0 */
/* A parent has its children stop: in order, within their time, or by force. */
#include "io/loop.h"
#include "runtime/family_state.h"
#include "runtime/order.h"
#include "runtime/policy.h"
#include "runtime/timer.h"

/* Children that are told in one activation of their parent; then they have their turn, while what they touch is in the
 * cache and before the worker's run queue overflows. */
#define TELL_AT_ONCE 128u

static uint64_t shutdown_ns(const struct tr_cell *child)
{
    return tr_policy_shutdown_ns(child->policy, child->behavior);
}

/* Makes sure that the alarm rings no later than after_ns from when children were told last. */
static void alarm_after(troupe_ctx *ctx, struct tr_family *family, uint64_t after_ns)
{
    uint64_t due_ns = family->told_ns + after_ns;
    if (due_ns < after_ns)
        return; /* beyond the clock's end */
    if (family->alarm && family->alarm_due_ns <= due_ns)
        return;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record) {
        tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "shutdown",
                    "%s#%u has no memory for the time-out of its children's stop: it waits without limit",
                    ctx->cell->behavior->name, ctx->cell->index);
        return;
    }
    if (family->alarm)
        tr_alarm_cancel(ctx, family->alarm); /* if it has fired, tr_family_alarm sees that it is not the current one */
    family->alarm = &record->alarm;
    family->alarm_due_ns = due_ns;
    tr_alarm_arm(ctx, family->alarm, TR_SIGNAL_SHUTDOWN, due_ns);
}

/* Tells one child to come down (REGROUP) or to stop (STOP). Returns the time it is given. */
uint64_t tr_family_tell(troupe_ctx *ctx, struct tr_cell *child, uint64_t how)
{
    uint64_t time_ns = shutdown_ns(child);
    child->seat = TR_SEAT_TOLD;
    child->killed_late = false; /* its time runs anew */
    if (how == TR_CONTROL_REGROUP && child->policy->restart == TROUPE_RESTART_TEMPORARY)
        how = TR_CONTROL_STOP;
    if (time_ns == TROUPE_SHUTDOWN_KILL)
        how = how == TR_CONTROL_STOP ? TR_CONTROL_KILL : TR_CONTROL_REGROUP | TR_CONTROL_FORCE;
    tr_order(ctx, child, how);
    return time_ns;
}

void tr_family_time_out(troupe_ctx *ctx, struct tr_family *family, uint64_t shortest_ns)
{
    family->told_ns = tr_loop_clock();
    if (shortest_ns < TROUPE_SHUTDOWN_KILL)
        alarm_after(ctx, family, shortest_ns);
}

/* The child's lines are touched soon, by this worker. */
static void prefetch(const struct tr_family *family, struct tr_list *link)
{
    if (link == &family->children)
        return;
    __builtin_prefetch(&tr_family_cell(link)->control, 1);
    __builtin_prefetch(tr_family_cell(link), 0);
}

unsigned tr_family_tell_members(troupe_ctx *ctx, struct tr_family *family)
{
    unsigned told = 0;
    uint64_t shortest = TROUPE_FOREVER;
    for (struct tr_list *link = family->children.prev; link != &family->children; link = link->prev) {
        struct tr_cell *child = tr_family_cell(link);
        prefetch(family, link->prev);
        if (!tr_family_is_dynamic(child))
            break;
        if (!child->in_group || child->seat != TR_SEAT_UP)
            continue;
        told++;
        uint64_t time_ns = tr_family_tell(ctx, child, TR_CONTROL_REGROUP);
        shortest = time_ns < shortest ? time_ns : shortest;
    }
    if (shortest != TROUPE_FOREVER)
        tr_family_time_out(ctx, family, shortest);
    return told;
}

/* The next step of an ordered stop: the last declared child, once no dynamic one is left. */
void tr_family_stop_next(troupe_ctx *ctx, struct tr_family *family)
{
    if (ctx->cell->children_count == 0 || family->dynamic > 0 || family->tell_how == TR_CONTROL_KILL)
        return;
    struct tr_cell *last = tr_family_cell(family->children.prev);
    if (!last->told_to_end) {
        last->told_to_end = true;
        tr_family_time_out(ctx, family, tr_family_tell(ctx, last, TR_CONTROL_STOP));
    }
}

static void begin_telling(troupe_ctx *ctx, uint64_t how)
{
    struct tr_family *family = ctx->cell->family;
    family->ending = true;
    family->group = TR_GROUP_NONE;
    family->tell_how = how;
    family->tell_next = family->children.prev;
    family->tell_shortest_ns = TROUPE_FOREVER;
    family->told_ns = tr_loop_clock(); /* an alarm that a group left must not take them for late before all are told */
}

void tr_family_stop(troupe_ctx *ctx)
{
    if (ctx->cell->family && !ctx->cell->family->ending)
        begin_telling(ctx, TR_CONTROL_STOP);
}

void tr_family_kill(troupe_ctx *ctx)
{
    if (ctx->cell->family)
        begin_telling(ctx, TR_CONTROL_KILL);
}

/* One child; declared ones are told to stop in their turn, by tr_family_stop_next. False: no more of them. */
static bool tell_one(troupe_ctx *ctx, struct tr_family *family)
{
    struct tr_list *link = family->tell_next;
    if (link == &family->children)
        return false;
    struct tr_cell *child = tr_family_cell(link);
    family->tell_next = link->prev;
    prefetch(family, link->prev);
    if (family->tell_how == TR_CONTROL_KILL) {
        child->told_to_end = true;
        tr_order(ctx, child, TR_CONTROL_KILL);
        return true;
    }
    if (!tr_family_is_dynamic(child))
        return false;
    uint64_t time_ns = tr_family_tell(ctx, child, TR_CONTROL_STOP);
    family->tell_shortest_ns = time_ns < family->tell_shortest_ns ? time_ns : family->tell_shortest_ns;
    return true;
}

bool tr_family_tell_some(troupe_ctx *ctx)
{
    struct tr_family *family = ctx->cell->family;
    if (!family->tell_next)
        return false;
    for (unsigned i = 0; i < TELL_AT_ONCE; i++)
        if (!tell_one(ctx, family)) {
            family->tell_next = NULL;
            if (family->tell_shortest_ns != TROUPE_FOREVER)
                tr_family_time_out(ctx, family, family->tell_shortest_ns);
            tr_family_stop_next(ctx, family);
            return false;
        }
    return true;
}

/* It may be told to come down with its group, and the parent stop before it is down: its time to stop begins later
 * then. */
static bool has_been_told(const struct tr_family *family, const struct tr_cell *child)
{
    if (family->ending && !tr_family_is_dynamic(child))
        return child->told_to_end;
    return child->seat == TR_SEAT_TOLD;
}

/* Kills those whose time is up; the alarm is set for the first of the others. */
static void kill_late(troupe_ctx *ctx, struct tr_family *family)
{
    uint64_t now = tr_loop_clock(), next_ns = TROUPE_FOREVER;
    for (struct tr_list *link = family->children.next; link != &family->children; link = link->next) {
        struct tr_cell *child = tr_family_cell(link);
        uint64_t time_ns = shutdown_ns(child);
        if (!has_been_told(family, child) || child->killed_late || time_ns >= TROUPE_SHUTDOWN_KILL)
            continue;
        if (now - family->told_ns < time_ns) {
            next_ns = time_ns < next_ns ? time_ns : next_ns;
            continue;
        }
        child->killed_late = true;
        tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "shutdown", "%s#%u did not stop in %.3g s and is killed",
                    child->behavior->name, child->index, (double)time_ns / 1e9);
        bool ends = family->ending || child->policy->restart == TROUPE_RESTART_TEMPORARY;
        tr_order(ctx, child, ends ? TR_CONTROL_KILL : TR_CONTROL_FORCE);
    }
    if (next_ns != TROUPE_FOREVER)
        alarm_after(ctx, family, next_ns);
}

void tr_family_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_family *family = ctx->cell->family;
    bool current = family && family->alarm == alarm;
    tr_alarm_free(ctx, alarm);
    if (!current)
        return;
    family->alarm = NULL;
    kill_late(ctx, family);
}
