/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of families share: actors that write each callback into the trace and do what a plan or a message
 * says, and verbs by which the test's own thread moves them and waits for what they write.
 *   the tree   R, the root, is nobody's test: it spawns the top that is given to kin_begin and gives orders as a
 *   stranger the trace  "+A" started ("+A2": its second incarnation), "A)" a blocked `started` goes on, "!A" crashed,
 *              "-A" stopped, "~A:sibling" restarted with that cause, "A:7" a note, "P.gone(A,normal)" child_stopped,
 *              "P.asked(A)" child_escalated, "P.new(A)" child_replaced
 * The tables belong to the running test; actors touch them by atomic access or under the world's lock.
 * It knows nothing of what is right: the tests compare traces. It is not the runtime's harness, which is world.h. */
#ifndef TR_TESTS_SUPERVISION_KIN_H
#define TR_TESTS_SUPERVISION_KIN_H

#include "tests/runtime/world.h"

#include <stdlib.h>

#include "runtime/context.h"

enum { R, P, A, B, C, D, E, F, X, Y, Z, KIN_SLOTS = 24 };
enum { PANIC, END, NOTE, ORDER, BLOCK, SPAWN };
enum { STOP, KILL, SUSPEND, RESUME };

/* Everybody's arguments: who it is. */
struct kin {
    char name[12];
    unsigned slot;
};
#define KIN(name_) (&(const struct kin){.name = #name_, .slot = name_})

struct kin_spawn {
    const troupe_behavior *behavior;
    const troupe_supervision *supervision;
    struct kin kin;
};

struct kin_order {
    unsigned verb;
    troupe_addr who;
};

/* What an actor does besides writing: so many times each. */
struct kin_plan {
    uint64_t panics_started, fails_started, stops_started, panics_restarted, panics_crashed, panics_stopped;
    uint64_t panics_told, stops_told, panics_asked, panics_new;
    uint64_t blocks_started, blocks_stopped, blocks_crashed; /* until kin_open */
    uint64_t panics_blocked, stops_blocked;                  /* behind a BLOCK */
    uint64_t verdict;
    uint64_t failed_spawns;               /* counted */
    void (*in_started)(troupe_ctx *ctx);  /* before all that */
    void (*in_told)(troupe_ctx *ctx);     /* in child_stopped */
    void (*in_stopped)(troupe_ctx *ctx);  /* in stopped */
    void (*in_restart)(troupe_ctx *ctx);  /* in restarted */
    void (*in_verdict)(troupe_ctx *ctx);  /* in child_escalated */
    void (*in_replaced)(troupe_ctx *ctx); /* in child_replaced */
};

static struct kin_plan kin_plan[KIN_SLOTS];
static uint64_t kin_addr[KIN_SLOTS]; /* the last that began as such */
static struct tr_cell *kin_cell[KIN_SLOTS];
static uint64_t kin_gate[KIN_SLOTS]; /* who is blocked goes on when it is above 0 */
static struct kin_spawn kin_top;
static troupe_runtime *kin_rt;
static size_t kin_cursor; /* the trace is waited for from here on */
static uint64_t kin_sent;
static troupe_stats kin_stats; /* when all had ended */

static struct {
    uint64_t addr;
    char name[12];
} kin_seen[512];
static unsigned kin_seen_count;

/* --- actors ------------------------------------------------------------------------------------------------------- */

static UNUSED const struct kin *kin_of(troupe_ctx *ctx)
{
    return ctx->cell->args;
}

static UNUSED struct kin_plan *kin_plan_of(troupe_ctx *ctx)
{
    return &kin_plan[kin_of(ctx)->slot];
}

/* One of `times`, if there is any left. */
static UNUSED bool kin_take(uint64_t *times)
{
    uint64_t left = ck_pr_load_64(times);
    while (left > 0)
        if (ck_pr_cas_64_value(times, left, left - 1, &left))
            return true;
    return false;
}

static UNUSED void kin_wait_gate(unsigned slot)
{
    while (ck_pr_load_64(&kin_gate[slot]) == 0)
        usleep(50);
}

static UNUSED void kin_register(troupe_ctx *ctx)
{
    const struct kin *kin = kin_of(ctx);
    uint64_t self = troupe_self(ctx).bits;
    pthread_mutex_lock(&world.lock);
    unsigned i = 0;
    while (i < kin_seen_count && kin_seen[i].addr != self)
        i++;
    if (i < sizeof kin_seen / sizeof *kin_seen) {
        kin_seen[i].addr = self;
        memcpy(kin_seen[i].name, kin->name, sizeof kin->name);
        kin_seen_count += i == kin_seen_count;
    }
    pthread_mutex_unlock(&world.lock);
    ck_pr_store_ptr(&kin_cell[kin->slot], ctx->cell);
    ck_pr_store_64(&kin_addr[kin->slot], self);
}

