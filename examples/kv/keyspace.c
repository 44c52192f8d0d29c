/* SPDX-License-Identifier: Apache-2.0 */
#include "keyspace.h"

#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "crc32c.h"
#include "deadlines.h"
#include "siphash.h"

enum {
    REAP_PER_CHANGE = 8, /* flushed entries freed by each operation that changes something */
    SLACK_MAX = 64,      /* bytes of room, beyond the value's own length, that a smaller value may inherit */
};
#define ROOM_BLOB UINT32_MAX /* the value is a blob */

/* bytes: the key, then the value and its room; or the key, padding, and the pointer to the blob. */
struct kv_entry {
    struct kv_link link; /* must be first */
    uint32_t key_len;
    uint32_t value_len;
    uint32_t room; /* bytes for the value in this allocation, or ROOM_BLOB */
    char bytes[];
};

/* What a flush has thrown away. */
struct grave {
    struct kv_table table;
    uint32_t chain;
    struct grave *next;
};

struct kv_keyspace {
    struct kv_table table;
    struct kv_deadlines deadlines;
    size_t entry_bytes;
    size_t dying_bytes;
    struct grave *graves;
    uint64_t seed[2];
};

unsigned kv_shard_of(const void *key, size_t len, unsigned shards)
{
    /* The checksum is linear; a multiplication spreads it before the high bits are taken. */
    uint64_t mixed = (uint64_t)kv_crc32c(0, key, len) * 0x9e3779b97f4a7c15U;
    return (unsigned)(((mixed >> 32) * shards) >> 32);
}

/* ---- entries ---- */

#define HEAD offsetof(struct kv_entry, bytes)

/* What an allocation really costs: eight bytes of the allocator's, and rounding to sixteen. */
static size_t charge(size_t size)
{
    return (size + 8 + 15) & ~(size_t)15;
}

static size_t blob_charge(const struct kv_blob *blob)
{
    return charge(sizeof *blob + blob->cap);
}

static size_t blob_offset(uint32_t key_len)
{
    return (HEAD + key_len + 7) & ~(size_t)7;
}

static bool holds_blob(const struct kv_entry *entry)
{
    return entry->room == ROOM_BLOB;
}

static struct kv_blob *entry_blob(const struct kv_entry *entry)
{
    struct kv_blob *blob;
    memcpy(&blob, (const char *)entry + blob_offset(entry->key_len), sizeof blob);
    return blob;
}

static void put_blob(struct kv_entry *entry, struct kv_blob *blob)
{
    memcpy((char *)entry + blob_offset(entry->key_len), &blob, sizeof blob);
    entry->value_len = (uint32_t)blob->len;
}

static size_t entry_charge(const struct kv_entry *entry)
{
    if (holds_blob(entry))
        return charge(blob_offset(entry->key_len) + sizeof(struct kv_blob *)) + blob_charge(entry_blob(entry));
    return charge(HEAD + entry->key_len + entry->room);
}

static struct kv_entry *make_entry(struct kv_slice key, size_t size, uint32_t hash, uint32_t room)
{
    struct kv_entry *entry = malloc(size);
    if (entry == NULL)
        return NULL;
    entry->link = (struct kv_link){.hash = hash, .slot = KV_NO_DEADLINE};
    entry->key_len = (uint32_t)key.len;
    entry->value_len = 0;
    entry->room = room;
    if (key.len > 0)
        memcpy(entry->bytes, key.ptr, key.len);
    return entry;
}

/* Room for at least `room` bytes, and for what the allocator's rounding gives away. */
static struct kv_entry *make_inline_entry(struct kv_slice key, uint32_t hash, size_t room)
{
    size_t size = charge(HEAD + key.len + room) - 8;
    return make_entry(key, size, hash, (uint32_t)(size - HEAD - key.len));
}

/* Takes the reference over, if it succeeds. */
static struct kv_entry *make_blob_entry(struct kv_slice key, uint32_t hash, struct kv_blob *blob)
{
    size_t size = blob_offset((uint32_t)key.len) + sizeof blob;
    struct kv_entry *entry = make_entry(key, size, hash, ROOM_BLOB);
    if (entry != NULL)
        put_blob(entry, blob);
    return entry;
}

static void free_entry(struct kv_entry *entry)
{
    if (holds_blob(entry))
        kv_blob_unref(entry_blob(entry));
    free(entry);
}

struct kv_slice kv_entry_key(const struct kv_entry *entry)
{
    return kv_slice_of(entry->bytes, entry->key_len);
}

