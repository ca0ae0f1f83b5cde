/* pcie-root-port: 1b36:000c, a type 1 function whose secondary bus is named after the port's id. Its
 * slot tells whether a device is there; nothing can be plugged while the guest runs. */
#include "hw/pci/root_port.h"

#include "core/error.h"
#include "hw/pci/internal.h"

#include <stdio.h>

struct root_port {
    struct device dev;
    struct pci_function fn;
    struct pci_bus link;
    uint32_t port, chassis, slot; /* properties; port and chassis only tell ports apart */
};

enum { SLOT_STATUS = 0x1a, SLOT_PRESENT = 1 << 6 };

static void presence_show(struct pci_function *f, unsigned off, unsigned n)
{
    config_set(f, f->express_cap + SLOT_STATUS, 2, f->secondary->slots[0] ? SLOT_PRESENT : 0);
}

static struct error *root_port_realize(struct device *dev)
{
    struct root_port *p = container_of(dev, struct root_port, dev);
    static const struct pci_identity identity = {
        .vendor = 0x1b36,
        .device = 0x000c,
        .class_code = 0x060400,
        .interrupt_pin = 1,
        .bridge = true,
    };
    if (!dev->id)
        return error_new("a root port needs id=: it names the bus behind it");
    if (strlen(dev->id) >= sizeof(p->link.name))
        return error_new("id '%s' is longer than %zu characters", dev->id,
                         sizeof(p->link.name) - 1);
    if (pci_bus_find(dev->vm, dev->id))
        return error_new("there is a PCI bus '%s' already", dev->id);
    p->fn.secondary = &p->link;
    struct error *err = pci_realize(&p->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    snprintf(p->link.name, sizeof(p->link.name), "%s", dev->id);
    p->link.host = p->fn.bus->host;
    p->link.bridge = &p->fn;
    p->link.only_slot_0 = true;
    p->fn.config_reading = presence_show;
    pci_add_express(&p->fn, 4, p->slot);
    pci_add_msi(&p->fn);
    return NULL;
}

static void root_port_unrealize(struct device *dev)
{
    pci_unrealize(&container_of(dev, struct root_port, dev)->fn);
}

static void root_port_reset(struct device *dev)
{
    pci_reset(&container_of(dev, struct root_port, dev)->fn);
}

static struct error *root_port_loaded(struct device *dev)
{
    pci_loaded(&container_of(dev, struct root_port, dev)->fn);
    return NULL;
}

struct pci_bus *root_port_bus(struct device *dev)
{
    return &container_of(dev, struct root_port, dev)->link;
}

static const struct prop root_port_props[] = {
    PCI_PROPS(struct root_port, fn),
    PROP(struct root_port, port, "port", PROP_UINT, .max = 255),
    PROP(struct root_port, chassis, "chassis", PROP_UINT, .max = 255),
    PROP(struct root_port, slot, "slot", PROP_UINT, .max = 0x1fff, .help = "physical slot number"),
};
static const struct field root_port_state[] = {
    FIELD_SUB(struct root_port, fn, pci_function_fields, 1),
};

const struct device_class root_port_class = {
    .name = "pcie-root-port",
    .desc = "PCI Express root port",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct root_port),
    .props = TABLE(root_port_props),
    .state = TABLE(root_port_state),
    .realize = root_port_realize,
    .unrealize = root_port_unrealize,
    .reset = root_port_reset,
    .loaded = root_port_loaded,
};
