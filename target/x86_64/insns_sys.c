/* System instructions, protection, ports, far transfers: nearly all of it is done by helpers (helpers_sys.h). */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/sys.h"

/* ---- calls ------------------------------------------------------------------------------------------ */

static ir_val call0(struct tr *t, const struct ir_helper *h)
{
    return ir_call(t->ir, h, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}
static ir_val call1(struct tr *t, const struct ir_helper *h, ir_val a)
{
    return ir_call(t->ir, h, a, IR_NONE, IR_NONE, IR_NONE);
}
static ir_val call2(struct tr *t, const struct ir_helper *h, ir_val a, ir_val b)
{
    return ir_call(t->ir, h, a, b, IR_NONE, IR_NONE);
}
static ir_val call3(struct tr *t, const struct ir_helper *h, ir_val a, ir_val b, ir_val c)
{
    return ir_call(t->ir, h, a, b, c, IR_NONE);
}
static ir_val number(struct tr *t, int64_t v)
{
    return ir_i64(t->ir, v);
}
static ir_val length(struct tr *t)
{
    return number(t, t->len);
}

/* End the block where the helper says. */
static void go_on(struct tr *t, ir_val to)
{
    ir_jump_indirect(t->ir, to, IR_HINT_TRAP, 0);
}

/* End it with the next instruction: fetches may be other ones now. */
static void go_on_behind(struct tr *t)
{
    go_on(t, ir_pc(t->ir, t->next));
}

static void write_pair(struct tr *t, ir_val v) /* EDX:EAX */
{
    reg_write(t, X86_RAX, 4, v);
    reg_write(t, X86_RDX, 4, ir_2i(t->ir, IR_shr, v, 32));
}

static ir_val read_pair(struct tr *t)
{
    ir_val high = ir_2i(t->ir, IR_shl, reg_read(t, X86_RDX, 8), 32);
    return ir_2(t->ir, IR_or, reg_read_zx(t, X86_RAX, 4), high);
}

/* Does CS reach as far as the instruction? Jumps look at where they go; so it is asked where a unit begins, of its first
 * instruction: only behind the end of a page may that be news. */
static void check_code_end(struct tr *t)
{
    if (t->flags & X86_TR_LIMIT) {
        call1(t, &x86_helper_check_code, length(t));
        return;
    }
    if (is_code64(t) || x86_tr_flat(t->flags, X86_CS))
        return;
    uint16_t far = ir_new_block(t->ir), on = ir_new_block(t->ir);
    ir_val last =
        ir_2(t->ir, IR_sub, ir_pc(t->ir, t->next - 1), ir_get(t->ir, X86_SLOT_SEG_BASE + X86_CS));
    last = val_zx(t, last, 4);
    ir_branch_block(t->ir, IR_LTU, ir_get(t->ir, X86_SLOT_CODE_LIMIT), last, far, on);
    ir_enter(t->ir, far);
    call1(t, &x86_helper_check_code, length(t));
    ir_jump_block(t->ir, on);
    ir_enter(t->ir, on);
}

void tr_begin_events(struct tr *t)
{
    check_code_end(t);
    if (t->flags & X86_TR_BREAK)
        call0(t, &x86_helper_code_break);
    if (t->flags & X86_TR_SHADOW)
        call0(t, &x86_helper_end_shadow);
    if (t->flags & X86_TR_TF)
        call0(t, &x86_helper_step);
}

/* ---- far transfers ------------------------------------------------------------------------------------ */

static ir_val far_how(struct tr *t, const struct x86_insn *i)
{
    return number(t, i->osize | t->len << 8);
}

static void far_transfer(struct tr *t, const struct x86_insn *i, const struct ir_helper *h)
{
    ir_val offset, selector;
    if (i->op[0].kind == X86_OP_FAR) {
        offset = number(t, i->imm);
        selector = number(t, i->selector);
    } else {
        offset = load_mem(t, mem_operand_at(t, i, 0, i->osize, false), i->osize);
        selector = load_mem(t, mem_operand_at(t, i, i->osize, 2, false), 2);
    }
    go_on(t, call3(t, h, selector, offset, far_how(t, i)));
}

static void tr_far_jump(struct tr *t, const struct x86_insn *i)
{
    far_transfer(t, i, &x86_helper_far_jump);
}
static void tr_far_call(struct tr *t, const struct x86_insn *i)
{
    far_transfer(t, i, &x86_helper_far_call);
}
static void tr_far_return(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call2(t, &x86_helper_far_return, number(t, i->osize), number(t, (uint16_t)i->imm)));
}
static void tr_iret(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_iret, number(t, i->osize)));
}

