/* SPDX-License-Identifier: Apache-2.0 */
/* Cancel tokens: the tree, stale handles, what ends with a token, who is told, and what all that costs. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "runtime/hook.h"
#include "tests/support/sanitizer.h"
#include "world.h"

#define SLOWER (UNDER_TSAN ? 50 : UNDER_ASAN ? 10 : 1)

enum { GO, CANCELLED, TICK, DATA, CLOSED, ACCEPTED, DONE, PANIC, ASK, ANSWERED, STOP };

static const troupe_token none;
static troupe_token shared[8]; /* the test's own; written before its readers start, or handed over by a word */

/* Of the calling thread: what else the machine does is not its fault. */
static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void await_word(unsigned i, uint64_t at_least)
{
    while (word(i) < at_least)
        sched_yield();
}

HANDLER(stop_all)
{
    troupe_stop_runtime(ctx, 0);
}

/* --- a runtime whose root does nothing: tokens of a thread outside ---------------------------------------------- */

static const troupe_behavior idle_root = {.name = "idle", .handlers = {[STOP] = ON(stop_all, 0)}};

static troupe_runtime *start(unsigned workers, const troupe_behavior *root, troupe_addr *addr)
{
    troupe_runtime *rt;
    world_begin(workers);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, root, NULL, &options, addr), 0);
    return rt;
}

static void stop(troupe_runtime *rt)
{
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

static troupe_token make(troupe_runtime *rt, troupe_token parent)
{
    troupe_token token;
    cr_assert_eq(troupe_runtime_token_new(rt, parent, &token), 0);
    return token;
}

static unsigned chunks(const troupe_runtime *rt)
{
    unsigned count = 0;
    for (const struct tr_chunk_header *chunk = rt->slab.chunks; chunk; chunk = chunk->next)
        count++;
    return count;
}

Test(token, cancelling_reaches_all_descendants_and_nobody_else)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    troupe_token a = make(rt, none), b = make(rt, a), c = make(rt, b), d = make(rt, c), sibling = make(rt, a);
    cr_assert(!troupe_token_cancelled(a) && !troupe_token_cancelled(d));
    cr_assert(troupe_token_cancel(b));
    cr_assert(troupe_token_cancelled(b) && troupe_token_cancelled(c) && troupe_token_cancelled(d));
    cr_assert(!troupe_token_cancelled(a) && !troupe_token_cancelled(sibling));
    cr_assert(!troupe_token_cancel(b) && !troupe_token_cancel(c) && !troupe_token_cancel(d), "they were");
    troupe_token late = make(rt, d);
    cr_assert(troupe_token_cancelled(late) && !troupe_token_cancel(late), "born cancelled");
    cr_assert_eq(late.ref, &rt->tokens.gone, "without a record");
    troupe_token_free(late);
    cr_assert(troupe_token_cancel(a) && troupe_token_cancelled(sibling));
    stop(rt);
}

/* The look that decides, since the one before may be too early. */
Test(token, a_hook_is_not_linked_to_a_cancelled_token)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    troupe_token parent = make(rt, none), child = make(rt, parent);
    struct tr_token_hook hook = {.token = child};
    tr_list_init(&hook.link);
    cr_assert(tr_token_link(rt, &hook) && tr_token_unlink(&hook) && !tr_token_unlink(&hook));
    troupe_token_cancel(parent);
    cr_assert(!tr_token_link(rt, &hook) && !tr_token_unlink(&hook));
    troupe_token_free(child);
    cr_assert(!tr_token_link(rt, &hook));
    stop(rt);
}

Test(token, no_token_is_never_cancelled)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    cr_assert(!troupe_token_cancelled(none) && !troupe_token_cancel(none));
    troupe_token_free(none);
    cr_assert_eq(troupe_token_wait(none, 0), -EINVAL);
    stop(rt);
}

Test(token, a_stale_handle_counts_as_cancelled_and_touches_nobody)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    troupe_token old = make(rt, none), next = none;
    troupe_token_free(old);
    cr_assert(troupe_token_cancelled(old) && !troupe_token_cancel(old));
    cr_assert_eq(troupe_token_wait(old, TROUPE_FOREVER), 0);
    for (unsigned i = 0; i < 10000 && next.ref != old.ref; i++)
        next = make(rt, none);
    cr_assert_eq(next.ref, old.ref, "the record is used again");
    troupe_token_free(old);
    cr_assert(!troupe_token_cancel(old) && troupe_token_cancelled(old) && !troupe_token_cancelled(next));
    troupe_token child = make(rt, old);
    cr_assert(troupe_token_cancelled(child), "below a stale one");
    cr_assert(troupe_token_cancel(next));
    stop(rt);
}

Test(token, a_freed_parent_cancels_and_lets_go_of_its_children)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    troupe_token parent = make(rt, none), child = make(rt, parent), grandchild = make(rt, child);
    troupe_token_free(child);
    cr_assert(troupe_token_cancelled(grandchild) && !troupe_token_cancelled(parent));
    troupe_token next = none;
    for (unsigned i = 0; i < 10000 && next.ref != child.ref; i++)
        next = make(rt, none);
    cr_assert_eq(next.ref, child.ref, "a living grandchild does not keep its record");
    cr_assert(troupe_token_cancelled(grandchild) && !troupe_token_cancelled(next));
    stop(rt);
}

