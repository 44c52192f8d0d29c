/* SPDX-License-Identifier: Apache-2.0 */
/* What actors keep while they live: state and arguments of all sizes, in the cell, in blocks and from the heap. */
#include "tests/runtime/world.h"

#include "runtime/context.h"
#include "runtime/kept.h"
#include "runtime/memory.h"

enum { SIZE_MOST = 300, SIZES = SIZE_MOST + 1, ROUNDS = 4 };
enum { CHECK, FINISH };
enum { STARTED_RIGHT, CHECKED_RIGHT, WRONG, ENDED, BEGUN, RESTARTED_ONES, NOBODY, PLANTED }; /* words */

/* By the size of state and arguments, and by that of state with arguments of at most 8 bytes: then those lie in the cell
 * next to a state that does, or does not. Constant while a runtime is there. */
static troupe_behavior of_size[SIZES], with_small_args[SIZES];

static unsigned char pattern(size_t size, size_t at)
{
    return (unsigned char)(size * 7 + at * 13 + 1);
}

static size_t size_of_self(troupe_ctx *ctx)
{
    return ctx->cell->behavior->state_size;
}

/* What a type of that size may need, if it is no more than 16. */
static bool is_aligned(const void *memory, size_t size)
{
    size_t align = 16;
    while (size % align != 0)
        align /= 2;
    return (uintptr_t)memory % align == 0;
}

static bool is_pattern(const unsigned char *memory, size_t size, unsigned char mask)
{
    size_t right = 0;
    while (right < size && memory[right] == (pattern(size, right) ^ mask))
        right++;
    return right == size;
}

static bool is_zeroed(const unsigned char *memory, size_t size)
{
    size_t right = 0;
    while (right < size && memory[right] == 0)
        right++;
    return right == size;
}

STARTED(sized_started)
{
    size_t size = size_of_self(ctx), args_size = ctx->cell->behavior->args_size;
    unsigned char *state = self;
    bool args_right = args_size == 0 ? !args : is_aligned(args, args_size) && is_pattern(args, args_size, 0);
    bool state_right = size == 0 || ((uintptr_t)self % 16 == 0 && is_zeroed(self, size));
    bump(args_right && state_right ? STARTED_RIGHT : WRONG);
    for (size_t i = 0; i < size; i++)
        state[i] = pattern(size, i) ^ 0xff;
    return 0;
}

HANDLER(sized_check)
{
    bump(is_pattern(self, size_of_self(ctx), 0xff) ? CHECKED_RIGHT : WRONG);
    if (troupe_incarnation(ctx) == 1)
        troupe_panic(ctx, "to see what the next one finds");
    troupe_stop_self(ctx);
}

HANDLER(sized_finish)
{
    bump(is_pattern(self, size_of_self(ctx), 0xff) ? CHECKED_RIGHT : WRONG);
    troupe_stop_self(ctx);
}

static void make_behaviors(void)
{
    for (size_t size = 0; size < SIZES; size++) {
        of_size[size] = (troupe_behavior){.name = "sized",
                                          .state_size = size,
                                          .args_size = size,
                                          .started = sized_started,
                                          .handlers = {[CHECK] = ON(sized_check, 0), [FINISH] = ON(sized_finish, 0)}};
        with_small_args[size] = of_size[size];
        with_small_args[size].args_size = size % 9;
    }
}

static troupe_addr spawn_sized(troupe_ctx *ctx, const troupe_behavior *behavior, const troupe_supervision *supervision)
{
    unsigned char args[SIZE_MOST + 1];
    for (size_t i = 0; i < behavior->args_size; i++)
        args[i] = pattern(behavior->args_size, i);
    return troupe_spawn(ctx, behavior, args, &(troupe_spawn_options){.supervision = supervision});
}

/* --- all sizes ---------------------------------------------------------------------------------------------------- */

static const troupe_supervision own = {.restarts = 2};

STARTED(all_started)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t size = 0; size < SIZES; size++) {
            const troupe_behavior *behavior = round % 2 ? &with_small_args[size] : &of_size[size];
            troupe_addr child = spawn_sized(ctx, behavior, round / 2 ? &own : NULL);
            TROUPE_CHECK(ctx, troupe_tell(ctx, child, CHECK, NULL, 0) == 0);
            TROUPE_CHECK(ctx, troupe_tell(ctx, child, CHECK, NULL, 0) == 0);
        }
    return 0;
}

