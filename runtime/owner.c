/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/owner.h"

#include <errno.h>
#include <unistd.h>

#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/incarnation.h"
#include "sched/base/assert.h"

#define ARENA_KEPT ((size_t)16 * 1024)     /* bytes an actor's arena may keep between incarnations */
#define SCRATCH_KEPT ((size_t)1024 * 1024) /* and a worker's between callbacks */
#define WORKER_BITS 6

_Static_assert(TROUPE_WORKERS_MAX <= 1 << WORKER_BITS, "a serial says which worker made it");

/* --- memory --- */

static TROUPE_NORETURN void out_of_memory(troupe_ctx *ctx, const char *verb, size_t size)
{
    tr_actor_panic(ctx, TROUPE_CAUSE_PANIC, 0, "%s: out of memory for %zu bytes", verb, size);
}

void *troupe_alloc(troupe_ctx *ctx, size_t size)
{
    struct tr_incarnation *inc = tr_incarnation_even_closed(ctx);
    void *memory = inc ? tr_arena_alloc_zeroed(&inc->owner.arena, size) : NULL;
    if (TR_UNLIKELY(!memory))
        out_of_memory(ctx, "troupe_alloc", size);
    return memory;
}

void *troupe_scratch(troupe_ctx *ctx, size_t size)
{
    void *memory = tr_arena_alloc(&ctx->scratch, size);
    if (TR_UNLIKELY(!memory))
        out_of_memory(ctx, "troupe_scratch", size);
    ctx->scratch_used = ctx->untidy = true;
    return memory;
}

void tr_owner_rewind_scratch(troupe_ctx *ctx)
{
    ctx->scratch_used = false;
    tr_arena_reset(&ctx->scratch, SCRATCH_KEPT);
}

void *troupe_block(troupe_ctx *ctx, size_t size)
{
    struct tr_incarnation *inc = tr_incarnation_even_closed(ctx);
    return inc ? tr_blocks_alloc(&inc->owner.blocks, size) : NULL;
}

static TROUPE_NORETURN void no_block(troupe_ctx *ctx, const char *verb, const void *block)
{
    tr_actor_panic(ctx, TROUPE_CAUSE_PANIC, 0,
                   "%s: %p is no block of this incarnation: freed already, never one, or overwritten just before it",
                   verb, block);
}

void *troupe_block_resize(troupe_ctx *ctx, void *block, size_t size)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    void *resized;
    if (!block)
        return troupe_block(ctx, size);
    if (TR_UNLIKELY(!inc || !tr_blocks_resize(&inc->owner.blocks, block, size, &resized)))
        no_block(ctx, "troupe_block_resize", block);
    return resized;
}

void troupe_block_free(troupe_ctx *ctx, void *block)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (TR_UNLIKELY(block && !(inc && tr_blocks_free(&inc->owner.blocks, block))))
        no_block(ctx, "troupe_block_free", block);
}

/* --- resources and deferred calls --- */

int troupe_reserve(troupe_ctx *ctx, unsigned count)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    return inc ? tr_holdings_reserve(&inc->owner.holdings, count) : -ENOMEM;
}

/* Its slot, or 0: out of memory. */
static uint32_t hold(troupe_ctx *ctx, const struct tr_holding *holding)
{
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    if (TR_UNLIKELY(!inc || tr_holdings_reserve(&inc->owner.holdings, 1) < 0))
        return 0;
    return tr_holdings_push(&inc->owner.holdings, holding);
}

int troupe_defer(troupe_ctx *ctx, void (*fn)(void *arg), void *arg)
{
    if (!fn)
        troupe_panic_at(ctx, "", 0, "troupe_defer: fn is NULL");
    return hold(ctx, &(struct tr_holding){.fn = fn, .handle = (uintptr_t)arg}) ? 0 : -ENOMEM;
}

int troupe_own(troupe_ctx *ctx, const troupe_resource_type *type, uintptr_t handle, troupe_owned *owned)
{
    if (!type || !type->name || !type->release)
        troupe_panic_at(ctx, "", 0, "troupe_own: a resource type needs a name and a release function");
    uint64_t serial = ++ctx->owned << WORKER_BITS | tr_worker_index(ctx->worker);
    uint32_t slot = hold(ctx, &(struct tr_holding){.type = type, .handle = handle, .serial = serial});
    if (owned)
        *owned = slot ? (troupe_owned){(void *)(uintptr_t)slot, serial} : (troupe_owned){0};
    return slot ? 0 : -ENOMEM;
}

static bool take(troupe_ctx *ctx, troupe_owned owned, struct tr_holding *out)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    return inc && tr_holdings_take(&inc->owner.holdings, (uintptr_t)owned.ref, owned.generation, out);
}

bool troupe_disown(troupe_ctx *ctx, troupe_owned owned, uintptr_t *handle)
{
    struct tr_holding holding;
    if (!take(ctx, owned, &holding))
        return false;
    if (handle)
        *handle = holding.handle;
    return true;
}

bool troupe_release_owned(troupe_ctx *ctx, troupe_owned owned)
{
    struct tr_holding holding;
    if (!take(ctx, owned, &holding))
        return false;
    holding.type->release(holding.handle);
    return true;
}

static void close_fd(uintptr_t fd)
{
    close((int)fd);
}

const troupe_resource_type troupe_resource_fd = {.name = "fd", .release = close_fd};

/* --- the end --- */

static void release(troupe_ctx *ctx, const struct tr_holding *holding)
{
    tr_actor_clean_enter(ctx, holding->serial ? holding->type->name : "a deferred call");
    if (holding->serial)
        holding->type->release(holding->handle);
    else
        holding->fn((void *)holding->handle);
    tr_actor_clean_leave(ctx);
}

/* Off the stack before it is called: after a panic it is not called again. */
void tr_owner_release(troupe_ctx *ctx, struct tr_owner *owner)
{
    struct tr_holding holding;
    while (tr_holdings_pop(&owner->holdings, &holding))
        release(ctx, &holding);
}

void tr_owner_reset(troupe_ctx *ctx, struct tr_owner *owner)
{
    if (TR_UNLIKELY(!tr_blocks_free_all(&owner->blocks)))
        tr_log_line(&ctx->rt->log, TROUPE_LOG_ERROR, "cleanup",
                    "%s#%u wrote over the start of a block of its own: that one and older ones stay allocated",
                    ctx->cell->behavior->name, ctx->cell->index);
    tr_arena_reset(&owner->arena, ARENA_KEPT);
    tr_holdings_trim(&owner->holdings);
}

void tr_owner_fini(struct tr_owner *owner)
{
    tr_blocks_free_all(&owner->blocks);
    tr_arena_fini(&owner->arena);
    tr_holdings_fini(&owner->holdings);
}
