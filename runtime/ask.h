/* SPDX-License-Identifier: Apache-2.0 */
/* Asks that wait for their answer. Owned by the asking incarnation; touched by the worker that runs it, only `serial`
 * may be read elsewhere (the record is type-stable). Exactly one answer ends each.
 * It is not the message: that carries the ask's pointer and serial to the receiver and back. */
#ifndef TR_RUNTIME_ASK_H
#define TR_RUNTIME_ASK_H

#include <troupe/message.h>

#include "runtime/message.h"
#include "sched/base/list.h"

struct tr_alarm;
struct tr_incarnation;
struct tr_token_hook;

struct tr_ask {
    struct tr_ask *free_next; /* struct tr_block while free */
    void *free_magazine;
    uint32_t serial; /* changes with every life of the record */
    struct tr_cell *cell;
    struct tr_list link; /* in incarnation->asks (by deadline) or asks_forever */
    uint64_t deadline_ns;
    troupe_answer_fn *done;
    void *arg;
    struct tr_token_hook *hook; /* NULL: it was not begun under a token, or that was cancelled */
    bool cancelled;             /* in incarnation->asks_cancelled */
    bool holds;                 /* the actor's mailbox waits for its answer: see hold.h */
};

/* A reply or status was dequeued by its addressee: calls done, or makes it a late reply. Consumes msg (it may be the
 * mark, so the caller finishes it); returns false when it was late. */
bool tr_ask_answer(troupe_ctx *ctx, troupe_msg *msg);
/* The deadline alarm rang: from now on cell->asks_due says that tr_ask_expire_one is to be called. */
void tr_ask_alarm(troupe_ctx *ctx, struct tr_alarm *alarm);
/* The token it was begun under is cancelled: it ends at the next tr_ask_expire_one. */
void tr_ask_cancelled(troupe_ctx *ctx, struct tr_ask *ask);
/* Ends one ask that was cancelled, or the first if its deadline has passed; false: none, and the alarm is armed for the
 * next. */
bool tr_ask_expire_one(troupe_ctx *ctx);
/* Forgets all asks of a dying incarnation; replies to them will be late. */
void tr_ask_forget_all(troupe_ctx *ctx, struct tr_incarnation *inc);

#endif
