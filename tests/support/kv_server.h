/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a running troupe-kv (or a redis-server to compare it with), on a port of its own, with its data in scratch().
 * A Criterion test may call it. One test may run several.
 * It is not a client: see resp_client.h. */
#ifndef TR_TESTS_SUPPORT_KV_SERVER_H
#define TR_TESTS_SUPPORT_KV_SERVER_H

#include "process.h"
#include "resp_client.h"

struct kv {
    struct process process;
    unsigned port;
};

struct kv_setup {
    const char *dir; /* path of the data folder; NULL: "data" in scratch() */
    const char *args[16];
    struct process_limits limits;
};

/* kv_program - the path of a program among the built examples, such as "troupe-kv"; the caller's to free. */
char *kv_program(const char *name);

/* kv_begin - start it, and do not wait for anything. setup: NULL for the defaults. */
struct process kv_begin(const struct kv_setup *setup);

/* kv_start - start it and wait until it is ready. */
struct kv kv_start(const struct kv_setup *setup);

/* kv_terminate - SIGTERM; fails the test unless it exits 0. */
void kv_terminate(struct kv *kv);

/* kv_kill - SIGKILL. */
void kv_kill(struct kv *kv);

/* kv_info - a number of INFO, asked on a connection. */
long long kv_info(struct client *c, const char *field);

/* kv_cli - what redis-cli prints for these words (line ends as they are); the caller's to free. */
char *kv_cli(const struct kv *kv, char *const words[]);

/* kv_benchmark - start redis-benchmark against it with these words. */
struct process kv_benchmark(const struct kv *kv, char *const words[]);

/* redis_start - Debian's redis-server, without persistence; false when it is not installed. */
bool redis_start(struct kv *redis);

#endif
