/* Operands are taken apart into `struct number`, results are rounded once, by f80_round or in a
 * conversion. A significand in flight is 128 bits wide with its leading one at bit 127; what falls off the
 * low end is or-ed into bit 0, where it still decides every rounding. */
#include "tcg/softfloat80.h"

#include <string.h>

typedef unsigned __int128 u128;

enum {
    BIAS = 16383,
    EXP_MAX = 16383,
    EXP_MIN = -16382,
    WRAP = 24576,
    SIGN = 0x8000,
    ONES = 0x7fff
};
#define INTEGER_BIT ((uint64_t)1 << 63)
#define QUIET_BIT   ((uint64_t)1 << 62)

const struct f80 f80_default_nan = { 0xc000000000000000, 0xffff };
const struct f80 f80_one = { 0x8000000000000000, 0x3fff };
const struct f80 f80_zero = { 0, 0 };

/* A finite number that is not zero: (-1)^sign * sig / 2^63 * 2^exp, bit 63 of sig set. */
struct number {
    bool sign;
    int exp;
    uint64_t sig;
};

enum f80_class f80_classify(struct f80 a)
{
    unsigned exp = a.se & ONES;
    if (exp == 0)
        return a.sig ? F80_DENORMAL_NUMBER : F80_ZERO;
    if (!(a.sig & INTEGER_BIT))
        return F80_UNSUPPORTED;
    if (exp == ONES)
        return a.sig == INTEGER_BIT ? F80_INF : F80_NAN;
    return F80_NORMAL;
}

static bool sign_of(struct f80 a)
{
    return a.se & SIGN;
}

static bool is_inf(struct f80 a)
{
    return f80_classify(a) == F80_INF;
}

static bool is_zero(struct f80 a)
{
    return f80_classify(a) == F80_ZERO;
}

static struct f80 make_inf(bool sign)
{
    return (struct f80){ INTEGER_BIT, ONES | (sign ? SIGN : 0) };
}

static struct f80 make_zero(bool sign)
{
    return (struct f80){ 0, sign ? SIGN : 0 };
}

static struct f80 invalid(struct f80_ctx *ctx)
{
    ctx->flags |= F80_INVALID;
    return f80_default_nan;
}

static struct number number_of(struct f80 a)
{
    int exp = a.se & ONES, zeros = __builtin_clzll(a.sig);
    return (struct number){ sign_of(a), (exp ? exp : 1) - BIAS - zeros, a.sig << zeros };
}

static void note_denormals(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    if (ctx->denormal || f80_classify(a) == F80_DENORMAL_NUMBER ||
        f80_classify(b) == F80_DENORMAL_NUMBER)
        ctx->flags |= F80_DENORMAL;
}

/* SDM 1-4.8.3.5, table 4-7: the larger significand wins; a quiet NaN over a signalling one. */
bool f80_takes_nan(struct f80_ctx *ctx, struct f80 a, struct f80 b, struct f80 *r)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    if (ca > F80_NAN && cb > F80_NAN)
        return false;
    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED) {
        *r = invalid(ctx);
        return true;
    }
    bool nan_a = ca == F80_NAN, nan_b = cb == F80_NAN;
    bool signals_a = nan_a && !(a.sig & QUIET_BIT), signals_b = nan_b && !(b.sig & QUIET_BIT);
    bool first = nan_a;
    if (signals_a || signals_b)
        ctx->flags |= F80_INVALID;
    if (nan_a && nan_b) {
        if (signals_a != signals_b)
            first = !signals_a;
        else
            first = a.sig != b.sig ? a.sig > b.sig : !sign_of(a);
    }
    *r = first ? a : b;
    r->sig |= QUIET_BIT;
    return true;
}

/* ---- rounding ---------------------------------------------------------------------------------- */

static u128 shift_right_jam(u128 v, int n)
{
    if (n <= 0)
        return v;
    if (n > 127)
        return v != 0;
    return v >> n | ((v & (((u128)1 << n) - 1)) != 0);
}

/* Does a magnitude with the fraction rest / (2 * half) grow by one? */
static bool rounds_up(unsigned rounding, bool sign, bool odd, u128 rest, u128 half)
{
    switch (rounding) {
    case SF_RNE: return rest > half || (rest == half && odd);
    case SF_RDN: return sign && rest;
    case SF_RUP: return !sign && rest;
    default: return false;
    }
}