static void interrupt(struct tr *t, unsigned vector, unsigned kind)
{
    go_on(t, call3(t, &x86_helper_int, number(t, vector), length(t), number(t, kind)));
}
static void tr_int(struct tr *t, const struct x86_insn *i)
{
    interrupt(t, (uint8_t)i->imm, X86_INT_N);
}
static void tr_int3(struct tr *t, const struct x86_insn *i)
{
    interrupt(t, (unsigned)i->extra, i->extra == X86_DB ? X86_INT_1 : X86_INT_3);
}
static void tr_into(struct tr *t, const struct x86_insn *i)
{
    struct x86_cond c = cc_cond(t, 0);
    uint16_t set = ir_new_block(t->ir), clear = ir_new_block(t->ir);
    ir_branch_block(t->ir, c.cc, c.a, c.b, set, clear);
    ir_enter(t->ir, set);
    interrupt(t, X86_OF, X86_INT_3);
    ir_enter(t->ir, clear);
    t->note = 0;
    ir_jump(t->ir, t->next);
}

static void tr_syscall(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_syscall, length(t)));
}
static void tr_sysret(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_sysret, number(t, i->rex & 8 ? 8 : 4)));
}
static void tr_sysenter(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call0(t, &x86_helper_sysenter));
}
static void tr_sysexit(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_sysexit, number(t, i->rex & 8 ? 8 : 4)));
}

/* ---- segment registers ----------------------------------------------------------------------------------- */

/* In 64-bit code nothing that is translated depends on DS, ES, FS and GS. */
static void after_segment(struct tr *t, unsigned seg, ir_val to)
{
    if (!is_code64(t) || seg == X86_SS)
        go_on(t, to);
}

static ir_val load_segment(struct tr *t, unsigned seg, ir_val selector)
{
    return call3(t, &x86_helper_load_segment, number(t, seg), selector, length(t));
}

static void tr_mov_to_segment(struct tr *t, const struct x86_insn *i)
{
    unsigned seg = i->op[0].reg;
    if (seg == X86_CS || seg >= N_X86_SEGS) {
        tr_fault(t, X86_UD);
        return;
    }
    after_segment(t, seg, load_segment(t, seg, op_read_zx(t, i, 1)));
}

static void tr_mov_from_segment(struct tr *t, const struct x86_insn *i)
{
    if (i->op[1].reg >= N_X86_SEGS)
        tr_fault(t, X86_UD);
    else
        op_write(t, i, 0, call1(t, &x86_helper_selector, number(t, i->op[1].reg)));
}

static void tr_push_segment(struct tr *t, const struct x86_insn *i)
{
    push_value(t, i->osize, call1(t, &x86_helper_selector, number(t, i->extra)));
}

static void tr_pop_segment(struct tr *t, const struct x86_insn *i)
{
    ir_val v = pop_value(t, i->osize);
    ir_val to = load_segment(t, (unsigned)i->extra, val_zx(t, v, 2));
    pop_done(t, i->osize);
    after_segment(t, (unsigned)i->extra, to);
}

/* LDS and such: a far pointer. */
static void tr_load_pointer(struct tr *t, const struct x86_insn *i)
{
    ir_val offset = load_mem(t, mem_operand_at(t, i, 0, i->osize, false), i->osize);
    ir_val selector = load_mem(t, mem_operand_at(t, i, i->osize, 2, false), 2);
    ir_val to = load_segment(t, (unsigned)i->extra, selector);
    op_write(t, i, 0, offset);
    after_segment(t, (unsigned)i->extra, to);
}

/* ---- descriptor tables ------------------------------------------------------------------------------------ */

static void tr_load_table(struct tr *t, const struct x86_insn *i)
{
    unsigned size = is_code64(t) ? 8 : 4;
    call0(t, &x86_helper_ring_0);
    ir_val limit = load_mem(t, mem_operand_at(t, i, 0, 2, false), 2);
    ir_val base = load_mem(t, mem_operand_at(t, i, 2, size, false), size);
    if (!is_code64(t) && i->osize == 2)
        base = ir_2i(t->ir, IR_and, base, 0xffffff);
    call3(t, &x86_helper_load_table, number(t, i->extra), base, limit);
    go_on_behind(t);
}

static void tr_store_table(struct tr *t, const struct x86_insn *i)
{
    unsigned size = is_code64(t) ? 8 : 4;
    ir_val limit = call1(t, &x86_helper_store_table, number(t, i->extra + 1));
    store_mem(t, mem_operand_at(t, i, 0, 2, true), 2, limit);
    ir_val base = call1(t, &x86_helper_store_table, number(t, i->extra));
    store_mem(t, mem_operand_at(t, i, 2, size, true), size, base);
}

static void tr_store_word(struct tr *t, const struct x86_insn *i) /* SLDT, STR, SMSW */
{
    op_write(t, i, 0, call1(t, &x86_helper_store_table, number(t, i->extra)));
}

