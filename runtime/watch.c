/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/watch.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/send.h"
#include "runtime/tie.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_watch, serial) >= sizeof(struct tr_block), "the serial survives the free list");
_Static_assert(offsetof(struct tr_monitor, state) >= sizeof(struct tr_block), "the serial survives the free list");

#define STATE_BITS 3

/* A thread in troupe_runtime_wait, on its stack. */
struct tr_waiter {
    uint32_t told; /* futex: 0, then 1 */
    troupe_reason reason;
};

/* What is told of an end or a restart. */
struct news {
    troupe_reason reason;
    unsigned incarnation;
    bool restarted;
    struct tr_fate fate; /* for links */
};

/* --- the two records --- */

static uint64_t monitor_serial(const struct tr_monitor *monitor)
{
    return ck_pr_load_64(&monitor->state) >> STATE_BITS;
}

/* One of T, C, L and R. */
static bool monitor_move(struct tr_monitor *monitor, uint64_t serial, enum tr_monitor_state from,
                         enum tr_monitor_state to)
{
    ck_pr_fence_release();
    bool moved = ck_pr_cas_64(&monitor->state, serial << STATE_BITS | from, serial << STATE_BITS | to);
    ck_pr_fence_acquire();
    return moved;
}

/* ctx: NULL on a thread outside, here as below. */
static struct tr_slab_cache *cache_of(troupe_ctx *ctx)
{
    return ctx ? &ctx->cache : NULL;
}

static struct tr_monitor *monitor_new(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr target)
{
    struct tr_monitor *monitor = tr_slab_alloc(&rt->slab, cache_of(ctx), TR_CLASS_MONITOR);
    if (!monitor)
        return NULL;
    monitor->target = target;
    monitor->watch = NULL;
    monitor->waiter = NULL;
    monitor->tie = NULL;
    monitor->news = NULL;
    monitor->where = NULL;
    monitor->is_link = monitor->tells_restarts = monitor->spent = false;
    monitor->fate.kind = TR_FATE_DISSOLVED;
    monitor->signal.kind = TR_SIGNAL_WATCH_ADD;
    monitor->cancel.kind = TR_SIGNAL_WATCH_CANCEL;
    ck_pr_store_64(&monitor->state, monitor_serial(monitor) << STATE_BITS | TR_MONITOR_LIVE);
    return monitor;
}

static void monitor_free(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor)
{
    if (monitor->news)
        tr_msg_free(&rt->slab, cache_of(ctx), monitor->news);
    ck_pr_store_64(&monitor->state, (monitor_serial(monitor) + 1) << STATE_BITS | TR_MONITOR_FREE);
    tr_slab_free(&rt->slab, cache_of(ctx), TR_CLASS_MONITOR, monitor);
}

static void watch_free(troupe_ctx *ctx, struct tr_watch *watch)
{
    tr_list_remove(&watch->link);
    ck_pr_store_64(&watch->serial, watch->serial + 1);
    tr_ctx_free(ctx, TR_CLASS_WATCH, watch);
}

/* The message of the end, filled in but for what only the end knows. */
static troupe_msg *news_new(troupe_ctx *ctx, const struct tr_monitor *monitor, unsigned kind)
{
    troupe_down down = {.actor = monitor->target, .monitor = {monitor->watch, monitor->watch_serial}};
    troupe_msg *msg;
    if (tr_send_build(ctx, kind, &down, sizeof down, &msg) < 0)
        return NULL;
    msg->sender = monitor->target;
    msg->flags = TR_MSG_NEWS;
    return msg;
}

/* --- signals --- */

/* False: the actor has ended, and the signal is still the caller's. True: it is in the lane of that actor or, rarely,
 * of the next one in its slot. *wake: who must be woken now. */
static bool push_to(struct troupe_runtime *rt, troupe_addr to, struct tr_signal *signal, struct tr_cell **wake)
{
    struct tr_cell *cell = tr_cell_find(&rt->cells, to);
    *wake = NULL;
    if (!cell || ck_pr_load_32(&cell->generation) != tr_addr_generation(to))
        return false;
    enum tr_push push = tr_mailbox_signal(cell, signal);
    if (push == TR_PUSH_WAKE)
        *wake = cell;
    return push != TR_PUSH_CLOSED;
}

static bool signal_to(struct troupe_runtime *rt, troupe_addr to, struct tr_signal *signal)
{
    struct tr_cell *wake;
    bool pushed = push_to(rt, to, signal, &wake);
    if (wake)
        tr_ctx_wake(rt, wake);
    return pushed;
}

