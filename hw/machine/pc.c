/* What q35 and pc share: memory, CPUs, interrupt lines, the devices of a PC. */
#include "hw/machine/pc.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/options.h"
#include "core/vm.h"
#include "hw/char/ns16550.h"
#include "hw/input/i8042.h"
#include "hw/input/vmport.h"
#include "hw/machine/numa.h"
#include "hw/machine/x86_boot.h"
#include "hw/misc/acpi_pm.h"
#include "hw/misc/isa_ferr.h"
#include "hw/pci/isa_bridge.h"
#include "hw/storage/cfi_flash.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- options ----------------------------------------------------------------------------------- */
static struct error *set_size(uint64_t *to, const char *name, const char *value, uint64_t least,
                              uint64_t most)
{
    if (parse_size(value, 1, to) && *to >= least && *to <= most && *to % (64 * KIB) == 0)
        return NULL;
    return error_new("%s='%s' is not a size from %" PRIu64 "K to %" PRIu64 "M in steps of 64K",
                     name, value, least / KIB, most / MIB);
}

static struct error *set_oem(char *to, size_t room, const char *name, const char *value)
{
    if (strlen(value) >= room)
        return error_new("%s='%s' is longer than %zu characters", name, value, room - 1);
    snprintf(to, room, "%s", value);
    return NULL;
}

static struct error *set_text(char **to, const char *value)
{
    free(*to);
    *to = xstrdup(value);
    return NULL;
}

struct error *pc_set_option(struct machine *m, const char *name, const char *value)
{
    struct pc *pc = (struct pc *)m;
    const struct {
        const char *name, *word;
        bool *flag;
    } flags[] = {
        { "hpet", "off", &pc->no_hpet },
        { "i8042", "off", &pc->no_i8042 },
        { "vmport", "on", &pc->wants_vmport },
        { "vmport", "off", &pc->no_vmport },
        { "smbus", "off", &pc->no_smbus },
        { "pit", "off", &pc->no_pit },
        { "pic", "off", &pc->no_pic },
        { "acpi", "off", &pc->no_acpi },
        { "sata", "off", &pc->no_sata },
        { "fd-bootchk", "off", &pc->fast_floppy_check },
        { "graphics", "off", &pc->no_graphics },
        { "smbios-entry-point-type", "64", &pc->smbios_entry64 },
    };
    bool is_flag = false;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (!strcmp(name, flags[i].name)) {
            *flags[i].flag = !strcmp(value, flags[i].word);
            is_flag = true;
        }
    }
    if (is_flag)
        return NULL;
    if (!strcmp(name, "usb"))
        m->wants_usb = !strcmp(value, "on");
    if (!strcmp(name, "smm"))
        pc->smm = !strcmp(value, "on") ? SMM_ON : !strcmp(value, "off") ? SMM_OFF : SMM_AUTO;
    if (!strcmp(name, "max-ram-below-4g"))
        return set_size(&pc->max_ram_below, name, value, MIB, 4 * GIB);
    if (!strcmp(name, "max-fw-size"))
        return set_size(&pc->max_firmware, name, value, 64 * KIB, 16 * MIB);
    if (!strcmp(name, "pflash0"))
        return set_text(&pc->pflash[0], value);
    if (!strcmp(name, "pcspk-audiodev"))
        return set_text(&pc->speaker, value);
    if (!strcmp(name, "pflash1"))
        return set_text(&pc->pflash[1], value);
    if (!strcmp(name, "x-oem-id"))
        return set_oem(pc->oem_id, sizeof(pc->oem_id), name, value);
    if (!strcmp(name, "x-oem-table-id"))
        return set_oem(pc->oem_table_id, sizeof(pc->oem_table_id), name, value);
    return NULL;
}

static char *copy_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static struct error *keep_options(struct pc *pc, const struct machine_options *o)
{
    if (pc->speaker && pc->no_pit)
        return error_new("-M pcspk-audiodev=%s: with pit=off there is no loudspeaker", pc->speaker);
    if (o->dtb)
        return error_new("-dtb: machine '%s' has no device tree", pc->m.name);
    if (o->ram_size < 2 * MIB)
        return error_new("-m: machine '%s' needs 2 MiB at least", pc->m.name);
    pc->cores = o->cores ? o->cores : o->smp;
    pc->threads = o->threads ? o->threads : 1;
    pc->sockets = o->sockets ? o->sockets : 1;
    pc->boot = o->boot;
    pc->splash = copy_text(o->boot.splash);
    pc->boot.order = copy_text(o->boot.order);
    pc->boot.once = copy_text(o->boot.once);
    pc->kernel = copy_text(o->kernel);
    pc->bios = copy_text(o->bios);
    pc->sercon = o->sercon || pc->no_graphics;
    pc->fw_cfg_texts = o->fw_cfg;
    pc->n_fw_cfg_texts = o->n_fw_cfg;
    pc->numa = o->numa;
    pc->smbios = o->smbios;
    pc->acpi = o->acpi;
    return NULL;
}

