/* SPDX-License-Identifier: Apache-2.0 */
#include "resp_write.h"

#include "number.h"

enum { HEAD_MAX = 1 + KV_NUMBER_MAX + 2 }; /* "$", digits, CR LF */

/* Write mark, number and line end; room for HEAD_MAX bytes has been reserved. */
static inline void put_head(struct kv_buf *out, char mark, int64_t number)
{
    char *at = out->data + out->len;
    *at++ = mark;
    if (number >= 0 && number <= 9)
        *at++ = (char)('0' + number);
    else
        at += kv_number_format(at, number);
    *at++ = '\r';
    *at++ = '\n';
    out->len = (size_t)(at - out->data);
}

static void write_head(struct kv_buf *out, char mark, int64_t number)
{
    if (kv_buf_reserve(out, HEAD_MAX))
        put_head(out, mark, number);
}

void kv_resp_write_simple(struct kv_buf *out, const char *text)
{
    size_t len = strlen(text);
    if (!kv_buf_reserve(out, len + 3))
        return;
    kv_buf_append(out, "+", 1);
    kv_buf_append(out, text, len);
    kv_buf_append(out, "\r\n", 2);
}

void kv_resp_write_error(struct kv_buf *out, const char *text)
{
    size_t len = strlen(text);
    if (!kv_buf_reserve(out, len + 3))
        return;
    kv_buf_append(out, "-", 1);
    for (size_t i = 0; i < len; i++)
        out->data[out->len++] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    kv_buf_append(out, "\r\n", 2);
}

void kv_resp_write_integer(struct kv_buf *out, int64_t number)
{
    write_head(out, ':', number);
}

void kv_resp_write_bulk(struct kv_buf *out, struct kv_slice bytes)
{
    if (!kv_buf_reserve(out, bytes.len + HEAD_MAX + 2))
        return;
    put_head(out, '$', (int64_t)bytes.len);
    kv_buf_append(out, bytes.ptr, bytes.len);
    kv_buf_append(out, "\r\n", 2);
}

void kv_resp_write_text(struct kv_buf *out, const char *text)
{
    kv_resp_write_bulk(out, kv_slice_text(text));
}

void kv_resp_write_value(struct kv_rope *out, struct kv_slice value)
{
    if (value.blob == NULL) {
        kv_resp_write_bulk(&out->bytes, value);
        return;
    }
    write_head(&out->bytes, '$', (int64_t)value.len);
    kv_rope_put(out, value);
    kv_buf_append(&out->bytes, "\r\n", 2);
}

void kv_resp_write_null(struct kv_buf *out)
{
    kv_buf_append(out, "$-1\r\n", 5);
}

void kv_resp_write_null_array(struct kv_buf *out)
{
    kv_buf_append(out, "*-1\r\n", 5);
}

void kv_resp_write_array(struct kv_buf *out, size_t count)
{
    write_head(out, '*', (int64_t)count);
}
