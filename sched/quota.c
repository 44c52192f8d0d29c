/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/quota.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

/* One hierarchy: where it is mounted, which of its groups is the root of that mount, and which one is the process's. */
struct hierarchy {
    char mounted[PATH_MAX], mount_root[PATH_MAX], group[PATH_MAX];
    bool found_mount, found_group;
};

struct search {
    const char *root;
    struct hierarchy v1, v2;
    unsigned cpus;
};

/* --- one limit ---------------------------------------------------------------------------------------------------- */

static unsigned round_up(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0)
        return TR_QUOTA_NONE;
    long long cpus = quota_us / period_us + (quota_us % period_us != 0);
    return cpus > INT_MAX ? INT_MAX : (unsigned)cpus;
}

static bool read_number(const char *text, long long *number)
{
    char *end;
    *number = strtoll(text, &end, 10);
    return end != text;
}

unsigned tr_quota_of_max(const char *text)
{
    long long quota, period;
    const char *space = strchr(text, ' ');
    if (!space || !read_number(text, &quota) || !read_number(space, &period))
        return TR_QUOTA_NONE;
    return round_up(quota, period);
}

unsigned tr_quota_of_cfs(const char *quota_us, const char *period_us)
{
    long long quota, period;
    if (!read_number(quota_us, &quota) || !read_number(period_us, &period))
        return TR_QUOTA_NONE;
    return round_up(quota, period);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static FILE *open_under(const char *root, const char *path)
{
    char full[3 * PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    return length > 0 && (size_t)length < sizeof full ? fopen(full, "re") : NULL;
}

/* The first line of a file in a group's folder. */
static bool read_line(const char *root, const char *folder, const char *name, char *line, int size)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%.*s/%s", PATH_MAX, folder, name);
    FILE *file = open_under(root, path);
    if (!file)
        return false;
    bool got = fgets(line, size, file) != NULL;
    fclose(file);
    return got;
}

static unsigned limit_v2(const char *root, const char *folder)
{
    char max[128];
    return read_line(root, folder, "cpu.max", max, sizeof max) ? tr_quota_of_max(max) : TR_QUOTA_NONE;
}

static unsigned limit_v1(const char *root, const char *folder)
{
    char quota[64], period[64];
    return read_line(root, folder, "cpu.cfs_quota_us", quota, sizeof quota) &&
                   read_line(root, folder, "cpu.cfs_period_us", period, sizeof period)
               ? tr_quota_of_cfs(quota, period)
               : TR_QUOTA_NONE;
}

/* --- which groups ------------------------------------------------------------------------------------------------- */

/* Is `name` one of the words between commas? */
static bool lists(const char *words, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = words; (at = strstr(at, name)) != NULL; at += length)
        if ((at == words || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

static bool keep(char *to, const char *path)
{
    return snprintf(to, PATH_MAX, "%s", path) < PATH_MAX;
}

/* A line of /proc/self/cgroup: "4:cpu,cpuacct:/group", version 2 "0::/group". */
static void take_group(struct search *search, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = '\0';
    controllers++;
    group[strcspn(group, "\n")] = '\0';
    if (*controllers == '\0')
        search->v2.found_group = keep(search->v2.group, group);
    else if (lists(controllers, "cpu"))
        search->v1.found_group = keep(search->v1.group, group);
}

/* A line of /proc/self/mountinfo: "36 35 98:0 ROOT MOUNTED OPTIONS [TAGS] - TYPE SOURCE SUPER-OPTIONS". */
static void take_mount(struct search *search, const char *line)
{
    char mount_root[PATH_MAX], mounted[PATH_MAX], type[32], super[1024];
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(dash, " - %31s %*s %1023s", type, super) != 2 ||
        sscanf(line, "%*s %*s %*s %4095s %4095s", mount_root, mounted) != 2)
        return;
    struct hierarchy *h = strcmp(type, "cgroup2") == 0                         ? &search->v2
                          : strcmp(type, "cgroup") == 0 && lists(super, "cpu") ? &search->v1
                                                                               : NULL;
    if (h && !h->found_mount)
        h->found_mount = keep(h->mounted, mounted) && keep(h->mount_root, mount_root);
}

static void read_groups(struct search *search)
{
    char line[LINE_MAX_BYTES];
    FILE *groups = open_under(search->root, "/proc/self/cgroup");
    while (groups && fgets(line, sizeof line, groups))
        take_group(search, line);
    if (groups)
        fclose(groups);
    FILE *mounts = open_under(search->root, "/proc/self/mountinfo");
    while (mounts && fgets(line, sizeof line, mounts))
        take_mount(search, line);
    if (mounts)
        fclose(mounts);
}

/* --- the way up --------------------------------------------------------------------------------------------------- */

/* The group as a path below the mount. A container may see its own group mounted as the root; whatever does not lie
 * below the mount's root is taken for that root itself. */
static const char *below_mount(const struct hierarchy *h)
{
    size_t length = strcmp(h->mount_root, "/") == 0 ? 0 : strlen(h->mount_root);
    if (strncmp(h->group, h->mount_root, length) != 0)
        return "";
    const char *rest = h->group + length;
    return *rest == '/' && rest[1] != '\0' && strstr(rest, "/..") == NULL ? rest : "";
}

static void tighten(struct search *search, unsigned cpus)
{
    if (cpus != TR_QUOTA_NONE && (search->cpus == TR_QUOTA_NONE || cpus < search->cpus))
        search->cpus = cpus;
}

static void climb(struct search *search, const struct hierarchy *h, unsigned (*limit)(const char *, const char *))
{
    char folder[2 * PATH_MAX];
    if (!h->found_mount || !h->found_group)
        return;
    snprintf(folder, sizeof folder, "%s%s", h->mounted, below_mount(h));
    size_t top = strlen(h->mounted);
    for (;;) {
        tighten(search, limit(search->root, folder));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < top)
            return;
        *slash = '\0';
    }
}

unsigned tr_quota_cpus(const char *root)
{
    struct search *search = calloc(1, sizeof *search);
    if (!search)
        return TR_QUOTA_NONE;
    search->root = root;
    read_groups(search);
    climb(search, &search->v2, limit_v2);
    climb(search, &search->v1, limit_v1);
    unsigned cpus = search->cpus;
    free(search);
    return cpus;
}
