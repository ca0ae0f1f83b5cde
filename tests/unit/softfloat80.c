/* softfloat80 against the host's x87, bit for bit: random and corner operands, every rounding and precision,
 * exceptions masked and not. TANDEM_TEST_CASES: how many of each operation. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "tcg/softfloat80.h"

#if defined(__x86_64__)
/* What FNSAVE stores in 64-bit mode. */
struct __attribute__((packed)) save {
    uint32_t fcw, fsw, ftw, instruction[4];
    struct __attribute__((packed)) {
        uint64_t sig;
        uint16_t se;
    } st[8];
};

struct operands {
    struct f80 a, b; /* ST(0), ST(1) */
    uint64_t memory[2];
    uint16_t fcw;
};
struct outcome {
    struct f80 st0, st1;
    uint64_t memory[2];
    uint16_t fsw; /* exceptions, C0 to C3 */
};
enum { C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000, ALL_C = C0 | C1 | C2 | C3 };

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static struct outcome read_save(const struct save *s, const uint64_t memory[2])
{
    struct outcome o = { { s->st[0].sig, s->st[0].se },
                         { s->st[1].sig, s->st[1].se },
                         { memory[0], memory[1] },
                         s->fsw & (0x3f | ALL_C) };
    return o;
}

/* FNSAVE does not wait, so an unmasked exception is only noted. */
#define HARDWARE(name, insn)                                                               \
    static struct outcome hardware_##name(const struct operands *in)                       \
    {                                                                                      \
        struct save s;                                                                     \
        uint64_t m[2] = { in->memory[0], in->memory[1] };                                  \
        struct __attribute__((packed)) {                                                   \
            uint64_t sig;                                                                  \
            uint16_t se;                                                                   \
        } a = { in->a.sig, in->a.se }, b = { in->b.sig, in->b.se };                        \
        __asm__ volatile("fninit; fldt %3; fldt %2; fnclex; fldcw %4; " insn "; fnsave %0" \
                         : "=m"(s), "+m"(m)                                                \
                         : "m"(a), "m"(b), "m"(in->fcw)                                    \
                         : "memory");                                                      \
        return read_save(&s, m);                                                           \
    }

struct soft {
    struct f80_ctx ctx;
    struct outcome out;
};
#define SOFT(name) static void soft_##name(struct soft *s, const struct operands *in)

static void put(struct soft *s, struct f80 r)
{
    if (!f80_stops(&s->ctx))
        s->out.st0 = r;
}

static void push(struct soft *s, struct f80 under, struct f80 r)
{
    if (f80_stops(&s->ctx))
        return;
    s->out.st1 = under;
    s->out.st0 = r;
}

static void pop(struct soft *s, struct f80 r)
{
    if (!f80_stops(&s->ctx))
        s->out.st0 = r; /* of ST(1), which becomes ST(0) */
}

#define BINARY(name, insn, fn) \
    HARDWARE(name, insn)       \
    SOFT(name)                 \
    {                          \
        put(s, fn);            \
    }
BINARY(add, "fadd %%st(1), %%st", f80_add(&s->ctx, in->a, in->b))
BINARY(sub, "fsub %%st(1), %%st", f80_sub(&s->ctx, in->a, in->b))
BINARY(mul, "fmul %%st(1), %%st", f80_mul(&s->ctx, in->a, in->b))
BINARY(div, "fdiv %%st(1), %%st", f80_div(&s->ctx, in->a, in->b))
BINARY(sqrt, "fsqrt", f80_sqrt(&s->ctx, in->a))
BINARY(scale, "fscale", f80_scale(&s->ctx, in->a, in->b))
BINARY(rndint, "frndint", f80_round_to_int(&s->ctx, in->a))
BINARY(f2xm1, "f2xm1", f80_exp2m1(&s->ctx, in->a))

