/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's I/O loop: its ring, its op slab, its buffers, its timer wheel, and the place where the worker sleeps.
 * runtime/ creates a tr_io per runtime and hands its hooks to the pool; each worker thread then owns one tr_loop.
 * It knows no actors: completions and timers go to the callbacks in the op or timer. */
#ifndef TR_IO_LOOP_H
#define TR_IO_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include <ck_stack.h>

#include "io/op.h"
#include "io/wheel.h"
#include "sched/hooks.h"

struct tr_io;
struct tr_loop;

struct tr_io_options {
    unsigned sq_entries;  /* submission queue; 0: 256 */
    unsigned cq_entries;  /* completion queue; 0: 4096 */
    unsigned ops_max;     /* ops in existence per loop; 0: 65536 */
    unsigned buffers;     /* lent receive buffers per loop, a power of two; 0: 1024 */
    unsigned buffer_size; /* bytes each; 0: 16384 */
    unsigned iowq_max;    /* kernel threads for file I/O per ring; 0: 4 */
    unsigned without;     /* TR_IO_WITHOUT_*: features to do without, for tests */
};

#define TR_IO_WITHOUT_BUFFER_RING 1u   /* as on kernels before 5.19 */
#define TR_IO_WITHOUT_DEFER 2u         /* as on kernels before 6.1 */
#define TR_IO_WITHOUT_TASKRUN_FLAGS 4u /* as on kernels before 5.19 */
#define TR_IO_WITHOUT_INLINE_WRITE 8u  /* every TR_OP_WRITE goes to the kernel's threads */

/* Single-writer counters of one loop. */
struct tr_loop_stats {
    uint64_t enters; /* system calls: to submit, to reap, to sleep */
    uint64_t submitted, completed, sq_full, stale_completions, buffers_exhausted, wakes_received;
    uint64_t ops_in_use;    /* gauge: records taken and not put */
    uint64_t ops_in_flight; /* gauge: submitted and not completed */
    uint64_t buffers_lent;  /* gauge */
    uint64_t timers_armed;  /* gauge */
};

/* Prepares the back end for `loops` loops: chooses the set-up flags by trying them and runs a functional self-test in a
 * throw-away ring. On -errno, `why` (of why_size bytes) holds one clear sentence: cause (seccomp profile, sysctl
 * kernel.io_uring_disabled, RLIMIT_MEMLOCK, old kernel) and remedy. options may be NULL. Not thread-safe. */
int tr_io_create(struct tr_io **out, unsigned loops, const struct tr_io_options *options, char *why, size_t why_size);
/* After every loop was detached and no thread uses one any more: frees the loops, whose memory outlives detach so that
 * a worker that leaves later can still wake them and put their ops. */
void tr_io_destroy(struct tr_io *io);
/* "uring" and the features in use, one line, for logs. */
const char *tr_io_describe(const struct tr_io *io);
/* The hooks that make a pool sleep in these loops; hooks.attach creates the worker's tr_loop (that is *io_out). The
 * layer above may wrap attach. */
struct tr_hooks tr_io_hooks(struct tr_io *io);

/* Any thread between attach and detach; wakes the loop if it sleeps. Order: first in, first out per poster. One that
 * comes after detach is run by tr_io_destroy. */
void tr_loop_post(struct tr_loop *loop, struct tr_loop_command *command);

/* Owner thread only: */
struct tr_wheel *tr_loop_wheel(struct tr_loop *loop);
uint64_t tr_loop_now(struct tr_loop *loop); /* ns, read at the last poll or wait: free, and a little old */
/* As tr_loop_deadline, up to a microsecond later, for less than half the price: see io/clock.h. */
uint64_t tr_loop_deadline_here(struct tr_loop *loop, uint64_t timeout_ns);
bool tr_loop_is_current(const struct tr_loop *loop); /* is the calling thread its owner? */
/* Any thread: a copy, perhaps slightly old. */
void tr_loop_stats(const struct tr_loop *loop, struct tr_loop_stats *out);

/* Clocks, any thread: */
uint64_t tr_loop_clock(void);                   /* CLOCK_MONOTONIC in ns, fresh */
uint64_t tr_loop_deadline(uint64_t timeout_ns); /* on that clock, from now; UINT64_MAX, never, if beyond its end */
uint64_t tr_loop_wall_clock(void);              /* CLOCK_REALTIME in ns, to some ms: for records, not for waiting */

#endif
