/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one shard's actor: its keyspace, its log, and the requests whose replies wait for the log.
 * Others send it KV_REQUEST_KIND messages (request.h) as asks. Its address holds over its crashes.
 * It is not a connection: it knows no client. */
#ifndef KV_SHARD_H
#define KV_SHARD_H

#include <troupe/troupe.h>

#include "server.h"

/* What a shard tells of itself, as the reply to the command KV_INFO. */
struct kv_shard_facts {
    uint64_t keys, deadlines, bytes, log_bytes, log_rewrites;
};

struct kv_shard_args {
    const struct kv_server *server;
    unsigned index;
};

extern const troupe_behavior kv_shard_behavior; /* args: struct kv_shard_args */

#endif
