/* SPDX-License-Identifier: Apache-2.0 */
/* States, assigned in move() alone:
 *   OPEN     -> DRAINING  close asked for, output left: it still goes out
 *   OPEN     -> CLOSING   close asked for, nothing left or not wanted
 *   DRAINING -> CLOSING   output gone, or lost with the connection, or no longer wanted
 *   CLOSING  -> CLOSED    both ops are back
 * Entering CLOSING shuts the socket down and cancels; close(2) comes only in CLOSED, when nothing is in flight: an fd
 * closed earlier could be another connection's by the time the kernel looks at the op. After an orderly end the socket
 * is shut down for writing only and handed to tr_linger, so that unread input cannot turn the close into a reset.
 *
 * Output is a queue of chunks. While a send is in flight the kernel reads bytes of the first ones: they are neither
 * moved nor freed before it is back, also not when the stream broke; appending behind them is fine.
 * An op that is done but not yet handed to *_done counts as in flight. */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/linger.h"
#include "io/loop_state.h"
#include "sched/base/assert.h"

#define HIGH_DEFAULT ((size_t)1 << 20)
#define LOW_DEFAULT ((size_t)256 << 10)
#define RECEIVE_MAX ((size_t)1 << 20)
#define CHUNK_FIRST 960u  /* of an empty queue: a reply or a few, from malloc's per-thread cache */
#define CHUNK_NEXT 16384u /* once replies pile up */

struct tr_chunk {
    struct tr_chunk *next;
    const unsigned char *data;
    size_t begin, end; /* unsent bytes of data */
    size_t capacity;   /* of own[]; 0 for bytes of the user's */
    void (*release)(void *arg);
    void *arg;
    unsigned char own[];
};

#define BIT(x) (1u << (x))

static const unsigned next_states[TR_STREAM_STATE_COUNT] = {
    [TR_STREAM_OPEN] = BIT(TR_STREAM_DRAINING) | BIT(TR_STREAM_CLOSING),
    [TR_STREAM_DRAINING] = BIT(TR_STREAM_CLOSING),
    [TR_STREAM_CLOSING] = BIT(TR_STREAM_CLOSED),
    [TR_STREAM_CLOSED] = 0,
};

static void check(const struct tr_stream *s)
{
    TR_ASSERT((s->out_head == NULL) == (s->out_tail == NULL));
    TR_ASSERT((s->out_bytes == 0) == (s->out_head == NULL));
    TR_ASSERT(s->state != TR_STREAM_CLOSED || (s->fd < 0 && !s->recv_op && !s->send_op && !s->out_head));
}

static void move(struct tr_stream *s, enum tr_stream_state to)
{
    TR_ASSERT(next_states[s->state] & BIT(to));
    s->state = to;
    check(s);
}

void tr_stream_init(struct tr_stream *s, int fd, tr_op_done_fn *recv_fn, tr_op_done_fn *send_fn, size_t high,
                    size_t low)
{
    TR_ASSERT(fd >= 0 && recv_fn && send_fn);
    *s = (struct tr_stream){.fd = fd,
                            .recv_fn = recv_fn,
                            .send_fn = send_fn,
                            .high = high ? high : HIGH_DEFAULT,
                            .low = low ? low : LOW_DEFAULT};
    TR_ASSERT(s->low <= s->high);
}

bool tr_stream_closed(const struct tr_stream *s)
{
    return s->state == TR_STREAM_CLOSED;
}

/* Output. */

static void free_chunk(struct tr_chunk *chunk)
{
    if (chunk->release)
        chunk->release(chunk->arg);
    free(chunk);
}

static void drop_first(struct tr_stream *s)
{
    struct tr_chunk *chunk = s->out_head;
    s->out_head = chunk->next;
    if (!s->out_head)
        s->out_tail = NULL;
    s->out_bytes -= chunk->end - chunk->begin;
    free_chunk(chunk);
}

/* Only while no send is in flight. */
static void drop_output(struct tr_stream *s)
{
    TR_ASSERT(!s->send_op);
    while (s->out_head)
        drop_first(s);
}

/* What happens to a stream that is being shut down is our own doing. */
static void note_error(struct tr_stream *s, int error)
{
    if (!s->error && (s->state == TR_STREAM_OPEN || s->state == TR_STREAM_DRAINING))
        s->error = error;
}

static bool writable(const struct tr_stream *s)
{
    return s->state == TR_STREAM_OPEN && !s->error;
}

