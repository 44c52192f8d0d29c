/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ask.h"

#include <errno.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/expiry.h"
#include "runtime/hold.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/send.h"
#include "runtime/timer.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_ask, serial) >= sizeof(struct tr_block), "the serial survives the free list");

static inline void ask_free(troupe_ctx *ctx, struct tr_ask *ask)
{
    ask->link.prev->next = ask->link.next;
    ask->link.next->prev = ask->link.prev;
    if (TR_UNLIKELY(ask->hook != NULL))
        tr_hook_drop(ctx, &ask->hook);
    ck_pr_store_32(&ask->serial, ask->serial + 1);
    tr_slab_put(&ctx->rt->slab, &ctx->cache, TR_CLASS_ASK, ask);
}

/* Most asks of one actor have the same time-out, so the place is found at the tail. */
static inline void insert_by_deadline(struct tr_list *asks, struct tr_ask *ask)
{
    struct tr_list *after = asks->prev;
    while (after != asks && TR_CONTAINER_OF(after, struct tr_ask, link)->deadline_ns > ask->deadline_ns)
        after = after->prev;
    tr_list_insert_between(&ask->link, after, after->next);
}

/* The first deadline after that moment; TROUPE_FOREVER: none. */
static uint64_t first_deadline(const struct tr_incarnation *inc, uint64_t after_ns)
{
    for (const struct tr_list *link = inc->asks.next; link != &inc->asks; link = link->next) {
        uint64_t deadline = TR_CONTAINER_OF(link, struct tr_ask, link)->deadline_ns;
        if (TR_LIKELY(deadline > after_ns))
            return deadline;
    }
    return TROUPE_FOREVER;
}

/* Makes sure that an alarm rings no later than the first deadline after that moment. An alarm that rings too early is
 * harmless, so the one that is there stays unless it would be late: one timer per actor, not per ask. */
static bool alarm_for_first(troupe_ctx *ctx, struct tr_incarnation *inc, uint64_t after_ns)
{
    uint64_t deadline = first_deadline(inc, after_ns);
    if (deadline == TROUPE_FOREVER)
        return true;
    if (inc->ask_alarm && inc->ask_alarm_due_ns <= deadline)
        return true;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return false;
    if (inc->ask_alarm)
        tr_alarm_cancel(ctx, inc->ask_alarm); /* if it has fired, tr_ask_alarm sees that it is not the current one */
    inc->ask_alarm = &record->alarm;
    inc->ask_alarm_due_ns = deadline;
    tr_alarm_arm(ctx, inc->ask_alarm, TR_SIGNAL_ALARM, deadline);
    return true;
}

/* From a fresh clock: ctx->now_ns may be older than the handler that runs, and a deadline must not pass early. */
static uint64_t deadline_after(troupe_ctx *ctx, uint64_t timeout_ns)
{
    return timeout_ns == TROUPE_FOREVER ? TROUPE_FOREVER : tr_loop_deadline_here(ctx->loop, timeout_ns);
}

/* On the books, and sure to end: usually the alarm that is there rings early enough. */
static inline bool wait_begins(troupe_ctx *ctx, struct tr_incarnation *inc, struct tr_ask *ask, uint64_t deadline_ns)
{
    ask->deadline_ns = deadline_ns;
    if (TR_UNLIKELY(ask->deadline_ns == TROUPE_FOREVER)) {
        tr_list_push_back(&inc->asks_forever, &ask->link);
        return true;
    }
    insert_by_deadline(&inc->asks, ask);
    return (inc->ask_alarm && inc->ask_alarm_due_ns <= ask->deadline_ns) || alarm_for_first(ctx, inc, 0);
}

/* Under ctx->under, if there is one, and not beyond limit_ns. */
static int ask_begin_under(troupe_ctx *ctx, struct tr_incarnation *inc, struct tr_ask *ask, uint64_t timeout_ns,
                           uint64_t limit_ns)
{
    int status = tr_hook_under(ctx, TR_HOOK_ASK, ask, &ask->hook);
    uint64_t deadline_ns = deadline_after(ctx, timeout_ns);
    tr_list_init(&ask->link);
    if (status == -ECANCELED) {
        ask->hook = tr_hook_make_out(ctx, TR_HOOK_ASK, ask); /* `done` is called from the mailbox's side, as always */
        deadline_ns = TROUPE_FOREVER;
        status = ask->hook ? status : -ENOMEM;
    } else if (status == 0 && limit_ns < deadline_ns) {
        deadline_ns = limit_ns;
        status = limit_ns <= deadline_after(ctx, 0) ? -ETIMEDOUT : 0;
    }
    if (status != -ENOMEM && wait_begins(ctx, inc, ask, deadline_ns))
        return status;
    ask_free(ctx, ask);
    return -ENOMEM;
}

