/* SPDX-License-Identifier: Apache-2.0 */
/* One step up a call stack, by the unwind tables (.eh_frame) that every x86-64 program carries. For the fault
 * handler: async-signal-safe, no locks, no memory of its own, and no read outside of the given stack and the loaded
 * modules, so that a smashed stack ends the walk with a refusal and not with a second fault. Owned by whoever walks;
 * any thread. It is not a general unwinder: what the compilers do not emit for C (set_loc, 64-bit tables, signal
 * frames) it refuses. */
#ifndef TR_RUNTIME_UNWIND_H
#define TR_RUNTIME_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers of registers as in the tables. */
enum { TR_REG_BX = 3, TR_REG_BP = 6, TR_REG_SP = 7, TR_REG_PC = 16, TR_REG_COUNT = 17 };

#define TR_UNWIND_MEMOS 4 /* a power of two */

/* What the tables said of a return address: an overflowed stack has the same ones a hundred thousand times. */
struct tr_unwind_memo {
    uintptr_t pc; /* 0: none */
    unsigned cfa_reg;
    int32_t cfa_offset;
    uint32_t saved; /* a bit per register: it is at CFA + offset; the others are as they were */
    int32_t offset[TR_REG_COUNT];
};

struct tr_unwind {
    uintptr_t reg[TR_REG_COUNT];
    uint32_t valid;      /* a bit per register: known in this frame */
    bool called;         /* pc is a return address: the frame is inside of the call before it */
    uintptr_t low, high; /* the stack: nothing outside of it is read */
    uintptr_t cfa;       /* after a step: where the frame that was left began */
    bool frameless;      /* after the first step: that function never moves the stack pointer nor saves a register */
    struct tr_unwind_memo memo[TR_UNWIND_MEMOS];
};

/* Goes to the caller. False: no or unusable unwind information, or a stack that does not fit it; u is then half-way. */
bool tr_unwind_step(struct tr_unwind *u);
/* Makes one step from its caller: the first walk finds pages and symbols that are not there yet, and should not be in a
 * handler. */
void tr_unwind_warm_up(void);

/* Reads a word of the stack; false: it is outside. */
bool tr_unwind_read(const struct tr_unwind *u, uintptr_t at, uintptr_t *out);

#endif
