/* SPDX-License-Identifier: Apache-2.0 */
/* Files of actors. */
#include "world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/loop_state.h"
#include "runtime/context.h"

enum { DONE, PANIC };
enum { RELEASED, SYNCS }; /* words */

static char path[64];

static void make_path(void)
{
    snprintf(path, sizeof path, "/tmp/troupe-test-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void count_release(void *arg)
{
    (void)arg;
    bump(RELEASED);
}

static void start_file_test(unsigned workers)
{
    world_begin(workers);
    make_path();
}

static void end_file_test(void)
{
    unlink(path);
}

struct state {
    troupe_file file;
    unsigned results;
};

/* --- write, read, sync, truncate, size ---------------------------------------------------------------------------- */

STARTED(write_some)
{
    struct state *s = self;
    static const char tail[] = "tail";
    if (troupe_file_open(ctx, "/nowhere/at/all", O_RDONLY, 0, DONE, &s->file) != -ENOENT)
        say("open");
    if (troupe_file_open(ctx, path, O_RDWR, 0, DONE, &s->file) != 0)
        return -EIO;
    char text[10] = "0123456789";
    for (unsigned i = 0; i < 5; i++)
        troupe_file_write(ctx, s->file, i * 10, text, sizeof text, NULL, NULL, i); /* copied */
    memset(text, 'x', sizeof text);
    troupe_file_write(ctx, s->file, 50, tail, 4, count_release, NULL, 5); /* not copied */
    if (troupe_file_truncate(ctx, s->file, 1) != -EBUSY)
        say("truncate");
    if (troupe_file_read(ctx, s->file, 0, 0, 0) != -EINVAL || troupe_file_read(ctx, s->file, 0, 17 << 20, 0) != -EINVAL)
        say("read");
    return 0;
}

HANDLER(check_result)
{
    struct state *s = self;
    const troupe_file_done *done = troupe_payload(msg);
    if (done->tag != s->results || done->status != 0)
        say("tag %lu status %d instead of %u", done->tag, done->status, s->results);
    switch (s->results++) {
    case 5:
        if (done->length != 4 || word(RELEASED) > 1)
            say("last write");
        troupe_file_sync(ctx, s->file, 6);
        break;
    case 6:
        if (troupe_file_size(ctx, s->file) != 54)
            say("size");
        troupe_file_read(ctx, s->file, 45, 1000, 7); /* short: the end of the file */
        break;
    case 7:
        if (done->length != 9 || memcmp(done->bytes, "56789tail", 9) != 0)
            say("read");
        troupe_file_read(ctx, s->file, 1000, 10, 8);
        break;
    case 8:
        if (done->length != 0 || troupe_file_truncate(ctx, s->file, 3) != 0 || troupe_file_size(ctx, s->file) != 3)
            say("end");
        troupe_file_close(ctx, s->file);
        if (troupe_file_close(ctx, s->file) != -EBADF || troupe_file_size(ctx, s->file) != -EBADF ||
            troupe_file_read(ctx, s->file, 0, 1, 0) != -EBADF || troupe_file_sync(ctx, s->file, 0) != -EBADF ||
            troupe_file_write(ctx, s->file, 0, "x", 1, NULL, NULL, 0) != -EBADF)
            say("closed");
        troupe_stop_runtime(ctx, 0);
        break;
    default:
        break;
    }
}

static const troupe_behavior writer = {.name = "writer",
                                       .state_size = sizeof(struct state),
                                       .started = write_some,
                                       .stopped = keep_stats,
                                       .handlers = {[DONE] = ON(check_result, sizeof(troupe_file_done))}};

Test(file, writes_in_order_reads_back_and_knows_its_end)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        start_file_test(workers);
        unsigned fds = open_fds();
        cr_assert_eq(run(&writer, NULL), 0);
        cr_assert_str_eq(world.trace, "");
        cr_assert_eq(word(RELEASED), 1);
        cr_assert_eq(open_fds(), fds);
        cr_assert_eq(world.stats.io_in_use, 0);
        end_file_test();
    }
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

STARTED(write_to_full)
{
    struct state *s = self;
    if (troupe_file_open(ctx, "/dev/full", O_WRONLY, 0, DONE, &s->file) != 0)
        return -EIO;
    for (unsigned i = 0; i < 3; i++)
        troupe_file_write(ctx, s->file, 0, "x", 1, count_release, NULL, i);
    return 0;
}

HANDLER(say_status)
{
    struct state *s = self;
    const troupe_file_done *done = troupe_payload(msg);
    say("%lu:%d:%zu", done->tag, done->status, done->length);
    if (++s->results == 3)
        troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior full = {.name = "full",
                                     .state_size = sizeof(struct state),
                                     .started = write_to_full,
                                     .handlers = {[DONE] = ON(say_status, sizeof(troupe_file_done))}};

Test(file, a_full_device_fails_the_write_and_those_in_line_behind_it)
{
    world_begin(1);
    cr_assert_eq(run(&full, NULL), 0);
    cr_assert_str_eq(world.trace, "0:-28:0 1:-125:0 2:-125:0");
    cr_assert_eq(word(RELEASED), 3);
}

STARTED(sync_what_cannot)
{
    struct state *s = self;
    if (troupe_file_open(ctx, "/dev/full", O_WRONLY, 0, DONE, &s->file) != 0)
        return -EIO;
    return troupe_file_sync(ctx, s->file, 7);
}

HANDLER(refuses_writes)
{
    struct state *s = self;
    const troupe_file_done *done = troupe_payload(msg);
    say("%d %d %d", done->status, troupe_file_write(ctx, s->file, 0, "x", 1, NULL, NULL, 0),
        troupe_file_sync(ctx, s->file, 8));
    troupe_stop_runtime(ctx, 0);
}

static const troupe_behavior unsynced = {.name = "unsynced",
                                         .state_size = sizeof(struct state),
                                         .started = sync_what_cannot,
                                         .handlers = {[DONE] = ON(refuses_writes, sizeof(troupe_file_done))}};

Test(file, after_a_failed_sync_it_refuses_writes)
{
    world_begin(1);
    cr_assert_eq(run(&unsynced, NULL), 0);
    cr_assert_str_eq(world.trace, "-22 -5 -5");
}

/* --- restart ------------------------------------------------------------------------------------------------------ */

enum { BLOCK = 1 << 20, BLOCKS = 16 };

static void note_deferred(void *arg)
{
    (void)arg;
    if (word(RELEASED) != BLOCKS)
        say("deferred with %lu writes of %d done", word(RELEASED), BLOCKS);
}

STARTED(write_and_crash)
{
    struct state *s = self;
    static char block[BLOCK];
    if (troupe_incarnation(ctx) == 1) {
        troupe_defer(ctx, note_deferred, NULL);
        if (troupe_file_open(ctx, path, O_RDWR, 0, DONE, &s->file) != 0)
            return -EIO;
        memset(block, 'b', BLOCK); /* once: from the first write on the block is not ours to touch */
        for (unsigned i = 0; i < BLOCKS; i++)
            troupe_file_write(ctx, s->file, (uint64_t)i * BLOCK, block, BLOCK, count_release, NULL, i);
        troupe_tell(ctx, troupe_self(ctx), PANIC, NULL, 0);
        return 0;
    }
    struct stat st;
    if (stat(path, &st) < 0 || st.st_size != (off_t)BLOCK * BLOCKS || word(RELEASED) != BLOCKS)
        say("restarted too early: %ld", (long)st.st_size);
    world.stats = stats_now(ctx);
    troupe_stop_runtime(ctx, 0);
    return 0;
}

HANDLER(panic_now)
{
    troupe_panic(ctx, "with writes in flight");
}

HANDLER(ignore) {}

static const troupe_behavior crasher = {
    .name = "crasher",
    .state_size = sizeof(struct state),
    .started = write_and_crash,
    .handlers = {[DONE] = ON(ignore, sizeof(troupe_file_done)), [PANIC] = ON(panic_now, 0)}};

Test(file, a_restart_waits_for_the_writes_in_line)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        start_file_test(workers);
        cr_assert_eq(run(&crasher, NULL), 0);
        cr_assert_str_eq(world.trace, "");
        cr_assert_eq(world.stats.io_in_use, 0);
        end_file_test();
    }
}

