/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what one connection has received of a command that is not complete yet.
 * The connection's actor may call it, one thread at a time.
 * It is not a reader of sockets and knows no commands: bytes go in, arguments come out (RESP2 requests). */
#ifndef KV_RESP_H
#define KV_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

/* How it works. The caller lends one received chunk (kv_resp_feed) and takes commands out of it
 * (kv_resp_next) until KV_RESP_MORE; then the chunk is the caller's again.
 *
 *   - Arguments that lie whole in the chunk are slices into it: a pipelined batch is parsed in place.
 *   - When a chunk ends inside a command, the arguments before the end move to a buffer of the parser,
 *     once; later chunks are again parsed in place. No byte is looked at twice.
 *   - A bulk of KV_BLOB_MIN bytes or more that does not lie whole in the chunk is collected in a blob,
 *     which the argument then names: whoever stores the value takes a reference, not a copy. The blob
 *     grows by doubling up to the announced length, so memory follows the bytes received (at most
 *     twice as much, plus 16 KiB), never the announcement.
 *   - A reader that can choose where the kernel puts the bytes asks kv_resp_window for the rest of that
 *     blob, and reports them with kv_resp_filled: then they are not copied at all.
 *
 * Results do not depend on how the stream is cut into chunks. */

struct kv_resp_limits {
    size_t bulk_max;    /* bytes of one argument */
    size_t command_max; /* bytes of one command: its arguments, and sizeof(struct kv_slice) for each */
    size_t args_max;    /* arguments of one command */
    size_t line_max;    /* bytes of an inline command or of a length line */
};

/* 64 MiB, 128 MiB, 1,048,576, 64 KiB */
extern const struct kv_resp_limits kv_resp_limits_default;

enum kv_resp_status {
    KV_RESP_MORE,    /* the chunk is used up and no longer referred to: feed the next */
    KV_RESP_COMMAND, /* argv and argc hold one command, argc > 0 */
    KV_RESP_ERROR,   /* protocol error, for good: send kv_resp_error and close */
    KV_RESP_NOMEM,   /* memory was short, for good: close */
};

enum kv_resp_stage {
    KV_RESP_START,     /* before a command */
    KV_RESP_BULK_LINE, /* before an argument's "$length" */
    KV_RESP_BULK_BODY, /* inside an argument of which a part has been moved here */
    KV_RESP_FAILED,    /* after KV_RESP_ERROR or KV_RESP_NOMEM */
};

/* Fields are private but for argv and argc. About 250 bytes; an idle parser holds no other memory. */
struct kv_resp {
    struct kv_slice *argv; /* valid after KV_RESP_COMMAND until the next kv_resp_ call */
    size_t argc;
    size_t args_cap;
    size_t args_left; /* arguments still to come */
    size_t args_held; /* the first so many arguments have moved: ptr is an offset into held */
    size_t cost;      /* of the command so far, see command_max */
    size_t bulk_len;  /* KV_RESP_BULK_BODY: announced */
    size_t bulk_got;  /* KV_RESP_BULK_BODY: received */
    size_t skip;      /* bytes of a bulk's closing CR LF still to pass over */
    const char *chunk;
    size_t chunk_len;
    size_t chunk_pos;
    enum kv_resp_stage stage;
    enum kv_resp_status failure; /* KV_RESP_FAILED: what kv_resp_next answers */
    struct kv_blob *blob;        /* KV_RESP_BULK_BODY of a big bulk: destination, else NULL */
    struct kv_buf held;          /* bytes of small arguments that have moved */
    struct kv_buf line;          /* a line that a chunk's end has cut */
    struct kv_resp_limits limits;
    char error[64];
};

/* kv_resp_init - begin; limits are copied. */
void kv_resp_init(struct kv_resp *resp, const struct kv_resp_limits *limits);

/* kv_resp_fini - release everything, also the arguments of the last command. */
void kv_resp_fini(struct kv_resp *resp);

/* kv_resp_feed - lend a chunk. The last one must be used up. The bytes must stay until kv_resp_next
 * returns something else than KV_RESP_COMMAND, or kv_resp_fini. */
void kv_resp_feed(struct kv_resp *resp, const void *bytes, size_t len);

/* kv_resp_next - take the next command out of the chunk. Invalidates the last command's arguments
 * and gives up their blobs. */
enum kv_resp_status kv_resp_next(struct kv_resp *resp);

/* kv_resp_error - the reply owed after KV_RESP_ERROR: "ERR Protocol error: ...". */
const char *kv_resp_error(const struct kv_resp *resp);

/* kv_resp_left - bytes of the chunk that are not parsed yet. */
size_t kv_resp_left(const struct kv_resp *resp);

/* kv_resp_window - where the bytes that follow may be received to directly.
 * Returns how many fit at *where; 0 when there is no such place now (the chunk is not used up, no
 * big bulk is under way, or memory is short): receive to a chunk then. */
size_t kv_resp_window(struct kv_resp *resp, char **where);

/* kv_resp_filled - n bytes have been received to the window; call kv_resp_next afterwards. */
void kv_resp_filled(struct kv_resp *resp, size_t n);

/* kv_resp_memory - bytes of heap the parser holds. */
size_t kv_resp_memory(const struct kv_resp *resp);

#endif
