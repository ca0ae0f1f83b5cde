/* softfloat against the host's own arithmetic (binary32, binary64), against exact integers with an
 * independent rounding (binary16), and against results worked out by hand. */
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "tcg/softfloat.h"

#if defined(__x86_64__)
enum { HOST_NAN_RULE = SF_NAN_SSE, HOST_TININESS_BEFORE = 0 };
#elif defined(__aarch64__)
enum { HOST_NAN_RULE = SF_NAN_ARM, HOST_TININESS_BEFORE = 1 };
#else
enum { HOST_NAN_RULE = SF_NAN_CANONICAL, HOST_TININESS_BEFORE = 0 };
#endif

enum op { ADD, SUB, MUL, DIV, SQRT, FMA, FMS, FNMA, N_OPS };

static uint64_t random_state = 88172645463325252u;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static const int exp_bits[] = { [SF_F16] = 5, [SF_F32] = 8, [SF_F64] = 11 };
static const int frac_bits[] = { [SF_F16] = 10, [SF_F32] = 23, [SF_F64] = 52 };

static uint64_t sign_of(enum sf_format f)
{
    return UINT64_C(1) << (exp_bits[f] + frac_bits[f]);
}

static uint64_t inf_of(enum sf_format f)
{
    return sign_of(f) - (UINT64_C(1) << frac_bits[f]);
}

static uint64_t one_of(enum sf_format f)
{
    return (inf_of(f) >> 1) & ~((UINT64_C(1) << frac_bits[f]) - 1);
}

static bool is_nan(enum sf_format f, uint64_t v)
{
    return (v & (sign_of(f) - 1)) > inf_of(f);
}

static bool is_quiet(enum sf_format f, uint64_t v)
{
    return is_nan(f, v) && v >> (frac_bits[f] - 1) & 1;
}

/* Values at which formats change their behaviour; returns their number. */
static size_t corners(enum sf_format f, uint64_t out[64])
{
    uint64_t ulp = UINT64_C(1) << frac_bits[f], one = one_of(f), inf = inf_of(f);
    const uint64_t list[] = {
        0,
        1,
        2,
        ulp / 2,
        ulp - 1,
        ulp,
        ulp + 1,
        2 * ulp,
        one - ulp,
        one - 1,
        one,
        one + 1,
        one + ulp / 2,
        one + ulp,
        one + frac_bits[f] * ulp,
        one + (frac_bits[f] + 1) * ulp,
        one + 2 * ulp - 1,
        one / 2,
        one + (inf - one) / 2,
        inf - ulp,
        inf - 1,
        inf,
        inf + 1,
        inf + ulp / 2,
        inf + ulp / 2 + 5,
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        out[2 * i] = list[i];
        out[2 * i + 1] = list[i] | sign_of(f);
    }
    return 2 * ARRAY_LEN(list);
}

/* A value whose exponent is often near `near`'s, so that operations have something to cancel. */
static uint64_t random_value(enum sf_format f, uint64_t near)
{
    uint64_t v = random_u64(), frac = (UINT64_C(1) << frac_bits[f]) - 1;
    switch (v >> 60 & 3) {
    case 0: break;
    case 1: v = near + (((v >> 40 & 7) - 4) << frac_bits[f]); break;
    case 2: v &= ~(frac >> (v & 31)); break; /* few fraction bits: ties */
    case 3: v = (near & ~frac) | (v & frac); break;
    }
    if ((v >> 50 & 15) == 0)
        v = (v & frac) | (v & sign_of(f)); /* subnormal */
    return v & (sign_of(f) | (sign_of(f) - 1));
}

static uint64_t soft_op(struct sf_ctx *ctx, enum op op, enum sf_format f, const uint64_t v[3])
{
    switch (op) {
    case ADD: return sf_add(ctx, f, v[0], v[1]);
    case SUB: return sf_sub(ctx, f, v[0], v[1]);
    case MUL: return sf_mul(ctx, f, v[0], v[1]);
    case DIV: return sf_div(ctx, f, v[0], v[1]);
    case SQRT: return sf_sqrt(ctx, f, v[0]);
    case FMA: return sf_fma(ctx, f, v[0], v[1], v[2], 0);
    case FMS: return sf_fma(ctx, f, v[0], v[1], v[2], SF_NEGATE_ADDEND);
    default: return sf_fma(ctx, f, v[0], v[1], v[2], SF_NEGATE_PRODUCT);
    }
}

/* ---- The host's arithmetic. Everything is volatile, so that it happens between the fenv calls. ---- */

static const int host_rounding[] = {
    [SF_RNE] = FE_TONEAREST,
    [SF_RTZ] = FE_TOWARDZERO,
    [SF_RDN] = FE_DOWNWARD,
    [SF_RUP] = FE_UPWARD,
};

static void host_begin(int rounding)
{
    fesetround(host_rounding[rounding]);
    feclearexcept(FE_ALL_EXCEPT);
}

static uint8_t host_end(void)
{
    int e = fetestexcept(FE_ALL_EXCEPT);
    fesetround(FE_TONEAREST);
    return (e & FE_INEXACT ? SF_INEXACT : 0) | (e & FE_UNDERFLOW ? SF_UNDERFLOW : 0) |
           (e & FE_OVERFLOW ? SF_OVERFLOW : 0) | (e & FE_DIVBYZERO ? SF_DIV_BY_ZERO : 0) |
           (e & FE_INVALID ? SF_INVALID : 0);
}

