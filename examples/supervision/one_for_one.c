/* SPDX-License-Identifier: Apache-2.0 */
/* One-for-one, the default: the child that crashed restarts, and nobody else notices. For children that do not depend
 * on each other: connections, jobs, users' sessions. */
#include "trio.h"

static const troupe_behavior supervisor = {
    .name = "supervisor",
    .state_size = sizeof(struct trio_state),
    .args_size = sizeof(struct trio_args),
    .started = trio_started,
    .children = {.strategy = TROUPE_ONE_FOR_ONE, .declared = trio_children},
    .handlers = TRIO_HANDLERS,
};

int main(void)
{
    return trio_run(&supervisor, 1);
}
