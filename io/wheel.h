/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timer wheel: arms and disarms in O(1), fires in the order of ticks. Owns no memory: timers are
 * embedded. One thread (the loop that holds it) may call; the clock is the caller's, so a simulator can move it.
 * It is not precise below its tick (see TR_WHEEL_TICK_NS) and never fires early. */
#ifndef TR_IO_WHEEL_H
#define TR_IO_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/base/list.h"

#define TR_WHEEL_TICK_NS UINT64_C(1048576) /* 2^20 ns, about a millisecond */
#define TR_WHEEL_BITS 6
#define TR_WHEEL_SLOTS (1u << TR_WHEEL_BITS)
#define TR_WHEEL_LEVELS 8 /* 64^8 ticks: more than 64 bits of nanoseconds hold, so nothing is out of reach */

struct tr_timer;
typedef void tr_timer_fn(struct tr_timer *timer);

struct tr_timer {
    struct tr_list link; /* in a slot while armed */
    uint64_t due_ns;
    tr_timer_fn *fire; /* called once, by tr_wheel_advance; the timer is disarmed by then and may be armed again */
    uint16_t slot;     /* level * TR_WHEEL_SLOTS + index, valid while armed */
    bool armed;
};

struct tr_wheel {
    uint64_t tick; /* all timers due in ticks <= this have fired */
    size_t count;
    struct tr_list due;                 /* their tick has come: they fire at the next advance */
    uint64_t occupied[TR_WHEEL_LEVELS]; /* bit per slot */
    struct tr_list slots[TR_WHEEL_LEVELS][TR_WHEEL_SLOTS];
};

void tr_wheel_init(struct tr_wheel *wheel, uint64_t now_ns);
/* timer->fire must be set; the timer must not be armed. A due time in the past fires at the next advance. */
void tr_wheel_arm(struct tr_wheel *wheel, struct tr_timer *timer, uint64_t due_ns);
/* Harmless on a timer that is not armed. */
void tr_wheel_disarm(struct tr_wheel *wheel, struct tr_timer *timer);
/* Fires what is due at now_ns, at most `budget` timers; returns how many. What is left fires in the next call. */
unsigned tr_wheel_advance(struct tr_wheel *wheel, uint64_t now_ns, unsigned budget);
/* When advance must be called next, in absolute ns: never later than the first due timer's tick needs, perhaps earlier
 * (a cascade). UINT64_MAX when no timer is armed, so that an idle loop does not wake. */
uint64_t tr_wheel_next(const struct tr_wheel *wheel);
size_t tr_wheel_count(const struct tr_wheel *wheel);
void tr_wheel_check(const struct tr_wheel *wheel); /* asserts the invariants; O(timers) */

#endif
