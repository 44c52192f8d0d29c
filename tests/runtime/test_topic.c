/* SPDX-License-Identifier: Apache-2.0 */
/* Topics: who hears what is published, under which kind, and that nobody waits for anybody. */
#include "cast.h"

#include <sched.h>
#include <stdlib.h>

static troupe_fanout published(troupe_ctx *ctx, const char *topic, const void *payload, size_t size)
{
    troupe_fanout out;
    expect(troupe_publish(ctx, topic, payload, size, &out) == 0, "publish");
    return out;
}

/* --- subscriptions ------------------------------------------------------------------------------------------------ */

static void kinds_heard(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 1 && cast.heard[1] == 0 && cast.heard[2] == 1 && word(OTHERS) == 2, "each by its kind");
    expect(troupe_addr_same(cast.sender, troupe_self(ctx)), "sender");
    finish(ctx);
}

static void subscribes(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 3; i++)
        spawn_child(ctx);
    expect(published(ctx, "news", "x", 1).told == 0, "nobody is subscribed");
    expect(troupe_subscribe(ctx, "news", cast.child[0], NOTE) == 0, "first");
    expect(troupe_subscribe(ctx, "news", cast.child[1], OTHER) == 0, "another kind");
    expect(published(ctx, "news", "x", 1).told == 2, "both");
    expect(troupe_unsubscribe(ctx, "news", cast.child[1]) == 0, "unsubscribe");
    expect(troupe_unsubscribe(ctx, "news", cast.child[1]) == -ENOENT, "twice");
    expect(troupe_subscribe(ctx, "news", cast.child[0], OTHER) == 0, "change of kind");
    expect(troupe_subscribe(ctx, "news", cast.child[2], NOTE) == 0, "third");
    expect(published(ctx, "news", "x", 1).told == 2, "once each");
    expect(published(ctx, "olds", "x", 1).told == 0, "another topic");
    expect(troupe_publish(ctx, "", NULL, 0, NULL) == -EINVAL, "no name");
    expect(troupe_publish(ctx, "news", "", TROUPE_PAYLOAD_MAX + 1, NULL) == -EMSGSIZE, "too large");
    expect(troupe_subscribe(ctx, "news", (troupe_addr){0}, NOTE) == -ESRCH, "nobody");
    expect(troupe_group_members(ctx, "news", NULL, 0) == 0, "no group");
    when(ctx, HEARD, 2, kinds_heard);
}

