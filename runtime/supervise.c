/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervise.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/ask.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/port.h"
#include "runtime/root.h"
#include "runtime/send.h"
#include "runtime/timer.h"
#include "sched/base/assert.h"

/* --- the record of a crash --- */

/* A crash as kept in the cell: the public record and the memory of its text. */
struct tr_crash {
    troupe_crash public;
    char text[TR_PANIC_TEXT];
};

/* The crash as it was recorded, or what stands for it when there was no memory for the record. */
static const troupe_crash *last_crash(const struct tr_cell *cell)
{
    static const troupe_crash lost = {
        .behavior = "(an actor)", .text = "(out of memory for the crash record)", .file = "", .handler = "?"};
    return cell->crash ? &cell->crash->public : &lost;
}

/* Fills the crash record; the last one is replaced. Out of memory loses the text, not the crash. */
static void record_crash(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->crash)
        cell->crash = malloc(sizeof *cell->crash);
    struct tr_crash *crash = cell->crash;
    if (!crash)
        return;
    memcpy(crash->text, ctx->panic.text, sizeof crash->text);
    crash->public = (troupe_crash){
        .actor = tr_cell_addr(cell),
        .behavior = cell->behavior->name,
        .text = crash->text,
        .file = ctx->panic.file ? ctx->panic.file : "",
        .line = ctx->panic.line,
        .status = ctx->panic.status,
        .handler = ctx->handler ? ctx->handler : "",
        .incarnation = cell->incarnation_nr,
        .restarts = tr_window_count(&cell->window, cell->restarts_max, cell->window_ns, tr_loop_clock()),
    };
}

static void log_crash(troupe_ctx *ctx, const char *consequence)
{
    const struct tr_cell *cell = ctx->cell;
    const troupe_crash *crash = last_crash(cell);
    char where[128] = "";
    if (crash->file[0])
        snprintf(where, sizeof where, " at %s:%u", crash->file, crash->line);
    tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "%s#%u crashed in %s: %s%s: %s", cell->behavior->name, cell->index,
                crash->handler, crash->text, where, consequence);
}

/* --- what moves do --- */

/* The running actor's or a child's of it. The child may be ending: its slot is not reused before its parent gives it back, so
 * bits that hit the next generation are gone when that begins. */
static void control(troupe_ctx *ctx, struct tr_cell *cell, uint64_t bits)
{
    if (tr_mailbox_control(cell, ck_pr_load_32(&cell->generation), bits) == TR_PUSH_WAKE)
        tr_ctx_wake(ctx->rt, cell);
}

static void stop_children(troupe_ctx *ctx)
{
    struct tr_list *children = &ctx->cell->children;
    for (struct tr_list *link = children->next; link != children; link = link->next)
        control(ctx, TR_CONTAINER_OF(link, struct tr_cell, siblings), TR_CONTROL_STOP);
}

static void reincarnate(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->incarnation_nr++;
    cell->restarts_total++;
    cell->announces_restart = true;
    cell->held = cell->crashed = cell->closed = false;
    tr_stat_add(&ctx->stats.restarts, 1);
}

static void escalate(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    tr_stat_add(&ctx->stats.escalations, 1);
    if (!cell->parent) {
        tr_root_escalated(ctx, last_crash(cell));
        control(ctx, cell, TR_CONTROL_STOP);
        return;
    }
    cell->escalation_signal.kind = TR_SIGNAL_CHILD_ESCALATED;
    if (tr_mailbox_signal(cell->parent, &cell->escalation_signal) == TR_PUSH_WAKE)
        tr_ctx_wake(ctx->rt, cell->parent);
}

/* A message that its receiver's end found in the mailbox. */
static void bury(troupe_ctx *ctx, struct tr_cell *cell, troupe_msg *msg, bool stale)
{
    bool reply = msg->flags & TR_MSG_REPLY;
    tr_dead_letter(ctx->rt, ctx, tr_cell_addressed(cell, msg), msg,
                   reply   ? TROUPE_DEAD_LATE_REPLY
                   : stale ? TROUPE_DEAD_NO_ACTOR
                           : TROUPE_DEAD_STOPPED);
    const troupe_handler *handler = msg->kind < TROUPE_KINDS_MAX ? &cell->behavior->handlers[msg->kind] : NULL;
    if (!stale && !reply && handler && handler->drop &&
        (handler->size == msg->size || handler->size == TROUPE_ANY_SIZE))
        handler->drop(msg->payload, msg->size);
    if (msg->flags & TR_MSG_ASK)
        msg->outcome = -ESRCH;
    tr_msg_let_go(ctx->rt, ctx, msg);
}

