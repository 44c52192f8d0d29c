/* SPDX-License-Identifier: Apache-2.0 */
/* One runtime: what its workers share. Owns the pool, the I/O, the cells and the blocks; created and destroyed by
 * runtime.c. Nothing in it is process-wide, so that two can live side by side. */
#ifndef TR_RUNTIME_INSTANCE_H
#define TR_RUNTIME_INSTANCE_H

#include <troupe/runtime.h>

#include <pthread.h>

#include "runtime/cell.h"
#include "runtime/crashlog.h"
#include "runtime/crew.h"
#include "runtime/gate.h"
#include "runtime/log.h"
#include "runtime/names.h"
#include "runtime/quarantine.h"
#include "runtime/slab.h"
#include "runtime/stats.h"
#include "runtime/token.h"
#include "runtime/watchdog.h"
#include "sched/pool.h"

struct tr_io;

struct troupe_runtime {
    troupe_options options; /* with the defaults filled in; backtraces 0: none */
    struct tr_pool *pool;
    struct tr_io *io;
    struct tr_hooks hooks; /* io's, which the wrapped hooks call */
    troupe_ctx **contexts; /* one per worker, spare ones included: `threads` of them */
    unsigned threads;
    unsigned cpus; /* how many threads can run at once, as tr_cpus_usable says */
    struct tr_slab slab;
    struct tr_cell_table cells;
    struct tr_tokens tokens;
    struct tr_names names;
    struct tr_quarantine quarantine;
    struct tr_log log;
    struct tr_crew crew;
    struct tr_watchdog watchdog;
    struct tr_crashlog crashlog;
    struct tr_gate gate;             /* who is inside from outside */
    struct tr_foreign_stats foreign; /* what threads without a context count */
    uint32_t references;             /* the starter's, which join gives back, and others': see troupe_runtime_retain */
    troupe_stats last_stats;         /* once the gate is closed */
    troupe_addr root;
    bool faults; /* tr_fault_install was called */
    int done_fd; /* eventfd, readable once the root has ended */
    int stop_fd; /* eventfd, readable once the root was told to stop from outside, or by troupe_stop_runtime */
    uint32_t stop_requested; /* 1: it was; CAS */
    int status;              /* what join returns; written at most once, by who moved status_set */
    uint32_t status_set;     /* 1: `status` was decided (troupe_stop_runtime, escalation); CAS */
};

/* The gate's word moves for those, too, who only look. */
static inline struct tr_gate *tr_gate_of(const troupe_runtime *rt)
{
    return (struct tr_gate *)(uintptr_t)&rt->gate;
}

#endif
