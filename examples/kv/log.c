/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <endian.h>
#include <string.h>

#include "crc32c.h"

enum { VERSION = 1 };

static const char magic[8] = {'T', 'R', 'P', 'K', 'V', 'L', 'O', 'G'};

static void put32(unsigned char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void put64(unsigned char *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get32(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

struct kv_log_place kv_log_begin(const struct kv_log_header *header, struct kv_buf *out)
{
    unsigned char bytes[KV_LOG_HEADER_SIZE];
    memcpy(bytes, magic, sizeof magic);
    put32(bytes + 8, VERSION);
    put32(bytes + 12, header->shard);
    put32(bytes + 16, header->shards);
    put64(bytes + 20, header->generation);
    put32(bytes + 28, kv_crc32c(0, bytes, 28));
    kv_buf_append(out, bytes, sizeof bytes);
    return (struct kv_log_place){.generation = header->generation, .offset = KV_LOG_HEADER_SIZE};
}

enum kv_log_header_check kv_log_read_header(const void *bytes, struct kv_log_header *header)
{
    const unsigned char *at = bytes;
    if (memcmp(at, magic, sizeof magic) != 0)
        return KV_LOG_HEADER_NO_LOG;
    if (get32(at + 28) != kv_crc32c(0, at, 28))
        return KV_LOG_HEADER_DAMAGED;
    if (get32(at + 8) != VERSION)
        return KV_LOG_HEADER_VERSION;
    header->shard = get32(at + 12);
    header->shards = get32(at + 16);
    header->generation = get64(at + 20);
    return KV_LOG_HEADER_GOOD;
}

uint32_t kv_log_body_crc(const struct kv_log_place *place)
{
    unsigned char bytes[16];
    put64(bytes, place->generation);
    put64(bytes + 8, place->offset);
    return kv_crc32c(0, bytes, sizeof bytes);
}

void kv_log_write(struct kv_log_place *place, const struct kv_log_record *record, struct kv_rope *out)
{
    unsigned char head[KV_LOG_HEAD_SIZE] = {0};
    uint32_t start = kv_log_body_crc(place);
    uint32_t body = kv_crc32c(start, record->key.ptr, record->key.len);
    put32(head + 4, kv_crc32c(body, record->value.ptr, record->value.len));
    put64(head + 8, (uint64_t)record->deadline_ms);
    put32(head + 16, (uint32_t)record->key.len);
    put32(head + 20, (uint32_t)record->value.len);
    head[24] = (unsigned char)record->type;
    put32(head, kv_crc32c(start, head + 4, sizeof head - 4));
    kv_buf_append(&out->bytes, head, sizeof head);
    kv_buf_append(&out->bytes, record->key.ptr, record->key.len);
    kv_rope_put(out, record->value);
    place->offset += sizeof head + record->key.len + record->value.len;
}

bool kv_log_read_head(const struct kv_log_place *place, const void *bytes, struct kv_log_head *head)
{
    const unsigned char *at = bytes;
    /* The cheap tests come first: a scan for valid heads asks this at every byte. */
    if (at[24] < KV_LOG_SET || at[24] > KV_LOG_FLUSH || (at[25] | at[26] | at[27]) != 0)
        return false;
    if (get32(at) != kv_crc32c(kv_log_body_crc(place), at + 4, KV_LOG_HEAD_SIZE - 4))
        return false;
    head->type = (enum kv_log_type)at[24];
    head->body_crc = get32(at + 4);
    head->deadline_ms = (int64_t)get64(at + 8);
    head->key_len = get32(at + 16);
    head->value_len = get32(at + 20);
    return true;
}
