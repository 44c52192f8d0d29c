/* SPDX-License-Identifier: Apache-2.0 */
/* Single-writer counters and gauges: one thread counts, any thread may load a value that is whole and perhaps a little
 * old. Plain arithmetic and a store, so it costs what an increment costs.
 * They are not for two writers, who would lose counts: those use ck_pr_add_64. */
#ifndef TR_SCHED_BASE_COUNT_H
#define TR_SCHED_BASE_COUNT_H

#include <stdint.h>

#include <ck_pr.h>

static inline void tr_count(uint64_t *counter, uint64_t n)
{
    ck_pr_store_64(counter, *counter + n);
}

static inline void tr_uncount(uint64_t *gauge, uint64_t n)
{
    ck_pr_store_64(gauge, *gauge - n);
}

/* For a high-water mark. */
static inline void tr_count_max(uint64_t *mark, uint64_t value)
{
    if (value > *mark)
        ck_pr_store_64(mark, value);
}

#endif
