/* Shifts, rotates, single bits, bit counts, BMI, ADX. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"

/* ---- counts --------------------------------------------------------------------------------------- */

/* How far to shift: a constant, or CL, masked to 5 or 6 bits (SDM 2B "SAL"). */
struct count {
    bool is_const;
    unsigned n; /* if it is */
    ir_val v;
};

static struct count count_of(struct tr *t, const struct x86_insn *i, unsigned operand)
{
    unsigned mask = i->op[0].size == 8 ? 63 : 31;
    if (i->op[operand].kind == X86_OP_IMM) {
        unsigned n = (unsigned)i->imm & mask;
        return (struct count){ true, n, ir_i64(t->ir, n) };
    }
    return (struct count){ false, 0, ir_2i(t->ir, IR_and, reg_read(t, X86_RCX, 1), mask) };
}

static ir_val keep_if_zero(struct tr *t, struct count n, unsigned slot, ir_val v)
{
    return ir_select(t->ir, n.v, v, ir_get(t->ir, slot));
}

/* Flags of a shift; a count of 0 leaves them. */
static void shift_flags(struct tr *t, struct count n, enum x86_cc_kind kind, unsigned size,
                        ir_val r, ir_val before_last)
{
    if (n.is_const) {
        cc_set(t, kind, size, r, before_last, IR_NONE);
        return;
    }
    struct ir *ir = t->ir;
    ir_val op = keep_if_zero(t, n, X86_SLOT_CC_OP, ir_i64(ir, X86_CC(kind, size)));
    ir_val dst = keep_if_zero(t, n, X86_SLOT_CC_DST, r);
    ir_val src = keep_if_zero(t, n, X86_SLOT_CC_SRC, before_last);
    ir_set(ir, X86_SLOT_CC_OP, op);
    ir_set(ir, X86_SLOT_CC_DST, dst);
    ir_set(ir, X86_SLOT_CC_SRC, src);
}

/* ---- shifts ----------------------------------------------------------------------------------------- */

static ir_val shifted(struct tr *t, enum ir_code code, ir_val v, ir_val n, unsigned size)
{
    return val_2(t, code, v, n, size);
}

/* extra: IR_shl, IR_shr, IR_sar. */
static void tr_shift(struct tr *t, const struct x86_insn *i)
{
    enum ir_code code = (enum ir_code)i->extra;
    unsigned size = i->op[0].size;
    struct count n = count_of(t, i, 1);
    struct x86_place p = op_open(t, i, 0);
    if (n.is_const && !n.n) {
        op_close(t, i, 0, &p, p.v);
        return;
    }
    ir_val v = size >= 4        ? p.v
               : code == IR_sar ? val_sx(t, p.v, size)
               : code == IR_shr ? val_zx(t, p.v, size)
                                : p.v;
    ir_val r = shifted(t, code, v, n.v, size);
    op_close(t, i, 0, &p, r);
    ir_val last = shifted(t, code, v, ir_2i(t->ir, IR_sub, n.v, 1), size);
    shift_flags(t, n, code == IR_shl ? CC_SHL : CC_SHR, size, r, last);
}

/* a and b as one value of 4 bytes each (2 bytes: a:b:a, as processors do), shifted. */
static ir_val double_shifted(struct tr *t, bool left, ir_val a, ir_val b, ir_val n, unsigned size)
{
    struct ir *ir = t->ir;
    if (size == 8) {
        ir_val back = ir_2(ir, IR_sub, ir_i64(ir, 64), n);
        ir_val moved = ir_2(ir, IR_or, ir_2(ir, left ? IR_shl : IR_shr, a, n),
                            ir_2(ir, left ? IR_shr : IR_shl, b, back));
        return ir_select(ir, n, moved, a);
    }
    a = val_zx(t, a, size);
    b = val_zx(t, b, size);
    unsigned width = 8 * size;
    ir_val pair = left ? ir_2(ir, IR_or, ir_2i(ir, IR_shl, a, width), b)
                       : ir_2(ir, IR_or, ir_2i(ir, IR_shl, b, width), a);
    if (size == 2) /* counts up to 31 */
        pair = left ? ir_2(ir, IR_or, ir_2i(ir, IR_shl, pair, 16), a)
                    : ir_2(ir, IR_or, pair, ir_2i(ir, IR_shl, a, 32));
    pair = ir_2(ir, left ? IR_shl : IR_shr, pair, n);
    return left ? ir_2i(ir, IR_shr, pair, size == 2 ? 32 : 32) : pair;
}

