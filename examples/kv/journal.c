/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "apply.h"

enum tag { TAG_WRITE, TAG_SYNC, TAG_NEW_WRITE, TAG_NEW_SYNC, TAG_DIR_SYNC };

#define REWRITE_MIN ((uint64_t)4 << 20)   /* bytes below which a log is left alone */
#define REWRITE_CHUNK ((size_t)256 << 10) /* bytes of entries written at a time */

bool kv_journal_paths(struct kv_journal *j)
{
    int n = snprintf(j->path, sizeof j->path, "%s/shard-%u.log", j->dir, j->shard);
    int m = snprintf(j->new_path, sizeof j->new_path, "%s/shard-%u.log.new", j->dir, j->shard);
    return n > 0 && m > 0 && (size_t)m < sizeof j->new_path;
}

/* The one place where the state is assigned. */
static void become(struct kv_journal *j, enum kv_journal_state state)
{
    j->state = state;
}

static void fail(struct kv_journal *j, int error, const char *at)
{
    if (j->state == KV_JOURNAL_FAILED)
        return;
    j->error = error;
    j->failed_at = at;
    become(j, KV_JOURNAL_FAILED);
}

static void fail_sync(struct kv_journal *j, int error, const char *at)
{
    fail(j, error, at);
    j->disk_unknown = true;
}

/* --- writing a rope --- */

/* A rope on its way to the disk, and how many writes still read it; the last one's release frees it. */
struct kv_outgoing {
    struct kv_rope rope;
    unsigned holders;
};

static void outgoing_release(void *arg)
{
    struct kv_outgoing *out = arg;
    if (--out->holders > 0)
        return;
    kv_rope_free(&out->rope);
    free(out);
}

/* Writes all of rope at offset, in as many pieces as it has runs of memory. rope is empty afterwards. keep, if not
 * NULL, gets what is under way, to be given up with outgoing_release. Returns the number of pieces, or -errno: what was
 * begun then still completes. */
static int write_rope(troupe_ctx *ctx, troupe_file file, uint64_t offset, struct kv_rope *rope, uint64_t tag,
                      struct kv_outgoing **keep)
{
    struct kv_outgoing *out = rope->bytes.failed ? NULL : malloc(sizeof *out);
    if (!out)
        return -ENOMEM;
    *out = (struct kv_outgoing){.rope = *rope, .holders = 1};
    *rope = (struct kv_rope){0};
    size_t piece = 0;
    int pieces = 0, status = 0;
    struct kv_slice slice;
    while (status == 0 && kv_rope_slices(&out->rope, &piece, &slice, 1) == 1) {
        status = troupe_file_write(ctx, file, offset, slice.ptr, slice.len, outgoing_release, out, tag);
        out->holders += status == 0;
        pieces += status == 0;
        offset += slice.len;
    }
    if (keep)
        *keep = out;
    else
        outgoing_release(out);
    return status < 0 ? status : pieces;
}

/* Is there something to write, or a failure to be noticed in writing? */
static bool rope_due(const struct kv_rope *rope)
{
    return rope->bytes.failed || kv_rope_size(rope) > 0;
}

/* Where the first byte of rope goes, when place is where the next record goes. */
static uint64_t start_of(const struct kv_log_place *place, const struct kv_rope *rope)
{
    return place->offset - kv_rope_size(rope);
}

/* --- groups --- */

/* The log's name may be younger than the last sync of its folder: it is new, or a crash followed the rename of a
 * rewrite. No record is safe before its file's name is. Blocks, once per incarnation. */
static int sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return status;
}

static void arm_sync(troupe_ctx *ctx, struct kv_journal *j)
{
    j->dirty = true;
    if (j->fsync != KV_FSYNC_EVERYSEC || j->sync_armed)
        return;
    j->sync_armed = troupe_send_after(ctx, TROUPE_SEC(1), troupe_self(ctx), j->sync_kind, NULL, 0, NULL) == 0;
}

int kv_journal_open(troupe_ctx *ctx, struct kv_journal *j, troupe_file file, struct kv_log_place place, bool fresh)
{
    j->file = file;
    j->place = place;
    /* About what a rewriting would write, or a shard that restarts often would never see its log double. */
    j->rewritten_size = kv_keyspace_bytes(j->keys) < place.offset ? kv_keyspace_bytes(j->keys) : place.offset;
    arm_sync(ctx, j); /* for what a crashed predecessor wrote last */
    int status = sync_folder(j->dir);
    if (status < 0 || !fresh)
        return status;
    struct kv_log_header header = {.shard = j->shard, .shards = j->shards};
    if (getrandom(&header.generation, sizeof header.generation, 0) != sizeof header.generation)
        return -EIO;
    j->place = kv_log_begin(&header, &j->pending.bytes);
    return j->pending.bytes.failed ? -ENOMEM : 0;
}

void kv_journal_append(struct kv_journal *j, const struct kv_log_record *record)
{
    kv_log_write(&j->place, record, &j->pending);
    if (j->rewrite.step != KV_REWRITE_NONE)
        kv_log_write(&j->rewrite.place, record, &j->rewrite.rope);
    j->appended++;
}

