/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/bound.h"

#include <troupe/runtime.h>

#include <errno.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/room.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_bound, word) >= sizeof(struct tr_block), "the serial survives the free list");

static uint32_t serial_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t waiting_in(uint64_t word)
{
    return (uint32_t)word;
}

/* --- time: a tick is 16 µs, so that 32 bits last for 19 hours; an age is good for half of that ---------------------- */

#define TICK_SHIFT 14u

static uint32_t now_ticks(void)
{
    return (uint32_t)(tr_loop_clock() >> TICK_SHIFT) | 1; /* never 0 */
}

static uint32_t ticks_of(uint64_t age_ns)
{
    uint64_t ticks = (age_ns >> TICK_SHIFT) + 1;
    return age_ns == 0 ? 0 : ticks < INT32_MAX ? (uint32_t)ticks : INT32_MAX;
}

static bool is_too_old(const struct tr_bound *bound, uint32_t serial, uint32_t max_age)
{
    uint64_t probe = ck_pr_load_64(&bound->probe);
    if (serial_of(probe) != serial || waiting_in(probe) == 0)
        return false;
    int32_t age = (int32_t)(now_ticks() - (uint32_t)probe);
    return age > 0 && (uint32_t)age > max_age;
}

/* P. */
static void probe_with(struct tr_bound *bound, uint32_t serial, troupe_msg *msg)
{
    uint64_t none = (uint64_t)serial << 32;
    if (ck_pr_load_64(&bound->probe) == none && ck_pr_cas_64(&bound->probe, none, none | now_ticks()))
        msg->prev = msg;
}

/* --- the record ---------------------------------------------------------------------------------------------------- */

static uint32_t limit_of(const troupe_mailbox *mailbox)
{
    return mailbox->limit ? mailbox->limit : UINT32_MAX; /* it has an age only */
}

/* The owner drops the oldest only when it comes by, so that there is a second limit for the meantime. */
static uint32_t top_of(const troupe_mailbox *mailbox)
{
    const uint32_t limit = limit_of(mailbox);
    if (mailbox->overflow != TROUPE_OVERFLOW_DROP_OLDEST)
        return limit;
    return limit < UINT32_MAX / 2 ? 2 * limit : UINT32_MAX;
}

struct tr_bound *tr_bound_new(troupe_ctx *ctx, const troupe_behavior *behavior)
{
    const troupe_mailbox *mailbox = &behavior->mailbox;
    struct tr_bound *bound = tr_ctx_alloc(ctx, TR_CLASS_BOUND);
    if (!bound)
        return NULL;
    bound->first = bound->last = NULL;
    ck_pr_store_32(&bound->limit, limit_of(mailbox));
    ck_pr_store_32(&bound->top, top_of(mailbox));
    ck_pr_store_32(&bound->overflow, mailbox->overflow);
    ck_pr_store_32(&bound->max_age, ticks_of(mailbox->max_age_ns));
    uint64_t serial = (uint64_t)serial_of(ck_pr_load_64(&bound->word)) << 32;
    ck_pr_store_64(&bound->probe, serial); /* M */
    ck_pr_store_64(&bound->word, serial);
    return bound;
}

void tr_bound_free(troupe_ctx *ctx, struct tr_bound *bound)
{
    TR_ASSERT(!bound->first);
    uint64_t old = ck_pr_faa_64(&bound->word, UINT64_C(1) << 32); /* E; what the low half says then is for tests */
    ck_pr_store_64(&bound->probe, (uint64_t)(serial_of(old) + 1) << 32);
    tr_ctx_free(ctx, TR_CLASS_BOUND, bound);
}

/* B. */
static void give_back(struct tr_bound *bound, uint32_t serial)
{
    uint64_t old = ck_pr_load_64(&bound->word);
    while (serial_of(old) == serial && !ck_pr_cas_64_value(&bound->word, old, old - 1, &old))
        ;
}

