/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between actors: order, composing, keeping, replying, and what becomes of those that are not handled. */
#include "world.h"

enum { GO, VALUE, END, ECHO, DROPPED };

/* --- telling ------------------------------------------------------------------------------------------------------ */

enum { COUNT = 5000 };

HANDLER(in_order)
{
    const unsigned *value = troupe_payload(msg);
    if (*value != bump(0) - 1)
        bump(1);
    if (*value == COUNT - 1)
        troupe_stop_runtime(ctx, 7);
}

static const troupe_behavior ordered = {.name = "ordered", .handlers = {[VALUE] = ON(in_order, sizeof(unsigned))}};

STARTED(tell_many)
{
    troupe_addr to = troupe_spawn(ctx, &ordered, NULL, NULL);
    for (unsigned i = 0; i < COUNT; i++)
        if (troupe_tell(ctx, to, VALUE, &i, sizeof i) != 0)
            bump(2);
    return 0;
}

static const troupe_behavior teller = {.name = "teller", .started = tell_many};

Test(tell, messages_of_one_sender_arrive_in_order)
{
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        world_begin(workers);
        cr_assert_eq(run(&teller, NULL), 7);
        cr_assert_eq(word(0), COUNT);
        cr_assert_eq(word(1), 0, "%lu out of order", word(1));
        cr_assert_eq(word(2), 0);
    }
}

static const size_t sizes[] = {0, 1, 15, 16, 17, 80, 81, 1000, 4048, 4049, 100000};
enum { SIZES = sizeof sizes / sizeof *sizes };

HANDLER(check_bytes)
{
    const unsigned char *bytes = troupe_payload(msg);
    size_t size = troupe_size(msg);
    if ((uintptr_t)bytes % 16 != 0 || size != sizes[word(0)] || troupe_kind(msg) != VALUE || troupe_is_ask(msg))
        bump(1);
    if (!troupe_addr_same(troupe_sender(msg), troupe_parent(ctx)))
        bump(1);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(i * 7))
            bump(1);
    if (bump(0) == SIZES)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior checker = {.name = "checker", .handlers = {[VALUE] = ON(check_bytes, TROUPE_ANY_SIZE)}};

STARTED(tell_sizes)
{
    static unsigned char bytes[100000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    troupe_addr to = troupe_spawn(ctx, &checker, NULL, NULL);
    for (unsigned i = 0; i < SIZES; i++) {
        if (i % 2) {
            troupe_tell(ctx, to, VALUE, bytes, sizes[i]);
        } else {
            troupe_msg *msg = troupe_compose(ctx, VALUE, sizes[i]);
            memcpy(troupe_msg_body(msg), bytes, sizes[i]);
            troupe_send(ctx, to, msg);
        }
    }
    if (troupe_tell(ctx, to, VALUE, bytes, TROUPE_PAYLOAD_MAX + 1) != -EMSGSIZE)
        bump(1);
    if (troupe_compose(ctx, VALUE, TROUPE_PAYLOAD_MAX + 1))
        bump(1);
    return 0;
}

static const troupe_behavior sizes_root = {.name = "sizes", .started = tell_sizes};

Test(tell, payloads_of_all_sizes_arrive_whole_and_aligned)
{
    world_begin(2);
    cr_assert_eq(run(&sizes_root, NULL), 0);
    cr_assert_eq(word(0), SIZES);
    cr_assert_eq(word(1), 0);
}

/* --- composing ---------------------------------------------------------------------------------------------------- */

HANDLER(compose_and_forget)
{
    unsigned round = (unsigned)bump(0);
    troupe_msg *a = troupe_compose(ctx, VALUE, 100), *b = troupe_compose(ctx, VALUE, 5000),
               *c = troupe_compose(ctx, VALUE, 10);
    if (round % 3 == 0)
        troupe_discard(ctx, b);
    if (round % 3 == 1)
        troupe_discard(ctx, a);
    (void)c;
    if (round < 200)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    else if (round == 200)
        troupe_panic(ctx, "with composed messages at hand");
    if (round % 7 == 0)
        troupe_tell(ctx, troupe_self(ctx), END, NULL, 0);
}

HANDLER(end)
{
    if (word(0) >= 200)
        troupe_stop_runtime(ctx, 0);
}

STARTED(compose_in_started)
{
    troupe_compose(ctx, VALUE, 5000);
    troupe_tell(ctx, troupe_self(ctx), word(0) ? END : GO, NULL, 0);
    return 0;
}

static const troupe_behavior composer = {.name = "composer",
                                         .started = compose_in_started,
                                         .handlers = {[GO] = ON(compose_and_forget, 0), [END] = ON(end, 0)}};

Test(compose, what_is_never_sent_is_freed_when_the_handler_ends_or_panics)
{
    world_begin(1);
    cr_assert_eq(run(&composer, NULL), 0); /* leaks are the sanitizer's to find */
    cr_assert_eq(word(0), 200);
    cr_assert_eq(dead_total(), 1, "only the message whose handler panicked");
}

/* --- dead letters: each reason, each shown once ------------------------------------------------------------------- */

struct owned {
    unsigned *drops;
};

static void count_drop(const void *payload, size_t size)
{
    const struct owned *owned = payload;
    if (size == sizeof *owned)
        ++*owned->drops;
    else
        say("dropped %zu bytes", size);
}

HANDLER(never)
{
    bump(31);
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "as asked");
}

