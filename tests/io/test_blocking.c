/* SPDX-License-Identifier: Apache-2.0 */
/* The threads for operations that block: which ops are theirs, and that results come home. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "io/blocking.h"
#include "tests/io/harness.h"

#define LARGE ((size_t)1 << 20)

static int scratch_file(void)
{
    char name[] = "/tmp/troupe-blocking-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    unlink(name);
    return fd;
}

/* Tasks of this process that are threads of the kernel's for a ring. */
static int kernel_workers(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    cr_assert_not_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char path[512], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file && fgets(name, sizeof name, file))
            count += strncmp(name, "iou-wrk-", 8) == 0;
        if (file)
            fclose(file);
    }
    closedir(dir);
    return count;
}

Test(blocking, syncs_and_writes_to_regular_files_are_theirs_and_nothing_else)
{
    int fd = scratch_file(), pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_expect(tr_blocking_wants(&(struct tr_op){.kind = TR_OP_FDATASYNC, .fd = fd}));
    cr_expect(tr_blocking_wants(&(struct tr_op){.kind = TR_OP_WRITE, .fd = fd}));
    cr_expect(!tr_blocking_wants(&(struct tr_op){.kind = TR_OP_WRITE, .fd = pipes[1]}), "a pipe may never have room");
    cr_expect(!tr_blocking_wants(&(struct tr_op){.kind = TR_OP_WRITE, .fd = -1}));
    cr_expect(!tr_blocking_wants(&(struct tr_op){.kind = TR_OP_READ, .fd = fd}));
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

Test(blocking, results_come_home_and_the_kernel_makes_no_threads)
{
    struct harness h = harness_open(NULL);
    struct outcome writes[8] = {{0}}, sync = {0}, bad = {0};
    char *bytes = calloc(1, LARGE);
    int fd = scratch_file();
    cr_assert_not_null(bytes);
    for (unsigned i = 0; i < 8; i++) {
        struct tr_op *op = outcome_op(h.loop, TR_OP_WRITE, fd, &writes[i]);
        op->iov[0] = (struct iovec){bytes, LARGE};
        op->iov_count = 1;
        op->offset = i * LARGE;
        tr_op_submit(op);
    }
    tr_op_submit(outcome_op(h.loop, TR_OP_FDATASYNC, fd, &sync));
    tr_op_submit(outcome_op(h.loop, TR_OP_FDATASYNC, -1, &bad));
    for (unsigned i = 0; i < 8; i++) {
        HARNESS_UNTIL(&h, writes[i].times == 1);
        cr_expect_eq(writes[i].res, (int)LARGE);
        tr_op_put(writes[i].op);
    }
    HARNESS_UNTIL(&h, sync.times == 1 && bad.times == 1);
    cr_expect_eq(sync.res, 0);
    cr_expect_eq(bad.res, -EBADF);
    cr_expect_eq(lseek(fd, 0, SEEK_END), (off_t)(8 * LARGE));
    cr_expect_eq(kernel_workers(), 0, "its last one would wake up every five seconds for ever");
    tr_op_put(sync.op);
    tr_op_put(bad.op);
    cr_expect_eq(harness_stats(&h).ops_in_flight, 0u);
    harness_close(&h);
    free(bytes);
    close(fd);
}

Test(blocking, a_loop_that_leaves_waits_for_what_its_threads_do)
{
    struct harness h = harness_open(NULL);
    struct outcome sync = {0};
    int fd = scratch_file(), before;
    cr_assert_eq(write(fd, "x", 1), 1);
    before = harness_count_fds();
    tr_op_submit(outcome_op(h.loop, TR_OP_FDATASYNC, fd, &sync));
    h.hooks.detach(h.loop);
    cr_expect_eq(sync.times, 1);
    tr_op_put(sync.op);
    tr_io_destroy(h.io);
    cr_expect_leq(harness_count_fds(), before);
    close(fd);
}
