/* SPDX-License-Identifier: Apache-2.0 */
/* Backtraces: the return addresses of a panic, taken on its own thread while the stack is still there. Names come later
 * and elsewhere: see symbol.h. They are rationed, because a crash storm must not pay for them: a backtrace costs
 * microseconds, a crash and restart less than one. Each worker owns its ration. Not for signal handlers. */
#ifndef TR_RUNTIME_BACKTRACE_H
#define TR_RUNTIME_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

/* A worker's ration. All bits zero is a fresh one. */
struct tr_backtrace_ration {
    uint64_t began_ns; /* the running second */
    unsigned taken;    /* in it */
};

/* May one be taken? Takes it off the ration. now_ns: any monotonic clock, it may be a little old. */
static inline bool tr_backtrace_allowed(struct tr_backtrace_ration *ration, unsigned per_second, uint64_t now_ns)
{
    if (ration->taken >= per_second) {
        if (per_second == 0 || now_ns - ration->began_ns < UINT64_C(1000000000))
            return false;
        ration->taken = 0;
    }
    if (ration->taken++ == 0)
        ration->began_ns = now_ns;
    return true;
}

/* Writes up to max return addresses, innermost first, from the frame on that returns to `from`; from the caller's own
 * on when there is no such frame. Returns how many; 0 when the compiler's unwinder is not installed. */
unsigned tr_backtrace(const void *from, uintptr_t *frames, unsigned max);
/* The first backtrace of a process loads the unwinder (about 100 µs): done at the start instead of in a crash. */
void tr_backtrace_prewarm(void);

#endif
