/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/port.h"

#include <errno.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/offload.h"
#include "runtime/timer.h"
#include "sched/base/assert.h"

#define RETRY_NS TROUPE_MS(100)

_Static_assert(offsetof(struct tr_port, serial) >= sizeof(struct tr_block), "the serial survives the free list");
_Static_assert(sizeof(struct tr_op_tag) <= TR_OP_USER_SIZE, "the tag lives in the op");

/* A file outlives its token, only its requests end with it. */
static int begin_under(troupe_ctx *ctx, enum tr_port_kind kind, struct tr_port *port)
{
    if (kind != TR_PORT_FILE)
        return tr_hook_under(ctx, TR_HOOK_PORT, port, &port->hook);
    port->hook = NULL;
    return tr_hook_forbidden(ctx) ? -ECANCELED : 0;
}

int tr_port_open(troupe_ctx *ctx, enum tr_port_kind kind, struct tr_port **out)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    struct tr_port *port = inc ? tr_ctx_alloc(ctx, TR_CLASS_PORT) : NULL;
    if (!port)
        return -ENOMEM;
    int status = begin_under(ctx, kind, port);
    if (status < 0) {
        tr_ctx_free(ctx, TR_CLASS_PORT, port);
        return status;
    }
    port->kind = kind;
    port->open = true;
    port->dirty = false;
    port->ops = 0;
    port->retry = NULL;
    ck_pr_store_ptr(&port->cell, ctx->cell);
    tr_list_push_back(&inc->ports, &port->link);
    ctx->cell->ports++;
    *out = port;
    return 0;
}

struct tr_port *tr_port_find(troupe_ctx *ctx, void *ref, uint64_t generation, enum tr_port_kind kind)
{
    struct tr_port *port = ref;
    if (!port || ck_pr_load_64(&port->serial) != generation)
        return NULL;
    if (ck_pr_load_ptr(&port->cell) != ctx->cell) /* a stale handle: the record may be somebody else's at this moment */
        return NULL;
    return port->open && port->kind == kind ? port : NULL;
}

void tr_port_bind(struct tr_op *op, struct tr_port *port, struct tr_file_request *request)
{
    *tr_op_tag(op) = (struct tr_op_tag){.signal = {.kind = TR_SIGNAL_OP}, .op = op, .port = port, .request = request};
    port->ops++;
}

/* On the op's home worker, which need not be the one that runs the actor: touches nothing of the port but its cell,
 * which cannot change while an op is out. */
void tr_port_op_done(struct tr_op *op)
{
    struct tr_op_tag *tag = tr_op_tag(op);
    struct tr_cell *cell = tag->port->cell;
    enum tr_push push = tr_mailbox_signal(cell, &tag->signal);
    TR_ASSERT(push != TR_PUSH_CLOSED);
    if (push == TR_PUSH_WAKE)
        tr_worker_requeue(tr_worker_self(), &cell->runnable);
}

bool tr_port_begin_close(troupe_ctx *ctx, struct tr_port *port)
{
    if (!port->open)
        return false;
    port->open = false;
    tr_hook_drop(ctx, &port->hook);
    tr_list_remove(&port->link);
    tr_list_push_back(&ctx->cell->incarnation->closing, &port->link);
    if (port->retry) {
        tr_list_remove(&port->retry->link);
        tr_alarm_cancel(ctx, &port->retry->alarm); /* if it has fired, tr_port_retry finds it unlinked */
        port->retry = NULL;
    }
    return true;
}

void tr_port_free_if_done(troupe_ctx *ctx, struct tr_port *port)
{
    if (port->open || port->ops > 0 || port->dirty)
        return;
    port->cell->ports--;
    tr_list_remove(&port->link);
    ck_pr_store_64(&port->serial, port->serial + 1);
    tr_ctx_free(ctx, TR_CLASS_PORT, port);
}

void tr_port_dirty(troupe_ctx *ctx, struct tr_port *port)
{
    if (port->dirty)
        return;
    port->dirty = true;
    port->dirty_next = ctx->dirty;
    ctx->dirty = port;
    ctx->untidy = true;
}

