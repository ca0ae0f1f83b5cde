/* The DSDT: a board's ASL (asl/), and behind it what the configuration decides. One table, because firmware
 * looks for devices nowhere else. */
#include "hw/firmware/acpi_internal.h"
#include "hw/firmware/aml.h"
#include "hw/misc/acpi_pm.h"
#include "hw/timer/hpet.h"

#include <assert.h>
#include <stdio.h>

enum { STA_HIDDEN = 0x0b, STA_SHOWN = 0x0f }; /* 6.3.7: there, on, working; shown to the user */

static void begin_device(struct aml *a, const char *name, const char *eisa_id, unsigned uid)
{
    aml_device(a, name);
    aml_name_eisa_id(a, "_HID", eisa_id);
    aml_name_int(a, "_UID", uid);
}

static void begin_resources(struct aml *a)
{
    aml_name(a, "_CRS");
    aml_template(a);
}

/* ---- ISA ------------------------------------------------------------------------------------------- */
static void add_serial_ports(struct aml *a, const struct acpi_pc *pc)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } ports[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
    for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
        char name[] = "COM1";
        name[3] += (char)i;
        if (!pc->com[i])
            continue;
        begin_device(a, name, "PNP0501", i + 1);
        begin_resources(a);
        aml_io(a, ports[i].port, 8);
        aml_irq(a, ports[i].irq);
        aml_end(a);
        aml_end(a);
    }
}

static void add_parallel_port(struct aml *a)
{
    begin_device(a, "LPT1", "PNP0400", 1);
    begin_resources(a);
    aml_io(a, 0x378, 8);
    aml_irq(a, 7);
    aml_end(a);
    aml_end(a);
}

static void add_keyboard_controller(struct aml *a)
{
    begin_device(a, "KBD", "PNP0303", 0);
    begin_resources(a);
    aml_io(a, 0x60, 1);
    aml_io(a, 0x64, 1);
    aml_irq(a, 1);
    aml_end(a);
    aml_end(a);

    begin_device(a, "MOU", "PNP0F13", 0);
    begin_resources(a);
    aml_irq(a, 12);
    aml_end(a);
    aml_end(a);
}

static void add_rtc(struct aml *a)
{
    begin_device(a, "RTC", "PNP0B00", 0);
    begin_resources(a);
    aml_io(a, 0x70, 2);
    aml_irq(a, 8);
    aml_end(a);
    aml_end(a);
}

/* Devices that only virtual machines have, known by names that QEMU registered. */
static void add_named_ports(struct aml *a, const char *name, const char *hid, unsigned status,
                            uint16_t port, uint8_t n)
{
    aml_device(a, name);
    aml_name_string(a, "_HID", hid);
    aml_name_int(a, "_STA", status);
    begin_resources(a);
    aml_io(a, port, n);
    aml_end(a);
    aml_end(a);
}

static void add_isa(struct aml *a, const struct acpi_pc *pc)
{
    aml_scope(a, pc->board == ACPI_MICROVM ? "\\_SB" : "\\_SB.PCI0.ISA");
    add_serial_ports(a, pc);
    if (pc->lpt)
        add_parallel_port(a);
    if (pc->i8042)
        add_keyboard_controller(a);
    if (pc->rtc)
        add_rtc(a);
    if (pc->pvpanic)
        add_named_ports(a, "PEVT", "QEMU0001", STA_SHOWN, pc->pvpanic, 1);
    if (pc->fw_cfg)
        add_named_ports(a, "FWCF", "QEMU0002", STA_HIDDEN, pc->fw_cfg, 12);
    aml_end(a);
}

/* ---- PCI ------------------------------------------------------------------------------------------- */
static void add_pci_resources(struct aml *a, const struct acpi_pc *pc)
{
    begin_resources(a);
    aml_window_bus(a, 0, pc->ecam.size ? (uint16_t)(pc->ecam.size / MIB) : 256);
    if (pc->board != ACPI_MICROVM)
        aml_io(a, 0xcf8, 8);
    for (unsigned i = 0; i < ACPI_MAX_WINDOWS; i++)
        if (pc->pci_io[i].size)
            aml_window_io(a, (uint32_t)pc->pci_io[i].at, (uint32_t)pc->pci_io[i].size);
    for (unsigned i = 0; i < ACPI_MAX_WINDOWS; i++)
        if (pc->pci_mem[i].size)
            aml_window_memory(a, pc->pci_mem[i].at, pc->pci_mem[i].size);
    aml_end(a);
}

/* What 6.2.13 puts behind device and pin: a link device, or nothing and a GSI. */
static void add_route(struct aml *a, const char *link_prefix, uint8_t irq)
{
    char link[8];
    if (!link_prefix || irq == ACPI_PCI_IRQ_SCI) {
        if (link_prefix)
            aml_path(a, "LNKS");
        else
            aml_int(a, 0);
        aml_int(a, link_prefix ? 0 : irq);
        return;
    }
    assert(irq < ACPI_MAX_PIRQS);
    snprintf(link, sizeof(link), "%s%c", link_prefix, 'A' + irq);
    aml_path(a, link);
    aml_int(a, 0);
}

static void add_routes(struct aml *a, const struct acpi_pc *pc, const char *link_prefix)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 32 * 4; i++)
        n += pc->pci_irq[i / 4][i % 4] != ACPI_PCI_IRQ_NONE;
    aml_package(a, (uint8_t)n);
    for (unsigned i = 0; i < 32 * 4; i++) {
        uint8_t irq = pc->pci_irq[i / 4][i % 4];
        if (irq == ACPI_PCI_IRQ_NONE)
            continue;
        aml_package(a, 4);
        aml_int(a, i / 4 << 16 | 0xffff);
        aml_int(a, i % 4);
        add_route(a, link_prefix, irq);
        aml_end(a);
    }
    aml_end(a);
}

