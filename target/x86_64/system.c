/* System instructions: control and debug registers, flags, ports, time, waiting, descriptor tables (SDM 2, 3-2). */
#include "core/clock.h"
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

static void check_ring_0(struct x86_cpu *x)
{
    if (x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
}

static uint64_t go_on(struct x86_cpu *x, uint64_t len)
{
    x->pc = x86_insn_pc(x) + len;
    if (!x86_in_code64(x))
        x->pc = (uint32_t)x->pc;
    x86_update_state_word(x);
    return x->pc;
}

static bool in_vm86(const struct x86_cpu *x)
{
    return x->cr0 & X86_CR0_PE && x86_in_vm86(x);
}

static unsigned iopl(const struct x86_cpu *x)
{
    return bits(x->rflags, 12, 2);
}

/* ---- control registers (SDM 3-2.5) ---------------------------------------------------------------- */

static void write_cr0(struct x86_cpu *x, uint64_t v)
{
    uint64_t changed = x->cr0 ^ v;
    bool paging = v & X86_CR0_PG;
    if (v >> 32 || (paging && !(v & X86_CR0_PE)) || (v & X86_CR0_NW && !(v & X86_CR0_CD)))
        x86_fault_code(x, X86_GP, 0);
    if (x->cr4 & X86_CR4_CET && !(v & X86_CR0_WP))
        x86_fault_code(x, X86_GP, 0);
    if (changed & X86_CR0_PG && !paging && (x86_in_code64(x) || x->cr4 & X86_CR4_PCIDE))
        x86_fault_code(x, X86_GP, 0);
    if (changed & X86_CR0_PG && paging && x->efer & X86_EFER_LME &&
        (!(x->cr4 & X86_CR4_PAE) || x->seg[X86_CS].rights & X86_AR_L))
        x86_fault_code(x, X86_GP, 0);
    bool wide = paging && x->efer & X86_EFER_LME;
    if (paging && !wide && x->cr4 & X86_CR4_PAE &&
        changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW) && !x86_load_pdptrs(x, x->cr3))
        x86_fault_code(x, X86_GP, 0);
    x->efer = wide ? x->efer | X86_EFER_LMA : x->efer & ~X86_EFER_LMA;
    x->cr0 = (v & 0xe005003f) | X86_CR0_ET;
    if (changed & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
        x86_paging_changed(x);
}

static void write_cr3(struct x86_cpu *x, uint64_t v)
{
    bool pcid = x->cr4 & X86_CR4_PCIDE, keep = pcid && v >> 63;
    if (pcid)
        v &= ~((uint64_t)1 << 63);
    if (x86_in_long_mode(x) && v >> x->model->phys_bits)
        x86_fault_code(x, X86_GP, 0);
    if (!x86_in_long_mode(x))
        v = (uint32_t)v;
    if (x86_uses_pdptrs(x) && !x86_load_pdptrs(x, v))
        x86_fault_code(x, X86_GP, 0);
    x86_set_cr3(x, v, keep);
}

uint64_t x86_allowed_cr4(const struct x86_cpu *x)
{
    static const struct {
        uint64_t bits;
        uint8_t word, bit;
    } needs[] = {
        { X86_CR4_VME | X86_CR4_PVI, X86_1_EDX, 1 },
        { X86_CR4_TSD, X86_1_EDX, 4 },
        { X86_CR4_DE, X86_1_EDX, 2 },
        { X86_CR4_PSE, X86_1_EDX, 3 },
        { X86_CR4_PAE, X86_1_EDX, 6 },
        { X86_CR4_MCE, X86_1_EDX, 7 },
        { X86_CR4_PGE, X86_1_EDX, 13 },
        { X86_CR4_OSFXSR, X86_1_EDX, 24 },
        { X86_CR4_OSXMMEXCPT, X86_1_EDX, 25 },
        { X86_CR4_UMIP, X86_7_ECX, 2 },
        { X86_CR4_LA57, X86_7_ECX, 16 },
        { X86_CR4_FSGSBASE, X86_7_EBX, 0 },
        { X86_CR4_PCIDE, X86_1_ECX, 17 },
        { X86_CR4_OSXSAVE, X86_1_ECX, 26 },
        { X86_CR4_SMEP, X86_7_EBX, 7 },
        { X86_CR4_SMAP, X86_7_EBX, 20 },
        { X86_CR4_PKE, X86_7_ECX, 3 },
        { X86_CR4_CET, X86_7_ECX, 7 },
        { X86_CR4_CET, X86_7_EDX, 20 },
    };
    uint64_t allowed = X86_CR4_PCE;
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (x86_model_has(x->model, needs[i].word, needs[i].bit))
            allowed |= needs[i].bits;
    return allowed;
}

static void write_cr4(struct x86_cpu *x, uint64_t v)
{
    const uint64_t paging = X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP |
                            X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_LA57;
    uint64_t changed = x->cr4 ^ v;
    if (v & ~x86_allowed_cr4(x))
        x86_fault_code(x, X86_GP, 0);
    if (v & X86_CR4_CET && !(x->cr0 & X86_CR0_WP))
        x86_fault_code(x, X86_GP, 0);
    if (x86_in_long_mode(x) && (!(v & X86_CR4_PAE) || changed & X86_CR4_LA57))
        x86_fault_code(x, X86_GP, 0);
    if (changed & v & X86_CR4_PCIDE && (!x86_in_long_mode(x) || x->cr3 & 0xfff))
        x86_fault_code(x, X86_GP, 0);
    if (x->cr0 & X86_CR0_PG && v & X86_CR4_PAE && !x86_in_long_mode(x) &&
        changed & (X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_SMEP) &&
        !x86_load_pdptrs(x, x->cr3))
        x86_fault_code(x, X86_GP, 0);
    x->cr4 = v;
    if (changed & paging)
        x86_paging_changed(x);
}

uint64_t x86h_read_cr(struct x86_cpu *x, uint64_t n)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_CR_READ + (unsigned)n);
    switch (n) {
    case 0: return x->cr0;
    case 2: return x->cr2;
    case 3: return x->cr3;
    case 4: return x->cr4;
    case 8:
        if (x->svm.in_guest && x->svm.int_ctl & X86_SVM_V_MASKING)
            return x->svm.int_ctl & 15;
        return x->apic ? x->apic->get_tpr(x->apic_opaque) : x->cr8;
    default: x86_fault(x, X86_UD);
    }
}

