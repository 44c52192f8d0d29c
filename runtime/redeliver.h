/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the message that crashed its handler: back to the head of the mailbox, to quarantine, or a dead
 * letter. On the worker that runs the actor.
 * It is not the quarantine itself (quarantine.h): that only keeps. */
#ifndef TR_RUNTIME_REDELIVER_H
#define TR_RUNTIME_REDELIVER_H

#include <troupe/actor.h>

/* The running actor crashed: disposes of ctx->msg, if there is one. */
void tr_redeliver_after_crash(troupe_ctx *ctx);

#endif