CHILD_STOPPED(all_child_stopped)
{
    bump(reason == TROUPE_REASON_NORMAL ? ENDED : WRONG);
    if (word(ENDED) + word(WRONG) == ROUNDS * SIZES)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior all = {.name = "all",
                                    .started = all_started,
                                    .child_stopped = all_child_stopped,
                                    .supervision = {.restarts = TROUPE_RESTARTS_NONE}};

Test(kept, every_size_is_aligned_zeroed_apart_and_has_its_arguments_again_after_a_restart)
{
    make_behaviors();
    for (unsigned workers = 1; workers <= 3; workers++) {
        world_begin(workers);
        cr_assert_eq(run(&all, NULL), 0);
        cr_assert_eq(word(WRONG), 0);
        cr_assert_eq(word(STARTED_RIGHT), 2 * ROUNDS * SIZES);
        cr_assert_eq(word(CHECKED_RIGHT), 2 * ROUNDS * SIZES);
        cr_assert_eq(word(ENDED), ROUNDS * SIZES);
    }
}

/* --- replaced ones ------------------------------------------------------------------------------------------------ */

static const size_t replaced_sizes[] = {1, 7, 8, 9, 16, 24, 32, 33, 64, 65, 100, 300};
#define REPLACED (sizeof replaced_sizes / sizeof replaced_sizes[0])

static const troupe_supervision no_restart = {.restarts = TROUPE_RESTARTS_NONE};

STARTED(replacer_started)
{
    for (size_t i = 0; i < REPLACED; i++)
        TROUPE_CHECK(ctx,
                     troupe_tell(ctx, spawn_sized(ctx, &of_size[replaced_sizes[i]], &no_restart), CHECK, NULL, 0) == 0);
    return 0;
}

VERDICT(replacer_escalated)
{
    return TROUPE_VERDICT_REPLACE_CHILD;
}

static void replacer_replaced(troupe_ctx *ctx, void *self, troupe_addr old, troupe_addr fresh)
{
    (void)self, (void)old;
    TROUPE_CHECK(ctx, troupe_tell(ctx, fresh, FINISH, NULL, 0) == 0);
}

CHILD_STOPPED(replacer_child_stopped)
{
    if (bump(ENDED) == REPLACED)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior replacer = {.name = "replacer",
                                         .started = replacer_started,
                                         .child_escalated = replacer_escalated,
                                         .child_replaced = replacer_replaced,
                                         .child_stopped = replacer_child_stopped};

Test(kept, who_replaces_an_actor_has_its_arguments)
{
    make_behaviors();
    world_begin(2);
    cr_assert_eq(run(&replacer, NULL), 0);
    cr_assert_eq(word(WRONG), 0);
    cr_assert_eq(word(CHECKED_RIGHT), 2 * REPLACED);
    cr_assert_eq(word(STARTED_RIGHT), 2 * REPLACED, "the old ones and the new ones");
}

/* --- where it lies ------------------------------------------------------------------------------------------------ */

static bool is_in_cell(const struct tr_cell *cell, const void *memory, size_t size)
{
    const char *first = memory, *from = (const char *)cell;
    return first >= from && first + size <= from + sizeof *cell;
}

STARTED(tiny_started)
{
    bool in_cell = is_in_cell(ctx->cell, self, TR_CELL_STATE_ROOM) && is_in_cell(ctx->cell, args, TR_CELL_ARGS_ROOM);
    bump(in_cell == TR_KEPT_SMALL ? STARTED_RIGHT : WRONG);
    troupe_stop_self(ctx);
    return 0;
}

static const troupe_behavior tiny = {
    .name = "tiny", .state_size = TR_CELL_STATE_ROOM, .args_size = TR_CELL_ARGS_ROOM, .started = tiny_started};

STARTED(stops_at_once)
{
    bump(STARTED_RIGHT);
    troupe_stop_self(ctx);
    return 0;
}

static const troupe_behavior slim = {.name = "slim", .state_size = 64, .args_size = 32, .started = stops_at_once};

/* Any request to the heap from here on fails, for the one worker. */
STARTED(thrifty_started)
{
    static const unsigned char zeros[32] = {0};
    if (TR_KEPT_SMALL)
        tr_memory_fail_after(0);
    troupe_spawn(ctx, &tiny, zeros, NULL);
    troupe_spawn(ctx, &slim, zeros, NULL);
    return 0;
}

CHILD_STOPPED(thrifty_child_stopped)
{
    if (bump(ENDED) < 2)
        return;
    ck_pr_store_64(&world.word[PLANTED], tr_memory_failed());
    tr_memory_fail_after(TR_MEMORY_NEVER);
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior thrifty = {
    .name = "thrifty", .started = thrifty_started, .child_stopped = thrifty_child_stopped};

Test(kept, a_small_actor_lives_in_its_cell_and_asks_the_heap_for_nothing)
{
    world_begin(1);
    cr_assert_eq(run(&thrifty, NULL), 0);
    cr_assert_eq(word(WRONG), 0);
    cr_assert_eq(word(STARTED_RIGHT), 2);
    cr_assert_eq(word(PLANTED), 0);
}

/* --- out of memory ------------------------------------------------------------------------------------------------ */

RESTARTED(large_restarted)
{
    bump(strstr(crash->text, "out of memory for 200 bytes") ? RESTARTED_ONES : WRONG);
}

static const troupe_behavior large = {
    .name = "large", .state_size = 200, .args_size = 100, .started = stops_at_once, .restarted = large_restarted};

STARTED(poor_started)
{
    static const unsigned char zeros[100] = {0};
    tr_memory_fail_after(0);
    bump(troupe_addr_is_nobody(troupe_spawn(ctx, &large, zeros, NULL)) && tr_memory_failed() ? NOBODY : WRONG);
    bump(troupe_addr_is_nobody(troupe_spawn(ctx, &large, zeros, NULL)) ? WRONG : BEGUN);
    tr_memory_fail_after(0); /* for its state, of which the next incarnation has one */
    return 0;
}

CHILD_STOPPED(poor_child_stopped)
{
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior poor = {.name = "poor", .started = poor_started, .child_stopped = poor_child_stopped};

Test(kept, without_memory_for_arguments_there_is_nobody_and_without_that_for_state_a_crash)
{
    world_begin(1);
    cr_assert_eq(run(&poor, NULL), 0);
    cr_assert_eq(word(WRONG), 0);
    cr_assert_eq(word(NOBODY), 1);
    cr_assert_eq(word(BEGUN), 1);
    cr_assert_eq(word(RESTARTED_ONES), 1);
    cr_assert_eq(word(STARTED_RIGHT), 1);
    tr_memory_fail_after(TR_MEMORY_NEVER);
}
