/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed-size blocks for messages and records: a cache per worker, a depot per runtime between them.
 * Owns the memory; blocks may be freed on any worker, whole magazines travel through the depot (the magazine layer of
 * Bonwick and Adams, "Magazines and Vmem", 2001). Memory goes back to the system only with the slab.
 * It is not a general allocator: payloads beyond the largest class come from malloc (see message.c). */
#ifndef TR_RUNTIME_SLAB_H
#define TR_RUNTIME_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ck_spinlock.h>

#include "io/poison.h"
#include "sched/base/assert.h"
#include "sched/base/cacheline.h"

/* The message classes come first, in order of size. The record classes are type-stable: a freed record of such a class
 * is only ever reused as the same type, so that a stale handle may read its generation. */
enum tr_class {
    TR_CLASS_64,
    TR_CLASS_128,
    TR_CLASS_256,
    TR_CLASS_512,
    TR_CLASS_1024,
    TR_CLASS_4096,
    TR_CLASS_ASK,
    TR_CLASS_TIMER,
    TR_CLASS_PORT,
    TR_CLASS_TOKEN,
    TR_CLASS_HOOK,
    TR_CLASS_WATCH,
    TR_CLASS_MONITOR,
    TR_CLASS_BOUND,
    TR_CLASS_ROOM,
    TR_CLASS_NAME,
    TR_CLASS_TIE,
    TR_CLASS_DELAY, /* a message as well, once it is due */
    TR_CLASS_FOREIGN_ASK,
    TR_CLASS_32, /* not type-stable: see kept.h */
    TR_CLASS_FAMILY,
    TR_CLASS_COUNT,
    TR_CLASS_HEAP = 255 /* not from the slab: malloc */
};
#define TR_CLASS_MESSAGE_MAX TR_CLASS_4096

#define TR_MAGAZINE 64 /* blocks that change hands at once */

/* Free blocks of a class in a worker's cache at most. Of small messages what an activation handles or sends at most. */
#define TR_CACHE_MAX (8 * TR_MAGAZINE)
static inline unsigned tr_cache_max(enum tr_class class)
{
    return class <= TR_CLASS_128 ? TR_CACHE_MAX : 2 * TR_MAGAZINE;
}

struct tr_block {
    struct tr_block *next;     /* in its magazine */
    struct tr_block *magazine; /* first block of a magazine in the depot: the next magazine */
};

/* One class in one worker's cache; no locks, its owner's only. The free blocks are a stack of pointers, so that neither
 * end of a message touches memory but what it uses. */
struct tr_cache_class {
    unsigned count;
    void *blocks[TR_CACHE_MAX];
    char *bump, *limit; /* the rest of the newest chunk, not yet carved */
};

struct tr_slab_cache {
    struct tr_cache_class classes[TR_CLASS_COUNT];
};

/* One class in the depot. lock guards the rest; it is held for a few instructions, once per TR_MAGAZINE blocks. */
struct tr_depot {
    ck_spinlock_t lock;
    struct tr_block *magazines; /* full ones */
    struct tr_block *loose;     /* blocks given back one by one by threads without a cache, less than a magazine */
    unsigned loose_count;
} TR_ALIGNED_LINE;

struct tr_chunk_header {
    struct tr_chunk_header *next;
};

struct tr_slab {
    struct tr_depot depots[TR_CLASS_COUNT];
    ck_spinlock_t chunks_lock;
    struct tr_chunk_header *chunks;
};

void tr_slab_init(struct tr_slab *slab);
/* Frees all blocks of all caches, taken or not. */
void tr_slab_fini(struct tr_slab *slab);
size_t tr_class_size(enum tr_class class);
/* The smallest message class that holds size bytes, or TR_CLASS_HEAP. */
enum tr_class tr_class_for(size_t size);

/* NULL: out of memory. cache is the calling worker's, or NULL on any other thread. Contents are undefined, but a record
 * class's fields behind struct tr_block keep what they held when the record was freed (zero when new). */
void *tr_slab_alloc(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class);
void tr_slab_free(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class, void *memory);

static inline bool tr_slab_has(const struct tr_slab_cache *cache, enum tr_class class)
{
    return cache->classes[class].count != 0;
}

/* Of a worker's cache in which tr_slab_has. */
static inline void *tr_slab_pop(struct tr_slab_cache *cache, enum tr_class class)
{
    struct tr_cache_class *c = &cache->classes[class];
    void *block = c->blocks[--c->count];
    TR_UNPOISON(block, tr_class_size(class));
    return block;
}

/* tr_slab_alloc and tr_slab_free for a worker, with the usual case inline: the cache is neither empty nor full. */
static inline void *tr_slab_take(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class)
{
    return TR_LIKELY(tr_slab_has(cache, class)) ? tr_slab_pop(cache, class) : tr_slab_alloc(slab, cache, class);
}

static inline bool tr_slab_is_full(const struct tr_slab_cache *cache, enum tr_class class)
{
    return cache->classes[class].count == tr_cache_max(class);
}

/* Into a worker's cache that is not full. */
static inline void tr_slab_push(struct tr_slab_cache *cache, enum tr_class class, void *memory)
{
    struct tr_cache_class *c = &cache->classes[class];
    c->blocks[c->count++] = memory;
    if (class <= TR_CLASS_MESSAGE_MAX)
        TR_POISON(memory, tr_class_size(class));
}

static inline void tr_slab_put(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class, void *memory)
{
    if (TR_LIKELY(!tr_slab_is_full(cache, class)))
        tr_slab_push(cache, class, memory);
    else
        tr_slab_free(slab, cache, class, memory);
}

#endif
