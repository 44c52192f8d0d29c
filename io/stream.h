/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream over a connected socket: one receive and one send in flight, a bounded-by-signal write queue, an
 * orderly close. Owns the fd, the queued output and the two ops; its user (an actor's port) owns the struct.
 * All calls on one stream must be serialised by its user, but may come from different workers over time: `loop` is
 * always the calling worker's. It is not a protocol and knows no framing. */
#ifndef TR_IO_STREAM_H
#define TR_IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"

struct tr_chunk; /* a piece of output: copied small writes share one, a moved buffer is one of its own */

enum tr_stream_state {
    TR_STREAM_OPEN,
    TR_STREAM_DRAINING, /* close asked for: output still goes out, no more input */
    TR_STREAM_CLOSING,  /* shut down and cancelled; waits until nothing is in flight */
    TR_STREAM_CLOSED,   /* fd closed, ops put, output freed */
    TR_STREAM_STATE_COUNT
};

struct tr_stream {
    int fd;
    enum tr_stream_state state;
    bool end_of_input;               /* the peer sent its FIN, or an error ended input */
    bool aborted;                    /* closed with output or the connection lost: no lingering */
    int error;                       /* first -errno of the stream, 0 if none */
    struct tr_op *recv_op, *send_op; /* in flight, or completed and not yet handed to tr_stream_*_done */
    struct tr_chunk *out_head, *out_tail;
    size_t out_bytes;                          /* queued and not yet accepted by the kernel */
    size_t high, low;                          /* water marks, bytes */
    bool above_high;                           /* set when out_bytes passed high; cleared below low */
    uint64_t received, sent;                   /* bytes over its life */
    tr_op_done_fn *recv_fn, *send_fn;          /* the user's completion callbacks (they run on the op's home worker) */
    void (*bind)(struct tr_op *op, void *arg); /* lets the user prepare op->user before submit; may be NULL */
    void *bind_arg;
};

/* Adopts fd (a connected, blocking stream socket). high/low of 0: 1 MiB / 256 KiB. */
void tr_stream_init(struct tr_stream *s, int fd, tr_op_done_fn *recv_fn, tr_op_done_fn *send_fn, size_t high,
                    size_t low);
/* Arms one receive of at most max bytes (0: one lent buffer). A larger max than the lent buffer's size gives the op a
 * heap block of that size (capped at 1 MiB). Returns 0; -EALREADY one is armed; -EPIPE input ended or closing; -EAGAIN
 * no op. */
int tr_stream_receive(struct tr_stream *s, struct tr_loop *loop, size_t max);
/* To be called with the receive's op once it is done. Returns bytes received (> 0) with *data pointing into the op's
 * buffer, valid until tr_op_put(op), which is the caller's duty in every case; 0 at end of input; -errno. */
ssize_t tr_stream_receive_done(struct tr_stream *s, struct tr_op *op, void **data);
/* Queues a copy of bytes; sent in order, coalesced. Returns 0; -EPIPE closing or broken; -ENOMEM: nothing was
 * queued. */
int tr_stream_write(struct tr_stream *s, struct tr_loop *loop, const void *bytes, size_t length);
/* Queues bytes without copying: release(arg) is called once when they are sent or dropped, and also never lost: on
 * -errno it was NOT called and the caller still owns them. */
int tr_stream_write_owned(struct tr_stream *s, struct tr_loop *loop, const void *bytes, size_t length,
                          void (*release)(void *arg), void *arg);
/* Starts a send of what is queued if none is in flight. write does not submit by itself: the user calls flush once per
 * activation, so that many small replies leave in one send. Returns 0 or -EAGAIN (no op: call again later). */
int tr_stream_flush(struct tr_stream *s, struct tr_loop *loop);
/* To be called with the send's op once it is done; puts the op, and submits the rest. Returns true when the queue fell
 * below the low mark after having been above high: the user may write again. */
bool tr_stream_send_done(struct tr_stream *s, struct tr_loop *loop, struct tr_op *op);
/* Orderly close: sends what is queued, then closes. drain=false drops the output and cancels at once. Idempotent.
 * The state becomes CLOSED now, or in the *_done call that brought the last op back. */
void tr_stream_close(struct tr_stream *s, struct tr_loop *loop, bool drain);
bool tr_stream_closed(const struct tr_stream *s);

#endif
