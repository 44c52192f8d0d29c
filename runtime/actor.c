/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/actor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/ask.h"
#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/delay.h"
#include "runtime/expiry.h"
#include "runtime/hold.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/owner.h"
#include "runtime/port.h"
#include "runtime/send.h"
#include "runtime/supervise.h"
#include "runtime/sweep.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"
#include "sched/schedule.h"

#define NOINLINE __attribute__((noinline))
#define EVENT_PAYLOAD_MAX 128 /* bytes of an I/O event's payload */

void tr_actor_enter(troupe_ctx *ctx, const char *callback)
{
    ctx->callback = callback;
    ctx->named = &ctx->callback;
}

void tr_actor_drop_composed(troupe_ctx *ctx)
{
    while (ctx->composed)
        troupe_discard(ctx, ctx->composed);
}

/* What a callback left behind. True: it was a handler that has given its message away (take.h). */
static NOINLINE bool tidy(troupe_ctx *ctx)
{
    bool given = ctx->given;
    ctx->untidy = ctx->given = false;
    ctx->under.ref = NULL;
    ctx->behalf_set = false;
    tr_actor_drop_composed(ctx);
    if (ctx->scratch_used)
        tr_owner_rewind_scratch(ctx);
    return given;
}

/* As tidy. */
static inline bool leave_callback(troupe_ctx *ctx)
{
    ctx->named = NULL;
    return TR_UNLIKELY(ctx->untidy) && tidy(ctx);
}

void tr_actor_leave(troupe_ctx *ctx)
{
    leave_callback(ctx);
}

void tr_actor_clean_enter(troupe_ctx *ctx, const char *what)
{
    ctx->cleaning = what;
}

void tr_actor_clean_leave(troupe_ctx *ctx)
{
    ctx->cleaning = NULL;
    tr_actor_leave(ctx);
}

void tr_actor_clean_failed(troupe_ctx *ctx)
{
    const struct tr_cell *cell = ctx->cell;
    tr_count(&ctx->stats.cleanup_panics, 1);
    tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "cleanup", "%s#%u panicked while it released %s: %s at %s:%u: skipped",
                cell->behavior->name, cell->index, ctx->cleaning, ctx->panic.text, ctx->panic.file, ctx->panic.line);
    tr_actor_clean_leave(ctx);
}

/* Writes down what a panic says. Returns the worker's context: deferred calls may hold that of a worker on which their
 * actor ran earlier. */
static troupe_ctx *panicking(const char *file, unsigned line, const char *format, va_list args)
{
    struct tr_worker *worker = tr_worker_self();
    troupe_ctx *ctx = worker ? tr_worker_user(worker) : NULL;
    if (!ctx || !tr_ctx_guarded(ctx)) {
        char text[TROUPE_CRASH_TEXT];
        vsnprintf(text, sizeof text, format, args);
        fprintf(stderr, "troupe: panic outside of an actor's callback: %s at %s:%u\n", text, file, line);
        abort();
    }
    vsnprintf(ctx->panic.text, sizeof ctx->panic.text, format, args);
    ctx->panic.file = file;
    ctx->panic.line = line;
    return ctx;
}

/* Panics leave for the boundary in tr_actor_turn. */
static TROUPE_NORETURN void leave(troupe_ctx *ctx, const void *from, troupe_cause cause, int status)
{
    ctx->panic.cause = cause;
    ctx->panic.status = status;
    ctx->panic.frames_count = tr_backtrace_allowed(&ctx->backtraces, ctx->rt->options.backtraces, ctx->now_ns)
                                  ? tr_backtrace(from, ctx->panic.frames, TROUPE_CRASH_FRAMES)
                                  : 0;
    TR_JUMP(ctx->jump);
}

void troupe_panic_at(troupe_ctx *ctx, const char *file, unsigned line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ctx = panicking(file, line, format, args);
    va_end(args);
    leave(ctx, __builtin_return_address(0), TROUPE_CAUSE_PANIC, 0);
}

void tr_actor_panic(troupe_ctx *ctx, troupe_cause cause, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ctx = panicking("", 0, format, args);
    va_end(args);
    leave(ctx, __builtin_return_address(0), cause, status);
}

