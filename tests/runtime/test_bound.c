/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded mailboxes: what is counted, each policy, the word that there is room, and that nothing is lost or locked up.
 * Receivers hold their mailbox while the test fills it, so that what waits is known; where threads race, the sums must
 * come out. White-box only where a count is looked at after its actor's end. */
#include "tests/runtime/world.h"

#include <signal.h>

#include "runtime/bound.h"
#include "runtime/context.h"
#include "tests/support/sanitizer.h"

enum { SCALE = SANITIZED ? 10 : 1 };
enum { NUMBER, OPEN, CRASH, STEP, GO, DOWN, ASKED, CANCELLED, POISON, TICK, OTHER };
enum { HANDLED, REFUSED, SENT, ROOMS, ANSWERS, STATUS, ENDS, CANCELS, STEPS, FIRST, LAST, CRASHES, PEAK }; /* words */

/* --- a receiver that holds its mailbox until it is told to open ------------------------------------------------------ */

static void number(troupe_ctx *ctx, const troupe_msg *msg)
{
    uint64_t n = troupe_size(msg) ? *(const uint64_t *)troupe_payload(msg) : 0;
    if (bump(HANDLED) == 1)
        ck_pr_store_64(&world.word[FIRST], n);
    ck_pr_store_64(&world.word[LAST], n);
    (void)ctx;
}

HANDLER(on_number)
{
    number(ctx, msg);
}

HANDLER(on_asked)
{
    number(ctx, msg);
    troupe_reply(ctx, msg, NULL, 0);
}

HANDLER(on_crash)
{
    bump(CRASHES);
    troupe_panic(ctx, "on request");
}

HANDLER(on_down)
{
    bump(ENDS);
}

HANDLER(on_cancelled)
{
    bump(CANCELS);
}

/* The first to come crash their handler, which gives them again. */
HANDLER(on_poison)
{
    if (bump(CRASHES) <= 3)
        troupe_panic(ctx, "twice");
    bump(HANDLED);
}

ANSWER(on_answer)
{
    bump(ANSWERS);
    ck_pr_store_64(&world.word[STATUS], (uint64_t)(int64_t)answer->status);
}

#define RECEIVER(name_, limit_, overflow_)                                                                             \
    static const troupe_behavior name_ = {                                                                             \
        .name = #name_,                                                                                                \
        .mailbox = {.limit = limit_, .overflow = overflow_},                                                           \
        .supervision = {.restarts = 64},                                                                               \
        .handlers = {[NUMBER] = ON(on_number, TROUPE_ANY_SIZE),                                                        \
                     [CRASH] = ON(on_crash, 0),                                                                        \
                     [DOWN] = ON(on_down, sizeof(troupe_down)),                                                        \
                     [ASKED] = ON(on_asked, 0),                                                                        \
                     [CANCELLED] = ON(on_cancelled, sizeof(troupe_token)),                                             \
                     [POISON] = {.name = "poison", .fn = on_poison, .size = 0, .retries = 5},                          \
                     [TICK] = ON(on_number, 0)},                                                                       \
    }

RECEIVER(refuser, 4, TROUPE_OVERFLOW_REFUSE);
RECEIVER(newest, 4, TROUPE_OVERFLOW_DROP_NEWEST);
RECEIVER(oldest, 4, TROUPE_OVERFLOW_DROP_OLDEST);
RECEIVER(counted, TROUPE_MAILBOX_COUNTED, TROUPE_OVERFLOW_REFUSE);
RECEIVER(narrow, 1, TROUPE_OVERFLOW_REFUSE);
RECEIVER(unbounded, 0, TROUPE_OVERFLOW_REFUSE);

/* --- the root: steps, one after the other ---------------------------------------------------------------------------- */

static struct scene {
    void (*begin)(troupe_ctx *ctx);
    bool (*until)(troupe_ctx *ctx); /* then */
    void (*then)(troupe_ctx *ctx);
    troupe_addr to;
} scene;

static void step_again(troupe_ctx *ctx)
{
    cr_assert_eq(troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0), 0);
}

static void when(troupe_ctx *ctx, bool (*until)(troupe_ctx *ctx), void (*then)(troupe_ctx *ctx))
{
    scene.until = until;
    scene.then = then;
    step_again(ctx);
}

HANDLER(on_step)
{
    if (scene.until(ctx))
        scene.then(ctx);
    else
        step_again(ctx);
}

STARTED(root_started)
{
    scene.begin(ctx);
    return 0;
}

static void count_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    (void)ctx, (void)self;
    world.addr[1] = where;
    bump(ROOMS);
}

static const troupe_behavior root = {
    .name = "root",
    .started = root_started,
    .room = count_room,
    .stopped = keep_stats,
    .handlers = {[STEP] = ON(on_step, 0), [DOWN] = ON(on_down, sizeof(troupe_down)), [NUMBER] = ON(on_number, 8)},
};

