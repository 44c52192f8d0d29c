/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests/io/harness.h"

#include "io/loop_state.h"

#define MS UINT64_C(1000000)

struct note {
    struct tr_loop_command command;
    int *order;
    int *count;
    int mark;
};

static void note_run(struct tr_loop *loop, struct tr_loop_command *command)
{
    struct note *note = TR_CONTAINER_OF(command, struct note, command);
    cr_assert(tr_loop_is_current(loop));
    note->order[(*note->count)++] = note->mark;
}

struct alarm_clock {
    struct tr_timer timer;
    int fired;
};

static void ring_alarm(struct tr_timer *timer)
{
    TR_CONTAINER_OF(timer, struct alarm_clock, timer)->fired++;
}

Test(loop, describes_itself_in_one_line)
{
    struct harness h = harness_open(NULL);
    cr_assert_eq(strncmp(tr_io_describe(h.io), "uring: ", 7), 0);
    cr_assert_null(strchr(tr_io_describe(h.io), '\n'));
    harness_close(&h);
}

Test(loop, refuses_options_that_make_no_sense)
{
    struct tr_io *io;
    char why[200];
    struct tr_io_options options = {.buffers = 48};
    cr_assert_eq(tr_io_create(&io, 1, &options, why, sizeof why), -EINVAL);
    cr_assert(strstr(why, "power of two"));
    cr_assert_eq(tr_io_create(&io, 0, NULL, why, sizeof why), -EINVAL);
}

Test(loop, leaves_no_descriptor_behind)
{
    int before = harness_count_fds();
    for (unsigned without = 0; without < 8; without++) {
        struct tr_io_options options = {.without = without};
        struct harness h = harness_open(&options);
        harness_close(&h);
        cr_assert_eq(harness_count_fds(), before);
    }
}

Test(loop, two_loops_in_one_thread_do_not_mix)
{
    struct harness a = harness_open(NULL), b = harness_open(NULL);
    a.hooks.wake(a.loop);
    cr_assert_eq(b.hooks.wait(b.loop, MS), 0u);
    cr_assert_eq(harness_stats(&b).wakes_received, 0u);
    a.hooks.wait(a.loop, TR_WAIT_FOREVER);
    cr_assert_eq(harness_stats(&a).wakes_received, 1u);
    harness_close(&a);
    harness_close(&b);
}

Test(loop, an_idle_poll_makes_no_system_call)
{
    struct harness h = harness_open(NULL);
    h.hooks.poll(h.loop); /* arms the doorbell */
    uint64_t before = harness_stats(&h).enters;
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(h.hooks.poll(h.loop), 0u);
    cr_assert_eq(harness_stats(&h).enters, before);
    cr_assert_not(h.hooks.pending(h.loop));
    harness_close(&h);
}

Test(loop, wait_ends_at_its_timeout_and_not_before)
{
    struct harness h = harness_open(NULL);
    h.hooks.poll(h.loop);
    uint64_t start = tr_loop_clock();
    cr_assert_eq(h.hooks.wait(h.loop, 3 * MS), 0u);
    cr_assert_geq(tr_loop_clock() - start, 3 * MS);
    harness_close(&h);
}

Test(loop, wait_with_a_timeout_of_zero_returns_at_once)
{
    struct harness h = harness_open(NULL);
    cr_assert_eq(h.hooks.wait(h.loop, 0), 0u);
    harness_close(&h);
}

Test(loop, wakes_are_sticky_and_consumed_by_one_wait)
{
    struct harness h = harness_open(NULL);
    h.hooks.wake(h.loop);
    h.hooks.wake(h.loop);
    h.hooks.poll(h.loop); /* does not consume it */
    h.hooks.wait(h.loop, TR_WAIT_FOREVER);
    cr_assert_eq(harness_stats(&h).wakes_received, 1u);
    uint64_t start = tr_loop_clock();
    h.hooks.wait(h.loop, 2 * MS);
    cr_assert_geq(tr_loop_clock() - start, 2 * MS);
    harness_close(&h);
}

