/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob.h"
#include "crc32c.h"

/* Bytes not looked at yet. */
struct input {
    const char *at;
    size_t left;
};

void kv_replay_init(struct kv_replay *replay, uint32_t shard, uint32_t shards, kv_replay_fn *apply, void *ctx)
{
    *replay = (struct kv_replay){
        .stage = KV_REPLAY_HEADER,
        .expected = {.shard = shard, .shards = shards},
        .apply = apply,
        .ctx = ctx,
    };
}

static void end_with(struct kv_replay *replay, enum kv_replay_end end)
{
    replay->stage = KV_REPLAY_OVER;
    replay->result.end = end;
}

static void end_foreign(struct kv_replay *replay, const char *why)
{
    end_with(replay, KV_REPLAY_FOREIGN);
    replay->result.why = why;
}

static void advance(struct kv_replay *replay, struct input *input, size_t n)
{
    input->at += n;
    input->left -= n;
    replay->offset += n;
}

static struct kv_log_place place_at(const struct kv_replay *replay, uint64_t offset)
{
    return (struct kv_log_place){.generation = replay->expected.generation, .offset = offset};
}

/* Collect in the window until it holds `size` bytes; false when the input ends before. */
static bool fill_window(struct kv_replay *replay, struct input *input, size_t size)
{
    size_t want = size - replay->window_len;
    size_t n = want < input->left ? want : input->left;
    memcpy(replay->window + replay->window_len, input->at, n);
    replay->window_len += n;
    advance(replay, input, n);
    return replay->window_len == size;
}

/* ---- the file's header ---- */

static bool all_zero(const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0 && *at == 0) {
        at++;
        len--;
    }
    return len == 0;
}

static void accept_header(struct kv_replay *replay, const struct kv_log_header *header)
{
    if (header->shards != replay->expected.shards) {
        end_foreign(replay, "it was written with another number of shards");
    } else if (header->shard != replay->expected.shard) {
        end_foreign(replay, "it belongs to another shard");
    } else {
        replay->expected.generation = header->generation;
        replay->result.valid = KV_LOG_HEADER_SIZE;
        replay->stage = KV_REPLAY_HEAD;
    }
}

static void step_header(struct kv_replay *replay, struct input *input)
{
    struct kv_log_header header;
    if (!fill_window(replay, input, KV_LOG_HEADER_SIZE))
        return;
    replay->window_len = 0;
    if (all_zero(replay->window, KV_LOG_HEADER_SIZE)) {
        replay->stage = KV_REPLAY_ZEROS;
        return;
    }
    switch (kv_log_read_header(replay->window, &header)) {
    case KV_LOG_HEADER_GOOD:
        accept_header(replay, &header);
        break;
    case KV_LOG_HEADER_NO_LOG:
        end_foreign(replay, "it does not begin as a log does");
        break;
    case KV_LOG_HEADER_VERSION:
        end_foreign(replay, "its version is not known to this program");
        break;
    case KV_LOG_HEADER_DAMAGED:
        end_foreign(replay, "its header is damaged");
        break;
    }
}

static void step_zeros(struct kv_replay *replay, struct input *input)
{
    if (!all_zero(input->at, input->left))
        end_foreign(replay, "its header is damaged");
    advance(replay, input, input->left);
}

/* ---- records ---- */

/* From here on only a valid head is of interest. */
static void begin_scan(struct kv_replay *replay)
{
    replay->stage = KV_REPLAY_SCAN;
}

static void accept_record(struct kv_replay *replay, struct kv_slice key, struct kv_slice value)
{
    struct kv_log_record record = {
        .type = replay->head.type,
        .deadline_ms = replay->head.deadline_ms,
        .key = key,
        .value = value,
    };
    if (!replay->apply(replay->ctx, &record)) {
        end_with(replay, KV_REPLAY_STOPPED);
        return;
    }
    replay->result.records++;
    replay->result.valid += (uint64_t)KV_LOG_HEAD_SIZE + key.len + value.len;
    replay->stage = KV_REPLAY_HEAD;
}

static void judge_record(struct kv_replay *replay, struct kv_slice key, struct kv_slice value)
{
    struct kv_log_place place = place_at(replay, replay->result.valid);
    uint32_t crc = kv_crc32c(kv_log_body_crc(&place), key.ptr, key.len);
    if (kv_crc32c(crc, value.ptr, value.len) == replay->head.body_crc)
        accept_record(replay, key, value);
    else
        begin_scan(replay); /* behind the body: its length is beyond doubt */
}

