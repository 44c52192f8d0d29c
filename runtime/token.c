/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/token.h"

#include <errno.h>

#include "runtime/context.h"
#include "runtime/hook.h"
#include "runtime/sweep.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_token, word) >= sizeof(struct tr_block), "the serial survives the free list");
_Static_assert(sizeof(struct tr_token) <= 128, "a token is two lines");

/* --- the word --------------------------------------------------------------------------------------------------- */

static uint64_t serial_of(uint64_t word)
{
    return word >> TR_TOKEN_SERIAL_SHIFT;
}

/* Returns the word as it was. Release: what was written before is seen by who sees the bits. */
static uint64_t change(struct tr_token *token, uint64_t set, uint64_t clear)
{
    uint64_t old = ck_pr_load_64(&token->word);
    ck_pr_fence_release();
    while (!ck_pr_cas_64_value(&token->word, old, (old | set) & ~clear, &old))
        ;
    ck_pr_fence_acquire();
    return old;
}

/* Locks the record of a token that is not stale; NULL otherwise. */
static struct tr_token *take(troupe_token handle)
{
    struct tr_token *token = handle.ref;
    if (!token)
        return NULL;
    tr_lock_take(&token->lock);
    uint64_t word = ck_pr_load_64(&token->word);
    if (serial_of(word) == handle.generation && !(word & TR_TOKEN_DEAD))
        return token;
    tr_lock_release(&token->lock);
    return NULL;
}

static bool is_cancelled(const struct tr_token *token)
{
    return ck_pr_load_64(&token->word) & TR_TOKEN_CANCELLED;
}

/* --- birth ------------------------------------------------------------------------------------------------------ */

/* The next life of a record. The word comes last: with it the record is a token. */
static struct tr_token *token_new(struct troupe_runtime *rt, uint64_t bits)
{
    troupe_ctx *ctx = tr_ctx_here(rt);
    struct tr_token *token = tr_slab_alloc(&rt->slab, ctx ? &ctx->cache : NULL, TR_CLASS_TOKEN);
    if (!token)
        return NULL;
    token->kept = false;
    token->rt = rt;
    ck_pr_store_ptr(&token->parent, NULL);
    token->scope = NULL;
    tr_list_init(&token->siblings);
    tr_list_init(&token->children);
    tr_list_init(&token->hooks);
    tr_list_init(&token->owned);
    uint64_t serial = serial_of(ck_pr_load_64(&token->word)) + 1;
    ck_pr_fence_release();
    ck_pr_store_64(&token->word, serial << TR_TOKEN_SERIAL_SHIFT | bits);
    return token;
}

static void token_free(struct tr_token *token)
{
    struct troupe_runtime *rt = token->rt;
    troupe_ctx *ctx = tr_ctx_here(rt);
    TR_ASSERT(tr_list_empty(&token->children) && tr_list_empty(&token->hooks) && tr_list_empty(&token->owned));
    tr_slab_free(&rt->slab, ctx ? &ctx->cache : NULL, TR_CLASS_TOKEN, token);
}

/* Sets one of the bits of TR_TOKEN_GONE. The caller must not touch the token afterwards. */
static void let_go(struct tr_token *token, uint64_t bit)
{
    uint64_t old = change(token, bit, 0);
    if ((old & TR_TOKEN_GONE) != TR_TOKEN_GONE && ((old | bit) & TR_TOKEN_GONE) == TR_TOKEN_GONE)
        token_free(token);
}

troupe_token tr_token_handle(struct tr_token *token)
{
    return (troupe_token){token, serial_of(ck_pr_load_64(&token->word))};
}

struct tr_token *tr_token_make_kept(struct troupe_runtime *rt)
{
    struct tr_token *token = token_new(rt, TR_TOKEN_LOOSE);
    if (token)
        token->kept = true;
    return token;
}

/* False: the parent is stale or cancelled. */
static bool link_child(troupe_token parent, struct tr_token *child)
{
    struct tr_token *above = take(parent);
    if (!above)
        return false;
    TR_ASSERT(above->rt == child->rt); /* a token is for the runtime that made it */
    bool linked = !is_cancelled(above);
    if (linked) {
        ck_pr_store_ptr(&child->parent, above);
        tr_list_push_back(&above->children, &child->siblings);
    }
    tr_lock_release(&above->lock);
    return linked;
}

