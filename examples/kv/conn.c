/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <stdio.h>
#include <stdlib.h>

#include "batch.h"
#include "blob.h"
#include "clients.h"
#include "command.h"
#include "local.h"
#include "resp.h"
#include "resp_write.h"

enum { DATA, DRAINED, CLOSED };

#define OUTPUT_HIGH ((size_t)1 << 20) /* replies not yet sent above which no more commands are read */
#define OUTPUT_LOW (OUTPUT_HIGH / 4)
#define READ_MAX ((size_t)1 << 20)  /* bytes of one read while a big value comes in */
#define COPY_MAX ((size_t)64 << 10) /* replies up to this are copied to the stream, larger ones handed over */

/* One turn: a chunk arrives and all its commands become a batch; the batch is asked of the shards; when all have
 * answered the replies are written in order and the next chunk is read. While the client does not take its replies
 * (output above OUTPUT_HIGH) nothing is read from it, so a connection's memory is bounded by one chunk's commands and
 * their replies. */
struct conn {
    const struct kv_server *server;
    uint64_t id;
    troupe_addr clients;
    troupe_stream stream;
    struct kv_resp resp;
    struct kv_batch batch;
    struct kv_rope out;
    bool closing; /* QUIT, a protocol error or the client's FIN: close when the replies are out */
    char name[KV_CLIENT_NAME_MAX];
};

/* --- commands --- */

static void client_setname(troupe_ctx *ctx, struct conn *c, struct kv_slice name, struct kv_buf *out)
{
    struct kv_client_name named = {.id = c->id};
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] < '!' || name.ptr[i] > '~') {
            kv_resp_write_error(out, "ERR Client names cannot contain spaces, newlines or special characters.");
            return;
        }
    if (name.len >= sizeof named.name) {
        kv_resp_write_error(out, "ERR Client names are limited to 63 characters.");
        return;
    }
    memcpy(named.name, name.ptr, name.len);
    memcpy(c->name, named.name, sizeof c->name);
    troupe_tell(ctx, c->clients, KV_CLIENTS_NAMED, &named, sizeof named);
    kv_resp_write_simple(out, "OK");
}

/* CLIENT; false: it is for the clients actor. */
static bool client(troupe_ctx *ctx, struct conn *c, const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    if (kv_slice_is_word(argv[1], "list"))
        return false;
    if (kv_slice_is_word(argv[1], "setname") && argc == 3)
        client_setname(ctx, c, argv[2], out);
    else if (kv_slice_is_word(argv[1], "getname") && argc == 2 && c->name[0])
        kv_resp_write_text(out, c->name);
    else if (kv_slice_is_word(argv[1], "getname") && argc == 2)
        kv_resp_write_null(out);
    else if (kv_slice_is_word(argv[1], "id") && argc == 2)
        kv_resp_write_integer(out, (int64_t)c->id);
    else
        kv_command_write_unknown_sub("CLIENT", argv[1], out);
    return true;
}

/* DEBUG; false: it is for a shard. */
static bool debug(troupe_ctx *ctx, const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    if (kv_slice_is_word(argv[1], "panic") && argc == 3)
        return false;
    if (kv_slice_is_word(argv[1], "panic")) {
        kv_command_write_arity("debug|panic", out);
        return true;
    }
    if (kv_slice_is_word(argv[1], "panic-connection") && argc == 2)
        troupe_panic(ctx, "DEBUG PANIC-CONNECTION by a client");
    if (kv_slice_is_word(argv[1], "restarts") && argc == 2) {
        troupe_stats stats;
        troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
        kv_resp_write_integer(out, (int64_t)stats.restarts);
    } else {
        kv_command_write_unknown_sub("DEBUG", argv[1], out);
    }
    return true;
}

/* Commands without keys. */
static void run_keyless(troupe_ctx *ctx, struct conn *c, const struct kv_command *command, const struct kv_slice *argv,
                        size_t argc)
{
    struct kv_batch *b = &c->batch;
    struct kv_buf *out = kv_batch_local(b);
    switch ((int)command->id) {
    case KV_PING:
        kv_local_ping(argv, argc, out);
        break;
    case KV_ECHO:
        kv_resp_write_bulk(out, argv[1]);
        break;
    case KV_SELECT:
        kv_local_select(argv, out);
        break;
    case KV_CONFIG:
        kv_local_config(c->server, argv, argc, out);
        break;
    case KV_COMMAND:
        kv_local_command(argv, argc, out);
        break;
    case KV_HELLO:
        kv_local_hello(argv, argc, c->id, out);
        break;
    case KV_QUIT:
        kv_resp_write_simple(out, "OK");
        c->closing = true;
        break;
    case KV_INFO:
        kv_batch_info(b, argc > 1 ? argv[1] : kv_slice_text(""));
        return;
    case KV_CLIENT:
        if (!client(ctx, c, argv, argc, out)) {
            kv_batch_clients(b, argv, argc);
            return;
        }
        break;
    case KV_DEBUG:
        if (!debug(ctx, argv, argc, out)) {
            kv_batch_one(b, command, argv[2], argv, argc);
            return;
        }
        break;
    default: /* concerns every shard */
        kv_batch_many(b, command, argv, argc);
        return;
    }
    kv_batch_local_end(b);
}

