/* The x87's transcendental functions by series in 128-bit arithmetic. A `struct wide` has 128 significant
 * bits, a fixed-point value ("Q1.127") lies in [0, 2); each step errs by a few units of the last place, and
 * no sum below cancels more than two bits. */
#include "tcg/softfloat80.h"

#include "core/util.h"

typedef unsigned __int128 u128;

#define U128(high, low) ((u128)(high) << 64 | (low))
static const u128 one_fixed = (u128)1 << 127;

/* (-1)^sign * sig / 2^127 * 2^exp, bit 127 of sig set; sig 0 is zero. */
struct wide {
    bool sign;
    int exp;
    u128 sig;
};

#define WIDE(e, high, low)          \
    {                               \
        false, (e), U128(high, low) \
    }
static const struct wide one = WIDE(0, 0x8000000000000000, 0),
                         ln2 = WIDE(-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af),
                         two_by_ln2 = WIDE(1, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89),
                         pi = WIDE(1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);

static struct wide normalised(struct wide v)
{
    uint64_t high = v.sig >> 64;
    if (!v.sig)
        return v;
    int zeros = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)v.sig);
    v.sig <<= zeros;
    v.exp -= zeros;
    return v;
}

static struct wide wide_of(struct f80 a)
{
    int exp = a.se & 0x7fff;
    return normalised((struct wide){ a.se >> 15, (exp ? exp : 1) - 16383, (u128)a.sig << 64 });
}

static struct wide wide_of_int(int v)
{
    unsigned magnitude = v < 0 ? -(unsigned)v : (unsigned)v;
    return normalised((struct wide){ v < 0, 127, magnitude });
}

static struct wide wide_of_fixed(u128 q)
{
    return normalised((struct wide){ false, 0, q });
}

static struct wide negated(struct wide a)
{
    a.sign = !a.sign;
    return a;
}

static struct f80 rounded(struct f80_ctx *ctx, struct wide v)
{
    return f80_round(ctx, 64, v.sign, v.exp, v.sig >> 64, (uint64_t)v.sig);
}

/* The high half of the product, at most 2 too small. */
static u128 mul_high(u128 a, u128 b)
{
    uint64_t ah = a >> 64, al = (uint64_t)a, bh = b >> 64, bl = (uint64_t)b;
    u128 middle = (u128)ah * bl, other = (u128)al * bh, low = (u128)al * bl;
    u128 carry = (low >> 64) + (uint64_t)middle + (uint64_t)other;
    return (u128)ah * bh + (middle >> 64) + (other >> 64) + (carry >> 64);
}

static struct wide mul(struct wide a, struct wide b)
{
    struct wide r = { a.sign != b.sign, a.exp + b.exp + 1, mul_high(a.sig, b.sig) };
    return normalised(r);
}

static struct wide divide(struct wide a, struct wide b)
{
    struct wide r = { a.sign != b.sign, a.exp - b.exp, 0 };
    u128 rest = a.sig;
    bool carry = false;
    if (!a.sig)
        return a;
    if (a.sig < b.sig) {
        carry = rest >> 127;
        rest <<= 1;
        r.exp--;
    }
    for (int i = 127; i >= 0; i--) {
        if (carry || rest >= b.sig) {
            rest -= b.sig;
            r.sig |= (u128)1 << i;
        }
        carry = rest >> 127;
        rest <<= 1;
    }
    return r;
}

static struct wide add(struct wide a, struct wide b)
{
    if (!a.sig || !b.sig)
        return a.sig ? a : b;
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct wide t = a;
        a = b;
        b = t;
    }
    int down = a.exp - b.exp;
    u128 small = down > 127 ? 0 : b.sig >> down;
    if (a.sign != b.sign) {
        a.sig -= small;
        return normalised(a);
    }
    a.sig += small;
    if (a.sig < small) { /* a carry */
        a.sig = a.sig >> 1 | one_fixed;
        a.exp++;
    }
    return a;
}

/* |a| below 1 as a fraction of 2^128. */
static u128 fraction_of(struct wide a)
{
    int down = -1 - a.exp; /* means nothing for 0 */
    return !a.sig || down > 127 ? 0 : a.sig >> down;
}

/* A factor that rounded to one but is not: a hair less, so that the result is inexact on the right side. */
static struct wide below_one(u128 q)
{
    return wide_of_fixed(q == one_fixed ? q - 1 : q);
}

/* ---- sine and cosine of |r| <= pi/4 --------------------------------------------------------------- */

static struct wide sine_of(struct wide r)
{
    u128 z = fraction_of(mul(r, r)), s = one_fixed;
    for (unsigned k = 16; k; k--)
        s = one_fixed - mul_high(z, s) / (2 * k * (2 * k + 1));
    return mul(r, below_one(s));
}

