/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the text of INFO. Any actor of the server may call it.
 * It measures nothing itself: the facts come from the shards and from the runtime's counters. */
#ifndef KV_INFO_H
#define KV_INFO_H

#include <troupe/troupe.h>

#include "buf.h"
#include "server.h"
#include "shard.h"
#include "slice.h"

enum kv_info_section {
    KV_INFO_SERVER = 1,
    KV_INFO_CLIENTS = 2,
    KV_INFO_MEMORY = 4,
    KV_INFO_PERSISTENCE = 8,
    KV_INFO_KEYSPACE = 16,
    KV_INFO_TROUPE = 32,
    KV_INFO_ALL = 63
};

/* kv_info_section - a section's bit from its name in any case; all of them for "", "all", "default" and "everything",
 * none for a name that is unknown. */
unsigned kv_info_section(struct kv_slice name);
void kv_info_add(struct kv_shard_facts *total, const struct kv_shard_facts *facts);
/* kv_info_write - the reply, a bulk. */
void kv_info_write(troupe_ctx *ctx, const struct kv_server *server, unsigned wanted, const struct kv_shard_facts *facts,
                   struct kv_buf *out);

#endif