/* The head is valid; its body follows. Whole in the input: no copy. */
static void begin_body(struct kv_replay *replay, struct input *input)
{
    size_t key_len = replay->head.key_len, value_len = replay->head.value_len;
    const char *body = input->at;
    if (key_len + value_len > input->left) {
        replay->body.len = 0;
        replay->stage = KV_REPLAY_BODY;
        return;
    }
    advance(replay, input, key_len + value_len);
    judge_record(replay, kv_slice_of(body, key_len), kv_slice_of(body + key_len, value_len));
}

static void step_head(struct kv_replay *replay, struct input *input)
{
    struct kv_log_place place = place_at(replay, replay->result.valid);
    const void *bytes = replay->window;
    if (replay->window_len == 0 && input->left >= KV_LOG_HEAD_SIZE) {
        bytes = input->at;
        advance(replay, input, KV_LOG_HEAD_SIZE);
    } else if (!fill_window(replay, input, KV_LOG_HEAD_SIZE)) {
        return;
    }
    if (kv_log_read_head(&place, bytes, &replay->head)) {
        replay->window_len = 0;
        begin_body(replay, input);
        return;
    }
    /* The scan's window: all of the bad head but its first byte. */
    memmove(replay->window, (const char *)bytes + 1, KV_LOG_HEAD_SIZE - 1);
    replay->window_len = KV_LOG_HEAD_SIZE - 1;
    begin_scan(replay);
}

/* ---- a body in pieces ---- */

/* Room in the big value for `more` bytes; it grows as bytes come. */
static bool reserve_value(struct kv_replay *replay, size_t more)
{
    size_t need = more + (replay->value != NULL ? replay->value->len : 0);
    if (replay->value == NULL) {
        replay->value = kv_blob_create(need < KV_BLOB_MIN ? KV_BLOB_MIN : need);
        return replay->value != NULL;
    }
    if (need <= replay->value->cap)
        return true;
    size_t cap = replay->value->cap * 2 > need ? replay->value->cap * 2 : need;
    struct kv_blob *grown = kv_blob_resize(replay->value, cap < replay->head.value_len ? cap : replay->head.value_len);
    if (grown != NULL)
        replay->value = grown;
    return grown != NULL;
}

static bool take_value(struct kv_replay *replay, struct input *input, size_t n)
{
    if (n == 0)
        return true;
    if (!reserve_value(replay, n))
        return false;
    memcpy(replay->value->data + replay->value->len, input->at, n);
    replay->value->len += n;
    advance(replay, input, n);
    return true;
}

static bool take_small(struct kv_replay *replay, struct input *input, size_t n)
{
    if (!kv_buf_append(&replay->body, input->at, n))
        return false;
    advance(replay, input, n);
    return true;
}

static size_t at_most(size_t n, size_t bound)
{
    return n < bound ? n : bound;
}

static void step_body(struct kv_replay *replay, struct input *input)
{
    size_t key_len = replay->head.key_len, value_len = replay->head.value_len;
    bool big = value_len >= KV_BLOB_MIN;
    size_t small_len = big ? key_len : key_len + value_len;
    bool taken = take_small(replay, input, at_most(small_len - replay->body.len, input->left));
    size_t got = replay->value != NULL ? replay->value->len : 0;
    if (taken && big && replay->body.len == small_len) {
        taken = take_value(replay, input, at_most(value_len - got, input->left));
        got = replay->value != NULL ? replay->value->len : 0;
    }
    if (!taken) {
        end_with(replay, KV_REPLAY_NOMEM);
        return;
    }
    if (replay->body.len < small_len || (big && got < value_len))
        return;
    const char *body = replay->body.data != NULL ? replay->body.data : "";
    judge_record(replay, kv_slice_of(body, key_len),
                 big ? kv_blob_slice(replay->value) : kv_slice_of(body + key_len, value_len));
    kv_blob_unref(replay->value);
    replay->value = NULL;
}

/* ---- looking for a valid head ---- */

/* Is there a valid head at this offset? Then the damage is in the middle. */
static bool try_head(struct kv_replay *replay, const void *bytes, uint64_t offset)
{
    struct kv_log_place place = place_at(replay, offset);
    struct kv_log_head head;
    if (!kv_log_read_head(&place, bytes, &head))
        return false;
    replay->result.next = offset;
    end_with(replay, KV_REPLAY_CORRUPT);
    return true;
}

/* Heads that begin in the window and end in the input. Afterwards the window is empty, or the input
 * is used up. */
static void scan_window(struct kv_replay *replay, struct input *input)
{
    while (replay->window_len > 0 && input->left > 0) {
        size_t had = replay->window_len;
        if (!fill_window(replay, input, KV_LOG_HEAD_SIZE))
            return;
        if (try_head(replay, replay->window, replay->offset - KV_LOG_HEAD_SIZE))
            return;
        /* Give back all but one byte of what was borrowed, so that the window shrinks to nothing. */
        size_t borrowed = KV_LOG_HEAD_SIZE - had;
        input->at -= borrowed;
        input->left += borrowed;
        replay->offset -= borrowed;
        memmove(replay->window, replay->window + 1, had - 1);
        replay->window_len = had - 1;
    }
}

