/* SPDX-License-Identifier: Apache-2.0 */
/* Input of every size and intent: huge, in pieces, hostile, and clients that do not take their replies.
 * TROUPE_DRILL=full makes the random part longer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(kv_input, .timeout = 120);

#define MIB ((size_t)1 << 20)

static uint64_t random_state = UINT64_C(0x5eed0003);

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static char *random_bytes(size_t len)
{
    char *bytes = malloc(len + 8);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = random_next();
        memcpy(bytes + i, &word, 8);
    }
    return bytes;
}

static void set_value(struct client *c, const char *key, const char *value, size_t len)
{
    client_send_args(c, 3, (const char *const[]){"SET", key, value}, (const size_t[]){3, strlen(key), len});
    cr_assert_str_eq(client_reply(c), "+OK");
}

static void expect_value(struct client *c, const char *value, size_t len)
{
    char head[32];
    size_t head_len = (size_t)snprintf(head, sizeof head, "$%zu\r\n", len);
    cr_assert_arr_eq(client_take(c, head_len), head, head_len);
    cr_assert(memcmp(client_take(c, len), value, len) == 0, "a value of %zu bytes came back changed", len);
    cr_assert_arr_eq(client_take(c, 2), "\r\n", 2);
}

Test(kv_input, a_value_of_64_mib_survives_the_round_trip_and_a_restart)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    char *value = random_bytes(64 * MIB);
    set_value(&c, "big", value, 64 * MIB);
    client_send_line(&c, "GET big");
    expect_value(&c, value, 64 * MIB);
    client_send_line(&c, "MGET none big"); /* put together from two shards' replies */
    cr_assert_arr_eq(client_take(&c, 9), "*2\r\n$-1\r\n", 9);
    expect_value(&c, value, 64 * MIB);
    cr_expect_lt(process_resident(kv.process.pid), 400 * MIB);
    client_close(&c);
    kv_terminate(&kv);
    kv = kv_start(NULL);
    c = client_connect(kv.port);
    client_send_line(&c, "GET big");
    expect_value(&c, value, 64 * MIB);
    cr_assert_str_eq(client_ask(&c, "APPEND big x"), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    free(value);
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_input, values_around_every_internal_size_come_back)
{
    static const size_t sizes[] = {0,      1,      15,     16,     4095,    4096,    8191,    8192,
                                   16383,  16384,  16385,  32767,  32768,   65535,   65536,   65537,
                                   131072, 262143, 262144, 300000, 1048575, 1048576, 1048577, 3000000};
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    char *value = random_bytes(3000000), key[32];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "size%zu", sizes[i]);
        set_value(&c, key, value + i, sizes[i] > i ? sizes[i] - i : 0);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) { /* pipelined: large and small replies mixed */
        snprintf(key, sizeof key, "GET size%zu", sizes[i]);
        client_send_line(&c, key);
        client_send_line(&c, "PING");
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        expect_value(&c, value + i, sizes[i] > i ? sizes[i] - i : 0);
        cr_assert_str_eq(client_reply(&c), "+PONG");
    }
    free(value);
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_input, what_is_only_announced_costs_no_memory)
{
    enum { CLIENTS = 50 };
    struct kv kv = kv_start(NULL);
    struct client clients[CLIENTS], other = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&other, "PING"), "+PONG");
    size_t before = process_resident(kv.process.pid);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_connect(kv.port);
        client_send_text(&clients[i],
                         i % 2 ? "*1048576\r\n$3\r\nSET\r\n" : "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\nabc");
    }
    for (int i = 0; i < 1000; i++)
        cr_assert_str_eq(client_ask(&other, "PING"), "+PONG");
    size_t after = process_resident(kv.process.pid);
    cr_assert_lt(after, before + 16 * MIB, "%d announcements of 64 MiB took %zu bytes", CLIENTS, after - before);
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    client_close(&other);
    kv_terminate(&kv);
}

static const char pieces[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$10\r\n0123456789\r\n"
                             "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
                             "PING \"a b\"\r\n"
                             "*3\r\n$4\r\nMGET\r\n$3\r\nkey\r\n$4\r\nnone\r\n";

static void expect_pieces(struct client *c)
{
    cr_assert_str_eq(client_reply(c), "+OK");
    cr_assert_str_eq(client_reply(c), "\"0123456789\"");
    cr_assert_str_eq(client_reply(c), "\"a b\"");
    cr_assert_str_eq(client_reply(c), "[\"0123456789\" nil]");
}

Test(kv_input, commands_may_come_byte_by_byte)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof pieces - 1; i++)
            client_send(&c, pieces + i, 1);
        expect_pieces(&c);
    }
    client_close(&c);
    kv_terminate(&kv);
}

/* Another client's round trip lies between the two parts, so that the first has most likely been read alone. */
Test(kv_input, commands_may_be_cut_anywhere)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port), other = client_connect(kv.port);
    for (size_t cut = 1; cut < sizeof pieces - 1; cut++) {
        client_send(&c, pieces, cut);
        cr_assert_str_eq(client_ask(&other, "PING"), "+PONG");
        client_send(&c, pieces + cut, sizeof pieces - 1 - cut);
        expect_pieces(&c);
    }
    client_close(&c);
    client_close(&other);
    kv_terminate(&kv);
}

