/* SPDX-License-Identifier: Apache-2.0 */
/* Many connections, too many connections, and none: what they cost, and that it is given back. 10,000 connections at
 * once need a limit of 10,300 descriptors on both sides; where the hard limit forbids it, it is 2,000, or the test is
 * skipped. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(kv_scale, .timeout = 600);

struct gauges {
    long long actors, in_flight, in_use, lent;
    unsigned fds;
};

static struct gauges measure(const struct kv *kv, struct client *c)
{
    return (struct gauges){
        .actors = kv_info(c, "actors"),
        .in_flight = kv_info(c, "io_in_flight"),
        .in_use = kv_info(c, "io_in_use"),
        .lent = kv_info(c, "io_buffers_lent"),
        .fds = process_fds(kv->process.pid),
    };
}

static bool same(struct gauges a, struct gauges b)
{
    return a.actors == b.actors && a.in_flight == b.in_flight && a.in_use == b.in_use && a.lent == b.lent &&
           a.fds == b.fds;
}

/* Until the last ones are gone; each look is several round trips. */
static void expect_gauges(const struct kv *kv, struct client *c, struct gauges before)
{
    struct gauges now = measure(kv, c);
    for (int64_t until = now_ms() + 10000; !same(now, before) && now_ms() < until;)
        now = measure(kv, c);
    cr_expect_eq(now.actors, before.actors, "actors: %lld, at the start %lld", now.actors, before.actors);
    cr_expect_eq(now.in_flight, before.in_flight, "ops: %lld, at the start %lld", now.in_flight, before.in_flight);
    cr_expect_eq(now.in_use, before.in_use, "op records: %lld, at the start %lld", now.in_use, before.in_use);
    cr_expect_eq(now.lent, before.lent, "buffers: %lld, at the start %lld", now.lent, before.lent);
    cr_expect_eq(now.fds, before.fds, "descriptors: %u, at the start %u", now.fds, before.fds);
}

static bool raise_limit(rlim_t files)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    if (limit.rlim_cur >= files)
        return true;
    limit.rlim_cur = files;
    if (limit.rlim_max < files)
        limit.rlim_max = files;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* No context switch of any thread in five seconds. The everysec sync, the last timer, is over before they begin. */
static void expect_idle(const struct kv *kv)
{
    unsigned long long before = 0, after = process_switches(kv->process.pid);
    for (int64_t until = now_ms() + 30000; before != after;) {
        before = after;
        cr_assert_lt(now_ms(), until, "it never comes to rest");
        cr_assert(process_stays_alive(&kv->process, 1500));
        after = process_switches(kv->process.pid);
    }
    cr_assert(process_stays_alive(&kv->process, 5000));
    after = process_switches(kv->process.pid);
    cr_expect_eq(after, before, "%llu context switches in 5 idle seconds", after - before);
}

/* The drill of "done when" 4. */
Test(kv_scale, many_connections_leave_no_trace)
{
    unsigned count = raise_limit(10300) ? 10000 : 2000;
    if (!raise_limit(count + 300))
        cr_skip_test("the limit of descriptors cannot be raised so far");
    cr_log_info("%u connections", count);
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--max-clients", "20000"}});
    struct client control = client_connect(kv.port), *clients = calloc(count, sizeof *clients);
    cr_assert_str_eq(client_ask(&control, "SET k v"), "+OK");
    struct gauges before = measure(&kv, &control);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < count; i++)
            clients[i] = client_connect(kv.port);
        for (unsigned i = 0; i < count; i++)
            client_send_line(&clients[i], i % 2 ? "GET k" : "INCR n");
        for (unsigned i = 0; i < count; i++)
            cr_assert_str_neq(client_reply(&clients[i]), "nil");
        cr_assert_eq(kv_info(&control, "connected_clients"), count + 1);
        for (unsigned i = 0; i < count; i++)
            client_close(&clients[i]);
        expect_gauges(&kv, &control, before);
    }
    char want[32];
    snprintf(want, sizeof want, "\"%u\"", count);
    cr_expect_str_eq(client_ask(&control, "GET n"), want);
    expect_idle(&kv);
    free(clients);
    client_close(&control);
    kv_terminate(&kv);
}

Test(kv_scale, after_load_it_is_idle)
{
    struct kv kv = kv_start(NULL);
    struct process benchmark = kv_benchmark(
        &kv, (char *const[]){"-t", "set,get", "-n", "100000", "-c", "50", "-P", "16", "-r", "10000", "-q", NULL});
    int status = process_wait(&benchmark, 60000);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_idle(&kv);
    kv_terminate(&kv);
}

/* A connection that has been served, or the error that refused it (then closed). */
static bool admitted(struct client *c)
{
    const char *reply = client_try(c, "PING");
    if (reply && strcmp(reply, "+PONG") == 0)
        return true;
    if (reply)
        cr_assert_str_eq(reply, "-ERR max number of clients reached");
    return false;
}

Test(kv_scale, one_client_too_many_is_told_so)
{
    enum { MAX = 20 };
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--max-clients", "20"}});
    struct client clients[MAX];
    for (int i = 0; i < MAX; i++) {
        clients[i] = client_connect(kv.port);
        cr_assert_str_eq(client_ask(&clients[i], "PING"), "+PONG");
    }
    for (int i = 0; i < 50; i++) {
        struct client extra = client_connect(kv.port);
        cr_assert_str_eq(client_reply(&extra), "-ERR max number of clients reached");
        cr_assert(client_ended(&extra));
        client_close(&extra);
    }
    for (int i = 0; i < MAX; i++)
        cr_assert_str_eq(client_ask(&clients[i], "PING"), "+PONG");
    client_close(&clients[0]);
    bool in = false; /* the place is free as soon as its actor is gone */
    for (int64_t until = now_ms() + 5000; !in;) {
        cr_assert_lt(now_ms(), until, "the place that became free is not given away");
        clients[0] = client_connect(kv.port);
        in = admitted(&clients[0]);
        if (!in)
            client_close(&clients[0]);
    }
    for (int i = 0; i < MAX; i++)
        client_close(&clients[i]);
    kv_terminate(&kv);
}

/* Descriptors run out before clients do. Those who are in are served; those outside wait, or are turned away, and the
 * server takes new ones when some have left. */
Test(kv_scale, running_out_of_descriptors_is_survived)
{
    enum { COUNT = 150, LIMIT = 100 };
    struct kv kv = kv_start(&(struct kv_setup){.limits = {.files = LIMIT}});
    struct client first = client_connect(kv.port), clients[COUNT];
    cr_assert_str_eq(client_ask(&first, "SET k v"), "+OK");
    for (int i = 0; i < COUNT; i++) {
        clients[i] = client_connect(kv.port);
        client_send_line(&clients[i], "GET k");
    }
    for (int i = 0; i < 30; i++)
        cr_assert_str_eq(client_reply(&clients[i]), "\"v\"");
    for (int i = 0; i < 100; i++)
        cr_assert_str_eq(client_ask(&first, "GET k"), "\"v\"");
    cr_assert_str_eq(client_ask(&first, "SET k w"), "+OK"); /* the logs need no new descriptors */
    cr_assert_leq(process_fds(kv.process.pid), LIMIT);
    for (int i = 0; i < COUNT; i++)
        client_close(&clients[i]);
    for (int i = 0; i < 50; i++) {
        struct client fresh = client_connect(kv.port);
        cr_assert_str_eq(client_ask(&fresh, "GET k"), "\"w\"");
        client_close(&fresh);
    }
    client_close(&first);
    kv_terminate(&kv);
}
