/* SPDX-License-Identifier: Apache-2.0 */
/* A key-value server that speaks RESP2: shards and connections are supervised actors, logs make it durable. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <troupe/troupe.h>

#include "options.h"
#include "server.h"

/* One descriptor for each client, and some: as far as the hard limit allows. */
static void raise_fd_limit(const struct kv_options *options)
{
    struct rlimit limit;
    rlim_t wanted = options->max_clients + (rlim_t)2 * options->shards + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        fprintf(stderr, "kv: only %llu file descriptors for up to %u clients; raise the limit (ulimit -Hn)\n",
                (unsigned long long)limit.rlim_cur, options->max_clients);
}

/* One processor is left to the kernel's network work and to clients on this machine: with a worker on each, all three
 * would take turns on too few (docs/decisions/013). */
static unsigned default_workers(void)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) - 1 : 1;
    return count < 1 ? 1 : count > TROUPE_WORKERS_MAX ? TROUPE_WORKERS_MAX : (unsigned)count;
}

static int serve(const struct kv_options *options)
{
    struct kv_server server = {.options = options, .shards = calloc(options->shards, sizeof(troupe_addr))};
    const struct kv_server *args = &server;
    if (!server.shards) {
        fputs("kv: out of memory\n", stderr);
        return 1;
    }
    troupe_options runtime = {
        .workers = options->workers ? options->workers : default_workers(),
        .stop_on_signals = true,
        .stop_timeout_ns = TROUPE_SEC(60),
        .dead_letter = kv_server_dead_letter,
    };
    int status = troupe_run(&kv_server_behavior, &args, &runtime);
    free(server.shards);
    return status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct kv_options options;
    switch (kv_options_read(&options, argc, argv)) {
    case KV_OPTIONS_GOOD:
        break;
    case KV_OPTIONS_HELP:
        fputs(kv_options_help, stdout);
        return 0;
    case KV_OPTIONS_WRONG:
        fprintf(stderr, "kv: %s\nkv: try --help\n", options.error);
        return 2;
    }
    raise_fd_limit(&options);
    return serve(&options);
}
