/* SPDX-License-Identifier: Apache-2.0 */
/* The restart contract: what the next incarnation finds of each thing that the one that crashed had, row by row; and
 * what becomes of asks when either side crashes. */
#include "script.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { SUBJECT, OTHER, DIRECTOR, CHILD };         /* world.addr */
enum { ANSWERED, ASKED, FORGOTTEN, PORT, ROUND }; /* world.word */

/* One row. `before` runs in the first incarnation, which then panics (with children: when they are up); `after` when
 * the second one has started. */
struct row {
    const char *thing;
    step_fn *before, *after;
    const char *expected;
    unsigned dead[TROUPE_DEAD_COUNT];
};

static const struct row *row;
static int peer = -1;
static step_fn have_children, two_wait;

struct state {
    unsigned long touched[8];
};

STARTED(start_subject)
{
    const struct state *state = self;
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(state->touched[i], 0);
    memset(self, 1, sizeof *state);
    cr_assert_eq(*(const unsigned *)args, 4711);
    cr_assert(troupe_addr_is_nobody(world.addr[SUBJECT]) || troupe_addr_same(world.addr[SUBJECT], troupe_self(ctx)));
    say("S%u", troupe_incarnation(ctx));
    if (troupe_incarnation(ctx) == 2)
        row->after(ctx);
    return 0;
}

HANDLER(say_event)
{
    say("event");
}

static const troupe_behavior subject = {
    .name = "subject",
    .state_size = sizeof(struct state),
    .args_size = sizeof(unsigned),
    .started = start_subject,
    .stopped = say_stopped,
    .child_stopped = say_child,
    .handlers = {DOES, NOTES, [EVENT] = ON(say_event, TROUPE_ANY_SIZE)},
};

STEP(prepare_and_crash)
{
    row->before(ctx);
    if (row->before != have_children)
        troupe_panic(ctx, "boom");
}

HANDLER(say_down)
{
    const troupe_down *down = troupe_payload(msg);
    if (down->restarted)
        say("down:restarted:%u", down->incarnation);
    else
        say("down:%s:%u", troupe_reason_name(down->reason), down->incarnation);
}

STARTED(start_director)
{
    unsigned arg = 4711;
    int gift = open("/dev/null", O_RDONLY | O_CLOEXEC);
    world.addr[DIRECTOR] = troupe_self(ctx);
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, &arg, &(troupe_spawn_options){.has_fd = true, .fd = gift});
    troupe_monitor(ctx, world.addr[SUBJECT], EVENT, TROUPE_MONITOR_RESTARTS, NULL);
    go(ctx, world.addr[SUBJECT], prepare_and_crash);
    if (row->before == two_wait)
        note(ctx, world.addr[SUBJECT], 3); /* taken from the lane with the one before */
    return 0;
}

static void just_end(troupe_ctx *ctx)
{
    go_on(ctx, end_step);
}

static void nothing(troupe_ctx *ctx)
{
    (void)ctx;
}

/* Long enough for what must not come. */
static void end_in_50_ms(troupe_ctx *ctx)
{
    go_after(ctx, TROUPE_MS(50), end_step);
}

/* --- the things --------------------------------------------------------------------------------------------------- */

static void two_wait(troupe_ctx *ctx)
{
    note(ctx, troupe_self(ctx), 1);
    note(ctx, troupe_self(ctx), 2);
}

static troupe_timer timer;

static void set_timers(troupe_ctx *ctx)
{
    unsigned n = 9;
    troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), NOTE, &n, sizeof n, &timer);
    troupe_send_every(ctx, TROUPE_MS(5), troupe_self(ctx), NOTE, &n, sizeof n, NULL);
}

static void timers_are_gone(troupe_ctx *ctx)
{
    cr_expect_not(troupe_timer_cancel(ctx, timer));
    end_in_50_ms(ctx);
}

static troupe_msg *kept[64];
static unsigned kept_count;

HANDLER(keep_for_later)
{
    kept[kept_count++] = troupe_keep(ctx, msg);
}

