/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/io/harness.h"

#include "io/loop_state.h"
#include "io/socket.h"
#include "io/stream.h"

static struct harness h;
static struct tr_stream s;
static int peer;
static int before_fds;

/* What the user of the stream (an actor, in real life) saw. */
static char input[1 << 16];
static size_t input_bytes;
static ssize_t last_receive;
static int receives, sends, low_signals;
static bool keep_receiving;

static void received(struct tr_op *op)
{
    void *data;
    receives++;
    last_receive = tr_stream_receive_done(&s, op, &data);
    if (last_receive > 0) {
        cr_assert_leq(input_bytes + (size_t)last_receive, sizeof input);
        memcpy(input + input_bytes, data, (size_t)last_receive);
        input_bytes += (size_t)last_receive;
    }
    tr_op_put(op);
    if (last_receive > 0 && keep_receiving)
        tr_stream_receive(&s, h.loop, 0);
}

static void sent(struct tr_op *op)
{
    sends++;
    low_signals += tr_stream_send_done(&s, h.loop, op);
}

static void setup_fd(int fd, int other, size_t high, size_t low)
{
    input_bytes = 0;
    last_receive = 1;
    receives = sends = low_signals = 0;
    keep_receiving = true;
    peer = other;
    tr_stream_init(&s, fd, received, sent, high, low);
}

static void setup(const struct tr_io_options *options)
{
    int fds[2];
    before_fds = harness_count_fds();
    h = harness_open(options);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    setup_fd(fds[0], fds[1], 4096, 1024);
}

static void setup_tcp(void)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    before_fds = harness_count_fds();
    h = harness_open(NULL);
    int listener = tr_socket_listen("127.0.0.1", 0, 8);
    int client = tr_socket_connect_prepare("127.0.0.1", (uint16_t)tr_socket_port(listener), &addr, &addr_len);
    cr_assert_eq(connect(client, (struct sockaddr *)&addr, addr_len), 0);
    int server = accept(listener, NULL, NULL);
    cr_assert_geq(server, 0);
    close(listener);
    setup_fd(server, client, 1 << 20, 1 << 18);
}

/* The stream is closed, and nothing is left of it but what the peer holds. */
static void teardown(void)
{
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    if (peer >= 0)
        close(peer);
    HARNESS_UNTIL(&h, harness_stats(&h).ops_in_use == 0); /* a lingering socket hears of it */
    tr_op_slab_check(h.loop);
    cr_assert_eq(s.out_bytes, 0u);
    cr_assert_eq(harness_stats(&h).buffers_lent, 0u);
    harness_close(&h);
    cr_assert_eq(harness_count_fds(), before_fds);
}

static void peer_reset(void)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(peer);
    peer = -1;
}

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 7 + at / 256);
}

static unsigned char *patterned(size_t length)
{
    unsigned char *bytes = malloc(length);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(i);
    return bytes;
}

static int released;

static void release(void *arg)
{
    released++;
    free(arg);
}

/* Reads at the peer what has arrived, and checks it. Returns false at the end of the stream. */
static bool drink(size_t *at)
{
    unsigned char bytes[3000];
    ssize_t got = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0) {
        cr_assert_eq(errno, EAGAIN);
        return true;
    }
    for (ssize_t i = 0; i < got; i++)
        cr_assert_eq(bytes[i], pattern(*at + (size_t)i), "at %zu", *at + (size_t)i);
    *at += (size_t)got;
    return got > 0;
}

static void drink_all(size_t total)
{
    size_t at = 0;
    uint64_t until = tr_loop_clock() + PATIENCE_NS;
    while (at < total) {
        cr_assert_lt(tr_loop_clock(), until);
        cr_assert(drink(&at), "the stream ended at %zu of %zu", at, total);
        h.hooks.wait(h.loop, 10000);
    }
}

Test(stream, echoes)
{
    setup(NULL);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 0), 0);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 0), -EALREADY);
    cr_assert_eq(write(peer, "ping", 4), 4);
    HARNESS_UNTIL(&h, input_bytes == 4);
    cr_assert_eq(tr_stream_write(&s, h.loop, input, input_bytes), 0);
    cr_assert_eq(tr_stream_flush(&s, h.loop), 0);
    HARNESS_UNTIL(&h, sends == 1);
    cr_assert_eq(read(peer, input, 10), 4);
    cr_assert_eq(s.sent, 4u);
    cr_assert_eq(s.received, 4u);
    tr_stream_close(&s, h.loop, true);
    teardown();
}

