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

#ifdef TR_IO_ASAN
void *tr_memory_pages(size_t size)
{
    void *pages = refused(size) ? NULL : aligned_alloc(TR_MEMORY_PAGE, size);
    return pages ? memset(pages, 0, size) : NULL;
}

void tr_memory_pages_free(void *pages, size_t size)
{
    (void)size;
    free(pages);
}
#else
void *tr_memory_pages(size_t size)
{
    if (refused(size))
        return NULL;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return pages != MAP_FAILED ? pages : NULL;
}

void tr_memory_pages_free(void *pages, size_t size)
{
    if (pages)
        munmap(pages, size);
}
#endif

void tr_memory_fail_after(size_t count)
{
    granted = count + 1; /* TR_MEMORY_NEVER becomes 0 */
    failed = false;
}

bool tr_memory_failed(void)
{
    return failed;
}