static void tr_lldt(struct tr *t, const struct x86_insn *i)
{
    call0(t, &x86_helper_ring_0);
    call1(t, &x86_helper_lldt, op_read_zx(t, i, 0));
    go_on_behind(t);
}
static void tr_ltr(struct tr *t, const struct x86_insn *i)
{
    call0(t, &x86_helper_ring_0);
    call1(t, &x86_helper_ltr, op_read_zx(t, i, 0));
    go_on_behind(t);
}
static void tr_lmsw(struct tr *t, const struct x86_insn *i)
{
    call0(t, &x86_helper_ring_0);
    go_on(t, call2(t, &x86_helper_lmsw, op_read_zx(t, i, 0), length(t)));
}

/* Only ZF changes; `zero` is 0 or 1. */
static void set_zf(struct tr *t, ir_val zero)
{
    ir_val rest = ir_2i(t->ir, IR_and, cc_flags(t), ~(int64_t)X86_FLAG_ZF);
    cc_set_flags(t, ir_2(t->ir, IR_or, rest, ir_2i(t->ir, IR_shl, zero, 6)));
}

static void tr_look_at_descriptor(struct tr *t, const struct x86_insn *i) /* LAR, LSL */
{
    const struct ir_helper *h = i->extra ? &x86_helper_lsl : &x86_helper_lar;
    ir_val v = call1(t, h, op_read_zx(t, i, 1));
    ir_val valid = ir_setc(t->ir, IR_NE, v, number(t, -1));
    ir_val old = reg_read(t, i->op[0].reg, 8);
    if (i->osize == 2) {
        reg_write(t, i->op[0].reg, 2, ir_select(t->ir, valid, v, old));
    } else {
        /* an invalid one leaves the register as it is, its upper half too */
        ir_set(t->ir, X86_SLOT_R + i->op[0].reg, ir_select(t->ir, valid, v, old));
    }
    set_zf(t, valid);
}

static void tr_verify(struct tr *t, const struct x86_insn *i)
{
    set_zf(t, call2(t, &x86_helper_verify, op_read_zx(t, i, 0), number(t, i->extra)));
}

static void tr_arpl(struct tr *t, const struct x86_insn *i)
{
    struct x86_place p = op_open(t, i, 0);
    ir_val to = val_zx(t, p.v, 2), from = op_read_zx(t, i, 1);
    ir_val rpl = ir_2i(t->ir, IR_and, from, 3);
    ir_val lower = ir_setc(t->ir, IR_LTU, ir_2i(t->ir, IR_and, to, 3), rpl);
    ir_val raised = ir_2(t->ir, IR_or, ir_2i(t->ir, IR_and, to, 0xfffc), rpl);
    op_close(t, i, 0, &p, ir_select(t->ir, lower, raised, to));
    set_zf(t, lower);
}

/* ---- control and debug registers ---------------------------------------------------------------------------- */

static unsigned word(const struct tr *t)
{
    return is_code64(t) ? 8 : 4;
}

static void tr_mov_from_cr(struct tr *t, const struct x86_insn *i)
{
    reg_write(t, i->op[0].reg, word(t), call1(t, &x86_helper_read_cr, number(t, i->op[1].reg)));
}
static void tr_mov_to_cr(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call3(t, &x86_helper_write_cr, number(t, i->op[0].reg),
                   reg_read_zx(t, i->op[1].reg, word(t)), length(t)));
}
static void tr_mov_from_dr(struct tr *t, const struct x86_insn *i)
{
    reg_write(t, i->op[0].reg, word(t), call1(t, &x86_helper_read_dr, number(t, i->op[1].reg)));
}
static void tr_mov_to_dr(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call3(t, &x86_helper_write_dr, number(t, i->op[0].reg),
                   reg_read_zx(t, i->op[1].reg, word(t)), length(t)));
}
static void tr_clts(struct tr *t, const struct x86_insn *i)
{
    call0(t, &x86_helper_ring_0);
    go_on(t, call1(t, &x86_helper_clts, length(t)));
}

static void tr_invlpg(struct tr *t, const struct x86_insn *i)
{
    struct x86_mem m = mem_linear(t, i->seg, mem_effective(t, i), 1, false);
    call1(t, &x86_helper_invlpg, mem_address(t, m));
    go_on_behind(t);
}
static void tr_invpcid(struct tr *t, const struct x86_insn *i)
{
    ir_val type = op_read_zx(t, i, 0);
    call2(t, &x86_helper_invpcid, type, mem_address(t, mem_operand(t, i, 16, false)));
    go_on_behind(t);
}

/* ---- flags ------------------------------------------------------------------------------------------------ */

