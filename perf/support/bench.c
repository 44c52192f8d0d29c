/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tr_bench_result(const char *name, double value, const char *unit)
{
    printf("%s %.7g %s\n", name, value, unit);
    fflush(stdout);
}

int tr_bench_failed(const struct tr_bench *bench, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: WRONG: ", bench->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (%u workers, size %lu)\n", bench->workers, bench->size);
    va_end(args);
    return 1;
}

/* Counted: valgrind makes everything slow, so no limit of time may matter; and the worker must not sleep, because
 * valgrind 3.19 does not know that io_uring_enter blocks, and lets no other thread run meanwhile. */
troupe_options tr_bench_options(const struct tr_bench *bench)
{
    troupe_options options = {.workers = bench->workers};
    if (bench->counted) {
        options.batch_ns = TROUPE_SEC(3600);
        options.spin_ns = TROUPE_SEC(3600);
    }
    return options;
}

int tr_bench_run(const struct tr_bench *bench, const troupe_behavior *root, void *arg)
{
    const troupe_options options = tr_bench_options(bench);
    int status = troupe_run(root, &arg, &options);
    if (status != 0)
        return tr_bench_failed(bench, "the runtime ended with status %d: %s", status, troupe_strerror(status));
    return 0;
}

__attribute__((noinline)) uint64_t tr_bench_begin(void)
{
    return tr_bench_clock();
}

__attribute__((noinline)) uint64_t tr_bench_end(void)
{
    return tr_bench_clock();
}

static int by_sample(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t tr_bench_quantile(uint32_t *samples, size_t count, double share)
{
    if (count == 0)
        return 0;
    qsort(samples, count, sizeof *samples, by_sample);
    size_t index = (size_t)(share * (double)count);
    return samples[index < count ? index : count - 1];
}

uint64_t tr_bench_resident_bytes(void)
{
    unsigned long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2) {
        fprintf(stderr, "cannot read /proc/self/statm\n");
        abort();
    }
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
