/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of sharing between cores. Owns nothing; anyone may use it.
 * It is not a run-time query: 64 bytes holds on every x86-64 and on the aarch64 servers we target. */
#ifndef TR_SCHED_BASE_CACHELINE_H
#define TR_SCHED_BASE_CACHELINE_H

#define TR_CACHELINE 64
#define TR_ALIGNED_LINE __attribute__((aligned(TR_CACHELINE)))

#endif