Test(kv_input, breaches_of_the_protocol_are_named_and_end_only_their_connection)
{
    static const struct {
        const char *bytes, *reply;
    } cases[] = {
        {"*1\r\n4\r\nPING\r\n", "-ERR Protocol error: expected '$', got '4'"},
        {"*x\r\n", "-ERR Protocol error: invalid multibulk length"},
        {"*1048577\r\n", "-ERR Protocol error: invalid multibulk length"},
        {"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length"},
        {"*1\r\n$67108865\r\n", "-ERR Protocol error: invalid bulk length"},
        {"*1\r\n$99999999999999999999\r\n", "-ERR Protocol error: invalid bulk length"},
        {"\"a\r\n", "-ERR Protocol error: unbalanced quotes in request"},
    };
    struct kv kv = kv_start(NULL);
    struct client other = client_connect(kv.port);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_connect(kv.port);
        cr_assert_str_eq(client_ask(&c, "SET k v"), "+OK");
        client_send_text(&c, cases[i].bytes);
        cr_expect_str_eq(client_reply(&c), cases[i].reply);
        cr_expect(client_ended(&c));
        client_close(&c);
        cr_assert_str_eq(client_ask(&other, "GET k"), "\"v\"");
    }
    client_close(&other);
    kv_terminate(&kv);
}

/* A line without end is cut off at 64 KiB. */
Test(kv_input, endless_lines_are_refused)
{
    static const struct {
        const char *start, *reply;
    } cases[] = {
        {"", "-ERR Protocol error: too big inline request"},
        {"*", "-ERR Protocol error: too big mbulk count string"},
        {"*1\r\n$", "-ERR Protocol error: too big bulk count string"},
    };
    struct kv kv = kv_start(NULL);
    char *line = malloc(70000);
    memset(line, '1', 70000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c = client_connect(kv.port);
        client_send_text(&c, cases[i].start);
        (void)send(c.fd, line, 70000, MSG_NOSIGNAL); /* may be cut short by the end of the connection */
        cr_expect_str_eq(client_reply(&c), cases[i].reply);
        client_close(&c);
    }
    free(line);
    kv_terminate(&kv);
}

/* Random bytes, and random changes of right ones: whatever is answered, the server lives. */
Test(kv_input, garbage_kills_nothing)
{
    struct kv kv = kv_start(NULL);
    unsigned count = drill(1000, 50000);
    for (unsigned i = 0; i < count; i++) {
        char bytes[sizeof pieces];
        size_t len = sizeof pieces - 1;
        memcpy(bytes, pieces, len);
        for (uint64_t n = random_next() % 8; n > 0; n--)
            bytes[random_next() % len] = (char)random_next();
        if (i % 4 == 0)
            for (size_t k = 0; k < len; k++)
                bytes[k] = (char)random_next();
        struct client c = client_connect(kv.port);
        client_send(&c, bytes, 1 + random_next() % len);
        if (i % 3) {
            shutdown(c.fd, SHUT_WR);
            client_ended(&c);
        }
        client_close(&c);
    }
    struct client c = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&c, "PING"), "+PONG");
    cr_assert_eq(kv_info(&c, "crashes"), 0);
    client_close(&c);
    kv_terminate(&kv);
}

/* --- clients that do not read --- */

/* The most that the server takes while another client is served a thousand times. */
static size_t peak_while_serving(const struct kv *kv, struct client *other, const char *line, const char *reply)
{
    size_t peak = 0;
    for (int i = 0; i < 1000; i++) {
        cr_assert_str_eq(client_ask(other, line), reply);
        size_t now = process_resident(kv->process.pid);
        peak = now > peak ? now : peak;
    }
    return peak;
}

static void pipeline_and_never_read(size_t value_len, unsigned gets)
{
    enum { READERS = 4 };
    struct kv kv = kv_start(NULL);
    struct client readers[READERS], other = client_connect(kv.port);
    char *value = random_bytes(value_len);
    set_value(&other, "value", value, value_len);
    set_value(&other, "small", "x", 1);
    size_t before = process_resident(kv.process.pid);
    for (int r = 0; r < READERS; r++) {
        readers[r] = client_connect(kv.port);
        for (unsigned i = 0; i < gets; i++) {
            static const char get[] = "GET value\r\n";
            if (send(readers[r].fd, get, sizeof get - 1, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof get - 1)
                break; /* the kernel's buffers are full, too */
        }
    }
    size_t peak = peak_while_serving(&kv, &other, "GET small", "\"x\"");
    /* Measured: 40 MiB. What four clients asked for is 8 GB of large values, or 3 GB of middling ones. */
    cr_assert_lt(peak, before + 100 * MIB, "%d clients that do not read %zu bytes: %zu MiB more", READERS, value_len,
                 (peak - before) / MIB);
    /* One that wakes up gets all of it, right. */
    for (unsigned i = 0; i < gets && i < 50; i++)
        expect_value(&readers[0], value, value_len);
    for (int r = 0; r < READERS; r++)
        client_close(&readers[r]);
    free(value);
    client_close(&other);
    kv_terminate(&kv);
}

Test(kv_input, a_slow_reader_of_large_values_costs_bounded_memory)
{
    pipeline_and_never_read(MIB, 2000);
}

Test(kv_input, a_slow_reader_of_middling_values_costs_bounded_memory)
{
    pipeline_and_never_read(4000, 200000);
}

/* Half-closed: what was asked before the end is answered. */
Test(kv_input, a_client_that_only_writes_gets_its_replies)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    for (int i = 0; i < 1000; i++)
        client_send_text(&c, "INCR n\r\n");
    shutdown(c.fd, SHUT_WR);
    for (int i = 1; i <= 1000; i++)
        cr_assert_eq(atoi(client_reply(&c) + 1), i);
    cr_assert(client_ended(&c));
    client_close(&c);
    kv_terminate(&kv);
}
