/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines and tokens that messages carry: what is over is not handled, and asks inherit. Time is only ever waited for by
 * who makes another one late, on a single worker; what must not be late has an hour. */
#include "../support/sanitizer.h"
#include "world.h"

enum { GO, NEXT, WORK, DEEP, PLAIN, LATER };
enum { HANDLED, DROPPED, ENDED, SEEN, INHERITED, TOKEN_SEEN, ROOM, SENT, DONE }; /* words */
enum { ROOT, FIRST, SECOND, THIRD };                                             /* addresses */

#define HOUR TROUPE_SEC(3600)
#define SHORT TROUPE_US(50)

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TROUPE_SEC(1) + (uint64_t)now.tv_nsec;
}

/* Until what was given so long before has certainly passed. */
static void outlast(uint64_t timeout_ns)
{
    uint64_t until = clock_ns() + timeout_ns + TROUPE_US(50);
    while (clock_ns() < until)
        ;
}

static void set(unsigned i, uint64_t value)
{
    ck_pr_store_64(&world.word[i], value);
}

static bool same_token(troupe_token a, troupe_token b)
{
    return a.ref == b.ref && a.generation == b.generation;
}

HANDLER(count_it)
{
    bump(HANDLED);
}

HANDLER(reply_to_it)
{
    bump(HANDLED);
    troupe_reply(ctx, msg, NULL, 0);
}

static void count_drop(const void *payload, size_t size)
{
    (void)payload, (void)size;
    bump(DROPPED);
}

HANDLER(end)
{
    troupe_stop_runtime(ctx, 0);
}

/* Behind all that is due by now: what is sent is handled before, and asks that are over have ended. */
static void end_soon(troupe_ctx *ctx)
{
    troupe_send_after(ctx, TROUPE_MS(5), world.addr[ROOT], LATER, NULL, 0, NULL);
}

ANSWER(ended)
{
    bump(ENDED);
    say("%d", answer->status);
}

ANSWER(ended_then_end)
{
    bump(ENDED);
    say("%d", answer->status);
    end_soon(ctx);
}

static const troupe_behavior worker = {
    .name = "worker",
    .handlers = {[WORK] = {.name = "work", .fn = reply_to_it, .size = TROUPE_ANY_SIZE, .drop = count_drop},
                 [PLAIN] = ON(count_it, TROUPE_ANY_SIZE)},
};

static char trace_of(int status)
{
    return (char)(status == -ETIMEDOUT ? 'T' : status == -ECANCELED ? 'C' : status == 0 ? '0' : '?');
}

#define DEFINE_ROOT(name_, ...)                                                                                        \
    static const troupe_behavior name_ = {.name = #name_,                                                              \
                                          .started = name_##_started,                                                  \
                                          .stopped = keep_stats,                                                       \
                                          .handlers = {[LATER] = ON(end, 0), __VA_ARGS__}}

/* --- what is over at the dequeue ----------------------------------------------------------------------------------- */

STARTED(expiring_started)
{
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &worker, NULL, NULL);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, "abc", 3, SHORT, ended_then_end, NULL), 0);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, "abc", 3, SHORT), 0);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], PLAIN, "abc", 3, HOUR), 0);
    outlast(SHORT);
    return 0;
}

DEFINE_ROOT(expiring);

Test(envelope, what_expires_in_the_mailbox_is_not_handled)
{
    world_begin(1);
    cr_assert_eq(run(&expiring, NULL), 0);
    cr_assert_eq(word(HANDLED), 1, "the one with an hour");
    cr_assert_eq(word(DROPPED), 2);
    cr_assert_eq(word(ENDED), 1);
    cr_assert_eq(trace_of(atoi(world.trace)), 'T');
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 2);
    cr_assert_eq(dead_total(), 2, "no late reply beside it");
    cr_assert_eq(world.stats.dead_letters[TROUPE_DEAD_EXPIRED], 2);
    cr_assert_eq(world.last_dead.size, 3);
    cr_assert(troupe_addr_same(world.last_dead.to, world.addr[FIRST]));
    cr_assert(troupe_addr_same(world.last_dead.from, world.addr[ROOT]));
}

STARTED(alone_started)
{
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &worker, NULL, NULL);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, "abc", 3, SHORT, ended_then_end, NULL), 0);
    outlast(SHORT);
    return 0;
}

DEFINE_ROOT(alone);

/* Then it is the mailbox's mark, whose block is let go of later. */
Test(envelope, what_expires_alone_is_answered_once)
{
    world_begin(1);
    cr_assert_eq(run(&alone, NULL), 0);
    cr_assert_eq(trace_of(atoi(world.trace)), 'T');
    cr_assert_eq(word(ENDED), 1);
    cr_assert_eq(word(DROPPED), 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 1);
    cr_assert_eq(dead_total(), 1, "no late reply beside it");
}

