/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the clients actor: the listening socket, the connections (its children), and the list of who is connected.
 * Connections send it KV_REQUEST_KIND messages (CLIENT LIST) as asks, and tell it their names.
 * It is not a connection: bytes of clients never come here. */
#ifndef KV_CLIENTS_H
#define KV_CLIENTS_H

#include <troupe/troupe.h>

#include "server.h"

enum { KV_CLIENTS_NAMED = 1 }; /* from a connection: payload struct kv_client_name */

enum { KV_CLIENT_NAME_MAX = 64 };

struct kv_client_name {
    uint64_t id;
    char name[KV_CLIENT_NAME_MAX];
};

extern const troupe_behavior kv_clients_behavior; /* args: struct kv_server * */

#endif
