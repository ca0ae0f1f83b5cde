/* Every operation unpacks, computes on `struct number`, and rounds once in pack(). Section numbers:
 * IEEE 754-2019.
 *
 * A significand is 128 bits wide with its leading one at bit 126: bit 127 takes a carry, and what falls
 * off the low end is or-ed into bit 0 ("jammed"), where it still decides every rounding. That is room
 * for the sum of any two formats up to binary128, and for exact products of significands of up to 63
 * bits, which fma relies on; mul, div and sqrt keep 64 bits of their operands. */
#include "tcg/softfloat.h"

#include <stddef.h>

typedef unsigned __int128 u128;

enum { LEAD = 126 };

enum kind { ZERO, FINITE, INF, QUIET, SIGNALLING };

/* FINITE is (-1)^sign * sig / 2^LEAD * 2^exp. The NaNs keep their payload below LEAD. */
struct number {
    enum kind kind;
    bool sign;
    int exp;
    u128 sig;
};

static const struct format {
    uint8_t exp_bits, frac_bits;
} formats[SF_N_FORMATS] = {
    [SF_F16] = { 5, 10 },
    [SF_F32] = { 8, 23 },
    [SF_F64] = { 11, 52 },
};

static const struct nan_rule {
    bool propagate;             /* give an operand's NaN, not the default one */
    bool signalling_first;      /* prefer a signalling NaN over an earlier quiet one */
    bool addend_first;          /* an fma looks at its addend before its factors */
    bool addend_hides_zero_inf; /* 0 * inf + quiet NaN is that NaN and not invalid */
    bool negative;              /* sign of the default NaN */
} nan_rules[] = {
    [SF_NAN_CANONICAL] = { .propagate = false },
    [SF_NAN_SSE] = { .propagate = true, .addend_hides_zero_inf = true, .negative = true },
    [SF_NAN_ARM] = { .propagate = true, .signalling_first = true, .addend_first = true },
};

static uint64_t low_bits(int n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static int bias(const struct format *fm)
{
    return (1 << (fm->exp_bits - 1)) - 1;
}

static uint64_t sign_bit(const struct format *fm)
{
    return UINT64_C(1) << (fm->exp_bits + fm->frac_bits);
}

/* The encoding of plus infinity; less one it is the largest finite magnitude. */
static uint64_t infinity(const struct format *fm)
{
    return low_bits(fm->exp_bits) << fm->frac_bits;
}

static u128 shift_right_jam(u128 v, int n)
{
    if (n <= 0)
        return v;
    if (n > 127)
        return v != 0;
    return v >> n | ((v & (((u128)1 << n) - 1)) != 0);
}

/* Move the leading one of a FINITE number (sig is not zero) to LEAD. */
static struct number normalise(struct number n)
{
    uint64_t high = n.sig >> 64;
    int zeros = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)n.sig);
    int up = zeros - (127 - LEAD);
    n.sig = up < 0 ? shift_right_jam(n.sig, -up) : n.sig << up;
    n.exp -= up;
    return n;
}

static struct number unpack(const struct sf_ctx *ctx, enum sf_format f, uint64_t bits)
{
    const struct format *fm = &formats[f];
    uint64_t frac = bits & low_bits(fm->frac_bits);
    int biased = bits >> fm->frac_bits & low_bits(fm->exp_bits);
    struct number n = {
        .kind = FINITE,
        .sign = bits & sign_bit(fm),
        .exp = biased - bias(fm),
        .sig = (u128)frac << (LEAD - fm->frac_bits),
    };

    if (biased == (int)low_bits(fm->exp_bits)) {
        n.kind = !frac ? INF : frac >> (fm->frac_bits - 1) ? QUIET : SIGNALLING;
    } else if (biased) {
        n.sig |= (u128)1 << LEAD;
    } else if (!frac || ctx->flush_inputs) {
        n.kind = ZERO;
    } else {
        n.exp++;
        n = normalise(n);
    }
    return n;
}

static bool is_nan(struct number n)
{
    return n.kind >= QUIET;
}