/* After C: the cancel signal, and R. */
static void send_cancel(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor, uint64_t serial)
{
    if (!signal_to(rt, monitor->target, &monitor->cancel) &&
        !monitor_move(monitor, serial, TR_MONITOR_CANCELLED, TR_MONITOR_REFUSED))
        monitor_free(rt, ctx, monitor);
}

/* --- telling: the target's side --- */

static void list_add(struct tr_cell *cell, struct tr_monitor *monitor)
{
    monitor->next = cell->watchers;
    monitor->where = &cell->watchers;
    if (monitor->next)
        monitor->next->where = &monitor->next;
    cell->watchers = monitor;
}

static void list_remove(struct tr_monitor *monitor)
{
    if (!monitor->where)
        return;
    *monitor->where = monitor->next;
    if (monitor->next)
        monitor->next->where = monitor->where;
    monitor->where = NULL;
}

static void tell_waiter(struct tr_waiter *waiter, troupe_reason reason)
{
    waiter->reason = reason;
    ck_pr_fence_release();
    ck_pr_store_32(&waiter->told, 1);
    /* The thread may have gone on by now: a wake that finds nobody at this address is harmless. */
    syscall(SYS_futex, &waiter->told, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void fill_news(troupe_msg *msg, const struct news *news)
{
    troupe_down *down = troupe_msg_body(msg);
    down->restarted = news->restarted;
    down->reason = news->reason;
    down->incarnation = news->incarnation;
}

/* After T, of an end: consumes monitor, which is in no list. */
static void tell(troupe_ctx *ctx, struct tr_monitor *monitor, const struct news *news)
{
    if (monitor->is_link) {
        monitor->fate = news->fate;
        monitor->signal.kind = TR_SIGNAL_LINK;
        if (!signal_to(ctx->rt, monitor->watcher, &monitor->signal))
            monitor_free(ctx->rt, ctx, monitor);
        return;
    }
    struct tr_waiter *waiter = monitor->waiter;
    struct tr_tie *tie = monitor->tie;
    troupe_msg *msg = monitor->news;
    troupe_addr watcher = monitor->watcher;
    monitor->news = NULL;
    monitor_free(ctx->rt, ctx, monitor);
    if (waiter) {
        tell_waiter(waiter, news->reason);
        return;
    }
    if (tie) {
        tr_tie_ended(ctx, tie);
        return;
    }
    fill_news(msg, news);
    tr_post(ctx->rt, ctx, watcher, msg); /* no letter for the dead: see tr_dead_letter */
}

/* T, or L. */
static void tell_end(troupe_ctx *ctx, struct tr_monitor *monitor, const struct news *news)
{
    uint64_t serial = monitor_serial(monitor);
    list_remove(monitor);
    if (monitor_move(monitor, serial, TR_MONITOR_LIVE, TR_MONITOR_TOLD))
        tell(ctx, monitor, news);
    else if (!monitor_move(monitor, serial, TR_MONITOR_CANCELLED, TR_MONITOR_RELEASED))
        monitor_free(ctx->rt, ctx, monitor);
}

static void tell_stale(troupe_ctx *ctx, struct tr_monitor *monitor)
{
    struct news news = {.reason = TROUPE_REASON_NO_ACTOR,
                        .fate = {.kind = TR_FATE_STALE, .index = (uint32_t)monitor->target.bits}};
    tell_end(ctx, monitor, &news);
}

static struct tr_fate fate_of(const struct tr_cell *cell, enum tr_fate_kind kind)
{
    return (struct tr_fate){kind, cell->index, cell->incarnation_nr, cell->behavior->name};
}

void tr_watch_ended(troupe_ctx *ctx, troupe_reason reason, unsigned incarnation)
{
    struct tr_cell *cell = ctx->cell;
    enum tr_fate_kind kind = reason == TROUPE_REASON_CRASHED     ? TR_FATE_CRASHED
                             : reason == TROUPE_REASON_KILLED    ? TR_FATE_KILLED
                             : reason == TROUPE_REASON_ESCALATED ? TR_FATE_ESCALATED
                                                                 : TR_FATE_DISSOLVED;
    struct news news = {.reason = reason, .incarnation = incarnation, .fate = fate_of(cell, kind)};
    while (cell->watchers) {
        TR_ASSERT(tr_addr_generation(cell->watchers->target) == cell->born);
        tell_end(ctx, cell->watchers, &news);
    }
}

void tr_watch_restarted(troupe_ctx *ctx, troupe_reason reason, unsigned incarnation)
{
    struct news news = {.reason = reason, .incarnation = incarnation, .restarted = true};
    for (struct tr_monitor *monitor = ctx->cell->watchers; monitor; monitor = monitor->next) {
        if (!monitor->tells_restarts)
            continue;
        troupe_msg *msg = news_new(ctx, monitor, monitor->news->kind);
        if (!msg)
            continue;
        fill_news(msg, &news);
        tr_post(ctx->rt, ctx, monitor->watcher, msg);
    }
}

/* --- crashes of links --- */

/* C, if there is still something to cancel. The watch is gone afterwards. */
static void cancel(troupe_ctx *ctx, struct tr_watch *watch, const struct tr_fate *fate)
{
    struct tr_monitor *monitor = watch->monitor;
    uint64_t serial = watch->monitor_serial;
    watch_free(ctx, watch);
    if (!monitor_move(monitor, serial, TR_MONITOR_LIVE, TR_MONITOR_CANCELLED))
        return;
    if (fate)
        monitor->fate = *fate;
    send_cancel(ctx->rt, ctx, monitor, serial);
}

/* Cancels the links that the running actor made: those to that actor, or those to all others. */
static void cancel_links(troupe_ctx *ctx, struct tr_incarnation *inc, troupe_addr actor, bool to_it,
                         const struct tr_fate *fate)
{
    struct tr_list *next;
    for (struct tr_list *link = inc->watches.next; link != &inc->watches; link = next) {
        struct tr_watch *watch = TR_CONTAINER_OF(link, struct tr_watch, link);
        next = link->next;
        if (watch->is_link && troupe_addr_same(watch->target, actor) == to_it)
            cancel(ctx, watch, fate);
    }
}

/* The fate of origin becomes the running actor's, if it has an incarnation that can share it. What is linked to origin
 * in turn must not be hit by the echo: origin may be its next incarnation by now. */
static void suffer(troupe_ctx *ctx, troupe_addr origin, const struct tr_fate *fate)
{
    enum tr_life life = ctx->cell->life;
    if (fate->kind == TR_FATE_DISSOLVED || (life != TR_LIFE_RUNNING && life != TR_LIFE_STARTING))
        return;
    if (ctx->cell->incarnation)
        cancel_links(ctx, ctx->cell->incarnation, origin, true, NULL);
    tr_actor_enter(ctx, "link");
    if (fate->kind == TR_FATE_STALE)
        tr_actor_panic(ctx, TROUPE_CAUSE_LINK, 0, "linked actor #%u had ended before", fate->index);
    tr_actor_panic(ctx, TROUPE_CAUSE_LINK, 0, "linked actor %s#%u %s (incarnation %u)", fate->name, fate->index,
                   fate->kind == TR_FATE_CRASHED  ? "crashed"
                   : fate->kind == TR_FATE_KILLED ? "was killed"
                                                  : "ended by escalation",
                   fate->incarnation);
}

/* To those who have linked themselves to it. */
static void fire_watchers(troupe_ctx *ctx, const struct tr_fate *fate)
{
    struct news news = {.fate = *fate};
    struct tr_monitor *next;
    for (struct tr_monitor *monitor = ctx->cell->watchers; monitor; monitor = next) {
        next = monitor->next;
        if (!monitor->is_link)
            continue;
        if (monitor_move(monitor, monitor_serial(monitor), TR_MONITOR_LIVE, TR_MONITOR_TOLD)) {
            list_remove(monitor);
            tell(ctx, monitor, &news);
        } else {
            monitor->spent = true;
        }
    }
}

static void fire(troupe_ctx *ctx, enum tr_fate_kind kind)
{
    struct tr_fate fate = fate_of(ctx->cell, kind);
    if (ctx->cell->incarnation) /* a link to itself says nothing new */
        cancel_links(ctx, ctx->cell->incarnation, tr_cell_addr(ctx->cell), false, &fate);
    fire_watchers(ctx, &fate);
}

void tr_watch_crashed(troupe_ctx *ctx)
{
    fire(ctx, TR_FATE_CRASHED);
}

void tr_watch_killed(troupe_ctx *ctx)
{
    fire(ctx, TR_FATE_KILLED);
}

/* --- dispatch --- */

static void cancelled(troupe_ctx *ctx, struct tr_monitor *monitor)
{
    struct tr_fate fate = monitor->fate;
    troupe_addr watcher = monitor->watcher;
    bool hits = monitor->where && !monitor->spent;
    list_remove(monitor);
    monitor_free(ctx->rt, ctx, monitor);
    if (hits)
        suffer(ctx, watcher, &fate);
}

static void link_told(troupe_ctx *ctx, struct tr_monitor *monitor)
{
    struct tr_fate fate = monitor->fate;
    troupe_addr target = monitor->target;
    struct tr_watch *watch = monitor->watch;
    bool current = ck_pr_load_64(&watch->serial) == monitor->watch_serial;
    monitor_free(ctx->rt, ctx, monitor);
    if (!current)
        return;
    watch_free(ctx, watch);
    suffer(ctx, target, &fate);
}

/* An add meant for this very actor, or a stranger's. */
static void add(troupe_ctx *ctx, struct tr_monitor *monitor)
{
    if (tr_addr_generation(monitor->target) == ctx->cell->born)
        list_add(ctx->cell, monitor);
    else
        tell_stale(ctx, monitor);
}

void tr_watch_dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    if (signal->kind == TR_SIGNAL_WATCH_ADD)
        add(ctx, TR_CONTAINER_OF(signal, struct tr_monitor, signal));
    else if (signal->kind == TR_SIGNAL_WATCH_CANCEL)
        cancelled(ctx, TR_CONTAINER_OF(signal, struct tr_monitor, cancel));
    else
        link_told(ctx, TR_CONTAINER_OF(signal, struct tr_monitor, signal));
}

bool tr_watch_news(troupe_ctx *ctx, troupe_msg *msg)
{
    const troupe_down *down = troupe_payload(msg);
    struct tr_watch *watch = down->monitor.ref;
    if (ck_pr_load_64(&watch->serial) != down->monitor.generation)
        return false;
    msg->flags &= (uint8_t)~TR_MSG_NEWS;
    if (!down->restarted)
        watch_free(ctx, watch);
    return true;
}

/* --- the watcher's side --- */

static struct tr_watch *watch_new(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_watch *watch = tr_ctx_alloc(ctx, TR_CLASS_WATCH);
    if (!watch)
        return NULL;
    ck_pr_store_ptr(&watch->cell, ctx->cell);
    tr_list_push_back(&inc->watches, &watch->link);
    return watch;
}

/* A watch and its monitor, both of the running actor and not yet known to anybody else; NULL: out of memory. */
static struct tr_monitor *pair_new(troupe_ctx *ctx, troupe_addr target, bool is_link)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    struct tr_watch *watch = inc ? watch_new(ctx, inc) : NULL;
    struct tr_monitor *monitor = watch ? monitor_new(ctx->rt, ctx, target) : NULL;
    if (!monitor) {
        if (watch)
            watch_free(ctx, watch);
        return NULL;
    }
    watch->monitor = monitor;
    watch->monitor_serial = monitor_serial(monitor);
    watch->target = target;
    monitor->watcher = tr_cell_addr(ctx->cell);
    monitor->watch = watch;
    monitor->watch_serial = watch->serial;
    watch->is_link = monitor->is_link = is_link;
    return monitor;
}

