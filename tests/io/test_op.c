/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/io/harness.h"

#include "io/loop_state.h"
#include "io/socket.h"

static struct harness h;
static int fds[2];

static void setup_with(const struct tr_io_options *options)
{
    h = harness_open(options);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void setup(void)
{
    setup_with(NULL);
}

/* Every test ends with nothing left behind. */
static void teardown(void)
{
    h.hooks.poll(h.loop);
    tr_op_slab_check(h.loop);
    struct tr_loop_stats stats = harness_stats(&h);
    cr_assert_eq(stats.ops_in_use, 0u);
    cr_assert_eq(stats.ops_in_flight, 0u);
    cr_assert_eq(stats.buffers_lent, 0u);
    harness_close(&h);
    close(fds[0]);
    close(fds[1]);
}

static void send_text(const char *text)
{
    cr_assert_eq(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
}

static struct tr_op *receive(struct outcome *outcome)
{
    struct tr_op *op = outcome_op(h.loop, TR_OP_RECV, fds[0], outcome);
    cr_assert_not_null(op);
    tr_op_submit(op);
    return op;
}

static void receives_into_a_lent_buffer(unsigned without)
{
    struct tr_io_options options = {.without = without};
    struct outcome o = {0};
    setup_with(&options);
    receive(&o);
    h.hooks.poll(h.loop);
    cr_assert_eq(o.times, 0);
    cr_assert_eq(harness_stats(&h).buffers_lent, 0u, "an idle connection pins no buffer");
    send_text("hello");
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, 5);
    cr_assert_arr_eq((char *)o.op->buffer, "hello", 5);
    cr_assert_eq(harness_stats(&h).buffers_lent, 1u);
    tr_op_put(o.op);
    cr_assert_eq(o.times, 1);
    teardown();
}

Test(op, receive_lends_a_buffer_at_completion)
{
    receives_into_a_lent_buffer(0);
}

Test(op, receive_lends_a_buffer_without_buffer_rings_too)
{
    receives_into_a_lent_buffer(TR_IO_WITHOUT_BUFFER_RING);
}

Test(op, receive_lends_a_buffer_without_deferred_task_work_too)
{
    receives_into_a_lent_buffer(TR_IO_WITHOUT_DEFER);
    receives_into_a_lent_buffer(TR_IO_WITHOUT_TASKRUN_FLAGS | TR_IO_WITHOUT_BUFFER_RING);
}

Test(op, receive_takes_no_more_than_asked_for)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = outcome_op(h.loop, TR_OP_RECV, fds[0], &o);
    op->length = 3;
    tr_op_submit(op);
    send_text("hello");
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, 3);
    tr_op_put(o.op);
    teardown();
}

Test(op, end_of_stream_is_a_result_of_zero_without_a_buffer)
{
    setup();
    struct outcome o = {0};
    receive(&o);
    shutdown(fds[1], SHUT_WR);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, 0);
    cr_assert_null(o.op->buffer);
    tr_op_put(o.op);
    teardown();
}

Test(op, a_bad_descriptor_is_a_completion_and_never_inside_submit)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = outcome_op(h.loop, TR_OP_RECV, -1, &o);
    tr_op_submit(op);
    cr_assert_eq(o.times, 0);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -EBADF);
    tr_op_put(o.op);
    teardown();
}

Test(op, cancel_before_completion_ends_it_once_with_ecanceled)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    h.hooks.poll(h.loop);
    tr_op_cancel(op);
    tr_op_cancel(op);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -ECANCELED);
    h.hooks.poll(h.loop);
    cr_assert_eq(o.times, 1);
    tr_op_cancel(op); /* done, not put: nothing happens */
    tr_op_put(op);
    teardown();
}

Test(op, cancel_in_the_same_batch_as_the_submit_finds_its_op)
{
    setup();
    struct outcome o = {0};
    tr_op_cancel(receive(&o));
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -ECANCELED);
    tr_op_put(o.op);
    teardown();
}

