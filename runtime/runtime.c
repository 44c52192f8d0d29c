/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's life: wires pool, I/O and actors together, starts, stops and frees them; and the verbs for threads
 * outside of it. troupe_run and its signals are in run.c. */
#include <troupe/runtime.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/diagnose.h"
#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/alarm.h"
#include "runtime/backtrace.h"
#include "runtime/context.h"
#include "runtime/delay.h"
#include "runtime/fault.h"
#include "runtime/instance.h"
#include "runtime/offload.h"
#include "runtime/root.h"
#include "runtime/spawn.h"
#include "runtime/stop.h"
#include "runtime/sweep.h"
#include "sched/base/assert.h"
#include "sched/cpus.h"

/* --- hooks: io's, with the reaping of cancelled alarms before each look at the wheel --- */

static int attach_hook(void *arg, struct tr_worker *worker, void **io_out)
{
    struct troupe_runtime *rt = arg;
    troupe_ctx *ctx = rt->contexts[tr_worker_index(worker)];
    void *loop;
    int status = rt->faults ? tr_fault_attach(&ctx->fault_site) : 0;
    if (status < 0)
        return status;
    status = rt->hooks.attach(rt->hooks.arg, worker, &loop);
    if (status < 0) {
        tr_fault_detach(&ctx->fault_site);
        return status;
    }
    ctx->now_ns = tr_loop_clock();
    ctx->worker = worker;
    tr_worker_set_user(worker, ctx);
    tr_watchdog_attach(&rt->watchdog, tr_worker_index(worker));
    ck_pr_fence_store();
    ck_pr_store_ptr(&ctx->loop, loop);
    *io_out = ctx;
    return 0;
}

static void detach_hook(void *io)
{
    troupe_ctx *ctx = io;
    tr_alarm_reap(ctx);
    tr_delay_reap(ctx);
    tr_watchdog_asleep(&ctx->rt->watchdog, tr_worker_index(ctx->worker));
    ctx->rt->hooks.detach(ctx->loop);
    tr_fault_detach(&ctx->fault_site);
}

/* What the loop last read, unless the worker has read the clock since. */
static void follow_clock(troupe_ctx *ctx)
{
    uint64_t now_ns = tr_loop_now(ctx->loop);
    if (now_ns > ctx->now_ns)
        ctx->now_ns = now_ns;
}

static unsigned poll_hook(void *io)
{
    troupe_ctx *ctx = io;
    tr_alarm_reap(ctx);
    tr_delay_reap(ctx);
    unsigned delivered = ctx->rt->hooks.poll(ctx->loop);
    tr_delay_send_fired(ctx);
    follow_clock(ctx);
    return delivered;
}

static unsigned wait_hook(void *io, uint64_t timeout_ns)
{
    troupe_ctx *ctx = io;
    tr_alarm_reap(ctx);
    tr_delay_reap(ctx);
    tr_watchdog_asleep(&ctx->rt->watchdog, tr_worker_index(ctx->worker));
    unsigned delivered = ctx->rt->hooks.wait(ctx->loop, timeout_ns);
    tr_watchdog_awake(&ctx->rt->watchdog, tr_worker_index(ctx->worker));
    tr_delay_send_fired(ctx);
    follow_clock(ctx); /* the next activation may come after hours of sleep */
    return delivered;
}

static bool pending_hook(void *io)
{
    const troupe_ctx *ctx = io;
    return ctx->rt->hooks.pending(ctx->loop);
}

static bool expects_hook(void *io)
{
    const troupe_ctx *ctx = io;
    return ctx->rt->hooks.expects(ctx->loop);
}

static void wake_hook(void *io)
{
    const troupe_ctx *ctx = io;
    ctx->rt->hooks.wake(ctx->loop);
}

static uint64_t now_hook(void *arg)
{
    const struct troupe_runtime *rt = arg;
    uint64_t now_ns = rt->hooks.now(rt->hooks.arg);
    troupe_ctx *ctx = tr_ctx_here(rt);
    if (ctx)
        ctx->now_ns = now_ns;
    return now_ns;
}

