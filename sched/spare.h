/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that sit out until they are called, for the time that another one is stuck. Owns who of them is called; their
 * threads and queues are those of any worker. For sched/pool.c and, by way of sched/pool.h, for a watchdog.
 * It does not find out who is stuck. */
#ifndef TR_SCHED_SPARE_H
#define TR_SCHED_SPARE_H

#include <pthread.h>

struct tr_pool;
struct tr_worker;

struct tr_spares {
    pthread_mutex_t lock;
    unsigned called; /* spares 0..called - 1 take part; written under lock */
};

void tr_spares_init(struct tr_spares *spares);
void tr_spares_fini(struct tr_spares *spares);
/* A spare's whole life, as tr_worker_loop is another worker's. Owner. */
void tr_spare_loop(struct tr_worker *worker);
/* Sets pool->stop and wakes every spare, once. Any thread. */
void tr_spares_stop(struct tr_pool *pool);

#endif
