/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "crc32c.h"
#include "siphash.h"

static uint32_t bit_by_bit(const unsigned char *bytes, size_t len)
{
    uint32_t state = 0xffffffffU;
    for (size_t i = 0; i < len; i++) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ ((state & 1) != 0 ? 0x82f63b78U : 0);
    }
    return ~state;
}

/* RFC 3720, B.4 */
Test(crc32c, agrees_with_the_published_vectors)
{
    unsigned char zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (unsigned i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    cr_assert_eq(kv_crc32c(0, zeros, 32), 0x8a9136aaU);
    cr_assert_eq(kv_crc32c(0, ones, 32), 0x62a8ab43U);
    cr_assert_eq(kv_crc32c(0, up, 32), 0x46dd794eU);
    cr_assert_eq(kv_crc32c(0, down, 32), 0x113fdb5cU);
    cr_assert_eq(kv_crc32c(0, "123456789", 9), 0xe3069283U);
    cr_assert_eq(kv_crc32c_portable(0, "123456789", 9), 0xe3069283U);
}

Test(crc32c, instruction_and_tables_agree_with_the_definition_at_every_length_and_alignment)
{
    unsigned char bytes[160];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 167 + 13);
    for (size_t at = 0; at < 16; at++) {
        for (size_t len = 0; len <= sizeof bytes - at; len++) {
            uint32_t expected = bit_by_bit(bytes + at, len);
            cr_assert_eq(kv_crc32c(0, bytes + at, len), expected);
            cr_assert_eq(kv_crc32c_portable(0, bytes + at, len), expected);
        }
    }
}

Test(crc32c, does_not_depend_on_how_the_bytes_are_cut)
{
    const char text[] = "the quick brown fox jumps over the lazy dog";
    uint32_t whole = kv_crc32c(0, text, sizeof text);
    for (size_t cut = 0; cut <= sizeof text; cut++)
        cr_assert_eq(kv_crc32c(kv_crc32c(0, text, cut), text + cut, sizeof text - cut), whole);
}

/* SipHash-1-3 as written down in the paper, one byte and one variable at a time. */
static uint64_t plain_siphash(const uint64_t key[2], const unsigned char *bytes, size_t len)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU, key[0] ^ 0x6c7967656e657261U,
                     key[1] ^ 0x7465646279746573U};
#define ROT(x, b) ((x) << (b) | (x) >> (64 - (b)))
    for (size_t word = 0; word <= len / 8 + 3; word++) {
        uint64_t m = 0;
        if (word <= len / 8) {
            for (size_t i = 0; i < 8 && word * 8 + i < len; i++)
                m |= (uint64_t)bytes[word * 8 + i] << (8 * i);
            if (word == len / 8)
                m |= (uint64_t)len << 56;
        }
        if (word == len / 8 + 1)
            v[2] ^= 0xff;
        v[3] ^= m;
        v[0] += v[1], v[1] = ROT(v[1], 13), v[1] ^= v[0], v[0] = ROT(v[0], 32);
        v[2] += v[3], v[3] = ROT(v[3], 16), v[3] ^= v[2];
        v[0] += v[3], v[3] = ROT(v[3], 21), v[3] ^= v[0];
        v[2] += v[1], v[1] = ROT(v[1], 17), v[1] ^= v[2], v[2] = ROT(v[2], 32);
        v[0] ^= m;
    }
#undef ROT
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

Test(siphash, agrees_with_a_plain_transcription_at_every_length)
{
    unsigned char bytes[64];
    uint64_t key[2] = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    for (size_t len = 0; len <= sizeof bytes; len++)
        cr_assert_eq(kv_siphash(key, bytes, len), plain_siphash(key, bytes, len));
}

Test(siphash, depends_on_the_key)
{
    uint64_t one[2] = {1, 2}, other[2] = {1, 3};
    cr_assert_neq(kv_siphash(one, "key", 3), kv_siphash(other, "key", 3));
}