static void play(void (*begin)(troupe_ctx *ctx), unsigned workers)
{
    world_begin(workers);
    scene = (struct scene){.begin = begin};
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_eq(strcmp(world.trace, ""), 0, "%s", world.trace);
}

static void expect(int64_t value, int64_t wanted, const char *what)
{
    if (value != wanted)
        say("%s: %lld, not %lld;", what, (long long)value, (long long)wanted);
}

/* A receiver whose mailbox is held: it is suspended before it is sent anything. */
static void spawn_shut(troupe_ctx *ctx, const troupe_behavior *behavior)
{
    scene.to = troupe_spawn(ctx, behavior, NULL, NULL);
    expect(troupe_suspend(ctx, scene.to), 0, "suspend");
}

static int64_t tell_number(troupe_ctx *ctx, uint64_t n)
{
    int status = troupe_tell(ctx, scene.to, NUMBER, &n, sizeof n);
    bump(status == 0 ? SENT : REFUSED);
    return status;
}

/* Numbers from first on. Returns the status of the last. */
static int64_t tell_numbers(troupe_ctx *ctx, uint64_t first, unsigned count)
{
    int64_t status = 0;
    for (unsigned i = 0; i < count; i++)
        status = tell_number(ctx, first + i);
    return status;
}

static int64_t depth(troupe_ctx *ctx)
{
    return troupe_depth(ctx, scene.to);
}

static void finish(troupe_ctx *ctx)
{
    troupe_stop_runtime(ctx, 0);
}

static bool is_empty(troupe_ctx *ctx)
{
    return depth(ctx) == 0;
}

static bool is_gone(troupe_ctx *ctx)
{
    return depth(ctx) == -ESRCH && word(ENDS) > 0;
}

/* The receiver's record, to be looked at when it has ended. */
static struct tr_bound *bound_of(troupe_ctx *ctx)
{
    return tr_cell_find(&ctx->rt->cells, scene.to)->bound;
}

static struct tr_bound *old_bound;
static uint64_t old_word;

static void expect_even(const char *what)
{
    uint64_t word_now = ck_pr_load_64(&old_bound->word);
    expect((int64_t)(word_now >> 32), (int64_t)(old_word >> 32) + 1, "the record's serial");
    expect((uint32_t)word_now, 0, what);
}

/* --- counting --------------------------------------------------------------------------------------------------------- */

static void counts_until_handled(troupe_ctx *ctx)
{
    expect(depth(ctx), 0, "depth when all is handled");
    expect((int64_t)word(HANDLED), 1000, "handled");
    expect(troupe_depth(ctx, troupe_self(ctx)), -EOPNOTSUPP, "depth of an actor without a limit");
    expect(troupe_depth(ctx, (troupe_addr){0}), -ESRCH, "depth of nobody");
    expect(troupe_runtime_depth(troupe_ctx_runtime(ctx), scene.to), 0, "depth from outside");
    finish(ctx);
}

static void counts(troupe_ctx *ctx)
{
    spawn_shut(ctx, &counted);
    expect(tell_numbers(ctx, 1, 1000), 0, "tell to a counted mailbox");
    expect(depth(ctx), 1000, "depth");
    expect(troupe_runtime_depth(troupe_ctx_runtime(ctx), scene.to), 1000, "depth from outside");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty, counts_until_handled);
}

Test(bound, a_counted_mailbox_says_how_many_wait_and_refuses_nothing)
{
    play(counts, 1);
    play(counts, 2);
}

/* --- refuse ----------------------------------------------------------------------------------------------------------- */

static bool has_room(troupe_ctx *ctx)
{
    (void)ctx;
    return word(ROOMS) > 0;
}

static void refused_then_told(troupe_ctx *ctx)
{
    expect((int64_t)word(ROOMS), 1, "room, once");
    expect(troupe_addr_same(world.addr[1], scene.to), true, "room says where");
    expect(tell_number(ctx, 99), 0, "tell after room");
    when(ctx, is_empty, finish);
}

static void refuse_the_fifth(troupe_ctx *ctx)
{
    spawn_shut(ctx, &refuser);
    expect(tell_numbers(ctx, 1, 4), 0, "tell up to the limit");
    expect(depth(ctx), 4, "depth at the limit");
    expect(tell_numbers(ctx, 5, 3), -EAGAIN, "tell beyond the limit");
    troupe_msg *msg = troupe_compose(ctx, NUMBER, 8);
    expect(troupe_send(ctx, scene.to, msg), -EAGAIN, "send beyond the limit");
    expect(troupe_ask(ctx, scene.to, ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL), -EAGAIN, "ask beyond");
    expect(troupe_ask_hold(ctx, scene.to, ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL), -EAGAIN, "ask with hold");
    expect(troupe_runtime_tell(troupe_ctx_runtime(ctx), scene.to, TICK, NULL, 0), -EAGAIN, "tell from outside");
    expect(depth(ctx), 4, "depth after refusals");
    troupe_resume(ctx, scene.to);
    when(ctx, has_room, refused_then_told);
}

