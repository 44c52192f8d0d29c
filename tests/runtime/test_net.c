/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners and streams of actors, through real sockets. The test's own thread is the client. */
#include "world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "io/loop_state.h"
#include "runtime/context.h"

enum { ACCEPTED, DATA, DRAINED, CLOSED, PANIC };
enum { PORT, CONNECTIONS, EVENTS, CRASH_IN, MODE, MOST_PENDING, SEEN, CHILD_FD, UP }; /* words */

static troupe_runtime *rt;

/* --- the client's side -------------------------------------------------------------------------------------------- */

static void await_word(unsigned i, uint64_t at_least)
{
    while (word(i) < at_least)
        sched_yield();
}

static troupe_stats stats(void)
{
    troupe_stats s;
    troupe_stats_read(rt, &s);
    return s;
}

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

static void connect_to_server(int fd)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)word(PORT))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
}

static int new_client(void)
{
    int fd = new_socket();
    connect_to_server(fd);
    return fd;
}

static void abort_client(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        cr_assert_gt(n, 0);
        bytes += n;
        length -= (size_t)n;
    }
}

static size_t read_until_end(int fd, char *bytes, size_t size)
{
    size_t got = 0;
    ssize_t n;
    while (got < size && (n = recv(fd, bytes + got, size - got, 0)) > 0)
        got += (size_t)n;
    return got;
}

/* Waits until all that connections used is given back: only the server, its accepts and its listener are left. */
static void await_quiet(const troupe_stats *before)
{
    for (;;) {
        troupe_stats s = stats();
        if (s.actors == before->actors && s.io_in_use == before->io_in_use && s.io_in_flight == before->io_in_flight &&
            s.io_buffers_lent == before->io_buffers_lent && s.timers_armed == before->timers_armed)
            return;
        sched_yield();
    }
}

static void start_server(const troupe_behavior *server, unsigned workers)
{
    world_begin(workers);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, server, NULL, &options, &world.addr[0]), 0);
    await_word(PORT, 1);
    while (stats().io_in_flight < 4) /* the accepts are with the kernel */
        sched_yield();
}

static void stop_server(void)
{
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

/* --- the server: one actor per connection, of the behavior in `connection` ---------------------------------------- */

static const troupe_behavior *connection;

struct server {
    troupe_listener listener;
};

STARTED(server_started)
{
    struct server *server = self;
    troupe_listen_options options = {.accepted = ACCEPTED};
    int status = troupe_listen(ctx, &options, &server->listener);
    if (status < 0)
        return status;
    ck_pr_store_64(&world.word[PORT], (uint64_t)troupe_listener_port(ctx, server->listener));
    return 0;
}

HANDLER(server_accepted)
{
    const troupe_accepted *accepted = troupe_payload(msg);
    if (strncmp(accepted->peer, "127.0.0.1:", 10) != 0)
        say("peer %s", accepted->peer);
    if (word(MODE) == 1)
        return; /* nobody takes the descriptor */
    troupe_spawn_options options = {.has_fd = true, .fd = troupe_accepted_take(ctx, msg)};
    if (troupe_accepted_take(ctx, msg) != -EBADF)
        say("taken twice");
    ck_pr_store_64(&world.addr[1].bits, troupe_spawn(ctx, connection, NULL, &options).bits);
    bump(CONNECTIONS);
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "on request");
}

static const troupe_behavior server = {
    .name = "server",
    .state_size = sizeof(struct server),
    .started = server_started,
    .handlers = {[ACCEPTED] = ON(server_accepted, sizeof(troupe_accepted)), [PANIC] = ON(panic_now, 0)}};

/* --- echo --------------------------------------------------------------------------------------------------------- */

struct conn {
    troupe_stream stream;
};