/* SHLD, SHRD. extra: left. */
static void tr_double_shift(struct tr *t, const struct x86_insn *i)
{
    bool left = i->extra;
    unsigned size = i->op[0].size;
    struct count n = count_of(t, i, 2);
    ir_val b = op_read(t, i, 1);
    struct x86_place p = op_open(t, i, 0);
    if (n.is_const && !n.n) {
        op_close(t, i, 0, &p, p.v);
        return;
    }
    ir_val r = double_shifted(t, left, p.v, b, n.v, size);
    ir_val last = double_shifted(t, left, p.v, b, ir_2i(t->ir, IR_sub, n.v, 1), size);
    op_close(t, i, 0, &p, r);
    shift_flags(t, n, left ? CC_SHL : CC_SHR, size, r, last);
}

/* BMI2's, which leave flags alone. extra: IR_shl, IR_shr, IR_sar. */
static void tr_shift_x(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val n = ir_2i(t->ir, IR_and, op_read(t, i, 2), 8 * size - 1);
    op_write(t, i, 0, shifted(t, (enum ir_code)i->extra, op_read(t, i, 1), n, size));
}

static void tr_rorx(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val n = ir_i64(t->ir, i->imm & (8 * size - 1));
    op_write(t, i, 0, shifted(t, IR_ror, op_read(t, i, 1), n, size));
}

/* ---- rotates ------------------------------------------------------------------------------------------ */

static ir_val top_bit(struct tr *t, ir_val v, unsigned size)
{
    return ir_2i(t->ir, IR_and, ir_2i(t->ir, IR_shr, v, 8 * size - 1), 1);
}

/* CF and OF change, the others stay; with a count of 0 all do. */
static void rotate_flags(struct tr *t, struct count n, ir_val carry, ir_val overflow)
{
    struct x86_apart f = cc_apart(t);
    f.carry = n.is_const ? carry : ir_select(t->ir, n.v, carry, f.carry);
    f.overflow = n.is_const ? overflow : ir_select(t->ir, n.v, overflow, f.overflow);
    cc_set_apart(t, f);
}

/* extra: left. */
static void tr_rotate(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    bool left = i->extra;
    unsigned size = i->op[0].size, width = 8 * size;
    struct count n = count_of(t, i, 1);
    struct x86_place p = op_open(t, i, 0);
    if (n.is_const && !n.n) {
        op_close(t, i, 0, &p, p.v);
        return;
    }
    ir_val r;
    if (size >= 4) {
        r = shifted(t, left ? IR_rol : IR_ror, p.v, n.v, size);
    } else { /* doubled, so that bits come in again */
        ir_val v = val_zx(t, p.v, size), by = ir_2i(ir, IR_and, n.v, width - 1);
        v = ir_2(ir, IR_or, v, ir_2i(ir, IR_shl, v, width));
        r = left ? ir_2i(ir, IR_shr, ir_2(ir, IR_shl, v, by), width) : ir_2(ir, IR_shr, v, by);
    }
    op_close(t, i, 0, &p, r);
    if (n.is_const && cc_set_rotated(t, left, size, r))
        return;
    ir_val top = top_bit(t, r, size);
    ir_val carry = left ? ir_2i(ir, IR_and, r, 1) : top;
    ir_val other = left ? carry : ir_2i(ir, IR_and, ir_2i(ir, IR_shr, r, width - 2), 1);
    rotate_flags(t, n, carry, ir_2(ir, IR_xor, top, other));
}

