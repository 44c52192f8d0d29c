/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: counts a message that will not be handled and shows it to the user's hook. Any thread.
 * It does not free the message: the caller still owns it. */
#ifndef TR_RUNTIME_DEADLETTER_H
#define TR_RUNTIME_DEADLETTER_H

#include <troupe/message.h>

struct troupe_runtime;

/* ctx: the calling worker's, or NULL on any other thread. */
void tr_dead_letter(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_addr to, const troupe_msg *msg,
                    troupe_dead_reason reason);

#endif
