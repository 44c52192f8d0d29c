/* SPDX-License-Identifier: Apache-2.0 */
#include "io/selftest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/loop_state.h"

#define PATIENCE_NS UINT64_C(1000000000) /* for an answer that is due at once */
#define TIMEOUT_NS UINT64_C(20000)

static const char text[] = "troupe";

static void mark_done(struct tr_op *op)
{
    memset(op->user, 1, 1);
}

static bool is_done(const struct tr_op *op)
{
    return op->user[0] != 0;
}

static struct tr_op *receive(struct tr_loop *loop, int fd)
{
    struct tr_op *op = tr_op_get(loop, TR_OP_RECV, mark_done);
    if (op) {
        op->fd = fd;
        op->user[0] = 0;
        tr_op_submit(op);
    }
    return op;
}

static bool await(struct tr_loop *loop, const struct tr_hooks *hooks, const struct tr_op *op)
{
    uint64_t until = tr_loop_clock() + PATIENCE_NS;
    while (!is_done(op) && tr_loop_clock() < until)
        hooks->wait(loop, PATIENCE_NS);
    return is_done(op);
}

static int try_receive(struct tr_loop *loop, const struct tr_hooks *hooks, const int fds[2])
{
    struct tr_op *op = receive(loop, fds[0]);
    if (!op)
        return -ENOMEM;
    hooks->poll(loop); /* it is armed before there is data */
    if (write(fds[1], text, sizeof text) != (ssize_t)sizeof text || !await(loop, hooks, op))
        return -ENOTSUP;
    bool good = op->res == (int)sizeof text && op->buffer && memcmp(op->buffer, text, sizeof text) == 0;
    int error = op->res < 0 ? op->res : -ENOTSUP;
    tr_op_put(op);
    return good ? 0 : error;
}

static int try_cancel(struct tr_loop *loop, const struct tr_hooks *hooks, const int fds[2])
{
    struct tr_op *op = receive(loop, fds[0]);
    if (!op)
        return -ENOMEM;
    hooks->poll(loop);
    tr_op_cancel(op);
    if (!await(loop, hooks, op))
        return -ENOTSUP;
    int res = op->res;
    tr_op_put(op);
    return res == -ECANCELED || res == -EINTR ? 0 : -ENOTSUP;
}

static int try_timeout(struct tr_loop *loop, const struct tr_hooks *hooks)
{
    uint64_t start = tr_loop_clock();
    for (int tries = 0; tr_loop_clock() - start < TIMEOUT_NS; tries++) {
        if (tries == 1000)
            return -ENOTSUP; /* it does not sleep */
        hooks->wait(loop, TIMEOUT_NS);
    }
    return 0;
}

static int try_all(struct tr_io *io, const struct tr_hooks *hooks)
{
    void *loop;
    int fds[2];
    int error = hooks->attach(hooks->arg, NULL, &loop);
    if (error)
        return error;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) {
        error = try_receive(loop, hooks, fds);
        if (!error)
            error = try_cancel(loop, hooks, fds);
        if (!error)
            error = try_timeout(loop, hooks);
        close(fds[1]);
        close(fds[0]);
    } else {
        error = -errno;
    }
    io->backend->describe(loop, io->describe, sizeof io->describe);
    hooks->detach(loop);
    return error;
}

int tr_io_selftest(struct tr_io *io, const struct tr_hooks *hooks)
{
    int error = try_all(io, hooks);
    if (error != -ENOTSUP && error != -EINVAL)
        return error;
    /* The rings of buffers are the youngest feature in use: perhaps the rest works. */
    io->options.without |= TR_IO_WITHOUT_BUFFER_RING;
    return try_all(io, hooks);
}
