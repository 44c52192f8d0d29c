/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "resp.h"
#include "resp_write.h"

/* What came out of a stream: every argument as "[bytes]", "|" behind each command, then "!error". */
struct heard {
    struct kv_buf text;
    bool over;
};

static void hear(struct heard *heard, struct kv_resp *resp)
{
    enum kv_resp_status status;
    while (!heard->over && (status = kv_resp_next(resp)) != KV_RESP_MORE) {
        if (status == KV_RESP_COMMAND) {
            for (size_t i = 0; i < resp->argc; i++) {
                kv_buf_append(&heard->text, "[", 1);
                kv_buf_append(&heard->text, resp->argv[i].ptr, resp->argv[i].len);
                kv_buf_append(&heard->text, "]", 1);
            }
            kv_buf_append(&heard->text, "|", 1);
        } else {
            kv_buf_append(&heard->text, "!", 1);
            kv_buf_append(&heard->text, kv_resp_error(resp), strlen(kv_resp_error(resp)));
            heard->over = true;
        }
    }
}

/* Feed in chunks of the given size, each in a heap block of its own that is gone afterwards, so that
 * a sanitizer sees a reference that outlives its chunk. */
static struct heard feed_in(struct kv_slice stream, size_t chunk, const struct kv_resp_limits *limits)
{
    struct heard heard = {0};
    struct kv_resp resp;
    kv_resp_init(&resp, limits);
    for (size_t at = 0; at < stream.len && !heard.over; at += chunk) {
        size_t n = stream.len - at < chunk ? stream.len - at : chunk;
        char *copy = malloc(n);
        memcpy(copy, stream.ptr + at, n);
        kv_resp_feed(&resp, copy, n);
        hear(&heard, &resp);
        free(copy);
    }
    kv_resp_fini(&resp);
    return heard;
}

static void check_in(struct kv_slice stream, size_t chunk, struct kv_slice expected,
                     const struct kv_resp_limits *limits)
{
    struct heard heard = feed_in(stream, chunk, limits);
    cr_assert(kv_slice_equal(kv_slice_of(heard.text.data, heard.text.len), expected),
              "chunks of %zu: got '%.*s', expected '%.*s'", chunk, (int)heard.text.len, heard.text.data,
              (int)expected.len, expected.ptr);
    kv_buf_free(&heard.text);
}

static void check(const char *stream, const char *expected)
{
    size_t len = strlen(stream);
    for (size_t chunk = 1; chunk <= len; chunk++)
        check_in(kv_slice_of(stream, len), chunk, kv_slice_text(expected), &kv_resp_limits_default);
}

Test(resp, splits_a_pipelined_batch_at_every_byte)
{
    const char stream[] =
        "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb!\r\nPING\r\n";
    struct kv_slice expected = kv_slice_text("[PING]|[GET][k]|[SET][k][a\r\nb!]|[PING]|");
    for (size_t cut = 0; cut < sizeof stream; cut++) {
        struct heard heard = {0};
        struct kv_resp resp;
        kv_resp_init(&resp, &kv_resp_limits_default);
        kv_resp_feed(&resp, stream, cut);
        hear(&heard, &resp);
        kv_resp_feed(&resp, stream + cut, sizeof stream - 1 - cut);
        hear(&heard, &resp);
        cr_assert(kv_slice_equal(kv_slice_of(heard.text.data, heard.text.len), expected), "cut at %zu", cut);
        kv_resp_fini(&resp);
        kv_buf_free(&heard.text);
    }
}

Test(resp, accepts_whatever_the_size_of_chunks)
{
    check("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", "[SET][][]|[x]|");
}

Test(resp, whole_commands_are_slices_of_the_chunk)
{
    char stream[] = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    struct kv_resp resp;
    kv_resp_init(&resp, &kv_resp_limits_default);
    kv_resp_feed(&resp, stream, sizeof stream - 1);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_COMMAND);
    cr_assert_eq(resp.argv[0].ptr, stream + 8);
    cr_assert_eq(resp.argv[1].ptr, stream + 17);
    cr_assert_eq(kv_resp_left(&resp), 0);
    kv_resp_fini(&resp);
}

