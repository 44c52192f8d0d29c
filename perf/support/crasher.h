/* SPDX-License-Identifier: Apache-2.0 */
/* How long from a crash to the next message handled: actors that crash over and over, under a root that answers every
 * escalation with RESTART_CHILD. Runs a runtime of its own per call; for a benchmark's main thread.
 * It is not a measure of throughput: each crash is followed by the next message's handler and two clock readings. */
#ifndef TR_PERF_SUPPORT_CRASHER_H
#define TR_PERF_SUPPORT_CRASHER_H

#include <troupe/troupe.h>

#define TR_CRASHERS_MAX 16u

extern const troupe_behavior tr_crasher_root, tr_crasher;

/* The median of `crashes` latencies of each of `actors` (at most TR_CRASHERS_MAX) actors that crash at once, ns: from
 * the clock's reading just before troupe_panic to its reading in the handler of the message that waited behind. False:
 * not all were measured, and it was said. */
bool tr_crasher_latency(unsigned workers, unsigned actors, size_t crashes, const troupe_supervision *supervision,
                        double *median_ns);

#endif