STARTED(cancelling_started)
{
    troupe_token parent, token;
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &worker, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &parent), 0);
    cr_assert_eq(troupe_token_new(ctx, parent, &token), 0);
    troupe_under(ctx, token);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, "abc", 3, HOUR, ended_then_end, NULL), 0);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, "abc", 3, TROUPE_FOREVER), 0);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, "abc", 3, SHORT), 0);
    cr_assert_eq(troupe_tell(ctx, world.addr[FIRST], PLAIN, NULL, 0), 0, "carries nothing");
    outlast(SHORT);
    troupe_token_cancel(parent);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, NULL, 0, HOUR), -ECANCELED);
    troupe_msg *msg = troupe_compose(ctx, WORK, 100);
    cr_assert_eq(troupe_send_within(ctx, world.addr[FIRST], msg, HOUR), -ECANCELED);
    return 0;
}

DEFINE_ROOT(cancelling);

Test(envelope, what_is_cancelled_in_the_mailbox_is_not_handled)
{
    world_begin(1);
    cr_assert_eq(run(&cancelling, NULL), 0);
    cr_assert_eq(word(HANDLED), 1, "the plain one");
    cr_assert_eq(word(DROPPED), 3);
    cr_assert_eq(word(ENDED), 1);
    cr_assert_eq(trace_of(atoi(world.trace)), 'C');
    cr_assert_eq(world.dead[TROUPE_DEAD_CANCELLED], 3, "also what is both");
    cr_assert_eq(dead_total(), 3);
}

Test(envelope, the_reasons_have_names)
{
    cr_assert_str_eq(troupe_dead_reason_name(TROUPE_DEAD_EXPIRED), "expired");
    cr_assert_str_eq(troupe_dead_reason_name(TROUPE_DEAD_CANCELLED), "cancelled");
}

/* --- a drop that panics -------------------------------------------------------------------------------------------- */

static void panicking_drop(const void *payload, size_t size)
{
    (void)size;
    bump(DROPPED);
    troupe_panic(*(troupe_ctx *const *)payload, "in drop"); /* on one worker there is one context */
}

static const troupe_behavior fragile = {
    .name = "fragile",
    .handlers = {[WORK] = {.name = "work", .fn = count_it, .size = TROUPE_ANY_SIZE, .drop = panicking_drop},
                 [PLAIN] = ON(count_it, 0)},
};

STARTED(dropping_started)
{
    static union {
        troupe_ctx *ctx;
        char bytes[20000];
    } large; /* from the heap: what is not freed is found by the address sanitizer */
    large.ctx = ctx;
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &fragile, NULL, NULL);
    troupe_tell(ctx, world.addr[FIRST], PLAIN, NULL, 0);
    for (unsigned i = 0; i < 3; i++) /* the last will be the mailbox's mark */
        cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, &large, sizeof large, SHORT), 0);
    outlast(SHORT);
    end_soon(ctx);
    return 0;
}

DEFINE_ROOT(dropping);

Test(envelope, a_panic_in_the_drop_of_what_is_over_is_skipped)
{
    world_begin(1);
    cr_assert_eq(run(&dropping, NULL), 0);
    cr_assert_eq(word(DROPPED), 3);
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 3);
    cr_assert_eq(world.stats.cleanup_panics, 3);
    cr_assert_eq(world.stats.crashes, 0);
    cr_assert_eq(word(HANDLED), 1);
}

/* --- what a message carries, whatever its size --------------------------------------------------------------------- */

static const size_t sizes[] = {0, 1, 7, 8, 9, 16, 17, 56, 72, 80, 208, 464, 976, 4000, 4041, 4048, 4049, 1 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };
static unsigned char bytes[1 << 20];
static troupe_token carried;

struct limits {
    uint64_t after_ns, before_ns; /* of the deadline; TROUPE_FOREVER: none */
    bool token;
};
static struct limits limits;

static void check_carried(const troupe_msg *msg)
{
    cr_assert_eq(memcmp(troupe_payload(msg), bytes, troupe_size(msg)), 0);
    cr_assert(troupe_deadline(msg) >= limits.after_ns && troupe_deadline(msg) <= limits.before_ns);
    cr_assert_eq(same_token(troupe_msg_token(msg), carried), limits.token);
    cr_assert_eq(troupe_msg_token(msg).ref != NULL, limits.token);
    if (limits.after_ns == TROUPE_FOREVER)
        cr_assert_eq(troupe_time_left(msg), TROUPE_FOREVER);
    else
        cr_assert(troupe_time_left(msg) > HOUR / 2 && troupe_time_left(msg) <= HOUR + TROUPE_US(2));
    bump(SEEN);
}

HANDLER(check_it)
{
    check_carried(msg);
    troupe_msg *same = troupe_keep(ctx, msg);
    check_carried(same);
    int status = troupe_is_ask(msg) ? 0 : -ENOTCONN;
    cr_assert_eq(troupe_reply(ctx, msg, NULL, 0), status);
    if (status < 0)
        troupe_release(ctx, same);
    if (status == 0) {
        cr_assert_eq(troupe_deadline(msg), TROUPE_FOREVER, "it is answered");
        cr_assert_eq(troupe_msg_token(msg).ref, NULL);
    }
}

