/* x87 instructions, FXSAVE, XSAVE: they call x87.c and xsave.c, with memory accesses between. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/x87.h"

/* #NM instead. */
static bool is_unavailable(struct tr *t)
{
    if (!(t->flags & X86_TR_NO_X87))
        return false;
    tr_fault(t, X86_NM);
    return true;
}

/* The helper's argument: what the line says, the register, and what FOP and FIP need. */
static ir_val how_of(struct tr *t, const struct x86_insn *i)
{
    uint64_t how = (uint32_t)i->extra | (uint64_t)(i->modrm & 7) << 8;
    how |= (uint64_t)((i->opcode & 7) << 8 | i->modrm) << 20 | (uint64_t)i->len << 32;
    return ir_i64(t->ir, (int64_t)how);
}

static unsigned size_of(const struct x86_insn *i)
{
    static const uint8_t sizes[] = { [X87_F32] = 4, [X87_F64] = 8, [X87_F80] = 10, [X87_I16] = 2,
                                     [X87_I32] = 4, [X87_I64] = 8, [X87_BCD] = 10 };
    return sizes[X87_KIND((unsigned)i->extra)];
}

static void call(struct tr *t, const struct ir_helper *h, ir_val a, ir_val b, ir_val c)
{
    ir_call(t->ir, h, a, b, c, IR_NONE);
}

static void tr_reg(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    call(t, &x86_helper_x87_reg, how_of(t, i), IR_NONE, IR_NONE);
}

/* FWAIT looks at CR0.TS and MP itself. */
static void tr_wait(struct tr *t, const struct x86_insn *i)
{
    call(t, &x86_helper_x87_reg, how_of(t, i), IR_NONE, IR_NONE);
}

static void tr_arith_mem(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, size_of(i), false);
    ir_val v = load_mem(t, m, size_of(i));
    call(t, &x86_helper_x87_arith_mem, how_of(t, i), v, mem_address(t, m));
}

static void tr_load(struct tr *t, const struct x86_insn *i)
{
    unsigned size = size_of(i);
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, size, false), above = { m.base, m.off + 8 };
    ir_val low = load_mem(t, m, size == 10 ? 8 : size);
    ir_val more = size == 10 ? load_mem(t, above, 2) : mem_address(t, m);
    call(t, &x86_helper_x87_load, how_of(t, i), low, more);
}

static void tr_store(struct tr *t, const struct x86_insn *i)
{
    unsigned size = size_of(i);
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, size, true), above = { m.base, m.off + 8 };
    ir_val how = how_of(t, i);
    ir_val low = ir_call(t->ir, &x86_helper_x87_store, how, mem_address(t, m), IR_NONE, IR_NONE);
    store_mem(t, m, size == 10 ? 8 : size, low);
    if (size == 10)
        store_mem(t, above, 2,
                  ir_call(t->ir, &x86_helper_x87_high, IR_NONE, IR_NONE, IR_NONE, IR_NONE));
    call(t, &x86_helper_x87_commit, how, IR_NONE, IR_NONE);
}

static void tr_comi(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    cc_set_flags(t, ir_call(t->ir, &x86_helper_x87_comi, how_of(t, i), IR_NONE, IR_NONE, IR_NONE));
}

/* extra is the condition's number. */
static void tr_cmov(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    ir_val condition = cc_cond_value(t, (unsigned)i->extra);
    call(t, &x86_helper_x87_cmov, how_of(t, i), condition, IR_NONE);
}

/* ---- control ------------------------------------------------------------------------------------ */

static void tr_fldcw(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    call(t, &x86_helper_x87_fldcw, op_read_zx(t, i, 0), IR_NONE, IR_NONE);
}

