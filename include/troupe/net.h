/* SPDX-License-Identifier: Apache-2.0 */
/* TCP for actors: listeners and streams. A port belongs to the incarnation that opened it and is closed with it,
 * without sending what is queued unless troupe_stream_close had asked for that; events arrive as messages of the kinds
 * that the actor chose, ahead of what waits in its mailbox. Outgoing connections are not there yet.
 * The verbs are for the actor that runs at the moment, on its own ports; any other use answers -EBADF. */
#ifndef TROUPE_NET_H
#define TROUPE_NET_H

#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct troupe_listener {
    void *ref;
    uint64_t generation;
} troupe_listener;

typedef struct troupe_stream {
    void *ref;
    uint64_t generation;
} troupe_stream;

typedef struct troupe_listen_options {
    const char *host;  /* numeric address or "localhost"; NULL: 127.0.0.1 */
    uint16_t port;     /* 0: chosen by the kernel, see troupe_listener_port */
    int backlog;       /* 0: 1024 */
    unsigned accepted; /* the kind of message a new connection arrives as: payload troupe_accepted */
} troupe_listen_options;

/* A new connection. fd is the runtime's and closed when the handler returns, unless troupe_accepted_take took it. */
typedef struct troupe_accepted {
    troupe_listener listener;
    int fd;
    char peer[56]; /* "192.0.2.7:4711" */
} troupe_accepted;

/* Starts to listen. Returns 0, or -errno (-EADDRINUSE, -EACCES, -EINVAL: host is not numeric, -ENOMEM, …). When file
 * descriptors run out, accepting pauses and is tried again every 100 ms; connections wait in the backlog. */
TROUPE_API int troupe_listen(troupe_ctx *ctx, const troupe_listen_options *options, troupe_listener *listener);
TROUPE_API int troupe_listener_port(troupe_ctx *ctx, troupe_listener listener); /* or -EBADF */
/* Accepts no more; connections that wait in the backlog are refused. Returns 0 or -EBADF. */
TROUPE_API int troupe_listener_close(troupe_ctx *ctx, troupe_listener listener);
/* Takes the fd out of the accepted message that is being handled: now it is the caller's, usually to be given on with
 * troupe_spawn_options.fd. Returns it, or -EBADF when it was taken already. */
TROUPE_API int troupe_accepted_take(troupe_ctx *ctx, const troupe_msg *msg);

typedef struct troupe_stream_options {
    unsigned data;    /* kind of message for received bytes and for the end of input: payload troupe_data */
    unsigned drained; /* kind: output fell below low_water after it had passed high_water; payload troupe_stream */
    unsigned closed;  /* kind: the stream is closed, see troupe_closed, its payload */
    bool wants_drained, wants_closed; /* false: these events are not sent */
    size_t high_water, low_water;     /* bytes of queued output, low <= high; 0: 1 MiB and 256 KiB */
} troupe_stream_options;

/* Bytes from the peer, lent until the handler returns. length 0: no more will come, and status says why: 0 the peer
 * ended its side in order, or -errno. The stream then still takes output, until it is closed. */
typedef struct troupe_data {
    troupe_stream stream;
    const void *bytes;
    size_t length;
    int status;
} troupe_data;

/* The stream's last event: nothing of it is in flight any more, its handle is dead. */
typedef struct troupe_closed {
    troupe_stream stream;
    int status; /* 0: by troupe_stream_close; -ECANCELED: its token was cancelled (token.h), output was dropped */
} troupe_closed;

/* Makes a stream of a connected, blocking stream socket; from success on fd is the stream's, before that the caller's.
 * Returns 0, -EBADF (fd is below 0), -ENOMEM or -ECANCELED (token.h). */
TROUPE_API int troupe_stream_adopt(troupe_ctx *ctx, int fd, const troupe_stream_options *options,
                                   troupe_stream *stream);
/* The fd that troupe_spawn_options gave to this actor, once. It is the incarnation's, which closes it when it ends,
 * until troupe_stream_adopt makes it a stream's, or a spawn a child's, or troupe_disown_fd the caller's: not to be
 * closed before.
 * -EBADF when there is none left, as in a second incarnation; -ENOMEM: it is still there, try again (not in
 * `crashed`). */
TROUPE_API int troupe_take_fd(troupe_ctx *ctx);
/* Makes the fd that troupe_take_fd returned the caller's, to close. False: it is not the incarnation's any more. */
TROUPE_API bool troupe_disown_fd(troupe_ctx *ctx, int fd);

/* Grants one delivery: exactly one troupe_data message will come, unless the stream is closed before, with at most max
 * bytes (0: what one receive buffer holds, 16 KiB; above 1 MiB: 1 MiB). Nothing is read without a grant, so a slow
 * actor slows its peer down. Memory for a small max is taken only when bytes arrive. Returns 0; -EALREADY one is
 * granted; -EPIPE input has ended; -EBADF; -EAGAIN too many operations in flight, try later. */
TROUPE_API int troupe_stream_read(troupe_ctx *ctx, troupe_stream stream, size_t max);
/* Queues a copy of bytes, sent in order when the handler's batch ends. Returns 0; -EPIPE the connection is broken;
 * -ENOMEM: nothing queued; -EBADF. It never refuses for length: watch troupe_stream_pending, and stop at high_water, as
 * `drained` comes only after that was passed. */
TROUPE_API int troupe_stream_write(troupe_ctx *ctx, troupe_stream stream, const void *bytes, size_t length);
/* The same without a copy: release(arg) is called once, on any worker and perhaps before this returns, when the bytes
 * are sent or dropped. On a status below 0 it is not called. */
TROUPE_API int troupe_stream_write_owned(troupe_ctx *ctx, troupe_stream stream, const void *bytes, size_t length,
                                         void (*release)(void *arg), void *arg);
/* Queued output that the kernel has not taken yet, bytes; 0 for a stream that is gone. */
TROUPE_API size_t troupe_stream_pending(troupe_ctx *ctx, troupe_stream stream);
/* Closes; the handle is dead from now on. drain: queued output is sent first; otherwise it is dropped. Draining goes on
 * while the actor stops in order, for at most 500 ms; a crash ends it. Returns 0 or -EBADF. */
TROUPE_API int troupe_stream_close(troupe_ctx *ctx, troupe_stream stream, bool drain);

#ifdef __cplusplus
}
#endif

#endif
