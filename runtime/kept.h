/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that an actor keeps while it lives: its arguments and its state. Small blocks come from the worker's slab, the
 * others from the heap. On a worker; a block may be freed on another one. Who frees must know the size.
 * It is not the memory that a behavior asks for: see owner.h. Nor the room in the cell, which is for the smallest:
 * incarnation.c and args.c use that first. */
#ifndef TR_RUNTIME_KEPT_H
#define TR_RUNTIME_KEPT_H

#include <troupe/actor.h>

#include <stdbool.h>
#include <stddef.h>

#include "io/poison.h"

/* With AddressSanitizer all of it is from malloc, whose red zones find who writes beyond its end. */
#ifdef TR_IO_ASAN
#define TR_KEPT_SMALL false
#else
#define TR_KEPT_SMALL true
#endif

/* size bytes, more than 0, zeroed and aligned to 16. NULL: out of memory. */
void *tr_kept_alloc(troupe_ctx *ctx, size_t size);
/* memory may be NULL. */
void tr_kept_free(troupe_ctx *ctx, void *memory, size_t size);

#endif
