/* A PC that enters its kernel without firmware: the board does what the kernel may rely on of a BIOS's work. RAM is
 * seen below 1 MiB, PCI has its addresses, power management and ECAM their places; the tables lie in memory. */
#include "hw/machine/pc.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/firmware/smbios.h"
#include "hw/machine/x86_boot.h"
#include "hw/machine/x86_pci_setup.h"

#include <stdlib.h>

#define ACPI_AT   ((gpa)X86_TABLES + 64)
#define SMBIOS_AT ((gpa)0xf0000)
enum { FIRST_IO = 0xc000, PCI_IRQS = 1 << 10 | 1 << 11, ECAM_ON = 1, PM_ON = 1, SMBUS_ON = 1 };
enum { LPC = 0x1f << 3, SMBUS = LPC | 3, PIIX3 = 1 << 3, PIIX4 = PIIX3 | 3 }; /* devfn */

/* A kernel for which firmware is not asked for: the screen is dark until its own driver runs, so with a VGA that
 * somebody looks at it starts by SeaBIOS. */
static bool wants_bios(const struct pc *pc, const struct machine_options *o)
{
    return o->vga && !pc->no_graphics && pc_has_bios() && !x86_boot_needs_direct(pc->image);
}

bool pc_is_direct(const struct pc *pc, const struct machine_options *o)
{
    for (unsigned i = 0; i < PC_N_FLASH; i++)
        if (pc->pflash[i] || o->pflash[i])
            return false;
    if (!o->kernel || (o->bios && strcmp(o->bios, "none") != 0))
        return false;
    return o->bios || !wants_bios(pc, o);
}

/* ---- registers, at each reset ---------------------------------------------------------------------- */
struct setting {
    uint8_t devfn;
    uint16_t off;
    uint8_t n;
    uint32_t value;
};

/* All RAM below 1 MiB (82Q35 and 82441FX data sheets, PAM), ECAM, PMBASE and its enable, RCBA, SMBus. */
static const struct setting q35_settings[] = {
    { 0, 0x90, 1, 0x30 },
    { 0, 0x91, 2, 0x3333 },
    { 0, 0x93, 1, 0x33 },
    { 0, 0x94, 2, 0x3333 },
    { 0, 0x96, 1, 0x33 },
    { 0, 0x64, 4, 0 },
    { 0, 0x60, 4, 0xb0000000 | ECAM_ON },
    { LPC, 0x40, 4, 0x600 | PM_ON },
    { LPC, 0x44, 1, 0x80 },
    { LPC, 0xf0, 4, 0xfed1c000 | 1 },
    { SMBUS, 0x40, 1, SMBUS_ON },
};
static const struct setting i440fx_settings[] = {
    { 0, 0x59, 1, 0x30 },
    { 0, 0x5a, 2, 0x3333 },
    { 0, 0x5c, 4, 0x33333333 },
    { PIIX4, 0x40, 4, 0x600 | PM_ON },
    { PIIX4, 0x80, 1, PM_ON },
    { PIIX4, 0x90, 4, 0x700 },
    { PIIX4, 0xd2, 1, SMBUS_ON | 4 << 1 },
};

/* The IRQs that a PC's BIOS gives to PIRQ A, B, ...: two, so that a guest without APIC has the others. */
static uint8_t pirq_irq(unsigned pirq)
{
    static const uint8_t irqs[] = { 10, 10, 11, 11 };
    return irqs[pirq % ARRAY_LEN(irqs)];
}

static uint8_t irq_of(void *opaque, unsigned slot, unsigned pin)
{
    const struct acpi_pc *board = opaque;
    uint8_t pirq = board->pci_irq[slot][pin];
    return pirq == ACPI_PCI_IRQ_SCI ? PC_IRQ_SCI : pirq == ACPI_PCI_IRQ_NONE ? 0 : pirq_irq(pirq);
}