static int adopt(troupe_ctx *ctx, struct conn *conn, size_t high)
{
    troupe_stream_options options = {.data = DATA,
                                     .drained = DRAINED,
                                     .closed = CLOSED,
                                     .wants_drained = true,
                                     .wants_closed = true,
                                     .high_water = high,
                                     .low_water = high / 4};
    int status = troupe_stream_adopt(ctx, troupe_take_fd(ctx), &options, &conn->stream);
    if (troupe_take_fd(ctx) != -EBADF)
        say("two gifts");
    return status;
}

STARTED(echo_started)
{
    struct conn *conn = self;
    int status = adopt(ctx, conn, 65536);
    if (status == 0)
        status = troupe_stream_read(ctx, conn->stream, 0);
    if (status == 0 && troupe_stream_read(ctx, conn->stream, 0) != -EALREADY)
        say("two grants");
    return status;
}

HANDLER(echo_data)
{
    struct conn *conn = self;
    const troupe_data *data = troupe_payload(msg);
    bump(EVENTS);
    if (troupe_keep(ctx, msg))
        say("kept an event");
    if (word(CRASH_IN) == DATA)
        troupe_panic(ctx, "in data");
    if (data->length == 0)
        say("%d", data->status);
    if (data->length == 0 || troupe_stream_write(ctx, conn->stream, data->bytes, data->length) < 0)
        troupe_stream_close(ctx, conn->stream, true);
    else if (troupe_stream_pending(ctx, conn->stream) <= 65536)
        troupe_stream_read(ctx, conn->stream, 0);
}

HANDLER(echo_drained)
{
    troupe_stream_read(ctx, ((struct conn *)self)->stream, 0);
}

HANDLER(echo_closed)
{
    struct conn *conn = self;
    if (word(CRASH_IN) == CLOSED)
        troupe_panic(ctx, "in closed");
    if (troupe_stream_close(ctx, conn->stream, true) != -EBADF || troupe_stream_read(ctx, conn->stream, 0) != -EBADF ||
        troupe_stream_write(ctx, conn->stream, "x", 1) != -EBADF || troupe_stream_pending(ctx, conn->stream) != 0)
        say("a closed handle works");
    troupe_stop_self(ctx);
}

static const troupe_behavior echo = {.name = "echo",
                                     .state_size = sizeof(struct conn),
                                     .started = echo_started,
                                     .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
                                     .handlers = {[DATA] = ON(echo_data, sizeof(troupe_data)),
                                                  [DRAINED] = ON(echo_drained, sizeof(troupe_stream)),
                                                  [CLOSED] = ON(echo_closed, sizeof(troupe_closed)),
                                                  [PANIC] = ON(panic_now, 0)}};

static void echo_once(size_t length)
{
    enum { AT_ONCE = 30000 };
    static char out[AT_ONCE], in[AT_ONCE];
    int fd = new_client();
    for (size_t done = 0; done < length;) {
        size_t n = length - done < AT_ONCE ? length - done : AT_ONCE;
        for (size_t i = 0; i < n; i++)
            out[i] = (char)((done + i) * 31 >> 3);
        write_all(fd, out, n);
        cr_assert_eq(read_until_end(fd, in, n), n);
        cr_assert_arr_eq(in, out, n);
        done += n;
    }
    shutdown(fd, SHUT_WR);
    cr_assert_eq(recv(fd, in, 1, 0), 0, "the server closes in order");
    close(fd);
}

Test(stream, echoes_through_real_sockets_and_leaves_nothing_behind)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        connection = &echo;
        start_server(&server, workers);
        troupe_stats before = stats();
        unsigned fds = open_fds();
        static const size_t lengths[] = {0, 1, 16384, 16385, 300000};
        for (unsigned i = 0; i < 25; i++)
            echo_once(lengths[i % 5]);
        cr_assert_eq(word(CONNECTIONS), 25);
        await_quiet(&before);
        cr_assert_eq(open_fds(), fds);
        stop_server();
        cr_assert_null(strpbrk(world.trace, "123456789abcdefghijklmnopqrstuvwxyz-"), "%s", world.trace);
    }
}