Test(op, cancel_after_the_data_loses_the_race_and_keeps_the_data)
{
    setup();
    struct outcome o = {0};
    send_text("kept");
    struct tr_op *op = receive(&o);
    HARNESS_UNTIL(&h, o.times);
    tr_op_cancel(op);
    h.hooks.poll(h.loop);
    cr_assert_eq(o.res, 4);
    cr_assert_eq(o.times, 1);
    tr_op_put(op);
    /* the record is used again: the late cancel must not strike its next user */
    struct outcome next = {0};
    cr_assert_eq(receive(&next), op);
    h.hooks.poll(h.loop);
    send_text("next");
    HARNESS_UNTIL(&h, next.times);
    cr_assert_eq(next.res, 4);
    tr_op_put(next.op);
    teardown();
}

Test(op, a_done_op_can_be_submitted_again_and_returns_its_buffer_first)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    for (int i = 1; i <= 500; i++) {
        send_text("again");
        HARNESS_UNTIL(&h, o.times == i);
        cr_assert_eq(o.res, 5);
        cr_assert_eq(harness_stats(&h).buffers_lent, 1u);
        tr_op_submit(op);
    }
    tr_op_cancel(op);
    HARNESS_UNTIL(&h, o.times == 501);
    tr_op_put(op);
    teardown();
}

Test(op, an_op_may_be_put_instead_of_submitted)
{
    setup();
    struct outcome o = {0};
    tr_op_put(outcome_op(h.loop, TR_OP_SEND, fds[0], &o));
    cr_assert_eq(o.times, 0);
    teardown();
}

Test(op, the_limit_of_ops_refuses_and_recovers)
{
    struct tr_io_options options = {.ops_max = 4};
    setup_with(&options);
    struct outcome o = {0};
    struct tr_op *ops[4];
    for (int i = 0; i < 4; i++)
        cr_assert_not_null(ops[i] = outcome_op(h.loop, TR_OP_SEND, fds[0], &o));
    cr_assert_null(tr_op_get(h.loop, TR_OP_SEND, outcome_note));
    tr_op_put(ops[2]);
    cr_assert_not_null(ops[2] = outcome_op(h.loop, TR_OP_SEND, fds[0], &o));
    for (int i = 0; i < 4; i++)
        tr_op_put(ops[i]);
    teardown();
}

Test(op, a_stale_completion_is_counted_and_ignored)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    h.hooks.poll(h.loop);
    cr_assert_eq(tr_op_find(h.loop, op->index, op->generation), op);
    cr_assert_null(tr_op_find(h.loop, op->index, op->generation - 1));
    cr_assert_null(tr_op_find(h.loop, op->index + 100000, op->generation));
    send_text("x");
    HARNESS_UNTIL(&h, o.times);
    cr_assert_null(tr_op_find(h.loop, op->index, op->generation), "a done op has no second completion");
    tr_op_put(op);
    teardown();
}

/* More receives with data than buffers exist: nobody sees ENOBUFS, nothing spins. */
static void exhausts_the_buffers(unsigned without)
{
    enum { COUNT = 40 };
    struct tr_io_options options = {.buffers = 16, .buffer_size = 64, .without = without};
    struct outcome o[COUNT] = {0};
    int pairs[COUNT][2];
    setup_with(&options);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        tr_op_submit(outcome_op(h.loop, TR_OP_RECV, pairs[i][0], &o[i]));
    }
    h.hooks.poll(h.loop);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(write(pairs[i][1], &i, sizeof i), (ssize_t)sizeof i);
    for (int i = 0; i < COUNT; i++) {
        HARNESS_UNTIL(&h, o[i].times);
        cr_assert_eq(o[i].res, (int)sizeof i);
        cr_assert_arr_eq((char *)o[i].op->buffer, (char *)&i, sizeof i);
    }
    cr_assert_eq(harness_stats(&h).buffers_lent, 16u);
    cr_assert_gt(harness_stats(&h).buffers_exhausted, 0u);
    cr_assert_lt(harness_stats(&h).enters, 4u * COUNT, "it spins");
    for (int i = 0; i < COUNT; i++) {
        tr_op_put(o[i].op);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    teardown();
}

Test(op, receive_without_a_free_buffer_gets_a_heap_block)
{
    exhausts_the_buffers(0);
    exhausts_the_buffers(TR_IO_WITHOUT_BUFFER_RING);
}

