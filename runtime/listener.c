/* SPDX-License-Identifier: Apache-2.0 */
/* TCP listeners of actors: keeps a few accepts in flight, hands each new connection to the actor, pauses when file
 * descriptors run out. See port.h for ownership. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "io/loop.h"
#include "io/socket.h"
#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/port.h"

#define BACKLOG_DEFAULT 1024

static void accept_one(troupe_ctx *ctx, struct tr_port *port, unsigned i)
{
    struct tr_op *op = tr_op_get(ctx->loop, TR_OP_ACCEPT, tr_port_op_done);
    if (!op) {
        tr_port_retry_later(ctx, port);
        return;
    }
    op->fd = port->listener.fd;
    port->listener.ops[i] = op;
    tr_port_bind(op, port, NULL);
    tr_op_submit(op);
}

void tr_listener_retry(troupe_ctx *ctx, struct tr_port *port)
{
    for (unsigned i = 0; i < TR_LISTENER_ACCEPTS; i++)
        if (!port->listener.ops[i])
            accept_one(ctx, port, i);
}

int troupe_listen(troupe_ctx *ctx, const troupe_listen_options *options, troupe_listener *out)
{
    struct tr_port *port;
    int status = tr_port_open(ctx, TR_PORT_LISTENER, &port);
    if (status < 0)
        return status;
    port->listener = (struct tr_listener_port){.accepted = options->accepted};
    port->listener.fd = tr_socket_listen(options->host ? options->host : "127.0.0.1", options->port,
                                         options->backlog > 0 ? options->backlog : BACKLOG_DEFAULT);
    if (port->listener.fd < 0) {
        status = port->listener.fd;
        tr_port_begin_close(ctx, port);
        tr_port_free_if_done(ctx, port);
        return status;
    }
    *out = (troupe_listener){port, port->serial};
    tr_listener_retry(ctx, port);
    return 0;
}

static struct tr_port *find(troupe_ctx *ctx, troupe_listener listener)
{
    return tr_port_find(ctx, listener.ref, listener.generation, TR_PORT_LISTENER);
}

int troupe_listener_port(troupe_ctx *ctx, troupe_listener listener)
{
    struct tr_port *port = find(ctx, listener);
    return port ? tr_socket_port(port->listener.fd) : -EBADF;
}

int troupe_listener_close(troupe_ctx *ctx, troupe_listener listener)
{
    struct tr_port *port = find(ctx, listener);
    if (!port)
        return -EBADF;
    tr_listener_close(ctx, port);
    return 0;
}

/* The fd is closed when the last accept is back: until then its number must not be reused. */
static void close_if_quiet(troupe_ctx *ctx, struct tr_port *port)
{
    if (port->open || port->ops > 0)
        return;
    close(port->listener.fd);
    tr_port_free_if_done(ctx, port);
}

void tr_listener_close(troupe_ctx *ctx, struct tr_port *port)
{
    struct tr_listener_port *listener = &port->listener;
    if (!tr_port_begin_close(ctx, port))
        return;
    shutdown(listener->fd, SHUT_RDWR);
    for (unsigned i = 0; i < TR_LISTENER_ACCEPTS; i++)
        if (listener->ops[i])
            tr_op_cancel(listener->ops[i]);
    close_if_quiet(ctx, port);
}

int troupe_accepted_take(troupe_ctx *ctx, const troupe_msg *msg)
{
    (void)msg;
    int fd = ctx->accepted_fd;
    ctx->accepted_fd = -1;
    return fd >= 0 ? fd : -EBADF;
}

static void announce(troupe_ctx *ctx, struct tr_port *port, const struct tr_op *op)
{
    troupe_accepted accepted = {.listener = {port, port->serial}, .fd = op->res};
    tr_socket_name((const struct sockaddr *)&op->addr, accepted.peer, sizeof accepted.peer);
    ctx->accepted_fd = op->res;
    tr_actor_event(ctx, port->listener.accepted, &accepted, sizeof accepted);
}

/* Out of descriptors or memory: trying again at once would spin. */
static bool wants_pause(int res)
{
    return res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM;
}

/* Once, until something is accepted again. */
static void complain(troupe_ctx *ctx, struct tr_port *port, int res)
{
    if (port->listener.complained)
        return;
    port->listener.complained = true;
    tr_log_line(&ctx->rt->log, TROUPE_LOG_WARN, "accept",
                "%s#%u cannot accept: %s; connections wait in the backlog, tried again every 100 ms",
                ctx->cell->behavior->name, ctx->cell->index, troupe_strerror(res));
}

void tr_listener_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op)
{
    for (unsigned i = 0; i < TR_LISTENER_ACCEPTS; i++)
        if (port->listener.ops[i] == op) {
            port->listener.ops[i] = NULL;
            if (port->open && !wants_pause(op->res))
                accept_one(ctx, port, i);
        }
    ctx->event_op = op;
    ctx->accepted_fd = op->res >= 0 ? op->res : -1;
    if (!port->open) {
        close_if_quiet(ctx, port);
    } else if (op->res >= 0) {
        port->listener.complained = false;
        announce(ctx, port, op);
    } else if (wants_pause(op->res)) {
        complain(ctx, port, op->res);
        tr_port_retry_later(ctx, port);
    }
    tr_port_event_done(ctx);
}
