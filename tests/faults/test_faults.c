/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a hardware fault, seen from outside: each case is a victim of its own (victim.c), which either
 * goes on, the actor restarted, or dies by the signal that it should die by, with a report. A victim that hangs is a
 * failure: it has an alarm of its own. It does not look inside: the walk over the stack is in test_unwind.c. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/fault_support.h"
#include "tests/support/process.h"

/* Where a case cannot be had. */
enum {
    ANYWHERE = 0,
    NOT_ASAN = 1, /* AddressSanitizer's own code is in the way, or it finds the error first and exits */
    NOT_TSAN = 2, /* the same of ThreadSanitizer */
    NOT_SANITIZED = NOT_ASAN | NOT_TSAN,
};

struct outcome {
    int status; /* as wait gives it */
    char *text;
};

struct expected {
    const char *name;
    int signal; /* that it ends by; 0: it goes on */
    const char *text;
    unsigned not_in;
};

/* A sanitizer handles these signals itself, unless it is told not to. */
static void leave_signals_to_us(void)
{
    static const char *const variables[] = {"ASAN_OPTIONS", "TSAN_OPTIONS"};
    char options[1024];
    for (unsigned i = 0; i < 2; i++) {
        const char *given = getenv(variables[i]);
        snprintf(options, sizeof options,
                 "%s:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:detect_leaks=0",
                 given ? given : "");
        setenv(variables[i], options, 1);
    }
}

static struct process start(const char *program, const char *name, const char *way)
{
    char path[512], case_name[64], way_name[64];
    snprintf(path, sizeof path, "%s/tests/faults/%s", TROUPE_BUILD_DIR, program);
    snprintf(case_name, sizeof case_name, "%s", name);
    snprintf(way_name, sizeof way_name, "%s", way);
    char *argv[] = {path, case_name, way_name, NULL};
    return process_start(argv, NULL);
}

static struct outcome finish(struct process *p)
{
    struct outcome o = {.status = process_wait(p, 3 * PATIENCE_MS)};
    o.text = process_printed(p);
    return o;
}

static struct outcome run(const char *program, const char *name, const char *way)
{
    struct process p = start(program, name, way);
    return finish(&p);
}

static bool died_by(const struct outcome *o, int signal)
{
    return WIFSIGNALED(o->status) && WTERMSIG(o->status) == signal;
}

static bool went_on(const struct outcome *o)
{
    return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0 && strstr(o->text, "end 0");
}

static bool says(const struct outcome *o, const char *text)
{
    return strstr(o->text, text) != NULL;
}

static bool says_once(const struct outcome *o, const char *text)
{
    const char *first = strstr(o->text, text);
    return first && !strstr(first + 1, text);
}

static unsigned here(void)
{
    return (TR_FAULTS_ASAN ? NOT_ASAN : 0u) | (TR_FAULTS_TSAN ? NOT_TSAN : 0u);
}

static void check(const char *program, const struct expected *e)
{
    if (e->not_in & here()) {
        fprintf(stderr, "%s: left out, this sanitizer's own code is in the way\n", e->name);
        return;
    }
    struct outcome o = run(program, e->name, "plain");
    bool ended = e->signal ? died_by(&o, e->signal) : went_on(&o);
    cr_expect(ended, "%s %s: wait status %#x\n%s", program, e->name, (unsigned)o.status, o.text);
    cr_expect(says(&o, e->text), "%s %s did not say: %s\n%s", program, e->name, e->text, o.text);
    if (e->signal == 0)
        cr_expect(says(&o, "cause=2") && says(&o, "tainted=1 handler=on_fault") &&
                      says(&o, "pong fresh=1 incarnation=2") && says(&o, "recovered=1 crashes=1"),
                  "%s %s:\n%s", program, e->name, o.text);
    free(o.text);
}

/* clang links its sanitizers into the program, malloc, qsort and all. */
#if defined(__clang__) && (TR_FAULTS_ASAN || TR_FAULTS_TSAN)
#define SANITIZER_INSIDE 1
#else
#define SANITIZER_INSIDE 0
#endif

#define NEEDS_RECOVERY()                                                                                               \
    do {                                                                                                               \
        if (!TR_FAULTS)                                                                                                \
            cr_skip_test("faults are not recovered on this machine");                                                  \
        if (SANITIZER_INSIDE)                                                                                          \
            cr_skip_test("clang's sanitizer is part of the program, where nothing is recovered");                      \
    } while (0)

