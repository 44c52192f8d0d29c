/* SPDX-License-Identifier: Apache-2.0 */
/* A batch that is used again and again: a long reply (handed over) after short ones (copied). Leaks are found by the
 * sanitizer's log. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "examples/kv/batch.h"
#include "examples/kv/buf.h"

/* One turn: one command, one answer of len bytes, in a rope or inline. Returns the length of what came out. */
static size_t turn(struct kv_batch *b, size_t len, bool in_rope)
{
    struct kv_slice argv[2] = {kv_slice_text("get"), kv_slice_text("key")};
    kv_batch_one(b, kv_command_find(argv[0]), argv[1], argv, 2);
    b->waiting++;
    size_t head = sizeof(struct kv_replies) + sizeof(size_t);
    struct kv_replies *replies = calloc(1, head + len);
    replies->count = 1;
    replies->ends[0] = len;
    replies->in_rope = in_rope;
    replies->inline_len = in_rope ? 0 : (uint32_t)len;
    for (size_t i = 0; in_rope && i < len; i++)
        kv_buf_append(&replies->rope.bytes, "x", 1);
    troupe_answer answer = {.payload = replies, .size = head + (in_rope ? 0 : len), .arg = NULL};
    kv_batch_answer(b, &answer);
    cr_assert_eq(b->waiting, 0);
    kv_replies_drop(replies, answer.size);
    free(replies);
    struct kv_rope out = {0};
    kv_batch_finish(NULL, b, &out);
    size_t got = kv_rope_size(&out);
    cr_expect_not(out.bytes.failed);
    kv_rope_free(&out);
    return got;
}

Test(batch, a_handed_over_reply_after_a_copied_one_leaks_nothing)
{
    struct kv_options options = {.shards = 1};
    struct kv_server server = {.options = &options};
    struct kv_batch b;
    kv_batch_init(&b, &server);
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(turn(&b, 100, false), 100);
        cr_expect_eq(turn(&b, 100000, true), 100000);
    }
    kv_batch_free(&b);
}
