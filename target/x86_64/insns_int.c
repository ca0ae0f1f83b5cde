/* Integer instructions: computing and moving. insns_jump.c has control flow and the stack, insns_bit.c
 * shifts and bits, insns_string.c strings. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"

/* In the order of their encodings. */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

static const uint8_t alu_codes[] = {
    [ALU_ADD] = IR_add, [ALU_OR] = IR_or,   [ALU_ADC] = IR_add, [ALU_SBB] = IR_sub,
    [ALU_AND] = IR_and, [ALU_SUB] = IR_sub, [ALU_XOR] = IR_xor,
};
static const uint8_t alu_kinds[] = {
    [ALU_ADD] = CC_ADD,   [ALU_OR] = CC_LOGIC, [ALU_ADC] = CC_ADC,   [ALU_SBB] = CC_SBB,
    [ALU_AND] = CC_LOGIC, [ALU_SUB] = CC_SUB,  [ALU_XOR] = CC_LOGIC,
};

static bool takes_carry(unsigned alu)
{
    return alu == ALU_ADC || alu == ALU_SBB;
}

static ir_val alu_result(struct tr *t, unsigned alu, ir_val a, ir_val b, ir_val carry,
                         unsigned size)
{
    ir_val r = val_2(t, alu_codes[alu], a, b, size);
    return takes_carry(alu) ? val_2(t, alu_codes[alu], r, carry, size) : r;
}

static void alu_flags(struct tr *t, unsigned alu, ir_val r, ir_val b, ir_val carry, unsigned size)
{
    if (alu_kinds[alu] == CC_LOGIC)
        b = IR_NONE;
    cc_set(t, alu_kinds[alu], size, r, b, carry);
}

/* ---- with LOCK ------------------------------------------------------------------------------------- */

static ir_val locked_address(struct tr *t, const struct x86_insn *i, unsigned *mode)
{
    struct x86_mem m = mem_operand(t, i, i->op[0].size, true);
    *mode = m.mode;
    return mem_address(t, m);
}

static ir_val locked_rmw(struct tr *t, const struct x86_insn *i, enum ir_rmw kind, ir_val v)
{
    unsigned mode;
    ir_val at = locked_address(t, i, &mode);
    return ir_rmw(t->ir, kind, at, v, log2_size(i->op[0].size), mode);
}

/* ADC, SBB and NEG (0 - a, as SBB with the operands exchanged) have no operation of their own: load, compute,
 * compare and swap until nobody was faster. Address, b and carry cross the blocks in slots; gives the old value. */
static ir_val locked_loop(struct tr *t, const struct x86_insn *i, unsigned alu, ir_val b,
                          ir_val carry)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size, mode;
    ir_set(ir, X86_SLOT_TMP + 1, b);
    ir_set(ir, X86_SLOT_TMP + 2, carry);
    ir_set(ir, X86_SLOT_TMP, locked_address(t, i, &mode));
    uint16_t again = ir_new_block(ir), done = ir_new_block(ir);
    ir_enter(ir, again);
    ir_val at = ir_get(ir, X86_SLOT_TMP);
    ir_val old = ir_load(ir, IR_I64, at, 0, log2_size(size), mode);
    b = ir_get(ir, X86_SLOT_TMP + 1);
    ir_val r = alu == ALU_SUB ? ir_2(ir, IR_sub, b, old)
                              : alu_result(t, alu, old, b, ir_get(ir, X86_SLOT_TMP + 2), size);
    ir_val seen = ir_cas(ir, at, old, r, log2_size(size), mode);
    ir_set(ir, X86_SLOT_TMP, old);
    uint16_t lost = ir_new_block(ir);
    ir_set(ir, X86_SLOT_TMP + 3, at);
    ir_branch_block(ir, IR_EQ, seen, old, done, lost);
    ir_enter(ir, lost);
    ir_set(ir, X86_SLOT_TMP, ir_get(ir, X86_SLOT_TMP + 3));
    ir_jump_block(ir, again);
    ir_enter(ir, done);
    return ir_get(ir, X86_SLOT_TMP);
}

static void alu_locked(struct tr *t, const struct x86_insn *i, unsigned alu, ir_val b, ir_val carry)
{
    static const uint8_t kinds[] = {
        [ALU_ADD] = IR_RMW_ADD, [ALU_OR] = IR_RMW_OR,   [ALU_AND] = IR_RMW_AND,
        [ALU_SUB] = IR_RMW_ADD, [ALU_XOR] = IR_RMW_XOR,
    };
    unsigned size = i->op[0].size;
    ir_val old;
    if (takes_carry(alu)) {
        old = locked_loop(t, i, alu, b, carry);
        b = ir_get(t->ir, X86_SLOT_TMP + 1);
        carry = ir_get(t->ir, X86_SLOT_TMP + 2);
    } else {
        ir_val v = alu == ALU_SUB ? ir_2(t->ir, IR_sub, ir_i64(t->ir, 0), b) : b;
        old = locked_rmw(t, i, kinds[alu], v);
    }
    alu_flags(t, alu, alu_result(t, alu, old, b, carry, size), b, carry, size);
}

/* ---- arithmetic -------------------------------------------------------------------------------------- */