/* ---- interrupt lines ----------------------------------------------------------------------------- */
static void line_set(void *opaque, unsigned source, bool level)
{
    struct pc_line *l = opaque;
    struct pc *pc = l->pc;
    uint8_t bit = 1 << source;
    pthread_mutex_lock(&pc->line_lock);
    uint8_t before = l->levels;
    l->levels = level ? before | bit : before & ~bit;
    if (!before != !l->levels || (level && before & bit)) {
        struct irq out = x86_gsi(&pc->interrupts, (unsigned)(l - pc->lines));
        irq_set(&out, l->levels);
    }
    pthread_mutex_unlock(&pc->line_lock);
}

struct irq pc_line(struct pc *pc, unsigned gsi, enum pc_source source)
{
    assert(gsi < X86_N_GSIS);
    pc->lines[gsi].pc = pc;
    return (struct irq){ line_set, &pc->lines[gsi], source };
}

/* ---- devices --------------------------------------------------------------------------------------- */
struct error *pc_make(struct pc *pc, const char *cls, struct device **out, const char *const *props)
{
    struct prop_value values[8];
    struct device *dev;
    size_t n = 0;
    for (; props[0]; props += 2) {
        assert(n < ARRAY_LEN(values));
        if (props[1])
            values[n++] = (struct prop_value){ props[0], props[1] };
    }
    return device_create(pc->m.vm, cls, values, n, out ? out : &dev);
}

static void take_timer(void *opaque, unsigned n, bool level)
{
    struct vm *vm = opaque;
    vm->accel->timer_taken(vm, level);
}

/* Timer and clock go through the HPET, which may take their place. An engine with interrupt controllers has a
 * timer, too. */
static struct error *make_timers(struct pc *pc)
{
    struct device *pit = NULL;
    char addr[24];
    snprintf(addr, sizeof(addr), "%#" PRIx64, HPET_ADDR);
    struct error *err = NULL;
    if (!pc->no_hpet)
        err = PC_MAKE(pc, "hpet", &pc->hpet, "addr", addr, "intcap", pc->model->hpet_inputs);
    if (!err && !pc->no_pit && pc->m.vm->irqchip != IRQCHIP_ENGINE)
        err = PC_MAKE(pc, "isa-pit", &pit, "iobase", "0x40", "portb", "0x61", "audiodev",
                      pc->speaker);
    if (!err)
        err = PC_MAKE(pc, "mc146818rtc", &pc->rtc, "iobase", "0x70");
    if (err)
        return err;
    struct irq timer = pc_line(pc, PC_IRQ_TIMER, PC_FROM_ISA);
    struct irq clock = pc_line(pc, PC_IRQ_RTC, PC_FROM_ISA);
    if (pc->hpet) {
        for (unsigned n = 0; n < X86_N_GSIS; n++)
            *hpet_output(pc->hpet, n) = pc_line(pc, n, PC_FROM_HPET);
        *hpet_legacy_output(pc->hpet, 0) = timer;
        *hpet_legacy_output(pc->hpet, 1) = clock;
        if (pc->m.vm->irqchip == IRQCHIP_ENGINE)
            *hpet_legacy_mode(pc->hpet) = (struct irq){ take_timer, pc->m.vm, 0 };
        timer = hpet_legacy_input(pc->hpet, 0);
        clock = hpet_legacy_input(pc->hpet, 1);
    }
    if (pit)
        *i8254_output(pit) = timer;
    *mc146818_output(pc->rtc) = clock;
    return NULL;
}

