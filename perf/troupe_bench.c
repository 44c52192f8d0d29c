/* SPDX-License-Identifier: Apache-2.0 */
/* All cases of perf/ as one program, in two ways:
 *   troupe_bench CASE [--workers N] [--size N]
 *     one measurement, in this process: lines NAME VALUE UNIT, as the programs in perf/peers/ print them. Started for
 *     ./dev peers, profilers and counters, and by the program itself:
 *   troupe_bench [CASE...] --rounds N [--workers N] [--size N] [--json] [--gate]
 *     every case N times, each in a fresh process; medians and more: support/rounds.h
 *   troupe_bench --list
 * Exit status 1: a case failed, or with --gate missed its limit; 2: wrong usage. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/support/rounds.h"
#include "perf/support/symbols.h"
#include "perf/support/table.h"

struct arguments {
    const struct tr_entry *entries[TR_ENTRIES_MAX];
    size_t count;
    struct tr_rounds rounds; /* .rounds 0: one measurement */
    bool list, gate, counted;
    const char *symbols; /* --symbols FILE: see support/symbols.h */
};

static void misuse(const char *format, const char *text)
{
    fprintf(stderr, "troupe_bench: ");
    fprintf(stderr, format, text);
    fprintf(stderr, "\nusage: troupe_bench [CASE...] [--workers N] [--size N] [--rounds N] [--json] [--gate] [--list]\n"
                    "                    [--counted] [--symbols FILE]\n");
    exit(2);
}

static unsigned long number(const char *text, unsigned long max)
{
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text || *end || value == 0 || value > max)
        misuse("'%s' is not a number, or too small or too large", text ? text : "");
    return value;
}

static unsigned cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* An option with a value: true if it was one. */
static bool parse_valued(struct arguments *arguments, const char *option, const char *value)
{
    if (strcmp(option, "--workers") == 0)
        arguments->rounds.workers = (unsigned)number(value, TROUPE_WORKERS_MAX);
    else if (strcmp(option, "--size") == 0)
        arguments->rounds.size = number(value, UINT32_MAX);
    else if (strcmp(option, "--rounds") == 0)
        arguments->rounds.rounds = (unsigned)number(value, TR_ROUNDS_MAX);
    else if (strcmp(option, "--symbols") == 0)
        arguments->symbols = value ? value : (misuse("--symbols needs a file%s", ""), NULL);
    else
        return false;
    return true;
}

static bool parse_flag(struct arguments *arguments, const char *option)
{
    bool *const flags[] = {&arguments->list, &arguments->gate, &arguments->counted, &arguments->rounds.json};
    const char *const names[] = {"--list", "--gate", "--counted", "--json"};
    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (strcmp(option, names[i]) == 0)
            return *flags[i] = true;
    return false;
}

static void parse(struct arguments *arguments, const struct tr_table *table, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (parse_valued(arguments, argv[i], argv[i + 1]))
            i++;
        else if (parse_flag(arguments, argv[i]))
            continue;
        else if (argv[i][0] == '-')
            misuse("there is no option '%s'", argv[i]);
        else if (!tr_table_find(table, argv[i]))
            misuse("there is no case '%s'; --list names them", argv[i]);
        else if (arguments->count < TR_ENTRIES_MAX)
            arguments->entries[arguments->count++] = tr_table_find(table, argv[i]);
    }
    if (arguments->rounds.workers == 0)
        arguments->rounds.workers = cpus() < TROUPE_WORKERS_MAX ? cpus() : TROUPE_WORKERS_MAX;
    if (arguments->count == 0)
        for (size_t i = 0; i < table->count; i++)
            arguments->entries[arguments->count++] = &table->entries[i];
}

static int list(const struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++) {
        const struct tr_entry *entry = arguments->entries[i];
        if (arguments->rounds.json)
            printf("{\"case\": \"%s\", \"unit\": \"%s\", \"size\": %lu, \"serial\": %s}\n", entry->code->name,
                   entry->unit, entry->size, entry->code->serial ? "true" : "false");
        else
            printf("  %-20s %-13s %s\n", entry->code->name, entry->unit, entry->text);
    }
    return 0;
}

static int measure_once(const struct arguments *arguments)
{
    const struct tr_entry *entry = arguments->entries[0];
    const struct tr_bench bench = {
        .name = entry->code->name,
        .workers = arguments->rounds.workers,
        .size = arguments->rounds.size ? arguments->rounds.size : entry->size,
        .counted = arguments->counted,
    };
    if (arguments->symbols && !tr_symbols_write(entry->code, arguments->symbols))
        return 1;
    return entry->code->run(&bench) == 0 ? 0 : 1;
}

static int measure_rounds(const struct arguments *arguments)
{
    int status = 0;
    for (size_t i = 0; i < arguments->count; i++) {
        enum tr_verdict verdict = tr_rounds_run(arguments->entries[i], &arguments->rounds);
        if (verdict == TR_BROKEN || (verdict == TR_MISSED && arguments->gate))
            status = 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    static struct tr_table table;
    static struct arguments arguments;
    if (!tr_table_read(&table, TROUPE_SOURCE_DIR "/perf/cases.tsv"))
        return 1;
    parse(&arguments, &table, argc, argv);
    if (arguments.list)
        return list(&arguments);
    if (arguments.rounds.rounds > 0)
        return measure_rounds(&arguments);
    if (arguments.count != 1)
        misuse("one measurement is of one case%s", "; --rounds N measures many");
    return measure_once(&arguments);
}
