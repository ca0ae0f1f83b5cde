/* CSRs and the privileged instructions: Zicsr (unprivileged ISA 6), privileged architecture 3.3, 10.1,
 * 12 (Svinval); Zicbom and Zicboz (unprivileged ISA 19), Zawrs (14). */
#include "target/riscv/insns.h"

enum { CSR_WRITE = 1, CSR_SET = 2, CSR_CLEAR = 3, CSR_IMMEDIATE = 4 };
enum {
    CSR_FFLAGS = 1,
    CSR_FRM = 2,
    CSR_FCSR = 3,
    CSR_SSTATUS = 0x100,
    CSR_SIP = 0x144,
    CSR_MSTATUS = 0x300
};

/* A set or clear of status bits that concern data accesses or what interrupts do later: nothing that
 * the rest of the unit depends on, and no interrupt becomes deliverable. */
static bool is_harmless_status(unsigned csr, unsigned op, int64_t mask)
{
    const int64_t data = RV_MSTATUS_SUM | RV_MSTATUS_MXR;
    const int64_t enables = RV_MSTATUS_SIE | RV_MSTATUS_MIE | RV_MSTATUS_SPIE | RV_MSTATUS_MPIE;
    if (csr != CSR_SSTATUS && csr != CSR_MSTATUS)
        return false;
    return (op == CSR_SET && !(mask & ~data)) || (op == CSR_CLEAR && !(mask & ~(data | enables)));
}

/* fflags and reads of frm and fcsr, with the floating-point unit on: no helper. True if it was one. */
static bool tr_fp_status(struct tr *t, const struct operands *o, unsigned csr, unsigned op,
                         bool writes)
{
    struct ir *ir = t->ir;
    if (!(t->flags & RV_FLAG_FS_ON) || csr < CSR_FFLAGS || csr > CSR_FCSR)
        return false;
    if (writes && csr != CSR_FFLAGS)
        return false;
    ir_val frm = ir_i64(ir, rv_flags_frm(t->flags));
    ir_val v = o->extra & CSR_IMMEDIATE ? ir_i64(ir, o->a) : gpr(t, o->a);
    if (csr == CSR_FRM) {
        set_gpr(t, o->d, frm);
        return true;
    }
    ir_val old = ir_fflags(ir);
    if (writes) {
        ir_val now = op == CSR_WRITE ? v : ir_2(ir, op == CSR_SET ? IR_or : IR_andn, old, v);
        ir_set_fflags(ir, now);
    }
    set_gpr(t, o->d, csr == CSR_FFLAGS ? old : ir_2(ir, IR_or, ir_2i(ir, IR_shl, frm, 5), old));
    return true;
}

/* Registers of trap handlers that only hold a value: 0x140 to 0x143 and 0x340 to 0x343 are slots. True if it
 * was one. */
static bool tr_trap_value(struct tr *t, const struct operands *o, unsigned csr, unsigned op,
                          bool writes)
{
    struct ir *ir = t->ir;
    unsigned n = csr & 0xff, priv = csr >> 8;
    if (n < 0x40 || n > 0x43 || (priv != RV_S && priv != RV_M) || rv_flags_priv(t->flags) < priv)
        return false;
    unsigned slot = (priv == RV_S ? RV_SLOT_SSCRATCH : RV_SLOT_MSCRATCH) + (n - 0x40);
    bool epc = n == 0x41; /* instructions are aligned (priv 3.1.14, 4.1.7) */
    ir_val v = o->extra & CSR_IMMEDIATE ? ir_i64(ir, o->a) : gpr(t, o->a), held = ir_get(ir, slot);
    ir_val old = epc && !tr_has(t, RV_EXT_C) ? ir_2i(ir, IR_and, held, -4) : held;
    if (writes) {
        ir_val now = op == CSR_WRITE ? v : ir_2(ir, op == CSR_SET ? IR_or : IR_andn, old, v);
        ir_set(ir, slot, epc ? ir_2i(ir, IR_and, now, -2) : now);
    }
    set_gpr(t, o->d, old);
    return true;
}