static float as_float(uint64_t v)
{
    uint32_t low = v;
    float x;
    memcpy(&x, &low, sizeof(x));
    return x;
}

static double as_double(uint64_t v)
{
    double x;
    memcpy(&x, &v, sizeof(x));
    return x;
}

static uint64_t bits_of(enum sf_format f, const volatile void *p)
{
    return f == SF_F64 ? *(const volatile uint64_t *)p : *(const volatile uint32_t *)p;
}

#define DEFINE_HOST_OP(name, type, from_bits, format, sqrt_fn, fma_fn)                  \
    static uint64_t name(enum op op, const uint64_t v[3])                               \
    {                                                                                   \
        volatile type a = from_bits(v[0]), b = from_bits(v[1]), c = from_bits(v[2]), r; \
        switch (op) {                                                                   \
        case ADD: r = a + b; break;                                                     \
        case SUB: r = a - b; break;                                                     \
        case MUL: r = a * b; break;                                                     \
        case DIV: r = a / b; break;                                                     \
        case SQRT: r = sqrt_fn(a); break;                                               \
        case FMA: r = fma_fn(a, b, c); break;                                           \
        case FMS: r = fma_fn(a, b, -c); break;                                          \
        default: r = fma_fn(-a, b, c); break;                                           \
        }                                                                               \
        return bits_of(format, &r);                                                     \
    }
DEFINE_HOST_OP(host_op_f32, float, as_float, SF_F32, sqrtf, fmaf)
DEFINE_HOST_OP(host_op_f64, double, as_double, SF_F64, sqrt, fma)

static struct sf_ctx host_ctx(int rounding)
{
    return (struct sf_ctx){ .rounding = rounding,
                            .nan_rule = HOST_NAN_RULE,
                            .tininess_before = HOST_TININESS_BEFORE };
}

static void expect(enum sf_format f, uint64_t got, uint8_t got_flags, uint64_t want,
                   uint8_t want_flags, const char *what, int detail, int rounding,
                   const uint64_t v[3])
{
    bool same = is_nan(f, want) ? is_quiet(f, got) : got == want;
    if (!same || got_flags != want_flags)
        fail_msg("%s %d, rounding %d, of %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ": %#" PRIx64
                 " flags %#x, not %#" PRIx64 " flags %#x",
                 what, detail, rounding, v[0], v[1], v[2], got, got_flags, want, want_flags);
}

static void compare_with_host(enum op op, enum sf_format f, int rounding, const uint64_t v[3])
{
    struct sf_ctx ctx = host_ctx(rounding);
    uint64_t got = soft_op(&ctx, op, f, v);
    host_begin(rounding);
    uint64_t want = f == SF_F32 ? host_op_f32(op, v) : host_op_f64(op, v);
    uint8_t flags = host_end();
    expect(f, got, ctx.flags, want, flags, "op", op, rounding, v);
}

static void corner_operands_agree_with_the_host(void **unused)
{
    for (enum sf_format f = SF_F32; f <= SF_F64; f++) {
        uint64_t at[64];
        size_t n = corners(f, at);
        for (enum op op = ADD; op < N_OPS; op++)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < (op == SQRT ? 1 : n); j++)
                    for (size_t k = 0; k < (op < FMA ? 1 : op == FMA ? n : 6); k++)
                        for (int r = SF_RNE; r <= SF_RUP; r++)
                            compare_with_host(op, f, r, (uint64_t[]){ at[i], at[j], at[k] });
    }
}

static void random_operands_agree_with_the_host(void **unused)
{
    for (int i = 0; i < 400000; i++) {
        enum sf_format f = i & 1 ? SF_F32 : SF_F64;
        enum op op = random_u64() % N_OPS;
        uint64_t a = random_value(f, one_of(f)), b = random_value(f, a);
        uint64_t near = b;
        if (op >= FMA && i & 2) { /* an addend that cancels most of the product */
            struct sf_ctx ctx = { 0 };
            near = sf_mul(&ctx, f, a, b) ^ sign_of(f);
        }
        uint64_t c = i & 4 ? near + (random_u64() & 3) : random_value(f, near);
        c &= sign_of(f) | (sign_of(f) - 1);
        compare_with_host(op, f, random_u64() % 4, (uint64_t[]){ a, b, c });
    }
}

/* The library's function: what compilers put in its place may round to nearest only. */
static double (*const volatile host_rint)(double) = rint;

