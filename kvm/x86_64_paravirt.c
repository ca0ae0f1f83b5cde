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

/* ---- synthetic interrupt controllers ------------------------------------------------------------------- */

static struct error *synic_available(struct vm *vm)
{
    if (!x86_model_has(x86_model_of(vm), X86_HV, HV_SYNIC))
        return error_new(
            "its vCPUs have no Hyper-V synthetic interrupt controllers: -cpu ...,hv-synic "
            "gives them some, where the host's KVM can (KVM_CAP_HYPERV_SYNIC2)");
    if (vm->irqchip != IRQCHIP_ENGINE || !kvm_check(kvm_of(vm), KVM_CAP_IRQFD_RESAMPLE))
        return error_new("Hyper-V's synthetic interrupts come back only with kernel-irqchip=on");
    return NULL;
}

/* TLFS 11.8: bit 0 enables the controller, and each page. */
static gpa page(uint64_t control, uint64_t base)
{
    return control & base & 1 ? base & ~(uint64_t)0xfff : SYNIC_NOWHERE;
}

void kvm_x86_synic_changed(struct kvm_vcpu *k, uint64_t control, uint64_t messages, uint64_t events)
{
    struct kvm_x86_synic *s = kvm_x86_synic_of(k);
    atomic_store(&s->messages, page(control, messages));
    atomic_store(&s->events, page(control, events));
}

static void synic_pages(struct vcpu *cpu, gpa *messages, gpa *events)
{
    struct kvm_x86_synic *s = kvm_x86_synic_of(kvm_vcpu_of(cpu));
    *messages = atomic_load(&s->messages);
    *events = atomic_load(&s->events);
}

void kvm_x86_hyperv_exit(struct kvm_vcpu *k)
{
    enum { INVALID_HYPERCALL_CODE = 2, FAST = 1 << 16 }; /* TLFS 3.7, appendix B */
    struct kvm_hyperv_exit *e = &k->run->hyperv;
    struct vm *vm = k->cpu->vm;
    if (e->type == KVM_EXIT_HYPERV_SYNIC) {
        kvm_x86_synic_changed(k, e->u.synic.control, e->u.synic.msg_page, e->u.synic.evt_page);
    } else if (e->type == KVM_EXIT_HYPERV_HCALL) {
        const struct hv_call call = { (uint16_t)e->u.hcall.input,
                                      e->u.hcall.input & FAST,
                                      { e->u.hcall.params[0], e->u.hcall.params[1] } };
        e->u.hcall.result =
            vm->hv_call ? vm->hv_call(vm->hv_opaque, &call) : INVALID_HYPERCALL_CODE;
    }
    k->unfinished = true;
}

const struct accel_synic kvm_synic = { synic_available, kvm_route_sint, synic_pages };
