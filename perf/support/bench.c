/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long number(const char *program, const char *text, unsigned long max)
{
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text || *end || value == 0 || value > max) {
        fprintf(stderr, "%s: '%s' is not a number from 1 to %lu\nusage: %s [--gate] [--rounds N] [COUNT]\n", program,
                text ? text : "", max, program);
        exit(2);
    }
    return value;
}

struct tr_bench_options tr_bench_parse(int argc, char **argv, struct tr_bench_options defaults)
{
    struct tr_bench_options options = defaults;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--gate") == 0)
            options.gate = true;
        else if (strcmp(argv[i], "--rounds") == 0)
            options.rounds = (unsigned)number(argv[0], argv[++i], TR_BENCH_ROUNDS_MAX);
        else
            options.count = number(argv[0], argv[i], UINT32_MAX);
    }
    return options;
}

void tr_series_add(struct tr_series *series, double value)
{
    if (series->count < TR_BENCH_ROUNDS_MAX)
        series->values[series->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Decimals that tell a value from its neighbours, and no more. */
static int decimals(double value)
{
    return value < 10 ? 3 : value < 1000 ? 1 : 0;
}

bool tr_series_print(struct tr_series *series)
{
    double *values = series->values;
    unsigned n = series->count;
    if (n == 0) {
        printf("%s none %s rounds 0\n", series->name, series->unit);
        return false;
    }
    qsort(values, n, sizeof *values, by_value);
    double median = (values[(n - 1) / 2] + values[n / 2]) / 2;
    bool met = series->limit <= 0 || median <= series->limit;
    int digits = decimals(median);
    printf("%s %.*f %s min %.*f max %.*f rounds %u", series->name, digits, median, series->unit, digits, values[0],
           digits, values[n - 1], n);
    if (series->limit > 0)
        printf(" limit %g %s", series->limit, met ? "met" : "MISSED");
    printf("\n");
    fflush(stdout);
    return met;
}

static int by_sample(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t tr_bench_median(uint32_t *samples, size_t count)
{
    if (count == 0)
        return 0;
    qsort(samples, count, sizeof *samples, by_sample);
    return samples[count / 2];
}
