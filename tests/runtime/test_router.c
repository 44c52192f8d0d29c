/* SPDX-License-Identifier: Apache-2.0 */
/* Routers: who is chosen by each rule, over an array and over a group, and what happens when routees end. */
#include "cast.h"

#include <sched.h>

#include "sched/base/rng.h"

/* Children, all of them members of a group; NULL: none. */
static void spawn_routees(troupe_ctx *ctx, unsigned count, const char *group)
{
    for (unsigned i = 0; i < count; i++) {
        troupe_addr child = spawn_child(ctx);
        if (group)
            expect(troupe_group_join(ctx, group, child) == 0, "join");
    }
}

static void route(troupe_ctx *ctx, troupe_router *router, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        expect(troupe_router_tell(ctx, router, i, NOTE, NULL, 0) == 0, "told");
}

static unsigned number_of(troupe_addr addr)
{
    unsigned nr = 0;
    while (nr < cast.spawned && !troupe_addr_same(cast.child[nr], addr))
        nr++;
    return nr;
}

/* --- round robin -------------------------------------------------------------------------------------------------- */

static troupe_router router;

static void dead_one_was_passed_over(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 30 && cast.heard[1] == 20 && cast.heard[2] == 30 && cast.heard[3] == 30, "turns");
    finish(ctx);
}

static void one_has_ended(troupe_ctx *ctx)
{
    route(ctx, &router, 30);
    when(ctx, HEARD, 110, dead_one_was_passed_over);
}

static void all_had_turns(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 4; i++)
        expect(cast.heard[i] == 20, "turns");
    expect(troupe_addr_same(cast.sender, troupe_self(ctx)), "sender");
    end_child(ctx, 1);
    when(ctx, ENDED, 1, one_has_ended);
}

static void array_turns(troupe_ctx *ctx)
{
    spawn_routees(ctx, 4, NULL);
    router = troupe_router_over(TROUPE_ROUTE_ROUND_ROBIN, cast.child, 4);
    for (unsigned i = 0; i < 8; i++)
        expect(number_of(troupe_router_pick(ctx, &router, 0)) == i % 4, "pick");
    route(ctx, &router, 80);
    when(ctx, HEARD, 80, all_had_turns);
}

static void group_turns(troupe_ctx *ctx)
{
    spawn_routees(ctx, 4, "pool");
    router = troupe_router_over_group(TROUPE_ROUTE_ROUND_ROBIN, "pool");
    for (unsigned i = 0; i < 8; i++)
        expect(number_of(troupe_router_pick(ctx, &router, 0)) == i % 4, "pick");
    route(ctx, &router, 80);
    when(ctx, HEARD, 80, all_had_turns);
}

