/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervise.h"

#include <errno.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/ask.h"
#include "runtime/burial.h"
#include "runtime/context.h"
#include "runtime/delay.h"
#include "runtime/family.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/offload.h"
#include "runtime/order.h"
#include "runtime/owner.h"
#include "runtime/policy.h"
#include "runtime/port.h"
#include "runtime/recovery.h"
#include "runtime/redeliver.h"
#include "runtime/room.h"
#include "runtime/root.h"
#include "runtime/scope.h"
#include "runtime/timer.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"

#define NOINLINE __attribute__((noinline))

static enum tr_life life_of(const struct tr_cell *cell)
{
    return (enum tr_life)cell->life;
}

static const char *name_of(const struct tr_cell *cell)
{
    return cell->behavior->name;
}

/* --- what moves do --- */

static void reincarnate(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->unborn) {
        cell->unborn = cell->regroup = false;
        return; /* its first incarnation */
    }
    tr_watch_restarted(ctx, cell->crashed ? TROUPE_REASON_CRASHED : (troupe_reason)cell->reason, cell->incarnation_nr);
    tr_family_reset(ctx);
    cell->incarnation_nr++;
    cell->announces_restart = true;
    cell->crashed = cell->forced = cell->closed = cell->regroup = false;
    cell->held &= TR_HELD_SUSPENDED;
    if (cell->recovery)
        cell->recovery->started_ns = cell->recovery->delay_ns = 0;
    tr_count(&ctx->stats.restarts, 1);
}

/* The back-off; without memory for its alarm the actor restarts at once. */
static void rest(troupe_ctx *ctx)
{
    struct tr_recovery *recovery = ctx->cell->recovery;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record) {
        tr_order(ctx, ctx->cell, TR_CONTROL_RESTED);
        return;
    }
    recovery->rest = &record->alarm;
    tr_alarm_arm(ctx, recovery->rest, TR_SIGNAL_REST, tr_loop_clock() + recovery->delay_ns);
}

/* Forgets the alarm; if it has rung, rest_alarm finds that it is not the current one. */
static void wake(troupe_ctx *ctx)
{
    struct tr_recovery *recovery = ctx->cell->recovery;
    if (recovery->rest)
        tr_alarm_cancel(ctx, recovery->rest);
    recovery->rest = NULL;
}

static void forget_window(struct tr_cell *cell)
{
    if (!cell->recovery)
        return;
    tr_window_forget(&cell->recovery->window);
    cell->recovery->backoffs = 0;
    cell->recovery->delay_ns = 0;
}

static void ask_parent(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    tr_family_tell_parent(ctx, cell, cell->regroup ? TR_NEWS_DOWN : TR_NEWS_DOWN | TR_NEWS_ASKS);
}

static void escalate(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    tr_count(&ctx->stats.escalations, 1);
    if (cell->parent) {
        tr_family_tell_parent(ctx, cell, TR_NEWS_ESCALATED);
        return;
    }
    tr_root_escalated(ctx, tr_recovery_crash(cell));
    tr_order(ctx, cell, TR_CONTROL_STOP);
}

static NOINLINE void act(troupe_ctx *ctx, unsigned actions)
{
    if (actions & TR_DO_CANCEL) {
        tr_token_stopping(ctx);
        tr_offload_stopping(ctx);
    }
    if (actions & TR_DO_STOP_CHILDREN)
        tr_family_stop(ctx);
    if (actions & TR_DO_KILL_CHILDREN)
        tr_family_kill(ctx);
    if (actions & TR_DO_DROP_OUTPUT)
        tr_incarnation_drop_output(ctx);
    if (actions & TR_DO_WAKE)
        wake(ctx);
    if (actions & TR_DO_FORGET_WINDOW)
        forget_window(ctx->cell);
    if (actions & TR_DO_REST)
        rest(ctx);
    if (actions & TR_DO_REINCARNATE)
        reincarnate(ctx);
    if (actions & TR_DO_ASK_PARENT)
        ask_parent(ctx);
    if (actions & TR_DO_ESCALATE)
        escalate(ctx);
}

