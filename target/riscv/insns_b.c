/* Bit manipulation and scalar cryptography: Zba, Zbb, Zbc, Zbs (unprivileged ISA 29), Zbk*, Zkn*, Zks*
 * (31). */
#include "target/riscv/insns.h"

/* ---- addresses (Zba) ---------------------------------------------------------------------------- */

/* (a << extra) + b */
static void tr_shadd(struct tr *t, const struct operands *o)
{
    ir_val a = ir_2i(t->ir, IR_shl, gpr(t, o->a), o->extra);
    set_gpr(t, o->d, ir_2(t->ir, IR_add, a, gpr(t, o->b)));
}

static void tr_shadd_uw(struct tr *t, const struct operands *o)
{
    ir_val a = ir_1(t->ir, IR_zext32, gpr32(t, o->a));
    set_gpr(t, o->d, ir_2(t->ir, IR_add, ir_2i(t->ir, IR_shl, a, o->extra), gpr(t, o->b)));
}

static void tr_slli_uw(struct tr *t, const struct operands *o)
{
    ir_val a = ir_1(t->ir, IR_zext32, gpr32(t, o->a));
    set_gpr(t, o->d, ir_2i(t->ir, IR_shl, a, o->imm));
}

void tr_zext_w(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_1(t->ir, IR_zext32, gpr32(t, o->a)));
}

/* ---- logic, counting, extending (Zbb) ------------------------------------------------------------ */

static void tr_orn(struct tr *t, const struct operands *o)
{
    ir_val not_b = ir_2i(t->ir, IR_xor, gpr(t, o->b), -1);
    set_gpr(t, o->d, ir_2(t->ir, IR_or, gpr(t, o->a), not_b));
}

static void tr_xnor(struct tr *t, const struct operands *o)
{
    ir_val differ = ir_2(t->ir, IR_xor, gpr(t, o->a), gpr(t, o->b));
    set_gpr(t, o->d, ir_2i(t->ir, IR_xor, differ, -1));
}

void tr_extend(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_1(t->ir, o->extra, gpr(t, o->a)));
}

static void tr_countw(struct tr *t, const struct operands *o)
{
    set_gpr32(t, o->d, ir_1(t->ir, o->extra, gpr32(t, o->a)));
}

/* The one of a and b for which `a cc b` speaks: min, max. */
static void tr_choose(struct tr *t, const struct operands *o)
{
    ir_val a = gpr(t, o->a), b = gpr(t, o->b);
    set_gpr(t, o->d, ir_select(t->ir, ir_setc(t->ir, o->extra, a, b), a, b));
}

/* Each byte that is not zero becomes 0xff: its top bit is set by a carry or was; then spread. */
static void tr_orc_b(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    const int64_t low7 = 0x7f7f7f7f7f7f7f7f;
    ir_val a = gpr(t, o->a);
    ir_val carried = ir_2i(ir, IR_add, ir_2i(ir, IR_and, a, low7), low7);
    ir_val top = ir_2i(ir, IR_and, ir_2(ir, IR_or, carried, a), ~low7);
    ir_val one = ir_2i(ir, IR_shr, top, 7);
    set_gpr(t, o->d, ir_2(ir, IR_or, top, ir_2(ir, IR_sub, top, one)));
}

/* ---- single bits (Zbs) ---------------------------------------------------------------------------- */

static ir_val one_bit(struct tr *t, const struct operands *o)
{
    return ir_2(t->ir, IR_shl, ir_i64(t->ir, 1), gpr(t, o->b));
}

/* extra: or, xor, andn */
static void tr_bit(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_2(t->ir, o->extra, gpr(t, o->a), one_bit(t, o)));
}

static void tr_biti(struct tr *t, const struct operands *o)
{
    uint64_t bit = (uint64_t)1 << o->imm;
    ir_val a = gpr(t, o->a);
    set_gpr(t, o->d,
            o->extra == IR_andn ? ir_2i(t->ir, IR_and, a, (int64_t)~bit)
                                : ir_2i(t->ir, o->extra, a, (int64_t)bit));
}