/* Does a magnitude with the fraction rest / (2 * half) grow by one? (4.3) */
static bool rounds_up(const struct sf_ctx *ctx, bool sign, bool odd, u128 rest, u128 half)
{
    switch (ctx->rounding) {
    case SF_RNE: return rest > half || (rest == half && odd);
    case SF_RDN: return sign && rest;
    case SF_RUP: return !sign && rest;
    case SF_RMM: return rest >= half;
    case SF_ODD: return !odd && rest;
    default: return false;
    }
}

/* With an exponent without end: is the rounded number another one? */
static void note_inexact(struct sf_ctx *ctx, const struct format *fm, struct number n)
{
    if (n.sig & (((u128)1 << (LEAD - fm->frac_bits)) - 1))
        ctx->flags |= SF_INEXACT;
}

static uint64_t overflow(struct sf_ctx *ctx, const struct format *fm, struct number n)
{
    bool sign = n.sign;
    bool to_inf = ctx->rounding == SF_RNE || ctx->rounding == SF_RMM ||
                  ctx->rounding == (sign ? SF_RDN : SF_RUP);
    ctx->flags |= SF_OVERFLOW;
    if (ctx->trap_overflow)
        note_inexact(ctx, fm, n);
    else
        ctx->flags |= SF_INEXACT;
    return infinity(fm) - !to_inf;
}

/* Magnitude bits of a FINITE number, rounded; the flags of 7.4 to 7.6. */
static uint64_t pack_finite(struct sf_ctx *ctx, const struct format *fm, struct number n)
{
    int drop = LEAD - fm->frac_bits, exp_min = 1 - bias(fm);
    u128 half = (u128)1 << (drop - 1), rest_mask = ((u128)1 << drop) - 1;
    bool tiny = n.exp < exp_min;

    if (n.exp > bias(fm))
        return overflow(ctx, fm, n);
    if (tiny) {
        /* After rounding only what becomes the smallest normal number is not tiny. */
        if (!ctx->tininess_before && n.exp == exp_min - 1) {
            uint64_t kept = n.sig >> drop;
            kept += rounds_up(ctx, n.sign, kept & 1, n.sig & rest_mask, half);
            tiny = kept <= low_bits(fm->frac_bits + 1);
        }
        if (tiny && ctx->trap_underflow) {
            ctx->flags |= SF_UNDERFLOW;
            note_inexact(ctx, fm, n);
            return 0; /* nobody sees it */
        }
        if (tiny && ctx->flush_results) {
            ctx->flags |= SF_UNDERFLOW | SF_INEXACT;
            return 0;
        }
        n.sig = shift_right_jam(n.sig, exp_min - n.exp);
        n.exp = exp_min;
    }
    u128 rest = n.sig & rest_mask;
    uint64_t kept = n.sig >> drop;
    kept += rounds_up(ctx, n.sign, kept & 1, rest, half);
    /* The integer bit in `kept` adds one to the exponent field: subnormals and carries come right. */
    uint64_t bits = ((uint64_t)(n.exp - exp_min) << fm->frac_bits) + kept;
    if (bits >= infinity(fm))
        return overflow(ctx, fm, n);
    if (rest)
        ctx->flags |= SF_INEXACT | (tiny ? SF_UNDERFLOW : 0);
    return bits;
}

static uint64_t pack(struct sf_ctx *ctx, enum sf_format f, struct number n)
{
    const struct format *fm = &formats[f];
    uint64_t bits = 0;

    switch (n.kind) {
    case ZERO: break;
    case FINITE: bits = pack_finite(ctx, fm, n); break;
    case INF: bits = infinity(fm); break;
    default:
        bits = infinity(fm) | (uint64_t)(n.sig >> (LEAD - fm->frac_bits)) |
               UINT64_C(1) << (fm->frac_bits - 1);
    }
    return n.sign ? bits | sign_bit(fm) : bits;
}

static struct number default_nan(const struct sf_ctx *ctx)
{
    return (struct number){ .kind = QUIET, .sign = nan_rules[ctx->nan_rule].negative };
}

static struct number invalid(struct sf_ctx *ctx)
{
    ctx->flags |= SF_INVALID;
    return default_nan(ctx);
}

/* The result of an operation that has at least one NaN among its n operands (6.2). */
static struct number choose_nan(struct sf_ctx *ctx, const struct number *in, int n)
{
    const struct nan_rule *rule = &nan_rules[ctx->nan_rule];
    const struct number *first = NULL, *signalling = NULL;

