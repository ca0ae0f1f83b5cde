/* The boards "q35" and "pc", between their files: what both have, and how they differ. docs/pc.md. */
#pragma once

#include "hw/firmware/acpi.h"
#include "hw/machine/machine.h"
#include "hw/machine/x86_apic.h"
#include "hw/pci/pc_host.h"

#include <pthread.h>

struct smbios;
struct x86_boot;

enum { PC_MAX_CPUS = 255, PC_N_FLASH = MACHINE_MAX_PFLASH };
enum {
    PC_IRQ_TIMER = 0,
    PC_IRQ_KEYBOARD = 1,
    PC_IRQ_RTC = 8,
    PC_IRQ_SCI = 9,
    PC_IRQ_MOUSE = 12,
    PC_IRQ_FERR = 13,
    PC_IRQ_IDE = 14,
};

/* Who may drive an interrupt line beside others: its level is the OR of all. */
enum pc_source {
    PC_FROM_ISA,
    PC_FROM_ISA2, /* the third and fourth serial port share lines with the first two */
    PC_FROM_PCI,  /* the bridge to ISA */
    PC_FROM_HPET,
    PC_FROM_TESTDEV,
    PC_FROM_SMBUS,
};

struct pc {
    struct machine m;
    const struct pc_model *model;

    /* -M */
    bool wants_vmport, no_vmport, no_smbus;
    bool no_hpet, no_i8042, no_pit, no_pic, no_acpi, no_sata, fast_floppy_check, no_graphics;
    bool smbios_entry64;
    enum { SMM_AUTO, SMM_OFF, SMM_ON } smm;
    uint64_t max_ram_below, max_firmware; /* 0: the usual */
    char *pflash[PC_N_FLASH];
    char *speaker; /* id of an -audiodev */
    char oem_id[7], oem_table_id[9];

    unsigned sockets, cores, threads;
    char *kernel, *bios, *splash;
    struct machine_boot boot;
    bool sercon, has_parallel, has_com[MACHINE_MAX_SERIAL];
    const char *const *fw_cfg_texts; /* -fw_cfg */
    size_t n_fw_cfg_texts;
    struct numa *numa;
    const struct smbios_options *smbios;
    const struct acpi_options *acpi;

    uint64_t ram_below_4g, ram_above_4g;
    struct mem_region *ram; /* all of it */

    struct x86_interrupts interrupts;
    pthread_mutex_t line_lock; /* a leaf but for the interrupt controllers */
    struct pc_line {
        struct pc *pc;
        uint8_t levels; /* a bit for each source */
    } lines[X86_N_GSIS];

    struct device *host, *bridge, *pm, *pm_function, *hpet, *rtc, *kbc, *fw_cfg;
    struct device *flash[PC_N_FLASH];
    struct mem_region *firmware; /* from a file; else the first flash */
    struct mem_region *isa_bios; /* its end, below 1 MiB */
    bool is_efi;
    struct x86_boot *image;
    bool direct; /* the kernel is entered without firmware */
    bool was_started; /* the first boot is over: -boot once= has had its turn */
};

/* How q35 and pc differ. */
struct pc_model {
    const char *product; /* for SMBIOS */
    enum acpi_board acpi;
    const struct device_class *host;
    uint64_t (*ram_below_4g)(uint64_t size, uint64_t most); /* most 0: the usual */
    const char *hpet_inputs; /* of the I/O APIC, as the HPET's property */
    uint16_t pm_base, efi_pm_base; /* where a BIOS puts it, and OVMF */
    /* Power management (pc->pm) and the bridge to ISA (pc->bridge), with everything between them. */
    struct error *(*make_bridges)(struct pc *pc);
    void (*fill_acpi)(struct pc *pc, struct acpi_pc *out);
    bool (*has_s3)(struct pc *pc), (*has_s4)(struct pc *pc);
    /* There is system management mode; behind all devices. */
    struct error *(*use_smm)(struct pc *pc);
    bool (*broadcasts_smi)(struct pc *pc); /* NULL: never */
};

/* pc.c */
struct error *pc_set_option(struct machine *m, const char *name, const char *value);
struct error *pc_init(struct machine *m, const struct machine_options *o,
                      const struct pc_model *model);
void pc_free(struct machine *m);
/* Interrupt line n as one of its sources. */
struct irq pc_line(struct pc *pc, unsigned gsi, enum pc_source source);
/* A device with properties "name", "value", ..., NULL; a pair with a value of NULL is left out. */
struct error *pc_make(struct pc *pc, const char *cls, struct device **out,
                      const char *const *props);