uint64_t x86h_write_cr(struct x86_cpu *x, uint64_t n, uint64_t v, uint64_t len)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_CR_WRITE + (unsigned)n);
    switch (n) {
    case 0:
        x86_intercept_cr0(x, v);
        write_cr0(x, v);
        break;
    case 2: x->cr2 = v; break;
    case 3: write_cr3(x, v); break;
    case 4: write_cr4(x, v); break;
    case 8:
        if (v > 15)
            x86_fault_code(x, X86_GP, 0);
        if (x->svm.in_guest && x->svm.int_ctl & X86_SVM_V_MASKING) {
            x->svm.int_ctl = (x->svm.int_ctl & ~(uint64_t)0xff) | v;
            x86_check_interrupts(x);
            break;
        }
        x->cr8 = v;
        if (x->apic)
            x->apic->set_tpr(x->apic_opaque, (uint8_t)v);
        x86_check_interrupts(x);
        break;
    default: x86_fault(x, X86_UD);
    }
    return go_on(x, len);
}

uint64_t x86h_lmsw(struct x86_cpu *x, uint64_t v, uint64_t len)
{
    check_ring_0(x);
    v = (x->cr0 & ~(uint64_t)0xe) | (v & 0xe) | (v & X86_CR0_PE) | (x->cr0 & X86_CR0_PE);
    x86_intercept(x, X86_EXIT_CR_WRITE);
    x86_intercept_cr0(x, v);
    write_cr0(x, v);
    return go_on(x, len);
}

uint64_t x86h_clts(struct x86_cpu *x, uint64_t len)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_CR_WRITE);
    x->cr0 &= ~X86_CR0_TS;
    return go_on(x, len);
}