/* RCL, RCR by one, which is what compilers use. */
static ir_val rotated_carry_once(struct tr *t, bool left, ir_val v, ir_val carry, unsigned size,
                                 ir_val *out)
{
    struct ir *ir = t->ir;
    v = val_zx(t, v, size);
    if (left) {
        *out = top_bit(t, v, size);
        return ir_2(ir, IR_or, ir_2i(ir, IR_shl, v, 1), carry);
    }
    *out = ir_2i(ir, IR_and, v, 1);
    return ir_2(ir, IR_or, ir_2i(ir, IR_shr, v, 1), ir_2i(ir, IR_shl, carry, 8 * size - 1));
}

/* extra: left. */
static void tr_rotate_carry(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    bool left = i->extra;
    unsigned size = i->op[0].size, width = 8 * size;
    struct count n = count_of(t, i, 1);
    ir_val carry = cc_carry(t), out, r;
    struct x86_place p = op_open(t, i, 0);
    if (n.is_const && !n.n) {
        op_close(t, i, 0, &p, p.v);
        return;
    }
    if (n.is_const && n.n == 1) {
        r = rotated_carry_once(t, left, p.v, carry, size, &out);
    } else {
        ir_val how = ir_i64(ir, size | (left ? 0 : 16));
        r = ir_call(ir, &x86_helper_rotate_carry, p.v, n.v, carry, how);
        out = ir_call(ir, &x86_helper_rotate_carry_cf, p.v, n.v, carry, how);
    }
    op_close(t, i, 0, &p, r);
    ir_val top = top_bit(t, r, size);
    ir_val other = left ? out : ir_2i(ir, IR_and, ir_2i(ir, IR_shr, r, width - 2), 1);
    rotate_flags(t, n, out, ir_2(ir, IR_xor, top, other));
}

/* ---- single bits ---------------------------------------------------------------------------------------- */

enum { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT }; /* as instructions number them, from 4 */

/* A bit offset in a register reaches beyond the operand (SDM 2A "BT", 1-3.7.7). */
static struct x86_mem bit_place(struct tr *t, const struct x86_insn *i, bool write)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    if (i->op[1].kind == X86_OP_IMM)
        return mem_operand(t, i, size, write);
    ir_val bit = reg_read_sx(t, i->op[1].reg, size);
    ir_val by = ir_2i(ir, IR_shl, ir_2i(ir, IR_sar, bit, log2_size(8 * size)), log2_size(size));
    ir_val at = val_zx(t, ir_2(ir, IR_add, mem_effective(t, i), by), i->asize);
    return mem_linear(t, i->seg, at, size, write);
}

static ir_val bit_changed(struct tr *t, unsigned what, ir_val v, ir_val mask)
{
    switch (what) {
    case BIT_SET: return ir_2(t->ir, IR_or, v, mask);
    case BIT_RESET: return ir_2(t->ir, IR_andn, v, mask);
    default: return ir_2(t->ir, IR_xor, v, mask);
    }
}

static ir_val bit_locked(struct tr *t, unsigned what, struct x86_mem m, ir_val mask, unsigned size)
{
    static const uint8_t kinds[] = {
        [BIT_SET] = IR_RMW_OR, [BIT_RESET] = IR_RMW_AND, [BIT_COMPLEMENT] = IR_RMW_XOR
    };
    if (what == BIT_RESET)
        mask = ir_2i(t->ir, IR_xor, mask, -1);
    return ir_rmw(t->ir, kinds[what], mem_address(t, m), mask, log2_size(size), m.mode);
}

