/* SPDX-License-Identifier: Apache-2.0 */
/* Stress of one mailbox at a time, without the scheduler: senders, signallers and owners who take turns, with the slot
 * closed and opened again under them. An owner is whichever thread was told to wake the cell: the test asserts that
 * there is never a second one, that every message and signal comes out exactly once or was refused, that messages of
 * one sender keep their order, and (watchdog) that no wake-up is lost.
 * Arguments: [seed [rounds]]. Exit status 0, or aborts with a reason. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/mailbox.h"
#include "sched/base/rng.h"

enum { SENDERS = 4, OWNERS = 3, MESSAGES = 30000, LONE = 10000, CELLS = SENDERS, STUCK_AFTER_S = 100 };

struct parcel {
    unsigned sender, number;
    unsigned seen;
};

struct signal_box {
    struct tr_signal signal; /* first */
    unsigned seen;
};

struct slot {
    struct tr_cell *cell;
    unsigned owned;         /* 1 while a thread owns the cell */
    unsigned next[SENDERS]; /* order per sender: owner's */
    unsigned scheduled;     /* 1 while it waits for an owner: a queue of one */
};

struct stress {
    struct tr_slab slab;
    struct tr_cell_table table;
    struct slot slots[CELLS];
    uint64_t received, refused, signals_received, signals_refused, stale, lives;
    unsigned senders_left;
    unsigned crowded; /* senders that still send to all cells */
    uint64_t seed;
};

static struct stress stress;

static _Noreturn void fail(const char *why)
{
    fprintf(stderr, "stress_mailbox: %s\n", why);
    abort();
}

static void schedule(struct slot *slot)
{
    if (ck_pr_fas_uint(&slot->scheduled, 1) != 0)
        fail("a cell was scheduled twice");
}

/* --- senders ------------------------------------------------------------------------------------------------------ */

struct sender {
    unsigned index;
    struct signal_box *boxes;
};

static void send_message(struct slot *slot, unsigned sender, unsigned number)
{
    troupe_msg *msg = tr_msg_alloc(&stress.slab, NULL, sizeof(struct parcel));
    *(struct parcel *)(void *)msg->payload = (struct parcel){sender, number, 0};
    msg->generation = ck_pr_load_32(&slot->cell->generation);
    switch (tr_mailbox_push(slot->cell, msg)) {
    case TR_PUSH_WAKE:
        schedule(slot);
        break;
    case TR_PUSH_QUEUED:
        break;
    case TR_PUSH_CLOSED:
        ck_pr_inc_64(&stress.refused);
        tr_msg_free(&stress.slab, NULL, msg);
        break;
    }
}

/* False: refused. */
static bool send_signal(struct slot *slot, struct signal_box *box)
{
    box->signal.kind = TR_SIGNAL_ALARM;
    switch (tr_mailbox_signal(slot->cell, &box->signal)) {
    case TR_PUSH_WAKE:
        schedule(slot);
        return true;
    case TR_PUSH_QUEUED:
        return true;
    case TR_PUSH_CLOSED:
        break;
    }
    ck_pr_inc_64(&stress.signals_refused);
    return false;
}

/* One signal at a time to a cell of one's own, each waited for: nobody else would wake the cell if this did not. */
static void alone(struct sender *me)
{
    struct slot *slot = &stress.slots[me->index];
    struct signal_box *box = &me->boxes[MESSAGES / 4];
    ck_pr_dec_uint(&stress.crowded);
    while (ck_pr_load_uint(&stress.crowded) > 0)
        sched_yield();
    for (unsigned i = 0; i < LONE; i++) {
        ck_pr_store_uint(&box->seen, 0);
        bool sent = send_signal(slot, box);
        while (sent && ck_pr_load_uint(&box->seen) == 0)
            sched_yield();
    }
}

static void *run_sender(void *arg)
{
    struct sender *me = arg;
    struct tr_rng rng;
    tr_rng_init(&rng, stress.seed * 131 + me->index);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct slot *slot = &stress.slots[i % CELLS];
        send_message(slot, me->index, i);
        if (i % 4 == 0)
            send_signal(slot, &me->boxes[i / 4]);
        if (i % 64 == 0 &&
            tr_mailbox_control(slot->cell, ck_pr_load_32(&slot->cell->generation), TR_CONTROL_STOP, 0) == TR_PUSH_WAKE)
            schedule(slot);
        if (tr_rng_below(&rng, 32) == 0)
            sched_yield();
    }
    alone(me);
    ck_pr_fence_release();
    ck_pr_dec_uint(&stress.senders_left);
    return NULL;
}

/* --- owners ------------------------------------------------------------------------------------------------------- */

static void receive(struct slot *slot, troupe_msg *msg)
{
    struct parcel *parcel = (struct parcel *)(void *)msg->payload;
    if (parcel->seen++ != 0)
        fail("a message came twice");
    if (parcel->number < slot->next[parcel->sender])
        fail("the order of a sender is broken");
    slot->next[parcel->sender] = parcel->number + 1;
    if (msg->generation != slot->cell->generation)
        ck_pr_inc_64(&stress.stale);
    ck_pr_inc_64(&stress.received);
}

static void free_message(troupe_msg *msg)
{
    if (msg)
        tr_msg_free(&stress.slab, NULL, msg);
}

static void finish_message(struct slot *slot, troupe_msg *msg)
{
    if (msg == slot->cell->mark)
        msg->flags |= TR_MSG_HANDLED;
    else
        free_message(msg);
}

