/* SPDX-License-Identifier: Apache-2.0 */
/* Where a timer lies. Let due be its tick (its time rounded up, so that it is never early). A slot of level L is
 * 128^L ticks, and due >> 7 L is the number of the slot that due falls into; 256 slots per level are a ring. A slot of
 * level L + 1 is opened by moving what is in it to level L; opened[L] is the last one. So a timer lies in the lowest
 * level L with due >> 7 (L + 1) <= opened[L]. (After the hierarchical wheel of Varghese and Lauck, scheme 7.)
 * A slot is opened when tick enters it at the latest. But a slot that holds a hundred thousand timers takes long, and
 * what is due meanwhile would be late. So it is opened while tick is in the slot before it, PIECE timers per call. That
 * is why half a ring is one slot of the level above: the rest of the present one and the next have room in it.
 * Invariants, between two calls:
 *   W1  due > tick for a timer in a slot, and at level L >= 1 also due >> 7 L > tick >> 7 L;
 *   W2  opened[L] is n or n + 1, where n is the slot of level L + 1 that tick is in; if not n + 1 for all, `emptying`;
 *   W3  a bit of `occupied` is set exactly when its slot holds a timer;
 *   W4  `due` holds timers whose tick has come; they fire at the next advance, before all others;
 *   W5  the numbers of two occupied slots of a level differ by less than 256.
 * The timers of one tick fire in the order in which they were armed: they lie in one slot at any time, new ones go to
 * its end, and while it is emptied from its front, piece by piece, new ones still do.
 *
 * Moving a timer means to look at memory that nobody has looked at since it was armed. To walk a list then costs a
 * whole miss per step, a tenth of a microsecond. Hence the scout: a node some SCOUT_STEPS behind the end of a slot's
 * list. Whoever is appended is written into scout->ahead, and the scout moves one on. So each timer names one that
 * comes some steps later, which is fetched while the ones between are moved. It is a hint: a timer that is gone does no
 * harm there.
 * Checked by: tests/io/test_wheel.c against a sorted list, tr_wheel_check. */
#include "io/wheel.h"

#include <string.h>

#include "sched/base/assert.h"

#define SLOT_MASK (TR_WHEEL_SLOTS - 1)
#define TICK_SHIFT 17
#define TOP (TR_WHEEL_LEVELS - 1)
#define PIECE 256u     /* timers that one call moves down early */
#define SCOUT_STEPS 8u /* about as many misses as a processor has under way at once */

_Static_assert(TR_WHEEL_TICK_NS == UINT64_C(1) << TICK_SHIFT, "a tick is a power of two of nanoseconds");
_Static_assert(TICK_SHIFT + TR_WHEEL_LEVELS * TR_WHEEL_STEP + 1 > 64, "every 64-bit time has a slot");
_Static_assert(TR_WHEEL_SLOTS == 2u << TR_WHEEL_STEP, "the rest of one slot of the next level, and a whole one");

static uint64_t tick_of_due(uint64_t due_ns)
{
    return (due_ns >> TICK_SHIFT) + ((due_ns & (TR_WHEEL_TICK_NS - 1)) != 0);
}

static uint64_t number(uint64_t tick, unsigned level)
{
    return tick >> (level * TR_WHEEL_STEP);
}

static struct tr_timer *timer_of(struct tr_list *link)
{
    return TR_CONTAINER_OF(link, struct tr_timer, link);
}

/* Of an empty wheel. */
static void open_all(struct tr_wheel *wheel)
{
    for (unsigned level = 0; level < TOP; level++)
        wheel->opened[level] = number(wheel->tick, level + 1) + 1;
    wheel->opened[TOP] = UINT64_MAX;
    wheel->emptying = false;
}

void tr_wheel_init(struct tr_wheel *wheel, uint64_t now_ns)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->tick = now_ns >> TICK_SHIFT;
    tr_list_init(&wheel->due);
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < TR_WHEEL_SLOTS; i++)
            tr_list_init(&wheel->slots[level][i].timers);
    open_all(wheel);
}

/* --- slots ------------------------------------------------------------------------------------------------------ */

static void scout_at(struct tr_wheel_slot *slot, struct tr_timer *timer, unsigned distance)
{
    slot->scout = timer;
    slot->distance = distance;
    timer->scout = true;
}

