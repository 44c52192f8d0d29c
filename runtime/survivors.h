/* SPDX-License-Identifier: Apache-2.0 */
/* Who still lives, and what holds it: for the report of a stop that takes too long. Any thread that is no worker,
 * between start and join. It looks and does not touch: what it says may be a moment old.
 * It is not the crash report (crashlog.h), nor the statistics. */
#ifndef TR_RUNTIME_SURVIVORS_H
#define TR_RUNTIME_SURVIVORS_H

#include <troupe/runtime.h>

#define TR_SURVIVORS_SHOWN 64 /* lines; the rest is counted */

/* One line per survivor, without newline, then one that counts those left out. Returns how many there are. */
unsigned tr_survivors_each(troupe_runtime *rt, void (*line)(void *arg, const char *line), void *arg);

#endif