static const troupe_behavior checker = {.name = "checker", .handlers = {[WORK] = ON(check_it, TROUPE_ANY_SIZE)}};

ANSWER(checked)
{
    cr_assert_eq(answer->status, 0);
    bump(ENDED);
}

static troupe_msg *composed(troupe_ctx *ctx, size_t size)
{
    troupe_msg *msg = troupe_compose(ctx, WORK, size);
    memcpy(troupe_msg_body(msg), bytes, size);
    return msg;
}

/* Sends a message of size in each way; how: which of them. */
static int send_one(troupe_ctx *ctx, troupe_addr to, unsigned how, size_t size, uint64_t timeout_ns)
{
    switch (how) {
    case 0:
        return troupe_tell_within(ctx, to, WORK, bytes, size, timeout_ns);
    case 1:
        return troupe_send_within(ctx, to, composed(ctx, size), timeout_ns);
    case 2:
        return troupe_ask(ctx, to, WORK, bytes, size, timeout_ns, checked, NULL);
    case 3:
        return troupe_send_ask(ctx, to, composed(ctx, size), timeout_ns, checked, NULL);
    default:
        return troupe_send_ask_hold(ctx, to, composed(ctx, size), timeout_ns, checked, NULL);
    }
}
enum { WAYS = 5 };

/* Step by step: a round of all sizes and ways for each of the four combinations. */
HANDLER(next_round)
{
    if (word(ENDED) < word(INHERITED)) {
        troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
        return;
    }
    unsigned round = (unsigned)bump(ROOM) - 1;
    if (round == 4) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    uint64_t timeout_ns = round & 1 ? HOUR : TROUPE_FOREVER;
    uint64_t from = clock_ns();
    limits.token = round & 2;
    troupe_under(ctx, round & 2 ? carried : troupe_no_token());
    for (unsigned i = 0; i < SIZES; i++)
        for (unsigned how = 0; how < WAYS; how++) {
            bump(SENT);
            set(INHERITED, word(INHERITED) + (how >= 2));
            cr_assert_eq(send_one(ctx, world.addr[FIRST], how, sizes[i], timeout_ns), 0);
        }
    limits.after_ns = round & 1 ? from + HOUR : TROUPE_FOREVER;
    limits.before_ns = round & 1 ? clock_ns() + HOUR + TROUPE_US(2) : TROUPE_FOREVER;
    troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
}

STARTED(sizing_started)
{
    world.addr[FIRST] = troupe_spawn(ctx, &checker, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &carried), 0);
    troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
    return 0;
}

DEFINE_ROOT(sizing, [NEXT] = ON(next_round, 0));

Test(envelope, a_message_of_any_size_carries_both)
{
    world_begin(1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    cr_assert_eq(run(&sizing, NULL), 0);
    cr_assert_eq(word(SENT), 4 * SIZES * WAYS);
    cr_assert_eq(word(SEEN), 2 * word(SENT));
    cr_assert_eq(dead_total(), 0);
}

/* --- composed messages -------------------------------------------------------------------------------------------- */

/* The payload begins with its own address. */
HANDLER(check_place)
{
    const void *body;
    memcpy(&body, troupe_payload(msg), sizeof body);
    cr_expect_eq(body, troupe_payload(msg), "a payload of %zu bytes was moved", troupe_size(msg));
    if (troupe_is_ask(msg))
        troupe_reply(ctx, msg, NULL, 0);
    if (bump(HANDLED) == word(SENT))
        troupe_tell(ctx, world.addr[ROOT], LATER, NULL, 0);
}

static const troupe_behavior settled = {.name = "settled", .handlers = {[WORK] = ON(check_place, TROUPE_ANY_SIZE)}};

static troupe_msg *pointing_at_itself(troupe_ctx *ctx, size_t size)
{
    troupe_msg *msg = troupe_compose(ctx, WORK, size);
    cr_assert_not_null(msg);
    void *body = troupe_msg_body(msg);
    memcpy(body, &body, sizeof body);
    return msg;
}

ANSWER(no_matter) {}

STARTED(composing_started)
{
    troupe_token token;
    world.addr[ROOT] = troupe_self(ctx);
    troupe_addr to = troupe_spawn(ctx, &settled, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &token), 0);
    troupe_under(ctx, token);
    for (size_t size = sizeof(void *); size < 5000; size += size < 600 ? 1 : 37) {
        cr_assert_eq(troupe_send_ask(ctx, to, pointing_at_itself(ctx, size), HOUR, no_matter, NULL), 0);
        cr_assert_eq(troupe_send_within(ctx, to, pointing_at_itself(ctx, size), HOUR), 0);
        set(SENT, word(SENT) + 2);
    }
    return 0;
}

DEFINE_ROOT(composing);

Test(envelope, what_is_composed_never_moves)
{
    world_begin(1);
    cr_assert_eq(run(&composing, NULL), 0);
    cr_assert_eq(word(HANDLED), word(SENT));
    cr_assert_gt(word(SENT), 1000);
}

/* --- asks inherit -------------------------------------------------------------------------------------------------- */

