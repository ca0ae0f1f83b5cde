/* One PCI function: header, BARs, capabilities and what a guest may write. */
#include "hw/pci/pci.h"

#include "core/error.h"
#include "hw/pci/internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

const struct field pci_function_fields[] = {
    FIELD_RAW(struct pci_function, config),
    FIELD_RAW(struct pci_function, msix_table),
    FIELD_ARRAY(struct pci_function, msix_pending),
    FIELD(struct pci_function, intx_level, .max = 1),
};

/* ---- place on the bus ------------------------------------------------------------------------- */

/* "3", "0x1f.7": hexadecimal slot and function. */
static bool addr_parse(const char *s, unsigned *devfn)
{
    char *end;
    if (!isxdigit((unsigned char)*s))
        return false;
    unsigned long slot = strtoul(s, &end, 16), function = 0;
    if (*end == '.') {
        s = end + 1;
        if (!isdigit((unsigned char)*s))
            return false;
        function = strtoul(s, &end, 16);
    }
    if (*end || slot > 31 || function > 7)
        return false;
    *devfn = slot << 3 | function;
    return true;
}

static struct error *slot_choose(struct pci_function *f, struct pci_bus *bus)
{
    unsigned last = bus->only_slot_0 ? 0 : 31;
    for (unsigned slot = 0; slot <= last; slot++) {
        if (!bus->slots[slot << 3]) {
            f->devfn = slot << 3;
            return NULL;
        }
    }
    return error_new("bus '%s' has no free slot", bus->name);
}

static struct error *slot_check(struct pci_function *f, struct pci_bus *bus)
{
    unsigned devfn, slot;
    if (!addr_parse(f->addr, &devfn))
        return error_new(
            "addr '%s' is not slot[.function] with a slot of 0 to 1f and a function of "
            "0 to 7 (hexadecimal)",
            f->addr);
    slot = pci_slot(devfn);
    if (bus->only_slot_0 && slot)
        return error_new("addr '%s': bus '%s' has only slot 0", f->addr, bus->name);
    if (bus->slots[devfn])
        return error_new("addr '%s' on bus '%s' is taken by %s", f->addr, bus->name,
                         bus->slots[devfn]->dev->cls->name);
    f->devfn = devfn;
    struct pci_function *first = bus->slots[slot << 3];
    if (devfn & 7 && first && !first->multifunction)
        return error_new("addr '%s': function 0 of this slot (%s) needs multifunction=on", f->addr,
                         first->dev->cls->name);
    for (unsigned i = 1; i < 8 && !(devfn & 7) && !f->multifunction; i++) {
        if (bus->slots[slot << 3 | i])
            return error_new("addr '%s' needs multifunction=on: function %u exists", f->addr, i);
    }
    return NULL;
}

/* Guests look for a new device when function 0 comes: others of its slot come before it. */
static struct error *hot_plug_check(struct pci_function *f, struct device *dev, struct pci_bus *bus)
{
    if (!dev->hotplugged)
        return NULL;
    if (!bus->hot_plug)
        return error_new("Bus '%s' does not support hotplugging%s%s", bus->name,
                         bus->no_hot_plug ? ": " : "", bus->no_hot_plug ? bus->no_hot_plug : "");
    if (f->secondary)
        return error_new("a bridge cannot be plugged into bus '%s' while the guest is there",
                         bus->name);
    if (f->devfn & 7 && bus->slots[f->devfn & ~7])
        return error_new("addr '%s' on bus '%s': function 0 is there already; it is to come last",
                         f->addr, bus->name);
    return NULL;
}

static struct error *place_find(struct pci_function *f, struct device *dev, struct pci_bus *bus)
{
    bool named = f->bus_name && *f->bus_name;
    if (!bus)
        bus = pci_bus_find(dev->vm, named ? f->bus_name : NULL);
    if (!bus) {
        char *names = pci_bus_names(dev->vm);
        struct error *err = named ? error_new("no PCI bus '%s' (there is: %s)", f->bus_name,
                                              *names ? names : "none")
                                  : error_new("this machine has no PCI bus");
        free(names);
        return err;
    }
    f->bus = bus;
    struct error *err = f->addr && *f->addr ? slot_check(f, bus) : slot_choose(f, bus);
    return err ? err : hot_plug_check(f, dev, bus);
}

