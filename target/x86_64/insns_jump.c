/* Near control flow and the stack. Far transfers, interrupts and POPF are in insns_sys.c. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"

/* ---- where to ------------------------------------------------------------------------------------- */

static bool is_code_flat(const struct tr *t)
{
    return is_code64(t) || x86_tr_flat(t->flags, X86_CS);
}

ir_val rip_value(struct tr *t, int32_t off, unsigned size)
{
    ir_val pc = ir_pc(t->ir, off);
    if (!is_code_flat(t))
        pc = ir_2(t->ir, IR_sub, pc, ir_get(t->ir, X86_SLOT_SEG_BASE + X86_CS));
    return val_zx(t, pc, size);
}

ir_val near_target(struct tr *t, ir_val to)
{
    if (is_code_flat(t))
        return to;
    return ir_call(t->ir, &x86_helper_linear, ir_i64(t->ir, X86_CS), to,
                   ir_i64(t->ir, 1 | X86_LINEAR_EXEC), IR_NONE);
}

/* Is the instruction's target a constant distance away, whatever CS is, and does RIP not wrap on the way there?
 * Outside 64-bit mode only within the page: behind it the 4 GiB may end. */
static bool is_direct(const struct tr *t, const struct x86_insn *i)
{
    int64_t to = t->next + i->imm;
    if (is_code64(t))
        return i->osize == 8;
    return is_code_flat(t) && i->osize == 4 && to >= 0 && to < 4096;
}

static ir_val relative_target(struct tr *t, const struct x86_insn *i)
{
    ir_val rip = ir_2i(t->ir, IR_add, rip_value(t, t->next, 8), i->imm);
    return near_target(t, val_zx(t, rip, i->osize));
}

static void jump_relative(struct tr *t, const struct x86_insn *i)
{
    if (is_direct(t, i))
        ir_jump(t->ir, t->next + (int32_t)i->imm);
    else
        ir_jump_indirect(t->ir, relative_target(t, i), IR_HINT_JUMP, t->next);
}

/* Go to the instruction's target if a cc b. */
static void jump_if(struct tr *t, const struct x86_insn *i, struct x86_cond c)
{
    if (is_direct(t, i)) {
        ir_branch(t->ir, c.cc, c.a, c.b, t->next + (int32_t)i->imm, t->next);
        return;
    }
    uint16_t taken = ir_new_block(t->ir), on = ir_new_block(t->ir);
    ir_branch_block(t->ir, c.cc, c.a, c.b, taken, on);
    ir_enter(t->ir, taken);
    jump_relative(t, i);
    ir_enter(t->ir, on);
    ir_jump(t->ir, t->next);
}

/* ---- jumps ------------------------------------------------------------------------------------------ */

static void tr_jmp(struct tr *t, const struct x86_insn *i)
{
    jump_relative(t, i);
}

/* Go where an indirect branch goes. */
static void jump_indirect(struct tr *t, const struct x86_insn *i, ir_val to, unsigned hint)
{
    if (t->flags & X86_TR_IBT)
        ir_call(t->ir, &x86_helper_track, to, ir_i64(t->ir, (i->prefixes & X86_PFX_3E) != 0),
                IR_NONE, IR_NONE);
    ir_jump_indirect(t->ir, to, hint, t->next);
}

static void tr_jmp_indirect(struct tr *t, const struct x86_insn *i)
{
    jump_indirect(t, i, near_target(t, op_read_zx(t, i, 0)), IR_HINT_JUMP);
}

static void tr_jcc(struct tr *t, const struct x86_insn *i)
{
    if (cc_can_guess(t)) { /* the second half of a loop that was cut, or the end of a page */
        uint16_t guessed = ir_new_block(t->ir), other = ir_new_block(t->ir);
        ir_val op = ir_i64(t->ir, t->guess - 1);
        ir_branch_block(t->ir, IR_EQ, ir_get(t->ir, X86_SLOT_CC_OP), op, guessed, other);
        ir_enter(t->ir, guessed);
        ir_know(t->ir, X86_SLOT_CC_OP, ir_i64(t->ir, t->guess - 1));
        jump_if(t, i, cc_cond(t, i->opcode & 15));
        ir_enter(t->ir, other); /* last: what follows knows nothing */
    }
    jump_if(t, i, cc_cond(t, i->opcode & 15));
}

