/* SPDX-License-Identifier: Apache-2.0 */
/* Making actors: fills a cell and opens its mailbox. On the worker that runs the parent (or, for the root, before any
 * worker runs). The caller schedules the cell.
 * Starting the incarnation is supervise.c's, on the worker that runs the new actor. */
#ifndef TR_RUNTIME_SPAWN_H
#define TR_RUNTIME_SPAWN_H

#include <troupe/actor.h>

#include "runtime/args.h"

struct tr_spawn_request {
    const troupe_behavior *behavior;
    struct tr_args args;  /* the actor's if it is made, else still the caller's */
    bool has_supervision; /* args hold one */
    bool announces_up;    /* its parent waits for it */
    bool unborn;          /* it waits for its parent's word, as its group does */
    uint16_t place;       /* or TR_PLACE_DYNAMIC */
    int gift_fd;          /* -1: none */
};

/* Ends the process with a clear text if the behavior wants args and there are none. */
void tr_spawn_check_args(const troupe_behavior *behavior, const void *args);
/* NULL: out of memory or of actors. */
struct tr_cell *tr_spawn(troupe_ctx *ctx, struct tr_cell *parent, struct tr_spawn_request *request);
/* The first actor. */
struct tr_cell *tr_spawn_root(troupe_ctx *ctx, const troupe_behavior *behavior, const void *args);

#endif
