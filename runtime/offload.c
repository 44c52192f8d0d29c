/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/offload.h"

#include <errno.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/context.h"
#include "runtime/hook.h"
#include "runtime/incarnation.h"
#include "runtime/job.h"
#include "runtime/mailbox.h"
#include "runtime/memory.h"
#include "runtime/timer.h"
#include "sched/base/assert.h"

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static bool may_begin(const struct tr_cell *cell)
{
    return cell->life == TR_LIFE_RUNNING || cell->life == TR_LIFE_STARTING;
}

static troupe_job *job_new(troupe_ctx *ctx, troupe_job_fn *fn, const void *work, size_t size,
                           const troupe_offload_options *options)
{
    const struct tr_cell *cell = ctx->cell;
    troupe_job *job = size < PTRDIFF_MAX / 2 ? tr_memory_alloc(sizeof *job + size) : NULL;
    if (!job)
        return NULL;
    memset(job, 0, sizeof *job);
    job->fn = fn;
    job->work = size > 0 ? job->copy : (void *)(uintptr_t)work;
    job->size = size;
    job->token = ctx->under;
    job->cell = ctx->cell;
    job->behavior = cell->behavior->name;
    job->index = cell->index;
    job->name = options && options->name ? options->name : "job";
    job->drop = options ? options->drop : NULL;
    job->deadline_ns =
        options && options->timeout_ns > 0 ? tr_loop_deadline(options->timeout_ns) : (uint64_t)TROUPE_FOREVER;
    job->signal.kind = TR_SIGNAL_JOB;
    tr_list_init(&job->queue);
    tr_list_init(&job->mine);
    if (size > 0)
        memcpy(job->copy, work, size);
    return job;
}

/* Most jobs of one actor have the same time-out, so the place is found at the tail. */
static void await(struct tr_incarnation *inc, troupe_job *job)
{
    if (job->deadline_ns == TROUPE_FOREVER) {
        tr_list_push_back(&inc->jobs_forever, &job->mine);
        return;
    }
    struct tr_list *after = inc->jobs.prev;
    while (after != &inc->jobs && TR_CONTAINER_OF(after, troupe_job, mine)->deadline_ns > job->deadline_ns)
        after = after->prev;
    tr_list_insert_between(&job->mine, after, after->next);
}

/* Makes sure that the alarm, one for all jobs of the incarnation, rings no later than at deadline_ns. One that rings
 * too early is harmless. False: out of memory. */
static bool alarm_by(troupe_ctx *ctx, struct tr_incarnation *inc, uint64_t deadline_ns)
{
    if (deadline_ns == TROUPE_FOREVER || (inc->job_alarm && inc->job_alarm_due_ns <= deadline_ns))
        return true;
    struct tr_timer_record *record = tr_timer_record_get(ctx);
    if (!record)
        return false;
    if (inc->job_alarm)
        tr_alarm_cancel(ctx,
                        inc->job_alarm); /* if it has fired, tr_offload_alarm sees that it is not the current one */
    inc->job_alarm = &record->alarm;
    inc->job_alarm_due_ns = deadline_ns;
    tr_alarm_arm(ctx, inc->job_alarm, TR_SIGNAL_JOB_TIME, deadline_ns);
    return true;
}

/* All that its end needs is had before the crew takes it. */
static int begin(troupe_ctx *ctx, struct tr_incarnation *inc, troupe_job *job)
{
    int status = tr_hook_under(ctx, TR_HOOK_JOB, job, &job->hook);
    if (status < 0)
        return status;
    status = alarm_by(ctx, inc, job->deadline_ns) ? tr_crew_submit(&ctx->rt->crew, job) : -ENOMEM;
    if (status < 0)
        tr_hook_drop(ctx, &job->hook);
    else
        await(inc, job); /* whatever has become of it by now, its signal is dispatched later */
    return status;
}