/* A pending interrupt that S-mode lets through now (if it does: `maybe`) is taken in the run loop: there it is looked
 * at again. */
static void leave_if_pending(struct tr *t, bool maybe)
{
    struct ir *ir = t->ir;
    ir_val pending = ir_2(ir, IR_or, ir_get(ir, RV_SLOT_MIP), ir_get(ir, RV_SLOT_MIP_LINES));
    ir_val due = ir_2(ir, IR_and, pending, ir_get(ir, RV_SLOT_MIE));
    ir_val sie = ir_2i(ir, IR_and, ir_get(ir, RV_SLOT_MSTATUS), RV_MSTATUS_SIE);
    if (maybe)
        due = ir_select(ir, sie, due, ir_i64(ir, 0));
    uint16_t leave = ir_new_block(ir), go = ir_new_block(ir);
    ir_branch_block(ir, IR_NE, due, ir_i64(ir, 0), leave, go);
    ir_enter(ir, leave);
    ir_leave(ir, t->next);
    ir_enter(ir, go);
}

/* User pages are remembered only while SUM is on. */
static void end_sum(struct tr *t)
{
    struct ir *ir = t->ir;
    uint16_t used = ir_new_block(ir), go = ir_new_block(ir);
    ir_branch_block(ir, IR_NE, ir_get(ir, RV_SLOT_SUM_USED), ir_i64(ir, 0), used, go);
    ir_enter(ir, used);
    ir_call(ir, &rv_helper_sum_ends, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_jump_block(ir, go);
    ir_enter(ir, go);
}

/* SD says that FS is dirty (3.1.6.6). */
static ir_val with_sd(struct tr *t, ir_val status)
{
    struct ir *ir = t->ir;
    const int64_t fs = RV_MSTATUS_FS, least = fs & -fs;
    ir_val clean = ir_2i(ir, IR_and, status, INT64_MAX);
    ir_val sum = ir_2i(ir, IR_add, ir_2i(ir, IR_and, status, fs), least); /* carries out of FS */
    ir_val sd = ir_2i(ir, IR_shl, ir_2i(ir, IR_shr, sum, 15), 63);
    return ir_2(ir, IR_or, clean, sd);
}

static int64_t writable_status(const struct tr *t)
{
    int64_t fs = tr_has(t, RV_EXT_F) ? 0 : RV_MSTATUS_FS;
    return (int64_t)RV_SSTATUS_WRITABLE & ~fs;
}

/* What an access leaves in mstatus. */
static ir_val status_after(struct tr *t, unsigned op, ir_val v)
{
    struct ir *ir = t->ir;
    int64_t writable = writable_status(t);
    ir_val old = ir_get(ir, RV_SLOT_MSTATUS), bits_ = ir_2i(ir, IR_and, v, writable);
    if (op == CSR_WRITE)
        old = ir_2i(ir, IR_and, old, ~writable);
    return with_sd(t, ir_2(ir, op == CSR_CLEAR ? IR_andn : IR_or, old, bits_));
}

static void set_status(struct tr *t, const struct operands *o, ir_val now)
{
    struct ir *ir = t->ir;
    ir_val old = ir_get(ir, RV_SLOT_MSTATUS);
    ir_set(ir, RV_SLOT_MSTATUS, now);
    ir_know(ir, RV_SLOT_FS_SEEN, IR_NONE);
    set_gpr(t, o->d, ir_2i(ir, IR_and, old, RV_SSTATUS_VISIBLE));
}

/* A change of sstatus in S-mode that is not known before: inline unless it concerns MXR or SUM. */
static void tr_sstatus_unknown(struct tr *t, const struct operands *o, unsigned op)
{
    static const struct ir_helper *const helpers[] = { [CSR_WRITE] = &rv_helper_csr_swap,
                                                       [CSR_SET] = &rv_helper_csr_set,
                                                       [CSR_CLEAR] = &rv_helper_csr_clear };
    struct ir *ir = t->ir;
    uint16_t rare = ir_new_block(ir), often = ir_new_block(ir), go = ir_new_block(ir);
    ir_val old = ir_get(ir, RV_SLOT_MSTATUS), now = status_after(t, op, gpr(t, o->a));
    ir_val differs = ir_2i(ir, IR_and, ir_2(ir, IR_xor, old, now), RV_MSTATUS_MXR | RV_MSTATUS_SUM);
    ir_branch_block(ir, IR_NE, differs, ir_i64(ir, 0), rare, often);
    ir_enter(ir, rare);
    ir_val number = ir_i64(ir, (int64_t)RV_CSR_STAY(CSR_SSTATUS, o->d, t->flags));
    set_gpr(t, o->d, ir_call(ir, helpers[op], number, gpr(t, o->a), IR_NONE, IR_NONE));
    ir_jump_block(ir, go);
    ir_enter(ir, often);
    set_status(t, o, status_after(t, op, gpr(t, o->a)));
    ir_jump_block(ir, go);
    ir_enter(ir, go);
    leave_if_pending(t, true);
}

/* sstatus in S-mode: interrupts off and on, SUM, FS and what traps leave are bits of a slot. MXR is another address
 * space. True if this was built. */
static bool tr_sstatus(struct tr *t, const struct operands *o, unsigned csr, unsigned op,
                       bool writes)
{
    struct ir *ir = t->ir;
    if (csr != CSR_SSTATUS || rv_flags_priv(t->flags) != RV_S)
        return false;
    if (!writes) {
        set_gpr(t, o->d, ir_2i(ir, IR_and, ir_get(ir, RV_SLOT_MSTATUS), RV_SSTATUS_VISIBLE));
        return true;
    }
    ir_val v = o->extra & CSR_IMMEDIATE ? ir_i64(ir, o->a) : gpr(t, o->a);
    int64_t mask;
    bool known = ir_is_const(ir, v, &mask);
    if (known && (op == CSR_WRITE || (mask & (int64_t)RV_MSTATUS_MXR)))
        return false;
    if (!known) {
        tr_sstatus_unknown(t, o, op);
        return true;
    }
    mask &= writable_status(t);
    ir_val now = ir_2i(ir, op == CSR_SET ? IR_or : IR_and, ir_get(ir, RV_SLOT_MSTATUS),
                       op == CSR_SET ? mask : ~mask);
    set_status(t, o, mask & (int64_t)RV_MSTATUS_FS ? with_sd(t, now) : now);
    if (op == CSR_CLEAR && (mask & (int64_t)RV_MSTATUS_SUM))
        end_sum(t);
    if (op == CSR_SET && (mask & (int64_t)RV_MSTATUS_SIE))
        leave_if_pending(t, false);
    return true;
}

/* Kernels switch floating point off when they are entered and back when they leave: what follows is found by
 * a jump for the new state word, not by way of the run loop. */
static bool switches_state(unsigned csr, unsigned op, bool known, int64_t v)
{
    if (csr != CSR_SSTATUS && csr != CSR_MSTATUS)
        return false;
    return op == CSR_WRITE ? !known : known && v & RV_MSTATUS_FS;
}

static void tr_csr(struct tr *t, const struct operands *o)
{
    static const struct ir_helper *const helpers[] = { [CSR_WRITE] = &rv_helper_csr_swap,
                                                       [CSR_SET] = &rv_helper_csr_set,
                                                       [CSR_CLEAR] = &rv_helper_csr_clear };
    struct ir *ir = t->ir;
    unsigned csr = o->imm, op = o->extra & 3;
    ir_val number = ir_i64(ir, csr);
    bool writes = op == CSR_WRITE || o->a;
    if (tr_trap_value(t, o, csr, op, writes) || tr_sstatus(t, o, csr, op, writes))
        return;
    if (!writes && tr_fp_status(t, o, csr, op, false))
        return;
    if (!writes) {
        set_gpr(t, o->d, ir_call(ir, &rv_helper_csr_read, number, IR_NONE, IR_NONE, IR_NONE));
        return;
    }
    if (csr >= CSR_FFLAGS && csr <= CSR_FCSR && (t->flags & RV_FLAG_FS_ON) &&
        !(t->flags & RV_FLAG_FS_DIRTY)) {
        ir_call(ir, &rv_helper_fs_dirty, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        ir_leave(ir, t->off);
        return;
    }
    if (tr_fp_status(t, o, csr, op, true))
        return;
    ir_val v = o->extra & CSR_IMMEDIATE ? ir_i64(ir, o->a) : gpr(t, o->a);
    int64_t mask = 0;
    bool known = ir_is_const(ir, v, &mask), switches = switches_state(csr, op, known, mask);
    bool goes_on = riscv_csr_is_plain(csr) || (known && is_harmless_status(csr, op, mask));
    if (!goes_on && !switches && ((csr >= CSR_SSTATUS && csr <= CSR_SIP) || csr <= CSR_FCSR)) {
        /* Often: interrupts off and on again, or the rounding mode set to what it was. */
        number = ir_i64(ir, (int64_t)RV_CSR_STAY(csr, o->d, t->flags));
        goes_on = true;
    }
    if (op == CSR_WRITE && !o->d)
        ir_call(ir, &rv_helper_csr_write, number, v, IR_NONE, IR_NONE);
    else
        set_gpr(t, o->d, ir_call(ir, helpers[op], number, v, IR_NONE, IR_NONE));
    if (switches)
        ir_jump_indirect(ir, ir_pc(ir, t->next), IR_HINT_TRAP, 0);
    else if (!goes_on)
        ir_leave(ir, t->next);
}

/* Call helper `data`, which has no operands, and end the unit. */
static void tr_leave_by(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, o->insn->data, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->next);
}

/* As tr_leave_by, for a helper that gives the address to go on at. */
static void tr_trap_or_return(struct tr *t, const struct operands *o)
{
    ir_val to = ir_call(t->ir, o->insn->data, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_jump_indirect(t->ir, to, IR_HINT_TRAP, 0);
}

void tr_ebreak(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, &rv_helper_ebreak, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->next);
}

static void tr_sfence_vma(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, &rv_helper_sfence_vma, gpr(t, o->a), gpr(t, o->b),
            ir_i64(t->ir, (o->a ? 1 : 0) | (o->b ? 2 : 0)), IR_NONE);
    ir_jump_indirect(t->ir, ir_pc(t->ir, t->next), IR_HINT_TRAP, 0);
}

