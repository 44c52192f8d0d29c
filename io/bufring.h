/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's lent receive buffers: equal pieces of one mapping, offered to the kernel through a ring that it takes from
 * when data arrives, so that idle connections pin no memory. Owns the mapping and the ring's memory.
 * The loop's thread only. It is not an allocator: without a free buffer its user takes a heap block. */
#ifndef TR_IO_BUFRING_H
#define TR_IO_BUFRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR_BUFRING_MAX 32768u /* the kernel's limit of a ring of buffers */
#define TR_BUFRING_STEP 64u   /* buffers put on offer at once, as the need for them grows */

struct tr_bufring {
    unsigned char *memory; /* count * size bytes; a page of it costs nothing until it is first used */
    size_t size;           /* of one buffer, bytes */
    unsigned count;        /* a power of two */
    unsigned mapped;       /* what count was when the memory was mapped */
    unsigned grown;        /* ids below this exist */
    unsigned lent;         /* ids that are with users */
    bool shared;           /* offered to the kernel; else taken by tr_bufring_take */
    void *ring;            /* the kernel's view: count entries of struct io_uring_buf */
    uint16_t tail;         /* ours of the ring; its low bits are the next entry */
    uint16_t *free;        /* when not shared: a stack of ids */
    unsigned free_count;
    bool *is_lent; /* per id */
};

/* count: a power of two up to TR_BUFRING_MAX; size: bytes of each. Returns 0 or -ENOMEM. */
int tr_bufring_init(struct tr_bufring *b, unsigned count, size_t size);
void tr_bufring_fini(struct tr_bufring *b);
/* Makes do with fewer: the kernel did not accept so long a ring. Before start. */
void tr_bufring_shrink(struct tr_bufring *b, unsigned count);
/* Says who takes: the kernel, through b->ring that was just registered, or the loop itself. Once, before anything
 * else. */
void tr_bufring_start(struct tr_bufring *b, bool shared);
/* Puts more buffers on offer; false when all exist already. */
bool tr_bufring_grow(struct tr_bufring *b);
unsigned tr_bufring_offered(const struct tr_bufring *b);
/* The kernel chose this id for `length` bytes: it is lent from here on. Returns its memory. */
void *tr_bufring_lend(struct tr_bufring *b, unsigned id, size_t length);
/* Not shared: an id that is on offer, or -1. It still has to be lent. */
int tr_bufring_take(struct tr_bufring *b);
void *tr_bufring_memory(const struct tr_bufring *b, unsigned id);
/* Puts a lent one back on offer. */
void tr_bufring_give(struct tr_bufring *b, unsigned id);
/* Puts one back that the kernel (or take) chose and nobody used. */
void tr_bufring_unused(struct tr_bufring *b, unsigned id);
void tr_bufring_check(const struct tr_bufring *b);

#endif