TestSuite(faults, .init = leave_signals_to_us);

Test(faults, in_an_actors_own_code_become_crashes)
{
    static const struct expected cases[] = {
        {"null_read", 0, "near=1 frames=1", ANYWHERE},
        {"null_write", 0, "a write to address 0x10 (SIGSEGV)", ANYWHERE},
        {"deep_read", 0, "signal=11 code=1 address=0x10", ANYWHERE},
        {"not_canonical", 0, "that the CPU did not tell (SIGSEGV)", NOT_SANITIZED},
        {"aligned_frame", 0, "a read of address 0x10 (SIGSEGV)", ANYWHERE},
        {"divide", 0, "signal=8 code=1", ANYWHERE},
        {"illegal", 0, "signal=4", ANYWHERE},
        {"truncated", 0, "signal=7 code=2", ANYWHERE},
    };
    NEEDS_RECOVERY();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim", &cases[i]);
}

Test(faults, in_libcs_leaves_and_jumps_to_nowhere_become_crashes)
{
    static const struct expected cases[] = {
        {"copy_bad", 0, "at libc.so.6+", NOT_SANITIZED},
        {"length_bad", 0, "at libc.so.6+", NOT_SANITIZED},
        {"call_bad", 0, "a jump to address 0x10 (SIGSEGV)", ANYWHERE},
        {"call_data", 0, "a jump to address 0x", ANYWHERE},
    };
    NEEDS_RECOVERY();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim", &cases[i]);
}

Test(faults, stack_overflow_becomes_a_crash)
{
    static const struct expected cases[] = {
        {"small_frames", 0, "stack overflow", NOT_TSAN}, /* its shadow of the stack ends at 65,536 frames */
        {"large_frames", 0, "stack overflow", ANYWHERE},
    };
    NEEDS_RECOVERY();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim", &cases[i]);
}

Test(faults, leave_floating_point_and_direction_as_they_were)
{
    static const struct expected odd = {"odd_machine", 0, "machine mxcsr=1f80 x87=37f df=0", ANYWHERE};
    NEEDS_RECOVERY();
    check("victim", &odd);
}

Test(faults, in_libraries_and_in_the_runtime_end_the_process)
{
    static const struct expected cases[] = {
        {"print_bad", SIGSEGV, "not recovered: it is in", NOT_ASAN},
        {"put_bad", SIGSEGV, "not recovered: it is in", NOT_ASAN},
        {"sort_bad", SIGSEGV, "not recovered: a library called that code", ANYWHERE},
        {"free_bad", SIGSEGV, "not recovered: it is in", NOT_SANITIZED},
        {"tell_bad", SIGSEGV, "not recovered: it is in", NOT_ASAN},
        {"api_bad", SIGSEGV, "not recovered: it is in the runtime's own code", ANYWHERE},
        {"handler_bad", SIGSEGV, "not recovered: the program jumped to where no code is", ANYWHERE},
        {"hook_bad", SIGSEGV, "not recovered: the runtime called that code from inside", ANYWHERE},
    };
    NEEDS_RECOVERY();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim", &cases[i]);
}

/* glibc finds the damage, or faults with its lock in hand: either way it ends, and above all it does not hang. */
Test(faults, a_smashed_heap_ends_the_process)
{
    static const char *const cases[] = {"smash_size", "smash_links"};
    NEEDS_RECOVERY();
    if (here())
        cr_skip_test("the sanitizer has a heap of its own");
    for (size_t i = 0; i < 2; i++) {
        struct outcome o = run("victim", cases[i], "plain");
        cr_expect(died_by(&o, SIGABRT) || died_by(&o, SIGSEGV), "%s: %#x\n%s", cases[i], (unsigned)o.status, o.text);
        cr_expect(!says(&o, "pong"), "%s: %s", cases[i], o.text);
        free(o.text);
    }
}

