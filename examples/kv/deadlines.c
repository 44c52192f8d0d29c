/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlines.h"

#include <stdlib.h>

/* A heap with four children per item: half as deep as a binary one, and the four lie in one or two
 * cache lines. */
enum { FANOUT = 4, FIRST_CAP = 16 };

static void place(struct kv_deadlines *deadlines, uint32_t at, struct kv_deadline item)
{
    deadlines->heap[at] = item;
    *item.slot = at;
}

static void sift_up(struct kv_deadlines *deadlines, uint32_t at, struct kv_deadline item)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / FANOUT;
        if (deadlines->heap[parent].at_ms <= item.at_ms)
            break;
        place(deadlines, at, deadlines->heap[parent]);
        at = parent;
    }
    place(deadlines, at, item);
}

static uint32_t earliest_child(const struct kv_deadlines *deadlines, uint64_t first)
{
    uint64_t end = first + FANOUT < deadlines->len ? first + FANOUT : deadlines->len;
    uint64_t best = first;
    for (uint64_t i = first + 1; i < end; i++)
        if (deadlines->heap[i].at_ms < deadlines->heap[best].at_ms)
            best = i;
    return (uint32_t)best;
}

static void sift_down(struct kv_deadlines *deadlines, uint32_t at, struct kv_deadline item)
{
    for (;;) {
        uint64_t first = (uint64_t)at * FANOUT + 1;
        if (first >= deadlines->len)
            break;
        uint32_t child = earliest_child(deadlines, first);
        if (deadlines->heap[child].at_ms >= item.at_ms)
            break;
        place(deadlines, at, deadlines->heap[child]);
        at = child;
    }
    place(deadlines, at, item);
}

/* Put an item where it belongs, starting from a hole. */
static void settle(struct kv_deadlines *deadlines, uint32_t at, struct kv_deadline item)
{
    if (at > 0 && deadlines->heap[(at - 1) / FANOUT].at_ms > item.at_ms)
        sift_up(deadlines, at, item);
    else
        sift_down(deadlines, at, item);
}

static bool grow(struct kv_deadlines *deadlines)
{
    if (deadlines->cap > UINT32_MAX / 2)
        return false;
    uint32_t cap = deadlines->cap == 0 ? FIRST_CAP : deadlines->cap * 2;
    struct kv_deadline *heap = realloc(deadlines->heap, cap * sizeof *heap);
    if (heap == NULL)
        return false;
    deadlines->heap = heap;
    deadlines->cap = cap;
    return true;
}

bool kv_deadlines_set(struct kv_deadlines *deadlines, uint32_t *slot, int64_t at_ms)
{
    struct kv_deadline item = {.at_ms = at_ms};
    item.slot = slot;
    if (*slot != KV_NO_DEADLINE) {
        settle(deadlines, *slot, item);
        return true;
    }
    if (deadlines->len == deadlines->cap && !grow(deadlines))
        return false;
    deadlines->len++;
    sift_up(deadlines, deadlines->len - 1, item);
    return true;
}

void kv_deadlines_remove(struct kv_deadlines *deadlines, uint32_t *slot)
{
    uint32_t at = *slot;
    if (at == KV_NO_DEADLINE)
        return;
    *slot = KV_NO_DEADLINE;
    struct kv_deadline last = deadlines->heap[--deadlines->len];
    if (at < deadlines->len)
        settle(deadlines, at, last);
}

void kv_deadlines_moved(struct kv_deadlines *deadlines, uint32_t *slot)
{
    if (*slot != KV_NO_DEADLINE)
        deadlines->heap[*slot].slot = slot;
}

void kv_deadlines_free(struct kv_deadlines *deadlines)
{
    free(deadlines->heap);
    *deadlines = (struct kv_deadlines){0};
}

bool kv_deadlines_check(const struct kv_deadlines *deadlines)
{
    for (uint32_t i = 0; i < deadlines->len; i++) {
        if (*deadlines->heap[i].slot != i)
            return false;
        if (i > 0 && deadlines->heap[(i - 1) / FANOUT].at_ms > deadlines->heap[i].at_ms)
            return false;
    }
    return true;
}
