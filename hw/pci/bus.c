/* Buses and hosts: names, where BARs appear in the physical map, where interrupt pins lead. */
#include "core/vm.h"
#include "hw/pci/bridge.h"
#include "hw/pci/gpex.h"
#include "hw/pci/internal.h"
#include "hw/pci/pc_host.h"
#include "hw/pci/root_port.h"

#include <stdio.h>
#include <stdlib.h>

void pci_host_init(struct pci_host *h, struct vm *vm, const char *name,
                   const struct pci_windows *windows)
{
    h->vm = vm;
    h->windows = *windows;
    h->root.host = h;
    h->root.no_hot_plug = strncmp(name, "pcie", 4)
                              ? "that is done by ACPI, which is off"
                              : "plug into a pcie-root-port that the machine was started with";
    snprintf(h->root.name, sizeof(h->root.name), "%s", name);
    pthread_mutex_init(&h->intx_lock, NULL);
}

void pci_host_free(struct pci_host *h)
{
    pthread_mutex_destroy(&h->intx_lock);
}

/* ---- finding a bus ----------------------------------------------------------------------------- */

/* Every class of device that has a PCI bus behind it. */
static const struct {
    const struct device_class *cls;
    struct pci_bus *(*bus)(struct device *dev);
} bus_owners[] = {
    { &gpex_class, gpex_bus },
    { &q35_host_class, pc_host_bus },
    { &i440fx_host_class, pc_host_bus },
    { &root_port_class, root_port_bus },
    { &pci_bridge_class, pci_bridge_bus },
    { &pcie_pci_bridge_class, pci_bridge_bus },
    { &i82801b11_bridge_class, pci_bridge_bus },
};

struct pci_bus *pci_bus_behind(struct device *dev)
{
    for (size_t i = 0; i < ARRAY_LEN(bus_owners); i++) {
        if (dev->cls == bus_owners[i].cls)
            return dev->realized ? bus_owners[i].bus(dev) : NULL;
    }
    return NULL;
}

struct pci_bus *pci_bus_find(struct vm *vm, const char *name)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        struct pci_bus *bus = pci_bus_behind(dev);
        if (bus && (name ? !strcmp(bus->name, name) : !bus->bridge))
            return bus;
    }
    return NULL;
}

char *pci_bus_names(struct vm *vm)
{
    char *names = xstrdup("");
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        struct pci_bus *bus = pci_bus_behind(dev);
        if (!bus)
            continue;
        char *more = xasprintf("%s%s%s", names, *names ? ", " : "", bus->name);
        free(names);
        names = more;
    }
    return names;
}

unsigned pci_devfn_of(const struct pci_bus *bus, const struct device *dev)
{
    unsigned devfn = 0;
    while (!bus->slots[devfn] || bus->slots[devfn]->dev != dev)
        devfn++;
    return devfn;
}

/* ---- BARs in the physical map ------------------------------------------------------------------ */

/* pci_remap reads registers without their lock: a value torn by a concurrent write is corrected by the
 * pci_remap that follows that write. */
static uint32_t config_peek(const struct pci_function *f, unsigned off, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint32_t)__atomic_load_n(&f->config[off + i], __ATOMIC_RELAXED) << 8 * i;
    return v;
}

static bool inside(uint64_t at, uint64_t size, uint64_t base, uint64_t last)
{
    return base <= last && at >= base && at <= last && size - 1 <= last - at;
}

static bool window_has(uint64_t at, uint64_t size, uint64_t base, uint64_t window_size)
{
    return window_size && inside(at, size, base, base + window_size - 1);
}

/* Does the bridge forward [at, at+size) downstream? (PCI-to-PCI Bridge 1.2, 3.2.5) */
static bool bridge_forwards(const struct pci_function *b, bool io, uint64_t at, uint64_t size)
{
    unsigned command = config_peek(b, PCI_COMMAND, 2);
    if (b->secondary->subtractive)
        return command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    if (io)
        return command & PCI_COMMAND_IO &&
               inside(at, size, (config_peek(b, PCI_IO_BASE, 1) & 0xf0) << 8,
                      (config_peek(b, PCI_IO_LIMIT, 1) & 0xf0) << 8 | 0xfff);
    if (!(command & PCI_COMMAND_MEMORY))
        return false;
    if (inside(at, size, (uint64_t)(config_peek(b, PCI_MEM_BASE, 2) & 0xfff0) << 16,
               (uint64_t)(config_peek(b, PCI_MEM_LIMIT, 2) & 0xfff0) << 16 | 0xfffff))
        return true;
    uint64_t base = (uint64_t)(config_peek(b, PCI_PREF_BASE, 2) & 0xfff0) << 16 |
                    (uint64_t)config_peek(b, PCI_PREF_BASE_HIGH, 4) << 32;
    uint64_t last = (uint64_t)(config_peek(b, PCI_PREF_LIMIT, 2) & 0xfff0) << 16 | 0xfffff |
                    (uint64_t)config_peek(b, PCI_PREF_LIMIT_HIGH, 4) << 32;
    return inside(at, size, base, last);
}

/* Memory at [at, at+size) as the host and every bridge on the way let it through. */
static bool memory_reaches(const struct pci_function *f, uint64_t at, uint64_t size)
{
    const struct pci_windows *w = &f->bus->host->windows;
    for (const struct pci_function *b = f->bus->bridge; b; b = b->bus->bridge) {
        if (!bridge_forwards(b, false, at, size))
            return false;
    }
    return window_has(at, size, w->mem32_base, w->mem32_size) ||
           window_has(at, size, w->mem64_base, w->mem64_size);
}

