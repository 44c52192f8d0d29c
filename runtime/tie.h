/* SPDX-License-Identifier: Apache-2.0 */
/* Ties: what binds an actor to a name, as its holder, a member, a subscriber, or one who waits for it; and what unbinds
 * it at the actor's end. Made and cut by any thread; at the actor's end by the worker that runs it.
 * It does not send anything: see fanout.h; and it is not the table: see names.h.
 *
 * A tie has a monitor of the actor (watch.h), which is in the actor's list of watchers and tells the tie of the end. So
 * an actor that has no names pays nothing for this, and an end costs a step per name of that actor. A restart is no
 * end.
 *   BINDING  all memory is reserved; then, under the shard's lock: the monitor is pushed to the actor's control lane,
 *            and the name is told. The order matters twice: a push that is refused (the actor has ended) leaves the
 *            name as it was; and the cancel signal of who cuts the tie, under the lock and so later, never overtakes
 *            the add.
 *   THE END  T of the monitor, then tr_tie_ended: takes the tie off its name, under the lock, and frees it. An end that
 *            comes while the tie is being bound waits for the lock, and finds it bound.
 *   CUTTING  under the lock: the tie is taken off its name (tie->name NULL), then C of the monitor. If C succeeds the
 *            tie is the cutter's to free. If not, T came first: tr_tie_ended is on its way, finds no name, and frees
 *            it.
 * Between the end of an actor (its slot's generation moves on, its mailbox is refused) and tr_tie_ended, which comes
 * behind its burial, the name still has it. So readers compare generations (tr_tie_lives): nobody finds a dead actor,
 * and a name whose holder is dead is free.
 * Checked by: tests/runtime/test_registry.c, test_members.c, tests/stress/stress_names.c (ThreadSanitizer). */
#ifndef TR_RUNTIME_TIE_H
#define TR_RUNTIME_TIE_H

#include <troupe/message.h>

#include "runtime/cell.h"
#include "runtime/instance.h"
#include "runtime/names.h"

struct tr_monitor;

struct tr_tie {
    struct tr_tie *free_next; /* struct tr_block while free */
    void *free_magazine;
    struct tr_shard *shard; /* constant, as actor, monitor and news */
    struct tr_name *name;   /* NULL: cut; under the shard's lock */
    troupe_addr actor;
    struct tr_monitor *monitor;
    uint64_t monitor_serial;
    troupe_msg *news; /* AWAITED: the message to be sent; else NULL */
};

/* Binds actor to the name of key. kind: for members. news: becomes the tie's if the answer is 0, and is freed with it;
 * NULL: none. 0, also when it was bound already (then kind is the new one, and news is freed); -EEXIST: of a registry's
 * name, another live actor has it; -ESRCH: actor has ended; -ENOMEM. ctx: NULL on a thread outside, here as below. */
int tr_tie_bind(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr actor, unsigned kind,
                troupe_msg *news);
/* 0 or -ENOENT. */
int tr_tie_unbind(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr actor);
/* Unbinds the member that has been there longest. NULL: there is none; else its news, with kind set, and *actor. */
troupe_msg *tr_tie_pop(struct troupe_runtime *rt, troupe_ctx *ctx, const struct tr_key *key, troupe_addr *actor);
/* For watch.c: the actor of this tie, which the running worker runs, has ended. */
void tr_tie_ended(troupe_ctx *ctx, struct tr_tie *tie);

/* Any thread: has the actor not ended? */
static inline bool tr_tie_lives(const struct troupe_runtime *rt, troupe_addr actor)
{
    const struct tr_cell *cell = tr_cell_find(&rt->cells, actor);
    return cell && ck_pr_load_32(&cell->generation) == tr_addr_generation(actor);
}

#endif
