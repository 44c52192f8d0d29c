/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "keyspace.h"
#include "log.h"
#include "replay.h"

enum { SHARD = 2, SHARDS = 5 };
static const struct kv_log_header header = {.shard = SHARD, .shards = SHARDS, .generation = 0x1122334455667788U};

static const struct kv_log_record records[] = {
    {KV_LOG_SET, KV_NEVER, {"key", 3, NULL}, {"value", 5, NULL}},
    {KV_LOG_SET, 1700000000000, {"k\0y", 3, NULL}, {"", 0, NULL}},
    {KV_LOG_APPEND, KV_NEVER, {"key", 3, NULL}, {"+tail", 5, NULL}},
    {KV_LOG_EXPIRE, 1800000000000, {"key", 3, NULL}, {"", 0, NULL}},
    {KV_LOG_PERSIST, KV_NEVER, {"key", 3, NULL}, {"", 0, NULL}},
    {KV_LOG_FLUSH, KV_NEVER, {"", 0, NULL}, {"", 0, NULL}},
    {KV_LOG_DELETE, KV_NEVER, {"key", 3, NULL}, {"", 0, NULL}},
};
enum { RECORDS = sizeof records / sizeof records[0] };

/* A log of all the records; where[i] is the offset of record i, where[RECORDS] the end. */
static struct kv_buf small_log(size_t where[RECORDS + 1])
{
    struct kv_rope rope = {0};
    struct kv_log_place place = kv_log_begin(&header, &rope.bytes);
    for (size_t i = 0; i < RECORDS; i++) {
        where[i] = (size_t)place.offset;
        kv_log_write(&place, &records[i], &rope);
    }
    where[RECORDS] = (size_t)place.offset;
    cr_assert_eq(rope.bytes.len, place.offset);
    return rope.bytes;
}

/* Checks that what is given out is a beginning of `records`. */
struct listener {
    size_t heard;
    bool wrong;
};

static bool listen(void *ctx, const struct kv_log_record *record)
{
    struct listener *listener = ctx;
    if (listener->heard >= RECORDS) {
        listener->wrong = true;
        return true;
    }
    const struct kv_log_record *expected = &records[listener->heard++];
    if (record->type != expected->type || record->deadline_ms != expected->deadline_ms ||
        !kv_slice_equal(record->key, expected->key) || !kv_slice_equal(record->value, expected->value))
        listener->wrong = true;
    return true;
}

/* Replay bytes in chunks that are heap blocks of their own. */
static struct kv_replay_result replay_in(const char *bytes, size_t len, size_t chunk, struct listener *listener)
{
    struct kv_replay replay;
    *listener = (struct listener){0};
    kv_replay_init(&replay, SHARD, SHARDS, listen, listener);
    bool more = true;
    for (size_t at = 0; at < len && more; at += chunk) {
        size_t n = len - at < chunk ? len - at : chunk;
        char *copy = malloc(n);
        memcpy(copy, bytes + at, n);
        more = kv_replay_feed(&replay, copy, n);
        free(copy);
    }
    struct kv_replay_result result = kv_replay_finish(&replay);
    cr_assert_not(listener->wrong);
    cr_assert_eq(result.records, listener->heard);
    return result;
}

Test(log, replays_what_was_written_in_chunks_of_any_size)
{
    size_t where[RECORDS + 1];
    struct kv_buf log = small_log(where);
    for (size_t chunk = 1; chunk <= log.len; chunk++) {
        struct listener listener;
        struct kv_replay_result result = replay_in(log.data, log.len, chunk, &listener);
        cr_assert_eq(result.end, KV_REPLAY_CLEAN, "chunks of %zu", chunk);
        cr_assert_eq(listener.heard, RECORDS);
        cr_assert_eq(result.valid, log.len);
        cr_assert_eq(result.place.offset, log.len);
        cr_assert_eq(result.place.generation, header.generation);
    }
    kv_buf_free(&log);
}

