/* SPDX-License-Identifier: Apache-2.0 */
/* How much CPU time the process's control groups allow it, as a number of CPUs. Owns nothing: reads files each time.
 * Any thread; for the start of a runtime.
 * It is not the set of CPUs that a thread may run on: that is sched/cpus.h. */
#ifndef TR_SCHED_QUOTA_H
#define TR_SCHED_QUOTA_H

/* No group on the way sets a limit, or none can be read. */
#define TR_QUOTA_NONE 0u

/* The tightest limit among the process's own cgroup and all above it, version 2 (cpu.max) and 1 (cpu.cfs_quota_us by
 * cpu.cfs_period_us): quota by period, rounded up, at least 1. TR_QUOTA_NONE: no limit.
 *   root  put before each path that is read; "" for this machine, a folder in tests */
unsigned tr_quota_cpus(const char *root);

/* The same for the text of one cpu.max ("max 100000", "150000 100000"), and of the two files of version 1 (quota -1: no
 * limit). What is not understood is no limit. */
unsigned tr_quota_of_max(const char *text);
unsigned tr_quota_of_cfs(const char *quota_us, const char *period_us);

#endif