/* extra: BIT_*. ZF stays; the others are undefined and stay too. */
static void tr_bit(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned what = (unsigned)i->extra, size = i->op[0].size;
    ir_val n = ir_2i(ir, IR_and, op_read(t, i, 1), 8 * size - 1), v;
    ir_val mask = ir_2(ir, IR_shl, ir_i64(ir, 1), n);
    if (i->op[0].kind == X86_OP_MEM) {
        struct x86_mem m = bit_place(t, i, what != BIT_TEST);
        if (is_locked(i)) {
            v = bit_locked(t, what, m, mask, size);
        } else {
            v = load_mem(t, m, size);
            if (what != BIT_TEST)
                store_mem(t, m, size, bit_changed(t, what, v, mask));
        }
    } else {
        v = op_read(t, i, 0);
        if (what != BIT_TEST)
            op_write(t, i, 0, bit_changed(t, what, v, mask));
    }
    cc_set_carry(t, ir_2i(ir, IR_and, ir_2(ir, IR_shr, v, n), 1));
}

/* BSF, BSR: a source of 0 leaves the destination. extra: reverse. */
static void tr_bit_scan(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size, reg = i->op[0].reg;
    ir_val v = op_read_zx(t, i, 1), old = reg_read(t, reg, 8);
    ir_val r = i->extra ? ir_2i(ir, IR_xor, ir_1(ir, IR_clz, v), 63) : ir_1(ir, IR_ctz, v);
    if (size == 2)
        r = ir_2(ir, IR_or, r, ir_2i(ir, IR_and, old, ~(int64_t)0xffff));
    ir_set(ir, X86_SLOT_R + reg, ir_select(ir, v, r, old));
    cc_set(t, CC_LOGIC, size, v, IR_NONE, IR_NONE);
}

static ir_val is_zero(struct tr *t, ir_val v)
{
    return ir_setc(t->ir, IR_EQ, v, ir_i64(t->ir, 0));
}

static ir_val zero_flag(struct tr *t, ir_val v)
{
    return ir_2i(t->ir, IR_shl, is_zero(t, v), 6);
}

/* LZCNT, TZCNT: extra is leading. */
static void tr_count_zeros(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val v = op_read_zx(t, i, 1), r;
    if (i->extra)
        r = ir_2i(ir, IR_sub, ir_1(ir, IR_clz, v), 64 - 8 * size);
    else if (size == 8)
        r = ir_1(ir, IR_ctz, v);
    else
        r = ir_1(ir, IR_ctz, ir_2i(ir, IR_or, v, (int64_t)((uint64_t)1 << (8 * size))));
    op_write(t, i, 0, r);
    cc_set_flags_carry(t, zero_flag(t, r), is_zero(t, v));
}

static void tr_popcnt(struct tr *t, const struct x86_insn *i)
{
    ir_val v = op_read_zx(t, i, 1);
    op_write(t, i, 0, ir_1(t->ir, IR_popcnt, v));
    cc_set_flags_carry(t, zero_flag(t, v), ir_i64(t->ir, 0));
}

/* ---- BMI1, BMI2 -------------------------------------------------------------------------------------------- */

static void tr_andn(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    ir_val b = op_read(t, i, 2), a = op_read(t, i, 1), r = val_2(t, IR_andn, b, a, size);
    op_write(t, i, 0, r);
    cc_set(t, CC_BMI, size, r, IR_NONE, ir_i64(t->ir, 0));
}

enum { BLSR = 1, BLSMSK, BLSI }; /* as instructions number them */

static void tr_lowest_bit(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val v = op_read_zx(t, i, 1), r, carry = is_zero(t, v);
    if (i->extra == BLSI) {
        r = ir_2(ir, IR_and, v, ir_2(ir, IR_sub, ir_i64(ir, 0), v));
        carry = ir_2i(ir, IR_xor, carry, 1);
    } else {
        r = ir_2(ir, i->extra == BLSR ? IR_and : IR_xor, v, ir_2i(ir, IR_sub, v, 1));
    }
    op_write(t, i, 0, r);
    cc_set(t, CC_BMI, size, r, IR_NONE, carry);
}