static void mask_flags(struct tr *t, uint64_t clear, uint64_t set)
{
    ir_val v = ir_2i(t->ir, IR_and, ir_get(t->ir, X86_SLOT_RFLAGS), (int64_t)~clear);
    ir_set(t->ir, X86_SLOT_RFLAGS, ir_2i(t->ir, IR_or, v, (int64_t)set));
}

static bool is_ring_0(const struct tr *t)
{
    return x86_tr_cpl(t->flags) == 0;
}

static ir_val all_flags(struct tr *t)
{
    const uint64_t elsewhere = X86_ARITHMETIC | X86_FLAG_DF | X86_FLAG_RF | X86_FLAG_VM;
    struct ir *ir = t->ir;
    ir_val other = ir_2i(ir, IR_and, ir_get(ir, X86_SLOT_RFLAGS), (int64_t)~elsewhere);
    ir_val df = ir_2i(ir, IR_and, ir_get(ir, X86_SLOT_DF), X86_FLAG_DF); /* -1 or 1 */
    return ir_2(ir, IR_or, ir_2(ir, IR_or, other, df), cc_flags(t));
}

static void tr_pushf(struct tr *t, const struct x86_insn *i)
{
    if (!(t->flags & X86_TR_VM)) {
        push_value(t, i->osize, all_flags(t));
        return;
    }
    push_value(t, i->osize, call1(t, &x86_helper_push_flags, number(t, i->osize)));
}

static void tr_popf(struct tr *t, const struct x86_insn *i)
{
    ir_val v = pop_value(t, i->osize);
    ir_val to = call3(t, &x86_helper_pop_flags, v, number(t, i->osize), length(t));
    pop_done(t, i->osize);
    go_on(t, to);
}

static void tr_cli(struct tr *t, const struct x86_insn *i)
{
    if (t->flags & X86_TR_IOPL_OK)
        mask_flags(t, X86_FLAG_IF, 0);
    else
        call0(t, &x86_helper_cli);
}

static void tr_stac(struct tr *t, const struct x86_insn *i)
{
    if (is_ring_0(t))
        mask_flags(t, 0, X86_FLAG_AC);
    else
        call0(t, &x86_helper_stac);
}

static void tr_swapgs(struct tr *t, const struct x86_insn *i)
{
    if (!is_ring_0(t)) {
        call0(t, &x86_helper_swapgs);
        return;
    }
    ir_val base = ir_get(t->ir, X86_SLOT_SEG_BASE + X86_GS);
    ir_set(t->ir, X86_SLOT_SEG_BASE + X86_GS, ir_get(t->ir, X86_SLOT_KERNEL_GS));
    ir_set(t->ir, X86_SLOT_KERNEL_GS, base);
}

static void tr_sti(struct tr *t, const struct x86_insn *i)
{
    call1(t, &x86_helper_sti, length(t));
}

/* ---- ports -------------------------------------------------------------------------------------------------- */

static ir_val port_operand(struct tr *t, const struct x86_insn *i, unsigned n)
{
    return i->op[n].kind == X86_OP_IMM ? number(t, (uint8_t)i->imm) : reg_read_zx(t, X86_RDX, 2);
}
static void tr_in(struct tr *t, const struct x86_insn *i)
{
    ir_val size = number(t, i->op[0].size);
    op_write(t, i, 0, call2(t, &x86_helper_in, port_operand(t, i, 1), size));
}
static void tr_out(struct tr *t, const struct x86_insn *i)
{
    ir_call(t->ir, &x86_helper_out, port_operand(t, i, 0), number(t, i->op[1].size),
            op_read_zx(t, i, 1), length(t));
}

static void tr_string_io(struct tr *t, const struct x86_insn *i)
{
    unsigned n = i->extra & X86_STRING_OUT ? 1 : 0, seg = i->seg_override ? i->seg : X86_DS;
    int64_t how = i->extra | i->op[n].size | i->asize << 8 | (int64_t)seg << 16;
    if (i->prefixes & (X86_PFX_REP | X86_PFX_REPNE))
        how |= X86_STRING_REP;
    go_on(t, call2(t, &x86_helper_string_io, number(t, how), length(t)));
}

/* ---- small ones ----------------------------------------------------------------------------------------------- */

/* The helper that `extra` names, nothing else. */
enum {
    CALL_CLAC,
    CALL_CPUID,
    CALL_WRPKRU,
    CALL_VMSAVE,
    CALL_CLGI,
    CALL_VMMCALL,
    CALL_INVLPGA,
    CALL_STGI
};
static const struct ir_helper *const simple_helpers[] = {
    [CALL_CLAC] = &x86_helper_clac,       [CALL_CPUID] = &x86_helper_cpuid,
    [CALL_WRPKRU] = &x86_helper_wrpkru,   [CALL_VMSAVE] = &x86_helper_vmsave,
    [CALL_CLGI] = &x86_helper_clgi,       [CALL_VMMCALL] = &x86_helper_vmmcall,
    [CALL_INVLPGA] = &x86_helper_invlpga, [CALL_STGI] = &x86_helper_stgi,
};
static void tr_simple(struct tr *t, const struct x86_insn *i)
{
    call0(t, simple_helpers[i->extra]);
}

