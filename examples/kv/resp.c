/* SPDX-License-Identifier: Apache-2.0 */
#include "resp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "blob.h"
#include "number.h"

enum {
    ARGS_FIRST = 8,         /* slots of the first argument array */
    ARGS_KEEP = 1024,       /* a bigger array is given back after its command */
    BUF_KEEP = 16 * 1024,   /* likewise a bigger buffer */
    BLOB_FIRST = 16 * 1024, /* first room of a big bulk */
};

const struct kv_resp_limits kv_resp_limits_default = {
    .bulk_max = (size_t)64 << 20,
    .command_max = (size_t)128 << 20,
    .args_max = (size_t)1 << 20,
    .line_max = (size_t)64 << 10,
};

/* What one step found out. */
enum step {
    STEP_ON,   /* go on */
    STEP_DONE, /* the command is complete */
    STEP_DRY,  /* the chunk is used up */
    STEP_FAIL, /* stage is KV_RESP_FAILED */
};

static enum step fail(struct kv_resp *resp, const char *what)
{
    resp->stage = KV_RESP_FAILED;
    resp->failure = KV_RESP_ERROR;
    (void)snprintf(resp->error, sizeof resp->error, "ERR Protocol error: %s", what);
    return STEP_FAIL;
}

static enum step fail_memory(struct kv_resp *resp)
{
    resp->stage = KV_RESP_FAILED;
    resp->failure = KV_RESP_NOMEM;
    return STEP_FAIL;
}

void kv_resp_init(struct kv_resp *resp, const struct kv_resp_limits *limits)
{
    *resp = (struct kv_resp){.stage = KV_RESP_START, .limits = *limits};
}

static void release_blobs(struct kv_resp *resp)
{
    for (size_t i = 0; i < resp->argc; i++)
        kv_blob_unref(resp->argv[i].blob);
    resp->argc = 0;
}

void kv_resp_fini(struct kv_resp *resp)
{
    release_blobs(resp);
    kv_blob_unref(resp->blob);
    free(resp->argv);
    kv_buf_free(&resp->held);
    kv_buf_free(&resp->line);
    *resp = (struct kv_resp){.stage = KV_RESP_FAILED, .failure = KV_RESP_ERROR};
}

void kv_resp_feed(struct kv_resp *resp, const void *bytes, size_t len)
{
    assert(kv_resp_left(resp) == 0 || resp->stage == KV_RESP_FAILED);
    resp->chunk = bytes != NULL ? bytes : "";
    resp->chunk_len = len;
    resp->chunk_pos = 0;
}

size_t kv_resp_left(const struct kv_resp *resp)
{
    return resp->chunk_len - resp->chunk_pos;
}

const char *kv_resp_error(const struct kv_resp *resp)
{
    return resp->error;
}

/* ---- arguments ---- */

static bool grow_args(struct kv_resp *resp)
{
    size_t cap = resp->args_cap == 0 ? ARGS_FIRST : resp->args_cap * 2;
    struct kv_slice *argv = realloc(resp->argv, cap * sizeof *argv);
    if (argv == NULL)
        return false;
    resp->argv = argv;
    resp->args_cap = cap;
    return true;
}

static inline bool push_arg(struct kv_resp *resp, const char *ptr, size_t len, struct kv_blob *blob)
{
    if (resp->argc == resp->args_cap && !grow_args(resp))
        return false;
    resp->argv[resp->argc++] = (struct kv_slice){.ptr = ptr, .len = len, .blob = blob};
    return true;
}

/* An argument that has moved to `held` is kept as an offset while that buffer can still move. */
static const char *offset_to_ptr(size_t offset)
{
    return (const char *)(uintptr_t)offset;
}

static size_t ptr_to_offset(const char *ptr)
{
    return (size_t)(uintptr_t)ptr;
}

/* Move the arguments that still lie in the chunk, because the chunk goes away. */
static bool hold_args(struct kv_resp *resp)
{
    for (; resp->args_held < resp->argc; resp->args_held++) {
        struct kv_slice *arg = &resp->argv[resp->args_held];
        if (arg->blob != NULL)
            continue;
        size_t offset = resp->held.len;
        if (!kv_buf_append(&resp->held, arg->ptr, arg->len))
            return false;
        arg->ptr = offset_to_ptr(offset);
    }
    return true;
}

/* The command is complete: `held` moves no more, so offsets become pointers. */
static void settle_args(struct kv_resp *resp)
{
    const char *base = resp->held.data != NULL ? resp->held.data : "";
    for (size_t i = 0; i < resp->args_held; i++) {
        struct kv_slice *arg = &resp->argv[i];
        if (arg->blob == NULL)
            arg->ptr = base + ptr_to_offset(arg->ptr);
    }
    resp->args_held = 0;
}

