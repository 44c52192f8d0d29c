/* SPDX-License-Identifier: Apache-2.0 */
/* Offloaded work as its actor sees it: begun, awaited with a time-out and a token, told exactly once, given up with the
 * incarnation. The actor's worker only, but tr_offload_landed. How jobs are run is crew.h's, who frees one job.h's. */
#ifndef TR_RUNTIME_OFFLOAD_H
#define TR_RUNTIME_OFFLOAD_H

#include <troupe/offload.h>

struct tr_alarm;
struct tr_signal;

/* For the crew: the job is over, its signal goes to its actor. On a thread of the crew. */
void tr_offload_landed(troupe_job *job);
/* A signal of kind TR_SIGNAL_JOB arrived at the actor, or at the slot's next one: may call `done`. */
void tr_offload_dispatch(troupe_ctx *ctx, struct tr_signal *signal);
/* Such a signal was found in the lane when the actor had ended. */
void tr_offload_bury(struct tr_signal *signal);
/* The alarm of the jobs' time rang (TR_SIGNAL_JOB_TIME): calls `done` of one that is late. */
void tr_offload_alarm(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The token that the job was begun under is cancelled: calls `done`. */
void tr_offload_cancelled(troupe_ctx *ctx, troupe_job *job);
/* The incarnation begins to end: gives up all its jobs, and it begins no more. */
void tr_offload_stopping(troupe_ctx *ctx);
/* Frees the job whose `done` has returned or panicked, if there is one. */
void tr_offload_event_done(troupe_ctx *ctx);

#endif