Test(token, a_deep_tree_is_cancelled_without_recursion)
{
    enum { DEPTH = 1000000 / SLOWER };
    troupe_runtime *rt = start(1, &idle_root, NULL);
    troupe_token root = make(rt, none), leaf = root;
    for (unsigned i = 0; i < DEPTH; i++)
        leaf = make(rt, leaf);
    cr_assert(!troupe_token_cancelled(leaf));
    cr_assert(troupe_token_cancel(root));
    cr_assert(troupe_token_cancelled(leaf));
    cr_assert_eq(troupe_token_wait(leaf, TROUPE_FOREVER), 0);
    stop(rt);
}

/* Each round leaves nothing: freed in either order, with and without cancel, with living children. */
static void churn(troupe_runtime *rt, unsigned rounds)
{
    troupe_token held = none;
    for (unsigned i = 0; i < rounds; i++) {
        troupe_token parent = make(rt, none), child = make(rt, parent);
        if (i % 3 == 0)
            troupe_token_cancel(parent);
        if (i % 2 == 0)
            troupe_token_free(child);
        troupe_token_free(parent);
        if (i % 2) {
            troupe_token_free(held);
            held = child; /* outlives its parent */
        }
    }
    troupe_token_free(held);
}

Test(token, ten_million_tokens_leave_no_memory_behind)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    churn(rt, 1000);
    unsigned before = chunks(rt);
    uint64_t begin = clock_ns();
    churn(rt, 5000000 / SLOWER);
    double each = (double)(clock_ns() - begin) / (10000000.0 / SLOWER);
    cr_assert_eq(chunks(rt), before);
    fprintf(stderr, "token: new, cancel (a third) and free from outside: %.0f ns\n", each);
    stop(rt);
}

/* --- waiting threads -------------------------------------------------------------------------------------------- */

static void *wait_for_shared(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    bump(0);
    if (troupe_token_wait(shared[i], TROUPE_FOREVER) != 0)
        say("wait");
    bump(1);
    return NULL;
}

Test(token, a_thread_waits_until_an_ancestor_is_cancelled)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    pthread_t threads[4];
    troupe_token parent = make(rt, none);
    for (uintptr_t i = 0; i < 4; i++) {
        shared[i] = i % 2 ? make(rt, parent) : parent;
        pthread_create(&threads[i], NULL, wait_for_shared, (void *)i);
    }
    await_word(0, 4);
    cr_assert_eq(troupe_token_wait(parent, TROUPE_MS(5)), -ETIMEDOUT);
    cr_assert_eq(troupe_token_wait(parent, 0), -ETIMEDOUT);
    cr_assert_eq(word(1), 0);
    cr_assert(troupe_token_cancel(parent));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(troupe_token_wait(shared[1], TROUPE_FOREVER), 0);
    cr_assert_str_eq(world.trace, "");
    stop(rt);
}

Test(token, a_waiting_thread_is_let_go_when_the_token_is_freed_and_when_the_runtime_is_joined)
{
    troupe_runtime *rt = start(1, &idle_root, NULL);
    pthread_t threads[2];
    shared[0] = make(rt, none);
    shared[1] = make(rt, none);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, wait_for_shared, (void *)i);
    await_word(0, 2);
    troupe_token_free(shared[0]);
    pthread_join(threads[0], NULL);
    bool waits = false;
    while (!waits) { /* join is for threads that are in the call, not for those about to make it */
        pthread_mutex_lock(&rt->tokens.waiting);
        waits = !tr_list_empty(&rt->tokens.waiters);
        pthread_mutex_unlock(&rt->tokens.waiting);
        sched_yield();
    }
    stop(rt);
    pthread_join(threads[1], NULL);
    cr_assert_eq(word(1), 2);
    cr_assert_str_eq(world.trace, "");
}

static bool has_ended(troupe_runtime *rt)
{
    tr_lock_take(&rt->tokens.lock);
    bool ended = rt->tokens.ended;
    tr_lock_release(&rt->tokens.lock);
    return ended;
}

Test(token, cancelled_after_the_end_still_reaches_a_waiting_thread)
{
    enum { CHILDREN = 1000 };
    troupe_runtime *rt = start(1, &idle_root, NULL);
    pthread_t thread;
    troupe_token parent = make(rt, none);
    for (unsigned i = 0; i < CHILDREN; i++)
        shared[0] = make(rt, parent); /* the last one swept */
    troupe_runtime_request_stop(rt);
    while (!has_ended(rt))
        sched_yield();
    pthread_create(&thread, NULL, wait_for_shared, (void *)0);
    await_word(0, 1);
    cr_assert(troupe_token_cancel(parent));
    pthread_join(thread, NULL);
    cr_assert_eq(troupe_runtime_join(rt), 0);
}

/* --- asks ------------------------------------------------------------------------------------------------------- */

HANDLER(keep_it)
{
    troupe_keep(ctx, msg);
    bump(2);
}

HANDLER(reply_now)
{
    troupe_reply(ctx, msg, NULL, 0);
    bump(2);
}

static const troupe_behavior silent = {.name = "silent", .handlers = {[ASK] = ON(keep_it, 0)}};
static const troupe_behavior prompt = {.name = "prompt", .handlers = {[ASK] = ON(reply_now, 0)}};

ANSWER(say_status)
{
    say("%s", answer->status == -ECANCELED ? "cancelled" : answer->status == 0 ? "reply" : "other");
    if (bump(3) == word(4))
        troupe_stop_runtime(ctx, 0);
}

struct asker {
    troupe_addr other;
    bool in_call;
};