Test(op, a_burst_larger_than_the_submission_queue_waits_its_turn)
{
    enum { BURST = 200 };
    struct tr_io_options options = {.sq_entries = 4, .cq_entries = 8};
    static struct outcome o[BURST];
    static char bytes[BURST];
    setup_with(&options);
    for (int i = 0; i < BURST; i++) {
        struct tr_op *op = outcome_op(h.loop, TR_OP_SEND, fds[0], &o[i]);
        bytes[i] = (char)i;
        op->iov[0] = (struct iovec){&bytes[i], 1};
        op->iov_count = 1;
        tr_op_submit(op);
    }
    cr_assert_gt(harness_stats(&h).sq_full, 0u);
    for (int i = 0; i < BURST; i++) {
        HARNESS_UNTIL(&h, o[i].times);
        cr_assert_eq(o[i].res, 1);
        tr_op_put(o[i].op);
    }
    for (int i = 0; i < BURST; i++) {
        char byte;
        cr_assert_eq(read(fds[1], &byte, 1), 1);
        cr_assert_eq(byte, bytes[i], "first in, first out");
    }
    teardown();
}

Test(op, an_op_cancelled_while_it_waits_for_room_never_reaches_the_kernel)
{
    enum { BURST = 20 };
    struct tr_io_options options = {.sq_entries = 4};
    struct outcome o[BURST] = {0};
    struct tr_op *ops[BURST];
    char byte = 'x';
    setup_with(&options);
    for (int i = 0; i < BURST; i++) {
        ops[i] = outcome_op(h.loop, TR_OP_SEND, fds[0], &o[i]);
        ops[i]->iov[0] = (struct iovec){&byte, 1};
        ops[i]->iov_count = 1;
        tr_op_submit(ops[i]);
    }
    for (int i = 10; i < BURST; i++)
        tr_op_cancel(ops[i]);
    for (int i = 0; i < BURST; i++) {
        HARNESS_UNTIL(&h, o[i].times);
        cr_assert_eq(o[i].res, i < 10 ? 1 : -ECANCELED);
        tr_op_put(ops[i]);
    }
    teardown();
}

Test(op, cancels_that_find_no_room_are_sent_later)
{
    enum { COUNT = 64 };
    struct tr_io_options options = {.sq_entries = 4, .cq_entries = 8};
    struct outcome o[COUNT] = {0};
    struct tr_op *ops[COUNT];
    setup_with(&options);
    for (int i = 0; i < COUNT; i++)
        ops[i] = receive(&o[i]);
    h.hooks.poll(h.loop);
    for (int i = 0; i < COUNT; i++)
        tr_op_cancel(ops[i]);
    for (int i = 0; i < COUNT; i++) {
        HARNESS_UNTIL(&h, o[i].times);
        cr_assert_eq(o[i].res, -ECANCELED);
        tr_op_put(ops[i]);
    }
    teardown();
}

Test(op, many_ops_leave_in_one_enter)
{
    enum { COUNT = 50 };
    struct outcome o[COUNT] = {0};
    setup();
    h.hooks.poll(h.loop); /* the doorbell is armed */
    uint64_t before = harness_stats(&h).enters, submitted = harness_stats(&h).submitted;
    for (int i = 0; i < COUNT; i++) {
        struct tr_op *op = outcome_op(h.loop, TR_OP_SEND, fds[0], &o[i]);
        op->iov[0] = (struct iovec){"y", 1};
        op->iov_count = 1;
        tr_op_submit(op);
    }
    h.hooks.poll(h.loop);
    cr_assert_eq(harness_stats(&h).enters, before + 1);
    cr_assert_eq(harness_stats(&h).submitted, submitted + COUNT);
    for (int i = 0; i < COUNT; i++) {
        HARNESS_UNTIL(&h, o[i].times); /* most often they all are done by now */
        tr_op_put(o[i].op);
    }
    teardown();
}

