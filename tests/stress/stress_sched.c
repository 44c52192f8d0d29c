/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of schedule, steal, overflow, park, spares and stop with 1 worker and with far more than cores: each runnable
 * carries a budget of runs and moves through random ways (LIFO slot, run queue, common queue, completions) until the
 * budget is spent. Counts prove that each run happened exactly once; a watchdog fails when nothing moves, which is a
 * lost wake-up.
 * Arguments: [seed [rounds]]. Exit status 0, or 1 with a reason. It is not a benchmark. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sched/fake_hooks.h"

enum {
    SPARES = 2,
    TOKENS = 600,
    HOPS = 300,
    FOREIGNERS = 3,
    STUCK_AFTER_S = 120,
};

/* One traveller. `scheduled` is 1 while it belongs to the pool: who schedules it moves 0 to 1, its run moves 1 to 0;
 * any other value found there is a runnable that was lost or run twice. */
struct token {
    struct tr_runnable runnable;
    unsigned scheduled;
    unsigned hops;
    struct tr_rng rng;
};

/* By rounds in turn. */
static const unsigned workers_of_round[] = {64 - SPARES, 16, 1, 2};

struct stress {
    struct fake_world world;
    unsigned workers;
    struct tr_pool *pool;
    struct token tokens[TOKENS];
    uint64_t runs;    /* by all workers */
    unsigned arrived; /* tokens whose budget is spent */
    pthread_mutex_t lock;
    pthread_cond_t home; /* all arrived */
};

static _Noreturn void fail(const char *why)
{
    fprintf(stderr, "stress_sched: %s\n", why);
    abort();
}

static void own(struct token *token)
{
    if (ck_pr_fas_uint(&token->scheduled, 1) != 0)
        fail("a runnable was scheduled twice");
}

static void arrive(struct stress *stress)
{
    if (ck_pr_faa_uint(&stress->arrived, 1) + 1 < TOKENS)
        return;
    pthread_mutex_lock(&stress->lock);
    pthread_cond_signal(&stress->home);
    pthread_mutex_unlock(&stress->lock);
}

static void work(struct tr_rng *rng)
{
    unsigned spins = tr_rng_below(rng, 64) == 0 ? 2000 : tr_rng_below(rng, 8);
    for (unsigned i = 0; i < spins; i++)
        ck_pr_stall();
}

static void run(void *arg, struct tr_worker *worker, struct tr_runnable *r)
{
    struct stress *stress = arg;
    struct token *token = TR_CONTAINER_OF(r, struct token, runnable);
    if (ck_pr_fas_uint(&token->scheduled, 0) != 1)
        fail("a runnable ran that was not scheduled");
    ck_pr_inc_64(&stress->runs);
    if (token->hops-- == 0) {
        arrive(stress);
        return;
    }
    uint32_t way = tr_rng_below(&token->rng, 10);
    uint32_t target = tr_rng_below(&token->rng, stress->workers + SPARES);
    work(&token->rng);
    own(token);
    if (way < 6)
        tr_pool_schedule(stress->pool, r);
    else if (way < 9)
        tr_worker_requeue(worker, r);
    else
        fake_complete(&stress->world.loops[target], r);
}

struct foreigner {
    struct stress *stress;
    unsigned index;
};

/* Schedules its share of the tokens from outside, with pauses in which the pool falls asleep. */
static void *foreign(void *arg)
{
    struct foreigner *me = arg;
    struct stress *stress = me->stress;
    for (unsigned i = me->index; i < TOKENS; i += FOREIGNERS) {
        own(&stress->tokens[i]);
        tr_pool_schedule(stress->pool, &stress->tokens[i].runnable);
        if (i % 64 < FOREIGNERS)
            for (int spin = 0; spin < 5000; spin++)
                ck_pr_stall();
    }
    return NULL;
}