/* A level of a chain: keeps what it is asked and asks the next level, with a time-out of its own. */
struct link {
    uint64_t timeout_ns;
    unsigned next; /* address; 0: the last */
};

static uint64_t level_deadline[8];
static troupe_token level_token[8], own_token;

ANSWER(pass_on)
{
    say("%d", answer->status);
    troupe_reply(ctx, answer->arg, NULL, 0);
}

HANDLER(ask_on)
{
    const struct link *link = self;
    unsigned level = link->next ? link->next : 7;
    level_deadline[level] = troupe_deadline(msg);
    level_token[level] = troupe_msg_token(msg);
    if (!link->next) {
        troupe_reply(ctx, msg, NULL, 0);
        return;
    }
    cr_assert_eq(
        troupe_ask(ctx, world.addr[link->next], DEEP, NULL, 0, link->timeout_ns, pass_on, troupe_keep(ctx, msg)), 0);
}

STARTED(link_started)
{
    memcpy(self, args, sizeof(struct link));
    return 0;
}

static const troupe_behavior chain_link = {.name = "link",
                                           .state_size = sizeof(struct link),
                                           .args_size = sizeof(struct link),
                                           .started = link_started,
                                           .handlers = {[DEEP] = ON(ask_on, 0)}};

STARTED(chaining_started)
{
    const struct link links[] = {{TROUPE_FOREVER, SECOND}, {HOUR / 2, THIRD}, {.next = 0}};
    world.addr[ROOT] = troupe_self(ctx);
    for (unsigned i = 0; i < 3; i++)
        world.addr[FIRST + i] = troupe_spawn(ctx, &chain_link, &links[i], NULL);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &own_token), 0);
    troupe_under(ctx, own_token);
    return troupe_ask(ctx, world.addr[FIRST], DEEP, NULL, 0, HOUR, ended_then_end, NULL);
}

DEFINE_ROOT(chaining);

Test(envelope, a_nested_ask_inherits_the_smaller_time_and_the_token)
{
    world_begin(1);
    cr_assert_eq(run(&chaining, NULL), 0);
    cr_assert_str_eq(world.trace, "0 0 0");
    cr_assert_eq(level_deadline[SECOND], level_deadline[THIRD], "FOREVER is cut to what is left");
    cr_assert_lt(level_deadline[7], level_deadline[THIRD], "the smaller one wins");
    cr_assert_neq(level_deadline[THIRD], TROUPE_FOREVER);
    for (unsigned level = SECOND; level <= THIRD; level++)
        cr_assert(same_token(level_token[level], own_token));
    cr_assert(same_token(level_token[7], own_token));
    cr_assert_eq(dead_total(), 0);
}

/* The middle of a chain waits for what never comes: the token ends it on all levels, the work waiting at the end is not
 * done. */
static const troupe_behavior last = {.name = "last", .handlers = {[DEEP] = ON(reply_to_it, 0)}};

STARTED(token_chain_started)
{
    const struct link links[] = {{TROUPE_FOREVER, SECOND}, {HOUR, THIRD}};
    world.addr[ROOT] = troupe_self(ctx);
    for (unsigned i = 0; i < 2; i++)
        world.addr[FIRST + i] = troupe_spawn(ctx, &chain_link, &links[i], NULL);
    world.addr[THIRD] = troupe_spawn(ctx, &last, NULL, NULL);
    troupe_suspend(ctx, world.addr[THIRD]);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &own_token), 0);
    troupe_under(ctx, own_token);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], DEEP, NULL, 0, TROUPE_FOREVER, ended, NULL), 0);
    return troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
}

/* Waits for both levels to have asked, cancels, and lets the last one go on. */
HANDLER(cancel_when_both_wait)
{
    if (!level_token[THIRD].ref || word(INHERITED) < 2) {
        if (level_token[THIRD].ref)
            bump(INHERITED); /* the message to the last one was sent by the handler that wrote this */
        troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
        return;
    }
    troupe_token_cancel(own_token);
    troupe_resume(ctx, world.addr[THIRD]);
    end_soon(ctx);
}

DEFINE_ROOT(token_chain, [NEXT] = ON(cancel_when_both_wait, 0));

Test(envelope, a_cancelled_token_ends_the_whole_chain)
{
    char trace[64];
    world_begin(1);
    memset(level_token, 0, sizeof level_token);
    cr_assert_eq(run(&token_chain, NULL), 0);
    snprintf(trace, sizeof trace, "%d %d %d", -ECANCELED, -ECANCELED, -ECANCELED);
    cr_assert_str_eq(world.trace, trace, "each level once");
    cr_assert_eq(word(HANDLED), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_CANCELLED], 1);
}

/* --- an inherited deadline that has passed ------------------------------------------------------------------------- */

HANDLER(ask_too_late)
{
    bump(SEEN);
    while (troupe_time_left(msg) > 0)
        ;
    outlast(0);
    cr_assert_eq(troupe_ask(ctx, world.addr[SECOND], WORK, NULL, 0, HOUR, ended, NULL), 0);
    cr_assert_eq(troupe_ask_hold(ctx, world.addr[SECOND], WORK, NULL, 0, HOUR, ended_then_end, NULL), 0);
    cr_assert_eq(word(ENDED), 0, "not inside of the call");
    troupe_tell(ctx, troupe_self(ctx), PLAIN, NULL, 0);
}

