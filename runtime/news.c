/* SPDX-License-Identifier: Apache-2.0 */
/* What children tell their parent, and what it makes of it. */
#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/burial.h"
#include "runtime/family_state.h"
#include "runtime/mailbox.h"
#include "runtime/order.h"
#include "runtime/policy.h"
#include "runtime/recovery.h"
#include "runtime/spawn.h"

void tr_family_tell_parent(troupe_ctx *ctx, struct tr_cell *child, uint32_t news)
{
    struct tr_cell *parent = child->parent;
    uint32_t old = ck_pr_load_32(&child->news);
    while (old != 0) {
        ck_pr_fence_release();
        if (ck_pr_cas_32_value(&child->news, old, old | news, &old))
            return;
    }
    ck_pr_fence_acquire();
    ck_pr_store_32(&child->news, news);
    child->news_signal.kind = TR_SIGNAL_CHILD;
    if (tr_mailbox_signal(parent, &child->news_signal) != TR_PUSH_WAKE)
        return;
    if (news & TR_NEWS_EXITED)
        tr_worker_requeue(ctx->worker, &parent->runnable); /* at the tail: when many end, it hears of them at once */
    else
        tr_ctx_wake(ctx->rt, parent);
}

static unsigned child_up(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    if (!child->awaited)
        return 0;
    child->awaited = false;
    family->awaited--;
    return tr_family_advance(ctx, family);
}

/* Panics for the parent: its child's crash became its own. */
static TROUPE_NORETURN void crash_with_child(troupe_ctx *ctx, const troupe_crash *crash)
{
    tr_actor_enter(ctx, ctx->cell->behavior->child_escalated ? "child_escalated" : "");
    tr_actor_panic(ctx, TROUPE_CAUSE_CHILD, 0, "child %s crashed too often: %s", crash->behavior, crash->text);
}

/* One restart more among the children: does the parent's own window allow it? */
static void count_restart(troupe_ctx *ctx, struct tr_family *family, const struct tr_cell *child)
{
    const troupe_children *children = &ctx->cell->behavior->children;
    uint64_t window_ns = tr_policy_children_window_ns(children);
    if (children->restarts == 0 || tr_window_allow(&family->window, children->restarts, window_ns, tr_loop_clock()))
        return;
    const troupe_crash *crash = tr_recovery_crash(child);
    tr_actor_enter(ctx, "children");
    tr_actor_panic(ctx, TROUPE_CAUSE_CHILD, 0, "its children restarted more than %u times in %.3g s, last %s: %s",
                   children->restarts, (double)window_ns / 1e9, crash->behavior, crash->text);
}

static unsigned child_down(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child, bool asks)
{
    tr_family_gathered(family, child);
    child->seat = TR_SEAT_DOWN;
    if (asks)
        count_restart(ctx, family, child);
    if (asks && ctx->cell->behavior->children.strategy != TROUPE_ONE_FOR_ONE)
        tr_family_group(ctx, family, child);
    if (family->group != TR_GROUP_NONE && child->in_group)
        return tr_family_advance(ctx, family);
    tr_family_start_again(ctx, child);
    return 0;
}

static troupe_verdict verdict_on(troupe_ctx *ctx, const troupe_crash *crash)
{
    struct tr_cell *cell = ctx->cell;
    if (!cell->behavior->child_escalated)
        return TROUPE_VERDICT_RESTART_SELF;
    tr_actor_enter(ctx, "child_escalated");
    troupe_verdict verdict = cell->behavior->child_escalated(ctx, cell->state, crash);
    tr_actor_leave(ctx);
    return verdict;
}

static unsigned restart_child(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    if (ctx->cell->behavior->children.strategy == TROUPE_ONE_FOR_ONE) {
        tr_order(ctx, child, TR_CONTROL_RESTART);
        return 0;
    }
    tr_family_gathered(family, child);
    child->seat = TR_SEAT_DOWN; /* it is WAITING once it has read this order, which comes before the START */
    tr_order(ctx, child, TR_CONTROL_WAIT);
    tr_family_group(ctx, family, child);
    return tr_family_advance(ctx, family);
}

/* The crash record stays as it is until the verdict, even if somebody else stops the child. */
static unsigned child_escalated(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    const troupe_crash *crash = tr_recovery_crash(child);
    troupe_verdict verdict = verdict_on(ctx, crash);
    if (ctx->cell->life != TR_LIFE_RUNNING)
        return 0; /* it stopped itself there: all its children end */
    switch (verdict) {
    case TROUPE_VERDICT_STOP_SELF:
        return TR_WISH_STOP;
    case TROUPE_VERDICT_RESTART_CHILD:
        return restart_child(ctx, family, child);
    case TROUPE_VERDICT_REPLACE_CHILD:
        child->replaced = true;
        tr_order(ctx, child, TR_CONTROL_STOP);
        return 0;
    case TROUPE_VERDICT_IGNORE:
        tr_order(ctx, child, TR_CONTROL_STOP);
        return 0;
    case TROUPE_VERDICT_RESTART_SELF:
        break;
    }
    crash_with_child(ctx, crash);
}

/* The child has ended and is out of the books: so is its slot. */
static void forget(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    tr_family_remove(family, child);
    tr_burial_give_back(ctx, child);
}

/* A new actor with the arguments and in the place of one that has ended, which it forgets first: so there is room for
 * it. If a group is being gathered that the old one was in, it begins when the others do; if the old one's start was
 * waited for, its own is. NULL: it cannot be had. */
