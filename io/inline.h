/* SPDX-License-Identifier: Apache-2.0 */
/* Does an op at once, in the submitter's thread, where that is cheaper than the way through the kernel's queues and
 * does not block for long. Owns nothing. The loop's thread only, from tr_op_submit.
 * It is not a back end: its completions still come from the next poll or wait. Figures: docs/decisions/003. */
#ifndef TR_IO_INLINE_H
#define TR_IO_INLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/op.h"

#define TR_INLINE_WRITE_MAX ((size_t)65536) /* bytes */

/* True: op is complete with *res. False: the back end shall do it. syncing: an FDATASYNC of this loop is in flight,
 * during which a write may wait for the journal. */
bool tr_inline_write(const struct tr_op *op, bool syncing, int32_t *res);

#endif
