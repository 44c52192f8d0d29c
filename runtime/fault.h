/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware faults: SIGSEGV, SIGBUS, SIGFPE, SIGILL in the code of an actor become a crash of that actor, if the
 * runtime and its behavior consent and classify.c can prove that nothing but its own code was hit. All others are
 * reported on stderr and end the process with a true core. The signal handlers are the process's, and all runtimes
 * with troupe_options.recover_faults share them: they are here from the first one's start to the last one's end. The
 * rest is per worker and its own. It is not a debugger, and no promise: after a wild write nothing can be trusted.
 * See docs/decisions/015. */
#ifndef TR_RUNTIME_FAULT_H
#define TR_RUNTIME_FAULT_H

#include <troupe/crash.h>

#include <stddef.h>

/* What the handler leaves for the crash record beside ctx->panic, which has text and frames; valid while panic.cause
 * is FAULT. */
struct tr_fault {
    int signal, code;
    uintptr_t address, pc;
};

/* A worker's share. */
struct tr_fault_site {
    void *map; /* the alternate stack and its guard page; NULL: not attached */
    size_t map_size;
    void *previous_sp; /* the alternate stack that was there before */
    size_t previous_size;
    int previous_flags;
    uintptr_t stack_low, stack_high; /* of the worker's thread */
    uint32_t mxcsr;                  /* how floating point was set when the worker began: */
    uint16_t x87;                    /* every recovery sets it so again */
    uintptr_t landing_sp;            /* between the handler and the landing */
};

struct tr_log;

/* Any thread, each install paired with an uninstall. Where faults cannot be recovered install says so in the log. */
void tr_fault_install(struct tr_log *log);
void tr_fault_uninstall(void);
/* On the worker, after an install. 0 or -errno. */
int tr_fault_attach(struct tr_fault_site *site);
/* On the worker; does nothing if there was no attach. */
void tr_fault_detach(struct tr_fault_site *site);
/* Has a fault been recovered in this process? Any thread. */
bool tr_fault_tainted(void);
/* For tests: the time in which the limit of 16 recoveries counts; default 10 s. Before the first install. */
void tr_fault_limit_window(uint64_t ns);

#endif
