/* SPDX-License-Identifier: Apache-2.0 */
/* Asks with hold: what waits for the answer and what does not, and how the wait ends. */
#include "../support/sanitizer.h"
#include "world.h"

enum { GO, DATA, QUERY, ANSWER_ALL, NEVER, NODATA, CRASH, STOP, TICK };
enum { STORE }; /* addresses */
enum { HELD, WRONG, HANDLED };

static const uintptr_t one = 1, two = 2, three = 3;

/* --- the store: keeps its queries until told to answer, the newest first ------------------------------------------ */

struct store {
    troupe_msg *kept[8];
    unsigned count;
};

HANDLER(keep_query)
{
    struct store *store = self;
    store->kept[store->count++] = troupe_keep(ctx, msg);
}

HANDLER(answer_newest_first)
{
    struct store *store = self;
    while (store->count > 0)
        cr_assert_eq(troupe_reply(ctx, store->kept[--store->count], NULL, 0), 0);
}

HANDLER(ignore) {}

HANDLER(ignore_and_keep)
{
    troupe_keep(ctx, msg);
}

HANDLER(crash)
{
    troupe_panic(ctx, "on demand");
}

HANDLER(stop_it)
{
    troupe_stop_self(ctx);
}

HANDLER(reply_at_once)
{
    troupe_reply(ctx, msg, NULL, 0);
}

static const troupe_behavior store = {.name = "store",
                                      .state_size = sizeof(struct store),
                                      .handlers = {[QUERY] = ON(keep_query, 0),
                                                   [ANSWER_ALL] = ON(answer_newest_first, 0),
                                                   [NODATA] = ON(ignore, 0),
                                                   [CRASH] = ON(crash, 0),
                                                   [STOP] = ON(stop_it, 0),
                                                   [GO] = ON(reply_at_once, 0)}};

static troupe_addr the_store(void)
{
    return world.addr[STORE];
}

static void tell_numbers(troupe_ctx *ctx, troupe_addr to, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        troupe_tell(ctx, to, DATA, &i, sizeof i);
}

/* --- what all clients share --------------------------------------------------------------------------------------- */

ANSWER(answered)
{
    say("a%lu:%d", (unsigned long)(uintptr_t)answer->arg, answer->status);
}

HANDLER(number)
{
    say("%u", *(const unsigned *)troupe_payload(msg));
}

HANDLER(end)
{
    say("end");
    troupe_stop_runtime(ctx, 0);
}

static void ask(troupe_ctx *ctx, bool hold, unsigned kind, uint64_t timeout_ns, uintptr_t which)
{
    int status = hold ? troupe_ask_hold(ctx, the_store(), kind, NULL, 0, timeout_ns, answered, (void *)which)
                      : troupe_ask(ctx, the_store(), kind, NULL, 0, timeout_ns, answered, (void *)which);
    cr_assert_eq(status, 0);
}

static void run_client(const troupe_behavior *client, unsigned workers, const char *trace)
{
    world_begin(workers);
    cr_assert_eq(run(client, NULL), 0);
    cr_assert_str_eq(world.trace, trace, "%u workers: %s", workers, world.trace);
}

#define CLIENT(start, ...)                                                                                             \
    {                                                                                                                  \
        .name = #start, .started = start, .handlers = {                                                                \
            [DATA] = ON(number, sizeof(unsigned)),                                                                     \
            [STOP] = ON(end, 0),                                                                                       \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

/* --- what waits --------------------------------------------------------------------------------------------------- */

/* The answer comes behind 1 to 5, and is handled before them. */
STARTED(hold_and_tell)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 3);
    ask(ctx, true, QUERY, TROUPE_SEC(60), one);
    tell_numbers(ctx, troupe_self(ctx), 4, 5);
    troupe_tell(ctx, the_store(), ANSWER_ALL, NULL, 0);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior simple = CLIENT(hold_and_tell);

Test(hold, lets_the_answer_through_and_nothing_else)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        run_client(&simple, workers, "a1:0 1 2 3 4 5 end");
}

/* Answered in the order 3, 2, 1; only 2 holds. */
STARTED(ask_three)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    ask(ctx, false, QUERY, TROUPE_SEC(60), one);
    ask(ctx, true, QUERY, TROUPE_SEC(60), two);
    ask(ctx, false, QUERY, TROUPE_SEC(60), three);
    troupe_tell(ctx, the_store(), ANSWER_ALL, NULL, 0);
    return 0;
}