static void conversions_agree_with_the_host(void **unused)
{
    for (int i = 0; i < 200000; i++) {
        int r = i % 4;
        uint64_t v = i & 4 ? random_u64() : random_value(SF_F64, one_of(SF_F64));
        uint64_t at[3] = { v };
        volatile double d = as_double(v);
        volatile float s = as_float(v);
        volatile int64_t n = v >> (random_u64() & 63);
        volatile float to_s;
        volatile double to_d;

        struct sf_ctx ctx = host_ctx(r);
        uint64_t got = sf_convert(&ctx, SF_F64, SF_F32, v);
        host_begin(r);
        to_s = (float)d;
        expect(SF_F32, got, ctx.flags, bits_of(SF_F32, &to_s), host_end(), "f64 to f32", 0, r, at);

        ctx = host_ctx(r);
        got = sf_convert(&ctx, SF_F32, SF_F64, v);
        host_begin(r);
        to_d = s;
        expect(SF_F64, got, ctx.flags, bits_of(SF_F64, &to_d), host_end(), "f32 to f64", 0, r, at);

        at[0] = n;
        ctx = host_ctx(r);
        got = sf_from_int(&ctx, SF_F64, n, SF_I64);
        host_begin(r);
        to_d = n;
        expect(SF_F64, got, ctx.flags, bits_of(SF_F64, &to_d), host_end(), "i64", 0, r, at);

        ctx = host_ctx(r);
        got = sf_from_int(&ctx, SF_F32, n, SF_I32);
        host_begin(r);
        to_s = (int32_t)n;
        expect(SF_F32, got, ctx.flags, bits_of(SF_F32, &to_s), host_end(), "i32", 0, r, at);

        volatile double small = ldexp(d, -(int)(bits(v, 52, 11)) + 1023 + (int)(random_u64() % 62));
        if (!isfinite(small))
            continue;
        memcpy(&at[0], (const void *)&small, 8);
        ctx = host_ctx(r);
        got = sf_to_int(&ctx, SF_F64, at[0], SF_I64);
        host_begin(r);
        int64_t whole = llrint(small);
        assert_int_equal(host_end(), ctx.flags);
        assert_int_equal(got, whole);

        ctx = host_ctx(r);
        got = sf_round(&ctx, SF_F64, at[0], true);
        host_begin(r);
        to_d = host_rint(small);
        expect(SF_F64, got, ctx.flags, bits_of(SF_F64, &to_d), host_end(), "rint", 0, r, at);
    }
}

static void comparisons_agree_with_the_host(void **unused)
{
    for (enum sf_format f = SF_F32; f <= SF_F64; f++) {
        uint64_t at[64];
        size_t n = corners(f, at);
        for (size_t i = 0; i < n * n; i++) {
            uint64_t a = at[i / n], b = at[i % n];
            volatile double x = f == SF_F64 ? as_double(a) : as_float(a);
            volatile double y = f == SF_F64 ? as_double(b) : as_float(b);
            enum sf_order want = x < y    ? SF_LESS
                                 : x > y  ? SF_GREATER
                                 : x == y ? SF_EQUAL
                                          : SF_UNORDERED;
            bool nan = is_nan(f, a) || is_nan(f, b);
            bool snan = (is_nan(f, a) && !is_quiet(f, a)) || (is_nan(f, b) && !is_quiet(f, b));
            struct sf_ctx quiet = { 0 }, signalling = { 0 };
            assert_int_equal(sf_compare(&quiet, f, a, b, false), want);
            assert_int_equal(sf_compare(&signalling, f, a, b, true), want);
            assert_int_equal(quiet.flags, snan ? SF_INVALID : 0);
            assert_int_equal(signalling.flags, nan ? SF_INVALID : 0);
        }
    }
}

#if defined(__x86_64__)
#include <xmmintrin.h>

#define SSE2(name, insn)                                                   \
    static uint64_t name(const uint64_t v[3])                              \
    {                                                                      \
        double r = as_double(v[0]);                                        \
        __asm__ volatile(insn " %1, %0" : "+x"(r) : "x"(as_double(v[1]))); \
        return bits_of(SF_F64, &r);                                        \
    }
SSE2(sse_add, "addsd")
SSE2(sse_sub, "subsd")
SSE2(sse_mul, "mulsd")
SSE2(sse_div, "divsd")

static uint64_t fma3_add(const uint64_t v[3])
{
    double r = as_double(v[1]);
    __asm__ volatile("vfmadd213sd %2, %1, %0"
                     : "+x"(r)
                     : "x"(as_double(v[0])), "x"(as_double(v[2])));
    return bits_of(SF_F64, &r);
}

/* NaN choice and the flush modes, bit for bit. vfmadd213 computes second * first + third. */
static void nans_and_flushing_agree_with_sse(void **unused)
{
    static uint64_t (*const sse[])(const uint64_t[3]) = { sse_add, sse_sub, sse_mul,
                                                          sse_div, NULL,    fma3_add };
    static const unsigned mxcsr[] = { 0x1f80, 0x1fc0, 0x9f80, 0x9fc0 }; /* -, DAZ, FTZ, both */
    uint64_t at[64];
    size_t n = corners(SF_F64, at);

    for (int mode = 0; mode < 4 * 4; mode++)
        for (enum op op = ADD; op <= FMA; op++) {
            if (op == SQRT || (op == FMA && !__builtin_cpu_supports("fma")))
                continue;
            for (size_t i = 0; i < n * n * (op == FMA ? n : 1); i++) {
                uint64_t v[3] = { at[i % n], at[i / n % n], at[i / n / n] };
                static const int rc[] = { [SF_RNE] = 0, [SF_RTZ] = 3, [SF_RDN] = 1, [SF_RUP] = 2 };
                struct sf_ctx ctx = host_ctx(mode / 4);
                ctx.flush_inputs = mode & 1;
                ctx.flush_results = mode & 2;
                uint64_t got = soft_op(&ctx, op, SF_F64, v);
                _mm_setcsr(mxcsr[mode % 4] | (unsigned)rc[mode / 4] << 13);
                uint64_t want = sse[op](v);
                unsigned csr = _mm_getcsr();
                _mm_setcsr(0x1f80);
                uint8_t flags = (csr & 1) << 4 | (csr & 4) << 1 | (csr & 8) >> 1 | (csr & 16) >> 3 |
                                (csr & 32) >> 5;
                if (got != want || ctx.flags != flags)
                    fail_msg("op %d mode %d of %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ": %#" PRIx64
                             " flags %#x, not %#" PRIx64 " flags %#x",
                             op, mode, v[0], v[1], v[2], got, ctx.flags, want, flags);
            }
        }
}
#endif

