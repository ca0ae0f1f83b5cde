/* The x87: registers, exceptions and instructions (SDM 1-8). Arithmetic is tcg/softfloat80's.
 *
 * FIP, FDP and FOP are recorded where an unmasked exception is, the only time they say something that a handler
 * does not know (CPUID calls this FDP_EXCPTN_ONLY; AMD's CPUs do so with all three). FCS and FDS read as zero. */
#include "target/x86_64/x87.h"
#include "core/util.h"
#include "target/x86_64/tr.h"
#include "tcg/softfloat80.h"

enum { /* FSW, SDM 1-8.1.3 */
       SF = 1 << 6,
       ES = 1 << 7,
       C0 = 1 << 8,
       C1 = 1 << 9,
       C2 = 1 << 10,
       C3 = 1 << 14,
       BUSY = 1 << 15,
       CODES = C0 | C1 | C2 | C3,
       EXCEPTIONS = 0x3f,
       TOP_SHIFT = 11,
       TOP_MASK = 7 << TOP_SHIFT
};
enum { CR0_MP = 1 << 1 };
enum { FCW_INIT = 0x37f, FCW_WRITABLE = 0x1f3f, FCW_ONE = 0x40 };

/* ---- the register stack ------------------------------------------------------------------------- */

static unsigned top_of(const struct x86_cpu *x)
{
    return x->fsw >> TOP_SHIFT & 7;
}

static void set_top(struct x86_cpu *x, unsigned top)
{
    x->fsw = (uint16_t)((x->fsw & ~TOP_MASK) | (top & 7) << TOP_SHIFT);
}

static unsigned physical(const struct x86_cpu *x, unsigned i)
{
    return (top_of(x) + i) & 7;
}

static bool is_empty(const struct x86_cpu *x, unsigned i)
{
    return !(x->ftw >> physical(x, i) & 1);
}

static struct f80 load_f80(const uint8_t at[10])
{
    struct f80 v;
    memcpy(&v.sig, at, 8);
    memcpy(&v.se, at + 8, 2);
    return v;
}

static void store_f80(uint8_t at[10], struct f80 v)
{
    memcpy(at, &v.sig, 8);
    memcpy(at + 8, &v.se, 2);
}

static struct f80 get_st(const struct x86_cpu *x, unsigned i)
{
    return load_f80(x->st[physical(x, i)]);
}

static void set_st(struct x86_cpu *x, unsigned i, struct f80 v)
{
    unsigned p = physical(x, i);
    store_f80(x->st[p], v);
    x->ftw |= (uint8_t)(1 << p);
}

static void pop(struct x86_cpu *x)
{
    x->ftw &= (uint8_t) ~(1 << top_of(x));
    set_top(x, top_of(x) + 1);
}

static void push(struct x86_cpu *x, struct f80 v)
{
    set_top(x, top_of(x) - 1);
    set_st(x, 0, v);
}

static void turn(struct x86_cpu *x, unsigned by)
{
    uint8_t old[8][16];
    memcpy(old, x->st, sizeof(old));
    for (unsigned i = 0; i < 8; i++)
        memcpy(x->st[i], old[(i + by) & 7], 16);
}

void x87_settle(struct x86_cpu *x)
{
    if (x->st_physical && top_of(x))
        turn(x, top_of(x));
    x->st_physical = false;
}

void x87_resume(struct x86_cpu *x)
{
    if (!x->st_physical && top_of(x))
        turn(x, 8 - top_of(x));
    x->st_physical = true;
}

/* ---- exceptions (SDM 1-8.4 to 1-8.7) -------------------------------------------------------------- */

/* ES and B say whether an unmasked exception waits. */
static void update_summary(struct x86_cpu *x)
{
    bool waits = x->fsw & ~x->fcw & EXCEPTIONS;
    x->fsw = (uint16_t)((x->fsw & ~(ES | BUSY)) | (waits ? ES | BUSY : 0));
}

/* An exception waits. Without CR0.NE the board hears of it as PCs are wired, by FERR# (SDM 3-2.5), and its
 * interrupt comes soon. */
static void wait_slowly(struct x86_cpu *x)
{
    if (x->cr0 & X86_CR0_NE)
        x86_fault(x, X86_MF);
    if (x->ferr)
        x->ferr(x->ferr_opaque, true);
}

static void wait(struct x86_cpu *x)
{
    if (x->fsw & ES)
        wait_slowly(x);
}

