/* SPDX-License-Identifier: Apache-2.0 */
#include "buf.h"

#include <stdint.h>
#include <stdlib.h>

enum { FIRST_CAP = 64 };

static size_t next_cap(size_t cap, size_t need)
{
    size_t grown = cap < FIRST_CAP ? FIRST_CAP : cap;
    while (grown < need)
        grown = grown > SIZE_MAX / 2 ? need : grown * 2;
    return grown;
}

bool kv_buf_grow(struct kv_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    char *moved = NULL;
    size_t cap = 0;
    if (more <= PTRDIFF_MAX - buf->len) {
        cap = next_cap(buf->cap, buf->len + more);
        moved = realloc(buf->data, cap);
    }
    if (moved == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = moved;
    buf->cap = cap;
    return true;
}

void kv_buf_free(struct kv_buf *buf)
{
    free(buf->data);
    *buf = (struct kv_buf){0};
}

void kv_buf_drop_front(struct kv_buf *buf, size_t n)
{
    if (n > 0 && n < buf->len)
        memmove(buf->data, buf->data + n, buf->len - n);
    buf->len -= n;
}

void kv_buf_trim(struct kv_buf *buf)
{
    if (buf->cap > KV_BUF_KEEP)
        kv_buf_free(buf);
    else
        kv_buf_clear(buf);
}