static void tr_bext(struct tr *t, const struct operands *o)
{
    ir_val moved = ir_2(t->ir, IR_shr, gpr(t, o->a), gpr(t, o->b));
    set_gpr(t, o->d, ir_2i(t->ir, IR_and, moved, 1));
}

static void tr_bexti(struct tr *t, const struct operands *o)
{
    ir_val moved = ir_2i(t->ir, IR_shr, gpr(t, o->a), o->imm);
    set_gpr(t, o->d, ir_2i(t->ir, IR_and, moved, 1));
}

/* ---- cryptography ---------------------------------------------------------------------------------- */

static void tr_pack(struct tr *t, const struct operands *o)
{
    ir_val low = ir_1(t->ir, IR_zext32, gpr32(t, o->a));
    set_gpr(t, o->d, ir_2(t->ir, IR_or, low, ir_2i(t->ir, IR_shl, gpr(t, o->b), 32)));
}

static void tr_packh(struct tr *t, const struct operands *o)
{
    ir_val low = ir_1(t->ir, IR_zext8, gpr(t, o->a)), high = ir_1(t->ir, IR_zext8, gpr(t, o->b));
    set_gpr(t, o->d, ir_2(t->ir, IR_or, low, ir_2i(t->ir, IR_shl, high, 8)));
}

static void tr_packw(struct tr *t, const struct operands *o)
{
    ir_val low = ir_1(t->ir, IR_zext16, gpr32(t, o->a)), high = gpr32(t, o->b);
    set_gpr32(t, o->d, ir_2(t->ir, IR_or, low, ir_2i(t->ir, IR_shl, high, 16)));
}

/* The result of helper `data` on rs1, rs2 or the immediate, and byte select. */
static void tr_pure(struct tr *t, const struct operands *o)
{
    const struct ir_helper *h = o->insn->data;
    ir_val a = gpr(t, o->a), b = IR_NONE, c = IR_NONE;
    if (h->n_args > 1)
        b = o->insn->imm ? ir_i64(t->ir, o->imm) : gpr(t, o->b);
    if (h->n_args > 2)
        c = ir_i64(t->ir, o->n);
    set_gpr(t, o->d, ir_call(t->ir, h, a, b, c, IR_NONE));
}

/* The low half of what `extra` makes of the state with columns 0 and 1 in rs1, 2 and 3 in rs2: a round of x86's form
 * with a key of zeros. */
static void tr_aes_round(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    ir_val low = ir_vec(ir, IR_V_from_i64, gpr(t, o->a), IR_NONE, IR_NONE, 0);
    ir_val high = ir_vec(ir, IR_V_from_i64, gpr(t, o->b), IR_NONE, IR_NONE, 0);
    ir_val state = ir_vec(ir, IR_V_zip_lo_i64, low, high, IR_NONE, 0);
    ir_val next = ir_vec(ir, o->extra, state, ir_const(ir, IR_V128, 0), IR_NONE, 0);
    set_gpr(t, o->d, ir_vec(ir, IR_V_get_i64, next, IR_NONE, IR_NONE, 0));
}

static void tr_aes64im(struct tr *t, const struct operands *o)
{
    ir_val v = ir_vec(t->ir, IR_V_from_i64, gpr(t, o->a), IR_NONE, IR_NONE, 0);
    v = ir_vec(t->ir, IR_V_aes_imc, v, IR_NONE, IR_NONE, 0);
    set_gpr(t, o->d, ir_vec(t->ir, IR_V_get_i64, v, IR_NONE, IR_NONE, 0));
}

/* extra: which half of the product */
static void tr_clmul(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    ir_val a = ir_vec(ir, IR_V_from_i64, gpr(t, o->a), IR_NONE, IR_NONE, 0);
    ir_val b = ir_vec(ir, IR_V_from_i64, gpr(t, o->b), IR_NONE, IR_NONE, 0);
    ir_val product = ir_vec(ir, IR_V_clmul, a, b, IR_NONE, 0);
    set_gpr(t, o->d, ir_vec(ir, IR_V_get_i64, product, IR_NONE, IR_NONE, o->extra));
}