static void step_scan(struct kv_replay *replay, struct input *input)
{
    scan_window(replay, input);
    while (replay->stage == KV_REPLAY_SCAN && input->left >= KV_LOG_HEAD_SIZE) {
        if (try_head(replay, input->at, replay->offset))
            return;
        advance(replay, input, 1);
    }
    if (replay->stage == KV_REPLAY_SCAN && input->left > 0)
        (void)fill_window(replay, input, KV_LOG_HEAD_SIZE);
}

/* ---- the machine ---- */

bool kv_replay_feed(struct kv_replay *replay, const void *bytes, size_t len)
{
    struct input input = {.at = bytes, .left = len};
    replay->result.size += len;
    while (input.left > 0 && replay->stage != KV_REPLAY_OVER) {
        switch (replay->stage) {
        case KV_REPLAY_HEADER:
            step_header(replay, &input);
            break;
        case KV_REPLAY_ZEROS:
            step_zeros(replay, &input);
            break;
        case KV_REPLAY_HEAD:
            step_head(replay, &input);
            break;
        case KV_REPLAY_BODY:
            step_body(replay, &input);
            break;
        case KV_REPLAY_SCAN:
            step_scan(replay, &input);
            break;
        case KV_REPLAY_OVER:
            break;
        }
    }
    return replay->stage != KV_REPLAY_OVER;
}

/* The file is shorter than a header: is it the beginning of one? */
static void judge_short_file(struct kv_replay *replay)
{
    struct kv_buf sample = {0};
    struct kv_log_header any = {0};
    (void)kv_log_begin(&any, &sample);
    size_t known = at_most(replay->window_len, 8); /* the magic */
    if (replay->window_len == 0)
        end_with(replay, KV_REPLAY_EMPTY);
    else if (sample.failed)
        end_with(replay, KV_REPLAY_NOMEM);
    else if (memcmp(replay->window, sample.data, known) == 0 || all_zero(replay->window, replay->window_len))
        end_with(replay, KV_REPLAY_TORN);
    else
        end_foreign(replay, "it does not begin as a log does");
    kv_buf_free(&sample);
}

struct kv_replay_result kv_replay_finish(struct kv_replay *replay)
{
    switch (replay->stage) {
    case KV_REPLAY_HEADER:
        judge_short_file(replay);
        break;
    case KV_REPLAY_HEAD:
        end_with(replay, replay->window_len == 0 ? KV_REPLAY_CLEAN : KV_REPLAY_TORN);
        break;
    case KV_REPLAY_ZEROS:
    case KV_REPLAY_BODY:
    case KV_REPLAY_SCAN:
        end_with(replay, KV_REPLAY_TORN);
        break;
    case KV_REPLAY_OVER:
        break;
    }
    kv_buf_free(&replay->body);
    kv_blob_unref(replay->value);
    replay->value = NULL;
    replay->result.place = place_at(replay, replay->result.valid);
    return replay->result;
}

void kv_replay_describe(const struct kv_replay_result *result, const char *file, char *out, size_t size)
{
    switch (result->end) {
    case KV_REPLAY_EMPTY:
        (void)snprintf(out, size, "%s: empty", file);
        break;
    case KV_REPLAY_CLEAN:
        (void)snprintf(out, size, "%s: %" PRIu64 " records", file, result->records);
        break;
    case KV_REPLAY_TORN:
        (void)snprintf(out, size,
                       "%s: torn tail: cut at byte %" PRIu64 ", %" PRIu64
                       " bytes of an incomplete write dropped, %" PRIu64 " records kept",
                       file, result->valid, result->size - result->valid, result->records);
        break;
    case KV_REPLAY_CORRUPT:
        (void)snprintf(out, size,
                       "%s: corrupt at byte %" PRIu64 ", but a valid record follows at byte %" PRIu64
                       ": refused; restore the file, or cut it to %" PRIu64 " bytes to give up what follows",
                       file, result->valid, result->next, result->valid);
        break;
    case KV_REPLAY_FOREIGN:
        (void)snprintf(out, size, "%s: not this shard's log at byte 0: %s", file, result->why);
        break;
    case KV_REPLAY_STOPPED:
        (void)snprintf(out, size, "%s: record at byte %" PRIu64 " could not be applied", file, result->valid);
        break;
    case KV_REPLAY_NOMEM:
        (void)snprintf(out, size, "%s: memory is short at byte %" PRIu64, file, result->valid);
        break;
    }
}
