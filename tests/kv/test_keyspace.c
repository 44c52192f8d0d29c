/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "keyspace.h"

static const uint64_t seed[2] = {0x1234567890abcdefU, 0xfedcba0987654321U};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static struct kv_key text_key(struct kv_keyspace *keys, const char *text)
{
    return kv_keyspace_key(keys, kv_slice_text(text));
}

static struct kv_entry *set_text(struct kv_keyspace *keys, const char *key, const char *value)
{
    struct kv_key hashed = text_key(keys, key);
    return kv_keyspace_set(keys, &hashed, kv_slice_text(value));
}

static bool has_text(struct kv_keyspace *keys, const char *key, const char *value)
{
    struct kv_key hashed = text_key(keys, key);
    struct kv_entry *entry = kv_keyspace_find(keys, &hashed);
    return entry != NULL && kv_slice_equal(kv_entry_value(entry), kv_slice_text(value));
}

Test(keyspace, keys_and_values_are_any_bytes)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    struct kv_key zero = kv_keyspace_key(keys, kv_slice_of("a\0b", 3)),
                  empty = kv_keyspace_key(keys, kv_slice_of("", 0));
    cr_assert_not_null(kv_keyspace_set(keys, &zero, kv_slice_of("\0\0", 2)));
    cr_assert_not_null(kv_keyspace_set(keys, &empty, kv_slice_of("", 0)));
    cr_assert_eq(kv_entry_value(kv_keyspace_find(keys, &zero)).len, 2);
    cr_assert_eq(kv_entry_value(kv_keyspace_find(keys, &empty)).len, 0);
    cr_assert_not(has_text(keys, "a", ""));
    cr_assert(kv_keyspace_check(keys));
    kv_keyspace_destroy(keys);
}

Test(keyspace, a_flood_of_keys_and_their_removal_leave_no_memory_accounted)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    size_t before = kv_keyspace_bytes(keys);
    char name[32];
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "key:%d", i);
        set_text(keys, name, name);
    }
    cr_assert_eq(kv_keyspace_stats(keys).keys, 20000);
    cr_assert(kv_keyspace_check(keys));
    cr_assert(has_text(keys, "key:19999", "key:19999"));
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "key:%d", i);
        struct kv_key key = text_key(keys, name);
        cr_assert(kv_keyspace_delete(keys, &key));
        cr_assert_not(kv_keyspace_delete(keys, &key));
    }
    cr_assert_eq(kv_keyspace_bytes(keys), before);
    kv_keyspace_destroy(keys);
}

Test(keyspace, a_big_value_is_adopted_not_copied)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    struct kv_blob *blob = kv_blob_create(1 << 20);
    blob->len = 1 << 20;
    memset(blob->data, 'v', blob->len);
    struct kv_key key = text_key(keys, "k");
    struct kv_entry *entry = kv_keyspace_set(keys, &key, kv_blob_slice(blob));
    cr_assert_eq(kv_entry_value(entry).ptr, blob->data);
    cr_assert_gt(kv_keyspace_bytes(keys), 1 << 20);
    cr_assert(kv_keyspace_delete(keys, &key));
    cr_assert(kv_blob_is_sole(blob), "a reader keeps its bytes after the deletion");
    cr_assert_lt(kv_keyspace_bytes(keys), 1 << 16);
    kv_blob_unref(blob);
    kv_keyspace_destroy(keys);
}

Test(keyspace, appending_never_changes_what_a_reader_holds)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    struct kv_key key = text_key(keys, "k");
    char *big = calloc(1, KV_BLOB_MIN);
    struct kv_entry *entry = kv_keyspace_set(keys, &key, kv_slice_of(big, KV_BLOB_MIN));
    struct kv_blob *reader = kv_blob_ref(kv_entry_value(entry).blob);
    entry = kv_keyspace_append(keys, entry, kv_slice_text("tail"));
    cr_assert_neq(kv_entry_value(entry).blob, reader);
    cr_assert_eq(reader->len, KV_BLOB_MIN);
    struct kv_blob *own = kv_entry_value(entry).blob;
    entry = kv_keyspace_append(keys, entry, kv_slice_text("more"));
    cr_assert_eq(kv_entry_value(entry).blob, own, "nobody else reads it: extended in place");
    cr_assert_eq(kv_entry_value(entry).len, KV_BLOB_MIN + 8);
    cr_assert(memcmp(kv_entry_value(entry).ptr + KV_BLOB_MIN, "tailmore", 8) == 0);
    cr_assert(kv_keyspace_check(keys));
    kv_blob_unref(reader);
    free(big);
    kv_keyspace_destroy(keys);
}

