/* SPDX-License-Identifier: Apache-2.0 */
/* An actor's cell, and the table that turns addresses into cells. The table owns the cells; chunks are never unmapped while
 * the runtime lives, so a stale address is harmless: it finds a cell of another generation.
 * A cell's owner is the worker that runs it, or nobody while its mailbox is IDLE. It is not the incarnation: that is what
 * a crash throws away (see incarnation.h), the cell and its mailbox stay. */
#ifndef TR_RUNTIME_CELL_H
#define TR_RUNTIME_CELL_H

#include <troupe/actor.h>

#include <ck_spinlock.h>

#include "runtime/lifecycle.h"
#include "runtime/message.h"
#include "runtime/signal.h"
#include "runtime/window.h"
#include "sched/base/cacheline.h"
#include "sched/base/list.h"
#include "sched/pool.h"

struct tr_incarnation;
struct tr_crash;

/* Control bits, in the low half of cell->control_bits; the high half is the slot's generation, so that a bit meant for an
 * actor that has ended cannot hit the next one in the slot. */
#define TR_CONTROL_STOP UINT64_C(1)
#define TR_CONTROL_RESTART UINT64_C(2)   /* the parent's verdict about an escalated child */
#define TR_CONTROL_STOP_SELF UINT64_C(4) /* the actor itself, before it was RUNNING */

struct tr_cell {
    /* The senders' line. head: see mailbox.h. generation: stored by the owner at the end, loaded by senders. The rest is
     * written before the address is published and constant from then on, so it costs the senders nothing. */
    void *head;
    uint32_t generation;
    uint32_t index;
    const troupe_behavior *behavior;
    struct tr_cell *parent; /* NULL for the root. Valid as long as this cell is not freed: parents end last */
    void *args;
    uint64_t window_ns;
    uint32_t restarts_max;
    uint8_t restart; /* troupe_restart */

    /* The owner's line; control and control_bits are also written by whoever signals. */
    struct tr_signal *control TR_ALIGNED_LINE;
    uint64_t control_bits;
    troupe_msg *mark;                  /* the newest fetched node, which the head may still name */
    troupe_msg *fifo_head, *fifo_tail; /* fetched and not yet handled, oldest first */
    struct tr_runnable runnable;
    void *state;
    struct tr_incarnation *incarnation; /* what this incarnation owns beyond state; NULL until needed */

    /* Cold: the owner's only. */
    enum tr_life life;       /* STARTING from the spawn on; only move() in supervise.c changes it */
    uint32_t incarnation_nr; /* 1 for the first */
    uint32_t restarts_total;
    uint32_t children_count;
    uint32_t ports;          /* not yet freed, those of a dying incarnation included: their ops name this cell */
    int gift_fd;             /* from spawn, not yet taken; -1 */
    bool held;               /* by troupe_hold: messages wait in the FIFO */
    bool calls_crashed;      /* `crashed` is still owed */
    bool calls_stopped;      /* `stopped` is still owed */
    bool crashed;            /* the incarnation ended by a crash */
    bool closed;             /* the incarnation's timers, asks and ports are closed; the ports perhaps not yet gone */
    bool announces_restart;  /* `restarted` is still owed */
    uint8_t reason;          /* troupe_reason, valid when STOPPING or STOPPED */
    struct tr_list siblings; /* in the parent's children */
    struct tr_list children;
    struct tr_signal *signals; /* taken from the control lane and not yet dispatched, oldest first */
    struct tr_crash *crash;    /* the last one. The parent reads it for its verdict, so it is freed with the slot */
    struct tr_window window;
    struct tr_signal exit_signal, escalation_signal; /* in the parent's control lane */
} TR_ALIGNED_LINE;

#define TR_CELLS_MAX (UINT32_C(1) << 30)
#define TR_CELLS_PER_CHUNK 512u
#define TR_SLOT_BATCH 32u

/* Free slots travel in batches between the workers' caches and the table, like blocks in slab.h. A table of n cells can run
 * dry with up to two batches per cache still free: make it that much larger than what must be had. */
struct tr_slot_cache {
    uint32_t slots[2 * TR_SLOT_BATCH];
    unsigned count;
};

struct tr_cell_table {
    struct tr_cell **chunks; /* release-stored once each, never changed after */
    uint32_t limit;          /* cells at most */
    uint32_t made;           /* cells that exist; under lock */
    uint32_t *free_slots;    /* stack; under lock */
    uint32_t free_count;     /* under lock */
    uint32_t free_capacity;
    ck_spinlock_t lock;
};

int tr_cell_table_init(struct tr_cell_table *table, uint32_t limit);
void tr_cell_table_fini(struct tr_cell_table *table);
/* A closed cell for a new actor, or NULL when the limit or memory is exhausted. cache as in slab.h. */
struct tr_cell *tr_cell_get(struct tr_cell_table *table, struct tr_slot_cache *cache);
/* Gives an ended actor's slot back; a slot whose generation has wrapped is retired. */
void tr_cell_put(struct tr_cell_table *table, struct tr_slot_cache *cache, struct tr_cell *cell);

static inline troupe_addr tr_cell_addr(const struct tr_cell *cell)
{
    return (troupe_addr){(uint64_t)cell->generation << 32 | cell->index};
}

/* The address that msg, which is in cell's mailbox, was sent to: an earlier actor's if the slot was reused meanwhile. */
static inline troupe_addr tr_cell_addressed(const struct tr_cell *cell, const troupe_msg *msg)
{
    return (troupe_addr){(uint64_t)msg->generation << 32 | cell->index};
}

static inline uint32_t tr_addr_generation(troupe_addr addr)
{
    return (uint32_t)(addr.bits >> 32);
}

/* The cell that addr names or named; NULL for nobody and for bits that were never an address. Any thread. */
static inline struct tr_cell *tr_cell_find(const struct tr_cell_table *table, troupe_addr addr)
{
    uint32_t index = (uint32_t)addr.bits;
    if (index >= table->limit || tr_addr_generation(addr) == 0)
        return NULL;
    struct tr_cell *chunk = ck_pr_load_ptr(&table->chunks[index / TR_CELLS_PER_CHUNK]);
    return chunk ? &chunk[index % TR_CELLS_PER_CHUNK] : NULL;
}

#endif
