#include "core/hash.h"

#include <endian.h>
#include <string.h>

static inline uint64_t rol(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static inline void mix(uint64_t v[4], unsigned rounds)
{
    for (unsigned k = 0; k < rounds; k++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rol(v[1], 13) ^ v[0];
        v[3] = rol(v[3], 16) ^ v[2];
        v[0] = rol(v[0], 32) + v[3];
        v[2] += v[1];
        v[1] = rol(v[1], 17) ^ v[2];
        v[3] = rol(v[3], 21) ^ v[0];
        v[2] = rol(v[2], 32);
    }
}

static inline uint64_t sip(unsigned rounds, unsigned last_rounds, const uint64_t key[2],
                           const uint8_t *at, size_t n)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573 };
    uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; at += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word = le64toh(word);
        v[3] ^= word;
        mix(v, rounds);
        v[0] ^= word;
    }
    for (unsigned k = 0; k < n; k++)
        last |= (uint64_t)at[k] << 8 * k;
    v[3] ^= last;
    mix(v, rounds);
    v[0] ^= last;
    v[2] ^= 0xff;
    mix(v, last_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash(unsigned rounds, unsigned last_rounds, const uint64_t key[2], const void *bytes,
                 size_t n)
{
    return sip(rounds, last_rounds, key, bytes, n);
}

uint64_t hash64(const uint64_t key[2], const void *bytes, size_t n)
{
    return sip(1, 3, key, bytes, n);
}

static uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return le64toh(word);
}

/* Both halves of the product, so that each bit of either counts. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t sum64(const uint64_t key[2], const void *bytes, size_t n)
{
    const uint64_t odd = 0x9e3779b97f4a7c15; /* 2^64 over the golden ratio */
    const uint8_t *at = bytes;
    uint8_t last[16] = { 0 };
    uint64_t a = (key[0] ^ n) * odd + odd, b = key[1] + odd;
    for (; n >= 16; at += 16, n -= 16)
        a = fold(word_at(at) ^ b, word_at(at + 8) ^ a) + odd;
    memcpy(last, at, n);
    a = fold(word_at(last) ^ b, word_at(last + 8) ^ a) + odd;
    return fold(a ^ key[1], odd);
}