/* In place: to return it would be to read together what was just written in parts, which costs more than an addition. */
static void begin(struct x86_cpu *x, struct f80_ctx *ctx)
{
    static const uint8_t roundings[] = { SF_RNE, SF_RDN, SF_RUP, SF_RTZ };
    static const uint8_t precisions[] = { 24, 64, 53, 64 };
    wait(x);
    ctx->rounding = roundings[x->fcw >> 10 & 3];
    ctx->precision = precisions[x->fcw >> 8 & 3];
    ctx->masked = x->fcw & EXCEPTIONS;
    ctx->flags = 0;
    ctx->denormal = ctx->up = false;
}

static void note_place(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    x->fip = tcg_insn_pc(x->cpu) - x->seg[X86_CS].base;
    x->fdp = address;
    x->fop = X87_FOP(how);
}

/* Flags become the CPU's, C1 says how the result was rounded. */
static void finish(struct x86_cpu *x, const struct f80_ctx *ctx, uint64_t how, uint64_t address)
{
    x->fsw = (uint16_t)((x->fsw & ~C1) | ctx->flags | (ctx->up ? C1 : 0));
    if (ctx->flags & ~x->fcw & EXCEPTIONS) {
        x->fsw |= ES | BUSY;
        note_place(x, how, address);
    }
}

/* An empty register was read, or (`over`) a used one pushed on. True: there is a masked response, the default
 * NaN. */
static bool stack_fault(struct x86_cpu *x, bool over, uint64_t how, uint64_t address)
{
    struct f80_ctx ctx = { .flags = F80_INVALID, .up = over };
    finish(x, &ctx, how, address);
    x->fsw |= SF;
    return x->fcw & F80_INVALID;
}

static void push_result(struct x86_cpu *x, const struct f80_ctx *ctx, struct f80 v, uint64_t how,
                        uint64_t address)
{
    if (is_empty(x, 7)) {
        finish(x, ctx, how, address);
        if (!f80_stops(ctx))
            push(x, v);
    } else if (stack_fault(x, true, how, address)) {
        push(x, f80_default_nan);
    }
}

/* ---- arithmetic --------------------------------------------------------------------------------- */

/* The word of the status register that an order is. */
static uint16_t order_codes(enum sf_order order)
{
    static const uint16_t codes[] = { C0, C3, 0, C3 | C2 | C0 };
    return codes[order + 1];
}

static void set_codes(struct x86_cpu *x, uint16_t codes)
{
    x->fsw = (uint16_t)((x->fsw & ~CODES) | codes);
}

static struct f80 arith(struct f80_ctx *ctx, unsigned op, struct f80 a, struct f80 b)
{
    switch (op) {
    case X87_ADD: return f80_add(ctx, a, b);
    case X87_MUL: return f80_mul(ctx, a, b);
    case X87_SUB: return f80_sub(ctx, a, b);
    case X87_SUBR: return f80_sub(ctx, b, a);
    case X87_DIV: return f80_div(ctx, a, b);
    default: return f80_div(ctx, b, a);
    }
}

static void pop_compared(struct x86_cpu *x, uint64_t how)
{
    if (how & X87_POP)
        pop(x);
    if (X87_OP(how) == X87_COMPP)
        pop(x);
}

/* Compare ST(0) with b. */
static void compare(struct x86_cpu *x, struct f80_ctx *ctx, struct f80 b, uint64_t how,
                    uint64_t address)
{
    enum sf_order order = f80_compare(ctx, get_st(x, 0), b, how & X87_QUIET);
    finish(x, ctx, how, address);
    set_codes(x, order_codes(order));
    if (!f80_stops(ctx))
        pop_compared(x, how);
}

static void compare_empty(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    bool goes_on = stack_fault(x, false, how, address);
    set_codes(x, order_codes(SF_UNORDERED));
    if (goes_on)
        pop_compared(x, how);
}

