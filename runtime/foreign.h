/* SPDX-License-Identifier: Apache-2.0 */
/* Threads outside that tell and ask: the verbs of runtime.h, and how an answer finds the thread that waits for it.
 * tr_foreign_answer is for send.c; workers and threads outside call it.
 * It is not the asks of actors (ask.h): those end in a callback, this in a return. */
#ifndef TR_RUNTIME_FOREIGN_H
#define TR_RUNTIME_FOREIGN_H

#include "runtime/message.h"

struct troupe_runtime;
struct tr_foreign_waiter;

/* A foreign ask's message has nobody as its sender and names a record in `ask`: so its answer, a reply or the news that
 * there will be none, is posted to nobody, and there it is met by tr_foreign_answer. No other reply has that address.
 * The record is type-stable (slab.h), as an answer may come when its thread has long gone. One word, {serial, state}:
 *   FREE     on the free list
 *   WAITING  the thread waits
 *   CLAIMED  somebody has the answer and is about to hand it over
 * Who moves it:
 *   B  thread  FREE -> WAITING      a store, then the message is pushed (release): who has that sees the record
 *   R  who answers  WAITING -> CLAIMED, same serial   acquire; then it writes the message into the waiter and sets
 *              waiter->told (release), its last access but for the wake of the futex, which touches no memory
 *   X  thread  WAITING -> FREE, next serial           the time is up. Fails if R was first: then it waits for `told`
 *   F  thread  CLAIMED -> FREE, next serial           after `told` (acquire)
 * By compare and swap, so of R and X exactly one succeeds: exactly one outcome. An answer whose R fails is late.
 * The waiter is on the thread's stack; R reads its address from the record after the claim, which X then leaves alone.
 * None waits for ever: the message is in one pair of hands at a time, and each ends it with an answer (message.h), at
 *   the latest when its actor ends, or without one when its deadline has passed (expiry.h): then X is due. All actors end before the runtime is joined, and join waits for the thread
 *   (gate.h).
 * Checked by: tests/runtime/test_foreign.c, tests/stress/stress_foreign.c (ThreadSanitizer). */
struct tr_foreign_ask {
    struct tr_foreign_ask *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint64_t word;
    struct tr_foreign_waiter *waiter;
};

/* msg, a reply, was posted to nobody. Consumes it. ctx: the calling worker's, or NULL. 0, or -ESRCH: it was late. */
int tr_foreign_answer(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_msg *msg);

#endif
