/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of actors: turns the completions of io/stream.h into messages. See port.h for ownership. */
#include "io/stream.h"

#include <errno.h>

#include "io/socket.h"
#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "runtime/port.h"

static void bind_op(struct tr_op *op, void *port)
{
    tr_port_bind(op, port, NULL);
}

int troupe_take_fd(troupe_ctx *ctx)
{
    int fd = ctx->cell->gift_fd;
    if (fd < 0)
        return -EBADF;
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (!inc)
        return -ENOMEM;
    ctx->cell->gift_fd = -1;
    inc->taken_fd = fd;
    return fd;
}

bool troupe_disown_fd(troupe_ctx *ctx, int fd)
{
    return tr_incarnation_fd_gone(ctx, fd);
}

int troupe_stream_adopt(troupe_ctx *ctx, int fd, const troupe_stream_options *options, troupe_stream *out)
{
    if (fd < 0)
        return -EBADF;
    struct tr_port *port;
    int status = tr_port_open(ctx, TR_PORT_STREAM, &port);
    if (status < 0)
        return status;
    tr_incarnation_fd_gone(ctx, fd);
    struct tr_stream_port *sp = &port->stream;
    sp->options = *options;
    sp->cancelled = false;
    tr_stream_init(&sp->stream, fd, tr_port_op_done, tr_port_op_done, options->high_water, options->low_water);
    sp->stream.bind = bind_op;
    sp->stream.bind_arg = port;
    tr_socket_nodelay(fd); /* output leaves once per activation, so Nagle's delay gains nothing; fails on AF_UNIX */
    *out = (troupe_stream){port, port->serial};
    return 0;
}

static struct tr_port *find(troupe_ctx *ctx, troupe_stream stream)
{
    return tr_port_find(ctx, stream.ref, stream.generation, TR_PORT_STREAM);
}

int troupe_stream_read(troupe_ctx *ctx, troupe_stream stream, size_t max)
{
    struct tr_port *port = find(ctx, stream);
    return port ? tr_stream_receive(&port->stream.stream, ctx->loop, max) : -EBADF;
}

int troupe_stream_write(troupe_ctx *ctx, troupe_stream stream, const void *bytes, size_t length)
{
    struct tr_port *port = find(ctx, stream);
    if (!port)
        return -EBADF;
    tr_port_dirty(ctx, port);
    return tr_stream_write(&port->stream.stream, ctx->loop, bytes, length);
}

int troupe_stream_write_owned(troupe_ctx *ctx, troupe_stream stream, const void *bytes, size_t length,
                              void (*release)(void *arg), void *arg)
{
    struct tr_port *port = find(ctx, stream);
    if (!port)
        return -EBADF;
    tr_port_dirty(ctx, port);
    return tr_stream_write_owned(&port->stream.stream, ctx->loop, bytes, length, release, arg);
}

size_t troupe_stream_pending(troupe_ctx *ctx, troupe_stream stream)
{
    struct tr_port *port = find(ctx, stream);
    return port ? port->stream.stream.out_bytes : 0;
}

static void begin_close(troupe_ctx *ctx, struct tr_port *port, bool drain)
{
    if (tr_port_begin_close(ctx, port))
        tr_stream_close(&port->stream.stream, ctx->loop, drain);
}

int troupe_stream_close(troupe_ctx *ctx, troupe_stream stream, bool drain)
{
    struct tr_port *port = find(ctx, stream);
    if (!port)
        return -EBADF;
    /* A stream that closes at once must not call the actor back in the middle of its call, so even then the rest
     * happens in the flush that ends the activation. */
    begin_close(ctx, port, drain);
    tr_port_dirty(ctx, port);
    return 0;
}

/* The stream may have become CLOSED: says so to the actor that closed it, if it still is that one, and frees the
 * port. */
static void settle(troupe_ctx *ctx, struct tr_port *port)
{
    struct tr_stream_port *sp = &port->stream;
    if (port->open || port->dirty || !tr_stream_closed(&sp->stream) || port->ops > 0)
        return;
    bool tell = sp->options.wants_closed;
    unsigned kind = sp->options.closed;
    troupe_closed closed = {.stream = {port, port->serial}, .status = sp->cancelled ? -ECANCELED : 0};
    tr_port_free_if_done(ctx, port);
    if (tell)
        tr_actor_event(ctx, kind, &closed, sizeof closed);
}

void tr_stream_port_close(troupe_ctx *ctx, struct tr_port *port)
{
    begin_close(ctx, port, false);
    settle(ctx, port);
}

void tr_stream_port_abort(troupe_ctx *ctx, struct tr_port *port)
{
    tr_stream_close(&port->stream.stream, ctx->loop, false);
    settle(ctx, port);
}

void tr_stream_port_flush(troupe_ctx *ctx, struct tr_port *port)
{
    if (tr_stream_flush(&port->stream.stream, ctx->loop) < 0)
        tr_port_retry_later(ctx, port);
    settle(ctx, port);
}

static void received(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op)
{
    void *bytes = NULL;
    ssize_t n = tr_stream_receive_done(&port->stream.stream, op, &bytes);
    ctx->event_op = op;
    if (port->open) {
        troupe_data data = {
            .stream = {port, port->serial},
            .bytes = bytes,
            .length = n > 0 ? (size_t)n : 0,
            .status = n < 0 ? (int)n : 0,
        };
        tr_actor_event(ctx, port->stream.options.data, &data, sizeof data);
    }
    tr_port_event_done(ctx);
}

static void sent(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op)
{
    bool drained = tr_stream_send_done(&port->stream.stream, ctx->loop, op);
    if (drained && port->open && port->stream.options.wants_drained) {
        troupe_stream stream = {port, port->serial};
        tr_actor_event(ctx, port->stream.options.drained, &stream, sizeof stream);
    }
}

void tr_stream_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op)
{
    uint64_t serial = port->serial;
    if (op == port->stream.stream.recv_op)
        received(ctx, port, op);
    else
        sent(ctx, port, op);
    if (port->serial == serial)
        settle(ctx, port);
}
