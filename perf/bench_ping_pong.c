/* SPDX-License-Identifier: Apache-2.0 */
/* Two actors send one message of 8 bytes back and forth: the cost of one tell, from send to handler, and of switching
 * between two actors. The number in the message is how many have been handled.
 * ping_pong_supervised is the same game under a restart window, a shutdown time and a deferred call: count_happy_path
 * shows that these cost a message nothing. */
#include "perf/support/bench.h"

enum { BALL };

struct game {
    uint64_t messages;
    bool supervised;
    uint64_t began_ns, ended_ns;
    uint64_t handled; /* by the player that had the last one */
};

struct player {
    struct game *game;
    uint64_t messages, handled;
};

static void on_ball(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct player *player = self;
    uint64_t number = tr_bench_number(msg);
    player->handled++;
    if (number == player->messages) {
        player->game->ended_ns = tr_bench_end();
        player->game->handled = player->handled;
        troupe_stop_runtime(ctx, 0);
        return;
    }
    number++;
    troupe_tell(ctx, troupe_sender(msg), BALL, &number, sizeof number);
}

static void nothing(void *arg)
{
    (void)arg;
}

static int player_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct player *player = self;
    player->game = *(struct game *const *)args;
    player->messages = player->game->messages;
    return player->game->supervised ? troupe_defer(ctx, nothing, NULL) : 0;
}

#define SUPERVISED                                                                                                     \
    {                                                                                                                  \
        .restarts = 5, .window_ns = TROUPE_SEC(10), .shutdown_ns = TROUPE_MS(100)                                      \
    }

static const troupe_behavior second = {
    .name = "second",
    .state_size = sizeof(struct player),
    .args_size = sizeof(struct game *),
    .started = player_started,
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball, .size = sizeof(uint64_t)}},
};

static int first_started(troupe_ctx *ctx, void *self, const void *args)
{
    static const troupe_supervision window = SUPERVISED;
    struct game *game = *(struct game *const *)args;
    const troupe_spawn_options options = {.supervision = game->supervised ? &window : NULL};
    const uint64_t number = 1;
    int status = player_started(ctx, self, args);
    if (status < 0)
        return status;
    troupe_addr other = troupe_spawn(ctx, &second, args, &options);
    game->began_ns = tr_bench_begin();
    return troupe_tell(ctx, other, BALL, &number, sizeof number);
}

static const troupe_behavior first = {
    .name = "first",
    .state_size = sizeof(struct player),
    .args_size = sizeof(struct game *),
    .started = first_started,
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball, .size = sizeof(uint64_t)}},
};

static const troupe_behavior supervised_first = {
    .name = "first",
    .state_size = sizeof(struct player),
    .args_size = sizeof(struct game *),
    .started = first_started,
    .supervision = SUPERVISED,
    .handlers = {[BALL] = {.name = "ball", .fn = on_ball, .size = sizeof(uint64_t)}},
};

static int play(const struct tr_bench *bench, bool supervised)
{
    struct game game = {.messages = bench->size, .supervised = supervised};
    if (tr_bench_run(bench, supervised ? &supervised_first : &first, &game) != 0)
        return 1;
    if (game.handled != (game.messages + 1) / 2)
        return tr_bench_failed(bench, "the player with the last ball handled %llu", (unsigned long long)game.handled);
    tr_bench_result(bench->name, (double)(game.ended_ns - game.began_ns) / (double)game.messages, "ns/message");
    return 0;
}

static int run_plain(const struct tr_bench *bench)
{
    return play(bench, false);
}

static int run_supervised(const struct tr_bench *bench)
{
    return play(bench, true);
}

const struct tr_case tr_case_ping_pong = {
    .name = "ping_pong", .run = run_plain, .serial = true, .behaviors = {&first, &second}};

const struct tr_case tr_case_ping_pong_supervised = {
    .name = "ping_pong_supervised",
    .run = run_supervised,
    .serial = true,
    .behaviors = {&supervised_first, &second},
    .unit = "ns/message",
    .text = "ping_pong with a restart window, a shutdown time and a deferred call in each actor",
    .size = 2000000,
};
