/* Exact arithmetic in the x87's 80-bit format (SDM 1-8), on bit patterns; the host's floating-point unit
 * is left alone. */
#pragma once

#include "tcg/softfloat.h"

/* The significand with its integer bit, and the sign (bit 15) over the biased exponent. */
struct f80 {
    uint64_t sig;
    uint16_t se;
};

/* Exceptions, numbered as in the status and control words. */
enum f80_flag {
    F80_INVALID = 1,
    F80_DENORMAL = 2,
    F80_DIV_BY_ZERO = 4,
    F80_OVERFLOW = 8,
    F80_UNDERFLOW = 16,
    F80_INEXACT = 32,
    F80_EARLY = F80_INVALID | F80_DENORMAL | F80_DIV_BY_ZERO, /* found before there is a result */
};

/* An operation that meets an unmasked early exception gives no meaningful result: whoever called looks at
 * flags & ~masked. Other unmasked exceptions have the results of SDM 1-8.5.4 to 1-8.5.6. */
struct f80_ctx {
    uint8_t rounding;  /* SF_RNE, SF_RTZ, SF_RDN or SF_RUP */
    uint8_t precision; /* of add, sub, mul, div and sqrt: 24, 53 or 64 bits */
    uint8_t masked;    /* exceptions that have masked responses */
    uint8_t flags;     /* exceptions met: operations only ever set them */
    bool denormal;     /* an operand was denormal in the format it came from */
    bool up;           /* the last rounding increased the magnitude (C1) */
};

static inline bool f80_stops(const struct f80_ctx *ctx)
{
    return ctx->flags & ~ctx->masked & F80_EARLY;
}
/* No result goes to memory. */
static inline bool f80_stops_store(const struct f80_ctx *ctx)
{
    return ctx->flags & ~ctx->masked & (F80_EARLY | F80_OVERFLOW | F80_UNDERFLOW);
}

extern const struct f80 f80_default_nan, f80_one, f80_zero;

struct f80 f80_add(struct f80_ctx *ctx, struct f80 a, struct f80 b);
struct f80 f80_sub(struct f80_ctx *ctx, struct f80 a, struct f80 b);
struct f80 f80_mul(struct f80_ctx *ctx, struct f80 a, struct f80 b);
struct f80 f80_div(struct f80_ctx *ctx, struct f80 a, struct f80 b);
struct f80 f80_sqrt(struct f80_ctx *ctx, struct f80 a);
/* a * 2^(b towards zero) */
struct f80 f80_scale(struct f80_ctx *ctx, struct f80 a, struct f80 b);
struct f80 f80_round_to_int(struct f80_ctx *ctx, struct f80 a);
/* FPREM, and FPREM1 (`nearest`). `*quotient`: its low three bits, or -1 if the reduction is partial. */
struct f80 f80_rem(struct f80_ctx *ctx, struct f80 a, struct f80 b, bool nearest, int *quotient);
/* FXTRACT: the exponent as a number, `*significand` in [1, 2). */
struct f80 f80_extract(struct f80_ctx *ctx, struct f80 a, struct f80 *significand);

/* A quiet NaN is invalid too unless `quiet`. */
enum sf_order f80_compare(struct f80_ctx *ctx, struct f80 a, struct f80 b, bool quiet);

enum f80_class { F80_UNSUPPORTED, F80_NAN, F80_NORMAL, F80_INF, F80_ZERO, F80_DENORMAL_NUMBER };
enum f80_class f80_classify(struct f80 a);

/* f is SF_F32 or SF_F64. */
struct f80 f80_from_float(struct f80_ctx *ctx, enum sf_format f, uint64_t bits);
/* The same for an operand of an operation that follows: signalling NaNs stay, a denormal is noted in the context. */
struct f80 f80_widen(struct f80_ctx *ctx, enum sf_format f, uint64_t bits);
uint64_t f80_to_float(struct f80_ctx *ctx, enum sf_format f, struct f80 a);
struct f80 f80_from_int(int64_t v);
/* To a signed integer of 16, 32 or 64 bits: the most negative one if it does not fit. */
int64_t f80_to_int(struct f80_ctx *ctx, struct f80 a, unsigned width, bool truncate);
/* 18 packed decimal digits and a sign, ten bytes. */
struct f80 f80_from_bcd(const uint8_t bcd[10]);
void f80_to_bcd(struct f80_ctx *ctx, struct f80 a, uint8_t bcd[10]);

/* sig * 2^(exp - 127), sig normalised (bit 127 set) with what is below it or-ed into its lowest bit;
 * rounded to `precision` bits. high and low are the halves of sig. */
struct f80 f80_round(struct f80_ctx *ctx, unsigned precision, bool sign, int exp, uint64_t high, uint64_t low);
/* A NaN or unsupported operand decides the result: true, and `*r` is it. b may be a itself. */
bool f80_takes_nan(struct f80_ctx *ctx, struct f80 a, struct f80 b, struct f80 *r);

/* ---- softfloat80_math.c: the relative error before rounding is below 2^-112, so that all but about one
 * result in 2^48 are correctly rounded. ---- */
/* Angles are reduced by the 66 bits of pi that the x87 has (SDM 1-8.3.8). False: |a| is 2^63 or more, nothing
 * is done. */
bool f80_sin_cos(struct f80_ctx *ctx, struct f80 a, struct f80 *sine, struct f80 *cosine);
bool f80_tan(struct f80_ctx *ctx, struct f80 a, struct f80 *r);
/* The angle of the point (x, y). */
struct f80 f80_atan2(struct f80_ctx *ctx, struct f80 y, struct f80 x);
/* 2^a - 1 for |a| <= 1; other numbers come back as they are. */
struct f80 f80_exp2m1(struct f80_ctx *ctx, struct f80 a);
/* y log2(x), y log2(x + 1) */
struct f80 f80_ylog2(struct f80_ctx *ctx, struct f80 y, struct f80 x);
struct f80 f80_ylog2p1(struct f80_ctx *ctx, struct f80 y, struct f80 x);
/* FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ, as opcodes number them. */
struct f80 f80_constant(const struct f80_ctx *ctx, unsigned which);
