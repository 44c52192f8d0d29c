/* SPDX-License-Identifier: Apache-2.0 */
/* A queue under a mutex: its users are about to wait for a disk. The mutex carries the op to the thread and what its
 * submitter wrote; tr_loop_post carries it back. The condition is signalled only when a thread sleeps on it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pwritev, O_DIRECT, pthread_setname_np */
#endif

#include "io/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/backend.h"
#include "io/loop_state.h"

struct tr_blocking {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work;
    struct tr_op_queue queue;
    unsigned idle; /* threads that sleep on `work` */
    unsigned threads;
    bool stopping;
    pthread_t thread[TR_BLOCKING_THREADS];
};

bool tr_blocking_wants(const struct tr_op *op)
{
    if (op->kind == TR_OP_FDATASYNC)
        return true;
    if (op->kind != TR_OP_WRITE)
        return false;
    struct stat st;
    int flags = fcntl(op->fd, F_GETFL);
    return flags >= 0 && !(flags & O_DIRECT) && fstat(op->fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int32_t perform(const struct tr_op *op)
{
    ssize_t res;
    do {
        res = op->kind == TR_OP_FDATASYNC ? fdatasync(op->fd)
                                          : pwritev(op->fd, op->iov, (int)op->iov_count, (off_t)op->offset);
    } while (res < 0 && errno == EINTR);
    return res < 0 ? -errno : (int32_t)res;
}

/* On the home loop's thread. */
static void landed(struct tr_loop *loop, struct tr_loop_command *command)
{
    struct tr_op *op = TR_CONTAINER_OF(command, struct tr_op, landed);
    (void)loop;
    tr_op_complete(op, op->landed_res);
}

static struct tr_op *next(struct tr_blocking *b)
{
    while (!b->queue.head && !b->stopping) {
        b->idle++;
        pthread_cond_wait(&b->work, &b->lock);
        b->idle--;
    }
    return tr_op_queue_pop(&b->queue);
}

static void *run(void *arg)
{
    struct tr_blocking *b = arg;
    struct tr_op *op;
    pthread_mutex_lock(&b->lock);
    while ((op = next(b))) {
        pthread_mutex_unlock(&b->lock);
        op->landed_res = perform(op);
        op->landed.fn = landed;
        tr_loop_post(op->home, &op->landed);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Under the lock. Signals are for the program's own threads. */
static void add_thread(struct tr_blocking *b)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&b->thread[b->threads], NULL, run, b) == 0) {
        pthread_setname_np(b->thread[b->threads], "troupe/file");
        b->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool tr_blocking_submit(struct tr_blocking *b, struct tr_op *op)
{
    pthread_mutex_lock(&b->lock);
    if (b->idle == 0 && b->threads < TR_BLOCKING_THREADS)
        add_thread(b);
    bool taken = b->threads > 0;
    if (taken)
        tr_op_queue_push(&b->queue, op);
    if (taken && b->idle > 0)
        pthread_cond_signal(&b->work);
    pthread_mutex_unlock(&b->lock);
    return taken;
}

struct tr_blocking *tr_blocking_create(void)
{
    struct tr_blocking *b = calloc(1, sizeof *b);
    if (b) {
        pthread_mutex_init(&b->lock, NULL);
        pthread_cond_init(&b->work, NULL);
    }
    return b;
}

void tr_blocking_destroy(struct tr_blocking *b)
{
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->threads; i++)
        pthread_join(b->thread[i], NULL);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
