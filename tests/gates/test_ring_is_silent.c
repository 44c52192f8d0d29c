/* SPDX-License-Identifier: Apache-2.0
 *
 * The other side of the race gate: correct programs on CK's ring (one and many consumers), stack and spinlock, which
 * the sanitizer must leave in peace. It reports them when the ck_pr.h shim beside the tests is not the one in use. */
#include <ck_pr.h>
#include <ck_ring.h>
#include <ck_spinlock.h>
#include <ck_stack.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 50000, SLOTS = 256, CONSUMERS = 2 };

struct item {
    ck_stack_entry_t entry;
    unsigned value; /* plain: handed over by the structure alone */
};

static struct item items[ITEMS];
static ck_ring_t ring;
static ck_ring_buffer_t slots[SLOTS];
static ck_stack_t stack = CK_STACK_INITIALIZER;
static ck_spinlock_fas_t lock = CK_SPINLOCK_FAS_INITIALIZER;
static uint64_t total; /* under the lock */
static unsigned taken;

static void add_to_total(unsigned value)
{
    ck_spinlock_fas_lock(&lock);
    total += value;
    ck_spinlock_fas_unlock(&lock);
    ck_pr_inc_uint(&taken);
}

static void *consume_ring_alone(void *arg)
{
    (void)arg;
    while (ck_pr_load_uint(&taken) < ITEMS) {
        struct item *item;
        if (ck_ring_dequeue_spsc(&ring, slots, &item))
            add_to_total(item->value);
        else
            ck_pr_stall();
    }
    return NULL;
}

static void *consume_ring_among_others(void *arg)
{
    (void)arg;
    while (ck_pr_load_uint(&taken) < ITEMS) {
        struct item *item;
        if (ck_ring_dequeue_spmc(&ring, slots, &item))
            add_to_total(item->value);
        else
            ck_pr_stall();
    }
    return NULL;
}

static void *consume_stack(void *arg)
{
    (void)arg;
    while (ck_pr_load_uint(&taken) < ITEMS) {
        ck_stack_entry_t *entry = ck_stack_batch_pop_upmc(&stack);
        while (entry) {
            struct item *item = (struct item *)(void *)entry; /* its first member */
            entry = CK_STACK_NEXT(entry);
            add_to_total(item->value);
        }
        ck_pr_stall();
    }
    return NULL;
}

static void produce(bool (*put)(struct item *))
{
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].value = i;
        while (!put(&items[i]))
            ck_pr_stall();
    }
}

static bool put_spsc(struct item *item)
{
    return ck_ring_enqueue_spsc(&ring, slots, item);
}

static bool put_spmc(struct item *item)
{
    return ck_ring_enqueue_spmc(&ring, slots, item);
}

static bool put_stack(struct item *item)
{
    ck_stack_push_upmc(&stack, &item->entry);
    return true;
}

static void run(const char *name, bool (*put)(struct item *), void *(*consume)(void *), unsigned consumers)
{
    pthread_t threads[CONSUMERS];
    ck_ring_init(&ring, SLOTS);
    total = 0;
    taken = 0;
    for (unsigned i = 0; i < consumers; i++) {
        if (pthread_create(&threads[i], NULL, consume, NULL) != 0)
            abort();
    }
    produce(put);
    for (unsigned i = 0; i < consumers; i++)
        pthread_join(threads[i], NULL);
    printf("%s: %llu\n", name, (unsigned long long)total);
    if (total != (uint64_t)ITEMS * (ITEMS - 1) / 2)
        abort();
}

int main(void)
{
    run("ring, one consumer", put_spsc, consume_ring_alone, 1);
    run("ring, two consumers", put_spmc, consume_ring_among_others, CONSUMERS);
    run("stack", put_stack, consume_stack, CONSUMERS);
    return 0;
}
