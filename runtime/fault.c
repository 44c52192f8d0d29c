/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fault.h"

#include "runtime/context.h"
#include "runtime/fault_support.h"

#if TR_FAULTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "runtime/classify.h"
#include "runtime/fault_report.h"
#include "runtime/log.h"
#include "sched/base/assert.h"
#include "sched/pool.h"
#if TR_FAULTS_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* How a fault becomes a crash.
 *
 *   handler  on the worker's alternate stack, all signals blocked, so that a fault in it ends the process. It
 *            decides everything before it changes anything: may it, is it the actor's own code, are there not too
 *            many. Then it notes what happened in the context, puts the landing into the saved pc and the boundary's
 *            stack pointer into the saved sp, and returns.
 *   kernel   restores the signal mask and goes on at the landing, as if the boundary had called it.
 *   landing  on the worker's own stack, everything above the boundary is abandoned. It may call what it likes: no
 *            frame that was left held a lock of ours or of libc's. It leaves by TR_JUMP, as a panic does.
 *
 * The handlers are process-wide, and so are `recoveries`, `recent` and `reports`: words that several workers'
 * handlers move at once, each by one atomic read-modify-write that carries no other data, so no order between them
 * matters. `previous` and `impossible` are written under the lock before sigaction makes the handler reachable (a
 * system call: a full barrier on this thread; other threads run the handler only after the kernel has seen it), and
 * are constant until the handlers are gone. A handler that still runs on another thread then reads the old values,
 * which stay. */

#define SIGNALS 4
#define ALTERNATE_SIZE (128u << 10)
#define RECOVERIES_MAX 16u /* in RECOVERIES_NS; one more ends the process */
#define RECOVERIES_NS TROUPE_SEC(10)
#define REPORTS_MAX 16u /* of a previous handler that returns without having helped */
#define NEAR_STACK (1u << 20)
#define EFLAGS_DIRECTION (1u << 10)
#define EFLAGS_ALIGNMENT (1u << 18)
#define PAGE_FAULT 14 /* the CPU's number of that exception; its error bits: */
#define PAGE_FAULT_WRITE 2u
#define PAGE_FAULT_EXECUTE 16u

