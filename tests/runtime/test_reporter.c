/* SPDX-License-Identifier: Apache-2.0 */
/* The default log on stderr: nothing is lost and the order stays, with the thread, without it, and when it is
 * behind. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setattr_default_np */
#endif

#include <criterion/criterion.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/reporter.h"

static int kept_fd;

/* From here on stderr goes to a file. */
static void keep_stderr(void)
{
    char path[] = "/tmp/troupe-reporter-XXXXXX";
    kept_fd = mkstemp(path);
    cr_assert_geq(kept_fd, 0);
    unlink(path);
    fflush(stderr);
    cr_assert_geq(dup2(kept_fd, STDERR_FILENO), 0);
}

static const char *kept(void)
{
    static char text[1 << 18];
    ssize_t length = pread(kept_fd, text, sizeof text - 1, 0);
    cr_assert_geq(length, 0);
    text[length] = '\0';
    return text;
}

static void write_line(struct tr_reporter *reporter, unsigned n)
{
    char text[32];
    snprintf(text, sizeof text, "line %u.", n);
    tr_reporter_write(reporter, &(troupe_log_record){.level = TROUPE_LOG_INFO, .event = "test", .text = text});
}

static __attribute__((noinline)) void write_crash(struct tr_reporter *reporter, unsigned n)
{
    char text[32];
    troupe_crash crash = {.behavior = "b", .frames_count = 1, .frames = {(uintptr_t)write_crash + 8}};
    snprintf(text, sizeof text, "crash %u.", n);
    tr_reporter_write(reporter,
                      &(troupe_log_record){.level = TROUPE_LOG_WARN, .event = "crash", .text = text, .crash = &crash});
}

static void check_position(const char *text, const char *format, unsigned n, const char **after)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, format, n);
    const char *found = strstr(text, wanted);
    cr_assert_not_null(found, "%s is missing in: %s", wanted, text);
    cr_assert_null(strstr(found + 1, wanted), "%s is there twice", wanted);
    cr_assert(!after || found > *after, "%s is out of order in: %s", wanted, text);
    if (after)
        *after = found;
}

static bool has_thread(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    bool found = false;
    for (struct dirent *task; !found && (task = readdir(tasks));) {
        char path[300], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        found = fgets(comm, sizeof comm, file) && strncmp(comm, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(tasks);
    return found;
}

Test(reporter, plain_lines_need_no_thread)
{
    struct tr_reporter reporter;
    keep_stderr();
    tr_reporter_init(&reporter, "t");
    write_line(&reporter, 1);
    cr_assert_str_eq(kept(), "troupe: info: line 1.\n");
    cr_assert(!reporter.running);
    tr_reporter_fini(&reporter);
}

Test(reporter, the_end_writes_what_is_queued_in_order)
{
    struct tr_reporter reporter;
    keep_stderr();
    tr_reporter_init(&reporter, "longname-that-is-cut");
    for (unsigned n = 10; n < 20; n++) {
        write_crash(&reporter, n);
        write_line(&reporter, n);
    }
    cr_assert(has_thread("longnam/log"));
    tr_reporter_fini(&reporter);
    const char *text = kept(), *at = text;
    cr_assert_eq(strncmp(text, "troupe: warning: crash 10.\n    0 ", 33), 0, "%s", text);
    for (unsigned n = 10; n < 20; n++) {
        check_position(text, "crash %u.", n, n == 10 ? NULL : &at);
        check_position(text, "line %u.", n, &at);
    }
#ifdef TR_HAVE_LIBDW
    cr_assert(strstr(text, "\n    0 write_crash at "), "%s", text);
#endif
}

Test(reporter, a_flush_waits_for_what_is_queued)
{
    struct tr_reporter reporter;
    keep_stderr();
    tr_reporter_init(&reporter, "t");
    cr_assert(tr_reporter_flush(&reporter, 0), "nothing is queued");
    for (unsigned n = 10; n < 40; n++)
        write_crash(&reporter, n);
    cr_assert(tr_reporter_flush(&reporter, 60));
    const char *text = kept();
    for (unsigned n = 10; n < 40; n++)
        check_position(text, "crash %u.", n, NULL);
    tr_reporter_fini(&reporter);
}

/* More at once than it can queue: what has no room is written at once, and nothing twice. */
Test(reporter, a_full_queue_loses_nothing)
{
    struct tr_reporter reporter;
    keep_stderr();
    tr_reporter_init(&reporter, "t");
    for (unsigned n = 1000; n < 1000 + 10 * TR_REPORTS_MAX; n++)
        write_crash(&reporter, n);
    tr_reporter_fini(&reporter);
    const char *text = kept();
    for (unsigned n = 1000; n < 1000 + 10 * TR_REPORTS_MAX; n++)
        check_position(text, "crash %u.", n, NULL);
}

/* No thread fits into the address space with such a stack. */
Test(reporter, without_a_thread_it_writes_at_once_what_the_loader_knows)
{
    struct tr_reporter reporter;
    pthread_attr_t huge;
    keep_stderr();
    tr_reporter_init(&reporter, "t");
    pthread_attr_init(&huge);
    cr_assert_eq(pthread_attr_setstacksize(&huge, (size_t)1 << 47), 0);
    cr_assert_eq(pthread_setattr_default_np(&huge), 0);
    write_crash(&reporter, 1);
    write_line(&reporter, 2);
    cr_assert(!reporter.running);
    const char *text = kept(), *at = text;
    cr_assert(strstr(text, "crash 1.\n    0 "), "%s", text);
    cr_assert(strstr(text, "/test_reporter+0x"), "%s", text);
    check_position(text, "line %u.", 2, &at);
    tr_reporter_fini(&reporter);
}