STARTED(ask_under_a_token)
{
    struct asker *asker = self;
    asker->other = troupe_spawn(ctx, &silent, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    cr_assert_eq(troupe_token_new(ctx, shared[0], &shared[1]), 0);
    troupe_under(ctx, shared[1]);
    troupe_ask(ctx, asker->other, ASK, NULL, 0, TROUPE_FOREVER, say_status, NULL);
    troupe_ask(ctx, asker->other, ASK, NULL, 0, TROUPE_SEC(100), say_status, NULL);
    troupe_under(ctx, none);
    troupe_ask(ctx, asker->other, ASK, NULL, 0, TROUPE_SEC(100), say_status, NULL);
    ck_pr_store_64(&world.word[4], 2);
    bump(0);
    return 0;
}

static const troupe_behavior asks_under = {
    .name = "asker", .state_size = sizeof(struct asker), .started = ask_under_a_token};

Test(token, asks_end_when_a_foreign_thread_cancels)
{
    troupe_runtime *rt = start(2, &asks_under, NULL);
    await_word(0, 1);
    await_word(2, 3);
    cr_assert(troupe_token_cancel(shared[0]));
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "cancelled cancelled");
}

HANDLER(cancel_shared)
{
    troupe_token_cancel(shared[0]);
}

static const troupe_behavior canceller = {.name = "canceller", .handlers = {[GO] = ON(cancel_shared, 0)}};

STARTED(ask_and_have_it_cancelled)
{
    ask_under_a_token(ctx, self, NULL);
    troupe_tell(ctx, troupe_spawn(ctx, &canceller, NULL, NULL), GO, NULL, 0);
    return 0;
}

static const troupe_behavior asks_cancelled_by_actor = {
    .name = "asker", .state_size = sizeof(struct asker), .started = ask_and_have_it_cancelled};

Test(token, asks_end_when_another_actor_cancels)
{
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        world_begin(workers);
        cr_assert_eq(run(&asks_cancelled_by_actor, NULL), 0);
        cr_assert_str_eq(world.trace, "cancelled cancelled");
    }
}

ANSWER(not_in_call)
{
    struct asker *asker = self;
    say(asker->in_call ? "inside" : "after");
    say_status(ctx, self, answer);
}

HANDLER(tell_end)
{
    say("message");
}

STARTED(ask_under_a_cancelled_token)
{
    struct asker *asker = self;
    troupe_token token;
    asker->other = troupe_spawn(ctx, &prompt, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, none, &token), 0);
    troupe_token_cancel(token);
    troupe_under(ctx, token);
    asker->in_call = true;
    if (troupe_ask(ctx, asker->other, ASK, NULL, 0, TROUPE_SEC(100), not_in_call, NULL) != 0)
        say("refused");
    troupe_token_free(token);
    if (troupe_ask(ctx, asker->other, ASK, NULL, 0, 0, not_in_call, NULL) != 0)
        say("refused");
    if (troupe_send_after(ctx, 0, troupe_self(ctx), TICK, NULL, 0, NULL) != -ECANCELED ||
        troupe_send_every(ctx, 1, troupe_self(ctx), TICK, NULL, 0, NULL) != -ECANCELED)
        say("timer");
    troupe_listener listener;
    troupe_stream stream;
    troupe_file file;
    troupe_listen_options listen = {.accepted = ACCEPTED};
    troupe_stream_options options = {.data = DATA};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (troupe_listen(ctx, &listen, &listener) != -ECANCELED ||
        troupe_stream_adopt(ctx, fd, &options, &stream) != -ECANCELED || close(fd) != 0 ||
        troupe_file_open(ctx, "/dev/null", O_RDONLY, 0, DONE, &file) != -ECANCELED)
        say("port");
    asker->in_call = false;
    ck_pr_store_64(&world.word[4], 2);
    return 0;
}

static const troupe_behavior asks_too_late = {.name = "asker",
                                              .state_size = sizeof(struct asker),
                                              .started = ask_under_a_cancelled_token,
                                              .handlers = {[TICK] = ON(tell_end, 0)}};

Test(token, nothing_begins_under_a_cancelled_token_and_asks_end_at_once)
{
    world_begin(1);
    cr_assert_eq(run(&asks_too_late, NULL), 0);
    cr_assert_str_eq(world.trace, "after cancelled after cancelled");
    cr_assert_eq(word(2), 0, "nothing was sent");
    cr_assert_eq(dead_total(), 0);
}

enum { REPLIES = 200 }; /* so many that the last are told in the background, after the replies */

ANSWER(count_status)
{
    bump(answer->status == -ECANCELED ? 5 : 6);
    if (bump(3) == REPLIES)
        troupe_stop_runtime(ctx, 0);
}

HANDLER(ask_wait_and_cancel)
{
    struct asker *asker = self;
    troupe_token token;
    cr_assert_eq(troupe_token_new(ctx, none, &token), 0);
    troupe_under(ctx, token);
    for (unsigned i = 0; i < REPLIES; i++)
        troupe_ask(ctx, asker->other, ASK, NULL, 0, TROUPE_FOREVER, count_status, NULL);
    await_word(2, REPLIES); /* the replies are in the mailbox, but for the last perhaps */
    troupe_token_cancel(token);
}

