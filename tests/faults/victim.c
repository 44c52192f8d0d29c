/* SPDX-License-Identifier: Apache-2.0 */
/* The program that the fault tests ruin: `victim CASE` runs a root and a child, has the child fault once in the way
 * named, and tells on stdout what became of it. Built with the static library, the shared one, and with a static
 * libc. Its faults are faults of the machine, so it is compiled without UndefinedBehaviorSanitizer. It is no test:
 * test_faults.c says what has to come of each case. */
#include <troupe/troupe.h>

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef VICTIM_INTERNALS
#include "runtime/fault.h"
#endif

#define NOINLINE __attribute__((noinline))
/* Keeps what comes before it from becoming a tail call, which would leave no frame of ours. */
#define STAY() __asm__ volatile("" : : : "memory")
/* Has the compiler believe that somebody looks at it. */
#define USE(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

enum { FAULT, PING, DONE, NEXT, WAIT };

struct state {
    uint64_t fresh; /* zeroed before every incarnation */
};

struct victim_case {
    const char *name;
    void (*fault)(troupe_ctx *ctx);
};

static const struct victim_case *chosen;
static unsigned wanted = 1, per_window = 16; /* faults in all, and between two pauses */
static volatile uintptr_t bad = 0x10;        /* the compiler must not know that it is */
static volatile size_t some = 64;
static char *volatile buffer;

/* --- recovered --------------------------------------------------------------------------------------------------- */

static NOINLINE void null_read(troupe_ctx *ctx)
{
    (void)ctx;
    (void)*(volatile int *)bad;
    STAY();
}

static NOINLINE void null_write(troupe_ctx *ctx)
{
    (void)ctx;
    *(volatile int *)bad = 1;
    STAY();
}

static NOINLINE void deeper(unsigned depth)
{
    if (depth > 0)
        deeper(depth - 1);
    else
        null_read(NULL);
    STAY();
}

static void deep_read(troupe_ctx *ctx)
{
    (void)ctx;
    deeper(10);
}

static NOINLINE void copy_bad(troupe_ctx *ctx)
{
    (void)ctx;
    memcpy(buffer, (const void *)bad, some);
    STAY();
}

static NOINLINE void length_bad(troupe_ctx *ctx)
{
    (void)ctx;
    some = strlen((const char *)bad);
    STAY();
}

static NOINLINE void call_bad(troupe_ctx *ctx)
{
    ((void (*)(troupe_ctx *))bad)(ctx);
    STAY();
}

static NOINLINE void call_data(troupe_ctx *ctx)
{
    static char data[64];
    bad = (uintptr_t)data;
    call_bad(ctx);
    STAY();
}

static NOINLINE void not_canonical(troupe_ctx *ctx)
{
    bad = UINT64_C(0xdead000000000000);
    null_read(ctx);
    STAY();
}

#ifdef __x86_64__
static NOINLINE void divide(troupe_ctx *ctx)
{
    unsigned high = 0, low = 1;
    (void)ctx;
    __asm__ volatile("idivl %2" : "+d"(high), "+a"(low) : "r"((unsigned)(bad - bad)));
}

static NOINLINE void illegal(troupe_ctx *ctx)
{
    (void)ctx;
    __asm__ volatile("ud2");
}

/* Faults with floating point and the direction flag set up as no code of ours expects them. */
static NOINLINE void odd_machine(troupe_ctx *ctx)
{
    unsigned mxcsr = 0xffc0;     /* flush to zero, round to zero, all masked */
    unsigned short x87 = 0x007f; /* single precision */
    (void)ctx;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1\n\tstd\n\tud2" : : "m"(mxcsr), "m"(x87));
}

/* The stack pointer is lost: nothing can be followed. */
static NOINLINE void lost_stack(troupe_ctx *ctx)
{
    (void)ctx;
    __asm__ volatile("movq $0x10, %rsp\n\tud2");
}

/* The return address is smashed, and then it faults: the walk must refuse and not fault itself. */
static NOINLINE void smashed_stack(troupe_ctx *ctx)
{
    (void)ctx;
    void **frame = __builtin_frame_address(0);
    frame[1] = (void *)0x1234;
    frame[0] = (void *)0x4321;
    __asm__ volatile("ud2");
}
#endif