static struct error *make_keyboard(struct pc *pc)
{
    if (pc->no_i8042)
        return NULL;
    struct error *err = PC_MAKE(pc, "i8042", &pc->kbc, "iobase", "0x60", "port92", "0x92");
    if (err)
        return err;
    *i8042_output(pc->kbc, I8042_KEYBOARD) = pc_line(pc, PC_IRQ_KEYBOARD, PC_FROM_ISA);
    *i8042_output(pc->kbc, I8042_MOUSE) = pc_line(pc, PC_IRQ_MOUSE, PC_FROM_ISA);
    return NULL;
}

/* As registers are numbered there. */
static const uint8_t vmport_registers[VMPORT_N_REGISTERS] = { X86_RAX, X86_RBX, X86_RCX,
                                                              X86_RDX, X86_RSI, X86_RDI };

static bool get_vmport_registers(struct vm *vm, uint32_t r[VMPORT_N_REGISTERS])
{
    struct vcpu *cpu = vcpu_current(vm);
    if (!cpu)
        return false;
    if (vm->accel->get_general)
        vm->accel->get_general(cpu);
    for (unsigned i = 0; i < VMPORT_N_REGISTERS; i++)
        r[i] = (uint32_t)x86_of(cpu)->gpr[vmport_registers[i]];
    return true;
}

static void set_vmport_registers(struct vm *vm, const uint32_t r[VMPORT_N_REGISTERS])
{
    struct vcpu *cpu = vcpu_current(vm);
    for (unsigned i = 0; i < VMPORT_N_REGISTERS; i++) {
        uint64_t *to = &x86_of(cpu)->gpr[vmport_registers[i]];
        if ((uint32_t)*to != r[i])
            *to = r[i];
    }
    if (vm->accel->set_general)
        vm->accel->set_general(cpu);
}

static struct error *make_vmport(struct pc *pc)
{
    static const struct vmport_cpu cpu = { get_vmport_registers, set_vmport_registers };
    struct vm *vm = pc->m.vm;
    struct device *port;
    if (pc->wants_vmport && vm->tape)
        return error_new("vmport=on: it changes registers behind the back of -accel lockstep; "
                         "accepted there: off, auto");
    if (pc->no_vmport || (!pc->wants_vmport && (vm->tape || !pc->kbc)))
        return NULL;
    struct error *err = PC_MAKE(pc, "vmport", &port, "iobase", "0x5658");
    if (!err)
        vmport_attach(port, &cpu, pc->m.ram_size, pc->kbc);
    return err;
}

/* The first CPU's coprocessor. */
static struct error *make_ferr(struct pc *pc)
{
    struct device *ferr;
    struct error *err = PC_MAKE(pc, "isa-ferr", &ferr, "iobase", "0xf0");
    if (err)
        return err;
    *isa_ferr_output(ferr) = pc_line(pc, PC_IRQ_FERR, PC_FROM_ISA);
    x86_set_ferr(pc->m.vm->vcpus[0], isa_ferr_set, ferr);
    return NULL;
}

static const uint16_t com_ports[MACHINE_MAX_SERIAL] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };

static void wire_serial(struct pc *pc, struct device *uart, unsigned i)
{
    *ns16550_output(uart) = pc_line(pc, i % 2 ? 3 : 4, i < 2 ? PC_FROM_ISA : PC_FROM_ISA2);
    pc->has_com[i] = true;
}

static struct error *make_ports(struct pc *pc, const struct machine_options *o)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL && !err; i++) {
        struct device *uart;
        char port[8];
        if (!o->serial[i])
            continue;
        snprintf(port, sizeof(port), "%#x", com_ports[i]);
        err = PC_MAKE(pc, "isa-serial", &uart, "iobase", port, "chardev", o->serial[i]);
        if (!err)
            wire_serial(pc, uart, i);
    }
    pc->has_parallel = o->parallel;
    if (!err && o->parallel)
        err = PC_MAKE(pc, "isa-parallel", NULL, "iobase", "0x378");
    return err;
}

static struct error *place_serial(struct pc *pc, struct device *uart, uint32_t index)
{
    for (uint32_t i = 0; index == UINT32_MAX && i < MACHINE_MAX_SERIAL; i++)
        if (!pc->has_com[i])
            index = i;
    if (index >= MACHINE_MAX_SERIAL)
        return error_new("isa-serial: a PC has serial ports 0 to %d%s", MACHINE_MAX_SERIAL - 1,
                         index == UINT32_MAX ? ", and all are taken" : "");
    if (pc->has_com[index])
        return error_new("isa-serial: index=%u is taken", index);
    isa_serial_place(uart, com_ports[index]);
    wire_serial(pc, uart, index);
    return NULL;
}

