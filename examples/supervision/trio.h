/* SPDX-License-Identifier: Apache-2.0 */
/* Three children that say when they start, stop and restart, and the handlers of a supervisor that has the second of
 * them crash. The programs one_for_one, one_for_all and rest_for_one give that supervisor its strategy. */
#ifndef TRIO_H
#define TRIO_H

#include <troupe/troupe.h>

/* What the supervisor handles. */
enum {
    TRIO_CRASH_ONE, /* sent by itself when it starts; handled when all three children have started */
    TRIO_BACK       /* from a child in its second incarnation */
};

/* The supervisor's args: how many children its strategy restarts. */
struct trio_args {
    unsigned restarting;
};

struct trio_state {
    unsigned awaited;
};

/* "first", "second", "third": declared children, in this order. */
extern const troupe_child trio_children[];

int trio_started(troupe_ctx *ctx, void *self, const void *args);
void trio_on_crash_one(troupe_ctx *ctx, void *self, const troupe_msg *msg);
void trio_on_back(troupe_ctx *ctx, void *self, const troupe_msg *msg);

#define TRIO_HANDLERS                                                                                                  \
    {                                                                                                                  \
        [TRIO_CRASH_ONE] = {.name = "crash one", .fn = trio_on_crash_one},                                             \
        [TRIO_BACK] = {.name = "back", .fn = trio_on_back},                                                            \
    }

/* Runs supervisor; returns its exit status. */
int trio_run(const troupe_behavior *supervisor, unsigned restarting);

#endif
