/* SPDX-License-Identifier: Apache-2.0 */
/* A loop that the test's own thread drives through the hooks, and the few things every I/O test needs.
 * The test owns it: harness_open, harness_close. It is not a pool: no worker threads. */
#ifndef TR_TESTS_IO_HARNESS_H
#define TR_TESTS_IO_HARNESS_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/loop.h"

#define PATIENCE_NS UINT64_C(10000000000) /* for what is due at once: only a broken build waits so long */

struct harness {
    struct tr_io *io;
    struct tr_hooks hooks;
    struct tr_loop *loop;
};

static inline int harness_count_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static inline struct harness harness_open(const struct tr_io_options *options)
{
    struct harness h = {0};
    char why[512];
    void *loop;
    cr_assert_eq(tr_io_create(&h.io, 1, options, why, sizeof why), 0, "%s", why);
    h.hooks = tr_io_hooks(h.io);
    cr_assert_eq(h.hooks.attach(h.hooks.arg, NULL, &loop), 0);
    h.loop = loop;
    return h;
}

static inline void harness_close(struct harness *h)
{
    h->hooks.detach(h->loop);
    tr_io_destroy(h->io);
}

/* Waits for events until the condition holds. */
#define HARNESS_UNTIL(h, condition)                                                                                    \
    do {                                                                                                               \
        uint64_t until_ = tr_loop_clock() + PATIENCE_NS;                                                               \
        while (!(condition)) {                                                                                         \
            cr_assert_lt(tr_loop_clock(), until_, "never came true: %s", #condition);                                  \
            (h)->hooks.wait((h)->loop, PATIENCE_NS / 10);                                                              \
        }                                                                                                              \
    } while (0)

static inline struct tr_loop_stats harness_stats(const struct harness *h)
{
    struct tr_loop_stats stats;
    tr_loop_stats(h->loop, &stats);
    return stats;
}

/* An op's outcome, kept where its user bytes point. */
struct outcome {
    int times;
    int res;
    struct tr_op *op;
};

static inline void outcome_note(struct tr_op *op)
{
    struct outcome *outcome;
    memcpy(&outcome, op->user, sizeof outcome);
    outcome->times++;
    outcome->res = op->res;
    outcome->op = op;
}

static inline struct tr_op *outcome_op(struct tr_loop *loop, enum tr_op_kind kind, int fd, struct outcome *outcome)
{
    struct tr_op *op = tr_op_get(loop, kind, outcome_note);
    if (!op)
        return NULL;
    memcpy(op->user, &outcome, sizeof outcome);
    op->fd = fd;
    return op;
}

#endif