STARTED(spawn_prompt)
{
    struct asker *asker = self;
    asker->other = troupe_spawn(ctx, &prompt, NULL, NULL);
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior cancels_late = {.name = "asker",
                                             .state_size = sizeof(struct asker),
                                             .started = spawn_prompt,
                                             .handlers = {[GO] = ON(ask_wait_and_cancel, 0)}};

Test(token, a_cancel_wins_over_a_reply_that_was_not_handled)
{
    world_begin(2);
    cr_assert_eq(run(&cancels_late, NULL), 0);
    cr_assert_eq(word(5), REPLIES);
    cr_assert_eq(world.dead[TROUPE_DEAD_LATE_REPLY], REPLIES);
}

/* Replies, time-outs and cancels race for the same asks. */
enum { RACERS = 8, RACES = 400, LAST = 128 };

struct racer {
    troupe_addr prompt, silent;
    unsigned asked, answered;
    uint8_t done[RACES * 3];
    troupe_token tokens[LAST]; /* of the last rounds */
};

ANSWER(race_done)
{
    struct racer *racer = self;
    unsigned i = (unsigned)(uintptr_t)answer->arg;
    if (racer->done[i]++)
        say("twice");
    bump(answer->status == 0 ? 10 : answer->status == -ETIMEDOUT ? 11 : answer->status == -ECANCELED ? 12 : 13);
    if (++racer->answered == RACES * 3 && bump(14) == RACERS)
        troupe_stop_runtime(ctx, 0);
}

HANDLER(race)
{
    struct racer *racer = self;
    unsigned n = racer->asked / 3;
    troupe_token *token = &racer->tokens[n % LAST];
    troupe_token_free(*token); /* with what is left of that round */
    cr_assert_eq(troupe_token_new(ctx, none, token), 0);
    troupe_under(ctx, *token);
    for (unsigned i = 0; i < 3; i++)
        troupe_ask(ctx, i == 0 ? racer->silent : racer->prompt, ASK, NULL, 0, i == 0 ? TROUPE_MS(1) : TROUPE_SEC(50),
                   race_done, (void *)(uintptr_t)racer->asked++);
    if (n % 2)
        troupe_tell(ctx, world.addr[0], CANCELLED, token, sizeof *token);
    if (racer->asked < RACES * 3)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

HANDLER(cancel_payload)
{
    troupe_token_cancel(*(const troupe_token *)troupe_payload(msg));
}

static const troupe_behavior race_canceller = {.name = "canceller",
                                               .handlers = {[CANCELLED] = ON(cancel_payload, sizeof(troupe_token))}};

STARTED(racer_started)
{
    struct racer *racer = self;
    racer->prompt = troupe_spawn(ctx, &prompt, NULL, NULL);
    racer->silent = troupe_spawn(ctx, &silent, NULL, NULL);
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior racer = {
    .name = "racer", .state_size = sizeof(struct racer), .started = racer_started, .handlers = {[GO] = ON(race, 0)}};

STARTED(start_race)
{
    world.addr[0] = troupe_spawn(ctx, &race_canceller, NULL, NULL);
    for (unsigned i = 0; i < RACERS; i++)
        troupe_spawn(ctx, &racer, NULL, NULL);
    return 0;
}

static const troupe_behavior race_root = {.name = "races", .started = start_race};

Test(token, each_ask_ends_once_when_reply_timeout_and_cancel_race)
{
    world_begin(4);
    cr_assert_eq(run(&race_root, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(10) + word(11) + word(12), RACERS * RACES * 3);
    cr_assert_eq(word(13), 0);
    cr_assert(word(10) > 0 && word(11) > 0 && word(12) > 0, "they race: %lu %lu %lu", word(10), word(11), word(12));
}

/* Asks, timers and notifications under tokens of one's own, ended in all ways: nothing of them is left. */
enum { ROUNDS = 200000 / SLOWER, WARM = ROUNDS / 10 };

struct churner {
    troupe_addr other;
    unsigned rounds, ended, chunks;
};

static void next_round(troupe_ctx *ctx, struct churner *c)
{
    const troupe_runtime *rt = troupe_ctx_runtime(ctx);
    if (++c->rounds == WARM)
        c->chunks = chunks(rt);
    if (c->rounds < ROUNDS) {
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
        return;
    }
    if (chunks(rt) > c->chunks + 1)
        say("%u chunks became %u", c->chunks, chunks(rt));
    troupe_stop_runtime(ctx, 0);
}

ANSWER(churned)
{
    struct churner *c = self;
    if (++c->ended % 2 == 0)
        next_round(ctx, c);
}

HANDLER(churn_asks)
{
    struct churner *c = self;
    troupe_token token, parent;
    cr_assert_eq(troupe_token_new(ctx, none, &parent), 0);
    cr_assert_eq(troupe_token_new(ctx, parent, &token), 0);
    troupe_under(ctx, token);
    if (c->rounds % 3 == 1)
        troupe_token_cancel(token);
    troupe_ask(ctx, c->other, ASK, NULL, 0, TROUPE_SEC(100), churned, NULL);
    troupe_ask(ctx, c->other, ASK, NULL, 0, TROUPE_FOREVER, churned, NULL);
    troupe_timer timer;
    if (troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, &timer) == 0 && c->rounds % 3 == 2)
        troupe_timer_cancel(ctx, timer);
    cr_assert_eq(troupe_token_notify(ctx, parent, CANCELLED), 0);
    if (c->rounds % 3 == 0)
        troupe_token_cancel(parent);
    troupe_token_free(parent); /* what was not answered by now is cancelled */
    troupe_token_free(token);
}

HANDLER(count_notice)
{
    bump(9);
}

STARTED(begin_churn)
{
    struct churner *c = self;
    c->other = troupe_spawn(ctx, &prompt, NULL, NULL);
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior churner = {
    .name = "churner",
    .state_size = sizeof(struct churner),
    .started = begin_churn,
    .handlers = {[GO] = ON(churn_asks, 0), [CANCELLED] = ON(count_notice, sizeof(troupe_token))}};

Test(token, what_was_begun_under_tokens_leaves_no_memory_behind)
{
    world_begin(1);
    cr_assert_eq(run(&churner, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_geq(word(9), ROUNDS - 1, "the last one may come after the end");
}

/* --- the ambient token ------------------------------------------------------------------------------------------ */

HANDLER(under_and_return)
{
    troupe_under(ctx, tr_token_stale(&troupe_ctx_runtime(ctx)->tokens));
    if (troupe_send_after(ctx, 0, troupe_self(ctx), TICK, NULL, 0, NULL) == -ECANCELED)
        say("under");
    troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
}

HANDLER(under_and_panic)
{
    if (troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, NULL) == 0)
        say("cleared");
    troupe_under(ctx, tr_token_stale(&troupe_ctx_runtime(ctx)->tokens));
    troupe_panic(ctx, "under a token");
}

RESTARTED(cleared_by_panic)
{
    if (troupe_send_after(ctx, 0, troupe_self(ctx), STOP, NULL, 0, NULL) == 0)
        say("cleared");
}

static const troupe_behavior ambient = {
    .name = "ambient",
    .restarted = cleared_by_panic,
    .handlers = {[GO] = ON(under_and_return, 0), [PANIC] = ON(under_and_panic, 0), [STOP] = ON(stop_all, 0)}};

Test(token, the_ambient_token_ends_with_its_handler)
{
    troupe_addr addr;
    troupe_runtime *rt = start(1, &ambient, &addr);
    troupe_runtime_tell(rt, addr, GO, NULL, 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "under cleared cleared");
}

/* --- timers ----------------------------------------------------------------------------------------------------- */

struct timers {
    troupe_timer once, every, free;
    unsigned ticks;
};

HANDLER(tick)
{
    struct timers *t = self;
    if (troupe_token_cancelled(shared[0]))
        say("late tick");
    if (++t->ticks != 3)
        return;
    troupe_token_cancel(shared[0]);
    troupe_tell(ctx, troupe_self(ctx), DONE, NULL, 0);
}

HANDLER(timers_gone)
{
    struct timers *t = self;
    if (troupe_timer_cancel(ctx, t->once) || troupe_timer_cancel(ctx, t->every) || !troupe_timer_cancel(ctx, t->free))
        say("handles");
    troupe_send_after(ctx, TROUPE_MS(10), troupe_self(ctx), STOP, NULL, 0, NULL);
}

STARTED(arm_under)
{
    struct timers *t = self;
    troupe_timer gone;
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    troupe_under(ctx, shared[0]);
    troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, &t->once);
    troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), TICK, NULL, 0, &t->every);
    troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, &gone);
    if (!troupe_timer_cancel(ctx, gone)) /* its hook goes with it */
        say("cancel");
    troupe_under(ctx, none);
    return troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, &t->free);
}

