/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring back end: one ring per loop, made and used by the loop's thread alone. The only file that knows
 * liburing.
 *
 * Submission and completion queue: the words shared with the kernel are read with acquire and written with release, as
 * io_uring(7) demands (liburing's barrier.h). Entries are filled in place and published in enter; index i of the array
 * always names entry i, so publishing is one store of the tail.
 *
 * Doorbell: an eventfd that a multishot poll watches. Each write posts a completion, which ends the sleep; nobody reads
 *   the counter while the poll lives (it would take 2^64 wakes to fill it).
 *   A multishot poll may end at any completion (a full completion queue ends it): F_MORE is then clear. At that
 *   completion, and only there, the eventfd is read; the poll is armed anew in the next enter, and fires at once if it
 *   is readable. No wake is lost: what that read takes away was written by wakers that found the owner IN_RING in a
 *   sleep that is over, so what they published is taken in after it (park.h, edge W -> C). A read between IN_RING and
 *   the sleep would lose one. Kernels without multishot poll (-EINVAL) get one-shot polls in the same way.
 *
 * An entry taken from the submission queue is irrevocable. Cancels are entries too, and so always come after their op.
 * Checked by: tests/io/test_loop.c (tiny queues), tests/io/test_op.c. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/loop_state.h"
#include "sched/base/assert.h"

#define BUFFER_GROUP 0
#define BUFFERS_MIN 16u
#define LENGTH_MAX 0x7ffff000u
#define ATTEMPTS_MAX 16 /* of an op whose file answers EAGAIN */
#define CLOCK_EVERY 32u /* completions between two looks at the clock */
#define QUEUE_MIN 8u

/* Younger than liburing 2.3's header; the numbers are the kernel's ABI. */
#define ENTER_NO_IOWAIT (1u << 7)
#define FEAT_NO_IOWAIT (1u << 17)

/* user_data: tag (8 bits) | op index (24) | op generation (32). An op's tag is its kind. */
enum tag { TAG_WAKE = 0x80, TAG_CANCEL = 0x81 };

struct uring {
    struct io_uring ring;
    unsigned enter_fd, enter_flags, wait_flags;
    unsigned cq_entries;
    bool buffer_ring;
    bool multishot; /* the doorbell's poll */
    bool armed;     /* the doorbell's poll is with the kernel, or in the submission queue */
    int wake_fd;
};

/* Set-up flags, best first, and the kernel that brought them. */
static const struct rung {
    unsigned flags;
    const char *name;
} ladder[] = {
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
     "deferred task work"}, /* 6.1 */
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
     "cooperative task work, single issuer"}, /* 6.0 */
    {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
     "cooperative task work"},                    /* 5.19 */
    {IORING_SETUP_SUBMIT_ALL, "plain task work"}, /* 5.18 */
    {0, "plain task work, stop at a bad entry"},
};
#define LADDER_LENGTH (sizeof ladder / sizeof ladder[0])

static struct uring *state_of(const struct tr_loop *loop)
{
    return loop->backend_state;
}

/* Setting up. */

static bool rung_allowed(const struct tr_io *io, const struct rung *rung)
{
    if ((io->options.without & TR_IO_WITHOUT_DEFER) && (rung->flags & IORING_SETUP_DEFER_TASKRUN))
        return false;
    return !(io->options.without & TR_IO_WITHOUT_TASKRUN_FLAGS) || !(rung->flags & IORING_SETUP_TASKRUN_FLAG);
}

/* Halves the completion queue, and last the submission queue, until the memory suffices. */
static int init_ring(struct uring *u, const struct tr_io_options *options, unsigned flags)
{
    unsigned sq = options->sq_entries, cq = options->cq_entries;
    for (;;) {
        struct io_uring_params params = {.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = cq};
        int error = io_uring_queue_init_params(sq, &u->ring, &params);
        if (error != -ENOMEM) {
            u->cq_entries = params.cq_entries;
            return error;
        }
        if (cq > 2 * sq)
            cq /= 2;
        else if (sq > QUEUE_MIN)
            sq /= 2, cq = 2 * sq;
        else
            return error;
    }
}

