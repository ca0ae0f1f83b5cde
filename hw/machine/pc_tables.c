/* What q35 and pc tell firmware: CMOS memory, fw_cfg items, ACPI and SMBIOS tables. Names and numbers are those
 * of QEMU's machines (docs/specs/fw_cfg there), which SeaBIOS and OVMF know. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/char/ns16550.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/smbios.h"
#include "hw/machine/numa.h"
#include "hw/machine/pc.h"
#include "hw/machine/x86_boot.h"
#include "hw/misc/acpi_pm.h"
#include "hw/misc/pc_testdev.h"
#include "hw/timer/hpet.h"
#include "hw/timer/mc146818.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <stdio.h>
#include <stdlib.h>

enum { /* fw_cfg: what is not in its header */
       NO_GRAPHICS = 0x04,
       NUMA = 0x0d,
       BOOT_MENU = 0x0e,
       IRQ0_OVERRIDE = FW_CFG_ARCH + 2,
};
enum { /* CMOS */
       CMOS_EQUIPMENT = 0x14,
       CMOS_BASE_MEMORY = 0x15,  /* KiB below 1 MiB */
       CMOS_EXTENDED = 0x17,     /* KiB above 1 MiB, at most 63 MiB */
       CMOS_EXTENDED2 = 0x30,    /* the same */
       CMOS_ABOVE_16M = 0x34,    /* 64 KiB each, below 4 GiB */
       CMOS_BOOT_CHECK = 0x38,   /* third boot device, no check of floppies */
       CMOS_BOOT_DEVICES = 0x3d, /* first and second */
       CMOS_ABOVE_4G = 0x5b,     /* 64 KiB each, three bytes */
       CMOS_CPUS = 0x5f,         /* less one */
};
enum { EQUIPMENT_FPU = 1 << 1, EQUIPMENT_MOUSE = 1 << 2 };
/* Taken from the guest's memory on KVM hosts, and said to be so everywhere. */
#define HOST_PAGES_AT ((gpa)0xfeffc000)
enum { HOST_PAGES_SIZE = 0x4000 };

/* ---- CMOS ------------------------------------------------------------------------------------------ */
static void cmos_number(struct pc *pc, unsigned at, unsigned n, uint64_t value)
{
    for (unsigned i = 0; i < n; i++)
        mc146818_set_cmos(pc->rtc, at + i, (uint8_t)(value >> 8 * i));
}

void pc_set_boot_order(struct pc *pc, const char *order)
{
    static const char codes[] = { [1] = 'a', 'c', 'd', 'n' }; /* floppy, disk, CD-ROM, network */
    uint8_t devices[3] = { 0 };
    if (!order)
        order = "cad";
    for (unsigned i = 0; i < 3 && order[i]; i++)
        for (uint8_t code = 1; code < ARRAY_LEN(codes); code++)
            if (codes[code] == order[i] || (code == 1 && order[i] == 'b'))
                devices[i] = code;
    mc146818_set_cmos(pc->rtc, CMOS_BOOT_DEVICES, devices[1] << 4 | devices[0]);
    mc146818_set_cmos(pc->rtc, CMOS_BOOT_CHECK, devices[2] << 4 | pc->fast_floppy_check);
}

static void fill_cmos(struct pc *pc)
{
    uint64_t below = pc->ram_below_4g, above_1m = below > MIB ? (below - MIB) / KIB : 0;
    cmos_number(pc, CMOS_EQUIPMENT, 1, EQUIPMENT_FPU | (pc->kbc ? EQUIPMENT_MOUSE : 0));
    cmos_number(pc, CMOS_BASE_MEMORY, 2, MIN(below / KIB, 640));
    cmos_number(pc, CMOS_EXTENDED, 2, MIN(above_1m, 0xffff));
    cmos_number(pc, CMOS_EXTENDED2, 2, MIN(above_1m, 0xffff));
    cmos_number(pc, CMOS_ABOVE_16M, 2,
                below > 16 * MIB ? MIN((below - 16 * MIB) / (64 * KIB), 0xffffu) : 0);
    cmos_number(pc, CMOS_ABOVE_4G, 3, pc->ram_above_4g / (64 * KIB));
    cmos_number(pc, CMOS_CPUS, 1, pc->m.vm->n_vcpus - 1);
    pc_set_boot_order(pc, pc->boot.once ? pc->boot.once : pc->boot.order);
}

