/* SPDX-License-Identifier: Apache-2.0 */
/* Where a timer lies. Let due be its tick (its time rounded up, so that it is never early), and number(due, L) the
 * number of the slot of level L that due falls into. The slots of a level are a ring. A slot of level L + 1 is opened by
 * moving what is in it to level L; opened[L] is the last one. So a timer lies in the lowest level L with
 * number(due, L + 1) <= opened[L]. (After the hierarchical wheel of Varghese and Lauck, scheme 7.)
 * A slot is opened when tick enters it at the latest. But a slot that holds a hundred thousand timers takes long, and
 * what is due meanwhile would be late. So it is opened AHEAD slots before, PIECE timers per call. That is why a slot of
 * the level above is a small part of the ring: the rest of the present one and the next AHEAD have room in it. With
 * seven of eight parts ahead in the lowest level, that holds nearly all of its ring: a timer within its reach is put
 * where it fires from, and looked at once, not once per level (decision 038).
 * Invariants, between two calls:
 *   W1  due > tick for a timer in a slot, and at level L >= 1 also number(due, L) > number(tick, L);
 *   W2  opened[L] is n to n + AHEAD, where n is the slot of level L + 1 that tick is in; if not n + AHEAD for all,
 *       `emptying`;
 *   W3  a bit of `occupied` is set exactly when its slot holds a timer; a slot whose bit is clear may be zero;
 *   W4  `due` holds timers whose tick has come; they fire at the next advance, before all others;
 *   W5  the numbers of two occupied slots of a level differ by less than its count of slots.
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

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sched/base/assert.h"

#define TICK_SHIFT 18
#define TOP (TR_WHEEL_LEVELS - 1)
#define NEAR_AHEAD 7u
#define FAR_AHEAD 1u
#define PIECE 256u     /* timers that one call moves down early */
#define SCOUT_STEPS 8u /* about as many misses as a processor has under way at once */

_Static_assert(TR_WHEEL_TICK_NS == UINT64_C(1) << TICK_SHIFT, "a tick is a power of two of nanoseconds");
_Static_assert(TICK_SHIFT + TR_WHEEL_NEAR_STEP + TOP * TR_WHEEL_FAR_STEP + 1 > 64, "every 64-bit time has a slot");
_Static_assert(TR_WHEEL_NEAR == (NEAR_AHEAD + 1) << TR_WHEEL_NEAR_STEP, "the rest of a slot above, and those ahead");
_Static_assert(TR_WHEEL_FAR == (FAR_AHEAD + 1) << TR_WHEEL_FAR_STEP, "the same of the other levels");

static uint64_t tick_of_due(uint64_t due_ns)
{
    return (due_ns >> TICK_SHIFT) + ((due_ns & (TR_WHEEL_TICK_NS - 1)) != 0);
}

/* A slot of this level is so many ticks, as a power of two. */
static unsigned shift_of(unsigned level)
{
    return level == 0 ? 0 : TR_WHEEL_NEAR_STEP + (level - 1) * TR_WHEEL_FAR_STEP;
}

static uint64_t number(uint64_t tick, unsigned level)
{
    return tick >> shift_of(level);
}

/* How many slots of the level above are opened before tick is in them. */
static unsigned ahead_of(unsigned level)
{
    return level == 0 ? NEAR_AHEAD : FAR_AHEAD;
}

/* The place in wheel->slots of a level's slot of this number. */
static unsigned place_of(unsigned level, uint64_t slot_number)
{
    if (level == 0)
        return (unsigned)slot_number % TR_WHEEL_NEAR;
    return TR_WHEEL_NEAR + (level - 1) * TR_WHEEL_FAR + (unsigned)slot_number % TR_WHEEL_FAR;
}

static bool is_occupied(const struct tr_wheel *wheel, unsigned place)
{
    return wheel->occupied[place / 64] >> (place % 64) & 1;
}

static void mark_occupied(struct tr_wheel *wheel, unsigned place)
{
    wheel->occupied[place / 64] |= UINT64_C(1) << (place % 64);
    if (place < TR_WHEEL_NEAR)
        wheel->near_words[place / 4096] |= UINT64_C(1) << (place / 64 % 64);
}

