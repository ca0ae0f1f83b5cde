/* The meaning of vector operations: each line of vec_ops.h becomes a function here. */
#include "tcg/vec.h"

#include "core/util.h"

#include <stdlib.h>

typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* ---- saturation -------------------------------------------------------------------------------------- */

static s8 to_s8(int v)
{
    return (s8)MAX(MIN(v, INT8_MAX), INT8_MIN);
}

static s16 to_s16(int v)
{
    return (s16)MAX(MIN(v, INT16_MAX), INT16_MIN);
}

static u8 to_u8(int v)
{
    return (u8)MAX(MIN(v, UINT8_MAX), 0);
}

static u16 to_u16(int v)
{
    return (u16)MAX(MIN(v, UINT16_MAX), 0);
}

static u32 rol32(u32 v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static u32 ror32(u32 v, unsigned n)
{
    return rol32(v, 32 - n);
}

/* Byte k of high:low, 0 behind. */
static u8 byte_of(const union v128 *low, const union v128 *high, unsigned k)
{
    return k < 16 ? low->u8[k] : k < 32 ? high->u8[k - 16] : 0;
}

/* Sums of differences of four bytes of b with each four neighbours of a (SDM: MPSADBW). */
static void sad4(union v128 *r, const union v128 *a, const union v128 *b, unsigned n)
{
    const u8 *p = &a->u8[n & 4], *q = &b->u8[4 * (n & 3)];
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 4; k++)
            r->u16[i] += (u16)abs(p[i + k] - q[k]);
}

/* ---- floating point ------------------------------------------------------------------------------------ */

static const struct {
    u64 magnitude, infinity, least_normal;
} formats[SF_N_FORMATS] = {
    [SF_F16] = { 0x7fff, 0x7c00, 0x400 },
    [SF_F32] = { 0x7fffffff, 0x7f800000, 0x800000 },
    [SF_F64] = { 0x7fffffffffffffff, 0x7ff0000000000000, 0x10000000000000 },
};

/* Flags of one lane's operation, with that of subnormal operands: it comes behind NaNs, invalid operations and
 * divisions by zero (SDM 1-4.9.2). */
static u8 lane_flags(const struct sf_ctx *fp, enum sf_format f, unsigned n, u64 x, u64 y, u64 z)
{
    const u64 v[3] = { x, y, z };
    bool subnormal = false;
    if (fp->flags & (SF_INVALID | SF_DIV_BY_ZERO) || fp->flush_inputs)
        return fp->flags;
    for (unsigned k = 0; k < n; k++) {
        u64 m = v[k] & formats[f].magnitude;
        if (m > formats[f].infinity)
            return fp->flags;
        subnormal |= m && m < formats[f].least_normal;
    }
    return fp->flags | (subnormal ? SF_DENORMAL : 0);
}

static struct sf_ctx lane_ctx(const struct sf_ctx *env)
{
    struct sf_ctx fp = *env;
    fp.flags = 0;
    return fp;
}

static u64 fp_min_max(struct sf_ctx *fp, enum sf_format f, u64 x, u64 y, enum sf_order wanted)
{
    u64 r = sf_compare(fp, f, x, y, true) == wanted ? x : y, m = r & formats[f].magnitude;
    if (fp->flush_inputs && m < formats[f].least_normal)
        r &= ~formats[f].magnitude;
    return r;
}

/* SDM: CMPPD, table of predicates: which of less, equal, greater, unordered hold; the upper half is the lower
 * with the other answer to quiet NaNs. */
static bool fp_predicate(struct sf_ctx *fp, enum sf_format f, u64 x, u64 y, unsigned n)
{
    enum { L = 1, E = 2, G = 4, U = 8 };
    static const u8 holds[16] = { E,     L,         L | E, U,     L | G | U, E | G | U,
                                  G | U, L | E | G, E | U, L | U, L | E | U, 0,
                                  L | G, G | E,     G,     15 };
    bool signalling = (0x6666 >> (n & 15) & 1) != (n >> 4 & 1);
    enum sf_order o = sf_compare(fp, f, x, y, signalling);
    unsigned is = o == SF_LESS ? L : o == SF_EQUAL ? E : o == SF_GREATER ? G : U;
    return holds[n & 15] & is;
}

