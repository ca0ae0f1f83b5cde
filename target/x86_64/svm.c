/* Guests of the guest: VMRUN, #VMEXIT, what a hypervisor may intercept (APM 2-15). Nested page tables are walked in mmu.c;
 * docs/x86-translator.md has the design. */
#include "core/memory.h"
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

/* ---- the VMCB (APM 2-B) ------------------------------------------------------------------------------ */

enum {
    INTERCEPTS = 0x000,
    IOPM = 0x040,
    MSRPM = 0x048,
    TSC_OFFSET = 0x050,
    ASID = 0x058,
    TLB_CONTROL = 0x05c,
    INT_CTL = 0x060,
    SHADOW = 0x068,
    EXITCODE = 0x070,
    EXITINFO1 = 0x078,
    EXITINFO2 = 0x080,
    EXITINTINFO = 0x088,
    NP_ENABLE = 0x090,
    EVENTINJ = 0x0a8,
    N_CR3 = 0x0b0,
    NEXT_RIP = 0x0c8,
    SAVE = 0x400, /* offsets in the state save area follow */
    CPL = 0x0cb,
    SIZE = 0x280, /* of it, as far as it counts */
    CONTROLS = 0x100
};

/* Registers of eight bytes, by what moves them. */
struct place {
    uint16_t at, offset;
};
#define PLACE(at, member)                    \
    {                                        \
        at, offsetof(struct x86_cpu, member) \
    }
static const struct place run_state[] = {
    PLACE(0x0d0, efer), PLACE(0x148, cr4),   PLACE(0x150, cr3), PLACE(0x158, cr0),
    PLACE(0x160, dr7),  PLACE(0x168, dr6),   PLACE(0x1f8, gpr), PLACE(0x1d8, gpr[X86_RSP]),
    PLACE(0x240, cr2),  PLACE(0x1e0, s_cet), PLACE(0x1e8, ssp), PLACE(0x1f0, int_ssp_table),
};
static const struct place load_state[] = {
    PLACE(0x200, star),         PLACE(0x208, lstar),          PLACE(0x210, cstar),
    PLACE(0x218, sfmask),       PLACE(0x220, kernel_gs_base), PLACE(0x228, sysenter_cs),
    PLACE(0x230, sysenter_esp), PLACE(0x238, sysenter_eip),
};
static const struct place pat_state = PLACE(0x268, pat);
enum { RFLAGS = 0x170, RIP = 0x178, GDTR = 0x060, LDTR = 0x070, IDTR = 0x080, TR = 0x090 };

static void get(struct x86_cpu *x, const uint8_t *s, const struct place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *(uint64_t *)((char *)x + p[i].offset) = load_le(s + p[i].at, 8);
}

static void put(const struct x86_cpu *x, uint8_t *s, const struct place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_le(s + p[i].at, 8, *(const uint64_t *)((const char *)x + p[i].offset));
}

/* Rights: bits 7..0, and 15..12 as bits 11..8. */
static struct x86_segment get_segment(const uint8_t *s)
{
    uint32_t attributes = (uint32_t)load_le(s + 2, 2);
    return (struct x86_segment){ .selector = (uint16_t)load_le(s, 2),
                                 .rights = (attributes & 0xff) | (attributes & 0xf00) << 4 |
                                           (attributes & X86_AR_P ? 0 : X86_AR_UNUSABLE),
                                 .limit = (uint32_t)load_le(s + 4, 4),
                                 .base = load_le(s + 8, 8) };
}

static void put_segment(uint8_t *s, const struct x86_segment *g)
{
    uint32_t attributes = (g->rights & 0xff) | (g->rights >> 4 & 0xf00);
    store_le(s, 2, g->selector);
    store_le(s + 2, 2, g->rights & X86_AR_UNUSABLE ? attributes & ~(uint32_t)X86_AR_P : attributes);
    store_le(s + 4, 4, g->limit);
    store_le(s + 8, 8, g->base);
}

static struct x86_table get_table(const uint8_t *s)
{
    return (struct x86_table){ load_le(s + 8, 8), (uint16_t)load_le(s + 4, 4) };
}

