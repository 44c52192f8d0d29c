/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one command on its way over several shards: who gets which keys, and the reply put together.
 * The connection's actor may call it, one thread at a time.
 * It is not the sending of anything. */
#ifndef KV_SPLIT_H
#define KV_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "command.h"
#include "rope.h"
#include "slice.h"

/* Use: kv_split_begin; for each shard with kv_split_share(...) > 0 send it kv_split_args; when its
 * reply (or an error in its place) comes, kv_split_answer; when that returns true, kv_split_finish.
 * A shard executes its share as a command of its own, so there is no moment at which a reader sees
 * all of an MSET at once, unless all keys lie on one shard. */

enum { KV_SPLIT_SHARDS_MAX = 4096 };

/* Fields are private. */
struct kv_split {
    const struct kv_command *command;
    size_t keys;
    unsigned shards;
    unsigned waiting;       /* shares whose answers are still to come */
    uint16_t *shard_of_key; /* keys of them, in the request's order */
    size_t *share;          /* keys of each shard */
    struct kv_rope *answer; /* of each shard */
    void *memory;           /* the three arrays */
};

/* kv_split_begin - plan a command that names several keys, or concerns every shard.
 *   shards  1..KV_SPLIT_SHARDS_MAX
 * Returns false when memory is short. argv is only read during calls that take it. */
bool kv_split_begin(struct kv_split *split, const struct kv_command *command, const struct kv_slice *argv, size_t argc,
                    unsigned shards);

/* kv_split_share - arguments that a shard is to be sent, the command's name included; 0: nothing to send. */
size_t kv_split_share(const struct kv_split *split, unsigned shard);

/* kv_split_args - write a shard's share of the arguments (as many as kv_split_share says) to out. */
void kv_split_args(const struct kv_split *split, unsigned shard, const struct kv_slice *argv, size_t argc,
                   struct kv_slice *out);

/* kv_split_answer - a shard's reply; its content is moved. Returns true when all have come. */
bool kv_split_answer(struct kv_split *split, unsigned shard, struct kv_rope *answer);

/* kv_split_finish - write the reply to the command: the first error, if a shard answered with one. */
void kv_split_finish(struct kv_split *split, struct kv_rope *reply);

/* kv_split_free - release everything; also before all answers have come. */
void kv_split_free(struct kv_split *split);

#endif
