/* Small things every file may use: arrays with their length, bits, little-endian access. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* A table and its length, for a struct that ends in `{ const T *at; size_t n; }`. */
#define TABLE(a) { (a), ARRAY_LEN(a) }
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

typedef uint64_t gpa; /* guest physical address */
typedef uint64_t gva; /* guest virtual address */

/* n bits of v from bit `at`; n is 1..64. */
static inline uint64_t bits(uint64_t v, unsigned at, unsigned n)
{
    return v >> at & (n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1);
}

/* v with its n low bits as a signed number; n is 1..64. */
static inline int64_t sext(uint64_t v, unsigned n)
{
    return (int64_t)(v << (64 - n)) >> (64 - n);
}

static inline uint64_t align_down(uint64_t v, uint64_t to)
{
    return v & ~(to - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* Unaligned little-endian access to host memory; n is 1, 2, 4 or 8 bytes. */
uint64_t load_le(const void *p, unsigned n);
void store_le(void *p, unsigned n, uint64_t v);
uint64_t load_be(const void *p, unsigned n);
void store_be(void *p, unsigned n, uint64_t v);

/* The name in names[0..n) nearest to `name` by edit distance, or NULL when none is close. */
const char *nearest_name(const char *name, const char *const *names, size_t n);

/* malloc family that never returns NULL: the process aborts with a message. For our own small
 * objects only; anything whose size a user or guest chooses is allocated with an error path. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "512", "64K", "1G", "1.5G" to bytes; a bare number counts in `unit` bytes. False if malformed. */
int parse_size(const char *s, uint64_t unit, uint64_t *bytes);