Test(bound, beyond_its_limit_a_mailbox_refuses_and_tells_each_sender_once_that_there_is_room)
{
    play(refuse_the_fifth, 1);
    cr_assert_eq(word(HANDLED), 5);
    cr_assert_eq(dead_total(), 0);
    cr_assert_eq(word(ANSWERS), 0);
    play(refuse_the_fifth, 2);
    cr_assert_eq(word(HANDLED), 5);
}

/* Room is told at half of the limit, not before: who wants it waits with the receiver until then. */
static bool wanted_at[8];

HANDLER(on_measured)
{
    uint64_t handled = bump(HANDLED);
    wanted_at[handled % 8] = ctx->cell->bound->first != NULL;
}

static const troupe_behavior measurer = {
    .name = "measurer", .mailbox = {.limit = 4}, .handlers = {[NUMBER] = ON(on_measured, 8)}};

static void refuse_then_open(troupe_ctx *ctx)
{
    spawn_shut(ctx, &measurer);
    expect(tell_numbers(ctx, 1, 5), -EAGAIN, "tell beyond the limit");
    troupe_resume(ctx, scene.to);
    when(ctx, has_room, finish);
}

Test(bound, room_is_told_once_half_of_the_limit_is_free)
{
    play(refuse_then_open, 1);
    cr_assert_eq(word(HANDLED), 4); /* on one worker the receiver empties its mailbox in one activation */
    cr_assert(wanted_at[1]);
    cr_assert_not(wanted_at[2]);
    cr_assert_eq(word(ROOMS), 1);
}

/* --- drop ------------------------------------------------------------------------------------------------------------- */

static bool is_empty_and_answered(troupe_ctx *ctx)
{
    return depth(ctx) == 0 && word(ANSWERS) == 1;
}

static void drop_newest(troupe_ctx *ctx)
{
    spawn_shut(ctx, &newest);
    expect(tell_numbers(ctx, 1, 10), 0, "tell to a mailbox that drops");
    expect(troupe_ask(ctx, scene.to, ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL), 0, "ask it");
    expect(depth(ctx), 4, "depth");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_answered, finish);
}

Test(bound, drop_newest_makes_dead_letters_of_what_comes_last)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(drop_newest, workers);
        cr_assert_eq(word(HANDLED), 4);
        cr_assert_eq(word(FIRST), 1);
        cr_assert_eq(word(LAST), 4);
        cr_assert_eq(world.dead[TROUPE_DEAD_MAILBOX_FULL], 7);
        cr_assert_eq(dead_total(), 7);
        cr_assert_eq((int64_t)word(STATUS), -EAGAIN);
        cr_assert_eq(word(ROOMS), 0);
    }
}

static void drop_oldest(troupe_ctx *ctx)
{
    spawn_shut(ctx, &oldest);
    expect(troupe_ask(ctx, scene.to, ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL), 0, "ask it first");
    expect(tell_numbers(ctx, 1, 10), 0, "tell to a mailbox that drops");
    expect(depth(ctx), 8, "depth at twice the limit");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_answered, finish);
}

Test(bound, drop_oldest_makes_dead_letters_of_what_came_first_and_of_what_is_beyond_twice_the_limit)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(drop_oldest, workers);
        cr_assert_eq(word(HANDLED), 4);
        cr_assert_eq(word(FIRST), 4);
        cr_assert_eq(word(LAST), 7);
        cr_assert_eq(world.dead[TROUPE_DEAD_MAILBOX_FULL], 7);
        cr_assert_eq(dead_total(), 7);
        cr_assert_eq((int64_t)word(STATUS), -EAGAIN);
    }
}

/* --- what passes ------------------------------------------------------------------------------------------------------ */

static troupe_token token;

/* Asks the root, monitors a child that ends, waits for a token: then it is suspended and filled. */
HANDLER(on_go)
{
    troupe_addr short_lived = troupe_spawn(ctx, &unbounded, NULL, NULL);
    troupe_monitor(ctx, short_lived, DOWN, false, NULL);
    troupe_token_notify(ctx, token, CANCELLED);
    troupe_ask(ctx, world.addr[2], ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL);
    troupe_stop(ctx, short_lived);
    bump(STEPS);
}

