/* Control-flow enforcement (SDM 1-17): ENDBR, and the instructions of shadow stacks. Where a CPU has it and the
 * guest does not use it RDSSP and ENDBR are the NOPs that they were before. What CALL, RET and JMP do about it
 * is in insns_jump.c. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"

static ir_val call(struct tr *t, const struct ir_helper *h, ir_val a, ir_val b, ir_val c)
{
    return ir_call(t->ir, h, a, b, c, IR_NONE);
}

static void tr_endbr(struct tr *t, const struct x86_insn *i)
{
    if (!(t->flags & X86_TR_WAIT))
        return;
    call(t, &x86_helper_endbranch, IR_NONE, IR_NONE, IR_NONE);
    ir_jump_indirect(t->ir, ir_pc(t->ir, t->next), IR_HINT_TRAP, 0);
}

bool x86_ends_waiting(const struct x86_insn *i)
{
    bool int3 =
        i->opcode == 0xcc && !strcmp(i->line->name, "int3"); /* of debuggers, SDM 1-17.3.5 */
    return int3 || (i->line->translate == tr_endbr && i->extra == i->bits);
}

static void tr_rdssp(struct tr *t, const struct x86_insn *i)
{
    if (t->flags & X86_TR_SHADOW_STACK)
        op_write(t, i, 0, ir_get(t->ir, X86_SLOT_SSP));
}

static void tr_incssp(struct tr *t, const struct x86_insn *i)
{
    call(t, &x86_helper_incssp, op_read_zx(t, i, 0), ir_i64(t->ir, i->op[0].size), IR_NONE);
}

static ir_val address(struct tr *t, const struct x86_insn *i)
{
    return mem_address(t, mem_linear(t, i->seg, mem_effective(t, i), i->op[0].size, true));
}

/* `extra`: the helper. Instructions that take an address, and one that takes nothing more. */
enum { RSTORSSP, CLRSSBSY, WRSS, WRUSS };
static void tr_at(struct tr *t, const struct x86_insn *i)
{
    static const struct ir_helper *const helpers[] = { &x86_helper_rstorssp, &x86_helper_clrssbsy };
    call(t, helpers[i->extra], address(t, i), IR_NONE, IR_NONE);
}

static void tr_wrss(struct tr *t, const struct x86_insn *i)
{
    const struct ir_helper *h = i->extra == WRSS ? &x86_helper_wrss : &x86_helper_wruss;
    call(t, h, address(t, i), op_read_zx(t, i, 1), ir_i64(t->ir, i->op[0].size));
}

static void tr_saveprevssp(struct tr *t, const struct x86_insn *i)
{
    call(t, &x86_helper_saveprevssp, IR_NONE, IR_NONE, IR_NONE);
}

static void tr_setssbsy(struct tr *t, const struct x86_insn *i)
{
    call(t, &x86_helper_setssbsy, IR_NONE, IR_NONE, IR_NONE);
}

/* clang-format off */
static const struct x86_line tracking[] = {
    { "endbr64", "F3 0F 1E FA", "", tr_endbr, 64, X86_SYSTEM },
    { "endbr32", "F3 0F 1E FB", "", tr_endbr, 32, X86_SYSTEM },
};
static const struct x86_line shadow[] = {
    { "rdssp",       "F3 0F 1E /1",   "Ry",    tr_rdssp,       0, X86_SYSTEM },
    { "incssp",      "F3 0F AE /5",   "Ry",    tr_incssp,      0, X86_SYSTEM | X86_PROTECTED },
    { "saveprevssp", "F3 0F 01 EA",   "",      tr_saveprevssp, 0, X86_SYSTEM | X86_PROTECTED },
    { "setssbsy",    "F3 0F 01 E8",   "",      tr_setssbsy,    0, X86_SYSTEM | X86_PROTECTED },
    { "rstorssp",    "F3 0F 01 /5",   "Mq",    tr_at,   RSTORSSP, X86_SYSTEM | X86_PROTECTED },
    { "clrssbsy",    "F3 0F AE /6",   "Mq",    tr_at,   CLRSSBSY, X86_SYSTEM | X86_PROTECTED },
    { "wrss",        "NP 0F38 F6 /r", "My,Gy", tr_wrss, WRSS,     X86_SYSTEM | X86_PROTECTED },
    { "wruss",       "66 0F38 F5 /r", "My,Gy", tr_wrss, WRUSS,    X86_SYSTEM | X86_PROTECTED },
};

const struct x86_insn_table x86_cet_tables[] = {
    X86_INSNS(tracking, X86_7_EDX, 20),
    X86_INSNS(shadow, X86_7_ECX, 7),
    { 0 },
};
