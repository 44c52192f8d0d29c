/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/blocks.h"

#include <stdint.h>
#include <stdlib.h>

#include "runtime/memory.h"

/* One wrong bit in a veiled link is many in the link: an odd factor carries it up to where addresses are all alike. */
#define FACTOR UINT64_C(0x9e3779b97f4a7c15)
#define INVERSE UINT64_C(0xf1de83e19937733d)
#define ALIGNMENT ((uintptr_t)16)
#define ADDRESS_BITS 48 /* what addresses differ in; Linux gives more only to those who ask */

/* A header that was freed may be read, to say just that: it must not end in a sanitizer's report instead. */
#define MAY_BE_FREED __attribute__((no_sanitize("address"), no_sanitize("thread")))

struct tr_blocks_header {
    uint64_t older, newer; /* veiled */
};

struct links {
    struct tr_blocks_header *older, *newer;
};

_Static_assert(sizeof(struct tr_blocks_header) == 16, "a block is aligned as malloc aligns");
_Static_assert((FACTOR) * (INVERSE) == 1, "what is veiled can be unveiled");
_Static_assert(sizeof(uintptr_t) == 8, "the veil's spare bits are those of 64-bit addresses");

static uint64_t key_of(const struct tr_blocks *blocks, const struct tr_blocks_header *header)
{
    uint64_t mixed = ((uintptr_t)header + 3 * (uintptr_t)blocks) * FACTOR;
    return mixed ^ mixed >> 32; /* brings the high bits down to the four that are zero in an address */
}

static uint64_t veil(const struct tr_blocks_header *link, uint64_t key)
{
    return ((uintptr_t)link ^ key) * FACTOR;
}

static uint64_t unveil(uint64_t word, uint64_t key)
{
    return word * INVERSE ^ key;
}

static void links_set(const struct tr_blocks *blocks, struct tr_blocks_header *header, struct links links)
{
    uint64_t key = key_of(blocks, header);
    header->older = veil(links.older, key);
    header->newer = veil(links.newer, ~key);
}

static bool plausible(const struct tr_blocks_header *from, uint64_t link)
{
    return link == 0 || (link % ALIGNMENT == 0 && (link ^ (uintptr_t)from) >> ADDRESS_BITS == 0);
}

/* False: this is no header of blocks, or not any more. */
static MAY_BE_FREED bool links_get(const struct tr_blocks *blocks, const struct tr_blocks_header *header,
                                   struct links *out)
{
    uint64_t key = key_of(blocks, header);
    uint64_t older = unveil(header->older, key), newer = unveil(header->newer, ~key);
    if (!plausible(header, older) || !plausible(header, newer))
        return false;
    *out = (struct links){(void *)(uintptr_t)older, (void *)(uintptr_t)newer};
    return true;
}

/* A header of blocks, with the links of its neighbours. */
struct place {
    struct tr_blocks_header *header;
    struct links links, of_older, of_newer;
};

/* False: the links do not lead back. */
static bool neighbours_get(const struct tr_blocks *blocks, struct place *place)
{
    struct links links = place->links;
    if (links.older && !(links_get(blocks, links.older, &place->of_older) && place->of_older.newer == place->header))
        return false;
    if (links.newer)
        return links_get(blocks, links.newer, &place->of_newer) && place->of_newer.older == place->header;
    return blocks->newest == place->header;
}

static bool find(const struct tr_blocks *blocks, const void *block, struct place *out)
{
    uintptr_t at = (uintptr_t)block;
    if (at % ALIGNMENT != 0 || at <= sizeof(struct tr_blocks_header))
        return false;
    *out = (struct place){.header = (struct tr_blocks_header *)(at - sizeof(struct tr_blocks_header))};
    return links_get(blocks, out->header, &out->links) && neighbours_get(blocks, out);
}

/* Has the neighbours of place lead to these two instead of to it. */
static void lead_to(struct tr_blocks *blocks, const struct place *place, struct tr_blocks_header *from_older,
                    struct tr_blocks_header *from_newer)
{
    if (place->links.older)
        links_set(blocks, place->links.older, (struct links){place->of_older.older, from_older});
    if (place->links.newer)
        links_set(blocks, place->links.newer, (struct links){from_newer, place->of_newer.newer});
    else
        blocks->newest = from_newer;
}

/* What is about to be freed is no header any more. The compiler would leave out stores that nobody reads before
 * free. */
static void unmark(struct tr_blocks_header *header)
{
    *header = (struct tr_blocks_header){0, 0};
    __asm__ volatile("" : : "r"(header) : "memory");
}

void *tr_blocks_alloc(struct tr_blocks *blocks, size_t size)
{
    struct tr_blocks_header *header = size <= SIZE_MAX - sizeof *header ? tr_memory_alloc(sizeof *header + size) : NULL;
    struct tr_blocks_header *newest = blocks->newest;
    struct links of_newest;
    if (!header)
        return NULL;
    links_set(blocks, header, (struct links){newest, NULL});
    if (newest && links_get(blocks, newest, &of_newest)) /* else it was overwritten, and will be told */
        links_set(blocks, newest, (struct links){of_newest.older, header});
    blocks->newest = header;
    return header + 1;
}

bool tr_blocks_has(const struct tr_blocks *blocks, const void *block)
{
    struct place place;
    return find(blocks, block, &place);
}

bool tr_blocks_resize(struct tr_blocks *blocks, void *block, size_t size, void **out)
{
    struct place place;
    *out = NULL;
    if (!find(blocks, block, &place))
        return false;
    if (size > SIZE_MAX - sizeof *place.header)
        return true;
    unmark(place.header); /* what stays at the old place, if it moves */
    struct tr_blocks_header *resized = tr_memory_resize(place.header, sizeof *resized + size);
    links_set(blocks, resized ? resized : place.header, place.links);
    if (!resized)
        return true;
    lead_to(blocks, &place, resized, resized);
    *out = resized + 1;
    return true;
}

bool tr_blocks_free(struct tr_blocks *blocks, void *block)
{
    struct place place;
    if (!find(blocks, block, &place))
        return false;
    lead_to(blocks, &place, place.links.newer, place.links.older);
    unmark(place.header);
    free(place.header);
    return true;
}

bool tr_blocks_free_all(struct tr_blocks *blocks)
{
    struct tr_blocks_header *header = blocks->newest;
    uintptr_t newer = 0; /* where the one before was */
    struct links links;
    while (header && links_get(blocks, header, &links) && (uintptr_t)links.newer == newer) {
        newer = (uintptr_t)header;
        unmark(header);
        free(header);
        header = links.older;
    }
    blocks->newest = NULL;
    return !header;
}