static void tr_aes64ks1i(struct tr *t, const struct operands *o)
{
    if (o->imm > 10)
        riscv_tr_illegal(t);
    else
        tr_pure(t, o);
}

/* Exclusive or of three rotations to the right; in a `sig` the third is a shift. */
#define ROTATIONS(x, y, z) ((x) | (y) << 8 | (z) << 16)
#define IN_32_BITS         (1 << 24)
#define LAST_SHIFTS        (1 << 25)
static void tr_rotations(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    unsigned x = bits(o->extra, 0, 8), y = bits(o->extra, 8, 8), z = bits(o->extra, 16, 8);
    ir_val a = o->extra & IN_32_BITS ? gpr32(t, o->a) : gpr(t, o->a);
    ir_val two = ir_2(ir, IR_xor, ir_2i(ir, IR_ror, a, x), ir_2i(ir, IR_ror, a, y));
    ir_val v = ir_2(ir, IR_xor, two, ir_2i(ir, o->extra & LAST_SHIFTS ? IR_shr : IR_ror, a, z));
    set_gpr(t, o->d, o->extra & IN_32_BITS ? ir_1(ir, IR_sext32, v) : v);
}

/* ---- tables ------------------------------------------------------------------------------------- */
/* clang-format off */

static const struct insn insns_zba[] = {
    /* name         bits 31..0                                imm          translate      extra */
    { "sh1add",    "0010000   bbbbb aaaaa 010 ddddd 0110011", NULL,        tr_shadd,      1 },
    { "sh2add",    "0010000   bbbbb aaaaa 100 ddddd 0110011", NULL,        tr_shadd,      2 },
    { "sh3add",    "0010000   bbbbb aaaaa 110 ddddd 0110011", NULL,        tr_shadd,      3 },
    { "add.uw",    "0000100   bbbbb aaaaa 000 ddddd 0111011", NULL,        tr_shadd_uw,   0 },
    { "sh1add.uw", "0010000   bbbbb aaaaa 010 ddddd 0111011", NULL,        tr_shadd_uw,   1 },
    { "sh2add.uw", "0010000   bbbbb aaaaa 100 ddddd 0111011", NULL,        tr_shadd_uw,   2 },
    { "sh3add.uw", "0010000   bbbbb aaaaa 110 ddddd 0111011", NULL,        tr_shadd_uw,   3 },
    { "slli.uw",   "000010 iiiiii   aaaaa 001 ddddd 0011011", IMM_SHIFT,   tr_slli_uw },
};

static const struct insn insns_zbb[] = {
    { "clz",       "0110000   00000 aaaaa 001 ddddd 0010011", NULL,        tr_extend,     IR_clz },
    { "ctz",       "0110000   00001 aaaaa 001 ddddd 0010011", NULL,        tr_extend,     IR_ctz },
    { "cpop",      "0110000   00010 aaaaa 001 ddddd 0010011", NULL,        tr_extend,     IR_popcnt },
    { "sext.b",    "0110000   00100 aaaaa 001 ddddd 0010011", NULL,        tr_extend,     IR_sext8 },
    { "sext.h",    "0110000   00101 aaaaa 001 ddddd 0010011", NULL,        tr_extend,     IR_sext16 },
    { "zext.h",    "0000100   00000 aaaaa 100 ddddd 0111011", NULL,        tr_extend,     IR_zext16 },
    { "clzw",      "0110000   00000 aaaaa 001 ddddd 0011011", NULL,        tr_countw,     IR_clz },
    { "ctzw",      "0110000   00001 aaaaa 001 ddddd 0011011", NULL,        tr_countw,     IR_ctz },
    { "cpopw",     "0110000   00010 aaaaa 001 ddddd 0011011", NULL,        tr_countw,     IR_popcnt },
    { "min",       "0000101   bbbbb aaaaa 100 ddddd 0110011", NULL,        tr_choose,     IR_LT },
    { "minu",      "0000101   bbbbb aaaaa 101 ddddd 0110011", NULL,        tr_choose,     IR_LTU },
    { "max",       "0000101   bbbbb aaaaa 110 ddddd 0110011", NULL,        tr_choose,     IR_GT },
    { "maxu",      "0000101   bbbbb aaaaa 111 ddddd 0110011", NULL,        tr_choose,     IR_GTU },
    { "orc.b",     "001010000111    aaaaa 101 ddddd 0010011", NULL,        tr_orc_b },
};

