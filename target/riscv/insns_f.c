/* Floating point: F, D, Zfhmin, Zfh (unprivileged ISA 21, 22, 24).
 *
 * Singles and doubles are computed by IR operations when the instruction rounds as fcsr.frm says (which
 * the state word carries, so a translation knows it); another rounding mode, roundTiesToAway (which
 * hosts lack), halves and the rarer operations go to the exact helpers. An f register is a slot of 64
 * bits; a single in it is boxed. */
#include "target/riscv/insns.h"

#include "tcg/softfloat.h"

enum { RM_DYNAMIC = 7 };

static ir_val fpr(struct tr *t, unsigned r)
{
    return ir_get(t->ir, RV_SLOT_F + r);
}

static ir_val fpr_bits(struct tr *t, unsigned r)
{
    return ir_1(t->ir, IR_fbits, fpr(t, r));
}

static void set_fpr_bits(struct tr *t, unsigned r, ir_val v)
{
    ir_set(t->ir, RV_SLOT_F + r, ir_1(t->ir, IR_bitsf, v));
}

/* Read and write as a value of the format (single or double). */
static ir_val fpr_as(struct tr *t, enum sf_format f, unsigned r)
{
    return f == SF_F64 ? fpr(t, r) : ir_1(t->ir, IR_funbox, fpr(t, r));
}

static void set_fpr_as(struct tr *t, enum sf_format f, unsigned r, ir_val v)
{
    ir_set(t->ir, RV_SLOT_F + r, f == SF_F64 ? v : ir_1(t->ir, IR_fbox, v));
}

