/* "microvm": as little of a PC as a guest needs that was told so. Addresses and interrupt numbers are those of
 * QEMU's board of that name (its docs/system/i386/microvm). There is no firmware: the kernel is entered
 * directly. docs/x86-boot.md. */
#include "core/accel.h"
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/char/ns16550.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/input/i8042.h"
#include "hw/machine/machine.h"
#include "hw/machine/mp_table.h"
#include "hw/machine/x86_apic.h"
#include "hw/machine/x86_boot.h"
#include "hw/misc/acpi_ged.h"
#include "hw/pci/gpex.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "hw/virtio/virtio_mmio.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CPUS = 255, N_VIRTIO = 8 };
enum { IRQ_TIMER = 0, IRQ_KEYBOARD = 1, IRQ_SERIAL = 4, IRQ_RTC = 8, IRQ_PCI = 12 };
enum { IRQ_VIRTIO = 5, IRQ_VIRTIO_ACPI = 16 }; /* the first of eight */
#define RAM_BELOW     (3 * GIB)                /* at most; the rest is above 4 GiB */
#define VIRTIO_AT     ((gpa)0xfeb00000)
#define MP_TABLE_AT   ((gpa)0xf0000)
#define RSDP_AT       ((gpa)X86_TABLES)
#define ACPI_AT       (RSDP_AT + 64)
#define ECAM_AT       ((gpa)0xe0000000)
#define ECAM_SIZE     (256 * MIB)
#define PCI_MEM_AT    ((gpa)0xc0000000)
#define PCI_MEM_SIZE  (512 * MIB)
#define PCI_HIGH_SIZE (64 * GIB)

enum choice { AUTO, ON, OFF };

struct microvm {
    struct machine m;
    enum choice pic, pit, rtc, i8042, acpi, pcie;
    bool no_serial, no_cmdline;

    uint64_t below, above; /* RAM from 0 and from 4 GiB */
    struct mem_region *ram, *ram_above;
    struct x86_interrupts interrupts;
    struct x86_boot *boot;
};

/* ---- options ----------------------------------------------------------------------------------- */
static const struct machine_option microvm_options[] = {
    { "pic", "auto|on|off", "interrupt controllers 8259" },
    { "pit", "auto|on|off", "timer 8254" },
    { "rtc", "auto|on|off", "real-time clock" },
    { "isa-serial", "on|off", "serial port" },
    { "i8042", "auto|on|off", "keyboard controller, by which guests without ACPI reset" },
    { "auto-kernel-cmdline", "on|off", "name virtio-mmio devices on the kernel's command line" },
    { "acpi", "auto|on|off", "ACPI tables; else MP tables and the kernel's command line" },
    { "pcie", "auto|on|off", "a PCI Express bus (auto: none)" },
    { "ioapic2", "auto|off", "there is one I/O APIC" },
    { "usb", "auto|off", "accepted for compatibility" },
    { "x-option-roms", "on|off", "accepted for compatibility: there is no firmware to run them" },
    { "graphics", "on|off", "accepted for compatibility" },
    { "mem-merge", "on|off", "on: the host keeps equal pages of guest memory once" },
    { "dump-guest-core", "on|off", "off: core dumps of this program are without guest memory" },
};

static enum choice choice(const char *value)
{
    return !strcmp(value, "on") ? ON : !strcmp(value, "off") ? OFF : AUTO;
}

static struct error *microvm_set_option(struct machine *m, const char *name, const char *value)
{
    struct microvm *v = (struct microvm *)m;
    const struct {
        const char *name;
        enum choice *to;
    } choices[] = {
        { "pic", &v->pic },     { "pit", &v->pit },   { "rtc", &v->rtc },
        { "i8042", &v->i8042 }, { "acpi", &v->acpi }, { "pcie", &v->pcie },
    };
    for (size_t i = 0; i < ARRAY_LEN(choices); i++)
        if (!strcmp(name, choices[i].name))
            *choices[i].to = choice(value);
    if (!strcmp(name, "isa-serial"))
        v->no_serial = choice(value) == OFF;
    else if (!strcmp(name, "auto-kernel-cmdline"))
        v->no_cmdline = choice(value) == OFF;
    return NULL;
}

/* Linux on hardware-reduced ACPI takes no 8254 to measure its clock by: it must be told the pace of the TSC, by
 * KVM's clock or by CPUID leaf 0x15, which it reads on Intel's CPUs. */
static bool guest_knows_time(const struct microvm *v)
{
    const struct x86_model *cpu = x86_model_of(v->m.vm);
    return cpu->kvm_leaves || (cpu->level >= 0x15 && !strcmp(cpu->vendor, "GenuineIntel"));
}

