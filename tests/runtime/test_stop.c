/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a runtime within a time, and the report of who is in the way. */
#include "world.h"

#include <ctype.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { WORK, ADD };
enum { RELEASED, RUNNING, HANDLED }; /* words */

static char report[1 << 16]; /* every line that was logged */

/* Actors' numbers are left out: which slots they get is the table's affair. */
static void collect(void *arg, const troupe_log_record *record)
{
    (void)arg;
    size_t at = strlen(report);
    at += (size_t)snprintf(report + at, sizeof report - at, "%s: ", record->event);
    for (const char *c = record->text; *c && at < sizeof report - 3; c++) {
        report[at++] = *c;
        if (*c == '#')
            while (isdigit((unsigned char)c[1]))
                c++;
    }
    snprintf(report + at, sizeof report - at, "\n");
}

static troupe_options collecting(void)
{
    troupe_options options = world_options();
    options.log = collect;
    report[0] = '\0';
    return options;
}

static void await_word(unsigned i, uint64_t value)
{
    while (word(i) < value)
        usleep(1000);
}

static void expect(const char *text)
{
    cr_assert(strstr(report, text), "the report does not say \"%s\":\n%s", text, report);
}

/* Has it stop, and returns once that has got so far. */
static void stop_until(troupe_runtime *rt, const char *text)
{
    static char now[1 << 14];
    troupe_runtime_request_stop(rt);
    do {
        usleep(1000);
        troupe_runtime_survivors(rt, now, sizeof now);
    } while (!strstr(now, text));
}

/* Does not return before the test says so. */
HANDLER(work)
{
    bump(RUNNING);
    while (!word(RELEASED))
        usleep(100);
    bump(HANDLED);
}

static const troupe_behavior stuck = {.name = "stuck", .handlers = {[WORK] = ON(work, 0)}};

STARTED(spawn_stuck)
{
    ck_pr_store_64(&world.addr[0].bits, troupe_spawn(ctx, &stuck, NULL, NULL).bits);
    return 0;
}

static const troupe_behavior parent = {.name = "parent", .started = spawn_stuck};

static troupe_runtime *start(const troupe_behavior *root, const void *args)
{
    troupe_runtime *rt;
    troupe_options options = collecting();
    cr_assert_eq(troupe_runtime_start(&rt, root, args, &options, &world.addr[1]), 0);
    return rt;
}

Test(stop, a_runtime_that_stops_in_time_says_nothing)
{
    world_begin(2);
    troupe_runtime *rt = start(&parent, NULL);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    cr_assert_eq(troupe_runtime_stop(rt, 0), 0, "once more");
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(report, "");
}

Test(stop, a_stuck_handler_is_named_with_its_worker_and_time)
{
    world_begin(2);
    troupe_runtime *rt = start(&stuck, NULL);
    troupe_runtime_tell(rt, world.addr[1], WORK, NULL, 0);
    await_word(RUNNING, 1);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_MS(300)), -ETIMEDOUT);
    expect("survivor: stuck#, running: runs handler \"work\" on worker ");
    double seconds = 0;
    cr_assert_eq(sscanf(strstr(report, " for ") + 5, "%lf s", &seconds), 1);
    cr_assert(seconds >= 0.25 && seconds < 60, "for %g s", seconds);
    cr_assert_eq(word(HANDLED), 0);
    bump(RELEASED);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_eq(word(HANDLED), 1);
}

Test(stop, a_parent_names_the_child_it_waits_for)
{
    world_begin(2);
    troupe_runtime *rt = start(&parent, NULL);
    troupe_addr child = {0};
    while (troupe_addr_is_nobody(child)) {
        usleep(1000);
        child.bits = ck_pr_load_64(&world.addr[0].bits);
    }
    troupe_runtime_tell(rt, child, WORK, NULL, 0);
    await_word(RUNNING, 1);
    stop_until(rt, ", stopping: waits for 1 child, ");
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_MS(50)), -ETIMEDOUT);
    expect("survivor: parent#, stopping: waits for 1 child, stuck#\n");
    expect("survivor: stuck#, child of parent#, running: runs handler \"work\" on worker ");
    bump(RELEASED);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