static void bury_mailbox(troupe_ctx *ctx, struct tr_cell *cell)
{
    uint32_t generation = cell->generation;
    troupe_msg *old_mark, *next;
    struct tr_signal *signals;
    troupe_msg *msg = tr_mailbox_close(cell, &old_mark, &signals);
    if (old_mark)
        tr_msg_let_go(ctx->rt, ctx, old_mark);
    for (; msg; msg = next) {
        next = msg->next;
        bury(ctx, cell, msg, msg->generation != generation);
    }
    for (struct tr_signal *signal = signals, *after; signal; signal = after) {
        after = signal->next;
        TR_ASSERT(signal->kind == TR_SIGNAL_ALARM || signal->kind == TR_SIGNAL_TIMER ||
                  signal->kind == TR_SIGNAL_RETRY || signal->kind == TR_SIGNAL_DRAIN);
        tr_alarm_free(ctx, TR_CONTAINER_OF(signal, struct tr_alarm, signal));
    }
}

/* Frees the slot of an actor that has ended, and the crash record, which the parent could read until now. */
static void put_cell(troupe_ctx *ctx, struct tr_cell *cell)
{
    free(cell->crash);
    cell->crash = NULL;
    tr_cell_put(&ctx->rt->cells, &ctx->slots, cell);
}

/* The actor's end. The exit signal goes last: with it the cell is the parent's. */
static void finish(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    TR_ASSERT(cell->children_count == 0 && cell->ports == 0 && !cell->incarnation && !cell->state && !cell->signals);
    bury_mailbox(ctx, cell);
    free(cell->args);
    tr_window_fini(&cell->window);
    if (cell->gift_fd >= 0)
        close(cell->gift_fd);
    cell->args = NULL;
    tr_stat_add(&ctx->stats.stops, 1);
    ctx->cell = NULL;
    if (!cell->parent) {
        put_cell(ctx, cell);
        tr_root_ended(ctx);
        return;
    }
    cell->exit_signal.kind = TR_SIGNAL_CHILD_EXITED;
    if (tr_mailbox_signal(cell->parent, &cell->exit_signal) == TR_PUSH_WAKE)
        tr_ctx_wake(ctx->rt, cell->parent);
}

/* The one place where an actor's state changes; spawn.c gives it the first. */
static void move(troupe_ctx *ctx, enum tr_event event)
{
    struct tr_cell *cell = ctx->cell;
    struct tr_move m = tr_lifecycle_move(cell->life, event);
    TR_ASSERT(m.defined);
    cell->life = m.next;
    if (m.actions & TR_DO_STOP_CHILDREN)
        stop_children(ctx);
    if (m.actions & TR_DO_FORGET_WINDOW)
        tr_window_forget(&cell->window);
    if (m.actions & TR_DO_REINCARNATE)
        reincarnate(ctx);
    if (m.actions & TR_DO_ESCALATE)
        escalate(ctx);
    if (m.actions & TR_DO_FINISH)
        finish(ctx);
}

static void stop(troupe_ctx *ctx, troupe_reason reason)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->life == TR_LIFE_STOPPING)
        return;
    if (cell->life == TR_LIFE_RESTARTING)
        log_crash(ctx, "it is told to stop before it could restart");
    cell->calls_stopped = cell->life == TR_LIFE_RUNNING;
    cell->reason = (uint8_t)(cell->life == TR_LIFE_ESCALATING ? TROUPE_REASON_ESCALATED : reason);
    move(ctx, TR_EVENT_STOP);
}

/* --- crashes --- */

void tr_supervise_crash(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    tr_stat_add(&ctx->stats.crashes, 1);
    record_crash(ctx);
    ctx->panic.status = 0;
    tr_port_event_done(ctx);
    tr_actor_drop_composed(ctx);
    if (ctx->msg && !(ctx->msg->flags & TR_MSG_KEPT)) {
        tr_dead_letter(ctx->rt, ctx, tr_cell_addr(cell), ctx->msg, TROUPE_DEAD_CRASHED);
        tr_msg_finish(ctx, ctx->msg, -ECONNRESET);
    }
    ctx->msg = NULL;
    ctx->handler = NULL;
    cell->crashed = true;
    cell->calls_stopped = false; /* that is for orderly ends */
    if (cell->life == TR_LIFE_RUNNING)
        cell->calls_crashed = true;
    else if (cell->life != TR_LIFE_STARTING)
        log_crash(ctx, "what it was doing goes on without this");
    move(ctx, TR_EVENT_CRASHED);
}

