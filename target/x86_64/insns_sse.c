/* MMX and SSE. What AVX does as well is in vector_operands.c. */
#include "target/x86_64/vector.h"

/* ---- MMX (SDM 1-9): V128 operations on registers with zeros above -------------------------------------- */

/* The upper eight bytes of a result are nobody's. VX_PAIR: an operation that takes lanes from both operands in
 * turn sees them as one vector. */
static ir_val mm_op(struct tr *t, const struct x86_insn *i, ir_val a, ir_val b)
{
    enum ir_vec vec = VX_OP_OF(i);
    if (i->extra & VX_PAIR)
        a = b = vx_op(t, IR_V_zip_lo_i64, a, b);
    ir_val r = i->extra & VX_SWAP ? vx_op(t, vec, b, a) : vx_op(t, vec, a, b);
    return i->extra & VX_HIGH ? vx_high(t, r) : r;
}

static void tr_mm2(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    ir_val b = mm_read(t, i, 1), a = mm_read(t, i, 0);
    mm_write(t, i, 0, mm_op(t, i, a, b));
}

static void tr_mm1(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    unsigned n = ir_vec_infos[VX_OP_OF(i)].flags & IR_VEC_IMM ? vx_imm(i) : 0;
    mm_write(t, i, 0, vx_op1n(t, VX_OP_OF(i), mm_read(t, i, 1), n));
}

/* Shifts by a constant: the only operand is read and written. */
static void tr_mm_shift(struct tr *t, const struct x86_insn *i)
{
    if (mm_enabled(t))
        mm_write(t, i, 0, vx_op1n(t, VX_OP_OF(i), mm_read(t, i, 0), vx_imm(i)));
}

static void tr_mm_pshufb(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    ir_val b = mm_read(t, i, 1), a = mm_read(t, i, 0);
    b = vx_op(t, IR_V_and, b, ir_const(t->ir, IR_V128, (int64_t)0x8787878787878787));
    mm_write(t, i, 0, vx_op(t, IR_V_shuffle_i8, a, b));
}

static void tr_mm_palignr(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    ir_val b = mm_read(t, i, 1), a = mm_read(t, i, 0);
    mm_write(t, i, 0, vx_op1n(t, IR_V_shr_bytes, vx_op(t, IR_V_zip_lo_i64, b, a), vx_imm(i)));
}

static void tr_mm_move(struct tr *t, const struct x86_insn *i)
{
    if (mm_enabled(t))
        mm_write(t, i, 0, mm_read(t, i, 1));
}

static void tr_mm_movd(struct tr *t, const struct x86_insn *i)
{
    if (mm_enabled(t))
        mm_write(t, i, 0, vx_op1(t, IR_V_from_i64, op_read_zx(t, i, 1)));
}

static void tr_mm_movd_store(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    op_write(t, i, 0, vx_op1n(t, IR_V_get_i64, mm_read(t, i, 1), 0));
    mm_done(t);
}

static void tr_mm_pmovmskb(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    vx_write_int(t, i, 0, vx_op1(t, IR_V_mask_i8, mm_read(t, i, 1)));
    mm_done(t);
}

static void tr_mm_pinsrw(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    ir_val b = ir_1(t->ir, IR_trunc, op_read(t, i, 1)), a = mm_read(t, i, 0);
    mm_write(t, i, 0, vx_op2n(t, IR_V_set_i16, a, b, vx_imm(i) & 3));
}

static void tr_mm_pextrw(struct tr *t, const struct x86_insn *i)
{
    if (!mm_enabled(t))
        return;
    vx_write_int(t, i, 0, vx_op1n(t, IR_V_get_i16, mm_read(t, i, 1), vx_imm(i) & 3));
    mm_done(t);
}