static void arith_or_compare(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    unsigned i = X87_I(how), op = X87_OP(how), to = how & X87_TO_STI ? i : 0,
             from = how & X87_TO_STI ? 0 : i;
    bool compares = op == X87_COM || op == X87_COMP || op == X87_COMPP;
    begin(x, &ctx);
    if (is_empty(x, 0) || is_empty(x, i)) {
        if (compares) {
            compare_empty(x, how, 0);
        } else if (stack_fault(x, false, how, 0)) {
            set_st(x, to, f80_default_nan);
            if (how & X87_POP)
                pop(x);
        }
    } else if (compares) {
        compare(x, &ctx, get_st(x, i), how, 0);
    } else {
        struct f80 r = arith(&ctx, op, get_st(x, to), get_st(x, from));
        finish(x, &ctx, how, 0);
        if (f80_stops(&ctx))
            return;
        set_st(x, to, r);
        if (how & X87_POP)
            pop(x);
    }
}

void x86h_x87_arith_mem(struct x86_cpu *x, uint64_t how, uint64_t value, uint64_t address)
{
    struct f80_ctx ctx;
    unsigned op = X87_OP(how);
    struct f80 b;
    begin(x, &ctx);
    switch (X87_KIND(how)) {
    case X87_F32: b = f80_widen(&ctx, SF_F32, value); break;
    case X87_F64: b = f80_widen(&ctx, SF_F64, value); break;
    case X87_I16: b = f80_from_int((int16_t)value); break;
    default: b = f80_from_int((int32_t)value);
    }
    if (is_empty(x, 0)) {
        if (op == X87_COM || op == X87_COMP)
            compare_empty(x, how, address);
        else if (stack_fault(x, false, how, address))
            set_st(x, 0, f80_default_nan);
    } else if (op == X87_COM || op == X87_COMP) {
        compare(x, &ctx, b, how, address);
    } else {
        struct f80 r = arith(&ctx, op, get_st(x, 0), b);
        finish(x, &ctx, how, address);
        if (!f80_stops(&ctx))
            set_st(x, 0, r);
    }
}

uint64_t x86h_x87_comi(struct x86_cpu *x, uint64_t how)
{
    static const uint8_t flags[] = { X86_FLAG_CF, X86_FLAG_ZF, 0,
                                     X86_FLAG_ZF | X86_FLAG_PF | X86_FLAG_CF };
    struct f80_ctx ctx;
    unsigned i = X87_I(how);
    enum sf_order order = SF_UNORDERED;
    bool goes_on;
    begin(x, &ctx);
    if (is_empty(x, 0) || is_empty(x, i)) {
        goes_on = stack_fault(x, false, how, 0);
    } else {
        order = f80_compare(&ctx, get_st(x, 0), get_st(x, i), how & X87_QUIET);
        finish(x, &ctx, how, 0);
        goes_on = !f80_stops(&ctx);
    }
    if (how & X87_POP && goes_on)
        pop(x);
    return flags[order + 1];
}

/* ---- instructions of registers alone --------------------------------------------------------------- */

/* SDM 2-3.2, FXAM: C3, C2, C0 by class, C1 is the sign; an empty register is 101. */
static void examine(struct x86_cpu *x)
{
    static const uint16_t of_class[] = {
        [F80_UNSUPPORTED] = 0, [F80_NAN] = C0,  [F80_NORMAL] = C2,
        [F80_INF] = C2 | C0,   [F80_ZERO] = C3, [F80_DENORMAL_NUMBER] = C3 | C2,
    };
    struct f80 v = get_st(x, 0);
    uint16_t codes = is_empty(x, 0) ? C3 | C0 : of_class[f80_classify(v)];
    set_codes(x, codes | (v.se & 0x8000 ? C1 : 0));
}

/* C2 is 0 already; a NaN leaves C0 and C3. */
static void set_remainder_codes(struct x86_cpu *x, struct f80 r, int quotient)
{
    if (f80_classify(r) == F80_NAN)
        return;
    x->fsw &= (uint16_t)~CODES;
    if (quotient < 0)
        x->fsw |= C2;
    else
        x->fsw |= (quotient & 1 ? C1 : 0) | (quotient & 2 ? C3 : 0) | (quotient & 4 ? C0 : 0);
}

static void put_result(struct x86_cpu *x, const struct f80_ctx *ctx, struct f80 r, uint64_t how)
{
    finish(x, ctx, how, 0);
    if (!f80_stops(ctx))
        set_st(x, 0, r);
}