/* ---- header ----------------------------------------------------------------------------------- */

static void header_bridge(struct pci_function *f)
{
    config_field(f, PCI_PRIMARY_BUS, 4, 0, 0x00ffffff);
    config_field(f, PCI_IO_BASE, 1, 0, 0xf0); /* 16-bit I/O */
    config_field(f, PCI_IO_LIMIT, 1, 0, 0xf0);
    store_le(f->w1c + PCI_SECONDARY_STATUS, 2, 0xf900);
    config_field(f, PCI_MEM_BASE, 2, 0, 0xfff0);
    config_field(f, PCI_MEM_LIMIT, 2, 0, 0xfff0);
    config_field(f, PCI_PREF_BASE, 2, 1, 0xfff0); /* 64-bit */
    config_field(f, PCI_PREF_LIMIT, 2, 1, 0xfff0);
    config_field(f, PCI_PREF_BASE_HIGH, 4, 0, 0xffffffff);
    config_field(f, PCI_PREF_LIMIT_HIGH, 4, 0, 0xffffffff);
    config_field(f, PCI_BRIDGE_CONTROL, 2, 0, 0x0043); /* parity, SERR#, secondary bus reset */
}

static void header_fill(struct pci_function *f, const struct pci_identity *id)
{
    config_set(f, PCI_VENDOR_ID, 2, id->vendor);
    config_set(f, PCI_DEVICE_ID, 2, id->device);
    config_field(f, PCI_COMMAND, 2, 0,
                 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                     PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    store_le(f->w1c + PCI_STATUS, 2, 0xf900);
    config_set(f, PCI_REVISION, 1, id->revision);
    config_set(f, PCI_CLASS, 2, id->class_code & 0xffff);
    config_set(f, PCI_CLASS + 2, 1, id->class_code >> 16);
    config_field(f, PCI_CACHE_LINE, 1, 0, 0xff);
    config_set(f, PCI_HEADER_TYPE, 1, (id->bridge ? 1 : 0) | (f->multifunction ? 0x80 : 0));
    config_field(f, PCI_INTERRUPT_LINE, 1, 0, 0xff);
    config_set(f, PCI_INTERRUPT_PIN, 1, id->interrupt_pin);
    if (id->bridge) {
        header_bridge(f);
    } else {
        config_set(f, PCI_SUBSYSTEM_VENDOR, 2, id->subsystem_vendor);
        config_set(f, PCI_SUBSYSTEM_ID, 2, id->subsystem);
    }
    f->next_cap = 0x40;
    f->last_cap = PCI_CAP_POINTER;
}

struct error *pci_realize(struct pci_function *f, struct device *dev, struct pci_bus *bus,
                          const struct pci_identity *id)
{
    f->dev = dev;
    struct error *err = place_find(f, dev, bus);
    if (!err)
        err = pci_rom_open(f, id->rom);
    if (err)
        return err;
    f->writable = xcalloc(PCI_CONFIG_SIZE, 1);
    f->w1c = xcalloc(PCI_CONFIG_SIZE, 1);
    f->power_on = xcalloc(PCI_CONFIG_SIZE, 1);
    memset(f->config, 0, sizeof(f->config));
    header_fill(f, id);
    pci_rom_show(f);
    snprintf(dev->path, sizeof(dev->path), "%s/%02x.%x/%s", f->bus->name, pci_slot(f->devfn),
             f->devfn & 7, dev->cls->name);
    dev->bus = f->bus;
    dev->hot_plug = f->bus->hot_plug;
    f->bus->slots[f->devfn] = f;
    if (f->bus->changed)
        f->bus->changed(f->bus);
    return NULL;
}

void pci_unrealize(struct pci_function *f)
{
    if (!f->writable)
        return;
    device_lock(f->dev);
    pci_set_intx(f, false);
    device_unlock(f->dev);
    f->bus->slots[f->devfn] = NULL;
    if (f->bus->changed)
        f->bus->changed(f->bus);
    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        if (f->bars[i].region)
            mem_free_region(f->bars[i].region);
        f->bars[i] = (struct pci_bar){ 0 };
    }
    pci_rom_close(f);
    free(f->writable);
    free(f->w1c);
    free(f->power_on);
    f->writable = f->w1c = f->power_on = NULL;
}

