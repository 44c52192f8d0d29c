/* SPDX-License-Identifier: Apache-2.0 */
/* Crashes as their operator sees them: the ring, the records of the hook, and what the default writes on stderr. */
#include "tests/runtime/world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/support/sanitizer.h"

enum { BANG = 4 };

static unsigned bang_line;

/* Static, and not inlined, because only its address is used: what a report must name. */
HANDLER(on_bang)
{
    bang_line = __LINE__ + 1;
    TROUPE_CHECK(ctx, 1 + 1 == 3);
}

/* Crashes once, in its first incarnation; the second one ends the runtime. */
STARTED(once_started)
{
    if (troupe_incarnation(ctx) == 1)
        return troupe_tell(ctx, troupe_self(ctx), BANG, NULL, 0);
    troupe_crash *crash = malloc(2 * sizeof *crash);
    world.word[0] = troupe_crashes_read(troupe_ctx_runtime(ctx), 0, crash, 2);
    *(troupe_crash *)(uintptr_t)world.word[1] = crash[0];
    free(crash);
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior once = {.name = "once", .started = once_started, .handlers = {[BANG] = ON(on_bang, 0)}};

Test(report, the_ring_tells_what_happened)
{
    static troupe_crash crash;
    struct timespec now;
    world_begin(1);
    world.word[1] = (uintptr_t)&crash;
    cr_assert_eq(run(&once, NULL), 0);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = TROUPE_SEC(now.tv_sec) + (uint64_t)now.tv_nsec;
    cr_assert_eq(world.word[0], 1);
    cr_assert_eq(crash.sequence, 1);
    cr_assert(crash.time_ns <= now_ns && crash.time_ns > now_ns - TROUPE_SEC(100));
    cr_assert_str_eq(crash.behavior, "once");
    cr_assert_str_eq(crash.handler, "on_bang");
    cr_assert_eq(crash.cause, TROUPE_CAUSE_PANIC);
    cr_assert_eq(crash.incarnation, 1);
    cr_assert_eq(crash.restarts, 0);
    cr_assert_eq(crash.worker, 0);
    cr_assert(crash.has_message);
    cr_assert_eq(crash.kind, BANG);
    cr_assert_eq(crash.attempt, 1);
    cr_assert(troupe_addr_same(crash.sender, crash.actor) && !troupe_addr_is_nobody(crash.actor));
    cr_assert(troupe_addr_is_nobody(crash.parent));
    cr_assert_eq(crash.line, bang_line);
    cr_assert(strstr(crash.file, "test_crash_report.c"));
    cr_assert_str_eq(crash.text, "check failed: 1 + 1 == 3");
    cr_assert_geq(crash.frames_count, 3);
    cr_assert(crash.frames[0] > (uintptr_t)on_bang && crash.frames[0] < (uintptr_t)on_bang + 4096);
}

/* --- stderr ------------------------------------------------------------------------------------------------------- */

/* Runs root in a process whose stderr is kept; *status is what the process returned, which is what troupe_run did.
 * Nothing comes between that and the end. */
static char *stderr_of(const troupe_behavior *root, troupe_options options, int *status)
{
    static char text[1 << 16];
    char path[] = "/tmp/troupe-report-XXXXXX";
    int fd = mkstemp(path), wait_status;
    cr_assert_geq(fd, 0);
    unlink(path);
    options.log = NULL;
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(fd, STDERR_FILENO);
        _exit(troupe_run(root, NULL, &options));
    }
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFEXITED(wait_status), "status %x", (unsigned)wait_status);
    *status = WEXITSTATUS(wait_status);
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    cr_assert_geq(length, 0);
    text[length] = '\0';
    close(fd);
    return text;
}

/* The same in the child, which has no hook to tell it. */
STARTED(bang_started)
{
    return troupe_incarnation(ctx) == 1 ? troupe_tell(ctx, troupe_self(ctx), BANG, NULL, 0)
                                        : (troupe_stop_runtime(ctx, 0), 0);
}

static const troupe_behavior bang = {.name = "bang", .started = bang_started, .handlers = {[BANG] = ON(on_bang, 0)}};

static void check_named(const char *text)
{
#ifdef TR_HAVE_LIBDW
    const char *frame = strstr(text, "\n    0 on_bang at ");
    cr_assert_not_null(frame, "%s", text);
    cr_assert(strstr(frame, "tests/runtime/test_crash_report.c:"), "%s", text);
    cr_assert_null(strstr(text, "\n    1 "), "the runtime's own frames tell nothing: %s", text);
#else
    cr_assert_not_null(strstr(text, "\n    0 "), "%s", text);
#endif
}

