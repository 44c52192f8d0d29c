/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of an actor: the copy that every incarnation is built from, and behind it that of a supervision of its
 * own, if it has one. Small ones lie in the cell, larger ones in a block. Made and freed by the parent, on its worker;
 * constant in between.
 * It does not know what they mean, nor when an actor is made: see spawn.h. */
#ifndef TR_RUNTIME_ARGS_H
#define TR_RUNTIME_ARGS_H

#include <troupe/actor.h>

#include "runtime/cell.h"

/* Arguments without an actor: before it is made, or on their way to the next one. {0}: none. */
struct tr_args {
    void *block; /* NULL: they are in room, or there are none */
    size_t size; /* of the block */
    union {
        unsigned char room[TR_CELL_ARGS_ROOM];
        uint64_t aligned;
    };
};

/* behavior->args_size bytes, copied from args (zeroed if that is NULL), and a copy of supervision if there is one.
 * False: out of memory. */
bool tr_args_make(troupe_ctx *ctx, struct tr_args *out, const troupe_behavior *behavior, const void *args,
                  const troupe_supervision *supervision);
/* Where the arguments are; NULL: there are none. */
void *tr_args_of(struct tr_args *args, const troupe_behavior *behavior);
/* Nobody wants them. Again, it does nothing. */
void tr_args_drop(troupe_ctx *ctx, struct tr_args *args);
/* cell has them from here on, and its policy: they are no longer the caller's. cell->behavior is set already. */
void tr_args_give(struct tr_args *args, struct tr_cell *cell, bool has_supervision);
/* An ended actor's, for another one. */
void tr_args_take(struct tr_args *out, struct tr_cell *cell);
/* An ended actor's, for nobody. */
void tr_args_free(troupe_ctx *ctx, struct tr_cell *cell);
/* The supervision behind arguments that have one, or the behavior's. */
const troupe_supervision *tr_args_policy(const struct tr_args *args, const troupe_behavior *behavior,
                                         bool has_supervision);

#endif