static const troupe_behavior timers = {
    .name = "timers",
    .state_size = sizeof(struct timers),
    .started = arm_under,
    .stopped = keep_stats,
    .handlers = {[TICK] = ON(tick, 0), [DONE] = ON(timers_gone, 0), [STOP] = ON(stop_all, 0)}};

Test(token, timers_are_cancelled_with_it)
{
    world_begin(1);
    cr_assert_eq(run(&timers, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.stats.timers_armed, 0);
}

/* --- streams and listeners -------------------------------------------------------------------------------------- */

struct net {
    troupe_listener listener;
    troupe_stream under, free;
    int peers[2];
};

HANDLER(stream_closed)
{
    struct net *net = self;
    const troupe_closed *closed = troupe_payload(msg);
    if (closed->stream.ref == net->under.ref && closed->status == -ECANCELED &&
        troupe_stream_write(ctx, net->under, "x", 1) == -EBADF) {
        char byte;
        say("cancelled");
        if (recv(net->peers[0], &byte, 1, MSG_DONTWAIT) != 0)
            say("no end of stream");
        if (troupe_listener_port(ctx, net->listener) != -EBADF)
            say("listener");
        troupe_stream_close(ctx, net->free, false);
        return;
    }
    say("closed %d", closed->status);
    close(net->peers[0]);
    close(net->peers[1]);
    troupe_stop_runtime(ctx, 0);
}

HANDLER(unexpected)
{
    say("unexpected %u", troupe_kind(msg));
}

static troupe_stream adopt(troupe_ctx *ctx, int *peer)
{
    troupe_stream_options options = {.data = DATA, .closed = CLOSED, .wants_closed = true};
    troupe_stream stream;
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(troupe_stream_adopt(ctx, pair[1], &options, &stream), 0);
    cr_assert_eq(troupe_stream_read(ctx, stream, 0), 0);
    *peer = pair[0];
    return stream;
}

STARTED(open_ports)
{
    struct net *net = self;
    troupe_listen_options options = {.accepted = ACCEPTED};
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    troupe_under(ctx, shared[0]);
    net->under = adopt(ctx, &net->peers[0]);
    cr_assert_eq(troupe_listen(ctx, &options, &net->listener), 0);
    troupe_under(ctx, none);
    net->free = adopt(ctx, &net->peers[1]);
    troupe_token_cancel(shared[0]);
    return 0;
}

static const troupe_behavior net = {.name = "net",
                                    .state_size = sizeof(struct net),
                                    .started = open_ports,
                                    .stopped = keep_stats,
                                    .handlers = {[DATA] = ON(unexpected, sizeof(troupe_data)),
                                                 [ACCEPTED] = ON(unexpected, sizeof(troupe_accepted)),
                                                 [CLOSED] = ON(stream_closed, sizeof(troupe_closed))}};

Test(token, streams_and_listeners_are_closed_with_it)
{
    unsigned fds = open_fds();
    world_begin(1);
    cr_assert_eq(run(&net, NULL), 0);
    cr_assert_str_eq(world.trace, "cancelled closed 0");
    cr_assert_eq(open_fds(), fds);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

/* Operations on a pipe wait for its other end, so they are in flight for as long as the test wants. */
enum { READ_UNDER = 1, WRITE_BEGUN, WRITE_UNDER, WRITE_BEHIND, READ_AFTER, PIPE_FULL = 1 << 20 };

static char fifo_path[2][64];

struct files {
    troupe_file in, out, plain;
    unsigned results;
};

static void make_fifos(void)
{
    for (unsigned i = 0; i < 2; i++) {
        snprintf(fifo_path[i], sizeof fifo_path[i], "/tmp/troupe-token-%d-%u", (int)getpid(), i);
        cr_assert_eq(mkfifo(fifo_path[i], 0600), 0);
    }
}

HANDLER(file_done)
{
    struct files *f = self;
    const troupe_file_done *done = troupe_payload(msg);
    say("%u:%s%s", (unsigned)done->tag,
        done->status == -ECANCELED ? "cancelled"
        : done->status == 0        ? "ok"
                                   : troupe_strerror(done->status),
        done->length ? "+" : "");
    if (done->tag == READ_UNDER)
        bump(0); /* the write in flight goes on: let it */
    if (++f->results == 4)
        troupe_file_read(ctx, f->plain, 0, 16, READ_AFTER);
    if (f->results == 5)
        troupe_stop_runtime(ctx, 0);
}

static char big[PIPE_FULL];

static size_t fill(const char *path)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    size_t bytes = 0;
    for (ssize_t n; (n = write(fd, big, 4096)) > 0;)
        bytes += (size_t)n;
    close(fd);
    return bytes;
}

STARTED(begin_files)
{
    struct files *f = self;
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    troupe_under(ctx, shared[0]);
    cr_assert_eq(troupe_file_open(ctx, fifo_path[0], O_RDWR, 0, DONE, &f->in), 0);
    cr_assert_eq(troupe_file_open(ctx, fifo_path[1], O_RDWR, 0, DONE, &f->out), 0);
    cr_assert_eq(troupe_file_open(ctx, "/proc/self/status", O_RDONLY, 0, DONE, &f->plain), 0);
    world.word[5] = (uint64_t)open(fifo_path[1], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    world.word[6] = fill(fifo_path[1]); /* so that the first write waits before its first byte */
    cr_assert_eq(troupe_file_read(ctx, f->in, 0, 16, READ_UNDER), 0);
    cr_assert_eq(troupe_file_write(ctx, f->out, 0, big, sizeof big, NULL, NULL, WRITE_BEGUN), 0);
    cr_assert_eq(troupe_file_write(ctx, f->out, 0, "two", 3, NULL, NULL, WRITE_UNDER), 0);
    troupe_under(ctx, none);
    cr_assert_eq(troupe_file_write(ctx, f->out, 0, "three", 5, NULL, NULL, WRITE_BEHIND), 0);
    bump(1);
    return 0;
}

static const troupe_behavior files = {.name = "files",
                                      .state_size = sizeof(struct files),
                                      .started = begin_files,
                                      .handlers = {[DONE] = ON(file_done, sizeof(troupe_file_done))}};

Test(token, file_operations_end_with_it_unless_they_write_already)
{
    static char sink[65536];
    make_fifos();
    troupe_runtime *rt = start(2, &files, NULL);
    await_word(1, 1);
    cr_assert(troupe_token_cancel(shared[0]));
    await_word(0, 1);
    ssize_t n;
    size_t seen = 0;
    while (seen < PIPE_FULL + word(6))
        if ((n = read((int)word(5), sink, sizeof sink)) > 0)
            seen += (size_t)n;
        else
            sched_yield();
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "1:cancelled 2:ok+ 3:cancelled 4:cancelled 5:ok+");
    cr_assert_eq(read((int)word(5), sink, 1), 0, "nothing behind it was written");
    close((int)word(5));
    unlink(fifo_path[0]);
    unlink(fifo_path[1]);
}

/* --- notifications ---------------------------------------------------------------------------------------------- */

HANDLER(notified)
{
    const troupe_token *token = troupe_payload(msg);
    say("told %s", token->ref == shared[0].ref ? "first" : token->ref == shared[1].ref ? "second" : "other");
    if (!troupe_token_cancelled(*token) || !troupe_addr_same(troupe_sender(msg), troupe_self(ctx)))
        say("wrong");
    if (bump(0) == 3)
        troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), STOP, NULL, 0, NULL);
}

