/* SPDX-License-Identifier: Apache-2.0 */
/* Files of actors: what a failed write means for those that wait in line behind it. A log depends on this: a hole in
 * its middle is worse than a missing end. */
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { DONE };
enum { RESULTS, STATUS }; /* words: how many results came; STATUS + tag: what each said, negated */

static char path[] = "/tmp/troupe-test-XXXXXX";
static bool panics;

static const char text[64] = "0123456789";

HANDLER(on_done)
{
    const troupe_file_done *done = troupe_payload(msg);
    world.word[STATUS + done->tag] = (uint64_t)-done->status;
    bump(RESULTS);
    if (panics && done->status < 0)
        troupe_panic(ctx, "a write failed");
    if (word(RESULTS) == 4)
        troupe_stop_self(ctx);
}

/* Good, beyond the limit, good, good: all in one turn, so that three wait in line. */
STARTED(write_four)
{
    troupe_file file;
    if (troupe_incarnation(ctx) > 1) {
        troupe_stop_self(ctx);
        return 0;
    }
    int status = troupe_file_open(ctx, path, O_RDWR, 0, DONE, &file);
    static const uint64_t offsets[] = {0, 1 << 20, 64, 128};
    for (unsigned i = 0; i < 4 && status == 0; i++)
        status = troupe_file_write(ctx, file, offsets[i], text, sizeof text, NULL, NULL, i + 1);
    return status;
}

static const troupe_behavior writer = {
    .name = "writer",
    .started = write_four,
    .handlers = {[DONE] = ON(on_done, sizeof(troupe_file_done))},
};

static off_t size_after_run(void)
{
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    struct stat st;
    world_begin(1);
    int fd = mkstemp(path);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect_eq(run(&writer, NULL), 0);
    cr_assert_eq(fstat(fd, &st), 0);
    close(fd);
    unlink(path);
    return st.st_size;
}

Test(file, writes_behind_a_failed_one_are_not_made)
{
    cr_expect_eq(size_after_run(), 64);
    cr_expect_eq(word(STATUS + 1), 0);
    cr_expect_eq(word(STATUS + 2), EFBIG);
    cr_expect_eq(word(STATUS + 3), ECANCELED);
    cr_expect_eq(word(STATUS + 4), ECANCELED);
}

Test(file, writes_behind_a_failed_one_are_not_made_when_the_actor_panics_over_it)
{
    panics = true;
    cr_expect_eq(size_after_run(), 64);
}
