/* SPDX-License-Identifier: Apache-2.0 */
/* Delayed messages: what troupe_send_after and troupe_send_every make, unless it is under a token (that is timer.h's).
 * A delay is timer and message in one block: when it is due, the worker whose wheel holds it (its home) turns it into
 * the message and posts that, wherever the actor that made it is by now.
 * Owned by the incarnation that made it by way of an account. It is not an alarm (alarm.h): that is a signal to the
 * actor itself. */
#ifndef TR_RUNTIME_DELAY_H
#define TR_RUNTIME_DELAY_H

#include <troupe/timer.h>

#include <ck_stack.h>

#include "io/wheel.h"
#include "runtime/message.h"
#include "sched/base/cacheline.h"
#include "sched/base/list.h"

struct tr_incarnation;

#define TR_DELAY_ROOM 16u /* bytes of payload in the block; a larger payload is in a message apart */

/* Two threads meet here: the home, and the worker that runs the actor (the owner). They may be the same.
 *
 * delay->life: serial << 3 | state, one word, so that a stale handle cannot hit the block's next life.
 *   FREE       in the slab, or a message by now
 *   ARMED      in the home's wheel and on a page of its account. At first it is fresh: not in the wheel yet, see below
 *   FIRED      home moved it (CAS from ARMED): the message is sent, no cancel succeeds any more
 *   AGAIN      of a periodic one: home moved it (CAS from ARMED), sends a copy, and moves it back (CAS to ARMED)
 *   CANCELLED  owner moved it (CAS from ARMED or AGAIN), and pushed it on the home's delay_returns: home frees it
 * An owner on the home's own thread cancels without CAS or detour: no callback of the wheel can run in between. From
 * AGAIN a cancel may succeed although a copy is on its way: as if that had been sent just before.
 * Edges: ARMED (release) meets the cancel's load (acquire): `account` is of this life. Push (release) meets the batch
 * pop of the reap (acquire).
 *
 * The account, one per incarnation and home, lists the delays, on pages. Pages, wheel and blocks are touched by the home
 * only. Pages and not a list through the delays: to take one of a million out, in the order in which they are due, would
 * mean to fetch its two neighbours from memory; the heads of the pages stay in the caches (decision 038).
 * account->muted: stored by the owner, 1 for good: the incarnation has crashed or ended, nothing more is sent. The
 * account itself is the owner's until the incarnation ends: then it is freed with all that is in it, on the home's own
 * thread at once, else by way of the home's delay_ends. The reap takes delay_ends before delay_returns, and handles it
 * after: what was cancelled before its account ended is then freed once, and first.
 * ctx->fresh: what was armed since the home last looked at the clock, with the delay in due_ns. It comes into the wheel
 * when the activation ends, or with FRESH_MAX of them: so they share a look at the clock, and what is cancelled before
 * costs none. The home's own, as pages and wheel are: a cancel from elsewhere does not mind.
 * ctx->fired: what the wheel has fired and is about to be sent, a batch. Empty but inside of a poll or wait, in which
 * no actor runs and nothing is reaped.
 * Nobody is woken for either stack: until the home polls, its timers may ring, and find that they are not wanted.
 * Checked by: tests/runtime/test_timer.c, tests/runtime/test_delay.c (ThreadSanitizer). */
struct tr_delay_page {
    struct tr_list link; /* in account->pages: those with room come first */
    uint64_t room;       /* a bit per place that is free */
    struct tr_delay **places;
};

#define TR_DELAY_FEW 5u /* places within the account: most incarnations need no page of their own */

struct tr_delay_account {
    struct tr_list pages;
    troupe_ctx *home;
    struct tr_delay_account *next; /* in incarnation->delays */
    troupe_addr sender;
    uint32_t muted;
    ck_stack_entry_t end_link;
    struct tr_delay_page first; /* of the few */
    struct tr_delay *few[TR_DELAY_FEW];
};

struct tr_delay {
    struct tr_timer timer; /* begins as struct tr_block while free */
    struct tr_delay_account *account;
    uint64_t life;
    union {
        struct {
            struct tr_delay_page *page; /* of its account */
            troupe_addr to;
            uint64_t period_ns; /* 0: once */
            troupe_msg *apart;  /* the message if it has no room here; a periodic one sends copies of it. NULL */
            uint32_t size;
            uint16_t kind;
            uint8_t place; /* on its page */
        } wait;
        troupe_msg msg; /* once it is due; the payload is in place already */
    };
} TR_ALIGNED_LINE;

/* Arms for the running actor, which is under no token. Returns as troupe_send_after. */
int tr_delay_arm(troupe_ctx *ctx, uint64_t delay_ns, uint64_t period_ns, troupe_addr to, unsigned kind,
                 const void *payload, size_t size, troupe_timer *timer);
/* Sends what the wheel has fired. On ctx's worker, directly behind its poll or wait. */
void tr_delay_send_fired(troupe_ctx *ctx);
/* Puts what is fresh into the wheel. On ctx's worker, when an activation has ended. */
void tr_delay_settle(troupe_ctx *ctx);
/* True: it will send nothing more. */
bool tr_delay_cancel(troupe_ctx *ctx, troupe_timer timer);
/* The incarnation has crashed or is killed: nothing more is sent, though it may take a while to end. */
void tr_delay_mute(struct tr_incarnation *inc);
/* Cancels all delays of a dying incarnation. */
void tr_delay_cancel_all(troupe_ctx *ctx, struct tr_incarnation *inc);
/* Frees what other workers cancelled. On the home worker, from its poll and wait. */
void tr_delay_reap(troupe_ctx *ctx);
/* For tr_msg_free: a message of class TR_CLASS_DELAY is done with. Any thread. */
void tr_delay_free_message(struct tr_slab *slab, struct tr_slab_cache *cache, troupe_msg *msg);

#endif