STEP(reply_to_all)
{
    while (kept_count > 0)
        cr_expect_eq(troupe_reply(ctx, kept[--kept_count], NULL, 0), 0);
}

static const troupe_behavior server = {
    .name = "server", .supervision = {.restarts = 60}, .handlers = {DOES, [NOTE] = ON(keep_for_later, 0)}};

ANSWER(say_answer)
{
    say("a:%d", answer->status);
    end_in_50_ms(ctx);
}

static void ask_much(troupe_ctx *ctx)
{
    (void)ctx;
    kept_count = 0;
    for (unsigned i = 0; i < 5; i++)
        troupe_ask(ctx, world.addr[OTHER], NOTE, NULL, 0, i % 2 ? TROUPE_FOREVER : TROUPE_MS(10), say_answer, NULL);
}

/* The next incarnation's asks may have the records of the last one's: its answer is its own. */
static void ask_once_more(troupe_ctx *ctx)
{
    troupe_ask(ctx, world.addr[OTHER], NOTE, NULL, 0, TROUPE_SEC(100), say_answer, NULL);
    go(ctx, world.addr[OTHER], reply_to_all);
}

static void open_ports(troupe_ctx *ctx)
{
    int fds[2];
    troupe_stream stream;
    troupe_listener listener;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer = fds[1];
    cr_assert_eq(troupe_stream_adopt(ctx, fds[0], &(troupe_stream_options){.data = EVENT}, &stream), 0);
    cr_assert_eq(troupe_stream_read(ctx, stream, 0), 0);
    cr_assert_eq(troupe_listen(ctx, &(troupe_listen_options){.accepted = EVENT}, &listener), 0);
    world.word[PORT] = (uint64_t)troupe_listener_port(ctx, listener);
}

static int try_to_connect(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)word(PORT))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int status = connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ? errno : 0;
    close(fd);
    return status;
}

static void ports_are_gone(troupe_ctx *ctx)
{
    char byte;
    cr_expect_eq(read(peer, &byte, 1), 0); /* the other end is closed */
    cr_expect_eq(send(peer, &byte, 1, MSG_NOSIGNAL), -1);
    cr_expect_eq(try_to_connect(), ECONNREFUSED);
    close(peer);
    end_in_50_ms(ctx);
}

STARTED(start_leaf)
{
    go(ctx, troupe_parent(ctx), panic_step);
    return 0;
}

static const troupe_behavior leaf = {.name = "leaf", .started = start_leaf, .stopped = say_stopped, .handlers = {DOES}};

static void have_children(troupe_ctx *ctx)
{
    world.addr[CHILD] = troupe_spawn(ctx, &leaf, NULL, NULL);
}

static void children_are_gone(troupe_ctx *ctx)
{
    cr_expect_eq(troupe_stop(ctx, world.addr[CHILD]), -ESRCH);
    cr_expect_eq(troupe_tell(ctx, world.addr[CHILD], DO, NULL, 0), -ESRCH);
    just_end(ctx);
}

static void hold_it(troupe_ctx *ctx)
{
    troupe_hold(ctx);
    note(ctx, troupe_self(ctx), 1);
}

STEP(resume_it)
{
    say("resume");
    troupe_resume(ctx, world.addr[SUBJECT]);
}

static void suspend_it(troupe_ctx *ctx)
{
    troupe_suspend(ctx, troupe_self(ctx));
    note(ctx, troupe_self(ctx), 1);
}

static void is_suspended(troupe_ctx *ctx)
{
    go_on(ctx, end_step);
    go(ctx, world.addr[DIRECTOR], resume_it);
}

static void watch_another(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_monitor(ctx, world.addr[OTHER], EVENT, TROUPE_MONITOR_RESTARTS, NULL), 0);
}

static void other_ends(troupe_ctx *ctx)
{
    go(ctx, world.addr[OTHER], panic_step);
    go(ctx, world.addr[OTHER], stop_step);
    end_in_50_ms(ctx);
}

