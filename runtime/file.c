/* SPDX-License-Identifier: Apache-2.0 */
/* Files of actors: requests, their order, their results. See port.h for ownership. */
#include <troupe/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/hook.h"
#include "runtime/port.h"

#define READ_MAX ((size_t)16 << 20)
#define WRITE_MAX ((size_t)1 << 30) /* of one op: the kernel takes less than 2 GiB at once */

/* One read, write or sync. Owns the buffer that the kernel uses. */
struct tr_file_request {
    struct tr_file_request *next; /* writes wait in line */
    struct tr_token_hook *hook;   /* NULL: it was not begun under a token */
    struct tr_op *op;             /* in flight; else NULL */
    enum tr_op_kind kind;
    bool cancelled;
    uint64_t offset, tag;
    size_t length, done;
    char *bytes;
    void (*release)(void *arg); /* NULL: bytes are inline behind the request */
    void *arg;
    char inline_bytes[];
};

static void request_free(troupe_ctx *ctx, struct tr_file_request *request)
{
    tr_hook_drop(ctx, &request->hook);
    if (request->release)
        request->release(request->arg);
    free(request);
}

/* Begun under the running actor's token, if there is one. 0, -ENOMEM, -ECANCELED. */
static int request_new(troupe_ctx *ctx, enum tr_op_kind kind, uint64_t offset, size_t length, size_t inline_size,
                       uint64_t tag, struct tr_file_request **out)
{
    struct tr_file_request *request = malloc(sizeof *request + inline_size);
    if (!request)
        return -ENOMEM;
    *request = (struct tr_file_request){
        .kind = kind, .offset = offset, .tag = tag, .length = length, .bytes = request->inline_bytes};
    int status = tr_hook_under(ctx, TR_HOOK_REQUEST, request, &request->hook);
    if (status < 0)
        free(request);
    else
        *out = request;
    return status;
}

static bool is_cancelled(const struct tr_file_request *request)
{
    return request->cancelled || (request->hook && tr_hook_cancelled(request->hook));
}

/* A write in flight goes on, one in line sees it when its turn comes. */
void tr_file_cancelled(struct tr_file_request *request)
{
    request->hook = NULL;
    request->cancelled = true;
    if (request->op && request->kind != TR_OP_WRITE)
        tr_op_cancel(request->op);
}

/* Submits what is left of a request on this worker's loop. -EAGAIN: no op to be had. */
static int submit(troupe_ctx *ctx, struct tr_port *port, struct tr_file_request *request)
{
    struct tr_op *op = tr_op_get(ctx->loop, request->kind, tr_port_op_done);
    if (!op)
        return -EAGAIN;
    size_t left = request->length - request->done;
    op->fd = port->file.fd;
    op->offset = request->offset + request->done;
    if (request->kind == TR_OP_WRITE) {
        op->iov[0] = (struct iovec){request->bytes + request->done, left < WRITE_MAX ? left : WRITE_MAX};
        op->iov_count = 1;
    } else if (request->kind == TR_OP_READ) {
        op->buffer = request->bytes + request->done;
        op->length = left;
    }
    request->op = op;
    tr_port_bind(op, port, request);
    tr_op_submit(op);
    return 0;
}

int troupe_file_open(troupe_ctx *ctx, const char *path, int flags, unsigned mode, unsigned done_kind, troupe_file *out)
{
    struct tr_port *port;
    int status = tr_port_open(ctx, TR_PORT_FILE, &port);
    if (status < 0)
        return status;
    int fd = open(path, flags | O_CLOEXEC, mode);
    port->file = (struct tr_file_port){.fd = fd, .done_kind = done_kind};
    if (fd < 0) {
        status = -errno;
        tr_port_begin_close(ctx, port);
        tr_port_free_if_done(ctx, port);
        return status;
    }
    *out = (troupe_file){port, port->serial};
    return 0;
}

static struct tr_port *find(troupe_ctx *ctx, troupe_file file)
{
    return tr_port_find(ctx, file.ref, file.generation, TR_PORT_FILE);
}

int64_t troupe_file_size(troupe_ctx *ctx, troupe_file file)
{
    struct tr_port *port = find(ctx, file);
    struct stat st;
    if (!port)
        return -EBADF;
    return fstat(port->file.fd, &st) < 0 ? -errno : st.st_size;
}

int troupe_file_truncate(troupe_ctx *ctx, troupe_file file, uint64_t size)
{
    struct tr_port *port = find(ctx, file);
    if (!port)
        return -EBADF;
    if (port->file.writes)
        return -EBUSY;
    return ftruncate(port->file.fd, (off_t)size) < 0 ? -errno : 0;
}

static int start(troupe_ctx *ctx, struct tr_port *port, enum tr_op_kind kind, uint64_t offset, size_t length,
                 uint64_t tag)
{
    struct tr_file_request *request;
    int status = request_new(ctx, kind, offset, length, length, tag, &request);
    if (status < 0)
        return status;
    status = submit(ctx, port, request);
    if (status < 0)
        request_free(ctx, request);
    return status;
}

int troupe_file_read(troupe_ctx *ctx, troupe_file file, uint64_t offset, size_t length, uint64_t tag)
{
    struct tr_port *port = find(ctx, file);
    if (!port)
        return -EBADF;
    if (length == 0 || length > READ_MAX)
        return -EINVAL;
    return start(ctx, port, TR_OP_READ, offset, length, tag);
}

