/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "apply.h"
#include "journal.h"
#include "replay.h"
#include "request.h"
#include "resp.h"
#include "resp_write.h"

enum { COMMIT = KV_REQUEST_KIND + 1, FILE_DONE, SYNC_DUE, EXPIRE_DUE };

#define REPLAY_CHUNK ((size_t)1 << 20)
#define EXPIRE_BATCH 200
#define REAP_PER_REQUEST 4
#define TRIM_MIN ((size_t)64 << 10) /* bytes of replies already sent that are worth a move of the others */

/* A request that has been executed and waits for the log. */
struct waiting {
    troupe_msg *msg;
    uint64_t position; /* replied to when the log's acked reaches this */
    uint32_t count;    /* replies, in the shard's replies and ends */
};

/* A queue of struct waiting in one buffer. */
struct queue {
    struct kv_buf items;
    size_t first; /* bytes */
};

/* State of one incarnation. What it owns beyond the runtime's is released by release(), deferred in started. */
struct shard {
    const struct kv_server *server;
    struct kv_apply apply;
    struct kv_journal journal;
    struct kv_replay replay;
    troupe_file file; /* while the log is read back */
    uint64_t read_offset;
    bool loading;
    bool commit_sent;     /* a COMMIT message is in the mailbox */
    int64_t expire_armed; /* unix ms of the armed EXPIRE_DUE, KV_NEVER if none */
    troupe_timer expire_timer;
    struct queue waiting;   /* executed, and not yet safe */
    struct kv_rope replies; /* of the waiting ones, in order */
    struct kv_rope_mark taken;
    struct kv_buf ends; /* size_t each: where in replies.bytes a reply ends */
    size_t ends_taken;  /* bytes */
};

static int64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the queue of those who wait --- */

static bool queue_push(struct queue *q, struct waiting item)
{
    if (2 * q->first >= q->items.len) { /* not only when it is empty: under load it never is */
        kv_buf_drop_front(&q->items, q->first);
        q->first = 0;
    }
    return kv_buf_append(&q->items, &item, sizeof item);
}

static struct waiting *queue_first(const struct queue *q)
{
    return q->first < q->items.len ? (struct waiting *)(void *)(q->items.data + q->first) : NULL;
}

static void queue_pop(struct queue *q)
{
    q->first += sizeof(struct waiting);
}

/* --- replies --- */

static size_t *next_ends(const struct shard *s)
{
    return (size_t *)(void *)(s->ends.data + s->ends_taken);
}

/* Under load there is always somebody who waits, so what has been taken goes also when it is the greater part. */
static bool replies_worth_trimming(const struct shard *s)
{
    return (s->taken.at >= TRIM_MIN && 2 * s->taken.at >= s->replies.bytes.len) ||
           (s->ends_taken >= TRIM_MIN && 2 * s->ends_taken >= s->ends.len);
}

static void replies_trim(troupe_ctx *ctx, struct shard *s)
{
    struct kv_rope rest = {0};
    size_t base = s->taken.at;
    kv_rope_move_part(&rest, &s->replies, &s->taken, s->replies.bytes.len);
    kv_rope_free(&s->replies);
    s->replies = rest;
    s->taken = (struct kv_rope_mark){0};
    kv_buf_drop_front(&s->ends, s->ends_taken);
    s->ends_taken = 0;
    for (size_t i = 0; i < s->ends.len / sizeof(size_t); i++)
        next_ends(s)[i] -= base;
    if (rest.bytes.failed)
        troupe_panic(ctx, "out of memory for replies");
}

static void replies_forget_taken(troupe_ctx *ctx, struct shard *s)
{
    if (s->ends_taken < s->ends.len) {
        if (replies_worth_trimming(s))
            replies_trim(ctx, s);
        return;
    }
    kv_rope_clear(&s->replies);
    kv_buf_clear(&s->ends);
    s->taken = (struct kv_rope_mark){0};
    s->ends_taken = 0;
}

static void reply(troupe_ctx *ctx, struct shard *s, const troupe_msg *msg, uint32_t count)
{
    if (kv_replies_send(ctx, msg, &s->replies, &s->taken, next_ends(s), count) == -ENOMEM)
        troupe_panic(ctx, "out of memory for a reply");
    s->ends_taken += count * sizeof(size_t);
}

/* Replies to all whose records the log has acknowledged, in order. */
static void reply_to_acked(troupe_ctx *ctx, struct shard *s)
{
    for (struct waiting *w; (w = queue_first(&s->waiting)) && w->position <= s->journal.acked;) {
        struct waiting item = *w;
        queue_pop(&s->waiting);
        reply(ctx, s, item.msg, item.count);
    }
    replies_forget_taken(ctx, s);
}

