/* The x86-64 CPU as core and the engines see it: its state list, reset, wires, printing. */
#include "core/error.h"
#include "core/vm.h"
#include "target/x86_64/follow.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- state ------------------------------------------------------------------------------------- */

static const struct field segment_state[] = {
    FIELD(struct x86_segment, base),
    FIELD(struct x86_segment, limit),
    FIELD(struct x86_segment, rights, .valid = 0x1f0ff),
    FIELD(struct x86_segment, selector),
};
static const struct field table_state[] = {
    FIELD(struct x86_table, base),
    FIELD(struct x86_table, limit),
};
static const struct field events_state[] = {
    FIELD(struct x86_events, exception_pending),    FIELD(struct x86_events, exception_injected),
    FIELD(struct x86_events, exception_has_error),  FIELD(struct x86_events, exception_has_payload),
    FIELD(struct x86_events, exception, .max = 31), FIELD(struct x86_events, exception_error),
    FIELD(struct x86_events, exception_payload),    FIELD(struct x86_events, interrupt_injected),
    FIELD(struct x86_events, interrupt_soft),       FIELD(struct x86_events, interrupt),
    FIELD(struct x86_events, shadow_sti),           FIELD(struct x86_events, shadow_mov_ss),
    FIELD(struct x86_events, nmi_injected),         FIELD(struct x86_events, nmi_pending),
    FIELD(struct x86_events, nmi_masked),           FIELD(struct x86_events, in_smm),
    FIELD(struct x86_events, smi_pending),          FIELD(struct x86_events, smi_inside_nmi),
    FIELD(struct x86_events, latched_init),         FIELD(struct x86_events, triple_fault),
    FIELD(struct x86_events, sipi_vector),
};
static const struct field svm_state[] = {
    FIELD(struct x86_svm, gif),
    FIELD(struct x86_svm, in_guest),
    FIELD(struct x86_svm, np),
    FIELD_ARRAY(struct x86_svm, intercept),
    FIELD(struct x86_svm, asid),
    FIELD(struct x86_svm, vmcb),
    FIELD(struct x86_svm, iopm),
    FIELD(struct x86_svm, msrpm),
    FIELD(struct x86_svm, tsc_offset),
    FIELD(struct x86_svm, int_ctl),
    FIELD(struct x86_svm, ncr3),
    FIELD_SUB(struct x86_svm, seg, segment_state, 4),
    FIELD_SUB(struct x86_svm, gdt, table_state, 1),
    FIELD_SUB(struct x86_svm, idt, table_state, 1),
    FIELD(struct x86_svm, cr0),
    FIELD(struct x86_svm, cr3),
    FIELD(struct x86_svm, cr4),
    FIELD(struct x86_svm, efer),
    FIELD(struct x86_svm, rflags),
    FIELD(struct x86_svm, rip),
    FIELD(struct x86_svm, rsp),
    FIELD(struct x86_svm, rax),
    FIELD(struct x86_svm, pat),
    FIELD(struct x86_svm, s_cet),
    FIELD(struct x86_svm, ssp),
    FIELD(struct x86_svm, int_ssp_table),
};
static const struct field other_msr_state[] = {
    FIELD(struct x86_other_msr, index),
    FIELD(struct x86_other_msr, value),
};

