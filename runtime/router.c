/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of router.h: which of many is told. The choice over a group is made in one look at the list of its members
 * (names.h), on a copy of the router's state, as a look that was disturbed is made again. */
#include <troupe/router.h>

#include <errno.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/fanout.h"
#include "runtime/mailbox.h"
#include "runtime/members.h"
#include "runtime/tie.h"
#include "sched/base/rng.h"

#define ALL_LOOKED_AT 8u
#define DRAWS 8u
#define NO_PLACE UINT64_MAX

/* The routees, as a list of addresses with a stride; some are nobody, some have ended. */
struct routees {
    const struct troupe_runtime *rt;
    const char *first;
    size_t stride;
    uint64_t count;
};

struct choice {
    troupe_addr addr;      /* nobody: none is alive */
    uint64_t place, count; /* where it is in the list */
};

static troupe_addr routee_at(const struct routees *routees, uint64_t place)
{
    const char *at = routees->first + place * routees->stride;
    return (troupe_addr){ck_pr_load_64((const uint64_t *)(const void *)at)};
}

static bool lives_at(const struct routees *routees, uint64_t place)
{
    return tr_tie_lives(routees->rt, routee_at(routees, place));
}

/* The first that lives from that place on, all around. */
static uint64_t first_from(const struct routees *routees, uint64_t start)
{
    for (uint64_t i = 0, place = start; i < routees->count; i++, place = place + 1 < routees->count ? place + 1 : 0)
        if (lives_at(routees, place))
            return place;
    return NO_PLACE;
}

/* --- the rules --- */

/* Some draws first: to go on from a hole would favour those behind holes. */
static uint64_t any(const struct routees *routees, struct tr_rng *rng)
{
    uint64_t place = tr_rng_below(rng, (uint32_t)routees->count);
    for (unsigned i = 1; i < DRAWS && !lives_at(routees, place); i++)
        place = tr_rng_below(rng, (uint32_t)routees->count);
    return first_from(routees, place);
}

/* How much an actor has to do. Its mailbox says only whether it is idle; this is the one place to ask for more. */
static uint64_t load_of(const struct troupe_runtime *rt, troupe_addr addr)
{
    const struct tr_cell *cell = tr_cell_find(&rt->cells, addr);
    return cell && ck_pr_load_ptr(&cell->head) != TR_HEAD_IDLE;
}

/* Either may be NO_PLACE: routees end meanwhile. */
static uint64_t lighter(const struct routees *routees, uint64_t a, uint64_t b)
{
    if (a == NO_PLACE || a == b)
        return b;
    if (b == NO_PLACE)
        return a;
    return load_of(routees->rt, routee_at(routees, b)) < load_of(routees->rt, routee_at(routees, a)) ? b : a;
}

/* Of few all, beginning anywhere, so that equals take turns. */
static uint64_t least_loaded(const struct routees *routees, struct tr_rng *rng)
{
    uint64_t best = any(routees, rng);
    if (best == NO_PLACE)
        return best;
    if (routees->count > ALL_LOOKED_AT)
        return lighter(routees, best, any(routees, rng));
    uint64_t start = best;
    for (uint64_t i = 1; i < routees->count; i++) {
        uint64_t place = (start + i) % routees->count;
        if (lives_at(routees, place))
            best = lighter(routees, best, place);
    }
    return best;
}

static uint64_t spread(uint64_t bits)
{
    struct tr_rng rng = {bits};
    return tr_rng_next(&rng);
}

/* Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998: each routee's weight for this
 * key. */
static uint64_t heaviest(const struct routees *routees, uint64_t key)
{
    uint64_t best = NO_PLACE, best_weight = 0, spread_key = spread(key);
    for (uint64_t place = 0; place < routees->count; place++) {
        troupe_addr addr = routee_at(routees, place);
        uint64_t weight = spread(spread_key ^ addr.bits);
        if ((best == NO_PLACE || weight > best_weight) && tr_tie_lives(routees->rt, addr)) {
            best = place;
            best_weight = weight;
        }
    }
    return best;
}

