/* SPDX-License-Identifier: Apache-2.0 */
/* A message's way from its composer to a mailbox, and its end: the verbs behind message.h. tr_post may be called on any
 * thread, the others by the running actor's worker. It does not dispatch: see actor.c. */
#ifndef TR_RUNTIME_SEND_H
#define TR_RUNTIME_SEND_H

#include <troupe/message.h>

#include "runtime/message.h"

struct troupe_runtime;
struct tr_incarnation;

/* A message of kind with a copy of payload, not on the composed list. 0, -EMSGSIZE, -ENOMEM. */
int tr_send_build(troupe_ctx *ctx, unsigned kind, const void *payload, size_t size, troupe_msg **out);
void tr_send_uncompose(troupe_ctx *ctx, troupe_msg *msg);
void tr_send_unkeep(struct tr_incarnation *inc, troupe_msg *msg);

/* Pushes msg, whose sender is set, and wakes the receiver. Consumes it: on -ESRCH, and on -EAGAIN (a full mailbox), it
 * became a dead letter. ctx: NULL on a thread outside. */
int tr_post(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);
/* The same, but what a full mailbox refuses is as if it had not been sent: -EAGAIN, and the running actor will be told of
 * room; -ENOMEM: it could not be. For senders that can do something about it. */
int tr_offer(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);
/* As tr_post, from the running actor. */
int tr_send(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);
/* The same for what must not be lost: no mailbox is too full for it. */
int tr_send_sure(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);
/* msg, which the policy of a full mailbox drops, becomes a dead letter. */
void tr_send_dropped(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);

/* The end of a message that no mailbox names: see tr_msg_finish in context.h. */
void tr_msg_let_go(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_msg *msg);

#endif
