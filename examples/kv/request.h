/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the two messages between connections and shards: a batch of commands, and the batch of their replies.
 * The sender builds one, the receiver reads it; whoever has it last gives its big values up.
 * It is not a command: what is in it is for apply.h. */
#ifndef KV_REQUEST_H
#define KV_REQUEST_H

#include <stdint.h>

#include <troupe/troupe.h>

#include "buf.h"
#include "rope.h"
#include "slice.h"

/* The kinds of messages that shards and the clients actor both take; each has more of its own. */
enum { KV_REQUEST_KIND = 0 };

struct kv_request_command {
    uint16_t id;
    uint32_t argc;
};

/* Payload: this, then count commands, then their args one after the other, then the bytes that the
 * args point into. A big value's arg names a blob, of which the message holds a reference. */
struct kv_request {
    uint32_t count; /* 0: dropped already */
    uint32_t args;
};

/* Collects commands for one receiver. All zero is empty. */
struct kv_request_builder {
    struct kv_buf commands, args, bytes;
    uint32_t count;
};

/* kv_request_add - add a command; args are copied, big values by reference. Failure shows in build. */
void kv_request_add(struct kv_request_builder *b, unsigned id, const struct kv_slice *argv, size_t argc);

/* kv_request_build - the message of all that was added; the builder is empty afterwards. NULL: memory is short. */
troupe_msg *kv_request_build(troupe_ctx *ctx, struct kv_request_builder *b);

/* kv_request_reset - forget what was added; keeps a little memory. */
void kv_request_reset(struct kv_request_builder *b);
void kv_request_builder_free(struct kv_request_builder *b);

static inline const struct kv_request_command *kv_request_commands(const struct kv_request *request)
{
    return (const struct kv_request_command *)(request + 1);
}

static inline const struct kv_slice *kv_request_args(const struct kv_request *request)
{
    return (const struct kv_slice *)(const void *)(kv_request_commands(request) + request->count);
}

/* kv_request_drop - give the blobs up; harmless when it has been done. Fits troupe_handler.drop. */
void kv_request_drop(const void *payload, size_t size);

/* Replies: this, then ends[count], then the bytes if they are inline. Else `rope` holds them. */
struct kv_replies {
    uint32_t count;
    uint32_t inline_len;
    bool in_rope; /* false: also after the rope has been taken */
    struct kv_rope rope;
    size_t ends[]; /* reply i ends at this byte of the inline bytes, or of rope.bytes */
};

/* kv_replies_send - answer msg with count replies, which are the part of `from` that begins at mark and whose ends (in
 * from->bytes) are given. Moves mark on. Returns what troupe_reply_send does, -ENOMEM. */
int kv_replies_send(troupe_ctx *ctx, const troupe_msg *msg, struct kv_rope *from, struct kv_rope_mark *mark,
                    const size_t *ends, uint32_t count);

static inline const char *kv_replies_bytes(const struct kv_replies *replies)
{
    return (const char *)(replies->ends + replies->count);
}

/* kv_replies_drop - give the rope up, for a reply that nobody takes. */
void kv_replies_drop(const void *payload, size_t size);

#endif