static const int signals[SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

static struct {
    pthread_mutex_t lock; /* guards installed and in_chain */
    unsigned installed;   /* runtimes */
    bool in_chain[SIGNALS];
    struct sigaction previous[SIGNALS];
    const char *impossible; /* why nothing is recovered in this program; NULL: it may be */
    uint64_t window_ns;
    uint64_t recoveries;             /* ever */
    uint64_t recent[RECOVERIES_MAX]; /* when the last ones were; 0: not yet */
    uint32_t reports;
} faults = {.lock = PTHREAD_MUTEX_INITIALIZER, .window_ns = RECOVERIES_NS};

static unsigned index_of(int signal)
{
    unsigned i = 0;
    while (i < SIGNALS - 1 && signals[i] != signal)
        i++;
    return i;
}

/* --- the landing ------------------------------------------------------------------------------------------------- */

/* Abandoned frames leave their red zones poisoned. */
static TR_NO_SANITIZE void clean_stack(const struct tr_fault_site *site)
{
#if TR_FAULTS_ASAN
    __asan_unpoison_memory_region((void *)site->stack_low, site->landing_sp - site->stack_low);
#else
    (void)site;
#endif
}

static TR_NO_SANITIZE __attribute__((noreturn)) void land(void)
{
    troupe_ctx *ctx = tr_worker_user(tr_worker_self());
    struct tr_fault_site *site = &ctx->fault_site;
    clean_stack(site);
    __asm__ volatile("fninit\n\tfldcw %0\n\tldmxcsr %1" : : "m"(site->x87), "m"(site->mxcsr));
    ctx->panic.file = "";
    ctx->panic.line = 0;
    ctx->panic.status = 0;
    ctx->panic.cause = TROUPE_CAUSE_FAULT;
    tr_count(&ctx->stats.faults_recovered, 1);
    TR_JUMP(ctx->jump);
}

/* --- the handler: facts ------------------------------------------------------------------------------------------ */

static bool is_memory(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS;
}

/* Of an address that is not canonical the CPU tells nothing: the kernel reports a general protection fault, address
 * 0. */
static bool address_known(const siginfo_t *info)
{
    return is_memory(info->si_signo) && info->si_code > 0 && info->si_code != SI_KERNEL;
}

static enum tr_access access_of(const siginfo_t *info, const greg_t *reg, const troupe_ctx *ctx)
{
    uintptr_t address = (uintptr_t)info->si_addr, sp = (uintptr_t)reg[REG_RSP];
    if (!address_known(info))
        return TR_ACCESS_UNKNOWN;
    if (ctx && ctx->fault_site.map) {
        uintptr_t low = ctx->fault_site.stack_low;
        if (address < low && low - address < NEAR_STACK && (sp < low || sp - low < NEAR_STACK))
            return TR_ACCESS_STACK_OVERFLOW;
    }
    if (reg[REG_TRAPNO] != PAGE_FAULT)
        return TR_ACCESS_UNKNOWN;
    unsigned error = (unsigned)reg[REG_ERR];
    return error & PAGE_FAULT_EXECUTE ? TR_ACCESS_EXECUTE : error & PAGE_FAULT_WRITE ? TR_ACCESS_WRITE : TR_ACCESS_READ;
}

static struct tr_fault_facts facts_of(const siginfo_t *info, const ucontext_t *uc, const troupe_ctx *ctx)
{
    const greg_t *reg = uc->uc_mcontext.gregs;
    const struct tr_cell *cell = ctx ? ctx->cell : NULL;
    return (struct tr_fault_facts){
        .signal = info->si_signo,
        .code = info->si_code,
        .address = address_known(info) ? (uintptr_t)info->si_addr : 0,
        .address_known = address_known(info),
        .pc = (uintptr_t)reg[REG_RIP],
        .access = access_of(info, reg, ctx),
        .sender = info->si_code <= 0 ? info->si_pid : 0,
        .behavior = cell ? cell->behavior->name : NULL,
        .index = cell ? cell->index : 0,
        .handler = ctx ? tr_ctx_handler(ctx) : NULL,
    };
}

/* --- the handler: may it? ---------------------------------------------------------------------------------------- */

static const char *consent(const siginfo_t *info, const troupe_ctx *ctx)
{
    if (info->si_code <= 0)
        return "it was sent, nothing faulted";
    if (info->si_signo == SIGBUS && (info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO))
        return "memory is broken";
    if (!ctx)
        return "it is not on a worker of a runtime";
    if (!ctx->rt->options.recover_faults)
        return "the runtime's options do not say recover_faults";
    if (faults.impossible)
        return faults.impossible;
    if (ctx->cleaning)
        return "a deferred call, a release or a drop ran: they cannot be given up half-way";
    if (!tr_ctx_guarded(ctx) || !ctx->cell || !ctx->boundary || !ctx->fault_site.map)
        return "no handler or callback of an actor ran";
    if (!ctx->cell->behavior->recover_faults)
        return "the behavior does not say recover_faults";
    return NULL;
}

static void take_registers(struct tr_unwind *u, const greg_t *reg, const struct tr_fault_site *site)
{
    static const int order[TR_REG_COUNT] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                            REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    for (unsigned i = 0; i < TR_REG_COUNT; i++)
        u->reg[i] = (uintptr_t)reg[order[i]];
    u->valid = (1u << TR_REG_COUNT) - 1;
    u->low = site->stack_low;
    u->high = site->stack_high;
}

/* Fills the context's fault, whatever comes of it. */
static const char *judge(troupe_ctx *ctx, const struct tr_fault_facts *facts, const ucontext_t *uc)
{
    struct tr_fault *fault = &ctx->fault;
    struct tr_classify c = {
        .boundary = (uintptr_t)ctx->boundary,
        .address = facts->address,
        .address_known = facts->address_known,
        .frames = ctx->panic.frames,
        .frames_max = TROUPE_CRASH_FRAMES,
    };
    take_registers(&c.at, uc->uc_mcontext.gregs, &ctx->fault_site);
    const char *why = tr_classify(&c);
    fault->signal = facts->signal;
    fault->code = facts->code;
    fault->address = facts->address;
    fault->pc = facts->pc;
    ctx->panic.frames_count = c.frames_count;
    ctx->fault_site.landing_sp = c.landing_sp;
    return why;
}

/* Counts this recovery. False: it is one too many. The ring's slot holds when the one RECOVERIES_MAX before was. */
static bool within_limit(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t n = ck_pr_faa_64(&faults.recoveries, 1);
    uint64_t before = ck_pr_fas_64(&faults.recent[n % RECOVERIES_MAX], ns);
    return before == 0 || (before < ns && ns - before > faults.window_ns);
}

/* --- the handler: what it does ----------------------------------------------------------------------------------- */

static void redirect(const struct tr_fault_site *site, ucontext_t *uc)
{
    greg_t *reg = uc->uc_mcontext.gregs;
    uintptr_t sp = (site->landing_sp & ~(uintptr_t)15) - sizeof(uintptr_t); /* as after a call */
    reg[REG_RIP] = (greg_t)(uintptr_t)land;
    reg[REG_RSP] = (greg_t)sp;
    reg[REG_EFL] &= ~(greg_t)(EFLAGS_DIRECTION | EFLAGS_ALIGNMENT);
}

/* To who handled the signal before us. With nobody there the default action is set up and happens when we return: what
 * faulted faults again, with the true registers and stack in the core; what was sent is sent again. */
static void chain(int signal, siginfo_t *info, void *uc)
{
    const struct sigaction *previous = &faults.previous[index_of(signal)];
    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(signal, info, uc);
        return;
    }
    if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
        previous->sa_handler(signal);
        return;
    }
    if (previous->sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    sigaction(signal, previous, NULL);
    if (info->si_code <= 0)
        raise(signal); /* blocked until we return */
}