void pci_reset(struct pci_function *f)
{
    pci_set_intx(f, false);
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        f->config[i] &= ~(f->writable[i] | f->w1c[i]);
    memcpy(f->power_on, f->config, PCI_CONFIG_SIZE);
    pci_msi_reset(f);
}

void pci_loaded(struct pci_function *f)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t mine = f->writable[i] | f->w1c[i];
        f->config[i] = (f->config[i] & mine) | (f->power_on[i] & ~mine);
    }
    pci_intx_update(f);
    pci_remap(f->bus->host);
}

/* ---- BARs and capabilities --------------------------------------------------------------------- */

void pci_add_bar(struct pci_function *f, unsigned n, enum pci_bar_kind kind,
                 struct mem_region *region, uint64_t size)
{
    static const uint8_t type_bits[] = {
        [PCI_BAR_MEM32] = 0x0, [PCI_BAR_MEM32_PREFETCH] = 0x8,
        [PCI_BAR_MEM64] = 0x4, [PCI_BAR_MEM64_PREFETCH] = 0xc,
        [PCI_BAR_IO] = 0x1,
    };
    bool wide = kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH;
    assert(n + wide < pci_n_bars(f) && !f->bars[n].region);
    assert(size >= (kind == PCI_BAR_IO ? 4 : 16) && !(size & (size - 1)));
    f->bars[n] = (struct pci_bar){ .region = region, .size = size, .kind = kind };
    config_field(f, PCI_BAR0 + 4 * n, 4, type_bits[kind], -size);
    if (wide)
        config_field(f, PCI_BAR0 + 4 * n + 4, 4, 0, -size >> 32);
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned n)
{
    unsigned at = f->next_cap;
    assert(at + n <= 0x100);
    f->config[f->last_cap] = at;
    config_set(f, PCI_STATUS, 2, config_get(f, PCI_STATUS, 2) | PCI_STATUS_CAPS);
    config_set(f, at, 1, id);
    f->last_cap = at + 1;
    f->next_cap = align_up(at + n, 4);
    return at;
}

/* PCIe 7.5.3: capability version 2, a link of one lane at 2.5 GT/s. */
void pci_add_express(struct pci_function *f, unsigned port_type, unsigned slot)
{
    bool port = port_type == 4, link = port_type != 9;
    unsigned at = f->express_cap = pci_add_capability(f, PCI_CAP_EXPRESS, 0x3c);
    f->express = true;
    config_set(f, at + 0x02, 2, 2 | port_type << 4 | (port ? 1 << 8 : 0));
    config_set(f, at + 0x04, 4, 1 << 15); /* role-based error reporting */
    config_field(f, at + 0x08, 2, 0, 0x7fff & ~(1 << 9));
    store_le(f->w1c + at + 0x0a, 2, 0x000f);
    if (link) {
        config_set(f, at + 0x0c, 4, 1 | 1 << 4 | (uint32_t)(slot & 0xff) << 24);
        config_field(f, at + 0x10, 2, 0, 0x00cb);
        config_set(f, at + 0x12, 2, 1 | 1 << 4);
        config_set(f, at + 0x2c, 4, 1 << 1);
        config_field(f, at + 0x30, 2, 1, 0);
    }
    if (port) {
        config_set(f, at + 0x14, 4, (uint32_t)(slot & 0x1fff) << 19);
        config_field(f, at + 0x1c, 2, 0, 0x000f);
        store_le(f->w1c + at + 0x22, 1, 0x01); /* PME status, bit 16 of the root status */
    }
}

/* A bridge should forward upstream only what its own bit allows, too; but SeaBIOS boots from devices behind
 * bridges without setting it. */
