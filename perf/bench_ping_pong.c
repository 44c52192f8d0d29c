/* SPDX-License-Identifier: Apache-2.0 */
/* Two actors send one message back and forth: the cost of one tell, from send to handler. */
#include <stdio.h>
#include <time.h>
#include <troupe/troupe.h>

enum { BALL };

#define ROUNDS 2000000u

struct player {
    unsigned left;
    uint64_t began_ns;
};

static void on_ball(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct player *player = self;
    if (player->left-- == 0) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    troupe_tell(ctx, troupe_sender(msg), BALL, NULL, 0);
}

static int player_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct player *player = self;
    (void)ctx, (void)args;
    player->left = ROUNDS;
    return 0;
}

static const troupe_behavior second = {
    .name = "second",
    .state_size = sizeof(struct player),
    .started = player_started,
    .handlers = {[BALL] = {"ball", on_ball, 0, NULL}},
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int first_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct player *player = self;
    (void)args;
    player->left = ROUNDS - 1;
    troupe_addr other = troupe_spawn(ctx, &second, NULL, NULL);
    player->began_ns = clock_ns();
    return troupe_tell(ctx, other, BALL, NULL, 0);
}

static void first_stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    const struct player *player = self;
    (void)ctx, (void)reason;
    printf("ping_pong %.1f ns/message\n", (double)(clock_ns() - player->began_ns) / (2.0 * ROUNDS));
}

static const troupe_behavior first = {
    .name = "first",
    .state_size = sizeof(struct player),
    .started = first_started,
    .stopped = first_stopped,
    .handlers = {[BALL] = {"ball", on_ball, 0, NULL}},
};

int main(void)
{
    return troupe_run(&first, NULL, NULL);
}