static void uses_a_file(unsigned without)
{
    struct tr_io_options options = {.without = without};
    char name[] = "/tmp/troupe-op-XXXXXX", back[16] = "";
    struct outcome o = {0};
    setup_with(&options);
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    unlink(name);
    struct tr_op *op = outcome_op(h.loop, TR_OP_WRITE, fd, &o);
    op->iov[0] = (struct iovec){"hello ", 6};
    op->iov[1] = (struct iovec){"world", 5};
    op->iov_count = 2;
    op->offset = 3;
    tr_op_submit(op);
    cr_assert_eq(o.times, 0, "never inside submit");
    cr_assert_eq(harness_stats(&h).ops_in_flight, 1u);
    HARNESS_UNTIL(&h, o.times == 1);
    cr_assert_eq(o.res, 11);
    tr_op_put(o.op);
    op = outcome_op(h.loop, TR_OP_FDATASYNC, fd, &o);
    tr_op_submit(op);
    HARNESS_UNTIL(&h, o.times == 2);
    cr_assert_eq(o.res, 0);
    tr_op_put(o.op);
    op = outcome_op(h.loop, TR_OP_READ, fd, &o);
    op->buffer = back;
    op->length = 11;
    op->offset = 3;
    tr_op_submit(op);
    HARNESS_UNTIL(&h, o.times == 3);
    cr_assert_eq(o.res, 11);
    cr_assert_str_eq(back, "hello world");
    tr_op_put(o.op);
    close(fd);
    teardown();
}

Test(op, writes_syncs_and_reads_a_file_at_offsets)
{
    uses_a_file(0);
    uses_a_file(TR_IO_WITHOUT_INLINE_WRITE);
}

Test(op, a_write_to_a_pipe_goes_through_the_kernel_and_not_inline)
{
    setup();
    int pipes[2];
    struct outcome o = {0};
    char full[65536] = {0};
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(write(pipes[1], full, sizeof full), (ssize_t)sizeof full);
    struct tr_op *op = outcome_op(h.loop, TR_OP_WRITE, pipes[1], &o);
    op->iov[0] = (struct iovec){"x", 1};
    op->iov_count = 1;
    op->offset = (uint64_t)-1;
    tr_op_submit(op); /* the pipe is full: inline, this would block */
    h.hooks.poll(h.loop);
    cr_assert_eq(o.times, 0);
    cr_assert_eq(read(pipes[0], full, sizeof full), (ssize_t)sizeof full);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, 1);
    tr_op_put(o.op);
    close(pipes[0]);
    close(pipes[1]);
    teardown();
}

Test(op, an_inline_write_error_is_a_completion)
{
    setup();
    struct outcome o = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct tr_op *op = outcome_op(h.loop, TR_OP_WRITE, fd, &o);
    op->iov[0] = (struct iovec){"x", 1};
    op->iov_count = 1;
    tr_op_submit(op);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -ENOSPC);
    tr_op_put(o.op);
    close(fd);
    teardown();
}

Test(op, accepts_connects_and_names_the_peer)
{
    setup();
    struct outcome accepted = {0}, connected = {0};
    int listener = tr_socket_listen("127.0.0.1", 0, 8);
    tr_op_submit(outcome_op(h.loop, TR_OP_ACCEPT, listener, &accepted));
    struct tr_op *op = outcome_op(h.loop, TR_OP_CONNECT, -1, &connected);
    op->fd = tr_socket_connect_prepare("127.0.0.1", (uint16_t)tr_socket_port(listener), &op->addr, &op->addr_len);
    int client = op->fd;
    tr_op_submit(op);
    HARNESS_UNTIL(&h, connected.times && accepted.times);
    cr_assert_eq(connected.res, 0);
    cr_assert_geq(accepted.res, 0);
    cr_assert(fcntl(accepted.res, F_GETFD) & FD_CLOEXEC);
    const struct sockaddr_in *peer = (const struct sockaddr_in *)&accepted.op->addr;
    cr_assert_eq(peer->sin_family, AF_INET);
    cr_assert_eq(ntohs(peer->sin_port), tr_socket_port(client));
    close(accepted.res);
    close(client);
    close(listener);
    tr_op_put(accepted.op);
    tr_op_put(connected.op);
    teardown();
}

