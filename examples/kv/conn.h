/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one connection's actor: reads commands, has them executed, writes the replies in order.
 * The clients actor starts one for each accepted socket. A crash ends the connection, nobody else's.
 * It is not a shard: it holds no keys. */
#ifndef KV_CONN_H
#define KV_CONN_H

#include <troupe/troupe.h>

#include "server.h"

struct kv_conn_args {
    const struct kv_server *server;
    uint64_t id;
    troupe_addr clients;
};

extern const troupe_behavior kv_conn_behavior; /* args: struct kv_conn_args; fd: the socket */

#endif
