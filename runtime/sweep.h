/* SPDX-License-Identifier: Apache-2.0 */
/* Sweeps: how all that hangs on a cancelled token comes to know of it, a bounded number of nodes at a time. A sweep is
 * its caller's until it is handed over to the pool; from then on it is the one worker's that runs tokens->sweeper.runnable.
 * It does not know what is told to whom: see token.h and hook.h. */
#ifndef TR_RUNTIME_SWEEP_H
#define TR_RUNTIME_SWEEP_H

struct troupe_ctx;
struct troupe_runtime;
struct tr_token;

/* Sweeps a token that the caller has cancelled and taken out of its parent's children: the first nodes now, the rest in
 * the background. Any thread. */
void tr_sweep(struct troupe_runtime *rt, struct tr_token *token);
/* One activation of tokens->sweeper.runnable, on ctx's worker. */
void tr_sweep_step(struct troupe_ctx *ctx);
/* All actors have ended, the pool is about to stop: what was handed over is finished here, and what foreign threads
 * begin from now on by them. On a worker. */
void tr_sweep_end(struct troupe_runtime *rt);

#endif