static void tr_wrs(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, &rv_helper_wrs, ir_i64(t->ir, o->extra), IR_NONE, IR_NONE, IR_NONE);
}

/* A block of zeros, by stores that share a check. */
static void tr_cbo_zero(struct tr *t, const struct operands *o)
{
    struct ir *ir = t->ir;
    int64_t block = riscv_of(t->cpu)->model->cboz_block;
    if (!(t->flags & RV_FLAG_CBZE)) {
        riscv_tr_illegal(t);
        return;
    }
    if (block < 16 || block > 128) {
        ir_call(ir, &rv_helper_cbo, gpr(t, o->a), ir_i64(ir, RV_CBO_ZERO), IR_NONE, IR_NONE);
        return;
    }
    ir_val base = ir_2i(ir, IR_and, gpr(t, o->a), -block), zero = ir_const(ir, IR_V128, 0);
    for (int64_t at = 0; at < block; at += 16)
        ir_store(ir, base, at, zero, IR_128, 0);
}

static void tr_cbo(struct tr *t, const struct operands *o)
{
    ir_call(t->ir, &rv_helper_cbo, gpr(t, o->a), ir_i64(t->ir, o->extra), IR_NONE, IR_NONE);
}

/* clang-format off */

static const struct insn insns_zicsr[] = {
    /* name          bits 31..0                              imm      translate      extra */
    { "csrrw",      "iiiiiiiiiiii   aaaaa 001 ddddd 1110011", IMM_CSR, tr_csr,        CSR_WRITE },
    { "csrrs",      "iiiiiiiiiiii   aaaaa 010 ddddd 1110011", IMM_CSR, tr_csr,        CSR_SET },
    { "csrrc",      "iiiiiiiiiiii   aaaaa 011 ddddd 1110011", IMM_CSR, tr_csr,        CSR_CLEAR },
    { "csrrwi",     "iiiiiiiiiiii   aaaaa 101 ddddd 1110011", IMM_CSR, tr_csr,        CSR_WRITE | CSR_IMMEDIATE },
    { "csrrsi",     "iiiiiiiiiiii   aaaaa 110 ddddd 1110011", IMM_CSR, tr_csr,        CSR_SET | CSR_IMMEDIATE },
    { "csrrci",     "iiiiiiiiiiii   aaaaa 111 ddddd 1110011", IMM_CSR, tr_csr,        CSR_CLEAR | CSR_IMMEDIATE },
};

