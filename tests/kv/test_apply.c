/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "blob.h"
#include "replay.h"
#include "split.h"

static const uint64_t seed[2] = {11, 22};
enum { NOW = 1000000 };

/* A shard of one's own, with the log of its effects. */
struct shard {
    struct kv_apply apply;
    struct kv_log_place place;
    struct kv_rope log;
    size_t effects;
};

static void write_effect(void *ctx, const struct kv_log_record *effect)
{
    struct shard *shard = ctx;
    kv_log_write(&shard->place, effect, &shard->log);
    shard->effects++;
}

static struct shard *shard_create(void)
{
    struct shard *shard = calloc(1, sizeof *shard);
    struct kv_log_header header = {.shard = 0, .shards = 1, .generation = 99};
    shard->apply = (struct kv_apply){
        .keys = kv_keyspace_create(seed),
        .now_ms = NOW,
        .value_max = 1 << 20,
        .sink = write_effect,
        .sink_ctx = shard,
    };
    shard->place = kv_log_begin(&header, &shard->log.bytes);
    return shard;
}

static void shard_destroy(struct shard *shard)
{
    kv_keyspace_destroy(shard->apply.keys);
    kv_rope_free(&shard->log);
    free(shard);
}

static struct kv_buf flatten(const struct kv_rope *rope)
{
    struct kv_buf all = {0};
    struct kv_slice slice;
    size_t piece = 0;
    while (kv_rope_slices(rope, &piece, &slice, 1) == 1)
        kv_buf_append(&all, slice.ptr, slice.len);
    return all;
}

static size_t split_words(const char *line, struct kv_slice *argv)
{
    size_t argc = 0;
    for (const char *at = line; *at != '\0'; at += *at == ' ') {
        size_t len = strcspn(at, " ");
        argv[argc++] = kv_slice_of(at, len);
        at += len;
    }
    return argc;
}

/* Execute one line and compare the reply. */
static void say(struct shard *shard, const char *line, const char *expected)
{
    struct kv_slice argv[32];
    size_t argc = split_words(line, argv);
    struct kv_rope reply = {0};
    const struct kv_command *command = kv_command_accept(argv, argc, &reply.bytes);
    if (command != NULL)
        kv_apply_command(&shard->apply, command->id, argv, argc, &reply);
    struct kv_buf got = flatten(&reply);
    cr_assert(kv_slice_equal(kv_slice_of(got.data, got.len), kv_slice_text(expected)), "%s: got %.*s", line,
              (int)got.len, got.data);
    kv_buf_free(&got);
    kv_rope_free(&reply);
}

static bool restore(void *ctx, const struct kv_log_record *record)
{
    return kv_apply_record(ctx, record);
}

struct comparison {
    struct kv_keyspace *keys;
    struct kv_keyspace *other;
    size_t differences;
};

static void compare_entry(void *ctx, const struct kv_entry *entry)
{
    struct comparison *comparison = ctx;
    struct kv_key key = kv_keyspace_key(comparison->other, kv_entry_key(entry));
    struct kv_entry *twin = kv_keyspace_find(comparison->other, &key);
    if (twin == NULL || !kv_slice_equal(kv_entry_value(twin), kv_entry_value(entry)) ||
        kv_entry_deadline(comparison->other, twin) != kv_entry_deadline(comparison->keys, entry))
        comparison->differences++;
}

