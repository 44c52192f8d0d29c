/* SPDX-License-Identifier: Apache-2.0 */
/* An actor's cell, and the table that turns addresses into cells. The table owns the cells; they are never unmapped
 * while the runtime lives, so a stale address is harmless: it finds a cell of another generation.
 * A cell's owner is the worker that runs it, or nobody while its mailbox is IDLE. It is not the incarnation: that is
 * what a crash throws away (see incarnation.h), the cell and its mailbox stay. */
#ifndef TR_RUNTIME_CELL_H
#define TR_RUNTIME_CELL_H

#include <troupe/actor.h>

#include <ck_spinlock.h>

#include "runtime/lifecycle.h"
#include "runtime/message.h"
#include "runtime/signal.h"
#include "sched/base/assert.h"
#include "sched/base/cacheline.h"
#include "sched/base/list.h"
#include "sched/pool.h"

struct tr_incarnation;
struct tr_bound;
struct tr_family;
struct tr_monitor;
struct tr_recovery;
struct tr_token;

/* Control bits, in the low half of cell->control_bits; the high half is the slot's generation, so that a bit meant for
 * an actor that has ended cannot hit the next one in the slot. Those of the parent are final, whatever the restart
 * policy. */
#define TR_CONTROL_STOP UINT64_C(1)        /* the parent, or the runtime for the root */
#define TR_CONTROL_STOP_ASKED UINT64_C(2)  /* somebody else */
#define TR_CONTROL_STOP_SELF UINT64_C(4)   /* the actor itself, before it was RUNNING */
#define TR_CONTROL_KILL UINT64_C(8)        /* the parent */
#define TR_CONTROL_KILL_ASKED UINT64_C(16) /* somebody else, or the actor itself */
#define TR_CONTROL_REGROUP UINT64_C(32)    /* the parent: come down with your group */
#define TR_CONTROL_FORCE UINT64_C(64)      /* the parent: the time to come down in order is up */
#define TR_CONTROL_START UINT64_C(128)     /* the parent's word for a child that is WAITING */
#define TR_CONTROL_RESTART UINT64_C(256)   /* the parent's verdict: go on */
#define TR_CONTROL_WAIT UINT64_C(512)      /* the parent's verdict: go on when your group does */
#define TR_CONTROL_SUSPEND UINT64_C(1024)  /* the last of the two stands */
#define TR_CONTROL_RESUME UINT64_C(2048)
#define TR_CONTROL_RESTED UINT64_C(4096) /* the actor itself: its back-off is over */

/* Why cell->held: bits. */
#define TR_HELD_BY_ITSELF 1u /* troupe_hold */
#define TR_HELD_SUSPENDED 2u /* troupe_suspend */
#define TR_HELD_STAFFING 4u  /* its declared children have not all started yet */
#define TR_HELD_ASKING 8u    /* asks with hold wait for their answers: see hold.h */

/* Why cell->unusual: bits. */
#define TR_UNUSUAL_UNSETTLED 1u /* the last activation was cut short: FIFO and signals may hold something */
#define TR_UNUSUAL_BOUNDED 2u   /* messages are counted when they are taken: see bound.h */

#define TR_CELL_STATE_ROOM 16u /* aligned to 16 */
#define TR_CELL_ARGS_ROOM 8u   /* aligned to 8 */

struct tr_cell {
    /* The senders' line. head: see mailbox.h. generation: stored by the owner at the end, loaded by senders. The rest
     * is written before the address is published and constant from then on, so it costs the senders nothing. */
    void *head;
    union {
        uint64_t name; /* both: the bits of the actor's address */
        struct {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            uint32_t index, generation;
#else
            uint32_t generation, index;
#endif
        };
    };
    const troupe_behavior *behavior;
    struct tr_cell *parent;           /* NULL for the root. Valid as long as this cell is not freed: parents end last */
    const troupe_supervision *policy; /* the behavior's, or a copy behind the arguments */
    void *args;             /* arguments, and the copy of a supervision of its own: see args.h; NULL: neither */
    struct tr_bound *bound; /* of the mailbox: see bound.h; NULL: it is neither bounded nor counted */
    int32_t gift_fd;        /* from spawn, not yet taken; -1. The owner's */
    uint16_t place;         /* among the parent's declared children; TR_PLACE_DYNAMIC */

    /* The owner's line; control and control_bits are also written by whoever signals. */
    struct tr_signal *control TR_ALIGNED_LINE;
    uint64_t control_bits;
    troupe_msg *mark; /* the newest fetched node, which the head may still name; when buried: whose drop is called */
    troupe_msg *fifo_head; /* fetched and not yet handled, oldest first */
    struct tr_runnable runnable;
    void *state;
    struct tr_incarnation *incarnation; /* what this incarnation owns beyond state; NULL until needed */
    /* What may keep the owner from simply handling a message; TR_MOOD_CALM: nothing. Others may look at `life` for a
     * report, and set `alarm`. */
    union {
        uint64_t mood;
        struct {
            uint8_t life;     /* enum tr_life; spawn.c gives it the first, then only move() in supervise.c changes it */
            uint8_t held;     /* TR_HELD_ bits: messages wait in the FIFO */
            uint8_t asks_due; /* expired asks may be at the head of the incarnation's list, or asks were cancelled */
            uint8_t unusual;  /* TR_UNUSUAL_ bits */
            uint32_t alarm;   /* not 0: look into the control lane: see mailbox.h */
        };
    };

