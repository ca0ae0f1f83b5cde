/* Compressed instructions: other encodings of the same things. Unprivileged ISA 27 (C), 28 (Zcb). */
#include "target/riscv/insns.h"

#include "tcg/softfloat.h"

static void tr_not(struct tr *t, const struct operands *o)
{
    set_gpr(t, o->d, ir_2i(t->ir, IR_xor, gpr(t, o->a), -1));
}

/* clang-format off */
/* Upper-case fields are x8 to x15; x is both source and destination. */
static const struct insn insns_c[] = {
    /* name            bits 15..0             imm                    translate   extra */
    { "c.addi4spn", "000 iiiiiiii DDD 00",    "5:4|9:6|2|3",         tr_opi,     IR_add, .a = 2, .not_zero = 'i' },
    { "c.lw",       "010 iii AAA ii DDD 00",  "5:3|2|6",             tr_load,    IR_32 | IR_SIGNED },
    { "c.ld",       "011 iii AAA ii DDD 00",  "5:3|7:6",             tr_load,    IR_64 },
    { "c.sw",       "110 iii AAA ii BBB 00",  "5:3|2|6",             tr_store,   IR_32 },
    { "c.sd",       "111 iii AAA ii BBB 00",  "5:3|7:6",             tr_store,   IR_64 },

    { "c.addi",     "000 i xxxxx iiiii 01",   "s5|4:0",              tr_opi,     IR_add },
    { "c.addiw",    "001 i xxxxx iiiii 01",   "s5|4:0",              tr_opiw,    IR_add, .not_zero = 'x' },
    { "c.li",       "010 i ddddd iiiii 01",   "s5|4:0",              tr_opi,     IR_add },
    { "c.addi16sp", "011 i 00010 iiiii 01",   "s9|4|6|8:7|5",        tr_opi,     IR_add, .a = 2, .d = 2, .not_zero = 'i' },
    { "c.lui",      "011 i ddddd iiiii 01",   "s17|16:12",           tr_lui,     .not_zero = 'i' },
    { "c.srli",     "100 i 00 XXX iiiii 01",  "5|4:0",               tr_opi,     IR_shr },
    { "c.srai",     "100 i 01 XXX iiiii 01",  "5|4:0",               tr_opi,     IR_sar },
    { "c.andi",     "100 i 10 XXX iiiii 01",  "s5|4:0",              tr_opi,     IR_and },
    { "c.sub",      "100 0 11 XXX 00 BBB 01", NULL,                  tr_op,      IR_sub },
    { "c.xor",      "100 0 11 XXX 01 BBB 01", NULL,                  tr_op,      IR_xor },
    { "c.or",       "100 0 11 XXX 10 BBB 01", NULL,                  tr_op,      IR_or },
    { "c.and",      "100 0 11 XXX 11 BBB 01", NULL,                  tr_op,      IR_and },
    { "c.subw",     "100 1 11 XXX 00 BBB 01", NULL,                  tr_opw,     IR_sub },
    { "c.addw",     "100 1 11 XXX 01 BBB 01", NULL,                  tr_opw,     IR_add },
    { "c.j",        "101 iiiiiiiiiii 01", "s11|4|9:8|10|6|7|3:1|5",  tr_jal,     0, INSN_JUMP },
    { "c.beqz",     "110 iii AAA iiiii 01",   "s8|4:3|7:6|2:1|5",    tr_branch,  IR_EQ, INSN_BRANCH },
    { "c.bnez",     "111 iii AAA iiiii 01",   "s8|4:3|7:6|2:1|5",    tr_branch,  IR_NE, INSN_BRANCH },

    { "c.slli",     "000 i xxxxx iiiii 10",   "5|4:0",               tr_opi,     IR_shl },
    { "c.lwsp",     "010 i ddddd iiiii 10",   "5|4:2|7:6",           tr_load,    IR_32 | IR_SIGNED, .a = 2, .not_zero = 'd' },
    { "c.ldsp",     "011 i ddddd iiiii 10",   "5|4:3|8:6",           tr_load,    IR_64, .a = 2, .not_zero = 'd' },
    { "c.jr",       "100 0 aaaaa 00000 10",   NULL,                  tr_jalr,    0, INSN_END, .not_zero = 'a' },
    { "c.mv",       "100 0 ddddd bbbbb 10",   NULL,                  tr_op,      IR_add, .not_zero = 'b' },
    { "c.ebreak",   "100 1 00000 00000 10",   NULL,                  tr_ebreak,  0, INSN_END },
    { "c.jalr",     "100 1 aaaaa 00000 10",   NULL,                  tr_jalr,    0, INSN_END, .d = 1, .not_zero = 'a' },
    { "c.add",      "100 1 xxxxx bbbbb 10",   NULL,                  tr_op,      IR_add, .not_zero = 'b' },
    { "c.swsp",     "110 iiiiii bbbbb 10",    "5:2|7:6",             tr_store,   IR_32, .a = 2 },
    { "c.sdsp",     "111 iiiiii bbbbb 10",    "5:3|8:6",             tr_store,   IR_64, .a = 2 },
};