static void tr_alu(struct tr *t, const struct x86_insn *i)
{
    unsigned alu = (unsigned)i->extra, size = i->op[0].size;
    ir_val b = op_read(t, i, 1), carry = takes_carry(alu) ? cc_carry(t) : IR_NONE;
    if (is_locked(i)) {
        alu_locked(t, i, alu, b, carry);
        return;
    }
    struct x86_place p = op_open(t, i, 0);
    ir_val r = alu_result(t, alu, p.v, b, carry, size);
    op_close(t, i, 0, &p, r);
    alu_flags(t, alu, r, b, carry, size);
}

static void tr_cmp(struct tr *t, const struct x86_insn *i)
{
    ir_val b = op_read(t, i, 1), a = op_read(t, i, 0);
    cc_set(t, CC_CMP, i->op[0].size, a, b, IR_NONE);
}

static void tr_test(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val b = op_read(t, i, 1), a = op_read(t, i, 0);
    ir_val r = a == b ? a : val_2(t, IR_and, a, b, size);
    cc_set(t, CC_LOGIC, size, r, IR_NONE, IR_NONE);
}

/* INC, DEC: extra is 1 or -1. CF stays. */
static void tr_step(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    bool faults = i->op[0].kind != X86_OP_GPR;
    ir_val carry = cc_carry_to_keep(t, faults), by = ir_i64(t->ir, i->extra), r;
    if (is_locked(i)) {
        r = ir_2(t->ir, IR_add, locked_rmw(t, i, IR_RMW_ADD, by), by);
    } else {
        struct x86_place p = op_open(t, i, 0);
        r = val_2(t, IR_add, p.v, by, size);
        op_close(t, i, 0, &p, r);
    }
    cc_set(t, i->extra > 0 ? CC_INC : CC_DEC, size, r, IR_NONE, carry);
}

static void tr_neg(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val zero = ir_i64(t->ir, 0);
    if (is_locked(i)) {
        ir_val old = locked_loop(t, i, ALU_SUB, zero, zero);
        cc_set(t, CC_SUB, size, ir_2(t->ir, IR_sub, ir_i64(t->ir, 0), old), old, IR_NONE);
        return;
    }
    struct x86_place p = op_open(t, i, 0);
    ir_val r = val_2(t, IR_sub, zero, p.v, size);
    op_close(t, i, 0, &p, r);
    cc_set(t, CC_SUB, size, r, p.v, IR_NONE);
}

static void tr_not(struct tr *t, const struct x86_insn *i)
{
    ir_val ones = ir_i64(t->ir, -1);
    if (is_locked(i)) {
        locked_rmw(t, i, IR_RMW_XOR, ones);
        return;
    }
    struct x86_place p = op_open(t, i, 0);
    op_close(t, i, 0, &p, val_2(t, IR_xor, p.v, ones, i->op[0].size));
}

/* rDX:rAX or AX = rAX * operand. extra: signed. */
static void tr_mul(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    bool sign = i->extra;
    ir_val b = sign ? op_read_sx(t, i, 0) : op_read_zx(t, i, 0);
    ir_val a = sign ? reg_read_sx(t, X86_RAX, size) : reg_read_zx(t, X86_RAX, size);
    ir_val low = ir_2(ir, IR_mul, a, b);
    ir_val high =
        size == 8 ? ir_2(ir, sign ? IR_mulhs : IR_mulhu, a, b) : ir_2i(ir, IR_shr, low, 8 * size);
    if (size == 1) {
        reg_write(t, X86_RAX, 2, low);
    } else {
        reg_write(t, X86_RAX, size, low);
        reg_write(t, X86_RDX, size, high);
    }
    cc_set(t, sign ? CC_IMUL : CC_MUL, size, low, high, IR_NONE);
}

/* The low half needs no extension; the high one is for the flags only, and mostly nobody asks. */
static void imul_to(struct tr *t, const struct x86_insn *i, unsigned first)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val b = op_read(t, i, first + 1), a = op_read(t, i, first);
    ir_val low = val_2(t, IR_mul, a, b, size);
    ir_val high =
        size == 8
            ? ir_2(ir, IR_mulhs, a, b)
            : ir_2i(ir, IR_shr, ir_2(ir, IR_mul, val_sx(t, a, size), val_sx(t, b, size)), 8 * size);
    op_write(t, i, 0, low);
    cc_set(t, CC_IMUL, size, low, high, IR_NONE);
}

static void tr_imul2(struct tr *t, const struct x86_insn *i)
{
    imul_to(t, i, 0);
}

static void tr_imul3(struct tr *t, const struct x86_insn *i)
{
    imul_to(t, i, 1);
}

/* Quotient and remainder of one register: where rDX only extends rAX, and the divisor is neither 0 nor -1. */
static void divide(struct tr *t, unsigned size, bool sign, ir_val b)
{
    struct ir *ir = t->ir;
    ir_val a = reg_read(t, X86_RAX, size);
    ir_val q = val_2(t, sign ? IR_divs : IR_divu, a, b, size);
    ir_val r = val_2(t, sign ? IR_rems : IR_remu, a, b, size);
    ir_set(ir, X86_SLOT_R + X86_RAX, q);
    ir_set(ir, X86_SLOT_R + X86_RDX, r);
}