/* Calls spares in and sends them out again, as fast as it can, until all have arrived. */
static void *toggle_spares(void *arg)
{
    struct stress *stress = arg;
    unsigned in = 0;
    struct tr_rng rng;
    tr_rng_init(&rng, stress->workers);
    while (ck_pr_load_uint(&stress->arrived) < TOKENS) {
        if (in > 0 && tr_rng_below(&rng, 2)) {
            tr_pool_spare_stop(stress->pool);
            in--;
        } else if (tr_pool_spare_start(stress->pool)) {
            in++;
        }
        for (uint32_t spin = tr_rng_below(&rng, 5000); spin > 0; spin--)
            ck_pr_stall();
    }
    return NULL;
}

static void await_all_home(struct stress *stress)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STUCK_AFTER_S;
    pthread_mutex_lock(&stress->lock);
    while (ck_pr_load_uint(&stress->arrived) < TOKENS)
        if (pthread_cond_timedwait(&stress->home, &stress->lock, &until) == ETIMEDOUT)
            fail("runnables are queued and nobody runs them: a wake-up was lost");
    pthread_mutex_unlock(&stress->lock);
}

static void report(const struct stress *stress, unsigned round)
{
    struct tr_worker_stats sum = {0}, one;
    for (unsigned i = 0; i < stress->workers + SPARES; i++) {
        tr_pool_stats(stress->pool, i, &one);
        sum.runs += one.runs;
        sum.steals += one.steals;
        sum.parks += one.parks;
        sum.wakes += one.wakes;
        sum.injected += one.injected;
        sum.overflows += one.overflows;
    }
    printf("round %u: %u workers, %lu runs, %lu steals, %lu parks, %lu wakes, %lu injected, %lu overflows\n", round,
           stress->workers, sum.runs, sum.steals, sum.parks, sum.wakes, sum.injected, sum.overflows);
    if (sum.runs != ck_pr_load_64(&stress->runs))
        fail("the workers' counters do not add up");
}

static void one_round(struct stress *stress, uint64_t seed, unsigned round)
{
    stress->workers = workers_of_round[round % (sizeof workers_of_round / sizeof workers_of_round[0])];
    struct tr_pool_options options = {.workers = stress->workers,
                                      .spares = SPARES,
                                      .cpus = 2,
                                      .spin_ns = round % 2 ? 20000 : 0,
                                      .name = "stress",
                                      .run = run,
                                      .arg = stress};
    pthread_t threads[FOREIGNERS], toggler;
    struct foreigner foreigners[FOREIGNERS];
    fake_world_init(&stress->world, seed);
    /* All are calm, or each second or third, by the round. */
    for (unsigned i = 0; i < TR_WORKERS_MAX; i += 1 + (unsigned)(seed % 3))
        stress->world.loops[i].calm = true;
    struct tr_hooks hooks = fake_hooks(&stress->world);
    stress->runs = stress->arrived = 0;
    for (unsigned i = 0; i < TOKENS; i++) {
        stress->tokens[i] = (struct token){.hops = HOPS};
        tr_rng_init(&stress->tokens[i].rng, seed * TOKENS + i);
    }
    if (tr_pool_create(&stress->pool, &options, &hooks) != 0 || tr_pool_start(stress->pool, NULL) != 0)
        fail("the pool does not start");
    for (unsigned i = 0; i < FOREIGNERS; i++) {
        foreigners[i] = (struct foreigner){stress, i};
        pthread_create(&threads[i], NULL, foreign, &foreigners[i]);
    }
    pthread_create(&toggler, NULL, toggle_spares, stress);
    await_all_home(stress);
    pthread_join(toggler, NULL);
    for (unsigned i = 0; i < FOREIGNERS; i++)
        pthread_join(threads[i], NULL);
    tr_pool_stop(stress->pool);
    tr_pool_join(stress->pool);
    if (ck_pr_load_64(&stress->runs) != (uint64_t)TOKENS * (HOPS + 1))
        fail("runs were lost or repeated");
    report(stress, round);
    tr_pool_destroy(stress->pool);
}

int main(int argc, char **argv)
{
    static struct stress stress = {.lock = PTHREAD_MUTEX_INITIALIZER, .home = PTHREAD_COND_INITIALIZER};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 8;
    printf("stress_sched: seed %lu, %u rounds\n", seed, rounds);
    for (unsigned round = 0; round < rounds; round++)
        one_round(&stress, seed + round, round);
    return 0;
}