/* The handler's own token counts, without one that of the message on whose behalf it runs. */
static __attribute__((noinline)) int ask_begin_on_behalf(troupe_ctx *ctx, struct tr_incarnation *inc,
                                                         struct tr_ask *ask, uint64_t timeout_ns, troupe_token *token)
{
    struct tr_expiry behalf = tr_expiry_ambient(ctx);
    troupe_token own = ctx->under;
    if (!own.ref)
        ctx->under = behalf.token;
    *token = ctx->under;
    int status = ask_begin_under(ctx, inc, ask, timeout_ns,
                                 behalf.deadline_ns == TR_EXPIRY_NEVER ? TROUPE_FOREVER : behalf.deadline_ns);
    ctx->under = own;
    return status;
}

/* Does what it asks inherit anything, or carry a token? */
static inline bool asks_for_others(const troupe_ctx *ctx)
{
    return ctx->under.ref || ctx->behalf_set || (ctx->msg && ctx->msg->flags & TR_MSG_EXPIRES);
}

/* Begins to wait. 0; -ECANCELED, -ETIMEDOUT: it will end with that, and nothing must be sent; -ENOMEM: it is gone. */
static inline int ask_begin(troupe_ctx *ctx, struct tr_incarnation *inc, struct tr_ask *ask, uint64_t timeout_ns,
                            bool behalf, troupe_token *token)
{
    if (TR_UNLIKELY(behalf))
        return ask_begin_on_behalf(ctx, inc, ask, timeout_ns, token);
    ask->hook = NULL;
    if (TR_LIKELY(wait_begins(ctx, inc, ask, deadline_after(ctx, timeout_ns))))
        return 0;
    ask_free(ctx, ask);
    return -ENOMEM;
}

static __attribute__((noinline, cold)) TROUPE_NORETURN void no_callback(troupe_ctx *ctx)
{
    troupe_panic_at(ctx, "", 0, "troupe_ask: done is NULL; use troupe_tell if nobody waits for the answer");
}

/* The message is on no list, and has room for its expiry; behalf: asks_for_others. */
static inline int ask_with(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, bool behalf, uint64_t timeout_ns,
                           troupe_answer_fn *done, void *arg, bool holds)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    struct tr_ask *ask = inc ? tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_ASK) : NULL;
    troupe_token token = {0};
    int status = -ENOMEM;
    if (TR_LIKELY(ask != NULL)) {
        ask->cell = ctx->cell;
        ask->done = done;
        ask->arg = arg;
        ask->cancelled = false;
        ask->holds = holds;
        status = ask_begin(ctx, inc, ask, timeout_ns, behalf, &token);
    }
    if (TR_UNLIKELY(status < 0)) {
        bool ends = status == -ECANCELED || status == -ETIMEDOUT;
        tr_msg_free(&ctx->rt->slab, &ctx->cache, msg);
        if (ends && holds)
            tr_hold_begin(ctx);
        return ends ? 0 : status;
    }
    if (TR_UNLIKELY(holds))
        tr_hold_begin(ctx);
    msg->flags |= TR_MSG_ASK;
    msg->ask = ask;
    msg->ask_generation = ask->serial;
    msg->sender = tr_cell_addr(ctx->cell);
    tr_expiry_set(msg, ask->deadline_ns, token);
    status = tr_offer(ctx->rt, ctx, to, msg); /* if the receiver is gone, the dead letter comes back as the answer */
    if (TR_LIKELY(status == 0 || status == -ESRCH))
        return 0;
    ask_free(ctx, ask);
    if (holds)
        tr_hold_end(ctx);
    return status;
}

int troupe_send_ask(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns, troupe_answer_fn *done,
                    void *arg)
{
    if (TR_UNLIKELY(!done))
        no_callback(ctx);
    tr_send_uncompose(ctx, msg);
    return ask_with(ctx, to, msg, asks_for_others(ctx), timeout_ns, done, arg, false);
}

int troupe_send_ask_hold(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns, troupe_answer_fn *done,
                         void *arg)
{
    if (TR_UNLIKELY(!done))
        no_callback(ctx);
    tr_send_uncompose(ctx, msg);
    if (TR_UNLIKELY(troupe_addr_same(to, troupe_self(ctx)))) {
        tr_msg_free(&ctx->rt->slab, &ctx->cache, msg);
        return -EDEADLK;
    }
    return ask_with(ctx, to, msg, asks_for_others(ctx), timeout_ns, done, arg, true);
}

