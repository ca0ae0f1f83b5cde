/* Between interrupt controllers that are devices and x86 vCPUs: each side asks the other through a few
 * functions. */
#include "hw/machine/x86_apic.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/vm.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
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

/* ---- local APICs of the engine --------------------------------------------------------------------- */

/* The 8259 drives the INTR wire; the engine's APIC decides whether LINT0 lets it through. */
static bool only_the_wire(void *pic)
{
    (void)pic;
    return false;
}
static int acknowledge_8259(void *pic)
{
    return i8259_acknowledge(pic);
}
static uint8_t no_tpr(void *pic)
{
    (void)pic;
    return 0;
}
static void keep_tpr(void *pic, uint8_t cr8)
{
    (void)pic, (void)cr8;
}
static bool keep_base(void *pic, uint64_t value)
{
    (void)pic, (void)value;
    return true;
}
static bool no_read(void *pic, uint32_t index, uint64_t *value)
{
    (void)pic, (void)index, (void)value;
    return false;
}
static bool no_write(void *pic, uint32_t index, uint64_t value)
{
    (void)pic, (void)index, (void)value;
    return false;
}

static const struct x86_apic_ops pic_ops = {
    .pending = only_the_wire,
    .acknowledge = acknowledge_8259,
    .get_tpr = no_tpr,
    .set_tpr = keep_tpr,
    .set_base = keep_base,
    .read_msr = no_read,
    .write_msr = no_write,
};

static void intr(void *cpu, unsigned n, bool level)
{
    (void)n;
    x86_set_intr(cpu, level);
}

static void eoi(void *ioapic, uint8_t vector)
{
    ioapic_eoi(ioapic, vector);
}

static void pin_changed(void *opaque, unsigned pin)
{
    struct device *ioapic = opaque;
    struct ioapic_message m = ioapic_message(ioapic, pin);
    ioapic->vm->accel->pin_message(ioapic->vm, pin, !m.masked, m.address, m.data);
}

void x86_wire_split(struct vm *vm, struct device *ioapic, struct device *i8259)
{
    ioapic_on_change(ioapic, pin_changed, ioapic);
    x86_on_end_of_interrupt(vm, eoi, ioapic);
    if (!i8259)
        return;
    x86_set_apic(vm->vcpus[0], &pic_ops, i8259);
    *i8259_output(i8259) = (struct irq){ intr, vm->vcpus[0], 0 };
}