/* The handler for a message of this kind and size, or NULL. */
static inline const troupe_handler *handler_for(const troupe_behavior *behavior, unsigned kind, size_t size)
{
    if (TR_UNLIKELY(kind >= TROUPE_KINDS_MAX))
        return NULL;
    const troupe_handler *handler = &behavior->handlers[kind];
    bool fits = TR_LIKELY(handler->size == size) || handler->size == TROUPE_ANY_SIZE;
    return TR_LIKELY(fits && handler->fn) ? handler : NULL;
}

/* Why handler_for found none. */
static troupe_dead_reason misfit(const troupe_behavior *behavior, unsigned kind)
{
    return kind < TROUPE_KINDS_MAX && behavior->handlers[kind].fn ? TROUPE_DEAD_BAD_SIZE : TROUPE_DEAD_UNHANDLED;
}

static void dead(troupe_ctx *ctx, troupe_msg *msg, troupe_dead_reason reason, int status)
{
    tr_dead_letter(ctx->rt, ctx, tr_cell_addressed(ctx->cell, msg), msg, reason);
    tr_msg_finish(ctx, msg, status);
}

static void handle_reply(troupe_ctx *ctx, troupe_msg *msg)
{
    ctx->msg = msg;
    bool in_time = tr_ask_answer(ctx, msg);
    ctx->msg = NULL;
    if (in_time)
        tr_msg_finish(ctx, msg, 0);
    else
        dead(ctx, msg, TROUPE_DEAD_LATE_REPLY, 0);
}

static NOINLINE void unhandled(troupe_ctx *ctx, troupe_msg *msg)
{
    const struct tr_cell *cell = ctx->cell;
    troupe_dead_reason reason = misfit(cell->behavior, msg->kind);
    tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "unhandled", "%s#%u was sent kind %u with %u bytes, %s",
                cell->behavior->name, cell->index, msg->kind, msg->size,
                reason == TROUPE_DEAD_UNHANDLED ? "and has no handler for it" : "and its handler wants another size");
    dead(ctx, msg, reason, -EOPNOTSUPP);
}

/* What is not simply for a handler. False: it is for a handler after all. */
static NOINLINE bool handle_special(troupe_ctx *ctx, troupe_msg *msg)
{
    if (msg->generation != ctx->cell->generation)
        dead(ctx, msg, msg->flags & TR_MSG_REPLY ? TROUPE_DEAD_LATE_REPLY : TROUPE_DEAD_NO_ACTOR, -ESRCH);
    else if (msg->flags & TR_MSG_REPLY)
        handle_reply(ctx, msg);
    else if (msg->flags & TR_MSG_NEWS && !tr_watch_news(ctx, msg))
        tr_msg_finish(ctx, msg, 0);
    else if (msg->flags & TR_MSG_EXPIRES && tr_expiry_is_over(ctx, msg))
        tr_expiry_bury(ctx, msg);
    else
        return false;
    return true;
}

static inline void call(troupe_ctx *ctx, struct tr_cell *cell, const troupe_handler *handler, troupe_msg *msg)
{
    ctx->msg = msg;
    ctx->named = &handler->name;
    handler->fn(ctx, cell->state, msg);
    ctx->msg = NULL;
    ctx->named = NULL;
    tr_count(&ctx->stats.messages_handled, 1);
}

static void handle(troupe_ctx *ctx, troupe_msg *msg)
{
    struct tr_cell *cell = ctx->cell;
    bool plain = msg->generation == cell->generation && !(msg->flags & TR_MSG_SPECIAL);
    if (TR_UNLIKELY(!plain) && handle_special(ctx, msg))
        return;
    const troupe_handler *handler = handler_for(cell->behavior, msg->kind, msg->size);
    if (TR_UNLIKELY(!handler)) {
        unhandled(ctx, msg);
        return;
    }
    call(ctx, cell, handler, msg);
    if (leave_callback(ctx))
        return;
    if (TR_LIKELY(!(msg->flags & TR_MSG_KEPT)))
        tr_msg_finish(ctx, msg, -ENODATA);
}

