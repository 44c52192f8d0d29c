/* SPDX-License-Identifier: Apache-2.0 */
/* Single-writer counters and gauges: one thread counts, any thread may load a value that is whole and perhaps a little
 * old. Plain arithmetic and a store, so it costs what an increment costs.
 * They are not for two writers, who would lose counts: those use ck_pr_add_64. */
#ifndef TR_SCHED_BASE_COUNT_H
#define TR_SCHED_BASE_COUNT_H

#include <stdint.h>

#include <ck_pr.h>

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__clang_analyzer__)
#define TR_COUNT_AT_ONCE 1
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef TR_COUNT_AT_ONCE
#endif
#endif
#endif

static inline void tr_count(uint64_t *counter, uint64_t n)
{
#ifdef TR_COUNT_AT_ONCE
    __asm__ volatile("addq %1, %0"
                     : "+m"(*counter)
                     : "er"(n)); /* a store of a whole word, too, in one instruction of three */
#else
    ck_pr_store_64(counter, *counter + n);
#endif
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