static void set_registers(struct pc *pc)
{
    bool q35 = pc->model->acpi == ACPI_Q35;
    struct pci_host *host = pc_host_of(pc->host);
    const struct setting *s = q35 ? q35_settings : i440fx_settings;
    size_t n = q35 ? ARRAY_LEN(q35_settings) : ARRAY_LEN(i440fx_settings);
    for (size_t i = 0; i < n; i++)
        pci_config_write(host, 0, s[i].devfn, s[i].off, s[i].n, s[i].value);
    for (unsigned pirq = 0; pirq < (q35 ? 8 : 4); pirq++)
        pci_config_write(host, 0, q35 ? LPC : PIIX3, 0x60 + (pirq & 3) + (pirq & 4 ? 8 : 0), 1,
                         pirq_irq(pirq));
}

void pc_direct_reset(struct pc *pc)
{
    struct acpi_pc board = { 0 };
    const struct x86_pci_setup setup = {
        .io = FIRST_IO,
        .io_end = 0xffff,
        .memory = (uint32_t)MAX(align_up(pc->ram_below_4g, MIB), 0xc0000000),
        .memory_end = 0xfea00000,
        .irq_of = irq_of,
        .opaque = &board,
    };
    pc->model->fill_acpi(pc, &board);
    set_registers(pc);
    struct error *err = x86_interrupts_set_up(&pc->interrupts, PCI_IRQS);
    if (err) {
        vm_request_end(pc->m.vm, VERDICT_ENGINE_FAILED, 1, error_text(err));
        error_free(err);
    }
    x86_pci_setup(pc_host_of(pc->host), &setup);
}

/* ---- memory, once ------------------------------------------------------------------------------------ */
static void fill_map(const struct pc *pc, struct x86_memory_map *map)
{
    x86_memory_standard(map, pc->ram_below_4g, 0);
    if (pc->model->acpi == ACPI_Q35) {
        x86_memory_add(map, 0xb0000000, 256 * MIB, X86_MEMORY_RESERVED); /* ECAM */
        x86_memory_add(map, 0xfed1c000, 16 * KIB, X86_MEMORY_RESERVED);  /* RCBA */
    }
    x86_memory_add(map, 0xfeffc000, 16 * KIB, X86_MEMORY_RESERVED); /* KVM's own pages */
    x86_memory_add(map, 4 * GIB, pc->ram_above_4g, X86_MEMORY_RAM);
}

static struct error *add_acpi(struct pc *pc, const struct acpi_tables *tables)
{
    uint8_t rsdp[ACPI_RSDP_SIZE];
    uint64_t n = acpi_size(tables);
    if (n > SMBIOS_AT - ACPI_AT)
        return error_new(
            "the ACPI tables have %llu KiB, more than the 64 there is room for without "
            "firmware; -bios default starts with it",
            (unsigned long long)(n / KIB));
    uint8_t *bytes = xcalloc(1, n);
    acpi_link(tables, ACPI_AT, bytes, rsdp);
    struct error *err =
        x86_boot_add_table(pc->image, "ACPI root pointer", X86_TABLES, rsdp, sizeof(rsdp));
    if (!err)
        err = x86_boot_add_table(pc->image, "ACPI tables", ACPI_AT, bytes, n);
    free(bytes);
    return err;
}

struct error *pc_direct_smbios(struct pc *pc, const struct smbios *tables)
{
    uint64_t n = smbios_size(tables);
    if (n > X86_TABLES_END - SMBIOS_AT)
        return error_new("the SMBIOS tables have %llu KiB, more than the 64 there is room for "
                         "without firmware; -bios default starts with it",
                         (unsigned long long)(n / KIB));
    uint8_t *bytes = xcalloc(1, n);
    smbios_link(tables, SMBIOS_AT, bytes);
    struct error *err = x86_boot_add_table(pc->image, "SMBIOS", SMBIOS_AT, bytes, n);
    free(bytes);
    return err;
}

struct error *pc_enter_directly(struct pc *pc, const struct acpi_tables *tables)
{
    struct x86_memory_map map = { 0 };
    struct error *err = tables ? add_acpi(pc, tables) : NULL;
    fill_map(pc, &map);
    return err ? err : x86_boot_direct(pc->image, &map, tables ? X86_TABLES : 0);
}
