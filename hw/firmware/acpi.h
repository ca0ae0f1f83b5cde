/* ACPI tables of PC boards. A board describes itself in a struct acpi_pc; acpi_build makes the tables, which
 * then go to firmware through fw_cfg or directly into memory. What does not depend on the configuration is
 * ASL (*.asl), compiled by iasl when Tandem is built. Section numbers in acpi*.c: ACPI 6.4. docs/acpi.md. */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct device;
struct error;

enum acpi_board {
    ACPI_Q35,     /* ICH9: LPC bridge at 00:1f.0 with PIRQ A to H, PM1 at pm_base */
    ACPI_PIIX,    /* PIIX3: ISA bridge at 00:01.0 with PIRQ A to D, PM block of PIIX4 */
    ACPI_MICROVM, /* hardware-reduced: a generic event device (hw/misc/acpi_ged.h) instead of PM registers */
};

enum { ACPI_MAX_PIRQS = 8, ACPI_MAX_NODES = 128, ACPI_MAX_WINDOWS = 4 };

/* pci_irq[][] beside 0 to 7 for PIRQ A to H (PCs) and GSIs (microvm). */
enum { ACPI_PCI_IRQ_SCI = 0xfe, ACPI_PCI_IRQ_NONE = 0xff };

struct acpi_window {
    uint64_t at, size; /* size 0: none */
};

struct acpi_cpu {
    uint32_t apic_id;
    uint32_t node; /* below n_nodes; ignored without NUMA */
    bool present;  /* false: possible, but not there */
};

/* Addresses of 0 and false mean that it is not there. Everything is read during acpi_build only. */
struct acpi_pc {
    enum acpi_board board;
    const char *oem_id, *oem_table_id; /* at most 6 and 8 characters; NULL: as QEMU's */

    const struct acpi_cpu *cpus; /* processor UIDs are indices */
    unsigned n_cpus;

    uint64_t ram_below_4g, ram_above_4g; /* bytes, from 0 and from 4 GiB */
    unsigned n_nodes;                    /* NUMA; 0: none */
    const uint64_t *node_ram;            /* [n_nodes] bytes; nodes follow one another in memory */
    const uint8_t *distances;            /* [n_nodes * n_nodes], row = from */

    uint64_t lapic, ioapic; /* 0: 0xfee00000, 0xfec00000 */
    uint64_t ioapic2;       /* microvm's second, from GSI 24 */
    bool no_pic, no_pit;    /* the 8259 pair or the 8254 is missing (microvm) */
    uint64_t hpet;

    bool has_pci;
    struct acpi_window ecam; /* from bus 0: 1 MiB a bus */
    /* Below and above 4 GiB, apart from RAM, ECAM and fixed devices; graphics cards' 0xa0000 too. */
    struct acpi_window pci_mem[ACPI_MAX_WINDOWS];
    struct acpi_window pci_io[ACPI_MAX_WINDOWS]; /* 0xcf8 to 0xcff are left out by the board */
    /* Of bus 0, [device][pin - INTA]. On PCs the PIRQ (0: A), which on q35 has GSI 16 + PIRQ when the I/O APIC
     * is in use, and on pc the IRQ that the guest sets, always. On microvm the GSI. */
    uint8_t pci_irq[32][4];

    /* Fixed hardware of q35 and pc. */
    uint16_t pm_base;     /* PM1 events at + 0, control at + 4, timer at + 8; q35: GPE0 at + 0x20 */
    uint16_t gpe_base;    /* pc: GPE0, 4 bytes */
    uint16_t smi_command; /* with the values of hw/misc/acpi_pm.h */
    uint8_t sci;          /* IRQ */
    bool s3, s4;          /* sleep states, beside S5; with the types of hw/misc/acpi_pm.h */
    uint16_t reset_port;  /* 0xcf9 */

    /* What else stands at I/O ports, at the PC's places. */
    bool com[4], lpt, i8042, rtc;
    uint16_t pvpanic, fw_cfg; /* ports */

    /* virtio-mmio transports, n of them from `at` on, `step` bytes and a GSI apart. */
    struct {
        uint64_t at;
        uint32_t step;
        unsigned n, gsi;
    } virtio_mmio;

    const struct acpi_options *options; /* -acpitable; NULL: none */
};

/* ---- -acpitable --------------------------------------------------------------------------------- */
struct acpi_options;
struct acpi_options *acpi_options_new(void);
void acpi_options_free(struct acpi_options *o); /* NULL is fine */
/* One -acpitable, "sig=SSDT,data=a.bin:b.bin" or "file=table.aml": files are read now. */
struct error *acpi_options_add(struct acpi_options *o, const char *text);

/* ---- tables ------------------------------------------------------------------------------------- */
struct acpi_tables;
/* Had this build iasl? */
bool acpi_is_built(void);
/* Error: two tables of the user cannot both be there, or this build has no ACPI (no iasl). */
struct error *acpi_build(const struct acpi_pc *pc, struct acpi_tables **out);
void acpi_free(struct acpi_tables *t); /* NULL is fine */

/* For firmware, which finds a place and links them: etc/acpi/tables, etc/acpi/rsdp, etc/table-loader.
 * Before vm_start. */
struct error *acpi_offer(const struct acpi_tables *t, struct device *fw_cfg);

/* Without firmware: the bytes linked for `at`, a multiple of 64 below 4 GiB, into buf (acpi_size), and the root
 * pointer (ACPI_RSDP_SIZE), for a multiple of 16 from 0xe0000 on where guests search it. The guest is to hear
 * that this memory is not for use. */
enum { ACPI_RSDP_SIZE = 36 };
uint64_t acpi_size(const struct acpi_tables *t);
void acpi_link(const struct acpi_tables *t, gpa at, uint8_t *buf, uint8_t *rsdp);