/* The handler for a usual message to a calm actor; NULL: it is not that, see handle. */
static inline const troupe_handler *usual_handler(troupe_ctx *ctx, const struct tr_cell *cell, const troupe_msg *msg)
{
    uint32_t kind = tr_msg_usual_kind(msg);
    if (TR_UNLIKELY(kind >= TROUPE_KINDS_MAX || msg->generation != cell->generation)) {
        if (!tr_expiry_is_all(ctx, msg))
            return NULL;
        kind = msg->kind;
    }
    const troupe_handler *handler = &cell->behavior->handlers[kind];
    TR_OPAQUE(handler); /* the compiler would work out its address for each member anew */
    bool fits = TR_LIKELY(handler->size == msg->size) || handler->size == TROUPE_ANY_SIZE;
    return TR_LIKELY(fits && handler->fn) ? handler : NULL;
}

/* After call: it left nothing behind, and msg can be put away as it is. */
static inline bool was_usual(const troupe_ctx *ctx, const troupe_msg *msg)
{
    return TR_LIKELY(!ctx->untidy && msg->flags == 0);
}

static NOINLINE void put_into_depot(troupe_ctx *ctx, troupe_msg *msg)
{
    tr_slab_free(&ctx->rt->slab, &ctx->cache, TR_CLASS_64, msg);
}

static inline void put_away(troupe_ctx *ctx, troupe_msg *msg)
{
    if (TR_LIKELY(!tr_slab_is_full(&ctx->cache, TR_CLASS_64)))
        tr_slab_push(&ctx->cache, TR_CLASS_64, msg);
    else
        put_into_depot(ctx, msg);
}

/* What the handler of a usual message left behind, and the message. */
static NOINLINE void finish(troupe_ctx *ctx, troupe_msg *msg)
{
    if (!leave_callback(ctx) && !(msg->flags & TR_MSG_KEPT))
        tr_msg_finish(ctx, msg, -ENODATA);
}

void tr_actor_event(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size)
{
    union {
        troupe_msg msg;
        unsigned char room[sizeof(troupe_msg) + EVENT_PAYLOAD_MAX];
    } event;
    TR_ASSERT(size <= sizeof event - sizeof event.msg);
    if (ctx->cell->life != TR_LIFE_RUNNING)
        return;
    event.msg = (troupe_msg){.sender = tr_cell_addr(ctx->cell),
                             .generation = ctx->cell->generation,
                             .size = (uint32_t)size,
                             .kind = tr_msg_kind(kind),
                             .class = TR_MSG_CLASS_LOCAL};
    memcpy(event.msg.payload, payload, size);
    const troupe_handler *handler = handler_for(ctx->cell->behavior, kind, size);
    if (!handler) {
        tr_dead_letter(ctx->rt, ctx, tr_cell_addr(ctx->cell), &event.msg, misfit(ctx->cell->behavior, kind));
        return;
    }
    ctx->named = &handler->name;
    handler->fn(ctx, ctx->cell->state, &event.msg);
    leave_callback(ctx);
    tr_count(&ctx->stats.messages_handled, 1);
}

/* Fetches what was pushed; false: nothing. */
static NOINLINE bool fetch(troupe_ctx *ctx)
{
    troupe_msg *old_mark;
    unsigned count = tr_mailbox_fetch(ctx->cell, &old_mark);
    if (old_mark)
        tr_msg_end(ctx, old_mark);
    if (count == 0)
        return false;
    tr_count_max(&ctx->stats.mailbox_high_water, count);
    return true;
}

/* The next message, popped, or NULL. */
static inline troupe_msg *next_message(troupe_ctx *ctx)
{
    troupe_msg *msg = tr_mailbox_pop(ctx->cell), *old_mark;
    unsigned fetched;
    if (msg || !(msg = tr_mailbox_next(ctx->cell, &old_mark, &fetched)))
        return msg;
    if (old_mark)
        tr_msg_end(ctx, old_mark);
    tr_count_max(&ctx->stats.mailbox_high_water, fetched);
    return msg;
}

/* Sends what waits in ports; false: the event of a closed stream stopped the actor meanwhile, ended its hold, or took
 * something out of its stash. */