/* ---- fw_cfg ------------------------------------------------------------------------------------------ */
static struct error *add_number(struct pc *pc, const char *name, unsigned n, uint64_t value)
{
    uint8_t bytes[8];
    store_le(bytes, n, value);
    return fw_cfg_add_file(pc->fw_cfg, name, bytes, n);
}

static struct error *add_e820(struct pc *pc)
{
    const struct {
        uint64_t at, size;
        uint32_t type;
    } ranges[] = {
        { HOST_PAGES_AT, HOST_PAGES_SIZE, X86_MEMORY_RESERVED },
        { 0, pc->ram_below_4g, X86_MEMORY_RAM },
        { 4 * GIB, pc->ram_above_4g, X86_MEMORY_RAM },
    };
    enum { ENTRY = 20 };
    uint8_t bytes[ENTRY * ARRAY_LEN(ranges)];
    uint32_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        if (!ranges[i].size)
            continue;
        store_le(bytes + n, 8, ranges[i].at);
        store_le(bytes + n + 8, 8, ranges[i].size);
        store_le(bytes + n + 16, 4, ranges[i].type);
        n += ENTRY;
    }
    return fw_cfg_add_file(pc->fw_cfg, "etc/e820", bytes, n);
}

/* One byte a sleep state: bit 7 says that it is there, the rest is its type. */
static struct error *add_sleep_states(struct pc *pc)
{
    uint8_t s3 = pc->m.vm->can_suspend ? 0x81 : 1, s4 = pc->model->has_s4(pc) ? 0x82 : 2;
    const uint8_t states[6] = { 0x80, 0, 0, s3, s4, 0x80 };
    return fw_cfg_add_file(pc->fw_cfg, "etc/system-states", states, sizeof(states));
}

static struct error *add_splash(struct pc *pc)
{
    static const struct {
        const char *magic, *name;
    } kinds[] = { { "\xff\xd8", "bootsplash.jpg" }, { "BM", "bootsplash.bmp" } };
    enum { MOST = 4 * 1024 * 1024 };
    FILE *f = fopen(pc->splash, "rbe");
    if (!f)
        return error_errno("-boot splash: cannot open '%s'", pc->splash);
    uint8_t *bytes = xmalloc(MOST + 1);
    size_t n = fread(bytes, 1, MOST + 1, f);
    struct error *err = NULL;
    fclose(f);
    const char *name = NULL;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && n > 2; i++)
        if (!memcmp(bytes, kinds[i].magic, 2))
            name = kinds[i].name;
    if (!name || n > MOST)
        err = error_new("-boot splash: '%s' is not a JPEG or BMP picture of at most 4 MiB",
                        pc->splash);
    else
        err = fw_cfg_add_file(pc->fw_cfg, name, bytes, (uint32_t)n);
    free(bytes);
    return err;
}

static struct error *add_boot_options(struct pc *pc)
{
    const struct machine_boot *b = &pc->boot;
    struct error *err = NULL;
    bool rom = x86_boot_has_kernel(pc->image) && !pc->direct;
    char *order = pc_boot_order(pc->m.vm, rom ? "/rom@genroms/linux.bin" : NULL, b->strict);
    if (order)
        err = fw_cfg_add_file(pc->fw_cfg, "bootorder", order, (uint32_t)strlen(order) + 1);
    free(order);
    fw_cfg_add_u16(pc->fw_cfg, BOOT_MENU, b->menu);
    if (!err && b->splash_ms >= 0)
        err = add_number(pc, "etc/boot-menu-wait", 2, (uint64_t)b->splash_ms);
    if (!err && b->reboot_ms >= 0)
        err = add_number(pc, "etc/boot-fail-wait", 4, (uint64_t)b->reboot_ms);
    return err || !pc->splash ? err : add_splash(pc);
}

