/* SPDX-License-Identifier: Apache-2.0 */
/* The slab: caches, magazines through the depot, threads without a cache, type-stable records. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ask.h"
#include "runtime/port.h"
#include "runtime/slab.h"
#include "runtime/timer.h"

static int by_address(const void *a, const void *b)
{
    const char *x = *(void *const *)a, *y = *(void *const *)b;
    return (x > y) - (x < y);
}

/* Blocks of `size` bytes, none of which overlaps another. */
static void assert_apart(void **blocks, unsigned count, size_t size)
{
    qsort(blocks, count, sizeof *blocks, by_address);
    for (unsigned i = 1; i < count; i++)
        cr_assert_geq((char *)blocks[i] - (char *)blocks[i - 1], (ptrdiff_t)size);
}

Test(slab, the_class_is_the_smallest_that_holds_the_size)
{
    cr_assert_eq(tr_class_for(1), TR_CLASS_64);
    for (unsigned class = 0; class <= TR_CLASS_MESSAGE_MAX; class ++) {
        cr_assert_eq(tr_class_for(tr_class_size((enum tr_class) class)), class);
        cr_assert_eq(tr_class_for(tr_class_size((enum tr_class) class) + 1),
                     class == TR_CLASS_MESSAGE_MAX ? (unsigned)TR_CLASS_HEAP : class + 1);
    }
}

Test(slab, blocks_of_all_classes_are_aligned_and_apart)
{
    enum { COUNT = 300 };
    struct tr_slab slab;
    static struct tr_slab_cache cache;
    static void *blocks[COUNT];
    memset(&cache, 0, sizeof cache);
    tr_slab_init(&slab);
    for (unsigned class = 0; class < TR_CLASS_COUNT; class ++) {
        size_t size = tr_class_size((enum tr_class) class);
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = tr_slab_alloc(&slab, &cache, (enum tr_class) class);
            cr_assert_not_null(blocks[i]);
            cr_assert_eq((uintptr_t)blocks[i] % 16, 0);
            if (class <= TR_CLASS_MESSAGE_MAX)
                memset(blocks[i], 0xab, size);
        }
        assert_apart(blocks, COUNT, size);
    }
    tr_slab_fini(&slab);
}

Test(slab, blocks_freed_in_one_cache_are_used_by_the_other)
{
    enum { ROUNDS = 200, COUNT = 5 * TR_MAGAZINE };
    struct tr_slab slab;
    static struct tr_slab_cache giver, taker;
    static void *blocks[COUNT];
    memset(&giver, 0, sizeof giver);
    memset(&taker, 0, sizeof taker);
    tr_slab_init(&slab);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            blocks[i] = tr_slab_alloc(&slab, &taker, TR_CLASS_256);
        for (unsigned i = 0; i < COUNT; i++)
            tr_slab_free(&slab, &giver, TR_CLASS_256, blocks[i]);
    }
    unsigned chunks = 0;
    for (struct tr_chunk_header *chunk = slab.chunks; chunk; chunk = chunk->next)
        chunks++;
    cr_assert_leq(chunks, 3, "%u chunks of 64 KiB for 80 KiB of blocks", chunks);
    tr_slab_fini(&slab);
}