static bool somebody_before_us(int signal)
{
    const struct sigaction *previous = &faults.previous[index_of(signal)];
    return previous->sa_flags & SA_SIGINFO || (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN);
}

/* Faults elsewhere in the program may be a handler's daily bread: then they are not ours to report. */
static void report(const struct tr_fault_facts *facts, const troupe_ctx *ctx, const char *why)
{
    if (!ctx && somebody_before_us(facts->signal))
        return;
    if (ck_pr_faa_32(&faults.reports, 1) < REPORTS_MAX)
        tr_fault_report(facts, why);
}

static troupe_ctx *running_context(void)
{
    struct tr_worker *worker = tr_worker_self();
    return worker ? tr_worker_user(worker) : NULL;
}

static void on_fault(int signal, siginfo_t *info, void *arg)
{
    int saved_errno = errno;
    ucontext_t *uc = arg;
    troupe_ctx *ctx = running_context();
    struct tr_fault_facts facts = facts_of(info, uc, ctx);
    const char *why = consent(info, ctx);
    if (!why)
        why = judge(ctx, &facts, uc);
    if (!why && !within_limit()) {
        tr_fault_report(&facts, "more than 16 faults were recovered in 10 s, the program is broken");
        abort();
    }
    if (!why) {
        tr_fault_describe(&facts, ctx->panic.text, sizeof ctx->panic.text);
        redirect(&ctx->fault_site, uc);
    } else {
        report(&facts, ctx, why);
        chain(signal, info, uc);
    }
    errno = saved_errno;
}

/* --- installation ------------------------------------------------------------------------------------------------ */