static struct wide cosine_of(struct wide r)
{
    u128 z = fraction_of(mul(r, r)), s = one_fixed;
    for (unsigned k = 16; k; k--)
        s = one_fixed - mul_high(z, s) / (2 * k * (2 * k - 1));
    return below_one(s);
}

/* a = quarter * pi/2 + the result, |a| < 2^63. Units of 2^-65 hold both exactly. */
static struct wide reduce_angle(struct f80 a, unsigned *quarter)
{
    static const u128 half_pi = U128(3, 0x243f6a8885a308d3);
    struct wide v = wide_of(a);
    *quarter = 0;
    if (v.exp < -1)
        return v;
    u128 x = (v.sig >> 64) << (v.exp + 2), n = x / half_pi, rest = x % half_pi;
    struct wide r = { v.sign, 127 - 65, rest };
    if (rest > half_pi / 2) {
        n++;
        r.sig = half_pi - rest;
        r.sign = !v.sign;
    }
    *quarter = (unsigned)n & 3;
    if (v.sign)
        *quarter = -*quarter & 3;
    return normalised(r);
}

static struct wide sine_in_quarter(struct wide r, unsigned quarter)
{
    struct wide s = quarter & 1 ? cosine_of(r) : sine_of(r);
    return quarter & 2 ? negated(s) : s;
}

/* NaN, infinity, zero, denormals, angles too large. True: *r is the result for a sine or tangent. */
static bool angle_is_special(struct f80_ctx *ctx, struct f80 a, struct f80 *r, bool *too_large)
{
    *too_large = false;
    *r = a;
    if (f80_takes_nan(ctx, a, a, r))
        return true;
    switch (f80_classify(a)) {
    case F80_ZERO: return true;
    case F80_INF:
        ctx->flags |= F80_INVALID;
        *r = f80_default_nan;
        return true;
    case F80_DENORMAL_NUMBER: ctx->flags |= F80_DENORMAL; return f80_stops(ctx);
    default: *too_large = (a.se & 0x7fff) >= 16383 + 63; return *too_large;
    }
}

bool f80_sin_cos(struct f80_ctx *ctx, struct f80 a, struct f80 *sine, struct f80 *cosine)
{
    bool too_large;
    unsigned quarter;
    struct f80 special;
    if (angle_is_special(ctx, a, &special, &too_large)) {
        if (sine)
            *sine = special;
        if (cosine)
            *cosine = f80_classify(a) == F80_ZERO ? f80_one : special;
        return !too_large;
    }
    struct wide r = reduce_angle(a, &quarter);
    if (sine)
        *sine = rounded(ctx, sine_in_quarter(r, quarter));
    if (cosine)
        *cosine = rounded(ctx, sine_in_quarter(r, quarter + 1));
    return true;
}

bool f80_tan(struct f80_ctx *ctx, struct f80 a, struct f80 *r)
{
    bool too_large;
    unsigned quarter;
    if (angle_is_special(ctx, a, r, &too_large))
        return !too_large;
    struct wide v = reduce_angle(a, &quarter), s = sine_of(v), c = cosine_of(v);
    if (v.exp < -64) { /* a hair more than v */
        v.sig |= 1;
        *r = rounded(ctx, v);
        return true;
    }
    *r = rounded(ctx, quarter & 1 ? negated(divide(c, s)) : divide(s, c));
    return true;
}

/* ---- arc tangent ---------------------------------------------------------------------------------- */

/* atan(k / 16), Q1.127 */
static const u128 atan_sixteenths[] = {
    U128(0x0000000000000000, 0x0000000000000000), U128(0x07fd56edcb3f7a71, 0xb6593c96e071706b),
    U128(0x0feadd4d5617b6e3, 0x2c897989f3e888ef), U128(0x17b97b4bce5b0226, 0x8f6169f103938e91),
    U128(0x1f5b75f92c80dd62, 0xadb8f3debef442fd), U128(0x26c4ee6e0fd7979a, 0x716aed26349ebcca),
    U128(0x2dec3283c9bde11c, 0xe2a8c848b73f9121), U128(0x34c9dd879847f96d, 0x909f257a40079c4e),
    U128(0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea341), U128(0x4195fa536cc33f15, 0x25b504e5b0d28ae0),
    U128(0x47802eaf7bfacfcd, 0xae41af0b32e21ba4), U128(0x4d17c07338deed10, 0x21137c711027f9de),
    U128(0x525e3e8c9a7b8492, 0x0cd43f9522bed64f), U128(0x5756261c5a6c6040, 0x0a392f179f290385),
    U128(0x5c029f15e118cf39, 0xe596d2a90852221f), U128(0x606742dc56293320, 0x44eeb16237497d12),
    U128(0x6487ed5110b4611a, 0x62633145c06e0e69),
};