Test(resp, ignores_empty_commands)
{
    check("*0\r\n*-1\r\n\r\n\n   \r\nPING\r\n", "[PING]|");
}

Test(resp, splits_inline_commands_with_quotes)
{
    check("a\vb \v c\v\r\n", "[a\vb][c\v]|");
    check("SET \"a b\" 'c\\'d' \"\\x41\\n\\\"\" e\"f\"\n", "[SET][a b][c'd][A\n\"][ef]|");
}

Test(resp, errors_read_as_those_of_redis)
{
    check("*x\r\n", "!ERR Protocol error: invalid multibulk length");
    check("*+1\r\n", "!ERR Protocol error: invalid multibulk length");
    check("*1\n", "!ERR Protocol error: invalid multibulk length");
    check("*1048577\r\n", "!ERR Protocol error: invalid multibulk length");
    check("*99999999999999999999999\r\n", "!ERR Protocol error: invalid multibulk length");
    check("*1\r\n$x\r\n", "!ERR Protocol error: invalid bulk length");
    check("*1\r\n$-1\r\n", "!ERR Protocol error: invalid bulk length");
    check("*1\r\n$67108865\r\n", "!ERR Protocol error: invalid bulk length");
    check("*1\r\nxfoo\r\n", "!ERR Protocol error: expected '$', got 'x'");
    check("*1\r\n\r\n", "!ERR Protocol error: expected '$', got ' '");
    check("GET \"a\r\n", "!ERR Protocol error: unbalanced quotes in request");
    check("GET \"a\"b\r\n", "!ERR Protocol error: unbalanced quotes in request");
    check("PING\r\n*1\r\n:1\r\nPING\r\n", "[PING]|!ERR Protocol error: expected '$', got ':'");
}

Test(resp, lines_have_a_bound)
{
    static const struct {
        const char *start, *error;
    } cases[] = {
        {"", "!ERR Protocol error: too big inline request"},
        {"*", "!ERR Protocol error: too big mbulk count string"},
        {"*1\r\n$", "!ERR Protocol error: too big bulk count string"},
    };
    size_t len = 70000;
    char *stream = malloc(len);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(stream, '1', len);
        memcpy(stream, cases[i].start, strlen(cases[i].start));
        for (size_t chunk = 1000; chunk <= len; chunk += 23000)
            check_in(kv_slice_of(stream, len), chunk, kv_slice_text(cases[i].error), &kv_resp_limits_default);
    }
    free(stream);
}

Test(resp, the_sum_of_arguments_has_a_bound)
{
    struct kv_resp_limits limits = kv_resp_limits_default;
    limits.command_max = 1000;
    check_in(kv_slice_text("*2\r\n$500\r\n"), 3, kv_slice_text(""), &limits);
    check_in(kv_slice_text("*2\r\n$980\r\n"), 3, kv_slice_text("!ERR Protocol error: too big request"), &limits);
    limits.bulk_max = 10;
    check_in(kv_slice_text("*1\r\n$11\r\n"), 3, kv_slice_text("!ERR Protocol error: invalid bulk length"), &limits);
}

Test(resp, an_error_is_for_good)
{
    struct kv_resp resp;
    kv_resp_init(&resp, &kv_resp_limits_default);
    kv_resp_feed(&resp, "*x\r\n", 4);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_ERROR);
    kv_resp_feed(&resp, "PING\r\n", 6);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_ERROR);
    kv_resp_fini(&resp);
}

Test(resp, an_announcement_alone_costs_little)
{
    struct kv_resp resp;
    kv_resp_init(&resp, &kv_resp_limits_default);
    const char start[] = "*1048576\r\n$67108864\r\n";
    kv_resp_feed(&resp, start, sizeof start - 1);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
    cr_assert_lt(kv_resp_memory(&resp), (size_t)32 * 1024);
    kv_resp_fini(&resp);
}