/* Does this log, replayed, make this keyspace? */
static void check_log_makes(const struct kv_rope *log, struct kv_keyspace *keys)
{
    struct kv_keyspace *fresh = kv_keyspace_create(seed);
    struct kv_replay replay;
    struct kv_slice slice;
    size_t piece = 0;
    kv_replay_init(&replay, 0, 1, restore, fresh);
    while (kv_rope_slices(log, &piece, &slice, 1) == 1)
        kv_replay_feed(&replay, slice.ptr, slice.len);
    struct kv_replay_result result = kv_replay_finish(&replay);
    cr_assert_eq(result.end, KV_REPLAY_CLEAN);
    struct comparison comparison = {.keys = keys, .other = fresh};
    kv_walk walk = 0;
    while (kv_keyspace_walk(keys, &walk, compare_entry, &comparison))
        ;
    cr_assert_eq(comparison.differences, 0);
    cr_assert_eq(kv_keyspace_stats(fresh).keys, kv_keyspace_stats(keys).keys);
    cr_assert_eq(kv_keyspace_stats(fresh).deadlines, kv_keyspace_stats(keys).deadlines);
    cr_assert_eq(kv_keyspace_next_deadline(fresh), kv_keyspace_next_deadline(keys));
    kv_keyspace_destroy(fresh);
}