/* --- operations --------------------------------------------------------------------------------------------------- */

struct talker {
    troupe_stream stream;
};

STARTED(talk)
{
    struct talker *talker = self;
    static char bytes[4 << 20];
    troupe_stream_options options = {0};
    cr_assert_eq(troupe_stream_adopt(ctx, troupe_take_fd(ctx), &options, &talker->stream), 0);
    troupe_stream_write(ctx, talker->stream, bytes, sizeof bytes);
    bump(RUNNING);
    return 0;
}

STOPPED(close_slowly)
{
    troupe_stream_close(ctx, ((struct talker *)self)->stream, true);
}

static const troupe_behavior talker = {
    .name = "talker", .state_size = sizeof(struct talker), .started = talk, .stopped = close_slowly};

STARTED(spawn_talker)
{
    troupe_spawn_options options = {.fd = *(const int *)args, .has_fd = true};
    troupe_spawn(ctx, &talker, NULL, &options);
    return 0;
}

static const troupe_behavior host = {.name = "host", .args_size = sizeof(int), .started = spawn_talker};

Test(stop, a_drain_to_a_peer_that_does_not_read_names_the_operation)
{
    int pair[2];
    char fd[32];
    world_begin(2);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(fd, sizeof fd, "send on fd %d", pair[0]);
    troupe_runtime *rt = start(&host, &pair[0]);
    await_word(RUNNING, 1);
    stop_until(rt, ", stopping: waits for the operations of 1 port, ");
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_MS(20)), -ETIMEDOUT);
    expect("talker#, child of host#, stopping: waits for the operations of 1 port, ");
    expect(fd);
    cr_assert_eq(troupe_runtime_join(rt), 0, "draining has an end");
    close(pair[1]);
}

/* --- many --------------------------------------------------------------------------------------------------------- */

STARTED(spawn_hundred)
{
    for (unsigned i = 0; i < 100; i++)
        troupe_spawn(ctx, &stuck, NULL, NULL);
    bump(RUNNING);
    work(ctx, self, NULL);
    return 0;
}

static const troupe_behavior crowd = {.name = "crowd", .started = spawn_hundred};

Test(stop, a_long_report_is_cut_and_counted)
{
    world_begin(1);
    troupe_runtime *rt = start(&crowd, NULL);
    await_word(RUNNING, 2);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_MS(10)), -ETIMEDOUT);
    unsigned lines = 0;
    for (const char *at = report; (at = strstr(at, "survivor: ")); at++)
        lines++;
    cr_assert_eq(lines, 65);
    expect("survivor: and 37 more\n");
    expect("still live\nsurvivor: crowd#, starting: runs handler \"started\" on worker 0"); /* the culprit first */
    char some[40];
    size_t whole = troupe_runtime_survivors(rt, some, sizeof some);
    cr_assert(whole > sizeof some && strlen(some) == sizeof some - 1, "%zu, \"%s\"", whole, some);
    bump(RELEASED);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

/* --- troupe_run --------------------------------------------------------------------------------------------------- */

STARTED(stop_and_hang)
{
    troupe_stop_runtime(ctx, 7);
    work(ctx, self, NULL);
    return 0;
}

static const troupe_behavior hanging = {.name = "hanging", .started = stop_and_hang};

Test(stop, troupe_run_gives_up_after_its_time)
{
    world_begin(2);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        troupe_options options = collecting();
        options.stop_timeout_ns = TROUPE_MS(100);
        int status = troupe_run(&hanging, NULL, &options);
        _exit(status == -ETIMEDOUT && strstr(report, "hanging#, starting: runs handler \"started\"") ? 42 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %x", (unsigned)status);
}

Test(stop, troupe_run_without_a_limit_waits)
{
    world_begin(2);
    ck_pr_store_64(&world.word[RELEASED], 1);
    cr_assert_eq(run(&hanging, NULL), 7);
}