static void put_remainder(struct soft *s, const struct operands *in, bool nearest)
{
    int q;
    put(s, f80_rem(&s->ctx, in->a, in->b, nearest, &q));
    if (f80_stops(&s->ctx))
        return;
    if (q < 0)
        s->out.fsw |= C2;
    else
        s->out.fsw |= (q & 1 ? C1 : 0) | (q & 2 ? C3 : 0) | (q & 4 ? C0 : 0);
}
HARDWARE(prem, "fprem")
SOFT(prem)
{
    put_remainder(s, in, false);
}
HARDWARE(prem1, "fprem1")
SOFT(prem1)
{
    put_remainder(s, in, true);
}
HARDWARE(xtract, "fxtract")
SOFT(xtract)
{
    struct f80 sig, exp = f80_extract(&s->ctx, in->a, &sig);
    push(s, exp, sig);
}
static void put_order(struct soft *s, enum sf_order order)
{
    static const uint16_t codes[] = { C0, C3, 0, C3 | C2 | C0 };
    s->out.fsw |= codes[order + 1];
}
HARDWARE(com, "fcom %%st(1)")
SOFT(com)
{
    put_order(s, f80_compare(&s->ctx, in->a, in->b, false));
}
HARDWARE(ucom, "fucom %%st(1)")
SOFT(ucom)
{
    put_order(s, f80_compare(&s->ctx, in->a, in->b, true));
}
HARDWARE(tst, "ftst")
SOFT(tst)
{
    put_order(s, f80_compare(&s->ctx, in->a, f80_zero, false));
}
#define LOAD(name, insn, value)                             \
    HARDWARE(name, insn " %1")                              \
    SOFT(name)                                              \
    {                                                       \
        struct f80 v = value;                               \
        s->ctx.masked |= F80_DENORMAL; /* a load goes on */ \
        push(s, in->a, v);                                  \
    }
LOAD(flds, "flds", f80_from_float(&s->ctx, SF_F32, in->memory[0]))
LOAD(fldl, "fldl", f80_from_float(&s->ctx, SF_F64, in->memory[0]))
LOAD(filds, "filds", f80_from_int((int16_t)in->memory[0]))
LOAD(fildl, "fildl", f80_from_int((int32_t)in->memory[0]))
LOAD(fildll, "fildll", f80_from_int((int64_t)in->memory[0]))
LOAD(fbld, "fbld", f80_from_bcd((const uint8_t *)in->memory))

static void store(struct soft *s, unsigned n, uint64_t v)
{
    if (!f80_stops_store(&s->ctx))
        memcpy(s->out.memory, &v, n);
}
#define STORE(name, insn, n, value) \
    HARDWARE(name, insn " %1")      \
    SOFT(name)                      \
    {                               \
        uint64_t v = value;         \
        store(s, n, v);             \
    }
STORE(fsts, "fsts", 4, f80_to_float(&s->ctx, SF_F32, in->a))
STORE(fstl, "fstl", 8, f80_to_float(&s->ctx, SF_F64, in->a))
STORE(fists, "fists", 2, (uint64_t)f80_to_int(&s->ctx, in->a, 16, false))
STORE(fistl, "fistl", 4, (uint64_t)f80_to_int(&s->ctx, in->a, 32, false))
#define STORE_POP(name, insn, n, value) \
    HARDWARE(name, insn " %1")          \
    SOFT(name)                          \
    {                                   \
        uint64_t v = value;             \
        store(s, n, v);                 \
        if (!f80_stops_store(&s->ctx))  \
            pop(s, in->b);              \
    }