struct kv_slice kv_entry_value(const struct kv_entry *entry)
{
    if (holds_blob(entry))
        return kv_blob_slice(entry_blob(entry));
    return kv_slice_of(entry->bytes + entry->key_len, entry->value_len);
}

int64_t kv_entry_deadline(const struct kv_keyspace *keys, const struct kv_entry *entry)
{
    return entry->link.slot == KV_NO_DEADLINE ? KV_NEVER : keys->deadlines.heap[entry->link.slot].at_ms;
}

/* ---- finding, adding, replacing ---- */

struct kv_key kv_keyspace_key(const struct kv_keyspace *keys, struct kv_slice key)
{
    uint64_t hash = kv_siphash(keys->seed, key.ptr, key.len);
    return (struct kv_key){.ptr = key.ptr, .len = (uint32_t)key.len, .hash = (uint32_t)hash};
}

/* The pointer in the chain that points to the key's entry, or to the chain's end. */
static struct kv_link **locate(struct kv_keyspace *keys, const struct kv_key *key)
{
    struct kv_link **at = kv_table_chain(&keys->table, key->hash);
    for (; *at != NULL; at = &(*at)->next) {
        const struct kv_entry *entry = (const struct kv_entry *)*at;
        if (entry->link.hash == key->hash && entry->key_len == key->len &&
            (key->len == 0 || memcmp(entry->bytes, key->ptr, key->len) == 0))
            break;
    }
    return at;
}

struct kv_entry *kv_keyspace_find(struct kv_keyspace *keys, const struct kv_key *key)
{
    return (struct kv_entry *)*locate(keys, key);
}

static void reap_some(struct kv_keyspace *keys)
{
    if (keys->graves != NULL)
        (void)kv_keyspace_reap(keys, REAP_PER_CHANGE);
}

/* Put an entry where *at points: in the place of an old one, whose deadline it inherits, or as new. */
static struct kv_entry *put_entry(struct kv_keyspace *keys, struct kv_link **at, struct kv_entry *fresh)
{
    struct kv_entry *old = (struct kv_entry *)*at;
    keys->entry_bytes += entry_charge(fresh);
    if (old == NULL) {
        kv_table_insert(&keys->table, &fresh->link);
        return fresh;
    }
    keys->entry_bytes -= entry_charge(old);
    fresh->link = old->link;
    *at = &fresh->link;
    kv_deadlines_moved(&keys->deadlines, &fresh->link.slot);
    free_entry(old);
    return fresh;
}

/* The reference to the blob is taken over, whether it succeeds or not. */
static struct kv_entry *set_blob(struct kv_keyspace *keys, const struct kv_key *key, struct kv_blob *blob)
{
    if (blob == NULL)
        return NULL;
    struct kv_link **at = locate(keys, key);
    struct kv_entry *entry = (struct kv_entry *)*at;
    if (entry != NULL && holds_blob(entry)) {
        keys->entry_bytes += blob_charge(blob) - blob_charge(entry_blob(entry));
        kv_blob_unref(entry_blob(entry));
        put_blob(entry, blob);
        return entry;
    }
    entry = make_blob_entry(kv_slice_of(key->ptr, key->len), key->hash, blob);
    if (entry == NULL) {
        kv_blob_unref(blob);
        return NULL;
    }
    return put_entry(keys, at, entry);
}

static bool has_fitting_room(const struct kv_entry *entry, size_t len)
{
    return !holds_blob(entry) && len <= entry->room && entry->room <= 2 * len + SLACK_MAX;
}

static void add_bytes(struct kv_entry *entry, struct kv_slice bytes)
{
    if (bytes.len > 0)
        memcpy(entry->bytes + entry->key_len + entry->value_len, bytes.ptr, bytes.len);
    entry->value_len += (uint32_t)bytes.len;
}

static struct kv_entry *set_inline(struct kv_keyspace *keys, const struct kv_key *key, struct kv_slice value)
{
    struct kv_link **at = locate(keys, key);
    struct kv_entry *entry = (struct kv_entry *)*at;
    if (entry != NULL && has_fitting_room(entry, value.len)) {
        entry->value_len = 0;
        add_bytes(entry, value);
        return entry;
    }
    entry = make_inline_entry(kv_slice_of(key->ptr, key->len), key->hash, value.len);
    if (entry == NULL)
        return NULL;
    add_bytes(entry, value);
    return put_entry(keys, at, entry);
}

