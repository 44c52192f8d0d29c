/* SPDX-License-Identifier: Apache-2.0 */
/* Ports: the I/O resources of an incarnation (listener, stream, file). Owned by the incarnation that opened them,
 * driven by the worker that runs the actor; the ops they have in flight complete on the workers that submitted them and
 * come home as control signals. A port's record lives until its last op is back: that is what cell->ports counts.
 * What each kind does with its completions is in listener.c, stream.c and file.c. */
#ifndef TR_RUNTIME_PORT_H
#define TR_RUNTIME_PORT_H

#include <troupe/file.h>
#include <troupe/net.h>

#include "io/op.h"
#include "io/stream.h"
#include "runtime/signal.h"
#include "sched/base/list.h"

struct tr_alarm;
struct tr_timer_record;
struct tr_token_hook;
struct tr_file_request;

enum tr_port_kind { TR_PORT_LISTENER, TR_PORT_STREAM, TR_PORT_FILE };

#define TR_LISTENER_ACCEPTS 4

struct tr_listener_port {
    int fd;
    unsigned accepted;
    bool complained;                        /* that nothing can be accepted; until something is */
    struct tr_op *ops[TR_LISTENER_ACCEPTS]; /* in flight; NULL: idle */
};

struct tr_stream_port {
    struct tr_stream stream;
    troupe_stream_options options;
    bool cancelled; /* it closes because its token was cancelled */
};

struct tr_file_port {
    int fd;
    unsigned done_kind;
    bool failed;                                  /* an fsync failed: no write can be trusted any more */
    bool writing;                                 /* the first of writes is in flight */
    bool skipping;                                /* a write failed: those in line behind it are not made */
    struct tr_file_request *writes, *writes_tail; /* in line; the first one's turn it is */
};

struct tr_port {
    struct tr_port *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint64_t serial; /* changes with every life of the record; handles carry it */
    enum tr_port_kind kind;
    bool open;    /* false: closing, its handle is dead */
    bool dirty;   /* on ctx->dirty */
    unsigned ops; /* in flight, or completed and not yet dispatched */
    struct tr_cell *cell;
    struct tr_list link; /* in incarnation->ports while open, then in incarnation->closing */
    struct tr_port *dirty_next;
    struct tr_timer_record *retry; /* armed while it waits to try again */
    struct tr_token_hook *hook;    /* NULL: it was not opened under a token; a file never has one */
    union {
        struct tr_listener_port listener;
        struct tr_stream_port stream;
        struct tr_file_port file;
    };
};

/* In op->user: how a completion finds its port. */
struct tr_op_tag {
    struct tr_signal signal;
    struct tr_op *op;
    struct tr_port *port;
    struct tr_file_request *request;
};

static inline struct tr_op_tag *tr_op_tag(struct tr_op *op)
{
    return (struct tr_op_tag *)(void *)op->user;
}

/* --- for the three kinds --- */

/* A fresh port of the running actor, begun under its token, if there is one. 0, -ENOMEM, -ECANCELED. */
int tr_port_open(troupe_ctx *ctx, enum tr_port_kind kind, struct tr_port **out);
/* The running actor's open port of that kind, or NULL: the handle is stale or somebody else's. */
struct tr_port *tr_port_find(troupe_ctx *ctx, void *ref, uint64_t generation, enum tr_port_kind kind);
/* Makes op's completion come to port. Between get and submit. */
void tr_port_bind(struct tr_op *op, struct tr_port *port, struct tr_file_request *request);
/* Completion callback for all ops of ports; on the op's home worker. */
void tr_port_op_done(struct tr_op *op);
/* Handles are dead from now on, nothing is tried again. False: it was closing already. */
bool tr_port_begin_close(troupe_ctx *ctx, struct tr_port *port);
/* Frees a closing port, whose fd is closed, once its last op is back; otherwise does nothing. */
void tr_port_free_if_done(troupe_ctx *ctx, struct tr_port *port);
/* Has port flushed before this activation ends. */
void tr_port_dirty(troupe_ctx *ctx, struct tr_port *port);
/* Has what failed for want of an op, a descriptor or memory tried again in 100 ms. */
void tr_port_retry_later(troupe_ctx *ctx, struct tr_port *port);

void tr_listener_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op);
void tr_listener_close(troupe_ctx *ctx, struct tr_port *port);
void tr_listener_retry(troupe_ctx *ctx, struct tr_port *port);
void tr_stream_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op);
void tr_stream_port_flush(troupe_ctx *ctx, struct tr_port *port);
void tr_stream_port_close(troupe_ctx *ctx, struct tr_port *port);
/* Ends the draining of a closing stream. */
void tr_stream_port_abort(troupe_ctx *ctx, struct tr_port *port);
void tr_file_op(troupe_ctx *ctx, struct tr_port *port, struct tr_op *op);
void tr_file_port_close(troupe_ctx *ctx, struct tr_port *port);
/* Frees the request whose result was being delivered. */
void tr_file_event_done(troupe_ctx *ctx);

/* --- for the rest of the runtime --- */

/* A signal of kind TR_SIGNAL_OP arrived at the actor. */
void tr_port_dispatch(troupe_ctx *ctx, struct tr_signal *signal);
/* The token that a listener or stream was opened under is cancelled. */
void tr_port_cancelled(troupe_ctx *ctx, struct tr_port *port);
/* The same for a request of a file. */
void tr_file_cancelled(struct tr_file_request *request);
/* The time to try again has come. */
void tr_port_retry(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The event being handled is over, by return or by panic: puts its op, closes an fd that nobody took. */
void tr_port_event_done(troupe_ctx *ctx);
void tr_port_flush_dirty(troupe_ctx *ctx);
/* Begins to close all ports of a dying incarnation. */
void tr_port_close_all(troupe_ctx *ctx, struct tr_list *ports);
/* Of the closing ones: is a stream among them whose output is still sent? */
bool tr_port_draining(const struct tr_list *closing);
/* Drops the output of all of them. */
void tr_port_abort_all(troupe_ctx *ctx, struct tr_list *closing);

#endif
