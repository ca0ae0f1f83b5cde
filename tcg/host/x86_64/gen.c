/* IR to x86-64, one pass per block with registers allocated on the way. */
#include "tcg/host/x86_64/gen.h"

#include <stdlib.h>

struct gen *gen_new(void)
{
    return xcalloc(1, sizeof(struct gen));
}

/* ---- integer operations ---------------------------------------------------------------------------- */

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

static bool is_in(const struct gen *g, ir_val v, unsigned r)
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
static void gen_alu(struct gen *g, const struct ir_op *op, enum alu alu)
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

static void gen_andn(struct gen *g, const struct ir_op *op)
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

static void gen_mul(struct gen *g, const struct ir_op *op)
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
static void gen_shift(struct gen *g, const struct ir_op *op, enum shift digit)
{
    bool w = op->type == IR_I64;
    int64_t c;
    if (const_of(g, op->b, &c)) {
        unsigned ra = use(g, op->a), d = def(g, op->a), n = c & (w ? 63 : 31);
        if (d != ra && g->host->bmi2 && digit <= SHIFT_ROR) { /* rorx */
            vex_rr(&g->b, 3, 3, w, 0xf0, d, 0, ra);
            put8(&g->b, (uint8_t)(digit == SHIFT_ROR ? n : (w ? 64 : 32) - n));
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
static bool makes_low_too(const struct ir *ir, uint16_t high)
{
    const struct ir_op *op = &ir->ops[high], *low = high ? op - 1 : NULL;
    return low && (op->code == IR_mulhu || op->code == IR_mulhs) && low->code == IR_mul &&
           low->uses && op->uses && low->type == op->type && low->a == op->a && low->b == op->b;
}

/* A sum with carry in and what it carries out, one behind the other: the second makes both. */
static bool makes_sum_too(const struct ir *ir, uint16_t carry)
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
static void gen_add_carry(struct gen *g, const struct ir_op *op)
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
static void gen_mulh(struct gen *g, const struct ir_op *op)
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
static void gen_div(struct gen *g, const struct ir_op *op)
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

static void put_cold_div(struct gen *g, const struct cold *c)
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
static void gen_unary(struct gen *g, const struct ir_op *op, uint8_t prefix, bool w, uint32_t code,
                      bool byte_regs)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, prefix, w, byte_regs, code, d, ra);
}

static void gen_zext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, false, ra >= 4, 0x0fb6, d, ra);
}

static void gen_sext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, op->type == IR_I64, ra >= 4, 0x0fbe, d, ra);
}

static void gen_bswap(struct gen *g, const struct ir_op *op)
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