static bool has_acpi(const struct microvm *v)
{
    if (v->acpi != AUTO)
        return v->acpi == ON;
    return acpi_is_built() && (v->pcie == ON || guest_knows_time(v));
}

/* Guests with ACPI reset by its register. */
static bool has_i8042(const struct microvm *v)
{
    return v->i8042 == ON || (v->i8042 == AUTO && !has_acpi(v));
}

static unsigned virtio_irq(const struct microvm *v)
{
    return has_acpi(v) ? IRQ_VIRTIO_ACPI : IRQ_VIRTIO;
}

/* ---- memory and CPUs ------------------------------------------------------------------------------ */
static struct error *make_ram(struct microvm *v)
{
    v->below = MIN(v->m.ram_size, RAM_BELOW);
    v->above = v->m.ram_size - v->below;
    struct error *err = mem_add_main_ram(v->m.vm, "microvm.ram", v->m.ram_size, &v->ram);
    if (err)
        return error_in(err, "-m");
    struct mem_region *low = mem_add_alias(v->m.vm, "ram-below-4g", v->ram, 0, v->below, false);
    mem_map(low, 0, 0);
    if (v->above) {
        v->ram_above = mem_add_alias(v->m.vm, "ram-above-4g", v->ram, v->below, v->above, false);
        mem_map(v->ram_above, 4 * GIB, 0);
    }
    return NULL;
}

static struct error *make_cpus(struct microvm *v, const struct machine_options *o)
{
    struct vm *vm = v->m.vm;
    vm->target = &x86_64_target;
    vm->irqchips = 1 << IRQCHIP_USER | 1 << IRQCHIP_SPLIT | 1 << IRQCHIP_ENGINE;
    struct error *err = vm->target->cpu_model(vm, o->cpu);
    if (err)
        return err;
    x86_take_nmis(vm);
    x86_set_topology(vm, o->smp, 1);
    err = vm->accel->vm_create(vm, o->accel_options);
    for (unsigned i = 0; !err && i < o->smp; i++) {
        struct vcpu *cpu;
        err = vcpu_new(vm, i, &cpu);
    }
    return err;
}

/* ---- devices -------------------------------------------------------------------------------------- */
/* A device with up to two properties. */
static struct error *make(struct microvm *v, const char *cls, const char *name, const char *value,
                          const char *name2, const char *value2, struct device **out)
{
    const struct prop_value props[] = { { name, value }, { name2, value2 } };
    return device_create(v->m.vm, cls, props, name2 && value2 ? 2 : 1, out);
}

static struct error *make_serial(struct microvm *v, const char *chardev)
{
    struct device *uart;
    struct error *err = make(v, "isa-serial", "iobase", "0x3f8", "chardev", chardev, &uart);
    if (!err)
        *ns16550_output(uart) = x86_gsi(&v->interrupts, IRQ_SERIAL);
    return err;
}

static struct error *make_pit(struct microvm *v)
{
    struct device *pit;
    struct error *err = make(v, "isa-pit", "iobase", "0x40", "portb", "0x61", &pit);
    if (!err)
        *i8254_output(pit) = x86_gsi(&v->interrupts, IRQ_TIMER);
    return err;
}

static struct error *make_rtc(struct microvm *v)
{
    struct device *rtc;
    struct error *err = make(v, "mc146818rtc", "iobase", "0x70", NULL, NULL, &rtc);
    if (!err)
        *mc146818_output(rtc) = x86_gsi(&v->interrupts, IRQ_RTC);
    return err;
}

static struct error *make_keyboard(struct microvm *v)
{
    struct device *kbc;
    struct error *err = make(v, "i8042", "iobase", "0x60", NULL, NULL, &kbc);
    if (!err)
        *i8042_output(kbc, I8042_KEYBOARD) = x86_gsi(&v->interrupts, IRQ_KEYBOARD);
    return err;
}

static struct error *make_fw_cfg(struct microvm *v, const struct machine_options *o)
{
    struct device *fw;
    struct error *err = make(v, "fw_cfg_io", "iobase", "0x510", NULL, NULL, &fw);
    if (err)
        return err;
    fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, v->m.ram_size);
    fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, (uint16_t)v->m.vm->n_vcpus);
    fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, (uint16_t)v->m.vm->n_vcpus);
    return fw_cfg_add_options(fw, o->fw_cfg, o->n_fw_cfg);
}

static struct error *make_virtio_slots(struct microvm *v)
{
    struct error *err = NULL;
    for (unsigned i = 0; !err && i < N_VIRTIO; i++) {
        struct irq line = x86_gsi(&v->interrupts, virtio_irq(v) + i);
        err = virtio_mmio_slot_create(v->m.vm, i, VIRTIO_AT + i * VIRTIO_MMIO_SIZE, &line);
    }
    return err;
}

