/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of the last crashes. Any worker adds, any thread reads. Owns its records; the runtime owns it.
 * It is not the log: it forgets silently, and the gap in the sequence says how much.
 *
 * A record's sequence, taken from `last` by fetch-and-add, decides its slot: sequence modulo `kept`. Each slot has a
 * spin lock, held for one copy of half a kilobyte, so two meet there only when one is a whole ring behind the other, or
 * a reader is just at it. Who finds a later record in its slot leaves that alone: its own would be overwritten by now.
 * A slot's sequence therefore only grows, and tells a reader all: smaller than asked for, its writer is still on the
 * way; equal, it is there; larger, it was overwritten. The reader stops at the first one that is on the way, else a
 * caller that goes on from the last sequence it got would never see it. */
#ifndef TR_RUNTIME_CRASHLOG_H
#define TR_RUNTIME_CRASHLOG_H

#include <troupe/crash.h>

#include "sched/base/cacheline.h"

#define TR_CRASHES_MAX 65536u /* records in one ring: 36 MiB */

struct tr_crashlog_slot;

struct tr_crashlog {
    struct tr_crashlog_slot *slots;
    unsigned kept;
    char apart[TR_CACHELINE]; /* all workers write what follows */
    uint64_t last;            /* the sequence given last */
};

/* Room for that many, at most TR_CRASHES_MAX; 0 or -ENOMEM. */
int tr_crashlog_init(struct tr_crashlog *log, unsigned kept);
void tr_crashlog_fini(struct tr_crashlog *log);
/* Copies the crash into the ring and gives the copy its sequence. Any thread. */
void tr_crashlog_add(struct tr_crashlog *log, const troupe_crash *crash);
/* As troupe_crashes_read. Any thread. */
size_t tr_crashlog_read(struct tr_crashlog *log, uint64_t after, troupe_crash *out, size_t count);

#endif
