/* SPDX-License-Identifier: Apache-2.0 */
#include "io/park.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>

#include "sched/base/assert.h"

bool tr_park_begin(struct tr_park *park, enum tr_park_state how)
{
    TR_ASSERT(how == TR_PARK_IN_FUTEX || how == TR_PARK_IN_RING);
    bool may = ck_pr_cas_32(&park->word, TR_PARK_AWAKE, how); /* P */
    ck_pr_fence_memory();
    return may;
}

void tr_park_sleep(struct tr_park *park, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    long status = syscall(SYS_futex, &park->word, FUTEX_WAIT_BITSET_PRIVATE, TR_PARK_IN_FUTEX,
                          until_ns == UINT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY); /* S */
    TR_ASSERT(status == 0 || errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR);
}

bool tr_park_end(struct tr_park *park)
{
    bool notified = ck_pr_fas_32(&park->word, TR_PARK_AWAKE) == TR_PARK_NOTIFIED; /* C */
    ck_pr_fence_acquire();
    return notified;
}

bool tr_park_notify(struct tr_park *park)
{
    ck_pr_fence_release();
    uint32_t was = ck_pr_fas_32(&park->word, TR_PARK_NOTIFIED); /* W */
    if (was == TR_PARK_IN_FUTEX)
        syscall(SYS_futex, &park->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); /* F */
    return was == TR_PARK_IN_RING;
}