/* Those with a place of their own first. */
struct error *pc_place_serials(struct pc *pc)
{
    struct error *err = NULL;
    for (int anywhere = 0; anywhere < 2; anywhere++) {
        for (struct device *dev = pc->m.vm->devices; dev && !err; dev = dev->next) {
            if (strcmp(dev->cls->name, "isa-serial") != 0 || ns16550_output(dev)->set)
                continue;
            uint32_t index = isa_serial_index(dev);
            if ((index == UINT32_MAX) == anywhere)
                err = place_serial(pc, dev, index);
        }
    }
    return err;
}

static struct error *make_host(struct pc *pc)
{
    const struct pc_host_setup setup = {
        .ram = pc->ram,
        .ram_below_4g = pc->ram_below_4g,
        .ram_above_4g = pc->ram_above_4g,
        .smm = pc->m.vm->has_smm,
        .phys_bits = x86_model_of(pc->m.vm)->phys_bits,
    };
    return pc_host_create(pc->m.vm, pc->model->host, &setup, &pc->host);
}

/* An SMI of the chipset: to all CPUs, or the one that asked for it; the watchdog's to the first. */
static void smi(void *opaque, unsigned n, bool level)
{
    struct pc *pc = opaque;
    struct vm *vm = pc->m.vm;
    struct vcpu *cpu = vcpu_current(vm);
    if (!level)
        return;
    if (!pc->model->broadcasts_smi || !pc->model->broadcasts_smi(pc)) {
        x86_raise(cpu ? cpu : vm->vcpus[0], X86_SMI);
        return;
    }
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        x86_raise(vm->vcpus[i], X86_SMI);
}

static struct error *use_smm(struct pc *pc)
{
    if (!pc->m.vm->has_smm)
        return NULL;
    acpi_pm_use_smm(pc->pm);
    *acpi_pm_smi(pc->pm) = (struct irq){ smi, pc, 0 };
    return pc->model->use_smm(pc);
}

/* Interrupts of the bridge to ISA, and to it those of PCI. */
static void wire_bridge(struct pc *pc)
{
    unsigned n = pc->model->acpi == ACPI_Q35 ? X86_N_GSIS : 16;
    for (unsigned gsi = 0; gsi < n; gsi++)
        if (gsi != 2)
            *isa_bridge_output(pc->bridge, gsi) = pc_line(pc, gsi, PC_FROM_PCI);
}

static struct error *make_devices(struct pc *pc, const struct machine_options *o)
{
    struct error *err = x86_interrupts_create(pc->m.vm, !pc->no_pic, &pc->interrupts);
    if (!err && !pc->direct)
        err = pc_make_firmware(pc, o);
    if (!err)
        err = make_host(pc);
    if (!err)
        err = pc->model->make_bridges(pc);
    if (err)
        return err;
    wire_bridge(pc);
    err = make_timers(pc);
    if (!err)
        err = make_keyboard(pc);
    if (!err)
        err = make_vmport(pc);
    if (!err)
        err = make_ferr(pc);
    if (!err)
        err = make_ports(pc, o);
    if (!err)
        err = PC_MAKE(pc, "reset-control", NULL, "iobase", "0xcf9");
    if (!err)
        err = PC_MAKE(pc, "fw_cfg_io", &pc->fw_cfg, "iobase", "0x510");
    if (err)
        return err;
    *mc146818_alarm(pc->rtc) = acpi_pm_alarm_input(pc->pm);
    pc->m.vm->can_suspend = !pc->direct && pc->model->has_s3(pc); /* firmware leads back */
    return use_smm(pc);
}

/* ---- memory and CPUs --------------------------------------------------------------------------------- */
static void split_ram(struct pc *pc)
{
    uint64_t size = pc->m.ram_size, below = pc->model->ram_below_4g(size, pc->max_ram_below);
    pc->ram_below_4g = MIN(size, below);
    pc->ram_above_4g = size - pc->ram_below_4g;
}

static struct error *make_ram(struct pc *pc)
{
    struct vm *vm = pc->m.vm;
    struct error *err = mem_add_main_ram(vm, "pc.ram", pc->m.ram_size, &pc->ram);
    if (err)
        return error_in(err, "-m");
    mem_map(mem_add_alias(vm, "ram-below-4g", pc->ram, 0, pc->ram_below_4g, false), 0, 0);
    if (pc->ram_above_4g)
        mem_map(
            mem_add_alias(vm, "ram-above-4g", pc->ram, pc->ram_below_4g, pc->ram_above_4g, false),
            4 * GIB, 0);
    return NULL;
}

