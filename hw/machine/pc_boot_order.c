/* The order in which firmware tries devices, by the paths that SeaBIOS and OVMF know (those of Open Firmware,
 * IEEE 1275, as QEMU writes them). */
#include "hw/machine/pc.h"

#include "core/vm.h"
#include "hw/storage/ide.h"
#include "hw/usb/usb.h"
#include "hw/usb/xhci.h"

#include <stdio.h>
#include <stdlib.h>

#define NO_INDEX UINT32_MAX

struct entry {
    uint32_t index;
    unsigned order;
    char path[160];
};

/* Name of a function's class, as the path says it (PCI bus binding to IEEE 1275, 2.2.1). */
static const char *class_of(const struct device_class *cls)
{
    static const struct {
        const char *prefix, *name;
    } names[] = {
        { "virtio-blk", "scsi" },
        { "virtio-net", "ethernet" },
        { "ich9-ahci", "pci8086,2922" },
        { "piix3-ide", "ide" },
        { "pcie-root-port", "pci-bridge" },
        { "pci-bridge", "pci-bridge" },
        { "pcie-pci-bridge", "pci-bridge" },
        { "i82801b11-bridge", "pci-bridge" },
        { "qemu-xhci", "usb" },
        { "nec-usb-xhci", "usb" },
        { "nvme", "pci8086,5845" },
        { "virtio-scsi", "scsi" },
        { "e1000e", "ethernet" },
        { "e1000", "ethernet" },
        { "rtl8139", "ethernet" },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strncmp(cls->name, names[i].prefix, strlen(names[i].prefix)))
            return names[i].name;
    return "pci";
}

/* What stands below the function. */
static const char *rest_of(const struct device_class *cls)
{
    if (!strncmp(cls->name, "virtio-blk", 10))
        return "/disk@0,0";
    return !strcmp(class_of(cls), "ethernet") ? "/ethernet-phy@0" : "";
}

/* From "pcie.0/03.0/virtio-blk-pci" or "rp1/00.0/..." to "/pci@i0cf8/...". */
static bool function_path(struct vm *vm, const struct device *dev, char *to, size_t room)
{
    char bus[32];
    unsigned slot, function;
    if (sscanf(dev->path, "%31[^/]/%x.%x/", bus, &slot, &function) != 3)
        return false;
    const struct device *bridge = device_find(vm, bus);
    if (bridge && bridge != dev) {
        if (!function_path(vm, bridge, to, room))
            return false;
    } else {
        snprintf(to, room, "/pci@i0cf8");
    }
    size_t n = strlen(to);
    snprintf(to + n, room - n, function ? "/%s@%x,%x" : "/%s@%x", class_of(dev->cls), slot,
             function);
    return true;
}

/* The controller, hubs on the way, the device. */
static bool usb_path(struct vm *vm, const struct usb_device *u, char *to, size_t room)
{
    const struct usb_device *hub = u->bus->hub;
    if (!(hub ? usb_path(vm, hub, to, room) : function_path(vm, u->bus->host, to, room)))
        return false;
    size_t n = strlen(to);
    snprintf(to + n, room - n, "/%s@%x", u->hub ? "hub" : "storage",
             hub ? u->port + 1 : xhci_root_port(u));
    return true;
}

static bool path_of(struct vm *vm, struct device *dev, char *to, size_t room)
{
    unsigned port, unit;
    struct device *hba = ide_drive_controller(dev, &port, &unit);
    const struct usb_device *usb = usb_device_of(dev);
    if (!(usb ? usb_path(vm, usb, to, room) : function_path(vm, hba ? hba : dev, to, room)))
        return false;
    size_t n = strlen(to);
    if (usb)
        snprintf(to + n, room - n, "/channel@0/disk@0,0");
    else if (hba)
        snprintf(to + n, room - n, "/drive@%u/disk@%u", port, unit);
    else
        snprintf(to + n, room - n, "%s", rest_of(dev->cls));
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static char *add_line(char *text, const char *line)
{
    char *more = xasprintf("%s%s%s", text ? text : "", text ? "\n" : "", line);
    free(text);
    return more;
}

char *pc_boot_order(struct vm *vm, const char *first, bool strict)
{
    struct entry *entries = NULL;
    unsigned n = 0;
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        struct entry e = { .order = n };
        char number[24];
        if (!device_get(dev, "bootindex", number, sizeof(number)))
            continue;
        e.index = (uint32_t)strtoul(number, NULL, 0);
        if (e.index == NO_INDEX || !path_of(vm, dev, e.path, sizeof(e.path)))
            continue;
        entries = xrealloc(entries, (n + 1) * sizeof(*entries));
        entries[n++] = e;
    }
    char *text = first ? xstrdup(first) : NULL;
    if (n)
        qsort(entries, n, sizeof(*entries), compare);
    for (unsigned i = 0; i < n; i++)
        text = add_line(text, entries[i].path);
    if (text && strict)
        text = add_line(text, "HALT");
    free(entries);
    return text;
}