/* ---- debug registers (SDM 3-18.2) ------------------------------------------------------------------ */

/* DR4 and DR5 are other names of DR6 and DR7 until CR4.DE. */
static unsigned debug_register(struct x86_cpu *x, unsigned n)
{
    if (n > 7 || ((n == 4 || n == 5) && x->cr4 & X86_CR4_DE))
        x86_fault(x, X86_UD);
    check_ring_0(x);
    if (x->dr7 & X86_DR7_GD)
        x86_debug_fault(x, X86_DR6_BD);
    return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t x86h_read_dr(struct x86_cpu *x, uint64_t n)
{
    unsigned i = debug_register(x, (unsigned)n);
    x86_intercept(x, X86_EXIT_DR_READ + (unsigned)n);
    return i < 4 ? x->dr[i] : i == 6 ? x->dr6 : x->dr7;
}

uint64_t x86h_write_dr(struct x86_cpu *x, uint64_t n, uint64_t v, uint64_t len)
{
    unsigned i = debug_register(x, (unsigned)n);
    x86_intercept(x, X86_EXIT_DR_WRITE + (unsigned)n);
    if (i >= 6 && v >> 32)
        x86_fault_code(x, X86_GP, 0);
    if (i < 4)
        x->dr[i] = v;
    else if (i == 6)
        x->dr6 = (v & 0x1e00f) | 0xfffe0ff0;
    else
        x->dr7 = (v & 0xffff2bff) | 0x400;
    return go_on(x, len);
}

uint32_t x86_watch_hits(const struct x86_cpu *x, uint64_t linear, unsigned size, unsigned what)
{
    static const uint8_t lengths[] = { 1, 2, 8, 4 };
    uint32_t hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned kind = x->dr7 >> (16 + 4 * i) & 3;
        uint64_t len = lengths[x->dr7 >> (18 + 4 * i) & 3], at = x->dr[i] & ~(len - 1);
        bool wanted = what == X86_WATCH_WRITE ? kind == 1 || kind == 3 : kind == what;
        if (x->dr7 >> 2 * i & 3 && wanted && linear < at + len && at < linear + size)
            hits |= 1u << i;
    }
    return hits;
}

/* Data and I/O breakpoints are traps: #DB behind the instruction. */
static void note_hits(struct x86_cpu *x, uint32_t hits)
{
    if (!hits)
        return;
    x->step_dr6 |= hits;
    vcpu_kick(x->cpu);
}

void x86h_watch(struct x86_cpu *x, uint64_t linear, uint64_t how)
{
    bool write = how & X86_LINEAR_WRITE;
    note_hits(x, x86_watch_hits(x, linear, how & 0xff, write ? X86_WATCH_WRITE : X86_WATCH_ANY));
}

/* ---- at the begin of units (tr_begin_events) ------------------------------------------------------- */

void x86h_step(struct x86_cpu *x)
{
    x->stepping = true;
    vcpu_kick(x->cpu);
}

/* The instruction behind STI or MOV SS: then what waits is taken. */
void x86h_end_shadow(struct x86_cpu *x)
{
    x->shadow_left = 0;
    x86_update_state_word(x);
    vcpu_kick(x->cpu);
}

void x86h_code_break(struct x86_cpu *x)
{
    uint64_t pc = x86_insn_pc(x);
    bool resumed = x->rflags & X86_FLAG_RF;
    x->rflags &= ~(uint64_t)X86_FLAG_RF;
    uint32_t hits = x86_watch_hits(x, pc, 1, X86_WATCH_EXEC);
    if (hits && !resumed)
        x86_debug_fault(x, hits);
}

/* ---- flags (SDM 2-4.3 "POPF", "CLI", "STI") --------------------------------------------------------- */