static u64 fp_order(struct sf_ctx *fp, enum sf_format f, u64 x, u64 y, bool signalling)
{
    switch (sf_compare(fp, f, x, y, signalling)) {
    case SF_LESS: return 1;
    case SF_EQUAL: return 0x40;
    case SF_GREATER: return 0;
    default: return 0x45;
    }
}

static u64 to_int(struct sf_ctx *fp, enum sf_format f, u64 x, enum sf_int to)
{
    u64 v = sf_to_int(fp, f, x, to);
    if (fp->flags & SF_INVALID)
        return to == SF_I32 ? 0x80000000 : (u64)1 << 63;
    return v;
}

static u64 fp_s32(struct sf_ctx *fp, enum sf_format f, u64 x)
{
    return to_int(fp, f, x, SF_I32);
}

static u64 fp_s64(struct sf_ctx *fp, enum sf_format f, u64 x)
{
    return to_int(fp, f, x, SF_I64);
}

static u64 fp_s32_t(struct sf_ctx *fp, enum sf_format f, u64 x)
{
    fp->rounding = SF_RTZ;
    return to_int(fp, f, x, SF_I32);
}

static u64 fp_s64_t(struct sf_ctx *fp, enum sf_format f, u64 x)
{
    fp->rounding = SF_RTZ;
    return to_int(fp, f, x, SF_I64);
}

static void choose_rounding(struct sf_ctx *fp, unsigned n)
{
    static const u8 modes[] = { SF_RNE, SF_RDN, SF_RUP, SF_RTZ };
    if (!(n & 4))
        fp->rounding = modes[n & 3];
}

static u64 fp_round(struct sf_ctx *fp, enum sf_format f, u64 x, unsigned n)
{
    choose_rounding(fp, n);
    return sf_round(fp, f, x, !(n & 8));
}

/* Subnormal halves are numbers, whatever the mode says (SDM 1-14.4.1). */
static u64 fp_from_f16(struct sf_ctx *fp, u64 x)
{
    fp->flush_inputs = false;
    return sf_convert(fp, SF_F16, SF_F32, x);
}

static u64 fp_to_f16(struct sf_ctx *fp, u64 x, unsigned n)
{
    choose_rounding(fp, n);
    fp->flush_results = false;
    return sf_convert(fp, SF_F32, SF_F16, x);
}

static u64 add_lanes(struct sf_ctx *env, enum sf_format f, u64 x, u64 y)
{
    struct sf_ctx fp = lane_ctx(env);
    u64 r = sf_add(&fp, f, x, y);
    env->flags |= lane_flags(&fp, f, 2, x, y, 0);
    return r;
}

static u64 mul_lanes(struct sf_ctx *env, enum sf_format f, u64 x, u64 y)
{
    struct sf_ctx fp = lane_ctx(env);
    u64 r = sf_mul(&fp, f, x, y);
    env->flags |= lane_flags(&fp, f, 2, x, y, 0);
    return r;
}

/* SDM: DPPS, DPPD. */
static void dot_f32(struct sf_ctx *env, union v128 *r, const union v128 *a, const union v128 *b,
                    unsigned n)
{
    u64 p[4];
    for (unsigned i = 0; i < 4; i++)
        p[i] = n >> (4 + i) & 1 ? mul_lanes(env, SF_F32, a->u32[i], b->u32[i]) : 0;
    u64 low = add_lanes(env, SF_F32, p[0], p[1]), high = add_lanes(env, SF_F32, p[2], p[3]);
    u64 sum = add_lanes(env, SF_F32, low, high);
    for (unsigned i = 0; i < 4; i++)
        r->u32[i] = n >> i & 1 ? (u32)sum : 0;
}

