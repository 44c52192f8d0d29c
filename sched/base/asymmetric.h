/* SPDX-License-Identifier: Apache-2.0 */
/* A full fence between two threads of which one pays nothing: the light side only keeps the compiler from moving its
 * store and its later load past each other, the heavy side makes the kernel run a full fence on every CPU that runs a
 * thread of this process (membarrier(2), private expedited; about a microsecond). Of a store before a light fence and
 * a load after it in one thread, and a store before a heavy fence and a load after it in another, at least one load
 * sees the other's store. It orders nothing between two light sides.
 * Under ThreadSanitizer, too: the words themselves are atomic there. */
#ifndef TR_SCHED_BASE_ASYMMETRIC_H
#define TR_SCHED_BASE_ASYMMETRIC_H

#include <stdbool.h>

#include <ck_pr.h>

/* Once per process or more often, before the first heavy fence. False: the kernel, or a sandbox, does not offer it; then
 * neither fence is one. Any thread. */
bool tr_fence_heavy_prepare(void);
/* False: it is refused all of a sudden (a sandbox that was put up later), and was no fence. */
bool tr_fence_heavy(void);

static inline void tr_fence_light(void)
{
    ck_pr_barrier();
}

#endif
