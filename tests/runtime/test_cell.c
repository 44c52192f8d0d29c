/* SPDX-License-Identifier: Apache-2.0 */
/* The cell table: addresses, generations, reuse, limits. */
#include <criterion/criterion.h>

#include <errno.h>

#include "runtime/cell.h"
#include "runtime/mailbox.h"
#include "runtime/memory.h"

/* The life of an actor as the table sees it. */
static void live_and_end(struct tr_cell *cell)
{
    troupe_msg *mark;
    tr_mailbox_open(cell);
    cr_assert_null(tr_mailbox_close(cell, &mark));
    cr_assert(!mark && !cell->fifo_head);
}

Test(cell, costs_four_cache_lines)
{
    cr_assert_eq(sizeof(struct tr_cell), 256);
}

Test(cell, nobody_and_nonsense_find_nothing)
{
    struct tr_cell_table table;
    cr_assert_eq(tr_cell_table_init(&table, 1000), 0);
    cr_assert_null(tr_cell_find(&table, (troupe_addr){0}));
    cr_assert_null(tr_cell_find(&table, (troupe_addr){UINT64_MAX}));
    cr_assert_null(tr_cell_find(&table, (troupe_addr){UINT64_C(1) << 32 | 999}), "its chunk is not there yet");
    cr_assert_null(tr_cell_find(&table, (troupe_addr){UINT64_C(1) << 32 | 1000}), "beyond the limit");
    tr_cell_table_fini(&table);
}

Test(cell, an_address_finds_its_cell_and_is_stale_after_the_end)
{
    struct tr_cell_table table;
    struct tr_slot_cache cache = {.count = 0};
    cr_assert_eq(tr_cell_table_init(&table, 1000), 0);
    struct tr_cell *cell = tr_cell_get(&table, &cache);
    troupe_addr addr = tr_cell_addr(cell);
    cr_assert_not(troupe_addr_is_nobody(addr));
    cr_assert_eq(tr_cell_find(&table, addr), cell);
    live_and_end(cell);
    cr_assert_eq(tr_cell_find(&table, addr), cell, "type-stable: it finds the cell");
    cr_assert_neq(cell->generation, tr_addr_generation(addr), "but of another generation");
    cr_assert_eq(tr_mailbox_control(cell, tr_addr_generation(addr), TR_CONTROL_STOP, 0), TR_PUSH_CLOSED);
    tr_cell_put(&table, &cache, cell);
    struct tr_cell *next = tr_cell_get(&table, &cache);
    cr_assert_eq(next, cell, "the slot is reused");
    cr_assert_not(troupe_addr_same(tr_cell_addr(next), addr));
    tr_cell_table_fini(&table);
}

Test(cell, a_slot_given_back_in_one_cache_comes_out_of_another)
{
    enum { COUNT = 600 };
    struct tr_cell_table table;
    static struct tr_slot_cache giver, taker;
    static struct tr_cell *cells[COUNT];
    cr_assert_eq(tr_cell_table_init(&table, COUNT + 4 * TR_SLOT_BATCH), 0);
    giver.count = taker.count = 0;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            cells[i] = tr_cell_get(&table, &taker);
            cr_assert_not_null(cells[i], "round %u: slot %u of %u is missing", round, i, COUNT);
            live_and_end(cells[i]);
        }
        for (unsigned i = 0; i < COUNT; i++)
            tr_cell_put(&table, &giver, cells[i]);
    }
    tr_cell_table_fini(&table);
}

Test(cell, the_limit_is_the_limit)
{
    struct tr_cell_table table;
    struct tr_slot_cache cache = {.count = 0};
    struct tr_cell *cell = NULL;
    cr_assert_eq(tr_cell_table_init(&table, 700), 0);
    for (unsigned i = 0; i < 700; i++) {
        cell = tr_cell_get(&table, &cache);
        cr_assert_not_null(cell);
        cr_assert_lt(cell->index, 700);
    }
    cr_assert_null(tr_cell_get(&table, &cache));
    live_and_end(cell);
    tr_cell_put(&table, &cache, cell);
    cr_assert_eq(tr_cell_get(&table, &cache), cell);
    cr_assert_null(tr_cell_get(&table, &cache));
    tr_cell_table_fini(&table);
}

Test(cell, a_limit_beyond_the_index_is_refused)
{
    struct tr_cell_table table;
    cr_assert_eq(tr_cell_table_init(&table, UINT32_MAX), -EINVAL);
}

Test(cell, a_slot_whose_generation_wraps_is_retired)
{
    struct tr_cell_table table;
    struct tr_slot_cache cache = {.count = 0};
    cr_assert_eq(tr_cell_table_init(&table, 1), 0);
    struct tr_cell *cell = tr_cell_get(&table, &cache);
    cell->generation = UINT32_MAX;
    tr_mailbox_init_closed(cell);
    troupe_addr last = tr_cell_addr(cell);
    live_and_end(cell);
    cr_assert_eq(cell->generation, 0);
    cr_assert_null(tr_cell_find(&table, tr_cell_addr(cell)), "generation 0 is nobody's");
    cr_assert_eq(tr_cell_find(&table, last), cell);
    tr_cell_put(&table, &cache, cell);
    cr_assert_null(tr_cell_get(&table, &cache), "the only slot rests for good");
    tr_cell_table_fini(&table);
}

Test(cell, without_memory_there_is_none_and_later_there_is)
{
    struct tr_cell_table table;
    struct tr_slot_cache cache = {.count = 0};
    cr_assert_eq(tr_cell_table_init(&table, 1000), 0);
    tr_memory_fail_after(0);
    cr_assert_null(tr_cell_get(&table, &cache));
    cr_assert(tr_memory_failed());
    struct tr_cell *cell = tr_cell_get(&table, &cache);
    cr_assert_not_null(cell);
    cr_assert_eq(tr_cell_find(&table, tr_cell_addr(cell)), cell);
    tr_memory_fail_after(TR_MEMORY_NEVER);
    tr_cell_table_fini(&table);
}