uint64_t x86h_push_flags(struct x86_cpu *x, uint64_t size)
{
    uint64_t v = x86_get_rflags(x) & ~(uint64_t)(X86_FLAG_RF | X86_FLAG_VM);
    if (in_vm86(x) && iopl(x) < 3) {
        if (!(x->cr4 & X86_CR4_VME) || size != 2)
            x86_fault_code(x, X86_GP, 0);
        v = (v & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL | (v & X86_FLAG_VIF ? X86_FLAG_IF : 0);
    }
    return v;
}

uint64_t x86h_pop_flags(struct x86_cpu *x, uint64_t v, uint64_t size, uint64_t len)
{
    x86_intercept(x, X86_EXIT_POPF);
    uint64_t now = x86_get_rflags(x), mask = 0x4dd5 | (size > 2 ? X86_FLAG_AC | X86_FLAG_ID : 0);
    unsigned cpl = x86_cpl(x);
    if (in_vm86(x) && iopl(x) < 3) {
        bool may = x->cr4 & X86_CR4_VME && size == 2;
        if (!may || v & X86_FLAG_TF || (v & X86_FLAG_IF && now & X86_FLAG_VIP))
            x86_fault_code(x, X86_GP, 0);
        mask |= X86_FLAG_VIF;
        v = (v & ~(uint64_t)X86_FLAG_VIF) | (v & X86_FLAG_IF ? X86_FLAG_VIF : 0);
    } else {
        if (in_vm86(x) || cpl <= iopl(x))
            mask |= X86_FLAG_IF;
        if (!in_vm86(x) && cpl == 0)
            mask |= X86_FLAG_IOPL;
    }
    x86_set_rflags(x, (now & ~(mask | X86_FLAG_RF)) | (v & mask) | X86_FLAG_ONE);
    x86_check_interrupts(x);
    return go_on(x, len);
}

/* Which flag CLI and STI are about: IF, or VIF for those who may not. */
static uint64_t interrupt_flag(struct x86_cpu *x)
{
    if (!(x->cr0 & X86_CR0_PE) || (in_vm86(x) ? iopl(x) == 3 : x86_cpl(x) <= iopl(x)))
        return X86_FLAG_IF;
    bool virtual = in_vm86(x) ? x->cr4 & X86_CR4_VME : x86_cpl(x) == 3 && x->cr4 & X86_CR4_PVI;
    if (!virtual)
        x86_fault_code(x, X86_GP, 0);
    return X86_FLAG_VIF;
}

void x86h_cli(struct x86_cpu *x)
{
    x->rflags &= ~interrupt_flag(x);
}

void x86h_sti(struct x86_cpu *x, uint64_t len)
{
    uint64_t flag = interrupt_flag(x);
    if (flag == X86_FLAG_VIF && x->rflags & X86_FLAG_VIP)
        x86_fault_code(x, X86_GP, 0);
    if (flag == X86_FLAG_IF && !(x->rflags & X86_FLAG_IF))
        x86_hold_interrupts(x, x86_insn_pc(x) + len, false);
    x->rflags |= flag;
    if (!x86_interrupt_is_due(x))
        return;
    go_on(x, len); /* at once: a CLI may follow, two instructions on */
    tcg_leave(x->cpu);
}

void x86h_stac(struct x86_cpu *x)
{
    if (x86_cpl(x))
        x86_fault(x, X86_UD);
    x->rflags |= X86_FLAG_AC;
}

void x86h_clac(struct x86_cpu *x)
{
    if (x86_cpl(x))
        x86_fault(x, X86_UD);
    x->rflags &= ~(uint64_t)X86_FLAG_AC;
    tcg_drop_user_pages(x->cpu);
}

/* ---- segment registers and descriptor tables ---------------------------------------------------------- */

uint64_t x86h_selector(struct x86_cpu *x, uint64_t seg)
{
    return x->seg[seg].selector;
}

uint64_t x86h_load_segment(struct x86_cpu *x, uint64_t seg, uint64_t selector, uint64_t len)
{
    x86_load_segment(x, (unsigned)seg, (uint16_t)selector);
    if (seg == X86_SS)
        x86_hold_interrupts(x, x86_insn_pc(x) + len, true);
    return go_on(x, len);
}

static void check_umip(struct x86_cpu *x)
{
    if (x->cr4 & X86_CR4_UMIP && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
}

uint64_t x86h_store_table(struct x86_cpu *x, uint64_t what)
{
    check_umip(x);
    x86_intercept(x, what == X86_GDT_BASE || what == X86_GDT_LIMIT   ? X86_EXIT_GDTR_READ
                     : what == X86_IDT_BASE || what == X86_IDT_LIMIT ? X86_EXIT_IDTR_READ
                     : what == X86_LDT_SELECTOR                      ? X86_EXIT_LDTR_READ
                     : what == X86_TR_SELECTOR                       ? X86_EXIT_TR_READ
                                                                     : X86_EXIT_CR_READ);
    switch (what) {
    case X86_GDT_BASE: return x->gdt.base;
    case X86_GDT_LIMIT: return x->gdt.limit;
    case X86_IDT_BASE: return x->idt.base;
    case X86_IDT_LIMIT: return x->idt.limit;
    case X86_LDT_SELECTOR: return x->ldt.selector;
    case X86_TR_SELECTOR: return x->tr.selector;
    default: return x->cr0;
    }
}

void x86h_load_table(struct x86_cpu *x, uint64_t what, uint64_t base, uint64_t limit)
{
    check_ring_0(x);
    if (x86_in_code64(x) && !x86_is_canonical(x, base))
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, what == X86_GDT_BASE ? X86_EXIT_GDTR_WRITE : X86_EXIT_IDTR_WRITE);
    *(what == X86_GDT_BASE ? &x->gdt : &x->idt) = (struct x86_table){ base, (uint16_t)limit };
}

void x86h_lldt(struct x86_cpu *x, uint64_t selector)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_LDTR_WRITE);
    x86_load_ldt(x, (uint16_t)selector, X86_GP);
}

