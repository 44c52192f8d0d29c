/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted race: the giver hands an item over through a CK ring, correctly, and writes to it afterwards. The gate must
 * see it, so neither the ck_pr.h shim nor the suppressions may hide what happens beside the hand-off. */
#include <ck_pr.h>
#include <ck_ring.h>

#include <pthread.h>
#include <stdio.h>

enum { SLOTS = 16 };

static ck_ring_t ring;
static ck_ring_buffer_t slots[SLOTS];
static int item;

static void *give(void *arg)
{
    (void)arg;
    item = 1;
    if (ck_ring_enqueue_spmc(&ring, slots, &item))
        item = 2; /* no longer the giver's */
    return NULL;
}

int main(void)
{
    pthread_t giver;
    int *taken = NULL;
    ck_ring_init(&ring, SLOTS);
    if (pthread_create(&giver, NULL, give, NULL) != 0)
        return 1;
    while (!ck_ring_dequeue_spmc(&ring, slots, &taken))
        ck_pr_stall();
    printf("taken: %d\n", *taken);
    pthread_join(giver, NULL);
    return 0;
}
