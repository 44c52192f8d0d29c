/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one shard's keys, their values and their deadlines.
 * The shard's actor may call it, one thread at a time.
 * It is not durable, reads no clock and knows no commands. */
#ifndef KV_KEYSPACE_H
#define KV_KEYSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"
#include "table.h"

/* A key and its value below KV_BLOB_MIN lie in one allocation with the entry (28 bytes and 8 for the
 * allocator); a bigger value is a blob, adopted when it comes as one. No operation takes long: the table
 * grows chain by chain (table.h), and what kv_keyspace_flush threw away is freed a few entries at a
 * time by later operations. Deadlines are a heap, so that the owner can sleep exactly until the next
 * one, instead of waking to sample keys. Keys are hashed by SipHash under the owner's secret seed. */

#define KV_NEVER INT64_MAX /* the deadline of a key that has none */

struct kv_keyspace;
struct kv_entry;

/* A key with its hash, so that several operations on one key hash it once. */
struct kv_key {
    const char *ptr;
    uint32_t len;
    uint32_t hash;
};

struct kv_keyspace_stats {
    size_t keys;
    size_t deadlines;   /* keys that have one */
    size_t bytes;       /* keys, values, entries, table, heap, as the allocator rounds them */
    size_t dying_bytes; /* of flushed entries that are not freed yet; not in bytes */
};

/* kv_shard_of - the shard to which a key belongs: 0..shards-1, always the same, because each shard
 * has its own log. Not keyed: a client may choose keys that meet on one shard. */
unsigned kv_shard_of(const void *key, size_t len, unsigned shards);

/* kv_keyspace_create - empty; NULL when memory is short. seed: 128 secret random bits. */
struct kv_keyspace *kv_keyspace_create(const uint64_t seed[2]);

/* kv_keyspace_destroy - free everything at once; NULL is allowed. */
void kv_keyspace_destroy(struct kv_keyspace *keys);

/* kv_keyspace_key - hash a key (len < 2^32). The bytes must stay as long as the result is used. */
struct kv_key kv_keyspace_key(const struct kv_keyspace *keys, struct kv_slice key);

/* kv_keyspace_find - the key's entry or NULL; also one whose deadline has passed.
 * Entries stay valid until the next operation that changes the keyspace. */
struct kv_entry *kv_keyspace_find(struct kv_keyspace *keys, const struct kv_key *key);

/* kv_keyspace_set - give a key a value (len < 2^32), new or in place of the old one; a deadline stays.
 * The value is copied, unless it names a blob (a reference is taken). It must not lie in the keyspace.
 * Returns the entry, NULL when memory is short (nothing has changed then). */
struct kv_entry *kv_keyspace_set(struct kv_keyspace *keys, const struct kv_key *key, struct kv_slice value);

/* kv_keyspace_append - add bytes to the value of an entry; a deadline stays.
 * Room grows by half, so many small appends cost no more than their bytes; a blob that others read is
 * copied first, so what they see stays.
 * Returns the entry, perhaps moved, or NULL when memory is short (nothing has changed then). */
struct kv_entry *kv_keyspace_append(struct kv_keyspace *keys, struct kv_entry *entry, struct kv_slice tail);

/* kv_keyspace_delete - remove a key; false if it was not there. */
bool kv_keyspace_delete(struct kv_keyspace *keys, const struct kv_key *key);

/* kv_keyspace_flush - remove all keys, in constant time. */
void kv_keyspace_flush(struct kv_keyspace *keys);

/* kv_keyspace_reap - free up to max flushed entries; false when there are no more. */
bool kv_keyspace_reap(struct kv_keyspace *keys, size_t max);

/* kv_keyspace_expire_at - set the deadline, unix ms (KV_NEVER takes it away).
 * Returns false when memory is short (nothing has changed then). */
bool kv_keyspace_expire_at(struct kv_keyspace *keys, struct kv_entry *entry, int64_t at_ms);

/* kv_keyspace_next_deadline - the earliest deadline, KV_NEVER if there is none. */
int64_t kv_keyspace_next_deadline(const struct kv_keyspace *keys);

/* kv_keyspace_due - an entry whose deadline is the earliest and <= now_ms, or NULL. */
struct kv_entry *kv_keyspace_due(struct kv_keyspace *keys, int64_t now_ms);

/* kv_keyspace_stats - counts and bytes, in constant time. */
struct kv_keyspace_stats kv_keyspace_stats(const struct kv_keyspace *keys);

/* kv_keyspace_bytes - the field bytes alone. */
size_t kv_keyspace_bytes(const struct kv_keyspace *keys);

/* kv_keyspace_walk - visit the entries of one more chain; see table.h for the order.
 *   *walk  0 at first; moved on
 * Between steps anything may change: a key that is there throughout is visited exactly once. visit must
 * not change the keyspace. Returns false when the walk is done. */
bool kv_keyspace_walk(struct kv_keyspace *keys, kv_walk *walk, void (*visit)(void *ctx, const struct kv_entry *entry),
                      void *ctx);

/* kv_keyspace_check - do counts, bytes and deadlines agree with the entries? For tests; visits all. */
bool kv_keyspace_check(struct kv_keyspace *keys);

/* The parts of an entry. A value of KV_BLOB_MIN bytes or more names its blob; no reference is taken. */
struct kv_slice kv_entry_key(const struct kv_entry *entry);
struct kv_slice kv_entry_value(const struct kv_entry *entry);
int64_t kv_entry_deadline(const struct kv_keyspace *keys, const struct kv_entry *entry);

#endif
