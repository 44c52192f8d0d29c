/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a runtime from outside: the order, the wait with a limit, the report. Threads that are no workers. */
#ifndef TR_RUNTIME_STOP_H
#define TR_RUNTIME_STOP_H

#include <troupe/runtime.h>

/* Waits at most timeout_ns until all actors have ended: 0 or -ETIMEDOUT. */
int tr_stop_wait(troupe_runtime *rt, uint64_t timeout_ns);
/* For poll, which counts in milliseconds: rounded up and cut, so look at the clock and ask again. until_ns: on
 * tr_loop_clock; TROUPE_FOREVER: -1. */
int tr_stop_poll_ms(uint64_t until_ns);
/* Logs who is still there. */
void tr_stop_report(troupe_runtime *rt);

#endif
