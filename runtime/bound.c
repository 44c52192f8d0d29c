/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/bound.h"

#include <troupe/runtime.h>

#include <errno.h>

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

/* The owner drops the oldest only when it comes by, so that there is a second limit for the meantime. */
static uint32_t top_of(const troupe_mailbox *mailbox)
{
    if (mailbox->overflow != TROUPE_OVERFLOW_DROP_OLDEST)
        return mailbox->limit;
    return mailbox->limit < UINT32_MAX / 2 ? 2 * mailbox->limit : UINT32_MAX;
}

struct tr_bound *tr_bound_new(troupe_ctx *ctx, const troupe_behavior *behavior)
{
    const troupe_mailbox *mailbox = &behavior->mailbox;
    struct tr_bound *bound = tr_ctx_alloc(ctx, TR_CLASS_BOUND);
    if (!bound)
        return NULL;
    bound->first = bound->last = NULL;
    ck_pr_store_32(&bound->limit, mailbox->limit);
    ck_pr_store_32(&bound->top, top_of(mailbox));
    ck_pr_store_32(&bound->overflow, mailbox->overflow);
    ck_pr_store_64(&bound->word, (uint64_t)serial_of(ck_pr_load_64(&bound->word)) << 32); /* M */
    return bound;
}

void tr_bound_free(troupe_ctx *ctx, struct tr_bound *bound)
{
    TR_ASSERT(!bound->first);
    ck_pr_faa_64(&bound->word, UINT64_C(1) << 32); /* E; what the low half says then is for tests */
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
static bool admit(const struct tr_cell *cell, struct tr_bound *bound, troupe_addr to, bool sure, uint32_t *serial,
                  enum tr_deny *why)
{
    uint64_t old = ck_pr_load_64(&bound->word);
    uint32_t top = ck_pr_load_32(&bound->top), overflow = ck_pr_load_32(&bound->overflow);
    ck_pr_fence_load();
    if (ck_pr_load_64(&cell->name) != to.bits)
        return false;
    *serial = serial_of(old);
    do {
        if (serial_of(old) != *serial)
            return false;
        if (!sure && waiting_in(old) >= top) {
            *why = overflow == TROUPE_OVERFLOW_REFUSE ? TR_DENY_FULL : TR_DENY_DROP;
            return false;
        }
    } while (!ck_pr_cas_64_value(&bound->word, old, old + 1, &old));
    return true;
}

enum tr_push tr_bound_push(struct tr_cell *cell, troupe_addr to, troupe_msg *msg, bool sure, enum tr_deny *why)
{
    uint32_t serial;
    *why = TR_DENY_GONE;
    if (msg->flags & (TR_MSG_REPLY | TR_MSG_NEWS))
        return tr_mailbox_push(cell, msg);
    struct tr_bound *bound = ck_pr_load_ptr(&cell->bound);
    if (!bound || !admit(cell, bound, to, sure, &serial, why))
        return TR_PUSH_CLOSED;
    enum tr_push pushed = tr_mailbox_push(cell, msg);
    if (pushed == TR_PUSH_CLOSED)
        give_back(bound, serial);
    return pushed;
}

bool tr_bound_take(troupe_ctx *ctx, const troupe_msg *msg)
{
    struct tr_cell *cell = ctx->cell;
    if (!tr_bound_counts(cell, msg))
        return true;
    struct tr_bound *bound = cell->bound;
    uint32_t waiting = waiting_in(ck_pr_faa_64(&bound->word, UINT64_MAX)); /* K */
    TR_ASSERT(waiting > 0);
    if (bound->first && waiting - 1 <= bound->limit / 2)
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