/* D9 E0 to FF: what takes ST(0) alone. */
static void unary(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    struct f80 a = get_st(x, 0), r = a;
    begin(x, &ctx);
    if (is_empty(x, 0)) {
        if (X87_OP(how) == 0xe4)
            compare_empty(x, how, 0);
        else if (stack_fault(x, false, how, 0))
            set_st(x, 0, f80_default_nan);
        return;
    }
    switch (X87_OP(how)) {
    case 0xe0: r.se ^= 0x8000; break;                      /* FCHS */
    case 0xe1: r.se &= 0x7fff; break;                      /* FABS */
    case 0xe4: compare(x, &ctx, f80_zero, how, 0); return; /* FTST */
    case 0xf0: r = f80_exp2m1(&ctx, a); break;             /* F2XM1 */
    case 0xfa: r = f80_sqrt(&ctx, a); break;               /* FSQRT */
    default: r = f80_round_to_int(&ctx, a);                /* FRNDINT */
    }
    put_result(x, &ctx, r, how);
}

/* FSIN, FCOS: C2 says that the operand is too large. */
static void sine_or_cosine(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    struct f80 r;
    bool cosine = X87_OP(how) == 0xff;
    begin(x, &ctx);
    if (is_empty(x, 0)) {
        x->fsw &= (uint16_t)~C2;
        unary(x, how);
        return;
    }
    if (!f80_sin_cos(&ctx, get_st(x, 0), cosine ? NULL : &r, cosine ? &r : NULL)) {
        x->fsw = (uint16_t)((x->fsw & ~C1) | C2);
        return;
    }
    x->fsw &= (uint16_t)~C2;
    put_result(x, &ctx, r, how);
}

/* FPTAN, FSINCOS, FXTRACT: a result in place of ST(0) and one pushed. */
static void two_results(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    struct f80 a = get_st(x, 0), under, over = f80_one;
    bool in_range = true;
    begin(x, &ctx);
    if (is_empty(x, 0) || !is_empty(x, 7)) {
        if (X87_OP(how) != 0xf4)
            x->fsw &= (uint16_t)~C2;
        if (stack_fault(x, !is_empty(x, 0), how, 0)) {
            set_st(x, 0, f80_default_nan);
            push(x, f80_default_nan);
        }
        return;
    }
    switch (X87_OP(how)) {
    case 0xf2: /* FPTAN */
        in_range = f80_tan(&ctx, a, &under);
        if (in_range && f80_classify(under) == F80_NAN)
            over = under;
        break;
    case 0xfb: in_range = f80_sin_cos(&ctx, a, &under, &over); break; /* FSINCOS */
    default: under = f80_extract(&ctx, a, &over);                     /* FXTRACT */
    }
    if (!in_range) {
        x->fsw = (uint16_t)((x->fsw & ~C1) | C2);
        return;
    }
    if (X87_OP(how) != 0xf4)
        x->fsw &= (uint16_t)~C2;
    finish(x, &ctx, how, 0);
    if (f80_stops(&ctx))
        return;
    set_st(x, 0, under);
    push(x, over);
}

/* D9 E0 to FF: what takes ST(0) and ST(1). */
static void binary(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    struct f80 a = get_st(x, 0), b = get_st(x, 1), r;
    int quotient = 0;
    bool pops = true, remainder = X87_OP(how) == 0xf5 || X87_OP(how) == 0xf8;
    begin(x, &ctx);
    if (remainder)
        x->fsw &= (uint16_t)~C2;
    if (is_empty(x, 0) || is_empty(x, 1)) {
        bool in_place = remainder || X87_OP(how) == 0xfd;
        if (!stack_fault(x, false, how, 0))
            return;
        if (!in_place)
            pop(x);
        set_st(x, 0, f80_default_nan);
        return;
    }
    switch (X87_OP(how)) {
    case 0xf1: r = f80_ylog2(&ctx, b, a); break;   /* FYL2X */
    case 0xf3: r = f80_atan2(&ctx, b, a); break;   /* FPATAN */
    case 0xf9: r = f80_ylog2p1(&ctx, b, a); break; /* FYL2XP1 */
    case 0xfd:                                     /* FSCALE */
        r = f80_scale(&ctx, a, b);
        pops = false;
        break;
    default: /* FPREM1, FPREM */
        r = f80_rem(&ctx, a, b, X87_OP(how) == 0xf5, &quotient);
        pops = false;
    }
    finish(x, &ctx, how, 0);
    if (f80_stops(&ctx))
        return;
    if (remainder)
        set_remainder_codes(x, r, quotient);
    if (pops)
        pop(x);
    set_st(x, 0, r);
}

