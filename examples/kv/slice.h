/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: a slice is a view of bytes that somebody else keeps.
 * Anybody in the example may use it, from any thread.
 * It is not a string: no terminator, any byte may occur. */
#ifndef KV_SLICE_H
#define KV_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct kv_blob;

/* ptr and len are the bytes. blob, if not NULL, is the reference-counted block in which they lie
 * (from its first byte to its last): who wants to keep the bytes takes a reference instead of a copy. */
struct kv_slice {
    const char *ptr;
    size_t len;
    struct kv_blob *blob;
};

static inline struct kv_slice kv_slice_of(const void *ptr, size_t len)
{
    return (struct kv_slice){.ptr = ptr, .len = len};
}

static inline struct kv_slice kv_slice_text(const char *text)
{
    return kv_slice_of(text, strlen(text));
}

static inline bool kv_slice_equal(struct kv_slice a, struct kv_slice b)
{
    if (a.len != b.len)
        return false;
    return a.len == 0 || (a.ptr != NULL && b.ptr != NULL && memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* kv_slice_is_word - is the slice this word, whatever its case?
 *   word  lower-case ASCII letters and '-' only */
static inline bool kv_slice_is_word(struct kv_slice slice, const char *word)
{
    for (size_t i = 0; i < slice.len; i++) {
        char c = slice.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (word[i] == '\0' || c != word[i])
            return false;
    }
    return word[slice.len] == '\0';
}

#endif
