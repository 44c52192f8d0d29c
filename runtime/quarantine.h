/* SPDX-License-Identifier: Apache-2.0 */
/* The quarantine: a bounded list of copies of messages, oldest first, under a lock. One per runtime. Any thread.
 * It is not the policy that sends messages here: see redeliver.h. */
#ifndef TR_RUNTIME_QUARANTINE_H
#define TR_RUNTIME_QUARANTINE_H

#include <troupe/actor.h>
#include <troupe/quarantine.h>

#include <pthread.h>

#include "sched/base/list.h"

struct tr_quarantine {
    pthread_mutex_t lock;   /* guards the rest; never held while user code runs */
    struct tr_list poisons; /* oldest first */
    unsigned count, limit;
    uint64_t last_id;
};

void tr_quarantine_init(struct tr_quarantine *q, unsigned limit);
/* What is left is dropped. */
void tr_quarantine_fini(struct tr_quarantine *q);
/* Keeps a copy of msg; false: out of memory. The oldest makes room if it is full: its handler's drop is called. */
bool tr_quarantine_add(struct troupe_runtime *rt, troupe_addr to, const troupe_behavior *behavior,
                       const troupe_msg *msg, unsigned attempts, const char *text);

#endif