static void load_constant(struct x86_cpu *x, uint64_t how)
{
    struct f80_ctx ctx;
    begin(x, &ctx);
    push_result(x, &ctx, f80_constant(&ctx, X87_OP(how) - 0xe8), how, 0);
}

static void exchange(struct x86_cpu *x, uint64_t how)
{
    unsigned i = X87_I(how);
    wait(x);
    if (is_empty(x, 0) || is_empty(x, i)) {
        if (!stack_fault(x, false, how, 0))
            return;
        if (is_empty(x, 0))
            set_st(x, 0, f80_default_nan);
        if (is_empty(x, i))
            set_st(x, i, f80_default_nan);
    } else {
        x->fsw &= (uint16_t)~C1;
    }
    struct f80 a = get_st(x, 0);
    set_st(x, 0, get_st(x, i));
    set_st(x, i, a);
}

static void load_register(struct x86_cpu *x, uint64_t how)
{
    unsigned i = X87_I(how);
    wait(x);
    if (is_empty(x, i) || !is_empty(x, 7)) {
        if (stack_fault(x, !is_empty(x, i), how, 0))
            push(x, f80_default_nan);
    } else {
        x->fsw &= (uint16_t)~C1;
        push(x, get_st(x, i));
    }
}

/* D9 D8+i, not documented: no exception, nothing comes from an empty register. */
static void move_and_pop(struct x86_cpu *x, uint64_t how)
{
    wait(x);
    if (!is_empty(x, 0))
        set_st(x, X87_I(how), get_st(x, 0));
    x->fsw &= (uint16_t)~C1;
    pop(x);
}

static void store_register(struct x86_cpu *x, uint64_t how)
{
    wait(x);
    struct f80 v = get_st(x, 0);
    if (is_empty(x, 0)) {
        if (!stack_fault(x, false, how, 0))
            return;
        v = f80_default_nan;
    } else {
        x->fsw &= (uint16_t)~C1;
    }
    set_st(x, X87_I(how), v);
    if (how & X87_POP)
        pop(x);
}

void x86h_x87_cmov(struct x86_cpu *x, uint64_t how, uint64_t condition)
{
    unsigned i = X87_I(how);
    wait(x);
    if (is_empty(x, 0) || is_empty(x, i)) {
        if (stack_fault(x, false, how, 0))
            set_st(x, 0, f80_default_nan);
        return;
    }
    if (condition)
        set_st(x, 0, get_st(x, i));
}

void x86h_x87_reg(struct x86_cpu *x, uint64_t how)
{
    switch (X87_OP(how)) {
    case X87_FLD: load_register(x, how); break;
    case X87_FXCH: exchange(x, how); break;
    case X87_FST: store_register(x, how); break;
    case X87_FSTNCE: move_and_pop(x, how); break;
    case X87_WAIT:
        if ((x->cr0 & (CR0_MP | X86_CR0_TS)) == (CR0_MP | X86_CR0_TS))
            x86_fault(x, X86_NM);
        wait(x);
        break;
    case X87_FNOP: wait(x); break;
    case X87_FFREE:
        wait(x);
        x->fsw &= (uint16_t)~C1;
        x->ftw &= (uint8_t) ~(1 << physical(x, X87_I(how)));
        if (how & X87_POP)
            pop(x);
        break;
    case 0xe0:
    case 0xe1:
    case 0xe4:
    case 0xf0:
    case 0xfa:
    case 0xfc: unary(x, how); break;
    case 0xe5:
        wait(x);
        examine(x);
        break;
    case 0xe8:
    case 0xe9:
    case 0xea:
    case 0xeb:
    case 0xec:
    case 0xed:
    case 0xee: load_constant(x, how); break;
    case 0xf2:
    case 0xf4:
    case 0xfb: two_results(x, how); break;
    case 0xf1:
    case 0xf3:
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfd: binary(x, how); break;
    case 0xf6:
    case 0xf7: /* FDECSTP, FINCSTP */
        wait(x);
        x->fsw &= (uint16_t)~C1;
        set_top(x, top_of(x) + (X87_OP(how) & 1 ? 1 : 7));
        break;
    case 0xfe:
    case 0xff: sine_or_cosine(x, how); break;
    default: arith_or_compare(x, how);
    }
}

/* ---- loads and stores, the plain cases first -------------------------------------------------------- */

