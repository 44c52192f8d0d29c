/* SPDX-License-Identifier: Apache-2.0 */
/* Tracked blocks: freed in any order, resized, freed all at once; and what is no block is told. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/blocks.h"
#include "runtime/memory.h"

enum { COUNT = 500 };

/* NULL: out of memory. */
static void *resize(struct tr_blocks *blocks, void *block, size_t size)
{
    void *resized;
    cr_assert(tr_blocks_resize(blocks, block, size, &resized));
    return resized;
}

static unsigned next_random(void)
{
    static unsigned state = 12345;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Leaks are LeakSanitizer's to tell. */
Test(blocks, any_order_of_allocating_resizing_and_freeing)
{
    static unsigned char *live[COUNT];
    static size_t sizes[COUNT];
    struct tr_blocks blocks = {0};
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = next_random() % COUNT;
        size_t size = next_random() % 700;
        if (live[i]) {
            cr_assert(tr_blocks_has(&blocks, live[i]));
            for (size_t at = 0; at < sizes[i]; at++)
                cr_assert_eq(live[i][at], i & 255);
        }
        if (live[i] && next_random() % 2) {
            cr_assert(tr_blocks_free(&blocks, live[i]));
            live[i] = NULL;
            continue;
        }
        live[i] = live[i] ? resize(&blocks, live[i], size) : tr_blocks_alloc(&blocks, size);
        sizes[i] = size;
        cr_assert_eq((uintptr_t)live[i] % 16, 0);
        memset(live[i], (int)(i & 255), size);
    }
    cr_assert(tr_blocks_free_all(&blocks));
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert(!live[i] || !tr_blocks_has(&blocks, live[i]));
}

Test(blocks, what_is_none_of_them_is_told)
{
    struct tr_blocks blocks = {0}, others = {0};
    _Alignas(16) static char room[64];
    char *block = tr_blocks_alloc(&blocks, 100), *heap = calloc(1, 100);
    cr_assert(tr_blocks_has(&blocks, block));
    char *strange[3];
    for (unsigned i = 0; i < 3; i++)
        strange[i] = tr_blocks_alloc(&others, 100);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(tr_blocks_has(&others, strange[i]) && !tr_blocks_has(&blocks, strange[i]), "another list's");
    cr_assert(!tr_blocks_has(&blocks, block + 16), "the middle of one");
    cr_assert(!tr_blocks_has(&blocks, block + 1), "not aligned");
    cr_assert(!tr_blocks_has(&blocks, heap + 16), "malloc's");
    cr_assert(!tr_blocks_has(&blocks, room + 32), "static");
    cr_assert(!tr_blocks_has(&blocks, NULL));
    cr_assert(!tr_blocks_has(&blocks, (void *)16));
    free(heap);
    tr_blocks_free_all(&others);
    tr_blocks_free_all(&blocks);
}

Test(blocks, one_that_was_freed_is_told)
{
    struct tr_blocks blocks = {0};
    static void *freed[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        freed[i] = tr_blocks_alloc(&blocks, 200);
    for (unsigned i = 0; i < COUNT; i++) {
        void *out = freed;
        cr_assert(tr_blocks_free(&blocks, freed[i]));
        cr_assert(!tr_blocks_has(&blocks, freed[i]) && !tr_blocks_free(&blocks, freed[i]));
        cr_assert(!tr_blocks_resize(&blocks, freed[i], 10, &out) && !out);
    }
}

Test(blocks, one_that_moved_is_told_by_its_old_place)
{
    struct tr_blocks blocks = {0};
    void *old = tr_blocks_alloc(&blocks, 100), *behind = tr_blocks_alloc(&blocks, 100);
    void *moved = resize(&blocks, old, 5000);
    cr_assert_neq(moved, old, "something is behind it");
    cr_assert(tr_blocks_has(&blocks, moved) && tr_blocks_has(&blocks, behind) && !tr_blocks_has(&blocks, old));
    cr_assert(tr_blocks_free_all(&blocks));
}

/* Every bit of the header counts. */
Test(blocks, one_that_was_overwritten_before_its_start_is_told_and_so_are_its_neighbours)
{
    struct tr_blocks blocks = {0};
    uint64_t *b[5];
    for (unsigned i = 0; i < 5; i++)
        b[i] = tr_blocks_alloc(&blocks, 100);
    for (unsigned bit = 0; bit < 128; bit++) {
        uint64_t *word = b[2] - 1 - bit / 64, was = *word;
        *word ^= UINT64_C(1) << bit % 64;
        cr_assert(!tr_blocks_has(&blocks, b[2]), "bit %u", bit);
        cr_assert(!tr_blocks_has(&blocks, b[1]) && !tr_blocks_has(&blocks, b[3]), "they cannot be unlinked safely");
        cr_assert(tr_blocks_has(&blocks, b[0]) && tr_blocks_has(&blocks, b[4]));
        *word = was;
        cr_assert(tr_blocks_has(&blocks, b[2]));
    }
    cr_assert(tr_blocks_free_all(&blocks));
}

Test(blocks, freeing_all_stops_at_one_that_was_overwritten)
{
    struct tr_blocks blocks = {0};
    uint64_t *b[3];
    for (unsigned i = 0; i < 3; i++)
        b[i] = tr_blocks_alloc(&blocks, 100);
    b[1][-2] = 0;
    cr_assert(!tr_blocks_free_all(&blocks));
    cr_assert_null(blocks.newest);
    free(b[0] - 2); /* the quarantined ones, so that nothing else is hidden behind this leak */
    free(b[1] - 2);
}

Test(blocks, out_of_memory_changes_nothing)
{
    struct tr_blocks blocks = {0};
    char *block = tr_blocks_alloc(&blocks, 10);
    strcpy(block, "still");
    tr_memory_fail_after(0);
    cr_assert_null(tr_blocks_alloc(&blocks, 10));
    tr_memory_fail_after(0);
    cr_assert_null(resize(&blocks, block, 1000));
    cr_assert(tr_memory_failed());
    tr_memory_fail_after(TR_MEMORY_NEVER);
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert_null(tr_blocks_alloc(&blocks, sizes[i]));
        cr_assert_null(resize(&blocks, block, sizes[i]));
    }
    cr_assert(tr_blocks_has(&blocks, block));
    cr_assert_str_eq(block, "still");
    cr_assert(tr_blocks_free_all(&blocks));
}
