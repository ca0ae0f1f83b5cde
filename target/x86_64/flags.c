/* Flags and conditions as IR. What cc_op holds is known from the builder; tr.note carries it (its value + 1) into a
 * block that only the one before leads to. */
#include "target/x86_64/flags.h"

#include "target/x86_64/insns.h"

/* cc_op + 1 if it is known here, else 0. */
static unsigned known_op(const struct tr *t)
{
    ir_val v = t->ir->slot_value[X86_SLOT_CC_OP];
    int64_t op;
    return v != IR_NONE && ir_is_const(t->ir, v, &op) ? (unsigned)op + 1 : 0;
}

/* Which slots a kind of cc_op is about; `op` as known_op says, of 0 all. */
enum { HAS_DST = 1, HAS_SRC = 2, HAS_AUX = 4 };
static unsigned slots_of(unsigned op)
{
    static const uint8_t has[N_CC_KINDS] = {
        [CC_FLAGS] = HAS_SRC | HAS_AUX, [CC_APART] = HAS_DST | HAS_SRC | HAS_AUX,
        [CC_ADD] = HAS_DST | HAS_SRC,   [CC_ADC] = HAS_DST | HAS_SRC | HAS_AUX,
        [CC_SUB] = HAS_DST | HAS_SRC,   [CC_SBB] = HAS_DST | HAS_SRC | HAS_AUX,
        [CC_CMP] = HAS_DST | HAS_SRC,   [CC_LOGIC] = HAS_DST,
        [CC_INC] = HAS_DST | HAS_AUX,   [CC_DEC] = HAS_DST | HAS_AUX,
        [CC_SHL] = HAS_DST | HAS_SRC,   [CC_SHR] = HAS_DST | HAS_SRC,
        [CC_MUL] = HAS_DST | HAS_SRC,   [CC_IMUL] = HAS_DST | HAS_SRC,
        [CC_BMI] = HAS_DST | HAS_AUX,   [CC_ORDER] = HAS_SRC,
    };
    if (!op)
        return HAS_DST | HAS_SRC | HAS_AUX;
    return has[(op - 1) >> 2 & 15] | ((op - 1) >> CC_LATER_SHIFT ? HAS_AUX : 0);
}

/* Might the unit have set it? */
static bool may_be_set(const struct tr *t, unsigned slot)
{
    return t->ir->block || t->ir->slot_value[slot] != IR_NONE;
}

void cc_set(struct tr *t, enum x86_cc_kind kind, unsigned size, ir_val dst, ir_val src, ir_val aux)
{
    unsigned op = X86_CC(kind, size), idle = slots_of(known_op(t)) & ~slots_of(op + 1);
    ir_set(t->ir, X86_SLOT_CC_OP, ir_i64(t->ir, op));
    const ir_val v[] = { dst, src, aux };
    for (unsigned k = 0; k < ARRAY_LEN(v); k++) {
        unsigned slot = X86_SLOT_CC_DST + k;
        if (v[k] != IR_NONE)
            ir_set(t->ir, slot, v[k]);
        else if (idle >> k & 1 && may_be_set(t, slot))
            ir_forget(t->ir, slot);
    }
}

bool cc_can_guess(const struct tr *t)
{
    return t->guess && t->ir->block == 0 && t->ir->slot_value[X86_SLOT_CC_OP] == IR_NONE;
}

void cc_enter(struct tr *t)
{
    const struct ir *ir = t->ir;
    bool first = ir->n_insns && ir->insns[ir->n_insns - 1].op == ir->blocks[ir->block].first;
    if (t->note && first)
        ir_know(t->ir, X86_SLOT_CC_OP, ir_i64(t->ir, t->note - 1));
}

void cc_leave(struct tr *t)
{
    t->note = known_op(t);
}

void cc_set_flags_carry(struct tr *t, ir_val flags, ir_val carry)
{
    cc_set(t, CC_FLAGS, 1, IR_NONE, flags, carry);
}

void cc_set_flags(struct tr *t, ir_val flags)
{
    cc_set_flags_carry(t, flags, ir_2i(t->ir, IR_and, flags, X86_FLAG_CF));
}

static ir_val dst_of(struct tr *t)
{
    return ir_get(t->ir, X86_SLOT_CC_DST);
}

static ir_val src_of(struct tr *t)
{
    return ir_get(t->ir, X86_SLOT_CC_SRC);
}

static ir_val aux_of(struct tr *t)
{
    return ir_get(t->ir, X86_SLOT_CC_AUX);
}