/* Of those that concern what the actor does not have nothing is to be done. */
static inline unsigned actions_left(const struct tr_cell *cell, unsigned actions)
{
    actions &= ~(unsigned)TR_DO_FINISH; /* step by step: see tr_supervise_step */
    if (!cell->incarnation)
        actions &= ~(unsigned)(TR_DO_CANCEL | TR_DO_DROP_OUTPUT);
    if (!cell->family)
        actions &= ~(unsigned)(TR_DO_STOP_CHILDREN | TR_DO_KILL_CHILDREN);
    return actions;
}

/* The one place where an actor's state changes; spawn.c gives it the first. */
static inline void move(troupe_ctx *ctx, enum tr_event event)
{
    struct tr_cell *cell = ctx->cell;
    struct tr_move m = tr_lifecycle_move(life_of(cell), event);
    TR_ASSERT(m.answer != TR_ANSWER_IMPOSSIBLE);
    ck_pr_store_8(&cell->life, (uint8_t)m.next);
    unsigned actions = actions_left(cell, m.actions);
    if (TR_UNLIKELY(actions != 0))
        act(ctx, actions);
}

/* --- ends --- */

static bool is_quiet(enum tr_life life)
{
    return life == TR_LIFE_RESTING || life == TR_LIFE_WAITING || life == TR_LIFE_ESCALATING;
}

/* The incarnation comes down in order, and another one follows. */
static void renew(troupe_ctx *ctx, troupe_cause cause, troupe_reason reason, const char *why)
{
    struct tr_cell *cell = ctx->cell;
    enum tr_life life = life_of(cell);
    if (life == TR_LIFE_RUNNING || life == TR_LIFE_STARTING) {
        tr_recovery_record_renewal(ctx, cause, why);
        cell->calls_stopped = life == TR_LIFE_RUNNING;
        cell->reason = (uint8_t)reason;
    }
    move(ctx, TR_EVENT_RENEW);
}

/* A permanent actor outlives everybody's orders but its parent's, now or before. */
static bool comes_back(const struct tr_cell *cell, bool final)
{
    return !final && !cell->final && cell->policy->restart == TROUPE_RESTART_PERMANENT;
}

static void stop(troupe_ctx *ctx, troupe_reason reason, bool final)
{
    struct tr_cell *cell = ctx->cell;
    enum tr_life life = life_of(cell);
    if (comes_back(cell, final)) {
        if (life == TR_LIFE_RUNNING || life == TR_LIFE_STARTING)
            renew(ctx, TROUPE_CAUSE_ENDED, reason, "it ended in order, and is permanent");
        return;
    }
    if (life == TR_LIFE_STOPPING || life == TR_LIFE_KILLING)
        return;
    if (cell->crashed && life == TR_LIFE_RESTARTING)
        tr_log_crash(&ctx->rt->log, tr_recovery_crash(cell), "stop", "it is told to stop before it could restart");
    cell->final = final;
    cell->calls_stopped = life == TR_LIFE_RUNNING || (cell->calls_stopped && life == TR_LIFE_RESTARTING);
    cell->reason = (uint8_t)(life == TR_LIFE_ESCALATING ? TROUPE_REASON_ESCALATED : reason);
    move(ctx, TR_EVENT_STOP);
}

/* Nothing more is called, output is dropped, children die. */
static void force(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->forced = true;
    tr_delay_mute(cell->incarnation);
    cell->calls_stopped = cell->calls_crashed = false;
}