static const troupe_behavior victim = {
    .name = "victim",
    .handlers = {[GO] = ON(panic_now, 0),
                 [VALUE] = ON(never, 8),
                 [DROPPED] = {.name = "dropped", .fn = never, .size = sizeof(struct owned), .drop = count_drop}}};

static unsigned drops;

STARTED(make_dead_letters)
{
    struct owned owned = {&drops};
    troupe_addr to = troupe_spawn(ctx, &victim, NULL, NULL);
    world.addr[0] = to;
    troupe_tell(ctx, to, 17, NULL, 0);                    /* unhandled */
    troupe_tell(ctx, to, TROUPE_KINDS_MAX, NULL, 0);      /* unhandled */
    troupe_tell(ctx, to, 0x10000 + VALUE, "12345678", 8); /* unhandled: not the same as VALUE */
    troupe_tell(ctx, to, VALUE, "1234567", 7);            /* bad size */
    troupe_tell(ctx, to, GO, NULL, 0);                    /* crashed */
    troupe_tell(ctx, (troupe_addr){0}, VALUE, NULL, 0);   /* no actor */
    (void)owned;
    return 0;
}

CHILD_STOPPED(victim_is_gone)
{
    if (troupe_tell(ctx, child, VALUE, NULL, 0) == -ESRCH && troupe_stop(ctx, child) == -ESRCH)
        bump(0);
    troupe_stop_runtime(ctx, 0);
}

HANDLER(stop_victim)
{
    struct owned owned = {&drops};
    troupe_stop(ctx, world.addr[0]);
    troupe_tell(ctx, world.addr[0], DROPPED, &owned, sizeof owned); /* stopped, dropped */
    troupe_tell(ctx, world.addr[0], DROPPED, "x",
                1); /* stopped, and not dropped: it is not what the handler declares */
}

STARTED(make_and_stop)
{
    make_dead_letters(ctx, self, args);
    troupe_send_after(ctx, TROUPE_MS(100), troupe_self(ctx), GO, NULL, 0, NULL);
    return 0;
}

static const troupe_behavior dead_root = {.name = "dead",
                                          .started = make_and_stop,
                                          .stopped = keep_stats,
                                          .child_stopped = victim_is_gone,
                                          .handlers = {[GO] = ON(stop_victim, 0)}};

Test(dead_letter, every_reason_is_counted_and_shown_once)
{
    world_begin(1);
    drops = 0;
    cr_assert_eq(run(&dead_root, NULL), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_UNHANDLED], 3);
    cr_assert_eq(world.dead[TROUPE_DEAD_BAD_SIZE], 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 2);
    cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 2);
    cr_assert_eq(drops, 1);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(31), 0);
    cr_assert_eq(word(0), 1);
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        cr_assert_eq(world.stats.dead_letters[i], world.dead[i], "%s", troupe_dead_reason_name((troupe_dead_reason)i));
    cr_assert_eq(world.stats.messages_handled, 1, "%lu: only the root's own GO", world.stats.messages_handled);
}

/* --- conservation over a crashing receiver ------------------------------------------------------------------------ */

enum { MANY = 3000 };

