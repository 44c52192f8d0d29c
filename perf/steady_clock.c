/* SPDX-License-Identifier: Apache-2.0 */
/* A clock for ./dev count, preloaded into the counted program: each reading is 50 ns after the one before. Under
 * valgrind time runs as the machine has time for it, and what looks at the clock (sched/pace.h: how often to sample)
 * would execute other instructions in each run. Here an activation seems to last about as long as it does at full
 * speed.
 * It is no part of troupe_bench; whoever waits for a time to come waits long. */
#include <ck_pr.h>
#include <stdint.h>
#include <time.h>

#define STEP_NS 50u

__attribute__((visibility("default"))) int clock_gettime(clockid_t which, struct timespec *now)
{
    static uint64_t time_ns = UINT64_C(1000000000);
    uint64_t now_ns = ck_pr_faa_64(&time_ns, STEP_NS);
    (void)which;
    now->tv_sec = (time_t)(now_ns / 1000000000u);
    now->tv_nsec = (long)(now_ns % 1000000000u);
    return 0;
}