    for (int i = n - 1; i >= 0; i--) {
        if (is_nan(in[i]))
            first = &in[i];
        if (in[i].kind == SIGNALLING)
            signalling = &in[i];
    }
    if (signalling)
        ctx->flags |= SF_INVALID;
    if (!rule->propagate)
        return default_nan(ctx);
    return signalling && rule->signalling_first ? *signalling : *first;
}

static struct number choose_nan2(struct sf_ctx *ctx, struct number a, struct number b)
{
    return choose_nan(ctx, (struct number[]){ a, b }, 2);
}

/* The sum of two FINITE numbers. */
static struct number add_finite(const struct sf_ctx *ctx, struct number a, struct number b)
{
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct number t = a;
        a = b;
        b = t;
    }
    b.sig = shift_right_jam(b.sig, a.exp - b.exp);
    a.sig = a.sign == b.sign ? a.sig + b.sig : a.sig - b.sig;
    if (!a.sig)
        return (struct number){ .kind = ZERO, .sign = ctx->rounding == SF_RDN };
    return normalise(a);
}

static struct number add_numbers(struct sf_ctx *ctx, struct number a, struct number b)
{
    if (is_nan(a) || is_nan(b))
        return choose_nan2(ctx, a, b);
    if (a.kind == INF && b.kind == INF && a.sign != b.sign)
        return invalid(ctx);
    if (a.kind == ZERO && b.kind == ZERO) {
        if (a.sign != b.sign) /* 6.3 */
            a.sign = ctx->rounding == SF_RDN;
        return a;
    }
    if (a.kind == INF || b.kind == ZERO)
        return a;
    if (b.kind == INF || a.kind == ZERO)
        return b;
    return add_finite(ctx, a, b);
}

static struct number mul_numbers(struct sf_ctx *ctx, struct number a, struct number b)
{
    if (is_nan(a) || is_nan(b))
        return choose_nan2(ctx, a, b);
    if ((a.kind == INF && b.kind == ZERO) || (a.kind == ZERO && b.kind == INF))
        return invalid(ctx);

    struct number n = { .kind = FINITE, .sign = a.sign != b.sign };
    if (a.kind == INF || b.kind == INF) {
        n.kind = INF;
    } else if (a.kind == ZERO || b.kind == ZERO) {
        n.kind = ZERO;
    } else {
        n.exp = a.exp + b.exp;
        n.sig = (u128)(uint64_t)(a.sig >> (LEAD - 63)) * (uint64_t)(b.sig >> (LEAD - 63));
        n = normalise(n);
    }
    return n;
}

static struct number div_numbers(struct sf_ctx *ctx, struct number a, struct number b)
{
    if (is_nan(a) || is_nan(b))
        return choose_nan2(ctx, a, b);
    if (a.kind == b.kind && a.kind != FINITE)
        return invalid(ctx);

    struct number n = { .kind = FINITE, .sign = a.sign != b.sign };
    if (a.kind == INF || b.kind == ZERO) {
        n.kind = INF;
        if (a.kind == FINITE)
            ctx->flags |= SF_DIV_BY_ZERO;
    } else if (a.kind == ZERO || b.kind == INF) {
        n.kind = ZERO;
    } else {
        uint64_t divisor = b.sig >> (LEAD - 63);
        u128 quotient = a.sig / divisor; /* of 63 or 64 bits */
        n.exp = a.exp - b.exp;
        n.sig = quotient << 63 | (a.sig != quotient * divisor);
        n = normalise(n);
    }
    return n;
}

static struct number sqrt_number(struct sf_ctx *ctx, struct number a)
{
    if (is_nan(a))
        return choose_nan(ctx, &a, 1);
    if (a.kind == ZERO)
        return a;
    if (a.sign)
        return invalid(ctx);
    if (a.kind == INF)
        return a;

    bool odd = a.exp & 1;
    u128 rest = a.sig << odd, root = 0;
    for (u128 bit = (u128)1 << 126; bit; bit >>= 2) {
        u128 step = root + bit;
        root >>= 1;
        if (rest >= step) {
            rest -= step;
            root += bit;
        }
    }
    a.exp = (a.exp - odd) / 2;
    a.sig = root << 63 | (rest != 0);
    return a;
}

