/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the format of a shard's append-only log: its header and its records, written and recognised.
 * The shard's actor may call it for its own log.
 * It is not I/O: bytes come from and go to memory. Reading a whole log back is replay.h. */
#ifndef KV_LOG_H
#define KV_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "rope.h"
#include "slice.h"

/* All numbers are little-endian.
 *
 *   File header, 32 bytes          Record head, 28 bytes, then key and value
 *    0  "TRPKVLOG"                  0  u32  CRC-32C of bytes 4..27
 *    8  u32  version, 1             4  u32  CRC-32C of key and value
 *   12  u32  shard, from 0          8  i64  deadline, unix ms; INT64_MAX: none
 *   16  u32  number of shards      16  u32  bytes of the key
 *   20  u64  generation            20  u32  bytes of the value
 *   28  u32  CRC-32C of 0..27      24  u8   type, then three zero bytes
 *
 * Both checksums of a record start from the file's generation and the record's offset. So a record is
 * valid only in its own file at its own place: neither a remainder of an older file, nor a block that
 * the disk put elsewhere, nor bytes that a client has stored as a value (who cannot know the generation,
 * a secret random number) can pass for one. The head has a checksum of its own because its lengths
 * must be trusted before the body has been read.
 *
 * Only effects are logged, in the order in which they happened: INCR as the SET of its result, a relative
 * expiry as a point in time, the passing of a deadline as a DELETE when the shard notices it. So replay
 * needs no clock. A SET carries the deadline that holds afterwards. */

enum { KV_LOG_HEADER_SIZE = 32, KV_LOG_HEAD_SIZE = 28 };

enum kv_log_type {
    KV_LOG_SET = 1,     /* key, value, deadline */
    KV_LOG_APPEND = 2,  /* key, value: added to what is there, the deadline stays */
    KV_LOG_DELETE = 3,  /* key */
    KV_LOG_EXPIRE = 4,  /* key, deadline */
    KV_LOG_PERSIST = 5, /* key: the deadline goes */
    KV_LOG_FLUSH = 6,   /* all keys go */
};

struct kv_log_record {
    enum kv_log_type type;
    int64_t deadline_ms; /* KV_NEVER where the type has none */
    struct kv_slice key;
    struct kv_slice value;
};

struct kv_log_header {
    uint32_t shard;
    uint32_t shards;
    uint64_t generation; /* random and secret, new for every file */
};

/* Where the next record goes. */
struct kv_log_place {
    uint64_t generation;
    uint64_t offset;
};

enum kv_log_header_check {
    KV_LOG_HEADER_GOOD,
    KV_LOG_HEADER_NO_LOG,  /* not such a file at all */
    KV_LOG_HEADER_VERSION, /* of a version unknown here */
    KV_LOG_HEADER_DAMAGED, /* checksum */
};

/* What a valid head says of its record. */
struct kv_log_head {
    enum kv_log_type type;
    uint32_t body_crc;
    int64_t deadline_ms;
    uint32_t key_len;
    uint32_t value_len;
};

/* kv_log_begin - write a file's header to out; returns the place of the first record. */
struct kv_log_place kv_log_begin(const struct kv_log_header *header, struct kv_buf *out);

/* kv_log_write - write a record to out and move the place on. A big value in a blob is put in by
 * reference: its bytes are read once, for the checksum. Failure is out's: see kv_buf.failed. Whoever
 * drops written records must set the place back too. */
void kv_log_write(struct kv_log_place *place, const struct kv_log_record *record, struct kv_rope *out);

/* kv_log_read_header - read a file's first KV_LOG_HEADER_SIZE bytes. */
enum kv_log_header_check kv_log_read_header(const void *bytes, struct kv_log_header *header);

/* kv_log_read_head - do KV_LOG_HEAD_SIZE bytes at this place form a valid head? */
bool kv_log_read_head(const struct kv_log_place *place, const void *bytes, struct kv_log_head *head);

/* kv_log_body_crc - the checksum of a body at this place begins with this. */
uint32_t kv_log_body_crc(const struct kv_log_place *place);

#endif
