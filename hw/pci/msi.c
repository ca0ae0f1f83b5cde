/* Message-signalled interrupts: MSI (PCI 3.0, 6.8.1) and MSI-X (6.8.2). */
#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/internal.h"

#include <assert.h>

enum {
    MSI_CONTROL = 2,
    MSI_ADDRESS = 4,
    MSI_DATA = 12,
    MSI_MASK = 16,
    MSI_PENDING = 20,
    MSI_SIZE = 24,
    MSI_ENABLE = 1 << 0,
    MSI_64BIT = 1 << 7,
    MSI_MASKABLE = 1 << 8,

    MSIX_CONTROL = 2,
    MSIX_TABLE = 4,
    MSIX_PBA = 8,
    MSIX_SIZE = 12,
    MSIX_MASK_ALL = 1 << 14,
    MSIX_ENABLE = 1 << 15,

    /* The region: the table, then the pending bits in its upper half. */
    MSIX_REGION = 4096,
    MSIX_PBA_AT = MSIX_REGION / 2,
    ENTRY_ADDRESS = 0,
    ENTRY_DATA = 8,
    ENTRY_CONTROL = 12,
};
_Static_assert(MSIX_MAX_VECTORS * 16 <= MSIX_PBA_AT, "the table ends before the pending bits");

/* ---- MSI-X ------------------------------------------------------------------------------------- */

static unsigned msix_control(const struct pci_function *f)
{
    return f->msix_cap ? config_get(f, f->msix_cap + MSIX_CONTROL, 2) : 0;
}

bool pci_msix_enabled(const struct pci_function *f)
{
    return msix_control(f) & MSIX_ENABLE;
}

static bool vector_masked(const struct pci_function *f, unsigned vector)
{
    return msix_control(f) & MSIX_MASK_ALL || f->msix_table[16 * vector + ENTRY_CONTROL] & 1;
}

void pci_msix_fire(struct pci_function *f, unsigned vector)
{
    if (vector >= f->n_vectors || !pci_msix_enabled(f))
        return;
    uint64_t bit = 1ull << vector % 64;
    if (vector_masked(f, vector)) {
        f->msix_pending[vector / 64] |= bit;
        return;
    }
    f->msix_pending[vector / 64] &= ~bit;
    const uint8_t *entry = f->msix_table + 16 * vector;
    if (pci_may_master(f))
        vm_send_msi(f->dev->vm, load_le(entry + ENTRY_ADDRESS, 8), load_le(entry + ENTRY_DATA, 4));
}

/* Send what was held back and is not masked any more. */
static void msix_flush(struct pci_function *f)
{
    if (!pci_msix_enabled(f))
        return;
    for (unsigned i = 0; i < f->n_vectors; i++) {
        if (f->msix_pending[i / 64] >> i % 64 & 1 && !vector_masked(f, i))
            pci_msix_fire(f, i);
    }
}

static uint64_t msix_region_read(void *opaque, uint64_t off, unsigned size)
{
    struct pci_function *f = opaque;
    uint64_t value = 0;
    device_lock(f->dev);
    if (off + size <= 16u * f->n_vectors)
        value = load_le(f->msix_table + off, size);
    else if (off >= MSIX_PBA_AT && off + size <= MSIX_PBA_AT + sizeof(f->msix_pending))
        value = f->msix_pending[(off - MSIX_PBA_AT) / 8] >> 8 * (off % 8);
    device_unlock(f->dev);
    return size < 8 ? bits(value, 0, 8 * size) : value;
}

static void msix_region_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pci_function *f = opaque;
    device_lock(f->dev);
    if (off + size <= 16u * f->n_vectors) {
        store_le(f->msix_table + off, size, value);
        uint8_t *entry = f->msix_table + align_down(off, 16);
        store_le(entry + ENTRY_CONTROL, 4, entry[ENTRY_CONTROL] & 1);
        msix_flush(f);
    }
    device_unlock(f->dev);
}

static const struct mmio_ops msix_region_ops = {
    .read = msix_region_read,
    .write = msix_region_write,
    .min_size = 4,
    .max_size = 4,
};

struct error *pci_add_msix(struct pci_function *f, unsigned bar, unsigned n)
{
    if (n == 0 || n > MSIX_MAX_VECTORS)
        return error_new("vectors=%u: a device has 1 to %u MSI-X vectors", n, MSIX_MAX_VECTORS);
    struct mem_region *region = mem_add_mmio(f->dev->vm, "msix", MSIX_REGION, &msix_region_ops, f);
    pci_add_bar(f, bar, PCI_BAR_MEM32, region, MSIX_REGION);
    unsigned at = f->msix_cap = pci_add_capability(f, PCI_CAP_MSIX, MSIX_SIZE);
    f->n_vectors = n;
    config_field(f, at + MSIX_CONTROL, 2, n - 1, MSIX_ENABLE | MSIX_MASK_ALL);
    config_set(f, at + MSIX_TABLE, 4, bar);
    config_set(f, at + MSIX_PBA, 4, MSIX_PBA_AT | bar);
    pci_msi_reset(f);
    return NULL;
}

/* ---- MSI --------------------------------------------------------------------------------------- */

void pci_add_msi(struct pci_function *f)
{
    unsigned at = f->msi_cap = pci_add_capability(f, PCI_CAP_MSI, MSI_SIZE);
    config_field(f, at + MSI_CONTROL, 2, MSI_64BIT | MSI_MASKABLE, MSI_ENABLE);
    config_field(f, at + MSI_ADDRESS, 4, 0, 0xfffffffc);
    config_field(f, at + MSI_ADDRESS + 4, 4, 0, 0xffffffff);
    config_field(f, at + MSI_DATA, 2, 0, 0xffff);
    config_field(f, at + MSI_MASK, 4, 0, 1);
}

bool pci_msi_fire(struct pci_function *f)
{
    unsigned at = f->msi_cap;
    if (!at || !(config_get(f, at + MSI_CONTROL, 2) & MSI_ENABLE))
        return false;
    bool masked = config_get(f, at + MSI_MASK, 4) & 1;
    config_set(f, at + MSI_PENDING, 4, masked);
    if (!masked && pci_may_master(f))
        vm_send_msi(f->dev->vm, load_le(f->config + at + MSI_ADDRESS, 8),
                    config_get(f, at + MSI_DATA, 2));
    return true;
}

/* ---- common ------------------------------------------------------------------------------------ */

void pci_msi_written(struct pci_function *f, unsigned off, unsigned n)
{
    if (f->msix_cap && off < f->msix_cap + 4u && off + n > f->msix_cap + 2u)
        msix_flush(f);
    if (f->msi_cap && off < f->msi_cap + MSI_SIZE + 0u && off + n > f->msi_cap + 2u &&
        config_get(f, f->msi_cap + MSI_PENDING, 4))
        pci_msi_fire(f);
}

void pci_msi_reset(struct pci_function *f)
{
    memset(f->msix_table, 0, sizeof(f->msix_table));
    memset(f->msix_pending, 0, sizeof(f->msix_pending));
    for (unsigned i = 0; i < f->n_vectors; i++)
        f->msix_table[16 * i + ENTRY_CONTROL] = 1;
    if (f->msi_cap)
        config_set(f, f->msi_cap + MSI_PENDING, 4, 0);
}