STARTED(ask_to_be_told)
{
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    cr_assert_eq(troupe_token_new(ctx, shared[0], &shared[1]), 0);
    cr_assert_eq(troupe_token_new(ctx, none, &shared[2]), 0);
    cr_assert_eq(troupe_token_notify(ctx, shared[1], CANCELLED), 0);
    cr_assert_eq(troupe_token_notify(ctx, shared[2], CANCELLED), 0); /* never */
    cr_assert_eq(troupe_token_notify(ctx, none, CANCELLED), 0);      /* never */
    troupe_token_cancel(shared[0]);
    cr_assert_eq(troupe_token_notify(ctx, shared[0], CANCELLED), 0);
    troupe_token_free(shared[0]);
    cr_assert_eq(troupe_token_notify(ctx, shared[0], CANCELLED), 0);
    return 0;
}

static const troupe_behavior told = {
    .name = "told",
    .started = ask_to_be_told,
    .handlers = {[CANCELLED] = ON(notified, sizeof(troupe_token)), [STOP] = ON(stop_all, 0)}};

Test(token, an_actor_is_told_once_by_message)
{
    world_begin(1);
    cr_assert_eq(run(&told, NULL), 0);
    cr_assert_str_eq(world.trace, "told first told first told second");
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "with a notification");
}