/* n ones at the bottom; n 0 to 255. */
static ir_val low_ones(struct tr *t, ir_val n)
{
    struct ir *ir = t->ir;
    ir_val some = ir_2i(ir, IR_sub, ir_2(ir, IR_shl, ir_i64(ir, 1), n), 1);
    return ir_select(ir, ir_setc(ir, IR_GTU, n, ir_i64(ir, 63)), ir_i64(ir, -1), some);
}

static void tr_bzhi(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val v = op_read_zx(t, i, 1), n = ir_1(ir, IR_zext8, op_read(t, i, 2));
    ir_val r = ir_2(ir, IR_and, v, low_ones(t, n));
    op_write(t, i, 0, r);
    cc_set(t, CC_BMI, size, r, IR_NONE, ir_setc(ir, IR_GTU, n, ir_i64(ir, 8 * size - 1)));
}

static void tr_bextr(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val v = op_read_zx(t, i, 1), how = op_read(t, i, 2);
    ir_val start = ir_1(ir, IR_zext8, how), n = ir_1(ir, IR_zext8, ir_2i(ir, IR_shr, how, 8));
    ir_val moved = ir_select(ir, ir_setc(ir, IR_GTU, start, ir_i64(ir, 63)), ir_i64(ir, 0),
                             ir_2(ir, IR_shr, v, start));
    ir_val r = ir_2(ir, IR_and, moved, low_ones(t, n));
    op_write(t, i, 0, r);
    cc_set(t, CC_BMI, size, r, IR_NONE, ir_i64(ir, 0));
}

/* Without flags; the low half first: with one destination the high half stays. */
static void tr_mulx(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val b = op_read_zx(t, i, 2), a = reg_read_zx(t, X86_RDX, size), low = ir_2(ir, IR_mul, a, b);
    ir_val high = size == 8 ? ir_2(ir, IR_mulhu, a, b) : ir_2i(ir, IR_shr, low, 32);
    op_write(t, i, 1, low);
    op_write(t, i, 0, high);
}

static void tr_pdep(struct tr *t, const struct x86_insn *i)
{
    ir_val mask = op_read_zx(t, i, 2), v = op_read_zx(t, i, 1);
    op_write(t, i, 0, ir_call(t->ir, &x86_helper_pdep, v, mask, IR_NONE, IR_NONE));
}

static void tr_pext(struct tr *t, const struct x86_insn *i)
{
    ir_val mask = op_read_zx(t, i, 2), v = op_read_zx(t, i, 1);
    op_write(t, i, 0, ir_call(t->ir, &x86_helper_pext, v, mask, IR_NONE, IR_NONE));
}

/* ADCX adds with CF, ADOX with OF; no other flag changes. extra: ADOX. */
static void tr_adx(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    unsigned size = i->op[0].size;
    ir_val b = op_read_zx(t, i, 1), a = op_read(t, i, 0);
    struct x86_apart f = cc_apart(t);
    ir_val in = i->extra ? f.overflow : f.carry, out, r;
    if (size == 4)
        r = ir_add_carry(ir, ir_1(ir, IR_trunc, a), ir_1(ir, IR_trunc, b), in, &out);
    else
        r = ir_add_carry(ir, a, b, in, &out);
    op_write(t, i, 0, size == 4 ? ir_1(ir, IR_zext32, r) : r);
    f.overflow = i->extra ? out : f.overflow;
    f.carry = i->extra ? f.carry : out;
    cc_set_apart(t, f);
}

/* ---- tables --------------------------------------------------------------------------------------------------- */
/* clang-format off */

enum { OF = X86_FLAG_OF, AF = X86_FLAG_AF, PF = X86_FLAG_PF, OSAP = OF | X86_FLAG_SF | AF | PF,
       OSAPC = OSAP | X86_FLAG_CF };

