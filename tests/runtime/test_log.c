/* SPDX-License-Identifier: Apache-2.0 */
/* The log: levels, the rate limit, hooks that call back. */
#include <criterion/criterion.h>

#include <string.h>

#include "io/loop.h"
#include "runtime/log.h"

struct lines {
    unsigned count, errors, dropped_reports;
    char last[256];
    struct tr_log *log;
    uint64_t suppressed;
};

static void collect(void *arg, troupe_log_level level, const char *line)
{
    struct lines *lines = arg;
    lines->count++;
    lines->errors += level == TROUPE_LOG_ERROR;
    lines->dropped_reports += strstr(line, "dropped by the rate limit") != NULL;
    strncpy(lines->last, line, sizeof lines->last - 1);
    if (lines->log)
        lines->suppressed = tr_log_suppressed(lines->log);
}

Test(log, shows_only_what_its_level_asks_for)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_DEFAULT);
    tr_log_line(&log, TROUPE_LOG_INFO, "no");
    tr_log_line(&log, TROUPE_LOG_WARN, "yes %d", 1);
    cr_assert_eq(lines.count, 1);
    cr_assert_str_eq(lines.last, "yes 1");
    tr_log_fini(&log);
    tr_log_init(&log, collect, &lines, TROUPE_LOG_NONE);
    tr_log_line(&log, TROUPE_LOG_ERROR, "no");
    cr_assert_eq(lines.count, 1);
    tr_log_fini(&log);
}

Test(log, a_storm_of_warnings_is_cut_and_counted_and_errors_pass)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN);
    uint64_t began = tr_loop_clock();
    for (unsigned i = 0; i < 1000; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "storm");
    if (tr_loop_clock() - began < TROUPE_SEC(1)) {
        cr_assert_eq(lines.count, 20);
        cr_assert_eq(tr_log_suppressed(&log), 980);
        tr_log_line(&log, TROUPE_LOG_ERROR, "an error");
        cr_assert_eq(lines.errors, 1);
        cr_assert_eq(lines.dropped_reports, 1, "the first line after the burst says how many were dropped");
        tr_log_line(&log, TROUPE_LOG_ERROR, "an error");
        cr_assert_eq(lines.dropped_reports, 1, "and only once");
    }
    log.refilled_ns -= TROUPE_SEC(1);
    tr_log_line(&log, TROUPE_LOG_WARN, "calm again");
    cr_assert_str_eq(lines.last, "calm again");
    tr_log_fini(&log);
}

Test(log, the_hook_may_ask_how_much_was_dropped)
{
    struct tr_log log;
    struct lines lines = {.log = &log};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN);
    for (unsigned i = 0; i < 30; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "line");
    tr_log_line(&log, TROUPE_LOG_ERROR, "line");
    cr_assert_eq(lines.suppressed, 10);
    tr_log_fini(&log);
}