Test(stream, a_reset_by_the_peer_ends_input_with_its_status)
{
    connection = &echo;
    start_server(&server, 2);
    troupe_stats before = stats();
    char byte;
    int fd = new_client();
    write_all(fd, "x", 1);
    cr_assert_eq(recv(fd, &byte, 1, 0), 1);
    abort_client(fd);
    await_quiet(&before);
    stop_server();
    cr_assert_str_eq(world.trace, "-104");
}

/* --- output ------------------------------------------------------------------------------------------------------- */

enum { PIECE = 64000, PIECES = 100, FEW_PIECES = 10 };
enum { CLOSE_DRAIN = 2, CLOSE_DRAIN_AND_STOP, CLOSE_DRAIN_AND_PANIC, WRITE_AND_WAIT, HIGH = 500000 };

/* More than a socket takes at once. The stop of an actor leaves it 500 ms to drain: then they are few. */
static unsigned pieces = PIECES;

static void count_release(void *arg)
{
    free(arg);
    bump(EVENTS);
}

STARTED(source_started)
{
    struct conn *conn = self;
    if (troupe_incarnation(ctx) > 1)
        return 0; /* the descriptor went with the first */
    int status = adopt(ctx, conn, HIGH);
    if (status < 0)
        return status;
    for (unsigned i = 0; i < pieces; i++) {
        char *bytes = malloc(PIECE);
        memset(bytes, (int)i, PIECE);
        if (troupe_stream_write_owned(ctx, conn->stream, bytes, PIECE, count_release, bytes) != 0)
            say("write");
    }
    if (troupe_stream_pending(ctx, conn->stream) != (size_t)PIECE * pieces)
        say("pending");
    bump(UP);
    switch (word(MODE)) {
    case CLOSE_DRAIN_AND_STOP:
        troupe_stop_self(ctx);
        return troupe_stream_close(ctx, conn->stream, true);
    case CLOSE_DRAIN_AND_PANIC:
        troupe_stream_close(ctx, conn->stream, true);
        troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
        return 0;
    case WRITE_AND_WAIT:
        return troupe_stream_read(ctx, conn->stream, 0);
    default:
        return troupe_stream_close(ctx, conn->stream, true);
    }
}

HANDLER(source_closed)
{
    bump(SEEN);
    troupe_stop_self(ctx);
}

HANDLER(unexpected)
{
    say("unexpected event %u", troupe_kind(msg));
}

HANDLER(ignore) {}

static const troupe_behavior source = {.name = "source",
                                       .state_size = sizeof(struct conn),
                                       .started = source_started,
                                       .handlers = {[DATA] = ON(unexpected, sizeof(troupe_data)),
                                                    [DRAINED] = ON(ignore, sizeof(troupe_stream)),
                                                    [CLOSED] = ON(source_closed, sizeof(troupe_closed)),
                                                    [PANIC] = ON(panic_now, 0)}};

static void read_all_pieces(int fd)
{
    static char bytes[PIECE];
    for (unsigned i = 0; i < pieces; i++) {
        cr_assert_eq(read_until_end(fd, bytes, PIECE), PIECE, "piece %u", i);
        cr_assert_eq(bytes[0], (char)i);
        cr_assert_arr_eq(bytes, bytes + 1, PIECE - 1); /* all alike */
    }
    cr_assert_eq(recv(fd, bytes, 1, 0), 0);
}

static void drain_to_client(unsigned mode)
{
    connection = &source;
    start_server(&server, 2);
    ck_pr_store_64(&world.word[MODE], mode);
    troupe_stats before = stats();
    for (unsigned i = 0; i < 3; i++) {
        int fd = new_client();
        read_all_pieces(fd);
        close(fd);
    }
    await_quiet(&before);
    cr_assert_eq(word(EVENTS), 3 * pieces, "each piece is released once");
    stop_server();
    cr_assert_str_eq(world.trace, "");
}

