/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: what a handler receives, and how to build, send, answer and keep one. All verbs here that take a troupe_ctx
 * are for the actor that runs at the moment, in its own handlers and callbacks; threads outside use runtime.h.
 * A message's payload is flat bytes; what pointers in it mean is between sender and receiver. */
#ifndef TROUPE_MESSAGE_H
#define TROUPE_MESSAGE_H

#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For a type by which bytes may be read that were written by another. */
#if defined(__GNUC__)
#define TROUPE_ALIASES __attribute__((__may_alias__))
#else
#define TROUPE_ALIASES
#endif

typedef struct troupe_ctx troupe_ctx;
typedef struct troupe_msg troupe_msg;

/* The largest payload of one message, bytes. */
#define TROUPE_PAYLOAD_MAX ((size_t)1 << 30)

/* --- Reading. Valid for a message that the actor was given and still has. --- */

/* How a message begins, for the readers below, which every handler calls. Not to be used otherwise: programs that do
 * break with the next release. The payload comes right behind it. */
struct TROUPE_ALIASES troupe_msg_head {
    void *internal_links[2];
    troupe_addr sender;
    void *internal_ask;
    uint32_t internal_generations[2];
    uint32_t size;
    uint32_t internal_signature;
};

TROUPE_API unsigned troupe_kind(const troupe_msg *msg);
/* Aligned to 16 bytes; not NULL even when empty. */
static inline const void *troupe_payload(const troupe_msg *msg)
{
    return (const struct troupe_msg_head *)(const void *)msg + 1;
}
/* Of the payload, bytes. */
static inline size_t troupe_size(const troupe_msg *msg)
{
    return ((const struct troupe_msg_head *)(const void *)msg)->size;
}
/* Who sent it; nobody when it came from outside of the runtime. Of a timer's message: who made the timer; of an I/O
 * event: the actor itself. */
static inline troupe_addr troupe_sender(const troupe_msg *msg)
{
    return ((const struct troupe_msg_head *)(const void *)msg)->sender;
}
/* True while somebody waits for a reply to it: no longer once it was answered. */
TROUPE_API bool troupe_is_ask(const troupe_msg *msg);
/* Until when it is worth handling, in nanoseconds on the monotonic clock (actor.h, troupe_now); TROUPE_FOREVER: it has
 * no deadline. An ask has that of its time-out until it is answered; other messages have what troupe_tell_within gave
 * them. See "Deadlines". */
TROUPE_API uint64_t troupe_deadline(const troupe_msg *msg);
/* How much of that is left, ns, by a fresh look at the clock; 0: it has passed. TROUPE_FOREVER: no deadline. */
TROUPE_API uint64_t troupe_time_left(const troupe_msg *msg);

/* --- Telling --- */

/* troupe_tell - send a message and go on.
 *   to       any address, live or stale
 *   kind     index into the receiver's handler table
 *   payload  size bytes, at most TROUPE_PAYLOAD_MAX, copied before the call returns; may be NULL when size is 0
 * Returns 0: it will be handled or become a dead letter. -ESRCH: the receiver has ended; it became a dead letter now.
 *   -ENOMEM or -EMSGSIZE: nothing was sent. -EAGAIN: the same, the receiver's mailbox is full (actor.h,
 *   troupe_mailbox).
 * Order: first in, first out per sender and receiver, also across a restart of the receiver; none between senders. */
TROUPE_API int troupe_tell(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size);

/* Builds a message in place, so that a payload need not be copied, nor moved, so that it may point into itself: fill
 * troupe_compose's result through troupe_msg_body (size bytes, of no defined content), then give it to troupe_send,
 * troupe_send_within, troupe_send_ask, troupe_send_ask_hold, troupe_reply_send or troupe_discard, exactly one of them,
 * before the handler returns. NULL: out of memory or size > TROUPE_PAYLOAD_MAX. What is left over when the handler
 * returns or panics is freed, without a handler's drop. */
TROUPE_API troupe_msg *troupe_compose(troupe_ctx *ctx, unsigned kind, size_t size);
static inline void *troupe_msg_body(troupe_msg *msg)
{
    return (struct troupe_msg_head *)(void *)msg + 1;
}
/* As troupe_tell, but without -EMSGSIZE, and -ENOMEM only where a full mailbox could not promise its `room`; msg is
 * consumed in every case. */
