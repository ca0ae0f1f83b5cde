/* What a BIOS does to PCI before it starts a system: bus numbers, places for BARs, interrupt lines. For PCs
 * that start without one; guests that want other places move them. */
#pragma once

#include "core/util.h"

struct pci_host;

struct x86_pci_setup {
    uint16_t io, io_end; /* ports for BARs: [io, io_end) */
    uint32_t memory, memory_end;
    /* The IRQ of INTA# to INTD# (pin 0 to 3) of a slot of bus 0; 0: none. */
    uint8_t (*irq_of)(void *opaque, unsigned slot, unsigned pin);
    void *opaque;
};
/* After a reset, vCPUs stopped. A BAR that finds no room stays off. */
void x86_pci_setup(struct pci_host *host, const struct x86_pci_setup *setup);