int tr_token_make(struct troupe_runtime *rt, troupe_token parent, struct tr_token *scope, troupe_token *out)
{
    struct tr_token *token = token_new(rt, scope ? 0 : TR_TOKEN_LOOSE);
    if (!token)
        return -ENOMEM;
    if (parent.ref && !link_child(parent, token)) {
        change(token, TR_TOKEN_GONE | TR_TOKEN_CANCELLED, 0);
        token_free(token);
        *out = tr_token_stale(&rt->tokens);
        return 0;
    }
    if (scope) {
        tr_lock_take(&scope->lock);
        ck_pr_store_ptr(&token->scope, scope);
        tr_list_push_back(&scope->owned, &token->owned);
        tr_lock_release(&scope->lock);
    }
    *out = tr_token_handle(token);
    return 0;
}

/* --- cancelling ------------------------------------------------------------------------------------------------- */

/* Only the token's sweeper changes `parent` to anything but NULL, and that is the caller. */
static void unlink_from_parent(struct tr_token *token)
{
    struct tr_token *parent = ck_pr_load_ptr(&token->parent);
    if (!parent)
        return;
    tr_lock_take(&parent->lock); /* of whatever life, if the parent's sweeper was here first */
    if (ck_pr_load_ptr(&token->parent) == parent) {
        tr_list_remove(&token->siblings);
        ck_pr_store_ptr(&token->parent, NULL);
    }
    tr_lock_release(&parent->lock);
}

/* token is locked and not DEAD, so its scope, if it has one, is alive while it is on the list. True: it was, and LOOSE
 * is the caller's to set. */
static bool unlink_from_scope(struct tr_token *token)
{
    struct tr_token *scope = ck_pr_load_ptr(&token->scope);
    if (!scope)
        return false;
    tr_lock_take(&scope->lock);
    bool listed = ck_pr_load_ptr(&token->scope) == scope;
    if (listed) {
        tr_list_remove(&token->owned);
        ck_pr_store_ptr(&token->scope, NULL);
    }
    tr_lock_release(&scope->lock);
    return listed;
}

/* token is locked and not DEAD: its handles become stale. Unlocks. True: the caller is its sweeper now. */
static bool kill_locked(struct tr_token *token, uint64_t loose)
{
    uint64_t old = change(token, TR_TOKEN_DEAD | TR_TOKEN_CANCELLED | loose, TR_TOKEN_SWEPT);
    tr_lock_release(&token->lock);
    return !(old & TR_TOKEN_CANCELLED) || (old & TR_TOKEN_SWEPT);
}

/* A sweep may tell actors, whose cells are behind the gate. Workers need none; once it is closed there are no actors,
 * all their hooks are gone, and what is left of the tokens is the caller's to sweep. True: tr_gate_leave is owed. */
static bool enter(struct troupe_runtime *rt)
{
    return !tr_ctx_here(rt) && tr_gate_look(&rt->gate);
}

bool troupe_token_cancel(troupe_token handle)
{
    if (troupe_token_cancelled(handle))
        return false;
    struct tr_token *token = take(handle);
    if (!token)
        return false;
    struct troupe_runtime *rt = token->rt;
    bool inside = enter(rt);
    bool first = !(change(token, TR_TOKEN_CANCELLED, 0) & TR_TOKEN_CANCELLED);
    tr_lock_release(&token->lock);
    if (first) {
        unlink_from_parent(token);
        tr_sweep(rt, token);
    }
    if (inside)
        tr_gate_leave(&rt->gate);
    return first;
}

void troupe_token_free(troupe_token handle)
{
    struct tr_token *token = take(handle);
    if (!token)
        return;
    if (token->kept) {
        tr_lock_release(&token->lock);
        troupe_token_cancel(handle);
        return;
    }
    struct troupe_runtime *rt = token->rt;
    bool inside = enter(rt);
    uint64_t loose = unlink_from_scope(token) ? TR_TOKEN_LOOSE : 0;
    if (kill_locked(token, loose)) {
        unlink_from_parent(token);
        tr_sweep(rt, token);
    }
    if (inside)
        tr_gate_leave(&rt->gate);
}

void tr_token_free_kept(struct tr_token *token)
{
    struct troupe_runtime *rt = token->rt;
    tr_lock_take(&token->lock);
    if (kill_locked(token, 0))
        tr_sweep(rt, token);
}

