/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/holdings.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/memory.h"
#include "sched/base/assert.h"

#define CAPACITY_MIN 7u    /* with slot 0: 256 bytes */
#define CAPACITY_KEPT 127u /* what an idle table may have: 4 KiB */
#define CAPACITY_MAX (1u << 30)

int tr_holdings_reserve(struct tr_holdings *holdings, size_t count)
{
    if (TR_LIKELY(count <= holdings->capacity - holdings->count))
        return 0;
    if (count > CAPACITY_MAX - holdings->count)
        return -ENOMEM;
    uint32_t wanted = holdings->count + (uint32_t)count, capacity = holdings->capacity;
    do
        capacity = capacity ? 2 * capacity + 1 : CAPACITY_MIN;
    while (capacity < wanted);
    struct tr_holding *slots = tr_memory_resize(holdings->slots, ((size_t)capacity + 1) * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    if (!holdings->slots)
        slots[0] = (struct tr_holding){.older = 0, .newer = 0};
    holdings->slots = slots;
    holdings->capacity = capacity;
    return 0;
}

uint32_t tr_holdings_push(struct tr_holdings *holdings, const struct tr_holding *holding)
{
    struct tr_holding *slots = holdings->slots;
    TR_ASSERT(holdings->count < holdings->capacity);
    uint32_t slot = holdings->unused;
    if (slot)
        holdings->unused = slots[slot].older;
    else
        slot = ++holdings->made;
    slots[slot] = *holding;
    slots[slot].older = slots[0].older;
    slots[slot].newer = 0;
    slots[slots[0].older].newer = slot;
    slots[0].older = slot;
    holdings->count++;
    return slot;
}

static void take(struct tr_holdings *holdings, uint32_t slot, struct tr_holding *out)
{
    struct tr_holding *slots = holdings->slots, *taken = &slots[slot];
    *out = *taken;
    slots[taken->older].newer = taken->newer;
    slots[taken->newer].older = taken->older;
    taken->serial = 0;
    taken->older = holdings->unused;
    holdings->unused = slot;
    holdings->count--;
}

bool tr_holdings_pop(struct tr_holdings *holdings, struct tr_holding *out)
{
    if (holdings->count == 0)
        return false;
    take(holdings, holdings->slots[0].older, out);
    return true;
}

bool tr_holdings_take(struct tr_holdings *holdings, uint64_t slot, uint64_t serial, struct tr_holding *out)
{
    if (slot == 0 || slot > holdings->made || serial == 0 || holdings->slots[slot].serial != serial)
        return false;
    take(holdings, (uint32_t)slot, out);
    return true;
}

void tr_holdings_trim(struct tr_holdings *holdings)
{
    TR_ASSERT(holdings->count == 0);
    if (holdings->capacity > CAPACITY_KEPT)
        tr_holdings_fini(holdings);
}

void tr_holdings_fini(struct tr_holdings *holdings)
{
    free(holdings->slots);
    *holdings = (struct tr_holdings){0};
}
