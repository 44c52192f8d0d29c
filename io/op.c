/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an op. op->state is the owner's (home's thread), assigned in move() alone:
 *   FREE    -> TAKEN     get
 *   TAKEN   -> FLIGHT    submit; the back end has it
 *   TAKEN   -> WAITING   submit; the back end has no room: first in, first out, before newer ops
 *   TAKEN   -> READY     submit; complete without the kernel (the loop closes, or it was done inline)
 *   WAITING -> FLIGHT    room
 *   WAITING -> READY     cancelled before it got room
 *   FLIGHT  -> WAITING   the kernel gave up for a passing reason: once more
 *   FLIGHT  -> DONE      terminal completion, done runs
 *   READY   -> DONE      the next poll or wait, done runs: never inside submit
 *   DONE    -> FLIGHT, WAITING, READY   submitted again
 *   TAKEN, DONE -> FREE  put
 *
 * op->cancel is atomic, for any worker may ask:
 *   NONE   -> POSTED   compare and swap, by another worker; who wins pushes cancel_link on home's queue, once
 *   NONE   -> ASKED    compare and swap, by the owner
 *   POSTED -> ASKED    the owner took cancel_link off the queue; the node is free again
 *   ASKED  -> NONE     submit and put
 * So cancel_link is in the queue exactly while POSTED, and cancel is idempotent.
 *
 * A put never overtakes a cancel of the same op. If it did, the record would be reused with its cancel_link still
 *   queued.
 *   put by the owner: sees POSTED (the cancel's caller ran before the put's, the user guarantees that) and then sends
 *     the op by way of the return queue.
 *   the return queue: tr_loop_collect_returns takes all returns off first and all cancels second. The push of a cancel
 *     happened before the push of the put, so who sees the put (acquire) finds the cancel in its queue or already done;
 *     it acts on the cancels first.
 * Two nodes, because a cancel may still be queued when the op is put.
 *
 * generation grows with each start, so a completion that comes twice or late finds nobody.
 * Checked by: tests/io/test_op.c, tests/stress/stress_loop.c under ThreadSanitizer, tr_op_slab_check. */
#include "io/op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/blocking.h"
#include "io/inline.h"
#include "io/loop_state.h"
#include "sched/base/assert.h"

enum state { FREE, TAKEN, WAITING, FLIGHT, READY, DONE, STATE_COUNT };
enum cancel { CANCEL_NONE, CANCEL_POSTED, CANCEL_ASKED };

#define BIT(x) (1u << (x))

static const unsigned next_states[] = {
    [FREE] = BIT(TAKEN),
    [TAKEN] = BIT(FLIGHT) | BIT(WAITING) | BIT(READY) | BIT(FREE),
    [WAITING] = BIT(FLIGHT) | BIT(READY),
    [FLIGHT] = BIT(WAITING) | BIT(DONE),
    [READY] = BIT(DONE),
    [DONE] = BIT(FLIGHT) | BIT(WAITING) | BIT(READY) | BIT(FREE),
};
_Static_assert(sizeof next_states / sizeof next_states[0] == STATE_COUNT, "a row per state");

static bool in_flight(enum state state)
{
    return state == WAITING || state == FLIGHT || state == READY;
}

static void move(struct tr_op *op, enum state to)
{
    struct tr_loop_stats *stats = &op->home->stats;
    enum state from = op->state;
    TR_ASSERT(next_states[from] & BIT(to));
    if (!in_flight(from) && in_flight(to))
        tr_count(&stats->ops_in_flight, 1);
    if (in_flight(from) && !in_flight(to))
        tr_uncount(&stats->ops_in_flight, 1);
    op->state = (uint8_t)to;
}

/* The slab. */

void tr_op_slab_init(struct tr_loop *loop)
{
    struct tr_op_slab *slab = &loop->slab;
    slab->ops_max = loop->io->options.ops_max;
}

void tr_op_slab_fini(struct tr_loop *loop)
{
    struct tr_op_slab *slab = &loop->slab;
    for (unsigned i = 0; i < slab->chunk_count; i++) {
        for (unsigned j = 0; j < TR_OP_CHUNK; j++)
            if (slab->chunks[i][j].buffer_owner == TR_OP_BUFFER_HEAP)
                free(slab->chunks[i][j].buffer);
        free(slab->chunks[i]);
    }
    free(slab->chunks);
    *slab = (struct tr_op_slab){0};
}

static bool make_room_for_chunk(struct tr_op_slab *slab)
{
    if (slab->chunk_count < slab->chunk_max)
        return true;
    unsigned max = slab->chunk_max ? 2 * slab->chunk_max : 8;
    struct tr_op **chunks = realloc(slab->chunks, max * sizeof(struct tr_op *));
    if (!chunks)
        return false;
    slab->chunks = chunks;
    slab->chunk_max = max;
    return true;
}

