/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>

#include "blob.h"

enum { INLINE_MAX = 32 * 1024 };

_Static_assert(sizeof(struct kv_request_command) == 8, "args behind the commands are aligned");

void kv_request_add(struct kv_request_builder *b, unsigned id, const struct kv_slice *argv, size_t argc)
{
    struct kv_request_command command = {.id = (uint16_t)id, .argc = (uint32_t)argc};
    kv_buf_append(&b->commands, &command, sizeof command);
    for (size_t i = 0; i < argc; i++) {
        struct kv_slice arg = argv[i];
        if (arg.blob) {
            kv_blob_ref(arg.blob);
            if (!kv_buf_append(&b->args, &arg, sizeof arg))
                kv_blob_unref(arg.blob);
            continue;
        }
        arg.ptr = (const char *)(uintptr_t)b->bytes.len; /* until build knows where the bytes are */
        kv_buf_append(&b->bytes, argv[i].ptr, arg.len);
        kv_buf_append(&b->args, &arg, sizeof arg);
    }
    b->count++;
}

static void fix_pointers(struct kv_slice *args, size_t count, const char *bytes)
{
    for (size_t i = 0; i < count; i++)
        if (!args[i].blob)
            args[i].ptr = bytes + (uintptr_t)args[i].ptr;
}

/* The args' blob references belong to the message now, or are given up here. */
static void builder_empty(struct kv_request_builder *b, bool drop_blobs)
{
    if (drop_blobs)
        for (size_t at = 0; at + sizeof(struct kv_slice) <= b->args.len; at += sizeof(struct kv_slice)) {
            struct kv_slice arg;
            memcpy(&arg, b->args.data + at, sizeof arg);
            kv_blob_unref(arg.blob);
        }
    kv_buf_trim(&b->commands);
    kv_buf_trim(&b->args);
    kv_buf_trim(&b->bytes);
    b->count = 0;
}

troupe_msg *kv_request_build(troupe_ctx *ctx, struct kv_request_builder *b)
{
    size_t size = sizeof(struct kv_request) + b->commands.len + b->args.len + b->bytes.len;
    bool failed = b->commands.failed || b->args.failed || b->bytes.failed;
    troupe_msg *msg = failed ? NULL : troupe_compose(ctx, KV_REQUEST_KIND, size);
    if (!msg) {
        builder_empty(b, true);
        return NULL;
    }
    struct kv_request *request = troupe_msg_body(msg);
    size_t args = b->args.len / sizeof(struct kv_slice);
    *request = (struct kv_request){.count = b->count, .args = (uint32_t)args};
    char *at = (char *)(request + 1);
    memcpy(at, b->commands.data, b->commands.len);
    at += b->commands.len;
    if (b->args.len > 0)
        memcpy(at, b->args.data, b->args.len);
    if (b->bytes.len > 0)
        memcpy(at + b->args.len, b->bytes.data, b->bytes.len);
    fix_pointers((struct kv_slice *)(void *)at, args, at + b->args.len);
    builder_empty(b, false);
    return msg;
}

void kv_request_reset(struct kv_request_builder *b)
{
    builder_empty(b, true);
}

void kv_request_builder_free(struct kv_request_builder *b)
{
    builder_empty(b, true);
    kv_buf_free(&b->commands);
    kv_buf_free(&b->args);
    kv_buf_free(&b->bytes);
}

void kv_request_drop(const void *payload, size_t size)
{
    struct kv_request *request = (struct kv_request *)(uintptr_t)payload;
    if (size < sizeof *request || request->count == 0)
        return;
    const struct kv_slice *args = kv_request_args(request);
    for (uint32_t i = 0; i < request->args; i++)
        kv_blob_unref(args[i].blob);
    request->count = 0;
}

static void fill_ends(size_t *out, const size_t *ends, uint32_t count, size_t base)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = ends[i] - base;
}

int kv_replies_send(troupe_ctx *ctx, const troupe_msg *msg, struct kv_rope *from, struct kv_rope_mark *mark,
                    const size_t *ends, uint32_t count)
{
    size_t base = mark->at, until = ends[count - 1], len = until - base;
    bool blobs = mark->blob < from->blob_count && from->blobs[mark->blob].at <= until;
    bool in_rope = blobs || len > INLINE_MAX;
    size_t head = sizeof(struct kv_replies) + count * sizeof *ends;
    troupe_msg *reply = troupe_compose(ctx, KV_REQUEST_KIND, head + (in_rope ? 0 : len));
    if (!reply)
        return -ENOMEM;
    struct kv_replies *replies = troupe_msg_body(reply);
    *replies = (struct kv_replies){.count = count, .in_rope = in_rope, .inline_len = in_rope ? 0 : (uint32_t)len};
    fill_ends(replies->ends, ends, count, base);
    if (in_rope) {
        kv_rope_move_part(&replies->rope, from, mark, until);
    } else {
        memcpy((char *)replies + head, from->bytes.data + base, len);
        mark->at = until;
    }
    return troupe_reply_send(ctx, msg, reply);
}

void kv_replies_drop(const void *payload, size_t size)
{
    struct kv_replies *replies = (struct kv_replies *)(uintptr_t)payload;
    if (size < sizeof *replies || !replies->in_rope)
        return;
    kv_rope_free(&replies->rope);
    replies->in_rope = false;
}
