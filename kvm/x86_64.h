/* Between the files of the KVM engine for x86-64 hosts. */
#pragma once

#include "kvm/kvm.h"

/* x86_64_chips.c: 8259s, I/O APIC and 8254 inside the kernel <-> struct x86_chips. */
struct error *kvm_x86_get_chips(struct kvm *kvm, void *chips);
struct error *kvm_x86_set_chips(struct kvm *kvm, const void *chips);

/* x86_64_msrs.c. Registers that the CPU model does not have are kept from the guest (an error: this KVM
 * cannot). After the model was fitted. */
struct error *kvm_x86_filter_msrs(struct kvm *kvm);
/* An access that the kernel left to us: #GP, a local APIC in user space, or the state's own register. */
void kvm_x86_do_msr(struct kvm_vcpu *k, bool write);

/* x86_64_paravirt.c: the hv-* flags that this KVM can give (X86_HV); what the model shows is turned on, and
 * nothing that it does not show. */
uint32_t kvm_x86_hyperv(struct kvm *kvm);
struct error *kvm_x86_enable_paravirt(struct kvm_vcpu *k);
/* Of one vCPU's synthetic interrupt controller: what it is told by MSRs, which are those of the state. */
struct kvm_x86_synic {
    _Atomic gpa messages, events; /* SYNIC_NOWHERE: not enabled */
};
struct kvm_x86_synic *kvm_x86_synic_of(struct kvm_vcpu *k); /* x86_64.c */
void kvm_x86_synic_changed(struct kvm_vcpu *k, uint64_t control, uint64_t messages,
                           uint64_t events);
void kvm_x86_hyperv_exit(struct kvm_vcpu *k);

/* x86_64_step.c: kvm_isa's functions for lock-step. */
void kvm_x86_step_ends(struct kvm_vcpu *k, bool by_helper);
bool kvm_x86_step_interrupt(struct kvm_vcpu *k);
bool kvm_x86_is_helpers(struct kvm_vcpu *k);
bool kvm_x86_is_as_far(struct kvm_vcpu *k);

/* x86_64_debug.c: a debugger's breakpoints are in the CPU's own registers while it has any; the guest's
 * wait. */
struct error *kvm_x86_set_debug(struct kvm_vcpu *k, const struct vcpu_debug *want);
enum kvm_verdict kvm_x86_debug_exit(struct kvm_vcpu *k);