TROUPE_API int troupe_send(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg);
TROUPE_API void troupe_discard(troupe_ctx *ctx, troupe_msg *msg);

/* --- Deadlines ---
 * A message may carry a deadline and a cancel token (token.h). When its receiver takes it from the mailbox and the
 * deadline has passed, or the token is cancelled, it is not handled: it becomes a dead letter (expired, cancelled),
 * its handler's `drop` is called, and if it is an ask that ends at its asker, by the asker's own clock or token, with
 * -ETIMEDOUT or -ECANCELED. Wherever a message goes both stay with it: forwarded, stashed, kept, given again after a
 * crash; only a copy out of the quarantine has neither. What was begun is not interrupted: a handler that takes long
 * looks at troupe_time_left, and at troupe_token_cancelled of troupe_msg_token.
 *   An ask carries its deadline, and the token that it was begun under. A blocking ask (runtime.h) its deadline.
 *   An ask that is made while a handler handles such a message inherits both: it ends no later than that message's
 *   deadline, and without a token of the handler's own (troupe_under) it is begun under that message's. If the deadline
 *   has passed nothing is sent, and `done` is called with -ETIMEDOUT. A longer chain inherits from ask to ask.
 *   Nothing else inherits: not what is asked once the message was answered, not tells, timers, spawned actors nor jobs,
 *   since they may well be meant to outlive the request; and not what the answer's callback asks: see troupe_on_behalf.
 *   Stops, kills, news of monitors, replies and the ends of asks never expire. */

/* As troupe_tell, with a deadline timeout_ns from now (TROUPE_FOREVER: none), and with the token of troupe_under, if
 * one is set in this handler. Also -ECANCELED: that is cancelled already, nothing was sent. */
TROUPE_API int troupe_tell_within(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size,
                                  uint64_t timeout_ns);
/* The same with a composed message; msg is consumed in every case. */
TROUPE_API int troupe_send_within(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns);

/* Has what the running actor asks from here on, until this handler or callback returns or the next call, inherit from
 * msg instead of the message that is being handled: from a kept one in the callback of an answer, say. NULL: from none,
 * for work that goes on beyond the request. */
TROUPE_API void troupe_on_behalf(troupe_ctx *ctx, const troupe_msg *msg);

/* --- Asking --- */

/* What became of an ask. status is one of
 *   0            the receiver replied: payload and size are the reply's, valid until the callback returns
 *   -ETIMEDOUT   the deadline, its own or an inherited one, passed first; a reply that comes later becomes a dead
 *                letter (late_reply)
 *   -ECONNRESET  the receiver crashed while it handled the message, or crashed or restarted while it kept it
 *   -ESRCH       the receiver has ended, or ended before it handled the message, or while it kept it
 *   -ENODATA     the receiver handled it and neither replied nor kept it, or released it
 *   -EOPNOTSUPP  the receiver has no handler for this kind, or not for this size of payload
 *   -EAGAIN      the receiver's mailbox was full, and its policy drops (actor.h, troupe_mailbox)
 *   -ECANCELED   the token it was begun under is cancelled (token.h); a reply that comes later becomes a dead letter
 * Below 0 payload must not be looked at. Replies, and the news that there will be none, come in the order in which the
 * receiver sent them, among its other messages; a time-out overtakes the mailbox. */
typedef struct troupe_answer {
    int status;
    unsigned kind; /* status 0: the kind that was asked */
    const void *payload;
    size_t size;
    void *arg; /* as given to the ask */
} troupe_answer;

/* Runs in the asking actor, like a handler. */
typedef void troupe_answer_fn(troupe_ctx *ctx, void *self, const troupe_answer *answer);

/* troupe_ask - send a message that wants a reply, and go on with the mailbox.
 *   timeout_ns  from now, a fresh look at the clock; never early, and late by as much as a timer (timer.h).
 *               TROUPE_FOREVER for none. At most what is left for the message on whose behalf it is: "Deadlines"
 *   done        required; called exactly once and never inside of this call, unless this incarnation ends before
 *   arg         handed to done; the runtime never looks at it
 * Returns 0: done will be called, also when the receiver is already gone. -ENOMEM, -EMSGSIZE, or -EAGAIN (as of
 *   troupe_tell): nothing was sent and done will not be called. */