Test(apply, set_and_get_reply_as_redis_does)
{
    struct shard *shard = shard_create();
    say(shard, "GET k", "$-1\r\n");
    say(shard, "SET k v", "+OK\r\n");
    say(shard, "GET k", "$1\r\nv\r\n");
    say(shard, "SET k w NX", "$-1\r\n");
    say(shard, "SET k w XX GET", "$1\r\nv\r\n");
    say(shard, "SET new w XX", "$-1\r\n");
    say(shard, "SET new w NX GET", "$-1\r\n");
    say(shard, "GET new", "$1\r\nw\r\n");
    say(shard, "SET k 1 NX XX", "-ERR syntax error\r\n");
    say(shard, "SET k 1 EX", "-ERR syntax error\r\n");
    say(shard, "SET k 1 EX 1 PX 1", "-ERR syntax error\r\n");
    say(shard, "SET t 1 EX 5 EX 7", "+OK\r\n");
    say(shard, "TTL t", ":7\r\n");
    say(shard, "SET t 1 PXAT 9223372036854775807", "+OK\r\n");
    say(shard, "PERSIST t", ":1\r\n");
    say(shard, "DEL t", ":1\r\n");
    say(shard, "SET k 1 PX 1 KEEPTTL", "-ERR syntax error\r\n");
    say(shard, "SET k 1 EX x", "-ERR value is not an integer or out of range\r\n");
    say(shard, "SET k 1 EX 0", "-ERR invalid expire time in 'set' command\r\n");
    say(shard, "SET k 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n");
    say(shard, "GET k", "$1\r\nw\r\n");
    say(shard, "GETDEL k", "$1\r\nw\r\n");
    say(shard, "GETDEL k", "$-1\r\n");
    say(shard, "STRLEN new", ":1\r\n");
    say(shard, "STRLEN k", ":0\r\n");
    say(shard, "DBSIZE", ":1\r\n");
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

Test(apply, numbers_count_and_refuse_to_overflow)
{
    struct shard *shard = shard_create();
    say(shard, "INCR n", ":1\r\n");
    say(shard, "INCRBY n 41", ":42\r\n");
    say(shard, "DECR n", ":41\r\n");
    say(shard, "DECRBY n 50", ":-9\r\n");
    say(shard, "INCRBY n x", "-ERR value is not an integer or out of range\r\n");
    say(shard, "DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n");
    say(shard, "SET n 9223372036854775807", "+OK\r\n");
    say(shard, "INCR n", "-ERR increment or decrement would overflow\r\n");
    say(shard, "SET s 01", "+OK\r\n");
    say(shard, "INCR s", "-ERR value is not an integer or out of range\r\n");
    say(shard, "APPEND s 23", ":4\r\n");
    say(shard, "APPEND t x", ":1\r\n");
    say(shard, "GET s", "$4\r\n0123\r\n");
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

Test(apply, deadlines_pass_lazily_and_are_logged_as_deletions)
{
    struct shard *shard = shard_create();
    say(shard, "SET a 1 PX 100", "+OK\r\n");
    say(shard, "SET b 1 EX 10", "+OK\r\n");
    say(shard, "PTTL a", ":100\r\n");
    say(shard, "TTL b", ":10\r\n");
    say(shard, "TTL none", ":-2\r\n");
    say(shard, "INCR a", ":2\r\n");
    say(shard, "PTTL a", ":100\r\n");
    shard->apply.now_ms = NOW + 100;
    size_t effects = shard->effects;
    say(shard, "GET a", "$-1\r\n");
    cr_assert_eq(shard->effects, effects + 1);
    say(shard, "EXISTS a a b", ":1\r\n");
    say(shard, "APPEND a x", ":1\r\n");
    say(shard, "TTL a", ":-1\r\n");
    say(shard, "PERSIST a", ":0\r\n");
    say(shard, "PERSIST b", ":1\r\n");
    say(shard, "SET b 2 KEEPTTL", "+OK\r\n");
    say(shard, "TTL b", ":-1\r\n");
    say(shard, "EXPIRE b 5", ":1\r\n");
    say(shard, "SET b 3 KEEPTTL", "+OK\r\n");
    say(shard, "TTL b", ":5\r\n");
    say(shard, "SET b 4", "+OK\r\n");
    say(shard, "TTL b", ":-1\r\n");
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

Test(apply, expire_has_the_conditions_of_redis_7)
{
    struct shard *shard = shard_create();
    say(shard, "EXPIRE k 10", ":0\r\n");
    say(shard, "SET k v", "+OK\r\n");
    say(shard, "EXPIRE k 10 XX", ":0\r\n");
    say(shard, "EXPIRE k 10 GT", ":0\r\n");
    say(shard, "EXPIRE k 10 LT", ":1\r\n");
    say(shard, "EXPIRE k 20 NX", ":0\r\n");
    say(shard, "EXPIRE k 5 gt", ":0\r\n");
    say(shard, "EXPIRE k 20 GT", ":1\r\n");
    say(shard, "EXPIRE k 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
    say(shard, "EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n");
    say(shard, "EXPIRE k 10 foo", "-ERR Unsupported option foo\r\n");
    say(shard, "EXPIRE k x", "-ERR value is not an integer or out of range\r\n");
    say(shard, "EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n");
    say(shard, "PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n");
    say(shard, "PEXPIRE k -1", ":1\r\n");
    say(shard, "EXISTS k", ":0\r\n");
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

Test(apply, due_deadlines_are_taken_in_bounded_steps)
{
    struct shard *shard = shard_create();
    char line[64];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(line, sizeof line, "SET k%d v PX %d", i, 100 + i);
        say(shard, line, "+OK\r\n");
    }
    cr_assert_eq(kv_keyspace_next_deadline(shard->apply.keys), NOW + 100);
    shard->apply.now_ms = NOW + 149;
    cr_assert_eq(kv_apply_due(&shard->apply, 30), 30);
    cr_assert_eq(kv_apply_due(&shard->apply, 30), 20);
    cr_assert_eq(kv_keyspace_next_deadline(shard->apply.keys), NOW + 150);
    say(shard, "DBSIZE", ":50\r\n");
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

Test(apply, above_the_memory_limit_only_what_needs_memory_is_refused)
{
    struct shard *shard = shard_create();
    say(shard, "SET k v", "+OK\r\n");
    shard->apply.memory_limit = 1;
    static const char *const refused[] = {"SET k w", "MSET k w", "INCR n", "APPEND k w"};
    for (size_t i = 0; i < 4; i++)
        say(shard, refused[i], "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    say(shard, "GET k", "$1\r\nv\r\n");
    say(shard, "DEL k", ":1\r\n");
    say(shard, "FLUSHALL", "+OK\r\n");
    shard_destroy(shard);
}

Test(apply, a_value_has_a_longest_length)
{
    struct shard *shard = shard_create();
    shard->apply.value_max = 5;
    say(shard, "APPEND k abc", ":3\r\n");
    say(shard, "APPEND k def", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    say(shard, "GET k", "$3\r\nabc\r\n");
    shard_destroy(shard);
}

Test(apply, a_big_value_travels_by_reference_and_outlives_its_key)
{
    struct shard *shard = shard_create();
    struct kv_blob *blob = kv_blob_create(100000);
    blob->len = 100000;
    memset(blob->data, 'v', blob->len);
    struct kv_slice set[] = {kv_slice_text("SET"), kv_slice_text("k"), kv_blob_slice(blob)};
    struct kv_rope reply = {0};
    kv_apply_command(&shard->apply, KV_SET, set, 3, &reply);
    kv_apply_command(&shard->apply, KV_GETDEL, set, 2, &reply);
    cr_assert_eq(reply.blob_count, 1);
    cr_assert_eq(reply.blobs[0].blob, blob);
    cr_assert_eq(shard->log.blobs[0].blob, blob);
    kv_blob_unref(blob);
    say(shard, "GET k", "$-1\r\n");
    cr_assert_eq(kv_rope_size(&reply), strlen("+OK\r\n$100000\r\n\r\n") + 100000);
    struct kv_buf all = flatten(&reply);
    cr_assert(memcmp(all.data, "+OK\r\n$100000\r\nv", 15) == 0);
    kv_buf_free(&all);
    kv_rope_free(&reply);
    shard_destroy(shard);
}

/* ---- rewriting the log while commands go on ---- */

static void write_snapshot(void *ctx, const struct kv_entry *entry)
{
    struct shard *shard = ctx;
    struct kv_log_record record = kv_apply_snapshot(shard->apply.keys, entry);
    kv_log_write(&shard->place, &record, &shard->log);
}

static void random_command(struct shard *shard, uint64_t *random)
{
    static const char *const forms[] = {"SET k%u v%u",    "APPEND k%u t%u", "DEL k%u k%u",     "INCRBY n%u %u",
                                        "PEXPIRE k%u %u", "PERSIST k%u",    "SET k%u v PX %u", "GETDEL k%u"};
    *random = *random * 6364136223846793005U + 1442695040888963407U;
    unsigned key = (unsigned)(*random >> 33) % 500, number = (unsigned)(*random >> 43) % 3000 + 1;
    char line[64];
    struct kv_slice argv[8];
    struct kv_rope reply = {0};
    (void)snprintf(line, sizeof line, forms[(*random >> 60) % 8], key, number);
    size_t argc = split_words(line, argv);
    const struct kv_command *command = kv_command_accept(argv, argc, &reply.bytes);
    cr_assert_not_null(command);
    kv_apply_command(&shard->apply, command->id, argv, argc, &reply);
    shard->apply.now_ms += 3;
    kv_rope_free(&reply);
}

Test(apply, a_log_rewritten_amid_commands_makes_the_same_keyspace)
{
    struct shard *shard = shard_create();
    uint64_t random = 77;
    for (int i = 0; i < 5000; i++)
        random_command(shard, &random);
    check_log_makes(&shard->log, shard->apply.keys);

    struct kv_log_header header = {.shard = 0, .shards = 1, .generation = 100};
    size_t before = shard->log.bytes.len;
    kv_rope_clear(&shard->log);
    shard->place = kv_log_begin(&header, &shard->log.bytes);
    kv_walk walk = 0;
    while (kv_keyspace_walk(shard->apply.keys, &walk, write_snapshot, shard))
        random_command(shard, &random);
    cr_assert_lt(shard->log.bytes.len, before / 2);
    check_log_makes(&shard->log, shard->apply.keys);
    shard_destroy(shard);
}

/* ---- commands over several shards ---- */

enum { SHARDS = 4 };

static void say_split(struct shard *const shards[SHARDS], const char *line, const char *expected)
{
    struct kv_slice argv[32], share[32];
    size_t argc = split_words(line, argv);
    struct kv_split split;
    struct kv_rope reply = {0};
    const struct kv_command *command = kv_command_accept(argv, argc, &reply.bytes);
    cr_assert(kv_split_begin(&split, command, argv, argc, SHARDS));
    bool complete = false;
    for (unsigned shard = SHARDS; shard-- > 0;) { /* answers come in any order */
        struct kv_rope answer = {0};
        size_t share_argc = kv_split_share(&split, shard);
        if (share_argc == 0)
            continue;
        cr_assert_not(complete);
        kv_split_args(&split, shard, argv, argc, share);
        kv_apply_command(&shards[shard]->apply, command->id, share, share_argc, &answer);
        complete = kv_split_answer(&split, shard, &answer);
        kv_rope_free(&answer);
    }
    cr_assert(complete);
    kv_split_finish(&split, &reply);
    struct kv_buf got = flatten(&reply);
    cr_assert(kv_slice_equal(kv_slice_of(got.data, got.len), kv_slice_text(expected)), "%s: got %.*s", line,
              (int)got.len, got.data);
    kv_buf_free(&got);
    kv_rope_free(&reply);
    kv_split_free(&split);
}

Test(split, commands_over_shards_answer_in_the_order_of_their_keys)
{
    struct shard *shards[SHARDS];
    for (int i = 0; i < SHARDS; i++)
        shards[i] = shard_create();
    say_split(shards, "MSET a 1 b 22 c 333 d 4444 e 5 f 66 a again", "+OK\r\n");
    say_split(shards, "DBSIZE", ":6\r\n");
    say_split(
        shards, "MGET f x e d c b a a",
        "*8\r\n$2\r\n66\r\n$-1\r\n$1\r\n5\r\n$4\r\n4444\r\n$3\r\n333\r\n$2\r\n22\r\n$5\r\nagain\r\n$5\r\nagain\r\n");
    say_split(shards, "EXISTS a a x b", ":3\r\n");
    say_split(shards, "DEL a b x a", ":2\r\n");
    say_split(shards, "FLUSHALL foo", "-ERR syntax error\r\n");
    shards[0]->apply.memory_limit = shards[1]->apply.memory_limit = 1;
    shards[2]->apply.memory_limit = shards[3]->apply.memory_limit = 1;
    say_split(shards, "MSET a 1 b 2", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    say_split(shards, "FLUSHALL ASYNC", "+OK\r\n");
    say_split(shards, "DBSIZE", ":0\r\n");
    for (int i = 0; i < SHARDS; i++)
        shard_destroy(shards[i]);
}

Test(split, big_values_keep_their_places_and_are_not_copied)
{
    struct shard *shard = shard_create();
    struct kv_blob *blob = kv_blob_create(50000);
    blob->len = 50000;
    memset(blob->data, 'v', blob->len);
    struct kv_slice set[] = {kv_slice_text("SET"), kv_slice_text("big"), kv_blob_slice(blob)};
    struct kv_slice mget[] = {kv_slice_text("MGET"), kv_slice_text("big"), kv_slice_text("no"), kv_slice_text("big")};
    struct kv_rope answer = {0}, reply = {0};
    struct kv_split split;
    kv_apply_command(&shard->apply, KV_SET, set, 3, &answer);
    kv_rope_clear(&answer);
    cr_assert(kv_split_begin(&split, kv_command_get(KV_MGET), mget, 4, 1));
    kv_apply_command(&shard->apply, KV_MGET, mget, 4, &answer);
    cr_assert(kv_split_answer(&split, 0, &answer));
    kv_split_finish(&split, &reply);
    kv_split_free(&split);
    cr_assert_eq(reply.blob_count, 2);
    cr_assert_eq(reply.blobs[1].blob, blob);
    struct kv_buf got = flatten(&reply);
    const char start[] = "*3\r\n$50000\r\nv", middle[] = "v\r\n$-1\r\n$50000\r\nv";
    cr_assert_not_null(got.data);
    cr_assert(memcmp(got.data, start, sizeof start - 1) == 0);
    cr_assert(memcmp(got.data + 12 + 49999, middle, sizeof middle - 1) == 0);
    cr_assert_eq(got.len, 12 + 50000 + 2 + 5 + 8 + 50000 + 2);
    kv_buf_free(&got);
    kv_rope_free(&reply);
    kv_rope_free(&answer);
    kv_blob_unref(blob);
    shard_destroy(shard);
}