static void mark_empty(struct tr_wheel *wheel, unsigned place)
{
    uint64_t *word = &wheel->occupied[place / 64];
    *word &= ~(UINT64_C(1) << (place % 64));
    if (place < TR_WHEEL_NEAR && *word == 0)
        wheel->near_words[place / 4096] &= ~(UINT64_C(1) << (place / 64 % 64));
}

static struct tr_timer *timer_of(struct tr_list *link)
{
    return TR_CONTAINER_OF(link, struct tr_timer, link);
}

/* Of an empty wheel. */
static void open_all(struct tr_wheel *wheel)
{
    for (unsigned level = 0; level < TOP; level++)
        wheel->opened[level] = number(wheel->tick, level + 1) + ahead_of(level);
    wheel->opened[TOP] = UINT64_MAX;
    wheel->emptying = false;
}

/* The slots are half a megabyte: calloc, so that those which no timer comes into are never made. */
int tr_wheel_init(struct tr_wheel *wheel, uint64_t now_ns)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->slots = calloc(TR_WHEEL_SLOTS, sizeof *wheel->slots);
    if (!wheel->slots)
        return -ENOMEM;
    wheel->tick = now_ns >> TICK_SHIFT;
    tr_list_init(&wheel->due);
    open_all(wheel);
    return 0;
}

