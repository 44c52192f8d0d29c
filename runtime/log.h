/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's log: records, one at a time, to the program's hook or to the reporter, rate-limited so that a crash
 * storm cannot flood it. Any thread may call. It is not a logging library for user code.
 *
 * `bucket` holds the running second and how many lines it has left: milliseconds of the coarse monotonic clock << 8 |
 * lines. A line takes one by compare-and-swap, or begins a new second; who finds none left counts one in `suppressed`
 * and is done: nothing has been formatted, and no line that others write was touched but its own thread's counter. The
 * word orders nothing and publishes nothing, so it needs no fences. Only those that may speak come to `lock`, which
 * serialises the hook. */
#ifndef TR_RUNTIME_LOG_H
#define TR_RUNTIME_LOG_H

#include <troupe/log.h>

#include <pthread.h>

#include "runtime/reporter.h"
#include "sched/base/cacheline.h"

#define TR_LOG_TEXT 1024 /* bytes of a record's text, the terminator included */
#define TR_LOG_LINES_PER_SECOND 20u
#define TR_LOG_COUNTERS 16u

struct tr_log {
    void (*hook)(void *arg, const troupe_log_record *record);
    void *arg;
    troupe_log_level level;
    struct tr_reporter reporter; /* the default hook's */
    char apart[TR_CACHELINE];
    uint64_t bucket;
    /* Records dropped since the start, by worker; see tr_log_suppressed. */
    struct {
        char apart[TR_CACHELINE - sizeof(uint64_t)];
        uint64_t count;
    } suppressed[TR_LOG_COUNTERS];
    pthread_mutex_t lock;     /* guards what follows, and the hook */
    uint64_t suppressed_said; /* how many of them have been reported */
};

/* hook NULL: for a person, on stderr. name: see tr_reporter_init. */
void tr_log_init(struct tr_log *log, void (*hook)(void *, const troupe_log_record *), void *arg, troupe_log_level level,
                 const char *name);
/* Says what was dropped and not said yet, and writes what is queued. */
void tr_log_fini(struct tr_log *log);

/* A record without fields. Errors are never dropped, other levels are limited to TR_LOG_LINES_PER_SECOND. event:
 * constant, lower case. What could garble a terminal is escaped in the text. */
void tr_log_line(struct tr_log *log, troupe_log_level level, const char *event, const char *format, ...)
    TROUPE_PRINTF(4, 5);
/* Any other record, with fields. */
void tr_log_record(struct tr_log *log, const troupe_log_record *record);
/* Event "crash". consequence: what follows in one word, for machines; format and what it takes: the same for a
 * person. */
void tr_log_crash(struct tr_log *log, const troupe_crash *crash, const char *consequence, const char *format, ...)
    TROUPE_PRINTF(4, 5);
/* Waits a few seconds at most until all that was logged is written: before the process ends without tr_log_fini. */
void tr_log_flush(struct tr_log *log);
/* Any thread, also the hook. */
uint64_t tr_log_suppressed(const struct tr_log *log);
/* "error", "warning", ...; never NULL. */
const char *tr_log_level_name(troupe_log_level level);

#endif