/* sig cut to `bits` bits below bit 128, whether that was inexact, and whether a carry came out. */
struct cut {
    u128 sig;
    bool inexact, up, carry;
};
static struct cut cut_to(const struct f80_ctx *ctx, unsigned bits, bool sign, u128 sig)
{
    u128 unit = (u128)1 << (128 - bits), rest = sig & (unit - 1);
    struct cut c = { .sig = sig - rest, .inexact = rest != 0 };
    c.up = rounds_up(ctx->rounding, sign, (sig & unit) != 0, rest, unit >> 1);
    if (c.up)
        c.sig += unit;
    c.carry = c.up && !c.sig;
    return c;
}

/* What a finite number becomes in a format: a significand with its leading one at bit 63 (lower: it is
 * subnormal, exp is the least one), or infinity. */
struct range {
    unsigned bits;
    int min, max;
    int wrap; /* what unmasked overflow subtracts from the exponent, 0: there is no result then */
};
struct packed {
    bool inf;
    int exp;
    uint64_t sig;
};

static struct packed pack_cut(struct cut c, int exp)
{
    if (c.carry)
        return (struct packed){ .exp = exp + 1, .sig = INTEGER_BIT };
    return (struct packed){ .exp = exp, .sig = (uint64_t)(c.sig >> 64) };
}

static void note_cut(struct f80_ctx *ctx, struct cut c)
{
    if (c.inexact)
        ctx->flags |= F80_INEXACT;
    ctx->up = c.up;
}

static struct packed overflow(struct f80_ctx *ctx, struct range to, bool sign)
{
    bool inf = ctx->rounding == SF_RNE || ctx->rounding == (sign ? SF_RDN : SF_RUP);
    ctx->flags |= F80_OVERFLOW | F80_INEXACT;
    ctx->up = inf;
    return (struct packed){ .inf = inf, .exp = to.max, .sig = UINT64_MAX << (64 - to.bits) };
}

static struct packed round_into(struct f80_ctx *ctx, struct range to, bool sign, int exp, u128 sig)
{
    struct cut c = cut_to(ctx, to.bits, sign, sig);
    struct packed p = pack_cut(c, exp);

    if (p.exp > to.max) {
        if (ctx->masked & F80_OVERFLOW)
            return overflow(ctx, to, sign);
        ctx->flags |= F80_OVERFLOW;
        if (!to.wrap)
            return p;
        p.exp -= to.wrap;
        if (p.exp > to.max) { /* FSCALE */
            ctx->flags |= F80_INEXACT;
            ctx->up = true;
            return (struct packed){ .inf = true, .exp = to.max };
        }
    } else if (p.exp < to.min) {
        if (ctx->masked & F80_UNDERFLOW) {
            c = cut_to(ctx, to.bits, sign, shift_right_jam(sig, to.min - exp));
            p = pack_cut(c, to.min);
            if (c.inexact)
                ctx->flags |= F80_UNDERFLOW;
        } else {
            ctx->flags |= F80_UNDERFLOW;
            if (!to.wrap)
                return p;
            p.exp += to.wrap;
            if (p.exp < to.min) {
                ctx->flags |= F80_INEXACT;
                return (struct packed){ .exp = to.min };
            }
        }
    }
    note_cut(ctx, c);
    return p;
}

static struct f80 round_to(struct f80_ctx *ctx, unsigned precision, bool sign, int exp, u128 sig)
{
    struct range to = { precision, EXP_MIN, EXP_MAX, WRAP };
    struct packed p = round_into(ctx, to, sign, exp, sig);
    if (p.inf)
        return make_inf(sign);
    unsigned biased = p.sig & INTEGER_BIT ? (unsigned)(p.exp + BIAS) : 0;
    return (struct f80){ p.sig, (uint16_t)(biased | (sign ? SIGN : 0)) };
}

struct f80 f80_round(struct f80_ctx *ctx, unsigned precision, bool sign, int exp, uint64_t high,
                     uint64_t low)
{
    return round_to(ctx, precision, sign, exp, (u128)high << 64 | low);
}

static struct f80 normalise_and_round(struct f80_ctx *ctx, unsigned precision, bool sign, int exp,
                                      u128 sig)
{
    uint64_t high = sig >> 64;
    int zeros = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sig);
    return round_to(ctx, precision, sign, exp - zeros, sig << zeros);
}

