/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients.h"
#include "log.h"
#include "request.h"
#include "shard.h"
#include "split.h"

struct root {
    struct kv_server *server;
};

void kv_server_fail(troupe_ctx *ctx, const char *text)
{
    fprintf(stderr, "kv: %s\n", text);
    troupe_stop_runtime(ctx, 1);
}

void kv_server_dead_letter(void *arg, const troupe_dead_letter *letter)
{
    (void)arg;
    if (letter->kind != KV_REQUEST_KIND)
        return;
    if (letter->reply) {
        kv_replies_drop(letter->payload, letter->size);
        return;
    }
    switch (letter->reason) {
    case TROUPE_DEAD_CRASHED:
    case TROUPE_DEAD_NO_ACTOR:
    case TROUPE_DEAD_MAILBOX_FULL:
        kv_request_drop(letter->payload, letter->size);
        break;
    case TROUPE_DEAD_POISON:
    case TROUPE_DEAD_LATE_REPLY: /* is a reply */
    case TROUPE_DEAD_STOPPED:    /* the handler's drop does it */
    case TROUPE_DEAD_EXPIRED:
    case TROUPE_DEAD_CANCELLED:
    case TROUPE_DEAD_UNHANDLED:
    case TROUPE_DEAD_BAD_SIZE:
    case TROUPE_DEAD_COUNT:
        break;
    }
}

/* --- the data folder --- */

static void close_fd(void *fd)
{
    close((int)(intptr_t)fd);
}

/* One server at a time on a folder: holds a lock until this incarnation ends. 0, or -1 after saying why not. */
static int lock_folder(troupe_ctx *ctx, const char *dir)
{
    char path[512];
    if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "kv: cannot make the folder %s: %s; choose another with --dir\n", dir, strerror(errno));
        return -1;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/lock", dir) >= sizeof path) {
        fprintf(stderr, "kv: the name of the folder is too long: %s\n", dir);
        return -1;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        fprintf(stderr, "kv: cannot open %s: %s; choose another folder with --dir\n", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        fprintf(stderr, "kv: another server uses the folder %s; stop it, or choose another with --dir\n", dir);
        close(fd);
        return -1;
    }
    return troupe_defer(ctx, close_fd, (void *)(intptr_t)fd);
}

/* A log is missing among others that hold data, or there are more than there are shards: somebody lost a file, or asks
 * for another number of shards. Going on would serve a part of the data as if it were all. */
static int check_logs(const struct kv_options *o)
{
    unsigned with_data = 0, missing = 0, first_missing = 0, last = 0;
    for (unsigned i = 0; i < KV_SPLIT_SHARDS_MAX; i++) {
        char path[512];
        struct stat st;
        snprintf(path, sizeof path, "%s/shard-%u.log", o->dir, i);
        if (stat(path, &st) == 0) {
            with_data += st.st_size > KV_LOG_HEADER_SIZE;
            last = i;
        } else if (i < o->shards && missing++ == 0) {
            first_missing = i;
        }
    }
    if (with_data == 0 || (missing == 0 && last < o->shards))
        return 0;
    if (last >= o->shards)
        fprintf(stderr, "kv: %s holds the logs of more than %u shards; start with --shards %u\n", o->dir, o->shards,
                last + 1);
    else
        fprintf(
            stderr,
            "kv: %s/shard-%u.log is missing among others that hold data; put it back, or, if the folder was written by "
            "a server of %u shards, start with --shards %u\n",
            o->dir, first_missing, last + 1, last + 1);
    return -1;
}

/* --- the tree --- */

static int started(troupe_ctx *ctx, void *self, const void *args)
{
    struct root *root = self;
    root->server = *(struct kv_server *const *)args;
    root->server->started_ns = troupe_now(ctx);
    if (lock_folder(ctx, root->server->options->dir) < 0 || check_logs(root->server->options) < 0)
        troupe_stop_runtime(ctx, 1);
    return 0;
}

static unsigned shards_count(troupe_ctx *ctx, void *self)
{
    (void)ctx;
    return ((const struct root *)self)->server->options->shards;
}

static void make_shard_args(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    (void)ctx;
    *(struct kv_shard_args *)args = (struct kv_shard_args){((const struct root *)self)->server, number};
}

/* All shards have their data by now: they hold their mailboxes until then. */
static void make_clients_args(troupe_ctx *ctx, void *self, unsigned number, void *args)
{
    struct kv_server *server = ((const struct root *)self)->server;
    (void)number;
    for (unsigned i = 0; i < server->options->shards; i++)
        server->shards[i] = troupe_child_at(ctx, i);
    *(struct kv_server **)args = server;
}

static const troupe_child children[] = {
    {.behavior = &kv_shard_behavior, .make_count = shards_count, .make_args = make_shard_args, .together = true},
    {.behavior = &kv_clients_behavior, .make_args = make_clients_args},
    {0},
};

/* Whatever crashes, however often: the server goes on with the rest, and tries again with a fresh window. */
static troupe_verdict child_escalated(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    (void)ctx, (void)self;
    fprintf(stderr, "kv: %s crashes again and again (%s), trying on\n", crash->behavior, crash->text);
    return TROUPE_VERDICT_RESTART_CHILD;
}

const troupe_behavior kv_server_behavior = {
    .name = "server",
    .state_size = sizeof(struct root),
    .args_size = sizeof(struct kv_server *),
    .started = started,
    .child_escalated = child_escalated,
    .children = {.declared = children},
};
