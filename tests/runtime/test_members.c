/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: who is a member, in which order, who is told, and what ends do to it. */
#include "cast.h"

#include <sched.h>

#include "runtime/context.h"
#include "runtime/members.h"
#include "sched/base/rng.h"

static bool members_are(troupe_ctx *ctx, const char *group, const troupe_addr *expected, size_t count)
{
    static troupe_addr found[CHILDREN];
    if (troupe_group_members(ctx, group, found, CHILDREN) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!troupe_addr_same(found[i], expected[i]))
            return false;
    return true;
}

/* --- membership --------------------------------------------------------------------------------------------------- */

static void orders(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 4; i++) {
        spawn_child(ctx);
        expect(troupe_group_join(ctx, "choir", cast.child[i]) == 0, "join");
    }
    expect(members_are(ctx, "choir", cast.child, 4), "in order");
    expect(troupe_group_join(ctx, "choir", cast.child[0]) == 0, "twice");
    expect(members_are(ctx, "choir", cast.child, 4), "once, and where it was");
    expect(troupe_group_leave(ctx, "choir", cast.child[1]) == 0, "leave");
    expect(troupe_group_leave(ctx, "choir", cast.child[1]) == -ENOENT, "leave twice");
    expect(troupe_group_join(ctx, "choir", cast.child[1]) == 0, "rejoin");
    troupe_addr expected[] = {cast.child[0], cast.child[2], cast.child[3], cast.child[1]};
    expect(members_are(ctx, "choir", expected, 4), "behind the others");
    troupe_addr two[2];
    expect(troupe_group_members(ctx, "choir", two, 2) == 4 && troupe_addr_same(two[1], cast.child[2]), "cut off");
    expect(troupe_group_members(ctx, "nobody's", two, 2) == 0, "no such group");
    expect(troupe_group_members(ctx, "", two, 2) == 0, "no name");
    expect(troupe_group_join(ctx, "", cast.child[0]) == -EINVAL, "join what is no name");
    expect(troupe_group_join(ctx, "choir", (troupe_addr){0}) == -ESRCH, "nobody");
    expect(troupe_group_leave(ctx, "nobody's", cast.child[0]) == -ENOENT, "leave no group");
    finish(ctx);
}

Test(members, are_listed_once_in_the_order_in_which_they_joined)
{
    cr_expect_eq(play(1, orders), 0);
    cr_expect_str_eq(world.trace, "");
}

/* Against a plain array; joins and leaves in waves, so that lists grow, are rebuilt and shrink. */
static void waves(troupe_ctx *ctx)
{
    enum { ACTORS = 600, STEPS = 40000 / SCALE };
    static troupe_addr model[ACTORS];
    static bool is_member[ACTORS];
    size_t count = 0;
    struct tr_rng rng;
    tr_rng_init(&rng, 4711);
    memset(is_member, 0, sizeof is_member);
    for (unsigned i = 0; i < ACTORS; i++)
        spawn_child(ctx);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned who = tr_rng_below(&rng, ACTORS), growing = step / 2500 % 2 == 0;
        bool joins = tr_rng_below(&rng, 8) < (growing ? 6 : 2);
        if (joins) {
            expect(troupe_group_join(ctx, "waves", cast.child[who]) == 0, "join");
            if (!is_member[who])
                model[count++] = cast.child[who];
            is_member[who] = true;
        } else {
            int status = troupe_group_leave(ctx, "waves", cast.child[who]);
            expect(status == (is_member[who] ? 0 : -ENOENT), "leave");
            size_t at = 0;
            while (at < count && !troupe_addr_same(model[at], cast.child[who]))
                at++;
            if (at < count)
                memmove(&model[at], &model[at + 1], (--count - at) * sizeof *model);
            is_member[who] = false;
        }
        if (step % 97 == 0)
            expect(members_are(ctx, "waves", model, count), "as the model");
    }
    expect(members_are(ctx, "waves", model, count), "as the model at last");
    finish(ctx);
}

