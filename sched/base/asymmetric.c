/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/base/asymmetric.h"

#include <errno.h>
#include <unistd.h>

#include <linux/membarrier.h>
#include <sys/syscall.h>

static bool membarrier(int command)
{
    int saved = errno;
    long status = syscall(SYS_membarrier, command, 0, 0);
    errno = saved;
    return status == 0;
}

bool tr_fence_heavy_prepare(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

bool tr_fence_heavy(void)
{
    return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}