static enum tr_park_state how_it_sleeps(const struct harness *h)
{
    return (enum tr_park_state)ck_pr_load_32(&h->loop->park.word);
}

static void *wake_it(void *arg)
{
    const struct harness *h = arg;
    enum tr_park_state how;
    while ((how = how_it_sleeps(h)) != TR_PARK_IN_FUTEX && how != TR_PARK_IN_RING)
        ck_pr_stall();
    h->hooks.wake(h->loop);
    return (void *)(uintptr_t)how;
}

/* Sleeps until another thread wakes it. Returns how it slept; it may have been up for nothing in between. */
static enum tr_park_state sleep_until_woken(struct harness *h)
{
    pthread_t thread;
    void *how;
    uint64_t before = harness_stats(h).wakes_received;
    cr_assert_eq(pthread_create(&thread, NULL, wake_it, h), 0);
    while (harness_stats(h).wakes_received == before)
        h->hooks.wait(h->loop, TR_WAIT_FOREVER);
    pthread_join(thread, &how);
    cr_assert_eq(harness_stats(h).wakes_received, before + 1);
    return (enum tr_park_state)(uintptr_t)how;
}

/* An operation that does not end by itself. */
struct endless {
    struct outcome outcome;
    int pair[2];
};

static void begin_endless(struct harness *h, struct endless *e)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, e->pair), 0);
    tr_op_submit(outcome_op(h->loop, TR_OP_RECV, e->pair[0], &e->outcome));
}

static void end_endless(struct harness *h, struct endless *e)
{
    int times = e->outcome.times;
    cr_assert_eq(write(e->pair[1], "x", 1), 1);
    HARNESS_UNTIL(h, e->outcome.times == times + 1);
    tr_op_put(e->outcome.op);
    close(e->pair[0]);
    close(e->pair[1]);
}

static void wakes_across_threads(unsigned without)
{
    struct tr_io_options options = {.without = without};
    struct harness h = harness_open(&options);
    struct endless e = {0};
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_FUTEX, "it has nothing in flight");
        begin_endless(&h, &e);
        cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_RING, "only there would it see the completion");
        end_endless(&h, &e);
    }
    harness_close(&h);
}

Test(loop, another_thread_wakes_a_loop_asleep_in_its_word_or_its_ring)
{
    wakes_across_threads(0);
    wakes_across_threads(TR_IO_WITHOUT_DEFER);
    wakes_across_threads(TR_IO_WITHOUT_TASKRUN_FLAGS);
}

/* A waker that was held up between the word and the bell: the sleep it meant is over. */
Test(loop, a_bell_that_rings_late_ends_a_later_sleep_and_hides_no_wake)
{
    struct harness h = harness_open(NULL);
    struct endless e = {0};
    begin_endless(&h, &e);
    cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_RING); /* arms the doorbell */
    for (int i = 0; i < 20; i++) {
        h.loop->backend->wake(h.loop);
        cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_RING);
    }
    end_endless(&h, &e);
    for (int i = 0; i < 20; i++) {
        h.loop->backend->wake(h.loop);
        sleep_until_woken(&h); /* in the ring as long as a completion is not reaped, then in the word */
    }
    cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_FUTEX);
    harness_close(&h);
}

Test(loop, expects_something_while_an_operation_or_a_timer_is_under_way)
{
    struct harness h = harness_open(NULL);
    struct endless e = {0};
    struct alarm_clock clock = {.timer.fire = ring_alarm};
    cr_assert_not(h.hooks.expects(h.loop));
    begin_endless(&h, &e);
    cr_assert(h.hooks.expects(h.loop));
    end_endless(&h, &e);
    h.hooks.wait(h.loop, 1);
    cr_assert_not(h.hooks.expects(h.loop));
    tr_wheel_arm(tr_loop_wheel(h.loop), &clock.timer, tr_loop_clock() + 3600000 * MS);
    cr_assert(h.hooks.expects(h.loop));
    tr_wheel_disarm(tr_loop_wheel(h.loop), &clock.timer);
    cr_assert_not(h.hooks.expects(h.loop));
    harness_close(&h);
}

