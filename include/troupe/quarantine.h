/* SPDX-License-Identifier: Apache-2.0 */
/* Quarantine: where poison goes, messages that crashed their handler once more than its retries (actor.h). They wait
 * there, whole, for somebody to look at them, send them again once the fault is mended, or throw them away.
 * One per runtime, bounded: when it is full the oldest makes room. What makes room, and what is left at the end, is
 * dropped by its handler's drop, on the thread that needed the room or the end: unlike elsewhere that drop must not
 * panic. Any thread, actors too; at any time (runtime.h).
 * It is not a dead-letter queue: a message without retries never comes here. */
#ifndef TROUPE_QUARANTINE_H
#define TROUPE_QUARANTINE_H

#include <troupe/crash.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One poisonous message. */
typedef struct troupe_poison {
    uint64_t id;      /* names it, from 1; never used again */
    uint64_t time_ns; /* CLOCK_REALTIME, of its last crash */
    troupe_addr to, from;
    const char *behavior; /* the receiver's name, constant data */
    unsigned kind;
    unsigned attempts;            /* how often it was handled, and crashed */
    size_t size;                  /* of its payload, bytes */
    char text[TROUPE_CRASH_TEXT]; /* what the last panic said */
} troupe_poison;

/* Copies the records behind id `after`, oldest first, at most count. Returns how many. */
TROUPE_API size_t troupe_quarantine_list(troupe_runtime *rt, uint64_t after, troupe_poison *out, size_t count);
/* Copies at most size bytes of the payload. Returns the payload's size, or -ESRCH: no longer there. */
TROUPE_API int64_t troupe_quarantine_payload(troupe_runtime *rt, uint64_t id, void *out, size_t size);
/* Sends it again, as a tell: to `to`, or, if that is nobody, to where it was sent first; its attempts count from 0. 0;
 * -ESRCH: no such id, or the receiver has ended (this try is shown as a dead letter, no_actor, and it stays in
 * quarantine); -ENOMEM: it stays. */
TROUPE_API int troupe_quarantine_resend(troupe_runtime *rt, uint64_t id, troupe_addr to);
/* Throws it away: its handler's drop is called, on this thread. 0 or -ESRCH. */
TROUPE_API int troupe_quarantine_drop(troupe_runtime *rt, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
