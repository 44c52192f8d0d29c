/* SPDX-License-Identifier: Apache-2.0 */
/* How long this worker's activations take of late, and so whether a backlog is worth another worker's wake. Owns an
 * estimate in nanoseconds. Used by one worker for itself; pure arithmetic, the clock is the caller's.
 * It is not an accounting of time: samples are rare, smoothed and capped. */
#ifndef TR_SCHED_PACE_H
#define TR_SCHED_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include <ck_pr.h>

/* The backlog, in nanoseconds of estimated work, from which a sleeper is woken. A wake costs its sender 8 to 10 us of
 * system call and the work about 15 us of delay, and moves half of the backlog at best. So at
 * 50 us the last runnable gains about 10 us, and the sender pays a fifth of the backlog; below, a wake is a loss for
 * all. */
#define TR_WAKE_WORTH_NS 50000
/* The backlog from which a worker that is awake and has nothing to do steals. */
#define TR_STEAL_WORTH_NS 20000

struct tr_pace {
    uint64_t cost_ns;  /* smoothed length of one activation; at least 1 */
    uint64_t began_ns; /* when the busy stretch being measured began; meaningless while paused */
    uint64_t busy_ns;  /* busy time before that stretch, not sampled yet */
    unsigned due;      /* sample after so many: often enough to notice a change, seldom enough to cost nothing */
};

void tr_pace_init(struct tr_pace *pace);
/* Work begins after an idle time; work ends. */
void tr_pace_resume(struct tr_pace *pace, uint64_t now_ns);
void tr_pace_pause(struct tr_pace *pace, uint64_t now_ns);
/* Takes a sample: the clock was read because tr_pace_due said so. runs: activations since the last one, not 0. */
void tr_pace_sample(struct tr_pace *pace, uint64_t now_ns, uint64_t runs);

/* Is it time to read the clock, so many activations after the last sample? */
static inline bool tr_pace_due(const struct tr_pace *pace, uint64_t runs)
{
    return runs >= pace->due;
}

/* The estimate, for other workers: a single writer's word, perhaps a little old. */
static inline uint64_t tr_pace_cost(const struct tr_pace *pace)
{
    return ck_pr_load_64(&pace->cost_ns);
}

/* Are so many waiting runnables worth a wake? */
static inline bool tr_pace_worth(const struct tr_pace *pace, unsigned waiting)
{
    return waiting * pace->cost_ns >= TR_WAKE_WORTH_NS;
}

#endif