static struct error *add_basics(struct pc *pc)
{
    unsigned n = pc->m.vm->n_vcpus;
    uint32_t last_apic = x86_apic_id_of(x86_model_of(pc->m.vm), n - 1);
    fw_cfg_add_u64(pc->fw_cfg, FW_CFG_RAM_SIZE, pc->m.ram_size);
    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)n);
    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)(last_apic + 1));
    fw_cfg_add_u16(pc->fw_cfg, NO_GRAPHICS, pc->sercon);
    fw_cfg_add_u32(pc->fw_cfg, IRQ0_OVERRIDE, 1);
    struct error *err = add_e820(pc);
    if (!err)
        err = add_sleep_states(pc);
    if (!err && pc->sercon && pc->has_com[0])
        err = add_number(pc, "etc/sercon-port", 8, 0x3f8);
    return err;
}

/* ---- ACPI and SMBIOS ----------------------------------------------------------------------------------- */
static struct device *first_of(struct pc *pc, const char *class_name)
{
    for (struct device *dev = pc->m.vm->devices; dev; dev = dev->next)
        if (!strcmp(dev->cls->name, class_name))
            return dev;
    return NULL;
}

struct acpi_parts {
    struct acpi_cpu cpus[PC_MAX_CPUS];
    uint64_t node_ram[NUMA_MAX_NODES];
    uint8_t distances[NUMA_MAX_NODES * NUMA_MAX_NODES];
};

static struct error *describe_nodes(struct pc *pc, struct acpi_pc *out, struct acpi_parts *parts)
{
    struct vm *vm = pc->m.vm;
    struct numa *numa = pc->numa;
    const struct numa_topology topology = { vm->n_vcpus, 1, pc->cores, pc->threads };
    struct error *err = numa ? numa_resolve(numa, vm, pc->m.ram_size, &topology) : NULL;
    if (err || !numa)
        return err;
    unsigned n = out->n_nodes = numa->n_nodes;
    out->node_ram = parts->node_ram;
    out->distances = parts->distances;
    for (unsigned i = 0; i < n; i++) {
        parts->node_ram[i] = numa->nodes[i].mem;
        memcpy(parts->distances + i * n, numa->distance[i], n);
    }
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        parts->cpus[i].node = numa_node_of(numa, i);
    return NULL;
}

static void describe(struct pc *pc, struct acpi_pc *out, struct acpi_parts *parts)
{
    struct vm *vm = pc->m.vm;
    const struct pci_windows *w = &pc_host_of(pc->host)->windows;
    struct device *panic = first_of(pc, "pvpanic");
    char port[16];
    *out = (struct acpi_pc){
        .board = pc->model->acpi,
        .oem_id = *pc->oem_id ? pc->oem_id : NULL,
        .oem_table_id = *pc->oem_table_id ? pc->oem_table_id : NULL,
        .cpus = parts->cpus,
        .n_cpus = vm->n_vcpus,
        .ram_below_4g = pc->ram_below_4g,
        .ram_above_4g = pc->ram_above_4g,
        .no_pic = pc->no_pic,
        .no_pit = pc->no_pit,
        .hpet = pc->hpet ? HPET_ADDR : 0,
        .has_pci = true,
        .pm_base = pc->is_efi ? pc->model->efi_pm_base : pc->model->pm_base,
        .smi_command = 0xb2,
        .sci = PC_IRQ_SCI,
        .s3 = vm->can_suspend,
        .s4 = pc->model->has_s4(pc),
        .reset_port = 0xcf9,
        .lpt = pc->has_parallel,
        .i8042 = pc->kbc,
        .rtc = true,
        .fw_cfg = 0x510,
        .options = pc->acpi,
    };
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        parts->cpus[i] =
            (struct acpi_cpu){ .apic_id = x86_of(vm->vcpus[i])->apic_id, .present = true };
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++)
        out->com[i] = pc->has_com[i];
    if (panic && device_get(panic, "ioport", port, sizeof(port)))
        out->pvpanic = (uint16_t)strtoul(port, NULL, 0);
    out->pci_io[0] = (struct acpi_window){ 0, 0xcf8 };
    out->pci_io[1] = (struct acpi_window){ 0xd00, 0xf300 };
    out->pci_mem[0] = (struct acpi_window){ w->mem32_base, w->mem32_size };
    out->pci_mem[1] = (struct acpi_window){ 0xa0000, 0x20000 };
    /* All that is behind the RAM: firmware decides where in it. */
    uint64_t end = w->mem64_base + w->mem64_size, from = align_up(w->mem64_base, GIB);
    if (end > from)
        out->pci_mem[2] = (struct acpi_window){ from, end - from };
    pc->model->fill_acpi(pc, out);
}

