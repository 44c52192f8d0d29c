/* SPDX-License-Identifier: Apache-2.0 */
/* By the C library's backtrace, which loads the compiler's unwinder: it reads the unwind tables that every object has,
 * so frame pointers are not needed, and programs need no library more to link with. */
#include "runtime/backtrace.h"

#include <execinfo.h>
#include <stddef.h>

#define TAKEN_MAX 48 /* frames looked at */

unsigned tr_backtrace(const void *from, uintptr_t *frames, unsigned max)
{
    void *taken[TAKEN_MAX];
    int count = backtrace(taken, TAKEN_MAX);
    int first = 0;
    while (first < count && taken[first] != from)
        first++;
    if (first == count)
        first = 0;
    unsigned written = 0;
    for (int i = first; i < count && written < max; i++)
        frames[written++] = (uintptr_t)taken[i];
    return written;
}

void tr_backtrace_prewarm(void)
{
    void *frame[1];
    (void)backtrace(frame, 1);
}
