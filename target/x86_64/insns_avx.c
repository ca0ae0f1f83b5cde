/* AVX, AVX2, FMA, F16C. What SSE has too is in vector_operands.c, with how 256 bits are done. */
#include "target/x86_64/flags.h"
#include "target/x86_64/vector.h"

/* ---- halves ---------------------------------------------------------------------------------------------- */

/* Shifts by a constant: VEX.vvvv is the destination. */
static void tr_avx_shift_n(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx a = vx_read(t, i, 1, false);
    vx_write(t, i, 0, vx_each(t, VX_OP_OF(i), a, VX_NONE, VX_NONE, vx_imm(i)), false);
}

/* VPERMILPD with a constant: lanes of one operand. */
static void tr_vpermilpd_n(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx a = vx_read(t, i, 1, false);
    vx_write(t, i, 0, vx_each(t, IR_V_shuffle2_i64, a, a, VX_NONE, vx_imm(i) & 15), false);
}

/* Half `sel` of a:b as VPERM2F128 numbers them; bit 3: zero. */
static ir_val choose_half(struct tr *t, struct vx a, struct vx b, unsigned sel)
{
    const ir_val halves[4] = { a.lo, a.hi, b.lo, b.hi };
    return sel & 8 ? vx_zero(t) : halves[sel & 3];
}

static void tr_vperm2f128(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx b = vx_read(t, i, 2, false), a = vx_read(t, i, 1, false);
    struct vx r = { choose_half(t, a, b, vx_imm(i)), choose_half(t, a, b, vx_imm(i) >> 4) };
    vx_write(t, i, 0, r, false);
}

static void tr_vinsertf128(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val b = vx_read(t, i, 2, false).lo;
    struct vx r = vx_read(t, i, 1, false);
    if (vx_imm(i) & 1)
        r.hi = b;
    else
        r.lo = b;
    vx_write(t, i, 0, r, false);
}

static void tr_vextractf128(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx a = vx_read(t, i, 1, false);
    vx_write(t, i, 0, (struct vx){ vx_imm(i) & 1 ? a.hi : a.lo, IR_NONE }, false);
}

/* Lane n of the four of a. */
static ir_val pair_of(struct tr *t, struct vx a, unsigned first, unsigned second)
{
    return vx_op2n(t, IR_V_shuffle2_i64, first & 2 ? a.hi : a.lo, second & 2 ? a.hi : a.lo,
                   (first & 1) | (second & 1) << 1);
}

/* VPERMQ, VPERMPD */
static void tr_vpermq(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    unsigned n = vx_imm(i);
    struct vx a = vx_read(t, i, 1, false);
    struct vx r = { pair_of(t, a, n & 3, n >> 2 & 3), pair_of(t, a, n >> 4 & 3, n >> 6 & 3) };
    vx_write(t, i, 0, r, false);
}

/* Four lanes of the eight of a, by the low three bits of each lane of at: from both halves, bit 2 decides. */
static ir_val permute8(struct tr *t, struct vx a, ir_val at)
{
    return ir_vec(t->ir, IR_V_select_i32, vx_op(t, IR_V_permute_i32, a.lo, at),
                  vx_op(t, IR_V_permute_i32, a.hi, at), vx_op1n(t, IR_V_shl_i32_n, at, 29), 0);
}

/* VPERMD, VPERMPS: the indices are the first source. */
static void tr_vpermd(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct vx a = vx_read(t, i, 2, false), at = vx_read(t, i, 1, false);
    vx_write(t, i, 0, (struct vx){ permute8(t, a, at.lo), permute8(t, a, at.hi) }, false);
}

enum { SPLAT_8, SPLAT_16, SPLAT_32, SPLAT_64, SPLAT_128 };

static void tr_broadcast(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    ir_val v = vx_read(t, i, 1, false).lo;
    switch (VX_NUMBER_OF(i)) {
    case SPLAT_8: v = vx_op1(t, IR_V_splat_i8, v); break;
    case SPLAT_16: v = vx_op1(t, IR_V_splat_i16, v); break;
    case SPLAT_32: v = vx_op1n(t, IR_V_shuffle_i32, v, 0); break;
    case SPLAT_64: v = vx_op(t, IR_V_zip_lo_i64, v, v); break;
    }
    vx_write(t, i, 0, (struct vx){ v, i->op[0].size == 32 ? v : IR_NONE }, false);
}

static void tr_vinsertps(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    bool mem = i->op[2].kind == X86_OP_MEM;
    ir_val b = vx_read(t, i, 2, false).lo, a = vx_reg(t, i->op[1].reg);
    unsigned n = vx_imm(i) & (mem ? 0x3f : 0xff);
    vx_write(t, i, 0, (struct vx){ vx_op2n(t, IR_V_insert_i32, a, b, n), IR_NONE }, false);
}

static void tr_vzeroupper(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    for (unsigned n = 0; n < (t->flags & X86_TR_CODE64 ? 16 : 8); n++) {
        ir_set(t->ir, X86_SLOT_Y + n, vx_zero(t));
        if (i->vex_l)
            ir_set(t->ir, X86_SLOT_X + n, vx_zero(t));
    }
}

/* ---- fused sums: the number is the form, 0 for 132, 1 for 213, 2 for 231 --------------------------------- */

static void tr_fma(struct tr *t, const struct x86_insn *i)
{
    static const uint8_t places[3][3] = { { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 } }; /* of a, b, c */
    if (!vx_enabled(t, i))
        return;
    unsigned form = VX_NUMBER_OF(i);
    struct vx v[3];
    v[2] = vx_read(t, i, 2, false);
    v[1] = vx_read(t, i, 1, false);
    v[0] = vx_read(t, i, 0, false);
    struct vx a = v[places[form][0]], b = v[places[form][1]], c = v[places[form][2]];
    ir_val begun = vx_float_begin(t, VX_OP_OF(i));
    struct vx r = vx_each(t, VX_OP_OF(i), a, b, c, form);
    vx_float_end(t, begun);
    vx_write(t, i, 0, r, false);
}

/* ---- memory by mask ------------------------------------------------------------------------------------------ */

/* VMASKMOVPS, VPMASKMOVD and so on; the number is the size of an element. What a helper does: data, mask,
 * size of an element, number of elements. */