uint64_t sf_add(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    return pack(ctx, f, add_numbers(ctx, unpack(ctx, f, a), unpack(ctx, f, b)));
}

uint64_t sf_sub(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    struct number y = unpack(ctx, f, b);
    if (!is_nan(y))
        y.sign = !y.sign;
    return pack(ctx, f, add_numbers(ctx, unpack(ctx, f, a), y));
}

uint64_t sf_mul(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    return pack(ctx, f, mul_numbers(ctx, unpack(ctx, f, a), unpack(ctx, f, b)));
}

uint64_t sf_div(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    return pack(ctx, f, div_numbers(ctx, unpack(ctx, f, a), unpack(ctx, f, b)));
}

uint64_t sf_sqrt(struct sf_ctx *ctx, enum sf_format f, uint64_t a)
{
    return pack(ctx, f, sqrt_number(ctx, unpack(ctx, f, a)));
}

/* The NaN that an fma gives; at least one of x, y, z is one. */
static struct number fma_nan(struct sf_ctx *ctx, struct number x, struct number y, struct number z)
{
    const struct nan_rule *rule = &nan_rules[ctx->nan_rule];
    bool zero_inf = (x.kind == ZERO && y.kind == INF) || (x.kind == INF && y.kind == ZERO);

    if (zero_inf && z.kind == QUIET && !rule->addend_hides_zero_inf)
        return invalid(ctx);
    if (rule->addend_first)
        return choose_nan(ctx, (struct number[]){ z, x, y }, 3);
    return choose_nan(ctx, (struct number[]){ x, y, z }, 3);
}

uint64_t sf_fma(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b, uint64_t c,
                unsigned negate)
{
    struct number x = unpack(ctx, f, a), y = unpack(ctx, f, b), z = unpack(ctx, f, c);
    if (is_nan(x) || is_nan(y) || is_nan(z))
        return pack(ctx, f, fma_nan(ctx, x, y, z));

    struct number product = mul_numbers(ctx, x, y);
    if (!is_nan(product))
        product.sign ^= !!(negate & SF_NEGATE_PRODUCT);
    z.sign ^= !!(negate & SF_NEGATE_ADDEND);
    return pack(ctx, f, add_numbers(ctx, product, z));
}

/* A number's place in the order of 5.11, from its bits: two zeros compare equal. */
static int64_t order_key(const struct sf_ctx *ctx, enum sf_format f, uint64_t bits)
{
    const struct format *fm = &formats[f];
    int64_t magnitude = bits & (sign_bit(fm) - 1);
    if (ctx->flush_inputs && magnitude <= (int64_t)low_bits(fm->frac_bits))
        magnitude = 0;
    return bits & sign_bit(fm) ? -magnitude : magnitude;
}

enum sf_order sf_compare(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b,
                         bool signalling)
{
    enum kind ka = unpack(ctx, f, a).kind, kb = unpack(ctx, f, b).kind;
    if (ka == SIGNALLING || kb == SIGNALLING || (signalling && (ka == QUIET || kb == QUIET)))
        ctx->flags |= SF_INVALID;
    if (ka >= QUIET || kb >= QUIET)
        return SF_UNORDERED;
    int64_t x = order_key(ctx, f, a), y = order_key(ctx, f, b);
    return x < y ? SF_LESS : x > y ? SF_GREATER : SF_EQUAL;
}

/* minimumNumber, maximumNumber (9.6) */
static uint64_t min_max(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b, bool max)
{
    struct number x = unpack(ctx, f, a), y = unpack(ctx, f, b);
    if (is_nan(x) || is_nan(y)) {
        struct number nan = choose_nan2(ctx, x, y);
        return pack(ctx, f, !is_nan(x) ? x : !is_nan(y) ? y : nan);
    }
    int64_t ka = order_key(ctx, f, a), kb = order_key(ctx, f, b);
    bool a_less = ka < kb || (ka == kb && x.sign);
    return pack(ctx, f, a_less != max ? x : y);
}

uint64_t sf_min(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    return min_max(ctx, f, a, b, false);
}