/* ---- binary16 exactly: every finite value is an integer number of 2^-24. ---- */

/* num / den, or its square root, in units of 2^-24 (of 2^-48 below the root). num >= 0, den > 0. */
struct exact {
    __int128 num, den;
    bool root;
};

static int64_t units_of(uint64_t v)
{
    int e = bits(v, 10, 5);
    int64_t frac = bits(v, 0, 10);
    int64_t magnitude = e ? (frac | 1024) << (e - 1) : frac;
    return v & 0x8000 ? -magnitude : magnitude;
}

/* The sign of x - v, v given doubled. */
static int cmp_exact(struct exact x, __int128 doubled)
{
    __int128 left = x.root ? 4 * x.num : 2 * x.num;
    __int128 right = (x.root ? doubled * doubled : doubled) * x.den;
    return left < right ? -1 : left > right;
}

/* Round the magnitude x up or to the neighbour below, `lo`, whose last bit is `odd`. */
static bool goes_up(struct exact x, __int128 lo, __int128 hi, bool odd, bool negative, int rounding)
{
    int middle = cmp_exact(x, lo + hi);
    if (cmp_exact(x, 2 * lo) == 0)
        return false;
    switch (rounding) {
    case SF_RNE: return middle > 0 || (middle == 0 && odd);
    case SF_RMM: return middle >= 0;
    case SF_RDN: return negative;
    case SF_RUP: return !negative;
    case SF_ODD: return !odd;
    default: return false;
    }
}

static uint64_t round_f16(struct exact x, bool negative, int rounding, bool before, uint8_t *flags)
{
    uint64_t lo = 0, hi = 0x7c00; /* encodings; 0x7c00 read as a number is 2^16 */
    while (hi - lo > 1) {
        uint64_t middle = (lo + hi) / 2;
        if (cmp_exact(x, 2 * units_of(middle)) < 0)
            hi = middle;
        else
            lo = middle;
    }
    bool beyond = cmp_exact(x, 2 * units_of(0x7c00)) >= 0;
    bool inexact = cmp_exact(x, 2 * units_of(lo)) != 0;
    bool up = goes_up(x, units_of(lo), units_of(hi), lo & 1, negative, rounding);
    uint64_t sign = negative ? 0x8000 : 0;

    if (beyond || (up && hi == 0x7c00)) {
        bool inf =
            rounding == SF_RNE || rounding == SF_RMM || rounding == (negative ? SF_RDN : SF_RUP);
        *flags |= SF_OVERFLOW | SF_INEXACT;
        return sign | (inf ? 0x7c00 : 0x7bff);
    }
    if (inexact) {
        bool tiny = cmp_exact(x, 2 * units_of(0x400)) < 0;
        if (tiny &&
            !before) { /* with an unbounded exponent the numbers below 0x400 are half as far */
            struct exact twice = { x.root ? 4 * x.num : 2 * x.num, x.den, x.root };
            if (cmp_exact(twice, 2 * 0x7ff) >= 0)
                tiny = !goes_up(twice, 0x7ff, 0x800, true, negative, rounding);
        }
        *flags |= SF_INEXACT | (tiny ? SF_UNDERFLOW : 0);
    }
    return sign | (up ? hi : lo);
}

static bool is_finite_f16(uint64_t v)
{
    return (v & 0x7c00) != 0x7c00;
}

static void compare_f16_with_exact(enum op op, int rounding, bool before, const uint64_t v[3])
{
    __int128 a = units_of(v[0]), b = units_of(v[1]), c = units_of(v[2]), unit = 1 << 24;
    __int128 num = 0, den = 1;
    switch (op) {
    case ADD: num = a + b; break;
    case SUB: num = a - b; break;
    case MUL: num = a * b, den = unit; break;
    case DIV: num = b < 0 ? -a * unit : a * unit, den = b < 0 ? -b : b; break;
    case SQRT: num = a * unit; break;
    case FMA: num = a * b + c * unit, den = unit; break;
    case FMS: num = a * b - c * unit, den = unit; break;
    default: num = c * unit - a * b, den = unit; break;
    }
    if (num == 0 || den == 0 || (op == SQRT && num < 0))
        return; /* zero signs and invalid operations are the host tests' business */

    struct sf_ctx ctx = { .rounding = rounding, .tininess_before = before };
    uint64_t got = soft_op(&ctx, op, SF_F16, v);
    uint8_t flags = 0;
    struct exact x = { num < 0 ? -num : num, den, op == SQRT };
    uint64_t want = round_f16(x, num < 0, rounding, before, &flags);
    expect(SF_F16, got, ctx.flags, want, flags, "f16 op", op, rounding, v);
}

static void half_precision_is_exact_in_every_mode(void **unused)
{
    uint64_t at[64];
    size_t n = corners(SF_F16, at);
    for (enum op op = ADD; op < N_OPS; op++)
        for (size_t i = 0; i < n * n * n; i++) {
            uint64_t v[3] = { at[i % n], at[i / n % n], at[i / n / n] };
            if ((op < FMA && i >= n * n) || !is_finite_f16(v[0]) || !is_finite_f16(v[1]) ||
                !is_finite_f16(v[2]))
                continue;
            for (int r = SF_RNE; r <= SF_ODD; r++)
                compare_f16_with_exact(op, r, i & 1, v);
        }
    for (int i = 0; i < 400000; i++) {
        uint64_t v[3] = { random_value(SF_F16, 0x3c00) };
        v[1] = random_value(SF_F16, v[0]);
        v[2] = random_value(SF_F16, v[1]);
        if (is_finite_f16(v[0]) && is_finite_f16(v[1]) && is_finite_f16(v[2]))
            compare_f16_with_exact(random_u64() % N_OPS, i % 6, i & 8, v);
    }
}

