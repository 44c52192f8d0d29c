/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/kept.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/memory.h"

/* Up to here malloc and memset are faster than calloc, which goes past the thread's cache of free blocks (glibc). */
#define CLEARED_MAX ((size_t)1024)
/* The sizes of TR_CLASS_32 and TR_CLASS_64. */
#define SMALLER 32
#define LARGER 64

static void *from_heap(size_t size)
{
    if (size > CLEARED_MAX)
        return tr_memory_alloc_zeroed(size);
    void *memory = tr_memory_alloc(size);
    return memory ? memset(memory, 0, size) : NULL;
}

/* The larger ones are malloc's: classes for them would round up by more than it does. */
void *tr_kept_alloc(troupe_ctx *ctx, size_t size)
{
    void *memory;
    if (!TR_KEPT_SMALL || size > LARGER)
        return from_heap(size);
    if (size <= SMALLER) {
        memory = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_32);
        return TR_LIKELY(memory != NULL) ? memset(memory, 0, SMALLER) : NULL;
    }
    memory = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_64);
    return TR_LIKELY(memory != NULL) ? memset(memory, 0, LARGER) : NULL;
}

void tr_kept_free(troupe_ctx *ctx, void *memory, size_t size)
{
    if (!TR_KEPT_SMALL || size > LARGER)
        free(memory);
    else if (memory)
        tr_slab_put(&ctx->rt->slab, &ctx->cache, size <= SMALLER ? TR_CLASS_32 : TR_CLASS_64, memory);
}
