/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of groups, routers and topics share: a root that does what the test says, and children that count what
 * they are told. Owned by the running test.
 * It is not the harness: see world.h. */
#ifndef TR_TESTS_RUNTIME_CAST_H
#define TR_TESTS_RUNTIME_CAST_H

#include "world.h"

#include "tests/support/sanitizer.h"

enum { SCALE = SANITIZED ? 10 : 1 };
enum { STEP, NOTE, OTHER, STOP, PANIC, BLOCK, DOWN, ASKED };
enum { HEARD, OTHERS, BLOCKED, RELEASED, ENDED };
enum { CHILDREN = 4096, NAMELESS = CHILDREN };

static struct cast {
    void (*begin)(troupe_ctx *ctx);
    void (*then)(troupe_ctx *ctx); /* once `word` has counted up to `goal` */
    unsigned word;
    uint64_t goal;
    troupe_addr child[CHILDREN + 1];
    uint64_t heard[CHILDREN + 1];
    uint64_t last[CHILDREN + 1]; /* the last number that it was told */
    troupe_addr sender;          /* of the last note */
    unsigned spawned;
} cast;

static UNUSED void expect(bool holds, const char *what)
{
    if (!holds)
        say("WRONG:%s", what);
}

static UNUSED void when(troupe_ctx *ctx, unsigned word_nr, uint64_t goal, void (*then)(troupe_ctx *ctx))
{
    cast.word = word_nr;
    cast.goal = goal;
    cast.then = then;
    troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0);
}

static UNUSED void finish(troupe_ctx *ctx)
{
    troupe_stop_runtime(ctx, 0);
}

HANDLER(on_step)
{
    if (word(cast.word) < cast.goal)
        troupe_tell(ctx, troupe_self(ctx), STEP, NULL, 0);
    else
        cast.then(ctx);
}

HANDLER(on_down)
{
    bump(ENDED);
}

STARTED(root_started)
{
    cast.begin(ctx);
    return 0;
}

struct child_args {
    unsigned nr;
};

STARTED(child_started)
{
    *(unsigned *)self = ((const struct child_args *)args)->nr;
    return 0;
}

/* A number among the payload's first 8 bytes must grow. */
HANDLER(on_note)
{
    unsigned nr = *(const unsigned *)self;
    if (troupe_size(msg) >= sizeof(uint64_t)) {
        uint64_t number = *(const uint64_t *)troupe_payload(msg);
        expect(number > cast.last[nr], "order");
        cast.last[nr] = number;
    }
    ck_pr_store_64(&cast.sender.bits, troupe_sender(msg).bits); /* several at once */
    ck_pr_inc_64(&cast.heard[nr]);
    bump(HEARD);
}

HANDLER(on_other)
{
    bump(OTHERS);
}

HANDLER(on_stop)
{
    troupe_stop_self(ctx);
}

HANDLER(on_panic)
{
    troupe_panic(ctx, "on request");
}

HANDLER(on_block)
{
    bump(BLOCKED);
    while (!word(RELEASED))
        sched_yield();
}

HANDLER(on_asked)
{
    troupe_reply(ctx, msg, self, sizeof(unsigned));
}

#define HANDLERS                                                                                                       \
    {                                                                                                                  \
        [STEP] = ON(on_step, 0), [NOTE] = ON(on_note, TROUPE_ANY_SIZE), [OTHER] = ON(on_other, TROUPE_ANY_SIZE),       \
        [STOP] = ON(on_stop, 0), [PANIC] = ON(on_panic, 0), [BLOCK] = ON(on_block, 0),                                 \
        [DOWN] = ON(on_down, sizeof(troupe_down)), [ASKED] = ON(on_asked, 0)                                           \
    }

static const troupe_behavior cast_root = {.name = "root", .started = root_started, .handlers = HANDLERS};
static const troupe_behavior cast_child = {.name = "child",
                                           .state_size = sizeof(unsigned),
                                           .args_size = sizeof(struct child_args),
                                           .started = child_started,
                                           .handlers = HANDLERS};

static UNUSED troupe_addr spawn_child(troupe_ctx *ctx)
{
    struct child_args args = {cast.spawned};
    return cast.child[cast.spawned++] = troupe_spawn(ctx, &cast_child, &args, NULL);
}

/* Ends a child; ENDED counts when it is over. */
static UNUSED void end_child(troupe_ctx *ctx, unsigned nr)
{
    troupe_monitor(ctx, cast.child[nr], DOWN, 0, NULL);
    troupe_kill(ctx, cast.child[nr]);
}

static UNUSED int play(unsigned workers, void (*begin)(troupe_ctx *ctx))
{
    world_begin(workers);
    memset(&cast, 0, sizeof cast);
    cast.begin = begin;
    return run(&cast_root, NULL);
}

#endif