static const struct insn insns_zbb_zbkb[] = {
    { "andn",      "0100000   bbbbb aaaaa 111 ddddd 0110011", NULL,        tr_op,         IR_andn },
    { "orn",       "0100000   bbbbb aaaaa 110 ddddd 0110011", NULL,        tr_orn },
    { "xnor",      "0100000   bbbbb aaaaa 100 ddddd 0110011", NULL,        tr_xnor },
    { "rol",       "0110000   bbbbb aaaaa 001 ddddd 0110011", NULL,        tr_op,         IR_rol },
    { "ror",       "0110000   bbbbb aaaaa 101 ddddd 0110011", NULL,        tr_op,         IR_ror },
    { "rori",      "011000 iiiiii   aaaaa 101 ddddd 0010011", IMM_SHIFT,   tr_opi,        IR_ror },
    { "rolw",      "0110000   bbbbb aaaaa 001 ddddd 0111011", NULL,        tr_opw,        IR_rol },
    { "rorw",      "0110000   bbbbb aaaaa 101 ddddd 0111011", NULL,        tr_opw,        IR_ror },
    { "roriw",     "0110000   iiiii aaaaa 101 ddddd 0011011", IMM_SHIFT32, tr_opiw,       IR_ror },
    { "rev8",      "011010111000    aaaaa 101 ddddd 0010011", NULL,        tr_extend,     IR_bswap },
};

static const struct insn insns_zbs[] = {
    { "bclr",      "0100100   bbbbb aaaaa 001 ddddd 0110011", NULL,        tr_bit,        IR_andn },
    { "bext",      "0100100   bbbbb aaaaa 101 ddddd 0110011", NULL,        tr_bext },
    { "binv",      "0110100   bbbbb aaaaa 001 ddddd 0110011", NULL,        tr_bit,        IR_xor },
    { "bset",      "0010100   bbbbb aaaaa 001 ddddd 0110011", NULL,        tr_bit,        IR_or },
    { "bclri",     "010010 iiiiii   aaaaa 001 ddddd 0010011", IMM_SHIFT,   tr_biti,       IR_andn },
    { "bexti",     "010010 iiiiii   aaaaa 101 ddddd 0010011", IMM_SHIFT,   tr_bexti },
    { "binvi",     "011010 iiiiii   aaaaa 001 ddddd 0010011", IMM_SHIFT,   tr_biti,       IR_xor },
    { "bseti",     "001010 iiiiii   aaaaa 001 ddddd 0010011", IMM_SHIFT,   tr_biti,       IR_or },
};

/* A line whose result a pure helper gives. */
#define PURE(name, bits, imm, helper) { name, bits, imm, tr_pure, .data = &rv_helper_##helper }

static const struct insn insns_zbc_zbkc[] = {
    { "clmul",     "0000101   bbbbb aaaaa 001 ddddd 0110011", NULL,        tr_clmul,      0 },
    { "clmulh",    "0000101   bbbbb aaaaa 011 ddddd 0110011", NULL,        tr_clmul,      1 },
};
static const struct insn insns_zbc[] = {
    PURE("clmulr",  "0000101   bbbbb aaaaa 010 ddddd 0110011", NULL, clmulr),
};

static const struct insn insns_zbkb[] = {
    { "pack",      "0000100   bbbbb aaaaa 100 ddddd 0110011", NULL,        tr_pack },
    { "packh",     "0000100   bbbbb aaaaa 111 ddddd 0110011", NULL,        tr_packh },
    { "packw",     "0000100   bbbbb aaaaa 100 ddddd 0111011", NULL,        tr_packw },
    PURE("brev8",   "011010000111    aaaaa 101 ddddd 0010011", NULL, brev8),
};
static const struct insn insns_zbkx[] = {
    PURE("xperm4",  "0010100   bbbbb aaaaa 010 ddddd 0110011", NULL, xperm4),
    PURE("xperm8",  "0010100   bbbbb aaaaa 100 ddddd 0110011", NULL, xperm8),
};

