/* SPDX-License-Identifier: Apache-2.0 */
/* A crowd: very many actors with 16 bytes of state, each of which has handled one message and is idle. For cases that
 * measure what such actors cost; the root of their runtime makes it. */
#ifndef TR_PERF_SUPPORT_CROWD_H
#define TR_PERF_SUPPORT_CROWD_H

#include "perf/support/bench.h"

struct tr_crowd {
    uint64_t actors;
    void (*begun)(void *arg);                  /* before the first is made; may be NULL */
    void (*ready)(troupe_ctx *ctx, void *arg); /* all have handled theirs; both in the root */
    void *arg;
};

/* The root; its arguments are a pointer to the crowd. */
extern const troupe_behavior tr_crowd_root, tr_crowd_idler;

/* The options of a runtime that holds it. */
troupe_options tr_crowd_options(const struct tr_bench *bench);

#endif
