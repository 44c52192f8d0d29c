/* SPDX-License-Identifier: Apache-2.0 */
/* The word in which a loop's owner says how it sleeps, and others that it must not. Owns that word and the sleep in it;
 * for io/loop.c. Two ways to sleep, because the way a thread sleeps decides what its wake costs:
 *   in the futex  the word itself is slept on: one system call of the waker's, and the owner is on its way
 *   in the ring   io_uring_enter, which alone ends when an operation completes; a waker must ring the back end's
 *                 doorbell, whose completion is posted, delivered and reaped: twice the price
 * So who has no operation in flight sleeps in the futex: nothing but a wake or the time can end that sleep, and for both
 * a futex will do. It is not the choice itself, nor the ring's sleep: those are loop.c and the back end.
 *
 * PROTOCOL. word:
 *   AWAKE     the owner runs, or is about to look at the word
 *   IN_FUTEX  the owner sleeps in the word, or has promised to do nothing else next
 *   IN_RING   the owner sleeps in the ring, or has promised to
 *   NOTIFIED  a wake came that no sleep has consumed: wakes are sticky
 * Moves, all read-modify-writes and so in one total order:
 *   P  owner  compare and swap AWAKE -> IN_FUTEX or IN_RING; if it fails there is no sleep   tr_park_begin
 *   S  owner  IN_FUTEX only: sleeps, if and while the word reads IN_FUTEX (the kernel compares and queues in one
 *             step, against F)                                                               tr_park_sleep
 *   C  owner  exchange AWAKE, after the sleep (or instead of it); then it drains its queues  tr_park_end
 *   W  waker  exchange NOTIFIED, after it published what it wakes for                        tr_park_notify
 *   F  waker  that read IN_FUTEX in W: FUTEX_WAKE
 *   D  waker  that read IN_RING in W: rings the doorbell, which stays rung until it is heard
 * Edges: W -> C  what the waker published is visible to the drain (release before W, acquire after C).
 * No wake is lost. W before P makes P fail, and the owner goes on to C. W after P reads how the owner sleeps, or NOTIFIED
 *   of another waker that read it and owes F or D. Between P and C the word moves by W only, so: in the futex, either S
 *   finds NOTIFIED and does not sleep, or it was queued before and F finds it; in the ring, D's completion ends the
 *   sleep, whether it began before or after. W after C stays for the next P.
 * The owner decides between futex and ring before P, by its own operations in flight. Nobody else can begin one on its
 *   ring: others post a command and wake. So what was true before P holds until C, and in the futex no completion of
 *   an operation can be missed.
 * F and D may come late, when that sleep is over: a waker can be held up between W and F. A late F finds nobody, or ends a
 *   later sleep in the futex; a late D leaves a completion that ends a later sleep in the ring. Either costs an empty
 *   turn, nothing more. The word outlives its wakers: see tr_io_destroy.
 * At most one waker per sleep pays for a system call.
 * Checked by: tests/io/test_park_model.c (every interleaving of the real source, small cases), tests/io/test_loop.c,
 * tests/stress/stress_loop.c under ThreadSanitizer. */
#ifndef TR_IO_PARK_H
#define TR_IO_PARK_H

#include <stdbool.h>
#include <stdint.h>

enum tr_park_state { TR_PARK_AWAKE, TR_PARK_IN_FUTEX, TR_PARK_IN_RING, TR_PARK_NOTIFIED };

struct tr_park {
    uint32_t word;
};

/* The owner lies down, `how` is IN_FUTEX or IN_RING. False: a wake has come, it must not sleep. tr_park_end follows
 * either way. Owner. */
bool tr_park_begin(struct tr_park *park, enum tr_park_state how);
/* After begin with IN_FUTEX: sleeps until a wake or until_ns (CLOCK_MONOTONIC; UINT64_MAX: never). May return early.
 * Owner. */
void tr_park_sleep(struct tr_park *park, uint64_t until_ns);
/* The owner is up, and sees what the wakers published. True: there was a wake. Owner. */
bool tr_park_end(struct tr_park *park);
/* Ends the owner's current or next sleep. True: it sleeps in the ring, and the caller must ring the doorbell. Any
 * thread. */
bool tr_park_notify(struct tr_park *park);

#endif