/* extra: signed. All that may fault or has a long dividend is a helper's. */
static void tr_div(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    bool sign = i->extra;
    ir_val b = sign ? op_read_sx(t, i, 0) : op_read_zx(t, i, 0),
           how = ir_i64(ir, size | (sign ? 16 : 0));
    if (size < 4) {
        ir_call(ir, &x86_helper_div, b, how, IR_NONE, IR_NONE);
        return;
    }
    ir_val high = reg_read(t, X86_RDX, size), zero = ir_i64(ir, 0), odd, bad;
    if (sign) {
        odd = val_2(t, IR_xor, high, ir_2i(ir, IR_sar, reg_read_sx(t, X86_RAX, size), 63), size);
        bad = ir_setc(ir, IR_LEU, ir_2i(ir, IR_add, b, 1), ir_i64(ir, 1));
    } else {
        odd = val_zx(t, high, size);
        bad = ir_setc(ir, IR_EQ, b, zero);
    }
    uint16_t simple = ir_new_block(ir), other = ir_new_block(ir), done = ir_new_block(ir);
    ir_set(ir, X86_SLOT_TMP, b);
    ir_branch_block(ir, IR_EQ, ir_2(ir, IR_or, odd, bad), zero, simple, other);
    ir_enter(ir, simple);
    divide(t, size, sign, ir_get(ir, X86_SLOT_TMP));
    ir_jump_block(ir, done);
    ir_enter(ir, other);
    ir_call(ir, &x86_helper_div, ir_get(ir, X86_SLOT_TMP), ir_i64(ir, size | (sign ? 16 : 0)),
            IR_NONE, IR_NONE);
    ir_enter(ir, done);
}

/* ---- moving ------------------------------------------------------------------------------------------- */

static void tr_mov(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, op_read(t, i, 1));
}

static void tr_movzx(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, op_read_zx(t, i, 1));
}

static void tr_movsx(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, op_read_sx(t, i, 1));
}

static void tr_lea(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, mem_effective(t, i));
}

static void tr_cmov(struct tr *t, const struct x86_insn *i)
{
    ir_val b = op_read(t, i, 1), a = op_read(t, i, 0);
    op_write(t, i, 0, ir_select(t->ir, cc_cond_value(t, i->opcode & 15), b, a));
}

static void tr_setcc(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, cc_cond_value(t, i->opcode & 15));
}

/* With memory it is atomic, LOCK or not (SDM 2C "XCHG"). */
static void tr_xchg(struct tr *t, const struct x86_insn *i)
{
    if (i->op[0].kind == X86_OP_MEM) {
        op_write(t, i, 1, locked_rmw(t, i, IR_RMW_SWAP, op_read(t, i, 1)));
        return;
    }
    ir_val a = op_read(t, i, 0), b = op_read(t, i, 1);
    op_write(t, i, 0, b);
    op_write(t, i, 1, a);
}

/* 90 is NOP, which would be XCHG EAX, EAX. */
static void tr_xchg_rax(struct tr *t, const struct x86_insn *i)
{
    if (i->op[0].reg != X86_RAX)
        tr_xchg(t, i);
}

static void tr_xadd(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val b = op_read(t, i, 1), a, r;
    if (is_locked(i)) {
        a = locked_rmw(t, i, IR_RMW_ADD, b);
        r = val_2(t, IR_add, a, b, size);
        op_write(t, i, 1, a);
    } else {
        struct x86_place p = op_open(t, i, 0);
        a = p.v;
        r = val_2(t, IR_add, a, b, size);
        if (i->op[0].kind == X86_OP_MEM)
            op_close(t, i, 0, &p, r);
        op_write(t, i, 1, a);
        if (i->op[0].kind != X86_OP_MEM)
            op_close(t, i, 0, &p, r);
    }
    cc_set(t, CC_ADD, size, r, b, IR_NONE);
}

/* Equal at this size: 0 or 1. */
static ir_val equal(struct tr *t, ir_val a, ir_val b, unsigned size)
{
    return ir_setc(t->ir, IR_EQ, val_zx(t, a, size), val_zx(t, b, size));
}

/* A register that is not to change keeps its upper half, too. */
static void write_if_equal(struct tr *t, const struct x86_insn *i, ir_val same, ir_val v)
{
    const struct x86_operand *o = &i->op[0];
    if (o->size < 4) {
        op_write(t, i, 0, ir_select(t->ir, same, v, op_read(t, i, 0)));
        return;
    }
    ir_val old = reg_read(t, o->reg, 8);
    ir_set(t->ir, X86_SLOT_R + o->reg, ir_select(t->ir, same, val_zx(t, v, o->size), old));
}