static const troupe_behavior late = {.name = "late",
                                     .handlers = {[GO] = ON(ask_too_late, 0), [PLAIN] = ON(count_it, 0)}};

/* So short a time may be over before the message is handled: then again with twice as much. One worker, so nobody else
 * counts at this moment. */
HANDLER(try_again)
{
    uint64_t timeout_ns = *(const uint64_t *)troupe_payload(msg);
    if (word(SEEN))
        return;
    if (dead_total() == word(SENT)) { /* no attempt is under way */
        timeout_ns *= 2;
        bump(SENT);
        cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], GO, NULL, 0, timeout_ns), 0);
    }
    troupe_send_after(ctx, TROUPE_MS(1), troupe_self(ctx), NEXT, &timeout_ns, sizeof timeout_ns, NULL);
}

STARTED(too_late_started)
{
    const uint64_t timeout_ns = TROUPE_MS(1);
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &late, NULL, NULL);
    world.addr[SECOND] = troupe_spawn(ctx, &worker, NULL, NULL);
    return troupe_tell(ctx, troupe_self(ctx), NEXT, &timeout_ns, sizeof timeout_ns);
}

DEFINE_ROOT(too_late, [NEXT] = ON(try_again, sizeof(uint64_t)));

Test(envelope, an_ask_beyond_an_inherited_deadline_is_not_sent)
{
    char trace[64];
    world_begin(1);
    cr_assert_eq(run(&too_late, NULL), 0);
    snprintf(trace, sizeof trace, "%d %d", -ETIMEDOUT, -ETIMEDOUT);
    cr_assert_str_eq(world.trace, trace);
    cr_assert_eq(word(HANDLED), 1, "the hold has ended, and nobody was asked");
    cr_assert_eq(dead_total(), world.dead[TROUPE_DEAD_EXPIRED], "of attempts that came too late, perhaps");
    cr_assert(!troupe_addr_same(world.last_dead.to, world.addr[SECOND]));
}

/* --- what inherits and what does not ------------------------------------------------------------------------------- */

HANDLER(look)
{
    uintptr_t which = *(const uintptr_t *)troupe_payload(msg);
    say("%c%s%s", (char)which, troupe_deadline(msg) == TROUPE_FOREVER ? "" : "d",
        troupe_msg_token(msg).ref ? same_token(troupe_msg_token(msg), own_token) ? "o" : "t" : "");
    troupe_reply(ctx, msg, NULL, 0);
}

HANDLER(look_last)
{
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior looker = {.name = "looker",
                                       .handlers = {[WORK] = ON(look, sizeof(uintptr_t)), [GO] = ON(look_last, 0)}};

static void nothing(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    (void)ctx, (void)self, (void)answer;
}

static void ask_as(troupe_ctx *ctx, char which)
{
    uintptr_t payload = (uintptr_t)which;
    cr_assert_eq(troupe_ask(ctx, world.addr[SECOND], WORK, &payload, sizeof payload, TROUPE_FOREVER, nothing, NULL), 0);
}

/* The callback asks by itself, and on behalf of the kept message. */
ANSWER(ask_again)
{
    troupe_msg *kept = answer->arg;
    ask_as(ctx, 'h');
    troupe_on_behalf(ctx, kept);
    ask_as(ctx, 'i');
    cr_assert_eq(troupe_reply(ctx, kept, NULL, 0), 0);
    troupe_tell(ctx, world.addr[SECOND], GO, NULL, 0);
}

HANDLER(ask_in_all_ways)
{
    uintptr_t which = 'a';
    ask_as(ctx, 'a');
    troupe_tell(ctx, world.addr[SECOND], WORK, (which = 'b', &which), sizeof which);
    troupe_tell_within(ctx, world.addr[SECOND], WORK, (which = 'c', &which), sizeof which, HOUR);
    troupe_under(ctx, own_token);
    ask_as(ctx, 'd');
    troupe_under(ctx, troupe_no_token());
    ask_as(ctx, 'e');
    troupe_on_behalf(ctx, NULL);
    ask_as(ctx, 'f');
    troupe_on_behalf(ctx, msg);
    which = 'g';
    cr_assert_eq(
        troupe_ask(ctx, world.addr[SECOND], WORK, &which, sizeof which, HOUR, ask_again, troupe_keep(ctx, msg)), 0);
}

HANDLER(ask_plainly)
{
    ask_as(ctx, 'A');
}

HANDLER(forward_and_ask)
{
    cr_assert_eq(troupe_forward(ctx, msg, world.addr[SECOND]), 0);
    ask_as(ctx, 'B');
}

static const troupe_behavior asker = {
    .name = "asker",
    .handlers = {
        [GO] = ON(ask_in_all_ways, 0), [PLAIN] = ON(ask_plainly, 0), [WORK] = ON(forward_and_ask, sizeof(uintptr_t))}};

STARTED(inheriting_started)
{
    troupe_token token;
    const uintptr_t forwarded = 'F';
    world.addr[FIRST] = troupe_spawn(ctx, &asker, NULL, NULL);
    world.addr[SECOND] = troupe_spawn(ctx, &looker, NULL, NULL);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &token), 0);
    cr_assert_eq(troupe_token_new(ctx, troupe_no_token(), &own_token), 0);
    troupe_under(ctx, token);
    troupe_tell_within(ctx, world.addr[FIRST], WORK, &forwarded, sizeof forwarded, HOUR);
    troupe_tell(ctx, world.addr[FIRST], PLAIN, NULL, 0);
    return troupe_ask(ctx, world.addr[FIRST], GO, NULL, 0, HOUR, nothing, NULL);
}

