/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one growable run of bytes.
 * Its holder may call it, one thread at a time.
 * It is not a ring: bytes leave from the front only by kv_buf_drop_front, which moves the rest. */
#ifndef KV_BUF_H
#define KV_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* All zero is an empty buffer that owns no memory. A failed growth is sticky: `failed` stays set and
 * later appends do nothing until kv_buf_clear or kv_buf_free, so that a run of appends is checked once. */
struct kv_buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

/* kv_buf_grow - make room for `more` further bytes (the slow path of kv_buf_reserve).
 * Capacity at least doubles. Returns false when memory is short or the size overflows; what the
 * buffer holds stays. */
bool kv_buf_grow(struct kv_buf *buf, size_t more);

/* kv_buf_free - release the memory; the buffer is empty and usable afterwards. */
void kv_buf_free(struct kv_buf *buf);

/* kv_buf_drop_front - forget the first n bytes (n <= len). */
void kv_buf_drop_front(struct kv_buf *buf, size_t n);

/* kv_buf_reserve - make room for `more` further bytes. Returns false on failure, now or before. */
static inline bool kv_buf_reserve(struct kv_buf *buf, size_t more)
{
    if (!buf->failed && more <= buf->cap - buf->len)
        return true;
    return kv_buf_grow(buf, more);
}

/* kv_buf_append - copy bytes to the end. Returns false on failure, now or before. */
static inline bool kv_buf_append(struct kv_buf *buf, const void *bytes, size_t len)
{
    if (!kv_buf_reserve(buf, len))
        return false;
    if (len > 0 && buf->data != NULL) /* the second is implied */
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    return true;
}

enum { KV_BUF_KEEP = 4096 }; /* bytes of memory that a buffer which is used now and then may keep */

/* kv_buf_trim - forget the content and a failure, keep the memory if it is little. */
void kv_buf_trim(struct kv_buf *buf);

/* kv_buf_clear - forget the content and a failure, keep the memory. */
static inline void kv_buf_clear(struct kv_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

#endif
