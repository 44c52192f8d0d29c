/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timer wheel: arms and disarms in O(1), fires in the order of ticks, and those of one tick in the order
 * in which they were armed. Owns its slots; timers are embedded in what they are for, so arming needs no memory. One
 * thread (the loop that holds it) may call; the clock is the caller's, so a simulator can move it.
 * It is not precise below its tick (see TR_WHEEL_TICK_NS) and never fires early. */
#ifndef TR_IO_WHEEL_H
#define TR_IO_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/base/list.h"

#define TR_WHEEL_TICK_NS UINT64_C(262144) /* 2^18 ns, about a quarter of a millisecond */
#define TR_WHEEL_LEVELS 6                 /* more than 64 bits of nanoseconds hold, so nothing is out of reach */
/* The lowest level reaches 3.7 to 4.3 s: what is due by then lies in the slot that it fires from, and never moves. */
#define TR_WHEEL_NEAR 16384u
#define TR_WHEEL_NEAR_STEP 11 /* a slot of the next level is 2^11 of these: an eighth of them */
#define TR_WHEEL_FAR 256u     /* slots of each other level */
#define TR_WHEEL_FAR_STEP 7   /* one of the next level is 2^7 of these: half of them */
#define TR_WHEEL_SLOTS (TR_WHEEL_NEAR + (TR_WHEEL_LEVELS - 1) * TR_WHEEL_FAR)

struct tr_timer;
typedef void tr_timer_fn(struct tr_timer *timer);

struct tr_timer {
    struct tr_list link; /* in a slot while armed */
    uint64_t due_ns;
    tr_timer_fn *fire;      /* called once, by tr_wheel_advance; the timer is disarmed by then and may be armed again */
    struct tr_timer *ahead; /* a hint what to fetch from memory when this one is moved; never followed */
    bool armed;
    bool scout; /* it is its slot's scout */
};

struct tr_wheel_slot {
    struct tr_list timers;
    struct tr_timer *scout; /* some steps behind the last; it is told who came last. NULL: none */
    unsigned distance;      /* from the scout to the last, at most */
};

struct tr_wheel {
    uint64_t tick; /* all timers due in ticks <= this have fired */
    size_t count;
    struct tr_list due;                     /* their tick has come: they fire at the next advance */
    bool emptying;                          /* a slot is being emptied piece by piece: the next piece is due at once */
    uint64_t opened[TR_WHEEL_LEVELS];       /* of level + 1: the last slot whose timers lie in this level by now */
    struct tr_wheel_slot *slots;            /* of all levels, lowest first; zero until the first timer is in it */
    uint64_t occupied[TR_WHEEL_SLOTS / 64]; /* bit per slot */
    uint64_t near_words[TR_WHEEL_NEAR / 4096]; /* bit per word of the lowest level's: it is not 0 */
};

/* Returns 0 or -ENOMEM. */
int tr_wheel_init(struct tr_wheel *wheel, uint64_t now_ns);
/* Timers that are still armed are forgotten: they must not be touched by any verb here. */
void tr_wheel_fini(struct tr_wheel *wheel);
/* timer->fire must be set; the timer must not be armed. A due time in the past fires at the next advance. */
void tr_wheel_arm(struct tr_wheel *wheel, struct tr_timer *timer, uint64_t due_ns);
/* Harmless on a timer that is not armed. */
void tr_wheel_disarm(struct tr_wheel *wheel, struct tr_timer *timer);
/* Fires what is due at now_ns, at most `budget` timers; returns how many. What is left fires in the next call. */
unsigned tr_wheel_advance(struct tr_wheel *wheel, uint64_t now_ns, unsigned budget);
/* When advance must be called next, in absolute ns: never later than the first due timer's tick needs, perhaps earlier
 * (to move timers to a finer level). UINT64_MAX when no timer is armed, so that an idle loop does not wake. */
uint64_t tr_wheel_next(const struct tr_wheel *wheel);
size_t tr_wheel_count(const struct tr_wheel *wheel);
void tr_wheel_check(const struct tr_wheel *wheel); /* asserts the invariants; O(timers) */

#endif