Test(stream, close_with_drain_sends_everything_first)
{
    drain_to_client(CLOSE_DRAIN);
    cr_assert_eq(word(SEEN), 3, "closed is told");
}

Test(stream, draining_goes_on_while_the_actor_stops)
{
    pieces = FEW_PIECES;
    drain_to_client(CLOSE_DRAIN_AND_STOP);
    pieces = PIECES;
}

Test(stream, a_crash_ends_draining_to_a_peer_that_does_not_read)
{
    connection = &source;
    start_server(&server, 2);
    ck_pr_store_64(&world.word[MODE], CLOSE_DRAIN_AND_PANIC);
    int fd = new_client();
    await_word(EVENTS, PIECES); /* without a byte read here */
    stop_server();
    close(fd);
    cr_assert_eq(word(EVENTS), PIECES);
}

Test(stream, a_stop_waits_for_a_peer_that_does_not_read_but_not_for_ever)
{
    connection = &source;
    start_server(&server, 2);
    ck_pr_store_64(&world.word[MODE], CLOSE_DRAIN);
    int fd = new_client();
    await_word(UP, 1);
    stop_server(); /* or the watchdog */
    close(fd);
    cr_assert_eq(word(EVENTS), PIECES);
}

/* --- back-pressure ------------------------------------------------------------------------------------------------ */

STARTED(deaf_started)
{
    return adopt(ctx, self, 0); /* grants nothing */
}

static const troupe_behavior deaf = {.name = "deaf",
                                     .state_size = sizeof(struct conn),
                                     .started = deaf_started,
                                     .handlers = {[DATA] = ON(unexpected, sizeof(troupe_data))}};