static bool charge(struct kv_resp *resp, size_t len)
{
    resp->cost += len + sizeof(struct kv_slice);
    return resp->cost <= resp->limits.command_max;
}

/* Forget the last command; give back what only a huge one needs. */
static void begin_command(struct kv_resp *resp)
{
    release_blobs(resp);
    resp->cost = 0;
    resp->held.len = 0;
    if (resp->args_cap > ARGS_KEEP) {
        free(resp->argv);
        resp->argv = NULL;
        resp->args_cap = 0;
    }
    if (resp->held.cap > BUF_KEEP)
        kv_buf_free(&resp->held);
    if (resp->line.cap > BUF_KEEP && resp->line.len == 0)
        kv_buf_free(&resp->line);
}

/* ---- lines ---- */

/* Take one line, without its line feed. In the chunk if it is whole there, else from `line`, where
 * the part before the chunk's end was kept. */
static enum step take_line(struct kv_resp *resp, const char *too_long, struct kv_slice *line)
{
    const char *from = resp->chunk + resp->chunk_pos;
    size_t left = kv_resp_left(resp);
    const char *feed = left > 0 ? memchr(from, '\n', left) : NULL;
    size_t len = feed != NULL ? (size_t)(feed - from) : left;
    if (resp->line.len + len > resp->limits.line_max)
        return fail(resp, too_long);
    resp->chunk_pos += feed != NULL ? len + 1 : len;
    if (feed != NULL && resp->line.len == 0) {
        *line = kv_slice_of(from, len);
        return STEP_ON;
    }
    if (!kv_buf_append(&resp->line, from, len) || resp->line.data == NULL)
        return fail_memory(resp);
    if (feed == NULL)
        return STEP_DRY;
    *line = kv_slice_of(resp->line.data, resp->line.len);
    resp->line.len = 0; /* its bytes stay until the next line is kept */
    return STEP_ON;
}

/* Read the number between a line's first byte and its carriage return. */
static bool line_number(struct kv_slice line, int64_t *out)
{
    if (line.len < 2 || line.ptr[line.len - 1] != '\r')
        return false;
    return kv_number_parse(line.ptr + 1, line.len - 2, out);
}

/* The common case of a length line: one to seven digits, whole in the chunk. Passes over it and
 * returns true, or leaves everything as it is. */
static inline bool take_short_length(struct kv_resp *resp, size_t *out)
{
    const char *at = resp->chunk + resp->chunk_pos;
    size_t left = kv_resp_left(resp);
    size_t value = 0, i = 1;
    if (resp->line.len > 0)
        return false;
    for (; i < left && i < 8; i++) {
        unsigned digit = (unsigned)(unsigned char)at[i] - '0';
        if (digit > 9)
            break;
        value = value * 10 + digit;
    }
    bool plain = i > 1 && (at[1] != '0' || i == 2);
    if (!plain || left - i < 2 || at[i] != '\r' || at[i + 1] != '\n')
        return false;
    resp->chunk_pos += i + 2;
    *out = value;
    return true;
}

/* ---- inline commands ---- */

static bool ends_word(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0';
}

