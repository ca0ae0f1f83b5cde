/* RDMSR and WRMSR: registers of plain state, and those with a meaning (SDM 4, APM 2-A). */
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

enum {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_ADJUST = 0x3b,
    MSR_MICROCODE = 0x8b,
    MSR_PLATFORM = 0x17,
    MSR_MTRR_CAP = 0xfe,
    MSR_MCG_CAP = 0x179,
    MSR_PERF_STATUS = 0x198,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC = 0x800,
    MSR_X2APIC_END = 0x8ff,
    MSR_PRED_CMD = 0x49,
    MSR_FLUSH_CMD = 0x10b,
    MSR_SPEC_CTRL = 0x48,
    MSR_XSS = 0xda0,
};
#define MSR_EFER     0xc0000080u
#define MSR_VM_CR    0xc0010114u
#define MSR_VM_HSAVE 0xc0010117u
#define MSR_FS_BASE  0xc0000100u
#define MSR_GS_BASE  0xc0000101u

enum { VM_CR_LOCK = 1 << 3, VM_CR_OFF = 1 << 4 }; /* APM 2-15.30.1 */

enum access_kind { READ_ONLY = 1, CANONICAL = 2, LOW_32 = 4 };

/* Registers of plain state that are there only with a feature, or take only some values. Others of
 * x86_msr_slot take all. */
static const struct rule {
    uint32_t first, last;
    uint8_t word, bit; /* the feature; X86_HV bit 31: never here */
    uint8_t kind;
} rules[] = {
    { 0x0000003b, 0x0000003b, X86_7_EBX, 1, 0 },
    { 0x00000048, 0x00000048, X86_7_EDX, 26, 0 },
    { 0x0000010a, 0x0000010a, X86_7_EDX, 29, READ_ONLY },
    { 0x000000ce, 0x000000ce, X86_1_EDX, 5, READ_ONLY },
    { 0x000000e1, 0x000000e1, X86_7_ECX, 5, 0 },
    { 0x00000122, 0x00000122, X86_7_EBX, 11, 0 },
    { 0x00000140, 0x00000140, X86_1_EDX, 5, 0 },
    { 0x00000174, 0x00000174, X86_1_EDX, 11, LOW_32 },
    { 0x00000175, 0x00000176, X86_1_EDX, 11, CANONICAL },
    { 0x000001c4, 0x000001c5, X86_D_1_EAX, 4, 0 },
    { 0x000006a4, 0x000006a8, X86_7_ECX, 7, CANONICAL },
    { 0x00000d90, 0x00000d90, X86_7_EBX, 14, 0 },
    { 0x00000da0, 0x00000da0, X86_D_1_EAX, 3, 0 },
    { 0xc0000081, 0xc0000081, X86_E1_EDX, 11, 0 },
    { 0xc0000082, 0xc0000083, X86_E1_EDX, 29, CANONICAL },
    { 0xc0000084, 0xc0000084, X86_E1_EDX, 11, LOW_32 },
    { 0xc0000102, 0xc0000102, X86_E1_EDX, 29, CANONICAL },
    { 0xc0000103, 0xc0000103, X86_E1_EDX, 27, LOW_32 },
    { 0xc0000104, 0xc0000104, X86_EA_EDX, 4, 0 },
    { 0xc0010114, 0xc0010114, X86_E1_ECX, 2, 0 },
    { 0xc0010117, 0xc0010117, X86_E1_ECX, 2, 0 },
    { 0xc001011f, 0xc001011f, X86_E8_EBX, 25, 0 },
    { 0x00000011, 0x00000012, X86_KVM_EAX, 0, 0 },
    { 0x4b564d00, 0x4b564dff, X86_KVM_EAX, 3, 0 },
    { 0x40000000, 0x400001ff, X86_HV, 31, 0 },
};

static const struct rule *rule_of(uint32_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (index >= rules[i].first && index <= rules[i].last)
            return &rules[i];
    return NULL;
}