Test(faults, what_cannot_be_followed_ends_the_process)
{
    static const struct expected cases[] = {
        {"lost_stack", SIGILL, "not recovered: the stack pointer is not on the worker's stack", ANYWHERE},
        {"smashed_stack", SIGILL, "not recovered: the stack leads to where no code is", ANYWHERE},
        {"other_thread", SIGSEGV, "not recovered: it is not on a worker", ANYWHERE},
        {"defer_it", SIGSEGV, "not recovered: a deferred call, a release or a drop ran", ANYWHERE},
    };
    NEEDS_RECOVERY();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim", &cases[i]);
}

Test(faults, signals_that_are_sent_end_the_process)
{
    static const struct expected raised = {"raise_it", SIGSEGV, "it was sent, nothing faulted", ANYWHERE};
    NEEDS_RECOVERY();
    check("victim", &raised);

    struct process p = start("victim", "await_signal", "plain");
    cr_assert(process_await(&p, "ready", PATIENCE_MS));
    kill(p.pid, SIGFPE);
    struct outcome o = finish(&p);
    cr_expect(died_by(&o, SIGFPE), "%#x\n%s", (unsigned)o.status, o.text);
    char sender[32];
    snprintf(sender, sizeof sender, ", sender %d", getpid());
    cr_expect(says(&o, sender), "%s", o.text);
    free(o.text);
}

