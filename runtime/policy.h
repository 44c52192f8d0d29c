/* SPDX-License-Identifier: Apache-2.0 */
/* Restart policy: may it restart, when, and who restarts with it? Pure functions over constant data, tested by table.
 * It keeps nothing: what an actor has crashed so far is recovery.h's, what becomes of the answer is supervise.c's. */
#ifndef TR_RUNTIME_POLICY_H
#define TR_RUNTIME_POLICY_H

#include <troupe/actor.h>

#include "runtime/lifecycle.h"

/* --- defaults filled in --- */

unsigned tr_policy_restarts(const troupe_supervision *s);
uint64_t tr_policy_window_ns(const troupe_supervision *s);
/* What a parent gives it to stop in; TROUPE_FOREVER and TROUPE_SHUTDOWN_KILL as they are. */
uint64_t tr_policy_shutdown_ns(const troupe_supervision *s, const troupe_behavior *behavior);
uint64_t tr_policy_children_window_ns(const troupe_children *c);
/* Must a child of this behavior wait for its parent's word before it restarts? */
static inline bool tr_policy_parent_is_asked(const troupe_children *c)
{
    return c->strategy != TROUPE_ONE_FOR_ONE || c->restarts != 0;
}
/* NULL, or what is wrong with them, for a message. */
const char *tr_policy_fault(const troupe_supervision *s);
const char *tr_policy_children_fault(const troupe_children *c);

/* --- questions --- */

/* What a quiet incarnation that may be followed by another one knows. */
struct tr_question {
    troupe_restart restart; /* its policy */
    bool crashed;           /* it ended by a crash; else it came down in order */
    bool regroup;           /* its parent has it come down with its group */
    bool window_allows;
    bool parent_is_asked;
    uint64_t delay_ns; /* what its back-off says */
};
/* One of the events that leave TR_LIFE_RESTARTING. */
enum tr_event tr_policy_decide(const struct tr_question *q);

/* The back-off before a restart that follows `n` others since the actor was last healthy. random: 64 random bits. */
uint64_t tr_backoff_delay(const troupe_backoff *b, unsigned n, uint64_t random);
/* How long an incarnation must have lived to be healthy. */
uint64_t tr_backoff_healthy_ns(const troupe_backoff *b);

#endif
