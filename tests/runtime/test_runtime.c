/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime as a whole: start, stop, foreign threads, several side by side, one after the other. */
#include "world.h"

#include <signal.h>

enum { GO };

/* --- one after the other, side by side ---------------------------------------------------------------------------- */

HANDLER(pass_on)
{
    unsigned left = *(const unsigned *)troupe_payload(msg);
    if (left == 0) {
        troupe_stop_runtime(ctx, 5);
        return;
    }
    left--;
    troupe_tell(ctx, troupe_addr_is_nobody(troupe_parent(ctx)) ? troupe_self(ctx) : troupe_parent(ctx), GO, &left,
                sizeof left);
}

static const troupe_behavior passer = {.name = "passer", .handlers = {[GO] = ON(pass_on, sizeof(unsigned))}};

STARTED(start_passing)
{
    unsigned left = 50;
    troupe_tell(ctx, troupe_spawn(ctx, &passer, NULL, NULL), GO, &left, sizeof left);
    troupe_send_after(ctx, TROUPE_SEC(1000), troupe_self(ctx), GO, &left, sizeof left, NULL);
    return 0;
}

static const troupe_behavior short_lived = {
    .name = "short", .started = start_passing, .handlers = {[GO] = ON(pass_on, sizeof(unsigned))}};

Test(runtime, a_hundred_in_sequence_leave_no_descriptor)
{
    world_begin(2);
    cr_assert_eq(run(&short_lived, NULL), 5);
    unsigned before = open_fds();
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(run(&short_lived, NULL), 5);
    cr_assert_eq(open_fds(), before);
}

Test(runtime, two_side_by_side_share_nothing)
{
    enum { BOTH = 2 };
    troupe_runtime *rt[BOTH];
    troupe_addr root[BOTH];
    world_begin(2);
    troupe_options options = world_options();
    for (unsigned i = 0; i < BOTH; i++)
        cr_assert_eq(troupe_runtime_start(&rt[i], &passer, NULL, &options, &root[i]), 0);
    unsigned left = 1000;
    for (unsigned i = 0; i < BOTH; i++)
        cr_assert_eq(troupe_runtime_tell(rt[i], root[i], GO, &left, sizeof left), 0);
    for (unsigned i = 0; i < BOTH; i++)
        cr_assert_eq(troupe_runtime_join(rt[i]), 5);
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

HANDLER(forever)
{
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    bump(0);
}

static const troupe_behavior busy = {.name = "busy", .handlers = {[GO] = ON(forever, 0)}};

STARTED(spawn_busy)
{
    for (unsigned i = 0; i < 20; i++)
        troupe_tell(ctx, troupe_spawn(ctx, &busy, NULL, NULL), GO, NULL, 0);
    return 0;
}

STOPPED(say_reason)
{
    say("%s", troupe_reason_name(reason));
}

static const troupe_behavior busy_root = {.name = "root", .started = spawn_busy, .stopped = say_reason};

static void *stop_from_outside(void *arg)
{
    while (word(0) < 10000)
        sched_yield();
    troupe_runtime_request_stop(arg);
    troupe_runtime_request_stop(arg);
    return NULL;
}

Test(runtime, a_foreign_thread_stops_it_while_it_is_busy)
{
    world_begin(3);
    troupe_options options = world_options();
    troupe_runtime *rt;
    pthread_t thread;
    cr_assert_eq(troupe_runtime_start(&rt, &busy_root, NULL, &options, NULL), 0);
    pthread_create(&thread, NULL, stop_from_outside, rt);
    pthread_join(thread, NULL);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "stopped");
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 20, "each had one message on its way");
}

STARTED(raise_term)
{
    kill(getpid(), SIGTERM);
    return 0;
}

static const troupe_behavior raiser = {.name = "raiser", .started = raise_term, .stopped = say_reason};

Test(run, sigterm_stops_in_order)
{
    world_begin(1);
    troupe_options options = world_options();
    options.stop_on_signals = true;
    unsigned before = open_fds();
    cr_assert_eq(troupe_run(&raiser, NULL, &options), 0);
    cr_assert_str_eq(world.trace, "stopped");
    cr_assert_eq(open_fds(), before);
}

STARTED(two_statuses)
{
    troupe_stop_runtime(ctx, 4);
    troupe_stop_runtime(ctx, 5);
    return 0;
}

static const troupe_behavior decided = {.name = "decided", .started = two_statuses};

Test(run, the_first_status_counts)
{
    world_begin(1);
    cr_assert_eq(run(&decided, NULL), 4);
}

Test(run, too_many_workers_or_actors_are_refused)
{
    world_begin(1);
    troupe_options options = world_options();
    options.workers = 1000;
    cr_assert_eq(troupe_run(&decided, NULL, &options), -EINVAL);
    options.workers = 1;
    options.actors_max = UINT32_MAX;
    cr_assert_eq(troupe_run(&decided, NULL, &options), -EINVAL);
}

/* --- foreign tells ------------------------------------------------------------------------------------------------ */

enum { FOREIGNERS = 3, EACH = 3000 };

struct letter {
    unsigned thread, number;
    char rest[100];
};