/* A normal number of 64 bits on a stack with room. */
static bool load_plain(struct x86_cpu *x, uint64_t bits)
{
    unsigned exp = bits >> 52 & 0x7ff;
    if (x->fsw & ES || exp - 1 >= 0x7fe || !is_empty(x, 7))
        return false;
    x->fsw &= (uint16_t)~C1;
    push(x, (struct f80){ (uint64_t)1 << 63 | bits << 11,
                          (uint16_t)((bits >> 48 & 0x8000) + exp + 16383 - 1023) });
    return true;
}

/* A normal number, in the middle of the format's range. */
static bool store_plain(struct x86_cpu *x, uint64_t how, uint64_t *to)
{
    bool wide = X87_KIND(how) == X87_F64;
    unsigned frac_bits = wide ? 52 : 23, bias = wide ? 1023 : 127, drop = 63 - frac_bits;
    struct f80 v = get_st(x, 0);
    unsigned exp = (v.se & 0x7fffu) - 16383 + bias;
    uint64_t unit = (uint64_t)1 << drop, rest = v.sig & (unit - 1), half = unit >> 1;
    bool sign = v.se >> 15, up = false;
    if (x->fsw & ES || exp - 1 >= 2 * bias - 1 || !(v.sig >> 63) || is_empty(x, 0) ||
        (rest && !(x->fcw & F80_INEXACT)))
        return false;
    switch (x->fcw >> 10 & 3) {
    case 0: up = rest > half || (rest == half && v.sig & unit); break;
    case 1: up = sign && rest; break;
    case 2: up = !sign && rest; break;
    default: break;
    }
    *to = (uint64_t)sign << (wide ? 63 : 31) |
          (((uint64_t)(exp - 1) << frac_bits) + (v.sig >> drop) + up);
    x->x87_fsw = (uint16_t)((x->fsw & ~C1) | (up ? C1 : 0) | (rest ? F80_INEXACT : 0));
    return true;
}

/* ---- loads and stores --------------------------------------------------------------------------- */

void x86h_x87_load(struct x86_cpu *x, uint64_t how, uint64_t low, uint64_t more)
{
    if (X87_KIND(how) == X87_F64 && load_plain(x, low))
        return;
    struct f80_ctx ctx;
    struct f80 v;
    uint8_t bcd[16];
    uint64_t address = more;
    begin(x, &ctx);
    switch (X87_KIND(how)) {
    case X87_F32: v = f80_from_float(&ctx, SF_F32, low); break;
    case X87_F64: v = f80_from_float(&ctx, SF_F64, low); break;
    case X87_I16: v = f80_from_int((int16_t)low); break;
    case X87_I32: v = f80_from_int((int32_t)low); break;
    case X87_I64: v = f80_from_int((int64_t)low); break;
    case X87_F80:
        v = (struct f80){ low, (uint16_t)more };
        address = 0;
        break;
    default:
        store_le(bcd, 8, low);
        store_le(bcd + 8, 2, more);
        v = f80_from_bcd(bcd);
        address = 0;
    }
    /* Of what a load finds only an invalid operand keeps it from being done. */
    ctx.masked |= F80_DENORMAL;
    push_result(x, &ctx, v, how, address);
}

/* An 80-bit or decimal value in two parts. */
static uint64_t split(struct x86_cpu *x, const uint8_t bytes[10])
{
    x->x87_high = load_le(bytes + 8, 2);
    return load_le(bytes, 8);
}

static uint64_t convert(struct x86_cpu *x, struct f80_ctx *ctx, uint64_t how, struct f80 v)
{
    uint8_t bytes[10];
    bool truncate = how & X87_TRUNCATE;
    switch (X87_KIND(how)) {
    case X87_F32: return f80_to_float(ctx, SF_F32, v);
    case X87_F64: return f80_to_float(ctx, SF_F64, v);
    case X87_I16: return (uint64_t)f80_to_int(ctx, v, 16, truncate);
    case X87_I32: return (uint64_t)f80_to_int(ctx, v, 32, truncate);
    case X87_I64: return (uint64_t)f80_to_int(ctx, v, 64, truncate);
    case X87_F80: store_f80(bytes, v); break;
    default: f80_to_bcd(ctx, v, bytes);
    }
    return split(x, bytes);
}

