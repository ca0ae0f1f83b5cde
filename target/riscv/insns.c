/* Integer instructions: RV64I, M, A, Zicond. Section numbers: unprivileged ISA 20240411. */
#include "target/riscv/insns.h"

/* ---- computing --------------------------------------------------------------------------------- */

void tr_op(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_2(t->ir, o->extra, gpr(t, o->a), gpr(t, o->b)));
}

void tr_opi(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_2i(t->ir, o->extra, gpr(t, o->a), o->imm));
}

void tr_opw(struct tr *t, const struct operands *o)
{
    set_gpr32(t, o->d, ir_2(t->ir, o->extra, gpr32(t, o->a), gpr32(t, o->b)));
}

void tr_opiw(struct tr *t, const struct operands *o)
{
    set_gpr32(t, o->d, ir_2i(t->ir, o->extra, gpr32(t, o->a), o->imm));
}

static void tr_slt(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_setc(t->ir, o->extra, gpr(t, o->a), gpr(t, o->b)));
}

static void tr_slti(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_setc(t->ir, o->extra, gpr(t, o->a), ir_i64(t->ir, o->imm)));
}

void tr_lui(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_i64(t->ir, o->imm));
}

static void tr_auipc(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_2i(t->ir, IR_add, ir_pc(t->ir, t->off), o->imm));
}

/* czero.eqz, czero.nez */
static void tr_czero(struct tr *t, const struct operands *o)
{
    ir_val a = gpr(t, o->a), b = gpr(t, o->b), zero = ir_i64(t->ir, 0);
    set_gpr(t, o->d,
            o->extra == IR_EQ ? ir_select(t->ir, b, a, zero) : ir_select(t->ir, b, zero, a));
}

/* ---- control flow ------------------------------------------------------------------------------- */

/* x1 and x5 are the link registers, unpriv 2.5.1 */
static bool is_link(unsigned r)
{
    return r == 1 || r == 5;
}

/* Without C a jump to an address that is no multiple of 4 traps, at the jump (unpriv 2.2). */
static bool needs_alignment(const struct tr *t)
{
    return !tr_has(t, RV_EXT_C);
}