ANSWER(end_after)
{
    answered(ctx, self, answer);
    troupe_stop_runtime(ctx, 0);
}

HANDLER(number_then_ask)
{
    number(ctx, self, msg);
    troupe_ask(ctx, the_store(), GO, NULL, 0, TROUPE_SEC(60), end_after, (void *)9);
}

static const troupe_behavior mixed = {
    .name = "mixed", .started = ask_three, .handlers = {[DATA] = ON(number_then_ask, sizeof(unsigned))}};

Test(hold, leaves_other_answers_in_their_place)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        run_client(&mixed, workers, "a2:0 1 a3:0 a1:0 a9:0");
}

STARTED(hold_twice)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 2);
    ask(ctx, true, QUERY, TROUPE_SEC(60), one);
    ask(ctx, true, QUERY, TROUPE_SEC(60), two);
    troupe_tell(ctx, the_store(), ANSWER_ALL, NULL, 0);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior twice = CLIENT(hold_twice);

Test(hold, of_several_ends_with_the_last)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        run_client(&twice, workers, "a2:0 a1:0 1 2 end");
}

ANSWER(ask_on)
{
    uintptr_t step = (uintptr_t)answer->arg;
    answered(ctx, self, answer);
    if (step < 4)
        cr_assert_eq(troupe_ask_hold(ctx, the_store(), GO, NULL, 0, TROUPE_SEC(60), ask_on, (void *)(step + 1)), 0);
}

STARTED(hold_in_a_row)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 3);
    cr_assert_eq(troupe_ask_hold(ctx, the_store(), GO, NULL, 0, TROUPE_SEC(60), ask_on, (void *)one), 0);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior row = CLIENT(hold_in_a_row);

Test(hold, goes_on_with_an_ask_made_in_the_answer)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        run_client(&row, workers, "a1:0 a2:0 a3:0 a4:0 1 2 3 end");
}

/* --- how it ends -------------------------------------------------------------------------------------------------- */

STARTED(ask_in_vain)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    ask(ctx, false, QUERY, TROUPE_MS(1), two);
    ask(ctx, true, QUERY, TROUPE_MS(30), one);
    return 0;
}

ANSWER(answered_and_over)
{
    answered(ctx, self, answer);
    troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

HANDLER(late_answers)
{
    number(ctx, self, msg);
    troupe_tell(ctx, the_store(), ANSWER_ALL, NULL, 0);
    /* The store hears of this behind the other: both late replies have come when the answer does. */
    cr_assert_eq(troupe_ask(ctx, the_store(), NODATA, NULL, 0, TROUPE_SEC(60), answered_and_over, (void *)three), 0);
}

static const troupe_behavior vain = {.name = "vain",
                                     .started = ask_in_vain,
                                     .handlers = {[DATA] = ON(late_answers, sizeof(unsigned)), [STOP] = ON(end, 0)}};

/* The other ask's time was up long before, and it waited. */
Test(hold, ends_with_the_time_out)
{
    char first[64], second[64];
    snprintf(first, sizeof first, "a1:%d a2:%d 1 a3:%d end", -ETIMEDOUT, -ETIMEDOUT, -ENODATA);
    snprintf(second, sizeof second, "a1:%d 1 a2:%d a3:%d end", -ETIMEDOUT, -ETIMEDOUT, -ENODATA);
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&vain, NULL), 0);
        cr_assert(strcmp(world.trace, first) == 0 || strcmp(world.trace, second) == 0, "%s", world.trace);
        cr_assert_eq(world.dead[TROUPE_DEAD_LATE_REPLY] + world.dead[TROUPE_DEAD_EXPIRED], 2);
        cr_assert_eq(dead_total(), 2);
    }
}

/* Three plain asks come due in front of the second that holds: its alarm must not be theirs. */
STARTED(ask_many_in_vain)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    for (unsigned i = 0; i < 3; i++)
        ask(ctx, false, QUERY, TROUPE_MS(2), three);
    ask(ctx, true, QUERY, TROUPE_MS(10), one);
    ask(ctx, true, QUERY, TROUPE_MS(40), two);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior many_vain = CLIENT(ask_many_in_vain);

Test(hold, ends_with_its_own_time_out_behind_those_of_others)
{
    char start[64];
    snprintf(start, sizeof start, "a1:%d a2:%d ", -ETIMEDOUT, -ETIMEDOUT);
    world_begin(1);
    cr_assert_eq(run(&many_vain, NULL), 0);
    cr_assert_eq(strncmp(world.trace, start, strlen(start)), 0, "%s", world.trace);
}

