/* SPDX-License-Identifier: Apache-2.0 */
/* A look at another thread's stack while it goes on: a signal stops it for some microseconds, in which its own handler
 * writes its return addresses down. Each worker owns a shot; one other thread, the watchdog's, takes it.
 * The signal's handler is the process's, and all runtimes that name the same signal share it: it is here from the first
 * one's start to the last one's end, and hands on what is not its own to the handler that it found. Without x86-64 and
 * glibc 2.35 there are no shots. It is not for a thread's own stack: see backtrace.h. */
#ifndef TR_RUNTIME_STACKSHOT_H
#define TR_RUNTIME_STACKSHOT_H

#include <troupe/crash.h>

#include <pthread.h>

/* state: NONE -> ASKED (taker, before the signal) -> TAKING (handler) -> TAKEN (handler, release) -> NONE (taker, which
 * has acquired it and read). A taker that has waited long enough moves ASKED -> NONE; a handler that comes later finds
 * that and writes nothing. All by compare and swap where two could move it. */
struct tr_stackshot {
    uint32_t state;
    int signal; /* 0: none is taken of this thread */
    pthread_t thread;
    uintptr_t low, high; /* its stack */
    unsigned count;
    uintptr_t frames[TROUPE_CRASH_FRAMES];
};

/* Any thread, each install that returned 0 paired with an uninstall. -EINVAL: no such signal, or one that a thread
 * brings upon itself. */
int tr_stackshot_install(int signal);
void tr_stackshot_uninstall(int signal);
/* On the thread in question, after an install: makes it receive the signal. */
void tr_stackshot_attach(struct tr_stackshot *shot, int signal);
/* Takes a shot: return addresses, innermost first, in shot->frames. Waits at most wait_ns. Returns how many; 0: it
 * could not be had. The thread must be there. */
unsigned tr_stackshot_take(struct tr_stackshot *shot, uint64_t wait_ns);

#endif
