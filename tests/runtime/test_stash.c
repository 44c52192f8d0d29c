/* SPDX-License-Identifier: Apache-2.0 */
/* The stash: messages set aside, and what becomes of them. */
#include "world.h"

#include <sys/socket.h>

enum { WORK, OPEN, CRASH, STOP, QUERY, KEEP };
enum { DROPPED, STATUS, STASHED };

struct door {
    bool open;
};

/* --- the actor: stashes work until it is open --------------------------------------------------------------------- */

HANDLER(work)
{
    const struct door *door = self;
    unsigned number = *(const unsigned *)troupe_payload(msg);
    if (door->open) {
        say("%u", number);
        return;
    }
    int status = troupe_stash(ctx, msg);
    if (status < 0)
        say("%u:%d", number, status);
    else
        cr_assert_lt(troupe_stash(ctx, msg), 0, "once is enough");
}

HANDLER(open_door)
{
    ((struct door *)self)->open = true;
    unsigned before = troupe_stashed(ctx), count = troupe_unstash_all(ctx);
    say("open-%u-%u-%u", before, count, troupe_stashed(ctx));
}

HANDLER(crash)
{
    troupe_panic(ctx, "on demand");
}

HANDLER(stop)
{
    say("stop");
    troupe_stop_runtime(ctx, 0);
}

HANDLER(answer_or_stash)
{
    if (!((struct door *)self)->open) {
        cr_assert_eq(troupe_stash(ctx, msg), 0);
        return;
    }
    say("answers");
    troupe_reply(ctx, msg, NULL, 0);
}

HANDLER(keep_and_stash)
{
    troupe_msg *kept = troupe_keep(ctx, msg);
    say("%d", troupe_stash(ctx, msg));
    troupe_release(ctx, kept);
}

static void count_drop(const void *payload, size_t size)
{
    (void)payload, (void)size;
    bump(DROPPED);
}

RESTARTED(open_next_time)
{
    say("restarted");
    ((struct door *)self)->open = true;
}

#define HANDLERS                                                                                                       \
    {                                                                                                                  \
        [WORK] = {.name = "work", .fn = work, .size = sizeof(unsigned), .drop = count_drop},                           \
        [OPEN] = ON(open_door, 0), [CRASH] = {.name = "crash", .fn = crash, .retries = 1}, [STOP] = ON(stop, 0),       \
        [QUERY] = ON(answer_or_stash, 0), [KEEP] = ON(keep_and_stash, 0),                                              \
    }

static const troupe_behavior door = {.name = "door", .state_size = sizeof(struct door), .handlers = HANDLERS};
static const troupe_behavior small_door = {
    .name = "small", .state_size = sizeof(struct door), .stash_max = 2, .handlers = HANDLERS};
static const troupe_behavior reborn = {
    .name = "reborn", .state_size = sizeof(struct door), .restarted = open_next_time, .handlers = HANDLERS};
static const troupe_behavior temporary = {.name = "temporary",
                                          .state_size = sizeof(struct door),
                                          .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
                                          .handlers = HANDLERS};

/* --- scripts: letters are messages, sent at once ------------------------------------------------------------------ */

struct script {
    const troupe_behavior *actor;
    const char *messages; /* digits: WORK with that number; o, c, s, k; q: an ask */
};

ANSWER(note_answer)
{
    say("answer%d", answer->status);
}

/* Behind the answers that its end has caused. */
CHILD_STOPPED(end_with_child)
{
    troupe_tell(ctx, troupe_self(ctx), OPEN, NULL, 0);
}

HANDLER(end)
{
    troupe_stop_runtime(ctx, 0);
}

STARTED(play)
{
    const struct script *script = args;
    troupe_addr actor = troupe_spawn(ctx, script->actor, NULL, NULL);
    for (const char *c = script->messages; *c; c++) {
        unsigned number = (unsigned)(*c - '0');
        if (number < 10)
            troupe_tell(ctx, actor, WORK, &number, sizeof number);
        else if (*c == 'q')
            troupe_ask(ctx, actor, QUERY, NULL, 0, TROUPE_SEC(60), note_answer, NULL);
        else
            troupe_tell(ctx, actor, *c == 'o' ? OPEN : *c == 'c' ? CRASH : *c == 'k' ? KEEP : STOP, NULL, 0);
    }
    return 0;
}

