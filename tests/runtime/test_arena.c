/* SPDX-License-Identifier: Apache-2.0 */
/* The arena: pieces, chunks, what a reset keeps, and memory that runs out. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "io/poison.h"
#include "runtime/arena.h"
#include "runtime/memory.h"

enum { KEEP = 64 * 1024 };

/* What the arena holds: how many chunks, found by the heap requests that they cost. */
static unsigned requests_of(void (*work)(struct tr_arena *), struct tr_arena *arena)
{
    for (unsigned count = 0;; count++) {
        struct tr_arena copy = *arena;
        cr_assert(!copy.chunks, "only of an empty arena");
        tr_memory_fail_after(count);
        work(&copy);
        bool failed = tr_memory_failed();
        tr_memory_fail_after(TR_MEMORY_NEVER);
        tr_arena_fini(&copy);
        if (!failed)
            return count;
    }
}

Test(arena, pieces_are_aligned_apart_and_keep_what_is_written)
{
    enum { COUNT = 2000 };
    static unsigned char *pieces[COUNT];
    struct tr_arena arena = {0};
    for (unsigned i = 0; i < COUNT; i++) {
        pieces[i] = tr_arena_alloc(&arena, i % 300);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 255), i % 300);
    }
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned at = 0; at < i % 300; at++)
            cr_assert_eq(pieces[i][at], i & 255);
    tr_arena_fini(&arena);
}

static void assert_zero(const unsigned char *piece, size_t size)
{
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(piece[i], 0);
}

Test(arena, zeroed_pieces_are_zero_also_in_a_chunk_that_was_used_before)
{
    struct tr_arena arena = {0};
    for (unsigned round = 0; round < 3; round++) {
        for (size_t size = 1; size < 200000; size = size * 3 + 1) {
            unsigned char *piece = tr_arena_alloc_zeroed(&arena, size);
            assert_zero(piece, size);
            memset(piece, 0xff, size);
        }
        tr_arena_reset(&arena, KEEP);
    }
    tr_arena_fini(&arena);
}

static void take_hundred_thousand(struct tr_arena *arena)
{
    for (unsigned i = 0; i < 1000; i++)
        if (!tr_arena_alloc(arena, 100))
            return;
}

Test(arena, chunks_grow)
{
    struct tr_arena arena = {0};
    cr_assert_leq(requests_of(take_hundred_thousand, &arena), 9);
}

Test(arena, a_large_piece_gets_its_own_chunk_and_does_not_end_the_one_in_use)
{
    struct tr_arena arena = {0};
    char *first = tr_arena_alloc(&arena, 16), *large = tr_arena_alloc(&arena, 100000);
    char *second = tr_arena_alloc(&arena, 16);
    memset(large, 1, 100000);
    cr_assert_gt(second, first);
    cr_assert_leq(second - first, 64);
    tr_arena_fini(&arena);
}

Test(arena, a_large_piece_may_come_first)
{
    struct tr_arena arena = {0};
    memset(tr_arena_alloc(&arena, 50000), 1, 50000);
    memset(tr_arena_alloc(&arena, 50), 2, 50);
    tr_arena_reset(&arena, KEEP);
    memset(tr_arena_alloc(&arena, 50000), 1, 50000);
    tr_arena_fini(&arena);
}

Test(arena, a_reset_keeps_one_chunk)
{
    struct tr_arena arena = {0};
    void *first = tr_arena_alloc(&arena, 100);
    for (unsigned i = 0; i < 5; i++) {
        tr_arena_reset(&arena, KEEP);
        tr_memory_fail_after(0);
        cr_assert_eq(tr_arena_alloc(&arena, 100), first, "the same place, and no request");
        cr_assert(!tr_memory_failed());
        tr_memory_fail_after(TR_MEMORY_NEVER);
    }
    tr_arena_fini(&arena);
}

Test(arena, after_a_reset_one_chunk_is_enough_for_the_same_again)
{
    enum { MUCH = 1024 * 1024 };
    struct tr_arena arena = {0};
    for (unsigned i = 0; i < 4; i++)
        tr_arena_alloc(&arena, 100000);
    tr_arena_reset(&arena, MUCH);
    cr_assert_null(arena.chunks, "several chunks are not kept");
    tr_memory_fail_after(1);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_not_null(tr_arena_alloc(&arena, 100000));
    tr_arena_reset(&arena, MUCH);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_not_null(tr_arena_alloc(&arena, 100000));
    tr_memory_fail_after(TR_MEMORY_NEVER);
    tr_arena_fini(&arena);
}

Test(arena, a_reset_keeps_no_more_than_it_may)
{
    struct tr_arena arena = {0};
    tr_arena_alloc(&arena, 200000);
    tr_arena_reset(&arena, KEEP);
    cr_assert_null(arena.chunks);
    tr_arena_alloc(&arena, 100);
    tr_arena_reset(&arena, KEEP);
    tr_arena_reset(&arena, 0);
    cr_assert_null(arena.chunks);
    tr_arena_fini(&arena);
}

Test(arena, out_of_memory_changes_nothing)
{
    struct tr_arena arena = {0};
    char *first = tr_arena_alloc(&arena, 16);
    static const size_t sizes[] = {1000, 100000};
    for (unsigned i = 0; i < 2; i++) {
        tr_memory_fail_after(0);
        cr_assert_null(tr_arena_alloc(&arena, sizes[i]));
        tr_memory_fail_after(0);
        cr_assert_null(tr_arena_alloc_zeroed(&arena, sizes[i]));
        cr_assert(tr_memory_failed());
        tr_memory_fail_after(TR_MEMORY_NEVER);
    }
    cr_assert_leq((char *)tr_arena_alloc(&arena, 16) - first, 32);
    tr_arena_fini(&arena);
}

Test(arena, sizes_that_no_memory_has_are_refused)
{
    struct tr_arena arena = {0};
    static const size_t sizes[] = {SIZE_MAX,      SIZE_MAX - 1, SIZE_MAX - 15,   SIZE_MAX - 16,
                                   SIZE_MAX - 31, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert_null(tr_arena_alloc(&arena, sizes[i]), "%zu", sizes[i]);
        cr_assert_null(tr_arena_alloc_zeroed(&arena, sizes[i]), "%zu", sizes[i]);
    }
    cr_assert_not_null(tr_arena_alloc(&arena, 0));
    tr_arena_fini(&arena);
}

#ifdef TR_IO_ASAN
Test(arena, what_is_not_a_piece_is_poisoned)
{
    struct tr_arena arena = {0};
    char *piece = tr_arena_alloc(&arena, 20);
    cr_assert(!__asan_address_is_poisoned(piece + 19));
    cr_assert(__asan_address_is_poisoned(piece + 20), "behind it");
    tr_arena_alloc(&arena, 20);
    cr_assert(__asan_address_is_poisoned(piece + 32), "between two");
    tr_arena_reset(&arena, KEEP);
    cr_assert(__asan_address_is_poisoned(piece), "after a reset");
    tr_arena_fini(&arena);
}
#endif