static NOINLINE bool flush(troupe_ctx *ctx)
{
    const struct tr_cell *cell = ctx->cell;
    uint8_t life = cell->life, held = cell->held;
    tr_port_flush_dirty(ctx);
    return cell->life == life && cell->held == held && !cell->fifo_head;
}

/* True: the cell is no longer ours. */
static inline bool went_idle(troupe_ctx *ctx)
{
    if (TR_UNLIKELY(ctx->dirty != NULL) && !flush(ctx))
        return false;
    troupe_msg *old_mark;
    enum tr_idling idle = tr_mailbox_idle(ctx->cell, &old_mark);
    if (old_mark)
        tr_msg_end(ctx, old_mark);
    return idle == TR_IDLE_GONE;
}

/* The grain is used up, or more than that: is there more, and time? The time of an activation is counted from its first
 * look at the clock: most end before. */
static NOINLINE bool budget_refill(troupe_ctx *ctx)
{
    const troupe_options *options = &ctx->rt->options;
    bool first = ctx->used == 0;
    int64_t twice = 2 * ctx->granted;
    uint64_t now_ns = tr_loop_clock(), took_ns = now_ns - ctx->now_ns;
    ctx->used += ctx->granted - ctx->grain;
    ctx->now_ns = now_ns;
    if (first)
        ctx->batch_until_ns = now_ns + options->batch_ns;
    ctx->grain = ctx->granted = 0;
    if (ctx->used >= (int64_t)options->batch || now_ns >= ctx->batch_until_ns)
        return false;
    bool fast = !first && took_ns < (ctx->batch_until_ns - now_ns) / TR_CLOCK_SELDOM;
    int64_t left = options->batch - ctx->used;
    int64_t grain = !fast ? TR_CLOCK_EVERY : twice < TR_CLOCK_SELDOM ? twice : TR_CLOCK_SELDOM;
    ctx->grain = ctx->granted = left < grain ? left : grain;
    return true;
}

static inline void budget_begin(troupe_ctx *ctx)
{
    ctx->grain = ctx->granted = ctx->first_grain;
    ctx->used = 0;
}

/* Takes one unit from the budget: a message, a signal, an expired ask, a start. False: there is none, or time is up. */
static inline bool budget_take(troupe_ctx *ctx)
{
    if (TR_UNLIKELY(ctx->grain <= 0) && !budget_refill(ctx))
        return false;
    ctx->grain--;
    return true;
}

/* The cell is no longer ours afterwards. */
static NOINLINE void hand_back(troupe_ctx *ctx)
{
    tr_port_flush_dirty(ctx);
    ctx->cell->unusual |= TR_UNUSUAL_UNSETTLED;
    tr_worker_requeue(ctx->worker, &ctx->cell->runnable);
}

/* True: the budget is used up and the cell was handed back to the pool. */
static inline bool budget_spent(troupe_ctx *ctx)
{
    if (TR_LIKELY(budget_take(ctx)))
        return false;
    hand_back(ctx);
    return true;
}

static inline bool wants_messages(const struct tr_cell *cell)
{
    return TR_LIKELY(!tr_mailbox_has_control(cell) && cell->life == TR_LIFE_RUNNING && !cell->held);
}

/* Of an actor that holds its mailbox. As run_messages; but of one that waits for the answers to asks those, and the
 * ends of those asks, are heard. */
static NOINLINE bool run_held(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->held == TR_HELD_ASKING) {
        if (budget_spent(ctx))
            return true;
        if (cell->asks_due && tr_ask_expire_one(ctx))
            return false;
        if (tr_hold_next(cell)) {
            handle(ctx, tr_mailbox_pop(cell));
            return false;
        }
    }
    if (fetch(ctx))
        return budget_spent(ctx); /* a flood into a held mailbox must not hold the worker, too */
    return went_idle(ctx);
}

/* A message of an actor whose mailbox is counted; the cell is not of the usual mood, so that all come by here. */
static NOINLINE void handle_counted(troupe_ctx *ctx, troupe_msg *msg)
{
    if (TR_LIKELY(tr_bound_take(ctx, msg)))
        handle(ctx, msg);
    else
        dead(ctx, msg, TROUPE_DEAD_MAILBOX_FULL, -EAGAIN);
}

