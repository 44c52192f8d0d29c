/* SPDX-License-Identifier: Apache-2.0 */
#include "blob.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct kv_blob *kv_blob_create(size_t cap)
{
    if (cap > PTRDIFF_MAX - sizeof(struct kv_blob))
        return NULL;
    struct kv_blob *blob = malloc(sizeof *blob + cap);
    if (blob == NULL)
        return NULL;
    atomic_init(&blob->refs, 1);
    blob->len = 0;
    blob->cap = cap;
    return blob;
}

struct kv_blob *kv_blob_copy(const void *bytes, size_t len)
{
    struct kv_blob *blob = kv_blob_create(len);
    if (blob == NULL)
        return NULL;
    if (len > 0)
        memcpy(blob->data, bytes, len);
    blob->len = len;
    return blob;
}

struct kv_blob *kv_blob_resize(struct kv_blob *blob, size_t cap)
{
    if (cap > PTRDIFF_MAX - sizeof(struct kv_blob))
        return NULL;
    struct kv_blob *moved = realloc(blob, sizeof *blob + cap);
    if (moved != NULL)
        moved->cap = cap;
    return moved;
}

struct kv_blob *kv_blob_ref(struct kv_blob *blob)
{
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void kv_blob_unref(struct kv_blob *blob)
{
    if (blob == NULL)
        return;
    /* acq_rel instead of a release and a fence: ThreadSanitizer does not see fences. */
    if (atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
        free(blob);
}

bool kv_blob_is_sole(struct kv_blob *blob)
{
    return atomic_load_explicit(&blob->refs, memory_order_acquire) == 1;
}

struct kv_slice kv_blob_slice(struct kv_blob *blob)
{
    return (struct kv_slice){.ptr = blob->data, .len = blob->len, .blob = blob};
}
