/* SPDX-License-Identifier: Apache-2.0 */
/* Children that start one after the other: the declared ones at first, and groups that restart together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/actor.h"
#include "runtime/family_state.h"
#include "runtime/order.h"
#include "runtime/spawn.h"

/* --- declared children --- */

static void cannot_start(troupe_ctx *ctx, const troupe_behavior *behavior)
{
    tr_actor_enter(ctx, "children");
    tr_actor_panic(ctx, TROUPE_CAUSE_START, -ENOMEM, "out of memory or actors for the declared child %s",
                   behavior->name);
}

/* A callback of the parent's. False: it made the parent stop. */
static bool make_args(troupe_ctx *ctx, struct tr_family *family, const troupe_child *spec)
{
    if (!spec->make_args)
        tr_spawn_check_args(spec->behavior, spec->args);
    if (!tr_args_make(ctx, &family->args, spec->behavior, spec->make_args ? NULL : spec->args, spec->supervision))
        cannot_start(ctx, spec->behavior);
    if (!spec->make_args)
        return true;
    tr_actor_enter(ctx, "make_args");
    spec->make_args(ctx, ctx->cell->state, family->number, tr_args_of(&family->args, spec->behavior));
    tr_actor_leave(ctx);
    return ctx->cell->life == TR_LIFE_RUNNING;
}

/* Nothing more is started before it is UP. */
static void await(struct tr_family *family, struct tr_cell *child)
{
    child->awaited = true;
    family->awaited++;
}

static void start_declared(troupe_ctx *ctx, struct tr_family *family)
{
    const troupe_child *spec = family->spec;
    if (!make_args(ctx, family, spec))
        return;
    struct tr_spawn_request request = {
        .behavior = spec->behavior,
        .args = family->args,
        .has_supervision = spec->supervision != NULL,
        .place = (uint16_t)family->next_place,
        .gift_fd = -1,
        .announces_up = true,
    };
    family->args.block = NULL;
    struct tr_cell *child = tr_spawn(ctx, ctx->cell, &request);
    family->args = request.args; /* none, or still the family's */
    if (!child)
        cannot_start(ctx, spec->behavior);
    family->next_place++;
    family->number++;
    await(family, child);
    tr_pool_schedule(ctx->rt->pool, &child->runnable);
}

static unsigned count_of(troupe_ctx *ctx, const troupe_child *spec)
{
    if (!spec->make_count)
        return spec->count ? spec->count : 1;
    tr_actor_enter(ctx, "make_count");
    unsigned count = spec->make_count(ctx, ctx->cell->state);
    tr_actor_leave(ctx);
    return count;
}

/* Makes room for the children of the spec that begins. */
static void begin_spec(troupe_ctx *ctx, struct tr_family *family)
{
    unsigned count = count_of(ctx, family->spec), total = family->staff_count + count;
    if (count > TROUPE_CHILDREN_MAX - family->staff_count) {
        tr_actor_enter(ctx, "children");
        tr_actor_panic(ctx, TROUPE_CAUSE_START, -EINVAL, "more than %d declared children, at %s", TROUPE_CHILDREN_MAX,
                       family->spec->behavior->name);
    }
    if (count > 0) {
        struct tr_cell **staff = realloc(family->staff, total * sizeof(struct tr_cell *));
        if (!staff)
            cannot_start(ctx, family->spec->behavior);
        memset(staff + family->staff_count, 0, count * sizeof(struct tr_cell *));
        family->staff = staff;
    }
    family->staff_count = total;
    family->number = 0;
}

/* Starts the next declared child; false: there is none left. */
static bool start_next_declared(troupe_ctx *ctx, struct tr_family *family)
{
    while (family->next_place == family->staff_count) {
        const troupe_child *next = family->spec ? family->spec + 1 : ctx->cell->behavior->children.declared;
        if (!next || !next->behavior)
            return false;
        family->spec = next;
        begin_spec(ctx, family);
        if (ctx->cell->life != TR_LIFE_RUNNING)
            return true;
    }
    do
        start_declared(ctx, family);
    while (family->spec->together && family->next_place < family->staff_count && ctx->cell->life == TR_LIFE_RUNNING);
    return true;
}