static void put_table(uint8_t *s, struct x86_table t)
{
    store_le(s + 4, 4, t.limit);
    store_le(s + 8, 8, t.base);
}

/* ---- intercepts ---------------------------------------------------------------------------------------- */

/* CR and DR: 16 bits of reads, then of writes; exceptions; 0x60 to 0x7f; 0x80 to 0x9f. */
bool x86_is_intercepted(const struct x86_cpu *x, unsigned code)
{
    return x->svm.in_guest && code < 0xa0 && x->svm.intercept[code / 32] >> code % 32 & 1;
}

void x86_exit_if_wanted(struct x86_cpu *x, unsigned code, uint64_t info1, uint64_t info2)
{
    if (x86_is_intercepted(x, code))
        x86_vmexit(x, code, info1, info2);
}

void x86_intercept_cr0(struct x86_cpu *x, uint64_t v)
{
    if ((v ^ x->cr0) & ~(X86_CR0_TS | X86_CR0_MP))
        x86_intercept(x, X86_EXIT_CR0_SELECTED);
}

static uint64_t read_map(struct x86_cpu *x, uint64_t at, unsigned size)
{
    uint8_t bytes[2] = { 0xff, 0xff }; /* beyond memory everything is wanted */
    mem_read(x->cpu->vm, at, bytes, size);
    return load_le(bytes, size);
}

void x86_intercept_port(struct x86_cpu *x, uint32_t port, unsigned size, uint64_t how, uint64_t len)
{
    if (!x86_is_intercepted(x, X86_EXIT_IO))
        return;
    uint64_t closed = read_map(x, x->svm.iopm + port / 8, 2) >> (port & 7) & ((1u << size) - 1);
    if (closed)
        x86_vmexit(x, X86_EXIT_IO, how | size << 4 | port << 16, x86_insn_ip(x) + len);
}

/* Two bits a register: read, write (APM 2-15.11). */
void x86_intercept_msr(struct x86_cpu *x, uint32_t index, bool write)
{
    static const struct {
        uint32_t first, at;
    } ranges[] = { { 0, 0 }, { 0xc0000000, 0x800 }, { 0xc0010000, 0x1000 } };
    if (!x86_is_intercepted(x, X86_EXIT_MSR))
        return;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t off = index - ranges[i].first;
        if (off >= 0x2000)
            continue;
        if (!(read_map(x, x->svm.msrpm + ranges[i].at + off / 4, 1) >> (off % 4 * 2 + write) & 1))
            return;
    }
    x86_vmexit(x, X86_EXIT_MSR, write, 0);
}

/* What the guest would see of a page fault stays as it is. */
void x86_intercept_exception(struct x86_cpu *x, struct x86_event e, uint64_t address)
{
    if (e.vector < 32 && x86_is_intercepted(x, X86_EXIT_EXCEPTION + e.vector))
        x86_vmexit(x, X86_EXIT_EXCEPTION + e.vector, e.error, e.vector == X86_PF ? address : 0);
}

/* EVENTINJ and EXITINTINFO, APM 2-15.20 */
enum { TYPE_INTR = 0, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_SOFT = 4 };
#define EVENT_ERROR ((uint64_t)1 << 11)
#define EVENT_VALID ((uint64_t)1 << 31)

uint64_t x86_event_info(struct x86_event e)
{
    bool nmi = e.external && e.vector == X86_NMI_VECTOR;
    bool trap = e.soft && (e.vector == X86_BP || e.vector == X86_OF);
    uint64_t type = nmi               ? TYPE_NMI
                    : e.external      ? TYPE_INTR
                    : e.soft && !trap ? TYPE_SOFT
                                      : TYPE_EXCEPTION;
    return e.vector | type << 8 | (e.has_error ? EVENT_ERROR | (uint64_t)e.error << 32 : 0) |
           EVENT_VALID;
}

/* ---- #VMEXIT (APM 2-15.6) -------------------------------------------------------------------------------- */

