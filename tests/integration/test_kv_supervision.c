/* SPDX-License-Identifier: Apache-2.0 */
/* Crashes of shards and connections, as clients see them. TROUPE_DRILL=full: the benchmark among the panics has the
 * issue's size (500,000 requests of each kind), and the checked writers go on ten times as long. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"
#include "writers.h"

TestSuite(kv_supervision, .timeout = 600);

#define CRASHED                                                                                                        \
    "-ERR the shard crashed before it could answer and restarts; whether this command took effect is unknown"

static uint64_t random_state = UINT64_C(0x5eed0005);

static unsigned below(unsigned n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)(random_state * UINT64_C(2685821657736338717) >> 33) % n;
}

Test(kv_supervision, a_crashed_shard_comes_back_with_its_data)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&c, "DEBUG RESTARTS"), ":0");
    cr_assert_str_eq(client_ask(&c, "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8"), "+OK");
    cr_assert_str_eq(client_ask(&c, "EXPIRE a 1000"), ":1");
    for (int i = 1; i <= 20; i++) {
        char line[32], want[16];
        snprintf(line, sizeof line, "DEBUG PANIC %c", 'a' + i % 8);
        snprintf(want, sizeof want, ":%d", i);
        cr_assert_str_eq(client_ask(&c, line), CRASHED);
        cr_assert_str_eq(client_ask(&c, "MGET a b c d e f g h"), "[\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\"]");
        cr_assert_str_eq(client_ask(&c, "DEBUG RESTARTS"), want);
    }
    cr_assert_str_eq(client_ask(&c, "TTL a"), ":1000");
    cr_assert_eq(kv_info(&c, "restarts"), 20);
    client_close(&c);
    kv_terminate(&kv);
}

/* Of one pipeline, the commands of the crashed shard answer once each, with a result or the error; all others as
 * ever. */
Test(kv_supervision, each_command_in_flight_gets_one_reply)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&c, "SET victim v"), "+OK");
    for (int round = 0; round < 50; round++) {
        client_send_text(&c,
                         "PING 1\r\nGET victim\r\nDEBUG PANIC victim\r\nSET victim v\r\nPING 2\r\nMGET victim none\r\n"
                         "DBSIZE\r\nNONE\r\nPING 3\r\n");
        cr_assert_str_eq(client_reply(&c), "\"1\"");
        for (int i = 0; i < 3; i++) {
            const char *reply = client_reply(&c);
            cr_assert(strcmp(reply, CRASHED) == 0 || (i != 1 && reply[0] != '-'), "command %d: %s", i, reply);
        }
        cr_assert_str_eq(client_reply(&c), "\"2\"");
        for (int i = 0; i < 2; i++) {
            const char *reply = client_reply(&c);
            cr_assert(strcmp(reply, CRASHED) == 0 || reply[0] != '-', "command of many shards: %s", reply);
        }
        cr_assert_eq(strncmp(client_reply(&c), "-ERR unknown command", 20), 0);
        cr_assert_str_eq(client_reply(&c), "\"3\"");
    }
    cr_assert_str_eq(client_ask(&c, "GET victim"), "\"v\"");
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_supervision, a_crashed_connection_takes_nobody_along)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port), other = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&other, "SET k v"), "+OK");
    long long actors = kv_info(&other, "actors");
    for (int i = 0; i < 20; i++) {
        cr_assert_str_eq(client_ask(&c, "GET k"), "\"v\"");
        client_send_line(&c, "DEBUG PANIC-CONNECTION");
        cr_assert(client_ended(&c));
        client_close(&c);
        cr_assert_str_eq(client_ask(&other, "GET k"), "\"v\"");
        c = client_connect(kv.port);
    }
    cr_assert_str_eq(client_ask(&c, "PING"), "+PONG");
    cr_assert_eq(kv_info(&other, "actors"), actors);
    cr_assert_eq(kv_info(&other, "restarts"), 0);
    cr_assert_eq(kv_info(&other, "crashes"), 20);
    client_close(&c);
    client_close(&other);
    kv_terminate(&kv);
}

/* The drill of "done when" 2. redis-benchmark exits with 1 at the first error that it is answered; so this shows as
 * well that a crash costs nobody anything but the request that caused it. */
Test(kv_supervision, two_hundred_panics_during_the_benchmark)
{
    enum { PANICS = 200 };
    char requests[16];
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    snprintf(requests, sizeof requests, "%u", drill(300000, 500000));
    struct process benchmark = kv_benchmark(
        &kv, (char *const[]){"-t", "set,get", "-n", requests, "-c", "50", "-P", "16", "-r", "100000", "-q", NULL});
    cr_assert(process_await(&benchmark, "rps=", PATIENCE_MS)); /* it runs */
    for (int i = 0; i < PANICS; i++) {
        char line[64];
        snprintf(line, sizeof line, "DEBUG PANIC key:%012u", below(100000));
        cr_assert_str_eq(client_ask(&c, line), CRASHED);
    }
    cr_expect(process_alive(&benchmark), "the benchmark ended before the panics did");
    int status = process_wait(&benchmark, 120000);
    char *printed = process_printed(&benchmark);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "redis-benchmark: status %#x: %s", (unsigned)status,
              printed);
    cr_expect(strstr(printed, "SET: ") && strstr(printed, "GET: "), "%s", printed);
    free(printed);
    cr_assert_str_eq(client_ask(&c, "DEBUG RESTARTS"), ":200");
    cr_assert_eq(kv_info(&c, "restarts"), PANICS);
    cr_assert_eq(kv_info(&c, "escalations"), 0);
    client_close(&c);
    kv_terminate(&kv);
}

/* Nothing acknowledged is lost, whatever was in flight to the log when its shard crashed. */
static void panics_among_writers(const char *fsync)
{
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--fsync", fsync, "--shards", "2"}});
    struct writers *w = writers_start(kv.port, 1500);
    struct client c = client_connect(kv.port);
    unsigned panics = drill(100, 1000);
    for (unsigned i = 0; i < panics; i++) {
        char line[64];
        writers_go_on(w, 50 + below(200));
        snprintf(line, sizeof line, "DEBUG PANIC key%u", below(100));
        cr_assert_str_eq(client_ask(&c, line), CRASHED);
    }
    writers_finish(w);
    cr_expect_eq(w->refusals, 0, "others were refused, too: %s", w->refusal);
    cr_assert_eq(kv_info(&c, "restarts"), panics);
    writers_check(w, kv.port);
    client_close(&c);
    kv_kill(&kv);
    kv = kv_start(&(struct kv_setup){.args = {"--shards", "2"}});
    writers_check(w, kv.port);
    writers_free(w);
    kv_terminate(&kv);
}

Test(kv_supervision, panics_among_writes_lose_nothing_acknowledged)
{
    panics_among_writers("everysec");
}

Test(kv_supervision, panics_among_synced_writes_lose_nothing_acknowledged)
{
    panics_among_writers("always");
}
