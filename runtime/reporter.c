/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif

#include "runtime/reporter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/crashtext.h"
#include "runtime/log.h"

#define PRINTED_MAX 8192 /* bytes of one report on stderr */
#define KEPT_S 60        /* debug information is freed when it was not needed for so long: it may be large */

struct tr_report {
    troupe_log_level level;
    bool has_crash;
    troupe_crash crash;
    char text[TR_LOG_TEXT];
};

void tr_reporter_init(struct tr_reporter *reporter, const char *name)
{
    pthread_condattr_t monotonic;
    memset(reporter, 0, sizeof *reporter);
    snprintf(reporter->name, sizeof reporter->name, "%.7s/log", name);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&reporter->lock, NULL);
    pthread_cond_init(&reporter->wanted, &monotonic);
    pthread_cond_init(&reporter->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* One write for the whole report, so that nothing comes between its lines. */
static void print(troupe_log_level level, const char *line, const troupe_crash *crash, enum tr_symbol_source best)
{
    char printed[PRINTED_MAX];
    struct tr_text text;
    tr_text_init(&text, printed, sizeof printed);
    tr_text_addf(&text, "troupe: %s: %s\n", tr_log_level_name(level), line);
    if (crash)
        tr_crash_details(&text, crash, best);
    size_t length = text.length < sizeof printed ? text.length : sizeof printed - 1;
    if (text.length > length)
        printed[length - 1] = '\n';
    fwrite(printed, 1, length, stderr);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static struct timespec in_seconds(unsigned seconds)
{
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += (time_t)seconds;
    return when;
}

/* Under the lock; false: nothing is queued and the end has come. cached: debug information is held. */
static bool await_report(struct tr_reporter *reporter, bool cached)
{
    struct timespec when = in_seconds(KEPT_S);
    while (reporter->count == 0 && !reporter->ending) {
        if (!cached) {
            pthread_cond_wait(&reporter->wanted, &reporter->lock);
        } else if (pthread_cond_timedwait(&reporter->wanted, &reporter->lock, &when) == ETIMEDOUT) {
            cached = false;
            pthread_mutex_unlock(&reporter->lock);
            tr_symbol_forget(); /* it waits while another runtime's reporter is at it */
            pthread_mutex_lock(&reporter->lock);
        }
    }
    return reporter->count > 0;
}

static void *run(void *arg)
{
    struct tr_reporter *reporter = arg;
    bool cached = false;
    pthread_mutex_lock(&reporter->lock);
    while (await_report(reporter, cached)) {
        const struct tr_report *report = &reporter->queue[reporter->first];
        pthread_mutex_unlock(&reporter->lock);
        print(report->level, report->text, report->has_crash ? &report->crash : NULL, TR_SYMBOL_DEBUG);
        cached = true;
        pthread_mutex_lock(&reporter->lock);
        reporter->first = (reporter->first + 1) % TR_REPORTS_MAX;
        if (--reporter->count == 0)
            pthread_cond_broadcast(&reporter->done);
    }
    pthread_mutex_unlock(&reporter->lock);
    return NULL;
}

/* Under the lock. Signals are for the program's own threads. A thread that cannot be made is tried again at the next
 * crash. */
static void start_thread(struct tr_reporter *reporter)
{
    sigset_t all, before;
    if (!reporter->queue)
        reporter->queue = malloc(TR_REPORTS_MAX * sizeof *reporter->queue);
    if (!reporter->queue)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&reporter->thread, NULL, run, reporter) == 0) {
        reporter->running = true;
        pthread_setname_np(reporter->thread, reporter->name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- its callers -------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static void put(struct tr_reporter *reporter, const troupe_log_record *record)
{
    struct tr_report *report = &reporter->queue[(reporter->first + reporter->count) % TR_REPORTS_MAX];
    report->level = record->level;
    report->has_crash = record->crash != NULL;
    if (record->crash)
        report->crash = *record->crash;
    snprintf(report->text, sizeof report->text, "%s", record->text);
    reporter->count++;
    pthread_cond_signal(&reporter->wanted);
}

void tr_reporter_write(void *arg, const troupe_log_record *record)
{
    struct tr_reporter *reporter = arg;
    bool has_code = record->crash && (record->crash->frames_count > 0 || record->crash->pc);
    pthread_mutex_lock(&reporter->lock);
    if (has_code && !reporter->running)
        start_thread(reporter);
    bool queued = reporter->running && (has_code || reporter->count > 0) && reporter->count < TR_REPORTS_MAX;
    if (queued)
        put(reporter, record);
    pthread_mutex_unlock(&reporter->lock);
    if (!queued)
        print(record->level, record->text, record->crash, TR_SYMBOL_LOADER);
}

bool tr_reporter_flush(struct tr_reporter *reporter, unsigned timeout_s)
{
    struct timespec when = in_seconds(timeout_s);
    pthread_mutex_lock(&reporter->lock);
    while (reporter->count > 0)
        if (pthread_cond_timedwait(&reporter->done, &reporter->lock, &when) != 0)
            break;
    bool written = reporter->count == 0;
    pthread_mutex_unlock(&reporter->lock);
    return written;
}

void tr_reporter_fini(struct tr_reporter *reporter)
{
    pthread_mutex_lock(&reporter->lock);
    reporter->ending = true;
    pthread_cond_signal(&reporter->wanted);
    pthread_mutex_unlock(&reporter->lock);
    if (reporter->running) {
        pthread_join(reporter->thread, NULL);
        tr_symbol_forget();
    }
    free(reporter->queue);
    pthread_cond_destroy(&reporter->wanted);
    pthread_cond_destroy(&reporter->done);
    pthread_mutex_destroy(&reporter->lock);
}