static void save_guest(struct x86_cpu *x, uint8_t *s)
{
    static const uint8_t at[] = {
        [X86_ES] = 0x00, [X86_CS] = 0x10, [X86_SS] = 0x20, [X86_DS] = 0x30
    };
    for (unsigned i = 0; i < ARRAY_LEN(at); i++)
        put_segment(s + at[i], &x->seg[i]);
    put_table(s + GDTR, x->gdt);
    put_table(s + IDTR, x->idt);
    s[CPL] = (uint8_t)x86_cpl(x);
    put(x, s, run_state, ARRAY_LEN(run_state));
    store_le(s + RFLAGS, 8, x86_get_rflags(x));
    store_le(s + RIP, 8, x86_insn_ip(x));
    if (x->svm.np)
        put(x, s, &pat_state, 1);
}

static void save_host(struct x86_cpu *x, uint64_t rip)
{
    struct x86_svm *v = &x->svm;
    memcpy(v->seg, x->seg, sizeof(v->seg));
    v->gdt = x->gdt;
    v->idt = x->idt;
    v->cr0 = x->cr0;
    v->cr3 = x->cr3;
    v->cr4 = x->cr4;
    v->efer = x->efer;
    v->rflags = x86_get_rflags(x);
    v->rip = rip;
    v->rsp = x->gpr[X86_RSP];
    v->rax = x->gpr[X86_RAX];
    v->pat = x->pat;
    v->s_cet = x->s_cet;
    v->ssp = x->ssp;
    v->int_ssp_table = x->int_ssp_table;
}

static void load_host(struct x86_cpu *x)
{
    struct x86_svm *v = &x->svm;
    v->in_guest = v->gif = false;
    memcpy(x->seg, v->seg, sizeof(v->seg));
    x->gdt = v->gdt;
    x->idt = v->idt;
    x->cr0 = v->cr0;
    x->cr3 = v->cr3;
    x->cr4 = v->cr4;
    x->efer = v->efer;
    x->pat = v->pat;
    x->s_cet = v->s_cet;
    x->ssp = v->ssp;
    x->int_ssp_table = v->int_ssp_table;
    x->gpr[X86_RSP] = v->rsp;
    x->gpr[X86_RAX] = v->rax;
    x->dr7 = 0x400;
    x86_set_rflags(x, v->rflags & ~(uint64_t)(X86_FLAG_VM | X86_FLAG_RF));
    x86_set_ip(x, v->rip);
    if (x86_uses_pdptrs(x))
        x86_load_pdptrs(x, x->cr3);
}

/* Instructions say where the next one is; so that a host need not decode. */
static bool has_next_rip(uint64_t code)
{
    return code < X86_EXIT_EXCEPTION ||
           (code >= X86_EXIT_CR0_SELECTED && code < X86_EXIT_SHUTDOWN) ||
           (code >= X86_EXIT_VMRUN && code < 0xa0) || code == X86_EXIT_EXCEPTION + X86_BP ||
           code == X86_EXIT_EXCEPTION + X86_OF;
}

static void log_exit(const struct x86_cpu *x, uint64_t code, uint64_t info1, uint64_t info2)
{
    const struct log *log = &x->cpu->vm->log;
    if (log_on(log, LOG_INT))
        log_print(log, "int: cpu %u #VMEXIT %#llx info %#llx %#llx at %04x:%016llx\n",
                  x->cpu->index, (unsigned long long)code, (unsigned long long)info1,
                  (unsigned long long)info2, x->seg[X86_CS].selector, (unsigned long long)x->pc);
}