Test(resp, memory_of_a_big_value_follows_the_bytes_received)
{
    enum { CHUNK = 10000, TOTAL = 64 << 20 };
    struct kv_resp resp;
    kv_resp_init(&resp, &kv_resp_limits_default);
    const char start[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n";
    kv_resp_feed(&resp, start, sizeof start - 1);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
    char *chunk = malloc(CHUNK);
    memset(chunk, 'v', CHUNK);
    size_t sent = 0;
    while (sent < TOTAL) {
        size_t n = TOTAL - sent < CHUNK ? TOTAL - sent : CHUNK;
        kv_resp_feed(&resp, chunk, n);
        cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
        sent += n;
        cr_assert_leq(kv_resp_memory(&resp), 2 * sent + (size_t)32 * 1024);
    }
    kv_resp_feed(&resp, "\r\n", 2);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_COMMAND);
    cr_assert_eq(resp.argv[2].len, TOTAL);
    cr_assert_not_null(resp.argv[2].blob);
    cr_assert_eq(resp.argv[2].blob->cap, TOTAL);
    cr_assert(kv_slice_equal(resp.argv[1], kv_slice_text("k")));
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
    cr_assert_lt(kv_resp_memory(&resp), (size_t)32 * 1024);
    free(chunk);
    kv_resp_fini(&resp);
}

Test(resp, a_big_value_can_be_received_in_place_and_outlives_the_parser)
{
    enum { TOTAL = 1 << 20 };
    struct kv_resp resp;
    char *where;
    kv_resp_init(&resp, &kv_resp_limits_default);
    cr_assert_eq(kv_resp_window(&resp, &where), 0);
    kv_resp_feed(&resp, "*1\r\n$1048576\r\nab", 16);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
    size_t got = 2, room;
    while ((room = kv_resp_window(&resp, &where)) > 0) {
        memset(where, 'c', room);
        kv_resp_filled(&resp, room);
        got += room;
        cr_assert_eq(kv_resp_next(&resp), KV_RESP_MORE);
    }
    cr_assert_eq(got, TOTAL);
    kv_resp_feed(&resp, "\r\n", 2);
    cr_assert_eq(kv_resp_next(&resp), KV_RESP_COMMAND);
    struct kv_blob *blob = kv_blob_ref(resp.argv[0].blob);
    kv_resp_fini(&resp);
    cr_assert(kv_blob_is_sole(blob));
    cr_assert(blob->len == TOTAL && blob->data[1] == 'b' && blob->data[TOTAL - 1] == 'c');
    kv_blob_unref(blob);
}

Test(resp, many_arguments_survive_every_cut)
{
    struct kv_buf stream = {0}, expected = {0};
    char line[64];
    kv_buf_append(&stream, "*2000\r\n", 7);
    for (int i = 0; i < 2000; i++) {
        int digits = snprintf(line, sizeof line, "[%d]", i);
        kv_buf_append(&expected, line, (size_t)digits);
        int n = snprintf(line, sizeof line, "$%d\r\n%d\r\n", digits - 2, i);
        kv_buf_append(&stream, line, (size_t)n);
    }
    kv_buf_append(&expected, "|", 1);
    static const size_t chunks[] = {1, 7, 100, 4096, 100000};
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
        check_in(kv_slice_of(stream.data, stream.len), chunks[i], kv_slice_of(expected.data, expected.len),
                 &kv_resp_limits_default);
    kv_buf_free(&stream);
    kv_buf_free(&expected);
}

Test(resp_write, writes_each_kind_of_reply)
{
    struct kv_buf out = {0};
    kv_resp_write_simple(&out, "OK");
    kv_resp_write_error(&out, "ERR a\r\nb");
    kv_resp_write_integer(&out, INT64_MIN);
    kv_resp_write_integer(&out, 7);
    kv_resp_write_bulk(&out, kv_slice_of("a\0b", 3));
    kv_resp_write_bulk(&out, kv_slice_of("", 0));
    kv_resp_write_null(&out);
    kv_resp_write_null_array(&out);
    kv_resp_write_array(&out, 12);
    kv_resp_write_text(&out, "hi");
    const char expected[] = "+OK\r\n-ERR a  b\r\n:-9223372036854775808\r\n:7\r\n$3\r\na\0b\r\n$0\r\n\r\n$-1\r\n*-1\r\n"
                            "*12\r\n$2\r\nhi\r\n";
    cr_assert(kv_slice_equal(kv_slice_of(out.data, out.len), kv_slice_of(expected, sizeof expected - 1)));
    kv_buf_free(&out);
}