/* --- executing --- */

static void panic_if_log_failed(troupe_ctx *ctx, struct shard *s)
{
    const struct kv_journal *j = &s->journal;
    if (j->state != KV_JOURNAL_FAILED)
        return;
    char text[700];
    snprintf(text, sizeof text, "%s of %s failed: %s", j->failed_at, j->path, troupe_strerror(j->error));
    if (j->disk_unknown) /* going on could lose what was acknowledged */
        kv_server_fail(ctx, text);
    troupe_panic(ctx, "%s", text); /* memory is ahead of the log: begin again from the log */
}

static void sink(void *ctx, const struct kv_log_record *effect)
{
    kv_journal_append(&((struct shard *)ctx)->journal, effect);
}

static void facts(const struct shard *s, struct kv_rope *out)
{
    struct kv_keyspace_stats stats = kv_keyspace_stats(s->apply.keys);
    struct kv_shard_facts facts = {
        .keys = stats.keys,
        .deadlines = stats.deadlines,
        .bytes = stats.bytes,
        .log_bytes = s->journal.place.offset,
        .log_rewrites = s->journal.rewrites,
    };
    kv_buf_append(&out->bytes, &facts, sizeof facts);
}

static void execute_one(troupe_ctx *ctx, struct shard *s, unsigned id, const struct kv_slice *argv, size_t argc)
{
    if (id == KV_DEBUG)
        troupe_panic(ctx, "DEBUG PANIC by a client");
    else if (id == KV_INFO)
        facts(s, &s->replies);
    else
        kv_apply_command(&s->apply, (enum kv_command_id)id, argv, argc, &s->replies);
    size_t end = s->replies.bytes.len;
    if (s->replies.bytes.failed || !kv_buf_append(&s->ends, &end, sizeof end))
        troupe_panic(ctx, "out of memory for replies");
}

static void arm_expiry(troupe_ctx *ctx, struct shard *s)
{
    int64_t next = kv_keyspace_next_deadline(s->apply.keys);
    if (next >= s->expire_armed)
        return; /* an earlier or equal one is armed; one that comes too early is harmless */
    int64_t wait = next - unix_ms();
    troupe_timer_cancel(ctx, s->expire_timer); /* one at a time, or each would beget others */
    int status =
        troupe_send_after(ctx, wait > 0 ? TROUPE_MS(wait) : 0, troupe_self(ctx), EXPIRE_DUE, NULL, 0, &s->expire_timer);
    s->expire_armed = status == 0 ? next : KV_NEVER;
}

/* What has been executed since the last commit goes to the log together: COMMIT queues up behind the requests that are
 * already in the mailbox, so it closes a group of all of them. */
static void commit_later(troupe_ctx *ctx, struct shard *s)
{
    if (s->commit_sent || s->journal.state != KV_JOURNAL_QUIET)
        return;
    s->commit_sent = troupe_tell(ctx, troupe_self(ctx), COMMIT, NULL, 0) == 0;
}

static void execute(troupe_ctx *ctx, struct shard *s, const troupe_msg *msg)
{
    const struct kv_request *request = troupe_payload(msg);
    const struct kv_request_command *commands = kv_request_commands(request);
    const struct kv_slice *argv = kv_request_args(request);
    uint32_t count = request->count;
    s->apply.now_ms = unix_ms();
    for (uint32_t i = 0; i < count; argv += commands[i].argc, i++)
        execute_one(ctx, s, commands[i].id, argv, commands[i].argc);
    kv_request_drop(request, troupe_size(msg));
    kv_keyspace_reap(s->apply.keys, REAP_PER_REQUEST);
    arm_expiry(ctx, s);
    uint64_t position = s->journal.appended;
    if (position > s->journal.acked)
        commit_later(ctx, s);
    if (!queue_first(&s->waiting) && position <= s->journal.acked) {
        reply(ctx, s, msg, count);
        replies_forget_taken(ctx, s);
        return;
    }
    troupe_msg *waiter = troupe_keep(ctx, msg);
    if (!waiter || !queue_push(&s->waiting, (struct waiting){waiter, position, count}))
        troupe_panic(ctx, "out of memory for a request that waits");
}

static void on_request(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    execute(ctx, self, msg);
}

static void on_commit(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct shard *s = self;
    (void)msg;
    s->commit_sent = false;
    kv_journal_commit(ctx, &s->journal);
    panic_if_log_failed(ctx, s);
}

