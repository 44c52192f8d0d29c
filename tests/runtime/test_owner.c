/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership (own.h): what an incarnation holds is released when it ends, in order, once, whatever panics meanwhile. */
#include "tests/runtime/world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "io/poison.h"
#include "runtime/memory.h"
#include "tests/support/sanitizer.h"

enum { GO, ASK, AGAIN, CONN, DATA };

/* The context of the only worker, for functions that are given none. */
static troupe_ctx *only_ctx;

static void say_name(uintptr_t name)
{
    say("%s", (const char *)name);
}

static void say_arg(void *arg)
{
    say("%s", (const char *)arg);
}

static void count_release(uintptr_t handle)
{
    (void)handle;
    bump(1);
}

static void count_deferred(void *arg)
{
    (void)arg;
    bump(2);
}

static const troupe_resource_type named = {.name = "named", .release = say_name};
static const troupe_resource_type counted = {.name = "counted", .release = count_release};

/* Any number of restarts. */
#define RESTARTS_FOR_EVER                                                                                              \
    {                                                                                                                  \
        .restarts = TROUPE_RESTARTS_MAX, .window_ns = 1                                                                \
    }

static void own_named(troupe_ctx *ctx, const char *name)
{
    if (troupe_own(ctx, &named, (uintptr_t)name, NULL) != 0)
        say("failed");
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "on request");
}

HANDLER(stop_now)
{
    troupe_stop_runtime(ctx, 0);
}

/* --- the order of release ----------------------------------------------------------------------------------------- */

struct orderly {
    char *in_arena, *in_block;
    uint16_t port;
    char in_state[8];
};

static bool connects(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int status = connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
    return status == 0;
}

static void look_around(void *arg)
{
    const struct orderly *self = arg;
    say("%s%s%s%s", self->in_state, self->in_arena, self->in_block, connects(self->port) ? ":port" : "");
}

static int orderly_started(troupe_ctx *ctx, void *state, const void *args)
{
    struct orderly *self = state;
    troupe_listener listener;
    troupe_listen_options listen = {.accepted = CONN};
    (void)args;
    if (troupe_incarnation(ctx) > 1) {
        say("again");
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    if (troupe_listen(ctx, &listen, &listener) < 0)
        return -EIO;
    self->port = (uint16_t)troupe_listener_port(ctx, listener);
    strcpy(self->in_state, "state");
    strcpy(self->in_arena = troupe_alloc(ctx, 10), "+arena");
    strcpy(self->in_block = troupe_block(ctx, 10), "+block");
    troupe_defer(ctx, look_around, self);
    own_named(ctx, "1");
    troupe_defer(ctx, say_arg, (void *)"2");
    own_named(ctx, "3");
    if (!connects(self->port))
        say("no port");
    return 0;
}

static void orderly_ask(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    troupe_keep(ctx, msg);
}

static void say_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self, (void)crash;
    say("crashed");
}

STOPPED(say_stopped)
{
    say("stopped");
}

static const troupe_behavior orderly = {
    .name = "orderly",
    .state_size = sizeof(struct orderly),
    .started = orderly_started,
    .crashed = say_crashed,
    .stopped = say_stopped,
    .handlers = {[GO] = ON(panic_now, 0), [ASK] = ON(orderly_ask, 0), [CONN] = ON(stop_now, TROUPE_ANY_SIZE)},
};

static void say_dead(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->kind == ASK)
        say("kept:%s", troupe_dead_reason_name(letter->reason));
}

STARTED(order_crash)
{
    troupe_addr to = troupe_spawn(ctx, &orderly, NULL, NULL);
    troupe_tell(ctx, to, ASK, NULL, 0);
    return troupe_tell(ctx, to, GO, NULL, 0);
}

STARTED(order_stop)
{
    troupe_addr to = troupe_spawn(ctx, &orderly, NULL, NULL);
    troupe_tell(ctx, to, ASK, NULL, 0);
    return troupe_tell(ctx, to, CONN, NULL, 0);
}

static void run_in_order(const troupe_behavior *root, const char *expected)
{
    world_begin(1);
    troupe_options options = world_options();
    options.dead_letter = say_dead;
    cr_assert_eq(troupe_run(root, NULL, &options), 0);
    cr_assert_str_eq(world.trace, expected);
}

Test(owner, a_crash_releases_ports_then_kept_messages_then_the_stack_and_memory_last)
{
    static const troupe_behavior root = {.name = "root", .started = order_crash};
    run_in_order(&root, "crashed kept:crashed 3 2 1 state+arena+block again stopped");
}