/* A: false: denied, *why says why. */
static bool admit(const struct tr_cell *cell, struct tr_bound *bound, troupe_addr to, troupe_msg *msg, bool sure,
                  uint32_t *serial, enum tr_deny *why)
{
    uint64_t old = ck_pr_load_64(&bound->word);
    uint32_t top = ck_pr_load_32(&bound->top), overflow = ck_pr_load_32(&bound->overflow);
    uint32_t max_age = ck_pr_load_32(&bound->max_age);
    ck_pr_fence_load();
    if (ck_pr_load_64(&cell->name) != to.bits)
        return false;
    *serial = serial_of(old);
    bool too_old = !sure && max_age && is_too_old(bound, *serial, max_age);
    do {
        if (serial_of(old) != *serial)
            return false;
        if (!sure && (waiting_in(old) >= top || too_old)) {
            *why = overflow == TROUPE_OVERFLOW_REFUSE ? TR_DENY_FULL : TR_DENY_DROP;
            return false;
        }
    } while (!ck_pr_cas_64_value(&bound->word, old, old + 1, &old));
    if (max_age)
        probe_with(bound, *serial, msg);
    return true;
}

enum tr_push tr_bound_push(struct tr_cell *cell, troupe_addr to, troupe_msg *msg, bool sure, enum tr_deny *why)
{
    uint32_t serial;
    *why = TR_DENY_GONE;
    msg->prev = NULL;
    if (msg->flags & (TR_MSG_REPLY | TR_MSG_NEWS))
        return tr_mailbox_push(cell, msg);
    struct tr_bound *bound = ck_pr_load_ptr(&cell->bound);
    if (!bound || !admit(cell, bound, to, msg, sure, &serial, why))
        return TR_PUSH_CLOSED;
    enum tr_push pushed = tr_mailbox_push(cell, msg);
    if (pushed == TR_PUSH_CLOSED) {
        msg->prev = NULL; /* no probe: the mailbox has ended */
        give_back(bound, serial);
    }
    return pushed;
}

bool tr_bound_has_room(const struct tr_bound *bound)
{
    uint64_t word = ck_pr_load_64(&bound->word);
    return waiting_in(word) <= bound->limit / 2 &&
           (bound->max_age == 0 || !is_too_old(bound, serial_of(word), bound->max_age));
}

bool tr_bound_take(troupe_ctx *ctx, troupe_msg *msg)
{
    struct tr_cell *cell = ctx->cell;
    if (!tr_bound_counts(cell, msg))
        return true;
    struct tr_bound *bound = cell->bound;
    uint32_t waiting = waiting_in(ck_pr_faa_64(&bound->word, UINT64_MAX)); /* K */
    TR_ASSERT(waiting > 0);
    if (TR_UNLIKELY(msg->prev == msg)) {
        msg->prev = NULL;
        ck_pr_store_64(&bound->probe, ck_pr_load_64(&bound->probe) & ~(uint64_t)UINT32_MAX);
    }
    if (bound->first && tr_bound_has_room(bound))
        tr_room_tell(ctx, bound);
    return bound->overflow != TROUPE_OVERFLOW_DROP_OLDEST || waiting <= bound->limit;
}

void tr_bound_return(struct tr_cell *cell, const troupe_msg *msg)
{
    if (tr_bound_counts(cell, msg))
        ck_pr_faa_64(&cell->bound->word, 1); /* R */
}

/* --- depth ------------------------------------------------------------------------------------------------------ */

static int64_t depth(const struct troupe_runtime *rt, troupe_addr addr)
{
    struct tr_cell *cell = tr_cell_find(&rt->cells, addr);
    if (!cell)
        return -ESRCH;
    const struct tr_bound *bound = ck_pr_load_ptr(&cell->bound);
    uint64_t word = bound ? ck_pr_load_64(&bound->word) : 0;
    ck_pr_fence_load();
    if (ck_pr_load_64(&cell->name) != addr.bits)
        return -ESRCH;
    return bound ? (int64_t)waiting_in(word) : -EOPNOTSUPP;
}

int64_t troupe_depth(const troupe_ctx *ctx, troupe_addr actor)
{
    return depth(ctx->rt, actor);
}

int64_t troupe_runtime_depth(troupe_runtime *rt, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int64_t waiting = depth(rt, actor);
    tr_gate_leave(&rt->gate);
    return waiting;
}