static void every_half_has_its_exact_root(void **unused)
{
    for (uint64_t v = 1; v < 0x7c00; v++)
        for (int r = SF_RNE; r <= SF_ODD; r++)
            compare_f16_with_exact(SQRT, r, false, (uint64_t[]){ v, 0, 0 });
}

static void every_half_survives_wider_formats(void **unused)
{
    for (uint64_t v = 0; v < 0x10000; v++) {
        struct sf_ctx ctx = { .nan_rule = SF_NAN_ARM };
        uint64_t single = sf_convert(&ctx, SF_F16, SF_F32, v);
        uint64_t wide = sf_convert(&ctx, SF_F16, SF_F64, v);
        if (is_finite_f16(v)) {
            assert_true(as_double(wide) == ldexp((double)units_of(v), -24));
            assert_true(as_float(single) == as_double(wide));
        }
        uint64_t quiet = is_nan(SF_F16, v) ? v | 0x200 : v;
        assert_int_equal(sf_convert(&ctx, SF_F32, SF_F16, single), quiet);
        assert_int_equal(sf_convert(&ctx, SF_F64, SF_F16, wide), quiet);
        assert_int_equal(ctx.flags, quiet != v ? SF_INVALID : 0);
    }
}

static void doubles_round_to_half_once(void **unused)
{
    for (int i = 0; i < 200000; i++) {
        /* Near a half or near the middle of two, between 2^-30 and 2^17. */
        double d = ldexp((double)(2048 + (random_u64() & 2047)), (int)(random_u64() % 46) - 41);
        d += (double)(int)(random_u64() % 3) * ldexp(d, -45) - ldexp(d, -45);
        struct exact x = { (__int128)ldexp(d, 24 + 60), (__int128)1 << 60, false };
        int r = i % 6;
        struct sf_ctx ctx = { .rounding = r };
        uint64_t v[3] = { bits_of(SF_F64, &d) };
        uint8_t flags = 0;
        uint64_t got = sf_convert(&ctx, SF_F64, SF_F16, v[0]);
        uint64_t want = round_f16(x, false, r, false, &flags);
        expect(SF_F16, got, ctx.flags, want, flags, "f64 to f16", 0, r, v);
    }
}

static void every_half_becomes_the_right_integer(void **unused)
{
    static const int64_t least[] = { INT32_MIN, 0, INT64_MIN, 0 };
    for (uint64_t v = 0; v < 0x10000; v++)
        for (int r = SF_RNE; r <= SF_RMM; r++) {
            if (!is_finite_f16(v))
                continue;
            int64_t units = units_of(v), magnitude = units < 0 ? -units : units;
            int64_t lo = magnitude >> 24, rest = magnitude & 0xffffff;
            struct exact x = { magnitude, 1 << 24, false };
            lo += goes_up(x, lo, lo + 1, lo & 1, units < 0, r);
            int64_t whole = units < 0 ? -lo : lo;
            for (enum sf_int to = SF_I32; to <= SF_U64; to++) {
                bool fits = whole >= least[to];
                struct sf_ctx ctx = { .rounding = r };
                assert_int_equal(sf_to_int(&ctx, SF_F16, v, to), fits ? whole : 0);
                assert_int_equal(ctx.flags, !fits ? SF_INVALID : rest ? SF_INEXACT : 0);
            }
            struct sf_ctx ctx = { .rounding = r };
            uint64_t back = sf_from_int(&ctx, SF_F16, whole, SF_I64) | (v & 0x8000);
            assert_int_equal(ctx.flags, 0);
            assert_int_equal(sf_round(&ctx, SF_F16, v, false), back);
            assert_int_equal(ctx.flags, 0);
            assert_int_equal(sf_round(&ctx, SF_F16, v, true), back);
            assert_int_equal(ctx.flags, rest ? SF_INEXACT : 0);
        }
}

/* A product of two singles is exact in double, so where it lies between two singles can be seen. */
static void ties_go_away_from_zero_in_single_precision(void **unused)
{
    int ties = 0;
    for (int i = 0; i < 200000; i++) {
        uint64_t a = 0x3f800000 | (random_u64() & 0x7fffff),
                 b = 0x40000000 | (random_u64() & 0x7ff000);
        if (i & 1)
            a &= 0x7ffff000;
        double product = (double)as_float(a) * as_float(b);
        struct sf_ctx down = { .rounding = SF_RTZ }, ctx = { .rounding = SF_RMM };
        uint64_t lo = sf_mul(&down, SF_F32, a, b);
        double below = product - as_float(lo), above = as_float(lo + 1) - product;
        ties += below == above;
        assert_int_equal(sf_mul(&ctx, SF_F32, a, b), below >= above ? lo + 1 : lo);
        assert_int_equal(ctx.flags, below != 0 ? SF_INEXACT : 0);
    }
    assert_true(ties > 100);
}

/* ---- Worked out by hand ---- */

struct known {
    enum op op;
    enum sf_format f;
    int rounding;
    uint64_t v[3], want;
    uint8_t flags;
};

