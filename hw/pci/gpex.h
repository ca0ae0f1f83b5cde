/* A generic PCI Express host bridge: ECAM, memory and I/O windows, four interrupt lines
 * (the device tree's "pci-host-ecam-generic"). */
#pragma once

#include "hw/pci/pci.h"

/* Make the bridge, map its windows and its root bus "pcie.0" with the bridge's own function 00.0
 * (1b36:0008). ECAM at `ecam`, 1 MiB per bus. intx[0..3] are INTA..INTD of slot 0, swizzled by slot as
 * usual. The VM owns it. */
struct error *gpex_create(struct vm *vm, gpa ecam, uint64_t ecam_size,
                          const struct pci_windows *windows, const struct irq *intx,
                          struct pci_host **out);

extern const struct device_class gpex_class; /* "gpex-pcihost", not for users */
struct pci_bus *gpex_bus(struct device *dev);
