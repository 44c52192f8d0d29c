/* SPDX-License-Identifier: Apache-2.0 */
/* Several runtimes in one process: one after the other a thousand times, and side by side with traffic between them.
 * Nothing is left behind, nothing is shared. What is left is counted from outside, in /proc/self. */
#include "../support/sanitizer.h"
#include "world.h"

enum { GO, BALL, ASK };

/* --- what the process has ----------------------------------------------------------------------------------------- */

static long status_line(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), ": %ld", &value);
    fclose(file);
    return value;
}

/* A thread that was joined may be seen for a moment longer. */
static void await_threads(long count)
{
    while (status_line("Threads") > count)
        usleep(100); /* the watchdog ends it */
}

/* --- one after the other ------------------------------------------------------------------------------------------ */

HANDLER(pass)
{
    unsigned left = *(const unsigned *)troupe_payload(msg);
    if (left-- == 0)
        troupe_stop_runtime(ctx, 3);
    else
        troupe_tell(ctx, troupe_addr_is_nobody(troupe_parent(ctx)) ? troupe_self(ctx) : troupe_parent(ctx), GO, &left,
                    sizeof left);
}

static const troupe_behavior passer = {.name = "passer", .handlers = {[GO] = ON(pass, sizeof(unsigned))}};

/* Something of everything: children, a timer, a port, memory, a token. */
STARTED(live_fully)
{
    unsigned left = 20;
    troupe_listener listener;
    troupe_listen_options options = {.host = "127.0.0.1", .accepted = GO};
    for (unsigned i = 0; i < 3; i++)
        troupe_tell(ctx, troupe_spawn(ctx, &passer, NULL, NULL), GO, &left, sizeof left);
    troupe_alloc(ctx, 10000);
    troupe_stop_token(ctx);
    troupe_send_after(ctx, TROUPE_SEC(1000), troupe_self(ctx), GO, &left, sizeof left, NULL);
    return troupe_listen(ctx, &options, &listener);
}

static const troupe_behavior short_lived = {
    .name = "short", .started = live_fully, .handlers = {[GO] = ON(pass, sizeof(unsigned))}};

static void live(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        cr_assert_eq(run(&short_lived, NULL), 3);
}

Test(two_runtimes, a_thousand_in_sequence_leave_nothing)
{
    enum { FIRST = 100, REST = UNDER_TSAN ? 200 : 1000 };
    world_begin(2);
    long threads = status_line("Threads"); /* the test framework may have its own */
    live(FIRST);
    unsigned fds = open_fds();
    long kb = status_line("VmRSS");
    live(REST);
    cr_assert_eq(open_fds(), fds);
    await_threads(threads + UNDER_TSAN); /* which starts one, too */
    if (!SANITIZED) /* those keep what was freed for a while; what is leaked AddressSanitizer tells at the end */
        cr_assert_lt(status_line("VmRSS") - kb, 1024, "%ld kB more after %d runtimes", status_line("VmRSS") - kb, REST);
}

/* --- side by side ------------------------------------------------------------------------------------------------- */

enum { BOTH = 2, PAIRS = 8, BALLS = 2000 };
enum { RETURNED, REFUSED, WRONG, SEEN };

/* A player of one runtime and where its partner in the other one is. */
struct side {
    troupe_runtime *other;
    troupe_addr partner;
    unsigned index;
};

static struct side sides[BOTH][PAIRS];
static troupe_addr players[BOTH][PAIRS];

struct ball {
    unsigned pair, side, left; /* side: where it is now */
    char bytes[100];
};

static void throw_over(const struct ball *ball)
{
    struct ball next = *ball;
    next.side = 1 - ball->side;
    next.left = ball->left - 1;
    const struct side *here = &sides[ball->side][ball->pair];
    int status = troupe_runtime_tell(here->other, here->partner, BALL, &next, sizeof next);
    if (status == -ESHUTDOWN || status == -ESRCH)
        bump(REFUSED);
    else if (status != 0)
        bump(WRONG);
}

HANDLER(catch_ball)
{
    const struct ball *ball = troupe_payload(msg);
    bump(SEEN);
    if (!troupe_addr_is_nobody(troupe_sender(msg)) || ball->bytes[99] != 'x' ||
        !troupe_addr_same(troupe_self(ctx), players[ball->side][ball->pair]))
        bump(WRONG);
    if (ball->left > 0)
        throw_over(ball);
    else
        bump(RETURNED);
}

