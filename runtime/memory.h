/* SPDX-License-Identifier: Apache-2.0 */
/* The heap as what actors own uses it: malloc that refuses sizes no memory has, and a failure that a test can plant.
 * Owns nothing; any thread may call, and free() frees all of it but address space. The planted failure is the calling thread's own.
 * It is not an allocator: see slab.h for messages and records, arena.h and blocks.h for what actors own. */
#ifndef TR_RUNTIME_MEMORY_H
#define TR_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As malloc, calloc(1, size) and realloc; NULL also for a size above PTRDIFF_MAX. A resize that fails leaves memory as
 * it was. */
void *tr_memory_alloc(size_t size);
void *tr_memory_alloc_zeroed(size_t size);
void *tr_memory_resize(void *memory, size_t size);

#define TR_MEMORY_PAGE 4096u

/* Address space, a multiple of TR_MEMORY_PAGE bytes, without memory: for a table that grows and must not move. It counts
 * against RLIMIT_AS and nothing else. NULL: there is not as much. */
void *tr_memory_reserve(size_t size);
/* Gives a part of it, whole pages, memory: zeroed, there at once. Once for each part. False: out of memory. */
bool tr_memory_commit(void *space, size_t size);
/* All of what one tr_memory_reserve gave. */
void tr_memory_release(void *space, size_t size);

#define TR_MEMORY_NEVER SIZE_MAX

/* For tests. Of this thread's requests from here on, count are granted, the next one is refused, and all after it are
 * granted again. TR_MEMORY_NEVER: none is refused. */
void tr_memory_fail_after(size_t count);
/* Whether the planted failure has happened. */
bool tr_memory_failed(void);

#endif