/* 0 < t <= 1 */
static struct wide atan_of(struct wide t)
{
    unsigned k =
        t.exp < -6
            ? 0
            : (unsigned)((fraction_of((struct wide){ false, t.exp - 2, t.sig }) >> 121) + 1) / 2;
    struct wide c = { false, 123, k }, u = t;
    if (k) {
        c = normalised(c);
        u = divide(add(t, negated(c)), add(one, mul(t, c)));
    }
    u128 z = fraction_of(mul(u, u)), s = 0;
    for (unsigned i = 14; i; i--)
        s = one_fixed / (2 * i + 1) - mul_high(z, s);
    struct wide r = mul(u, below_one(one_fixed - mul_high(z, s)));
    return add(wide_of_fixed(atan_sixteenths[k]), r);
}

static struct wide pi_times(unsigned n, int shift)
{
    struct wide r = mul(pi, wide_of_int((int)n));
    r.exp += shift;
    return r;
}

/* What is no quotient of two finite numbers. */
static bool atan2_is_special(struct f80 y, struct f80 x, struct wide *r)
{
    enum f80_class cy = f80_classify(y), cx = f80_classify(x);
    bool left = x.se >> 15;
    if (cy == F80_INF)
        *r = cx == F80_INF ? pi_times(left ? 3 : 1, -2) : pi_times(1, -1);
    else if (cy == F80_ZERO || cx == F80_INF)
        *r = left ? pi : (struct wide){ 0 };
    else if (cx == F80_ZERO)
        *r = pi_times(1, -1);
    else
        return false;
    return true;
}

struct f80 f80_atan2(struct f80_ctx *ctx, struct f80 y, struct f80 x)
{
    struct f80 nan;
    struct wide r;
    if (f80_takes_nan(ctx, y, x, &nan))
        return nan;
    if (f80_classify(y) == F80_DENORMAL_NUMBER || f80_classify(x) == F80_DENORMAL_NUMBER)
        ctx->flags |= F80_DENORMAL;
    if (f80_stops(ctx))
        return y;
    if (!atan2_is_special(y, x, &r)) {
        struct wide a = wide_of(y), b = wide_of(x);
        a.sign = b.sign = false;
        bool steep = a.exp > b.exp || (a.exp == b.exp && a.sig > b.sig);
        r = atan_of(steep ? divide(b, a) : divide(a, b));
        if (steep)
            r = add(pi_times(1, -1), negated(r));
        if (x.se >> 15)
            r = add(pi, negated(r));
    }
    r.sign = y.se >> 15;
    return r.sig ? rounded(ctx, r) : (struct f80){ 0, (uint16_t)(y.se & 0x8000) };
}

/* ---- exponential and logarithm -------------------------------------------------------------------- */

struct f80 f80_exp2m1(struct f80_ctx *ctx, struct f80 a)
{
    struct f80 nan;
    if (f80_takes_nan(ctx, a, a, &nan))
        return nan;
    if (f80_classify(a) == F80_DENORMAL_NUMBER)
        ctx->flags |= F80_DENORMAL;
    if (f80_classify(a) == F80_INF)
        return a.se >> 15 ? (struct f80){ f80_one.sig, 0xbfff } : a;
    if (f80_stops(ctx) || f80_classify(a) == F80_ZERO)
        return a;
    if ((a.se & 0x7fff) >= 16383) { /* processors take even 1 and -1 for inexact */
        ctx->flags |= F80_INEXACT;
        a.se -= a.se == 0xbfff && a.sig == f80_one.sig;
        return a;
    }
    struct wide t = mul(wide_of(a), ln2);
    u128 x = fraction_of(t), s = one_fixed;
    for (unsigned k = 34; k >= 2; k--)
        s = t.sign ? one_fixed - mul_high(x, s) / k : one_fixed + mul_high(x, s) / k;
    return rounded(ctx, mul(t, wide_of_fixed(s)));
}

/* log2(1 + f) = 2/ln2 artanh(f / (2 + f)), -0.3 < f < 0.42 */
static struct wide log2_1p(struct wide f)
{
    struct wide z = divide(f, add(wide_of_int(2), f));
    u128 zz = fraction_of(mul(z, z)), s = 0;
    for (unsigned k = 26; k; k--)
        s = one_fixed / (2 * k + 1) + mul_high(zz, s);
    return mul(mul(z, wide_of_fixed(one_fixed + mul_high(zz, s))), two_by_ln2);
}

