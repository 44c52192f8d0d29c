/* SPDX-License-Identifier: Apache-2.0 */
/* Making actors: takes a free cell and fills it. Owns nothing: the cell is the pool's once it is scheduled. Called on the
 * worker of ctx, and for the root by the thread that starts the runtime.
 * It does not start them: the first activation does, as the state machine says. */
#ifndef TR_RUNTIME_SPAWN_H
#define TR_RUNTIME_SPAWN_H

#include <troupe/actor.h>

struct tr_cell;

/* A filled cell, its mailbox open, not yet scheduled; NULL: exhausted. parent: NULL for the root. The
 * caller schedules cell->runnable. */
struct tr_cell *tr_spawn(troupe_ctx *ctx, struct tr_cell *parent, const troupe_behavior *behavior, const void *args,
                         const troupe_spawn_options *options);

#endif
