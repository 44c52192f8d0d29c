/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/members.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_name, next) >= sizeof(struct tr_block), "links survive the free list");
_Static_assert((TROUPE_NAME_MAX + 1) % 8 == 0 && TR_SHARDS == 64, "a text is whole words; the hash's top bits are 6");

#define CHAINS_FIRST 8u
#define LOOKS_UNLOCKED 8u

/* --- keys --- */

/* Multiply and fold, word by word, and the last step of splitmix64 to spread what is left over all bits. */
static uint64_t hash_words(const uint64_t *words, unsigned count)
{
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned i = 0; i < count; i++) {
        hash = (hash ^ words[i]) * UINT64_C(0xbf58476d1ce4e5b9);
        hash ^= hash >> 29;
    }
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return hash ^ (hash >> 31);
}

static void key_place(struct tr_key *key, enum tr_space space)
{
    key->space = space;
    key->place = key->hash + space * UINT64_C(0x9e3779b97f4a7c15);
}

int tr_key_make(struct tr_key *key, enum tr_space space, const char *name)
{
    if (!name || !*name)
        return -EINVAL;
    size_t length = strnlen(name, TROUPE_NAME_MAX + 1);
    if (length > TROUPE_NAME_MAX)
        return -ENAMETOOLONG;
    key->words = (unsigned)length / 8 + 1;
    key->text[key->words - 1] = 0;
    memcpy(key->text, name, length);
    key->hash = hash_words(key->text, key->words);
    key_place(key, space);
    return 0;
}

struct tr_key tr_key_in(const struct tr_key *key, enum tr_space space)
{
    struct tr_key other = *key;
    key_place(&other, space);
    return other;
}

/* The words before the last are full, and equal words prove that the other text has as many. */
static bool is_named(const struct tr_name *name, const struct tr_key *key)
{
    if (ck_pr_load_64(&name->place) != key->place)
        return false;
    for (unsigned i = 0; i < key->words; i++)
        if (ck_pr_load_64(&name->text[i]) != key->text[i])
            return false;
    return true;
}

/* --- looking --- */

void tr_look_begin(struct tr_look *look)
{
    if (TR_UNLIKELY(look->tries++ >= LOOKS_UNLOCKED)) {
        tr_lock_take(&look->shard->lock);
        look->locked = true;
        return;
    }
    for (unsigned spins = 1; (look->version = ck_pr_load_64(&look->shard->version)) & 1; spins++) {
        if (spins % TR_LOCK_SPINS == 0)
            sched_yield(); /* the writer has lost its processor */
        else
            ck_pr_stall();
    }
    ck_pr_fence_load();
}

bool tr_look_end(struct tr_look *look)
{
    if (TR_UNLIKELY(look->locked)) {
        tr_lock_release(&look->shard->lock);
        return true;
    }
    ck_pr_fence_load();
    return ck_pr_load_64(&look->shard->version) == look->version;
}

struct tr_name *tr_look_find(const struct tr_look *look, const struct tr_key *key)
{
    const struct tr_chains *chains = ck_pr_load_ptr(&look->shard->chains);
    ck_pr_fence_load_depends();
    unsigned side = chains->side;
    struct tr_name *name = ck_pr_load_ptr(&chains->heads[key->place & chains->mask]);
    while (name && !is_named(name, key)) {
        if (TR_UNLIKELY(tr_look_disturbed(look)))
            return NULL;
        name = ck_pr_load_ptr(&name->next[side]);
    }
    return name;
}

/* --- changing --- */

struct tr_name *tr_names_find(const struct tr_shard *shard, const struct tr_key *key)
{
    const struct tr_look look = {.shard = (struct tr_shard *)(uintptr_t)shard, .locked = true};
    return tr_look_find(&look, key);
}

static void name_fill(struct tr_name *name, const struct tr_key *key)
{
    ck_pr_store_64(&name->place, key->place);
    for (unsigned i = 0; i < TR_NAME_WORDS; i++)
        ck_pr_store_64(&name->text[i], i < key->words ? key->text[i] : 0);
    ck_pr_store_64(&name->holder, 0);
    ck_pr_store_ptr(&name->members, NULL);
    ck_pr_store_64(&name->used, 0);
    ck_pr_store_64(&name->next_seq, 1);
    name->space = key->space;
    name->tie = NULL;
    name->live = name->first = 0;
}