STARTED(told_no_more)
{
    if (troupe_incarnation(ctx) > 1) {
        troupe_token_cancel(shared[0]);
        return troupe_send_after(ctx, TROUPE_MS(5), troupe_self(ctx), STOP, NULL, 0, NULL);
    }
    cr_assert_eq(troupe_token_notify(ctx, shared[0], CANCELLED), 0);
    troupe_under(ctx, shared[0]);
    troupe_send_after(ctx, TROUPE_SEC(100), troupe_self(ctx), TICK, NULL, 0, NULL);
    troupe_ask(ctx, troupe_spawn(ctx, &silent, NULL, NULL), ASK, NULL, 0, TROUPE_FOREVER, say_status, NULL);
    bump(5);
    return 0;
}

static const troupe_behavior forgets = {.name = "forgets",
                                        .started = told_no_more,
                                        .stopped = keep_stats,
                                        .handlers = {[CANCELLED] = ON(unexpected, sizeof(troupe_token)),
                                                     [TICK] = ON(unexpected, 0),
                                                     [PANIC] = ON(panic_now, 0),
                                                     [STOP] = ON(stop_all, 0)}};

static const troupe_behavior *tested;

HANDLER(start_tested)
{
    world.addr[1] = troupe_spawn(ctx, tested, NULL, NULL);
}

HANDLER(end_tested)
{
    troupe_stop(ctx, world.addr[1]);
}

static const troupe_behavior nursery = {
    .name = "nursery", .handlers = {[GO] = ON(start_tested, 0), [DONE] = ON(end_tested, 0), [STOP] = ON(stop_all, 0)}};

Test(token, what_was_begun_is_forgotten_with_its_incarnation)
{
    troupe_addr root;
    tested = &forgets;
    troupe_runtime *rt = start(1, &nursery, &root); /* another worker's wheel would let go of the timers later */
    shared[0] = make(rt, none);
    troupe_runtime_tell(rt, root, GO, NULL, 0);
    await_word(5, 1);
    troupe_runtime_tell(rt, world.addr[1], PANIC, NULL, 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.stats.timers_armed, 0);
}

/* --- an actor's own tokens -------------------------------------------------------------------------------------- */

static void look(const char *when)
{
    say("%s:%d%d%d%d", when, troupe_token_cancelled(shared[0]), troupe_token_cancelled(shared[1]),
        troupe_token_cancelled(shared[2]), troupe_token_cancelled(shared[3]));
}

static void own_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)self, (void)crash;
    look("crashed");
    troupe_token token;
    if (troupe_token_new(ctx, none, &token) != 0 || !troupe_token_cancelled(token) ||
        !troupe_token_cancelled(troupe_stop_token(ctx)))
        say("new");
}

STOPPED(own_stopped)
{
    look("stopped");
    if (troupe_stop_token(ctx).ref != shared[0].ref || troupe_token_cancelled(troupe_stopped_token(ctx)))
        say("own");
}

STARTED(own_started)
{
    troupe_token stop_token = troupe_stop_token(ctx), stopped = troupe_stopped_token(ctx);
    if (troupe_incarnation(ctx) > 1)
        look("restarted");
    if (stop_token.ref != troupe_stop_token(ctx).ref || stopped.ref != troupe_stopped_token(ctx).ref)
        say("twice");
    if (troupe_incarnation(ctx) > 1 && stopped.ref != shared[1].ref)
        say("another stopped token");
    shared[0] = stop_token;
    shared[1] = stopped;
    cr_assert_eq(troupe_token_new(ctx, none, &shared[2]), 0);
    cr_assert_eq(troupe_token_new(ctx, stop_token, &shared[3]), 0);
    look("started");
    bump(0);
    return 0;
}

static const troupe_behavior own = {.name = "own",
                                    .started = own_started,
                                    .stopped = own_stopped,
                                    .crashed = own_crashed,
                                    .handlers = {[PANIC] = ON(panic_now, 0)}};

Test(token, an_actor_has_a_token_for_its_stop_and_one_for_its_end)
{
    troupe_addr root;
    tested = &own;
    troupe_runtime *rt = start(1, &nursery, &root);
    troupe_runtime_tell(rt, root, GO, NULL, 0);
    await_word(0, 1);
    troupe_token first = shared[0], made = shared[2], below = shared[3], stopped = shared[1];
    troupe_runtime_tell(rt, world.addr[1], PANIC, NULL, 0);
    await_word(0, 2);
    cr_assert(troupe_token_cancelled(first) && troupe_token_cancelled(made) && troupe_token_cancelled(below));
    cr_assert(first.ref != shared[0].ref || first.generation != shared[0].generation);
    troupe_runtime_tell(rt, root, STOP, NULL, 0);
    cr_assert_eq(troupe_token_wait(stopped, TROUPE_FOREVER), 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "started:0000 crashed:1011 restarted:1011 started:0000 stopped:1001");
}

/* --- a million descendants -------------------------------------------------------------------------------------- */

enum { MANY = 1000000 / SLOWER };

static uint64_t longest_gap_ns, call_ns, sweep_began_ns, sweep_ns;

HANDLER(watch_the_clock)
{
    uint64_t *last = self, now = clock_ns();
    if (*last && word(0) && now - *last > longest_gap_ns)
        longest_gap_ns = now - *last;
    *last = now;
    troupe_tell(ctx, troupe_self(ctx), TICK, NULL, 0);
}

