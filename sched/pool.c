/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1 /* pthread_setname_np, pthread_attr_setaffinity_np */
#include "sched/pool.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/signals.h"
#include "sched/cpus.h"
#include "sched/pool_state.h"

/* A frame of an ordinary function that overflows the stack must not step over the guard. Costs address space only. */
#define STACK_GUARD_SIZE (256u << 10)

static void check(const struct tr_pool *pool)
{
    TR_ASSERT(pool->options.workers > 0 && pool->threads <= TR_WORKERS_MAX);
    TR_ASSERT(((uintptr_t)pool->workers & (TR_CACHELINE - 1)) == 0);
    tr_idle_check(&pool->idle);
}

static bool options_valid(const struct tr_pool_options *options, const struct tr_hooks *hooks)
{
    return options->workers > 0 && options->workers <= TR_WORKERS_MAX &&
           options->spares <= TR_WORKERS_MAX - options->workers && options->run && hooks->attach && hooks->detach &&
           hooks->poll && hooks->pending && hooks->expects && hooks->wait && hooks->wake && hooks->now && hooks->random;
}

/* Half of those that can run at once: the others have something to do, or somebody else has. */
static unsigned searchers_max(const struct tr_pool_options *options)
{
    unsigned at_once = options->cpus > 0 && options->cpus < options->workers ? options->cpus : options->workers;
    return (at_once + 1) / 2;
}

int tr_pool_create(struct tr_pool **out, const struct tr_pool_options *options, const struct tr_hooks *hooks)
{
    if (!options_valid(options, hooks))
        return -EINVAL;
    const unsigned threads = options->workers + options->spares;
    size_t size = sizeof(struct tr_pool) + threads * sizeof(struct tr_worker);
    struct tr_pool *pool = aligned_alloc(TR_CACHELINE, size);
    if (!pool)
        return -ENOMEM;
    memset(pool, 0, size);
    pool->hooks = *hooks;
    pool->options = *options;
    pool->options.name = NULL;
    pool->threads = threads;
    snprintf(pool->name, sizeof pool->name, "%s", options->name ? options->name : "troupe");
    pthread_mutex_init(&pool->launch.lock, NULL);
    pthread_cond_init(&pool->launch.changed, NULL);
    pool->asymmetric = tr_fence_heavy_prepare();
    tr_idle_init(&pool->idle, options->workers, searchers_max(options));
    tr_inject_init(&pool->inject);
    tr_spares_init(&pool->spares);
    for (unsigned i = 0; i < threads; i++)
        tr_worker_init(&pool->workers[i], pool, i);
    check(pool);
    *out = pool;
    return 0;
}

void tr_pool_destroy(struct tr_pool *pool)
{
    TR_ASSERT(!pool->started);
    tr_spares_fini(&pool->spares);
    pthread_cond_destroy(&pool->launch.changed);
    pthread_mutex_destroy(&pool->launch.lock);
    free(pool);
}

/* --- a worker's thread -------------------------------------------------------------------------------------------- */

/* Tells the starter how attach went, and waits for the word of whether all go or all give up. */
static bool report_and_await(struct tr_worker *worker, int attach_error)
{
    struct tr_launch *launch = &worker->pool->launch;
    pthread_mutex_lock(&launch->lock);
    worker->attach_error = attach_error;
    launch->reported++;
    pthread_cond_broadcast(&launch->changed);
    while (launch->verdict == TR_LAUNCH_PENDING)
        pthread_cond_wait(&launch->changed, &launch->lock);
    bool go = launch->verdict == TR_LAUNCH_GO;
    pthread_mutex_unlock(&launch->lock);
    return go;
}

static void name_thread(const struct tr_worker *worker)
{
    char name[16]; /* the kernel's limit */
    snprintf(name, sizeof name, "%s/w%u", worker->pool->name, worker->index);
    pthread_setname_np(pthread_self(), name);
}

static void *worker_main(void *arg)
{
    struct tr_worker *worker = arg;
    const struct tr_hooks *hooks = &worker->pool->hooks;
    name_thread(worker);
    tr_worker_enter(worker);
    int error = hooks->attach(hooks->arg, worker, &worker->io);
    bool is_spare = worker->index >= worker->pool->options.workers;
    if (report_and_await(worker, error))
        (is_spare ? tr_spare_loop : tr_worker_loop)(worker);
    if (error == 0)
        hooks->detach(worker->io);
    tr_worker_enter(NULL);
    return NULL;
}

/* --- start and stop ----------------------------------------------------------------------------------------------- */

static int create_thread(struct tr_worker *worker, pthread_attr_t *attr, const cpu_set_t *pin_to)
{
    int error = 0;
    if (pin_to) {
        cpu_set_t cpu = tr_cpus_nth(pin_to, worker->index);
        error = pthread_attr_setaffinity_np(attr, sizeof cpu, &cpu);
    }
    return error ? -error : -pthread_create(&worker->thread, attr, worker_main, worker);
}