TROUPE_API int troupe_ask(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size,
                          uint64_t timeout_ns, troupe_answer_fn *done, void *arg);
/* The same with a composed message; msg is consumed in every case. Returns 0, -ENOMEM or -EAGAIN. */
TROUPE_API int troupe_send_ask(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns,
                               troupe_answer_fn *done, void *arg);

/* troupe_ask_hold - as troupe_ask, and hold the mailbox until the answer: what awaiting inside of a handler means
 * elsewhere. Once this handler has returned, no other message and no other answer is handled before done was called;
 * they wait in order. I/O events, ends of children, stops and kills are handled as ever. A reply, the news that there
 * will be none, a time-out and a cancelled token end the wait; ends of other asks wait with the mailbox. Several may
 * wait at once: each `done` is called when its answer comes, in the order of the answers, and the hold ends with the
 * last; one that is begun in `done` goes on with the hold, and nothing is handled in between. A troupe_hold or
 * troupe_suspend beside it makes the answer wait too. A new incarnation begins without a hold; a parent that waits for
 * this actor's start waits for the end of the hold.
 * Give a time-out: two actors that ask each other with hold wait for it. Returns as troupe_ask, and -EDEADLK: it is the
 *   actor's own address, nothing was sent. */
TROUPE_API int troupe_ask_hold(troupe_ctx *ctx, troupe_addr to, unsigned kind, const void *payload, size_t size,
                               uint64_t timeout_ns, troupe_answer_fn *done, void *arg);
/* The same with a composed message; msg is consumed in every case. Returns 0, -ENOMEM, -EAGAIN or -EDEADLK. */
TROUPE_API int troupe_send_ask_hold(troupe_ctx *ctx, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns,
                                    troupe_answer_fn *done, void *arg);

/* Answers msg, which the actor is handling or has kept; a kept message is consumed. Returns 0: the reply is on its way,
 * and becomes a dead letter (late_reply) if nobody waits any more; -ENOTCONN: nobody waited (it was a tell, or was
 * answered before); -ENOMEM, -EMSGSIZE: not answered, try again. On a status below 0 a kept message stays kept. */
TROUPE_API int troupe_reply(troupe_ctx *ctx, const troupe_msg *msg, const void *payload, size_t size);
/* The same with a composed message, which is consumed in every case; its kind is replaced by that of msg. Returns 0 or
 * -ENOTCONN. */
TROUPE_API int troupe_reply_send(troupe_ctx *ctx, const troupe_msg *msg, troupe_msg *reply);

/* Keeps msg, which the actor is handling, beyond the handler's return, to reply later or to use its payload. Ends with
 * a reply that returned 0 or with troupe_release, which is the only end for a tell. A message that is still kept when
 * the incarnation ends becomes a dead letter, and its asker is told (-ECONNRESET if a crash or a restart ended it, else
 * -ESRCH); the handler's drop does not see it. Returns msg. NULL: out of memory, msg is kept already, or it is not a
 * message that a handler was given from the mailbox (an I/O event, an answer). */
TROUPE_API troupe_msg *troupe_keep(troupe_ctx *ctx, const troupe_msg *msg);
/* Ends a kept message without a reply: its asker, if it has one that still waits, gets -ENODATA. */
TROUPE_API void troupe_release(troupe_ctx *ctx, troupe_msg *msg);

/* troupe_forward - hand msg, which the actor is handling or has kept, on to another actor as it is: with its kind,
 * payload and sender, and if it is an ask that was not answered yet, with the ask: the asker waits for that actor now.
 * The payload is not copied. msg is gone with the call, also for the rest of the handler. to may be the actor itself.
 * Order: as if the running actor sent it now.
 * Returns 0; -ESRCH: to has ended: it became a dead letter, and its asker is told that; -EAGAIN: to's mailbox is full:
 *   the same (mailbox_full); -EINVAL: msg is not a message
 *   that the actor was given from the mailbox (an I/O event, an answer): nothing was done. */
TROUPE_API int troupe_forward(troupe_ctx *ctx, const troupe_msg *msg, troupe_addr to);

#ifdef __cplusplus
}
#endif

#endif