static bool grow(struct tr_loop *loop)
{
    struct tr_op_slab *slab = &loop->slab;
    if (!make_room_for_chunk(slab))
        return false;
    struct tr_op *chunk = aligned_alloc(_Alignof(struct tr_op), TR_OP_CHUNK * sizeof *chunk);
    if (!chunk)
        return false;
    memset(chunk, 0, TR_OP_CHUNK * sizeof *chunk);
    for (unsigned i = TR_OP_CHUNK; i-- > 0;) {
        chunk[i].home = loop;
        chunk[i].index = slab->chunk_count * TR_OP_CHUNK + i;
        chunk[i].next = slab->free;
        slab->free = &chunk[i];
    }
    slab->chunks[slab->chunk_count++] = chunk;
    return true;
}

struct tr_op *tr_op_find(struct tr_loop *loop, uint32_t index, uint32_t generation)
{
    struct tr_op_slab *slab = &loop->slab;
    if (index >= slab->chunk_count * TR_OP_CHUNK)
        return NULL;
    struct tr_op *op = &slab->chunks[index / TR_OP_CHUNK][index % TR_OP_CHUNK];
    return op->state == FLIGHT && op->generation == generation ? op : NULL;
}

static struct tr_op *take(struct tr_loop *loop, enum tr_op_kind kind, tr_op_done_fn *done)
{
    struct tr_op_slab *slab = &loop->slab;
    if (!slab->free && !grow(loop))
        return NULL;
    struct tr_op *op = slab->free;
    slab->free = op->next;
    move(op, TAKEN);
    tr_count(&loop->stats.ops_in_use, 1);
    op->kind = kind;
    op->done = done;
    op->fd = -1;
    op->buffer = NULL;
    op->length = 0;
    op->offset = 0;
    op->iov_count = 0;
    op->addr_len = 0;
    op->res = 0;
    op->attempts = 0;
    return op;
}

struct tr_op *tr_op_get(struct tr_loop *loop, enum tr_op_kind kind, tr_op_done_fn *done)
{
    TR_ASSERT(tr_loop_is_current(loop) && done != NULL && kind < TR_OP_KIND_COUNT);
    if (loop->stats.ops_in_use >= loop->slab.ops_max)
        tr_loop_collect_returns(loop);
    return loop->stats.ops_in_use < loop->slab.ops_max ? take(loop, kind, done) : NULL;
}

struct tr_op *tr_op_get_again(struct tr_loop *loop, enum tr_op_kind kind, tr_op_done_fn *done)
{
    TR_ASSERT(tr_loop_is_current(loop) && done != NULL && kind < TR_OP_KIND_COUNT);
    return take(loop, kind, done);
}

/* Starting and completing. */

static void release_buffer(struct tr_op *op)
{
    switch ((enum tr_op_buffer)op->buffer_owner) {
    case TR_OP_BUFFER_CALLER:
        break;
    case TR_OP_BUFFER_LENT:
        tr_bufring_give(&op->home->buffers, op->buffer_id);
        tr_uncount(&op->home->stats.buffers_lent, 1);
        break;
    case TR_OP_BUFFER_HEAP:
        free(op->buffer);
        break;
    }
    op->buffer_owner = TR_OP_BUFFER_CALLER;
    op->buffer = NULL;
}

static bool start(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    op->generation++;
    bool elsewhere = tr_blocking_wants(op) && tr_blocking_submit(loop->io->blocking, op);
    if (!elsewhere && !loop->backend->start(loop, op))
        return false;
    move(op, FLIGHT);
    return true;
}

static void finish_without_kernel(struct tr_op *op, int32_t res)
{
    op->res = res;
    move(op, READY);
    tr_op_queue_push(&op->home->ready, op);
}

static void wait_for_room(struct tr_op *op)
{
    move(op, WAITING);
    tr_op_queue_push(&op->home->waiting, op);
}

static void sync_ended(const struct tr_op *op)
{
    if (op->kind == TR_OP_FDATASYNC)
        op->home->syncs--;
}

static bool done_inline(const struct tr_op *op, int32_t *res)
{
    const struct tr_loop *loop = op->home;
    if (op->kind != TR_OP_WRITE || (loop->io->options.without & TR_IO_WITHOUT_INLINE_WRITE))
        return false;
    return tr_inline_write(op, loop->syncs != 0, res);
}