/* Creates the threads, which inherit the signal mask. Returns how many; *error says why not all. */
static unsigned create_threads(struct tr_pool *pool, int *error)
{
    sigset_t old;
    cpu_set_t allowed;
    unsigned created = 0;
    *error = pool->options.pin ? tr_cpus_allowed(&allowed) : 0;
    tr_signals_block(&old);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setguardsize(&attr, STACK_GUARD_SIZE);
    while (created < pool->threads && *error == 0) {
        *error = create_thread(&pool->workers[created], &attr, pool->options.pin ? &allowed : NULL);
        created += *error == 0;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return created;
}

/* Waits until the created workers have reported. Returns the first error of an attach, or 0. */
static int await_reports(struct tr_pool *pool, unsigned created, unsigned *failed)
{
    struct tr_launch *launch = &pool->launch;
    int error = 0;
    pthread_mutex_lock(&launch->lock);
    while (launch->reported < created)
        pthread_cond_wait(&launch->changed, &launch->lock);
    for (unsigned i = created; i-- > 0;) {
        if (pool->workers[i].attach_error != 0) {
            error = pool->workers[i].attach_error;
            *failed = i;
        }
    }
    pthread_mutex_unlock(&launch->lock);
    return error;
}

static void give_verdict(struct tr_pool *pool, enum tr_launch_verdict verdict)
{
    pthread_mutex_lock(&pool->launch.lock);
    pool->launch.verdict = verdict;
    pthread_cond_broadcast(&pool->launch.changed);
    pthread_mutex_unlock(&pool->launch.lock);
}

static void join_threads(struct tr_pool *pool, unsigned created)
{
    for (unsigned i = 0; i < created; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

int tr_pool_start(struct tr_pool *pool, unsigned *failed_worker)
{
    TR_ASSERT(!pool->started);
    int create_error;
    pool->launch.reported = 0;
    pool->launch.verdict = TR_LAUNCH_PENDING;
    unsigned created = create_threads(pool, &create_error);
    unsigned failed = created;
    int attach_error = await_reports(pool, created, &failed);
    int error = attach_error ? attach_error : create_error;
    if (error == 0) {
        pool->started = true;
        give_verdict(pool, TR_LAUNCH_GO);
        return 0;
    }
    give_verdict(pool, TR_LAUNCH_GIVE_UP);
    join_threads(pool, created);
    if (failed_worker)
        *failed_worker = failed;
    return error;
}

void tr_pool_stop(struct tr_pool *pool)
{
    if (pool->options.spares > 0)
        tr_spares_stop(pool);
    ck_pr_store_uint(&pool->stop, 1);
    ck_pr_fence_memory(); /* the flag before the look at the sleepers: see the idle protocol */
    tr_worker_wake_all(pool);
}

void tr_pool_join(struct tr_pool *pool)
{
    struct tr_worker *caller = tr_worker_self();
    TR_ASSERT(!caller || tr_worker_pool(caller) != pool);
    if (!pool->started)
        return;
    join_threads(pool, pool->threads);
    pool->started = false;
    check(pool);
    tr_inject_check(&pool->inject);
}

/* --- use ---------------------------------------------------------------------------------------------------------- */

void tr_pool_schedule(struct tr_pool *pool, struct tr_runnable *r)
{
    struct tr_worker *worker = tr_worker_self();
    if (TR_LIKELY(worker && worker->pool == pool)) {
        tr_worker_schedule(worker, r);
        return;
    }
    tr_inject_push(&pool->inject, r);
    ck_pr_fence_atomic_load(); /* the push before the look at the sleepers: see the idle protocol */
    if (tr_idle_claimable(tr_idle_read(&pool->idle)))
        tr_worker_wake_one(pool);
}

void tr_pool_about_to_schedule(const struct tr_pool *pool)
{
    __builtin_prefetch(&pool->inject.pushed); /* to read: while all are busy it is theirs to write */
    __builtin_prefetch(&pool->idle);
}

unsigned tr_pool_workers(const struct tr_pool *pool)
{
    return pool->options.workers;
}

unsigned tr_pool_threads(const struct tr_pool *pool)
{
    return pool->threads;
}

uint64_t tr_pool_tick(const struct tr_pool *pool, unsigned index)
{
    TR_ASSERT(index < pool->threads);
    return ck_pr_load_64(&pool->workers[index].tick);
}

struct tr_worker *tr_pool_worker(const struct tr_pool *pool, unsigned index)
{
    TR_ASSERT(index < pool->threads);
    return (struct tr_worker *)(uintptr_t)&pool->workers[index];
}

void tr_pool_stats(const struct tr_pool *pool, unsigned index, struct tr_worker_stats *out)
{
    TR_ASSERT(index < pool->threads);
    const struct tr_worker_stats *stats = &pool->workers[index].stats;
    *out = (struct tr_worker_stats){
        .runs = ck_pr_load_64(&pool->workers[index].tick),
        .steals = ck_pr_load_64(&stats->steals),
        .parks = ck_pr_load_64(&stats->parks),
        .wakes = ck_pr_load_64(&stats->wakes),
        .injected = ck_pr_load_64(&stats->injected),
        .overflows = ck_pr_load_64(&stats->overflows),
    };
}