/* ---- arithmetic -------------------------------------------------------------------------------- */

static struct f80 add_numbers(struct f80_ctx *ctx, struct number a, struct number b)
{
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct number t = a;
        a = b;
        b = t;
    }
    u128 x = (u128)a.sig << 63, y = shift_right_jam((u128)b.sig << 63, a.exp - b.exp);
    u128 sum = a.sign == b.sign ? x + y : x - y;
    if (!sum)
        return make_zero(ctx->rounding == SF_RDN);
    return normalise_and_round(ctx, ctx->precision, a.sign, a.exp + 1, sum);
}

/* The common case: two normal numbers, and nothing that was met on their way. */
static bool are_plain(const struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    return (a.se & ONES) - 1u < ONES - 1u && (b.se & ONES) - 1u < ONES - 1u &&
           a.sig & b.sig & INTEGER_BIT && !ctx->denormal && !ctx->flags;
}

struct f80 f80_add(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    struct f80 r;
    if (are_plain(ctx, a, b))
        return add_numbers(ctx, number_of(a), number_of(b));
    if (f80_takes_nan(ctx, a, b, &r))
        return r;
    if (is_inf(a) && is_inf(b) && sign_of(a) != sign_of(b))
        return invalid(ctx);
    note_denormals(ctx, a, b);
    if (f80_stops(ctx))
        return a;
    if (is_zero(a) && is_zero(b))
        return sign_of(a) == sign_of(b) ? a : make_zero(ctx->rounding == SF_RDN);
    if (is_inf(a) || is_inf(b))
        return is_inf(a) ? a : b;
    if (is_zero(a) || is_zero(b)) {
        struct number n = number_of(is_zero(a) ? b : a);
        return round_to(ctx, ctx->precision, n.sign, n.exp, (u128)n.sig << 64);
    }
    return add_numbers(ctx, number_of(a), number_of(b));
}

struct f80 f80_sub(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    struct f80 r;
    if (!are_plain(ctx, a, b) && f80_takes_nan(ctx, a, b, &r)) /* the sign of a NaN stays */
        return r;
    b.se ^= SIGN;
    return f80_add(ctx, a, b);
}

static struct f80 multiply(struct f80_ctx *ctx, struct number x, struct number y)
{
    return normalise_and_round(ctx, ctx->precision, x.sign != y.sign, x.exp + y.exp + 1,
                               (u128)x.sig * y.sig);
}

struct f80 f80_mul(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    bool sign = sign_of(a) != sign_of(b);
    struct f80 r;
    if (are_plain(ctx, a, b))
        return multiply(ctx, number_of(a), number_of(b));
    if (f80_takes_nan(ctx, a, b, &r))
        return r;
    if ((is_inf(a) && is_zero(b)) || (is_zero(a) && is_inf(b)))
        return invalid(ctx);
    note_denormals(ctx, a, b);
    if (f80_stops(ctx))
        return a;
    if (is_inf(a) || is_inf(b))
        return make_inf(sign);
    if (is_zero(a) || is_zero(b))
        return make_zero(sign);
    return multiply(ctx, number_of(a), number_of(b));
}

static struct f80 divide(struct f80_ctx *ctx, struct number x, struct number y)
{
    u128 top = (u128)x.sig << 63, q = top / y.sig, rest = top % y.sig;
    u128 low = (rest << 62) / y.sig, left = (rest << 62) % y.sig;
    return normalise_and_round(ctx, ctx->precision, x.sign != y.sign, x.exp - y.exp + 2,
                               q << 62 | low | (left != 0));
}

struct f80 f80_div(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    bool sign = sign_of(a) != sign_of(b);
    struct f80 r;
    if (are_plain(ctx, a, b))
        return divide(ctx, number_of(a), number_of(b));
    if (f80_takes_nan(ctx, a, b, &r))
        return r;
    if ((is_inf(a) && is_inf(b)) || (is_zero(a) && is_zero(b)))
        return invalid(ctx);
    if (is_zero(b) && !is_inf(a)) {
        ctx->flags |= F80_DIV_BY_ZERO;
        return make_inf(sign);
    }
    note_denormals(ctx, a, b);
    if (f80_stops(ctx))
        return a;
    if (is_inf(a))
        return make_inf(sign);
    if (is_inf(b) || is_zero(a))
        return make_zero(sign);
    return divide(ctx, number_of(a), number_of(b));
}

