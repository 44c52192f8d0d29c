/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between a loop and what does its I/O: io_uring; epoll or a simulator could be others. A back end turns ops into
 * completions and sleeps for the loop; it owns its kernel objects, in loop->backend_state.
 * Only io/ may call. It is not the op's life cycle (io/op.c), nor wake-up bookkeeping or timers (io/loop.c). */
#ifndef TR_IO_BACKEND_H
#define TR_IO_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tr_loop;
struct tr_op;

/* All run on the loop's thread, wake excepted. */
struct tr_backend {
    /* Makes the kernel objects for loop; io->rung is where to begin, and is moved to what was accepted while the
     * self-test runs. Returns 0 or -errno. */
    int (*open)(struct tr_loop *loop);
    /* Closes them, but leaves what wake touches to the loop's end (free). */
    void (*close)(struct tr_loop *loop);
    void (*free)(struct tr_loop *loop);
    /* Takes the op over: its completion comes through tr_op_complete or tr_op_retry. False: no room now, ask again
     * after the next enter. Trouble with this op is a completion, too. */
    bool (*start)(struct tr_loop *loop, struct tr_op *op);
    /* Asks for an early end of a started op. False: no room now. */
    bool (*cancel)(struct tr_loop *loop, struct tr_op *op);
    /* Would reap deliver something? No system call. */
    bool (*pending)(const struct tr_loop *loop);
    /* Is there anything of the loop's between it and the kernel, or could it be, apart from the ops in flight: entries
     * that were not handed over, completions that were not reaped? No system call. */
    bool (*engaged)(const struct tr_loop *loop);
    /* Hands what was started to the kernel and collects completions; with timeout_ns > 0 sleeps until there is one, or
     * a wake, or the time is over (TR_WAIT_FOREVER: never). With 0 and nothing to do it makes no system call. */
    void (*enter)(struct tr_loop *loop, uint64_t timeout_ns);
    /* Delivers completions: at most `budget`, and stops early at until_ns (monotonic). Returns how many ops were
     * done. */
    unsigned (*reap)(struct tr_loop *loop, unsigned budget, uint64_t until_ns);
    /* Ends the owner's sleep in enter. Any thread. */
    void (*wake)(struct tr_loop *loop);
    /* One line for logs: the features in use. */
    void (*describe)(const struct tr_loop *loop, char *out, size_t size);
};

extern const struct tr_backend tr_uring;

/* What a back end calls. */

/* The started op with this index and generation, or NULL: a completion of nobody's, to be counted and ignored. */
struct tr_op *tr_op_find(struct tr_loop *loop, uint32_t index, uint32_t generation);
/* The terminal completion: runs done. */
void tr_op_complete(struct tr_op *op, int32_t res);
/* The kernel gave up for a reason that is not the caller's business (EINTR, no buffer): starts the op again, unless it
 * was cancelled meanwhile. */
void tr_op_retry(struct tr_op *op);
/* A receive got bytes into buffer id of the loop's. Before tr_op_complete. */
void tr_op_lend(struct tr_op *op, unsigned id, size_t length);
/* Gives a receive a heap block of its own, for want of a lent buffer; it is freed with the op. False: no memory. */
bool tr_op_own_block(struct tr_op *op, size_t size);
/* Takes in what other workers put, so that buffers and records come back. */
void tr_loop_collect_returns(struct tr_loop *loop);

#endif