Test(keyspace, appending_from_small_to_big_keeps_bytes_and_deadline)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    struct kv_entry *entry = set_text(keys, "k", "");
    cr_assert(kv_keyspace_expire_at(keys, entry, 77));
    for (int i = 0; i < 5000; i++)
        entry = kv_keyspace_append(keys, entry, kv_slice_text("0123456789"));
    struct kv_slice value = kv_entry_value(entry);
    cr_assert_eq(value.len, 50000);
    for (size_t i = 0; i < value.len; i++)
        cr_assert_eq(value.ptr[i], (char)('0' + i % 10));
    cr_assert_eq(kv_entry_deadline(keys, entry), 77);
    cr_assert(kv_keyspace_check(keys));
    kv_keyspace_destroy(keys);
}

Test(keyspace, deadlines_fall_due_in_order)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    uint64_t random = 42;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "%d", i);
        struct kv_entry *entry = set_text(keys, name, "v");
        kv_keyspace_expire_at(keys, entry, (int64_t)(1000 + next_random(&random) % 500));
        if (i % 3 == 0)
            kv_keyspace_expire_at(keys, entry, KV_NEVER);
    }
    cr_assert(kv_keyspace_check(keys));
    cr_assert_null(kv_keyspace_due(keys, 999));
    int64_t last = 0;
    size_t due = 0;
    struct kv_entry *entry;
    while ((entry = kv_keyspace_due(keys, 5000)) != NULL) {
        int64_t deadline = kv_entry_deadline(keys, entry);
        cr_assert_eq(deadline, kv_keyspace_next_deadline(keys));
        cr_assert_geq(deadline, last);
        last = deadline;
        struct kv_key key = kv_keyspace_key(keys, kv_entry_key(entry));
        cr_assert(kv_keyspace_delete(keys, &key));
        due++;
    }
    cr_assert_eq(due, 666);
    cr_assert_eq(kv_keyspace_stats(keys).keys, 334);
    cr_assert_eq(kv_keyspace_next_deadline(keys), KV_NEVER);
    kv_keyspace_destroy(keys);
}

Test(keyspace, a_flush_is_reaped_little_by_little)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    char name[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            (void)snprintf(name, sizeof name, "%d", i);
            kv_keyspace_expire_at(keys, set_text(keys, name, "v"), 5);
        }
        kv_keyspace_flush(keys);
    }
    struct kv_keyspace_stats stats = kv_keyspace_stats(keys);
    cr_assert(stats.keys == 0 && stats.deadlines == 0 && stats.dying_bytes > 0);
    set_text(keys, "new", "v");
    cr_assert_lt(kv_keyspace_stats(keys).dying_bytes, stats.dying_bytes);
    while (kv_keyspace_reap(keys, 100))
        ;
    cr_assert_eq(kv_keyspace_stats(keys).dying_bytes, 0);
    cr_assert(has_text(keys, "new", "v"));
    cr_assert(kv_keyspace_check(keys));
    kv_keyspace_destroy(keys);
}

/* ---- walking while the keyspace changes ---- */

enum { STAYERS = 3000 };

static void count_visit(void *ctx, const struct kv_entry *entry)
{
    unsigned *visits = ctx;
    char text[32] = "";
    struct kv_slice key = kv_entry_key(entry);
    memcpy(text, key.ptr, key.len);
    if (text[0] == 's')
        visits[atoi(text + 1)]++;
}

/* Add or remove passers-by: enough of them to make the table grow and shrink several times. */
static void churn(struct kv_keyspace *keys, bool add, int from, int count)
{
    char name[32];
    for (int i = from; i < from + count; i++) {
        (void)snprintf(name, sizeof name, "p%d", i);
        struct kv_key key = text_key(keys, name);
        if (add)
            kv_keyspace_set(keys, &key, kv_slice_text("passer-by"));
        else
            kv_keyspace_delete(keys, &key);
    }
}

static void walk_with_churn(int per_step, bool grow_first)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    unsigned *visits = calloc(STAYERS, sizeof *visits);
    char name[32];
    for (int i = 0; i < STAYERS; i++) {
        (void)snprintf(name, sizeof name, "s%d", i);
        set_text(keys, name, "v");
    }
    if (!grow_first)
        churn(keys, true, 0, 60000);
    kv_walk walk = 0;
    int step = 0;
    while (kv_keyspace_walk(keys, &walk, count_visit, visits) && step < 1000000) {
        bool add = grow_first == (step / 400 % 2 == 0);
        churn(keys, add, step % 400 * per_step, per_step);
        step++;
    }
    cr_assert_eq(walk, KV_WALK_DONE);
    for (int i = 0; i < STAYERS; i++)
        cr_assert_eq(visits[i], 1, "s%d visited %u times", i, visits[i]);
    cr_assert(kv_keyspace_check(keys));
    free(visits);
    kv_keyspace_destroy(keys);
}

Test(keyspace, a_walk_sees_each_stayer_exactly_once_while_the_table_grows)
{
    walk_with_churn(150, true);
}

