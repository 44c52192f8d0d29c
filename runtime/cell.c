/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cell.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/mailbox.h"
#include "runtime/memory.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_cell, control) == 64, "senders and owner write different lines");
_Static_assert(offsetof(struct tr_cell, state_room) == 128, "what a handler touches most are three lines");
_Static_assert(offsetof(struct tr_cell, args_room) % 8 == 0, "as aligned as what is as large");
_Static_assert(sizeof(struct tr_cell) == 256, "an idle actor costs four lines");

#define CHUNK_SIZE (TR_CELLS_PER_CHUNK * sizeof(struct tr_cell))
_Static_assert(CHUNK_SIZE % TR_MEMORY_PAGE == 0, "pages hold cells and nothing else");

/* Whole chunks, so that the last one has its pages to itself. */
static size_t table_size(uint32_t limit)
{
    return ((size_t)limit + TR_CELLS_PER_CHUNK - 1) / TR_CELLS_PER_CHUNK * CHUNK_SIZE;
}

int tr_cell_table_init(struct tr_cell_table *table, uint32_t limit)
{
    *table = (struct tr_cell_table){.limit = limit, .free_capacity = limit};
    ck_spinlock_init(&table->lock);
    if (limit > TR_CELLS_MAX)
        return -EINVAL;
    table->cells = tr_memory_reserve(table_size(limit));
    table->free_slots = malloc((size_t)limit * sizeof *table->free_slots); /* pages are touched as they are needed */
    if (!table->cells || !table->free_slots) {
        tr_cell_table_fini(table);
        return -ENOMEM;
    }
    return 0;
}

void tr_cell_table_fini(struct tr_cell_table *table)
{
    if (table->cells)
        tr_memory_release(table->cells, table_size(table->limit));
    free(table->free_slots);
}

/* Makes one more chunk of cells and puts its slots on the free stack, lowest on top. Under lock. */
static bool chunk_add(struct tr_cell_table *table)
{
    uint32_t first = table->made, room = table->limit - first;
    uint32_t count = room < TR_CELLS_PER_CHUNK ? room : TR_CELLS_PER_CHUNK;
    struct tr_cell *chunk = table->cells + first;
    if (count == 0 || !tr_memory_commit(chunk, CHUNK_SIZE))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        chunk[i].index = first + i;
        chunk[i].generation = 1;
        tr_mailbox_init_closed(&chunk[i]);
    }
    ck_pr_fence_store();
    ck_pr_store_32(&table->made, first + count);
    for (uint32_t i = count; i-- > 0;)
        table->free_slots[table->free_count++] = first + i;
    return true;
}

static void slots_refill(struct tr_cell_table *table, struct tr_slot_cache *cache)
{
    ck_spinlock_lock(&table->lock);
    if (table->free_count == 0)
        chunk_add(table);
    while (table->free_count > 0 && cache->count < TR_SLOT_BATCH)
        cache->slots[cache->count++] = table->free_slots[--table->free_count];
    ck_spinlock_unlock(&table->lock);
}

static void slots_spill(struct tr_cell_table *table, struct tr_slot_cache *cache)
{
    ck_spinlock_lock(&table->lock);
    while (cache->count > TR_SLOT_BATCH) {
        TR_ASSERT(table->free_count < table->free_capacity);
        table->free_slots[table->free_count++] = cache->slots[--cache->count];
    }
    ck_spinlock_unlock(&table->lock);
}

struct tr_cell *tr_cell_get(struct tr_cell_table *table, struct tr_slot_cache *cache)
{
    if (cache->count == 0)
        slots_refill(table, cache);
    if (cache->count == 0)
        return NULL;
    return table->cells + cache->slots[--cache->count];
}

void tr_cell_put(struct tr_cell_table *table, struct tr_slot_cache *cache, struct tr_cell *cell)
{
    if (cell->generation == 0)
        return; /* wrapped: an address of four billion lives ago could come true again, so the slot rests for good */
    if (cache->count == 2 * TR_SLOT_BATCH)
        slots_spill(table, cache);
    cache->slots[cache->count++] = cell->index;
}
