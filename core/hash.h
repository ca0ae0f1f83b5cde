/* Keyed hashes. The first two are SipHash (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* With one round a word and three at the end: for tables. */
uint64_t hash64(const uint64_t key[2], const void *bytes, size_t n);
/* With any number of rounds; the paper's are 2 and 4. */
uint64_t siphash(unsigned rounds, unsigned last_rounds, const uint64_t key[2], const void *bytes, size_t n);
/* Finds damage, not intent: several times faster, for check sums over what is large. */
uint64_t sum64(const uint64_t key[2], const void *bytes, size_t n);
