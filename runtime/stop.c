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
    if (!tr_gate_enter(&rt->gate))
        return;
    if (ck_pr_cas_32(&rt->stop_requested, 0, 1))
        TR_ASSERT(write(rt->stop_fd, &one, sizeof one) == sizeof one);
    struct tr_cell *cell = tr_cell_find(&rt->cells, rt->root);
    if (tr_mailbox_control(cell, tr_addr_generation(rt->root), TR_CONTROL_STOP, 0) == TR_PUSH_WAKE)
        tr_ctx_wake(rt, cell);
    tr_gate_leave(&rt->gate);
}

void troupe_stop_runtime(troupe_ctx *ctx, int status)
{
    struct troupe_runtime *rt = ctx->rt;
    if (ck_pr_cas_32(&rt->status_set, 0, 1))
        rt->status = status;
    troupe_runtime_request_stop(rt);
}

int tr_stop_poll_ms(uint64_t until_ns)
{
    uint64_t now_ns = tr_loop_clock();
    if (until_ns == TROUPE_FOREVER)
        return -1;
    uint64_t ns = until_ns > now_ns ? until_ns - now_ns : 0, ms = ns / TROUPE_MS(1) + (ns % TROUPE_MS(1) != 0);
    return ms > 1000000 ? 1000000 : (int)ms;
}

int tr_stop_wait(troupe_runtime *rt, uint64_t timeout_ns)
{
    struct pollfd done = {.fd = rt->done_fd, .events = POLLIN};
    uint64_t until_ns = tr_loop_deadline(timeout_ns);
    for (;;) {
        int ready = poll(&done, 1, tr_stop_poll_ms(until_ns));
        TR_ASSERT(ready >= 0 || errno == EINTR);
        if (ready > 0)
            return 0;
        if (tr_loop_clock() >= until_ns)
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
                "the runtime was told to stop and has not: these actors and jobs still live");
    tr_survivors_each(rt, log_line, rt);
    tr_log_flush(&rt->log);
}

int troupe_runtime_stop(troupe_runtime *rt, uint64_t timeout_ns)
{
    if (tr_ctx_here(rt))
        return -EDEADLK;
    if (!tr_gate_look(&rt->gate))
        return 0;
    troupe_runtime_request_stop(rt);
    int status = tr_stop_wait(rt, timeout_ns);
    if (status < 0)
        tr_stop_report(rt);
    tr_gate_leave(&rt->gate);
    return status;
}
