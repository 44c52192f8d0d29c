/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/kept.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/memory.h"

/* Up to here malloc and memset are faster than calloc, which goes past the thread's cache of free blocks (glibc). */
#define CLEARED_MAX ((size_t)1024)

/* Larger ones are malloc's: classes for them would round up by more than it does. */
static inline enum tr_class class_of(size_t size)
{
    if (!TR_KEPT_SMALL || size > tr_class_size(TR_CLASS_64))
        return TR_CLASS_HEAP;
    return size <= tr_class_size(TR_CLASS_32) ? TR_CLASS_32 : TR_CLASS_64;
}

static void *from_heap(size_t size)
{
    if (size > CLEARED_MAX)
        return tr_memory_alloc_zeroed(size);
    void *memory = tr_memory_alloc(size);
    return memory ? memset(memory, 0, size) : NULL;
}

void *tr_kept_alloc(troupe_ctx *ctx, size_t size)
{
    enum tr_class class = class_of(size);
    if (class == TR_CLASS_HEAP)
        return from_heap(size);
    void *memory = tr_slab_take(&ctx->rt->slab, &ctx->cache, class);
    return TR_LIKELY(memory != NULL) ? memset(memory, 0, class == TR_CLASS_32 ? 32 : 64) : NULL;
}

void tr_kept_free(troupe_ctx *ctx, void *memory, size_t size)
{
    enum tr_class class = class_of(size);
    if (class == TR_CLASS_HEAP)
        free(memory);
    else if (memory)
        tr_slab_put(&ctx->rt->slab, &ctx->cache, class, memory);
}
