/* SPDX-License-Identifier: Apache-2.0 */
/* Where hardware faults can be recovered: TR_FAULTS is 1 there, else 0. Owns nothing; it is not a run-time check, of
 * which there are more in classify.c. */
#ifndef TR_RUNTIME_FAULT_SUPPORT_H
#define TR_RUNTIME_FAULT_SUPPORT_H

#include <features.h>

#ifndef TR_FAULTS
/* Register names and call conventions of x86-64; _dl_find_object is glibc 2.35's. */
#if defined(__x86_64__) && defined(__LP64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define TR_FAULTS 1
#endif
#endif
#endif
#ifndef TR_FAULTS
#define TR_FAULTS 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TR_FAULTS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TR_FAULTS_ASAN 1
#endif
#endif
#ifndef TR_FAULTS_ASAN
#define TR_FAULTS_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define TR_FAULTS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TR_FAULTS_TSAN 1
#endif
#endif
#ifndef TR_FAULTS_TSAN
#define TR_FAULTS_TSAN 0
#endif

/* For code that runs on the alternate stack or on a stack that was abandoned half-way. */
#define TR_NO_SANITIZE __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize("undefined")))

#endif