static uint64_t masked_how(const struct x86_insn *i, unsigned data, unsigned mask, unsigned size)
{
    unsigned bytes = i->vex_l ? 32 : 16;
    return data | mask << 4 | size << 8 | bytes / size << 12;
}

static void tr_masked_load(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct x86_mem m = mem_operand(t, i, i->op[2].size, false);
    uint64_t how = masked_how(i, i->op[0].reg, i->op[1].reg, VX_NUMBER_OF(i));
    ir_call(t->ir, &x86_helper_masked_load, mem_address(t, m),
            ir_i64(t->ir, (int64_t)(how | (uint64_t)m.mode << 20)), IR_NONE, IR_NONE);
}

static void tr_masked_store(struct tr *t, const struct x86_insn *i)
{
    if (!vx_enabled(t, i))
        return;
    struct x86_mem m = mem_operand(t, i, i->op[0].size, true);
    uint64_t how = masked_how(i, i->op[2].reg, i->op[1].reg, VX_NUMBER_OF(i));
    ir_call(t->ir, &x86_helper_masked_store, mem_address(t, m),
            ir_i64(t->ir, (int64_t)(how | (uint64_t)m.mode << 20)), IR_NONE, IR_NONE);
}

/* The number: bytes of an element, of an index << 4. Registers must differ (SDM: VPGATHERDD). */
static void tr_gather(struct tr *t, const struct x86_insn *i)
{
    unsigned dst = i->op[0].reg, mask = i->op[2].reg, size = VX_NUMBER_OF(i) & 15;
    unsigned index_size = VX_NUMBER_OF(i) >> 4, widest = size > index_size ? size : index_size;
    if (!vx_enabled(t, i))
        return;
    if (dst == mask || dst == i->index || mask == i->index) {
        tr_fault(t, X86_UD);
        return;
    }
    struct x86_insn base = *i;
    base.index = X86_REG_NONE;
    unsigned n = (i->vex_l ? 32 : 16) / widest;
    uint64_t how = dst | mask << 4 | i->index << 8 | i->scale << 12 | size << 16 |
                   index_size << 20 | n << 24 | (uint64_t)i->asize << 32 | (uint64_t)i->seg << 36;
    ir_call(t->ir, &x86_helper_gather, mem_effective(t, &base), ir_i64(t->ir, (int64_t)how),
            IR_NONE, IR_NONE);
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

/* clang-format off */
/* Packed and scalar floats. */
#define VP(name, code, f32, f64) \
    { name "ps", "VEX.NP.0F " code " /r", "Vx,Hx,Wx", tr_vx2, f32 }, \
    { name "pd", "VEX.66.0F " code " /r", "Vx,Hx,Wx", tr_vx2, f64 }
#define VS(name, code, f32, f64) \
    { name "ss", "VEX.LIG.F3.0F " code " /r", "Vss,Hss,Wss", tr_vx2, f32 }, \
    { name "sd", "VEX.LIG.F2.0F " code " /r", "Vsd,Hsd,Wsd", tr_vx2, f64 }
#define FOUR(name, code, op) \
    VP(name, code, IR_V_##op##_f32, IR_V_##op##_f64), VS(name, code, IR_V_##op##_lo_f32, IR_V_##op##_lo_f64)
#define V1(name, code, op) { name, "VEX." code " /r", "Vx,Wx", tr_vx1, op }
#define V1N(name, code, op) { name, "VEX." code " /r", "Vx,Wx,Ib", tr_vx1, op }
#define V2(name, code, op) { name, "VEX." code " /r", "Vx,Hx,Wx", tr_vx2, op }
#define V2N(name, code, op) { name, "VEX." code " /r", "Vx,Hx,Wx,Ib", tr_vx2, op }
#define LOAD_STORE(name, pp, load, store, op) \
    { name, "VEX." pp ".0F " load " /r", "Vx,Wx", tr_vx_move, op }, \
    { name, "VEX." pp ".0F " store " /r", "Wx,Vx", tr_vx_move, op }

/* Integers: 128 bits with AVX, 256 with AVX2. */
#define INTEGERS(M) \
    M("vpunpcklbw", "0F 60", IR_V_zip_lo_i8), M("vpunpcklwd", "0F 61", IR_V_zip_lo_i16), \
    M("vpunpckldq", "0F 62", IR_V_zip_lo_i32), M("vpacksswb", "0F 63", IR_V_pack_s16_s8), \
    M("vpcmpgtb", "0F 64", IR_V_gt_s8), M("vpcmpgtw", "0F 65", IR_V_gt_s16), \
    M("vpcmpgtd", "0F 66", IR_V_gt_s32), M("vpackuswb", "0F 67", IR_V_pack_s16_u8), \
    M("vpunpckhbw", "0F 68", IR_V_zip_hi_i8), M("vpunpckhwd", "0F 69", IR_V_zip_hi_i16), \
    M("vpunpckhdq", "0F 6A", IR_V_zip_hi_i32), M("vpackssdw", "0F 6B", IR_V_pack_s32_s16), \
    M("vpunpcklqdq", "0F 6C", IR_V_zip_lo_i64), M("vpunpckhqdq", "0F 6D", IR_V_zip_hi_i64), \
    M("vpcmpeqb", "0F 74", IR_V_eq_i8), M("vpcmpeqw", "0F 75", IR_V_eq_i16), \
    M("vpcmpeqd", "0F 76", IR_V_eq_i32), M("vpaddq", "0F D4", IR_V_add_i64), \
    M("vpmullw", "0F D5", IR_V_mul_i16), M("vpsubusb", "0F D8", IR_V_subs_u8), \
    M("vpsubusw", "0F D9", IR_V_subs_u16), M("vpminub", "0F DA", IR_V_min_u8), \
    M("vpand", "0F DB", IR_V_and), M("vpaddusb", "0F DC", IR_V_adds_u8), \
    M("vpaddusw", "0F DD", IR_V_adds_u16), M("vpmaxub", "0F DE", IR_V_max_u8), \
    M("vpandn", "0F DF", IR_V_andn | VX_SWAP), M("vpavgb", "0F E0", IR_V_avg_u8), \
    M("vpavgw", "0F E3", IR_V_avg_u16), M("vpmulhuw", "0F E4", IR_V_mulh_u16), \
    M("vpmulhw", "0F E5", IR_V_mulh_s16), M("vpsubsb", "0F E8", IR_V_subs_s8), \
    M("vpsubsw", "0F E9", IR_V_subs_s16), M("vpminsw", "0F EA", IR_V_min_s16), \
    M("vpor", "0F EB", IR_V_or), M("vpaddsb", "0F EC", IR_V_adds_s8), \
    M("vpaddsw", "0F ED", IR_V_adds_s16), M("vpmaxsw", "0F EE", IR_V_max_s16), \
    M("vpxor", "0F EF", IR_V_xor), M("vpmuludq", "0F F4", IR_V_mul_u32_u64), \
    M("vpmaddwd", "0F F5", IR_V_madd_s16), M("vpsadbw", "0F F6", IR_V_sad_u8), \
    M("vpsubb", "0F F8", IR_V_sub_i8), M("vpsubw", "0F F9", IR_V_sub_i16), \
    M("vpsubd", "0F FA", IR_V_sub_i32), M("vpsubq", "0F FB", IR_V_sub_i64), \
    M("vpaddb", "0F FC", IR_V_add_i8), M("vpaddw", "0F FD", IR_V_add_i16), \
    M("vpaddd", "0F FE", IR_V_add_i32), M("vpshufb", "0F38 00", IR_V_shuffle_i8), \
    M("vphaddw", "0F38 01", IR_V_hadd_i16), M("vphaddd", "0F38 02", IR_V_hadd_i32), \
    M("vphaddsw", "0F38 03", IR_V_hadds_s16), M("vpmaddubsw", "0F38 04", IR_V_madds_u8_s8), \
    M("vphsubw", "0F38 05", IR_V_hsub_i16), M("vphsubd", "0F38 06", IR_V_hsub_i32), \
    M("vphsubsw", "0F38 07", IR_V_hsubs_s16), M("vpsignb", "0F38 08", IR_V_sign_i8), \
    M("vpsignw", "0F38 09", IR_V_sign_i16), M("vpsignd", "0F38 0A", IR_V_sign_i32), \
    M("vpmulhrsw", "0F38 0B", IR_V_mulhr_s16), M("vpmuldq", "0F38 28", IR_V_mul_s32_s64), \
    M("vpcmpeqq", "0F38 29", IR_V_eq_i64), M("vpackusdw", "0F38 2B", IR_V_pack_s32_u16), \
    M("vpcmpgtq", "0F38 37", IR_V_gt_s64), M("vpminsb", "0F38 38", IR_V_min_s8), \
    M("vpminsd", "0F38 39", IR_V_min_s32), M("vpminuw", "0F38 3A", IR_V_min_u16), \
    M("vpminud", "0F38 3B", IR_V_min_u32), M("vpmaxsb", "0F38 3C", IR_V_max_s8), \
    M("vpmaxsd", "0F38 3D", IR_V_max_s32), M("vpmaxuw", "0F38 3E", IR_V_max_u16), \
    M("vpmaxud", "0F38 3F", IR_V_max_u32), M("vpmulld", "0F38 40", IR_V_mul_i32)
#define INTEGERS_N(M) /* two operands and a constant */ \
    M("vpblendw", "0F3A 0E", IR_V_blend_i16), M("vpalignr", "0F3A 0F", IR_V_align_bytes), \
    M("vmpsadbw", "0F3A 42", IR_V_sad4_u8)
#define INTEGERS_1(M) \
    M("vpabsb", "0F38 1C", IR_V_abs_i8), M("vpabsw", "0F38 1D", IR_V_abs_i16), \
    M("vpabsd", "0F38 1E", IR_V_abs_i32)
#define SHIFTS(M) /* the count is 128 bits */ \
    M("vpsrlw", "D1", IR_V_shr_i16), M("vpsrld", "D2", IR_V_shr_i32), M("vpsrlq", "D3", IR_V_shr_i64), \
    M("vpsraw", "E1", IR_V_sar_i16), M("vpsrad", "E2", IR_V_sar_i32), M("vpsllw", "F1", IR_V_shl_i16), \
    M("vpslld", "F2", IR_V_shl_i32), M("vpsllq", "F3", IR_V_shl_i64)
#define SHIFTS_N(M) \
    M("vpsrlw", "71 /2", IR_V_shr_i16_n), M("vpsraw", "71 /4", IR_V_sar_i16_n), \
    M("vpsllw", "71 /6", IR_V_shl_i16_n), M("vpsrld", "72 /2", IR_V_shr_i32_n), \
    M("vpsrad", "72 /4", IR_V_sar_i32_n), M("vpslld", "72 /6", IR_V_shl_i32_n), \
    M("vpsrlq", "73 /2", IR_V_shr_i64_n), M("vpsrldq", "73 /3", IR_V_shr_bytes), \
    M("vpsllq", "73 /6", IR_V_shl_i64_n), M("vpslldq", "73 /7", IR_V_shl_bytes)
/* Half the source and what it takes from memory: of 128, of 256 bits. */
#define WIDENS(M) \
    M("vpmovsxbw", "20", "Wq", "Wdq", 8, IR_V_widen_s8_16), M("vpmovsxbd", "21", "Wd", "Wq", 4, IR_V_widen_s8_32), \
    M("vpmovsxbq", "22", "Ww", "Wd", 2, IR_V_widen_s8_64), M("vpmovsxwd", "23", "Wq", "Wdq", 8, IR_V_widen_s16_32), \
    M("vpmovsxwq", "24", "Wd", "Wq", 4, IR_V_widen_s16_64), M("vpmovsxdq", "25", "Wq", "Wdq", 8, IR_V_widen_s32_64), \
    M("vpmovzxbw", "30", "Wq", "Wdq", 8, IR_V_widen_u8_16), M("vpmovzxbd", "31", "Wd", "Wq", 4, IR_V_widen_u8_32), \
    M("vpmovzxbq", "32", "Ww", "Wd", 2, IR_V_widen_u8_64), M("vpmovzxwd", "33", "Wq", "Wdq", 8, IR_V_widen_u16_32), \
    M("vpmovzxwq", "34", "Wd", "Wq", 4, IR_V_widen_u16_64), M("vpmovzxdq", "35", "Wq", "Wdq", 8, IR_V_widen_u32_64)

#define X128(name, code, op)    { name, "VEX.128.66." code " /r", "Vdq,Hdq,Wdq", tr_vx2, op }
#define X128_N(name, code, op)  { name, "VEX.128.66." code " /r", "Vdq,Hdq,Wdq,Ib", tr_vx2, op }
#define X128_1(name, code, op)  { name, "VEX.128.66." code " /r", "Vdq,Wdq", tr_vx1, op }
#define X128_S(name, code, op)  { name, "VEX.128.66.0F " code " /r", "Vdq,Hdq,Wdq", tr_vx2, op }
#define X128_SN(name, code, op) { name, "VEX.128.66.0F " code, "Hdq,Udq,Ib", tr_avx_shift_n, op }
#define X128_W(name, code, w, w2, half, op) \
    { name, "VEX.128.66.0F38 " code " /r", "Vdq," w, tr_vx_widen, (op) | VX_NUMBER(half) }
#define X256(name, code, op)    { name, "VEX.256.66." code " /r", "Vqq,Hqq,Wqq", tr_vx2, op }
#define X256_N(name, code, op)  { name, "VEX.256.66." code " /r", "Vqq,Hqq,Wqq,Ib", tr_vx2, op }
#define X256_1(name, code, op)  { name, "VEX.256.66." code " /r", "Vqq,Wqq", tr_vx1, op }
#define X256_S(name, code, op)  { name, "VEX.256.66.0F " code " /r", "Vqq,Hqq,Wdq", tr_vx2, op }
#define X256_SN(name, code, op) { name, "VEX.256.66.0F " code, "Hqq,Uqq,Ib", tr_avx_shift_n, op }
#define X256_W(name, code, w, w2, half, op) \
    { name, "VEX.256.66.0F38 " code " /r", "Vqq," w2, tr_vx_widen, (op) | VX_NUMBER(half) }

static const struct x86_line avx[] = {
    LOAD_STORE("vmovups", "NP", "10", "11", VX_UNALIGNED),
    LOAD_STORE("vmovupd", "66", "10", "11", VX_UNALIGNED),
    LOAD_STORE("vmovaps", "NP", "28", "29", 0),
    LOAD_STORE("vmovapd", "66", "28", "29", 0),
    LOAD_STORE("vmovdqa", "66", "6F", "7F", 0),
    LOAD_STORE("vmovdqu", "F3", "6F", "7F", VX_UNALIGNED),
    { "vlddqu",    "VEX.F2.0F F0 /r",       "Vx,Mx", tr_vx_move, VX_UNALIGNED },
    { "vmovntps",  "VEX.NP.0F 2B /r",       "Mx,Vx", tr_vx_move },
    { "vmovntpd",  "VEX.66.0F 2B /r",       "Mx,Vx", tr_vx_move },
    { "vmovntdq",  "VEX.66.0F E7 /r",       "Mx,Vx", tr_vx_move },
    { "vmovntdqa", "VEX.128.66.0F38 2A /r", "Vdq,Mdq", tr_vx_move },
    { "vmovss",    "VEX.LIG.F3.0F 10 /r",   "Vss,Mss", tr_vx_scalar, IR_V_merge_i32 },
    { "vmovss",    "VEX.LIG.F3.0F 10 /r",   "Vss,Hss,Uss", tr_vx_scalar, IR_V_merge_i32 },
    { "vmovss",    "VEX.LIG.F3.0F 11 /r",   "Mss,Vss", tr_vx_scalar, IR_V_merge_i32 },
    { "vmovss",    "VEX.LIG.F3.0F 11 /r",   "Uss,Hss,Vss", tr_vx_scalar, IR_V_merge_i32 },
    { "vmovsd",    "VEX.LIG.F2.0F 10 /r",   "Vsd,Msd", tr_vx_scalar, IR_V_merge_i64 },
    { "vmovsd",    "VEX.LIG.F2.0F 10 /r",   "Vsd,Hsd,Usd", tr_vx_scalar, IR_V_merge_i64 },
    { "vmovsd",    "VEX.LIG.F2.0F 11 /r",   "Msd,Vsd", tr_vx_scalar, IR_V_merge_i64 },
    { "vmovsd",    "VEX.LIG.F2.0F 11 /r",   "Usd,Hsd,Vsd", tr_vx_scalar, IR_V_merge_i64 },
    { "vmovlps",   "VEX.128.NP.0F 12 /r",   "Vdq,Hdq,Mq", tr_vx_low, IR_V_merge_i64 },
    { "vmovhlps",  "VEX.128.NP.0F 12 /r",   "Vdq,Hdq,Uq", tr_vx_movhlps },
    { "vmovlps",   "VEX.128.NP.0F 13 /r",   "Mq,Vdq", tr_vx_low_store },
    { "vmovlpd",   "VEX.128.66.0F 12 /r",   "Vdq,Hdq,Mq", tr_vx_low, IR_V_merge_i64 },
    { "vmovlpd",   "VEX.128.66.0F 13 /r",   "Mq,Vdq", tr_vx_low_store },
    { "vmovhps",   "VEX.128.NP.0F 16 /r",   "Vdq,Hdq,Mq", tr_vx_low, IR_V_zip_lo_i64 },
    { "vmovlhps",  "VEX.128.NP.0F 16 /r",   "Vdq,Hdq,Uq", tr_vx_low, IR_V_zip_lo_i64 },
    { "vmovhps",   "VEX.128.NP.0F 17 /r",   "Mq,Vdq", tr_vx_low_store, VX_NUMBER(1) },
    { "vmovhpd",   "VEX.128.66.0F 16 /r",   "Vdq,Hdq,Mq", tr_vx_low, IR_V_zip_lo_i64 },
    { "vmovhpd",   "VEX.128.66.0F 17 /r",   "Mq,Vdq", tr_vx_low_store, VX_NUMBER(1) },
    { "vmovsldup", "VEX.F3.0F 12 /r",       "Vx,Wx", tr_vx_dup, VX_NUMBER(0xa0) },
    { "vmovshdup", "VEX.F3.0F 16 /r",       "Vx,Wx", tr_vx_dup, VX_NUMBER(0xf5) },
    { "vmovddup",  "VEX.128.F2.0F 12 /r",   "Vdq,Wq", tr_vx_dup },
    { "vmovddup",  "VEX.256.F2.0F 12 /r",   "Vqq,Wqq", tr_vx_dup },
    { "vmovd",     "VEX.128.66.0F 6E /r",   "Vdq,Ey", tr_vx_movd },
    { "vmovd",     "VEX.128.66.0F 7E /r",   "Ey,Vdq", tr_vx_movd_store },
    { "vmovq",     "VEX.128.F3.0F 7E /r",   "Vdq,Wq", tr_vx_movq },
    { "vmovq",     "VEX.128.66.0F D6 /r",   "Wq,Vdq", tr_vx_movq_store },
    V2("vunpcklps", "NP.0F 14", IR_V_zip_lo_i32), V2("vunpcklpd", "66.0F 14", IR_V_zip_lo_i64),
    V2("vunpckhps", "NP.0F 15", IR_V_zip_hi_i32), V2("vunpckhpd", "66.0F 15", IR_V_zip_hi_i64),
    VP("vand",  "54", IR_V_and, IR_V_and),
    VP("vandn", "55", IR_V_andn | VX_SWAP, IR_V_andn | VX_SWAP),
    VP("vor",   "56", IR_V_or, IR_V_or),
    VP("vxor",  "57", IR_V_xor, IR_V_xor),
    FOUR("vadd", "58", add), FOUR("vmul", "59", mul), FOUR("vsub", "5C", sub),
    FOUR("vmin", "5D", min), FOUR("vdiv", "5E", div), FOUR("vmax", "5F", max),
    V1("vsqrtps",  "NP.0F 51", IR_V_sqrt_f32), V1("vsqrtpd", "66.0F 51", IR_V_sqrt_f64),
    VS("vsqrt", "51", IR_V_sqrt_lo_f32, IR_V_sqrt_lo_f64),
    V1("vrsqrtps", "NP.0F 52", IR_V_rsqrt_f32), V1("vrcpps", "NP.0F 53", IR_V_rcp_f32),
    { "vrsqrtss",  "VEX.LIG.F3.0F 52 /r", "Vss,Hss,Wss", tr_vx2, IR_V_rsqrt_lo_f32 },
    { "vrcpss",    "VEX.LIG.F3.0F 53 /r", "Vss,Hss,Wss", tr_vx2, IR_V_rcp_lo_f32 },
    V2("vhaddpd",   "66.0F 7C", IR_V_hadd_f64), V2("vhaddps", "F2.0F 7C", IR_V_hadd_f32),
    V2("vhsubpd",   "66.0F 7D", IR_V_hsub_f64), V2("vhsubps", "F2.0F 7D", IR_V_hsub_f32),
    V2("vaddsubpd", "66.0F D0", IR_V_addsub_f64), V2("vaddsubps", "F2.0F D0", IR_V_addsub_f32),
    { "vcmpps",    "VEX.NP.0F C2 /r",     "Vx,Hx,Wx,Ib", tr_vx_cmp, IR_V_cmp_f32 },
    { "vcmppd",    "VEX.66.0F C2 /r",     "Vx,Hx,Wx,Ib", tr_vx_cmp, IR_V_cmp_f64 },
    { "vcmpss",    "VEX.LIG.F3.0F C2 /r", "Vss,Hss,Wss,Ib", tr_vx_cmp, IR_V_cmp_lo_f32 },
    { "vcmpsd",    "VEX.LIG.F2.0F C2 /r", "Vsd,Hsd,Wsd,Ib", tr_vx_cmp, IR_V_cmp_lo_f64 },
    { "vucomiss",  "VEX.LIG.NP.0F 2E /r", "Vss,Wss", tr_vx_order, IR_V_order_q_f32 },
    { "vucomisd",  "VEX.LIG.66.0F 2E /r", "Vsd,Wsd", tr_vx_order, IR_V_order_q_f64 },
    { "vcomiss",   "VEX.LIG.NP.0F 2F /r", "Vss,Wss", tr_vx_order, IR_V_order_s_f32 },
    { "vcomisd",   "VEX.LIG.66.0F 2F /r", "Vsd,Wsd", tr_vx_order, IR_V_order_s_f64 },
    { "vcvtsi2ss", "VEX.LIG.F3.0F 2A /r", "Vss,Hss,Ey", tr_vx_from_gpr, IR_V_s32_f32_lo },
    { "vcvtsi2sd", "VEX.LIG.F2.0F 2A /r", "Vsd,Hsd,Ey", tr_vx_from_gpr, IR_V_s32_f64_lo },
    { "vcvttss2si", "VEX.LIG.F3.0F 2C /r", "Gy,Wss", tr_vx_to_gpr, IR_V_f32_lo_s32_t },
    { "vcvttsd2si", "VEX.LIG.F2.0F 2C /r", "Gy,Wsd", tr_vx_to_gpr, IR_V_f64_lo_s32_t },
    { "vcvtss2si", "VEX.LIG.F3.0F 2D /r", "Gy,Wss", tr_vx_to_gpr, IR_V_f32_lo_s32 },
    { "vcvtsd2si", "VEX.LIG.F2.0F 2D /r", "Gy,Wsd", tr_vx_to_gpr, IR_V_f64_lo_s32 },
    { "vcvtss2sd", "VEX.LIG.F3.0F 5A /r", "Vsd,Hsd,Wss", tr_vx2, IR_V_f32_f64_lo },
    { "vcvtsd2ss", "VEX.LIG.F2.0F 5A /r", "Vss,Hss,Wsd", tr_vx2, IR_V_f64_f32_lo },
    { "vcvtps2pd", "VEX.128.NP.0F 5A /r", "Vdq,Wq", tr_vx_widen, IR_V_f32_f64 | VX_NUMBER(8) },
    { "vcvtps2pd", "VEX.256.NP.0F 5A /r", "Vqq,Wdq", tr_vx_widen, IR_V_f32_f64 | VX_NUMBER(8) },
    { "vcvtdq2pd", "VEX.128.F3.0F E6 /r", "Vdq,Wq", tr_vx_widen, IR_V_s32_f64 | VX_NUMBER(8) },
    { "vcvtdq2pd", "VEX.256.F3.0F E6 /r", "Vqq,Wdq", tr_vx_widen, IR_V_s32_f64 | VX_NUMBER(8) },
    { "vcvtpd2ps", "VEX.66.0F 5A /r",     "Vdq,Wx", tr_vx_narrow, IR_V_f64_f32 },
    { "vcvttpd2dq", "VEX.66.0F E6 /r",    "Vdq,Wx", tr_vx_narrow, IR_V_f64_s32_t },
    { "vcvtpd2dq", "VEX.F2.0F E6 /r",     "Vdq,Wx", tr_vx_narrow, IR_V_f64_s32 },
    V1("vcvtdq2ps", "NP.0F 5B", IR_V_s32_f32), V1("vcvtps2dq", "66.0F 5B", IR_V_f32_s32),
    V1("vcvttps2dq", "F3.0F 5B", IR_V_f32_s32_t),
    V1N("vroundps", "66.0F3A 08", IR_V_round_f32), V1N("vroundpd", "66.0F3A 09", IR_V_round_f64),
    { "vroundss",  "VEX.LIG.66.0F3A 0A /r", "Vss,Hss,Wss,Ib", tr_vx2, IR_V_round_lo_f32 },
    { "vroundsd",  "VEX.LIG.66.0F3A 0B /r", "Vsd,Hsd,Wsd,Ib", tr_vx2, IR_V_round_lo_f64 },
    { "vmovmskps", "VEX.NP.0F 50 /r",     "Gd,Ux", tr_vx_mask, IR_V_mask_i32 | VX_NUMBER(4) },
    { "vmovmskpd", "VEX.66.0F 50 /r",     "Gd,Ux", tr_vx_mask, IR_V_mask_i64 | VX_NUMBER(2) },
    { "vpmovmskb", "VEX.128.66.0F D7 /r", "Gd,Udq", tr_vx_mask, IR_V_mask_i8 },
    V2N("vshufps", "NP.0F C6", IR_V_shuffle2_i32), V2N("vshufpd", "66.0F C6", IR_V_shuffle2_i64),
    V2N("vblendps", "66.0F3A 0C", IR_V_blend_i32),
    V2N("vblendpd", "66.0F3A 0D", IR_V_blend_i64),
    { "vdpps",     "VEX.66.0F3A 40 /r",     "Vx,Hx,Wx,Ib", tr_vx_dot, IR_V_dot_f32 },
    { "vdppd",     "VEX.128.66.0F3A 41 /r", "Vdq,Hdq,Wdq,Ib", tr_vx_dot, IR_V_dot_f64 },
    { "vblendvps", "VEX.66.0F3A.W0 4A /r", "Vx,Hx,Wx,Lx", tr_vx_select, IR_V_select_i32 },
    { "vblendvpd", "VEX.66.0F3A.W0 4B /r", "Vx,Hx,Wx,Lx", tr_vx_select, IR_V_select_i64 },
    { "vpblendvb", "VEX.128.66.0F3A.W0 4C /r", "Vdq,Hdq,Wdq,Ldq", tr_vx_select, IR_V_select_i8 },
    V2("vpermilps", "66.0F38.W0 0C", IR_V_permute_i32), V2("vpermilpd", "66.0F38.W0 0D", IR_V_permute_i64),
    V1N("vpermilps", "66.0F3A.W0 04", IR_V_shuffle_i32),
    { "vpermilpd", "VEX.66.0F3A.W0 05 /r", "Vx,Wx,Ib", tr_vpermilpd_n },
    { "vperm2f128", "VEX.256.66.0F3A.W0 06 /r", "Vqq,Hqq,Wqq,Ib", tr_vperm2f128 },
    { "vinsertf128", "VEX.256.66.0F3A.W0 18 /r", "Vqq,Hqq,Wdq,Ib", tr_vinsertf128 },
    { "vextractf128", "VEX.256.66.0F3A.W0 19 /r", "Wdq,Vqq,Ib", tr_vextractf128 },
    { "vbroadcastss", "VEX.66.0F38.W0 18 /r", "Vx,Md", tr_broadcast, VX_NUMBER(SPLAT_32) },
    { "vbroadcastsd", "VEX.256.66.0F38.W0 19 /r", "Vqq,Mq", tr_broadcast, VX_NUMBER(SPLAT_64) },
    { "vbroadcastf128", "VEX.256.66.0F38.W0 1A /r", "Vqq,Mdq", tr_broadcast, VX_NUMBER(SPLAT_128) },
    { "vmaskmovps", "VEX.66.0F38.W0 2C /r", "Vx,Hx,Mx", tr_masked_load, VX_NUMBER(4) },
    { "vmaskmovpd", "VEX.66.0F38.W0 2D /r", "Vx,Hx,Mx", tr_masked_load, VX_NUMBER(8) },
    { "vmaskmovps", "VEX.66.0F38.W0 2E /r", "Mx,Hx,Vx", tr_masked_store, VX_NUMBER(4) },
    { "vmaskmovpd", "VEX.66.0F38.W0 2F /r", "Mx,Hx,Vx", tr_masked_store, VX_NUMBER(8) },
    { "vtestps",   "VEX.66.0F38.W0 0E /r", "Vx,Wx", tr_vx_test, VX_NUMBER(1) },
    { "vtestpd",   "VEX.66.0F38.W0 0F /r", "Vx,Wx", tr_vx_test, VX_NUMBER(2) },
    { "vptest",    "VEX.66.0F38 17 /r",    "Vx,Wx", tr_vx_test },
    { "vzeroupper", "VEX.128.NP.0F 77",    "", tr_vzeroupper },
    { "vzeroall",  "VEX.256.NP.0F 77",     "", tr_vzeroupper },
    { "vldmxcsr",  "VEX.LZ.NP.0F AE /2",   "Md", tr_vx_ldmxcsr },
    { "vstmxcsr",  "VEX.LZ.NP.0F AE /3",   "Md", tr_vx_stmxcsr },
    { "vmaskmovdqu", "VEX.128.66.0F F7 /r", "Vdq,Udq", tr_vx_maskmov },
    INTEGERS(X128), INTEGERS_N(X128_N), INTEGERS_1(X128_1), SHIFTS(X128_S), SHIFTS_N(X128_SN),
    WIDENS(X128_W),
    X128_1("vphminposuw", "0F38 41", IR_V_least_u16),
    { "vpshufd",   "VEX.128.66.0F 70 /r",  "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_i32 },
    { "vpshuflw",  "VEX.128.F2.0F 70 /r",  "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_lo16 },
    { "vpshufhw",  "VEX.128.F3.0F 70 /r",  "Vdq,Wdq,Ib", tr_vx1, IR_V_shuffle_hi16 },
    { "vpextrb",   "VEX.128.66.0F3A.W0 14 /r", "Rd/Mb,Vdq,Ib", tr_vx_extract, IR_V_get_i8 | VX_NUMBER(16) },
    { "vpextrw",   "VEX.128.66.0F3A.W0 15 /r", "Rd/Mw,Vdq,Ib", tr_vx_extract, IR_V_get_i16 | VX_NUMBER(8) },
    { "vpextrw",   "VEX.128.66.0F.W0 C5 /r", "Gd,Udq,Ib", tr_vx_extract, IR_V_get_i16 | VX_NUMBER(8) },
    { "vpextrd",   "VEX.128.66.0F3A.W0 16 /r", "Ed,Vdq,Ib", tr_vx_extract, IR_V_get_i32 | VX_NUMBER(4) },
    { "vpextrq",   "VEX.128.66.0F3A.W1 16 /r", "Eq,Vdq,Ib", tr_vx_extract, IR_V_get_i64 | VX_NUMBER(2), X86_ONLY64 },
    { "vextractps", "VEX.128.66.0F3A 17 /r", "Ed,Vdq,Ib", tr_vx_extract, IR_V_get_i32 | VX_NUMBER(4) },
    { "vpinsrb",   "VEX.128.66.0F3A.W0 20 /r", "Vdq,Hdq,Rd/Mb,Ib", tr_vx_insert, IR_V_set_i8 | VX_NUMBER(16) },
    { "vpinsrw",   "VEX.128.66.0F.W0 C4 /r", "Vdq,Hdq,Rd/Mw,Ib", tr_vx_insert, IR_V_set_i16 | VX_NUMBER(8) },
    { "vpinsrd",   "VEX.128.66.0F3A.W0 22 /r", "Vdq,Hdq,Ed,Ib", tr_vx_insert, IR_V_set_i32 | VX_NUMBER(4) },
    { "vpinsrq",   "VEX.128.66.0F3A.W1 22 /r", "Vdq,Hdq,Eq,Ib", tr_vx_insert, IR_V_set_i64 | VX_NUMBER(2), X86_ONLY64 },
    { "vinsertps", "VEX.128.66.0F3A 21 /r", "Vdq,Hdq,Wd,Ib", tr_vinsertps },
    { "vpcmpestrm", "VEX.128.66.0F3A 60 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(3) },
    { "vpcmpestri", "VEX.128.66.0F3A 61 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(1) },
    { "vpcmpistrm", "VEX.128.66.0F3A 62 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(2) },
    { "vpcmpistri", "VEX.128.66.0F3A 63 /r", "Vdq,Wdq,Ib", tr_vx_string, VX_NUMBER(0) },
};

/* With AES and PCLMULQDQ; VAES and VPCLMULQDQ for 256 bits. */
#define CIPHERS(M) \
    M("vaesenc", "0F38 DC", IR_V_aes_enc), M("vaesenclast", "0F38 DD", IR_V_aes_enc_last), \
    M("vaesdec", "0F38 DE", IR_V_aes_dec), M("vaesdeclast", "0F38 DF", IR_V_aes_dec_last)
static const struct x86_line aes[] = {
    CIPHERS(X128),
    X128_1("vaesimc", "0F38 DB", IR_V_aes_imc),
    { "vaeskeygenassist", "VEX.128.66.0F3A DF /r", "Vdq,Wdq,Ib", tr_vx1, IR_V_aes_keygen },
};
static const struct x86_line clmul[] = {
    X128_N("vpclmulqdq", "0F3A 44", IR_V_clmul),
};
static const struct x86_line vaes[] = {
    CIPHERS(X256),
};
static const struct x86_line vpclmul[] = {
    X256_N("vpclmulqdq", "0F3A 44", IR_V_clmul),
};

/* Element, index: bytes. A gather of 32-bit elements by 64-bit indices fills half a register. */
#define GATHER(name, code, w, v, t, h, size, index) \
    { name, "VEX.66.0F38." w " " code " /r", v "," t "," h, tr_gather, VX_NUMBER((size) | (index) << 4) }
static const struct x86_line avx2[] = {
    INTEGERS(X256), INTEGERS_N(X256_N), INTEGERS_1(X256_1), SHIFTS(X256_S), SHIFTS_N(X256_SN),
    WIDENS(X256_W),
    { "vpmovmskb",   "VEX.256.66.0F D7 /r",  "Gd,Uqq", tr_vx_mask, IR_V_mask_i8 | VX_NUMBER(16) },
    { "vpshufd",     "VEX.256.66.0F 70 /r",  "Vqq,Wqq,Ib", tr_vx1, IR_V_shuffle_i32 },
    { "vpshuflw",    "VEX.256.F2.0F 70 /r",  "Vqq,Wqq,Ib", tr_vx1, IR_V_shuffle_lo16 },
    { "vpshufhw",    "VEX.256.F3.0F 70 /r",  "Vqq,Wqq,Ib", tr_vx1, IR_V_shuffle_hi16 },
    { "vmovntdqa",   "VEX.256.66.0F38 2A /r", "Vqq,Mqq", tr_vx_move },
    { "vpblendvb",   "VEX.256.66.0F3A.W0 4C /r", "Vqq,Hqq,Wqq,Lqq", tr_vx_select, IR_V_select_i8 },
    V2N("vpblendd",  "66.0F3A.W0 02", IR_V_blend_i32),
    V2("vpsrlvd", "66.0F38.W0 45", IR_V_shr_i32_v), V2("vpsrlvq", "66.0F38.W1 45", IR_V_shr_i64_v),
    V2("vpsravd", "66.0F38.W0 46", IR_V_sar_i32_v),
    V2("vpsllvd", "66.0F38.W0 47", IR_V_shl_i32_v), V2("vpsllvq", "66.0F38.W1 47", IR_V_shl_i64_v),
    { "vperm2i128",  "VEX.256.66.0F3A.W0 46 /r", "Vqq,Hqq,Wqq,Ib", tr_vperm2f128 },
    { "vinserti128", "VEX.256.66.0F3A.W0 38 /r", "Vqq,Hqq,Wdq,Ib", tr_vinsertf128 },
    { "vextracti128", "VEX.256.66.0F3A.W0 39 /r", "Wdq,Vqq,Ib", tr_vextractf128 },
    { "vpermq",      "VEX.256.66.0F3A.W1 00 /r", "Vqq,Wqq,Ib", tr_vpermq },
    { "vpermpd",     "VEX.256.66.0F3A.W1 01 /r", "Vqq,Wqq,Ib", tr_vpermq },
    { "vpermd",      "VEX.256.66.0F38.W0 36 /r", "Vqq,Hqq,Wqq", tr_vpermd },
    { "vpermps",     "VEX.256.66.0F38.W0 16 /r", "Vqq,Hqq,Wqq", tr_vpermd },
    { "vbroadcastss", "VEX.66.0F38.W0 18 /r", "Vx,Udq", tr_broadcast, VX_NUMBER(SPLAT_32) },
    { "vbroadcastsd", "VEX.256.66.0F38.W0 19 /r", "Vqq,Udq", tr_broadcast, VX_NUMBER(SPLAT_64) },
    { "vpbroadcastd", "VEX.66.0F38.W0 58 /r", "Vx,Wd", tr_broadcast, VX_NUMBER(SPLAT_32) },
    { "vpbroadcastq", "VEX.66.0F38.W0 59 /r", "Vx,Wq", tr_broadcast, VX_NUMBER(SPLAT_64) },
    { "vbroadcasti128", "VEX.256.66.0F38.W0 5A /r", "Vqq,Mdq", tr_broadcast, VX_NUMBER(SPLAT_128) },
    { "vpbroadcastb", "VEX.66.0F38.W0 78 /r", "Vx,Wb", tr_broadcast, VX_NUMBER(SPLAT_8) },
    { "vpbroadcastw", "VEX.66.0F38.W0 79 /r", "Vx,Ww", tr_broadcast, VX_NUMBER(SPLAT_16) },
    { "vpmaskmovd",  "VEX.66.0F38.W0 8C /r", "Vx,Hx,Mx", tr_masked_load, VX_NUMBER(4) },
    { "vpmaskmovq",  "VEX.66.0F38.W1 8C /r", "Vx,Hx,Mx", tr_masked_load, VX_NUMBER(8) },
    { "vpmaskmovd",  "VEX.66.0F38.W0 8E /r", "Mx,Hx,Vx", tr_masked_store, VX_NUMBER(4) },
    { "vpmaskmovq",  "VEX.66.0F38.W1 8E /r", "Mx,Hx,Vx", tr_masked_store, VX_NUMBER(8) },
    GATHER("vpgatherdd", "90", "W0", "Vx", "Td", "Hx", 4, 4),
    GATHER("vpgatherdq", "90", "W1", "Vx", "Td", "Hx", 8, 4),
    GATHER("vpgatherqd", "91", "W0", "Vdq", "Tq", "Hdq", 4, 8),
    GATHER("vpgatherqq", "91", "W1", "Vx", "Tq", "Hx", 8, 8),
    GATHER("vgatherdps", "92", "W0", "Vx", "Td", "Hx", 4, 4),
    GATHER("vgatherdpd", "92", "W1", "Vx", "Td", "Hx", 8, 4),
    GATHER("vgatherqps", "93", "W0", "Vdq", "Tq", "Hdq", 4, 8),
    GATHER("vgatherqpd", "93", "W1", "Vx", "Tq", "Hx", 8, 8),
};

#define FMA_P(name, code, op, form) \
    { name "ps", "VEX.66.0F38.W0 " code " /r", "Vx,Hx,Wx", tr_fma, IR_V_##op##_f32 | VX_NUMBER(form) }, \
    { name "pd", "VEX.66.0F38.W1 " code " /r", "Vx,Hx,Wx", tr_fma, IR_V_##op##_f64 | VX_NUMBER(form) }
#define FMA_S(name, code, op, form) \
    { name "ss", "VEX.LIG.66.0F38.W0 " code " /r", "Vss,Hss,Wss", tr_fma, IR_V_##op##_lo_f32 | VX_NUMBER(form) }, \
    { name "sd", "VEX.LIG.66.0F38.W1 " code " /r", "Vsd,Hsd,Wsd", tr_fma, IR_V_##op##_lo_f64 | VX_NUMBER(form) }
#define FMA(digit, form, number) \
    FMA_P("vfmaddsub" form, digit "6", maddsub, number), FMA_P("vfmsubadd" form, digit "7", msubadd, number), \
    FMA_P("vfmadd" form, digit "8", madd, number), FMA_S("vfmadd" form, digit "9", madd, number), \
    FMA_P("vfmsub" form, digit "A", msub, number), FMA_S("vfmsub" form, digit "B", msub, number), \
    FMA_P("vfnmadd" form, digit "C", nmadd, number), FMA_S("vfnmadd" form, digit "D", nmadd, number), \
    FMA_P("vfnmsub" form, digit "E", nmsub, number), FMA_S("vfnmsub" form, digit "F", nmsub, number)
static const struct x86_line fused[] = {
    FMA("9", "132", 0),
    FMA("A", "213", 1),
    FMA("B", "231", 2),
};

static const struct x86_line f16c[] = {
    { "vcvtph2ps", "VEX.128.66.0F38.W0 13 /r", "Vdq,Wq", tr_vx_widen, IR_V_f16_f32 | VX_NUMBER(8) },
    { "vcvtph2ps", "VEX.256.66.0F38.W0 13 /r", "Vqq,Wdq", tr_vx_widen, IR_V_f16_f32 | VX_NUMBER(8) },
    { "vcvtps2ph", "VEX.128.66.0F3A.W0 1D /r", "Wq,Vdq,Ib", tr_vx_narrow, IR_V_f32_f16 },
    { "vcvtps2ph", "VEX.256.66.0F3A.W0 1D /r", "Wdq,Vqq,Ib", tr_vx_narrow, IR_V_f32_f16 },
};

/* clang-format on */
const struct x86_insn_table x86_avx_tables[] = {
    X86_INSNS(avx, X86_1_ECX, 28),
    X86_INSNS(aes, X86_1_ECX, 25),
    X86_INSNS(clmul, X86_1_ECX, 1),
    X86_INSNS(vaes, X86_7_ECX, 9),
    X86_INSNS(vpclmul, X86_7_ECX, 10),
    X86_INSNS(avx2, X86_7_EBX, 5),
    X86_INSNS(fused, X86_1_ECX, 12),
    X86_INSNS(f16c, X86_1_ECX, 29),
    { 0 },
};