/* Raise what the store would where that does not happen: it is not done, or it crosses pages in two parts. */
static void probe_store(struct x86_cpu *x, uint64_t how, uint64_t address, bool stops, uint16_t fsw)
{
    static const uint8_t sizes[] = { [X87_F32] = 4, [X87_F64] = 8, [X87_F80] = 10, [X87_I16] = 2,
                                     [X87_I32] = 4, [X87_I64] = 8, [X87_BCD] = 10 };
    unsigned size = sizes[X87_KIND(how)];
    bool crosses = (address & 4095) + size > 4096;
    if (!stops && !(crosses && size == 10))
        return;
    uint16_t after = x->fsw;
    x->fsw = fsw;
    tcg_probe(x->cpu, address, size, ACCESS_WRITE, X86_MMU_DATA);
    x->fsw = after;
}

/* The store itself comes between this and x87_commit, and may fault: until then the status word is the old one. */
uint64_t x86h_x87_store(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    uint64_t v;
    if (X87_KIND(how) <= X87_F64 && store_plain(x, how, &v))
        return v;
    struct f80_ctx ctx;
    uint16_t before = x->fsw;
    begin(x, &ctx);
    if (is_empty(x, 0)) {
        struct f80_ctx quiet = { .masked = EXCEPTIONS };
        v = convert(x, &quiet, how, f80_default_nan);
        ctx.flags = stack_fault(x, false, how, address) ? 0 : F80_INVALID;
    } else {
        v = convert(x, &ctx, how, get_st(x, 0));
        finish(x, &ctx, how, address);
    }
    probe_store(x, how, address, f80_stops_store(&ctx), before);
    if (f80_stops_store(&ctx)) {
        x->pc = tcg_insn_pc(x->cpu) + X87_LEN(how);
        tcg_leave(x->cpu);
    }
    x->x87_fsw = x->fsw;
    x->fsw = before;
    return v;
}

uint64_t x86h_x87_high(struct x86_cpu *x)
{
    return x->x87_high;
}

void x86h_x87_commit(struct x86_cpu *x, uint64_t how)
{
    x->fsw = x->x87_fsw;
    if (how & X87_POP)
        pop(x);
}

/* ---- control ------------------------------------------------------------------------------------ */

static void set_control(struct x86_cpu *x, uint64_t fcw)
{
    x->fcw = (uint16_t)((fcw & FCW_WRITABLE) | FCW_ONE);
    update_summary(x);
}

void x86h_x87_fldcw(struct x86_cpu *x, uint64_t fcw)
{
    wait(x);
    set_control(x, fcw);
}

uint64_t x86h_x87_fcw(struct x86_cpu *x)
{
    return x->fcw;
}

uint64_t x86h_x87_fsw(struct x86_cpu *x)
{
    return x->fsw;
}

void x86h_x87_fnclex(struct x86_cpu *x)
{
    x->fsw &= (uint16_t) ~(EXCEPTIONS | SF | ES | BUSY);
    if (x->ferr)
        x->ferr(x->ferr_opaque, false);
}

void x86h_x87_fninit(struct x86_cpu *x)
{
    x->fcw = FCW_INIT;
    x->fsw = x->fop = 0;
    x->ftw = 0;
    x->fip = x->fdp = 0;
    if (x->ferr)
        x->ferr(x->ferr_opaque, false);
}

/* ---- environments (SDM 1-8.1.10) ------------------------------------------------------------------ */

/* Two bits a register: valid, zero, special, empty. */
static uint16_t full_tags(const struct x86_cpu *x)
{
    unsigned tags = 0;
    for (unsigned p = 0; p < 8; p++) {
        enum f80_class c = f80_classify(load_f80(x->st[p]));
        unsigned tag = !(x->ftw >> p & 1) ? 3 : c == F80_ZERO ? 1 : c == F80_NORMAL ? 0 : 2;
        tags |= tag << 2 * p;
    }
    return (uint16_t)tags;
}

static void set_full_tags(struct x86_cpu *x, uint16_t tags)
{
    x->ftw = 0;
    for (unsigned p = 0; p < 8; p++)
        if ((tags >> 2 * p & 3) != 3)
            x->ftw |= (uint8_t)(1 << p);
}

static void write_bytes(struct x86_cpu *x, uint64_t address, const uint8_t *from, unsigned n)
{
    tcg_probe(x->cpu, address, n, ACCESS_WRITE, X86_MMU_DATA); /* all or nothing */
    for (unsigned i = 0, step; i < n; i += step) {
        step = n - i >= 8 ? 8 : n - i >= 4 ? 4 : 2;
        tcg_store(x->cpu, address + i, step, load_le(from + i, step), X86_MMU_DATA);
    }
}