/* Tells the scout of a timer that is about to be appended. */
static void report(struct tr_wheel_slot *slot, struct tr_timer *timer)
{
    struct tr_timer *scout = slot->scout;
    if (!scout) {
        scout_at(slot, timer_of(slot->timers.prev), 1);
    } else if (slot->distance < SCOUT_STEPS) {
        slot->distance++;
    } else {
        struct tr_list *next = scout->link.next;
        scout->ahead = timer;
        scout->scout = false;
        scout_at(slot, next == &slot->timers ? timer : timer_of(next), SCOUT_STEPS);
    }
}

static inline void append(struct tr_wheel *wheel, unsigned level, uint64_t due, struct tr_timer *timer)
{
    unsigned i = (unsigned)number(due, level) & SLOT_MASK;
    struct tr_wheel_slot *slot = &wheel->slots[level][i];
    timer->scout = false;
    timer->ahead = NULL;
    if (tr_list_empty(&slot->timers))
        wheel->occupied[level][i / 64] |= UINT64_C(1) << (i % 64);
    else
        report(slot, timer);
    tr_list_push_back(&slot->timers, &timer->link);
}

static inline void place(struct tr_wheel *wheel, struct tr_timer *timer, uint64_t due)
{
    unsigned level = 0;
    while (number(due, level + 1) > wheel->opened[level])
        level++;
    append(wheel, level, due, timer);
}

void tr_wheel_arm(struct tr_wheel *wheel, struct tr_timer *timer, uint64_t due_ns)
{
    TR_ASSERT(!timer->armed);
    TR_ASSERT(timer->fire != NULL);
    uint64_t due = tick_of_due(due_ns);
    timer->due_ns = due_ns;
    timer->armed = true;
    wheel->count++;
    if (TR_LIKELY(due > wheel->tick)) {
        place(wheel, timer, due);
    } else {
        timer->scout = false;
        timer->ahead = NULL;
        tr_list_push_back(&wheel->due, &timer->link);
    }
}

static __attribute__((noinline)) void forget_scout(struct tr_wheel *wheel, struct tr_timer *timer)
{
    uint64_t due = tick_of_due(timer->due_ns);
    timer->scout = false;
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        struct tr_wheel_slot *slot = &wheel->slots[level][number(due, level) & SLOT_MASK];
        if (slot->scout == timer) {
            slot->scout = NULL;
            return;
        }
    }
    TR_ASSERT(!"a scout has a slot");
}

/* Its only timer was unlinked from the list. */
static void emptied(struct tr_wheel *wheel, const struct tr_list *list)
{
    size_t at = (size_t)((uintptr_t)list - (uintptr_t)wheel->slots) / sizeof(struct tr_wheel_slot);
    if ((uintptr_t)list < (uintptr_t)wheel->slots || at >= (size_t)TR_WHEEL_LEVELS * TR_WHEEL_SLOTS)
        return; /* the list of what is due */
    wheel->occupied[at / TR_WHEEL_SLOTS][at % TR_WHEEL_SLOTS / 64] &= ~(UINT64_C(1) << (at % 64));
}

static inline void unlink_timer(struct tr_wheel *wheel, struct tr_timer *timer)
{
    struct tr_list *next = timer->link.next, *prev = timer->link.prev;
    if (TR_UNLIKELY(timer->scout))
        forget_scout(wheel, timer);
    prev->next = next;
    next->prev = prev;
    if (next == prev)
        emptied(wheel, next); /* one neighbour on both sides is the head */
    timer->armed = false;
    wheel->count--;
}

void tr_wheel_disarm(struct tr_wheel *wheel, struct tr_timer *timer)
{
    if (timer->armed)
        unlink_timer(wheel, timer);
}

/* --- time passes ------------------------------------------------------------------------------------------------ */

/* The number of the first occupied slot of a level, from the one that tick is in on. */
static bool first_slot(const struct tr_wheel *wheel, unsigned level, uint64_t *out)
{
    const uint64_t *words = wheel->occupied[level];
    uint64_t from = number(wheel->tick, level);
    if (!(words[0] | words[1] | words[2] | words[3]))
        return false;
    unsigned at = (unsigned)from & SLOT_MASK, word = at / 64;
    uint64_t bits = words[word] & UINT64_MAX << (at % 64);
    for (unsigned i = 0; !bits; i++) {
        word = (word + 1) % TR_WHEEL_WORDS;
        bits = words[word];
        TR_ASSERT(i < TR_WHEEL_WORDS);
    }
    unsigned found = word * 64 + (unsigned)__builtin_ctzll(bits);
    *out = from + ((found - at) & SLOT_MASK);
    return true;
}
_Static_assert(TR_WHEEL_WORDS == 4, "first_slot looks at four words");

