/* Model-specific registers that the guest gets from us or not at all: those the CPU model does not have are
 * filtered, so that each access to one is seen and counted; those the kernel does not know, but the state
 * has, are plain storage. */
#include "kvm/x86_64.h"

#include "core/error.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <inttypes.h>

/* Registers that come with a feature, or with either of two. */
static const struct need {
    uint32_t first, n;
    struct {
        uint8_t word, bit;
    } any[2];
} needs[] = {
    { 0x00000011, 2, { { X86_KVM_EAX, 0 }, { X86_KVM_EAX, 0 } } },   /* kvmclock-old */
    { 0x0000003b, 1, { { X86_7_EBX, 1 }, { X86_7_EBX, 1 } } },       /* tsc-adjust */
    { 0x000000e1, 1, { { X86_7_ECX, 5 }, { X86_7_ECX, 5 } } },       /* waitpkg */
    { 0x0000010a, 1, { { X86_7_EDX, 29 }, { X86_7_EDX, 29 } } },     /* arch-capabilities */
    { 0x000001c4, 2, { { X86_D_1_EAX, 4 }, { X86_D_1_EAX, 4 } } },   /* xfd */
    { 0x000006a0, 9, { { X86_7_ECX, 7 }, { X86_7_EDX, 20 } } },      /* shstk, ibt */
    { 0x00000d90, 1, { { X86_7_EBX, 14 }, { X86_7_EBX, 14 } } },     /* mpx */
    { 0x00000da0, 1, { { X86_D_1_EAX, 3 }, { X86_D_1_EAX, 3 } } },   /* xsaves */
    { 0xc0000103, 1, { { X86_E1_EDX, 27 }, { X86_7_ECX, 22 } } },    /* rdtscp, rdpid */
    { 0xc0000104, 1, { { X86_EA_EDX, 4 }, { X86_EA_EDX, 4 } } },     /* tsc-scale */
    { 0x4b564d00, 2, { { X86_KVM_EAX, 3 }, { X86_KVM_EAX, 3 } } },   /* kvmclock */
    { 0x4b564d02, 1, { { X86_KVM_EAX, 4 }, { X86_KVM_EAX, 4 } } },   /* kvm-asyncpf */
    { 0x4b564d03, 1, { { X86_KVM_EAX, 5 }, { X86_KVM_EAX, 5 } } },   /* kvm-steal-time */
    { 0x4b564d04, 1, { { X86_KVM_EAX, 6 }, { X86_KVM_EAX, 6 } } },   /* kvm-pv-eoi */
    { 0x4b564d05, 1, { { X86_KVM_EAX, 12 }, { X86_KVM_EAX, 12 } } }, /* kvm-poll-control */
    { 0x4b564d06, 2, { { X86_KVM_EAX, 14 }, { X86_KVM_EAX, 14 } } }, /* kvm-asyncpf-int */
};

static bool has_all(const struct x86_model *m, const struct need *need)
{
    return x86_model_has(m, need->any[0].word, need->any[0].bit) ||
           x86_model_has(m, need->any[1].word, need->any[1].bit);
}

static bool is_withheld(const struct x86_model *m, uint32_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (index - needs[i].first < needs[i].n)
            return !has_all(m, &needs[i]);
    return false;
}

struct error *kvm_x86_filter_msrs(struct kvm *kvm)
{
    static uint8_t const none[2];
    const struct x86_model *m = x86_model_of(kvm->vm);
    struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
    unsigned n = 0;
    if (!kvm_check(kvm, KVM_CAP_X86_MSR_FILTER) || !kvm_check(kvm, KVM_CAP_X86_USER_SPACE_MSR))
        return error_new("msr-filter=on: this host's KVM has none");
    _Static_assert(ARRAY_LEN(needs) <= KVM_MSR_FILTER_MAX_RANGES, "one range each");
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (!has_all(m, &needs[i]))
            filter.ranges[n++] = (struct kvm_msr_filter_range){
                .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                .nmsrs = needs[i].n,
                .base = needs[i].first,
                .bitmap = (uint8_t *)none,
            };
    if (n && ioctl(kvm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
        return error_errno("KVM does not take a filter of registers");
    return NULL;
}

static bool is_x2apic(uint32_t index)
{
    return index >= 0x800 && index < 0x900;
}

/* Registers whose meaning is more than storage are the kernel's or nobody's: performance counters,
 * paravirtual interfaces. */
static bool only_the_kernel(uint32_t index)
{
    return index >> 28 == 4 || (index >= 0xc1 && index < 0xc9) ||
           (index >= 0x186 && index < 0x18e) || (index >= 0x309 && index < 0x400);
}

static bool in_state(struct x86_cpu *x, uint32_t index, bool write, uint64_t *value)
{
    uint64_t *slot;
    if (only_the_kernel(index) || is_withheld(x->model, index) || !x86_msr_slot(x, index, &slot))
        return false;
    if (write)
        *slot = *value;
    else
        *value = *slot;
    return true;
}

void kvm_x86_do_msr(struct kvm_vcpu *k, bool write)
{
    struct x86_cpu *x = x86_of(k->cpu);
    struct kvm_run *run = k->run;
    uint32_t index = run->msr.index;
    uint64_t value = write ? run->msr.data : 0;
    bool ok;
    if (x->apic && is_x2apic(index))
        ok = write ? x->apic->write_msr(x->apic_opaque, index, value)
                   : x->apic->read_msr(x->apic_opaque, index, &value);
    else
        ok = run->msr.reason == KVM_MSR_EXIT_REASON_UNKNOWN && in_state(x, index, write, &value);
    run->msr.error = !ok;
    if (!write)
        run->msr.data = ok ? value : 0;
    if (ok)
        return;
    const struct log *log = &k->cpu->vm->log;
    atomic_fetch_add(&k->cpu->vm->n_guest_errors, 1);
    if (log_on(log, LOG_GUEST_ERRORS))
        log_print(log, "vCPU %u: there is no MSR %#" PRIx32 " to %s\n", k->cpu->index, index,
                  write ? "write" : "read");
}