Test(topic, is_heard_by_each_subscriber_under_its_kind)
{
    cr_expect_eq(play(1, subscribes), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

enum { LARGE = 1 << 20 };
static uint64_t large_seen;

HANDLER(on_large)
{
    const unsigned char *bytes = troupe_payload(msg);
    bool same = troupe_size(msg) == LARGE;
    for (size_t i = 0; same && i < LARGE; i++)
        same = bytes[i] == (unsigned char)(i * 7);
    expect(same, "payload");
    ck_pr_inc_64(&large_seen);
    bump(HEARD);
}

static const troupe_behavior reader = {.name = "reader", .handlers = {[NOTE] = ON(on_large, TROUPE_ANY_SIZE)}};

static void publishes_large(troupe_ctx *ctx)
{
    unsigned char *bytes = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (unsigned i = 0; i < 5; i++)
        troupe_subscribe(ctx, "large", troupe_spawn(ctx, &reader, NULL, NULL), NOTE);
    expect(published(ctx, "large", bytes, LARGE).told == 5, "told");
    memset(bytes, 0, LARGE); /* it was copied */
    free(bytes);
    when(ctx, HEARD, 5, finish);
}

Test(topic, carries_a_large_payload_to_all)
{
    cr_expect_eq(play(2, publishes_large), 0);
    cr_expect_str_eq(world.trace, "");
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void one_is_left(troupe_ctx *ctx)
{
    troupe_fanout out = published(ctx, "news", NULL, 0);
    expect(out.told == 1 && out.gone == 0, "the other one's subscription is gone");
    when(ctx, HEARD, 2, finish); /* the one behind the crash, and this */
}

static void subscribers_end(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 2; i++)
        troupe_subscribe(ctx, "news", spawn_child(ctx), NOTE);
    troupe_tell(ctx, cast.child[0], PANIC, NULL, 0);
    troupe_tell(ctx, cast.child[0], NOTE, NULL, 0);
    end_child(ctx, 1);
    when(ctx, ENDED, 1, one_is_left);
}

Test(topic, subscriptions_stay_over_a_restart_and_go_with_the_end)
{
    cr_expect_eq(play(2, subscribers_end), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(world.dead[TROUPE_DEAD_NO_ACTOR] + world.dead[TROUPE_DEAD_STOPPED], 0);
}

/* --- nobody waits ------------------------------------------------------------------------------------------------- */

enum { NUMBERS = 1000 };

static void slow_one_has_heard(troupe_ctx *ctx)
{
    expect(cast.heard[0] == NUMBERS, "all of it, late");
    finish(ctx);
}

static void quick_ones_have_heard(troupe_ctx *ctx)
{
    expect(cast.heard[0] == 0, "the slow one is still busy");
    expect(cast.heard[1] == NUMBERS && cast.heard[2] == NUMBERS, "the others are not");
    ck_pr_store_64(&world.word[RELEASED], 1);
    when(ctx, HEARD, 3 * NUMBERS, slow_one_has_heard);
}

static void one_is_busy(troupe_ctx *ctx)
{
    for (uint64_t i = 1; i <= NUMBERS; i++)
        expect(published(ctx, "ticks", &i, sizeof i).told == 3, "told");
    when(ctx, HEARD, 2 * NUMBERS, quick_ones_have_heard);
}

static void has_slow_one(troupe_ctx *ctx)
{
    for (unsigned i = 0; i < 3; i++)
        troupe_subscribe(ctx, "ticks", spawn_child(ctx), NOTE);
    troupe_tell(ctx, cast.child[0], BLOCK, NULL, 0);
    when(ctx, BLOCKED, 1, one_is_busy);
}

Test(topic, a_slow_subscriber_holds_up_nobody)
{
    cr_expect_eq(play(3, has_slow_one), 0);
    cr_expect_str_eq(world.trace, "");
    cr_expect_eq(dead_total(), 0);
}

/* --- from outside ------------------------------------------------------------------------------------------------- */

static void *publisher(void *arg)
{
    troupe_runtime *rt = arg;
    troupe_fanout out;
    expect(troupe_runtime_subscribe(rt, "ticks", cast.child[0], NOTE) == 0, "subscribe");
    expect(troupe_runtime_subscribe(rt, "ticks", cast.child[1], NOTE) == 0, "subscribe");
    expect(troupe_runtime_unsubscribe(rt, "ticks", cast.child[1]) == 0, "unsubscribe");
    for (uint64_t i = 1; i <= NUMBERS; i++)
        expect(troupe_runtime_publish(rt, "ticks", &i, sizeof i, &out) == 0 && out.told == 1, "publish");
    return NULL;
}

static pthread_t outside;

static void outsiders_heard(troupe_ctx *ctx)
{
    pthread_join(outside, NULL);
    expect(cast.heard[0] == NUMBERS && troupe_addr_is_nobody(cast.sender), "heard");
    finish(ctx);
}

static void has_publisher(troupe_ctx *ctx)
{
    spawn_child(ctx);
    spawn_child(ctx);
    pthread_create(&outside, NULL, publisher, troupe_ctx_runtime(ctx));
    when(ctx, HEARD, NUMBERS, outsiders_heard);
}

Test(topic, may_be_published_to_from_outside)
{
    cr_expect_eq(play(2, has_publisher), 0);
    cr_expect_str_eq(world.trace, "");
}
