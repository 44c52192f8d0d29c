/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message is worth handling: the deadline and the token that it carries. Set by its sender before it is
 * posted; looked at by the worker that runs the receiver. The verbs are in <troupe/message.h>.
 * It is not what ends an ask: that is the asker's own alarm and hook (ask.h), from the same deadline and token. */
#ifndef TR_RUNTIME_EXPIRY_H
#define TR_RUNTIME_EXPIRY_H

#include "runtime/message.h"

struct troupe_ctx;

/* WHERE. Behind the payload, at the next multiple of 8: a word, and if its top bit is set a troupe_token. The rest of the
 * word is the deadline. TR_MSG_EXPIRES says that this is there. So a message without costs nothing: not a byte, and at
 * its dequeue no instruction, as that bit is tested together with those of replies and news. The smallest block has room
 * for a deadline beside 8 bytes of payload.
 * WHO. It is a part of the message and goes with it (forward, stash, keep, retry): one owner at a time, who gets it by the
 * edge that hands the message over (mailbox.h, S and F). Nobody else's memory is looked at: not the ask's record, which may
 * have ended and begun anew by then. The token is a handle, and safe to ask when stale; that costs no lock (token.h).
 * THE END. What is over at its dequeue is buried: a dead letter, its handler's drop, and the block is freed. Its asker, if
 * it has one, is told nothing from here: it has the same deadline and token. Its alarm or hook ends the ask, each ask's
 * record once (ask.h), a waiting thread's own time-out (foreign.h) likewise: an answer from here would come second, and be
 * a dead letter of its own.
 * The clock here may be a microsecond ahead (io/clock.h), and then the asker is told that much later.
 * Checked by: tests/runtime/test_envelope.c (ThreadSanitizer). */
#define TR_EXPIRY_NEVER (UINT64_MAX >> 1)
#define TR_EXPIRY_HAS_TOKEN (UINT64_C(1) << 63)

static inline uint64_t *tr_expiry_word(const troupe_msg *msg)
{
    size_t at = ((size_t)msg->size + 7) & ~(size_t)7;
    return (uint64_t *)(uintptr_t)(msg->payload + at);
}

/* Bytes that it needs behind a payload of that size; at most TR_MSG_TAIL. */
static inline size_t tr_expiry_tail(size_t size, bool with_token)
{
    return (-size & 7) + sizeof(uint64_t) + (with_token ? sizeof(troupe_token) : 0);
}

/* msg has room for it: of tr_expiry_build, or composed. deadline_ns: TROUPE_FOREVER for none. Of neither deadline nor
 * token nothing is written. */
static inline void tr_expiry_set(troupe_msg *msg, uint64_t deadline_ns, troupe_token token)
{
    uint64_t *word = tr_expiry_word(msg);
    if (deadline_ns >= TR_EXPIRY_NEVER) {
        if (!token.ref)
            return;
        deadline_ns = TR_EXPIRY_NEVER;
    }
    msg->flags |= TR_MSG_EXPIRES;
    *word = deadline_ns;
    if (TR_LIKELY(!token.ref))
        return;
    *word |= TR_EXPIRY_HAS_TOKEN;
    *(troupe_token *)(word + 1) = token;
}

/* What msg carries; neither, if it carries none. */
struct tr_expiry tr_expiry_of(const troupe_msg *msg);
/* `to` is empty, with TR_MSG_TAIL bytes behind it. */
void tr_expiry_copy(troupe_msg *to, const troupe_msg *from);

/* A message with a copy of payload and room for its expiry, not on the composed list. Returns as tr_send_build. */
int tr_expiry_build(struct troupe_ctx *ctx, unsigned kind, const void *payload, size_t size, bool with_token,
                    troupe_msg **out);

/* --- of the running actor --- */

/* msg has TR_MSG_EXPIRES, and what it carries says that it is over. */
bool tr_expiry_is_over(struct troupe_ctx *ctx, const troupe_msg *msg);
/* msg is usual (tr_msg_usual_kind) and for the running actor but for its expiry, and that says it is not over. */
bool tr_expiry_is_all(struct troupe_ctx *ctx, const troupe_msg *msg);
/* The end of a message that is over and was taken from the mailbox. */
void tr_expiry_bury(struct troupe_ctx *ctx, troupe_msg *msg);
/* What its asks inherit from the message on whose behalf it runs. */
struct tr_expiry tr_expiry_ambient(const struct troupe_ctx *ctx);

#endif
