/* SPDX-License-Identifier: Apache-2.0 */
/* The gate of a runtime: which threads from outside are in one of its verbs at this moment, and whether more may come.
 * So the verbs of runtime.h are safe at any time, also while the runtime stops and is joined. Used by those verbs;
 * workers of the runtime need no gate, as join waits for them anyway.
 * It keeps nobody from blocking: what ends a blocked verb is told in foreign.h, watch.h and token.h. */
#ifndef TR_RUNTIME_GATE_H
#define TR_RUNTIME_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include <ck_pr.h>

#include "sched/base/assert.h"
#include "sched/base/cacheline.h"

/* Two things end at different times. What join frees (pool, loops, cells, logs) is behind the gate. What a handle may
 * name, or a thread holds a lock of, lives until the last reference is released (troupe_runtime_release): the runtime's
 * own record and the slab with its tokens.
 *
 * One word, gate->word: the number of threads inside, times ONE, and
 *   ENDED   the root has ended, and with it all actors. By tr_root_ended
 *   CLOSED  the runtime is being joined; never without ENDED. By troupe_runtime_join
 * Both for good. Who moves it:
 *   E  thread  + ONE, and looks at the bits as they were. Those that refuse it: L at once. Else it is inside
 *   L  thread  - ONE                  release: its last access to what is behind the gate
 *   C  joiner  | CLOSED, then waits for no thread inside      release, meets refused E; acquire, meets every L
 * All are read-modify-writes of one word, so they have one order. An E before C is counted there: C waits for its L. An
 *   E after C sees CLOSED, is refused and touches nothing that join frees.
 * The waiter sleeps on the word. Who leaves last and sees CLOSED wakes it, after L: the record may be gone by then, but
 *   a wake names an address and touches no memory.
 * Every thread inside gets out: when the root has ended every actor has, so every ask was answered and every wait was
 *   told; done_fd is readable; threads that wait for a token are not inside.
 * Checked by: tests/runtime/test_foreign.c, tests/stress/stress_foreign.c (ThreadSanitizer). */
#define TR_GATE_ENDED UINT32_C(1)
#define TR_GATE_CLOSED UINT32_C(2)
#define TR_GATE_ONE UINT32_C(4)

struct tr_gate {
    uint32_t word;
} TR_ALIGNED_LINE; /* threads from outside write it: the workers' lines are elsewhere */

/* C. The runtime's joiner, once the root has ended. */
void tr_gate_close(struct tr_gate *gate);
/* Wakes the joiner. */
void tr_gate_wake(struct tr_gate *gate);

/* L. */
static inline void tr_gate_leave(struct tr_gate *gate)
{
    ck_pr_fence_release();
    uint32_t old = ck_pr_faa_32(&gate->word, -TR_GATE_ONE);
    if (TR_UNLIKELY(old & TR_GATE_CLOSED) && old / TR_GATE_ONE == 1)
        tr_gate_wake(gate);
}

static inline bool tr_gate_pass(struct tr_gate *gate, uint32_t refusing)
{
    uint32_t old = ck_pr_faa_32(&gate->word, TR_GATE_ONE);
    ck_pr_fence_acquire();
    if (TR_LIKELY(!(old & refusing)))
        return true;
    tr_gate_leave(gate);
    return false;
}

/* E, for verbs that need actors: false once they have all ended. */
static inline bool tr_gate_enter(struct tr_gate *gate)
{
    return tr_gate_pass(gate, TR_GATE_ENDED);
}

/* E, for verbs that look: false once it is being joined. */
static inline bool tr_gate_look(struct tr_gate *gate)
{
    return tr_gate_pass(gate, TR_GATE_CLOSED);
}

/* Any thread; true says so for good. */
static inline bool tr_gate_ended(const struct tr_gate *gate)
{
    return ck_pr_load_32(&gate->word) & TR_GATE_ENDED;
}

#endif
