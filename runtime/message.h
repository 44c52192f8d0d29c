/* SPDX-License-Identifier: Apache-2.0 */
/* The message record: an envelope and its payload in one block. A message has one owner at a time: its composer, the
 * mailbox, the actor that handles or keeps it. Any thread may allocate and free.
 * It is not the mailbox: see mailbox.h. */
#ifndef TR_RUNTIME_MESSAGE_H
#define TR_RUNTIME_MESSAGE_H

#include <troupe/actor.h>
#include <troupe/token.h>

#include <stddef.h>

#include "runtime/slab.h"

struct tr_ask;

enum {
    TR_MSG_ASK = 1,     /* ask/ask_generation name an ask that waits for an answer to this message */
    TR_MSG_REPLY = 2,   /* ask/ask_generation name the ask that this message answers */
    TR_MSG_STATUS = 4,  /* a reply without payload: `outcome` is its status, and its block was the ask's own */
    TR_MSG_HANDLED = 8, /* its receiver is done with it; freed (or turned into a status) when it stops to be the mark */
    TR_MSG_KEPT = 16,   /* on the incarnation's list of kept messages */
    TR_MSG_RETRIED = 128, /* it crashed its handler and was put back: see redeliver.h */
    TR_MSG_EXPIRES = 32,  /* its deadline and its token are behind the payload: see expiry.h */
    TR_MSG_NEWS = 64,     /* a monitor's, until its receiver has taken it from the mailbox: see watch.h */

    TR_MSG_SPECIAL = TR_MSG_REPLY | TR_MSG_NEWS | TR_MSG_EXPIRES, /* not simply for a handler */
};

/* How long a message is worth handling: see expiry.h. */
struct tr_expiry {
    uint64_t deadline_ns; /* on the monotonic clock; TR_EXPIRY_NEVER */
    troupe_token token;
};

#define TR_MSG_CLASS_LOCAL 254 /* as `class`: built on the stack for an I/O event; it can be neither kept nor re-sent */

struct troupe_msg {
    struct troupe_msg *next, *prev; /* next: mailbox, then FIFO; both: lists of composed and of kept messages */
    troupe_addr sender;
    struct tr_ask *ask;
    uint32_t ask_generation;
    uint32_t generation; /* the receiver's slot generation at the send: compared again at dequeue */
    union {
        uint32_t size;   /* payload bytes */
        int32_t outcome; /* TR_MSG_HANDLED and TR_MSG_STATUS: what the asker is told (0 or -errno) */
    };
    union {
        uint32_t signature; /* the three at once: see tr_msg_usual_kind */
        struct {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            uint16_t kind;
            uint8_t flags;
            uint8_t class;
#else
            uint8_t class;
            uint8_t flags;
            uint16_t kind;
#endif
        };
    };
    _Alignas(16) unsigned char payload[];
};

_Static_assert(sizeof(struct troupe_msg) == 48, "the envelope leaves 16 payload bytes in the smallest class");
_Static_assert(sizeof(struct troupe_msg_head) == offsetof(struct troupe_msg, payload) &&
                   offsetof(struct troupe_msg_head, sender) == offsetof(struct troupe_msg, sender) &&
                   offsetof(struct troupe_msg_head, size) == offsetof(struct troupe_msg, size),
               "what the inline readers of the public header go by");

/* As it fits the envelope; what is too large for that is too large for every handler table as well. */
static inline uint16_t tr_msg_kind(unsigned kind)
{
    return (uint16_t)(kind < UINT16_MAX ? kind : UINT16_MAX);
}

/* The kind of a usual message: of a kind that handlers can have, in a block of the smallest class (which is 0), without any
 * flag but TR_MSG_ASK. Of all others something from TROUPE_KINDS_MAX on. */
static inline uint32_t tr_msg_usual_kind(const troupe_msg *msg)
{
    return msg->signature & ~((uint32_t)TR_MSG_ASK << 16);
}

#define TR_MSG_TAIL ((size_t)32)
#define TR_MSG_SMALL_MAX ((size_t)(64 - sizeof(struct troupe_msg))) /* payload bytes in the smallest class */

/* NULL: out of memory, or size > TROUPE_PAYLOAD_MAX. All envelope fields but size and class are zero. */
troupe_msg *tr_msg_alloc(struct tr_slab *slab, struct tr_slab_cache *cache, size_t size);
/* The same with that many bytes behind the payload, at most TR_MSG_TAIL. A block of the heap always has as many. */
troupe_msg *tr_msg_alloc_with_tail(struct tr_slab *slab, struct tr_slab_cache *cache, size_t size, size_t tail);
void tr_msg_free(struct tr_slab *slab, struct tr_slab_cache *cache, troupe_msg *msg);

/* A message with a small payload in a block of the smallest class. What only asks and replies use (ask, ask_generation)
 * is not initialised. */
static inline troupe_msg *tr_msg_init_small(void *block, size_t size, unsigned kind)
{
    _Static_assert(TR_CLASS_64 == 0, "the signature is the kind");
    troupe_msg *msg = block;
    msg->prev = NULL;
    msg->size = (uint32_t)size;
    msg->signature = tr_msg_kind(kind);
    return msg;
}

/* For a worker. */
static inline void tr_msg_put(struct tr_slab *slab, struct tr_slab_cache *cache, troupe_msg *msg)
{
    if (TR_LIKELY(msg->class == TR_CLASS_64))
        tr_slab_put(slab, cache, TR_CLASS_64, msg);
    else
        tr_msg_free(slab, cache, msg);
}

#endif