Test(keyspace, a_walk_sees_each_stayer_exactly_once_while_the_table_shrinks)
{
    walk_with_churn(150, false);
}

/* ---- against a naive model ---- */

enum { MODEL_KEYS = 300, MODEL_STEPS = 60000 };

struct model {
    char *value[MODEL_KEYS];
    size_t len[MODEL_KEYS];
    int64_t deadline[MODEL_KEYS];
};

static void model_set(struct model *model, size_t i, struct kv_slice value)
{
    if (model->value[i] == NULL)
        model->deadline[i] = KV_NEVER;
    free(model->value[i]);
    model->value[i] = malloc(value.len + 1);
    memcpy(model->value[i], value.ptr, value.len);
    model->len[i] = value.len;
}

static void model_append(struct model *model, size_t i, struct kv_slice tail)
{
    model->value[i] = realloc(model->value[i], model->len[i] + tail.len + 1);
    memcpy(model->value[i] + model->len[i], tail.ptr, tail.len);
    model->len[i] += tail.len;
}

static void model_delete(struct model *model, size_t i)
{
    free(model->value[i]);
    model->value[i] = NULL;
}

static void compare(struct kv_keyspace *keys, const struct model *model, size_t i, const struct kv_key *key)
{
    struct kv_entry *entry = kv_keyspace_find(keys, key);
    cr_assert_eq(entry != NULL, model->value[i] != NULL);
    if (entry == NULL)
        return;
    cr_assert(kv_slice_equal(kv_entry_value(entry), kv_slice_of(model->value[i], model->len[i])));
    cr_assert_eq(kv_entry_deadline(keys, entry), model->deadline[i]);
}

Test(keyspace, agrees_with_a_naive_model_over_random_operations)
{
    struct kv_keyspace *keys = kv_keyspace_create(seed);
    struct model *model = calloc(1, sizeof *model);
    char *bytes = malloc(40000), name[32];
    uint64_t random = 20240601;
    for (size_t i = 0; i < 40000; i++)
        bytes[i] = (char)next_random(&random);
    for (int step = 0; step < MODEL_STEPS; step++) {
        size_t i = next_random(&random) % MODEL_KEYS;
        size_t longest = next_random(&random) % 50 == 0 ? 40000 : 100;
        struct kv_slice value = kv_slice_of(bytes, next_random(&random) % longest);
        (void)snprintf(name, sizeof name, "key:%zu", i);
        struct kv_key key = text_key(keys, name);
        struct kv_entry *entry = kv_keyspace_find(keys, &key);
        switch (next_random(&random) % 6) {
        case 0:
        case 1:
            kv_keyspace_set(keys, &key, value);
            model_set(model, i, value);
            break;
        case 2:
            cr_assert_eq(kv_keyspace_delete(keys, &key), model->value[i] != NULL);
            model_delete(model, i);
            break;
        case 3:
            if (entry != NULL) {
                kv_keyspace_append(keys, entry, value);
                model_append(model, i, value);
            }
            break;
        case 4:
            if (entry != NULL) {
                model->deadline[i] = (int64_t)next_random(&random);
                kv_keyspace_expire_at(keys, entry, model->deadline[i]);
            }
            break;
        default:
            if (step % 5000 == 0) {
                kv_keyspace_flush(keys);
                for (size_t k = 0; k < MODEL_KEYS; k++)
                    model_delete(model, k);
            } else if (entry != NULL) {
                kv_keyspace_expire_at(keys, entry, KV_NEVER);
                model->deadline[i] = KV_NEVER;
            }
        }
        compare(keys, model, i, &key);
        if (step % 1000 == 0)
            cr_assert(kv_keyspace_check(keys), "after step %d", step);
    }
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        (void)snprintf(name, sizeof name, "key:%zu", i);
        struct kv_key key = text_key(keys, name);
        compare(keys, model, i, &key);
        model_delete(model, i);
    }
    free(model);
    free(bytes);
    kv_keyspace_destroy(keys);
}

Test(keyspace, placement_on_shards_never_changes)
{
    /* These places are on people's disks. */
    cr_assert_eq(kv_shard_of("", 0, 8), 0);
    cr_assert_eq(kv_shard_of("key:1", 5, 8), 7);
    cr_assert_eq(kv_shard_of("hello", 5, 8), 6);
    cr_assert_eq(kv_shard_of("anything", 8, 1), 0);
}

Test(keyspace, placement_on_shards_is_even)
{
    unsigned counts[7] = {0};
    char name[32];
    for (int i = 0; i < 70000; i++) {
        int len = snprintf(name, sizeof name, "key:%012d", i);
        counts[kv_shard_of(name, (size_t)len, 7)]++;
    }
    for (int i = 0; i < 7; i++)
        cr_assert(counts[i] > 9500 && counts[i] < 10500, "shard %d has %u", i, counts[i]);
}
