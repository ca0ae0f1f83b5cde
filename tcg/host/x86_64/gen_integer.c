/* Integer operations. */
#include "tcg/host/x86_64/gen.h"

static void alu_value(struct gen *g, bool w, enum alu alu, unsigned dst, ir_val v)
{
    int64_t c;
    struct mem m = { 0 };
    if (const32_of(g, v, &c))
        alu_ri(&g->b, w, alu, dst, (int32_t)c);
    else if (in_memory(g, v, &m))
        alu_rm(&g->b, w, alu, dst, m);
    else
        alu_rr(&g->b, w, alu, dst, use(g, v));
}

bool is_in(const struct gen *g, ir_val v, unsigned r)
{
    v = resolve(g->ir, v);
    return g->loc[v].kind == LOC_REG && g->loc[v].reg == r;
}

/* a + (b << n) with a scaled index. */
static void gen_add_scaled(struct gen *g, const struct ir_op *op)
{
    const struct ir_op *shl = &g->ir->ops[op->b];
    int64_t n = 0;
    const_of(g, shl->b, &n);
    unsigned ra = use(g, op->a), rb = use(g, shl->a), d = def(g, op->a);
    lea(&g->b, op->type == IR_I64, d, MEMX(ra, rb, (unsigned)n, 0));
    release(g, shl->a);
}

/* Registers of operands, read before def may rename them. */
void gen_alu(struct gen *g, const struct ir_op *op, enum alu alu)
{
    if (alu == ALU_ADD && g->fused[op->b]) {
        gen_add_scaled(g, op);
        return;
    }
    bool w = op->type == IR_I64;
    ir_val a = op->a, b = op->b;
    bool commutes = ir_op_infos[op->code].flags & IR_COMMUTES;
    int64_t c;
    struct mem m = { 0 };
    unsigned ra = use(g, a);
    int rb = -1;
    bool imm = const32_of(g, b, &c), mem = !imm && in_memory(g, b, &m);
    if (!imm && !mem)
        rb = use(g, b);
    unsigned d = def(g, a);
    if (d == ra) {
    } else if (rb >= 0 && d == (unsigned)rb) {
        if (commutes) {
            rb = ra;
        } else {                         /* d = a - d */
            op_rr(&g->b, w, 0xf7, 3, d); /* neg */
            alu = ALU_ADD;
            rb = ra;
        }
    } else if (alu == ALU_ADD && !mem) {
        lea(&g->b, w, d, imm ? MEM(ra, (int32_t)c) : MEMX(ra, rb, 0, 0));
        return;
    } else {
        mov_rr(&g->b, true, d, ra);
    }
    if (imm)
        alu_ri(&g->b, w, alu, d, (int32_t)c);
    else if (mem)
        alu_rm(&g->b, w, alu, d, m);
    else
        alu_rr(&g->b, w, alu, d, rb);
}

void gen_andn(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    unsigned ra = use(g, op->a), rb = use(g, op->b);
    if (g->host->bmi1) {
        unsigned d = def(g, op->a);
        vex_rr(&g->b, 0, 2, w, 0xf2, d, rb, ra);
        return;
    }
    unsigned t = take(g, false);
    mov_rr(&g->b, true, t, rb);
    op_rr(&g->b, w, 0xf7, 2, t); /* not */
    alu_rr(&g->b, w, ALU_AND, t, ra);
    unsigned d = def(g, op->a);
    mov_rr(&g->b, true, d, t);
}

void gen_mul(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    int64_t c;
    unsigned ra = use(g, op->a);
    if (const32_of(g, op->b, &c)) {
        unsigned d = def(g, op->a);
        op_rr(&g->b, w, 0x69, d, ra);
        put32(&g->b, (uint32_t)c);
        return;
    }
    unsigned rb = use(g, op->b);
    unsigned d = def(g, op->a);
    if (d == rb) {
        unsigned t = ra;
        ra = rb;
        rb = t;
    }
    if (d != ra)
        mov_rr(&g->b, true, d, ra);
    op_rr(&g->b, w, 0x0faf, d, rb);
}