static const struct insn insns_priv[] = {
    { "ecall",      "000000000000   00000 000 00000 1110011", NULL,    tr_trap_or_return,   0, INSN_END, .data = &rv_helper_ecall },
    { "ebreak",     "000000000001   00000 000 00000 1110011", NULL,    tr_ebreak,     0, INSN_END },
    { "sret",       "0001000  00010 00000 000 00000 1110011", NULL,    tr_trap_or_return,   0, INSN_END, .data = &rv_helper_sret },
    { "mret",       "0011000  00010 00000 000 00000 1110011", NULL,    tr_trap_or_return,   0, INSN_END, .data = &rv_helper_mret },
    { "wfi",        "0001000  00101 00000 000 00000 1110011", NULL,    tr_leave_by,   0, INSN_END, .data = &rv_helper_wfi },
    { "sfence.vma", "0001001  bbbbb aaaaa 000 00000 1110011", NULL,    tr_sfence_vma },
};

static const struct insn insns_svinval[] = {
    { "sinval.vma",      "0001011  bbbbb aaaaa 000 00000 1110011", NULL, tr_sfence_vma },
    { "sfence.w.inval",  "0001100  00000 00000 000 00000 1110011", NULL, tr_leave_by, .data = &rv_helper_sfence_inval },
    { "sfence.inval.ir", "0001100  00001 00000 000 00000 1110011", NULL, tr_leave_by, .data = &rv_helper_sfence_inval },
};