void tr_wheel_fini(struct tr_wheel *wheel)
{
    free(wheel->slots);
    wheel->slots = NULL;
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
    unsigned at = place_of(level, number(due, level));
    struct tr_wheel_slot *slot = &wheel->slots[at];
    timer->scout = false;
    timer->ahead = NULL;
    if (is_occupied(wheel, at)) {
        report(slot, timer);
    } else {
        tr_list_init(&slot->timers);
        mark_occupied(wheel, at);
    }
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
        struct tr_wheel_slot *slot = &wheel->slots[place_of(level, number(due, level))];
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
    if ((uintptr_t)list >= (uintptr_t)wheel->slots && at < TR_WHEEL_SLOTS)
        mark_empty(wheel, (unsigned)at); /* else it is the list of what is due */
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

/* The first bit that is set, of 256 in a ring, from `from` on; some is. */
static unsigned first_bit(const uint64_t words[4], unsigned from)
{
    unsigned word = from / 64;
    uint64_t bits = words[word] & UINT64_MAX << (from % 64);
    for (unsigned i = 0; !bits; i++) {
        word = (word + 1) % 4;
        bits = words[word];
        TR_ASSERT(i < 4);
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}
_Static_assert(TR_WHEEL_FAR == 256 && TR_WHEEL_NEAR == 256 * 64, "first_bit looks at four words");

static bool any_bit(const uint64_t words[4])
{
    return (words[0] | words[1] | words[2] | words[3]) != 0;
}

static unsigned first_near(const struct tr_wheel *wheel, unsigned from)
{
    unsigned word = from / 64;
    uint64_t bits = wheel->occupied[word] & UINT64_MAX << (from % 64);
    if (!bits) {
        word = first_bit(wheel->near_words, (word + 1) % 256);
        bits = wheel->occupied[word];
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}

/* The number of the first occupied slot of a level, from the one that tick is in on. */
static bool first_slot(const struct tr_wheel *wheel, unsigned level, uint64_t *out)
{
    uint64_t from = number(wheel->tick, level);
    if (level == 0) {
        unsigned at = (unsigned)from % TR_WHEEL_NEAR;
        if (!any_bit(wheel->near_words))
            return false;
        *out = from + (first_near(wheel, at) - at) % TR_WHEEL_NEAR;
        return true;
    }
    const uint64_t *words = &wheel->occupied[place_of(level, 0) / 64];
    unsigned at = (unsigned)from % TR_WHEEL_FAR;
    if (!any_bit(words))
        return false;
    *out = from + (first_bit(words, at) - at) % TR_WHEEL_FAR;
    return true;
}

/* The slot that begins first, and of those the one of the highest level: it has to be opened before the others may
 * fire. False: there is none. */
static bool first_event(const struct tr_wheel *wheel, unsigned *level_out, uint64_t *tick_out)
{
    uint64_t found;
    *tick_out = UINT64_MAX;
    *level_out = 0;
    for (unsigned level = 0; level < TR_WHEEL_LEVELS; level++) {
        if (!first_slot(wheel, level, &found) || found << shift_of(level) > *tick_out)
            continue;
        *level_out = level;
        *tick_out = found << shift_of(level);
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
    unsigned at = place_of(level, slot_number), moved = 0;
    struct tr_wheel_slot *slot = &wheel->slots[at];
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
        mark_empty(wheel, at);
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
        struct tr_wheel_slot *slot = &wheel->slots[place_of(0, tick)];
        if (slot->scout)
            slot->scout->scout = false;
        slot->scout = NULL;
        splice_back(&wheel->due, &slot->timers);
        mark_empty(wheel, place_of(0, tick));
    }
    if (wheel->tick < target)
        wheel->tick = target;
}

/* Opens the slots of level + 1 that follow the one that tick is in; false: not all yet, the rest in the next call. */
static bool open_next(struct tr_wheel *wheel, unsigned level, unsigned *left)
{
    uint64_t last = number(wheel->tick, level + 1) + ahead_of(level);
    while (wheel->opened[level] != last) {
        uint64_t next = wheel->opened[level] + 1;
        if (next >> TR_WHEEL_FAR_STEP > wheel->opened[level + 1])
            return false; /* it is not complete: the slot above is not opened */
        if (is_occupied(wheel, place_of(level + 1, next))) {
            *left -= move_down(wheel, level + 1, next, *left);
            if (wheel->opened[level] != next)
                return false;
        }
        wheel->opened[level] = next;
    }
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
        uint64_t ahead = level > 0 ? ahead_of(level - 1) : 0, opens = found > ahead ? found - ahead : 0;
        uint64_t tick = opens << shift_of(level);
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

static size_t check_slot(const struct tr_wheel *wheel, unsigned level, unsigned at)
{
    size_t count = 0;
    bool scout = false;
    const struct tr_wheel_slot *slot = &wheel->slots[at];
    uint64_t here = number(wheel->tick, level), first = 0;
    if (!is_occupied(wheel, at)) {
        TR_ASSERT(!slot->scout && (!slot->timers.next || tr_list_empty(&slot->timers)));
        return 0;
    }
    TR_ASSERT(!tr_list_empty(&slot->timers));
    for (const struct tr_list *node = slot->timers.next; node != &slot->timers; node = node->next) {
        const struct tr_timer *timer = TR_CONTAINER_OF(node, struct tr_timer, link);
        uint64_t due = tick_of_due(timer->due_ns), mine = number(due, level);
        TR_ASSERT(timer->armed && node->next->prev == node);
        TR_ASSERT(place_of(level, mine) == at && mine > here);
        TR_ASSERT(mine - here < (level == 0 ? TR_WHEEL_NEAR : TR_WHEEL_FAR));
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
    for (unsigned word = 0; word < TR_WHEEL_SLOTS / 64; word++) {
        unsigned first = word * 64, level = first < TR_WHEEL_NEAR ? 0 : 1 + (first - TR_WHEEL_NEAR) / TR_WHEEL_FAR;
        for (unsigned at = first; wheel->occupied[word] && at < first + 64; at++)
            count += check_slot(wheel, level, at);
        if (level == 0)
            TR_ASSERT((wheel->occupied[word] != 0) == (wheel->near_words[word / 64] >> (word % 64) & 1));
    }
    TR_ASSERT(count == wheel->count);
    for (unsigned level = 0; level < TOP; level++) {
        uint64_t now = number(wheel->tick, level + 1), last = now + ahead_of(level);
        TR_ASSERT(wheel->opened[level] == last ||
                  (wheel->emptying && wheel->opened[level] >= now && wheel->opened[level] < last));
    }
}