static uint64_t place_by_rule(troupe_router *router, const struct routees *routees, uint64_t key)
{
    struct tr_rng rng = {router->random};
    uint64_t place = NO_PLACE;
    switch (router->route) {
    case TROUPE_ROUTE_ROUND_ROBIN:
        place = first_from(routees, router->turn < routees->count ? router->turn : 0);
        router->turn = place == NO_PLACE ? 0 : place + 1;
        break;
    case TROUPE_ROUTE_RANDOM:
        place = any(routees, &rng);
        break;
    case TROUPE_ROUTE_LEAST_LOADED:
        place = least_loaded(routees, &rng);
        break;
    case TROUPE_ROUTE_KEY:
        place = heaviest(routees, key);
        break;
    case TROUPE_ROUTE_ALL:
        break;
    }
    router->random = rng.state;
    return place;
}

/* --- choosing --- */

/* at: NO_PLACE for the choice by the rule, else a place and no other. */
static void choose_among(troupe_router *router, const struct routees *routees, uint64_t key, uint64_t at,
                         struct choice *out)
{
    *out = (struct choice){.place = NO_PLACE, .count = routees->count};
    if (routees->count == 0)
        return;
    uint64_t place = at == NO_PLACE ? place_by_rule(router, routees, key) : at;
    out->place = place;
    if (place < routees->count)
        out->addr = routee_at(routees, place);
}

static int choose_in_group(const struct troupe_runtime *rt, troupe_router *router, uint64_t key, uint64_t at,
                           struct choice *out)
{
    struct tr_key name_key;
    int status = tr_key_make(&name_key, TR_SPACE_GROUP, router->group);
    if (status < 0)
        return status;
    struct tr_look look = {.shard = tr_shard_of(&rt->names, &name_key)};
    troupe_router next;
    do {
        tr_look_begin(&look);
        next = *router;
        struct routees routees = {.rt = rt, .stride = sizeof(struct tr_member)};
        const struct tr_name *name = tr_look_find(&look, &name_key);
        const struct tr_members *members = name ? tr_members_look(name, &routees.count) : NULL;
        if (members)
            routees.first = (const char *)&members->list[0].addr;
        else
            routees.count = 0;
        choose_among(&next, &routees, key, at, out);
    } while (!tr_look_end(&look));
    *router = next;
    return 0;
}

static int choose(const struct troupe_runtime *rt, troupe_router *router, uint64_t key, uint64_t at, struct choice *out)
{
    if (router->group)
        return choose_in_group(rt, router, key, at, out);
    struct routees routees = {rt, (const char *)router->routees, sizeof(troupe_addr), router->count};
    choose_among(router, &routees, key, at, out);
    return 0;
}

/* --- telling --- */

/* The one that was chosen has a full mailbox: who comes behind it in the list? */
static int say_elsewhere(const struct tr_saying *saying, troupe_router *router, const struct choice *full,
                         troupe_msg *msg)
{
    if (router->route == TROUPE_ROUTE_KEY)
        return -EAGAIN;
    for (uint64_t i = 1; i < full->count; i++) {
        struct choice next;
        choose(saying->rt, router, 0, (full->place + i) % full->count, &next);
        if (tr_deliver(saying, next.addr, msg) == 0)
            return 0;
    }
    return -EAGAIN;
}

static int say_to_one(const struct tr_saying *saying, troupe_router *router, uint64_t key)
{
    troupe_msg *msg;
    int status = tr_saying_message(saying, &msg);
    if (status < 0)
        return status;
    do {
        struct choice choice;
        status = choose(saying->rt, router, key, NO_PLACE, &choice);
        if (status < 0)
            break;
        if (troupe_addr_is_nobody(choice.addr))
            return tr_deliver_to_nobody(saying, msg);
        status = tr_deliver(saying, choice.addr, msg);
        if (status == -EAGAIN)
            status = say_elsewhere(saying, router, &choice, msg);
    } while (status == -ESRCH); /* it ended at this moment: the next choice is without it */
    if (status < 0)
        tr_msg_free(&saying->rt->slab, saying->ctx ? &saying->ctx->cache : NULL, msg);
    return status;
}

