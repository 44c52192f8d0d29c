/* SPDX-License-Identifier: Apache-2.0 */
/* Two actors send one message back and forth: the cost of one tell, from send to handler.
 * Arguments: see support/bench.h; COUNT is messages per round and way. For count_happy_path, which counts the
 * instructions of one round on one worker: --plain, or --supervised: with a restart window, a shutdown time and a
 * deferred call. */
#include <troupe/troupe.h>

#include <stdio.h>
#include <string.h>

#include "perf/support/bench.h"

enum { BALL };

static struct {
    unsigned long rallies;
    bool defers;
    uint64_t began_ns, ended_ns;
} game;

struct player {
    unsigned long left;
};

static void on_ball(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct player *player = self;
    if (player->left-- == 0) {
        game.ended_ns = tr_bench_clock();
        troupe_stop_runtime(ctx, 0);
        return;
    }
    troupe_tell(ctx, troupe_sender(msg), BALL, NULL, 0);
}

static void nothing(void *arg)
{
    (void)arg;
}

static int player_started(troupe_ctx *ctx, void *self, const void *args)
{
    (void)args;
    ((struct player *)self)->left = game.rallies;
    return game.defers ? troupe_defer(ctx, nothing, NULL) : 0;
}

static const troupe_behavior second = {
    .name = "second",
    .state_size = sizeof(struct player),
    .started = player_started,
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball}},
};

static const troupe_supervision window = {.restarts = 5, .window_ns = TROUPE_SEC(10), .shutdown_ns = TROUPE_MS(100)};

static int first_started(troupe_ctx *ctx, void *self, const void *args)
{
    const troupe_spawn_options options = {.supervision = game.defers ? &window : NULL};
    int status = player_started(ctx, self, args);
    if (status < 0)
        return status;
    ((struct player *)self)->left--;
    troupe_addr other = troupe_spawn(ctx, &second, NULL, &options);
    game.began_ns = tr_bench_clock();
    return troupe_tell(ctx, other, BALL, NULL, 0);
}

static const troupe_behavior plain_first = {
    .name = "first",
    .state_size = sizeof(struct player),
    .started = first_started,
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball}},
};

static const troupe_behavior supervised_first = {
    .name = "first",
    .state_size = sizeof(struct player),
    .started = first_started,
    .supervision = {.restarts = 5, .window_ns = TROUPE_SEC(10), .shutdown_ns = TROUPE_MS(100)},
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball}},
};

/* One round on one worker, for a counter of instructions. Under one time stands almost still, so none may matter; and
 * the worker must not sleep: valgrind 3.19 does not know that io_uring_enter blocks, and lets no other thread run
 * meanwhile. */
static int count(int argc, char **argv, bool supervised)
{
    const troupe_options options = {.workers = 1, .batch_ns = TROUPE_SEC(3600), .spin_ns = TROUPE_SEC(3600)};
    game.rallies = tr_bench_parse(argc, argv, (struct tr_bench_options){.count = 10000}).count;
    game.defers = supervised;
    return troupe_run(supervised ? &supervised_first : &plain_first, NULL, &options);
}

int main(int argc, char **argv)
{
    bool supervised = argc > 1 && strcmp(argv[1], "--supervised") == 0;
    if (supervised || (argc > 1 && strcmp(argv[1], "--plain") == 0))
        return count(argc - 1, argv + 1, supervised);
    const struct tr_bench_options options =
        tr_bench_parse(argc, argv, (struct tr_bench_options){.rounds = 5, .count = 2000000});
    struct tr_series series = {.name = "ping_pong", .unit = "ns/message"};
    game.rallies = options.count;
    for (unsigned i = 0; i < options.rounds; i++) {
        if (troupe_run(&plain_first, NULL, NULL) != 0)
            return 1;
        tr_series_add(&series, (double)(game.ended_ns - game.began_ns) / (2.0 * (double)game.rallies));
    }
    tr_series_print(&series);
    return 0;
}
