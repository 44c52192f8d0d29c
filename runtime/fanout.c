/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fanout.h"

#include <errno.h>
#include <string.h>

#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/mailbox.h"
#include "runtime/members.h"
#include "runtime/send.h"
#include "runtime/tie.h"

#define AT_ONCE 32u /* members that are read in one look */

static struct tr_slab_cache *cache_of(troupe_ctx *ctx)
{
    return ctx ? &ctx->cache : NULL;
}

int tr_saying_message(const struct tr_saying *saying, troupe_msg **out)
{
    if (saying->ctx) {
        int status = tr_send_build(saying->ctx, saying->kind, saying->payload, saying->size, out);
        if (status == 0)
            (*out)->sender = tr_cell_addr(saying->ctx->cell);
        return status;
    }
    if (saying->size > TROUPE_PAYLOAD_MAX)
        return -EMSGSIZE;
    troupe_msg *msg = tr_msg_alloc(&saying->rt->slab, NULL, saying->size);
    if (!msg)
        return -ENOMEM;
    msg->kind = tr_msg_kind(saying->kind);
    if (saying->size)
        memcpy(msg->payload, saying->payload, saying->size);
    *out = msg;
    return 0;
}

int tr_deliver(const struct tr_saying *saying, troupe_addr to, troupe_msg *msg)
{
    struct tr_cell *cell = tr_cell_find(&saying->rt->cells, to);
    uint32_t generation = tr_addr_generation(to);
    if (!cell || ck_pr_load_32(&cell->generation) != generation)
        return -ESRCH;
    msg->generation = generation;
    enum tr_deny why = TR_DENY_GONE;
    enum tr_push push =
        ck_pr_load_ptr(&cell->bound) ? tr_bound_push(cell, to, msg, saying->sure, &why) : tr_mailbox_push(cell, msg);
    if (push == TR_PUSH_WAKE && saying->ctx)
        tr_worker_schedule(saying->ctx->worker, &cell->runnable);
    else if (push == TR_PUSH_WAKE)
        tr_ctx_wake(saying->rt, cell);
    if (push != TR_PUSH_CLOSED)
        return 0;
    if (why == TR_DENY_DROP)
        tr_send_dropped(saying->rt, saying->ctx, to, msg);
    return why == TR_DENY_DROP ? 0 : why == TR_DENY_FULL ? -EAGAIN : -ESRCH;
}

int tr_deliver_to_nobody(const struct tr_saying *saying, troupe_msg *msg)
{
    tr_dead_letter(saying->rt, saying->ctx, (troupe_addr){0}, msg, TROUPE_DEAD_NO_ACTOR);
    tr_msg_free(&saying->rt->slab, cache_of(saying->ctx), msg);
    return -ESRCH;
}

/* Who has ended is no member any more, although the list may not know yet: it is left out without a dead letter. */
void tr_fanout_one(const struct tr_saying *saying, troupe_addr to, troupe_fanout *out)
{
    if (!tr_tie_lives(saying->rt, to)) {
        out->gone++;
        return;
    }
    troupe_msg *msg;
    if (tr_saying_message(saying, &msg) < 0) {
        out->starved++;
        return;
    }
    int status = tr_deliver(saying, to, msg);
    if (status < 0)
        tr_msg_free(&saying->rt->slab, cache_of(saying->ctx), msg);
    out->told += status == 0;
    out->gone += status == -ESRCH;
    out->refused += status == -EAGAIN;
}

int tr_fanout_status(const troupe_fanout *out)
{
    return out->starved ? -ENOMEM : out->refused ? -EAGAIN : 0;
}

int tr_fanout(const struct tr_saying *saying, const struct tr_key *key, bool own_kinds, troupe_fanout *out)
{
    struct tr_saying each = *saying;
    struct tr_reader_member members[AT_ONCE];
    struct tr_reading reading = {0};
    struct tr_shard *shard = tr_shard_of(&saying->rt->names, key);
    troupe_fanout sum = {0};
    unsigned count = 0;
    if (saying->size > TROUPE_PAYLOAD_MAX)
        return -EMSGSIZE;
    while ((count = tr_members_read(shard, key, &reading, members, AT_ONCE)) > 0)
        for (unsigned i = 0; i < count; i++) {
            if (own_kinds)
                each.kind = members[i].kind;
            tr_fanout_one(&each, members[i].addr, &sum);
        }
    if (out)
        *out = sum;
    return tr_fanout_status(&sum);
}
