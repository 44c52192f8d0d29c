/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the judgement of delays: how much of one is the runtime's own, and whether the watchdog had found it. It samples
 * /proc and the watchdog's findings from a thread of its own; one runtime per process, which must have a watchdog. Any
 * thread may hand delays in, from stall_expect to stall_stop.
 * It is not a part of the library, and changes nothing in what it looks at.
 *
 * A delay runs from when something was due (a timer) or sent (a message) to when its handler began. More workers than
 * cores wait for each other's time slices, and no scheduler in user space can do anything about that. So of a delay
 * counts what the worker that had it first (the timer's home, the sender's) was *on a CPU or asleep in its loop*, up to
 * some moment, and the same of the worker that handled it, from that moment on; of all moments the one for which least
 * is left. (On a CPU: run time in /proc/self/task/N/schedstat; asleep: the mark that the worker makes for the
 * watchdog; both sampled every 10 ms.) That is time in which a worker could have run it and did something else, or
 * nothing. Off goes what the hypervisor stole, and how late the sampling thread was, which only sleeps 10 ms at a
 * time: then the machine stood still.
 *   - *A stall* is a delay of which more than the bound is left. It is reported if the watchdog had found one of the two
 *     workers stuck in a handler meanwhile. A stall that is not is what must not be.
 *   - *Explained*: all other delays beyond the bound. Of these *blocked* are counted apart: the worker was neither on a
 *     CPU nor ready nor asleep in its loop for longer than the bound, and was not found stuck: it waited for a lock
 *     whose holder had lost its CPU (malloc's, if there are many more threads than arenas), or for a page.
 * The watchdog's findings are read where it keeps them, since no more than 20 lines a second are logged. */
#ifndef TR_TESTS_SUPPORT_STALL_H
#define TR_TESTS_SUPPORT_STALL_H

#include <stdbool.h>
#include <stdint.h>

#include <troupe/runtime.h>

enum { STALL_NO_WORKER = -1 };

struct stall_summary {
    uint64_t delays, longest_ns; /* all; as the clock saw them */
    uint64_t over;               /* longer than the bound by the clock; of these: */
    uint64_t explained, reported, unreported;
    uint64_t blocked;                         /* of those explained */
    uint64_t worst_left_ns, worst_blocked_ns; /* of those not reported, and blocked: the most that was left */
    uint64_t late_ns;                         /* how late the sampling thread was at most */
};

/* stall_expect - the bound, before there is anybody to hand something in. */
void stall_expect(uint64_t bound_ns);
/* stall_start - of a runtime that has started. */
void stall_start(const troupe_runtime *rt);
/* stall_stop - judges what is left, and ends the thread. */
void stall_stop(void);
struct stall_summary stall_look(void);

/* stall_worker - the number of the worker that this thread is, or STALL_NO_WORKER. */
int stall_worker(void);
uint64_t stall_clock(void); /* CLOCK_MONOTONIC, ns */

/* stall_delay - something was due and is being handled, now, on this thread.
 *   what  constant, for the line that is printed of a stall
 *   from  the worker that had it first */
void stall_delay(const char *what, int from, uint64_t due_ns);
/* stall_handler - a handler ran on this thread, from that time until now: the watchdog must have found it, unless it
 * waited for a CPU itself meanwhile. */
void stall_handler(const char *what, uint64_t began_ns);
#endif
