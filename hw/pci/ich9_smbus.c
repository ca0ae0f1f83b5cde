/* ICH9's SMBus controller as a PCI function. Section numbers: 82801I (ICH9) data sheet. */
#include "hw/misc/smbus.h"
#include "hw/pci/internal.h"

enum { HOSTC = 0x40, HST_EN = 1 << 0, HOSTC_BITS = 7, SMB_BASE = 4 }; /* 20.1 */

struct ich9_smbus {
    struct device dev;
    struct pci_function fn;
    struct smbus bus;
};

struct smbus *ich9_smbus_of(struct device *dev)
{
    return &((struct ich9_smbus *)dev)->bus;
}

static void interrupt(void *opaque, unsigned n, bool level)
{
    pci_set_intx(opaque, level);
}

static void follow(struct pci_function *f, unsigned off, unsigned n)
{
    container_of(f, struct ich9_smbus, fn)->bus.enabled = f->config[HOSTC] & HST_EN;
}

static struct error *smbus_realize(struct device *dev)
{
    struct ich9_smbus *s = (struct ich9_smbus *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x2930,
        .revision = 2,
        .class_code = 0x0c0500,
        .interrupt_pin = 1,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&s->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    smbus_init(&s->bus, dev, true);
    s->bus.interrupt = (struct irq){ interrupt, &s->fn, 0 };
    pci_add_bar(&s->fn, SMB_BASE, PCI_BAR_IO, s->bus.ports, ICH9_SMBUS_SIZE);
    config_field(&s->fn, HOSTC, 1, 0, HOSTC_BITS);
    s->fn.config_written = follow;
    return NULL;
}

static void smbus_unrealize(struct device *dev)
{
    pci_unrealize(&((struct ich9_smbus *)dev)->fn); /* its BAR, too */
}

static void reset(struct device *dev)
{
    struct ich9_smbus *s = (struct ich9_smbus *)dev;
    pci_reset(&s->fn);
    config_field(&s->fn, HOSTC, 1, 0, HOSTC_BITS);
    follow(&s->fn, 0, 0);
    smbus_reset(&s->bus);
}

static struct error *loaded(struct device *dev)
{
    struct ich9_smbus *s = (struct ich9_smbus *)dev;
    pci_loaded(&s->fn);
    follow(&s->fn, 0, 0);
    return smbus_loaded(&s->bus);
}

static const struct prop smbus_props[] = { PCI_PROPS(struct ich9_smbus, fn) };
static const struct field smbus_state[] = {
    FIELD_SUB(struct ich9_smbus, fn, pci_function_fields, 1),
    FIELD_SUB(struct ich9_smbus, bus, smbus_fields, 1),
};

const struct device_class ich9_smbus_class = {
    .name = "ICH9-SMB",
    .desc = "ICH9's SMBus controller, with the memory modules' EEPROMs",
    .bus = "pci",
    .version = 1,
    .size = sizeof(struct ich9_smbus),
    .props = TABLE(smbus_props),
    .state = TABLE(smbus_state),
    .realize = smbus_realize,
    .unrealize = smbus_unrealize,
    .reset = reset,
    .loaded = loaded,
};