HANDLER(crash_now_and_then)
{
    unsigned value = *(const unsigned *)troupe_payload(msg);
    if (value % 100 == 50)
        troupe_panic(ctx, "value %u", value);
    if (value < word(1))
        bump(2); /* order broken */
    ck_pr_store_64(&world.word[1], value);
    bump(0);
    if (value == MANY - 1)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior crasher = {.name = "crasher",
                                        .supervision = {.restarts = TROUPE_RESTARTS_MAX},
                                        .handlers = {[VALUE] = ON(crash_now_and_then, sizeof(unsigned))}};

STARTED(tell_crasher)
{
    troupe_addr to = troupe_spawn(ctx, &crasher, NULL, NULL);
    for (unsigned i = 0; i < MANY; i++)
        troupe_tell(ctx, to, VALUE, &i, sizeof i);
    return 0;
}

static const troupe_behavior crash_root = {.name = "crash", .started = tell_crasher, .stopped = keep_stats};

Test(restart, keeps_address_backlog_and_order)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&crash_root, NULL), 0);
        cr_assert_eq(word(2), 0);
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], MANY / 100);
        cr_assert_eq(word(0) + dead_total(), MANY, "sent = handled + dead letters");
        cr_assert_eq(world.stats.messages_handled, word(0));
        cr_assert_eq(world.stats.crashes, MANY / 100);
        cr_assert_eq(world.stats.restarts, MANY / 100);
    }
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

enum {
    Q_REPLY = 8,
    Q_IGNORE,
    Q_KEEP,
    Q_KEEP_REPLY_NOW,
    Q_KEEP_RELEASE_NOW,
    Q_TWICE,
    Q_PANIC,
    Q_BIG,
    Q_LATE,
    Q_RELEASE,
    Q_STOP,
    Q_KEEP_PANIC,
    Q_REPLY_PANIC
};

struct oracle {
    troupe_msg *kept;
};

HANDLER(q_reply)
{
    int x = *(const int *)troupe_payload(msg) * 2;
    if (troupe_reply(ctx, msg, &x, sizeof x) != 0 || troupe_is_ask(msg))
        bump(31);
}
HANDLER(q_ignore) {}
HANDLER(q_keep)
{
    struct oracle *oracle = self;
    oracle->kept = troupe_keep(ctx, msg);
    if (!oracle->kept || troupe_keep(ctx, msg))
        bump(31);
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}
HANDLER(reply_to_kept)
{
    struct oracle *oracle = self;
    int x = 11;
    if (oracle->kept && troupe_reply(ctx, oracle->kept, &x, sizeof x) != 0)
        bump(31);
    oracle->kept = NULL;
}
HANDLER(q_keep_reply_now)
{
    int x = 12;
    troupe_msg *kept = troupe_keep(ctx, msg);
    if (troupe_reply(ctx, kept, &x, sizeof x) != 0)
        bump(31);
    if (troupe_reply(ctx, msg, &x, sizeof x) != -ENOTCONN) /* the handler may still look at it */
        bump(31);
}
HANDLER(q_keep_release_now)
{
    troupe_release(ctx, troupe_keep(ctx, msg));
}
HANDLER(q_twice)
{
    int x = 13;
    if (troupe_reply(ctx, msg, &x, sizeof x) != 0 || troupe_reply(ctx, msg, &x, sizeof x) != -ENOTCONN)
        bump(31);
    troupe_msg *again = troupe_compose(ctx, 0, 4);
    if (troupe_reply_send(ctx, msg, again) != -ENOTCONN)
        bump(31);
}
HANDLER(q_big)
{
    troupe_msg *reply = troupe_compose(ctx, 0, 20000);
    memset(troupe_msg_body(reply), 5, 20000);
    if (troupe_reply_send(ctx, msg, reply) != 0)
        bump(31);
}
HANDLER(q_late)
{
    troupe_keep(ctx, msg);
    ((struct oracle *)self)->kept = (troupe_msg *)(uintptr_t)msg; /* until the asker has it answered */
}
HANDLER(q_release)
{
    struct oracle *oracle = self;
    oracle->kept = troupe_keep(ctx, msg);
    troupe_tell(ctx, troupe_self(ctx), VALUE, NULL, 0);
}
HANDLER(release_kept)
{
    troupe_release(ctx, ((struct oracle *)self)->kept);
    ((struct oracle *)self)->kept = NULL;
}
HANDLER(q_stop)
{
    troupe_keep(ctx, msg);
    troupe_stop_self(ctx);
}
HANDLER(q_keep_panic)
{
    troupe_keep(ctx, msg);
    troupe_panic(ctx, "with a kept message");
}
HANDLER(q_reply_panic)
{
    int x = 14;
    troupe_reply(ctx, msg, &x, sizeof x);
    troupe_panic(ctx, "after the reply");
}

