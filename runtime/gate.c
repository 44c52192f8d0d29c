/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/gate.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void tr_gate_wake(struct tr_gate *gate)
{
    syscall(SYS_futex, &gate->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void tr_gate_close(struct tr_gate *gate)
{
    ck_pr_fence_release(); /* who is refused may read what was left for it: last_stats */
    ck_pr_or_32(&gate->word, TR_GATE_CLOSED);
    for (;;) {
        uint32_t word = ck_pr_load_32(&gate->word);
        if (word / TR_GATE_ONE == 0)
            break;
        syscall(SYS_futex, &gate->word, FUTEX_WAIT_PRIVATE, word, NULL, NULL, 0);
    }
    ck_pr_fence_acquire();
}
