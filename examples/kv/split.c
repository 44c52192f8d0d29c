/* SPDX-License-Identifier: Apache-2.0 */
#include "split.h"

#include <stdlib.h>
#include <string.h>

#include "keyspace.h"
#include "number.h"
#include "resp_write.h"

static bool every_shard(const struct kv_split *split)
{
    return (split->command->flags & KV_EVERY_SHARD) != 0;
}

static bool allocate(struct kv_split *split)
{
    size_t ropes = split->shards * sizeof *split->answer, shares = split->shards * sizeof *split->share;
    char *memory = calloc(1, ropes + shares + split->keys * sizeof *split->shard_of_key);
    if (memory == NULL)
        return false;
    split->memory = memory;
    split->answer = (struct kv_rope *)(void *)memory;
    split->share = (size_t *)(void *)(memory + ropes);
    split->shard_of_key = (uint16_t *)(void *)(memory + ropes + shares);
    return true;
}

static size_t key_index(const struct kv_split *split, size_t i)
{
    return (size_t)split->command->first_key + i * (size_t)split->command->key_step;
}

bool kv_split_begin(struct kv_split *split, const struct kv_command *command, const struct kv_slice *argv, size_t argc,
                    unsigned shards)
{
    *split = (struct kv_split){.command = command, .shards = shards};
    split->keys = kv_command_key_count(command, argc);
    if (!allocate(split))
        return false;
    for (size_t i = 0; i < split->keys; i++) {
        struct kv_slice key = argv[key_index(split, i)];
        unsigned shard = kv_shard_of(key.ptr, key.len, shards);
        split->shard_of_key[i] = (uint16_t)shard;
        split->waiting += split->share[shard]++ == 0;
    }
    if (every_shard(split)) {
        split->waiting = shards;
        for (unsigned shard = 0; shard < shards; shard++)
            split->share[shard] = argc;
    }
    return true;
}

size_t kv_split_share(const struct kv_split *split, unsigned shard)
{
    size_t share = split->share[shard];
    if (share == 0 || every_shard(split))
        return share;
    return 1 + share * (size_t)split->command->key_step;
}

void kv_split_args(const struct kv_split *split, unsigned shard, const struct kv_slice *argv, size_t argc,
                   struct kv_slice *out)
{
    if (every_shard(split)) {
        memcpy(out, argv, argc * sizeof *out);
        return;
    }
    size_t step = (size_t)split->command->key_step;
    *out++ = argv[0];
    for (size_t i = 0; i < split->keys; i++) {
        if (split->shard_of_key[i] != shard)
            continue;
        memcpy(out, &argv[key_index(split, i)], step * sizeof *out);
        out += step;
    }
}

bool kv_split_answer(struct kv_split *split, unsigned shard, struct kv_rope *answer)
{
    kv_rope_move(&split->answer[shard], answer);
    return --split->waiting == 0;
}

/* ---- putting together ---- */

static const struct kv_rope *first_error(const struct kv_split *split)
{
    for (unsigned shard = 0; shard < split->shards; shard++) {
        const struct kv_rope *answer = &split->answer[shard];
        if (split->share[shard] > 0 && answer->bytes.len > 0 && answer->bytes.data[0] == '-')
            return answer;
    }
    return NULL;
}

/* The line of a reply from data[at], without its mark and end; *end is behind its end. */
static struct kv_slice line_at(const struct kv_buf *bytes, size_t at, size_t *end)
{
    const char *from = bytes->data + at;
    const char *feed = at < bytes->len ? memchr(from, '\n', bytes->len - at) : NULL;
    if (feed == NULL || feed - from < 2) {
        *end = bytes->len;
        return kv_slice_of("", 0);
    }
    *end = at + (size_t)(feed - from) + 1;
    return kv_slice_of(from + 1, (size_t)(feed - from) - 2);
}

static void write_sum(struct kv_split *split, struct kv_rope *reply)
{
    int64_t sum = 0, number;
    size_t end;
    for (unsigned shard = 0; shard < split->shards; shard++) {
        if (split->share[shard] == 0)
            continue;
        struct kv_slice digits = line_at(&split->answer[shard].bytes, 0, &end);
        if (kv_number_parse(digits.ptr, digits.len, &number))
            sum += number;
    }
    kv_resp_write_integer(&reply->bytes, sum);
}

/* Move a shard's next element to the reply. Its value lies in the bytes, or is the blob at the line's end. */
static void move_element(struct kv_rope *from, struct kv_rope_mark *mark, struct kv_rope *reply)
{
    size_t until;
    int64_t len;
    struct kv_slice digits = line_at(&from->bytes, mark->at, &until);
    if (kv_number_parse(digits.ptr, digits.len, &len) && len >= 0) {
        bool by_reference = mark->blob < from->blob_count && from->blobs[mark->blob].at == until;
        until += (by_reference ? 0 : (size_t)len) + 2;
    }
    kv_rope_move_part(reply, from, mark, until < from->bytes.len ? until : from->bytes.len);
}

static void write_elements(struct kv_split *split, struct kv_rope *reply)
{
    struct kv_rope_mark *marks = calloc(split->shards, sizeof *marks);
    if (marks == NULL) {
        kv_resp_write_error(&reply->bytes, KV_ERR_NO_MEMORY);
        return;
    }
    kv_resp_write_array(&reply->bytes, split->keys);
    for (size_t i = 0; i < split->keys; i++) {
        unsigned shard = split->shard_of_key[i];
        move_element(&split->answer[shard], &marks[shard], reply);
    }
    free(marks);
}

void kv_split_finish(struct kv_split *split, struct kv_rope *reply)
{
    const struct kv_rope *error = first_error(split);
    enum kv_command_id id = split->command->id;
    if (error != NULL)
        kv_buf_append(&reply->bytes, error->bytes.data, error->bytes.len);
    else if (id == KV_MGET)
        write_elements(split, reply);
    else if (id == KV_MSET || id == KV_FLUSHALL || id == KV_FLUSHDB)
        kv_resp_write_simple(&reply->bytes, "OK");
    else
        write_sum(split, reply);
}

void kv_split_free(struct kv_split *split)
{
    for (unsigned shard = 0; split->memory != NULL && shard < split->shards; shard++)
        kv_rope_free(&split->answer[shard]);
    free(split->memory);
    *split = (struct kv_split){0};
}