Test(members, behave_as_a_plain_list_through_growth_and_decline)
{
    cr_expect_eq(play(1, waves), 0);
    cr_expect_str_eq(world.trace, "");
}

static struct tr_shard *shard_of(troupe_ctx *ctx, const char *group, struct tr_key *key)
{
    tr_key_make(key, TR_SPACE_GROUP, group);
    return tr_shard_of(&ctx->rt->names, key);
}

/* Between two reads members leave, join and the list is rebuilt; at last it is another group of the same name. */
static void reads(troupe_ctx *ctx)
{
    enum { ALL = 100, AT_ONCE = 10 };
    struct tr_key key;
    struct tr_shard *shard = shard_of(ctx, "book", &key);
    struct tr_reading reading = {0};
    struct tr_reader_member page[ALL];
    for (unsigned i = 0; i < 2 * ALL; i++)
        spawn_child(ctx);
    for (unsigned i = 0; i < ALL; i++)
        troupe_group_join(ctx, "book", cast.child[i]);
    expect(tr_members_read(shard, &key, &reading, page, AT_ONCE) == AT_ONCE, "first page");
    for (unsigned i = 0; i < 15; i++) /* those that were read, and five that were not */
        troupe_group_leave(ctx, "book", cast.child[i]);
    for (unsigned i = ALL; i < 2 * ALL; i++) /* these come too late; the list is rebuilt */
        troupe_group_join(ctx, "book", cast.child[i]);
    troupe_group_join(ctx, "book", cast.child[0]);
    expect(tr_members_read(shard, &key, &reading, page, ALL) == ALL - 15, "the rest, and nobody twice");
    expect(troupe_addr_same(page[0].addr, cast.child[15]) && troupe_addr_same(page[84].addr, cast.child[99]), "who");
    expect(tr_members_read(shard, &key, &reading, page, ALL) == 0, "the end");
    memset(&reading, 0, sizeof reading);
    tr_members_read(shard, &key, &reading, page, 1);
    for (unsigned i = 0; i < 2 * ALL; i++)
        troupe_group_leave(ctx, "book", cast.child[i]);
    for (unsigned i = 0; i < ALL; i++)
        troupe_group_join(ctx, "book", cast.child[i]);
    expect(tr_members_read(shard, &key, &reading, page, ALL) == 0, "another group of that name");
    finish(ctx);
}

