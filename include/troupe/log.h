/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what the runtime tells its operator, as records with a level, an event's name, a sentence and key=value
 * fields. A program gives its own hook in troupe_options.log, or leaves the default, which writes for a person to
 * stderr. At most 20 records a second come, errors aside: troupe_stats_read counts all crashes, and
 * troupe_crashes_read has the last ones. It is not a logging library for user code. */
#ifndef TROUPE_LOG_H
#define TROUPE_LOG_H

#include <troupe/crash.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_LOG_FIELDS_MAX 16

typedef struct troupe_log_field {
    const char *key;   /* lower case, constant data */
    const char *value; /* as text */
} troupe_log_field;

/* One record; all of it is valid until the hook returns. */
typedef struct troupe_log_record {
    troupe_log_level level;
    const char *event; /* "crash", "watchdog", "start", "stop", ...: lower case, stable, for machines */
    const char *text;  /* one line for a person, without newline */
    const troupe_log_field *fields;
    size_t fields_count;
    /* The whole crash of event "crash". Of event "watchdog", when a backtrace was had: actor, incarnation, behavior,
     * handler, worker and frames, the rest is zero. Else NULL. */
    const troupe_crash *crash;
} troupe_log_record;

/* troupe_log_format - writes a record as one line of key=value: level, event, msg, then the fields; values with spaces,
 * quotes, '=' or control characters are quoted and escaped. Returns its length as snprintf does; 1 KiB
 * holds nearly all. Any thread. */
TROUPE_API size_t troupe_log_format(const troupe_log_record *record, char *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