/* The time of the first is up while the second is awaited, which is answered: nothing but the end of the hold tells. */
HANDLER(answer_later)
{
    keep_query(ctx, self, msg);
    troupe_send_after(ctx, TROUPE_MS(15), troupe_self(ctx), ANSWER_ALL, NULL, 0, NULL);
}

static const troupe_behavior slow_store = {
    .name = "slow",
    .state_size = sizeof(struct store),
    .handlers = {
        [QUERY] = ON(answer_later, 0), [NEVER] = ON(ignore_and_keep, 0), [ANSWER_ALL] = ON(answer_newest_first, 0)}};

ANSWER(answered_last)
{
    answered(ctx, self, answer);
    troupe_stop_runtime(ctx, 0);
}

STARTED(ask_slow)
{
    world.addr[STORE] = troupe_spawn(ctx, &slow_store, NULL, NULL);
    cr_assert_eq(troupe_ask(ctx, the_store(), NEVER, NULL, 0, TROUPE_MS(1), answered_last, (void *)one), 0);
    ask(ctx, true, QUERY, TROUPE_SEC(60), two);
    return 0;
}

static const troupe_behavior asks_slow = {.name = "asks", .started = ask_slow};

Test(hold, tells_what_came_due_meanwhile_when_it_ends)
{
    char trace[64];
    snprintf(trace, sizeof trace, "a2:0 a1:%d", -ETIMEDOUT);
    run_client(&asks_slow, 1, trace);
}

static const unsigned ends[] = {NODATA, CRASH, STOP};
static const int statuses[] = {-ENODATA, -ECONNRESET, -ESRCH};

STARTED(ask_for_an_end)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    ask(ctx, true, ends[word(3)] == NODATA ? NODATA : QUERY, TROUPE_FOREVER, one);
    troupe_tell(ctx, the_store(), ends[word(3)], NULL, 0);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior ended = CLIENT(ask_for_an_end);

Test(hold, ends_with_the_news_that_there_is_no_answer)
{
    for (unsigned i = 0; i < 3; i++) {
        char trace[64];
        world_begin(2);
        ck_pr_store_64(&world.word[3], i);
        snprintf(trace, sizeof trace, "a1:%d 1 end", statuses[i]);
        cr_assert_eq(run(&ended, NULL), 0);
        cr_assert_str_eq(world.trace, trace, "%s", world.trace);
    }
}

STARTED(ask_nobody)
{
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    ask(ctx, true, QUERY, TROUPE_FOREVER, one); /* no store */
    cr_assert_eq(troupe_ask_hold(ctx, troupe_self(ctx), DATA, NULL, 0, TROUPE_FOREVER, answered, NULL), -EDEADLK);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior nobody = CLIENT(ask_nobody);

Test(hold, of_an_ask_to_nobody_ends_and_to_oneself_is_refused)
{
    char trace[64];
    snprintf(trace, sizeof trace, "a1:%d 1 end", -ESRCH);
    run_client(&nobody, 1, trace);
}

STARTED(ask_under_a_token)
{
    troupe_token token, cancelled;
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 1);
    troupe_token_new(ctx, troupe_no_token(), &token);
    troupe_token_new(ctx, troupe_no_token(), &cancelled);
    troupe_token_cancel(cancelled);
    troupe_under(ctx, token);
    ask(ctx, true, QUERY, TROUPE_FOREVER, one);
    troupe_under(ctx, cancelled);
    ask(ctx, true, QUERY, TROUPE_FOREVER, two); /* it is cancelled before it begins */
    troupe_under(ctx, troupe_no_token());
    troupe_token_cancel(token);
    return troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
}

static const troupe_behavior tokens = CLIENT(ask_under_a_token);

Test(hold, ends_with_its_token)
{
    char one_way[64], other_way[64];
    snprintf(one_way, sizeof one_way, "a1:%d a2:%d 1 end", -ECANCELED, -ECANCELED);
    snprintf(other_way, sizeof other_way, "a2:%d a1:%d 1 end", -ECANCELED, -ECANCELED);
    world_begin(2);
    cr_assert_eq(run(&tokens, NULL), 0);
    cr_assert(strcmp(world.trace, one_way) == 0 || strcmp(world.trace, other_way) == 0, "%s", world.trace);
}

/* --- crash, restart, stop while held ------------------------------------------------------------------------------ */

/* Held, it still hears of the end of its child, and crashes with that. */
CHILD_STOPPED(panic_with_child)
{
    say("child");
    troupe_panic(ctx, "while it waits");
}