static uint64_t random_hook(void *io)
{
    const troupe_ctx *ctx = io;
    return ctx->rt->hooks.random(ctx->loop);
}

static struct tr_hooks wrapped_hooks(struct troupe_runtime *rt)
{
    return (struct tr_hooks){
        .attach = attach_hook,
        .detach = detach_hook,
        .poll = poll_hook,
        .pending = pending_hook,
        .expects = expects_hook,
        .wait = wait_hook,
        .wake = wake_hook,
        .now = now_hook,
        .random = random_hook,
        .arg = rt,
    };
}

_Static_assert(TROUPE_WORKERS_MAX == TR_WORKERS_MAX, "the header promises what the pool can do");

/* --- building and taking down --- */

/* Of `cpus` that can be used at once. */
static unsigned default_workers(const troupe_options *o, unsigned cpus)
{
    unsigned room = o->spare_workers < TR_WORKERS_MAX ? TR_WORKERS_MAX - o->spare_workers : 1;
    return cpus < room ? cpus : room;
}

static troupe_options with_defaults(const troupe_options *given, unsigned cpus)
{
    troupe_options o = given ? *given : (troupe_options){0};
    if (o.workers == 0)
        o.workers = default_workers(&o, cpus);
    if (!o.name)
        o.name = "troupe";
    if (o.actors_max == 0)
        o.actors_max = 1u << 20;
    if (o.batch == 0)
        o.batch = 512;
    if (o.batch_ns == 0)
        o.batch_ns = TROUPE_US(100);
    if (o.stop_timeout_ns == 0)
        o.stop_timeout_ns = TROUPE_FOREVER;
    if (o.spin_ns == 0)
        o.spin_ns = TROUPE_US(15);
    if (o.quarantine_max == 0)
        o.quarantine_max = 1024;
    if (o.crashes_kept == 0)
        o.crashes_kept = 64;
    if (o.crashes_kept > TR_CRASHES_MAX)
        o.crashes_kept = TR_CRASHES_MAX;
    if (o.watchdog_ns == 0)
        o.watchdog_ns = TROUPE_SEC(1);
    if (o.offload_threads == 0)
        o.offload_threads = 64;
    if (o.offload_queue == 0)
        o.offload_queue = 4096;
    if (o.offload_idle_ns == 0)
        o.offload_idle_ns = TROUPE_SEC(10);
    o.backtraces = o.backtraces == TROUPE_NO_BACKTRACES ? 0 : o.backtraces == 0 ? 10 : o.backtraces;
    return o;
}

/* actors_max must be had even if the other workers' caches are full of free slots. */
static uint32_t cells_for(const troupe_options *o)
{
    uint64_t cells = (uint64_t)o->actors_max + ((uint64_t)o->workers + o->spare_workers) * 2 * TR_SLOT_BATCH;
    return cells < UINT32_MAX ? (uint32_t)cells : UINT32_MAX;
}

static int contexts_make(struct troupe_runtime *rt)
{
    rt->contexts = calloc(rt->threads, sizeof(troupe_ctx *));
    if (!rt->contexts)
        return -ENOMEM;
    for (unsigned i = 0; i < rt->threads; i++) {
        size_t size = (sizeof(troupe_ctx) + TR_CACHELINE - 1) & ~(size_t)(TR_CACHELINE - 1);
        troupe_ctx *ctx = aligned_alloc(TR_CACHELINE, size);
        if (!ctx)
            return -ENOMEM;
        memset(ctx, 0, size);
        ctx->rt = rt;
        ctx->accepted_fd = -1;
        ctx->first_grain = rt->options.batch < TR_CLOCK_EVERY ? rt->options.batch : TR_CLOCK_EVERY;
        ck_stack_init(&ctx->alarm_returns);
        tr_list_init(&ctx->fresh);
        rt->contexts[i] = ctx;
    }
    return 0;
}