/* All of the incarnation is gone: may it come back? */
static void decide(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    char text[96];
    if (cell->restart == TROUPE_RESTART_TEMPORARY) {
        log_crash(ctx, "it ends, its restart policy is temporary");
        cell->reason = TROUPE_REASON_CRASHED;
        move(ctx, TR_EVENT_RESTART_REFUSED);
    } else if (tr_window_allow(&cell->window, cell->restarts_max, cell->window_ns, tr_loop_clock())) {
        snprintf(text, sizeof text, "restart %u of %u in %.3g s, %u in all",
                 tr_window_count(&cell->window, cell->restarts_max, cell->window_ns, tr_loop_clock()),
                 cell->restarts_max, (double)cell->window_ns / 1e9, cell->restarts_total + 1);
        log_crash(ctx, text);
        move(ctx, TR_EVENT_RESTART_ALLOWED);
    } else {
        snprintf(text, sizeof text, "escalates, more than %u restarts in %.3g s", cell->restarts_max,
                 (double)cell->window_ns / 1e9);
        log_crash(ctx, text);
        move(ctx, TR_EVENT_WINDOW_EXCEEDED);
    }
}

/* --- children --- */

static void child_exited(troupe_ctx *ctx, struct tr_cell *child)
{
    struct tr_cell *cell = ctx->cell;
    troupe_addr addr = {(uint64_t)(child->generation - 1) << 32 | child->index}; /* closing moved it on */
    troupe_reason reason = (troupe_reason)child->reason;
    tr_list_remove(&child->siblings);
    cell->children_count--;
    put_cell(ctx, child);
    if (cell->life != TR_LIFE_RUNNING || !cell->behavior->child_stopped)
        return;
    tr_actor_enter(ctx, "child_stopped");
    cell->behavior->child_stopped(ctx, cell->state, addr, reason);
    tr_actor_leave(ctx);
}

/* Panics for the parent: its child's crash became its own. */
static TROUPE_NORETURN void crash_with_child(troupe_ctx *ctx, const troupe_crash *crash)
{
    tr_actor_enter(ctx, "child_escalated");
    troupe_panic_at(ctx, crash->file, crash->line, "child %s crashed too often: %s", crash->behavior, crash->text);
}

static void child_escalated(troupe_ctx *ctx, struct tr_cell *child)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->life != TR_LIFE_RUNNING)
        return; /* it has been told to stop, with all the others */
    const troupe_crash *crash =
        last_crash(child); /* stays as it is until the verdict, even if somebody stops the child */
    troupe_verdict verdict = TROUPE_VERDICT_RESTART_SELF;
    if (cell->behavior->child_escalated) {
        tr_actor_enter(ctx, "child_escalated");
        verdict = cell->behavior->child_escalated(ctx, cell->state, crash);
        tr_actor_leave(ctx);
    }
    switch (verdict) {
    case TROUPE_VERDICT_STOP_SELF:
        stop(ctx, TROUPE_REASON_NORMAL);
        return;
    case TROUPE_VERDICT_RESTART_CHILD:
        control(ctx, child, TR_CONTROL_RESTART);
        return;
    case TROUPE_VERDICT_STOP_CHILD:
        control(ctx, child, TR_CONTROL_STOP);
        return;
    case TROUPE_VERDICT_RESTART_SELF:
        break;
    }
    crash_with_child(ctx, crash);
}

/* --- control --- */

static void dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    switch (signal->kind) {
    case TR_SIGNAL_CHILD_EXITED:
        child_exited(ctx, TR_CONTAINER_OF(signal, struct tr_cell, exit_signal));
        return;
    case TR_SIGNAL_CHILD_ESCALATED:
        child_escalated(ctx, TR_CONTAINER_OF(signal, struct tr_cell, escalation_signal));
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
    case TR_SIGNAL_OP:
        tr_port_dispatch(ctx, signal);
        return;
    }
}

static void obey(troupe_ctx *ctx, uint64_t bits)
{
    if (bits & TR_CONTROL_STOP_SELF)
        stop(ctx, TROUPE_REASON_NORMAL);
    else if (bits & TR_CONTROL_STOP)
        stop(ctx, TROUPE_REASON_STOPPED);
    else if (bits & TR_CONTROL_RESTART && ctx->cell->life == TR_LIFE_ESCALATING)
        move(ctx, TR_EVENT_VERDICT_RESTART);
}