/* Shifts and rotates; amounts count modulo the width on the host too. */
void gen_shift(struct gen *g, const struct ir_op *op, enum shift digit)
{
    bool w = op->type == IR_I64;
    int64_t c;
    if (const_of(g, op->b, &c)) {
        unsigned ra = use(g, op->a), d = def(g, op->a), n = c & (w ? 63 : 31);
        if (d != ra && g->host->bmi2 && digit <= SHIFT_ROR) {
            rorx(&g->b, w, d, ra, digit == SHIFT_ROR ? n : (w ? 64 : 32) - n);
            return;
        }
        if (d != ra)
            mov_rr(&g->b, true, d, ra);
        shift_ri(&g->b, w, digit, d, n);
        return;
    }
    bool bmi2 = g->host->bmi2 && digit >= SHIFT_SHL;
    if (bmi2) {
        unsigned ra = use(g, op->a), rb = use(g, op->b), d = def(g, op->a);
        /* shlx 66, sarx f3, shrx f2 */
        unsigned pp = digit == SHIFT_SHL ? 1 : digit == SHIFT_SAR ? 2 : 3;
        vex_rr(&g->b, pp, 2, w, 0xf7, d, rb, ra);
        return;
    }
    take_exact(g, RCX);
    load_into(g, resolve(g->ir, op->b), RCX);
    unsigned t = take(g, false);
    load_into(g, resolve(g->ir, op->a), t);
    shift_cl(&g->b, w, digit, t);
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, t);
}

/* Both halves of one product, the low one first: the high one makes both. */
bool makes_low_too(const struct ir *ir, uint16_t high)
{
    const struct ir_op *op = &ir->ops[high], *low = high ? op - 1 : NULL;
    return low && (op->code == IR_mulhu || op->code == IR_mulhs) && low->code == IR_mul &&
           low->uses && op->uses && low->type == op->type && low->a == op->a && low->b == op->b;
}

/* A sum with carry in and what it carries out, one behind the other: the second makes both. */
bool makes_sum_too(const struct ir *ir, uint16_t carry)
{
    const struct ir_op *op = &ir->ops[carry], *sum = carry ? op - 1 : NULL;
    return sum && op->code == IR_carry && sum->code == IR_addc && sum->uses && op->uses &&
           sum->type == op->type && sum->a == op->a && sum->b == op->b && sum->c == op->c;
}

/* Is this i64 certainly 0 or 1? */
static bool is_bit(const struct gen *g, ir_val v)
{
    const struct ir_op *op = &g->ir->ops[resolve(g->ir, v)];
    int64_t c;
    return op->code == IR_carry || op->code == IR_setc ||
           (op->code == IR_and && const_of(g, op->b, &c) && c == 1);
}

/* addc, carry. What stands between the first instruction and adc leaves the flags alone. */
void gen_add_carry(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64, carry = op->code == IR_carry;
    ir_val c = resolve(g->ir, op->c);
    struct mem m = { 0 };
    bool mem = in_memory(g, op->b, &m);
    unsigned rb = mem ? 0 : use(g, op->b), t = 0;
    bool bit = is_bit(g, c);
    if (bit) {
        op_rr(&g->b, false, 0x0fba, 4, use(g, c)); /* bt c, 0 */
        put8(&g->b, 0);
    }
    if (carry || !bit)
        t = take(g, false);
    if (!bit) {
        load_into(g, c, t);
        alu_ri(&g->b, true, ALU_ADD, t, -1); /* CF = c is not 0 */
    }
    if (carry)
        mov_ri(&g->b, t, 0);
    unsigned d = take(g, false);
    load_into(g, resolve(g->ir, op->a), d);
    if (mem)
        alu_rm(&g->b, w, ALU_ADC, d, m);
    else
        alu_rr(&g->b, w, ALU_ADC, d, rb);
    if (!carry) {
        result_in(g, d);
        return;
    }
    setcc(&g->b, CC_B, t);
    if (makes_sum_too(g->ir, g->i))
        put_value(g, g->i - 1, d);
    result_in(g, t);
}