Test(stream, small_writes_leave_in_one_send)
{
    setup(NULL);
    char back[600];
    for (int i = 0; i < 100; i++)
        cr_assert_eq(tr_stream_write(&s, h.loop, "+OK\r\n", 5), 0);
    cr_assert_eq(s.out_bytes, 500u);
    tr_stream_flush(&s, h.loop);
    HARNESS_UNTIL(&h, s.out_bytes == 0);
    cr_assert_eq(sends, 1);
    cr_assert_eq(read(peer, back, sizeof back), 500);
    tr_stream_close(&s, h.loop, false);
    teardown();
}

static void many_sizes_arrive_in_order(int send_buffer)
{
    setup(NULL);
    size_t total = 0;
    unsigned char *bytes = patterned(1 << 20);
    if (send_buffer)
        cr_assert_eq(setsockopt(s.fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer), 0);
    for (size_t length = 1; total + length < 1 << 20; length = length * 7 % 30011 + 1) {
        cr_assert_eq(tr_stream_write(&s, h.loop, bytes + total, length), 0);
        total += length;
        if (length % 5 == 0)
            tr_stream_flush(&s, h.loop);
    }
    tr_stream_flush(&s, h.loop);
    cr_assert(s.above_high);
    drink_all(total);
    cr_assert_eq(s.sent, total);
    cr_assert_eq(low_signals, 1);
    cr_assert_not(s.above_high);
    free(bytes);
    tr_stream_close(&s, h.loop, true);
    teardown();
}

Test(stream, many_sizes_arrive_in_order)
{
    many_sizes_arrive_in_order(0);
}

Test(stream, short_sends_continue_where_they_stopped)
{
    many_sizes_arrive_in_order(1); /* the kernel makes it a few KiB */
}

Test(stream, owned_bytes_are_released_once_when_sent)
{
    setup(NULL);
    unsigned char *bytes = patterned(200000);
    released = 0;
    cr_assert_eq(tr_stream_write_owned(&s, h.loop, bytes, 200000, release, bytes), 0);
    cr_assert_eq(tr_stream_write_owned(&s, h.loop, NULL, 0, NULL, NULL), 0);
    tr_stream_flush(&s, h.loop);
    drink_all(200000);
    HARNESS_UNTIL(&h, s.out_bytes == 0);
    cr_assert_eq(released, 1);
    tr_stream_close(&s, h.loop, true);
    teardown();
}

Test(stream, owned_bytes_are_released_once_when_dropped)
{
    setup(NULL);
    released = 0;
    for (int i = 0; i < 40; i++) {
        unsigned char *bytes = patterned(100000);
        cr_assert_eq(tr_stream_write_owned(&s, h.loop, bytes, 100000, release, bytes), 0);
    }
    tr_stream_flush(&s, h.loop);
    h.hooks.poll(h.loop);
    tr_stream_close(&s, h.loop, false);
    cr_assert_lt(released, 40, "not while the kernel reads them");
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    cr_assert_eq(released, 40);
    teardown();
}

Test(stream, a_refused_write_leaves_the_bytes_with_the_caller)
{
    setup(NULL);
    unsigned char *bytes = patterned(10);
    released = 0;
    tr_stream_close(&s, h.loop, true);
    cr_assert_eq(tr_stream_write_owned(&s, h.loop, bytes, 10, release, bytes), -EPIPE);
    cr_assert_eq(tr_stream_write(&s, h.loop, bytes, 10), -EPIPE);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 0), -EPIPE);
    cr_assert_eq(released, 0);
    free(bytes);
    teardown();
}

Test(stream, end_of_input_is_seen_once_and_output_still_works)
{
    setup(NULL);
    tr_stream_receive(&s, h.loop, 0);
    shutdown(peer, SHUT_WR);
    HARNESS_UNTIL(&h, receives == 1);
    cr_assert_eq(last_receive, 0);
    cr_assert(s.end_of_input);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 0), -EPIPE);
    cr_assert_eq(tr_stream_write(&s, h.loop, "bye", 3), 0);
    tr_stream_close(&s, h.loop, true);
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    char bye[4] = "";
    cr_assert_eq(read(peer, bye, 3), 3);
    cr_assert_str_eq(bye, "bye");
    teardown();
}