static const troupe_behavior busy = {
    .name = "busy",
    .mailbox = {.limit = 2},
    .handlers = {[GO] = ON(on_go, 0),
                 [NUMBER] = ON(on_number, 8),
                 [DOWN] = ON(on_down, sizeof(troupe_down)),
                 [CANCELLED] = ON(on_cancelled, sizeof(troupe_token))},
};

static bool all_passed(troupe_ctx *ctx)
{
    return depth(ctx) == 0 && word(ANSWERS) == 1 && word(ENDS) == 1 && word(CANCELS) == 1;
}

static bool went(troupe_ctx *ctx)
{
    (void)ctx;
    return word(STEPS) == 1;
}

/* Two that wait, then what must pass: the answerer is resumed, the token cancelled, when the mailbox is full. */
static void fill_busy(troupe_ctx *ctx)
{
    troupe_suspend(ctx, scene.to);
    tell_numbers(ctx, 1, 8);
    expect(tell_number(ctx, 9), -EAGAIN, "it is full");
    troupe_token_cancel(token);
    troupe_resume(ctx, world.addr[2]);
    troupe_resume(ctx, scene.to);
    when(ctx, all_passed, finish);
}

static void begin_busy(troupe_ctx *ctx)
{
    expect(troupe_token_new(ctx, (troupe_token){0}, &token), 0, "token");
    world.addr[2] = troupe_spawn(ctx, &unbounded, NULL, NULL);
    troupe_suspend(ctx, world.addr[2]);
    scene.to = troupe_spawn(ctx, &busy, NULL, NULL);
    troupe_tell(ctx, scene.to, GO, NULL, 0);
    when(ctx, went, fill_busy);
}

Test(bound, replies_and_news_pass_a_full_mailbox)
{
    play(begin_busy, 1);
    cr_assert_eq(word(HANDLED), word(SENT) + 1); /* and the ask */
    play(begin_busy, 2);
}

/* --- ends and restarts ------------------------------------------------------------------------------------------------ */

static void (*ends_it)(troupe_ctx *ctx);

static void stop_it(troupe_ctx *ctx)
{
    troupe_stop(ctx, scene.to);
}

static void kill_it(troupe_ctx *ctx)
{
    troupe_kill(ctx, scene.to);
}

static bool is_gone_and_told(troupe_ctx *ctx)
{
    return is_gone(ctx) && word(ROOMS) == 1;
}

static void look_after_end(troupe_ctx *ctx)
{
    expect_even("waiting after the end");
    expect(tell_number(ctx, 1), -ESRCH, "tell after the end");
    finish(ctx);
}

static void end_it(troupe_ctx *ctx)
{
    ends_it(ctx);
    when(ctx, is_gone_and_told, look_after_end);
}

/* On one worker, where it may be looked at, until the wish for room has come; on two it may come late. */
static bool wish_waits(troupe_ctx *ctx)
{
    return world.workers > 1 || bound_of(ctx)->first;
}

static void end_when_full(troupe_ctx *ctx)
{
    spawn_shut(ctx, &refuser);
    old_bound = bound_of(ctx);
    old_word = ck_pr_load_64(&old_bound->word);
    troupe_monitor(ctx, scene.to, DOWN, false, NULL);
    expect(tell_numbers(ctx, 1, 5), -EAGAIN, "it is full");
    when(ctx, wish_waits, end_it);
}

Test(bound, the_end_of_a_full_actor_buries_what_waits_and_tells_who_waits_for_room)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        ends_it = stop_it;
        play(end_when_full, workers);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 4);
        ends_it = kill_it;
        play(end_when_full, workers);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 4);
    }
}

/* The slot's next actor, which may have the record too, begins at 0. */
static void end_and_begin(troupe_ctx *ctx)
{
    expect(depth(ctx), -ESRCH, "depth after the end");
    troupe_addr before = scene.to;
    spawn_shut(ctx, &refuser);
    expect(troupe_depth(ctx, before), -ESRCH, "the old address's depth");
    expect(depth(ctx), 0, "a new actor's depth");
    expect(tell_numbers(ctx, 1, 4), 0, "tell up to the limit");
    finish(ctx);
}

static void end_and_spawn(troupe_ctx *ctx)
{
    spawn_shut(ctx, &refuser);
    troupe_monitor(ctx, scene.to, DOWN, false, NULL);
    tell_numbers(ctx, 1, 3);
    kill_it(ctx);
    when(ctx, is_gone, end_and_begin);
}

Test(bound, the_next_actor_in_a_slot_begins_to_count_at_zero)
{
    play(end_and_spawn, 1);
}

static bool is_empty_and_told(troupe_ctx *ctx)
{
    return depth(ctx) == 0 && word(ROOMS) > 0;
}

