/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <ck_pr.h>

#include "runtime/crashtext.h"
#include "runtime/text.h"
#include "sched/pool.h"

#define FLUSH_MAX_S 5

const char *tr_log_level_name(troupe_log_level level)
{
    static const char *const names[] = {"default", "none", "error", "warning", "info", "debug"};
    return (unsigned)level < sizeof names / sizeof names[0] ? names[level] : "unknown";
}

/* --- who may speak ------------------------------------------------------------------------------------------------ */

/* Good to a few milliseconds, and a quarter of the price of the exact clock. */
static uint64_t coarse_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t full_bucket(uint64_t now_ms)
{
    return now_ms << 8 | TR_LOG_LINES_PER_SECOND;
}

static bool take_token(struct tr_log *log)
{
    uint64_t now_ms = coarse_ms(), seen = ck_pr_load_64(&log->bucket), wanted;
    do {
        wanted = (int64_t)(now_ms - (seen >> 8)) >= 1000 ? full_bucket(now_ms) : seen;
        if ((wanted & 0xff) == 0)
            return false;
    } while (!ck_pr_cas_64_value(&log->bucket, seen, wanted - 1, &seen));
    return true;
}

static void count_suppressed(struct tr_log *log)
{
    const struct tr_worker *worker = tr_worker_self();
    ck_pr_inc_64(&log->suppressed[worker ? tr_worker_index(worker) % TR_LOG_COUNTERS : 0].count);
}

/* All that a suppressed line costs. */
static bool may_speak(struct tr_log *log, troupe_log_level level)
{
    if (level > log->level)
        return false;
    if (level == TROUPE_LOG_ERROR || take_token(log))
        return true;
    count_suppressed(log);
    return false;
}

uint64_t tr_log_suppressed(const struct tr_log *log)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < TR_LOG_COUNTERS; i++)
        sum += ck_pr_load_64(&log->suppressed[i].count);
    return sum;
}

/* --- speaking ----------------------------------------------------------------------------------------------------- */

/* Under the lock: says once per burst how much was dropped. */
static void say_suppressed(struct tr_log *log)
{
    uint64_t all = tr_log_suppressed(log), dropped = all - log->suppressed_said;
    if (dropped == 0)
        return;
    char line[96], number[24];
    snprintf(line, sizeof line, "%llu lines dropped by the rate limit of %u per second", (unsigned long long)dropped,
             TR_LOG_LINES_PER_SECOND);
    snprintf(number, sizeof number, "%llu", (unsigned long long)dropped);
    log->suppressed_said = all;
    troupe_log_field field = {"lines", number};
    log->hook(log->arg,
              &(troupe_log_record){
                  .level = TROUPE_LOG_WARN, .event = "suppressed", .text = line, .fields = &field, .fields_count = 1});
}

static void speak(struct tr_log *log, const troupe_log_record *record)
{
    pthread_mutex_lock(&log->lock);
    say_suppressed(log);
    log->hook(log->arg, record);
    pthread_mutex_unlock(&log->lock);
}

void tr_log_line(struct tr_log *log, troupe_log_level level, const char *event, const char *format, ...)
{
    char line[TR_LOG_TEXT];
    struct tr_text text;
    va_list args;
    if (!may_speak(log, level))
        return;
    tr_text_init(&text, line, sizeof line);
    va_start(args, format);
    tr_text_addv_escaped(&text, format, args);
    va_end(args);
    speak(log, &(troupe_log_record){.level = level, .event = event, .text = line});
}

void tr_log_record(struct tr_log *log, const troupe_log_record *record)
{
    if (may_speak(log, record->level))
        speak(log, record);
}

void tr_log_crash(struct tr_log *log, const troupe_crash *crash, const char *consequence, const char *format, ...)
{
    char line[TR_LOG_TEXT];
    struct tr_text text;
    struct tr_crash_fields fields;
    va_list args;
    if (!may_speak(log, TROUPE_LOG_WARN))
        return;
    tr_text_init(&text, line, sizeof line);
    tr_crash_headline(&text, crash);
    tr_text_addf(&text, "; ");
    va_start(args, format);
    tr_text_addv_escaped(&text, format, args);
    va_end(args);
    tr_crash_fields_fill(&fields, crash, consequence);
    speak(log, &(troupe_log_record){.level = TROUPE_LOG_WARN,
                                    .event = "crash",
                                    .text = line,
                                    .fields = fields.list,
                                    .fields_count = fields.count,
                                    .crash = crash});
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void tr_log_init(struct tr_log *log, void (*hook)(void *, const troupe_log_record *), void *arg, troupe_log_level level,
                 const char *name)
{
    *log = (struct tr_log){
        .hook = hook ? hook : tr_reporter_write,
        .arg = hook ? arg : &log->reporter,
        .level = level == TROUPE_LOG_DEFAULT ? TROUPE_LOG_WARN : level,
        .bucket = full_bucket(coarse_ms()),
    };
    pthread_mutex_init(&log->lock, NULL);
    tr_reporter_init(&log->reporter, name);
}

void tr_log_flush(struct tr_log *log)
{
    tr_reporter_flush(&log->reporter, FLUSH_MAX_S);
}

void tr_log_fini(struct tr_log *log)
{
    pthread_mutex_lock(&log->lock);
    say_suppressed(log);
    pthread_mutex_unlock(&log->lock);
    tr_reporter_fini(&log->reporter);
    pthread_mutex_destroy(&log->lock);
}