void tr_port_flush_dirty(troupe_ctx *ctx)
{
    while (ctx->dirty) {
        struct tr_port *port = ctx->dirty;
        ctx->dirty = port->dirty_next;
        port->dirty = false;
        tr_stream_port_flush(ctx, port);
    }
}

/* Out of memory for the timer: tried again with the port's next completion or call, if one comes. */
void tr_port_retry_later(troupe_ctx *ctx, struct tr_port *port)
{
    if (port->retry)
        return;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return;
    record->port = port;
    port->retry = record;
    tr_list_push_back(&ctx->cell->incarnation->timers, &record->link);
    tr_alarm_arm(ctx, &record->alarm, TR_SIGNAL_RETRY, tr_loop_clock() + RETRY_NS);
}

void tr_port_retry(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_timer_record *record = TR_CONTAINER_OF(alarm, struct tr_timer_record, alarm);
    struct tr_port *port = tr_list_empty(&record->link) ? NULL : record->port;
    tr_list_remove(&record->link);
    tr_alarm_free(ctx, alarm);
    if (!port)
        return;
    port->retry = NULL;
    switch (port->kind) {
    case TR_PORT_LISTENER:
        tr_listener_retry(ctx, port);
        break;
    case TR_PORT_STREAM:
        tr_port_dirty(ctx, port);
        break;
    case TR_PORT_FILE:
        break;
    }
}

void tr_port_dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    struct tr_op_tag *tag = TR_CONTAINER_OF(signal, struct tr_op_tag, signal);
    struct tr_port *port = tag->port;
    TR_ASSERT(port->ops > 0);
    port->ops--;
    switch (port->kind) {
    case TR_PORT_LISTENER:
        tr_listener_op(ctx, port, tag->op);
        break;
    case TR_PORT_STREAM:
        tr_stream_op(ctx, port, tag->op);
        break;
    case TR_PORT_FILE:
        tr_file_op(ctx, port, tag->op);
        break;
    }
}

void tr_port_event_done(troupe_ctx *ctx)
{
    if (ctx->accepted_fd >= 0)
        close(ctx->accepted_fd);
    ctx->accepted_fd = -1;
    if (ctx->event_op)
        tr_op_put(ctx->event_op);
    ctx->event_op = NULL;
    tr_file_event_done(ctx);
    tr_offload_event_done(ctx);
}

void tr_port_close_all(troupe_ctx *ctx, struct tr_list *ports)
{
    struct tr_list *link;
    while ((link = tr_list_first(ports))) {
        struct tr_port *port = TR_CONTAINER_OF(link, struct tr_port, link);
        switch (port->kind) {
        case TR_PORT_LISTENER:
            tr_listener_close(ctx, port);
            break;
        case TR_PORT_STREAM:
            tr_stream_port_close(ctx, port);
            break;
        case TR_PORT_FILE:
            tr_file_port_close(ctx, port);
            break;
        }
    }
}

void tr_port_cancelled(troupe_ctx *ctx, struct tr_port *port)
{
    port->hook = NULL;
    switch (port->kind) {
    case TR_PORT_LISTENER:
        tr_listener_close(ctx, port);
        return;
    case TR_PORT_STREAM:
        port->stream.cancelled = true;
        tr_stream_port_close(ctx, port);
        return;
    case TR_PORT_FILE:
        break;
    }
    TR_ASSERT(!"a file has no token");
}

bool tr_port_draining(const struct tr_list *closing)
{
    for (const struct tr_list *link = closing->next; link != closing; link = link->next) {
        const struct tr_port *port = TR_CONTAINER_OF(link, struct tr_port, link);
        if (port->kind == TR_PORT_STREAM && port->stream.stream.state == TR_STREAM_DRAINING)
            return true;
    }
    return false;
}

void tr_port_abort_all(troupe_ctx *ctx, struct tr_list *closing)
{
    for (struct tr_list *link = closing->next, *next; link != closing; link = next) {
        next = link->next; /* the port may be gone at once */
        struct tr_port *port = TR_CONTAINER_OF(link, struct tr_port, link);
        if (port->kind == TR_PORT_STREAM)
            tr_stream_port_abort(ctx, port);
    }
}
