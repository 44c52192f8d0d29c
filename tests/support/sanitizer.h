/* SPDX-License-Identifier: Apache-2.0 */
/* Under which sanitizer a test is built, alike for gcc and clang: UNDER_ASAN, UNDER_TSAN and SANITIZED are 0 or 1. */
#ifndef TR_TESTS_SUPPORT_SANITIZER_H
#define TR_TESTS_SUPPORT_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define SANITIZED (UNDER_ASAN || UNDER_TSAN)

/* ThreadSanitizer does not take frames off its own stack of calls when they are left by _longjmp, and dies when a
 * thread has left 65,536 of them. A crash leaves about 10, so under it a process must not have many more than this. */
#define TSAN_CRASHES_MAX 3000u

#endif