static void group_over(struct kv_journal *j)
{
    j->acked = j->group;
    become(j, KV_JOURNAL_QUIET);
}

static void landed(struct kv_journal *j)
{
    if (j->flying)
        outgoing_release(j->flying);
    j->flying = NULL;
}

static void group_written(troupe_ctx *ctx, struct kv_journal *j)
{
    landed(j);
    if (j->fsync == KV_FSYNC_ALWAYS) {
        become(j, KV_JOURNAL_SYNCING);
        int status = troupe_file_sync(ctx, j->file, TAG_SYNC);
        if (status < 0)
            fail_sync(j, status, "sync");
        return;
    }
    arm_sync(ctx, j);
    group_over(j);
}

static void group_begin(troupe_ctx *ctx, struct kv_journal *j)
{
    j->group = j->appended;
    become(j, KV_JOURNAL_WRITING);
    j->flying_at = start_of(&j->place, &j->pending);
    int pieces = write_rope(ctx, j->file, j->flying_at, &j->pending, TAG_WRITE, &j->flying);
    if (pieces < 0)
        fail(j, pieces, "write");
    else
        j->pieces = (unsigned)pieces;
}

/* While a rewrite turns the old file gets no sync: it would come back, if at all, to a file that is no longer ours, and
 * the new file's sync covers the same records. What is dirty when a sync comes back waits for the next. */
void kv_journal_sync_due(troupe_ctx *ctx, struct kv_journal *j)
{
    j->sync_armed = false;
    if (!j->dirty || j->sync_flying || j->rewrite.step > KV_REWRITE_WALKING || j->state == KV_JOURNAL_FAILED)
        return;
    j->dirty = false;
    int status = troupe_file_sync(ctx, j->file, TAG_SYNC);
    if (status < 0)
        fail_sync(j, status, "sync");
    else
        j->sync_flying = true;
}

void kv_journal_stop(troupe_ctx *ctx, struct kv_journal *j)
{
    if (j->dirty && j->state != KV_JOURNAL_FAILED)
        troupe_file_sync(ctx, j->file, TAG_SYNC);
}

/* --- after a crash --- */

static int write_now(int fd, uint64_t offset, const struct kv_rope *rope)
{
    size_t piece = 0;
    struct kv_slice slice;
    while (kv_rope_slices(rope, &piece, &slice, 1) == 1) {
        for (size_t done = 0; done < slice.len;) {
            ssize_t n = pwrite(fd, slice.ptr + done, slice.len - done, (off_t)(offset + done));
            if (n <= 0 && errno != EINTR)
                return n < 0 ? -errno : -EIO;
            done += n > 0 ? (size_t)n : 0;
        }
        offset += slice.len;
    }
    return 0;
}

/* The group in flight once more, as its result is not known: the same bytes to the same place; then what is pending.
 * From the rename of a rewrite on the log is the new file, and the old one's pending records are in its rope as
 * well. */