bool troupe_token_cancelled(troupe_token handle)
{
    const struct tr_token *at = handle.ref;
    if (!at)
        return false;
    uint64_t serial = handle.generation, word = ck_pr_load_64(&at->word);
    if (serial_of(word) != serial || word & TR_TOKEN_CANCELLED)
        return true;
    for (;;) {
        const struct tr_token *parent = ck_pr_load_ptr(&at->parent);
        ck_pr_fence_load();
        uint64_t above = parent ? ck_pr_load_64(&parent->word) : 0;
        ck_pr_fence_load();
        word = ck_pr_load_64(&at->word);
        if (serial_of(word) != serial || word & TR_TOKEN_CANCELLED || above & TR_TOKEN_CANCELLED)
            return true;
        if (!parent)
            return false;
        at = parent;
        serial = serial_of(above);
    }
}

/* --- sweeping --------------------------------------------------------------------------------------------------- */

/* The first child, or NULL when another sweeper has it. From here on the sweep of `above` goes on with it. */
static struct tr_token *adopt_child(struct tr_token *above)
{
    struct tr_token *child = TR_CONTAINER_OF(tr_list_first(&above->children), struct tr_token, siblings);
    bool first = !(change(child, TR_TOKEN_CANCELLED, 0) & TR_TOKEN_CANCELLED);
    tr_list_remove(&child->siblings);
    ck_pr_fence_release();
    ck_pr_store_ptr(&child->parent, first ? above : NULL);
    return first ? child : NULL;
}

/* A token of a dead scope, just taken off its list: frees it. As above. */
static struct tr_token *free_owned(struct tr_token *scope, struct tr_token *token)
{
    tr_lock_take(&token->lock);
    if (ck_pr_load_64(&token->word) & TR_TOKEN_DEAD) {
        tr_lock_release(&token->lock);
        let_go(token, TR_TOKEN_LOOSE);
        return NULL;
    }
    if (!kill_locked(token, TR_TOKEN_LOOSE))
        return NULL;
    unlink_from_parent(token);
    ck_pr_store_ptr(&token->parent, scope);
    return token;
}

struct tr_token *tr_token_sweep_one(struct tr_token *token)
{
    struct tr_list *link;
    tr_lock_take(&token->lock);
    if ((link = tr_list_pop_front(&token->hooks))) {
        struct troupe_runtime *rt = token->rt;
        tr_lock_release(&token->lock);
        tr_hook_tell(rt, TR_CONTAINER_OF(link, struct tr_token_hook, link));
        return token;
    }
    if (!tr_list_empty(&token->children)) {
        struct tr_token *child = adopt_child(token);
        tr_lock_release(&token->lock);
        return child ? child : token;
    }
    if (token->kept && ck_pr_load_64(&token->word) & TR_TOKEN_DEAD && (link = tr_list_pop_front(&token->owned))) {
        struct tr_token *owned = TR_CONTAINER_OF(link, struct tr_token, owned);
        ck_pr_store_ptr(&owned->scope, NULL);
        tr_lock_release(&token->lock);
        owned = free_owned(token, owned);
        return owned ? owned : token;
    }
    struct tr_token *above = ck_pr_load_ptr(&token->parent);
    ck_pr_store_ptr(&token->parent, NULL);
    uint64_t old = change(token, TR_TOKEN_SWEPT, 0);
    tr_lock_release(&token->lock);
    if ((old & TR_TOKEN_GONE) == (TR_TOKEN_DEAD | TR_TOKEN_LOOSE))
        token_free(token);
    return above;
}

/* --- hooks ------------------------------------------------------------------------------------------------------ */

bool tr_token_link(struct troupe_runtime *rt, struct tr_token_hook *hook)
{
    struct tr_token *token = take(hook->token);
    if (!token)
        return false;
    TR_ASSERT(token->rt == rt); /* a token is for the runtime that made it */
    bool linked = !is_cancelled(token);
    if (linked)
        tr_list_push_back(&token->hooks, &hook->link);
    tr_lock_release(&token->lock);
    return linked;
}

bool tr_token_unlink(struct tr_token_hook *hook)
{
    struct tr_token *token = hook->token.ref;
    tr_lock_take(&token->lock); /* of whatever life: the sweeper's way out of the list went through this lock, too */
    bool linked = !tr_list_empty(&hook->link);
    tr_list_remove(&hook->link);
    tr_lock_release(&token->lock);
    return linked;
}

struct troupe_runtime *tr_token_runtime(troupe_token handle)
{
    struct tr_token *token = take(handle);
    struct troupe_runtime *rt = token ? token->rt : NULL;
    if (token)
        tr_lock_release(&token->lock);
    return rt;
}

int troupe_runtime_token_new(troupe_runtime *rt, troupe_token parent, troupe_token *out)
{
    *out = tr_token_stale(&rt->tokens);
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = tr_token_make(rt, parent, NULL, out);
    tr_gate_leave(&rt->gate);
    return status;
}
