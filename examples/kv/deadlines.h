/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the order in which things fall due: a heap of points in time.
 * Its holder may call it, one thread at a time.
 * It is not a timer and reads no clock; the things themselves belong to somebody else. */
#ifndef KV_DEADLINES_H
#define KV_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each thing keeps a slot: its present index in the heap, or KV_NO_DEADLINE. The heap writes slots
 * as it moves items. */
#define KV_NO_DEADLINE UINT32_MAX

struct kv_deadline {
    int64_t at_ms;
    uint32_t *slot;
};

/* All zero is an empty heap. */
struct kv_deadlines {
    struct kv_deadline *heap;
    uint32_t len;
    uint32_t cap;
};

/* kv_deadlines_set - give a thing a deadline (unix ms), or change the one it has.
 * O(log n). Returns false when memory is short; nothing has changed then. */
bool kv_deadlines_set(struct kv_deadlines *deadlines, uint32_t *slot, int64_t at_ms);

/* kv_deadlines_remove - take a thing's deadline away, if it has one. O(log n). */
void kv_deadlines_remove(struct kv_deadlines *deadlines, uint32_t *slot);

/* kv_deadlines_moved - a thing has moved in memory: slot is where its (already copied) slot is now. */
void kv_deadlines_moved(struct kv_deadlines *deadlines, uint32_t *slot);

/* kv_deadlines_free - release the memory. Slots are not touched. */
void kv_deadlines_free(struct kv_deadlines *deadlines);

/* kv_deadlines_check - does every slot name its item, and no item come before its parent? For tests. */
bool kv_deadlines_check(const struct kv_deadlines *deadlines);

#endif