/* CRASH, 3 numbers, of which the third is refused: the limit is 4 with POISON. */
static void crash_when_full(troupe_ctx *ctx)
{
    spawn_shut(ctx, &refuser);
    expect(troupe_tell(ctx, scene.to, CRASH, NULL, 0), 0, "tell it to crash");
    expect(troupe_tell(ctx, scene.to, POISON, NULL, 0), 0, "tell it to crash twice and again");
    expect(tell_numbers(ctx, 1, 3), -EAGAIN, "it is full");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_told, finish);
}

Test(bound, a_restart_keeps_what_waits_and_its_count)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(crash_when_full, workers);
        cr_assert_eq(word(HANDLED), 3);
        cr_assert_eq(word(LAST), 2);
        cr_assert_eq(word(CRASHES), 4);
        cr_assert_eq(world.stats.restarts, 3);
        cr_assert_eq(dead_total(), 1); /* the one that crashed it for good */
        cr_assert_eq(word(ROOMS), 1);
    }
}

/* Sets everything aside once, and takes it back at the third. */
HANDLER(on_stashed)
{
    if (word(STEPS) == 0 && bump(CANCELS) <= 3)
        troupe_stash(ctx, msg);
    else
        number(ctx, msg);
    if (word(CANCELS) == 3 && word(STEPS) == 0) {
        bump(STEPS);
        expect((int64_t)troupe_unstash_all(ctx), 3, "unstashed");
        expect(troupe_depth(ctx, troupe_self(ctx)), 4, "what was set aside waits again");
    }
}

static const troupe_behavior stasher = {
    .name = "stasher", .mailbox = {.limit = 4}, .handlers = {[NUMBER] = ON(on_stashed, 8)}};

static void stash_some(troupe_ctx *ctx)
{
    spawn_shut(ctx, &stasher);
    expect(tell_numbers(ctx, 1, 4), 0, "tell up to the limit");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty, finish);
}

Test(bound, what_is_set_aside_counts_again_when_it_is_taken_back)
{
    play(stash_some, 1);
    cr_assert_eq(word(HANDLED), 4);
    cr_assert_eq(word(LAST), 4);
}

/* --- who waits for room ends before ------------------------------------------------------------------------------------ */

static void room_of_a_waiter(troupe_ctx *ctx, void *self, troupe_addr where)
{
    (void)ctx, (void)self, (void)where;
    bump(ROOMS);
}

/* Is refused, and then crashes or stops. */
HANDLER(on_wait)
{
    expect(tell_number(ctx, 1), -EAGAIN, "it is full");
    bump(STEPS);
    if (*(const uint64_t *)troupe_payload(msg) == 0)
        troupe_panic(ctx, "after it was refused");
    troupe_stop_self(ctx);
}

static const troupe_behavior waiter = {.name = "waiter", .room = room_of_a_waiter, .handlers = {[GO] = ON(on_wait, 8)}};

static bool two_waited(troupe_ctx *ctx)
{
    (void)ctx;
    return word(STEPS) == 2 && word(ENDS) == 2;
}

/* So long that a word of room has come. */
static bool is_empty_for_long(troupe_ctx *ctx)
{
    return depth(ctx) == 0 && bump(PEAK) > 1000;
}

static void open_for_the_gone(troupe_ctx *ctx)
{
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_for_long, finish);
}

static void refuse_the_gone(troupe_ctx *ctx)
{
    const uint64_t how[2] = {0, 1};
    spawn_shut(ctx, &refuser);
    tell_numbers(ctx, 1, 4);
    for (unsigned i = 0; i < 2; i++) {
        troupe_addr who = troupe_spawn(ctx, &waiter, NULL, NULL);
        troupe_monitor(ctx, who, DOWN, true, NULL);
        troupe_tell(ctx, who, GO, &how[i], sizeof how[i]);
    }
    when(ctx, two_waited, open_for_the_gone);
}

Test(bound, room_is_not_told_to_another_incarnation_than_the_refused)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(refuse_the_gone, workers);
        cr_assert_eq(word(HANDLED), 4);
        cr_assert_eq(word(ROOMS), 0);
    }
}

/* --- timers, names ------------------------------------------------------------------------------------------------------ */

static bool two_dead(troupe_ctx *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&world.lock);
    bool two = world.dead[TROUPE_DEAD_MAILBOX_FULL] == 2;
    pthread_mutex_unlock(&world.lock);
    return two;
}

static void time_into_full(troupe_ctx *ctx)
{
    troupe_fanout out;
    spawn_shut(ctx, &narrow);
    expect(tell_number(ctx, 1), 0, "tell up to the limit");
    expect(troupe_register(ctx, "narrow", scene.to), 0, "register");
    expect(troupe_tell_name(ctx, "narrow", TICK, NULL, 0), -EAGAIN, "tell by name");
    expect(troupe_group_join(ctx, "narrows", scene.to), 0, "join");
    expect(troupe_group_tell(ctx, "narrows", TICK, NULL, 0, &out), -EAGAIN, "tell by group");
    expect((int64_t)out.refused, 1, "refused by a member");
    troupe_send_after(ctx, TROUPE_US(10), scene.to, TICK, NULL, 0, NULL);
    troupe_send_after(ctx, TROUPE_US(10), scene.to, TICK, NULL, 0, NULL);
    when(ctx, two_dead, finish);
}

