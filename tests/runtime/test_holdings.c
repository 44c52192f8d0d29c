/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of what is to be given back: order, taking from the middle, slots, room. */
#include <criterion/criterion.h>

#include <errno.h>

#include "runtime/holdings.h"
#include "runtime/memory.h"

static uint64_t serials;

static uint32_t push(struct tr_holdings *holdings, uintptr_t handle)
{
    cr_assert_eq(tr_holdings_reserve(holdings, 1), 0);
    return tr_holdings_push(holdings, &(struct tr_holding){.handle = handle, .serial = ++serials});
}

Test(holdings, the_newest_goes_first_whatever_was_taken_from_the_middle)
{
    enum { COUNT = 1000 };
    static uint32_t slots[COUNT];
    static uint64_t serial[COUNT];
    struct tr_holdings holdings = {0};
    struct tr_holding out;
    for (unsigned i = 0; i < COUNT; i++) {
        slots[i] = push(&holdings, i);
        serial[i] = serials;
    }
    for (unsigned i = 0; i < COUNT; i += 3) {
        cr_assert(tr_holdings_take(&holdings, slots[i], serial[i], &out));
        cr_assert_eq(out.handle, i);
        cr_assert(!tr_holdings_take(&holdings, slots[i], serial[i], &out), "it is gone");
    }
    unsigned added = push(&holdings, COUNT) ? 1 : 0;
    for (unsigned i = COUNT + added; i-- > 0;) {
        if (i < COUNT && i % 3 == 0)
            continue;
        cr_assert(tr_holdings_pop(&holdings, &out));
        cr_assert_eq(out.handle, i);
    }
    cr_assert(!tr_holdings_pop(&holdings, &out));
    tr_holdings_fini(&holdings);
}

Test(holdings, handles_that_name_nothing_are_told)
{
    struct tr_holdings holdings = {0};
    struct tr_holding out;
    cr_assert(!tr_holdings_take(&holdings, 1, 1, &out), "an empty table");
    uint32_t slot = push(&holdings, 7);
    uint64_t serial = serials;
    cr_assert(!tr_holdings_take(&holdings, 0, 0, &out));
    cr_assert(!tr_holdings_take(&holdings, 0, serial, &out));
    cr_assert(!tr_holdings_take(&holdings, slot, 0, &out));
    cr_assert(!tr_holdings_take(&holdings, slot, serial + 1, &out));
    cr_assert(!tr_holdings_take(&holdings, slot + 1, serial, &out), "a slot never used");
    cr_assert(!tr_holdings_take(&holdings, UINT64_MAX, serial, &out));
    cr_assert(!tr_holdings_take(&holdings, slot + (UINT64_C(1) << 32), serial, &out));
    cr_assert(tr_holdings_pop(&holdings, &out));
    cr_assert_eq(push(&holdings, 8), slot, "the slot is used again");
    cr_assert(!tr_holdings_take(&holdings, slot, serial, &out), "by another");
    tr_holdings_fini(&holdings);
}

Test(holdings, a_queue_of_two_stays_small)
{
    struct tr_holdings holdings = {0};
    struct tr_holding out;
    uint32_t older = push(&holdings, 0);
    uint64_t older_serial = serials;
    for (unsigned i = 1; i < 100000; i++) {
        uint32_t slot = push(&holdings, i);
        cr_assert(tr_holdings_take(&holdings, older, older_serial, &out));
        cr_assert_eq(out.handle, i - 1);
        older = slot;
        older_serial = serials;
    }
    cr_assert_leq(holdings.capacity, 7);
    tr_holdings_fini(&holdings);
}

Test(holdings, what_was_reserved_needs_no_memory)
{
    struct tr_holdings holdings = {0};
    push(&holdings, 0);
    cr_assert_eq(tr_holdings_reserve(&holdings, 1000), 0);
    tr_memory_fail_after(0);
    for (unsigned i = 0; i < 1000; i++)
        push(&holdings, i);
    cr_assert(!tr_memory_failed());
    unsigned more = 0;
    while (tr_holdings_reserve(&holdings, 1) == 0 && more++ < 100000)
        tr_holdings_push(&holdings, &(struct tr_holding){.serial = ++serials});
    cr_assert(tr_memory_failed(), "then it is refused");
    cr_assert_eq(holdings.count, 1001 + more);
    tr_memory_fail_after(TR_MEMORY_NEVER);
    tr_holdings_fini(&holdings);
}

Test(holdings, more_than_there_can_be_is_refused)
{
    struct tr_holdings holdings = {0};
    cr_assert_eq(tr_holdings_reserve(&holdings, SIZE_MAX), -ENOMEM);
    cr_assert_eq(tr_holdings_reserve(&holdings, UINT32_MAX), -ENOMEM);
    push(&holdings, 1);
    cr_assert_eq(tr_holdings_reserve(&holdings, UINT32_MAX), -ENOMEM);
    tr_memory_fail_after(0);
    cr_assert_eq(tr_holdings_reserve(&holdings, 1u << 20), -ENOMEM);
    tr_memory_fail_after(TR_MEMORY_NEVER);
    cr_assert_eq(holdings.count, 1);
    tr_holdings_fini(&holdings);
}

Test(holdings, a_small_empty_table_is_kept_and_a_large_one_is_not)
{
    struct tr_holdings holdings = {0};
    struct tr_holding out;
    push(&holdings, 1);
    tr_holdings_pop(&holdings, &out);
    tr_holdings_trim(&holdings);
    cr_assert_not_null(holdings.slots);
    cr_assert_eq(tr_holdings_reserve(&holdings, 1000), 0);
    tr_holdings_trim(&holdings);
    cr_assert_null(holdings.slots);
    push(&holdings, 2);
    tr_holdings_fini(&holdings);
}