static const troupe_behavior player = {.name = "player",
                                       .args_size = sizeof(struct script),
                                       .started = play,
                                       .child_stopped = end_with_child,
                                       .handlers = {[OPEN] = ON(end, 0)}};

static void expect(const troupe_behavior *actor, const char *messages, const char *trace)
{
    world_begin(1);
    cr_assert_eq(run(&player, &(struct script){actor, messages}), 0);
    cr_assert_str_eq(world.trace, trace, "%s: %s", messages, world.trace);
}

Test(stash, comes_back_in_order_ahead_of_the_mailbox)
{
    expect(&door, "123o45s", "open-3-3-0 1 2 3 4 5 stop");
    cr_assert_eq(dead_total(), 0);
}

Test(stash, of_one_message_and_of_none)
{
    expect(&door, "1os", "open-1-1-0 1 stop");
    expect(&door, "o1s", "open-0-0-0 1 stop");
}

Test(stash, may_be_filled_and_emptied_again)
{
    expect(&door, "12o3os", "open-2-2-0 1 2 3 open-0-0-0 stop");
}

Test(stash, is_bounded)
{
    char trace[64];
    snprintf(trace, sizeof trace, "3:%d open-2-2-0 1 2 4 stop", -EAGAIN);
    expect(&small_door, "123o4s", trace);
    cr_assert_eq(dead_total(), 0);
}

Test(stash, holds_asks_that_are_answered_later)
{
    world_begin(1);
    cr_assert_eq(run(&player, &(struct script){&door, "q1os"}), 0);
    cr_assert_str_eq(world.trace, "open-2-2-0 answers 1 stop");
    expect(&door, "1qos", "open-2-2-0 1 answers stop");
}

Test(stash, takes_no_kept_message)
{
    char trace[64];
    snprintf(trace, sizeof trace, "%d stop", -EINVAL);
    expect(&door, "ks", trace);
}

/* The crash is retried: it comes behind what was stashed, as it was sent behind it. */
Test(stash, is_the_next_incarnations_mailbox)
{
    expect(&reborn, "12c3s", "restarted 1 2 restarted 3 stop");
    cr_assert_eq(world.dead[TROUPE_DEAD_POISON], 1);
    cr_assert_eq(dead_total(), 1);
    cr_assert_eq(word(DROPPED), 0);
}

Test(stash, is_dead_letters_when_the_actor_ends)
{
    char trace[64];
    snprintf(trace, sizeof trace, "stop");
    expect(&door, "12s34", trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 4);
    cr_assert_eq(word(DROPPED), 4);
    snprintf(trace, sizeof trace, "answer%d", -ESRCH);
    expect(&temporary, "q12c3", trace);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 4, "1, 2, 3 and the ask");
    cr_assert_eq(word(DROPPED), 3);
}

HANDLER(stash_and_crash)
{
    if (troupe_incarnation(ctx) == 1) {
        troupe_stash(ctx, msg);
        troupe_panic(ctx, "with it in the stash");
    }
    say("%u", *(const unsigned *)troupe_payload(msg));
}

static const troupe_behavior clumsy = {
    .name = "clumsy",
    .state_size = sizeof(struct door),
    .handlers = {[WORK] = ON(stash_and_crash, sizeof(unsigned)), [STOP] = ON(stop, 0)}};

Test(stash, keeps_a_message_whose_handler_crashed_afterwards)
{
    expect(&clumsy, "12s", "1 2 stop");
    cr_assert_eq(dead_total(), 0);
}

/* --- one at a time: what is stashed is the mailbox's mark --------------------------------------------------------- */

enum { ROUNDS = 2000 };

HANDLER(stash_each)
{
    struct door *d = self;
    if (d->open) {
        bump(STATUS);
        return;
    }
    cr_assert_eq(troupe_stash(ctx, msg), 0);
    bump(STASHED);
}

HANDLER(open_and_count)
{
    ((struct door *)self)->open = true;
    cr_assert_eq(troupe_unstash_all(ctx), ROUNDS);
}

static const troupe_behavior collector = {.name = "collector",
                                          .state_size = sizeof(struct door),
                                          .stash_max = ROUNDS,
                                          .handlers = {[WORK] = ON(stash_each, 0), [OPEN] = ON(open_and_count, 0)}};