static void begin(troupe_ctx *ctx, struct tr_monitor *monitor, troupe_monitor_ref *out)
{
    if (out)
        *out = (troupe_monitor_ref){monitor->watch, monitor->watch_serial};
    if (!signal_to(ctx->rt, monitor->target, &monitor->signal))
        tell_stale(ctx, monitor);
}

int troupe_monitor(troupe_ctx *ctx, troupe_addr actor, unsigned kind, unsigned flags, troupe_monitor_ref *out)
{
    struct tr_monitor *monitor = pair_new(ctx, actor, false);
    if (!monitor)
        return -ENOMEM;
    monitor->tells_restarts = flags & TROUPE_MONITOR_RESTARTS;
    monitor->news = news_new(ctx, monitor, kind);
    if (!monitor->news) {
        watch_free(ctx, monitor->watch);
        monitor_free(ctx->rt, ctx, monitor);
        return -ENOMEM;
    }
    begin(ctx, monitor, out);
    return 0;
}

int troupe_link(troupe_ctx *ctx, troupe_addr actor, troupe_monitor_ref *out)
{
    struct tr_monitor *monitor = pair_new(ctx, actor, true);
    if (!monitor)
        return -ENOMEM;
    begin(ctx, monitor, out);
    return 0;
}

/* A stale ref may name a record that is somebody else's at this moment: then its cell is not ours. */
bool troupe_demonitor(troupe_ctx *ctx, troupe_monitor_ref ref)
{
    struct tr_watch *watch = ref.ref;
    if (!watch || ck_pr_load_64(&watch->serial) != ref.generation || ck_pr_load_ptr(&watch->cell) != ctx->cell)
        return false;
    cancel(ctx, watch, NULL);
    return true;
}