DEFINE_ROOT(inheriting);

Test(envelope, asks_inherit_and_nothing_else)
{
    world_begin(1);
    cr_assert_eq(run(&inheriting, NULL), 0);
    cr_assert_str_eq(world.trace, "Fdt Bdt A adt b cd ddo edt f gdt h idt");
}

/* --- wherever a message goes --------------------------------------------------------------------------------------- */

HANDLER(forward_late)
{
    bump(SEEN);
    while (troupe_time_left(msg) > 0)
        ;
    outlast(0);
    cr_assert_eq(troupe_forward(ctx, msg, world.addr[SECOND]), 0);
}

/* Stashes, and takes it back when its time is over. */
HANDLER(stash_it)
{
    if (bump(SEEN) > 1) {
        bump(HANDLED);
        return;
    }
    uint64_t deadline = troupe_deadline(msg);
    cr_assert_eq(troupe_stash(ctx, msg), 0);
    while (clock_ns() < deadline)
        ;
    outlast(0);
    cr_assert_eq(troupe_unstash_all(ctx), 1);
}

HANDLER(panic_late)
{
    if (bump(SEEN) > 1) {
        bump(HANDLED);
        return;
    }
    while (troupe_time_left(msg) > 0)
        ;
    outlast(0);
    troupe_panic(ctx, "and the message is to be given again");
}

static const troupe_behavior forwarder = {.name = "forwarder", .handlers = {[GO] = ON(forward_late, 0)}};
static const troupe_behavior stasher = {.name = "stasher",
                                        .handlers = {[GO] = {.name = "stash", .fn = stash_it, .drop = count_drop}}};
static const troupe_behavior panicker = {
    .name = "panicker", .handlers = {[GO] = {.name = "panic", .fn = panic_late, .drop = count_drop, .retries = 3}}};

static const troupe_behavior second = {.name = "second",
                                       .handlers = {[GO] = {.name = "go", .fn = count_it, .drop = count_drop}}};

/* When the message that was seen, the last, has ended. */
HANDLER(end_when_dead)
{
    if (word(SEEN) && (word(HANDLED) || dead_total() == word(SENT)))
        troupe_stop_runtime(ctx, 0);
    else
        end_soon(ctx);
}

STARTED(wandering_started)
{
    const uint64_t timeout_ns = TROUPE_MS(1);
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, *(const troupe_behavior *const *)args, NULL, NULL);
    world.addr[SECOND] = troupe_spawn(ctx, &second, NULL, NULL);
    end_soon(ctx);
    return troupe_tell(ctx, troupe_self(ctx), NEXT, &timeout_ns, sizeof timeout_ns);
}

static const troupe_behavior wandering = {
    .name = "wandering",
    .args_size = sizeof(const troupe_behavior *),
    .started = wandering_started,
    .stopped = keep_stats,
    .handlers = {[LATER] = ON(end_when_dead, 0), [NEXT] = ON(try_again, sizeof(uint64_t))}};

static void wander(const troupe_behavior *way, unsigned to)
{
    world_begin(1);
    cr_assert_eq(run(&wandering, &way), 0);
    cr_assert_eq(word(HANDLED), 0);
    cr_assert_eq(word(SEEN), 1);
    cr_assert_geq(world.dead[TROUPE_DEAD_EXPIRED], 1);
    cr_assert_eq(dead_total(), world.dead[TROUPE_DEAD_EXPIRED]);
    cr_assert(troupe_addr_same(world.last_dead.to, world.addr[to]));
    cr_assert_geq(word(DROPPED), 1);
}

Test(envelope, a_forwarded_message_expires_at_the_next_one)
{
    wander(&forwarder, SECOND);
}

Test(envelope, a_stashed_message_expires_when_it_comes_back)
{
    wander(&stasher, FIRST);
}

Test(envelope, a_message_to_be_given_again_after_a_crash_expires)
{
    wander(&panicker, FIRST);
    cr_assert_eq(world.stats.restarts, 1);
}

/* --- across a restart, and on the way to a late reply -------------------------------------------------------------- */

static troupe_msg *kept;

HANDLER(crash_once)
{
    troupe_panic(ctx, "once");
}