Test(stash, of_messages_that_come_one_by_one_from_outside)
{
    troupe_runtime *rt;
    troupe_addr root;
    world_begin(2);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &collector, NULL, &options, &root), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        troupe_runtime_tell(rt, root, WORK, NULL, 0);
        if (i % 16 == 0)
            usleep(10); /* for variety: sometimes it goes idle in between */
    }
    while (word(STASHED) < ROUNDS)
        usleep(100);
    usleep(1000); /* most often it is idle by now, and what comes back is all that it has */
    troupe_runtime_tell(rt, root, OPEN, NULL, 0);
    while (word(STATUS) < ROUNDS)
        usleep(100);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_eq(dead_total(), 0);
}

/* --- held with it in front ---------------------------------------------------------------------------------------- */

HANDLER(tell_and_reply)
{
    unsigned nine = 9;
    troupe_tell(ctx, troupe_sender(msg), WORK, &nine, sizeof nine);
    troupe_reply(ctx, msg, NULL, 0);
}

static const troupe_behavior helper = {.name = "helper", .handlers = {[QUERY] = ON(tell_and_reply, 0)}};

/* The mailbox is empty but for what comes back, and the answer comes behind 9. */
HANDLER(open_and_hold)
{
    ((struct door *)self)->open = true;
    troupe_unstash_all(ctx);
    troupe_ask_hold(ctx, troupe_spawn(ctx, &helper, NULL, NULL), QUERY, NULL, 0, TROUPE_SEC(60), note_answer, NULL);
}

HANDLER(work_until_nine)
{
    work(ctx, self, msg);
    if (((struct door *)self)->open && *(const unsigned *)troupe_payload(msg) == 9)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior held_door = {
    .name = "held",
    .state_size = sizeof(struct door),
    .handlers = {[WORK] = ON(work_until_nine, sizeof(unsigned)), [OPEN] = ON(open_and_hold, 0)}};

Test(stash, is_ahead_of_what_comes_while_the_actor_is_held)
{
    expect(&held_door, "12o", "answer0 1 2 9");
}

/* --- a stream's end ------------------------------------------------------------------------------------------------ */

enum { NOTE = 10, SHUT, SHUT_DOWN, LATE };

struct lock {
    troupe_stream stream;
    bool open;
};

HANDLER(note_or_stash)
{
    unsigned number = *(const unsigned *)troupe_payload(msg);
    if (!((struct lock *)self)->open) {
        cr_assert_eq(troupe_stash(ctx, msg), 0);
        return;
    }
    say("%u", number);
    if (number == 3)
        troupe_stop_runtime(ctx, 0);
}

HANDLER(shut)
{
    cr_assert_eq(troupe_stream_close(ctx, ((struct lock *)self)->stream, false), 0);
}

HANDLER(unlock)
{
    ((struct lock *)self)->open = true;
    cr_assert_geq(troupe_unstash_all(ctx), 2);
}

STARTED(adopt_one)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(troupe_own(ctx, &troupe_resource_fd, (uintptr_t)fds[1], NULL), 0);
    return troupe_stream_adopt(ctx, fds[0],
                               &(troupe_stream_options){.data = SHUT_DOWN, .closed = SHUT_DOWN, .wants_closed = true},
                               &((struct lock *)self)->stream);
}

static const troupe_behavior locked = {
    .name = "locked",
    .state_size = sizeof(struct lock),
    .started = adopt_one,
    .handlers = {
        [NOTE] = ON(note_or_stash, sizeof(unsigned)), [SHUT] = ON(shut, 0), [SHUT_DOWN] = ON(unlock, TROUPE_ANY_SIZE)}};

HANDLER(send_the_last)
{
    troupe_tell(ctx, world.addr[0], NOTE, &(unsigned){3}, sizeof(unsigned));
}

STARTED(send_two)
{
    world.addr[0] = troupe_spawn(ctx, &locked, NULL, NULL);
    for (unsigned i = 1; i <= 2; i++)
        troupe_tell(ctx, world.addr[0], NOTE, &i, sizeof i);
    troupe_tell(ctx, world.addr[0], SHUT, NULL, 0);
    return troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), LATE, NULL, 0, NULL);
}

static const troupe_behavior late_sender = {
    .name = "late sender", .started = send_two, .handlers = {[LATE] = ON(send_the_last, 0)}};

/* The event comes when the activation is at its end, and the actor as good as idle. */
Test(stash, that_a_closed_event_empties_is_ahead_of_what_comes_later)
{
    world_begin(1);
    cr_assert_eq(run(&late_sender, NULL), 0);
    cr_assert_str_eq(world.trace, "1 2 3", "%s", world.trace);
}