static void gen_bit_count(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    if (op->code == IR_popcnt ? g->host->popcnt
        : op->code == IR_clz  ? g->host->lzcnt
                              : g->host->bmi1) {
        uint32_t code = op->code == IR_popcnt ? 0x0fb8 : op->code == IR_clz ? 0x0fbd : 0x0fbc;
        gen_unary(g, op, 0xf3, w, code, false);
        return;
    }
    unsigned ra = use(g, op->a);
    (void)ra;
    unsigned d = def(g, IR_NONE);
    struct cold *c = cold_slow(g, SLOW_FP, d);
    c->site.arg[0] = arg_code(g, c, 0, op->a);
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

static enum cc_x86 cc_of(enum ir_cc cc)
{
    static const uint8_t to[] = {
        [IR_EQ] = CC_E, [IR_NE] = CC_NE, [IR_LT] = CC_L,   [IR_GE] = CC_GE,  [IR_LE] = CC_LE,
        [IR_GT] = CC_G, [IR_LTU] = CC_B, [IR_GEU] = CC_AE, [IR_LEU] = CC_BE, [IR_GTU] = CC_A
    };
    return to[cc];
}

static void gen_compare(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    int64_t c;
    unsigned ra = use(g, op->a);
    if (const_of(g, op->b, &c) && c == 0)
        test_rr(&g->b, w, ra, ra);
    else
        alu_value(g, w, ALU_CMP, ra, op->b);
}

static void gen_setc(struct gen *g, const struct ir_op *op)
{
    gen_compare(g, op);
    unsigned d = def(g, IR_NONE);
    setcc(&g->b, cc_of(op->cc), d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
}

static void gen_select(struct gen *g, const struct ir_op *op)
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

/* ---- state, calls --------------------------------------------------------------------------------------- */

/* A value that is only in a slot's memory, which stands for another one from now on. */
static void save_lazy(struct gen *g, unsigned slot)
{
    ir_val v = g->lazy[slot];
    if (v != IR_NONE && g->last_use[v] > g->i)
        use(g, v);
    g->lazy[slot] = IR_NONE;
}

static void gen_get(struct gen *g, const struct ir_op *op)
{
    int r = g->host->slot_reg[op->imm];
    if (r >= 0) {
        save_alias(g, r); /* a register stands for one value */
        put_value(g, g->i, r);
    } else {
        save_lazy(g, op->imm);
        g->loc[g->i] = (struct loc){ .kind = LOC_SLOT, .n = (uint16_t)op->imm };
        g->lazy[op->imm] = g->i;
    }
}

/* A slot of upper halves becomes v: does the register of the lower one have it above? */
static void note_upper(struct gen *g, unsigned slot, ir_val v)
{
    int r = g->keeps_uppers ? g->host->below[slot] : -1;
    if (r < 0)
        return;
    const struct ir_op *op = &g->ir->ops[v];
    bool there = op->code == IR_high && is_in(g, op->a, (unsigned)r);
    g->uppers = there ? g->uppers | 1u << r : g->uppers & ~(1u << r);
}

static void gen_set(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    int r = g->host->slot_reg[op->imm];
    note_upper(g, (unsigned)op->imm, v);
    if (r >= 0) {
        if (is_in(g, v, r)) {
            g->held[r] = v;
            return;
        }
        g->uppers &= ~(1u << r);
        save_alias(g, r);
        int64_t c;
        if (r >= XMM0 && const_of(g, v, &c) && op->type != IR_V128)
            use(g, v);
        load_into(g, v, r);
        if (g->loc[v].kind == LOC_SLOT)
            g->lazy[g->loc[v].n] = IR_NONE;
        if (g->loc[v].kind == LOC_SPILL)
            g->spill_used &= ~((uint64_t)1 << g->loc[v].n);
        if (g->loc[v].kind == LOC_REG && is_temp(g->loc[v].reg))
            g->held[g->loc[v].reg] = IR_NONE;
        if (g->loc[v].kind != LOC_CONST && !(g->loc[v].kind == LOC_REG && !is_temp(g->loc[v].reg)))
            put_value(g, v, r); /* the pinned register is as good a place */
        return;
    }
    ir_val old = g->lazy[op->imm];
    if (old != IR_NONE && g->last_use[old] > g->i && old != v)
        use(g, old);
    g->lazy[op->imm] = g->copy[op->imm] = IR_NONE;
    uint16_t owed_end = g->owed_end[g->i];
    if (g->fused[v]) {
        ir_val whole = resolve(g->ir, g->ir->ops[v].a);
        unsigned rw = use(g, whole);
        if (owed_end && g->ir->ops[whole].code != IR_const &&
            owe(g, whole, (unsigned)op->imm, owed_end))
            return;
        extract_upper_m(&g->b, slot_mem(g, (unsigned)op->imm), rw - XMM0);
        release(g, whole);
        return;
    }
    int64_t c;
    /* What slots that are often read hold is wanted: to keep it longer than that costs more than a store. */
    if (owed_end && op->type == IR_I64 && !g->ir->slots[op->imm].heat &&
        (const32_of(g, v, &c) || !const_of(g, v, &c)) && owe(g, v, (unsigned)op->imm, owed_end)) {
        if (!const_of(g, v, &c))
            use(g, v);
        return;
    }
    if (op->type == IR_I64 && const32_of(g, v, &c)) {
        mov_mi(&g->b, true, slot_mem(g, op->imm), (int32_t)c);
        return;
    }
    unsigned rv = use(g, v);
    if (rv >= XMM0)
        move_vector(g, op->type, rv - XMM0, slot_mem(g, op->imm), true);
    else
        mov_mr(&g->b, true, slot_mem(g, op->imm), rv);
    if (ir_type_of(g->ir, v) != IR_V256) /* of which the slot has but half */
        also_in(g, v, (unsigned)op->imm);
}

static void gen_pc(struct gen *g, const struct ir_op *op)
{
    unsigned d = def(g, IR_NONE);
    mov_rm(&g->b, true, d, MEM(RBP, TCG_DISP(pc_page)));
    if (op->imm)
        alu_ri(&g->b, true, ALU_ADD, d, (int32_t)op->imm);
}

/* A helper that touches neither guest state nor vector registers is called right here. All scratch
 * registers are the callee's, and some of the pinned ones. */
static void gen_call_pure(struct gen *g, const struct ir_op *op, const struct ir_helper *h)
{
    static const uint8_t args[] = { RDI, RSI, RDX, RCX }, lost[] = { R8, R9, R10, R11 };
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        evict(g, temp_gprs[k]);
    for (unsigned k = 0; k < h->n_args; k++)
        load_into(g, resolve(g->ir, v[k]), args[k]);
    for (unsigned k = 0; k < ARRAY_LEN(lost); k++)
        if (g->host->reg_slot[lost[k]] >= 0)
            mov_mr(&g->b, true, slot_mem(g, (unsigned)g->host->reg_slot[lost[k]]), lost[k]);
    mov_address(g, RAX, (const void *)h->fn, RELOC_PROGRAM);
    op_rr(&g->b, false, 0xff, 2, RAX);
    for (unsigned k = 0; k < ARRAY_LEN(lost); k++)
        if (g->host->reg_slot[lost[k]] >= 0)
            mov_rm(&g->b, true, lost[k], slot_mem(g, (unsigned)g->host->reg_slot[lost[k]]));
    g->locked = 1u << RAX;
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, RAX);
}

/* Pinned registers to their slots or back, as far as `which` (one bit a register) says. */
static void move_pinned(struct gen *g, uint32_t which, bool store)
{
    for (unsigned r = 0; r < 32; r++) {
        int slot = g->host->reg_slot[r];
        if (slot < 0 || !(which >> r & 1))
            continue;
        if (r >= XMM0)
            move_vector(g, g->ir->slots[slot].type, r - XMM0, slot_mem(g, (unsigned)slot), store);
        else if (store)
            mov_mr(&g->b, true, slot_mem(g, (unsigned)slot), r);
        else
            mov_rm(&g->b, true, r, slot_mem(g, (unsigned)slot));
    }
}

/* What tcg_insn_pc, tcg_instructions and a helper that leaves need: as host_slow_call has it. */
static void gen_call_site(struct gen *g)
{
    struct cold *c = cold_slow(g, SLOW_CALL, ARG_NONE);
    c->kind = COLD_SITE;
    put8(&g->b, 0x48); /* lea rax, [rip + disp32] */
    put8(&g->b, 0x8d);
    put8(&g->b, 0x05);
    put32(&g->b, 0);
    cold_from(c, g->b.p - 4);
    mov_mr(&g->b, true, MEM(RBP, TCG_DISP(site)), RAX);
    mov_mi(&g->b, true, MEM(RBP, TCG_DISP(undo)), c->site.undo);
}

/* A helper that computes with no floats of the host: called right here, with what it may look at in memory. */
static void gen_call_state(struct gen *g, const struct ir_op *op, const struct ir_helper *h)
{
    enum { SEES = IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES };
    static const uint8_t args[] = { RSI, RDX, RCX, R8 };
    const uint32_t lost = TEMP_MASK | 1u << R8 | 1u << R9 | 1u << R10 | 1u << R11 | 0xffffu << XMM0;
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        evict(g, temp_gprs[k]);
    for (unsigned k = 0; k < ARRAY_LEN(temp_xmms); k++)
        evict(g, temp_xmms[k]);
    for (unsigned r = XMM0; r < 32 && g->wide; r++) /* of these slots have but half */
        if (g->held[r] != IR_NONE && ir_type_of(g->ir, g->held[r]) == IR_V256) {
            if (g->last_use[g->held[r]] > g->i)
                evict(g, r);
            g->held[r] = IR_NONE;
        }
    move_pinned(g, h->flags & SEES ? UINT32_MAX : lost, true);
    if (g->b.vex)
        vzeroupper(&g->b);
    for (unsigned k = 0; k < h->n_args; k++) /* R8, which may be pinned, is last */
        load_into(g, resolve(g->ir, v[k]), args[k]);
    gen_call_site(g);
    mov_rr(&g->b, true, RDI, RBP);
    mov_address(g, RAX, (const void *)h->fn, RELOC_PROGRAM);
    op_rr(&g->b, false, 0xff, 2, RAX);
    mov_mi(&g->b, true, MEM(RBP, TCG_DISP(undo)), 0);
    move_pinned(g, h->flags & IR_CALL_WRITES ? UINT32_MAX : lost, false);
    g->uppers = 0;
    if (!op->uses) {
        g->loc[g->i].kind = LOC_NONE;
        return;
    }
    if (!h->has_result)
        mov_ri(&g->b, RAX, 0);
    g->locked = 1u << RAX;
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, RAX);
}

