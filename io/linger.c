/* SPDX-License-Identifier: Apache-2.0 */
/* One receive at a time into a lent buffer, and a timer. Everything happens on the loop's thread; a caller elsewhere
 * sends the block there as a command. It ends when the receive is back: with end of input, an error, or cancelled by
 * the timer or by a leaving loop. The timer looks whether the peer has taken output since the last time (SIOCOUTQ): a
 * peer may be as slow as it likes, but not still. What arrives is bounded too, for a peer that never stops. */
#include "io/linger.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/loop.h"
#include "sched/base/assert.h"

#define STILL_NS UINT64_C(10000000000) /* patience with a peer that takes nothing */
#define AFTER_NS UINT64_C(2000000000)  /* and with one that has taken everything and does not close */
#define LINGER_BYTES (UINT64_C(64) << 20)

struct farewell {
    struct tr_loop_command command;
    struct tr_timer timer;
    struct tr_loop *loop;
    struct tr_op *op;
    uint64_t dropped;
    int unsent; /* bytes that the peer had not acknowledged when the timer last looked */
    int fd;
};

static void end(struct farewell *farewell)
{
    tr_wheel_disarm(tr_loop_wheel(farewell->loop), &farewell->timer);
    close(farewell->fd);
    free(farewell);
}

static struct farewell *farewell_of(struct tr_op *op)
{
    struct farewell *farewell;
    __builtin_memcpy(&farewell, op->user, sizeof farewell);
    return farewell;
}

static void input_dropped(struct tr_op *op);

static void drop_more(struct farewell *farewell)
{
    struct tr_op *op = tr_op_get(farewell->loop, TR_OP_RECV, input_dropped);
    farewell->op = op;
    if (!op) {
        end(farewell);
        return;
    }
    __builtin_memcpy(op->user, &farewell, sizeof farewell);
    op->fd = farewell->fd;
    tr_op_submit(op);
}

static void input_dropped(struct tr_op *op)
{
    struct farewell *farewell = farewell_of(op);
    int res = op->res;
    tr_op_put(op);
    if (res > 0)
        farewell->dropped += (uint64_t)res;
    if (res <= 0 || farewell->dropped > LINGER_BYTES || !farewell->timer.armed)
        end(farewell);
    else
        drop_more(farewell);
}

static int unsent_bytes(int fd)
{
    int bytes;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

static void arm_timer(struct farewell *farewell)
{
    farewell->unsent = unsent_bytes(farewell->fd);
    tr_wheel_arm(tr_loop_wheel(farewell->loop), &farewell->timer,
                 tr_loop_now(farewell->loop) + (farewell->unsent ? STILL_NS : AFTER_NS));
}

static void time_is_over(struct tr_timer *timer)
{
    struct farewell *farewell = TR_CONTAINER_OF(timer, struct farewell, timer);
    if (unsent_bytes(farewell->fd) < farewell->unsent)
        arm_timer(farewell);
    else
        tr_op_cancel(farewell->op);
}

static void begin(struct tr_loop *loop, struct tr_loop_command *command)
{
    struct farewell *farewell = TR_CONTAINER_OF(command, struct farewell, command);
    TR_ASSERT(tr_loop_is_current(loop));
    arm_timer(farewell);
    drop_more(farewell);
}

void tr_linger(struct tr_loop *loop, int fd)
{
    struct farewell *farewell = calloc(1, sizeof *farewell);
    if (!farewell) {
        close(fd);
        return;
    }
    farewell->command.fn = begin;
    farewell->timer.fire = time_is_over;
    farewell->loop = loop;
    farewell->fd = fd;
    if (tr_loop_is_current(loop))
        begin(loop, &farewell->command);
    else
        tr_loop_post(loop, &farewell->command);
}