static ir_val all_flags(struct tr *t, unsigned op)
{
    unsigned has = slots_of(op); /* what kinds have nothing in is not read */
    ir_val zero = ir_i64(t->ir, 0);
    return ir_call(t->ir, &x86_helper_flags, ir_get(t->ir, X86_SLOT_CC_OP),
                   has & HAS_DST ? dst_of(t) : zero, has & HAS_SRC ? src_of(t) : zero,
                   has & HAS_AUX ? aux_of(t) : zero);
}

/* Can cc_aux say something else of cc_op than its kind does? INC's and BMI's CF is not looked at then. */
static bool has_free_aux(unsigned op)
{
    enum { TAKEN = 1 << CC_FLAGS | 1 << CC_APART | 1 << CC_ADC | 1 << CC_SBB };
    return op && !(TAKEN >> ((op - 1) >> 2 & 15) & 1);
}

bool cc_set_rotated(struct tr *t, bool left, unsigned size, ir_val r)
{
    unsigned op = known_op(t), later = (left ? CC_LEFT : CC_RIGHT) + (unsigned)__builtin_ctz(size);
    if (!has_free_aux(op))
        return false;
    ir_set(t->ir, X86_SLOT_CC_OP, ir_i64(t->ir, ((op - 1) & 63) | later << CC_LATER_SHIFT));
    ir_set(t->ir, X86_SLOT_CC_AUX, r);
    return true;
}

void cc_set_carry(struct tr *t, ir_val carry)
{
    unsigned op = known_op(t), later = op ? (op - 1) >> CC_LATER_SHIFT : 0;
    if (!has_free_aux(op) || later > CC_CARRY) {
        cc_set_flags_carry(t, cc_flags_but_carry(t), carry);
        return;
    }
    ir_set(t->ir, X86_SLOT_CC_OP, ir_i64(t->ir, ((op - 1) & 63) | CC_CARRY << CC_LATER_SHIFT));
    ir_set(t->ir, X86_SLOT_CC_AUX, carry);
}

/* XOR of a register with itself comes before many chains of carries. */
static bool is_const_logic(struct tr *t, unsigned op, int64_t *dst)
{
    return op && (op - 1) >> 2 == CC_LOGIC && ir_is_const(t->ir, dst_of(t), dst);
}

/* CC_APART with OF at its place. */
static ir_val joined_overflow(struct tr *t)
{
    ir_val rest = ir_2i(t->ir, IR_and, src_of(t), ~(int64_t)X86_FLAG_OF);
    return ir_2(t->ir, IR_or, rest, ir_2i(t->ir, IR_shl, dst_of(t), 11));
}

ir_val cc_flags_but_carry(struct tr *t)
{
    unsigned op = known_op(t);
    int64_t dst;
    if (op && (op - 1) >> 2 == CC_FLAGS)
        return src_of(t);
    if (op && (op - 1) >> 2 == CC_APART)
        return joined_overflow(t);
    if (is_const_logic(t, op, &dst))
        return ir_i64(t->ir, (int64_t)x86_flags_value(op - 1, (uint64_t)dst, 0, 0));
    return all_flags(t, op);
}

struct x86_apart cc_apart(struct tr *t)
{
    unsigned op = known_op(t);
    struct ir *ir = t->ir;
    if (op && (op - 1) >> 2 == CC_APART)
        return (struct x86_apart){ aux_of(t), dst_of(t), src_of(t) };
    ir_val rest = cc_flags_but_carry(t);
    return (struct x86_apart){ op ? cc_carry(t) : ir_2i(ir, IR_and, rest, X86_FLAG_CF),
                               ir_2i(ir, IR_and, ir_2i(ir, IR_shr, rest, 11), 1), rest };
}

void cc_set_apart(struct tr *t, struct x86_apart f)
{
    cc_set(t, CC_APART, 1, f.overflow, f.rest, f.carry);
}

ir_val cc_flags(struct tr *t)
{
    unsigned op = known_op(t);
    if (!op || (op - 1) >> 2 != CC_FLAGS)
        return all_flags(t, op);
    ir_val rest = ir_2i(t->ir, IR_and, src_of(t), X86_ARITHMETIC & ~X86_FLAG_CF);
    return ir_2(t->ir, IR_or, rest, aux_of(t));
}

/* ---- conditions ------------------------------------------------------------------------------------ */

/* SDM 1-B.1; the odd ones are their opposites. */
enum {
    COND_O,
    COND_B = 2,
    COND_Z = 4,
    COND_BE = 6,
    COND_S = 8,
    COND_P = 10,
    COND_L = 12,
    COND_LE = 14
};

