/* Operands of vector instructions as IR, and the instructions that SSE and AVX share. */
#include "target/x86_64/flags.h"
#include "target/x86_64/vector.h"
#include "tcg/softfloat.h"

/* ---- may it run? ---------------------------------------------------------------------------------------- */

bool vx_enabled(struct tr *t, const struct x86_insn *i)
{
    if (!(t->flags & (i->vex ? X86_TR_NO_AVX : X86_TR_NO_SSE)))
        return true;
    ir_call(t->ir, &x86_helper_no_vector, ir_i64(t->ir, i->vex), IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
    return false;
}

bool mm_enabled(struct tr *t)
{
    if (!(t->flags & X86_TR_NO_X87)) {
        ir_call(t->ir, &x86_helper_mmx_check, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        return true;
    }
    ir_call(t->ir, &x86_helper_no_mmx, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
    return false;
}

/* ---- registers and memory ------------------------------------------------------------------------------- */

ir_val vx_reg(struct tr *t, unsigned reg)
{
    return ir_get(t->ir, X86_SLOT_X + reg);
}

void vx_write_reg(struct tr *t, const struct x86_insn *i, unsigned reg, struct vx v)
{
    ir_set(t->ir, X86_SLOT_X + reg, v.lo);
    if (i->vex)
        ir_set(t->ir, X86_SLOT_Y + reg, v.hi == IR_NONE ? vx_zero(t) : v.hi);
}

static unsigned shape128(const struct tr *t, unsigned size, bool aligned, bool write)
{
    if (size < 16)
        return write ? shape_store(t, size) : shape_load(t, size);
    return ((write ? shape_store(t, 8) : shape_load(t, 8)) &
            ~(unsigned)(IR_SIZE_MASK | IR_ALIGNED)) |
           IR_128 | (aligned ? IR_ALIGNED : 0) | (size == 32 ? IR_PAIR : 0);
}

/* Both halves at once? */
static unsigned shape256(unsigned shape)
{
    return (shape & ~(unsigned)(IR_SIZE_MASK | IR_PAIR)) | IR_256;
}

static struct vx halves(struct tr *t, ir_val whole)
{
    return (struct vx){ ir_1(t->ir, IR_low, whole), ir_1(t->ir, IR_high, whole) };
}

static struct vx load_vx(struct tr *t, struct x86_mem m, unsigned size, bool aligned)
{
    unsigned shape = shape128(t, size, aligned, false);
    if (size == 32 && t->ir->wide)
        return halves(t, ir_load(t->ir, IR_V256, m.base, m.off, shape256(shape), m.mode));
    struct vx v = { ir_load(t->ir, IR_V128, m.base, m.off, shape, m.mode), IR_NONE };
    if (size == 32)
        v.hi = ir_load(t->ir, IR_V128, m.base, m.off + 16,
                       shape & ~(unsigned)(IR_ALIGNED | IR_PAIR), m.mode);
    return v;
}

struct vx vx_read(struct tr *t, const struct x86_insn *i, unsigned n, bool aligned)
{
    const struct x86_operand *o = &i->op[n];
    if (o->kind == X86_OP_MEM && o->size < 4) { /* PINSRB and the like come as integers */
        ir_val v = load_mem(t, mem_operand(t, i, o->size, false), o->size);
        return (struct vx){ vx_op1(t, IR_V_from_i64, v), IR_NONE };
    }
    if (o->kind == X86_OP_MEM)
        return load_vx(t, mem_operand(t, i, o->size, false), o->size, aligned);
    struct vx v = { vx_reg(t, o->reg), IR_NONE };
    if (o->size == 32)
        v.hi = ir_get(t->ir, X86_SLOT_Y + o->reg);
    return v;
}

struct vx vx_read_source(struct tr *t, const struct x86_insn *i, unsigned n)
{
    return vx_read(t, i, n, !i->vex && !(i->extra & VX_UNALIGNED));
}

void vx_write(struct tr *t, const struct x86_insn *i, unsigned n, struct vx v, bool aligned)
{
    const struct x86_operand *o = &i->op[n];
    if (o->kind != X86_OP_MEM) {
        vx_write_reg(t, i, o->reg, v);
        return;
    }
    struct x86_mem m = mem_operand(t, i, o->size, true);
    unsigned shape = shape128(t, o->size, aligned, true);
    if (o->size == 32 && t->ir->wide) {
        ir_store(t->ir, m.base, m.off, vx_whole(t, v), shape256(shape), m.mode);
        return;
    }
    ir_store(t->ir, m.base, m.off, v.lo, shape, m.mode);
    if (o->size == 32)
        ir_store(t->ir, m.base, m.off + 16, v.hi, shape & ~(unsigned)(IR_ALIGNED | IR_PAIR),
                 m.mode);
}

ir_val vx_int(struct tr *t, const struct x86_insn *i, unsigned n)
{
    ir_val v = op_read(t, i, n);
    return i->op[n].size == 8 ? v : ir_1(t->ir, IR_trunc, v);
}

void vx_write_int(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v)
{
    if (ir_type_of(t->ir, v) == IR_I32)
        v = ir_1(t->ir, IR_zext32, v);
    op_write(t, i, n, v);
}

ir_val mm_read(struct tr *t, const struct x86_insn *i, unsigned n)
{
    const struct x86_operand *o = &i->op[n];
    ir_val v = o->kind == X86_OP_MMX ? ir_call(t->ir, &x86_helper_mmx_get,
                                               ir_i64(t->ir, o->reg & 7), IR_NONE, IR_NONE, IR_NONE)
                                     : load_mem(t, mem_operand(t, i, o->size, false), o->size);
    return vx_op1(t, IR_V_from_i64, v);
}

void mm_done(struct tr *t)
{
    ir_call(t->ir, &x86_helper_x87_begin_mmx, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

void mm_write(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v)
{
    const struct x86_operand *o = &i->op[n];
    v = vx_op1n(t, IR_V_get_i64, v, 0);
    if (o->kind != X86_OP_MMX)
        store_mem(t, mem_operand(t, i, o->size, true), o->size, v);
    mm_done(t);
    if (o->kind == X86_OP_MMX)
        ir_call(t->ir, &x86_helper_mmx_set, ir_i64(t->ir, o->reg & 7), v, IR_NONE, IR_NONE);
}

/* ---- unmasked exceptions ---------------------------------------------------------------------------------- */

ir_val vx_float_begin(struct tr *t, enum ir_vec vec)
{
    if (!(t->flags & X86_TR_SIMD_TRAPS) || !(ir_vec_infos[vec].flags & IR_VEC_FP))
        return IR_NONE;
    return ir_call(t->ir, &x86_helper_simd_begin, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

void vx_float_end(struct tr *t, ir_val begun)
{
    if (begun == IR_NONE)
        return;
    for (unsigned v = begun; v < t->ir->n_ops; v++) /* untrapped results may hide what happened */
        if (t->ir->ops[v].code == IR_vec)
            t->ir->ops[v].x = IR_VEC_CALLED;
    ir_call(t->ir, &x86_helper_simd_end, begun, IR_NONE, IR_NONE, IR_NONE);
}

/* ---- computing --------------------------------------------------------------------------------------------- */

static unsigned constant_of(const struct x86_insn *i)
{
    return ir_vec_infos[VX_OP_OF(i)].flags & IR_VEC_IMM ? vx_imm(i) : 0;
}

ir_val vx_whole(struct tr *t, struct vx v)
{
    return ir_2(t->ir, IR_join, v.lo, v.hi);
}

struct vx vx_each(struct tr *t, enum ir_vec vec, struct vx a, struct vx b, struct vx c, unsigned n)
{
    if (a.hi != IR_NONE && t->ir->wide && ir_vec_widens(vec)) {
        ir_val whole_b = b.hi == IR_NONE ? b.lo : vx_whole(t, b);
        ir_val whole_c = c.hi == IR_NONE ? IR_NONE : vx_whole(t, c);
        return halves(t, ir_vec(t->ir, vec, vx_whole(t, a), whole_b, whole_c, n));
    }
    struct vx r = { ir_vec(t->ir, vec, a.lo, b.lo, c.lo, n), IR_NONE };
    if (a.hi != IR_NONE)
        r.hi = ir_vec(t->ir, vec, a.hi, b.hi == IR_NONE ? b.lo : b.hi, c.hi,
                      ir_vec_upper_constant(vec, n));
    return r;
}

/* Two operands and perhaps a constant; lanes that an operation on lane 0 leaves are the first's. */
void tr_vx2(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex, n = constant_of(i);
    bool swap = i->extra & VX_SWAP;
    struct vx b = vx_read_source(t, i, k + 1), a = vx_read(t, i, k, false);
    ir_val begun = vx_float_begin(t, VX_OP_OF(i));
    struct vx r = vx_each(t, VX_OP_OF(i), swap ? b : a, swap ? a : b, VX_NONE, n);
    vx_float_end(t, begun);
    vx_write(t, i, 0, r, false);
}

/* One operand: the last one but for a constant. */
void tr_vx1(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned n = constant_of(i);
    struct vx a = vx_read_source(t, i, 1);
    ir_val begun = vx_float_begin(t, VX_OP_OF(i));
    struct vx r = vx_each(t, VX_OP_OF(i), a, VX_NONE, VX_NONE, n);
    vx_float_end(t, begun);
    vx_write(t, i, 0, r, false);
}

/* The products of a dot product, those that n asks for. */
static ir_val products(struct tr *t, const struct x86_insn *i, enum ir_vec mul, ir_val a, ir_val b)
{
    enum ir_vec blend = mul == IR_V_mul_f32 ? IR_V_blend_i32 : IR_V_blend_i64;
    ir_val zero = vx_zero(t);
    return vx_op(t, mul, vx_op2n(t, blend, zero, a, vx_imm(i) >> 4),
                 vx_op2n(t, blend, zero, b, vx_imm(i) >> 4));
}

/* Exceptions come in steps: of the products, of the sums of two, of the last sum. */
static void try_dot(struct tr *t, const struct x86_insn *i)
{
    enum ir_vec mul = VX_OP_OF(i) == IR_V_dot_f32 ? IR_V_mul_f32 : IR_V_mul_f64;
    struct vx b = vx_read_source(t, i, i->vex + 1), a = vx_read(t, i, i->vex, false);
    struct vx p = { .hi = IR_NONE };
    bool wide = i->op[0].size == 32;
    ir_val begun = vx_float_begin(t, mul);
    p.lo = products(t, i, mul, a.lo, b.lo);
    if (wide)
        p.hi = products(t, i, mul, a.hi, b.hi);
    vx_float_end(t, begun);
    if (mul == IR_V_mul_f64)
        return;
    begun = vx_float_begin(t, IR_V_hadd_f32);
    vx_op(t, IR_V_hadd_f32, p.lo, p.lo);
    if (wide)
        vx_op(t, IR_V_hadd_f32, p.hi, p.hi);
    vx_float_end(t, begun);
}

void tr_vx_dot(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    if (t->flags & X86_TR_SIMD_TRAPS)
        try_dot(t, i);
    tr_vx2(t, i);
}

void tr_vx_cmp(struct tr *t, const struct x86_insn *i)
{
    struct x86_insn few = *i;
    few.imm &= i->vex ? 31 : 7;
    tr_vx2(t, &few);
}

/* ---- moving ------------------------------------------------------------------------------------------------- */

void tr_vx_move(struct tr *t, const struct x86_insn *i)
{
    bool aligned = !(i->extra & VX_UNALIGNED);
    if (vx_enabled(t, i))
        vx_write(t, i, 0, vx_read(t, i, 1, aligned), aligned);
}

void tr_vx_scalar(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    if (i->op[0].kind == X86_OP_MEM || i->op[1].kind == X86_OP_MEM) {
        vx_write(t, i, 0, vx_read(t, i, 1, false), false);
        return;
    }
    unsigned k = i->vex;
    ir_val a = vx_reg(t, i->op[k].reg), b = vx_reg(t, i->op[k + 1].reg);
    vx_write(t, i, 0, (struct vx){ vx_op(t, VX_OP_OF(i), a, b), IR_NONE }, false);
}

void tr_vx_low(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex;
    ir_val b = vx_read(t, i, k + 1, false).lo, a = vx_reg(t, i->op[k].reg);
    vx_write(t, i, 0, (struct vx){ vx_op(t, VX_OP_OF(i), a, b), IR_NONE }, false);
}

void tr_vx_low_store(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val v = vx_reg(t, i->op[1].reg);
    if (VX_NUMBER_OF(i))
        v = vx_op1n(t, IR_V_shuffle_i32, v, 0xee);
    vx_write(t, i, 0, (struct vx){ v, IR_NONE }, false);
}

void tr_vx_movhlps(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex;
    ir_val a = vx_reg(t, i->op[k].reg), b = vx_reg(t, i->op[k + 1].reg);
    vx_write(t, i, 0, (struct vx){ vx_op2n(t, IR_V_shuffle2_i64, b, a, 3), IR_NONE }, false);
}

void tr_vx_movd(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx v = { .hi = IR_NONE };
    if (i->op[1].kind == X86_OP_MEM)
        v = vx_read(t, i, 1, false);
    else
        v.lo = vx_op1(t, i->op[1].size == 8 ? IR_V_from_i64 : IR_V_from_i32, vx_int(t, i, 1));
    vx_write(t, i, 0, v, false);
}

void tr_vx_movd_store(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val v = vx_reg(t, i->op[1].reg);
    if (i->op[0].kind == X86_OP_MEM)
        vx_write(t, i, 0, (struct vx){ v, IR_NONE }, false);
    else
        vx_write_int(t, i, 0, vx_op1n(t, i->op[0].size == 8 ? IR_V_get_i64 : IR_V_get_i32, v, 0));
}

void tr_vx_movq(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val v = vx_read(t, i, 1, false).lo;
    if (i->op[1].kind != X86_OP_MEM)
        v = vx_op1(t, IR_V_low_i64, v);
    vx_write(t, i, 0, (struct vx){ v, IR_NONE }, false);
}

void tr_vx_movq_store(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val v = vx_reg(t, i->op[1].reg);
    if (i->op[0].kind != X86_OP_MEM)
        v = vx_op1(t, IR_V_low_i64, v);
    vx_write(t, i, 0, (struct vx){ v, IR_NONE }, false);
}

void tr_vx_dup(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx v = vx_read_source(t, i, 1);
    if (VX_NUMBER_OF(i))
        v = vx_each(t, IR_V_shuffle_i32, v, VX_NONE, VX_NONE, VX_NUMBER_OF(i));
    else
        v = vx_each(t, IR_V_zip_lo_i64, v, v, VX_NONE, 0);
    vx_write(t, i, 0, v, false);
}

/* ---- to and from general registers --------------------------------------------------------------------------- */

void tr_vx_to_gpr(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val a = vx_read(t, i, 1, false).lo, begun = vx_float_begin(t, VX_OP_OF(i));
    enum ir_vec vec = VX_OP_OF(i) + (i->op[0].size == 8); /* its i64 form follows */
    ir_val r = vx_op1(t, vec, a);
    vx_float_end(t, begun);
    vx_write_int(t, i, 0, r);
}

void tr_vx_from_gpr(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex;
    ir_val b = vx_int(t, i, k + 1), a = vx_reg(t, i->op[k].reg);
    enum ir_vec vec = VX_OP_OF(i) + (i->op[k + 1].size == 8);
    ir_val begun = vx_float_begin(t, vec), r = vx_op(t, vec, a, b);
    vx_float_end(t, begun);
    vx_write(t, i, 0, (struct vx){ r, IR_NONE }, false);
}

void tr_vx_mask(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx v = vx_read(t, i, 1, false);
    bool wide = v.hi != IR_NONE && t->ir->wide;
    ir_val r = vx_op1(t, VX_OP_OF(i), wide ? vx_whole(t, v) : v.lo);
    if (v.hi != IR_NONE && !wide)
        r = ir_2(t->ir, IR_or, r,
                 ir_2i(t->ir, IR_shl, vx_op1(t, VX_OP_OF(i), v.hi), VX_NUMBER_OF(i)));
    vx_write_int(t, i, 0, r);
}

void tr_vx_insert(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex, lane = vx_imm(i) & (VX_NUMBER_OF(i) - 1);
    ir_val b = op_read(t, i, k + 1), a = vx_reg(t, i->op[k].reg);
    if (VX_OP_OF(i) != IR_V_set_i64)
        b = ir_1(t->ir, IR_trunc, b);
    vx_write(t, i, 0, (struct vx){ vx_op2n(t, VX_OP_OF(i), a, b, lane), IR_NONE }, false);
}

void tr_vx_extract(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned lane = vx_imm(i) & (VX_NUMBER_OF(i) - 1);
    vx_write_int(t, i, 0, vx_op1n(t, VX_OP_OF(i), vx_reg(t, i->op[1].reg), lane));
}

/* ---- flags --------------------------------------------------------------------------------------------------- */

void tr_vx_order(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val b = vx_read(t, i, 1, false).lo, a = vx_reg(t, i->op[0].reg);
    ir_val begun = vx_float_begin(t, VX_OP_OF(i)), r = vx_op(t, VX_OP_OF(i), a, b);
    vx_float_end(t, begun);
    cc_set(t, CC_ORDER, 1, IR_NONE, r, IR_NONE);
}

/* 1 if no bit is in both, or in b but not in a. */
static ir_val test_all(struct tr *t, enum ir_vec test, struct vx a, struct vx b)
{
    if (a.hi == IR_NONE)
        return vx_op(t, test, a.lo, b.lo);
    if (t->ir->wide)
        return vx_op(t, test, vx_whole(t, a), vx_whole(t, b));
    return ir_2(t->ir, IR_and, vx_op(t, test, a.lo, b.lo), vx_op(t, test, a.hi, b.hi));
}

void tr_vx_test(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    static const int64_t signs[] = { -1, (int64_t)0x8000000080000000, INT64_MIN };
    struct vx b = vx_read_source(t, i, 1), a = vx_read(t, i, 0, false);
    if (VX_NUMBER_OF(i)) { /* signs of lanes */
        ir_val mask = ir_const(t->ir, IR_V128, signs[VX_NUMBER_OF(i)]);
        b = vx_each(t, IR_V_and, b, (struct vx){ mask, b.hi == IR_NONE ? IR_NONE : mask }, VX_NONE,
                    0);
    }
    ir_val zero = test_all(t, IR_V_none_of, a, b), carry = test_all(t, IR_V_none_but, a, b);
    ir_val flags = ir_2(t->ir, IR_or, ir_2i(t->ir, IR_shl, zero, 6), carry);
    cc_set_flags(t, flags);
}

/* ---- other widths ---------------------------------------------------------------------------------------------- */

void tr_vx_widen(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx a = vx_read_source(t, i, 1), r = { .hi = IR_NONE };
    ir_val begun = vx_float_begin(t, VX_OP_OF(i));
    r.lo = vx_op1(t, VX_OP_OF(i), a.lo);
    if (i->op[0].size == 32)
        r.hi = vx_op1(t, VX_OP_OF(i), vx_op1n(t, IR_V_shr_bytes, a.lo, VX_NUMBER_OF(i)));
    vx_float_end(t, begun);
    vx_write(t, i, 0, r, false);
}

void tr_vx_narrow(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned n = constant_of(i);
    struct vx a = vx_read_source(t, i, 1);
    if (i->op[0].kind == X86_OP_MEM) { /* no flag is raised if the result cannot be stored */
        struct x86_mem m = mem_operand(t, i, i->op[0].size, true);
        ir_call(t->ir, &x86_helper_probe_write, mem_address(t, m),
                ir_i64(t->ir, i->op[0].size | m.mode << 8), IR_NONE, IR_NONE);
    }
    ir_val begun = vx_float_begin(t, VX_OP_OF(i)), r = vx_op1n(t, VX_OP_OF(i), a.lo, n);
    if (a.hi != IR_NONE)
        r = vx_op(t, IR_V_zip_lo_i64, r, vx_op1n(t, VX_OP_OF(i), a.hi, n));
    vx_float_end(t, begun);
    vx_write(t, i, 0, (struct vx){ r, IR_NONE }, false);
}

/* The mask is XMM0, or an operand of its own. */
void tr_vx_select(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned k = i->vex;
    struct vx b = vx_read_source(t, i, k + 1), a = vx_read(t, i, k, false);
    struct vx c = { vx_reg(t, 0), IR_NONE };
    if (i->vex)
        c = vx_read(t, i, 3, false);
    vx_write(t, i, 0, vx_each(t, VX_OP_OF(i), a, b, c, 0), false);
}

/* ---- strings (SDM 2-4.1) ----------------------------------------------------------------------------------------- */

/* |rAX| or |rDX|, at most 16. */
static ir_val string_length(struct tr *t, unsigned reg, unsigned size)
{
    struct ir *ir = t->ir;
    ir_val v = reg_read_sx(t, reg, size);
    ir_val zero = ir_i64(ir, 0), most = ir_i64(ir, 16);
    v = ir_select(ir, ir_setc(ir, IR_LT, v, zero), ir_2(ir, IR_sub, zero, v), v);
    return ir_select(ir, ir_setc(ir, IR_LTU, most, v), most, v);
}

/* Bit k of the mask as lane k of bytes or words. */
static ir_val expand_mask(struct tr *t, ir_val mask, bool words)
{
    struct ir *ir = t->ir;
    ir_val v = vx_op1(t, IR_V_from_i64, mask), bits;
    if (words) {
        bits = vx_op(t, IR_V_zip_lo_i64, ir_const(ir, IR_V128, 0x0008000400020001),
                     ir_const(ir, IR_V128, 0x0080004000200010));
        v = vx_op1n(t, IR_V_shuffle_lo16, v, 0);
        v = vx_op(t, IR_V_zip_lo_i64, v, v);
        return vx_op(t, IR_V_eq_i16, vx_op(t, IR_V_and, v, bits), bits);
    }
    bits = ir_const(ir, IR_V128, (int64_t)0x8040201008040201);
    v = vx_op(t, IR_V_zip_lo_i8, v, v);
    v = vx_op1n(t, IR_V_shuffle_lo16, v, 0x50);
    v = vx_op1n(t, IR_V_shuffle_i32, v, 0x50);
    return vx_op(t, IR_V_eq_i8, vx_op(t, IR_V_and, v, bits), bits);
}

static ir_val string_index(struct tr *t, ir_val mask, unsigned n)
{
    struct ir *ir = t->ir;
    ir_val none = ir_i64(ir, n & 1 ? 8 : 16), at;
    if (n & 0x40)
        at = ir_2(ir, IR_sub, ir_i64(ir, 63), ir_1(ir, IR_clz, mask));
    else
        at = ir_1(ir, IR_ctz, mask);
    return ir_select(ir, mask, at, none);
}

void tr_vx_string(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct ir *ir = t->ir;
    unsigned n = vx_imm(i), size = i->rex & 8 && i->bits == 64 ? 8 : 4;
    ir_val b = vx_read(t, i, 1, false).lo, a = vx_reg(t, i->op[0].reg), r;
    if (VX_NUMBER_OF(i) & 1) {
        ir_val lengths = ir_2(ir, IR_or, string_length(t, X86_RAX, size),
                              ir_2i(ir, IR_shl, string_length(t, X86_RDX, size), 8));
        r = ir_vec(ir, IR_V_string_mask_n, a, b, lengths, n);
    } else {
        r = vx_op2n(t, IR_V_string_mask, a, b, n);
    }
    ir_val mask = ir_1(ir, IR_zext16, r);
    if (!(VX_NUMBER_OF(i) & 2)) {
        reg_write(t, X86_RCX, 4, string_index(t, mask, n));
    } else {
        ir_val v = n & 0x40 ? expand_mask(t, mask, n & 1) : vx_op1(t, IR_V_from_i64, mask);
        vx_write_reg(t, i, 0, (struct vx){ v, IR_NONE });
    }
    /* CF: a bit is set; ZF: b is short; SF: a is short; OF: bit 0 */
    ir_val flags = ir_setc(ir, IR_NE, mask, ir_i64(ir, 0));
    flags = ir_2(ir, IR_or, flags, ir_2i(ir, IR_and, ir_2i(ir, IR_shr, r, 17 - 6), X86_FLAG_ZF));
    flags = ir_2(ir, IR_or, flags, ir_2i(ir, IR_and, ir_2i(ir, IR_shr, r, 16 - 7), X86_FLAG_SF));
    flags = ir_2(ir, IR_or, flags, ir_2i(ir, IR_and, ir_2i(ir, IR_shl, r, 11), X86_FLAG_OF));
    cc_set_flags(t, flags);
}

/* ---- memory by mask, MXCSR ------------------------------------------------------------------------------------------ */

void tr_vx_maskmov(struct tr *t, const struct x86_insn *i)
{
    bool mmx = i->op[0].kind == X86_OP_MMX;
    if (mmx ? !mm_enabled(t) : !vx_enabled(t, i))
        return;
    if (mmx)
        mm_done(t);
    ir_val at = reg_read_zx(t, X86_RDI, i->asize);
    struct x86_mem m = mem_linear(t, i->seg_override ? i->seg : X86_DS, at, mmx ? 8 : 16, true);
    ir_call(t->ir, mmx ? &x86_helper_maskmovq : &x86_helper_maskmovdqu, mem_address(t, m),
            ir_i64(t->ir, (i->op[0].reg & (mmx ? 7 : 15)) | i->op[1].reg << 4 | m.mode << 8),
            IR_NONE, IR_NONE);
}

/* The state word may be another one. */
void tr_vx_ldmxcsr(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_call(t->ir, &x86_helper_ldmxcsr, op_read_zx(t, i, 0), IR_NONE, IR_NONE, IR_NONE);
    ir_jump_indirect(t->ir, ir_pc(t->ir, t->next), IR_HINT_TRAP, 0);
}

/* Flags are the translator's, in softfloat's order, the other bits in the slot. */
void tr_vx_stmxcsr(struct tr *t, const struct x86_insn *i)
{
    static const struct {
        uint8_t flags;
        int8_t left; /* by how many bits MXCSR has them higher */
    } places[] = { { SF_INVALID | SF_DENORMAL, -4 },
                   { SF_DIV_BY_ZERO, -1 },
                   { SF_OVERFLOW, 1 },
                   { SF_UNDERFLOW, 3 },
                   { SF_INEXACT, 5 } };
    struct ir *ir = t->ir;
    if (!vx_enabled(t, i))
        return;
    ir_val raised = ir_fflags(ir);
    ir_val v = ir_2i(ir, IR_and, ir_get(ir, X86_SLOT_MXCSR), UINT32_MAX & ~0x3f);
    for (unsigned k = 0; k < ARRAY_LEN(places); k++) {
        int left = places[k].left;
        ir_val bits = ir_2i(ir, IR_and, raised, places[k].flags);
        bits = ir_2i(ir, left < 0 ? IR_shr : IR_shl, bits, left < 0 ? -left : left);
        v = ir_2(ir, IR_or, v, bits);
    }
    op_write(t, i, 0, v);
}