bool tr_supervise_control(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (tr_mailbox_has_control(cell)) {
        obey(ctx, tr_mailbox_take_bits(cell));
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

static void start(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    const troupe_behavior *behavior = cell->behavior;
    if (!cell->state && behavior->state_size && !(cell->state = calloc(1, behavior->state_size))) {
        tr_actor_enter(ctx, "started");
        troupe_panic_at(ctx, "", 0, "out of memory for %zu bytes of state", behavior->state_size);
    }
    if (cell->announces_restart) {
        cell->announces_restart = false;
        if (behavior->restarted) {
            tr_actor_enter(ctx, "restarted");
            behavior->restarted(ctx, cell->state, last_crash(cell), cell->restarts_total);
            tr_actor_leave(ctx);
        }
    }
    if (behavior->started) {
        tr_actor_enter(ctx, "started");
        int status = behavior->started(ctx, cell->state, cell->args);
        if (status < 0) {
            ctx->panic.status = status;
            troupe_panic_at(ctx, "", 0, "started returned %d (%s)", status, troupe_strerror(status));
        }
        tr_actor_leave(ctx);
    }
    move(ctx, TR_EVENT_STARTED);
}

static void call_crashed(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    cell->calls_crashed = false;
    if (!cell->behavior->crashed)
        return;
    tr_actor_enter(ctx, "crashed");
    cell->behavior->crashed(ctx, cell->state, last_crash(cell));
    tr_actor_leave(ctx);
}

/* Children, then `stopped`, then ports and their last operations, then `crashed`, then the rest of what the incarnation
 * owned. */
static enum tr_step settle(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->children_count > 0)
        return TR_STEP_WAIT;
    if (cell->calls_stopped) {
        cell->calls_stopped = false;
        if (cell->behavior->stopped) {
            tr_actor_enter(ctx, "stopped");
            cell->behavior->stopped(ctx, cell->state, (troupe_reason)cell->reason);
            tr_actor_leave(ctx);
        }
    }
    if (!cell->closed) {
        cell->closed = true;
        tr_port_flush_dirty(ctx);
        tr_incarnation_close(ctx, cell->crashed);
    }
    if (cell->ports > 0)
        return TR_STEP_WAIT;
    if (cell->calls_crashed)
        call_crashed(ctx);
    tr_incarnation_release(ctx, cell->crashed ? -ECONNRESET : -ESRCH);
    if (cell->life == TR_LIFE_STOPPING)
        move(ctx, TR_EVENT_QUIET);
    else
        decide(ctx);
    return ctx->cell ? TR_STEP_ON : TR_STEP_ENDED;
}

enum tr_step tr_supervise_step(troupe_ctx *ctx)
{
    switch (ctx->cell->life) {
    case TR_LIFE_STARTING:
        start(ctx);
        return TR_STEP_ON;
    case TR_LIFE_RUNNING:
        return TR_STEP_ON;
    case TR_LIFE_RESTARTING:
    case TR_LIFE_STOPPING:
        return settle(ctx);
    case TR_LIFE_ESCALATING:
        return TR_STEP_WAIT;
    case TR_LIFE_STOPPED:
    case TR_LIFE_COUNT:
        break;
    }
    TR_ASSERT(!"a stopped actor has no steps");
    return TR_STEP_ENDED;
}

/* --- the verbs of actor.h --- */

int troupe_stop(troupe_ctx *ctx, troupe_addr actor)
{
    struct tr_cell *cell = tr_cell_find(&ctx->rt->cells, actor);
    if (!cell)
        return -ESRCH;
    switch (tr_mailbox_control(cell, tr_addr_generation(actor), TR_CONTROL_STOP)) {
    case TR_PUSH_WAKE:
        tr_ctx_wake(ctx->rt, cell);
        return 0;
    case TR_PUSH_QUEUED:
        return 0;
    case TR_PUSH_CLOSED:
        break;
    }
    return -ESRCH;
}

void troupe_stop_self(troupe_ctx *ctx)
{
    if (ctx->cell->life == TR_LIFE_RUNNING)
        stop(ctx, TROUPE_REASON_NORMAL);
    else
        control(ctx, ctx->cell, TR_CONTROL_STOP_SELF); /* from `started`: it stops once it has started */
}