/* The largest r with r * r <= v. */
static uint64_t root_of(u128 v)
{
    u128 rest = v, r = 0;
    for (u128 bit = (u128)1 << 126; bit; bit >>= 2) {
        bool take = rest >= r + bit;
        rest -= take ? r + bit : 0;
        r = (r >> 1) + (take ? bit : 0);
    }
    return (uint64_t)r;
}

struct f80 f80_sqrt(struct f80_ctx *ctx, struct f80 a)
{
    struct f80 r;
    if (f80_takes_nan(ctx, a, a, &r))
        return r;
    if (is_zero(a))
        return a;
    if (sign_of(a))
        return invalid(ctx);
    note_denormals(ctx, a, a);
    if (f80_stops(ctx) || is_inf(a))
        return a;
    struct number n = number_of(a);
    bool odd = n.exp & 1;
    u128 v = (u128)n.sig << (odd ? 64 : 63);
    uint64_t root = root_of(v);
    u128 rest = v - (u128)root * root;
    /* Between root and root + 1 the middle is passed when rest > root; it is never met. */
    u128 sig = (u128)root << 64 | (u128)(rest > root) << 63 | (rest != 0);
    return normalise_and_round(ctx, ctx->precision, false, (n.exp - odd) / 2, sig);
}

struct f80 f80_scale(struct f80_ctx *ctx, struct f80 a, struct f80 b)
{
    struct f80 r;
    if (f80_takes_nan(ctx, a, b, &r))
        return r;
    if (is_inf(b)) {
        if (sign_of(b) ? is_inf(a) : is_zero(a))
            return invalid(ctx);
        note_denormals(ctx, a, b);
        return f80_stops(ctx) ? a : sign_of(b) ? make_zero(sign_of(a)) : make_inf(sign_of(a));
    }
    note_denormals(ctx, a, b);
    if (f80_stops(ctx) || is_zero(a) || is_inf(a))
        return a;
    int by = 0;
    if (!is_zero(b)) {
        struct number n = number_of(b);
        by = n.exp < 0 ? 0 : n.exp > 16 ? 1 << 17 : (int)(n.sig >> (63 - n.exp));
        by = n.sign ? -by : by;
    }
    struct number n = number_of(a);
    return round_to(ctx, 64, n.sign, n.exp + by, (u128)n.sig << 64);
}

/* An integer's magnitude and what rounding to it did. exp is below 63. */
static uint64_t round_number(const struct f80_ctx *ctx, struct number n, unsigned rounding,
                             bool *inexact, bool *up)
{
    u128 v = shift_right_jam((u128)n.sig << 62, 63 - n.exp);
    u128 unit = (u128)1 << 62, rest = v & (unit - 1);
    *inexact = rest != 0;
    *up = rounds_up(rounding, n.sign, (v & unit) != 0, rest, unit >> 1);
    return (uint64_t)(v >> 62) + *up;
}

struct f80 f80_round_to_int(struct f80_ctx *ctx, struct f80 a)
{
    struct f80 r;
    bool inexact, up;
    if (f80_takes_nan(ctx, a, a, &r))
        return r;
    note_denormals(ctx, a, a);
    if (f80_stops(ctx) || is_zero(a) || is_inf(a))
        return a;
    struct number n = number_of(a);
    if (n.exp >= 63)
        return a;
    uint64_t v = round_number(ctx, n, ctx->rounding, &inexact, &up);
    if (inexact)
        ctx->flags |= F80_INEXACT;
    ctx->up = up;
    if (!v)
        return make_zero(n.sign);
    int zeros = __builtin_clzll(v);
    return (struct f80){ v << zeros, (uint16_t)((BIAS + 63 - zeros) | (n.sign ? SIGN : 0)) };
}

/* a and b finite, not zero. SDM 2-3.2, FPREM: a partial reduction takes 32 to 63 bits off the exponent. */
static struct f80 reduce(struct f80_ctx *ctx, struct number a, struct number b, bool nearest,
                         int *quotient)
{
    int d = a.exp - b.exp, n = d < 64 ? d : 32 + d % 32;
    u128 q = 0, rest = a.sig, by = b.sig;
    int exp = b.exp + (d - n); /* of by */
    bool sign = a.sign;

    *quotient = 0;
    if (d < -1 || (d < 0 && !nearest)) /* a is the remainder */
        return round_to(ctx, 64, a.sign, a.exp, (u128)a.sig << 64);
    if (d < 0) {
        by <<= 1;
        exp = a.exp;
    } else {
        rest <<= n;
    }
    q = rest / by;
    rest %= by;
    if (d >= 64) {
        *quotient = -1;
    } else {
        if (nearest && (2 * rest > by || (2 * rest == by && (q & 1)))) {
            rest = by - rest;
            sign = !sign;
            q++;
        }
        *quotient = (int)(q & 7);
    }
    if (!rest)
        return make_zero(a.sign);
    return normalise_and_round(ctx, 64, sign, exp + 64, rest);
}

