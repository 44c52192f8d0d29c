/* SPDX-License-Identifier: Apache-2.0 */
/* The log: levels, the rate limit, hooks that call back, and records as lines of key=value. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ck_pr.h>

#include "io/loop.h"
#include "runtime/log.h"
#include "runtime/text.h"

struct lines {
    unsigned count, errors, dropped_reports;
    unsigned long long dropped;
    char last[256], event[32], formatted[512];
    const troupe_crash *crash;
    size_t fields_count;
    struct tr_log *log;
    uint64_t suppressed;
};

static void collect(void *arg, const troupe_log_record *record)
{
    struct lines *lines = arg;
    unsigned long long dropped;
    lines->count++;
    lines->errors += record->level == TROUPE_LOG_ERROR;
    if (sscanf(record->text, "%llu lines dropped by the rate limit", &dropped) == 1) {
        lines->dropped_reports++;
        lines->dropped += dropped;
        cr_assert_str_eq(record->event, "suppressed");
        cr_assert_str_eq(record->fields[0].key, "lines");
        cr_assert_eq(strtoull(record->fields[0].value, NULL, 10), dropped);
    }
    snprintf(lines->last, sizeof lines->last, "%s", record->text);
    snprintf(lines->event, sizeof lines->event, "%s", record->event);
    troupe_log_format(record, lines->formatted, sizeof lines->formatted);
    lines->crash = record->crash;
    lines->fields_count = record->fields_count;
    if (lines->log)
        lines->suppressed = tr_log_suppressed(lines->log);
}

Test(log, shows_only_what_its_level_asks_for)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_DEFAULT, "t");
    tr_log_line(&log, TROUPE_LOG_INFO, "test", "no");
    tr_log_line(&log, TROUPE_LOG_WARN, "test", "yes %d", 1);
    cr_assert_eq(lines.count, 1);
    cr_assert_str_eq(lines.last, "yes 1");
    cr_assert_str_eq(lines.event, "test");
    tr_log_fini(&log);
    tr_log_init(&log, collect, &lines, TROUPE_LOG_NONE, "t");
    tr_log_line(&log, TROUPE_LOG_ERROR, "test", "no");
    for (unsigned i = 0; i < 100; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "test", "no");
    tr_log_fini(&log);
    cr_assert_eq(lines.count, 1, "what is not logged is not counted as dropped");
}

static void a_second_passes(struct tr_log *log)
{
    log->bucket -= UINT64_C(1000) << 8;
}

Test(log, a_storm_of_warnings_is_cut_and_counted_and_errors_pass)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    uint64_t began = tr_loop_clock();
    for (unsigned i = 0; i < 1000; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "test", "storm");
    if (tr_loop_clock() - began < TROUPE_MS(900)) {
        cr_assert_eq(lines.count, 20);
        cr_assert_eq(tr_log_suppressed(&log), 980);
        tr_log_line(&log, TROUPE_LOG_ERROR, "test", "an error");
        cr_assert_eq(lines.errors, 1);
        cr_assert_eq(lines.dropped, 980, "the first line after the burst says how many were dropped");
        tr_log_line(&log, TROUPE_LOG_ERROR, "test", "an error");
        cr_assert_eq(lines.dropped_reports, 1, "and only once");
    }
    a_second_passes(&log);
    tr_log_line(&log, TROUPE_LOG_WARN, "test", "calm again");
    cr_assert_str_eq(lines.last, "calm again");
    tr_log_fini(&log);
}

Test(log, each_second_has_its_own_allowance)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    uint64_t began = tr_loop_clock();
    for (unsigned second = 0; second < 3; second++) {
        for (unsigned i = 0; i < 19; i++)
            tr_log_line(&log, TROUPE_LOG_WARN, "test", "line");
        a_second_passes(&log);
    }
    cr_assert_eq(lines.count, 57);
    for (unsigned i = 0; i < 100; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "test", "line");
    if (tr_loop_clock() - began < TROUPE_MS(900))
        cr_assert_eq(lines.count, 77, "what one second left over is not the next one's");
    tr_log_fini(&log);
}

Test(log, the_end_says_what_was_dropped_last)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    for (unsigned i = 0; i < 50; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "test", "line");
    tr_log_fini(&log);
    cr_assert_eq(lines.count - lines.dropped_reports + lines.dropped, 50, "shown %u, dropped %llu", lines.count,
                 lines.dropped);
}

Test(log, the_hook_may_ask_how_much_was_dropped)
{
    struct tr_log log;
    struct lines lines = {.log = &log};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    for (unsigned i = 0; i < 30; i++)
        tr_log_line(&log, TROUPE_LOG_WARN, "test", "line");
    tr_log_line(&log, TROUPE_LOG_ERROR, "test", "line");
    cr_assert_eq(lines.suppressed, 10);
    tr_log_fini(&log);
}

enum { TALKERS = 4, TALK = 20000 };

static void *talk(void *arg)
{
    for (unsigned i = 0; i < TALK; i++)
        tr_log_line(arg, TROUPE_LOG_WARN, "test", "line");
    return NULL;
}

Test(log, of_many_threads_each_line_is_shown_or_counted)
{
    struct tr_log log;
    struct lines lines = {0};
    pthread_t threads[TALKERS];
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    uint64_t began = tr_loop_clock();
    for (unsigned i = 0; i < TALKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, talk, &log), 0);
    for (unsigned i = 0; i < TALKERS; i++)
        pthread_join(threads[i], NULL);
    uint64_t seconds = (tr_loop_clock() - began) / TROUPE_SEC(1);
    unsigned shown = lines.count - lines.dropped_reports;
    cr_assert_geq(shown, 20);
    cr_assert_leq(shown, 20 * (seconds + 2));
    cr_assert_eq(shown + tr_log_suppressed(&log), TALKERS * TALK);
    tr_log_fini(&log);
    cr_assert_eq(shown + lines.dropped, TALKERS * TALK);
}

Test(log, a_text_cannot_garble_a_terminal)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    tr_log_line(&log, TROUPE_LOG_WARN, "test", "%s", "a\nb\x1b[31m \"c\" ü");
    cr_assert_str_eq(lines.last, "a\\nb\\x1b[31m \"c\" ü");
    tr_log_fini(&log);
}

/* --- crashes as records ------------------------------------------------------------------------------------------- */

