/* SPDX-License-Identifier: Apache-2.0 */
/* The seam to AddressSanitizer: memory that must not be touched for now, because the kernel has it or nobody.
 * Owns nothing; io/ and runtime/ may use it on memory they own. It is not a check in a plain build: there it is
 * nothing. */
#ifndef TR_IO_POISON_H
#define TR_IO_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define TR_IO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TR_IO_ASAN 1
#endif
#endif

#ifdef TR_IO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define TR_POISON(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define TR_UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
/* Memory that malloc did not give, in which pointers to memory of malloc's are. */
#define TR_REACHABLE_FROM(memory, size) __lsan_register_root_region(memory, size)
#define TR_UNREACHABLE_FROM(memory, size) __lsan_unregister_root_region(memory, size)
#else
#define TR_REACHABLE_FROM(memory, size) ((void)(memory), (void)(size))
#define TR_UNREACHABLE_FROM(memory, size) ((void)(memory), (void)(size))
/* The size is looked at by the compiler and not worked out: it may be a call, on the way of every message. */
#define TR_POISON(memory, size) ((void)(memory), (void)(0 ? (size) : 0u))
#define TR_UNPOISON(memory, size) ((void)(memory), (void)(0 ? (size) : 0u))
#endif

#endif