Test(stream, a_peer_that_is_not_read_from_is_stopped_by_its_socket)
{
    static char bytes[100000];
    connection = &deaf;
    start_server(&server, 1);
    troupe_stats before = stats();
    int fd = new_client();
    await_word(CONNECTIONS, 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    while (poll(&writable, 1, 200) == 1) { /* full: the peer does not take more */
        ssize_t n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        cr_assert_lt(sent, (size_t)64 << 20);
    }
    troupe_stats now = stats();
    cr_assert_eq(now.io_buffers_lent, before.io_buffers_lent);
    cr_assert_eq(now.io_in_use, before.io_in_use);
    close(fd);
    stop_server();
    cr_assert_str_eq(world.trace, "");
}

/* Writes as long as less than HIGH is pending; goes on when it is told that output drained. */
static void pump(troupe_ctx *ctx, struct conn *conn)
{
    static const char bytes[10000];
    while (troupe_stream_pending(ctx, conn->stream) <= HIGH && bump(SEEN) <= 2000)
        troupe_stream_write(ctx, conn->stream, bytes, sizeof bytes);
    size_t pending = troupe_stream_pending(ctx, conn->stream);
    if (pending > word(MOST_PENDING))
        ck_pr_store_64(&world.word[MOST_PENDING], pending);
    if (word(SEEN) > 2000)
        troupe_stream_close(ctx, conn->stream, true);
}

STARTED(pump_started)
{
    int status = adopt(ctx, self, HIGH);
    if (status == 0)
        pump(ctx, self);
    return status;
}

HANDLER(pump_drained)
{
    bump(EVENTS);
    pump(ctx, self);
}

static const troupe_behavior pumping = {
    .name = "pump",
    .state_size = sizeof(struct conn),
    .started = pump_started,
    .handlers = {
        [DRAINED] = ON(pump_drained, sizeof(troupe_stream)), [CLOSED] = ON(source_closed, sizeof(troupe_closed))}};

Test(stream, a_slow_reader_is_waited_for_with_bounded_memory)
{
    static char bytes[5000];
    connection = &pumping;
    start_server(&server, 2);
    troupe_stats before = stats();
    int fd = new_client();
    size_t got = 0;
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        got += (size_t)n;
    cr_assert_eq(got, 2000u * 10000u);
    close(fd);
    await_quiet(&before);
    cr_assert_leq(word(MOST_PENDING), HIGH + 10000);
    cr_assert_gt(word(EVENTS), 3);
    stop_server();
}

/* By atomic access: the kernel's hand-over from connect to accept is an edge that ThreadSanitizer does not see. */
static troupe_addr newest_connection(void)
{
    return (troupe_addr){ck_pr_load_64(&world.addr[1].bits)};
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

Test(stream, a_crash_with_reads_and_writes_in_flight_leaves_nothing_behind)
{
    connection = &source;
    start_server(&server, 2);
    ck_pr_store_64(&world.word[MODE], WRITE_AND_WAIT);
    troupe_stats before = stats();
    unsigned fds = open_fds();
    for (unsigned i = 1; i <= 30; i++) {
        char byte;
        int fd = new_client();
        cr_assert_eq(recv(fd, &byte, 1, 0), 1); /* the sends have begun */
        await_word(CONNECTIONS, i);
        cr_assert_eq(troupe_runtime_tell(rt, newest_connection(), PANIC, NULL, 0), 0);
        await_word(EVENTS, (uint64_t)i * PIECES); /* released, the rest unread */
        troupe_runtime_tell(rt, newest_connection(), PANIC, NULL, 0);
        close(fd);
    }
    before.actors += 30; /* the connections live on, each with a crash or two, and without a port */
    await_quiet(&before);
    cr_assert_eq(open_fds(), fds);
    stop_server();
    cr_assert_str_eq(world.trace, "");
}

static void crash_in(unsigned kind)
{
    char byte;
    connection = &echo;
    start_server(&server, 2);
    troupe_stats before = stats();
    unsigned fds = open_fds();
    ck_pr_store_64(&world.word[CRASH_IN], kind);
    int fd = new_client();
    if (kind == CLOSED)
        shutdown(fd, SHUT_WR);
    else
        write_all(fd, "x", 1);
    while (recv(fd, &byte, 1, 0) > 0) /* the end, or a reset */
        ;
    close(fd);
    while (stats().crashes == 0)
        sched_yield();
    ck_pr_store_64(&world.word[CRASH_IN], 0);
    await_quiet(&before);
    cr_assert_eq(open_fds(), fds);
    stop_server();
}

Test(stream, a_panic_in_the_data_event_closes_the_connection)
{
    crash_in(DATA);
}

Test(stream, a_panic_in_the_closed_event_is_a_crash)
{
    crash_in(CLOSED);
}

HANDLER(accept_and_panic)
{
    if (bump(EVENTS) == 1)
        troupe_panic(ctx, "in accepted");
    server_accepted(ctx, self, msg);
}

static const troupe_behavior fragile_server = {
    .name = "server",
    .state_size = sizeof(struct server),
    .started = server_started,
    .handlers = {[ACCEPTED] = ON(accept_and_panic, sizeof(troupe_accepted)), [PANIC] = ON(panic_now, 0)}};

Test(listener, a_panic_in_the_accepted_event_closes_the_connection_and_listens_again)
{
    char byte;
    connection = &echo;
    start_server(&fragile_server, 2);
    unsigned fds = open_fds();
    uint64_t port = word(PORT);
    int fd = new_client();
    cr_assert_leq(recv(fd, &byte, 1, 0), 0);
    close(fd);
    while (word(PORT) == port)
        sched_yield(); /* the next incarnation has a listener of its own */
    echo_once(1000);
    while (open_fds() != fds)
        sched_yield();
    stop_server();
}

Test(listener, a_connection_that_nobody_takes_is_closed)
{
    char byte;
    start_server(&server, 1);
    ck_pr_store_64(&world.word[MODE], 1);
    unsigned fds = open_fds();
    for (unsigned i = 0; i < 20; i++) {
        int fd = new_client();
        cr_assert_eq(recv(fd, &byte, 1, 0), 0);
        close(fd);
    }
    while (open_fds() != fds)
        sched_yield();
    stop_server();
}

/* An incarnation that crashed and waits for a child, which drains its output, is told of no event any more. */
STARTED(doomed_started)
{
    struct conn *conn = self;
    if (troupe_incarnation(ctx) > 1) {
        bump(CRASH_IN);
        return 0;
    }
    troupe_spawn_options options = {.has_fd = true, .fd = (int)word(CHILD_FD)};
    troupe_spawn(ctx, &source, NULL, &options);
    int status = adopt(ctx, conn, 0);
    return status < 0 ? status : troupe_stream_read(ctx, conn->stream, 0);
}

enum { DRAIN_MS = 500 }; /* what the child is given, on a machine that is too slow for the rest */

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

HANDLER(arm_and_panic)
{
    troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), DRAINED, NULL, 0, NULL);
    troupe_panic(ctx, "with a timer and a grant");
}

