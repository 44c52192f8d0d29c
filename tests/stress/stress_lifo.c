/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of the LIFO slot: its owner schedules and takes, thieves rob, with and without the asymmetric fence. Each
 * runnable comes out as often as it went in, with what was written before. It ends when the thieves were successful often
 * enough. usage: stress_lifo [ROBBERIES] */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <ck_pr.h>

#include "sched/runq.h"

enum { ITEMS = 8, THIEVES = 2 };

struct item {
    struct tr_runnable runnable;
    uint64_t written; /* plain: the slot's edges make it visible */
    uint64_t out;     /* the owner's own, or taken and given back; 0: it is in the slot, or in somebody's hands */
};

static struct tr_runq queue;
static struct item items[ITEMS];
static unsigned over;
static uint64_t robberies;

static void broken(const char *what)
{
    fprintf(stderr, "stress_lifo: %s\n", what);
    abort();
}

/* Whoever gets one out of the slot. */
static void came_out(struct tr_runnable *r)
{
    struct item *item = (struct item *)(void *)r;
    if (ck_pr_load_64(&item->out) != 0)
        broken("a runnable came out twice");
    if (item->written == 0)
        broken("what was written before is not visible");
    item->written = 0;
    ck_pr_fence_release();
    ck_pr_store_64(&item->out, 1);
}

static void *thief(void *arg)
{
    (void)arg;
    while (!ck_pr_load_uint(&over)) {
        struct tr_runnable *r = tr_runq_rob_lifo(&queue);
        if (!r)
            continue;
        came_out(r);
        ck_pr_inc_64(&robberies);
    }
    return NULL;
}

static struct item *free_item(void)
{
    static unsigned at;
    for (;;) {
        struct item *item = &items[at++ % ITEMS];
        if (ck_pr_load_64(&item->out)) {
            ck_pr_fence_acquire();
            return item;
        }
    }
}

/* Now and then the owner gives the thieves time. */
static void dawdle(uint64_t round)
{
    if (round % 64 == 0)
        for (unsigned i = 0; i < 1000 && tr_runq_has_lifo(&queue); i++)
            ck_pr_stall();
    if (round % 65536 == 0)
        sched_yield();
}

struct tally {
    uint64_t in, back;
};

/* Until the thieves have got `goal`. */
static struct tally own(uint64_t goal)
{
    struct tally tally = {0};
    while (ck_pr_load_64(&robberies) < goal) {
        struct item *item = free_item();
        item->written = ++tally.in;
        ck_pr_store_64(&item->out, 0);
        struct tr_runnable *displaced = tr_runq_swap_lifo(&queue, &item->runnable);
        dawdle(tally.in);
        struct tr_runnable *taken = tally.in % 3 ? tr_runq_take_lifo(&queue) : NULL;
        if (displaced)
            came_out(displaced);
        if (taken)
            came_out(taken);
        tally.back += displaced != NULL;
        tally.back += taken != NULL;
    }
    struct tr_runnable *last = tr_runq_take_lifo(&queue);
    if (last)
        came_out(last);
    tally.back += last != NULL;
    return tally;
}

static void stress(uint64_t goal, bool asymmetric)
{
    pthread_t threads[THIEVES];
    tr_runq_init(&queue, asymmetric);
    over = 0;
    robberies = 0;
    for (unsigned i = 0; i < ITEMS; i++)
        items[i].out = 1;
    for (unsigned i = 0; i < THIEVES; i++)
        if (pthread_create(&threads[i], NULL, thief, NULL) != 0)
            broken("no thread");
    struct tally tally = own(goal);
    ck_pr_store_uint(&over, 1);
    for (unsigned i = 0; i < THIEVES; i++)
        pthread_join(threads[i], NULL);
    printf("%s: %llu went in, %llu came back, %llu were robbed\n", asymmetric ? "asymmetric" : "symmetric",
           (unsigned long long)tally.in, (unsigned long long)tally.back, (unsigned long long)robberies);
    if (tally.back + robberies != tally.in)
        broken("a runnable was lost");
}

int main(int argc, char **argv)
{
    uint64_t goal = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    if (tr_fence_heavy_prepare())
        stress(goal, true);
    else
        puts("no membarrier here: only the symmetric way");
    stress(goal, false);
    return 0;
}