static void add_pci(struct aml *a, const struct acpi_pc *pc)
{
    aml_scope(a, "\\_SB.PCI0");
    add_pci_resources(a, pc);
    if (pc->board == ACPI_Q35) {
        aml_name(a, "PRTP");
        add_routes(a, pc, "LNK");
        aml_name(a, "PRTA");
        add_routes(a, pc, "GSI");
        aml_method(a, "_PRT", 0);
        aml_if(a);
        aml_path(a, "PICF");
        aml_return(a);
        aml_path(a, "PRTA");
        aml_end(a);
        aml_return(a);
        aml_path(a, "PRTP");
        aml_end(a);
    } else {
        aml_name(a, "_PRT");
        add_routes(a, pc, pc->board == ACPI_PIIX ? "LNK" : NULL);
    }
    aml_end(a);
}

/* ---- the system bus -------------------------------------------------------------------------------- */
/* Addresses that belong to no other device. */
static void add_motherboard(struct aml *a, const struct acpi_pc *pc)
{
    begin_device(a, "MBRD", "PNP0C02", 0);
    begin_resources(a);
    if (pc->pm_base)
        aml_io(a, pc->pm_base, pc->board == ACPI_Q35 ? ICH9_PM_SIZE : PIIX4_PM_SIZE);
    if (pc->gpe_base)
        aml_io(a, pc->gpe_base, PIIX4_GPE_SIZE);
    if (pc->smi_command)
        aml_io(a, pc->smi_command, 2);
    if (pc->ecam.size && pc->ecam.at + pc->ecam.size <= 4 * GIB)
        aml_memory32(a, (uint32_t)pc->ecam.at, (uint32_t)pc->ecam.size);
    aml_end(a);
    aml_end(a);
}

static void add_hpet(struct aml *a, const struct acpi_pc *pc)
{
    begin_device(a, "HPET", "PNP0103", 0);
    begin_resources(a);
    aml_memory32(a, (uint32_t)pc->hpet, HPET_SIZE);
    aml_end(a);
    aml_end(a);
}

static void add_virtio_mmio(struct aml *a, const struct acpi_pc *pc)
{
    enum { TRANSPORT_SIZE = 0x200 };
    for (unsigned i = 0; i < pc->virtio_mmio.n; i++) {
        char name[8];
        snprintf(name, sizeof(name), "VR%02X", i & 0xff);
        aml_device(a, name);
        aml_name_string(a, "_HID", "LNRO0005");
        aml_name_int(a, "_UID", i);
        begin_resources(a);
        aml_memory32(a, (uint32_t)(pc->virtio_mmio.at + (uint64_t)i * pc->virtio_mmio.step),
                     TRANSPORT_SIZE);
        aml_gsi(a, pc->virtio_mmio.gsi + i, false);
        aml_end(a);
        aml_end(a);
    }
}

static void add_processors(struct aml *a, const struct acpi_pc *pc)
{
    for (unsigned i = 0; i < pc->n_cpus; i++) {
        char name[8];
        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        aml_device(a, name);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_int(a, "_UID", i);
        if (!pc->cpus[i].present)
            aml_name_int(a, "_STA", 0);
        aml_end(a);
    }
}

static void add_system_bus(struct aml *a, const struct acpi_pc *pc)
{
    aml_scope(a, "\\_SB");
    if (pc->pm_base || pc->ecam.size)
        add_motherboard(a, pc);
    if (pc->hpet)
        add_hpet(a, pc);
    add_virtio_mmio(a, pc);
    add_processors(a, pc);
    aml_end(a);
}

/* ---- sleep ------------------------------------------------------------------------------------------- */
/* 7.4.2: Name (_S3, Package (4) { type, type, 0, 0 }) */
static void add_sleep_state(struct aml *a, const char *name, uint8_t type)
{
    aml_name(a, name);
    aml_package(a, 4);
    for (unsigned i = 0; i < 4; i++)
        aml_int(a, i < 2 ? type : 0);
    aml_end(a);
}

/* ---- all of it ------------------------------------------------------------------------------------- */
static const struct acpi_aml *board_aml(const struct acpi_pc *pc)
{
    switch (pc->board) {
    case ACPI_Q35: return &acpi_aml_q35;
    case ACPI_PIIX: return &acpi_aml_piix;
    case ACPI_MICROVM: break;
    }
    return pc->has_pci ? &acpi_aml_microvm_pcie : &acpi_aml_microvm;
}

uint32_t acpi_add_dsdt(struct acpi_tables *t, const struct acpi_pc *pc)
{
    struct aml a = { 0 };
    const struct acpi_aml *fixed = board_aml(pc);
    add_system_bus(&a, pc);
    if (pc->has_pci)
        add_pci(&a, pc);
    add_isa(&a, pc);
    if (pc->s3)
        add_sleep_state(&a, "\\_S3", 1);
    if (pc->s4)
        add_sleep_state(&a, "\\_S4", 2);
    assert(!a.depth);

    uint32_t table = acpi_begin(t, "DSDT", 2);
    blob_add(&t->bytes, fixed->at + ACPI_HEADER, fixed->n - ACPI_HEADER);
    blob_add(&t->bytes, a.out.at, a.out.n);
    acpi_end(t, table);
    blob_free(&a.out);
    return table;
}