void tr_watch_forget_all(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_list *link;
    while ((link = tr_list_first(&inc->watches)))
        cancel(ctx, TR_CONTAINER_OF(link, struct tr_watch, link), NULL);
}

/* --- ties --- */

struct tr_monitor *tr_watch_tie(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr actor, struct tr_tie *tie,
                                uint64_t *serial)
{
    struct tr_monitor *monitor = monitor_new(rt, ctx, actor);
    if (!monitor)
        return NULL;
    monitor->tie = tie;
    monitor->watcher = (troupe_addr){0};
    *serial = monitor_serial(monitor);
    return monitor;
}

bool tr_watch_tie_add(struct troupe_runtime *rt, struct tr_monitor *monitor, struct tr_cell **wake)
{
    return push_to(rt, monitor->target, &monitor->signal, wake);
}

void tr_watch_tie_free(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor)
{
    monitor_free(rt, ctx, monitor);
}

bool tr_watch_tie_cancel(struct tr_monitor *monitor, uint64_t serial)
{
    return monitor_move(monitor, serial, TR_MONITOR_LIVE, TR_MONITOR_CANCELLED);
}

void tr_watch_tie_cancelled(struct troupe_runtime *rt, troupe_ctx *ctx, struct tr_monitor *monitor, uint64_t serial)
{
    send_cancel(rt, ctx, monitor, serial);
}