Test(owner, a_stop_releases_in_the_same_order)
{
    static const troupe_behavior root = {.name = "root", .started = order_stop};
    run_in_order(&root, "stopped kept:stopped 3 2 1 state+arena+block");
}

/* --- panics in what is called to release -------------------------------------------------------------------------- */

enum { STEPS = 4 };

struct rough {
    unsigned bad; /* bits: which of the four releases panic */
    bool crashes; /* else it is stopped */
};

static unsigned bad_ones;

static void release_step(uintptr_t step)
{
    say("%u", (unsigned)step);
    if (bad_ones & 1u << step)
        troupe_panic(only_ctx, "step %u", (unsigned)step);
    say("ok");
}

static void deferred_step(void *step)
{
    release_step((uintptr_t)step);
}

static const troupe_resource_type step_type = {.name = "a step", .release = release_step};

static int rough_started(troupe_ctx *ctx, void *self, const void *args)
{
    const struct rough *rough = args;
    (void)self;
    only_ctx = ctx;
    bad_ones = rough->bad;
    memset(troupe_alloc(ctx, 5000), 1, 5000);
    memset(troupe_block(ctx, 5000), 1, 5000);
    if (troupe_incarnation(ctx) > 1) {
        say("again");
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    for (uintptr_t i = 0; i < STEPS; i++) {
        if (i % 2)
            troupe_defer(ctx, deferred_step, (void *)i);
        else
            troupe_own(ctx, &step_type, i, NULL);
    }
    return troupe_tell(ctx, troupe_self(ctx), rough->crashes ? GO : CONN, NULL, 0);
}

static const troupe_behavior rough_behavior = {
    .name = "rough",
    .state_size = 100,
    .args_size = sizeof(struct rough),
    .started = rough_started,
    .handlers = {[GO] = ON(panic_now, 0), [CONN] = ON(stop_now, 0)},
};

static int rough_root(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self;
    return troupe_addr_is_nobody(troupe_spawn(ctx, &rough_behavior, args, NULL)) ? -ENOMEM : 0;
}

static const troupe_behavior rough_parent = {
    .name = "root", .args_size = sizeof(struct rough), .started = rough_root, .stopped = keep_stats};

/* What the trace must be: the last one first, "ok" after those that did not panic; again after a crash. */
static void expect_rough(char *out, size_t size, const struct rough *rough)
{
    size_t at = 0;
    for (unsigned i = STEPS; i-- > 0;)
        at += (size_t)snprintf(out + at, size - at, "%s%u%s", i < STEPS - 1 ? " " : "", i,
                               rough->bad & 1u << i ? "" : " ok");
    if (rough->crashes)
        snprintf(out + at, size - at, " again");
}

Test(owner, a_panic_in_any_release_skips_that_one_and_no_other)
{
    for (unsigned round = 0; round < 2u << STEPS; round++) {
        struct rough rough = {.bad = round >> 1, .crashes = round & 1};
        char expected[100];
        world_begin(1);
        expect_rough(expected, sizeof expected, &rough);
        cr_assert_eq(run(&rough_parent, &rough), 0);
        cr_assert_str_eq(world.trace, expected, "%u: %s, not %s", round, world.trace, expected);
        cr_assert_eq(world.stats.cleanup_panics, (unsigned)__builtin_popcount(rough.bad));
        cr_assert_eq(world.stats.crashes, rough.crashes);
        cr_assert_eq(world.stats.restarts, rough.crashes);
        if (rough.bad == 1 && !rough.crashes)
            cr_assert(strstr(world.last_log, "rough#") && strstr(world.last_log, "a step") &&
                          strstr(world.last_log, "step 0"),
                      "%s", world.last_log);
    }
}

/* A root that panics in its last release still ends the run. */
Test(owner, a_panic_in_the_roots_last_release_does_not_hold_up_the_end)
{
    struct rough rough = {.bad = 1};
    world_begin(1);
    cr_assert_eq(run(&rough_behavior, &rough), 0);
    cr_assert_str_eq(world.trace, "3 ok 2 ok 1 ok 0");
}

STARTED(release_by_hand)
{
    static troupe_owned owned;
    only_ctx = ctx;
    if (troupe_incarnation(ctx) > 1) {
        say("again");
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    bad_ones = 1;
    troupe_own(ctx, &step_type, 0, &owned);
    troupe_release_owned(ctx, owned);
    return 0;
}

Test(owner, a_panic_in_a_release_that_the_actor_asked_for_is_its_crash_and_the_release_is_not_repeated)
{
    static const troupe_behavior actor = {.name = "actor", .started = release_by_hand, .stopped = keep_stats};
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "0 again");
    cr_assert_eq(world.stats.cleanup_panics, 0);
    cr_assert_eq(world.stats.crashes, 1);
}

/* --- a million crashes -------------------------------------------------------------------------------------------- */

#define CRASHES (UNDER_TSAN ? TSAN_CRASHES_MAX : UNDER_ASAN ? 30000u : 1000000u)

static long resident_pages(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file && fscanf(file, "%ld %ld", &total, &resident) == 2);
    fclose(file);
    return resident;
}