static void raise_misaligned(struct tr *t, ir_val target)
{
    ir_call(t->ir, &rv_helper_raise, ir_i64(t->ir, RV_INSN_MISALIGNED), target, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
}

void tr_jal(struct tr *t, const struct operands *o)
{
    int32_t target = t->off + (int32_t)o->imm;
    if ((target & 2) && needs_alignment(t)) {
        raise_misaligned(t, ir_pc(t->ir, target));
        return;
    }
    set_gpr(t, o->d, ir_pc(t->ir, t->next));
    if (is_link(o->d))
        ir_jump_call(t->ir, target, t->next);
    else
        ir_jump(t->ir, target);
}

/* A target that the unit knows: auipc and jalr in one block. */
static bool is_known(const struct tr *t, ir_val v, int32_t *off)
{
    const struct ir_op *op = &t->ir->ops[v];
    *off = (int32_t)op->imm;
    return op->code == IR_pc;
}

void tr_jalr(struct tr *t, const struct operands *o)
{
    ir_val to = ir_2i(t->ir, IR_add, gpr(t, o->a), o->imm);
    int32_t known;
    bool direct = is_known(t, to, &known);
    if (direct)
        known &= ~1;
    else
        to = ir_2i(t->ir, IR_and, to, -2);
    if (needs_alignment(t)) {
        uint16_t bad = ir_new_block(t->ir), good = ir_new_block(t->ir);
        ir_set(t->ir, RV_SLOT_TMP, to);
        ir_branch_block(t->ir, IR_NE, ir_2i(t->ir, IR_and, to, 2), ir_i64(t->ir, 0), bad, good);
        ir_enter(t->ir, bad);
        raise_misaligned(t, ir_get(t->ir, RV_SLOT_TMP));
        ir_enter(t->ir, good);
        to = ir_get(t->ir, RV_SLOT_TMP);
        direct = false;
    }
    set_gpr(t, o->d, ir_pc(t->ir, t->next));
    bool call = is_link(o->d), back = is_link(o->a) && !call;
    if (direct && call)
        ir_jump_call(t->ir, known, t->next);
    else if (direct)
        ir_jump(t->ir, known);
    else
        ir_jump_indirect(t->ir, to,
                         call   ? IR_HINT_CALL
                         : back ? IR_HINT_RETURN
                                : IR_HINT_JUMP,
                         t->next);
}

void tr_branch(struct tr *t, const struct operands *o)
{
    int32_t target = t->off + (int32_t)o->imm;
    ir_val a = gpr(t, o->a), b = gpr(t, o->b);
    if ((target & 2) && needs_alignment(t)) {
        uint16_t taken = ir_new_block(t->ir), next = ir_new_block(t->ir);
        ir_branch_block(t->ir, o->extra, a, b, taken, next);
        ir_enter(t->ir, taken);
        raise_misaligned(t, ir_pc(t->ir, target));
        ir_enter(t->ir, next);
        ir_jump(t->ir, t->next);
        return;
    }
    ir_branch(t->ir, o->extra, a, b, target, t->next);
}

/* ---- memory ------------------------------------------------------------------------------------- */

void tr_load(struct tr *t, const struct operands *o)
{
    ir_val base = gpr(t, o->a);
    riscv_tr_data_trigger(t, base, o->imm, o->extra & IR_SIZE_MASK, false);
    set_gpr(t, o->d, ir_load(t->ir, IR_I64, base, o->imm, o->extra, 0));
}

void tr_store(struct tr *t, const struct operands *o)
{
    ir_val base = gpr(t, o->a);
    riscv_tr_data_trigger(t, base, o->imm, o->extra & IR_SIZE_MASK, true);
    ir_store(t->ir, base, o->imm, gpr(t, o->b), o->extra, 0);
}

enum { RL = 1, AQ = 2 }; /* operand m of atomics, unpriv 13.1 */

static void tr_lr(struct tr *t, const struct operands *o)
{
    ir_val base = gpr(t, o->a);
    riscv_tr_data_trigger(t, base, 0, o->extra & IR_SIZE_MASK, false);
    if (o->m & RL)
        ir_fence(t->ir, IR_FENCE_RR | IR_FENCE_WR);
    unsigned shape = o->extra | IR_ALIGNED | (o->m & AQ ? IR_ACQUIRE : 0);
    ir_val v = ir_load(t->ir, IR_I64, base, 0, shape, 0);
    ir_set(t->ir, RV_SLOT_RES_ADDR, base);
    ir_set(t->ir, RV_SLOT_RES_VALUE, v);
    set_gpr(t, o->d, v);
}

/* The reservation is this address: memory changes if it still holds what lr read; of a double word that
 * lr read, sc.w looks at its half. */
static void try_sc(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    ir_val expected = ir_get(ir, RV_SLOT_RES_VALUE);
    if ((o->extra & IR_SIZE_MASK) == IR_32)
        expected = ir_1(ir, IR_sext32, ir_1(ir, IR_trunc, expected));
    ir_val old = ir_cas(ir, gpr(t, o->a), expected, gpr(t, o->b), o->extra | IR_ALIGNED, 0);
    ir_set(ir, RV_SLOT_RES_ADDR, ir_i64(ir, -1));
    set_gpr(t, o->d, ir_setc(ir, IR_NE, old, expected));
}

static void tr_sc(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    ir_val base = gpr(t, o->a), reserved = ir_get(ir, RV_SLOT_RES_ADDR);
    riscv_tr_data_trigger(t, base, 0, o->extra & IR_SIZE_MASK, true);
    if (reserved == base) { /* lr stands in this block */
        try_sc(t, o);
        return;
    }
    uint16_t try = ir_new_block(ir), lost = ir_new_block(ir), misaligned = ir_new_block(ir),
             fail = ir_new_block(ir), done = ir_new_block(ir);
    ir_branch_block(ir, IR_EQ, base, reserved, try, lost);

    ir_enter(ir, try);
    try_sc(t, o);
    ir_jump_block(ir, done);

    ir_enter(ir, lost);
    int64_t low_bits = (1 << (o->extra & IR_SIZE_MASK)) - 1;
    ir_branch_block(ir, IR_NE, ir_2i(ir, IR_and, gpr(t, o->a), low_bits), ir_i64(ir, 0), misaligned,
                    fail);

    ir_enter(ir, misaligned);
    ir_call(ir, &rv_helper_raise, ir_i64(ir, RV_STORE_MISALIGNED), gpr(t, o->a), IR_NONE, IR_NONE);
    ir_leave(ir, t->off);

    ir_enter(ir, fail);
    ir_set(ir, RV_SLOT_RES_ADDR, ir_i64(ir, -1));
    set_gpr(t, o->d, ir_i64(ir, 1));
    ir_enter(ir, done);
}

static void tr_amo(struct tr *t, const struct operands *o, unsigned size)
{
    ir_val base = gpr(t, o->a);
    riscv_tr_data_trigger(t, base, 0, size, true);
    set_gpr(t, o->d, ir_rmw(t->ir, o->extra, base, gpr(t, o->b), size | IR_SIGNED | IR_ALIGNED, 0));
}

static void tr_amo_w(struct tr *t, const struct operands *o)
{
    tr_amo(t, o, IR_32);
}

static void tr_amo_d(struct tr *t, const struct operands *o)
{
    tr_amo(t, o, IR_64);
}

/* Device input and output are ordered as reads and writes. */
static void tr_fence(struct tr *t, const struct operands *o)
{
    enum { W = 1, R = 2, O = 4, I = 8 };
    unsigned mode = bits(o->imm, 8, 4), before = bits(o->imm, 4, 4), after = bits(o->imm, 0, 4);
    bool tso = mode == 8 && before == (R | W) && after == (R | W);
    bool r = before & (R | I), w = before & (W | O), to_r = after & (R | I), to_w = after & (W | O);
    unsigned set = (r && to_r ? IR_FENCE_RR : 0) | (r && to_w ? IR_FENCE_RW : 0) |
                   (w && to_r && !tso ? IR_FENCE_WR : 0) | (w && to_w ? IR_FENCE_WW : 0);
    if (set)
        ir_fence(t->ir, set);
}

/* What was written is forgotten already, but for the predicted returns to it: these are dropped. */
static void tr_fence_i(struct tr *t, const struct operands *o)
{
    ir_jump_indirect(t->ir, ir_pc(t->ir, t->next), IR_HINT_TRAP, 0);
}

static void tr_pause(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, &rv_helper_pause, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

static void tr_prefetch(struct tr *t, const struct operands *o)
{
}

/* ---- tables ------------------------------------------------------------------------------------- */
/* clang-format off */

static const struct insn insns_i[] = { /* 2, 4 */
    /* name      bits 31..0                                  imm       translate    extra, kind */
    { "lui",    "iiiiiiiiiiiiiiiiiiii          ddddd 0110111", IMM_U,  tr_lui },
    { "auipc",  "iiiiiiiiiiiiiiiiiiii          ddddd 0010111", IMM_U,  tr_auipc },
    { "jal",    "iiiiiiiiiiiiiiiiiiii          ddddd 1101111", IMM_J,  tr_jal,    0, INSN_JUMP },
    { "jalr",   "iiiiiiiiiiii      aaaaa   000 ddddd 1100111", IMM_I,  tr_jalr,   0, INSN_END },
    { "beq",    "iiiiiii     bbbbb aaaaa   000 iiiii 1100011", IMM_B,  tr_branch, IR_EQ,  INSN_BRANCH },
    { "bne",    "iiiiiii     bbbbb aaaaa   001 iiiii 1100011", IMM_B,  tr_branch, IR_NE,  INSN_BRANCH },
    { "blt",    "iiiiiii     bbbbb aaaaa   100 iiiii 1100011", IMM_B,  tr_branch, IR_LT,  INSN_BRANCH },
    { "bge",    "iiiiiii     bbbbb aaaaa   101 iiiii 1100011", IMM_B,  tr_branch, IR_GE,  INSN_BRANCH },
    { "bltu",   "iiiiiii     bbbbb aaaaa   110 iiiii 1100011", IMM_B,  tr_branch, IR_LTU, INSN_BRANCH },
    { "bgeu",   "iiiiiii     bbbbb aaaaa   111 iiiii 1100011", IMM_B,  tr_branch, IR_GEU, INSN_BRANCH },
    { "lb",     "iiiiiiiiiiii      aaaaa   000 ddddd 0000011", IMM_I,  tr_load,   IR_8 | IR_SIGNED },
    { "lh",     "iiiiiiiiiiii      aaaaa   001 ddddd 0000011", IMM_I,  tr_load,   IR_16 | IR_SIGNED },
    { "lw",     "iiiiiiiiiiii      aaaaa   010 ddddd 0000011", IMM_I,  tr_load,   IR_32 | IR_SIGNED },
    { "ld",     "iiiiiiiiiiii      aaaaa   011 ddddd 0000011", IMM_I,  tr_load,   IR_64 },
    { "lbu",    "iiiiiiiiiiii      aaaaa   100 ddddd 0000011", IMM_I,  tr_load,   IR_8 },
    { "lhu",    "iiiiiiiiiiii      aaaaa   101 ddddd 0000011", IMM_I,  tr_load,   IR_16 },
    { "lwu",    "iiiiiiiiiiii      aaaaa   110 ddddd 0000011", IMM_I,  tr_load,   IR_32 },
    { "sb",     "iiiiiii     bbbbb aaaaa   000 iiiii 0100011", IMM_S,  tr_store,  IR_8 },
    { "sh",     "iiiiiii     bbbbb aaaaa   001 iiiii 0100011", IMM_S,  tr_store,  IR_16 },
    { "sw",     "iiiiiii     bbbbb aaaaa   010 iiiii 0100011", IMM_S,  tr_store,  IR_32 },
    { "sd",     "iiiiiii     bbbbb aaaaa   011 iiiii 0100011", IMM_S,  tr_store,  IR_64 },
    { "addi",   "iiiiiiiiiiii      aaaaa   000 ddddd 0010011", IMM_I,  tr_opi,    IR_add },
    { "slti",   "iiiiiiiiiiii      aaaaa   010 ddddd 0010011", IMM_I,  tr_slti,   IR_LT },
    { "sltiu",  "iiiiiiiiiiii      aaaaa   011 ddddd 0010011", IMM_I,  tr_slti,   IR_LTU },
    { "xori",   "iiiiiiiiiiii      aaaaa   100 ddddd 0010011", IMM_I,  tr_opi,    IR_xor },
    { "ori",    "iiiiiiiiiiii      aaaaa   110 ddddd 0010011", IMM_I,  tr_opi,    IR_or },
    { "andi",   "iiiiiiiiiiii      aaaaa   111 ddddd 0010011", IMM_I,  tr_opi,    IR_and },
    { "slli",   "000000 iiiiii     aaaaa   001 ddddd 0010011", IMM_SHIFT, tr_opi, IR_shl },
    { "srli",   "000000 iiiiii     aaaaa   101 ddddd 0010011", IMM_SHIFT, tr_opi, IR_shr },
    { "srai",   "010000 iiiiii     aaaaa   101 ddddd 0010011", IMM_SHIFT, tr_opi, IR_sar },
    { "add",    "0000000     bbbbb aaaaa   000 ddddd 0110011", NULL,   tr_op,     IR_add },
    { "sub",    "0100000     bbbbb aaaaa   000 ddddd 0110011", NULL,   tr_op,     IR_sub },
    { "sll",    "0000000     bbbbb aaaaa   001 ddddd 0110011", NULL,   tr_op,     IR_shl },
    { "slt",    "0000000     bbbbb aaaaa   010 ddddd 0110011", NULL,   tr_slt,    IR_LT },
    { "sltu",   "0000000     bbbbb aaaaa   011 ddddd 0110011", NULL,   tr_slt,    IR_LTU },
    { "xor",    "0000000     bbbbb aaaaa   100 ddddd 0110011", NULL,   tr_op,     IR_xor },
    { "srl",    "0000000     bbbbb aaaaa   101 ddddd 0110011", NULL,   tr_op,     IR_shr },
    { "sra",    "0100000     bbbbb aaaaa   101 ddddd 0110011", NULL,   tr_op,     IR_sar },
    { "or",     "0000000     bbbbb aaaaa   110 ddddd 0110011", NULL,   tr_op,     IR_or },
    { "and",    "0000000     bbbbb aaaaa   111 ddddd 0110011", NULL,   tr_op,     IR_and },
    { "addiw",  "iiiiiiiiiiii      aaaaa   000 ddddd 0011011", IMM_I,  tr_opiw,   IR_add },
    { "slliw",  "0000000 iiiii     aaaaa   001 ddddd 0011011", IMM_SHIFT32, tr_opiw, IR_shl },
    { "srliw",  "0000000 iiiii     aaaaa   101 ddddd 0011011", IMM_SHIFT32, tr_opiw, IR_shr },
    { "sraiw",  "0100000 iiiii     aaaaa   101 ddddd 0011011", IMM_SHIFT32, tr_opiw, IR_sar },
    { "addw",   "0000000     bbbbb aaaaa   000 ddddd 0111011", NULL,   tr_opw,    IR_add },
    { "subw",   "0100000     bbbbb aaaaa   000 ddddd 0111011", NULL,   tr_opw,    IR_sub },
    { "sllw",   "0000000     bbbbb aaaaa   001 ddddd 0111011", NULL,   tr_opw,    IR_shl },
    { "srlw",   "0000000     bbbbb aaaaa   101 ddddd 0111011", NULL,   tr_opw,    IR_shr },
    { "sraw",   "0100000     bbbbb aaaaa   101 ddddd 0111011", NULL,   tr_opw,    IR_sar },
    /* fm, pred, succ */
    { "fence",  "iiiiiiiiiiii      aaaaa   000 ddddd 0001111", IMM_CSR, tr_fence },
};

static const struct insn insns_zifencei[] = { /* 6; a unit ends here: what follows may be new code */
    { "fence.i", "iiiiiiiiiiii     aaaaa   001 ddddd 0001111", IMM_CSR, tr_fence_i },
};

static const struct insn insns_zihintpause[] = { /* 7: a fence that orders nothing */
    { "pause",  "000000010000      00000   000 00000 0001111", NULL,   tr_pause },
};

static const struct insn insns_zicbop[] = { /* 19: ori to x0 */
    { "prefetch.i", "iiiiiii 00000 aaaaa   110 00000 0010011", "s11:5", tr_prefetch },
    { "prefetch.r", "iiiiiii 00001 aaaaa   110 00000 0010011", "s11:5", tr_prefetch },
    { "prefetch.w", "iiiiiii 00011 aaaaa   110 00000 0010011", "s11:5", tr_prefetch },
};

static const struct insn insns_zmmul[] = { /* 12 */
    { "mul",    "0000001     bbbbb aaaaa   000 ddddd 0110011", NULL,   tr_op,     IR_mul },
    { "mulh",   "0000001     bbbbb aaaaa   001 ddddd 0110011", NULL,   tr_op,     IR_mulhs },
    { "mulhsu", "0000001     bbbbb aaaaa   010 ddddd 0110011", NULL,   tr_op,     IR_mulhsu },
    { "mulhu",  "0000001     bbbbb aaaaa   011 ddddd 0110011", NULL,   tr_op,     IR_mulhu },
    { "mulw",   "0000001     bbbbb aaaaa   000 ddddd 0111011", NULL,   tr_opw,    IR_mul },
};

static const struct insn insns_m[] = {
    { "div",    "0000001     bbbbb aaaaa   100 ddddd 0110011", NULL,   tr_op,     IR_divs },
    { "divu",   "0000001     bbbbb aaaaa   101 ddddd 0110011", NULL,   tr_op,     IR_divu },
    { "rem",    "0000001     bbbbb aaaaa   110 ddddd 0110011", NULL,   tr_op,     IR_rems },
    { "remu",   "0000001     bbbbb aaaaa   111 ddddd 0110011", NULL,   tr_op,     IR_remu },
    { "divw",   "0000001     bbbbb aaaaa   100 ddddd 0111011", NULL,   tr_opw,    IR_divs },
    { "divuw",  "0000001     bbbbb aaaaa   101 ddddd 0111011", NULL,   tr_opw,    IR_divu },
    { "remw",   "0000001     bbbbb aaaaa   110 ddddd 0111011", NULL,   tr_opw,    IR_rems },
    { "remuw",  "0000001     bbbbb aaaaa   111 ddddd 0111011", NULL,   tr_opw,    IR_remu },
};

static const struct insn insns_zalrsc[] = { /* 13.2 */
    { "lr.w",   "00010 mm    00000 aaaaa   010 ddddd 0101111", NULL,   tr_lr,     IR_32 | IR_SIGNED },
    { "lr.d",   "00010 mm    00000 aaaaa   011 ddddd 0101111", NULL,   tr_lr,     IR_64 },
    { "sc.w",   "00011 mm    bbbbb aaaaa   010 ddddd 0101111", NULL,   tr_sc,     IR_32 | IR_SIGNED },
    { "sc.d",   "00011 mm    bbbbb aaaaa   011 ddddd 0101111", NULL,   tr_sc,     IR_64 },
};

#define AMO(name, top, kind)                                                                       \
    { name ".w", top " mm bbbbb aaaaa 010 ddddd 0101111", NULL, tr_amo_w, kind },                  \
    { name ".d", top " mm bbbbb aaaaa 011 ddddd 0101111", NULL, tr_amo_d, kind }
static const struct insn insns_zaamo[] = { /* 13.4 */
    AMO("amoswap", "00001", IR_RMW_SWAP),
    AMO("amoadd",  "00000", IR_RMW_ADD),
    AMO("amoxor",  "00100", IR_RMW_XOR),
    AMO("amoand",  "01100", IR_RMW_AND),
    AMO("amoor",   "01000", IR_RMW_OR),
    AMO("amomin",  "10000", IR_RMW_MIN),
    AMO("amomax",  "10100", IR_RMW_MAX),
    AMO("amominu", "11000", IR_RMW_MINU),
    AMO("amomaxu", "11100", IR_RMW_MAXU),
};
#undef AMO

static const struct insn insns_zicond[] = { /* 11 */
    { "czero.eqz", "0000111  bbbbb aaaaa   101 ddddd 0110011", NULL,   tr_czero,  IR_EQ },
    { "czero.nez", "0000111  bbbbb aaaaa   111 ddddd 0110011", NULL,   tr_czero,  IR_NE },
};

const struct insn_table riscv_base_tables[] = {
    INSNS(insns_i, 0, 0),
    INSNS(insns_zifencei, EXT(ZIFENCEI), 0),
    INSNS(insns_zihintpause, EXT(ZIHINTPAUSE), 0),
    INSNS(insns_zicbop, EXT(ZICBOP), 0),
    INSNS(insns_zmmul, 0, EXT(M) | EXT(ZMMUL)),
    INSNS(insns_m, EXT(M), 0),
    INSNS(insns_zalrsc, 0, EXT(A) | EXT(ZALRSC)),
    INSNS(insns_zaamo, 0, EXT(A) | EXT(ZAAMO)),
    INSNS(insns_zicond, EXT(ZICOND), 0),
};
const size_t riscv_n_base_tables = ARRAY_LEN(riscv_base_tables);