static void kill(troupe_ctx *ctx, bool final)
{
    struct tr_cell *cell = ctx->cell;
    enum tr_life life = life_of(cell);
    bool back = comes_back(cell, final);
    if (life == TR_LIFE_KILLING || (back && (is_quiet(life) || cell->forced)))
        return; /* it is dead already, and perhaps on its way back */
    tr_count(&ctx->stats.kills, 1);
    if (!is_quiet(life))
        tr_watch_killed(ctx);
    if (back) {
        renew(ctx, TROUPE_CAUSE_ENDED, TROUPE_REASON_KILLED, "it was killed, and is permanent");
        force(ctx);
        tr_family_kill(ctx);
        tr_incarnation_drop_output(ctx);
        return;
    }
    force(ctx);
    cell->final = cell->final || final;
    cell->reason = (uint8_t)(life == TR_LIFE_ESCALATING ? TROUPE_REASON_ESCALATED : TROUPE_REASON_KILLED);
    move(ctx, TR_EVENT_KILL);
}

void tr_supervise_stop_self(troupe_ctx *ctx)
{
    if (ctx->cell->life == TR_LIFE_RUNNING)
        stop(ctx, TROUPE_REASON_NORMAL, false);
    else
        tr_order(ctx, ctx->cell, TR_CONTROL_STOP_SELF); /* from `started`: it stops once it has started */
}

/* --- crashes --- */

void tr_supervise_crash(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    enum tr_life life = life_of(cell);
    if (ctx->cleaning) {
        tr_actor_clean_failed(ctx); /* no crash: what was interrupted goes on behind it */
        return;
    }
    tr_count(&ctx->stats.crashes, 1);
    bool lives = life == TR_LIFE_RUNNING || life == TR_LIFE_STARTING;
    if (lives)
        tr_recovery_record(ctx);
    else
        tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "late_crash",
                    "%s#%u crashed in %s while it ends, which goes on: %s", name_of(cell), cell->index,
                    tr_ctx_handler(ctx), ctx->panic.text);
    tr_port_event_done(ctx);
    tr_actor_drop_composed(ctx);
    tr_owner_rewind_scratch(ctx);
    ctx->under.ref = NULL;
    ctx->behalf_set = false;
    ctx->given = false;
    tr_redeliver_after_crash(ctx);
    ctx->named = NULL;
    if (lives) {
        cell->crashed = true;
        tr_delay_mute(cell->incarnation);
        cell->calls_stopped = false; /* that is for orderly ends */
        cell->calls_crashed = life == TR_LIFE_RUNNING;
        tr_watch_crashed(ctx);
    }
    move(ctx, TR_EVENT_CRASHED);
}

static void log_decision(troupe_ctx *ctx, enum tr_event event)
{
    const struct tr_cell *cell = ctx->cell;
    const struct tr_recovery *recovery = cell->recovery;
    struct tr_log *log = &ctx->rt->log;
    const troupe_crash *crash = tr_recovery_crash(cell);
    unsigned restarts = tr_policy_restarts(cell->policy);
    double window_s = (double)tr_policy_window_ns(cell->policy) / 1e9;
    if (!cell->crashed)
        return;
    if (event == TR_EVENT_RESTART_REFUSED)
        tr_log_crash(log, crash, "end", "it ends, its restart policy is temporary");
    else if (event == TR_EVENT_WINDOW_EXCEEDED)
        tr_log_crash(log, crash, "escalate", "it escalates, more than %u restarts in %.3g s", restarts, window_s);
    else if (event == TR_EVENT_RESTART_LATER)
        tr_log_crash(log, crash, "restart", "restart %u of %u in %.3g s, %u in all, after a rest of %.3g ms",
                     crash->restarts + 1, restarts, window_s, cell->incarnation_nr, (double)recovery->delay_ns / 1e6);
    else
        tr_log_crash(log, crash, "restart", "restart %u of %u in %.3g s, %u in all%s", crash->restarts + 1, restarts,
                     window_s, cell->incarnation_nr, event == TR_EVENT_RESTART_ASKED ? ", by its parent's word" : "");
}

