/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crashlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ck_pr.h>
#include <ck_spinlock.h>

#include "runtime/instance.h"

struct tr_crashlog_slot {
    ck_spinlock_t lock;
    troupe_crash crash; /* sequence 0: none yet */
} TR_ALIGNED_LINE;

int tr_crashlog_init(struct tr_crashlog *log, unsigned kept)
{
    size_t size = kept * sizeof *log->slots;
    *log = (struct tr_crashlog){.kept = kept, .slots = aligned_alloc(TR_CACHELINE, size)};
    if (!log->slots)
        return -ENOMEM;
    memset(log->slots, 0, size);
    for (unsigned i = 0; i < kept; i++)
        ck_spinlock_init(&log->slots[i].lock);
    return 0;
}

void tr_crashlog_fini(struct tr_crashlog *log)
{
    free(log->slots);
    log->slots = NULL;
}

static struct tr_crashlog_slot *slot_of(struct tr_crashlog *log, uint64_t sequence)
{
    return &log->slots[sequence % log->kept];
}

void tr_crashlog_add(struct tr_crashlog *log, const troupe_crash *crash)
{
    uint64_t sequence = ck_pr_faa_64(&log->last, 1) + 1;
    struct tr_crashlog_slot *slot = slot_of(log, sequence);
    ck_spinlock_lock(&slot->lock);
    if (slot->crash.sequence < sequence) {
        slot->crash = *crash;
        slot->crash.sequence = sequence;
    }
    ck_spinlock_unlock(&slot->lock);
}

/* What is in the slot of that sequence: its own, when the two are equal. */
static uint64_t copy(struct tr_crashlog *log, uint64_t sequence, troupe_crash *out)
{
    struct tr_crashlog_slot *slot = slot_of(log, sequence);
    ck_spinlock_lock(&slot->lock);
    uint64_t found = slot->crash.sequence;
    if (found == sequence)
        *out = slot->crash;
    ck_spinlock_unlock(&slot->lock);
    return found;
}

size_t tr_crashlog_read(struct tr_crashlog *log, uint64_t after, troupe_crash *out, size_t count)
{
    size_t copied = 0;
    uint64_t last = ck_pr_load_64(&log->last);
    uint64_t sequence = last > log->kept && after < last - log->kept ? last - log->kept : after;
    while (copied < count && sequence < last) {
        uint64_t found = copy(log, ++sequence, &out[copied]);
        if (found < sequence)
            break; /* on the way: next time */
        copied += found == sequence;
    }
    return copied;
}

size_t troupe_crashes_read(troupe_runtime *rt, uint64_t after, troupe_crash *out, size_t count)
{
    if (!tr_gate_look(&rt->gate))
        return 0;
    size_t copied = tr_crashlog_read(&rt->crashlog, after, out, count);
    tr_gate_leave(&rt->gate);
    return copied;
}