int troupe_file_sync(troupe_ctx *ctx, troupe_file file, uint64_t tag)
{
    struct tr_port *port = find(ctx, file);
    if (!port)
        return -EBADF;
    return port->file.failed ? -EIO : start(ctx, port, TR_OP_FDATASYNC, 0, 0, tag);
}

int troupe_file_write(troupe_ctx *ctx, troupe_file file, uint64_t offset, const void *bytes, size_t length,
                      void (*release)(void *arg), void *arg, uint64_t tag)
{
    struct tr_port *port = find(ctx, file);
    if (!port)
        return -EBADF;
    if (port->file.failed)
        return -EIO;
    struct tr_file_request *request;
    int status = request_new(ctx, TR_OP_WRITE, offset, length, release ? 0 : length, tag, &request);
    if (status < 0)
        return status;
    if (release)
        request->bytes = (char *)(uintptr_t)bytes;
    else
        memcpy(request->bytes, bytes, length);
    struct tr_file_port *fp = &port->file;
    if (!fp->writes) {
        status = submit(ctx, port, request);
        if (status < 0) {
            request_free(ctx, request);
            return status;
        }
        fp->writing = true;
        fp->writes = request;
    } else {
        fp->writes_tail->next = request;
    }
    fp->writes_tail = request;
    request->release = release;
    request->arg = arg;
    return 0;
}

int troupe_file_close(troupe_ctx *ctx, troupe_file file)
{
    struct tr_port *port = find(ctx, file);
    if (!port)
        return -EBADF;
    tr_file_port_close(ctx, port);
    return 0;
}

/* The next in line, if none is in flight: false when it cannot be started for want of an op, or must not be. */
static bool write_next(troupe_ctx *ctx, struct tr_port *port)
{
    struct tr_file_port *fp = &port->file;
    if (fp->writes && !fp->writing && !fp->skipping && !is_cancelled(fp->writes))
        fp->writing = submit(ctx, port, fp->writes) == 0;
    return fp->writing || !fp->writes;
}

static struct tr_file_request *pop_write(struct tr_port *port)
{
    struct tr_file_port *fp = &port->file;
    struct tr_file_request *first = fp->writes;
    fp->writes = first->next;
    fp->skipping = fp->skipping && fp->writes;
    return first;
}

static void close_if_quiet(troupe_ctx *ctx, struct tr_port *port)
{
    if (port->open)
        return;
    if (!write_next(ctx, port))
        while (port->file.writes)
            request_free(ctx, pop_write(port));
    if (port->ops > 0)
        return;
    close(port->file.fd);
    tr_port_free_if_done(ctx, port);
}

/* What is in flight is waited for, not cancelled: a write that has begun is better complete. Writes in line go out
 * too. */
void tr_file_port_close(troupe_ctx *ctx, struct tr_port *port)
{
    if (tr_port_begin_close(ctx, port))
        close_if_quiet(ctx, port);
}

/* Tells the actor, if the file is still open, and frees the request: also when the handler panics. */
static void deliver(troupe_ctx *ctx, struct tr_port *port, struct tr_file_request *request, int status)
{
    ctx->event_request = request;
    troupe_file_done done = {
        .file = {port, port->serial},
        .tag = request->tag,
        .status = status,
        .length = request->done,
        .bytes = request->kind == TR_OP_READ ? request->bytes : NULL,
    };
    if (port->open)
        tr_actor_event(ctx, port->file.done_kind, &done, sizeof done);
    tr_file_event_done(ctx);
}

void tr_file_event_done(troupe_ctx *ctx)
{
    if (ctx->event_request)
        request_free(ctx, ctx->event_request);
    ctx->event_request = NULL;
}

/* Takes an op's result into its request. Returns 1 when the request goes on, else its status (0 or -errno). */
static int account(troupe_ctx *ctx, struct tr_port *port, struct tr_file_request *request, int res)
{
    if (request->kind == TR_OP_READ && is_cancelled(request)) {
        request->done = 0;
        return -ECANCELED;
    }
    if (res < 0)
        return res;
    request->done += (size_t)res;
    bool more = request->kind != TR_OP_FDATASYNC && request->done < request->length;
    if (!more || res == 0)
        return more && request->kind == TR_OP_WRITE ? -EIO : 0;
    int status = submit(ctx, port, request);
    return status < 0 ? status : 1;
}

void tr_file_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op)
{
    struct tr_file_request *request = tr_op_tag(op)->request;
    int res = op->res;
    request->op = NULL;
    tr_op_put(op);
    int status = account(ctx, port, request, res);
    if (status == 1)
        return;
    bool not_made = status == -ECANCELED && is_cancelled(request);
    if (request->kind == TR_OP_FDATASYNC && status < 0 && !not_made)
        port->file.failed = true;
    uint64_t serial = port->serial;
    if (request->kind == TR_OP_WRITE) {
        pop_write(port);
        port->file.writing = false;
        port->file.skipping = status < 0 && port->file.writes;
        write_next(ctx, port); /* before the handler, which may take its time */
    }
    deliver(ctx, port, request, status);
    /* Those that cannot be started fail in their turn. The handler may have closed the file, and with it the port. */
    while (port->serial == serial && port->open && !write_next(ctx, port)) {
        int why = port->file.skipping || is_cancelled(port->file.writes) ? -ECANCELED : -EAGAIN;
        struct tr_file_request *next = pop_write(port);
        port->file.skipping = port->file.writes != NULL;
        deliver(ctx, port, next, why);
    }
    if (port->serial == serial)
        close_if_quiet(ctx, port);
}