/* The low `size` bytes as something to compare: i32 and i64 stay what they are. */
static ir_val narrowed(struct tr *t, ir_val v, unsigned size, bool sign)
{
    if (size == 4)
        return ir_1(t->ir, IR_trunc, v);
    return sign ? val_sx(t, v, size) : val_zx(t, v, size);
}

static struct x86_cond compare(struct tr *t, enum ir_cc cc, ir_val a, ir_val b, unsigned size)
{
    bool sign = cc >= IR_LT && cc <= IR_GT;
    return (struct x86_cond){ cc, narrowed(t, a, size, sign), narrowed(t, b, size, sign) };
}

static struct x86_cond compare_const(struct tr *t, enum ir_cc cc, ir_val a, int64_t c,
                                     unsigned size)
{
    return compare(t, cc, a, ir_i64(t->ir, c), size);
}

static struct x86_cond is_set(struct tr *t, ir_val v, int64_t mask)
{
    return (struct x86_cond){ IR_NE, ir_2i(t->ir, IR_and, v, mask), ir_i64(t->ir, 0) };
}

/* From flags in RFLAGS' layout; without_carry: CF is in cc_aux. */
static struct x86_cond from_flags(struct tr *t, ir_val f, unsigned code, bool carry_apart)
{
    struct ir *ir = t->ir;
    ir_val less;
    switch (code) {
    case COND_O: return is_set(t, f, X86_FLAG_OF);
    case COND_B:
        return carry_apart ? (struct x86_cond){ IR_NE, aux_of(t), ir_i64(ir, 0) }
                           : is_set(t, f, X86_FLAG_CF);
    case COND_Z: return is_set(t, f, X86_FLAG_ZF);
    case COND_BE:
        if (!carry_apart)
            return is_set(t, f, X86_FLAG_ZF | X86_FLAG_CF);
        return (struct x86_cond){ IR_NE,
                                  ir_2(ir, IR_or, ir_2i(ir, IR_and, f, X86_FLAG_ZF), aux_of(t)),
                                  ir_i64(ir, 0) };
    case COND_S: return is_set(t, f, X86_FLAG_SF);
    case COND_P: return is_set(t, f, X86_FLAG_PF);
    default: /* SF != OF, or ZF */
        less = ir_2(ir, IR_xor, f, ir_2i(ir, IR_shr, f, 4));
        less = ir_2i(ir, IR_and, less, X86_FLAG_SF);
        if (code == COND_LE)
            less = ir_2(ir, IR_or, less, ir_2i(ir, IR_and, f, X86_FLAG_ZF));
        return (struct x86_cond){ IR_NE, less, ir_i64(ir, 0) };
    }
}

/* What follows from the result alone. */
static bool from_result(struct tr *t, ir_val r, unsigned size, unsigned code, struct x86_cond *c)
{
    struct ir *ir = t->ir;
    switch (code) {
    case COND_Z: *c = compare_const(t, IR_EQ, r, 0, size); return true;
    case COND_S: *c = compare_const(t, IR_LT, r, 0, size); return true;
    case COND_P:
        *c = (struct x86_cond){ IR_EQ,
                                ir_2i(ir, IR_and, ir_1(ir, IR_popcnt, ir_1(ir, IR_zext8, r)), 1),
                                ir_i64(ir, 0) };
        return true;
    default: return false;
    }
}

/* a - b. */
static bool from_difference(struct tr *t, ir_val a, ir_val b, unsigned size, unsigned code,
                            struct x86_cond *c)
{
    static const uint8_t ccs[] = {
        [COND_B] = IR_LTU, [COND_Z] = IR_EQ, [COND_BE] = IR_LEU, [COND_L] = IR_LT, [COND_LE] = IR_LE
    };
    if (code == COND_O)
        return false;
    if (code == COND_S || code == COND_P)
        return from_result(t, ir_2(t->ir, IR_sub, a, b), size, code, c);
    *c = compare(t, ccs[code], a, b, size);
    return true;
}

static bool never(struct tr *t, struct x86_cond *c)
{
    *c = (struct x86_cond){ IR_NE, ir_i64(t->ir, 0), ir_i64(t->ir, 0) };
    return true;
}

static bool from_logic(struct tr *t, ir_val r, unsigned size, unsigned code, struct x86_cond *c)
{
    switch (code) {
    case COND_O:
    case COND_B: return never(t, c);
    case COND_BE: return from_result(t, r, size, COND_Z, c);
    case COND_L: return from_result(t, r, size, COND_S, c);
    case COND_LE: *c = compare_const(t, IR_LE, r, 0, size); return true;
    default: return from_result(t, r, size, code, c);
    }
}

