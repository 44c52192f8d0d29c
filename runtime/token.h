/* SPDX-License-Identifier: Apache-2.0 */
/* Cancel tokens: the records behind troupe_token and the tree they form. A record is type-stable (runtime/slab.h), so
 * that a stale handle may lock it and read its word. Any thread may call what is here, a worker or not.
 * What is told of a cancellation is a hook's business (hook.h), in which order and by whom is sweep.h's, which tokens
 * go with an actor is scope.h's. */
#ifndef TR_RUNTIME_TOKEN_H
#define TR_RUNTIME_TOKEN_H

#include <troupe/token.h>

#include <pthread.h>

#include "runtime/cell.h"
#include "sched/base/list.h"
#include "sched/base/lock.h"

struct tr_token_hook;

/* THE WORD. token->word: {serial, bits}; serial grows with each life of the record and is the handle's generation.
 *   CANCELLED  for good in this life. By whoever cancels it, a child also by who sweeps its parent: the one whose
 *              read-modify-write set it is the token's sweeper
 *   DEAD       its handles are stale. By who frees it, under its lock; always with CANCELLED
 *   LOOSE      no scope lists it. From birth if no actor owns it, else by who took it off its scope's list
 *   SWEPT      its sweeper is done: nothing is linked to it, it is linked nowhere. By the sweeper
 * DEAD, LOOSE and SWEPT together: nobody has a pointer to the record but stale handles. Who sets the last of them frees
 * it.
 * LOCKS. token->lock guards what hangs on the token: its children, hooks and, of a scope, its `owned` tokens; and with
 *   them the children's `parent`, the owned ones' `scope`. A handle is valid while its record is locked and word says
 *   so: DEAD is set under the lock only. One lock is held at a time, but that a token's holder may take its scope's;
 *   scopes have none.
 * CANCELLING. Sets the bit, takes the token out of its parent's children, and sweeps: a piece here, the rest in the
 *   background. New children and hooks look at the bit under the lock: what was linked before it was seen is found by
 *   the sweeper, which locks afterwards; what comes later is refused.
 *   The sweeper takes hooks and children off one by one, so lists are empty when it sets SWEPT, and stay so. A child
 *   gets its bit before it leaves the list. One that had it already has another sweeper, who has not set SWEPT yet: it
 *   must take the child out of its parent's list first, and finds it gone.
 *   Freeing sets DEAD and, if the sweeper has finished, takes SWEPT back and sweeps again: a scope's owned tokens are
 *   freed that way.
 * ASKING (troupe_token_cancelled) takes no lock and writes nothing. It walks up: reads parent, the parent's word, then
 *   its own word again. Edges: CANCELLED before the change of `parent` (release), meets the load of parent before that
 *   of the word (acquire). So a word still without the bit proves that the child hung on that parent when the parent's
 *   word was read, and that this word was of the right life; with this in hand the parent takes the child's place. A
 *   word that changed means: cancelled. Once a cancel has returned, every descendant either has the bit or a path of
 *   such words to one that has.
 * A swept or dead token holds nothing: its descendants have bits of their own by then and need no parent.
 * Checked by: tests/runtime/test_token.c, tests/stress/stress_token.c (ThreadSanitizer). */
#define TR_TOKEN_CANCELLED UINT64_C(1)
#define TR_TOKEN_DEAD UINT64_C(2)
#define TR_TOKEN_LOOSE UINT64_C(4)
#define TR_TOKEN_SWEPT UINT64_C(8)
#define TR_TOKEN_GONE (TR_TOKEN_DEAD | TR_TOKEN_LOOSE | TR_TOKEN_SWEPT)
#define TR_TOKEN_SERIAL_SHIFT 4

struct tr_token {
    struct tr_token *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint64_t word;
    struct tr_lock lock;
    bool kept; /* troupe_token_free leaves it alone: an actor's own, which the runtime frees */
    struct troupe_runtime *rt;
    struct tr_token *parent; /* while it is swept: where the sweep goes on when this one is done */
    struct tr_token *scope;  /* on whose `owned` list; NULL: nobody's */
    struct tr_list siblings; /* in parent's children; while it is swept: in tokens->jobs */
    struct tr_list children;
    struct tr_list hooks;
    struct tr_list owned; /* of a scope: the head; else in the scope's */
};

/* One runtime's. */
struct tr_tokens {
    struct tr_token gone;    /* stale for good: what a token that is born cancelled names */
    struct tr_lock lock;     /* guards the next three */
    struct tr_list jobs;     /* sweeps that go on in the background, see sweep.c */
    bool scheduled;          /* sweeper is the pool's, or a worker runs it */
    bool ended;              /* no worker will run it any more */
    struct tr_cell sweeper;  /* no actor, but runnable as one: it is never calm, so that only then somebody asks */
    pthread_mutex_t waiting; /* guards the rest and, of waiting threads, what they wait for */
    struct tr_list waiters;
    bool over; /* the runtime is being joined */
    pthread_cond_t left;
};

void tr_tokens_init(struct troupe_runtime *rt);
/* Lets the threads go that wait for a token, and returns when they have left; from here on none waits. All actors have
 * ended. */
void tr_tokens_end(struct troupe_runtime *rt);
/* With the last reference to the runtime, and before the slab. */
void tr_tokens_fini(struct troupe_runtime *rt);

/* A new token below parent, or stale if that is cancelled: then no record is made. scope: who frees it, or NULL. 0,
 * -ENOMEM. */
int tr_token_make(struct troupe_runtime *rt, troupe_token parent, struct tr_token *scope, troupe_token *out);
/* An actor's own: kept, without parent and scope, and able to be a scope. NULL: out of memory. */
struct tr_token *tr_token_make_kept(struct troupe_runtime *rt);
troupe_token tr_token_handle(struct tr_token *token);
/* Cancels and frees a kept one. */
void tr_token_free_kept(struct tr_token *token);
/* A token that is stale and so counts as cancelled. */
static inline troupe_token tr_token_stale(struct tr_tokens *tokens)
{
    return (troupe_token){&tokens->gone, 0};
}

/* Links a hook, whose token is set, for the sweeper to find. False: the token is cancelled already. */
bool tr_token_link(struct troupe_runtime *rt, struct tr_token_hook *hook);
/* Takes it off again. False: the sweeper has it. */
bool tr_token_unlink(struct tr_token_hook *hook);
/* The runtime of a token that is not stale; else NULL. */
struct troupe_runtime *tr_token_runtime(troupe_token handle);

/* --- for sweep.c --- */

/* Does one piece of work on a token that the caller sweeps: a hook is told, a child or an owned token found. Returns
 * the token to go on with, NULL when the sweep is done. */
struct tr_token *tr_token_sweep_one(struct tr_token *token);

/* --- for hook.c --- */

/* Wakes the waiting thread that the hook stands for. */
void tr_token_wake(struct troupe_runtime *rt, struct tr_token_hook *hook);

#endif