static const troupe_behavior oracle = {.name = "oracle",
                                       .state_size = sizeof(struct oracle),
                                       .supervision = {.restarts = TROUPE_RESTARTS_MAX},
                                       .handlers = {[GO] = ON(reply_to_kept, 0),
                                                    [VALUE] = ON(release_kept, 0),
                                                    [Q_REPLY] = ON(q_reply, sizeof(int)),
                                                    [Q_IGNORE] = ON(q_ignore, sizeof(int)),
                                                    [Q_KEEP] = ON(q_keep, sizeof(int)),
                                                    [Q_KEEP_REPLY_NOW] = ON(q_keep_reply_now, sizeof(int)),
                                                    [Q_KEEP_RELEASE_NOW] = ON(q_keep_release_now, sizeof(int)),
                                                    [Q_TWICE] = ON(q_twice, sizeof(int)),
                                                    [Q_PANIC] = ON(panic_now, sizeof(int)),
                                                    [Q_BIG] = ON(q_big, sizeof(int)),
                                                    [Q_LATE] = ON(q_late, sizeof(int)),
                                                    [Q_RELEASE] = ON(q_release, sizeof(int)),
                                                    [Q_STOP] = ON(q_stop, sizeof(int)),
                                                    [Q_KEEP_PANIC] = ON(q_keep_panic, sizeof(int)),
                                                    [Q_REPLY_PANIC] = ON(q_reply_panic, sizeof(int))}};

/* One ask of one kind, and what must come of it. */
struct question {
    unsigned kind;
    size_t size; /* of what is sent */
    uint64_t timeout_ns;
    int status;
    int value;         /* of an int reply */
    size_t reply_size; /* 0: an int if status is 0 */
};