static int climb_down(struct uring *u, struct tr_io *io)
{
    int error = -EINVAL;
    for (unsigned rung = io->rung; rung < LADDER_LENGTH && error == -EINVAL; rung++) {
        if (!rung_allowed(io, &ladder[rung]))
            continue;
        error = init_ring(u, &io->options, ladder[rung].flags);
        if (!error && io->rung != rung)
            io->rung = rung; /* only ever in the self-test: later loops begin here */
    }
    return error;
}

static bool share_buffers(struct tr_loop *loop, struct uring *u)
{
    unsigned count = loop->buffers.count;
    if (loop->io->options.without & TR_IO_WITHOUT_BUFFER_RING)
        return false;
    for (;;) {
        struct io_uring_buf_reg reg = {
            .ring_addr = (uint64_t)(uintptr_t)loop->buffers.ring, .ring_entries = count, .bgid = BUFFER_GROUP};
        int error = io_uring_register_buf_ring(&u->ring, &reg, 0);
        if (error != -ENOMEM || count <= BUFFERS_MIN)
            return error == 0;
        count /= 2;
        tr_bufring_shrink(&loop->buffers, count);
    }
}

static void set_up_enter(struct uring *u, bool register_fd)
{
    /* Linux 6.0 and newer only: older ones that claim to know it may hang at exit. */
    bool registered = register_fd && io_uring_register_ring_fd(&u->ring) == 1;
    u->enter_fd = (unsigned)(registered ? u->ring.enter_ring_fd : u->ring.ring_fd);
    u->enter_flags = IORING_ENTER_GETEVENTS | (registered ? IORING_ENTER_REGISTERED_RING : 0);
    u->wait_flags = u->enter_flags | IORING_ENTER_EXT_ARG;
    if (u->ring.features & FEAT_NO_IOWAIT)
        u->wait_flags |= ENTER_NO_IOWAIT; /* an idle loop is not a busy disk */
    for (unsigned i = 0; i < u->ring.sq.ring_entries; i++)
        u->ring.sq.array[i] = i;
}

static int uring_open(struct tr_loop *loop)
{
    struct tr_io *io = loop->io;
    unsigned limits[2] = {io->options.iowq_max, io->options.iowq_max};
    struct uring *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->multishot = true;
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = u->wake_fd < 0 ? -errno : climb_down(u, io);
    if (!error && !(u->ring.features & IORING_FEAT_EXT_ARG)) {
        io_uring_queue_exit(&u->ring);
        error = -ENOTSUP;
    }
    if (error) {
        if (u->wake_fd >= 0)
            close(u->wake_fd);
        free(u);
        return error;
    }
    set_up_enter(u, (ladder[io->rung].flags & IORING_SETUP_SINGLE_ISSUER) != 0);
    io_uring_register_iowq_max_workers(&u->ring, limits); /* 5.15 and newer; without it there are just more threads */
    io_uring_ring_dontfork(&u->ring);
    u->buffer_ring = share_buffers(loop, u);
    tr_bufring_start(&loop->buffers, u->buffer_ring);
    loop->backend_state = u;
    return 0;
}

static void uring_close(struct tr_loop *loop)
{
    struct uring *u = state_of(loop);
    if (u->enter_flags & IORING_ENTER_REGISTERED_RING)
        io_uring_unregister_ring_fd(&u->ring);
    io_uring_queue_exit(&u->ring);
}

static void uring_free(struct tr_loop *loop)
{
    struct uring *u = state_of(loop);
    close(u->wake_fd);
    free(u);
}

/* Submitting. */

static uint64_t user_data_of(const struct tr_op *op)
{
    return (uint64_t)op->kind << 56 | (uint64_t)op->index << 32 | op->generation;
}

static uint32_t capped(size_t length)
{
    return length < LENGTH_MAX ? (uint32_t)length : LENGTH_MAX;
}

/* No buffer, and the kernel does not choose one: wait until there is data, then receive it ourselves. */
static bool receives_by_poll(const struct uring *u, const struct tr_op *op)
{
    return op->kind == TR_OP_RECV && !op->buffer && !u->buffer_ring;
}

