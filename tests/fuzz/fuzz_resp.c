/* SPDX-License-Identifier: Apache-2.0 */
/* A client that sends anything. The input is parsed whole and again in pieces whose sizes its own bytes
 * decide; whatever parses is executed on a keyspace each. Checked: both hear the same replies, both
 * keyspaces are in order, the parser's memory has its bound, and the log of the effects, replayed, makes
 * the keyspace again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "blob.h"
#include "replay.h"
#include "resp.h"
#include "split.h"

enum { MEMORY_LIMIT = 1 << 20, NOW = 1700000000, SHARDS = 3 };

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static const uint64_t seed[2] = {1, 2};
static const struct kv_resp_limits limits = {
    .bulk_max = 1 << 20, .command_max = 1 << 18, .args_max = 2000, .line_max = 4096};

/* One server with one client. */
struct server {
    struct kv_resp resp;
    struct kv_apply apply;
    struct kv_log_place place;
    struct kv_rope log;
    struct kv_rope replies;
    bool closed;
};

static void write_effect(void *ctx, const struct kv_log_record *effect)
{
    struct server *server = ctx;
    kv_log_write(&server->place, effect, &server->log);
}

static void server_init(struct server *server)
{
    const struct kv_log_header header = {.shard = 0, .shards = 1, .generation = 3};
    *server = (struct server){0};
    kv_resp_init(&server->resp, &limits);
    server->apply = (struct kv_apply){
        .keys = kv_keyspace_create(seed),
        .now_ms = NOW,
        .memory_limit = MEMORY_LIMIT,
        .value_max = 1 << 18,
        .sink = write_effect,
        .sink_ctx = server,
    };
    CHECK(server->apply.keys != NULL);
    server->place = kv_log_begin(&header, &server->log.bytes);
}

static void server_fini(struct server *server)
{
    kv_resp_fini(&server->resp);
    kv_keyspace_destroy(server->apply.keys);
    kv_rope_free(&server->log);
    kv_rope_free(&server->replies);
}

/* Several keys: over imagined shards, that are all this one. */
static void execute_split(struct server *server, const struct kv_command *command)
{
    struct kv_split split;
    struct kv_slice *share = malloc(server->resp.argc * sizeof *share);
    const struct kv_slice *argv = server->resp.argv;
    size_t argc = server->resp.argc;
    CHECK(kv_split_begin(&split, command, argv, argc, SHARDS) && share != NULL);
    for (unsigned shard = 0; shard < SHARDS; shard++) {
        struct kv_rope answer = {0};
        size_t share_argc = kv_split_share(&split, shard);
        CHECK(share_argc <= argc);
        if (share_argc == 0)
            continue;
        kv_split_args(&split, shard, argv, argc, share);
        kv_apply_command(&server->apply, command->id, share, share_argc, &answer);
        (void)kv_split_answer(&split, shard, &answer);
        kv_rope_free(&answer);
    }
    kv_split_finish(&split, &server->replies);
    kv_split_free(&split);
    free(share);
}

static void execute(struct server *server)
{
    const struct kv_slice *argv = server->resp.argv;
    size_t argc = server->resp.argc;
    const struct kv_command *command = kv_command_accept(argv, argc, &server->replies.bytes);
    if (command == NULL)
        return;
    if (kv_command_key_count(command, argc) > 1 || (command->flags & KV_EVERY_SHARD) != 0)
        execute_split(server, command);
    else if (command->first_key > 0)
        kv_apply_command(&server->apply, command->id, argv, argc, &server->replies);
    server->apply.now_ms += 7;
}

static void receive(struct server *server, const uint8_t *data, size_t size)
{
    enum kv_resp_status status;
    if (server->closed)
        return;
    kv_resp_feed(&server->resp, data, size);
    while ((status = kv_resp_next(&server->resp)) == KV_RESP_COMMAND)
        execute(server);
    CHECK(status != KV_RESP_NOMEM);
    CHECK(kv_resp_memory(&server->resp) <= 3 * limits.command_max + 2 * limits.line_max);
    if (status == KV_RESP_ERROR) {
        kv_buf_append(&server->replies.bytes, kv_resp_error(&server->resp), strlen(kv_resp_error(&server->resp)));
        server->closed = true;
    }
}

/* Each piece is a block of its own that is gone afterwards. */
static void receive_in_pieces(struct server *server, const uint8_t *data, size_t size)
{
    uint32_t random = 2166136261U;
    for (size_t i = 0; i < size; i++)
        random = (random ^ data[i]) * 16777619U;
    for (size_t at = 0; at < size;) {
        random = random * 1664525U + 1013904223U;
        size_t longest = (random >> 8 & 3) == 0 ? 200 : 8;
        size_t n = 1 + (random >> 16) % longest;
        n = n < size - at ? n : size - at;
        uint8_t *piece = malloc(n);
        CHECK(piece != NULL);
        memcpy(piece, data + at, n);
        receive(server, piece, n);
        free(piece);
        at += n;
    }
}

static struct kv_buf flatten(const struct kv_rope *rope)
{
    struct kv_buf all = {0};
    struct kv_slice slice;
    size_t piece = 0;
    while (kv_rope_slices(rope, &piece, &slice, 1) == 1)
        kv_buf_append(&all, slice.ptr, slice.len);
    CHECK(!all.failed && all.len == kv_rope_size(rope));
    return all;
}

static void check_same(const struct kv_rope *a, const struct kv_rope *b)
{
    struct kv_buf left = flatten(a), right = flatten(b);
    CHECK(kv_slice_equal(kv_slice_of(left.data, left.len), kv_slice_of(right.data, right.len)));
    kv_buf_free(&left);
    kv_buf_free(&right);
}

static bool restore(void *ctx, const struct kv_log_record *record)
{
    return kv_apply_record(ctx, record);
}

static void find_twin(void *ctx, const struct kv_entry *entry)
{
    struct kv_keyspace *keys = ctx;
    struct kv_key key = kv_keyspace_key(keys, kv_entry_key(entry));
    struct kv_entry *twin = kv_keyspace_find(keys, &key);
    CHECK(twin != NULL && kv_slice_equal(kv_entry_value(twin), kv_entry_value(entry)));
}

static void check_log(struct server *server)
{
    struct kv_keyspace *fresh = kv_keyspace_create(seed);
    struct kv_buf log = flatten(&server->log);
    struct kv_replay replay;
    kv_walk walk = 0;
    kv_replay_init(&replay, 0, 1, restore, fresh);
    CHECK(kv_replay_feed(&replay, log.data, log.len));
    CHECK(kv_replay_finish(&replay).end == KV_REPLAY_CLEAN);
    while (kv_keyspace_walk(server->apply.keys, &walk, find_twin, fresh))
        ;
    CHECK(kv_keyspace_stats(fresh).keys == kv_keyspace_stats(server->apply.keys).keys);
    CHECK(kv_keyspace_next_deadline(fresh) == kv_keyspace_next_deadline(server->apply.keys));
    kv_keyspace_destroy(fresh);
    kv_buf_free(&log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server whole, pieces;
    server_init(&whole);
    server_init(&pieces);
    receive(&whole, data, size);
    receive_in_pieces(&pieces, data, size);
    CHECK(whole.closed == pieces.closed);
    check_same(&whole.replies, &pieces.replies);
    check_same(&whole.log, &pieces.log);
    CHECK(kv_keyspace_check(whole.apply.keys));
    CHECK(kv_keyspace_check(pieces.apply.keys));
    check_log(&pieces);
    server_fini(&whole);
    server_fini(&pieces);
    return 0;
}
