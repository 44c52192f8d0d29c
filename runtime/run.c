/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_run: start, wait for the end or a signal, join. */
#include <troupe/runtime.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runtime/instance.h"

/* Waits until the root has ended. The first SIGINT or SIGTERM stops the runtime in order; a second one ends the process at
 * once, for the person whose program does not stop. */
static void wait_for_end(troupe_runtime *rt, int signal_fd)
{
    struct pollfd fds[2] = {{.fd = rt->done_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    for (bool stopping = false;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents)
            return;
        struct signalfd_siginfo info;
        if (!fds[1].revents || read(signal_fd, &info, sizeof info) != sizeof info)
            continue;
        if (stopping)
            _exit(128 + (int)info.ssi_signo);
        stopping = true;
        troupe_runtime_stop(rt);
    }
}

static int start_and_wait(const troupe_behavior *root, const void *args, const troupe_options *options, int signal_fd)
{
    troupe_runtime *rt;
    int status = troupe_runtime_start(&rt, root, args, options, NULL);
    if (status < 0)
        return status;
    if (signal_fd >= 0)
        wait_for_end(rt, signal_fd);
    return troupe_runtime_join(rt);
}

int troupe_run(const troupe_behavior *root, const void *args, const troupe_options *options)
{
    if (!options || !options->stop_on_signals)
        return start_and_wait(root, args, options, -1);
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    int status = signal_fd < 0 ? -errno : start_and_wait(root, args, options, signal_fd);
    if (signal_fd >= 0)
        close(signal_fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}
