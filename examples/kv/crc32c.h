/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: the CRC-32C (Castagnoli) of bytes, by the processor's own instruction where it has one.
 * Anybody in the example may call it, from any thread.
 * It is not a defence against somebody who forges data on purpose. */
#ifndef KV_CRC32C_H
#define KV_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* kv_crc32c - continue a checksum.
 *   crc  0 at first, then the result for the bytes before these: the checksum of a whole does not
 *        depend on how it is cut
 * Source: RFC 3720 appendix B.4 (polynomial 0x1EDC6F41, reflected, inverted at both ends). */
uint32_t kv_crc32c(uint32_t crc, const void *bytes, size_t len);

/* kv_crc32c_portable - the same, always by tables (slicing by eight); for processors without the
 * instruction, and for the test that compares both. */
uint32_t kv_crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#endif