STORE_POP(fistpll, "fistpll", 8, (uint64_t)f80_to_int(&s->ctx, in->a, 64, false))
STORE_POP(fisttps, "fisttps", 2, (uint64_t)f80_to_int(&s->ctx, in->a, 16, true))
STORE_POP(fisttpl, "fisttpl", 4, (uint64_t)f80_to_int(&s->ctx, in->a, 32, true))
STORE_POP(fisttpll, "fisttpll", 8, (uint64_t)f80_to_int(&s->ctx, in->a, 64, true))
HARDWARE(fbstp, "fbstp %1")
SOFT(fbstp)
{
    uint8_t bcd[10];
    f80_to_bcd(&s->ctx, in->a, bcd);
    if (f80_stops(&s->ctx))
        return;
    memcpy(s->out.memory, bcd, 10);
    pop(s, in->b);
}
HARDWARE(sin, "fsin")
SOFT(sin)
{
    struct f80 r;
    if (f80_sin_cos(&s->ctx, in->a, &r, NULL))
        put(s, r);
    else
        s->out.fsw |= C2;
}
HARDWARE(cos, "fcos")
SOFT(cos)
{
    struct f80 r;
    if (f80_sin_cos(&s->ctx, in->a, NULL, &r))
        put(s, r);
    else
        s->out.fsw |= C2;
}
HARDWARE(sincos, "fsincos")
SOFT(sincos)
{
    struct f80 sine, cosine;
    if (f80_sin_cos(&s->ctx, in->a, &sine, &cosine))
        push(s, sine, cosine);
    else
        s->out.fsw |= C2;
}
HARDWARE(ptan, "fptan")
SOFT(ptan)
{
    struct f80 r;
    if (f80_tan(&s->ctx, in->a, &r))
        push(s, r, f80_classify(r) == F80_NAN ? r : f80_one);
    else
        s->out.fsw |= C2;
}
#define POPPING(name, insn, fn) \
    HARDWARE(name, insn)        \
    SOFT(name)                  \
    {                           \
        pop(s, fn);             \
    }
POPPING(patan, "fpatan", f80_atan2(&s->ctx, in->b, in->a))
POPPING(yl2x, "fyl2x", f80_ylog2(&s->ctx, in->b, in->a))
POPPING(yl2xp1, "fyl2xp1", f80_ylog2p1(&s->ctx, in->b, in->a))

enum {
    EXACT,
    NEARLY = 1,
    SMALL = 2,
    MEMORY_FLOAT = 4,
    FOR_INT = 8,
    BCD = 16,
    NO_C1 = 32,
    PUSHES = 64,
    POPS = 128
};
static const struct operation {
    const char *name;
    struct outcome (*hardware)(const struct operands *in);
    void (*soft)(struct soft *s, const struct operands *in);
    unsigned how;
} operations[] = {
#define OP(name, how)                            \
    {                                            \
#name, hardware_##name, soft_##name, how \
    }
    OP(add, EXACT),
    OP(sub, EXACT),
    OP(mul, EXACT),
    OP(div, EXACT),
    OP(sqrt, EXACT),
    OP(scale, FOR_INT),
    OP(rndint, FOR_INT),
    OP(prem, EXACT),
    OP(prem1, EXACT),
    OP(xtract, PUSHES),
    OP(com, EXACT),
    OP(ucom, EXACT),
    OP(tst, EXACT),
    OP(flds, PUSHES | MEMORY_FLOAT),
    OP(fldl, PUSHES | MEMORY_FLOAT),
    OP(filds, PUSHES),
    OP(fildl, PUSHES),
    OP(fildll, PUSHES),
    OP(fbld, PUSHES | BCD),
    OP(fsts, MEMORY_FLOAT),
    OP(fstl, MEMORY_FLOAT),
    OP(fists, FOR_INT),
    OP(fistl, FOR_INT),
    OP(fistpll, FOR_INT | POPS),
    OP(fisttps, FOR_INT | POPS),
    OP(fisttpl, FOR_INT | POPS),
    OP(fisttpll, FOR_INT | POPS),
    OP(fbstp, FOR_INT | POPS),
    OP(f2xm1, NEARLY | SMALL),
    OP(sin, NEARLY),
    OP(cos, NEARLY),
    OP(sincos, NEARLY | PUSHES),
    OP(ptan, NEARLY | PUSHES),
    OP(patan, NEARLY | POPS),
    OP(yl2x, NEARLY | POPS),
    OP(yl2xp1, NEARLY | SMALL | POPS),
};