Test(stream, a_large_receive_gets_a_block_of_its_own)
{
    struct tr_io_options options = {.buffer_size = 4096};
    setup(&options);
    unsigned char *bytes = patterned(30000);
    keep_receiving = false;
    cr_assert_eq(write(peer, bytes, 30000), 30000);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 60000), 0);
    HARNESS_UNTIL(&h, receives == 1);
    cr_assert_eq(last_receive, 30000);
    cr_assert_arr_eq(input, bytes, 30000);
    cr_assert_eq(harness_stats(&h).buffers_lent, 0u);
    free(bytes);
    tr_stream_close(&s, h.loop, true);
    teardown();
}

Test(stream, drain_keeps_the_output_of_a_slow_peer)
{
    setup(NULL);
    size_t total = 900000;
    unsigned char *bytes = patterned(total);
    tr_stream_receive(&s, h.loop, 0);
    cr_assert_eq(tr_stream_write(&s, h.loop, bytes, total), 0);
    tr_stream_close(&s, h.loop, true);
    tr_stream_close(&s, h.loop, true);
    cr_assert_eq(s.state, TR_STREAM_DRAINING);
    drink_all(total);
    free(bytes);
    teardown();
}

/* The trap of close(2): unread input turns it into a reset that destroys output under way. */
Test(stream, drain_survives_unread_input_on_tcp)
{
    setup_tcp();
    size_t total = 3000000;
    unsigned char *bytes = patterned(total);
    cr_assert_eq(write(peer, "unread", 6), 6);
    cr_assert_eq(tr_stream_write(&s, h.loop, bytes, total), 0);
    tr_stream_close(&s, h.loop, true);
    size_t at = 0;
    uint64_t until = tr_loop_clock() + PATIENCE_NS;
    while (drink(&at)) {
        cr_assert_lt(tr_loop_clock(), until);
        if (at % 3 == 0)
            (void)!send(peer, "more", 4, MSG_DONTWAIT | MSG_NOSIGNAL);
        h.hooks.wait(h.loop, 1000);
    }
    cr_assert_eq(at, total);
    free(bytes);
    teardown();
}

Test(stream, a_peer_that_keeps_its_end_open_does_not_hold_the_stream)
{
    setup_tcp();
    tr_stream_receive(&s, h.loop, 0);
    h.hooks.poll(h.loop);
    tr_stream_close(&s, h.loop, true);
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    char byte;
    cr_assert_eq(recv(peer, &byte, 1, 0), 0, "the peer hears of it");
    teardown();
}

Test(stream, detach_ends_a_lingering_socket)
{
    setup_tcp();
    tr_stream_close(&s, h.loop, true);
    cr_assert(tr_stream_closed(&s));
    harness_close(&h);
    close(peer);
    cr_assert_eq(harness_count_fds(), before_fds);
}

Test(stream, close_without_drain_drops_and_cancels)
{
    setup(NULL);
    unsigned char *bytes = patterned(1 << 20);
    tr_stream_receive(&s, h.loop, 0);
    cr_assert_eq(tr_stream_write(&s, h.loop, bytes, 1 << 20), 0);
    tr_stream_flush(&s, h.loop);
    h.hooks.poll(h.loop);
    tr_stream_close(&s, h.loop, true);
    cr_assert_eq(s.state, TR_STREAM_DRAINING);
    tr_stream_close(&s, h.loop, false);
    cr_assert_eq(s.state, TR_STREAM_CLOSING);
    free(bytes);
    teardown();
}

Test(stream, a_reset_while_receiving_is_an_error_of_the_stream)
{
    setup_tcp();
    tr_stream_receive(&s, h.loop, 0);
    h.hooks.poll(h.loop);
    peer_reset();
    HARNESS_UNTIL(&h, receives == 1);
    cr_assert_eq(last_receive, -ECONNRESET);
    cr_assert_eq(s.error, -ECONNRESET);
    cr_assert_eq(tr_stream_write(&s, h.loop, "x", 1), -EPIPE);
    tr_stream_close(&s, h.loop, true);
    teardown();
}

