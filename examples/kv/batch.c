/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>

#include "info.h"
#include "keyspace.h"
#include "resp_write.h"
#include "shard.h"

enum slot_kind { SLOT_LOCAL, SLOT_ONE, SLOT_SPLIT, SLOT_INFO, SLOT_FAILED };

/* One command, in order. LOCAL: end of its reply in `local`. ONE: its receiver. SPLIT: its place in splits.
 * INFO: the section, a number of info.h's. */
struct slot {
    enum slot_kind kind;
    uint32_t value;
};

void kv_batch_init(struct kv_batch *b, const struct kv_server *server)
{
    *b = (struct kv_batch){.server = server, .targets = server->options->shards + 1};
}

static struct kv_split *split_at(const struct kv_batch *b, size_t i)
{
    return (struct kv_split *)(void *)b->splits.data + i;
}

static void splits_free(struct kv_batch *b)
{
    for (size_t i = 0; i < b->splits.len / sizeof(struct kv_split); i++)
        kv_split_free(split_at(b, i));
    kv_buf_clear(&b->splits);
}

void kv_batch_free(struct kv_batch *b)
{
    splits_free(b);
    for (unsigned i = 0; b->target && i < b->targets; i++) {
        kv_request_builder_free(&b->target[i].builder);
        kv_rope_free(&b->target[i].replies);
        kv_buf_free(&b->target[i].ends);
    }
    free(b->target);
    kv_buf_free(&b->slots);
    kv_buf_free(&b->local);
    kv_buf_free(&b->splits);
}

static void slot_add(struct kv_batch *b, enum slot_kind kind, uint32_t value)
{
    struct slot slot = {kind, value};
    kv_buf_append(&b->slots, &slot, sizeof slot);
}

struct kv_buf *kv_batch_local(struct kv_batch *b)
{
    return &b->local;
}

void kv_batch_local_end(struct kv_batch *b)
{
    slot_add(b, SLOT_LOCAL, (uint32_t)b->local.len);
}

/* NULL: memory is short, and the command's slot says so. */
static struct kv_batch_target *target(struct kv_batch *b, unsigned i)
{
    if (!b->target)
        b->target = calloc(b->targets, sizeof *b->target);
    if (!b->target)
        slot_add(b, SLOT_FAILED, 0);
    return b->target ? &b->target[i] : NULL;
}

static void ask(struct kv_batch_target *t, unsigned id, const struct kv_slice *argv, size_t argc)
{
    kv_request_add(&t->builder, id, argv, argc);
    t->count++;
}

void kv_batch_one(struct kv_batch *b, const struct kv_command *command, struct kv_slice key,
                  const struct kv_slice *argv, size_t argc)
{
    unsigned shard = kv_shard_of(key.ptr, key.len, b->targets - 1);
    struct kv_batch_target *t = target(b, shard);
    if (!t)
        return;
    ask(t, command->id, argv, argc);
    slot_add(b, SLOT_ONE, shard);
}

void kv_batch_clients(struct kv_batch *b, const struct kv_slice *argv, size_t argc)
{
    struct kv_batch_target *t = target(b, b->targets - 1);
    if (!t)
        return;
    ask(t, KV_CLIENT, argv, argc);
    slot_add(b, SLOT_ONE, b->targets - 1);
}

void kv_batch_info(struct kv_batch *b, struct kv_slice section)
{
    if (!target(b, 0))
        return;
    for (unsigned shard = 0; shard + 1 < b->targets; shard++)
        ask(&b->target[shard], KV_INFO, NULL, 0);
    slot_add(b, SLOT_INFO, (uint32_t)kv_info_section(section));
}

/* Sends each shard its share of the arguments. */
static bool split_ask(struct kv_batch *b, const struct kv_split *split, const struct kv_slice *argv, size_t argc)
{
    for (unsigned shard = 0; shard + 1 < b->targets; shard++) {
        size_t share = kv_split_share(split, shard);
        if (share == 0)
            continue;
        struct kv_slice *args = malloc(share * sizeof *args);
        if (!args)
            return false;
        kv_split_args(split, shard, argv, argc, args);
        ask(&b->target[shard], split->command->id, args, share);
        free(args);
    }
    return true;
}

void kv_batch_many(struct kv_batch *b, const struct kv_command *command, const struct kv_slice *argv, size_t argc)
{
    struct kv_split split;
    if (!target(b, 0))
        return;
    if (!kv_split_begin(&split, command, argv, argc, b->targets - 1)) {
        slot_add(b, SLOT_FAILED, 0);
        return;
    }
    if (!kv_buf_append(&b->splits, &split, sizeof split) || !split_ask(b, &split, argv, argc)) {
        b->slots.failed = true; /* half of it is built: the connection gives up */
        return;
    }
    slot_add(b, SLOT_SPLIT, (uint32_t)(b->splits.len / sizeof split - 1));
}

/* The answer of a receiver that could not be reached, for all its commands. */
static void answer_for(struct kv_batch_target *t, const char *text)
{
    for (uint32_t i = 0; i < t->count; i++) {
        kv_resp_write_error(&t->replies.bytes, text);
        size_t end = t->replies.bytes.len;
        kv_buf_append(&t->ends, &end, sizeof end);
    }
}