uint64_t sf_max(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b)
{
    return min_max(ctx, f, a, b, true);
}

enum sf_class sf_classify(enum sf_format f, uint64_t a)
{
    const struct format *fm = &formats[f];
    struct sf_ctx plain = { 0 };
    struct number n = unpack(&plain, f, a);

    switch (n.kind) {
    case ZERO: return n.sign ? SF_NEG_ZERO : SF_POS_ZERO;
    case INF: return n.sign ? SF_NEG_INF : SF_POS_INF;
    case QUIET: return SF_QUIET_NAN;
    case SIGNALLING: return SF_SIGNALLING_NAN;
    default: break;
    }
    if (n.exp < 1 - bias(fm))
        return n.sign ? SF_NEG_SUBNORMAL : SF_POS_SUBNORMAL;
    return n.sign ? SF_NEG_NORMAL : SF_POS_NORMAL;
}

uint64_t sf_convert(struct sf_ctx *ctx, enum sf_format from, enum sf_format to, uint64_t a)
{
    struct number n = unpack(ctx, from, a);
    return pack(ctx, to, is_nan(n) ? choose_nan(ctx, &n, 1) : n);
}

/* Round a FINITE number below 2^64 to an integral magnitude. */
static u128 round_to_integer(const struct sf_ctx *ctx, struct number n, bool *inexact)
{
    u128 quarters = shift_right_jam(n.sig, LEAD - 2 - n.exp);
    u128 whole = quarters >> 2;
    *inexact = quarters & 3;
    return whole + rounds_up(ctx, n.sign, whole & 1, quarters & 3, 2);
}

uint64_t sf_to_int(struct sf_ctx *ctx, enum sf_format f, uint64_t a, enum sf_int to)
{
    static const struct {
        uint64_t most, least; /* magnitudes of the largest and smallest value */
    } limits[] = {
        [SF_I32] = { INT32_MAX, UINT64_C(1) << 31 },
        [SF_U32] = { UINT32_MAX, 0 },
        [SF_I64] = { INT64_MAX, UINT64_C(1) << 63 },
        [SF_U64] = { UINT64_MAX, 0 },
    };
    struct number n = unpack(ctx, f, a);
    bool negative = n.sign && !is_nan(n), inexact = false, fits = n.kind == ZERO;
    uint64_t limit = negative ? limits[to].least : limits[to].most;
    u128 magnitude = 0;

    if (n.kind == FINITE && n.exp < 64) {
        magnitude = round_to_integer(ctx, n, &inexact);
        fits = magnitude <= limit;
    }
    if (!fits)
        magnitude = limit;
    ctx->flags |= !fits ? SF_INVALID : inexact ? SF_INEXACT : 0;
    return negative ? -(uint64_t)magnitude : (uint64_t)magnitude;
}

static struct number number_from(bool sign, uint64_t magnitude)
{
    if (!magnitude)
        return (struct number){ .kind = ZERO, .sign = sign };
    return normalise((struct number){ FINITE, sign, LEAD, magnitude });
}

uint64_t sf_from_int(struct sf_ctx *ctx, enum sf_format f, uint64_t value, enum sf_int from)
{
    if (from == SF_I32)
        value = (uint64_t)(int32_t)value;
    else if (from == SF_U32)
        value = (uint32_t)value;
    bool negative = (from == SF_I32 || from == SF_I64) && value >> 63;
    return pack(ctx, f, number_from(negative, negative ? -value : value));
}

uint64_t sf_round(struct sf_ctx *ctx, enum sf_format f, uint64_t a, bool raise_inexact)
{
    struct number n = unpack(ctx, f, a);
    if (is_nan(n)) {
        n = choose_nan(ctx, &n, 1);
    } else if (n.kind == FINITE && n.exp < formats[f].frac_bits) {
        bool inexact;
        n = number_from(n.sign, (uint64_t)round_to_integer(ctx, n, &inexact));
        if (inexact && raise_inexact)
            ctx->flags |= SF_INEXACT;
    }
    return pack(ctx, f, n);
}

uint64_t sf_default_nan(const struct sf_ctx *ctx, enum sf_format f)
{
    struct sf_ctx unused = *ctx;
    return pack(&unused, f, default_nan(ctx));
}
