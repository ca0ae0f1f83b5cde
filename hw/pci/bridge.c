/* Bridges to a bus of conventional PCI: from PCI (1b36:0001), from PCI Express (1b36:000e), and the ICH9's from its
 * link to the CPU (82801I data sheet, 12), which also forwards what nobody else claims. The bus behind one is named
 * after it. There is no hot-plug controller. */
#include "hw/pci/bridge.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/internal.h"

#include <stdio.h>

enum { EXPRESS_TO_PCI = 7 }; /* port type (PCIe 5.0, 7.5.3.2) */

struct bridge_model {
    struct pci_identity identity;
    bool express, subtractive;
};

struct bridge {
    struct device dev;
    struct pci_function fn;
    struct pci_bus behind;
    uint32_t chassis; /* property */
};

static struct bridge *bridge_of(struct device *dev)
{
    return container_of(dev, struct bridge, dev);
}

struct error *pci_bridge_realize(struct pci_function *f, struct pci_bus *behind, struct device *dev,
                                 const struct pci_identity *identity)
{
    if (!dev->id)
        return error_new("a bridge needs id=: it names the bus behind it");
    if (strlen(dev->id) >= sizeof(behind->name))
        return error_new("id '%s' is longer than %zu characters", dev->id,
                         sizeof(behind->name) - 1);
    if (pci_bus_find(dev->vm, dev->id))
        return error_new("there is a PCI bus '%s' already", dev->id);
    f->secondary = behind;
    struct error *err = pci_realize(f, dev, dev->bus, identity);
    if (err)
        return err;
    snprintf(behind->name, sizeof(behind->name), "%s", dev->id);
    behind->host = f->bus->host;
    behind->bridge = f;
    return NULL;
}

/* PCI-to-PCI Bridge 1.2, 13: which box of slots it is; that it is the first there. */
static void add_chassis(struct bridge *b)
{
    enum { SLOT_NUMBERING = 0x04, FIRST_IN_CHASSIS = 1 << 5 };
    unsigned at = pci_add_capability(&b->fn, SLOT_NUMBERING, 4);
    config_set(&b->fn, at + 2, 1, FIRST_IN_CHASSIS);
    config_set(&b->fn, at + 3, 1, b->chassis);
}

static struct error *bridge_realize(struct device *dev)
{
    struct bridge *b = bridge_of(dev);
    const struct bridge_model *model = dev->cls->bus_class;
    struct error *err = pci_bridge_realize(&b->fn, &b->behind, dev, &model->identity);
    if (err)
        return err;
    b->behind.subtractive = model->subtractive;
    b->behind.no_hot_plug = "plug into a pcie-root-port that the machine was started with";
    if (model->express)
        pci_add_express(&b->fn, EXPRESS_TO_PCI, 0);
    if (b->chassis)
        add_chassis(b);
    return NULL;
}

static void bridge_unrealize(struct device *dev)
{
    pci_unrealize(&bridge_of(dev)->fn);
}

static void bridge_reset(struct device *dev)
{
    pci_reset(&bridge_of(dev)->fn);
}

static struct error *bridge_loaded(struct device *dev)
{
    pci_loaded(&bridge_of(dev)->fn);
    return NULL;
}

struct pci_bus *pci_bridge_bus(struct device *dev)
{
    return &bridge_of(dev)->behind;
}

static const struct prop plain_props[] = {
    PCI_PROPS(struct bridge, fn),
};
static const struct prop numbered_props[] = {
    PCI_PROPS(struct bridge, fn),
    PROP(struct bridge, chassis, "chassis_nr", PROP_UINT, .max = 255,
         .help = "number that tells its slots from those of others; 0: none"),
};
static const struct field bridge_state[] = {
    FIELD_SUB(struct bridge, fn, pci_function_fields, 1),
};

static const struct bridge_model pci_bridge_model = {
    .identity = { .vendor = 0x1b36, .device = 0x0001, .class_code = 0x060400, .bridge = true },
};
static const struct bridge_model pcie_pci_bridge_model = {
    .identity = { .vendor = 0x1b36, .device = 0x000e, .class_code = 0x060400, .bridge = true },
    .express = true,
};
static const struct bridge_model i82801b11_model = {
    .identity = { .vendor = 0x8086,
                  .device = 0x244e,
                  .class_code = 0x060401, /* subtractive decoding */
                  .revision = 0x92,
                  .bridge = true },
    .subtractive = true,
};

#define BRIDGE_CLASS(NAME, DESC, MODEL, PROPS)                                                  \
    {                                                                                           \
        .name = NAME, .desc = DESC, .bus = "pci", .bus_class = &(MODEL), .version = 1,          \
        .user_creatable = true, .size = sizeof(struct bridge), .props = TABLE(PROPS),           \
        .state = TABLE(bridge_state), .realize = bridge_realize, .unrealize = bridge_unrealize, \
        .reset = bridge_reset, .loaded = bridge_loaded,                                         \
    }

const struct device_class pci_bridge_class =
    BRIDGE_CLASS("pci-bridge", "bridge to another PCI bus", pci_bridge_model, numbered_props);
const struct device_class pcie_pci_bridge_class = BRIDGE_CLASS(
    "pcie-pci-bridge", "bridge from PCI Express to a PCI bus", pcie_pci_bridge_model, plain_props);
const struct device_class i82801b11_bridge_class =
    BRIDGE_CLASS("i82801b11-bridge", "ICH9's bridge to a PCI bus", i82801b11_model, plain_props);