/* The reply of a kept message whose time is over: the ask has ended. */
HANDLER(keep_it)
{
    kept = troupe_keep(ctx, msg);
}

HANDLER(answer_kept)
{
    cr_assert_eq(troupe_reply(ctx, kept, NULL, 0), 0);
}

static const troupe_behavior keeper = {.name = "keeper",
                                       .handlers = {[GO] = ON(keep_it, 0),
                                                    [NEXT] = ON(answer_kept, 0),
                                                    [DEEP] = ON(crash_once, 0),
                                                    [WORK] = ON(reply_to_it, 0),
                                                    [PLAIN] = ON(count_it, 0)}};

STARTED(restarting_started)
{
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &keeper, NULL, NULL);
    troupe_tell(ctx, world.addr[FIRST], DEEP, NULL, 0);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, NULL, 0, SHORT, ended, NULL), 0);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], GO, NULL, 0, HOUR, ended_then_end, NULL), 0);
    troupe_tell(ctx, world.addr[FIRST], NEXT, NULL, 0);
    outlast(SHORT);
    return 0;
}

DEFINE_ROOT(restarting);

Test(envelope, the_next_incarnation_handles_what_is_not_over)
{
    char trace[64];
    world_begin(1);
    cr_assert_eq(run(&restarting, NULL), 0);
    snprintf(trace, sizeof trace, "%d", -ETIMEDOUT);
    cr_assert(strstr(world.trace, trace) && strstr(world.trace, "0"), "%s", world.trace);
    cr_assert_eq(word(ENDED), 2);
    cr_assert_eq(word(HANDLED), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 1);
    cr_assert_eq(dead_total(), 2);
}

/* --- a bounded mailbox --------------------------------------------------------------------------------------------- */

static const troupe_behavior narrow = {
    .name = "narrow",
    .mailbox = {.limit = 4},
    .handlers = {[WORK] = {.name = "work", .fn = count_it, .size = TROUPE_ANY_SIZE, .drop = count_drop}}};

static void there_is_room(troupe_ctx *ctx, void *self, troupe_addr where)
{
    (void)self;
    bump(ROOM);
    cr_assert(troupe_addr_same(where, world.addr[FIRST]));
    cr_assert_eq(troupe_tell_within(ctx, where, WORK, NULL, 0, HOUR), 0);
    end_soon(ctx);
}

STARTED(bounded_started)
{
    world.addr[ROOT] = troupe_self(ctx);
    world.addr[FIRST] = troupe_spawn(ctx, &narrow, NULL, NULL);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, NULL, 0, SHORT), 0);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, NULL, 0, SHORT, ended, NULL), 0);
    cr_assert_eq(troupe_ask(ctx, world.addr[FIRST], WORK, NULL, 0, HOUR, ended, NULL), -EAGAIN);
    cr_assert_eq(troupe_tell_within(ctx, world.addr[FIRST], WORK, NULL, 0, HOUR), -EAGAIN);
    outlast(SHORT);
    cr_assert_eq(troupe_depth(ctx, world.addr[FIRST]), 4, "they count until they are taken");
    return 0;
}

