/* SPDX-License-Identifier: Apache-2.0 */
/* The table of cases: the code of each (perf/bench_CASE.c) joined with its line in perf/cases.tsv, which the peers read
 * too. Read once at the start by the program's main thread; constant from then on. */
#ifndef TR_PERF_SUPPORT_TABLE_H
#define TR_PERF_SUPPORT_TABLE_H

#include "perf/support/bench.h"

#define TR_ENTRIES_MAX 64u

struct tr_entry {
    const struct tr_case *code;
    const char *unit, *text, *ratio; /* ratio: the least to the best peer, or "-" */
    unsigned long size;
};

struct tr_table {
    struct tr_entry entries[TR_ENTRIES_MAX];
    size_t count;
    char *file; /* what the strings point into */
};

/* Fills the table, in the order of the file, then the cases without peers. False: the file is not there, or it and the
 * code do not agree; it was said. */
bool tr_table_read(struct tr_table *table, const char *path);
const struct tr_entry *tr_table_find(const struct tr_table *table, const char *name);

#endif
