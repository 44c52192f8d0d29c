/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over the stack (runtime/unwind.h): it finds what the compiler's own unwinder finds, and whatever it is
 * given it reads nothing but the stack and the tables. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unwind.h>

#include "runtime/fault_support.h"
#include "runtime/unwind.h"

#if TR_FAULTS

enum { FRAMES = 64, DEPTH = 12 };

struct walk {
    uintptr_t pc[FRAMES];
    unsigned count;
};

static struct walk expected, found;
static volatile unsigned sink;

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    if (walk->count < FRAMES)
        walk->pc[walk->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static void stack_bounds(struct tr_unwind *u)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    cr_assert_eq(pthread_getattr_np(pthread_self(), &attr), 0);
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    u->low = ((uintptr_t)__builtin_frame_address(0) - 4096) & ~(uintptr_t)15; /* what is below may not be there yet */
    u->high = (uintptr_t)low + size;
}

static struct tr_unwind registers_of(const ucontext_t *uc)
{
    static const int order[TR_REG_COUNT] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                            REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    struct tr_unwind u = {.valid = (1u << TR_REG_COUNT) - 1};
    for (unsigned i = 0; i < TR_REG_COUNT; i++)
        u.reg[i] = (uintptr_t)uc->uc_mcontext.gregs[order[i]];
    stack_bounds(&u);
    return u;
}

/* Both walks from the same place: getcontext's pc is the return of that call. */
static __attribute__((noinline)) void walk_both(void)
{
    ucontext_t uc;
    getcontext(&uc);
    struct tr_unwind u = registers_of(&uc);
    u.called = true;
    found.count = 0;
    while (found.count < FRAMES && tr_unwind_step(&u))
        found.pc[found.count++] = u.reg[TR_REG_PC];
    expected.count = 0;
    _Unwind_Backtrace(note, &expected);
}

static __attribute__((noinline)) void plain(unsigned depth);

static __attribute__((noinline)) void aligned(unsigned depth)
{
    char room[64] __attribute__((aligned(64)));
    char *more = __builtin_alloca(depth * 24 + 8);
    __asm__ volatile("" : : "r"(room), "r"(more) : "memory");
    plain(depth);
    sink += (unsigned char)room[0];
}

static __attribute__((noinline)) void plain(unsigned depth)
{
    if (depth == 0)
        walk_both();
    else if (depth % 3 == 0)
        aligned(depth - 1);
    else
        plain(depth - 1);
    sink++;
}

Test(unwind, finds_what_the_compilers_unwinder_finds)
{
    plain(DEPTH);
    cr_assert_gt(expected.count, DEPTH);
    cr_assert_geq(found.count, DEPTH + 4, "%u of %u frames", found.count, expected.count);
    /* the first of the other's is walk_both itself */
    for (unsigned i = 0; i < found.count && i + 1 < expected.count; i++)
        cr_assert_eq(found.pc[i], expected.pc[i + 1], "frame %u: %#lx, not %#lx", i, found.pc[i], expected.pc[i + 1]);
}

Test(unwind, never_leaves_the_stack_it_was_given)
{
    ucontext_t uc;
    getcontext(&uc);
    struct tr_unwind whole = registers_of(&uc);
    uintptr_t word;
    whole.called = true;
    cr_assert(tr_unwind_read(&whole, whole.low, &word));
    cr_assert_not(tr_unwind_read(&whole, whole.high, &word));
    cr_assert_not(tr_unwind_read(&whole, whole.high - 4, &word));
    cr_assert_not(tr_unwind_read(&whole, whole.low - 8, &word));
    cr_assert_not(tr_unwind_read(&whole, 0x10, &word));
    cr_assert_not(tr_unwind_read(&whole, whole.reg[TR_REG_SP] + 1, &word));
    struct tr_unwind none = whole;
    none.high = none.low = none.reg[TR_REG_SP] & ~(uintptr_t)7;
    cr_assert_not(tr_unwind_step(&none));
}

/* Any pc of ours with any registers: a refusal or a step, never a fault. */
Test(unwind, survives_registers_that_make_no_sense)
{
    ucontext_t uc;
    getcontext(&uc);
    struct tr_unwind good = registers_of(&uc);
    uint64_t random = 88172645463325252u;
    unsigned steps = 0;
    for (unsigned i = 0; i < 200000; i++) {
        struct tr_unwind u = good;
        for (unsigned r = 0; r < TR_REG_COUNT; r++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            if (random % 4 == 0)
                u.reg[r] = random;
            else if (random % 4 == 1)
                u.reg[r] = u.low + (random >> 8) % (u.high - u.low + 64);
        }
        u.reg[TR_REG_PC] = (uintptr_t)plain - 20000 + random % 40000;
        for (unsigned n = 0; n < 8 && tr_unwind_step(&u); n++)
            steps++;
    }
    cr_assert_gt(steps, 100, "nothing was walked at all");
}

#else

Test(unwind, finds_what_the_compilers_unwinder_finds)
{
    cr_skip_test("there is no walk on this machine");
}

#endif
