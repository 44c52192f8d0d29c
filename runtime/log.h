/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's log: one line at a time to the user's hook or to stderr, rate-limited so that a crash storm cannot flood it.
 * Any thread may call; lines are serialised by a lock. It is not a logging library for user code. */
#ifndef TR_RUNTIME_LOG_H
#define TR_RUNTIME_LOG_H

#include <troupe/types.h>

#include <pthread.h>

struct tr_log {
    void (*hook)(void *arg, troupe_log_level level, const char *line);
    void *arg;
    troupe_log_level level;
    pthread_mutex_t lock; /* guards the rest */
    uint64_t refilled_ns; /* token bucket for warnings and below */
    unsigned tokens;
    uint64_t suppressed;      /* lines dropped since the start; read without the lock, also by the hook */
    uint64_t suppressed_said; /* how many of them have been reported */
};

void tr_log_init(struct tr_log *log, void (*hook)(void *, troupe_log_level, const char *), void *arg,
                 troupe_log_level level);
void tr_log_fini(struct tr_log *log);
/* Writes one line "level: text"; errors are never dropped, other levels are limited to so many a second. */
void tr_log_line(struct tr_log *log, troupe_log_level level, const char *format, ...) TROUPE_PRINTF(3, 4);
uint64_t tr_log_suppressed(const struct tr_log *log);

#endif