static ir_val read_word(struct tr *t, const struct ir_helper *h)
{
    return ir_call(t->ir, h, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

static void tr_fnstcw(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    op_write(t, i, 0, read_word(t, &x86_helper_x87_fcw));
}

static void tr_fnstsw(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    op_write(t, i, 0, read_word(t, &x86_helper_x87_fsw));
}

static void tr_fnclex(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    call(t, &x86_helper_x87_fnclex, IR_NONE, IR_NONE, IR_NONE);
}

static void tr_fninit(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    call(t, &x86_helper_x87_fninit, IR_NONE, IR_NONE, IR_NONE);
}

/* FENI, FDISI, FSETPM of older coprocessors. */
static void tr_nothing(struct tr *t, const struct x86_insn *i)
{
    is_unavailable(t);
}

/* extra: bytes of registers behind the environment, and whether it is written. */
enum { WRITES = 1, WITH_REGISTERS = 2 };
static void tr_environment(struct tr *t, const struct x86_insn *i)
{
    static const struct ir_helper *const helpers[] = {
        &x86_helper_x87_fldenv,
        &x86_helper_x87_fnstenv,
        &x86_helper_x87_frstor,
        &x86_helper_x87_fnsave,
    };
    bool real = !(t->flags & X86_TR_PE) || t->flags & X86_TR_VM;
    uint64_t how = (i->osize >= 4 ? X87_ENV32 : 0) | (real ? X87_REAL : 0);
    unsigned size = (i->osize >= 4 ? 28 : 14) + (i->extra & WITH_REGISTERS ? 80 : 0);
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, size, i->extra & WRITES);
    call(t, helpers[i->extra], ir_i64(t->ir, (int64_t)how), mem_address(t, m), IR_NONE);
}

/* ---- FXSAVE, XSAVE ------------------------------------------------------------------------------ */

static ir_val is_wide(struct tr *t, const struct x86_insn *i)
{
    return ir_i64(t->ir, i->rex >> 3 & 1);
}

/* Behind what may change the state word, or write where code is. */
static void go_on_anew(struct tr *t)
{
    ir_jump_indirect(t->ir, ir_pc(t->ir, t->next), IR_HINT_TRAP, 0);
}

static void tr_fxsave(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, 512, true);
    call(t, &x86_helper_fxsave, mem_address(t, m), is_wide(t, i), IR_NONE);
    go_on_anew(t);
}

static void tr_fxrstor(struct tr *t, const struct x86_insn *i)
{
    if (is_unavailable(t))
        return;
    struct x86_mem m = mem_operand(t, i, 512, false);
    call(t, &x86_helper_fxrstor, mem_address(t, m), is_wide(t, i), IR_NONE);
    go_on_anew(t);
}

static ir_val mask_of(struct tr *t)
{
    ir_val high = ir_2i(t->ir, IR_shl, reg_read_zx(t, X86_RDX, 4), 32);
    return ir_2(t->ir, IR_or, high, reg_read_zx(t, X86_RAX, 4));
}

static void tr_xsave(struct tr *t, const struct x86_insn *i)
{
    struct x86_mem m = mem_operand(t, i, 576, true);
    ir_val kind = ir_i64(t->ir, i->extra | (i->rex & 8 ? 16 : 0));
    call(t, &x86_helper_xsave, mem_address(t, m), mask_of(t), kind);
    go_on_anew(t);
}

static void tr_xrstor(struct tr *t, const struct x86_insn *i)
{
    struct x86_mem m = mem_operand(t, i, 576, false);
    ir_val kind = ir_i64(t->ir, i->extra | (i->rex & 8 ? 16 : 0));
    call(t, &x86_helper_xrstor, mem_address(t, m), mask_of(t), kind);
    go_on_anew(t);
}

/* ---- tables (SDM 2-A.5) ------------------------------------------------------------------------- */