/* The slot that begins first, and of those the one of the highest level: it has to be opened before the others may
 * fire. False: there is none. */
static bool first_event(const struct tr_wheel *wheel, unsigned *level_out, uint64_t *tick_out)
{
    uint64_t found;
    *tick_out = UINT64_MAX;
    *level_out = 0;
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        if (!first_slot(wheel, level, &found) || found << (level * TR_WHEEL_STEP) > *tick_out)
            continue;
        *level_out = level;
        *tick_out = found << (level * TR_WHEEL_STEP);
    }
    return *tick_out != UINT64_MAX;
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

/* Moves the first of a slot's timers to lower levels, at most max; returns how many. The slots below count as opened
 * for them. */
static unsigned move_down(struct tr_wheel *wheel, unsigned level, uint64_t slot_number, unsigned max)
{
    unsigned i = (unsigned)slot_number & SLOT_MASK, moved = 0;
    struct tr_wheel_slot *slot = &wheel->slots[level][i];
    struct tr_list *head = &slot->timers, *node = head->next, *next;
    uint64_t before = wheel->opened[level - 1];
    wheel->opened[level - 1] = slot_number;
    for (; node != head && moved < max; node = next, moved++) {
        struct tr_timer *timer = timer_of(node);
        next = node->next;
        __builtin_prefetch(next, 1);
        __builtin_prefetch(timer->ahead, 1);
        if (timer->scout)
            slot->scout = NULL;
        place(wheel, timer, tick_of_due(timer->due_ns));
    }
    head->next = node;
    node->prev = head;
    if (node == head)
        wheel->occupied[level][i / 64] &= ~(UINT64_C(1) << (i % 64));
    else
        wheel->opened[level - 1] = before;
    return moved;
}

/* The slots that tick is in are empty by now, so what is armed for the rest of them goes to the levels below. */
static void enter_slots(struct tr_wheel *wheel)
{
    for (unsigned level = 0; level < TOP; level++)
        if (wheel->opened[level] < number(wheel->tick, level + 1))
            wheel->opened[level] = number(wheel->tick, level + 1);
}