static const struct f80 corners[] = {
    { 0, 0 },
    { 1, 0 },                  /* the least denormal */
    { 0x7fffffffffffffff, 0 }, /* the largest */
    { 0x8000000000000000, 0 }, /* pseudo-denormals */
    { 0xc000000000000001, 0 },
    { 0x8000000000000000, 1 }, /* the least normal number */
    { 0x8000000000000001, 1 },
    { 0xffffffffffffffff, 1 },
    { 0x8000000000000000, 0x3f00 },
    { 0x8000000000000000, 0x3ffe }, /* 1/2 */
    { 0xffffffffffffffff, 0x3ffe },
    { 0x8000000000000000, 0x3fff }, /* 1 */
    { 0x8000000000000001, 0x3fff },
    { 0xc000000000000000, 0x3fff },
    { 0x8000000000000000, 0x4000 },
    { 0xc90fdaa22168c235, 0x4000 }, /* pi */
    { 0xfffe000000000000, 0x400d }, /* 32767 */
    { 0xffff000000000000, 0x400d }, /* 32767.5 */
    { 0x8000000000000000, 0x400e }, /* 32768 */
    { 0xffffffffc0000000, 0x401d }, /* 2^31 - 1/4 */
    { 0x8000000000000000, 0x401e },
    { 0xde0b6b3a763fffff, 0x403a }, /* near 10^18 */
    { 0xde0b6b3a763ffff0, 0x403a },
    { 0xde0b6b3a76400000, 0x403a },
    { 0xfffffffffffffffe, 0x403d },
    { 0xffffffffffffffff, 0x403d }, /* 2^63 - 1/2 */
    { 0x8000000000000000, 0x403e },
    { 0x8000000000000000, 0x43fe }, /* 2^1023 */
    { 0xfffffffffffff800, 0x43fe },
    { 0xfffffffffffffc00, 0x43fe },
    { 0xffffff0000000000, 0x407e },
    { 0xffffff8000000000, 0x407e },
    { 0x8000000000000000, 0x3c01 }, /* 2^-1022 */
    { 0xfffffffffffffc00, 0x3c00 },
    { 0x8000000000000000, 0x3f81 },
    { 0xffffffffffffffff, 0x7ffe }, /* the largest number */
    { 0xffffff0000000000, 0x7ffe },
    { 0x8000000000000000, 0x7fff }, /* infinity */
    { 0x8000000000000001, 0x7fff }, /* signalling NaNs */
    { 0xbfffffffffffffff, 0x7fff },
    { 0xc000000000000000, 0x7fff }, /* quiet NaNs */
    { 0xc000000000000001, 0x7fff },
    { 0xffffffffffffffff, 0x7fff },
    { 0, 0x7fff }, /* pseudo-infinity, pseudo-NaN, unnormals */
    { 0x4000000000000001, 0x7fff },
    { 0x4000000000000000, 0x3fff },
    { 0, 0x3fff },
    { 0x7fffffffffffffff, 0x7ffe },
};

static struct f80 random_near(struct f80 near, unsigned how)
{
    uint64_t v = random_u64(), shape = random_u64();
    struct f80 r = { v | (uint64_t)1 << 63, shape & 0xffff };
    unsigned exp = r.se & 0x7fff;
    switch (shape >> 16 & 7) {
    case 0:
        r = corners[(shape >> 20 & 0xff) % ARRAY_LEN(corners)];
        r.se |= shape >> 40 & 1 ? 0x8000 : 0;
        return r;
    case 1: exp = (near.se & 0x7fff) + (shape >> 20 & 7) - 4; break;
    case 2: exp = 16383 + (shape >> 20 & 31) - 16; break;
    case 3: exp = 16383 + (shape >> 20 & 127) - 64; break;
    case 4:
        r.sig &= UINT64_MAX << (shape >> 20 & 63); /* few bits: ties */
        __attribute__((fallthrough));
    case 5: exp = 16383 + (shape >> 30 & 127) - 64; break;
    case 6: exp = (shape & 0x20000) ? 16383 * 2 - exp % 70 : exp % 70; break;
    default: break;
    }
    if (how & SMALL && shape >> 50 & 7)
        exp = 16383 - 1 - (shape >> 30 & 15) * (shape >> 40 & 7);
    if (how & FOR_INT && shape >> 50 & 3)
        exp = 16383 - 2 + (shape >> 30 & 127) % 70;
    if (how & MEMORY_FLOAT && shape >> 50 & 3)
        exp = 16383 + (shape & 0x40000 ? 127 : 1023) * (shape & 0x80000 ? 1 : -1) +
              (shape >> 30 & 31) - 16;
    r.se = (uint16_t)((r.se & 0x8000) | (exp & 0x7fff));
    if ((shape >> 56 & 15) == 0)
        r.sig |= 0xffffffff;
    return r;
}

