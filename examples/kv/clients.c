/* SPDX-License-Identifier: Apache-2.0 */
#include "clients.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "request.h"
#include "resp_write.h"

enum { ACCEPTED = KV_CLIENTS_NAMED + 1, LISTEN_AGAIN };

enum { BUCKETS = 4096, LISTEN_TRIES = 40 };

struct client {
    struct client *next; /* in its bucket */
    troupe_addr addr;
    uint64_t id, since_ns;
    char peer[56];
    char name[KV_CLIENT_NAME_MAX];
};

struct clients {
    struct kv_server *server;
    troupe_listener listener;
    uint64_t last_id;
    unsigned count;
    unsigned listen_tries;
    struct client *buckets[BUCKETS]; /* by address: connections end in any order */
};

static struct client **bucket_of(struct clients *c, troupe_addr addr)
{
    return &c->buckets[(addr.bits * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

_Static_assert(BUCKETS == 1 << 12, "the hash keeps 12 bits");

static bool add(troupe_ctx *ctx, struct clients *c, troupe_addr addr, uint64_t id, const char *peer)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        return false;
    client->addr = addr;
    client->id = id;
    client->since_ns = troupe_now(ctx);
    memcpy(client->peer, peer, sizeof client->peer);
    struct client **bucket = bucket_of(c, addr);
    client->next = *bucket;
    *bucket = client;
    c->count++;
    return true;
}

static void child_stopped(troupe_ctx *ctx, void *self, troupe_addr child, troupe_reason reason)
{
    struct clients *c = self;
    (void)ctx, (void)reason;
    for (struct client **at = bucket_of(c, child); *at; at = &(*at)->next)
        if (troupe_addr_same((*at)->addr, child)) {
            struct client *gone = *at;
            *at = gone->next;
            free(gone);
            c->count--;
            return;
        }
}

/* --- accepting --- */

static void refuse(int fd)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    (void)send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* a fresh socket has room for it */
}

static void on_accepted(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct clients *c = self;
    const troupe_accepted *accepted = troupe_payload(msg);
    if (c->count >= c->server->options->max_clients) {
        refuse(accepted->fd);
        return; /* the runtime closes what was not taken */
    }
    struct kv_conn_args args = {.server = c->server, .id = ++c->last_id, .clients = troupe_self(ctx)};
    int fd = troupe_accepted_take(ctx, msg);
    troupe_spawn_options options = {.has_fd = true, .fd = fd};
    troupe_addr conn = troupe_spawn(ctx, &kv_conn_behavior, &args, &options);
    if (troupe_addr_is_nobody(conn)) {
        refuse(fd); /* no memory, or no slot, for one more actor: the others go on */
        close(fd);
        return;
    }
    if (!add(ctx, c, conn, args.id, accepted->peer))
        troupe_stop(ctx, conn);
}

static void on_named(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct clients *c = self;
    const struct kv_client_name *named = troupe_payload(msg);
    (void)ctx;
    for (struct client *client = *bucket_of(c, troupe_sender(msg)); client; client = client->next)
        if (client->id == named->id)
            memcpy(client->name, named->name, sizeof client->name);
}

/* --- CLIENT LIST --- */

static void list(troupe_ctx *ctx, const struct clients *c, struct kv_buf *out)
{
    struct kv_buf text = {0};
    for (unsigned i = 0; i < BUCKETS; i++)
        for (const struct client *client = c->buckets[i]; client; client = client->next) {
            char line[256];
            uint64_t now_ns = troupe_now(ctx); /* of this worker: perhaps a little behind the one that began since_ns */
            uint64_t age_ns = now_ns > client->since_ns ? now_ns - client->since_ns : 0;
            int n = snprintf(line, sizeof line, "id=%" PRIu64 " addr=%s name=%s age=%" PRIu64 " db=0 resp=2\n",
                             client->id, client->peer, client->name, age_ns / TROUPE_SEC(1));
            kv_buf_append(&text, line, (size_t)n);
        }
    out->failed |= text.failed;
    kv_resp_write_bulk(out, kv_slice_of(text.data ? text.data : "", text.len));
    kv_buf_free(&text);
}

static void on_request(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    const struct kv_request *request = troupe_payload(msg);
    struct kv_rope replies = {0};
    struct kv_rope_mark mark = {0};
    struct kv_buf ends = {0};
    uint32_t count = request->count;
    for (uint32_t i = 0; i < count; i++) {
        list(ctx, self, &replies.bytes);
        size_t end = replies.bytes.len;
        kv_buf_append(&ends, &end, sizeof end);
    }
    kv_request_drop(request, troupe_size(msg));
    if (!replies.bytes.failed && !ends.failed)
        kv_replies_send(ctx, msg, &replies, &mark, (const size_t *)(const void *)ends.data, count);
    kv_rope_free(&replies);
    kv_buf_free(&ends);
}

/* --- the incarnation --- */

static void release(void *self)
{
    struct clients *c = self;
    for (unsigned i = 0; i < BUCKETS; i++)
        while (c->buckets[i]) {
            struct client *client = c->buckets[i];
            c->buckets[i] = client->next;
            free(client);
        }
}

/* The kernel closes a killed process's listening socket some milliseconds after the process is gone, when its rings are
 * torn down; a server that is started anew at once waits for that. */
static void open_door(troupe_ctx *ctx, struct clients *c)
{
    const struct kv_options *o = c->server->options;
    troupe_listen_options options = {
        .host = o->host,
        /* after a restart again the port that clients know */
        .port = c->server->port ? c->server->port : (uint16_t)o->port,
        .backlog = 4096,
        .accepted = ACCEPTED,
    };
    int status = troupe_listen(ctx, &options, &c->listener);
    if (status == -EADDRINUSE && c->listen_tries++ < LISTEN_TRIES)
        status = troupe_send_after(ctx, TROUPE_MS(50), troupe_self(ctx), LISTEN_AGAIN, NULL, 0, NULL) == 0 ? 1 : status;
    if (status > 0)
        return;
    if (status < 0) {
        char text[256];
        snprintf(text, sizeof text, "cannot listen on %s port %u: %s", o->host, o->port,
                 status == -EINVAL ? "--host takes a numeric address, such as 127.0.0.1 or ::1"
                                   : troupe_strerror(status));
        kv_server_fail(ctx, text);
        return;
    }
    bool first = c->server->port == 0;
    c->server->port = (uint16_t)troupe_listener_port(ctx, c->listener);
    if (first)
        fprintf(stderr, "kv: ready on %s:%u, %u shards in %s, fsync %s\n", o->host, c->server->port, o->shards, o->dir,
                kv_fsync_name(o->fsync));
}

static void on_listen_again(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    (void)msg;
    open_door(ctx, self);
}

static int started(troupe_ctx *ctx, void *self, const void *args)
{
    struct clients *c = self;
    c->server = *(struct kv_server *const *)args;
    c->server->clients = troupe_self(ctx); /* before there is a connection that reads it */
    int status = troupe_defer(ctx, release, c);
    if (status == 0)
        open_door(ctx, c);
    return status;
}

const troupe_behavior kv_clients_behavior = {
    .name = "clients",
    .state_size = sizeof(struct clients),
    .args_size = sizeof(struct kv_server *),
    .started = started,
    .child_stopped = child_stopped,
    .handlers =
        {
            [KV_REQUEST_KIND] = {.name = "request", .fn = on_request, .size = TROUPE_ANY_SIZE, .drop = kv_request_drop},
            [KV_CLIENTS_NAMED] = {.name = "named", .fn = on_named, .size = sizeof(struct kv_client_name)},
            [ACCEPTED] = {.name = "accepted", .fn = on_accepted, .size = sizeof(troupe_accepted)},
            [LISTEN_AGAIN] = {.name = "listen again", .fn = on_listen_again},
        },
};
