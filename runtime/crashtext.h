/* SPDX-License-Identifier: Apache-2.0 */
/* A crash in words: the line and the details that a person reads, and the fields that a machine reads.
 * Values in, text out; any thread. It prints nothing: see log.h and reporter.h. */
#ifndef TR_RUNTIME_CRASHTEXT_H
#define TR_RUNTIME_CRASHTEXT_H

#include <troupe/log.h>

#include "runtime/symbol.h"
#include "runtime/text.h"

/* One line: who crashed, in what, why and where. */
void tr_crash_headline(struct tr_text *text, const troupe_crash *crash);
/* Further lines, each with its newline, or nothing: the message, a fault, the backtrace. */
void tr_crash_details(struct tr_text *text, const troupe_crash *crash, enum tr_symbol_source best);

/* The fields of event "crash", and the memory of their values. */
struct tr_crash_fields {
    troupe_log_field list[TROUPE_LOG_FIELDS_MAX];
    size_t count;
    char room[384]; /* of values that are not in the crash as text */
    size_t room_used;
};

/* consequence: what is done about it, in one word. */
void tr_crash_fields_fill(struct tr_crash_fields *fields, const troupe_crash *crash, const char *consequence);

#endif