static void take_signals(struct tr_signal *signals)
{
    for (struct tr_signal *next; signals; signals = next) {
        next = signals->next;
        struct signal_box *box = (struct signal_box *)(void *)signals;
        ck_pr_inc_64(&stress.signals_received);
        ck_pr_fence_release();
        if (ck_pr_fas_uint(&box->seen, 1) != 0) /* from here on its sender may use it again */
            fail("a signal came twice");
    }
}

/* The end of one life and the beginning of the next, while senders go on. */
static void close_and_open(struct slot *slot)
{
    troupe_msg *mark, *rest;
    struct tr_signal *signals = tr_mailbox_close(slot->cell, &mark);
    free_message(mark);
    while ((rest = tr_mailbox_pop(slot->cell))) {
        ck_pr_inc_64(&stress.received);
        free_message(rest);
    }
    take_signals(signals);
    for (unsigned i = 0; i < 50; i++)
        ck_pr_stall();
    ck_pr_inc_64(&stress.lives);
    tr_mailbox_open(slot->cell);
}

/* One activation; the caller owns the cell. True: it is idle, or another's, now. */
static bool activate(struct slot *slot, struct tr_rng *rng)
{
    struct tr_cell *cell = slot->cell;
    troupe_msg *mark;
    for (;;) {
        if (tr_mailbox_take_bits(cell) && tr_rng_below(rng, 4) == 0)
            close_and_open(slot);
        take_signals(tr_mailbox_take_signals(cell));
        for (unsigned budget = 20; cell->fifo_head; budget--) {
            if (budget == 0)
                return false; /* requeued */
            troupe_msg *msg = tr_mailbox_pop(cell);
            receive(slot, msg);
            finish_message(slot, msg);
        }
        unsigned count = tr_mailbox_fetch(cell, &mark);
        free_message(mark);
        if (count > 0)
            continue;
        /* From here on another owner may run: give up what the test says of the cell first. */
        ck_pr_store_uint(&slot->owned, 0);
        enum tr_idling idle = tr_mailbox_idle(cell, &mark);
        free_message(mark);
        if (idle == TR_IDLE_GONE)
            return true;
        if (ck_pr_fas_uint(&slot->owned, 1) != 0)
            fail("two owners after idle");
    }
}

static bool all_is_quiet(void)
{
    if (ck_pr_load_uint(&stress.senders_left) > 0)
        return false;
    ck_pr_fence_acquire();
    for (unsigned i = 0; i < CELLS; i++)
        if (ck_pr_load_uint(&stress.slots[i].scheduled) || ck_pr_load_ptr(&stress.slots[i].cell->head) != TR_HEAD_IDLE)
            return false;
    return true;
}

static void *run_owner(void *arg)
{
    struct tr_rng rng;
    tr_rng_init(&rng, stress.seed * 977 + (uintptr_t)arg);
    while (!all_is_quiet()) {
        struct slot *slot = &stress.slots[tr_rng_below(&rng, CELLS)];
        if (!ck_pr_load_uint(&slot->scheduled) || !ck_pr_cas_uint(&slot->scheduled, 1, 0)) {
            sched_yield();
            continue;
        }
        ck_pr_fence_acquire();
        if (ck_pr_fas_uint(&slot->owned, 1) != 0)
            fail("two owners");
        if (!activate(slot, &rng)) {
            ck_pr_store_uint(&slot->owned, 0);
            ck_pr_fence_release();
            schedule(slot);
        }
    }
    return NULL;
}

/* --- one round ---------------------------------------------------------------------------------------------------- */

static void set_up(uint64_t seed)
{
    struct tr_slot_cache cache = {.count = 0};
    memset(&stress, 0, sizeof stress);
    stress.seed = seed;
    stress.senders_left = stress.crowded = SENDERS;
    tr_slab_init(&stress.slab);
    if (tr_cell_table_init(&stress.table, CELLS) != 0)
        fail("no memory");
    for (unsigned i = 0; i < CELLS; i++) {
        stress.slots[i].cell = tr_cell_get(&stress.table, &cache);
        tr_mailbox_open(stress.slots[i].cell);
        stress.slots[i].scheduled = 1;
    }
}

static void one_round(uint64_t seed)
{
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS + OWNERS];
    set_up(seed);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){i, calloc(MESSAGES / 4 + 1, sizeof(struct signal_box))};
        pthread_create(&threads[i], NULL, run_sender, &senders[i]);
    }
    for (unsigned i = 0; i < OWNERS; i++)
        pthread_create(&threads[SENDERS + i], NULL, run_owner, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < SENDERS + OWNERS; i++)
        pthread_join(threads[i], NULL);
    printf("seed %lu: %lu received (%lu of them stale), %lu refused, %lu signals, %lu refused, %lu lives\n", seed,
           stress.received, stress.stale, stress.refused, stress.signals_received, stress.signals_refused,
           stress.lives);
    if (stress.received + stress.refused != (uint64_t)SENDERS * MESSAGES)
        fail("messages were lost or repeated");
    if (stress.signals_received + stress.signals_refused != (uint64_t)SENDERS * ((MESSAGES + 3) / 4 + LONE))
        fail("signals were lost or repeated");
    for (unsigned i = 0; i < SENDERS; i++)
        free(senders[i].boxes);
    tr_slab_fini(&stress.slab);
    tr_cell_table_fini(&stress.table);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 6;
    printf("stress_mailbox: seed %lu, %u rounds\n", seed, rounds);
    for (unsigned round = 0; round < rounds; round++) {
        alarm(STUCK_AFTER_S); /* a lost wake-up hangs: the signal ends the process */
        one_round(seed + round);
    }
    return 0;
}
