/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a run of bytes on its way out (to a client, to a log), and references to the big values in it.
 * Whoever holds it may call it; it may be handed from a shard's actor to a connection's.
 * It is not a socket's queue: nothing here knows how much has been sent. */
#ifndef KV_ROPE_H
#define KV_ROPE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "slice.h"

/* A big value that belongs into the stream in front of bytes.data[at]. */
struct kv_rope_blob {
    size_t at;
    struct kv_blob *blob;
};

/* All zero is an empty rope. The stream is bytes, with each blob's content put in at its place;
 * blobs are in ascending order of `at`. Failure is sticky, and kept in bytes.failed. Bytes may be
 * appended to `bytes` directly. */
struct kv_rope {
    struct kv_buf bytes;
    struct kv_rope_blob *blobs;
    size_t blob_count;
    size_t blob_cap;
};

/* kv_rope_put - add bytes to the end: a copy, or a reference if they are a blob of KV_BLOB_MIN or more. */
void kv_rope_put(struct kv_rope *rope, struct kv_slice bytes);

/* kv_rope_move - move everything of `from` to the end of `to`; from is empty afterwards. */
void kv_rope_move(struct kv_rope *to, struct kv_rope *from);

/* A reader's place in a rope: the next byte of bytes.data, and the next blob. Zero is the start. */
struct kv_rope_mark {
    size_t at;
    size_t blob;
};

/* kv_rope_move_part - move the stream from mark up to from->bytes.data[until] to the end of `to`, with
 * the blobs between. mark moves on; what has been moved must not be read again. */
void kv_rope_move_part(struct kv_rope *to, struct kv_rope *from, struct kv_rope_mark *mark, size_t until);

/* kv_rope_slices - the stream as slices, for a gathering write.
 *   *piece  0 at first; moved on
 * Returns how many of out[0..max) are filled, 0 at the end. Empty slices do not occur. */
size_t kv_rope_slices(const struct kv_rope *rope, size_t *piece, struct kv_slice *out, size_t max);

/* kv_rope_size - bytes of the stream. */
size_t kv_rope_size(const struct kv_rope *rope);

/* kv_rope_clear - forget the content (giving up the blobs) and a failure, keep the memory. */
void kv_rope_clear(struct kv_rope *rope);

/* kv_rope_free - release everything; the rope is empty and usable afterwards. */
void kv_rope_free(struct kv_rope *rope);

#endif