/* The guest physical address at which this BAR is to be seen; false if nowhere. */
static bool bar_address(const struct pci_function *f, unsigned n, gpa *out)
{
    const struct pci_bar *bar = &f->bars[n];
    const struct pci_windows *w = &f->bus->host->windows;
    bool io = bar->kind == PCI_BAR_IO;
    unsigned command = config_peek(f, PCI_COMMAND, 2);
    if (!(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
        return false;
    uint64_t at = config_peek(f, PCI_BAR0 + 4 * n, 4);
    if (bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH)
        at |= (uint64_t)config_peek(f, PCI_BAR0 + 4 * n + 4, 4) << 32;
    at &= -bar->size;
    *out = at;
    if (!io)
        return memory_reaches(f, at, bar->size);
    for (const struct pci_function *b = f->bus->bridge; b; b = b->bus->bridge) {
        if (!bridge_forwards(b, io, at, bar->size))
            return false;
    }
    *out = w->io_base + at;
    return window_has(at, bar->size, 0, w->io_size);
}

static void rom_remap(struct pci_function *f)
{
    uint32_t value = config_peek(f, pci_rom_register(f), 4);
    gpa at = value & -f->rom.size;
    bool wanted = value & PCI_ROM_ENABLE && config_peek(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY &&
                  memory_reaches(f, at, f->rom.size);
    if (wanted == f->rom.mapped && (!wanted || at == f->rom.mapped_at))
        return;
    if (f->rom.mapped)
        mem_unmap(f->rom.region);
    if (wanted)
        mem_map(f->rom.region, at, 1);
    f->rom.mapped = wanted;
    f->rom.mapped_at = at;
}

static void function_remap(struct pci_function *f)
{
    if (f->rom.region)
        rom_remap(f);
    for (unsigned i = 0; i < pci_n_bars(f); i++) {
        struct pci_bar *bar = &f->bars[i];
        gpa at = 0;
        if (!bar->region)
            continue;
        bool wanted = bar_address(f, i, &at);
        if (wanted == bar->mapped && (!wanted || at == bar->mapped_at))
            continue;
        if (bar->mapped)
            mem_unmap(bar->region);
        if (wanted && bar->kind == PCI_BAR_IO && f->bus->host->windows.has_ports)
            mem_map_ports(bar->region, (uint16_t)at, -2); /* below the board's */
        else if (wanted)
            mem_map(bar->region, at, 1);
        bar->mapped = wanted;
        bar->mapped_at = at;
    }
}

static void bus_remap(struct pci_bus *bus)
{
    for (unsigned i = 0; i < ARRAY_LEN(bus->slots); i++) {
        struct pci_function *f = bus->slots[i];
        if (!f)
            continue;
        function_remap(f);
        if (f->secondary)
            bus_remap(f->secondary);
    }
}

/* A lock here could hang: mem_map waits for all vCPUs, one of which could wait for the lock. */
void pci_follow(_Atomic uint32_t *wanted, void (*follow)(void *opaque), void *opaque)
{
    uint32_t seen = atomic_fetch_add(wanted, 1) + 1;
    if (seen != 1)
        return;
    do {
        seen = atomic_load(wanted);
        follow(opaque);
    } while (!atomic_compare_exchange_strong(wanted, &seen, 0));
}

static void remap_all(void *opaque)
{
    bus_remap(opaque);
}

void pci_remap(struct pci_host *h)
{
    pci_follow(&h->remap_wanted, remap_all, &h->root);
}

/* ---- interrupt pins ---------------------------------------------------------------------------- */

/* Each slot rotates the pins, at every bridge on the way up (PCI-to-PCI Bridge 1.2, 9.1). */
static unsigned line_at_host(const struct pci_function *f)
{
    unsigned pin = f->config[PCI_INTERRUPT_PIN] - 1;
    for (; f->bus->bridge; f = f->bus->bridge)
        pin += pci_slot(f->devfn);
    unsigned slot = pci_slot(f->devfn);
    const struct pci_host *h = f->bus->host;
    return h->line_of ? h->line_of(slot, pin % PCI_N_INTX) : (pin + slot) % PCI_N_INTX;
}

void pci_intx_update(struct pci_function *f)
{
    bool level = f->intx_level && !(config_get(f, PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF);
    unsigned status = config_get(f, PCI_STATUS, 2) & ~PCI_STATUS_INTX;
    config_set(f, PCI_STATUS, 2, status | (f->intx_level ? PCI_STATUS_INTX : 0));
    if (level == f->intx_sent || !f->config[PCI_INTERRUPT_PIN])
        return;
    f->intx_sent = level;
    struct pci_host *h = f->bus->host;
    unsigned pin = line_at_host(f);
    pthread_mutex_lock(&h->intx_lock);
    h->intx_count[pin] += level ? 1 : -1;
    if (h->intx_count[pin] == (level ? 1 : 0))
        irq_set(&h->intx[pin], level);
    pthread_mutex_unlock(&h->intx_lock);
}

void pci_set_intx(struct pci_function *f, bool level)
{
    f->intx_level = level;
    pci_intx_update(f);
}