void x86h_ltr(struct x86_cpu *x, uint64_t selector)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_TR_WRITE);
    x86_load_tr(x, (uint16_t)selector);
}

/* The descriptor if this ring may look at it (SDM 2 "LAR"): conforming code always. */
static bool is_visible(struct x86_cpu *x, uint16_t selector, struct x86_descriptor *d)
{
    if (x86_is_null(selector) || !x86_find_descriptor(x, selector, d))
        return false;
    bool conforming = x86_desc_is_code(d) && d->high >> 8 & X86_AR_CONFORMING;
    return conforming || x86_desc_dpl(d) >= MAX(x86_cpl(x), selector & 3u);
}

static bool is_in(uint32_t set, unsigned type)
{
    return set >> type & 1;
}

uint64_t x86h_lar(struct x86_cpu *x, uint64_t selector)
{
    struct x86_descriptor d;
    uint32_t valid = x86_in_long_mode(x) ? 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12 : 0x1a3e;
    if (!is_visible(x, (uint16_t)selector, &d) ||
        (!x86_desc_is_segment(&d) && !is_in(valid, x86_desc_type(&d))))
        return UINT64_MAX;
    return d.high & 0x00ffff00;
}

uint64_t x86h_lsl(struct x86_cpu *x, uint64_t selector)
{
    struct x86_descriptor d;
    uint32_t valid = x86_in_long_mode(x) ? 1 << 2 | 1 << 9 | 1 << 11 : 0x0a0e;
    if (!is_visible(x, (uint16_t)selector, &d) ||
        (!x86_desc_is_segment(&d) && !is_in(valid, x86_desc_type(&d))))
        return UINT64_MAX;
    return x86_segment_from(&d).limit;
}

uint64_t x86h_verify(struct x86_cpu *x, uint64_t selector, uint64_t write)
{
    struct x86_descriptor d;
    if (!is_visible(x, (uint16_t)selector, &d) || !x86_desc_is_segment(&d))
        return 0;
    bool code = x86_desc_is_code(&d), bit1 = d.high >> 8 & X86_AR_WRITABLE;
    return write ? !code && bit1 : !code || bit1;
}

/* ---- FS and GS bases ------------------------------------------------------------------------------------ */

void x86h_swapgs(struct x86_cpu *x)
{
    check_ring_0(x);
    uint64_t base = x->seg[X86_GS].base;
    x->seg[X86_GS].base = x->kernel_gs_base;
    x->kernel_gs_base = base;
}

