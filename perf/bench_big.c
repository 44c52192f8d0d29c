/* SPDX-License-Identifier: Apache-2.0 */
/* 512 actors. Each pings a random other one, which replies with a pong; the next ping goes out at the pong. The number
 * in a ping comes back in its pong and is added up. Pings and pongs handled are counted. */
#include "perf/support/bench.h"

enum { BEGIN, PING, PONG };
enum { DONE };

#define ACTORS 512u

struct party {
    uint64_t pings; /* of each guest */
    uint64_t began_ns, ended_ns;
    uint64_t wrong;             /* guests whose pongs do not add up */
    troupe_addr guests[ACTORS]; /* written before the first BEGIN, and read only from then on */
};

struct guest_args {
    const struct party *party;
    uint64_t place;
};

struct guest {
    const struct party *party;
    uint64_t place, random, sent, sum;
};

static void ping(troupe_ctx *ctx, struct guest *guest)
{
    uint64_t other = tr_bench_random(&guest->random) % (ACTORS - 1);
    other += other >= guest->place; /* not itself */
    guest->sent++;
    troupe_tell(ctx, guest->party->guests[other], PING, &guest->sent, sizeof guest->sent);
}

static int guest_started(troupe_ctx *ctx, void *self, const void *args)
{
    const struct guest_args *given = args;
    (void)ctx;
    *(struct guest *)self = (struct guest){
        .party = given->party, .place = given->place, .random = (given->place + 1) * UINT64_C(0x9e3779b97f4a7c15)};
    return 0;
}

static void on_begin(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    ping(ctx, self);
}

static void on_ping(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    uint64_t number = tr_bench_number(msg);
    (void)self;
    troupe_tell(ctx, troupe_sender(msg), PONG, &number, sizeof number);
}

static void on_pong(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct guest *guest = self;
    guest->sum += tr_bench_number(msg);
    if (guest->sent < guest->party->pings)
        ping(ctx, guest);
    else
        troupe_tell(ctx, troupe_parent(ctx), DONE, &guest->sum, sizeof guest->sum);
}

static const troupe_behavior guest_behavior = {
    .name = "guest",
    .state_size = sizeof(struct guest),
    .args_size = sizeof(struct guest_args),
    .started = guest_started,
    .handlers = {[BEGIN] = {.name = "begin", .fn = on_begin},
                 [PING] = {.name = "ping", .fn = on_ping, .size = sizeof(uint64_t)},
                 [PONG] = {.name = "pong", .fn = on_pong, .size = sizeof(uint64_t)}},
};

struct host {
    struct party *party;
    unsigned done;
};

static int host_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct host *host = self;
    struct party *party = *(struct party *const *)args;
    host->party = party;
    for (unsigned i = 0; i < ACTORS; i++) {
        const struct guest_args given = {party, i};
        party->guests[i] = troupe_spawn(ctx, &guest_behavior, &given, NULL);
    }
    party->began_ns = tr_bench_clock();
    for (unsigned i = 0; i < ACTORS; i++) {
        int status = troupe_tell(ctx, party->guests[i], BEGIN, NULL, 0);
        if (status < 0)
            return status;
    }
    return 0;
}

static void on_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct host *host = self;
    struct party *party = host->party;
    if (tr_bench_number(msg) != party->pings * (party->pings + 1) / 2)
        party->wrong++;
    if (++host->done < ACTORS)
        return;
    party->ended_ns = tr_bench_clock();
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior host_behavior = {
    .name = "host",
    .state_size = sizeof(struct host),
    .args_size = sizeof(struct party *),
    .started = host_started,
    .handlers = {[DONE] = {.name = "done", .fn = on_done, .size = sizeof(uint64_t)}},
};

static int run(const struct tr_bench *bench)
{
    struct party party = {.pings = bench->size / ACTORS / 2 ? bench->size / ACTORS / 2 : 1};
    if (tr_bench_run(bench, &host_behavior, &party) != 0)
        return 1;
    if (party.wrong > 0)
        return tr_bench_failed(bench, "the pongs of %llu actors do not add up", (unsigned long long)party.wrong);
    tr_bench_result(bench->name, (double)(2 * ACTORS * party.pings) * 1e9 / (double)(party.ended_ns - party.began_ns),
                    "messages/s");
    return 0;
}

const struct tr_case tr_case_big = {.name = "big", .run = run, .behaviors = {&host_behavior, &guest_behavior}};
