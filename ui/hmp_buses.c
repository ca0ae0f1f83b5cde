/* What is plugged in where, for a person. */
#include "core/device.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/pci/pci.h"
#include "hw/storage/ide.h"
#include "hw/usb/usb.h"
#include "hw/virtio/virtio.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"

#include <inttypes.h>

/* The device whose bus this one is on; NULL: it is the board's. */
static struct device *carrier_of(struct device *dev)
{
    unsigned bus, unit;
    struct device *hba = dev->parent ? dev->parent : ide_drive_controller(dev, &bus, &unit);
    for (struct device *d = dev->vm->devices; d && !hba; d = d->next)
        if (d != dev && dev->bus && pci_bus_behind(d) == dev->bus)
            hba = d;
    return hba;
}

static const char *bus_name(struct device *carrier)
{
    const struct pci_bus *pci = pci_bus_behind(carrier);
    const struct usb_bus *usb = usb_bus_of(carrier);
    return pci ? pci->name : usb ? usb->name : carrier->id ? carrier->id : carrier->path;
}

static void print_device(struct hmp_call *c, struct device *dev, int indent, bool brief)
{
    hmp_say(c, "%*sdev: %s, id \"%s\", at %s%s", indent, "", dev->cls->name, dev->id ? dev->id : "",
            dev->path, dev->broken ? " (broken by the guest)" : "");
    for (size_t i = 0; i < dev->cls->props.n && !brief; i++) {
        char value[256];
        if (device_get(dev, dev->cls->props.at[i].name, value, sizeof(value)) && *value)
            hmp_say(c, "%*s%s = %s", indent + 2, "", dev->cls->props.at[i].name, value);
    }
}

/* No deeper than the command line or a person plugged bridges into bridges. */
static void print_bus(struct hmp_call *c, struct device *carrier, int indent, bool brief)
{
    bool first = true;
    for (struct device *d = c->vm->devices; d; d = d->next) {
        if (carrier_of(d) != carrier)
            continue;
        if (first && carrier)
            hmp_say(c, "%*sbus: %s, type %s", indent, "", bus_name(carrier), d->cls->bus);
        else if (first)
            hmp_say(c, "bus: main-system-bus");
        first = false;
        print_device(c, d, indent + 2, brief);
        print_bus(c, d, indent + 4, brief);
    }
}

static void info_qtree(struct hmp_call *c)
{
    char word[8];
    bool brief = hmp_optional_word(c, word, sizeof(word)) && !strcmp(word, "-b");
    print_bus(c, NULL, 0, brief);
}

/* ---- virtio ------------------------------------------------------------------------------------------- */
/* Whoever saves the state of one is one. */
static const struct virtio_device *virtio_of(const struct device *dev)
{
    for (size_t i = 0; i < dev->cls->state.n; i++)
        if (dev->cls->state.at[i].sub == virtio_fields)
            return (const void *)((const char *)dev + dev->cls->state.at[i].offset);
    return NULL;
}

/* VIRTIO 1.3, 2.1. */
static const char *status_text(const struct virtio_device *v)
{
    enum { DRIVER = 2, DRIVER_OK = 4, NEEDS_RESET = 64, FAILED = 128 };
    return v->status & NEEDS_RESET ? "broken by its driver"
           : v->status & FAILED    ? "given up by its driver"
           : v->status & DRIVER_OK ? "in use"
           : v->status & DRIVER    ? "being set up"
                                   : "without a driver";
}

static void print_virtio(struct hmp_call *c, const struct virtio_device *v)
{
    hmp_say(c, "%s, id \"%s\", at %s: %s%s", v->dev.cls->name, v->dev.id ? v->dev.id : "",
            v->dev.path, status_text(v), v->legacy ? ", by the legacy interface" : "");
    hmp_say(c, "    features 0x%" PRIx64 " of 0x%" PRIx64, v->driver_features, v->features);
    for (unsigned i = 0; i < v->n_queues; i++) {
        const struct virtq *q = &v->queues[i];
        if (q->enabled)
            hmp_say(c,
                    "    queue %u: %u entries%s, rung %" PRIu64 " times, %" PRIu64
                    " chains, %" PRIu64 " interrupts, %" PRIu64 " spared",
                    i, q->size, q->packed ? " (packed)" : "", q->counts.kicks, q->counts.chains,
                    q->counts.interrupts, q->counts.interrupts_saved);
    }
}

static void info_virtio(struct hmp_call *c)
{
    for (struct device *d = c->vm->devices; d; d = d->next) {
        const struct virtio_device *v = virtio_of(d);
        if (!v)
            continue;
        device_lock(d);
        print_virtio(c, v);
        device_unlock(d);
    }
}

static const struct hmp_command infos[] = {
    { "qtree", NULL, "[-b]", "devices by bus, with their properties; -b: without", info_qtree },
    { "virtio", NULL, "", "virtio devices: drivers, features, queues", info_virtio },
};
const struct hmp_table hmp_buses_table = { .infos = TABLE(infos) };
