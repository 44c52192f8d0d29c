/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/rounds.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULTS_MAX 8u
#define TIMEOUT_S 300u /* of one measurement: then something hangs */

/* One result over the rounds. */
struct series {
    char name[48], unit[32];
    double values[TR_ROUNDS_MAX];
    unsigned count;
};

/* A case with so many workers. */
struct setup {
    unsigned workers;
    struct series results[RESULTS_MAX];
    unsigned count;
    long peak_kib; /* of the worst round */
};

/* --- one round --- */

static struct series *series_named(struct setup *setup, const char *name, const char *unit)
{
    for (unsigned i = 0; i < setup->count; i++)
        if (strcmp(setup->results[i].name, name) == 0)
            return &setup->results[i];
    if (setup->count == RESULTS_MAX)
        return NULL;
    struct series *series = &setup->results[setup->count++];
    snprintf(series->name, sizeof series->name, "%s", name);
    snprintf(series->unit, sizeof series->unit, "%s", unit);
    series->count = 0;
    return series;
}

/* False: it is not NAME VALUE UNIT. */
static bool take_line(struct setup *setup, const char *line)
{
    char name[48], unit[32];
    double value;
    if (sscanf(line, "%47s %lf %31[^\n]", name, &value, unit) != 3)
        return false;
    struct series *series = series_named(setup, name, unit);
    if (!series || series->count == TR_ROUNDS_MAX)
        return false;
    series->values[series->count++] = value;
    return true;
}

static void become(const struct tr_entry *entry, unsigned workers, unsigned long size, int output)
{
    char workers_text[16], size_text[32], program[] = "/proc/self/exe";
    char *const arguments[] = {
        program, (char *)entry->code->name, (char *)"--workers", workers_text, (char *)"--size", size_text, NULL};
    snprintf(workers_text, sizeof workers_text, "%u", workers);
    snprintf(size_text, sizeof size_text, "%lu", size);
    dup2(output, STDOUT_FILENO);
    alarm(TIMEOUT_S); /* survives the exec, and ends it */
    execv(program, arguments);
    _exit(127);
}

static bool take_lines(struct setup *setup, int input)
{
    FILE *file = fdopen(input, "r");
    char line[256];
    bool good = file != NULL;
    while (file && fgets(line, sizeof line, file))
        if (!take_line(setup, line)) {
            fprintf(stderr, "not a result: %s", line);
            good = false;
        }
    if (file)
        fclose(file);
    return good;
}

static bool measure(const struct tr_entry *entry, struct setup *setup, unsigned long size)
{
    int ends[2], status;
    struct rusage usage;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0)
        become(entry, setup->workers, size, ends[1]);
    close(ends[1]);
    bool good = take_lines(setup, ends[0]);
    if (child < 0 || wait4(child, &status, 0, &usage) != child)
        return false;
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: ended by signal %d%s\n", entry->code->name, WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? ": it hangs" : "");
    if (usage.ru_maxrss > setup->peak_kib)
        setup->peak_kib = usage.ru_maxrss;
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- what it says --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct series *series)
{
    qsort(series->values, series->count, sizeof series->values[0], by_value);
    return (series->values[(series->count - 1) / 2] + series->values[series->count / 2]) / 2;
}

/* Decimals that tell a value from its neighbours, and no more. */
static int decimals(double value)
{
    return value == 0 ? 0 : value < 10 ? 3 : value < 1000 ? 1 : 0;
}

static const char *met(bool good)
{
    return good ? "met" : "MISSED";
}

/* What a limit or a ratio adds to a line; 0: there is none. */
struct remarks {
    double limit, ratio;
};

static bool within(double value, const struct remarks *remarks)
{
    return (remarks->limit <= 0 || value <= remarks->limit) && remarks->ratio <= TR_SERIAL_RATIO_MAX;
}

static void print_line(const struct series *series, double middle, const struct setup *setup,
                       const struct remarks *remarks)
{
    int digits = decimals(middle);
    printf("%s %.*f %s [%.*f-%.*f] rounds %u workers %u peak %.1f MiB", series->name, digits, middle, series->unit,
           digits, series->values[0], digits, series->values[series->count - 1], series->count, setup->workers,
           (double)setup->peak_kib / 1024);
    if (remarks->ratio > 0)
        printf(" ratio %.3f limit %.2f %s", remarks->ratio, TR_SERIAL_RATIO_MAX,
               met(remarks->ratio <= TR_SERIAL_RATIO_MAX));
    if (remarks->limit > 0)
        printf(" limit %g %s %s", remarks->limit, series->unit, met(middle <= remarks->limit));
    printf("\n");
}

static void print_json(const struct series *series, double middle, const struct setup *setup,
                       const struct remarks *remarks, unsigned long size)
{
    printf("{\"case\": \"%s\", \"value\": %.7g, \"unit\": \"%s\", \"min\": %.7g, \"max\": %.7g, \"rounds\": %u, "
           "\"workers\": %u, \"size\": %lu, \"peak_bytes\": %ld",
           series->name, middle, series->unit, series->values[0], series->values[series->count - 1], series->count,
           setup->workers, size, setup->peak_kib * 1024);
    if (remarks->ratio > 0)
        printf(", \"ratio_to_one_worker\": %.4f", remarks->ratio);
    if (remarks->limit > 0)
        printf(", \"limit\": %g", remarks->limit);
    printf(", \"met\": %s}\n", within(middle, remarks) ? "true" : "false");
}

/* ratio_to: the same case's result with one worker, or 0. */
static enum tr_verdict print(struct setup *setup, const struct tr_entry *entry, const struct tr_rounds *asked,
                             unsigned long size, double ratio_to)
{
    enum tr_verdict verdict = TR_MET;
    for (unsigned i = 0; i < setup->count; i++) {
        struct series *series = &setup->results[i];
        double middle = median(series);
        struct remarks remarks = {0};
        if (strcmp(series->name, entry->code->name) == 0) {
            remarks.limit = entry->code->limit;
            remarks.ratio = ratio_to > 0 ? middle / ratio_to : 0;
        }
        if (asked->json)
            print_json(series, middle, setup, &remarks, size);
        else
            print_line(series, middle, setup, &remarks);
        if (!within(middle, &remarks))
            verdict = TR_MISSED;
    }
    fflush(stdout);
    return verdict;
}

/* A serial case is measured with one worker too, in turns. */
enum tr_verdict tr_rounds_run(const struct tr_entry *entry, const struct tr_rounds *asked)
{
    unsigned long size = asked->size ? asked->size : entry->size;
    bool both = entry->code->serial && asked->workers > 1;
    struct setup *setups = calloc(2, sizeof *setups);
    if (!setups)
        return TR_BROKEN;
    setups[0].workers = both ? 1 : asked->workers;
    setups[1].workers = asked->workers;
    enum tr_verdict verdict = TR_MET;
    for (unsigned i = 0; i < asked->rounds && verdict == TR_MET; i++)
        if (!measure(entry, &setups[0], size) || (both && !measure(entry, &setups[1], size)))
            verdict = TR_BROKEN;
    if (verdict == TR_MET) {
        verdict = print(&setups[0], entry, asked, size, 0);
        double one_worker = setups[0].count > 0 ? median(&setups[0].results[0]) : 0;
        if (both && print(&setups[1], entry, asked, size, one_worker) == TR_MISSED)
            verdict = TR_MISSED;
    }
    free(setups);
    return verdict;
}