/* All of the incarnation is gone: what now? */
static void decide(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    bool refused = cell->crashed && cell->policy->restart == TROUPE_RESTART_TEMPORARY;
    bool own_doing = cell->crashed || !cell->regroup;
    struct tr_question question = {
        .restart = cell->policy->restart,
        .crashed = cell->crashed,
        .regroup = cell->regroup,
        .window_allows = !own_doing || refused || tr_recovery_allows(ctx),
        .parent_is_asked = cell->parent && tr_policy_parent_is_asked(&cell->parent->behavior->children),
    };
    if (own_doing && !refused && question.window_allows)
        question.delay_ns = tr_recovery_backoff(ctx);
    enum tr_event event = tr_policy_decide(&question);
    log_decision(ctx, event);
    if (event == TR_EVENT_RESTART_REFUSED)
        cell->reason = TROUPE_REASON_CRASHED;
    move(ctx, event);
}

/* The parent's word for an actor that is WAITING: after the back-off that it still owes. */
static void start_again(troupe_ctx *ctx)
{
    const struct tr_recovery *recovery = ctx->cell->recovery;
    if (ctx->cell->life != TR_LIFE_WAITING)
        return;
    ctx->cell->announces_up = true;
    move(ctx, recovery && recovery->delay_ns ? TR_EVENT_RESTART_LATER : TR_EVENT_RESTART_NOW);
}

/* The time of a troupe_stop_within is up. A permanent actor that has another incarnation by now did end in time. */
static void kill_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_cell *cell = ctx->cell;
    bool hits = troupe_addr_same(TR_CONTAINER_OF(alarm, struct tr_timer_record, alarm)->to, tr_cell_addr(cell));
    tr_alarm_free(ctx, alarm);
    if (hits && (!comes_back(cell, false) || cell->life == TR_LIFE_RESTARTING))
        kill(ctx, false); /* the stop that came before it has said whether it is final */
}

static void rest_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_recovery *recovery = ctx->cell->recovery;
    bool current = recovery && recovery->rest == alarm;
    tr_alarm_free(ctx, alarm);
    if (!current)
        return;
    recovery->rest = NULL;
    move(ctx, TR_EVENT_RESTED);
}

/* --- control --- */

/* Tells the parent that waits for it that the actor has started, once it is staffed and does not hold its mailbox. */
static void announce_up(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->announces_up || cell->held & (TR_HELD_STAFFING | TR_HELD_BY_ITSELF | TR_HELD_ASKING))
        return;
    cell->announces_up = false;
    tr_family_tell_parent(ctx, cell, TR_NEWS_UP);
}

void tr_supervise_unhold(troupe_ctx *ctx, unsigned why)
{
    ctx->cell->held &= (uint8_t)~why;
    if (ctx->cell->life == TR_LIFE_RUNNING)
        announce_up(ctx);
}

static void grant(troupe_ctx *ctx, unsigned wishes)
{
    struct tr_cell *cell = ctx->cell;
    if (wishes & TR_WISH_STOP)
        stop(ctx, TROUPE_REASON_NORMAL, false);
    if (wishes & TR_WISH_SHUTDOWN)
        stop(ctx, TROUPE_REASON_SHUTDOWN, false);
    if (!(wishes & TR_WISH_STAFFED) || cell->life != TR_LIFE_RUNNING)
        return;
    cell->held &= (uint8_t)~TR_HELD_STAFFING;
    announce_up(ctx);
}