struct kv_entry *kv_keyspace_set(struct kv_keyspace *keys, const struct kv_key *key, struct kv_slice value)
{
    reap_some(keys);
    if (value.len < KV_BLOB_MIN)
        return set_inline(keys, key, value);
    if (value.blob != NULL)
        return set_blob(keys, key, kv_blob_ref(value.blob));
    return set_blob(keys, key, kv_blob_copy(value.ptr, value.len));
}

/* ---- appending ---- */

static struct kv_key key_of(const struct kv_entry *entry)
{
    return (struct kv_key){.ptr = entry->bytes, .len = entry->key_len, .hash = entry->link.hash};
}

static size_t with_reserve(size_t len)
{
    return len + len / 2;
}

/* A blob with the bytes of both, that nobody else reads yet. */
static struct kv_blob *join(struct kv_slice head, struct kv_slice tail)
{
    struct kv_blob *blob = kv_blob_create(with_reserve(head.len + tail.len));
    if (blob == NULL)
        return NULL;
    memcpy(blob->data, head.ptr, head.len);
    memcpy(blob->data + head.len, tail.ptr, tail.len);
    blob->len = head.len + tail.len;
    return blob;
}

/* Extend the entry's blob in place: nobody else reads it. */
static struct kv_entry *extend_blob(struct kv_keyspace *keys, struct kv_entry *entry, struct kv_slice tail)
{
    struct kv_blob *blob = entry_blob(entry);
    size_t before = blob_charge(blob);
    if (tail.len > blob->cap - blob->len) {
        blob = kv_blob_resize(blob, with_reserve(blob->len + tail.len));
        if (blob == NULL)
            return NULL;
    }
    memcpy(blob->data + blob->len, tail.ptr, tail.len);
    blob->len += tail.len;
    put_blob(entry, blob);
    keys->entry_bytes += blob_charge(blob) - before;
    return entry;
}

static struct kv_entry *extend_inline(struct kv_keyspace *keys, struct kv_entry *entry, struct kv_slice tail)
{
    struct kv_key key = key_of(entry);
    if (tail.len <= entry->room - entry->value_len) {
        add_bytes(entry, tail);
        return entry;
    }
    size_t room = with_reserve(entry->value_len + tail.len);
    struct kv_entry *fresh = make_inline_entry(kv_entry_key(entry), key.hash, room);
    if (fresh == NULL)
        return NULL;
    add_bytes(fresh, kv_entry_value(entry));
    add_bytes(fresh, tail);
    return put_entry(keys, locate(keys, &key), fresh);
}

struct kv_entry *kv_keyspace_append(struct kv_keyspace *keys, struct kv_entry *entry, struct kv_slice tail)
{
    reap_some(keys);
    if (tail.len == 0)
        return entry;
    if (holds_blob(entry) && kv_blob_is_sole(entry_blob(entry)))
        return extend_blob(keys, entry, tail);
    if (!holds_blob(entry) && entry->value_len + tail.len < KV_BLOB_MIN)
        return extend_inline(keys, entry, tail);
    struct kv_key key = key_of(entry);
    return set_blob(keys, &key, join(kv_entry_value(entry), tail));
}

/* ---- removing ---- */

bool kv_keyspace_delete(struct kv_keyspace *keys, const struct kv_key *key)
{
    reap_some(keys);
    struct kv_link **at = locate(keys, key);
    struct kv_entry *entry = (struct kv_entry *)*at;
    if (entry == NULL)
        return false;
    kv_deadlines_remove(&keys->deadlines, &entry->link.slot);
    kv_table_unlink(&keys->table, at);
    keys->entry_bytes -= entry_charge(entry);
    free_entry(entry);
    return true;
}

static bool reap_one(struct kv_keyspace *keys)
{
    struct grave *grave = keys->graves;
    struct kv_entry *entry = (struct kv_entry *)kv_table_pop(&grave->table, &grave->chain);
    if (entry != NULL) {
        keys->dying_bytes -= entry_charge(entry);
        free_entry(entry);
        return true;
    }
    keys->graves = grave->next;
    kv_table_fini(&grave->table);
    free(grave);
    return keys->graves != NULL;
}

bool kv_keyspace_reap(struct kv_keyspace *keys, size_t max)
{
    while (keys->graves != NULL && max > 0) {
        max--;
        (void)reap_one(keys);
    }
    return keys->graves != NULL;
}