/* INVD, WBINVD: `extra` is the exit code. */
static void tr_cache(struct tr *t, const struct x86_insn *i)
{
    call1(t, &x86_helper_cache, number(t, i->extra));
    go_on_behind(t);
}

/* Fetches may be other ones behind these, or an interrupt may be due. What serializes (SDM 3 9.3) is among them: code that
 * another CPU wrote before is seen behind it, also in this unit and where predicted returns lead. */
static void tr_simple_end(struct tr *t, const struct x86_insn *i)
{
    tr_simple(t, i);
    go_on_behind(t);
}

static void tr_vmrun(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_vmrun, length(t)));
}

static void tr_vmload(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_vmload, length(t)));
}

/* The helper's result in EDX:EAX. */
enum { PAIR_RDMSR, PAIR_RDTSC, PAIR_RDTSCP, PAIR_RDPMC, PAIR_XGETBV, PAIR_RDPKRU };
static const struct ir_helper *const pair_helpers[] = {
    [PAIR_RDMSR] = &x86_helper_rdmsr,   [PAIR_RDTSC] = &x86_helper_rdtsc,
    [PAIR_RDTSCP] = &x86_helper_rdtscp, [PAIR_RDPMC] = &x86_helper_rdpmc,
    [PAIR_XGETBV] = &x86_helper_xgetbv, [PAIR_RDPKRU] = &x86_helper_rdpkru,
};
static void tr_pair(struct tr *t, const struct x86_insn *i)
{
    write_pair(t, call0(t, pair_helpers[i->extra]));
    if (i->extra == PAIR_RDTSCP)
        reg_write(t, X86_RCX, 4, call0(t, &x86_helper_rdpid));
}