struct f80 f80_rem(struct f80_ctx *ctx, struct f80 a, struct f80 b, bool nearest, int *quotient)
{
    struct f80 r;
    *quotient = 0;
    if (f80_takes_nan(ctx, a, b, &r))
        return r;
    if (is_inf(a) || is_zero(b))
        return invalid(ctx);
    note_denormals(ctx, a, b);
    if (f80_stops(ctx) || is_zero(a))
        return a;
    if (is_inf(b)) {
        struct number n = number_of(a);
        return round_to(ctx, 64, n.sign, n.exp, (u128)n.sig << 64);
    }
    return reduce(ctx, number_of(a), number_of(b), nearest, quotient);
}

struct f80 f80_extract(struct f80_ctx *ctx, struct f80 a, struct f80 *significand)
{
    struct f80 r;
    *significand = a;
    if (f80_takes_nan(ctx, a, a, &r)) {
        *significand = r;
        return r;
    }
    if (is_inf(a))
        return make_inf(false);
    if (is_zero(a)) {
        ctx->flags |= F80_DIV_BY_ZERO;
        return make_inf(true);
    }
    note_denormals(ctx, a, a);
    struct number n = number_of(a);
    *significand = (struct f80){ n.sig, (uint16_t)(BIAS | (n.sign ? SIGN : 0)) };
    return f80_from_int(n.exp);
}

enum sf_order f80_compare(struct f80_ctx *ctx, struct f80 a, struct f80 b, bool quiet)
{
    struct f80 r;
    bool plain = are_plain(ctx, a, b);
    if (!plain && f80_takes_nan(ctx, a, b, &r)) {
        if (!quiet)
            ctx->flags |= F80_INVALID;
        return SF_UNORDERED;
    }
    if (!plain)
        note_denormals(ctx, a, b);
    if (is_zero(a) && is_zero(b))
        return SF_EQUAL;
    if (sign_of(a) != sign_of(b))
        return sign_of(a) ? SF_LESS : SF_GREATER;
    unsigned ea = a.se & ONES, eb = b.se & ONES;
    ea = ea ? ea : 1; /* a pseudo-denormal equals the normal number with its significand */
    eb = eb ? eb : 1;
    if (ea == eb && a.sig == b.sig)
        return SF_EQUAL;
    bool less = a.sig == 0 || b.sig == 0 ? a.sig == 0 : ea != eb ? ea < eb : a.sig < b.sig;
    return less != sign_of(a) ? SF_LESS : SF_GREATER;
}

/* ---- conversions ------------------------------------------------------------------------------- */

struct ieee {
    int frac_bits, bias;
    uint64_t ones; /* of the exponent field */
};
static const struct ieee ieees[] = { [SF_F32] = { 23, 127, 0xff }, [SF_F64] = { 52, 1023, 0x7ff } };

struct f80 f80_widen(struct f80_ctx *ctx, enum sf_format f, uint64_t bits)
{
    const struct ieee *ie = &ieees[f];
    uint64_t frac = bits & (((uint64_t)1 << ie->frac_bits) - 1),
             biased = bits >> ie->frac_bits & ie->ones;
    uint64_t sig = frac << (63 - ie->frac_bits);
    uint16_t sign = bits >> ie->frac_bits & (ie->ones + 1) ? SIGN : 0;

    if (biased == ie->ones)
        return (struct f80){ sig | INTEGER_BIT, ONES | sign };
    if (biased)
        return (struct f80){ sig | INTEGER_BIT,
                             (uint16_t)(sign | ((int)biased - ie->bias + BIAS)) };
    if (!frac)
        return (struct f80){ 0, sign };
    ctx->denormal = true;
    int zeros = __builtin_clzll(sig);
    return (struct f80){ sig << zeros, (uint16_t)(sign | (1 - ie->bias - zeros + BIAS)) };
}

