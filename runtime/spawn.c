/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spawn.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/mailbox.h"
#include "sched/base/assert.h"

#define DEFAULT_RESTARTS 3
#define DEFAULT_WINDOW TROUPE_SEC(5)

static void supervise_as(struct tr_cell *cell, const troupe_supervision *s)
{
    TR_ASSERT(s->restarts <= TROUPE_RESTARTS_MAX || s->restarts == TROUPE_RESTARTS_NONE);
    cell->restart = (uint8_t)s->restart;
    cell->restarts_max = s->restarts == 0 ? DEFAULT_RESTARTS : s->restarts == TROUPE_RESTARTS_NONE ? 0 : s->restarts;
    cell->window_ns = s->window_ns ? s->window_ns : DEFAULT_WINDOW;
}

/* A slot's owner fields as a new actor needs them. */
static void fill(struct tr_cell *cell, struct tr_cell *parent, const troupe_behavior *behavior, void *args)
{
    cell->behavior = behavior;
    cell->args = args;
    cell->parent = parent;
    cell->life = TR_LIFE_STARTING;
    cell->incarnation_nr = 1;
    cell->restarts_total = cell->children_count = cell->ports = 0;
    cell->held = cell->calls_crashed = cell->calls_stopped = cell->crashed = cell->closed = cell->announces_restart =
        false;
    cell->reason = TROUPE_REASON_NORMAL;
    cell->gift_fd = -1;
    cell->state = NULL;
    cell->incarnation = NULL;
    cell->signals = NULL;
    cell->crash = NULL;
    tr_list_init(&cell->children);
    tr_list_init(&cell->siblings);
}

struct tr_cell *tr_spawn(troupe_ctx *ctx, struct tr_cell *parent, const troupe_behavior *behavior, const void *args,
                         const troupe_spawn_options *options)
{
    TR_ASSERT(behavior && behavior->name);
    void *copy = NULL;
    if (behavior->args_size) {
        TR_ASSERT(args);
        copy = malloc(behavior->args_size);
        if (!copy)
            return NULL;
        memcpy(copy, args, behavior->args_size);
    }
    struct tr_cell *cell = tr_cell_get(&ctx->rt->cells, &ctx->slots);
    if (!cell) {
        free(copy);
        return NULL;
    }
    fill(cell, parent, behavior, copy);
    supervise_as(cell, options && options->supervision ? options->supervision : &behavior->supervision);
    if (options && options->has_fd)
        cell->gift_fd = options->fd;
    if (parent) {
        tr_list_push_back(&parent->children, &cell->siblings);
        parent->children_count++;
    }
    tr_stat_add(&ctx->stats.spawns, 1);
    tr_mailbox_open(cell);
    return cell;
}

troupe_addr troupe_spawn(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args,
                         const troupe_spawn_options *options)
{
    enum tr_life life = ctx->cell->life;
    if (life != TR_LIFE_RUNNING && life != TR_LIFE_STARTING)
        return (troupe_addr){0}; /* it is stopping: a child would come too late to be stopped */
    struct tr_cell *cell = tr_spawn(ctx, ctx->cell, behavior, args, options);
    if (!cell)
        return (troupe_addr){0};
    troupe_addr addr = tr_cell_addr(cell);
    tr_pool_schedule(ctx->rt->pool, &cell->runnable);
    return addr;
}

troupe_addr troupe_self(const troupe_ctx *ctx)
{
    return tr_cell_addr(ctx->cell);
}

troupe_addr troupe_parent(const troupe_ctx *ctx)
{
    return ctx->cell->parent ? tr_cell_addr(ctx->cell->parent) : (troupe_addr){0};
}

unsigned troupe_incarnation(const troupe_ctx *ctx)
{
    return ctx->cell->incarnation_nr;
}

void troupe_hold(troupe_ctx *ctx)
{
    ctx->cell->held = true;
}

void troupe_resume(troupe_ctx *ctx)
{
    ctx->cell->held = false;
}

uint64_t troupe_now(const troupe_ctx *ctx)
{
    return ctx->now_ns;
}

troupe_runtime *troupe_ctx_runtime(const troupe_ctx *ctx)
{
    return ctx->rt;
}
