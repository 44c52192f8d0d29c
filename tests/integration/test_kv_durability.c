/* SPDX-License-Identifier: Apache-2.0 */
/* What was acknowledged is there: after restarts, kills, torn and corrupt logs, rewrites and full disks.
 * TROUPE_DRILL=full kills the server 50 times instead of 10. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"
#include "writers.h"

TestSuite(kv_durability, .timeout = 600);

static uint64_t random_state = UINT64_C(0x5eed0004);

static unsigned below(unsigned n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)(random_state * UINT64_C(2685821657736338717) >> 33) % n;
}

static struct kv start_single(void)
{
    return kv_start(&(struct kv_setup){.args = {"--shards", "1"}});
}

static char *log_path(void)
{
    return scratch_path("data/shard-0.log");
}

static off_t size_of(const char *path)
{
    struct stat info;
    cr_assert_eq(stat(path, &info), 0, "%s: %s", path, strerror(errno));
    return info.st_size;
}

static void expect_contents(const struct kv *kv)
{
    struct client c = client_connect(kv->port);
    cr_expect_str_eq(client_ask(&c, "MGET a b n none"), "[\"1\" \"twothree\" \"42\" nil]");
    cr_expect_str_eq(client_ask(&c, "GET deleted"), "nil");
    long ttl = strtol(client_ask(&c, "TTL timed") + 1, NULL, 10);
    cr_expect(ttl > 900 && ttl <= 1000, "%ld", ttl);
    cr_expect_str_eq(client_ask(&c, "TTL kept"), ":-1");
    cr_expect_str_eq(client_ask(&c, "GET passed"), "nil");
    cr_expect_str_eq(client_ask(&c, "DBSIZE"), ":5");
    client_close(&c);
}

Test(kv_durability, a_restart_keeps_everything)
{
    static const char *const lines[] = {
        "SET before v",      "FLUSHALL",        "SET a 1",       "SET b two",        "APPEND b three",
        "INCRBY n 41",       "INCR n",          "SET deleted v", "DEL deleted",      "SET timed v",
        "EXPIRE timed 1000", "SET kept v EX 5", "PERSIST kept",  "SET passed v PX 1"};
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_assert_neq(client_ask(&c, lines[i])[0], '-', "%s", lines[i]);
    client_close(&c);
    kv_terminate(&kv);
    kv = kv_start(NULL);
    expect_contents(&kv);
    kv_kill(&kv);
    kv = kv_start(NULL);
    expect_contents(&kv);
    kv_terminate(&kv);
}

/* Ten records of one shard. */
static void fill_ten(void)
{
    struct kv kv = start_single();
    struct client c = client_connect(kv.port);
    for (int i = 0; i < 10; i++) {
        char line[64];
        snprintf(line, sizeof line, "SET key%d value-%d", i, i);
        cr_assert_str_eq(client_ask(&c, line), "+OK");
    }
    client_close(&c);
    kv_terminate(&kv);
}

static void expect_keys(struct kv *kv, int count)
{
    char want[16];
    struct client c = client_connect(kv->port);
    snprintf(want, sizeof want, ":%d", count);
    cr_expect_str_eq(client_ask(&c, "DBSIZE"), want);
    for (int i = 0; i < count; i++) {
        char line[32], value[32];
        snprintf(line, sizeof line, "GET key%d", i);
        snprintf(value, sizeof value, "\"value-%d\"", i);
        cr_expect_str_eq(client_ask(&c, line), value);
    }
    client_close(&c);
}

Test(kv_durability, a_torn_tail_is_cut_with_a_warning)
{
    fill_ten();
    char *path = log_path(), want[64];
    off_t whole = size_of(path);
    cr_assert_eq(truncate(path, whole - 5), 0);
    struct kv kv = start_single();
    char *printed = process_printed(&kv.process);
    snprintf(want, sizeof want, "torn tail: cut at byte %lld", (long long)size_of(path));
    cr_expect(strstr(printed, "warning") && strstr(printed, path) && strstr(printed, want), "%s", printed);
    free(printed);
    expect_keys(&kv, 9);
    kv_terminate(&kv);
    kv = start_single(); /* what is left is sound */
    printed = process_printed(&kv.process);
    cr_expect_null(strstr(printed, "torn"), "%s", printed);
    free(printed);
    expect_keys(&kv, 9);
    kv_terminate(&kv);
    free(path);
}