Test(bound, timers_make_dead_letters_and_names_and_groups_are_refused)
{
    play(time_into_full, 1);
    play(time_into_full, 2);
}

/* --- everybody at once --------------------------------------------------------------------------------------------------- */

enum { SENDERS = 8, PER_SENDER = 20000 / SCALE };

struct sender {
    uint64_t left;
};

/* Sends until it is refused, and goes on when there is room. */
static void send_on(troupe_ctx *ctx, struct sender *self)
{
    while (self->left > 0) {
        int status = troupe_tell(ctx, scene.to, NUMBER, &self->left, sizeof self->left);
        if (status != 0) {
            expect(status, -EAGAIN, "tell");
            bump(REFUSED);
            return;
        }
        bump(SENT);
        self->left--;
    }
    bump(STEPS);
}

STARTED(sender_started)
{
    struct sender *me = self;
    me->left = PER_SENDER;
    send_on(ctx, me);
    return 0;
}

static void sender_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    expect(troupe_addr_same(where, scene.to), true, "room says where");
    bump(ROOMS);
    send_on(ctx, self);
}

static const troupe_behavior sender = {
    .name = "sender", .state_size = sizeof(struct sender), .started = sender_started, .room = sender_room};

static bool all_sent(troupe_ctx *ctx)
{
    int64_t now = depth(ctx);
    if (now > (int64_t)word(PEAK))
        ck_pr_store_64(&world.word[PEAK], (uint64_t)now);
    return word(STEPS) == SENDERS && now == 0;
}

static void all_at_once(troupe_ctx *ctx)
{
    scene.to = troupe_spawn(ctx, &refuser, NULL, NULL);
    for (unsigned i = 0; i < SENDERS; i++)
        troupe_spawn(ctx, &sender, NULL, NULL);
    when(ctx, all_sent, finish);
}

Test(bound, many_senders_lose_nothing_and_each_refusal_is_told_of_room)
{
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        play(all_at_once, workers);
        cr_assert_eq(word(SENT), SENDERS * PER_SENDER);
        cr_assert_eq(word(HANDLED), word(SENT));
        cr_assert_eq(word(ROOMS), word(REFUSED)); /* each stopped at its refusal, so that each has one word */
        cr_assert_gt(word(REFUSED), 0);
        cr_assert_leq(word(PEAK), 4);
        cr_assert_eq(dead_total(), 0);
    }
}

/* Those who do not wait, on a mailbox that drops. */
STARTED(flooder_started)
{
    for (uint64_t i = 1; i <= PER_SENDER; i++)
        if (troupe_tell(ctx, scene.to, NUMBER, &i, sizeof i) == 0)
            bump(SENT);
    bump(STEPS);
    return 0;
}

static const troupe_behavior flooder = {.name = "flooder", .started = flooder_started};
static const troupe_behavior *flooded;

static void flood(troupe_ctx *ctx)
{
    scene.to = troupe_spawn(ctx, flooded, NULL, NULL);
    for (unsigned i = 0; i < SENDERS; i++)
        troupe_spawn(ctx, &flooder, NULL, NULL);
    when(ctx, all_sent, finish);
}

Test(bound, what_a_policy_drops_is_a_dead_letter_once)
{
    const troupe_behavior *const policies[] = {&newest, &oldest};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned workers = 1; workers <= 4; workers *= 2) {
            flooded = policies[i];
            play(flood, workers);
            cr_assert_eq(word(SENT), SENDERS * PER_SENDER);
            cr_assert_eq(word(HANDLED) + world.dead[TROUPE_DEAD_MAILBOX_FULL], word(SENT));
            cr_assert_eq(dead_total(), world.dead[TROUPE_DEAD_MAILBOX_FULL]);
            cr_assert_leq(word(PEAK), i == 0 ? 4 : 8);
        }
}

/* The receiver comes and goes under fire, in the same slots: each message is handled, refused, or a dead letter. */
enum { LIVES = 200 / SCALE };