struct hoarder {
    unsigned char room[300];
};

static int hoarder_started(troupe_ctx *ctx, void *state, const void *args)
{
    struct hoarder *self = state;
    (void)args;
    unsigned round = troupe_incarnation(ctx);
    for (unsigned i = 0; i < sizeof self->room; i++)
        if (self->room[i])
            say("dirty");
    memset(self->room, 0xff, sizeof self->room);
    if (round == CRASHES / 10)
        world.word[5] = (uint64_t)resident_pages();
    if (round == CRASHES) {
        world.word[6] = (uint64_t)resident_pages();
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    memset(troupe_alloc(ctx, round % 3000), 1, round % 3000);
    if (round % 64 == 0)
        memset(troupe_alloc(ctx, 50000), 1, 50000);
    for (unsigned i = 0; i < 4; i++) {
        memset(troupe_block(ctx, 100), 1, 100);
        if (troupe_own(ctx, &counted, i, NULL) || troupe_defer(ctx, count_deferred, NULL))
            say("refused");
    }
    memset(troupe_scratch(ctx, 1000), 1, 1000);
    return troupe_tell(ctx, troupe_self(ctx), GO, NULL, 0);
}

static const troupe_behavior hoarder = {
    .name = "hoarder",
    .state_size = sizeof(struct hoarder),
    .started = hoarder_started,
    .supervision = RESTARTS_FOR_EVER,
    .handlers = {[GO] = ON(panic_now, 0)},
};

Test(owner, a_million_crashes_keep_no_memory_and_release_everything_once)
{
    world_begin(1);
    troupe_options options = world_options();
    options.log_level = TROUPE_LOG_NONE;
    cr_assert_eq(troupe_run(&hoarder, NULL, &options), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(1), 4ull * (CRASHES - 1));
    cr_assert_eq(word(2), 4ull * (CRASHES - 1));
    if (!SANITIZED) /* what the sanitizers remember grows */
        cr_assert_leq(word(6), word(5) + 256, "%lu pages, then %lu", (unsigned long)word(5), (unsigned long)word(6));
}

/* --- the state ---------------------------------------------------------------------------------------------------- */

static int stateful_started(troupe_ctx *ctx, void *self, const void *args)
{
    size_t size = *(const size_t *)args;
    for (size_t i = 0; i < size; i++)
        if (((unsigned char *)self)[i])
            troupe_panic(ctx, "not zeroed");
    memset(self, 0xff, size);
    if (troupe_incarnation(ctx) == 3) {
        say("zeroed");
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    return -EIO;
}

Test(owner, the_state_is_zeroed_for_each_incarnation_small_or_large)
{
    static const size_t sizes[] = {1, 24, 4096, 64 * 1024, 64 * 1024 + 1, 1 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        troupe_behavior actor = {
            .name = "stateful", .state_size = sizes[i], .args_size = sizeof(size_t), .started = stateful_started};
        world_begin(1);
        cr_assert_eq(run(&actor, &sizes[i]), 0);
        cr_assert_str_eq(world.trace, "zeroed");
    }
}

#ifdef TR_IO_ASAN
static const char *old_state;

static void look_at_old_state(void *arg)
{
    (void)arg;
    say("%d", __asan_address_is_poisoned(old_state));
}

static int poison_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)args;
    if (troupe_incarnation(ctx) == 2) {
        say("%d", __asan_address_is_poisoned(old_state));
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    old_state = self;
    troupe_defer(ctx, look_at_old_state, NULL);
    return -EIO;
}

/* Between the two: what the hook sees that logs the restart. */
static void look_while_it_logs(void *arg, const troupe_log_record *record)
{
    (void)arg;
    if (strstr(record->text, "restart"))
        say("%d", __asan_address_is_poisoned(old_state));
}

Test(owner, between_two_incarnations_the_state_must_not_be_touched)
{
    static const troupe_behavior actor = {.name = "actor", .state_size = 64, .started = poison_started};
    world_begin(1);
    troupe_options options = world_options();
    options.log = look_while_it_logs;
    cr_assert_eq(troupe_run(&actor, NULL, &options), 0);
    cr_assert_str_eq(world.trace, "0 1 0");
}
#endif

/* --- scratch ------------------------------------------------------------------------------------------------------ */

static void *scratch_first;

/* Each time the same place, as the last time was rewound; and a second piece is another. */
static void use_scratch(troupe_ctx *ctx)
{
    char *first = troupe_scratch(ctx, 200), *second = troupe_scratch(ctx, 200);
    memset(first, 1, 200);
    memset(second, 2, 200);
    if (scratch_first && first != scratch_first)
        say("moved");
    if (first[199] != 1 || (uintptr_t)first % 16 || (uintptr_t)second % 16)
        say("broken");
    scratch_first = first;
}

HANDLER(scratch_return)
{
    use_scratch(ctx);
    bump(3);
}

HANDLER(scratch_panic)
{
    use_scratch(ctx);
    bump(4);
    troupe_panic(ctx, "with scratch");
}

static int scratch_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    use_scratch(ctx);
    if (troupe_incarnation(ctx) > 1)
        return 0;
    for (unsigned i = 0; i < 300; i++)
        troupe_tell(ctx, troupe_self(ctx), i % 3 ? GO : ASK, NULL, 0);
    return troupe_tell(ctx, troupe_self(ctx), CONN, NULL, 0);
}

