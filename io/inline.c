/* SPDX-License-Identifier: Apache-2.0 */
/* A buffered write copies into the page cache: microseconds. Through the ring ext4 cannot promise not to wait, so the
 * kernel hands it to one of its threads: two context switches, tens of microseconds. But where the caller asked for
 * more than a copy (O_DIRECT, O_SYNC, O_DSYNC), or the file is no file (pwritev says ESPIPE and has not waited), or
 * much is to be copied, or the journal is busy with a sync of ours, the kernel's thread shall wait and not ours. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_DIRECT */
#endif

#include "io/inline.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

static size_t total(const struct tr_op *op)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < op->iov_count; i++)
        bytes += op->iov[i].iov_len;
    return bytes;
}

bool tr_inline_write(const struct tr_op *op, bool syncing, int32_t *res)
{
    if (syncing || op->offset > INT64_MAX || total(op) > TR_INLINE_WRITE_MAX)
        return false;
    int flags = fcntl(op->fd, F_GETFL);
    if (flags < 0 || (flags & (O_DIRECT | O_SYNC | O_DSYNC)))
        return false;
    ssize_t written = pwritev(op->fd, op->iov, (int)op->iov_count, (off_t)op->offset);
    if (written < 0 && (errno == ESPIPE || errno == EINTR || errno == EAGAIN))
        return false;
    *res = written < 0 ? -errno : (int32_t)written;
    return true;
}
