/* SPDX-License-Identifier: Apache-2.0 */
/* The crew: threads for jobs, and the queue in front of them. One per runtime; makes threads when jobs come, up to a
 * limit, and lets them go when they have been idle for a while, so that it is nothing until it is used and nothing
 * again afterwards. Any thread may call. It knows jobs and no actors: who is told of a job's end is crew->landed's
 * business. It is not for file operations: see io/blocking.h. */
#ifndef TR_RUNTIME_CREW_H
#define TR_RUNTIME_CREW_H

#include <pthread.h>

#include "runtime/job.h"

#define TR_CREW_THREADS_MAX 1024u

struct tr_crew_thread {
    struct tr_crew *crew;
    unsigned number;
    bool used;           /* there is a thread for it */
    bool called;         /* it was taken off the idle list, for there is a job */
    bool made;           /* `wake` exists */
    pthread_cond_t wake; /* it was called; or, while it runs a job: that was cancelled */
    struct tr_list idle; /* in crew->idle */
    troupe_job *job;     /* that it runs; NULL */
};

/* LOCK. `lock` guards what follows it, and of each job what job.h says. It is a leaf: whoever holds it takes no other
 * lock and calls no user code, so it may be taken under any. What is done under it takes no longer than the making of
 * a thread. */
struct tr_crew {
    unsigned threads_max, queue_max;
    uint64_t idle_ns;
    char name[8];
    void (*landed)(troupe_job *job);          /* a wanted job is over: it is the callee's. On a thread of the crew */
    void (*quiet)(struct troupe_runtime *rt); /* after tr_crew_end: the last job is over */
    struct troupe_runtime *rt;
    pthread_mutex_t lock;
    pthread_cond_t gone;            /* a thread has left, while ending */
    struct tr_list queue;           /* oldest first */
    struct tr_list idle;            /* threads; the one that was busy last is first: the others grow old */
    struct tr_crew_thread *threads; /* threads_max of them; NULL until the first job */
    bool ending;                    /* threads leave when they find the queue empty */
    bool awaited;                   /* somebody waits for `quiet` */
    bool has_left;
    pthread_t left; /* the thread that left last: joined by the next one, or by the end */
    /* Written under the lock, read without by statistics. */
    uint64_t queued, running, alive; /* gauges: jobs, jobs, threads. Running: until its thread has let go of it */
    uint64_t accepted, refused;
};

/* rt is for jobs and `quiet`. Nothing is allocated. */
void tr_crew_init(struct tr_crew *crew, struct troupe_runtime *rt, unsigned threads_max, unsigned queue_max,
                  uint64_t idle_ns, const char *name, void (*landed)(troupe_job *job),
                  void (*quiet)(struct troupe_runtime *rt));
/* Waits for all threads. No job is queued any more. */
void tr_crew_fini(struct tr_crew *crew);

/* Queues job, for which memory was found. 0; -EAGAIN: the queue is full, or there is no thread. */
int tr_crew_submit(struct tr_crew *crew, troupe_job *job);
/* Its actor does not want it any more. True: it had not begun, and is the caller's again. False: it is not the
 * caller's any more. */
bool tr_crew_withdraw(struct tr_crew *crew, troupe_job *job);
/* Nothing is submitted any more. True: no job runs. False: `quiet` will be called when none does. */
bool tr_crew_end(struct tr_crew *crew);

/* What runs, for reports. */
struct tr_crew_glimpse {
    const char *name, *behavior;
    uint32_t index;
    unsigned thread;
    bool cancelled;
    uint64_t began_ns;
};
/* Fills in up to max jobs that run. Returns how many there are. */
unsigned tr_crew_running(struct tr_crew *crew, struct tr_crew_glimpse *out, unsigned max);

#endif
