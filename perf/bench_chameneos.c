/* SPDX-License-Identifier: Apache-2.0 */
/* 100 chameneos and the mall in which they meet in pairs; each takes the complement of both colours home and comes
 * again. When all meetings are used up the mall says so to each that comes, which then tells how often it has met
 * somebody. */
#include "perf/support/bench.h"

enum { ENTER, TIRED };
enum { MET, CLOSED };

enum colour { BLUE, RED, YELLOW, COLOURS };

#define CREATURES 100u

struct day {
    uint64_t meetings;
    uint64_t began_ns, ended_ns, met;
};

/* What is told in both directions: 8 bytes. */
struct card {
    uint32_t colour, place;
};

/* --- a creature --- */

struct creature {
    struct card card;
    uint64_t met, met_itself;
};

static uint32_t complement(uint32_t a, uint32_t b)
{
    return a == b ? a : COLOURS - a - b;
}

static int creature_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct creature *creature = self;
    creature->card = *(const struct card *)args;
    return troupe_tell(ctx, troupe_parent(ctx), ENTER, &creature->card, sizeof creature->card);
}

static void on_met(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct creature *creature = self;
    const struct card *other = troupe_payload(msg);
    creature->met++;
    creature->met_itself += other->place == creature->card.place;
    creature->card.colour = complement(creature->card.colour, other->colour);
    troupe_tell(ctx, troupe_parent(ctx), ENTER, &creature->card, sizeof creature->card);
}

static void on_closed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct creature *creature = self;
    (void)msg;
    TROUPE_CHECK(ctx, creature->met_itself == 0);
    troupe_tell(ctx, troupe_parent(ctx), TIRED, &creature->met, sizeof creature->met);
}

static const troupe_behavior creature_behavior = {
    .name = "creature",
    .state_size = sizeof(struct creature),
    .args_size = sizeof(struct card),
    .started = creature_started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers = {[MET] = {.name = "met", .fn = on_met, .size = sizeof(struct card)},
                 [CLOSED] = {.name = "closed", .fn = on_closed}},
};

/* --- the mall --- */

struct mall {
    struct day *day;
    uint64_t left;
    bool waits; /* somebody does: */
    troupe_addr first;
    struct card card;
    unsigned tired;
    uint64_t met;
};

static int mall_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct mall *mall = self;
    mall->day = *(struct day *const *)args;
    mall->left = mall->day->meetings;
    mall->day->began_ns = tr_bench_clock();
    for (uint32_t i = 0; i < CREATURES; i++) {
        const struct card card = {i % COLOURS, i};
        if (troupe_addr_is_nobody(troupe_spawn(ctx, &creature_behavior, &card, NULL)))
            return -1;
    }
    return 0;
}

static void on_enter(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct mall *mall = self;
    const struct card *card = troupe_payload(msg);
    if (mall->left == 0) {
        troupe_tell(ctx, troupe_sender(msg), CLOSED, NULL, 0);
    } else if (!mall->waits) {
        mall->waits = true;
        mall->first = troupe_sender(msg);
        mall->card = *card;
    } else {
        mall->waits = false;
        mall->left--;
        troupe_tell(ctx, mall->first, MET, card, sizeof *card);
        troupe_tell(ctx, troupe_sender(msg), MET, &mall->card, sizeof mall->card);
    }
}

static void on_tired(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct mall *mall = self;
    mall->met += tr_bench_number(msg);
    if (++mall->tired < CREATURES)
        return;
    mall->day->ended_ns = tr_bench_clock();
    mall->day->met = mall->met;
    troupe_stop_runtime(ctx, 0);
}

/* A creature that crashed has met itself: the whole run is wrong. */
static void mall_child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    (void)self, (void)child, (void)reason;
    troupe_stop_runtime(ctx, 1);
}

static const troupe_behavior mall_behavior = {
    .name = "mall",
    .state_size = sizeof(struct mall),
    .args_size = sizeof(struct day *),
    .started = mall_started,
    .child_stopped = mall_child_stopped,
    .handlers = {[ENTER] = {.name = "enter", .fn = on_enter, .size = sizeof(struct card)},
                 [TIRED] = {.name = "tired", .fn = on_tired, .size = sizeof(uint64_t)}},
};

static int run(const struct tr_bench *bench)
{
    struct day day = {.meetings = bench->size};
    if (tr_bench_run(bench, &mall_behavior, &day) != 0)
        return 1;
    if (day.met != 2 * day.meetings)
        return tr_bench_failed(bench, "the creatures met %llu times", (unsigned long long)day.met);
    tr_bench_result(bench->name, 4.0 * (double)day.meetings * 1e9 / (double)(day.ended_ns - day.began_ns),
                    "messages/s");
    return 0;
}

const struct tr_case tr_case_chameneos = {
    .name = "chameneos", .run = run, .behaviors = {&mall_behavior, &creature_behavior}};