void tr_names_add(struct tr_shard *shard, struct tr_name *name, const struct tr_key *key)
{
    struct tr_chains *chains = shard->chains;
    struct tr_name **head = &chains->heads[key->place & chains->mask];
    tr_shard_change(shard);
    name_fill(name, key);
    ck_pr_store_ptr(&name->next[chains->side], *head);
    ck_pr_store_ptr(head, name);
    tr_shard_changed(shard);
    shard->count++;
}

struct tr_name *tr_names_drop(struct tr_shard *shard, struct tr_name *name)
{
    if (name->live > 0)
        return NULL;
    struct tr_chains *chains = shard->chains;
    struct tr_name **at = &chains->heads[name->place & chains->mask];
    while (*at != name)
        at = &(*at)->next[chains->side];
    tr_shard_change(shard);
    ck_pr_store_ptr(at, name->next[chains->side]);
    ck_pr_store_64(&name->serial, name->serial + 1);
    tr_shard_changed(shard);
    if (name->members)
        tr_members_spare(shard, name->members);
    shard->count--;
    return name;
}

static struct tr_chains *chains_new(uint64_t size, unsigned side)
{
    struct tr_chains *chains = calloc(1, sizeof *chains + size * sizeof chains->heads[0]);
    if (!chains)
        return NULL;
    chains->mask = size - 1;
    chains->side = side;
    return chains;
}

static bool is_full(const struct tr_shard *shard)
{
    return shard->count > shard->chains->mask;
}

/* Links all names into chains, beside the table that is in use, and swaps. */
static void chains_swap(struct tr_shard *shard, struct tr_chains *chains)
{
    struct tr_chains *old = shard->chains;
    for (uint64_t i = 0; i <= old->mask; i++)
        for (struct tr_name *name = old->heads[i]; name; name = name->next[old->side]) {
            struct tr_name **head = &chains->heads[name->place & chains->mask];
            ck_pr_store_ptr(&name->next[chains->side], *head);
            ck_pr_store_ptr(head, name);
        }
    chains->older = old;
    tr_shard_change(shard);
    ck_pr_store_ptr(&shard->chains, chains);
    tr_shard_changed(shard);
}

void tr_shard_take(struct tr_shard *shard)
{
    tr_lock_take(&shard->lock);
    if (TR_LIKELY(!is_full(shard)))
        return;
    uint64_t size = 2 * (shard->chains->mask + 1);
    unsigned side = !shard->chains->side;
    tr_lock_release(&shard->lock);
    struct tr_chains *chains = chains_new(size, side);
    tr_lock_take(&shard->lock);
    if (chains && is_full(shard) && shard->chains->side != side)
        chains_swap(shard, chains);
    else
        free(chains); /* somebody else was here meanwhile */
}

/* --- the whole --- */

int tr_names_init(struct tr_names *names)
{
    size_t size = TR_SHARDS * sizeof(struct tr_shard);
    _Static_assert(TR_SHARDS * sizeof(struct tr_shard) % TR_CACHELINE == 0, "as aligned_alloc wants it");
    names->shards = aligned_alloc(TR_CACHELINE, size);
    if (!names->shards)
        return -ENOMEM;
    memset(names->shards, 0, size);
    for (unsigned i = 0; i < TR_SHARDS; i++)
        if (!(names->shards[i].chains = chains_new(CHAINS_FIRST, 0)))
            return -ENOMEM;
    return 0;
}

void tr_names_fini(struct tr_names *names)
{
    for (unsigned i = 0; names->shards && i < TR_SHARDS; i++) {
        struct tr_shard *shard = &names->shards[i];
        TR_ASSERT(shard->count == 0); /* each went with its last actor */
        for (struct tr_chains *chains = shard->chains, *older; chains; chains = older) {
            older = chains->older;
            free(chains);
        }
        tr_members_free_all(shard);
    }
    free(names->shards);
}