/* rCX, as wide as addresses are. */
static ir_val counter(struct tr *t, const struct x86_insn *i)
{
    return reg_read_zx(t, X86_RCX, i->asize);
}

static void tr_jrcxz(struct tr *t, const struct x86_insn *i)
{
    jump_if(t, i, (struct x86_cond){ IR_EQ, counter(t, i), ir_i64(t->ir, 0) });
}

/* LOOPNE, LOOPE, LOOP by their opcodes. */
static void tr_loop(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    ir_val zero = i->opcode == 0xe2 ? IR_NONE : cc_cond_value(t, i->opcode == 0xe1 ? 4 : 5);
    reg_write(t, X86_RCX, i->asize, ir_2i(ir, IR_sub, reg_read(t, X86_RCX, i->asize), 1));
    ir_val left = counter(t, i);
    if (zero != IR_NONE)
        left = ir_2(ir, IR_and, ir_setc(ir, IR_NE, left, ir_i64(ir, 0)), zero);
    jump_if(t, i, (struct x86_cond){ IR_NE, left, ir_i64(ir, 0) });
}

/* ---- calls and returns --------------------------------------------------------------------------------- */

/* On a shadow stack an address has at least four bytes. */
static unsigned shadow_size(const struct x86_insn *i)
{
    return i->osize == 8 ? 8 : 4;
}

static unsigned shadow_shape(unsigned size, unsigned order)
{
    return log2_size(size) | order;
}

/* Where the instruction is a CALL that comes back: what is stored changes nothing if the second store faults. */
static void push_return(struct tr *t, const struct x86_insn *i, bool shadowed)
{
    ir_val back = rip_value(t, t->next, i->osize);
    if (!(t->flags & X86_TR_SHADOW_STACK) || !shadowed) {
        push_value(t, i->osize, back);
        return;
    }
    int size = (int)shadow_size(i);
    ir_val ssp = ir_get(t->ir, X86_SLOT_SSP);
    store_mem(t, stack_at(t, -(int)i->osize, i->osize, true), i->osize, back);
    ir_store(t->ir, ssp, -size, back, shadow_shape((unsigned)size, tcg_tso_store), X86_MMU_SHADOW);
    pop_done(t, -(unsigned)i->osize);
    ir_set(t->ir, X86_SLOT_SSP, ir_2i(t->ir, IR_add, ssp, -size));
}

/* To the next instruction is no call: it asks where it is. */
static void tr_call(struct tr *t, const struct x86_insn *i)
{
    if (is_direct(t, i)) {
        push_return(t, i, i->imm != 0);
        ir_jump_call(t->ir, t->next + (int32_t)i->imm, t->next);
        return;
    }
    ir_val to = relative_target(t, i);
    push_return(t, i, i->imm != 0);
    ir_jump_indirect(t->ir, to, IR_HINT_CALL, t->next);
}

static void tr_call_indirect(struct tr *t, const struct x86_insn *i)
{
    ir_val to = near_target(t, op_read_zx(t, i, 0));
    push_return(t, i, true);
    jump_indirect(t, i, to, IR_HINT_CALL);
}