struct f80 f80_from_float(struct f80_ctx *ctx, enum sf_format f, uint64_t bits)
{
    struct f80 r = f80_widen(ctx, f, bits), nan;
    if (f80_takes_nan(ctx, r, r, &nan))
        return nan;
    note_denormals(ctx, r, r);
    return r;
}

uint64_t f80_to_float(struct f80_ctx *ctx, enum sf_format f, struct f80 a)
{
    const struct ieee *ie = &ieees[f];
    uint64_t sign = sign_of(a) ? (ie->ones + 1) << ie->frac_bits : 0,
             inf = ie->ones << ie->frac_bits;
    unsigned drop = 63 - (unsigned)ie->frac_bits;
    struct f80 nan;

    if (f80_takes_nan(ctx, a, a, &nan)) {
        sign = sign_of(nan) ? (ie->ones + 1) << ie->frac_bits : 0;
        return sign | inf | (nan.sig & ~INTEGER_BIT) >> drop;
    }
    if (is_zero(a))
        return sign;
    if (is_inf(a))
        return sign | inf;
    struct number n = number_of(a);
    struct range to = { (unsigned)ie->frac_bits + 1, 1 - ie->bias, ie->bias, 0 };
    struct packed p = round_into(ctx, to, n.sign, n.exp, (u128)n.sig << 64);
    if (p.inf)
        return sign | inf;
    /* The integer bit adds one to the exponent field. */
    return sign | (((uint64_t)(p.exp - to.min) << ie->frac_bits) + (p.sig >> drop));
}

struct f80 f80_from_int(int64_t v)
{
    uint64_t magnitude = v < 0 ? -(uint64_t)v : (uint64_t)v;
    if (!v)
        return f80_zero;
    int zeros = __builtin_clzll(magnitude);
    return (struct f80){ magnitude << zeros, (uint16_t)((BIAS + 63 - zeros) | (v < 0 ? SIGN : 0)) };
}

/* The magnitude of a rounded to an integer; false if it is over `most` or a is no number. */
static bool to_magnitude(struct f80_ctx *ctx, struct f80 a, unsigned rounding, uint64_t most,
                         uint64_t *v)
{
    bool inexact, up;
    *v = 0;
    if (is_zero(a))
        return true;
    if (f80_classify(a) != F80_NORMAL && f80_classify(a) != F80_DENORMAL_NUMBER)
        return false;
    struct number n = number_of(a);
    if (n.exp > 63)
        return false;
    inexact = up = false;
    *v = n.exp == 63 ? n.sig : round_number(ctx, n, rounding, &inexact, &up);
    if (*v > most)
        return false;
    if (inexact)
        ctx->flags |= F80_INEXACT;
    ctx->up = up;
    return true;
}

int64_t f80_to_int(struct f80_ctx *ctx, struct f80 a, unsigned width, bool truncate)
{
    uint64_t least = (uint64_t)1 << (width - 1), v;
    if (!to_magnitude(ctx, a, truncate ? SF_RTZ : ctx->rounding, least - !sign_of(a), &v)) {
        ctx->flags |= F80_INVALID;
        return -(int64_t)(least - 1) - 1;
    }
    return (int64_t)(sign_of(a) ? -v : v);
}

struct f80 f80_from_bcd(const uint8_t bcd[10])
{
    uint64_t v = 0;
    for (int i = 8; i >= 0; i--)
        v = v * 100 + (bcd[i] >> 4) * 10u + (bcd[i] & 15);
    struct f80 r = f80_from_int((int64_t)v);
    r.se |= bcd[9] & 0x80 ? SIGN : 0;
    return r;
}

void f80_to_bcd(struct f80_ctx *ctx, struct f80 a, uint8_t bcd[10])
{
    static const uint8_t indefinite[10] = { [7] = 0xc0, 0xff, 0xff };
    uint64_t v;
    if (!to_magnitude(ctx, a, ctx->rounding, 999999999999999999, &v)) {
        ctx->flags |= F80_INVALID;
        memcpy(bcd, indefinite, 10);
        return;
    }
    for (int i = 0; i < 9; i++, v /= 100)
        bcd[i] = (uint8_t)(v % 100 / 10 << 4 | v % 10);
    bcd[9] = sign_of(a) ? 0x80 : 0;
}
