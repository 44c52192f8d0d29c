/* SPDX-License-Identifier: Apache-2.0 */
/* Files for actors: read, write and sync without blocking a worker. A file belongs to the incarnation that opened it;
 * when that ends, writes that wait in line are made, operations in flight are waited for, and the file is closed, all
 * before the next incarnation starts.
 * The verbs are for the actor that runs at the moment, on its own files; any other use answers -EBADF. */
#ifndef TROUPE_FILE_H
#define TROUPE_FILE_H

#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct troupe_file {
    void *ref;
    uint64_t generation;
} troupe_file;

/* The result of one operation; arrives as a message of the kind given to troupe_file_open, in the order of
 * completion. */
typedef struct troupe_file_done {
    troupe_file file;
    uint64_t tag;      /* as given to the operation */
    int status;        /* 0 or -errno */
    size_t length;     /* bytes read or written; a read at the end of the file gives fewer than asked, or 0 */
    const void *bytes; /* of a read, lent until the handler returns */
} troupe_file_done;

/* Opens by open(2), which may block for a path look-up; always close-on-exec. flags and mode as there. done_kind: the
 * kind of message that results arrive as. Returns 0 or -errno. */
TROUPE_API int troupe_file_open(troupe_ctx *ctx, const char *path, int flags, unsigned mode, unsigned done_kind,
                                troupe_file *file);
TROUPE_API int64_t troupe_file_size(troupe_ctx *ctx, troupe_file file); /* bytes, or -errno */
/* Cuts or extends by ftruncate(2), which may block. Returns 0 or -errno; -EBUSY while a write is in flight. */
TROUPE_API int troupe_file_truncate(troupe_ctx *ctx, troupe_file file, uint64_t size);

/* Reads up to length bytes (1 to 16 MiB) at offset. Returns 0 (one done message comes), -EINVAL (length), -ENOMEM, or
 * -EAGAIN: too many operations in flight, try later. */
TROUPE_API int troupe_file_read(troupe_ctx *ctx, troupe_file file, uint64_t offset, size_t length, uint64_t tag);
/* Writes all of bytes at offset; short writes are continued. With release the bytes are not copied: they stay valid
 * until release(arg) is called, once, after the done message was handled, on any worker; on a status below 0 it is not
 * called. Writes to one file are carried out one after the other, in order. Data is in the page cache when the done
 * message comes; troupe_file_sync makes it durable. After a failed sync the file refuses all further writes and syncs
 * with -EIO: what had been written since the last good sync may be lost, and trying again would hide that. Returns 0
 * (one done message comes), -EIO, -ENOMEM, -EAGAIN; a write that waited in line and then found too many operations in
 * flight is done with -EAGAIN. When a write fails, those in line behind it are not made, also not when the file is
 * closed over it: they are done with -ECANCELED, and so are those behind one that was cancelled with its token
 * (token.h). So what is written one behind the other is on the file up to some point and not beyond. */
TROUPE_API int troupe_file_write(troupe_ctx *ctx, troupe_file file, uint64_t offset, const void *bytes, size_t length,
                                 void (*release)(void *arg), void *arg, uint64_t tag);
/* fdatasync: covers the writes whose done messages have come. Works for a directory opened read-only as well. Returns
 * as troupe_file_write. */
TROUPE_API int troupe_file_sync(troupe_ctx *ctx, troupe_file file, uint64_t tag);
/* Closes once all writes are made and nothing is in flight; results still to come are not delivered. Returns 0 or
 * -EBADF. */
TROUPE_API int troupe_file_close(troupe_ctx *ctx, troupe_file file);

#ifdef __cplusplus
}
#endif

#endif