/* Without memory for a grave, free at once. */
static void empty_table(struct kv_table *table)
{
    uint32_t chain = UINT32_MAX;
    struct kv_link *entry;
    while ((entry = kv_table_pop(table, &chain)) != NULL)
        free_entry((struct kv_entry *)entry);
}

void kv_keyspace_flush(struct kv_keyspace *keys)
{
    struct grave *grave = malloc(sizeof *grave);
    struct kv_table fresh;
    kv_deadlines_free(&keys->deadlines);
    if (grave != NULL && kv_table_init(&fresh)) {
        *grave = (struct grave){.table = keys->table, .chain = UINT32_MAX, .next = keys->graves};
        keys->graves = grave;
        keys->table = fresh;
        keys->dying_bytes += keys->entry_bytes;
    } else {
        free(grave);
        empty_table(&keys->table);
    }
    keys->entry_bytes = 0;
}

/* ---- deadlines ---- */

bool kv_keyspace_expire_at(struct kv_keyspace *keys, struct kv_entry *entry, int64_t at_ms)
{
    if (at_ms != KV_NEVER)
        return kv_deadlines_set(&keys->deadlines, &entry->link.slot, at_ms);
    kv_deadlines_remove(&keys->deadlines, &entry->link.slot);
    return true;
}

int64_t kv_keyspace_next_deadline(const struct kv_keyspace *keys)
{
    return keys->deadlines.len == 0 ? KV_NEVER : keys->deadlines.heap[0].at_ms;
}

struct kv_entry *kv_keyspace_due(struct kv_keyspace *keys, int64_t now_ms)
{
    if (keys->deadlines.len == 0 || keys->deadlines.heap[0].at_ms > now_ms)
        return NULL;
    char *slot = (char *)keys->deadlines.heap[0].slot;
    return (struct kv_entry *)(void *)(slot - offsetof(struct kv_entry, link.slot));
}

/* ---- the whole ---- */

struct kv_keyspace *kv_keyspace_create(const uint64_t seed[2])
{
    struct kv_keyspace *keys = calloc(1, sizeof *keys);
    if (keys == NULL)
        return NULL;
    if (!kv_table_init(&keys->table)) {
        free(keys);
        return NULL;
    }
    keys->seed[0] = seed[0];
    keys->seed[1] = seed[1];
    return keys;
}

void kv_keyspace_destroy(struct kv_keyspace *keys)
{
    if (keys == NULL)
        return;
    while (kv_keyspace_reap(keys, SIZE_MAX))
        ;
    empty_table(&keys->table);
    kv_table_fini(&keys->table);
    kv_deadlines_free(&keys->deadlines);
    free(keys);
}

size_t kv_keyspace_bytes(const struct kv_keyspace *keys)
{
    return keys->entry_bytes + kv_table_bytes(&keys->table) + keys->deadlines.cap * sizeof(struct kv_deadline);
}

struct kv_keyspace_stats kv_keyspace_stats(const struct kv_keyspace *keys)
{
    return (struct kv_keyspace_stats){
        .keys = keys->table.count,
        .deadlines = keys->deadlines.len,
        .bytes = kv_keyspace_bytes(keys),
        .dying_bytes = keys->dying_bytes,
    };
}

struct visitor {
    void (*visit)(void *ctx, const struct kv_entry *entry);
    void *ctx;
};

static void visit_entry(void *ctx, struct kv_link *link)
{
    const struct visitor *visitor = ctx;
    visitor->visit(visitor->ctx, (const struct kv_entry *)link);
}

bool kv_keyspace_walk(struct kv_keyspace *keys, kv_walk *walk, void (*visit)(void *ctx, const struct kv_entry *entry),
                      void *ctx)
{
    struct visitor visitor = {.visit = visit, .ctx = ctx};
    return kv_table_step(&keys->table, walk, visit_entry, &visitor);
}

struct totals {
    size_t entries, bytes, deadlines;
};

static void add_entry(void *ctx, const struct kv_entry *entry)
{
    struct totals *totals = ctx;
    totals->entries++;
    totals->bytes += entry_charge(entry);
    if (entry->link.slot != KV_NO_DEADLINE)
        totals->deadlines++;
}

bool kv_keyspace_check(struct kv_keyspace *keys)
{
    struct totals totals = {0};
    kv_walk walk = 0;
    while (kv_keyspace_walk(keys, &walk, add_entry, &totals))
        ;
    return totals.entries == keys->table.count && totals.bytes == keys->entry_bytes &&
           totals.deadlines == keys->deadlines.len && kv_deadlines_check(&keys->deadlines);
}