static const struct question questions[] = {
    {Q_REPLY, 4, TROUPE_SEC(60), 0, 42, 0},          {Q_REPLY, 4, TROUPE_FOREVER, 0, 42, 0},
    {Q_REPLY, 4, TROUPE_FOREVER - 1, 0, 42, 0}, /* must not wrap into the past */
    {Q_IGNORE, 4, TROUPE_SEC(60), -ENODATA, 0, 0},   {Q_KEEP, 4, TROUPE_SEC(60), 0, 11, 0},
    {Q_KEEP_REPLY_NOW, 4, TROUPE_SEC(60), 0, 12, 0}, {Q_KEEP_RELEASE_NOW, 4, TROUPE_SEC(60), -ENODATA, 0, 0},
    {Q_RELEASE, 4, TROUPE_SEC(60), -ENODATA, 0, 0},  {Q_TWICE, 4, TROUPE_SEC(60), 0, 13, 0},
    {Q_PANIC, 4, TROUPE_SEC(60), -ECONNRESET, 0, 0}, {Q_KEEP_PANIC, 4, TROUPE_SEC(60), -ECONNRESET, 0, 0},
    {Q_REPLY_PANIC, 4, TROUPE_SEC(60), 0, 14, 0},    {Q_BIG, 4, TROUPE_SEC(60), 0, 0, 20000},
    {Q_REPLY, 3, TROUPE_SEC(60), -EOPNOTSUPP, 0, 0}, {30, 4, TROUPE_SEC(60), -EOPNOTSUPP, 0, 0},
    {Q_LATE, 4, TROUPE_MS(10), -ETIMEDOUT, 0, 0},    {Q_STOP, 4, TROUPE_SEC(60), -ESRCH, 0, 0},
    {Q_REPLY, 4, TROUPE_SEC(60), -ESRCH, 0, 0}, /* it has stopped by now, or is about to */
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

static void ask_next(troupe_ctx *ctx);

ANSWER(check_answer)
{
    const struct question *q = answer->arg;
    if (answer->status != q->status)
        say("question %ld: status %d, not %d.", (long)(q - questions), answer->status, q->status);
    else if (q->reply_size && (answer->size != q->reply_size || ((const char *)answer->payload)[answer->size - 1] != 5))
        say("question %ld: not the big reply.", (long)(q - questions));
    else if (!answer->status && !q->reply_size &&
             (answer->size != 4 || *(const int *)answer->payload != q->value || answer->kind != q->kind))
        say("question %ld: wrong value.", (long)(q - questions));
    else if (answer->status && answer->size != 0)
        say("question %ld: a status with a payload.", (long)(q - questions));
    bump(1);
    if (q->kind == Q_LATE) /* now is late: the reply comes in front of all further answers */
        troupe_tell(ctx, world.addr[0], GO, NULL, 0);
    ask_next(ctx);
}

static void ask_next(troupe_ctx *ctx)
{
    int x = 21;
    unsigned i = (unsigned)bump(0) - 1;
    if (i == QUESTIONS) {
        /* The reply to Q_LATE, long ago, must be the only dead letter of its kind. */
        troupe_stop_runtime(ctx, 0);
        return;
    }
    const struct question *q = &questions[i];
    if (troupe_ask(ctx, world.addr[0], q->kind, &x, q->size, q->timeout_ns, check_answer, (void *)(uintptr_t)q) != 0)
        bump(31);
}

STARTED(begin_to_ask)
{
    world.addr[0] = troupe_spawn(ctx, &oracle, NULL, NULL);
    ask_next(ctx);
    return 0;
}

static const troupe_behavior asker = {.name = "asker", .started = begin_to_ask, .stopped = keep_stats};

Test(ask, each_way_it_can_end_is_told_exactly_once)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&asker, NULL), 0);
        cr_assert_str_eq(world.trace, "");
        cr_assert_eq(word(1), QUESTIONS);
        cr_assert_eq(word(31), 0);
        cr_assert_eq(world.dead[TROUPE_DEAD_LATE_REPLY] + world.dead[TROUPE_DEAD_EXPIRED], 1, "on a slow machine");
        cr_assert_eq(world.dead_replies, world.dead[TROUPE_DEAD_LATE_REPLY], "the late one is known as a reply");
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 3);
        cr_assert_eq(world.dead[TROUPE_DEAD_UNHANDLED], 1);
        cr_assert_eq(world.dead[TROUPE_DEAD_BAD_SIZE], 1);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED] + world.dead[TROUPE_DEAD_NO_ACTOR], 2);
    }
}

/* A deadline is counted from the ask, not from the beginning of the batch or of the worker's last look at the clock. */
static void busy(uint64_t ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t until = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + ns, at;
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        at = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    } while (at < until);
}

ANSWER(in_time)
{
    say("%d", answer->status);
    troupe_stop_runtime(ctx, 0);
}

HANDLER(long_then_ask)
{
    int x = 1;
    busy(TROUPE_MS(600));
    troupe_ask(ctx, world.addr[0], Q_REPLY, &x, sizeof x, TROUPE_MS(500), in_time, NULL);
}

STARTED(spawn_oracle)
{
    world.addr[0] = troupe_spawn(ctx, &oracle, NULL, NULL);
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    return 0;
}

static const troupe_behavior slow_asker = {
    .name = "slow", .started = spawn_oracle, .handlers = {[GO] = ON(long_then_ask, 0)}};

Test(ask, a_deadline_does_not_pass_before_its_time_after_a_long_handler)
{
    world_begin(1);
    cr_assert_eq(run(&slow_asker, NULL), 0);
    cr_assert_str_eq(world.trace, "0");
}

/* Time-outs that ask again at once must not keep the worker from everything else. */
ANSWER(ask_again)
{
    bump(0);
    troupe_ask(ctx, world.addr[0], Q_LATE, "1234", 4, 0, ask_again, NULL);
}

HANDLER(timer_came)
{
    troupe_stop_runtime(ctx, 0);
}

STARTED(begin_storm)
{
    world.addr[0] = (troupe_addr){0};
    troupe_msg *silent = troupe_compose(ctx, 0, 0);
    troupe_discard(ctx, silent);
    world.addr[0] = troupe_spawn(ctx, &victim, NULL, NULL);
    troupe_send_after(ctx, TROUPE_MS(20), troupe_self(ctx), GO, NULL, 0, NULL);
    troupe_ask(ctx, world.addr[0], Q_LATE, "1234", 4, 0, ask_again, NULL);
    return 0;
}

