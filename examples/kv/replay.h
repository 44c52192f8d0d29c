/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading back of one log: takes its bytes in chunks, gives out its records.
 * The shard's actor may call it while it starts.
 * It is not I/O, and does not change the keyspace itself. */
#ifndef KV_REPLAY_H
#define KV_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "log.h"

/* A torn tail or a corrupt middle? A crash while the log is written leaves a last group of records of
 * which a part is missing, or is zeros, or is whatever the disk held. That is no loss: nobody was told
 * that those records were safe. Damage in the middle is a loss, and cutting there would throw away
 * what follows. So:
 *
 *   - The bytes end inside a head, or inside a body that a valid head announces: torn. (A head's lengths
 *     are covered by its own checksum, so a flipped bit cannot pretend a long body.)
 *   - A head or a body is bad: every later offset is tried for a valid head. One is found: the writer
 *     got that far, so the damage is in the middle: corrupt. None is found: torn; this covers tails of
 *     zeros or garbage of any length.
 *   - A head counts as valid only in its own file at its own offset (log.h), so neither garbage nor
 *     client data can make a torn tail look corrupt, or the reverse.
 *
 * What this cannot know: after a power failure the pages of the last group may have reached the disk
 * in any order, a later record without an earlier one. That looks like a corrupt middle and is refused;
 * a person decides. And a file that was cut exactly between two records looks clean. */

enum kv_replay_end {
    KV_REPLAY_EMPTY,   /* no bytes at all: a new log, write a header */
    KV_REPLAY_CLEAN,   /* ends with a whole record */
    KV_REPLAY_TORN,    /* warn, and cut the file to `valid` bytes (0: also write a new header) */
    KV_REPLAY_CORRUPT, /* refuse: damage at `valid`, valid data at `next` */
    KV_REPLAY_FOREIGN, /* refuse: not a log, or of another version, shard or number of shards */
    KV_REPLAY_STOPPED, /* the callback returned false */
    KV_REPLAY_NOMEM,
};

struct kv_replay_result {
    enum kv_replay_end end;
    struct kv_log_place place; /* CLEAN, TORN: where the next record goes, once the file has been cut */
    uint64_t valid;            /* bytes that are header and whole records */
    uint64_t size;             /* bytes fed */
    uint64_t next;             /* CORRUPT: offset of a valid record behind the damage */
    uint64_t records;          /* given to the callback */
    const char *why;           /* FOREIGN: what is wrong */
};

/* Receives a record. Its slices are valid during the call; a big value names a blob, of which a
 * reference may be taken. Returns false to stop. */
typedef bool kv_replay_fn(void *ctx, const struct kv_log_record *record);

enum kv_replay_stage {
    KV_REPLAY_HEADER, /* before the end of the file's header */
    KV_REPLAY_ZEROS,  /* the header is all zero: so must be the rest */
    KV_REPLAY_HEAD,   /* before the end of a record's head */
    KV_REPLAY_BODY,   /* inside a body that a chunk's end has cut */
    KV_REPLAY_SCAN,   /* behind something bad, looking for a valid head */
    KV_REPLAY_OVER,   /* result.end is final */
};

/* Fields are private. */
struct kv_replay {
    enum kv_replay_stage stage;
    struct kv_replay_result result;
    struct kv_log_header expected;
    kv_replay_fn *apply;
    void *ctx;
    uint64_t offset;                          /* in the file, of the next byte to look at */
    unsigned char window[KV_LOG_HEADER_SIZE]; /* a header or head that a chunk's end has cut */
    size_t window_len;
    struct kv_log_head head;
    struct kv_buf body;    /* KV_REPLAY_BODY: key, and value if small */
    struct kv_blob *value; /* KV_REPLAY_BODY: big value */
};

/* kv_replay_init - begin; the log must be the one of this shard out of so many. */
void kv_replay_init(struct kv_replay *replay, uint32_t shard, uint32_t shards, kv_replay_fn *apply, void *ctx);

/* kv_replay_feed - the file's next bytes, from its start on, in chunks of any size.
 * Returns false once the result is final and further bytes are of no interest. */
bool kv_replay_feed(struct kv_replay *replay, const void *bytes, size_t len);

/* kv_replay_finish - there are no more bytes: what was it? Releases everything. */
struct kv_replay_result kv_replay_finish(struct kv_replay *replay);

/* kv_replay_describe - one sentence for a person, with the file's name and offsets. */
void kv_replay_describe(const struct kv_replay_result *result, const char *file, char *out, size_t size);

#endif
