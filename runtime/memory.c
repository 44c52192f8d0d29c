/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "io/poison.h"
#include "sched/base/assert.h"

static _Thread_local size_t granted; /* requests until the planted failure, that one included; 0: none is planted */
static _Thread_local bool failed;

static bool refused(size_t size)
{
    if (TR_LIKELY(granted == 0))
        return TR_UNLIKELY(size > PTRDIFF_MAX);
    failed = --granted == 0;
    return failed || size > PTRDIFF_MAX;
}

void *tr_memory_alloc(size_t size)
{
    return refused(size) ? NULL : malloc(size);
}

void *tr_memory_alloc_zeroed(size_t size)
{
    return refused(size) ? NULL : calloc(1, size);
}

void *tr_memory_resize(void *memory, size_t size)
{
    return refused(size) ? NULL : realloc(memory, size);
}

void *tr_memory_reserve(size_t size)
{
    if (refused(size))
        return NULL;
    void *space = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NULL;
    TR_REACHABLE_FROM(space, size);
    return space;
}

bool tr_memory_commit(void *space, size_t size)
{
    if (refused(size) || mprotect(space, size, PROT_READ | PROT_WRITE) != 0)
        return false;
    madvise(space, size, MADV_POPULATE_WRITE); /* one call instead of a fault a page; without it they come later */
    return true;
}

void tr_memory_release(void *space, size_t size)
{
    TR_UNREACHABLE_FROM(space, size);
    munmap(space, size);
}

void tr_memory_fail_after(size_t count)
{
    granted = count + 1; /* TR_MEMORY_NEVER becomes 0 */
    failed = false;
}

bool tr_memory_failed(void)
{
    return failed;
}