/* Beyond one bit OF is undefined; CF beyond the width. */
#define SHIFTS(name, digit, fn, extra, undefined)                                \
    { name, "C0 /" digit, "Eb,Ib", fn, extra, X86_UPDATES, 0, (undefined) | X86_FLAG_CF }, \
    { name, "C1 /" digit, "Ev,Ib", fn, extra, X86_UPDATES, 0, (undefined) | X86_FLAG_CF }, \
    { name, "D0 /" digit, "Eb,1",  fn, extra, X86_UPDATES, 0, (undefined) & ~OF },         \
    { name, "D1 /" digit, "Ev,1",  fn, extra, X86_UPDATES, 0, (undefined) & ~OF },         \
    { name, "D2 /" digit, "Eb,CL", fn, extra, X86_UPDATES, 0, (undefined) | X86_FLAG_CF }, \
    { name, "D3 /" digit, "Ev,CL", fn, extra, X86_UPDATES, 0, (undefined) | X86_FLAG_CF }
#define ROTATES(name, digit, fn, extra)                                          \
    { name, "C0 /" digit, "Eb,Ib", fn, extra, X86_UPDATES, 0, OF },                        \
    { name, "C1 /" digit, "Ev,Ib", fn, extra, X86_UPDATES, 0, OF },                        \
    { name, "D0 /" digit, "Eb,1",  fn, extra, X86_UPDATES },                                  \
    { name, "D1 /" digit, "Ev,1",  fn, extra, X86_UPDATES },                                  \
    { name, "D2 /" digit, "Eb,CL", fn, extra, X86_UPDATES, 0, OF },                        \
    { name, "D3 /" digit, "Ev,CL", fn, extra, X86_UPDATES, 0, OF }

static const struct x86_line shifts[] = {
    ROTATES("rol", "0", tr_rotate, true),
    ROTATES("ror", "1", tr_rotate, false),
    ROTATES("rcl", "2", tr_rotate_carry, true),
    ROTATES("rcr", "3", tr_rotate_carry, false),
    SHIFTS("shl", "4", tr_shift, IR_shl, OF | AF),
    SHIFTS("shr", "5", tr_shift, IR_shr, OF | AF),
    SHIFTS("shl", "6", tr_shift, IR_shl, OF | AF),
    SHIFTS("sar", "7", tr_shift, IR_sar, OF | AF),
    { "shld",   "0F A4 /r", "Ev,Gv,Ib", tr_double_shift, true,  X86_UPDATES, 0, OF | AF },
    { "shld",   "0F A5 /r", "Ev,Gv,CL", tr_double_shift, true,  X86_UPDATES, 0, OF | AF },
    { "shrd",   "0F AC /r", "Ev,Gv,Ib", tr_double_shift, false, X86_UPDATES, 0, OF | AF },
    { "shrd",   "0F AD /r", "Ev,Gv,CL", tr_double_shift, false, X86_UPDATES, 0, OF | AF },
};

static const struct x86_line bits_[] = {
    { "bt",     "0F A3 /r", "Ev,Gv", tr_bit, BIT_TEST,       0,            0, OSAP },
    { "bts",    "0F AB /r", "Ev,Gv", tr_bit, BIT_SET,        X86_LOCKABLE, 0, OSAP },
    { "btr",    "0F B3 /r", "Ev,Gv", tr_bit, BIT_RESET,      X86_LOCKABLE, 0, OSAP },
    { "btc",    "0F BB /r", "Ev,Gv", tr_bit, BIT_COMPLEMENT, X86_LOCKABLE, 0, OSAP },
    { "bt",     "0F BA /4", "Ev,Ib", tr_bit, BIT_TEST,       0,            0, OSAP },
    { "bts",    "0F BA /5", "Ev,Ib", tr_bit, BIT_SET,        X86_LOCKABLE, 0, OSAP },
    { "btr",    "0F BA /6", "Ev,Ib", tr_bit, BIT_RESET,      X86_LOCKABLE, 0, OSAP },
    { "btc",    "0F BA /7", "Ev,Ib", tr_bit, BIT_COMPLEMENT, X86_LOCKABLE, 0, OSAP },
    { "bsf",    "0F BC /r", "Gv,Ev", tr_bit_scan, false,     0,            0, OSAPC },
    { "bsr",    "0F BD /r", "Gv,Ev", tr_bit_scan, true,      0,            0, OSAPC },
};