    /* Cold: the owner's only, but for one byte. First the room of small states and arguments: see kept.h, args.h. */
    unsigned char state_room[TR_CELL_STATE_ROOM] TR_ALIGNED_LINE;
    unsigned char args_room[TR_CELL_ARGS_ROOM]; /* constant from spawn on */
    troupe_msg *fifo_tail;                      /* the newest; means nothing while the FIFO is empty */
    struct tr_signal *signals;                  /* taken from the control lane and not yet dispatched, oldest first */
    struct tr_recovery *recovery;               /* NULL until the first crash */
    struct tr_family *family;                   /* NULL until the first child */
    bool calls_crashed : 1;                     /* `crashed` is still owed */
    bool calls_stopped : 1;                     /* `stopped` is still owed */
    bool crashed : 1;                           /* the incarnation ended by a crash */
    bool forced : 1; /* it ends without its consent: killed, or its time to come down was up */
    bool closed : 1; /* the incarnation's timers, asks and ports are closed; the ports perhaps not yet gone */
    bool announces_restart : 1; /* `restarted` is still owed */
    bool announces_up : 1;      /* the parent waits for TR_NEWS_UP */
    bool regroup : 1;           /* it is coming down with its group */
    bool final : 1;             /* its parent ends it */
    bool unborn : 1;            /* WAITING before its first incarnation: it replaces a member of a group */
    bool buried : 1;            /* its mailbox is closed; what was in it is in the FIFO */
    uint8_t reason;             /* troupe_reason, valid when it ends. It keeps the bits before and behind it apart */
    /* The parent's only. */
    uint8_t seat : 2;  /* enum tr_seat */
    bool in_group : 1; /* it restarts with others */
    bool awaited : 1;  /* its UP is: see family_state.h */
    bool told_to_end : 1;
    bool killed_late : 1;
    bool replaced : 1; /* when it has ended, another one takes its place and its arguments */
    /* The owner's again. */
    uint32_t ports;                 /* not yet freed, those of a dying incarnation included: their ops name this cell */
    struct tr_monitor *watchers;    /* who monitors or is linked to this actor: see watch.h */
    struct tr_token *stopped_token; /* NULL until asked for: see token.h */
    uint32_t incarnation_nr;        /* 1 for the first: restarts, and 1 */
    uint32_t children_count;        /* alive */

    /* Between child and parent: see family.h. */
    uint32_t news; /* TR_NEWS_ bits */
    uint32_t born; /* the generation it has had since its spawn: closing the mailbox moves `generation` on, not this */
    struct tr_signal news_signal; /* in the parent's control lane */
    struct tr_list siblings;      /* the parent's only: in the family's children */
} TR_ALIGNED_LINE;

/* RUNNING and nothing else; its byte in memory comes first. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define TR_MOOD_CALM ((uint64_t)TR_LIFE_RUNNING)
#else
#define TR_MOOD_CALM ((uint64_t)TR_LIFE_RUNNING << 56)
#endif

static inline bool tr_cell_calm(const struct tr_cell *cell)
{
    return ck_pr_load_64(&cell->mood) == TR_MOOD_CALM;
}

#define TR_CELLS_MAX (UINT32_C(1) << 30)
#define TR_CELLS_PER_CHUNK 512u
#define TR_SLOT_BATCH 32u

/* Free slots travel in batches between the workers' caches and the table, like blocks in slab.h. A table of n cells can
 * run dry with up to two batches per cache still free: make it that much larger than what must be had. */
struct tr_slot_cache {
    uint32_t slots[2 * TR_SLOT_BATCH];
    unsigned count;
};

struct tr_cell_table {
    struct tr_cell *cells; /* address space for `limit` of them, of which `made` have memory; constant */
    uint32_t limit;        /* cells at most */
    uint32_t made;         /* cells that exist: grows, under lock, by release */
    uint32_t *free_slots;  /* stack; under lock */
    uint32_t free_count;   /* under lock */
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
    return (troupe_addr){cell->name};
}

/* The same for the parent of the actor, which may have ended by now, or end at this moment: until the parent has been
 * told the slot is still its own. */
static inline troupe_addr tr_cell_addr_of_child(const struct tr_cell *child)
{
    return (troupe_addr){(uint64_t)child->born << 32 | child->index};
}

/* The address that msg, which is in cell's mailbox, was sent to: an earlier actor's if the slot was reused
 * meanwhile. */
static inline troupe_addr tr_cell_addressed(const struct tr_cell *cell, const troupe_msg *msg)
{
    return (troupe_addr){(uint64_t)msg->generation << 32 | cell->index};
}

static inline uint32_t tr_addr_generation(troupe_addr addr)
{
    return (uint32_t)(addr.bits >> 32);
}

/* The cell of addr's slot, whose name may be another; NULL for bits that were never an address. Any thread. */
static inline struct tr_cell *tr_cell_at(const struct tr_cell_table *table, troupe_addr addr)
{
    uint32_t index = (uint32_t)addr.bits;
    if (TR_UNLIKELY(index >= ck_pr_load_32(&table->made)))
        return NULL;
    return __builtin_assume_aligned(table->cells + index, sizeof(struct tr_cell));
}

/* The cell that addr names or named; NULL for nobody, too. Any thread. */
static inline struct tr_cell *tr_cell_find(const struct tr_cell_table *table, troupe_addr addr)
{
    return tr_addr_generation(addr) != 0 ? tr_cell_at(table, addr) : NULL;
}

#endif
