/* String instructions (SDM 1-7.3.9). One turn is done in IR, repeats by a helper (string.c). INS and OUTS are
 * in insns_sys.c. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/string.h"

void string_advance(struct tr *t, const struct x86_insn *i, unsigned reg, unsigned size)
{
    ir_val by = ir_2i(t->ir, IR_shl, ir_get(t->ir, X86_SLOT_DF), log2_size(size));
    reg_write(t, reg, i->asize, ir_2(t->ir, IR_add, reg_read(t, reg, i->asize), by));
}

/* May addresses be used as they are, and is nobody to look at single turns? */
static bool is_simple(const struct tr *t, const struct x86_insn *i)
{
    if (t->flags & (X86_TR_TF | X86_TR_WATCH | X86_TR_AC) || t->ir->forward_only)
        return false;
    if (is_code64(t))
        return i->asize == 8;
    return i->asize == 4 && x86_tr_flat(t->flags, i->seg) && x86_tr_flat(t->flags, X86_ES);
}

/* MOVS and STOS upwards, inside pages that are in reach, need no helper. */
static void repeat_here(struct tr *t, const struct x86_insn *i, unsigned size)
{
    struct ir *ir = t->ir;
    bool moves = i->extra == STRING_MOVS;
    uint16_t done = ir_new_block(ir), other = ir_new_block(ir);
    ir_val to = mem_linear(t, X86_ES, reg_read(t, X86_RDI, i->asize), size, true).base;
    ir_val from = moves ? mem_linear(t, i->seg, reg_read(t, X86_RSI, i->asize), size, false).base
                        : reg_read(t, X86_RAX, 8);
    ir_val down = ir_2i(ir, IR_and, ir_get(ir, X86_SLOT_DF), -2); /* no count is that large */
    ir_val n = ir_2(ir, IR_or, reg_read(t, X86_RCX, i->asize), down);
    ir_val left =
        ir_repeat(ir, moves ? IR_copy : IR_fill, to, from, n, log2_size(size), X86_MMU_DATA);
    ir_branch_block(ir, IR_EQ, left, ir_i64(ir, 0), done, other);
    ir_enter(ir, done);
    ir_val bytes = ir_2i(ir, IR_shl, reg_read(t, X86_RCX, i->asize), log2_size(size));
    if (moves)
        reg_write(t, X86_RSI, i->asize, ir_2(ir, IR_add, reg_read(t, X86_RSI, i->asize), bytes));
    reg_write(t, X86_RDI, i->asize, ir_2(ir, IR_add, reg_read(t, X86_RDI, i->asize), bytes));
    reg_write(t, X86_RCX, i->asize, ir_i64(ir, 0));
    ir_jump(ir, t->next);
    ir_enter(ir, other);
}

/* Comes back to the instruction until it is done, so that interrupts are taken between. */
static void repeat(struct tr *t, const struct x86_insn *i, unsigned size)
{
    bool until = i->prefixes & X86_PFX_REPNE;
    if ((i->extra == STRING_MOVS || i->extra == STRING_STOS) && is_simple(t, i))
        repeat_here(t, i, size);
    uint64_t how = (unsigned)i->extra | size << STRING_SIZE_SHIFT | i->asize << STRING_ASIZE_SHIFT |
                   i->seg << STRING_SEG_SHIFT | (unsigned)until << STRING_UNTIL_SHIFT;
    ir_val more =
        ir_call(t->ir, &x86_helper_rep, ir_i64(t->ir, (int64_t)how), IR_NONE, IR_NONE, IR_NONE);
    ir_branch(t->ir, IR_NE, more, ir_i64(t->ir, 0), t->off, t->next);
}

static void tr_movs(struct tr *t, const struct x86_insn *i, unsigned size)
{
    op_write(t, i, 0, op_read(t, i, 1));
    string_advance(t, i, X86_RSI, size);
    string_advance(t, i, X86_RDI, size);
}

static void tr_cmps(struct tr *t, const struct x86_insn *i, unsigned size)
{
    ir_val b = op_read(t, i, 1), a = op_read(t, i, 0);
    string_advance(t, i, X86_RSI, size);
    string_advance(t, i, X86_RDI, size);
    cc_set(t, CC_CMP, size, a, b, IR_NONE);
}

static void tr_string(struct tr *t, const struct x86_insn *i);

bool x86_repeats(const struct x86_insn *i)
{
    return i->line->translate == tr_string && i->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
}

static void tr_string(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->op[0].size;
    if (i->prefixes & (X86_PFX_REP | X86_PFX_REPNE)) {
        repeat(t, i, size);
        return;
    }
    switch (i->extra) {
    case STRING_MOVS: tr_movs(t, i, size); break;
    case STRING_CMPS: tr_cmps(t, i, size); break;
    case STRING_STOS:
        op_write(t, i, 0, op_read(t, i, 1));
        string_advance(t, i, X86_RDI, size);
        break;
    case STRING_LODS:
        op_write(t, i, 0, op_read(t, i, 1));
        string_advance(t, i, X86_RSI, size);
        break;
    default: {
        ir_val a = op_read(t, i, 0), b = op_read(t, i, 1);
        string_advance(t, i, X86_RDI, size);
        cc_set(t, CC_CMP, size, a, b, IR_NONE);
    }
    }
}

/* ---- tables ---------------------------------------------------------------------------------------- */
/* clang-format off */

static const struct x86_line strings[] = {
    { "movsb", "A4", "Yb,Xb",  tr_string, STRING_MOVS },
    { "movsd", "A5", "Yv,Xv",  tr_string, STRING_MOVS },
    { "cmpsb", "A6", "Xb,Yb",  tr_string, STRING_CMPS },
    { "cmpsd", "A7", "Xv,Yv",  tr_string, STRING_CMPS },
    { "stosb", "AA", "Yb,AL",  tr_string, STRING_STOS },
    { "stosd", "AB", "Yv,rAX", tr_string, STRING_STOS },
    { "lodsb", "AC", "AL,Xb",  tr_string, STRING_LODS },
    { "lodsd", "AD", "rAX,Xv", tr_string, STRING_LODS },
    { "scasb", "AE", "AL,Yb",  tr_string, STRING_SCAS },
    { "scasd", "AF", "rAX,Yv", tr_string, STRING_SCAS },
};

const struct x86_insn_table x86_string_tables[] = {
    X86_INSNS(strings, X86_ALWAYS, 0),
    { 0 },
};
