/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES(X)                                                                                                       \
    X(ping_pong)                                                                                                       \
    X(ping_pong_supervised)                                                                                            \
    X(thread_ring)                                                                                                     \
    X(counting)                                                                                                        \
    X(fan_in)                                                                                                          \
    X(big)                                                                                                             \
    X(chameneos)                                                                                                       \
    X(fork_join_create)                                                                                                \
    X(skynet)                                                                                                          \
    X(live_actors)                                                                                                     \
    X(ask)                                                                                                             \
    X(timers)                                                                                                          \
    X(timer_cancel)                                                                                                    \
    X(restart)                                                                                                         \
    X(restart_together)                                                                                                \
    X(restart_rate)                                                                                                    \
    X(escalate)                                                                                                        \
    X(escalate_verdict)                                                                                                \
    X(stop_tree)                                                                                                       \
    X(wake)                                                                                                            \
    X(kill_backlog)                                                                                                    \
    X(idle)

#define DECLARE(name) extern const struct tr_case tr_case_##name;
#define NAME(name) &tr_case_##name,

CASES(DECLARE)

static const struct tr_case *const codes[] = {CASES(NAME)};

#define CODES (sizeof codes / sizeof codes[0])

enum { NAME_FIELD, UNIT_FIELD, BETTER_FIELD, SIZE_FIELD, RATIO_FIELD, TEXT_FIELD, FIELDS };

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (!file)
        return NULL;
    ssize_t length = getdelim(&text, &size, '\0', file);
    fclose(file);
    if (length < 0) {
        free(text);
        return NULL;
    }
    return text;
}

static const struct tr_case *code_named(const char *name)
{
    for (size_t i = 0; i < CODES; i++)
        if (strcmp(codes[i]->name, name) == 0)
            return codes[i];
    return NULL;
}

/* One line, which it cuts up. */
static bool add_line(struct tr_table *table, char *line)
{
    char *fields[FIELDS];
    for (unsigned i = 0; i < FIELDS; i++) {
        fields[i] = strsep(&line, "\t");
        if (!fields[i] || !*fields[i]) {
            fprintf(stderr, "perf/cases.tsv: '%s': field %u is missing\n", fields[0] ? fields[0] : "", i + 1);
            return false;
        }
    }
    const struct tr_case *code = code_named(fields[NAME_FIELD]);
    if (!code || code->text || table->count == TR_ENTRIES_MAX) {
        fprintf(stderr, "perf/cases.tsv: there is no perf/bench_%s.c for it\n", fields[NAME_FIELD]);
        return false;
    }
    table->entries[table->count++] = (struct tr_entry){.code = code,
                                                       .unit = fields[UNIT_FIELD],
                                                       .text = fields[TEXT_FIELD],
                                                       .ratio = fields[RATIO_FIELD],
                                                       .size = strtoul(fields[SIZE_FIELD], NULL, 10)};
    return true;
}

static bool add_code(struct tr_table *table, const struct tr_case *code)
{
    if (tr_table_find(table, code->name))
        return true;
    if (!code->text) {
        fprintf(stderr, "perf/cases.tsv: there is no line for %s\n", code->name);
        return false;
    }
    table->entries[table->count++] =
        (struct tr_entry){.code = code, .unit = code->unit, .text = code->text, .ratio = "-", .size = code->size};
    return true;
}

bool tr_table_read(struct tr_table *table, const char *path)
{
    table->count = 0;
    table->file = read_file(path);
    if (!table->file) {
        fprintf(stderr, "cannot read the table of cases, %s; was the tree moved? ./dev build makes it anew\n", path);
        return false;
    }
    char *rest = table->file, *line;
    while ((line = strsep(&rest, "\n")))
        if (*line && *line != '#' && !add_line(table, line))
            return false;
    for (size_t i = 0; i < CODES; i++)
        if (!add_code(table, codes[i]))
            return false;
    return true;
}

const struct tr_entry *tr_table_find(const struct tr_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].code->name, name) == 0)
            return &table->entries[i];
    return NULL;
}