Test(log, a_cut_at_any_byte_is_a_torn_tail_up_to_the_last_whole_record)
{
    size_t where[RECORDS + 1];
    struct kv_buf log = small_log(where);
    for (size_t cut = 1; cut < log.len; cut++) {
        size_t whole = 0;
        while (where[whole + 1] <= cut)
            whole++;
        bool at_boundary = cut >= where[0] && where[whole] == cut;
        for (size_t chunk = 1; chunk <= 64; chunk += 21) {
            struct listener listener;
            struct kv_replay_result result = replay_in(log.data, cut, chunk, &listener);
            cr_assert_eq(result.end, at_boundary ? KV_REPLAY_CLEAN : KV_REPLAY_TORN, "cut at %zu", cut);
            cr_assert_eq(result.valid, cut < where[0] ? 0 : where[whole]);
            cr_assert_eq(listener.heard, whole);
        }
    }
    kv_buf_free(&log);
}

Test(log, a_flipped_bit_anywhere_never_passes_for_data)
{
    size_t where[RECORDS + 1];
    struct kv_buf log = small_log(where);
    for (size_t at = 0; at < log.len; at++) {
        size_t hit = 0;
        while (where[hit + 1] <= at)
            hit++;
        for (int bit = 0; bit < 8; bit++) {
            struct listener listener;
            log.data[at] = (char)(log.data[at] ^ 1 << bit);
            struct kv_replay_result result = replay_in(log.data, log.len, 1 + at % 50, &listener);
            log.data[at] = (char)(log.data[at] ^ 1 << bit);
            if (at < where[0]) {
                cr_assert_eq(result.end, KV_REPLAY_FOREIGN, "byte %zu of the header", at);
                continue;
            }
            bool last = hit == RECORDS - 1;
            cr_assert_eq(result.end, last ? KV_REPLAY_TORN : KV_REPLAY_CORRUPT, "byte %zu", at);
            cr_assert_eq(result.valid, where[hit]);
            cr_assert_eq(listener.heard, hit);
            if (!last)
                cr_assert_eq(result.next, where[hit + 1]);
        }
    }
    kv_buf_free(&log);
}

Test(log, a_tail_of_zeros_or_garbage_is_torn)
{
    size_t where[RECORDS + 1];
    struct kv_buf log = small_log(where);
    size_t len = log.len;
    for (size_t extra = 1; extra < 200; extra++) {
        struct listener listener;
        kv_buf_append(&log, extra % 2 == 0 ? "\0" : "\x01", 1);
        struct kv_replay_result result = replay_in(log.data, log.len, 1 + extra % 40, &listener);
        cr_assert_eq(result.end, KV_REPLAY_TORN);
        cr_assert_eq(result.valid, len);
        cr_assert_eq(listener.heard, RECORDS);
    }
    kv_buf_free(&log);
}

Test(log, a_record_inside_a_value_cannot_make_a_torn_tail_look_corrupt)
{
    size_t where[RECORDS + 1];
    struct kv_buf inner = small_log(where);
    struct kv_rope rope = {0};
    struct kv_log_place place = kv_log_begin(&header, &rope.bytes);
    struct kv_log_record record = {KV_LOG_SET, KV_NEVER, {"key", 3, NULL}, kv_slice_of(inner.data, inner.len)};
    kv_log_write(&place, &record, &rope);
    rope.bytes.data[KV_LOG_HEADER_SIZE + 3] ^= 1; /* its head: the scan now goes through the value */
    struct listener listener;
    struct kv_replay_result result = replay_in(rope.bytes.data, rope.bytes.len, 30, &listener);
    cr_assert_eq(result.end, KV_REPLAY_TORN);
    cr_assert_eq(result.valid, KV_LOG_HEADER_SIZE);
    kv_buf_free(&inner);
    kv_rope_free(&rope);
}

Test(log, files_of_zeros_are_torn_and_other_files_foreign)
{
    struct listener listener;
    char zeros[200] = {0};
    cr_assert_eq(replay_in(zeros, 0, 1, &listener).end, KV_REPLAY_EMPTY);
    cr_assert_eq(replay_in(zeros, 20, 3, &listener).end, KV_REPLAY_TORN);
    cr_assert_eq(replay_in(zeros, 200, 7, &listener).end, KV_REPLAY_TORN);
    zeros[199] = 1;
    cr_assert_eq(replay_in(zeros, 200, 7, &listener).end, KV_REPLAY_FOREIGN);
    cr_assert_eq(replay_in("hello", 5, 5, &listener).end, KV_REPLAY_FOREIGN);
    cr_assert_eq(replay_in("# a text file of some length, not a log", 39, 5, &listener).end, KV_REPLAY_FOREIGN);
}

