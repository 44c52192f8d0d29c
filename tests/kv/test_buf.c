/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdint.h>

#include "blob.h"
#include "buf.h"
#include "rope.h"

Test(buf, keeps_what_is_appended)
{
    struct kv_buf buf = {0};
    for (int i = 0; i < 1000; i++)
        cr_assert(kv_buf_append(&buf, "abc", 3));
    cr_assert_eq(buf.len, 3000);
    cr_assert(memcmp(buf.data + 2997, "abc", 3) == 0);
    kv_buf_free(&buf);
    cr_assert_eq(buf.cap, 0);
}

Test(buf, appending_nothing_to_an_empty_buffer_succeeds)
{
    struct kv_buf buf = {0};
    cr_assert(kv_buf_append(&buf, NULL, 0));
    cr_assert_null(buf.data);
}

Test(buf, an_impossible_size_fails_and_stays_failed_until_cleared)
{
    struct kv_buf buf = {0};
    cr_assert(kv_buf_append(&buf, "x", 1));
    cr_assert_not(kv_buf_reserve(&buf, SIZE_MAX - 1));
    cr_assert(buf.failed);
    cr_assert_not(kv_buf_append(&buf, "y", 1));
    cr_assert_eq(buf.len, 1);
    kv_buf_clear(&buf);
    cr_assert(kv_buf_append(&buf, "y", 1));
    cr_assert_eq(buf.data[0], 'y');
    kv_buf_free(&buf);
}

Test(buf, drops_from_the_front)
{
    struct kv_buf buf = {0};
    kv_buf_append(&buf, "hello", 5);
    kv_buf_drop_front(&buf, 2);
    cr_assert_eq(buf.len, 3);
    cr_assert(memcmp(buf.data, "llo", 3) == 0);
    kv_buf_drop_front(&buf, 3);
    cr_assert_eq(buf.len, 0);
    kv_buf_free(&buf);
}

static struct kv_blob *blob_of(char c, size_t len)
{
    struct kv_blob *blob = kv_blob_create(len);
    memset(blob->data, c, len);
    blob->len = len;
    return blob;
}

static struct kv_buf flatten(const struct kv_rope *rope)
{
    struct kv_buf all = {0};
    struct kv_slice slice;
    size_t piece = 0;
    while (kv_rope_slices(rope, &piece, &slice, 1) == 1)
        kv_buf_append(&all, slice.ptr, slice.len);
    return all;
}

Test(rope, a_big_blob_is_referenced_and_a_small_slice_copied)
{
    struct kv_blob *blob = blob_of('v', KV_BLOB_MIN);
    struct kv_rope rope = {0};
    kv_rope_put(&rope, kv_slice_text("<"));
    kv_rope_put(&rope, kv_blob_slice(blob));
    kv_rope_put(&rope, kv_slice_text(">"));
    cr_assert_not(kv_blob_is_sole(blob));
    cr_assert_eq(rope.bytes.len, 2);
    cr_assert_eq(kv_rope_size(&rope), KV_BLOB_MIN + 2);
    kv_blob_unref(blob);
    struct kv_buf all = flatten(&rope);
    cr_assert_eq(all.len, KV_BLOB_MIN + 2);
    cr_assert(all.data[0] == '<' && all.data[1] == 'v' && all.data[all.len - 1] == '>');
    kv_buf_free(&all);
    kv_rope_free(&rope);
}

Test(rope, moving_keeps_the_order_of_bytes_and_blobs)
{
    struct kv_rope to = {0}, from = {0};
    struct kv_blob *blob = blob_of('b', KV_BLOB_MIN);
    kv_rope_put(&to, kv_slice_text("1"));
    kv_rope_put(&from, kv_slice_text("2"));
    kv_rope_put(&from, kv_blob_slice(blob));
    kv_rope_put(&from, kv_slice_text("3"));
    kv_rope_move(&to, &from);
    cr_assert_eq(kv_rope_size(&from), 0);
    struct kv_buf all = flatten(&to);
    cr_assert_eq(all.len, KV_BLOB_MIN + 3);
    cr_assert(all.data[0] == '1' && all.data[1] == '2' && all.data[2] == 'b' && all.data[all.len - 1] == '3');
    kv_buf_free(&all);
    kv_blob_unref(blob);
    kv_rope_free(&to);
    kv_rope_free(&from);
}

Test(rope, a_failure_moves_with_the_content)
{
    struct kv_rope to = {0}, from = {0};
    from.bytes.failed = true;
    kv_rope_move(&to, &from);
    cr_assert(to.bytes.failed);
    cr_assert_not(from.bytes.failed);
    kv_rope_free(&to);
}
