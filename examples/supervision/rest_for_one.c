/* SPDX-License-Identifier: Apache-2.0 */
/* Rest-for-one: the child that crashed restarts, with those that were started after it. For a chain in which each child
 * uses the ones before it: a connection, a session on it, a subscription in that. */
#include "trio.h"

static const troupe_behavior supervisor = {
    .name = "supervisor",
    .state_size = sizeof(struct trio_state),
    .args_size = sizeof(struct trio_args),
    .started = trio_started,
    .children = {.strategy = TROUPE_REST_FOR_ONE, .declared = trio_children},
    .handlers = TRIO_HANDLERS,
};

int main(void)
{
    return trio_run(&supervisor, 2);
}