/* However many bytes of the last record arrived. */
Test(kv_durability, a_log_may_end_anywhere_in_its_last_record)
{
    fill_ten();
    char *path = log_path(), bytes[4096];
    off_t whole = size_of(path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && pread(fd, bytes, (size_t)whole, 0) == whole);
    for (off_t cut = 1; cut < 28 + 11; cut++) { /* one record: its head, key and value */
        cr_assert_eq(ftruncate(fd, whole - cut), 0);
        struct kv kv = start_single();
        expect_keys(&kv, 9);
        kv_terminate(&kv);
        cr_assert_eq(pwrite(fd, bytes, (size_t)whole, 0), whole);
    }
    close(fd);
    free(path);
}

Test(kv_durability, a_corrupt_middle_is_refused_with_its_place)
{
    fill_ten();
    char *path = log_path(), byte, want[128], *dir = scratch_path("data");
    off_t whole = size_of(path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    off_t at = 32 + 3 * (28 + 4 + 7) + 30; /* in the fourth record's key */
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    struct process p = kv_begin(&(struct kv_setup){.args = {"--shards", "1"}});
    int status = process_wait(&p, PATIENCE_MS);
    char *printed = process_printed(&p);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%#x", (unsigned)status);
    snprintf(want, sizeof want, "%s: corrupt at byte %d", path, 32 + 3 * (28 + 4 + 7));
    cr_expect_not_null(strstr(printed, want), "expected: %s\n%s", want, printed);
    cr_expect_eq(size_of(path), whole, "a refused log is left as it is");
    free(printed);
    byte ^= 1; /* mended, it is accepted */
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    struct kv kv = start_single();
    expect_keys(&kv, 10);
    kv_terminate(&kv);
    free(path);
    free(dir);
}

/* --- rewriting --- */

Test(kv_durability, a_log_that_has_doubled_is_rewritten)
{
    struct kv kv = start_single();
    struct writers *w = writers_start(kv.port, 10000);
    char *path = log_path(), *fresh = scratch_path("data/shard-0.log.new");
    writers_go_on(w, 6000); /* 60 MB on 400 keys: 4 MB are alive */
    writers_finish(w);
    struct client c = client_connect(kv.port);
    int64_t until = now_ms() + PATIENCE_MS;
    while (kv_info(&c, "aof_rewrites") < 2 || access(fresh, F_OK) == 0)
        cr_assert_lt(now_ms(), until, "%lld rewrites", kv_info(&c, "aof_rewrites"));
    cr_expect_lt(size_of(path), 30000000);
    client_close(&c);
    writers_check(w, kv.port);
    kv_kill(&kv);
    kv = start_single();
    writers_check(w, kv.port);
    kv_terminate(&kv);
    kv = start_single();
    writers_check(w, kv.port);
    kv_terminate(&kv);
    writers_free(w);
    free(path);
    free(fresh);
}

/* Each incarnation adds less than the log has: together they double it many times. */
Test(kv_durability, restarts_do_not_put_the_rewriting_off)
{
    struct kv kv = start_single();
    struct writers *w = writers_start(kv.port, 10000);
    char *path = log_path();
    writers_go_on(w, 400); /* 4 MB are alive */
    for (int i = 0; i < 8; i++) {
        writers_go_on(w, 200);
        writers_finish(w);
        kv_kill(&kv);
        kv = start_single();
        writers_connect(w, kv.port);
    }
    writers_go_on(w, 400); /* time to end a rewriting that has begun */
    writers_finish(w);
    writers_check(w, kv.port);
    cr_expect_lt(size_of(path), 15000000, "the log has %lld bytes", (long long)size_of(path));
    writers_free(w);
    kv_terminate(&kv);
    free(path);
}

/* --- the drills --- */

/* The drill of "done when" 3. Two shards and values of this size: each round sees rewrites begin, go on and end. */
static void kill_among_writers(const char *fsync, unsigned rounds)
{
    const struct kv_setup setup = {.args = {"--fsync", fsync, "--shards", "2"}};
    struct kv kv = kv_start(&setup);
    struct writers *w = writers_start(kv.port, 4000);
    for (unsigned round = 0; round < rounds; round++) {
        writers_go_on(w, 1000 + below(4000));
        kv_kill(&kv);
        writers_finish(w);
        kv = kv_start(&setup);
        writers_check(w, kv.port);
        writers_connect(w, kv.port);
    }
    cr_assert_eq(w->refusals, 0, "%s", w->refusal);
    writers_finish(w);
    writers_free(w);
    kv_terminate(&kv);
}

Test(kv_durability, kill_9_among_synced_writes_loses_nothing_acknowledged)
{
    kill_among_writers("always", drill(10, 50));
}

/* The kernel outlives the process: also without any sync. */
Test(kv_durability, kill_9_among_other_writes_loses_nothing_acknowledged)
{
    kill_among_writers("no", drill(3, 50));
}

/* The drill of "done when" 5. */
Test(kv_durability, sigterm_during_load_ends_in_order_within_a_second)
{
    int64_t least = INT64_MAX; /* of many rounds if need be: it writes to a disk that others may use */
    for (unsigned round = 0; round < drill(3, 20) || (least >= 1000 && round < 30); round++) {
        struct kv kv = kv_start(NULL);
        struct writers *w = writers_start(kv.port, 1000);
        writers_go_on(w, 10000); /* 10 MB */
        int64_t told = now_ms();
        int status = process_stop(&kv.process, SIGTERM, PATIENCE_MS);
        int64_t took = now_ms() - told;
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %#x", (unsigned)status);
        least = took < least ? took : least;
        writers_finish(w);
        kv = kv_start(NULL);
        writers_check(w, kv.port);
        writers_free(w);
        kv_terminate(&kv);
    }
    cr_expect_lt(least, 1000, "%lld ms", (long long)least);
}

/* A start that must be refused with this text, and leave no file behind. */
static void refused(const char *shards, const char *want)
{
    struct process p = kv_begin(&(struct kv_setup){.args = {"--shards", shards}});
    int status = process_wait(&p, PATIENCE_MS);
    char *printed = process_printed(&p);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%#x", (unsigned)status);
    cr_expect_not_null(strstr(printed, want), "expected: %s\n%s", want, printed);
    free(printed);
}

Test(kv_durability, a_folder_of_another_number_of_shards_is_refused_and_says_which)
{
    char *dir = scratch_path("data"), path[600];
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--shards", "4"}});
    struct writers *w = writers_start(kv.port, 200);
    writers_go_on(w, 200);
    writers_finish(w);
    kv_terminate(&kv);
    refused("2", "start with --shards 4");
    refused("6", "start with --shards 4");
    snprintf(path, sizeof path, "%s/shard-5.log", dir);
    cr_expect_neq(access(path, F_OK), 0, "a refused start made a log");
    snprintf(path, sizeof path, "%s/shard-1.log", dir);
    cr_assert_eq(unlink(path), 0);
    refused("4", "shard-1.log is missing");
    writers_free(w);
    free(dir);
}

/* --- full disks --- */

/* Writes until it is refused, on a server whose disk has little room; then everything acknowledged must be there, now
 * and after a restart with room. */
static void fill_up(const struct kv_setup *setup, const char *cause)
{
    struct kv kv = kv_start(setup);
    struct writers *w = writers_start(kv.port, 10000);
    for (int i = 0; i < 200 && w->refusals < 50; i++)
        writers_go_on(w, 100);
    cr_expect_gt(w->acks, 20);
    cr_expect_gt(w->refusals, 0, "no write was refused");
    writers_finish(w);
    cr_assert(process_alive(&kv.process), "the server gave up");
    char *printed = process_printed(&kv.process);
    cr_expect(strstr(printed, "write of ") && strstr(printed, cause), "the cause is not told: %s", printed);
    free(printed);
    writers_check(w, kv.port);
    kv_kill(&kv);
    struct kv_setup roomy = *setup;
    roomy.limits = (struct process_limits){0};
    kv = kv_start(&roomy);
    writers_check(w, kv.port);
    writers_free(w);
    kv_kill(&kv);
}

Test(kv_durability, a_file_that_may_not_grow_refuses_writes_and_keeps_the_rest)
{
    fill_up(&(struct kv_setup){.args = {"--shards", "2"}, .limits = {.file_size = 2000000}}, "File too large");
}

/* A small file system of this test's own, in a mount namespace that ends with it. */
Test(kv_durability, a_full_disk_refuses_writes_and_keeps_the_rest)
{
    char *dir = scratch_path("small"), *data = scratch_path("small/data");
    cr_assert_eq(mkdir(dir, 0700), 0);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("troupe", dir, "tmpfs", 0, "size=3m") < 0)
        cr_skip_test("this user may not mount a file system");
    fill_up(&(struct kv_setup){.dir = data, .args = {"--shards", "2", "--fsync", "always"}}, "No space left on device");
    free(dir);
    free(data);
}
