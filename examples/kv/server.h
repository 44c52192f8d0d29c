/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the root actor: locks the data folder, starts the shards, opens the door when all have their data back.
 * main may call it. What the other actors share of it is constant once the door is open.
 * It is not a shard, and speaks with no client. */
#ifndef KV_SERVER_H
#define KV_SERVER_H

#include <troupe/troupe.h>

#include "options.h"

/* What all actors of one server know. Written by the root before it starts who reads it. */
struct kv_server {
    const struct kv_options *options;
    uint64_t started_ns; /* troupe_now of the root */
    troupe_addr *shards; /* options->shards addresses: they hold over the shards' restarts */
    troupe_addr clients; /* written by the clients actor, before it opens the door */
    uint16_t port;       /* the one listened on */
};

extern const troupe_behavior kv_server_behavior; /* args: a struct kv_server * with options set */

/* kv_server_fail - the server cannot go on: says why and stops it, with status 1. Any actor. */
void kv_server_fail(troupe_ctx *ctx, const char *text);

/* kv_server_dead_letter - for troupe_options: frees what messages that died owned. */
void kv_server_dead_letter(void *arg, const troupe_dead_letter *letter);

#endif