Test(members, are_read_once_although_the_list_changes_between_reads)
{
    cr_expect_eq(play(1, reads), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

static void all_heard(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 100; i++)
        expect(cast.heard[i] == 50, "each");
    expect(troupe_addr_same(cast.sender, troupe_self(ctx)), "sender");
    finish(ctx);
}

static void tells_all(troupe_ctx *ctx)
{
    troupe_fanout out;
    expect(troupe_group_tell(ctx, "choir", NOTE, NULL, 0, &out) == 0 && out.told == 0, "nobody there");
    for (unsigned i = 0; i < 100; i++)
        troupe_group_join(ctx, "choir", spawn_child(ctx));
    for (uint64_t i = 1; i <= 50; i++)
        expect(troupe_group_tell(ctx, "choir", NOTE, &i, sizeof i, &out) == 0 && out.told == 100 && out.gone == 0,
               "told");
    expect(troupe_group_tell(ctx, "choir", NOTE, "", TROUPE_PAYLOAD_MAX + 1, &out) == -EMSGSIZE, "too large");
    expect(troupe_group_tell(ctx, "", NOTE, NULL, 0, NULL) == -EINVAL, "no name");
    when(ctx, HEARD, 5000, all_heard);
}

Test(members, are_all_told_in_the_order_of_the_calls)
{
    cr_expect_eq(play(2, tells_all), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

static void *outsider(void *arg)
{
    troupe_runtime *rt = arg;
    troupe_fanout out;
    troupe_addr found[2];
    for (unsigned i = 0; i < 2; i++)
        expect(troupe_runtime_group_join(rt, "guests", cast.child[i]) == 0, "join");
    expect(troupe_runtime_group_members(rt, "guests", found, 2) == 2, "members");
    expect(troupe_runtime_group_leave(rt, "guests", cast.child[1]) == 0, "leave");
    expect(troupe_runtime_group_tell(rt, "guests", NOTE, NULL, 0, &out) == 0 && out.told == 1, "tell");
    return NULL;
}

static void guests_heard(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 1 && cast.heard[1] == 0, "who");
    expect(troupe_addr_is_nobody(cast.sender), "sender");
    finish(ctx);
}

static void has_outsider(troupe_ctx *ctx)
{
    pthread_t thread;
    spawn_child(ctx);
    spawn_child(ctx);
    pthread_create(&thread, NULL, outsider, troupe_ctx_runtime(ctx));
    pthread_join(thread, NULL);
    when(ctx, HEARD, 1, guests_heard);
}

Test(members, may_be_joined_and_told_from_outside)
{
    cr_expect_eq(play(1, has_outsider), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

enum { ENDING = 2000 / SCALE };

static void odd_ones_are_left(troupe_ctx *ctx)
{
    static troupe_addr odd[ENDING];
    troupe_fanout out;
    unsigned count = 0;
    for (unsigned i = 1; i < ENDING; i += 2)
        odd[count++] = cast.child[i];
    expect(members_are(ctx, "mortals", odd, count), "the living, in order");
    /* The parent may hear of an end a moment before the dead one's tie is cut: nobody sees it, but it can still be counted. */
    int status = troupe_group_leave(ctx, "mortals", cast.child[0]);
    expect(status == -ENOENT || status == 0, "left");
    expect(troupe_group_join(ctx, "mortals", cast.child[0]) == -ESRCH, "the dead do not join");
    expect(troupe_group_tell(ctx, "mortals", NOTE, NULL, 0, &out) == 0 && out.told == count, "told");
    when(ctx, HEARD, count, finish);
}

static void half_end(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < ENDING; i++)
        troupe_group_join(ctx, "mortals", spawn_child(ctx));
    for (unsigned i = 0; i < ENDING; i += 2)
        end_child(ctx, i);
    when(ctx, ENDED, ENDING / 2, odd_ones_are_left);
}

Test(members, leave_with_their_end)
{
    cr_expect_eq(play(2, half_end), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

static void still_member(troupe_ctx *ctx)
{
    expect(members_are(ctx, "phoenix", cast.child, 1), "after the restart");
    expect(troupe_group_leave(ctx, "phoenix", cast.child[0]) == 0, "and may leave");
    finish(ctx);
}

static void member_crashes(troupe_ctx *ctx)
{
    troupe_group_join(ctx, "phoenix", spawn_child(ctx));
    troupe_tell(ctx, cast.child[0], PANIC, NULL, 0);
    troupe_tell(ctx, cast.child[0], NOTE, NULL, 0);
    when(ctx, HEARD, 1, still_member);
}

Test(members, stay_over_a_restart)
{
    cr_expect_eq(play(2, member_crashes), 0);
    cr_expect_str_eq(world.trace, "");
}

/* 400,000 times there and back: nothing is left, neither of the group nor of its members. */
static uint64_t chunks(troupe_ctx *ctx)
{
    uint64_t count = 0;
    ck_spinlock_lock(&ctx->rt->slab.chunks_lock);
    for (const struct tr_chunk_header *chunk = ctx->rt->slab.chunks; chunk; chunk = chunk->next)
        count++;
    ck_spinlock_unlock(&ctx->rt->slab.chunks_lock);
    return count;
}

static uint64_t before, rounds;

static uint64_t count_lists(troupe_ctx *ctx)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < TR_SHARDS; i++)
        for (const struct tr_members *list = ctx->rt->names.shards[i].all; list; list = list->all)
            count++;
    return count;
}

static void comes_and_goes(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 20; i++) {
        expect(troupe_group_join(ctx, "door", cast.child[0]) == 0, "join");
        expect(troupe_group_leave(ctx, "door", cast.child[0]) == 0, "leave");
    }
    if (++rounds == 100) {
        before = chunks(ctx);
    }
    if (rounds < 20000 / SCALE) {
        troupe_tell(ctx, cast.child[0], NOTE, NULL, 0); /* and takes what is in its control lane */
        when(ctx, HEARD, rounds, comes_and_goes);
        return;
    }
    expect(chunks(ctx) == before, "flat");
    expect(count_lists(ctx) == 1, "one list, used again and again");
    finish(ctx);
}

static void begins_to_come_and_go(troupe_ctx *ctx)
{
    rounds = 0;
    spawn_child(ctx);
    comes_and_goes(ctx);
}

Test(members, come_and_go_without_a_trace)
{
    cr_expect_eq(play(1, begins_to_come_and_go), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- readers and writers ------------------------------------------------------------------------------------------ */

/* At each moment the anchors are members, the first one at the head; others come and go, and the list is rebuilt. */
static uint64_t storm_over;
enum { ANCHORS = 5, STORM = 100000 / SCALE };

static void *make_storm(void *arg)
{
    for (unsigned i = 0; i < STORM; i++) {
        troupe_addr guest = cast.child[ANCHORS + i % 40];
        if (i / 40 % 2 == 0)
            troupe_runtime_group_join(arg, "storm", guest);
        else
            troupe_runtime_group_leave(arg, "storm", guest);
    }
    ck_pr_store_64(&storm_over, 1);
    return NULL;
}

static void read_through_storm(troupe_ctx *ctx)
{
    pthread_t thread;
    troupe_addr found[ANCHORS];
    troupe_router all = troupe_router_over_group(TROUPE_ROUTE_RANDOM, "storm");
    for (unsigned i = 0; i < ANCHORS + 40; i++)
        spawn_child(ctx);
    for (unsigned i = 0; i < ANCHORS; i++)
        troupe_group_join(ctx, "storm", cast.child[i]);
    ck_pr_store_64(&storm_over, 0);
    pthread_create(&thread, NULL, make_storm, troupe_ctx_runtime(ctx));
    bool whole = true, picked = true;
    while (!ck_pr_load_64(&storm_over)) {
        size_t count = troupe_group_members(ctx, "storm", found, ANCHORS);
        whole = whole && count >= ANCHORS && count <= ANCHORS + 40 && !memcmp(found, cast.child, sizeof found);
        picked = picked && !troupe_addr_is_nobody(troupe_router_pick(ctx, &all, 0));
    }
    expect(whole, "the anchors, in order");
    expect(picked, "somebody is always there");
    pthread_join(thread, NULL);
    finish(ctx);
}

Test(members, are_never_missed_while_others_come_and_go)
{
    cr_expect_eq(play(2, read_through_storm), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- without memory ----------------------------------------------------------------------------------------------- */

#if !SANITIZED
static uint64_t dry;
void *__libc_calloc(size_t count, size_t size);

void *calloc(size_t count, size_t size)
{
    return ck_pr_load_64(&dry) ? NULL : __libc_calloc(count, size);
}

static void joins_without_memory(troupe_ctx *ctx)
{
    struct tr_key key;
    struct tr_shard *shard = shard_of(ctx, "poor", &key);
    spawn_child(ctx);
    ck_pr_store_64(&dry, 1);
    expect(troupe_group_join(ctx, "poor", cast.child[0]) == -ENOMEM, "no memory for a list");
    ck_pr_store_64(&dry, 0);
    expect(shard->count == 0, "no empty name is left");
    expect(troupe_group_join(ctx, "poor", cast.child[0]) == 0 && shard->count == 1, "memory again");
    finish(ctx);
}

Test(members, without_memory_for_a_list_nothing_is_left)
{
    cr_expect_eq(play(1, joins_without_memory), 0);
    cr_expect_str_eq(world.trace, "");
}
#endif
