/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of group.h and topic.h: names with any number of members. They differ in whose kind a message has. */
#include <troupe/topic.h>

#include <errno.h>

#include "runtime/context.h"
#include "runtime/fanout.h"
#include "runtime/members.h"
#include "runtime/tie.h"

#define AT_ONCE 32u

static int join(struct troupe_runtime *rt, troupe_ctx *ctx, enum tr_space space, const char *name, troupe_addr actor,
                unsigned kind)
{
    struct tr_key key;
    int status = tr_key_make(&key, space, name);
    return status < 0 ? status : tr_tie_bind(rt, ctx, &key, actor, kind, NULL);
}

static int leave(struct troupe_runtime *rt, troupe_ctx *ctx, enum tr_space space, const char *name, troupe_addr actor)
{
    struct tr_key key;
    int status = tr_key_make(&key, space, name);
    return status < 0 ? status : tr_tie_unbind(rt, ctx, &key, actor);
}

static int say_to_all(const struct tr_saying *saying, enum tr_space space, const char *name, troupe_fanout *out)
{
    struct tr_key key;
    int status = tr_key_make(&key, space, name);
    if (out)
        *out = (troupe_fanout){0};
    return status < 0 ? status : tr_fanout(saying, &key, space == TR_SPACE_TOPIC, out);
}

/* --- groups --- */

int troupe_group_join(troupe_ctx *ctx, const char *group, troupe_addr actor)
{
    return join(ctx->rt, ctx, TR_SPACE_GROUP, group, actor, 0);
}

int troupe_group_leave(troupe_ctx *ctx, const char *group, troupe_addr actor)
{
    return leave(ctx->rt, ctx, TR_SPACE_GROUP, group, actor);
}

int troupe_group_tell(troupe_ctx *ctx, const char *group, unsigned kind, const void *payload, size_t size,
                      troupe_fanout *out)
{
    struct tr_saying saying = {.rt = ctx->rt, .ctx = ctx, .kind = kind, .payload = payload, .size = size};
    return say_to_all(&saying, TR_SPACE_GROUP, group, out);
}

static size_t members_of(const troupe_runtime *rt, const char *group, troupe_addr *out, size_t max)
{
    struct tr_key key;
    if (tr_key_make(&key, TR_SPACE_GROUP, group) < 0)
        return 0;
    struct tr_shard *shard = tr_shard_of(&rt->names, &key);
    struct tr_reader_member members[AT_ONCE];
    struct tr_reading reading = {0};
    size_t count = 0;
    for (unsigned read; (read = tr_members_read(shard, &key, &reading, members, AT_ONCE)) > 0;)
        for (unsigned i = 0; i < read; i++) {
            if (!tr_tie_lives(rt, members[i].addr))
                continue;
            if (count < max)
                out[count] = members[i].addr;
            count++;
        }
    return count;
}

size_t troupe_group_members(const troupe_ctx *ctx, const char *group, troupe_addr *out, size_t max)
{
    return members_of(ctx->rt, group, out, max);
}

int troupe_runtime_group_join(troupe_runtime *rt, const char *group, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = join(rt, tr_ctx_here(rt), TR_SPACE_GROUP, group, actor, 0);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_runtime_group_leave(troupe_runtime *rt, const char *group, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = leave(rt, tr_ctx_here(rt), TR_SPACE_GROUP, group, actor);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_runtime_group_tell(troupe_runtime *rt, const char *group, unsigned kind, const void *payload, size_t size,
                              troupe_fanout *out)
{
    struct tr_saying saying = {.rt = rt, .kind = kind, .payload = payload, .size = size};
    if (out)
        *out = (troupe_fanout){0};
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = say_to_all(&saying, TR_SPACE_GROUP, group, out);
    tr_gate_leave(&rt->gate);
    return status;
}

size_t troupe_runtime_group_members(const troupe_runtime *rt, const char *group, troupe_addr *out, size_t max)
{
    struct tr_gate *gate = tr_gate_of(rt);
    if (!tr_gate_enter(gate))
        return 0;
    size_t count = members_of(rt, group, out, max);
    tr_gate_leave(gate);
    return count;
}

/* --- topics --- */

int troupe_subscribe(troupe_ctx *ctx, const char *topic, troupe_addr actor, unsigned kind)
{
    return join(ctx->rt, ctx, TR_SPACE_TOPIC, topic, actor, kind);
}

int troupe_unsubscribe(troupe_ctx *ctx, const char *topic, troupe_addr actor)
{
    return leave(ctx->rt, ctx, TR_SPACE_TOPIC, topic, actor);
}

int troupe_publish(troupe_ctx *ctx, const char *topic, const void *payload, size_t size, troupe_fanout *out)
{
    struct tr_saying saying = {.rt = ctx->rt, .ctx = ctx, .payload = payload, .size = size};
    return say_to_all(&saying, TR_SPACE_TOPIC, topic, out);
}

int troupe_runtime_subscribe(troupe_runtime *rt, const char *topic, troupe_addr actor, unsigned kind)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = join(rt, tr_ctx_here(rt), TR_SPACE_TOPIC, topic, actor, kind);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_runtime_unsubscribe(troupe_runtime *rt, const char *topic, troupe_addr actor)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = leave(rt, tr_ctx_here(rt), TR_SPACE_TOPIC, topic, actor);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_runtime_publish(troupe_runtime *rt, const char *topic, const void *payload, size_t size, troupe_fanout *out)
{
    struct tr_saying saying = {.rt = rt, .payload = payload, .size = size};
    if (out)
        *out = (troupe_fanout){0};
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = say_to_all(&saying, TR_SPACE_TOPIC, topic, out);
    tr_gate_leave(&rt->gate);
    return status;
}
