/* Vector operations: for most of them the host has an instruction, which a table names; for the others,
 * and on hosts that lack it, the C meaning is called. Encodings: Intel SDM volume 2. */
#include "tcg/host/x86_64/gen.h"

/* How an instruction takes its operands. VEX forms have all operands apart; without AVX the first operand is
 * copied to the result's register first. */
enum form {
    BY_CALL, /* none */
    RM,      /* d = op(a) */
    RM_N,    /* with the constant */
    MR_N,    /* the same, the result in the ModRM's register-or-memory */
    RVM,     /* d = op(a, b) */
    RVM_N,
    VMR,     /* d = op(b, a): the host's first operand is b */
    SHIFT_N, /* d = op(a, constant), a digit in ModRM */
    BLEND,   /* d = op(a, b, c): c an immediate's register, or xmm0 */
    XMM0_3,  /* d = op(a, b, xmm0), no VEX form */
    FUSED,   /* a * b + c by the 132, 213, 231 forms; opcode of 132 */
    ORDER,   /* comis: flags to an integer */
    TEST,    /* ptest: a flag to an integer; digit is the condition */
    STRINGS, /* pcmpistrm: xmm0 and flags to an integer */
};
enum { P0, P66, PF3, PF2 };         /* prefixes as VEX numbers them */
enum { M0F = 1, M38 = 2, M3A = 3 }; /* opcode maps */
enum { W1 = 1, NO_VEX = 2, FEW_CMP = 8, NO_MEM = 16, WIDE = 32 /* on V256 values */ };

struct enc {
    uint8_t form, prefix, map, code, digit, flags;
    uint16_t needs; /* HAS_* */
};

#define E(form_, prefix_, map_, code_, ...)                                       \
    {                                                                             \
        .form = form_, .prefix = prefix_, .map = map_, .code = code_, __VA_ARGS__ \
    }
