/* Small things every file may use. */
#include "core/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* memcpy of the sizes there are; each a move of its own, where `memcpy(to, from, n)` is a call. */
static void copy_sized(void *to, const void *from, unsigned n)
{
    switch (n) {
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, n);
    }
}

/* A narrow value comes in a variable of its own: a load of 64 bits would wait until the narrow store before it has left
 * the processor. */
uint64_t load_le(const void *p, unsigned n)
{
    const uint8_t *bytes = p;
    uint16_t half;
    uint32_t word;
    uint64_t v = 0;
    switch (n) {
    case 1: return *bytes;
    case 2:
        memcpy(&half, p, 2);
        v = half;
        break;
    case 4:
        memcpy(&word, p, 4);
        v = word;
        break;
    case 8: memcpy(&v, p, 8); break;
    default:
        for (unsigned i = 0; i < n; i++)
            v |= (uint64_t)bytes[i] << 8 * i;
        return v;
    }
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v) >> (64 - 8 * n);
#endif
    return v;
}

void store_le(void *p, unsigned n, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    copy_sized(p, &v, n);
}

uint64_t load_be(const void *p, unsigned n)
{
    return __builtin_bswap64(load_le(p, n)) >> (64 - 8 * n);
}

void store_be(void *p, unsigned n, uint64_t v)
{
    store_le(p, n, __builtin_bswap64(v) >> (64 - 8 * n));
}

/* Edit distance where a swap of neighbours counts one; names over 64 characters are compared by
 * their beginning. */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    unsigned row[3][LONGEST + 1];
    size_t n_a = strnlen(a, LONGEST), n_b = strnlen(b, LONGEST);
    for (size_t j = 0; j <= n_b; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n_a; i++) {
        unsigned *now = row[i % 3], *above = row[(i - 1) % 3], *above2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, above[j] + 1);
            best = MIN(best, now[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, above2[j - 2] + 1);
            now[j] = best;
        }
    }
    return row[n_a % 3][n_b];
}

const char *nearest_name(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    unsigned length = (unsigned)strnlen(name, 24);
    unsigned least = length < 4 ? 2 : length / 3 + 2; /* of three letters two have to be right */
    for (size_t i = 0; i < n; i++) {
        unsigned d = edit_distance(name, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static void *or_abort(void *p)
{
    if (!p) {
        fputs("tandem: the host has no memory left\n", stderr);
        abort();
    }
    return p;
}

void *xmalloc(size_t n)
{
    return or_abort(malloc(n ? n : 1));
}

void *xcalloc(size_t n, size_t size)
{
    return or_abort(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n)
{
    return or_abort(realloc(p, n ? n : 1));
}

char *xstrdup(const char *s)
{
    return or_abort(strdup(s));
}

char *xasprintf(const char *fmt, ...)
{
    char *s;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return or_abort(n < 0 ? NULL : s);
}

static int size_suffix(char c)
{
    static const char letters[] = "bkmgtpe";
    const char *at = c ? strchr(letters, c | 0x20) : NULL;
    return at ? (int)(at - letters) : -1;
}

int parse_size(const char *s, uint64_t unit, uint64_t *bytes)
{
    uint64_t whole = 0, part = 0, tenth = 1;
    const char *p = s;
    if (p[0] == '0' && (p[1] | 0x20) == 'x') {
        char *end;
        whole = strtoull(p, &end, 16);
        if (end == p + 2 || *end || __builtin_mul_overflow(whole, unit, bytes))
            return 0;
        return 1;
    }
    if (*p < '0' || *p > '9')
        return 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return 0;
    }
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++) {
            if (tenth < 1000000) {
                part = part * 10 + (uint64_t)(*p - '0');
                tenth *= 10;
            }
        }
    }
    if (*p) {
        int power = size_suffix(*p);
        if (power < 0 || p[1])
            return 0;
        unit = (uint64_t)1 << (10 * power);
    }
    if (__builtin_mul_overflow(whole, unit, bytes))
        return 0;
    uint64_t more = (uint64_t)((unsigned __int128)unit * part / tenth);
    return !__builtin_add_overflow(*bytes, more, bytes);
}
