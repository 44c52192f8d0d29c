/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/diagnose.h"
#include "io/loop.h"

static const struct tr_refusal_facts plain = {.memlock_bytes = 8 << 20, .files = 1024, .kernel = "6.1.0-test"};

static char why[1024];

static const char *explain(int error, struct tr_refusal_facts facts)
{
    tr_diagnose_refusal(error, &facts, why, sizeof why);
    return why;
}

static void expect(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "`%s` is not in: %s", part, text);
}

Test(diagnose, names_the_sysctl_that_forbids)
{
    struct tr_refusal_facts facts = plain;
    facts.io_uring_disabled = 2;
    facts.root = true;
    facts.seccomp = 2; /* the sysctl is the surer cause */
    expect(explain(-EPERM, facts), "kernel.io_uring_disabled is 2");
    expect(why, "sysctl kernel.io_uring_disabled=0");
    facts.io_uring_disabled = 1;
    facts.root = false;
    expect(explain(-EPERM, facts), "kernel.io_uring_group");
}

Test(diagnose, names_seccomp_and_the_profiles_that_do_it)
{
    struct tr_refusal_facts facts = plain;
    facts.seccomp = 2;
    expect(explain(-EPERM, facts), "seccomp");
    expect(why, "Docker");
    expect(why, "containerd");
    expect(why, "--security-opt");
    facts.io_uring_disabled = 1; /* leaves it to root, and root was refused all the same */
    facts.root = true;
    expect(explain(-EPERM, facts), "seccomp");
}

Test(diagnose, a_refusal_without_a_known_cause_says_where_to_look)
{
    expect(explain(-EPERM, plain), "security module");
}

Test(diagnose, names_the_memlock_limit_and_how_to_raise_it)
{
    struct tr_refusal_facts facts = plain;
    facts.memlock_bytes = 64 << 10;
    expect(explain(-ENOMEM, facts), "RLIMIT_MEMLOCK is 64 KiB");
    expect(why, "ulimit -l");
    expect(why, "LimitMEMLOCK");
    facts.memlock_bytes = UINT64_MAX;
    expect(explain(-ENOMEM, facts), "unlimited");
}

Test(diagnose, names_the_kernel_that_is_too_old)
{
    struct tr_refusal_facts facts = plain;
    strcpy(facts.kernel, "4.19.0");
    expect(explain(-ENOSYS, facts), "4.19.0");
    expect(why, "5.15");
    expect(explain(-EINVAL, facts), "EINVAL");
    expect(explain(-ENOTSUP, facts), "self-test");
    facts.seccomp = 2;
    expect(explain(-ENOSYS, facts), "gVisor");
}

Test(diagnose, other_errors_keep_their_name)
{
    expect(explain(-EMFILE, plain), "RLIMIT_NOFILE is 1024");
    expect(explain(-EIO, plain), "errno 5");
}

Test(diagnose, the_sentence_is_cut_to_the_space_and_terminated)
{
    char tiny[8];
    memset(tiny, 'x', sizeof tiny);
    tr_diagnose_refusal(-EPERM, &plain, tiny, sizeof tiny);
    cr_assert_eq(tiny[7], '\0');
}

/* Runs body in a child and returns what it says of its attempt to create an io. */
static void in_child(void (*prepare)(void), char *out, size_t size, int *status)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char text[1024] = "";
        struct tr_io *io;
        prepare();
        int error = tr_io_create(&io, 1, NULL, text, sizeof text);
        ssize_t written = write(fds[1], text, strlen(text));
        (void)written;
        _exit(error == 0 ? 0 : -error);
    }
    close(fds[1]);
    ssize_t got = read(fds[0], out, size - 1);
    out[got > 0 ? got : 0] = '\0';
    close(fds[0]);
    cr_assert_eq(waitpid(pid, status, 0), pid);
    cr_assert(WIFEXITED(*status));
}

/* As the default profiles of container runtimes do: io_uring_setup answers EPERM, all else is allowed. */
static void forbid_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(99);
}

Test(diagnose, an_io_refused_by_a_real_seccomp_filter_says_so)
{
    char text[1024];
    int status;
    in_child(forbid_io_uring, text, sizeof text, &status);
    cr_assert_eq(WEXITSTATUS(status), EPERM);
    expect(text, "seccomp");
    expect(text, "io_uring_setup");
}

static void lock_no_memory(void)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0))
        _exit(99);
}

Test(diagnose, an_io_without_lockable_memory_names_the_limit)
{
    char text[1024];
    int status;
    in_child(lock_no_memory, text, sizeof text, &status);
    if (WEXITSTATUS(status) == 0)
        cr_skip_test("this kernel does not charge rings to RLIMIT_MEMLOCK");
    cr_assert_eq(WEXITSTATUS(status), ENOMEM, "%s", text);
    expect(text, "RLIMIT_MEMLOCK is 0 KiB");
}
