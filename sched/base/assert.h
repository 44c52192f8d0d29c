/* SPDX-License-Identifier: Apache-2.0 */
/* TR_ASSERT: an invariant of ours, checked in every build. Owns nothing; anyone may use it.
 * It is not for outside input (that returns -errno) and not for an actor's own failure (that is a panic). */
#ifndef TR_SCHED_BASE_ASSERT_H
#define TR_SCHED_BASE_ASSERT_H

#define TR_LIKELY(x) __builtin_expect(!!(x), 1)
#define TR_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* The compiler forgets how the pointer x came about, and works with it as it is. */
#define TR_OPAQUE(x) __asm__("" : "+r"(x))

#define TR_ASSERT(cond) (TR_LIKELY(cond) ? (void)0 : tr_assert_failed(#cond, __FILE__, __LINE__))

/* Prints the broken invariant on stderr and aborts, so that the core shows the true state. */
_Noreturn void tr_assert_failed(const char *cond, const char *file, int line);

#endif
