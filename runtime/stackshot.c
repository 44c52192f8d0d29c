/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_sigqueue, pthread_getattr_np, REG_RIP */
#endif

#include "runtime/stackshot.h"

#include <errno.h>

#include "runtime/fault_support.h"

#if TR_FAULTS

#include <signal.h>
#include <time.h>
#include <ucontext.h>

#include <ck_pr.h>

#include "io/loop.h"
#include "runtime/unwind.h"
#include "sched/base/assert.h"

enum { NONE, ASKED, TAKING, TAKEN };

/* Written under the lock, before sigaction makes the handler reachable; constant until the handler is gone. A handler
 * that still runs on another thread then reads the old values, which stay. */
static struct {
    pthread_mutex_t lock;
    struct {
        unsigned installed; /* runtimes */
        bool in_chain;
        struct sigaction previous;
    } of[_NSIG];
} shots = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct tr_stackshot *mine __attribute__((tls_model("initial-exec")));

/* --- the handler -------------------------------------------------------------------------------------------------- */

static TR_NO_SANITIZE void take_registers(struct tr_unwind *u, const greg_t *reg)
{
    static const int order[TR_REG_COUNT] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                            REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    for (unsigned i = 0; i < TR_REG_COUNT; i++)
        u->reg[i] = (uintptr_t)reg[order[i]];
    u->valid = (1u << TR_REG_COUNT) - 1;
}

/* The first address is that of an instruction; one more makes it look like the return addresses behind it. */
static TR_NO_SANITIZE void walk(struct tr_stackshot *shot, const ucontext_t *uc)
{
    struct tr_unwind u = {.low = shot->low, .high = shot->high};
    take_registers(&u, uc->uc_mcontext.gregs);
    shot->frames[0] = u.reg[TR_REG_PC] + 1;
    shot->count = 1;
    while (shot->count < TROUPE_CRASH_FRAMES && tr_unwind_step(&u) && (u.valid & 1u << TR_REG_PC) &&
           u.reg[TR_REG_PC] != 0)
        shot->frames[shot->count++] = u.reg[TR_REG_PC];
}

static bool ignored_by_default(int signal)
{
    return signal == SIGURG || signal == SIGCHLD || signal == SIGWINCH || signal == SIGCONT;
}

/* To who handled the signal before us; with nobody there it does what it would have done. */
static void chain(int signal, siginfo_t *info, void *uc)
{
    const struct sigaction *previous = &shots.of[signal].previous;
    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(signal, info, uc);
    } else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
        previous->sa_handler(signal);
    } else if (previous->sa_handler == SIG_DFL && !ignored_by_default(signal)) {
        sigaction(signal, previous, NULL);
        raise(signal); /* blocked until we return */
    }
}

/* Ours are known by the shot that they carry: nobody else has its address. */
static TR_NO_SANITIZE void on_signal(int signal, siginfo_t *info, void *uc)
{
    int saved_errno = errno;
    struct tr_stackshot *shot = mine;
    if (info->si_code != SI_QUEUE || !shot || info->si_value.sival_ptr != shot) {
        chain(signal, info, uc);
    } else if (ck_pr_cas_32(&shot->state, ASKED, TAKING)) {
        walk(shot, uc);
        ck_pr_fence_release();
        ck_pr_store_32(&shot->state, TAKEN);
    }
    errno = saved_errno;
}

/* --- installation ------------------------------------------------------------------------------------------------- */

static bool may_be_used(int signal)
{
    static const int not [] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGKILL, SIGSTOP};
    for (size_t i = 0; i < sizeof not / sizeof not [0]; i++)
        if (signal == not [i])
            return false;
    return (signal > 0 && signal < 32) || (signal >= SIGRTMIN && signal <= SIGRTMAX);
}

int tr_stackshot_install(int signal)
{
    if (!may_be_used(signal))
        return -EINVAL;
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    action.sa_sigaction = on_signal;
    sigfillset(&action.sa_mask);
    pthread_mutex_lock(&shots.lock);
    if (shots.of[signal].installed++ == 0 && !shots.of[signal].in_chain) {
        tr_unwind_warm_up();
        sigaction(signal, NULL, &shots.of[signal].previous);
        sigaction(signal, &action, NULL);
        shots.of[signal].in_chain = true;
    }
    pthread_mutex_unlock(&shots.lock);
    return 0;
}

/* Who has put theirs over ours goes on calling it: then it stays. */
void tr_stackshot_uninstall(int signal)
{
    struct sigaction now;
    pthread_mutex_lock(&shots.lock);
    TR_ASSERT(shots.of[signal].installed > 0);
    if (--shots.of[signal].installed == 0) {
        sigaction(signal, NULL, &now);
        if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_signal) {
            sigaction(signal, &shots.of[signal].previous, NULL);
            shots.of[signal].in_chain = false;
        }
    }
    pthread_mutex_unlock(&shots.lock);
}

void tr_stackshot_attach(struct tr_stackshot *shot, int signal)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    sigset_t set;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    shot->low = (uintptr_t)low;
    shot->high = (uintptr_t)low + size;
    shot->thread = pthread_self();
    mine = shot;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    shot->signal = signal;
}

/* --- the taker ---------------------------------------------------------------------------------------------------- */

unsigned tr_stackshot_take(struct tr_stackshot *shot, uint64_t wait_ns)
{
    uint64_t until_ns = tr_loop_deadline(wait_ns);
    if (shot->signal == 0)
        return 0;
    ck_pr_store_32(&shot->state, ASKED);
    ck_pr_fence_store();
    if (pthread_sigqueue(shot->thread, shot->signal, (union sigval){.sival_ptr = shot}) != 0) {
        ck_pr_store_32(&shot->state, NONE);
        return 0;
    }
    while (ck_pr_load_32(&shot->state) != TAKEN) {
        if (tr_loop_clock() >= until_ns && ck_pr_cas_32(&shot->state, ASKED, NONE))
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    ck_pr_fence_acquire();
    ck_pr_store_32(&shot->state, NONE);
    return shot->count;
}

#else

int tr_stackshot_install(int signal)
{
    return signal > 0 ? 0 : -EINVAL;
}

void tr_stackshot_uninstall(int signal)
{
    (void)signal;
}

void tr_stackshot_attach(struct tr_stackshot *shot, int signal)
{
    (void)shot, (void)signal;
}

unsigned tr_stackshot_take(struct tr_stackshot *shot, uint64_t wait_ns)
{
    (void)shot, (void)wait_ns;
    return 0;
}

#endif