static bool is_there(const struct x86_cpu *x, const struct rule *r)
{
    return !r || (!(r->word == X86_HV && r->bit == 31) && x86_model_has(x->model, r->word, r->bit));
}

/* IA32_U_CET and IA32_S_CET come with either half of CET. */
static bool is_cet(uint32_t index)
{
    return index == 0x6a0 || index == 0x6a2;
}

static bool has_cet(const struct x86_cpu *x)
{
    return x86_model_has(x->model, X86_7_ECX, 7) || x86_model_has(x->model, X86_7_EDX, 20);
}

static bool is_apic(uint32_t index)
{
    return (index >= MSR_X2APIC && index <= MSR_X2APIC_END) || index == MSR_TSC_DEADLINE;
}

static void log_msr(const struct x86_cpu *x, const char *what, uint32_t index)
{
    const struct log *log = &x->cpu->vm->log;
    if (log_on(log, LOG_GUEST_ERRORS))
        log_print(log, "cpu %u %s MSR %#x: #GP\n", x->cpu->index, what, index);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool read_msr(struct x86_cpu *x, uint32_t index, uint64_t *v)
{
    uint64_t *slot;
    if (is_apic(index))
        return x->apic && x->apic->read_msr(x->apic_opaque, index, v);
    switch (index) {
    case MSR_TSC: *v = x86_guest_tsc(x); return true;
    case MSR_APIC_BASE: *v = x->apic_base; return true;
    case MSR_EFER: *v = x->efer; return true;
    case MSR_FS_BASE: *v = x->seg[X86_FS].base; return true;
    case MSR_GS_BASE: *v = x->seg[X86_GS].base; return true;
    case MSR_MTRR_CAP: *v = X86_N_MTRRS | 1 << 8 | 1 << 10; return true;
    case MSR_MCG_CAP: *v = X86_N_MC_BANKS | 1 << 8; return true;
    case MSR_PLATFORM: *v = 0; return true;
    case MSR_PERF_STATUS: *v = 1000 | (uint64_t)4 << 40; return true;
    default: break;
    }
    if (!is_there(x, rule_of(index)) || (is_cet(index) && !has_cet(x)) ||
        !x86_msr_slot(x, index, &slot))
        return false;
    *v = *slot;
    return true;
}

uint64_t x86h_rdmsr(struct x86_cpu *x)
{
    uint64_t v = 0;
    uint32_t index = (uint32_t)x->gpr[X86_RCX];
    if (!x86_cpl(x))
        x86_intercept_msr(x, index, false);
    if (x86_cpl(x) || !read_msr(x, index, &v)) {
        log_msr(x, "reads", index);
        x86_fault_code(x, X86_GP, 0);
    }
    return v;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

uint64_t x86_allowed_efer(const struct x86_cpu *x)
{
    uint64_t allowed = X86_EFER_LMA;
    if (x86_model_has(x->model, X86_E1_EDX, 11))
        allowed |= X86_EFER_SCE;
    if (x86_model_has(x->model, X86_E1_EDX, 29))
        allowed |= X86_EFER_LME;
    if (x86_model_has(x->model, X86_E1_EDX, 20))
        allowed |= X86_EFER_NXE;
    if (x86_model_has(x->model, X86_E1_EDX, 25))
        allowed |= X86_EFER_FFXSR;
    if (x86_model_has(x->model, X86_E1_ECX, 2) && !(x->vm_cr & VM_CR_OFF))
        allowed |= X86_EFER_SVME;
    return allowed;
}

static bool write_efer(struct x86_cpu *x, uint64_t v)
{
    if (v & ~x86_allowed_efer(x) || (x->cr0 & X86_CR0_PG && (v ^ x->efer) & X86_EFER_LME))
        return false;
    uint64_t changed = v ^ x->efer;
    x->efer = (v & ~X86_EFER_LMA) | (x->efer & X86_EFER_LMA);
    if (changed & X86_EFER_NXE)
        x86_paging_changed(x);
    return true;
}

/* Each byte a memory type, SDM 3-12.12.2. */
static bool is_pat(uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        if (!(0xf3u >> (v >> 8 * i & 0xff) & 1) || (v >> 8 * i & 0xff) > 7)
            return false;
    return true;
}

static bool write_apic_base(struct x86_cpu *x, uint64_t v)
{
    uint64_t modes = X86_APIC_BASE_ENABLE | X86_APIC_BASE_X2APIC;
    if (v >> x->model->phys_bits || v & 0x2ff || (v & modes) == X86_APIC_BASE_X2APIC)
        return false;
    if (v & X86_APIC_BASE_X2APIC && !x86_model_has(x->model, X86_1_ECX, 21))
        return false;
    v = (v & ~X86_APIC_BASE_BSP) | (x->apic_base & X86_APIC_BASE_BSP);
    if (x->apic && !x->apic->set_base(x->apic_opaque, v))
        return false;
    x->apic_base = v;
    return true;
}

static bool write_base(struct x86_cpu *x, unsigned seg, uint64_t v)
{
    if (!x86_is_canonical(x, v))
        return false;
    x->seg[seg].base = v;
    return true;
}

static bool write_slot(struct x86_cpu *x, uint32_t index, uint64_t v)
{
    const struct rule *r = rule_of(index);
    uint64_t *slot;
    unsigned kind = r ? r->kind : 0;
    if (!is_there(x, r) || kind & READ_ONLY || !x86_msr_slot(x, index, &slot))
        return false;
    if ((kind & CANONICAL && !x86_is_canonical(x, v)) || (index == MSR_PAT && !is_pat(v)))
        return false;
    if (index >= 0x6a0 && index <= 0x6a8 && (!has_cet(x) || !x86_cet_value_is_right(x, index, v)))
        return false;
    if (index == MSR_VM_HSAVE && (v & 4095 || v >> x->model->phys_bits))
        return false;
    if (index == MSR_VM_CR && (v & ~(uint64_t)0x1f || (v & VM_CR_OFF && x->efer & X86_EFER_SVME) ||
                               (x->vm_cr & VM_CR_LOCK && (v ^ x->vm_cr) & VM_CR_OFF)))
        return false;
    if (index == MSR_XSS && v & ~x->model->xss)
        return false;
    if (index == MSR_MTRR_DEF_TYPE && v & ~(uint64_t)0xcff)
        return false;
    *slot = kind & LOW_32 ? (uint32_t)v : v;
    return true;
}

static bool write_msr(struct x86_cpu *x, uint32_t index, uint64_t v)
{
    if (is_apic(index))
        return x->apic && x->apic->write_msr(x->apic_opaque, index, v);
    switch (index) {
    case MSR_TSC: x86_set_tsc(x, v); return true;
    case MSR_APIC_BASE: return write_apic_base(x, v);
    case MSR_EFER: return write_efer(x, v);
    case MSR_FS_BASE: return write_base(x, X86_FS, v);
    case MSR_GS_BASE: return write_base(x, X86_GS, v);
    case MSR_MICROCODE: return true; /* "read it anew" */
    case MSR_PRED_CMD: return x86_model_has(x->model, X86_7_EDX, 26) && v <= 1;
    case MSR_FLUSH_CMD: return x86_model_has(x->model, X86_7_EDX, 28) && v <= 1;
    default: return write_slot(x, index, v);
    }
}

uint64_t x86h_wrmsr(struct x86_cpu *x, uint64_t len)
{
    uint32_t index = (uint32_t)x->gpr[X86_RCX];
    uint64_t v = (uint32_t)x->gpr[X86_RAX] | x->gpr[X86_RDX] << 32;
    if (!x86_cpl(x))
        x86_intercept_msr(x, index, true);
    if (x86_cpl(x) || !write_msr(x, index, v)) {
        log_msr(x, "writes", index);
        x86_fault_code(x, X86_GP, 0);
    }
    x->pc = x86_insn_pc(x) + len;
    if (!x86_in_code64(x))
        x->pc = (uint32_t)x->pc;
    x86_update_state_word(x);
    x86_check_interrupts(x);
    return x->pc;
}