static int say_to_all(const struct tr_saying *saying, const troupe_router *router)
{
    troupe_fanout out = {0};
    struct tr_key key;
    int status = 0;
    if (saying->size > TROUPE_PAYLOAD_MAX)
        return -EMSGSIZE;
    if (router->group) {
        status = tr_key_make(&key, TR_SPACE_GROUP, router->group);
        if (status == 0)
            status = tr_fanout(saying, &key, false, &out);
    } else {
        for (size_t i = 0; i < router->count; i++)
            tr_fanout_one(saying, router->routees[i], &out);
        status = tr_fanout_status(&out);
    }
    troupe_msg *msg;
    if (status < 0 || out.told > 0)
        return status;
    status = tr_saying_message(saying, &msg);
    return status < 0 ? status : tr_deliver_to_nobody(saying, msg);
}

static int say(const struct tr_saying *saying, troupe_router *router, uint64_t key)
{
    return router->route == TROUPE_ROUTE_ALL ? say_to_all(saying, router) : say_to_one(saying, router, key);
}

/* --- the verbs --- */

int troupe_router_tell(troupe_ctx *ctx, troupe_router *router, uint64_t key, unsigned kind, const void *payload,
                       size_t size)
{
    struct tr_saying saying = {.rt = ctx->rt, .ctx = ctx, .kind = kind, .payload = payload, .size = size};
    return say(&saying, router, key);
}

int troupe_runtime_router_tell(troupe_runtime *rt, troupe_router *router, uint64_t key, unsigned kind,
                               const void *payload, size_t size)
{
    struct tr_saying saying = {.rt = rt, .kind = kind, .payload = payload, .size = size};
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = say(&saying, router, key);
    tr_gate_leave(&rt->gate);
    return status;
}

static troupe_addr pick(troupe_runtime *rt, troupe_router *router, uint64_t key)
{
    struct choice choice;
    return choose(rt, router, key, NO_PLACE, &choice) == 0 ? choice.addr : (troupe_addr){0};
}

troupe_addr troupe_router_pick(troupe_ctx *ctx, troupe_router *router, uint64_t key)
{
    return pick(ctx->rt, router, key);
}

troupe_addr troupe_runtime_router_pick(troupe_runtime *rt, troupe_router *router, uint64_t key)
{
    if (!tr_gate_enter(&rt->gate))
        return (troupe_addr){0};
    troupe_addr picked = pick(rt, router, key);
    tr_gate_leave(&rt->gate);
    return picked;
}

int troupe_router_ask(troupe_ctx *ctx, troupe_router *router, uint64_t key, unsigned kind, const void *payload,
                      size_t size, uint64_t timeout_ns, troupe_answer_fn *done, void *arg)
{
    struct choice choice;
    if (router->route == TROUPE_ROUTE_ALL)
        return -EINVAL;
    int status = choose(ctx->rt, router, key, NO_PLACE, &choice);
    return status < 0 ? status : troupe_ask(ctx, choice.addr, kind, payload, size, timeout_ns, done, arg);
}

/* As the hash of names, byte order of the machine and all: keys are not for other machines. */
uint64_t troupe_route_key(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t key = size * UINT64_C(0x9e3779b97f4a7c15), word;
    for (; size > 0; at += sizeof word) {
        size_t part = size < sizeof word ? size : sizeof word;
        word = 0;
        memcpy(&word, at, part);
        size -= part;
        key = (key ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
        key ^= key >> 29;
    }
    return key;
}