static const struct known known[] = {
    /* Halfway cases of 1 + 2^-53 and 1 + 3 * 2^-53 */
    { ADD, SF_F64, SF_RNE, { 0x3ff0000000000000, 0x3ca0000000000000 }, 0x3ff0000000000000, 1 },
    { ADD, SF_F64, SF_RMM, { 0x3ff0000000000000, 0x3ca0000000000000 }, 0x3ff0000000000001, 1 },
    { ADD, SF_F64, SF_RNE, { 0x3ff0000000000001, 0x3ca0000000000000 }, 0x3ff0000000000002, 1 },
    { ADD, SF_F64, SF_ODD, { 0x3ff0000000000000, 0x0000000000000001 }, 0x3ff0000000000001, 1 },
    { ADD, SF_F64, SF_ODD, { 0x3ff0000000000001, 0x0000000000000001 }, 0x3ff0000000000001, 1 },
    /* x - x is +0, but -0 towards minus infinity; -0 + -0 stays */
    { SUB, SF_F64, SF_RNE, { 0x4008000000000000, 0x4008000000000000 }, 0, 0 },
    { SUB, SF_F64, SF_RDN, { 0x4008000000000000, 0x4008000000000000 }, 0x8000000000000000, 0 },
    { ADD, SF_F32, SF_RNE, { 0x80000000, 0x80000000 }, 0x80000000, 0 },
    { FMA, SF_F32, SF_RDN, { 0x3f800000, 0x3f800000, 0xbf800000 }, 0x80000000, 0 },
    /* (1 + u)^2 - (1 + 2u) = u^2: only a fused multiply-add sees it */
    { FMS,
      SF_F64,
      SF_RNE,
      { 0x3ff0000000000001, 0x3ff0000000000001, 0x3ff0000000000002 },
      0x3970000000000000,
      0 },
    { FNMA,
      SF_F64,
      SF_RNE,
      { 0x3ff0000000000001, 0x3ff0000000000001, 0x3ff0000000000002 },
      0xb970000000000000,
      0 },
    /* 2^-126 (1 - 2^-24) has 24 bits, so it is tiny even after rounding to 24; 2^-126 (1 - 2^-46)
     * is not */
    { MUL, SF_F32, SF_RNE, { 0x00800000, 0x3f7fffff }, 0x00800000, 3 },
    { MUL, SF_F32, SF_RNE, { 0x00800001, 0x3f7ffffe }, 0x00800000, 1 },
    { MUL, SF_F32, SF_RUP, { 0x00800001, 0x3f7fffff }, 0x00800001, 1 },
    /* 0x00ffffff/2 = 2^-126 (1 - 2^-24) exactly halfway to the smallest normal */
    { DIV, SF_F32, SF_RMM, { 0x00ffffff, 0x40000000 }, 0x00800000, 3 },
    { DIV, SF_F32, SF_RTZ, { 0x00ffffff, 0x40000000 }, 0x007fffff, 3 },
    /* Overflow goes to infinity or to the largest number */
    { MUL, SF_F32, SF_RTZ, { 0x7f7fffff, 0x40000000 }, 0x7f7fffff, 5 },
    { MUL, SF_F32, SF_RDN, { 0xff7fffff, 0x40000000 }, 0xff800000, 5 },
    { MUL, SF_F32, SF_RMM, { 0x7f7fffff, 0x40000000 }, 0x7f800000, 5 },
    { DIV, SF_F64, SF_RNE, { 0xbff0000000000000, 0 }, 0xfff0000000000000, 8 },
    { DIV, SF_F64, SF_RNE, { 0x7ff0000000000000, 0 }, 0x7ff0000000000000, 0 },
    { DIV, SF_F64, SF_RNE, { 0, 0 }, 0x7ff8000000000000, 16 },
    { SQRT, SF_F64, SF_RNE, { 0x4000000000000000 }, 0x3ff6a09e667f3bcd, 1 },
    { SQRT, SF_F64, SF_RNE, { 0x0000000000000001 }, 0x1e60000000000000, 0 },
    { SQRT, SF_F64, SF_RNE, { 0x8000000000000000 }, 0x8000000000000000, 0 },
    { SQRT, SF_F64, SF_RNE, { 0xbff0000000000000 }, 0x7ff8000000000000, 16 },
    /* inf * 0 + quiet NaN is invalid on RISC-V */
    { FMA, SF_F32, SF_RNE, { 0x7f800000, 0, 0x7fc00000 }, 0x7fc00000, 16 },
    { FMA, SF_F32, SF_RNE, { 0x7f800000, 0x3f800000, 0xff800000 }, 0x7fc00000, 16 },
};

static void known_cases_hold(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct known *k = &known[i];
        struct sf_ctx ctx = { .rounding = k->rounding };
        uint64_t got = soft_op(&ctx, k->op, k->f, k->v);
        if (got != k->want || ctx.flags != k->flags)
            fail_msg("line %zu: %#" PRIx64 " flags %#x, not %#" PRIx64 " flags %#x", i, got,
                     ctx.flags, k->want, k->flags);
    }
}