Test(op, a_refused_connect_says_so)
{
    setup();
    struct outcome o = {0};
    int listener = tr_socket_listen("127.0.0.1", 0, 8);
    uint16_t port = (uint16_t)tr_socket_port(listener);
    close(listener);
    struct tr_op *op = outcome_op(h.loop, TR_OP_CONNECT, -1, &o);
    int client = op->fd = tr_socket_connect_prepare("127.0.0.1", port, &op->addr, &op->addr_len);
    tr_op_submit(op);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -ECONNREFUSED);
    tr_op_put(o.op);
    close(client);
    teardown();
}

Test(op, polls_a_descriptor)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = outcome_op(h.loop, TR_OP_POLL, fds[0], &o);
    op->length = POLLIN;
    tr_op_submit(op);
    h.hooks.poll(h.loop);
    cr_assert_eq(o.times, 0);
    send_text("x");
    HARNESS_UNTIL(&h, o.times);
    cr_assert(o.res & POLLIN);
    tr_op_put(o.op);
    teardown();
}

Test(op, a_send_to_a_closed_peer_is_an_error_and_no_signal)
{
    setup();
    struct outcome o = {0};
    close(fds[1]);
    for (unsigned count = 1; count <= 2; count++) { /* send and sendmsg */
        struct tr_op *op = outcome_op(h.loop, TR_OP_SEND, fds[0], &o);
        op->iov[0] = op->iov[1] = (struct iovec){"x", 1};
        op->iov_count = count;
        tr_op_submit(op);
        HARNESS_UNTIL(&h, o.times == (int)count);
        cr_assert_eq(o.res, -EPIPE);
        tr_op_put(o.op);
    }
    fds[1] = dup(fds[0]);
    teardown();
}

/* Another worker cancels and puts. */

static void *cancel_it(void *arg)
{
    tr_op_cancel(arg);
    tr_op_cancel(arg);
    return NULL;
}

static void *put_it(void *arg)
{
    tr_op_put(arg);
    return NULL;
}

static void *cancel_and_put_it(void *arg)
{
    tr_op_cancel(arg);
    tr_op_put(arg);
    return NULL;
}

static void in_another_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, fn, arg), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(op, another_worker_cancels)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    h.hooks.poll(h.loop);
    in_another_thread(cancel_it, op);
    HARNESS_UNTIL(&h, o.times);
    cr_assert_eq(o.res, -ECANCELED);
    tr_op_put(op);
    teardown();
}

Test(op, another_worker_puts_and_the_gauges_know_at_once)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    send_text("hello");
    HARNESS_UNTIL(&h, o.times);
    in_another_thread(put_it, op);
    cr_assert_eq(harness_stats(&h).ops_in_use, 0u);
    cr_assert_eq(harness_stats(&h).buffers_lent, 0u);
    teardown();
}

Test(op, a_put_does_not_overtake_the_cancel_before_it)
{
    setup();
    struct outcome o = {0}, next = {0};
    struct tr_op *op = receive(&o);
    send_text("hello");
    HARNESS_UNTIL(&h, o.times);
    in_another_thread(cancel_and_put_it, op);
    h.hooks.poll(h.loop);
    cr_assert_eq(receive(&next), op, "the record is used again");
    h.hooks.poll(h.loop);
    send_text("next");
    HARNESS_UNTIL(&h, next.times);
    cr_assert_eq(next.res, 4);
    tr_op_put(op);
    teardown();
}

Test(op, the_owners_put_waits_for_a_cancel_that_is_still_queued)
{
    setup();
    struct outcome o = {0};
    struct tr_op *op = receive(&o);
    send_text("hello");
    HARNESS_UNTIL(&h, o.times);
    in_another_thread(cancel_it, op);
    tr_op_put(op);
    struct outcome other = {0};
    struct tr_op *second = outcome_op(h.loop, TR_OP_RECV, fds[0], &other);
    cr_assert_neq(second, op, "not free before its cancel was taken in");
    tr_op_put(second);
    teardown();
}

Test(op, the_limit_counts_what_another_worker_put)
{
    struct tr_io_options options = {.ops_max = 1};
    setup_with(&options);
    struct outcome o = {0};
    in_another_thread(put_it, outcome_op(h.loop, TR_OP_SEND, fds[0], &o));
    struct tr_op *op = outcome_op(h.loop, TR_OP_SEND, fds[0], &o);
    cr_assert_not_null(op);
    tr_op_put(op);
    teardown();
}