static const troupe_behavior watcher = {
    .name = "watcher", .state_size = sizeof(uint64_t), .handlers = {[TICK] = ON(watch_the_clock, 0)}};

HANDLER(swept)
{
    sweep_ns = clock_ns() - sweep_began_ns;
    troupe_stop_runtime(ctx, 0);
}

HANDLER(cancel_million)
{
    bump(0);
    sweep_began_ns = clock_ns();
    troupe_token_cancel(shared[0]);
    call_ns = clock_ns() - sweep_began_ns;
    if (!troupe_token_cancelled(shared[1]))
        say("not at once");
}

ANSWER(unheeded) {}

/* Half of them hang on the root, the others below those. Each tenth has a hook: mostly an ask's. */
STARTED(make_million)
{
    troupe_addr other = troupe_spawn(ctx, &silent, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert_eq(troupe_token_new(ctx, i % 2 ? shared[1] : shared[0], &shared[1]), 0);
        troupe_under(ctx, shared[1]);
        if (i % 10 == 0)
            troupe_ask(ctx, other, ASK, NULL, 0, TROUPE_FOREVER, unheeded, NULL);
    }
    troupe_under(ctx, none);
    cr_assert_eq(troupe_token_notify(ctx, shared[1], DONE), 0); /* the last one of the sweep */
    troupe_tell(ctx, troupe_spawn(ctx, &watcher, NULL, NULL), TICK, NULL, 0);
    return troupe_send_after(ctx, TROUPE_MS(50), troupe_self(ctx), GO, NULL, 0, NULL);
}

static const troupe_behavior million = {
    .name = "million",
    .started = make_million,
    .handlers = {[GO] = ON(cancel_million, 0), [DONE] = ON(swept, sizeof(troupe_token))}};

Test(token, a_million_descendants_do_not_hold_up_the_worker)
{
    longest_gap_ns = call_ns = sweep_ns = 0;
    world_begin(1);
    cr_assert_eq(run(&million, NULL), 0);
    fprintf(stderr,
            "token: %d descendants: the call %.1f us, told within %.1f ms, longest gap of another actor %.2f ms\n",
            MANY, (double)call_ns / 1e3, (double)sweep_ns / 1e6, (double)longest_gap_ns / 1e6);
    cr_assert_str_eq(world.trace, "");
    cr_assert_lt(call_ns, TROUPE_MS(10));
    cr_assert(longest_gap_ns < TROUPE_MS(10) || longest_gap_ns < sweep_ns / 4);
}

/* A timer is silent from the call on, although it is told last. */
struct metronome {
    troupe_token last;
    unsigned ticks, late;
    bool cancelled;
};

HANDLER(tick_or_cancel)
{
    struct metronome *m = self;
    m->late += m->cancelled;
    if (++m->ticks == 3)
        m->cancelled = troupe_token_cancel(shared[0]);
}

HANDLER(metronome_told)
{
    struct metronome *m = self;
    say("%s", m->late <= 1 ? "silent" : "late"); /* one may have been in the mailbox */
    troupe_stop_runtime(ctx, 0);
}

STARTED(make_metronome)
{
    struct metronome *m = self;
    cr_assert_eq(troupe_token_new(ctx, none, &shared[0]), 0);
    for (unsigned i = 0; i < MANY; i++)
        cr_assert_eq(troupe_token_new(ctx, shared[0], &m->last), 0);
    troupe_under(ctx, m->last);
    cr_assert_eq(troupe_send_every(ctx, TROUPE_MS(1), troupe_self(ctx), TICK, NULL, 0, NULL), 0);
    cr_assert_eq(troupe_token_notify(ctx, m->last, DONE), 0);
    return 0;
}

static const troupe_behavior metronome = {
    .name = "metronome",
    .state_size = sizeof(struct metronome),
    .started = make_metronome,
    .handlers = {[TICK] = ON(tick_or_cancel, 0), [DONE] = ON(metronome_told, sizeof(troupe_token))}};

Test(token, a_timer_is_silent_as_soon_as_its_token_is_cancelled)
{
    world_begin(1);
    cr_assert_eq(run(&metronome, NULL), 0);
    cr_assert_str_eq(world.trace, "silent");
}

/* The same number, owned by an incarnation that ends: the actor's end does not wait for them. */
HANDLER(count_down)
{
    bump(6);
}

STARTED(own_a_million)
{
    for (unsigned i = 0; i < MANY; i++)
        cr_assert_eq(troupe_token_new(ctx, none, &shared[1]), 0);
    cr_assert_eq(troupe_token_new(ctx, none, &shared[2]), 0);
    bump(5);
    return 0;
}

static const troupe_behavior rich = {
    .name = "rich", .started = own_a_million, .handlers = {[TICK] = ON(count_down, 0)}};

Test(token, a_million_owned_tokens_go_with_their_incarnation)
{
    troupe_addr root;
    tested = &rich;
    troupe_runtime *rt = start(1, &nursery, &root);
    for (unsigned i = 0; i < 2; i++) {
        unsigned before = chunks(rt);
        troupe_runtime_tell(rt, root, GO, NULL, 0);
        await_word(5, i + 1);
        troupe_token last = shared[2];
        troupe_token watch = make(rt, last);
        if (i == 1)
            cr_assert_leq(chunks(rt), before + 2, "the first million's memory is used again");
        cr_assert_eq(troupe_token_wait(watch, 0), -ETIMEDOUT);
        troupe_runtime_tell(rt, root, DONE, NULL, 0);
        cr_assert_eq(troupe_token_wait(watch, TROUPE_FOREVER), 0);
        troupe_token_free(watch);
    }
    stop(rt);
}
