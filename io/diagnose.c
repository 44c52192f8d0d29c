/* SPDX-License-Identifier: Apache-2.0 */
#include "io/diagnose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SECCOMP_FILTER 2

/* The number after `key` (empty: at the start) in a file of /proc, or -1. */
static int number_in(const char *path, const char *key)
{
    char line[256];
    int number = -1;
    size_t key_length = strlen(key);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    while (number < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, key_length) == 0)
            number = (int)strtol(line + key_length, NULL, 10);
    fclose(file);
    return number;
}

static uint64_t soft_limit(__rlimit_resource_t resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

void tr_diagnose_facts(struct tr_refusal_facts *facts)
{
    struct utsname name;
    *facts = (struct tr_refusal_facts){
        .io_uring_disabled = number_in("/proc/sys/kernel/io_uring_disabled", ""),
        .seccomp = number_in("/proc/self/status", "Seccomp:"),
        .root = geteuid() == 0,
        .memlock_bytes = soft_limit(RLIMIT_MEMLOCK),
        .files = soft_limit(RLIMIT_NOFILE),
    };
    if (uname(&name) == 0)
        snprintf(facts->kernel, sizeof facts->kernel, "%.63s", name.release);
}

static void explain_forbidden(const struct tr_refusal_facts *facts, char *out, size_t size)
{
    if (facts->io_uring_disabled == 2)
        snprintf(
            out, size,
            "io_uring is refused (EPERM): the sysctl kernel.io_uring_disabled is 2, which forbids it to everybody. "
            "Remedy: as root, `sysctl kernel.io_uring_disabled=0`.");
    else if (facts->io_uring_disabled == 1 && !facts->root)
        snprintf(
            out, size,
            "io_uring is refused (EPERM): the sysctl kernel.io_uring_disabled is 1, which leaves it to root and to the "
            "group in kernel.io_uring_group. Remedy: add the user to that group, or as root "
            "`sysctl kernel.io_uring_disabled=0`.");
    else if (facts->seccomp == SECCOMP_FILTER)
        snprintf(
            out, size,
            "io_uring is refused (EPERM): a seccomp filter is active in this process; the default profiles of Docker "
            "and containerd forbid io_uring_setup. Remedy: run the container with a profile that allows "
            "io_uring_setup, io_uring_enter and io_uring_register (`--security-opt seccomp=profile.json`).");
    else
        snprintf(
            out, size,
            "io_uring is refused (EPERM), though neither kernel.io_uring_disabled nor a seccomp filter forbids it: a "
            "security module (SELinux, AppArmor) may. Remedy: look for a denial in `dmesg` or the audit log.");
}

static void explain_missing(int error, const struct tr_refusal_facts *facts, char *out, size_t size)
{
    if (facts->seccomp == SECCOMP_FILTER && error == -ENOSYS)
        snprintf(
            out, size,
            "io_uring is missing (ENOSYS): kernel %s, and a seccomp filter is active that may hide it (a container's "
            "profile, or a sandbox such as gVisor). Remedy: allow io_uring_setup, io_uring_enter and "
            "io_uring_register in the seccomp profile, or run on Linux 5.15 or newer.",
            facts->kernel);
    else
        snprintf(
            out, size,
            "io_uring is missing or too old here (%s): the kernel is %s, and Linux 5.15 or newer is needed. Remedy: "
            "run on a newer kernel, built with CONFIG_IO_URING=y.",
            error == -ENOSYS   ? "ENOSYS"
            : error == -EINVAL ? "EINVAL"
                               : "it gave wrong answers in the self-test",
            facts->kernel);
}

static void explain_memory(const struct tr_refusal_facts *facts, char *out, size_t size)
{
    if (facts->memlock_bytes == UINT64_MAX)
        snprintf(out, size,
                 "io_uring got no memory (ENOMEM), though RLIMIT_MEMLOCK is unlimited. Remedy: give the process or its "
                 "control group more memory.");
    else
        snprintf(
            out, size,
            "io_uring got no memory (ENOMEM): RLIMIT_MEMLOCK is %llu KiB for all processes of this user together, and "
            "each worker's rings count against it with about 100 KiB. Remedy: raise it with `ulimit -l`, "
            "LimitMEMLOCK= in the systemd unit, `--ulimit memlock=` of Docker, or use fewer workers.",
            (unsigned long long)facts->memlock_bytes / 1024);
}

void tr_diagnose_refusal(int error, const struct tr_refusal_facts *facts, char *out, size_t size)
{
    switch (error) {
    case -EPERM:
    case -EACCES:
        explain_forbidden(facts, out, size);
        return;
    case -ENOSYS:
    case -EINVAL:
    case -ENOTSUP:
        explain_missing(error, facts, out, size);
        return;
    case -ENOMEM:
        explain_memory(facts, out, size);
        return;
    case -EMFILE:
    case -ENFILE:
        snprintf(out, size,
                 "io_uring got no file descriptor (%s): RLIMIT_NOFILE is %llu. Remedy: raise it with `ulimit -n` or "
                 "LimitNOFILE= in the systemd unit.",
                 error == -EMFILE ? "EMFILE" : "ENFILE", (unsigned long long)facts->files);
        return;
    default:
        snprintf(out, size, "io_uring could not be set up on kernel %s: %s (errno %d).", facts->kernel,
                 strerror(-error), -error);
        return;
    }
}

void tr_diagnose(int error, char *out, size_t size)
{
    struct tr_refusal_facts facts;
    tr_diagnose_facts(&facts);
    tr_diagnose_refusal(error, &facts, out, size);
}
