/* SPDX-License-Identifier: Apache-2.0 */
/* How fast an actor that always crashes comes back, and that a million crashes keep no memory: resident memory may grow by
 * at most 1 MiB between 10 % and 100 %. Prints `restart VALUE restarts/s`; exit status 1 when memory grew.
 * Arguments: [crashes] */
#include <troupe/troupe.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CRASH };

#define GROWTH_MAX (1024l * 1024)

struct bench {
    unsigned long crashes, done;
    long resident_early;
    struct timespec began;
};

static long resident_bytes(void)
{
    long total, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        abort();
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void finish(troupe_ctx *ctx, const struct bench *bench)
{
    printf("restart %.0f restarts/s\n", (double)bench->crashes / seconds_since(&bench->began));
    long growth = resident_bytes() - bench->resident_early;
    if (growth > GROWTH_MAX)
        fprintf(stderr, "bench_restart: resident memory grew by %ld bytes over the last 90 %% of %lu crashes\n", growth,
                bench->crashes);
    troupe_stop_runtime(ctx, growth > GROWTH_MAX);
}

static int crasher_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct bench *bench = *(struct bench *const *)args;
    (void)self;
    if (bench->done == 0)
        clock_gettime(CLOCK_MONOTONIC, &bench->began);
    if (bench->done == bench->crashes / 10)
        bench->resident_early = resident_bytes();
    if (bench->done++ == bench->crashes) {
        finish(ctx, bench);
        return 0;
    }
    return troupe_tell(ctx, troupe_self(ctx), CRASH, NULL, 0);
}

static void on_crash(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_panic(ctx, "once more");
}

static const troupe_behavior crasher = {
    .name = "crasher",
    .state_size = 256,
    .args_size = sizeof(struct bench *),
    .started = crasher_started,
    .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1}, /* any number of restarts */
    .handlers = {[CRASH] = {"crash", on_crash, 0, NULL}},
};

int main(int argc, char **argv)
{
    struct bench bench = {.crashes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000};
    struct bench *args = &bench;
    troupe_options options = {.workers = 1, .log_level = TROUPE_LOG_NONE};
    return troupe_run(&crasher, &args, &options);
}