int kv_journal_salvage(struct kv_journal *j)
{
    bool turned = j->rewrite.step == KV_REWRITE_SYNCING_DIR, always = j->fsync == KV_FSYNC_ALWAYS;
    const struct kv_rope *rest = turned ? &j->rewrite.rope : &j->pending;
    if (j->state == KV_JOURNAL_FAILED || rest->bytes.failed)
        return -EIO;
    int fd = open(j->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = j->flying ? write_now(fd, j->flying_at, &j->flying->rope) : 0;
    if (status == 0)
        status = write_now(fd, start_of(turned ? &j->rewrite.place : &j->place, rest), rest);
    if (status == 0 && always && fdatasync(fd) < 0)
        status = -errno;
    if (status == 0 && always && turned)
        status = sync_folder(j->dir);
    close(fd);
    if (status == 0)
        j->acked = j->appended;
    return status;
}

/* --- rewriting --- */

static void rewrite_write(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    int pieces = write_rope(ctx, r->file, start_of(&r->place, &r->rope), &r->rope, TAG_NEW_WRITE, NULL);
    if (pieces < 0)
        fail(j, pieces, "write of the new log");
    else
        r->pieces = (unsigned)pieces;
}

static void visit(void *ctx, const struct kv_entry *entry)
{
    struct kv_journal *j = ctx;
    struct kv_log_record record = kv_apply_snapshot(j->keys, entry);
    kv_log_write(&j->rewrite.place, &record, &j->rewrite.rope);
}

static void walk_on(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    uint64_t until = r->place.offset + REWRITE_CHUNK; /* on top of the effects, or these would starve the walk */
    while (!r->walked && !r->rope.bytes.failed && r->place.offset < until)
        r->walked = !kv_keyspace_walk(j->keys, &r->walk, visit, j);
    if (rope_due(&r->rope))
        rewrite_write(ctx, j);
}

/* Out of the way of commands: a rewrite that cannot begin leaves the old log as it is, and tries again when it has
 * grown by the same amount once more. */
static void rewrite_begin(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    *r = (struct kv_rewrite){0};
    j->rewritten_size = j->place.offset;
    struct kv_log_header header = {.shard = j->shard, .shards = j->shards};
    if (getrandom(&header.generation, sizeof header.generation, 0) != sizeof header.generation)
        return;
    int status = troupe_file_open(ctx, j->new_path, O_RDWR | O_CREAT | O_TRUNC, 0644, j->done_kind, &r->file);
    if (status < 0) {
        fprintf(stderr, "kv: cannot begin to rewrite %s: %s\n", j->path, troupe_strerror(status));
        return;
    }
    r->step = KV_REWRITE_WALKING;
    r->place = kv_log_begin(&header, &r->rope.bytes);
    walk_on(ctx, j);
}

/* Both files are at rest: the old one's groups are over, the new one has everything but what is in rope. */
static void turn(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    r->step = KV_REWRITE_TURNING;
    r->covers = j->appended;
    if (rope_due(&r->rope)) {
        rewrite_write(ctx, j);
        return;
    }
    r->step = KV_REWRITE_SYNCING_FILE;
    int status = troupe_file_sync(ctx, r->file, TAG_NEW_SYNC);
    if (status < 0)
        fail_sync(j, status, "sync of the new log");
}

static void turn_synced(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    int status = rename(j->new_path, j->path) < 0 ? -errno : 0;
    if (status == 0)
        status = troupe_file_open(ctx, j->dir, O_RDONLY | O_DIRECTORY, 0, j->done_kind, &r->dir);
    if (status == 0)
        status = troupe_file_sync(ctx, r->dir, TAG_DIR_SYNC);
    if (status < 0)
        fail(j, status, "rename of the new log");
    else
        r->step = KV_REWRITE_SYNCING_DIR;
}

/* The new log is the log: what is pending for the old one is in the new one's rope as well. */
static void turned(troupe_ctx *ctx, struct kv_journal *j)
{
    struct kv_rewrite *r = &j->rewrite;
    troupe_file_close(ctx, j->file);
    troupe_file_close(ctx, r->dir);
    kv_rope_free(&j->pending);
    j->file = r->file;
    j->place = r->place;
    j->pending = r->rope;
    j->acked = r->covers;
    j->rewritten_size = j->place.offset;
    j->rewrites++;
    j->dirty = false;
    *r = (struct kv_rewrite){0};
}

static bool rewrite_wanted(const struct kv_journal *j)
{
    uint64_t size = j->place.offset;
    return j->rewrite.step == KV_REWRITE_NONE && size >= REWRITE_MIN && size / 2 >= j->rewritten_size;
}

/* --- moving on --- */

void kv_journal_commit(troupe_ctx *ctx, struct kv_journal *j)
{
    if (j->state != KV_JOURNAL_QUIET)
        return;
    struct kv_rewrite *r = &j->rewrite;
    if (rewrite_wanted(j))
        rewrite_begin(ctx, j);
    if (r->step == KV_REWRITE_WALKING && r->walked && r->pieces == 0 && !j->sync_flying)
        turn(ctx, j);
    else if (r->step <= KV_REWRITE_WALKING && rope_due(&j->pending))
        group_begin(ctx, j);
}

static void advance(troupe_ctx *ctx, struct kv_journal *j, enum tag tag)
{
    struct kv_rewrite *r = &j->rewrite;
    switch (tag) {
    case TAG_WRITE:
        if (--j->pieces == 0)
            group_written(ctx, j);
        break;
    case TAG_SYNC:
        if (j->state == KV_JOURNAL_SYNCING)
            group_over(j);
        j->sync_flying = false;
        if (j->dirty)
            arm_sync(ctx, j); /* the timer may have come while this sync was out */
        break;
    case TAG_NEW_WRITE:
        if (--r->pieces > 0)
            break;
        if (r->step == KV_REWRITE_WALKING && !r->walked)
            walk_on(ctx, j);
        else if (r->step == KV_REWRITE_TURNING)
            turn(ctx, j);
        break;
    case TAG_NEW_SYNC:
        turn_synced(ctx, j);
        break;
    case TAG_DIR_SYNC:
        turned(ctx, j);
        break;
    }
}

static const char *const what[] = {
    [TAG_WRITE] = "write",
    [TAG_SYNC] = "sync",
    [TAG_NEW_WRITE] = "write of the new log",
    [TAG_NEW_SYNC] = "sync of the new log",
    [TAG_DIR_SYNC] = "sync of the folder",
};

void kv_journal_done(troupe_ctx *ctx, struct kv_journal *j, const troupe_file_done *done)
{
    enum tag tag = (enum tag)done->tag;
    if (done->status < 0 && (tag == TAG_WRITE || tag == TAG_NEW_WRITE))
        fail(j, done->status, what[tag]);
    else if (done->status < 0)
        fail_sync(j, done->status, what[tag]);
    if (j->state == KV_JOURNAL_FAILED)
        return;
    advance(ctx, j, tag);
    kv_journal_commit(ctx, j);
}

void kv_journal_free(struct kv_journal *j)
{
    landed(j);
    kv_rope_free(&j->pending);
    kv_rope_free(&j->rewrite.rope);
}
