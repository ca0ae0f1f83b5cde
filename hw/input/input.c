/* Who gets what a user types and points at: a virtio device whose driver runs, else a USB device that is
 * read, else the PC's keyboard controller, with or without VMware's port beside it. */
#include "hw/input/input.h"

#include "core/vm.h"
#include "hw/input/i8042.h"
#include "hw/input/virtio_input.h"
#include "hw/input/vmport.h"
#include "hw/usb/hid.h"

#include <string.h>

static struct device *find(struct vm *vm, const char *name)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (dev->realized && !strcmp(dev->cls->name, name))
            return dev;
    return NULL;
}

/* The PS/2 mouse is a pointer of another kind by way of this port; NULL: it is not. */
static struct device *find_vmport(struct vm *vm, enum input_kind *kind)
{
    struct device *port = find(vm, "vmport");
    return port && vmport_has_pointer(port, kind) ? port : NULL;
}

bool input_available(struct vm *vm, enum input_kind kind)
{
    struct device *kbc = find(vm, "i8042");
    enum input_kind pointer;
    if (virtio_input_available(vm, kind) || usb_hid_available(vm, kind))
        return true;
    if (kind != INPUT_KEYBOARD && find_vmport(vm, &pointer))
        return kind == pointer;
    return kbc && i8042_available(kbc, kind);
}

bool input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                      size_t n)
{
    if (virtio_input_available(vm, kind))
        return virtio_input_send_event(vm, kind, events, n);
    if (usb_hid_available(vm, kind))
        return usb_hid_send_event(vm, kind, events, n);
    enum input_kind pointer;
    struct device *port = kind == INPUT_KEYBOARD ? NULL : find_vmport(vm, &pointer);
    if (port)
        return kind == pointer && vmport_send_event(port, events, n);
    struct device *kbc = find(vm, "i8042");
    return kbc && kind != INPUT_TABLET && i8042_send_event(kbc, kind, events, n);
}

uint32_t input_leds(struct vm *vm)
{
    struct device *kbc = find(vm, "i8042");
    if (virtio_input_available(vm, INPUT_KEYBOARD))
        return virtio_input_leds(vm);
    if (usb_hid_available(vm, INPUT_KEYBOARD) || !kbc)
        return usb_hid_leds(vm);
    return i8042_leds(kbc);
}