/* As with names: a worker binds a tie, a thread outside cuts it. */
Test(slab, blocks_freed_without_a_cache_are_used_by_those_who_have_one)
{
    enum { ROUNDS = 200, COUNT = 5 * TR_MAGAZINE + 1 };
    struct tr_slab slab;
    static struct tr_slab_cache cache;
    static void *blocks[COUNT];
    memset(&cache, 0, sizeof cache);
    tr_slab_init(&slab);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            cr_assert_not_null(blocks[i] = tr_slab_alloc(&slab, &cache, TR_CLASS_256));
        assert_apart(blocks, COUNT, 256);
        for (unsigned i = 0; i < COUNT; i++)
            tr_slab_free(&slab, NULL, TR_CLASS_256, blocks[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) /* and the other way round */
        cr_assert_not_null(blocks[i] = tr_slab_alloc(&slab, NULL, TR_CLASS_256));
    assert_apart(blocks, COUNT, 256);
    unsigned chunks = 0;
    for (struct tr_chunk_header *chunk = slab.chunks; chunk; chunk = chunk->next)
        chunks++;
    cr_assert_leq(chunks, 3, "%u chunks of 64 KiB for 80 KiB of blocks", chunks);
    tr_slab_fini(&slab);
}

Test(slab, foreign_threads_take_what_workers_gave_back)
{
    struct tr_slab slab;
    static struct tr_slab_cache cache;
    static void *blocks[4 * TR_MAGAZINE];
    memset(&cache, 0, sizeof cache);
    tr_slab_init(&slab);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 4 * TR_MAGAZINE; i++)
            blocks[i] = tr_slab_alloc(&slab, NULL, TR_CLASS_1024);
        assert_apart(blocks, 4 * TR_MAGAZINE, 1024);
        for (unsigned i = 0; i < 4 * TR_MAGAZINE; i++)
            tr_slab_free(&slab, i % 3 ? &cache : NULL, TR_CLASS_1024, blocks[i]);
    }
    unsigned chunks = 0;
    for (struct tr_chunk_header *chunk = slab.chunks; chunk; chunk = chunk->next)
        chunks++;
    cr_assert_leq(chunks, 8, "%u chunks of 64 KiB for 256 KiB of blocks", chunks);
    tr_slab_fini(&slab);
}

Test(slab, the_serial_of_a_record_survives_its_lives)
{
    struct tr_slab slab;
    static struct tr_slab_cache cache, other;
    memset(&cache, 0, sizeof cache);
    memset(&other, 0, sizeof other);
    tr_slab_init(&slab);
    struct tr_timer_record *timer = tr_slab_alloc(&slab, &cache, TR_CLASS_TIMER);
    struct tr_ask *ask = tr_slab_alloc(&slab, &cache, TR_CLASS_ASK);
    struct tr_port *port = tr_slab_alloc(&slab, &cache, TR_CLASS_PORT);
    cr_assert(timer->alarm.serial == 0 && ask->serial == 0 && port->serial == 0, "new records are zero");
    timer->alarm.serial = 41;
    ask->serial = 42;
    port->serial = 43;
    tr_slab_free(&slab, &cache, TR_CLASS_TIMER, timer);
    tr_slab_free(&slab, &other, TR_CLASS_ASK, ask);
    tr_slab_free(&slab, NULL, TR_CLASS_PORT, port);
    cr_assert(timer->alarm.serial == 41 && ask->serial == 42 && port->serial == 43, "a stale handle may look");
    cr_assert_eq(tr_slab_alloc(&slab, &cache, TR_CLASS_TIMER), timer);
    cr_assert_eq(tr_slab_alloc(&slab, &other, TR_CLASS_ASK), ask);
    cr_assert_eq(tr_slab_alloc(&slab, NULL, TR_CLASS_PORT), port);
    cr_assert(timer->alarm.serial == 41 && ask->serial == 42 && port->serial == 43);
    tr_slab_fini(&slab);
}

struct hand {
    struct tr_slab *slab;
    struct tr_slab_cache cache;
    bool foreign;
    unsigned errors;
};

static void *allocate_and_free(void *arg)
{
    struct hand *hand = arg;
    struct tr_slab_cache *cache = hand->foreign ? NULL : &hand->cache;
    for (unsigned round = 0; round < 2000; round++) {
        unsigned char *mine[48];
        for (unsigned i = 0; i < 48; i++) {
            mine[i] = tr_slab_alloc(hand->slab, cache, TR_CLASS_128);
            memset(mine[i], (int)(i + 1), 128);
        }
        for (unsigned i = 0; i < 48; i++) {
            hand->errors += mine[i][0] != i + 1 || mine[i][127] != i + 1;
            tr_slab_free(hand->slab, cache, TR_CLASS_128, mine[i]);
        }
    }
    return NULL;
}

Test(slab, no_block_is_ever_given_to_two)
{
    struct tr_slab slab;
    static struct hand hands[4];
    pthread_t threads[4];
    tr_slab_init(&slab);
    for (unsigned i = 0; i < 4; i++) {
        memset(&hands[i], 0, sizeof hands[i]);
        hands[i].slab = &slab;
        hands[i].foreign = i >= 2;
        pthread_create(&threads[i], NULL, allocate_and_free, &hands[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(hands[i].errors, 0);
    }
    tr_slab_fini(&slab);
}
