/* SPDX-License-Identifier: Apache-2.0 */
/* An arena: memory that is taken piece by piece and given back all at once. A piece costs the move of a pointer.
 * Owns its chunks; touched by one thread at a time. A zeroed arena is empty and ready.
 * It is not a heap: no piece is freed alone (see blocks.h). */
#ifndef TR_RUNTIME_ARENA_H
#define TR_RUNTIME_ARENA_H

#include <stddef.h>

struct tr_arena_chunk;

struct tr_arena {
    char *at, *end;                /* what is left of the chunk that is being used up; NULL: there is none */
    struct tr_arena_chunk *chunks; /* that one, used up ones, and those of large pieces */
    size_t room;                   /* of the next chunk, bytes; 0: the smallest */
};

/* size bytes, aligned to 16; of no defined content, or zeroed. NULL, also for size 0 only when out of memory: then
 * nothing has changed. */
void *tr_arena_alloc(struct tr_arena *arena, size_t size);
void *tr_arena_alloc_zeroed(struct tr_arena *arena, size_t size);
/* All pieces are gone. At most one chunk, of at most keep bytes, stays for the next ones; if there were several, the
 * next one is made as large as they were together, up to keep. */
void tr_arena_reset(struct tr_arena *arena, size_t keep);
void tr_arena_fini(struct tr_arena *arena);

#endif