static void prepare_recv(const struct tr_loop *loop, struct io_uring_sqe *sqe, struct tr_op *op)
{
    if (op->buffer) {
        io_uring_prep_recv(sqe, op->fd, op->buffer, capped(op->length), 0);
        return;
    }
    if (receives_by_poll(state_of(loop), op)) {
        io_uring_prep_poll_add(sqe, op->fd, POLLIN);
        return;
    }
    size_t length = op->length && op->length < loop->buffers.size ? op->length : loop->buffers.size;
    io_uring_prep_recv(sqe, op->fd, NULL, length, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
}

static void prepare_send(struct io_uring_sqe *sqe, struct tr_op *op)
{
    if (op->iov_count == 1) {
        io_uring_prep_send(sqe, op->fd, op->iov[0].iov_base, capped(op->iov[0].iov_len), MSG_NOSIGNAL);
        return;
    }
    op->msg = (struct msghdr){.msg_iov = op->iov, .msg_iovlen = op->iov_count};
    io_uring_prep_sendmsg(sqe, op->fd, &op->msg, MSG_NOSIGNAL);
}

static void prepare(const struct tr_loop *loop, struct io_uring_sqe *sqe, struct tr_op *op)
{
    switch (op->kind) {
    case TR_OP_ACCEPT:
        op->addr_len = sizeof op->addr;
        io_uring_prep_accept(sqe, op->fd, (struct sockaddr *)&op->addr, &op->addr_len, SOCK_CLOEXEC);
        break;
    case TR_OP_CONNECT:
        io_uring_prep_connect(sqe, op->fd, (struct sockaddr *)&op->addr, op->addr_len);
        break;
    case TR_OP_RECV:
        prepare_recv(loop, sqe, op);
        break;
    case TR_OP_SEND:
        prepare_send(sqe, op);
        break;
    case TR_OP_READ:
        io_uring_prep_read(sqe, op->fd, op->buffer, capped(op->length), op->offset);
        break;
    case TR_OP_WRITE:
        io_uring_prep_writev(sqe, op->fd, op->iov, op->iov_count, op->offset);
        break;
    case TR_OP_FDATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case TR_OP_POLL:
        io_uring_prep_poll_add(sqe, op->fd, (unsigned)op->length);
        break;
    case TR_OP_KIND_COUNT:
        tr_assert_failed("op->kind < TR_OP_KIND_COUNT", __FILE__, __LINE__);
    }
    sqe->user_data = user_data_of(op);
}

static bool uring_start(struct tr_loop *loop, struct tr_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&state_of(loop)->ring);
    if (!sqe)
        return false;
    prepare(loop, sqe, op);
    return true;
}

static bool uring_cancel(struct tr_loop *loop, struct tr_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&state_of(loop)->ring);
    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, user_data_of(op), 0);
    sqe->user_data = (uint64_t)TAG_CANCEL << 56;
    return true;
}

static void arm_doorbell(struct uring *u)
{
    if (u->armed)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe)
        return; /* the caller makes room and comes again before it sleeps */
    if (u->multishot)
        io_uring_prep_poll_multishot(sqe, u->wake_fd, POLLIN);
    else
        io_uring_prep_poll_add(sqe, u->wake_fd, POLLIN);
    sqe->user_data = (uint64_t)TAG_WAKE << 56;
    u->armed = true;
}

/* Entering the kernel. */