/* Moves tick to target; every timer whose tick has come ends in `due`, in the order of ticks. */
static void collect(struct tr_wheel *wheel, uint64_t target)
{
    unsigned level;
    uint64_t tick;
    while (first_event(wheel, &level, &tick) && tick <= target) {
        wheel->tick = tick;
        if (level > 0) {
            move_down(wheel, level, number(tick, level), UINT32_MAX);
            continue;
        }
        unsigned i = (unsigned)tick & SLOT_MASK;
        struct tr_wheel_slot *slot = &wheel->slots[0][i];
        if (slot->scout)
            slot->scout->scout = false;
        slot->scout = NULL;
        splice_back(&wheel->due, &slot->timers);
        wheel->occupied[0][i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    if (wheel->tick < target)
        wheel->tick = target;
}

/* Opens the slot of level + 1 behind the one that tick is in; false: not yet, the rest in the next call. */
static bool open_next(struct tr_wheel *wheel, unsigned level, unsigned *left)
{
    uint64_t next = number(wheel->tick, level + 1) + 1;
    if (wheel->opened[level] == next)
        return true;
    if (number(next, 1) > wheel->opened[level + 1])
        return false; /* it is not complete: the slot above is not opened */
    if (!tr_list_empty(&wheel->slots[level + 1][next & SLOT_MASK].timers)) {
        *left -= move_down(wheel, level + 1, next, *left);
        return wheel->opened[level] == next;
    }
    wheel->opened[level] = next;
    return true;
}

static void open_slots(struct tr_wheel *wheel)
{
    unsigned left = PIECE;
    wheel->emptying = false;
    for (unsigned level = TOP; level-- > 0;)
        if (!open_next(wheel, level, &left))
            wheel->emptying = true;
}

static unsigned fire_due(struct tr_wheel *wheel, unsigned budget)
{
    unsigned fired = 0;
    struct tr_list firing; /* apart, so that a timer armed in the past by a callback waits for the next call */
    if (tr_list_empty(&wheel->due))
        return 0;
    tr_list_init(&firing);
    splice_back(&firing, &wheel->due);
    while (fired < budget && !tr_list_empty(&firing)) {
        struct tr_timer *timer = timer_of(firing.next);
        __builtin_prefetch(timer->link.next, 1);
        __builtin_prefetch(timer->ahead, 1);
        unlink_timer(wheel, timer);
        fired++;
        timer->fire(timer);
    }
    splice_back(&firing, &wheel->due);
    splice_back(&wheel->due, &firing);
    return fired;
}

unsigned tr_wheel_advance(struct tr_wheel *wheel, uint64_t now_ns, unsigned budget)
{
    uint64_t target = now_ns >> TICK_SHIFT, was_in = number(wheel->tick, 1);
    if (wheel->count == 0) {
        if (wheel->tick < target)
            wheel->tick = target;
        if (number(wheel->tick, 1) != was_in || wheel->emptying)
            open_all(wheel);
        return 0;
    }
    collect(wheel, target);
    bool opens = number(wheel->tick, 1) != was_in || wheel->emptying;
    if (opens)
        enter_slots(wheel);
    unsigned fired = fire_due(wheel, budget);
    if (opens)
        open_slots(wheel);
    return fired;
}

uint64_t tr_wheel_next(const struct tr_wheel *wheel)
{
    uint64_t found, first = UINT64_MAX;
    if (!tr_list_empty(&wheel->due))
        return 0;
    if (wheel->count == 0)
        return UINT64_MAX;
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        if (!first_slot(wheel, level, &found))
            continue;
        uint64_t tick = (level > 0 ? found - 1 : found) << (level * TR_WHEEL_STEP); /* when it may be opened */
        if (tick < first)
            first = tick;
    }
    return first << TICK_SHIFT;
}

size_t tr_wheel_count(const struct tr_wheel *wheel)
{
    return wheel->count;
}

/* --- checks ----------------------------------------------------------------------------------------------------- */

static size_t check_slot(const struct tr_wheel *wheel, unsigned level, unsigned i)
{
    size_t count = 0;
    bool scout = false, occupied = wheel->occupied[level][i / 64] >> (i % 64) & 1;
    const struct tr_wheel_slot *slot = &wheel->slots[level][i];
    uint64_t here = number(wheel->tick, level), first = 0;
    TR_ASSERT(occupied == !tr_list_empty(&slot->timers));
    for (const struct tr_list *node = slot->timers.next; node != &slot->timers; node = node->next) {
        const struct tr_timer *timer = TR_CONTAINER_OF(node, struct tr_timer, link);
        uint64_t due = tick_of_due(timer->due_ns), mine = number(due, level);
        TR_ASSERT(timer->armed && node->next->prev == node);
        TR_ASSERT((mine & SLOT_MASK) == i && mine > here && mine - here < TR_WHEEL_SLOTS);
        TR_ASSERT(due > wheel->tick);
        TR_ASSERT(level == TOP || number(due, level + 1) <= wheel->opened[level] + wheel->emptying);
        TR_ASSERT(level == 0 || mine > wheel->opened[level - 1]);
        TR_ASSERT(timer->scout == (slot->scout == timer));
        TR_ASSERT(count == 0 || mine == first);
        scout = scout || timer->scout;
        first = mine;
        count++;
    }
    TR_ASSERT(scout == (slot->scout != NULL));
    return count;
}

void tr_wheel_check(const struct tr_wheel *wheel)
{
    size_t count = 0;
    for (const struct tr_list *node = wheel->due.next; node != &wheel->due; node = node->next) {
        const struct tr_timer *timer = TR_CONTAINER_OF(node, struct tr_timer, link);
        TR_ASSERT(timer->armed && !timer->scout);
        count++;
    }
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < TR_WHEEL_SLOTS; i++)
            count += check_slot(wheel, level, i);
    TR_ASSERT(count == wheel->count);
    for (unsigned level = 0; level < TOP; level++) {
        uint64_t now = number(wheel->tick, level + 1);
        TR_ASSERT(wheel->opened[level] == now + 1 || (wheel->emptying && wheel->opened[level] == now));
    }
}