static const troupe_behavior doomed = {
    .name = "doomed",
    .state_size = sizeof(struct conn),
    .started = doomed_started,
    .handlers = {
        [DATA] = ON(unexpected, sizeof(troupe_data)), [DRAINED] = ON(unexpected, 0), [PANIC] = ON(arm_and_panic, 0)}};

Test(stream, an_incarnation_that_crashed_sees_no_event_while_its_children_end)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    connection = &doomed;
    start_server(&server, 2);
    ck_pr_store_64(&world.word[CHILD_FD], (uint64_t)pair[0]);
    int fd = new_client();
    char byte;
    cr_assert_eq(recv(pair[1], &byte, 1, MSG_PEEK), 1);
    await_word(CONNECTIONS, 1);
    uint64_t begun = clock_ms();
    troupe_runtime_tell(rt, newest_connection(), PANIC, NULL, 0);
    while (stats().crashes == 0)
        sched_yield();
    uint64_t completed = stats().io_completed;
    write_all(fd, "too late", 8);
    while (stats().io_completed == completed && word(CRASH_IN) == 0)
        sched_yield();
    poll(NULL, 0, 100); /* gives a timer that ought to be silent the time to show that it is not */
    cr_assert(word(CRASH_IN) == 0 || clock_ms() - begun >= DRAIN_MS, "it waits for its child");
    close(pair[1]); /* nothing is left to drain to */
    await_word(CRASH_IN, 1);
    close(fd);
    stop_server();
    cr_assert_str_eq(world.trace, "");
}

/* --- out of descriptors ------------------------------------------------------------------------------------------- */

struct scarcity {
    struct rlimit before;
    int fill[64];
    unsigned filled;
};