static void tr_wrmsr(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call1(t, &x86_helper_wrmsr, length(t)));
}
static void tr_xsetbv(struct tr *t, const struct x86_insn *i)
{
    go_on(t, call2(t, &x86_helper_xsetbv, read_pair(t), length(t)));
}
static void tr_rdpid(struct tr *t, const struct x86_insn *i)
{
    reg_write(t, i->op[0].reg, word(t), call0(t, &x86_helper_rdpid));
}
static void tr_read_base(struct tr *t, const struct x86_insn *i)
{
    op_write(t, i, 0, call1(t, &x86_helper_read_base, number(t, i->extra)));
}
static void tr_write_base(struct tr *t, const struct x86_insn *i)
{
    call2(t, &x86_helper_write_base, number(t, i->extra), op_read_zx(t, i, 0));
}
static void tr_hlt(struct tr *t, const struct x86_insn *i)
{
    call1(t, &x86_helper_hlt, length(t));
    ir_leave(t->ir, t->next);
}
static void tr_rsm(struct tr *t, const struct x86_insn *i)
{
    call0(t, &x86_helper_rsm);
    ir_leave(t->ir, t->next);
}
static void tr_monitor(struct tr *t, const struct x86_insn *i)
{
    unsigned seg = i->seg_override ? i->seg : X86_DS;
    struct x86_mem m = mem_linear(t, seg, reg_read_zx(t, X86_RAX, i->asize), 1, false);
    call1(t, &x86_helper_monitor, mem_address(t, m));
}
static void tr_mwait(struct tr *t, const struct x86_insn *i)
{
    call1(t, &x86_helper_mwait, length(t));
    ir_leave(t->ir, t->next);
}
static void tr_serialize(struct tr *t, const struct x86_insn *i)
{
    ir_fence(t->ir, IR_FENCE_RR | IR_FENCE_RW | IR_FENCE_WR | IR_FENCE_WW);
    go_on_behind(t);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */
/* clang-format off */

static const struct x86_line transfers[] = {
    { "jmp far",  "EA",    "Ap",  tr_far_jump,   0, X86_NO64 | X86_SYSTEM, INSN_END },
    { "jmp far",  "FF /5", "Mp",  tr_far_jump,   0, X86_SYSTEM, INSN_END },
    { "call far", "9A",    "Ap",  tr_far_call,   0, X86_NO64 | X86_SYSTEM, INSN_END },
    { "call far", "FF /3", "Mp",  tr_far_call,   0, X86_SYSTEM, INSN_END },
    { "retf",     "CA",    "Iw",  tr_far_return, 0, X86_SYSTEM, INSN_END },
    { "retf",     "CB",    "",    tr_far_return, 0, X86_SYSTEM, INSN_END },
    { "iret",     "CF",    "",    tr_iret,       0, X86_SYSTEM, INSN_END },
    { "int",      "CD",    "Ib",  tr_int,        0, X86_SYSTEM, INSN_END },
    { "int3",     "CC",    "",    tr_int3,  X86_BP, X86_SYSTEM, INSN_END },
    { "int1",     "F1",    "",    tr_int3,  X86_DB, X86_SYSTEM, INSN_END },
    { "into",     "CE",    "",    tr_into,       0, X86_NO64 | X86_SYSTEM, INSN_END },
};
static const struct x86_line syscalls[] = {
    { "syscall",  "0F 05", "",    tr_syscall,  0, X86_SYSTEM, INSN_END },
    { "sysret",   "0F 07", "",    tr_sysret,   0, X86_SYSTEM, INSN_END },
};
static const struct x86_line sysenters[] = {
    { "sysenter", "0F 34", "",    tr_sysenter, 0, X86_SYSTEM, INSN_END },
    { "sysexit",  "0F 35", "",    tr_sysexit,  0, X86_SYSTEM, INSN_END },
};

static const struct x86_line segments[] = {
    { "mov",  "8C /r", "Rv/Mw,Sw", tr_mov_from_segment, 0, X86_SYSTEM },
    { "mov",  "8E /r", "Sw,Ew", tr_mov_to_segment, 0, X86_SYSTEM },
    { "push", "06",    "",      tr_push_segment, X86_ES, X86_NO64 | X86_SYSTEM },
    { "push", "0E",    "",      tr_push_segment, X86_CS, X86_NO64 | X86_SYSTEM },
    { "push", "16",    "",      tr_push_segment, X86_SS, X86_NO64 | X86_SYSTEM },
    { "push", "1E",    "",      tr_push_segment, X86_DS, X86_NO64 | X86_SYSTEM },
    { "push", "0F A0", "",      tr_push_segment, X86_FS, X86_D64 | X86_SYSTEM },
    { "push", "0F A8", "",      tr_push_segment, X86_GS, X86_D64 | X86_SYSTEM },
    { "pop",  "07",    "",      tr_pop_segment,  X86_ES, X86_NO64 | X86_SYSTEM },
    { "pop",  "17",    "",      tr_pop_segment,  X86_SS, X86_NO64 | X86_SYSTEM },
    { "pop",  "1F",    "",      tr_pop_segment,  X86_DS, X86_NO64 | X86_SYSTEM },
    { "pop",  "0F A1", "",      tr_pop_segment,  X86_FS, X86_D64 | X86_SYSTEM },
    { "pop",  "0F A9", "",      tr_pop_segment,  X86_GS, X86_D64 | X86_SYSTEM },
    { "les",  "C4 /r", "Gv,Mp", tr_load_pointer, X86_ES, X86_NO64 | X86_SYSTEM },
    { "lds",  "C5 /r", "Gv,Mp", tr_load_pointer, X86_DS, X86_NO64 | X86_SYSTEM },
    { "lss",  "0F B2 /r", "Gv,Mp", tr_load_pointer, X86_SS, X86_SYSTEM },
    { "lfs",  "0F B4 /r", "Gv,Mp", tr_load_pointer, X86_FS, X86_SYSTEM },
    { "lgs",  "0F B5 /r", "Gv,Mp", tr_load_pointer, X86_GS, X86_SYSTEM },
};

static const struct x86_line tables[] = {
    { "sldt", "0F 00 /0", "Rv/Mw", tr_store_word, X86_LDT_SELECTOR, X86_PROTECTED | X86_SYSTEM },
    { "str",  "0F 00 /1", "Rv/Mw", tr_store_word, X86_TR_SELECTOR,  X86_PROTECTED | X86_SYSTEM },
    { "lldt", "0F 00 /2", "Ew",    tr_lldt,   0, X86_PROTECTED | X86_SYSTEM, INSN_END },
    { "ltr",  "0F 00 /3", "Ew",    tr_ltr,    0, X86_PROTECTED | X86_SYSTEM, INSN_END },
    { "verr", "0F 00 /4", "Ew",    tr_verify, 0, X86_PROTECTED | X86_SYSTEM },
    { "verw", "0F 00 /5", "Ew",    tr_verify, 1, X86_PROTECTED | X86_SYSTEM },
    { "lar",  "0F 02 /r", "Gv,Ew", tr_look_at_descriptor, 0, X86_PROTECTED | X86_SYSTEM },
    { "lsl",  "0F 03 /r", "Gv,Ew", tr_look_at_descriptor, 1, X86_PROTECTED | X86_SYSTEM },
    { "arpl", "63 /r",    "Ew,Gw", tr_arpl,   0, X86_PROTECTED | X86_NO64 | X86_SYSTEM },
    { "sgdt", "0F 01 /0", "Ms",    tr_store_table, X86_GDT_BASE, X86_SYSTEM },
    { "sidt", "0F 01 /1", "Ms",    tr_store_table, X86_IDT_BASE, X86_SYSTEM },
    { "lgdt", "0F 01 /2", "Ms",    tr_load_table,  X86_GDT_BASE, X86_SYSTEM, INSN_END },
    { "lidt", "0F 01 /3", "Ms",    tr_load_table,  X86_IDT_BASE, X86_SYSTEM, INSN_END },
    { "smsw", "0F 01 /4", "Rv/Mw", tr_store_word,  X86_MSW, X86_SYSTEM },
    { "lmsw", "0F 01 /6", "Ew",    tr_lmsw, 0, X86_SYSTEM, INSN_END },
    { "invlpg", "0F 01 /7", "Mb",  tr_invlpg, 0, X86_SYSTEM, INSN_END },
};

static const struct x86_line registers[] = {
    { "mov",    "0F 20 /r", "Rd,Cd", tr_mov_from_cr, 0, X86_SYSTEM | X86_ANY_MOD },
    { "mov",    "0F 21 /r", "Rd,Dd", tr_mov_from_dr, 0, X86_SYSTEM | X86_ANY_MOD },
    { "mov",    "0F 22 /r", "Cd,Rd", tr_mov_to_cr,   0, X86_SYSTEM | X86_ANY_MOD, INSN_END },
    { "mov",    "0F 23 /r", "Dd,Rd", tr_mov_to_dr,   0, X86_SYSTEM | X86_ANY_MOD, INSN_END },
    { "clts",   "0F 06", "", tr_clts,   0, X86_SYSTEM, INSN_END },
    { "invd",   "0F 08", "", tr_cache, X86_EXIT_INVD, X86_SYSTEM, INSN_END },
    { "wbinvd", "0F 09", "", tr_cache, X86_EXIT_WBINVD, X86_SYSTEM, INSN_END },
    { "wrmsr",  "0F 30", "", tr_wrmsr,  0, X86_SYSTEM, INSN_END },
    { "rdtsc",  "0F 31", "", tr_pair,   PAIR_RDTSC, X86_SYSTEM },
    { "rdmsr",  "0F 32", "", tr_pair,   PAIR_RDMSR, X86_SYSTEM },
    { "rdpmc",  "0F 33", "", tr_pair,   PAIR_RDPMC, X86_SYSTEM },
    { "cpuid",  "0F A2", "", tr_simple_end, CALL_CPUID, X86_SYSTEM, INSN_END },
    { "swapgs", "0F 01 F8", "", tr_swapgs, 0, X86_ONLY64 | X86_SYSTEM },
};

static const struct x86_line flags[] = {
    { "pushf", "9C", "", tr_pushf,  0, X86_D64 | X86_SYSTEM },
    { "popf",  "9D", "", tr_popf,   0, X86_D64 | X86_SYSTEM, INSN_END },
    { "cli",   "FA", "", tr_cli,    0, X86_SYSTEM },
    { "sti",   "FB", "", tr_sti,    0, X86_SYSTEM },
    { "hlt",   "F4", "", tr_hlt,    0, X86_SYSTEM, INSN_END },
    { "rsm",   "0F AA", "", tr_rsm, 0, X86_SYSTEM, INSN_END },
};

static const struct x86_line ports[] = {
    { "in",   "E4", "AL,Ib",  tr_in,  0, X86_SYSTEM },
    { "in",   "E5", "eAX,Ib", tr_in,  0, X86_SYSTEM },
    { "in",   "EC", "AL,DX",  tr_in,  0, X86_SYSTEM },
    { "in",   "ED", "eAX,DX", tr_in,  0, X86_SYSTEM },
    { "out",  "E6", "Ib,AL",  tr_out, 0, X86_SYSTEM },
    { "out",  "E7", "Ib,eAX", tr_out, 0, X86_SYSTEM },
    { "out",  "EE", "DX,AL",  tr_out, 0, X86_SYSTEM },
    { "out",  "EF", "DX,eAX", tr_out, 0, X86_SYSTEM },
    { "ins",  "6C", "Yb,DX",  tr_string_io, 0, X86_SYSTEM, INSN_END },
    { "ins",  "6D", "Yz,DX",  tr_string_io, 0, X86_SYSTEM, INSN_END },
    { "outs", "6E", "DX,Xb",  tr_string_io, X86_STRING_OUT, X86_SYSTEM, INSN_END },
    { "outs", "6F", "DX,Xz",  tr_string_io, X86_STRING_OUT, X86_SYSTEM, INSN_END },
};

static const struct x86_line svm[] = {
    { "vmrun",   "0F 01 D8", "", tr_vmrun,      0, X86_SYSTEM | X86_PROTECTED, INSN_END },
    { "vmmcall", "0F 01 D9", "", tr_simple,     CALL_VMMCALL, X86_SYSTEM },
    { "vmload",  "0F 01 DA", "", tr_vmload,     0, X86_SYSTEM | X86_PROTECTED, INSN_END },
    { "vmsave",  "0F 01 DB", "", tr_simple_end, CALL_VMSAVE,  X86_SYSTEM | X86_PROTECTED, INSN_END },
    { "stgi",    "0F 01 DC", "", tr_simple_end, CALL_STGI,    X86_SYSTEM | X86_PROTECTED, INSN_END },
    { "clgi",    "0F 01 DD", "", tr_simple,     CALL_CLGI,    X86_SYSTEM | X86_PROTECTED },
    { "invlpga", "0F 01 DF", "", tr_simple_end, CALL_INVLPGA, X86_SYSTEM | X86_PROTECTED, INSN_END },
};
static const struct x86_line rdtscp[] = { { "rdtscp", "0F 01 F9", "", tr_pair, PAIR_RDTSCP, X86_SYSTEM } };
static const struct x86_line smap[] = {
    { "clac", "NP 0F 01 CA", "", tr_simple, CALL_CLAC, X86_SYSTEM },
    { "stac", "NP 0F 01 CB", "", tr_stac,   0, X86_SYSTEM },
};
static const struct x86_line xcr[] = {
    { "xgetbv", "NP 0F 01 D0", "", tr_pair,   PAIR_XGETBV, X86_SYSTEM },
    { "xsetbv", "NP 0F 01 D1", "", tr_xsetbv, 0, X86_SYSTEM, INSN_END },
};
static const struct x86_line monitor[] = {
    { "monitor", "0F 01 C8", "", tr_monitor, 0, X86_SYSTEM },
    { "mwait",   "0F 01 C9", "", tr_mwait,   0, X86_SYSTEM, INSN_END },
};
static const struct x86_line pkeys[] = {
    { "rdpkru", "NP 0F 01 EE", "", tr_pair,   PAIR_RDPKRU, X86_SYSTEM },
    { "wrpkru", "NP 0F 01 EF", "", tr_simple, CALL_WRPKRU, X86_SYSTEM },
};
static const struct x86_line serialize[] = {
    { "serialize", "NP 0F 01 E8", "", tr_serialize, 0, X86_SYSTEM, INSN_END },
};
static const struct x86_line invpcid[] = {
    { "invpcid", "66 0F38 82 /r", "Gy,Mdq", tr_invpcid, 0, X86_SYSTEM, INSN_END },
};
static const struct x86_line rdpid[] = { { "rdpid", "F3 0F C7 /7", "Rd", tr_rdpid, 0, X86_SYSTEM } };
static const struct x86_line fsgsbase[] = {
    { "rdfsbase", "F3 0F AE /0", "Ry", tr_read_base,  X86_FS, X86_ONLY64 | X86_SYSTEM },
    { "rdgsbase", "F3 0F AE /1", "Ry", tr_read_base,  X86_GS, X86_ONLY64 | X86_SYSTEM },
    { "wrfsbase", "F3 0F AE /2", "Ry", tr_write_base, X86_FS, X86_ONLY64 | X86_SYSTEM },
    { "wrgsbase", "F3 0F AE /3", "Ry", tr_write_base, X86_GS, X86_ONLY64 | X86_SYSTEM },
};

const struct x86_insn_table x86_sys_tables[] = {
    X86_INSNS(transfers, X86_ALWAYS, 0),
    X86_INSNS(syscalls, X86_E1_EDX, 11),
    X86_INSNS(sysenters, X86_1_EDX, 11),
    X86_INSNS(segments, X86_ALWAYS, 0),
    X86_INSNS(tables, X86_ALWAYS, 0),
    X86_INSNS(registers, X86_ALWAYS, 0),
    X86_INSNS(flags, X86_ALWAYS, 0),
    X86_INSNS(ports, X86_ALWAYS, 0),
    X86_INSNS(svm, X86_E1_ECX, 2),
    X86_INSNS(rdtscp, X86_E1_EDX, 27),
    X86_INSNS(smap, X86_7_EBX, 20),
    X86_INSNS(xcr, X86_1_ECX, 26),
    X86_INSNS(monitor, X86_1_ECX, 3),
    X86_INSNS(pkeys, X86_7_ECX, 3),
    X86_INSNS(serialize, X86_7_EDX, 14),
    X86_INSNS(invpcid, X86_7_EBX, 10),
    X86_INSNS(rdpid, X86_7_ECX, 22),
    X86_INSNS(fsgsbase, X86_7_EBX, 0),
    { 0 },
};