static const troupe_crash sample = {
    .actor = {UINT64_C(0x100000003)},
    .parent = {UINT64_C(0x100000001)},
    .behavior = "worker",
    .handler = "work",
    .cause = TROUPE_CAUSE_PANIC,
    .incarnation = 2,
    .restarts = 1,
    .has_message = true,
    .kind = 4,
    .attempt = 1,
    .sender = {UINT64_C(0x100000001)},
    .file = "pool.c",
    .line = 42,
    .text = "check failed: n > 0",
};

Test(log, a_crash_is_a_sentence_and_its_fields)
{
    struct tr_log log;
    struct lines lines = {0};
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    tr_log_crash(&log, &sample, "restart", "restart %u of %u in %.3g s", 1u, 3u, 5.0);
    cr_assert_str_eq(lines.last, "worker#3 (incarnation 2) crashed in handler \"work\": check failed: n > 0 at "
                                 "pool.c:42; restart 1 of 3 in 5 s");
    cr_assert_eq(lines.crash, &sample);
    cr_assert_str_eq(lines.formatted,
                     "level=warning event=crash msg=\"worker#3 (incarnation 2) crashed in handler \\\"work\\\": check "
                     "failed: n > 0 at pool.c:42; restart 1 of 3 in 5 s\" actor=0x100000003 incarnation=2 restarts=1 "
                     "behavior=worker cause=panic consequence=restart handler=work kind=4 sender=0x100000001 attempt=1 "
                     "panic=\"check failed: n > 0\" file=pool.c line=42");
    tr_log_fini(&log);
}

Test(log, a_crash_with_everything_fits_into_its_fields)
{
    struct tr_log log;
    struct lines lines = {0};
    troupe_crash crash = sample;
    crash.cause = TROUPE_CAUSE_FAULT;
    crash.signal = 11;
    crash.address = 0x10;
    crash.tainted = true;
    crash.kind = crash.attempt = crash.line = crash.restarts = crash.incarnation = UINT32_MAX;
    crash.actor.bits = crash.sender.bits = UINT64_MAX;
    tr_log_init(&log, collect, &lines, TROUPE_LOG_WARN, "t");
    tr_log_crash(&log, &crash, "restart", "it restarts");
    cr_assert_eq(lines.fields_count, TROUPE_LOG_FIELDS_MAX);
    cr_assert(strstr(lines.formatted, " line=4294967295 signal=11 address=0x10 tainted=true"), "%s", lines.formatted);
    tr_log_fini(&log);
}

