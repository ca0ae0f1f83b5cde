/* Bridges to a bus of conventional PCI. */
#pragma once

#include "hw/pci/pci.h"

extern const struct device_class pci_bridge_class;       /* "pci-bridge" */
extern const struct device_class pcie_pci_bridge_class;  /* "pcie-pci-bridge" */
extern const struct device_class i82801b11_bridge_class; /* "i82801b11-bridge" */
struct pci_bus *pci_bridge_bus(struct device *dev);

/* For whatever has a bus behind it: as pci_realize, and `behind` is named after the device, which needs an id. */
struct error *pci_bridge_realize(struct pci_function *f, struct pci_bus *behind, struct device *dev,
                                 const struct pci_identity *identity);
