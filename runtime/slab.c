/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "io/poison.h"
#include "runtime/ask.h"
#include "runtime/bound.h"
#include "runtime/delay.h"
#include "runtime/family_state.h"
#include "runtime/foreign.h"
#include "runtime/hook.h"
#include "runtime/names.h"
#include "runtime/port.h"
#include "runtime/room.h"
#include "runtime/tie.h"
#include "runtime/timer.h"
#include "runtime/token.h"
#include "runtime/watch.h"
#include "sched/base/assert.h"

#define CHUNK_SIZE ((size_t)64 * 1024)
#define PAGE ((uintptr_t)4096)
#define ROUND_UP(n) (((n) + (size_t)15) & ~(size_t)15)

static const size_t class_size[TR_CLASS_COUNT] = {
    [TR_CLASS_64] = 64,
    [TR_CLASS_128] = 128,
    [TR_CLASS_256] = 256,
    [TR_CLASS_512] = 512,
    [TR_CLASS_1024] = 1024,
    [TR_CLASS_4096] = 4096,
    [TR_CLASS_ASK] = ROUND_UP(sizeof(struct tr_ask)),
    [TR_CLASS_TIMER] = ROUND_UP(sizeof(struct tr_timer_record)),
    [TR_CLASS_PORT] = ROUND_UP(sizeof(struct tr_port)),
    [TR_CLASS_TOKEN] = ROUND_UP(sizeof(struct tr_token)),
    [TR_CLASS_HOOK] = ROUND_UP(sizeof(struct tr_token_hook)),
    [TR_CLASS_WATCH] = ROUND_UP(sizeof(struct tr_watch)),
    [TR_CLASS_MONITOR] = ROUND_UP(sizeof(struct tr_monitor)),
    [TR_CLASS_BOUND] = ROUND_UP(sizeof(struct tr_bound)),
    [TR_CLASS_ROOM] = ROUND_UP(sizeof(struct tr_room)),
    [TR_CLASS_NAME] = ROUND_UP(sizeof(struct tr_name)),
    [TR_CLASS_TIE] = ROUND_UP(sizeof(struct tr_tie)),
    [TR_CLASS_DELAY] = sizeof(struct tr_delay),
    [TR_CLASS_FOREIGN_ASK] = ROUND_UP(sizeof(struct tr_foreign_ask)),
    [TR_CLASS_32] = 32,
    [TR_CLASS_FAMILY] = ROUND_UP(sizeof(struct tr_family)),
};

size_t tr_class_size(enum tr_class class)
{
    return class_size[class];
}

enum tr_class tr_class_for(size_t size)
{
    for (unsigned class = 0; class <= TR_CLASS_MESSAGE_MAX; class ++)
        if (size <= class_size[class])
            return (enum tr_class) class;
    return TR_CLASS_HEAP;
}

void tr_slab_init(struct tr_slab *slab)
{
    memset(slab, 0, sizeof *slab);
    for (unsigned i = 0; i < TR_CLASS_COUNT; i++)
        ck_spinlock_init(&slab->depots[i].lock);
    ck_spinlock_init(&slab->chunks_lock);
}

void tr_slab_fini(struct tr_slab *slab)
{
    struct tr_chunk_header *next;
    for (struct tr_chunk_header *chunk = slab->chunks; chunk; chunk = next) {
        next = chunk->next;
        TR_UNPOISON(chunk, CHUNK_SIZE);
        free(chunk);
    }
    slab->chunks = NULL;
}

/* Zeroes a new chunk. Its pages are asked for in one call, which is cheaper than a fault for each (decision 038). */
static void zero(void *chunk)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t from = (uintptr_t)chunk & ~(PAGE - 1), to = ((uintptr_t)chunk + CHUNK_SIZE + PAGE - 1) & ~(PAGE - 1);
    (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE); /* Linux 5.14; else they come as they are touched */
#endif
    memset(chunk, 0, CHUNK_SIZE);
}

/* A chunk, zeroed for records; the caller carves from *bump to *limit. */
static bool chunk_get(struct tr_slab *slab, enum tr_class class, char **bump, char **limit)
{
    struct tr_chunk_header *chunk = aligned_alloc(TR_CACHELINE, CHUNK_SIZE);
    if (!chunk)
        return false;
    if (class > TR_CLASS_MESSAGE_MAX)
        zero(chunk);
    ck_spinlock_lock(&slab->chunks_lock);
    chunk->next = slab->chunks;
    slab->chunks = chunk;
    ck_spinlock_unlock(&slab->chunks_lock);
    *bump = (char *)chunk + TR_CACHELINE;
    *limit = (char *)chunk + CHUNK_SIZE;
    return true;
}