/* "?" for one that never began. */
static UNUSED void kin_name(troupe_addr addr, char name[12])
{
    strcpy(name, "?");
    pthread_mutex_lock(&world.lock);
    for (unsigned i = 0; i < kin_seen_count; i++)
        if (kin_seen[i].addr == addr.bits)
            memcpy(name, kin_seen[i].name, 12);
    pthread_mutex_unlock(&world.lock);
}

static UNUSED int kin_started(troupe_ctx *ctx, UNUSED void *self, const void *args)
{
    const struct kin *kin = args;
    struct kin_plan *plan = kin_plan_of(ctx);
    kin_register(ctx);
    if (troupe_incarnation(ctx) == 1)
        say("+%s", kin->name);
    else
        say("+%s%u", kin->name, troupe_incarnation(ctx));
    if (plan->in_started)
        plan->in_started(ctx);
    if (kin_take(&plan->blocks_started)) {
        kin_wait_gate(kin->slot);
        say("%s)", kin->name);
    }
    if (kin_take(&plan->stops_started))
        troupe_stop_self(ctx);
    if (kin_take(&plan->panics_started))
        troupe_panic(ctx, "in started");
    return kin_take(&plan->fails_started) ? -EIO : 0;
}

static UNUSED void kin_restarted(troupe_ctx *ctx, UNUSED void *self, const troupe_crash *crash, UNUSED unsigned count)
{
    struct kin_plan *plan = kin_plan_of(ctx);
    say("~%s:%s", kin_of(ctx)->name, troupe_cause_name(crash->cause));
    if (plan->in_restart)
        plan->in_restart(ctx);
    if (kin_take(&plan->panics_restarted))
        troupe_panic(ctx, "in restarted");
}

static UNUSED void kin_crashed(troupe_ctx *ctx, UNUSED void *self, UNUSED const troupe_crash *crash)
{
    say("!%s", kin_of(ctx)->name);
    if (kin_take(&kin_plan_of(ctx)->blocks_crashed))
        kin_wait_gate(kin_of(ctx)->slot);
    if (kin_take(&kin_plan_of(ctx)->panics_crashed))
        troupe_panic(ctx, "in crashed");
}

static UNUSED void kin_stopped(troupe_ctx *ctx, UNUSED void *self, troupe_reason reason)
{
    struct kin_plan *plan = kin_plan_of(ctx);
    if (reason == TROUPE_REASON_STOPPED)
        say("-%s", kin_of(ctx)->name);
    else
        say("-%s:%s", kin_of(ctx)->name, troupe_reason_name(reason));
    if (plan->in_stopped)
        plan->in_stopped(ctx);
    if (kin_take(&plan->blocks_stopped))
        kin_wait_gate(kin_of(ctx)->slot);
    if (kin_take(&plan->panics_stopped))
        troupe_panic(ctx, "in stopped");
}

static UNUSED void kin_told(troupe_ctx *ctx, UNUSED void *self, troupe_addr child, troupe_reason reason)
{
    char name[12];
    struct kin_plan *plan = kin_plan_of(ctx);
    kin_name(child, name);
    say("%s.gone(%s,%s)", kin_of(ctx)->name, name, troupe_reason_name(reason));
    if (plan->in_told)
        plan->in_told(ctx);
    if (kin_take(&plan->stops_told))
        troupe_stop_self(ctx);
    if (kin_take(&plan->panics_told))
        troupe_panic(ctx, "in child_stopped");
}

static UNUSED troupe_verdict kin_asked(troupe_ctx *ctx, UNUSED void *self, const troupe_crash *crash)
{
    char name[12];
    struct kin_plan *plan = kin_plan_of(ctx);
    kin_name(crash->actor, name);
    say("%s.asked(%s)", kin_of(ctx)->name, name);
    if (plan->in_verdict)
        plan->in_verdict(ctx);
    if (kin_take(&plan->panics_asked))
        troupe_panic(ctx, "in child_escalated");
    return (troupe_verdict)ck_pr_load_64(&plan->verdict);
}

static UNUSED void kin_new(troupe_ctx *ctx, UNUSED void *self, troupe_addr old, troupe_addr fresh)
{
    char name[12];
    struct kin_plan *plan = kin_plan_of(ctx);
    kin_name(old, name);
    say("%s.new(%s)%s", kin_of(ctx)->name, name, troupe_addr_same(old, fresh) ? "same!" : "");
    if (plan->in_replaced)
        plan->in_replaced(ctx);
    if (kin_take(&plan->panics_new))
        troupe_panic(ctx, "in child_replaced");
}