/* All that is behind the gate. */
static void body_free(struct troupe_runtime *rt)
{
    tr_crew_fini(&rt->crew);
    tr_watchdog_fini(&rt->watchdog);
    if (rt->pool)
        tr_pool_destroy(rt->pool);
    if (rt->io)
        tr_io_destroy(rt->io);
    if (rt->faults)
        tr_fault_uninstall();
    if (rt->contexts)
        for (unsigned i = 0; i < rt->threads; i++) {
            if (rt->contexts[i])
                tr_arena_fini(&rt->contexts[i]->scratch);
            free(rt->contexts[i]);
        }
    free(rt->contexts);
    tr_cell_table_fini(&rt->cells);
    tr_names_fini(&rt->names);
    tr_crashlog_fini(&rt->crashlog);
    tr_quarantine_fini(&rt->quarantine);
    tr_log_fini(&rt->log);
    if (rt->done_fd >= 0)
        close(rt->done_fd);
    if (rt->stop_fd >= 0)
        close(rt->stop_fd);
}

/* What stale tokens may still name. */
static void shell_free(struct troupe_runtime *rt)
{
    tr_tokens_fini(rt);
    tr_slab_fini(&rt->slab);
    free(rt);
}

static void runtime_free(struct troupe_runtime *rt)
{
    body_free(rt);
    shell_free(rt);
}

static int io_and_pool_make(struct troupe_runtime *rt)
{
    char why[512];
    int status = tr_io_create(&rt->io, rt->threads, NULL, why, sizeof why);
    if (status < 0) {
        tr_log_line(&rt->log, TROUPE_LOG_ERROR, "start", "cannot start: %s", why);
        return status;
    }
    rt->hooks = tr_io_hooks(rt->io);
    struct tr_hooks hooks = wrapped_hooks(rt);
    struct tr_pool_options pool = {
        .workers = rt->options.workers,
        .spares = rt->options.spare_workers,
        .cpus = rt->cpus,
        .pin = rt->options.pin,
        .spin_ns = rt->options.spin_ns,
        .name = rt->options.name,
        .run = tr_actor_run,
        .turn = tr_actor_turn,
        .arg = rt,
    };
    return tr_pool_create(&rt->pool, &pool, &hooks);
}

/* Decides rt->threads: 0 or -EINVAL, which is logged. */
static int threads_count(struct troupe_runtime *rt)
{
    const unsigned workers = rt->options.workers, spares = rt->options.spare_workers;
    if (workers > TR_WORKERS_MAX || spares > TR_WORKERS_MAX - workers) {
        tr_log_line(&rt->log, TROUPE_LOG_ERROR, "start", "cannot start: %u workers and %u spare ones are more than %d",
                    workers, spares, TROUPE_WORKERS_MAX);
        return -EINVAL;
    }
    rt->threads = workers + spares;
    return 0;
}

/* All actors have ended, and all jobs. */
static void tell_done(struct troupe_runtime *rt)
{
    uint64_t one = 1;
    TR_ASSERT(write(rt->done_fd, &one, sizeof one) == sizeof one);
}

static int runtime_make(struct troupe_runtime **out, const troupe_options *options)
{
    struct troupe_runtime *rt = aligned_alloc(TR_CACHELINE, sizeof *rt);
    if (!rt)
        return -ENOMEM;
    memset(rt, 0, sizeof *rt);
    rt->references = 1;
    rt->cpus = tr_cpus_usable("");
    rt->options = with_defaults(options, rt->cpus);
    rt->done_fd = eventfd(0, EFD_CLOEXEC);
    rt->stop_fd = eventfd(0, EFD_CLOEXEC);
    tr_log_init(&rt->log, rt->options.log, rt->options.log_arg, rt->options.log_level, rt->options.name);
    tr_slab_init(&rt->slab);
    tr_crew_init(&rt->crew, rt, rt->options.offload_threads, rt->options.offload_queue, rt->options.offload_idle_ns,
                 rt->options.name, tr_offload_landed, tell_done);
    tr_tokens_init(rt);
    tr_quarantine_init(&rt->quarantine, rt->options.quarantine_max);
    if (rt->options.backtraces > 0)
        tr_backtrace_prewarm();
    int status = rt->done_fd < 0 || rt->stop_fd < 0 ? -errno : threads_count(rt);
    if (status == 0)
        status = tr_crashlog_init(&rt->crashlog, rt->options.crashes_kept);
    if (status == 0)
        status = tr_cell_table_init(&rt->cells, cells_for(&rt->options));
    if (status == 0)
        status = tr_names_init(&rt->names);
    if (status == 0)
        status = contexts_make(rt);
    if (status == 0)
        status = io_and_pool_make(rt);
    if (status == 0)
        status = tr_watchdog_init(&rt->watchdog, rt);
    if (status == 0 && rt->options.recover_faults) {
        tr_fault_install(&rt->log);
        rt->faults = true;
    }
    if (status < 0) {
        runtime_free(rt);
        return status;
    }
    *out = rt;
    return 0;
}