static unsigned publish(struct io_uring *ring)
{
    struct io_uring_sq *sq = &ring->sq;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    sq->sqe_head = sq->sqe_tail;
    return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

static bool kernel_has_work(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static void check_enter(int result)
{
    /* EINTR: a signal. ETIME: the time is over. EBUSY: reap first. EAGAIN: short of memory for requests, try later.
     * What was not taken stays in the submission queue. Anything else (EBADR: the kernel dropped a completion) means
     * that an op would never end. */
    TR_ASSERT(result >= 0 || result == -EINTR || result == -ETIME || result == -EBUSY || result == -EAGAIN);
}

static void enter_and_sleep(struct tr_loop *loop, struct uring *u, uint64_t timeout_ns)
{
    struct __kernel_timespec time = {.tv_sec = (long long)(timeout_ns / 1000000000u),
                                     .tv_nsec = (long long)(timeout_ns % 1000000000u)};
    struct io_uring_getevents_arg arg = {
        .ts = timeout_ns == TR_WAIT_FOREVER ? 0 : (uint64_t)(uintptr_t)&time,
    };
    unsigned count = publish(&u->ring);
    tr_count(&loop->stats.enters, 1);
    check_enter(io_uring_enter2(u->enter_fd, count, 1, u->wait_flags, (sigset_t *)(void *)&arg, sizeof arg));
}

static void uring_enter(struct tr_loop *loop, uint64_t timeout_ns)
{
    struct uring *u = state_of(loop);
    if (timeout_ns)
        arm_doorbell(u); /* and it stays so: a loop that never sleeps here never needs it */
    if (timeout_ns && u->armed) {
        enter_and_sleep(loop, u, timeout_ns);
        return;
    }
    unsigned count = publish(&u->ring);
    if (!count && !kernel_has_work(&u->ring))
        return;
    tr_count(&loop->stats.enters, 1);
    check_enter(io_uring_enter2(u->enter_fd, count, 0, u->enter_flags, NULL, 0));
}

static bool uring_pending(const struct tr_loop *loop)
{
    const struct uring *u = state_of(loop);
    return io_uring_cq_ready(&u->ring) || kernel_has_work(&u->ring);
}

static bool uring_engaged(const struct tr_loop *loop)
{
    const struct uring *u = state_of(loop);
    return io_uring_sq_ready(&u->ring) || uring_pending(loop);
}

static void uring_wake(struct tr_loop *loop)
{
    uint64_t one = 1;
    ssize_t written = write(state_of(loop)->wake_fd, &one, sizeof one);
    (void)written; /* EAGAIN: the counter is full, and so it is readable */
}

/* Completions. */

static void doorbell_rang(struct uring *u, int res, unsigned flags)
{
    if (res == -EINVAL && u->multishot)
        u->multishot = false;
    if (flags & IORING_CQE_F_MORE)
        return;
    uint64_t count;
    ssize_t got = read(u->wake_fd, &count, sizeof count);
    (void)got; /* EAGAIN: the poll ended for another reason */
    u->armed = false;
}

/* Nobody's: what it brings must not leak. */
static void stale(struct tr_loop *loop, unsigned kind, int res, unsigned flags)
{
    tr_count(&loop->stats.stale_completions, 1);
    if (flags & IORING_CQE_F_BUFFER)
        tr_bufring_unused(&loop->buffers, flags >> IORING_CQE_BUFFER_SHIFT);
    if (kind == TR_OP_ACCEPT && res >= 0)
        close(res);
}

/* The kernel found no buffer on offer. Those on their way back, or new ones, may do; else the op gets a block of its
 * own, which it then keeps until put: never refused, never spinning. */
static void out_of_buffers(struct tr_loop *loop, struct tr_op *op)
{
    tr_count(&loop->stats.buffers_exhausted, 1);
    tr_loop_collect_returns(loop);
    if (tr_bufring_offered(&loop->buffers) < TR_BUFRING_STEP / 4)
        tr_bufring_grow(&loop->buffers);
    if (op->attempts++ == 0 && tr_bufring_offered(&loop->buffers) > 0) {
        tr_op_retry(op);
        return;
    }
    if (!tr_op_own_block(op, op->length ? op->length : loop->buffers.size))
        tr_op_complete(op, -ENOMEM);
    else
        tr_op_retry(op);
}

/* There is data: see receives_by_poll. */
static void receive_now(struct tr_loop *loop, struct tr_op *op, int res)
{
    int id = res < 0 ? -1 : tr_bufring_take(&loop->buffers);
    if (res >= 0 && id < 0) {
        tr_count(&loop->stats.buffers_exhausted, 1);
        if (!tr_op_own_block(op, op->length ? op->length : loop->buffers.size))
            tr_op_complete(op, -ENOMEM);
        else
            tr_op_retry(op);
        return;
    }
    if (res < 0) {
        tr_op_complete(op, res);
        return;
    }
    size_t length = op->length && op->length < loop->buffers.size ? op->length : loop->buffers.size;
    ssize_t got = recv(op->fd, tr_bufring_memory(&loop->buffers, (unsigned)id), length, MSG_DONTWAIT);
    int error = got < 0 ? -errno : 0;
    if (got > 0) {
        tr_op_lend(op, (unsigned)id, (size_t)got);
        tr_op_complete(op, (int)got);
        return;
    }
    tr_bufring_unused(&loop->buffers, (unsigned)id);
    if (error == -EAGAIN || error == -EINTR)
        tr_op_retry(op);
    else
        tr_op_complete(op, error);
}

static bool worth_another_try(struct tr_op *op, int res)
{
    if (res == -EINTR)
        return op->kind != TR_OP_CONNECT; /* a second connect of the same socket is another question */
    return res == -EAGAIN && (op->kind == TR_OP_READ || op->kind == TR_OP_WRITE) && op->attempts++ < ATTEMPTS_MAX;
}

static void op_completed(struct tr_loop *loop, struct tr_op *op, int res, unsigned flags)
{
    struct uring *u = state_of(loop);
    if (receives_by_poll(u, op)) {
        receive_now(loop, op, res);
        return;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
        if (res > 0)
            tr_op_lend(op, id, (size_t)res);
        else
            tr_bufring_unused(&loop->buffers, id);
    }
    if (res == -ENOBUFS && op->kind == TR_OP_RECV && !op->buffer)
        out_of_buffers(loop, op);
    else if (res < 0 && worth_another_try(op, res))
        tr_op_retry(op);
    else
        tr_op_complete(op, res);
}

/* True when an op was done. */
static bool completed(struct tr_loop *loop, uint64_t user_data, int res, unsigned flags)
{
    unsigned tag = (unsigned)(user_data >> 56);
    if (tag == TAG_WAKE) {
        doorbell_rang(state_of(loop), res, flags);
        return false;
    }
    if (tag == TAG_CANCEL)
        return false; /* whatever it says: the op's own completion decides */
    struct tr_op *op = tr_op_find(loop, (uint32_t)(user_data >> 32) & 0xffffffu, (uint32_t)user_data);
    if (!op) {
        stale(loop, tag, res, flags);
        return false;
    }
    op_completed(loop, op, res, flags);
    return true;
}

static unsigned uring_reap(struct tr_loop *loop, unsigned budget, uint64_t until_ns)
{
    struct io_uring *ring = &state_of(loop)->ring;
    unsigned count = 0, head = *ring->cq.khead;
    for (unsigned seen = 1; seen <= budget && head != io_uring_smp_load_acquire(ring->cq.ktail); seen++) {
        const struct io_uring_cqe *cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
        uint64_t user_data = cqe->user_data;
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_smp_store_release(ring->cq.khead,
                                   ++head); /* the entry is the kernel's again before any callback runs */
        count += completed(loop, user_data, res, flags);
        if (seen % CLOCK_EVERY == 0 && tr_loop_clock() > until_ns)
            break;
    }
    return count;
}

static void uring_describe(const struct tr_loop *loop, char *out, size_t size)
{
    const struct uring *u = state_of(loop);
    snprintf(out, size, "uring: %s, queues %u/%u, %s, ring fd %s", ladder[loop->io->rung].name, u->ring.sq.ring_entries,
             u->cq_entries, u->buffer_ring ? "buffer ring" : "no buffer ring (poll, then receive)",
             u->enter_flags & IORING_ENTER_REGISTERED_RING ? "registered" : "not registered");
}

const struct tr_backend tr_uring = {
    .open = uring_open,
    .close = uring_close,
    .free = uring_free,
    .start = uring_start,
    .cancel = uring_cancel,
    .pending = uring_pending,
    .engaged = uring_engaged,
    .enter = uring_enter,
    .reap = uring_reap,
    .wake = uring_wake,
    .describe = uring_describe,
};
