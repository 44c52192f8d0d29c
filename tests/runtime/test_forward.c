/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_forward: a message handed on with its sender and its ask, as the block it is. */
#include "world.h"

enum { GO, DATA, KEEP, PASS_KEPT, QUERY };
enum { FRONT, BACK };                           /* addresses */
enum { LOOKED_AT, ARRIVED, SAME, WRONG, DONE }; /* words */

static troupe_addr address(unsigned i)
{
    return (troupe_addr){ck_pr_load_64(&world.addr[i].bits)};
}

/* --- the far end: answers, and says what came --------------------------------------------------------------------- */

HANDLER(arrive)
{
    say("%u", *(const unsigned *)troupe_payload(msg));
}

HANDLER(answer_query)
{
    const uint64_t *expected = troupe_payload(msg);
    say("from%s", troupe_sender(msg).bits == *expected ? "-asker" : "-another");
    cr_assert_eq(troupe_reply(ctx, msg, "well", 4), 0);
}

static const troupe_behavior back = {
    .name = "back", .handlers = {[DATA] = ON(arrive, TROUPE_ANY_SIZE), [QUERY] = ON(answer_query, sizeof(uint64_t))}};

/* --- the front ---------------------------------------------------------------------------------------------------- */

HANDLER(pass_on)
{
    cr_assert_eq(troupe_forward(ctx, msg, address(BACK)), 0);
}

HANDLER(pass_on_and_tell)
{
    unsigned after = *(const unsigned *)troupe_payload(msg) + 100;
    cr_assert_eq(troupe_forward(ctx, msg, address(BACK)), 0);
    troupe_tell(ctx, address(BACK), DATA, &after, sizeof after);
}

static const troupe_behavior front = {
    .name = "front",
    .handlers = {[DATA] = ON(pass_on_and_tell, sizeof(unsigned)), [QUERY] = ON(pass_on, sizeof(uint64_t))}};

static void spawn_both(troupe_ctx *ctx, const troupe_behavior *first)
{
    world.addr[BACK] = troupe_spawn(ctx, &back, NULL, NULL);
    world.addr[FRONT] = troupe_spawn(ctx, first, NULL, NULL);
}

ANSWER(answered)
{
    say("%d:%.*s", answer->status, (int)answer->size, answer->status == 0 ? (const char *)answer->payload : "");
    troupe_stop_runtime(ctx, 0);
}

static void query(troupe_ctx *ctx, troupe_addr to)
{
    uint64_t me = troupe_self(ctx).bits;
    cr_assert_eq(troupe_ask(ctx, to, QUERY, &me, sizeof me, TROUPE_SEC(60), answered, NULL), 0);
}

STARTED(start_query)
{
    spawn_both(ctx, &front);
    query(ctx, world.addr[FRONT]);
    return 0;
}

static const troupe_behavior asker = {.name = "asker", .started = start_query};

Test(forward, keeps_sender_and_ask)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&asker, NULL), 0);
        cr_assert_str_eq(world.trace, "from-asker 0:well");
        cr_assert_eq(dead_total(), 0);
    }
}

STARTED(start_series)
{
    spawn_both(ctx, &front);
    for (unsigned i = 1; i <= 3; i++)
        troupe_tell(ctx, world.addr[FRONT], DATA, &i, sizeof i);
    query(ctx, world.addr[FRONT]);
    return 0;
}

static const troupe_behavior series = {.name = "series", .started = start_series};

Test(forward, is_a_send_in_the_order_of_sends)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&series, NULL), 0);
        cr_assert_str_eq(world.trace, "1 101 2 102 3 103 from-asker 0:well");
    }
}

/* --- without a copy ----------------------------------------------------------------------------------------------- */

enum { BLOCKS = 3000 };
static const size_t sizes[] = {0, 8, 500, 4000, 100000};

HANDLER(note_and_pass)
{
    bump(LOOKED_AT);
    if (troupe_size(msg) >= sizeof(uint64_t))
        *(uint64_t *)(uintptr_t)troupe_payload(msg) = (uintptr_t)msg;
    cr_assert_eq(troupe_forward(ctx, msg, address(BACK)), 0);
}

