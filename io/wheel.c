/* SPDX-License-Identifier: Apache-2.0 */
/* Where a timer lies: let due be its tick (its time rounded up, so that it is never early). Compare due with
 * wheel->tick in groups of six bits; the highest group that differs is the level, due's value of that group is the slot
 * (the hashed hierarchical wheel of Varghese and Lauck, scheme 7, with the level found by one exclusive or).
 * Invariants:
 *   W1  a timer in a level's slot has due > tick, and its slot number is above tick's own in that level;
 *   W2  hence all timers of a level are due before those of the next one, and slots of a level never wrap;
 *   W3  a bit of `occupied` is set exactly when its slot holds a timer;
 *   W4  `due` holds timers whose tick has come; they fire at the next advance, before all others.
 * Moving tick forward up to the next occupied slot's start keeps W1; there the slot is emptied into lower levels or
 * into `due`.
 * Checked by: tests/io/test_wheel.c against a sorted list, tr_wheel_check. */
#include "io/wheel.h"

#include "sched/base/assert.h"

#define SLOT_MASK (TR_WHEEL_SLOTS - 1)
#define SLOT_DUE (TR_WHEEL_LEVELS * TR_WHEEL_SLOTS) /* timer->slot of one in the due list */
#define TICK_SHIFT 20

_Static_assert(TR_WHEEL_TICK_NS == UINT64_C(1) << TICK_SHIFT, "a tick is a power of two of nanoseconds");
_Static_assert(TICK_SHIFT + TR_WHEEL_LEVELS * TR_WHEEL_BITS > 64, "every 64-bit time has a slot");
_Static_assert(TR_WHEEL_SLOTS == 64, "one word of occupied bits per level");

static uint64_t tick_of_due(uint64_t due_ns)
{
    return (due_ns >> TICK_SHIFT) + ((due_ns & (TR_WHEEL_TICK_NS - 1)) != 0);
}

void tr_wheel_init(struct tr_wheel *wheel, uint64_t now_ns)
{
    wheel->tick = now_ns >> TICK_SHIFT;
    wheel->count = 0;
    tr_list_init(&wheel->due);
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < TR_WHEEL_SLOTS; slot++)
            tr_list_init(&wheel->slots[level][slot]);
    }
}

static void place(struct tr_wheel *wheel, struct tr_timer *timer)
{
    uint64_t due = tick_of_due(timer->due_ns);
    if (due <= wheel->tick) {
        timer->slot = SLOT_DUE;
        tr_list_push_back(&wheel->due, &timer->link);
        return;
    }
    uint64_t differs = due ^ wheel->tick;
    unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / TR_WHEEL_BITS;
    unsigned slot = (unsigned)(due >> (level * TR_WHEEL_BITS)) & SLOT_MASK;
    timer->slot = (uint16_t)(level * TR_WHEEL_SLOTS + slot);
    wheel->occupied[level] |= UINT64_C(1) << slot;
    tr_list_push_back(&wheel->slots[level][slot], &timer->link);
}

void tr_wheel_arm(struct tr_wheel *wheel, struct tr_timer *timer, uint64_t due_ns)
{
    TR_ASSERT(!timer->armed);
    TR_ASSERT(timer->fire != NULL);
    timer->due_ns = due_ns;
    timer->armed = true;
    wheel->count++;
    place(wheel, timer);
}

static void unlink_timer(struct tr_wheel *wheel, struct tr_timer *timer)
{
    tr_list_remove(&timer->link);
    timer->armed = false;
    wheel->count--;
    if (timer->slot == SLOT_DUE)
        return;
    unsigned level = timer->slot / TR_WHEEL_SLOTS, slot = timer->slot % TR_WHEEL_SLOTS;
    if (tr_list_empty(&wheel->slots[level][slot]))
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
}

void tr_wheel_disarm(struct tr_wheel *wheel, struct tr_timer *timer)
{
    if (timer->armed)
        unlink_timer(wheel, timer);
}