static const struct insn insns_zknd[] = {
    { "aes64ds",     "0011101   bbbbb aaaaa 000 ddddd 0110011", NULL,        tr_aes_round,  IR_V_aes_dec_last },
    { "aes64dsm",    "0011111   bbbbb aaaaa 000 ddddd 0110011", NULL,        tr_aes_round,  IR_V_aes_dec },
    { "aes64im",   "001100000000    aaaaa 001 ddddd 0010011", NULL,        tr_aes64im },
};
static const struct insn insns_zkne[] = {
    { "aes64es",     "0011001   bbbbb aaaaa 000 ddddd 0110011", NULL,        tr_aes_round,  IR_V_aes_enc_last },
    { "aes64esm",    "0011011   bbbbb aaaaa 000 ddddd 0110011", NULL,        tr_aes_round,  IR_V_aes_enc },
};
static const struct insn insns_zknd_zkne[] = {
    PURE("aes64ks2", "0111111  bbbbb aaaaa 000 ddddd 0110011", NULL, aes64ks2),
    { "aes64ks1i", "0011000 1 iiii  aaaaa 001 ddddd 0010011", "3:0",       tr_aes64ks1i, .data = &rv_helper_aes64ks1i },
};

static const struct insn insns_zknh[] = {
    { "sha256sum0", "000100000000   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(2, 13, 22) | IN_32_BITS },
    { "sha256sum1", "000100000001   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(6, 11, 25) | IN_32_BITS },
    { "sha256sig0", "000100000010   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(7, 18, 3) | IN_32_BITS | LAST_SHIFTS },
    { "sha256sig1", "000100000011   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(17, 19, 10) | IN_32_BITS | LAST_SHIFTS },
    { "sha512sum0", "000100000100   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(28, 34, 39) },
    { "sha512sum1", "000100000101   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(14, 18, 41) },
    { "sha512sig0", "000100000110   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(1, 8, 7) | LAST_SHIFTS },
    { "sha512sig1", "000100000111   aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(19, 61, 6) | LAST_SHIFTS },
};

static const struct insn insns_zksed[] = {
    PURE("sm4ed",  "nn 11000   bbbbb aaaaa 000 ddddd 0110011", NULL, sm4ed),
    PURE("sm4ks",  "nn 11010   bbbbb aaaaa 000 ddddd 0110011", NULL, sm4ks),
};
static const struct insn insns_zksh[] = {
    { "sm3p0",     "000100001000    aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(0, 23, 15) | IN_32_BITS },
    { "sm3p1",     "000100001001    aaaaa 001 ddddd 0010011", NULL,        tr_rotations,  ROTATIONS(0, 17, 9) | IN_32_BITS },
};

const struct insn_table riscv_bit_tables[] = {
    INSNS(insns_zba, EXT(ZBA), 0),
    INSNS(insns_zbb, EXT(ZBB), 0),
    INSNS(insns_zbb_zbkb, 0, EXT(ZBB) | EXT(ZBKB)),
    INSNS(insns_zbs, EXT(ZBS), 0),
    INSNS(insns_zbc_zbkc, 0, EXT(ZBC) | EXT(ZBKC)),
    INSNS(insns_zbc, EXT(ZBC), 0),
    INSNS(insns_zbkb, EXT(ZBKB), 0),
    INSNS(insns_zbkx, EXT(ZBKX), 0),
    INSNS(insns_zknd, EXT(ZKND), 0),
    INSNS(insns_zkne, EXT(ZKNE), 0),
    INSNS(insns_zknd_zkne, 0, EXT(ZKND) | EXT(ZKNE)),
    INSNS(insns_zknh, EXT(ZKNH), 0),
    INSNS(insns_zksed, EXT(ZKSED), 0),
    INSNS(insns_zksh, EXT(ZKSH), 0),
};
const size_t riscv_n_bit_tables = ARRAY_LEN(riscv_bit_tables);