static struct tr_cell *replace(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *old)
{
    bool in_group = old->in_group;
    struct tr_list *before = old->siblings.prev;
    struct tr_spawn_request request = {
        .behavior = old->behavior,
        .has_supervision = old->policy != &old->behavior->supervision,
        .place = old->place,
        .gift_fd = -1,
        .announces_up = old->awaited,
        .unborn = in_group,
    };
    tr_args_take(&request.args, old);
    forget(ctx, family, old);
    struct tr_cell *fresh = tr_spawn(ctx, ctx->cell, &request);
    if (!fresh) {
        tr_args_drop(ctx, &request.args);
        return NULL;
    }
    tr_list_remove(&fresh->siblings);
    tr_list_insert_between(&fresh->siblings, before, before->next);
    fresh->in_group = in_group;
    fresh->seat = in_group ? TR_SEAT_DOWN : TR_SEAT_UP;
    fresh->awaited = request.announces_up;
    family->awaited += fresh->awaited;
    tr_pool_schedule(ctx->rt->pool, &fresh->runnable);
    return fresh;
}

static unsigned shutdown_wish(const troupe_ctx *ctx, const struct tr_family *family, bool significant)
{
    troupe_auto_shutdown when = ctx->cell->behavior->children.auto_shutdown;
    bool due = when == TROUPE_SHUTDOWN_ANY || (when == TROUPE_SHUTDOWN_ALL && family->significant == 0);
    return significant && due ? TR_WISH_SHUTDOWN : 0;
}

/* How a child ended, copied before its slot is given back. */
struct tr_exit {
    troupe_addr addr;
    troupe_reason reason;
    bool expected;    /* the group had it end */
    bool significant; /* it counts for auto_shutdown */
};

static void tell_of_exit(troupe_ctx *ctx, const struct tr_exit *exit, const struct tr_cell *fresh)
{
    struct tr_cell *cell = ctx->cell;
    if (fresh && cell->behavior->child_replaced) {
        tr_actor_enter(ctx, "child_replaced");
        cell->behavior->child_replaced(ctx, cell->state, exit->addr, tr_cell_addr_of_child(fresh));
        tr_actor_leave(ctx);
    } else if (!fresh && !exit->expected && cell->behavior->child_stopped) {
        tr_actor_enter(ctx, "child_stopped");
        cell->behavior->child_stopped(ctx, cell->state, exit->addr, exit->reason);
        tr_actor_leave(ctx);
    }
}

/* Only temporary members end because their group restarts. One of them may end by itself before it is told: `final`
 * tells. */
static bool ends_with_group(const struct tr_cell *child)
{
    bool temporary = child->policy->restart == TROUPE_RESTART_TEMPORARY;
    return temporary && child->final && child->in_group && child->seat == TR_SEAT_TOLD;
}

/* May a child's end bring something forward that waits for it? */
static bool is_under_way(const troupe_ctx *ctx, const struct tr_family *family)
{
    return family->group != TR_GROUP_NONE || ctx->cell->held & TR_HELD_STAFFING;
}

static unsigned child_exited(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    tr_family_gathered(family, child);
    struct tr_exit exit = {
        .addr = tr_cell_addr_of_child(child),
        .reason = (troupe_reason)child->reason,
        .expected = ends_with_group(child),
        .significant = child->policy->significant && (!child->final || child->reason == TROUPE_REASON_ESCALATED),
    };
    if (ctx->cell->life != TR_LIFE_RUNNING) {
        forget(ctx, family, child);
        tr_family_stop_next(ctx, family);
        return 0;
    }
    struct tr_cell *fresh = NULL;
    if (child->replaced)
        fresh = replace(ctx, family, child);
    else
        forget(ctx, family, child);
    unsigned wishes = fresh || exit.expected ? 0 : shutdown_wish(ctx, family, exit.significant);
    tell_of_exit(ctx, &exit, fresh);
    if (wishes || ctx->cell->life != TR_LIFE_RUNNING)
        return wishes;
    return is_under_way(ctx, family) ? tr_family_advance(ctx, family) : 0;
}

/* When many children end, what is read of the next one comes meanwhile: most of them ended on other workers, and long
 * ago. */
static inline void prefetch_next(const troupe_ctx *ctx)
{
    const struct tr_signal *next = ctx->cell->signals;
    if (!next || next->kind != TR_SIGNAL_CHILD)
        return;
    const struct tr_cell *child = TR_CONTAINER_OF(next, struct tr_cell, news_signal);
    __builtin_prefetch(child, 1);
    __builtin_prefetch(&child->fifo_tail, 1);
}

unsigned tr_family_news(troupe_ctx *ctx, struct tr_signal *signal)
{
    prefetch_next(ctx);
    struct tr_cell *child = TR_CONTAINER_OF(signal, struct tr_cell, news_signal);
    struct tr_family *family = ctx->cell->family;
    uint32_t news = ck_pr_load_32(&child->news);
    if (TR_UNLIKELY(!(news & TR_NEWS_EXITED))) {
        ck_pr_fence_release(); /* the node has been read and taken off: the child may push it again */
        news = ck_pr_fas_32(&child->news, 0);
    }
    ck_pr_fence_acquire();
    if (news & TR_NEWS_EXITED)
        return child_exited(ctx, family, child);
    unsigned wishes = 0;
    if (ctx->cell->life == TR_LIFE_RUNNING && news & TR_NEWS_UP)
        wishes |= child_up(ctx, family, child);
    if (ctx->cell->life == TR_LIFE_RUNNING && news & TR_NEWS_DOWN)
        wishes |= child_down(ctx, family, child, news & TR_NEWS_ASKS);
    if (ctx->cell->life == TR_LIFE_RUNNING && news & TR_NEWS_ESCALATED)
        wishes |= child_escalated(ctx, family, child);
    return wishes;
}
