/* SPDX-License-Identifier: Apache-2.0 */
/* Sending to actors that were found by a name: to one, with the message back if that one has ended, or to all members
 * of a name. Any thread. Owns nothing.
 * It is not the finding: names.h and members.h; nor the choosing: router.c. */
#ifndef TR_RUNTIME_FANOUT_H
#define TR_RUNTIME_FANOUT_H

#include <troupe/group.h>

#include "runtime/names.h"

struct troupe_runtime;

/* What is to be said, before it is a message. */
struct tr_saying {
    struct troupe_runtime *rt;
    troupe_ctx *ctx; /* the running actor's, who is the sender; NULL: any other thread, and nobody */
    unsigned kind;
    const void *payload;
    size_t size;
    bool sure; /* no mailbox is too full for it */
};

/* A message that says it. 0, -ENOMEM, -EMSGSIZE. */
int tr_saying_message(const struct tr_saying *saying, troupe_msg **out);
/* 0: sent. -ESRCH: the actor has ended; -EAGAIN: its mailbox is full. Then msg is still the caller's. */
int tr_deliver(const struct tr_saying *saying, troupe_addr to, troupe_msg *msg);
/* Nobody could be told: msg becomes a dead letter. Returns -ESRCH. */
int tr_deliver_to_nobody(const struct tr_saying *saying, troupe_msg *msg);
/* A message for one actor; its end is counted in out. */
void tr_fanout_one(const struct tr_saying *saying, troupe_addr to, troupe_fanout *out);
/* The status that stands for what is in out. */
int tr_fanout_status(const troupe_fanout *out);
/* Tells all members of the name; own_kinds: each under the kind that it is a member with. out may be NULL. As
 * troupe_group_tell. */
int tr_fanout(const struct tr_saying *saying, const struct tr_key *key, bool own_kinds, troupe_fanout *out);

#endif