static struct error *make_ged(struct microvm *v)
{
    struct device *ged;
    char at[24];
    snprintf(at, sizeof(at), "%#" PRIx64, ACPI_GED_AT);
    struct error *err = make(v, "acpi-ged", "addr", at, NULL, NULL, &ged);
    if (!err)
        *acpi_ged_output(ged) = x86_gsi(&v->interrupts, ACPI_GED_GSI);
    return err;
}

static gpa pci_high(const struct microvm *v)
{
    return align_up(4 * GIB + v->above, GIB);
}

static struct error *make_pci(struct microvm *v)
{
    const struct pci_windows windows = { .mem32_base = PCI_MEM_AT,
                                         .mem32_size = PCI_MEM_SIZE,
                                         .mem64_base = pci_high(v),
                                         .mem64_size = PCI_HIGH_SIZE };
    struct irq intx[PCI_N_INTX];
    struct pci_host *host;
    for (unsigned i = 0; i < PCI_N_INTX; i++)
        intx[i] = x86_gsi(&v->interrupts, IRQ_PCI + i);
    return gpex_create(v->m.vm, ECAM_AT, ECAM_SIZE, &windows, intx, &host);
}

static struct error *make_devices(struct microvm *v, const struct machine_options *o)
{
    struct error *err = x86_interrupts_create(v->m.vm, v->pic != OFF, &v->interrupts);
    if (!err && v->pit != OFF && v->m.vm->irqchip != IRQCHIP_ENGINE) /* an engine has its own */
        err = make_pit(v);
    if (!err && v->rtc != OFF)
        err = make_rtc(v);
    if (!err && has_i8042(v))
        err = make_keyboard(v);
    if (!err && has_acpi(v))
        err = make_ged(v);
    if (!err && v->pcie == ON)
        err = make_pci(v);
    if (!err && !v->no_serial)
        err = make_serial(v, o->serial[0]);
    if (!err)
        err = make_fw_cfg(v, o);
    return err ? err : make_virtio_slots(v);
}

/* ---- init ---------------------------------------------------------------------------------------- */
static struct error *refuse_options(const struct microvm *v, const struct machine_options *o)
{
    const char *name = v->m.cls->name;
    for (unsigned i = v->no_serial ? 0 : 1; i < MACHINE_MAX_SERIAL; i++)
        if (o->serial[i])
            return error_new("-serial: machine '%s' has %s", name,
                             v->no_serial ? "none with isa-serial=off" : "one serial port");
    for (unsigned i = 0; i < MACHINE_MAX_PFLASH; i++)
        if (o->pflash[i])
            return error_new("-drive if=pflash: machine '%s' has no flash", name);
    if (o->bios && strcmp(o->bios, "none") != 0 && strcmp(o->bios, "default") != 0)
        return error_new("-bios '%s': machine '%s' runs no firmware; -kernel is entered directly",
                         o->bios, name);
    if (o->dtb)
        return error_new("-dtb: machine '%s' has no device tree", name);
    if (v->pcie == ON && !has_acpi(v))
        return error_new("-M %s,pcie=on: a guest finds the bus by ACPI, which %s", name,
                         v->acpi == OFF ? "is off" : "this build is without");
    if (o->ram_size < 2 * MIB)
        return error_new("-m: machine '%s' needs 2 MiB at least", name);
    return NULL;
}

static void place_images(void *opaque)
{
    struct microvm *v = opaque;
    struct error *err = x86_interrupts_set_up(&v->interrupts, 0);
    if (err) {
        vm_request_end(v->m.vm, VERDICT_ENGINE_FAILED, 1, error_text(err));
        error_free(err);
    }
    x86_boot_place(v->boot);
}

static struct error *microvm_init(struct machine *m, const struct machine_options *o)
{
    struct microvm *v = (struct microvm *)m;
    struct error *err = refuse_options(v, o);
    if (!err)
        err = make_ram(v);
    if (!err)
        err = make_cpus(v, o);
    if (!err)
        err = make_devices(v, o);
    if (err)
        return err;
    const struct x86_boot_options boot = { o->kernel, o->initrd, o->append, v->below };
    err = x86_boot_open(m->vm, &boot, &v->boot);
    if (!err)
        vm_on_reset(m->vm, place_images, v);
    return err;
}

/* ---- ready ----------------------------------------------------------------------------------------- */
/* Linux's Documentation/admin-guide/kernel-parameters: virtio_mmio.device=<size>@<address>:<irq>. */
static void name_virtio_devices(struct microvm *v)
{
    for (unsigned i = 0; i < N_VIRTIO; i++) {
        char text[80];
        if (!virtio_mmio_slot_used(v->m.vm, i))
            continue;
        snprintf(text, sizeof(text), "virtio_mmio.device=%d@%#" PRIx64 ":%u", VIRTIO_MMIO_SIZE,
                 VIRTIO_AT + i * VIRTIO_MMIO_SIZE, virtio_irq(v) + i);
        x86_boot_append(v->boot, text);
    }
}

