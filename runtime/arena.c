/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/poison.h"
#include "runtime/memory.h"
#include "sched/base/assert.h"

#define ALIGNMENT ((size_t)16)
#define ROOM_MIN ((size_t)1024 - sizeof(struct tr_arena_chunk))
#define ROOM_MAX ((size_t)64 * 1024 - sizeof(struct tr_arena_chunk)) /* what chunks grow to by themselves */
/* From here on a piece gets a chunk of its own, if the next chunk would not hold it. */
#define LARGE ((size_t)16 * 1024)

#ifdef TR_IO_ASAN
#define GAP ALIGNMENT /* between pieces, poisoned, so that writing behind one is seen */
#else
#define GAP ((size_t)0)
#endif

struct tr_arena_chunk {
    struct tr_arena_chunk *next;
    size_t room; /* bytes behind this header */
};

_Static_assert(sizeof(struct tr_arena_chunk) % 16 == 0, "pieces are aligned as malloc aligns");

static char *begin_of(struct tr_arena_chunk *chunk)
{
    return (char *)(chunk + 1);
}

/* A chunk, nowhere linked, its room poisoned. */
static struct tr_arena_chunk *chunk_make(size_t room, void *(*alloc)(size_t))
{
    struct tr_arena_chunk *chunk = alloc(sizeof *chunk + room);
    if (!chunk)
        return NULL;
    chunk->room = room;
    TR_POISON(begin_of(chunk), room);
    return chunk;
}

static void chunk_free(struct tr_arena_chunk *chunk)
{
    TR_UNPOISON(begin_of(chunk), chunk->room);
    free(chunk);
}

/* A large piece does not end the chunk that is being used up. */
static void *alloc_large(struct tr_arena *arena, size_t size, size_t room, void *(*alloc)(size_t))
{
    struct tr_arena_chunk *chunk = chunk_make(room, alloc);
    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    TR_UNPOISON(begin_of(chunk), size);
    return begin_of(chunk);
}

static bool chunk_add(struct tr_arena *arena, size_t at_least)
{
    size_t room = arena->room > ROOM_MIN ? arena->room : ROOM_MIN;
    struct tr_arena_chunk *chunk = chunk_make(room > at_least ? room : at_least, tr_memory_alloc);
    if (!chunk)
        return false;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->at = begin_of(chunk);
    arena->end = arena->at + chunk->room;
    arena->room = room >= ROOM_MAX / 2 ? (room > ROOM_MAX ? room : ROOM_MAX) : 2 * room;
    return true;
}

static bool is_large(const struct tr_arena *arena, size_t taken)
{
    return taken >= LARGE && taken > arena->room;
}

/* What a piece takes from its chunk; 0: more than there can be. */
static size_t taken_by(size_t size)
{
    if (TR_UNLIKELY(size > SIZE_MAX / 2))
        return 0;
    return ((size ? size : 1) + GAP + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

static void *bump(struct tr_arena *arena, size_t size, size_t taken)
{
    char *piece = arena->at;
    arena->at += taken;
    TR_UNPOISON(piece, size);
    return piece;
}

void *tr_arena_alloc(struct tr_arena *arena, size_t size)
{
    size_t taken = taken_by(size);
    if (TR_UNLIKELY(taken == 0))
        return NULL;
    if (TR_UNLIKELY((size_t)(arena->end - arena->at) < taken)) {
        if (is_large(arena, taken))
            return alloc_large(arena, size, taken, tr_memory_alloc);
        if (!chunk_add(arena, taken))
            return NULL;
    }
    return bump(arena, size, taken);
}

void *tr_arena_alloc_zeroed(struct tr_arena *arena, size_t size)
{
    size_t taken = taken_by(size);
    if (taken > (size_t)(arena->end - arena->at) && is_large(arena, taken))
        return alloc_large(arena, size, taken, tr_memory_alloc_zeroed); /* fresh pages are zero without being touched */
    void *piece = tr_arena_alloc(arena, size);
    return TR_LIKELY(piece != NULL) ? memset(piece, 0, size) : NULL;
}

/* Frees all chunks; returns what they held together. */
static size_t free_all(struct tr_arena *arena)
{
    size_t room = 0;
    struct tr_arena_chunk *chunk;
    while ((chunk = arena->chunks)) {
        arena->chunks = chunk->next;
        room += chunk->room;
        chunk_free(chunk);
    }
    arena->at = arena->end = NULL;
    return room;
}

void tr_arena_reset(struct tr_arena *arena, size_t keep)
{
    struct tr_arena_chunk *chunk = arena->chunks;
    if (!chunk)
        return;
    if (TR_LIKELY(!chunk->next && chunk->room <= keep)) {
        arena->at = begin_of(chunk);
        arena->end = arena->at + chunk->room;
        TR_POISON(arena->at, chunk->room);
        return;
    }
    size_t room = free_all(arena);
    arena->room = room < keep ? room : keep;
}

void tr_arena_fini(struct tr_arena *arena)
{
    free_all(arena);
    *arena = (struct tr_arena){0};
}
