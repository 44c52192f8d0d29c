/* SPDX-License-Identifier: Apache-2.0 */
/* A lock of one word, for critical sections of a few instructions: it spins, and gives its processor away when that
 * does not help, since the holder may have lost its own. Zeroed: free. Any thread, also one outside of the pool.
 * It is not fair, not recursive, and not for anything that can block or call user code. */
#ifndef TR_SCHED_BASE_LOCK_H
#define TR_SCHED_BASE_LOCK_H

#include <sched.h>
#include <stdint.h>

#include <ck_pr.h>

#define TR_LOCK_SPINS 128u

struct tr_lock {
    uint32_t word; /* 0 free, 1 held. Edge: release of the one who lets go, acquire of the next who takes it */
};

static inline void tr_lock_take(struct tr_lock *lock)
{
    for (unsigned spins = 1; ck_pr_fas_32(&lock->word, 1) != 0;)
        for (; ck_pr_load_32(&lock->word) != 0; spins++) {
            if (spins % TR_LOCK_SPINS == 0)
                sched_yield();
            else
                ck_pr_stall();
        }
    ck_pr_fence_lock();
}

static inline void tr_lock_release(struct tr_lock *lock)
{
    ck_pr_fence_unlock();
    ck_pr_store_32(&lock->word, 0);
}

#endif