HANDLER(count_letters)
{
    unsigned *next = self;
    const struct letter *letter = troupe_payload(msg);
    if (letter->number != next[letter->thread]++ || letter->rest[99] != 'x')
        bump(1);
    if (!troupe_addr_is_nobody(troupe_sender(msg)))
        bump(1);
    if (bump(0) == FOREIGNERS * EACH)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior letter_box = {.name = "letters",
                                           .state_size = FOREIGNERS * sizeof(unsigned),
                                           .handlers = {[GO] = ON(count_letters, sizeof(struct letter))}};

struct foreigner {
    troupe_runtime *rt;
    troupe_addr to;
    unsigned index;
};

static void *tell_letters(void *arg)
{
    struct foreigner *me = arg;
    struct letter letter = {.thread = me->index};
    letter.rest[99] = 'x';
    for (letter.number = 0; letter.number < EACH; letter.number++)
        if (troupe_runtime_tell(me->rt, me->to, GO, &letter, sizeof letter) != 0)
            bump(2);
    return NULL;
}

Test(runtime, tells_of_foreign_threads_arrive_in_order)
{
    struct foreigner foreigners[FOREIGNERS];
    pthread_t threads[FOREIGNERS];
    troupe_runtime *rt;
    troupe_addr root;
    world_begin(2);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &letter_box, NULL, &options, &root), 0);
    for (unsigned i = 0; i < FOREIGNERS; i++) {
        foreigners[i] = (struct foreigner){rt, root, i};
        pthread_create(&threads[i], NULL, tell_letters, &foreigners[i]);
    }
    for (unsigned i = 0; i < FOREIGNERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_eq(word(0), FOREIGNERS * EACH);
    cr_assert_eq(word(1), 0);
    cr_assert_eq(word(2), 0);
}

Test(runtime, a_foreign_tell_to_an_ended_actor_is_a_dead_letter)
{
    troupe_runtime *rt;
    troupe_addr root;
    world_begin(1);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &passer, NULL, &options, &root), 0);
    troupe_addr stale = {root.bits + (UINT64_C(1) << 32)};
    cr_assert_eq(troupe_runtime_tell(rt, stale, GO, NULL, 0), -ESRCH);
    cr_assert_eq(troupe_runtime_tell(rt, (troupe_addr){0}, GO, NULL, 0), -ESRCH);
    cr_assert_eq(troupe_runtime_tell(rt, root, GO, NULL, TROUPE_PAYLOAD_MAX + 1), -EMSGSIZE);
    troupe_stats stats;
    troupe_stats_read(rt, &stats);
    cr_assert_eq(stats.dead_letters[TROUPE_DEAD_NO_ACTOR], 2);
    cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 2);
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/* After a sleep the actor's clock is that of the new activation, not of the last time the worker looked. */
HANDLER(look_at_the_clock)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t fresh = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (troupe_now(ctx) > fresh)
        say("future");
    if (fresh - troupe_now(ctx) < TROUPE_MS(20))
        bump(0);
    if (bump(1) == 10)
        troupe_stop_runtime(ctx, 0);
    else
        troupe_send_after(ctx, TROUPE_MS(25), troupe_self(ctx), GO, NULL, 0, NULL);
}

STARTED(first_look)
{
    return troupe_send_after(ctx, TROUPE_MS(25), troupe_self(ctx), GO, NULL, 0, NULL);
}

static const troupe_behavior watcher = {
    .name = "watcher", .started = first_look, .handlers = {[GO] = ON(look_at_the_clock, 0)}};

Test(now, is_not_older_than_the_last_sleep)
{
    world_begin(1);
    cr_assert_eq(run(&watcher, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_geq(word(0), 7, "%lu of 10 were fresh", word(0)); /* a busy machine may delay one or the other */
}

/* --- gauges ------------------------------------------------------------------------------------------------------- */

static const troupe_behavior idle = {.name = "idle"};

HANDLER(spawn_and_stop_all)
{
    troupe_addr children[100];
    for (unsigned i = 0; i < 100; i++)
        children[i] = troupe_spawn(ctx, &idle, NULL, NULL);
    if (word(0) == 0)
        world.stats_before = stats_now(ctx);
    for (unsigned i = 0; i < 100; i++)
        troupe_stop(ctx, children[i]);
}

CHILD_STOPPED(again)
{
    if (bump(0) % 100 != 0)
        return;
    if (word(0) < 2000) {
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
        return;
    }
    world.stats = stats_now(ctx);
    troupe_stop_runtime(ctx, 0);
}

STARTED(begin_rounds)
{
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior rounds = {
    .name = "rounds", .started = begin_rounds, .child_stopped = again, .handlers = {[GO] = ON(spawn_and_stop_all, 0)}};

Test(stats, gauges_return_to_where_they_began)
{
    world_begin(2);
    cr_assert_eq(run(&rounds, NULL), 0);
    cr_assert_leq(world.stats_before.actors, 101);
    cr_assert_eq(world.stats.actors, 1);
    cr_assert_eq(world.stats.spawns, 2001);
    cr_assert_eq(world.stats.stops, 2000);
    cr_assert_eq(world.stats.timers_armed, 0);
    cr_assert_eq(world.stats.io_in_use, world.stats_before.io_in_use);
    cr_assert_eq(world.stats.workers, 2);
    cr_assert_eq(dead_total(), 0);
}