/* No descriptor is left; sockets made before still work. */
static void use_up_descriptors(struct scarcity *s)
{
    getrlimit(RLIMIT_NOFILE, &s->before);
    s->filled = 0;
    int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit low = {.rlim_cur = (rlim_t)highest + 8, .rlim_max = s->before.rlim_max};
    s->fill[s->filled++] = highest;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (s->filled < 64 && (s->fill[s->filled] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        s->filled++;
    cr_assert_lt(s->filled, 64);
}

static void end_scarcity(struct scarcity *s)
{
    while (s->filled > 0)
        close(s->fill[--s->filled]);
    setrlimit(RLIMIT_NOFILE, &s->before);
}

static void await_pause(void)
{
    while (stats().timers_armed == 0)
        sched_yield();
}

Test(listener, without_descriptors_it_pauses_and_goes_on_when_there_are_some)
{
    struct scarcity scarcity;
    char byte;
    connection = &echo;
    start_server(&server, 1);
    int clients[10];
    for (unsigned i = 0; i < 10; i++)
        clients[i] = new_socket();
    use_up_descriptors(&scarcity);
    for (unsigned i = 0; i < 10; i++)
        connect_to_server(clients[i]); /* they wait in the backlog; four accepts had taken no descriptor yet */
    await_pause();
    cr_assert_lt(word(CONNECTIONS), 10);
    end_scarcity(&scarcity);
    for (unsigned i = 0; i < 10; i++) {
        write_all(clients[i], "x", 1);
        cr_assert_eq(recv(clients[i], &byte, 1, 0), 1);
        close(clients[i]);
    }
    cr_assert_eq(word(CONNECTIONS), 10);
    cr_assert(strstr(world.last_log, "cannot accept"), "%s", world.last_log);
    stop_server();
}

Test(listener, that_pauses_is_closed_with_its_incarnation)
{
    struct scarcity scarcity;
    char byte;
    connection = &echo;
    start_server(&server, 2);
    int client = new_socket();
    uint64_t port = word(PORT);
    use_up_descriptors(&scarcity);
    connect_to_server(client);
    await_pause();
    troupe_runtime_tell(rt, world.addr[0], PANIC, NULL, 0);
    while (stats().crashes == 0)
        sched_yield();
    end_scarcity(&scarcity);
    while (word(PORT) == port || stats().io_in_flight < 4)
        sched_yield();
    cr_assert_leq(recv(client, &byte, 1, 0), 0);
    close(client);
    echo_once(100);
    stop_server();
}

/* --- out of operations -------------------------------------------------------------------------------------------- */

static unsigned ops_max;

HANDLER(allow_ops)
{
    ctx->loop->slab.ops_max = ops_max;
}

STARTED(write_without_ops)
{
    struct conn *conn = self;
    int status = adopt(ctx, conn, 0);
    if (status < 0)
        return status;
    ops_max = ctx->loop->slab.ops_max;
    ctx->loop->slab.ops_max = 0;
    if (troupe_stream_read(ctx, conn->stream, 0) != -EAGAIN)
        say("read");
    troupe_send_after(ctx, TROUPE_MS(10), troupe_self(ctx), DRAINED, NULL, 0, NULL);
    return troupe_stream_write(ctx, conn->stream, "at last", 7);
}

static const troupe_behavior without_ops = {.name = "without",
                                            .state_size = sizeof(struct conn),
                                            .started = write_without_ops,
                                            .handlers = {[DRAINED] = ON(allow_ops, 0)}};

Test(stream, output_that_found_no_operation_is_sent_later)
{
    char bytes[8] = "";
    connection = &without_ops;
    start_server(&server, 1);
    int fd = new_client();
    cr_assert_eq(read_until_end(fd, bytes, 7), 7);
    cr_assert_str_eq(bytes, "at last");
    close(fd);
    stop_server();
    cr_assert_str_eq(world.trace, "");
}

HANDLER(forbid_ops)
{
    ops_max = ctx->loop->slab.ops_max;
    ctx->loop->slab.ops_max = 0;
    troupe_send_after(ctx, TROUPE_MS(10), troupe_self(ctx), DRAINED, NULL, 0, NULL);
    bump(SEEN);
}

static const troupe_behavior poor_server = {.name = "server",
                                            .state_size = sizeof(struct server),
                                            .started = server_started,
                                            .handlers = {[ACCEPTED] = ON(server_accepted, sizeof(troupe_accepted)),
                                                         [PANIC] = ON(forbid_ops, 0),
                                                         [DRAINED] = ON(allow_ops, 0)}};

Test(listener, that_found_no_operation_accepts_again_later)
{
    char byte;
    start_server(&poor_server, 1);
    ck_pr_store_64(&world.word[MODE], 1);
    for (unsigned round = 1; round <= 3; round++) {
        troupe_runtime_tell(rt, world.addr[0], PANIC, NULL, 0);
        await_word(SEEN, round);
        for (unsigned i = 0; i < 6; i++) { /* more than there are accepts in flight */
            int fd = new_client();
            cr_assert_eq(recv(fd, &byte, 1, 0), 0);
            close(fd);
        }
    }
    stop_server();
}
