/* SPDX-License-Identifier: Apache-2.0 */
/* A job: work that an actor offloaded. One block of memory, made with all that its end will need. It is shared by the
 * actor's worker (offload.h) and the crew (crew.h); who has which field is said below.
 * It is not what an actor awaits: that is the entry in its incarnation's lists, which ends with the incarnation. */
#ifndef TR_RUNTIME_JOB_H
#define TR_RUNTIME_JOB_H

#include <troupe/offload.h>
#include <troupe/token.h>

#include <stdalign.h>

#include "runtime/signal.h"
#include "sched/base/list.h"

struct tr_cell;
struct tr_crew;
struct tr_crew_thread;
struct tr_token_hook;

/* STATES, under the crew's lock:
 *   QUEUED    in the crew's queue. Taken by a thread (RUNNING, or OVER without having run if it is late or cancelled),
 *             or withdrawn by the actor, whose it is then
 *   RUNNING   a thread calls its function. The actor may withdraw it: told, and `unwanted`
 *   OVER      the thread has called crew->landed, or is about to: the job's signal goes to the actor's lane
 * Who frees it, exactly one:
 *   the actor's worker   withdrawn from the queue; or its signal was dispatched, or found in the lane at the actor's
 *                        end (bury), whether it is still awaited or not
 *   the thread           it returned and is unwanted; or it landed on a lane that was closed
 * A job that is OVER when the actor gives it up is on its way, and cannot be called back: `orphan` makes its dispatch
 * free it and no more. So a signal may come to the next incarnation, or to the slot's next actor, and does nothing
 * there.
 * Edges: the lock, between actor and thread; the push of the signal (release) and its dispatch (acquire), for what the
 * function wrote; that of the slot's reuse, for `orphan`. `cancelled` is written under the lock and read without, as a
 * hint: it publishes nothing.
 * Checked by: tests/runtime/test_offload.c, tests/stress/stress_offload.c (ThreadSanitizer). */
enum tr_job_state { TR_JOB_QUEUED, TR_JOB_RUNNING, TR_JOB_OVER };

struct troupe_job {
    /* Constant once submitted. */
    struct tr_crew *crew;
    troupe_job_fn *fn;
    void *work; /* copy, or what was given */
    size_t size;
    void (*drop)(void *work, size_t size, bool ran, int result); /* NULL also when done has the work */
    troupe_token token;                                          /* ref NULL: none */
    uint64_t deadline_ns;                                        /* TROUPE_FOREVER */
    struct tr_cell *cell;
    const char *name, *behavior; /* for reports */
    uint32_t index;              /* of the actor's slot, for reports */
    /* Under the crew's lock. */
    struct tr_list queue;
    enum tr_job_state state;
    bool unwanted;
    uint32_t cancelled; /* 0, then 1 for good */
    struct tr_crew_thread *thread;
    uint64_t began_ns;
    /* The thread's until it is OVER. */
    bool ran;
    int result; /* of its function; not ran: -ETIMEDOUT or -ECANCELED */
    /* The actor's. */
    bool orphan;
    struct tr_signal signal;
    struct tr_list mine; /* in the incarnation's jobs or jobs_forever */
    struct tr_token_hook *hook;
    troupe_offload_fn *done;
    void *arg;
    alignas(16) unsigned char copy[];
};

/* Calls drop if it is owed, and frees. Nobody else has the job. Any thread. */
void tr_job_free(troupe_job *job);

#endif