bool pci_may_master(const struct pci_function *f)
{
    return config_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* ---- configuration cycles ---------------------------------------------------------------------- */

enum { EFFECT_REMAP = 1 << 0, EFFECT_RESET_BELOW = 1 << 1 };

static bool overlaps(unsigned off, unsigned n, unsigned from, unsigned len)
{
    return off < from + len && from < off + n;
}

/* Registers whose change moves BARs. */
static bool moves_bars(const struct pci_function *f, unsigned off, unsigned n)
{
    if (overlaps(off, n, PCI_COMMAND, 2) || overlaps(off, n, PCI_BAR0, 4 * pci_n_bars(f)) ||
        pci_rom_is_register(f, off, n))
        return true;
    return f->secondary && overlaps(off, n, PCI_IO_BASE, PCI_CAP_POINTER - PCI_IO_BASE);
}

static unsigned config_store(struct pci_function *f, unsigned off, unsigned n, uint32_t value)
{
    uint8_t before[4];
    memcpy(before, f->config + off, n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t v = value >> 8 * i, mask = f->writable[off + i];
        uint8_t kept = f->config[off + i] & ~mask & ~(v & f->w1c[off + i]);
        f->config[off + i] = kept | (v & mask);
    }
    bool changed = memcmp(before, f->config + off, n);
    unsigned effect = changed && moves_bars(f, off, n) ? EFFECT_REMAP : 0;
    unsigned control = PCI_BRIDGE_CONTROL;
    if (f->secondary && overlaps(off, n, control, 1) && config_get(f, control, 1) & 0x40 &&
        !(before[control - off] & 0x40))
        effect |= EFFECT_RESET_BELOW | EFFECT_REMAP;
    pci_intx_update(f);
    pci_msi_written(f, off, n);
    if (f->config_written)
        f->config_written(f, off, n);
    return effect;
}

static struct pci_bus *bus_numbered(struct pci_host *h, unsigned number)
{
    struct pci_bus *bus = number ? NULL : &h->root, *at = &h->root;
    while (!bus && at) {
        struct pci_bus *below = NULL;
        for (unsigned i = 0; i < ARRAY_LEN(at->slots) && !below; i++) {
            struct pci_function *f = at->slots[i];
            if (f && f->secondary && f->config[PCI_SECONDARY_BUS] &&
                f->config[PCI_SECONDARY_BUS] <= number && number <= f->config[PCI_SUBORDINATE_BUS])
                below = f->secondary;
        }
        if (below && below->bridge->config[PCI_SECONDARY_BUS] == number)
            bus = below;
        at = below;
    }
    return bus;
}

static struct pci_function *function_at(struct pci_host *h, unsigned bus, unsigned devfn,
                                        unsigned off, unsigned n)
{
    struct pci_bus *b = bus_numbered(h, bus);
    struct pci_function *f = b ? b->slots[devfn & 0xff] : NULL;
    if (!f || !f->dev->realized || f->hidden)
        return NULL;
    return off + n <= (f->express ? PCI_CONFIG_SIZE : 256) ? f : NULL;
}

uint32_t pci_config_read(struct pci_host *h, unsigned bus, unsigned devfn, unsigned off, unsigned n)
{
    struct pci_function *f = function_at(h, bus, devfn, off, n);
    if (!f)
        return 0xffffffffu >> (32 - 8 * n);
    device_lock(f->dev);
    if (f->config_reading)
        f->config_reading(f, off, n);
    uint32_t value = config_get(f, off, n);
    device_unlock(f->dev);
    return value;
}

void pci_reset_below(struct pci_bus *bus)
{
    for (unsigned i = 0; i < ARRAY_LEN(bus->slots); i++) {
        struct pci_function *f = bus->slots[i];
        if (!f || !f->dev->realized)
            continue;
        device_reset(f->dev);
        if (f->secondary)
            pci_reset_below(f->secondary);
    }
}

void pci_config_write(struct pci_host *h, unsigned bus, unsigned devfn, unsigned off, unsigned n,
                      uint32_t value)
{
    struct pci_function *f = function_at(h, bus, devfn, off, n);
    if (!f)
        return;
    device_lock(f->dev);
    unsigned effect = config_store(f, off, n, value);
    device_unlock(f->dev);
    if (effect & EFFECT_RESET_BELOW)
        pci_reset_below(f->secondary);
    if (effect & EFFECT_REMAP)
        pci_remap(h);
    if (f->config_settled)
        f->config_settled(f, off, n);
}