STARTED(shooter_started)
{
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

HANDLER(on_shoot)
{
    for (unsigned i = 0; i < 50; i++) {
        troupe_addr to = {ck_pr_load_64(&world.addr[3].bits)};
        uint64_t n = i;
        int status = troupe_tell(ctx, to, NUMBER, &n, sizeof n);
        bump(status == -EAGAIN ? REFUSED : SENT);
    }
    if (word(CRASHES) < LIVES)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    else
        bump(STEPS);
}

static const troupe_behavior shooter = {
    .name = "shooter", .started = shooter_started, .room = room_of_a_waiter, .handlers = {[GO] = ON(on_shoot, 0)}};

/* Old at once, so that a probe that is left behind would refuse for ever. */
static const troupe_behavior aged = {
    .name = "aged", .mailbox = {.limit = 100, .max_age_ns = 1}, .handlers = {[NUMBER] = ON(on_number, 8)}};

static void live_again(troupe_ctx *ctx);

static bool was_hit(troupe_ctx *ctx)
{
    (void)ctx;
    return word(HANDLED) > world.word[PEAK];
}

static bool all_shot(troupe_ctx *ctx)
{
    return word(STEPS) == SENDERS && depth(ctx) == 0;
}

static void one_life(troupe_ctx *ctx)
{
    static const troupe_behavior *const kinds[] = {&refuser, &unbounded, &narrow, &oldest, &aged, &newest};
    troupe_addr before = scene.to;
    scene.to = troupe_spawn(ctx, kinds[word(CRASHES) % 6], NULL, NULL);
    ck_pr_store_64(&world.addr[3].bits, scene.to.bits);
    if (!troupe_addr_is_nobody(before))
        troupe_kill(ctx, before);
    world.word[PEAK] = word(HANDLED);
}

static void live_again(troupe_ctx *ctx)
{
    one_life(ctx);
    if (bump(CRASHES) < LIVES) {
        when(ctx, was_hit, live_again);
        return;
    }
    troupe_addr last = scene.to;
    scene.to = troupe_spawn(ctx, &counted, NULL, NULL);
    ck_pr_store_64(&world.addr[3].bits, scene.to.bits);
    troupe_kill(ctx, last);
    when(ctx, all_shot, finish);
}

static void begin_lives(troupe_ctx *ctx)
{
    live_again(ctx);
    for (unsigned i = 0; i < SENDERS; i++)
        troupe_spawn(ctx, &shooter, NULL, NULL);
}

Test(bound, receivers_that_end_under_fire_lose_nothing)
{
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        play(begin_lives, workers);
        cr_assert_eq(word(SENT), word(HANDLED) + dead_total(), "%lu sent, %lu handled, %u dead", word(SENT),
                     word(HANDLED), dead_total());
    }
}

/* --- two that flood each other ------------------------------------------------------------------------------------------- */

/* Each sends to the other until it is refused, with limits of 1, and goes on when it is told of room, or sent something.
 * It goes on for a second: nobody ever blocks, so both get on all the time. */
struct rival {
    unsigned nr;
};

static uint64_t until_ns;

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

enum { RIVALS = 20 }; /* and 21: words, how many each has handled; then how many each has sent, and was told of room */

static void attack(troupe_ctx *ctx, unsigned nr)
{
    int status = 0;
    for (unsigned i = 0; i < 10 && status == 0 && clock_ns() < until_ns; i++) {
        status = troupe_tell(ctx, world.addr[4 + (1 - nr)], GO, NULL, 0);
        if (status == 0)
            bump(RIVALS + 2 + nr);
        else
            expect(status, -EAGAIN, "tell");
    }
    if (status == 0 && clock_ns() < until_ns)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0); /* to itself: refused, then its own room calls it */
}

HANDLER(on_attack)
{
    const struct rival *me = self;
    bump(RIVALS + me->nr);
    attack(ctx, me->nr);
}

static void rival_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    const struct rival *me = self;
    (void)where;
    bump(RIVALS + 4 + me->nr);
    attack(ctx, me->nr);
}

STARTED(rival_started)
{
    *(struct rival *)self = *(const struct rival *)args;
    return 0;
}

static const troupe_behavior rival = {
    .name = "rival",
    .state_size = sizeof(struct rival),
    .args_size = sizeof(struct rival),
    .mailbox = {.limit = 1},
    .started = rival_started,
    .room = rival_room,
    .handlers = {[GO] = ON(on_attack, 0)},
};

static bool time_is_up(troupe_ctx *ctx)
{
    return clock_ns() > until_ns && troupe_depth(ctx, world.addr[4]) == 0 && troupe_depth(ctx, world.addr[5]) == 0;
}

static void let_them_fight(troupe_ctx *ctx)
{
    until_ns = clock_ns() + TROUPE_SEC(1);
    for (unsigned i = 0; i < 2; i++)
        world.addr[4 + i] = troupe_spawn(ctx, &rival, &(struct rival){i}, NULL);
    for (unsigned i = 0; i < 2; i++)
        expect(troupe_tell(ctx, world.addr[4 + i], GO, NULL, 0), 0, "begin");
    when(ctx, time_is_up, finish);
}

