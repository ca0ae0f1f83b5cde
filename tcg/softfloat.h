/* Exact IEEE 754-2019 arithmetic on bit patterns, for any guest.
 *
 * A value is the low bits of a uint64_t in the given format; higher bits are ignored in operands and
 * zero in results. Nothing here touches the host's floating-point unit, so the flags and the mode that
 * generated code keeps there stay as they are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum sf_format { SF_F16, SF_F32, SF_F64, SF_N_FORMATS };

/* The first five are numbered as RISC-V's frm. */
enum sf_rounding {
    SF_RNE, /* to nearest, ties to even */
    SF_RTZ, /* towards zero */
    SF_RDN, /* towards minus infinity */
    SF_RUP, /* towards plus infinity */
    SF_RMM, /* to nearest, ties away from zero */
    SF_ODD, /* an inexact result has its last bit set */
};

/* Numbered as RISC-V's fflags. */
enum sf_flag {
    SF_INEXACT = 1,
    SF_UNDERFLOW = 2,
    SF_OVERFLOW = 4,
    SF_DIV_BY_ZERO = 8,
    SF_INVALID = 16,
    SF_DENORMAL = 32, /* an operand was subnormal (x86); these operations leave it to their caller */
};

/* Which NaN an operation on NaNs gives, and what a NaN made from numbers looks like. */
enum sf_nan_rule {
    SF_NAN_CANONICAL, /* always the default one, positive (RISC-V; Arm with FPCR.DN) */
    SF_NAN_SSE,       /* the first operand that is a NaN; the default one is negative */
    SF_NAN_ARM,       /* the first signalling one, else the first; an fma's addend comes first */
};

struct sf_ctx {
    uint8_t rounding;     /* enum sf_rounding */
    uint8_t flags;        /* enum sf_flag bits; operations only ever set them */
    uint8_t nan_rule;     /* enum sf_nan_rule */
    bool tininess_before; /* underflow is judged before rounding (Arm) instead of after */
    bool flush_inputs;    /* a subnormal operand counts as zero, silently (SSE DAZ) */
    bool trap_underflow, trap_overflow; /* the exception stops: tiny results underflow even if exact, and inexact
                                           is what it were with exponents without end */
    bool flush_results;   /* a subnormal result becomes zero, underflow and inexact (SSE FTZ) */
};

uint64_t sf_add(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);
uint64_t sf_sub(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);
uint64_t sf_mul(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);
uint64_t sf_div(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);
uint64_t sf_sqrt(struct sf_ctx *ctx, enum sf_format f, uint64_t a);

/* a * b + c, rounded once. `negate` is a set of enum sf_negate, which leaves the sign of NaNs alone. */
enum sf_negate { SF_NEGATE_PRODUCT = 1, SF_NEGATE_ADDEND = 2 };
uint64_t sf_fma(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b, uint64_t c,
                unsigned negate);

/* minimumNumber and maximumNumber: one NaN operand loses to a number, -0 is less than +0. */
uint64_t sf_min(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);
uint64_t sf_max(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b);

/* How a stands to b. Invalid for a signalling NaN and, if `signalling`, for any NaN. */
enum sf_order { SF_LESS = -1, SF_EQUAL = 0, SF_GREATER = 1, SF_UNORDERED = 2 };
enum sf_order sf_compare(struct sf_ctx *ctx, enum sf_format f, uint64_t a, uint64_t b,
                         bool signalling);

/* Numbered as the bits of RISC-V's fclass. */
enum sf_class {
    SF_NEG_INF,
    SF_NEG_NORMAL,
    SF_NEG_SUBNORMAL,
    SF_NEG_ZERO,
    SF_POS_ZERO,
    SF_POS_SUBNORMAL,
    SF_POS_NORMAL,
    SF_POS_INF,
    SF_SIGNALLING_NAN,
    SF_QUIET_NAN,
};
enum sf_class sf_classify(enum sf_format f, uint64_t a);

uint64_t sf_convert(struct sf_ctx *ctx, enum sf_format from, enum sf_format to, uint64_t a);

/* Integers are sign- or zero-extended to 64 bits as their type says. What does not fit is invalid and
 * saturates, and a NaN counts as plus infinity; a target with other answers looks at the flag. */
enum sf_int { SF_I32, SF_U32, SF_I64, SF_U64 };
uint64_t sf_to_int(struct sf_ctx *ctx, enum sf_format f, uint64_t a, enum sf_int to);
uint64_t sf_from_int(struct sf_ctx *ctx, enum sf_format f, uint64_t value, enum sf_int from);

/* To an integral value in the same format; inexact is raised only if asked for. */
uint64_t sf_round(struct sf_ctx *ctx, enum sf_format f, uint64_t a, bool raise_inexact);

/* The quiet NaN that an invalid operation on numbers gives. */
uint64_t sf_default_nan(const struct sf_ctx *ctx, enum sf_format f);
