/* Who gets what a user types and points at: a virtio device whose driver runs, else the PC's keyboard
 * controller. */
#include "hw/input/input.h"

#include "core/vm.h"
#include "hw/input/i8042.h"
#include "hw/input/virtio_input.h"

#include <string.h>

static struct device *find_i8042(struct vm *vm)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (dev->realized && !strcmp(dev->cls->name, "i8042"))
            return dev;
    return NULL;
}

bool input_available(struct vm *vm, enum input_kind kind)
{
    struct device *kbc = find_i8042(vm);
    return virtio_input_available(vm, kind) || (kbc && i8042_available(kbc, kind));
}

bool input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                      size_t n)
{
    if (virtio_input_available(vm, kind))
        return virtio_input_send_event(vm, kind, events, n);
    struct device *kbc = find_i8042(vm);
    return kbc && kind != INPUT_TABLET && i8042_send_event(kbc, kind, events, n);
}

uint32_t input_leds(struct vm *vm)
{
    struct device *kbc = find_i8042(vm);
    if (virtio_input_available(vm, INPUT_KEYBOARD) || !kbc)
        return virtio_input_leds(vm);
    return i8042_leds(kbc);
}