Test(router, round_robin_gives_turns_and_passes_over_the_dead)
{
    cr_expect_eq(play(2, array_turns), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
    cr_expect_eq(play(2, group_turns), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

/* --- random ------------------------------------------------------------------------------------------------------- */

enum { DRAWN = 8, DRAWS = 8000 };

static void spread_evenly(troupe_ctx *ctx)
{
    unsigned drawn[DRAWN + 1] = {0};
    spawn_routees(ctx, DRAWN, "pool");
    router = troupe_router_over_group(TROUPE_ROUTE_RANDOM, "pool");
    router.random = 4711;
    unsigned same = 0, last = DRAWN;
    for (unsigned i = 0; i < DRAWS; i++) {
        unsigned nr = number_of(troupe_router_pick(ctx, &router, 0));
        drawn[nr]++;
        same += nr == last;
        last = nr;
    }
    for (unsigned i = 0; i < DRAWN; i++) /* five standard deviations of 30 */
        expect(drawn[i] > DRAWS / DRAWN - 150 && drawn[i] < DRAWS / DRAWN + 150, "spread");
    expect(same > DRAWS / DRAWN - 150 && same < DRAWS / DRAWN + 150, "one draw says nothing of the next");
    /* Holes at the front favour nobody. */
    for (unsigned i = 0; i < 4; i++)
        troupe_group_leave(ctx, "pool", cast.child[i]);
    memset(drawn, 0, sizeof drawn);
    for (unsigned i = 0; i < DRAWS; i++)
        drawn[number_of(troupe_router_pick(ctx, &router, 0))]++;
    for (unsigned i = 4; i < DRAWN; i++)
        expect(drawn[i] > DRAWS / 4 - 250 && drawn[i] < DRAWS / 4 + 250, "spread beside holes");
    finish(ctx);
}

Test(router, random_spreads_evenly)
{
    cr_expect_eq(play(1, spread_evenly), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- least loaded ------------------------------------------------------------------------------------------------- */

static void busy_got_none(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 0, "the busy one is spared");
    ck_pr_store_64(&world.word[RELEASED], 1);
    finish(ctx);
}

static void one_at_a_time(troupe_ctx *ctx)
{
    uint64_t heard = word(HEARD);
    if (heard == 200) {
        busy_got_none(ctx);
        return;
    }
    route(ctx, &router, 1);
    when(ctx, HEARD, heard + 1, one_at_a_time);
}

static void busy_pool(troupe_ctx *ctx)
{
    spawn_routees(ctx, 4, "pool");
    router = troupe_router_over_group(TROUPE_ROUTE_LEAST_LOADED, "pool");
    troupe_tell(ctx, cast.child[0], BLOCK, NULL, 0);
    when(ctx, BLOCKED, 1, one_at_a_time);
}

Test(router, least_loaded_spares_the_busy)
{
    cr_expect_eq(play(3, busy_pool), 0);
    cr_expect_str_eq(world.trace, "");
}

static void crowd_heard(troupe_ctx *ctx)
{
    unsigned most = 0;
    for (unsigned i = 0; i < 64; i++)
        if (cast.heard[i] > most)
            most = (unsigned)cast.heard[i];
    expect(most < 64 * 20 / 8, "nobody is flooded");
    finish(ctx);
}

static void crowd(troupe_ctx *ctx)
{
    spawn_routees(ctx, 64, "crowd");
    router = troupe_router_over_group(TROUPE_ROUTE_LEAST_LOADED, "crowd");
    route(ctx, &router, 64 * 20);
    when(ctx, HEARD, (uint64_t)64 * 20, crowd_heard);
}

Test(router, least_loaded_spreads_over_a_crowd)
{
    cr_expect_eq(play(1, crowd), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

enum { KEYS = 10000, NODES = 20 };

static unsigned place_of_key[KEYS];

static void map_keys(troupe_ctx *ctx, unsigned *out)
{
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t key = i % 2 ? i : troupe_route_key(&i, sizeof i);
        out[i] = number_of(troupe_router_pick(ctx, &router, key));
    }
}

static unsigned moved(const unsigned *now, unsigned only_from, unsigned only_to)
{
    unsigned count = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (now[i] == place_of_key[i])
            continue;
        count++;
        expect(only_to == NODES * 2 || now[i] == only_to, "a key moved elsewhere");
        expect(only_from == NODES * 2 || place_of_key[i] == only_from, "a key moved that need not");
    }
    return count;
}

static void one_node_less(troupe_ctx *ctx)
{
    unsigned now[KEYS];
    map_keys(ctx, now);
    unsigned count = moved(now, 3, NODES * 2);
    expect(count > KEYS / NODES / 2 && count < KEYS / NODES * 2, "about one in n, less");
    unsigned got[NODES + 1] = {0};
    for (unsigned i = 0; i < KEYS; i++)
        got[now[i]]++;
    for (unsigned i = 0; i <= NODES; i++)
        expect(i == 3 ? got[i] == 0 : got[i] > KEYS / NODES / 2 && got[i] < KEYS / NODES * 2, "spread");
    finish(ctx);
}

static void keyed(troupe_ctx *ctx)
{
    unsigned now[KEYS];
    spawn_routees(ctx, NODES, "nodes");
    router = troupe_router_over_group(TROUPE_ROUTE_KEY, "nodes");
    map_keys(ctx, place_of_key);
    map_keys(ctx, now);
    expect(moved(now, NODES * 2, NODES * 2) == 0, "the same again");
    spawn_routees(ctx, 1, "nodes");
    map_keys(ctx, now);
    unsigned count = moved(now, NODES * 2, NODES);
    expect(count > KEYS / NODES / 2 && count < KEYS / NODES * 2, "about one in n, more");
    router = troupe_router_over(TROUPE_ROUTE_KEY, cast.child, cast.spawned);
    unsigned array[KEYS];
    map_keys(ctx, array);
    expect(memcmp(array, now, sizeof now) == 0, "an array is as good as a group");
    router = troupe_router_over_group(TROUPE_ROUTE_KEY, "nodes");
    memcpy(place_of_key, now, sizeof now);
    end_child(ctx, 3);
    when(ctx, ENDED, 1, one_node_less);
}

Test(router, a_key_stays_with_its_actor_and_few_move_with_a_member)
{
    cr_expect_eq(play(2, keyed), 0);
    cr_expect_str_eq(world.trace, "");
}

static void same_after_restart(troupe_ctx *ctx)
{
    unsigned now[KEYS];
    map_keys(ctx, now);
    expect(moved(now, NODES * 2, NODES * 2) == 0, "nothing moved");
    finish(ctx);
}

static void keyed_restart(troupe_ctx *ctx)
{
    spawn_routees(ctx, NODES, "nodes");
    router = troupe_router_over_group(TROUPE_ROUTE_KEY, "nodes");
    map_keys(ctx, place_of_key);
    troupe_tell(ctx, cast.child[5], PANIC, NULL, 0);
    troupe_tell(ctx, cast.child[5], NOTE, NULL, 0);
    when(ctx, HEARD, 1, same_after_restart);
}

Test(router, a_restart_moves_no_key)
{
    cr_expect_eq(play(2, keyed_restart), 0);
    cr_expect_str_eq(world.trace, "");
}

Test(router, keys_of_bytes_differ_in_every_byte)
{
    unsigned char bytes[24] = {0};
    for (size_t size = 1; size <= sizeof bytes; size++) {
        uint64_t key = troupe_route_key(bytes, size);
        cr_expect_eq(key, troupe_route_key(bytes, size));
        cr_expect_neq(key, troupe_route_key(bytes, size - 1), "size %zu", size);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = 1;
            cr_expect_neq(key, troupe_route_key(bytes, size), "byte %zu of %zu", i, size);
            bytes[i] = 0;
        }
    }
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

static void all_heard_all(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 5; i++)
        expect(cast.heard[i] == (i == 2 ? 0 : 2), "each");
    finish(ctx);
}

static void tell_those_alive(troupe_ctx *ctx)
{
    troupe_router array = troupe_router_over(TROUPE_ROUTE_ALL, cast.child, 5);
    expect(troupe_router_tell(ctx, &router, 0, NOTE, NULL, 0) == 0, "group");
    expect(troupe_router_tell(ctx, &array, 0, NOTE, NULL, 0) == 0, "array");
    expect(troupe_addr_is_nobody(troupe_router_pick(ctx, &array, 0)), "all are not one");
    expect(troupe_router_tell(ctx, &array, 0, NOTE, "", TROUPE_PAYLOAD_MAX + 1) == -EMSGSIZE, "size");
    when(ctx, HEARD, 8, all_heard_all);
}

static void all_of_five(troupe_ctx *ctx)
{
    spawn_routees(ctx, 5, "five");
    router = troupe_router_over_group(TROUPE_ROUTE_ALL, "five");
    end_child(ctx, 2);
    when(ctx, ENDED, 1, tell_those_alive);
}

Test(router, all_tells_each_that_lives)
{
    cr_expect_eq(play(2, all_of_five), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

/* --- nobody ------------------------------------------------------------------------------------------------------- */

ANSWER(no_answer)
{
    say("%d", answer->status);
    finish(ctx);
}

static void nobody_lives(troupe_ctx *ctx)
{
    for (unsigned rule = TROUPE_ROUTE_ROUND_ROBIN; rule <= TROUPE_ROUTE_ALL; rule++) {
        troupe_router array = troupe_router_over((troupe_route)rule, cast.child, 2);
        troupe_router empty = troupe_router_over((troupe_route)rule, NULL, 0);
        troupe_router group = troupe_router_over_group((troupe_route)rule, "empty");
        expect(troupe_router_tell(ctx, &array, 0, NOTE, NULL, 0) == -ESRCH, "array");
        expect(troupe_router_tell(ctx, &empty, 0, NOTE, NULL, 0) == -ESRCH, "empty");
        expect(troupe_runtime_router_tell(troupe_ctx_runtime(ctx), &group, 0, NOTE, NULL, 0) == -ESRCH, "group");
    }
    troupe_router nameless = troupe_router_over_group(TROUPE_ROUTE_RANDOM, "");
    expect(troupe_router_tell(ctx, &nameless, 0, NOTE, NULL, 0) == -EINVAL, "no name");
    troupe_router all = troupe_router_over_group(TROUPE_ROUTE_ALL, "empty");
    expect(troupe_router_ask(ctx, &all, 0, ASKED, NULL, 0, TROUPE_SEC(9), no_answer, NULL) == -EINVAL, "ask all");
    troupe_router array = troupe_router_over(TROUPE_ROUTE_RANDOM, cast.child, 2);
    expect(troupe_router_ask(ctx, &array, 0, ASKED, NULL, 0, TROUPE_SEC(9), no_answer, NULL) == 0, "ask");
}

static void two_end(troupe_ctx *ctx)
{
    spawn_routees(ctx, 2, NULL);
    end_child(ctx, 0);
    end_child(ctx, 1);
    when(ctx, ENDED, 2, nobody_lives);
}

Test(router, a_message_for_nobody_is_a_dead_letter_and_a_status)
{
    cr_expect_eq(play(2, two_end), 0);
    char expected[16];
    snprintf(expected, sizeof expected, "%d", -ESRCH);
    cr_expect_str_eq(world.trace, expected);
    cr_expect_eq(world.dead[TROUPE_DEAD_NO_ACTOR], 3 * 5 + 1); /* and the ask */
    cr_expect_eq(dead_total(), 3 * 5 + 1);
}

/* --- asks, and other threads -------------------------------------------------------------------------------------- */

ANSWER(answered)
{
    expect(answer->status == 0 && answer->size == sizeof(unsigned), "answer");
    say("%u", *(const unsigned *)answer->payload);
    if (bump(OTHERS) == 4)
        finish(ctx);
}

static void asks(troupe_ctx *ctx)
{
    spawn_routees(ctx, 3, "oracles");
    router = troupe_router_over_group(TROUPE_ROUTE_ROUND_ROBIN, "oracles");
    for (unsigned i = 0; i < 4; i++)
        expect(troupe_router_ask(ctx, &router, 0, ASKED, NULL, 0, TROUPE_SEC(9), answered, NULL) == 0, "ask");
}

Test(router, asks_take_turns_too)
{
    cr_expect_eq(play(1, asks), 0);
    cr_expect_eq(strlen(world.trace), strlen("0 1 2 0"), "%s", world.trace); /* in any order */
    cr_expect(strchr(world.trace, '1') && strchr(world.trace, '2') && !strstr(world.trace, "WRONG"));
}

static void *outsider(void *arg)
{
    troupe_router mine = troupe_router_over_group(TROUPE_ROUTE_ROUND_ROBIN, "pool");
    for (unsigned i = 0; i < 300; i++)
        expect(troupe_runtime_router_tell(arg, &mine, 0, NOTE, NULL, 0) == 0, "told");
    expect(troupe_addr_same(troupe_runtime_router_pick(arg, &mine, 0), cast.child[0]), "pick");
    return NULL;
}

static void from_outside(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 100 && cast.heard[1] == 100 && cast.heard[2] == 100, "turns");
    expect(troupe_addr_is_nobody(cast.sender), "sender");
    finish(ctx);
}

static void has_outsider(troupe_ctx *ctx)
{
    pthread_t thread;
    spawn_routees(ctx, 3, "pool");
    pthread_create(&thread, NULL, outsider, troupe_ctx_runtime(ctx));
    pthread_join(thread, NULL);
    when(ctx, HEARD, 300, from_outside);
}

Test(router, may_be_used_from_outside)
{
    cr_expect_eq(play(2, has_outsider), 0);
    cr_expect_str_eq(world.trace, "");
}
