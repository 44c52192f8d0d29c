/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that a connection answers by itself: those that touch no key and no other actor.
 * A connection's actor may call it.
 * It is not the dispatch: conn.c decides who answers what. */
#ifndef KV_LOCAL_H
#define KV_LOCAL_H

#include <stdint.h>

#include <troupe/troupe.h>

#include "buf.h"
#include "server.h"
#include "slice.h"

void kv_local_ping(const struct kv_slice *argv, size_t argc, struct kv_buf *out);
void kv_local_select(const struct kv_slice *argv, struct kv_buf *out);
void kv_local_config(const struct kv_server *server, const struct kv_slice *argv, size_t argc, struct kv_buf *out);
void kv_local_command(const struct kv_slice *argv, size_t argc, struct kv_buf *out);
void kv_local_hello(const struct kv_slice *argv, size_t argc, uint64_t client_id, struct kv_buf *out);

#endif
