/* Between interrupt controllers that are devices and x86 vCPUs: each side asks the other through a few
 * functions. */
#include "hw/machine/x86_apic.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "target/x86_64/chips.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

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

/* ---- all of them ------------------------------------------------------------------------------------ */

static void drive_both(void *opaque, unsigned n, bool level)
{
    struct x86_interrupts *x = opaque;
    irq_set(&x->gsis[n].pic, level);
    irq_set(&x->gsis[n].ioapic, level);
}

static void drive_engine(void *opaque, unsigned n, bool level)
{
    struct vm *vm = opaque;
    vm->accel->irq_line(vm, n, level);
}

struct irq x86_gsi(struct x86_interrupts *x, unsigned n)
{
    assert(n < X86_N_GSIS);
    if (x->vm->irqchip == IRQCHIP_ENGINE)
        return (struct irq){ drive_engine, x->vm, n };
    if (!x->gsis[n].pic.set)
        return x->gsis[n].ioapic;
    return (struct irq){ drive_both, x, n };
}

static struct error *create_apics(struct x86_interrupts *x)
{
    char n_cpus[16], addr[24];
    snprintf(n_cpus, sizeof(n_cpus), "%u", x->vm->n_vcpus);
    snprintf(addr, sizeof(addr), "%#" PRIx64, LAPIC_ADDR);
    const struct prop_value props[] = { { "addr", addr }, { "num-cpus", n_cpus } };
    return device_create(x->vm, "apic", props, ARRAY_LEN(props), &x->apic);
}

static struct error *create_ioapic(struct x86_interrupts *x)
{
    char addr[24];
    snprintf(addr, sizeof(addr), "%#" PRIx64, IOAPIC_ADDR);
    const struct prop_value props[] = { { "addr", addr } };
    return device_create(x->vm, "ioapic", props, ARRAY_LEN(props), &x->ioapic);
}

static struct error *create_pic(struct x86_interrupts *x)
{
    static const struct prop_value props[] = { { "iobase", "0x20" },
                                               { "iobase2", "0xa0" },
                                               { "elcr", "0x4d0" } };
    return device_create(x->vm, "isa-i8259", props, ARRAY_LEN(props), &x->pic);
}

static void wire_inputs(struct x86_interrupts *x)
{
    for (unsigned n = 0; n < X86_N_GSIS; n++) {
        if (n != 2) /* pin 2 is IRQ 0's, and the 8259's input 2 its cascade */
            x->gsis[n].ioapic = ioapic_input(x->ioapic, n ? n : 2);
        if (n != 2 && n < I8259_N_IRQS && x->pic)
            x->gsis[n].pic = i8259_input(x->pic, n);
    }
}

struct error *x86_interrupts_create(struct vm *vm, bool with_pic, struct x86_interrupts *x)
{
    struct error *err = NULL;
    x->vm = vm;
    if (vm->irqchip == IRQCHIP_ENGINE)
        return NULL;
    if (vm->irqchip == IRQCHIP_USER)
        err = create_apics(x);
    if (!err)
        err = create_ioapic(x);
    if (!err && with_pic)
        err = create_pic(x);
    if (err)
        return err;
    wire_inputs(x);
    if (vm->irqchip == IRQCHIP_SPLIT) {
        x86_wire_split(vm, x->ioapic, x->pic);
        return NULL;
    }
    x86_wire_apics(vm, x->apic);
    apic_wire(x->apic, x->ioapic, x->pic);
    if (x->pic)
        *i8259_output(x->pic) = apic_lint(x->apic, 0);
    return NULL;
}

/* ---- without a BIOS ----------------------------------------------------------------------------------- */

enum { PIC_VECTOR = 8, PIC2_VECTOR = 0x70, ALL_MASKED = 0xff };

static struct error *set_up_engine(struct vm *vm, uint16_t levels)
{
    static const uint8_t vectors[2] = { PIC_VECTOR, PIC2_VECTOR };
    struct x86_chips chips;
    struct error *err = vm->accel->get_chips(vm, &chips);
    if (err)
        return err;
    for (unsigned i = 0; i < 2; i++) {
        chips.pic[i].vector = vectors[i];
        chips.pic[i].imr = ALL_MASKED;
        chips.pic[i].elcr = (uint8_t)(levels >> 8 * i);
        chips.pic[i].wants_icw4 = true;
    }
    return vm->accel->set_chips(vm, &chips);
}

/* 8259A data sheet, "Initialization Command Words". */
static void set_up_device(struct vm *vm, uint16_t levels)
{
    const struct {
        uint16_t port;
        uint8_t value;
    } writes[] = {
        { 0x20, 0x11 },
        { 0x21, PIC_VECTOR },
        { 0x21, 1 << 2 },
        { 0x21, 1 },
        { 0xa0, 0x11 },
        { 0xa1, PIC2_VECTOR },
        { 0xa1, 2 },
        { 0xa1, 1 },
        { 0x21, ALL_MASKED },
        { 0xa1, ALL_MASKED },
        { 0x4d0, (uint8_t)levels },
        { 0x4d1, (uint8_t)(levels >> 8) },
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        mem_port_write(vm, writes[i].port, 1, writes[i].value);
}

struct error *x86_interrupts_set_up(struct x86_interrupts *x, uint16_t levels)
{
    if (x->vm->irqchip == IRQCHIP_ENGINE)
        return set_up_engine(x->vm, levels);
    if (x->pic)
        set_up_device(x->vm, levels);
    return NULL;
}

static void inject_nmi(void *opaque)
{
    struct vm *vm = opaque;
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        x86_raise(vm->vcpus[i], X86_NMI);
}

void x86_take_nmis(struct vm *vm)
{
    vm_on_nmi(vm, inject_nmi, vm);
}