void x86_exit_guest(struct x86_cpu *x, uint64_t code, uint64_t info1, uint64_t info2)
{
    struct vm *vm = x->cpu->vm;
    uint8_t c[CONTROLS] = { 0 }, s[SIZE] = { 0 };
    x->pc = x86_insn_pc(x);
    x->pc_known = true;
    log_exit(x, code, info1, info2);
    uint64_t next = has_next_rip(code) ? x86_insn_ip(x) + x86_insn_length(x) : 0;
    bool shadow = x->shadow_left && x->pc == x->shadow_pc;
    mem_read(vm, x->svm.vmcb, c, sizeof(c));
    mem_read(vm, x->svm.vmcb + SAVE, s, sizeof(s));
    save_guest(x, s);
    store_le(c + INT_CTL, 8, x->svm.int_ctl);
    store_le(c + SHADOW, 8, shadow);
    store_le(c + EXITCODE, 8, code);
    store_le(c + EXITINFO1, 8, info1);
    store_le(c + EXITINFO2, 8, info2);
    store_le(c + EXITINTINFO, 8, x->delivering >= 0 ? x->delivery_info : 0);
    store_le(c + NEXT_RIP, 8, next);
    store_le(c + EVENTINJ, 8, load_le(c + EVENTINJ, 8) & ~EVENT_VALID);
    mem_write(vm, x->svm.vmcb + INT_CTL, c + INT_CTL, CONTROLS - INT_CTL);
    mem_write(vm, x->svm.vmcb + SAVE, s, sizeof(s));
    load_host(x);
    x->delivering = -1;
    x->pc_known = x->stepping = false;
    x->step_dr6 = 0;
    x->shadow_left = 0;
    x->local_filled = true; /* both sides fill contexts */
    if (x->run_state == X86_HLT)
        x->run_state = X86_RUNNABLE;
    x86_update_state_word(x);
}

noreturn void x86_vmexit(struct x86_cpu *x, uint64_t code, uint64_t info1, uint64_t info2)
{
    x86_exit_guest(x, code, info1, info2);
    tcg_leave(x->cpu);
}

/* ---- VMRUN (APM 2-15.5) ---------------------------------------------------------------------------------- */