/* #CP unless the shadow stack agrees. */
static void check_return(struct tr *t, const struct x86_insn *i, ir_val rip)
{
    struct ir *ir = t->ir;
    unsigned size = shadow_size(i);
    uint16_t bad = ir_new_block(ir), good = ir_new_block(ir);
    ir_val ssp = ir_get(ir, X86_SLOT_SSP);
    ir_val v = ir_load(ir, IR_I64, ssp, 0, shadow_shape(size, tcg_tso_load), X86_MMU_SHADOW);
    ir_branch_block(ir, IR_EQ, v, rip, good, bad);
    ir_enter(ir, bad);
    ir_call(ir, &x86_helper_ret_mismatch, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(ir, t->off);
    ir_enter(ir, good);
    ir_set(ir, X86_SLOT_SSP, ir_2i(ir, IR_add, ir_get(ir, X86_SLOT_SSP), size));
}

/* i->imm: bytes of arguments to drop. */
static void tr_ret(struct tr *t, const struct x86_insn *i)
{
    ir_val rip = pop_value(t, i->osize), to = near_target(t, rip);
    if (t->flags & X86_TR_SHADOW_STACK) {
        ir_set(t->ir, X86_SLOT_TMP, to);
        check_return(t, i, rip);
        to = ir_get(t->ir, X86_SLOT_TMP);
    }
    pop_done(t, i->osize + (unsigned)i->imm);
    ir_jump_indirect(t->ir, to, IR_HINT_RETURN, t->next);
}

/* ---- the stack --------------------------------------------------------------------------------------------- */

static void tr_push(struct tr *t, const struct x86_insn *i)
{
    push_value(t, i->osize, op_read(t, i, 0));
}

/* An address based on rSP is computed with rSP as it will be (SDM 2B "POP"). */
static void tr_pop(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->osize;
    ir_val v = pop_value(t, size);
    if (i->op[0].kind == X86_OP_MEM) {
        unsigned by = i->base == X86_RSP ? size : 0;
        store_mem(t, mem_operand_at(t, i, by, size, true), size, v);
        pop_done(t, size);
    } else {
        pop_done(t, size);
        op_write(t, i, 0, v);
    }
}

/* Below rSP + by; all accesses come before rSP moves. */
static void push_at(struct tr *t, unsigned size, int by, ir_val v)
{
    store_mem(t, stack_at(t, by, size, true), size, v);
}

static void tr_pusha(struct tr *t, const struct x86_insn *i)
{
    int size = i->osize;
    for (int r = 0; r < 8; r++)
        push_at(t, i->osize, -size * (r + 1), reg_read(t, (unsigned)r, i->osize));
    pop_done(t, (unsigned)(-8 * size));
}

static void tr_popa(struct tr *t, const struct x86_insn *i)
{
    ir_val v[8];
    unsigned size = i->osize;
    for (unsigned r = 0; r < 8; r++)
        v[r] = r == X86_RSP ? IR_NONE
                            : load_mem(t, stack_at(t, (int)(size * (7 - r)), size, false), size);
    pop_done(t, 8 * size);
    for (unsigned r = 0; r < 8; r++)
        if (r != X86_RSP)
            reg_write(t, r, size, v[r]);
}

/* SDM 2A "ENTER": the frame pointers of the outer levels are copied. */
static void tr_enter(struct tr *t, const struct x86_insn *i)
{
    struct ir *ir = t->ir;
    int size = i->osize, level = i->imm_b & 31, wide = (int)stack_size(t);
    push_at(t, i->osize, -size, reg_read(t, X86_RBP, i->osize));
    ir_val frame =
        val_zx(t, ir_2i(ir, IR_add, reg_read(t, X86_RSP, (unsigned)wide), -size), (unsigned)wide);
    for (int k = 1; k < level; k++) {
        ir_val at =
            val_zx(t, ir_2i(ir, IR_add, reg_read(t, X86_RBP, 8), -size * k), (unsigned)wide);
        ir_val v = load_mem(t, mem_linear(t, X86_SS, at, i->osize, false), i->osize);
        push_at(t, i->osize, -size * (k + 1), v);
    }
    if (level)
        push_at(t, i->osize, -size * (level + 1), frame);
    int all = size * (level + 1) + (int)i->imm; /* the new top must be writable */
    struct x86_mem top = stack_at(t, -all, 1, true);
    ir_rmw(ir, IR_RMW_OR, mem_address(t, top), ir_i64(ir, 0), IR_8, top.mode);
    pop_done(t, (unsigned)-all);
    reg_write(t, X86_RBP, i->osize, frame);
}

static void tr_leave(struct tr *t, const struct x86_insn *i)
{
    unsigned size = i->osize, wide = stack_size(t);
    ir_val at = reg_read_zx(t, X86_RBP, wide);
    ir_val v = load_mem(t, mem_linear(t, X86_SS, at, size, false), size);
    reg_write(t, X86_RSP, wide, ir_2i(t->ir, IR_add, at, size));
    reg_write(t, X86_RBP, size, v);
}

/* ---- tables --------------------------------------------------------------------------------------------------- */
/* clang-format off */

#define JCC(name, digit)                                              \
    { name, "7" digit,    "Jb", tr_jcc, 0, X86_F64, INSN_BRANCH },    \
    { name, "0F 8" digit, "Jz", tr_jcc, 0, X86_F64, INSN_BRANCH }

static const struct x86_line jumps[] = {
    JCC("jo",  "0"), JCC("jno", "1"), JCC("jb", "2"), JCC("jae", "3"),
    JCC("je",  "4"), JCC("jne", "5"), JCC("jbe", "6"), JCC("ja", "7"),
    JCC("js",  "8"), JCC("jns", "9"), JCC("jp", "A"), JCC("jnp", "B"),
    JCC("jl",  "C"), JCC("jge", "D"), JCC("jle", "E"), JCC("jg", "F"),
    { "loopne", "E0",    "Jb", tr_loop,  0, X86_F64, INSN_BRANCH },
    { "loope",  "E1",    "Jb", tr_loop,  0, X86_F64, INSN_BRANCH },
    { "loop",   "E2",    "Jb", tr_loop,  0, X86_F64, INSN_BRANCH },
    { "jrcxz",  "E3",    "Jb", tr_jrcxz, 0, X86_F64, INSN_BRANCH },
    { "call",   "E8",    "Jz", tr_call,  0, X86_F64, INSN_CALL },
    { "jmp",    "E9",    "Jz", tr_jmp,   0, X86_F64, INSN_JUMP },
    { "jmp",    "EB",    "Jb", tr_jmp,   0, X86_F64, INSN_JUMP },
    { "call",   "FF /2", "Ev", tr_call_indirect, 0, X86_F64, INSN_CALL_INDIRECT },
    { "jmp",    "FF /4", "Ev", tr_jmp_indirect,  0, X86_F64, INSN_END },
    { "ret",    "C2",    "Iw", tr_ret,   0, X86_F64, INSN_RETURN },
    { "ret",    "C3",    "",   tr_ret,   0, X86_F64, INSN_RETURN },
};

static const struct x86_line stack[] = {
    { "push",   "50+r",  "Zv", tr_push,  0, X86_D64 },
    { "push",   "68",    "Iz", tr_push,  0, X86_D64 },
    { "push",   "6A",    "Ib", tr_push,  0, X86_D64 },
    { "push",   "FF /6", "Ev", tr_push,  0, X86_D64 },
    { "pop",    "58+r",  "Zv", tr_pop,   0, X86_D64 },
    { "pop",    "8F /0", "Ev", tr_pop,   0, X86_D64 },
    { "pushal", "60",    "",   tr_pusha, 0, X86_NO64 },
    { "popal",  "61",    "",   tr_popa,  0, X86_NO64 },
    { "enter",  "C8",    "Iw,Ib", tr_enter, 0, X86_D64 },
    { "leave",  "C9",    "",   tr_leave, 0, X86_D64 },
};

const struct x86_insn_table x86_jump_tables[] = {
    X86_INSNS(jumps, X86_ALWAYS, 0),
    X86_INSNS(stack, X86_ALWAYS, 0),
    { 0 },
};