STARTED(hold_in_the_first)
{
    say("started%u", troupe_incarnation(ctx));
    if (troupe_incarnation(ctx) > 1)
        return 0;
    ask(ctx, true, QUERY, TROUPE_FOREVER, one);
    troupe_addr child = troupe_spawn(ctx, &store, NULL, NULL);
    return troupe_tell(ctx, child, STOP, NULL, 0);
}

static const troupe_behavior crashing = {.name = "crashing",
                                         .started = hold_in_the_first,
                                         .child_stopped = panic_with_child,
                                         .handlers = {[DATA] = ON(number, sizeof(unsigned)), [STOP] = ON(end, 0)}};

STARTED(host_crashing)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    troupe_addr actor = troupe_spawn(ctx, &crashing, NULL, NULL);
    tell_numbers(ctx, actor, 1, 2);
    return troupe_tell(ctx, actor, STOP, NULL, 0);
}

static const troupe_behavior host = {.name = "host", .started = host_crashing};

Test(hold, ends_with_a_crash_and_the_messages_wait_for_the_next)
{
    for (unsigned workers = 1; workers <= 2; workers++)
        run_client(&host, workers, "started1 child started2 1 2 end");
}

STOPPED(say_stopped)
{
    say("stopped");
}

HANDLER(begin_hold)
{
    bump(HELD);
    ask(ctx, true, QUERY, TROUPE_FOREVER, one);
}

STARTED(make_store)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    return 0;
}

static const troupe_behavior stoppable = {
    .name = "stoppable",
    .started = make_store,
    .stopped = say_stopped,
    .handlers = {[GO] = ON(begin_hold, 0), [DATA] = ON(number, sizeof(unsigned)), [STOP] = ON(end, 0)}};

Test(hold, does_not_keep_an_actor_from_stopping)
{
    troupe_runtime *rt;
    troupe_addr root;
    world_begin(2);
    troupe_options options = world_options();
    cr_assert_eq(troupe_runtime_start(&rt, &stoppable, NULL, &options, &root), 0);
    troupe_runtime_tell(rt, root, GO, NULL, 0);
    while (word(HELD) < 1)
        sched_yield();
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(troupe_runtime_tell(rt, root, DATA, &i, sizeof i), 0);
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    cr_assert_str_eq(world.trace, "stopped");
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 4, "three numbers, and the query");
}

/* --- beside other holds ------------------------------------------------------------------------------------------- */

ANSWER(answered_open)
{
    if (!word(HANDLED))
        say("early");
    answered(ctx, self, answer);
}

CHILD_STOPPED(open)
{
    bump(HANDLED);
    troupe_unhold(ctx);
}

STARTED(hold_both)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    troupe_addr child = troupe_spawn(ctx, &store, NULL, NULL);
    tell_numbers(ctx, troupe_self(ctx), 1, 2);
    troupe_hold(ctx);
    troupe_ask_hold(ctx, the_store(), GO, NULL, 0, TROUPE_FOREVER, answered_open, (void *)one);
    troupe_tell(ctx, troupe_self(ctx), STOP, NULL, 0);
    return troupe_tell(ctx, child, STOP, NULL, 0);
}

static const troupe_behavior both = {.name = "both",
                                     .started = hold_both,
                                     .child_stopped = open,
                                     .handlers = {[DATA] = ON(number, sizeof(unsigned)), [STOP] = ON(end, 0)}};

Test(hold, waits_for_troupe_unhold_too)
{
    for (unsigned workers = 1; workers <= 2; workers++)
        run_client(&both, workers, "a1:0 1 2 end");
}

static const troupe_behavior first_child = {
    .name = "first",
    .started = hold_and_tell,
    .handlers = {[DATA] = ON(number, sizeof(unsigned)), [STOP] = ON(ignore, 0)}};

