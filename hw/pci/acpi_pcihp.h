/* Hot-plug on a PC's PCI bus by ACPI: "acpi-pci-hotplug" says which slots of the bus have changed, and raises a
 * general-purpose event; the DSDT (hw/firmware/asl/pci_hotplug.asl) asks it. Registers of 32 bits, a bit for each
 * slot, where QEMU's machine has them: */
#pragma once

#include "core/device.h"

enum {
    PCIHP_UP = 0x00,     /* came since the last read */
    PCIHP_DOWN = 0x04,   /* the user wants them out */
    PCIHP_EJECT = 0x08,  /* written: the guest has let them go */
    PCIHP_MAY_GO = 0x0c, /* devices that can */
    PCIHP_BUS = 0x10,    /* which bus the others are about; there is only 0 */
    PCIHP_SIZE = 0x14,
    PCIHP_PORT = 0xae00,
    PCIHP_GPE = 1,
};

struct pci_bus;
/* The bus whose devices come and go, and the input of the event. Before other devices are on the bus. */
void acpi_pcihp_attach(struct device *dev, struct pci_bus *bus, struct irq gpe);
