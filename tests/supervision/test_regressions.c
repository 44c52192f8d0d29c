/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that reading found and tests had not: each test fails without its mend.
 * It follows no feature's order; what a feature promises is tested in the feature's own file. */
#include "tests/runtime/world.h"

#include "runtime/cell.h"
#include "runtime/recovery.h"

/* --- a member that crashes again before the next one has read that it shall start --------------------------------- */

enum { CRASH, SPEAK };
enum { SPOKEN };

HANDLER(crash)
{
    troupe_panic(ctx, "again");
}

/* Behind the crashes in both mailboxes: they were all handled, and both members are up. */
HANDLER(speak)
{
    if (bump(SPOKEN) == 2)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior member = {
    .name = "member", .supervision = {.restarts = 64}, .handlers = {[CRASH] = ON(crash, 0), [SPEAK] = ON(speak, 0)}};

static const troupe_child two[] = {{.behavior = &member}, {.behavior = &member}, {0}};

STARTED(begin_crashes)
{
    return troupe_tell(ctx, troupe_self(ctx), CRASH, NULL, 0);
}

/* When both have started. */
HANDLER(order_crashes)
{
    for (unsigned i = 0; i < 20; i++)
        troupe_tell(ctx, troupe_child_at(ctx, 0), CRASH, NULL, 0);
    for (unsigned place = 0; place < 2; place++)
        troupe_tell(ctx, troupe_child_at(ctx, place), SPEAK, NULL, 0);
}

static const troupe_behavior family = {.name = "family",
                                       .started = begin_crashes,
                                       .children = {.strategy = TROUPE_ONE_FOR_ALL, .declared = two},
                                       .handlers = {[CRASH] = ON(order_crashes, 0)}};

/* Its UP and the next DOWN come together: the parent tells the next member to start and to come down in one breath. */
Test(group, goes_on_when_a_member_crashes_before_the_next_has_begun)
{
    for (unsigned workers = 1; workers <= 4; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&family, NULL), 0);
        cr_assert_eq(word(SPOKEN), 2);
        cr_assert_eq(world.dead[TROUPE_DEAD_CRASHED], 20);
        cr_assert_eq(dead_total(), 20);
    }
}

/* --- a family's alarm that rings while its parent is being buried ------------------------------------------------- */

enum { LETTERS = 3000, TIMERS = 8192 };
enum { LETTER, COLLECT, COUNT };
enum { GONE, LOST };

static troupe_timer timers[TIMERS];
static unsigned timers_count;

/* Slow, so that the worker looks at its timers many times during one burial. */
static void drop_slowly(UNUSED const void *payload, UNUSED size_t size)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 50000);
}

static const troupe_behavior brief = {.name = "brief", .supervision = {.shutdown_ns = TROUPE_MS(5)}};

STARTED(begin_parent)
{
    troupe_spawn(ctx, &brief, NULL, NULL);
    for (unsigned i = 0; i < LETTERS; i++)
        troupe_tell(ctx, troupe_self(ctx), LETTER, NULL, 0);
    troupe_stop_self(ctx);
    return 0;
}

HANDLER(never)
{
    say("handled");
}

static const troupe_behavior parent = {.name = "parent",
                                       .started = begin_parent,
                                       .handlers = {[LETTER] = {.name = "letter", .fn = never, .drop = drop_slowly}}};

/* Takes what timers are free, again and again. When the parent has gone every one of them must still be there. */
HANDLER(collect)
{
    if (!word(GONE)) {
        if (timers_count < TIMERS)
            troupe_send_after(ctx, TROUPE_SEC(3600), troupe_self(ctx), COLLECT, NULL, 0, &timers[timers_count++]);
        troupe_tell(ctx, troupe_self(ctx), COLLECT, NULL, 0);
        return;
    }
    for (unsigned i = 0; i < timers_count; i++)
        if (!troupe_timer_cancel(ctx, timers[i]))
            bump(LOST);
    troupe_stop_runtime(ctx, 0);
}

STARTED(begin_collecting)
{
    return troupe_tell(ctx, troupe_self(ctx), COLLECT, NULL, 0);
}

static const troupe_behavior collector = {
    .name = "collector", .started = begin_collecting, .handlers = {[COLLECT] = ON(collect, 0)}};

STARTED(begin_burial)
{
    world.addr[0] = troupe_spawn(ctx, &parent, NULL, NULL);
    troupe_spawn(ctx, &collector, NULL, NULL);
    return 0;
}

CHILD_STOPPED(note_gone)
{
    bump(GONE);
}

static const troupe_behavior undertaker = {.name = "undertaker", .started = begin_burial, .child_stopped = note_gone};

/* The alarm finds the lane closed and is freed: the parent must not cancel it once more, it is somebody else's by
 * then. */
Test(burial, of_a_parent_leaves_other_actors_timers_alone)
{
    world_begin(1);
    timers_count = 0;
    cr_assert_eq(run(&undertaker, NULL), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], LETTERS);
    cr_assert_gt(timers_count, 0);
    cr_assert_eq(word(LOST), 0, "%u of %u timers", (unsigned)word(LOST), timers_count);
}

/* --- a child that has ended and whose parent does not know it yet ------------------------------------------------- */

static const troupe_child one[] = {{.behavior = &member}, {0}};

/* Handles nothing else until the child's slot is closed: until then its end is no news. */
HANDLER(outlive_child)
{
    troupe_addr known = troupe_child_at(ctx, 0);
    cr_assert(!troupe_addr_is_nobody(known));
    while (troupe_stop(ctx, known) == 0)
        usleep(100);
    cr_assert(troupe_addr_same(troupe_child_at(ctx, 0), known), "the address of the next actor in that slot");
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior outliving = {.name = "outliving",
                                          .started = begin_crashes,
                                          .children = {.declared = one},
                                          .handlers = {[CRASH] = ON(outlive_child, 0)}};

Test(place, names_the_child_and_never_the_next_actor_in_its_slot)
{
    world_begin(2);
    cr_assert_eq(run(&outliving, NULL), 0);
}

/* --- a crash for whose record there was no memory ----------------------------------------------------------------- */

/* The recovery is made later, when the window is asked: its record is empty, and users read names from records. */
Test(record, that_was_lost_still_has_names)
{
    struct tr_recovery recovery = {.backoffs = 0};
    struct tr_cell cell = {.recovery = &recovery};
    const troupe_crash *crash = tr_recovery_crash(&cell);
    cr_assert_not_null(crash->behavior);
    cr_assert_not_null(crash->handler);
    cr_assert_not_null(crash->file);
}