uint64_t x86h_read_base(struct x86_cpu *x, uint64_t seg)
{
    if (!(x->cr4 & X86_CR4_FSGSBASE))
        x86_fault(x, X86_UD);
    return x->seg[seg].base;
}

void x86h_write_base(struct x86_cpu *x, uint64_t seg, uint64_t v)
{
    if (!(x->cr4 & X86_CR4_FSGSBASE))
        x86_fault(x, X86_UD);
    if (!x86_is_canonical(x, v))
        x86_fault_code(x, X86_GP, 0);
    x->seg[seg].base = v;
}

/* ---- ports ------------------------------------------------------------------------------------------------ */

static uint64_t read_port(struct x86_cpu *x, uint32_t port, unsigned size)
{
    uint32_t v = 0;
    mem_port_read(x->cpu->vm, port, size, &v);
    if (x->state_word & X86_TR_WATCH && x->cr4 & X86_CR4_DE)
        note_hits(x, x86_watch_hits(x, port, size, X86_WATCH_IO));
    return v;
}

static void write_port(struct x86_cpu *x, uint32_t port, unsigned size, uint32_t v)
{
    mem_port_write(x->cpu->vm, port, size, v);
    if (x->state_word & X86_TR_WATCH && x->cr4 & X86_CR4_DE)
        note_hits(x, x86_watch_hits(x, port, size, X86_WATCH_IO));
}

uint64_t x86h_in(struct x86_cpu *x, uint64_t port, uint64_t size)
{
    x86_check_ports(x, (uint16_t)port, (unsigned)size);
    if (x->svm.in_guest)
        x86_intercept_port(x, (uint16_t)port, (unsigned)size, 1, x86_insn_length(x));
    return read_port(x, (uint16_t)port, (unsigned)size);
}

/* An SMI that this raised comes before the next instruction, which also sees the memory map that it made. In lock-step
 * the unit always ends: both sides at the same place. */
void x86h_out(struct x86_cpu *x, uint64_t port, uint64_t size, uint64_t v, uint64_t len)
{
    x86_check_ports(x, (uint16_t)port, (unsigned)size);
    if (x->svm.in_guest)
        x86_intercept_port(x, (uint16_t)port, (unsigned)size, 0, len);
    write_port(x, (uint16_t)port, (unsigned)size, (uint32_t)v);
    bool asked = atomic_load(x->cpu->exit_flag) || atomic_load(&x->lines) & X86_SMI;
    if (__builtin_expect(asked, 0) || x->cpu->vm->tape) {
        go_on(x, len);
        tcg_leave(x->cpu);
    }
}

static uint64_t address_mask(unsigned size)
{
    return size == 8 ? UINT64_MAX : size == 4 ? UINT32_MAX : 0xffff;
}

static void set_masked(uint64_t *reg, uint64_t v, uint64_t mask)
{
    *reg = mask == UINT32_MAX ? (uint32_t)v : (*reg & ~mask) | (v & mask);
}

/* The port is read only when its value can be stored. */
static void input_one(struct x86_cpu *x, unsigned size, uint64_t mask)
{
    struct tlb_fill fill;
    uint64_t *di = &x->gpr[X86_RDI];
    uint64_t to = x86_linear(x, X86_ES, *di & mask, size | X86_LINEAR_WRITE);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = i ? to + size - 1 : to;
        if (!x86_translate_address(x->cpu, at, ACCESS_WRITE, X86_MMU_DATA, &fill))
            x86_memory_fault(x, at, fill.fault);
    }
    tcg_watch(x->cpu, to, size, ACCESS_WRITE);
    x86_write(x, to, size, read_port(x, (uint16_t)x->gpr[X86_RDX], size), X86_MMU_DATA);
    set_masked(di, *di + x->df * size, mask);
}

static void output_one(struct x86_cpu *x, unsigned seg, unsigned size, uint64_t mask)
{
    uint64_t *si = &x->gpr[X86_RSI];
    uint64_t from = x86_linear(x, seg, *si & mask, size);
    uint64_t v = x86_read(x, from, size, X86_MMU_DATA);
    write_port(x, (uint16_t)x->gpr[X86_RDX], size, (uint32_t)v);
    set_masked(si, *si + x->df * size, mask);
}

