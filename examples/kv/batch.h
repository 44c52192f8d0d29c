/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands that one connection has under way: what was asked of whom, and the replies in the order of the
 * commands. One connection's actor may call it.
 * It is not the parser and not the socket: commands come in parsed, replies go out as one rope. */
#ifndef KV_BATCH_H
#define KV_BATCH_H

#include <troupe/troupe.h>

#include "command.h"
#include "request.h"
#include "server.h"
#include "split.h"

/* Use: kv_batch_local, _one, _split, _info, _clients for each command in order; kv_batch_send; kv_batch_answer for each
 * answer; when waiting is 0, kv_batch_finish writes all replies. Receivers are the shards, and behind them the
 * clients actor. A receiver that crashed answers its commands with one error each. */

struct kv_batch_target {
    struct kv_request_builder builder;
    uint32_t count; /* commands sent */
    struct kv_rope replies;
    struct kv_rope_mark mark;
    struct kv_buf ends; /* size_t each */
    uint32_t next;      /* reply */
};

struct kv_batch {
    const struct kv_server *server;
    unsigned targets;               /* shards, and one for the clients actor */
    unsigned waiting;               /* answers still to come */
    struct kv_buf slots;            /* struct slot each, see batch.c */
    struct kv_buf local;            /* replies that the connection gave itself */
    struct kv_buf splits;           /* struct kv_split each */
    struct kv_batch_target *target; /* targets of them; NULL until a command needs one */
};

void kv_batch_init(struct kv_batch *b, const struct kv_server *server);
void kv_batch_free(struct kv_batch *b);

/* kv_batch_local - where to write the reply of a command that needs nobody else; call kv_batch_local_end after it. */
struct kv_buf *kv_batch_local(struct kv_batch *b);
void kv_batch_local_end(struct kv_batch *b);

/* kv_batch_one - a command for the shard of its one key. kv_batch_many - for the shards of its keys, or for all. */
void kv_batch_one(struct kv_batch *b, const struct kv_command *command, struct kv_slice key,
                  const struct kv_slice *argv, size_t argc);
void kv_batch_many(struct kv_batch *b, const struct kv_command *command, const struct kv_slice *argv, size_t argc);
/* kv_batch_info - the command INFO: section is its argument or empty. */
void kv_batch_info(struct kv_batch *b, struct kv_slice section);
/* kv_batch_clients - a command for the clients actor. */
void kv_batch_clients(struct kv_batch *b, const struct kv_slice *argv, size_t argc);

/* kv_batch_send - ask all receivers. done gets every answer with the receiver's number as arg. */
void kv_batch_send(troupe_ctx *ctx, struct kv_batch *b, troupe_answer_fn *done);
/* kv_batch_answer - take an answer in. */
void kv_batch_answer(struct kv_batch *b, const troupe_answer *answer);
/* kv_batch_finish - write the replies to out; the batch is empty afterwards. out->bytes.failed: memory was short. */
void kv_batch_finish(troupe_ctx *ctx, struct kv_batch *b, struct kv_rope *out);

#endif