static void read_bytes(struct x86_cpu *x, uint64_t address, uint8_t *to, unsigned n)
{
    for (unsigned i = 0, step; i < n; i += step) {
        step = n - i >= 8 ? 8 : n - i >= 4 ? 4 : 2;
        store_le(to + i, step, tcg_load(x->cpu, address + i, step, X86_MMU_DATA));
    }
}

/* Seven fields of 2 or 4 bytes; returns their size together. */
static unsigned environment(const struct x86_cpu *x, uint64_t how, uint8_t to[28])
{
    bool wide = how & X87_ENV32;
    uint32_t f[7] = { x->fcw, x->fsw, full_tags(x), (uint32_t)x->fip, 0, (uint32_t)x->fdp, 0 };
    if (how & X87_REAL) {
        uint32_t upper = wide ? 0xffff : 0xf;
        f[4] = (f[3] >> 16 & upper) << 12 | x->fop;
        f[6] = (f[5] >> 16 & upper) << 12;
        f[3] &= 0xffff;
        f[5] &= 0xffff;
    } else if (wide) {
        f[4] = (uint32_t)x->fop << 16;
    }
    for (unsigned i = 0; i < 7; i++) {
        bool half = i < 3 || i == 6 ||
                    how & X87_REAL; /* the rest of such a field is reserved and reads as ones */
        if (wide)
            store_le(to + 4 * i, 4,
                     half && !(how & X87_REAL && i > 3 && i != 5) ? f[i] | 0xffff0000 : f[i]);
        else
            store_le(to + 2 * i, 2, f[i]);
    }
    return wide ? 28 : 14;
}

static unsigned environment_size(uint64_t how)
{
    return how & X87_ENV32 ? 28 : 14;
}

static void set_environment(struct x86_cpu *x, uint64_t how, const uint8_t *from)
{
    unsigned step = how & X87_ENV32 ? 4 : 2;
    uint32_t f[7];
    for (unsigned i = 0; i < 7; i++)
        f[i] = (uint32_t)load_le(from + step * i, step);
    x->fsw = (uint16_t)f[1];
    set_full_tags(x, (uint16_t)f[2]);
    x->fip = f[3];
    x->fdp = f[5];
    x->fop = 0;
    if (how & X87_REAL) {
        x->fip = (f[3] & 0xffff) | (f[4] & 0xffff000u) << 4;
        x->fdp = (f[5] & 0xffff) | (f[6] & 0xffff000u) << 4;
        x->fop = f[4] & 0x7ff;
    } else if (how & X87_ENV32) {
        x->fop = f[4] >> 16 & 0x7ff;
    }
    set_control(x, f[0]);
}

void x86h_x87_fnstenv(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    uint8_t image[28];
    write_bytes(x, address, image, environment(x, how, image));
    set_control(x, x->fcw | EXCEPTIONS);
}

void x86h_x87_fldenv(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    uint8_t image[28];
    wait(x);
    read_bytes(x, address, image, environment_size(how));
    set_environment(x, how, image);
}

void x86h_x87_fnsave(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    uint8_t image[28 + 80];
    unsigned n = environment(x, how, image);
    for (unsigned i = 0; i < 8; i++)
        store_f80(image + n + 10 * i, get_st(x, i));
    write_bytes(x, address, image, n + 80);
    x86h_x87_fninit(x);
}

void x86h_x87_frstor(struct x86_cpu *x, uint64_t how, uint64_t address)
{
    uint8_t image[28 + 80];
    unsigned n = environment_size(how);
    wait(x);
    read_bytes(x, address, image, n + 80);
    set_environment(x, how, image);
    for (unsigned i = 0; i < 8; i++)
        store_f80(x->st[physical(x, i)], load_f80(image + n + 10 * i));
}

/* ---- MMX ------------------------------------------------------------------------------------------ */

void x87_begin_mmx(struct x86_cpu *x)
{
    wait(x);
    set_top(x, 0);
    x->ftw = 0xff;
}

void x86h_x87_begin_mmx(struct x86_cpu *x)
{
    x87_begin_mmx(x);
}

void x86h_x87_emms(struct x86_cpu *x)
{
    wait(x);
    set_top(x, 0); /* SDM 3-12.1 */
    x->ftw = 0;
}
