/* SPDX-License-Identifier: Apache-2.0 */
/* One-for-all: when one child crashes all of them come down, the last one first, and start again in order. For children
 * that share what is lost with one of them: both ends of a protocol, the stages of one computation. */
#include "trio.h"

static const troupe_behavior supervisor = {
    .name = "supervisor",
    .state_size = sizeof(struct trio_state),
    .args_size = sizeof(struct trio_args),
    .started = trio_started,
    .children = {.strategy = TROUPE_ONE_FOR_ALL, .declared = trio_children},
    .handlers = TRIO_HANDLERS,
};

int main(void)
{
    return trio_run(&supervisor, 3);
}