static void dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    unsigned wishes;
    switch (signal->kind) {
    case TR_SIGNAL_CHILD:
        wishes = tr_family_news(ctx, signal);
        if (wishes)
            grant(ctx, wishes);
        return;
    case TR_SIGNAL_ALARM:
        tr_ask_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_TIMER:
        tr_timer_dispatch(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_RETRY:
        tr_port_retry(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_DRAIN:
        tr_incarnation_drain_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_REST:
        rest_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_SHUTDOWN:
        tr_family_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_KILL:
        kill_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_WATCH_ADD:
    case TR_SIGNAL_WATCH_CANCEL:
    case TR_SIGNAL_LINK:
        tr_watch_dispatch(ctx, signal);
        return;
    case TR_SIGNAL_CANCEL:
        tr_token_dispatch(ctx, signal);
        return;
    case TR_SIGNAL_JOB_TIME:
        tr_offload_alarm(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
        return;
    case TR_SIGNAL_JOB:
        tr_offload_dispatch(ctx, signal);
        return;
    case TR_SIGNAL_OP:
        tr_port_dispatch(ctx, signal);
        return;
    case TR_SIGNAL_ROOM_WANTED:
        tr_room_wanted(ctx, signal);
        return;
    case TR_SIGNAL_ROOM:
        tr_room_dispatch(ctx, signal);
        return;
    }
}

/* In the order in which the parent gives them: WAIT before START, and START before REGROUP: a REGROUP that came before
 * a START was taken back with it (tr_family_start_again). */
static void obey_group(troupe_ctx *ctx, uint64_t bits)
{
    struct tr_cell *cell = ctx->cell;
    if (bits & TR_CONTROL_WAIT)
        move(ctx, TR_EVENT_VERDICT_WAIT);
    if (bits & TR_CONTROL_RESTART)
        move(ctx, TR_EVENT_VERDICT_RESTART);
    if (bits & TR_CONTROL_START)
        start_again(ctx);
    if (bits & TR_CONTROL_REGROUP) {
        cell->regroup = cell->life != TR_LIFE_ESCALATING;
        renew(ctx, TROUPE_CAUSE_SIBLING, TROUPE_REASON_STOPPED,
              "a sibling crashed, and its parent's strategy restarts both");
    }
    if (bits & TR_CONTROL_FORCE && cell->life == TR_LIFE_RESTARTING) {
        force(ctx);
        tr_family_kill(ctx);
        tr_incarnation_drop_output(ctx);
    }
    if (bits & TR_CONTROL_RESTED && cell->life == TR_LIFE_RESTING)
        move(ctx, TR_EVENT_RESTED);
}

/* Ends come first: what else was ordered does not matter then. A kill overtakes a stop, and is final if either is. */
static void obey(troupe_ctx *ctx, uint64_t bits)
{
    struct tr_cell *cell = ctx->cell;
    if (bits & TR_CONTROL_SUSPEND)
        cell->held |= TR_HELD_SUSPENDED;
    if (bits & TR_CONTROL_RESUME)
        cell->held &= (uint8_t)~TR_HELD_SUSPENDED;
    if (bits & (TR_CONTROL_KILL | TR_CONTROL_KILL_ASKED))
        kill(ctx, bits & (TR_CONTROL_KILL | TR_CONTROL_STOP));
    else if (bits & TR_CONTROL_STOP)
        stop(ctx, TROUPE_REASON_STOPPED, true);
    else if (bits & TR_CONTROL_STOP_SELF)
        stop(ctx, TROUPE_REASON_NORMAL, false);
    else if (bits & TR_CONTROL_STOP_ASKED)
        stop(ctx, TROUPE_REASON_STOPPED, false);
    obey_group(ctx, bits);
}

bool tr_supervise_control(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (TR_UNLIKELY(cell->life == TR_LIFE_STOPPED))
        return false; /* its lane is closed */
    if (tr_mailbox_has_control(cell)) {
        uint64_t bits = tr_mailbox_take_bits(cell);
        if (bits)
            obey(ctx, bits);
        if (!cell->signals)
            cell->signals = tr_mailbox_take_signals(cell);
    }
    struct tr_signal *signal = cell->signals;
    if (!signal)
        return false;
    cell->signals = signal->next; /* before the dispatch: a panic in it must not lose the rest */
    dispatch(ctx, signal);
    return true;
}

/* --- steps --- */

static void call_restarted(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->announces_restart = false;
    if (!cell->behavior->restarted)
        return;
    tr_actor_enter(ctx, "restarted");
    cell->behavior->restarted(ctx, cell->state, tr_recovery_crash(cell), cell->incarnation_nr - 1);
    tr_actor_leave(ctx);
}

static void call_started(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    const troupe_behavior *behavior = cell->behavior;
    if (!behavior->started)
        return;
    tr_actor_enter(ctx, "started");
    int status = behavior->started(ctx, cell->state, behavior->args_size ? cell->args : NULL);
    if (status < 0)
        tr_actor_panic(ctx, TROUPE_CAUSE_START, status, "started returned %d (%s)", status, troupe_strerror(status));
    tr_actor_leave(ctx);
}

static void start(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!tr_incarnation_state(ctx)) {
        tr_actor_enter(ctx, "started");
        tr_actor_panic(ctx, TROUPE_CAUSE_START, -ENOMEM, "out of memory for %zu bytes of state",
                       cell->behavior->state_size);
    }
    if (cell->announces_restart)
        call_restarted(ctx);
    call_started(ctx);
    if (cell->recovery)
        cell->recovery->started_ns = tr_loop_clock();
    move(ctx, TR_EVENT_STARTED);
    if (cell->behavior->children.declared)
        cell->held |= TR_HELD_STAFFING;
    uint64_t bits = tr_mailbox_take_bits(cell); /* given meanwhile, perhaps by itself: no child is started in vain */
    if (bits)
        obey(ctx, bits);
    if (cell->life == TR_LIFE_RUNNING)
        grant(ctx, tr_family_staff(ctx));
}

static void call_crashed(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->calls_crashed = false;
    if (!cell->behavior->crashed)
        return;
    tr_actor_enter(ctx, "crashed");
    cell->behavior->crashed(ctx, cell->state, tr_recovery_crash(cell));
    tr_actor_leave(ctx);
}

static void call_stopped(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->calls_stopped = false;
    if (!cell->behavior->stopped)
        return;
    tr_actor_enter(ctx, "stopped");
    cell->behavior->stopped(ctx, cell->state, (troupe_reason)cell->reason);
    tr_actor_leave(ctx);
}

static enum tr_step bury(troupe_ctx *ctx)
{
    return tr_burial_step(ctx) ? TR_STEP_ENDED : TR_STEP_ON;
}

/* Children, then `stopped`, then ports and their last operations, then `crashed`, then the rest of what the incarnation
 * owned. Each step is taken off the books before it is made, so that a panic in it goes on behind it. */
static enum tr_step settle(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!tr_family_is_empty(cell))
        return tr_family_tell_some(ctx) ? TR_STEP_YIELD : TR_STEP_WAIT;
    if (cell->calls_stopped)
        call_stopped(ctx);
    if (!cell->closed) {
        cell->closed = true;
        if (cell->incarnation) {
            tr_port_flush_dirty(ctx);
            tr_incarnation_close(ctx, cell->crashed || cell->forced);
        }
    }
    if (cell->ports > 0)
        return TR_STEP_WAIT;
    if (cell->calls_crashed)
        call_crashed(ctx);
    bool restarts = cell->life == TR_LIFE_RESTARTING;
    if (cell->incarnation || restarts) /* else there is a state only, which nobody will see again */
        tr_incarnation_release(ctx, cell->crashed || restarts ? -ECONNRESET : -ESRCH);
    if (restarts) {
        decide(ctx);
        return TR_STEP_ON;
    }
    move(ctx, TR_EVENT_QUIET);
    return bury(ctx);
}

enum tr_step tr_supervise_step(troupe_ctx *ctx)
{
    switch (life_of(ctx->cell)) {
    case TR_LIFE_STARTING:
        start(ctx);
        return TR_STEP_ON;
    case TR_LIFE_RUNNING:
        return TR_STEP_ON;
    case TR_LIFE_RESTARTING:
    case TR_LIFE_STOPPING:
    case TR_LIFE_KILLING:
        return settle(ctx);
    case TR_LIFE_RESTING:
    case TR_LIFE_WAITING:
    case TR_LIFE_ESCALATING:
        return TR_STEP_WAIT;
    case TR_LIFE_STOPPED:
        return bury(ctx);
    case TR_LIFE_COUNT:
        break;
    }
    TR_ASSERT(!"no such state");
    return TR_STEP_ENDED;
}