static NOINLINE void truncated(troupe_ctx *ctx)
{
    char path[] = "/tmp/troupe-fault-XXXXXX";
    int fd = mkstemp(path);
    (void)ctx;
    unlink(path);
    if (fd < 0 || ftruncate(fd, 4096) < 0)
        abort();
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || ftruncate(fd, 0) < 0)
        abort();
    close(fd);
    (void)page[10];
    STAY();
}

static NOINLINE int overflow_small(int depth)
{
    volatile int here = depth;
    return some > 0 ? overflow_small(here + 1) + here : 0;
}

static NOINLINE int overflow_large(int depth)
{
    volatile char room[48 << 10];
    room[0] = (char)depth; /* the far end: it steps over whatever is smaller than it */
    return some > 0 ? overflow_large(depth + 1) + room[0] : 0;
}

static void small_frames(troupe_ctx *ctx)
{
    (void)ctx;
    some = (size_t)overflow_small(1);
    STAY();
}

/* Memory right below the stack's guard, as another thread's stack may be: who steps over the guard finds no fault
 * there. */
static void settle_below_stack(void)
{
    const size_t size = 2u << 20, page = 4096;
    pthread_attr_t attr;
    void *low;
    size_t stack_size, guard;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &stack_size);
    pthread_attr_getguardsize(&attr, &guard);
    pthread_attr_destroy(&attr);
    for (size_t at = page; at <= size; at += page) /* what is taken already is just as well */
        mmap((char *)low - guard - at, page, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
}

static void large_frames(troupe_ctx *ctx)
{
    (void)ctx;
    settle_below_stack();
    some = (size_t)overflow_large(1);
    STAY();
}

/* A frame that aligns its stack: its unwind rule is an expression. */
static NOINLINE void aligned_frame(troupe_ctx *ctx)
{
    char room[128] __attribute__((aligned(64)));
    USE(room);
    char *more = __builtin_alloca(some);
    USE(more);
    null_read(ctx);
    USE(more);
    STAY();
}

/* Buffers with red zones at many depths, all abandoned at the fault; PING then uses the same stack. */
static NOINLINE void poison_deep(unsigned depth)
{
    char room[96];
    USE(room);
    room[depth] = 1;
    if (depth < 64)
        poison_deep(depth + 1);
    else
        null_read(NULL);
    USE(room);
    STAY();
}

static void poison(troupe_ctx *ctx)
{
    (void)ctx;
    poison_deep(0);
}

/* The same stretch of stack, as one array without red zones inside. */
static NOINLINE void walk_stack(void)
{
    volatile char room[16 << 10];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = (char)i;
}

/* --- refused ----------------------------------------------------------------------------------------------------- */

static NOINLINE void print_bad(troupe_ctx *ctx)
{
    (void)ctx;
    char text[64];
    snprintf(text, sizeof text, "%s", (const char *)bad);
    STAY();
}

static NOINLINE void put_bad(troupe_ctx *ctx)
{
    (void)ctx;
    fputs((const char *)bad, stdout);
    STAY();
}

static int compare_bad(const void *a, const void *b)
{
    (void)a, (void)b;
    null_read(NULL);
    return 0;
}

static NOINLINE void sort_bad(troupe_ctx *ctx)
{
    int numbers[4] = {3, 1, 2, 0};
    (void)ctx;
    qsort(numbers, 4, sizeof numbers[0], compare_bad);
    STAY();
}

static NOINLINE void free_bad(troupe_ctx *ctx)
{
    (void)ctx;
    free((void *)(bad + 0x1000));
    STAY();
}

/* A block's size is overwritten: glibc sees it and aborts. */
static NOINLINE void smash_size(troupe_ctx *ctx)
{
    (void)ctx;
    char *volatile block = malloc(2000);
    char *volatile next = malloc(2000);
    memset(block, 0x41, malloc_usable_size(block) + 8);
    free(next);
    free(block);
    STAY();
}