static const troupe_behavior storm = {.name = "storm", .started = begin_storm, .handlers = {[GO] = ON(timer_came, 0)}};

Test(ask, a_storm_of_time_outs_leaves_the_worker_to_others)
{
    world_begin(1);
    cr_assert_eq(run(&storm, NULL), 0); /* or the watchdog */
    cr_assert_gt(word(0), 0);
}

/* An ask to a stale address and one to itself. */
ANSWER(stale_answer)
{
    say("%d", answer->status);
    if (word(0) == 0) {
        bump(0);
        troupe_ask(ctx, troupe_self(ctx), 29, NULL, 0, TROUPE_FOREVER, stale_answer, NULL);
    } else {
        troupe_stop_runtime(ctx, 0);
    }
}

STARTED(ask_nobody)
{
    return troupe_ask(ctx, (troupe_addr){0}, 1, NULL, 0, TROUPE_FOREVER, stale_answer, NULL);
}

static const troupe_behavior nobody_asker = {.name = "nobody", .started = ask_nobody};

Test(ask, to_nobody_and_to_oneself_are_answered)
{
    world_begin(1);
    cr_assert_eq(run(&nobody_asker, NULL), 0);
    cr_assert_str_eq(world.trace, "-3 -95");
}

/* A reply that comes when the asking incarnation is gone. */
HANDLER(ask_and_panic)
{
    if (troupe_incarnation(ctx) == 1) {
        troupe_ask(ctx, world.addr[0], Q_REPLY, "\1\0\0", 4, TROUPE_SEC(60), stale_answer, NULL);
        troupe_panic(ctx, "with an ask pending");
    }
}

RESTARTED(wait_a_little)
{
    troupe_send_after(ctx, TROUPE_MS(30), troupe_self(ctx), END, NULL, 0, NULL);
}

HANDLER(end_now)
{
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior forgetful = {.name = "forgetful",
                                          .started = NULL,
                                          .restarted = wait_a_little,
                                          .stopped = keep_stats,
                                          .handlers = {[GO] = ON(ask_and_panic, 0), [END] = ON(end_now, 0)}};

STARTED(forgetful_started)
{
    if (troupe_incarnation(ctx) > 1)
        return 0;
    world.addr[0] = troupe_spawn(ctx, &oracle, NULL, NULL);
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    return 0;
}

Test(ask, a_reply_to_an_incarnation_that_is_gone_is_a_dead_letter)
{
    static troupe_behavior root;
    world_begin(1);
    root = forgetful;
    root.started = forgetful_started;
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
    /* The oracle was the crashed one's child: either it replied in time to be late, or it was stopped with the ask. */
    cr_assert_eq(world.dead[TROUPE_DEAD_LATE_REPLY] + world.dead[TROUPE_DEAD_STOPPED] +
                     world.dead[TROUPE_DEAD_NO_ACTOR],
                 world.dead[TROUPE_DEAD_STOPPED] ? 2 : 1);
}

/* A panic in an answer callback is a crash of the asker, and the reply a dead letter. */
ANSWER(panic_in_answer)
{
    troupe_panic(ctx, "cannot bear %d", answer->status);
}

RESTARTED(answer_crashed)
{
    say("%s|%s|%u", crash->handler, crash->text, count);
    troupe_stop_runtime(ctx, 0);
}

STARTED(ask_for_panic)
{
    return troupe_incarnation(ctx) > 1
               ? 0
               : troupe_ask(ctx, (troupe_addr){0}, 1, NULL, 0, TROUPE_FOREVER, panic_in_answer, NULL);
}

static const troupe_behavior answer_panics = {
    .name = "answer", .started = ask_for_panic, .restarted = answer_crashed, .stopped = keep_stats};

Test(ask, a_panic_in_the_answer_callback_is_a_crash)
{
    world_begin(1);
    cr_assert_eq(run(&answer_panics, NULL), 0);
    cr_assert_str_eq(world.trace, "answer|cannot bear -3|1");
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 1);
    cr_assert_eq(world.stats.messages_handled, 0);
}