void tr_op_submit(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    TR_ASSERT(tr_loop_is_current(loop));
    TR_ASSERT(op->state == TAKEN || op->state == DONE);
    TR_ASSERT(op->iov_count <= TR_OP_IOV_MAX);
    if (ck_pr_load_32(&op->cancel) == CANCEL_ASKED)
        ck_pr_store_32(&op->cancel, CANCEL_NONE);
    if (op->buffer_owner == TR_OP_BUFFER_LENT)
        release_buffer(op);
    op->attempts = 0;
    tr_count(&loop->stats.submitted, 1);
    if (TR_UNLIKELY(loop->closing)) {
        finish_without_kernel(op, -ECANCELED);
        return;
    }
    int32_t res;
    if (done_inline(op, &res)) {
        finish_without_kernel(op, res);
        return;
    }
    if (op->kind == TR_OP_FDATASYNC)
        loop->syncs++;
    if (loop->waiting.head || !start(op)) {
        tr_count(&loop->stats.sq_full, 1);
        wait_for_room(op);
    }
}

bool tr_op_start_waiting(struct tr_loop *loop)
{
    struct tr_op_queue *queue = &loop->waiting;
    while (queue->head) {
        struct tr_op *op = queue->head;
        if (ck_pr_load_32(&op->cancel) == CANCEL_ASKED) {
            tr_op_queue_pop(queue);
            sync_ended(op);
            finish_without_kernel(op, -ECANCELED);
            continue;
        }
        if (!start(op))
            return false;
        tr_op_queue_pop(queue);
    }
    return true;
}

static void deliver(struct tr_op *op, int32_t res)
{
    struct tr_loop *loop = op->home;
    op->res = res;
    move(op, DONE);
    tr_count(&loop->stats.completed, 1);
    op->done(op);
}

void tr_op_complete(struct tr_op *op, int32_t res)
{
    TR_ASSERT(op->state == FLIGHT);
    sync_ended(op);
    deliver(op, res);
}

void tr_op_retry(struct tr_op *op)
{
    TR_ASSERT(op->state == FLIGHT);
    if (ck_pr_load_32(&op->cancel) == CANCEL_ASKED || op->home->closing)
        tr_op_complete(op, -ECANCELED);
    else
        wait_for_room(op);
}

unsigned tr_op_deliver_ready(struct tr_loop *loop, unsigned budget)
{
    unsigned count = 0;
    struct tr_op_queue batch = loop->ready; /* what the callbacks add waits for the next call */
    loop->ready = (struct tr_op_queue){0};
    while (count < budget && batch.head) {
        struct tr_op *op = tr_op_queue_pop(&batch);
        deliver(op, op->res);
        count++;
    }
    if (batch.head) {
        batch.tail->next = loop->ready.head;
        loop->ready.head = batch.head;
        if (!loop->ready.tail)
            loop->ready.tail = batch.tail;
    }
    return count;
}

/* Cancelling. */

static void cancel_now(struct tr_op *op)
{
    switch ((enum state)op->state) {
    case FLIGHT:
        if (!op->home->backend->cancel(op->home, op))
            op->home->cancels_unsent++;
        return;
    case FREE:
        tr_assert_failed("no cancel outlives its op", __FILE__, __LINE__);
    case WAITING: /* tr_op_start_waiting sees the mark */
    case TAKEN:
    case READY:
    case DONE:
    case STATE_COUNT:
        return;
    }
}

void tr_op_cancel(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    if (tr_loop_is_current(loop)) {
        if (ck_pr_cas_32(&op->cancel, CANCEL_NONE, CANCEL_ASKED))
            cancel_now(op);
        return;
    }
    if (ck_pr_cas_32(&op->cancel, CANCEL_NONE, CANCEL_POSTED)) {
        ck_pr_fence_release();
        ck_stack_push_upmc(&loop->cancels, &op->cancel_link);
        tr_loop_wake(loop);
    }
}

void tr_op_cancel_arrived(struct tr_op *op)
{
    TR_ASSERT(ck_pr_load_32(&op->cancel) == CANCEL_POSTED);
    ck_pr_store_32(&op->cancel, CANCEL_ASKED);
    cancel_now(op);
}

void tr_op_cancel_again(struct tr_loop *loop)
{
    struct tr_op_slab *slab = &loop->slab;
    loop->cancels_unsent = 0;
    for (unsigned i = 0; i < slab->chunk_count * TR_OP_CHUNK; i++) {
        struct tr_op *op = &slab->chunks[i / TR_OP_CHUNK][i % TR_OP_CHUNK];
        if (op->state == FLIGHT && ck_pr_load_32(&op->cancel) == CANCEL_ASKED)
            cancel_now(op);
    }
}