/* The links of free blocks are overwritten: malloc follows them, its lock in hand. */
static NOINLINE void smash_links(troupe_ctx *ctx)
{
    (void)ctx;
    char *volatile blocks[64];
    for (unsigned i = 0; i < 64; i++)
        blocks[i] = malloc(2000);
    for (unsigned i = 0; i < 64; i += 2)
        free(blocks[i]);
    for (unsigned i = 0; i < 64; i += 2)
        memset(blocks[i], 0x41, 64);
    for (unsigned i = 0; i < 1000; i++)
        buffer = malloc(2500);
    STAY();
}

static NOINLINE void tell_bad(troupe_ctx *ctx)
{
    troupe_tell(ctx, troupe_self(ctx), PING, (const void *)bad, some);
    STAY();
}

static NOINLINE void api_bad(troupe_ctx *ctx)
{
    (void)ctx;
    some = troupe_self((troupe_ctx *)bad).bits;
    STAY();
}

static void dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->reason == TROUPE_DEAD_NO_ACTOR)
        null_read(NULL);
    STAY();
}

/* The runtime calls user code back from inside of a function that user code called. */
static NOINLINE void hook_bad(troupe_ctx *ctx)
{
    troupe_tell(ctx, (troupe_addr){0}, FAULT, NULL, 0);
    STAY();
}

static void raise_it(troupe_ctx *ctx)
{
    (void)ctx;
    raise(SIGSEGV);
    puts("still here");
}

static void abort_it(troupe_ctx *ctx)
{
    (void)ctx;
    abort();
}

static void await_signal(troupe_ctx *ctx)
{
    (void)ctx;
    puts("ready");
    for (;;)
        pause();
}

static void deferred_bad(void *arg)
{
    null_read(arg);
    STAY();
}

static void defer_it(troupe_ctx *ctx)
{
    troupe_defer(ctx, deferred_bad, NULL);
    troupe_panic(ctx, "on purpose");
}

static void *fault_outside(void *arg)
{
    null_read(arg);
    return NULL;
}

static void other_thread(troupe_ctx *ctx)
{
    pthread_t thread;
    (void)ctx;
    pthread_create(&thread, NULL, fault_outside, NULL);
    pthread_join(thread, NULL);
}

#define CASE(fn)                                                                                                       \
    {                                                                                                                  \
#fn, fn                                                                                                        \
    }

static const struct victim_case cases[] = {
    CASE(null_read),     CASE(null_write),   CASE(deep_read),       CASE(copy_bad),
    CASE(length_bad),    CASE(call_bad),     CASE(call_data),       CASE(not_canonical),
    CASE(truncated),     CASE(small_frames), CASE(large_frames),    CASE(aligned_frame),
    CASE(poison),
#ifdef __x86_64__
    CASE(divide),        CASE(illegal),      CASE(odd_machine),     CASE(lost_stack),
    CASE(smashed_stack),
#endif
    CASE(print_bad),     CASE(put_bad),      CASE(sort_bad),        CASE(free_bad),
    CASE(smash_size),    CASE(smash_links),  CASE(tell_bad),        CASE(api_bad),
    CASE(hook_bad),      CASE(raise_it),     CASE(abort_it),        CASE(await_signal),
    CASE(defer_it),      CASE(other_thread), {"handler_bad", NULL}, /* the runtime itself calls a bad pointer */
};

/* --- the actors -------------------------------------------------------------------------------------------------- */

static void on_fault(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct state *state = self;
    (void)msg;
    state->fresh++;
    chosen->fault(ctx);
    puts("no fault");
}

static void print_machine(void)
{
#ifdef __x86_64__
    unsigned mxcsr;
    unsigned short x87;
    unsigned long flags;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1\n\tpushfq\n\tpopq %2" : "=m"(mxcsr), "=m"(x87), "=r"(flags));
    printf("machine mxcsr=%x x87=%x df=%lu\n", mxcsr & 0xffc0, x87, flags >> 10 & 1);
#endif
}

static void restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self;
    if (count % 16 != 1)
        return;
    print_machine();
    printf("crash cause=%d signal=%d code=%d address=%#lx near=%d frames=%d tainted=%d handler=%s\n", (int)crash->cause,
           crash->signal, crash->code, (unsigned long)crash->address,
           chosen->fault && crash->pc - (uintptr_t)chosen->fault<512, crash->frames_count> 0, crash->tainted,
           crash->handler);
    printf("text %s\n", crash->text);
}

