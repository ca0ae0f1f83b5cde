/* Bridges from PCI to what a PC has from ISA's days: class "ICH9-LPC" on q35 (00:1f.0), "PIIX3" and "PIIX4_PM" on
 * pc (00:01.0, 00:01.3). They lead PCI's interrupt lines on, and say where power management registers are. */
#pragma once

#include "hw/pci/pci.h"

enum { ISA_BRIDGE_N_GSIS = 24, ICH9_N_PIRQS = 8, PIIX3_N_PIRQS = 4 };

/* The line to GSI n: an input of the I/O APIC, and below 16 also of the 8259. PIIX3 has 16. */
struct irq *isa_bridge_output(struct device *bridge, unsigned gsi);
/* PIRQ n, 0 being PIRQA#. */
struct irq isa_bridge_pirq(struct device *bridge, unsigned n);
/* struct pci_host.line_of: which PIRQ a pin of a slot of the root bus has. */
unsigned ich9_pirq_of(unsigned slot, unsigned pin);
unsigned piix3_pirq_of(unsigned slot, unsigned pin);
/* The system control interrupt of ICH9's power management comes in here. */
struct irq ich9_lpc_sci(struct device *lpc);
/* The bridge maps this device's registers ("ICH9-PM" or "PIIX4-PM-block"). Before the first reset. */
void ich9_lpc_attach_pm(struct device *lpc, struct device *pm);
void piix4_pm_attach(struct device *dev, struct device *pm);
/* There is system management mode. Before the first reset. On the ICH9 firmware agrees with the board by fw_cfg files
 * (docs/smm.md) whether an SMI of the command port goes to all CPUs. */
struct error *ich9_lpc_use_smm(struct device *lpc, struct device *fw_cfg);
bool ich9_lpc_broadcasts_smi(struct device *lpc);
void piix4_pm_use_smm(struct device *dev);
/* PIIX4's SMBus, whose memory modules show this much RAM (0: there is none), and its interrupt. At once. */
void piix4_pm_attach_smbus(struct device *dev, uint64_t ram_size, struct irq irq9);
/* Properties disable_s3 and disable_s4 of "ICH9-LPC" and "PIIX4_PM". */
bool ich9_lpc_has_s3(struct device *lpc), ich9_lpc_has_s4(struct device *lpc);
bool piix4_pm_has_s3(struct device *dev), piix4_pm_has_s4(struct device *dev);

/* ---- between the bridges ------------------------------------------------------------------------- */
/* Where PCI's lines lead: levels in, levels out. Device lock held. */
struct isa_route {
    struct irq out[ISA_BRIDGE_N_GSIS];
    uint32_t levels; /* of the PIRQs; they belong to their sources, so a reset keeps them */
    uint32_t driven; /* of the outputs */
};
/* What both bridges begin with. */
struct isa_bridge {
    struct device dev;
    struct pci_function fn;
    struct isa_route route;
    void (*update)(struct isa_bridge *b); /* the outputs follow levels and registers; lock held */
};
void isa_route_drive(struct isa_route *r, uint32_t wanted);
/* The ISA interrupt that a PIRQ's register chooses, as a bit; 0: none. */
uint32_t isa_route_bit(uint8_t reg);
/* Map a block of ports at `at` (0: nowhere) where it is not there already; not under a lock. */
void isa_bridge_map(struct mem_region *r, uint32_t at, uint32_t *mapped_at);
/* Numbers, as management software has them. */
#define ISA_BRIDGE_SLEEP_PROPS(type)                                                             \
    PROP(type, disable_s3, "disable_s3", PROP_UINT, .max = 1,                                    \
         .help = "1: no suspend to memory"),                                                      \
        PROP(type, disable_s4, "disable_s4", PROP_UINT, .max = 1, .help = "1: no suspend to disk")