static void say_deferred(void *arg)
{
    say("d%s", (const char *)arg);
}

static void defer_two(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_defer(ctx, say_deferred, "1"), 0);
    cr_assert_eq(troupe_defer(ctx, say_deferred, "2"), 0);
}

static void compose_some(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 3; i++)
        memset(troupe_msg_body(troupe_compose(ctx, NOTE, 5000)), 1, 5000);
    memset(troupe_alloc(ctx, 100000), 1, 100000);
    memset(troupe_block(ctx, 100000), 1, 100000);
    memset(troupe_scratch(ctx, 100000), 1, 100000);
}

static void take_gift(troupe_ctx *ctx)
{
    peer = troupe_take_fd(ctx);
    cr_assert_geq(peer, 0);
}

static void gift_is_gone(troupe_ctx *ctx)
{
    cr_expect_eq(fcntl(peer, F_GETFD), -1);
    cr_expect_eq(troupe_take_fd(ctx), -EBADF);
    just_end(ctx);
}

static void gift_is_there(troupe_ctx *ctx)
{
    cr_expect_geq(troupe_take_fd(ctx), 0);
    just_end(ctx);
}

static void say_now(troupe_ctx *ctx)
{
    say("now");
    just_end(ctx);
}

#define ENDS " E:stopped"
static const struct row rows[] = {
    {"the message being handled", nothing, say_now, "S1 S2 now" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"messages that wait", two_wait, just_end, "S1 S2 n3 n1 n2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"timers", set_timers, timers_are_gone, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"asks made", ask_much, ask_once_more, "S1 S2 a:0" ENDS, {[TROUPE_DEAD_CRASHED] = 1, [TROUPE_DEAD_LATE_REPLY] = 5}},
    {"ports", open_ports, ports_are_gone, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"children",
     have_children,
     children_are_gone,
     "S1 E:stopped S2" ENDS,
     {[TROUPE_DEAD_CRASHED] = 1, [TROUPE_DEAD_NO_ACTOR] = 1}},
    {"a hold", hold_it, just_end, "S1 S2 n1" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"a suspension", suspend_it, is_suspended, "S1 S2 resume n1" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"monitors made", watch_another, other_ends, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 2}},
    {"deferred calls", defer_two, just_end, "S1 d2 d1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"memory and composed messages", compose_some, just_end, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"an fd that was taken", take_gift, gift_is_gone, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
    {"an fd that was not", nothing, gift_is_there, "S1 S2" ENDS, {[TROUPE_DEAD_CRASHED] = 1}},
};

STARTED(start_with_server)
{
    world.addr[OTHER] = troupe_spawn(ctx, &server, NULL, NULL);
    return start_director(ctx, self, args);
}

static const troupe_behavior with_server = {
    .name = "director", .started = start_with_server, .handlers = {DOES, [EVENT] = ON(say_down, sizeof(troupe_down))}};

/* The director's monitor is on the subject: its words are taken out before traces are compared. */
static unsigned take_out_restarts(void)
{
    unsigned count = 0;
    char *at;
    static const char words[] = "down:restarted:1 ";
    while ((at = strstr(world.trace, words))) {
        memmove(at, at + sizeof words - 1, strlen(at + sizeof words - 1) + 1);
        count++;
    }
    return count;
}

Test(contract, says_what_the_next_incarnation_finds)
{
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        row = &rows[i];
        world_begin(1);
        unsigned fds = open_fds();
        cr_assert_eq(run(&with_server, NULL), 0);
        cr_assert_leq(take_out_restarts(), 1);
        cr_assert_str_eq(world.trace, row->expected, "%s: %s", row->thing, world.trace);
        world.dead[TROUPE_DEAD_LATE_REPLY] += world.dead[TROUPE_DEAD_EXPIRED]; /* on a slow machine */
        world.dead[TROUPE_DEAD_EXPIRED] = 0;
        for (unsigned d = 0; d < TROUPE_DEAD_COUNT; d++)
            cr_assert_eq(world.dead[d], row->dead[d], "%s: %u letters, %s", row->thing, world.dead[d],
                         troupe_dead_reason_name((troupe_dead_reason)d));
        cr_assert_eq(open_fds(), fds, "%s", row->thing);
    }
}

