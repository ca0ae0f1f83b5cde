/* "q35": a PC of 2009, with the 82Q35's memory controller and ICH9. Memory map, slots and identities are those of
 * QEMU's machine of that name. */
#include "hw/machine/pc.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/misc/acpi_pm.h"
#include "hw/misc/smbus.h"
#include "hw/pci/isa_bridge.h"

/* With more RAM than fits below ECAM, it ends where a gigabyte page does. */
static uint64_t ram_below_4g(uint64_t size, uint64_t most)
{
    uint64_t usual = 0xb0000000, large = 0x80000000;
    uint64_t below = size >= usual ? large : usual;
    return most && most < below ? most : below;
}

static struct error *make_bridges(struct pc *pc)
{
    struct pci_host *host = pc_host_of(pc->host);
    struct device *ahci, *smbus;
    struct error *err = PC_MAKE(pc, "ICH9-PM", &pc->pm, "smi-command-iobase", "0xb2");
    if (!err)
        err = PC_MAKE(pc, "ICH9-LPC", &pc->bridge, "bus", "pcie.0", "addr", "1f.0", "multifunction",
                      "on");
    if (err)
        return err;
    host->line_of = ich9_pirq_of;
    for (unsigned n = 0; n < ICH9_N_PIRQS; n++)
        host->intx[n] = isa_bridge_pirq(pc->bridge, n);
    ich9_lpc_attach_pm(pc->bridge, pc->pm);
    *acpi_pm_sci(pc->pm) = ich9_lpc_sci(pc->bridge);
    if (!pc->no_sata)
        err = PC_MAKE(pc, "ich9-ahci", &ahci, "bus", "pcie.0", "addr", "1f.2");
    if (err || pc->no_smbus)
        return err;
    err = PC_MAKE(pc, "ICH9-SMB", &smbus, "bus", "pcie.0", "addr", "1f.3");
    if (!err)
        smbus_set_ram(ich9_smbus_of(smbus), pc->m.ram_size);
    return err;
}

static void fill_acpi(struct pc *pc, struct acpi_pc *out)
{
    out->ecam = (struct acpi_window){ 0xb0000000, 256 * MIB };
    for (unsigned slot = 0; slot < 32; slot++)
        for (unsigned pin = 0; pin < PCI_N_INTX; pin++)
            out->pci_irq[slot][pin] = (uint8_t)ich9_pirq_of(slot, pin);
    /* PCI's window begins behind ECAM, as firmware has it. */
    uint64_t from = 0xc0000000;
    if (pc->ram_below_4g <= 0xb0000000)
        out->pci_mem[0] = (struct acpi_window){ from, 0xfec00000 - from };
}

static bool has_s3(struct pc *pc)
{
    return ich9_lpc_has_s3(pc->bridge);
}

static bool has_s4(struct pc *pc)
{
    return ich9_lpc_has_s4(pc->bridge);
}

static struct error *use_smm(struct pc *pc)
{
    return ich9_lpc_use_smm(pc->bridge, pc->fw_cfg);
}

static bool broadcasts_smi(struct pc *pc)
{
    return ich9_lpc_broadcasts_smi(pc->bridge);
}

static const struct pc_model q35_model = {
    .product = "Standard PC (Q35 + ICH9, 2009)",
    .acpi = ACPI_Q35,
    .host = &q35_host_class,
    .ram_below_4g = ram_below_4g,
    .hpet_inputs = "0xff0104",
    .pm_base = 0x600,
    .efi_pm_base = 0x600,
    .make_bridges = make_bridges,
    .fill_acpi = fill_acpi,
    .has_s3 = has_s3,
    .has_s4 = has_s4,
    .use_smm = use_smm,
    .broadcasts_smi = broadcasts_smi,
};

static struct error *q35_init(struct machine *m, const struct machine_options *o)
{
    return pc_init(m, o, &q35_model);
}

static const struct machine_option q35_options[] = {
    PC_OPTIONS,
    { "sata", "on|off", "the AHCI controller at 00:1f.2" },
};
static const char *const q35_versions[] = { PC_NEWER_VERSIONS, "4.0.1", PC_OLDER_VERSIONS, NULL };

const struct machine_class q35_machine = {
    .name = "q35",
    .desc = "Standard PC (Q35 + ICH9, 2009)",
    .arch = "x86_64",
    .ram_name = "pc.ram",
    .versioned = "pc-q35-",
    .versions = q35_versions,
    .is_default = true,
    .default_cpus = 1,
    .max_cpus = PC_MAX_CPUS,
    .default_ram_size = 128 * MIB,
    .drive_if = "ide",
    .vga = "VGA",
    .usb_addr = "1d.0", /* as an ICH9 has it */
    .has_tables = true,
    .options = TABLE(q35_options),
    .size = sizeof(struct pc),
    .set_option = pc_set_option,
    .init = q35_init,
    .ready = pc_ready,
    .free = pc_free,
};