static void gen_call(struct gen *g, const struct ir_op *op)
{
    const struct ir_helper *h = (const void *)(intptr_t)op->imm;
    if (h->flags & IR_CALL_PURE) {
        gen_call_pure(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_WRITES) { /* values that only slots hold must survive them */
        for (unsigned r = 0; r < 32; r++)
            if (g->host->reg_slot[r] >= 0)
                save_alias(g, r);
        for (unsigned s = 0; s < g->ir->n_slots; s++)
            if (g->lazy[s] != IR_NONE && g->last_use[g->lazy[s]] > g->i) {
                unsigned r = use(g, g->lazy[s]);
                g->locked &= ~(1u << r);
            }
        memset(g->copy, 0xff, g->ir->n_slots * sizeof(g->copy[0]));
    }
    if (!(h->flags & IR_CALL_FP)) {
        gen_call_state(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_WRITES)
        g->uppers = 0;
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    struct cold *c = cold_slow(g, SLOW_CALL, ARG_NONE);
    for (unsigned k = 0; k < h->n_args; k++)
        c->site.arg[k] = arg_code(g, c, k, v[k]);
    c->site.helper = (uintptr_t)h;
    if (op->uses) {
        unsigned d = def(g, IR_NONE);
        c->site.dst = d;
    } else {
        g->loc[g->i].kind = LOC_NONE;
    }
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

/* Are all stores of this block done, because a locked instruction (SDM volume 3, 9.2.3.9) came behind the last? */
static bool is_fenced(const struct gen *g)
{
    for (uint16_t i = g->i; i-- > g->ir->blocks[g->block].first;) {
        const struct ir_op *op = &g->ir->ops[i];
        if (op->code == IR_rmw || op->code == IR_cas ||
            (op->code == IR_fence && op->x & IR_FENCE_WR))
            return true;
        if (op->code == IR_store || op->code == IR_call)
            return false;
    }
    return false;
}

static void gen_fence(struct gen *g, const struct ir_op *op)
{
    static const uint8_t lock_or[] = { 0xf0, 0x83, 0x0c, 0x24, 0x00 }; /* lock or dword [rsp], 0 */
    if (op->x & IR_FENCE_WR && !is_fenced(g)) /* the only order the host does not keep by itself */
        put_bytes(&g->b, lock_or, sizeof(lock_or));
}

/* ---- ends ------------------------------------------------------------------------------------------------ */

/* Upper halves from their slots into the registers of the lower ones. */
static void put_uppers(struct gen *g, uint32_t regs)
{
    for (unsigned s = 0; regs && s < g->ir->n_slots; s++) {
        int r = g->host->below[s];
        if (r >= 0 && regs >> r & 1)
            insert_upper_m(&g->b, (unsigned)r - XMM0, (unsigned)r - XMM0, slot_mem(g, s));
    }
}

/* On the way to a block: which upper halves are missing there? */
static uint32_t missing_uppers(struct gen *g, uint16_t block)
{
    uint32_t missing = 0;
    if (!g->keeps_uppers)
        return 0;
    if (g->head[block] || g->label[block])
        return g->uppers_at[block] & ~g->uppers;
    if (g->loop_of[block] != IR_NONE &&
        g->block < g->loop_of[block]) /* into a loop, past its head */
        missing = g->uppers_at[g->loop_of[block]] & ~g->uppers;
    g->uppers_at[block] &= g->uppers | missing;
    return missing & g->uppers_at[block];
}

/* It stands behind this one. */
static void fall_to_block(struct gen *g, uint16_t block)
{
    put_uppers(g, missing_uppers(g, block));
}

static void jump_to_block(struct gen *g, uint8_t *at, uint16_t block)
{
    uint32_t missing = missing_uppers(g, block);
    if (missing) {
        struct cold *c = cold_new(g, COLD_UPPERS);
        cold_from(c, at);
        c->uppers = missing;
        c->block = block;
        return;
    }
    if (g->label[block]) {
        patch_to(at, g->label[block]);
        return;
    }
    if (g->n_fixups == MAX_FIXUPS) {
        g->failed = true;
        return;
    }
    g->fixups[g->n_fixups++] = (struct fixup){ at, block };
}

/* rax = guest pc; jumps (or calls) through the jump cache. */
static void gen_lookup_jump(struct gen *g, bool call)
{
    mov_rm(&g->b, true, RDX, MEM(RBP, TCG_DISP(jumps)));
    mov_rr(&g->b, false, RCX, RAX);
    shift_ri(&g->b, false, SHIFT_SHR, RCX, JUMP_FOLD);
    alu_rr(&g->b, false, ALU_XOR, RCX, RAX);
    alu_ri(&g->b, false, ALU_AND, RCX, ((1 << JUMP_CACHE_BITS) - 1) << 1);
    alu_rm(&g->b, true, ALU_CMP, RAX, MEMX(RDX, RCX, 3, 0));
    if (!call) {
        to_shared(g, jcc32(&g->b, CC_NE), g->host->indirect);
        jmp_mem(&g->b, MEMX(RDX, RCX, 3, 8));
        return;
    }
    put8(&g->b, 0x74); /* je: over the slow call */
    put8(&g->b, 7);
    to_shared(g, call32(&g->b), g->host->indirect);
    put8(&g->b, 0xeb);
    put8(&g->b, 4);
    call_mem(&g->b, MEMX(RDX, RCX, 3, 8));
}

/* Before a host call: the guest return address for the callee's return to compare with. */
static void gen_push_return(struct gen *g, int32_t return_to)
{
    struct cold *c = cold_new(g, COLD_DROP_RETURNS);
    alu_rm(&g->b, true, ALU_CMP, RSP, MEM(RBP, TCG_DISP(stack_limit)));
    cold_from(c, jcc32(&g->b, CC_B));
    c->resume = g->b.p;
    mov_rm(&g->b, true, RCX, MEM(RBP, TCG_DISP(pc_page)));
    alu_ri(&g->b, true, ALU_ADD, RCX, return_to);
    push_r(&g->b, RCX);
}

/* Where the callee's host return lands, with the guest pc in rax. */
static void gen_after_call(struct gen *g, int32_t return_to)
{
    uint16_t block = IR_NONE;
    for (uint16_t k = 0; k < g->ir->n_blocks; k++)
        if (g->ir->blocks[k].guest && g->ir->blocks[k].off == return_to && g->ir->blocks[k].n)
            block = k;
    lea(&g->b, true, RSP, MEM(RSP, 8));
    if (block == IR_NONE) {
        gen_lookup_jump(g, false);
        return;
    }
    lea(&g->b, true, RCX, MEM(RAX, -return_to));
    mov_mr(&g->b, true, MEM(RBP, TCG_DISP(pc_page)), RCX);
    g->uppers = 0;
    if (block != g->block + 1)
        jump_to_block(g, jmp32(&g->b), block);
    else
        fall_to_block(g, block);
}

/* rax = address relative to the unit's page. */
static void gen_target_pc(struct gen *g, int32_t off)
{
    mov_rm(&g->b, true, RAX, MEM(RBP, TCG_DISP(pc_page)));
    alu_ri(&g->b, true, ALU_ADD, RAX, off);
}

static void gen_jump_out(struct gen *g, int32_t off)
{
    if (!can_link(g, off)) {
        gen_target_pc(g, off);
        gen_lookup_jump(g, false);
        return;
    }
    align_patch(g, 1);
    put_link(g, jmp32(&g->b), new_link(g, off, true));
}

static void gen_jump(struct gen *g, const struct ir_op *op)
{
    int32_t off = (int32_t)op->imm;
    if (op->c != IR_NONE) {
        if (op->c != g->block + 1)
            jump_to_block(g, jmp32(&g->b), op->c);
        else
            fall_to_block(g, op->c);
        return;
    }
    if (op->x != IR_HINT_CALL) {
        gen_jump_out(g, off);
        return;
    }
    gen_push_return(g, op->imm2);
    if (!can_link(g, off)) {
        gen_target_pc(g, off);
        gen_lookup_jump(g, true);
    } else {
        align_patch(g, 1);
        put_link(g, call32(&g->b), new_link(g, off, true));
    }
    gen_after_call(g, op->imm2);
}

static void gen_branch(struct gen *g, const struct ir_op *op)
{
    gen_compare(g, op);
    enum cc_x86 cc = cc_of(op->cc);
    uint16_t to = op->c, other = op->d;
    int32_t to_off = (int32_t)op->imm, other_off = op->imm2;
    if (to != IR_NONE && to == g->block + 1) { /* fall through to the taken side */
        cc ^= 1;
        uint16_t tb = to;
        to = other;
        other = tb;
        int32_t to2 = to_off;
        to_off = other_off;
        other_off = to2;
    }
    if (to != IR_NONE) {
        jump_to_block(g, jcc32(&g->b, cc), to);
    } else if (can_link(g, to_off)) {
        align_patch(g, 2);
        put_link(g, jcc32(&g->b, cc), new_link(g, to_off, true));
    } else {
        uint8_t *over = jcc32(&g->b, cc ^ 1);
        gen_jump_out(g, to_off);
        patch_to(over, g->b.p);
    }
    if (other == IR_NONE)
        gen_jump_out(g, other_off);
    else if (other != g->block + 1)
        jump_to_block(g, jmp32(&g->b), other);
    else
        fall_to_block(g, other);
}

static void gen_jump_indirect(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    if (!is_in(g, v, RAX)) {
        g->locked = 0;
        load_into(g, v, RAX);
    }
    if (op->x == IR_HINT_RETURN) {
        alu_rm(&g->b, true, ALU_CMP, RAX, MEM(RSP, 8));
        to_shared(g, jcc32(&g->b, CC_NE), g->host->return_miss);
        put8(&g->b, 0xc3);
    } else if (op->x == IR_HINT_CALL) {
        gen_push_return(g, op->imm2);
        gen_lookup_jump(g, true);
        gen_after_call(g, op->imm2);
    } else {
        if (op->x == IR_HINT_TRAP) /* predicted returns belong to the state before */
            mov_rm(&g->b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
        gen_lookup_jump(g, false);
    }
}

static void gen_leave(struct gen *g, const struct ir_op *op)
{
    put_link(g, jmp32(&g->b), new_link(g, (int32_t)op->imm, false));
}

static void gen_set_word(struct gen *g, const struct ir_op *op)
{
    int64_t c;
    if (const32_of(g, op->a, &c))
        mov_mi(&g->b, true, word_mem(op->imm), (int32_t)c);
    else
        mov_mr(&g->b, true, word_mem(op->imm), use(g, op->a));
}

/* ---- a unit ------------------------------------------------------------------------------------------------ */

static void gen_op(struct gen *g, const struct ir_op *op)
{
    switch (op->code) {
    case IR_get: gen_get(g, op); break;
    case IR_set: gen_set(g, op); break;
    case IR_pc: gen_pc(g, op); break;
    case IR_add: gen_alu(g, op, ALU_ADD); break;
    case IR_sub: gen_alu(g, op, ALU_SUB); break;
    case IR_and: gen_alu(g, op, ALU_AND); break;
    case IR_or: gen_alu(g, op, ALU_OR); break;
    case IR_xor: gen_alu(g, op, ALU_XOR); break;
    case IR_andn: gen_andn(g, op); break;
    case IR_mul:
        if (g->i + 1 == g->ir->n_ops || !makes_low_too(g->ir, g->i + 1))
            gen_mul(g, op);
        break;
    case IR_addc:
        if (g->i + 1 == g->ir->n_ops || !makes_sum_too(g->ir, g->i + 1))
            gen_add_carry(g, op);
        break;
    case IR_carry: gen_add_carry(g, op); break;
    case IR_mulhu:
    case IR_mulhs:
    case IR_mulhsu: gen_mulh(g, op); break;
    case IR_divu:
    case IR_divs:
    case IR_remu:
    case IR_rems: gen_div(g, op); break;
    case IR_shl:
        if (!g->fused[g->i])
            gen_shift(g, op, SHIFT_SHL);
        break;
    case IR_shr: gen_shift(g, op, SHIFT_SHR); break;
    case IR_sar: gen_shift(g, op, SHIFT_SAR); break;
    case IR_rol: gen_shift(g, op, SHIFT_ROL); break;
    case IR_ror: gen_shift(g, op, SHIFT_ROR); break;
    case IR_clz:
    case IR_ctz:
    case IR_popcnt: gen_bit_count(g, op); break;
    case IR_bswap: gen_bswap(g, op); break;
    case IR_sext8: gen_sext8(g, op); break;
    case IR_zext8: gen_zext8(g, op); break;
    case IR_sext16: gen_unary(g, op, 0, op->type == IR_I64, 0x0fbf, false); break;
    case IR_zext16: gen_unary(g, op, 0, false, 0x0fb7, false); break;
    case IR_sext32: gen_unary(g, op, 0, true, 0x63, false); break;
    case IR_zext32:
        if (resolve(g->ir, g->i) == g->i)
            gen_unary(g, op, 0, false, 0x8b, false);
        break;
    case IR_trunc:
    case IR_low: break; /* see resolve */
    case IR_join: gen_join(g, op); break;
    case IR_high:
        if (!g->fused[g->i])
            gen_high(g, op);
        break;
    case IR_setc:
        if (!g->fused[g->i])
            gen_setc(g, op);
        break;
    case IR_select: gen_select(g, op); break;
    case IR_load:
    case IR_store: gen_load_store(g, op); break;
    case IR_load_w:
    case IR_store_w: gen_load_store_window(g, op); break;
    case IR_window: gen_window(g, op); break;
    case IR_word: mov_rm(&g->b, true, def(g, IR_NONE), word_mem(op->imm)); break;
    case IR_set_word: gen_set_word(g, op); break;
    case IR_rmw: gen_rmw(g, op); break;
    case IR_cas: gen_cas(g, op); break;
    case IR_copy:
    case IR_fill: gen_repeat(g, op); break;
    case IR_fence: gen_fence(g, op); break;
    case IR_fadd: gen_fp2(g, op, 0x58); break;
    case IR_fmul: gen_fp2(g, op, 0x59); break;
    case IR_fsub: gen_fp2(g, op, 0x5c); break;
    case IR_fdiv: gen_fp2(g, op, 0x5e); break;
    case IR_fsqrt: gen_fp1(g, op, sse_prefix(op->type), 0x51, op->type); break;
    case IR_fma: gen_fma(g, op); break;
    case IR_fcmp: gen_fcmp(g, op); break;
    case IR_ftoi: gen_ftoi(g, op); break;
    case IR_itof: gen_itof(g, op); break;
    case IR_fwiden: gen_fp1(g, op, 0xf3, 0x5a, IR_F64); break;
    case IR_fnarrow: gen_fp1(g, op, 0xf2, 0x5a, IR_F32); break;
    case IR_fneg:
    case IR_fabs: gen_fsign(g, op); break;
    case IR_fbits: gen_fbits(g, op); break;
    case IR_bitsf: gen_bitsf(g, op); break;
    case IR_fbox: gen_fbox(g, op); break;
    case IR_funbox: gen_funbox(g, op); break;
    case IR_fflags: gen_fflags(g); break;
    case IR_set_fflags: gen_set_fflags(g, op); break;
    case IR_vec: gen_vec(g, op); break;
    case IR_call: gen_call(g, op); break;
    case IR_jump: gen_jump(g, op); break;
    case IR_branch: gen_branch(g, op); break;
    case IR_jumpi: gen_jump_indirect(g, op); break;
    case IR_leave: gen_leave(g, op); break;
    default: g->failed = true;
    }
}

static void note_use(struct gen *g, ir_val v, uint16_t at)
{
    if (v != IR_NONE)
        g->last_use[resolve(g->ir, v)] = at;
}

/* Could somebody look at slots, or pinned registers change, between a value's definition and here? */
static bool blocks_hint(const struct ir_op *op, int64_t slot)
{
    if (op->code == IR_get || op->code == IR_set)
        return op->imm == slot;
    if (op->code == IR_call)
        return true;
    return ir_op_infos[op->code].flags & (IR_MAY_FAULT | IR_END);
}

/* A comparison that only this select looks at is made there. */
static void fuse_select(struct gen *g, uint16_t i)
{
    ir_val cond = g->ir->ops[i].a;
    const struct ir_op *op = &g->ir->ops[cond];
    if (op->code != IR_setc || op->uses != 1)
        return;
    g->fused[cond] = true;
    note_use(g, op->a, i);
    note_use(g, op->b, i);
}

/* A shift by up to three places that only this sum wants is part of it. */
static void fuse_add(struct gen *g, uint16_t i)
{
    const struct ir_op *op = &g->ir->ops[g->ir->ops[i].b];
    int64_t n;
    if (op->code != IR_shl || op->uses != 1 || op->type != g->ir->ops[i].type ||
        g->ir->ops[i].a == g->ir->ops[i].b || !const_of(g, op->b, &n) || n < 1 || n > 3)
        return;
    g->fused[g->ir->ops[i].b] = true;
    note_use(g, op->a, i);
}

/* Until where only the slow ways of accesses can see what a slot was set to: the last one of them, `looked` (or 1), before
 * it is set anew. */
static void note_set(struct gen *g, const struct ir_op *set, uint16_t looked)
{
    uint16_t i = (uint16_t)(set - g->ir->ops), *unseen = &g->unseen_set[set->imm];
    if (*unseen)
        g->owed_end[*unseen] = looked;
    g->owed_end[i] = 0;
    *unseen = i;
}

/* An access that shares a check. */
static void note_group(struct gen *g, const struct ir_op *op)
{
    if (op->d == IR_NONE)
        return;
    uint16_t i = (uint16_t)(op - g->ir->ops);
    if (op->d == i && g->n_groups < MAX_GROUPS) {
        g->groups[g->n_groups].reg = -1;
        g->groups[g->n_groups].leader = i;
        g->group_of[i] = ++g->n_groups;
    }
    if (g->group_of[op->d])
        g->groups[g->group_of[op->d] - 1].last = i;
}

/* What a pinned slot is set to is best computed right in its register, if nothing that may look at it comes between. */
static void choose_place(struct gen *g, const struct ir_op *set)
{
    const struct ir *ir = g->ir;
    int r = g->host->slot_reg[set->imm];
    ir_val d = resolve(ir, set->a);
    uint16_t i = (uint16_t)(set - ir->ops);
    if (r < 0 || ir->ops[d].code == IR_get || ir->ops[d].code == IR_const || g->hint[d] != 255 ||
        i - d > 12)
        return;
    for (uint16_t k = d + 1; k < i; k++)
        if (blocks_hint(&ir->ops[k], set->imm))
            return;
    g->hint[d] = (uint8_t)r;
}

/* An upper half that only slots in memory want goes there from the register of the whole. */
static void fuse_high(struct gen *g, const struct ir_op *set)
{
    ir_val high = set->a;
    const struct ir_op *op = &g->ir->ops[high];
    if (op->code != IR_high || g->host->slot_reg[set->imm] >= 0)
        return;
    if (++g->high_sets[high] == op->uses && op->uses < 255)
        g->fused[high] = true;
    note_use(g, op->a, (uint16_t)(set - g->ir->ops));
}

/* Is the result the same whatever NaN an operand is, or a NaN itself, to be replaced then? */
static bool hands_nan_on(const struct ir_op *op)
{
    switch (op->code) {
    case IR_fadd:
    case IR_fsub:
    case IR_fmul:
    case IR_fdiv:
    case IR_fsqrt:
    case IR_fma:
    case IR_fcmp:
    case IR_ftoi:
    case IR_fwiden:
    case IR_fnarrow: return true;
    default: return false;
    }
}

/* What was compared is looked at once more. */
static void note_undone(struct gen *g, uint16_t set_fflags)
{
    uint16_t fcmp = comparison_undone(g, set_fflags);
    if (fcmp == IR_NONE)
        return;
    note_use(g, g->ir->ops[fcmp].a, set_fflags);
    note_use(g, g->ir->ops[fcmp].b, set_fflags);
}

/* What there is to do, last uses, groups, and which values are best computed right in a pinned register. */
static void look_ahead(struct gen *g, const struct ir_block *blk)
{
    const struct ir *ir = g->ir;
    uint16_t looked = 1;
    g->n_groups = 0;
    g->n_live = 0;
    memset(g->unseen_set, 0, ir->n_slots * sizeof(g->unseen_set[0]));
    for (uint16_t i = blk->first, end = i + blk->n; i < end; i++) {
        const struct ir_op *op = &ir->ops[i];
        g->last_use[i] = i;
        g->fused[i] = false;
        g->copy_in[i] = 0;
        g->loc[i].kind = op->code == IR_const ? LOC_CONST : LOC_NONE;
        if (op->code == IR_const)
            continue;
        g->live[g->n_live++] = i;
        g->hint[i] = 255;
        g->group_of[i] = 0;
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        g->seen[i] = false;
        for (unsigned k = 0, n = ir_n_operands(op); k < n; k++) {
            note_use(g, v[k], i);
            if (v[k] != IR_NONE && !hands_nan_on(op))
                g->seen[v[k]] = true;
        }
        switch (op->code) {
        case IR_set_fflags: note_undone(g, i); break;
        case IR_select:
            if (!is_fp(op->type))
                fuse_select(g, i);
            break;
        case IR_add: fuse_add(g, i); break;
        case IR_load:
        case IR_store: note_group(g, op); /* fall through */
        case IR_rmw:
        case IR_cas: looked = i; break;
        case IR_high: g->high_sets[i] = 0; break;
        case IR_get: g->unseen_set[op->imm] = 0; break;
        case IR_set:
            note_set(g, op, looked);
            choose_place(g, op);
            fuse_high(g, op);
            break;
        case IR_call:
            if (!(((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE))
                memset(g->unseen_set, 0, ir->n_slots * sizeof(g->unseen_set[0]));
            break;
        }
    }
}

static void gen_exit_check(struct gen *g, int32_t off)
{
    put8(&g->b, 0x83); /* cmp dword [rbp + disp32], 0: seven bytes, see kill */
    put8(&g->b, 0xbd);
    put32(&g->b, (uint32_t)TCG_DISP(exit_flag));
    put8(&g->b, 0);
    put_link(g, jcc32(&g->b, CC_NE), new_link(g, off, false));
}

/* The first guest instruction at or behind operation i. Blocks need not be in the order of their
 * operations. */
static unsigned insn_from(const struct ir *ir, uint16_t i)
{
    unsigned lo = 0, hi = ir->n_insns;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (ir->insns[mid].op < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The current operation belongs to a later guest instruction than the one before. */
static void follow_insns(struct gen *g)
{
    const struct ir *ir = g->ir;
    unsigned next = g->next_insn;
    for (; next < ir->n_insns && ir->insns[next].op <= g->i; next++) {
        g->insn = next;
        g->insns_done += ir->insns[next].block == g->block;
    }
    g->next_insn = next;
    g->insn_end = next < ir->n_insns ? ir->insns[next].op : IR_NONE;
}

/* What the operation was the last to need is free. */
static void end_op(struct gen *g, const struct ir_op *op)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = ir_n_operands(op); k--;)
        release(g, v[k]);
    if (g->n_owed)
        forget_owed(g);
    if (!op->uses && ir_op_infos[op->code].result != IR_RES_none)
        release(g, g->i);
    for (unsigned q = 0; q < g->n_groups && op->d != IR_NONE; q++) /* a member may be the last */
        if (g->groups[q].reg >= 0 && g->groups[q].last <= g->i) {
            g->held[(unsigned)g->groups[q].reg] = IR_NONE;
            g->groups[q].reg = -1;
        }
}

/* Blocks that there is a way back to, at most from block `last`. */
static void note_way(struct gen *g, uint16_t last[IR_MAX_BLOCKS], ir_val to, uint16_t from)
{
    if (to == IR_NONE || to > from)
        return;
    g->head[to] = true;
    last[to] = from;
}

/* Pinned registers that a loop takes whole, if it calls nothing. */
static uint32_t joined_in(const struct gen *g, uint16_t first, uint16_t last)
{
    const struct ir *ir = g->ir;
    uint32_t regs = 0;
    for (uint16_t n = first; n <= last; n++)
        for (uint16_t i = ir->blocks[n].first; i < ir->blocks[n].first + ir->blocks[n].n; i++) {
            const struct ir_op *op = &ir->ops[i];
            if (op->code == IR_call &&
                !(((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE))
                return 0;
            if (op->code != IR_join || !op->uses || ir->ops[op->a].code != IR_get ||
                ir->ops[op->b].code != IR_get)
                continue;
            int r = g->host->below[ir->ops[op->b].imm];
            if (r >= 0 && g->host->slot_reg[ir->ops[op->a].imm] == r)
                regs |= 1u << r;
        }
    return regs;
}

/* Loops find upper halves where they need them; other blocks know what all ways to them have. */
static void plan_uppers(struct gen *g)
{
    const struct ir *ir = g->ir;
    uint16_t last[IR_MAX_BLOCKS];
    g->keeps_uppers = g->host->wide && ir->joins;
    if (!g->keeps_uppers)
        return;
    memset(g->head, 0, ir->n_blocks * sizeof(g->head[0]));
    memset(g->uppers_at, 0xff, ir->n_blocks * sizeof(g->uppers_at[0]));
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        const struct ir_block *b = &ir->blocks[n];
        if (!b->n)
            continue;
        const struct ir_op *end = &ir->ops[b->first + b->n - 1];
        if (end->code != IR_jump && end->code != IR_branch)
            continue;
        note_way(g, last, end->c, n);
        if (end->code == IR_branch)
            note_way(g, last, end->d, n);
    }
    memset(g->loop_of, 0xff, ir->n_blocks * sizeof(g->loop_of[0]));
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        if (!g->head[n])
            continue;
        g->uppers_at[n] = joined_in(g, n, last[n]);
        for (uint16_t k = n + 1; k <= last[n]; k++)
            g->loop_of[k] = n; /* inner loops come later */
    }
}

static void gen_block(struct gen *g, uint16_t n)
{
    const struct ir_block *blk = &g->ir->blocks[n];
    g->next_insn = insn_from(g->ir, blk->first);
    g->insn = g->next_insn ? g->next_insn - 1 : 0;
    g->insn_end = 0;
    g->block = n;
    g->label[n] = n ? g->b.p : g->tcg->rw + g->unit->chain_at; /* loops to the start check too */
    memset(g->held, 0xff, sizeof(g->held));
    memset(g->lazy, 0xff, g->ir->n_slots * sizeof(g->lazy[0]));
    memset(g->copy, 0xff, g->ir->n_slots * sizeof(g->copy[0]));
    g->spill_used = 0;
    g->uppers = !g->keeps_uppers || g->uppers_at[n] == UINT32_MAX ? 0 : g->uppers_at[n];
    g->wide = g->uppers;
    if (!n && g->uppers) { /* who comes in does not bring them */
        put_uppers(g, g->uppers);
        g->label[n] = g->b.p;
        gen_exit_check(g, blk->off);
    }
    g->n_owed = 0;
    g->insns_done = 0;
    if (blk->loops && blk->guest && n)
        gen_exit_check(g, blk->off);
    if (g->unit->flags & UNIT_COUNTS && blk->n_insns)
        alu_mi(&g->b, true, ALU_ADD, MEM(RBP, TCG_DISP(n_insns)), blk->n_insns);
    look_ahead(g, blk);
    for (unsigned at = 0; at < g->n_live; at++) {
        const struct ir_op *op = &g->ir->ops[g->live[at]];
        g->i = g->live[at];
        g->locked = 0;
        if (g->i >= g->insn_end)
            follow_insns(g);
        gen_op(g, op);
        end_op(g, op);
    }
}

static void put_site(struct gen *g, struct cold *c)
{
    for (unsigned k = 0; k < c->n_owed; k++) {
        struct mem m = slot_mem(g, c->owed[k].slot);
        if (c->owed[k].reg == NOREG)
            mov_mi(&g->b, true, m, c->owed[k].value);
        else if (c->owed[k].reg >= XMM0)
            extract_upper_m(&g->b, m, (unsigned)c->owed[k].reg - XMM0);
        else
            mov_mr(&g->b, true, m, (unsigned)c->owed[k].reg);
    }
    to_shared(g, call32(&g->b), c->wide ? g->host->slow_wide : g->host->slow);
    c->site.resume = (int32_t)(c->resume - g->b.p);
    if (c->site.kind == SLOW_CALL)
        note_reloc(g, g->b.p + offsetof(struct slow_site, helper), RELOC_PROGRAM);
    put_bytes(&g->b, &c->site, slow_site_size(&c->site));
}

static void put_cold(struct gen *g)
{
    for (unsigned k = 0; k < g->n_cold && !g->b.full; k++) {
        struct cold *c = &g->cold[k];
        if (!c->n_from)
            continue;
        for (unsigned f = 0; f < c->n_from; f++)
            patch_to(c->from[f], g->b.p);
        switch (c->kind) {
        case COLD_SLOW: put_site(g, c); break;
        case COLD_SITE: put_bytes(&g->b, &c->site, offsetof(struct slow_site, span)); break;
        case COLD_EXIT:
            c->link->stub_at = g->b.p - g->tcg->rw;
            to_shared(g, call32(&g->b), g->host->leave);
            put64(&g->b, 0); /* the link's address: see place_links */
            break;
        case COLD_NAN:
            movs_xm(&g->b, c->flags, c->reg,
                    MEM(RBP, TCG_DISP(canonical_nan) + (c->flags ? 0 : 8)));
            patch_to(jmp32(&g->b), c->resume);
            break;
        case COLD_DIV: put_cold_div(g, c); break;
        case COLD_UPPERS:
            put_uppers(g, c->uppers);
            patch_to(jmp32(&g->b), g->label[c->block]);
            break;
        case COLD_DROP_RETURNS:
            mov_rm(&g->b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
            patch_to(jmp32(&g->b), c->resume);
            break;
        }
    }
}

enum compiled gen_unit(struct tcg *tcg, struct unit *u, const struct ir *ir)
{
    struct host *host = tcg->backend_data;
    struct gen *g = host->gen;
    g->tcg = tcg;
    g->host = host;
    g->unit = u;
    g->ir = ir;
    g->b =
        (struct buf){ .p = tcg->rw + tcg->next, .end = tcg->rw + tcg->part_end, .vex = host->wide };
    g->n_cold = g->n_fixups = g->n_links = 0;
    tcg->relocs.n = 0;
    g->failed = false;
    memset(g->label, 0, ir->n_blocks * sizeof(g->label[0]));

    if (g->b.end - g->b.p < BUF_LEAST)
        return COMPILE_NO_ROOM;
    u->code_at = tcg->next;
    /* Entry with the guest pc in rax; behind it, aligned for kill, the entry for links. */
    while ((uintptr_t)(g->b.p + 14) & 7 && !g->b.full)
        put8(&g->b, 0x90);
    u->entry = tcg->rx + (g->b.p - tcg->rw);
    put8(&g->b, 0x48); /* lea rcx, [rax + disp32] */
    put8(&g->b, 0x8d);
    put8(&g->b, 0x88);
    put32(&g->b, (uint32_t)-u->off);
    put8(&g->b, 0x48); /* mov [rbp + disp32], rcx */
    put8(&g->b, 0x89);
    put8(&g->b, 0x8d);
    put32(&g->b, (uint32_t)TCG_DISP(pc_page));
    u->chain_at = g->b.p - tcg->rw;
    struct link *kill = &u->links[0];
    gen_exit_check(g, u->off);
    plan_uppers(g);

    for (uint16_t n = 0; n < ir->n_blocks && !g->failed && !g->b.full; n++)
        if (ir->blocks[n].n)
            gen_block(g, n);
    for (unsigned k = 0; k < g->n_fixups && !g->failed && !g->b.full; k++) {
        if (!g->label[g->fixups[k].block])
            g->failed = true;
        else
            patch_to(g->fixups[k].at, g->label[g->fixups[k].block]);
    }
    if (!g->failed && !g->b.full)
        put_cold(g);
    if (g->failed)
        return COMPILE_TOO_COMPLEX;
    if (g->b.full) /* a whole part may be too small */
        return tcg->part_end - tcg->next < tcg->part_size ? COMPILE_NO_ROOM : COMPILE_TOO_COMPLEX;
    u->kill_at = kill->stub_at;
    u->code_size = (uint32_t)(g->b.p - tcg->rw) - u->code_at;
    u->n_links = g->n_links;
    return COMPILE_OK;
}
