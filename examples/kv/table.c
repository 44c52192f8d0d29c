/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>

enum { MIN_BITS = 6 }; /* log2 of KV_TABLE_MIN */

/* ---- segments ---- */

static unsigned segment_of(uint32_t chain)
{
    unsigned top = 31U - (unsigned)__builtin_clz(chain | (KV_TABLE_MIN - 1));
    return top - (MIN_BITS - 1);
}

static uint32_t segment_start(unsigned segment)
{
    return segment == 0 ? 0 : (uint32_t)1 << (segment + MIN_BITS - 1);
}

static uint32_t segment_size(unsigned segment)
{
    return segment == 0 ? KV_TABLE_MIN : segment_start(segment);
}

static inline struct kv_link **chain_at(struct kv_table *table, uint32_t chain)
{
    unsigned segment = segment_of(chain);
    return &table->segments[segment][chain - segment_start(segment)];
}

static bool add_segment(struct kv_table *table, unsigned segment)
{
    table->segments[segment] = calloc(segment_size(segment), sizeof *table->segments[segment]);
    return table->segments[segment] != NULL;
}

bool kv_table_init(struct kv_table *table)
{
    *table = (struct kv_table){.chains = KV_TABLE_MIN, .mask = 2 * KV_TABLE_MIN - 1};
    return add_segment(table, 0);
}

void kv_table_fini(struct kv_table *table)
{
    for (unsigned i = 0; i < KV_TABLE_SEGMENTS; i++)
        free(table->segments[i]);
    *table = (struct kv_table){0};
}

size_t kv_table_bytes(const struct kv_table *table)
{
    unsigned last = segment_of(table->chains - 1);
    return ((size_t)segment_start(last) + segment_size(last)) * sizeof(struct kv_link *);
}

/* ---- growing and shrinking ---- */

static inline uint32_t chain_of(const struct kv_table *table, uint32_t hash)
{
    uint32_t chain = hash & table->mask;
    return chain < table->chains ? chain : hash & table->mask >> 1;
}

struct kv_link **kv_table_chain(struct kv_table *table, uint32_t hash)
{
    return chain_at(table, chain_of(table, hash));
}

/* Without memory for a segment the chains just become longer. */
static void split_one(struct kv_table *table)
{
    uint32_t fresh = table->chains;
    if (fresh == (uint32_t)1 << 31)
        return;
    if (table->segments[segment_of(fresh)] == NULL && !add_segment(table, segment_of(fresh)))
        return;
    struct kv_link **from = chain_at(table, fresh & table->mask >> 1), **to = chain_at(table, fresh);
    while (*from != NULL) {
        struct kv_link *entry = *from;
        if ((entry->hash & table->mask) != fresh) {
            from = &entry->next;
            continue;
        }
        *from = entry->next;
        entry->next = *to;
        *to = entry;
    }
    table->chains++;
    if (table->chains == table->mask + 1)
        table->mask = table->mask * 2 + 1;
}

static void join_one(struct kv_table *table)
{
    uint32_t last = table->chains - 1;
    if (last == table->mask >> 1)
        table->mask >>= 1;
    struct kv_link **from = chain_at(table, last), **to = chain_at(table, last & table->mask >> 1);
    while (*to != NULL)
        to = &(*to)->next;
    *to = *from;
    *from = NULL;
    table->chains = last;
    unsigned segment = segment_of(last);
    if (last == segment_start(segment)) {
        free(table->segments[segment]);
        table->segments[segment] = NULL;
    }
}

void kv_table_insert(struct kv_table *table, struct kv_link *entry)
{
    struct kv_link **head = kv_table_chain(table, entry->hash);
    entry->next = *head;
    *head = entry;
    table->count++;
    for (int i = 0; i < 2 && table->count > table->chains; i++)
        split_one(table);
}

void kv_table_unlink(struct kv_table *table, struct kv_link **at)
{
    *at = (*at)->next;
    table->count--;
    for (int i = 0; i < 4 && table->chains > KV_TABLE_MIN && table->count < table->chains / 4; i++)
        join_one(table);
}

/* ---- walking ---- */

static uint32_t backwards(uint32_t x)
{
    x = (x >> 1 & 0x55555555U) | (x & 0x55555555U) << 1;
    x = (x >> 2 & 0x33333333U) | (x & 0x33333333U) << 2;
    x = (x >> 4 & 0x0f0f0f0fU) | (x & 0x0f0f0f0fU) << 4;
    return __builtin_bswap32(x);
}

/* The length of a chain's interval: half for the chains that have been split and their offspring. */
static uint64_t interval(const struct kv_table *table, uint32_t chain)
{
    uint32_t low = table->mask >> 1; /* 2^L - 1 */
    bool is_split = chain > low || chain + low + 1 < table->chains;
    return KV_WALK_DONE / ((uint64_t)(is_split ? table->mask : low) + 1);
}

bool kv_table_step(struct kv_table *table, kv_walk *walk, void (*visit)(void *ctx, struct kv_link *entry), void *ctx)
{
    if (*walk >= KV_WALK_DONE)
        return false;
    uint32_t chain = chain_of(table, backwards((uint32_t)*walk));
    for (struct kv_link *entry = *chain_at(table, chain); entry != NULL; entry = entry->next)
        if (backwards(entry->hash) >= *walk)
            visit(ctx, entry);
    uint64_t length = interval(table, chain);
    *walk = (*walk & ~(length - 1)) + length;
    return *walk < KV_WALK_DONE;
}

struct kv_link *kv_table_pop(struct kv_table *table, uint32_t *chain)
{
    if (table->count == 0)
        return NULL;
    if (*chain >= table->chains)
        *chain = table->chains - 1;
    while (*chain_at(table, *chain) == NULL)
        --*chain;
    struct kv_link **head = chain_at(table, *chain), *entry = *head;
    *head = entry->next;
    table->count--;
    return entry;
}
