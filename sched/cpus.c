/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1 /* CPU_COUNT */
#include "sched/cpus.h"

#include <errno.h>
#include <unistd.h>

#include "sched/base/assert.h"
#include "sched/quota.h"

int tr_cpus_allowed(cpu_set_t *allowed)
{
    CPU_ZERO(allowed);
    return sched_getaffinity(0, sizeof *allowed, allowed) < 0 ? -errno : 0;
}

/* A machine of more CPUs than cpu_set_t holds refuses to say which; it still says how many. */
static unsigned count_allowed(void)
{
    cpu_set_t allowed;
    long count = tr_cpus_allowed(&allowed) == 0 ? CPU_COUNT(&allowed) : sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (unsigned)count;
}

unsigned tr_cpus_usable(const char *root)
{
    unsigned cpus = count_allowed();
    unsigned quota = tr_quota_cpus(root);
    return quota != TR_QUOTA_NONE && quota < cpus ? quota : cpus;
}

cpu_set_t tr_cpus_nth(const cpu_set_t *allowed, unsigned index)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    TR_ASSERT(CPU_COUNT(allowed) > 0);
    index %= (unsigned)CPU_COUNT(allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed) || index-- > 0)
            continue;
        CPU_SET(cpu, &one);
        break;
    }
    return one;
}
