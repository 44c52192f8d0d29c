/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler needs from the outside world: a place to sleep, a way to be woken, a clock, randomness.
 * io/ supplies them for real use (io/loop.h), a simulator may replace them; sched/ calls them and knows nothing else.
 * They are not an I/O interface: what a completion means is between io/ and runtime/. */
#ifndef TR_SCHED_HOOKS_H
#define TR_SCHED_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

struct tr_worker;

#define TR_WAIT_FOREVER UINT64_MAX

struct tr_hooks {
    /* Called once in the worker's own thread before its first tick. Sets *io_out to the worker's I/O state, which the
     * other hooks get back. Returns 0, or -errno: then tr_pool_start fails with it. */
    int (*attach)(void *arg, struct tr_worker *worker, void **io_out);
    /* Called once in the worker's own thread after its last tick. */
    void (*detach)(void *io);

    /* Submits what is queued, reaps what is complete, fires due timers; never sleeps. Returns how many completions and
     * timers it delivered (bounded per call). Owner thread only. May call tr_pool_schedule. */
    unsigned (*poll)(void *io);
    /* True when poll would deliver something; costs no system call. Owner thread only. */
    bool (*pending)(void *io);
    /* Could a wait end by itself, because something is in flight or a timer is armed? A hint; costs no system call.
     * Owner thread only. */
    bool (*expects)(void *io);
    /* Sleeps until a completion, a due timer, a wake, or timeout_ns from now (TR_WAIT_FOREVER: none), and delivers what
     * it finds as poll does. Submits what is queued before it sleeps. A wake sent before the call makes it return at
     * once: wakes are sticky. Owner thread only. */
    unsigned (*wait)(void *io, uint64_t timeout_ns);
    /* Makes the owner's current or next wait return. Any thread, any time between attach and detach. */
    void (*wake)(void *io);

    /* Monotonic nanoseconds. Any thread. */
    uint64_t (*now)(void *arg);
    /* 64 random bits for victim choice; need not be unpredictable, only seeded per worker. Owner thread only. */
    uint64_t (*random)(void *io);

    void *arg; /* for attach and now */
};

#endif
