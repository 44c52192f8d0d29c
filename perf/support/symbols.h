/* SPDX-License-Identifier: Apache-2.0 */
/* Which function is which actor's: for ./dev profile, which knows the frames of a sample by their addresses only.
 * A line per function: its offset in the program's file in hex, as `perf script` prints addresses, and
 * BEHAVIOR.HANDLER. A function of several behaviors gets one line with all of them: FIRST|SECOND.HANDLER. */
#ifndef TR_PERF_SUPPORT_SYMBOLS_H
#define TR_PERF_SUPPORT_SYMBOLS_H

#include "perf/support/bench.h"

/* False: the file cannot be written, and it was said. */
bool tr_symbols_write(const struct tr_case *code, const char *path);

#endif
