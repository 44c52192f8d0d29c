/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log.h"

#include <stdarg.h>
#include <stdio.h>

#include <ck_pr.h>

#include "io/loop.h"

#define LINES_PER_SECOND 20u
#define LOG_LINE_MAX 768

static void log_to_stderr(void *arg, troupe_log_level level, const char *line)
{
    static const char *const names[] = {"", "", "error", "warning", "info", "debug"};
    (void)arg;
    fprintf(stderr, "troupe: %s: %s\n", names[level], line);
}

void tr_log_init(struct tr_log *log, void (*hook)(void *, troupe_log_level, const char *), void *arg,
                 troupe_log_level level)
{
    *log = (struct tr_log){
        .hook = hook ? hook : log_to_stderr,
        .arg = arg,
        .level = level == TROUPE_LOG_DEFAULT ? TROUPE_LOG_WARN : level,
        .tokens = LINES_PER_SECOND,
        .refilled_ns = tr_loop_clock(),
    };
    pthread_mutex_init(&log->lock, NULL);
}

void tr_log_fini(struct tr_log *log)
{
    pthread_mutex_destroy(&log->lock);
}

/* Under the lock. */
static bool take_token(struct tr_log *log)
{
    uint64_t now = tr_loop_clock();
    if (now - log->refilled_ns >= TROUPE_SEC(1)) {
        log->refilled_ns = now;
        log->tokens = LINES_PER_SECOND;
    }
    if (log->tokens == 0) {
        ck_pr_store_64(&log->suppressed, log->suppressed + 1);
        return false;
    }
    log->tokens--;
    return true;
}

/* Under the lock: says once per burst how much was dropped. */
static void say_suppressed(struct tr_log *log)
{
    uint64_t dropped = log->suppressed - log->suppressed_said;
    if (dropped == 0)
        return;
    char line[96];
    snprintf(line, sizeof line, "%llu lines dropped by the rate limit of %u per second", (unsigned long long)dropped,
             LINES_PER_SECOND);
    log->suppressed_said = log->suppressed;
    log->hook(log->arg, TROUPE_LOG_WARN, line);
}

void tr_log_line(struct tr_log *log, troupe_log_level level, const char *format, ...)
{
    if (level > log->level)
        return;
    pthread_mutex_lock(&log->lock);
    if (level == TROUPE_LOG_ERROR || take_token(log)) {
        char line[LOG_LINE_MAX];
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
        say_suppressed(log);
        log->hook(log->arg, level, line);
    }
    pthread_mutex_unlock(&log->lock);
}

uint64_t tr_log_suppressed(const struct tr_log *log)
{
    return ck_pr_load_64(&log->suppressed);
}
