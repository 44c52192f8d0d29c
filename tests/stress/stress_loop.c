/* SPDX-License-Identifier: Apache-2.0 */
/* Two loops in threads of their own, and foreign threads that post, wake, cancel and put at random: nothing is lost,
 * nothing happens twice, nothing is left. A plain program, for ThreadSanitizer. usage: stress_loop [rounds] [seed] */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ck_pr.h>

#include "io/loop.h"
#include "sched/base/assert.h"
#include "sched/base/list.h"

#define LOOPS 2u
#define HELPERS 2u

/* One receive that a helper feeds or cancels while its loop waits; whoever the completion reaches puts it. */
struct job {
    struct tr_loop_command command;
    struct side *side;
    struct tr_op *op;
    int fds[2];
    uint32_t armed, done; /* atomic */
    bool put_abroad;
    int res;
};

struct side {
    struct tr_io *io;
    struct tr_hooks hooks;
    struct tr_loop *loop;
    pthread_t thread;
    uint32_t ready, stop; /* atomic */
    uint64_t commands;    /* run on the loop's thread */
};

static struct side sides[LOOPS];
static uint64_t rounds = 3000;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void received(struct tr_op *op)
{
    struct job *job;
    memcpy(&job, op->user, sizeof job);
    job->res = op->res;
    if (op->res > 0)
        TR_ASSERT(memcmp(op->buffer, "stress", 6) == 0);
    if (!job->put_abroad)
        tr_op_put(op);
    ck_pr_fence_release();
    ck_pr_store_32(&job->done, 1);
}

static void arm(struct tr_loop *loop, struct tr_loop_command *command)
{
    struct job *job = TR_CONTAINER_OF(command, struct job, command);
    TR_ASSERT(tr_loop_is_current(loop));
    job->side->commands++;
    job->op = tr_op_get(loop, TR_OP_RECV, received);
    TR_ASSERT(job->op != NULL);
    memcpy(job->op->user, &job, sizeof job);
    job->op->fd = job->fds[0];
    tr_op_submit(job->op);
    ck_pr_fence_release();
    ck_pr_store_32(&job->armed, 1);
}

static void await(const uint32_t *word)
{
    uint64_t until = tr_loop_clock() + UINT64_C(60000000000);
    while (!ck_pr_load_32(word)) {
        TR_ASSERT(tr_loop_clock() < until);
        sched_yield();
    }
    ck_pr_fence_acquire();
}

static void one_round(struct job *job, uint64_t *random)
{
    uint64_t dice = next_random(random);
    job->side = &sides[dice % LOOPS];
    job->put_abroad = dice >> 8 & 1;
    job->command.fn = arm;
    job->armed = job->done = 0;
    job->res = 0;
    bool cancels = job->put_abroad && (dice >> 9 & 1); /* who cancels must know that the op was not put */
    tr_loop_post(job->side->loop, &job->command);
    if (dice >> 10 & 1)
        job->side->hooks.wake(job->side->loop);
    await(&job->armed);
    bool fed = !cancels || (dice >> 11 & 1);
    if (fed)
        TR_ASSERT(write(job->fds[1], "stress", 6) == 6);
    if (cancels)
        tr_op_cancel(job->op);
    await(&job->done);
    TR_ASSERT(job->res == 6 || (cancels && job->res == -ECANCELED));
    if (cancels && (dice >> 12 & 1))
        tr_op_cancel(job->op);
    if (job->put_abroad)
        tr_op_put(job->op);
    char bytes[6];
    if (fed && job->res != 6)
        TR_ASSERT(read(job->fds[0], bytes, 6) == 6);
}

static void *help(void *arg)
{
    uint64_t random = *(const uint64_t *)arg;
    struct job *job = calloc(1, sizeof *job);
    TR_ASSERT(job != NULL);
    TR_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, job->fds) == 0);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(job, &random);
    close(job->fds[0]);
    close(job->fds[1]);
    free(job);
    return NULL;
}

static void *run_loop(void *arg)
{
    struct side *side = arg;
    void *loop;
    TR_ASSERT(side->hooks.attach(side->hooks.arg, NULL, &loop) == 0);
    side->loop = loop;
    ck_pr_fence_release();
    ck_pr_store_32(&side->ready, 1);
    while (!ck_pr_load_32(&side->stop))
        side->hooks.wait(loop, TR_WAIT_FOREVER);
    side->hooks.detach(loop);
    return NULL;
}

static void start(struct tr_io *io)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        sides[i] = (struct side){.io = io, .hooks = tr_io_hooks(io)};
        TR_ASSERT(pthread_create(&sides[i].thread, NULL, run_loop, &sides[i]) == 0);
        await(&sides[i].ready);
    }
}

static void stop(void)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        struct tr_loop_stats stats;
        ck_pr_store_32(&sides[i].stop, 1);
        sides[i].hooks.wake(sides[i].loop);
        TR_ASSERT(pthread_join(sides[i].thread, NULL) == 0);
        tr_loop_stats(sides[i].loop, &stats);
        TR_ASSERT(stats.ops_in_use == 0 && stats.ops_in_flight == 0 && stats.buffers_lent == 0);
        TR_ASSERT(stats.submitted == sides[i].commands && stats.completed == sides[i].commands);
        printf("loop %u: %" PRIu64 " ops, %" PRIu64 " enters, %" PRIu64 " wakes\n", i, stats.completed, stats.enters,
               stats.wakes_received);
    }
}

int main(int argc, char **argv)
{
    char why[512];
    struct tr_io *io;
    pthread_t helpers[HELPERS];
    uint64_t seeds[HELPERS];
    if (argc > 1)
        rounds = strtoull(argv[1], NULL, 10);
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    printf("rounds %" PRIu64 ", seed %" PRIu64 "\n", rounds, seed);
    /* Tiny queues and few buffers, so that every fallback is taken. */
    struct tr_io_options options = {.sq_entries = 4, .cq_entries = 8, .buffers = 16, .buffer_size = 64};
    if (tr_io_create(&io, LOOPS, &options, why, sizeof why) != 0) {
        printf("%s\n", why);
        return 1;
    }
    start(io);
    for (unsigned i = 0; i < HELPERS; i++) {
        seeds[i] = (seed + i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        TR_ASSERT(pthread_create(&helpers[i], NULL, help, &seeds[i]) == 0);
    }
    for (unsigned i = 0; i < HELPERS; i++)
        TR_ASSERT(pthread_join(helpers[i], NULL) == 0);
    stop();
    tr_io_destroy(io);
    return 0;
}
