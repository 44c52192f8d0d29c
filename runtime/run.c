/* SPDX-License-Identifier: Apache-2.0 */
/* troupe_run: start, wait for the end or a signal, join. */
#include <troupe/runtime.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/instance.h"
#include "runtime/stop.h"

/* The first SIGINT or SIGTERM stops the runtime in order; a second one says who is in the way and ends the process at
 * once, for the person whose program does not stop. */
static void take_signal(troupe_runtime *rt, int signal_fd, bool *signalled)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (*signalled) {
        tr_stop_report(rt);
        _exit(128 + (int)info.ssi_signo);
    }
    *signalled = true;
    troupe_runtime_request_stop(rt);
}

/* Waits until the root has ended: 0; or, once it was told to stop, at most the time-out: -ETIMEDOUT. */
static int wait_for_end(troupe_runtime *rt, int signal_fd)
{
    struct pollfd fds[3] = {{.fd = rt->done_fd, .events = POLLIN},
                            {.fd = signal_fd, .events = POLLIN},
                            {.fd = rt->stop_fd, .events = POLLIN}};
    uint64_t until_ns = TROUPE_FOREVER;
    bool signalled = false;
    for (;;) {
        int ready = poll(fds, 3, tr_stop_poll_ms(until_ns));
        if (ready < 0)
            continue;
        if (fds[0].revents)
            return 0;
        if (fds[1].revents)
            take_signal(rt, signal_fd, &signalled);
        if (fds[2].revents) {
            fds[2].fd = -1;
            until_ns = tr_loop_deadline(rt->options.stop_timeout_ns);
        }
        if (ready == 0 && tr_loop_clock() >= until_ns)
            return -ETIMEDOUT;
    }
}

static int start_and_wait(const troupe_behavior *root, const void *args, const troupe_options *options, int signal_fd)
{
    troupe_runtime *rt;
    int status = troupe_runtime_start(&rt, root, args, options, NULL);
    if (status < 0)
        return status;
    status = wait_for_end(rt, signal_fd);
    if (status == 0)
        return troupe_runtime_join(rt);
    tr_stop_report(rt);
    return status; /* its threads still run: nothing of it can be freed */
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
