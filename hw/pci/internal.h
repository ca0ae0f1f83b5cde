/* Between the files of hw/pci only. */
#pragma once

#include "hw/pci/pci.h"

static inline unsigned pci_slot(unsigned devfn)
{
    return devfn >> 3;
}

static inline uint32_t config_get(const struct pci_function *f, unsigned off, unsigned n)
{
    return load_le(f->config + off, n);
}

static inline void config_set(struct pci_function *f, unsigned off, unsigned n, uint32_t v)
{
    store_le(f->config + off, n, v);
}

/* A field of config that the guest may read and write in the bits of `writable`. */
static inline void config_field(struct pci_function *f, unsigned off, unsigned n, uint32_t v,
                                uint32_t writable)
{
    store_le(f->config + off, n, v);
    store_le(f->writable + off, n, writable);
}

/* Type 0 has six BARs, type 1 two. */
static inline unsigned pci_n_bars(const struct pci_function *f)
{
    return f->secondary ? 2 : PCI_N_BARS;
}

/* rom.c: the file behind romfile=, or `usual` if there is one (NULL: none); its register, once the header is filled; what frees it. */
struct error *pci_rom_open(struct pci_function *f, const char *usual);
void pci_rom_show(struct pci_function *f);
void pci_rom_close(struct pci_function *f);
/* Where its register is, and does [off, off+n) touch it? */
unsigned pci_rom_register(const struct pci_function *f);
bool pci_rom_is_register(const struct pci_function *f, unsigned off, unsigned n);

/* Reset every device on the bus and behind it. No lock held; pci_remap is the caller's. */
void pci_reset_below(struct pci_bus *bus);
/* Where on this bus a device is. */
unsigned pci_devfn_of(const struct pci_bus *bus, const struct device *dev);
/* The level on the pin follows intx_level and the command register. Lock held. */
void pci_intx_update(struct pci_function *f);
/* The guest wrote [off, off+n): MSI and MSI-X control may have changed. Lock held. */
void pci_msi_written(struct pci_function *f, unsigned off, unsigned n);
void pci_msi_reset(struct pci_function *f);