static void reset_with_output(bool receiving, bool close_first)
{
    setup_tcp();
    released = 0;
    unsigned char *bytes = patterned(8 << 20);
    if (receiving)
        tr_stream_receive(&s, h.loop, 0);
    cr_assert_eq(tr_stream_write_owned(&s, h.loop, bytes, 8 << 20, release, bytes), 0);
    tr_stream_flush(&s, h.loop);
    for (int i = 0; i < 20; i++)
        h.hooks.poll(h.loop);
    if (close_first)
        tr_stream_close(&s, h.loop, true);
    peer_reset();
    HARNESS_UNTIL(&h, released == 1);
    if (!close_first) {
        HARNESS_UNTIL(&h, s.error != 0);
        cr_assert(s.error == -ECONNRESET || s.error == -EPIPE, "%d", s.error);
        cr_assert_eq(low_signals, 1, "who waits for room must hear of the end");
        tr_stream_close(&s, h.loop, true);
    }
    teardown();
    cr_assert_eq(released, 1);
}

Test(stream, a_reset_while_sending_drops_the_output_once)
{
    reset_with_output(false, false);
}

Test(stream, a_reset_while_both_are_in_flight_drops_the_output_once)
{
    reset_with_output(true, false);
}

Test(stream, a_reset_while_draining_ends_the_stream)
{
    reset_with_output(true, true);
}

Test(stream, a_reset_before_close_does_not_matter_to_close)
{
    setup_tcp();
    peer_reset();
    tr_stream_close(&s, h.loop, true);
    teardown();
}

Test(stream, without_a_record_flush_says_again_and_drain_goes_on)
{
    struct tr_io_options options = {.ops_max = 1};
    setup(&options);
    cr_assert_eq(tr_stream_receive(&s, h.loop, 0), 0);
    cr_assert_eq(tr_stream_write(&s, h.loop, "late", 4), 0);
    cr_assert_eq(tr_stream_flush(&s, h.loop), -EAGAIN);
    tr_stream_close(&s, h.loop, true);
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    char late[5] = "";
    cr_assert_eq(read(peer, late, 4), 4);
    cr_assert_str_eq(late, "late");
    teardown();
}

Test(stream, a_leaving_loop_ends_the_stream)
{
    setup(NULL);
    tr_stream_receive(&s, h.loop, 0);
    unsigned char *bytes = patterned(1 << 20);
    tr_stream_write_owned(&s, h.loop, bytes, 1 << 20, release, bytes);
    released = 0;
    tr_stream_flush(&s, h.loop);
    h.hooks.poll(h.loop);
    h.hooks.detach(h.loop);
    cr_assert_eq(last_receive, -ECANCELED);
    cr_assert_eq(released, 1);
    tr_stream_close(&s, h.loop, true);
    cr_assert(tr_stream_closed(&s));
    tr_io_destroy(h.io);
    close(peer);
    cr_assert_eq(harness_count_fds(), before_fds);
}

/* The stream's user moved to another worker: its calls come with that worker's loop. */
Test(stream, calls_may_come_from_another_worker)
{
    setup(NULL);
    struct harness other = harness_open(NULL);
    unsigned char *bytes = patterned(500000);
    cr_assert_eq(tr_stream_write(&s, h.loop, bytes, 500000), 0);
    tr_stream_flush(&s, h.loop);
    h.hooks.poll(h.loop);
    struct tr_loop *first = h.loop;
    h.loop = other.loop; /* `sent` now continues there */
    size_t at = 0;
    uint64_t until = tr_loop_clock() + PATIENCE_NS;
    while (at < 500000) {
        cr_assert_lt(tr_loop_clock(), until);
        cr_assert(drink(&at));
        h.hooks.wait(first, 1000);
        other.hooks.wait(other.loop, 1000);
    }
    h.loop = first;
    tr_stream_close(&s, h.loop, true);
    HARNESS_UNTIL(&h, tr_stream_closed(&s));
    HARNESS_UNTIL(&h, harness_stats(&other).ops_in_use == 0);
    free(bytes);
    harness_close(&other);
    teardown();
}
