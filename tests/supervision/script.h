/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of orders and of the restart contract share: actors that run the functions they are sent, callbacks
 * that write into the world's trace, and eyes for an actor's state. Owned by the running test; the functions run in the
 * actors. It is not a mock: the runtime below is the real one, and only its state is looked at. */
#ifndef TR_TESTS_SUPERVISION_SCRIPT_H
#define TR_TESTS_SUPERVISION_SCRIPT_H

#include "tests/runtime/world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "runtime/cell.h"
#include "runtime/instance.h"
#include "tests/support/sanitizer.h"

/* One step of a script: it runs as a handler of the actor that it was sent to. */
typedef void step_fn(troupe_ctx *ctx);
#define STEP(name) static void name(UNUSED troupe_ctx *ctx)

enum { DO, NOTE, EVENT }; /* kinds: a step, a number, an I/O event */

UNUSED HANDLER(do_step)
{
    (*(step_fn *const *)troupe_payload(msg))(ctx);
}

UNUSED HANDLER(say_note)
{
    say("n%u", *(const unsigned *)troupe_payload(msg));
}

#define DOES [DO] = ON(do_step, sizeof(step_fn *))
#define NOTES [NOTE] = ON(say_note, sizeof(unsigned))

static UNUSED void go(troupe_ctx *ctx, troupe_addr to, step_fn *step)
{
    troupe_tell(ctx, to, DO, &step, sizeof step);
}

static UNUSED void go_on(troupe_ctx *ctx, step_fn *step)
{
    go(ctx, troupe_self(ctx), step);
}

static UNUSED void go_after(troupe_ctx *ctx, uint64_t delay_ns, step_fn *step)
{
    troupe_send_after(ctx, delay_ns, troupe_self(ctx), DO, &step, sizeof step, NULL);
}

static UNUSED void note(troupe_ctx *ctx, troupe_addr to, unsigned n)
{
    troupe_tell(ctx, to, NOTE, &n, sizeof n);
}

UNUSED STEP(panic_step)
{
    troupe_panic(ctx, "boom");
}

UNUSED STEP(stop_step)
{
    troupe_stop_self(ctx);
}

UNUSED STEP(end_step)
{
    troupe_stop_runtime(ctx, 0);
}

/* --- callbacks that say that they were called --------------------------------------------------------------------- */

UNUSED STARTED(say_started)
{
    say("S%u", troupe_incarnation(ctx));
    return 0;
}

UNUSED RESTARTED(say_restarted)
{
    say("R%u:%s", count, troupe_cause_name(crash->cause));
}

static UNUSED void say_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self;
    say("X:%s", crash->text);
}

UNUSED STOPPED(say_stopped)
{
    say("E:%s", troupe_reason_name(reason));
}

UNUSED CHILD_STOPPED(say_child)
{
    say("child:%s", troupe_reason_name(reason));
}

/* The end of the only child is the end of the test. */
UNUSED CHILD_STOPPED(say_last_child)
{
    say("child:%s", troupe_reason_name(reason));
    troupe_stop_runtime(ctx, 0);
}

UNUSED VERDICT(say_escalated)
{
    say("esc:%s", troupe_cause_name(crash->cause));
    return TROUPE_VERDICT_IGNORE;
}

#define TRACED .started = say_started, .restarted = say_restarted, .crashed = say_crashed, .stopped = say_stopped

/* --- eyes --------------------------------------------------------------------------------------------------------- */

/* What an actor is doing; STOPPED when it is gone. Of a running actor it may be old at once. */
static UNUSED enum tr_life life_now(troupe_ctx *ctx, troupe_addr addr)
{
    const struct tr_cell *cell = tr_cell_find(&troupe_ctx_runtime(ctx)->cells, addr);
    if (!cell || ck_pr_load_32(&cell->generation) != tr_addr_generation(addr))
        return TR_LIFE_STOPPED;
    return (enum tr_life)ck_pr_load_8(&cell->life);
}

/* Runs `then` in this actor once `to` is in that state: looks again and again, letting others run between. */
struct wait {
    troupe_addr to;
    enum tr_life life;
    step_fn *then;
};

static struct wait waits; /* one at a time */

UNUSED STEP(wait_step)
{
    if (life_now(ctx, waits.to) == waits.life)
        waits.then(ctx);
    else
        go_on(ctx, wait_step);
}

static UNUSED void when(troupe_ctx *ctx, troupe_addr to, enum tr_life life, step_fn *then)
{
    waits = (struct wait){to, life, then};
    go_on(ctx, wait_step);
}

/* Runs `then` in this actor some activations later: whoever was runnable has run. On one worker that is certain. */
static struct {
    unsigned turns;
    step_fn *then;
} delay; /* one at a time */

UNUSED STEP(count_turns)
{
    if (--delay.turns > 0)
        go_on(ctx, count_turns);
    else
        delay.then(ctx);
}

static UNUSED void later(troupe_ctx *ctx, step_fn *then)
{
    delay.turns = 512; /* messages; an activation handles at most 64 */
    delay.then = then;
    go_on(ctx, count_turns);
}

static UNUSED uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * TROUPE_SEC(1) + (uint64_t)now.tv_nsec;
}

static UNUSED uint64_t mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* --- what is slow to stop ----------------------------------------------------------------------------------------- */

#define STUFF_BYTES ((size_t)4 << 20)

/* Closes, with drain, a stream whose peer does not read: an orderly end of this actor takes its 500 ms now. Returns the
 * peer, which is the test's to close. What took less than SLOW_NS has not waited for it. What has not waited may
 * take longer on a machine that has other things to do: then it is tried again, up to TRIES times. */
#define SLOW_NS TROUPE_MS(490)
enum { TRIES = 100 };

static UNUSED int stuff_up(troupe_ctx *ctx)
{
    static char bytes[STUFF_BYTES];
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    troupe_stream stream;
    troupe_stream_options options = {.data = EVENT};
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &options, &stream), 0);
    cr_assert_eq(troupe_stream_write(ctx, stream, bytes, sizeof bytes), 0);
    cr_assert_eq(troupe_stream_close(ctx, stream, true), 0);
    return fds[1];
}

static int stuffed_peer = -1;

static step_fn *when_stuffed; /* the parent's, once the child below is up */

UNUSED STARTED(start_stuffed)
{
    stuffed_peer = stuff_up(ctx);
    if (when_stuffed)
        go(ctx, troupe_parent(ctx), when_stuffed);
    return 0;
}

/* Takes 500 ms to stop in order, and none to be killed. */
static UNUSED const troupe_behavior stuffed = {.name = "stuffed", .started = start_stuffed, .handlers = {DOES}};

/* Gives the running actor such a child, and goes on with `then` once it is up. */
static UNUSED void with_slow_child(troupe_ctx *ctx, step_fn *then)
{
    when_stuffed = then;
    troupe_spawn(ctx, &stuffed, NULL, NULL);
}

static UNUSED void unstuff(void)
{
    if (stuffed_peer >= 0)
        close(stuffed_peer);
    stuffed_peer = -1;
}

/* A handler or callback that does not return before word w is set. */
static UNUSED void spin_until(unsigned w)
{
    while (word(w) == 0)
        sched_yield();
}

#endif