/* a + by gave r: signed order by a, which did not overflow. */
static bool from_step(struct tr *t, ir_val r, int by, unsigned size, unsigned code,
                      struct x86_cond *c)
{
    if (code == COND_B)
        *c = (struct x86_cond){ IR_NE, aux_of(t), ir_i64(t->ir, 0) };
    else if (code == COND_L || code == COND_LE)
        *c = compare_const(t, code == COND_L ? IR_LT : IR_LE, ir_2i(t->ir, IR_sub, r, by), -by,
                           size);
    else
        return from_result(t, r, size, code, c);
    return true;
}

/* The carry of r = a + b + c: below b, or equal to it with c. */
static ir_val adc_carry(struct tr *t, ir_val r, ir_val b, ir_val c, unsigned size)
{
    ir_val x = narrowed(t, r, size, false), y = narrowed(t, b, size, false);
    return ir_select(t->ir, c, ir_setc(t->ir, IR_LEU, x, y), ir_setc(t->ir, IR_LTU, x, y));
}

static bool from_carries(struct tr *t, bool borrow, unsigned size, unsigned code,
                         struct x86_cond *c)
{
    ir_val r = dst_of(t), b = src_of(t), in = aux_of(t);
    if (code != COND_B)
        return from_result(t, r, size, code, c);
    if (borrow)
        r = ir_2(t->ir, IR_add, ir_2(t->ir, IR_add, r, b), in);
    *c = (struct x86_cond){ IR_NE, adc_carry(t, r, b, in, size), ir_i64(t->ir, 0) };
    return true;
}

static bool from_shift(struct tr *t, bool left, unsigned size, unsigned code, struct x86_cond *c)
{
    if (code != COND_B)
        return from_result(t, dst_of(t), size, code, c);
    *c = left ? compare_const(t, IR_LT, src_of(t), 0, size) : is_set(t, src_of(t), 1);
    return true;
}

static bool from_product(struct tr *t, bool sign, unsigned size, unsigned code, struct x86_cond *c)
{
    if (code != COND_B && code != COND_O)
        return from_result(t, dst_of(t), size, code, c);
    ir_val expected =
        sign ? ir_2i(t->ir, IR_sar, val_sx(t, dst_of(t), size), 63) : ir_i64(t->ir, 0);
    *c = compare(t, IR_NE, src_of(t), expected, size);
    return true;
}

/* Of floats: v is 0, CF, ZF, or ZF, PF and CF. */
static bool from_order(struct tr *t, ir_val v, unsigned code, struct x86_cond *c)
{
    switch (code) {
    case COND_O:
    case COND_S:
    case COND_L: return never(t, c);
    case COND_BE: *c = (struct x86_cond){ IR_NE, v, ir_i64(t->ir, 0) }; return true;
    default: *c = from_flags(t, v, code == COND_LE ? COND_Z : code, false); return true;
    }
}

static bool from_kind(struct tr *t, unsigned op, unsigned code, struct x86_cond *c);

/* Where cc_aux says what CF, or CF and OF are. */
static bool from_later(struct tr *t, unsigned op, unsigned code, struct x86_cond *c)
{
    unsigned later = op >> CC_LATER_SHIFT;
    if (code == COND_B) {
        if (later < CC_RIGHT)
            *c = is_set(t, aux_of(t), 1);
        else
            *c = compare_const(t, IR_LT, aux_of(t), 0, 1u << (later - CC_RIGHT));
        return true;
    }
    if (code == COND_BE || (later != CC_CARRY && (code == COND_O || code >= COND_L)))
        return false;
    return from_kind(t, op & 63, code, c);
}

