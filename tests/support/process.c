/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

unsigned drill(unsigned small, unsigned full)
{
    const char *size = getenv("TROUPE_DRILL");
    return size && strcmp(size, "full") == 0 ? full : small;
}

/* --- the folder --- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

/* A process that lives until the test's process has closed the pipe by ending, and then removes the folder. Servers
 * that die of the same event may still write for a moment. */
static void sweep(int pipe_end, const char *folder)
{
    char byte;
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (pipe_end > 0)
        close_range(0, (unsigned)pipe_end - 1, 0);
    close_range((unsigned)pipe_end + 1, ~0U, 0);
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < 50 && nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT; i++)
        poll(NULL, 0, 20);
    _exit(0);
}

const char *scratch(void)
{
    static char folder[64];
    int ends[2];
    if (folder[0])
        return folder;
    const char *temp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/troupe-XXXXXX", temp && temp[0] && strlen(temp) < 40 ? temp : "/tmp");
    cr_assert_not_null(mkdtemp(folder), "%s: %s", folder, strerror(errno));
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        sweep(ends[0], folder);
    close(ends[0]);
    return folder;
}

char *scratch_path(const char *name)
{
    char *path;
    cr_assert_gt(asprintf(&path, "%s/%s", scratch(), name), 0);
    return path;
}

/* --- children --- */

static void limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit value = {soft, hard};
    if (setrlimit((__rlimit_resource_t)resource, &value) < 0)
        _exit(126);
}

static void become(char *const argv[], const struct process_limits *limits, const char *output, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    int null = open("/dev/null", O_RDONLY), out = open(output, O_WRONLY | O_APPEND);
    if (null < 0 || out < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    close_range(3, ~0U, 0);
    if (limits && limits->files)
        limit(RLIMIT_NOFILE, limits->files, limits->files);
    if (limits && limits->file_size) {
        signal(SIGXFSZ, SIG_IGN);
        limit(RLIMIT_FSIZE, limits->file_size, RLIM_INFINITY);
    }
    execvp(argv[0], argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

struct process process_start(char *const argv[], const struct process_limits *limits)
{
    static unsigned count;
    struct process p = {0};
    snprintf(p.output, sizeof p.output, "%s/output-%u", scratch(), count++);
    int fd = open(p.output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s: %s", p.output, strerror(errno));
    close(fd);
    pid_t parent = getpid();
    p.pid = fork();
    cr_assert_geq(p.pid, 0, "fork: %s", strerror(errno));
    if (p.pid == 0)
        become(argv, limits, p.output, parent);
    p.pidfd = pidfd_open(p.pid, 0);
    cr_assert_geq(p.pidfd, 0, "pidfd_open: %s", strerror(errno));
    return p;
}

bool process_stays_alive(const struct process *p, int ms)
{
    struct pollfd ended = {.fd = p->pidfd, .events = POLLIN};
    return poll(&ended, 1, ms) == 0;
}

bool process_alive(const struct process *p)
{
    return p->pid > 0 && process_stays_alive(p, 0);
}

static void show_output(const struct process *p)
{
    char *text = process_printed(p);
    size_t len = strlen(text), from = len > 2000 ? len - 2000 : 0;
    cr_log_error("the process had printed:\n%s", text + from);
    free(text);
}

int process_wait(struct process *p, int ms)
{
    int status = 0;
    if (process_stays_alive(p, ms)) {
        show_output(p);
        cr_assert_fail("process %d has not ended after %d ms", (int)p->pid, ms);
    }
    cr_assert_eq(waitpid(p->pid, &status, 0), p->pid);
    close(p->pidfd);
    p->pid = 0;
    return status;
}

int process_stop(struct process *p, int signal, int ms)
{
    cr_assert_gt(p->pid, 0);
    cr_assert_eq(kill(p->pid, signal), 0);
    return process_wait(p, ms);
}

char *process_printed(const struct process *p)
{
    char *text = NULL;
    size_t size = 0;
    FILE *copy = open_memstream(&text, &size), *output = fopen(p->output, "re");
    cr_assert(copy && output);
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, output)) > 0;)
        fwrite(part, 1, n, copy);
    fclose(output);
    fclose(copy);
    return text;
}

static bool has_printed(const struct process *p, const char *text)
{
    char *printed = process_printed(p);
    bool found = strstr(printed, text) != NULL;
    free(printed);
    return found;
}

bool process_await(const struct process *p, const char *text, int ms)
{
    int64_t until = now_ms() + ms;
    int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    cr_assert_geq(inotify_add_watch(changes, p->output, IN_MODIFY), 0);
    for (;;) {
        bool alive = process_alive(p); /* asked first: what it printed before its end counts */
        bool found = has_printed(p, text);
        if (found || !alive) {
            close(changes);
            return found;
        }
        int64_t left = until - now_ms();
        if (left <= 0) {
            show_output(p);
            cr_assert_fail("'%s' was not printed in %d ms", text, ms);
        }
        char events[4096];
        struct pollfd either[] = {{.fd = changes, .events = POLLIN}, {.fd = p->pidfd, .events = POLLIN}};
        poll(either, 2, (int)left);
        while (read(changes, events, sizeof events) > 0)
            ;
    }
}

int process_run(char *const argv[], const struct process_limits *limits, char **printed, int ms)
{
    struct process p = process_start(argv, limits);
    int status = process_wait(&p, ms);
    if (printed)
        *printed = process_printed(&p);
    unlink(p.output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- what the kernel knows --- */

size_t process_resident(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fscanf(file, "%*s %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

unsigned process_fds(pid_t pid)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "%s", path);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static unsigned long long switches_of(const char *path)
{
    char line[256];
    unsigned long long sum = 0;
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *at = strstr(line, "ctxt_switches:");
        if (at)
            sum += strtoull(at + strlen("ctxt_switches:"), NULL, 10);
    }
    if (file)
        fclose(file);
    return sum;
}

unsigned long long process_switches(pid_t pid)
{
    char path[512];
    unsigned long long sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "%s", path);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        sum += switches_of(path);
    }
    closedir(dir);
    return sum;
}
