/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP echo server: one actor per connection, raw bytes back. A peer that does not read is not read from. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <troupe/troupe.h>
#include <unistd.h>

enum { ACCEPTED, DATA, DRAINED, CLOSED };

#define QUEUE_MAX ((size_t)256 * 1024) /* output bytes above which a connection reads no more */

/* --- one connection --- */

static int connection_started(troupe_ctx *ctx, void *self, const void *args)
{
    troupe_stream *stream = self;
    troupe_stream_options options = {
        .data = DATA,
        .drained = DRAINED,
        .closed = CLOSED,
        .wants_drained = true,
        .wants_closed = true,
        .high_water = QUEUE_MAX,
        .low_water = QUEUE_MAX / 4,
    };
    (void)args;
    int status = troupe_stream_adopt(ctx, troupe_take_fd(ctx), &options, stream);
    return status < 0 ? status : troupe_stream_read(ctx, *stream, 0);
}

static void on_data(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const troupe_stream *stream = self;
    const troupe_data *data = troupe_payload(msg);
    if (data->length == 0 || troupe_stream_write(ctx, *stream, data->bytes, data->length) < 0)
        troupe_stream_close(ctx, *stream, true);
    else if (troupe_stream_pending(ctx, *stream) <= QUEUE_MAX)
        TROUPE_CHECK(ctx, troupe_stream_read(ctx, *stream, 0) == 0);
}

static void on_drained(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const troupe_stream *stream = self;
    (void)msg;
    troupe_stream_read(ctx, *stream, 0);
}

static void on_closed(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self, (void)msg;
    troupe_stop_self(ctx);
}

static const troupe_behavior connection = {
    .name = "connection",
    .state_size = sizeof(troupe_stream),
    .started = connection_started,
    .supervision = {.restart = TROUPE_RESTART_TEMPORARY},
    .handlers =
        {
            [DATA] = {.name = "data", .fn = on_data, .size = sizeof(troupe_data)},
            [DRAINED] = {.name = "drained", .fn = on_drained, .size = sizeof(troupe_stream)},
            [CLOSED] = {.name = "closed", .fn = on_closed, .size = sizeof(troupe_closed)},
        },
};

/* --- the server --- */

static int server_started(troupe_ctx *ctx, void *self, const void *args)
{
    troupe_listener *listener = self;
    troupe_listen_options options = {.port = *(const uint16_t *)args, .accepted = ACCEPTED};
    int status = troupe_listen(ctx, &options, listener);
    if (status < 0) {
        fprintf(stderr, "echo: cannot listen on port %u: %s\n", options.port, troupe_strerror(status));
        troupe_stop_runtime(ctx, 1);
        return 0;
    }
    fprintf(stderr, "echo: listening on 127.0.0.1:%d\n", troupe_listener_port(ctx, *listener));
    return 0;
}

static void on_accepted(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)self;
    troupe_spawn_options options = {.has_fd = true, .fd = troupe_accepted_take(ctx, msg)};
    if (troupe_addr_is_nobody(troupe_spawn(ctx, &connection, NULL, &options)))
        close(options.fd); /* out of memory: this connection's loss only */
}

static const troupe_behavior server = {
    .name = "server",
    .state_size = sizeof(troupe_listener),
    .args_size = sizeof(uint16_t),
    .started = server_started,
    .handlers = {[ACCEPTED] = {.name = "accepted", .fn = on_accepted, .size = sizeof(troupe_accepted)}},
};

/* --- the command line --- */

static unsigned long number(const char *option, const char *text, unsigned long max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || value > max) {
        fprintf(stderr, "echo: %s takes a number from 0 to %lu, not '%s'\n", option, max, text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"workers", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    troupe_options runtime = {.stop_on_signals = true};
    uint16_t port = 7007;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p':
            port = (uint16_t)number("--port", optarg, 65535);
            break;
        case 'w':
            runtime.workers = (unsigned)number("--workers", optarg, TROUPE_WORKERS_MAX);
            break;
        case 'h':
            puts("usage: echo [--port N] [--workers N]\n"
                 "  --port N     listen on 127.0.0.1:N (default 7007; 0: any free port)\n"
                 "  --workers N  threads (default 0: one per CPU)");
            return 0;
        default:
            fputs("echo: try --help\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "echo: unknown argument %s; try --help\n", argv[optind]);
        return 2;
    }
    return troupe_run(&server, &port, &runtime) == 0 ? 0 : 1;
}