static void on_sync_due(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct shard *s = self;
    (void)msg;
    kv_journal_sync_due(ctx, &s->journal);
    panic_if_log_failed(ctx, s);
}

static void on_expire_due(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct shard *s = self;
    (void)msg;
    s->expire_armed = KV_NEVER;
    s->apply.now_ms = unix_ms();
    kv_apply_due(&s->apply, EXPIRE_BATCH);
    arm_expiry(ctx, s);
    commit_later(ctx, s);
}

/* --- reading the log back --- */

static bool replay_one(void *keys, const struct kv_log_record *record)
{
    return kv_apply_record(keys, record);
}

static void refuse(troupe_ctx *ctx, const char *text)
{
    kv_server_fail(ctx, text);
    troupe_stop_self(ctx);
}

/* The log has been read: its place if it can be written on, after cutting a torn tail. */
static bool settle_end(troupe_ctx *ctx, struct shard *s, const struct kv_replay_result *result, bool *fresh)
{
    char text[1024];
    kv_replay_describe(result, s->journal.path, text, sizeof text);
    *fresh = result->valid == 0;
    switch (result->end) {
    case KV_REPLAY_EMPTY:
    case KV_REPLAY_CLEAN:
        return true;
    case KV_REPLAY_TORN:
        if (troupe_incarnation(ctx) == 1) /* later ones cut what the crash before them left */
            fprintf(stderr, "kv: warning: %s\n", text);
        int status = troupe_file_truncate(ctx, s->file, result->valid);
        if (status == 0)
            return true;
        snprintf(text, sizeof text, "cannot cut %s: %s", s->journal.path, troupe_strerror(status));
        break;
    case KV_REPLAY_STOPPED:
    case KV_REPLAY_NOMEM:
        snprintf(text, sizeof text, "out of memory while reading %s: give the machine more", s->journal.path);
        break;
    case KV_REPLAY_CORRUPT:
    case KV_REPLAY_FOREIGN:
        break;
    }
    refuse(ctx, text);
    return false;
}

static void loaded(troupe_ctx *ctx, struct shard *s)
{
    struct kv_replay_result result = kv_replay_finish(&s->replay);
    bool fresh;
    if (!settle_end(ctx, s, &result, &fresh))
        return;
    int status = kv_journal_open(ctx, &s->journal, s->file, result.place, fresh);
    if (status < 0)
        troupe_panic(ctx, "cannot go on with %s: %s", s->journal.path, troupe_strerror(status));
    s->loading = false;
    arm_expiry(ctx, s);
    kv_journal_commit(ctx, &s->journal); /* a fresh log's header */
    troupe_unhold(ctx);
}

static void read_on(troupe_ctx *ctx, struct shard *s)
{
    int status = troupe_file_read(ctx, s->file, s->read_offset, REPLAY_CHUNK, 0);
    if (status < 0)
        troupe_panic(ctx, "cannot read %s: %s", s->journal.path, troupe_strerror(status));
}

static void on_chunk(troupe_ctx *ctx, struct shard *s, const troupe_file_done *done)
{
    if (done->status < 0)
        troupe_panic(ctx, "cannot read %s: %s", s->journal.path, troupe_strerror(done->status));
    s->read_offset += done->length;
    if (done->length == 0 || !kv_replay_feed(&s->replay, done->bytes, done->length))
        loaded(ctx, s);
    else
        read_on(ctx, s);
}

static void on_file_done(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct shard *s = self;
    const troupe_file_done *done = troupe_payload(msg);
    if (s->loading) {
        on_chunk(ctx, s, done);
        return;
    }
    kv_journal_done(ctx, &s->journal, done);
    panic_if_log_failed(ctx, s);
    reply_to_acked(ctx, s);
}

/* --- the incarnation --- */

static void release(void *arg)
{
    struct shard *s = arg;
    if (s->loading)
        kv_replay_finish(&s->replay);
    kv_keyspace_destroy(s->apply.keys);
    kv_journal_free(&s->journal);
    kv_rope_free(&s->replies);
    kv_buf_free(&s->ends);
    kv_buf_free(&s->waiting.items);
}

