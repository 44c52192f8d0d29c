/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: writes RESP2 replies to the end of a buffer or a rope.
 * Anybody who holds the buffer may call it.
 * It is not a place for the texts of particular commands. */
#ifndef KV_RESP_WRITE_H
#define KV_RESP_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "rope.h"
#include "slice.h"

/* Failure is the buffer's: see kv_buf.failed. */

/* "+text"; text has no line break. */
void kv_resp_write_simple(struct kv_buf *out, const char *text);

/* "-text"; line breaks in text become blanks, as a reply line cannot hold them. */
void kv_resp_write_error(struct kv_buf *out, const char *text);

/* ":number" */
void kv_resp_write_integer(struct kv_buf *out, int64_t number);

/* "$length", the bytes */
void kv_resp_write_bulk(struct kv_buf *out, struct kv_slice bytes);

/* The same of a terminated string. */
void kv_resp_write_text(struct kv_buf *out, const char *text);

/* The same to a rope: a value that is a big blob is not copied. */
void kv_resp_write_value(struct kv_rope *out, struct kv_slice value);

/* "$-1" */
void kv_resp_write_null(struct kv_buf *out);

/* "*-1" */
void kv_resp_write_null_array(struct kv_buf *out);

/* "*count"; count replies follow. */
void kv_resp_write_array(struct kv_buf *out, size_t count);

#endif