/* High half of an unsigned product, and the low one where it is wanted: both go anywhere. */
static void gen_mulx(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64, both = makes_low_too(g->ir, g->i);
    ir_val a = op->a, b = op->b;
    if (is_in(g, b, RDX)) {
        a = op->b;
        b = op->a;
    }
    if (is_in(g, a, RDX)) {
        g->locked |= 1u << RDX;
    } else {
        take_exact(g, RDX);
        load_into(g, resolve(g->ir, a), RDX);
    }
    struct mem m = { 0 };
    bool mem = in_memory(g, b, &m);
    unsigned rb = mem ? 0 : use(g, b), low = both ? take(g, false) : 0, high = def(g, IR_NONE);
    if (!both)
        low = high; /* the high half is written last */
    if (mem)
        vex_rm(&g->b, 3, 2, w, 0xf6, high, low, m);
    else
        vex_rr(&g->b, 3, 2, w, 0xf6, high, low, rb);
    if (both)
        put_value(g, g->i - 1, low);
}

/* High half of a product: rdx:rax = rax * r. */
void gen_mulh(struct gen *g, const struct ir_op *op)
{
    if (op->code == IR_mulhu && g->host->bmi2) {
        gen_mulx(g, op);
        return;
    }
    bool w = op->type == IR_I64;
    take_exact(g, RAX);
    take_exact(g, RDX);
    load_into(g, resolve(g->ir, op->a), RAX);
    unsigned rb = use(g, op->b), t = 0;
    if (op->code == IR_mulhsu) { /* unsigned high half, less b where a is negative */
        t = take(g, false);
        mov_rr(&g->b, true, t, RAX);
        shift_ri(&g->b, w, SHIFT_SAR, t, w ? 63 : 31);
        alu_rr(&g->b, w, ALU_AND, t, rb);
    }
    op_rr(&g->b, w, 0xf7, op->code == IR_mulhs ? 5 : 4, rb);
    if (op->code == IR_mulhsu)
        alu_rr(&g->b, w, ALU_SUB, RDX, t);
    if (makes_low_too(g->ir, g->i))
        put_value(g, g->i - 1, RAX);
    result_in(g, RDX);
}

/* Quotient in rax, remainder in rdx; divisors 0 and -1 go a way of their own. */
void gen_div(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64, is_signed = op->code == IR_divs || op->code == IR_rems;
    bool rem = op->code == IR_remu || op->code == IR_rems;
    take_exact(g, RAX);
    take_exact(g, RDX);
    load_into(g, resolve(g->ir, op->a), RAX);
    unsigned rb = use(g, op->b);
    struct cold *c = cold_new(g, COLD_DIV);
    c->reg = rb;
    c->flags = w | is_signed << 1;
    if (is_signed) {
        lea(&g->b, w, RDX, MEM(rb, 1));
        alu_ri(&g->b, w, ALU_CMP, RDX, 1);
        cold_from(c, jcc32(&g->b, CC_BE));
        if (w)
            put8(&g->b, 0x48);
        put8(&g->b, 0x99); /* cqo, cdq */
    } else {
        test_rr(&g->b, w, rb, rb);
        cold_from(c, jcc32(&g->b, CC_E));
        alu_rr(&g->b, false, ALU_XOR, RDX, RDX);
    }
    op_rr(&g->b, w, 0xf7, is_signed ? 7 : 6, rb);
    c->resume = g->b.p;
    result_in(g, rem ? RDX : RAX);
}

void put_cold_div(struct gen *g, const struct cold *c)
{
    bool w = c->flags & 1;
    uint8_t *zero = NULL;
    if (c->flags & 2) {
        test_rr(&g->b, w, c->reg, c->reg);
        zero = jcc32(&g->b, CC_E);
        op_rr(&g->b, w, 0xf7, 3, RAX); /* -1: quotient -a, remainder 0 */
        alu_rr(&g->b, false, ALU_XOR, RDX, RDX);
        patch_to(jmp32(&g->b), c->resume);
        patch_to(zero, g->b.p);
    }
    mov_rr(&g->b, true, RDX, RAX);
    mov_ri(&g->b, RAX, -1);
    patch_to(jmp32(&g->b), c->resume);
}

