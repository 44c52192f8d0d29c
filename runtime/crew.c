/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif

#include "runtime/crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ck_pr.h>

#include "io/loop.h"
#include "sched/base/assert.h"
#include "sched/base/count.h"
#include "sched/base/signals.h"

void tr_job_free(troupe_job *job)
{
    if (job->drop)
        job->drop(job->work, job->size, job->ran, job->ran ? job->result : 0);
    free(job);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

/* Conditions keep the clock that deadlines are of. */
static void make_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Under the lock. False: the time is up. */
static bool wait_until(struct tr_crew *crew, pthread_cond_t *condition, uint64_t until_ns)
{
    if (until_ns == TROUPE_FOREVER)
        return pthread_cond_wait(condition, &crew->lock) == 0;
    struct timespec until = timespec_of(until_ns);
    return pthread_cond_timedwait(condition, &crew->lock, &until) == 0;
}

/* --- a thread's life ---------------------------------------------------------------------------------------------- */

/* Under the lock. The one that lay down last is called first, so that under a light load the others lie until they
 * leave. False: it has been idle for long enough. */
static bool lie_down(struct tr_crew_thread *self)
{
    struct tr_crew *crew = self->crew;
    uint64_t until_ns = tr_loop_deadline(crew->idle_ns);
    self->called = false;
    tr_list_insert_between(&self->idle, &crew->idle, crew->idle.next);
    while (!self->called && !crew->ending)
        if (!wait_until(crew, &self->wake, until_ns) && !self->called)
            break;
    tr_list_remove(&self->idle);
    return self->called;
}

/* Under the lock; NULL: the thread is to leave. One that was called may find that a busy one was faster. */
static troupe_job *next(struct tr_crew_thread *self)
{
    struct tr_crew *crew = self->crew;
    while (tr_list_empty(&crew->queue))
        if (crew->ending || !lie_down(self))
            if (tr_list_empty(&crew->queue))
                return NULL;
    struct tr_list *first = tr_list_pop_front(&crew->queue);
    tr_uncount(&crew->queued, 1);
    return TR_CONTAINER_OF(first, troupe_job, queue);
}

/* Called without the lock. What is cancelled or late must not begin, though its actor has not heard of it yet. */
static int why_not(const troupe_job *job)
{
    if (job->token.ref && troupe_token_cancelled(job->token))
        return -ECANCELED;
    return job->deadline_ns != TROUPE_FOREVER && job->deadline_ns <= tr_loop_clock() ? -ETIMEDOUT : 0;
}

static void perform(troupe_job *job)
{
    job->result = why_not(job);
    if (job->result < 0)
        return;
    job->ran = true;
    job->result = job->fn(job, job->work);
}

/* Under the lock, which it gives up meanwhile. */
static void work(struct tr_crew_thread *self, troupe_job *job)
{
    struct tr_crew *crew = self->crew;
    job->state = TR_JOB_RUNNING;
    job->thread = self;
    job->began_ns = tr_loop_clock();
    self->job = job;
    tr_count(&crew->running, 1);
    pthread_mutex_unlock(&crew->lock);
    perform(job);
    pthread_mutex_lock(&crew->lock);
    self->job = NULL;
    job->state = TR_JOB_OVER;
    bool unwanted = job->unwanted;
    pthread_mutex_unlock(&crew->lock);
    if (unwanted)
        tr_job_free(job);
    else
        crew->landed(job);
    pthread_mutex_lock(&crew->lock);
    tr_uncount(&crew->running, 1);
    bool last = crew->awaited && crew->running == 0;
    if (!last)
        return;
    crew->awaited = false;
    pthread_mutex_unlock(&crew->lock);
    crew->quiet(crew->rt);
    pthread_mutex_lock(&crew->lock);
}

/* Whoever leaves takes the one before along, so that at most one thread is left unjoined. */
static void leave(struct tr_crew_thread *self)
{
    struct tr_crew *crew = self->crew;
    bool has_left = crew->has_left;
    pthread_t left = crew->left;
    crew->has_left = true;
    crew->left = pthread_self();
    self->used = false;
    tr_uncount(&crew->alive, 1);
    pthread_cond_signal(&crew->gone);
    pthread_mutex_unlock(&crew->lock);
    if (has_left)
        pthread_join(left, NULL);
}

static void *run(void *arg)
{
    struct tr_crew_thread *self = arg;
    troupe_job *job;
    pthread_mutex_lock(&self->crew->lock);
    while ((job = next(self)))
        work(self, job);
    leave(self);
    return NULL;
}

/* --- making threads ----------------------------------------------------------------------------------------------- */

/* Under the lock. NULL: as many as there may be, or out of memory. */
static struct tr_crew_thread *free_place(struct tr_crew *crew)
{
    if (!crew->threads)
        crew->threads = calloc(crew->threads_max, sizeof *crew->threads);
    for (unsigned i = 0; crew->threads && i < crew->threads_max; i++) {
        struct tr_crew_thread *place = &crew->threads[i];
        if (place->used)
            continue;
        if (!place->made)
            make_condition(&place->wake);
        place->made = true;
        place->crew = crew;
        place->number = i;
        tr_list_init(&place->idle);
        return place;
    }
    return NULL;
}

/* Under the lock. */
static void add_thread(struct tr_crew *crew)
{
    struct tr_crew_thread *place = crew->alive < crew->threads_max ? free_place(crew) : NULL;
    pthread_t thread;
    sigset_t before;
    if (!place)
        return;
    tr_signals_block(&before);
    if (pthread_create(&thread, NULL, run, place) == 0) {
        char name[16];
        snprintf(name, sizeof name, "%.7s/b%u", crew->name, place->number);
        pthread_setname_np(thread, name);
        place->used = true;
        tr_count(&crew->alive, 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

/* Under the lock. False: there is nobody and nobody can be had. */
static bool call_somebody(struct tr_crew *crew)
{
    struct tr_list *first = tr_list_pop_front(&crew->idle);
    if (first) {
        struct tr_crew_thread *thread = TR_CONTAINER_OF(first, struct tr_crew_thread, idle);
        thread->called = true;
        pthread_cond_signal(&thread->wake);
        return true;
    }
    add_thread(crew);
    return crew->alive > 0;
}

int tr_crew_submit(struct tr_crew *crew, troupe_job *job)
{
    pthread_mutex_lock(&crew->lock);
    bool taken = crew->queued < crew->queue_max && call_somebody(crew);
    if (taken) {
        job->crew = crew;
        job->state = TR_JOB_QUEUED;
        tr_list_push_back(&crew->queue, &job->queue);
        tr_count(&crew->queued, 1);
    }
    tr_count(taken ? &crew->accepted : &crew->refused, 1);
    pthread_mutex_unlock(&crew->lock);
    return taken ? 0 : -EAGAIN;
}

bool tr_crew_withdraw(struct tr_crew *crew, troupe_job *job)
{
    pthread_mutex_lock(&crew->lock);
    bool waited = job->state == TR_JOB_QUEUED;
    if (waited) {
        tr_list_remove(&job->queue);
        tr_uncount(&crew->queued, 1);
    } else if (job->state == TR_JOB_RUNNING) {
        job->unwanted = true;
        ck_pr_store_32(&job->cancelled, 1);
        pthread_cond_signal(&job->thread->wake);
    }
    pthread_mutex_unlock(&crew->lock);
    return waited;
}

bool troupe_job_cancelled(const troupe_job *job)
{
    return ck_pr_load_32(&job->cancelled) || (job->token.ref && troupe_token_cancelled(job->token));
}

bool troupe_job_wait(troupe_job *job, uint64_t timeout_ns)
{
    struct tr_crew *crew = job->crew;
    uint64_t until_ns = tr_loop_deadline(timeout_ns);
    bool in_time = true;
    pthread_mutex_lock(&crew->lock);
    while (in_time && !troupe_job_cancelled(job))
        in_time = wait_until(crew, &job->thread->wake, until_ns);
    pthread_mutex_unlock(&crew->lock);
    return troupe_job_cancelled(job);
}

troupe_runtime *troupe_job_runtime(const troupe_job *job)
{
    return job->crew->rt;
}

unsigned tr_crew_running(struct tr_crew *crew, struct tr_crew_glimpse *out, unsigned max)
{
    unsigned count = 0;
    pthread_mutex_lock(&crew->lock);
    for (unsigned i = 0; crew->threads && i < crew->threads_max; i++) {
        const troupe_job *job = crew->threads[i].used ? crew->threads[i].job : NULL;
        if (!job)
            continue;
        if (count < max)
            out[count] = (struct tr_crew_glimpse){job->name,    job->behavior, job->index, i, troupe_job_cancelled(job),
                                                  job->began_ns};
        count++;
    }
    pthread_mutex_unlock(&crew->lock);
    return count;
}

/* --- the crew's life ---------------------------------------------------------------------------------------------- */

void tr_crew_init(struct tr_crew *crew, struct troupe_runtime *rt, unsigned threads_max, unsigned queue_max,
                  uint64_t idle_ns, const char *name, void (*landed)(troupe_job *job),
                  void (*quiet)(struct troupe_runtime *rt))
{
    *crew = (struct tr_crew){.threads_max = threads_max < TR_CREW_THREADS_MAX ? threads_max : TR_CREW_THREADS_MAX,
                             .queue_max = queue_max,
                             .idle_ns = idle_ns,
                             .landed = landed,
                             .quiet = quiet,
                             .rt = rt};
    snprintf(crew->name, sizeof crew->name, "%s", name);
    pthread_mutex_init(&crew->lock, NULL);
    make_condition(&crew->gone);
    tr_list_init(&crew->queue);
    tr_list_init(&crew->idle);
}

bool tr_crew_end(struct tr_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    TR_ASSERT(tr_list_empty(&crew->queue));
    bool quiet = crew->running == 0;
    crew->awaited = !quiet;
    pthread_mutex_unlock(&crew->lock);
    return quiet;
}

static void join_all(struct tr_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->ending = true;
    for (unsigned i = 0; crew->threads && i < crew->threads_max; i++)
        if (crew->threads[i].used)
            pthread_cond_signal(&crew->threads[i].wake);
    while (crew->alive > 0)
        pthread_cond_wait(&crew->gone, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
    if (crew->has_left)
        pthread_join(crew->left, NULL);
}

void tr_crew_fini(struct tr_crew *crew)
{
    join_all(crew);
    TR_ASSERT(tr_list_empty(&crew->queue) && crew->running == 0);
    for (unsigned i = 0; crew->threads && i < crew->threads_max; i++)
        if (crew->threads[i].made)
            pthread_cond_destroy(&crew->threads[i].wake);
    free(crew->threads);
    pthread_cond_destroy(&crew->gone);
    pthread_mutex_destroy(&crew->lock);
}