Test(bound, two_actors_with_a_limit_of_one_that_flood_each_other_get_on)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(let_them_fight, workers);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_gt(word(RIVALS + i), 100);
            cr_assert_gt(word(RIVALS + 4 + i), 100);
        }
        cr_assert_eq(dead_total(), 0);
    }
}

/* --- age ---------------------------------------------------------------------------------------------------------- */

enum { AGE_MS = 20 };

#define OF_AGE(name_, overflow_, limit_)                                                                               \
    static const troupe_behavior name_ = {                                                                             \
        .name = #name_,                                                                                                \
        .mailbox = {.limit = limit_, .overflow = overflow_, .max_age_ns = TROUPE_MS(AGE_MS)},                          \
        .handlers = {[NUMBER] = ON(on_number, 8), [ASKED] = ON(on_asked, 0)},                                          \
    }

OF_AGE(old_refuser, TROUPE_OVERFLOW_REFUSE, 0);
OF_AGE(old_newest, TROUPE_OVERFLOW_DROP_NEWEST, 100);
OF_AGE(old_oldest, TROUPE_OVERFLOW_DROP_OLDEST, 100);

static bool it_is_later(troupe_ctx *ctx)
{
    (void)ctx;
    return clock_ns() > until_ns;
}

static void wait_for_age(troupe_ctx *ctx, void (*then)(troupe_ctx *ctx))
{
    until_ns = clock_ns() + TROUPE_MS(AGE_MS + 1);
    when(ctx, it_is_later, then);
}

static void grown_old_again(troupe_ctx *ctx)
{
    expect(tell_number(ctx, 4), -EAGAIN, "tell when it is old again");
    expect(depth(ctx), 1, "depth of an old mailbox");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_told, finish);
}

static void young_again(troupe_ctx *ctx)
{
    expect((int64_t)word(ROOMS), 1, "room, once");
    world.word[ROOMS] = 0;
    troupe_suspend(ctx, scene.to);
    expect(tell_number(ctx, 3), 0, "tell when it is young again");
    wait_for_age(ctx, grown_old_again);
}

static void grown_old(troupe_ctx *ctx)
{
    expect(tell_number(ctx, 2), -EAGAIN, "tell to an old mailbox");
    expect((int64_t)word(ROOMS), 0, "no room while it is old");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_told, young_again);
}

/* A while in which a word that came too soon would be seen. */
static void grown_old_first(troupe_ctx *ctx)
{
    expect(tell_number(ctx, 2), -EAGAIN, "tell to an old mailbox");
    wait_for_age(ctx, grown_old);
}

static void age(troupe_ctx *ctx)
{
    uint64_t begun = clock_ns();
    spawn_shut(ctx, &old_refuser);
    int64_t status = tell_numbers(ctx, 1, 100);
    if (clock_ns() - begun < TROUPE_MS(AGE_MS)) /* else the machine was slow, and it may be old already */
        expect(status, 0, "tell to a young mailbox");
    wait_for_age(ctx, grown_old_first);
}

Test(bound, a_mailbox_in_which_a_message_is_too_old_refuses_until_it_is_taken)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        play(age, workers);
        cr_assert_eq(word(HANDLED), word(SENT));
        cr_assert_eq(dead_total(), 0);
    }
}

static void grown_old_and_drops(troupe_ctx *ctx)
{
    expect(tell_number(ctx, 2), 0, "tell to an old mailbox that drops");
    expect(troupe_ask(ctx, scene.to, ASKED, NULL, 0, TROUPE_FOREVER, on_answer, NULL), 0, "ask it");
    troupe_resume(ctx, scene.to);
    when(ctx, is_empty_and_answered, finish);
}

static void age_and_drop(troupe_ctx *ctx)
{
    spawn_shut(ctx, flooded);
    tell_number(ctx, 1);
    wait_for_age(ctx, grown_old_and_drops);
}

Test(bound, of_an_old_mailbox_that_drops_the_newest_are_dead_letters)
{
    const troupe_behavior *const policies[] = {&old_newest, &old_oldest};
    for (unsigned i = 0; i < 2; i++) {
        flooded = policies[i];
        play(age_and_drop, 2);
        cr_assert_eq(word(HANDLED), 1);
        cr_assert_eq(world.dead[TROUPE_DEAD_MAILBOX_FULL], 2);
        cr_assert_eq((int64_t)word(STATUS), -EAGAIN);
    }
}

/* --- mistakes --------------------------------------------------------------------------------------------------------------- */

static const troupe_behavior faulty = {.name = "faulty", .mailbox = {.limit = 1, .overflow = TROUPE_OVERFLOW_COUNT}};

Test(bound, a_policy_that_is_none_ends_the_process, .signal = SIGABRT)
{
    run(&faulty, NULL);
}