#define K(kind)   ((kind) << 12)
#define TO_I      ((int)X87_TO_STI)
#define POPS      ((int)X87_POP)
#define QUIET     ((int)X87_QUIET)
#define TRUNCATES ((int)X87_TRUNCATE)
/* An operation on memory in four formats. */
#define MEM_ARITH(r, name, op)                                               \
    { "f" name "s", "D8 /" #r, "Md", tr_arith_mem, (op) | K(X87_F32) },      \
        { "f" name "l", "DC /" #r, "Mq", tr_arith_mem, (op) | K(X87_F64) },  \
        { "fi" name "l", "DA /" #r, "Md", tr_arith_mem, (op) | K(X87_I32) }, \
    {                                                                        \
        "fi" name "s", "DE /" #r, "Mw", tr_arith_mem, (op) | K(X87_I16)      \
    }
#define ALONE(name, byte)                          \
    {                                              \
        name, "D9 " #byte, "ST0", tr_reg, 0x##byte \
    }

static const struct x86_line x87_lines[] = {
    MEM_ARITH(0, "add", X87_ADD),
    MEM_ARITH(1, "mul", X87_MUL),
    MEM_ARITH(2, "com", X87_COM),
    MEM_ARITH(3, "comp", X87_COMP | POPS),
    MEM_ARITH(4, "sub", X87_SUB),
    MEM_ARITH(5, "subr", X87_SUBR),
    MEM_ARITH(6, "div", X87_DIV),
    MEM_ARITH(7, "divr", X87_DIVR),
    { "fadd", "D8 C0+i", "ST0,STi", tr_reg, X87_ADD },
    { "fmul", "D8 C8+i", "ST0,STi", tr_reg, X87_MUL },
    { "fcom", "D8 D0+i", "ST0,STi", tr_reg, X87_COM },
    { "fcomp", "D8 D8+i", "ST0,STi", tr_reg, X87_COMP | POPS },
    { "fsub", "D8 E0+i", "ST0,STi", tr_reg, X87_SUB },
    { "fsubr", "D8 E8+i", "ST0,STi", tr_reg, X87_SUBR },
    { "fdiv", "D8 F0+i", "ST0,STi", tr_reg, X87_DIV },
    { "fdivr", "D8 F8+i", "ST0,STi", tr_reg, X87_DIVR },
    { "fadd", "DC C0+i", "STi,ST0", tr_reg, X87_ADD | TO_I },
    { "fmul", "DC C8+i", "STi,ST0", tr_reg, X87_MUL | TO_I },
    { "fcom", "DC D0+i", "ST0,STi", tr_reg, X87_COM }, /* this and the next: not documented */
    { "fcomp", "DC D8+i", "ST0,STi", tr_reg, X87_COMP | POPS },
    { "fsubr", "DC E0+i", "STi,ST0", tr_reg, X87_SUBR | TO_I },
    { "fsub", "DC E8+i", "STi,ST0", tr_reg, X87_SUB | TO_I },
    { "fdivr", "DC F0+i", "STi,ST0", tr_reg, X87_DIVR | TO_I },
    { "fdiv", "DC F8+i", "STi,ST0", tr_reg, X87_DIV | TO_I },
    { "faddp", "DE C0+i", "STi,ST0", tr_reg, X87_ADD | TO_I | POPS },
    { "fmulp", "DE C8+i", "STi,ST0", tr_reg, X87_MUL | TO_I | POPS },
    { "fcomp", "DE D0+i", "ST0,STi", tr_reg, X87_COMP | POPS }, /* not documented */
    { "fcompp", "DE D9", "", tr_reg, X87_COMPP | POPS },
    { "fsubrp", "DE E0+i", "STi,ST0", tr_reg, X87_SUBR | TO_I | POPS },
    { "fsubp", "DE E8+i", "STi,ST0", tr_reg, X87_SUB | TO_I | POPS },
    { "fdivrp", "DE F0+i", "STi,ST0", tr_reg, X87_DIVR | TO_I | POPS },
    { "fdivp", "DE F8+i", "STi,ST0", tr_reg, X87_DIV | TO_I | POPS },

    { "flds", "D9 /0", "Md", tr_load, K(X87_F32) },
    { "fldl", "DD /0", "Mq", tr_load, K(X87_F64) },
    { "fldt", "DB /5", "Mt", tr_load, K(X87_F80) },
    { "filds", "DF /0", "Mw", tr_load, K(X87_I16) },
    { "fildl", "DB /0", "Md", tr_load, K(X87_I32) },
    { "fildll", "DF /5", "Mq", tr_load, K(X87_I64) },
    { "fbld", "DF /4", "Mt", tr_load, K(X87_BCD) },
    { "fsts", "D9 /2", "Md", tr_store, K(X87_F32) },
    { "fstps", "D9 /3", "Md", tr_store, K(X87_F32) | POPS },
    { "fstl", "DD /2", "Mq", tr_store, K(X87_F64) },
    { "fstpl", "DD /3", "Mq", tr_store, K(X87_F64) | POPS },
    { "fstpt", "DB /7", "Mt", tr_store, K(X87_F80) | POPS },
    { "fists", "DF /2", "Mw", tr_store, K(X87_I16) },
    { "fistps", "DF /3", "Mw", tr_store, K(X87_I16) | POPS },
    { "fistl", "DB /2", "Md", tr_store, K(X87_I32) },
    { "fistpl", "DB /3", "Md", tr_store, K(X87_I32) | POPS },
    { "fistpll", "DF /7", "Mq", tr_store, K(X87_I64) | POPS },
    { "fbstp", "DF /6", "Mt", tr_store, K(X87_BCD) | POPS },

    { "fld", "D9 C0+i", "STi", tr_reg, X87_FLD },
    { "fxch", "D9 C8+i", "STi", tr_reg, X87_FXCH },
    { "fnop", "D9 D0", "", tr_reg, X87_FNOP },
    { "fstpnce", "D9 D8+i", "STi", tr_reg, X87_FSTNCE }, /* not documented */
    { "ffree", "DD C0+i", "STi", tr_reg, X87_FFREE },
    { "fxch", "DD C8+i", "STi", tr_reg, X87_FXCH }, /* not documented */
    { "fst", "DD D0+i", "STi", tr_reg, X87_FST },
    { "fstp", "DD D8+i", "STi", tr_reg, X87_FST | POPS },
    { "fucom", "DD E0+i", "STi", tr_reg, X87_COM | QUIET },
    { "fucomp", "DD E8+i", "STi", tr_reg, X87_COMP | QUIET | POPS },
    { "fucompp", "DA E9", "", tr_reg, X87_COMPP | QUIET | POPS },
    { "ffreep", "DF C0+i", "STi", tr_reg,
      X87_FFREE | POPS }, /* this and the next three: not documented */
    { "fxch", "DF C8+i", "STi", tr_reg, X87_FXCH },
    { "fstp", "DF D0+i", "STi", tr_reg, X87_FST | POPS },
    { "fstp", "DF D8+i", "STi", tr_reg, X87_FST | POPS },
    ALONE("fchs", E0),
    ALONE("fabs", E1),
    ALONE("ftst", E4),
    ALONE("fxam", E5),
    ALONE("fld1", E8),
    ALONE("fldl2t", E9),
    ALONE("fldl2e", EA),
    ALONE("fldpi", EB),
    ALONE("fldlg2", EC),
    ALONE("fldln2", ED),
    ALONE("fldz", EE),
    ALONE("f2xm1", F0),
    ALONE("fyl2x", F1),
    ALONE("fptan", F2),
    ALONE("fpatan", F3),
    ALONE("fxtract", F4),
    ALONE("fprem1", F5),
    ALONE("fdecstp", F6),
    ALONE("fincstp", F7),
    ALONE("fprem", F8),
    ALONE("fyl2xp1", F9),
    ALONE("fsqrt", FA),
    ALONE("fsincos", FB),
    ALONE("frndint", FC),
    ALONE("fscale", FD),
    ALONE("fsin", FE),
    ALONE("fcos", FF),

    { "fldcw", "D9 /5", "Mw", tr_fldcw },
    { "fnstcw", "D9 /7", "Mw", tr_fnstcw },
    { "fnstsw", "DD /7", "Mw", tr_fnstsw },
    { "fnstsw", "DF E0", "AX", tr_fnstsw },
    { "fnclex", "DB E2", "", tr_fnclex },
    { "fninit", "DB E3", "", tr_fninit },
    { "feni", "DB E0", "", tr_nothing },
    { "fdisi", "DB E1", "", tr_nothing },
    { "fsetpm", "DB E4", "", tr_nothing },
    { "fwait", "9B", "", tr_wait, X87_WAIT },
    { "fldenv", "D9 /4", "M", tr_environment, 0 },
    { "fnstenv", "D9 /6", "M", tr_environment, WRITES },
    { "frstor", "DD /4", "M", tr_environment, WITH_REGISTERS },
    { "fnsave", "DD /6", "M", tr_environment, WRITES | WITH_REGISTERS },
};

/* With CMOV. */
static const struct x86_line cmov_lines[] = {
    { "fcmovb", "DA C0+i", "ST0,STi", tr_cmov, 2 },
    { "fcmove", "DA C8+i", "ST0,STi", tr_cmov, 4 },
    { "fcmovbe", "DA D0+i", "ST0,STi", tr_cmov, 6 },
    { "fcmovu", "DA D8+i", "ST0,STi", tr_cmov, 10 },
    { "fcmovnb", "DB C0+i", "ST0,STi", tr_cmov, 3 },
    { "fcmovne", "DB C8+i", "ST0,STi", tr_cmov, 5 },
    { "fcmovnbe", "DB D0+i", "ST0,STi", tr_cmov, 7 },
    { "fcmovnu", "DB D8+i", "ST0,STi", tr_cmov, 11 },
    { "fucomi", "DB E8+i", "ST0,STi", tr_comi, QUIET },
    { "fcomi", "DB F0+i", "ST0,STi", tr_comi, 0 },
    { "fucomip", "DF E8+i", "ST0,STi", tr_comi, QUIET | POPS },
    { "fcomip", "DF F0+i", "ST0,STi", tr_comi, POPS },
};

static const struct x86_line sse3_lines[] = {
    { "fisttps", "DF /1", "Mw", tr_store, K(X87_I16) | POPS | TRUNCATES },
    { "fisttpl", "DB /1", "Md", tr_store, K(X87_I32) | POPS | TRUNCATES },
    { "fisttpll", "DD /1", "Mq", tr_store, K(X87_I64) | POPS | TRUNCATES },
};

static const struct x86_line fxsr_lines[] = {
    { "fxsave", "NP 0F AE /0", "M", tr_fxsave },
    { "fxrstor", "NP 0F AE /1", "M", tr_fxrstor },
};

static const struct x86_line xsave_lines[] = {
    { "xsave", "NP 0F AE /4", "M", tr_xsave, X86_XSAVE },
    { "xrstor", "NP 0F AE /5", "M", tr_xrstor, X86_XSAVE },
};
static const struct x86_line xsaveopt_lines[] = {
    { "xsaveopt", "NP 0F AE /6", "M", tr_xsave, X86_XSAVEOPT },
};
static const struct x86_line xsavec_lines[] = {
    { "xsavec", "NP 0F C7 /4", "M", tr_xsave, X86_XSAVEC },
};
static const struct x86_line xsaves_lines[] = {
    { "xsaves", "NP 0F C7 /5", "M", tr_xsave, X86_XSAVES, X86_SYSTEM },
    { "xrstors", "NP 0F C7 /3", "M", tr_xrstor, X86_XSAVES, X86_SYSTEM },
};

const struct x86_insn_table x86_x87_tables[] = {
    X86_INSNS(x87_lines, X86_1_EDX, 0),
    X86_INSNS(cmov_lines, X86_1_EDX, 15),
    X86_INSNS(sse3_lines, X86_1_ECX, 0),
    X86_INSNS(fxsr_lines, X86_1_EDX, 24),
    X86_INSNS(xsave_lines, X86_1_ECX, 26),
    X86_INSNS(xsaveopt_lines, X86_D_1_EAX, 0),
    X86_INSNS(xsavec_lines, X86_D_1_EAX, 1),
    X86_INSNS(xsaves_lines, X86_D_1_EAX, 3),
    { 0 },
};