uint64_t x86h_string_io(struct x86_cpu *x, uint64_t how, uint64_t len)
{
    unsigned size = how & 0xff, seg = how >> 16 & 7;
    uint64_t mask = address_mask(how >> 8 & 0xff), *cx = &x->gpr[X86_RCX];
    bool rep = how & X86_STRING_REP, out = how & X86_STRING_OUT;
    x86_check_ports(x, (uint16_t)x->gpr[X86_RDX], size);
    if (x->svm.in_guest) /* EXITINFO1, APM 2-15.10.2 */
        x86_intercept_port(x, (uint16_t)x->gpr[X86_RDX], size,
                           (out ? 0 : 1) | 1 << 2 | rep << 3 | (how >> 8 & 14) << 6 | seg << 10,
                           len);
    while (!rep || *cx & mask) {
        if (out)
            output_one(x, seg, size, mask);
        else
            input_one(x, size, mask);
        if (!rep)
            break;
        set_masked(cx, *cx - 1, mask);
        if (*cx & mask && (atomic_load(x->cpu->exit_flag) ||
                           tcg_one_turn(x->cpu))) /* go on when somebody was answered */
            return go_on(x, 0);
    }
    return go_on(x, len);
}

/* ---- waiting ------------------------------------------------------------------------------------------------ */

noreturn void x86_halt(struct x86_cpu *x, bool takes_intr)
{
    x->takes_intr = takes_intr && x->svm.gif;
    x->deaf_lines =
        (x->events.nmi_masked ? X86_NMI : 0) | (x->events.in_smm ? X86_SMI | X86_INIT : 0);
    if (!x->svm.gif)
        x->deaf_lines = X86_NMI | X86_SMI | X86_INIT;
    tcg_halt(x->cpu);
}

void x86h_hlt(struct x86_cpu *x, uint64_t len)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_HLT);
    go_on(x, len);
    if (x86_interrupt_is_due(x))
        tcg_leave(x->cpu);
    x->run_state = X86_HLT;
    x86_halt(x, x86_takes_interrupts(x));
}

void x86h_monitor(struct x86_cpu *x, uint64_t linear)
{
    check_ring_0(x);
    if ((uint32_t)x->gpr[X86_RCX])
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_MONITOR);
    x->monitor_value = x86_read(x, linear, 1, X86_MMU_DATA);
    x->monitor_at = align_down(linear, 8);
    x->monitor_value = x86_read(x, x->monitor_at, 8, X86_MMU_DATA);
    x->is_monitoring = true;
}

/* A write to the line is noticed when a short sleep ends. */
void x86h_mwait(struct x86_cpu *x, uint64_t len)
{
    enum { NAP_NS = 200000 };
    uint64_t now;
    struct tcg_failure why;
    check_ring_0(x);
    if ((uint32_t)x->gpr[X86_RCX] & ~1u)
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_MWAIT);
    bool unchanged = x->is_monitoring &&
                     tcg_try_load(x->cpu, x->monitor_at, 8, X86_MMU_DATA, &now, &why) &&
                     now == x->monitor_value;
    x->is_monitoring = false;
    go_on(x, len);
    if (!unchanged)
        tcg_leave(x->cpu);
    x->cpu->nap_ns = NAP_NS;
    x86_halt(x, x->rflags & X86_FLAG_IF || x->gpr[X86_RCX] & 1);
}

void x86h_cache(struct x86_cpu *x, uint64_t code)
{
    check_ring_0(x);
    x86_intercept(x, (unsigned)code);
}