static void scratch_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)self, (void)crash;
    use_scratch(ctx);
}

STOPPED(scratch_stopped)
{
    use_scratch(ctx);
}

Test(owner, scratch_is_rewound_after_each_return_and_each_panic)
{
    static const troupe_behavior actor = {
        .name = "scratch",
        .started = scratch_started,
        .crashed = scratch_crashed,
        .stopped = scratch_stopped,
        .supervision = RESTARTS_FOR_EVER,
        .handlers = {[GO] = ON(scratch_return, 0), [ASK] = ON(scratch_panic, 0), [CONN] = ON(stop_now, 0)},
    };
    world_begin(1);
    scratch_first = NULL;
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(3), 200);
    cr_assert_eq(word(4), 100);
}

/* --- bad uses of blocks ------------------------------------------------------------------------------------------- */

static void *old_block;

static void free_twice(troupe_ctx *ctx)
{
    void *block = troupe_block(ctx, 50);
    troupe_block_free(ctx, block);
    troupe_block_free(ctx, block);
}

static void free_middle(troupe_ctx *ctx)
{
    troupe_block_free(ctx, (char *)troupe_block(ctx, 50) + 16);
}

static void free_odd(troupe_ctx *ctx)
{
    troupe_block_free(ctx, (char *)troupe_block(ctx, 50) + 3);
}

static void free_arena(troupe_ctx *ctx)
{
    troupe_alloc(ctx, 32);
    troupe_block_free(ctx, troupe_alloc(ctx, 50));
}

static void resize_static(troupe_ctx *ctx)
{
    _Alignas(16) static char room[64];
    troupe_block_resize(ctx, room + 32, 100);
}

static void resize_freed(troupe_ctx *ctx)
{
    void *block = troupe_block(ctx, 50);
    troupe_block_free(ctx, block);
    troupe_block_resize(ctx, block, 10);
}

static void free_underrun(troupe_ctx *ctx)
{
    uint64_t *block = troupe_block(ctx, 64);
    block[-1] ^= 1;
    only_ctx = (void *)block;
    troupe_block_free(ctx, block);
}

/* The next one is given what the one before left. */
static void leave_block(troupe_ctx *ctx)
{
    old_block = troupe_block(ctx, 50);
    troupe_panic(ctx, "no block of mine");
}

static void free_of_old_incarnation(troupe_ctx *ctx)
{
    troupe_block_free(ctx, old_block);
}

static void (*const misuses[])(troupe_ctx *) = {
    free_twice,    free_middle,   free_odd,
    free_arena,    resize_static, resize_freed,
    free_underrun, leave_block,   free_of_old_incarnation,
};

#define MISUSES ((unsigned)(sizeof misuses / sizeof *misuses))

static int misuser_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self, (void)args;
    unsigned i = troupe_incarnation(ctx) - 1;
    if (i < MISUSES) {
        misuses[i](ctx);
        say("%u went well", i);
    }
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static void misuser_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self;
    if (!strstr(crash->text, "no block of") || crash->cause != TROUPE_CAUSE_PANIC)
        say("%u: %s", count, crash->text);
    else
        bump(7);
}

