#include "hw/pci/acpi_pcihp.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/pci/internal.h"
#include "hw/place.h"

enum { N_SLOTS = 32 };
#define ASK_AGAIN_NS (5 * NS_PER_S) /* a guest that did nothing that long may be asked again */

struct pcihp {
    struct device dev;
    uint32_t iobase; /* property */
    struct pci_bus *bus;
    struct irq gpe;
    struct mem_region *ports;
    uint32_t up, down, selected;
    uint32_t let_go;               /* slots to be emptied by the main loop */
    uint64_t asked_at_ns[N_SLOTS]; /* host clock */
};

static struct pcihp *pcihp_of(struct device *dev)
{
    return container_of(dev, struct pcihp, dev);
}

static void tell_guest(struct pcihp *h)
{
    irq_set(&h->gpe, true); /* latched when it rises */
    irq_set(&h->gpe, false);
}

static bool slot_may_go(const struct pcihp *h, unsigned slot)
{
    const struct pci_function *f = h->bus ? h->bus->slots[slot << 3] : NULL;
    return f && f->dev->realized && f->dev->hot_plug && f->dev->cls->can_hot_plug;
}

/* ---- coming and going; main loop's thread -------------------------------------------------------- */

static void empty_slots(void *opaque)
{
    struct pcihp *h = opaque;
    device_lock(&h->dev);
    uint32_t slots = h->let_go;
    h->let_go = 0;
    device_unlock(&h->dev);
    for (unsigned devfn = 255; slots && devfn > 0; devfn--) {
        struct pci_function *f = h->bus->slots[devfn];
        if (slots >> pci_slot(devfn) & 1 && f && f->dev->realized)
            device_unplugged(f->dev);
    }
}

/* Guests look at a slot when function 0 is there: others of it come before. */
static void slot_plugged(struct device *dev)
{
    const struct pci_bus *bus = dev->bus;
    struct pcihp *h = pcihp_of(bus->plugger);
    unsigned devfn = pci_devfn_of(bus, dev);
    device_lock(&h->dev);
    if (!(devfn & 7)) {
        h->up |= 1u << pci_slot(devfn);
        tell_guest(h);
    }
    device_unlock(&h->dev);
}

static struct error *slot_unplug(struct device *dev)
{
    const struct pci_bus *bus = dev->bus;
    struct pcihp *h = pcihp_of(bus->plugger);
    unsigned slot = pci_slot(pci_devfn_of(bus, dev));
    struct error *err = NULL;
    if (!bus->slots[slot << 3]) { /* the guest never saw it */
        device_unplugged(dev);
        return NULL;
    }
    if (!slot_may_go(h, slot))
        return error_new("function 0 of the slot of '%s' does not support hotplugging",
                         dev->cls->name);
    device_lock(&h->dev);
    uint64_t now = host_now_ns();
    if (h->down >> slot & 1 && now - h->asked_at_ns[slot] < ASK_AGAIN_NS) {
        err = error_new("Device %s is already in the process of unplug", dev->id ? dev->id : "");
    } else {
        h->down |= 1u << slot;
        h->asked_at_ns[slot] = now;
        tell_guest(h);
    }
    device_unlock(&h->dev);
    return err;
}

static const struct hot_plug acpi_hot_plug = { slot_plugged, slot_unplug };

/* ---- the guest's part; lock held ----------------------------------------------------------------- */

static void go(struct pcihp *h, uint32_t slots)
{
    if (!slots || !h->bus)
        return;
    for (unsigned devfn = 0; devfn < N_SLOTS << 3; devfn++)
        if (slots >> pci_slot(devfn) & 1 && h->bus->slots[devfn])
            h->bus->slots[devfn]->hidden = true;
    h->down &= ~slots;
    h->let_go |= slots;
    loop_post(h->dev.vm->loop, empty_slots, h);
}

static uint32_t register_read(struct pcihp *h, unsigned off)
{
    uint32_t value = 0;
    if (off == PCIHP_BUS)
        return h->selected;
    if (h->selected)
        return 0;
    switch (off) {
    case PCIHP_UP:
        value = h->up;
        h->up = 0;
        break;
    case PCIHP_DOWN: value = h->down; break;
    case PCIHP_MAY_GO:
        for (unsigned slot = 0; slot < N_SLOTS; slot++)
            value |= (uint32_t)slot_may_go(h, slot) << slot;
        break;
    default: break;
    }
    return value;
}

static uint64_t pcihp_read(void *opaque, uint64_t off, unsigned size)
{
    struct pcihp *h = opaque;
    device_lock(&h->dev);
    uint32_t value = register_read(h, (unsigned)off);
    device_unlock(&h->dev);
    return value;
}

/* What nobody wants out stays: the guest finds it again when it looks. */
static void pcihp_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pcihp *h = opaque;
    device_lock(&h->dev);
    if (off == PCIHP_BUS)
        h->selected = (uint32_t)value;
    else if (off == PCIHP_EJECT && !h->selected)
        go(h, (uint32_t)value & h->down);
    device_unlock(&h->dev);
}

static const struct mmio_ops pcihp_ops = { pcihp_read, pcihp_write, 4, 4, NULL };

/* ---- life ------------------------------------------------------------------------------------------ */

void acpi_pcihp_attach(struct device *dev, struct pci_bus *bus, struct irq gpe)
{
    struct pcihp *h = pcihp_of(dev);
    h->bus = bus;
    h->gpe = gpe;
    bus->hot_plug = &acpi_hot_plug;
    bus->plugger = dev;
}

static struct error *pcihp_realize(struct device *dev)
{
    struct pcihp *h = pcihp_of(dev);
    h->ports = mem_add_mmio(dev->vm, dev->cls->name, PCIHP_SIZE, &pcihp_ops, h);
    place_ports(h->ports, h->iobase);
    return NULL;
}

static void pcihp_unrealize(struct device *dev)
{
    struct pcihp *h = pcihp_of(dev);
    h->let_go = 0;
    if (loop_is_mine(dev->vm->loop))
        loop_sync(dev->vm->loop); /* empty_slots may wait there */
    mem_free_region(h->ports);
}

/* What is to go goes now. */
static void pcihp_reset(struct device *dev)
{
    struct pcihp *h = pcihp_of(dev);
    h->up = h->selected = 0;
    go(h, h->down);
    h->down = 0;
}

static const struct prop pcihp_props[] = { PORT_PROP(struct pcihp, iobase, "iobase") };
static const struct field pcihp_state[] = {
    FIELD(struct pcihp, up),
    FIELD(struct pcihp, down),
    FIELD(struct pcihp, selected),
    DERIVED(struct pcihp, let_go),
};

const struct device_class acpi_pcihp_class = {
    .name = "acpi-pci-hotplug",
    .desc = "says which PCI slots have changed",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct pcihp),
    .props = TABLE(pcihp_props),
    .state = TABLE(pcihp_state),
    .realize = pcihp_realize,
    .unrealize = pcihp_unrealize,
    .reset = pcihp_reset,
};
