/* Breakpoints, watchpoints and single steps of a debugger, by the CPU's own means. Section numbers: SDM 3,
 * chapter 18. */
#include "kvm/x86_64.h"

#include "core/error.h"

enum { N_REGISTERS = 4, DR7_ONE = 1 << 10 };

/* 18.2.4: what is watched, and its length. */
static uint64_t dr7_of(const struct vcpu_point *p, unsigned i)
{
    static const uint8_t kinds[] = { [POINT_EXECUTE] = 0, [POINT_WRITE] = 1, [POINT_ACCESS] = 3 };
    static const uint8_t lengths[9] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    uint64_t length = p->kind == POINT_EXECUTE ? 0 : lengths[p->size];
    return (uint64_t)2 << 2 * i | (kinds[p->kind] | length << 2) << (16 + 4 * i);
}

static struct error *check(const struct vcpu_debug *want)
{
    if (want->n > N_REGISTERS)
        return error_new("a CPU under KVM has %d breakpoints, not %u", N_REGISTERS, want->n);
    for (unsigned i = 0; i < want->n; i++) {
        const struct vcpu_point *p = &want->points[i];
        unsigned size = p->size;
        if (p->kind == POINT_READ)
            return error_new("a CPU watches no reads alone");
        if (p->kind != POINT_EXECUTE &&
            (!size || size > 8 || size & (size - 1) || p->at & (size - 1)))
            return error_new("a CPU watches 1, 2, 4 or 8 aligned bytes, not %u", size);
    }
    return NULL;
}

/* `pass`: the vCPU stands on a breakpoint and is to go on. That takes one step without those on
 * instructions: KVM's emulator does not look at RF (18.3.1.1), which would let it pass. */
static struct error *arm(struct kvm_vcpu *k, const struct vcpu_debug *want, bool pass)
{
    struct kvm_guest_debug d = { .arch.debugreg[7] = DR7_ONE };
    unsigned known = (unsigned)kvm_check(k->kvm, KVM_CAP_SET_GUEST_DEBUG2);
    if (want->step || want->n || pass)
        d.control = KVM_GUESTDBG_ENABLE;
    if (want->step || pass)
        d.control |= KVM_GUESTDBG_SINGLESTEP;
    if (want->n)
        d.control |= KVM_GUESTDBG_USE_HW_BP;
    if (pass || (want->step && want->hold_interrupts))
        d.control |= known & KVM_GUESTDBG_BLOCKIRQ;
    for (unsigned i = 0; i < want->n; i++) {
        if (pass && want->points[i].kind == POINT_EXECUTE)
            continue;
        d.arch.debugreg[i] = want->points[i].at;
        d.arch.debugreg[7] |= dr7_of(&want->points[i], i);
    }
    return ioctl(k->fd, KVM_SET_GUEST_DEBUG, &d) < 0 ? error_errno("KVM_SET_GUEST_DEBUG") : NULL;
}

struct error *kvm_x86_set_debug(struct kvm_vcpu *k, const struct vcpu_debug *want)
{
    struct error *err = check(want);
    return err ? err : arm(k, want, k->passes_point);
}

/* DR6 also tells of places that are not asked for; DR7 of the exit is not always what was set. */
enum kvm_verdict kvm_x86_debug_exit(struct kvm_vcpu *k)
{
    uint64_t dr6 = k->run->debug.arch.dr6;
    const struct vcpu_debug *want = &k->debug;
    bool passed = k->passes_point;
    int hit = VCPU_STEPPED;
    for (unsigned i = want->n; i-- > 0;)
        if (dr6 >> i & 1 && !(passed && want->points[i].kind == POINT_EXECUTE))
            hit = (int)i;
    k->passes_point = hit >= 0 && want->points[hit].kind == POINT_EXECUTE;
    if (k->passes_point != passed)
        error_free(arm(k, want, k->passes_point));
    k->cpu->debug_hit = hit;
    if (hit == VCPU_STEPPED && want->step)
        return kvm_steps_on(want, k->run->debug.arch.pc) ? KVM_GO_ON : KVM_DEBUG;
    return passed && hit == VCPU_STEPPED ? KVM_GO_ON : KVM_DEBUG;
}
