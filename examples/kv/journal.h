/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a shard's log file while the shard runs: writes records in groups, makes them durable as the options say,
 * rewrites the log when it has doubled. One shard's actor may call it.
 * It is not the format (log.h), not the reading back (replay.h), and does not know what waits for a record. */
#ifndef KV_JOURNAL_H
#define KV_JOURNAL_H

#include <troupe/troupe.h>

#include "keyspace.h"
#include "log.h"
#include "options.h"
#include "rope.h"

/* States of the log; assigned by `become` alone.
 *
 *   QUIET    nothing is under way
 *   WRITING  a group is being written (and, with fsync always, then SYNCING)
 *   SYNCING  the group is being made durable
 *   FAILED   an operation on a file has failed: nothing is acknowledged any more
 *
 * A group is everything appended since the last one began; acked moves to its end when it is over.
 *
 * Rewriting runs beside it. Steps: NONE -> WALKING (the entries, and every effect that happens meanwhile, go to a
 * second file) -> TURNING (no more groups on the old file; the rest is written) -> SYNCING_FILE (and then renamed over
 * the old one) -> SYNCING_DIR (the folder, which holds the name) -> NONE. Until the rename the old file holds all that
 * was acknowledged; at the rename the new one does, durably; so whichever is found after a crash is right. */
enum kv_journal_state { KV_JOURNAL_QUIET, KV_JOURNAL_WRITING, KV_JOURNAL_SYNCING, KV_JOURNAL_FAILED };
enum kv_rewrite_step {
    KV_REWRITE_NONE,
    KV_REWRITE_WALKING,
    KV_REWRITE_TURNING, /* the last group for the new file is being written */
    KV_REWRITE_SYNCING_FILE,
    KV_REWRITE_SYNCING_DIR,
};

struct kv_rewrite {
    enum kv_rewrite_step step;
    troupe_file file, dir;
    struct kv_log_place place;
    struct kv_rope rope; /* encoded for the new file, not yet submitted */
    kv_walk walk;
    bool walked;     /* every entry has been visited */
    uint64_t covers; /* TURNING and later: `appended` up to which the new file is complete */
    unsigned pieces; /* writes in flight on the new file */
};

struct kv_outgoing; /* a group on its way to the disk, see journal.c */

struct kv_journal {
    enum kv_journal_state state;
    enum kv_fsync fsync;
    unsigned done_kind; /* of the owner's message for file results */
    unsigned sync_kind; /* of the owner's message for the everysec timer */
    unsigned shard, shards;
    const char *dir;
    char path[512], new_path[512];
    troupe_file file;
    struct kv_log_place place;    /* of the next record in file */
    struct kv_rope pending;       /* encoded for file, not yet submitted */
    struct kv_outgoing *flying;   /* the group being written, until its result is known */
    uint64_t flying_at;           /* its place in file */
    struct kv_keyspace *keys;     /* what a rewrite writes */
    uint64_t appended;            /* records ever appended */
    uint64_t group;               /* `appended` at which the group in flight ends */
    uint64_t acked;               /* records up to this one are as safe as the options ask */
    unsigned pieces;              /* writes in flight on file */
    bool dirty;                   /* everysec: written since the last sync */
    bool sync_armed, sync_flying; /* everysec: the timer, the sync */
    uint64_t rewritten_size;      /* bytes of the file when it was last rewritten; at the start an estimate */
    uint64_t rewrites;
    int error;             /* FAILED: -errno */
    const char *failed_at; /* FAILED: what was being done */
    bool disk_unknown;     /* FAILED: a sync did; what is on the disk cannot be known any more */
    struct kv_rewrite rewrite;
};

/* kv_journal_paths - set the names of the files; false when dir is too long. */
bool kv_journal_paths(struct kv_journal *j);

/* kv_journal_open - begin on an open file whose next record goes to place; fresh: write the header first. */
int kv_journal_open(troupe_ctx *ctx, struct kv_journal *j, troupe_file file, struct kv_log_place place, bool fresh);

/* kv_journal_append - take a record; it is safe when acked reaches the `appended` of now. */
void kv_journal_append(struct kv_journal *j, const struct kv_log_record *record);

/* kv_journal_commit - write what is pending, if no group is in flight; begins a rewrite when it is time. */
void kv_journal_commit(troupe_ctx *ctx, struct kv_journal *j);

/* kv_journal_done - a file's result has arrived. Look at acked and state afterwards. */
void kv_journal_done(troupe_ctx *ctx, struct kv_journal *j, const troupe_file_done *done);

/* kv_journal_sync_due - the everysec timer has fired. */
void kv_journal_sync_due(troupe_ctx *ctx, struct kv_journal *j);

/* kv_journal_stop - the shard stops in order: begins a last sync if one is owed; the runtime waits for it. */
void kv_journal_stop(troupe_ctx *ctx, struct kv_journal *j);

/* kv_journal_salvage - the shard has crashed, its files are closed: writes what was appended and is not known to be
 * written, and syncs if the options ask for it. Blocks. Returns 0: everything appended is as safe as the options ask;
 * or -errno. */
int kv_journal_salvage(struct kv_journal *j);

/* kv_journal_free - release the memory; the files are the runtime's. */
void kv_journal_free(struct kv_journal *j);

#endif