/* The accumulator is written only where it differs, which matters to the upper half of RAX. */
static void tr_cmpxchg(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val wanted = reg_read(t, X86_RAX, size), b = op_read(t, i, 1), old;
    if (i->op[0].kind == X86_OP_MEM) {
        unsigned mode;
        ir_val at = locked_address(t, i, &mode);
        old = ir_cas(ir, at, wanted, b, log2_size(size), mode);
    } else {
        old = op_read(t, i, 0);
        write_if_equal(t, i, equal(t, old, wanted, size), b);
    }
    ir_val same = equal(t, old, wanted, size), rax = reg_read(t, X86_RAX, 8);
    if (size >= 4) {
        ir_set(ir, X86_SLOT_R + X86_RAX, ir_select(ir, same, rax, val_zx(t, old, size)));
    } else if (i->op[0].kind == X86_OP_MEM || i->op[0].reg != X86_RAX || i->op[0].high) {
        reg_write(t, X86_RAX, size, old);
    }
    cc_set(t, CC_CMP, size, wanted, old, IR_NONE);
}

static ir_val pair32(struct tr *t, unsigned high, unsigned low)
{
    return ir_2(t->ir, IR_or, ir_2i(t->ir, IR_shl, reg_read(t, high, 4), 32),
                reg_read_zx(t, low, 4));
}

/* ZF only. */
static void set_zero_flag(struct tr *t, ir_val zero)
{
    ir_val carry = cc_carry(t),
           rest = ir_2i(t->ir, IR_and, cc_flags_but_carry(t), ~(int64_t)X86_FLAG_ZF);
    cc_set_flags_carry(t, ir_2(t->ir, IR_or, rest, ir_2i(t->ir, IR_shl, zero, 6)), carry);
}

static void tr_cmpxchg8b(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned mode;
    if (i->osize == 8) {
        ir_val at = locked_address(t, i, &mode);
        ir_call(ir, &x86_helper_cmpxchg16b, at, ir_i64(ir, mode), IR_NONE, IR_NONE);
        return;
    }
    ir_val wanted = pair32(t, X86_RDX, X86_RAX), at = locked_address(t, i, &mode);
    ir_val old = ir_cas(ir, at, wanted, pair32(t, X86_RCX, X86_RBX), IR_64, mode);
    ir_val same = ir_setc(ir, IR_EQ, old, wanted);
    ir_set(ir, X86_SLOT_R + X86_RAX,
           ir_select(ir, same, reg_read(t, X86_RAX, 8), val_zx(t, old, 4)));
    ir_set(ir, X86_SLOT_R + X86_RDX,
           ir_select(ir, same, reg_read(t, X86_RDX, 8), ir_2i(ir, IR_shr, old, 32)));
    set_zero_flag(t, same);
}

/* CBW, CWDE, CDQE; CWD, CDQ, CQO: extra is where the sign goes. */
static void tr_convert(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->osize;
    if (i->extra == X86_RAX)
        reg_write(t, X86_RAX, size, reg_read_sx(t, X86_RAX, size / 2));
    else
        reg_write(t, X86_RDX, size, ir_2i(t->ir, IR_sar, reg_read_sx(t, X86_RAX, size), 63));
}

static ir_val swapped(struct tr *t, ir_val v, unsigned size)
{
    if (size == 8)
        return ir_1(t->ir, IR_bswap, v);
    v = ir_1(t->ir, IR_zext32, ir_1(t->ir, IR_bswap, ir_1(t->ir, IR_trunc, v)));
    return size == 4 ? v : ir_2i(t->ir, IR_shr, v, 16);
}

/* With 16 bits the result is undefined; processors give 0. */
static void tr_bswap(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, i->osize == 2 ? ir_i64(t->ir, 0) : swapped(t, op_read(t, i, 0), i->osize));
}

static void tr_movbe(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, swapped(t, op_read(t, i, 1), i->osize));
}

static void tr_xlat(struct tr *t, const struct x86_insn *i)
{
    ir_val at = ir_2(t->ir, IR_add, reg_read(t, X86_RBX, 8), reg_read_zx(t, X86_RAX, 1));
    reg_write(t, X86_RAX, 1,
              load_mem(t, mem_linear(t, i->seg, val_zx(t, at, i->asize), 1, false), 1));
}

/* In the manuals' opcode maps it is a hole; processors have had it since the 8086. */
static void tr_salc(struct tr *t, const struct x86_insn *i)
{
    reg_write(t, X86_RAX, 1, ir_2(t->ir, IR_sub, ir_i64(t->ir, 0), cc_cond_value(t, 2)));
}

/* ---- flags themselves ----------------------------------------------------------------------------------- */

static void tr_lahf(struct tr *t, const struct x86_insn *i)
{
    ir_val f = ir_2i(t->ir, IR_or, ir_2i(t->ir, IR_and, cc_flags(t), 0xff), X86_FLAG_ONE);
    ir_val rax = ir_2i(t->ir, IR_and, reg_read(t, X86_RAX, 8), ~(int64_t)0xff00);
    ir_set(t->ir, X86_SLOT_R + X86_RAX, ir_2(t->ir, IR_or, rax, ir_2i(t->ir, IR_shl, f, 8)));
}

static void tr_sahf(struct tr *t, const struct x86_insn *i)
{
    ir_val of = ir_2i(t->ir, IR_and, cc_flags(t), X86_FLAG_OF);
    ir_val ah = ir_2i(t->ir, IR_and, ir_2i(t->ir, IR_shr, reg_read(t, X86_RAX, 8), 8), 0xff);
    cc_set_flags(t, ir_2(t->ir, IR_or, ah, of));
}