STARTED(say_second)
{
    say("second");
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static const troupe_behavior second_child = {.name = "second", .started = say_second};
static const troupe_child declared[] = {{.behavior = &first_child}, {.behavior = &second_child}, {0}};
static const troupe_behavior parent = {.name = "parent", .children = {.declared = declared}};

Test(hold, in_started_keeps_the_next_declared_child_waiting)
{
    world_begin(2);
    cr_assert_eq(run(&parent, NULL), 0);
    const char *answer = strstr(world.trace, "a1:0"), *second = strstr(world.trace, "second");
    cr_assert(answer && second && answer < second, "%s", world.trace);
}

/* --- floods ------------------------------------------------------------------------------------------------------- */

enum { CLIENTS = 4, ASKS = 100, POURS = 300 };
enum { POURED = 4 };

struct client {
    unsigned asked, seen;
    bool waits;
};

HANDLER(count_data)
{
    struct client *client = self;
    if (client->waits)
        bump(WRONG);
    client->seen++;
}

static void ask_next(troupe_ctx *ctx, struct client *client);

ANSWER(next_answer)
{
    struct client *client = self;
    client->waits = false;
    if (answer->status != 0)
        bump(WRONG);
    if (client->asked < ASKS)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    else if (bump(HANDLED) == CLIENTS)
        troupe_stop_runtime(ctx, 0);
}

static void ask_next(troupe_ctx *ctx, struct client *client)
{
    client->asked++;
    client->waits = true;
    cr_assert_eq(troupe_ask_hold(ctx, the_store(), GO, NULL, 0, TROUPE_SEC(100), next_answer, NULL), 0);
}

HANDLER(ask_again)
{
    if (((struct client *)self)->waits)
        bump(WRONG);
    ask_next(ctx, self);
}

STARTED(first_ask)
{
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior flooded = {.name = "flooded",
                                        .state_size = sizeof(struct client),
                                        .started = first_ask,
                                        .handlers = {[GO] = ON(ask_again, 0), [DATA] = ON(count_data, 0)}};

HANDLER(pour)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        for (unsigned j = 0; j < 20; j++)
            troupe_tell(ctx, world.addr[1 + i], DATA, NULL, 0);
    if (bump(POURED) < POURS)
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior flood = {.name = "flood", .handlers = {[GO] = ON(pour, 0)}};

STARTED(open_gates)
{
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        world.addr[1 + i] = troupe_spawn(ctx, &flooded, NULL, NULL);
    return troupe_tell(ctx, troupe_spawn(ctx, &flood, NULL, NULL), GO, NULL, 0);
}

static const troupe_behavior gates = {.name = "gates", .started = open_gates};

Test(hold, finds_its_answers_in_a_flood)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&gates, NULL), 0);
        cr_assert_eq(word(WRONG), 0);
        cr_assert_eq(word(HANDLED), CLIENTS);
    }
}

/* --- the search --------------------------------------------------------------------------------------------------- */

enum { SEARCHES = 1000, BACKLOG = UNDER_TSAN ? 5000 : 200000 };
enum { BEGUN = 5, SPENT = 6 };

/* There is one worker, and what else the machine does is not its fault. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Each ask is made with all of the backlog in the FIFO. */
ANSWER(next_search)
{
    uintptr_t left = (uintptr_t)answer->arg;
    if (left == 0) {
        world.word[SPENT] = now_ns() - world.word[BEGUN];
        troupe_stop_runtime(ctx, 0);
        return;
    }
    cr_assert_eq(troupe_ask_hold(ctx, the_store(), GO, NULL, 0, TROUPE_FOREVER, next_search, (void *)(left - 1)), 0);
}

HANDLER(begin_search)
{
    const troupe_answer first = {.arg = (void *)(uintptr_t)SEARCHES};
    world.word[BEGUN] = now_ns();
    next_search(ctx, self, &first);
}

STARTED(fill_backlog)
{
    unsigned backlog = *(const unsigned *)args;
    world.addr[STORE] = troupe_spawn(ctx, &store, NULL, NULL);
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
    for (unsigned i = 0; i < backlog; i++)
        troupe_tell(ctx, troupe_self(ctx), DATA, NULL, 0);
    return 0;
}

static const troupe_behavior searching = {.name = "searching",
                                          .args_size = sizeof(unsigned),
                                          .started = fill_backlog,
                                          .handlers = {[GO] = ON(begin_search, 0), [DATA] = ON(ignore, 0)}};

static uint64_t search_ns(unsigned backlog)
{
    world_begin(1);
    cr_assert_eq(run(&searching, &backlog), 0);
    return world.word[SPENT] / SEARCHES;
}

/* Were the backlog looked at for each answer, it would be several hundred times as much. */
Test(hold, costs_no_more_with_a_long_backlog)
{
    uint64_t alone = search_ns(0), crowded = search_ns(BACKLOG);
    fprintf(stderr, "hold: an ask %lu ns, with %u messages waiting %lu ns\n", (unsigned long)alone, BACKLOG,
            (unsigned long)crowded);
    cr_assert_lt(crowded, 20 * alone + 2000);
}