/* --- monitors on it ----------------------------------------------------------------------------------------------- */

STEP(crash_then_stop)
{
    go_on(ctx, panic_step);
    go_on(ctx, stop_step);
}

HANDLER(say_third_down)
{
    say_down(ctx, self, msg);
    if (bump(ANSWERED) == 3)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior watched = {.name = "watched", .handlers = {DOES}};

STARTED(watch_it)
{
    troupe_addr it = troupe_spawn(ctx, &watched, NULL, NULL);
    troupe_monitor(ctx, it, EVENT, TROUPE_MONITOR_RESTARTS, NULL);
    troupe_monitor(ctx, it, EVENT, 0, NULL);
    go(ctx, it, crash_then_stop);
    return 0;
}

Test(contract, monitors_on_an_actor_stay_over_its_restart)
{
    static const troupe_behavior watcher = {
        .name = "watcher", .started = watch_it, .handlers = {DOES, [EVENT] = ON(say_third_down, sizeof(troupe_down))}};
    world_begin(1);
    cr_assert_eq(run(&watcher, NULL), 0);
    cr_assert_str_eq(world.trace, "down:restarted:1 down:normal:2 down:normal:2", "%s", world.trace);
}

/* --- the asker of who crashed, stops or is killed ----------------------------------------------------------------- */

HANDLER(keep_it)
{
    cr_assert_not_null(troupe_keep(ctx, msg));
}

HANDLER(panic_over_it)
{
    troupe_panic(ctx, "over an ask");
}

static const troupe_behavior asked = {.name = "asked",
                                      .handlers = {DOES, [NOTE] = ON(panic_over_it, 0), [EVENT] = ON(keep_it, 0)}};

static uint64_t asked_ns, answered_ns[2];

/* What it was told, and how long after the asks. */
ANSWER(say_status)
{
    say("%s:%d", (const char *)answer->arg, answer->status);
    answered_ns[word(ANSWERED)] = mono_ns() - asked_ns;
    if (bump(ANSWERED) == word(ASKED))
        end_step(ctx);
}

static void ask(troupe_ctx *ctx, unsigned kind, const char *name)
{
    bump(ASKED);
    cr_assert_eq(troupe_ask(ctx, world.addr[SUBJECT], kind, NULL, 0, TROUPE_SEC(100), say_status, (void *)name), 0);
}

STEP(ask_three)
{
    asked_ns = mono_ns();
    ask(ctx, EVENT, "kept");
    ask(ctx, NOTE, "handled");
}

STEP(child_is_there)
{
    go(ctx, world.addr[DIRECTOR], ask_three);
}

STEP(grow_slow)
{
    with_slow_child(ctx, child_is_there);
}

STARTED(start_asker)
{
    world.addr[DIRECTOR] = troupe_self(ctx);
    world.addr[SUBJECT] = troupe_spawn(ctx, &asked, NULL, NULL);
    go(ctx, world.addr[SUBJECT], *(step_fn *const *)args);
    return 0;
}

static const troupe_behavior asker = {
    .name = "asker", .args_size = sizeof(step_fn *), .started = start_asker, .handlers = {DOES}};

static void run_asker(step_fn *first)
{
    world_begin(2);
    cr_assert_eq(run(&asker, &first), 0);
}

Test(asks, of_a_receiver_that_crashed_end_long_before_their_deadline)
{
    char expected[64];
    bool quick = false;
    /* What it kept is told when its children are gone; what it handled, at once. */
    snprintf(expected, sizeof expected, "handled:%d kept:%d", -ECONNRESET, -ECONNRESET);
    for (unsigned try = 0; !quick && try < TRIES; try++) {
        run_asker(grow_slow);
        unstuff();
        cr_assert_str_eq(world.trace, expected);
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 2);
        cr_assert_geq(answered_ns[1], SLOW_NS);
        quick = answered_ns[0] < SLOW_NS;
    }
    cr_assert(quick);
}