static struct error *add_mp_table(struct microvm *v)
{
    uint8_t *table;
    uint32_t n = mp_table_make(v->m.vm, (uint32_t)MP_TABLE_AT, &table);
    struct error *err = x86_boot_add_table(v->boot, "MP tables", MP_TABLE_AT, table, n);
    free(table);
    return err;
}

/* Slot and pin to GSI as the host bridge has them: rotated by slot. */
static void describe_pci(struct microvm *v, struct acpi_pc *out)
{
    out->has_pci = true;
    out->ecam = (struct acpi_window){ ECAM_AT, ECAM_SIZE };
    out->pci_mem[0] = (struct acpi_window){ PCI_MEM_AT, PCI_MEM_SIZE };
    out->pci_mem[1] = (struct acpi_window){ pci_high(v), PCI_HIGH_SIZE };
    for (unsigned slot = 0; slot < ARRAY_LEN(out->pci_irq); slot++)
        for (unsigned pin = 0; pin < PCI_N_INTX; pin++)
            out->pci_irq[slot][pin] = (uint8_t)(IRQ_PCI + (slot + pin) % PCI_N_INTX);
}

static struct error *add_acpi(struct microvm *v)
{
    const struct vm *vm = v->m.vm;
    struct acpi_cpu cpus[MAX_CPUS];
    struct acpi_tables *tables = NULL;
    struct acpi_pc pc = {
        .board = ACPI_MICROVM,
        .cpus = cpus,
        .n_cpus = vm->n_vcpus,
        .ram_below_4g = v->below,
        .ram_above_4g = v->above,
        .no_pic = v->pic == OFF,
        .no_pit = v->pit == OFF,
        .com = { !v->no_serial },
        .i8042 = has_i8042(v),
        .rtc = v->rtc != OFF,
        .fw_cfg = 0x510,
        .virtio_mmio = { VIRTIO_AT, VIRTIO_MMIO_SIZE, N_VIRTIO, virtio_irq(v) },
    };
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        cpus[i] = (struct acpi_cpu){ .apic_id = x86_of(vm->vcpus[i])->apic_id, .present = true };
    if (v->pcie == ON)
        describe_pci(v, &pc);
    struct error *err = acpi_build(&pc, &tables);
    if (err)
        return err;
    uint8_t rsdp[ACPI_RSDP_SIZE], *bytes = xcalloc(1, acpi_size(tables));
    acpi_link(tables, ACPI_AT, bytes, rsdp);
    err = x86_boot_add_table(v->boot, "ACPI root pointer", RSDP_AT, rsdp, sizeof(rsdp));
    if (!err)
        err = acpi_size(tables) > X86_TABLES_END - ACPI_AT
                  ? error_new("the ACPI tables are too large")
                  : x86_boot_add_table(v->boot, "ACPI tables", ACPI_AT, bytes, acpi_size(tables));
    free(bytes);
    acpi_free(tables);
    return err;
}

static struct error *microvm_ready(struct machine *m)
{
    struct microvm *v = (struct microvm *)m;
    struct x86_memory_map map = { 0 };
    if (!x86_boot_has_kernel(v->boot)) {
        vm_request_end(m->vm, VERDICT_NO_BOOTABLE, 0, "machine 'microvm' boots what -kernel names");
        return NULL;
    }
    if (!v->no_cmdline && !has_acpi(v))
        name_virtio_devices(v);
    struct error *err = has_acpi(v) ? add_acpi(v) : add_mp_table(v);
    x86_memory_standard(&map, v->below, v->above);
    return err ? err : x86_boot_direct(v->boot, &map, has_acpi(v) ? RSDP_AT : 0);
}

static void microvm_free(struct machine *m)
{
    struct microvm *v = (struct microvm *)m;
    vm_forget(m->vm, v);
    x86_boot_free(v->boot);
}

const struct machine_class microvm_machine = {
    .name = "microvm",
    .desc = "x86-64 guests that start at once: virtio-mmio, no PCI, no firmware",
    .arch = "x86_64",
    .ram_name = "microvm.ram",
    .default_cpus = 1,
    .max_cpus = MAX_CPUS,
    .default_ram_size = 128 * MIB,
    .options = TABLE(microvm_options),
    .size = sizeof(struct microvm),
    .set_option = microvm_set_option,
    .init = microvm_init,
    .ready = microvm_ready,
    .free = microvm_free,
};