static void dot_f64(struct sf_ctx *env, union v128 *r, const union v128 *a, const union v128 *b,
                    unsigned n)
{
    u64 p[2];
    for (unsigned i = 0; i < 2; i++)
        p[i] = n >> (4 + i) & 1 ? mul_lanes(env, SF_F64, a->u64[i], b->u64[i]) : 0;
    u64 sum = add_lanes(env, SF_F64, p[0], p[1]);
    for (unsigned i = 0; i < 2; i++)
        r->u64[i] = n >> i & 1 ? sum : 0;
}

/* ---- AES (FIPS 197) and carry-less products ------------------------------------------------------------ */

static u8 gf_mul(u8 a, u8 b)
{
    u8 r = 0;
    for (; b; b >>= 1, a = (u8)(a << 1 ^ (a & 0x80 ? 0x1b : 0)))
        r ^= b & 1 ? a : 0;
    return r;
}

static u8 gf_invert(u8 a) /* a to the 254th */
{
    u8 r = 1;
    for (unsigned k = 0; k < 7; k++) {
        a = gf_mul(a, a);
        r = gf_mul(r, a);
    }
    return r;
}

static u8 rol8(u8 v, unsigned n)
{
    return (u8)(v << n | v >> (8 - n));
}

static u8 aes_substitute(u8 v, bool inverse)
{
    if (inverse)
        return gf_invert(rol8(v, 1) ^ rol8(v, 3) ^ rol8(v, 6) ^ 5);
    v = gf_invert(v);
    return v ^ rol8(v, 1) ^ rol8(v, 2) ^ rol8(v, 3) ^ rol8(v, 4) ^ 0x63;
}

/* (Inv)MixColumns, 5.1.3 and 5.3.3. */
static void aes_mix(union v128 *r, const union v128 *a, bool inverse)
{
    static const u8 factors[2][4] = { { 2, 3, 1, 1 }, { 14, 11, 13, 9 } };
    union v128 in = *a;
    for (unsigned i = 0; i < 16; i++) {
        r->u8[i] = 0;
        for (unsigned k = 0; k < 4; k++)
            r->u8[i] ^= gf_mul(in.u8[(i & ~3u) + ((i + k) & 3)], factors[inverse][k]);
    }
}

static void aes_round(union v128 *r, const union v128 *a, const union v128 *key, bool inverse,
                      bool mix)
{
    for (unsigned i = 0; i < 16; i++) /* row i % 4 moves by as many columns */
        r->u8[i] =
            aes_substitute(a->u8[(inverse ? i - 4 * (i & 3) : i + 4 * (i & 3)) & 15], inverse);
    if (mix)
        aes_mix(r, r, inverse);
    r->u64[0] ^= key->u64[0];
    r->u64[1] ^= key->u64[1];
}

static void aes_keygen(union v128 *r, const union v128 *a, unsigned n)
{
    for (unsigned i = 0; i < 16; i++)
        r->u8[i] = aes_substitute(a->u8[(i & 8) + 4 + (i & 3)], false);
    r->u32[1] = ror32(r->u32[1], 8) ^ n;
    r->u32[3] = ror32(r->u32[3], 8) ^ n;
}

static void clmul(union v128 *r, u64 x, u64 y)
{
    for (unsigned i = 0; i < 64; i++)
        if (y >> i & 1) {
            r->u64[0] ^= x << i;
            r->u64[1] ^= i ? x >> (64 - i) : 0;
        }
}

/* ---- SHA (FIPS 180-4; SDM 1-5.1 for the order of words) -------------------------------------------------- */

static u32 choose(u32 x, u32 y, u32 z)
{
    return (x & y) ^ (~x & z);
}

static u32 majority(u32 x, u32 y, u32 z)
{
    return (x & y) ^ (x & z) ^ (y & z);
}