static int begin(troupe_ctx *ctx, struct shard *s, unsigned index)
{
    const struct kv_options *o = s->server->options;
    uint64_t seed[2];
    if (getrandom(seed, sizeof seed, 0) != sizeof seed || !(s->apply.keys = kv_keyspace_create(seed)))
        return -ENOMEM;
    s->apply.memory_limit = o->max_memory / o->shards;
    s->apply.value_max = kv_resp_limits_default.bulk_max;
    s->apply.sink = sink;
    s->apply.sink_ctx = s;
    s->expire_armed = KV_NEVER;
    s->journal.fsync = o->fsync;
    s->journal.done_kind = FILE_DONE;
    s->journal.sync_kind = SYNC_DUE;
    s->journal.shard = index;
    s->journal.shards = o->shards;
    s->journal.dir = o->dir;
    s->journal.keys = s->apply.keys;
    if (!kv_journal_paths(&s->journal))
        return -ENAMETOOLONG;
    unlink(s->journal.new_path); /* of a rewrite that a crash cut short */
    return troupe_file_open(ctx, s->journal.path, O_RDWR | O_CREAT, 0644, FILE_DONE, &s->file);
}

static int started(troupe_ctx *ctx, void *self, const void *arg)
{
    const struct kv_shard_args *args = arg;
    struct shard *s = self;
    s->server = args->server;
    s->loading = true;
    kv_replay_init(&s->replay, args->index, s->server->options->shards, replay_one, NULL);
    int status = troupe_defer(ctx, release, s);
    if (status == 0)
        status = begin(ctx, s, args->index);
    if (status < 0) {
        char text[700];
        snprintf(text, sizeof text, "cannot open %s: %s", s->journal.path, troupe_strerror(status));
        refuse(ctx, text); /* trying again would not help */
        return 0;
    }
    s->replay.ctx = s->apply.keys;
    troupe_hold(ctx); /* requests wait in the mailbox until the log has been read back */
    read_on(ctx, s);
    return 0;
}

static void refuse_one(troupe_ctx *ctx, const struct waiting *w, const char *text)
{
    struct kv_rope replies = {0};
    struct kv_rope_mark mark = {0};
    struct kv_buf ends = {0};
    for (uint32_t i = 0; i < w->count; i++) {
        kv_resp_write_error(&replies.bytes, text);
        kv_buf_append(&ends, &replies.bytes.len, sizeof replies.bytes.len);
    }
    if (!replies.bytes.failed && !ends.failed) /* else the runtime tells that this shard crashed */
        kv_replies_send(ctx, w->msg, &replies, &mark, (const size_t *)(const void *)ends.data, w->count);
    kv_rope_free(&replies);
    kv_buf_free(&ends);
}

/* The disk is full, or the like: those who wait for the log learn why they get no more than this. */
static void refuse_waiting(troupe_ctx *ctx, struct shard *s, int error)
{
    char text[256];
    snprintf(text, sizeof text, "ERR the log cannot be written: %s; whether this command took effect is unknown",
             troupe_strerror(error));
    for (struct waiting *w; (w = queue_first(&s->waiting)); queue_pop(&s->waiting))
        refuse_one(ctx, w, text);
}

/* What was executed before the crash is brought to the log, so that those who wait for it get their replies: a crash
 * costs the request that caused it, no other. */
static void crashed(troupe_ctx *ctx, void *self, const troupe_crash *crash)
{
    struct shard *s = self;
    (void)crash;
    if (s->loading)
        return;
    int status = kv_journal_salvage(&s->journal);
    if (status == 0)
        reply_to_acked(ctx, s);
    else
        refuse_waiting(ctx, s, s->journal.state == KV_JOURNAL_FAILED ? s->journal.error : status);
}

static void stopped(troupe_ctx *ctx, void *self, troupe_reason reason)
{
    struct shard *s = self;
    (void)reason;
    if (!s->loading)
        kv_journal_stop(ctx, &s->journal);
}

const troupe_behavior kv_shard_behavior = {
    .name = "shard",
    .state_size = sizeof(struct shard),
    .args_size = sizeof(struct kv_shard_args),
    .started = started,
    .crashed = crashed,
    .stopped = stopped,
    /* One bad request costs a millisecond; a disk that stays full is tried again about once a second. */
    .supervision = {.restarts = TROUPE_RESTARTS_MAX,
                    .window_ns = TROUPE_SEC(1),
                    .backoff = {.initial_ns = TROUPE_MS(1), .max_ns = TROUPE_SEC(1), .healthy_ns = TROUPE_MS(100)}},
    .handlers =
        {
            [KV_REQUEST_KIND] = {.name = "request", .fn = on_request, .size = TROUPE_ANY_SIZE, .drop = kv_request_drop},
            [COMMIT] = {.name = "commit", .fn = on_commit},
            [FILE_DONE] = {.name = "file done", .fn = on_file_done, .size = sizeof(troupe_file_done)},
            [SYNC_DUE] = {.name = "sync due", .fn = on_sync_due},
            [EXPIRE_DUE] = {.name = "expire due", .fn = on_expire_due},
        },
};
