/* KVM on aarch64 hosts. Registers go by KVM_GET_ONE_REG and KVM_SET_ONE_REG; the kernel lists them
 * (KVM_GET_REG_LIST), so that it is complete whatever CPU the host has. The interrupt controller is a device in
 * user space (KVM_CAP_ARM_USER_IRQ); PSCI is the kernel's. */
#include "kvm/kvm.h"

#include "core/error.h"
#include "target/aarch64/arm.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#define CORE(size, name) \
    (KVM_REG_ARM64 | KVM_REG_SIZE_##size | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))
#define IS_CORE(id) (((id)&KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM_CORE)

/* Per vCPU. */
struct isa_vcpu {
    struct kvm_reg_list *list;   /* all but the core registers */
    uint64_t known[ARM_N_OTHER]; /* what the kernel holds as of the last get or set */
    bool is_known;
    struct kvm_vcpu_init init; /* which makes the CPU, and resets it */
    uint32_t lines, outputs;   /* as told last */
};

static struct isa_vcpu *mine(const struct kvm_vcpu *k)
{
    return k->isa;
}

/* ---- registers ------------------------------------------------------------------------------------ */

static bool get_reg(struct kvm_vcpu *k, uint64_t id, void *to)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)to };
    return ioctl(k->fd, KVM_GET_ONE_REG, &reg) >= 0;
}

static bool set_reg(struct kvm_vcpu *k, uint64_t id, const void *from)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)from };
    return ioctl(k->fd, KVM_SET_ONE_REG, &reg) >= 0;
}

static const struct {
    uint64_t id;
    size_t offset;
} plain[] = {
    { CORE(U64, regs.sp), offsetof(struct arm_cpu, sp_el0) },
    { CORE(U64, regs.pc), offsetof(struct arm_cpu, pc) },
    { CORE(U64, regs.pstate), offsetof(struct arm_cpu, pstate) },
    { CORE(U64, sp_el1), offsetof(struct arm_cpu, sp_el1) },
    { CORE(U64, elr_el1), offsetof(struct arm_cpu, elr_el1) },
    { CORE(U32, fp_regs.fpsr), offsetof(struct arm_cpu, fpsr) },
    { CORE(U32, fp_regs.fpcr), offsetof(struct arm_cpu, fpcr) },
};
/* Arrays: number i is `step` (of 32 bits) further. */
static const struct {
    uint64_t id;
    size_t offset, size;
    unsigned n, step;
} arrays[] = {
    { CORE(U64, regs.regs[0]), offsetof(struct arm_cpu, x), 8, 31, 2 },
    { CORE(U64, spsr[0]), offsetof(struct arm_cpu, spsr), 8, ARM_N_SPSR, 2 },
    { CORE(U128, fp_regs.vregs[0]), offsetof(struct arm_cpu, v), 16, 32, 4 },
};

static bool move_core(struct kvm_vcpu *k, struct arm_cpu *a, bool write)
{
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(plain) && ok; i++) {
        void *at = (char *)a + plain[i].offset;
        ok = write ? set_reg(k, plain[i].id, at) : get_reg(k, plain[i].id, at);
    }
    for (size_t i = 0; i < ARRAY_LEN(arrays) && ok; i++)
        for (unsigned n = 0; n < arrays[i].n && ok; n++) {
            void *at = (char *)a + arrays[i].offset + n * arrays[i].size;
            uint64_t id = arrays[i].id + n * arrays[i].step;
            ok = write ? set_reg(k, id, at) : get_reg(k, id, at);
        }
    return ok;
}

static struct error *get(struct kvm_vcpu *k)
{
    struct arm_cpu *a = arm_of(k->cpu);
    struct isa_vcpu *m = mine(k);
    struct kvm_mp_state power;
    if (!move_core(k, a, false))
        return error_errno("KVM does not hand out a register");
    a->n_other = 0;
    for (uint64_t i = 0; i < m->list->n; i++) {
        uint64_t value = 0;
        m->known[i] = 0;
        if (!get_reg(k, m->list->reg[i], &value))
            continue; /* listed, yet not for this CPU */
        m->known[i] = value;
        a->other[a->n_other++] = (struct arm_other_reg){ m->list->reg[i], value };
    }
    m->is_known = true;
    if (ioctl(k->fd, KVM_GET_MP_STATE, &power) < 0)
        return error_errno("KVM_GET_MP_STATE");
    a->powered_off = power.mp_state == KVM_MP_STATE_STOPPED;
    return NULL;
}

static const struct arm_other_reg *other_of(const struct arm_cpu *a, uint64_t id)
{
    for (uint32_t i = 0; i < a->n_other; i++)
        if (a->other[i].id == id)
            return &a->other[i];
    return NULL;
}

/* Only what differs from what the kernel holds: counters go on by themselves, and what describes the CPU is
 * refused where it is another. Registers that the state lacks are as at a reset. */