HANDLER(compare)
{
    if (troupe_size(msg) >= sizeof(uint64_t) && *(const uint64_t *)troupe_payload(msg) == (uintptr_t)msg)
        bump(SAME);
    if (bump(ARRIVED) == BLOCKS)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior noting = {.name = "noting", .handlers = {[DATA] = ON(note_and_pass, TROUPE_ANY_SIZE)}};
static const troupe_behavior comparing = {.name = "comparing", .handlers = {[DATA] = ON(compare, TROUPE_ANY_SIZE)}};

/* One at a time, a message is the mark of its mailbox; in a crowd it mostly is not, or something is pushed on top of it
 * meanwhile. */
HANDLER(send_blocks)
{
    static const char bytes[100000];
    unsigned *sent = self;
    for (unsigned i = *(const unsigned *)troupe_payload(msg); i > 0 && *sent < BLOCKS; i--) {
        troupe_tell(ctx, address(FRONT), DATA, bytes, sizes[*sent % 5]);
        ++*sent;
    }
    if (*sent < BLOCKS) {
        unsigned next = *sent % 7 == 0 ? 20 : 1;
        troupe_tell(ctx, troupe_self(ctx), GO, &next, sizeof next);
    }
}

STARTED(begin_blocks)
{
    unsigned one = 1;
    world.addr[BACK] = troupe_spawn(ctx, &comparing, NULL, NULL);
    world.addr[FRONT] = troupe_spawn(ctx, &noting, NULL, NULL);
    return troupe_tell(ctx, troupe_self(ctx), GO, &one, sizeof one);
}

static const troupe_behavior source = {.name = "source",
                                       .state_size = sizeof(unsigned),
                                       .started = begin_blocks,
                                       .handlers = {[GO] = ON(send_blocks, sizeof(unsigned))}};

Test(forward, moves_the_block_itself)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&source, NULL), 0);
        cr_assert_eq(word(ARRIVED), BLOCKS);
        cr_assert_eq(word(SAME), BLOCKS / 5 * 4, "all that have room for the note");
        cr_assert_eq(dead_total(), 0);
    }
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

HANDLER(pass_to_nobody)
{
    troupe_addr stale = {troupe_self(ctx).bits + (UINT64_C(7) << 32)};
    say("%d", troupe_forward(ctx, msg, stale));
}

static const troupe_behavior lost = {.name = "lost", .handlers = {[QUERY] = ON(pass_to_nobody, sizeof(uint64_t))}};

STARTED(query_lost)
{
    query(ctx, troupe_spawn(ctx, &lost, NULL, NULL));
    return 0;
}

static const troupe_behavior asks_lost = {.name = "asks", .started = query_lost};

Test(forward, to_an_ended_actor_answers_the_asker)
{
    char expected[64];
    world_begin(2);
    cr_assert_eq(run(&asks_lost, NULL), 0);
    snprintf(expected, sizeof expected, "%d %d:", -ESRCH, -ESRCH);
    cr_assert_str_eq(world.trace, expected);
    cr_assert_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 1);
    cr_assert_eq(dead_total(), 1);
}

HANDLER(pass_and_panic)
{
    troupe_forward(ctx, msg, address(BACK));
    troupe_panic(ctx, "after it");
}

RESTARTED(say_crash)
{
    say("crash-%d-kind%u-from%s", crash->has_message, crash->kind,
        troupe_addr_same(crash->sender, crash->parent) ? "-parent" : "-another");
    bump(DONE);
}

/* With retries: what was handed on is not given to anybody again. */
static const troupe_behavior panicking = {
    .name = "panicking",
    .restarted = say_crash,
    .handlers = {[QUERY] = {.name = "pass_and_panic", .fn = pass_and_panic, .size = sizeof(uint64_t), .retries = 2}}};