HANDLER(end_when_empty)
{
    cr_assert_eq(troupe_depth(ctx, world.addr[FIRST]), 0);
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior bounded = {.name = "bounded",
                                        .started = bounded_started,
                                        .room = there_is_room,
                                        .handlers = {[LATER] = ON(end_when_empty, 0)}};

Test(envelope, what_expires_in_a_bounded_mailbox_makes_room)
{
    world_begin(1);
    cr_assert_eq(run(&bounded, NULL), 0);
    cr_assert_eq(word(ROOM), 1);
    cr_assert_eq(word(HANDLED), 1);
    cr_assert_eq(word(DROPPED), 4);
    cr_assert_eq(word(ENDED), 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 4);
    cr_assert_eq(dead_total(), 4);
}

/* --- a thread outside ---------------------------------------------------------------------------------------------- */

/* Holds the only worker until the thread has given up. */
HANDLER(hold_the_worker)
{
    set(SEEN, 1);
    while (!word(DONE))
        usleep(100);
}

HANDLER(look_at_deadline)
{
    uint64_t deadline = troupe_deadline(msg);
    cr_assert(deadline == TROUPE_FOREVER || (deadline > clock_ns() && deadline <= clock_ns() + HOUR));
    bump(HANDLED);
    troupe_reply(ctx, msg, &deadline, sizeof deadline);
}

static const troupe_behavior asked = {
    .name = "asked",
    .handlers = {[GO] = ON(hold_the_worker, 0),
                 [WORK] = {.name = "work", .fn = look_at_deadline, .size = TROUPE_ANY_SIZE, .drop = count_drop}}};

Test(envelope, a_blocking_ask_carries_its_deadline)
{
    troupe_runtime *rt;
    uint64_t deadline;
    size_t size = sizeof deadline;
    world_begin(1);
    troupe_options options = world_options();
    troupe_addr root;
    cr_assert_eq(troupe_runtime_start(&rt, &asked, NULL, &options, &root), 0);
    cr_assert_eq(troupe_runtime_ask(rt, root, WORK, "abcdefghi", 9, HOUR, &deadline, &size), 0);
    cr_assert_neq(deadline, TROUPE_FOREVER);
    cr_assert_eq(troupe_runtime_ask(rt, root, WORK, "abc", 3, TROUPE_FOREVER, &deadline, &size), 0);
    cr_assert_eq(deadline, TROUPE_FOREVER);
    cr_assert_eq(troupe_runtime_tell(rt, root, GO, NULL, 0), 0);
    while (!word(SEEN))
        usleep(100);
    cr_assert_eq(troupe_runtime_ask(rt, root, WORK, "abc", 3, SHORT, NULL, NULL), -ETIMEDOUT);
    set(DONE, 1);
    cr_assert_eq(troupe_runtime_ask(rt, root, WORK, NULL, 0, TROUPE_FOREVER, NULL, NULL), 0, "behind the other");
    troupe_runtime_request_stop(rt);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_eq(word(HANDLED), 3);
    cr_assert_eq(word(DROPPED), 1);
    cr_assert_eq(world.dead[TROUPE_DEAD_EXPIRED], 1);
    cr_assert_eq(dead_total(), 1);
}

/* --- many at once, on several workers ------------------------------------------------------------------------------ */

enum { ASKERS = 4, ASKS = UNDER_TSAN ? 2000 : 5000 };

struct storm {
    unsigned left;
    troupe_token token;
};

ANSWER(storm_ended)
{
    bool deep = answer->arg;
    cr_assert(answer->status == 0 || answer->status == -ETIMEDOUT || answer->status == -ECANCELED ||
                  (deep && answer->status == -ENODATA),
              "%d", answer->status);
    if (bump(DONE) == ASKERS * ASKS)
        end_soon(ctx);
}

/* A few asks with time-outs from none at all to enough, under a token that the next step cancels at times. */
HANDLER(storm_step)
{
    struct storm *storm = self;
    static const uint64_t timeouts[] = {0, TROUPE_US(1), TROUPE_US(20), TROUPE_US(300), HOUR};
    if (storm->left % 3 == 0) {
        troupe_token_free(storm->token);
        storm->token = troupe_no_token();
    }
    if (storm->left % 5 == 0 && !storm->token.ref)
        troupe_token_new(ctx, troupe_no_token(), &storm->token);
    for (unsigned i = 0; i < 5 && storm->left > 0; i++, storm->left--) {
        troupe_under(ctx, i & 1 ? storm->token : troupe_no_token());
        unsigned kind = (storm->left + i) % 2 ? WORK : DEEP;
        cr_assert_eq(troupe_ask(ctx, world.addr[FIRST + i % 2], kind, NULL, 0, timeouts[i], storm_ended,
                                kind == DEEP ? &limits : NULL),
                     0);
    }
    if (storm->left > 0)
        troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
}

STARTED(storm_asker_started)
{
    struct storm *storm = self;
    storm->left = ASKS;
    return troupe_tell(ctx, troupe_self(ctx), NEXT, NULL, 0);
}

static const troupe_behavior storm_asker = {.name = "storm_asker",
                                            .state_size = sizeof(struct storm),
                                            .started = storm_asker_started,
                                            .handlers = {[NEXT] = ON(storm_step, 0)}};

ANSWER(storm_passed)
{
    if (answer->status == 0)
        troupe_reply(ctx, answer->arg, NULL, 0);
    else
        troupe_release(ctx, answer->arg);
}

HANDLER(storm_deep)
{
    troupe_ask(ctx, world.addr[THIRD], WORK, NULL, 0, TROUPE_FOREVER, storm_passed, troupe_keep(ctx, msg));
}

static const troupe_behavior storm_worker = {.name = "storm_worker",
                                             .handlers = {[WORK] = ON(reply_to_it, 0), [DEEP] = ON(storm_deep, 0)}};

STARTED(storming_started)
{
    world.addr[ROOT] = troupe_self(ctx);
    for (unsigned i = FIRST; i <= THIRD; i++)
        world.addr[i] = troupe_spawn(ctx, &storm_worker, NULL, NULL);
    for (unsigned i = 0; i < ASKERS; i++)
        troupe_spawn(ctx, &storm_asker, NULL, NULL);
    return 0;
}

DEFINE_ROOT(storming);

Test(envelope, every_ask_of_a_storm_ends_once)
{
    world_begin(4);
    cr_assert_eq(run(&storming, NULL), 0);
    cr_assert_eq(word(DONE), ASKERS * ASKS);
    cr_assert_geq(world.dead[TROUPE_DEAD_EXPIRED], 1);
    /* Asks that have ended may leave messages behind, which the stop finds. */
    cr_assert_eq(dead_total(), world.dead[TROUPE_DEAD_EXPIRED] + world.dead[TROUPE_DEAD_CANCELLED] +
                                   world.dead[TROUPE_DEAD_LATE_REPLY] + world.dead[TROUPE_DEAD_STOPPED] +
                                   world.dead[TROUPE_DEAD_NO_ACTOR]);
}
