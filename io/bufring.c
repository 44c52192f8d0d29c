/* SPDX-License-Identifier: Apache-2.0 */
/* Each id is in one of two places: on offer (in the kernel's ring, or in our stack of free ids) or lent. While it is on
 * offer its memory belongs to the kernel, and under AddressSanitizer a touch of it by us is reported.
 * The ring is first-in first-out, so every buffer on offer is touched in turn: offering few keeps the cache warm, and
 * the number grows by a step whenever it gets low.
 * The tail is written by us with release and read by the kernel with acquire: it sees an entry before it sees its
 * number. */
#include "io/bufring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ck_pr.h>

#include "io/poison.h"
#include "sched/base/assert.h"

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t ring_bytes(const struct tr_bufring *b)
{
    return b->mapped * sizeof(struct io_uring_buf);
}

static unsigned char *address(const struct tr_bufring *b, unsigned id)
{
    return b->memory + (size_t)id * b->size;
}

int tr_bufring_init(struct tr_bufring *b, unsigned count, size_t size)
{
    TR_ASSERT(count != 0 && (count & (count - 1)) == 0 && count <= TR_BUFRING_MAX);
    *b = (struct tr_bufring){.size = size, .count = count, .mapped = count};
    b->memory = map(count * size);
    b->ring = map(ring_bytes(b));
    b->free = calloc(count, sizeof *b->free);
    b->is_lent = calloc(count, sizeof *b->is_lent);
    if (b->memory && b->ring && b->free && b->is_lent)
        return 0;
    tr_bufring_fini(b);
    return -ENOMEM;
}

void tr_bufring_fini(struct tr_bufring *b)
{
    if (b->memory) {
        TR_UNPOISON(b->memory, b->mapped * b->size);
        munmap(b->memory, b->mapped * b->size);
    }
    if (b->ring)
        munmap(b->ring, ring_bytes(b));
    free(b->free);
    free(b->is_lent);
    *b = (struct tr_bufring){0};
}

static void offer(struct tr_bufring *b, unsigned id)
{
    TR_POISON(address(b, id), b->size);
    if (!b->shared) {
        b->free[b->free_count++] = (uint16_t)id;
        return;
    }
    struct io_uring_buf_ring *ring = b->ring;
    struct io_uring_buf *entry = &ring->bufs[b->tail & (b->count - 1)];
    entry->addr = (uint64_t)(uintptr_t)address(b, id);
    entry->len = (uint32_t)b->size;
    entry->bid = (uint16_t)id; /* entry 0's unused field is the ring's tail: leave it alone */
    b->tail++;
    ck_pr_fence_store();
    ck_pr_store_16(&ring->tail, b->tail);
}

void tr_bufring_shrink(struct tr_bufring *b, unsigned count)
{
    TR_ASSERT(b->grown == 0 && count <= b->count && (count & (count - 1)) == 0);
    b->count = count;
}

void *tr_bufring_memory(const struct tr_bufring *b, unsigned id)
{
    TR_ASSERT(id < b->grown);
    return address(b, id);
}

void tr_bufring_start(struct tr_bufring *b, bool shared)
{
    TR_ASSERT(b->grown == 0);
    b->shared = shared;
    tr_bufring_grow(b);
}

bool tr_bufring_grow(struct tr_bufring *b)
{
    if (b->grown == b->count)
        return false;
    unsigned end = b->grown + TR_BUFRING_STEP < b->count ? b->grown + TR_BUFRING_STEP : b->count;
    while (b->grown < end)
        offer(b, b->grown++);
    return true;
}

unsigned tr_bufring_offered(const struct tr_bufring *b)
{
    return b->grown - b->lent;
}

void *tr_bufring_lend(struct tr_bufring *b, unsigned id, size_t length)
{
    TR_ASSERT(id < b->grown && !b->is_lent[id]);
    TR_ASSERT(length <= b->size);
    b->is_lent[id] = true;
    b->lent++;
    TR_UNPOISON(address(b, id), length);
    if (tr_bufring_offered(b) < TR_BUFRING_STEP / 4)
        tr_bufring_grow(b);
    return address(b, id);
}

int tr_bufring_take(struct tr_bufring *b)
{
    TR_ASSERT(!b->shared);
    if (b->free_count == 0 && !tr_bufring_grow(b))
        return -1;
    unsigned id = b->free[--b->free_count];
    TR_UNPOISON(address(b, id), b->size);
    return (int)id;
}

void tr_bufring_give(struct tr_bufring *b, unsigned id)
{
    TR_ASSERT(id < b->grown && b->is_lent[id]);
    b->is_lent[id] = false;
    b->lent--;
    offer(b, id);
}

void tr_bufring_unused(struct tr_bufring *b, unsigned id)
{
    TR_ASSERT(id < b->grown && !b->is_lent[id]);
    offer(b, id);
}

void tr_bufring_check(const struct tr_bufring *b)
{
    unsigned lent = 0;
    for (unsigned id = 0; id < b->count; id++) {
        TR_ASSERT(!b->is_lent[id] || id < b->grown);
        lent += b->is_lent[id];
    }
    TR_ASSERT(lent == b->lent);
    TR_ASSERT(b->shared || b->free_count + b->lent == b->grown);
}
