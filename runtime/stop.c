/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stop.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/mailbox.h"
#include "runtime/survivors.h"
#include "sched/base/assert.h"

void troupe_runtime_request_stop(troupe_runtime *rt)
{
    uint64_t one = 1;
    if (ck_pr_cas_32(&rt->stop_requested, 0, 1))
        TR_ASSERT(write(rt->stop_fd, &one, sizeof one) == sizeof one);
    struct tr_cell *cell = tr_cell_find(&rt->cells, rt->root);
    if (tr_mailbox_control(cell, tr_addr_generation(rt->root), TR_CONTROL_STOP, 0) == TR_PUSH_WAKE)
        tr_ctx_wake(rt, cell);
}

void troupe_stop_runtime(troupe_ctx *ctx, int status)
{
    struct troupe_runtime *rt = ctx->rt;
    if (ck_pr_cas_32(&rt->status_set, 0, 1))
        rt->status = status;
    troupe_runtime_request_stop(rt);
}

/* poll counts in milliseconds: rounded up, and asked again until the clock says so. */
static int milliseconds(uint64_t ns)
{
    uint64_t ms = ns / TROUPE_MS(1) + (ns % TROUPE_MS(1) != 0);
    return ms > 1000000 ? 1000000 : (int)ms;
}

int tr_stop_wait(troupe_runtime *rt, uint64_t timeout_ns)
{
    struct pollfd done = {.fd = rt->done_fd, .events = POLLIN};
    uint64_t now_ns = tr_loop_clock();
    uint64_t until_ns = timeout_ns < TROUPE_FOREVER - now_ns ? now_ns + timeout_ns : TROUPE_FOREVER;
    for (;;) {
        int ready = poll(&done, 1, until_ns == TROUPE_FOREVER ? -1 : milliseconds(until_ns - now_ns));
        TR_ASSERT(ready >= 0 || errno == EINTR);
        if (ready > 0)
            return 0;
        now_ns = tr_loop_clock();
        if (now_ns >= until_ns)
            return -ETIMEDOUT;
    }
}

static void log_line(void *arg, const char *line)
{
    troupe_runtime *rt = arg;
    tr_log_line(&rt->log, TROUPE_LOG_ERROR, "survivor", "%s", line);
}

void tr_stop_report(troupe_runtime *rt)
{
    tr_log_line(&rt->log, TROUPE_LOG_ERROR, "stop",
                "the runtime was told to stop and has not: these actors still live");
    tr_survivors_each(rt, log_line, rt);
    tr_log_flush(&rt->log);
}

int troupe_runtime_stop(troupe_runtime *rt, uint64_t timeout_ns)
{
    troupe_runtime_request_stop(rt);
    int status = tr_stop_wait(rt, timeout_ns);
    if (status < 0)
        tr_stop_report(rt);
    return status;
}
