/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the server's command line: its options, their defaults and what is wrong with them.
 * main may call it, once.
 * It prints nothing, exits from nothing and checks no machine: not whether the host exists. */
#ifndef KV_OPTIONS_H
#define KV_OPTIONS_H

#include <stddef.h>

enum kv_fsync {
    KV_FSYNC_ALWAYS,   /* before the reply to each write */
    KV_FSYNC_EVERYSEC, /* once a second */
    KV_FSYNC_NO,       /* when the kernel pleases */
};

/* Strings belong to argv or are constant. */
struct kv_options {
    const char *host;
    unsigned port;
    const char *dir;
    unsigned shards;
    unsigned workers; /* 0: one for each processor but one */
    enum kv_fsync fsync;
    size_t max_memory; /* bytes; 0: no limit */
    unsigned max_clients;
    char error[256]; /* KV_OPTIONS_WRONG: one sentence that names the option and says what is expected */
};

enum kv_options_result {
    KV_OPTIONS_GOOD,
    KV_OPTIONS_HELP,  /* print kv_options_help, exit 0 */
    KV_OPTIONS_WRONG, /* print error, exit 2 */
};

extern const char kv_options_help[];

/* kv_options_read - read a command line; "--name value" and "--name=value" are the same.
 * Sets every field. An option given twice: the last counts. */
enum kv_options_result kv_options_read(struct kv_options *options, int argc, char *const argv[]);

/* kv_fsync_name - "always", "everysec" or "no". */
const char *kv_fsync_name(enum kv_fsync fsync);

#endif
