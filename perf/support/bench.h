/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks share: their options, series of rounds with median and spread, limits. For a benchmark's main
 * thread; the clock for any.
 * A series is printed as one line: CASE MEDIAN UNIT min MIN max MAX rounds N, and where it has a limit: limit LIMIT
 * met|MISSED. It is no harness: each benchmark runs its own rounds. */
#ifndef TR_PERF_SUPPORT_BENCH_H
#define TR_PERF_SUPPORT_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define TR_BENCH_ROUNDS_MAX 99u

struct tr_bench_options {
    bool gate;           /* --gate: a missed limit makes the exit status 1 */
    unsigned rounds;     /* --rounds N */
    unsigned long count; /* the first other argument: how many of what the benchmark counts */
};

/* Zeroed but for name, unit and limit before the first round. */
struct tr_series {
    const char *name, *unit;
    double limit; /* at most this; 0: there is none */
    double values[TR_BENCH_ROUNDS_MAX];
    unsigned count;
};

/* The options as given, or these; a wrong one ends the program with status 2. */
struct tr_bench_options tr_bench_parse(int argc, char **argv, struct tr_bench_options defaults);

void tr_series_add(struct tr_series *series, double value);
/* Prints its line. False: the limit is missed. */
bool tr_series_print(struct tr_series *series);

/* The median of count samples, which it sorts. */
uint32_t tr_bench_median(uint32_t *samples, size_t count);

/* A benchmark's exit status. */
static inline int tr_bench_status(const struct tr_bench_options *options, bool all_met)
{
    return options->gate && !all_met;
}

static inline uint64_t tr_bench_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
