/* SPDX-License-Identifier: Apache-2.0 */
/* The books of a family: who belongs to it, in which order. */
#include "runtime/family.h"

#include <stdlib.h>

#include "runtime/alarm.h"
#include "runtime/family_state.h"
#include "sched/base/assert.h"

struct tr_family *tr_family_of(troupe_ctx *ctx)
{
    struct tr_cell *cell = ctx->cell;
    if (TR_LIKELY(cell->family != NULL))
        return cell->family;
    struct tr_family *family = tr_slab_take(&ctx->rt->slab, &ctx->cache, TR_CLASS_FAMILY);
    if (!family)
        return NULL;
    *family = (struct tr_family){.alarm = NULL};
    tr_list_init(&family->children);
    return cell->family = family;
}

bool tr_family_is_empty(const struct tr_cell *cell)
{
    return cell->children_count == 0;
}

/* Behind the last declared child of a lower place. */
static struct tr_list *before_place(struct tr_family *family, unsigned place)
{
    while (place > 0)
        if (family->staff[--place])
            return &family->staff[place]->siblings;
    return &family->children;
}

bool tr_family_adopt(troupe_ctx *ctx, struct tr_cell *child)
{
    struct tr_family *family = tr_family_of(ctx);
    if (!family)
        return false;
    bool dynamic = tr_family_is_dynamic(child);
    TR_ASSERT(dynamic || family->staff);
    struct tr_list *after = dynamic ? family->children.prev : before_place(family, child->place);
    tr_list_insert_between(&child->siblings, after, after->next);
    child->seat = TR_SEAT_UP;
    ctx->cell->children_count++;
    family->dynamic += dynamic;
    family->significant += child->policy->significant;
    if (!dynamic)
        family->staff[child->place] = child;
    return true;
}

/* The child has ended: takes it off the books. */
void tr_family_remove(struct tr_family *family, struct tr_cell *child)
{
    if (family->tell_next == &child->siblings)
        family->tell_next = child->siblings.prev;
    if (family->cursor == &child->siblings)
        family->cursor = child->siblings.next;
    tr_list_remove(&child->siblings);
    child->parent->children_count--;
    family->dynamic -= tr_family_is_dynamic(child);
    family->significant -= child->policy->significant;
    if (!tr_family_is_dynamic(child))
        family->staff[child->place] = NULL;
    family->awaited -= child->awaited;
}

void tr_family_reset(troupe_ctx *ctx)
{
    struct tr_family *family = ctx->cell->family;
    if (!family)
        return;
    TR_ASSERT(ctx->cell->children_count == 0);
    if (family->alarm)
        tr_alarm_cancel(ctx, family->alarm);
    family->alarm = NULL;
    free(family->staff);
    tr_args_drop(ctx, &family->args);
    family->staff = NULL;
    family->staff_count = 0;
    family->spec = NULL;
    family->number = family->next_place = 0;
    family->awaited = 0;
    family->group = TR_GROUP_NONE;
    family->gathering = 0;
    family->ending = false;
    family->tell_how = 0;
    family->tell_next = NULL;
    tr_window_forget(&family->window);
}

void tr_family_free(troupe_ctx *ctx, struct tr_cell *cell)
{
    if (!cell->family)
        return;
    tr_family_reset(ctx);
    tr_window_fini(&cell->family->window);
    tr_slab_put(&ctx->rt->slab, &ctx->cache, TR_CLASS_FAMILY, cell->family);
    cell->family = NULL;
}

troupe_addr troupe_child_at(const troupe_ctx *ctx, unsigned place)
{
    const struct tr_family *family = ctx->cell->family;
    if (!family || place >= family->staff_count || !family->staff[place])
        return (troupe_addr){0};
    return tr_cell_addr_of_child(family->staff[place]);
}