static void need_svm(struct x86_cpu *x)
{
    if (!(x->efer & X86_EFER_SVME) || !x86_uses_descriptors(x) || x->events.in_smm)
        x86_fault(x, X86_UD);
    if (x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
}

/* rAX is a page in memory. */
static uint64_t need_vmcb(struct x86_cpu *x)
{
    uint8_t byte;
    uint64_t at = x86_in_code64(x) ? x->gpr[X86_RAX] : (uint32_t)x->gpr[X86_RAX];
    if (at & 4095 || at >> x->model->phys_bits || !mem_read(x->cpu->vm, at, &byte, 1))
        x86_fault_code(x, X86_GP, 0);
    return at;
}

static uint64_t reserved_cr3(const struct x86_cpu *x)
{
    return ~(((uint64_t)1 << x->model->phys_bits) - 1);
}

/* PUSHF is done by generated code, which asks nobody: such a guest is refused. */
#define NOT_OFFERED ((uint32_t)1 << (X86_EXIT_PUSHF - 0x60))

static bool controls_are_right(const struct x86_cpu *x, const uint8_t *c)
{
    uint64_t inject = load_le(c + EVENTINJ, 8), type = inject >> 8 & 7;
    uint64_t limit = (uint64_t)1 << x->model->phys_bits;
    if (!load_le(c + ASID, 4) || !(load_le(c + INTERCEPTS + 0x10, 4) & 1))
        return false;
    if (load_le(c + INTERCEPTS + 0x0c, 4) & NOT_OFFERED)
        return false;
    if (load_le(c + IOPM, 8) + 3 * 4096 > limit || load_le(c + MSRPM, 8) + 2 * 4096 > limit)
        return false;
    if (c[NP_ENABLE] & 1 && (!x86_model_has(x->model, X86_EA_EDX, 0) || !x86_in_long_mode(x) ||
                             load_le(c + N_CR3, 8) & reserved_cr3(x)))
        return false;
    if (!(inject & EVENT_VALID))
        return true;
    return type == TYPE_INTR || type == TYPE_NMI || type == TYPE_SOFT ||
           (type == TYPE_EXCEPTION && (inject & 0xff) < 32 && (inject & 0xff) != 2);
}

/* APM 2-15.5.1. Real mode may have paging here (15.19). */
static bool state_is_right(const struct x86_cpu *x, const uint8_t *s)
{
    uint64_t efer = load_le(s + 0x0d0, 8), cr0 = load_le(s + 0x158, 8), cr4 = load_le(s + 0x148, 8);
    struct x86_segment cs = get_segment(s + 0x10);
    bool paged = cr0 & X86_CR0_PG, wide = paged && efer & X86_EFER_LME;
    if (!(efer & X86_EFER_SVME) || efer & ~x86_allowed_efer(x) || cr4 & ~x86_allowed_cr4(x))
        return false;
    if (cr0 >> 32 || (cr0 & X86_CR0_NW && !(cr0 & X86_CR0_CD)))
        return false;
    if (load_le(s + 0x160, 8) >> 32 || load_le(s + 0x168, 8) >> 32)
        return false;
    if (wide &&
        (!(cr4 & X86_CR4_PAE) || !(cr0 & X86_CR0_PE) || load_le(s + 0x150, 8) & reserved_cr3(x) ||
         (cs.rights & (X86_AR_L | X86_AR_DB)) == (X86_AR_L | X86_AR_DB)))
        return false;
    return !(cr4 & X86_CR4_CET) || cr0 & X86_CR0_WP;
}

static void load_controls(struct x86_cpu *x, const uint8_t *c)
{
    struct x86_svm *v = &x->svm;
    for (unsigned i = 0; i < ARRAY_LEN(v->intercept); i++)
        v->intercept[i] = (uint32_t)load_le(c + INTERCEPTS + 4 * i, 4);
    v->iopm = load_le(c + IOPM, 8) & ~(uint64_t)4095;
    v->msrpm = load_le(c + MSRPM, 8) & ~(uint64_t)4095;
    v->tsc_offset = load_le(c + TSC_OFFSET, 8);
    v->asid = (uint32_t)load_le(c + ASID, 4);
    v->int_ctl = load_le(c + INT_CTL, 8);
    v->np = c[NP_ENABLE] & 1;
    v->ncr3 = load_le(c + N_CR3, 8);
}

static void load_guest(struct x86_cpu *x, const uint8_t *s)
{
    static const uint8_t at[] = {
        [X86_ES] = 0x00, [X86_CS] = 0x10, [X86_SS] = 0x20, [X86_DS] = 0x30
    };
    uint64_t flags = load_le(s + RFLAGS, 8);
    for (unsigned i = 0; i < ARRAY_LEN(at); i++)
        x->seg[i] = get_segment(s + at[i]);
    x->gdt = get_table(s + GDTR);
    x->idt = get_table(s + IDTR);
    get(x, s, run_state, ARRAY_LEN(run_state));
    x->cr0 = (x->cr0 & 0xe005003f) | X86_CR0_ET;
    bool wide = x->cr0 & X86_CR0_PG && x->efer & X86_EFER_LME;
    x->efer = (x->efer & ~X86_EFER_LMA) | (wide ? X86_EFER_LMA : 0);
    if (wide || !(x->cr0 & X86_CR0_PE))
        flags &= ~(uint64_t)X86_FLAG_VM;
    unsigned cpl = !(x->cr0 & X86_CR0_PE) ? 0 : flags & X86_FLAG_VM ? 3 : s[CPL] & 3u;
    x->seg[X86_SS].rights = (x->seg[X86_SS].rights & ~0x60u) | cpl << X86_AR_DPL_SHIFT;
    x->seg[X86_CS].rights &= ~(uint32_t)X86_AR_UNUSABLE;
    x->dr6 = (x->dr6 & 0x1e00f) | 0xfffe0ff0;
    x->dr7 = (x->dr7 & 0xffff2bff) | 0x400;
    if (x->svm.np)
        get(x, s, &pat_state, 1);
    x86_set_rflags(x, (flags & 0x3f7fd5) | X86_FLAG_ONE);
    x86_set_ip(x, load_le(s + RIP, 8));
}

/* What was remembered of guests holds for this one, unless it is another one, sees memory by other rules, or the host says so. */
static void refresh_tlb(struct x86_cpu *x, unsigned control)
{
    const uint64_t rules = X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP |
                           X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_LA57;
    const uint64_t now[] = { x->svm.asid,
                             x->svm.np ? x->svm.ncr3 | 1 : 0,
                             x->cr0 & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE),
                             x->cr4 & rules,
                             x->efer & (X86_EFER_NXE | X86_EFER_LMA),
                             x->svm.np ? 0 : x->cr3 };
    if (control || memcmp(now, x->last_guest, sizeof(now)))
        x86_forget_guest(x);
    memcpy(x->last_guest, now, sizeof(now));
    x->local_filled = true;
}