HANDLER(look_for_end)
{
    if (word(DONE) == 2)
        troupe_stop_runtime(ctx, 0);
    else
        troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

ANSWER(answered_too)
{
    say("%d", answer->status);
    bump(DONE);
    troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

STARTED(query_panicking)
{
    uint64_t me = troupe_self(ctx).bits;
    spawn_both(ctx, &panicking);
    return troupe_ask(ctx, world.addr[FRONT], QUERY, &me, sizeof me, TROUPE_SEC(60), answered_too, NULL);
}

static const troupe_behavior asks_panicking = {
    .name = "asks", .started = query_panicking, .handlers = {[GO] = ON(look_for_end, 0)}};

Test(forward, survives_a_crash_of_who_forwarded)
{
    world_begin(1);
    cr_assert_eq(run(&asks_panicking, NULL), 0);
    cr_assert_not_null(strstr(world.trace, "from-asker"), "%s", world.trace);
    cr_assert_not_null(strstr(world.trace, "crash-1-kind4-from-parent"), "%s", world.trace);
    cr_assert_eq(word(DONE), 2, "one answer, one crash: %s", world.trace);
    cr_assert_eq(dead_total(), 0);
}

/* --- kept --------------------------------------------------------------------------------------------------------- */

HANDLER(keep_it)
{
    *(troupe_msg **)self = troupe_keep(ctx, msg);
    if (!*(troupe_msg **)self)
        bump(WRONG);
}

HANDLER(pass_kept)
{
    say("kept");
    if (troupe_forward(ctx, *(troupe_msg **)self, address(BACK)) != 0)
        bump(WRONG);
}

static const troupe_behavior keeper = {
    .name = "keeper",
    .state_size = sizeof(troupe_msg *),
    .handlers = {[QUERY] = ON(keep_it, sizeof(uint64_t)), [PASS_KEPT] = ON(pass_kept, 0)}};

STARTED(query_keeper)
{
    spawn_both(ctx, &keeper);
    query(ctx, world.addr[FRONT]);
    return troupe_tell(ctx, world.addr[FRONT], PASS_KEPT, NULL, 0);
}

static const troupe_behavior asks_keeper = {.name = "asks", .started = query_keeper};

Test(forward, of_a_kept_message)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&asks_keeper, NULL), 0);
        cr_assert_str_eq(world.trace, "kept from-asker 0:well");
        cr_assert_eq(word(WRONG), 0);
        cr_assert_eq(dead_total(), 0);
    }
}

HANDLER(keep_and_pass)
{
    troupe_msg *kept = troupe_keep(ctx, msg);
    if (!kept || troupe_forward(ctx, kept, address(BACK)) != 0)
        bump(WRONG);
}

static const troupe_behavior hasty = {.name = "hasty", .handlers = {[QUERY] = ON(keep_and_pass, sizeof(uint64_t))}};

STARTED(query_hasty)
{
    spawn_both(ctx, &hasty);
    query(ctx, world.addr[FRONT]);
    return 0;
}

static const troupe_behavior asks_hasty = {.name = "asks", .started = query_hasty};

Test(forward, of_a_message_kept_in_the_same_handler)
{
    world_begin(2);
    cr_assert_eq(run(&asks_hasty, NULL), 0);
    cr_assert_str_eq(world.trace, "from-asker 0:well");
    cr_assert_eq(word(WRONG), 0);
}

/* --- a crowd ------------------------------------------------------------------------------------------------------ */

enum { CROWD = 6, TRAVELLERS = 200, HOPS = 100 };
enum { HOPPED, ENDED };

struct traveller {
    uint32_t hops, seed;
    uint64_t sender;
    char luggage[200];
};

/* Also to itself: then it is sent to the mailbox whose mark it may be. */
HANDLER(hop)
{
    struct traveller *t = (void *)(uintptr_t)troupe_payload(msg);
    bump(HOPPED);
    if (troupe_sender(msg).bits != t->sender || t->luggage[199] != 'x')
        bump(WRONG);
    if (t->hops == 0) {
        if (bump(ENDED) == TRAVELLERS)
            troupe_stop_runtime(ctx, 0);
        return;
    }
    t->hops--;
    t->seed = t->seed * 1664525u + 1013904223u;
    if (troupe_forward(ctx, msg, address(2 + (t->seed >> 16) % CROWD)) != 0)
        bump(WRONG);
}

static const troupe_behavior station = {.name = "station", .handlers = {[DATA] = ON(hop, sizeof(struct traveller))}};

STARTED(begin_journey)
{
    for (unsigned i = 0; i < CROWD; i++)
        world.addr[2 + i] = troupe_spawn(ctx, &station, NULL, NULL);
    for (unsigned i = 0; i < TRAVELLERS; i++) {
        struct traveller t = {.hops = HOPS, .seed = i, .sender = troupe_self(ctx).bits};
        t.luggage[199] = 'x';
        troupe_tell(ctx, world.addr[2 + i % CROWD], DATA, &t, sizeof t);
    }
    return 0;
}

static const troupe_behavior journey = {.name = "journey", .started = begin_journey};

Test(forward, in_a_crowd_loses_and_doubles_nothing)
{
    for (unsigned workers = 1; workers <= 4; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&journey, NULL), 0);
        cr_assert_eq(word(HOPPED), TRAVELLERS * (HOPS + 1));
        cr_assert_eq(word(WRONG), 0);
        cr_assert_eq(dead_total(), 0);
    }
}