static const struct field x86_state[] = {
    FIELD_ARRAY(struct x86_cpu, gpr),
    DERIVED(struct x86_cpu, pc),
    DERIVED(struct x86_cpu, cc_op),
    DERIVED(struct x86_cpu, cc_dst),
    DERIVED(struct x86_cpu, cc_src),
    DERIVED(struct x86_cpu, cc_aux),
    DERIVED(struct x86_cpu, df),
    DERIVED(struct x86_cpu, tmp),
    DERIVED(struct x86_cpu, state_word),
    DERIVED(struct x86_cpu, fp_flags),
    FIELD(struct x86_cpu, rip),
    FIELD(struct x86_cpu, rflags),
    FIELD_SUB(struct x86_cpu, seg, segment_state, N_X86_SEGS),
    FIELD_SUB(struct x86_cpu, tr, segment_state, 1),
    FIELD_SUB(struct x86_cpu, ldt, segment_state, 1),
    FIELD_SUB(struct x86_cpu, gdt, table_state, 1),
    FIELD_SUB(struct x86_cpu, idt, table_state, 1),
    FIELD(struct x86_cpu, cr0),
    FIELD(struct x86_cpu, cr2),
    FIELD(struct x86_cpu, cr3),
    FIELD(struct x86_cpu, cr4),
    FIELD(struct x86_cpu, cr8, .max = 15),
    FIELD(struct x86_cpu, xcr0),
    FIELD_ARRAY(struct x86_cpu, dr),
    FIELD(struct x86_cpu, dr6),
    FIELD(struct x86_cpu, dr7),
    FIELD(struct x86_cpu, efer),
    FIELD(struct x86_cpu, apic_base),
    FIELD_ARRAY(struct x86_cpu, pdptr),
    FIELD(struct x86_cpu, pdptrs_valid),
    FIELD_RAW(struct x86_cpu, st),
    FIELD(struct x86_cpu, fcw),
    FIELD(struct x86_cpu, fsw),
    FIELD(struct x86_cpu, fop),
    FIELD(struct x86_cpu, ftw),
    FIELD(struct x86_cpu, fip),
    FIELD(struct x86_cpu, fdp),
    DERIVED(struct x86_cpu, st_physical),
    DERIVED(struct x86_cpu, x87_fsw),
    DERIVED(struct x86_cpu, x87_high),
    FIELD(struct x86_cpu, mxcsr),
    FIELD_RAW(struct x86_cpu, zmm),
    FIELD_ARRAY(struct x86_cpu, k),
    FIELD(struct x86_cpu, pkru),
    FIELD(struct x86_cpu, ssp),
    FIELD(struct x86_cpu, xinuse),
    { .name = "xsave_rest",
      .kind = FIELD_BUFFER,
      .offset = offsetof(struct x86_cpu, xsave_rest),
      .size = 1,
      .count = 1,
      .len_offset = offsetof(struct x86_cpu, n_xsave_rest),
      .max = 64 * 1024 },
    DERIVED(struct x86_cpu, n_xsave_rest),
    { .name = "nested",
      .kind = FIELD_BUFFER,
      .offset = offsetof(struct x86_cpu, nested),
      .size = 1,
      .count = 1,
      .len_offset = offsetof(struct x86_cpu, n_nested),
      .max = 64 * 1024 },
    DERIVED(struct x86_cpu, n_nested),
#define X86_MSR(index, name, reset) FIELD(struct x86_cpu, name),
#include "target/x86_64/msrs.h"
#undef X86_MSR
    FIELD_ARRAY(struct x86_cpu, mtrr_fixed),
    FIELD_ARRAY(struct x86_cpu, mtrr_base),
    FIELD_ARRAY(struct x86_cpu, mtrr_mask),
    FIELD_ARRAY(struct x86_cpu, mc),
    FIELD_ARRAY(struct x86_cpu, pmc),
    FIELD_ARRAY(struct x86_cpu, pmc_event),
    FIELD_ARRAY(struct x86_cpu, pmc_fixed),
    FIELD_SUB(struct x86_cpu, other_msrs, other_msr_state, X86_N_OTHER_MSRS),
    FIELD(struct x86_cpu, n_other_msrs, .max = X86_N_OTHER_MSRS),
    FIELD_SUB(struct x86_cpu, svm, svm_state, 1),
    FIELD_SUB(struct x86_cpu, events, events_state, 1),
    FIELD(struct x86_cpu, run_state, .max = X86_SIPI_TAKEN),
    FIELD_RAW(struct x86_cpu, lapic),
    FIELD(struct x86_cpu, lines, .valid = X86_INTR | X86_NMI | X86_SMI | X86_INIT | X86_SIPI),
    FIELD(struct x86_cpu, sipi, .max = 255),
    DERIVED(struct x86_cpu, apic_id),
    DERIVED(struct x86_cpu, takes_intr),
    DERIVED(struct x86_cpu, followed_pending),
    DERIVED(struct x86_cpu, deaf_lines),
};

/* ---- model-specific registers -------------------------------------------------------------------- */

/* A run of registers that lie `step` apart in an array. */
struct msr_range {
    uint32_t index, n, step;
    size_t offset;
};
#define MSR_RANGE(index, member, step)                                                           \
    {                                                                                            \
        index, sizeof(((struct x86_cpu *)0)->member) / 8, step, offsetof(struct x86_cpu, member) \
    }
#define MSR_PART(index, member, first, n)                           \
    {                                                               \
        index, n, 1, offsetof(struct x86_cpu, member) + 8 * (first) \
    }
