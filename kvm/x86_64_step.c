/* Lock-step on x86-64: what an instruction is that KVM does not execute as another engine does, and interrupts. */
#include "kvm/x86_64.h"

#include "target/x86_64/x86.h"

#include <string.h>

/* KVM and the host's CPU keep these, or the translator keeps less of them. */
const char *const kvm_isa_own_fields[] = {
    "tsc",    "tsc_adjust",       "run_state",         "lapic",        "lines",
    "events", "xinuse",           "xsave_rest",        "fop",          "fip",
    "fdp",    "nested",           "other_msrs",        "n_other_msrs", "mcg_ctl",
    "mc",     "kvm_poll_control", "microcode_version", "smbase",       NULL
};

void kvm_x86_step_ends(struct kvm_vcpu *k, bool by_helper)
{
    struct x86_cpu *x = x86_of(k->cpu);
    const struct x86_cpu *leader = x86_of(k->cpu->leader);
    x->tsc = leader->tsc;
    x->rflags = (x->rflags & ~k->undefined) | (leader->rflags & k->undefined);
    if (x->apic && !by_helper)
        x->cr8 = x->apic->get_tpr(x->apic_opaque);
}

bool kvm_x86_step_interrupt(struct kvm_vcpu *k)
{
    struct x86_cpu *x = x86_of(k->cpu);
    if (!x->apic || !x86_has_interrupt(x) || !(x->rflags & X86_FLAG_IF) || x->events.shadow_sti ||
        x->events.shadow_mov_ss)
        return false;
    struct kvm_interrupt interrupt = { (uint32_t)x->apic->acknowledge(x->apic_opaque) };
    return (int)interrupt.irq >= 0 && ioctl(k->fd, KVM_INTERRUPT, &interrupt) == 0;
}

bool kvm_x86_is_as_far(struct kvm_vcpu *k)
{
    struct kvm_regs r;
    return ioctl(k->fd, KVM_GET_REGS, &r) < 0 || r.rcx == x86_of(k->cpu->leader)->gpr[X86_RCX];
}

/* Prefixes of SDM 2-2.1.1 and REX; gives how many. */
static size_t skip_prefixes(const uint8_t *code, size_t n, bool code64)
{
    static const uint8_t legacy[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e,
                                      0x36, 0x3e, 0x26, 0x64, 0x65 };
    size_t i = 0;
    while (i < n && (memchr(legacy, code[i], sizeof(legacy)) || (code64 && code[i] >> 4 == 4)))
        i++;
    return i;
}

/* Time, random numbers, CPUID (a KVM in software may show the host's), CR8, of which the leader tells at each write; IRET, POP SS and MOV SS, behind which
 * breakpoints do not stop (SDM 3-18.3.1). */
bool kvm_x86_is_helpers(struct kvm_vcpu *k)
{
    struct x86_cpu *x = x86_of(k->cpu);
    uint8_t code[18] = { 0 };
    uint64_t linear = k->cpu->vm->target->pc(k->cpu), at;
    size_t n = 0;
    for (; n < 15 && x86_debug_translate(k->cpu, linear + n, &at); n++)
        if (!mem_read(k->cpu->vm, at, &code[n], 1))
            break;
    bool code64 = x->efer & X86_EFER_LMA && x->seg[X86_CS].rights & X86_AR_L;
    k->undefined = x86_undefined_flags(x86_of(k->cpu->leader), code, n);
    const uint8_t *c = code + skip_prefixes(code, n, code64);
    bool rex_r = code64 && c > code && (c[-1] & 0xf4) == 0x44;
    unsigned reg = c[1] >> 3 & 7;
    if (c[0] == 0x8e)
        return reg == X86_SS;
    if (c[0] != 0x0f)
        return c[0] == 0xcf || c[0] == 0x17;
    reg = c[2] >> 3 & 7;
    switch (c[1]) {
    case 0x01: return c[2] == 0xf9;              /* RDTSCP */
    case 0x22: return reg == 0 && rex_r;         /* MOV CR8 */
    case 0x31:                                   /* RDTSC */
    case 0x33:                                   /* RDPMC */
    case 0xa2:                                   /* CPUID */
    case 0xb2: return true;                      /* LSS */
    case 0xc7: return c[2] >> 6 == 3 && reg > 5; /* RDRAND, RDSEED */
    default: return false;
    }
}
