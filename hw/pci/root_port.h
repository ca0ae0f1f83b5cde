/* A PCI Express root port: a bridge with a link that one device plugs into. */
#pragma once

#include "hw/pci/pci.h"

extern const struct device_class root_port_class; /* "pcie-root-port" */
struct pci_bus *root_port_bus(struct device *dev);