static struct operands random_operands(unsigned how)
{
    struct operands in;
    uint64_t v = random_u64();
    in.a = random_near((struct f80){ 0, 0x3fff }, how);
    in.b = random_near(in.a, how);
    in.memory[0] = random_u64() >> (v & 1 ? v >> 8 & 63 : 0);
    in.memory[1] = random_u64();
    if (how & MEMORY_FLOAT && v & 6) {
        uint64_t kind = v >> 16 & 3; /* zero, denormal, infinity, NaN in either format */
        bool wide = v >> 20 & 1;
        unsigned frac = wide ? 52 : 23;
        uint64_t ones = (wide ? 0x7ff : 0xff);
        in.memory[0] &= ~(ones << frac);
        if (kind & 1)
            in.memory[0] |= ones << frac;
        if (kind & 2)
            in.memory[0] &= ~((((uint64_t)1 << frac) - 1) & ~(v >> 30 & 0xff));
    }
    if (how & BCD)
        for (int i = 0; i < 9; i++)
            ((uint8_t *)in.memory)[i] = (uint8_t)((v >> i) % 10 << 4 | (v >> (2 * i)) % 10);
    in.fcw = (uint16_t)(0x3f | (v >> 24 & 3) << 10);
    in.fcw |= (v >> 26 & 3) ? 0x300 : (v >> 28 & 1) ? 0x200 : 0;
    if ((v >> 32 & 3) == 0)
        in.fcw &= (uint16_t) ~(v >> 34 & 0x3f);
    return in;
}

static struct outcome compute(const struct operation *op, const struct operands *in)
{
    static const uint8_t bits[] = { 24, 64, 53, 64 };
    struct soft s = {
        .ctx = { .rounding = (uint8_t[]){ SF_RNE, SF_RDN, SF_RUP, SF_RTZ }[in->fcw >> 10 & 3],
                 .precision = bits[in->fcw >> 8 & 3],
                 .masked = in->fcw & 0x3f },
        .out = { .st0 = in->a, .st1 = in->b, .memory = { in->memory[0], in->memory[1] } }
    };
    op->soft(&s, in);
    s.out.fsw |= s.ctx.flags;
    if (s.ctx.up && op->soft != soft_prem && op->soft != soft_prem1)
        s.out.fsw |= C1;
    return s.out;
}

static uint64_t apart(struct f80 a, struct f80 b)
{
    if (((a.se ^ b.se) & 0x7ffe) == 0 &&
        (a.se & 0x7fff) < 2) { /* one step of exponent is denormal */
        a.se |= 1;
        b.se |= 1;
    }
    if (a.se == b.se)
        return a.sig > b.sig ? a.sig - b.sig : b.sig - a.sig;
    /* across a power of two */
    if (a.se == b.se + 1 && a.sig >> 63)
        return a.sig - ((uint64_t)1 << 63) + (UINT64_MAX - b.sig) + 1;
    if (b.se == a.se + 1 && b.sig >> 63)
        return b.sig - ((uint64_t)1 << 63) + (UINT64_MAX - a.sig) + 1;
    return UINT64_MAX;
}

static bool close_enough(unsigned how, struct f80 a, struct f80 b)
{
    return apart(a, b) <= (how & NEARLY);
}

static bool agree(const struct operation *op, const struct operands *in, struct outcome want,
                  struct outcome got)
{
    uint16_t look = 0x3f | ALL_C;
    if (op->how & NEARLY)
        look &= (uint16_t) ~(C1 | F80_INEXACT | (want.st0.se & 0x7fff ? 0 : F80_UNDERFLOW));
    if (want.fsw & C2 && (op->soft == soft_prem || op->soft == soft_prem1))
        look &= (uint16_t) ~(C0 | C1 | C3);
    bool second = !(op->how & POPS);
    return close_enough(op->how, want.st0, got.st0) &&
           (!second || close_enough(op->how, want.st1, got.st1)) &&
           memcmp(want.memory, got.memory, 16) == 0 && (want.fsw & look) == (got.fsw & look);
}