/* Else a sleep in the word would overrun its timers by the default slack. */
Test(loop, its_thread_has_no_timer_slack)
{
    prctl(PR_SET_TIMERSLACK, 12345ul);
    struct harness h = harness_open(NULL);
    cr_assert_eq(prctl(PR_GET_TIMERSLACK), 1);
    harness_close(&h);
    cr_assert_eq(prctl(PR_GET_TIMERSLACK), 12345, "it is its thread's again");
}

/* A full completion queue ends the doorbell's poll; it must be armed again. */
Test(loop, the_doorbell_survives_a_completion_queue_that_overflows)
{
    enum { COUNT = 64 };
    struct tr_io_options options = {.sq_entries = 2, .cq_entries = 4};
    struct harness h = harness_open(&options);
    struct outcome o[COUNT] = {0};
    int pairs[COUNT][2];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < COUNT; i++) {
            cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
            tr_op_submit(outcome_op(h.loop, TR_OP_RECV, pairs[i][0], &o[i]));
        }
        h.hooks.poll(h.loop);
        for (int i = 0; i < COUNT; i++)
            cr_assert_eq(write(pairs[i][1], "x", 1), 1);
        h.loop->backend->wake(h.loop);
        for (int i = 0; i < COUNT; i++) {
            HARNESS_UNTIL(&h, o[i].times == round + 1);
            cr_assert_eq(o[i].res, 1);
            tr_op_put(o[i].op);
            close(pairs[i][0]);
            close(pairs[i][1]);
        }
        struct endless e = {0};
        begin_endless(&h, &e);
        cr_assert_eq(sleep_until_woken(&h), TR_PARK_IN_RING);
        end_endless(&h, &e);
    }
    harness_close(&h);
}

Test(loop, an_idle_loop_does_not_wake)
{
    struct harness h = harness_open(NULL);
    pthread_t thread;
    struct rusage before, after;
    h.hooks.poll(h.loop);
    h.hooks.wait(h.loop, MS);
    uint64_t enters = harness_stats(&h).enters;
    getrusage(RUSAGE_THREAD, &before);
    h.hooks.wait(h.loop, 300 * MS);
    getrusage(RUSAGE_THREAD, &after);
    cr_assert_leq(after.ru_nvcsw - before.ru_nvcsw, 5, "a tick would be far more"); /* the kernel may make one or two */
    cr_assert_eq(harness_stats(&h).enters, enters + 1);
    cr_assert_eq(pthread_create(&thread, NULL, wake_it, &h), 0);
    h.hooks.wait(h.loop, TR_WAIT_FOREVER); /* no timer, no time-out: only the wake ends it */
    pthread_join(thread, NULL);
    harness_close(&h);
}

Test(loop, a_timer_ends_the_sleep_and_fires_on_time)
{
    struct harness h = harness_open(NULL);
    struct alarm_clock clock = {.timer.fire = ring_alarm};
    uint64_t due = tr_loop_clock() + 5 * MS;
    tr_wheel_arm(tr_loop_wheel(h.loop), &clock.timer, due);
    while (!clock.fired)
        h.hooks.wait(h.loop, TR_WAIT_FOREVER);
    cr_assert_geq(tr_loop_now(h.loop), due);
    cr_assert_eq(clock.fired, 1);
    cr_assert_eq(harness_stats(&h).timers_armed, 0u);
    harness_close(&h);
}

Test(loop, a_due_timer_is_pending_and_polled_without_a_system_call)
{
    struct harness h = harness_open(NULL);
    struct alarm_clock clock = {.timer.fire = ring_alarm};
    h.hooks.poll(h.loop);
    uint64_t enters = harness_stats(&h).enters;
    tr_wheel_arm(tr_loop_wheel(h.loop), &clock.timer, 1);
    cr_assert(h.hooks.pending(h.loop));
    cr_assert_eq(h.hooks.poll(h.loop), 1u);
    cr_assert_eq(harness_stats(&h).enters, enters);
    harness_close(&h);
}

