/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for file operations that no kernel queue does without blocking a thread of its own: fdatasync, and buffered
 * writes that are too large or too ill-timed to be made inline. Owns up to TR_BLOCKING_THREADS threads per tr_io, made
 * as needed. tr_blocking_submit is for loops' threads. It is not a pool for user code. */
#ifndef TR_IO_BLOCKING_H
#define TR_IO_BLOCKING_H

#include <stdbool.h>

#include "io/op.h"

/* Why not the ring: it hands these operations to threads of the kernel, and the last of those wakes up every five
 * seconds for as long as the ring lives. These threads sleep until there is work, so an idle process makes no
 * wake-ups. */
#define TR_BLOCKING_THREADS 4

struct tr_blocking;

/* NULL: out of memory. */
struct tr_blocking *tr_blocking_create(void);
/* Finishes what is queued and joins the threads. The loops' memory must still be there; nothing may be submitted any
 * more. */
void tr_blocking_destroy(struct tr_blocking *blocking);
/* Is it an op for these threads: an FDATASYNC, or a buffered WRITE to a regular file? */
bool tr_blocking_wants(const struct tr_op *op);
/* Hands a started op over. Its completion (tr_op_complete) comes on its home loop as a command. False: there is no
 * thread and none can be had; the back end shall do it. Order: ops begin in the order submitted, on several threads. */
bool tr_blocking_submit(struct tr_blocking *blocking, struct tr_op *op);

#endif