static void run(troupe_ctx *ctx, struct conn *c, const struct kv_slice *argv, size_t argc)
{
    const struct kv_command *command = kv_command_accept(argv, argc, kv_batch_local(&c->batch));
    if (!command)
        kv_batch_local_end(&c->batch);
    else if (command->first_key == 0)
        run_keyless(ctx, c, command, argv, argc);
    else if (kv_command_key_count(command, argc) == 1 && command->first_key == command->last_key)
        kv_batch_one(&c->batch, command, argv[command->first_key], argv, argc);
    else
        kv_batch_many(&c->batch, command, argv, argc);
}

/* --- a turn --- */

static void close_stream(troupe_ctx *ctx, struct conn *c)
{
    troupe_stream_close(ctx, c->stream, true);
}

static void read_on(troupe_ctx *ctx, struct conn *c)
{
    char *where;
    size_t window = kv_resp_window(&c->resp, &where);
    size_t max = window < READ_MAX ? window : READ_MAX;
    if (troupe_stream_read(ctx, c->stream, max) < 0)
        close_stream(ctx, c);
}

static void blob_release(void *blob)
{
    kv_blob_unref(blob);
}

/* Hands the replies over to the stream; false: the stream is broken. */
static bool write_out(troupe_ctx *ctx, struct conn *c)
{
    struct kv_rope *out = &c->out;
    if (out->bytes.failed)
        return false;
    if (out->blob_count == 0 && out->bytes.len <= COPY_MAX) {
        int status = out->bytes.len ? troupe_stream_write(ctx, c->stream, out->bytes.data, out->bytes.len) : 0;
        kv_rope_clear(out);
        return status == 0;
    }
    size_t piece = 0;
    struct kv_slice slice;
    while (kv_rope_slices(out, &piece, &slice, 1) == 1) {
        int status = slice.blob ? troupe_stream_write_owned(ctx, c->stream, slice.ptr, slice.len, blob_release,
                                                            kv_blob_ref(slice.blob))
                                : troupe_stream_write(ctx, c->stream, slice.ptr, slice.len);
        if (status < 0 && slice.blob)
            kv_blob_unref(slice.blob);
        if (status < 0)
            return false;
    }
    kv_rope_free(out);
    return true;
}

static void end_turn(troupe_ctx *ctx, struct conn *c)
{
    kv_batch_finish(ctx, &c->batch, &c->out);
    if (!write_out(ctx, c) || c->closing)
        close_stream(ctx, c);
    else if (troupe_stream_pending(ctx, c->stream) <= OUTPUT_HIGH)
        read_on(ctx, c);
    /* else on_drained goes on */
}

static void on_answer(troupe_ctx *ctx, void *self, const troupe_answer *answer)
{
    struct conn *c = self;
    kv_batch_answer(&c->batch, answer);
    if (c->batch.waiting == 0)
        end_turn(ctx, c);
}

/* Takes all commands out of the chunk. */
static void parse(troupe_ctx *ctx, struct conn *c)
{
    while (!c->closing) {
        switch (kv_resp_next(&c->resp)) {
        case KV_RESP_COMMAND:
            run(ctx, c, c->resp.argv, c->resp.argc);
            break;
        case KV_RESP_MORE:
            return;
        case KV_RESP_ERROR:
            kv_resp_write_error(kv_batch_local(&c->batch), kv_resp_error(&c->resp));
            kv_batch_local_end(&c->batch);
            c->closing = true;
            return;
        case KV_RESP_NOMEM:
            c->closing = true;
            return;
        }
    }
}

static void on_data(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct conn *c = self;
    const troupe_data *data = troupe_payload(msg);
    if (data->length == 0) {
        close_stream(ctx, c);
        return;
    }
    kv_resp_feed(&c->resp, data->bytes, data->length);
    parse(ctx, c);
    kv_batch_send(ctx, &c->batch, on_answer);
    if (c->batch.waiting == 0)
        end_turn(ctx, c);
}

static void on_drained(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct conn *c = self;
    (void)msg;
    if (c->batch.waiting == 0 && !c->closing)
        read_on(ctx, c);
}

static void on_closed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_stop_self(ctx);
}

/* --- the incarnation --- */

static void release(void *self)
{
    struct conn *c = self;
    kv_resp_fini(&c->resp);
    kv_batch_free(&c->batch);
    kv_rope_free(&c->out);
}

static int started(troupe_ctx *ctx, void *self, const void *arg)
{
    const struct kv_conn_args *args = arg;
    struct conn *c = self;
    troupe_stream_options options = {
        .data = DATA,
        .drained = DRAINED,
        .closed = CLOSED,
        .wants_drained = true,
        .wants_closed = true,
        .high_water = OUTPUT_HIGH,
        .low_water = OUTPUT_LOW,
    };
    c->server = args->server;
    c->id = args->id;
    c->clients = args->clients;
    kv_resp_init(&c->resp, &kv_resp_limits_default);
    kv_batch_init(&c->batch, args->server);
    int status = troupe_defer(ctx, release, c);
    if (status < 0)
        return status;
    status = troupe_stream_adopt(ctx, troupe_take_fd(ctx), &options, &c->stream);
    if (status == 0)
        read_on(ctx, c);
    return status;
}

const troupe_behavior kv_conn_behavior = {
    .name = "conn",
    .state_size = sizeof(struct conn),
    .args_size = sizeof(struct kv_conn_args),
    .started = started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers =
        {
            [DATA] = {.name = "data", .fn = on_data, .size = sizeof(troupe_data)},
            [DRAINED] = {.name = "drained", .fn = on_drained, .size = sizeof(troupe_stream)},
            [CLOSED] = {.name = "closed", .fn = on_closed, .size = sizeof(troupe_closed)},
        },
};
