/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs the calling thread may use, and how many workers they are good for. Owns nothing: asks the kernel.
 * For the start of pools, and for whoever chooses their number of workers.
 * It is not a topology: CPUs are numbers, in the kernel's order. */
#ifndef TR_SCHED_CPUS_H
#define TR_SCHED_CPUS_H

#include <sched.h>

/* Workers for this process: the CPUs that the calling thread may use, or fewer if a CPU quota of the process's control
 * groups allows the time of fewer only; at least 1.  root  as for tr_quota_cpus */
unsigned tr_cpus_usable(const char *root);

/* The CPUs that the calling thread may use. Returns 0 or -errno. */
int tr_cpus_allowed(cpu_set_t *allowed);
/* The set of one CPU: the index-th of `allowed`, round and round. allowed is not empty. */
cpu_set_t tr_cpus_nth(const cpu_set_t *allowed, unsigned index);

#endif