/* CLC, STC: extra is the new CF; CMC: -1. */
static void tr_carry(struct tr *t, const struct x86_insn *i)
{
    ir_val carry = i->extra < 0 ? ir_2i(t->ir, IR_xor, cc_carry(t), 1) : ir_i64(t->ir, i->extra);
    cc_set_carry(t, carry);
}

/* CLD, STD: extra is the step. */
static void tr_direction(struct tr *t, const struct x86_insn *i)
{
    ir_set(t->ir, X86_SLOT_DF, ir_i64(t->ir, i->extra));
}

/* ---- decimal --------------------------------------------------------------------------------------------- */

static void tr_bcd(struct tr *t, const struct x86_insn *i)
{
    ir_val r = ir_call(t->ir, &x86_helper_bcd, ir_i64(t->ir, i->opcode), reg_read_zx(t, X86_RAX, 2),
                       cc_flags(t), IR_NONE);
    reg_write(t, X86_RAX, 2, r);
    cc_set_flags(t, ir_2i(t->ir, IR_shr, r, 16));
}

static void tr_aam(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    if (!i->imm_b) {
        tr_fault(t, X86_DE);
        return;
    }
    ir_val al = reg_read_zx(t, X86_RAX, 1), base = ir_i64(ir, i->imm_b);
    ir_val low = ir_2(ir, IR_remu, al, base);
    reg_write(t, X86_RAX, 2,
              ir_2(ir, IR_or, ir_2i(ir, IR_shl, ir_2(ir, IR_divu, al, base), 8), low));
    cc_set(t, CC_LOGIC, 1, low, IR_NONE, IR_NONE);
}

static void tr_aad(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    ir_val ax = reg_read(t, X86_RAX, 2), ah = ir_1(ir, IR_zext8, ir_2i(ir, IR_shr, ax, 8));
    ir_val al = ir_1(ir, IR_zext8, ir_2(ir, IR_add, ax, ir_2i(ir, IR_mul, ah, i->imm_b)));
    reg_write(t, X86_RAX, 2, al);
    cc_set(t, CC_LOGIC, 1, al, IR_NONE, IR_NONE);
}

/* ---- others ------------------------------------------------------------------------------------------------ */

static void tr_nop(struct tr *t, const struct x86_insn *i)
{
}