static void tr_emms(struct tr *t, const struct x86_insn *i)
{
    if (mm_enabled(t))
        ir_call(t->ir, &x86_helper_x87_emms, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

/* ---- between MMX and XMM (SDM 1-11.6.x): XMM registers need SSE to be on, MMX ones x87 ------------------- */

static bool both_enabled(struct tr *t, const struct x86_insn *i)
{
    return vx_enabled(t, i) && mm_enabled(t);
}

/* An MMX operand in memory leaves the x87 alone. */
static bool source_enabled(struct tr *t, const struct x86_insn *i)
{
    return vx_enabled(t, i) && (i->op[1].kind == X86_OP_MEM || mm_enabled(t));
}

static void tr_movdq2q(struct tr *t, const struct x86_insn *i)
{
    if (both_enabled(t, i))
        mm_write(t, i, 0, vx_reg(t, i->op[1].reg));
}

static void tr_movq2dq(struct tr *t, const struct x86_insn *i)
{
    if (!both_enabled(t, i))
        return;
    vx_write(t, i, 0, (struct vx){ mm_read(t, i, 1), IR_NONE }, false);
    mm_done(t);
}

/* CVTPI2PD, CVTPI2PS: number 1 keeps the upper half. */
static void tr_from_mm(struct tr *t, const struct x86_insn *i)
{
    if (!source_enabled(t, i))
        return;
    ir_val b = mm_read(t, i, 1);
    if (i->op[1].kind != X86_OP_MEM)
        mm_done(t);
    ir_val begun = vx_float_begin(t, VX_OP_OF(i));
    ir_val r = vx_op1(t, VX_OP_OF(i), b);
    vx_float_end(t, begun);
    if (VX_NUMBER_OF(i))
        r = vx_op(t, IR_V_merge_i64, vx_reg(t, i->op[0].reg), r);
    vx_write(t, i, 0, (struct vx){ r, IR_NONE }, false);
}

/* CVTPD2PI, CVTPS2PI: of the latter's operand the lower half counts. */
static void tr_to_mm(struct tr *t, const struct x86_insn *i)
{
    if (!both_enabled(t, i))
        return;
    ir_val a = vx_read(t, i, 1, i->op[1].size == 16).lo;
    if (i->op[1].size == 8 && i->op[1].kind != X86_OP_MEM)
        a = vx_op1(t, IR_V_low_i64, a);
    mm_done(t);
    ir_val begun = vx_float_begin(t, VX_OP_OF(i)), r = vx_op1(t, VX_OP_OF(i), a);
    vx_float_end(t, begun);
    mm_write(t, i, 0, r);
}

/* ---- one operand ----------------------------------------------------------------------------------------- */

static void tr_shift_n(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val r = vx_op1n(t, VX_OP_OF(i), vx_reg(t, i->op[0].reg), vx_imm(i));
    vx_write(t, i, 0, (struct vx){ r, IR_NONE }, false);
}

/* INSERTPS: a source in memory is one lane. */
static void tr_insertps(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    bool mem = i->op[1].kind == X86_OP_MEM;
    ir_val b = vx_read(t, i, 1, false).lo, a = vx_reg(t, i->op[0].reg);
    unsigned n = vx_imm(i) & (mem ? 0x3f : 0xff);
    vx_write(t, i, 0, (struct vx){ vx_op2n(t, IR_V_insert_i32, a, b, n), IR_NONE }, false);
}

static void tr_sha256rnds2(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val b = vx_read_source(t, i, 1).lo, a = vx_reg(t, i->op[0].reg);
    ir_val r = ir_vec(t->ir, IR_V_sha256_rounds, a, b, vx_reg(t, 0), 0);
    vx_write(t, i, 0, (struct vx){ r, IR_NONE }, false);
}

/* ---- tables ------------------------------------------------------------------------------------------------- */

/* clang-format off */
#define MM(name, code, op) { name, "NP 0F " code " /r", "Pq,Qq", tr_mm2, op }
#define MM_N(name, code, digit, op) { name, "NP 0F " code " /" digit, "Nq,Ib", tr_mm_shift, op }
static const struct x86_line mmx[] = {
    { "punpcklbw", "NP 0F 60 /r", "Pq,Qd", tr_mm2, IR_V_zip_lo_i8 },
    { "punpcklwd", "NP 0F 61 /r", "Pq,Qd", tr_mm2, IR_V_zip_lo_i16 },
    { "punpckldq", "NP 0F 62 /r", "Pq,Qd", tr_mm2, IR_V_zip_lo_i32 },
    MM("packsswb",  "63", IR_V_pack_s16_s8 | VX_PAIR),
    MM("pcmpgtb",   "64", IR_V_gt_s8),
    MM("pcmpgtw",   "65", IR_V_gt_s16),
    MM("pcmpgtd",   "66", IR_V_gt_s32),
    MM("packuswb",  "67", IR_V_pack_s16_u8 | VX_PAIR),
    MM("punpckhbw", "68", IR_V_zip_lo_i8 | VX_HIGH),
    MM("punpckhwd", "69", IR_V_zip_lo_i16 | VX_HIGH),
    MM("punpckhdq", "6A", IR_V_zip_lo_i32 | VX_HIGH),
    MM("packssdw",  "6B", IR_V_pack_s32_s16 | VX_PAIR),
    { "movd",      "NP 0F 6E /r", "Pq,Ey", tr_mm_movd },
    { "movd",      "NP 0F 7E /r", "Ey,Pq", tr_mm_movd_store },
    { "movq",      "NP 0F 6F /r", "Pq,Qq", tr_mm_move },
    { "movq",      "NP 0F 7F /r", "Qq,Pq", tr_mm_move },
    MM("pcmpeqb",   "74", IR_V_eq_i8),
    MM("pcmpeqw",   "75", IR_V_eq_i16),
    MM("pcmpeqd",   "76", IR_V_eq_i32),
    { "emms",      "NP 0F 77",    "",      tr_emms },
    MM("psrlw",     "D1", IR_V_shr_i16),
    MM("psrld",     "D2", IR_V_shr_i32),
    MM("psrlq",     "D3", IR_V_shr_i64),
    MM("pmullw",    "D5", IR_V_mul_i16),
    MM("psubusb",   "D8", IR_V_subs_u8),
    MM("psubusw",   "D9", IR_V_subs_u16),
    MM("pand",      "DB", IR_V_and),
    MM("paddusb",   "DC", IR_V_adds_u8),
    MM("paddusw",   "DD", IR_V_adds_u16),
    MM("pandn",     "DF", IR_V_andn | VX_SWAP),
    MM("psraw",     "E1", IR_V_sar_i16),
    MM("psrad",     "E2", IR_V_sar_i32),
    MM("pmulhw",    "E5", IR_V_mulh_s16),
    MM("psubsb",    "E8", IR_V_subs_s8),
    MM("psubsw",    "E9", IR_V_subs_s16),
    MM("por",       "EB", IR_V_or),
    MM("paddsb",    "EC", IR_V_adds_s8),
    MM("paddsw",    "ED", IR_V_adds_s16),
    MM("pxor",      "EF", IR_V_xor),
    MM("psllw",     "F1", IR_V_shl_i16),
    MM("pslld",     "F2", IR_V_shl_i32),
    MM("psllq",     "F3", IR_V_shl_i64),
    MM("pmaddwd",   "F5", IR_V_madd_s16),
    MM("psubb",     "F8", IR_V_sub_i8),
    MM("psubw",     "F9", IR_V_sub_i16),
    MM("psubd",     "FA", IR_V_sub_i32),
    MM("paddb",     "FC", IR_V_add_i8),
    MM("paddw",     "FD", IR_V_add_i16),
    MM("paddd",     "FE", IR_V_add_i32),
    MM_N("psrlw", "71", "2", IR_V_shr_i16_n), MM_N("psraw", "71", "4", IR_V_sar_i16_n),
    MM_N("psllw", "71", "6", IR_V_shl_i16_n), MM_N("psrld", "72", "2", IR_V_shr_i32_n),
    MM_N("psrad", "72", "4", IR_V_sar_i32_n), MM_N("pslld", "72", "6", IR_V_shl_i32_n),
    MM_N("psrlq", "73", "2", IR_V_shr_i64_n), MM_N("psllq", "73", "6", IR_V_shl_i64_n),
};

#define PS(name, code, op) { name "ps", "NP 0F " code " /r", "Vdq,Wdq", tr_vx2, op }
#define SS(name, code, op) { name "ss", "F3 0F " code " /r", "Vss,Wss", tr_vx2, op }
static const struct x86_line sse[] = {
    { "movups",    "NP 0F 10 /r", "Vdq,Wdq", tr_vx_move, VX_UNALIGNED },
    { "movups",    "NP 0F 11 /r", "Wdq,Vdq", tr_vx_move, VX_UNALIGNED },
    { "movss",     "F3 0F 10 /r", "Vss,Wss", tr_vx_scalar, IR_V_merge_i32 },
    { "movss",     "F3 0F 11 /r", "Wss,Vss", tr_vx_scalar, IR_V_merge_i32 },
    { "movlps",    "NP 0F 12 /r", "Vq,Mq",   tr_vx_low, IR_V_merge_i64 },
    { "movhlps",   "NP 0F 12 /r", "Vq,Uq",   tr_vx_movhlps },
    { "movlps",    "NP 0F 13 /r", "Mq,Vq",   tr_vx_low_store },
    { "unpcklps",  "NP 0F 14 /r", "Vdq,Wdq", tr_vx2, IR_V_zip_lo_i32 },
    { "unpckhps",  "NP 0F 15 /r", "Vdq,Wdq", tr_vx2, IR_V_zip_hi_i32 },
    { "movhps",    "NP 0F 16 /r", "Vq,Mq",   tr_vx_low, IR_V_zip_lo_i64 },
    { "movlhps",   "NP 0F 16 /r", "Vq,Uq",   tr_vx_low, IR_V_zip_lo_i64 },
    { "movhps",    "NP 0F 17 /r", "Mq,Vq",   tr_vx_low_store, VX_NUMBER(1) },
    { "movaps",    "NP 0F 28 /r", "Vdq,Wdq", tr_vx_move },
    { "movaps",    "NP 0F 29 /r", "Wdq,Vdq", tr_vx_move },
    { "cvtpi2ps",  "NP 0F 2A /r", "Vq,Qq",   tr_from_mm, IR_V_s32_f32 | VX_NUMBER(1) },
    { "cvtsi2ss",  "F3 0F 2A /r", "Vss,Ey",  tr_vx_from_gpr, IR_V_s32_f32_lo },
    { "movntps",   "NP 0F 2B /r", "Mdq,Vdq", tr_vx_move },
    { "cvttps2pi", "NP 0F 2C /r", "Pq,Wq",   tr_to_mm, IR_V_f32_s32_t },
    { "cvttss2si", "F3 0F 2C /r", "Gy,Wss",  tr_vx_to_gpr, IR_V_f32_lo_s32_t },
    { "cvtps2pi",  "NP 0F 2D /r", "Pq,Wq",   tr_to_mm, IR_V_f32_s32 },
    { "cvtss2si",  "F3 0F 2D /r", "Gy,Wss",  tr_vx_to_gpr, IR_V_f32_lo_s32 },
    { "ucomiss",   "NP 0F 2E /r", "Vss,Wss", tr_vx_order, IR_V_order_q_f32 },
    { "comiss",    "NP 0F 2F /r", "Vss,Wss", tr_vx_order, IR_V_order_s_f32 },
    { "movmskps",  "NP 0F 50 /r", "Gd,Udq",  tr_vx_mask, IR_V_mask_i32 },
    { "sqrtps",    "NP 0F 51 /r", "Vdq,Wdq", tr_vx1, IR_V_sqrt_f32 },
    { "rsqrtps",   "NP 0F 52 /r", "Vdq,Wdq", tr_vx1, IR_V_rsqrt_f32 },
    { "rcpps",     "NP 0F 53 /r", "Vdq,Wdq", tr_vx1, IR_V_rcp_f32 },
    SS("sqrt", "51", IR_V_sqrt_lo_f32), SS("rsqrt", "52", IR_V_rsqrt_lo_f32),
    SS("rcp", "53", IR_V_rcp_lo_f32),
    { "andps",     "NP 0F 54 /r", "Vdq,Wdq", tr_vx2, IR_V_and },
    { "andnps",    "NP 0F 55 /r", "Vdq,Wdq", tr_vx2, IR_V_andn | VX_SWAP },
    { "orps",      "NP 0F 56 /r", "Vdq,Wdq", tr_vx2, IR_V_or },
    { "xorps",     "NP 0F 57 /r", "Vdq,Wdq", tr_vx2, IR_V_xor },
    PS("add", "58", IR_V_add_f32), SS("add", "58", IR_V_add_lo_f32),
    PS("mul", "59", IR_V_mul_f32), SS("mul", "59", IR_V_mul_lo_f32),
    PS("sub", "5C", IR_V_sub_f32), SS("sub", "5C", IR_V_sub_lo_f32),
    PS("min", "5D", IR_V_min_f32), SS("min", "5D", IR_V_min_lo_f32),
    PS("div", "5E", IR_V_div_f32), SS("div", "5E", IR_V_div_lo_f32),
    PS("max", "5F", IR_V_max_f32), SS("max", "5F", IR_V_max_lo_f32),
    { "pshufw",    "NP 0F 70 /r", "Pq,Qq,Ib", tr_mm1, IR_V_shuffle_lo16 },
    { "cmpps",     "NP 0F C2 /r", "Vdq,Wdq,Ib", tr_vx_cmp, IR_V_cmp_f32 },
    { "cmpss",     "F3 0F C2 /r", "Vss,Wss,Ib", tr_vx_cmp, IR_V_cmp_lo_f32 },
    { "pinsrw",    "NP 0F C4 /r", "Pq,Rd/Mw,Ib", tr_mm_pinsrw },
    { "pextrw",    "NP 0F C5 /r", "Gd,Nq,Ib", tr_mm_pextrw },
    { "shufps",    "NP 0F C6 /r", "Vdq,Wdq,Ib", tr_vx2, IR_V_shuffle2_i32 },
    { "pmovmskb",  "NP 0F D7 /r", "Gd,Nq",   tr_mm_pmovmskb },
    MM("pminub",    "DA", IR_V_min_u8),
    MM("pmaxub",    "DE", IR_V_max_u8),
    MM("pavgb",     "E0", IR_V_avg_u8),
    MM("pavgw",     "E3", IR_V_avg_u16),
    MM("pmulhuw",   "E4", IR_V_mulh_u16),
    { "movntq",    "NP 0F E7 /r", "Mq,Pq",   tr_mm_move },
    MM("pminsw",    "EA", IR_V_min_s16),
    MM("pmaxsw",    "EE", IR_V_max_s16),
    MM("psadbw",    "F6", IR_V_sad_u8),
    { "maskmovq",  "NP 0F F7 /r", "Pq,Nq",   tr_vx_maskmov },
    { "ldmxcsr",   "NP 0F AE /2", "Md",      tr_vx_ldmxcsr },
    { "stmxcsr",   "NP 0F AE /3", "Md",      tr_vx_stmxcsr },
};

#define PD(name, code, op) { name "pd", "66 0F " code " /r", "Vdq,Wdq", tr_vx2, op }
#define SD(name, code, op) { name "sd", "F2 0F " code " /r", "Vsd,Wsd", tr_vx2, op }
#define IN(name, code, op) { name, "66 0F " code " /r", "Vdq,Wdq", tr_vx2, op }
#define IN_N(name, code, digit, op) { name, "66 0F " code " /" digit, "Udq,Ib", tr_shift_n, op }
static const struct x86_line sse2[] = {
    { "movupd",    "66 0F 10 /r", "Vdq,Wdq", tr_vx_move, VX_UNALIGNED },
    { "movupd",    "66 0F 11 /r", "Wdq,Vdq", tr_vx_move, VX_UNALIGNED },
    { "movsd",     "F2 0F 10 /r", "Vsd,Wsd", tr_vx_scalar, IR_V_merge_i64 },
    { "movsd",     "F2 0F 11 /r", "Wsd,Vsd", tr_vx_scalar, IR_V_merge_i64 },
    { "movlpd",    "66 0F 12 /r", "Vq,Mq",   tr_vx_low, IR_V_merge_i64 },
    { "movlpd",    "66 0F 13 /r", "Mq,Vq",   tr_vx_low_store },
    { "unpcklpd",  "66 0F 14 /r", "Vdq,Wdq", tr_vx2, IR_V_zip_lo_i64 },
    { "unpckhpd",  "66 0F 15 /r", "Vdq,Wdq", tr_vx2, IR_V_zip_hi_i64 },
    { "movhpd",    "66 0F 16 /r", "Vq,Mq",   tr_vx_low, IR_V_zip_lo_i64 },
    { "movhpd",    "66 0F 17 /r", "Mq,Vq",   tr_vx_low_store, VX_NUMBER(1) },
    { "movapd",    "66 0F 28 /r", "Vdq,Wdq", tr_vx_move },
    { "movapd",    "66 0F 29 /r", "Wdq,Vdq", tr_vx_move },
    { "cvtpi2pd",  "66 0F 2A /r", "Vdq,Qq",  tr_from_mm, IR_V_s32_f64 },
    { "cvtsi2sd",  "F2 0F 2A /r", "Vsd,Ey",  tr_vx_from_gpr, IR_V_s32_f64_lo },
    { "movntpd",   "66 0F 2B /r", "Mdq,Vdq", tr_vx_move },
    { "cvttpd2pi", "66 0F 2C /r", "Pq,Wdq",  tr_to_mm, IR_V_f64_s32_t },
    { "cvttsd2si", "F2 0F 2C /r", "Gy,Wsd",  tr_vx_to_gpr, IR_V_f64_lo_s32_t },
    { "cvtpd2pi",  "66 0F 2D /r", "Pq,Wdq",  tr_to_mm, IR_V_f64_s32 },
    { "cvtsd2si",  "F2 0F 2D /r", "Gy,Wsd",  tr_vx_to_gpr, IR_V_f64_lo_s32 },
    { "ucomisd",   "66 0F 2E /r", "Vsd,Wsd", tr_vx_order, IR_V_order_q_f64 },
    { "comisd",    "66 0F 2F /r", "Vsd,Wsd", tr_vx_order, IR_V_order_s_f64 },
    { "movmskpd",  "66 0F 50 /r", "Gd,Udq",  tr_vx_mask, IR_V_mask_i64 },
    { "sqrtpd",    "66 0F 51 /r", "Vdq,Wdq", tr_vx1, IR_V_sqrt_f64 },
    SD("sqrt", "51", IR_V_sqrt_lo_f64),
    { "andpd",     "66 0F 54 /r", "Vdq,Wdq", tr_vx2, IR_V_and },
    { "andnpd",    "66 0F 55 /r", "Vdq,Wdq", tr_vx2, IR_V_andn | VX_SWAP },
    { "orpd",      "66 0F 56 /r", "Vdq,Wdq", tr_vx2, IR_V_or },
    { "xorpd",     "66 0F 57 /r", "Vdq,Wdq", tr_vx2, IR_V_xor },
    PD("add", "58", IR_V_add_f64), SD("add", "58", IR_V_add_lo_f64),
    PD("mul", "59", IR_V_mul_f64), SD("mul", "59", IR_V_mul_lo_f64),
    PD("sub", "5C", IR_V_sub_f64), SD("sub", "5C", IR_V_sub_lo_f64),
    PD("min", "5D", IR_V_min_f64), SD("min", "5D", IR_V_min_lo_f64),
    PD("div", "5E", IR_V_div_f64), SD("div", "5E", IR_V_div_lo_f64),
    PD("max", "5F", IR_V_max_f64), SD("max", "5F", IR_V_max_lo_f64),
    { "cvtps2pd",  "NP 0F 5A /r", "Vdq,Wq",  tr_vx1, IR_V_f32_f64 },
    { "cvtpd2ps",  "66 0F 5A /r", "Vdq,Wdq", tr_vx1, IR_V_f64_f32 },
    { "cvtss2sd",  "F3 0F 5A /r", "Vsd,Wss", tr_vx2, IR_V_f32_f64_lo },
    { "cvtsd2ss",  "F2 0F 5A /r", "Vss,Wsd", tr_vx2, IR_V_f64_f32_lo },
    { "cvtdq2ps",  "NP 0F 5B /r", "Vdq,Wdq", tr_vx1, IR_V_s32_f32 },
    { "cvtps2dq",  "66 0F 5B /r", "Vdq,Wdq", tr_vx1, IR_V_f32_s32 },
    { "cvttps2dq", "F3 0F 5B /r", "Vdq,Wdq", tr_vx1, IR_V_f32_s32_t },
    { "cvttpd2dq", "66 0F E6 /r", "Vdq,Wdq", tr_vx1, IR_V_f64_s32_t },
    { "cvtdq2pd",  "F3 0F E6 /r", "Vdq,Wq",  tr_vx1, IR_V_s32_f64 },
    { "cvtpd2dq",  "F2 0F E6 /r", "Vdq,Wdq", tr_vx1, IR_V_f64_s32 },
    IN("punpcklbw",  "60", IR_V_zip_lo_i8),
    IN("punpcklwd",  "61", IR_V_zip_lo_i16),
    IN("punpckldq",  "62", IR_V_zip_lo_i32),
    IN("packsswb",   "63", IR_V_pack_s16_s8),
    IN("pcmpgtb",    "64", IR_V_gt_s8),
    IN("pcmpgtw",    "65", IR_V_gt_s16),
    IN("pcmpgtd",    "66", IR_V_gt_s32),
    IN("packuswb",   "67", IR_V_pack_s16_u8),
    IN("punpckhbw",  "68", IR_V_zip_hi_i8),
    IN("punpckhwd",  "69", IR_V_zip_hi_i16),
    IN("punpckhdq",  "6A", IR_V_zip_hi_i32),
    IN("packssdw",   "6B", IR_V_pack_s32_s16),
    IN("punpcklqdq", "6C", IR_V_zip_lo_i64),
    IN("punpckhqdq", "6D", IR_V_zip_hi_i64),
    { "movd",      "66 0F 6E /r", "Vdq,Ey",  tr_vx_movd },
    { "movd",      "66 0F 7E /r", "Ey,Vdq",  tr_vx_movd_store },
    { "movdqa",    "66 0F 6F /r", "Vdq,Wdq", tr_vx_move },
    { "movdqa",    "66 0F 7F /r", "Wdq,Vdq", tr_vx_move },
    { "movdqu",    "F3 0F 6F /r", "Vdq,Wdq", tr_vx_move, VX_UNALIGNED },
    { "movdqu",    "F3 0F 7F /r", "Wdq,Vdq", tr_vx_move, VX_UNALIGNED },
    { "movq",      "F3 0F 7E /r", "Vq,Wq",   tr_vx_movq },
    { "movq",      "66 0F D6 /r", "Wq,Vq",   tr_vx_movq_store },
    { "movq2dq",   "F3 0F D6 /r", "Vdq,Nq",  tr_movq2dq },
    { "movdq2q",   "F2 0F D6 /r", "Pq,Udq",  tr_movdq2q },
    { "pshufd",    "66 0F 70 /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_i32 },
    { "pshuflw",   "F2 0F 70 /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_lo16 },
    { "pshufhw",   "F3 0F 70 /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_hi16 },
    IN("pcmpeqb",    "74", IR_V_eq_i8),
    IN("pcmpeqw",    "75", IR_V_eq_i16),
    IN("pcmpeqd",    "76", IR_V_eq_i32),
    { "cmppd",     "66 0F C2 /r", "Vdq,Wdq,Ib", tr_vx_cmp, IR_V_cmp_f64 },
    { "cmpsd",     "F2 0F C2 /r", "Vsd,Wsd,Ib", tr_vx_cmp, IR_V_cmp_lo_f64 },
    { "pinsrw",    "66 0F C4 /r", "Vdq,Rd/Mw,Ib", tr_vx_insert, IR_V_set_i16 | VX_NUMBER(8) },
    { "pextrw",    "66 0F C5 /r", "Gd,Udq,Ib", tr_vx_extract, IR_V_get_i16 | VX_NUMBER(8) },
    { "shufpd",    "66 0F C6 /r", "Vdq,Wdq,Ib", tr_vx2, IR_V_shuffle2_i64 },
    IN("psrlw",      "D1", IR_V_shr_i16),
    IN("psrld",      "D2", IR_V_shr_i32),
    IN("psrlq",      "D3", IR_V_shr_i64),
    IN("paddq",      "D4", IR_V_add_i64),
    IN("pmullw",     "D5", IR_V_mul_i16),
    { "pmovmskb",  "66 0F D7 /r", "Gd,Udq",  tr_vx_mask, IR_V_mask_i8 },
    IN("psubusb",    "D8", IR_V_subs_u8),
    IN("psubusw",    "D9", IR_V_subs_u16),
    IN("pminub",     "DA", IR_V_min_u8),
    IN("pand",       "DB", IR_V_and),
    IN("paddusb",    "DC", IR_V_adds_u8),
    IN("paddusw",    "DD", IR_V_adds_u16),
    IN("pmaxub",     "DE", IR_V_max_u8),
    IN("pandn",      "DF", IR_V_andn | VX_SWAP),
    IN("pavgb",      "E0", IR_V_avg_u8),
    IN("psraw",      "E1", IR_V_sar_i16),
    IN("psrad",      "E2", IR_V_sar_i32),
    IN("pavgw",      "E3", IR_V_avg_u16),
    IN("pmulhuw",    "E4", IR_V_mulh_u16),
    IN("pmulhw",     "E5", IR_V_mulh_s16),
    { "movntdq",   "66 0F E7 /r", "Mdq,Vdq", tr_vx_move },
    IN("psubsb",     "E8", IR_V_subs_s8),
    IN("psubsw",     "E9", IR_V_subs_s16),
    IN("pminsw",     "EA", IR_V_min_s16),
    IN("por",        "EB", IR_V_or),
    IN("paddsb",     "EC", IR_V_adds_s8),
    IN("paddsw",     "ED", IR_V_adds_s16),
    IN("pmaxsw",     "EE", IR_V_max_s16),
    IN("pxor",       "EF", IR_V_xor),
    IN("psllw",      "F1", IR_V_shl_i16),
    IN("pslld",      "F2", IR_V_shl_i32),
    IN("psllq",      "F3", IR_V_shl_i64),
    IN("pmuludq",    "F4", IR_V_mul_u32_u64),
    IN("pmaddwd",    "F5", IR_V_madd_s16),
    IN("psadbw",     "F6", IR_V_sad_u8),
    { "maskmovdqu", "66 0F F7 /r", "Vdq,Udq", tr_vx_maskmov },
    IN("psubb",      "F8", IR_V_sub_i8),
    IN("psubw",      "F9", IR_V_sub_i16),
    IN("psubd",      "FA", IR_V_sub_i32),
    IN("psubq",      "FB", IR_V_sub_i64),
    IN("paddb",      "FC", IR_V_add_i8),
    IN("paddw",      "FD", IR_V_add_i16),
    IN("paddd",      "FE", IR_V_add_i32),
    IN_N("psrlw", "71", "2", IR_V_shr_i16_n), IN_N("psraw", "71", "4", IR_V_sar_i16_n),
    IN_N("psllw", "71", "6", IR_V_shl_i16_n), IN_N("psrld", "72", "2", IR_V_shr_i32_n),
    IN_N("psrad", "72", "4", IR_V_sar_i32_n), IN_N("pslld", "72", "6", IR_V_shl_i32_n),
    IN_N("psrlq", "73", "2", IR_V_shr_i64_n), IN_N("psrldq", "73", "3", IR_V_shr_bytes),
    IN_N("psllq", "73", "6", IR_V_shl_i64_n), IN_N("pslldq", "73", "7", IR_V_shl_bytes),
    MM("paddq",     "D4", IR_V_add_i64),
    MM("pmuludq",   "F4", IR_V_mul_u32_u64),
    MM("psubq",     "FB", IR_V_sub_i64),
};

static const struct x86_line sse3[] = {
    { "movsldup",  "F3 0F 12 /r", "Vdq,Wdq", tr_vx_dup, VX_NUMBER(0xa0) },
    { "movshdup",  "F3 0F 16 /r", "Vdq,Wdq", tr_vx_dup, VX_NUMBER(0xf5) },
    { "movddup",   "F2 0F 12 /r", "Vdq,Wq",  tr_vx_dup },
    { "haddpd",    "66 0F 7C /r", "Vdq,Wdq", tr_vx2, IR_V_hadd_f64 },
    { "haddps",    "F2 0F 7C /r", "Vdq,Wdq", tr_vx2, IR_V_hadd_f32 },
    { "hsubpd",    "66 0F 7D /r", "Vdq,Wdq", tr_vx2, IR_V_hsub_f64 },
    { "hsubps",    "F2 0F 7D /r", "Vdq,Wdq", tr_vx2, IR_V_hsub_f32 },
    { "addsubpd",  "66 0F D0 /r", "Vdq,Wdq", tr_vx2, IR_V_addsub_f64 },
    { "addsubps",  "F2 0F D0 /r", "Vdq,Wdq", tr_vx2, IR_V_addsub_f32 },
    { "lddqu",     "F2 0F F0 /r", "Vdq,Mdq", tr_vx_move, VX_UNALIGNED },
};

#define S3(name, code, op) \
    { name, "66 0F 38 " code " /r", "Vdq,Wdq", tr_vx2, (op) & ~VX_PAIR }, \
    { name, "NP 0F 38 " code " /r", "Pq,Qq", tr_mm2, op }
#define S3_1(name, code, op) \
    { name, "66 0F 38 " code " /r", "Vdq,Wdq", tr_vx1, op }, \
    { name, "NP 0F 38 " code " /r", "Pq,Qq", tr_mm1, op }
static const struct x86_line ssse3[] = {
    { "pshufb",    "66 0F 38 00 /r", "Vdq,Wdq", tr_vx2, IR_V_shuffle_i8 },
    { "pshufb",    "NP 0F 38 00 /r", "Pq,Qq",   tr_mm_pshufb },
    S3("phaddw",    "01", IR_V_hadd_i16 | VX_PAIR),
    S3("phaddd",    "02", IR_V_hadd_i32 | VX_PAIR),
    S3("phaddsw",   "03", IR_V_hadds_s16 | VX_PAIR),
    S3("pmaddubsw", "04", IR_V_madds_u8_s8),
    S3("phsubw",    "05", IR_V_hsub_i16 | VX_PAIR),
    S3("phsubd",    "06", IR_V_hsub_i32 | VX_PAIR),
    S3("phsubsw",   "07", IR_V_hsubs_s16 | VX_PAIR),
    S3("psignb",    "08", IR_V_sign_i8),
    S3("psignw",    "09", IR_V_sign_i16),
    S3("psignd",    "0A", IR_V_sign_i32),
    S3("pmulhrsw",  "0B", IR_V_mulhr_s16),
    S3_1("pabsb",   "1C", IR_V_abs_i8),
    S3_1("pabsw",   "1D", IR_V_abs_i16),
    S3_1("pabsd",   "1E", IR_V_abs_i32),
    { "palignr",   "66 0F 3A 0F /r", "Vdq,Wdq,Ib", tr_vx2, IR_V_align_bytes },
    { "palignr",   "NP 0F 3A 0F /r", "Pq,Qq,Ib",   tr_mm_palignr },
};

#define S4(name, code, op)     { name, "66 0F 38 " code " /r", "Vdq,Wdq", tr_vx2, op }
#define S4_N(name, code, op)   { name, "66 0F 3A " code " /r", "Vdq,Wdq,Ib", tr_vx2, op }
#define WIDEN(name, code, w, op) { name, "66 0F 38 " code " /r", "Vdq," w, tr_vx1, op }
static const struct x86_line sse41[] = {
    { "pblendvb",  "66 0F 38 10 /r", "Vdq,Wdq", tr_vx_select, IR_V_select_i8 },
    { "blendvps",  "66 0F 38 14 /r", "Vdq,Wdq", tr_vx_select, IR_V_select_i32 },
    { "blendvpd",  "66 0F 38 15 /r", "Vdq,Wdq", tr_vx_select, IR_V_select_i64 },
    { "ptest",     "66 0F 38 17 /r", "Vdq,Wdq", tr_vx_test },
    WIDEN("pmovsxbw", "20", "Wq", IR_V_widen_s8_16),  WIDEN("pmovsxbd", "21", "Wd", IR_V_widen_s8_32),
    WIDEN("pmovsxbq", "22", "Ww", IR_V_widen_s8_64),  WIDEN("pmovsxwd", "23", "Wq", IR_V_widen_s16_32),
    WIDEN("pmovsxwq", "24", "Wd", IR_V_widen_s16_64), WIDEN("pmovsxdq", "25", "Wq", IR_V_widen_s32_64),
    WIDEN("pmovzxbw", "30", "Wq", IR_V_widen_u8_16),  WIDEN("pmovzxbd", "31", "Wd", IR_V_widen_u8_32),
    WIDEN("pmovzxbq", "32", "Ww", IR_V_widen_u8_64),  WIDEN("pmovzxwd", "33", "Wq", IR_V_widen_u16_32),
    WIDEN("pmovzxwq", "34", "Wd", IR_V_widen_u16_64), WIDEN("pmovzxdq", "35", "Wq", IR_V_widen_u32_64),
    S4("pmuldq",    "28", IR_V_mul_s32_s64),
    S4("pcmpeqq",   "29", IR_V_eq_i64),
    { "movntdqa",  "66 0F 38 2A /r", "Vdq,Mdq", tr_vx_move },
    S4("packusdw",  "2B", IR_V_pack_s32_u16),
    S4("pminsb",    "38", IR_V_min_s8),
    S4("pminsd",    "39", IR_V_min_s32),
    S4("pminuw",    "3A", IR_V_min_u16),
    S4("pminud",    "3B", IR_V_min_u32),
    S4("pmaxsb",    "3C", IR_V_max_s8),
    S4("pmaxsd",    "3D", IR_V_max_s32),
    S4("pmaxuw",    "3E", IR_V_max_u16),
    S4("pmaxud",    "3F", IR_V_max_u32),
    S4("pmulld",    "40", IR_V_mul_i32),
    { "phminposuw", "66 0F 38 41 /r", "Vdq,Wdq", tr_vx1, IR_V_least_u16 },
    { "roundps",   "66 0F 3A 08 /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_round_f32 },
    { "roundpd",   "66 0F 3A 09 /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_round_f64 },
    { "roundss",   "66 0F 3A 0A /r", "Vss,Wss,Ib", tr_vx2, IR_V_round_lo_f32 },
    { "roundsd",   "66 0F 3A 0B /r", "Vsd,Wsd,Ib", tr_vx2, IR_V_round_lo_f64 },
    S4_N("blendps",   "0C", IR_V_blend_i32),
    S4_N("blendpd",   "0D", IR_V_blend_i64),
    S4_N("pblendw",   "0E", IR_V_blend_i16),
    { "pextrb",    "66 0F 3A 14 /r", "Rd/Mb,Vdq,Ib", tr_vx_extract, IR_V_get_i8 | VX_NUMBER(16) },
    { "pextrw",    "66 0F 3A 15 /r", "Rd/Mw,Vdq,Ib", tr_vx_extract, IR_V_get_i16 | VX_NUMBER(8) },
    { "pextrd",    "66 0F 3A 16 /r", "Ed,Vdq,Ib", tr_vx_extract, IR_V_get_i32 | VX_NUMBER(4) },
    { "pextrq",    "66 REX.W 0F 3A 16 /r", "Eq,Vdq,Ib", tr_vx_extract, IR_V_get_i64 | VX_NUMBER(2) },
    { "extractps", "66 0F 3A 17 /r", "Ed,Vdq,Ib", tr_vx_extract, IR_V_get_i32 | VX_NUMBER(4) },
    { "pinsrb",    "66 0F 3A 20 /r", "Vdq,Rd/Mb,Ib", tr_vx_insert, IR_V_set_i8 | VX_NUMBER(16) },
    { "insertps",  "66 0F 3A 21 /r", "Vdq,Wd,Ib", tr_insertps },
    { "pinsrd",    "66 0F 3A 22 /r", "Vdq,Ed,Ib", tr_vx_insert, IR_V_set_i32 | VX_NUMBER(4) },
    { "pinsrq",    "66 REX.W 0F 3A 22 /r", "Vdq,Eq,Ib", tr_vx_insert, IR_V_set_i64 | VX_NUMBER(2) },
    { "dpps",      "66 0F 3A 40 /r", "Vdq,Wdq,Ib", tr_vx_dot, IR_V_dot_f32 },
    { "dppd",      "66 0F 3A 41 /r", "Vdq,Wdq,Ib", tr_vx_dot, IR_V_dot_f64 },
    S4_N("mpsadbw",   "42", IR_V_sad4_u8),
};

static const struct x86_line sse42[] = {
    S4("pcmpgtq",   "37", IR_V_gt_s64),
    { "pcmpestrm", "66 0F 3A 60 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(3) },
    { "pcmpestri", "66 0F 3A 61 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(1) },
    { "pcmpistrm", "66 0F 3A 62 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(2) },
    { "pcmpistri", "66 0F 3A 63 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(0) },
};

static const struct x86_line aes[] = {
    { "aesimc",     "66 0F 38 DB /r", "Vdq,Wdq", tr_vx1, IR_V_aes_imc },
    S4("aesenc",     "DC", IR_V_aes_enc),
    S4("aesenclast", "DD", IR_V_aes_enc_last),
    S4("aesdec",     "DE", IR_V_aes_dec),
    S4("aesdeclast", "DF", IR_V_aes_dec_last),
    { "aeskeygenassist", "66 0F 3A DF /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_aes_keygen },
};

static const struct x86_line clmul[] = {
    S4_N("pclmulqdq", "44", IR_V_clmul),
};

/* AMD's CPUs take memory as it is. */
#define SHA(name, code, op) { name, "NP 0F 38 " code " /r", "Vdq,Wdq", tr_vx2, (op) | VX_UNALIGNED }
static const struct x86_line sha[] = {
    SHA("sha1nexte",   "C8", IR_V_sha1_next_e),
    SHA("sha1msg1",    "C9", IR_V_sha1_msg1),
    SHA("sha1msg2",    "CA", IR_V_sha1_msg2),
    { "sha256rnds2", "NP 0F 38 CB /r", "Vdq,Wdq", tr_sha256rnds2, VX_UNALIGNED },
    SHA("sha256msg1",  "CC", IR_V_sha256_msg1),
    SHA("sha256msg2",  "CD", IR_V_sha256_msg2),
    { "sha1rnds4",   "NP 0F 3A CC /r", "Vdq,Wdq,Ib", tr_vx2, IR_V_sha1_rounds | VX_UNALIGNED },
};

/* clang-format on */
const struct x86_insn_table x86_sse_tables[] = {
    X86_INSNS(mmx, X86_1_EDX, 23),
    X86_INSNS(sse, X86_1_EDX, 25),
    X86_INSNS(sse2, X86_1_EDX, 26),
    X86_INSNS(sse3, X86_1_ECX, 0),
    X86_INSNS(clmul, X86_1_ECX, 1),
    X86_INSNS(ssse3, X86_1_ECX, 9),
    X86_INSNS(sse41, X86_1_ECX, 19),
    X86_INSNS(sse42, X86_1_ECX, 20),
    X86_INSNS(aes, X86_1_ECX, 25),
    X86_INSNS(sha, X86_7_EBX, 29),
    { 0 },
};
