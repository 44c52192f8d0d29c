/* SPDX-License-Identifier: Apache-2.0 */
#include "siphash.h"

#include <endian.h>
#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline uint64_t load_word(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

/* The last 0..7 bytes, and the length in the highest byte. */
static inline uint64_t load_tail(const unsigned char *at, size_t len)
{
    uint64_t word = (uint64_t)len << 56;
    for (size_t i = 0; i < len % 8; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

static inline void absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t kv_siphash(const uint64_t key[2], const void *bytes, size_t len)
{
    struct state s = {
        .v0 = key[0] ^ 0x736f6d6570736575U,
        .v1 = key[1] ^ 0x646f72616e646f6dU,
        .v2 = key[0] ^ 0x6c7967656e657261U,
        .v3 = key[1] ^ 0x7465646279746573U,
    };
    const unsigned char *at = bytes;
    for (size_t words = len / 8; words > 0; words--, at += 8)
        absorb(&s, load_word(at));
    absorb(&s, load_tail(at, len));
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