HANDLER(kin_panic)
{
    troupe_panic(ctx, "on request");
}

HANDLER(kin_end_self)
{
    troupe_stop_self(ctx);
}

HANDLER(kin_note)
{
    say("%s:%u", kin_of(ctx)->name, *(const unsigned *)troupe_payload(msg));
}

HANDLER(kin_obey)
{
    const struct kin_order *order = troupe_payload(msg);
    switch (order->verb) {
    case STOP:
        troupe_stop(ctx, order->who);
        return;
    case KILL:
        troupe_kill(ctx, order->who);
        return;
    case SUSPEND:
        troupe_suspend(ctx, order->who);
        return;
    default:
        troupe_resume(ctx, order->who);
    }
}

/* A handler that runs long. */
HANDLER(kin_block)
{
    say("%s(", kin_of(ctx)->name);
    kin_wait_gate(kin_of(ctx)->slot);
    say("%s)", kin_of(ctx)->name);
    if (kin_take(&kin_plan_of(ctx)->stops_blocked))
        troupe_stop_self(ctx);
    if (kin_take(&kin_plan_of(ctx)->panics_blocked))
        troupe_panic(ctx, "behind the gate");
}

static UNUSED void kin_spawn_now(troupe_ctx *ctx, const struct kin_spawn *spawn)
{
    troupe_spawn_options options = {.supervision = spawn->supervision};
    if (troupe_addr_is_nobody(troupe_spawn(ctx, spawn->behavior, &spawn->kin, &options)))
        bump(kin_of(ctx)->slot);
}

HANDLER(kin_spawn_one)
{
    kin_spawn_now(ctx, troupe_payload(msg));
}

/* Everything of a behavior but its name, its supervision and its children. */
#define KIN_CALLBACKS                                                                                                  \
    .args_size = sizeof(struct kin), .started = kin_started, .restarted = kin_restarted, .crashed = kin_crashed,       \
    .stopped = kin_stopped, .child_stopped = kin_told, .child_escalated = kin_asked, .child_replaced = kin_new,        \
    .handlers = {[PANIC] = ON(kin_panic, 0),                                                                           \
                 [END] = ON(kin_end_self, 0),                                                                          \
                 [NOTE] = ON(kin_note, sizeof(unsigned)),                                                              \
                 [ORDER] = ON(kin_obey, sizeof(struct kin_order)),                                                     \
                 [BLOCK] = ON(kin_block, 0),                                                                           \
                 [SPAWN] = ON(kin_spawn_one, sizeof(struct kin_spawn))}

/* The plain one. */
static UNUSED const troupe_behavior kin_member = {.name = "member", KIN_CALLBACKS};

STARTED(kin_root_started)
{
    kin_register(ctx);
    kin_spawn_now(ctx, &kin_top);
    return 0;
}

static UNUSED const troupe_behavior kin_root = {
    .name = "root",
    .args_size = sizeof(struct kin),
    .started = kin_root_started,
    .child_stopped = kin_told,
    .child_escalated = kin_asked,
    .child_replaced = kin_new,
    .handlers = {
        [ORDER] = ON(kin_obey, sizeof(struct kin_order)), [SPAWN] = ON(kin_spawn_one, sizeof(struct kin_spawn))}};

/* --- the test's thread -------------------------------------------------------------------------------------------- */

/* A fresh world; plans may be made after it. */
static UNUSED void kin_prepare(unsigned workers)
{
    world_begin(workers);
    memset(kin_plan, 0, sizeof kin_plan);
    memset(kin_addr, 0, sizeof kin_addr);
    memset(kin_cell, 0, sizeof kin_cell);
    memset(kin_gate, 0, sizeof kin_gate);
    memset(&kin_stats, 0, sizeof kin_stats);
    kin_seen_count = 0;
    kin_cursor = 0;
    kin_sent = 0;
    kin_plan[R].verdict = TROUPE_VERDICT_IGNORE;
}

static UNUSED void kin_begin_with(const troupe_behavior *top, const troupe_supervision *supervision,
                                  const troupe_options *options)
{
    kin_top = (struct kin_spawn){top, supervision, *KIN(P)};
    cr_assert_eq(troupe_runtime_start(&kin_rt, &kin_root, KIN(R), options, NULL), 0);
}

static UNUSED void kin_begin(const troupe_behavior *top)
{
    troupe_options options = world_options();
    kin_begin_with(top, NULL, &options);
}