/* With REX.B it is XCHG R8, RAX. */
static void tr_pause(struct tr *t, const struct x86_insn *i)
{
    if (i->op[0].reg != X86_RAX) {
        tr_xchg(t, i);
        return;
    }
    ir_call(t->ir, &x86_helper_pause, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

/* extra: set of IR_FENCE_*. */
static void tr_fence(struct tr *t, const struct x86_insn *i)
{
    ir_fence(t->ir, (unsigned)i->extra);
}

/* There are no caches to write back; the address must be one. */
static void tr_cache_line(struct tr *t, const struct x86_insn *i)
{
    load_mem(t, mem_operand(t, i, 1, false), 1);
}

static void tr_bound(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->osize;
    ir_val v = op_read_sx(t, i, 0), low = load_mem_sx(t, mem_operand(t, i, size, false), size);
    ir_val high = load_mem_sx(t, mem_operand_at(t, i, size, size, false), size);
    ir_val out = ir_2(ir, IR_or, ir_setc(ir, IR_LT, v, low), ir_setc(ir, IR_GT, v, high));
    tr_fault_if(t, IR_NE, out, ir_i64(ir, 0), X86_BR);
}

static void tr_crc32(struct tr *t, const struct x86_insn *i)
{
    ir_val v = op_read_zx(t, i, 1), crc = reg_read_zx(t, i->op[0].reg, 4);
    ir_val r = ir_call(t->ir, &x86_helper_crc32, crc, v, ir_i64(t->ir, i->op[1].size), IR_NONE);
    reg_write(t, i->op[0].reg, 8, r);
}

static void tr_random(struct tr *t, const struct x86_insn *i)
{
    ir_val v = ir_call(t->ir, &x86_helper_random, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    op_write(t, i, 0, v);
    cc_set_flags_carry(t, ir_i64(t->ir, 0), ir_i64(t->ir, 1));
}

static void tr_ud(struct tr *t, const struct x86_insn *i)
{
    tr_fault(t, X86_UD);
}

/* ---- tables -------------------------------------------------------------------------------------------------- */
/* clang-format off */

enum { AF = X86_FLAG_AF, OSZAP = X86_FLAG_OF | X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_AF | X86_FLAG_PF,
       SZAP = OSZAP & ~X86_FLAG_OF, ALL = OSZAP | X86_FLAG_CF };

#define ALU(name, base, digit, fn, alu, lock, undefined)                                                     \
    { name, base "0 /r", "Eb,Gb",  fn, alu, lock, 0, undefined },                                            \
    { name, base "1 /r", "Ev,Gv",  fn, alu, lock, 0, undefined },                                            \
    { name, base "2 /r", "Gb,Eb",  fn, alu, 0,    0, undefined },                                            \
    { name, base "3 /r", "Gv,Ev",  fn, alu, 0,    0, undefined },                                            \
    { name, base "4",    "AL,Ib",  fn, alu, 0,    0, undefined },                                            \
    { name, base "5",    "rAX,Iz", fn, alu, 0,    0, undefined },                                            \
    ALU_IMM(name, digit, fn, alu, lock, undefined)
#define ALU8(name, base, digit, fn, alu, lock, undefined)                                                    \
    { name, base "8 /r", "Eb,Gb",  fn, alu, lock, 0, undefined },                                            \
    { name, base "9 /r", "Ev,Gv",  fn, alu, lock, 0, undefined },                                            \
    { name, base "A /r", "Gb,Eb",  fn, alu, 0,    0, undefined },                                            \
    { name, base "B /r", "Gv,Ev",  fn, alu, 0,    0, undefined },                                            \
    { name, base "C",    "AL,Ib",  fn, alu, 0,    0, undefined },                                            \
    { name, base "D",    "rAX,Iz", fn, alu, 0,    0, undefined },                                            \
    ALU_IMM(name, digit, fn, alu, lock, undefined)
#define ALU_IMM(name, digit, fn, alu, lock, undefined)                                                       \
    { name, "80 /" digit, "Eb,Ib", fn, alu, lock, 0, undefined },                                            \
    { name, "81 /" digit, "Ev,Iz", fn, alu, lock, 0, undefined },                                            \
    { name, "82 /" digit, "Eb,Ib", fn, alu, (lock) | X86_NO64, 0, undefined },                               \
    { name, "83 /" digit, "Ev,Ib", fn, alu, lock, 0, undefined }

static const struct x86_line arithmetic[] = {
    ALU ("add", "0", "0", tr_alu, ALU_ADD, X86_LOCKABLE, 0),
    ALU8("or",  "0", "1", tr_alu, ALU_OR,  X86_LOCKABLE, AF),
    ALU ("adc", "1", "2", tr_alu, ALU_ADC, X86_LOCKABLE, 0),
    ALU8("sbb", "1", "3", tr_alu, ALU_SBB, X86_LOCKABLE, 0),
    ALU ("and", "2", "4", tr_alu, ALU_AND, X86_LOCKABLE, AF),
    ALU8("sub", "2", "5", tr_alu, ALU_SUB, X86_LOCKABLE, 0),
    ALU ("xor", "3", "6", tr_alu, ALU_XOR, X86_LOCKABLE, AF),
    ALU8("cmp", "3", "7", tr_cmp, ALU_CMP, 0, 0),
    { "test",    "84 /r",    "Eb,Gb",    tr_test,  0, 0, 0, AF },
    { "test",    "85 /r",    "Ev,Gv",    tr_test,  0, 0, 0, AF },
    { "test",    "A8",       "AL,Ib",    tr_test,  0, 0, 0, AF },
    { "test",    "A9",       "rAX,Iz",   tr_test,  0, 0, 0, AF },
    { "test",    "F6 /0",    "Eb,Ib",    tr_test,  0, 0, 0, AF },
    { "test",    "F6 /1",    "Eb,Ib",    tr_test,  0, 0, 0, AF },
    { "test",    "F7 /0",    "Ev,Iz",    tr_test,  0, 0, 0, AF },
    { "test",    "F7 /1",    "Ev,Iz",    tr_test,  0, 0, 0, AF },
    { "not",     "F6 /2",    "Eb",       tr_not,   0, X86_LOCKABLE },
    { "not",     "F7 /2",    "Ev",       tr_not,   0, X86_LOCKABLE },
    { "neg",     "F6 /3",    "Eb",       tr_neg,   0, X86_LOCKABLE },
    { "neg",     "F7 /3",    "Ev",       tr_neg,   0, X86_LOCKABLE },
    { "mul",     "F6 /4",    "Eb",       tr_mul,   0, 0, 0, SZAP },
    { "mul",     "F7 /4",    "Ev",       tr_mul,   0, 0, 0, SZAP },
    { "imul",    "F6 /5",    "Eb",       tr_mul,   1, 0, 0, SZAP },
    { "imul",    "F7 /5",    "Ev",       tr_mul,   1, 0, 0, SZAP },
    { "div",     "F6 /6",    "Eb",       tr_div,   0, 0, 0, ALL },
    { "div",     "F7 /6",    "Ev",       tr_div,   0, 0, 0, ALL },
    { "idiv",    "F6 /7",    "Eb",       tr_div,   1, 0, 0, ALL },
    { "idiv",    "F7 /7",    "Ev",       tr_div,   1, 0, 0, ALL },
    { "imul",    "0F AF /r", "Gv,Ev",    tr_imul2, 0, 0, 0, SZAP },
    { "imul",    "69 /r",    "Gv,Ev,Iz", tr_imul3, 0, 0, 0, SZAP },
    { "imul",    "6B /r",    "Gv,Ev,Ib", tr_imul3, 0, 0, 0, SZAP },
    { "inc",     "FE /0",    "Eb",       tr_step,  1,  X86_LOCKABLE },
    { "inc",     "FF /0",    "Ev",       tr_step,  1,  X86_LOCKABLE },
    { "inc",     "40+r",     "Zv",       tr_step,  1,  X86_NO64 },
    { "dec",     "FE /1",    "Eb",       tr_step,  -1, X86_LOCKABLE },
    { "dec",     "FF /1",    "Ev",       tr_step,  -1, X86_LOCKABLE },
    { "dec",     "48+r",     "Zv",       tr_step,  -1, X86_NO64 },
    { "xadd",    "0F C0 /r", "Eb,Gb",    tr_xadd,  0, X86_LOCKABLE },
    { "xadd",    "0F C1 /r", "Ev,Gv",    tr_xadd,  0, X86_LOCKABLE },
    { "cmpxchg", "0F B0 /r", "Eb,Gb",    tr_cmpxchg, 0, X86_LOCKABLE },
    { "cmpxchg", "0F B1 /r", "Ev,Gv",    tr_cmpxchg, 0, X86_LOCKABLE },
    { "daa",     "27",       "",         tr_bcd,   0, X86_NO64, 0, X86_FLAG_OF },
    { "das",     "2F",       "",         tr_bcd,   0, X86_NO64, 0, X86_FLAG_OF },
    { "aaa",     "37",       "",         tr_bcd,   0, X86_NO64, 0, OSZAP & ~AF },
    { "aas",     "3F",       "",         tr_bcd,   0, X86_NO64, 0, OSZAP & ~AF },
    { "aam",     "D4",       "Ib",       tr_aam,   0, X86_NO64, 0, X86_FLAG_OF | AF | X86_FLAG_CF },
    { "aad",     "D5",       "Ib",       tr_aad,   0, X86_NO64, 0, X86_FLAG_OF | AF | X86_FLAG_CF },
};

static const struct x86_line moves[] = {
    { "mov",     "88 /r",    "Eb,Gb",    tr_mov },
    { "mov",     "89 /r",    "Ev,Gv",    tr_mov },
    { "mov",     "8A /r",    "Gb,Eb",    tr_mov },
    { "mov",     "8B /r",    "Gv,Ev",    tr_mov },
    { "mov",     "A0",       "AL,Ob",    tr_mov },
    { "mov",     "A1",       "rAX,Ov",   tr_mov },
    { "mov",     "A2",       "Ob,AL",    tr_mov },
    { "mov",     "A3",       "Ov,rAX",   tr_mov },
    { "mov",     "B0+r",     "Zb,Ib",    tr_mov },
    { "mov",     "B8+r",     "Zv,Iv",    tr_mov },
    { "mov",     "C6 /0",    "Eb,Ib",    tr_mov },
    { "mov",     "C7 /0",    "Ev,Iz",    tr_mov },
    { "movzx",   "0F B6 /r", "Gv,Eb",    tr_movzx },
    { "movzx",   "0F B7 /r", "Gv,Ew",    tr_movzx },
    { "movsx",   "0F BE /r", "Gv,Eb",    tr_movsx },
    { "movsx",   "0F BF /r", "Gv,Ew",    tr_movsx },
    { "movsxd",  "63 /r",    "Gv,Ez",    tr_movsx, 0, X86_ONLY64 },
    { "lea",     "8D /r",    "Gv,M",     tr_lea },
    { "xchg",    "86 /r",    "Eb,Gb",    tr_xchg,  0, X86_LOCKABLE },
    { "xchg",    "87 /r",    "Ev,Gv",    tr_xchg,  0, X86_LOCKABLE },
    { "xchg",    "90+r",     "Zv,rAX",   tr_xchg_rax },
    { "cwde",    "98",       "",         tr_convert, X86_RAX },
    { "cdq",     "99",       "",         tr_convert, X86_RDX },
    { "bswap",   "0F C8+r",  "Zv",       tr_bswap },
    { "xlatb",   "D7",       "",         tr_xlat },
    { "salc",    "D6",       "",         tr_salc,  0, X86_NO64 },
    { "lahf",    "9F",       "",         tr_lahf },
    { "sahf",    "9E",       "",         tr_sahf },
    { "cmc",     "F5",       "",         tr_carry, -1 },
    { "clc",     "F8",       "",         tr_carry, 0 },
    { "stc",     "F9",       "",         tr_carry, 1 },
    { "cld",     "FC",       "",         tr_direction, 1 },
    { "std",     "FD",       "",         tr_direction, -1 },
    { "bound",   "62 /r",    "Gv,Ma",    tr_bound, 0, X86_NO64 },
    { "ud2",     "0F 0B",    "",         tr_ud,    0, 0, INSN_END },
    { "ud1",     "0F B9 /r", "Gv,Ev",    tr_ud,    0, 0, INSN_END },
    { "ud0",     "0F FF /r", "Gv,Ev",    tr_ud,    0, 0, INSN_END },
};

#define CC_LINE(name, code, operands, fn) { name, code " /r", operands, fn }
#define CC_LINES(name, base, operands, fn)                                                                   \
    CC_LINE(name "o",  base "0", operands, fn), CC_LINE(name "no", base "1", operands, fn),                  \
    CC_LINE(name "b",  base "2", operands, fn), CC_LINE(name "ae", base "3", operands, fn),                  \
    CC_LINE(name "e",  base "4", operands, fn), CC_LINE(name "ne", base "5", operands, fn),                  \
    CC_LINE(name "be", base "6", operands, fn), CC_LINE(name "a",  base "7", operands, fn),                  \
    CC_LINE(name "s",  base "8", operands, fn), CC_LINE(name "ns", base "9", operands, fn),                  \
    CC_LINE(name "p",  base "A", operands, fn), CC_LINE(name "np", base "B", operands, fn),                  \
    CC_LINE(name "l",  base "C", operands, fn), CC_LINE(name "ge", base "D", operands, fn),                  \
    CC_LINE(name "le", base "E", operands, fn), CC_LINE(name "g",  base "F", operands, fn)

static const struct x86_line set_on_condition[] = {
    CC_LINES("set", "0F 9", "Eb", tr_setcc),
};

static const struct x86_line conditional_moves[] = {
    CC_LINES("cmov", "0F 4", "Gv,Ev", tr_cmov),
};

/* Hints take any operand and look at nothing. */
static const struct x86_line hints[] = {
    { "pause",    "F3 90+r",     "Zv,rAX", tr_pause },
    { "prefetch", "0F 0D /r",    "Ev", tr_nop },
    { "nop",      "0F 18 /r",    "Ev", tr_nop },
    { "nop",      "0F 19 /r",    "Ev", tr_nop },
    { "nop",      "0F 1A /r",    "Ev", tr_nop },
    { "nop",      "0F 1B /r",    "Ev", tr_nop },
    { "nop",      "0F 1C /r",    "Ev", tr_nop },
    { "nop",      "0F 1D /r",    "Ev", tr_nop },
    { "nop",      "0F 1E /r",    "Ev", tr_nop },
    { "nop",      "0F 1F /r",    "Ev", tr_nop },
};

enum { FENCE_ALL = IR_FENCE_RR | IR_FENCE_RW | IR_FENCE_WR | IR_FENCE_WW };
static const struct x86_line sse2_fences[] = {
    { "lfence",   "NP 0F AE /5", "Rd", tr_fence, IR_FENCE_RR | IR_FENCE_RW },
    { "mfence",   "NP 0F AE /6", "Rd", tr_fence, FENCE_ALL },
    { "movnti",   "NP 0F C3 /r", "My,Gy", tr_mov },
};
static const struct x86_line sse_fences[] = {
    { "sfence",   "NP 0F AE /7", "Rd", tr_fence, IR_FENCE_WW },
};
static const struct x86_line clflush[] = {
    { "clflush",  "NP 0F AE /7", "Mb", tr_cache_line },
};
static const struct x86_line clflushopt[] = {
    { "clflushopt", "66 0F AE /7", "Mb", tr_cache_line },
};
static const struct x86_line clwb[] = {
    { "clwb",     "66 0F AE /6", "Mb", tr_cache_line },
};
static const struct x86_line cx8[] = {
    { "cmpxchg8b",  "0F C7 /1",       "Mq",  tr_cmpxchg8b, 0, X86_LOCKABLE },
};
static const struct x86_line cx16[] = {
    { "cmpxchg16b", "REX.W 0F C7 /1", "Mdq", tr_cmpxchg8b, 0, X86_LOCKABLE | X86_ONLY64 },
};
static const struct x86_line movbe[] = {
    { "movbe",    "0F 38 F0 /r", "Gv,Mv", tr_movbe },
    { "movbe",    "0F 38 F1 /r", "Mv,Gv", tr_movbe },
};
static const struct x86_line crc32[] = {
    { "crc32",    "F2 0F 38 F0 /r", "Gy,Eb", tr_crc32 },
    { "crc32",    "F2 0F 38 F1 /r", "Gy,Ev", tr_crc32 },
};
static const struct x86_line rdrand[] = {
    { "rdrand",   "0F C7 /6",    "Rv", tr_random, 0, X86_SYSTEM },
};
static const struct x86_line rdseed[] = {
    { "rdseed",   "0F C7 /7",    "Rv", tr_random, 0, X86_SYSTEM },
};
static const struct x86_line movdiri[] = {
    { "movdiri",  "NP 0F 38 F9 /r", "My,Gy", tr_mov },
};

const struct x86_insn_table x86_int_tables[] = {
    X86_INSNS(arithmetic, X86_ALWAYS, 0),
    X86_INSNS(moves, X86_ALWAYS, 0),
    X86_INSNS(set_on_condition, X86_ALWAYS, 0),
    X86_INSNS(conditional_moves, X86_1_EDX, 15),
    X86_INSNS(hints, X86_ALWAYS, 0),
    X86_INSNS(sse2_fences, X86_1_EDX, 26),
    X86_INSNS(sse_fences, X86_1_EDX, 25),
    X86_INSNS(clflush, X86_1_EDX, 19),
    X86_INSNS(clflushopt, X86_7_EBX, 23),
    X86_INSNS(clwb, X86_7_EBX, 24),
    X86_INSNS(cx8, X86_1_EDX, 8),
    X86_INSNS(cx16, X86_1_ECX, 13),
    X86_INSNS(movbe, X86_1_ECX, 22),
    X86_INSNS(crc32, X86_1_ECX, 20),
    X86_INSNS(rdrand, X86_1_ECX, 30),
    X86_INSNS(rdseed, X86_7_EBX, 18),
    X86_INSNS(movdiri, X86_7_ECX, 27),
    { 0 },
};