static void on_ping(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct state *state = self;
    (void)msg;
    printf("pong fresh=%d incarnation=%u\n", state->fresh == 0, troupe_incarnation(ctx));
    walk_stack();
    char *block = malloc(3000); /* libc goes on working */
    snprintf(block, 3000, "%p", (void *)block);
    free(block);
    troupe_tell(ctx, troupe_parent(ctx), DONE, NULL, 0);
}

#define CHILD                                                                                                          \
    .name = "child", .state_size = sizeof(struct state), .restarted = restarted,                                       \
    .supervision = {.restarts = 64, .window_ns = TROUPE_MS(1)},                                                        \
    .handlers = {[FAULT] = {.name = "on_fault", .fn = on_fault, .size = 0},                                            \
                 [PING] = {.name = "on_ping", .fn = on_ping, .size = TROUPE_ANY_SIZE}}

static const troupe_behavior consenting = {CHILD, .recover_faults = true};
static const troupe_behavior reluctant = {CHILD};
static troupe_behavior ruined = {CHILD, .recover_faults = true};

struct root {
    troupe_addr child;
    unsigned faults;
};

static const troupe_behavior *child_behavior = &consenting;

static void next(troupe_ctx *ctx, struct root *root)
{
    unsigned now = wanted - root->faults < per_window ? wanted - root->faults : per_window;
    for (unsigned i = 0; i < now; i++)
        troupe_tell(ctx, root->child, FAULT, NULL, 0);
    root->faults += now;
    troupe_tell(ctx, root->child, PING, NULL, 0);
}

static int root_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    (void)args;
    root->child = troupe_spawn(ctx, child_behavior, NULL, NULL);
    next(ctx, root);
    return 0;
}

static void on_next(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    next(ctx, self);
}

static void on_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct root *root = self;
    (void)msg;
    if (root->faults < wanted)
        troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), NEXT, NULL, 0, NULL);
    else
        troupe_stop_runtime(ctx, 0);
}

static void root_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    troupe_stats stats;
    (void)self, (void)reason;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    printf("recovered=%llu crashes=%llu\n", (unsigned long long)stats.faults_recovered,
           (unsigned long long)stats.crashes);
}

static const troupe_behavior root_behavior = {
    .name = "root",
    .state_size = sizeof(struct root),
    .started = root_started,
    .stopped = root_stopped,
    .handlers = {[DONE] = {.name = "on_done", .fn = on_done}, [NEXT] = {.name = "on_next", .fn = on_next}},
};

static void print_log(void *arg, const troupe_log_record *record)
{
    (void)arg;
    printf("log %s\n", record->text);
}

#ifdef VICTIM_MALLOC
#define EXPORTED __attribute__((visibility("default")))

/* Stands for an allocator that is linked into the program. It is never empty and never frees. */
EXPORTED void *malloc(size_t size)
{
    static char heap[64 << 20];
    static size_t used;
    size_t at = __atomic_fetch_add(&used, (size + 31) & ~(size_t)15, __ATOMIC_RELAXED);
    return at + size < sizeof heap ? __builtin_assume_aligned(heap + at + (16 - (uintptr_t)(heap + at) % 16) % 16, 16)
                                   : NULL;
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* fresh memory is zero */
}

EXPORTED void *realloc(void *old, size_t size)
{
    void *fresh = malloc(size);
    return old && fresh ? memcpy(fresh, old, size) : fresh;
}

EXPORTED void free(void *block)
{
    (void)block;
}
#endif

/* --- ways to run ------------------------------------------------------------------------------------------------- */

static troupe_options consent(void)
{
    return (troupe_options){.workers = 1, .recover_faults = true, .log = print_log, .dead_letter = dead_letter};
}

static void earlier(int signal, siginfo_t *info, void *uc)
{
    static const char text[] = "earlier handler\n";
    (void)info, (void)uc;
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
        abort();
    struct sigaction standard = {.sa_flags = 0};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, NULL);
}