static struct error *set(struct kvm_vcpu *k)
{
    struct arm_cpu *a = arm_of(k->cpu);
    struct isa_vcpu *m = mine(k);
    if (!a->n_other && m->is_known) { /* a reset: the kernel knows the values */
        if (ioctl(k->fd, KVM_ARM_VCPU_INIT, &m->init) < 0)
            return error_errno("KVM_ARM_VCPU_INIT");
        m->is_known = false;
    }
    struct kvm_mp_state power = { a->powered_off ? KVM_MP_STATE_STOPPED : KVM_MP_STATE_RUNNABLE };
    for (uint64_t i = 0; i < m->list->n; i++) {
        const struct arm_other_reg *from = other_of(a, m->list->reg[i]);
        if (!from || (m->is_known && from->value == m->known[i]))
            continue;
        if (!set_reg(k, from->id, &from->value))
            return error_errno("KVM does not take register %#" PRIx64, from->id);
        m->known[i] = from->value;
    }
    if (!move_core(k, a, true))
        return error_errno("KVM does not take a register");
    return ioctl(k->fd, KVM_SET_MP_STATE, &power) < 0 ? error_errno("KVM_SET_MP_STATE") : NULL;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static struct error *vm_init(struct kvm *kvm)
{
    if (!kvm_check(kvm, KVM_CAP_ONE_REG) || !kvm_check(kvm, KVM_CAP_ARM_PSCI_0_2))
        return error_new(
            "this host's KVM is too old: registers one by one and PSCI 0.2 are needed");
    if (!kvm_check(kvm, KVM_CAP_ARM_USER_IRQ))
        return error_new("this host's KVM needs its own interrupt controller");
    return NULL;
}

static void isa_free(struct kvm *kvm)
{
    vm_forget(kvm->vm, kvm);
}

static void vm_clock(struct kvm *kvm, bool running)
{
    (void)kvm, (void)running; /* the counter is a register */
}

static uint32_t vcpu_id(const struct vcpu *cpu)
{
    return cpu->index;
}

/* The kernel's list without the core registers, which have names, and what is longer than a word. */
static struct error *list_registers(struct kvm_vcpu *k, struct kvm_reg_list **out)
{
    struct kvm_reg_list count = { 0 }, *all;
    uint64_t n = 0;
    ioctl(k->fd, KVM_GET_REG_LIST, &count); /* E2BIG, and the number */
    all = xcalloc(1, sizeof(*all) + count.n * sizeof(all->reg[0]));
    all->n = count.n;
    if (ioctl(k->fd, KVM_GET_REG_LIST, all) < 0) {
        free(all);
        return error_errno("KVM does not list its registers");
    }
    for (uint64_t i = 0; i < all->n; i++)
        if (!IS_CORE(all->reg[i]) && (all->reg[i] & KVM_REG_SIZE_MASK) <= KVM_REG_SIZE_U64)
            all->reg[n++] = all->reg[i];
    all->n = n;
    *out = all;
    if (n <= ARM_N_OTHER)
        return NULL;
    free(all);
    *out = NULL;
    return error_new("this host's KVM has %" PRIu64 " registers a CPU, over %d", n, ARM_N_OTHER);
}

static struct error *isa_vcpu_init(struct kvm_vcpu *k)
{
    struct isa_vcpu *m = xcalloc(1, sizeof(*m));
    struct error *err = NULL;
    if (ioctl(k->kvm->vm_fd, KVM_ARM_PREFERRED_TARGET, &m->init) < 0)
        err = error_errno("KVM does not name the host's CPU");
    m->init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
    if (k->cpu->index)
        m->init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
    if (!err && ioctl(k->fd, KVM_ARM_VCPU_INIT, &m->init) < 0)
        err = error_errno("KVM cannot make this CPU");
    if (!err)
        err = list_registers(k, &m->list);
    k->isa = m;
    if (err)
        free(m);
    return err;
}

static void isa_vcpu_free(struct kvm_vcpu *k)
{
    free(mine(k)->list);
    free(mine(k));
}

static struct error *irq_create(struct kvm *kvm)
{
    (void)kvm;
    return error_new("in-kernel interrupt controllers are not there for aarch64");
}

static struct error *get_chips(struct kvm *kvm, void *chips)
{
    (void)kvm, (void)chips;
    return NULL; /* there are none */
}

static struct error *set_chips(struct kvm *kvm, const void *chips)
{
    (void)kvm, (void)chips;
    return NULL;
}

static uint32_t pin_routes(struct kvm_irq_routing_entry *to)
{
    (void)to;
    return 0;
}

/* ---- running ------------------------------------------------------------------------------------------ */

static bool tell_line(struct kvm_vcpu *k, unsigned number, bool level)
{
    uint32_t cpu = k->cpu->index;
    struct kvm_irq_level line = {
        .irq = (cpu >> 8) << KVM_ARM_IRQ_VCPU2_SHIFT |
               KVM_ARM_IRQ_TYPE_CPU << KVM_ARM_IRQ_TYPE_SHIFT |
               (cpu & KVM_ARM_IRQ_VCPU_MASK) << KVM_ARM_IRQ_VCPU_SHIFT |
               number << KVM_ARM_IRQ_NUM_SHIFT,
        .level = level,
    };
    return ioctl(k->kvm->vm_fd, KVM_IRQ_LINE, &line) >= 0;
}

static enum kvm_verdict before_run(struct kvm_vcpu *k)
{
    struct isa_vcpu *m = mine(k);
    uint32_t now = atomic_load(&arm_of(k->cpu)->lines), changed = now ^ m->lines;
    if (changed & ARM_IRQ && tell_line(k, KVM_ARM_IRQ_CPU_IRQ, now & ARM_IRQ))
        m->lines ^= ARM_IRQ;
    if (changed & ARM_FIQ && tell_line(k, KVM_ARM_IRQ_CPU_FIQ, now & ARM_FIQ))
        m->lines ^= ARM_FIQ;
    return KVM_GO_ON;
}

/* The CPU's own timers and counters, which the kernel has: their lines come with an exit. */
static void after_run(struct kvm_vcpu *k)
{
    static const uint32_t outputs[][2] = { { KVM_ARM_DEV_EL1_VTIMER, ARM_OUT_VTIMER },
                                           { KVM_ARM_DEV_EL1_PTIMER, ARM_OUT_PTIMER },
                                           { KVM_ARM_DEV_PMU, ARM_OUT_PMU } };
    const struct arm_cpu *a = arm_of(k->cpu);
    uint32_t now = 0;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++)
        if (k->run->s.regs.device_irq_level & outputs[i][0])
            now |= outputs[i][1];
    if (now != mine(k)->outputs && a->outputs)
        a->outputs(a->outputs_opaque, now);
    mine(k)->outputs = now;
}

