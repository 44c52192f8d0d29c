/* SPDX-License-Identifier: Apache-2.0 */
/* Routers: a rule by which each message goes to one of many actors, or to all.
 * A router is a value of its user's: in an actor's state, on a stack. It owns nothing and needs no end. One thread at a
 * time may use one; two users have two, over the same actors. Sending through it allocates the message and nothing
 * else.
 * It is no actor: it has no address, no mailbox, and adds no hop. */
#ifndef TROUPE_ROUTER_H
#define TROUPE_ROUTER_H

#include <troupe/group.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum troupe_route {
    /* One after the other. Exact while nobody joins, leaves or ends. */
    TROUPE_ROUTE_ROUND_ROBIN = 0,
    TROUPE_ROUTE_RANDOM,
    /* The one with the least to do: of up to 8 all are looked at, of more two that are drawn at random ("the power of
     * two choices", Mitzenmacher 2001). */
    TROUPE_ROUTE_LEAST_LOADED,
    /* Messages of one key go to the same actor, while it lives and is a routee. Of n actors one more, or one less,
     * moves about one key in n and no other ("highest random weight", Thaler and Ravishankar 1998). An actor's weight
     * hangs on its address, so it stays the same over restarts and is another in the next run. Costs a step per routee:
     * about a nanosecond, so some hundreds of routees are fine. */
    TROUPE_ROUTE_KEY,
    TROUPE_ROUTE_ALL
} troupe_route;

/* Make one with troupe_router_over or troupe_router_over_group; the fields are the runtime's. */
typedef struct troupe_router {
    troupe_route route;
    const char *group; /* NULL: routees */
    const troupe_addr *routees;
    size_t count;
    uint64_t turn;   /* round robin: whose it is */
    uint64_t random; /* state; may be set to seed it */
} troupe_router;

/* Over a fixed set of actors: an array that must stay as long as the router is used, and may be changed in between. */
static inline troupe_router troupe_router_over(troupe_route route, const troupe_addr *routees, size_t count)
{
    troupe_router router = {route, 0, routees, count, 0, 0};
    return router;
}

/* Over a group (group.h), whose members may come and go. The name is not copied. */
static inline troupe_router troupe_router_over_group(troupe_route route, const char *group)
{
    troupe_router router = {route, group, 0, 0, 0, 0};
    return router;
}

/* A key of any bytes. Numbers that tell things apart, as ids do, may be used as keys as they are. */
TROUPE_API uint64_t troupe_route_key(const void *bytes, size_t size);

/* troupe_router_tell - tell one of the routees, or all of them.
 *   key  of TROUPE_ROUTE_KEY; ignored by the other rules
 * A routee that has ended is passed over, also if it ends at this moment; so is one whose mailbox is full, but not by
 * TROUPE_ROUTE_KEY: it has only one place for a key.
 * Returns 0: as troupe_tell (of ALL: to each, see troupe_group_tell); -ESRCH: none is alive, the message became a dead
 *   letter (no_actor, to nobody); -EAGAIN: the mailboxes of all who could have it are full, nothing was sent; -ENOMEM,
 *   -EMSGSIZE; of a group's name -EINVAL, -ENAMETOOLONG. */
TROUPE_API int troupe_router_tell(troupe_ctx *ctx, troupe_router *router, uint64_t key, unsigned kind,
                                  const void *payload, size_t size);
/* The same as an ask: from `timeout_ns` on as troupe_ask (message.h). Where no routee is alive it returns 0 and the
 * answer is -ESRCH; so it is when the one that was chosen ends before it has answered. -EINVAL: ALL cannot ask. */
TROUPE_API int troupe_router_ask(troupe_ctx *ctx, troupe_router *router, uint64_t key, unsigned kind,
                                 const void *payload, size_t size, uint64_t timeout_ns, troupe_answer_fn *done,
                                 void *arg);
/* Whose turn it is, for any other verb: counts as one message. Nobody: none is alive, or the rule is ALL. */
TROUPE_API troupe_addr troupe_router_pick(troupe_ctx *ctx, troupe_router *router, uint64_t key);

/* The same from any thread; the sender is nobody. */
TROUPE_API int troupe_runtime_router_tell(troupe_runtime *rt, troupe_router *router, uint64_t key, unsigned kind,
                                          const void *payload, size_t size);
TROUPE_API troupe_addr troupe_runtime_router_pick(troupe_runtime *rt, troupe_router *router, uint64_t key);

#ifdef __cplusplus
}
#endif

#endif