void kv_batch_send(troupe_ctx *ctx, struct kv_batch *b, troupe_answer_fn *done)
{
    for (unsigned i = 0; b->target && i < b->targets; i++) {
        struct kv_batch_target *t = &b->target[i];
        if (t->count == 0)
            continue;
        troupe_addr to = i + 1 < b->targets ? b->server->shards[i] : b->server->clients;
        troupe_msg *msg = kv_request_build(ctx, &t->builder);
        int status = msg ? troupe_send_ask(ctx, to, msg, TROUPE_FOREVER, done, (void *)(uintptr_t)i) : -ENOMEM;
        if (status == 0)
            b->waiting++;
        else
            answer_for(t, KV_ERR_NO_MEMORY);
    }
}

static const char *error_for(int status)
{
    if (status == -ECONNRESET)
        return "ERR the shard crashed before it could answer and restarts; whether this command took effect is unknown";
    return "ERR the server is stopping; whether this command took effect is unknown";
}

static void take(struct kv_batch_target *t, struct kv_replies *replies)
{
    size_t base = t->replies.bytes.len; /* 0: one answer for each receiver and batch */
    for (uint32_t i = 0; i < replies->count; i++) {
        size_t end = base + replies->ends[i];
        kv_buf_append(&t->ends, &end, sizeof end);
    }
    if (replies->in_rope) {
        replies->in_rope = false;
        kv_rope_move(&t->replies, &replies->rope);
        kv_rope_free(&replies->rope); /* what the move left is the memory that t->replies had kept */
    } else {
        kv_buf_append(&t->replies.bytes, kv_replies_bytes(replies), replies->inline_len);
    }
}

void kv_batch_answer(struct kv_batch *b, const troupe_answer *answer)
{
    struct kv_batch_target *t = &b->target[(uintptr_t)answer->arg];
    b->waiting--;
    if (answer->status < 0)
        answer_for(t, error_for(answer->status));
    else
        take(t, (struct kv_replies *)(uintptr_t)answer->payload);
}

/* Moves a receiver's next reply to out. */
static void next_reply(struct kv_batch_target *t, struct kv_rope *out)
{
    if (t->ends.failed || t->replies.bytes.failed) {
        out->bytes.failed = true;
        return;
    }
    size_t end;
    memcpy(&end, t->ends.data + t->next++ * sizeof end, sizeof end);
    kv_rope_move_part(out, &t->replies, &t->mark, end);
}

static void finish_split(struct kv_batch *b, struct kv_split *split, struct kv_rope *out)
{
    for (unsigned shard = 0; shard + 1 < b->targets; shard++) {
        if (kv_split_share(split, shard) == 0)
            continue;
        struct kv_rope part = {0};
        next_reply(&b->target[shard], &part);
        kv_split_answer(split, shard, &part);
        kv_rope_free(&part);
    }
    kv_split_finish(split, out);
}

static void finish_info(troupe_ctx *ctx, struct kv_batch *b, uint32_t section, struct kv_rope *out)
{
    struct kv_shard_facts total = {0};
    for (unsigned shard = 0; shard + 1 < b->targets; shard++) {
        struct kv_rope part = {0};
        struct kv_shard_facts facts;
        next_reply(&b->target[shard], &part);
        if (part.bytes.len == sizeof facts) { /* no error is as long as that */
            memcpy(&facts, part.bytes.data, sizeof facts);
            kv_info_add(&total, &facts);
        }
        kv_rope_free(&part);
    }
    kv_info_write(ctx, b->server, section, &total, &out->bytes);
}

static void reset(struct kv_batch *b)
{
    splits_free(b);
    kv_buf_trim(&b->slots);
    kv_buf_trim(&b->local);
    for (unsigned i = 0; b->target && i < b->targets; i++) {
        struct kv_batch_target *t = &b->target[i];
        if (t->count == 0)
            continue;
        t->count = t->next = 0;
        t->mark = (struct kv_rope_mark){0};
        kv_request_reset(&t->builder);
        if (t->replies.blob_count > 0 || t->replies.bytes.cap > KV_BUF_KEEP)
            kv_rope_free(&t->replies);
        else
            kv_rope_clear(&t->replies);
        kv_buf_trim(&t->ends);
    }
}

void kv_batch_finish(troupe_ctx *ctx, struct kv_batch *b, struct kv_rope *out)
{
    size_t local = 0;
    out->bytes.failed |= b->slots.failed || b->local.failed;
    for (size_t at = 0; !out->bytes.failed && at < b->slots.len; at += sizeof(struct slot)) {
        const struct slot *slot = (const struct slot *)(const void *)(b->slots.data + at);
        switch (slot->kind) {
        case SLOT_LOCAL:
            kv_buf_append(&out->bytes, b->local.data + local, slot->value - local);
            local = slot->value;
            break;
        case SLOT_ONE:
            next_reply(&b->target[slot->value], out);
            break;
        case SLOT_SPLIT:
            finish_split(b, split_at(b, slot->value), out);
            break;
        case SLOT_INFO:
            finish_info(ctx, b, slot->value, out);
            break;
        case SLOT_FAILED:
            kv_resp_write_error(&out->bytes, KV_ERR_NO_MEMORY);
            break;
        }
    }
    reset(b);
}
