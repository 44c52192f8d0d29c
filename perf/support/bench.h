/* SPDX-License-Identifier: Apache-2.0 */
/* What a case is: the contract between perf/bench_CASE.c and the program that runs them (perf/troupe_bench.c), and the
 * few words that all cases use. A case uses the public API only; its names, sizes and units are in perf/cases.tsv.
 * One call of `run` is one measurement, in a process of its own: rounds, medians and limits are support/rounds.h. */
#ifndef TR_PERF_SUPPORT_BENCH_H
#define TR_PERF_SUPPORT_BENCH_H

#include <troupe/troupe.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* One measurement, as it is asked for. */
struct tr_bench {
    const char *name;
    unsigned workers;
    unsigned long size; /* how many of what the case counts */
    bool counted;       /* under a counter of instructions, where time stands almost still: see tr_bench_options */
};

/* A function that runs as a frame of an actor although no behavior names it, such as an answer's. For profiles. */
struct tr_frame {
    const char *name; /* behavior.what */
    void *fn;
};

struct tr_case {
    const char *name;
    /* Measures once, prints its results by tr_bench_result, and proves that the work was done. 0; anything else: it
     * was not, and stderr says why. */
    int (*run)(const struct tr_bench *bench);
    bool serial;                         /* nothing in it runs in parallel: one worker and several should be as fast */
    double limit;                        /* of --gate: the result of the case's own name is at most this; 0: none */
    const troupe_behavior *behaviors[8]; /* the actors in it, for profiles */
    struct tr_frame frames[2];
    /* Of a case without peers, which is not in perf/cases.tsv: */
    const char *unit, *text;
    unsigned long size;
};

/* Prints the line NAME VALUE UNIT. */
void tr_bench_result(const char *name, double value, const char *unit);
/* Says on stderr that the case did not do its work, and why. Returns 1, for `run`. */
int tr_bench_failed(const struct tr_bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The runtime's options for this measurement: defaults, but for the workers. */
troupe_options tr_bench_options(const struct tr_bench *bench);
/* troupe_run with these options and one pointer as the root's arguments. 0, or it has said what went wrong. */
int tr_bench_run(const struct tr_bench *bench, const troupe_behavior *root, void *arg);

/* The value that a share (0.5: the median) of the samples is not above. Sorts them. 0 of none. */
uint32_t tr_bench_quantile(uint32_t *samples, size_t count, double share);
uint64_t tr_bench_resident_bytes(void);

static inline uint64_t tr_bench_read(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t tr_bench_clock(void)
{
    return tr_bench_read(CLOCK_MONOTONIC);
}

/* The clock, at the first and the last moment of what a case measures. Functions of their own, because ./dev count
 * tells callgrind by their names what to count: between the two, and on one worker that is busy all the while. */
uint64_t tr_bench_begin(void);
uint64_t tr_bench_end(void);

/* CPU time of the whole process so far, ns. */
static inline uint64_t tr_bench_cpu(void)
{
    return tr_bench_read(CLOCK_PROCESS_CPUTIME_ID);
}

/* The payload of a message of 8 bytes. */
static inline uint64_t tr_bench_number(const troupe_msg *msg)
{
    return *(const uint64_t *)troupe_payload(msg);
}

/* Xorshift64: state must not be 0. */
static inline uint64_t tr_bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