static void tininess_is_judged_where_the_context_says(void **unused)
{
    /* 2^-126 * (1 - 2^-25) needs 25 bits: rounded to 24 it is normal, before that it is tiny. */
    uint64_t a = 0x00800000;
    struct sf_ctx after = { 0 }, before = { .tininess_before = true };
    uint64_t addend = 0x80000001; /* -2^-149 */
    uint64_t small = 0x3e800000;  /* 0.25: 2^-126 - 2^-151 */
    assert_int_equal(sf_fma(&after, SF_F32, addend, small, a, 0), 0x00800000);
    assert_int_equal(after.flags, SF_INEXACT);
    assert_int_equal(sf_fma(&before, SF_F32, addend, small, a, 0), 0x00800000);
    assert_int_equal(before.flags, SF_INEXACT | SF_UNDERFLOW);
}

static void integers_saturate(void **unused)
{
    static const struct {
        uint64_t v;
        enum sf_int to;
        uint64_t want;
        uint8_t flags;
    } cases[] = {
        { 0x7ff8000000000000, SF_I32, 0x7fffffff, 16 },
        { 0xfff8000000000000, SF_I64, INT64_MAX, 16 },
        { 0xfff4000000000000, SF_U32, UINT32_MAX, 16 },
        { 0x7ff0000000000000, SF_U64, UINT64_MAX, 16 },
        { 0xfff0000000000000, SF_I32, (uint64_t)INT32_MIN, 16 },
        { 0xfff0000000000000, SF_U64, 0, 16 },
        { 0x41dfffffffc00000, SF_I32, 0x7fffffff, 0 },           /* 2^31 - 1 */
        { 0x41dfffffffdfffff, SF_I32, 0x7fffffff, 1 },           /* just below 2^31 - 1/2 */
        { 0x41dfffffffe00000, SF_I32, 0x7fffffff, 16 },          /* 2^31 - 1/2, ties to even */
        { 0xc1e0000000100000, SF_I32, (uint64_t)INT32_MIN, 1 },  /* -2^31 - 1/2, to even */
        { 0xc1e0000000200000, SF_I32, (uint64_t)INT32_MIN, 16 }, /* -2^31 - 1 */
        { 0x43dfffffffffffff, SF_I64, 0x7ffffffffffffc00, 0 },
        { 0x43e0000000000000, SF_I64, INT64_MAX, 16 },
        { 0xc3e0000000000000, SF_I64, (uint64_t)INT64_MIN, 0 },
        { 0x43efffffffffffff, SF_U64, 0xfffffffffffff800, 0 },
        { 0x43f0000000000000, SF_U64, UINT64_MAX, 16 },
        { 0xbfe0000000000000, SF_U32, 0, 1 }, /* -0.5 rounds to -0 */
        { 0xbfe0000000000001, SF_U32, 0, 16 },
        { 0x0000000000000001, SF_U64, 0, 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sf_ctx ctx = { 0 };
        assert_int_equal(sf_to_int(&ctx, SF_F64, cases[i].v, cases[i].to), cases[i].want);
        assert_int_equal(ctx.flags, cases[i].flags);
    }
}

static void integers_are_read_as_their_type(void **unused)
{
    struct sf_ctx ctx = { 0 };
    assert_int_equal(sf_from_int(&ctx, SF_F64, 0xffffffff, SF_I32), 0xbff0000000000000);
    assert_int_equal(sf_from_int(&ctx, SF_F64, ~UINT64_C(0), SF_U32), 0x41efffffffe00000);
    assert_int_equal(sf_from_int(&ctx, SF_F64, 0, SF_I64), 0);
    assert_int_equal(ctx.flags, 0);
    assert_int_equal(sf_from_int(&ctx, SF_F64, ~UINT64_C(0), SF_U64), 0x43f0000000000000);
    assert_int_equal(ctx.flags, SF_INEXACT);
    assert_int_equal(sf_from_int(&ctx, SF_F16, 65520, SF_I32), 0x7c00);
    assert_int_equal(ctx.flags, SF_INEXACT | SF_OVERFLOW);
}

static void min_and_max_prefer_numbers_and_order_zeros(void **unused)
{
    struct sf_ctx ctx = { 0 };
    assert_int_equal(sf_min(&ctx, SF_F32, 0x80000000, 0), 0x80000000);
    assert_int_equal(sf_min(&ctx, SF_F32, 0, 0x80000000), 0x80000000);
    assert_int_equal(sf_max(&ctx, SF_F32, 0x80000000, 0), 0);
    assert_int_equal(sf_max(&ctx, SF_F32, 0, 0x80000000), 0);
    assert_int_equal(sf_min(&ctx, SF_F32, 0xff800000, 0xc0000000), 0xff800000);
    assert_int_equal(sf_max(&ctx, SF_F32, 0x7f800000, 0x40000000), 0x7f800000);
    assert_int_equal(sf_max(&ctx, SF_F32, 0xbf800000, 0xc0000000), 0xbf800000);
    assert_int_equal(sf_min(&ctx, SF_F32, 0x00000001, 0x3f800000), 0x00000001);
    assert_int_equal(sf_min(&ctx, SF_F32, 0x7fc00000, 0x3f800000), 0x3f800000);
    assert_int_equal(sf_max(&ctx, SF_F32, 0x3f800000, 0xffc00001), 0x3f800000);
    assert_int_equal(sf_max(&ctx, SF_F32, 0xffc00001, 0x7fc00000), 0x7fc00000);
    assert_int_equal(ctx.flags, 0);
    assert_int_equal(sf_min(&ctx, SF_F32, 0x7f800001, 0x3f800000), 0x3f800000);
    assert_int_equal(ctx.flags, SF_INVALID);
}

static void arm_rule_prefers_signalling_nans_and_the_addend(void **unused)
{
    struct sf_ctx ctx = { .nan_rule = SF_NAN_ARM };
    assert_int_equal(sf_add(&ctx, SF_F32, 0x7fc00001, 0xffc00002), 0x7fc00001);
    assert_int_equal(sf_fma(&ctx, SF_F32, 0x7fc00001, 0x7fc00002, 0xffc00003, 0), 0xffc00003);
    assert_int_equal(ctx.flags, 0);
    assert_int_equal(sf_add(&ctx, SF_F32, 0x7fc00001, 0xff800002), 0xffc00002);
    assert_int_equal(ctx.flags, SF_INVALID);
    assert_int_equal(sf_fma(&ctx, SF_F32, 0, 0x7f800000, 0x7fc00003, 0), 0x7fc00000);
    assert_int_equal(sf_sub(&ctx, SF_F32, 0x3f800000, 0xffc00002), 0xffc00002);
}

static void canonical_rule_forgets_payloads(void **unused)
{
    struct sf_ctx ctx = { 0 };
    assert_int_equal(sf_add(&ctx, SF_F16, 0xfe01, 0x3c00), 0x7e00);
    assert_int_equal(sf_convert(&ctx, SF_F64, SF_F32, 0xfff8000012345678), 0x7fc00000);
    assert_int_equal(sf_convert(&ctx, SF_F16, SF_F64, 0xfe01), 0x7ff8000000000000);
    assert_int_equal(ctx.flags, 0);
    assert_int_equal(sf_sqrt(&ctx, SF_F64, 0x7ff0000000000001), 0x7ff8000000000000);
    assert_int_equal(ctx.flags, SF_INVALID);
    assert_int_equal(sf_default_nan(&ctx, SF_F32), 0x7fc00000);
    ctx.nan_rule = SF_NAN_SSE;
    assert_int_equal(sf_default_nan(&ctx, SF_F64), 0xfff8000000000000);
}

static void classes_are_told_apart(void **unused)
{
    static const uint64_t of_class[] = {
        [SF_NEG_INF] = 0xfc00,    [SF_NEG_NORMAL] = 0x8400, [SF_NEG_SUBNORMAL] = 0x83ff,
        [SF_NEG_ZERO] = 0x8000,   [SF_POS_ZERO] = 0x0000,   [SF_POS_SUBNORMAL] = 0x0001,
        [SF_POS_NORMAL] = 0x7bff, [SF_POS_INF] = 0x7c00,    [SF_SIGNALLING_NAN] = 0xfdff,
        [SF_QUIET_NAN] = 0xfe00,
    };
    for (size_t i = 0; i < ARRAY_LEN(of_class); i++)
        assert_int_equal(sf_classify(SF_F16, of_class[i]), i);
    assert_int_equal(sf_classify(SF_F64, 0x000fffffffffffff), SF_POS_SUBNORMAL);
    assert_int_equal(sf_classify(SF_F32, 0x80800000), SF_NEG_NORMAL);
}

static void flushed_inputs_compare_as_zeros(void **unused)
{
    struct sf_ctx ctx = { .flush_inputs = true };
    assert_int_equal(sf_compare(&ctx, SF_F32, 0x007fffff, 0x80000001, true), SF_EQUAL);
    assert_int_equal(sf_compare(&ctx, SF_F32, 0x00800000, 0x00000001, true), SF_GREATER);
    assert_int_equal(sf_min(&ctx, SF_F32, 0x00000001, 0x80000001), 0x80000000);
    assert_int_equal(ctx.flags, 0);
}

static void bits_above_the_format_are_ignored(void **unused)
{
    struct sf_ctx ctx = { 0 };
    assert_int_equal(sf_add(&ctx, SF_F32, 0xffffffff3f800000, 0x123456783f800000), 0x40000000);
    assert_int_equal(sf_max(&ctx, SF_F16, 0xffffffffffff3c00, 0), 0x3c00);
    assert_int_equal(sf_compare(&ctx, SF_F16, 0xffff0000, 0x18000, false), SF_EQUAL);
    assert_int_equal(sf_classify(SF_F32, 0xffffffff00000000), SF_POS_ZERO);
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(corner_operands_agree_with_the_host),
        cmocka_unit_test(random_operands_agree_with_the_host),
        cmocka_unit_test(conversions_agree_with_the_host),
        cmocka_unit_test(comparisons_agree_with_the_host),
#if defined(__x86_64__)
        cmocka_unit_test(nans_and_flushing_agree_with_sse),
#endif
        cmocka_unit_test(half_precision_is_exact_in_every_mode),
        cmocka_unit_test(every_half_has_its_exact_root),
        cmocka_unit_test(every_half_survives_wider_formats),
        cmocka_unit_test(doubles_round_to_half_once),
        cmocka_unit_test(every_half_becomes_the_right_integer),
        cmocka_unit_test(ties_go_away_from_zero_in_single_precision),
        cmocka_unit_test(known_cases_hold),
        cmocka_unit_test(tininess_is_judged_where_the_context_says),
        cmocka_unit_test(integers_saturate),
        cmocka_unit_test(integers_are_read_as_their_type),
        cmocka_unit_test(min_and_max_prefer_numbers_and_order_zeros),
        cmocka_unit_test(arm_rule_prefers_signalling_nans_and_the_addend),
        cmocka_unit_test(canonical_rule_forgets_payloads),
        cmocka_unit_test(classes_are_told_apart),
        cmocka_unit_test(flushed_inputs_compare_as_zeros),
        cmocka_unit_test(bits_above_the_format_are_ignored),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
