/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one big block of bytes that several actors read at once: a value of 16 KiB or more.
 * Who holds a reference may read it, from any thread; who holds the only one may also write it.
 * It is not for small values: those are copied, which is cheaper than a shared counter. */
#ifndef KV_BLOB_H
#define KV_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

enum { KV_BLOB_MIN = 16 * 1024 }; /* bytes from which a value is worth a blob of its own */

/* refs: number of holders, > 0. A holder adds one for another (relaxed: it already sees the bytes).
 * Giving one up is acq_rel: the release half publishes this holder's reads and writes, the acquire
 * half of the one that takes it to zero meets all those releases before it frees. kv_blob_is_sole loads
 * with acquire, meeting the same releases, so the last holder may write again. Nobody can raise it from
 * one but its sole holder. */
struct kv_blob {
    atomic_size_t refs;
    size_t len;
    size_t cap;
    char data[];
};

/* kv_blob_create - an empty blob with room for cap bytes and one reference; NULL when memory is short. */
struct kv_blob *kv_blob_create(size_t cap);

/* kv_blob_copy - a blob that holds a copy of the bytes; NULL when memory is short. */
struct kv_blob *kv_blob_copy(const void *bytes, size_t len);

/* kv_blob_resize - change the capacity (>= len) of a blob that only the caller holds.
 * Returns the blob, perhaps moved, or NULL when memory is short (the old one stays valid). The C
 * library moves big blocks by remapping pages, so growing by doubling does not copy them. */
struct kv_blob *kv_blob_resize(struct kv_blob *blob, size_t cap);

/* kv_blob_ref - one more reference; returns its argument. */
struct kv_blob *kv_blob_ref(struct kv_blob *blob);

/* kv_blob_unref - give a reference up; NULL is allowed. The last one frees the block. */
void kv_blob_unref(struct kv_blob *blob);

/* kv_blob_is_sole - does the caller hold the only reference? */
bool kv_blob_is_sole(struct kv_blob *blob);

/* kv_blob_slice - the whole of the blob as a slice that names it. Takes no reference. */
struct kv_slice kv_blob_slice(struct kv_blob *blob);

#endif
