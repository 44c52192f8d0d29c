/* SPDX-License-Identifier: Apache-2.0 */
/* Offloading: work that blocks or takes long, run by threads of the runtime that are not workers; its result comes back
 * to the actor. For library calls that wait, name look-ups, compression; file work has verbs of its own (file.h).
 * troupe_offload is for the actor that runs at the moment; what has a troupe_job is for the job's own function, on its
 * thread. It is no second way to send messages, and jobs are no actors: nobody restarts one. */
#ifndef TROUPE_OFFLOAD_H
#define TROUPE_OFFLOAD_H

#include <troupe/crash.h>
#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A job that runs, as its own function sees it. Valid until that function returns. */
typedef struct troupe_job troupe_job;

/* The work. Runs once, at most, on a thread troupe/b0, troupe/b1, ... with all signals blocked but those that a thread
 * brings upon itself.
 *   work  the job's copy, which it may change (results go there); with size 0 the pointer that troupe_offload was given
 * It may block, take locks, call the verbs for threads outside of the runtime (troupe_runtime_tell,
 * troupe_token_cancel, ...; troupe_job_runtime says which runtime), but not wait there for the runtime's end, which
 * waits for the job. It has no troupe_ctx and must not use one, nor an actor's state or memory, which may be gone
 * before it is: an actor that ends does not wait for its jobs. It must not panic: a panic in it, like any outside of a
 * callback, ends the process, and so does a hardware fault. It must return. What it returns is handed to done. */
typedef int troupe_job_fn(troupe_job *job, void *work);

/* True once nobody waits for the job's result any more: its time is up, its token is cancelled, or its incarnation
 * ends. Then it should return soon; what it returns is not looked at. A look costs a few loads: poll it between
 * pieces. */
TROUPE_API bool troupe_job_cancelled(const troupe_job *job);
/* Sleeps until that, at most timeout_ns: true as above. For jobs that have to pause or to try again. */
TROUPE_API bool troupe_job_wait(troupe_job *job, uint64_t timeout_ns);
TROUPE_API troupe_runtime *troupe_job_runtime(const troupe_job *job);

/* What became of a job. status is one of
 *   0           its function returned `result`
 *   -ETIMEDOUT  its time was up, in the queue or while it ran
 *   -ECANCELED  the token it was begun under is cancelled (token.h)
 * Below 0 there is no work to look at: the job may still be at it. */
typedef struct troupe_offload_result {
    int status;
    int result;  /* status 0: what the function returned */
    void *work;  /* status 0: as the function left it; a copy is freed when the callback has returned */
    size_t size; /* of the copy */
    void *arg;   /* as given */
} troupe_offload_result;

/* Runs in the actor, like a handler, and like an I/O event also while the actor holds its mailbox. */
typedef void troupe_offload_fn(troupe_ctx *ctx, void *self, const troupe_offload_result *result);

/* Zeroed: the defaults. */
typedef struct troupe_offload_options {
    const char *name;    /* for logs and reports; constant data. Default "job" */
    uint64_t timeout_ns; /* from now until the result, the time in the queue included; 0 or TROUPE_FOREVER: none */
    /* Frees what the work owns if done is not given it: called once for each job that was accepted and whose done is
     * not called with status 0. When: the job never began (ran false); or it has returned (ran true, result: what) and
     * nobody wanted that any more. On any thread of the runtime, workers included: it should be short, has no ctx, and
     * must not panic. */
    void (*drop)(void *work, size_t size, bool ran, int result);
} troupe_offload_options;

/* troupe_offload - have fn(work) run elsewhere, and done called here with what it returned.
 *   work, size  size bytes are copied before the call returns, aligned to 16, and the copy is the job's and then
 *               done's. size 0: the pointer itself (may be NULL); what it points to must outlive the job, which may
 *               outlive this incarnation
 *   options     NULL: defaults
 *   done        required; called exactly once and never inside of this call, unless this incarnation ends before
 *   arg         handed to done; the runtime never looks at it
 * Jobs begin in the order offloaded, whosoever's they are, and run side by side, up to troupe_options.offload_threads;
 * so results may come in any order. A thread is made when a job finds none idle, and ends when it has been
 * without one for troupe_options.offload_idle_ns.
 * A job that is cancelled or late while it waits in the queue never runs. One that runs is told (troupe_job_cancelled)
 * and done is called at once; when it returns at last its result goes to drop. When the incarnation begins to end, by
 * crash, restart, stop or kill, the same happens to all its jobs, without done: no result reaches another incarnation,
 * and none is waited for. The end of the runtime does wait for jobs that run (troupe_runtime_stop names them).
 * Nothing needs memory when a job ends: a result cannot be lost.
 * Returns 0: fn will run, or done will say why not. Else neither fn nor done nor drop is called: -EAGAIN: too many jobs
 *   wait (troupe_options.offload_queue), or no thread can be had; -ENOMEM; -ECANCELED: the token of troupe_under is
 *   cancelled, or this incarnation ends (`stopped`, `crashed`, after troupe_stop_self). */
TROUPE_API int troupe_offload(troupe_ctx *ctx, troupe_job_fn *fn, const void *work, size_t size,
                              const troupe_offload_options *options, troupe_offload_fn *done, void *arg);

#ifdef __cplusplus
}
#endif

#endif
