/* Paravirtual interfaces: which of Hyper-V's enlightenments this KVM has, and turning on what the CPU model
 * shows. KVM's own (clock, steal time, ...) are CPUID bits and MSRs like others. "TLFS" is Hyper-V's Top-Level
 * Functional Specification. */
#include "kvm/x86_64.h"

#include "core/error.h"
#include "target/x86_64/model.h"

#include <stdlib.h>

enum { MAX_LEAVES = 32, HV_FEATURES = 0x40000003, HV_ADVICE = 0x40000004 };
enum { HV_RELAXED = 0, HV_SYNIC = 7, HV_STIMER_DIRECT = 14 };

/* TLFS 2.4: the leaf's bit that stands for a flag of X86_HV. */
static const struct {
    uint8_t flag, bit;
    bool is_edx; /* else EAX */
    uint32_t leaf;
} bits_of[] = {
    { 1, 4, false, HV_FEATURES },   /* hv-vapic */
    { 2, 1, false, HV_FEATURES },   /* hv-time */
    { 3, 10, true, HV_FEATURES },   /* hv-crash */
    { 4, 7, false, HV_FEATURES },   /* hv-reset */
    { 5, 6, false, HV_FEATURES },   /* hv-vpindex */
    { 6, 0, false, HV_FEATURES },   /* hv-runtime */
    { 7, 2, false, HV_FEATURES },   /* hv-synic */
    { 8, 3, false, HV_FEATURES },   /* hv-stimer */
    { 9, 11, false, HV_FEATURES },  /* hv-frequencies */
    { 10, 13, false, HV_FEATURES }, /* hv-reenlightenment */
    { 11, 2, false, HV_ADVICE },    /* hv-tlbflush */
    { 13, 10, false, HV_ADVICE },   /* hv-ipi */
    { 14, 19, true, HV_FEATURES },  /* hv-stimer-direct */
};

static uint32_t flags_of(const struct kvm_cpuid2 *all)
{
    uint32_t flags = 1u << HV_RELAXED; /* advice alone */
    for (uint32_t i = 0; i < all->nent; i++)
        for (size_t n = 0; n < ARRAY_LEN(bits_of); n++) {
            const struct kvm_cpuid_entry2 *e = &all->entries[i];
            uint32_t word = bits_of[n].is_edx ? e->edx : e->eax;
            if (e->function == bits_of[n].leaf)
                flags |= (word >> bits_of[n].bit & 1) << bits_of[n].flag;
        }
    return flags;
}

/* The synthetic interrupt controller is part of the kernel's APIC. */
uint32_t kvm_x86_hyperv(struct kvm *kvm)
{
    struct kvm_cpuid2 *all;
    uint32_t flags = 0, needs_apic = 3u << HV_SYNIC | 1u << HV_STIMER_DIRECT;
    if (!kvm_check(kvm, KVM_CAP_HYPERV) || !kvm_check(kvm, KVM_CAP_SYS_HYPERV_CPUID))
        return 0;
    all = xcalloc(1, sizeof(*all) + MAX_LEAVES * sizeof(all->entries[0]));
    all->nent = MAX_LEAVES;
    if (ioctl(kvm->sys_fd, KVM_GET_SUPPORTED_HV_CPUID, all) >= 0)
        flags = flags_of(all);
    free(all);
    if (kvm->irqchip == IRQCHIP_USER || !kvm_check(kvm, KVM_CAP_HYPERV_SYNIC2))
        flags &= ~needs_apic;
    return flags;
}

static struct error *enable(struct kvm_vcpu *k, uint32_t capability, uint64_t arg, const char *what)
{
    struct kvm_enable_cap cap = { .cap = capability, .args = { arg } };
    if (!kvm_check(k->kvm, (int)capability) || ioctl(k->fd, KVM_ENABLE_CAP, &cap) >= 0)
        return NULL;
    return error_errno("%s", what);
}

/* Before the CPUID is set. */
struct error *kvm_x86_enable_paravirt(struct kvm_vcpu *k)
{
    const struct x86_model *m = x86_model_of(k->cpu->vm);
    struct error *err = enable(k, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1, "KVM's interface alone");
    if (!err && (m->words[X86_HV] || m->hv_spinlocks))
        err = enable(k, KVM_CAP_HYPERV_ENFORCE_CPUID, 1, "Hyper-V's interface alone");
    if (!err && x86_model_has(m, X86_HV, HV_SYNIC))
        err = enable(k, KVM_CAP_HYPERV_SYNIC2, 0, "hv-synic");
    return err;
}