#define PC_MAKE(pc, cls, out, ...) \
    pc_make(pc, cls, out, (const char *const[]){ __VA_ARGS__, NULL })

/* Serial ports that are the user's -device: their ports and lines. Before the tables. */
struct error *pc_place_serials(struct pc *pc);

/* pc_firmware.c: is there a SeaBIOS; flash chips or a file, below 4 GiB and at the end of the first MiB. */
bool pc_has_bios(void);
struct error *pc_make_firmware(struct pc *pc, const struct machine_options *o);

/* pc_tables.c: what the board tells firmware, by CMOS and fw_cfg. */
struct error *pc_ready(struct machine *m);
void pc_set_boot_order(struct pc *pc, const char *order);

/* pc_direct.c: without firmware, the registers and tables that a kernel expects of it. Is that so? (pc->image is
 * open.) At each reset; once, when all devices are there (tables: NULL if there are none). */
bool pc_is_direct(const struct pc *pc, const struct machine_options *o);
void pc_direct_reset(struct pc *pc);
struct error *pc_direct_smbios(struct pc *pc, const struct smbios *tables);
struct error *pc_enter_directly(struct pc *pc, const struct acpi_tables *tables);

/* pc_boot_order.c: bootindex= of the devices as firmware's paths, one a line; NULL: none. strict: firmware is to
 * halt behind them. Caller frees. */
char *pc_boot_order(struct vm *vm, const char *first, bool strict);

/* ---- what both accept behind -M ------------------------------------------------------------------- */
#define PC_OPTIONS                                                                            \
    { "acpi", "on|off", "ACPI tables" },                                                     \
        { "hpet", "on|off", "high precision event timer" },                                  \
        { "pit", "on|off", "timer 8254" },                                                   \
        { "pic", "auto|on|off", "interrupt controllers 8259" },                              \
        { "i8042", "on|off", "keyboard controller, keyboard and mouse" },                    \
        { "smm", "auto|off|on", "System Management Mode" },                                  \
        { "vmport", "auto|on|off", "VMware's port with its pointer; auto: where it can be" }, \
        { "smbus", "on|off", "SMBus, with what memory modules say of themselves" },           \
        { "fd-bootchk", "on|off", "the BIOS checks floppies before it boots them" },         \
        { "graphics", "on|off", "off: firmware uses the serial port" },                      \
        { "pcspk-audiodev", "ID", "back end for sound (-audiodev) of the loudspeaker" },      \
        { "pflash0", "ID", "drive of the first flash chip, which ends at 4 GiB: code" },     \
        { "pflash1", "ID", "drive of the second, below it: variables" },                     \
        { "max-ram-below-4g", "SIZE", "less RAM below 4 GiB than usual" },                   \
        { "max-fw-size", "SIZE", "most that firmware may have" },                            \
        { "smbios-entry-point-type", "auto|32|64", "SMBIOS 2.1 or 3" },                      \
        { "x-oem-id", "TEXT", "OEM ID of ACPI tables" },                                     \
        { "x-oem-table-id", "TEXT", "OEM table ID of ACPI tables" },                         \
        { "usb", "on|off", "a USB controller: qemu-xhci" },                                  \
        { "nvdimm", "off", "there are no NVDIMMs" },                                         \
        { "hmat", "off", "there is no HMAT" },                                               \
        { "cxl", "off", "there is no CXL" },                                                 \
        { "default-bus-bypass-iommu", "on|off", "there is no IOMMU to bypass" },             \
        { "dump-guest-core", "on|off", "off: core dumps of this program are without guest memory" },                       \
        { "mem-merge", "on|off", "on: the host keeps equal pages of guest memory once" }

/* Versions of QEMU whose machines these boards stand for; they differ in nothing here. */
#define PC_NEWER_VERSIONS                                                                        \
    "11.1", "11.0", "10.2", "10.1", "10.0", "9.2", "9.1", "9.0", "8.2", "8.1", "8.0", "7.2",     \
        "7.1", "7.0", "6.2", "6.1", "6.0", "5.2", "5.1", "5.0", "4.2", "4.1"
#define PC_OLDER_VERSIONS                                                                        \
    "4.0", "3.1", "3.0", "2.12", "2.11", "2.10", "2.9", "2.8", "2.7", "2.6", "2.5", "2.4"
