/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a mailbox: each letter is shown, and dropped by its handler's drop, whatever the others' drops do. */
#include "script.h"

enum { SUBJECT };
enum { DROPPED, SUM, ANSWERED, ENDED };
enum { ANY = EVENT + 1 };
enum { LETTERS = 1000, BAD = 7 }; /* every seventh drop panics */

static void drop_or_panic(const void *payload, size_t size)
{
    unsigned n = *(const unsigned *)payload;
    cr_expect_eq(size, sizeof n);
    ck_pr_add_64(&world.word[SUM], n);
    if (bump(DROPPED) % BAD == 0)
        troupe_panic(NULL, "cannot drop %u", n);
}

HANDLER(never)
{
    say("handled");
}

static const troupe_behavior subject = {
    .name = "subject",
    .stopped = say_stopped,
    .handlers = {DOES, [NOTE] = {.name = "exact", .fn = never, .size = sizeof(unsigned), .drop = drop_or_panic},
                 [ANY] = {.name = "any", .fn = never, .size = TROUPE_ANY_SIZE, .drop = drop_or_panic}}};

ANSWER(count_no_actor)
{
    cr_expect_eq(answer->status, -ESRCH);
    bump(ANSWERED);
}

static bool kills, asks;

STEP(end_when_answered)
{
    if (word(ENDED) && word(ANSWERED) == (asks ? LETTERS : 0))
        end_step(ctx);
    else
        go_on(ctx, end_when_answered);
}

STARTED(fill_and_end)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    for (unsigned i = 1; i <= LETTERS; i++) {
        unsigned kind = i % 2 ? NOTE : ANY;
        int status =
            asks ? troupe_ask(ctx, world.addr[SUBJECT], kind, &i, sizeof i, TROUPE_FOREVER, count_no_actor, NULL)
                 : troupe_tell(ctx, world.addr[SUBJECT], kind, &i, sizeof i);
        cr_assert_eq(status, 0);
    }
    if (kills)
        troupe_kill(ctx, world.addr[SUBJECT]);
    else
        troupe_stop(ctx, world.addr[SUBJECT]);
    end_when_answered(ctx);
    return 0;
}

CHILD_STOPPED(note_end)
{
    say("child:%s", troupe_reason_name(reason));
    bump(ENDED);
}

static const troupe_behavior undertaker = {.name = "undertaker",
                                           .started = fill_and_end,
                                           .child_stopped = note_end,
                                           .stopped = keep_stats,
                                           .handlers = {DOES}};

Test(burial, drops_all_letters_although_some_drops_panic)
{
    for (unsigned i = 0; i < 4; i++) {
        kills = i & 1;
        asks = i & 2;
        world_begin(1);
        cr_assert_eq(run(&undertaker, NULL), 0);
        cr_assert_str_eq(world.trace, kills ? "child:killed" : "child:stopped");
        cr_assert_eq(word(DROPPED), LETTERS);
        cr_assert_eq(word(SUM), LETTERS * (LETTERS + 1) / 2);
        cr_assert_eq(world.stats.cleanup_panics, LETTERS / BAD);
        cr_assert_eq(world.stats.crashes, 0);
        cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], LETTERS);
        cr_assert_eq(word(ANSWERED), asks ? LETTERS : 0);
    }
}

/* A size that the handler does not declare, and a kind without one: shown, and nobody's to drop. */
STEP(misfits)
{
    troupe_tell(ctx, world.addr[SUBJECT], NOTE, "ab", 2);
    troupe_tell(ctx, world.addr[SUBJECT], 31, NULL, 0);
    troupe_tell(ctx, world.addr[SUBJECT], 1000, NULL, 0);
    troupe_stop(ctx, world.addr[SUBJECT]);
}

STARTED(start_misfits)
{
    world.addr[SUBJECT] = troupe_spawn(ctx, &subject, NULL, NULL);
    misfits(ctx);
    return 0;
}

Test(burial, of_misfits_calls_no_drop)
{
    static const troupe_behavior parent = {.name = "parent", .started = start_misfits, .child_stopped = say_last_child};
    world_begin(1);
    cr_assert_eq(run(&parent, NULL), 0);
    cr_assert_eq(word(DROPPED), 0);
    cr_assert_eq(world.dead[TROUPE_DEAD_STOPPED], 3);
}