/* The first occupied slot and the tick at which it must be emptied; false when all slots are empty. */
static bool first_slot(const struct tr_wheel *wheel, unsigned *level_out, unsigned *slot_out, uint64_t *tick_out)
{
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        if (!wheel->occupied[level])
            continue;
        unsigned shift = level * TR_WHEEL_BITS;
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        uint64_t above = wheel->tick >> shift & ~(uint64_t)SLOT_MASK;
        *level_out = level;
        *slot_out = slot;
        *tick_out = (above | slot) << shift;
        return true;
    }
    return false;
}

static void splice_back(struct tr_list *to, struct tr_list *from)
{
    if (tr_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    tr_list_init(from);
}

/* Moves tick to target; every timer whose tick has come ends in `due`, in the order of ticks. */
static void collect(struct tr_wheel *wheel, uint64_t target)
{
    unsigned level, slot;
    uint64_t tick;
    while (first_slot(wheel, &level, &slot, &tick) && tick <= target) {
        struct tr_list *head = &wheel->slots[level][slot], *node = head->next, *next;
        wheel->tick = tick;
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
        tr_list_init(head); /* no timer comes back to this slot: W1 */
        for (; node != head; node = next) {
            next = node->next;
            __builtin_prefetch(next, 1);
            place(wheel, TR_CONTAINER_OF(node, struct tr_timer, link));
        }
    }
    if (wheel->tick < target)
        wheel->tick = target;
}

unsigned tr_wheel_advance(struct tr_wheel *wheel, uint64_t now_ns, unsigned budget)
{
    unsigned fired = 0;
    struct tr_list
        firing; /* apart from `due`, so that a timer armed in the past by a callback waits for the next call */
    if (wheel->count == 0) {
        if (wheel->tick < now_ns >> TICK_SHIFT)
            wheel->tick = now_ns >> TICK_SHIFT;
        return 0;
    }
    collect(wheel, now_ns >> TICK_SHIFT);
    tr_list_init(&firing);
    splice_back(&firing, &wheel->due);
    while (fired < budget && !tr_list_empty(&firing)) {
        struct tr_timer *timer = TR_CONTAINER_OF(firing.next, struct tr_timer, link);
        __builtin_prefetch(timer->link.next, 1);
        unlink_timer(wheel, timer);
        fired++;
        timer->fire(timer);
    }
    splice_back(&firing, &wheel->due);
    splice_back(&wheel->due, &firing);
    return fired;
}

uint64_t tr_wheel_next(const struct tr_wheel *wheel)
{
    unsigned level, slot;
    uint64_t tick;
    if (!tr_list_empty(&wheel->due))
        return 0;
    if (!first_slot(wheel, &level, &slot, &tick))
        return UINT64_MAX;
    return tick << TICK_SHIFT;
}

size_t tr_wheel_count(const struct tr_wheel *wheel)
{
    return wheel->count;
}

static size_t check_slot(const struct tr_wheel *wheel, unsigned level, unsigned slot)
{
    size_t count = 0;
    const struct tr_list *head = &wheel->slots[level][slot];
    bool occupied = wheel->occupied[level] >> slot & 1;
    TR_ASSERT(occupied == !tr_list_empty(head));
    TR_ASSERT(!occupied || slot > ((wheel->tick >> (level * TR_WHEEL_BITS)) & SLOT_MASK));
    for (const struct tr_list *node = head->next; node != head; node = node->next) {
        const struct tr_timer *timer = TR_CONTAINER_OF(node, struct tr_timer, link);
        TR_ASSERT(timer->armed);
        TR_ASSERT(timer->slot == level * TR_WHEEL_SLOTS + slot);
        TR_ASSERT(tick_of_due(timer->due_ns) > wheel->tick);
        count++;
    }
    return count;
}

void tr_wheel_check(const struct tr_wheel *wheel)
{
    size_t count = 0;
    for (const struct tr_list *node = wheel->due.next; node != &wheel->due; node = node->next) {
        const struct tr_timer *timer = TR_CONTAINER_OF(node, struct tr_timer, link);
        TR_ASSERT(timer->armed && timer->slot == SLOT_DUE);
        count++;
    }
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < TR_WHEEL_SLOTS; slot++)
            count += check_slot(wheel, level, slot);
    TR_ASSERT(count == wheel->count);
}