static const troupe_behavior player = {.name = "player", .handlers = {[BALL] = ON(catch_ball, sizeof(struct ball))}};

STARTED(spawn_players)
{
    unsigned side = *(const unsigned *)args;
    for (unsigned i = 0; i < PAIRS; i++)
        players[side][i] = troupe_spawn(ctx, &player, NULL, NULL);
    return 0;
}

HANDLER(are_you_there)
{
    troupe_reply(ctx, msg, NULL, 0);
}

static const troupe_behavior team = {.name = "team",
                                     .args_size = sizeof(unsigned),
                                     .started = spawn_players,
                                     .handlers = {[ASK] = ON(are_you_there, 0)}};

static troupe_addr teams[BOTH];

static void start_both(troupe_runtime **rt)
{
    troupe_options options = world_options();
    for (unsigned side = 0; side < BOTH; side++) {
        cr_assert_eq(troupe_runtime_start(&rt[side], &team, &side, &options, &teams[side]), 0);
        cr_assert_eq(troupe_runtime_ask(rt[side], teams[side], ASK, NULL, 0, TROUPE_SEC(60), NULL, NULL), 0);
    }
    for (unsigned side = 0; side < BOTH; side++)
        for (unsigned i = 0; i < PAIRS; i++)
            sides[side][i] = (struct side){.other = rt[1 - side], .partner = players[1 - side][i]};
}

static void serve(troupe_runtime **rt, unsigned balls)
{
    for (unsigned i = 0; i < PAIRS; i++) {
        struct ball ball = {.pair = i, .left = balls, .bytes[99] = 'x'};
        cr_assert_eq(troupe_runtime_tell(rt[0], players[0][i], BALL, &ball, sizeof ball), 0);
    }
}

Test(two_runtimes, handlers_of_one_tell_actors_of_the_other)
{
    troupe_runtime *rt[BOTH];
    troupe_stats stats;
    world_begin(2);
    start_both(rt);
    serve(rt, BALLS);
    while (word(RETURNED) < PAIRS)
        usleep(100);
    for (unsigned side = 0; side < BOTH; side++) {
        troupe_stats_read(rt[side], &stats);
        cr_assert_eq(stats.actors, 1 + PAIRS);
        cr_assert_eq(stats.spawns, 1 + PAIRS, "one's actors are not counted by the other");
        cr_assert_eq(troupe_runtime_stop(rt[side], TROUPE_SEC(60)), 0);
    }
    for (unsigned side = 0; side < BOTH; side++)
        cr_assert_eq(troupe_runtime_join(rt[side]), 0);
    cr_assert_eq(word(SEEN), PAIRS * (BALLS + 1));
    cr_assert_eq(word(WRONG), 0);
    cr_assert_eq(dead_total(), 0);
}

/* One is stopped and joined while the other one's actors go on throwing at it. */
Test(two_runtimes, one_stops_while_the_other_runs_on)
{
    enum { ROUNDS = UNDER_TSAN ? 30 : 150 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        troupe_runtime *rt[BOTH];
        troupe_stats stats;
        unsigned first = round % BOTH;
        world_begin(1 + round % 3);
        start_both(rt);
        for (unsigned side = 0; side < BOTH; side++)
            troupe_runtime_retain(rt[side]); /* for the actors of the other */
        serve(rt, 1000000);
        while (word(SEEN) < 100 + round)
            sched_yield();
        troupe_runtime_request_stop(rt[first]);
        cr_assert_eq(troupe_runtime_join(rt[first]), 0);
        unsigned other = 1 - first;
        cr_assert_eq(troupe_runtime_ask(rt[other], teams[other], ASK, NULL, 0, TROUPE_SEC(60), NULL, NULL), 0);
        troupe_stats_read(rt[other], &stats);
        cr_assert_eq(stats.actors, 1 + PAIRS, "it lives");
        cr_assert_eq(troupe_runtime_stop(rt[other], TROUPE_SEC(60)), 0);
        cr_assert_eq(troupe_runtime_join(rt[other]), 0);
        for (unsigned side = 0; side < BOTH; side++)
            troupe_runtime_release(rt[side]);
        cr_assert_eq(word(WRONG), 0);
        cr_assert_eq(word(RETURNED), 0);
        cr_assert_eq(word(REFUSED) + world.dead[TROUPE_DEAD_STOPPED], PAIRS, "each ball fell once: %u, %u",
                     (unsigned)word(REFUSED), world.dead[TROUPE_DEAD_STOPPED]);
    }
}