/* Goes on if FS is at least `least`: 1, not off, or 3, dirty. What the block has seen it need not look at again. */
static void look_at_fs(struct tr *t, int64_t least)
{
    struct ir *ir = t->ir;
    ir_val known = ir->slot_value[RV_SLOT_FS_SEEN];
    int64_t seen;
    if (known != IR_NONE && ir_is_const(ir, known, &seen) && seen >= least)
        return;
    uint16_t other = ir_new_block(ir), go = ir_new_block(ir);
    ir_val fs = ir_2i(ir, IR_and, ir_get(ir, RV_SLOT_MSTATUS), RV_MSTATUS_FS);
    if (least == 1)
        ir_branch_block(ir, IR_EQ, fs, ir_i64(ir, 0), other, go);
    else
        ir_branch_block(ir, IR_NE, fs, ir_i64(ir, RV_MSTATUS_FS), other, go);
    ir_enter(ir, other);
    if (least == 1)
        riscv_tr_illegal(t);
    else {
        ir_call(ir, &rv_helper_fs_dirty, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        ir_leave(ir, t->off);
    }
    ir_enter(ir, go);
    ir_know(ir, RV_SLOT_FS_SEEN, ir_i64(ir, least));
}

/* May this instruction use the f registers, and write floating-point state if it does so? If not, what
 * happens instead has been built. */
static bool may_read(struct tr *t)
{
    if (t->flags & RV_FLAG_FS_ON)
        return true;
    if (rv_flags_priv(t->flags) == RV_S) {
        look_at_fs(t, 1);
        return true;
    }
    riscv_tr_illegal(t);
    return false;
}

static bool may_write(struct tr *t)
{
    if (rv_flags_priv(t->flags) == RV_S) {
        look_at_fs(t, 3);
        return true;
    }
    if (!may_read(t))
        return false;
    if (t->flags & RV_FLAG_FS_DIRTY)
        return true;
    ir_call(t->ir, &rv_helper_fs_dirty, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
    return false;
}

/* The rounding mode in effect; false if it is reserved, which traps (21.2). */
static bool find_rounding(struct tr *t, const struct operands *o, unsigned *rounding)
{
    *rounding = o->m == RM_DYNAMIC ? rv_flags_frm(t->flags) : o->m;
    if (*rounding <= SF_RMM)
        return true;
    riscv_tr_illegal(t);
    return false;
}

/* Does IR arithmetic round this way in this translation? */
static bool rounds_inline(const struct tr *t, unsigned rounding)
{
    return rounding == rv_flags_frm(t->flags) && rounding != SF_RMM;
}

/* ---- arithmetic ----------------------------------------------------------------------------------- */

/* What an arithmetic line carries: extra is the format, data one of these. */
struct fp_op {
    enum ir_code code;
    const struct ir_helper *helper;
    uint8_t n_operands, fma;
};

static void tr_arith(struct tr *t, const struct operands *o)
{
    const struct fp_op *op = o->insn->data;
    enum sf_format f = o->extra;
    struct ir *ir = t->ir;
    unsigned rounding;
    if (!may_write(t) || !find_rounding(t, o, &rounding))
        return;
    if (f != SF_F16 && rounds_inline(t, rounding)) {
        ir_val a = fpr_as(t, f, o->a), v;
        if (op->n_operands == 1)
            v = ir_1(ir, op->code, a);
        else if (op->n_operands == 2)
            v = ir_2(ir, op->code, a, fpr_as(t, f, o->b));
        else
            v = ir_fma(ir, a, fpr_as(t, f, o->b), fpr_as(t, f, o->c), op->fma);
        set_fpr_as(t, f, o->d, v);
        return;
    }
    uint32_t how = RV_FP(f, rounding) |
                   (op->fma & IR_FMA_NEG_PRODUCT ? (uint32_t)RV_FP_NEG_PRODUCT : 0) |
                   (op->fma & IR_FMA_NEG_ADDEND ? (uint32_t)RV_FP_NEG_ADDEND : 0);
    ir_val b = op->n_operands > 1 ? fpr_bits(t, o->b) : IR_NONE;
    ir_val c = op->n_operands > 2 ? fpr_bits(t, o->c) : IR_NONE;
    set_fpr_bits(t, o->d, ir_call(ir, op->helper, ir_i64(ir, how), fpr_bits(t, o->a), b, c));
}

static const struct fp_op op_add = { IR_fadd, &rv_helper_fp_add, 2 },
                          op_sub = { IR_fsub, &rv_helper_fp_sub, 2 },
                          op_mul = { IR_fmul, &rv_helper_fp_mul, 2 },
                          op_div = { IR_fdiv, &rv_helper_fp_div, 2 },
                          op_sqrt = { IR_fsqrt, &rv_helper_fp_sqrt, 1 },
                          op_madd = { IR_fma, &rv_helper_fp_fma, 3 },
                          op_msub = { IR_fma, &rv_helper_fp_fma, 3, IR_FMA_NEG_ADDEND },
                          op_nmsub = { IR_fma, &rv_helper_fp_fma, 3, IR_FMA_NEG_PRODUCT },
                          op_nmadd = { IR_fma, &rv_helper_fp_fma, 3,
                                       IR_FMA_NEG_PRODUCT | IR_FMA_NEG_ADDEND };

/* fmin, fmax: data is the helper. */
static void tr_minmax(struct tr *t, const struct operands *o)
{
    if (!may_write(t))
        return;
    ir_val how = ir_i64(t->ir, RV_FP(o->extra, SF_RNE));
    set_fpr_bits(t, o->d,
                 ir_call(t->ir, o->insn->data, how, fpr_bits(t, o->a), fpr_bits(t, o->b), IR_NONE));
}

/* Comparisons into an x register. */
struct fp_compare {
    enum ir_cc cc;
    const struct ir_helper *helper;
};
static const struct fp_compare cmp_eq = { IR_FEQ, &rv_helper_fp_eq },
                               cmp_lt = { IR_FLT, &rv_helper_fp_lt },
                               cmp_le = { IR_FLE, &rv_helper_fp_le };

static void tr_compare(struct tr *t, const struct operands *o)
{
    const struct fp_compare *cmp = o->insn->data;
    enum sf_format f = o->extra;
    if (!may_write(t))
        return;
    ir_val v;
    if (f == SF_F16)
        v = ir_call(t->ir, cmp->helper, ir_i64(t->ir, RV_FP(f, SF_RNE)), fpr_bits(t, o->a),
                    fpr_bits(t, o->b), IR_NONE);
    else
        v = ir_fcmp(t->ir, cmp->cc, fpr_as(t, f, o->a), fpr_as(t, f, o->b));
    set_gpr(t, o->d, v);
}

static void tr_class(struct tr *t, const struct operands *o)
{
    if (may_read(t))
        set_gpr(t, o->d,
                ir_call(t->ir, &rv_helper_fp_class, ir_i64(t->ir, RV_FP(o->extra, SF_RNE)),
                        fpr_bits(t, o->a), IR_NONE, IR_NONE));
}

/* ---- signs ------------------------------------------------------------------------------------------ */

enum sign_from { SIGN_SAME, SIGN_NOT, SIGN_XOR };

/* The operand's bits as an integer of its width (halves in an i64), unboxed. */
static ir_val unboxed_bits(struct tr *t, enum sf_format f, unsigned r)
{
    struct ir *ir = t->ir;
    if (f != SF_F16)
        return ir_1(ir, IR_fbits, fpr_as(t, f, r));
    ir_val v = fpr_bits(t, r);
    ir_val boxed = ir_setc(ir, IR_EQ, ir_2i(ir, IR_or, v, 0xffff), ir_i64(ir, -1));
    return ir_select(ir, boxed, v, ir_i64(ir, (int64_t)0xffffffffffff7e00));
}

/* The value of a with the sign of b, its opposite, or its product with that of a. */
static void tr_sign(struct tr *t, const struct operands *o, enum sign_from from)
{
    static const int64_t signs[] = {
        [SF_F16] = 0x8000, [SF_F32] = INT32_MIN, [SF_F64] = INT64_MIN
    };
    enum sf_format f = o->extra;
    struct ir *ir = t->ir;
    if (!may_write(t))
        return;
    if (o->a == o->b && f != SF_F16) { /* fmv, fneg, fabs */
        ir_val v = fpr_as(t, f, o->a);
        if (from != SIGN_SAME)
            v = ir_1(ir, from == SIGN_NOT ? IR_fneg : IR_fabs, v);
        set_fpr_as(t, f, o->d, v);
        return;
    }
    int64_t sign = signs[f];
    ir_val a = unboxed_bits(t, f, o->a), b = unboxed_bits(t, f, o->b);
    if (from == SIGN_NOT)
        b = ir_2i(ir, IR_xor, b, -1);
    b = ir_2i(ir, IR_and, b, sign);
    ir_val v =
        from == SIGN_XOR ? ir_2(ir, IR_xor, a, b) : ir_2(ir, IR_or, ir_2i(ir, IR_and, a, ~sign), b);
    if (f == SF_F16)
        set_fpr_bits(t, o->d, v); /* the box came with a, and the sign is inside */
    else
        set_fpr_as(t, f, o->d, ir_1(ir, IR_bitsf, v));
}

static void tr_sgnj(struct tr *t, const struct operands *o)
{
    tr_sign(t, o, SIGN_SAME);
}

static void tr_sgnjn(struct tr *t, const struct operands *o)
{
    tr_sign(t, o, SIGN_NOT);
}

static void tr_sgnjx(struct tr *t, const struct operands *o)
{
    tr_sign(t, o, SIGN_XOR);
}

/* ---- conversions ------------------------------------------------------------------------------------ */

/* Format and enum sf_int in one number. */
#define FP_INT(format, kind) ((format) | (kind) << 4)

static void tr_to_int(struct tr *t, const struct operands *o)
{
    enum sf_format f = o->extra & 15;
    enum sf_int kind = o->extra >> 4;
    struct ir *ir = t->ir;
    unsigned rounding;
    if (!may_write(t) || !find_rounding(t, o, &rounding))
        return;
    bool word = kind == SF_I32 || kind == SF_U32;
    if (f != SF_F16 && (rounding == SF_RTZ || rounds_inline(t, rounding))) {
        unsigned how = (kind == SF_U32 || kind == SF_U64 ? IR_FTOI_UNSIGNED : 0) |
                       (word ? IR_FTOI_32 : 0) | (rounding == SF_RTZ ? IR_FTOI_TRUNC : 0);
        ir_val v = ir_ftoi(ir, fpr_as(t, f, o->a), how);
        if (word)
            set_gpr32(t, o->d, v);
        else
            set_gpr(t, o->d, v);
        return;
    }
    set_gpr(t, o->d,
            ir_call(ir, &rv_helper_fp_to_int, ir_i64(ir, RV_FP(f, rounding)), fpr_bits(t, o->a),
                    ir_i64(ir, kind), IR_NONE));
}

static void tr_from_int(struct tr *t, const struct operands *o)
{
    enum sf_format f = o->extra & 15;
    enum sf_int kind = o->extra >> 4;
    struct ir *ir = t->ir;
    unsigned rounding;
    if (!may_write(t) || !find_rounding(t, o, &rounding))
        return;
    bool word = kind == SF_I32 || kind == SF_U32, exact = word && f == SF_F64;
    if (f != SF_F16 && (exact || rounds_inline(t, rounding))) {
        unsigned how =
            (kind == SF_U32 || kind == SF_U64 ? IR_ITOF_UNSIGNED : 0) | (word ? IR_ITOF_32 : 0);
        ir_val a = word ? gpr32(t, o->a) : gpr(t, o->a);
        set_fpr_as(t, f, o->d, ir_itof(ir, f == SF_F64 ? IR_F64 : IR_F32, a, how));
        return;
    }
    ir_val a = gpr(t, o->a);
    if (word)
        a = ir_1(ir, kind == SF_U32 ? IR_zext32 : IR_sext32, ir_1(ir, IR_trunc, a));
    set_fpr_bits(t, o->d,
                 ir_call(ir, &rv_helper_fp_from_int, ir_i64(ir, RV_FP(f, rounding)), a,
                         ir_i64(ir, kind), IR_NONE));
}

#define FROM_TO(from, to) ((from) << 4 | (to))
static void tr_convert(struct tr *t, const struct operands *o)
{
    enum sf_format from = o->extra >> 4, to = o->extra & 15;
    struct ir *ir = t->ir;
    unsigned rounding;
    if (!may_write(t) || !find_rounding(t, o, &rounding))
        return;
    if (from == SF_F32 && to == SF_F64)
        set_fpr_as(t, to, o->d, ir_1(ir, IR_fwiden, fpr_as(t, from, o->a)));
    else if (from == SF_F64 && to == SF_F32 && rounds_inline(t, rounding))
        set_fpr_as(t, to, o->d, ir_1(ir, IR_fnarrow, fpr_as(t, from, o->a)));
    else
        set_fpr_bits(t, o->d,
                     ir_call(ir, &rv_helper_fp_convert, ir_i64(ir, RV_FP(to, rounding)),
                             fpr_bits(t, o->a), ir_i64(ir, from), IR_NONE));
}

/* ---- moves -------------------------------------------------------------------------------------------- */

/* fmv.x.*: the low bits as they are, boxed or not; sign-extended. */
static void tr_move_out(struct tr *t, const struct operands *o)
{
    if (!may_read(t))
        return;
    ir_val v = fpr_bits(t, o->a);
    if (o->extra == SF_F32)
        set_gpr32(t, o->d, ir_1(t->ir, IR_trunc, v));
    else
        set_gpr(t, o->d, o->extra == SF_F16 ? ir_1(t->ir, IR_sext16, v) : v);
}

/* fmv.*.x */
static void tr_move_in(struct tr *t, const struct operands *o)
{
    if (!may_write(t))
        return;
    if (o->extra == SF_F32)
        set_fpr_as(t, SF_F32, o->d, ir_1(t->ir, IR_bitsf, gpr32(t, o->a)));
    else
        set_fpr_bits(t, o->d,
                     o->extra == SF_F16 ? ir_2i(t->ir, IR_or, gpr(t, o->a), ~0xffff)
                                        : gpr(t, o->a));
}

static const uint8_t log2_bytes[] = { [SF_F16] = IR_16, [SF_F32] = IR_32, [SF_F64] = IR_64 };

void tr_load_fp(struct tr *t, const struct operands *o)
{
    enum sf_format f = o->extra;
    if (!may_write(t))
        return;
    ir_val base = gpr(t, o->a);
    riscv_tr_data_trigger(t, base, o->imm, log2_bytes[f], false);
    if (f == SF_F16) {
        ir_val v = ir_load(t->ir, IR_I64, base, o->imm, IR_16, 0);
        set_fpr_bits(t, o->d, ir_2i(t->ir, IR_or, v, ~0xffff));
    } else {
        enum ir_type type = f == SF_F64 ? IR_F64 : IR_F32;
        set_fpr_as(t, f, o->d, ir_load(t->ir, type, base, o->imm, log2_bytes[f], 0));
    }
}

/* The low bits as they are, boxed or not. */
void tr_store_fp(struct tr *t, const struct operands *o)
{
    enum sf_format f = o->extra;
    if (!may_read(t))
        return;
    ir_val base = gpr(t, o->a), v = fpr(t, o->b);
    riscv_tr_data_trigger(t, base, o->imm, log2_bytes[f], true);
    if (f == SF_F32 && t->ir->ops[v].code == IR_fbox)
        v = t->ir->ops[v].a;
    else if (f != SF_F64)
        v = ir_1(t->ir, IR_fbits, v);
    ir_store(t->ir, base, o->imm, v, log2_bytes[f], 0);
}

/* ---- tables ------------------------------------------------------------------------------------------- */
/* clang-format off */

/* Lines of one format: `s` is the suffix, `ff` the format's number. */
#define FP_LINES(s, ff, format)                                                                                  \
    { "fmadd"  s, "ccccc " ff "     bbbbb aaaaa mmm ddddd 1000011", NULL, tr_arith, format, .data = &op_madd },   \
    { "fmsub"  s, "ccccc " ff "     bbbbb aaaaa mmm ddddd 1000111", NULL, tr_arith, format, .data = &op_msub },   \
    { "fnmsub" s, "ccccc " ff "     bbbbb aaaaa mmm ddddd 1001011", NULL, tr_arith, format, .data = &op_nmsub },  \
    { "fnmadd" s, "ccccc " ff "     bbbbb aaaaa mmm ddddd 1001111", NULL, tr_arith, format, .data = &op_nmadd },  \
    { "fadd"   s, "00000 " ff "     bbbbb aaaaa mmm ddddd 1010011", NULL, tr_arith, format, .data = &op_add },    \
    { "fsub"   s, "00001 " ff "     bbbbb aaaaa mmm ddddd 1010011", NULL, tr_arith, format, .data = &op_sub },    \
    { "fmul"   s, "00010 " ff "     bbbbb aaaaa mmm ddddd 1010011", NULL, tr_arith, format, .data = &op_mul },    \
    { "fdiv"   s, "00011 " ff "     bbbbb aaaaa mmm ddddd 1010011", NULL, tr_arith, format, .data = &op_div },    \
    { "fsqrt"  s, "01011 " ff "     00000 aaaaa mmm ddddd 1010011", NULL, tr_arith, format, .data = &op_sqrt },   \
    { "fsgnj"  s, "00100 " ff "     bbbbb aaaaa 000 ddddd 1010011", NULL, tr_sgnj,  format },                     \
    { "fsgnjn" s, "00100 " ff "     bbbbb aaaaa 001 ddddd 1010011", NULL, tr_sgnjn, format },                     \
    { "fsgnjx" s, "00100 " ff "     bbbbb aaaaa 010 ddddd 1010011", NULL, tr_sgnjx, format },                     \
    { "fmin"   s, "00101 " ff "     bbbbb aaaaa 000 ddddd 1010011", NULL, tr_minmax, format, .data = &rv_helper_fp_min }, \
    { "fmax"   s, "00101 " ff "     bbbbb aaaaa 001 ddddd 1010011", NULL, tr_minmax, format, .data = &rv_helper_fp_max }, \
    { "fle"    s, "10100 " ff "     bbbbb aaaaa 000 ddddd 1010011", NULL, tr_compare, format, .data = &cmp_le },  \
    { "flt"    s, "10100 " ff "     bbbbb aaaaa 001 ddddd 1010011", NULL, tr_compare, format, .data = &cmp_lt },  \
    { "feq"    s, "10100 " ff "     bbbbb aaaaa 010 ddddd 1010011", NULL, tr_compare, format, .data = &cmp_eq },  \
    { "fclass" s, "11100 " ff "     00000 aaaaa 001 ddddd 1010011", NULL, tr_class, format },                     \
    { "fcvt.w" s, "11000 " ff " 00000 aaaaa mmm ddddd 1010011", NULL, tr_to_int, FP_INT(format, SF_I32) }, \
    { "fcvt.wu" s, "11000 " ff " 00001 aaaaa mmm ddddd 1010011", NULL, tr_to_int, FP_INT(format, SF_U32) }, \
    { "fcvt.l" s, "11000 " ff " 00010 aaaaa mmm ddddd 1010011", NULL, tr_to_int, FP_INT(format, SF_I64) }, \
    { "fcvt.lu" s, "11000 " ff " 00011 aaaaa mmm ddddd 1010011", NULL, tr_to_int, FP_INT(format, SF_U64) }, \
    { "fcvt" s ".w", "11010 " ff " 00000 aaaaa mmm ddddd 1010011", NULL, tr_from_int, FP_INT(format, SF_I32) }, \
    { "fcvt" s ".wu", "11010 " ff " 00001 aaaaa mmm ddddd 1010011", NULL, tr_from_int, FP_INT(format, SF_U32) }, \
    { "fcvt" s ".l", "11010 " ff " 00010 aaaaa mmm ddddd 1010011", NULL, tr_from_int, FP_INT(format, SF_I64) }, \
    { "fcvt" s ".lu", "11010 " ff " 00011 aaaaa mmm ddddd 1010011", NULL, tr_from_int, FP_INT(format, SF_U64) }

static const struct insn insns_f[] = {
    { "flw",       "iiiiiiiiiiii    aaaaa 010 ddddd 0000111", IMM_I, tr_load_fp,  SF_F32 },
    { "fsw",       "iiiiiii   bbbbb aaaaa 010 iiiii 0100111", IMM_S, tr_store_fp, SF_F32 },
    FP_LINES(".s", "00", SF_F32),
    { "fmv.x.w",   "1110000   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_out, SF_F32 },
    { "fmv.w.x",   "1111000   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_in,  SF_F32 },
};

static const struct insn insns_d[] = {
    { "fld",       "iiiiiiiiiiii    aaaaa 011 ddddd 0000111", IMM_I, tr_load_fp,  SF_F64 },
    { "fsd",       "iiiiiii   bbbbb aaaaa 011 iiiii 0100111", IMM_S, tr_store_fp, SF_F64 },
    FP_LINES(".d", "01", SF_F64),
    { "fcvt.s.d",  "0100000   00001 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F64, SF_F32) },
    { "fcvt.d.s",  "0100001   00000 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F32, SF_F64) },
    { "fmv.x.d",   "1110001   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_out, SF_F64 },
    { "fmv.d.x",   "1111001   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_in,  SF_F64 },
};

static const struct insn insns_zfhmin[] = {
    { "flh",       "iiiiiiiiiiii    aaaaa 001 ddddd 0000111", IMM_I, tr_load_fp,  SF_F16 },
    { "fsh",       "iiiiiii   bbbbb aaaaa 001 iiiii 0100111", IMM_S, tr_store_fp, SF_F16 },
    { "fcvt.s.h",  "0100000   00010 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F16, SF_F32) },
    { "fcvt.h.s",  "0100010   00000 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F32, SF_F16) },
    { "fmv.x.h",   "1110010   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_out, SF_F16 },
    { "fmv.h.x",   "1111010   00000 aaaaa 000 ddddd 1010011", NULL,  tr_move_in,  SF_F16 },
};
static const struct insn insns_zfhmin_d[] = {
    { "fcvt.d.h",  "0100001   00010 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F16, SF_F64) },
    { "fcvt.h.d",  "0100010   00001 aaaaa mmm ddddd 1010011", NULL,  tr_convert,  FROM_TO(SF_F64, SF_F16) },
};
static const struct insn insns_zfh[] = {
    FP_LINES(".h", "10", SF_F16),
};

const struct insn_table riscv_float_tables[] = {
    INSNS(insns_f, EXT(F), 0),
    INSNS(insns_d, EXT(D), 0),
    INSNS(insns_zfhmin, 0, EXT(ZFHMIN) | EXT(ZFH)),
    INSNS(insns_zfhmin_d, EXT(D), EXT(ZFHMIN) | EXT(ZFH)),
    INSNS(insns_zfh, EXT(ZFH), 0),
};
const size_t riscv_n_float_tables = ARRAY_LEN(riscv_float_tables);