static void inject(struct x86_cpu *x, uint64_t event, uint64_t next_rip)
{
    unsigned type = event >> 8 & 7;
    struct x86_event e = { .vector = (uint8_t)event,
                           .has_error = type == TYPE_EXCEPTION && event & EVENT_ERROR,
                           .error = (uint32_t)(event >> 32),
                           .soft = type == TYPE_SOFT,
                           .external = type == TYPE_INTR || type == TYPE_NMI };
    if (!(event & EVENT_VALID))
        return;
    if (type == TYPE_NMI) {
        e.vector = X86_NMI_VECTOR;
        x->events.nmi_masked = true;
    }
    if (type == TYPE_SOFT)
        e.len = (uint8_t)(next_rip - x86_insn_ip(x));
    x86_deliver(x, e);
}

uint64_t x86h_vmrun(struct x86_cpu *x, uint64_t len)
{
    uint8_t c[CONTROLS] = { 0 }, s[SIZE] = { 0 };
    need_svm(x);
    uint64_t at = need_vmcb(x);
    x86_intercept(x, X86_EXIT_VMRUN);
    mem_read(x->cpu->vm, at, c, sizeof(c));
    mem_read(x->cpu->vm, at + SAVE, s, sizeof(s));
    x->pc = x86_insn_pc(x) + len;
    if (!controls_are_right(x, c) || !state_is_right(x, s)) {
        store_le(c + EXITCODE, 8, UINT64_MAX);
        mem_write(x->cpu->vm, at + EXITCODE, c + EXITCODE, 8);
        x->svm.gif = false;
        return x->pc;
    }
    x->pc_known = true;
    save_host(x, x86_insn_ip(x));
    x->svm.vmcb = at;
    load_controls(x, c);
    x->svm.in_guest = x->svm.gif = true;
    load_guest(x, s);
    refresh_tlb(x, c[TLB_CONTROL]);
    x86_update_state_word(x);
    if (x86_uses_pdptrs(x) && !x86_load_pdptrs(x, x->cr3))
        x86_vmexit(x, UINT64_MAX, 0, 0);
    if (c[SHADOW] & 1)
        x86_hold_interrupts(x, x->pc, false);
    inject(x, load_le(c + EVENTINJ, 8), load_le(c + NEXT_RIP, 8));
    x->pc_known = false;
    vcpu_kick(x->cpu); /* something may wait for the guest or its host */
    return x->pc;
}

/* ---- events while a guest runs (APM 2-15.21) --------------------------------------------------------------- */

bool x86_takes_interrupts(const struct x86_cpu *x)
{
    bool host = x->svm.in_guest && x->svm.int_ctl & X86_SVM_V_MASKING;
    return (host ? x->svm.rflags : x->rflags) & X86_FLAG_IF;
}

bool x86_virtual_is_due(const struct x86_cpu *x)
{
    enum { IGNORES_TPR = 1 << 20 };
    uint64_t ctl = x->svm.int_ctl;
    return x->svm.in_guest && ctl & X86_SVM_V_IRQ && x->rflags & X86_FLAG_IF &&
           (ctl & IGNORES_TPR || bits(ctl, 16, 4) > (ctl & 15));
}

static bool take_virtual(struct x86_cpu *x)
{
    uint64_t ctl = x->svm.int_ctl;
    if (!x86_virtual_is_due(x))
        return false;
    if (x86_is_intercepted(x, X86_EXIT_VINTR)) {
        x86_exit_guest(x, X86_EXIT_VINTR, 0, 0);
        return true;
    }
    x->svm.int_ctl &= ~(uint64_t)X86_SVM_V_IRQ;
    x86_deliver(x, (struct x86_event){ .vector = (uint8_t)bits(ctl, 32, 8), .external = true });
    return true;
}

