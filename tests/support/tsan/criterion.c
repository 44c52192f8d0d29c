/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the tests of one program under ThreadSanitizer. Each test is a child process, as in Criterion: a crash or an
 * expected signal ends that test only, and the sanitizer's verdict is the child's exit status. An argument is a part of
 * the SUITE/NAME to run. Exit status: 0, 1 when a test failed. */
#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_FACTOR = 10, EXIT_FAILED = 101, EXIT_SKIPPED = 102 };

static struct tr_test *tests;
static atomic_bool failed; /* in the child: an expectation did not hold */

void tr_test_register(struct tr_test *test)
{
    struct tr_test **end = &tests;
    while (*end)
        end = &(*end)->next;
    *end = test;
}

void tr_test_failed(const char *file, int line, bool fatal, const char *what, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: does not hold: %s:", file, line, what);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    atomic_store(&failed, true);
    if (fatal)
        _exit(EXIT_FAILED);
}

void tr_test_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void tr_test_skip(const char *format, ...)
{
    va_list args;
    fputs("    skipped:", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(EXIT_SKIPPED);
}

/* A test's own options come before its suite's. */
static struct tr_test_options options_of(const struct tr_test *test)
{
    struct tr_test_options options = test->options;
    for (const struct tr_test *suite = tests; suite; suite = suite->next) {
        if (suite->name || strcmp(suite->suite, test->suite) != 0)
            continue;
        options.init = options.init ? options.init : suite->options.init;
        options.fini = options.fini ? options.fini : suite->options.fini;
        options.signal = options.signal ? options.signal : suite->options.signal;
        options.exit_code = options.exit_code ? options.exit_code : suite->options.exit_code;
        options.disabled = options.disabled || suite->options.disabled;
        options.timeout = options.timeout > 0 ? options.timeout : suite->options.timeout;
    }
    return options;
}

static _Noreturn void run_in_child(const struct tr_test *test, const struct tr_test_options *options)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (options->signal)
        signal(options->signal, SIG_DFL); /* the sanitizer's own handler would turn it into an exit */
    if (options->init)
        options->init();
    test->run();
    if (options->fini)
        options->fini();
    exit(atomic_load(&failed) ? EXIT_FAILED : 0); /* the sanitizer replaces 0 by its own status when it reported */
}

/* Waits for the child; kills it when the time is over. SIGCHLD is blocked in the parent. */
static bool wait_for(pid_t child, double seconds, int *status)
{
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    double left = seconds * TIMEOUT_FACTOR;
    struct timespec limit = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    bool in_time = true;
    while (waitpid(child, status, WNOHANG) == 0) {
        if (sigtimedwait(&chld, NULL, seconds > 0 ? &limit : NULL) < 0 && errno == EAGAIN) {
            in_time = false;
            kill(child, SIGKILL);
            waitpid(child, status, 0);
            break;
        }
    }
    return in_time;
}

static bool as_expected(int status, const struct tr_test_options *options)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == options->signal;
    return options->signal == 0 && WEXITSTATUS(status) == options->exit_code;
}

static void print_verdict(const char *verdict, const struct tr_test *test, int status)
{
    printf("[%s] %s/%s", verdict, test->suite, test->name);
    if (strcmp(verdict, "FAIL") == 0 && WIFSIGNALED(status))
        printf(" (signal %d: %s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (strcmp(verdict, "FAIL") == 0)
        printf(" (exit status %d%s)", WEXITSTATUS(status),
               WEXITSTATUS(status) == 66 ? ", a ThreadSanitizer report" : "");
    putchar('\n');
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failures = 0, skipped = 0;
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);

    for (const struct tr_test *test = tests; test; test = test->next) {
        char title[256];
        if (!test->name)
            continue;
        snprintf(title, sizeof title, "%s/%s", test->suite, test->name);
        if (argc > 1 && !strstr(title, argv[1]))
            continue;
        const struct tr_test_options options = options_of(test);
        int status = 0;
        fflush(NULL);
        pid_t child = options.disabled ? 0 : fork();
        if (child < 0) {
            perror("fork");
            return 1;
        }
        if (options.disabled) {
            status = EXIT_SKIPPED << 8;
        } else if (child == 0) {
            run_in_child(test, &options);
        } else if (!wait_for(child, options.timeout, &status)) {
            printf("    ran longer than %d times its %g s\n", TIMEOUT_FACTOR, options.timeout);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
            skipped++;
            print_verdict("SKIP", test, status);
        } else if (as_expected(status, &options)) {
            passed++;
            print_verdict("PASS", test, status);
        } else {
            failures++;
            print_verdict("FAIL", test, status);
        }
    }
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n", passed + failures, passed,
           failures);
    if (skipped)
        printf("skipped: %u\n", skipped);
    return failures ? 1 : 0;
}
