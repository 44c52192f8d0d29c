/* SPDX-License-Identifier: Apache-2.0 */
/* Tracked blocks: heap memory that its owner can free one by one, or all at once without knowing where it is.
 * The owner's list runs through a header of 16 bytes before each block; touched by one thread at a time.
 * It is not an arena (see arena.h), and no memory checker: it tells what is not its own, and what was written just
 * before a block.
 *
 * The header holds the two links, veiled with a key made from the places of header and list. What does not unveil to
 * two links that lead back is no block of this list: never was, is no more, or was overwritten. Bytes that are no
 * header pass by chance once in 2^40; then their links are followed, and still have to lead back. */
#ifndef TR_RUNTIME_BLOCKS_H
#define TR_RUNTIME_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

struct tr_blocks_header;

/* Stays where it is as long as it has blocks. Zeroed: none. */
struct tr_blocks {
    struct tr_blocks_header *newest;
};

/* Aligned to 16, of no defined content. NULL: out of memory. */
void *tr_blocks_alloc(struct tr_blocks *blocks, size_t size);
/* Whether block is one of these. It reads the 16 bytes before it, if it is aligned to 16. */
bool tr_blocks_has(const struct tr_blocks *blocks, const void *block);
/* False: it is none of these, and nothing was done. *out is the block as it is now; NULL: out of memory, it is as it
 * was. */
bool tr_blocks_resize(struct tr_blocks *blocks, void *block, size_t size, void **out);
/* False: it is none of these, and nothing was done. */
bool tr_blocks_free(struct tr_blocks *blocks, void *block);
/* Frees all. False: a header was overwritten; it and all that are older stay allocated, there is no telling where they
 * are. */
bool tr_blocks_free_all(struct tr_blocks *blocks);

#endif