/* An access that the CPU does not describe: a store of several registers to a device, say. */
static bool handle(struct kvm_vcpu *k, enum kvm_verdict *verdict)
{
    if (k->run->exit_reason == KVM_EXIT_DEBUG) {
        k->cpu->debug_hit = VCPU_STEPPED;
        *verdict = KVM_DEBUG;
        return true;
    }
    if (k->run->exit_reason != KVM_EXIT_ARM_NISV)
        return false;
    *verdict =
        kvm_failed(k, "an access to %#" PRIx64 " that KVM cannot take apart (ESR %#" PRIx64 ")",
                   (uint64_t)k->run->arm_nisv.fault_ipa, (uint64_t)k->run->arm_nisv.esr_iss);
    return true;
}

/* Break- and watchpoints would take the debug registers' formats (D2.8). */
static struct error *set_debug(struct kvm_vcpu *k, const struct vcpu_debug *want)
{
    struct kvm_guest_debug d = { 0 };
    if (want->n)
        return error_new("there are no breakpoints for aarch64 guests under KVM, only steps");
    if (want->step)
        d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    return ioctl(k->fd, KVM_SET_GUEST_DEBUG, &d) < 0 ? error_errno("KVM_SET_GUEST_DEBUG") : NULL;
}

static const char *entry_failure(uint64_t reason)
{
    (void)reason;
    return NULL;
}

/* Only before the guest turns its MMU on; KVM has no KVM_TRANSLATE here. */
static bool code_address(struct vcpu *cpu, uint64_t pc, gpa *at)
{
    static const uint64_t sctlr_el1 = ARM64_SYS_REG(3, 0, 1, 0, 0);
    const struct arm_other_reg *r = other_of(arm_of(cpu), sctlr_el1);
    *at = pc;
    return r && !(r->value & 1);
}

static const char *disassembler(struct vcpu *cpu)
{
    (void)cpu;
    return "aarch64";
}

const char *const kvm_isa_own_fields[] = { NULL };
const struct kvm_isa kvm_isa = {
    .target = "aarch64",
    .vm_init = vm_init,
    .vm_free = isa_free,
    .clock = vm_clock,
    .vcpu_id = vcpu_id,
    .vcpu_init = isa_vcpu_init,
    .vcpu_free = isa_vcpu_free,
    .get = get,
    .set = set,
    .before_run = before_run,
    .after_run = after_run,
    .handle = handle,
    .entry_failure = entry_failure,
    .set_debug = set_debug,
    .code_address = code_address,
    .disassembler = disassembler,
    .irq_create = irq_create,
    .get_chips = get_chips,
    .set_chips = set_chips,
    .pin_routes = pin_routes,
};

static struct error *no_synic(struct vm *vm)
{
    (void)vm;
    return error_new("Hyper-V's synthetic interrupt controllers are x86's");
}
static void no_pages(struct vcpu *cpu, gpa *messages, gpa *events)
{
    (void)cpu;
    *messages = *events = SYNIC_NOWHERE;
}
const struct accel_synic kvm_synic = { no_synic, kvm_route_sint, no_pages };