static void faulty_earlier(int signal)
{
    (void)signal;
    null_read(NULL);
}

static void say_handlers(const char *when, void (*expected)(int, siginfo_t *, void *))
{
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    printf("%s: handler %s\n", when,
           expected ? (now.sa_sigaction == expected ? "earlier" : "other")
                    : (now.sa_handler == SIG_DFL ? "default" : "other"));
}

static int run_plain(void)
{
    troupe_options options = consent();
    return troupe_run(&root_behavior, NULL, &options);
}

static int run_earlier(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = earlier;
    sigaction(SIGSEGV, &action, NULL);
    int status = run_plain();
    say_handlers("after", earlier);
    return status;
}

static int run_faulty_earlier(void)
{
    signal(SIGSEGV, faulty_earlier);
    return run_plain();
}

static int run_without_runtime(void)
{
    troupe_options options = consent();
    options.recover_faults = false;
    return troupe_run(&root_behavior, NULL, &options);
}

static int run_without_behavior(void)
{
    child_behavior = &reluctant;
    return run_plain();
}

static const troupe_behavior idle = {.name = "idle"};

/* Beside one runtime that consents, or that does not, the actors run in another one. */
static int run_beside(bool this_one)
{
    troupe_options options = consent(), other = consent();
    options.recover_faults = this_one;
    other.recover_faults = !this_one;
    troupe_runtime *rt;
    say_handlers("before", NULL);
    if (troupe_runtime_start(&rt, &idle, NULL, &other, NULL) != 0)
        return 1;
    say_handlers("one", NULL);
    int status = troupe_run(&root_behavior, NULL, &options);
    say_handlers("between", NULL);
    troupe_runtime_request_stop(rt);
    troupe_runtime_join(rt);
    say_handlers("after", NULL);
    return status;
}

static int run_beside_reluctant(void)
{
    return run_beside(true);
}

static int run_beside_consenting(void)
{
    return run_beside(false);
}

/* Two that consent; the actors' one ends first. */
static int run_beside_and_beside(void)
{
    troupe_options other = consent();
    troupe_runtime *rt;
    if (troupe_runtime_start(&rt, &idle, NULL, &other, NULL) != 0)
        return 1;
    int status = run_plain();
    say_handlers("between", NULL);
    troupe_runtime_request_stop(rt);
    troupe_runtime_join(rt);
    say_handlers("after", NULL);
    return status;
}

/* Two runtimes that consent, one after the other. */
static int run_twice(void)
{
    int status = run_plain();
    say_handlers("between", NULL);
    return status ? status : run_plain();
}

static int run_many(void)
{
#ifdef VICTIM_INTERNALS
    tr_fault_limit_window(TROUPE_MS(4));
#endif
    wanted = 1000;
    return run_plain();
}

/* Sixteen faults are within the limit of 10 s, one more is not. */
static int run_sixteen(void)
{
    wanted = 16;
    return run_plain();
}

static int run_seventeen(void)
{
    wanted = per_window = 17;
    return run_plain();
}

static const struct {
    const char *name;
    int (*run)(void);
} ways[] = {
    {"plain", run_plain},
    {"earlier", run_earlier},
    {"faulty_earlier", run_faulty_earlier},
    {"without_runtime", run_without_runtime},
    {"without_behavior", run_without_behavior},
    {"beside_reluctant", run_beside_reluctant},
    {"beside_consenting", run_beside_consenting},
    {"beside_and_beside", run_beside_and_beside},
    {"twice", run_twice},
    {"many", run_many},
    {"sixteen", run_sixteen},
    {"seventeen", run_seventeen},
};

int main(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none); /* dozens of tests die on purpose */
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    buffer = malloc(some);
    const char *way = argc > 2 ? argv[2] : "plain";
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(cases[i].name, argv[1]) == 0)
            chosen = &cases[i];
    if (!chosen)
        return 2;
    if (!chosen->fault) {
        ruined.handlers[FAULT].fn = (troupe_handler_fn *)bad;
        child_behavior = &ruined;
    }
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(ways[i].name, way) == 0) {
            int status = ways[i].run();
            printf("end %d\n", status);
            return status;
        }
    }
    return 2;
}