static const struct insn insns_zawrs[] = {
    { "wrs.nto",    "000000001101   00000 000 00000 1110011", NULL,    tr_wrs,        1 },
    { "wrs.sto",    "000000011101   00000 000 00000 1110011", NULL,    tr_wrs,        0 },
};

static const struct insn insns_zicbom[] = {
    { "cbo.inval",  "000000000000   aaaaa 010 00000 0001111", NULL,    tr_cbo,        RV_CBO_INVAL },
    { "cbo.clean",  "000000000001   aaaaa 010 00000 0001111", NULL,    tr_cbo,        RV_CBO_CLEAN },
    { "cbo.flush",  "000000000010   aaaaa 010 00000 0001111", NULL,    tr_cbo,        RV_CBO_FLUSH },
};
static const struct insn insns_zicboz[] = {
    { "cbo.zero",   "000000000100   aaaaa 010 00000 0001111", NULL,    tr_cbo_zero },
};

const struct insn_table riscv_system_tables[] = {
    INSNS(insns_zicsr, EXT(ZICSR), 0),
    INSNS(insns_priv, 0, 0),
    INSNS(insns_svinval, EXT(SVINVAL), 0),
    INSNS(insns_zawrs, EXT(ZAWRS), 0),
    INSNS(insns_zicbom, EXT(ZICBOM), 0),
    INSNS(insns_zicboz, EXT(ZICBOZ), 0),
};
const size_t riscv_n_system_tables = ARRAY_LEN(riscv_system_tables);