void x86h_ring_0(struct x86_cpu *x)
{
    check_ring_0(x);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static uint64_t tsc_of_clock(const struct x86_cpu *x)
{
    uint32_t khz = x->model->tsc_khz ? x->model->tsc_khz : 1000000;
    return (uint64_t)((unsigned __int128)vm_now_ns(x->cpu->vm) * khz / 1000000);
}

uint64_t x86_tsc_now(const struct x86_cpu *x)
{
    return tsc_of_clock(x) + x->tsc_adjust;
}

void x86_set_tsc(struct x86_cpu *x, uint64_t v)
{
    x->tsc_adjust = v - tsc_of_clock(x);
}

uint64_t x86_guest_tsc(const struct x86_cpu *x)
{
    return x86_tsc_now(x) + (x->svm.in_guest ? x->svm.tsc_offset : 0);
}

uint64_t x86h_rdtsc(struct x86_cpu *x)
{
    if (x->cr4 & X86_CR4_TSD && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_RDTSC);
    return x86_guest_tsc(x);
}

uint64_t x86h_rdtscp(struct x86_cpu *x)
{
    if (x->cr4 & X86_CR4_TSD && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_RDTSCP);
    return x86_guest_tsc(x);
}

uint64_t x86h_rdpmc(struct x86_cpu *x)
{
    uint32_t n = (uint32_t)x->gpr[X86_RCX];
    if (!(x->cr4 & X86_CR4_PCE) && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_RDPMC);
    if (n < X86_N_PMU_COUNTERS)
        return x->pmc[n];
    if (n >> 30 == 1 && (n & 0x3fffffff) < X86_N_PMU_FIXED)
        return x->pmc_fixed[n & 3];
    x86_fault_code(x, X86_GP, 0);
}

uint64_t x86h_rdpid(struct x86_cpu *x)
{
    return (uint32_t)x->tsc_aux;
}

void x86h_cpuid(struct x86_cpu *x)
{
    uint32_t r[4];
    x86_intercept(x, X86_EXIT_CPUID);
    if (x->misc_features_enables & 1 && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    x86_cpuid(x, (uint32_t)x->gpr[X86_RAX], (uint32_t)x->gpr[X86_RCX], r);
    x->gpr[X86_RAX] = r[0];
    x->gpr[X86_RBX] = r[1];
    x->gpr[X86_RCX] = r[2];
    x->gpr[X86_RDX] = r[3];
}

/* ---- extended state, protection keys --------------------------------------------------------------------------- */

uint64_t x86h_xgetbv(struct x86_cpu *x)
{
    uint32_t n = (uint32_t)x->gpr[X86_RCX];
    if (!(x->cr4 & X86_CR4_OSXSAVE))
        x86_fault(x, X86_UD);
    if (n == 0)
        return x->xcr0;
    if (n == 1 && x86_model_has(x->model, X86_D_1_EAX, 2))
        return x->xinuse & x->xcr0;
    x86_fault_code(x, X86_GP, 0);
}

/* SDM 1-13.3: x87 always, AVX not without SSE, and what the CPU has. */
uint64_t x86h_xsetbv(struct x86_cpu *x, uint64_t v, uint64_t len)
{
    if (!(x->cr4 & X86_CR4_OSXSAVE))
        x86_fault(x, X86_UD);
    check_ring_0(x);
    bool avx_alone = (v & (X86_XSAVE_SSE | X86_XSAVE_AVX)) == X86_XSAVE_AVX;
    if ((uint32_t)x->gpr[X86_RCX] || !(v & X86_XSAVE_X87) || avx_alone || v & ~x->model->xcr0)
        x86_fault_code(x, X86_GP, 0);
    x86_intercept(x, X86_EXIT_XSETBV);
    x->xcr0 = v;
    return go_on(x, len);
}

uint64_t x86h_rdpkru(struct x86_cpu *x)
{
    if (!(x->cr4 & X86_CR4_PKE))
        x86_fault(x, X86_UD);
    if ((uint32_t)x->gpr[X86_RCX])
        x86_fault_code(x, X86_GP, 0);
    return x->pkru;
}

void x86h_wrpkru(struct x86_cpu *x)
{
    if (!(x->cr4 & X86_CR4_PKE))
        x86_fault(x, X86_UD);
    if ((uint32_t)x->gpr[X86_RCX] || (uint32_t)x->gpr[X86_RDX])
        x86_fault_code(x, X86_GP, 0);
    x86_set_pkru(x, (uint32_t)x->gpr[X86_RAX]);
}
