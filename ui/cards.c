#include "ui/cards.h"

#include "core/backends.h"
#include "core/device.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/net/virtio_net.h"

struct device *card_find(struct vm *vm, const char *name)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        if (!dev->realized || !virtio_net_is(dev))
            continue;
        const char *backend = backend_id(vm, virtio_net_backend(dev));
        if ((dev->id && !strcmp(dev->id, name)) || (backend && !strcmp(backend, name)))
            return dev;
    }
    return NULL;
}