static struct error *add_acpi(struct pc *pc, struct acpi_tables **tables)
{
    struct acpi_pc board;
    if (pc->no_acpi && pc->numa)
        return error_new("-numa: guests hear of it by ACPI tables, which acpi=off leaves out");
    if (pc->no_acpi && pc->acpi)
        return error_new("-acpitable: acpi=off leaves out all ACPI tables");
    if (pc->no_acpi)
        return NULL;
    struct acpi_parts *parts = xcalloc(1, sizeof(*parts));
    describe(pc, &board, parts);
    struct error *err = describe_nodes(pc, &board, parts);
    if (!err)
        err = acpi_build(&board, tables);
    if (!err)
        err = acpi_offer(*tables, pc->fw_cfg);
    free(parts);
    return err;
}

static struct error *add_smbios(struct pc *pc)
{
    const struct machine_class *cls = pc->m.cls;
    struct vm *vm = pc->m.vm;
    uint32_t leaf[4];
    struct smbios *tables = NULL;
    bool is_versioned = strcmp(pc->m.name, cls->name) != 0;
    char *version =
        is_versioned ? xstrdup(pc->m.name) : xasprintf("%s%s", cls->versioned, cls->versions[0]);
    x86_cpuid(x86_of(vm->vcpus[0]), 1, 0, leaf);
    const struct smbios_pc board = {
        .manufacturer = "QEMU", /* by which guests tell such a machine */
        .product = pc->model->product,
        .version = version,
        .uuid = vm->uuid,
        .cpuid_eax = leaf[0],
        .cpuid_edx = leaf[3],
        .sockets = pc->sockets,
        .cores = pc->cores,
        .threads = pc->threads,
        .ram_below_4g = pc->ram_below_4g,
        .ram_above_4g = pc->ram_above_4g,
        .no_firmware = pc->direct,
        .entry64 = pc->smbios_entry64,
        .options = pc->smbios,
    };
    struct error *err = smbios_build(&board, &tables);
    if (!err)
        err = smbios_offer(tables, pc->fw_cfg);
    if (!err && pc->direct)
        err = pc_direct_smbios(pc, tables);
    smbios_free(tables);
    free(version);
    return err;
}

/* ---- the user's devices of the PC -------------------------------------------------------------------- */
static void wire_testdev(struct pc *pc)
{
    struct device *dev = first_of(pc, "pc-testdev");
    for (unsigned n = 0; dev && n < PC_TESTDEV_N_LINES; n++)
        if (n != 2)
            *pc_testdev_output(dev, n) = pc_line(pc, n, PC_FROM_TESTDEV);
}

struct error *pc_ready(struct machine *m)
{
    struct pc *pc = (struct pc *)m;
    wire_testdev(pc);
    fill_cmos(pc);
    struct error *err = pc_place_serials(pc);
    if (!err)
        err = add_basics(pc);
    if (!err)
        err = add_boot_options(pc);
    if (!err)
        err = fw_cfg_add_options(pc->fw_cfg, pc->fw_cfg_texts, pc->n_fw_cfg_texts);
    struct acpi_tables *tables = NULL;
    if (!err)
        err = add_acpi(pc, &tables);
    if (!err)
        err = add_smbios(pc);
    if (!err)
        err = pc->direct ? pc_enter_directly(pc, tables) : x86_boot_offer(pc->image, pc->fw_cfg);
    acpi_free(tables);
    return err;
}
