/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the chains of a hash table that grows and shrinks by one chain at a time.
 * The keyspace may call it, one thread at a time.
 * It is not the owner of the entries, and does not look at keys. */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing", 1980): with
 * n chains and 2^L <= n < 2^(L+1), a hash belongs to the chain of its low L+1 bits, or, while that
 * chain does not exist yet, of its low L bits. To grow, chain n is split off its partner; to shrink,
 * the last chain is joined to it. So no operation ever moves more than a few chains, there is never
 * a second table, and chains live in segments of doubling size that are never copied.
 *
 * Order of a walk. Read a hash's bits backwards as a fraction; then each chain is one interval of
 * [0, 1), and a split halves an interval. A walk is a position in [0, 1): everything below it has been
 * seen. However the table has grown or shrunk between two steps, an entry that is there throughout
 * is seen exactly once. */

enum { KV_TABLE_SEGMENTS = 27, KV_TABLE_MIN = 64 };

/* What the table knows of an entry; lies at the entry's start. */
struct kv_link {
    struct kv_link *next;
    uint32_t hash;
    uint32_t slot; /* of no concern to the table: fills the gap with the place of the entry's deadline */
};

struct kv_table {
    struct kv_link **segments[KV_TABLE_SEGMENTS]; /* [0]: chains 0..63, [k]: chains 2^(k+5).. */
    uint32_t chains;
    uint32_t mask; /* 2^(L+1) - 1 */
    size_t count;  /* entries */
};

/* A walk's position times 2^32: 0 at first, KV_WALK_DONE at the end. */
typedef uint64_t kv_walk;
#define KV_WALK_DONE ((kv_walk)1 << 32)

/* kv_table_init - an empty table; false when memory is short. */
bool kv_table_init(struct kv_table *table);

/* kv_table_fini - release the segments. Entries that are still there are not touched. */
void kv_table_fini(struct kv_table *table);

/* kv_table_chain - the head of the chain to which a hash belongs. */
struct kv_link **kv_table_chain(struct kv_table *table, uint32_t hash);

/* kv_table_insert - put an entry (its hash set) into its chain; grows by at most two chains. */
void kv_table_insert(struct kv_table *table, struct kv_link *entry);

/* kv_table_unlink - take the entry to which *at points out of its chain; shrinks by at most four chains. */
void kv_table_unlink(struct kv_table *table, struct kv_link **at);

/* kv_table_step - the next chain of a walk: calls visit for each of its entries that the walk has not
 * seen, and moves the walk on. visit must not change the table. Returns false when the walk is done. */
bool kv_table_step(struct kv_table *table, kv_walk *walk, void (*visit)(void *ctx, struct kv_link *entry), void *ctx);

/* kv_table_pop - unlink any entry, chains in descending order; NULL when there is none.
 *   *chain  UINT32_MAX at first; moved on. Only for a table that takes no more inserts. */
struct kv_link *kv_table_pop(struct kv_table *table, uint32_t *chain);

/* kv_table_bytes - memory of the segments. */
size_t kv_table_bytes(const struct kv_table *table);

#endif
