/* KVM on riscv64 hosts with the hypervisor extension: the guest runs in VS and VU mode, and KVM is its SBI
 * (timer, IPIs, hart start). Register numbers are in the kernel's api.rst at KVM_SET_ONE_REG. */
#include "kvm/kvm.h"

#include "core/error.h"
#include "target/riscv/riscv.h"

#include <stddef.h>
#include <stdlib.h>

#define REG64(type, number) \
    (KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_##type | (uint64_t)(number))
#define CSR(name)   REG64(CSR, KVM_REG_RISCV_CSR_REG(name))
#define CORE(n)     REG64(CORE, (n)) /* 0: pc; 1 to 31: x1 up; 32: mode */
#define TIMER(name) REG64(TIMER, KVM_REG_RISCV_TIMER_REG(name))
#define FCSR        (KVM_REG_RISCV | KVM_REG_SIZE_U32 | KVM_REG_RISCV_FP_D | KVM_REG_RISCV_FP_D_REG(fcsr))

enum { CORE_PC = 0, CORE_MODE = 32 };
/* What the guest's sstatus, sie and sip show of the machine's registers (priv 4.1.1, 4.1.3). */
#define SSTATUS                                                                           \
    (RV_MSTATUS_SIE | RV_MSTATUS_SPIE | RV_MSTATUS_UBE | RV_MSTATUS_SPP | RV_MSTATUS_VS | \
     RV_MSTATUS_FS | RV_MSTATUS_SUM | RV_MSTATUS_MXR | RV_MSTATUS_UXL | RV_MSTATUS_SD)
#define S_INTERRUPTS ((uint64_t)1 << RV_SSI | (uint64_t)1 << RV_STI | (uint64_t)1 << RV_SEI)

/* Registers that are the same on both sides. */
static const struct {
    uint64_t id;
    size_t offset;
} plain[] = {
    { CORE(CORE_PC), offsetof(struct riscv_cpu, pc) },
    { CSR(stvec), offsetof(struct riscv_cpu, stvec) },
    { CSR(sscratch), offsetof(struct riscv_cpu, sscratch) },
    { CSR(sepc), offsetof(struct riscv_cpu, sepc) },
    { CSR(scause), offsetof(struct riscv_cpu, scause) },
    { CSR(stval), offsetof(struct riscv_cpu, stval) },
    { CSR(satp), offsetof(struct riscv_cpu, satp) },
    { CSR(scounteren), offsetof(struct riscv_cpu, scounteren) },
};

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

/* The bits of one register that another one shows: sstatus in mstatus. */
static bool get_part(struct kvm_vcpu *k, uint64_t id, uint64_t *to, uint64_t mask)
{
    uint64_t v;
    if (!get_reg(k, id, &v))
        return false;
    *to = (*to & ~mask) | (v & mask);
    return true;
}

static bool set_part(struct kvm_vcpu *k, uint64_t id, uint64_t from, uint64_t mask)
{
    uint64_t v = from & mask;
    return set_reg(k, id, &v);
}

static bool get_floats(struct kvm_vcpu *k, struct riscv_cpu *r)
{
    uint32_t fcsr;
    bool ok = get_reg(k, FCSR, &fcsr);
    for (unsigned i = 0; i < 32 && ok; i++)
        ok = get_reg(k, REG64(FP_D, i), &r->f[i]);
    if (ok) {
        r->fflags = fcsr & 31;
        r->frm = fcsr >> 5 & 7;
    }
    return ok;
}

static bool set_floats(struct kvm_vcpu *k, const struct riscv_cpu *r)
{
    uint32_t fcsr = (uint32_t)r->frm << 5 | r->fflags;
    bool ok = set_reg(k, FCSR, &fcsr);
    for (unsigned i = 0; i < 32 && ok; i++)
        ok = set_reg(k, REG64(FP_D, i), &r->f[i]);
    return ok;
}

static struct error *get(struct kvm_vcpu *k)
{
    struct riscv_cpu *r = riscv_of(k->cpu);
    uint64_t mode = KVM_RISCV_MODE_S, sip = 0, on = KVM_RISCV_TIMER_STATE_OFF;
    bool ok = get_reg(k, CORE(CORE_MODE), &mode);
    for (size_t i = 0; i < ARRAY_LEN(plain) && ok; i++)
        ok = get_reg(k, plain[i].id, (char *)r + plain[i].offset);
    for (unsigned i = 1; i < 32 && ok; i++)
        ok = get_reg(k, CORE(i), &r->x[i]);
    ok = ok && get_part(k, CSR(sstatus), &r->mstatus, SSTATUS);
    ok = ok && get_part(k, CSR(sie), &r->mie, S_INTERRUPTS);
    ok = ok && get_part(k, CSR(sip), &sip, (uint64_t)1 << RV_SSI);
    ok = ok && get_reg(k, TIMER(compare), &r->stimecmp) && get_reg(k, TIMER(state), &on);
    if (!ok || (rv_has(r, RV_EXT_D) && !get_floats(k, r)))
        return error_errno("KVM does not hand out a register");
    r->priv = mode == KVM_RISCV_MODE_S ? RV_S : RV_U;
    if (on == KVM_RISCV_TIMER_STATE_OFF)
        r->stimecmp = UINT64_MAX;
    atomic_fetch_and(&r->mip, ~((uint64_t)1 << RV_SSI));
    atomic_fetch_or(&r->mip, sip);
    return NULL;
}

static struct error *set(struct kvm_vcpu *k)
{
    struct riscv_cpu *r = riscv_of(k->cpu);
    uint64_t mode = r->priv == RV_U ? KVM_RISCV_MODE_U : KVM_RISCV_MODE_S;
    uint64_t on = r->stimecmp == UINT64_MAX ? KVM_RISCV_TIMER_STATE_OFF : KVM_RISCV_TIMER_STATE_ON;
    bool ok = set_reg(k, CORE(CORE_MODE), &mode);
    for (size_t i = 0; i < ARRAY_LEN(plain) && ok; i++)
        ok = set_reg(k, plain[i].id, (char *)r + plain[i].offset);
    for (unsigned i = 1; i < 32 && ok; i++)
        ok = set_reg(k, CORE(i), &r->x[i]);
    ok = ok && set_part(k, CSR(sstatus), r->mstatus, SSTATUS);
    ok = ok && set_part(k, CSR(sie), r->mie, S_INTERRUPTS);
    ok = ok && set_part(k, CSR(sip), atomic_load(&r->mip), (uint64_t)1 << RV_SSI);
    if (on == KVM_RISCV_TIMER_STATE_ON)
        ok = ok && set_reg(k, TIMER(compare), &r->stimecmp);
    ok = ok && set_reg(k, TIMER(state), &on);
    if (!ok || (rv_has(r, RV_EXT_D) && !set_floats(k, r)))
        return error_errno("KVM does not take a register");
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static struct error *vm_init(struct kvm *kvm)
{
    if (!kvm_check(kvm, KVM_CAP_ONE_REG))
        return error_new("this host's KVM does not hand out registers");
    return NULL;
}

static void isa_free(struct kvm *kvm)
{
    vm_forget(kvm->vm, kvm);
}

static void vm_clock(struct kvm *kvm, bool running)
{
    (void)kvm, (void)running; /* the timer follows the host's */
}

static uint32_t vcpu_id(const struct vcpu *cpu)
{
    return cpu->index;
}

/* Behind k->isa: the external interrupt as the kernel was told last. */
static struct error *isa_vcpu_init(struct kvm_vcpu *k)
{
    k->isa = xcalloc(1, sizeof(bool));
    return NULL;
}

static void isa_vcpu_free(struct kvm_vcpu *k)
{
    free(k->isa);
}

static struct error *irq_create(struct kvm *kvm)
{
    (void)kvm;
    return error_new("in-kernel interrupt controllers are not there for riscv64");
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

/* Breakpoints would have to be written into the guest's memory (EBREAK). */
static struct error *set_debug(struct kvm_vcpu *k, const struct vcpu_debug *want)
{
    (void)k;
    return want->step || want->n ? error_new("KVM has no breakpoints for riscv64 guests") : NULL;
}

static const char *entry_failure(uint64_t reason)
{
    (void)reason;
    return NULL;
}

static uint32_t pin_routes(struct kvm_irq_routing_entry *to)
{
    (void)to;
    return 0;
}

/* ---- running ------------------------------------------------------------------------------------------ */

static enum kvm_verdict before_run(struct kvm_vcpu *k)
{
    bool *told = k->isa, now = atomic_load(&riscv_of(k->cpu)->mip_lines) >> RV_SEI & 1;
    struct kvm_interrupt line = { now ? KVM_INTERRUPT_SET : KVM_INTERRUPT_UNSET };
    if (now != *told && ioctl(k->fd, KVM_INTERRUPT, &line) >= 0)
        *told = now;
    return KVM_GO_ON;
}

static void after_run(struct kvm_vcpu *k)
{
    (void)k;
}

/* SBI calls that the kernel leaves to user space: none is answered here (SBI 2.0, 3: not supported). */
static bool handle(struct kvm_vcpu *k, enum kvm_verdict *verdict)
{
    (void)verdict;
    if (k->run->exit_reason != KVM_EXIT_RISCV_SBI)
        return false;
    k->run->riscv_sbi.ret[0] = (unsigned long)-2;
    k->run->riscv_sbi.ret[1] = 0;
    k->unfinished = true;
    return true;
}

static bool code_address(struct vcpu *cpu, uint64_t pc, gpa *at)
{
    *at = pc;
    return !(riscv_of(cpu)->satp >> 60); /* only without paging */
}

static const char *disassembler(struct vcpu *cpu)
{
    (void)cpu;
    return "riscv64";
}

static void timer_taken(struct kvm *kvm, bool taken)
{
    (void)kvm, (void)taken;
}

const char *const kvm_isa_own_fields[] = { NULL };
const struct kvm_isa kvm_isa = {
    .target = "riscv64",
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
    .code_address = code_address,
    .disassembler = disassembler,
    .entry_failure = entry_failure,
    .set_debug = set_debug,
    .irq_create = irq_create,
    .get_chips = get_chips,
    .set_chips = set_chips,
    .timer_taken = timer_taken,
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