bool x86_take_guest_event(struct x86_cpu *x, bool held_back)
{
    uint32_t lines = atomic_load(&x->lines);
    unsigned code = 0;
    if (lines & X86_INIT && x86_is_intercepted(x, X86_EXIT_INIT))
        code = X86_EXIT_INIT;
    else if (lines & X86_SMI && x86_is_intercepted(x, X86_EXIT_SMI))
        code = X86_EXIT_SMI;
    else if ((lines & X86_NMI || x->events.nmi_pending) && !x->events.nmi_masked &&
             x86_is_intercepted(x, X86_EXIT_NMI))
        code = X86_EXIT_NMI;
    else if (x86_has_interrupt(x) && x86_takes_interrupts(x) &&
             x86_is_intercepted(x, X86_EXIT_INTR))
        code = X86_EXIT_INTR;
    if (code) {
        x86_exit_guest(x, code, 0, 0);
        return true;
    }
    if (held_back) {
        if (x86_virtual_is_due(x)) {
            x->shadow_left |= X86_SHADOW_WANTED;
            x86_update_state_word(x);
        }
        return false;
    }
    return take_virtual(x);
}

/* ---- the other instructions --------------------------------------------------------------------------------- */

static const struct {
    uint16_t at;
    uint8_t seg;
} loaded[] = { { 0x40, X86_FS }, { 0x50, X86_GS } };

uint64_t x86h_vmload(struct x86_cpu *x, uint64_t len)
{
    uint8_t s[SIZE] = { 0 };
    need_svm(x);
    uint64_t at = need_vmcb(x);
    x86_intercept(x, X86_EXIT_VMLOAD);
    mem_read(x->cpu->vm, at + SAVE, s, sizeof(s));
    for (unsigned i = 0; i < ARRAY_LEN(loaded); i++)
        x->seg[loaded[i].seg] = get_segment(s + loaded[i].at);
    x->tr = get_segment(s + TR);
    x->ldt = get_segment(s + LDTR);
    get(x, s, load_state, ARRAY_LEN(load_state));
    x->pc = x86_insn_pc(x) + len;
    x86_update_state_word(x);
    return x->pc;
}

void x86h_vmsave(struct x86_cpu *x)
{
    uint8_t s[SIZE] = { 0 };
    need_svm(x);
    uint64_t at = need_vmcb(x);
    x86_intercept(x, X86_EXIT_VMSAVE);
    mem_read(x->cpu->vm, at + SAVE, s, sizeof(s));
    for (unsigned i = 0; i < ARRAY_LEN(loaded); i++)
        put_segment(s + loaded[i].at, &x->seg[loaded[i].seg]);
    put_segment(s + TR, &x->tr);
    put_segment(s + LDTR, &x->ldt);
    put(x, s, load_state, ARRAY_LEN(load_state));
    mem_write(x->cpu->vm, at + SAVE, s, sizeof(s));
}

void x86h_stgi(struct x86_cpu *x)
{
    need_svm(x);
    x86_intercept(x, X86_EXIT_STGI);
    x->svm.gif = true;
    vcpu_kick(x->cpu);
}

void x86h_clgi(struct x86_cpu *x)
{
    need_svm(x);
    x86_intercept(x, X86_EXIT_CLGI);
    x->svm.gif = false;
}

void x86h_vmmcall(struct x86_cpu *x)
{
    x86_intercept(x, X86_EXIT_VMMCALL);
    x86_fault(x, X86_UD);
}

/* By address in every space that is known: more than what is asked for. */
void x86h_invlpga(struct x86_cpu *x)
{
    need_svm(x);
    x86_intercept(x, X86_EXIT_INVLPGA);
    tcg_flush_page(x->cpu, x86_in_code64(x) ? x->gpr[X86_RAX] : (uint32_t)x->gpr[X86_RAX]);
}