Test(owner, what_is_no_block_is_a_panic)
{
    static const troupe_behavior actor = {
        .name = "misuser",
        .started = misuser_started,
        .restarted = misuser_restarted,
        .supervision = RESTARTS_FOR_EVER,
    };
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(7), MISUSES);
    free((uint64_t *)(void *)only_ctx - 2); /* the overwritten one: it was left alone */
}

HANDLER(free_what_is_sent)
{
    troupe_block_free(ctx, *(void *const *)troupe_payload(msg));
    say("freed another's");
}

STARTED(send_own_block)
{
    void *block = troupe_block(ctx, 100);
    static const troupe_behavior thief = {
        .name = "thief",
        .restarted = misuser_restarted,
        .supervision = RESTARTS_FOR_EVER,
        .handlers = {[GO] = ON(free_what_is_sent, sizeof(void *)), [CONN] = ON(stop_now, 0)}};
    troupe_addr to = troupe_spawn(ctx, &thief, NULL, NULL);
    troupe_tell(ctx, to, GO, &block, sizeof block);
    return troupe_tell(ctx, to, CONN, NULL, 0);
}

Test(owner, another_actors_block_is_told_too)
{
    static const troupe_behavior root = {.name = "root", .started = send_own_block};
    world_begin(1);
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(7), 1);
}

/* --- handles ------------------------------------------------------------------------------------------------------ */

#define EXPECT(cond) ((cond) ? (void)0 : say("%u:%s", __LINE__, #cond))

static troupe_owned old_owned;

STARTED(use_handles)
{
    troupe_owned a, b, c, none = {0};
    uintptr_t handle = 0;
    if (troupe_incarnation(ctx) > 1) {
        EXPECT(troupe_own(ctx, &named, (uintptr_t) "later", &a) == 0);
        EXPECT(!troupe_disown(ctx, old_owned, &handle) && !troupe_release_owned(ctx, old_owned));
        EXPECT(troupe_disown(ctx, a, NULL));
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    EXPECT(!troupe_disown(ctx, none, &handle) && !troupe_release_owned(ctx, none));
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "a", &a) == 0);
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "b", &b) == 0);
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "c", &c) == 0);
    EXPECT(troupe_disown(ctx, b, &handle) && strcmp((char *)handle, "b") == 0);
    EXPECT(!troupe_disown(ctx, b, &handle) && !troupe_release_owned(ctx, b));
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "d", &old_owned) == 0);
    EXPECT(!troupe_disown(ctx, b, &handle));
    EXPECT(troupe_release_owned(ctx, a) && !troupe_release_owned(ctx, a));
    say("|");
    return -EIO;
}

Test(owner, a_handle_is_good_once_and_only_in_its_incarnation)
{
    static const troupe_behavior actor = {.name = "actor", .started = use_handles};
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "a | d c");
}

HANDLER(try_what_is_sent)
{
    const troupe_owned *owned = troupe_payload(msg);
    troupe_own(ctx, &counted, 1, NULL);
    EXPECT(!troupe_disown(ctx, *owned, NULL) && !troupe_release_owned(ctx, *owned));
    troupe_stop_runtime(ctx, 0);
}

STARTED(send_handle)
{
    static const troupe_behavior other = {.name = "other",
                                          .handlers = {[GO] = ON(try_what_is_sent, sizeof(troupe_owned))}};
    troupe_owned owned;
    troupe_own(ctx, &counted, 1, &owned);
    return troupe_tell(ctx, troupe_spawn(ctx, &other, NULL, NULL), GO, &owned, sizeof owned);
}

Test(owner, another_actors_handle_is_stale)
{
    static const troupe_behavior root = {.name = "root", .started = send_handle};
    world_begin(1);
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(1), 2);
}

/* --- many --------------------------------------------------------------------------------------------------------- */

enum { MANY = 10000 };

static void release_in_turn(uintptr_t handle)
{
    if (handle != MANY - bump(1))
        bump(8);
}

static const troupe_resource_type in_turn = {.name = "in turn", .release = release_in_turn};

STARTED(own_many)
{
    for (uintptr_t i = 0; i < MANY; i++)
        if (troupe_own(ctx, &in_turn, i, NULL) != 0)
            say("refused");
    troupe_stop_runtime(ctx, 0);
    return 0;
}

Test(owner, ten_thousand_resources_go_in_turn)
{
    static const troupe_behavior actor = {.name = "actor", .started = own_many};
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(1), MANY);
    cr_assert_eq(word(8), 0);
}

/* --- in callbacks ------------------------------------------------------------------------------------------------- */