STEP(end_subject)
{
    troupe_stop(ctx, world.addr[SUBJECT]);
}

STEP(ask_then_have_it_stopped)
{
    ask(ctx, EVENT, "kept");
    go(ctx, world.addr[SUBJECT], end_subject); /* behind the ask, and by the actor itself */
    ask(ctx, EVENT, "behind");
}

STEP(have_it_asked)
{
    go(ctx, world.addr[DIRECTOR], ask_then_have_it_stopped);
}

Test(asks, of_a_receiver_that_stopped_are_told_that_it_is_gone)
{
    char expected[64];
    run_asker(have_it_asked);
    snprintf(expected, sizeof expected, "kept:%d behind:%d", -ESRCH, -ESRCH);
    cr_assert_str_eq(world.trace, expected);
}

/* --- replies that race the asker's crash -----------------------------------------------------------------------------
 * Every ask has one reply. It is handled by the incarnation that asked, or is a dead letter: late_reply. */

enum { ROUNDS = SANITIZED ? 2000 : 20000, RACERS = 3, AT_ONCE = 5 };

HANDLER(reply_at_once)
{
    troupe_reply(ctx, msg, troupe_payload(msg), troupe_size(msg));
}

static const troupe_behavior echo = {.name = "echo", .handlers = {[NOTE] = ON(reply_at_once, sizeof(unsigned))}};

/* The incarnation that asked, and nobody else, is answered. */
ANSWER(count_answer)
{
    cr_assert_eq(answer->status, 0);
    cr_assert_eq(*(const unsigned *)answer->payload, troupe_incarnation(ctx));
    bump(ANSWERED);
}

STEP(ask_and_perhaps_crash)
{
    unsigned nr = troupe_incarnation(ctx);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        bump(ASKED);
        cr_assert_eq(troupe_ask(ctx, world.addr[OTHER], NOTE, &nr, sizeof nr, TROUPE_FOREVER, count_answer, NULL), 0);
    }
    if (bump(ROUND) < ROUNDS)
        go_on(ctx, ask_and_perhaps_crash);
    if (word(ROUND) % 3 == 0)
        panic_step(ctx);
}

static const troupe_behavior racer = {
    .name = "racer", .supervision = {.restarts = TROUPE_RESTARTS_MAX, .window_ns = 1}, .handlers = {DOES}};

STEP(end_when_settled)
{
    troupe_stats stats = stats_now(ctx);
    if (word(ROUND) < ROUNDS || word(ANSWERED) + stats.dead_letters[TROUPE_DEAD_LATE_REPLY] < word(ASKED))
        go_after(ctx, TROUPE_MS(1), end_when_settled);
    else
        end_step(ctx);
}

STARTED(start_race)
{
    world.addr[OTHER] = troupe_spawn(ctx, &echo, NULL, NULL);
    for (unsigned i = 0; i < RACERS; i++)
        go(ctx, troupe_spawn(ctx, &racer, NULL, NULL), ask_and_perhaps_crash);
    end_when_settled(ctx);
    return 0;
}

Test(asks, of_a_dead_incarnation_are_late_and_never_answered_to_the_next)
{
    static const troupe_behavior race = {.name = "race", .started = start_race, .handlers = {DOES}};
    world_begin(4);
    cr_assert_eq(run(&race, NULL), 0);
    cr_assert_eq(word(ANSWERED) + world.dead[TROUPE_DEAD_LATE_REPLY], word(ASKED));
    cr_assert_eq(world.dead_replies, world.dead[TROUPE_DEAD_LATE_REPLY]);
    cr_assert_gt(word(ANSWERED), 0);
    cr_assert_gt(world.dead[TROUPE_DEAD_LATE_REPLY], 0);
}
