/* SPDX-License-Identifier: Apache-2.0 */
/* An op: one asynchronous I/O request, from its submission to its one terminal completion. The record owns the buffer
 * reference, the address, the msghdr and the iovecs that the kernel may touch until then.
 * Whoever got the op drives it: get -> submit -> (cancel)* -> done -> put. It is not an actor's: the caller may die,
 * the op lives until its completion. */
#ifndef TR_IO_OP_H
#define TR_IO_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <ck_stack.h>

struct tr_loop;
struct tr_op;

/* A piece of work for a loop's own thread. The node must stay valid until fn has run; it runs once, before the loop
 * sleeps next. */
struct tr_loop_command {
    ck_stack_entry_t link;
    void (*fn)(struct tr_loop *loop, struct tr_loop_command *command);
};

enum tr_op_kind {
    TR_OP_ACCEPT,    /* fd -> res = new fd (blocking, close-on-exec); addr/addr_len filled */
    TR_OP_CONNECT,   /* fd, addr, addr_len */
    TR_OP_RECV,      /* fd; buffer NULL: lent from the loop's buffers at completion; res = bytes, 0 = end of stream */
    TR_OP_SEND,      /* fd, iov[iov_count]; may be short; never raises SIGPIPE */
    TR_OP_READ,      /* fd, buffer, length, offset; may be short */
    TR_OP_WRITE,     /* fd, iov[iov_count], offset; may be short */
    TR_OP_FDATASYNC, /* fd */
    TR_OP_POLL,      /* fd, length = poll(2) events; res = revents */
    TR_OP_KIND_COUNT
};

/* Runs on the home loop's thread at the terminal completion, exactly once per submit. op->res holds the result (>= 0,
 * or -errno; -ECANCELED after a cancel that came in time). From here on the op is the callback's until it calls
 * tr_op_put, which may be later and on another worker. */
typedef void tr_op_done_fn(struct tr_op *op);

/* Whose memory op->buffer is. */
enum tr_op_buffer {
    TR_OP_BUFFER_CALLER, /* the caller's, or none */
    TR_OP_BUFFER_LENT,   /* buffer_id of the home loop */
    TR_OP_BUFFER_HEAP,   /* the op's own: freed with it */
};

#define TR_OP_IOV_MAX 16
#define TR_OP_USER_SIZE 64

struct tr_op {
    /* set by the caller between get and submit */
    int fd;
    void *buffer;  /* RECV: NULL for a lent one. READ: the target. Must stay valid until done */
    size_t length; /* bytes wanted; POLL: events */
    uint64_t offset;
    struct iovec iov[TR_OP_IOV_MAX]; /* what they point to must stay valid until done */
    unsigned iov_count;
    socklen_t addr_len;
    struct sockaddr_storage addr;

    /* set at completion */
    int32_t res;

    /* for the layer above: a message node lives here, so that a completion needs no memory */
    _Alignas(16) unsigned char user[TR_OP_USER_SIZE];

    /* private to io/ */
    enum tr_op_kind kind;
    uint8_t state; /* see op.c */
    uint8_t attempts;
    uint8_t buffer_owner; /* enum tr_op_buffer */
    uint16_t buffer_id;
    uint32_t index, generation; /* user_data = both: never a pointer */
    tr_op_done_fn *done;
    struct tr_loop *home;
    struct tr_op *next;            /* free list, or the loop's queue of ops that wait for an SQE */
    ck_stack_entry_t cancel_link;  /* home's queue of cancels asked for by other workers */
    uint32_t cancel;               /* atomic, see op.c; away from the owner's fields, which are read many at a time */
    struct tr_loop_command landed; /* home's queue of commands: a blocking thread has done it (io/blocking.c) */
    int32_t landed_res;
    ck_stack_entry_t return_link; /* home's queue of ops put by other workers */
    struct msghdr msg;
};

/* Takes a record from loop's slab. NULL when the slab's limit (options.ops_max) is reached or memory is out: the caller
 * answers -EAGAIN or tries later. Owner thread of loop only. */
struct tr_op *tr_op_get(struct tr_loop *loop, enum tr_op_kind kind, tr_op_done_fn *done);
/* Hands the op to the kernel with the next flush. Never fails: trouble is a completion with -errno. Owner thread of the
 * op's home only. */
void tr_op_submit(struct tr_op *op);
/* Asks for an early end. The terminal completion still comes, once, with whatever result won the race. Idempotent.
 * Any worker thread of the same runtime, as long as the caller knows that the op was not put. */
void tr_op_cancel(struct tr_op *op);
/* Calls fn for each op of loop that is in flight. Owner thread of loop only; fn must not submit, cancel or put. */
void tr_op_each_in_flight(struct tr_loop *loop, void (*fn)(void *arg, const struct tr_op *op), void *arg);
/* "receive", "write", ...: for reports; never NULL. */
const char *tr_op_kind_name(enum tr_op_kind kind);
/* Gives the record back, and with it the lent buffer. After done, or instead of submit. Any worker of the runtime. */
void tr_op_put(struct tr_op *op);

#endif
