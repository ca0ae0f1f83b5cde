/* "pc": a PC of 1996, with the 82441FX, PIIX3 and PIIX4's power management. Memory map, slots and identities are
 * those of QEMU's machine of that name. */
#include "hw/machine/pc.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/misc/acpi_pm.h"
#include "hw/pci/acpi_pcihp.h"
#include "hw/pci/isa_bridge.h"
#include "hw/storage/ide.h"

/* With more RAM than fits below PCI's addresses, it ends where a gigabyte page does. */
static uint64_t ram_below_4g(uint64_t size, uint64_t most)
{
    uint64_t usual = 0xe0000000, large = 0xc0000000;
    if (most && most < usual)
        return most;
    return size >= usual ? large : usual;
}

static struct error *make_bridges(struct pc *pc)
{
    struct pci_host *host = pc_host_of(pc->host);
    struct device *ide, *hotplug;
    struct error *err = PC_MAKE(pc, "PIIX4-PM-block", &pc->pm, "smi-command-iobase", "0xb2",
                                "gpe-iobase", "0xafe0");
    if (!err)
        err =
            PC_MAKE(pc, "PIIX3", &pc->bridge, "bus", "pci.0", "addr", "1.0", "multifunction", "on");
    if (!err)
        err = PC_MAKE(pc, "PIIX4_PM", &pc->pm_function, "bus", "pci.0", "addr", "1.3");
    if (err)
        return err;
    host->line_of = piix3_pirq_of;
    for (unsigned n = 0; n < PIIX3_N_PIRQS; n++)
        host->intx[n] = isa_bridge_pirq(pc->bridge, n);
    piix4_pm_attach(pc->pm_function, pc->pm);
    piix4_pm_attach_smbus(pc->pm_function, pc->no_smbus ? 0 : pc->m.ram_size,
                          pc_line(pc, PC_IRQ_SCI, PC_FROM_SMBUS));
    *acpi_pm_sci(pc->pm) = pc_line(pc, PC_IRQ_SCI, PC_FROM_ISA);
    if (!pc->no_acpi) {
        err = PC_MAKE(pc, "acpi-pci-hotplug", &hotplug, "iobase", "0xae00");
        if (err)
            return err;
        acpi_pcihp_attach(hotplug, &host->root, acpi_pm_gpe_input(pc->pm, PCIHP_GPE));
    }
    err = PC_MAKE(pc, "piix3-ide", &ide, "bus", "pci.0", "addr", "1.1");
    for (unsigned i = 0; !err && i < 2; i++)
        *piix_ide_output(ide, i) = pc_line(pc, PC_IRQ_IDE + i, PC_FROM_ISA);
    return err;
}

static void fill_acpi(struct pc *pc, struct acpi_pc *out)
{
    out->gpe_base = 0xafe0;
    for (unsigned slot = 0; slot < 32; slot++)
        for (unsigned pin = 0; pin < PCI_N_INTX; pin++)
            out->pci_irq[slot][pin] = (uint8_t)piix3_pirq_of(slot, pin);
    out->pci_irq[1][0] = ACPI_PCI_IRQ_SCI;
}

static bool has_s3(struct pc *pc)
{
    return piix4_pm_has_s3(pc->pm_function);
}

static bool has_s4(struct pc *pc)
{
    return piix4_pm_has_s4(pc->pm_function);
}

static struct error *use_smm(struct pc *pc)
{
    piix4_pm_use_smm(pc->pm_function);
    return NULL;
}

static const struct pc_model i440fx_model = {
    .product = "Standard PC (i440FX + PIIX, 1996)",
    .acpi = ACPI_PIIX,
    .host = &i440fx_host_class,
    .ram_below_4g = ram_below_4g,
    .hpet_inputs = "4",
    .pm_base = 0x600,
    .efi_pm_base = 0xb000,
    .make_bridges = make_bridges,
    .fill_acpi = fill_acpi,
    .has_s3 = has_s3,
    .has_s4 = has_s4,
    .use_smm = use_smm,
};

static struct error *i440fx_init(struct machine *m, const struct machine_options *o)
{
    return pc_init(m, o, &i440fx_model);
}

static const struct machine_option i440fx_options[] = { PC_OPTIONS };
static const char *const i440fx_versions[] = { PC_NEWER_VERSIONS, PC_OLDER_VERSIONS, NULL };

const struct machine_class i440fx_machine = {
    .name = "pc",
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .arch = "x86_64",
    .ram_name = "pc.ram",
    .versioned = "pc-i440fx-",
    .versions = i440fx_versions,
    .default_cpus = 1,
    .max_cpus = PC_MAX_CPUS,
    .default_ram_size = 128 * MIB,
    .drive_if = "ide",
    .vga = "VGA",
    .usb_addr = "1.2", /* beside the bridge to ISA, where a PIIX3 has its own */
    .has_tables = true,
    .options = TABLE(i440fx_options),
    .size = sizeof(struct pc),
    .set_option = pc_set_option,
    .init = i440fx_init,
    .ready = pc_ready,
    .free = pc_free,
};
