/* SPDX-License-Identifier: Apache-2.0 */
/* The way from a panic to the boundary of its activation: TR_LAND marks the boundary and returns 0, then, once TR_JUMP
 * was called by a function that the marking one called, returns again, 1. Nothing is unwound, and the signal mask is
 * not touched. tr_jump is an array type; it is for one thread.
 * Where the compiler can do it inline that costs a fifth of _setjmp; the sanitizers only understand the latter. */
#ifndef TR_RUNTIME_JUMP_H
#define TR_RUNTIME_JUMP_H

#include "io/poison.h"

#if defined(__x86_64__) && !defined(TR_IO_ASAN) && !defined(__SANITIZE_THREAD__)
#define TR_JUMP_INLINE 1
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef TR_JUMP_INLINE
#endif
#endif
#endif

#ifdef TR_JUMP_INLINE
typedef void *tr_jump[5];
#define TR_LAND(jump) __builtin_setjmp(jump)
#define TR_JUMP(jump) __builtin_longjmp(jump, 1)
#else
#include <setjmp.h>
typedef jmp_buf tr_jump;
#define TR_LAND(jump) _setjmp(jump)
#define TR_JUMP(jump) _longjmp(jump, 1)
#endif

#endif