static struct tr_chunk *new_chunk(size_t capacity)
{
    struct tr_chunk *chunk = malloc(sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    *chunk = (struct tr_chunk){.capacity = capacity};
    chunk->data = chunk->own;
    return chunk;
}

static void append(struct tr_stream *s, struct tr_chunk *chunk)
{
    if (s->out_tail)
        s->out_tail->next = chunk;
    else
        s->out_head = chunk;
    s->out_tail = chunk;
}

static void count_output(struct tr_stream *s, size_t length)
{
    s->out_bytes += length;
    if (s->out_bytes > s->high)
        s->above_high = true;
}

static size_t room_in_tail(const struct tr_stream *s)
{
    const struct tr_chunk *tail = s->out_tail;
    return tail && tail->capacity ? tail->capacity - tail->end : 0;
}

static void fill(struct tr_chunk *chunk, const unsigned char *bytes, size_t length)
{
    if (!length)
        return;
    memcpy(chunk->own + chunk->end, bytes, length);
    chunk->end += length;
}

static size_t capacity_for(const struct tr_stream *s, size_t length)
{
    size_t usual = s->out_head ? CHUNK_NEXT : CHUNK_FIRST;
    return length > usual ? length : usual;
}

int tr_stream_write(struct tr_stream *s, struct tr_loop *loop, const void *bytes, size_t length)
{
    (void)loop;
    if (!writable(s))
        return -EPIPE;
    size_t first = room_in_tail(s);
    if (first > length)
        first = length;
    struct tr_chunk *chunk = NULL;
    if (length > first) {
        chunk = new_chunk(capacity_for(s, length - first));
        if (!chunk)
            return -ENOMEM;
    }
    if (first)
        fill(s->out_tail, bytes, first);
    if (chunk) {
        fill(chunk, (const unsigned char *)bytes + first, length - first);
        append(s, chunk);
    }
    count_output(s, length);
    return 0;
}

int tr_stream_write_owned(struct tr_stream *s, struct tr_loop *loop, const void *bytes, size_t length,
                          void (*release)(void *arg), void *arg)
{
    (void)loop;
    if (!writable(s))
        return -EPIPE;
    if (length == 0) {
        if (release)
            release(arg);
        return 0;
    }
    struct tr_chunk *chunk = new_chunk(0);
    if (!chunk)
        return -ENOMEM;
    chunk->data = bytes;
    chunk->end = length;
    chunk->release = release;
    chunk->arg = arg;
    append(s, chunk);
    count_output(s, length);
    return 0;
}

static void submit_send(struct tr_stream *s, struct tr_op *op)
{
    op->fd = s->fd;
    op->iov_count = 0;
    for (struct tr_chunk *chunk = s->out_head; chunk && op->iov_count < TR_OP_IOV_MAX; chunk = chunk->next) {
        op->iov[op->iov_count++] = (struct iovec){
            .iov_base = (void *)(uintptr_t)(chunk->data + chunk->begin),
            .iov_len = chunk->end - chunk->begin,
        };
    }
    s->send_op = op;
    if (s->bind)
        s->bind(op, s->bind_arg);
    tr_op_submit(op);
}

static bool has_to_send(const struct tr_stream *s)
{
    return s->out_head && !s->send_op && !s->error && (s->state == TR_STREAM_OPEN || s->state == TR_STREAM_DRAINING);
}

int tr_stream_flush(struct tr_stream *s, struct tr_loop *loop)
{
    if (!has_to_send(s))
        return 0;
    struct tr_op *op = tr_op_get(loop, TR_OP_SEND, s->send_fn);
    if (!op)
        return -EAGAIN;
    submit_send(s, op);
    return 0;
}

/* The first n bytes of the queue are the kernel's now. */
static void consume(struct tr_stream *s, size_t n)
{
    s->sent += n;
    while (n) {
        struct tr_chunk *chunk = s->out_head;
        TR_ASSERT(chunk != NULL);
        size_t left = chunk->end - chunk->begin;
        if (n < left) {
            chunk->begin += n;
            s->out_bytes -= n;
            return;
        }
        n -= left;
        drop_first(s);
    }
}

/* Closing. */

static void close_if_quiet(struct tr_stream *s, struct tr_loop *loop)
{
    if (s->state != TR_STREAM_CLOSING || s->recv_op || s->send_op)
        return;
    int fd = s->fd;
    bool linger = !s->aborted && !s->end_of_input;
    drop_output(s);
    s->above_high = false;
    s->fd = -1;
    move(s, TR_STREAM_CLOSED);
    if (linger)
        tr_linger(loop, fd);
    else
        close(fd);
}

static void start_closing(struct tr_stream *s, struct tr_loop *loop)
{
    s->aborted = s->aborted || s->error;
    move(s, TR_STREAM_CLOSING);
    shutdown(s->fd, s->aborted ? SHUT_RDWR : SHUT_WR);
    if (s->recv_op)
        tr_op_cancel(s->recv_op);
    if (s->send_op)
        tr_op_cancel(s->send_op);
    close_if_quiet(s, loop);
}

static void continue_draining(struct tr_stream *s, struct tr_loop *loop)
{
    if (s->state == TR_STREAM_DRAINING && (s->error || !s->out_head) && !s->send_op)
        start_closing(s, loop);
}

void tr_stream_close(struct tr_stream *s, struct tr_loop *loop, bool drain)
{
    if (s->state == TR_STREAM_CLOSING || s->state == TR_STREAM_CLOSED || (s->state == TR_STREAM_DRAINING && drain))
        return;
    if (!drain || s->error || !s->out_head) {
        s->aborted = !drain;
        start_closing(s, loop);
        return;
    }
    move(s, TR_STREAM_DRAINING);
    if (s->recv_op)
        tr_op_cancel(s->recv_op);
    if (s->send_op)
        return;                                                       /* what is behind it follows when it is done */
    struct tr_op *op = tr_op_get_again(loop, TR_OP_SEND, s->send_fn); /* nobody would call flush again */
    if (op) {
        submit_send(s, op);
        return;
    }
    note_error(s, -ENOMEM);
    drop_output(s);
    start_closing(s, loop);
}

/* Input. */

int tr_stream_receive(struct tr_stream *s, struct tr_loop *loop, size_t max)
{
    if (s->state != TR_STREAM_OPEN || s->end_of_input)
        return -EPIPE;
    if (s->recv_op)
        return -EALREADY;
    struct tr_op *op = tr_op_get(loop, TR_OP_RECV, s->recv_fn);
    if (!op)
        return -EAGAIN;
    op->length = max < RECEIVE_MAX ? max : RECEIVE_MAX;
    if (max > loop->buffers.size && !tr_op_own_block(op, op->length)) {
        tr_op_put(op);
        return -EAGAIN;
    }
    op->fd = s->fd;
    s->recv_op = op;
    if (s->bind)
        s->bind(op, s->bind_arg);
    tr_op_submit(op);
    return 0;
}

static void input_failed(struct tr_stream *s, int error)
{
    s->end_of_input = true;
    note_error(s, error);
    if (!s->send_op)
        drop_output(s);
}

ssize_t tr_stream_receive_done(struct tr_stream *s, struct tr_op *op, void **data)
{
    struct tr_loop *home = op->home;
    int res = op->res;
    TR_ASSERT(op == s->recv_op);
    s->recv_op = NULL;
    *data = NULL;
    if (res == 0)
        s->end_of_input = true;
    if (s->state != TR_STREAM_OPEN) {
        close_if_quiet(s, home);
        return res > 0 ? -ECANCELED : res;
    }
    if (res > 0) {
        s->received += (uint64_t)res;
        *data = op->buffer;
    } else if (res < 0) {
        input_failed(s, res);
    }
    return res;
}

/* The send is back, in part perhaps: the rest follows in the same op where that is possible. */
static void send_rest(struct tr_stream *s, struct tr_loop *loop, struct tr_op *op)
{
    s->send_op = NULL;
    if (!has_to_send(s)) {
        tr_op_put(op);
        return;
    }
    if (op->home != loop) {
        tr_op_put(op);
        op = tr_op_get_again(loop, TR_OP_SEND, s->send_fn);
    }
    if (op) {
        submit_send(s, op);
    } else {
        note_error(s, -ENOMEM);
    }
}

bool tr_stream_send_done(struct tr_stream *s, struct tr_loop *loop, struct tr_op *op)
{
    TR_ASSERT(op == s->send_op);
    if (op->res >= 0)
        consume(s, (size_t)op->res);
    else
        note_error(s, op->res);
    send_rest(s, loop, op);
    if (s->error && !s->send_op)
        drop_output(s);
    continue_draining(s, loop);
    close_if_quiet(s, loop);
    if (!s->above_high || s->out_bytes > s->low)
        return false;
    s->above_high = false;
    return true;
}
