/* SPDX-License-Identifier: Apache-2.0 */
/* The words that every other header uses: addresses, time, reasons, log levels, errors.
 * Anyone may include it and use the values from any thread.
 * It declares no verb on actors: see actor.h (inside actors) and runtime.h (outside of them). */
#ifndef TROUPE_TYPES_H
#define TROUPE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TROUPE_API __attribute__((visibility("default")))
#define TROUPE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TROUPE_NORETURN __attribute__((noreturn))
#else
#define TROUPE_API
#define TROUPE_PRINTF(fmt, args)
#define TROUPE_NORETURN
#endif

/* Where an actor is reached: a value, freely copied, sent and compared. It names one actor for that actor's whole life,
 * restarts included. After that it is stale, and using it is harmless: sends answer -ESRCH and the message becomes a
 * dead letter. All bits zero is nobody. */
typedef struct troupe_addr {
    uint64_t bits;
} troupe_addr;

static inline bool troupe_addr_is_nobody(troupe_addr addr)
{
    return addr.bits == 0;
}

static inline bool troupe_addr_same(troupe_addr a, troupe_addr b)
{
    return a.bits == b.bits;
}

/* Durations are nanoseconds in 64 bits. */
#define TROUPE_US(n) ((uint64_t)(n)*UINT64_C(1000))
#define TROUPE_MS(n) ((uint64_t)(n)*UINT64_C(1000000))
#define TROUPE_SEC(n) ((uint64_t)(n)*UINT64_C(1000000000))
#define TROUPE_FOREVER UINT64_MAX

/* Why an actor ended. */
typedef enum troupe_reason {
    TROUPE_REASON_NORMAL = 0, /* it stopped itself */
    TROUPE_REASON_STOPPED,    /* it was told to stop */
    TROUPE_REASON_SHUTDOWN,   /* its significant children have ended (supervision.h, auto_shutdown) */
    TROUPE_REASON_CRASHED,    /* it crashed, and its restart policy is temporary */
    TROUPE_REASON_ESCALATED,  /* it crashed too often, and was ended while it waited for its parent's verdict */
    TROUPE_REASON_KILLED,     /* by troupe_kill, or its shutdown time was up */
    TROUPE_REASON_NO_ACTOR,   /* what a monitor is told of an address that was stale already */
    TROUPE_REASON_COUNT
} troupe_reason;

/* Why a message was not handled. Each message is handled or becomes a dead letter, exactly once. */
typedef enum troupe_dead_reason {
    TROUPE_DEAD_NO_ACTOR = 0, /* the address is stale, or nobody */
    TROUPE_DEAD_STOPPED,      /* it was still in the mailbox when its receiver stopped */
    TROUPE_DEAD_CRASHED,      /* its handler panicked, or the incarnation that kept it crashed or was restarted */
    TROUPE_DEAD_UNHANDLED,    /* the behavior has no handler for its kind */
    TROUPE_DEAD_BAD_SIZE,     /* its payload has not the size that the handler declares */
    TROUPE_DEAD_LATE_REPLY,   /* a reply (or why there is none) to an ask that has ended, or whose incarnation has */
    TROUPE_DEAD_POISON,       /* it crashed its handler once more than the handler's retries; it is in quarantine */
    TROUPE_DEAD_MAILBOX_FULL, /* its receiver's mailbox is bounded, and was full (actor.h, mailbox) */
    TROUPE_DEAD_EXPIRED,      /* its deadline had passed before it was handled (message.h) */
    TROUPE_DEAD_CANCELLED,    /* the token that it carries was cancelled before it was handled */
    TROUPE_DEAD_COUNT
} troupe_dead_reason;

typedef enum troupe_log_level {
    TROUPE_LOG_DEFAULT = 0, /* as an option: TROUPE_LOG_WARN */
    TROUPE_LOG_NONE,        /* as an option: nothing is logged */
    TROUPE_LOG_ERROR,
    TROUPE_LOG_WARN,
    TROUPE_LOG_INFO,
    TROUPE_LOG_DEBUG
} troupe_log_level;

/* "normal", "no_actor", …: short lower-case names, for logs and metrics. Any thread; never NULL. */
TROUPE_API const char *troupe_reason_name(troupe_reason reason);
TROUPE_API const char *troupe_dead_reason_name(troupe_dead_reason reason);
/* One sentence for a status that this library returned (0 or -errno): cause and remedy where errno's own text would
 * leave a user guessing, else that text. Any thread; never NULL. */
TROUPE_API const char *troupe_strerror(int status);

#ifdef __cplusplus
}
#endif

#endif
