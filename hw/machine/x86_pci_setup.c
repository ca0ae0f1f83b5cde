/* Bus numbers, BARs and interrupt lines, by configuration cycles as firmware does it. PCI Local Bus 3.0, 6.2.5
 * (BARs); PCI-to-PCI Bridge 1.2, 3.2 (windows). */
#include "hw/machine/x86_pci_setup.h"

#include "hw/pci/pci.h"

enum { N_SLOTS = 32, N_FUNCTIONS = 8, N_BUSES = 256 };
enum { HEADER_MULTI = 0x80, HEADER_BRIDGE = 1 };
enum { BAR_IO = 1 << 0, BAR_64 = 1 << 2 };
enum { IO_GRANULE = 4096, MEMORY_GRANULE = 1024 * 1024 };

struct walk {
    struct pci_host *host;
    const struct x86_pci_setup *setup;
    uint64_t io, memory; /* next free */
    unsigned last_bus;
};

/* A function, and where interrupt pins of its bus come out at bus 0. */
struct place {
    unsigned bus, devfn;
    unsigned root_slot,
        rotation; /* of the bridge on bus 0; bus 0 itself: rotation 0, slot is the function's */
};

static uint32_t get(const struct walk *w, const struct place *p, unsigned off, unsigned n)
{
    return pci_config_read(w->host, p->bus, p->devfn, off, n);
}

static void put(const struct walk *w, const struct place *p, unsigned off, unsigned n,
                uint32_t value)
{
    pci_config_write(w->host, p->bus, p->devfn, off, n, value);
}

/* Room of `size` bytes up to `end`; false if there is none. */
static bool take(uint64_t *next, uint64_t end, uint64_t size, uint64_t *at)
{
    *at = align_up(*next, size);
    if (*at > end || size > end - *at)
        return false;
    *next = *at + size;
    return true;
}

/* Place BAR n; returns how many registers it has. */
static unsigned place_bar(struct walk *w, const struct place *p, unsigned n, uint32_t *command)
{
    unsigned off = PCI_BAR0 + 4 * n;
    uint64_t at;
    put(w, p, off, 4, UINT32_MAX);
    uint32_t mask = get(w, p, off, 4);
    bool io = mask & BAR_IO, wide = !io && mask & BAR_64;
    put(w, p, off, 4, 0);
    if (!mask)
        return 1;
    uint64_t sizes = (mask & (io ? 0xfffffffc : 0xfffffff0)) | (uint64_t)UINT32_MAX << 32;
    if (io && !(mask >> 16)) /* a device with 16 address lines */
        sizes |= 0xffff0000;
    if (wide) {
        put(w, p, off + 4, 4, UINT32_MAX);
        sizes = (uint32_t)sizes | (uint64_t)get(w, p, off + 4, 4) << 32;
        put(w, p, off + 4, 4, 0);
    }
    uint64_t size = -sizes;
    bool placed = size && (io ? take(&w->io, w->setup->io_end, size, &at)
                              : take(&w->memory, w->setup->memory_end, size, &at));
    if (placed) {
        put(w, p, off, 4, (uint32_t)at);
        *command |= io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    }
    return wide ? 2 : 1;
}

static void place_interrupt(const struct walk *w, const struct place *p)
{
    unsigned pin = get(w, p, PCI_INTERRUPT_PIN, 1), slot = p->devfn / N_FUNCTIONS;
    if (!pin)
        return;
    bool on_root = p->bus == 0;
    pin = on_root ? pin - 1 : (pin - 1 + slot + p->rotation) % PCI_N_INTX;
    uint8_t irq = w->setup->irq_of(w->setup->opaque, on_root ? slot : p->root_slot, pin);
    put(w, p, PCI_INTERRUPT_LINE, 1, irq);
}

static void scan_bus(struct walk *w, const struct place *first);

/* Everything behind the bridge, then its windows around that. Prefetchable memory is placed with the rest. */
static void place_bridge(struct walk *w, const struct place *p)
{
    unsigned bus = ++w->last_bus, slot = p->devfn / N_FUNCTIONS;
    bool on_root = p->bus == 0;
    struct place first = { .bus = bus,
                           .root_slot = on_root ? slot : p->root_slot,
                           .rotation = on_root ? 0 : p->rotation + slot };
    w->io = align_up(w->io, IO_GRANULE);
    w->memory = align_up(w->memory, MEMORY_GRANULE);
    uint64_t io = w->io, memory = w->memory;
    put(w, p, PCI_PRIMARY_BUS, 1, p->bus);
    put(w, p, PCI_SECONDARY_BUS, 1, bus);
    put(w, p, PCI_SUBORDINATE_BUS, 1, N_BUSES - 1);
    scan_bus(w, &first);
    put(w, p, PCI_SUBORDINATE_BUS, 1, w->last_bus);
    w->io = MIN(align_up(w->io, IO_GRANULE), w->setup->io_end);
    w->memory = MIN(align_up(w->memory, MEMORY_GRANULE), w->setup->memory_end);

    bool has_io = w->io > io, has_memory = w->memory > memory; /* base above limit: closed */
    put(w, p, PCI_IO_BASE, 1, has_io ? (io >> 8) & 0xf0 : 0xf0);
    put(w, p, PCI_IO_LIMIT, 1, has_io ? ((w->io - 1) >> 8) & 0xf0 : 0);
    put(w, p, PCI_MEM_BASE, 2, has_memory ? (uint32_t)(memory >> 16) & 0xfff0 : 0xfff0);
    put(w, p, PCI_MEM_LIMIT, 2, has_memory ? (uint32_t)((w->memory - 1) >> 16) & 0xfff0 : 0);
    put(w, p, PCI_PREF_BASE, 2, 0xfff0);
    put(w, p, PCI_PREF_LIMIT, 2, 0);
}

static void place_function(struct walk *w, const struct place *p, bool bridge)
{
    uint32_t command = get(w, p, PCI_COMMAND, 2);
    put(w, p, PCI_COMMAND, 2, command & ~(uint32_t)(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (unsigned n = 0, n_bars = bridge ? 2 : PCI_N_BARS; n < n_bars;)
        n += place_bar(w, p, n, &command);
    place_interrupt(w, p);
    if (bridge && w->last_bus < N_BUSES - 1) {
        place_bridge(w, p);
        command |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    }
    put(w, p, PCI_COMMAND, 2, command);
}

static void scan_bus(struct walk *w, const struct place *first)
{
    for (unsigned slot = 0; slot < N_SLOTS; slot++) {
        unsigned n = 1;
        for (unsigned function = 0; function < n; function++) {
            struct place p = *first;
            p.devfn = slot * N_FUNCTIONS + function;
            if (get(w, &p, PCI_VENDOR_ID, 2) == 0xffff)
                continue;
            uint32_t header = get(w, &p, PCI_HEADER_TYPE, 1);
            if (function == 0 && header & HEADER_MULTI)
                n = N_FUNCTIONS;
            place_function(w, &p, (header & 0x7f) == HEADER_BRIDGE);
        }
    }
}

void x86_pci_setup(struct pci_host *host, const struct x86_pci_setup *setup)
{
    struct walk w = { .host = host, .setup = setup, .io = setup->io, .memory = setup->memory };
    scan_bus(&w, &(struct place){ 0 });
}