/* --- panic in a result's handler ---------------------------------------------------------------------------------- */

STARTED(read_and_wait)
{
    struct state *s = self;
    if (troupe_incarnation(ctx) > 1) {
        world.stats = stats_now(ctx);
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    if (troupe_file_open(ctx, path, O_RDWR, 0, DONE, &s->file) != 0)
        return -EIO;
    for (unsigned i = 0; i < 4; i++)
        troupe_file_write(ctx, s->file, 0, "xy", 2, count_release, NULL, 0);
    return troupe_file_read(ctx, s->file, 0, 100000, 0);
}

static const troupe_behavior fragile = {.name = "fragile",
                                        .state_size = sizeof(struct state),
                                        .started = read_and_wait,
                                        .handlers = {[DONE] = ON(panic_now, sizeof(troupe_file_done))}};

Test(file, a_panic_over_a_result_frees_the_request)
{
    start_file_test(1);
    cr_assert_eq(run(&fragile, NULL), 0);
    cr_assert_eq(word(RELEASED), 4);
    cr_assert_eq(world.stats.io_in_use, 0);
    end_file_test();
}

/* --- no op to be had: the rest of the line fails in order, and a panic or close in between loses nothing ---------- */

enum what { TAKE_ALL, THEN_PANIC, THEN_CLOSE, WHATS };

static enum what what;

/* Makes the loop of the running actor's worker refuse ops, or give them again. */
static void let_ops(troupe_ctx *ctx, bool allowed)
{
    static unsigned ops_max;
    if (!allowed)
        ops_max = ctx->loop->slab.ops_max;
    ctx->loop->slab.ops_max = allowed ? ops_max : 0;
}

STARTED(write_line)
{
    struct state *s = self;
    if (troupe_incarnation(ctx) > 1) {
        world.stats = stats_now(ctx);
        troupe_stop_runtime(ctx, 0);
        return 0;
    }
    if (troupe_file_open(ctx, path, O_RDWR, 0, DONE, &s->file) != 0)
        return -EIO;
    for (unsigned i = 0; i < 5; i++)
        troupe_file_write(ctx, s->file, i, "x", 1, count_release, NULL, i);
    let_ops(ctx, false);
    return 0;
}

HANDLER(line_result)
{
    struct state *s = self;
    const troupe_file_done *done = troupe_payload(msg);
    say("%lu:%d", done->tag, done->status);
    if (s->results++ == 1 && what == THEN_PANIC) {
        let_ops(ctx, true);
        troupe_panic(ctx, "over the second");
    }
    if (s->results == 2 && what == THEN_CLOSE) {
        let_ops(ctx, true);
        troupe_file_close(ctx, s->file);
        troupe_stop_runtime(ctx, 0);
    }
    if (s->results == 5) {
        let_ops(ctx, true);
        troupe_stop_runtime(ctx, 0);
    }
}

static const troupe_behavior liner = {.name = "liner",
                                      .state_size = sizeof(struct state),
                                      .started = write_line,
                                      .stopped = keep_stats,
                                      .handlers = {[DONE] = ON(line_result, sizeof(troupe_file_done))}};

Test(file, writes_that_cannot_be_started_fail_in_order)
{
    for (unsigned i = 0; i < WHATS; i++) {
        start_file_test(1);
        what = (enum what)i;
        cr_assert_eq(run(&liner, NULL), 0);
        cr_assert_eq(word(RELEASED), 5, "each once, also what was left in line");
        struct stat st;
        cr_assert_eq(stat(path, &st), 0);
        cr_assert_eq(st.st_size, 1, "what is in line behind a failed write is not written either");
        static const char *const traces[WHATS] = {"0:0 1:-11 2:-125 3:-125 4:-125", "0:0 1:-11", "0:0 1:-11"};
        cr_assert_str_eq(world.trace, traces[i], "%s", world.trace);
        end_file_test();
    }
}