void tr_op_cancel_all(struct tr_loop *loop)
{
    struct tr_op_slab *slab = &loop->slab;
    for (unsigned i = 0; i < slab->chunk_count * TR_OP_CHUNK; i++) {
        struct tr_op *op = &slab->chunks[i / TR_OP_CHUNK][i % TR_OP_CHUNK];
        if (!in_flight(op->state))
            continue;
        uint32_t cancel = ck_pr_load_32(&op->cancel);
        if (cancel == CANCEL_NONE)
            tr_op_cancel(op);
    }
}

/* Giving back. */

void tr_op_lend(struct tr_op *op, unsigned id, size_t length)
{
    TR_ASSERT(op->kind == TR_OP_RECV && op->buffer_owner == TR_OP_BUFFER_CALLER && !op->buffer);
    op->buffer = tr_bufring_lend(&op->home->buffers, id, length);
    op->buffer_id = (uint16_t)id;
    op->buffer_owner = TR_OP_BUFFER_LENT;
    tr_count(&op->home->stats.buffers_lent, 1);
}

bool tr_op_own_block(struct tr_op *op, size_t size)
{
    TR_ASSERT(op->kind == TR_OP_RECV && op->buffer_owner == TR_OP_BUFFER_CALLER && !op->buffer);
    op->buffer = malloc(size);
    if (!op->buffer)
        return false;
    op->buffer_owner = TR_OP_BUFFER_HEAP;
    op->length = size;
    return true;
}

static void put_now(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    release_buffer(op);
    ck_pr_store_32(&op->cancel, CANCEL_NONE);
    move(op, FREE);
    tr_uncount(&loop->stats.ops_in_use, 1);
    op->next = loop->slab.free;
    loop->slab.free = op;
}

void tr_op_put(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    if (tr_loop_is_current(loop) && ck_pr_load_32(&op->cancel) != CANCEL_POSTED) {
        put_now(op);
        return;
    }
    /* No wake: the owner needs its records and buffers no sooner than it runs out of them, and then it looks here. */
    ck_pr_inc_64(&loop->returned_ops);
    if (op->buffer_owner == TR_OP_BUFFER_LENT)
        ck_pr_inc_64(&loop->returned_buffers);
    ck_pr_fence_release();
    ck_stack_push_upmc(&loop->returns, &op->return_link);
}

void tr_op_put_arrived(struct tr_op *op)
{
    struct tr_loop *loop = op->home;
    TR_ASSERT(ck_pr_load_32(&op->cancel) != CANCEL_POSTED);
    ck_pr_dec_64(&loop->returned_ops);
    if (op->buffer_owner == TR_OP_BUFFER_LENT)
        ck_pr_dec_64(&loop->returned_buffers);
    put_now(op);
}

void tr_op_each_in_flight(struct tr_loop *loop, void (*fn)(void *arg, const struct tr_op *op), void *arg)
{
    const struct tr_op_slab *slab = &loop->slab;
    for (unsigned i = 0; i < slab->chunk_count * TR_OP_CHUNK; i++) {
        const struct tr_op *op = &slab->chunks[i / TR_OP_CHUNK][i % TR_OP_CHUNK];
        if (in_flight((enum state)op->state))
            fn(arg, op);
    }
}

const char *tr_op_kind_name(enum tr_op_kind kind)
{
    static const char *const names[TR_OP_KIND_COUNT] = {
        [TR_OP_ACCEPT] = "accept", [TR_OP_CONNECT] = "connect", [TR_OP_RECV] = "receive",    [TR_OP_SEND] = "send",
        [TR_OP_READ] = "read",     [TR_OP_WRITE] = "write",     [TR_OP_FDATASYNC] = "fsync", [TR_OP_POLL] = "poll",
    };
    return kind < TR_OP_KIND_COUNT ? names[kind] : "?";
}

void tr_op_slab_check(const struct tr_loop *loop)
{
    const struct tr_op_slab *slab = &loop->slab;
    uint64_t free_count = 0, flights = 0, total = slab->chunk_count * (uint64_t)TR_OP_CHUNK;
    for (const struct tr_op *op = slab->free; op; op = op->next) {
        TR_ASSERT(op->state == FREE && op->buffer_owner == TR_OP_BUFFER_CALLER);
        free_count++;
    }
    for (unsigned i = 0; i < total; i++)
        flights += in_flight(slab->chunks[i / TR_OP_CHUNK][i % TR_OP_CHUNK].state);
    TR_ASSERT(free_count + loop->stats.ops_in_use == total);
    TR_ASSERT(flights == loop->stats.ops_in_flight);
    tr_bufring_check(&loop->buffers);
}