static const struct insn insns_cd[] = {
    { "c.fld",      "001 iii AAA ii DDD 00",  "5:3|7:6",             tr_load_fp,  SF_F64 },
    { "c.fsd",      "101 iii AAA ii BBB 00",  "5:3|7:6",             tr_store_fp, SF_F64 },
    { "c.fldsp",    "001 i ddddd iiiii 10",   "5|4:3|8:6",           tr_load_fp,  SF_F64, .a = 2 },
    { "c.fsdsp",    "101 iiiiii bbbbb 10",    "5:3|8:6",             tr_store_fp, SF_F64, .a = 2 },
};

static const struct insn insns_zcb[] = {
    { "c.lbu",      "100000 AAA ii DDD 00",   "0|1",                 tr_load,     IR_8 },
    { "c.lhu",      "100001 AAA 0 i DDD 00",  "1",                   tr_load,     IR_16 },
    { "c.lh",       "100001 AAA 1 i DDD 00",  "1",                   tr_load,     IR_16 | IR_SIGNED },
    { "c.sb",       "100010 AAA ii BBB 00",   "0|1",                 tr_store,    IR_8 },
    { "c.sh",       "100011 AAA 0 i BBB 00",  "1",                   tr_store,    IR_16 },
    { "c.zext.b",   "100 1 11 XXX 11 000 01", NULL,                  tr_extend,   IR_zext8 },
    { "c.not",      "100 1 11 XXX 11 101 01", NULL,                  tr_not },
};
static const struct insn insns_zcb_zbb[] = {
    { "c.sext.b",   "100 1 11 XXX 11 001 01", NULL,                  tr_extend,   IR_sext8 },
    { "c.zext.h",   "100 1 11 XXX 11 010 01", NULL,                  tr_extend,   IR_zext16 },
    { "c.sext.h",   "100 1 11 XXX 11 011 01", NULL,                  tr_extend,   IR_sext16 },
};
static const struct insn insns_zcb_zba[] = {
    { "c.zext.w",   "100 1 11 XXX 11 100 01", NULL,                  tr_zext_w },
};
static const struct insn insns_zcb_m[] = {
    { "c.mul",      "100 1 11 XXX 10 BBB 01", NULL,                  tr_op,       IR_mul },
};

const struct insn_table riscv_compressed_tables[] = {
    INSNS(insns_c, EXT(C), 0),
    INSNS(insns_cd, EXT(C) | EXT(D), 0),
    INSNS(insns_zcb, EXT(ZCB), 0),
    INSNS(insns_zcb_zbb, EXT(ZCB) | EXT(ZBB), 0),
    INSNS(insns_zcb_zba, EXT(ZCB) | EXT(ZBA), 0),
    INSNS(insns_zcb_m, EXT(ZCB), EXT(M) | EXT(ZMMUL)),
};
const size_t riscv_n_compressed_tables = ARRAY_LEN(riscv_compressed_tables);