static const struct msr_range msrs[] = {
#define X86_MSR(index, name, reset) { index, 1, 1, offsetof(struct x86_cpu, name) },
#include "target/x86_64/msrs.h"
#undef X86_MSR
    MSR_PART(0x250, mtrr_fixed, 0, 1), /* SDM 3-12.11.2.2 */
    MSR_PART(0x258, mtrr_fixed, 1, 2), MSR_PART(0x268, mtrr_fixed, 3, 8),
    MSR_RANGE(0x200, mtrr_base, 2),    MSR_RANGE(0x201, mtrr_mask, 2),
    MSR_RANGE(0x400, mc, 1),           MSR_RANGE(0x0c1, pmc, 1), /* SDM 3-20.2 */
    MSR_RANGE(0x186, pmc_event, 1),    MSR_RANGE(0x309, pmc_fixed, 1),
};

bool x86_msr_slot(struct x86_cpu *x, uint32_t index, uint64_t **slot)
{
    for (size_t i = 0; i < ARRAY_LEN(msrs); i++) {
        const struct msr_range *r = &msrs[i];
        uint32_t off = index - r->index;
        if (index < r->index || off % r->step || off / r->step >= r->n)
            continue;
        *slot = (uint64_t *)((char *)x + r->offset) + off / r->step;
        return true;
    }
    return false;
}