/* Waits until the text appears behind what was waited for last. */
static UNUSED void await(const char *text)
{
    const char *found = NULL;
    for (unsigned i = 0; !found && i < 100000; i++) {
        pthread_mutex_lock(&world.lock);
        found = strstr(world.trace + kin_cursor, text);
        pthread_mutex_unlock(&world.lock);
        if (!found)
            usleep(100);
    }
    cr_assert(found, "%s did not come: %s", text, world.trace);
    kin_cursor = (size_t)(found - world.trace) + strlen(text);
}

/* The last that began in that slot must not have ended. */
static UNUSED void await_life(unsigned slot, enum tr_life life)
{
    struct tr_cell *cell = ck_pr_load_ptr(&kin_cell[slot]);
    unsigned i = 0;
    while (ck_pr_load_8(&cell->life) != (uint8_t)life && i++ < 100000)
        usleep(100);
    cr_assert_lt(i, 100000, "%s: %s", tr_life_name(life), world.trace);
}

/* The last that began in that slot is blocked, and its parent's kill is there: the next that it sees. */
static UNUSED void await_kill_of(unsigned slot)
{
    const struct tr_cell *cell = ck_pr_load_ptr(&kin_cell[slot]);
    while (!(ck_pr_load_64(&cell->control_bits) & TR_CONTROL_KILL))
        usleep(100);
}

static UNUSED bool said(const char *text)
{
    pthread_mutex_lock(&world.lock);
    bool is_there = strstr(world.trace, text) != NULL;
    pthread_mutex_unlock(&world.lock);
    return is_there;
}

static UNUSED troupe_addr kin_at(unsigned slot)
{
    return (troupe_addr){ck_pr_load_64(&kin_addr[slot])};
}

/* Who begins beside others is not to be found before it has. */
static UNUSED troupe_addr kin_find(unsigned slot)
{
    while (troupe_addr_is_nobody(kin_at(slot)))
        usleep(100);
    return kin_at(slot);
}

static UNUSED void tell(unsigned slot, unsigned kind, const void *payload, size_t size)
{
    troupe_addr to = kin_find(slot);
    kin_sent++;
    troupe_runtime_tell(kin_rt, to, kind, payload, size);
}

static UNUSED void tell_panic(unsigned slot)
{
    tell(slot, PANIC, NULL, 0);
}

static UNUSED void tell_note(unsigned slot, unsigned n)
{
    tell(slot, NOTE, &n, sizeof n);
}

static UNUSED void tell_spawn(unsigned slot, const troupe_behavior *behavior, const troupe_supervision *supervision,
                              const struct kin *kin)
{
    struct kin_spawn spawn = {behavior, supervision, *kin};
    tell(slot, SPAWN, &spawn, sizeof spawn);
}

static UNUSED void tell_order(unsigned slot, unsigned verb, unsigned who)
{
    struct kin_order order = {verb, kin_find(who)};
    tell(slot, ORDER, &order, sizeof order);
}

static UNUSED unsigned dead_of(troupe_dead_reason reason)
{
    pthread_mutex_lock(&world.lock);
    unsigned count = world.dead[reason];
    pthread_mutex_unlock(&world.lock);
    return count;
}

/* R has carried out all orders so far: a message that it does not handle comes behind them. */
static UNUSED void await_obeyed(void)
{
    unsigned before = dead_of(TROUPE_DEAD_UNHANDLED);
    tell_note(R, 0);
    while (dead_of(TROUPE_DEAD_UNHANDLED) == before)
        usleep(100);
}

static UNUSED void kin_open(unsigned slot)
{
    ck_pr_store_64(&kin_gate[slot], 1);
}

/* Stops everything; returns the status. All must end, and each message be handled or a dead letter, exactly once. */
static UNUSED int kin_end(void)
{
    troupe_runtime_request_stop(kin_rt);
    int status = troupe_runtime_stop(kin_rt, TROUPE_SEC(60));
    if (status != 0) {
        static char report[4096];
        troupe_runtime_survivors(kin_rt, report, sizeof report);
        cr_assert_fail("it does not end: %s\n%s", world.trace, report);
    }
    troupe_stats_read(kin_rt, &kin_stats);
    status = troupe_runtime_join(kin_rt);
    cr_assert_eq(kin_stats.actors, 0);
    cr_assert_eq(kin_stats.spawns, kin_stats.stops);
    cr_assert_eq(kin_sent, kin_stats.messages_handled + dead_total(), "%lu sent, %lu handled, %u dead: %s", kin_sent,
                 kin_stats.messages_handled, dead_total(), world.trace);
    return status;
}

#define ASSERT_TRACE(text_) cr_assert_str_eq(world.trace, (text_), "%s", world.trace)

#endif