/* --- key=value ---------------------------------------------------------------------------------------------------- */

static const char *formatted(const char *key, const char *value)
{
    static char line[256];
    troupe_log_field field = {key, value};
    troupe_log_record record = {TROUPE_LOG_INFO, "e", "t", &field, 1, NULL};
    size_t length = troupe_log_format(&record, line, sizeof line);
    cr_assert_eq(length, strlen(line));
    return line;
}

Test(format, quotes_and_escapes_what_a_reader_would_misread)
{
    cr_assert_str_eq(formatted("k", "plain"), "level=info event=e msg=t k=plain");
    cr_assert_str_eq(formatted("k", "a b"), "level=info event=e msg=t k=\"a b\"");
    cr_assert_str_eq(formatted("k", "a=b"), "level=info event=e msg=t k=\"a=b\"");
    cr_assert_str_eq(formatted("k", "a\"b\\"), "level=info event=e msg=t k=\"a\\\"b\\\\\"");
    cr_assert_str_eq(formatted("k", "x\nlevel=error"), "level=info event=e msg=t k=\"x\\nlevel=error\"");
    cr_assert_str_eq(formatted("k", "\t\r\x01\x7f"), "level=info event=e msg=t k=\"\\t\\r\\x01\\x7f\"");
    cr_assert_str_eq(formatted("k", ""), "level=info event=e msg=t k=\"\"");
    cr_assert_str_eq(formatted("k", NULL), "level=info event=e msg=t k=\"\"");
    cr_assert_str_eq(formatted("a b=\n", "v"), "level=info event=e msg=t a_b__=v");
}

Test(format, lets_good_utf8_through_and_no_other)
{
    cr_assert_str_eq(formatted("k", "grün€𝄞"), "level=info event=e msg=t k=grün€𝄞");
    cr_assert_str_eq(formatted("k", "\xff"), "level=info event=e msg=t k=\"\\xff\"");
    cr_assert_str_eq(formatted("k", "\xc0\xaf"), "level=info event=e msg=t k=\"\\xc0\\xaf\"", "overlong");
    cr_assert_str_eq(formatted("k", "\xe0\x80\xaf"), "level=info event=e msg=t k=\"\\xe0\\x80\\xaf\"", "overlong");
    cr_assert_str_eq(formatted("k", "\xed\xa0\x80"), "level=info event=e msg=t k=\"\\xed\\xa0\\x80\"", "surrogate");
    cr_assert_str_eq(formatted("k", "\xf4\x90\x80\x80"), "level=info event=e msg=t k=\"\\xf4\\x90\\x80\\x80\"");
    cr_assert_str_eq(formatted("k", "\xe2\x82"), "level=info event=e msg=t k=\"\\xe2\\x82\"", "cut off");
    cr_assert_str_eq(formatted("k", "\xc2\x9b"), "level=info event=e msg=t k=\"\\xc2\\x9b\"", "a control character");
    cr_assert_str_eq(formatted("k", "\xe2\x80\xae"), "level=info event=e msg=t k=\"\\xe2\\x80\\xae\"", "right to left");
}

Test(format, counts_what_does_not_fit_as_snprintf_does)
{
    char whole[128], part[16], one = 'x';
    troupe_log_field field = {"key", "a value\n"};
    troupe_log_record record = {TROUPE_LOG_ERROR, "event", "text", &field, 1, NULL};
    size_t length = troupe_log_format(&record, whole, sizeof whole);
    cr_assert_eq(length, strlen(whole));
    for (size_t size = 1; size <= sizeof part; size++) {
        memset(part, 'x', sizeof part);
        cr_assert_eq(troupe_log_format(&record, part, size), length);
        cr_assert_eq(strlen(part), size - 1);
        cr_assert_eq(memcmp(part, whole, size - 1), 0);
    }
    cr_assert_eq(troupe_log_format(&record, NULL, 0), length);
    cr_assert_eq(troupe_log_format(&record, &one, 1), length);
    cr_assert_eq(one, '\0');
}