Test(log, the_log_of_another_shard_is_foreign_and_says_why)
{
    static const struct {
        struct kv_log_header header;
        const char *why;
    } cases[] = {
        {{SHARD + 1, SHARDS, 1}, "shard-2.log: not this shard's log at byte 0: it belongs to another shard"},
        {{SHARD, SHARDS + 1, 1},
         "shard-2.log: not this shard's log at byte 0: it was written with another number of shards"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct kv_buf log = {0};
        struct listener listener;
        char text[256];
        (void)kv_log_begin(&cases[i].header, &log);
        struct kv_replay_result result = replay_in(log.data, log.len, 9, &listener);
        cr_assert_eq(result.end, KV_REPLAY_FOREIGN);
        kv_replay_describe(&result, "shard-2.log", text, sizeof text);
        cr_assert_str_eq(text, cases[i].why);
        kv_buf_free(&log);
    }
}

Test(log, a_corrupt_middle_is_described_with_file_and_offsets)
{
    size_t where[RECORDS + 1];
    char text[256], expected[256];
    struct listener listener;
    struct kv_buf log = small_log(where);
    log.data[where[2] + 1] ^= 4;
    struct kv_replay_result result = replay_in(log.data, log.len, 16, &listener);
    kv_replay_describe(&result, "kv-data/2.log", text, sizeof text);
    (void)snprintf(expected, sizeof expected,
                   "kv-data/2.log: corrupt at byte %zu, but a valid record follows at byte %zu: refused; restore the "
                   "file, or cut it to %zu bytes to give up what follows",
                   where[2], where[3], where[2]);
    cr_assert_str_eq(text, expected);
    kv_buf_free(&log);
}

struct big_listener {
    struct kv_blob *value;
    size_t calls;
};

static bool listen_big(void *ctx, const struct kv_log_record *record)
{
    struct big_listener *listener = ctx;
    if (record->value.blob != NULL)
        listener->value = kv_blob_ref(record->value.blob);
    listener->calls++;
    return true;
}

Test(log, a_big_value_is_written_by_reference_and_read_into_a_blob)
{
    struct kv_blob *blob = kv_blob_create(300000);
    for (blob->len = 0; blob->len < 300000; blob->len++)
        blob->data[blob->len] = (char)(blob->len * 31);
    struct kv_log_record record = {KV_LOG_SET, KV_NEVER, {"key", 3, NULL}, kv_blob_slice(blob)};
    struct kv_rope rope = {0};
    struct kv_log_place place = kv_log_begin(&header, &rope.bytes);
    kv_log_write(&place, &record, &rope);
    kv_log_write(&place, &records[0], &rope);
    cr_assert_eq(rope.blob_count, 1);
    cr_assert_lt(rope.bytes.len, 200);
    cr_assert_eq(kv_rope_size(&rope), place.offset);

    struct big_listener listener = {0};
    struct kv_replay replay;
    struct kv_slice slice;
    size_t piece = 0;
    kv_replay_init(&replay, SHARD, SHARDS, listen_big, &listener);
    while (kv_rope_slices(&rope, &piece, &slice, 1) == 1)
        for (size_t at = 0; at < slice.len; at += 7000)
            cr_assert(kv_replay_feed(&replay, slice.ptr + at, slice.len - at < 7000 ? slice.len - at : 7000));
    struct kv_replay_result result = kv_replay_finish(&replay);
    cr_assert_eq(result.end, KV_REPLAY_CLEAN);
    cr_assert_eq(listener.calls, 2);
    cr_assert(kv_slice_equal(kv_blob_slice(listener.value), kv_blob_slice(blob)));
    kv_blob_unref(listener.value);
    kv_blob_unref(blob);
    kv_rope_free(&rope);
}

static bool refuse(void *ctx, const struct kv_log_record *record)
{
    (void)ctx;
    return record->type != KV_LOG_APPEND;
}

Test(log, a_record_that_cannot_be_applied_stops_the_replay_at_its_offset)
{
    size_t where[RECORDS + 1];
    struct kv_buf log = small_log(where);
    struct kv_replay replay;
    kv_replay_init(&replay, SHARD, SHARDS, refuse, NULL);
    cr_assert_not(kv_replay_feed(&replay, log.data, log.len));
    struct kv_replay_result result = kv_replay_finish(&replay);
    cr_assert_eq(result.end, KV_REPLAY_STOPPED);
    cr_assert_eq(result.valid, where[2]);
    kv_buf_free(&log);
}