/* A magazine from the depot into the empty cache. */
static bool depot_take(struct tr_depot *depot, struct tr_cache_class *c)
{
    if (!ck_pr_load_ptr(&depot->magazines))
        return false;
    ck_spinlock_lock(&depot->lock);
    struct tr_block *block = depot->magazines;
    if (block) {
        TR_UNPOISON(block, sizeof *block);
        ck_pr_store_ptr(&depot->magazines, block->magazine);
    }
    ck_spinlock_unlock(&depot->lock);
    if (!block)
        return false;
    for (c->count = 0; c->count < TR_MAGAZINE; block = block->next) {
        TR_UNPOISON(block, sizeof *block);
        c->blocks[c->count++] = block;
    }
    return true;
}

/* The oldest of a full cache into the depot, as a magazine: the newer are warm. */
static void depot_give(struct tr_depot *depot, struct tr_cache_class *c)
{
    TR_ASSERT(c->count > TR_MAGAZINE);
    struct tr_block *head = NULL;
    for (unsigned i = 0; i < TR_MAGAZINE; i++) {
        struct tr_block *block = c->blocks[i];
        TR_UNPOISON(block, sizeof *block);
        block->next = head;
        head = block;
    }
    c->count -= TR_MAGAZINE;
    memmove(c->blocks, c->blocks + TR_MAGAZINE, c->count * sizeof *c->blocks);
    ck_spinlock_lock(&depot->lock);
    head->magazine = depot->magazines;
    ck_pr_store_ptr(&depot->magazines, head);
    ck_spinlock_unlock(&depot->lock);
}

/* For threads without a cache: block by block under the depot's lock. */
static void *foreign_alloc(struct tr_slab *slab, enum tr_class class)
{
    struct tr_depot *depot = &slab->depots[class];
    ck_spinlock_lock(&depot->lock);
    if (!depot->loose && depot->magazines) {
        depot->loose = depot->magazines;
        depot->loose_count = TR_MAGAZINE;
        TR_UNPOISON(depot->loose, sizeof *depot->loose);
        ck_pr_store_ptr(&depot->magazines, depot->loose->magazine);
    }
    struct tr_block *block = depot->loose;
    if (block) {
        TR_UNPOISON(block, sizeof *block);
        depot->loose = block->next;
        depot->loose_count--;
    }
    ck_spinlock_unlock(&depot->lock);
    if (block)
        return block;
    char *bump, *limit;
    if (!chunk_get(slab, class, &bump, &limit))
        return NULL;
    for (char *at = bump + class_size[class]; at + class_size[class] <= limit; at += class_size[class])
        tr_slab_free(slab, NULL, class, at);
    return bump;
}

/* A free block of a message class must not be touched. To be called while nobody else can take it yet. */
static void poison(struct tr_block *block, enum tr_class class)
{
    if (class <= TR_CLASS_MESSAGE_MAX)
        TR_POISON(block, class_size[class]);
}

/* A magazine full of them is for everybody: else what workers take and such threads give back never comes round. */
static void foreign_free(struct tr_slab *slab, enum tr_class class, struct tr_block *block)
{
    struct tr_depot *depot = &slab->depots[class];
    ck_spinlock_lock(&depot->lock);
    block->next = depot->loose;
    depot->loose = block;
    if (++depot->loose_count == TR_MAGAZINE) {
        block->magazine = depot->magazines;
        ck_pr_store_ptr(&depot->magazines, block);
        depot->loose = NULL;
        depot->loose_count = 0;
    }
    poison(block, class);
    ck_spinlock_unlock(&depot->lock);
}

/* Fills the empty cache from the newest chunk, so that the usual way of an allocation is the same for new blocks: the
 * lowest address comes first. */
static void carve(struct tr_cache_class *c, size_t size)
{
    size_t left = (size_t)(c->limit - c->bump) / size;
    unsigned n = left < TR_MAGAZINE ? (unsigned)left : TR_MAGAZINE;
    TR_ASSERT(n > 0);
    c->count = n;
    for (; n > 0; c->bump += size)
        c->blocks[--n] = c->bump;
}

static bool refill(struct tr_slab *slab, struct tr_cache_class *c, enum tr_class class)
{
    if (depot_take(&slab->depots[class], c))
        return true;
    if (c->limit - c->bump < (ptrdiff_t)class_size[class] && !chunk_get(slab, class, &c->bump, &c->limit))
        return false;
    carve(c, class_size[class]);
    return true;
}

void *tr_slab_alloc(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class)
{
    void *block;
    if (TR_UNLIKELY(!cache)) {
        block = foreign_alloc(slab, class);
    } else {
        struct tr_cache_class *c = &cache->classes[class];
        block = c->count || refill(slab, c, class) ? c->blocks[--c->count] : NULL;
    }
    if (block)
        TR_UNPOISON(block, class_size[class]);
    return block;
}

void tr_slab_free(struct tr_slab *slab, struct tr_slab_cache *cache, enum tr_class class, void *memory)
{
    if (TR_UNLIKELY(!cache)) {
        foreign_free(slab, class, memory);
        return;
    }
    struct tr_cache_class *c = &cache->classes[class];
    if (TR_UNLIKELY(c->count == tr_cache_max(class)))
        depot_give(&slab->depots[class], c);
    c->blocks[c->count++] = memory;
    poison(memory, class);
}