Test(faults, abort_is_never_recovered)
{
    struct outcome o = run("victim", "abort_it", "plain");
    cr_expect(died_by(&o, SIGABRT), "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, both_must_consent)
{
    NEEDS_RECOVERY();
    struct outcome o = run("victim", "null_read", "without_behavior");
    cr_expect(died_by(&o, SIGSEGV) && says(&o, "in actor child#") && says(&o, "handler on_fault") &&
                  says(&o, "the behavior does not say recover_faults"),
              "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "null_read", "without_runtime"); /* nobody asked for handlers */
    cr_expect(died_by(&o, SIGSEGV) && !says(&o, "fatal"), "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, runtimes_consent_each_for_itself)
{
    NEEDS_RECOVERY();
    struct outcome o = run("victim", "null_read", "beside_reluctant");
    cr_expect(went_on(&o) && says(&o, "one: handler default") && says(&o, "recovered=1") &&
                  says(&o, "between: handler default"),
              "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "null_read", "beside_consenting");
    cr_expect(died_by(&o, SIGSEGV) && says(&o, "one: handler other") &&
                  says(&o, "the runtime's options do not say recover_faults"),
              "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "null_read",
            "beside_and_beside"); /* the first one's end must not take the other's handlers away */
    cr_expect(went_on(&o) && says(&o, "between: handler other") && says(&o, "after: handler default"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "null_read", "twice");
    cr_expect(went_on(&o) && says(&o, "between: handler default"), "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, an_earlier_handler_gets_what_is_not_recovered)
{
    NEEDS_RECOVERY();
    struct outcome o = run("victim", "null_read", "earlier");
    cr_expect(went_on(&o) && !says(&o, "earlier handler\n") && says(&o, "after: handler earlier"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "sort_bad", "earlier");
    cr_expect(died_by(&o, SIGSEGV) && says(&o, "earlier handler\n") && says(&o, "a library called that code"),
              "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "other_thread", "earlier"); /* no actor's: then it is the earlier handler's alone */
    cr_expect(died_by(&o, SIGSEGV) && says(&o, "earlier handler\n") && !says(&o, "fatal"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, a_fault_in_a_handler_of_faults_ends_the_process)
{
    NEEDS_RECOVERY();
    struct outcome o = run("victim", "sort_bad", "faulty_earlier");
    cr_expect(died_by(&o, SIGSEGV) && says(&o, "a library called that code") && says_once(&o, "fatal"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, too_many_end_the_process)
{
    NEEDS_RECOVERY();
    struct outcome o = run("victim", "null_read", "sixteen");
    cr_expect(went_on(&o) && says(&o, "recovered=16 crashes=16"), "%#x\n%s", (unsigned)o.status, o.text);
    free(o.text);
    o = run("victim", "null_read", "seventeen");
    cr_expect(died_by(&o, SIGABRT) && says(&o, "more than 16 faults were recovered in 10 s"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, a_thousand_over_time_are_recovered)
{
    NEEDS_RECOVERY();
    static const char *const cases[] = {"null_read", "divide", "call_bad"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome o = run("victim", cases[i], "many");
        cr_expect(went_on(&o) && says(&o, "pong fresh=1 incarnation=1001") && says(&o, "recovered=1000 crashes=1000"),
                  "%s: %#x\n%s", cases[i], (unsigned)o.status, o.text);
        free(o.text);
    }
}

/* --- other ways to link ------------------------------------------------------------------------------------------ */

static bool built(const char *program)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/faults/%s", TROUPE_BUILD_DIR, program);
    return access(path, X_OK) == 0;
}

Test(faults, the_shared_library_is_told_from_the_program)
{
    static const struct expected cases[] = {
        {"null_read", 0, "near=1 frames=1", ANYWHERE},
        {"small_frames", 0, "stack overflow", ANYWHERE},
        {"call_bad", 0, "a jump to address 0x10", ANYWHERE},
        {"sort_bad", SIGSEGV, "not recovered: a library called that code", ANYWHERE},
        {"api_bad", SIGSEGV, "not recovered: it is in the runtime's own code", ANYWHERE},
        {"hook_bad", SIGSEGV, "not recovered: the runtime called that code from inside", ANYWHERE},
    };
    NEEDS_RECOVERY();
    if (!built("victim_shared"))
        cr_skip_test("this build has no shared library");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check("victim_shared", &cases[i]);
}

/* Where code cannot be told apart nothing is recovered, and a line in the log says so at the start. */
static void refuses_all(const char *program, const char *why)
{
    struct outcome o = run(program, "null_read", "plain");
    char line[256];
    snprintf(line, sizeof line, "log hardware faults will not be recovered: %s", why);
    cr_expect(died_by(&o, SIGSEGV) && says(&o, line), "%s: %#x\n%s", program, (unsigned)o.status, o.text);
    snprintf(line, sizeof line, ": not recovered: %s", why);
    cr_expect(says(&o, line), "%s:\n%s", program, o.text);
    free(o.text);
    o = run(program, "print_bad", "plain");
    cr_expect(died_by(&o, SIGSEGV) && !says(&o, "pong"), "%s: %#x\n%s", program, (unsigned)o.status, o.text);
    free(o.text);
}

Test(faults, nothing_is_recovered_with_a_static_libc)
{
    NEEDS_RECOVERY();
    if (!built("victim_static"))
        cr_skip_test("there is no static libc, or this is a build with a sanitizer");
    refuses_all("victim_static", "the program is linked statically");
}

Test(faults, nothing_is_recovered_without_the_runtimes_section)
{
    NEEDS_RECOVERY();
    if (!built("victim_bare"))
        cr_skip_test("only built without sanitizers");
    refuses_all("victim_bare", "the runtime's code cannot be told from the program's");
}

Test(faults, nothing_is_recovered_with_a_malloc_of_the_programs_own)
{
    NEEDS_RECOVERY();
    if (!built("victim_malloc"))
        cr_skip_test("only built without sanitizers");
    refuses_all("victim_malloc", "the program has a malloc of its own");
}

Test(faults, nothing_is_recovered_with_a_sanitizer_inside)
{
    if (!TR_FAULTS || !SANITIZER_INSIDE)
        cr_skip_test("for clang's sanitizers");
    refuses_all("victim", "the program has a malloc of its own");
}

/* --- sanitizers -------------------------------------------------------------------------------------------------- */

/* The frames that were abandoned are clean afterwards: what runs there next is not taken for an overflow. And what
 * we do not recover gets the sanitizer's own report. */
Test(faults, address_sanitizer_goes_on)
{
    NEEDS_RECOVERY();
    if (!TR_FAULTS_ASAN)
        cr_skip_test("for AddressSanitizer");
    static const char *const cases[] = {"poison", "small_frames"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome o = run("victim", cases[i], "plain");
        cr_expect(went_on(&o) && !says(&o, "AddressSanitizer"), "%s: %#x\n%s", cases[i], (unsigned)o.status, o.text);
        free(o.text);
    }
    setenv("ASAN_OPTIONS", "handle_segv=1", 1);
    struct outcome o = run("victim", "sort_bad", "plain");
    cr_expect(!went_on(&o) && says(&o, "AddressSanitizer: SEGV") && says(&o, "a library called that code"), "%#x\n%s",
              (unsigned)o.status, o.text);
    free(o.text);
}