#define I2(name, code)    [IR_V_##name] = E(RVM, P66, M0F, code) /* integer, SSE2 */
#define I3(name, code)    [IR_V_##name] = E(RVM, P66, M38, code, .needs = HAS_SSSE3)
#define I4(name, code)    [IR_V_##name] = E(RVM, P66, M38, code, .needs = HAS_SSE41)
#define U4(name, code)    [IR_V_##name] = E(RM, P66, M38, code, .needs = HAS_SSE41)
#define SH(name, code, d) [IR_V_##name] = E(SHIFT_N, P66, M0F, code, .digit = d)
#define F4(name, code)    /* add_f32, add_f64, and their lane 0 */                             \
    [IR_V_##name##_f32] = E(RVM, P0, M0F, code), [IR_V_##name##_f64] = E(RVM, P66, M0F, code), \
    [IR_V_##name##_lo_f32] = E(RVM, PF3, M0F, code),                                           \
    [IR_V_##name##_lo_f64] = E(RVM, PF2, M0F, code)
#define FMA(name, code)                                               \
    [IR_V_##name##_f32] = E(FUSED, P66, M38, code, .needs = HAS_AVX), \
    [IR_V_##name##_f64] = E(FUSED, P66, M38, code, .needs = HAS_AVX, .flags = W1)
#define FMA_LO(name, code)                                               \
    [IR_V_##name##_lo_f32] = E(FUSED, P66, M38, code, .needs = HAS_AVX), \
    [IR_V_##name##_lo_f64] = E(FUSED, P66, M38, code, .needs = HAS_AVX, .flags = W1)

static const struct enc encodings[N_IR_VECS] = {
    [IR_V_from_i32] = E(RM, P66, M0F, 0x6e),
    [IR_V_from_i64] = E(RM, P66, M0F, 0x6e, .flags = W1),
    [IR_V_low_i64] = E(RM, PF3, M0F, 0x7e),
    [IR_V_merge_i32] = E(RVM, PF3, M0F, 0x10, .flags = NO_MEM),
    [IR_V_merge_i64] = E(RVM, PF2, M0F, 0x10, .flags = NO_MEM),
    [IR_V_get_i8] = E(MR_N, P66, M3A, 0x14, .needs = HAS_SSE41),
    [IR_V_get_i16] = E(RM_N, P66, M0F, 0xc5, .flags = NO_MEM),
    [IR_V_get_i32] = E(MR_N, P66, M3A, 0x16, .needs = HAS_SSE41),
    [IR_V_get_i64] = E(MR_N, P66, M3A, 0x16, .needs = HAS_SSE41, .flags = W1),
    [IR_V_get_f32] = E(RM_N, P66, M0F, 0x70),
    [IR_V_get_f64] = E(RM_N, P66, M0F, 0x70),
    [IR_V_set_i8] = E(RVM_N, P66, M3A, 0x20, .needs = HAS_SSE41),
    [IR_V_set_i16] = E(RVM_N, P66, M0F, 0xc4),
    [IR_V_set_i32] = E(RVM_N, P66, M3A, 0x22, .needs = HAS_SSE41),
    [IR_V_set_i64] = E(RVM_N, P66, M3A, 0x22, .needs = HAS_SSE41, .flags = W1),
    [IR_V_set_f32] = E(RVM_N, P66, M3A, 0x21, .needs = HAS_SSE41),
    [IR_V_set_f64] = E(RVM, PF2, M0F, 0x10),
    [IR_V_string_mask] = E(STRINGS, P66, M3A, 0x62, .needs = HAS_SSE42),
    [IR_V_mask_i8] = E(RM, P66, M0F, 0xd7, .flags = NO_MEM),
    [IR_V_mask_i32] = E(RM, P0, M0F, 0x50, .flags = NO_MEM),
    [IR_V_mask_i64] = E(RM, P66, M0F, 0x50, .flags = NO_MEM),
    [IR_V_none_of] = E(TEST, P66, M38, 0x17, .digit = CC_E, .needs = HAS_SSE41),
    [IR_V_none_but] = E(TEST, P66, M38, 0x17, .digit = CC_B, .needs = HAS_SSE41),
    I2(and, 0xdb),
    I2(or, 0xeb),
    I2(xor, 0xef),
    [IR_V_andn] = E(VMR, P66, M0F, 0xdf),
    I2(add_i8, 0xfc),
    I2(add_i16, 0xfd),
    I2(add_i32, 0xfe),
    I2(add_i64, 0xd4),
    I2(sub_i8, 0xf8),
    I2(sub_i16, 0xf9),
    I2(sub_i32, 0xfa),
    I2(sub_i64, 0xfb),
    I2(adds_s8, 0xec),
    I2(adds_s16, 0xed),
    I2(adds_u8, 0xdc),
    I2(adds_u16, 0xdd),
    I2(subs_s8, 0xe8),
    I2(subs_s16, 0xe9),
    I2(subs_u8, 0xd8),
    I2(subs_u16, 0xd9),
    I2(avg_u8, 0xe0),
    I2(avg_u16, 0xe3),
    I4(min_s8, 0x38),
    I2(min_s16, 0xea),
    I4(min_s32, 0x39),
    I2(min_u8, 0xda),
    I4(min_u16, 0x3a),
    I4(min_u32, 0x3b),
    I4(max_s8, 0x3c),
    I2(max_s16, 0xee),
    I4(max_s32, 0x3d),
    I2(max_u8, 0xde),
    I4(max_u16, 0x3e),
    I4(max_u32, 0x3f),
    [IR_V_abs_i8] = E(RM, P66, M38, 0x1c, .needs = HAS_SSSE3),
    [IR_V_abs_i16] = E(RM, P66, M38, 0x1d, .needs = HAS_SSSE3),
    [IR_V_abs_i32] = E(RM, P66, M38, 0x1e, .needs = HAS_SSSE3),
    I3(sign_i8, 0x08),
    I3(sign_i16, 0x09),
    I3(sign_i32, 0x0a),
    I2(mul_i16, 0xd5),
    I4(mul_i32, 0x40),
    I2(mulh_s16, 0xe5),
    I2(mulh_u16, 0xe4),
    I3(mulhr_s16, 0x0b),
    I4(mul_s32_s64, 0x28),
    I2(mul_u32_u64, 0xf4),
    I2(madd_s16, 0xf5),
    I3(madds_u8_s8, 0x04),
    I2(sad_u8, 0xf6),
    [IR_V_sad4_u8] = E(RVM_N, P66, M3A, 0x42, .needs = HAS_SSE41),
    I3(hadd_i16, 0x01),
    I3(hadd_i32, 0x02),
    I3(hadds_s16, 0x03),
    I3(hsub_i16, 0x05),
    I3(hsub_i32, 0x06),
    I3(hsubs_s16, 0x07),
    U4(least_u16, 0x41),
    I2(eq_i8, 0x74),
    I2(eq_i16, 0x75),
    I2(eq_i32, 0x76),
    I4(eq_i64, 0x29),
    I2(gt_s8, 0x64),
    I2(gt_s16, 0x65),
    I2(gt_s32, 0x66),
    [IR_V_gt_s64] = E(RVM, P66, M38, 0x37, .needs = HAS_SSE42),
    I2(shl_i16, 0xf1),
    I2(shl_i32, 0xf2),
    I2(shl_i64, 0xf3),
    I2(shr_i16, 0xd1),
    I2(shr_i32, 0xd2),
    I2(shr_i64, 0xd3),
    I2(sar_i16, 0xe1),
    I2(sar_i32, 0xe2),
    SH(shl_i16_n, 0x71, 6),
    SH(shl_i32_n, 0x72, 6),
    SH(shl_i64_n, 0x73, 6),
    SH(shr_i16_n, 0x71, 2),
    SH(shr_i32_n, 0x72, 2),
    SH(shr_i64_n, 0x73, 2),
    SH(sar_i16_n, 0x71, 4),
    SH(sar_i32_n, 0x72, 4),
    SH(shl_bytes, 0x73, 7),
    SH(shr_bytes, 0x73, 3),
    [IR_V_shl_i32_v] = E(RVM, P66, M38, 0x47, .needs = HAS_AVX2),
    [IR_V_shl_i64_v] = E(RVM, P66, M38, 0x47, .needs = HAS_AVX2, .flags = W1),
    [IR_V_shr_i32_v] = E(RVM, P66, M38, 0x45, .needs = HAS_AVX2),
    [IR_V_shr_i64_v] = E(RVM, P66, M38, 0x45, .needs = HAS_AVX2, .flags = W1),
    [IR_V_sar_i32_v] = E(RVM, P66, M38, 0x46, .needs = HAS_AVX2),
    [IR_V_align_bytes] = E(RVM_N, P66, M3A, 0x0f, .needs = HAS_SSSE3),
    I3(shuffle_i8, 0x00),
    [IR_V_shuffle_i32] = E(RM_N, P66, M0F, 0x70),
    [IR_V_shuffle_lo16] = E(RM_N, PF2, M0F, 0x70),
    [IR_V_shuffle_hi16] = E(RM_N, PF3, M0F, 0x70),
    [IR_V_shuffle2_i32] = E(RVM_N, P0, M0F, 0xc6),
    [IR_V_shuffle2_i64] = E(RVM_N, P66, M0F, 0xc6),
    [IR_V_permute_i32] = E(RVM, P66, M38, 0x0c, .needs = HAS_AVX),
    [IR_V_permute_i64] = E(RVM, P66, M38, 0x0d, .needs = HAS_AVX),
    [IR_V_splat_i8] = E(RM, P66, M38, 0x78, .needs = HAS_AVX2),
    [IR_V_splat_i16] = E(RM, P66, M38, 0x79, .needs = HAS_AVX2),
    I2(zip_lo_i8, 0x60),
    I2(zip_lo_i16, 0x61),
    I2(zip_lo_i32, 0x62),
    I2(zip_lo_i64, 0x6c),
    I2(zip_hi_i8, 0x68),
    I2(zip_hi_i16, 0x69),
    I2(zip_hi_i32, 0x6a),
    I2(zip_hi_i64, 0x6d),
    I2(pack_s16_s8, 0x63),
    I2(pack_s16_u8, 0x67),
    I2(pack_s32_s16, 0x6b),
    I4(pack_s32_u16, 0x2b),
    U4(widen_s8_16, 0x20),
    U4(widen_s8_32, 0x21),
    U4(widen_s8_64, 0x22),
    U4(widen_s16_32, 0x23),
    U4(widen_s16_64, 0x24),
    U4(widen_s32_64, 0x25),
    U4(widen_u8_16, 0x30),
    U4(widen_u8_32, 0x31),
    U4(widen_u8_64, 0x32),
    U4(widen_u16_32, 0x33),
    U4(widen_u16_64, 0x34),
    U4(widen_u32_64, 0x35),
    [IR_V_blend_i16] = E(RVM_N, P66, M3A, 0x0e, .needs = HAS_SSE41),
    [IR_V_blend_i32] = E(RVM_N, P66, M3A, 0x0c, .needs = HAS_SSE41),
    [IR_V_blend_i64] = E(RVM_N, P66, M3A, 0x0d, .needs = HAS_SSE41),
    [IR_V_select_i8] = E(BLEND, P66, M38, 0x10, .digit = 0x4c, .needs = HAS_SSE41),
    [IR_V_select_i32] = E(BLEND, P66, M38, 0x14, .digit = 0x4a, .needs = HAS_SSE41),
    [IR_V_select_i64] = E(BLEND, P66, M38, 0x15, .digit = 0x4b, .needs = HAS_SSE41),
    [IR_V_insert_i32] = E(RVM_N, P66, M3A, 0x21, .needs = HAS_SSE41, .flags = NO_MEM),
    F4(add, 0x58),
    F4(mul, 0x59),
    F4(sub, 0x5c),
    F4(min, 0x5d),
    F4(div, 0x5e),
    F4(max, 0x5f),
    [IR_V_sqrt_f32] = E(RM, P0, M0F, 0x51),
    [IR_V_sqrt_f64] = E(RM, P66, M0F, 0x51),
    [IR_V_sqrt_lo_f32] = E(RVM, PF3, M0F, 0x51),
    [IR_V_sqrt_lo_f64] = E(RVM, PF2, M0F, 0x51),
    [IR_V_rcp_f32] = E(RM, P0, M0F, 0x53),
    [IR_V_rsqrt_f32] = E(RM, P0, M0F, 0x52),
    [IR_V_rcp_lo_f32] = E(RVM, PF3, M0F, 0x53),
    [IR_V_rsqrt_lo_f32] = E(RVM, PF3, M0F, 0x52),
    [IR_V_addsub_f32] = E(RVM, PF2, M0F, 0xd0, .needs = HAS_SSE3),
    [IR_V_addsub_f64] = E(RVM, P66, M0F, 0xd0, .needs = HAS_SSE3),
    [IR_V_hadd_f32] = E(RVM, PF2, M0F, 0x7c, .needs = HAS_SSE3),
    [IR_V_hadd_f64] = E(RVM, P66, M0F, 0x7c, .needs = HAS_SSE3),
    [IR_V_hsub_f32] = E(RVM, PF2, M0F, 0x7d, .needs = HAS_SSE3),
    [IR_V_hsub_f64] = E(RVM, P66, M0F, 0x7d, .needs = HAS_SSE3),
    [IR_V_dot_f32] = E(RVM_N, P66, M3A, 0x40, .needs = HAS_SSE41),
    [IR_V_dot_f64] = E(RVM_N, P66, M3A, 0x41, .needs = HAS_SSE41),
    [IR_V_cmp_f32] = E(RVM_N, P0, M0F, 0xc2, .flags = FEW_CMP),
    [IR_V_cmp_f64] = E(RVM_N, P66, M0F, 0xc2, .flags = FEW_CMP),
    [IR_V_cmp_lo_f32] = E(RVM_N, PF3, M0F, 0xc2, .flags = FEW_CMP),
    [IR_V_cmp_lo_f64] = E(RVM_N, PF2, M0F, 0xc2, .flags = FEW_CMP),
    [IR_V_order_q_f32] = E(ORDER, P0, M0F, 0x2e),
    [IR_V_order_q_f64] = E(ORDER, P66, M0F, 0x2e),
    [IR_V_order_s_f32] = E(ORDER, P0, M0F, 0x2f),
    [IR_V_order_s_f64] = E(ORDER, P66, M0F, 0x2f),
    [IR_V_round_f32] = E(RM_N, P66, M3A, 0x08, .needs = HAS_SSE41),
    [IR_V_round_f64] = E(RM_N, P66, M3A, 0x09, .needs = HAS_SSE41),
    [IR_V_round_lo_f32] = E(RVM_N, P66, M3A, 0x0a, .needs = HAS_SSE41),
    [IR_V_round_lo_f64] = E(RVM_N, P66, M3A, 0x0b, .needs = HAS_SSE41),
    [IR_V_s32_f32] = E(RM, P0, M0F, 0x5b),
    [IR_V_s32_f64] = E(RM, PF3, M0F, 0xe6),
    [IR_V_f32_s32] = E(RM, P66, M0F, 0x5b),
    [IR_V_f32_s32_t] = E(RM, PF3, M0F, 0x5b),
    [IR_V_f64_s32] = E(RM, PF2, M0F, 0xe6),
    [IR_V_f64_s32_t] = E(RM, P66, M0F, 0xe6),
    [IR_V_f32_f64] = E(RM, P0, M0F, 0x5a),
    [IR_V_f64_f32] = E(RM, P66, M0F, 0x5a),
    [IR_V_f32_f64_lo] = E(RVM, PF3, M0F, 0x5a),
    [IR_V_f64_f32_lo] = E(RVM, PF2, M0F, 0x5a),
    [IR_V_s32_f32_lo] = E(RVM, PF3, M0F, 0x2a),
    [IR_V_s64_f32_lo] = E(RVM, PF3, M0F, 0x2a, .flags = W1),
    [IR_V_s32_f64_lo] = E(RVM, PF2, M0F, 0x2a),
    [IR_V_s64_f64_lo] = E(RVM, PF2, M0F, 0x2a, .flags = W1),
    [IR_V_f32_lo_s32] = E(RM, PF3, M0F, 0x2d),
    [IR_V_f32_lo_s64] = E(RM, PF3, M0F, 0x2d, .flags = W1),
    [IR_V_f64_lo_s32] = E(RM, PF2, M0F, 0x2d),
    [IR_V_f64_lo_s64] = E(RM, PF2, M0F, 0x2d, .flags = W1),
    [IR_V_f32_lo_s32_t] = E(RM, PF3, M0F, 0x2c),
    [IR_V_f32_lo_s64_t] = E(RM, PF3, M0F, 0x2c, .flags = W1),
    [IR_V_f64_lo_s32_t] = E(RM, PF2, M0F, 0x2c),
    [IR_V_f64_lo_s64_t] = E(RM, PF2, M0F, 0x2c, .flags = W1),
    [IR_V_f16_f32] = E(RM, P66, M38, 0x13, .needs = HAS_F16C),
    [IR_V_f32_f16] = E(MR_N, P66, M3A, 0x1d, .needs = HAS_F16C),
    FMA(madd, 0x98),
    FMA(msub, 0x9a),
    FMA(nmadd, 0x9c),
    FMA(nmsub, 0x9e),
    FMA(maddsub, 0x96),
    FMA(msubadd, 0x97),
    FMA_LO(madd, 0x99),
    FMA_LO(msub, 0x9b),
    FMA_LO(nmadd, 0x9d),
    FMA_LO(nmsub, 0x9f),
    [IR_V_aes_enc] = E(RVM, P66, M38, 0xdc, .needs = HAS_AES),
    [IR_V_aes_enc_last] = E(RVM, P66, M38, 0xdd, .needs = HAS_AES),
    [IR_V_aes_dec] = E(RVM, P66, M38, 0xde, .needs = HAS_AES),
    [IR_V_aes_dec_last] = E(RVM, P66, M38, 0xdf, .needs = HAS_AES),
    [IR_V_aes_imc] = E(RM, P66, M38, 0xdb, .needs = HAS_AES),
    [IR_V_aes_keygen] = E(RM_N, P66, M3A, 0xdf, .needs = HAS_AES),
    [IR_V_clmul] = E(RVM_N, P66, M3A, 0x44, .needs = HAS_CLMUL),
    [IR_V_sha1_rounds] = E(RVM_N, P0, M3A, 0xcc, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha1_next_e] = E(RVM, P0, M38, 0xc8, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha1_msg1] = E(RVM, P0, M38, 0xc9, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha1_msg2] = E(RVM, P0, M38, 0xca, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha256_rounds] = E(XMM0_3, P0, M38, 0xcb, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha256_msg1] = E(RVM, P0, M38, 0xcc, .needs = HAS_SHA, .flags = NO_VEX),
    [IR_V_sha256_msg2] = E(RVM, P0, M38, 0xcd, .needs = HAS_SHA, .flags = NO_VEX),
};

/* ---- emitting ------------------------------------------------------------------------------------------- */

/* The last operand: a register (as numbered in instructions) or memory. */
struct operand {
    bool is_mem;
    unsigned reg;
    struct mem mem;
};

static unsigned number(unsigned r)
{
    return r & 15;
}

static struct operand in_reg(unsigned r)
{
    return (struct operand){ .reg = number(r) };
}

static void put_legacy(struct gen *g, const struct enc *e, unsigned reg, unsigned rm)
{
    static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
    static const uint32_t maps[] = { 0, 0x0f00, 0x0f3800, 0x0f3a00 };
    op_rr_full(&g->b, prefixes[e->prefix], e->flags & W1, false, maps[e->map] | e->code, reg, rm);
}

static void put_vex(struct gen *g, const struct enc *e, unsigned reg, unsigned v, struct operand o)
{
    unsigned prefix = e->prefix | (e->flags & WIDE ? VEX_256 : 0);
    if (o.is_mem)
        vex_rm(&g->b, prefix, e->map, e->flags & W1, e->code, reg, v, o.mem);
    else
        vex_rr(&g->b, prefix, e->map, e->flags & W1, e->code, reg, v, o.reg);
}

static bool by_vex(const struct gen *g, const struct enc *e)
{
    return g->host->avx && !(e->flags & NO_VEX);
}

/* The last operand may stay in memory where VEX lets it. It is 16 bytes there, or 32. */
static struct operand last_operand(struct gen *g, const struct enc *e, ir_val v)
{
    struct operand o = { .is_mem = true };
    if (by_vex(g, e) && !(e->flags & NO_MEM) && ir_type_of(g->ir, v) >= IR_V128 &&
        in_memory(g, v, &o.mem))
        return o;
    return in_reg(use(g, v));
}

/* d = op(a, b) where the instruction overwrites its first operand. A gpr as b is none of these. */
static void put_two_operand(struct gen *g, const struct enc *e, unsigned d, unsigned a, unsigned b,
                            bool b_is_vector)
{
    if (d == a) {
        put_legacy(g, e, d, b);
    } else if (d != b || !b_is_vector) {
        movaps(&g->b, d, a);
        put_legacy(g, e, d, b);
    } else {
        unsigned t = number(take(g, true));
        movaps(&g->b, t, a);
        put_legacy(g, e, t, b);
        movaps(&g->b, d, t);
    }
}

static void gen_rvm(struct gen *g, const struct enc *e, const struct ir_op *op, ir_val va,
                    ir_val vb)
{
    unsigned a = number(use(g, va));
    struct operand b = last_operand(g, e, vb);
    bool b_is_vector = is_fp(ir_type_of(g->ir, resolve(g->ir, vb)));
    unsigned d = number(def(g, va));
    bool has_n = e->form == RVM_N;
    if (by_vex(g, e)) {
        put_vex(g, e, d, a, b);
    } else if (has_n && d != a && d == b.reg &&
               b_is_vector) { /* the constant stands behind the instruction */
        unsigned t = number(take(g, true));
        movaps(&g->b, t, a);
        put_legacy(g, e, t, b.reg);
        put8(&g->b, (uint8_t)op->imm);
        movaps(&g->b, d, t);
        return;
    } else {
        put_two_operand(g, e, d, a, b.reg, b_is_vector);
    }
    if (has_n)
        put8(&g->b, (uint8_t)op->imm);
}

static void gen_rm(struct gen *g, const struct enc *e, const struct ir_op *op, unsigned n)
{
    struct operand a = last_operand(g, e, op->a);
    unsigned d = number(def(g, op->a));
    bool from_gpr = ir_type_of(g->ir, resolve(g->ir, op->a)) < IR_F32;
    if (by_vex(g, e) && (!from_gpr || g->b.vex))
        put_vex(g, e, d, 0, a);
    else
        put_legacy(g, e, d, a.reg);
    if (e->form == RM_N)
        put8(&g->b, (uint8_t)n);
}

static void gen_mr(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    unsigned a = number(use(g, op->a)), d = number(def(g, op->a));
    if (by_vex(g, e))
        put_vex(g, e, a, 0, in_reg(d));
    else
        put_legacy(g, e, a, d);
    put8(&g->b, (uint8_t)op->imm);
}

static void gen_shift_n(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    unsigned a = number(use(g, op->a)), d = number(def(g, op->a));
    if (by_vex(g, e)) {
        put_vex(g, e, e->digit, d, in_reg(a));
    } else {
        movaps(&g->b, d, a);
        put_legacy(g, e, e->digit, d);
    }
    put8(&g->b, (uint8_t)op->imm);
}

static void gen_xmm0(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    take_exact(g, XMM0);
    unsigned a = number(use(g, op->a)), b = number(use(g, op->b));
    load_into(g, resolve(g->ir, op->c), XMM0);
    unsigned t = number(take(g, true));
    movaps(&g->b, t, a);
    put_legacy(g, e, t, b);
    movaps(&g->b, number(def(g, IR_NONE)), t);
}

static void gen_blend(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    if (!by_vex(g, e)) {
        gen_xmm0(g, e, op);
        return;
    }
    unsigned a = number(use(g, op->a)), b = number(use(g, op->b)), c = number(use(g, op->c));
    unsigned d = number(def(g, op->a));
    const struct enc by_mask = E(BLEND, P66, M3A, e->digit, .flags = e->flags & WIDE);
    put_vex(g, &by_mask, d, a, in_reg(b));
    put8(&g->b, (uint8_t)(c << 4));
}

/* The register that the instruction overwrites holds operand n: 132, 213, 231. */
static void gen_fused(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    const ir_val v[3] = { op->a, op->b, op->c };
    unsigned n = MIN((unsigned)op->imm, 2);
    unsigned a = number(use(g, op->a)), b = number(use(g, op->b)), c = number(use(g, op->c));
    const unsigned in[3] = { a, b, c };
    unsigned d = number(def(g, v[n])), t = d;
    if (d != in[n] && (d == a || d == b || d == c))
        t = number(take(g, true));
    struct enc form = *e;
    form.code += 0x10 * n;
    copy_vector(g, op->type, t, in[n]);
    put_vex(g, &form, t, n == 0 ? c : a, in_reg(n == 2 ? b : n == 1 ? c : b));
    copy_vector(g, op->type, d, t);
}

/* LAHF gives ZF, PF and CF where the operation's result has them. */
static void gen_order(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    take_exact(g, RAX);
    unsigned a = number(use(g, op->a));
    struct operand b = last_operand(g, e, op->b);
    if (by_vex(g, e))
        put_vex(g, e, a, 0, b);
    else
        put_legacy(g, e, a, b.reg);
    put8(&g->b, 0x9f);
    op_rr(&g->b, false, 0x0fb6, RAX, 4); /* movzx eax, ah */
    alu_ri(&g->b, false, ALU_AND, RAX, 0x45);
    result_in(g, RAX);
}

static void gen_test(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    unsigned a = number(use(g, op->a));
    struct operand b = last_operand(g, e, op->b);
    if (by_vex(g, e))
        put_vex(g, e, a, 0, b);
    else
        put_legacy(g, e, a, b.reg);
    unsigned d = def(g, IR_NONE);
    setcc(&g->b, e->digit, d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
}

/* SF says that a is short, ZF that b is. */
static void gen_strings(struct gen *g, const struct enc *e, const struct ir_op *op)
{
    take_exact(g, XMM0);
    unsigned a = use(g, op->a), b = use(g, op->b), t = take(g, false), d = def(g, IR_NONE);
    if (by_vex(g, e))
        put_vex(g, e, number(a), 0, in_reg(b));
    else
        put_legacy(g, e, number(a), number(b));
    put8(&g->b, op->imm & 0x3f);
    setcc(&g->b, CC_S, t);
    setcc(&g->b, CC_E, d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, t, t);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
    lea(&g->b, false, d, MEMX(t, d, 1, 0));
    shift_ri(&g->b, false, SHIFT_SHL, d, 16);
    mov_rx(&g->b, false, t, number(XMM0));
    alu_rr(&g->b, true, ALU_OR, d, t);
}

static void gen_by_call(struct gen *g, const struct ir_op *op, bool wide)
{
    const ir_val v[3] = { op->a, op->b, op->c };
    unsigned n = ir_vec_infos[op->vec].n_values;
    uint8_t regs[3] = { ARG_NONE, ARG_NONE, ARG_NONE };
    for (unsigned k = 0; k < n; k++)
        regs[k] = (uint8_t)use(g, v[k]);
    struct cold *c = cold_slow(g, SLOW_VEC, def(g, IR_NONE));
    memcpy(c->site.arg, regs, sizeof(regs));
    c->site.type = wide ? IR_V256 : IR_V128;
    c->site.imm = (int32_t)(op->vec << 8 | op->imm);
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

/* Lane 0 comes cheaper, and without SSE4.1. */
static bool gen_lane0(struct gen *g, const struct ir_op *op)
{
    static const struct enc merge = E(RVM, PF3, M0F, 0x10);
    bool w = op->vec == IR_V_get_i64;
    unsigned a;
    switch (op->vec) {
    case IR_V_get_i32:
    case IR_V_get_i64:
        if (op->imm & (w ? 1 : 3))
            return false;
        a = number(use(g, op->a));
        mov_rx(&g->b, w, number(def(g, IR_NONE)), a);
        return true;
    case IR_V_set_f32:
        if (op->imm & 3)
            return false;
        gen_rvm(g, &merge, op, op->a, op->b);
        return true;
    default: return false;
    }
}

static bool has_instruction(const struct gen *g, const struct enc *e, const struct ir_op *op)
{
    if (e->form == BY_CALL || (e->needs & g->host->vector) != e->needs)
        return false;
    if (op->x & IR_VEC_CALLED)
        return false;
    if (e->form == FUSED && !g->host->fma)
        return false;
    if (e->flags & FEW_CMP && op->imm > (g->host->avx ? 31 : 7))
        return false;
    /* The host's rule for NaNs is the one that keeps the first. */
    return !(ir_vec_infos[op->vec].flags & IR_VEC_FP && g->tcg->target->canonical_nan);
}

/* The constant as the host's instruction wants it. */
static unsigned host_constant(const struct ir_op *op)
{
    switch (op->vec) {
    case IR_V_get_f32: return op->imm & 3;
    case IR_V_get_f64: return op->imm & 1 ? 0xee : 0x44;
    default: return (unsigned)op->imm;
    }
}

void gen_vec(struct gen *g, const struct ir_op *op)
{
    const struct enc *e = &encodings[op->vec];
    struct enc on_all = *e;
    if (gen_lane0(g, op))
        return;
    bool wide = ir_vec_is_wide(g->ir, op);
    if (!has_instruction(g, e, op)) {
        gen_by_call(g, op, wide);
        return;
    }
    if (wide) {
        on_all.flags |= WIDE;
        e = &on_all;
    }
    struct ir_op with = *op;
    if (op->vec == IR_V_set_f32)
        with.imm = (op->imm & 3) << 4;
    if (op->vec == IR_V_set_f64 && op->imm & 1) { /* unpcklpd */
        static const struct enc high = E(RVM, P66, M0F, 0x14);
        e = &high;
    }
    switch (e->form) {
    case RM:
    case RM_N: gen_rm(g, e, op, host_constant(op)); break;
    case MR_N: gen_mr(g, e, op); break;
    case VMR: gen_rvm(g, e, op, op->b, op->a); break;
    case SHIFT_N: gen_shift_n(g, e, op); break;
    case BLEND: gen_blend(g, e, op); break;
    case XMM0_3: gen_xmm0(g, e, op); break;
    case FUSED: gen_fused(g, e, op); break;
    case ORDER: gen_order(g, e, op); break;
    case TEST: gen_test(g, e, op); break;
    case STRINGS: gen_strings(g, e, op); break;
    default: gen_rvm(g, e, &with, op->a, op->b); break;
    }
}

/* A value that its slot or a spill holds, for an instruction that takes 16 bytes of memory. */
static bool in_16_bytes(const struct gen *g, ir_val v, struct mem *m)
{
    struct loc l = g->loc[v];
    if (l.kind == LOC_SLOT)
        *m = slot_mem(g, l.n);
    else if (l.kind == LOC_SPILL)
        *m = spill_mem(l.n);
    return l.kind == LOC_SLOT || l.kind == LOC_SPILL;
}

/* Is this what stands in the slot above that of register r? */
static bool is_upper_of(const struct gen *g, unsigned r, ir_val v)
{
    struct loc l = g->loc[v];
    return l.kind == LOC_SLOT && g->lazy[l.n] == v && g->host->below[l.n] == (int)r;
}

/* A pinned register that nobody else needs the upper half of becomes the whole in place: its slot is the lower one. */
void gen_join(struct gen *g, const struct ir_op *op)
{
    ir_val lower = resolve(g->ir, op->a), upper = resolve(g->ir, op->b);
    unsigned a = use(g, lower), d, b = 0;
    struct mem m = { 0 };
    int64_t c = 1;
    bool zero = const_of(g, upper, &c) && !c;
    bool mem = !zero && in_16_bytes(g, upper, &m);
    if (!zero && !mem)
        b = number(use(g, upper));
    bool slot = is_upper_of(g, a, upper), there = slot && g->uppers >> a & 1;
    if (g->hint[g->i] == 255 && !is_temp(a) && g->held[a] == lower && is_last_use(g, lower)) {
        d = a;
        put_value(g, g->i, d);
        g->uppers = slot ? g->uppers | 1u << d : g->uppers & ~(1u << d);
    } else {
        d = def(g, lower);
    }
    a = number(a);
    d = number(d);
    if (there)
        move_ymm(&g->b, d, a);
    else if (zero)
        vex_rr(&g->b, P0, M0F, false, 0x28, d, 0, a); /* vmovaps: zeros above */
    else if (mem)
        insert_upper_m(&g->b, d, a, m);
    else {
        vex_rr(&g->b, P66 | VEX_256, M3A, false, 0x38, d, a, b); /* vinserti128 */
        put8(&g->b, 1);
    }
}

void gen_high(struct gen *g, const struct ir_op *op)
{
    unsigned a = number(use(g, op->a)), d = number(def(g, op->a));
    vex_rr(&g->b, P66 | VEX_256, M3A, false, 0x39, a, 0, d); /* vextracti128 */
    put8(&g->b, 1);
}
