/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names: registered actors, who waits for a name, groups, topics. One per runtime. Owns the records of the
 * names and the memory of their member lists; any thread may look and change.
 * It does not know what a name is for (registry.c, membership.c), nor how an actor's end takes its names with
 * it (tie.h). */
#ifndef TR_RUNTIME_NAMES_H
#define TR_RUNTIME_NAMES_H

#include <troupe/registry.h>

#include "runtime/slab.h"
#include "sched/base/cacheline.h"
#include "sched/base/lock.h"

struct troupe_runtime;
struct tr_members;
struct tr_tie;

/* SHARDS. The table is cut into 64 by the hash of the text. Everything that belongs to a name is in its shard: record,
 *   chain, member list. Of one text, registered actor and waiting actors are in the same shard.
 * WRITERS (register, join, leave, the end of an actor) hold the shard's lock. It is held for a few instructions; what
 *   can take long (memory from the system) is done before, what grows (a chain table, a member list) is built beside
 *   the old one and then swapped, so that no reader waits for it.
 * READERS take no lock and write nothing: shard->version is a sequence lock.
 *     writer  version odd; store fence; the change; store fence; version even
 *     reader  load version until even; load fence; the loads; load fence; load version: the same? else again
 *   Edges: the loads between are of words that are changed by ck_pr stores between the two stores of version. A reader
 *   that sees any store of a change sees version odd or moved on at its second load, as the load fence keeps the order
 *   and the change came after the first store. A reader that was disturbed eight times takes the lock instead, so no
 *   reader starves.
 * STALE POINTERS. What a reader follows before it finds out that it was disturbed is always memory of the same type:
 *   records are type-stable (slab.h), member lists go to the shard's spares and not back to the system, chain tables
 *   that were outgrown stay until the end (as a whole smaller than the current one). Sizes are constant over a block's
 *   life, so no index leaves it. A walk that was led into another chain ends because each step looks at version.
 * GROWING a chain table: records have two links, of which the table says which one is its own (side). The new table is
 *   linked by the other, while readers walk the old one; then the swap. (As in Linux's rhashtable, by Herbert Xu.)
 * SERIALS. record->serial grows when the record is freed: a reader who comes back to a name in several steps
 *   (tr_members_read) sees that it is another life.
 * Checked by: tests/runtime/test_registry.c, test_members.c, tests/stress/stress_names.c (ThreadSanitizer). */

enum tr_space { TR_SPACE_REGISTRY, TR_SPACE_AWAITED, TR_SPACE_GROUP, TR_SPACE_TOPIC };

#define TR_NAME_WORDS ((TROUPE_NAME_MAX + 1) / 8)
#define TR_SHARDS 64u
#define TR_MEMBER_CLASSES 28u /* member lists of 8 << class */

/* A name in the form in which it is compared. */
struct tr_key {
    uint64_t hash;  /* of the text */
    uint64_t place; /* the hash with the space in it: equal texts have equal places only in one space */
    enum tr_space space;
    unsigned words; /* of text that matter: the last holds the closing zero */
    uint64_t text[TR_NAME_WORDS];
};

struct tr_name {
    struct tr_name *free_next; /* struct tr_block while free */
    void *free_magazine;
    /* Read without the lock. What finds a short name is in one cache line. */
    struct tr_name *next[2];
    uint64_t place;
    uint64_t holder; /* REGISTRY: the address; 0: nobody */
    uint64_t text[TR_NAME_WORDS];
    uint64_t serial;
    struct tr_members *members; /* the others: NULL until the first */
    uint64_t used;              /* places in it that were given out */
    uint64_t next_seq;          /* of the next member */
    /* Under the lock only. */
    struct tr_tie *tie; /* REGISTRY: the holder's */
    uint64_t live;      /* members; REGISTRY: 1 if there is a holder */
    uint64_t first;     /* no member has a place before this */
    enum tr_space space;
} TR_ALIGNED_LINE;

struct tr_chains {
    struct tr_chains *older; /* outgrown ones */
    uint64_t mask;
    unsigned side;
    struct tr_name *heads[];
};

struct tr_shard {
    struct tr_lock lock;
    uint64_t version;
    struct tr_chains *chains;
    uint64_t count; /* names */
    struct tr_members *spares[TR_MEMBER_CLASSES];
    struct tr_members *all; /* member lists, in use and spare */
} TR_ALIGNED_LINE;

struct tr_names {
    struct tr_shard *shards; /* TR_SHARDS of them, each on its own cache lines */
};

int tr_names_init(struct tr_names *names);
/* All actors have ended, so no name is left. */
void tr_names_fini(struct tr_names *names);

/* 0; -EINVAL: name is NULL or empty; -ENAMETOOLONG. */
int tr_key_make(struct tr_key *key, enum tr_space space, const char *name);
/* The same text in another space. */
struct tr_key tr_key_in(const struct tr_key *key, enum tr_space space);

static inline struct tr_shard *tr_shard_of(const struct tr_names *names, const struct tr_key *key)
{
    return &names->shards[key->hash >> 58];
}

/* A change that readers may see half of goes between these two, under the lock. */
static inline void tr_shard_change(struct tr_shard *shard)
{
    ck_pr_store_64(&shard->version, shard->version + 1);
    ck_pr_fence_store();
}

static inline void tr_shard_changed(struct tr_shard *shard)
{
    ck_pr_fence_store();
    ck_pr_store_64(&shard->version, shard->version + 1);
}

/* One look of a reader: do { tr_look_begin; read by ck_pr; } while (!tr_look_end); then what was read is true. */
struct tr_look {
    struct tr_shard *shard;
    uint64_t version;
    unsigned tries;
    bool locked;
};

void tr_look_begin(struct tr_look *look);
bool tr_look_end(struct tr_look *look);

static inline bool tr_look_disturbed(const struct tr_look *look)
{
    return !look->locked && ck_pr_load_64(&look->shard->version) != look->version;
}

/* The name of that key; NULL: there is none, or the look was disturbed. */
struct tr_name *tr_look_find(const struct tr_look *look, const struct tr_key *key);

/* --- under the lock --- */

struct tr_name *tr_names_find(const struct tr_shard *shard, const struct tr_key *key);
/* Puts a record, fresh from the slab, into the table, as a name without members. */
void tr_names_add(struct tr_shard *shard, struct tr_name *name, const struct tr_key *key);
/* Takes it out, if it has no members. NULL, or the record for the slab, once the lock is released. */
struct tr_name *tr_names_drop(struct tr_shard *shard, struct tr_name *name);

/* Takes the lock, when there is room for one more name. A table that cannot grow makes longer chains. */
void tr_shard_take(struct tr_shard *shard);

#endif
