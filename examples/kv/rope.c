/* SPDX-License-Identifier: Apache-2.0 */
#include "rope.h"

#include <stdlib.h>

#include "blob.h"

/* Put a blob at the present end. The reference is taken over, whether it succeeds or not. */
static void push_blob(struct kv_rope *rope, struct kv_blob *blob)
{
    if (rope->blob_count == rope->blob_cap) {
        size_t cap = rope->blob_cap == 0 ? 4 : rope->blob_cap * 2;
        struct kv_rope_blob *blobs = realloc(rope->blobs, cap * sizeof *blobs);
        if (blobs == NULL) {
            rope->bytes.failed = true;
            kv_blob_unref(blob);
            return;
        }
        rope->blobs = blobs;
        rope->blob_cap = cap;
    }
    rope->blobs[rope->blob_count++] = (struct kv_rope_blob){.at = rope->bytes.len, .blob = blob};
}

void kv_rope_put(struct kv_rope *rope, struct kv_slice bytes)
{
    if (bytes.blob == NULL || bytes.len < KV_BLOB_MIN)
        kv_buf_append(&rope->bytes, bytes.ptr, bytes.len);
    else
        push_blob(rope, kv_blob_ref(bytes.blob));
}

static void move_bytes(struct kv_rope *to, struct kv_rope *from, struct kv_rope_mark *mark, size_t until)
{
    if (until > mark->at)
        kv_buf_append(&to->bytes, from->bytes.data + mark->at, until - mark->at);
    mark->at = until;
}

void kv_rope_move_part(struct kv_rope *to, struct kv_rope *from, struct kv_rope_mark *mark, size_t until)
{
    for (; mark->blob < from->blob_count && from->blobs[mark->blob].at <= until; mark->blob++) {
        struct kv_rope_blob *next = &from->blobs[mark->blob];
        move_bytes(to, from, mark, next->at);
        push_blob(to, next->blob);
        next->blob = NULL;
    }
    move_bytes(to, from, mark, until);
}

static void swap(struct kv_rope *a, struct kv_rope *b)
{
    struct kv_rope kept = *a;
    *a = *b;
    *b = kept;
}

void kv_rope_move(struct kv_rope *to, struct kv_rope *from)
{
    bool failed = to->bytes.failed || from->bytes.failed;
    if (to->bytes.len == 0 && to->blob_count == 0) {
        swap(to, from);
    } else {
        struct kv_rope_mark mark = {0};
        kv_rope_move_part(to, from, &mark, from->bytes.len);
        failed = failed || to->bytes.failed;
    }
    to->bytes.failed = failed;
    kv_rope_clear(from);
}

/* Piece 2i is the bytes in front of blob i, piece 2i+1 blob i, the last one the bytes behind all. */
static struct kv_slice piece_at(const struct kv_rope *rope, size_t piece)
{
    size_t i = piece / 2;
    if (piece % 2 == 1)
        return kv_blob_slice(rope->blobs[i].blob);
    size_t from = i == 0 ? 0 : rope->blobs[i - 1].at;
    size_t to = i == rope->blob_count ? rope->bytes.len : rope->blobs[i].at;
    return from == to ? kv_slice_of("", 0) : kv_slice_of(rope->bytes.data + from, to - from);
}

size_t kv_rope_slices(const struct kv_rope *rope, size_t *piece, struct kv_slice *out, size_t max)
{
    size_t filled = 0, pieces = 2 * rope->blob_count + 1;
    for (; filled < max && *piece < pieces; (*piece)++) {
        struct kv_slice slice = piece_at(rope, *piece);
        if (slice.len > 0)
            out[filled++] = slice;
    }
    return filled;
}

size_t kv_rope_size(const struct kv_rope *rope)
{
    size_t size = rope->bytes.len;
    for (size_t i = 0; i < rope->blob_count; i++)
        size += rope->blobs[i].blob->len;
    return size;
}

void kv_rope_clear(struct kv_rope *rope)
{
    for (size_t i = 0; i < rope->blob_count; i++)
        kv_blob_unref(rope->blobs[i].blob);
    rope->blob_count = 0;
    kv_buf_clear(&rope->bytes);
}

void kv_rope_free(struct kv_rope *rope)
{
    kv_rope_clear(rope);
    free(rope->blobs);
    kv_buf_free(&rope->bytes);
    *rope = (struct kv_rope){0};
}