/* As in Redis: these two stand between words, yet do not end one. */
static bool is_blank(char c)
{
    return ends_word(c) || c == '\v' || c == '\f';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode what follows a backslash inside double quotes; returns how many bytes it took. */
static size_t unescape(struct kv_slice line, size_t at, char *out)
{
    if (line.ptr[at] == 'x' && at + 2 < line.len) {
        int high = hex_digit(line.ptr[at + 1]), low = hex_digit(line.ptr[at + 2]);
        if (high >= 0 && low >= 0) {
            *out = (char)(high * 16 + low);
            return 3;
        }
    }
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    const char *name = memchr(names, line.ptr[at], sizeof names - 1);
    *out = name != NULL ? bytes[name - names] : line.ptr[at];
    return 1;
}

/* Copy a quoted part, from behind its opening quote, to out (which has room for the line).
 * Returns the index behind the closing quote, 0 if it never closes or something sticks to it. */
static size_t split_quoted(struct kv_slice line, size_t at, char quote, char *out, size_t *out_len)
{
    while (at < line.len && line.ptr[at] != quote) {
        char c = line.ptr[at++];
        if (c == '\\' && at < line.len) {
            if (quote == '"')
                at += unescape(line, at, &c);
            else if (line.ptr[at] == '\'')
                c = line.ptr[at++];
        }
        out[(*out_len)++] = c;
    }
    if (at == line.len || (at + 1 < line.len && !is_blank(line.ptr[at + 1])))
        return 0;
    return at + 1;
}

/* Split one line into arguments, which are written to `held` one behind the other. */
static enum step split_inline(struct kv_resp *resp, struct kv_slice line)
{
    if (!kv_buf_reserve(&resp->held, line.len))
        return fail_memory(resp);
    char *out = resp->held.data;
    size_t at = 0, out_len = 0;
    for (;;) {
        while (at < line.len && is_blank(line.ptr[at]))
            at++;
        if (at >= line.len)
            return resp->argc > 0 ? STEP_DONE : STEP_ON;
        size_t start = out_len;
        while (at < line.len && !ends_word(line.ptr[at])) {
            char c = line.ptr[at++];
            if (c == '"' || c == '\'') {
                at = split_quoted(line, at, c, out, &out_len);
                if (at == 0)
                    return fail(resp, "unbalanced quotes in request");
                break;
            }
            out[out_len++] = c;
        }
        if (resp->argc == resp->limits.args_max || !charge(resp, out_len - start))
            return fail(resp, "too big inline request");
        if (!push_arg(resp, out + start, out_len - start, NULL))
            return fail_memory(resp);
    }
}

static enum step step_inline(struct kv_resp *resp)
{
    struct kv_slice line;
    enum step step = take_line(resp, "too big inline request", &line);
    if (step != STEP_ON)
        return step;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    return split_inline(resp, line);
}

/* ---- multibulk commands ---- */

static enum step step_multibulk(struct kv_resp *resp)
{
    size_t length;
    int64_t args;
    if (take_short_length(resp, &length)) {
        args = (int64_t)length;
    } else {
        struct kv_slice line;
        enum step step = take_line(resp, "too big mbulk count string", &line);
        if (step != STEP_ON)
            return step;
        if (!line_number(line, &args))
            return fail(resp, "invalid multibulk length");
    }
    if (args > 0 && (uint64_t)args > resp->limits.args_max)
        return fail(resp, "invalid multibulk length");
    if (args > 0) {
        resp->args_left = (size_t)args;
        resp->stage = KV_RESP_BULK_LINE;
    }
    return STEP_ON;
}

static enum step fail_not_bulk(struct kv_resp *resp, char got)
{
    char text[] = "expected '$', got 'x'";
    text[sizeof text - 3] = got == '\r' || got == '\n' || got == '\0' ? ' ' : got;
    return fail(resp, text);
}

static inline enum step arg_complete(struct kv_resp *resp)
{
    resp->skip = 2;
    resp->args_left--;
    resp->stage = KV_RESP_BULK_LINE;
    return STEP_ON;
}

/* Start moving a bulk that the chunk holds only in part. */
static enum step begin_body(struct kv_resp *resp, size_t length)
{
    if (!hold_args(resp))
        return fail_memory(resp);
    if (length >= KV_BLOB_MIN)
        resp->blob = kv_blob_create(length < BLOB_FIRST ? length : BLOB_FIRST);
    if (length >= KV_BLOB_MIN ? resp->blob == NULL : !kv_buf_reserve(&resp->held, length))
        return fail_memory(resp);
    resp->bulk_len = length;
    resp->bulk_got = 0;
    resp->stage = KV_RESP_BULK_BODY;
    return STEP_ON;
}

static enum step step_bulk_line(struct kv_resp *resp)
{
    size_t length;
    if (resp->line.len == 0 && resp->chunk[resp->chunk_pos] != '$')
        return fail_not_bulk(resp, resp->chunk[resp->chunk_pos]);
    if (!take_short_length(resp, &length)) {
        struct kv_slice line;
        int64_t number;
        enum step step = take_line(resp, "too big bulk count string", &line);
        if (step != STEP_ON)
            return step;
        if (!line_number(line, &number) || number < 0)
            return fail(resp, "invalid bulk length");
        length = (size_t)number;
    }
    if (length > resp->limits.bulk_max)
        return fail(resp, "invalid bulk length");
    if (!charge(resp, length))
        return fail(resp, "too big request");
    if (length > kv_resp_left(resp))
        return begin_body(resp, length);
    if (!push_arg(resp, resp->chunk + resp->chunk_pos, length, NULL))
        return fail_memory(resp);
    resp->chunk_pos += length;
    return arg_complete(resp);
}

static bool grow_blob(struct kv_resp *resp, size_t need)
{
    size_t cap = resp->blob->cap;
    if (need <= cap)
        return true;
    while (cap < need)
        cap *= 2;
    struct kv_blob *blob = kv_blob_resize(resp->blob, cap < resp->bulk_len ? cap : resp->bulk_len);
    if (blob == NULL)
        return false;
    resp->blob = blob;
    return true;
}

static enum step complete_body(struct kv_resp *resp)
{
    if (resp->blob != NULL) {
        struct kv_slice whole = kv_blob_slice(resp->blob);
        if (!push_arg(resp, whole.ptr, whole.len, whole.blob))
            return fail_memory(resp);
        resp->blob = NULL;
    } else if (!push_arg(resp, offset_to_ptr(resp->held.len - resp->bulk_len), resp->bulk_len, NULL)) {
        return fail_memory(resp);
    }
    resp->args_held = resp->argc;
    return arg_complete(resp);
}

static enum step step_bulk_body(struct kv_resp *resp)
{
    size_t rest = resp->bulk_len - resp->bulk_got, left = kv_resp_left(resp);
    size_t n = rest < left ? rest : left;
    const char *from = resp->chunk + resp->chunk_pos;
    if (resp->blob == NULL) {
        if (!kv_buf_append(&resp->held, from, n))
            return fail_memory(resp);
    } else {
        if (!grow_blob(resp, resp->bulk_got + n))
            return fail_memory(resp);
        if (n > 0)
            memcpy(resp->blob->data + resp->bulk_got, from, n);
        resp->blob->len = resp->bulk_got + n;
    }
    resp->chunk_pos += n;
    resp->bulk_got += n;
    return resp->bulk_got == resp->bulk_len ? complete_body(resp) : STEP_DRY;
}

size_t kv_resp_window(struct kv_resp *resp, char **where)
{
    if (resp->stage != KV_RESP_BULK_BODY || resp->blob == NULL || kv_resp_left(resp) > 0)
        return 0;
    if (resp->bulk_got == resp->bulk_len || !grow_blob(resp, resp->bulk_got + 1))
        return 0;
    *where = resp->blob->data + resp->bulk_got;
    return resp->blob->cap - resp->bulk_got;
}

void kv_resp_filled(struct kv_resp *resp, size_t n)
{
    assert(resp->blob != NULL && n <= resp->blob->cap - resp->bulk_got);
    resp->bulk_got += n;
    resp->blob->len = resp->bulk_got;
}

/* ---- the machine ---- */

static inline enum step step_skip(struct kv_resp *resp)
{
    size_t left = kv_resp_left(resp);
    size_t n = resp->skip < left ? resp->skip : left;
    resp->chunk_pos += n;
    resp->skip -= n;
    if (resp->skip > 0)
        return STEP_DRY;
    if (resp->args_left > 0)
        return STEP_ON;
    resp->stage = KV_RESP_START;
    return STEP_DONE;
}

static inline enum step step_start(struct kv_resp *resp)
{
    char first = resp->line.len > 0 ? resp->line.data[0] : resp->chunk[resp->chunk_pos];
    return first == '*' ? step_multibulk(resp) : step_inline(resp);
}

static enum step step_any(struct kv_resp *resp)
{
    if (resp->skip > 0)
        return step_skip(resp);
    switch (resp->stage) {
    case KV_RESP_START:
        return kv_resp_left(resp) > 0 ? step_start(resp) : STEP_DRY;
    case KV_RESP_BULK_LINE:
        return kv_resp_left(resp) > 0 ? step_bulk_line(resp) : STEP_DRY;
    case KV_RESP_BULK_BODY:
        return step_bulk_body(resp);
    case KV_RESP_FAILED:
        return STEP_FAIL;
    }
    return STEP_FAIL;
}

enum kv_resp_status kv_resp_next(struct kv_resp *resp)
{
    bool fresh = resp->stage == KV_RESP_START && resp->skip == 0 && resp->line.len == 0;
    if (fresh)
        begin_command(resp);
    enum step step;
    do
        step = step_any(resp);
    while (step == STEP_ON);
    if (step == STEP_DRY && !hold_args(resp))
        step = fail_memory(resp);
    if (step == STEP_DRY)
        return KV_RESP_MORE;
    if (step == STEP_FAIL)
        return resp->failure;
    settle_args(resp);
    return KV_RESP_COMMAND;
}

size_t kv_resp_memory(const struct kv_resp *resp)
{
    size_t bytes = resp->args_cap * sizeof *resp->argv + resp->held.cap + resp->line.cap;
    if (resp->blob != NULL)
        bytes += sizeof *resp->blob + resp->blob->cap;
    for (size_t i = 0; i < resp->argc; i++)
        if (resp->argv[i].blob != NULL)
            bytes += sizeof *resp->blob + resp->argv[i].blob->cap;
    return bytes;
}