static const struct x86_line popcnt[] = {
    { "popcnt", "F3 0F B8 /r", "Gv,Ev", tr_popcnt },
};
static const struct x86_line abm[] = {
    { "lzcnt",  "F3 0F BD /r", "Gv,Ev", tr_count_zeros, true,  0, 0, OSAP },
};
static const struct x86_line bmi1[] = {
    { "tzcnt",  "F3 0F BC /r", "Gv,Ev", tr_count_zeros, false, 0, 0, OSAP },
    { "andn",   "VEX.LZ.0F38 F2 /r",    "Gy,By,Ey", tr_andn, 0, X86_PROTECTED, 0, AF | PF },
    { "bextr",  "VEX.LZ.0F38 F7 /r",    "Gy,Ey,By", tr_bextr, 0, X86_PROTECTED, 0, AF | PF | X86_FLAG_SF },
    { "blsr",   "VEX.LZ.0F38 F3 /1",    "By,Ey",    tr_lowest_bit, BLSR,   X86_PROTECTED, 0, AF | PF },
    { "blsmsk", "VEX.LZ.0F38 F3 /2",    "By,Ey",    tr_lowest_bit, BLSMSK, X86_PROTECTED, 0, AF | PF },
    { "blsi",   "VEX.LZ.0F38 F3 /3",    "By,Ey",    tr_lowest_bit, BLSI,   X86_PROTECTED, 0, AF | PF },
};
static const struct x86_line bmi2[] = {
    { "bzhi",   "VEX.LZ.0F38 F5 /r",    "Gy,Ey,By", tr_bzhi, 0, X86_PROTECTED, 0, AF | PF },
    { "mulx",   "VEX.LZ.F2.0F38 F6 /r", "Gy,By,Ey", tr_mulx, 0, X86_PROTECTED },
    { "pdep",   "VEX.LZ.F2.0F38 F5 /r", "Gy,By,Ey", tr_pdep, 0, X86_PROTECTED },
    { "pext",   "VEX.LZ.F3.0F38 F5 /r", "Gy,By,Ey", tr_pext, 0, X86_PROTECTED },
    { "rorx",   "VEX.LZ.F2.0F3A F0 /r", "Gy,Ey,Ib", tr_rorx, 0, X86_PROTECTED },
    { "sarx",   "VEX.LZ.F3.0F38 F7 /r", "Gy,Ey,By", tr_shift_x, IR_sar, X86_PROTECTED },
    { "shlx",   "VEX.LZ.66.0F38 F7 /r", "Gy,Ey,By", tr_shift_x, IR_shl, X86_PROTECTED },
    { "shrx",   "VEX.LZ.F2.0F38 F7 /r", "Gy,Ey,By", tr_shift_x, IR_shr, X86_PROTECTED },
};
static const struct x86_line adx[] = {
    { "adcx",   "66 0F 38 F6 /r", "Gy,Ey", tr_adx, false },
    { "adox",   "F3 0F 38 F6 /r", "Gy,Ey", tr_adx, true },
};

const struct x86_insn_table x86_bit_tables[] = {
    X86_INSNS(shifts, X86_ALWAYS, 0),
    X86_INSNS(bits_, X86_ALWAYS, 0),
    X86_INSNS(popcnt, X86_1_ECX, 23),
    X86_INSNS(abm, X86_E1_ECX, 5),
    X86_INSNS(bmi1, X86_7_EBX, 3),
    X86_INSNS(bmi2, X86_7_EBX, 8),
    X86_INSNS(adx, X86_7_EBX, 19),
    { 0 },
};