int troupe_offload(troupe_ctx *ctx, troupe_job_fn *fn, const void *work, size_t size,
                   const troupe_offload_options *options, troupe_offload_fn *done, void *arg)
{
    if (!fn || !done)
        troupe_panic_at(ctx, "", 0, "troupe_offload: fn or done is NULL");
    if (!may_begin(ctx->cell))
        return -ECANCELED;
    struct tr_incarnation *inc = tr_incarnation_of(ctx);
    troupe_job *job = inc ? job_new(ctx, fn, work, size, options) : NULL;
    if (!job)
        return -ENOMEM;
    job->done = done;
    job->arg = arg;
    int status = begin(ctx, inc, job);
    if (status < 0) {
        job->drop = NULL;
        tr_job_free(job);
    }
    return status;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void forget(troupe_ctx *ctx, troupe_job *job)
{
    tr_list_remove(&job->mine);
    if (TR_UNLIKELY(job->hook != NULL))
        tr_hook_drop(ctx, &job->hook);
}

/* The job is somebody else's afterwards, or gone. */
static void give_up(troupe_ctx *ctx, troupe_job *job)
{
    forget(ctx, job);
    job->orphan = true; /* for its signal, if that is on the way */
    if (tr_crew_withdraw(&ctx->rt->crew, job))
        tr_job_free(job);
}

static void call_done(troupe_ctx *ctx, troupe_offload_fn *done, const troupe_offload_result *result)
{
    tr_actor_enter(ctx, "offloaded");
    done(ctx, ctx->cell->state, result);
    tr_actor_leave(ctx);
    tr_count(&ctx->stats.messages_handled, 1);
}

/* Ends it before its time. */
static void fail(troupe_ctx *ctx, troupe_job *job, int status)
{
    troupe_offload_fn *done = job->done;
    troupe_offload_result result = {.status = status, .arg = job->arg};
    give_up(ctx, job);
    call_done(ctx, done, &result);
}

void tr_offload_event_done(troupe_ctx *ctx)
{
    if (ctx->event_job)
        tr_job_free(ctx->event_job);
    ctx->event_job = NULL;
}

/* It ran: `done` has the work from here on, also if it panics. */
static void hand_over(troupe_ctx *ctx, troupe_job *job)
{
    troupe_offload_result result = {.result = job->result, .work = job->work, .size = job->size, .arg = job->arg};
    forget(ctx, job);
    job->drop = NULL;
    ctx->event_job = job;
    call_done(ctx, job->done, &result);
    tr_offload_event_done(ctx);
}

/* Once its token is cancelled a job ends with that and nothing else, although the news may still be on their way. */
static int verdict(const troupe_job *job)
{
    if (TR_UNLIKELY(job->hook != NULL) && tr_hook_cancelled(job->hook))
        return -ECANCELED;
    return job->ran ? 0 : job->result;
}

void tr_offload_dispatch(troupe_ctx *ctx, struct tr_signal *signal)
{
    troupe_job *job = TR_CONTAINER_OF(signal, troupe_job, signal);
    if (job->orphan) {
        tr_job_free(job);
        return;
    }
    int status = verdict(job);
    if (status == 0) {
        hand_over(ctx, job);
        return;
    }
    troupe_offload_fn *done = job->done;
    troupe_offload_result result = {.status = status, .arg = job->arg};
    forget(ctx, job);
    tr_job_free(job);
    call_done(ctx, done, &result);
}

void tr_offload_bury(struct tr_signal *signal)
{
    tr_job_free(TR_CONTAINER_OF(signal, troupe_job, signal));
}

void tr_offload_cancelled(troupe_ctx *ctx, troupe_job *job)
{
    job->hook = NULL;
    fail(ctx, job, -ECANCELED);
}

void tr_offload_landed(troupe_job *job)
{
    struct troupe_runtime *rt = job->crew->rt;
    struct tr_cell *cell = job->cell;
    switch (tr_mailbox_signal(cell, &job->signal)) {
    case TR_PUSH_QUEUED:
        break;
    case TR_PUSH_WAKE:
        tr_ctx_wake(rt, cell);
        break;
    case TR_PUSH_CLOSED:
        tr_job_free(job);
        break;
    }
}

/* --- time-outs and ends ------------------------------------------------------------------------------------------- */

/* The alarm has rung: again for the next job. One that is late already is the next signal, since each may call user
 * code that panics. No memory is needed. */
static void rearm(troupe_ctx *ctx, struct tr_incarnation *inc)
{
    struct tr_alarm *alarm = inc->job_alarm;
    struct tr_list *first = tr_list_first(&inc->jobs);
    if (!first) {
        inc->job_alarm = NULL;
        tr_alarm_free(ctx, alarm);
        return;
    }
    inc->job_alarm_due_ns = TR_CONTAINER_OF(first, troupe_job, mine)->deadline_ns;
    if (inc->job_alarm_due_ns <= tr_loop_clock())
        TR_ASSERT(tr_mailbox_signal(ctx->cell, &alarm->signal) == TR_PUSH_QUEUED); /* it runs, so it is not idle */
    else
        tr_alarm_arm(ctx, alarm, TR_SIGNAL_JOB_TIME, inc->job_alarm_due_ns);
}

void tr_offload_alarm(troupe_ctx *ctx, struct tr_alarm *alarm)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    if (!inc || inc->job_alarm != alarm) {
        tr_alarm_free(ctx, alarm);
        return;
    }
    struct tr_list *first = tr_list_first(&inc->jobs);
    troupe_job *job = first ? TR_CONTAINER_OF(first, troupe_job, mine) : NULL;
    if (!job || job->deadline_ns > tr_loop_clock()) {
        rearm(ctx, inc);
        return;
    }
    bool cancelled = job->hook && tr_hook_cancelled(job->hook);
    tr_list_remove(&job->mine);
    rearm(ctx, inc); /* before `done`, which may panic */
    fail(ctx, job, cancelled ? -ECANCELED : -ETIMEDOUT);
}

void tr_offload_stopping(troupe_ctx *ctx)
{
    struct tr_incarnation *inc = ctx->cell->incarnation;
    struct tr_list *first;
    if (!inc)
        return;
    while ((first = tr_list_first(&inc->jobs)) || (first = tr_list_first(&inc->jobs_forever)))
        give_up(ctx, TR_CONTAINER_OF(first, troupe_job, mine));
    if (inc->job_alarm)
        tr_alarm_cancel(ctx, inc->job_alarm);
    inc->job_alarm = NULL;
}