bool x86_msr_index(unsigned i, uint32_t *index)
{
    for (size_t k = 0; k < ARRAY_LEN(msrs); k++) {
        if (i < msrs[k].n) {
            *index = msrs[k].index + i * msrs[k].step;
            return true;
        }
        i -= msrs[k].n;
    }
    return false;
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void set_segment(struct x86_segment *s, uint16_t selector, uint64_t base, uint32_t limit,
                        uint32_t rights)
{
    *s = (struct x86_segment){ base, limit, rights, selector };
}

/* What reset and INIT have in common: SDM 3-10.1.1, table 10-1. */
static void reset_common(struct x86_cpu *x)
{
    memset(x->gpr, 0, sizeof(x->gpr));
    x->gpr[X86_RDX] = x86_model_signature(x->model);
    x->rip = 0xfff0;
    x->rflags = X86_FLAG_ONE;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        set_segment(&x->seg[i], 0, 0, 0xffff, X86_AR_P | X86_AR_S | 3);
    set_segment(&x->seg[X86_CS], 0xf000, 0xffff0000, 0xffff, X86_AR_P | X86_AR_S | 11);
    set_segment(&x->tr, 0, 0, 0xffff, X86_AR_P | 11);
    set_segment(&x->ldt, 0, 0, 0xffff, X86_AR_P | 2);
    x->gdt = x->idt = (struct x86_table){ 0, 0xffff };
    x->cr2 = x->cr3 = x->cr4 = x->cr8 = 0;
    x->efer = 0;
    memset(x->pdptr, 0, sizeof(x->pdptr));
    x->pdptrs_valid = false;
    memset(x->dr, 0, sizeof(x->dr));
    x->dr6 = 0xffff0ff0;
    x->dr7 = 0x400;
    x->events = (struct x86_events){ 0 };
    x->svm = (struct x86_svm){ .gif = true };
    x->cpu->in_smm = false;
    x->takes_intr = false;
}

static void vcpu_init(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    x->cpu = cpu;
    x->model = x86_model_of(cpu->vm);
    x->apic_id = x86_apic_id_of(x->model, cpu->index);
}

static void vcpu_free_arch(struct vcpu *cpu)
{
    free(x86_of(cpu)->xsave_rest);
    free(x86_of(cpu)->nested);
}

/* Power-on values of a local APIC inside the engine, SDM 3-11.4.7.1. LINT0 of the boot processor passes
 * the 8259's interrupts on, which firmware for virtual machines relies on. */
static void reset_lapic(struct x86_cpu *x, bool boot)
{
    enum { ID = 0x20, VERSION = 0x30, DFR = 0xe0, SVR = 0xf0, LVT = 0x320, LVT_LINT0 = 0x350 };
    enum { MASKED = 1 << 16, EXTINT = 7 << 8 };
    store_le(x->lapic + ID, 4, x->apic_id << 24);
    store_le(x->lapic + VERSION, 4, 0x50014);
    store_le(x->lapic + DFR, 4, UINT32_MAX);
    store_le(x->lapic + SVR, 4, 0xff);
    for (unsigned i = 0; i < 6; i++)
        store_le(x->lapic + LVT + 16 * i, 4, MASKED);
    if (boot)
        store_le(x->lapic + LVT_LINT0, 4, EXTINT);
}

static void vcpu_reset(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    uint32_t wire = x->lines & X86_INTR; /* theirs who drive it */
    free(x->xsave_rest);
    free(x->nested);
    memset((void *)x, 0, offsetof(struct x86_cpu, cpu));
    reset_common(x);
    x->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    x->xcr0 = 1;
    x->fcw = 0x40;
    x->ftw = 0xff; /* all hold zero */
    x->mxcsr = 0x1f80;
    x->xinuse = X86_XSAVE_X87;
#define X86_MSR(index, name, reset) x->name = reset;
#include "target/x86_64/msrs.h"
#undef X86_MSR
    x86_model_reset_msrs(x);
    x->apic_base = X86_APIC_BASE_DEFAULT | X86_APIC_BASE_ENABLE;
    if (cpu->index == 0)
        x->apic_base |= X86_APIC_BASE_BSP;
    x->run_state = cpu->index == 0 ? X86_RUNNABLE : X86_WAIT_INIT;
    reset_lapic(x, cpu->index == 0);
    x->lines = wire;
    x->sipi = 0;
    x->deaf_lines = 0;
    x->is_down = false;
}

void x86_init_signal(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    reset_common(x);
    x->cr0 = (x->cr0 & (X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
    x->run_state = x->apic_base & X86_APIC_BASE_BSP ? X86_RUNNABLE : X86_INIT_TAKEN;
}

void x86_take_sipi(struct vcpu *cpu, uint8_t vector)
{
    struct x86_cpu *x = x86_of(cpu);
    if (x->run_state != X86_INIT_TAKEN)
        return;
    set_segment(&x->seg[X86_CS], (uint16_t)(vector << 8), (uint64_t)vector << 12, 0xffff,
                X86_AR_P | X86_AR_S | 11);
    x->rip = 0;
    x->run_state = X86_RUNNABLE;
}

void x86_place_flat(struct vcpu *cpu, uint64_t rip, uint64_t cr3)
{
    struct x86_cpu *x = x86_of(cpu);
    bool wide = cr3 != 0;
    uint32_t data = X86_AR_G | X86_AR_DB | X86_AR_P | X86_AR_S | 3;
    uint32_t code = X86_AR_G | (wide ? X86_AR_L : X86_AR_DB) | X86_AR_P | X86_AR_S | 11;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        set_segment(&x->seg[i], 0x18, 0, UINT32_MAX, data);
    set_segment(&x->seg[X86_CS], 0x10, 0, UINT32_MAX, code);
    set_segment(&x->tr, 0x20, 0, 0x67, X86_AR_P | 11);
    x->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | (wide ? X86_CR0_PG : 0);
    x->cr3 = cr3;
    x->cr4 = wide ? X86_CR4_PAE : 0;
    x->efer = wide ? X86_EFER_LME | X86_EFER_LMA : 0;
    x->rip = rip;
}

static void vcpu_loaded(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    x->takes_intr = x->rflags & X86_FLAG_IF;
    cpu->in_smm = x->events.in_smm;
}

/* ---- wires ----------------------------------------------------------------------------------------- */

/* INIT and SIPI reach a CPU that waits for them, and nothing else does. */
static bool has_work(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    uint32_t lines = atomic_load(&x->lines);
    uint8_t run_state = x->run_state;
    switch (run_state) {
    case X86_WAIT_INIT: return lines & X86_INIT;
    case X86_INIT_TAKEN: return lines & (X86_INIT | X86_SIPI);
    default: break;
    }
    if (x->is_down)
        return false;
    return lines & (X86_NMI | X86_SMI | X86_INIT) & ~atomic_load(&x->deaf_lines) ||
           (x->takes_intr && x86_has_interrupt(x));
}

/* HLT with interrupts off, or waiting for a start: only an NMI, SMI, INIT or SIPI ends it, which no sleeping
 * CPU sends. */
static bool can_wake(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    return x->takes_intr && x->run_state != X86_WAIT_INIT && x->run_state != X86_INIT_TAKEN;
}

void x86_set_apic(struct vcpu *cpu, const struct x86_apic_ops *ops, void *opaque)
{
    x86_of(cpu)->apic = ops;
    x86_of(cpu)->apic_opaque = opaque;
}

void x86_set_ferr(struct vcpu *cpu, void (*fn)(void *opaque, bool level), void *opaque)
{
    x86_of(cpu)->ferr = fn;
    x86_of(cpu)->ferr_opaque = opaque;
}

void x86_set_intr(struct vcpu *cpu, bool level)
{
    struct x86_cpu *x = x86_of(cpu);
    if (level) {
        if (!(atomic_fetch_or(&x->lines, X86_INTR) & X86_INTR))
            vcpu_interrupt(cpu);
    } else {
        atomic_fetch_and(&x->lines, ~(uint32_t)X86_INTR);
    }
}

void x86_raise(struct vcpu *cpu, uint32_t what)
{
    struct x86_cpu *x = x86_of(cpu);
    if (!cpu->vm->has_smm)
        what &= ~(uint32_t)X86_SMI;
    if (what & X86_INIT) /* a start-up request from before it does not count */
        atomic_fetch_and(&x->lines, ~(uint32_t)X86_SIPI);
    atomic_fetch_or(&x->lines, what);
    vcpu_interrupt(cpu);
}

void x86_start_up(struct vcpu *cpu, uint8_t vector)
{
    struct x86_cpu *x = x86_of(cpu);
    x->sipi = vector;
    atomic_fetch_or(&x->lines, X86_SIPI);
    vcpu_interrupt(cpu);
}

/* ---- memory as the CPU sees it, for people ------------------------------------------------------- */

unsigned x86_code_bits(const struct x86_cpu *x)
{
    uint32_t rights = x->seg[X86_CS].rights;
    if (x->efer & X86_EFER_LMA && rights & X86_AR_L)
        return 64;
    return rights & X86_AR_DB ? 32 : 16;
}

/* SDM 3-4.3 to 4.5: from the top, `bits` of index a level, 1 GiB, 4 MiB or 2 MiB leaves by PS. */
bool x86_debug_translate(struct vcpu *cpu, uint64_t linear, uint64_t *physical)
{
    const struct x86_cpu *x = x86_of(cpu);
    bool wide = x->cr4 & X86_CR4_PAE, la57 = x->cr4 >> 12 & 1;
    unsigned levels = x->efer & X86_EFER_LMA ? 4 + la57 : wide ? 3 : 2;
    unsigned index_bits = wide ? 9 : 10, size = wide ? 8 : 4;
    uint64_t table = x->cr3 & (levels == 3 ? 0xffffffe0 : ~(uint64_t)0xfff) & 0xffffffffff000;
    if (levels == 3)
        table = x->cr3 & 0xffffffe0;
    *physical = linear;
    if (!(x->cr0 & X86_CR0_PG))
        return true;
    for (unsigned level = levels; level; level--) {
        unsigned shift = 12 + (level - 1) * index_bits;
        unsigned n = levels == 3 && level == 3 ? 2 : index_bits;
        uint8_t bytes[8];
        if (!mem_read(cpu->vm, table + bits(linear, shift, n) * size, bytes, size))
            return false;
        uint64_t entry = load_le(bytes, size);
        if (!(entry & 1))
            return false;
        bool leaf = level == 1 || (level < 4 && entry >> 7 & 1 && !(levels == 3 && level == 3));
        uint64_t base = wide ? entry & 0xffffffffff000 : entry & 0xfffff000;
        if (leaf) {
            uint64_t in_page = ((uint64_t)1 << shift) - 1;
            if (!wide && level == 2)
                base |= bits(entry, 13, 8) << 32; /* PSE-36 */
            *physical = (base & ~in_page) | (linear & in_page);
            return true;
        }
        table = base;
    }
    return false;
}

/* ---- print ----------------------------------------------------------------------------------------- */

struct printer {
    void (*print)(void *opaque, const char *line);
    void *opaque;
};

static void __attribute__((format(printf, 2, 3))) say(const struct printer *p, const char *fmt, ...)
{
    char line[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    p->print(p->opaque, line);
}

static void print_segment(const struct printer *p, const char *name, const struct x86_segment *s)
{
    say(p, "%-3s %04x %016" PRIx64 " %08" PRIx32 " %05" PRIx32 " dpl %u%s%s%s", name, s->selector,
        s->base, s->limit, s->rights, s->rights >> X86_AR_DPL_SHIFT & 3,
        s->rights & X86_AR_UNUSABLE ? " unusable" : "", s->rights & X86_AR_L ? " 64-bit" : "",
        s->rights & X86_AR_DB ? " 32-bit" : "");
}

static void print_vectors(const struct printer *p, const struct x86_cpu *x)
{
    say(p, "fcw=%04x fsw=%04x ftw=%02x mxcsr=%08" PRIx32 " pkru=%08" PRIx32, x->fcw, x->fsw, x->ftw,
        x->mxcsr, x->pkru);
    for (unsigned i = 0; i < 16; i++)
        say(p, "xmm%-2u %016" PRIx64 " %016" PRIx64, i, load_le(x->zmm[i] + 8, 8),
            load_le(x->zmm[i], 8));
}

static void print_cpu(struct vcpu *cpu, void (*print)(void *opaque, const char *line), void *opaque)
{
    static const char *const gprs[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    static const char *const states[] = { "running", "waits for INIT", "waits for SIPI", "halted",
                                          "starts" };
    static const char flag_letters[] = "C-P-A-ZSTIDO";
    const struct x86_cpu *x = x86_of(cpu);
    const struct printer p = { print, opaque };
    char flags[16] = "", *to = flags;
    for (unsigned i = 12; i-- > 0;)
        if (flag_letters[i] != '-')
            *to++ = x->rflags >> i & 1 ? flag_letters[i] : '-';
    for (unsigned i = 0; i < 16; i += 4)
        say(&p, "%-3s=%016" PRIx64 " %-3s=%016" PRIx64 " %-3s=%016" PRIx64 " %-3s=%016" PRIx64,
            gprs[i], x->gpr[i], gprs[i + 1], x->gpr[i + 1], gprs[i + 2], x->gpr[i + 2], gprs[i + 3],
            x->gpr[i + 3]);
    say(&p, "rip=%016" PRIx64 " rflags=%08" PRIx64 " [%s] cpl=%u %u-bit%s %s", x->rip, x->rflags,
        flags, x86_cpl(x), x86_code_bits(x), x->events.in_smm ? " smm" : "", states[x->run_state]);
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        print_segment(&p, segs[i], &x->seg[i]);
    print_segment(&p, "ldt", &x->ldt);
    print_segment(&p, "tr", &x->tr);
    say(&p, "gdt=%016" PRIx64 " %04x idt=%016" PRIx64 " %04x", x->gdt.base, x->gdt.limit,
        x->idt.base, x->idt.limit);
    say(&p,
        "cr0=%08" PRIx64 " cr2=%016" PRIx64 " cr3=%016" PRIx64 " cr4=%08" PRIx64 " cr8=%" PRIx64,
        x->cr0, x->cr2, x->cr3, x->cr4, x->cr8);
    say(&p, "dr0=%016" PRIx64 " dr1=%016" PRIx64 " dr2=%016" PRIx64 " dr3=%016" PRIx64, x->dr[0],
        x->dr[1], x->dr[2], x->dr[3]);
    say(&p, "dr6=%016" PRIx64 " dr7=%016" PRIx64 " efer=%04" PRIx64 " apic_base=%09" PRIx64, x->dr6,
        x->dr7, x->efer, x->apic_base);
    print_vectors(&p, x);
}

/* ---- together --------------------------------------------------------------------------------------- */

static uint64_t pc_of(struct vcpu *cpu)
{
    return x86_of(cpu)->seg[X86_CS].base + x86_of(cpu)->rip;
}

const struct target x86_64_target = {
    .name = "x86_64",
    .arch_size = sizeof(struct x86_cpu),
    .state = TABLE(x86_state),
    .state_version = 1,
    .has_ports = true,
    .cpu_model = x86_cpu_model,
    .cpu_help = x86_cpu_help,
    .cpu_type = "x86_64-cpu",
    .default_cpu = "qemu64",
    .cpu_models = x86_cpu_models,
    .cpu_features = x86_cpu_features,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free_arch,
    .vcpu_reset = vcpu_reset,
    .vcpu_loaded = vcpu_loaded,
    .has_work = has_work,
    .can_wake = can_wake,
    .inputs = x86_inputs,
    .set_inputs = x86_set_inputs,
    .follow = x86_follow,
    .print = print_cpu,
    .pc = pc_of,
    .translate = x86_debug_translate,
    .debug = &x86_debug,
    .paging = &x86_paging,
    .isa = x86_isa,
    .vm_free = x86_vm_free,
};