/* One-operand instruction `reg, r/m`. */
void gen_unary(struct gen *g, const struct ir_op *op, uint8_t prefix, bool w, uint32_t code,
               bool byte_regs)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, prefix, w, byte_regs, code, d, ra);
}

void gen_zext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, false, ra >= 4, 0x0fb6, d, ra);
}

void gen_sext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, op->type == IR_I64, ra >= 4, 0x0fbe, d, ra);
}

void gen_bswap(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    unsigned ra = use(g, op->a), d = def(g, op->a);
    if (d != ra)
        mov_rr(&g->b, true, d, ra);
    if (w || d >= 8)
        put8(&g->b, 0x40 | w << 3 | d >> 3);
    put8(&g->b, 0x0f);
    put8(&g->b, 0xc8 | (d & 7));
}

void gen_bit_count(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    if (op->code == IR_popcnt ? g->host->popcnt
        : op->code == IR_clz  ? g->host->lzcnt
                              : g->host->bmi1) {
        uint32_t code = op->code == IR_popcnt ? 0x0fb8 : op->code == IR_clz ? 0x0fbd : 0x0fbc;
        gen_unary(g, op, 0xf3, w, code, false);
        return;
    }
    use(g, op->a);
    unsigned d = def(g, IR_NONE);
    struct cold *c = cold_slow(g, SLOW_FP, d);
    c->site.arg[0] = arg_code(g, c, 0, op->a);
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

enum cc_x86 cc_of(enum ir_cc cc)
{
    static const uint8_t to[] = {
        [IR_EQ] = CC_E, [IR_NE] = CC_NE, [IR_LT] = CC_L,   [IR_GE] = CC_GE,  [IR_LE] = CC_LE,
        [IR_GT] = CC_G, [IR_LTU] = CC_B, [IR_GEU] = CC_AE, [IR_LEU] = CC_BE, [IR_GTU] = CC_A
    };
    return to[cc];
}

void gen_compare(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    int64_t c;
    unsigned ra = use(g, op->a);
    if (const_of(g, op->b, &c) && c == 0)
        test_rr(&g->b, w, ra, ra);
    else
        alu_value(g, w, ALU_CMP, ra, op->b);
}

void gen_setc(struct gen *g, const struct ir_op *op)
{
    gen_compare(g, op);
    unsigned d = def(g, IR_NONE);
    setcc(&g->b, cc_of(op->cc), d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
}

void gen_select(struct gen *g, const struct ir_op *op)
{
    bool fp = is_fp(op->type);
    if (fp) { /* through a branch: there is no conditional move */
        unsigned rc = use(g, op->a), rb = use(g, op->b), rd = use(g, op->c);
        unsigned t = take(g, true);
        copy_vector(g, op->type, t - XMM0, rb - XMM0);
        test_rr(&g->b, true, rc, rc);
        put8(&g->b, 0x75); /* jne over the move */
        uint8_t *at = g->b.p;
        put8(&g->b, 0);
        copy_vector(g, op->type, t - XMM0, rd - XMM0);
        if (!g->b.full)
            *at = g->b.p - at - 1;
        unsigned d = def(g, IR_NONE);
        copy_vector(g, op->type, d - XMM0, t - XMM0);
        return;
    }
    const struct ir_op *setc = &g->ir->ops[op->a];
    bool fused = g->fused[op->a];
    unsigned cc = CC_NE, rb = use(g, op->b), rn = use(g, op->c);
    if (fused) {
        gen_compare(g, setc);
        cc = cc_of(setc->cc);
    } else {
        unsigned rc = use(g, op->a);
        test_rr(&g->b, true, rc, rc);
    }
    unsigned d = def(g, op->c); /* nothing from here on changes the host's flags */
    if (d == rb && d != rn) {
        op_rr(&g->b, true, 0x0f40 | (cc ^ 1), d, rn); /* cmov */
    } else {
        mov_rr(&g->b, true, d, rn);
        op_rr(&g->b, true, 0x0f40 | cc, d, rb);
    }
    if (fused) {
        release(g, setc->a);
        release(g, setc->b);
    }
}