/* --- waiting threads --- */

/* False: the deadline has passed first. */
static bool wait_until(struct tr_waiter *waiter, uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / TROUPE_SEC(1)),
                          .tv_nsec = (long)(deadline_ns % TROUPE_SEC(1))};
    const struct timespec *until = deadline_ns == TROUPE_FOREVER ? NULL : &at;
    while (!ck_pr_load_32(&waiter->told)) {
        long woken =
            syscall(SYS_futex, &waiter->told, FUTEX_WAIT_BITSET_PRIVATE, 0, until, NULL, FUTEX_BITSET_MATCH_ANY);
        if (woken < 0 && errno == ETIMEDOUT)
            return ck_pr_load_32(&waiter->told);
    }
    return true;
}

static int wait_for(troupe_runtime *rt, troupe_addr actor, uint64_t timeout_ns, struct tr_waiter *waiter)
{
    const struct tr_cell *cell = tr_cell_find(&rt->cells, actor);
    if (!cell || ck_pr_load_32(&cell->generation) != tr_addr_generation(actor))
        return 0;
    if (timeout_ns == 0)
        return -ETIMEDOUT;
    struct tr_monitor *monitor = monitor_new(rt, NULL, actor);
    if (!monitor)
        return -ENOMEM;
    uint64_t serial = monitor_serial(monitor);
    monitor->waiter = waiter;
    if (!signal_to(rt, actor, &monitor->signal)) {
        monitor_free(rt, NULL, monitor);
        return 0;
    }
    if (!wait_until(waiter, tr_loop_deadline(timeout_ns))) {
        if (monitor_move(monitor, serial, TR_MONITOR_LIVE, TR_MONITOR_CANCELLED)) {
            send_cancel(rt, NULL, monitor, serial);
            return -ETIMEDOUT;
        }
        wait_until(waiter, TROUPE_FOREVER); /* it is being told at this moment */
    }
    ck_pr_fence_acquire();
    return 0;
}

/* Of a runtime that has stopped every actor has ended. */
int troupe_runtime_wait(troupe_runtime *rt, troupe_addr actor, uint64_t timeout_ns, troupe_reason *reason)
{
    struct tr_waiter waiter = {.reason = TROUPE_REASON_NO_ACTOR};
    int status = 0;
    if (tr_ctx_here(rt) && timeout_ns > 0)
        return -EDEADLK;
    if (tr_gate_enter(&rt->gate)) {
        status = wait_for(rt, actor, timeout_ns, &waiter);
        tr_gate_leave(&rt->gate);
    }
    if (status == 0 && reason)
        *reason = waiter.reason;
    return status;
}