Test(loop, commands_run_in_the_order_posted_before_the_loop_sleeps)
{
    struct harness h = harness_open(NULL);
    struct note notes[10];
    int order[10], count = 0;
    for (int i = 0; i < 10; i++) {
        notes[i] = (struct note){.command.fn = note_run, .order = order, .count = &count, .mark = i};
        tr_loop_post(h.loop, &notes[i].command);
    }
    cr_assert(h.hooks.pending(h.loop));
    h.hooks.wait(h.loop, TR_WAIT_FOREVER);
    cr_assert_eq(count, 10);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(order[i], i);
    harness_close(&h);
}

Test(loop, a_command_posted_after_detach_runs_in_destroy)
{
    struct harness h = harness_open(NULL);
    int order[1], count = 0;
    struct note note = {.command.fn = note_run, .order = order, .count = &count};
    h.hooks.detach(h.loop);
    tr_loop_post(h.loop, &note.command);
    h.hooks.wake(h.loop);
    cr_assert_eq(count, 0);
    tr_io_destroy(h.io);
    cr_assert_eq(count, 1);
}

Test(loop, detach_cancels_what_is_in_flight_and_leaves_nothing)
{
    enum { COUNT = 100 };
    int before = harness_count_fds();
    struct tr_io_options options = {.sq_entries = 8};
    struct harness h = harness_open(&options);
    static struct outcome o[COUNT];
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < COUNT; i++)
        tr_op_submit(outcome_op(h.loop, TR_OP_RECV, fds[0], &o[i]));
    h.hooks.poll(h.loop);
    struct alarm_clock clock = {.timer.fire = ring_alarm};
    tr_wheel_arm(tr_loop_wheel(h.loop), &clock.timer, 1);
    h.hooks.detach(h.loop);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(o[i].times, 1);
        cr_assert_eq(o[i].res, -ECANCELED);
        tr_op_put(o[i].op); /* even now */
    }
    cr_assert_eq(clock.fired, 0);
    tr_io_destroy(h.io);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(harness_count_fds(), before);
}

static void submit_again(struct tr_op *op)
{
    int *times;
    memcpy(&times, op->user, sizeof times);
    if (++*times < 5)
        tr_op_submit(op);
    else
        tr_op_put(op);
}

Test(loop, an_op_submitted_while_the_loop_leaves_is_cancelled)
{
    struct harness h = harness_open(NULL);
    int fds[2], times = 0, *where = &times;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct tr_op *op = tr_op_get(h.loop, TR_OP_RECV, submit_again);
    memcpy(op->user, &where, sizeof where);
    op->fd = fds[0];
    tr_op_submit(op);
    h.hooks.detach(h.loop);
    cr_assert_eq(times, 5);
    tr_io_destroy(h.io);
    close(fds[0]);
    close(fds[1]);
}

Test(loop, completions_per_call_are_bounded)
{
    enum { COUNT = 600 };
    struct harness h = harness_open(NULL);
    static struct outcome o[COUNT];
    unsigned most = 0, total = 0;
    for (int i = 0; i < COUNT; i++)
        tr_op_submit(outcome_op(h.loop, TR_OP_RECV, -1, &o[i]));
    while (total < COUNT) {
        unsigned n = h.hooks.poll(h.loop);
        total += n;
        most = n > most ? n : most;
    }
    cr_assert_leq(most, 512u);
    for (int i = 0; i < COUNT; i++)
        tr_op_put(o[i].op);
    harness_close(&h);
}

Test(loop, random_bits_are_not_all_the_same)
{
    struct harness h = harness_open(NULL);
    uint64_t a = h.hooks.random(h.loop), b = h.hooks.random(h.loop);
    cr_assert_neq(a, b);
    cr_assert_gt(h.hooks.now(h.hooks.arg), 0u);
    harness_close(&h);
}
