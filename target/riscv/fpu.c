/* Floating point for what host instructions do not give exactly: unpriv 11 (F), 12 (D), Zfh. Register
 * contents in, boxed results out. */
#include "target/riscv/riscv.h"
#include "tcg/softfloat.h"

static enum sf_format format_of(uint64_t how)
{
    return how & 0xff;
}

static struct sf_ctx start(uint64_t how)
{
    return (struct sf_ctx){ .rounding = how >> 8 & 7, .nan_rule = SF_NAN_CANONICAL };
}

static void finish(struct riscv_cpu *r, const struct sf_ctx *ctx)
{
    if (ctx->flags)
        tcg_fp_set_flags(r->cpu, tcg_fp_flags(r->cpu) | ctx->flags);
}

/* Unpriv 12.2: a narrower value is valid only below ones; else it is the canonical NaN. */
static uint64_t unbox(enum sf_format f, uint64_t v)
{
    const struct sf_ctx ctx = { .nan_rule = SF_NAN_CANONICAL };
    static const uint8_t width[] = { [SF_F16] = 16, [SF_F32] = 32, [SF_F64] = 64 };
    if (f == SF_F64)
        return v;
    uint64_t low = v & (((uint64_t)1 << width[f]) - 1);
    return ~v >> width[f] ? sf_default_nan(&ctx, f) : low;
}

static uint64_t box(enum sf_format f, uint64_t v)
{
    return f == SF_F16 ? v | ~(uint64_t)0xffff : f == SF_F32 ? v | ~(uint64_t)0xffffffff : v;
}

#define BINARY(name)                                                                  \
    uint64_t rvh_fp_##name(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b) \
    {                                                                                 \
        enum sf_format f = format_of(how);                                            \
        struct sf_ctx ctx = start(how);                                               \
        uint64_t v = sf_##name(&ctx, f, unbox(f, a), unbox(f, b));                    \
        finish(r, &ctx);                                                              \
        return box(f, v);                                                             \
    }
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(min)
BINARY(max)

uint64_t rvh_fp_sqrt(struct riscv_cpu *r, uint64_t how, uint64_t a)
{
    enum sf_format f = format_of(how);
    struct sf_ctx ctx = start(how);
    uint64_t v = sf_sqrt(&ctx, f, unbox(f, a));
    finish(r, &ctx);
    return box(f, v);
}

uint64_t rvh_fp_fma(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b, uint64_t c)
{
    enum sf_format f = format_of(how);
    struct sf_ctx ctx = start(how);
    unsigned negate = (how & RV_FP_NEG_PRODUCT ? SF_NEGATE_PRODUCT : 0) |
                      (how & RV_FP_NEG_ADDEND ? SF_NEGATE_ADDEND : 0);
    uint64_t v = sf_fma(&ctx, f, unbox(f, a), unbox(f, b), unbox(f, c), negate);
    finish(r, &ctx);
    return box(f, v);
}

static enum sf_order compare(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b,
                             bool signalling)
{
    enum sf_format f = format_of(how);
    struct sf_ctx ctx = start(how);
    enum sf_order o = sf_compare(&ctx, f, unbox(f, a), unbox(f, b), signalling);
    finish(r, &ctx);
    return o;
}

uint64_t rvh_fp_eq(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b)
{
    return compare(r, how, a, b, false) == SF_EQUAL;
}

uint64_t rvh_fp_lt(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b)
{
    return compare(r, how, a, b, true) == SF_LESS;
}

uint64_t rvh_fp_le(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t b)
{
    enum sf_order o = compare(r, how, a, b, true);
    return o == SF_LESS || o == SF_EQUAL;
}

uint64_t rvh_fp_class(struct riscv_cpu *r, uint64_t how, uint64_t a)
{
    enum sf_format f = format_of(how);
    return (uint64_t)1 << sf_classify(f, unbox(f, a));
}

/* Unpriv 11.7: 32-bit results are sign-extended, unsigned ones too. */
uint64_t rvh_fp_to_int(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t kind)
{
    enum sf_format f = format_of(how);
    struct sf_ctx ctx = start(how);
    uint64_t v = sf_to_int(&ctx, f, unbox(f, a), kind);
    finish(r, &ctx);
    return kind == SF_U32 ? (uint64_t)sext(v, 32) : v;
}

/* Of a 32-bit kind only the low half of a counts. */
uint64_t rvh_fp_from_int(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t kind)
{
    enum sf_format f = format_of(how);
    struct sf_ctx ctx = start(how);
    if (kind == SF_I32)
        a = (uint64_t)sext(a, 32);
    if (kind == SF_U32)
        a = (uint32_t)a;
    uint64_t v = sf_from_int(&ctx, f, a, kind);
    finish(r, &ctx);
    return box(f, v);
}

uint64_t rvh_fp_convert(struct riscv_cpu *r, uint64_t how, uint64_t a, uint64_t from)
{
    enum sf_format to = format_of(how);
    struct sf_ctx ctx = start(how);
    uint64_t v = sf_convert(&ctx, from, to, unbox(from, a));
    finish(r, &ctx);
    return box(to, v);
}
