/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: SipHash-1-3, a keyed hash whose values a stranger cannot steer without the key.
 * Anybody in the example may call it, from any thread.
 * It is not a checksum and not a message authentication code (too few rounds for that). */
#ifndef KV_SIPHASH_H
#define KV_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* kv_siphash - hash bytes under a 128-bit key.
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; c = 1, d = 3. */
uint64_t kv_siphash(const uint64_t key[2], const void *bytes, size_t len);

#endif
