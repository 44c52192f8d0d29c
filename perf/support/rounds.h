/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds of a case: each measured by a fresh process, this program once more, so that none inherits another's memory or
 * a warm heap. For the program's main thread. It prints per result
 *   NAME MEDIAN UNIT [MIN-MAX] rounds N workers W peak P MiB
 * and where they apply: ratio R (to one worker, of a serial case), limit L met|MISSED. A case's further results follow
 * its own. */
#ifndef TR_PERF_SUPPORT_ROUNDS_H
#define TR_PERF_SUPPORT_ROUNDS_H

#include "perf/support/table.h"

#define TR_ROUNDS_MAX 99u
/* A serial case with several workers may be slower than with one by so much: issue 4, "within 10 % of one worker". */
#define TR_SERIAL_RATIO_MAX 1.10

struct tr_rounds {
    unsigned rounds;
    unsigned workers;
    unsigned long size; /* 0: the table's */
    bool json;          /* an object per result and line instead */
};

enum tr_verdict { TR_MET, TR_MISSED, TR_BROKEN };

/* MISSED: a limit was; BROKEN: a measurement failed, and it was said. */
enum tr_verdict tr_rounds_run(const struct tr_entry *entry, const struct tr_rounds *asked);

#endif
