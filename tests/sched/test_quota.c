/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU quota of control groups: what the files say, in a folder made for the test and, where one may be made, in a
 * real group. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "sched/cpus.h"
#include "sched/quota.h"

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHER_MOUNTS                                                                                                   \
    "25 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro\n"                                                          \
    "34 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

static char root[64];

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/troupe-quota-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(quota, .init = make_root, .fini = remove_root, .timeout = 120);

/* Writes a file below the root, and the folders above it. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        cr_assert(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(quota, text_of_version_2_is_rounded_up)
{
    cr_assert_eq(tr_quota_of_max("max 100000\n"), TR_QUOTA_NONE);
    cr_assert_eq(tr_quota_of_max("100000 100000\n"), 1);
    cr_assert_eq(tr_quota_of_max("100001 100000\n"), 2);
    cr_assert_eq(tr_quota_of_max("1000 100000\n"), 1);
    cr_assert_eq(tr_quota_of_max("350000 100000\n"), 4);
}

Test(quota, text_that_is_not_understood_is_no_limit)
{
    static const char *const texts[] = {"", "\n", "100000", "100000 ", "100000 0", "0 100000", "-1 100000", "x y"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_expect_eq(tr_quota_of_max(texts[i]), TR_QUOTA_NONE, "'%s'", texts[i]);
    cr_assert_eq(tr_quota_of_cfs("", ""), TR_QUOTA_NONE);
    cr_assert_eq(tr_quota_of_cfs("100000", "0"), TR_QUOTA_NONE);
}

Test(quota, text_of_version_1_is_rounded_up)
{
    cr_assert_eq(tr_quota_of_cfs("-1\n", "100000\n"), TR_QUOTA_NONE);
    cr_assert_eq(tr_quota_of_cfs("150000\n", "100000\n"), 2);
    cr_assert_eq(tr_quota_of_cfs("50000\n", "100000\n"), 1);
}

Test(quota, none_without_any_file)
{
    cr_assert_eq(tr_quota_cpus(root), TR_QUOTA_NONE);
    put("/proc/self/cgroup", "0::/a\n");
    cr_assert_eq(tr_quota_cpus(root), TR_QUOTA_NONE);
    put("/proc/self/mountinfo", OTHER_MOUNTS V2_MOUNT);
    cr_assert_eq(tr_quota_cpus(root), TR_QUOTA_NONE);
}

Test(quota, of_version_2_is_the_tightest_on_the_way_to_the_root)
{
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/proc/self/mountinfo", OTHER_MOUNTS V2_MOUNT);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "700000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 7);
    put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 3);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 2, "a container sees its own limit at the root of its mount");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "10000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 1);
    put("/sys/fs/cgroup/a/b/d/cpu.max", "1000 100000\n");
    put("/sys/fs/cpu.max", "1000 1000000\n");
    cr_assert_eq(tr_quota_cpus(root), 1);
}

Test(quota, of_another_group_does_not_count)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
    put("/sys/fs/cpu.max", "100000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 3);
}

Test(quota, of_version_1_is_found_by_its_controller)
{
    put("/proc/self/cgroup", "9:name=systemd:/x\n4:cpuset:/x\n3:cpu,cpuacct:/a\n0::/\n");
    put("/proc/self/mountinfo", OTHER_MOUNTS V1_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n");
    cr_assert_eq(tr_quota_cpus(root), TR_QUOTA_NONE, "a quota without a period says nothing");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(tr_quota_cpus(root), 2);
}

Test(quota, of_a_container_that_sees_its_group_as_the_mount)
{
    put("/proc/self/cgroup", "0::/docker/1234/worker\n");
    put("/proc/self/mountinfo", "30 23 0:26 /docker/1234 /sys/fs/cgroup ro - cgroup2 cgroup ro\n");
    put("/sys/fs/cgroup/worker/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 4);
    put("/sys/fs/cgroup/worker/cpu.max", "200000 100000\n");
    cr_assert_eq(tr_quota_cpus(root), 2);
    put("/proc/self/cgroup", "0::/../elsewhere\n");
    cr_assert_eq(tr_quota_cpus(root), 4,
                 "a group outside of the mount: the mount's own limit is all that is to be seen");
}

Test(quota, usable_cpus_are_at_least_one_and_at_most_those_allowed)
{
    cpu_set_t allowed;
    cr_assert_eq(tr_cpus_allowed(&allowed), 0);
    unsigned count = (unsigned)CPU_COUNT(&allowed);
    cr_assert_eq(tr_cpus_usable(root), count);
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "1000 100000\n");
    cr_assert_eq(tr_cpus_usable(root), 1);
    put("/sys/fs/cgroup/cpu.max", "100000000 100000\n");
    cr_assert_eq(tr_cpus_usable(root), count);
}

/* --- a real group --- */

static bool write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* In a process of its own: moves it into the group and exits with what the quota is there, or 99. */
static int quota_inside(const char *group)
{
    pid_t child = fork();
    if (child == 0)
        _exit(write_file(group, "cgroup.procs", "0") ? (int)tr_quota_cpus("") : 99);
    int status;
    while (waitpid(child, &status, 0) < 0)
        ;
    return WEXITSTATUS(status);
}

/* Makes a group with a quota of one and a half CPUs, of whichever version the machine lets one be made. */
static bool make_group(char *group, size_t size)
{
    static const char *const v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    for (size_t i = 0; i < sizeof v1 / sizeof v1[0]; i++) {
        snprintf(group, size, "%s/troupe-test-%d", v1[i], (int)getpid());
        if (mkdir(group, 0700) == 0 && write_file(group, "cpu.cfs_period_us", "100000") &&
            write_file(group, "cpu.cfs_quota_us", "150000"))
            return true;
        rmdir(group);
    }
    snprintf(group, size, "/sys/fs/cgroup/troupe-test-%d", (int)getpid());
    if (mkdir(group, 0700) == 0 && write_file(group, "cpu.max", "150000 100000"))
        return true;
    rmdir(group);
    return false;
}

Test(quota, of_a_real_group_is_seen)
{
    char group[128];
    if (!make_group(group, sizeof group)) {
        fprintf(stderr, "quota: skipped: no control group with a CPU quota can be made here\n");
        return;
    }
    unsigned outside = tr_quota_cpus("");
    int inside = quota_inside(group);
    cr_expect_eq(rmdir(group), 0);
    if (inside == 99)
        fprintf(stderr, "quota: skipped: a process cannot enter the group\n");
    else
        cr_assert_eq(inside, outside == 1 ? 1 : 2);
}

Test(cpus, the_nth_goes_round_and_round_over_those_allowed)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&allowed);
    CPU_SET(3, &allowed);
    CPU_SET(700, &allowed);
    for (unsigned i = 0; i < 4; i++) {
        one = tr_cpus_nth(&allowed, i);
        cr_assert_eq(CPU_COUNT(&one), 1);
        cr_assert(CPU_ISSET(i % 2 ? 700 : 3, &one));
    }
}