static void sha1_rounds(union v128 *r, const union v128 *abcd, const union v128 *w, unsigned n)
{
    static const u32 constants[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    u32 a = abcd->u32[3], b = abcd->u32[2], c = abcd->u32[1], d = abcd->u32[0], e = 0;
    n &= 3;
    for (int i = 3; i >= 0; i--) { /* the first word has e added */
        u32 f = n == 0 ? choose(b, c, d) : n == 2 ? majority(b, c, d) : b ^ c ^ d;
        u32 next = rol32(a, 5) + f + e + constants[n] + w->u32[i];
        e = d;
        d = c;
        c = rol32(b, 30);
        b = a;
        a = next;
    }
    *r = (union v128){ .u32 = { d, c, b, a } };
}

static void sha1_msg2(union v128 *r, const union v128 *a, const union v128 *b)
{
    for (int i = 3; i > 0; i--)
        r->u32[i] = rol32(a->u32[i] ^ b->u32[i - 1], 1);
    r->u32[0] = rol32(a->u32[0] ^ r->u32[3], 1);
}

static u32 sigma(u32 v, unsigned x, unsigned y, unsigned shift)
{
    return ror32(v, x) ^ ror32(v, y) ^ v >> shift;
}

static u32 big_sigma(u32 v, unsigned x, unsigned y, unsigned z)
{
    return ror32(v, x) ^ ror32(v, y) ^ ror32(v, z);
}

static void sha256_rounds(union v128 *r, const union v128 *cdgh, const union v128 *abef,
                          const union v128 *wk)
{
    u32 a = abef->u32[3], b = abef->u32[2], c = cdgh->u32[3], d = cdgh->u32[2];
    u32 e = abef->u32[1], f = abef->u32[0], g = cdgh->u32[1], h = cdgh->u32[0];
    for (unsigned i = 0; i < 2; i++) {
        u32 t = h + big_sigma(e, 6, 11, 25) + choose(e, f, g) + wk->u32[i];
        u32 next = t + big_sigma(a, 2, 13, 22) + majority(a, b, c);
        h = g;
        g = f;
        f = e;
        e = d + t;
        d = c;
        c = b;
        b = a;
        a = next;
    }
    *r = (union v128){ .u32 = { f, e, b, a } };
}

static void sha256_msg1(union v128 *r, const union v128 *a, const union v128 *b)
{
    for (unsigned i = 0; i < 4; i++)
        r->u32[i] = a->u32[i] + sigma(i < 3 ? a->u32[i + 1] : b->u32[0], 7, 18, 3);
}

static void sha256_msg2(union v128 *r, const union v128 *a, const union v128 *b)
{
    for (unsigned i = 0; i < 4; i++)
        r->u32[i] = a->u32[i] + sigma(i < 2 ? b->u32[i + 2] : r->u32[i - 2], 17, 19, 10);
}

/* ---- strings (SDM 1-12.8, 2-4.1) ------------------------------------------------------------------------- */

static int element(const union v128 *v, unsigned i, unsigned n)
{
    switch (n & 3) {
    case 0: return v->u8[i];
    case 1: return v->u16[i];
    case 2: return v->s8[i];
    default: return v->s16[i];
    }
}

static unsigned elements(unsigned n)
{
    return n & 1 ? 8 : 16;
}

/* Elements before the first that is zero. */
static unsigned string_end(const union v128 *v, unsigned n)
{
    unsigned i = 0;
    while (i < elements(n) && element(v, i, n))
        i++;
    return i;
}

static bool any_matches(const union v128 *a, unsigned na, int x, unsigned n)
{
    bool ranges = n >> 2 & 1;
    for (unsigned i = 0; i < na; i += 1 + ranges) {
        int lo = element(a, i, n);
        if (!ranges ? x == lo : i + 1 < na && x >= lo && x <= element(a, i + 1, n))
            return true;
    }
    return false;
}

/* Does a stand in b from element j on, as far as b's register goes? */
static bool stands_at(const union v128 *a, unsigned na, const union v128 *b, unsigned nb,
                      unsigned j, unsigned n)
{
    for (unsigned i = 0; i < na && i + j < elements(n); i++)
        if (i + j >= nb || element(a, i, n) != element(b, i + j, n))
            return false;
    return true;
}

static u64 string_mask(const union v128 *a, const union v128 *b, unsigned na, unsigned nb,
                       unsigned n)
{
    unsigned size = elements(n);
    u64 mask = 0, all = ((u64)1 << size) - 1;
    na = MIN(na, size);
    nb = MIN(nb, size);
    for (unsigned j = 0; j < size; j++) {
        bool holds;
        switch (n >> 2 & 3) {
        case 2:
            holds = j < na && j < nb ? element(a, j, n) == element(b, j, n) : j >= na && j >= nb;
            break;
        case 3: holds = stands_at(a, na, b, nb, j, n); break;
        default: holds = j < nb && any_matches(a, na, element(b, j, n), n);
        }
        mask |= (u64)holds << j;
    }
    if ((n >> 4 & 3) == 1)
        mask ^= all;
    if ((n >> 4 & 3) == 3)
        mask ^= ((u64)1 << nb) - 1;
    return mask | (u64)(na < size) << 16 | (u64)(nb < size) << 17;
}

/* ---- the operations ---------------------------------------------------------------------------------------- */

#define LANES(T) ((int)(16 / sizeof(T)))
#define DO(...)  __VA_ARGS__

#define EACH(T, ...)                             \
    for (i = 0; i < LANES(T); i++) {             \
        T x = a->T[i], y = b->T[i], z = c->T[i]; \
        (void)x, (void)y, (void)z;               \
        r.T[i] = (T)(__VA_ARGS__);               \
    }
#define PAIR(T, W, ...)                                                                   \
    for (i = 0; i < LANES(W); i++) {                                                      \
        T x0 = a->T[2 * i], x1 = a->T[2 * i + 1], y0 = b->T[2 * i], y1 = b->T[2 * i + 1]; \
        (void)x1, (void)y1;                                                               \
        r.W[i] = (W)(__VA_ARGS__);                                                        \
    }
#define HORIZONTAL(T, ...)                                 \
    for (i = 0; i < LANES(T); i++) {                       \
        const union v128 *from = i < LANES(T) / 2 ? a : b; \
        int k = 2 * i % LANES(T);                          \
        T x0 = from->T[k], x1 = from->T[k + 1];            \
        r.T[i] = (T)(__VA_ARGS__);                         \
    }

#define BITS_f32   u32
#define BITS_f64   u64
#define FORMAT_f32 SF_F32
#define FORMAT_f64 SF_F64

/* One lane: `to` becomes the expression in lane operands x, y, z. */
#define FP_LANE(F, B, ops, to, x_, y_, z_, ...)          \
    {                                                    \
        B x = (x_), y = (y_), z = (z_);                  \
        struct sf_ctx lane = lane_ctx(env), *fp = &lane; \
        (void)y, (void)z;                                \
        to = (__VA_ARGS__);                              \
        env->flags |= lane_flags(fp, F, ops, x, y, z);   \
    }
#define FP_EACH(F, B, ops, ...)    \
    for (i = 0; i < LANES(B); i++) \
    FP_LANE(F, B, ops, r.B[i], a->B[i], b->B[i], c->B[i], (B)(__VA_ARGS__))
#define FP1(T, ...)              FP_EACH_(FORMAT_##T, BITS_##T, 1, __VA_ARGS__)
#define FP2(T, ...)              FP_EACH_(FORMAT_##T, BITS_##T, 2, __VA_ARGS__)
#define FP3(T, ...)              FP_EACH_(FORMAT_##T, BITS_##T, 3, __VA_ARGS__)
#define FP_EACH_(F, B, ops, ...) FP_EACH(F, B, ops, __VA_ARGS__)

#define FP_LO(F, B, ops, rest, x_, y_, z_, ...) \
    i = 0;                                      \
    r = *(rest);                                \
    FP_LANE(F, B, ops, r.B[0], x_, y_, z_, (B)(__VA_ARGS__))
#define LO1_(F, B, ...) FP_LO(F, B, 1, a, b->B[0], 0, 0, __VA_ARGS__)
#define LO2_(F, B, ...) FP_LO(F, B, 2, a, a->B[0], b->B[0], 0, __VA_ARGS__)
#define LO3_(F, B, ...) \
    FP_LO(F, B, 3, n == 0 ? a : n == 1 ? b : c, a->B[0], b->B[0], c->B[0], __VA_ARGS__)
#define LO1(T, ...) LO1_(FORMAT_##T, BITS_##T, __VA_ARGS__)
#define LO2(T, ...) LO2_(FORMAT_##T, BITS_##T, __VA_ARGS__)
#define LO3(T, ...) LO3_(FORMAT_##T, BITS_##T, __VA_ARGS__)

#define FPH_(F, B, ...)                                                           \
    for (i = 0; i < LANES(B); i++) {                                              \
        const union v128 *from = i < LANES(B) / 2 ? a : b;                        \
        int k = 2 * i % LANES(B);                                                 \
        FP_LANE(F, B, 2, r.B[i], from->B[k], from->B[k + 1], 0, (B)(__VA_ARGS__)) \
    }
#define FPH(T, ...) FPH_(FORMAT_##T, BITS_##T, __VA_ARGS__)

/* Conversions of `lanes` lanes from type S to D: without, and with a flag for subnormal operands. */
#define FPN(D, S, lanes, ...)                            \
    for (i = 0; i < (lanes); i++) {                      \
        S x = a->S[i];                                   \
        struct sf_ctx lane = lane_ctx(env), *fp = &lane; \
        r.D[i] = (D)(__VA_ARGS__);                       \
        env->flags |= fp->flags;                         \
    }
#define FPN1(D, ...)                                     \
    {                                                    \
        struct sf_ctx lane = lane_ctx(env), *fp = &lane; \
        r.D[0] = (D)(__VA_ARGS__);                       \
        env->flags |= fp->flags;                         \
    }
#define FPC_(F, B, D, lanes, ...) \
    for (i = 0; i < (lanes); i++) \
    FP_LANE(F, B, 1, r.D[i], a->B[i], 0, 0, (D)(__VA_ARGS__))
#define FPC(T, D, lanes, ...) FPC_(FORMAT_##T, BITS_##T, D, lanes, __VA_ARGS__)
#define FPCLO_(F, B, D, ...) \
    r = *a;                  \
    FP_LANE(F, B, 1, r.D[0], b->B[0], 0, 0, (D)(__VA_ARGS__))
#define FPCLO(T, D, ...) FPCLO_(FORMAT_##T, BITS_##T, D, __VA_ARGS__)

#define IR_VEC(name, types, flags, ...)                                              \
    static void run_##name(struct sf_ctx *env, union v128 *out, const union v128 *a, \
                           const union v128 *b, const union v128 *c, unsigned n)     \
    {                                                                                \
        union v128 r = { .u64 = { 0, 0 } };                                          \
        int i = 0;                                                                   \
        (void)i;                                                                     \
        __VA_ARGS__;                                                                 \
        *out = r;                                                                    \
    }
#include "tcg/vec_ops.h"
#undef IR_VEC

vec_fn *const vec_fns[N_IR_VECS] = {
#define IR_VEC(name, types, flags, ...) [IR_V_##name] = run_##name,
#include "tcg/vec_ops.h"
#undef IR_VEC
};

uint64_t vec_join_integers(enum ir_vec vec, uint64_t low, uint64_t high)
{
    switch (vec) {
    case IR_V_mask_i8: return low | high << 16;
    case IR_V_mask_i32: return low | high << 4;
    case IR_V_mask_i64: return low | high << 2;
    default: return low & high;
    }
}