int troupe_ask(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size, uint64_t timeout_ns,
               troupe_answer_fn *done, void *arg)
{
    troupe_msg *msg;
    const bool behalf = asks_for_others(ctx);
    int status = tr_expiry_build(ctx, kind, payload, size, behalf, &msg);
    if (TR_UNLIKELY(status < 0))
        return status;
    if (TR_LIKELY(done != NULL))
        return ask_with(ctx, to, msg, behalf, timeout_ns, done, arg, false);
    tr_msg_free(&ctx->rt->slab, &ctx->cache, msg);
    no_callback(ctx);
}

int troupe_ask_hold(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size,
                    uint64_t timeout_ns, troupe_answer_fn *done, void *arg)
{
    troupe_msg *msg;
    int status = tr_expiry_build(ctx, kind, payload, size, asks_for_others(ctx), &msg);
    return status < 0 ? status : troupe_send_ask_hold(ctx, to, msg, timeout_ns, done, arg);
}

static void call_done(troupe_ctx *ctx, struct tr_ask *ask, troupe_answer answer)
{
    troupe_answer_fn *done = ask->done;
    answer.arg = ask->arg;
    if (TR_UNLIKELY(ask->holds))
        tr_hold_end(ctx);
    ask_free(ctx, ask);
    tr_actor_enter(ctx, "answer");
    done(ctx, ctx->cell->state, &answer);
    tr_actor_leave(ctx);
}

/* Once its token is cancelled an ask ends with that and nothing else, although the news may still be on their way. */
static bool is_cancelled(const struct tr_ask *ask)
{
    return ask->cancelled || (TR_UNLIKELY(ask->hook != NULL) && tr_hook_cancelled(ask->hook));
}

bool tr_ask_answer(troupe_ctx *ctx, troupe_msg *msg)
{
    struct tr_ask *ask = msg->ask;
    if (ck_pr_load_32(&ask->serial) != msg->ask_generation || ask->cell != ctx->cell || is_cancelled(ask))
        return false;
    troupe_answer answer = {.kind = msg->kind, .payload = msg->payload};
    if (msg->flags & TR_MSG_STATUS)
        answer.status = msg->outcome;
    else
        answer.size = msg->size;
    call_done(ctx, ask, answer);
    tr_count(&ctx->stats.messages_handled, 1);
    return true;
}

void tr_ask_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    bool current = inc && inc->ask_alarm == alarm;
    tr_alarm_free(ctx, alarm);
    if (!current)
        return;
    inc->ask_alarm = NULL;
    ctx->cell->asks_due = true;
}

void tr_ask_cancelled(troupe_ctx *ctx, struct tr_ask *ask)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    ask->hook = NULL;
    ask->cancelled = true;
    tr_list_remove(&ask->link);
    tr_list_push_back(&inc->asks_cancelled, &ask->link);
    ctx->cell->asks_due = true;
}

/* The first in the list whose end is to be told now; of an actor that asks hold, the first of those. */
static struct tr_ask *first_over(const struct tr_cell *cell, struct tr_list *asks, uint64_t now_ns)
{
    for (struct tr_list *link = asks->next; link != asks; link = link->next) {
        struct tr_ask *ask = TR_CONTAINER_OF(link, struct tr_ask, link);
        if (!ask->cancelled && ask->deadline_ns > now_ns)
            return NULL;
        if (TR_LIKELY(!cell->held) || ask->holds)
            return ask;
    }
    return NULL;
}

/* One ask per call, since `done` may panic, ask again or stop the actor. */
bool tr_ask_expire_one(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    uint64_t now_ns = tr_list_empty(&inc->asks) ? 0 : tr_loop_clock();
    struct tr_ask *ask = first_over(ctx->cell, &inc->asks_cancelled, 0);
    if (!ask)
        ask = first_over(ctx->cell, &inc->asks, now_ns);
    if (ask) {
        call_done(ctx, ask, (troupe_answer){.status = is_cancelled(ask) ? -ECANCELED : -ETIMEDOUT});
        return true;
    }
    /* What is over and waits for the end of the hold needs no alarm. Out of memory: looked at again with the next
     * activation. */
    ctx->cell->asks_due = !alarm_for_first(ctx, inc, now_ns);
    return false;
}

void tr_ask_forget_all(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_list *link;
    while ((link = tr_list_pop_front(&inc->asks)) || (link = tr_list_pop_front(&inc->asks_forever)) ||
           (link = tr_list_pop_front(&inc->asks_cancelled)))
        ask_free(ctx, TR_CONTAINER_OF(link, struct tr_ask, link));
    if (inc->ask_alarm)
        tr_alarm_cancel(ctx, inc->ask_alarm);
    inc->ask_alarm = NULL;
    ctx->cell->asks_due = false;
}
