/* Between the local APICs in user space and x86 vCPUs: each side asks the other through a few functions. */
#include "hw/machine/x86_apic.h"

#include "core/clock.h"
#include "core/vm.h"
#include "hw/intc/lapic.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

enum { APIC_BASE = 0x1b };

/* ---- what the vCPU asks of its APIC --------------------------------------------------------------- */

static bool pending(void *lapic)
{
    return lapic_pending(lapic);
}
static int acknowledge(void *lapic)
{
    return lapic_accept(lapic);
}
static uint8_t get_tpr(void *lapic)
{
    return lapic_read_cr8(lapic);
}
static void set_tpr(void *lapic, uint8_t cr8)
{
    lapic_write_cr8(lapic, cr8);
}
static bool set_base(void *lapic, uint64_t value)
{
    return lapic_write_msr(lapic, APIC_BASE, value);
}
static bool read_msr(void *lapic, uint32_t index, uint64_t *value)
{
    return lapic_read_msr(lapic, index, value);
}
static bool write_msr(void *lapic, uint32_t index, uint64_t value)
{
    return lapic_write_msr(lapic, index, value);
}

static const struct x86_apic_ops apic_ops = {
    .pending = pending,
    .acknowledge = acknowledge,
    .get_tpr = get_tpr,
    .set_tpr = set_tpr,
    .set_base = set_base,
    .read_msr = read_msr,
    .write_msr = write_msr,
};

/* ---- what the APIC asks of its vCPU --------------------------------------------------------------- */

static void changed(void *cpu)
{
    vcpu_interrupt(cpu);
}
static void nmi(void *cpu)
{
    x86_raise(cpu, X86_NMI);
}
static void smi(void *cpu)
{
    x86_raise(cpu, X86_SMI);
}
static void init(void *cpu)
{
    x86_raise(cpu, X86_INIT);
}
static void start(void *cpu, uint8_t vector)
{
    x86_start_up(cpu, vector);
}

/* The guest clock when the TSC shows `tsc`: it began with the VM and runs at the model's pace. */
static uint64_t tsc_at_ns(void *opaque, uint64_t tsc)
{
    struct vcpu *cpu = opaque;
    uint32_t khz = x86_model_of(cpu->vm)->tsc_khz;
    unsigned __int128 ns = (unsigned __int128)tsc * 1000000 / (khz ? khz : 1000000);
    return ns > UINT64_MAX - 1 ? UINT64_MAX - 1 : (uint64_t)ns;
}

void x86_wire_apics(struct vm *vm, struct device *apic)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        struct vcpu *cpu = vm->vcpus[i];
        const struct lapic_cpu asks = { .changed = changed,
                                        .nmi = nmi,
                                        .smi = smi,
                                        .init = init,
                                        .start = start,
                                        .tsc_at_ns = tsc_at_ns,
                                        .opaque = cpu };
        lapic_attach(apic, i, x86_of(cpu)->apic_id, &asks);
        x86_set_apic(cpu, &apic_ops, lapic_of(apic, i));
    }
}