static struct wide log2_of(struct wide x)
{
    static const u128 root_of_2 = U128(0xb504f333f9de6484, 0);
    struct wide f = { x.sig > root_of_2, x.sig > root_of_2 ? -1 : 0, 0 };
    f.sig = f.sign ? -x.sig : x.sig - one_fixed;
    if (!f.sig)
        return wide_of_int(x.exp);
    return add(wide_of_int(x.exp + f.sign), log2_1p(normalised(f)));
}

/* y times a logarithm that is zero, infinite or just of this sign. */
static struct f80 times_special(struct f80_ctx *ctx, struct f80 y, enum f80_class of_log,
                                bool negative)
{
    struct f80 log = { 0x8000000000000000, (uint16_t)(negative ? 0xbfff : 0x3fff) };
    if (of_log == F80_ZERO)
        log = (struct f80){ 0, (uint16_t)(negative ? 0x8000 : 0) };
    else if (of_log == F80_INF)
        log.se |= 0x7fff;
    return f80_mul(ctx, y, log);
}

static bool is_finite_number(struct f80 a)
{
    enum f80_class c = f80_classify(a);
    return c == F80_NORMAL || c == F80_DENORMAL_NUMBER;
}

static bool log_stops(struct f80_ctx *ctx, struct f80 y, struct f80 x)
{
    if (f80_classify(y) == F80_DENORMAL_NUMBER || f80_classify(x) == F80_DENORMAL_NUMBER)
        ctx->flags |= F80_DENORMAL;
    return f80_stops(ctx);
}

static struct f80 not_a_number(struct f80_ctx *ctx)
{
    ctx->flags |= F80_INVALID;
    return f80_default_nan;
}

struct f80 f80_ylog2(struct f80_ctx *ctx, struct f80 y, struct f80 x)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    struct f80 r;
    if (f80_takes_nan(ctx, y, x, &r))
        return r;
    if (x.se >> 15 && cx != F80_ZERO)
        return not_a_number(ctx);
    if (cx == F80_ZERO && is_finite_number(y)) {
        ctx->flags |= F80_DIV_BY_ZERO;
        return (struct f80){ 0x8000000000000000, (uint16_t)(y.se >> 15 ? 0x7fff : 0xffff) };
    }
    if (log_stops(ctx, y, x))
        return y;
    bool below = (x.se & 0x7fff) < 16383;
    if (cx == F80_ZERO || cx == F80_INF)
        return times_special(ctx, y, F80_INF, below);
    if (x.se == f80_one.se && x.sig == f80_one.sig)
        return times_special(ctx, y, F80_ZERO, false);
    if (cy == F80_ZERO || cy == F80_INF)
        return times_special(ctx, y, F80_NORMAL, below);
    return rounded(ctx, mul(wide_of(y), log2_of(wide_of(x))));
}

struct f80 f80_ylog2p1(struct f80_ctx *ctx, struct f80 y, struct f80 x)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    bool negative = x.se >> 15;
    struct f80 r;
    if (f80_takes_nan(ctx, y, x, &r))
        return r;
    if (cx == F80_INF && negative)
        return not_a_number(ctx);
    if (log_stops(ctx, y, x))
        return y;
    if (cx == F80_ZERO || cx == F80_INF)
        return times_special(ctx, y, cx, negative);
    if (cy == F80_ZERO || cy == F80_INF)
        return times_special(ctx, y, F80_NORMAL, negative);
    if (negative && (x.se & 0x7fff) >= 16383) { /* -1 and below: any answer will do */
        ctx->flags |= F80_INEXACT;
        return x;
    }
    struct wide f = wide_of(x);
    return rounded(ctx, mul(wide_of(y), f.exp < -2 ? log2_1p(f) : log2_of(add(one, f))));
}

struct f80 f80_constant(const struct f80_ctx *ctx, unsigned which)
{
    static const struct wide constants[] = {
        WIDE(0, 0x8000000000000000, 0),
        WIDE(1, 0xd49a784bcd1b8afe, 0x492bf6ff4dafdb4d),  /* log2(10) */
        WIDE(0, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89),  /* log2(e) */
        WIDE(1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1),  /* pi */
        WIDE(-2, 0x9a209a84fbcff798, 0x8f8959ac0b7c9178), /* log10(2) */
        WIDE(-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), /* ln(2) */
    };
    struct f80_ctx own = { .rounding = ctx->rounding, .masked = 0x3f };
    return which < ARRAY_LEN(constants) ? rounded(&own, constants[which]) : f80_zero;
}