static void use_memory(troupe_ctx *ctx)
{
    memset(troupe_alloc(ctx, 100), 1, 100);
    memset(troupe_scratch(ctx, 100), 1, 100);
    void *block = troupe_block(ctx, 100);
    EXPECT(block != NULL);
    block = troupe_block_resize(ctx, block, 1000);
    memset(block, 1, 1000);
    troupe_block_free(ctx, block);
    memset(troupe_block(ctx, 100), 1, 100);
}

static void own_in_crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    troupe_owned owned = {.ref = &owned, .generation = 7};
    (void)self, (void)crash;
    use_memory(ctx);
    EXPECT(troupe_reserve(ctx, 1) == -ENOMEM);
    EXPECT(troupe_defer(ctx, say_arg, (void *)"never") == -ENOMEM);
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "never", &owned) == -ENOMEM && !owned.ref);
    EXPECT(troupe_take_fd(ctx) == -EBADF);
    EXPECT(troupe_disown(ctx, old_owned, NULL));
    say("crashed");
}

STOPPED(own_in_stopped)
{
    use_memory(ctx);
    EXPECT(troupe_reserve(ctx, 1) == 0);
    EXPECT(troupe_defer(ctx, say_arg, (void *)"deferred") == 0);
    own_named(ctx, "owned");
    say("stopped");
}

STARTED(own_in_started)
{
    use_memory(ctx);
    EXPECT(troupe_own(ctx, &named, (uintptr_t) "rescued", &old_owned) == 0);
    own_named(ctx, "first");
    return troupe_tell(ctx, troupe_self(ctx), troupe_incarnation(ctx) == 1 ? GO : CONN, NULL, 0);
}

Test(owner, callbacks_own_too_but_crashed_has_memory_only)
{
    static const troupe_behavior actor = {
        .name = "actor",
        .started = own_in_started,
        .crashed = own_in_crashed,
        .stopped = own_in_stopped,
        .handlers = {[GO] = ON(panic_now, 0), [CONN] = ON(stop_now, 0)},
    };
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "crashed first stopped owned deferred first rescued");
}

/* --- out of memory ------------------------------------------------------------------------------------------------ */

/* A new actor for each n, which is refused its n-th request; what came of it is counted. */
static void acquire_all(troupe_ctx *ctx)
{
    static const char text[] = "as it was";
    if (troupe_reserve(ctx, 20) < 0)
        troupe_panic(ctx, "reserve");
    size_t before = word(9);
    char *block = troupe_block(ctx, sizeof text);
    if (!block)
        troupe_panic(ctx, "block");
    strcpy(block, text);
    char *larger = troupe_block_resize(ctx, block, 4000);
    EXPECT(strcmp(larger ? larger : block, text) == 0);
    troupe_alloc(ctx, 3000);
    troupe_alloc(ctx, 100000);
    troupe_scratch(ctx, 3000000);
    for (unsigned i = 0; i < 10; i++) { /* reserved: must not fail */
        EXPECT(troupe_own(ctx, &counted, 0, NULL) == 0);
        EXPECT(troupe_defer(ctx, count_deferred, NULL) == 0);
    }
    world.word[9] = before + 10;
    for (unsigned i = 0; i < 100; i++) {
        if (troupe_own(ctx, &counted, 0, NULL) == 0)
            world.word[9]++;
    }
}

static int short_of_memory(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self;
    if (troupe_incarnation(ctx) > 1) {
        troupe_stop_self(ctx);
        return 0;
    }
    tr_memory_fail_after(*(const unsigned *)args);
    acquire_all(ctx);
    bump(10);
    if (tr_memory_failed())
        return -EIO;
    tr_memory_fail_after(TR_MEMORY_NEVER);
    troupe_stop_runtime(ctx, 0);
    return 0;
}

static void short_restarted(troupe_ctx *ctx, void *self, const troupe_crash *crash, unsigned count)
{
    (void)ctx, (void)self, (void)count;
    tr_memory_fail_after(TR_MEMORY_NEVER);
    world.word[11] += strstr(crash->text, "troupe_alloc: out of memory") != NULL;
    world.word[12] += strstr(crash->text, "troupe_scratch: out of memory") != NULL;
    world.word[13] += strcmp(crash->text, "reserve") == 0;
    world.word[14] += strcmp(crash->text, "block") == 0;
}

static const troupe_behavior short_one = {
    .name = "short", .args_size = sizeof(unsigned), .started = short_of_memory, .restarted = short_restarted};