/* Even codes only. False: nothing shorter than all flags. */
static bool from_kind(struct tr *t, unsigned op, unsigned code, struct x86_cond *c)
{
    unsigned size = 1u << (op & 3);
    if (op >> CC_LATER_SHIFT)
        return from_later(t, op, code, c);
    switch (op >> 2) {
    case CC_FLAGS: *c = from_flags(t, src_of(t), code, true); return true;
    case CC_APART:
        if (code == COND_O)
            *c = (struct x86_cond){ IR_NE, dst_of(t), ir_i64(t->ir, 0) };
        else
            *c = from_flags(t, code >= COND_L ? joined_overflow(t) : src_of(t), code, true);
        return true;
    case CC_ADD:
        if (code == COND_B)
            *c = compare(t, IR_LTU, dst_of(t), src_of(t), size);
        return code == COND_B || from_result(t, dst_of(t), size, code, c);
    case CC_ADC: return from_carries(t, false, size, code, c);
    case CC_SBB: return from_carries(t, true, size, code, c);
    case CC_SUB:
        if (code == COND_Z || code == COND_S || code == COND_P)
            return from_result(t, dst_of(t), size, code, c);
        return from_difference(t, ir_2(t->ir, IR_add, dst_of(t), src_of(t)), src_of(t), size, code,
                               c);
    case CC_CMP: return from_difference(t, dst_of(t), src_of(t), size, code, c);
    case CC_LOGIC: return from_logic(t, dst_of(t), size, code, c);
    case CC_INC: return from_step(t, dst_of(t), 1, size, code, c);
    case CC_DEC: return from_step(t, dst_of(t), -1, size, code, c);
    case CC_SHL: return from_shift(t, true, size, code, c);
    case CC_SHR: return from_shift(t, false, size, code, c);
    case CC_MUL: return from_product(t, false, size, code, c);
    case CC_IMUL: return from_product(t, true, size, code, c);
    case CC_BMI:
        if (code == COND_B)
            *c = (struct x86_cond){ IR_NE, aux_of(t), ir_i64(t->ir, 0) };
        return code == COND_B || from_result(t, dst_of(t), size, code, c);
    case CC_ORDER: return from_order(t, src_of(t), code, c);
    default: return false;
    }
}

static enum ir_cc opposite(enum ir_cc cc)
{
    static const uint8_t to[] = {
        [IR_EQ] = IR_NE, [IR_NE] = IR_EQ,   [IR_LT] = IR_GE,   [IR_GE] = IR_LT,   [IR_LE] = IR_GT,
        [IR_GT] = IR_LE, [IR_LTU] = IR_GEU, [IR_GEU] = IR_LTU, [IR_LEU] = IR_GTU, [IR_GTU] = IR_LEU,
    };
    return to[cc];
}

struct x86_cond cc_cond(struct tr *t, unsigned code)
{
    struct x86_cond c;
    unsigned op = known_op(t);
    if (!op || !from_kind(t, op - 1, code & ~1u, &c))
        c = from_flags(t, cc_flags(t), code & ~1u, false);
    if (code & 1)
        c.cc = opposite(c.cc);
    return c;
}

ir_val cc_cond_value(struct tr *t, unsigned code)
{
    struct x86_cond c = cc_cond(t, code);
    return ir_setc(t->ir, c.cc, c.a, c.b);
}

/* Kinds that keep the carry as a number give it as it is. */
ir_val cc_carry(struct tr *t)
{
    unsigned op = known_op(t), kind = op ? (op - 1) >> 2 : N_CC_KINDS;
    if (kind == CC_FLAGS || kind == CC_APART || kind == CC_INC || kind == CC_DEC || kind == CC_BMI)
        return aux_of(t);
    if (kind == CC_LOGIC)
        return ir_i64(t->ir, 0);
    return cc_cond_value(t, COND_B);
}

/* Where cc_op is not known, at the head of a loop, it most likely is what it is to become: then cc_aux is CF. If it is
 * not, who may fault has all flags taken down, so that cc_aux is CF and they are what they were. */
ir_val cc_carry_to_keep(struct tr *t, bool faults)
{
    struct ir *ir = t->ir;
    if (known_op(t))
        return cc_carry(t);
    uint16_t other = ir_new_block(ir), done = ir_new_block(ir);
    ir_val from_inc = ir_2i(ir, IR_sub, ir_get(ir, X86_SLOT_CC_OP), X86_CC(CC_INC, 1));
    ir_branch_block(ir, IR_LTU, from_inc, ir_i64(ir, 8), done, other);
    ir_enter(ir, other);
    if (faults)
        cc_set_flags(t, cc_flags(t));
    else
        ir_set(ir, X86_SLOT_CC_AUX, cc_carry(t));
    ir_enter(ir, done);
    return IR_NONE;
}

/* ---- while the CPU stands in a helper ---------------------------------------------------------------- */

uint64_t x86_get_rflags(struct x86_cpu *x)
{
    uint64_t rest = x->rflags & ~(uint64_t)(X86_ARITHMETIC | X86_FLAG_DF);
    return rest | x86_flags_value(x->cc_op, x->cc_dst, x->cc_src, x->cc_aux) |
           (x->df >> 63 ? X86_FLAG_DF : 0) | X86_FLAG_ONE;
}

void x86_set_rflags(struct x86_cpu *x, uint64_t value)
{
    x->rflags = value;
    x->cc_op = X86_CC(CC_FLAGS, 1);
    x->cc_src = value;
    x->cc_aux = value & X86_FLAG_CF;
    x->df = value & X86_FLAG_DF ? ~(uint64_t)0 : 1;
}
