/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop consists of, for the files of io/ only: loop.c, op.c and the back end share it. Owns all that it names.
 * The loop's thread only, except for the words on the senders' line.
 * It is not for runtime/: that knows io/loop.h. */
#ifndef TR_IO_LOOP_STATE_H
#define TR_IO_LOOP_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <ck_pr.h>
#include <ck_stack.h>

#include "io/backend.h"
#include "io/bufring.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/op.h"
#include "io/park.h"
#include "sched/base/cacheline.h"
#include "sched/base/count.h"
#include "sched/base/rng.h"

#define TR_OP_CHUNK 64u /* ops that the slab grows by */

/* First in, first out; linked by op->next. */
struct tr_op_queue {
    struct tr_op *head, *tail;
};

/* The records of one loop. They are type-stable: none is freed before the loop, so that a stale index finds a record
 * whose generation does not match. */
struct tr_op_slab {
    struct tr_op **chunks;
    unsigned chunk_count, chunk_max;
    unsigned ops_max;
    struct tr_op *free;
};

struct tr_io {
    const struct tr_backend *backend;
    struct tr_blocking *blocking;
    struct tr_io_options options; /* resolved: no field is 0 except `without` */
    unsigned rung;                /* the back end's choice of set-up flags, found by the self-test */
    ck_stack_t loops;             /* every loop ever attached; freed with the io */
    char describe[192];
};

struct tr_loop {
    /* the owner's */
    struct tr_io *io;
    struct tr_worker *worker; /* whose it is; NULL: of none, in tests */
    const struct tr_backend *backend;
    void *backend_state;
    pthread_t owner;
    bool attached;              /* false again once detached */
    unsigned long slack_before; /* of its thread, ns: set back when it detaches */
    bool closing;               /* no new work reaches the kernel */
    uint64_t now;
    struct tr_rng random;
    struct tr_op_slab slab;
    struct tr_op_queue waiting; /* the back end had no room: served before new ops */
    struct tr_op_queue ready;   /* complete without the kernel: delivered by the next poll or wait */
    unsigned syncs;             /* FDATASYNCs submitted and not done */
    unsigned cancels_unsent;    /* ops whose cancel the back end had no room for */
    struct tr_bufring buffers;
    struct tr_loop_stats stats; /* single writer; its gauges are without what other workers put, see below */
    struct tr_wheel wheel;
    struct tr_clock clock;     /* for deadlines */
    ck_stack_entry_t all_link; /* in io->loops */

    /* the senders': see loop.c for the protocol of each word */
    TR_ALIGNED_LINE struct tr_park park;
    ck_stack_t commands;                     /* struct tr_loop_command by link */
    ck_stack_t cancels;                      /* struct tr_op by cancel_link */
    ck_stack_t returns;                      /* struct tr_op by return_link */
    uint64_t returned_ops, returned_buffers; /* put by other workers and not yet taken in: the gauges subtract them */
};

static inline void tr_op_queue_push(struct tr_op_queue *queue, struct tr_op *op)
{
    op->next = NULL;
    if (queue->tail)
        queue->tail->next = op;
    else
        queue->head = op;
    queue->tail = op;
}

static inline struct tr_op *tr_op_queue_pop(struct tr_op_queue *queue)
{
    struct tr_op *op = queue->head;
    if (!op)
        return NULL;
    queue->head = op->next;
    if (!queue->head)
        queue->tail = NULL;
    return op;
}

/* What loop.c has for op.c. */
void tr_loop_wake(struct tr_loop *loop);

/* What op.c has for loop.c and stream.c. */
void tr_op_slab_init(struct tr_loop *loop);
void tr_op_slab_fini(struct tr_loop *loop);
void tr_op_slab_check(const struct tr_loop *loop);
/* As tr_op_get, but may go beyond ops_max, by one per stream: for output that nobody would ask to send again. */
struct tr_op *tr_op_get_again(struct tr_loop *loop, enum tr_op_kind kind, tr_op_done_fn *done);
/* Moves ops that wait for room to the back end; true when none is left. */
bool tr_op_start_waiting(struct tr_loop *loop);
/* Delivers at most `budget` ops that are complete without the kernel. */
unsigned tr_op_deliver_ready(struct tr_loop *loop, unsigned budget);
/* A cancel that came from another worker. */
void tr_op_cancel_arrived(struct tr_op *op);
/* Sends the cancels that found no room; some twice, which is harmless. */
void tr_op_cancel_again(struct tr_loop *loop);
/* Asks every op that is not done to end. */
void tr_op_cancel_all(struct tr_loop *loop);
/* A put that came from another worker. */
void tr_op_put_arrived(struct tr_op *op);

#endif