static void install_handlers(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = on_fault;
    sigfillset(&action.sa_mask);
    for (unsigned i = 0; i < SIGNALS; i++) {
        if (faults.in_chain[i])
            continue; /* somebody has put theirs over ours and will call it: on top of theirs it would be a circle */
        sigaction(signals[i], NULL, &faults.previous[i]);
        sigaction(signals[i], &action, NULL);
        faults.in_chain[i] = true;
    }
}

static void remove_handlers(void)
{
    for (unsigned i = 0; i < SIGNALS; i++) {
        struct sigaction now;
        sigaction(signals[i], NULL, &now);
        if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fault)
            continue;
        sigaction(signals[i], &faults.previous[i], NULL);
        faults.in_chain[i] = false;
    }
}

void tr_fault_install(struct tr_log *log)
{
    pthread_mutex_lock(&faults.lock);
    if (faults.installed++ == 0) {
        faults.impossible = tr_classify_prepare();
        tr_unwind_warm_up();
        install_handlers();
    }
    if (faults.impossible)
        tr_log_line(log, TROUPE_LOG_WARN, "fault", "hardware faults will not be recovered: %s", faults.impossible);
    pthread_mutex_unlock(&faults.lock);
}

void tr_fault_uninstall(void)
{
    pthread_mutex_lock(&faults.lock);
    TR_ASSERT(faults.installed > 0);
    if (--faults.installed == 0)
        remove_handlers();
    pthread_mutex_unlock(&faults.lock);
}

static int find_stack(struct tr_fault_site *site)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    int error = pthread_getattr_np(pthread_self(), &attr);
    if (error)
        return -error;
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    site->stack_low = (uintptr_t)low;
    site->stack_high = (uintptr_t)low + size;
    return 0;
}

int tr_fault_attach(struct tr_fault_site *site)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (ALTERNATE_SIZE + getauxval(AT_MINSIGSTKSZ) + page - 1) & ~(page - 1);
    int status = find_stack(site);
    if (status < 0)
        return status;
    char *map = mmap(NULL, page + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return -errno;
    stack_t stack = {.ss_sp = map + page, .ss_size = size}, previous;
    if (mprotect(map + page, size, PROT_READ | PROT_WRITE) < 0 || sigaltstack(&stack, &previous) < 0) {
        status = -errno;
        munmap(map, page + size);
        return status;
    }
    __asm__ volatile("fnstcw %0\n\tstmxcsr %1" : "=m"(site->x87), "=m"(site->mxcsr));
    site->previous_sp = previous.ss_sp;
    site->previous_size = previous.ss_size;
    site->previous_flags = previous.ss_flags;
    site->map_size = page + size;
    site->map = map;
    return 0;
}

void tr_fault_detach(struct tr_fault_site *site)
{
    if (!site->map)
        return;
    stack_t previous = {
        .ss_sp = site->previous_sp, .ss_size = site->previous_size, .ss_flags = site->previous_flags & ~SS_ONSTACK};
    sigaltstack(&previous, NULL);
    munmap(site->map, site->map_size);
    site->map = NULL;
}

void tr_fault_limit_window(uint64_t ns)
{
    faults.window_ns = ns;
}

bool tr_fault_tainted(void)
{
    return ck_pr_load_64(&faults.recoveries) > 0;
}

#else

#include "runtime/log.h"

void tr_fault_install(struct tr_log *log)
{
    tr_log_line(log, TROUPE_LOG_WARN, "fault",
                "hardware faults will not be recovered: that is only done on x86-64 with glibc 2.35");
}

void tr_fault_uninstall(void) {}

int tr_fault_attach(struct tr_fault_site *site)
{
    (void)site;
    return 0;
}

void tr_fault_detach(struct tr_fault_site *site)
{
    (void)site;
}

bool tr_fault_tainted(void)
{
    return false;
}

void tr_fault_limit_window(uint64_t ns)
{
    (void)ns;
}

#endif