/* Handles what was fetched, as long as all is usual. What is left is for the one who called. */
static inline void handle_fetched(troupe_ctx *ctx, struct tr_cell *cell)
{
    troupe_msg *msg;
    while ((msg = cell->fifo_head) != NULL && tr_cell_calm(cell)) {
        const troupe_handler *handler = usual_handler(ctx, cell, msg);
        if (TR_UNLIKELY(!handler) || TR_UNLIKELY(ctx->grain <= 0))
            return;
        ctx->grain--;
        cell->fifo_head = msg->next;
        call(ctx, cell, handler, msg);
        if (TR_UNLIKELY(!was_usual(ctx, msg)) || TR_UNLIKELY(msg == cell->mark))
            finish(ctx, msg);
        else
            put_away(ctx, msg);
    }
}

/* Handles user messages until something else wants attention. True: the cell is no longer ours. */
static inline __attribute__((always_inline)) bool run_messages_of(troupe_ctx *ctx, bool counted)
{
    struct tr_cell *cell = ctx->cell;
    bool expired = false;
    if (TR_UNLIKELY(cell->held))
        return run_held(ctx);
    if (TR_UNLIKELY(cell->asks_due)) {
        if (budget_spent(ctx))
            return true;
        expired = tr_ask_expire_one(ctx); /* one, then messages: asks that expire at once must not starve them */
        if (!wants_messages(cell))
            return false;
    }
    do {
        if (!counted)
            handle_fetched(ctx, cell);
        if (TR_UNLIKELY(!wants_messages(cell)))
            return false;
        troupe_msg *msg = next_message(ctx);
        if (!msg)
            return !expired && went_idle(ctx);
        if (TR_UNLIKELY(tr_mailbox_alarmed(cell))) {
            tr_mailbox_put_back(cell, msg); /* what was signalled before it was sent comes first */
            return false;
        }
        if (TR_UNLIKELY(!budget_take(ctx))) {
            tr_mailbox_put_back(cell, msg);
            hand_back(ctx);
            return true;
        }
        if (counted)
            handle_counted(ctx, msg);
        else
            handle(ctx, msg);
    } while (wants_messages(cell));
    return false;
}

static NOINLINE bool run_counted(troupe_ctx *ctx)
{
    return run_messages_of(ctx, true);
}

static inline bool run_messages(troupe_ctx *ctx)
{
    return TR_UNLIKELY(ctx->cell->unusual & TR_UNUSUAL_BOUNDED) ? run_counted(ctx) : run_messages_of(ctx, false);
}

/* Is there one at the head of the FIFO that may be handled now? */
static bool has_message(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (cell->held)
        return tr_hold_next(cell) || (fetch(ctx) && tr_hold_next(cell));
    return cell->fifo_head || fetch(ctx);
}

/* All control that is there. True: that took the whole budget, and the cell was handed back. A flood of signals must
 * not starve the mailbox, so one message was handled then. */
static NOINLINE bool run_control(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    while (tr_supervise_control(ctx)) {
        if (budget_take(ctx))
            continue;
        if (cell->life == TR_LIFE_RUNNING && !tr_mailbox_has_bits(cell) && has_message(ctx))
            handle_counted(ctx, tr_mailbox_pop(cell));
        hand_back(ctx);
        return true;
    }
    return false;
}

/* Control before messages, before every message. Returns when the cell is no longer this worker's. */
static NOINLINE void loop(troupe_ctx *ctx)
{
    ctx->cell->unusual &= (uint8_t)~TR_UNUSUAL_UNSETTLED;
    for (;;) {
        tr_mailbox_hush(ctx->cell);
        if (TR_UNLIKELY(tr_mailbox_has_control(ctx->cell) || ctx->cell->signals) && run_control(ctx))
            return;
        if (TR_LIKELY(ctx->cell->life == TR_LIFE_RUNNING)) {
            if (run_messages(ctx))
                return;
            continue;
        }
        if ((ctx->cell->life == TR_LIFE_STARTING || ctx->cell->life == TR_LIFE_STOPPED) && budget_spent(ctx))
            return; /* also an actor that never gets beyond `started`, or buries a long mailbox, lets others run */
        switch (tr_supervise_step(ctx)) {
        case TR_STEP_ON:
            break;
        case TR_STEP_WAIT:
            /* What came for the next incarnation waits in the FIFO, so that the head can go idle. */
            if (fetch(ctx) && budget_spent(ctx))
                return;
            if (went_idle(ctx))
                return;
            break;
        case TR_STEP_YIELD:
            hand_back(ctx);
            return;
        case TR_STEP_ENDED:
            return;
        }
    }
}

