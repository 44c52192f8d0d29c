/* SPDX-License-Identifier: Apache-2.0 */
/* The default of troupe_options.log: writes records to stderr for a person. Plain lines are written at once. A crash
 * with a backtrace goes to a thread of its own, because finding functions and lines takes milliseconds, which no worker
 * has; what is logged while that is busy goes the same way, so that the order stays. The thread is made when first
 * needed. Without it, or when its queue is full, a crash is written at once, with what the loader knows. Nothing is
 * dropped here: log.h limits.
 *
 * Owns the queue and the thread. Calls to tr_reporter_write must come one at a time (the log's lock). `lock` guards the
 * queue, and is not held while text is made or written. */
#ifndef TR_RUNTIME_REPORTER_H
#define TR_RUNTIME_REPORTER_H

#include <troupe/log.h>

#include <pthread.h>

#define TR_REPORTS_MAX 64 /* waiting at once */

struct tr_report;

struct tr_reporter {
    char name[16];        /* the thread's */
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wanted, done;
    struct tr_report *queue; /* a ring; NULL until there is a thread */
    unsigned first, count;   /* the one being written is the first */
    bool running, ending;
    pthread_t thread;
};

/* name: the thread becomes NAME/log, NAME cut at 7 bytes. */
void tr_reporter_init(struct tr_reporter *reporter, const char *name);
/* Writes what is queued, ends the thread. */
void tr_reporter_fini(struct tr_reporter *reporter);
/* A hook for troupe_options.log; arg is the reporter. */
void tr_reporter_write(void *arg, const troupe_log_record *record);
/* Waits until all is written that was queued before, at most so long. False: it was not. */
bool tr_reporter_flush(struct tr_reporter *reporter, unsigned timeout_s);

#endif
