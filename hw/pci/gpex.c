/* The generic PCI Express host bridge. Configuration space is memory: 1 MiB per bus, 4 KiB per function
 * (ECAM, PCIe 7.2.2). What no BAR answers reads as ones. */
#include "hw/pci/gpex.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/internal.h"

struct gpex {
    struct device dev;
    struct pci_host host;
    struct pci_function bridge; /* 00.0, for the guest to see; has no function */
    gpa ecam_base;
    uint64_t ecam_size;
    struct mem_region *ecam, *io, *mem32, *mem64;
};

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned size)
{
    struct gpex *g = opaque;
    return pci_config_read(&g->host, off >> 20, off >> 12 & 0xff, off & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct gpex *g = opaque;
    pci_config_write(&g->host, off >> 20, off >> 12 & 0xff, off & 0xfff, size, value);
}

static uint64_t nothing_read(void *opaque, uint64_t off, unsigned size)
{
    return ~(uint64_t)0;
}

static void nothing_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}

static const struct mmio_ops ecam_ops = { ecam_read, ecam_write, 1, 4 };
static const struct mmio_ops nothing_ops = { nothing_read, nothing_write, 1, 8 };

static struct mem_region *window_map(struct gpex *g, const char *name, gpa at, uint64_t size)
{
    if (!size)
        return NULL;
    struct mem_region *r = mem_add_mmio(g->dev.vm, name, size, &nothing_ops, g);
    mem_map(r, at, 0);
    return r;
}

static void gpex_remap(void *opaque)
{
    pci_remap(opaque);
}

static struct error *gpex_realize(struct device *dev)
{
    struct gpex *g = container_of(dev, struct gpex, dev);
    static const struct pci_identity identity = {
        .vendor = 0x1b36,
        .device = 0x0008,
        .class_code = 0x060000,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&g->bridge, dev, &g->host.root, &identity);
    if (err)
        return err;
    const struct pci_windows *w = &g->host.windows;
    g->ecam = mem_add_mmio(dev->vm, "pcie-ecam", g->ecam_size, &ecam_ops, g);
    mem_map(g->ecam, g->ecam_base, 0);
    g->io = window_map(g, "pcie-io", w->io_base, w->io_size);
    g->mem32 = window_map(g, "pcie-mmio", w->mem32_base, w->mem32_size);
    g->mem64 = window_map(g, "pcie-mmio-high", w->mem64_base, w->mem64_size);
    vm_on_reset(dev->vm, gpex_remap, &g->host);
    return NULL;
}

static void gpex_unrealize(struct device *dev)
{
    struct gpex *g = container_of(dev, struct gpex, dev);
    vm_forget(dev->vm, &g->host);
    struct mem_region *regions[] = { g->ecam, g->io, g->mem32, g->mem64 };
    for (size_t i = 0; i < ARRAY_LEN(regions); i++) {
        if (regions[i])
            mem_free_region(regions[i]);
    }
    pci_unrealize(&g->bridge);
    pci_host_free(&g->host);
}

static void gpex_reset(struct device *dev)
{
    pci_reset(&container_of(dev, struct gpex, dev)->bridge);
}

static struct error *gpex_loaded(struct device *dev)
{
    pci_loaded(&container_of(dev, struct gpex, dev)->bridge);
    return NULL;
}

struct pci_bus *gpex_bus(struct device *dev)
{
    return &container_of(dev, struct gpex, dev)->host.root;
}

static const struct field gpex_state[] = {
    FIELD_SUB(struct gpex, bridge, pci_function_fields, 1),
};

const struct device_class gpex_class = {
    .name = "gpex-pcihost",
    .desc = "generic PCI Express host bridge",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct gpex),
    .state = TABLE(gpex_state),
    .realize = gpex_realize,
    .unrealize = gpex_unrealize,
    .reset = gpex_reset,
    .loaded = gpex_loaded,
};

struct error *gpex_create(struct vm *vm, gpa ecam, uint64_t ecam_size,
                          const struct pci_windows *windows, const struct irq *intx,
                          struct pci_host **out)
{
    struct device *dev = device_new(vm, &gpex_class);
    struct gpex *g = container_of(dev, struct gpex, dev);
    g->ecam_base = ecam;
    g->ecam_size = ecam_size;
    pci_host_init(&g->host, vm, "pcie.0", windows);
    memcpy(g->host.intx, intx, PCI_N_INTX * sizeof(*intx));
    struct error *err = device_realize(dev, NULL, NULL);
    if (err) {
        device_free(dev);
        return err;
    }
    *out = &g->host;
    return NULL;
}
