/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of the last crashes: what it keeps, what a reader gets, and many writers at once. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <ck_pr.h>

#include "runtime/crashlog.h"

static void add(struct tr_crashlog *log, unsigned n)
{
    troupe_crash crash = {.kind = n, .line = n, .time_ns = n};
    snprintf(crash.text, sizeof crash.text, "%u", n);
    tr_crashlog_add(log, &crash);
}

Test(crashlog, gives_what_it_has_oldest_first)
{
    struct tr_crashlog log;
    troupe_crash out[8];
    cr_assert_eq(tr_crashlog_init(&log, 8), 0);
    cr_assert_eq(tr_crashlog_read(&log, 0, out, 8), 0);
    for (unsigned n = 1; n <= 3; n++)
        add(&log, n);
    cr_assert_eq(tr_crashlog_read(&log, 0, out, 8), 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(out[i].sequence, i + 1);
        cr_assert_eq(out[i].kind, i + 1);
    }
    cr_assert_eq(tr_crashlog_read(&log, 2, out, 8), 1);
    cr_assert_eq(out[0].sequence, 3);
    cr_assert_eq(tr_crashlog_read(&log, 3, out, 8), 0);
    cr_assert_eq(tr_crashlog_read(&log, 1000, out, 8), 0);
    cr_assert_eq(tr_crashlog_read(&log, 0, out, 2), 2, "no more than there is room for");
    cr_assert_eq(out[1].sequence, 2);
    cr_assert_eq(tr_crashlog_read(&log, 0, NULL, 0), 0);
    tr_crashlog_fini(&log);
}

Test(crashlog, keeps_the_last_ones_and_the_gap_shows)
{
    struct tr_crashlog log;
    troupe_crash out[8];
    cr_assert_eq(tr_crashlog_init(&log, 5), 0);
    for (unsigned n = 1; n <= 23; n++)
        add(&log, n);
    cr_assert_eq(tr_crashlog_read(&log, 2, out, 8), 5);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(out[i].sequence, 19 + i);
        cr_assert_eq(out[i].kind, 19 + i);
    }
    tr_crashlog_fini(&log);
}

/* A writer that took its sequence and has not written: what follows must wait, or a reader that goes on from there
 * never sees it. */
Test(crashlog, a_reader_stops_before_what_is_on_the_way)
{
    struct tr_crashlog log;
    troupe_crash out[8];
    cr_assert_eq(tr_crashlog_init(&log, 8), 0);
    add(&log, 1);
    log.last++;
    add(&log, 3);
    cr_assert_eq(tr_crashlog_read(&log, 0, out, 8), 1);
    cr_assert_eq(out[0].sequence, 1);
    for (unsigned n = 4; n <= 10; n++)
        add(&log, n);
    cr_assert_eq(tr_crashlog_read(&log, 1, out, 8), 8, "its slot has been used again");
    cr_assert_eq(out[0].sequence, 3);
    tr_crashlog_fini(&log);
}

Test(crashlog, a_late_writer_leaves_a_later_record_alone)
{
    struct tr_crashlog log;
    troupe_crash out[2];
    cr_assert_eq(tr_crashlog_init(&log, 2), 0);
    for (unsigned n = 1; n <= 4; n++)
        add(&log, n);
    log.last = 1; /* as if the next writer had taken 2 long ago */
    add(&log, 2);
    log.last = 4;
    cr_assert_eq(tr_crashlog_read(&log, 0, out, 2), 2);
    cr_assert_eq(out[1].kind, 4);
    tr_crashlog_fini(&log);
}

/* --- many writers ------------------------------------------------------------------------------------------------- */

enum { WRITERS = 3, EACH = 20000, KEPT = 16 };

struct crowd {
    struct tr_crashlog log;
    uint32_t done;
};

static void *write_many(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned n = 1; n <= EACH; n++)
        add(&crowd->log, n);
    ck_pr_inc_32(&crowd->done);
    return NULL;
}

static void check_whole(const troupe_crash *crash)
{
    cr_assert_eq(crash->kind, crash->line);
    cr_assert_eq(crash->kind, crash->time_ns);
    cr_assert_eq(crash->kind, strtoul(crash->text, NULL, 10));
}

/* Reads until all have written; returns the last sequence. */
static uint64_t follow(struct crowd *crowd)
{
    uint64_t after = 0;
    troupe_crash out[KEPT];
    for (bool over = false; !over;) {
        over = ck_pr_load_32(&crowd->done) == WRITERS;
        ck_pr_fence_load();
        for (size_t i = 0, count = tr_crashlog_read(&crowd->log, after, out, KEPT); i < count; i++) {
            cr_assert_gt(out[i].sequence, after);
            after = out[i].sequence;
            check_whole(&out[i]);
        }
    }
    return after;
}

Test(crashlog, many_writers_and_a_reader_see_whole_records_in_order)
{
    struct crowd crowd = {.done = 0};
    pthread_t threads[WRITERS];
    troupe_crash out[KEPT];
    cr_assert_eq(tr_crashlog_init(&crowd.log, KEPT), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_many, &crowd), 0);
    uint64_t last = follow(&crowd);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(last, WRITERS * EACH);
    cr_assert_eq(tr_crashlog_read(&crowd.log, 0, out, KEPT), KEPT);
    for (unsigned i = 0; i < KEPT; i++)
        cr_assert_eq(out[i].sequence, WRITERS * EACH - KEPT + 1 + i);
    tr_crashlog_fini(&crowd.log);
}