static void spawn_short(troupe_ctx *ctx, unsigned *self)
{
    if (troupe_addr_is_nobody(troupe_spawn(ctx, &short_one, self, NULL)))
        troupe_stop_runtime(ctx, 1);
    ++*self;
}

STARTED(spawn_first_short)
{
    spawn_short(ctx, self);
    return 0;
}

CHILD_STOPPED(spawn_next_short)
{
    spawn_short(ctx, self);
}

Test(owner, each_request_may_be_refused_and_what_was_owned_is_released)
{
    static const troupe_behavior root = {.name = "root",
                                         .state_size = sizeof(unsigned),
                                         .started = spawn_first_short,
                                         .child_stopped = spawn_next_short};
    world_begin(1);
    cr_assert_eq(run(&root, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(word(1), word(9), "released what was owned and not what was refused");
    cr_assert_eq(word(2), 10 * word(10));
    cr_assert_eq(word(11), 2, "two chunks");
    cr_assert_eq(word(12), 1);
    cr_assert_eq(word(13), 2, "the incarnation and its table");
    cr_assert_eq(word(14), 1);
    cr_assert_geq(word(10), 3, "a block that was not resized, resources refused, and all went well");
}

static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 31, SIZE_MAX / 2, SIZE_MAX / 2 + 1};

#define IMPOSSIBLE ((unsigned)(sizeof impossible / sizeof *impossible))

STARTED(ask_the_impossible)
{
    unsigned i = troupe_incarnation(ctx) - 1;
    size_t size = impossible[i / 2 % IMPOSSIBLE];
    if (i == 2 * IMPOSSIBLE) {
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    void *block = troupe_block(ctx, 10);
    EXPECT(!troupe_block(ctx, size) && !troupe_block_resize(ctx, block, size));
    EXPECT(troupe_reserve(ctx, UINT32_MAX) == -ENOMEM);
    say("%p", i % 2 ? troupe_alloc(ctx, size) : troupe_scratch(ctx, size));
    return 0;
}

Test(owner, sizes_that_no_memory_has_are_refused)
{
    static const troupe_behavior actor = {
        .name = "actor", .started = ask_the_impossible, .stopped = keep_stats, .supervision = RESTARTS_FOR_EVER};
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(world.stats.crashes, 2 * IMPOSSIBLE);
}

/* --- file descriptors --------------------------------------------------------------------------------------------- */

STARTED(own_fds)
{
    troupe_owned owned;
    for (unsigned i = 0; i < 5; i++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        EXPECT(troupe_own(ctx, &troupe_resource_fd, (uintptr_t)fd, &owned) == 0);
    }
    EXPECT(troupe_release_owned(ctx, owned));
    world.word[15] = open_fds();
    if (troupe_incarnation(ctx) < 4)
        troupe_panic(ctx, "with fds");
    troupe_stop_runtime(ctx, 0);
    return 0;
}

Test(owner, owned_fds_are_closed)
{
    static const troupe_behavior actor = {.name = "actor", .started = own_fds};
    unsigned before = open_fds();
    world_begin(1);
    cr_assert_eq(run(&actor, NULL), 0);
    cr_assert_str_eq(world.trace, "");
    cr_assert_eq(open_fds(), before);
}

/* What a child does with the fd that it was given. */
enum gift {
    GIFT_PANIC,     /* takes it and panics */
    GIFT_STOP,      /* takes it and stops */
    GIFT_FAILS,     /* takes it, and adopting fails for lack of memory */
    GIFT_ADOPTED,   /* makes a stream of it and panics */
    GIFT_DISOWNED,  /* makes it its own, and closes it much later */
    GIFT_PASSED_ON, /* gives it to a child of its own, which holds it when this one panics */
    GIFT_COUNT
};

static int gift_sent;

HANDLER(gift_idle) {}

static const troupe_behavior second_owner = {.name = "second", .handlers = {[GO] = ON(gift_idle, 0)}};

static int gift_started(troupe_ctx *ctx, void *self, const void *args)
{
    enum gift gift = *(const enum gift *)args;
    troupe_stream stream;
    troupe_stream_options options = {.data = DATA};
    (void)self;
    if (troupe_incarnation(ctx) > 1) {
        EXPECT(troupe_take_fd(ctx) == -EBADF);
        EXPECT(fcntl(gift_sent, F_GETFD) < 0 ? gift != GIFT_DISOWNED : gift == GIFT_DISOWNED);
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    int fd = troupe_take_fd(ctx);
    EXPECT(fd == gift_sent && troupe_take_fd(ctx) == -EBADF && !troupe_disown_fd(ctx, fd + 1));
    if (gift == GIFT_STOP) {
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    if (gift == GIFT_FAILS)
        EXPECT(troupe_stream_adopt(ctx, -1, &options, &stream) == -EBADF);
    if (gift == GIFT_ADOPTED)
        EXPECT(troupe_stream_adopt(ctx, fd, &options, &stream) == 0 && !troupe_disown_fd(ctx, fd));
    if (gift == GIFT_DISOWNED)
        EXPECT(troupe_disown_fd(ctx, fd) && !troupe_disown_fd(ctx, fd));
    if (gift == GIFT_PASSED_ON) {
        troupe_spawn(ctx, &second_owner, NULL, &(troupe_spawn_options){.fd = fd, .has_fd = true});
        EXPECT(!troupe_disown_fd(ctx, fd));
    }
    troupe_panic(ctx, "with the gift");
}

static const troupe_behavior gifted = {
    .name = "gifted", .args_size = sizeof(enum gift), .started = gift_started, .handlers = {[DATA] = ON(gift_idle, 1)}};

static int give(troupe_ctx *ctx, void *self, const void *args)
{
    (void)self;
    return troupe_addr_is_nobody(
               troupe_spawn(ctx, &gifted, args, &(troupe_spawn_options){.fd = gift_sent, .has_fd = true}))
               ? -ENOMEM
               : 0;
}

Test(owner, an_fd_that_was_taken_is_closed_once_unless_it_became_somebody_elses)
{
    static const troupe_behavior giver = {.name = "giver", .args_size = sizeof(enum gift), .started = give};
    for (enum gift gift = 0; gift < GIFT_COUNT; gift++) {
        int pair[2];
        char byte;
        world_begin(1);
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        gift_sent = pair[0];
        unsigned before = open_fds();
        cr_assert_eq(run(&giver, &gift), 0);
        cr_assert_str_eq(world.trace, "", "%d: %s", (int)gift, world.trace);
        cr_assert_eq(open_fds(), before - (gift != GIFT_DISOWNED));
        if (gift == GIFT_DISOWNED)
            close(pair[0]);
        cr_assert_eq(read(pair[1], &byte, 1), 0);
        close(pair[1]);
    }
}

/* --- on many workers ---------------------------------------------------------------------------------------------- */

enum { CHURNERS = 40, ROUNDS = 100 };

struct churner {
    void *blocks[8];
    troupe_owned owned[8];
    unsigned rounds;
};

/* Owns, gives back and panics wherever it runs; the tallies must fit in the end. */
static void churn(troupe_ctx *ctx, void *state, const troupe_msg *msg)
{
    struct churner *self = state;
    unsigned i = self->rounds++ % 8;
    memset(troupe_scratch(ctx, 500), 1, 500);
    memset(troupe_alloc(ctx, 100), 1, 100);
    self->blocks[i] = troupe_block_resize(ctx, self->blocks[i], 64 + self->rounds);
    if (self->owned[i].ref && !troupe_release_owned(ctx, self->owned[i]))
        say("stale");
    if (troupe_own(ctx, &counted, i, &self->owned[i]) == 0)
        bump(16);
    const unsigned *round = troupe_payload(msg);
    unsigned next = *round + 1;
    if (next < ROUNDS)
        troupe_tell(ctx, troupe_self(ctx), GO, &next, sizeof next);
    else if (bump(17) == CHURNERS)
        troupe_stop_runtime(ctx, 0);
    if (next % 17 == 0)
        troupe_panic(ctx, "churn");
}

static const troupe_behavior churner = {
    .name = "churner",
    .state_size = sizeof(struct churner),
    .supervision = RESTARTS_FOR_EVER,
    .handlers = {[GO] = ON(churn, sizeof(unsigned))},
};

STARTED(spawn_churners)
{
    for (unsigned i = 0, first = 0; i < CHURNERS; i++)
        troupe_tell(ctx, troupe_spawn(ctx, &churner, NULL, NULL), GO, &first, sizeof first);
    return 0;
}

Test(owner, actors_that_move_between_workers_take_along_what_they_own)
{
    static const troupe_behavior root = {.name = "root", .started = spawn_churners};
    for (unsigned workers = 1; workers <= 4; workers++) {
        world_begin(workers);
        troupe_options options = world_options();
        options.log_level = TROUPE_LOG_NONE;
        cr_assert_eq(troupe_run(&root, NULL, &options), 0);
        cr_assert_str_eq(world.trace, "");
        cr_assert_eq(word(1), word(16));
        cr_assert_eq(word(16), CHURNERS * ROUNDS);
    }
}