int troupe_runtime_start(troupe_runtime **out, const troupe_behavior *root, const void *args,
                         const troupe_options *options, troupe_addr *root_addr)
{
    struct troupe_runtime *rt;
    int status = runtime_make(&rt, options);
    if (status < 0)
        return status;
    struct tr_cell *cell = tr_spawn_root(rt->contexts[0], root, args);
    unsigned failed = 0;
    status = cell ? tr_pool_start(rt->pool, &failed) : -ENOMEM;
    if (status < 0) {
        char why[512];
        tr_diagnose(status, why, sizeof why);
        tr_log_line(&rt->log, TROUPE_LOG_ERROR, "start", "cannot start worker %u: %s", failed, why);
        if (cell)
            tr_args_free(rt->contexts[0], cell);
        runtime_free(rt);
        return status;
    }
    tr_watchdog_start(&rt->watchdog);
    rt->root = tr_cell_addr(cell);
    if (root_addr)
        *root_addr = rt->root;
    tr_log_line(&rt->log, TROUPE_LOG_INFO, "start", "%u workers, I/O by %s", rt->options.workers,
                tr_io_describe(rt->io));
    *out = rt;
    tr_pool_schedule(rt->pool, &cell->runnable);
    return 0;
}

void tr_root_escalated(troupe_ctx *ctx, const troupe_crash *crash)
{
    struct troupe_runtime *rt = ctx->rt;
    if (ck_pr_cas_32(&rt->status_set, 0, 1))
        rt->status = 1;
    tr_log_line(&rt->log, TROUPE_LOG_ERROR, "stop",
                "the root %s crashed too often and nobody is above it, the runtime stops: %s", crash->behavior,
                crash->text);
}

void tr_root_ended(troupe_ctx *ctx)
{
    struct troupe_runtime *rt = ctx->rt;
    tr_sweep_end(rt);
    ck_pr_or_32(&rt->gate.word, TR_GATE_ENDED);
    tr_pool_stop(rt->pool);
    if (tr_crew_end(&rt->crew))
        tell_done(rt);
}

/* The gate before the threads: whoever is inside may still schedule something. */
int troupe_runtime_join(troupe_runtime *rt)
{
    if (tr_ctx_here(rt))
        return -EDEADLK;
    tr_stop_wait(rt, TROUPE_FOREVER);
    tr_watchdog_stop(&rt->watchdog);
    tr_tokens_end(rt);
    tr_stats_sum(rt, &rt->last_stats);
    tr_gate_close(&rt->gate);
    tr_pool_join(rt->pool);
    int status = rt->status;
    body_free(rt);
    troupe_runtime_release(rt);
    return status;
}

troupe_runtime *troupe_runtime_retain(troupe_runtime *rt)
{
    uint32_t before = ck_pr_faa_32(&rt->references, 1);
    TR_ASSERT(before > 0); /* a reference is made from one that is held */
    return rt;
}

void troupe_runtime_release(troupe_runtime *rt)
{
    ck_pr_fence_release();
    uint32_t before = ck_pr_faa_32(&rt->references, UINT32_MAX);
    TR_ASSERT(before > 0); /* more were released than retained */
    if (before > 1)
        return;
    ck_pr_fence_acquire();
    shell_free(rt);
}