/* APIC 255 means all of them, and guests without x2APIC know none above. */
static struct error *check_topology(const struct pc *pc, unsigned n)
{
    uint32_t last = x86_apic_id_of(x86_model_of(pc->m.vm), n - 1);
    if (last < 255)
        return NULL;
    return error_new(
        "-smp: with %u threads a core and %u cores a socket the last CPU's APIC ID is %u; "
        "at most 254 is possible",
        pc->threads, pc->cores, last);
}

/* Without firmware there is nobody to use it. */
static struct error *choose_smm(struct pc *pc)
{
    struct vm *vm = pc->m.vm;
    if (pc->smm == SMM_ON && !vm->can_smm)
        return error_new("-M smm=on: -accel %s has no System Management Mode here; accepted: off, "
                         "auto",
                         vm->accel->name);
    vm->has_smm = vm->can_smm && (pc->smm == SMM_ON || (pc->smm == SMM_AUTO && !pc->direct));
    return NULL;
}

static struct error *make_cpus(struct pc *pc, const struct machine_options *o)
{
    struct vm *vm = pc->m.vm;
    vm->target = &x86_64_target;
    vm->irqchips = 1 << IRQCHIP_USER | 1 << IRQCHIP_SPLIT;
    if (!pc->no_pic && !pc->no_pit && !pc->speaker) /* an engine's timer has no loudspeaker */
        vm->irqchips |= 1 << IRQCHIP_ENGINE;
    struct error *err = vm->target->cpu_model(vm, o->cpu);
    if (err)
        return err;
    x86_set_topology(vm, pc->cores, pc->threads);
    err = check_topology(pc, o->smp);
    if (!err)
        err = vm->accel->vm_create(vm, o->accel_options);
    if (!err)
        err = choose_smm(pc);
    for (unsigned i = 0; !err && i < o->smp; i++) {
        struct vcpu *cpu;
        err = vcpu_new(vm, i, &cpu);
    }
    return err;
}

/* Where firmware finds why it runs, by IBM's convention; the value is that of QEMU's machines. */
enum { CMOS_RESET_CODE = 0x0f, RESET_WAKES = 0xfe };

/* ---- life ---------------------------------------------------------------------------------------------- */
static void after_reset(void *opaque)
{
    struct pc *pc = opaque;
    if (pc->was_started && pc->boot.once)
        pc_set_boot_order(pc, pc->boot.order);
    pc->was_started = true;
    for (unsigned i = 0; i < PC_N_FLASH && pc->flash[i]; i++)
        cfi_flash_follow(pc->flash[i]);
    if (pc->m.vm->waking) {
        mc146818_set_cmos(pc->rtc, CMOS_RESET_CODE, RESET_WAKES);
        return;
    }
    if (pc->direct)
        pc_direct_reset(pc);
    x86_boot_place(pc->image);
}

struct error *pc_init(struct machine *m, const struct machine_options *o,
                      const struct pc_model *model)
{
    struct pc *pc = (struct pc *)m;
    pc->model = model;
    pthread_mutex_init(&pc->line_lock, NULL);
    struct error *err = keep_options(pc, o);
    if (err)
        return err;
    split_ram(pc);
    x86_take_nmis(m->vm);
    const struct x86_boot_options boot = { o->kernel, o->initrd, o->append, pc->ram_below_4g };
    err = x86_boot_open(m->vm, &boot, &pc->image);
    if (err)
        return err;
    pc->direct = pc_is_direct(pc, o);
    err = make_cpus(pc, o);
    if (!err)
        err = make_ram(pc);
    if (!err)
        err = make_devices(pc, o);
    if (!err)
        vm_on_reset(m->vm, after_reset, pc);
    return err;
}

void pc_free(struct machine *m)
{
    struct pc *pc = (struct pc *)m;
    char *const texts[] = {
        pc->speaker, pc->pflash[0], pc->pflash[1],          pc->kernel,
        pc->bios,    pc->splash,    (char *)pc->boot.order, (char *)pc->boot.once
    };
    vm_forget(m->vm, pc);
    mem_free_region(pc->isa_bios); /* before the flash chip whose memory it shows */
    x86_boot_free(pc->image);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
}
