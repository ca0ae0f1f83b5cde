/* Devices that come and go under a guest. The list of devices, buses and the memory map change while no vCPU runs:
 * vm_pause is a moment's halt, which neither guest nor management notices. */
#include "core/device.h"
#include "core/error.h"
#include "core/event.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>

static struct error *no_hot_plug(const char *class_name)
{
    return error_new("Device '%s' does not support hotplugging", class_name);
}

struct error *device_plug(struct vm *vm, const char *class_name, const struct prop_value *props,
                          size_t n)
{
    const struct device_class *cls = device_class_find(class_name);
    struct device *dev;
    if (cls && !cls->user_creatable)
        return error_new("'%s' is part of a board and cannot be added", class_name);
    if (cls && !cls->can_hot_plug)
        return no_hot_plug(class_name);
    bool ran = vm->state == RUN_RUNNING;
    vm_pause(vm);
    vm->plugging = true;
    struct error *err = device_create(vm, class_name, props, n, &dev);
    vm->plugging = false;
    if (!err && !dev->hot_plug) {
        device_free(dev);
        err = no_hot_plug(class_name);
    }
    if (!err)
        dev->hot_plug->plugged(dev);
    if (ran)
        vm_start(vm);
    return err;
}

struct device *device_at(struct vm *vm, const char *name)
{
    char path[DEVICE_QOM_PATH];
    if (*name != '/')
        return device_find(vm, name);
    for (struct device *d = vm->devices; d; d = d->next) {
        device_qom_path(d, path);
        if (!strcmp(path, name))
            return d;
    }
    return NULL;
}

struct error *device_unplug(struct device *dev)
{
    if (!dev->cls->can_hot_plug || !dev->hot_plug)
        return error_new("Device '%s' does not support hotplugging%s", dev->cls->name,
                         dev->cls->can_hot_plug ? " where it is" : "");
    if (dev->vm->was_reset)
        return dev->hot_plug->unplug(dev);
    device_unplugged(dev); /* no guest has seen it */
    return NULL;
}

static void remove_children(const struct device *dev);

static void remove_one(struct device *dev)
{
    struct vm *vm = dev->vm;
    char path[DEVICE_QOM_PATH], inner[DEVICE_QOM_PATH + 32];
    remove_children(dev);
    device_qom_path(dev, path);
    snprintf(inner, sizeof(inner), "%s/%s", path, dev->cls->inner ? dev->cls->inner : "");
    bool has_inner = dev->cls->inner;
    char *id = dev->id ? xstrdup(dev->id) : NULL;
    device_free(dev);
    if (has_inner)
        event_tell(vm, EVENT_DEVICE_DELETED, EVENT_TEXT("path", inner));
    event_tell(vm, EVENT_DEVICE_DELETED, EVENT_TEXT("device", id), EVENT_TEXT("path", path));
    free(id);
}

static void remove_children(const struct device *dev)
{
    struct device *d = dev->vm->devices;
    while (d) {
        if (d->parent == dev) {
            remove_one(d);
            d = dev->vm->devices;
        } else {
            d = d->next;
        }
    }
}

void device_unplugged(struct device *dev)
{
    struct vm *vm = dev->vm;
    bool ran = vm->state == RUN_RUNNING;
    vm_pause(vm);
    remove_one(dev);
    if (ran)
        vm_start(vm);
}

void device_kept(struct device *dev)
{
    char path[DEVICE_QOM_PATH];
    device_qom_path(dev, path);
    event_tell(dev->vm, EVENT_DEVICE_UNPLUG_GUEST_ERROR, EVENT_TEXT("device", dev->id),
               EVENT_TEXT("path", path));
}