static void check(const struct operation *op, const struct operands *in, unsigned *bad)
{
    struct outcome want = op->hardware(in), got = compute(op, in);
    if (agree(op, in, want, got))
        return;
    (*bad)++;
    if (*bad > 5)
        return;
    print_message("# %s of %04x.%016" PRIx64 ", %04x.%016" PRIx64 ", %016" PRIx64 " %016" PRIx64
                  " under %04x:\n#   CPU %04x.%016" PRIx64 ", %04x.%016" PRIx64 ", %016" PRIx64
                  " %016" PRIx64 " %04x\n#   we  %04x.%016" PRIx64 ", %04x.%016" PRIx64
                  ", %016" PRIx64 " %016" PRIx64 " %04x\n",
                  op->name, in->a.se, in->a.sig, in->b.se, in->b.sig, in->memory[0], in->memory[1],
                  in->fcw, want.st0.se, want.st0.sig, want.st1.se, want.st1.sig, want.memory[0],
                  want.memory[1], want.fsw, got.st0.se, got.st0.sig, got.st1.se, got.st1.sig,
                  got.memory[0], got.memory[1], got.fsw);
}

static void corner_operands_agree_with_the_cpu(void **unused)
{
    unsigned bad = 0;
    for (size_t k = 0; k < ARRAY_LEN(operations); k++)
        for (size_t i = 0; i < 2 * ARRAY_LEN(corners); i++)
            for (size_t j = 0; j < 2 * ARRAY_LEN(corners); j++)
                for (unsigned fcw = 0; fcw < 8; fcw++) {
                    struct operands in = { .a = corners[i / 2], .b = corners[j / 2] };
                    in.a.se |= i & 1 ? 0x8000 : 0;
                    in.b.se |= j & 1 ? 0x8000 : 0;
                    in.fcw = (uint16_t)((fcw & 3) << 10 | (fcw & 4 ? 0x37f : 0x340));
                    check(&operations[k], &in, &bad);
                }
    assert_int_equal(bad, 0);
}

static void random_operands_agree_with_the_cpu(void **unused)
{
    const char *asked = getenv("TANDEM_TEST_CASES");
    unsigned long n = asked ? strtoul(asked, NULL, 0) : 20000;
    unsigned all = 0;
    for (size_t k = 0; k < ARRAY_LEN(operations); k++) {
        unsigned bad = 0;
        for (unsigned long i = 0; i < n; i++) {
            struct operands in = random_operands(operations[k].how);
            check(&operations[k], &in, &bad);
        }
        if (bad)
            print_message("# %s: %u of %lu differ\n", operations[k].name, bad, n);
        all += bad;
    }
    assert_int_equal(all, 0);
}

static void constants_agree_with_the_cpu(void **unused)
{
#define CONSTANT(i, insn)                                                                      \
    for (unsigned r = 0; r < 4; r++) {                                                         \
        uint16_t fcw = (uint16_t)(0x37f | r << 10);                                            \
        struct save s;                                                                         \
        __asm__ volatile("fninit; fldcw %1; " insn "; fnsave %0" : "=m"(s) : "m"(fcw));        \
        struct f80_ctx ctx = { .rounding = (uint8_t[]){ SF_RNE, SF_RDN, SF_RUP, SF_RTZ }[r] }; \
        struct f80 c = f80_constant(&ctx, i);                                                  \
        assert_int_equal(c.sig, s.st[0].sig);                                                  \
        assert_int_equal(c.se, s.st[0].se);                                                    \
    }
    CONSTANT(0, "fld1")
    CONSTANT(1, "fldl2t")
    CONSTANT(2, "fldl2e")
    CONSTANT(3, "fldpi")
    CONSTANT(4, "fldlg2")
    CONSTANT(5, "fldln2")
    CONSTANT(6, "fldz")
}
#else
static void corner_operands_agree_with_the_cpu(void **unused)
{
    print_message("# the host is not x86-64\n");
    skip();
}
static void random_operands_agree_with_the_cpu(void **unused)
{
    skip();
}
static void constants_agree_with_the_cpu(void **unused)
{
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(constants_agree_with_the_cpu),
        cmocka_unit_test(corner_operands_agree_with_the_cpu),
        cmocka_unit_test(random_operands_agree_with_the_cpu),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
