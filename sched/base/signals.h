/* SPDX-License-Identifier: Apache-2.0 */
/* The signals of threads that run a program's own code: all blocked but those that a thread brings upon itself, so that
 * handlers of the program's signals run on the program's threads. Around a pthread_create, whose thread inherits them.
 * Any thread. Threads that run nothing of the program's block all signals by themselves. */
#ifndef TR_SCHED_BASE_SIGNALS_H
#define TR_SCHED_BASE_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/* *before is what pthread_sigmask(SIG_SETMASK) is to bring back. */
static inline void tr_signals_block(sigset_t *before)
{
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof synchronous / sizeof synchronous[0]; i++)
        sigdelset(&blocked, synchronous[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

#endif