Test(report, on_stderr_a_person_reads_function_file_and_line)
{
    int status;
    world_begin(2);
    char *text = stderr_of(&bang, world_options(), &status);
    cr_assert_eq(status, 0);
    cr_assert_eq(strncmp(text, "troupe: warning: bang#", 22), 0, "%s", text);
    cr_assert(strstr(text, " (incarnation 1) crashed in handler \"on_bang\": check failed: 1 + 1 == 3 at "), "%s",
              text);
    cr_assert(strstr(text, "; restart 1 of 3 in 5 s"), "%s", text);
    cr_assert(strstr(text, "\n  message kind 4 from itself, attempt 1\n"), "%s", text);
    check_named(text);
}

static const troupe_behavior doomed = {.name = "doomed",
                                       .started = bang_started,
                                       .supervision = {.restarts = TROUPE_RESTARTS_NONE},
                                       .handlers = {[BANG] = ON(on_bang, 0)}};

Test(report, past_the_root_the_process_ends_with_the_report_written)
{
    int status;
    world_begin(1);
    char *text = stderr_of(&doomed, world_options(), &status);
    cr_assert_eq(status, 1);
    check_named(text);
    const char *end = strstr(text, "troupe: error: ");
    cr_assert(end && end > strstr(text, "\n    0 "), "in the order of what happened: %s", text);
}

Test(report, without_backtraces_it_is_short)
{
    int status;
    world_begin(1);
    troupe_options options = world_options();
    options.backtraces = TROUPE_NO_BACKTRACES;
    char *text = stderr_of(&bang, options, &status);
    cr_assert_eq(status, 0);
    cr_assert(strstr(text, "; restart 1 of 3 in 5 s"), "%s", text);
    cr_assert_null(strstr(text, "\n    0 "), "%s", text);
}

/* --- a storm ------------------------------------------------------------------------------------------------------ */

enum { STORM = UNDER_TSAN ? TSAN_CRASHES_MAX : 100000 };

struct storm {
    unsigned long long crashes, dropped, frames;
    troupe_crash last[64];
    size_t last_count;
};

static struct storm storm;

static void watch_storm(void *arg, const troupe_log_record *record)
{
    (void)arg;
    if (strcmp(record->event, "crash") == 0) {
        storm.crashes++;
        storm.frames += record->crash->frames_count > 0;
    }
    if (strcmp(record->event, "suppressed") == 0)
        storm.dropped += strtoull(record->fields[0].value, NULL, 10);
}

STARTED(storm_started)
{
    if (troupe_incarnation(ctx) <= STORM)
        return troupe_tell(ctx, troupe_self(ctx), BANG, NULL, 0);
    storm.last_count = troupe_crashes_read(troupe_ctx_runtime(ctx), 0, storm.last, 64);
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior stormy = {
    .name = "stormy",
    .started = storm_started,
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1}, /* any number of restarts */
    .handlers = {[BANG] = ON(on_bang, 0)},
};

Test(report, a_storm_of_crashes_is_bounded_and_counted_and_its_last_ones_are_kept)
{
    struct timespec began, ended;
    world_begin(1);
    troupe_options options = world_options();
    options.log = watch_storm;
    clock_gettime(CLOCK_MONOTONIC, &began);
    cr_assert_eq(troupe_run(&stormy, NULL, &options), 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    unsigned long long seconds = (unsigned long long)(ended.tv_sec - began.tv_sec) + 2;
    cr_assert_leq(storm.crashes, 20 * seconds);
    cr_assert_leq(storm.frames, 10 * seconds);
    cr_assert_geq(storm.frames, 1);
    cr_assert_eq(storm.crashes + storm.dropped, STORM, "%llu shown, %llu dropped", storm.crashes, storm.dropped);
    cr_assert_eq(storm.last_count, 64);
    for (unsigned i = 0; i < 64; i++) {
        cr_assert_eq(storm.last[i].sequence, STORM - 63 + i);
        cr_assert_eq(storm.last[i].incarnation, STORM - 63 + i);
    }
}

/* --- the options -------------------------------------------------------------------------------------------------- */

Test(report, crashes_kept_says_how_many)
{
    world_begin(1);
    troupe_options options = world_options();
    options.log = watch_storm;
    options.crashes_kept = 7;
    cr_assert_eq(troupe_run(&stormy, NULL, &options), 0);
    cr_assert_eq(storm.last_count, 7);
    cr_assert_eq(storm.last[6].sequence, STORM);
}
