/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/bound.h"
#include "runtime/context.h"
#include "runtime/family.h"
#include "runtime/incarnation.h"
#include "runtime/mailbox.h"
#include "runtime/policy.h"
#include "sched/base/assert.h"

/* Mistakes in a behavior, or in how it is spawned, are the programmer's, and end the process at the first spawn. */
static void refuse(const troupe_behavior *behavior, const char *fault)
{
    fprintf(stderr, "troupe: behavior %s: %s\n", behavior->name ? behavior->name : "(without a name)", fault);
    abort();
}

void tr_spawn_check_args(const troupe_behavior *behavior, const void *args)
{
    if (behavior->args_size && !args)
        refuse(behavior, "args_size is not 0, but it was spawned without args");
}

/* A slot's fields as a new actor needs them. */
static void fill(struct tr_cell *cell, struct tr_cell *parent, struct tr_spawn_request *request, struct tr_bound *bound)
{
    cell->behavior = request->behavior;
    ck_pr_store_ptr(&cell->parent, parent);
    tr_args_give(&request->args, cell, request->has_supervision);
    cell->place = request->place;
    ck_pr_store_ptr(&cell->bound, bound);
    ck_pr_store_64(&cell->mood, 0); /* a late signaller of the slot's last actor may set the alarm */
    cell->unusual = bound ? TR_UNUSUAL_BOUNDED : 0;
    ck_pr_store_8(&cell->life, request->unborn ? TR_LIFE_WAITING : TR_LIFE_STARTING);
    cell->unborn = request->unborn;
    cell->reason = TROUPE_REASON_NORMAL;
    cell->calls_crashed = cell->calls_stopped = cell->crashed = cell->forced = cell->closed = false;
    cell->announces_restart = cell->regroup = cell->final = cell->buried = false;
    cell->announces_up = request->announces_up;
    cell->incarnation_nr = 1;
    cell->children_count = cell->ports = 0;
    cell->gift_fd = request->gift_fd;
    cell->signals = NULL;
    cell->watchers = NULL;
    cell->stopped_token = NULL;
    cell->news = 0;
    cell->born = cell->generation;
    cell->in_group = cell->awaited = cell->told_to_end = cell->killed_late = cell->replaced = false;
    TR_ASSERT(!cell->state && !cell->incarnation && !cell->recovery && !cell->family);
}

static void refuse_faulty(const troupe_behavior *behavior, const troupe_supervision *policy)
{
    const char *fault = !behavior->name ? "a behavior needs a name" : tr_policy_fault(policy);
    if (!fault)
        fault = tr_policy_children_fault(&behavior->children);
    if (!fault && (unsigned)behavior->mailbox.overflow >= TROUPE_OVERFLOW_COUNT)
        fault = "mailbox.overflow is none of TROUPE_OVERFLOW_";
    if (fault)
        refuse(behavior, fault);
}

/* Out of memory for the rest of it. */
static struct tr_cell *unmake(troupe_ctx *ctx, struct tr_cell *cell)
{
    if (cell->bound)
        tr_bound_free(ctx, cell->bound);
    ck_pr_store_ptr(&cell->bound, NULL);
    tr_cell_put(&ctx->rt->cells, &ctx->slots, cell);
    return NULL;
}

struct tr_cell *tr_spawn(troupe_ctx *ctx, struct tr_cell *parent, struct tr_spawn_request *request)
{
    const troupe_behavior *behavior = request->behavior;
    refuse_faulty(behavior, tr_args_policy(&request->args, behavior, request->has_supervision));
    struct tr_cell *cell = tr_cell_get(&ctx->rt->cells, &ctx->slots);
    if (!cell)
        return NULL;
    struct tr_bound *bound = NULL;
    if (tr_bound_wanted(behavior) && !(bound = tr_bound_new(ctx, behavior)))
        return unmake(ctx, cell);
    fill(cell, parent, request, bound);
    if (parent && !tr_family_adopt(ctx, cell)) {
        tr_args_take(&request->args, cell);
        return unmake(ctx, cell);
    }
    tr_count(&ctx->stats.spawns, 1);
    tr_mailbox_open(cell);
    return cell;
}

struct tr_cell *tr_spawn_root(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args)
{
    struct tr_spawn_request request = {.behavior = behavior, .place = TR_PLACE_DYNAMIC, .gift_fd = -1};
    tr_spawn_check_args(behavior, args);
    if (!tr_args_make(ctx, &request.args, behavior, args, NULL))
        return NULL;
    struct tr_cell *cell = tr_spawn(ctx, NULL, &request);
    if (!cell)
        tr_args_drop(ctx, &request.args);
    return cell;
}

troupe_addr troupe_spawn(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args,
                         const troupe_spawn_options *options)
{
    enum tr_life life = (enum tr_life)ctx->cell->life;
    if (life != TR_LIFE_RUNNING && life != TR_LIFE_STARTING)
        return (troupe_addr){0}; /* it is stopping: a child would come too late to be stopped */
    const troupe_supervision *supervision = options ? options->supervision : NULL;
    tr_spawn_check_args(behavior, args);
    struct tr_spawn_request request = {
        .behavior = behavior,
        .has_supervision = supervision != NULL,
        .place = TR_PLACE_DYNAMIC,
        .gift_fd = options && options->has_fd ? options->fd : -1,
    };
    if (!tr_args_make(ctx, &request.args, behavior, args, supervision))
        return (troupe_addr){0};
    struct tr_cell *cell = tr_spawn(ctx, ctx->cell, &request);
    if (!cell) {
        tr_args_drop(ctx, &request.args);
        return (troupe_addr){0};
    }
    tr_incarnation_fd_gone(ctx, request.gift_fd); /* it may be one that this actor had from its own parent */
    troupe_addr addr = tr_cell_addr(cell);
    tr_worker_schedule_born(ctx->worker, &cell->runnable);
    return addr;
}