/* The usual activation: a calm actor was woken by one message. Handles it and goes idle. Returns false if there is more to
 * do, for loop; then nothing is lost, whatever was done. */
static inline bool handle_one(troupe_ctx *ctx, struct tr_cell *cell)
{
    TR_OPAQUE(cell); /* the compiler would keep addresses of its members across the call */
    troupe_msg *msg = ck_pr_load_ptr(&cell->head);
    ck_pr_fence_acquire(); /* F, as in tr_mailbox_next: the mark is NULL and the FIFO empty where the mood is calm */
    if (TR_UNLIKELY(!tr_cell_calm(cell) || !msg || msg->next))
        return false;
    const troupe_handler *handler = usual_handler(ctx, cell, msg);
    if (TR_UNLIKELY(!handler))
        return false;
    cell->mark = msg;
    call(ctx, cell, handler, msg);
    TR_OPAQUE(cell);
    if (TR_UNLIKELY(!was_usual(ctx, msg)) || TR_UNLIKELY(!tr_cell_calm(cell))) {
        finish(ctx, msg);
        return false;
    }
    if (TR_UNLIKELY(!tr_mailbox_let_go(cell, msg))) {
        msg->flags = TR_MSG_HANDLED;
        return false;
    }
    put_away(ctx, msg);
    return tr_mailbox_gone(cell);
}

/* All other activations, and what handle_one leaves. */
static NOINLINE void run_on(troupe_ctx *ctx, struct tr_runnable *runnable)
{
    if (TR_UNLIKELY(runnable == &ctx->rt->tokens.sweeper.runnable)) {
        ctx->cell = NULL;
        tr_sweep_step(ctx);
        return;
    }
    budget_begin(ctx);
    loop(ctx);
    if (ctx->fresh_count > 0)
        tr_delay_settle(ctx);
}

/* Most runnables are actors. One after the other, as long as the pool has a next one at hand. */
void tr_actor_run(void *arg, struct tr_worker *worker, struct tr_runnable *runnable)
{
    troupe_ctx *ctx = tr_worker_user(worker);
    (void)arg;
    do {
        struct tr_cell *cell = ctx->cell = TR_CONTAINER_OF(runnable, struct tr_cell, runnable);
        if (TR_UNLIKELY(!handle_one(ctx, cell)))
            run_on(ctx, runnable);
    } while ((runnable = tr_schedule_next(worker)) != NULL);
    ctx->cell = NULL;
}

/* A panic ended the activation of this worker's cell half-way: the rest of it. */
static NOINLINE void go_on(void)
{
    troupe_ctx *ctx = tr_worker_user(tr_worker_self());
    tr_supervise_crash(ctx);
    loop(ctx);
    TR_ASSERT(!tr_ctx_guarded(ctx) && !ctx->dirty && !ctx->composed && !ctx->msg && !ctx->event_op &&
              !ctx->event_request);
    ctx->cell = NULL;
    if (ctx->fresh_count > 0)
        tr_delay_settle(ctx);
}

static NOINLINE void turn(troupe_ctx *ctx, struct tr_worker *worker, void *boundary)
{
    ctx->boundary = boundary;
    tr_worker_turn(worker);
}

/* Kept apart from what it calls: with that inlined beside the landing the compiler must keep every local in memory. */
void tr_actor_turn(void *arg, struct tr_worker *worker)
{
    (void)arg;
    troupe_ctx *const ctx = tr_worker_user(worker);
    if (TR_UNLIKELY(TR_LAND(ctx->jump)))
        go_on();
    else
        turn(ctx, worker, __builtin_frame_address(0));
    /* No call above may be this frame's last act, and end it: the landing lies in it. */
    __asm__ volatile("" ::: "memory");
}
