/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the processes that a test starts and the folder they work in: whatever becomes of the test, both are gone with
 * it. A Criterion test may call it; what goes wrong fails that test. Times are milliseconds, and all waiting is
 * bounded. It is not a shell, and knows no program. */
#ifndef TR_TESTS_SUPPORT_PROCESS_H
#define TR_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { PATIENCE_MS = 20000 }; /* for what is due at once: only a broken build waits so long */

/* A child. Everything that it prints, to either stream, goes to the file output. */
struct process {
    pid_t pid; /* 0: there is none */
    int pidfd;
    char output[128];
};

/* Limits that the child gets before it becomes its program; 0: as they are. */
struct process_limits {
    rlim_t files;     /* RLIMIT_NOFILE, soft and hard */
    rlim_t file_size; /* RLIMIT_FSIZE, soft; SIGXFSZ is ignored, so that a write says EFBIG */
};

/* scratch - this test's own new folder, removed when the test's process ends, however it ends. */
const char *scratch(void);

/* scratch_path - "scratch/name"; the caller's to free. */
char *scratch_path(const char *name);

/* process_start - argv[0] is looked up in PATH when it has no slash; limits: NULL for none. */
struct process process_start(char *const argv[], const struct process_limits *limits);

/* process_wait - until it has ended; returns the wait status, or fails the test after ms. The process is gone then. */
int process_wait(struct process *p, int ms);

/* process_stop - send a signal and wait. */
int process_stop(struct process *p, int signal, int ms);

/* process_alive - has it not ended yet? */
bool process_alive(const struct process *p);

/* process_stays_alive - watch it for ms; false as soon as it has ended. */
bool process_stays_alive(const struct process *p, int ms);

/* process_await - wait until what it printed holds the text; false when it ended without. Fails the test after ms. */
bool process_await(const struct process *p, const char *text, int ms);

/* process_printed - all that it has printed so far; the caller's to free. */
char *process_printed(const struct process *p);

/* process_run - start, wait, and hand out what it printed (the caller's to free; printed may be NULL). Returns the exit
 * status, or 128 + the signal that ended it. */
int process_run(char *const argv[], const struct process_limits *limits, char **printed, int ms);

/* What the kernel knows of a process. */
size_t process_resident(pid_t pid);             /* bytes */
unsigned process_fds(pid_t pid);                /* open descriptors */
unsigned long long process_switches(pid_t pid); /* context switches of all its tasks, of either kind */

/* now_ms - the monotonic clock. */
int64_t now_ms(void);

/* drill - the size of a drill: the small one, or under TROUPE_DRILL=full the full one. */
unsigned drill(unsigned small, unsigned full);

#endif
