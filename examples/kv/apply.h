/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what the key commands do to one shard's keyspace: the reply and the log records of each.
 * The shard's actor may call it, one thread at a time.
 * It is not I/O, and knows neither clients nor other shards. */
#ifndef KV_APPLY_H
#define KV_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "command.h"
#include "keyspace.h"
#include "log.h"
#include "rope.h"
#include "slice.h"

/* Receives each effect, in order, after it has happened. Its slices are valid during the call; a big
 * value names its blob. NULL: effects are not wanted. */
typedef void kv_apply_sink(void *ctx, const struct kv_log_record *effect);

struct kv_apply {
    struct kv_keyspace *keys;
    int64_t now_ms;      /* unix time; the caller sets it before each batch */
    size_t memory_limit; /* bytes of this keyspace; 0: none */
    size_t value_max;    /* bytes of one value */
    kv_apply_sink *sink;
    void *sink_ctx;
};

/* kv_apply_command - execute one command on this shard and write its reply.
 *   id    a command that names keys, or one with KV_EVERY_SHARD
 *   argv  the arguments, the name first; arity fits. They are borrowed: a value that names a blob is
 *         kept by a reference of the keyspace's own, any other is copied, once.
 * Where a command is divided over shards (split.h), each executes it on its share of the keys:
 * MGET writes the elements without an array's head, DEL EXISTS DBSIZE a count, MSET FLUSHALL "+OK".
 * A big value goes into the reply by reference and stays readable whatever happens to the key.
 * An error reply means that nothing has changed, but for want of memory: MSET has then stored the keys
 * before the one at fault, and a SET whose deadline found no room has removed the key. The log agrees. */
void kv_apply_command(struct kv_apply *apply, enum kv_command_id id, const struct kv_slice *argv, size_t argc,
                      struct kv_rope *reply);

/* kv_apply_due - delete up to max keys whose deadlines have passed, each a DELETE to the sink.
 * Returns how many; fewer than max: none is left, sleep until kv_keyspace_next_deadline. */
size_t kv_apply_due(struct kv_apply *apply, size_t max);

/* kv_apply_record - do to a keyspace what a log record says; false when memory is short. */
bool kv_apply_record(struct kv_keyspace *keys, const struct kv_log_record *record);

/* kv_apply_snapshot - the record that makes an entry what it is: a rewrite of the log is one for every
 * entry of a walk (kv_keyspace_walk), with the effects that happen meanwhile written behind, as always. */
struct kv_log_record kv_apply_snapshot(const struct kv_keyspace *keys, const struct kv_entry *entry);

#endif