unsigned tr_family_staff(troupe_ctx *ctx)
{
    const troupe_child *declared = ctx->cell->behavior->children.declared;
    if (!declared || !declared->behavior)
        return TR_WISH_STAFFED;
    struct tr_family *family = tr_family_of(ctx);
    if (!family)
        cannot_start(ctx, declared->behavior);
    return tr_family_advance(ctx, family);
}

/* --- groups --- */

/* Has child and those that restart with it come down; they join what is left of a group under way. */
void tr_family_group(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child)
{
    bool all = ctx->cell->behavior->children.strategy == TROUPE_ONE_FOR_ALL;
    if (family->group == TR_GROUP_GATHERING && child->in_group)
        return; /* those that restart with it are in the group already, as they were when it joined */
    struct tr_list *link = all ? family->children.next : &child->siblings;
    for (; link != &family->children; link = link->next) {
        struct tr_cell *member = tr_family_cell(link);
        member->in_group = true;
        family->awaited -= member->awaited;
        member->awaited = false;
    }
    family->group = TR_GROUP_GATHERING;
    family->group_grew = true;
}

/* A member is down, or gone. */
void tr_family_gathered(struct tr_family *family, const struct tr_cell *child)
{
    if (child->in_group && child->seat == TR_SEAT_TOLD && tr_family_is_dynamic(child) && family->gathering > 0)
        family->gathering--;
}

/* True: all members are down. */
static bool gather(troupe_ctx *ctx, struct tr_family *family)
{
    if (family->group_grew) {
        family->gathering += tr_family_tell_members(ctx, family);
        family->gathering_place = family->staff_count;
    }
    family->group_grew = false;
    if (family->gathering > 0)
        return false;
    for (; family->gathering_place > 0; family->gathering_place--) {
        struct tr_cell *child = family->staff[family->gathering_place - 1];
        if (!child || !child->in_group || child->seat == TR_SEAT_DOWN)
            continue;
        if (child->seat == TR_SEAT_UP)
            tr_family_time_out(ctx, family, tr_family_tell(ctx, child, TR_CONTROL_REGROUP));
        return false;
    }
    return true;
}

/* The child is down: an order to come down that it has not seen yet is obeyed already, and must not hit what starts
 * now. */
void tr_family_start_again(troupe_ctx *ctx, struct tr_cell *child)
{
    child->seat = TR_SEAT_UP;
    child->in_group = child->killed_late = false;
    tr_order_instead(ctx, child, TR_CONTROL_START, TR_CONTROL_REGROUP | TR_CONTROL_FORCE);
}

/* False: there is no member left to start. */
static bool start_next_member(troupe_ctx *ctx, struct tr_family *family)
{
    while (family->cursor != &family->children) {
        struct tr_cell *child = tr_family_cell(family->cursor);
        family->cursor = family->cursor->next;
        if (!child->in_group)
            continue;
        await(family, child);
        tr_family_start_again(ctx, child);
        return true;
    }
    return false;
}

/* Goes on with whatever is under way: the group, then the declared children that have not been started yet. */
unsigned tr_family_advance(troupe_ctx *ctx, struct tr_family *family)
{
    if (family->group == TR_GROUP_GATHERING) {
        if (!gather(ctx, family))
            return 0;
        family->group = TR_GROUP_STARTING;
        family->cursor = family->children.next;
    }
    if (family->awaited > 0)
        return 0;
    if (family->group == TR_GROUP_STARTING) {
        if (start_next_member(ctx, family))
            return 0;
        family->group = TR_GROUP_NONE;
    }
    return start_next_declared(ctx, family) ? 0 : TR_WISH_STAFFED;
}
