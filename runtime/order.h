/* SPDX-License-Identifier: Apache-2.0 */
/* Orders: control bits that one actor sets in another's cell, and the public verbs that do (troupe_stop, troupe_kill,
 * ...). Any worker. What the receiver makes of them is supervise.c's. */
#ifndef TR_RUNTIME_ORDER_H
#define TR_RUNTIME_ORDER_H

#include <troupe/actor.h>

struct tr_cell;

/* Sets control bits of a cell that cannot be reused meanwhile: the running actor's own, or a child's of it. Bits that
 * hit the next generation are gone when that begins. */
void tr_order(troupe_ctx *ctx, struct tr_cell *cell, uint64_t bits);
/* The same, and takes back those of `clear` that the receiver has not seen yet. */
void tr_order_instead(troupe_ctx *ctx, struct tr_cell *cell, uint64_t bits, uint64_t clear);

#endif
